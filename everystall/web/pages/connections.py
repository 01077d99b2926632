"""The marketplaces' page: how each account stands, in words with what to do; its name, pace, defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import FormData

from everystall.errors import Conflict, EverystallError, ListingLive
from everystall.inventory.blindness import told_of
from everystall.inventory.connections import NO_WORKER, SignIn, find_sign_ins, get_connection
from everystall.inventory.sale_rules import rules_of
from everystall.marketplaces import MARKETPLACES, get_form, is_practice
from everystall.marketplaces.base import Default
from everystall.models import Attempt, Connection, Publication
from everystall.settings import Settings
from everystall.web import connections, sessions
from everystall.web.account import find_tokens
from everystall.web.pages import openings
from everystall.web.pages.opened import Opened, OpenedPage, go

router = APIRouter()

#: A sign-in that ends so soon is worth a look, while it still works.
STALE: Final = timedelta(days=2)
_YES_NO: Final = {"yes": "Yes", "no": "No"}


@dataclass(frozen=True)
class Matter:
    """What is to be said of an account first."""

    #: ok · info · run · warn · bad · off, and the word for it
    tone: str
    word: str
    #: What is the matter and what to do, where something is.
    title: str | None = None
    text: str | None = None
    #: Where the seller does it.
    url: str | None = None
    #: The seller says when it is done.
    resume: bool = False
    #: What a button says that opens the worker's browser for it.
    open_here: str | None = None


@dataclass(frozen=True)
class Stand:
    """How one account stands, as its seller reads it."""

    id: str
    label: str
    #: The seller's name for it, else the account's own.
    name: str | None
    account: str | None
    matter: Matter
    paused: bool
    #: Taking down is paused with it.
    delists_paused: bool
    #: Taken away by the seller; its history is kept.
    gone: bool
    live: int
    asked: datetime | None
    visited: datetime | None
    verified: datetime | None
    expires: datetime | None
    pace: str
    #: New listings in any 24 hours.
    cap: int
    #: It is a practice account among real ones, or a real one among practice accounts: what it is.
    stranger: str | None
    #: We cannot see what sells there, and why: what is live there may sell without our noticing.
    blind: str | None
    #: Listings that wait for nothing but that, and when the first of them is gone on with.
    paced: int = 0
    next_at: datetime | None = None
    #: Until when its marketplace asked us to rest.
    rests: datetime | None = None

    @property
    def said(self) -> str:
        """For who does not see it change."""
        return f"{self.label}{f', {self.name}' if self.name else ''}: {self.matter.word}."


@dataclass(frozen=True)
class Asked:
    """One default, as the form asks for it."""

    name: str
    said: str
    value: str
    choices: Sequence[tuple[str, str]]
    money: bool
    wrong: str | None


@dataclass(frozen=True)
class SettingsForm:
    label: str
    pace: str
    #: Seconds between two posts if nothing is said.
    usual: str
    cap: str
    usual_cap: int
    defaults: Sequence[Asked]
    wrong: Mapping[str, str]


@dataclass
class Place:
    """One marketplace and the accounts there."""

    name: str
    label: str
    url: str
    stands: list[Stand] = field(default_factory=list)
    #: By the account's id.
    settings: dict[str, SettingsForm] = field(default_factory=dict)


async def find_places(
    session: AsyncSession, settings: Settings, typed: Mapping[str, Typed] | None = None
) -> list[Place]:
    """Every marketplace, with or without accounts. `typed`: what a refused form held, by the account's id."""
    paced = Publication.unsettled & Publication.needs_you.is_(None) & (Publication.paced_to > func.now())
    paced &= Publication.next_try_at == Publication.paced_to
    there = (Publication.put == "live") | Publication.looking
    counted = {
        row.connection_id: row
        for row in await session.execute(
            select(
                Publication.connection_id,
                func.count().filter(there).label("live"),
                func.count().filter(paced).label("paced"),
                func.min(Publication.paced_to).filter(paced).label("next_at"),
            )
            .where(there | paced)
            .group_by(Publication.connection_id)
        )
    }
    places = {name: Place(name, label, settings.base_url(name)) for name, label in MARKETPLACES.items()}
    for one in await find_sign_ins(session):
        place = places[one.connection.marketplace]
        id = one.connection.public_id
        found = counted.get(one.connection.id)
        stand = stand_of(one, settings, found.live if found else 0, datetime.now(UTC))
        if found:
            stand = replace(stand, paced=found.paced, next_at=found.next_at)
        place.stands.append(stand)
        place.settings[id] = _settings_form(one, settings, (typed or {}).get(id))
    return list(places.values())


