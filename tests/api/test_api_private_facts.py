"""Where a thing lies, what it cost, labels: for the seller alone, and going with them wherever they go."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from everystall.inventory.listings import copy_of, find_listing
from tests.api.conftest import Seller, Site, live_listing
from tests.bringing import bring_in

OWN = {"location": "Shelf B 4", "cost": {"amount": 450, "currency": "USD"}, "labels": ["denim", "to mend"]}


async def told(seller: Seller, listing: str) -> dict[str, Any]:
    answer = (await seller.get(f"/api/listings/{listing}")).json()
    return {name: answer[name] for name in OWN}


@pytest.mark.longer
async def test_they_are_kept_and_an_edit_of_them_is_none_where_it_is_live(site: Site, alice: Seller):
    listing, _ = await live_listing(site, alice, "mercari")
    before = (await alice.get(f"/api/listings/{listing}")).json()
    answer = await alice.client.patch(f"/api/listings/{listing}", json=OWN)
    assert answer.status_code == 200, answer.text
    assert await told(alice, listing) == OWN
    after = answer.json()
    assert after["revision"] == before["revision"]
    assert after["publications"] == before["publications"]
    assert after["updatedAt"] > before["updatedAt"]
    assert await site.wakes() == []
    with_a_price = {"labels": [], "cost": None, "price": {"amount": 9900}}
    again = await alice.client.patch(f"/api/listings/{listing}", json=with_a_price)
    assert again.json()["revision"] == before["revision"] + 1
    assert (again.json()["labels"], again.json()["cost"], again.json()["location"]) == ([], None, "Shelf B 4")
    assert len(await site.wakes()) == 1


async def test_what_was_a_gift_cost_nothing_and_a_copy_has_the_same(site: Site, alice: Seller):
    listing = await alice.listing(**{**OWN, "cost": {"amount": 0}, "labels": ["a", "b", "a"]})
    assert (await told(alice, listing))["cost"] == {"amount": 0, "currency": "USD"}
    assert (await told(alice, listing))["labels"] == ["a", "b"]
    async with site.database.as_user(alice.user_id) as session:
        copy = await copy_of(session, await find_listing(session, UUID(listing)))
        assert (copy.location, copy.cost_cents, copy.labels) == ("Shelf B 4", 0, ["a", "b"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cost": {"amount": -1}}, "cost.amount"),
        ({"cost": {"amount": 1.5}}, "cost.amount"),
        ({"labels": [""]}, "labels.0"),
        ({"labels": ["x" * 41]}, "labels.0"),
        ({"labels": [f"l{number}" for number in range(13)]}, "labels"),
        ({"location": "x" * 101}, "location"),
    ],
)
async def test_what_is_none_is_named(alice: Seller, body: dict[str, Any], field: str):
    answer = await alice.post("/api/listings", body)
    assert answer.status_code == 422
    assert any(field in one["field"] for one in answer.json()["fields"])


async def test_they_leave_and_come_back_with_the_csv_and_the_archive(site: Site, alice: Seller, bob: Seller):
    listing = await alice.listing(**OWN)
    gift = await alice.listing(title="A gift", sku="G-1", cost={"amount": 0}, photos=0)
    file = (await alice.get("/api/export/listings.csv")).content
    answer = await bob.client.post("/api/imports", files={"file": ("mine.csv", file, "text/csv")})
    assert answer.status_code == 202, answer.text
    await bring_in(site.database, asyncio.Event())
    found = {one["title"]: one for one in (await bob.get("/api/listings")).json()["listings"]}
    (first, second) = found.pop("A gift"), next(iter(found.values()))
    assert first["cost"] == {"amount": 0, "currency": "USD"}
    assert {name: second[name] for name in OWN} == OWN
    # a file that was edited changes them, and nobody has to go for it
    before = (await alice.get(f"/api/listings/{listing}")).json()["revision"]
    edited = file.replace(b'"Shelf B 4"', b'"Shelf C"').replace(b'"4.50"', b'""')
    await alice.client.post("/api/imports", files={"file": ("mine.csv", edited, "text/csv")})
    await bring_in(site.database, asyncio.Event())
    after = (await alice.get(f"/api/listings/{listing}")).json()
    assert (after["location"], after["cost"], after["labels"]) == ("Shelf C", None, OWN["labels"])
    assert after["revision"] == before
    assert (await told(alice, gift))["cost"] == {"amount": 0, "currency": "USD"}
    archive = (await alice.get("/api/export")).content
    carol = await site.seller("carol")
    files = {"file": ("mine.zip", archive, "application/zip")}
    assert (await carol.client.post("/api/imports/archive", files=files)).status_code == 202
    await bring_in(site.database, asyncio.Event())
    brought = {one["title"]: one for one in (await carol.get("/api/listings")).json()["listings"]}
    assert brought[after["title"]]["labels"] == OWN["labels"]
    assert brought[after["title"]]["location"] == "Shelf C"


async def test_bob_changes_none_of_alices(site: Site, alice: Seller, bob: Seller):
    listing = await alice.listing(**OWN)
    assert (await bob.client.patch(f"/api/listings/{listing}", json={"location": "mine"})).status_code == 404
    assert await told(alice, listing) == OWN
