"""What it costs to find who is due: 100,000 accounts that become due over ten minutes, and the worker's own
ticks, with all that they look after. Time is compressed: the 120 ticks of those minutes run one after the
other, each with its share of the accounts, and processor time is what is counted.

The visits are not part of it. A worker is there whose slots are all busy, so that it hears of each wake-up
and takes none; between two ticks, uncounted, the wake-ups are taken away as visits would have done.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg

from benchmarks.engine import Place, cpu_of, idle_tools, place, stock
from everystall import engine
from everystall.db import Database
from everystall.notify.send import Mail
from everystall.settings import Settings
from everystall.worker.run import make_app

ACCOUNTS, MINUTES, TICK_SECONDS = 100_000, 10, 5
_DUE = """WITH due AS (SELECT id FROM connections WHERE last_visit_at IS NULL LIMIT %s)
          UPDATE connections c SET next_check_at = now(), last_visit_at = now()
          FROM due WHERE c.id = due.id"""
_VISITED = """WITH gone AS (DELETE FROM procrastinate_jobs WHERE status = 'todo' AND task_name = 'visit'
                            RETURNING args ->> 'connection_id' AS id)
              UPDATE connections c SET next_check_at = NULL FROM gone WHERE c.id = gone.id::uuid"""


def measure(home: Path, say: Callable[[str], None], accounts: int = ACCOUNTS) -> dict[str, float]:
    """share: processor time of ticks and wake-ups over the ten minutes, of one core · worker, database: its
    two parts · woken: accounts in all · tick: seconds of one, median · backlog: the share of one core while
    all of them wait at once for visits that do not come."""
    with place(home) as here:
        stock(here, accounts)
        return asyncio.run(_measure(here, say, accounts))


async def _measure(here: Place, say: Callable[[str], None], accounts: int) -> dict[str, float]:
    ticks = MINUTES * 60 // TICK_SECONDS
    async with AsyncExitStack() as stack:
        app = engine.make_app(here.login)
        busy, done = asyncio.Semaphore(0), asyncio.Event()

        @app.task(name="visit")
        async def visit(connection_id: str, lane: str) -> None:
            busy.release()
            await done.wait()

        db = Database(here.login)
        stack.push_async_callback(db.close)
        await stack.enter_async_context(app.open_async())
        lanes = asyncio.create_task(engine.run_lanes(app, {"visits": 1, "urgent": 1}, grace_seconds=5))
        tools = idle_tools(db, Settings(_env_file=None, everystall_home=here.home))
        stack.push_async_callback(tools.photos.close)
        mail = Mail(db, tools.vault, tools.settings)
        stack.push_async_callback(mail.close)
        worker_app = make_app(here.login, tools, mail)
        await stack.enter_async_context(worker_app.open_async())
        tick = worker_app.tasks["tick"]
        mine = await stack.enter_async_context(
            await psycopg.AsyncConnection.connect(
                here.admin, autocommit=True, options="-c search_path=public,procrastinate"
            )
        )
        ids = [row[0] for row in await (await mine.execute("SELECT id FROM connections LIMIT 2")).fetchall()]
        for lane, id in zip(("visits", "urgent"), ids, strict=True):
            await mine.execute("SELECT everystall.wake(ARRAY[%s], %s)", [id, lane])
            await busy.acquire()
        worker, database, seconds, woken = 0.0, 0.0, [], 0
        for number in range(ticks):
            await mine.execute(_DUE, [accounts * (number + 1) // ticks - accounts * number // ticks])
            used, spent, began = time.process_time(), _others(here, mine), time.perf_counter()
            await tick(timestamp=int(time.time()))
            seconds.append(time.perf_counter() - began)
            await asyncio.sleep(0.1)  # until the last notification has arrived
            worker += time.process_time() - used
            database += _others(here, mine) - spent
            woken += (await mine.execute(_VISITED)).rowcount
        say(f"  {woken} woken in {ticks} ticks: worker {worker:.1f} s, database {database:.1f} s")
        await mine.execute("UPDATE connections SET next_check_at = now()")
        await tick(timestamp=int(time.time()))
        used, spent = time.process_time(), _others(here, mine)
        for _ in range(5):
            await tick(timestamp=int(time.time()))
        waiting = (time.process_time() - used + _others(here, mine) - spent) / 5
        done.set()
        lanes.cancel()
        await asyncio.gather(lanes, return_exceptions=True)
    return {
        "share": (worker + database) / (MINUTES * 60),
        "worker": worker,
        "database": database,
        "woken": woken,
        "tick": statistics.median(seconds),
        "backlog": waiting / TICK_SECONDS,
    }


def _others(here: Place, mine: psycopg.AsyncConnection[tuple[object, ...]]) -> float:
    """Processor time of PostgreSQL but for the connection that sets the stage."""
    return here.cpu() - cpu_of(mine.info.backend_pid)