def stand_of(one: SignIn, settings: Settings, live: int, now: datetime) -> Stand:
    row = one.connection
    label = MARKETPLACES[row.marketplace]
    able = get_form(row.marketplace).CAPABILITIES
    said = (row.pace_seconds, settings.pace_seconds, able.pace_seconds)
    caps = (row.daily_cap, settings.daily_cap, able.daily_cap)
    return Stand(
        id=row.public_id, label=label, name=row.label or row.account_name, account=row.account_name,
        rests=row.rest_until if row.rest_until is not None and row.rest_until > now else None,
        matter=matter_of(one, label, now, live), live=live, paused=row.paused_at is not None,
        delists_paused=row.paused_at is not None and row.pause_ends, gone=one.forgotten,
        asked=row.refresh_asked_at, visited=row.last_visit_at, verified=one.verified_at,
        expires=one.expires_at,
        pace=f"{next(pace for pace in said if pace is not None):g} seconds",
        stranger=_stranger(row, settings),
        cap=next(cap for cap in caps if cap is not None),
        blind=(told_of(row) or {}).get("message"),
    )  # fmt: skip


def _stranger(row: Connection, settings: Settings) -> str | None:
    practice = is_practice(row.base_url)
    if practice == is_practice(settings.base_url(row.marketplace)):
        return None
    return "Practice account" if practice else "Real account"


def matter_of(one: SignIn, label: str, now: datetime, live: int = 0) -> Matter:
    """The most urgent there is: what stops everything, then what stops posting, then what may soon."""
    row = one.connection
    if one.forgotten and live:
        listings = "A listing is" if live == 1 else f"{live} listings are"
        return Matter(
            "warn",
            "Disconnected",
            f"You took this account away. {listings} live there.",
            "Nobody takes down there what sells elsewhere but you. Connect the account again in the "
            "extension, and Everystall looks after it as before.",
            row.base_url,
        )
    if one.forgotten:
        return Matter("off", "Disconnected")
    if one.status != "connected" and row.session_seq == 0 and row.account_id is None:
        return Matter(
            "bad",
            "Not signed in yet",
            f"You began to sign in to {label} here, and did not finish.",
            "Sign in here now, or connect the account in the extension. Disconnect it to forget about it.",
            row.base_url,
            open_here="Sign in here",
        )
    if one.status != "connected":
        return Matter(
            "bad",
            "Needs sign-in",
            f"Everystall is not signed in to {label} any more.",
            f"Nothing is posted, checked or taken down there until it is. Open {label} in a browser that you "
            "paired and sign in: the new sign-in is handed over by itself. If it is not within a minute, "
            "press Sync now in the extension. Or sign in here, in a browser of Everystall's own.",
            row.base_url,
            open_here="Sign in here",
        )
    if (row.needs_you or {}).get("reason") == NO_WORKER:
        return Matter(
            "bad",
            "Nobody there",
            str((row.needs_you or {}).get("message")),
            "Whoever runs Everystall starts a worker there, or gives the account another place.",
        )
    if row.needs_you:
        return Matter(
            "bad",
            "Needs you",
            str(row.needs_you.get("message") or f"{label} asks for you."),
            f"Everything for this account waits. Open {label}, do what it asks for, then go on.",
            web_address(row.needs_you.get("url")) or row.base_url,
            resume=True,
            open_here="Open it here" if row.needs_you.get("reason") == "challenge" else None,
        )
    if row.paused_at is not None:
        return Matter(
            "warn",
            "Paused",
            "You paused this account.",
            "Nothing new is posted there until you go on. What sells elsewhere "
            + ("stays there, too: look after it." if row.pause_ends else "is still taken down."),
        )
    if one.expires_at is not None and one.expires_at - now < STALE:
        return Matter(
            "warn",
            "Stale",
            "This sign-in ends soon.",
            f"Open {label} in a browser that you paired: a new one is handed over by itself.",
            row.base_url,
        )
    if row.refresh_asked_at is not None:
        return Matter("run", "Waiting for your browser")
    if one.verified_at is None:
        return Matter("info", "Connected, not checked yet")
    return Matter("ok", "Connected")


