"""It sells once: what sold on one marketplace goes on the others, and nothing else does. The judge is the
marketplaces' own ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.journeys.conftest import ALL, SHIRT, Seller, Stall
from tests.journeys.test_decisions import _connect

pytestmark = [pytest.mark.journey, pytest.mark.browser]


async def _live(
    stall: Stall, seller: Seller, marketplaces: tuple[str, ...] = ALL, **fields: Any
) -> tuple[str, dict[str, str]]:
    """(the listing, marketplace → profile) of what is live on all of these."""
    profiles = {name: await _profile(stall, seller, name) for name in marketplaces}
    listing = await stall.listing(seller, **fields)
    job = await stall.post(seller, listing, marketplaces)
    job = await stall.until_done(seller, job["jobId"], *profiles.values(), seconds=60)
    assert job["status"] == "done", job
    return listing, profiles


async def _profile(stall: Stall, seller: Seller, marketplace: str) -> str:
    found = await stall.rows(
        "SELECT public_id FROM connections WHERE user_id = :user AND marketplace = :name",
        user=seller.user_id, name=marketplace,
    )  # fmt: skip
    return str(found[0]["public_id"]) if found else await _connect(stall, seller, marketplace)


async def _check(stall: Stall, *profiles: str) -> None:
    """The time for a check of these has come."""
    for profile in profiles:
        await stall.rows(
            "UPDATE connections SET next_check_at = now() WHERE public_id = :id RETURNING id", id=profile
        )
    await stall.visit(*profiles)


def _of(stall: Stall, marketplace: str, seller: Seller, **fields: Any) -> dict[str, Any]:
    """The only such listing of the seller's there."""
    title = fields.get("title", SHIRT["title"])
    (item,) = [one for one in stall.ledger(marketplace, seller.name) if one["fields"]["title"] == title]
    return item


async def _waiting(stall: Stall, lane: str) -> set[str]:
    rows = await stall.rows(
        "SELECT c.public_id FROM procrastinate.procrastinate_jobs j "
        "JOIN connections c ON j.lock = 'connection:' || c.id "
        "WHERE j.status = 'todo' AND j.queue_name = :lane",
        lane=lane,
    )
    return {str(row["public_id"]) for row in rows}


def _zone_at(hour: int) -> str:
    """Where it is this hour of the day now."""
    ahead = (hour - datetime.now(UTC).hour + 11) % 24 - 11
    return f"Etc/GMT{-ahead:+d}"


async def _seconds_to_check(stall: Stall, profile: str) -> float:
    (row,) = await stall.rows(
        "SELECT extract(epoch FROM next_check_at - now())::float AS s FROM connections WHERE public_id = :id",
        id=profile,
    )
    return float(row["s"])


@pytest.mark.longer
@pytest.mark.parametrize(
    "sold_on", ["mercari", *(pytest.param(name, marks=pytest.mark.extended) for name in ("poshmark", "ebay"))]
)
async def test_sold_on_one_it_goes_on_the_others_and_nothing_else_is_touched(
    stall: Stall, alice: Seller, bob: Seller, sold_on: str
):
    _, profiles = await _live(stall, alice)
    await _live(stall, alice, (sold_on,), title="Another shirt, still for sale")
    _, his = await _live(stall, bob, (sold_on,))
    bought = _of(stall, sold_on, alice)
    stall.sandbox.buy(sold_on, listing_id=bought["listing_id"])
    before = {name: len(stall.sandbox.ledger(name)["entries"]) for name in ALL}
    await _check(stall, profiles[sold_on], his[sold_on])

    others = [name for name in ALL if name != sold_on]
    assert await _waiting(stall, "urgent") == {profiles[name] for name in others}
    (sale,) = await stall.rows("SELECT * FROM sales")
    assert (sale["remote_id"], sale["quantity"]) == (bought["listing_id"], 1)
    assert await stall.rows("SELECT quantity_sold FROM listings ORDER BY quantity_sold DESC LIMIT 2") == [
        {"quantity_sold": 1},
        {"quantity_sold": 0},
    ]
    await stall.visit(*(profiles[name] for name in others), lane="urgent")
    assert _of(stall, sold_on, alice)["state"] == "sold"
    for name in others:
        assert _of(stall, name, alice)["state"] == "ended"
        since = stall.sandbox.ledger(name)["entries"][before[name] :]
        assert [entry["event"] for entry in since] == ["ended"]
    assert stall.sandbox.ledger(sold_on)["entries"][before[sold_on] :] == []
    assert _of(stall, sold_on, alice, title="Another shirt, still for sale")["state"] == "live"
    assert _of(stall, sold_on, bob)["state"] == "live"

    times = await stall.rows(
        "SELECT t.marketplace, s.observed_at <= t.asked_at AND t.asked_at <= t.started_at "
        "AND t.started_at <= t.gone_at AS in_order FROM take_downs t JOIN sales s ON s.id = t.sale_id"
    )
    assert {row["marketplace"] for row in times} == set(others)
    assert all(row["in_order"] for row in times)
    (event,) = await stall.rows("SELECT data FROM events WHERE type = 'sale.detected'")
    assert (event["data"]["orderId"], event["data"]["left"]) == (sale["order_id"], 0)
    states = await stall.rows(
        "SELECT p.marketplace, p.state, p.wanted FROM publications p JOIN listings l ON l.id = p.listing_id "
        "WHERE l.quantity_sold = 1"
    )
    assert {row["marketplace"]: (row["state"], row["wanted"]) for row in states} == {
        name: ("sold" if name == sold_on else "ended", "ended") for name in ALL
    }
    await _check(stall, *profiles.values())  # known by now: it has no second effect
    assert len(await stall.rows("SELECT 1 AS one FROM events WHERE type = 'sale.detected'")) == 1


