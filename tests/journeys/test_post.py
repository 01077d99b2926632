"""Posting, from the seller's wish to the marketplaces' own ledger."""

from __future__ import annotations

import asyncio

import pytest

from tests.journeys.conftest import ALL, SHIRT, Seller, Stall
from tests.journeys.test_decisions import _connect

pytestmark = [pytest.mark.journey, pytest.mark.browser]


async def test_one_listing_goes_live_on_three_marketplaces_and_reads_back(stall: Stall, alice: Seller):
    profiles = [await stall.connect(alice, name) for name in ALL]
    listing = await stall.listing(alice, photos=3)
    answer = await stall.post(alice, listing)
    assert {pair["state"] for pair in answer["automationResults"]} == {"waiting"}
    job = await stall.until_done(alice, answer["jobId"], *profiles)
    assert job["status"] == "done", job
    for pair in job["automationResults"]:
        assert (pair["state"], pair["needsYou"]) == ("live", None)
        (item,) = stall.live(pair["marketplace"])
        assert item["listing_id"] == pair["remoteId"]
        assert item["fields"]["title"] == SHIRT["title"]
        assert len(item["photos"]) == 3
    rows = await stall.rows("SELECT marketplace, read_back FROM publications")
    for row in rows:
        assert {"title", "price", "description", "photos"} <= set(row["read_back"]), row
        assert all(row["read_back"].values()), row


@pytest.mark.extended
async def test_what_moves_the_price_is_off_unless_the_seller_chose_it(stall: Stall, alice: Seller):
    profiles = [await stall.connect(alice, name) for name in ALL]
    job = await stall.post(alice, await stall.listing(alice))
    await stall.until_done(alice, job["jobId"], *profiles)
    rows = await stall.rows("SELECT marketplace, read_back, draft FROM publications p JOIN attempts a "
                            "ON a.publication_id = p.id")  # fmt: skip
    for row in rows:
        options = [name for name in row["read_back"] if name.startswith("options.")]
        assert options, row["marketplace"]
        assert not any(row["draft"]["options"].values())


@pytest.mark.longer
async def test_nothing_that_the_seller_wrote_is_dropped_without_a_word(stall: Stall, alice: Seller):
    """What has no field is told by `check`; what only the category's form turns out to lack, afterwards."""
    profile = await stall.connect(alice, "ebay")
    listing = await stall.listing(alice, colors=["blue", "white"], tags=["linen"],
                                  specifics={"Era": "1970s", "Sleeve Length": "Long Sleeve"})  # fmt: skip
    answer = await alice.client.post(f"/api/listings/{listing}/check", json={})
    assert answer.json()["ready"]
    notes = {one["marketplace"]: {note["field"] for note in one["notes"]}
             for one in answer.json()["marketplaces"]}  # fmt: skip
    assert notes == {
        "poshmark": {"specifics", "package", "shipsFromZip"},
        "mercari": {"sku", "colors", "tags", "originalPrice", "specifics"},
        "ebay": {"originalPrice", "tags", "colors"},
    }
    job = await stall.post(alice, listing, ["ebay"])
    assert (await stall.until_done(alice, job["jobId"], profile))["status"] == "done"
    (row,) = await stall.rows("SELECT read_back FROM publications")
    sent = stall.live("ebay")[0]["fields"]["specifics"]
    for name in ("Era", "Sleeve Length"):
        assert row["read_back"][f"specifics.{name}"] is (name in sent), (name, sent)
    assert row["read_back"]["specifics.Era"] is False


@pytest.mark.extended
async def test_several_listings_for_one_account_share_one_visit(stall: Stall, alice: Seller):
    profile = await stall.connect(alice, "mercari")
    for n in range(3):
        listing = await stall.listing(alice, title=f"Linen shirt number {n}")
        await stall.post(alice, listing, ["mercari"])
    await stall.visit(profile)
    assert len(stall.live("mercari")) == 3
    opened = await stall.rows("SELECT purpose FROM vault_audit")
    assert len(opened) == 1


