"""What the engine itself costs: visits whose step asks no marketplace, each with its own wake-up, beside bare
procrastinate no-ops on the same PostgreSQL. Also that figure's worker process: `python -m benchmarks.engine`.

Everything else of such a visit is the product's own: `wake()`, the lanes, the lease, the due rows, the record
under the fence, of which the jobs that wait are told, and giving back.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import statistics
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from procrastinate import App

from benchmarks.memory import PROC, descendants
from everystall import engine
from everystall.browser.driver import Driver
from everystall.content.photos import Photos
from everystall.db import Database, migrate
from everystall.embedded import Server
from everystall.inventory.publications import change
from everystall.notify.send import Mail
from everystall.processes import Children, end_with_parent
from everystall.settings import Settings, load
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from everystall.worker.run import make_app
from everystall.worker.visit import Due, Tools, Visit

#: Visits at once in one process, and no-ops likewise.
SLOTS = 10
#: Accounts; each is woken once in a round.
ACCOUNTS = 500
#: The statements of one visit on the wire, in order: what each begins with, and what for. BEGIN, COMMIT and
#: the set_config that makes a transaction the seller's are beside it (tests/test_statements.py compares).
STATEMENTS = (
    (r"SELECT id, status, task_name.* FROM procrastinate_fetch_job", "pick up: the next wake-up"),
    (r"SELECT user_id, fence FROM everystall\.take_lease", "the lease, and whose account it is"),
    (r"SELECT c\.id, .* FROM connections c LEFT JOIN LATERAL", "the account, the fence, and what is due"),
    (r"SELECT 1 FROM connections .* FOR NO KEY UPDATE", "record: the lease is still ours"),
    (r"SELECT publications\..* FOR UPDATE", "record: the publication, locked"),
    (r"UPDATE publications SET", "record: what became of it"),
    (r"UPDATE listing_automation_results", "record: the jobs that wait for it are told"),
    (r"SELECT c\.id, .* FROM connections c LEFT JOIN LATERAL", "is there more?"),
    (r"UPDATE connections SET lease_until = NULL", "the lease is given back"),
    (r"SELECT procrastinate_finish_job", "the wake-up is finished and deleted"),
)
#: What a worker does by the clock and not for a visit.
_BY_THE_CLOCK = re.compile(
    r"heartbeat|abort_requested|prune_stalled|LISTEN|UNLISTEN|periodic|register_worker|to_regclass"
)
#: DEALLOCATE ALL is psycopg's, after any ROLLBACK: the clock's, where its chore waits already.
_BESIDE = re.compile(r"BEGIN|COMMIT|ROLLBACK|DEALLOCATE ALL|SELECT set_config\('role'")
_LOGGED = re.compile(r"^\S+ \S+ \S+ \[\d+\] (\w+):  (?:statement: |execute [^:]+: )?(.*)$")


@dataclass(frozen=True)
class Place:
    """A PostgreSQL of the benchmark's own: no other worker is on it."""

    home: Path
    login: str
    admin: str
    #: The process whose children do the work.
    postmaster: int

    def query(self, query: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            found = connection.execute(query, values or None)
            return found.fetchall() if found.description else []

    @property
    def log(self) -> Path:
        """PostgreSQL's."""
        return Path(self.query("SHOW data_directory")[0][0]).parent / "postgres.log"

    def cpu(self) -> float:
        """Seconds of processor time that PostgreSQL's processes have used."""
        return sum(map(cpu_of, (self.postmaster, *descendants(self.postmaster))))


@contextmanager
def place(home: Path, *, fsync: bool = True) -> Iterator[Place]:
    """A migrated database in `home`."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = Server(home, fsync=fsync)
    with server as addresses:
        migrate(addresses.admin, addresses.login)
        here = Place(home, addresses.login, addresses.admin, server.postmaster or 0)
        data = here.log.parent  # not in `home` where PostgreSQL's user cannot get there
        yield here
    shutil.rmtree(data, ignore_errors=True)


def cpu_of(pid: int) -> float:
    """Seconds of processor time; 0 of one that is gone."""
    try:
        return sum(int(task.read_text().split()[0]) for task in PROC.glob(f"{pid}/task/*/schedstat")) / 1e9
    except OSError:
        return 0.0


def stock(place: Place, accounts: int) -> None:
    """One seller's listing live on so many accounts."""
    place.query(
        """WITH seller AS (INSERT INTO users (email) VALUES ('engine@example.com') RETURNING id),
           listing AS (INSERT INTO listings (user_id) SELECT id FROM seller RETURNING id),
           account AS (INSERT INTO connections (user_id, public_id, marketplace, base_url)
               SELECT s.id, 'bp_mercari_' || n, 'mercari', 'http://mercari.localhost'
               FROM seller s, generate_series(1, %s) n RETURNING id, user_id)
           INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision, put,
               put_revision, state)
           SELECT a.user_id, l.id, a.id, 'mercari', 1, 'live', 1, 'live' FROM account a, listing l""",
        accounts,
    )
    place.query("ANALYZE")


# ---- the figure -----------------------------------------------------------------------------------


def measure(home: Path, rounds: int, say: Callable[[str], None]) -> dict[int, dict[str, float]]:
    """Per number of worker processes: visits and no-ops per second, and milliseconds of processor time of
    PostgreSQL and of the workers per visit; medians of the rounds."""
    found = {}
    with place(home) as here:
        stock(here, ACCOUNTS)
        for workers in (1, 2, 4):
            with Children() as children:
                pids = _start(children, here, workers)
                _round(here, "visits", pids)  # the first of all is not what a day is made of
                visits = [_round(here, "visits", pids) for _ in range(rounds)]
            with Children() as children:
                pids = _start(children, here, workers, "no-ops")
                _round(here, "no-ops", pids)
                no_ops = [_round(here, "no-ops", pids) for _ in range(rounds)]
            found[workers] = {
                "visits": statistics.median(one["per_second"] for one in visits),
                "no_ops": statistics.median(one["per_second"] for one in no_ops),
                "database_ms": statistics.median(one["database_ms"] for one in visits),
                "worker_ms": statistics.median(one["worker_ms"] for one in visits),
                "no_op_ms": statistics.median(one["database_ms"] + one["worker_ms"] for one in no_ops),
            }
            say(f"  {workers}: {found[workers]}")
    return found


def _start(children: Children, place: Place, workers: int, what: str = "visits") -> list[int]:
    env = {**os.environ, "DATABASE_URL": place.login, "EVERYSTALL_HOME": str(place.home)}
    names = [f"{what} {number}" for number in range(workers)]
    for name in names:
        children.start(name, what, module="benchmarks.engine", env=env, log=place.home / "workers.log")
    began = time.monotonic()
    while place.query(_LISTENING)[0][0] < workers:
        if children.ended() or time.monotonic() > began + 60:
            raise RuntimeError(f"the workers did not start: see {place.home / 'workers.log'}")
        time.sleep(0.1)
    return [children.pid(name) for name in names]


_LISTENING = "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'LISTEN .*(visits|no-ops)'"
_LEFT = "SELECT 1 FROM procrastinate.procrastinate_jobs WHERE queue_name IN ('visits', 'no-ops') LIMIT 1"


def _round(place: Place, what: str, workers: list[int]) -> dict[str, float]:
    """All accounts woken once, or so many no-ops deferred, and worked off."""
    fences = place.query("SELECT sum(lease_fence) FROM connections")[0][0]
    if what == "visits":
        place.query("UPDATE publications SET wanted_revision = wanted_revision + 1")
    with psycopg.connect(place.admin, autocommit=True, options="-c search_path=public,procrastinate") as mine:
        used, database = sum(map(cpu_of, workers)), place.cpu()
        began = time.perf_counter()
        mine.execute(_WAKE if what == "visits" else _DEFER, {"n": ACCOUNTS})
        while mine.execute(_LEFT).fetchone() is not None:
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        used, database = sum(map(cpu_of, workers)) - used, place.cpu() - database
    if what == "visits":
        fences = place.query("SELECT sum(lease_fence) FROM connections")[0][0] - fences
        left = place.query("SELECT count(*) FROM publications WHERE unsettled")[0][0]
        if (fences, left) != (ACCOUNTS, 0):
            raise RuntimeError(f"{fences} visits for {ACCOUNTS} wake-ups, and {left} left to do")
    return {
        "per_second": ACCOUNTS / seconds,
        "worker_ms": 1000 * used / ACCOUNTS,
        "database_ms": 1000 * database / ACCOUNTS,
    }


_WAKE = "SELECT everystall.wake(array_agg(id), 'visits') FROM connections"
_DEFER = """SELECT procrastinate_defer_jobs_v1(array_agg(
    ROW('no-ops', 'no-op', 0, NULL, NULL, '{}', NULL)::procrastinate_job_to_defer_v1))
    FROM generate_series(1, %(n)s)"""


# ---- the statements -------------------------------------------------------------------------------


def statements(log: str) -> list[str]:
    """What reached PostgreSQL by its own log (log_statement = all), a line each, without BEGIN, COMMIT, the
    seller's set_config, and what workers do by the clock."""
    found: list[str] = []
    told = False
    for line in log.splitlines():
        head = _LOGGED.match(line)
        if head:
            told = head[1] == "LOG"
            if told:
                found.append(head[2])
        elif told and found:
            found[-1] += " " + line
    plain = (" ".join(one.split()) for one in found)  # an empty one is the queue's pool: are you there?
    return [one for one in plain if one and not _BESIDE.match(one) and not _BY_THE_CLOCK.search(one)]


# ---- the worker process ---------------------------------------------------------------------------


async def nothing(visit: Visit, due: Due) -> None:
    """The step that asks no marketplace: what is wanted is there at once."""
    assert due.publication_id is not None
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, due.publication_id)
        await change(session, publication, put_revision=publication.wanted_revision)


