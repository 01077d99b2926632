"""A seller's accounts and whether we are signed in there; which of them a request means."""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import NotFound, WhichAccount
from everystall.inventory.publications import hold_all, release_all
from everystall.marketplaces import MARKETPLACES
from everystall.models import Connection, MarketplaceSession
from everystall.vault.sessions import Vault

#: connected: a session that is not known to be signed out · expired: there was one · missing: none
Status = Literal["connected", "expired", "missing"]
_LETTERS = string.ascii_lowercase + string.digits
#: needs_you of an account that the seller took away and whose history is kept.
DISCONNECTED = "disconnected"
#: needs_you of an account whose place has no worker.
NO_WORKER = "no_worker"


@dataclass(frozen=True)
class SignIn:
    """An account and its sign-in as it stands."""

    connection: Connection
    status: Status
    expires_at: datetime | None
    #: When a visit last saw it signed in.
    verified_at: datetime | None

    @property
    def forgotten(self) -> bool:
        return (self.connection.needs_you or {}).get("reason") == DISCONNECTED


_KEPT = (
    select(
        MarketplaceSession.connection_id,
        func.max(MarketplaceSession.expires_at)
        .filter(
            MarketplaceSession.expires_at > func.now(),
            or_(
                MarketplaceSession.failed_at.is_(None),
                MarketplaceSession.worked_at > MarketplaceSession.failed_at,
            ),
        )
        .label("expires_at"),
        func.max(MarketplaceSession.worked_at).label("verified_at"),
    )
    .group_by(MarketplaceSession.connection_id)
    .subquery()
)
_SIGN_INS: Any = (
    select(Connection, _KEPT.c.expires_at, _KEPT.c.verified_at)
    .outerjoin(_KEPT, _KEPT.c.connection_id == Connection.id)
    .order_by(Connection.created_at, Connection.id)
)


async def find_sign_ins(
    session: AsyncSession,
    *,
    marketplaces: Iterable[str] | None = None,
    public_ids: Iterable[str] | None = None,
) -> list[SignIn]:
    """The seller's accounts with their sign-ins, oldest first; all, or those of some marketplaces and/or
    those with some public ids. One query."""
    wanted = _SIGN_INS
    if marketplaces is not None:
        wanted = wanted.where(Connection.marketplace.in_(list(marketplaces)))
    if public_ids is not None:
        wanted = wanted.where(Connection.public_id.in_(list(public_ids)))
    rows = (await session.execute(wanted)).all()
    return [_sign_in(connection, expires_at, verified_at) for connection, expires_at, verified_at in rows]


def _sign_in(connection: Connection, expires_at: datetime | None, verified_at: datetime | None) -> SignIn:
    reason = (connection.needs_you or {}).get("reason")
    status: Status = "connected"
    if reason == DISCONNECTED:
        status, expires_at = "missing", None
    elif expires_at is None or reason == "session_expired":
        status = "expired"
    return SignIn(connection, status, expires_at, verified_at)


async def get_connection(session: AsyncSession, public_id: str, *, lock: bool = False) -> Connection:
    """The seller's account of that browserProfileId. Raises NotFound."""
    wanted = select(Connection).where(Connection.public_id == public_id)
    found = (await session.execute(wanted.with_for_update() if lock else wanted)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"There is no account of yours {public_id[:60]!r}.")
    return found


def make_connection(user_id: UUID, marketplace: str, base_url: str) -> Connection:
    """A new account, which the caller keeps."""
    short = "".join(secrets.choice(_LETTERS) for _ in range(10))
    return Connection(
        user_id=user_id, public_id=f"bp_{marketplace}_{short}", marketplace=marketplace, base_url=base_url
    )


async def go_on(session: AsyncSession, connection: Connection) -> None:
    """The seller did what the account waited for; so what waited there goes on. The caller wakes it."""
    reason = (connection.needs_you or {}).get("reason")
    connection.needs_you = None
    await release_all(session, connection, str(reason))


async def disconnect(session: AsyncSession, vault: Vault, connection: Connection) -> None:
    """Forgets the account's sealed session. The account stands, with its history, as taken away, and what
    waits for a visit there waits for the seller."""
    await vault.forget(session, connection.id)
    message = (
        f"You took this {MARKETPLACES[connection.marketplace]} account away. Connect it again to use it."
    )
    connection.needs_you = {
        "reason": DISCONNECTED,
        "message": message,
        "url": connection.base_url,
        "actions": [],
    }
    connection.next_check_at = connection.refresh_asked_at = None
    await hold_all(session, connection, DISCONNECTED, message)


async def place_deserted(session: AsyncSession, connection: Connection) -> None:
    """No worker stands at the account's place: what waits for a visit there says so."""
    message = (
        f"No worker runs at “{connection.place}”, where this {MARKETPLACES[connection.marketplace]} account "
        "is visited from: nothing more is posted, changed or taken down there. It goes on by itself when one "
        "is back, and nothing is lost."
    )
    # no button: nothing that its seller could press brings a worker there
    connection.needs_you = {
        "reason": NO_WORKER,
        "message": message,
        "url": connection.base_url,
        "actions": [],
    }
    await hold_all(session, connection, NO_WORKER, message, tells_stand=True)


async def place_attended(session: AsyncSession, connection: Connection) -> None:
    """A worker stands there (again): what waited for one goes on. The caller wakes the account."""
    if (connection.needs_you or {}).get("reason") == NO_WORKER:
        connection.needs_you = None
    await release_all(session, connection, NO_WORKER)


def choose(
    sign_ins: Sequence[SignIn], marketplaces: Sequence[str], public_ids: Sequence[str], *, every: bool = False
) -> dict[str, list[SignIn]]:
    """Which accounts of which marketplace are meant: of each marketplace all that are named in
    `public_ids`, else its only one (`every`: else all of them); none stands for "not connected".

    Raises NotFound for a named account that is not among them, WhichAccount with the candidates of every
    marketplace that has several and none named.
    """
    known = {one.connection.public_id for one in sign_ins}
    for public_id in public_ids:
        if public_id not in known:
            raise NotFound(f"There is no account of yours {public_id[:60]!r} on these marketplaces.")
    meant: dict[str, list[SignIn]] = {}
    unclear: list[SignIn] = []
    for marketplace in marketplaces:
        there = [one for one in sign_ins if one.connection.marketplace == marketplace]
        named = [one for one in there if one.connection.public_id in public_ids]
        candidates = named or [one for one in there if not one.forgotten]
        if not named and len(candidates) > 1 and not every:
            unclear += candidates
        meant[marketplace] = candidates
    if unclear:
        names = sorted({MARKETPLACES[one.connection.marketplace] for one in unclear})
        raise WhichAccount(
            f"You have several accounts on {', '.join(names)}: which shall it be?",
            action="Name the accounts in `connections`.",
            connections=[described(one.connection) for one in unclear],
        )
    return meant


def described(connection: Connection) -> dict[str, Any]:
    """An account, in an error's details."""
    return {
        "marketplace": connection.marketplace,
        "browserProfileId": connection.public_id,
        "label": connection.label,
        "accountName": connection.account_name,
    }


def ids_of(sign_ins: Iterable[SignIn]) -> list[UUID]:
    return [one.connection.id for one in sign_ins]
