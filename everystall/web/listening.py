"""Waiting for what the database tells of a seller: one connection per process and channel listens, who waits
is woken by the commit, and nobody polls. A notification holds ids and nothing else: any login of the
database may hear it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Final
from uuid import UUID

import psycopg
import structlog

from everystall.db import Database

log = structlog.get_logger()

#: Seconds before a lost connection is tried again.
AGAIN_SECONDS: Final = 1.0
#: Anything may have happened: listening began (anew, after a connection was lost), or what happened is more
#: than a notification holds.
ANYTHING: Final = "*"


class Woken(asyncio.Event):
    """Set when something was told; `said` is of what, until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def hear(self, *said: str) -> None:
        self.said.update(said)
        self.set()

    def take(self) -> set[str]:
        said, self.said = self.said, set()
        self.clear()
        return said


class Listening:
    """Who waits in this process for a channel's notifications, each a seller's id and words about what.
    Listens from the first who waits until `close()`."""

    def __init__(self, database: Database, channel: str) -> None:
        self._url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._absence = database.absence
        self._channel = channel
        self._waiting: defaultdict[str, set[Woken]] = defaultdict(set)
        self._listening: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        #: Nobody is to wait any more.
        self.closed = False

    def __repr__(self) -> str:
        return f"Listening(***, {self._channel!r})"

    @contextlib.contextmanager
    def waiting(self, user_id: UUID) -> Iterator[Woken]:
        """Woken by what is told of this seller, when listening begins (anew, after a connection was lost),
        and by `close()`. Look at what is there after it is handed out, not before."""
        woken, key = Woken(), str(user_id)
        self._waiting[key].add(woken)
        if self.closed:
            woken.set()
        elif self._listening is None or self._listening.done():
            self._ready.clear()
            self._listening = asyncio.create_task(self._listen(), name=self._channel)
        try:
            yield woken
        finally:
            self._waiting[key].discard(woken)
            if not self._waiting[key]:
                del self._waiting[key]

    def count(self, user_id: UUID) -> int:
        """Of this seller, how many wait here."""
        return len(self._waiting.get(str(user_id), ()))

    async def ready(self, seconds: float) -> None:
        """Returns when what is committed from now on will be heard, or after `seconds`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), seconds)

    async def close(self) -> None:
        """Lets everybody go who waits, and stops listening."""
        self.closed = True
        self._ready.set()
        self._wake_all()
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening

    def _wake_all(self) -> None:
        for waiting in self._waiting.values():
            for woken in waiting:
                woken.hear(ANYTHING)

    async def _listen(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, connect_timeout=10
                ) as connection:
                    await connection.execute(f"LISTEN {self._channel}")
                    self._ready.set()
                    self._wake_all()  # something may have been told that nobody heard
                    async for heard in connection.notifies():
                        who, *said = heard.payload.split(" ")
                        for woken in self._waiting.get(who, ()):
                            woken.hear(*said)
            except psycopg.Error as e:
                if not self._absence.suspect(e):
                    log.warning("listening.failed", channel=self._channel, error=type(e).__name__)
            self._ready.clear()
            await asyncio.sleep(AGAIN_SECONDS)