def idle_tools(db: Database, settings: Settings) -> Tools:
    """A worker's tools, whose visits need no browser."""
    vault = Vault(db, Keyring.load(settings), settings)
    return Tools(db, vault, Photos(settings), settings, Driver(), asyncio.Event(), step=nothing)


async def _visits(url: str) -> None:
    settings = load()
    db = Database(url)
    tools = idle_tools(db, settings)
    app = make_app(url, tools, Mail(db, tools.vault, settings))
    slots = {"urgent": settings.worker_urgent, "visits": SLOTS, "messages": 1}  # ticks have their own figure
    async with app.open_async():
        await engine.run_lanes(app, slots, grace_seconds=5)


async def _no_ops(url: str) -> None:
    """procrastinate as it comes, with our settings of its worker."""
    app: App = engine.make_app(url)

    @app.task(name="no-op")
    async def no_op() -> None: ...

    async with app.open_async():
        await app.run_worker_async(
            queues=["no-ops"],
            concurrency=SLOTS,
            delete_jobs="always",
            fetch_job_polling_interval=engine.POLL_SECONDS,
            install_signal_handlers=False,
        )


async def _until_told(work: Any) -> None:
    running = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    with suppress(asyncio.CancelledError):
        await running


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("what", choices=["visits", "no-ops"])
    parser.add_argument("--with-parent", action="store_true")
    given = parser.parse_args()
    if given.with_parent:
        end_with_parent()
    url = os.environ["DATABASE_URL"]
    asyncio.run(_until_told(_visits(url) if given.what == "visits" else _no_ops(url)))


if __name__ == "__main__":
    main()
