"""That this worker is there: told to the database every few seconds, for the page of the installation's owner
and for /metrics. In return it hears which settings were changed, and whether the database was brought to a
version that this worker does not work with."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from everystall import __version__
from everystall.choices import Following
from everystall.compatibility import Mismatch, find_mismatch
from everystall.settings import Settings

if TYPE_CHECKING:
    from everystall.worker.lease import Lease
    from everystall.worker.visit import Tools

log = structlog.get_logger()

#: Seconds between two signs of life.
SIGN_SECONDS = 5.0


class Presence:
    """This worker, and how many visits are under way in it."""

    def __init__(self) -> None:
        self.id = uuid4()
        self.running = 0
        #: Why this worker is to end.
        self.mismatch: Mismatch | None = None
        #: When the database was last told, by time.monotonic().
        self.signed_at = time.monotonic()
        #: The accounts that visits hold; and why the last browser did not start, if it did not.
        self.leases: set[Lease] = set()
        self.browser_failed: str | None = None

    @contextmanager
    def visiting(self) -> Iterator[None]:
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    @contextmanager
    def holding(self, lease: Lease) -> Iterator[None]:
        self.leases.add(lease)
        try:
            yield
        finally:
            self.leases.discard(lease)

    @asynccontextmanager
    async def standing(
        self, tools: Tools, tell: Callable[[Settings], None] = lambda newer: None
    ) -> AsyncIterator[None]:  # fmt: skip
        """While in the block, this worker is known, and has the settings that were chosen last. `tell`: is
        told of newer ones."""
        following = Following(tools.settings, tools.vault.open_setting, tell)
        await following.follow(tools, tools.db, at_once=True)
        await self.sign(tools)

        async def go_on() -> None:
            while True:
                await asyncio.sleep(SIGN_SECONDS)
                await following.follow(tools, tools.db, at_once=True)
                with suppress(SQLAlchemyError, OSError):  # the database is away
                    await self._check(tools)
                    await self.sign(tools)

        signing = asyncio.create_task(go_on())
        try:
            yield
        finally:
            signing.cancel()
            with suppress(asyncio.CancelledError):
                await signing
            with suppress(SQLAlchemyError, OSError):
                async with tools.db.as_app() as session:
                    await session.execute(text("SELECT everystall.leave_worker(:id)"), {"id": self.id})

    async def _check(self, tools: Tools) -> None:
        """Whoever migrates saw nobody here, if this worker began in just that moment."""
        async with tools.db.as_app() as session:
            self.mismatch = await find_mismatch(session)
        if self.mismatch is not None:
            log.error("database.of_another_version", said=self.mismatch.said)
            tools.stopping.set()

    async def sign(self, tools: Tools) -> None:
        async with tools.db.as_app() as session:
            await session.execute(
                text("SELECT everystall.stand_worker(:id, :host, :pid, :place, :version, :slots, :running)"),
                {"id": self.id, "host": socket.gethostname(), "pid": os.getpid(),
                 "place": tools.settings.worker_place, "version": __version__,
                 "slots": tools.settings.worker_visits + tools.settings.worker_urgent
                 + tools.settings.worker_reading + tools.settings.worker_sittings,
                 "running": self.running},
            )  # fmt: skip
        self.signed_at = time.monotonic()
