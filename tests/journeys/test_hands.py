"""What the seller does by hand on a marketplace is noticed, taken over and never undone. The judge is the
marketplaces' own ledger."""

from __future__ import annotations

from typing import Any

import pytest

from everystall.browser.page import Page
from tests.journeys.conftest import SHIRT, Seller, Stall
from tests.journeys.test_sales import _check, _live, _of

pytestmark = [pytest.mark.journey, pytest.mark.browser]

OTHER = {"mercari": "poshmark", "poshmark": "mercari", "ebay": "mercari"}


def _price(dollars: int) -> dict[str, Any]:
    return {"amount": dollars * 100, "currency": "USD"}


async def _look(stall: Stall, *profiles: str) -> None:
    """A check of these whose list of what is live is due as well."""
    await stall.rows("UPDATE connections SET next_list_at = now() RETURNING id")
    await _check(stall, *profiles)


async def _publication(stall: Stall, profile: str) -> dict[str, Any]:
    (row,) = await stall.rows(
        """SELECT p.*, a.adopted, a.listed FROM publications p LEFT JOIN attempts a
           ON a.publication_id = p.id AND a.remote_id = p.remote_id
           WHERE p.connection_id = (SELECT id FROM connections WHERE public_id = :id)""", id=profile
    )  # fmt: skip
    return row


@pytest.mark.extended
async def test_what_was_ended_by_hand_is_told_and_stays_ended_and_elsewhere_it_stays_live(
    stall: Stall, alice: Seller, bob: Seller, marketplace: str
):
    other = OTHER[marketplace]
    _, profiles = await _live(stall, alice, (marketplace, other))
    await _live(stall, bob, (marketplace,))
    stall.sandbox.by_hand(marketplace, "end", _of(stall, marketplace, alice)["listing_id"])
    await _look(stall, *profiles.values())
    now = await _publication(stall, profiles[marketplace])
    assert (now["wanted"], now["put"], now["seen"]) == ("ended", "ended", "ended")
    assert now["needs_you"]["reason"] == "gone"
    await _look(stall, *profiles.values())
    assert [item["account"] for item in stall.live(marketplace)] == ["bob"]
    assert [item["account"] for item in stall.live(other)] == ["alice"]
    assert len(stall.events(marketplace, "published")) == 2
    told = await stall.rows("SELECT user_id FROM events WHERE type = 'publication.ended'")
    assert [row["user_id"] for row in told] == [alice.user_id]


@pytest.mark.extended
async def test_what_was_marked_as_sold_by_hand_is_a_sale_and_goes_elsewhere(
    stall: Stall, alice: Seller, bob: Seller, marketplace: str
):
    other = OTHER[marketplace]
    _, profiles = await _live(stall, alice, (marketplace, other))
    _, his = await _live(stall, bob, (marketplace, other))
    stall.sandbox.by_hand(marketplace, "mark_sold", _of(stall, marketplace, alice)["listing_id"])
    await _look(stall, profiles[marketplace], *his.values())
    await stall.visit(profiles[other], lane="urgent")
    assert [item["account"] for item in stall.live(other)] == ["bob"]
    (sale,) = await stall.rows("SELECT user_id, order_id, quantity FROM sales")
    assert sale == {"user_id": alice.user_id, "order_id": None, "quantity": 1}
    assert (await _publication(stall, profiles[marketplace]))["put"] == "sold"


@pytest.mark.extended
@pytest.mark.parametrize("noticed", [True, pytest.param(False, marks=pytest.mark.extended)])
async def test_of_what_was_raised_by_hand_none_stays_for_sale_once_what_is_here_is_sold(
    stall: Stall, alice: Seller, bob: Seller, noticed: bool
):
    """Four stayed live, believed sold; the next buyer was told to have come too late."""
    _, profiles = await _live(stall, alice, ("ebay", "mercari"))
    mine = _of(stall, "ebay", alice)["listing_id"]
    stall.sandbox.by_hand("ebay", "edit", mine, quantity=5)
    if noticed:
        await _look(stall, profiles["ebay"])
        now = await _publication(stall, profiles["ebay"])
        assert now["adopted"] == {"quantity": 5}
        assert [note["field"] for note in now["notes"]] == ["quantity"]
        assert _of(stall, "ebay", alice)["fields"]["quantity"] == 5  # never undone
    stall.sandbox.buy("ebay", listing_id=mine)
    await _check(stall, profiles["ebay"])
    await stall.visit(*profiles.values(), lane="urgent")
    assert stall.live("ebay") == stall.live("mercari") == []
    await _look(stall, *profiles.values())
    assert await stall.rows("SELECT order_id IS NOT NULL AS named, quantity FROM sales") == [
        {"named": True, "quantity": 1}
    ]
    assert await stall.rows("SELECT 1 AS one FROM double_sales") == []
    assert (await bob.client.get("/api/sales")).json()["sales"] == []