def web_address(url: Any) -> str | None:
    """An address to lead to; what a marketplace's page said is one only if it begins like one."""
    return url if isinstance(url, str) and url.startswith(("https://", "http://")) else None


# ---- the page --------------------------------------------------------------------------------------


@router.get("/connections")
async def show_connections(page: OpenedPage) -> HTMLResponse:
    return await _show(page)


@router.get("/connections/{rest:path}")
async def lead_back(rest: str) -> Response:
    """The address of a form, opened by itself."""
    return go("/connections")


async def _show(
    page: Opened,
    *,
    id: str | None = None,
    where: str | None = None,
    error: EverystallError | None = None,
    typed: Typed | None = None,
) -> HTMLResponse:
    places = await find_places(page.session, page.parts.settings, {id: typed} if id and typed else None)
    return page.show(
        "connections.html",
        status=error.status if error else 422 if typed else 200,
        home="/connections" if error or typed else None,
        places=places,
        stands=[stand for place in places for stand in place.stands],
        opened=await openings.of_the_day(page.session),
        posted=await _posted(page.session),
        sale_rules=await rules_of(page.session, page.who.user_id),
        browsers_paired=bool(await find_tokens(page.session, "extension")),
        paused=page.user.paused_at is not None,
        restored_to=page.user.restored_to,
        delists_paused=page.user.pause_ends,
        error=error,
        wrong=id,
        where=where,
    )


async def _posted(session: AsyncSession) -> dict[str, int]:
    """Account → how many were posted there in the last 24 hours."""
    rows = await session.execute(
        select(Connection.public_id, func.count())
        .join(Attempt, Attempt.connection_id == Connection.id)
        .where(Attempt.armed_at > func.now() - timedelta(days=1))
        .group_by(Connection.public_id)
    )
    return {row[0]: row[1] for row in rows}


@router.post("/connections/pause")
async def pause_all(page: OpenedPage, request: Request) -> Response:
    delists = await _delists(request)
    await connections.pause_all(page.session, page.who, delists)
    return go("/connections", "paused-all-delists" if delists else "paused-all")


@router.post("/connections/resume")
async def resume_all(page: OpenedPage) -> Response:
    await connections.resume_all(page.session, page.who)
    return go("/connections", "resumed-all")


@router.post("/connections/{id}/pause")
async def pause(id: str, page: OpenedPage, request: Request) -> Response:
    delists = await _delists(request)
    await connections.pause_connection(id, page.session, delists)
    return go("/connections", "paused-delists" if delists else "paused", id)


async def _delists(request: Request) -> bool:
    """Whether taking down is to pause, too."""
    return (await request.form()).get("delists") == "yes"


@router.post("/connections/{id}/resume")
async def resume(id: str, page: OpenedPage) -> Response:
    try:
        now = await connections.resume_connection(id, page.session)
    except Conflict as error:
        return await _show(page, error=error)
    nobody = now.needs_you is not None and now.needs_you.reason == NO_WORKER
    return go("/connections", "resumed-no-worker" if nobody else "resumed", id)


@router.post("/connections/{id}/refresh")
async def refresh(id: str, page: OpenedPage) -> Response:
    await sessions.refresh_sessions(sessions.WhichBody(browser_profile_id=id), page.session, page.who)
    return go("/connections", "asked", id)


@router.post("/connections/{id}/disconnect")
async def disconnect(id: str, page: OpenedPage, request: Request) -> Response:
    force = (await request.form()).get("force") == "yes"
    try:
        await connections.delete_connection(id, page.session, page.parts, force=force)
    except ListingLive as error:
        return await _show(page, id=id, where="disconnect", error=error)
    return go("/connections", "disconnected")


@router.post("/connections/{id}")
async def save(id: str, page: OpenedPage, request: Request) -> Response:
    connection = await get_connection(page.session, id)
    typed = Typed.of(await request.form(), get_form(connection.marketplace).DEFAULTS)
    if not typed.wrong:
        try:
            body = connections.ConnectionBody.model_validate(typed.values)
        except ValidationError as error:
            typed.wrong = _wrong(error)
        else:
            await connections.patch_connection(id, body, page.session)
            return go("/connections", "saved", id)
    return await _show(page, id=id, where="settings", typed=typed)


# ---- name, pace and defaults ------------------------------------------------------------------------


