"""The right to act on one account: held by one visit at a time, on the database's clock.

A lease carries a fence number that only grows. Every write of a visit checks it, in the same
transaction; what cannot be checked that way, the click, is checked against the guard's deadline.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.browser.guard import Deadline, clock
from everystall.db import Database
from everystall.errors import LeaseLost
from everystall.settings import Settings

log = structlog.get_logger()


class Lease:
    """One visit's hold on one connection. `async with lease:` renews it; leaving gives it back."""

    def __init__(self, db: Database, settings: Settings, user_id: UUID, connection_id: UUID, fence: int):
        self._db = db
        self._settings = settings
        self.user_id = user_id
        self.connection_id = connection_id
        self.fence = fence
        #: Until when a browser of this visit may live; the guard and the click go by it.
        self.deadline = Deadline(settings.guard_seconds)
        #: Set once another worker has the account, or we could not renew in time.
        self.lost = asyncio.Event()

    @classmethod
    async def take(cls, db: Database, settings: Settings, connection_id: UUID) -> Lease | None:
        """The lease, or None while someone else's stands (then the account is due again at its end), where
        the account is to be visited from another place, or if there is no such account."""
        started = clock()
        async with db.as_app() as session:
            taken = (
                await session.execute(
                    text("SELECT user_id, fence FROM everystall.take_lease(:id, :holder, :seconds, :place)"),
                    {
                        "id": connection_id,
                        "holder": holder(),
                        "seconds": settings.lease_seconds,
                        "place": settings.worker_place,
                    },
                )
            ).one_or_none()
        if taken is None:
            return None
        lease = cls(db, settings, taken.user_id, connection_id, taken.fence)
        lease.deadline.beat(started)
        return lease

    async def __aenter__(self) -> Lease:
        self._renewing = asyncio.create_task(self._renew_until_lost())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._renewing.cancel()
        with suppress(asyncio.CancelledError):
            await self._renewing
        if self.lost.is_set():
            return
        async with self._db.as_user(self.user_id) as session:
            await session.execute(
                text("UPDATE connections SET lease_until = NULL, lease_holder = NULL, last_visit_at = now() "
                     "WHERE id = :id AND lease_fence = :fence"),
                {"id": self.connection_id, "fence": self.fence},
            )  # fmt: skip

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A transaction as the account's owner that exists only while the lease is ours. LeaseLost
        if it is not; then nothing was written."""
        async with self._db.as_user(self.user_id) as session:
            held = await session.execute(
                text("SELECT 1 FROM connections WHERE id = :id AND lease_fence = :fence "
                     "AND lease_until > clock_timestamp() FOR NO KEY UPDATE"),
                {"id": self.connection_id, "fence": self.fence},
            )  # fmt: skip
            if held.first() is None:
                self.lost.set()
                raise LeaseLost
            yield session

    async def _renew_until_lost(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease_renew_seconds)
            started = clock()
            try:
                async with self._db.as_user(self.user_id) as session:
                    held = await session.execute(
                        text("""
                        UPDATE connections
                        SET lease_until = clock_timestamp() + make_interval(secs => :seconds)
                        WHERE id = :id AND lease_fence = :fence AND lease_until > clock_timestamp()
                        RETURNING 1"""),
                        {"id": self.connection_id, "fence": self.fence,
                         "seconds": self._settings.lease_seconds},
                    )  # fmt: skip
                    ours = held.first() is not None
            except (SQLAlchemyError, OSError) as e:
                log.warning(
                    "lease.not_renewed", connection_id=str(self.connection_id), error=type(e).__name__
                )
                if self.deadline.passed:
                    self.lost.set()
                    return
                continue
            if not ours:
                log.warning("lease.lost", connection_id=str(self.connection_id), fence=self.fence)
                self.lost.set()
                return
            self.deadline.beat(started)


def holder() -> str:
    """Who we are, for a person who reads the table: machine and process."""
    return f"{socket.gethostname()}:{os.getpid()}"