@pytest.mark.extended
async def test_what_was_bought_and_cancelled_before_anybody_looked_is_no_sale(
    stall: Stall, alice: Seller, bob: Seller
):
    """It stays as sold there, and was taken down elsewhere for a sale that nobody made."""
    _, profiles = await _live(stall, alice, ("poshmark", "mercari"))
    await stall.rows(
        "INSERT INTO sale_rules (user_id, put_back) VALUES (:id, 'always') RETURNING user_id",
        id=alice.user_id,
    )
    item = stall.sandbox.buy("poshmark", title=SHIRT["title"])
    stall.sandbox.cancel("poshmark", item["orders"][0]["order_id"])
    await _look(stall, *profiles.values())
    await stall.visit(profiles["mercari"], lane="urgent")
    assert len(stall.live("mercari")) == 1
    assert await stall.rows("SELECT quantity_sold FROM listings") == [{"quantity_sold": 0}]
    told = await stall.rows("SELECT data FROM events WHERE type = 'sale.cancelled'")
    assert [row["data"]["orderId"] for row in told] == [item["orders"][0]["order_id"]]
    assert await stall.rows("SELECT 1 AS one FROM events WHERE type = 'sale.detected'") == []
    assert (await bob.client.get("/api/sales")).json()["sales"] == []


@pytest.mark.extended
async def test_what_was_edited_by_hand_stays_and_goes_with_the_next_edit_here(
    stall: Stall, alice: Seller, marketplace: str
):
    listing, profiles = await _live(stall, alice, (marketplace,))
    profile = profiles[marketplace]
    mine = _of(stall, marketplace, alice)["listing_id"]
    words = "Now by hand: with a small mark on the left cuff, washed once."
    stall.sandbox.by_hand(marketplace, "edit", mine, price=_price(31), description=words)
    await _look(stall, profile)
    now = await _publication(stall, profile)
    assert (now["state"], now["put"], now["needs_you"]) == ("live", "live", None)
    assert now["adopted"] == {"price": _price(31), "description": words}
    assert sorted(note["field"] for note in now["notes"]) == ["description", "price"]
    assert (now["read_back"]["price"], now["read_back"]["title"]) == (False, True)
    answer = await alice.client.patch(f"/api/listings/{listing}", json={"title": "Linen shirt, blue"})
    assert answer.status_code == 200, answer.text
    await stall.visit(profile)
    (item,) = stall.live(marketplace)
    assert (item["fields"]["title"], item["fields"]["price"]) == ("Linen shirt, blue", _price(31))
    assert item["fields"]["description"] == words
    assert len(stall.events(marketplace, "edited")) == 2  # the hand's and ours
    # and back again, by hand
    stall.sandbox.by_hand(marketplace, "edit", mine, price=SHIRT["price"])
    await _look(stall, profile)
    now = await _publication(stall, profile)
    assert [note["field"] for note in now["notes"]] == ["description"]
    assert now["adopted"] == {"description": words}


@pytest.mark.longer
async def test_what_was_deleted_and_posted_anew_by_hand_is_followed_and_goes_with_a_sale(
    stall: Stall, alice: Seller, bob: Seller, marketplace: str
):
    other = OTHER[marketplace]
    _, profiles = await _live(stall, alice, (marketplace, other))
    await _live(stall, bob, (marketplace,))  # the same title, price and photos, and another's
    old = _of(stall, marketplace, alice)["listing_id"]
    stall.sandbox.by_hand(marketplace, "end", old)
    new = stall.sandbox.by_hand(marketplace, "relist", old)["listing_id"]
    await _look(stall, profiles[marketplace])
    now = await _publication(stall, profiles[marketplace])
    assert (now["state"], now["put"], now["wanted"], now["remote_id"]) == ("live", "live", "live", new)
    assert now["needs_you"] is None
    stall.sandbox.buy(other, listing_id=_of(stall, other, alice)["listing_id"])
    await _check(stall, profiles[other])
    await stall.visit(profiles[marketplace], lane="urgent")
    assert [item["account"] for item in stall.live(marketplace)] == ["bob"]


