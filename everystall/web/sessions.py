"""The seller's own browser hands over a signed-in session, asks whether it still works, hears that a new one
is wanted, says that it was signed out there, or takes everything back.

A session is never shown, logged or repeated in an error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, Final, Literal
from zoneinfo import available_timezones

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from sqlalchemy import exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.errors import NotFound, SessionMissing
from everystall.inventory.connections import SignIn, disconnect, find_sign_ins, get_connection, ids_of
from everystall.inventory.handover import Handover, take
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.models import ApiToken, Connection
from everystall.web import captures
from everystall.web.deps import AllParts, Parts, SessionsSeller, SessionsTransaction, SignedIn
from everystall.web.shapes import Body, Done, NeedsYou, Shape, written

router = APIRouter(prefix="/api/sessions", tags=["sessions"])

#: A page asks every 30 seconds, and when a token was last used is written down once a minute.
WATCHING: Final = timedelta(seconds=90)


def _in_utc(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


#: More than any marketplace's own session has.
MOST_COOKIES, MOST_ENTRIES = 500, 5000


def _storage(value: Any) -> Any:
    """Entries with half a surrogate pair cannot be put back by any tool; sites do not keep sign-ins so.
    What is wrong is told without the entry's name, which a site may have put a secret in."""
    if not isinstance(value, dict) or not all(isinstance(entry, str) for entry in value.values()):
        raise ValueError('must be the texts of the storage by name: {"name": "text", …}')
    if len(value) > MOST_ENTRIES:
        raise ValueError(f"has more than {MOST_ENTRIES} entries; send that marketplace's own only")
    if any(len(name) > 2000 for name in value):
        raise ValueError("has a name of more than 2000 characters; leave that entry out")
    return {k: v for k, v in value.items() if not any("\ud800" <= c <= "\udfff" for c in k + v)}


