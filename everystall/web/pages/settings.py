"""The settings of this installation, for its owner: those that may change while everything runs in a form,
all others with where they come from. Never what a secret is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from sqlalchemy import text

from everystall.choices import CHANGEABLE, checked, choose
from everystall.errors import BadRequest
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
    value: str
    #: Where it comes from: the environment's name for it, "" (the default), or "here".
    source: str
    error: str | None

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


@router.get("/settings")
async def show_settings(request: Request, parts: AllParts, who: PageOwner) -> HTMLResponse:
    return await _show(request, parts, who)


@router.post("/settings")
async def change_settings(request: Request, parts: AllParts, who: PageOwner) -> Response:
    typed = {name: str(value).strip() for name, value in (await request.form()).items() if name in CHANGEABLE}
    values: dict[str, float | int | None] = {}
    errors = {}
    for name, value in typed.items():
        if parts.following.fixed(name):
            continue
        try:
            found = checked(name, value.replace(",", ".")) if value else None
        except BadRequest as refused:
            errors[name] = refused.message
        else:
            values[name] = None if found == Settings.model_fields[name].default else found
    if errors:
        return await _show(request, parts, who, typed=typed, errors=errors)
    before = parts.settings
    await choose(parts.database, who.user_id, values)
    await parts.following.follow(parts, parts.database, at_once=True)
    return go("/settings", "settings" if parts.settings != before else "settings-same")


async def _show(
    request: Request,
    parts: Parts,
    who: SignedIn,
    *,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> HTMLResponse:
    async with parts.database.as_app() as session:
        rows = await session.execute(text("SELECT * FROM everystall.setting_changes(:n)"), {"n": CHANGES})
        changes = [(_change(row.name, row.before, row.after), row.email, row.at) for row in rows]
    come_from = dict.fromkeys(parts.following.began.model_fields_set, "the start") | sources()
    async with opened(request, parts, who) as page:
        return page.show(
            "settings.html",
            status=422 if errors else 200,
            home="/settings" if errors else None,
            changeable=[
                _changeable(parts, name, come_from, typed or {}, errors or {}) for name in CHANGEABLE
            ],
            errors=errors or {},
            fixed=[
                _fixed(parts.settings, name, field, come_from.get(name, ""))
                for name, field in Settings.model_fields.items()
                if name not in CHANGEABLE
            ],
            changes=changes,
            turn=await find_turn(page),
        )


def _changeable(
    parts: Parts,
    name: str,
    come_from: Mapping[str, str],
    typed: Mapping[str, str],
    errors: Mapping[str, str],
) -> Changeable:
    label, unit, hint = CHANGEABLE[name]
    default, now = Settings.model_fields[name].default, getattr(parts.settings, name)
    if default is not None:
        hint += f" Empty: {_said(default)}."
    if parts.following.fixed(name):
        source = come_from.get(name, "the start")
    else:
        source = "" if now == default else "here"
    value = typed.get(name, "" if now is None else _said(now))
    return Changeable(name, label, unit, hint, value, source, errors.get(name))


def _change(name: str, before: object, after: object) -> Change:
    label = CHANGEABLE[name][0] if name in CHANGEABLE else name
    return Change(label, *("its default" if value is None else _said(value) for value in (before, after)))


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _fixed(settings: Settings, name: str, field: FieldInfo, source: str) -> Fixed:
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
