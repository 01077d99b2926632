"""What a seller sold elsewhere, marked and taken back; nobody else's listing or sale is reached."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from everystall.inventory import sales, takings
from everystall.marketplaces.base import Money, Sale
from everystall.models import Connection
from tests.api.conftest import live_listing

HTML = {"accept": "text/html"}


async def mark(seller, listing, **more):
    body = {"listingId": listing, "price": {"amount": 3000}, "place": "The flea market",
            "fees": {"amount": 500}, **more}  # fmt: skip
    return await seller.client.post("/api/sales", json=body)


async def standing(site, listing):
    rows = await site.rows(
        "SELECT marketplace, wanted, state FROM publications WHERE listing_id = CAST(:id AS uuid)", id=listing
    )
    return {row["marketplace"]: (row["wanted"], row["state"]) for row in rows}


async def left(site, listing):
    (row,) = await site.rows(
        "SELECT quantity - quantity_sold AS left FROM listings WHERE id = CAST(:id AS uuid)", id=listing
    )
    return row["left"]


async def test_what_is_marked_goes_everywhere_and_counts_with_its_cost_and_fees(site, alice, bob):
    listing, profiles = await live_listing(site, alice, "poshmark", "mercari", cost={"amount": 700})
    assert (await mark(bob, listing)).status_code == 404
    assert await left(site, listing) == 1
    made = await mark(alice, listing, soldOn=f"{datetime.now(UTC):%Y-%m-%d}")
    assert made.status_code == 201, made.text
    sale = made.json()
    assert (sale["marketplace"], sale["browserProfileId"], sale["place"], sale["toldBy"]) == (
        None, None, "The flea market", "seller",
    )  # fmt: skip
    assert {down["browserProfileId"] for down in sale["takeDowns"]} == set(profiles.values())
    assert await standing(site, listing) == {
        "poshmark": ("ended", "ending"), "mercari": ("ended", "ending")
    }  # fmt: skip
    wakes = await site.rows("SELECT queue_name FROM procrastinate.procrastinate_jobs WHERE status = 'todo'")
    assert "urgent" in {row["queue_name"] for row in wakes}
    (row,) = csv.DictReader(io.StringIO((await alice.get("/api/export/sales.csv")).text.lstrip("\ufeff")))
    assert [row[name] for name in ("marketplace", "account", "price", "fee", "cost", "left")] == [
        "Elsewhere", "The flea market", "30.00", "5.00", "7.00", "18.00",
    ]  # fmt: skip
    async with site.database.as_user(alice.user_id) as session:
        months = await takings.months_of(session, datetime.now(UTC))
    assert (months[-1].all.cents, months[-1].all.fees, months[-1].all.left) == (3000, 500, 1800)
    refused = await mark(alice, listing)
    assert refused.status_code == 409
    assert refused.json()["message"] == "It is sold already: none is left."
    (event,) = await site.rows("SELECT user_id, data FROM events WHERE type = 'sale.marked'")
    assert (event["user_id"], event["data"]["left"]) == (alice.user_id, 0)
    assert (await bob.get("/api/sales")).json()["sales"] == []


async def test_the_day_is_the_sellers_own_and_none_after_it_is_taken(site, alice, bob):
    """Twenty-six hours apart: one of the two is never on the day of UTC."""
    for seller, zone in ((alice, "Etc/GMT+12"), (bob, "Pacific/Kiritimati")):
        await site.rows(
            "UPDATE users SET time_zone = :zone WHERE id = :id RETURNING 1", zone=zone, id=seller.user_id
        )  # fmt: skip
        listing = await seller.listing(quantity=2)
        today = datetime.now(ZoneInfo(zone)).date()
        late = await mark(seller, listing, soldOn=f"{today + timedelta(days=1)}")
        assert (late.status_code, late.json()["message"]) == (
            400,
            "That is no day on which it can have sold.",
        )
        for said in ({}, {"soldOn": f"{today}"}):
            sale = (await mark(seller, listing, **said)).json()
            assert (sale["soldAt"][:10], sale["soldAtExact"]) == (f"{today}", False)
        assert len((await seller.get("/api/sales")).json()["sales"]) == 2


@pytest.mark.longer
async def test_what_is_taken_back_is_for_sale_again_and_posted_where_it_went_because_of_it(site, alice, bob):
    listing, _ = await live_listing(site, alice, "poshmark", "mercari")
    sale = (await mark(alice, listing)).json()["saleId"]
    await site.rows(
        "UPDATE publications SET put = 'ended', state = 'ended' WHERE marketplace = 'mercari'"
    )  # gone there meanwhile
    assert (await bob.client.post(f"/api/sales/{sale}/take-back")).status_code == 404
    assert await left(site, listing) == 0
    back = await alice.client.post(f"/api/sales/{sale}/take-back")
    assert back.status_code == 200, back.text
    assert back.json()["cancelledAt"] is not None
    assert await left(site, listing) == 1
    stands = await standing(site, listing)
    assert stands["mercari"] == ("live", "waiting")
    assert stands["poshmark"][0] == "live"
    assert (await alice.client.post(f"/api/sales/{sale}/take-back")).status_code == 409
    assert await left(site, listing) == 1
    async with site.database.as_user(alice.user_id) as session:
        assert not any(month.all.number for month in await takings.months_of(session, datetime.now(UTC)))


async def test_one_of_several_leaves_the_others_and_the_same_key_is_one_sale(site, alice):
    policies = {"paymentPolicy": "P", "returnPolicy": "R", "shippingPolicy": "S"}
    listing, _ = await live_listing(site, alice, "ebay", quantity=3, overrides={"ebay": policies})
    body = {"listingId": listing, "quantity": 2}
    made = [
        await alice.client.post("/api/sales", json=body, headers={"Idempotency-Key": "stall 1"})
        for _ in range(2)
    ]
    assert {one.json()["saleId"] for one in made} == {made[0].json()["saleId"]}
    assert await left(site, listing) == 1
    assert await standing(site, listing) == {"ebay": ("live", "live")}
    (row,) = await site.rows("SELECT lower_asked_at FROM publications")
    assert row["lower_asked_at"] is not None  # fewer can be bought there as soon as may be
    refused = await alice.client.post("/api/sales", json=body)
    assert (refused.status_code, refused.json()["message"]) == (409, "Only 1 of it are left.")


@pytest.mark.longer
async def test_an_order_that_comes_in_late_loses_to_what_was_handed_over(site, alice, bob):
    listing, profiles = await live_listing(site, alice, "poshmark", "mercari")
    await mark(alice, listing)
    (row,) = await site.rows(
        "SELECT c.id, p.remote_id FROM connections c JOIN publications p ON p.connection_id = c.id "
        "WHERE c.public_id = :profile",
        profile=profiles["poshmark"],
    )
    earlier = datetime.now(UTC) - timedelta(days=5)
    order = [Sale("o1", row["remote_id"], "A shirt", Money(amount=2500), sold_at=earlier, exact=True)]
    async with site.database.as_user(alice.user_id) as session:
        await sales.take(session, await session.get_one(Connection, row["id"]), order)
    (double,) = (await alice.get("/api/sales/doubles")).json()["doubleSales"]
    assert (double["earlier"]["place"], double["earlier"]["marketplace"]) == ("The flea market", None)
    assert double["later"]["orderId"] == "o1"
    assert (await bob.get("/api/sales/doubles")).json()["doubleSales"] == []
    sale = (await alice.get("/api/sales")).json()["sales"][1]
    assert sale["toldBy"] == "seller"
    assert (await alice.client.post(f"/api/sales/{sale['saleId']}/take-back")).status_code == 200
    (double,) = (await alice.get("/api/sales/doubles")).json()["doubleSales"]
    assert double["settledAt"] is not None  # the order has it now
    assert await left(site, listing) == 0


async def test_an_order_of_a_marketplace_is_not_taken_back_here(site, alice):
    await live_listing(site, alice, "poshmark")
    (row,) = await site.rows("SELECT c.id, p.remote_id FROM connections c JOIN publications p ON true")
    async with site.database.as_user(alice.user_id) as session:
        order = [Sale("o1", row["remote_id"], "A shirt", Money(amount=2500))]
        await sales.take(session, await session.get_one(Connection, row["id"]), order)
    (sale,) = (await alice.get("/api/sales")).json()["sales"]
    refused = await alice.client.post(f"/api/sales/{sale['saleId']}/take-back")
    assert (refused.status_code, refused.json()["message"]) == (409, "That is an order of a marketplace.")


WRONG = [
    {"soldOn": "2999-01-01"},
    {"soldOn": "soon"},
    {"quantity": 0},
    {"price": {"amount": 0}},
    {"fees": {"amount": -1}},
    {"place": "x" * 101},
    {"place": "two\nlines"},
]


async def test_what_cannot_be_is_refused_in_words(site, alice, subtests):
    listing = await alice.listing()
    for wrong in WRONG:
        with subtests.test(str(wrong)[:60]):
            refused = await mark(alice, listing, **wrong)
            assert refused.status_code in (400, 422), refused.text
            assert refused.json()["message"]
            assert await site.rows("SELECT 1 FROM sales") == []
