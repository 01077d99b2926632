"""Captures that the server asks the seller's own browser for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.models import Connection

#: On which it is told that some are asked for.
CHANNEL: Final = "everystall_captures"


async def ask(session: AsyncSession, user_id: UUID, connection_ids: Sequence[UUID]) -> None:
    """Asks for a new capture of these accounts when the transaction commits, and has a visit see whether
    the session that is here still works."""
    await session.execute(
        update(Connection)
        .where(Connection.id.in_(connection_ids))
        .values(refresh_asked_at=func.now(), next_check_at=func.now())
    )
    await session.execute(text("SELECT pg_notify(:channel, :who)"), {"channel": CHANNEL, "who": str(user_id)})


async def find_asked(session: AsyncSession) -> list[Connection]:
    """The seller's accounts that wait for a capture, the longest first."""
    rows = await session.scalars(
        select(Connection)
        .where(Connection.refresh_asked_at.is_not(None))
        .order_by(Connection.refresh_asked_at, Connection.id)
    )
    return list(rows)
