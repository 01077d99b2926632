"""`make overlaps`: ten thousand visits by workers that are killed and stopped, and a checker that looks
whether two of them were ever on one account at once. Writes its result into docs/many-machines.md.

All is real (PostgreSQL, engine, lease, fence, guard) but the marketplace: the cheapest honest visit starts a
program under the guard, in Chromium's place, and has it write a few words into a ledger. That program is the
only one that writes there, so that what a killed or stopped worker's browser would still do is in it too.

make overlaps ARGS="--visits 500 --no-write"      a quick look
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast
from uuid import UUID

import psycopg

from benchmarks import commit
from everystall import engine
from everystall.browser.guard import Guard
from everystall.browser.session import guards_folder
from everystall.db import Database, migrate
from everystall.embedded import Server
from everystall.errors import LeaseLost
from everystall.processes import Children, end_with_parent, interruptible
from everystall.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "many-machines.md"
BEGIN, END = "<!-- make overlaps writes this -->\n", "<!-- to here -->\n"
ACCOUNTS, WORKERS, SLOTS = 120, 3, 6
#: Acts of one visit, and the most seconds between two.
ACTS, BETWEEN = 3, 0.1
#: Seconds between two kills, two stops; how long a stopped worker rests: beyond the lease and the guard.
KILL_EVERY, STOP_EVERY, REST = 12.0, 25.0, 16.0

#: What runs in Chromium's place: a line in, a line with the time in the ledger.
ACTOR = """#!{python} -IS
import os, sys, time
ledger = os.open({ledger!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
for line in iter(sys.stdin.readline, ""):
    os.write(ledger, f"{{time.time():.6f}} {{line}}".encode())
"""
#: The leases as they were: the judge's own table, filled by the database itself.
HISTORY = """
CREATE SCHEMA judge;
CREATE TABLE judge.leases (at double precision, connection_id uuid, fence bigint, until double precision);
CREATE FUNCTION judge.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO judge.leases VALUES (extract(epoch FROM clock_timestamp()), NEW.id, NEW.lease_fence,
                                     extract(epoch FROM NEW.lease_until));
    RETURN NULL;
END $$;
CREATE TRIGGER judge AFTER UPDATE OF lease_until ON connections FOR EACH ROW EXECUTE FUNCTION judge.note();
"""


# ---- the checker ----------------------------------------------------------------------------------


class Change(NamedTuple):
    """A lease was taken or renewed (`until`), or given back (None)."""

    at: float
    connection: str
    fence: int
    until: float | None


class Act(NamedTuple):
    """Something arrived at the marketplace."""

    at: float
    connection: str
    fence: int


def find_overlaps(leases: Sequence[Change], acts: Sequence[Act]) -> list[str]:
    """Every moment at which two visits were on one account, in words. `acts` in the order of the ledger."""
    found = []
    held: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    for change in sorted(leases, key=lambda one: (one.at, one.fence)):
        spans = held[change.connection]
        end = change.at if change.until is None else change.until
        if spans and spans[-1][0] == change.fence:
            spans[-1] = (change.fence, spans[-1][1], end)
        elif change.until is not None:
            if spans and spans[-1][2] > change.at:
                late = spans[-1][2] - change.at
                found.append(f"{change.connection}: {change.fence} took the lease {late:.3f} s too early")
            spans.append((change.fence, change.at, end))
    last: dict[str, int] = {}
    for act in acts:
        if act.fence < last.get(act.connection, 0):
            found.append(f"{act.connection}: {act.fence} acted after {last[act.connection]} had")
        last[act.connection] = max(act.fence, last.get(act.connection, 0))
        span = next((one for one in held[act.connection] if one[0] == act.fence), None)
        if span is None or not span[1] <= act.at <= span[2]:
            found.append(f"{act.connection}: {act.fence} acted without its lease")
    return found


# ---- a worker -------------------------------------------------------------------------------------


class CheapVisit:
    """In the place of worker.visit.Visit: the same lease, the same fence, the same guard, three words."""

    def __init__(self, tools: Any, lease: Any, lane: str) -> None:
        self.tools, self.lease = tools, lease

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            nook = await stack.enter_async_context(guards_folder())
            actor = self.tools.settings.everystall_home / "actor"
            guard = await stack.enter_async_context(Guard(nook, actor, self.lease.deadline))
            process = await asyncio.create_subprocess_exec(
                guard.program, stdin=subprocess.PIPE, env=guard.env, start_new_session=True
            )
            assert process.stdin is not None
            stack.push_async_callback(process.wait)
            stack.callback(process.stdin.close)
            await guard.connected()
            for _ in range(ACTS):
                async with self.lease.transaction():
                    pass
                if self.lease.deadline.passed:
                    raise LeaseLost
                with suppress(ConnectionError):
                    process.stdin.write(f"{self.lease.connection_id} {self.lease.fence}\n".encode())
                    await process.stdin.drain()
                if self.tools.stopping.is_set():
                    break
                await asyncio.sleep(random.random() * BETWEEN)


async def work(url: str, home: Path) -> None:
    """Until SIGTERM: the engine's lanes and ticks as every worker has them."""
    from everystall.worker import run, visit

    visit.Visit = CheapVisit  # type: ignore[assignment,misc]
    db, stopping = Database(url), asyncio.Event()
    settings = Settings(_env_file=None, everystall_home=home, worker_visits=SLOTS)
    tools = visit.Tools(db, cast("Any", None), cast("Any", None), settings, cast("Any", None), stopping)
    app = run.make_app(url, tools, cast("Any", None))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with app.open_async():
        lanes = asyncio.create_task(engine.run_lanes(app, run.slots_of(settings), grace_seconds=20))
        await stopping.wait()
        lanes.cancel()
        await asyncio.gather(lanes, return_exceptions=True)
    await db.close()


# ---- the run --------------------------------------------------------------------------------------


@dataclass
class Run:
    """What is under way."""

    home: Path
    login: str
    admin: str
    ledger: Path
    children: Children
    workers: dict[str, int] = field(default_factory=dict)
    stopped: dict[int, float] = field(default_factory=dict)
    kills: int = 0
    stops: int = 0

    def start_worker(self) -> None:
        name = f"worker {self.kills} {len(self.workers)}"
        env = {**os.environ, "DATABASE_URL": self.login}
        self.children.start(name, "--work", str(self.home), module="benchmarks.overlaps", env=env,
                            log=self.home / "workers.log")  # fmt: skip
        self.workers[name] = self.children.pid(name)

    def visits(self) -> int:
        with psycopg.connect(self.admin) as connection:
            row = connection.execute("SELECT sum(lease_fence) FROM connections").fetchone()
            return int(row[0] or 0) if row else 0

    def at_work(self) -> set[int]:
        """Whose process is on an account now."""
        holders = "SELECT DISTINCT lease_holder FROM connections WHERE lease_until > now()"
        with psycopg.connect(self.admin) as connection:
            return {int(str(row[0]).rpartition(":")[2]) for row in connection.execute(holders)}

    def disturb(self, now: float, due: dict[str, float]) -> None:
        """Kills one in the middle of a visit, stops one, lets one go on, as it is time."""
        at_work = self.at_work()
        free = [(name, pid) for name, pid in self.workers.items() if pid in at_work]
        free = [one for one in free if one[1] not in self.stopped]
        if now > due["kill"] and free:
            due["kill"] = now + KILL_EVERY
            name, pid = random.choice(free)
            os.kill(pid, signal.SIGKILL)
            del self.workers[name]
            self.kills += 1
            self.start_worker()
        elif now > due["stop"] and free:
            due["stop"] = now + STOP_EVERY
            name, pid = random.choice(free)
            os.kill(pid, signal.SIGSTOP)
            self.stopped[pid] = now
            self.stops += 1
        for pid, since in list(self.stopped.items()):
            if now - since > REST:
                os.kill(pid, signal.SIGCONT)
                del self.stopped[pid]

    def go_on(self) -> None:
        """Nobody is left stopped."""
        for pid in self.stopped:
            os.kill(pid, signal.SIGCONT)


def measure(home: Path, visits: int, seed: int, *, minutes: float = 60) -> dict[str, Any]:
    """The whole run; what came of it."""
    random.seed(seed)
    ledger = home / "ledger"
    ledger.touch(0o600)
    actor = home / "actor"
    actor.write_text(ACTOR.format(python=sys.executable, ledger=str(ledger)))
    actor.chmod(0o700)
    data = Path(tempfile.mkdtemp(prefix="everystall-overlaps-data-"))  # PostgreSQL's user must get there
    try:
        return _measure(Server(data, fsync=False), home, ledger, (visits, minutes * 60), seed)
    finally:
        shutil.rmtree(data)


def _measure(server: Server, home: Path, ledger: Path, until: tuple[int, float], seed: int) -> dict[str, Any]:
    with server as there:
        migrate(there.admin, there.login)
        with psycopg.connect(there.admin, autocommit=True) as connection:
            ids = _accounts(connection)
        began = time.monotonic()
        with Children() as children:
            run = Run(home, there.login, there.admin, ledger, children)
            try:
                asyncio.run(_drive(run, ids, *until))
            finally:
                run.go_on()
        seconds = time.monotonic() - began
        with psycopg.connect(there.admin) as connection:
            rows = connection.execute(
                "SELECT at, connection_id::text, fence, until FROM judge.leases"
            ).fetchall()
    acts = [
        Act(float(at), account, int(fence))
        for at, account, fence in (line.split() for line in ledger.read_text().splitlines())
    ]
    taken = {(account, fence) for _, account, fence, _ in rows}
    overlaps = find_overlaps([Change(*row) for row in rows], acts)
    return {
        "visits": len(taken), "acted": len({act[1:] for act in acts}), "acts": len(acts), "kills": run.kills,
        "stops": run.stops, "seconds": seconds, "overlaps": overlaps, "seed": seed,
    }  # fmt: skip


def _accounts(connection: psycopg.Connection[Any]) -> list[UUID]:
    connection.execute(HISTORY)
    row = connection.execute("INSERT INTO users (email) VALUES ('a@example.com') RETURNING id").fetchone()
    assert row is not None
    rows = connection.execute(
        """INSERT INTO connections (user_id, public_id, marketplace, base_url)
           SELECT %s, 'bp_' || n, 'poshmark', 'http://poshmark.localhost:1' FROM generate_series(1, %s) n
           RETURNING id""",
        [row[0], ACCOUNTS],
    )
    return [made[0] for made in rows.fetchall()]


async def _drive(run: Run, ids: list[UUID], visits: int, seconds: float) -> None:
    """Wakes accounts and disturbs the workers until there were so many visits, or so long."""
    for _ in range(WORKERS):
        run.start_worker()
    db, now = Database(run.login), time.monotonic()
    due, said = {"kill": now + KILL_EVERY, "stop": now + KILL_EVERY / 2}, 0
    while (done := run.visits()) < visits and time.monotonic() < now + seconds:
        async with db.as_app() as session:
            await engine.wake(session, random.sample(ids, 60))
            for lane in ("urgent", "reading", "sittings"):
                await engine.wake(session, random.sample(ids, 5), lane)
        run.disturb(time.monotonic(), due)
        if not done and time.monotonic() > now + 30:
            raise RuntimeError(f"no worker visits anything; see {run.home / 'workers.log'}")
        if done >= said + 500:
            said = done
            sys.stdout.write(
                f"[{time.monotonic() - now:5.0f} s] {done} visits, {run.kills} kills, {run.stops} stops\n"
            )
            sys.stdout.flush()
        await asyncio.sleep(0.5)
    await db.close()


def write(found: dict[str, Any]) -> str:
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return (
        f"{when}{commit()}: {found['visits']} visits of {ACCOUNTS} accounts by {WORKERS} workers in "
        f"{found['seconds'] / 60:.0f} minutes, {found['kills']} workers killed, {found['stops']} stopped for "
        f"{REST:.0f} s; {found['acts']} acts of {found['acted']} visits arrived: **{len(found['overlaps'])} "
        f"overlaps** (seed {found['seed']}).\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="make overlaps", description=__doc__)
    parser.add_argument("--visits", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=60, help="and no longer, however few it were")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-write", action="store_true")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--with-parent", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        end_with_parent()
        asyncio.run(work(os.environ["DATABASE_URL"], given.work))
        return
    home = Path(tempfile.mkdtemp(prefix="everystall-overlaps-"))
    try:
        with interruptible():
            found = measure(home, given.visits, given.seed, minutes=given.minutes)
        said = write(found)
        sys.stdout.write("\n".join([*found["overlaps"][:20], said]))
        if not given.no_write:
            page = PAGE.read_text()
            head, rest = page.split(BEGIN)
            PAGE.write_text(head + BEGIN + said + END + rest.split(END)[1])
        sys.exit(1 if found["overlaps"] else 0)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
