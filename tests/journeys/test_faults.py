"""What a marketplace does to us, and that the seller ends with exactly one listing or a plain question."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import time

import psycopg
import pytest
from sqlalchemy.exc import InternalError

from chaos.workers import browsers
from chaos.workers import driver as driver_of
from everystall.browser import hosts
from everystall.browser import session as browser_session
from everystall.browser.page import Page
from everystall.content.photos import Photos
from everystall.demo.show import is_good
from everystall.errors import LeaseLost, PageChanged
from everystall.marketplaces import get_adapter
from tests.journeys.conftest import SHIRT, Seller, Stall
from tests.journeys.test_decisions import _connect

pytestmark = [pytest.mark.journey, pytest.mark.browser]


async def _posted(stall: Stall, seller: Seller, marketplace: str) -> tuple[str, dict]:
    """A session is handed over and a listing asked for; nothing was visited yet."""
    profile = await _connect(stall, seller, marketplace)
    return profile, await stall.post(seller, await stall.listing(seller), [marketplace])


@pytest.mark.parametrize("kind", ["error_after", pytest.param("reset_after", marks=pytest.mark.extended)])
@pytest.mark.extended
async def test_a_lost_answer_after_the_commit_leaves_exactly_one(stall, alice, marketplace, kind):
    profile, job = await _posted(stall, alice, marketplace)
    stall.sandbox.fault(marketplace, kind=kind, times=1)
    job = await stall.until_done(alice, job["jobId"], profile)
    assert job["status"] == "done", job
    assert len(stall.live(marketplace)) == 1
    assert len(stall.events(marketplace, "published")) == 1


@pytest.mark.extended
async def test_a_message_that_nobody_knows_after_the_commit_leaves_exactly_one(stall, alice, marketplace):
    profile, job = await _posted(stall, alice, marketplace)
    stall.sandbox.fault(marketplace, kind="odd_answer", times=1)
    job = await stall.until_done(alice, job["jobId"], profile)
    assert job["status"] == "done", job
    assert len(stall.live(marketplace)) == 1
    assert len(stall.events(marketplace, "published")) == 1
    (row,) = await stall.rows("SELECT evidence FROM attempts")
    assert "contact support" in row["evidence"]["said"]
    assert len(await stall.tools.photos.evidence(alice.user_id, row["evidence"]["screenshot"])) > 1000


@pytest.mark.extended
async def test_a_message_that_nobody_knows_and_a_stale_list_ask_the_seller_in_the_sites_words(
    stall, alice, marketplace
):
    """The trial in which two were live: the site commits, says that it has not, and Retry posts again."""
    profile, job = await _posted(stall, alice, marketplace)
    stall.sandbox.fault(marketplace, kind="index_lag", seconds=3600, page_seconds=3600, times=1)
    stall.sandbox.fault(marketplace, kind="odd_answer", times=1)
    job = await stall.until_done(alice, job["jobId"], profile)
    (pair,) = job["automationResults"]
    assert pair["needsYou"]["reason"] == "unresolved"
    assert "An error has occurred. Please contact support." in pair["needsYou"]["message"]
    assert "retry" not in [action["name"] for action in pair["needsYou"]["actions"]]
    assert len(stall.events(marketplace, "published")) == 1


@pytest.mark.extended
async def test_a_lost_answer_and_a_stale_list_leave_exactly_one(stall, alice, marketplace):
    profile, job = await _posted(stall, alice, marketplace)
    stall.sandbox.fault(marketplace, kind="index_lag", seconds=1.5, times=100)
    stall.sandbox.fault(marketplace, kind="reset_after", times=1)
    job = await stall.until_done(alice, job["jobId"], profile)
    assert job["status"] == "done", job
    assert len(stall.live(marketplace)) == 1


@pytest.mark.parametrize("kind", ["error_before", pytest.param("reset_before", marks=pytest.mark.extended)])
@pytest.mark.extended
async def test_a_failure_before_the_commit_never_makes_two(stall, alice, marketplace, kind):
    profile, job = await _posted(stall, alice, marketplace)
    stall.sandbox.fault(marketplace, kind=kind, times=1)
    job = await stall.until_done(alice, job["jobId"], profile)
    if job["status"] == "needs_you":  # nobody could know: the seller is asked
        (pair,) = job["automationResults"]
        assert pair["needsYou"]["reason"] in ("unresolved", "listing_rejected", "not_published")
        assert {action["name"] for action in pair["needsYou"]["actions"]} & {"post_again", "retry"}
        assert stall.live(marketplace) == []
    else:
        assert job["status"] == "done", job
        assert len(stall.live(marketplace)) == 1


@pytest.mark.extended
@pytest.mark.parametrize(
    ("name", "behind"),
    [
        ("ebay", 1.5),
        *(
            pytest.param(*one, marks=pytest.mark.extended)
            for one in (("ebay", 0.0), ("ebay", 3600.0), ("poshmark", 0.0))
        ),
    ],
)  # Mercari keeps no draft of a click
async def test_a_draft_that_goes_live_as_it_is_discarded_is_found_and_not_repeated(
    stall, alice, name, behind, monkeypatch
):
    adapter = type(get_adapter(name))
    discard = adapter.discard_draft

    async def discard_too_late(self, page, draft_id):
        async with asyncio.timeout(20):
            while not stall.live(name):
                await asyncio.sleep(0.05)
        return await discard(self, page, draft_id)

    monkeypatch.setattr(adapter, "discard_draft", discard_too_late)
    patient = stall.settings.model_copy(update={"settle_seconds": 9})
    stall.tools = dataclasses.replace(stall.tools, settings=patient)
    profile, job = await _posted(stall, alice, name)
    stall.sandbox.fault(name, kind="late_commit", seconds=6, times=1)
    if behind:  # in that very moment its lists do not show it either
        stall.sandbox.fault(name, kind="index_lag", seconds=behind, times=1)
    job = await stall.until_done(alice, job["jobId"], profile)
    assert len(stall.live(name)) == 1
    assert len(stall.events(name, "published")) == 1
    (pair,) = job["automationResults"]
    reason = (pair["needsYou"] or {}).get("reason")
    # behind for longer than we wait: the draft was not there any more when we came to discard it, and that
    # proves nothing
    assert (job["status"], reason) == (("needs_you", "unresolved") if behind > 60 else ("done", None)), job


@pytest.mark.extended
async def test_killed_as_a_draft_was_discarded_it_is_not_posted_again_and_the_seller_is_asked(
    stall, alice, monkeypatch
):
    """Nobody can know whether we discarded it or the site published it late."""
    adapter = type(get_adapter("ebay"))
    discard = adapter.discard_draft

    async def discard_and_die(self, page, draft_id):
        monkeypatch.setattr(adapter, "discard_draft", discard)
        await discard(self, page, draft_id)
        raise LeaseLost  # what a worker that stood still meets; whose row says nothing of what it did

    monkeypatch.setattr(adapter, "discard_draft", discard_and_die)
    profile, job = await _posted(stall, alice, "ebay")
    stall.sandbox.fault("ebay", kind="error_before", times=1)
    job = await stall.until_done(alice, job["jobId"], profile)
    (pair,) = job["automationResults"]
    assert (job["status"], pair["needsYou"]["reason"]) == ("needs_you", "unresolved"), job
    assert stall.events("ebay", "published") == []


@pytest.mark.extended
async def test_lists_that_were_read_too_early_are_read_again_before_it_is_posted_anew(
    stall, alice, monkeypatch
):
    """A look that began right after the draft was discarded and took long: what it read is old."""
    adapter = type(get_adapter("ebay"))
    discard, find, publish = adapter.discard_draft, adapter.find_active, adapter.publish
    seen = []

    async def publish_and_note(self, *args):
        seen.append("posted")
        return await publish(self, *args)

    async def discard_and_note(self, page, draft_id):
        seen.append("discarded")
        return await discard(self, page, draft_id)

    async def find_slowly(self, *args, **more):
        there = await find(self, *args, **more)
        if seen[-1:] == ["discarded"]:
            await asyncio.sleep(stall.settings.settle_seconds)
        seen.append("read")
        return there

    monkeypatch.setattr(adapter, "publish", publish_and_note)
    monkeypatch.setattr(adapter, "discard_draft", discard_and_note)
    monkeypatch.setattr(adapter, "find_active", find_slowly)
    profile, job = await _posted(stall, alice, "ebay")
    stall.sandbox.fault("ebay", kind="error_before", times=1)
    job = await stall.until_done(alice, job["jobId"], profile)
    assert job["status"] == "done", job
    after = seen[seen.index("discarded") + 1 :]
    # the second of three is the look that counts, the third is what the next post begins with
    assert after[: after.index("posted")] == ["read", "read", "read"], seen


@pytest.mark.longer
async def test_a_commit_that_comes_late_is_found_and_not_repeated(stall, alice, marketplace):
    profile, job = await _posted(stall, alice, marketplace)
    stall.sandbox.fault(marketplace, kind="late_commit", seconds=2, times=1)
    job = await stall.until_done(alice, job["jobId"], profile)
    assert job["status"] == "done", job
    assert len(stall.live(marketplace)) == 1


@pytest.mark.longer
async def test_a_look_that_took_until_after_the_window_says_nothing_of_its_end(stall, alice, monkeypatch):
    """What it read is as old as its beginning: the seller is asked after a look that began later."""
    adapter = type(get_adapter("mercari"))
    find, publish = adapter.find_active, adapter.publish
    seen = []

    async def publish_and_note(self, *args):
        seen.append("posted")
        return await publish(self, *args)

    async def find_slowly(self, *args, **more):
        there = await find(self, *args, **more)
        if seen[-1:] == ["posted"]:
            await asyncio.sleep(stall.settings.settle_seconds)
        seen.append("read")
        return there

    monkeypatch.setattr(adapter, "publish", publish_and_note)
    monkeypatch.setattr(adapter, "find_active", find_slowly)
    profile, job = await _posted(stall, alice, "mercari")
    stall.sandbox.fault("mercari", kind="late_commit", seconds=stall.settings.settle_seconds - 1, times=1)
    job = await stall.until_done(alice, job["jobId"], profile)
    assert job["status"] == "done", (job, seen)
    assert len(stall.live("mercari")) == 1
    assert seen[seen.index("posted") + 1 :].count("read") > 1, seen


@pytest.mark.extended
async def test_post_again_looks_once_more_and_then_makes_one(stall, alice):
    profile, job = await _posted(stall, alice, "mercari")
    stall.sandbox.fault("mercari", kind="reset_before", times=1)
    job = await stall.until_done(alice, job["jobId"], profile)
    (pair,) = job["automationResults"]
    assert (job["status"], pair["needsYou"]["reason"]) == ("needs_you", "unresolved")
    again = next(action for action in pair["needsYou"]["actions"] if action["name"] == "post_again")
    assert (await alice.client.post(again["href"])).status_code == 200
    await stall.visit(profile)
    assert len(stall.live("mercari")) == 1
    # the job's history stands; the publication went on
    assert (await stall.job(alice, job["jobId"]))["status"] == "needs_you"
    rows = await stall.rows("SELECT state, needs_you FROM publications")
    assert rows == [{"state": "live", "needs_you": None}]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("captcha", "challenge"),
        pytest.param("login_wall", "session_expired", marks=pytest.mark.extended),
        ("item_limit", "account_limited"),
    ],
)
@pytest.mark.longer
async def test_what_only_the_seller_can_do_is_asked_and_nothing_is_posted(
    stall, alice, marketplace, kind, reason
):  # fmt: skip
    profile, job = await _posted(stall, alice, marketplace)
    stall.sandbox.fault(marketplace, kind=kind, times=1000)
    await stall.visit(profile)
    job = await stall.job(alice, job["jobId"])
    (pair,) = job["automationResults"]
    assert job["status"] == "needs_you", job
    assert pair["needsYou"]["reason"] == reason
    assert pair["needsYou"]["message"]
    assert pair["needsYou"]["actions"]
    assert stall.live(marketplace) == []


@pytest.mark.longer
async def test_a_challenge_that_a_look_meets_leaves_a_picture(stall, alice):
    profile = await _connect(stall, alice, "mercari")
    stall.sandbox.fault("mercari", kind="captcha", times=1000)
    await stall.visit(profile)
    (row,) = await stall.rows("SELECT needs_you FROM connections")
    assert row["needs_you"]["reason"] == "challenge"
    assert await stall.tools.photos.evidence(alice.user_id, row["needs_you"]["evidence"]["screenshot"])


@pytest.mark.extended
async def test_orders_that_cannot_be_read_are_told_with_a_picture_of_each_sellers_own(stall, alice, bob):
    """Once: a look that fails again takes no other."""
    hers, his = await stall.connect(alice, "poshmark"), await stall.connect(bob, "poshmark")
    stall.sandbox.fault("poshmark", kind="down", status=404, path="/order/sales", times=1000)
    asked = "SELECT watch_evidence FROM connections WHERE public_id = :id"
    await stall.visit(hers)
    (first,) = await stall.rows(asked, id=hers)
    await stall.rows("UPDATE connections SET next_check_at = now() RETURNING id")
    for profile in (hers, his):
        await stall.visit(profile)
    (kept,), (others,) = await stall.rows(asked, id=hers), await stall.rows(asked, id=his)
    assert kept == first
    assert "/order/sales" in kept["watch_evidence"]["url"]
    for seller, row in ((alice, kept), (bob, others)):
        picture = await stall.tools.photos.evidence(seller.user_id, row["watch_evidence"]["screenshot"])
        assert picture.startswith(b"\x89PNG")
    assert kept["watch_evidence"]["screenshot"] != others["watch_evidence"]["screenshot"]


@pytest.mark.extended
async def test_after_the_captcha_retry_posts_it(stall, alice, marketplace):
    profile, job = await _posted(stall, alice, marketplace)
    stall.sandbox.fault(marketplace, kind="captcha", times=1000)
    await stall.visit(profile)
    (pair,) = (await stall.job(alice, job["jobId"]))["automationResults"]
    stall.sandbox.clear_faults()
    retry = next(action for action in pair["needsYou"]["actions"] if action["name"] == "retry")
    assert (await alice.client.post(retry["href"])).status_code == 200
    await stall.visit(profile)
    assert len(stall.live(marketplace)) == 1


@pytest.mark.longer
async def test_an_expired_session_waits_for_the_seller_and_goes_on_after_reconnecting(
    stall, alice, marketplace
):
    profile, job = await _posted(stall, alice, marketplace)
    stall.sandbox.sessions(marketplace, alice.name, lifetime_seconds=0)
    await stall.visit(profile)
    job = await stall.job(alice, job["jobId"])
    assert job["automationResults"][0]["needsYou"]["reason"] == "session_expired"
    assert await stall.connect(alice, marketplace) == profile
    await stall.visit(profile)
    assert len(stall.live(marketplace)) == 1


@pytest.mark.extended
async def test_a_soft_reject_is_never_called_live(stall, alice, marketplace):
    profile, job = await _posted(stall, alice, marketplace)
    stall.sandbox.fault(marketplace, kind="soft_reject", times=1000)
    job = await stall.until_done(alice, job["jobId"], profile)
    (pair,) = job["automationResults"]
    assert job["status"] == "needs_you"
    assert pair["state"] != "live"
    assert stall.live(marketplace) == []


@pytest.mark.extended
async def test_a_marketplace_that_is_down_is_tried_again_by_itself(stall, alice, marketplace):
    profile, job = await _posted(stall, alice, marketplace)
    stall.sandbox.fault(marketplace, kind="down", times=1000)
    await stall.visit(profile)
    row = (
        await stall.rows("SELECT state, needs_you, tries, next_try_at > now() AS later FROM publications")
    )[0]
    assert row == {"state": "waiting", "needs_you": None, "tries": 1, "later": True}
    stall.sandbox.clear_faults()
    await stall.rows("UPDATE publications SET next_try_at = now() RETURNING id")
    assert (await stall.until_done(alice, job["jobId"], profile))["status"] == "done"


@pytest.mark.extended
async def test_a_worker_that_has_not_the_photos_blames_itself_and_loses_nothing(stall, alice, tmp_path):
    """Two hosts, each with photos in its own home."""
    profile, job = await _posted(stall, alice, "mercari")
    elsewhere = Photos(stall.settings.model_copy(update={"photos_url": str(tmp_path / "other-home")}))
    right, stall.tools = stall.tools, dataclasses.replace(stall.tools, photos=elsewhere)
    try:
        await stall.visit(profile)
        assert (await stall.job(alice, job["jobId"]))["status"] == "running"  # another worker may have them
        await stall.rows("UPDATE publications SET tries = 7, next_try_at = NULL RETURNING id")
        await stall.visit(profile)
    finally:
        stall.tools = right
        await elsewhere.close()
    (asked,) = [pair["needsYou"] for pair in (await stall.job(alice, job["jobId"]))["automationResults"]]
    assert asked["reason"] == "photo_missing"
    assert str(tmp_path / "other-home") in asked["message"]
    assert "PHOTOS_URL" in asked["message"]
    retry = next(action for action in asked["actions"] if action["name"] == "retry")
    assert (await alice.client.post(retry["href"])).status_code == 200
    await stall.visit(profile)
    assert len(stall.live("mercari")) == 1
    assert len(stall.live("mercari")[0]["photos"]) == 2


@pytest.mark.extended
async def test_recompressed_photos_still_read_back_equal(stall, alice, marketplace):
    profile, job = await _posted(stall, alice, marketplace)
    stall.sandbox.fault(marketplace, kind="recompress", times=1000)
    job = await stall.until_done(alice, job["jobId"], profile)
    assert job["status"] == "done"
    assert (await stall.rows("SELECT read_back FROM publications"))[0]["read_back"]["photos"] is True


@pytest.mark.extended
async def test_a_live_page_without_the_photos_is_live_and_not_as_posted(stall, alice, marketplace):
    profile, job = await _posted(stall, alice, marketplace)
    stall.sandbox.fault(marketplace, kind="drop_photos", times=1)
    job = await stall.until_done(alice, job["jobId"], profile)
    assert job["status"] == "done", job
    assert stall.live(marketplace)[0]["photos"] == []
    (row,) = await stall.rows("SELECT state, read_back FROM publications")
    assert (row["state"], row["read_back"]["photos"]) == ("live", False)
    assert row["read_back"]["title"] is True
    same = {"state": "live", "read_back": {"title": True, "photos": True}}
    assert is_good({"publications": [same, same, same]})
    assert not is_good({"publications": [same, same, {"state": "live", "read_back": row["read_back"]}]})


@pytest.mark.extended
@pytest.mark.parametrize("site", ["poshmark", "ebay"])
async def test_tries_that_an_outage_stops_leave_no_drafts_behind(stall, alice, site):
    """Poshmark holds about 15. An outage strikes as soon as the site has begun one."""
    profile, job = await _posted(stall, alice, site)

    def drafts() -> list[dict]:
        return [item for item in stall.ledger(site) if item["state"] == "draft"]

    for n in range(3):
        begun = len(stall.events(site, "draft"))
        visiting = asyncio.create_task(stall.visit(profile))
        while len(stall.events(site, "draft")) == begun and not visiting.done():
            await asyncio.sleep(0.01)
        stall.sandbox.fault(site, kind="down", times=1000)
        await visiting
        stall.sandbox.clear_faults()
        assert len(stall.events(site, "draft")) == n + 1
        assert len(drafts()) == 1, "the last try's alone"
        await stall.rows("UPDATE publications SET next_try_at = NULL RETURNING id")
    job = await stall.until_done(alice, job["jobId"], profile)
    assert job["status"] == "done", job
    assert drafts() == []
    assert len(stall.live(site)) == 1
    assert len(stall.events(site, "deleted")) == 3


@pytest.mark.extended
async def test_a_click_that_was_refused_and_a_look_that_failed_are_not_two_drafts(stall, alice):
    """One draft alone is posted again, whatever else went wrong meanwhile."""
    profile, job = await _posted(stall, alice, "poshmark")
    stall.sandbox.fault("poshmark", kind="reset_before", times=1)
    visiting = asyncio.create_task(stall.visit(profile))
    while not stall.events("poshmark", "refused"):
        await asyncio.sleep(0.005)
    stall.sandbox.fault("poshmark", kind="down", path="/closet", times=1)
    await visiting
    assert (await stall.rows("SELECT tries FROM publications")) == [{"tries": 1}]
    job = await stall.until_done(alice, job["jobId"], profile)
    assert job["status"] == "done", job
    assert len(stall.live("poshmark")) == 1


@pytest.mark.extended
async def test_a_site_that_keeps_a_second_draft_without_a_word_is_not_tried_for_ever(stall, alice):
    profile, job = await _posted(stall, alice, "poshmark")
    stall.sandbox.fault("poshmark", kind="reset_before", times=1000)
    job = await stall.until_done(alice, job["jobId"], profile, seconds=60)
    (pair,) = job["automationResults"]
    assert (job["status"], pair["needsYou"]["reason"]) == ("needs_you", "not_published")
    assert len(stall.events("poshmark", "refused")) == 2
    assert [item["state"] for item in stall.ledger("poshmark")] == ["ended", "ended"]


@pytest.mark.extended
async def test_a_draft_of_a_try_that_nobody_wants_any_more_goes_before_the_next_post(stall, alice):
    profile, job = await _posted(stall, alice, "poshmark")
    stall.sandbox.fault("poshmark", kind="down", path="/media/scratch", times=1000)
    await stall.visit(profile)
    assert [item["state"] for item in stall.ledger("poshmark")] == ["draft"]
    await alice.client.post(f"/api/jobs/{job['jobId']}/cancel")
    stall.sandbox.clear_faults()
    other = await stall.post(alice, await stall.listing(alice, title="Another shirt"), ["poshmark"])
    assert (await stall.until_done(alice, other["jobId"], profile))["status"] == "done"
    assert sorted(item["state"] for item in stall.ledger("poshmark")) == ["ended", "live"]


@pytest.mark.extended
async def test_a_draft_of_the_sellers_own_is_never_ours(stall, alice):
    """The same title and price, begun while we filled ours in."""
    profile, job = await _posted(stall, alice, "poshmark")
    world = stall.sandbox.world
    hers = world.draft("poshmark", world.account("poshmark", "alice"), world.new_hex(),
                       {"title": SHIRT["title"], "price": SHIRT["price"]})  # fmt: skip
    stall.sandbox.fault("poshmark", kind="down", path="/media/scratch", times=3)
    await stall.visit(profile)
    stall.sandbox.clear_faults()
    await stall.rows("UPDATE publications SET next_try_at = NULL RETURNING id")
    assert (await stall.until_done(alice, job["jobId"], profile))["status"] == "done"
    assert hers.state == "draft"


@pytest.mark.extended
async def test_a_click_that_the_page_did_not_take_leaves_a_picture(stall, alice, monkeypatch):
    profile, job = await _posted(stall, alice, "mercari")

    async def commit(self, target, **more):
        raise PageChanged("It is gone.")

    monkeypatch.setattr(Page, "commit", commit)
    await stall.until_done(alice, job["jobId"], profile, seconds=1)
    (row,) = await stall.rows("SELECT evidence FROM attempts")
    for name in ("screenshot", "aria"):
        assert await stall.tools.photos.evidence(alice.user_id, row["evidence"][name])


@pytest.mark.extended
async def test_a_browser_that_dies_between_arming_and_the_click_leaves_no_question(stall, alice, monkeypatch):
    """Nobody clicked, and we know it: it is posted again, and the seller is not asked what became of it."""
    profile, job = await _posted(stall, alice, "mercari")
    commit = Page.commit

    async def late(self, target, **more):
        monkeypatch.setattr(Page, "commit", commit)
        for pid in browsers(os.getpid()):
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.5)
        await commit(self, target, **more)

    monkeypatch.setattr(Page, "commit", late)
    job = await stall.until_done(alice, job["jobId"], profile)
    assert job["status"] == "done", job
    assert len(stall.events("mercari", "published")) == 1
    assert len(await stall.rows("SELECT 1 AS one FROM attempts")) == 1


@pytest.mark.extended
async def test_what_the_seller_took_out_after_posting_is_asked_for(stall, alice):
    profile = await stall.connect(alice, "mercari")
    listing = await stall.listing(alice)
    job = await stall.post(alice, listing, ["mercari"])
    await alice.client.patch(f"/api/listings/{listing}", json={"price": None})
    await stall.visit(profile)
    (pair,) = (await stall.job(alice, job["jobId"]))["automationResults"]
    assert pair["needsYou"]["reason"] == "listing_incomplete"
    assert stall.ledger("mercari") == []


@pytest.mark.extended
async def test_what_is_asked_after_eight_busy_tries_has_a_picture(stall, alice):
    profile, job = await _posted(stall, alice, "mercari")
    stall.sandbox.fault("mercari", kind="down", times=1000, path="/sell/")
    await stall.rows("UPDATE publications SET tries = 6 RETURNING id")
    await stall.visit(profile)
    assert (await stall.rows("SELECT evidence FROM attempts")) == [{"evidence": None}]
    await stall.rows("UPDATE publications SET next_try_at = NULL RETURNING id")
    await stall.visit(profile)
    job = await stall.job(alice, job["jobId"])
    assert job["automationResults"][0]["needsYou"]["reason"] == "marketplace_busy"
    (row,) = await stall.rows("SELECT evidence FROM attempts")
    assert await stall.tools.photos.evidence(alice.user_id, row["evidence"]["screenshot"])


@pytest.mark.extended
async def test_a_database_that_is_read_only_for_a_moment_asks_the_seller_nothing(stall, alice):
    """As a server that just became a standby says it, in the middle of a visit."""
    profile, job = await _posted(stall, alice, "mercari")
    admin = await psycopg.AsyncConnection.connect(stall.admin_url, autocommit=True)
    await admin.execute("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.state = 'armed' THEN RAISE EXCEPTION 'read-only' USING ERRCODE = '25006'; END IF;
            RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON publications FOR EACH ROW EXECUTE FUNCTION refuse()""")
    with pytest.raises(InternalError):  # ends the visit; the engine wakes another
        await stall.visit(profile)
    assert (await stall.rows("SELECT needs_you FROM publications")) == [{"needs_you": None}]
    await admin.execute("DROP TRIGGER refuse ON publications")
    await admin.close()
    assert (await stall.until_done(alice, job["jobId"], profile))["status"] == "done"
    assert len(stall.events("mercari", "published")) == 1