@pytest.mark.extended
async def test_a_second_post_of_the_same_revision_posts_nothing(stall: Stall, alice: Seller):
    profile = await stall.connect(alice, "poshmark")
    listing = await stall.listing(alice)
    job = await stall.post(alice, listing, ["poshmark"])
    await stall.until_done(alice, job["jobId"], profile)
    again = await stall.post(alice, listing, ["poshmark"])
    assert (await stall.job(alice, again["jobId"]))["status"] == "done"
    await stall.visit(profile)
    assert len(stall.live("poshmark")) == 1
    assert len(stall.events("poshmark", "published")) == 1


@pytest.mark.longer
async def test_a_job_cancelled_before_its_visit_posts_nothing(stall: Stall, alice: Seller):
    profile = await _connect(stall, alice, "mercari")
    job = await stall.post(alice, await stall.listing(alice), ["mercari"])
    cancelled = await alice.client.post(f"/api/jobs/{job['jobId']}/cancel")
    assert cancelled.status_code == 200
    await stall.visit(profile)
    assert (await stall.job(alice, job["jobId"]))["status"] == "cancelled"
    assert stall.ledger("mercari") == []


@pytest.mark.extended
async def test_a_listing_edited_while_it_is_filled_in_goes_live_as_edited(stall: Stall, alice: Seller):
    profile = await stall.connect(alice, "poshmark")
    listing = await stall.listing(alice)
    stall.sandbox.fault("poshmark", kind="latency", seconds=0.4, times=50)
    job = await stall.post(alice, listing, ["poshmark"])
    visiting = asyncio.create_task(stall.visit(profile))
    while (await stall.rows("SELECT state FROM publications"))[0]["state"] != "filling":
        await asyncio.sleep(0.02)
    await alice.client.patch(f"/api/listings/{listing}", json={"title": "Linen shirt, as edited"})
    await visiting
    stall.sandbox.clear_faults()
    job = await stall.until_done(alice, job["jobId"], profile)
    assert job["status"] == "done"
    (item,) = stall.live("poshmark")
    assert item["fields"]["title"] == "Linen shirt, as edited"


@pytest.mark.extended
async def test_posting_pauses_and_goes_on(stall: Stall, alice: Seller):
    profile = await stall.connect(alice, "mercari")
    assert (await alice.client.post(f"/api/connections/{profile}/pause")).status_code == 200
    job = await stall.post(alice, await stall.listing(alice), ["mercari"])
    await stall.visit(profile)
    assert stall.ledger("mercari") == []
    assert (await alice.client.post(f"/api/connections/{profile}/resume")).status_code == 200
    assert (await stall.until_done(alice, job["jobId"], profile))["status"] == "done"


@pytest.mark.extended
async def test_delete_with_end_takes_it_down_everywhere_and_then_forgets_it(stall: Stall, alice: Seller):
    profiles = [await stall.connect(alice, name) for name in ALL]
    listing = await stall.listing(alice)
    job = await stall.post(alice, listing)
    await stall.until_done(alice, job["jobId"], *profiles)
    refused = await alice.client.delete(f"/api/listings/{listing}")
    assert (refused.status_code, refused.json()["error"]) == (409, "listing_live")
    assert (await alice.client.delete(f"/api/listings/{listing}?end=true")).status_code in (200, 202)
    await stall.visit(*profiles, lane="urgent")
    for name in ALL:
        assert stall.live(name) == []
    assert (await alice.client.get(f"/api/listings/{listing}")).status_code == 404


@pytest.mark.longer
async def test_the_other_seller_sees_and_touches_nothing(stall: Stall, alice: Seller, bob: Seller):
    profile = await stall.connect(alice, "mercari")
    listing = await stall.listing(alice)
    job = await stall.post(alice, listing, ["mercari"])
    for call in (
        bob.client.get(f"/api/jobs/{job['jobId']}"),
        bob.client.post(f"/api/jobs/{job['jobId']}/cancel"),
        bob.client.get(f"/api/listings/{listing}"),
        bob.client.delete(f"/api/listings/{listing}?end=true"),
        bob.client.post(f"/api/listings/{listing}/publications/{profile}/end"),
    ):
        assert (await call).status_code == 404
    assert (await stall.until_done(alice, job["jobId"], profile))["status"] == "done"
