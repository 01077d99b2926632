"""The worker as a process: it takes what was asked for, ends in order, and is survived by the work."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import psycopg
import pytest

from tests.elsewhere import chromium_elsewhere
from tests.journeys.conftest import Seller, Stall

pytestmark = [pytest.mark.journey, pytest.mark.browser]


async def _until(stall: Stall, seller: Seller, job: str, seconds: float) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while (now := await stall.job(seller, job))["status"] == "running" and time.monotonic() < end:
        await asyncio.sleep(0.1)
    return now


@pytest.mark.longer
async def test_a_worker_posts_what_was_asked_for_and_ends_at_sigterm(stall, alice, workers):
    await stall.connect(alice, "mercari")
    worker = workers()
    job = await stall.post(alice, await stall.listing(alice), ["mercari"])
    assert (await _until(stall, alice, job["jobId"], 120))["status"] == "done"
    assert len(stall.live("mercari")) == 1
    worker.terminate()
    assert await asyncio.to_thread(worker.wait, 20) == 0
    rows = await stall.rows("SELECT lease_until FROM connections")
    assert rows == [{"lease_until": None}]


@pytest.mark.extended
async def test_an_account_is_posted_from_its_place_by_a_browser_that_runs_elsewhere(
    stall, alice, bob, workers, tmp_path
):
    home, anywhere = await stall.connect(alice, "mercari"), await stall.connect(alice, "ebay")
    moved = await alice.client.patch(f"/api/connections/{home}", json={"place": "home"})
    assert moved.json()["place"] == "home"
    with chromium_elsewhere(tmp_path / "elsewhere") as address:
        away = workers()
        job = await stall.post(alice, await stall.listing(alice), ["mercari", "ebay"])
        told = await _until(stall, alice, job["jobId"], 120)
        results = {one["marketplace"]: one for one in told["automationResults"]}
        assert results["ebay"]["state"] == "live", results
        assert results["mercari"]["needsYou"]["reason"] == "no_worker", results  # nobody stands there
        assert stall.ledger("mercari") == []
        there = workers(WORKER_PLACE="home", BROWSER_CDP_URL=address, CHROMIUM="/bin/false")
        end = time.monotonic() + 120
        while not stall.live("mercari") and time.monotonic() < end:
            await asyncio.sleep(0.1)
        question = "SELECT state, needs_you FROM publications WHERE marketplace = 'mercari'"
        while (row := (await stall.rows(question))[0])["state"] != "live" and time.monotonic() < end:
            await asyncio.sleep(0.1)
        assert row == {"state": "live", "needs_you": None}
        for worker in (there, away):
            worker.terminate()
            assert await asyncio.to_thread(worker.wait, 20) == 0
    for marketplace in ("mercari", "ebay"):
        (live,) = stall.live(marketplace)
        assert len(live["photos"]) == 2
        assert len(stall.events(marketplace, "published")) == 1
    visited = [(tmp_path / f"worker-{number}.log").read_text() for number in range(2)]
    connections = [str(await stall.connection_id(profile)) for profile in (home, anywhere)]
    assert [[f"at='start browser' connection_id={one}" in log for one in connections] for log in visited] == [
        [False, True],
        [True, False],
    ]
    answer = await bob.client.get(f"/api/jobs/{job['jobId']}")
    assert answer.status_code == 404


@pytest.mark.longer
async def test_a_killed_workers_visit_is_taken_over_and_nothing_is_posted_twice(stall, alice, workers):
    await stall.connect(alice, "mercari")
    stall.sandbox.fault("mercari", kind="latency", seconds=0.5, times=30)
    first = workers()
    job = await stall.post(alice, await stall.listing(alice), ["mercari"])
    end = time.monotonic() + 30
    while time.monotonic() < end:
        (row,) = await stall.rows("SELECT state FROM publications")
        if row["state"] in ("filling", "armed", "reconciling", "live"):
            break
        await asyncio.sleep(0.02)
    first.kill()
    first.wait()
    workers()
    job = await _until(stall, alice, job["jobId"], 120)
    assert job["status"] == "done", job
    assert len(stall.live("mercari")) == 1
    assert len(stall.events("mercari", "published")) == 1


@pytest.mark.extended
async def test_a_stopped_worker_that_wakes_up_finds_its_account_taken_and_touches_nothing(
    stall, alice, workers
):
    await stall.connect(alice, "mercari")
    stall.sandbox.fault("mercari", kind="latency", seconds=0.5, times=30)
    first = workers()
    job = await stall.post(alice, await stall.listing(alice), ["mercari"])
    end = time.monotonic() + 30
    while time.monotonic() < end:
        (row,) = await stall.rows("SELECT state FROM publications")
        if row["state"] in ("filling", "armed", "reconciling", "live"):
            break
        await asyncio.sleep(0.02)
    first.send_signal(signal.SIGSTOP)
    workers()
    job = await _until(stall, alice, job["jobId"], 120)
    first.send_signal(signal.SIGCONT)
    await asyncio.sleep(2)
    assert job["status"] == "done", job
    assert len(stall.live("mercari")) == 1
    assert len(stall.events("mercari", "published")) == 1


@pytest.mark.extended
@pytest.mark.parametrize("marketplace", ["mercari", "poshmark", "ebay"])
async def test_killed_between_the_click_and_its_answer_it_is_found_and_not_posted_again(
    stall, alice, workers, marketplace
):
    """The row is held, so that the worker has clicked and cannot write down what came of it."""
    await stall.connect(alice, marketplace)
    first = workers()
    held = await psycopg.AsyncConnection.connect(stall.admin_url.replace("+psycopg", ""))
    async with held:
        job = await stall.post(alice, await stall.listing(alice), [marketplace])
        async with asyncio.timeout(60):
            while True:
                found = await held.execute("SELECT 1 FROM publications WHERE state = 'armed' FOR UPDATE")
                if await found.fetchone():
                    break
                await held.rollback()
                await asyncio.sleep(0.002)
            while not stall.events(marketplace, "published"):
                await asyncio.sleep(0.02)
        first.kill()
        first.wait()
        await held.rollback()
    workers()
    job = await _until(stall, alice, job["jobId"], 120)
    assert job["status"] == "done", job
    assert len(stall.live(marketplace)) == 1
    assert len(stall.events(marketplace, "published")) == 1


@pytest.mark.extended
async def test_a_worker_stopped_in_the_middle_of_a_transaction_holds_up_nobody(stall, alice, workers):
    """It waits for the account's row when it is stopped: PostgreSQL gives it the row, and nobody goes on."""
    profile = await stall.connect(alice, "mercari")
    connection = await stall.connection_id(profile)
    first = workers()
    held = await psycopg.AsyncConnection.connect(stall.admin_url.replace("+psycopg", ""))
    async with held:
        await held.execute("SELECT 1 FROM connections WHERE id = %s FOR NO KEY UPDATE", [connection])
        job = await stall.post(alice, await stall.listing(alice), ["mercari"])
        async with asyncio.timeout(30):
            while not await stall.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.02)
        first.send_signal(signal.SIGSTOP)
        await held.rollback()
    second = workers()
    job = await _until(stall, alice, job["jobId"], 120)
    assert second.poll() is None
    assert job["status"] == "done", job
    assert len(stall.live("mercari")) == 1