@pytest.mark.extended
async def test_a_sale_from_before_connecting_delists_nothing(stall: Stall, alice: Seller):
    """The same thing was sold there by hand once."""
    storage = await stall.sign_in("mercari", alice.name)
    world = stall.sandbox.world
    fields = {
        "title": SHIRT["title"], "description": "By hand.", "price": SHIRT["price"], "quantity": 1,
        "category": ["Men"], "brand": None, "size": None, "condition": "Good", "options": {},
        "shipping": {"payer": "buyer"},
    }  # fmt: skip
    account = world.account("mercari", alice.name)
    old = world.publish(world.draft("mercari", account, f"m{world.new_number(11)}", fields))
    stall.sandbox.buy("mercari", listing_id=old.id)
    await stall.hand_over(alice, "mercari", storage)
    _, profiles = await _live(stall, alice, ("mercari", "poshmark"))
    await _check(stall, *profiles.values())
    await _check(stall, *profiles.values())
    assert [item["state"] for item in stall.ledger("poshmark")] == ["live"]
    assert sorted(item["state"] for item in stall.ledger("mercari")) == ["live", "sold"]
    assert await stall.rows("SELECT remote_id, listing_id FROM sales") == [
        {"remote_id": old.id, "listing_id": None}
    ]
    assert await stall.rows("SELECT 1 AS one FROM events WHERE type = 'sale.detected'") == []


@pytest.mark.extended
async def test_what_is_live_elsewhere_too_is_looked_at_soon_and_what_is_not_seldom(
    stall: Stall, alice: Seller
):
    _, profiles = await _live(stall, alice, ("mercari",))
    await _check(stall, profiles["mercari"])
    assert await _seconds_to_check(stall, profiles["mercari"]) > 800
    listing = str((await stall.rows("SELECT id FROM listings"))[0]["id"])
    profiles["poshmark"] = await stall.connect(alice, "poshmark")
    job = await stall.post(alice, listing, ["poshmark"])
    await stall.until_done(alice, job["jobId"], profiles["poshmark"])
    for profile in profiles.values():
        assert await _seconds_to_check(stall, profile) <= 75
    await _check(stall, *profiles.values())
    for profile in profiles.values():
        assert 60 < await _seconds_to_check(stall, profile) <= 75
    await stall.rows("UPDATE users SET time_zone = :zone RETURNING id", zone=_zone_at(3))
    await _check(stall, profiles["mercari"])
    assert 60 < await _seconds_to_check(stall, profiles["mercari"]) <= 75
    await alice.client.post(f"/api/listings/{listing}/publications/{profiles['poshmark']}/end")
    await stall.visit(profiles["poshmark"])
    await _check(stall, profiles["mercari"])
    assert await _seconds_to_check(stall, profiles["mercari"]) > 800


@pytest.mark.extended
async def test_a_visit_begins_with_a_look_at_what_sold(stall: Stall, alice: Seller):
    """Nobody came to check: the next post is what brings a visit there."""
    _, profiles = await _live(stall, alice, ("mercari", "poshmark"))
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    await stall.rows("UPDATE connections SET watched_at = now() - interval '1 minute' RETURNING id")
    await stall.post(alice, await stall.listing(alice, title="The next one"), ["mercari"])
    await stall.visit(profiles["mercari"])
    await stall.visit(profiles["poshmark"], lane="urgent")
    assert stall.live("poshmark") == []
    assert [item["fields"]["title"] for item in stall.live("mercari")] == ["The next one"]


