"""What the seller edits is changed where it is live, once; what a hand changed there is not written over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from everystall.browser.page import Page
from everystall.errors import BrowserEnded
from tests.journeys.conftest import SHIRT, Seller, Stall, photo
from tests.journeys.test_decisions import _connect

pytestmark = [pytest.mark.journey, pytest.mark.browser]

NEW_TEXT = "Worn twice, washed cold. Now with a small mark on the left cuff."


async def _live(stall: Stall, seller: Seller, marketplace: str, **fields: Any) -> tuple[str, str]:
    """(listing, account): posted and read back."""
    profile = await _connect(stall, seller, marketplace)
    listing = await stall.listing(seller, **fields)
    job = await stall.post(seller, listing, [marketplace])
    assert (await stall.until_done(seller, job["jobId"], profile))["status"] == "done"
    return listing, profile


async def _edit(seller: Seller, listing: str, **fields: Any) -> dict[str, Any]:
    answer = await seller.client.patch(f"/api/listings/{listing}", json=fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def _shown(seller: Seller, listing: str) -> dict[str, Any]:
    (publication,) = (await seller.client.get(f"/api/listings/{listing}")).json()["publications"]
    return dict(publication)


async def _press(seller: Seller, listing: str, profile: str, action: str) -> int:
    where = f"/api/listings/{listing}/publications/{profile}/{action}"
    return (await seller.client.post(where)).status_code


async def _at_once(stall: Stall) -> None:
    """Nothing waits for a next try."""
    await stall.rows("UPDATE publications SET next_try_at = NULL RETURNING id")


async def _until_put(stall: Stall, seller: Seller, listing: str, profile: str) -> dict[str, Any]:
    """Visits until nothing is left to be put, or the seller is asked."""
    async with asyncio.timeout(60):
        while True:
            await stall.visit(profile)
            now = await _shown(seller, listing)
            if now["needsYou"] or now["wantedRevision"] == now["putRevision"]:
                return now
            await _at_once(stall)
            await asyncio.sleep(0.3)


def _price(dollars: int) -> dict[str, Any]:
    return {"amount": dollars * 100, "currency": "USD"}


def _by_hand(stall: Stall, marketplace: str, **fields: Any) -> None:
    """The seller changes it in the marketplace's own form."""
    (item,) = stall.sandbox.world.items(marketplace)
    stall.sandbox.world.edit(item, **fields)


@pytest.mark.longer
async def test_price_text_and_photos_are_changed_with_one_click_each_time(stall, alice, marketplace):
    listing, profile = await _live(stall, alice, marketplace)
    (first,) = stall.live(marketplace)
    edited = await _edit(alice, listing, price=_price(21))
    (waiting,) = edited["publications"]
    assert (waiting["state"], waiting["wantedRevision"] - waiting["putRevision"]) == ("live", 1)
    now = await _until_put(stall, alice, listing, profile)
    assert (now["state"], now["needsYou"], now["notes"]) == ("live", None, [])
    assert now["readBack"]["price"] is True
    (entry,) = stall.events(marketplace, "edited")
    assert entry["before"] == {"price": _price(25)}

    await _edit(alice, listing, title="Linen shirt, blue", description=NEW_TEXT)
    now = await _until_put(stall, alice, listing, profile)
    assert now["readBack"]["title"] is now["readBack"]["description"] is True
    assert set(stall.events(marketplace, "edited")[1]["before"]) == {"title", "description"}

    files = [("photos", ("new.png", photo(7), "image/png"))]
    added = (await alice.client.post(f"/api/listings/{listing}/photos", files=files)).json()["photos"]
    order = {"photoIds": [added[place]["photoId"] for place in (2, 0, 1)]}
    assert (await alice.client.put(f"/api/listings/{listing}/photos", json=order)).status_code == 200
    now = await _until_put(stall, alice, listing, profile)
    assert now["readBack"]["photos"] is True
    assert len(stall.events(marketplace, "edited")) == 3
    (item,) = stall.live(marketplace)
    assert item["listing_id"] == first["listing_id"]
    assert [one["dhash"] for one in item["photos"][1:]] == [one["dhash"] for one in first["photos"]]
    assert (item["fields"]["title"], item["fields"]["description"]) == ("Linen shirt, blue", NEW_TEXT)
    assert len(stall.events(marketplace, "published")) == 1
    assert stall.live(marketplace)[0]["fields"]["price"] == _price(21)


