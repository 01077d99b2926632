"""Workers of the simulation: our real visits as coroutines that stop at each await that leads outside.

A `Process` is one worker with at most one visit. Before each transaction and each of the adapter's
awaits it waits until the machine lets it go on, so that any order of any number of them can be tried, none
depends on how fast something is, and the same choices give the same run. A killed one is never let go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from uuid import UUID

from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from everystall.content.photos import Photos
from everystall.db import Database
from everystall.errors import LeaseLost
from everystall.marketplaces.base import PhotoRule
from everystall.worker.lease import Lease
from everystall.worker.visit import Tools, visit

_PROCESS: ContextVar[Process] = ContextVar("process")
#: Seconds of real time after which a worker that was let go on has to have come somewhere.
STUCK = 60.0


def working() -> Process:
    """The worker that runs this."""
    return _PROCESS.get()


class Clock:
    """The workers' monotonic clocks: simulated seconds. Stands for `time` in their modules."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class WatchedLease(Lease):
    """A lease that its process knows of."""

    async def __aenter__(self) -> Lease:
        working().lease = self
        return await super().__aenter__()


class GatedDatabase(Database):
    """The same pool, entered only when the machine says so. `cut`: the connection breaks before the
    transaction; `lost`: it is committed, and nobody hears of it."""

    def __init__(self, shared: Database, process: Process) -> None:
        self.engine, self._info, self._process = shared.engine, shared._info, process

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
        await self._process.at("database")
        fault, self._process.fault = self._process.fault, None
        if fault == "cut":
            raise OperationalError("simulated", {}, Exception("the connection was cut"))
        async with super()._transaction(engine) as session:
            yield session
        if fault == "lost":
            raise OperationalError("simulated", {}, Exception("the answer to COMMIT was lost"))


class SimPhotos(Photos):
    """A photo is its hash, and looks like nothing else."""

    def __init__(self) -> None:
        pass

    async def rendition(self, sha256: str, rule: PhotoRule) -> bytes:
        return sha256.encode()

    async def dhash(self, data: bytes) -> str:
        return data.decode()[:16]


class SimDriver:
    async def get(self) -> None:
        return None


class Process:
    """One worker process."""

    def __init__(self, tools: Callable[[Process], Tools]) -> None:
        self.paused = False
        self.dead = False
        #: What the next transaction meets.
        self.fault: str | None = None
        self.lease: Lease | None = None
        self.tools = tools(self)
        self.place: str | None = None
        self._visit: asyncio.Task[None] | None = None
        self._gate: asyncio.Future[None] | None = None
        self._renewal: asyncio.Future[None] | None = None
        self._moved = asyncio.Event()

    @property
    def busy(self) -> bool:
        return self._visit is not None

    async def start(self, connection_id: UUID, lane: str) -> None:
        async def work() -> None:
            _PROCESS.set(self)
            await visit(self.tools, connection_id, lane)

        self.tools.stopping.clear()
        self.lease = None
        self._visit = asyncio.get_running_loop().create_task(work())
        self._visit.add_done_callback(lambda _: self._moved.set())
        await self._rest()

    async def at(self, place: str) -> None:
        """Wait here until `go_on` (the visit) or `renew` (its lease's renewal)."""
        if self.dead:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        renewing = task is not None and getattr(task.get_coro(), "__name__", "") == "_renew_until_lost"
        gate = asyncio.get_running_loop().create_future()
        if renewing:
            self._renewal = gate
        else:
            assert self._gate is None, "two steps of one visit at once"
            self._gate, self.place = gate, place
        self._moved.set()
        try:
            await gate
        finally:
            if renewing:
                self._renewal = None
            else:
                self._gate = self.place = None

    async def go_on(self, times: int = 1, until: Callable[[Process], bool] = lambda _: False) -> None:
        for _ in range(times):
            if self._gate is None or self.paused or until(self):
                return
            self._gate.set_result(None)
            self._gate = None
            await self._rest()

    async def renew(self) -> None:
        """The lease's renewal comes round, with what time it was when the last one ended."""
        if self._renewal is not None and not self.paused:
            self._renewal.set_result(None)
            self._renewal = None
            await self._rest()

    async def die(self) -> None:
        """The end of the example: whatever still waits is given up."""
        self.dead = True
        if self._visit is not None:
            self._visit.cancel()
            await asyncio.gather(self._visit, return_exceptions=True)

    async def _rest(self) -> None:
        """Until it has come to its next await, or its end."""
        async with asyncio.timeout(STUCK):
            while not self._resting():
                self._moved.clear()
                await self._moved.wait()
        if self._visit is not None and self._visit.done():
            done, self._visit = self._visit, None
            if not done.cancelled() and done.exception() is not None:
                error = done.exception()
                if not isinstance(error, LeaseLost | OperationalError):
                    raise AssertionError("the visit broke") from error

    def _resting(self) -> bool:
        if self._visit is None or self._visit.done():
            return True
        lease = self.lease
        if lease is not None and lease.lost.is_set():
            return False  # the visit is being cancelled
        renews = lease is None or lease._renewing.done() or self._renewal is not None
        return self._gate is not None and renews
