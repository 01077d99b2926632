"""A listing that was deleted comes back as it was, for a time; to its own seller."""

from __future__ import annotations

import asyncio
from uuid import UUID

from everystall.inventory.listings import forget_listing_if_over
from tests.bringing import bring_in

FALLS = {"cents": 100, "everyDays": 30, "floor": {"amount": 1000}}


async def _deleted(seller):
    return (await seller.get("/api/deleted-listings")).json()["listings"]


async def test_a_deleted_listing_comes_back_as_it_was_and_is_nobody_elses(site, alice, bob):
    profile = await alice.connect("poshmark")
    listing = await alice.listing(photos=2, labels=["gift"], location="A 1", cost={"amount": 500}, quantity=3)
    assert (await alice.client.put(f"/api/listings/{listing}/price-drops", json=FALLS)).status_code == 200
    await site.rows(
        "INSERT INTO sales (user_id, connection_id, order_id, listing_id, title, quantity) SELECT user_id, "
        "id, 'o', CAST(:l AS uuid), 't', 1 FROM connections WHERE public_id = :p RETURNING id",
        l=listing, p=profile,
    )  # fmt: skip
    await site.rows("UPDATE listings SET quantity_sold = 1, delete_asked_at = NULL RETURNING id")
    before = (await alice.get(f"/api/listings/{listing}")).json()
    falls = (await alice.get(f"/api/listings/{listing}/price-drops")).json()
    assert (await alice.client.delete(f"/api/listings/{listing}")).json()["deleted"]
    assert (await alice.get(f"/api/listings/{listing}")).status_code == 404
    assert (await alice.get("/api/listings")).json()["listings"] == []
    assert "gift" not in (await alice.get("/api/export/listings.csv")).text
    (found,) = await _deleted(alice)
    assert (found["listingId"], found["title"], found["price"]["amount"]) == (
        listing, before["title"], before["price"]["amount"],
    )  # fmt: skip
    assert await _deleted(bob) == []
    path = f"/api/deleted-listings/{listing}/restore"
    assert (await bob.post(path)).status_code == 404

    restored = await alice.post(path)
    assert (restored.status_code, restored.json()) == (200, before)
    for one in before["photos"]:
        assert (await alice.get(one["url"])).status_code == 200
    assert (await alice.get(f"/api/listings/{listing}/price-drops")).json() == falls
    assert [str(row["listing_id"]) for row in await site.rows("SELECT listing_id FROM sales")] == [listing]
    assert await _deleted(alice) == []
    assert (await alice.post(path)).status_code == 404


async def test_what_was_taken_back_meanwhile_is_for_sale_again(site, alice, bob):
    ids = {}
    for seller in (alice, bob):
        ids[seller.user_id] = await seller.listing(quantity=3)
        for quantity in (1, 2):
            body = {"listingId": ids[seller.user_id], "quantity": quantity}
            sale = (await seller.client.post("/api/sales", json=body)).json()["saleId"]
            if quantity == 1 and seller is alice:  # counted as taken back already
                assert (await seller.post(f"/api/sales/{sale}/take-back")).status_code == 200
        assert (await seller.client.delete(f"/api/listings/{ids[seller.user_id]}")).json()["deleted"]
        if seller is alice:
            assert (await seller.post(f"/api/sales/{sale}/take-back")).status_code == 200
    for seller, sold in ((alice, 0), (bob, 3)):
        path = f"/api/deleted-listings/{ids[seller.user_id]}/restore"
        assert (await seller.post(path)).json()["quantitySold"] == sold


async def test_what_was_taken_down_to_be_deleted_is_restored_too_and_is_not_deleted_again(site, alice, bob):
    await bob.listing()
    await alice.connect("mercari")
    listing = await alice.listing()
    await alice.publish(listing, "mercari")
    await site.rows("UPDATE listings SET delete_asked_at = now() WHERE id = CAST(:id AS uuid)", id=listing)
    assert (await alice.client.delete(f"/api/listings/{listing}")).json()["deleted"]
    back = (await alice.post(f"/api/deleted-listings/{listing}/restore")).json()
    assert (back["deleteAskedAt"], back["publications"]) == (None, [])
    (job,) = await site.rows("SELECT listing_id FROM jobs")
    assert str(job["listing_id"]) == listing
    # by a visit, once nothing of it is live
    await site.rows("UPDATE listings SET delete_asked_at = now() WHERE id = CAST(:id AS uuid)", id=listing)
    async with site.database.as_user(alice.user_id) as session:
        await forget_listing_if_over(session, UUID(listing))
    assert [one["listingId"] for one in await _deleted(alice)] == [listing]
    assert await _deleted(bob) == []


async def test_what_a_file_brought_in_anew_meanwhile_stays_and_the_deleted_one_comes_beside_it(
    site, alice, bob
):
    file = b"listing_id,title,sku,condition\r\n,A hat,H-1,good\r\n"

    async def bring():
        await alice.client.post("/api/imports", files={"file": ("f.csv", file, "text/csv")})
        await bring_in(site.database, asyncio.Event())
        return {one["listingId"] for one in (await alice.get("/api/listings")).json()["listings"]}

    (first,) = await bring()
    await alice.client.delete(f"/api/listings/{first}")
    await site.rows("DELETE FROM imports")
    (second,) = await bring()
    assert second != first
    restored = await alice.post(f"/api/deleted-listings/{first}/restore")
    assert restored.status_code == 200, restored.text
    assert await bring() == {first, second}
    assert (await bob.get("/api/listings")).json()["listings"] == []


async def test_page_behind_page_names_each_deleted_one_once(site, alice, monkeypatch):
    monkeypatch.setattr("everystall.inventory.deleted.deleted_of.__defaults__", (None, 2))
    ids = [await alice.listing(photos=0, title=f"Hat {number}") for number in range(5)]
    for id in ids:
        await alice.client.delete(f"/api/listings/{id}")
    seen, cursor = [], ""
    while cursor is not None:
        page = (await alice.get(f"/api/deleted-listings{cursor and '?cursor=' + cursor}")).json()
        seen += [one["listingId"] for one in page["listings"]]
        cursor = page["nextCursor"]
    assert seen == ids[::-1]


async def test_after_thirty_days_none_is_restored(site, alice):
    listing = await alice.listing()
    await alice.client.delete(f"/api/listings/{listing}")
    await site.rows("UPDATE deleted_listings SET deleted_at = now() - interval '30 days 1 minute'")
    assert await _deleted(alice) == []
    assert (await alice.post(f"/api/deleted-listings/{listing}/restore")).status_code == 404