@pytest.mark.extended
async def test_an_edit_while_another_is_being_put_is_put_after_it(stall, alice, marketplace):
    listing, profile = await _live(stall, alice, marketplace)
    stall.sandbox.fault(marketplace, "latency", seconds=0.4, times=20)
    await _edit(alice, listing, price=_price(21))
    visiting = asyncio.create_task(stall.visit(profile))
    async with asyncio.timeout(20):
        while (await _shown(alice, listing))["state"] != "revising":
            await asyncio.sleep(0.02)
    await _edit(alice, listing, price=_price(19), title="Linen shirt, blue")
    await visiting
    stall.sandbox.clear_faults()
    await _until_put(stall, alice, listing, profile)
    (item,) = stall.live(marketplace)
    assert (item["fields"]["price"], item["fields"]["title"]) == (_price(19), "Linen shirt, blue")
    assert len(stall.events(marketplace, "edited")) <= 2
    assert stall.events(marketplace, "edited")[-1]["fields"]["price"] == _price(19)


@pytest.mark.extended
async def test_what_a_hand_changed_elsewhere_in_the_listing_stays(stall, alice, marketplace):
    listing, profile = await _live(stall, alice, marketplace)
    _by_hand(stall, marketplace, title="By hand")
    await _edit(alice, listing, price=_price(21))
    now = await _until_put(stall, alice, listing, profile)
    assert now["needsYou"] is None
    assert [note["field"] for note in now["notes"]] == ["title"]
    (item,) = stall.live(marketplace)
    assert (item["fields"]["title"], item["fields"]["price"]) == ("By hand", _price(21))
    # it is known now, and stays with the next edit, too
    await _edit(alice, listing, price=_price(20))
    now = await _until_put(stall, alice, listing, profile)
    assert [note["field"] for note in now["notes"]] == ["title"]
    assert stall.live(marketplace)[0]["fields"]["title"] == "By hand"


@pytest.mark.parametrize(
    ("answer", "title"),
    [("put_mine", "Mine"), pytest.param("keep_theirs", "By hand", marks=pytest.mark.extended)],
)
@pytest.mark.extended
async def test_the_same_field_changed_here_and_there_is_asked(stall, alice, bob, marketplace, answer, title):
    listing, profile = await _live(stall, alice, marketplace)
    _by_hand(stall, marketplace, title="By hand")
    await _edit(alice, listing, price=_price(21), title="Mine")
    now = await _until_put(stall, alice, listing, profile)
    assert now["needsYou"]["reason"] == "edited_there"
    assert "By hand" in now["needsYou"]["message"]
    assert {action["name"] for action in now["needsYou"]["actions"]} == {"put_mine", "keep_theirs"}
    assert len(stall.events(marketplace, "edited")) == 1  # the hand's own
    assert await _press(bob, listing, profile, answer) == 404
    assert await _press(alice, listing, profile, answer) == 200
    now = await _until_put(stall, alice, listing, profile)
    assert now["needsYou"] is None
    (item,) = stall.live(marketplace)
    assert (item["fields"]["title"], item["fields"]["price"]) == (title, _price(21))
    assert [note["field"] for note in now["notes"]] == (["title"] if answer == "keep_theirs" else [])
    assert len(stall.events(marketplace, "edited")) == 2


@pytest.mark.extended
async def test_what_is_gone_meanwhile_is_told_and_not_put_again(stall, alice, marketplace):
    listing, profile = await _live(stall, alice, marketplace)
    (item,) = stall.sandbox.world.items(marketplace)
    stall.sandbox.world.end(item)
    await _edit(alice, listing, price=_price(21))
    now = await _until_put(stall, alice, listing, profile)
    assert (now["wanted"], now["put"], now["needsYou"]["reason"]) == ("ended", "ended", "gone")
    assert "post_again" in [action["name"] for action in now["needsYou"]["actions"]]
    assert stall.live(marketplace) == []


