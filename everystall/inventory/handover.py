"""A signed-in session that the seller hands over: what of it is kept, whose it is, where it goes.

Nothing here trusts it: cookies of other sites are left out, and it never moves to another account's
connection. What is kept is sealed by the vault in the caller's transaction.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.errors import BadRequest, SealBroken, SessionMissing, WhichAccount
from everystall.inventory.connections import described, get_connection, make_connection
from everystall.inventory.publications import ORDERS_STILL
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import Account
from everystall.models import Connection, Publication, User
from everystall.settings import Settings
from everystall.vault.sessions import Vault

#: chrome.cookies and browser.cookies → Playwright; what is missing or "unspecified" is Lax, as browsers do.
_SAME_SITE = {"no_restriction": "None", "none": "None", "lax": "Lax", "strict": "Strict"}
#: Questions that a new session answers.
_ANSWERED = ("session_expired", "challenge", "disconnected")


@dataclass(frozen=True)
class Handover:
    """As it came, its shape checked."""

    marketplace: str
    #: In the words of chrome.cookies or of Playwright.
    cookies: Sequence[Mapping[str, Any]]
    #: None: not looked at, because no page of it was open.
    local_storage: Mapping[str, str] | None
    session_storage: Mapping[str, str] | None
    user_agent: str | None
    languages: Sequence[str]
    time_zone: str | None
    captured_at: datetime
    browser_profile_id: str | None


@dataclass(frozen=True)
class Taken:
    connection: Connection
    new: bool
    #: Cookies left out because they are another site's.
    foreign: int
    #: The account that was asked for is another's; this is the session's own.
    elsewhere: bool


async def take(
    session: AsyncSession,
    vault: Vault,
    settings: Settings,
    user_id: UUID,
    given: Handover,
    *,
    proved: Account | None = None,
) -> Taken:
    """Keeps the session and wakes its account; all in the caller's transaction. `proved`: a visit has just
    seen it signed in as that account, in the worker's own browser.

    Raises BadRequest (no cookie of that marketplace, captured too long ago), SessionMissing (nothing in it
    is still valid), NotFound, WhichAccount.
    """
    form = get_form(given.marketplace)
    asked = await get_connection(session, given.browser_profile_id) if given.browser_profile_id else None
    if asked is not None and asked.marketplace != given.marketplace:
        raise BadRequest(
            f"{asked.public_id} is an account on {MARKETPLACES[asked.marketplace]}, "
            f"not on {MARKETPLACES[given.marketplace]}."
        )
    base_url = settings.base_url(given.marketplace)
    hosts = {urlsplit(url).hostname or "" for url in (base_url, asked.base_url if asked else base_url)}
    cookies, foreign = own_cookies(given.cookies, {*form.COOKIE_DOMAINS, *hosts})
    _refuse_empty(given, cookies, foreign, form.COOKIE_DOMAINS)
    storage = {
        "cookies": cookies,
        "localStorage": dict(given.local_storage or {}),
        "sessionStorage": dict(given.session_storage or {}),
        "userAgent": given.user_agent,
        "languages": list(given.languages),
        "timeZone": given.time_zone,
    }
    account = proved or _read_account(given.marketplace, storage)
    # two hand-overs at once must not make two connections of one account
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"),
        {"key": f"handover {user_id} {given.marketplace}"},
    )
    connection, new = await _connection_for(session, user_id, given, account, asked, base_url)
    had_question = connection.needs_you is not None
    _freshen(connection, account, base_url, check=new or had_question)
    await session.flush()
    if not new:
        storage |= await _storage_kept(vault, user_id, connection, given)
    await vault.save(
        session, user_id, connection, storage,
        captured_at=given.captured_at, origin="worker" if proved else "extension",
    )  # fmt: skip
    if given.time_zone is not None:
        await session.execute(
            update(User)
            .where(User.id == user_id, User.time_zone.is_distinct_from(given.time_zone))
            .values(time_zone=given.time_zone)
        )
    await _resume(session, connection)
    await engine.wake(session, [connection.id])
    return Taken(connection, new, foreign, elsewhere=asked is not None and asked.id != connection.id)


async def _storage_kept(
    vault: Vault, user_id: UUID, connection: Connection, given: Handover
) -> dict[str, Any]:
    """What was not looked at, as the account's own session has it. That is opened for it, in a transaction
    of its own beside the caller's, and the seller reads so; one that does not open keeps nobody from
    connecting anew."""
    missing = [
        name
        for name, value in (("localStorage", given.local_storage), ("sessionStorage", given.session_storage))
        if value is None
    ]
    if not missing:
        return {}
    try:
        opened = await vault.open(user_id, connection.id, purpose="keep its storage")
        with opened.secret as plain:
            known = json.loads(bytes(plain))
    except (SessionMissing, SealBroken):
        return {}
    return {name: known.get(name) or {} for name in missing}


# ---- cookies --------------------------------------------------------------------------------------


def own_cookies(cookies: Sequence[Mapping[str, Any]], domains: set[str]) -> tuple[list[dict[str, Any]], int]:
    """The cookies of these domains and their subdomains that are still valid, in Playwright's form; and
    how many were another site's."""
    kept, foreign, now = [], 0, time.time()
    for cookie in cookies:
        host = str(cookie.get("domain") or "").lower().removeprefix(".")
        site = _partition(cookie)
        if not _belongs(host, domains) or (site is not None and not _belongs(site, domains)):
            foreign += 1
            continue
        expires = cookie.get("expires", cookie.get("expirationDate"))
        if expires is not None and expires != -1 and expires <= now:
            continue
        kept.append(_playwright(cookie, host, expires))
    return kept, foreign