@pytest.mark.extended
async def test_a_database_that_fails_as_the_visit_ends_leaves_no_browser_behind(stall, alice):
    """The rotated session cannot be written back: its profile, cookies and all, goes all the same."""
    profile, _ = await _posted(stall, alice, "mercari")
    async with await psycopg.AsyncConnection.connect(stall.admin_url, autocommit=True) as admin:
        await admin.execute("""
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'read-only' USING ERRCODE = '25006'; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON user_marketplace_sessions EXECUTE FUNCTION refuse()""")
    with pytest.raises(InternalError):
        await stall.visit(profile)
    assert list((stall.settings.everystall_home / "run" / "profiles").iterdir()) == []


@pytest.mark.extended
async def test_a_browser_that_dies_of_the_click_is_replaced_and_its_post_is_found(stall, alice, marketplace):
    profile, job = await _posted(stall, alice, marketplace)
    visiting = asyncio.create_task(stall.visit(profile))
    stall.sandbox.fault(marketplace, kind="reset_after", times=1)
    while not stall.events(marketplace, "published"):
        await asyncio.sleep(0.005)
    for pid in browsers(os.getpid()):
        os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    await visiting
    assert time.monotonic() - began < 12, "nobody waits for a dead browser's answer"
    assert (await stall.job(alice, job["jobId"]))["status"] == "done"
    assert len(stall.events(marketplace, "published")) == 1