def _cookies(value: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError('must be a list of cookies: [{"name": …, "value": …, "domain": …}, …]')
    if len(value) > MOST_COOKIES:
        raise ValueError(f"has more than {MOST_COOKIES} cookies; send that marketplace's own only")
    return value


def _partition_key(value: Any) -> Any:
    if value is not None and not isinstance(value, str | dict):
        raise ValueError('must be a site, or {"topLevelSite": site}')
    return value


#: An account here. Its letters are told to who generates requests: 200 of them fit into one address.
AccountId = Annotated[
    str,
    Field(max_length=100, json_schema_extra={"pattern": "^[A-Za-z0-9_-]+$"}),
    written("[A-Za-z0-9_-]+", "must be an account's id, such as bp_poshmark_…"),
]


class CookieBody(Body):
    """As chrome.cookies, browser.cookies or Playwright tell it; more fields do no harm."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(max_length=4096)]
    value: Annotated[str, Field(max_length=8192)]
    domain: Annotated[str, Field(min_length=1, max_length=255)]
    path: Annotated[str, Field(max_length=2048)] | None = None
    secure: bool = False
    http_only: bool = False
    host_only: bool | None = None
    same_site: Annotated[str, Field(max_length=40)] | None = None
    #: Seconds since 1970; -1 or nothing: until the browser closes.
    expires: Annotated[float, Field(ge=-1, le=1e11)] | None = None
    expiration_date: Annotated[float, Field(ge=-1, le=1e11)] | None = None
    partition_key: Annotated[Any, AfterValidator(_partition_key)] = None


Storage = Annotated[dict[str, str], BeforeValidator(_storage)]


Language = Annotated[
    str,
    Field(max_length=35),
    written("[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*", "must be a language's tag, such as en-US"),
]


@cache  # reading it takes 0.1 s
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _known_zone(value: str) -> str | None:
    """One that is not in the list counts as not told: browsers say Etc/Unknown or +05:30, or know others."""
    return value if value in _zones() else None


class SyncBody(Shape):
    """What the extension sends. What it adds in later versions does no harm."""

    marketplace: Annotated[str, Field(max_length=60)]
    cookies: Annotated[list[CookieBody], BeforeValidator(_cookies)]
    #: Null, or left out: not looked at, so that what is here of this account's storage stays.
    local_storage: Storage | None = None
    session_storage: Storage | None = None
    is_logged_in: bool
    timestamp: Annotated[datetime, AfterValidator(_in_utc)]
    user_agent: Annotated[
        str, Field(max_length=1000), written("[ -~]*", "must be one line of ASCII")
    ] | None = None  # fmt: skip
    #: As navigator.languages, the preferred one first.
    languages: Annotated[list[Language], Field(max_length=20)] = []
    #: As Intl.DateTimeFormat().resolvedOptions().timeZone.
    time_zone: Annotated[str, Field(max_length=64), AfterValidator(_known_zone)] | None = None
    browser_profile_id: AccountId | None = None


class SyncedOut(Shape):
    success: Literal[True] = True
    marketplace: str
    browser_profile_id: str
    message: str


class WhichBody(Body):
    """One marketplace, one account, or neither: all of them."""

    marketplace: Annotated[str, Field(max_length=60)] | None = None
    browser_profile_id: AccountId | None = None


class SignedOutBody(Body):
    marketplace: Annotated[str, Field(max_length=60)]
    #: None: every account there.
    browser_profile_id: AccountId | None = None


class ForgetBody(Body):
    browser_profile_id: AccountId


class Wanted(Shape):
    marketplace: str
    browser_profile_id: str
    asked_at: datetime


class WantedOut(Shape):
    wanted: list[Wanted]
    #: A page of this seller's was open in the last 90 seconds, so that one may be asked for any moment.
    watching: bool


class SessionOut(Shape):
    marketplace: str
    browser_profile_id: str | None
    label: str | None
    account_name: str | None
    #: connected · expired: there was one, connect it again · missing: never connected, or taken away
    status: Literal["connected", "expired", "missing"]
    expires_at: datetime | None
    #: When a visit last saw it signed in.
    last_verified_at: datetime | None
    #: When a new capture was asked for and has not come yet.
    refresh_asked_at: datetime | None
    needs_you: NeedsYou | None


class SessionsOut(Shape):
    success: Literal[True] = True
    #: Every one of them is connected.
    valid: bool
    message: str
    sessions: list[SessionOut]


async def _in_turn(parts: AllParts) -> AsyncIterator[None]:
    async with parts.handovers:
        yield


#: Named before the transaction, so that it is waited for before a connection is taken.
Turn = Annotated[None, Depends(_in_turn, scope="function")]


@router.post("/sync")
async def sync_session(
    body: SyncBody, who: SessionsSeller, turn: Turn, session: SessionsTransaction, parts: AllParts
) -> SyncedOut:
    """Seals one marketplace's session. Only cookies of that marketplace's own domains are kept."""
    get_form(body.marketplace)
    label = MARKETPLACES[body.marketplace]
    if not body.is_logged_in:
        raise SessionMissing(
            f"You are not signed in to {label} in that browser; nothing was kept.",
            action=f"Sign in to {label} there, then connect it again.",
            missing=[{"marketplace": body.marketplace, "browserProfileId": None, "status": "missing"}],
        )
    taken = await take(
        session,
        parts.vault,
        parts.settings,
        who.user_id,
        Handover(
            marketplace=body.marketplace,
            cookies=[cookie.model_dump(by_alias=True, exclude_none=True) for cookie in body.cookies],
            local_storage=body.local_storage,
            session_storage=body.session_storage,
            user_agent=body.user_agent or None,
            languages=body.languages,
            time_zone=body.time_zone,
            captured_at=body.timestamp,
            browser_profile_id=body.browser_profile_id,
        ),
    )
    connection = taken.connection
    name = f" as {connection.account_name}" if connection.account_name else ""
    message = f"Session synced successfully: {label} is connected{name}."
    if taken.elsewhere:
        message += f" It is another account's than {body.browser_profile_id}, so it was kept for its own."
    if taken.foreign:
        message += f" {taken.foreign} cookies of other sites were left out."
    return SyncedOut(marketplace=body.marketplace, browser_profile_id=connection.public_id, message=message)


@router.post("/validate")
async def validate_sessions(body: WhichBody, session: SessionsTransaction) -> SessionsOut:
    """Whether the sign-ins still stand, as far as is known; nothing is visited for it."""
    return _shown(await _meant(session, body), body)


@router.post("/refresh")
async def refresh_sessions(body: WhichBody, session: SessionsTransaction, who: SessionsSeller) -> SessionsOut:
    """Asks the seller's browser for a new capture, and has a visit see whether the old one still works."""
    sign_ins = await _meant(session, body)
    if not sign_ins and body.browser_profile_id is None:
        return _shown([], body)
    # one that the seller took away is connected again by the seller, and not asked for
    ids = sorted(ids_of([one for one in sign_ins if not one.forgotten]))
    if ids:
        await captures.ask(session, who.user_id, ids)
        await engine.wake(session, ids)
    sign_ins = await _meant(session, body, fresh=True)
    shown = _shown(sign_ins, body)
    return shown.model_copy(
        update={"message": "Asked for a new capture: open the marketplace in the browser with the extension."}
    )


@router.get("/wanted")
async def find_wanted(
    parts: AllParts,
    who: SessionsSeller,
    wait: Annotated[float, Query(ge=0, le=25)] = 0,
    browserProfileId: Annotated[list[AccountId], Query(max_length=200)] = [],  # noqa: B006
) -> WantedOut:
    """Which captures are asked for: of all accounts, or of those named. With `wait`, answers as soon as there
    is one, or after so many seconds with none. No transaction is open meanwhile."""
    until = time.monotonic() + wait
    with parts.captures.waiting(who.user_id) as woken:
        if wait:
            await parts.captures.ready(wait)
        while True:
            woken.clear()
            found = await _wanted(parts, who, browserProfileId)
            left = until - time.monotonic()
            if found.wanted or left <= 0 or parts.captures.closed:
                return found
            with suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), left)


