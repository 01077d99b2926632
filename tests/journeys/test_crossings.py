"""Wishes that cross each other, accounts that cannot be visited, and whose session it really is: the seller
is told, nothing is there twice, nothing waits for ever in silence."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from everystall.errors import Misconfigured
from everystall.vault import rotation
from everystall.vault.keyring import Keyring
from tests.journeys.conftest import SHIRT, Seller, Stall
from tests.journeys.test_decisions import (
    FOR_EVER,
    _connect,
    _impatient,
    _press,
    _publication,
    _reveal,
    _unresolved,
)

pytestmark = [pytest.mark.journey, pytest.mark.browser]


async def _live(stall: Stall, seller: Seller, profile: str, marketplace: str = "mercari") -> str:
    """A listing of the seller's that is live there."""
    listing = await stall.listing(seller)
    job = await stall.post(seller, listing, [marketplace])
    job = await stall.until_done(seller, job["jobId"], profile)
    assert job["status"] == "done", job
    return listing


@pytest.mark.extended
async def test_a_session_that_does_not_say_whose_it_is_never_posts_for_another_account(
    stall: Stall, alice: Seller
):
    profile = await stall.connect(alice, "ebay", "alice")
    await stall.visit(profile)
    assert await stall.connect(alice, "ebay", "mallory") == profile  # the seller's browser changed accounts
    job = await stall.post(alice, await stall.listing(alice), ["ebay"])
    await stall.visit(profile)
    assert [item for item in stall.ledger("ebay") if item["account"] == "mallory"] == []
    job = await stall.job(alice, job["jobId"])
    # the last session of her own still works and is used; or she is asked to connect again
    if job["status"] == "done":
        assert [item["account"] for item in stall.live("ebay")] == ["alice"]
    else:
        assert job["automationResults"][0]["needsYou"]["reason"] == "session_expired"


@pytest.mark.extended
async def test_it_is_there_takes_back_post_again(stall: Stall, alice: Seller):
    """Asked to post again, then told where it is, while its page is not to be seen yet: no second click."""
    _impatient(stall)
    profile = await _connect(stall, alice, "mercari")
    stall.sandbox.fault("mercari", kind="index_lag", seconds=FOR_EVER, page_seconds=FOR_EVER, times=1)
    stall.sandbox.fault("mercari", kind="error_after", times=1)
    job = await stall.post(alice, await stall.listing(alice), ["mercari"])
    await stall.until_done(alice, job["jobId"], profile)
    assert await _press(stall, alice, "post_again") == 200
    stall.sandbox.fault("mercari", kind="down", times=1000)
    await stall.visit(profile)
    stall.sandbox.clear_faults()
    (item,) = stall.live("mercari")
    url = f"{stall.sandbox.url('mercari')}/us/item/{item['listing_id']}/"
    assert await _press(stall, alice, "it_is_there", url=url) == 200
    await stall.visit(profile)
    assert len(stall.live("mercari")) == 1
    assert len(stall.events("mercari", "published")) == 1


@pytest.mark.extended
async def test_of_two_the_older_is_taken_down_when_the_newer_was_sold(stall: Stall, alice: Seller):
    profile = await _unresolved(stall, alice)
    (first,) = stall.live("mercari")
    assert await _press(stall, alice, "post_again") == 200
    await stall.visit(profile)
    (newer,) = [item for item in stall.live("mercari") if item["listing_id"] != first["listing_id"]]
    stall.sandbox.buy("mercari", listing_id=newer["listing_id"])
    _reveal(stall)
    await stall.rows("UPDATE attempts SET next_look_at = now() WHERE outcome = 'unresolved' RETURNING id")
    await stall.visit(profile)
    assert {item["listing_id"]: item["state"] for item in stall.ledger("mercari")} == {
        first["listing_id"]: "ended",
        newer["listing_id"]: "sold",
    }
    now = await _publication(stall)
    assert (now["state"], now["put"], now["wanted"]) == ("sold", "sold", "ended")
    assert now["needs_you"]["reason"] == "posted_twice"
    assert await stall.rows("SELECT quantity_sold FROM listings") == [{"quantity_sold": 1}]
    assert await _press(stall, alice, "understood") == 200
    assert (await _publication(stall))["needs_you"] is None