@pytest.mark.extended
async def test_a_worker_that_stood_still_while_filling_asks_the_seller_nothing(stall, alice):
    """The guard has ended its browser, and nobody else has the account: it is simply done again."""
    profile, job = await _posted(stall, alice, "poshmark")
    visiting = asyncio.create_task(stall.visit(profile))
    while not stall.events("poshmark", "draft"):
        assert not visiting.done()
        await asyncio.sleep(0.005)
    time.sleep(stall.settings.guard_seconds + 0.2)  # the whole process, as one that was stopped
    await visiting
    (row,) = await stall.rows("SELECT needs_you, tries FROM publications")
    assert row == {"needs_you": None, "tries": 0}
    assert (await stall.until_done(alice, job["jobId"], profile))["status"] == "done"
    assert len(stall.live("poshmark")) == 1


@pytest.mark.longer
async def test_a_dead_driver_is_replaced_at_once(stall, alice):
    profile, job = await _posted(stall, alice, "mercari")
    gone = driver_of(os.getpid())
    assert gone is not None
    os.kill(gone, signal.SIGKILL)
    await stall.visit(profile)
    assert (await stall.job(alice, job["jobId"]))["status"] == "done"


async def test_hosts_that_an_adapter_does_not_list_are_left_for_the_doctor(stall, alice, monkeypatch):
    noted = browser_session._prepare

    async def prepare(*args):
        browser = await noted(*args)
        browser.unlisted_hosts.add("cdn.example.com")
        return browser

    monkeypatch.setattr(browser_session, "_prepare", prepare)
    profile = await _connect(stall, alice, "mercari")
    await stall.visit(profile)
    assert set(hosts.find(stall.settings.everystall_home)["mercari"]) == {"cdn.example.com"}


@pytest.mark.extended
async def test_another_layout_of_the_same_site_works(stall, alice, marketplace):
    profile, job = await _posted(stall, alice, marketplace)
    stall.sandbox.fault(marketplace, kind="layout", times=1000)
    job = await stall.until_done(alice, job["jobId"], profile)
    assert job["status"] == "done", job


@pytest.mark.extended
async def test_a_second_visit_goes_on_with_what_the_first_rotated(stall, alice, marketplace):
    stall.sandbox.sessions(marketplace, alice.name, rotate=True, grace_seconds=0.5)
    profile, job = await _posted(stall, alice, marketplace)
    await stall.until_done(alice, job["jobId"], profile)
    second = await stall.post(alice, await stall.listing(alice, title="A second linen shirt"), [marketplace])
    second = await stall.until_done(alice, second["jobId"], profile)
    assert second["status"] == "done"
    assert len(stall.live(marketplace)) == 2
