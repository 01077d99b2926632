"""Row 13: poison in the queue. A wake-up is only "visit this account now", so there is little to poison: the
worker goes on, the poison goes away, nothing is posted twice and nobody else waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg.errors import CheckViolation
from sqlalchemy import text

from everystall import engine
from everystall.db import Database
from everystall.notify.send import Mail
from everystall.worker.run import make_app
from tests.journeys.conftest import Stall

pytestmark = [pytest.mark.journey, pytest.mark.browser]

VISITS = {"queue": "visits", "task": "visit"}
POISON: list[dict[str, Any]] = [
    # what is no account's, or nobody's
    {**VISITS, "args": {}},
    {**VISITS, "args": {"connection_id": str(uuid4()), "lane": "visits"}},
    {**VISITS, "args": {"connection_id": "'; DROP TABLE users; --", "lane": "visits"}},
    {**VISITS, "args": {"connection_id": None, "lane": None}},
    {**VISITS, "args": {"connection_id": 7, "lane": "visits"}},
    {**VISITS, "args": {"connection_id": ["ALICE"], "lane": "visits"}},
    {**VISITS, "args": {"connection_id": "ALICE", "lane": "a lane that is none"}},
    {**VISITS, "args": {"connection_id": "ALICE", "lane": "visits", "tools": "x", "self": 1}},
    {**VISITS, "args": {"connection_id": "ALICE", "lane": {"a": {"a": {"a": ["deep"] * 100}}}}},
    # tasks that are none of ours, or that are not for this lane
    {"queue": "visits", "task": "os.system", "args": {"command": "touch FILE"}},
    {"queue": "visits", "task": "builtin:procrastinate.builtin_tasks.remove_old_jobs", "args": {}},
    {"queue": "visits", "task": "", "args": {}},
    {"queue": "visits", "task": "tick", "args": {"timestamp": "yesterday"}},
    {"queue": "messages", "task": "deliver", "args": {"to": "everybody"}},
    {"queue": "ticks", "task": "tick", "args": {"timestamp": 0, "evil": True}},
    {"queue": "urgent", "task": "visit", "args": {"connection_id": "BOB", "lane": "urgent"}},
]


@asynccontextmanager
async def _lanes(stall: Stall) -> AsyncIterator[asyncio.Task[None]]:
    """The worker's lanes with its three tasks, in this process."""
    url = stall.settings.database_url
    assert url
    mail = Mail(stall.tools.db, stall.tools.vault, stall.settings)
    app = make_app(url.get_secret_value(), stall.tools, mail)
    async with app.open_async():
        slots = {"urgent": 1, "visits": 2, "ticks": 1, "messages": 1}
        lanes = asyncio.create_task(engine.run_lanes(app, slots, grace_seconds=10))
        yield lanes
        lanes.cancel()
        await asyncio.gather(lanes, return_exceptions=True)
    await mail.close()


#: What the table itself refuses (migration 0006).
REFUSED = ([], "visit everybody", 1, None, {"connection_id": "x" * 5_000_000, "lane": "visits"})


@pytest.mark.parametrize("args", REFUSED, ids=["list", "text", "number", "null", "huge"])
async def test_what_is_no_small_object_never_gets_into_the_queue(admin: Any, args: Any):
    with pytest.raises(CheckViolation):
        await admin.execute(
            "INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, args) "
            "VALUES ('visits', 'visit', %s)",
            [json.dumps(args)],
        )


@pytest.mark.extended
async def test_poison_goes_away_and_the_work_goes_on(stall: Stall, tmp_path: Path):
    alice, bob = stall.sellers["alice"], stall.sellers["bob"]
    hers, his = await stall.connect(alice, "mercari"), await stall.connect(bob, "mercari")
    ids = {"ALICE": await stall.connection_id(hers), "BOB": await stall.connection_id(his)}
    for poison in POISON:
        args = json.dumps(poison["args"]).replace("FILE", str(tmp_path / "poisoned"))
        for name, id in ids.items():
            args = args.replace(name, str(id))
        await _sql(
            stall,
            "INSERT INTO procrastinate_jobs (queue_name, task_name, priority, args, status, attempts) "
            "VALUES (:queue, :task, 100, CAST(:args AS jsonb), 'todo', 0)",
            queue=poison["queue"], task=poison["task"], args=args,
        )  # fmt: skip
    jobs = [
        (seller, (await stall.post(seller, await stall.listing(seller), ["mercari"]))["jobId"])
        for seller in (alice, bob)
    ]
    async with _lanes(stall) as lanes:
        async with asyncio.timeout(60):
            for seller, job in jobs:
                while (await stall.job(seller, job))["status"] == "running":
                    assert not lanes.done()
                    await asyncio.sleep(0.1)
            while left := await stall.rows(
                "SELECT task_name, args, status FROM procrastinate.procrastinate_jobs "
                "WHERE priority = 100 AND status IN ('todo', 'doing')"
            ):
                assert not lanes.done(), left
                await asyncio.sleep(0.2)
        assert [(await stall.job(seller, job))["status"] for seller, job in jobs] == ["done", "done"]
        assert len(stall.events("mercari", "published")) == 2
        assert len(await stall.rows("SELECT id FROM users")) == 2
        # and it still works
        again = (await stall.post(alice, await stall.listing(alice, title="Another"), ["mercari"]))["jobId"]
        async with asyncio.timeout(60):
            while (await stall.job(alice, again))["status"] == "running":
                await asyncio.sleep(0.1)
        assert len(stall.live("mercari")) == 3
    assert not (tmp_path / "poisoned").exists()


async def _sql(stall: Stall, query: str, **values: Any) -> None:
    admin = Database(stall.admin_url)
    async with admin.as_app() as session:
        # procrastinate's triggers name no schema
        await session.execute(text("SELECT set_config('search_path', 'procrastinate, public', true)"))
        await session.execute(text(query), values)
    await admin.close()
