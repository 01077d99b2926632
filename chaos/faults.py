"""What is done to the visit at its moment, and how it is put right again. Nothing of Everystall is patched:
signals, PostgreSQL's own commands, the door, the practice marketplaces' controls, libfaketime.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import psycopg

from chaos.door import Act, Trap, When
from chaos.matrix import Cell
from chaos.moments import Moment, OnRequest
from chaos.stage import Seller, Stage
from everystall.sandbox.core import DriftSetting, Fault, Item

#: What the door does to the step's request: the whole of a network fault.
_TRAPS: dict[str, tuple[Act, When]] = {
    "net-reset-before": ("reset", "before"),
    "net-reset-after": ("reset", "after"),
    "net-500-before": ("error", "before"),
    "net-500-after": ("error", "after"),
    "net-stall": ("stall", "before"),
    "net-truncate": ("truncate", "after"),
    "net-late": ("late", "before"),
    "stale": ("reset", "after"),
}
#: The browser dies of these: what it was just sending may have left it or not.
_DEADLY = ("kill-worker", "kill-chromium", "kill-all", "oom-renderer", "oom-driver")
#: Seconds that take-over may take.
TAKE_OVER = 20.0
#: The price in cents that the seller sets by hand.
BY_HAND = 2300


@dataclass
class Strike:
    """One cell's."""

    stage: Stage
    cell: Cell
    seller: Seller
    random: Random
    moment: Moment
    #: What the page adds in words.
    notes: list[str] = field(default_factory=list)
    #: What is wrong whatever the outcome.
    complaints: list[str] = field(default_factory=list)
    #: What the seller did by hand.
    by_hand: list[Item] = field(default_factory=list)


def trap_of(cell: Cell, random: Random) -> Trap | None:
    """What the door shall do, for faults that it makes alone."""
    act, when = _TRAPS.get(cell.fault) or _TRAPS.get(cell.fault.partition("-")[0]) or (None, "before")
    if act is None:
        return None
    seconds = random.choice((1.0, 5.0)) if act == "late" else 6.0
    return Trap(lambda asked: True, act=act, when=when, seconds=seconds)


async def before(stage: Stage, cell: Cell, seller: Seller) -> None:
    """What has to be so before the visit begins."""
    if cell.fault.startswith("stale-"):
        lag = float(cell.fault.removeprefix("stale-"))
        if lag:
            stage.sandbox.world.faults.add(
                Fault("index_lag", seller.marketplace, account=seller.name, seconds=lag)
            )
    if cell.fault == "seller-same" and cell.verb == "publish":
        await stage.reference(seller.marketplace)


async def strike(it: Strike) -> None:
    """Called at the moment; what is held is released by us as the fault demands, else afterwards."""
    if it.cell.step == "click" and it.cell.fault in _DEADLY and isinstance(it.moment, OnRequest):
        it.moment.trap.lost = it.random.random() < 0.5
        it.notes.append("the click had not left" if it.moment.trap.lost else "the click had left")
    await _STRIKES.get(it.cell.fault, _nothing)(it)
    await it.moment.release()


async def _nothing(it: Strike) -> None:
    """The door does it."""


# ---- processes ----


async def _kill_worker(it: Strike) -> None:
    it.stage.workers[0].send(signal.SIGKILL)
    await _taken_over(it)


async def _kill_all(it: Strike) -> None:
    """As a container's end: all at once, so that none can tidy up after another."""
    _kill(*it.stage.workers[0].tree())
    await _taken_over(it)


async def _kill_chromium(it: Strike) -> None:
    for _ in range(100):  # at its start there may be none for some milliseconds
        if found := it.stage.workers[0].chromiums():
            _kill(*found)
            return
        await asyncio.sleep(0.01)
    it.notes.append("no Chromium was running any more")


async def _oom_renderer(it: Strike) -> None:
    """The kernel takes the process with the highest oom_score: Chromium sees to it that that is a page's."""
    found = it.stage.workers[0].renderers()
    _kill(*found)
    if not found:
        it.notes.append("no page was open any more")


async def _oom_driver(it: Strike) -> None:
    driver = it.stage.workers[0].driver()
    if driver is None:
        it.complaints.append("harness: no driver was found")
    else:
        _kill(driver)


async def _stop(it: Strike) -> None:
    """Another worker takes the account over; then the first one wakes up in the middle of what it did."""
    first = it.stage.workers[0]
    first.send(signal.SIGSTOP)
    await it.moment.release()
    await _taken_over(it)
    await asyncio.sleep(it.random.uniform(0, 2))
    first.send(signal.SIGCONT)