@pytest.mark.extended
async def test_what_is_posted_anew_by_hand_after_it_was_told_as_gone_is_live_again(
    stall: Stall, alice: Seller, marketplace: str
):
    listing, profiles = await _live(stall, alice, (marketplace,))
    profile = profiles[marketplace]
    old = _of(stall, marketplace, alice)["listing_id"]
    stall.sandbox.by_hand(marketplace, "end", old)
    await _look(stall, profile)
    assert (await _publication(stall, profile))["needs_you"]["reason"] == "gone"
    new = stall.sandbox.by_hand(marketplace, "relist", old)["listing_id"]
    await _look(stall, profile)
    now = await _publication(stall, profile)
    assert (now["state"], now["wanted"], now["remote_id"], now["needs_you"]) == ("live", "live", new, None)
    # ours as before: an edit reaches it
    await alice.client.patch(f"/api/listings/{listing}", json={"price": _price(22)})
    await stall.visit(profile)
    assert [item["fields"]["price"] for item in stall.live(marketplace)] == [_price(22)]
    told = await stall.rows("SELECT type FROM events WHERE type LIKE 'publication.%' ORDER BY id")
    assert [row["type"] for row in told] == [
        "publication.live", "publication.ended", "publication.needs_you", "publication.live",
        "publication.revised",
    ]  # fmt: skip


@pytest.mark.extended
async def test_a_take_down_finds_what_was_posted_anew_by_hand_before_anybody_noticed(
    stall: Stall, alice: Seller, bob: Seller, marketplace: str
):
    other = OTHER[marketplace]
    _, profiles = await _live(stall, alice, (marketplace, other))
    await _live(stall, bob, (marketplace,))
    old = _of(stall, marketplace, alice)["listing_id"]
    stall.sandbox.by_hand(marketplace, "end", old)
    stall.sandbox.by_hand(marketplace, "relist", old)
    stall.sandbox.buy(other, listing_id=_of(stall, other, alice)["listing_id"])
    await _check(stall, profiles[other])
    await stall.visit(profiles[marketplace], lane="urgent")
    assert [item["account"] for item in stall.live(marketplace)] == ["bob"]
    (row,) = await stall.rows("SELECT gone_at FROM take_downs")
    assert row["gone_at"] is not None


@pytest.mark.extended
async def test_what_was_posted_anew_by_hand_and_sold_at_once_goes_elsewhere(
    stall: Stall, alice: Seller, marketplace: str
):
    """Its order names a listing that nobody here knows."""
    other = OTHER[marketplace]
    _, profiles = await _live(stall, alice, (marketplace, other))
    await _look(stall, *profiles.values())
    old = _of(stall, marketplace, alice)["listing_id"]
    stall.sandbox.by_hand(marketplace, "end", old)
    new = stall.sandbox.by_hand(marketplace, "relist", old)["listing_id"]
    stall.sandbox.buy(marketplace, listing_id=new)
    await _check(stall, profiles[marketplace])
    await stall.visit(profiles[other], lane="urgent")
    assert stall.live(other) == []
    (sale,) = await stall.rows("SELECT remote_id, publication_id, quantity FROM sales")
    assert (sale["remote_id"], sale["quantity"]) == (new, 1)
    assert sale["publication_id"] is not None
    assert await stall.rows("SELECT 1 AS one FROM double_sales") == []


@pytest.mark.extended
async def test_a_list_that_lags_or_a_page_that_does_not_answer_ends_nothing(
    stall: Stall, alice: Seller, marketplace: str
):
    _, profiles = await _live(stall, alice, (marketplace,))
    profile, mine = profiles[marketplace], _of(stall, marketplace, alice)["listing_id"]
    item = stall.sandbox.world.item(marketplace, mine)
    shown_from, item.listed_at = item.listed_at, float("inf")  # the list does not show it
    for down in (False, True):
        if down:
            path = mine if marketplace != "poshmark" else "/listing/"
            stall.sandbox.fault(marketplace, "down", times=50, path=path)
        await _look(stall, profile)
        now = await _publication(stall, profile)
        assert (now["state"], now["wanted"], now["put"], now["needs_you"]) == ("live", "live", "live", None)
    stall.sandbox.clear_faults()
    item.listed_at = shown_from
    assert len(stall.live(marketplace)) == 1
    assert await stall.rows("SELECT 1 AS one FROM events WHERE type <> 'publication.live'"
                            " AND type <> 'job.finished'") == []  # fmt: skip


@pytest.mark.extended
async def test_a_quiet_look_is_one_page_and_each_quarter_of_an_hour_one_more(
    stall: Stall, alice: Seller, marketplace: str, monkeypatch: pytest.MonkeyPatch
):
    _, profiles = await _live(stall, alice, (marketplace,))
    profile, goto, loads = profiles[marketplace], Page.goto, list[str]()

    async def counted(self: Page, path: str, **more: Any) -> None:
        loads.append(path)
        await goto(self, path, **more)

    monkeypatch.setattr(Page, "goto", counted)
    await _look(stall, profile)
    assert len(loads) == 2, loads
    left = "SELECT extract(epoch FROM next_list_at - now())::float AS s FROM connections"
    assert 800 < (await stall.rows(left))[0]["s"] <= 900
    for _ in range(2):
        loads.clear()
        await _check(stall, profile)
        assert len(loads) == 1, loads