@pytest.mark.longer
async def test_a_process_that_dies_after_the_click_has_changed_it_once(
    stall, alice, marketplace, monkeypatch
):
    listing, profile = await _live(stall, alice, marketplace)
    await _edit(alice, listing, price=_price(21))
    click = Page.commit

    async def commit(self, target, **more):
        await click(self, target, **more)
        if marketplace == "poshmark" and "saves" in target.intent:
            return  # "List This Item" comes after it
        async with asyncio.timeout(60):
            while not stall.events(marketplace, "edited"):
                await asyncio.sleep(0.02)
        raise asyncio.CancelledError

    monkeypatch.setattr(Page, "commit", commit)
    await stall.visit(profile)
    monkeypatch.undo()
    left = await _shown(alice, listing)
    assert (left["state"], left["wantedRevision"] - left["putRevision"]) == ("revising", 1)
    now = await _until_put(stall, alice, listing, profile)
    assert (now["state"], now["readBack"]["price"]) == ("live", True)
    assert len(stall.events(marketplace, "edited")) == 1


@pytest.mark.extended
async def test_a_browser_that_dies_while_photos_are_read_back_says_nothing_of_them(
    stall, alice, marketplace, monkeypatch
):
    listing, profile = await _live(stall, alice, marketplace)
    await _edit(alice, listing, price=_price(21))
    fetch, died = Page.fetch, []

    async def once_dead(self, url):
        if not died:
            died.append(url)
            raise BrowserEnded
        return await fetch(self, url)

    monkeypatch.setattr(Page, "fetch", once_dead)
    now = await _until_put(stall, alice, listing, profile)
    assert died
    assert (now["state"], now["readBack"]["photos"]) == ("live", True)
    assert len(stall.events(marketplace, "edited")) == 1


@pytest.mark.extended
@pytest.mark.parametrize(
    "kind",
    [
        "error_after",
        *(
            pytest.param(one, marks=pytest.mark.extended)
            for one in ("error_before", "reset_after", "odd_answer", "late_commit")
        ),
    ],
)
async def test_an_answer_that_says_nothing_ends_with_what_is_wanted_there_once(
    stall, alice, marketplace, kind
):
    listing, profile = await _live(stall, alice, marketplace)
    await _edit(alice, listing, price=_price(21))
    stall.sandbox.fault(marketplace, kind, times=1, seconds=0.5)
    now = await _until_put(stall, alice, listing, profile)
    assert (now["state"], now["needsYou"]) == ("live", None)
    assert len(stall.events(marketplace, "edited")) == 1
    assert stall.live(marketplace)[0]["fields"]["price"] == _price(21)


@pytest.mark.extended
async def test_a_session_that_ends_in_the_middle_waits_for_the_seller_and_goes_on(stall, alice, marketplace):
    listing, profile = await _live(stall, alice, marketplace)
    stall.sandbox.sessions(marketplace, alice.name, lifetime_seconds=0)
    await _edit(alice, listing, price=_price(21))
    now = await _until_put(stall, alice, listing, profile)
    assert (now["state"], now["needsYou"]["reason"]) == ("live", "session_expired")
    # an edit where nobody can go says so at once
    edited = await _edit(alice, listing, price=_price(20))
    assert edited["publications"][0]["needsYou"]["reason"] == "session_expired"
    await _connect(stall, alice, marketplace)
    now = await _until_put(stall, alice, listing, profile)
    assert now["needsYou"] is None
    assert len(stall.events(marketplace, "edited")) == 1
    assert stall.live(marketplace)[0]["fields"]["price"] == _price(20)


@pytest.mark.extended
async def test_a_refusal_is_told_in_the_sites_words_and_the_old_stands(stall, alice, marketplace):
    listing, profile = await _live(stall, alice, marketplace)
    await _edit(alice, listing, description=NEW_TEXT)
    stall.sandbox.fault(marketplace, "soft_reject", times=1)
    now = await _until_put(stall, alice, listing, profile)
    assert (now["state"], now["needsYou"]["reason"]) == ("live", "listing_rejected")
    assert stall.live(marketplace)[0]["fields"]["description"] == SHIRT["description"]
    assert await _press(alice, listing, profile, "retry") == 200
    now = await _until_put(stall, alice, listing, profile)
    assert now["needsYou"] is None
    assert stall.live(marketplace)[0]["fields"]["description"] == NEW_TEXT


@pytest.mark.longer
async def test_a_take_down_wins_over_an_edit(stall, alice, marketplace):
    listing, profile = await _live(stall, alice, marketplace)
    await _edit(alice, listing, price=_price(21))
    assert await _press(alice, listing, profile, "end") == 200
    await stall.visit(profile, lane="urgent")
    assert stall.live(marketplace) == []
    assert stall.events(marketplace, "edited") == []


