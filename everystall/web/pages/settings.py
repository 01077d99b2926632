"""The settings of this installation, for its owner: those that may change while everything runs in a form,
all others with where they come from, and why they are not changed here. Never what a secret is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import SecretStr
from sqlalchemy import text

from everystall.choices import CHANGEABLE, GROUPS, KEPT, LONGEST, Value, checked, choose
from everystall.errors import BadRequest, ChannelRefused
from everystall.notify import services
from everystall.settings import Settings, sources
from everystall.web.deps import AllParts, PageOwner, Parts, SignedIn
from everystall.web.pages.opened import go, opened
from everystall.web.pages.practising import find_turn

router = APIRouter()

#: Changes that the page lists.
CHANGES: Final = 20


@dataclass(frozen=True)
class Changeable:
    name: str
    label: str
    unit: str
    hint: str
    #: Never a secret's.
    value: str
    #: Where it comes from: the environment's name for it, "" (the default), or "here".
    source: str
    error: str | None
    #: It is one, and never shown; whether there is one.
    secret: bool = False
    given: bool = False
    #: It is a number, or amounts of something.
    number: bool = True

    @property
    def fixed(self) -> bool:
        return self.source not in ("", "here")


@dataclass(frozen=True)
class Fixed:
    name: str
    value: str
    source: str


@dataclass(frozen=True)
class Change:
    label: str
    before: str
    after: str


@dataclass(frozen=True)
class Asked:
    """What the page is narrowed to."""

    #: Words of a setting's name, label or description.
    q: str = ""
    #: Only what is not as it comes.
    differs: bool = False

    def shows(self, source: str, *texts: str) -> bool:
        said = " ".join(texts).lower()
        return all(word in said for word in self.q.lower().split()[:8]) and bool(source or not self.differs)


@router.get("/settings")
async def show_settings(
    request: Request,
    parts: AllParts,
    who: PageOwner,
    q: Annotated[str, Query(max_length=100)] = "",
    differs: Annotated[str, Query(max_length=10)] = "",
) -> HTMLResponse:
    return await _show(request, parts, who, Asked(q.replace("\x00", "").strip(), differs == "yes"))


@router.post("/settings")
async def change_settings(request: Request, parts: AllParts, who: PageOwner) -> Response:
    form = await request.form()
    typed = {name: str(value).strip() for name, value in form.items() if name in CHANGEABLE}
    taken = set(map(str, form.getlist("take")))
    values: dict[str, Value] = {}
    errors = {}
    for name, value in typed.items():
        secret = CHANGEABLE[name].secret
        if parts.following.fixed(name) or (secret and not value and name not in taken):
            continue  # an empty field of a secret leaves it as it is
        numeric = not secret and _is_number(name)
        try:
            found = checked(name, value.replace(",", ".") if numeric else value) if value else None
            if name == "smtp_url" and isinstance(found, SecretStr):
                services.check_mail_server(found.get_secret_value(), parts.settings)
        except (BadRequest, ChannelRefused) as refused:
            errors[name] = refused.message
        else:
            values[name] = None if found == Settings.model_fields[name].default else found
    if errors:
        return await _show(request, parts, who, Asked(), typed=typed, errors=errors)
    before = parts.settings
    await choose(parts.database, who.user_id, values, parts.vault.seal_setting)
    await parts.following.follow(parts, parts.database, at_once=True)
    return go("/settings", "settings" if parts.settings != before else "settings-same")


async def _show(
    request: Request,
    parts: Parts,
    who: SignedIn,
    asked: Asked,
    *,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> HTMLResponse:
    async with parts.database.as_app() as session:
        rows = await session.execute(text("SELECT * FROM everystall.setting_changes(:n)"), {"n": CHANGES})
        changes = [(_change(row.name, row.before, row.after), row.email, row.at) for row in rows]
    come_from = dict.fromkeys(parts.following.began.model_fields_set, "the start") | sources()
    groups = {
        title: [
            one for name in group
            for one in [_changeable(parts, name, come_from, typed or {}, errors or {})]
            if asked.shows(one.source, title, one.label, one.hint, name)
        ]
        for title, group in GROUPS.items()
    }  # fmt: skip
    kept = {
        why: [
            one for name in names
            for one in [_fixed(parts.settings, name, come_from.get(name, ""))]
            if asked.shows(one.source, why, name)
        ]
        for why, names in KEPT.items()
    }  # fmt: skip
    async with opened(request, parts, who) as page:
        return page.show(
            "settings.html",
            status=422 if errors else 200,
            home="/settings" if errors else None,
            groups={title: some for title, some in groups.items() if some},
            errors=errors or {},
            kept={why: some for why, some in kept.items() if some},
            changes=changes,
            asked=asked,
            longest=LONGEST,
            turn=await find_turn(page),
        )


def _is_number(name: str) -> bool:
    return Settings.model_fields[name].annotation is not str


def _changeable(
    parts: Parts,
    name: str,
    come_from: Mapping[str, str],
    typed: Mapping[str, str],
    errors: Mapping[str, str],
) -> Changeable:
    choice = CHANGEABLE[name]
    default, now = Settings.model_fields[name].default, getattr(parts.settings, name)
    hint = choice.hint
    if default is not None:
        hint += f" Empty: {_said(default)}."
    if parts.following.fixed(name):
        source = come_from.get(name, "the start")
    else:
        source = "" if now == default else "here"
    if choice.secret:
        return Changeable(name, choice.label, choice.unit, hint, "", source, errors.get(name),
                          secret=True, given=now is not None, number=False)  # fmt: skip
    value = typed.get(name, "" if now is None else _said(now))
    return Changeable(name, choice.label, choice.unit, hint, value, source, errors.get(name),
                      number=_is_number(name))  # fmt: skip


def _change(name: str, before: object, after: object) -> Change:
    choice = CHANGEABLE.get(name)
    unset = "not set" if choice and choice.secret else "its default"
    said = (unset if value is None else _said(value) for value in (before, after))
    return Change(choice.label if choice else name, *said)


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _fixed(settings: Settings, name: str, source: str) -> Fixed:
    value = getattr(settings, name)
    if value is None or value == "":
        said = "not set"
    elif isinstance(value, SecretStr):
        said = "set, and not shown"
    elif isinstance(value, str) and "://" in value and "@" in (urlsplit(value).netloc):
        said = value.replace(urlsplit(value).netloc, urlsplit(value).netloc.rpartition("@")[2], 1)
    else:
        said = {True: "yes", False: "no"}[value] if isinstance(value, bool) else _said(value)
    return Fixed(name.upper(), said, source)
