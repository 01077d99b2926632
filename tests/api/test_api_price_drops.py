"""Prices that fall by themselves: each step once, never below the floor, and only while a listing is live."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.engine import idle_tools
from everystall import engine
from everystall.inventory.price_drops import MOST, lower_due, lowered
from everystall.marketplaces.base import flat, hash_of
from everystall.models import Listing
from everystall.notify.send import Mail
from everystall.worker.compare import merge
from everystall.worker.run import make_app
from tests.api.conftest import live_listing, lowered_by_hand

COMMON = "/api/prices/drops"
TENTH = {"percent": 10, "everyDays": 7, "floor": {"amount": 2000}}


async def falls(seller, path, **body):
    answer = await seller.client.put(path, json={**TENTH, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def shown(seller, listing):
    return (await seller.get(f"/api/listings/{listing}")).json()


async def days_pass(site, days=7):
    for table, columns in {
        "price_drops": ("began_at", "next_look_at"),
        "price_steps": ("made_at",),
        "publications": ("asked_at",),
    }.items():
        back = ", ".join(f"{name} = {name} - make_interval(days => :days)" for name in columns)
        await site.rows(f"UPDATE {table} SET {back}", days=days)


@pytest.mark.parametrize(
    ("price", "percent", "cents", "floor", "after"),
    [
        (2599, 1000, 0, 1000, 2339),  # 259.9
        (2599, 0, 150, 1000, 2449),
        (2500, 1000, 0, 1000, 2200),  # $22.50 would be no whole dollars
        (2500, 0, 50, 1000, 2400),
        (2500, 1000, 0, 2300, 2300),
        (2500, 9000, 0, 2499, 2499),
        (30, 100, 0, 1, 29),  # 0.3 cents
    ],
)
def test_a_step_is_so_much_less_and_never_below_the_floor(price, percent, cents, floor, after):
    assert lowered(price, percent, cents, floor) == after


@given(st.integers(2, 100_000), st.integers(0, 9_000), st.integers(0, 5_000), st.data())
def test_each_step_is_lower_and_the_last_is_the_floor(price, percent, cents, data):
    floor = data.draw(st.integers(1, price - 1))
    after = lowered(price, percent, cents, floor)
    assert floor <= after < price
    assert after == floor or price % 100 or after % 100 == 0


async def test_a_step_is_made_when_it_is_due_and_once(site, alice):
    await falls(alice, COMMON)
    listing, _ = await live_listing(site, alice, "mercari")
    following = (await shown(alice, listing))["nextDrop"]
    assert following["price"]["amount"] == 2200
    at = datetime.fromisoformat(following["at"])
    assert timedelta(days=6.9) < at - datetime.now(at.tzinfo) < timedelta(days=7.1)
    await days_pass(site, 6)
    assert await lower_due(site.database) == 0
    await days_pass(site, 1)
    assert await lower_due(site.database) == 1
    now = await shown(alice, listing)
    assert now["price"]["amount"] == 2200
    (publication,) = now["publications"]
    assert publication["wantedRevision"] == publication["putRevision"] + 1
    assert len(await site.wakes()) == 1
    await site.rows("UPDATE price_drops SET next_look_at = now()")
    assert await lower_due(site.database) == 0
    (step,) = (await alice.get(f"/api/listings/{listing}/price-drops")).json()["steps"]
    assert (step["number"], step["before"]["amount"], step["after"]["amount"], step["refused"]) == (
        1, 2500, 2200, None
    )  # fmt: skip


@pytest.mark.longer
async def test_another_marketplace_and_a_relist_begin_no_days_anew(site, alice, bob):
    await falls(alice, COMMON)
    hers, profiles = await live_listing(site, alice, "mercari")
    await site.rows("UPDATE price_drops SET began_at = began_at - interval '1 year'")
    await days_pass(site, 6)
    since = (await shown(alice, hers))["nextDrop"]["at"]
    await alice.connect("poshmark")
    assert (await alice.publish(hers, "poshmark")).status_code == 200
    await site.go_live(alice)
    assert (await shown(alice, hers))["nextDrop"]["at"] == since
    await site.rows("UPDATE attempts SET armed_at = now() - interval '1 year'")
    path = f"/api/listings/{hers}/publications/{profiles['mercari']}/relist"
    answer = await alice.post(path)
    assert answer.status_code == 200, answer.text
    assert (await shown(alice, hers))["nextDrop"]["at"] == since
    assert (await bob.get(f"/api/listings/{hers}")).status_code == 404


async def test_many_workers_at_once_make_a_step_once(site, alice):
    await falls(alice, COMMON)
    listing, _ = await live_listing(site, alice, "mercari")
    await falls(alice, f"/api/listings/{listing}/price-drops", everyDays=7)
    await days_pass(site)

    async def again():
        await site.rows("UPDATE price_drops SET next_look_at = now() - interval '1 minute'")
        return await lower_due(site.database)

    assert sum(await asyncio.gather(*(again() for _ in range(6)))) == 1
    assert (await shown(alice, listing))["price"]["amount"] == 2200
    assert len(await site.rows("SELECT 1 FROM price_steps")) == 1


@pytest.mark.longer
async def test_a_workers_tick_makes_the_step(site, alice):
    await falls(alice, COMMON)
    listing, _ = await live_listing(site, alice, "mercari")
    await days_pass(site)
    tools = idle_tools(site.database, site.settings)
    mail = Mail(site.database, site.vault, site.settings)
    app = make_app(site.settings.database_url.get_secret_value(), tools, mail)
    async with app.open_async():
        lanes = asyncio.create_task(engine.run_lanes(app, {"ticks": 1}, grace_seconds=5))
        async with asyncio.timeout(60):
            while (await shown(alice, listing))["price"]["amount"] == 2500:
                await asyncio.sleep(0.2)
        lanes.cancel()
        await asyncio.gather(lanes, return_exceptions=True)
    await mail.close()
    await tools.photos.close()
    assert (await shown(alice, listing))["price"]["amount"] == 2200


@pytest.mark.longer
async def test_many_that_are_due_go_on_from_tick_to_tick(site, alice):
    await falls(alice, COMMON)
    await live_listing(site, alice, "mercari")
    same = ", ".join(
        one.name for one in Listing.__table__.columns if one.computed is None and one.name != "id"
    )
    await site.rows(
        f"""WITH made AS (
               INSERT INTO listings (id, {same}) SELECT gen_random_uuid(), {same}
               FROM listings l, generate_series(1, :n) RETURNING id, user_id),
           photos AS (
               INSERT INTO listing_photos SELECT (jsonb_populate_record(p, jsonb_build_object(
                   'id', gen_random_uuid(), 'listing_id', made.id))).* FROM listing_photos p, made)
           INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision, put,
               put_revision, state)
           SELECT made.user_id, made.id, p.connection_id, p.marketplace, 1, 'live', 1, 'live'
           FROM made, publications p""",
        n=MOST + 2,
    )
    await days_pass(site)
    assert [await lower_due(site.database) for _ in range(3)] == [MOST, 3, 0]
    assert {row["price_cents"] for row in await site.rows("SELECT price_cents FROM listings")} == {2200}
    assert len(await site.rows("SELECT 1 FROM price_steps")) == MOST + 3


async def test_it_falls_step_by_step_to_the_floor_and_no_further_and_misses_are_not_made_up_for(site, alice):
    await falls(alice, COMMON)
    listing, _ = await live_listing(site, alice, "mercari")
    costs = []
    for days in (30, 7, 7):
        await days_pass(site, days)
        await lower_due(site.database)
        costs.append((await shown(alice, listing))["price"]["amount"])
    assert costs == [2200, 2000, 2000]
    assert (await shown(alice, listing))["nextDrop"] is None
    assert len(await site.rows("SELECT 1 FROM price_steps")) == 2


@pytest.mark.parametrize(
    "over",
    [
        "UPDATE publications SET put = 'sold', state = 'sold'",
        "UPDATE publications SET put = 'ended', wanted = 'ended', state = 'ended'",
        "UPDATE publications SET wanted = 'ended', state = 'ending'",
        "UPDATE listings SET quantity_sold = quantity",
        "UPDATE listings SET delete_asked_at = now()",
        "UPDATE listings SET price_cents = 2000",
    ],
)
async def test_sold_ended_or_at_the_floor_nothing_falls(site, alice, over):
    await falls(alice, COMMON)
    listing, _ = await live_listing(site, alice, "mercari")
    assert (await shown(alice, listing))["nextDrop"] is not None
    await site.rows(over)
    await days_pass(site)
    assert (await shown(alice, listing))["nextDrop"] is None
    assert await lower_due(site.database) == 0
    assert await site.rows("SELECT 1 FROM price_steps") == []


async def test_a_listings_own_schedule_goes_before_the_common_one(site, alice):
    await falls(alice, COMMON)
    listing, accounts = await live_listing(site, alice, "mercari")
    other, _ = await live_listing(site, alice, "mercari", accounts=accounts)
    own = f"/api/listings/{listing}/price-drops"
    told = await falls(alice, own, percent=0, cents=300, everyDays=14)
    assert (told["schedule"]["cents"], told["common"]["percent"], told["next"]["price"]["amount"]) == (
        300, 10, 2200
    )  # fmt: skip
    await days_pass(site)
    assert await lower_due(site.database) == 1
    assert [(await shown(alice, one))["price"]["amount"] for one in (listing, other)] == [2500, 2200]
    await days_pass(site)
    await lower_due(site.database)
    assert (await shown(alice, listing))["price"]["amount"] == 2200
    await alice.client.delete(own)
    await alice.client.delete(COMMON)
    told = (await alice.get(own)).json()
    assert (told["schedule"], told["common"], told["next"], len(told["steps"])) == (None, None, None, 1)


async def test_a_schedule_set_again_as_it_is_goes_on_counting(site, alice):
    await falls(alice, COMMON)
    await days_pass(site, 5)
    before = (await alice.get(COMMON)).json()
    assert await falls(alice, COMMON) == before
    assert (await falls(alice, COMMON, everyDays=8))["schedule"]["beganAt"] > before["schedule"]["beganAt"]


async def test_a_step_that_a_marketplace_would_not_take_is_told_and_not_made(site, alice):
    listing, _ = await live_listing(site, alice, "poshmark")
    await falls(alice, COMMON, percent=90, floor={"amount": 100})
    await days_pass(site)
    assert await lower_due(site.database) == 0
    now = await shown(alice, listing)
    assert now["price"]["amount"] == 2500
    assert "$3" in now["nextDrop"]["refused"]
    assert await site.wakes() == []


async def test_a_floor_with_cents_is_the_next_dollar_where_only_whole_ones_are_taken(site, alice, bob):
    listing, _ = await live_listing(site, alice, "poshmark")
    his, _ = await live_listing(site, bob, "mercari")
    for seller in (alice, bob):
        await falls(seller, COMMON, floor={"amount": 2350})
    for _ in range(2):
        await days_pass(site)
        await lower_due(site.database)
    for seller, one, price in ((alice, listing, 2400), (bob, his, 2350)):
        now = await shown(seller, one)
        assert (now["price"]["amount"], now["nextDrop"]) == (price, None)


async def test_no_rule_makes_less_of_a_step_than_the_floor(site, alice, bob):
    for seller in (alice, bob):
        await live_listing(site, seller, "mercari", "poshmark")
        await falls(seller, COMMON, percent=20)
    await site.rows(
        """UPDATE publications SET price_rule = '{"percent": -1000}'
           WHERE marketplace = 'mercari' AND user_id = :id""",
        id=alice.user_id,
    )  # fmt: skip
    costs = []
    for _ in range(2):
        await days_pass(site)
        await lower_due(site.database)
        costs += [row["price_cents"] for row in await site.rows(
            "SELECT price_cents FROM listings ORDER BY user_id = :id DESC", id=alice.user_id)]  # fmt: skip
    assert costs == [2300, 2000, 2300, 2000]  # of $22.00 Mercari's would be $19.80
    (mine,) = (await alice.get("/api/listings")).json()["listings"]
    assert "less than $20.00 there" in mine["nextDrop"]["refused"]
    assert [row["refused"] is None for row in await site.rows(
        "SELECT refused FROM price_steps WHERE user_id = :id ORDER BY number", id=alice.user_id
    )] == [True, False]  # fmt: skip


async def test_the_price_there_falls_by_the_rule_of_the_marketplace(site, alice):
    rule = {"minimumNet": {"amount": 2100}, "postage": {"amount": 0}}
    assert (await alice.client.put("/api/prices/rules/mercari", json=rule)).status_code == 200
    listing, _ = await live_listing(site, alice, "mercari")
    await falls(alice, COMMON)
    await days_pass(site)
    await lower_due(site.database)
    told = (await shown(alice, listing))["prices"]
    (there,) = [one for one in told if one["marketplace"] == "mercari"]
    assert (there["price"]["amount"], there["left"]["amount"]) == (2334, 2100)


async def test_a_step_raises_no_price_that_the_seller_lowered_there_by_hand(site, alice):
    await falls(alice, COMMON, floor={"amount": 1500})
    listing, _ = await live_listing(site, alice, "mercari", "poshmark")
    await lowered_by_hand(site, "mercari", 2000)
    for price, written in ((2200, {"poshmark"}), (1900, {"mercari", "poshmark"})):
        await days_pass(site)
        assert await lower_due(site.database) == 1
        assert (await shown(alice, listing))["price"]["amount"] == price
        assert await would_write(site, price) == written
        assert len(await site.wakes()) == len(written)
    (row,) = await site.rows("SELECT a.* FROM attempts a JOIN publications p ON p.id = a.publication_id "
                             "WHERE p.marketplace = 'mercari'")  # fmt: skip
    assert row["fields_hash"] == hash_of(row["draft"])
    assert row["adopted"]["price"]["amount"] == 2000


async def would_write(site, cents):
    """Marketplaces whose price the next visits write, as `worker/revise.py` decides it."""
    rows = await site.rows("SELECT p.marketplace, p.unsettled, a.draft, a.adopted FROM attempts a "
                           "JOIN publications p ON p.id = a.publication_id WHERE p.unsettled")  # fmt: skip
    found = set()
    for row in rows:
        put, adopted = flat(row["draft"]), row["adopted"]
        wanted = {**put, "price": {"amount": cents, "currency": "USD"}}
        merged = merge(wanted, put, {**put, **adopted}, armed={}, adopted=adopted)
        assert merged.conflict == {}
        if "price" in merged.write:
            found.add(row["marketplace"])
    return found


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"percent": 0}, 400),
        ({"cents": 100}, 400),
        ({"percent": 95}, 422),
        ({"percent": 0, "cents": -5}, 422),
        ({"everyDays": 0}, 422),
        ({"floor": None}, 422),
    ],
)
async def test_a_schedule_that_makes_no_sense_is_refused(alice, body, status):
    assert (await alice.client.put(COMMON, json={**TENTH, **body})).status_code == status


async def test_another_sellers_schedules_and_listings_are_not_his(site, alice, bob):
    await falls(alice, COMMON)
    listing, _ = await live_listing(site, alice, "mercari")
    path = f"/api/listings/{listing}/price-drops"
    assert (await bob.get(COMMON)).json() == {"schedule": None}
    for verb, more in (("get", {}), ("put", {"json": TENTH}), ("delete", {})):
        assert (await getattr(bob.client, verb)(path, **more)).status_code == 404
    await bob.client.delete(COMMON)
    assert (await alice.get(COMMON)).json()["schedule"]["percent"] == 10
    his, _ = await live_listing(site, bob, "ebay", overrides={"ebay": POLICIES})
    assert (await shown(bob, his))["nextDrop"] is None
    await days_pass(site)
    assert await lower_due(site.database) == 1
    assert (await shown(bob, his))["price"]["amount"] == 2500


POLICIES = {"paymentPolicy": "P", "returnPolicy": "R", "shippingPolicy": "S"}