@dataclass
class Typed:
    """A form as it was sent: the API's values, and what is wrong with which field."""

    given: Mapping[str, str]
    values: dict[str, Any]
    wrong: dict[str, str]

    @classmethod
    def of(cls, form: FormData, known: Mapping[str, Default]) -> Typed:
        given = {name: value.strip() for name, value in form.items() if isinstance(value, str)}
        typed = cls(given, {}, {})
        if "label" in given:
            typed.values["label"] = given["label"]
        if "pace_seconds" in given:
            typed.values["paceSeconds"] = typed.read("pace_seconds", _seconds)
        if "daily_cap" in given:
            typed.values["dailyCap"] = typed.read("daily_cap", _cap)
        defaults = {}
        for name, default in known.items():
            if (field_name := f"default.{name}") in given:
                defaults[to_camel(name)] = typed.read(field_name, lambda text, d=default: _value(text, d))
        typed.values["defaults"] = defaults
        return typed

    def read(self, name: str, how: Any) -> Any:
        text = self.given[name]
        if not text:
            return None
        try:
            return how(text)
        except ValueError as error:
            self.wrong[name] = str(error)
            return None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError("Write a number of seconds, such as 60.") from None
    if not 0 <= seconds <= 86_400:
        raise ValueError("That is 0 to 86,400 seconds (a day).")
    return seconds


def _cap(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:5]) <= 1000:
        raise ValueError("Write a whole number from 1 to 1,000.")
    return int(text)


def _value(text: str, default: Default) -> Any:
    """What the API takes. Raises ValueError in words."""
    if default.kind == "yes_no":
        return text == "yes"
    if default.kind == "choice" and text not in default.choices:
        raise ValueError("Choose one of these.")
    if default.kind == "cents":
        try:
            cents = Decimal(text.replace(",", "").removeprefix("$")) * 100
        except InvalidOperation:
            raise ValueError("Write an amount in dollars, such as 12 or 12.50.") from None
        if not cents.is_finite() or cents != cents.to_integral_value() or not 0 < cents <= 1_000_000_000:
            raise ValueError("Write an amount in dollars, such as 12 or 12.50.")
        return int(cents)
    if len(text) > 500:
        raise ValueError("That is at most 500 characters.")
    return text


def _wrong(error: ValidationError) -> dict[str, str]:
    found = error.errors()[0]
    names = {"paceSeconds": "pace_seconds", "dailyCap": "daily_cap"}
    name = names.get(str(found["loc"][0]), "label")
    said = str(found["msg"]).removeprefix("Value error, ")
    return {name: f"{said[:1].upper()}{said[1:]}."}


def _settings_form(one: SignIn, settings: Settings, typed: Typed | None) -> SettingsForm:
    row = one.connection
    form = get_form(row.marketplace)
    given = typed.given if typed else {}
    wrong = typed.wrong if typed else {}
    able = form.CAPABILITIES
    usual = able.pace_seconds if settings.pace_seconds is None else settings.pace_seconds
    pace = "" if row.pace_seconds is None else f"{row.pace_seconds:g}"
    return SettingsForm(
        label=given.get("label", row.label or ""),
        pace=given.get("pace_seconds", pace),
        usual=f"{usual:g}",
        cap=given.get("daily_cap", "" if row.daily_cap is None else str(row.daily_cap)),
        usual_cap=able.daily_cap if settings.daily_cap is None else settings.daily_cap,
        defaults=[
            _asked(name, default, row.defaults.get(name), given.get(f"default.{name}"), wrong)
            for name, default in form.DEFAULTS.items()
        ],
        wrong=wrong,
    )


def _asked(name: str, default: Default, value: Any, given: str | None, wrong: Mapping[str, str]) -> Asked:
    choices = _YES_NO if default.kind == "yes_no" else default.choices
    return Asked(
        name=name,
        said=default.replace(" in cents", "") if default.kind == "cents" else str(default),
        value=_shown(value, default) if given is None else given,
        choices=list(choices.items()),
        money=default.kind == "cents",
        wrong=wrong.get(f"default.{name}"),
    )


def _shown(value: Any, default: Default) -> str:
    if value is None:
        return ""
    if default.kind == "yes_no":
        return "yes" if value is True else "no"
    if default.kind == "cents" and isinstance(value, int):
        return f"{value // 100}" if value % 100 == 0 else f"{value / 100:.2f}"
    return str(value)
