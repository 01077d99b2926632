"""What sold where, over the API; Bob's reach ends at his own."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, datetime

import pytest
from sqlalchemy import event

from everystall.inventory import cancelled_sales, sales, takings
from everystall.inventory.blindness import look_after
from everystall.inventory.connections import get_connection
from everystall.marketplaces.base import Money, Sale
from everystall.models import Connection
from tests.api.conftest import live_listing, signed_in_as


async def sell(site, seller, listing, profile, order_id, **more):
    """A visit sees an order of this listing."""
    (row,) = await site.rows(
        "SELECT c.id, p.remote_id FROM connections c JOIN publications p ON p.connection_id = c.id "
        "WHERE c.public_id = :profile AND p.listing_id = CAST(:listing AS uuid)",
        profile=profile, listing=listing,
    )  # fmt: skip
    order = [Sale(order_id, row["remote_id"], "A shirt", Money(amount=2500), **more)]
    async with site.database.as_user(seller.user_id) as session:
        await sales.take(session, await session.get_one(Connection, row["id"]), order)


async def test_a_sale_says_where_and_what_was_taken_down_because_of_it(site, alice, bob):
    listing, profiles = await live_listing(site, alice, "poshmark", "mercari")
    await sell(site, alice, listing, profiles["poshmark"], "o1")
    (sale,) = (await alice.get("/api/sales")).json()["sales"]
    assert (sale["orderId"], sale["listingId"], sale["browserProfileId"], sale["price"]["amount"]) == (
        "o1", listing, profiles["poshmark"], 2500,
    )  # fmt: skip
    (down,) = sale["takeDowns"]
    assert (down["marketplace"], down["browserProfileId"]) == ("mercari", profiles["mercari"])
    assert (down["startedAt"], down["goneAt"]) == (None, None)
    await site.rows("UPDATE take_downs SET started_at = now(), gone_at = now()")
    (sale,) = (await alice.get("/api/sales", params={"listingId": listing})).json()["sales"]
    assert sale["observedAt"] <= sale["takeDowns"][0]["askedAt"] <= sale["takeDowns"][0]["startedAt"]
    assert sale["takeDowns"][0]["goneAt"] is not None
    other = await alice.listing()
    assert (await alice.get("/api/sales", params={"listingId": other})).json()["sales"] == []
    assert (await bob.get("/api/sales")).json() == {"sales": [], "nextCursor": None}
    assert (await bob.get("/api/sales", params={"listingId": listing})).json()["sales"] == []


@pytest.mark.parametrize("where", ["everywhere", "there"])
async def test_what_is_to_be_made_fewer_when_taking_down_is_paused_waits_and_says_so(site, alice, bob, where):
    policies = {"paymentPolicy": "P", "returnPolicy": "R", "shippingPolicy": "S"}
    listing, profiles = await live_listing(
        site, alice, "ebay", "poshmark", quantity=3, overrides={"ebay": policies}
    )
    await sell(site, alice, listing, profiles["poshmark"], "o1")
    await bob.post("/api/pause?delists=true")

    async def asked():
        shown = (await alice.get(f"/api/listings/{listing}/publications")).json()
        return {one["marketplace"]: one["needsYou"] for one in shown}["ebay"]

    assert await asked() is None
    path = "/api" if where == "everywhere" else f"/api/connections/{profiles['ebay']}"
    await alice.post(f"{path}/pause?delists=true")
    said = await asked()
    assert said["reason"] == "paused"
    assert (
        "stays on eBay as it is until you go on, or until you make it fewer there yourself" in said["message"]
    )
    told = await site.rows("SELECT user_id FROM events WHERE data -> 'needsYou' ->> 'reason' = 'paused'")
    assert {row["user_id"] for row in told} == {alice.user_id}
    await alice.post(f"{path}/resume")
    assert await asked() is None


async def _kept(seller):
    """Of its one sale: category and cents of cost; and fee, cost and left in the file."""
    (sale,) = (await seller.get("/api/sales")).json()["sales"]
    text = (await seller.get("/api/export/sales.csv")).text.lstrip("\ufeff")
    (row,) = csv.DictReader(io.StringIO(text))
    cost = sale["cost"]["amount"] if sale["cost"] else None
    return (sale["category"], cost), (row["fee"], row["cost"], row["left"])


async def test_what_is_left_of_a_sale_stays_when_its_listing_is_changed_and_deleted(site, alice, bob):
    policies = {"paymentPolicy": "P", "returnPolicy": "R", "shippingPolicy": "S"}
    listing, profiles = await live_listing(
        site, alice, "ebay", quantity=2, cost={"amount": 450}, overrides={"ebay": policies}
    )
    await sell(site, alice, listing, profiles["ebay"], "o1", quantity=2)
    before = await _kept(alice)
    assert before[0] == ("men.shirts.casual", 450)
    assert before[1][1] == "9.00"  # of both
    other = {"cost": {"amount": 2000}, "category": "books.fiction"}
    assert (await alice.client.patch(f"/api/listings/{listing}", json=other)).status_code == 200
    assert await _kept(alice) == before
    await site.rows("UPDATE publications SET put = 'ended', state = 'ended', wanted = 'ended'")
    assert (await alice.client.delete(f"/api/listings/{listing}")).json()["deleted"]
    assert await _kept(alice) == before
    async with site.database.as_user(alice.user_id) as session:
        months = await takings.months_of(session, datetime.now(UTC))
        assert (months[-1].all.cost, months[-1].all.costless) == (900, 0)
    async with site.database.as_user(bob.user_id) as session:
        assert not any(one.sums for one in await takings.months_of(session, datetime.now(UTC)))
    assert (await bob.get("/api/sales")).json()["sales"] == []


async def test_a_sale_without_a_cost_takes_the_first_that_its_listing_says(site, alice, bob):
    listing, profiles = await live_listing(site, alice, "poshmark")
    await sell(site, alice, listing, profiles["poshmark"], "o1")
    theirs, their_profiles = await live_listing(site, bob, "poshmark")
    await sell(site, bob, theirs, their_profiles["poshmark"], "o1")
    assert (await _kept(alice))[1][1:] == ("", "")  # what is left is not known
    for cents in (700, 900):
        body = {"cost": {"amount": cents}}
        assert (await alice.client.patch(f"/api/listings/{listing}", json=body)).status_code == 200
        assert (await _kept(alice))[0] == ("men.shirts.casual", 700)
    assert (await bob.client.patch(f"/api/listings/{listing}", json={"cost": None})).status_code == 404
    assert (await _kept(bob))[0] == ("men.shirts.casual", None)


async def test_sales_come_page_by_page(site, alice):
    listing, profiles = await live_listing(site, alice, "poshmark", quantity=9)
    for number in range(5):
        await sell(site, alice, listing, profiles["poshmark"], f"o{number}")
    seen, cursor = [], None
    for _ in range(3):
        asked = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await alice.get("/api/sales", params=asked)).json()
        seen += [sale["orderId"] for sale in page["sales"]]
        cursor = page["nextCursor"]
    assert seen == ["o4", "o3", "o2", "o1", "o0"]
    assert cursor is None


@pytest.mark.parametrize("query", [{"cursor": "x"}, {"limit": 0}, {"limit": 201}, {"listingId": "nobody"}])
async def test_what_is_no_question_is_refused(alice, query):
    assert (await alice.get("/api/sales", params=query)).status_code in (400, 404, 422)


async def test_a_double_sale_has_both_orders_the_deadline_and_a_text(site, alice, bob):
    listing, profiles = await live_listing(site, alice, "poshmark", "mercari")
    await sell(site, alice, listing, profiles["poshmark"], "o1")
    await sell(site, alice, listing, profiles["mercari"], "o2")
    (double,) = (await alice.get("/api/sales/doubles")).json()["doubleSales"]
    assert (double["earlier"]["orderId"], double["later"]["orderId"]) == ("o1", "o2")
    assert (double["listingId"], double["settledAt"]) == (listing, None)
    assert double["deadline"]["by"] > double["detectedAt"]
    assert double["letterToBuyer"]
    (asked,) = [
        one["needsYou"]
        for one in (await alice.get(f"/api/listings/{listing}/publications")).json()
        if one["needsYou"]
    ]
    assert (asked["reason"], asked["letterToBuyer"]) == ("sold_twice", double["letterToBuyer"])
    assert asked["deadline"]["by"] == double["deadline"]["by"]
    assert (await bob.get("/api/sales/doubles")).json()["doubleSales"] == []


async def test_many_double_sales_take_as_many_queries_as_one(site, alice):
    listing, profiles = await live_listing(site, alice, "poshmark", "mercari")
    asked: list[str] = []
    event.listen(
        site.database.engine.sync_engine, "before_cursor_execute", lambda *args: asked.append(args[2])
    )
    counted = []
    for number in range(0, 4, 2):
        await sell(site, alice, listing, profiles["poshmark"], f"o{number}")
        await sell(site, alice, listing, profiles["mercari"], f"o{number + 1}")
        asked.clear()
        doubles = (await alice.get("/api/sales/doubles")).json()["doubleSales"]
        # but for the installation's settings, which are looked after every two seconds
        counted.append((len(doubles), sum("chosen_settings" not in one for one in asked)))
    (few, queries), (many, again) = counted
    assert few < many
    assert queries == again


async def test_the_rules_are_the_sellers_own_and_changed_one_by_one(alice, bob):
    assert (await alice.get("/api/sales/rules")).json()["putBack"] == "ask"
    assert (await alice.client.patch("/api/sales/rules", json={})).json()["putBack"] == "ask"
    changed = await alice.client.patch("/api/sales/rules", json={"putBack": "always"})
    assert changed.json()["putBack"] == "always"
    assert (await alice.get("/api/sales/rules")).json() == changed.json()
    assert (await bob.get("/api/sales/rules")).json()["putBack"] == "ask"
    assert (await alice.client.patch("/api/sales/rules", json={"putBack": "perhaps"})).status_code == 422


async def test_the_button_puts_a_cancelled_order_back(site, alice, bob):
    listing, profiles = await live_listing(site, alice, "poshmark", "mercari")
    await sell(site, alice, listing, profiles["poshmark"], "o1")
    async with site.database.as_user(alice.user_id) as session:
        account = await get_connection(session, profiles["poshmark"])
        await cancelled_sales.take_cancelled(session, account, "o1")
    shown = {
        one["marketplace"]: one for one in (await alice.get(f"/api/listings/{listing}/publications")).json()
    }
    button = shown["poshmark"]["needsYou"]["actions"][0]
    assert (button["name"], button["label"]) == ("put_back", "Put it back")
    assert (await bob.post(button["href"])).status_code == 404
    assert (await alice.post(button["href"])).json()["needsYou"] is None
    assert (await alice.post(button["href"])).status_code == 400
    after = (await alice.get(f"/api/listings/{listing}")).json()
    assert {one["marketplace"]: one["wanted"] for one in after["publications"]} == {
        "poshmark": "ended", "mercari": "live",
    }  # fmt: skip
    (sale,) = (await alice.get("/api/sales")).json()["sales"]
    assert sale["cancelledAt"] is not None


async def test_a_blind_accounts_listings_say_so(site, alice):
    listing, profiles = await live_listing(site, alice, "poshmark", "mercari")
    asked = '{"reason": "challenge", "message": "It shows a captcha.", "url": null, "actions": []}'
    await site.rows(
        "UPDATE connections SET needs_you = CAST(:asked AS jsonb) WHERE public_id = :id",
        asked=asked, id=profiles["mercari"],
    )  # fmt: skip
    await look_after(site.database)
    listed = (await alice.get(f"/api/listings/{listing}")).json()["publications"]
    blind = {one["marketplace"]: one["blind"] for one in listed}
    assert blind["poshmark"] is None
    assert blind["mercari"]["reason"] == "challenge"
    assert blind["mercari"]["since"] is not None
    account = (await alice.get(f"/api/connections/{profiles['mercari']}")).json()
    assert account["blind"] == blind["mercari"]


async def test_the_last_units_place_is_an_account_of_the_sellers_own(site, alice, bob):
    listing, profiles = await live_listing(site, alice, "poshmark", "mercari")
    rules = "/api/sales/rules"
    assert (await bob.client.patch(rules, json={"lastUnitOn": profiles["mercari"]})).status_code == 404
    await site.rows("UPDATE listings SET quantity = 4, quantity_sold = 3")
    body = {"lastUnitOn": profiles["mercari"], "blind": "end_elsewhere", "blindMinutes": 5}
    assert (await alice.client.patch(rules, json=body)).json() == {"putBack": "ask", **body}
    shown = (await alice.get(f"/api/listings/{listing}")).json()["publications"]
    assert {one["marketplace"]: one["wanted"] for one in shown} == {"poshmark": "ended", "mercari": "live"}
    assert (await alice.client.patch(rules, json={"lastUnitOn": None})).json()["lastUnitOn"] is None


async def test_the_sellers_night_is_where_the_browser_was_last(alice, bob):
    assert (await alice.get("/api/account")).json()["timeZone"] is None
    for zone in ("America/Chicago", "Asia/Tokyo", None, "Etc/Nowhere"):
        answer = await alice.sync("mercari", signed_in_as("mercari", "alice"), timeZone=zone)
        assert answer.status_code == 200, answer.text
    assert (await alice.get("/api/account")).json()["timeZone"] == "Asia/Tokyo"
    assert (await bob.get("/api/account")).json()["timeZone"] is None


async def test_what_was_ended_for_a_blind_account_is_the_sellers_own_once_it_is_posted_again(site, alice):
    listing, profiles = await live_listing(site, alice, "poshmark", "mercari")
    await site.rows(
        "INSERT INTO blind_ends (user_id, publication_id, connection_id) SELECT p.user_id, p.id, c.id "
        "FROM publications p, connections c WHERE p.marketplace = 'mercari' AND c.marketplace = 'poshmark'"
    )
    await sell(site, alice, listing, profiles["poshmark"], "o1")
    await site.rows("UPDATE listings SET quantity = 2")
    assert (await alice.publish(listing, "mercari")).status_code == 200
    assert await site.rows("SELECT 1 AS one FROM blind_ends") == []
    assert await site.rows("SELECT 1 AS one FROM take_downs") == []  # it was not gone


async def test_what_was_taken_down_because_of_a_sale_is_the_sellers_own_once_it_is_posted_again(site, alice):
    listing, profiles = await live_listing(site, alice, "poshmark", "mercari")
    await sell(site, alice, listing, profiles["poshmark"], "o1")
    await site.rows("UPDATE take_downs SET gone_at = now()")
    await site.rows("UPDATE listings SET quantity = 2")
    assert (await alice.publish(listing, "mercari")).status_code == 200
    (down,) = await site.rows("SELECT settled_at FROM take_downs")
    assert down["settled_at"] is not None


async def test_a_post_that_crosses_the_sale_of_the_last_one_is_refused_and_what_was_to_go_goes(
    site, alice, bob
):
    listing, _ = await live_listing(site, alice, "poshmark", "mercari")
    (row,) = await site.rows(
        "SELECT connection_id, remote_id FROM publications WHERE marketplace = 'poshmark'"
    )
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with site.database.as_user(alice.user_id) as session:
        account = await session.get_one(Connection, row["connection_id"])
        await sales.take(session, account, [Sale("o1", row["remote_id"], "A shirt", Money(amount=2500))])
        posting = asyncio.create_task(alice.publish(listing, "poshmark", "mercari"))
        while not await site.rows(waiting):
            await asyncio.sleep(0.02)
    answer = await posting
    assert (answer.status_code, answer.json()["error"]) == (422, "listing_incomplete"), answer.text
    assert {problem["code"] for problem in answer.json()["problems"]} == {"too_low"}
    stands = await site.rows("SELECT marketplace, wanted, put, state FROM publications ORDER BY marketplace")
    assert [tuple(one.values()) for one in stands] == [
        ("mercari", "ended", "live", "ending"), ("poshmark", "ended", "live", "ending")
    ]  # fmt: skip
    (down,) = await site.rows("SELECT marketplace, gone_at, settled_at FROM take_downs")
    assert tuple(down.values()) == ("mercari", None, None)
    assert (await bob.publish(listing, "mercari")).status_code == 404
