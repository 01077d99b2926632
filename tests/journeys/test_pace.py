"""Pace: what a marketplace asks for and what a person would need, kept per account."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate

import pytest

from everystall.worker import visit
from tests.journeys.conftest import Seller, Stall

pytestmark = [pytest.mark.journey, pytest.mark.browser]

WAITS = """SELECT extract(epoch FROM next_try_at - now())::float8 AS seconds FROM publications
           ORDER BY asked_at"""


async def _two_posts(stall: Stall, seller: Seller) -> tuple[str, list[str]]:
    profile = await stall.connect(seller, "mercari")
    jobs = []
    for title in ("A first linen shirt", "A second linen shirt"):
        jobs.append(
            (await stall.post(seller, await stall.listing(seller, 1, title=title), ["mercari"]))["jobId"]
        )
    return profile, jobs


@pytest.mark.parametrize("form", ["seconds", pytest.param("date", marks=pytest.mark.extended)])
async def test_a_marketplace_that_asks_to_wait_is_left_alone_by_the_whole_account(stall, alice, form):
    profile, jobs = await _two_posts(stall, alice)
    after = "120" if form == "seconds" else formatdate(time.time() + 120, usegmt=True)
    stall.sandbox.fault("mercari", kind="too_many", retry_after=after, times=1, path="/sell/")
    await stall.visit(profile)
    waits = [row["seconds"] for row in await stall.rows(WAITS)]
    assert all(60 < seconds <= 120 for seconds in waits), waits
    assert stall.events("mercari", "published") == []
    await stall.visit(profile)  # woken too early
    assert stall.events("mercari", "published") == []
    await stall.rows("UPDATE publications SET next_try_at = NULL RETURNING id")
    for job in jobs:
        assert (await stall.until_done(alice, job, profile))["status"] == "done"
    assert len(stall.events("mercari", "published")) == 2


@pytest.mark.extended
async def test_a_page_that_says_too_fast_stops_the_posts_and_asks_the_seller(stall, alice):
    profile, jobs = await _two_posts(stall, alice)
    stall.sandbox.fault("mercari", kind="layout")  # where the limit is one of speed
    stall.sandbox.fault("mercari", kind="item_limit", times=1)
    await stall.visit(profile)
    assert stall.events("mercari", "published") == []
    pairs = [(await stall.job(alice, job))["automationResults"][0] for job in jobs]
    assert [pair["needsYou"]["reason"] for pair in pairs] == ["account_limited"] * 2
    assert len(stall.events("mercari", "refused")) == 1


async def test_a_visit_whose_budget_is_spent_goes_behind_those_who_wait(stall, alice, bob, monkeypatch):
    """Though somebody woke its account meanwhile, before the other came."""
    hers, _ = await _two_posts(stall, alice)
    his = await stall.connect(bob, "mercari")  # woken after hers
    monkeypatch.setattr(visit, "BUDGET_STEPS", 1)
    await stall.visit(hers)
    waiting = await stall.rows(
        "SELECT args ->> 'connection_id' AS id FROM procrastinate.procrastinate_jobs j "
        "WHERE status = 'todo' ORDER BY j.id"
    )
    assert [row["id"] for row in waiting] == [
        str(await stall.connection_id(his)),
        str(await stall.connection_id(hers)),
    ]


async def test_a_take_down_waits_for_one_step_of_a_visit_at_most(stall, alice):
    """Asked while the account's own visit posts one of several."""
    profile = await stall.connect(alice, "mercari")
    there = await stall.listing(alice, 1, title="A linen shirt to take down")
    job = await stall.post(alice, there, ["mercari"])
    assert (await stall.until_done(alice, job["jobId"], profile))["status"] == "done"
    for title in ("A second linen shirt", "A third linen shirt"):
        await stall.post(alice, await stall.listing(alice, 1, title=title), ["mercari"])
    visiting = asyncio.create_task(stall.visit(profile))
    while not await stall.rows("SELECT 1 AS one FROM publications WHERE state IN ('filling', 'armed')"):
        assert not visiting.done()
        await asyncio.sleep(0.01)
    before = len(stall.events("mercari", "published"))
    answer = await alice.client.post(f"/api/listings/{there}/publications/{profile}/end")
    assert answer.status_code == 200, answer.text
    await visiting
    entries = stall.sandbox.ledger(marketplace="mercari")["entries"]
    events = [entry["event"] for entry in entries if entry["event"] in ("published", "ended")]
    assert events.index("ended") - before <= 1
    assert events.count("published") == 3