@pytest.mark.longer
async def test_who_came_to_take_something_down_sees_what_sold_there_too(stall: Stall, alice: Seller):
    """Its browser is there already; nobody has to open another in a minute."""
    _, profiles = await _live(stall, alice, ("mercari", "poshmark"))
    other = await stall.listing(alice, title="The next one")
    await stall.post(alice, other, ["mercari", "poshmark"])
    await stall.visit(*profiles.values())
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    await _check(stall, profiles["mercari"])
    stall.sandbox.buy("poshmark", title="The next one")
    await stall.rows("UPDATE connections SET next_check_at = now() + interval '30 s' RETURNING id")
    await stall.visit(profiles["poshmark"], lane="urgent")
    assert stall.live("poshmark") == []
    (told,) = await stall.rows("SELECT count(*) FROM events WHERE type = 'sale.detected'")
    assert told["count"] == 2
    await stall.visit(profiles["mercari"], lane="urgent")
    assert stall.live("mercari") == []


@pytest.mark.longer
async def test_what_waits_to_be_posted_is_cancelled_and_what_is_being_filled_in_is_not_clicked(
    stall: Stall, alice: Seller
):
    listing, profiles = await _live(stall, alice, ("mercari",))
    profiles |= {name: await stall.connect(alice, name) for name in ("poshmark", "ebay")}
    stall.sandbox.fault("ebay", kind="latency", seconds=0.4, times=100)
    job = await stall.post(alice, listing, ["poshmark", "ebay"])
    filling = asyncio.create_task(stall.visit(profiles["ebay"]))
    state = "SELECT state FROM publications WHERE marketplace = 'ebay'"
    while (await stall.rows(state))[0]["state"] != "filling":
        await asyncio.sleep(0.02)
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    await _check(stall, profiles["mercari"])
    await filling
    stall.sandbox.clear_faults()
    await stall.visit(*profiles.values())
    for name in ("poshmark", "ebay"):
        assert stall.events(name, "published") == []
    assert (await stall.job(alice, job["jobId"]))["status"] == "cancelled"
    downs = await stall.rows(
        "SELECT started_at IS NULL AS never, gone_at IS NOT NULL AS gone FROM take_downs"
    )
    assert downs == [{"never": True, "gone": True}] * 2  # only so that a cancelled order can put them back


@pytest.mark.extended
async def test_what_was_armed_when_it_sold_elsewhere_is_settled_and_then_taken_down(
    stall: Stall, alice: Seller
):
    listing, profiles = await _live(stall, alice, ("mercari",))
    profiles["poshmark"] = await stall.connect(alice, "poshmark")
    stall.sandbox.fault("poshmark", kind="error_after")
    stall.sandbox.fault("poshmark", kind="index_lag", seconds=2, page_seconds=2)
    await stall.post(alice, listing, ["poshmark"])
    await stall.visit(profiles["poshmark"])
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    await _check(stall, profiles["mercari"])
    stall.sandbox.clear_faults()
    await asyncio.sleep(2.2)
    await stall.rows("UPDATE publications SET next_try_at = NULL RETURNING id")
    await stall.visit(profiles["poshmark"])
    assert [item["state"] for item in stall.ledger("poshmark")] == ["ended"]
    assert len(stall.events("poshmark", "published")) == 1
    (row,) = await stall.rows("SELECT gone_at FROM take_downs")
    assert row["gone_at"] is not None


@pytest.mark.longer
async def test_one_of_several_lowers_the_quantity_where_there_is_one_and_is_posted_again_where_there_is_not(
    stall: Stall, alice: Seller
):
    overrides = {**SHIRT["overrides"], "mercari": {"quantity": 1}}
    _, profiles = await _live(
        stall, alice, ("mercari", "ebay"), quantity=3, overrides=overrides, specifics={}
    )
    assert _of(stall, "ebay", alice)["fields"]["quantity"] == 3
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    await _check(stall, profiles["mercari"])
    await stall.visit(profiles["ebay"], profiles["mercari"])
    assert _of(stall, "ebay", alice)["fields"]["quantity"] == 2
    assert sorted(item["state"] for item in stall.ledger("mercari")) == ["live", "sold"]
    edits = len(stall.events("ebay", "edited"))

    stall.sandbox.buy("ebay", title=SHIRT["title"])  # there two of three are left, by themselves
    await _check(stall, profiles["ebay"])
    await stall.visit(*profiles.values())
    assert await stall.rows("SELECT quantity, quantity_sold FROM listings") == [
        {"quantity": 3, "quantity_sold": 2}
    ]
    assert len(stall.events("ebay", "edited")) == edits
    assert len(stall.live("mercari")) == len(stall.live("ebay")) == 1

    stall.sandbox.buy("ebay", title=SHIRT["title"])
    await _check(stall, profiles["ebay"])
    await stall.visit(profiles["mercari"], lane="urgent")
    assert stall.live("mercari") == stall.live("ebay") == []
    assert await stall.rows("SELECT wanted, put FROM publications ORDER BY put") == [
        {"wanted": "ended", "put": "ended"},
        {"wanted": "ended", "put": "sold"},
    ]
    attempts = await stall.rows("SELECT outcome FROM attempts WHERE connection_id = :id ORDER BY created_at",
                                id=await stall.connection_id(profiles["mercari"]))  # fmt: skip
    assert [row["outcome"] for row in attempts] == ["sold", "ended"]


