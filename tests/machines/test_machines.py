"""Webs and workers on several hosts over one PostgreSQL: each listing once, whoever comes and goes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import pytest

from tests.machines.conftest import Network, Seller
from tests.machines.hosts import APART

pytestmark = [pytest.mark.journey, pytest.mark.browser]

extended = pytest.mark.extended
if APART:  # `make test-machines` runs all of them
    extended = pytest.mark.journey


async def _until(condition: Callable[[], bool], network: Network, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, network.said()
        await asyncio.sleep(0.1)


def _load(network: Network, sellers: int = 3, listings: int = 3) -> list[Seller]:
    """Sellers who each posted so many, half of it at one web and half at the other."""
    made = [network.seller(number) for number in range(sellers)]
    for seller in made:
        for number in range(listings):
            network.post(seller, number, web=number)
    return made


async def _judge(network: Network, sellers: list[Seller]) -> None:
    jobs = await network.done(*sellers, seconds=300)
    assert [job["status"] for job in jobs] == ["done"] * len(jobs), (jobs, network.said())
    for seller in sellers:
        wanted = [f"Linen shirt, number {number}" for number in range(len(seller.jobs))]
        assert network.published(seller) == wanted
        assert sorted(one["fields"]["title"] for one in network.live(seller)) == wanted
        assert all(len(one["photos"]) == 1 for one in network.live(seller))
    leased = "SELECT lease_holder FROM connections WHERE lease_until > now()"
    # the last visits may be closing their browsers yet
    await _until(lambda: not network.postgres.rows(leased), network, 30)


def _at_work(network: Network, *states: str) -> bool:
    return bool(
        network.postgres.rows("SELECT 1 FROM publications WHERE state = ANY(%s) LIMIT 1", list(states))
    )


@extended
async def test_what_one_host_was_asked_for_another_posts_with_photos_from_the_store(network, workers):
    a, b = network.hosts.others
    worker = workers(b)
    seller = network.seller()
    network.post(seller, 0, photos=3)
    (job,) = await network.done(seller, seconds=180)
    assert job["status"] == "done", (job, network.said())
    (live,) = network.live(seller)
    assert len(live["photos"]) == 3
    assert network.published(seller) == ["Linen shirt, number 0"]
    assert not list(a.home.glob("photos/**/*"))
    assert not list(b.home.glob("photos/**/*"))
    if APART:
        assert os.readlink(f"/proc/{worker.pid}/ns/net") != os.readlink("/proc/self/ns/net")
    worker.terminate()
    assert await asyncio.to_thread(worker.wait, 65) == 0


@extended
async def test_workers_restarted_one_after_the_other_under_load_repeat_nothing(network, workers):
    """SIGTERM: a visit finishes its step and hands back the rest, within its grace."""
    a, b = network.hosts.others
    old = [workers(a), workers(b)]
    sellers = _load(network)
    await _until(lambda: any(network.published(seller) for seller in sellers), network)
    for place, worker in enumerate(old):
        began = time.monotonic()
        worker.terminate()
        workers((a, b)[place])
        assert await asyncio.to_thread(worker.wait, 65) == 0, network.said()
        assert time.monotonic() - began < 62
    await _judge(network, sellers)


@extended
async def test_a_worker_killed_and_another_added_under_load(network, workers):
    a, b = network.hosts.others
    first = workers(a)
    sellers = _load(network)
    await _until(lambda: _at_work(network, "filling", "armed", "reconciling"), network)
    workers(b)
    first.kill()
    await _judge(network, sellers)


@extended
@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_postgresql_restarted_under_load(network, workers, mode):
    a, b = network.hosts.others
    processes = [workers(a), workers(b)]
    sellers = _load(network, listings=2)
    await _until(lambda: _at_work(network, "filling", "armed", "reconciling"), network)
    await asyncio.to_thread(network.postgres.restart, mode)
    for seller in sellers:
        network.post(seller, 2, web=1)
    await _judge(network, sellers)
    assert [process.poll() for process in processes] == [None, None]


@extended
async def test_the_pace_and_the_daily_cap_of_an_account_hold_whichever_worker_posts(network, workers):
    a, b = network.hosts.others
    for host in (a, b):
        workers(host, PACE_SECONDS="4", DAILY_CAP="2")
    sellers = _load(network, sellers=2)  # three listings each
    await _until(lambda: all(len(network.published(seller)) == 2 for seller in sellers), network, 240)
    for seller in sellers:
        first, second = network.clicks(seller)
        assert second - first >= 4
    assert network.clicks(sellers[1])[0] < network.clicks(sellers[0])[1]  # each account its own pace
    until = """SELECT extract(epoch FROM p.next_try_at - now())::float8 FROM publications p
               JOIN connections c ON c.id = p.connection_id
               WHERE c.public_id = ANY(%s) AND p.state = 'waiting'
               AND p.next_try_at > now() + interval '1 h'"""
    profiles = [seller.profile for seller in sellers]
    await _until(lambda: len(network.postgres.rows(until, profiles)) == 2, network)
    assert all(23 * 3600 < seconds <= 24 * 3600 for (seconds,) in network.postgres.rows(until, profiles))
    assert [len(network.published(seller)) for seller in sellers] == [2, 2]
