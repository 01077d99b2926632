"""What a request is given: who is asking, one transaction as that seller, and the parts of the process.

The transaction begins with the seller's claims and is committed here, after the router and before the
answer leaves: a router never commits, and an answer is never sent for what was not kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.content.photos import Photos
from everystall.db import Database
from everystall.errors import NotAllowed, NotFound, Unauthenticated
from everystall.settings import Settings
from everystall.vault.sessions import Vault
from everystall.web.tokens import PREFIX, hash_of

#: May hand over sessions and ask about them: what the extension's token is given.
SESSIONS_WRITE = "sessions:write"


@dataclass(frozen=True)
class Parts:
    """What one web process shares among its requests."""

    settings: Settings
    database: Database
    vault: Vault
    photos: Photos


@dataclass(frozen=True)
class SignedIn:
    user_id: UUID
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """No scope at all, or `*`, is every scope."""
        return not self.scopes or "*" in self.scopes or scope in self.scopes


def parts_of(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


AllParts = Annotated[Parts, Depends(parts_of)]
_bearer = HTTPBearer(auto_error=False, description="`evs_…`, from `everystall token create`")


async def signed_in(
    parts: AllParts, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> SignedIn:
    """Whose token it is. Raises Unauthenticated for none, an unknown, an expired or a revoked one."""
    if given is None:
        raise Unauthenticated
    token = given.credentials
    if not token.startswith(PREFIX) or len(token) > 200:
        raise Unauthenticated("That is not an Everystall API token.")
    async with parts.database.as_app() as session:
        row = (
            await session.execute(
                text("SELECT user_id, scopes FROM everystall.sign_in(:hash)"), {"hash": hash_of(token)}
            )
        ).first()
    if row is None or row.user_id is None:
        raise Unauthenticated("This API token is unknown, expired or revoked.")
    return SignedIn(row.user_id, frozenset(row.scopes or ()))


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


# "function": leaves, and so commits, before the answer is sent
Transaction = Annotated[AsyncSession, Depends(_transaction, scope="function")]
SessionsTransaction = Annotated[AsyncSession, Depends(_sessions_transaction, scope="function")]


def as_id(value: str) -> UUID:
    """An id that cannot be one is nobody's."""
    try:
        return UUID(value)
    except ValueError:
        raise NotFound from None


def _listing_id(listingId: str) -> UUID:  # the path's own name
    return as_id(listingId)


def _photo_id(photoId: str) -> UUID:
    return as_id(photoId)


ListingId = Annotated[UUID, Depends(_listing_id)]
PhotoId = Annotated[UUID, Depends(_photo_id)]