@pytest.mark.longer
async def test_of_several_fewer_are_put_at_once_and_alone_whatever_the_pace(
    stall: Stall, alice: Seller, bob: Seller
):
    overrides = {**SHIRT["overrides"], "mercari": {"quantity": 1}}
    listing, profiles = await _live(
        stall, alice, ("mercari", "ebay"), quantity=3, overrides=overrides, specifics={}
    )
    _, his = await _live(stall, bob, ("ebay",), quantity=3, specifics={})
    await stall.rows("UPDATE connections SET pace_seconds = 3600, last_post_at = now() RETURNING id")
    edited = await alice.client.patch(f"/api/listings/{listing}", json={"title": "Linen shirt, blue"})
    assert edited.status_code == 200
    await stall.visit(profiles["ebay"])  # that waits for the account's pace
    assert _of(stall, "ebay", alice)["fields"]["title"] == SHIRT["title"]
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    await _check(stall, profiles["mercari"])
    assert profiles["ebay"] in await _waiting(stall, "urgent")
    await stall.visit(profiles["ebay"], lane="urgent")
    fields = _of(stall, "ebay", alice)["fields"]
    assert (fields["quantity"], fields["title"]) == (2, SHIRT["title"])
    (row,) = await stall.rows(
        "SELECT lower_asked_at, put_revision < wanted_revision AS waits, p.needs_you FROM publications p "
        "JOIN connections c ON c.id = p.connection_id WHERE c.public_id = :id", id=profiles["ebay"],
    )  # fmt: skip
    assert row == {"lower_asked_at": None, "waits": True, "needs_you": None}
    await stall.rows("UPDATE connections SET last_post_at = NULL RETURNING id")
    await stall.rows("UPDATE publications SET next_try_at = NULL RETURNING id")
    await stall.visit(profiles["ebay"])
    fields = _of(stall, "ebay", alice, title="Linen shirt, blue")["fields"]
    assert (fields["quantity"], _of(stall, "ebay", bob)["fields"]["quantity"]) == (2, 3)
    assert his.keys() == {"ebay"}


@pytest.mark.longer
async def test_a_worker_sees_a_sale_by_itself_and_takes_down_the_rest(
    stall: Stall, alice: Seller, start_worker: Callable[..., None]
):
    _, profiles = await _live(stall, alice)
    await _check(stall, *profiles.values())
    await stall.rows("UPDATE connections SET next_check_at = now() + interval '2 seconds' RETURNING id")
    start_worker(WATCH_SECONDS="4", WORKER_URGENT="2")
    stall.sandbox.buy("ebay", title=SHIRT["title"])
    end = time.monotonic() + 60
    while stall.live("mercari") or stall.live("poshmark"):
        assert time.monotonic() < end, await stall.rows("SELECT state, needs_you FROM publications")
        await asyncio.sleep(0.1)
    assert _of(stall, "ebay", alice)["state"] == "sold"


@pytest.mark.longer
@pytest.mark.parametrize("first", ["order", pytest.param("page", marks=pytest.mark.extended)])
async def test_a_listing_that_is_being_deleted_goes_with_its_sale(stall: Stall, alice: Seller, first: str):
    listing, profiles = await _live(stall, alice, ("mercari",))
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    answer = await alice.client.delete(f"/api/listings/{listing}?end=true")
    assert answer.status_code == 202, answer.text
    if first == "order":  # its own page did not answer so far
        await stall.rows("UPDATE publications SET next_try_at = now() + interval '1 h' RETURNING id")
    await _check(stall, profiles["mercari"])
    assert await stall.rows("SELECT id FROM listings") == []
    (item,) = stall.ledger("mercari")
    assert await stall.rows("SELECT listing_id, order_id FROM sales") == [
        {"listing_id": None, "order_id": item["listing_id"]}
    ]


