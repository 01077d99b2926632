"""What a request is given: who is asking, one transaction as that seller, and the parts of the process.

Who is asking is told by a bearer token, else by a browser's cookie. Bearer tokens are the programs' and the
extension's, cookies the pages'; neither is taken for the other.

The transaction begins with the seller's claims and is committed here, after the router and before the
answer leaves: a router never commits, and an answer is never sent for what was not kept.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.choices import Following
from everystall.content.model import Model
from everystall.content.photos import Photos
from everystall.db import Database
from everystall.errors import NotAllowed, NotFound, SignInFirst, Unauthenticated
from everystall.settings import Settings
from everystall.vault.sessions import Vault
from everystall.web import browsers, supabase
from everystall.web.limits import Limits, budget_of
from everystall.web.listening import Listening
from everystall.web.numbers import Numbers
from everystall.web.provider import Provider
from everystall.web.supabase import Supabase
from everystall.web.tokens import PREFIX, hash_of

#: May hand over sessions and ask about them: what the extension's token is given.
SESSIONS_WRITE = "sessions:write"


@dataclass
class Parts:
    """What one web process shares among its requests."""

    #: Newer ones take their place while it runs, where the owner changes one (everystall/choices.py).
    settings: Settings
    database: Database
    vault: Vault
    photos: Photos
    limits: Limits
    #: Captures that are asked for, and publications that change.
    captures: Listening
    moves: Listening
    #: Sessions that are handed over at once. Each may need a second connection, to open the session that is
    #: here; all of the pool's 20 held by the first would wait for each other.
    handovers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(5))

    #: Pages that show a worker's browser, or wait for one, by seller.
    sitting: Counter[UUID] = field(default_factory=Counter)

    #: Files of listings that are read at once: each takes seconds of a processor and much memory.
    imports: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    #: Accounts that send an archive here: each of up to 10 GB lies on the disk until it is answered.
    sending: set[UUID] = field(default_factory=set)
    following: Following = field(init=False)
    numbers: Numbers = field(init=False)
    model: Model = field(init=False)
    provider: Provider = field(init=False)
    supabase: Supabase = field(init=False)

    def __post_init__(self) -> None:
        self.following = Following(self.settings, self.vault.open_setting, self._follow)
        self.numbers = Numbers(self.database)
        self.model = Model(self.settings)
        self.provider = Provider()
        self.supabase = Supabase()

    def _follow(self, newer: Settings) -> None:
        self.vault.settings = newer
        self.model.follow(newer)

    @property
    def csrf_key(self) -> bytes:
        return self.vault.subkey("csrf")


@dataclass(frozen=True)
class SignedIn:
    user_id: UUID
    token_id: UUID
    #: api · browser · extension · supabase; then `token_id` is the sign-in's there
    kind: str
    scopes: frozenset[str]
    #: Where `token_id` names no row of ours that says so.
    signed_in_at: datetime | None = None

    def may(self, scope: str) -> bool:
        """No scope at all, or `*`, is every scope; an extension's token is for sessions at most."""
        if self.kind == "extension":
            return scope == SESSIONS_WRITE and scope in self.scopes
        return not self.scopes or "*" in self.scopes or scope in self.scopes


async def parts_of(request: Request) -> Parts:  # what is not async goes through a thread
    parts: Parts = request.app.state.parts
    await parts.following.follow(parts, parts.database)
    return parts


AllParts = Annotated[Parts, Depends(parts_of)]


async def _deserted(parts: AllParts) -> bool:
    return await parts.numbers.without_workers()


#: No worker runs. Asked on a connection of its own: it stands before what holds one already.
Deserted = Annotated[bool, Depends(_deserted)]
_bearer = HTTPBearer(auto_error=False, description="`evs_…`, or a Supabase access token")