@pytest.mark.extended
async def test_what_one_marketplace_gets_differently_sends_nobody_elsewhere(stall, alice):
    mercari, poshmark = await _connect(stall, alice, "mercari"), await _connect(stall, alice, "poshmark")
    listing = await stall.listing(alice)
    job = await stall.post(alice, listing, ["mercari", "poshmark"])
    await stall.until_done(alice, job["jobId"], mercari, poshmark)
    overrides = {**SHIRT["overrides"], "poshmark": {"price": _price(30)}}
    edited = await _edit(alice, listing, overrides=overrides)
    left = {one["marketplace"]: one["wantedRevision"] - one["putRevision"] for one in edited["publications"]}
    assert left == {"mercari": 0, "poshmark": 1}
    await stall.visit(mercari, poshmark)
    assert stall.live("poshmark")[0]["fields"]["price"] == _price(30)
    assert stall.live("mercari")[0]["fields"]["price"] == _price(25)
    assert stall.events("mercari", "edited") == []


@pytest.mark.extended
async def test_what_cannot_be_changed_there_is_said(stall, alice):
    listing, profile = await _live(stall, alice, "ebay")
    await _edit(alice, listing, category="men.shirts.polos", price=_price(21))
    now = await _until_put(stall, alice, listing, profile)
    assert (now["needsYou"], [note["field"] for note in now["notes"]]) == (None, ["category"])
    assert now["readBack"]["category"] is False
    (entry,) = stall.events("ebay", "edited")
    assert entry["fields"]["price"] == _price(21)


@pytest.mark.extended
async def test_the_quantity_is_changed_where_there_is_one(stall, alice):
    listing, profile = await _live(stall, alice, "poshmark", quantity=2)
    await _edit(alice, listing, quantity=3)
    await _until_put(stall, alice, listing, profile)
    assert stall.live("poshmark")[0]["fields"]["quantity"] == 3


@pytest.mark.extended
async def test_a_job_ends_with_its_own_revision_and_an_edit_is_told_as_an_event(stall, alice):
    listing, profile = await _live(stall, alice, "mercari")
    await _edit(alice, listing, price=_price(21))
    again = await stall.post(alice, listing, ["mercari"])
    assert (await stall.job(alice, again["jobId"]))["status"] == "running"
    await _edit(alice, listing, price=_price(20))
    job = await stall.until_done(alice, again["jobId"], profile)
    assert (job["status"], job["automationResults"][0]["state"]) == ("done", "live")
    await _until_put(stall, alice, listing, profile)
    told = [row["type"] for row in await stall.rows("SELECT type FROM events ORDER BY id")]
    assert told.count("publication.live") == 1
    assert told.count("publication.revised") == len(stall.events("mercari", "edited"))


@pytest.mark.extended
async def test_the_account_keeps_its_pace_between_a_post_and_a_change(stall, alice):
    listing, profile = await _live(stall, alice, "mercari")
    await stall.rows("UPDATE connections SET pace_seconds = 3600 RETURNING id")
    await _edit(alice, listing, price=_price(21))
    await stall.visit(profile)
    (row,) = await stall.rows("SELECT state, next_try_at > now() + interval '50 minutes' AS later "
                              "FROM publications")  # fmt: skip
    assert row == {"state": "live", "later": True}
    assert stall.events("mercari", "edited") == []


@pytest.mark.extended
async def test_a_change_whose_answer_nobody_knows_waits_too_where_the_marketplace_asked_for_a_rest(
    stall, alice
):
    listing, profile = await _live(stall, alice, "mercari")
    await _edit(alice, listing, price=_price(21))
    stall.sandbox.fault("mercari", "error_before", times=1)
    await stall.visit(profile)
    assert await stall.rows("SELECT 1 AS one FROM attempts WHERE revising IS NOT NULL")
    await stall.rows("UPDATE connections SET rest_until = now() + interval '1 hour' RETURNING id")
    await _at_once(stall)
    await stall.visit(profile)
    assert stall.events("mercari", "edited") == []
    (row,) = await stall.rows("SELECT revising IS NOT NULL AS asked FROM attempts")
    assert row["asked"]