async def _wanted(parts: Parts, who: SignedIn, profiles: Sequence[str]) -> WantedOut:
    async with parts.database.as_user(who.user_id) as session:
        asked = await captures.find_asked(session)
        seen = ApiToken.last_used_at > func.now() - WATCHING
        watching = await session.scalar(select(exists().where(ApiToken.kind == "browser", seen)))
    return WantedOut(
        wanted=[
            Wanted(
                marketplace=one.marketplace,
                browser_profile_id=one.public_id,
                asked_at=one.refresh_asked_at,
            )
            for one in asked
            if one.refresh_asked_at is not None and (not profiles or one.public_id in profiles)
        ],
        watching=bool(watching),
    )


@router.post("/signed-out")
async def report_signed_out(
    body: SignedOutBody, session: SessionsTransaction, parts: AllParts
) -> SessionsOut:
    """The seller's own browser is signed out there. Marketplaces often end one sign-in and not the other,
    so a visit looks now, and nothing is concluded before it has. Sign-ins from before the newest are
    forgotten."""
    which = WhichBody(marketplace=body.marketplace, browser_profile_id=body.browser_profile_id)
    ids = sorted(ids_of([one for one in await _meant(session, which) if not one.forgotten]))
    if ids:
        await parts.vault.forget_earlier(session, ids)
        await session.execute(
            update(Connection).where(Connection.id.in_(ids)).values(next_check_at=func.now())
        )
        await engine.wake(session, ids)
    shown = _shown(await _meant(session, which, fresh=True), which)
    return shown.model_copy(update={"message": "A visit looks whether the session here still works."})


@router.post("/forget")
async def forget_session(body: ForgetBody, session: SessionsTransaction, parts: AllParts) -> Done:
    """Takes the consent back: the sealed session is deleted now, whatever is live there. What was posted
    stays listed, and cannot be taken down by us until the account is connected again."""
    connection = await get_connection(session, body.browser_profile_id, lock=True)
    await disconnect(session, parts.vault, connection)
    return Done(message=f"The session of this {MARKETPLACES[connection.marketplace]} account is forgotten.")


async def _meant(session: AsyncSession, body: WhichBody, *, fresh: bool = False) -> list[SignIn]:
    if body.marketplace is not None:
        get_form(body.marketplace)
    if fresh:
        session.expire_all()
    sign_ins = await find_sign_ins(
        session,
        marketplaces=[body.marketplace] if body.marketplace is not None else None,
        public_ids=[body.browser_profile_id] if body.browser_profile_id is not None else None,
    )
    if body.browser_profile_id is not None and not sign_ins:
        raise NotFound(f"There is no account of yours {body.browser_profile_id[:60]!r}.")
    return sign_ins


def _shown(sign_ins: Sequence[SignIn], body: WhichBody) -> SessionsOut:
    shown = [_one(sign_in) for sign_in in sign_ins]
    wanted = [body.marketplace] if body.marketplace is not None else list(MARKETPLACES)
    if body.browser_profile_id is None:
        there = {one.marketplace for one in shown}
        shown += [_none(marketplace) for marketplace in wanted if marketplace not in there]
    broken = [one for one in shown if one.status != "connected"]
    message = "Every sign-in stands."
    if broken:
        message = "; ".join(f"{MARKETPLACES[one.marketplace]}: {one.status}" for one in broken) + "."
    return SessionsOut(valid=not broken, message=message, sessions=shown)


def _one(sign_in: SignIn) -> SessionOut:
    connection = sign_in.connection
    return SessionOut(
        marketplace=connection.marketplace,
        browser_profile_id=connection.public_id,
        label=connection.label,
        account_name=connection.account_name,
        status=sign_in.status,
        expires_at=sign_in.expires_at,
        last_verified_at=sign_in.verified_at,
        refresh_asked_at=connection.refresh_asked_at,
        needs_you=NeedsYou(**connection.needs_you) if connection.needs_you else None,
    )


def _none(marketplace: str) -> SessionOut:
    return SessionOut(
        marketplace=marketplace, browser_profile_id=None, label=None, account_name=None, status="missing",
        expires_at=None, last_verified_at=None, refresh_asked_at=None, needs_you=None,
    )  # fmt: skip
