"""Sittings: a seller at a worker's browser, to answer what a marketplace asks of a person or to sign in
there. Who asked, where it is served, how it ended; and the tickets by which a web takes the seller there.

A ticket is signed, good for 60 seconds and once, and for one sitting of one seller at one worker.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.errors import Conflict, NotFound
from everystall.inventory.connections import DISCONNECTED, make_connection
from everystall.marketplaces import MARKETPLACES
from everystall.models import Connection, Sitting
from everystall.settings import Settings

#: Why an account waits for its seller → what they sit down for.
PURPOSES: Final = {"challenge": "challenge", "session_expired": "sign_in", DISCONNECTED: "sign_in"}
#: So long a sitting waits for a worker, and goes on without its seller; and altogether.
IDLE, LONGEST = timedelta(minutes=10), timedelta(minutes=30)
TICKET_SECONDS: Final = 60.0
#: Which of the key ring's keys signs tickets.
KEY: Final = "ticket"
_FOR: Final = "sit"


async def ask(session: AsyncSession, connection: Connection, by: str) -> Sitting:
    """A browser for this account, which is locked: the sitting that is open, else a new one, and whoever
    opens it is woken. Raises Conflict where nothing waits for its seller. `by`: the browser or token that
    asks."""
    label = MARKETPLACES[connection.marketplace]
    purpose = PURPOSES.get((connection.needs_you or {}).get("reason", ""))
    if purpose is None:
        raise Conflict(
            f"{label} asks nothing of you on this account.", action="Nothing: it is visited by itself."
        )
    await session.execute(
        update(Sitting)
        .where(
            Sitting.connection_id == connection.id, Sitting.ended_at.is_(None), Sitting.until <= func.now()
        )
        .values(ended_at=Sitting.until, outcome="left")
    )
    sitting = await find_open(session, connection.id)
    if sitting is None:
        sitting = Sitting(
            user_id=connection.user_id, connection_id=connection.id, purpose=purpose, asked_by=by,
            until=func.now() + IDLE,
        )  # fmt: skip
        session.add(sitting)
        await session.flush()
        await session.refresh(sitting)
    await engine.wake(session, [connection.id], "sittings")
    return sitting


async def begin_account(
    session: AsyncSession, settings: Settings, user_id: UUID, marketplace: str
) -> Connection:
    """An account that nobody is signed in to yet; the one that was begun before and came to nothing."""
    begun = (
        select(Connection)
        .where(Connection.marketplace == marketplace, Connection.session_seq == 0,
               Connection.account_id.is_(None))
        .order_by(Connection.created_at).limit(1).with_for_update()
    )  # fmt: skip
    await session.execute(  # two clicks at once begin one
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"),
        {"key": f"handover {user_id} {marketplace}"},
    )
    connection = await session.scalar(begun)
    if connection is None:
        connection = make_connection(user_id, marketplace, settings.base_url(marketplace))
        session.add(connection)
    label = MARKETPLACES[marketplace]
    connection.needs_you = {
        "reason": "session_expired",
        "message": f"You began to sign in to {label} here, and are not signed in yet.",
        "url": connection.base_url,
    }
    await session.flush()
    return connection


async def find_open(session: AsyncSession, connection_id: UUID) -> Sitting | None:
    found = await session.scalars(
        select(Sitting).where(
            Sitting.connection_id == connection_id, Sitting.ended_at.is_(None), Sitting.until > func.now()
        )
    )
    return found.one_or_none()


async def get_sitting(session: AsyncSession, id: UUID) -> tuple[Sitting, Connection]:
    """The seller's, with its account. Raises NotFound."""
    of = Connection.id == Sitting.connection_id
    found = await session.execute(select(Sitting, Connection).join(Connection, of).where(Sitting.id == id))
    row = found.one_or_none()
    if row is None:
        raise NotFound("There is no such sitting of yours.")
    return row[0], row[1]


async def find_sittings(session: AsyncSession, most: int) -> Sequence[tuple[Sitting, Connection]]:
    """The seller's, newest first."""
    of = Connection.id == Sitting.connection_id
    wanted = select(Sitting, Connection).join(Connection, of).order_by(Sitting.asked_at.desc()).limit(most)
    return [(row[0], row[1]) for row in await session.execute(wanted)]


async def end(session: AsyncSession, id: UUID, outcome: str, said: str | None = None) -> None:
    """Unless it has ended already. Whoever serves it hears of it within two seconds."""
    await session.execute(
        update(Sitting)
        .where(Sitting.id == id, Sitting.ended_at.is_(None))
        .values(ended_at=func.now(), outcome=outcome, said=said, address=None, ticket_hash=None)
    )


def is_over(sitting: Sitting) -> bool:
    return sitting.ended_at is not None or sitting.until <= datetime.now(UTC)


# ---- tickets ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ticket:
    """What a good one says."""

    sitting_id: UUID
    user_id: UUID
    connection_id: UUID
    hash: bytes


async def give_ticket(session: AsyncSession, key: bytes, sitting: Sitting) -> str:
    """For whoever serves the sitting now. The one that was given before is good for nothing any more."""
    said = {
        "for": _FOR, "sitting": str(sitting.id), "user": str(sitting.user_id),
        "account": str(sitting.connection_id), "worker": sitting.address,
        "until": time.time() + TICKET_SECONDS, "once": secrets.token_urlsafe(16),
    }  # fmt: skip
    body = base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
    ticket = f"{body}.{_signed(key, body)}"
    sitting.ticket_hash = _hash(ticket)
    await session.flush()
    return ticket


def read_ticket(keys: Sequence[bytes], ticket: str, worker: str) -> Ticket | None:
    """What it says, if it is one of ours, for this worker, and not too old. `keys`: of the whole ring."""
    body, _, signature = ticket.partition(".")
    if not ticket.isascii() or not any(hmac.compare_digest(_signed(key, body), signature) for key in keys):
        return None
    said = json.loads(base64.urlsafe_b64decode(body))  # ours: we signed it
    if said["for"] != _FOR or said["worker"] != worker or said["until"] < time.time():
        return None
    return Ticket(UUID(said["sitting"]), UUID(said["user"]), UUID(said["account"]), _hash(ticket))


async def use_ticket(session: AsyncSession, ticket: Ticket, worker: str) -> bool:
    """Whether it is good still; from now on it is not."""
    used = await session.execute(
        update(Sitting)
        .where(Sitting.id == ticket.sitting_id, Sitting.connection_id == ticket.connection_id,
               Sitting.ticket_hash == ticket.hash, Sitting.address == worker, Sitting.ended_at.is_(None))
        .values(ticket_hash=None, seen_at=func.now())
        .returning(Sitting.id)
    )  # fmt: skip
    return used.first() is not None


def _signed(key: bytes, body: str) -> str:
    return hmac.new(key, body.encode(), hashlib.sha256).hexdigest()


def _hash(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()