@pytest.mark.longer
async def test_what_was_seen_sold_is_not_posted_again(stall: Stall, alice: Seller):
    profile = await _connect(stall, alice, "mercari")
    other = await _connect(stall, alice, "poshmark")
    listing = await _live(stall, alice, profile)
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    assert await _press_at(stall, alice, listing, profile, "end") == 200
    await stall.visit(profile, lane="urgent")
    answer = await alice.client.post(
        "/api/listings/post", json={"listingId": listing, "marketplaces": ["mercari", "poshmark"]}
    )
    assert answer.status_code == 422, answer.text
    assert {problem["field"] for problem in answer.json()["problems"]} == {"quantity"}
    await stall.visit(profile, other)
    assert stall.live("mercari") == stall.live("poshmark") == []
    (sale,) = await stall.rows("SELECT data FROM events WHERE type = 'sale.detected'")
    (sold,) = stall.ledger("mercari")
    assert (sale["data"]["remoteId"], sale["data"]["quantity"]) == (sold["listing_id"], 1)


@pytest.mark.extended
async def test_disconnecting_tells_what_waited_there(stall: Stall, alice: Seller):
    profile = await _connect(stall, alice, "mercari")
    job = await stall.post(alice, await stall.listing(alice), ["mercari"])
    assert (await alice.client.delete(f"/api/connections/{profile}")).status_code == 200
    job = await stall.job(alice, job["jobId"])
    (pair,) = job["automationResults"]
    assert (job["status"], pair["needsYou"]["reason"]) == ("needs_you", "disconnected")
    assert await _connect(stall, alice, "mercari") == profile  # connected again, it goes on
    await stall.visit(profile)
    assert len(stall.live("mercari")) == 1


@pytest.mark.extended
@pytest.mark.parametrize("why", [pytest.param("session_expired", marks=pytest.mark.extended), "disconnected"])
async def test_taking_down_where_nobody_can_go_says_so_at_once_and_happens_later(
    stall: Stall, alice: Seller, why: str
):
    profile = await _connect(stall, alice, "mercari")
    listing = await _live(stall, alice, profile)
    if why == "session_expired":
        stall.sandbox.sessions("mercari", "alice", lifetime_seconds=0)
        await alice.client.post("/api/sessions/refresh", json={"browserProfileId": profile})
        await stall.visit(profile)
    else:
        await alice.client.delete(f"/api/connections/{profile}?force=true")
    answer = await alice.client.delete(f"/api/listings/{listing}?end=true")
    assert answer.status_code == 202
    (told,) = answer.json()["publications"]
    assert (told["state"], told["needsYou"]["reason"]) == ("ending", why)
    await stall.visit(profile, lane="urgent")
    assert len(stall.live("mercari")) == 1
    await _connect(stall, alice, "mercari")
    await stall.visit(profile, lane="urgent")
    assert stall.live("mercari") == []
    assert (await alice.client.get(f"/api/listings/{listing}")).status_code == 404


@pytest.mark.extended
async def test_take_it_down_after_a_challenge_goes_ahead(stall: Stall, alice: Seller):
    profile = await _connect(stall, alice, "mercari")
    listing = await _live(stall, alice, profile)
    stall.sandbox.fault("mercari", kind="captcha", times=1000)
    await stall.post(alice, await stall.listing(alice, title="Another shirt"), ["mercari"])
    await stall.visit(profile)
    stall.sandbox.clear_faults()  # the seller has answered it
    assert await _press_at(stall, alice, listing, profile, "end") == 200
    await stall.visit(profile, lane="urgent")
    assert stall.live("mercari") == []


