"""How a visit is met exactly at one step, with real parts only: by what the worker logs, by the request that
belongs to the step (held at the door), or by a row lock of PostgreSQL that the step runs into.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import psycopg

from chaos.door import Asked, Trap
from chaos.matrix import Cell
from chaos.stage import Seller, Stage
from chaos.workers import Line

#: What a click of ours asks for: to post, to change, to take down. (eBay's form saves itself besides, and
#: Poshmark keeps a change before it asks for the click that buyers see the outcome of.)
_COMMIT = re.compile(
    r"(POST .*/v1/api|PUT .*/status/published|DELETE /vm-rest/posts/\w+|POST .*/publish|POST /sh/api/end"
    r"|POST /lstng/api/listing/\w+)$"
)
#: Step → the line after which its request comes (none: at any time), and which request that is. (The line
#: "read-back" itself comes too late: the request follows at once.)
_REQUESTS: dict[str, tuple[str | None, Callable[[Asked], bool]]] = {
    "session-check": ("session check", lambda asked: asked.is_document),
    "baseline": ("baseline", lambda asked: asked.is_document),
    "fill": ("fill", lambda asked: not asked.is_upload),
    "upload-photos": ("fill", lambda asked: asked.is_upload),
    "click": ("click", lambda asked: _commits(asked)),
    "response": ("click", lambda asked: _commits(asked)),
    "read-back": ("click", lambda asked: asked.is_visit),
    "save": ("click", lambda asked: asked.is_visit),
    "notify": (None, lambda asked: asked.is_webhook),
}
#: Step → the line that begins it, and for how long it takes about.
_LINES = {"start-browser": ("start browser", 0.3), "fill": ("fill", 1.0), "arm": ("arm", 0.05)}
#: It is armed; at the click, half of these strike about the moment in which it leaves, mostly before.
_BEFORE_IT_LEAVES = ("stop", "pg-cut", "pg-restart", "pg-read-only", "pg-disk-full")
_TO_THE_CLICK = 0.05
#: A change writes a field or two.
_REVISE_FILL = 0.3
#: Step → what is locked before the visit comes to it.
_LOCKS = {
    "claim": "SELECT 1 FROM connections WHERE id = %(connection)s FOR NO KEY UPDATE",
    "open-session": "LOCK TABLE vault_audit IN SHARE MODE",
}
#: Who asks for the work locks this row, too.
_ARM = "SELECT 1 FROM listings WHERE id = %(listing)s FOR NO KEY UPDATE"
#: The live page has been read; what it said is just being written down.
_SAVE = "SELECT 1 FROM publications WHERE listing_id = %(listing)s FOR UPDATE"


def _commits(asked: Asked) -> bool:
    return _COMMIT.match(f"{asked.method} {asked.path}") is not None


class Moment:
    """`async with moment:` ask for the work, `await moment.reached()`, strike, `release()`."""

    def __init__(self, stage: Stage, seller: Seller) -> None:
        self.stage, self.seller = stage, seller
        self._came = asyncio.Event()

    async def __aenter__(self) -> Moment:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()

    async def reached(self) -> None:
        await self._came.wait()

    async def release(self) -> None:
        """The visit may go on. May be called again."""

    def mine(self, line: Line, at: str) -> bool:
        mine = line.get("connection_id") == str(self.seller.connection_id)
        return mine and line.get("event") == "visit.at" and line.get("at") == at


class OnLine(Moment):
    """When the worker says so, and a little later."""

    def __init__(self, stage: Stage, seller: Seller, at: str, later: float) -> None:
        super().__init__(stage, seller)
        self._at, self._later = at, later

    async def __aenter__(self) -> Moment:
        self.stage.listeners.append(self._hear)
        return self

    def _hear(self, line: Line) -> None:
        if self.mine(line, self._at):
            self._came.set()

    async def reached(self) -> None:
        await self._came.wait()
        await asyncio.sleep(self._later)

    async def release(self) -> None:
        with suppress(ValueError):
            self.stage.listeners.remove(self._hear)


class OnRequest(Moment):
    """When the request is at the door; `trap` says what becomes of it."""

    def __init__(self, stage: Stage, seller: Seller, at: str | None, trap: Trap) -> None:
        super().__init__(stage, seller)
        self._at, self.trap = at, trap

    async def __aenter__(self) -> Moment:
        if self._at is None:
            self.stage.door.trap = self.trap
        else:
            self.stage.listeners.append(self._hear)
        return self

    def _hear(self, line: Line) -> None:
        if self._at is not None and self.mine(line, self._at) and not self.trap.reached.is_set():
            self.stage.door.trap = self.trap

    async def reached(self) -> None:
        await self.trap.reached.wait()

    async def release(self) -> None:
        self.trap.released.set()
        with suppress(ValueError):
            self.stage.listeners.remove(self._hear)


class OnLock(Moment):
    """When the visit waits for what we have locked."""

    def __init__(self, stage: Stage, seller: Seller, lock: str) -> None:
        super().__init__(stage, seller)
        self._lock = lock
        self._holding: psycopg.AsyncConnection[dict[str, Any]] | None = None

    async def __aenter__(self) -> Moment:
        await self.hold()
        return self

    async def hold(self) -> None:
        self._holding = await self.stage.connect()
        await self._holding.set_autocommit(False)
        values = {"connection": self.seller.connection_id, "listing": self.seller.listing or None}
        await self._holding.execute(self._lock, values)

    async def reached(self) -> None:
        assert self._holding is not None
        waits = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
        while not await self.stage.rows(waits, self._holding.info.backend_pid):
            await asyncio.sleep(0.005)

    async def release(self) -> None:
        holding, self._holding = self._holding, None
        if holding is not None:
            with suppress(psycopg.Error):
                await holding.rollback()
            await holding.close()


class OnLockAfter(OnLock):
    """When the visit waits for what we have locked since an earlier moment: others needed it before that."""

    def __init__(self, stage: Stage, seller: Seller, lock: str, before: Moment) -> None:
        super().__init__(stage, seller, lock)
        self._before = before

    async def __aenter__(self) -> Moment:
        await self._before.__aenter__()
        return self

    async def reached(self) -> None:
        await self._before.reached()
        await self.hold()
        await self._before.release()
        await super().reached()

    async def release(self) -> None:
        await self._before.release()
        await super().release()


def moment(stage: Stage, cell: Cell, seller: Seller, random: Random, trap: Trap | None) -> Moment:
    """The cell's. `trap`: what the network does to the step's request; None: it is held while we strike."""
    step = cell.step
    if trap is None and step in _LOCKS:
        return OnLock(stage, seller, _LOCKS[step])
    if trap is None and (cell.verb, step) == ("publish", "arm"):
        return OnLockAfter(stage, seller, _ARM, OnLine(stage, seller, "fill", 0.0))
    if trap is None and step in _LINES:
        line, length = _LINES[step]
        if (cell.verb, step) == ("revise", "fill"):
            length = _REVISE_FILL
        return OnLine(stage, seller, line, random.uniform(0, length))
    if trap is None and step == "click" and cell.fault in _BEFORE_IT_LEAVES and random.random() < 0.5:
        return OnLine(stage, seller, "click", random.uniform(0, _TO_THE_CLICK))
    at, matches = _REQUESTS[step]
    held = trap or Trap(matches, when="after" if step == "response" else "before")
    held.matches = matches
    reading = OnRequest(stage, seller, at, held)
    return OnLockAfter(stage, seller, _SAVE, reading) if step == "save" else reading


def refusal(stage: Stage, cell: Cell, seller: Seller) -> Moment:
    """The moment before the step's request is made; where others come first, that request itself."""
    at, matches = _REQUESTS[cell.step]
    if at is None or cell.step in ("upload-photos", "read-back"):
        return OnRequest(stage, seller, at, Trap(matches, act="reset"))
    return OnLine(stage, seller, at, 0.0)