def _kill(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def _taken_over(it: Strike) -> None:
    """A second worker; then the account's fence has grown, or nothing was left to do."""
    (before_,) = await it.stage.rows(
        "SELECT lease_fence FROM connections WHERE id = %s", it.seller.connection_id
    )
    await it.moment.release()
    second = await it.stage.start_worker()
    await second.ready()
    if it.cell.step == "notify":
        return
    try:
        async with asyncio.timeout(TAKE_OVER):
            while True:
                (now,) = await it.stage.rows(
                    "SELECT lease_fence FROM connections WHERE id = %s", it.seller.connection_id
                )
                publication = await it.stage.publication(it.seller)
                settled = publication["needs_you"] or not (publication["unsettled"] or publication["looking"])
                if now["lease_fence"] > before_["lease_fence"] or settled:
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        it.complaints.append(f"nobody took the account over within {TAKE_OVER:.0f} s")


# ---- PostgreSQL ----


async def _pg_cut(it: Strike) -> None:
    await it.stage.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND application_name <> 'chaos'"
    )


async def _pg_restart(it: Strike) -> None:
    """In good order, or as after a crash, as the seed says."""
    server = it.stage.server
    if it.random.random() < 0.5:
        it.notes.append("crashed and recovered")
        assert server.postmaster is not None
        _kill(server.postmaster)
    else:
        it.notes.append("restarted")
        await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)


async def _pg_read_only(it: Strike) -> None:
    await it.stage.rows("ALTER SYSTEM SET default_transaction_read_only = on")
    await it.stage.rows("SELECT pg_reload_conf()")
    await it.moment.release()
    await asyncio.sleep(3)
    await it.stage.rows("ALTER SYSTEM RESET default_transaction_read_only")
    await it.stage.rows("SELECT pg_reload_conf()")


async def _pg_disk_full(it: Strike) -> None:
    """No table can grow and no log either, at which PostgreSQL stops; it is started again with room."""
    ballast = it.stage.home / "pg" / "ballast"
    log = next((it.stage.home / "pg").rglob("postgres.log"))
    began = log.stat().st_size
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 65536)
    with suppress(psycopg.Error):  # whoever needs the next file of the log notices; we do, at the latest
        async with await it.stage.connect() as connection:
            for _ in range(3):
                await connection.execute("SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal()")
    await it.moment.release()
    await asyncio.sleep(3)
    ballast.unlink()
    await asyncio.to_thread(it.stage.server.start)
    said = log.read_bytes()[began:].count(b"No space left on device")
    it.notes.append(f"refused {said} times")


# ---- the marketplace ----


async def _refuse(it: Strike) -> None:
    it.stage.door.shut()
    await asyncio.sleep(2)
    await it.stage.door.open()


async def _expire(it: Strike) -> None:
    it.stage.sandbox.sessions(it.seller.marketplace, it.seller.name, lifetime_seconds=0)


async def _captcha(it: Strike) -> None:
    it.stage.sandbox.fault(it.seller.marketplace, "captcha", account=it.seller.name, times=1000)


async def _login_wall(it: Strike) -> None:
    it.stage.sandbox.fault(it.seller.marketplace, "login_wall", account=it.seller.name, times=1000)


async def _soft_reject(it: Strike) -> None:
    it.stage.sandbox.fault(it.seller.marketplace, "soft_reject", account=it.seller.name, times=1000)


async def _change_page(it: Strike) -> None:
    seed = it.random.randint(1, 20)
    it.stage.sandbox.world.drifts[it.seller.marketplace] = DriftSetting(seed, 4)


# ---- the seller ----


async def _same(it: Strike) -> None:
    if it.cell.verb == "delist":
        for item in it.stage.items(it.seller):
            it.stage.sandbox.world.end(item)
    elif it.cell.verb == "revise":
        it.stage.edit_by_hand(it.seller)
    else:
        it.by_hand.append(it.stage.by_hand(it.seller))


async def _delete(it: Strike) -> None:
    for item in it.stage.items(it.seller):
        it.stage.sandbox.world.end(item)


async def _edit(it: Strike) -> None:
    for item in it.stage.items(it.seller):
        it.stage.sandbox.world.edit(item, price={"amount": BY_HAND, "currency": "USD"})


# ---- the clock ----


async def _ahead(it: Strike) -> None:
    await _jump(it, 1)


async def _behind(it: Strike) -> None:
    await _jump(it, -1)


async def _jump(it: Strike, hours: int) -> None:
    it.stage.set_clock(hours)
    await asyncio.sleep(1.1)  # libfaketime reads it once a second


_STRIKES: dict[str, Callable[[Strike], Awaitable[None]]] = {
    "kill-worker": _kill_worker, "kill-all": _kill_all, "kill-chromium": _kill_chromium, "stop": _stop,
    "oom-renderer": _oom_renderer, "oom-driver": _oom_driver,
    "pg-cut": _pg_cut, "pg-restart": _pg_restart, "pg-read-only": _pg_read_only,
    "pg-disk-full": _pg_disk_full,
    "net-refuse": _refuse, "session-expired": _expire, "captcha": _captcha, "login-wall": _login_wall,
    "changed-page": _change_page, "soft-reject": _soft_reject,
    "seller-same": _same, "seller-deletes": _delete, "seller-edits": _edit,
    "clock-ahead": _ahead, "clock-behind": _behind,
}  # fmt: skip
