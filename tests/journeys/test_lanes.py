"""Taking down does not wait behind posting."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.journeys.conftest import Seller, Stall

pytestmark = [pytest.mark.journey, pytest.mark.browser]


async def _live(stall: Stall, seller: Seller, marketplace: str) -> tuple[str, str]:
    """(listing, profile) of a listing that is live there."""
    profile = await stall.connect(seller, marketplace)
    listing = await stall.listing(seller)
    job = await stall.post(seller, listing, [marketplace])
    job = await stall.until_done(seller, job["jobId"], profile)
    assert job["status"] == "done", job
    return listing, profile


async def _take_down(seller: Seller, listing: str, profile: str) -> None:
    answer = await seller.client.post(f"/api/listings/{listing}/publications/{profile}/end")
    assert answer.status_code == 200, answer.text


async def _forget_wake_ups(stall: Stall) -> None:
    await stall.rows(  # procrastinate's triggers name no schema
        "DELETE FROM procrastinate.procrastinate_jobs "
        "WHERE set_config('search_path', 'procrastinate', true) <> '' RETURNING id"
    )


async def _waiting(stall: Stall, profile: str) -> list[str]:
    """The lanes in which the account has a wake-up."""
    rows = await stall.rows(
        "SELECT j.queue_name FROM procrastinate.procrastinate_jobs j WHERE j.status = 'todo' "
        "AND j.lock = 'connection:' || :id ORDER BY 1",
        id=str(await stall.connection_id(profile)),
    )
    return [row["queue_name"] for row in rows]


@pytest.mark.longer
async def test_a_listing_is_taken_down_while_the_only_slot_is_busy_with_a_slow_post(
    stall: Stall, alice: Seller, start_worker: Any
):
    listing, poshmark = await _live(stall, alice, "poshmark")
    await stall.connect(alice, "mercari")
    await _forget_wake_ups(stall)
    stall.sandbox.fault("mercari", kind="latency", seconds=15, times=1000, path="/sell/")
    slow = await stall.post(alice, await stall.listing(alice, title="A slow linen shirt"), ["mercari"])
    start_worker()
    end = time.monotonic() + 90
    filling = "SELECT 1 AS one FROM publications WHERE marketplace = 'mercari' AND state = 'filling'"
    while not await stall.rows(filling):
        assert time.monotonic() < end, "the slow post did not begin"
        await asyncio.sleep(0.05)
    await _take_down(alice, listing, poshmark)
    end = time.monotonic() + 30
    while stall.live("poshmark") and time.monotonic() < end:
        await asyncio.sleep(0.02)
    slow_post = await stall.job(alice, slow["jobId"])
    assert stall.live("poshmark") == []
    assert slow_post["status"] == "running"
    assert stall.events("mercari", "published") == []
    stall.sandbox.clear_faults()
    end = time.monotonic() + 90
    ended = "SELECT 1 AS one FROM publications WHERE marketplace = 'poshmark' AND state = 'ended'"
    while not await stall.rows(ended):
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


@pytest.mark.extended
async def test_an_urgent_visit_takes_down_and_leaves_the_post_to_the_visits(stall: Stall, alice: Seller):
    listing, profile = await _live(stall, alice, "mercari")
    waiting = await stall.post(alice, await stall.listing(alice, title="Another linen shirt"), ["mercari"])
    await _forget_wake_ups(stall)
    await _take_down(alice, listing, profile)
    assert await _waiting(stall, profile) == ["urgent"]
    await _forget_wake_ups(stall)
    await stall.visit(profile, lane="urgent")
    assert stall.live("mercari") == []
    assert len(stall.events("mercari", "ended")) == 1
    assert len(stall.events("mercari", "published")) == 1  # the one that was taken down
    job = await stall.job(alice, waiting["jobId"])
    assert (job["status"], job["automationResults"][0]["state"]) == ("running", "waiting")
    assert await _waiting(stall, profile) == ["visits"]
    assert (await stall.until_done(alice, waiting["jobId"], profile))["status"] == "done"