@pytest.mark.extended
async def test_a_sale_that_its_own_page_told_first_is_not_counted_again_with_its_order(
    stall: Stall, alice: Seller
):
    listing, profiles = await _live(stall, alice, ("mercari", "poshmark"))
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    await alice.client.post(f"/api/listings/{listing}/publications/{profiles['mercari']}/end")
    await stall.visit(profiles["mercari"], lane="urgent")  # finds it sold
    (seen,) = await stall.rows("SELECT id, order_id FROM sales")
    assert seen["order_id"] is None
    await stall.visit(profiles["poshmark"], lane="urgent")
    assert stall.live("poshmark") == []
    await _check(stall, profiles["mercari"])
    (sale,) = await stall.rows("SELECT id, order_id FROM sales")
    assert sale["id"] == seen["id"]
    assert sale["order_id"] == _of(stall, "mercari", alice)["listing_id"]
    assert await stall.rows("SELECT quantity_sold FROM listings") == [{"quantity_sold": 1}]
    assert await stall.rows("SELECT 1 AS one FROM double_sales") == []


@pytest.mark.longer
async def test_sold_twice_at_once_is_told_with_both_orders_and_nothing_is_cancelled(
    stall: Stall, alice: Seller
):
    _, profiles = await _live(stall, alice, ("mercari", "ebay"))
    for name in ("mercari", "ebay"):
        stall.sandbox.buy(name, title=SHIRT["title"])
    await _check(stall, *profiles.values())
    await stall.visit(*profiles.values(), lane="urgent")
    assert [item["state"] for item in stall.ledger("mercari") + stall.ledger("ebay")] == ["sold", "sold"]
    (double,) = await stall.rows("SELECT earlier_id, later_id FROM double_sales")
    order = await stall.rows("SELECT id FROM sales ORDER BY observed_at")
    assert [row["id"] for row in order] == [double["earlier_id"], double["later_id"]]
    (event,) = await stall.rows("SELECT data FROM events WHERE type = 'sale.double'")
    told = {
        event["data"][side]["marketplace"]: event["data"][side]["orderId"] for side in ("earlier", "later")
    }
    assert told == {
        "mercari": stall.ledger("mercari")[0]["listing_id"],
        "ebay": stall.ledger("ebay")[0]["orders"][0]["order_id"],
    }
    asked = await stall.rows("SELECT marketplace, needs_you FROM publications WHERE needs_you IS NOT NULL")
    assert [(row["marketplace"], row["needs_you"]["reason"]) for row in asked] == [
        (event["data"]["later"]["marketplace"], "sold_twice")
    ]
    assert await stall.rows("SELECT quantity, quantity_sold FROM listings") == [
        {"quantity": 1, "quantity_sold": 1}
    ]


@pytest.mark.extended
async def test_a_cancelled_order_is_told_and_nothing_is_put_back_by_itself(stall: Stall, alice: Seller):
    _, profiles = await _live(stall, alice, ("ebay", "mercari"))
    stall.sandbox.buy("ebay", title=SHIRT["title"])
    await _check(stall, profiles["ebay"])
    await stall.visit(profiles["mercari"], lane="urgent")
    (item,) = stall.ledger("ebay")
    stall.sandbox.cancel("ebay", item["orders"][0]["order_id"])
    await _check(stall, profiles["ebay"])
    await _check(stall, profiles["ebay"])
    (event,) = await stall.rows("SELECT data FROM events WHERE type = 'sale.cancelled'")
    assert event["data"]["orderId"] == item["orders"][0]["order_id"]
    assert stall.live("mercari") == stall.live("ebay") == []


@pytest.mark.longer
async def test_of_an_order_of_two_things_the_one_that_is_cancelled_is_put_back_alone(
    stall: Stall, alice: Seller, bob: Seller
):
    _, profiles = await _live(stall, alice, ("ebay", "mercari"))
    await _live(stall, alice, ("ebay", "mercari"), title="Another shirt, of the same buyer")
    await stall.rows(
        "INSERT INTO sale_rules (user_id, put_back) VALUES (:id, 'always') RETURNING user_id",
        id=alice.user_id,
    )
    shirt = stall.sandbox.buy("ebay", title=SHIRT["title"])
    order = shirt["orders"][0]["order_id"]
    other = stall.sandbox.buy("ebay", title="Another shirt, of the same buyer", order_id=order)
    await _check(stall, profiles["ebay"])
    await stall.visit(profiles["mercari"], lane="urgent")
    assert stall.live("mercari") == []

    stall.sandbox.cancel("ebay", order, listing_id=other["listing_id"])
    for _ in range(2):
        await _check(stall, profiles["ebay"])
        await stall.visit(profiles["mercari"])
        assert [item["fields"]["title"] for item in stall.live("mercari")] == [other["fields"]["title"]]
    told = await stall.rows("SELECT data ->> 'remoteId' AS id FROM events WHERE type = 'sale.cancelled'")
    assert [row["id"] for row in told] == [other["listing_id"]]
    sold = await stall.rows("SELECT title, quantity_sold FROM listings ORDER BY quantity_sold")
    assert [row["quantity_sold"] for row in sold] == [0, 1]
    assert sold[1]["title"] == SHIRT["title"]
    assert (await bob.client.get("/api/sales")).json()["sales"] == []


