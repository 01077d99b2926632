"""Listings of several marketplaces that are one thing: linked if certain, else proposed; and undone."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from everystall.content.photos import Photos
from everystall.inventory import matches, sales
from everystall.inventory.matching import match
from everystall.inventory.price_drops import lower_due
from everystall.marketplaces.base import Money, Sale
from everystall.models import Attempt, Connection, Publication
from tests.api.conftest import PASSWORD, SHIRT, Seller, Site, live_listing, photo
from tests.api.test_api_price_drops import COMMON, days_pass, falls

POLICIES = {
    "ebay": {
        "payment_policy": "Immediate payment",
        "return_policy": "30 days, buyer pays",
        "shipping_policy": "Ground, buyer pays",
    }
}


@pytest.fixture
async def compare(site: Site):
    photos = Photos(site.settings)

    async def compare(seller: Seller) -> dict[str, Any]:
        """As a worker does when somebody asked; what is proposed then."""
        answer = await seller.post("/api/matches")
        assert answer.status_code == 202, answer.text
        await matches.compare_all(site.database, photos, asyncio.Event())
        return (await seller.get("/api/matches")).json()

    yield compare
    await photos.close()


async def _listings(seller: Seller) -> dict[str, dict[str, Any]]:
    return {one["listingId"]: one for one in (await seller.get("/api/listings")).json()["listings"]}


def _marketplaces(listing: dict[str, Any]) -> set[str]:
    return {one["marketplace"] for one in listing["publications"]}


async def _two(site: Site, alice: Seller, **changes: Any) -> tuple[str, str, dict[str, str]]:
    """One thing on Poshmark, and again as another listing on eBay."""
    one, accounts = await live_listing(site, alice, "poshmark", photos=1)
    other, more = await live_listing(site, alice, "ebay", overrides=POLICIES, photos=2, **changes)
    return one, other, accounts | more


@pytest.mark.longer
async def test_what_is_certain_is_linked_and_taken_apart_again_as_it_was(site, alice, bob, compare):
    one, other, _ = await _two(site, alice, description="Written otherwise on eBay, with more words to it.")
    await alice.client.put(
        f"/api/listings/{other}/price-drops", json={"cents": 100, "everyDays": 9, "floor": {"amount": 900}}
    )
    before = await _listings(alice)
    found = await compare(alice)
    assert (found["comparing"], found["matches"]) == (False, [])
    (linked,) = (await alice.get("/api/matches?state=linked")).json()["matches"]
    assert linked["decidedBy"] == "everystall"
    assert "The same SKU" in linked["reasons"]
    now = await _listings(alice)
    assert set(now) == {one}
    assert _marketplaces(now[one]) == {"poshmark", "ebay"}
    assert all(pub["state"] == "live" and not pub["needsYou"] for pub in now[one]["publications"])
    assert await site.wakes() == []  # nobody goes anywhere because of it
    kept = [photo["sha256"] for id in (one, other) for photo in before[id]["photos"]]
    assert {photo["sha256"] for photo in now[one]["photos"]} == set(kept)

    assert (await bob.post(f"/api/matches/{linked['matchId']}/apart")).status_code == 404
    answer = await alice.post(f"/api/matches/{linked['matchId']}/apart")
    assert (answer.status_code, answer.json()["state"]) == (200, "apart"), answer.text
    again = await _listings(alice)
    for id in (one, other):
        changing = ("revision", "updatedAt", "publications", "nextDrop", "prices")
        assert {k: v for k, v in again[id].items() if k not in changing} == {
            k: v for k, v in before[id].items() if k not in changing
        }
        assert _marketplaces(again[id]) == _marketplaces(before[id])
    assert (await alice.get(f"/api/listings/{other}/price-drops")).json()["schedule"]["everyDays"] == 9
    found = await compare(alice)
    assert found["matches"] == []  # it is remembered
    assert len(await _listings(alice)) == 2
    assert await site.wakes() == []


@pytest.mark.longer
async def test_an_edit_of_linked_ones_changes_what_was_edited_and_nothing_that_differed(site, alice, compare):
    one, _, _ = await _two(site, alice, description="Written otherwise on eBay, with more words to it.")
    await compare(alice)
    await alice.client.patch(f"/api/listings/{one}", json={"price": {"amount": 3000}})
    rows = await site.rows(
        "SELECT p.marketplace, p.unsettled, a.draft, a.adopted FROM publications p "
        "JOIN attempts a ON a.publication_id = p.id ORDER BY 1"
    )
    assert [(row["marketplace"], row["unsettled"]) for row in rows] == [("ebay", True), ("poshmark", True)]
    assert rows[0]["adopted"]["description"].startswith("Written otherwise")
    assert {wake["queueing_lock"].split(":")[1] for wake in await site.wakes()} == {
        str(row["id"]) for row in await site.rows("SELECT id FROM connections")
    }


@pytest.mark.longer
async def test_a_price_that_falls_leaves_the_lower_one_of_linked_ones(site, alice, compare):
    one, _, _ = await _two(site, alice, price={"amount": 2000})
    for pair in (await compare(alice))["matches"]:
        assert (await alice.post(f"/api/matches/{pair['matchId']}/link")).status_code == 200
    assert set(await _listings(alice)) == {one}
    await falls(alice, COMMON, floor={"amount": 1500})
    for price, going in ((2200, ["poshmark"]), (1900, ["ebay", "poshmark"])):
        await days_pass(site)
        assert await lower_due(site.database) == 1
        assert (await _listings(alice))[one]["price"]["amount"] == price
        rows = await site.rows("SELECT marketplace FROM publications WHERE unsettled ORDER BY 1")
        assert [row["marketplace"] for row in rows] == going


@pytest.mark.longer
async def test_what_is_likely_is_proposed_and_the_seller_decides(site, alice, bob, compare):
    one, other, _ = await _two(site, alice, size="L")
    found = await compare(alice)
    (match,) = found["matches"]
    assert "The sizes differ" in match["doubts"]
    assert {side["listingId"] for side in match["sides"]} == {one, other}
    assert {side["size"] for side in match["sides"]} == {"M", "L"}
    assert all(side["photoIds"] and side["publications"] for side in match["sides"])
    path = f"/api/matches/{match['matchId']}"
    for action in ("link", "apart"):
        assert (await bob.post(f"{path}/{action}")).status_code == 404
    assert (await bob.get("/api/matches")).json()["matches"] == []
    linked = await alice.post(f"{path}/link")
    assert (linked.status_code, linked.json()["decidedBy"]) == (200, "seller"), linked.text
    assert len(await _listings(alice)) == 1
    assert (await alice.post(f"{path}/link")).status_code == 400


async def test_what_does_not_hold_as_many_here_is_proposed_and_not_linked(site, alice, compare):
    """Though all that their marketplaces show is the same."""
    one, other, _ = await _two(site, alice)
    await site.rows("UPDATE listings SET quantity = 3 WHERE id = CAST(:id AS uuid)", id=other)
    (match,) = (await compare(alice))["matches"]
    assert "They do not hold as many." in match["doubts"]
    assert set(await _listings(alice)) == {one, other}


async def test_what_is_likely_of_one_that_was_just_linked_is_proposed_of_what_that_is_now(
    site, alice, compare
):
    one, _, _ = await _two(site, alice)
    third, _ = await live_listing(site, alice, "mercari", photos=1)
    (match,) = (await compare(alice))["matches"]
    assert {side["listingId"] for side in match["sides"]} == {one, third}
    rows = await site.rows("SELECT one_id, other_id FROM matches WHERE state = 'proposed'")
    assert [{str(id) for id in row.values()} for row in rows] == [{one, third}]
    (told,) = await site.rows("SELECT data FROM events WHERE type = 'matching.finished'")
    assert (told["data"]["linked"], told["data"]["proposed"]) == (1, 1)


@pytest.mark.longer
async def test_what_is_apart_from_one_that_was_just_linked_is_not_proposed(site, alice, compare):
    one, other, _ = await _two(site, alice)
    third, _ = await live_listing(site, alice, "mercari", photos=1)
    await _call_apart(site, alice, other, third)
    assert (await compare(alice))["matches"] == []
    assert set(await _listings(alice)) == {one, third}


async def test_apart_is_remembered(site, alice, compare):
    await _two(site, alice, size="L")
    (match,) = (await compare(alice))["matches"]
    await alice.post(f"/api/matches/{match['matchId']}/apart")
    assert (await compare(alice))["matches"] == []
    (apart,) = (await alice.get("/api/matches?state=apart")).json()["matches"]
    assert apart["matchId"] == match["matchId"]


async def test_what_may_be_taken_apart_again_keeps_its_photos_when_somebody_elses_account_goes(
    site, alice, compare
):
    one, other, _ = await _two(site, alice)
    await compare(alice)
    (linked,) = (await alice.get("/api/matches?state=linked")).json()["matches"]
    for shown in (await _listings(alice))[one]["photos"][1:]:  # it is in the undo alone
        await alice.client.delete(f"/api/listings/{one}/photos/{shown['photoId']}")
    await site.go_live(alice)
    sam = await site.person("sam")
    await sam.listing(photos=2)
    body = {"confirm": sam.email, "password": PASSWORD}
    assert (await sam.client.request("DELETE", "/api/account", json=body)).status_code == 200
    assert (await alice.post(f"/api/matches/{linked['matchId']}/apart")).status_code == 200
    again = (await _listings(alice))[other]["photos"]
    assert len(again) == 2
    for number, shown in enumerate(again):
        got = await alice.get(f"/api/listings/{other}/photos/{shown['photoId']}")
        assert (got.status_code, got.content) == (200, photo(number))


async def _three(site: Site, alice: Seller) -> tuple[str, str, str]:
    """A on Poshmark, B on Mercari, and C on eBay, of which the seller said that it is not B: else A and C are
    certain."""
    a, _ = await live_listing(site, alice, "poshmark", photos=1)
    b, _ = await live_listing(site, alice, "mercari", photos=1)
    c, _ = await live_listing(site, alice, "ebay", overrides=POLICIES, photos=2)
    await _call_apart(site, alice, b, c)
    return a, b, c


async def _call_apart(site: Site, alice: Seller, one: str, other: str) -> None:
    await site.rows(
        "INSERT INTO matches (user_id, one_id, other_id, points, state, decided_by, decided_at) "
        "VALUES (:u, :one, :other, 9, 'apart', 'seller', now())",
        u=alice.user_id, one=min(one, other), other=max(one, other),
    )  # fmt: skip


async def _link(site: Site, alice: Seller, one: str, other: str) -> Any:
    (row,) = await site.rows(
        "INSERT INTO matches (user_id, one_id, other_id, points) VALUES (:u, :one, :other, 9) RETURNING id",
        u=alice.user_id, one=min(one, other), other=max(one, other),
    )  # fmt: skip
    return await alice.post(f"/api/matches/{row['id']}/link")


@pytest.mark.longer
async def test_what_was_called_apart_stays_so_when_one_of_it_became_another(site, alice, compare):
    a, b, c = await _three(site, alice)
    assert (await _link(site, alice, a, b)).status_code == 200
    assert set(await _listings(alice)) == {a, c}
    found = await compare(alice)
    assert set(await _listings(alice)) == {a, c}
    assert found["matches"] == []
    refused = await _link(site, alice, a, c)
    assert (refused.status_code, "apart" in refused.json()["message"]) == (400, True), refused.text
    assert set(await _listings(alice)) == {a, c}
    (link,) = (await alice.get("/api/matches?state=linked")).json()["matches"]
    assert (await alice.post(f"/api/matches/{link['matchId']}/apart")).status_code == 200
    assert set(await _listings(alice)) == {a, b, c}


@pytest.mark.longer
async def test_what_was_called_apart_stays_so_through_several_links(site, alice, compare):
    """B became A, and A became Z, which was never posted itself."""
    z = await alice.listing()
    a, b, c = await _three(site, alice)
    for one, other in ((a, b), (z, a)):
        answer = await _link(site, alice, one, other)
        assert answer.status_code == 200, answer.text
    found = await compare(alice)
    assert set(await _listings(alice)) == {z, c}
    assert found["matches"] == []
    assert (await _link(site, alice, z, c)).status_code == 400


async def test_the_seller_may_link_what_she_called_apart(site, alice):
    _, b, c = await _three(site, alice)
    (row,) = (await alice.get("/api/matches?state=apart")).json()["matches"]
    answer = await alice.post(f"/api/matches/{row['matchId']}/link")
    assert (answer.status_code, answer.json()["state"]) == (200, "linked"), answer.text
    assert len({b, c} & set(await _listings(alice))) == 1


async def test_two_on_one_account_are_never_one(site, alice, compare):
    """Even where a third is like both."""
    one, accounts = await live_listing(site, alice, "poshmark", "ebay", overrides=POLICIES, photos=1)
    other, _ = await live_listing(site, alice, "poshmark", accounts=accounts, photos=1)
    await compare(alice)
    assert set(await _listings(alice)) == {one, other}
    (row,) = await site.rows(
        "INSERT INTO matches (user_id, one_id, other_id, points) VALUES (:u, :one, :other, 9) "
        "ON CONFLICT (user_id, one_id, other_id) DO UPDATE SET points = 9 RETURNING id",
        u=alice.user_id, one=min(one, other), other=max(one, other),
    )  # fmt: skip
    answer = await alice.post(f"/api/matches/{row['id']}/link")
    assert (answer.status_code, len(await _listings(alice))) == (400, 2)
    assert "same account" in answer.json()["message"]


async def test_what_is_under_way_is_not_linked_and_a_sale_is_not_undone(site, alice, compare):
    one, _other, _ = await _two(site, alice, size="L")
    (match,) = (await compare(alice))["matches"]
    path = f"/api/matches/{match['matchId']}"
    await site.rows("UPDATE publications SET looking = true")
    assert (await alice.post(f"{path}/link")).status_code == 400
    await site.rows("UPDATE publications SET looking = false")
    assert (await alice.post(f"{path}/link")).status_code == 200
    await site.rows(
        "INSERT INTO sales (user_id, connection_id, order_id, listing_id, title, quantity) "
        "SELECT user_id, connection_id, 'o1', listing_id, 'x', 1 FROM publications LIMIT 1"
    )
    answer = await alice.post(f"{path}/apart")
    assert (answer.status_code, len(await _listings(alice))) == (400, 1)
    assert one in await _listings(alice)


async def _sell(site: Site, alice: Seller, marketplace: str, order: str | None) -> None:
    """As a visit that sees this order; None: that its own page says it is sold."""
    async with site.database.as_user(alice.user_id) as session:
        attempt = await session.scalar(
            select(Attempt).join(Publication, Publication.id == Attempt.publication_id)
            .where(Publication.marketplace == marketplace, Attempt.remote_id.is_not(None))
        )  # fmt: skip
        if order is None:
            publication = await session.get_one(Publication, attempt.publication_id)
            await sales.take_sold_page(session, publication, attempt)
        else:
            account = await session.get_one(Connection, attempt.connection_id)
            told = Sale(order, attempt.remote_id, SHIRT["title"], Money(amount=2500))
            await sales.take(session, account, [told])


async def test_undone_its_jobs_and_sales_are_its_own_again(site, alice):
    one, _ = await live_listing(site, alice, "poshmark", photos=1, quantity=3)
    other, _ = await live_listing(
        site, alice, "ebay", overrides=POLICIES, photos=2, quantity=3, cost={"amount": 450}
    )
    await _sell(site, alice, "ebay", "o1")
    await _sell(site, alice, "poshmark", "o2")
    await site.go_live(alice)
    await site.rows("UPDATE sales SET publication_id = NULL WHERE order_id = 'o1'")  # as if that was deleted
    await site.rows(
        "INSERT INTO double_sales (user_id, listing_id, later_id) SELECT user_id, listing_id, id FROM sales"
    )
    query = " UNION ALL ".join(
        f"SELECT '{table}', id::text AS id, listing_id FROM {table}"
        for table in ("jobs", "sales", "double_sales")
    )
    before = await site.rows(f"{query} ORDER BY id")
    assert {str(row["listing_id"]) for row in before} == {one, other}
    linked = await _link(site, alice, one, other)
    assert linked.status_code == 200, linked.text
    assert {row["cost_cents"] for row in await site.rows("SELECT cost_cents FROM sales")} == {450}
    assert {str(row["listing_id"]) for row in await site.rows(query)} == {one}
    job = await alice.publish(one, "poshmark")  # a job of the two is the earlier's
    apart = await alice.post(f"/api/matches/{linked.json()['matchId']}/apart")
    assert apart.status_code == 200, apart.text
    after = await site.rows(f"{query} ORDER BY id")
    assert [row for row in after if row["id"] != job.json()["jobId"]] == before
    assert {str(row["listing_id"]) for row in after if row not in before} == {one}


async def _sold(site: Site) -> tuple[int, dict[str, tuple[str, Any]]]:
    """How many are sold, and by marketplace what became of the attempt and how many it holds, if any."""
    rows = await site.rows(
        "SELECT p.marketplace, a.outcome, coalesce(a.adopted -> 'quantity', a.draft -> 'quantity') AS left, "
        "l.quantity_sold FROM attempts a JOIN publications p ON p.id = a.publication_id "
        "JOIN listings l ON l.id = p.listing_id"
    )
    (number,) = {row["quantity_sold"] for row in rows}
    left = {row["marketplace"]: row["left"] if row["outcome"] == "live" else None for row in rows}
    return number, {row["marketplace"]: (row["outcome"], left[row["marketplace"]]) for row in rows}


@pytest.mark.parametrize("orders", [["o1", None], [None, "o1"], [None]])
async def test_the_only_piece_on_one_account_sells_once_where_another_holds_several(site, alice, orders):
    one, other, _ = await _two(site, alice, quantity=3)
    assert (await _link(site, alice, one, other)).status_code == 200
    assert (await _listings(alice))[one]["quantity"] == 3
    for order in orders:
        await _sell(site, alice, "poshmark", order)
    assert await _sold(site) == (1, {"poshmark": ("sold", None), "ebay": ("live", 3)})


async def test_one_that_is_sold_and_one_that_is_for_sale_are_not_linked_into_another_piece(site, alice, bob):
    one, other, _ = await _two(site, alice)
    await _sell(site, alice, "poshmark", "o1")
    await site.rows("UPDATE attempts SET outcome = 'sold' WHERE remote_id = (SELECT remote_id FROM sales)")
    await site.rows(  # as its own page says
        "UPDATE publications SET put = 'sold', state = 'sold' WHERE marketplace = 'poshmark'"
    )
    refused = await _link(site, alice, one, other)
    assert (refused.status_code, len(await _listings(alice))) == (400, 2)
    assert "still for sale" in refused.json()["message"]
    assert "Take the other one down" in refused.json()["action"]
    (match,) = await site.rows("SELECT id FROM matches")
    assert (await bob.post(f"/api/matches/{match['id']}/link")).status_code == 404
    await site.rows(
        "UPDATE listings SET quantity = 2 WHERE id = CAST(:id AS uuid)", id=one
    )  # she has one more
    linked = await alice.post(f"/api/matches/{match['id']}/link")
    assert linked.status_code == 200, linked.text
    (listing,) = (await _listings(alice)).values()
    assert (listing["quantity"], listing["quantitySold"]) == (2, 1)


async def test_undone_each_holds_as_many_as_before(site, alice):
    one, other, _ = await _two(site, alice, quantity=3)
    linked = await _link(site, alice, one, other)
    undone = await alice.post(f"/api/matches/{linked.json()['matchId']}/apart")
    assert undone.status_code == 200, undone.text
    assert {id: row["quantity"] for id, row in (await _listings(alice)).items()} == {one: 1, other: 3}
    assert await _sold(site) == (0, {"poshmark": ("live", 1), "ebay": ("live", 3)})
    assert not any(row["adopted"] for row in await site.rows("SELECT adopted FROM attempts"))


async def test_fewer_pieces_on_one_account_are_counted_down_there(site, alice):
    one, _ = await live_listing(site, alice, "poshmark", photos=1, quantity=2)
    other, _ = await live_listing(site, alice, "ebay", overrides=POLICIES, photos=2, quantity=5)
    assert (await _link(site, alice, one, other)).status_code == 200
    await _sell(site, alice, "poshmark", "o1")
    assert await _sold(site) == (1, {"poshmark": ("live", 1), "ebay": ("live", 5)})
    await _sell(site, alice, "ebay", "o2")
    assert await _sold(site) == (2, {"poshmark": ("live", 1), "ebay": ("live", 4)})
    await _sell(site, alice, "poshmark", None)
    assert await _sold(site) == (3, {"poshmark": ("sold", None), "ebay": ("live", 4)})


async def test_asking_while_a_worker_compares_is_done_once_more(site, alice):
    await alice.post("/api/matches")
    assert (await alice.get("/api/matches")).json()["comparing"]
    (claim,) = await site.rows("SELECT * FROM everystall.take_matching()")
    assert await site.rows("SELECT * FROM everystall.take_matching()") == []
    await alice.post("/api/matches")
    photos = Photos(site.settings)
    await matches.compare(site.database, photos, claim["user_id"], claim["claimed_until"])
    await photos.close()
    assert (await alice.get("/api/matches")).json()["comparing"]


@pytest.mark.longer
async def test_who_compares_for_long_keeps_the_claim(site, alice, monkeypatch):
    one, _, _ = await _two(site, alice)

    def for_long(*asked: Any) -> Any:
        time.sleep(3)
        return match(*asked)

    monkeypatch.setattr(matches, "CLAIM", timedelta(seconds=1.5))
    monkeypatch.setattr(matches, "match", for_long)
    await alice.post("/api/matches")
    photos = Photos(site.settings)
    comparing = asyncio.create_task(matches.compare_all(site.database, photos, asyncio.Event()))
    taken = []
    while not comparing.done():
        await asyncio.sleep(0.1)
        taken += await site.rows("SELECT * FROM everystall.take_matching()")
    await comparing
    await photos.close()
    assert taken == []
    assert set(await _listings(alice)) == {one}


async def test_who_lost_the_claim_while_comparing_writes_nothing(site, alice, monkeypatch):
    one, other, _ = await _two(site, alice)
    began = threading.Event()

    def for_long(*asked: Any) -> Any:
        began.set()
        time.sleep(2)
        return match(*asked)

    monkeypatch.setattr(matches, "CLAIM", timedelta(seconds=1.5))
    monkeypatch.setattr(matches, "match", for_long)
    await alice.post("/api/matches")
    (claim,) = await site.rows("SELECT * FROM everystall.take_matching()")
    photos = Photos(site.settings)
    comparing = asyncio.create_task(
        matches.compare(site.database, photos, claim["user_id"], claim["claimed_until"])
    )
    await asyncio.to_thread(began.wait)
    await site.rows("UPDATE matchings SET claimed_until = now() + interval '1 hour'")
    await comparing
    await photos.close()
    assert set(await _listings(alice)) == {one, other}
    assert (await alice.get("/api/matches")).json()["comparing"]


async def test_an_account_that_nobody_can_visit_is_told_so_and_another_sees_nothing(site, alice, bob):
    profile = await alice.connect("poshmark")
    path = f"/api/connections/{profile}/import"
    assert (await alice.get(path)).status_code == 404
    asked = (await alice.post(path)).json()
    assert (asked["status"], asked["listed"], asked["total"]) == ("running", False, 0)
    assert (await alice.post(path)).json()["createdAt"] == asked["createdAt"]
    for method in ("GET", "POST"):
        assert (await bob.client.request(method, path)).status_code == 404
    assert [wake["queue_name"] for wake in await site.wakes()] == ["visits", "reading"]
    await site.rows("DELETE FROM live_imports")
    flag = json.dumps({"reason": "session_expired", "message": "Signed out.", "url": None})
    await site.rows("UPDATE connections SET needs_you = CAST(:flag AS jsonb)", flag=flag)
    refused = await alice.post(path)
    assert (refused.status_code, "Signed out." in refused.json()["message"]) == (400, True)
