"""Pace: what a marketplace asks for and what a person would need, kept per account."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from email.utils import formatdate

import pytest

from everystall.browser.session import open_browser
from everystall.worker import visit
from tests.journeys.conftest import Seller, Stall

pytestmark = [pytest.mark.journey, pytest.mark.browser]

WAITS = """SELECT extract(epoch FROM next_try_at - now())::float8 AS seconds FROM publications
           ORDER BY asked_at"""
AT_ONCE = "UPDATE publications SET next_try_at = NULL RETURNING id"


async def _two_posts(stall: Stall, seller: Seller) -> tuple[str, list[str]]:
    profile = await stall.connect(seller, "mercari")
    jobs = []
    for title in ("A first linen shirt", "A second linen shirt"):
        jobs.append(
            (await stall.post(seller, await stall.listing(seller, 1, title=title), ["mercari"]))["jobId"]
        )
    return profile, jobs


@pytest.mark.parametrize("form", ["seconds", pytest.param("date", marks=pytest.mark.extended)])
@pytest.mark.longer
async def test_a_marketplace_that_asks_to_wait_is_left_alone_by_the_whole_account(stall, alice, form):
    profile, jobs = await _two_posts(stall, alice)
    after = "120" if form == "seconds" else formatdate(time.time() + 120, usegmt=True)
    stall.sandbox.fault("mercari", kind="too_many", retry_after=after, times=1, path="/sell/")
    browsers = _count_browsers(stall)
    await stall.visit(profile)
    assert 60 < await _rest(stall) <= 120
    assert stall.events("mercari", "published") == []
    assert len(browsers) == 1
    await stall.visit(profile)  # woken too early
    await stall.rows(AT_ONCE)  # as Try again does: it is the account that was asked to rest
    await stall.visit(profile)
    await stall.rows("UPDATE connections SET next_check_at = now() RETURNING id")
    await stall.visit(profile)
    assert len(browsers) == 1
    assert 60 < await _rest(stall) <= 120
    await stall.rows("UPDATE connections SET rest_until = NULL RETURNING id")
    await stall.rows(AT_ONCE)
    for job in jobs:
        assert (await stall.until_done(alice, job, profile))["status"] == "done"
    assert len(stall.events("mercari", "published")) == 2


@pytest.mark.longer
@pytest.mark.parametrize(
    "at", ["click", *(pytest.param(one, marks=pytest.mark.extended) for one in ("upload", "orders", "list"))]
)
async def test_whichever_answer_asks_for_a_rest_is_heard(stall, alice, at):
    """An upload's, the click's, that to a look at the orders or at the list of what is live."""
    profile = await stall.connect(alice, "mercari")
    if at == "list":
        first = await stall.post(alice, await stall.listing(alice, 1, title="One before"), ["mercari"])
        assert (await stall.until_done(alice, first["jobId"], profile))["status"] == "done"
        await stall.rows("""UPDATE connections SET watched_at = NULL, next_check_at = now(),
                            next_list_at = now() RETURNING id""")
    before = len(stall.events("mercari", "published"))
    job = (await stall.post(alice, await stall.listing(alice, 1), ["mercari"]))["jobId"]
    if at == "click":
        stall.sandbox.fault("mercari", kind="error_after", status=429)
    else:
        path = {"upload": "/v1/api", "orders": "in_progress", "list": "/listings/active"}[at]
        stall.sandbox.fault("mercari", kind="too_many", retry_after="60", times=1, path=path)
    browsers = _count_browsers(stall)
    for _ in range(2):
        await stall.visit(profile)
        assert 40 < await _rest(stall) <= 60
        assert len(browsers) == 1
    (row,) = await stall.rows("SELECT needs_you, looking FROM publications ORDER BY asked_at DESC LIMIT 1")
    assert (row["needs_you"], row["looking"]) == (None, at == "click")
    assert len(stall.events("mercari", "published")) == before + (at == "click")
    await stall.rows("UPDATE connections SET rest_until = NULL RETURNING id")
    await stall.rows(AT_ONCE)
    assert (await stall.until_done(alice, job, profile))["status"] == "done"
    assert len(stall.events("mercari", "published")) == before + 1


@pytest.mark.extended
async def test_what_is_to_be_taken_down_waits_for_the_rest_and_says_so(stall, alice):
    profile = await stall.connect(alice, "mercari")
    listing = await stall.listing(alice, 1)
    job = await stall.post(alice, listing, ["mercari"])
    assert (await stall.until_done(alice, job["jobId"], profile))["status"] == "done"
    path = f"/api/listings/{listing}/publications"
    assert (await alice.client.post(f"{path}/{profile}/end")).status_code == 200
    stall.sandbox.fault("mercari", kind="too_many", retry_after="60", times=1, path="/us/item/")
    browsers = _count_browsers(stall)
    for _ in range(2):
        await stall.visit(profile, lane="urgent")
    assert len(browsers) == len(stall.live("mercari")) == 1
    (shown,) = (await alice.client.get(path)).json()
    assert (shown["waitsFor"], shown["needsYou"]) == ("rest", None)
    await stall.rows("UPDATE connections SET rest_until = NULL RETURNING id")
    await stall.rows(AT_ONCE)
    await stall.visit(profile, lane="urgent")
    assert stall.live("mercari") == []


def _count_browsers(stall: Stall) -> list[str]:
    """One more for each browser that a visit opens from here on."""
    opened: list[str] = []

    def count(**asked):
        opened.append(asked["base_url"])
        return open_browser(**asked)

    stall.tools = dataclasses.replace(stall.tools, open_browser=count)
    return opened


async def _rest(stall: Stall) -> float:
    (row,) = await stall.rows("SELECT extract(epoch FROM rest_until - now())::float8 AS s FROM connections")
    return row["s"] or 0.0


@pytest.mark.extended
@pytest.mark.parametrize("why", ["incomplete", pytest.param("down", marks=pytest.mark.extended)])
async def test_a_listing_that_turns_out_not_to_be_posted_leaves_its_turn_to_the_next(stall, alice, why):
    """And where it is the marketplace that does not answer, the next one waits for its own."""
    stall.tools = dataclasses.replace(
        stall.tools, settings=stall.settings.model_copy(update={"pace_seconds": 60})
    )
    profile = await stall.connect(alice, "mercari")
    titles = ("A first linen shirt", "A second one", "A third one", "A fourth one")
    listings = [await stall.listing(alice, 1, title=title) for title in titles]
    for listing in listings:
        await stall.post(alice, listing, ["mercari"])
    await stall.visit(profile)
    assert len(stall.events("mercari", "published")) == 1
    if why == "incomplete":
        answer = await alice.client.patch(f"/api/listings/{listings[1]}", json={"category": None})
        assert answer.status_code == 200, answer.text
    else:
        stall.sandbox.fault("mercari", kind="down", path="/sell/")
    await stall.rows("""
        WITH p AS (UPDATE publications SET next_try_at = next_try_at - interval '1 minute',
                                           paced_to = paced_to - interval '1 minute')
        UPDATE connections SET last_post_at = last_post_at - interval '1 minute' RETURNING id""")
    await stall.visit(profile)
    if why == "down":
        assert len(stall.live("mercari")) == 1
        second, third, fourth = [row["seconds"] for row in await stall.rows(WAITS)][1:]
        assert second < 15
        assert 30 < third <= 60 < fourth
        return
    (second,) = await stall.rows("SELECT needs_you FROM publications ORDER BY asked_at OFFSET 1 LIMIT 1")
    assert second["needs_you"]["reason"] == "listing_incomplete"
    assert [one["fields"]["title"] for one in stall.live("mercari")] == [titles[0], titles[2]]
    (fourth,) = (await stall.rows(WAITS))[3:]
    assert 30 < fourth["seconds"] <= 60


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


@pytest.mark.extended
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


@pytest.mark.longer
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
