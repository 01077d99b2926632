"""Where workers stand, and the accounts of a place where none does: their sellers are told, and told no more
when one is back. Whoever ticks looks after all places; each worker tells of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.db import Database
from everystall.inventory.connections import NO_WORKER, place_attended, place_deserted
from everystall.logs import chore
from everystall.models import Connection

log = structlog.get_logger()

#: Seconds between two signs of life of a worker at its place, and without one until sellers are told: a
#: machine that is started anew is no news.
SIGN_SECONDS = 10.0
AWAY_SECONDS = 120.0
#: Accounts that one look takes at most.
BATCH = 100


@asynccontextmanager
async def standing(db: Database, place: str) -> AsyncIterator[None]:
    """While in the block, this worker is known to stand at `place`."""
    await _sign(db, place)
    await _tell_unasked(db, place)

    async def go_on() -> None:
        while True:
            await asyncio.sleep(SIGN_SECONDS)
            with suppress(SQLAlchemyError, OSError):  # the database is away: others are not told either
                await _sign(db, place)

    signing = asyncio.create_task(go_on())
    try:
        yield
    finally:
        signing.cancel()
        with suppress(asyncio.CancelledError):
            await signing


async def _sign(db: Database, place: str) -> None:
    async with db.as_app() as session:
        await session.execute(text("SELECT everystall.stand_here(:place)"), {"place": place})


async def _tell_unasked(db: Database, place: str) -> None:
    """A place that no account asks for may be a slip of the pen."""
    async with db.as_app() as session:
        found = await session.scalars(
            text("SELECT place FROM everystall.place_numbers(0) WHERE accounts > 0 ORDER BY place")
        )
        asked = found.all()
    if place not in asked:
        log.warning("place.unasked", place=place, asked=list(asked[:20]),
                    say="no account asks for this WORKER_PLACE: look how it is written")  # fmt: skip


async def look_after(db: Database) -> None:
    """Tells the sellers whose accounts' place has no worker, and lets go on what has one again."""
    async with db.as_app() as session:
        rows = (
            await session.execute(
                text("SELECT connection_id, user_id, attended FROM everystall.misplaced(:away, :n)"),
                {"away": AWAY_SECONDS, "n": BATCH},
            )
        ).all()
    for row in rows:
        with chore("place", user_id=row.user_id, connection_id=row.connection_id):
            async with db.as_user(row.user_id) as session:
                found = select(Connection).where(Connection.id == row.connection_id).with_for_update()
                connection = (await session.execute(found)).scalar_one_or_none()
                if connection is not None and connection.place is not None:
                    await _tell(session, connection, attended=row.attended)


async def _tell(session: AsyncSession, connection: Connection, *, attended: bool) -> None:
    said = {"place": connection.place, "user_id": str(connection.user_id),
            "marketplace": connection.marketplace, "connection_id": str(connection.id)}  # fmt: skip
    if attended:
        log.info("place.attended", **said)
    else:
        log.warning("place.deserted", say="no worker with this WORKER_PLACE", **said)
    reason = (connection.needs_you or {}).get("reason")
    if attended and reason in (None, NO_WORKER):
        await place_attended(session, connection)
        for lane in engine.VISITING:
            await engine.wake(session, [connection.id], lane)
    elif not attended and reason is None:
        await place_deserted(session, connection)
