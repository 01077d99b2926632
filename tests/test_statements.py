"""What one visit asks of the database, by PostgreSQL's own log: at most ten statements, and these."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from sqlalchemy import text

from benchmarks.engine import STATEMENTS, idle_tools, place, statements, stock
from everystall import engine
from everystall.db import Database
from everystall.notify.send import Mail
from everystall.settings import Settings
from everystall.worker.run import make_app

ACCOUNTS = 8
QUEUE = "SELECT 1 FROM procrastinate.procrastinate_jobs WHERE queue_name = 'visits' LIMIT 1"


async def test_a_visit_is_ten_statements_and_these(tmp_path: Path):
    """Each account has a wake-up and so a visit of its own; the step asks no marketplace."""
    settings = Settings(
        _env_file=None, everystall_home=tmp_path / "home",
        lease_seconds=600, lease_renew_seconds=300, guard_seconds=500,  # no renewal in between
    )  # fmt: skip
    with place(tmp_path / "home", fsync=False) as here:
        stock(here, ACCOUNTS)
        here.query("UPDATE publications SET wanted_revision = 2")
        here.query("ALTER DATABASE everystall SET log_statement = 'all'")
        db = Database(here.login)
        tools = idle_tools(db, settings)
        app = make_app(here.login, tools, Mail(db, tools.vault, settings))
        log = here.log
        began = log.stat().st_size
        async with app.open_async():
            async with db.as_app() as session:
                wake = text("SELECT everystall.wake(CAST(:ids AS uuid[]), 'visits')")
                ids = [id for (id,) in here.query("SELECT id FROM connections")]
                await session.execute(wake, {"ids": ids})
            lanes = asyncio.create_task(engine.run_lanes(app, {"visits": 1}, grace_seconds=5))
            async with asyncio.timeout(60):
                while here.query(QUEUE):
                    await asyncio.sleep(0.1)
            lanes.cancel()
            await asyncio.gather(lanes, return_exceptions=True)
        await db.close()
        said = statements(log.read_bytes()[began:].decode())
        assert here.query("SELECT sum(lease_fence) FROM connections") == [(ACCOUNTS,)]
        assert here.query("SELECT 1 FROM publications WHERE unsettled") == []
    visits = _visits([one for one in said if one != QUEUE])
    assert len(visits) == ACCOUNTS
    assert len(STATEMENTS) <= 10
    for visit in visits:
        for statement, (wanted, _) in zip(visit, STATEMENTS, strict=True):
            assert re.match(wanted, statement), statement


def _visits(found: list[str]) -> list[list[str]]:
    """What follows each pick-up that found a wake-up."""
    picks = [place for place, one in enumerate(found) if re.match(STATEMENTS[0][0], one)]
    parts = [found[here:there] for here, there in zip(picks, [*picks[1:], len(found)], strict=True)]
    return [part for part in parts if len(part) > 1]


def test_the_statements_are_in_the_docs():
    page = (Path(__file__).parent.parent / "docs/benchmarks.md").read_text()
    for _, what in STATEMENTS:
        assert what in page, what