async def test_a_seal_that_does_not_open_is_said_and_not_tried_for_ever(stall: Stall, alice: Seller):
    profile = await _connect(stall, alice, "mercari")
    await stall.rows("UPDATE user_marketplace_sessions SET sealed = sealed || '\\x00'::bytea RETURNING id")
    job = await stall.post(alice, await stall.listing(alice), ["mercari"])
    await stall.visit(profile)
    job = await stall.job(alice, job["jobId"])
    assert job["automationResults"][0]["needsYou"]["reason"] == "session_expired"
    await stall.visit(profile)
    assert len(await stall.rows("SELECT 1 AS one FROM vault_audit")) == 1


@pytest.mark.parametrize("key", [None, "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="])
async def test_another_ring_is_refused_at_start_under_whichever_names(stall: Stall, tmp_path, key):
    """A ring.json's keys have the same names everywhere, one from the environment is named after itself."""
    changed = {"everystall_home": tmp_path / "another machine",
               "session_encryption_key": SecretStr(key) if key else None}  # fmt: skip
    other = stall.settings.model_copy(update=changed)
    other.everystall_home.mkdir(mode=0o700)
    db = stall.tools.db
    ours, stranger = Keyring.load(stall.settings), Keyring.load(other)
    async with db.as_app() as session:
        await rotation.check(session, ours)
        await rotation.check(session, ours)
    with pytest.raises(Misconfigured, match=r"not the one|None of the ring keys"):
        async with db.as_app() as session:
            await rotation.check(session, stranger)
    assert len(await stall.rows("SELECT 1 AS one FROM everystall.vault_keys")) == 1


@pytest.mark.extended
async def test_a_listing_deleted_while_it_is_filled_in_is_tidied_and_the_rest_goes_on(
    stall: Stall, alice: Seller
):
    profile = await _connect(stall, alice, "poshmark")
    stall.sandbox.fault("poshmark", kind="latency", seconds=0.3, times=30)
    listing = await stall.listing(alice)
    job = await stall.post(alice, listing, ["poshmark"])
    await stall.post(alice, await stall.listing(alice, title="A second shirt"), ["poshmark"])
    visiting = asyncio.create_task(stall.visit(profile))
    async with asyncio.timeout(20):
        while not stall.ledger("poshmark"):  # the site has made its draft
            await asyncio.sleep(0.01)
    assert (await alice.client.delete(f"/api/listings/{listing}")).status_code == 200
    await visiting
    await stall.visit(profile)
    assert [(item["fields"]["title"], item["state"]) for item in stall.ledger("poshmark")
            if item["state"] != "ended"] == [("A second shirt", "live")]  # fmt: skip
    job = await stall.job(alice, job["jobId"])
    assert (job["status"], job["listingId"]) == ("cancelled", listing)


@pytest.mark.extended
async def test_posting_what_is_just_being_taken_down_waits_for_how_that_ends(stall: Stall, alice: Seller):
    profile = await _connect(stall, alice, "mercari")
    listing = await _live(stall, alice, profile)
    stall.sandbox.fault("mercari", kind="latency", seconds=0.4, times=50)
    assert await _press(stall, alice, "end") == 200
    visiting = asyncio.create_task(stall.visit(profile, lane="urgent"))
    async with asyncio.timeout(60):
        while await stall.rows("SELECT 1 AS one FROM connections WHERE last_visit_at > lease_until"):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.8)
    again = await stall.post(alice, listing, ["mercari"])
    await visiting
    stall.sandbox.clear_faults()
    job = await stall.until_done(alice, again["jobId"], profile)
    assert job["status"] == "done"
    (item,) = stall.live("mercari")
    assert job["automationResults"][0]["remoteId"] == item["listing_id"]


@pytest.mark.extended
async def test_taken_back_before_the_take_down_began_it_simply_stays(stall: Stall, alice: Seller):
    profile = await _connect(stall, alice, "mercari")
    listing = await _live(stall, alice, profile)
    assert await _press(stall, alice, "end") == 200
    again = await stall.post(alice, listing, ["mercari"])
    assert again["automationResults"][0]["state"] == "ending"
    job = await stall.until_done(alice, again["jobId"], profile)
    assert job["status"] == "done"
    assert len(stall.events("mercari", "published")) == 1
    assert len(stall.live("mercari")) == 1


