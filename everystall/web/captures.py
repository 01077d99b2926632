"""Captures that the server asks the seller's own browser for, and the waiting for them.

One connection per process listens; who waits is woken by the commit that asks, and nobody polls. A
notification carries the seller's id and nothing else: any login of the database may hear it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

import psycopg
import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database
from everystall.models import Connection

log = structlog.get_logger()

CHANNEL: Final = "everystall_captures"
#: Seconds before a lost connection is tried again.
AGAIN_SECONDS: Final = 1.0


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


class Captures:
    """Who waits in this process. Listens from the first who waits until `close()`."""

    def __init__(self, database: Database) -> None:
        self._url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._listening: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        #: Nobody is to wait any more.
        self.closed = False

    def __repr__(self) -> str:
        return "Captures(***)"

    @contextlib.contextmanager
    def waiting(self, user_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set by the next request for this seller's captures, when listening begins (anew,
        after a connection was lost), and by `close()`. Look at what is there after
        it is handed out, not before."""
        woken, key = asyncio.Event(), str(user_id)
        self._waiting[key].add(woken)
        if self.closed:
            woken.set()
        elif self._listening is None or self._listening.done():
            self._ready.clear()
            self._listening = asyncio.create_task(self._listen(), name="captures")
        try:
            yield woken
        finally:
            self._waiting[key].discard(woken)
            if not self._waiting[key]:
                del self._waiting[key]

    async def ready(self, seconds: float) -> None:
        """Returns when what is committed from now on will be heard, or after `seconds`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), seconds)

    async def close(self) -> None:
        """Lets everybody go who waits, and stops listening."""
        self.closed = True
        self._ready.set()
        self._wake(*self._waiting)
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening

    def _wake(self, *keys: str) -> None:
        for key in keys:
            for woken in self._waiting.get(key, ()):
                woken.set()

    async def _listen(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, connect_timeout=10
                ) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self._ready.set()
                    self._wake(*self._waiting)  # something may have been asked that nobody heard
                    async for heard in connection.notifies():
                        self._wake(heard.payload)
            except psycopg.Error as e:
                log.warning("captures.database_away", error=type(e).__name__)
            self._ready.clear()
            await asyncio.sleep(AGAIN_SECONDS)
