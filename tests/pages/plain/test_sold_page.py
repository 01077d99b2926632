"""Marking as sold what sold elsewhere: a listing's own form, many at once, taken back; nobody else's."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from everystall.web.pages.sales import Figure
from tests.pages.standing import account, listing, publication


async def live(house, who, title="Linen shirt", **values):
    shirt = await listing(house, who.id, title=title, **values)
    (there,) = await house.rows(
        "SELECT public_id FROM connections WHERE user_id = :id UNION ALL SELECT NULL LIMIT 1", id=who.id
    )
    name = there["public_id"] or await account(house, who.id, "ebay", f"{who.id}"[:8])
    await publication(house, who.id, shirt, name, wanted="live", put="live", state="live")
    return shirt


async def test_a_listing_is_marked_as_sold_and_taken_back_by_its_seller_alone(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    shirt, theirs = await live(house, alice), await live(house, bob)
    page = (await alice.get(f"/listings/{shirt}/sold")).text
    assert 'name="price"' in page
    assert "It is taken down on eBay." in re.sub(r"\s+", " ", page)
    assert f'href="/listings/{shirt}/sold"' in (await alice.get(f"/listings/{shirt}/stalls")).text
    assert (await bob.get(f"/listings/{shirt}/sold")).status_code == 404
    assert (await bob.post(f"/listings/{shirt}/sold", sold_on="2026-11-01")).status_code == 404
    form = {"price": "30", "fees": "4.50", "place": "Flea market", "key": "0123456789abcdef"}
    wrong = await alice.post(f"/listings/{shirt}/sold", sold_on="soon", **{**form, "price": "much"})
    assert wrong.status_code == 422
    assert wrong.text.count('aria-invalid="true"') == 2
    assert 'value="Flea market"' in wrong.text
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    led = await alice.done(f"/listings/{shirt}/sold", sold_on=today, **form)
    assert led.endswith(f"/listings/{shirt}/stalls?said=marked-sold")
    twice = await alice.done(f"/listings/{shirt}/sold", sold_on=today, **form)  # pressed twice: the same
    assert twice.endswith(f"/listings/{shirt}/stalls?said=marked-some") or twice == led
    rows = await house.rows("SELECT id, user_id, price_cents, fee_cents, place, told_by FROM sales")
    assert [(row["user_id"], row["price_cents"], row["fee_cents"], row["place"]) for row in rows] == [
        (alice.id, 3000, 450, "Flea market")
    ]
    wanted = {row["user_id"]: row["wanted"] for row in await house.rows("SELECT * FROM publications")}
    assert wanted == {alice.id: "ended", bob.id: "live"}
    shown = await alice.text("/sales")
    assert "Elsewhere Flea market" in shown
    assert "about $25.50 left" in shown
    assert "Linen" not in await bob.text("/sales")
    assert "Linen shirt" in await alice.text("/sales?on=elsewhere&q=flea")
    assert (await bob.post(f"/sales/{rows[0]['id']}/take-back")).status_code == 404
    assert (await alice.done(f"/sales/{rows[0]['id']}/take-back")).endswith("/sales?said=sale-back")
    assert "You took it back" in await alice.text("/sales")
    wanted = await house.rows("SELECT DISTINCT wanted FROM publications")
    assert [row["wanted"] for row in wanted] == ["live"]
    assert (await house.rows("SELECT sum(quantity_sold) AS n FROM listings"))[0]["n"] == 0
    assert theirs != shirt


async def test_many_are_marked_at_once_each_for_its_own_price_and_taken_back(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    ids = [await live(house, alice, f"Shirt {one}", price_cents=1000 * one) for one in (1, 2, 3)]
    hers = await live(house, bob)
    page = await alice.post("/inventory/bulk", do="sold", ids=" ".join(ids))
    assert page.status_code == 200
    assert "Mark 3 listings as sold" in page.text
    assert await house.rows("SELECT 1 FROM sales") == []
    form = {"do": "sold", "ids": " ".join(ids), "key": "0123456789abcdef", "sure": "yes",
            "sold_at": "A stall", "sold_on": f"{datetime.now(UTC):%Y-%m-%d}", "fees": "1"}  # fmt: skip
    refused = await alice.post("/inventory/bulk", **{**form, f"price-{ids[0]}": "a lot"})
    assert "Write an amount in dollars" in refused.text
    assert await house.rows("SELECT 1 FROM sales") == []
    assert (await alice.post("/inventory/bulk", **{**form, "ids": f"{ids[0]} {hers}"})).status_code == 404
    done = await alice.post("/inventory/bulk", **{**form, f"price-{ids[0]}": "7.50"})
    assert "3 listings are marked as sold." in done.text
    sold = await house.rows("SELECT id, price_cents, fee_cents, place FROM sales ORDER BY price_cents")
    assert [(row["price_cents"], row["fee_cents"], row["place"]) for row in sold] == [
        (750, 100, "A stall"), (2000, 100, "A stall"), (3000, 100, "A stall"),
    ]  # fmt: skip
    sales = re.search(r'name="sales" value="([^"]+)"', done.text)[1]
    assert (await bob.post("/inventory/undo/sold", sales=sales)).status_code == 404
    back = await alice.post("/inventory/undo/sold", sales=sales)
    assert "3 listings are for sale again." in back.text
    (left,) = await house.rows("SELECT count(*) AS n FROM sales WHERE cancelled_at IS NULL")
    assert left["n"] == 0


async def test_this_month_stands_beside_as_much_of_the_last_and_a_month_beside_the_one_before(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    shirt = await listing(house, alice.id)
    now = datetime.now(UTC)
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    before = (first - timedelta(days=1)).replace(day=1)
    for at, cents in ((first, 3000), (first, 1000), (before, 2000), (first - timedelta(seconds=1), 9900)):
        await house.rows(
            "INSERT INTO sales (user_id, told_by, listing_id, title, price_cents, fee_cents, cost_cents, "
            "quantity, sold_at) VALUES (:id, 'seller', CAST(:of AS uuid), 'A shirt', :cents, 100, 500, 1, "
            ":at)",
            id=alice.id, of=shirt, cents=cents, at=at,
        )  # fmt: skip
    shown = await alice.text("/sales")
    assert f"{first:%B} so far beside {before:%B}, up to the same day" in shown
    assert "Sold 2 +1 was 1" in shown or before + (now - first) >= first
    whole = await alice.text(f"/sales?month={before:%Y-%m}")
    assert f"{before:%B %Y} beside" in whole
    assert "Sold 2 +2 was 0" in whole
    assert "For $119.00" in whole
    assert "beside" not in await bob.text("/sales")
    page = (await alice.get("/sales")).text
    assert page.count(f"/api/listings/{shirt}/photos/") == 4


async def test_the_day_that_is_proposed_is_the_sellers_own_and_none_after_it_is_taken(house, reader):
    """Twenty-six hours apart: one of the two is never on the day of UTC."""
    alice, bob = await reader("alice"), await reader("bob")
    for who, zone in ((alice, "Etc/GMT+12"), (bob, "Pacific/Kiritimati")):
        await house.rows(
            "UPDATE users SET time_zone = :zone WHERE id = :id RETURNING 1", zone=zone, id=who.id
        )  # fmt: skip
        shirt, other = await live(house, who), await live(house, who)
        now = datetime.now(ZoneInfo(zone))
        today, tomorrow = f"{now:%Y-%m-%d}", f"{now + timedelta(days=1):%Y-%m-%d}"
        for page in (
            await who.get(f"/listings/{shirt}/sold"),
            await who.post("/inventory/bulk", do="sold", ids=f"{shirt} {other}"),
        ):
            field = re.search(r'<input[^>]* name="sold_on"[^>]*>', page.text)[0]
            assert f'value="{today}"' in field
            assert f'max="{today}"' in field
        form = {"key": "0123456789abcdef", "price": "30"}
        late = await who.post(f"/listings/{shirt}/sold", sold_on=tomorrow, **form)
        assert late.status_code == 422
        many = {"do": "sold", "ids": other, "key": form["key"], "sure": "yes"}
        assert "no day on which" in (await who.post("/inventory/bulk", **many, sold_on=tomorrow)).text
        assert await house.rows("SELECT 1 FROM sales WHERE user_id = :id", id=who.id) == []
        await who.done(f"/listings/{shirt}/sold", sold_on=today, **form)
        assert "1 listing is marked" in (await who.post("/inventory/bulk", **many, sold_on=today)).text
        (sold,) = await house.rows("SELECT DISTINCT sold_at FROM sales WHERE user_id = :id", id=who.id)
        assert f"{sold['sold_at'].astimezone(UTC):%Y-%m-%d}" == today
        assert f'data-when="day-only">{now.day} {now:%b %Y}<' in (await who.get("/sales")).text
        assert f"{now:%B} so far" in await who.text("/sales")
        assert "2 orders for $55.00" in await who.text(f"/sales?month={now:%Y-%m}")


def test_a_figure_says_how_much_more_it_is():
    assert (Figure("For", 1500, 1000).change, Figure("For", 1500, 1000).tone) == ("+50 %", "ok")
    assert (Figure("For", 500, 1000).change, Figure("For", 500, 1000).tone) == ("-50 %", "bad")
    assert (Figure("For", 500, 0).change, Figure("For", 500, 500).change) == ("", "")
    assert Figure("Sold", 3, 1, money=False).change == "+2"


async def test_orders_without_a_cost_lead_to_where_it_is_written(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    now = datetime.now(UTC)
    made = {}
    for who, titles in ((alice, ("Costless", "Known", "Taken back", "Gone")), (bob, ("Of Bob",))):
        for title in titles:
            shirt = made[title] = await listing(house, who.id, title=title, sku=title)
            await house.rows(
                "INSERT INTO sales (user_id, told_by, listing_id, title, price_cents, fee_cents, cost_cents, "
                "quantity, sold_at, cancelled_at) VALUES (:id, 'seller', CAST(:of AS uuid), :title, 3000, 0, "
                ":cost, 1, :at, CAST(:gone AS timestamptz))",
                id=who.id, of=None if title == "Gone" else shirt, title=title, at=now,
                cost=500 if title == "Known" else None, gone=now if title == "Taken back" else None,
            )  # fmt: skip
    page = (await alice.get("/sales")).text
    assert "2 orders have no cost yet." in page
    assert 'href="/sales?cost=none"' in page
    shown = (await alice.get("/sales?cost=none")).text
    links = re.findall(r'href="(/sales/[^"]+/cost)">Write its cost<span class="vh"> for (\w+)', shown)
    assert sorted(title for _, title in links) == ["Costless", "Gone"]
    assert not re.search("Known|Taken back|Of Bob", shown)
    assert "No sale of yours is like that" not in shown
    assert 'id="cost"' in (await alice.get(f"/listings/{made['Costless']}")).text
    await alice.post(f"/listings/{made['Costless']}", cost="4.50", **{"seen.cost": ""})
    shown = (await alice.get("/sales?cost=none")).text
    assert "Costless" not in shown
    (gone,) = re.findall(r'href="(/sales/[^"]+/cost)"', shown)
    assert (await bob.get(gone)).status_code == (await bob.post(gone, cost="1")).status_code == 404
    bad = await alice.post(gone, cost="a lot")
    assert (bad.status_code, "Write an amount in dollars" in bad.text, 'value="a lot"' in bad.text) == (
        422, True, True,
    )  # fmt: skip
    assert (await alice.post(gone, cost="$6")).status_code == 303
    assert 'value="6.00"' in (await alice.get(gone)).text
    assert "cost $6.00" in (await alice.get("/sales")).text
    assert "Gone" not in (await alice.get("/sales?cost=none")).text
    (known,) = re.findall(r'href="(/sales/[^"]+/cost)">cost \$5.00', (await alice.get("/sales")).text)
    assert (await alice.post(known, cost="")).status_code == 303  # its listing says nothing
    assert "Known" in (await alice.get("/sales?cost=none")).text
    await alice.post(known, cost="5")
    assert "Of Bob" in (await bob.get("/sales?cost=none")).text
    assert "No order without a cost is like that." in (await alice.get("/sales?cost=none&q=Known")).text
    assert "Known" in (await alice.get("/sales?cost=lots")).text