@pytest.mark.extended
async def test_kept_before_the_take_down_began_nobody_goes_there_and_after_it_is_too_late(
    stall: Stall, alice: Seller
):
    profile = await _connect(stall, alice, "mercari")
    await _live(stall, alice, profile)
    assert await _press(stall, alice, "end") == 200
    assert await _press(stall, alice, "keep") == 200
    await stall.visit(profile, lane="urgent")
    assert len(stall.live("mercari")) == 1
    assert await _press(stall, alice, "end") == 200
    stall.sandbox.fault("mercari", kind="latency", seconds=0.4, times=50)
    visiting = asyncio.create_task(stall.visit(profile, lane="urgent"))
    async with asyncio.timeout(20):
        while await stall.rows("SELECT 1 AS one FROM publications WHERE started_at IS NULL"):
            await asyncio.sleep(0.02)
    assert await _press(stall, alice, "keep") == 409
    await visiting
    assert stall.live("mercari") == []


@pytest.mark.extended
async def test_a_job_of_which_one_pair_was_taken_back_is_cancelled(stall: Stall, alice: Seller):
    mercari, _ = await _connect(stall, alice, "mercari"), await _connect(stall, alice, "poshmark")
    job = await stall.post(alice, await stall.listing(alice), ["mercari", "poshmark"])
    await stall.visit(mercari)
    cancelled = await alice.client.post(f"/api/jobs/{job['jobId']}/cancel")
    assert cancelled.json()["status"] == "cancelled"
    states = {pair["marketplace"]: pair["state"] for pair in cancelled.json()["automationResults"]}
    assert states == {"mercari": "live", "poshmark": "cancelled"}


@pytest.mark.extended
async def test_what_stood_there_is_kept_by_the_newest_attempt_and_not_by_every_settled_one(
    stall: Stall, alice: Seller
):
    profile = await _connect(stall, alice, "mercari")
    for number in range(3):
        job = await stall.post(alice, await stall.listing(alice, title=f"Shirt {number}"), ["mercari"])
        await stall.until_done(alice, job["jobId"], profile)
    kept = [row["baseline"] for row in await stall.rows("SELECT baseline FROM attempts ORDER BY armed_at")]
    live = [item["listing_id"] for item in stall.live("mercari")]
    assert kept[:2] == [[], []]
    assert set(kept[2]) == set(live[:2])


@pytest.mark.extended
async def test_deleting_an_older_listing_makes_no_old_twin_ours(stall: Stall, alice: Seller):
    """The seller has one by hand that looks the same; ours is in question when the older listing, whose
    attempt saw the twin first, is deleted."""
    profile = await _connect(stall, alice, "mercari")
    listing = await _live(stall, alice, profile)
    world = stall.sandbox.world
    (first,) = stall.sandbox.world.items("mercari")
    twin = world.draft("mercari", world.account("mercari", "alice"), "m33333333333",
                       dict(first.fields), first.photos)  # fmt: skip
    twin.private = dict(first.private)
    world.publish(twin)
    other = await stall.listing(alice, title="Something else")
    job = await stall.post(alice, other, ["mercari"])
    await stall.until_done(alice, job["jobId"], profile)  # its attempt saw the twin
    _impatient(stall)
    again = await stall.listing(alice)
    stall.sandbox.fault("mercari", kind="error_before", times=1)
    await stall.post(alice, again, ["mercari"])
    await stall.visit(profile)
    for one in (listing, other):
        await alice.client.delete(f"/api/listings/{one}?end=true")
    await stall.visit(profile, lane="urgent")
    await stall.rows("UPDATE publications SET next_try_at = NULL RETURNING id")
    await stall.visit(profile)
    rows = await stall.rows("SELECT put FROM publications")
    assert [row["put"] for row in rows] == ["nothing"]
    assert [item["listing_id"] for item in stall.live("mercari")] == ["m33333333333"]


async def _press_at(stall: Stall, seller: Seller, listing: str, profile: str, action: str) -> int:
    where = f"/api/listings/{listing}/publications/{profile}/{action}"
    return (await seller.client.post(where)).status_code