@pytest.mark.longer
async def test_what_the_marketplace_itself_has_for_sale_again_is_ours_again_and_not_posted_beside_it(
    stall: Stall, alice: Seller, bob: Seller
):
    _, profiles = await _live(stall, alice, ("mercari", "ebay"))
    await stall.rows(
        "INSERT INTO sale_rules (user_id, put_back) VALUES (:id, 'always') RETURNING user_id",
        id=alice.user_id,
    )
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    await _check(stall, profiles["mercari"])
    await stall.visit(profiles["ebay"], lane="urgent")
    (item,) = stall.ledger("mercari")
    stall.sandbox.cancel("mercari", item["orders"][0]["order_id"], puts_back=True)
    await _check(stall, profiles["mercari"])
    await stall.visit(profiles["ebay"])
    (back,) = stall.live("mercari")
    assert (back["listing_id"], len(stall.events("mercari", "published"))) == (item["listing_id"], 1)
    assert len(stall.live("ebay")) == 1
    rows = "SELECT marketplace, put, wanted, remote_id FROM publications ORDER BY marketplace"
    ebay, mercari = await stall.rows(rows)
    assert (ebay["put"], mercari["put"], mercari["wanted"]) == ("live", "live", "live")
    assert mercari["remote_id"] == item["listing_id"]
    stall.sandbox.buy("mercari", title=SHIRT["title"])  # under the same id
    await _check(stall, profiles["mercari"])
    await stall.visit(profiles["ebay"], lane="urgent")
    assert stall.live("mercari") == stall.live("ebay") == []
    assert await stall.rows("SELECT 1 AS one FROM double_sales") == []
    assert (await bob.client.get("/api/sales")).json()["sales"] == []


@pytest.mark.longer
async def test_while_an_account_is_signed_out_its_sales_wait_and_are_found_when_it_is_back(
    stall: Stall, alice: Seller
):
    _, profiles = await _live(stall, alice, ("mercari", "poshmark"))
    stall.sandbox.sessions("mercari", alice.name, lifetime_seconds=0)
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    await _check(stall, profiles["mercari"])
    assert await stall.rows(
        "SELECT data ->> 'marketplace' AS m FROM events WHERE type = 'session.expired'"
    ) == [{"m": "mercari"}]
    await _check(stall, profiles["mercari"])
    assert len(stall.live("poshmark")) == 1
    stall.sandbox.sessions("mercari", alice.name, lifetime_seconds=86400)
    assert await stall.connect(alice, "mercari") == profiles["mercari"]
    await stall.visit(profiles["mercari"])
    await stall.visit(profiles["poshmark"], lane="urgent")
    assert stall.live("poshmark") == []


@pytest.mark.extended
async def test_paused_accounts_are_watched_and_taken_down_from(stall: Stall, alice: Seller):
    _, profiles = await _live(stall, alice, ("mercari", "poshmark"))
    await stall.rows("UPDATE users SET paused_at = now() RETURNING id")
    await stall.rows("UPDATE connections SET paused_at = now() RETURNING id")
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    await _check(stall, profiles["mercari"])
    await stall.visit(profiles["poshmark"], lane="urgent")
    assert stall.live("poshmark") == []


@pytest.mark.extended
async def test_a_list_that_cannot_be_read_is_told_once_and_read_when_it_can(stall: Stall, alice: Seller):
    _, profiles = await _live(stall, alice, ("poshmark", "mercari"))
    stall.sandbox.buy("poshmark", title=SHIRT["title"])
    stall.sandbox.fault("poshmark", kind="down", status=404, path="/order/sales", times=50)
    for _ in range(2):
        await _check(stall, profiles["poshmark"])
    stall.sandbox.clear_faults()
    assert len(await stall.rows("SELECT 1 AS one FROM events WHERE type = 'watch.failed'")) == 1
    assert await _seconds_to_check(stall, profiles["poshmark"]) > 60
    await _check(stall, profiles["poshmark"])
    (row,) = await stall.rows("SELECT watch_failing_since FROM connections WHERE marketplace = 'poshmark'")
    assert row["watch_failing_since"] is None
    await stall.visit(profiles["mercari"], lane="urgent")
    assert stall.live("mercari") == []