def _belongs(host: str, domains: set[str]) -> bool:
    return any(host == domain or host.endswith(f".{domain}") for domain in domains if domain)


def _partition(cookie: Mapping[str, Any]) -> str | None:
    """The host of the site that a partitioned cookie was set under."""
    key = cookie.get("partitionKey")
    site = key.get("topLevelSite") if isinstance(key, Mapping) else key
    return (urlsplit(site).hostname or "") if isinstance(site, str) and site else None


def _playwright(cookie: Mapping[str, Any], host: str, expires: float | None) -> dict[str, Any]:
    secure = bool(cookie.get("secure", False))
    same_site = _SAME_SITE.get(str(cookie.get("sameSite") or "").lower(), "Lax")
    if same_site == "None" and not secure:
        same_site = "Lax"  # Chromium refuses the other
    for_subdomains = not cookie.get("hostOnly", not str(cookie.get("domain")).startswith("."))
    made: dict[str, Any] = {
        "name": cookie["name"],
        "value": cookie["value"],
        "domain": f".{host}" if for_subdomains else host,
        "path": cookie.get("path") or "/",
        "expires": -1 if expires is None else float(expires),
        "httpOnly": bool(cookie.get("httpOnly", False)),
        "secure": secure,
        "sameSite": same_site,
    }
    key = cookie.get("partitionKey")
    site = key.get("topLevelSite") if isinstance(key, Mapping) else key
    if isinstance(site, str) and site:
        made["partitionKey"] = site
    return made


def _refuse_empty(given: Handover, kept: Sequence[Any], foreign: int, domains: Sequence[str]) -> None:
    label = MARKETPLACES[given.marketplace]
    if kept:
        return
    if foreign and foreign == len(given.cookies):
        raise BadRequest(
            f"None of the cookies is {label}'s ({', '.join(domains)}); nothing was kept.",
            action=f"Send the cookies of {label}'s own site.",
        )
    raise SessionMissing(
        f"There is no sign-in to {label} in this; nothing was kept.",
        action=f"Sign in to {label} in that browser, then connect it again.",
        missing=[{"marketplace": given.marketplace, "browserProfileId": None, "status": "missing"}],
    )


# ---- whose it is ----------------------------------------------------------------------------------


def _read_account(marketplace: str, storage: Mapping[str, Any]) -> Account:
    """What the session says of its owner; what it garbles counts as not said."""
    try:
        return get_form(marketplace).read_account(storage)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return Account(id=None)


async def _connection_for(
    session: AsyncSession,
    user_id: UUID,
    given: Handover,
    account: Account,
    asked: Connection | None,
    base_url: str,
) -> tuple[Connection, bool]:
    """The account's connection, and whether it is new. The account id decides; where the session tells
    none, the request, else the only one there is."""
    there = list(
        await session.scalars(
            select(Connection)
            .where(Connection.marketplace == given.marketplace)
            .order_by(Connection.created_at)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    )
    if account.id is not None:
        for connection in there:
            if connection.account_id == account.id:
                return connection, False
        if asked is not None and asked.account_id is None:
            return asked, False  # the seller says it is this one, and nobody else's id is on it
        for connection in there:
            if connection.account_id is None and connection.session_seq == 0:
                return connection, True  # a sign-in in the worker's browser was begun, and came to nothing
    elif asked is not None:
        return asked, False
    else:
        # one that was begun in the worker's browser and came to nothing is none to choose from
        used = [one for one in there if one.account_id is not None or one.session_seq > 0] or there[:1]
        if len(used) == 1:
            return used[0], used[0].session_seq == 0
        if used:
            raise WhichAccount(
                f"This session does not say whose it is, and you have {len(used)} accounts on "
                f"{MARKETPLACES[given.marketplace]}.",
                connections=[described(connection) for connection in used],
            )
    connection = make_connection(user_id, given.marketplace, base_url)
    session.add(connection)
    return connection, True


def _freshen(connection: Connection, account: Account, base_url: str, *, check: bool) -> None:
    connection.account_id = account.id or connection.account_id
    connection.account_name = account.name or connection.account_name
    connection.needs_you = None
    connection.refresh_asked_at = None
    if check:  # a visit proves it soon; a capture that only follows the last one costs the site nothing
        connection.next_check_at = func.now()
    old, new = urlsplit(connection.base_url), urlsplit(base_url)
    if old.hostname == new.hostname:
        connection.base_url = base_url  # the same site on another port, as a sandbox is after a restart


async def _resume(session: AsyncSession, connection: Connection) -> None:
    """What waited for this sign-in goes on."""
    await session.execute(
        update(Publication)
        .where(
            Publication.connection_id == connection.id,
            Publication.needs_you["reason"].astext.in_(_ANSWERED),
        )
        .values(needs_you=ORDERS_STILL, next_try_at=None, tries=0, finished_at=None, updated_at=func.now())
        .execution_options(synchronize_session=False)
    )