async def signed_in(
    request: Request,
    parts: AllParts,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> SignedIn:
    """Whose token or cookie it is. Raises Unauthenticated for none, an unknown, an expired or a revoked one,
    CrossSite for a cookie in a request that changes something and is not from one of our own pages,
    RateLimited for too many."""
    if given is None:
        return await _of_cookie(request, parts)
    token = given.credentials
    if parts.settings.supabase_url is not None and not token.startswith(PREFIX):
        who: SignedIn | None = await _from_supabase(parts, token)
    elif not token.startswith(PREFIX) or len(token) > 200:
        raise Unauthenticated("That is not an Everystall API token.")
    else:
        who = await find_signed_in(parts, token, ("api", "extension"))
    if who is None:
        raise Unauthenticated("This API token is unknown, expired or revoked.")
    await parts.limits.spend(budget_of(request.url.path), str(who.user_id))
    return who


async def _from_supabase(parts: Parts, token: str) -> SignedIn:
    """Raises what `Supabase.known` raises, and Conflict for who has the address of another account here."""
    try:
        person = await parts.supabase.known(parts.settings, token)
    except Unauthenticated:
        parts.limits.remember(token, False)
        raise
    row = await parts.database.ask(
        "SELECT everystall.sign_in_from_supabase(%(id)s, %(email)s, %(owner)s) AS known",
        id=person.id, email=person.email, owner=person.id == parts.settings.supabase_owner,
    )  # fmt: skip
    if row is None or not row.known:
        raise supabase.stranger(person)
    parts.limits.remember(token, True)
    structlog.contextvars.bind_contextvars(user_id=str(person.id))
    return SignedIn(person.id, person.session_id, "supabase", frozenset(), person.signed_in_at)


async def _whose_cookie(request: Request, parts: Parts) -> SignedIn:
    token = browsers.cookie_of(request.headers, parts.settings)
    if token is None:
        raise Unauthenticated
    who = await find_signed_in(parts, token, ("browser",))
    if who is None:
        raise Unauthenticated("This browser is not signed in any more.", action="Sign in again.")
    return who


async def _of_cookie(request: Request, parts: Parts) -> SignedIn:
    who = await _whose_cookie(request, parts)
    if request.method not in browsers.SAFE:
        await browsers.check_csrf(request, parts.settings, parts.csrf_key, who.token_id)
    await parts.limits.spend(budget_of(request.url.path), str(who.user_id))
    return who


async def find_signed_in(parts: Parts, token: str, kinds: Collection[str]) -> SignedIn | None:
    """Whose it is, if it is good and of one of these kinds."""
    row = await parts.database.ask(
        "SELECT user_id, token_id, scopes, kind FROM everystall.sign_in(%(hash)s)", hash=hash_of(token)
    )
    good = row is not None and row.user_id is not None and row.kind in kinds
    parts.limits.remember(token, good)
    if row is None or not good:
        return None
    structlog.contextvars.bind_contextvars(user_id=str(row.user_id))
    return SignedIn(row.user_id, row.token_id, row.kind, frozenset(row.scopes or ()))


async def on_page(request: Request, parts: AllParts) -> SignedIn:
    """For HTML pages and their forms: the cookie's seller. Raises SignInFirst, which leads to /sign-in and
    back, and CrossSite."""
    try:
        return await _of_cookie(request, parts)
    except Unauthenticated:
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        raise SignInFirst(browsers.same_site_path(here) if request.method == "GET" else "/") from None


async def of_unread_form(request: Request, parts: Parts) -> SignedIn:
    """For a form of gigabytes: the cookie's seller, before anything of the form is read. It comes from a page
    of ours; that it is theirs is for who calls this to see (`browsers.check_csrf`). Raises SignInFirst,
    CrossSite."""
    try:
        who = await _whose_cookie(request, parts)
    except Unauthenticated:
        raise SignInFirst("/") from None
    browsers.check_own_page(request.headers, parts.settings)
    await parts.limits.spend(budget_of(request.url.path), str(who.user_id))
    return who


async def own_page(request: Request, parts: AllParts) -> None:
    """For what is posted before anybody is signed in: from our own pages only. Raises CrossSite."""
    browsers.check_own_page(request.headers, parts.settings)


async def _for_everything(who: Annotated[SignedIn, Depends(signed_in)]) -> SignedIn:
    if not who.may("*"):
        raise NotAllowed("This token is for handing over sessions only; this needs one for everything (`*`).")
    return who


async def _for_sessions(who: Annotated[SignedIn, Depends(signed_in)]) -> SignedIn:
    if not who.may(SESSIONS_WRITE):
        raise NotAllowed(f"This needs a token with the scope {SESSIONS_WRITE}.")
    return who


Seller = Annotated[SignedIn, Depends(_for_everything)]
SessionsSeller = Annotated[SignedIn, Depends(_for_sessions)]


async def _transaction(parts: AllParts, who: Seller) -> AsyncIterator[AsyncSession]:
    async with parts.database.as_user(who.user_id) as session:
        yield session


async def _sessions_transaction(parts: AllParts, who: SessionsSeller) -> AsyncIterator[AsyncSession]:
    async with parts.database.as_user(who.user_id) as session:
        yield session


PageSeller = Annotated[SignedIn, Depends(on_page)]


async def _page_owner(parts: AllParts, who: PageSeller) -> SignedIn:
    """For pages of who runs this installation. Raises NotFound for everybody else, as if there were none."""
    async with parts.database.as_user(who.user_id) as session:
        role = await session.scalar(text("SELECT role FROM users WHERE id = :id"), {"id": who.user_id})
    if role != "owner":
        raise NotFound("There is nothing at this address.", action="Check the address.")
    return who


PageOwner = Annotated[SignedIn, Depends(_page_owner)]


async def _page_transaction(parts: AllParts, who: PageSeller) -> AsyncIterator[AsyncSession]:
    async with parts.database.as_user(who.user_id) as session:
        yield session


# "function": leaves, and so commits, before the answer is sent
Transaction = Annotated[AsyncSession, Depends(_transaction, scope="function")]
SessionsTransaction = Annotated[AsyncSession, Depends(_sessions_transaction, scope="function")]
PageTransaction = Annotated[AsyncSession, Depends(_page_transaction, scope="function")]


def as_id(value: str) -> UUID:
    """An id that cannot be one is nobody's."""
    try:
        return UUID(value)
    except ValueError:
        raise NotFound from None


async def _listing_id(listingId: str) -> UUID:  # the path's own name
    return as_id(listingId)


async def _photo_id(photoId: str) -> UUID:
    return as_id(photoId)


ListingId = Annotated[UUID, Depends(_listing_id)]
PhotoId = Annotated[UUID, Depends(_photo_id)]