@pytest.mark.extended
async def test_a_listing_that_stays_up_after_it_sold_elsewhere_is_told_once(stall: Stall, alice: Seller):
    _, profiles = await _live(stall, alice, ("mercari", "poshmark"))
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    await _check(stall, profiles["mercari"])
    stall.sandbox.fault("poshmark", kind="down", times=500)
    for _ in range(2):
        await stall.rows("UPDATE take_downs SET asked_at = now() - interval '6 minutes' RETURNING id")
        await stall.rows("UPDATE publications SET next_try_at = NULL RETURNING id")
        await stall.visit(profiles["poshmark"], lane="urgent")
    assert len(await stall.rows("SELECT 1 AS one FROM events WHERE type = 'delist.late'")) == 1
    stall.sandbox.clear_faults()
    await stall.rows("UPDATE publications SET next_try_at = NULL RETURNING id")
    await stall.visit(profiles["poshmark"], lane="urgent")
    assert stall.live("poshmark") == []


@pytest.mark.extended
@pytest.mark.parametrize("where", ["everywhere", "there"])
async def test_while_taking_down_is_paused_too_nothing_goes_and_the_seller_hears_at_once(
    stall: Stall, alice: Seller, where: str
):
    _, profiles = await _live(stall, alice, ("mercari", "poshmark"))
    path = "/api" if where == "everywhere" else f"/api/connections/{profiles['poshmark']}"
    assert (await alice.client.post(f"{path}/pause?delists=true")).status_code == 200
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    await _check(stall, profiles["mercari"])  # watched all the same
    await stall.visit(profiles["poshmark"], lane="urgent")
    await stall.visit(profiles["poshmark"])
    assert len(stall.live("poshmark")) == 1
    (row,) = await stall.rows("SELECT wanted, needs_you FROM publications WHERE marketplace = 'poshmark'")
    assert (row["wanted"], row["needs_you"]["reason"]) == ("ended", "paused")
    (event,) = await stall.rows("SELECT data FROM events WHERE type = 'publication.needs_you'")
    assert event["data"]["needsYou"]["reason"] == "paused"
    assert (await alice.client.post(f"{path}/resume")).status_code == 200
    await stall.visit(profiles["poshmark"])
    assert stall.live("poshmark") == []
    assert await stall.rows("SELECT needs_you FROM publications") == [{"needs_you": None}] * 2


@pytest.mark.extended
async def test_what_was_to_be_taken_down_when_it_was_paused_waits_and_says_so(stall: Stall, alice: Seller):
    listing, profiles = await _live(stall, alice, ("mercari",))
    await alice.client.post(f"/api/listings/{listing}/publications/{profiles['mercari']}/end")
    await alice.client.post(f"/api/connections/{profiles['mercari']}/pause?delists=true")
    await stall.visit(profiles["mercari"], lane="urgent")
    assert len(stall.live("mercari")) == 1
    (row,) = await stall.rows("SELECT needs_you FROM publications")
    assert row["needs_you"]["reason"] == "paused"
    await alice.client.post(f"/api/connections/{profiles['mercari']}/pause")  # posting alone, from now on
    await stall.visit(profiles["mercari"], lane="urgent")
    assert stall.live("mercari") == []


@pytest.mark.extended
async def test_a_cancelled_order_is_put_back_where_it_was_taken_down(stall: Stall, alice: Seller):
    listing, profiles = await _live(stall, alice, ("mercari", "poshmark"))
    stall.sandbox.buy("mercari", title=SHIRT["title"])
    (sold,) = stall.events("mercari", "sold")
    await _check(stall, profiles["mercari"])
    await stall.visit(profiles["poshmark"], lane="urgent")
    assert stall.live("poshmark") == []
    stall.sandbox.cancel("mercari", sold["order_id"])
    await _check(stall, profiles["mercari"])
    assert stall.live("poshmark") == []  # nobody said so yet
    where = f"/api/listings/{listing}/publications/{profiles['mercari']}"
    assert (await alice.client.post(f"{where}/put_back")).status_code == 200
    await stall.visit(*profiles.values())
    assert [item["fields"]["title"] for item in stall.live("poshmark")] == [SHIRT["title"]]
    assert len(stall.events("poshmark", "published")) == 2
    assert len(stall.events("mercari", "published")) == 1
    stall.sandbox.buy("poshmark", title=SHIRT["title"])  # and it sells again
    await _check(stall, *profiles.values())
    (row,) = await stall.rows("SELECT quantity_sold FROM listings")
    assert row["quantity_sold"] == 1


@pytest.mark.extended
@pytest.mark.parametrize("elsewhere", [1, 2])
async def test_one_of_several_that_sold_there_while_we_lower_it_is_counted_and_no_question(
    stall: Stall, alice: Seller, elsewhere: int
):
    _, profiles = await _live(stall, alice, ("poshmark", "ebay"), quantity=3, specifics={})
    for _ in range(elsewhere):
        stall.sandbox.buy("poshmark", title=SHIRT["title"])
    await _check(stall, profiles["poshmark"])
    stall.sandbox.buy("ebay", title=SHIRT["title"])  # its list of orders was just read
    await stall.rows("UPDATE connections SET watched_at = now(), next_check_at = NULL RETURNING id")
    await stall.visit(profiles["ebay"])
    assert await stall.rows("SELECT 1 AS one FROM publications WHERE needs_you IS NOT NULL") == []
    assert await stall.rows("SELECT quantity_sold FROM listings") == [{"quantity_sold": elsewhere}]

    await _check(stall, profiles["ebay"])
    for lane in ("urgent", "visits"):
        await stall.visit(*profiles.values(), lane=lane)
    left = 2 - elsewhere
    for name in ("poshmark", "ebay"):
        offered = [item["fields"]["quantity"] - item["quantity_sold"] for item in stall.live(name)]
        assert offered == [left] * bool(left), name
    assert await stall.rows("SELECT 1 AS one FROM publications WHERE needs_you IS NOT NULL") == []
    assert len(await stall.rows("SELECT 1 AS one FROM sales")) == elsewhere + 1


@pytest.mark.longer
async def test_one_of_several_on_all_three(stall: Stall, alice: Seller):
    """Of four: fewer where the site counts, by itself where it was bought there; again where it holds one."""
    overrides = {**SHIRT["overrides"], "mercari": {"quantity": 1}}
    _, profiles = await _live(stall, alice, quantity=4, overrides=overrides)

    async def sold_on(marketplace: str) -> dict[str, Any]:
        stall.sandbox.buy(marketplace, title=SHIRT["title"])
        await _check(stall, profiles[marketplace])
        await stall.visit(*profiles.values())
        end = time.monotonic() + 60
        while await stall.rows("SELECT 1 AS one FROM publications WHERE unsettled OR looking"):
            assert time.monotonic() < end, await stall.rows("SELECT state, needs_you FROM publications")
            await stall.rows("UPDATE publications SET next_try_at = NULL RETURNING id")
            await stall.visit(*profiles.values())
        return {
            name: [item["fields"].get("quantity", 1) - item["quantity_sold"] for item in stall.live(name)]
            for name in ALL
        }

    for marketplace, left in (("poshmark", 3), ("mercari", 2), ("ebay", 1)):
        there = await sold_on(marketplace)
        assert there == {"poshmark": [left], "mercari": [1], "ebay": [left]}, marketplace
    assert [item["state"] for item in stall.ledger("mercari")].count("sold") == 1
    await sold_on("mercari")
    await stall.visit(*profiles.values(), lane="urgent")
    assert all(stall.live(name) == [] for name in ALL)
    assert await stall.rows("SELECT quantity, quantity_sold FROM listings") == [
        {"quantity": 4, "quantity_sold": 4}
    ]
    assert await stall.rows("SELECT 1 AS one FROM double_sales") == []


@pytest.mark.extended
async def test_of_what_was_sold_twice_the_rest_goes_while_the_seller_is_asked(stall: Stall, alice: Seller):
    overrides = {**SHIRT["overrides"], "mercari": {"quantity": 1}}
    _, profiles = await _live(stall, alice, quantity=3, overrides=overrides)
    for name in ("mercari", "poshmark"):
        stall.sandbox.buy(name, title=SHIRT["title"])
        await _check(stall, profiles[name])
    stall.sandbox.buy("ebay", title=SHIRT["title"], quantity=2)  # nobody has put fewer there so far
    assert [item["quantity_sold"] for item in stall.live("ebay")] == [2]
    await _check(stall, profiles["ebay"])
    assert stall.live("ebay") == []
    (asked,) = await stall.rows("SELECT needs_you ->> 'reason' AS why FROM publications WHERE put = 'ended'")
    assert asked["why"] == "sold_twice"
