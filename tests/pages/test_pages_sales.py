"""What sold where, on its page."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime

import pytest

from everystall.inventory.takings import Month, Sum
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.fees import fee_of
from everystall.web.pages.sales import HEIGHT, chart_of_left
from tests.pages.conftest import DESK_AND_PHONE, EVIL, ROOT, visiting
from tests.pages.standing import account, listing, publication
from tests.pages.test_pages_look import LOOKS, look, passes

pytestmark = pytest.mark.browser


async def sold(house, user, title="Linen shirt", number=1):
    """So many orders on eBay, each taken down on Mercari 17 seconds later; the last one is cancelled."""
    ebay, mercari = (
        await account(house, user, "ebay", "alice"),
        await account(house, user, "mercari", "alice"),
    )
    shirt = await listing(house, user, title=title)
    of = await publication(house, user, shirt, mercari, put="ended", state="ended", wanted="ended")
    for place in range(number):
        await house.rows(
            "WITH s AS (INSERT INTO sales (user_id, connection_id, listing_id, order_id, title, price_cents, "
            "quantity, category, sold_at, sold_at_exact, observed_at, cancelled_at) SELECT user_id, id, "
            "CAST(:listing AS uuid), :order, :title, 2500, 1, 'men.shirts.casual', at, true, "
            "at + interval '10 seconds', CASE WHEN :cancelled THEN at + interval '1 hour' END "
            "FROM connections, LATERAL (SELECT now() - make_interval(hours => :place) AS at) t "
            "WHERE public_id = :ebay RETURNING *) "
            "INSERT INTO take_downs (user_id, sale_id, publication_id, marketplace, started_at, gone_at) "
            "SELECT user_id, id, CASE WHEN :place = 0 THEN CAST(:of AS uuid) END, 'mercari', "
            "observed_at + interval '2 seconds', observed_at + interval '17 seconds' FROM s",
            listing=shirt, order=f"o-{place}", title=title, place=place, ebay=ebay, of=of,
            cancelled=number > 1 and place == number - 1,
        )  # fmt: skip
    return shirt


@DESK_AND_PHONE
@pytest.mark.longer
async def test_a_sale_says_what_is_left_of_it_and_how_soon_it_was_gone_elsewhere(house):
    alice = await house.person("alice")
    shirt = await sold(house, alice, number=3)
    page = await house.signed_in("alice", java_script_enabled=False)
    await page.get_by_role("link", name="Sales", exact=True).click()
    rows = page.locator(".sold > li")
    assert await rows.count() == 3
    first = rows.first
    assert (
        await first.get_by_role("link", name="Linen shirt", exact=True).get_attribute("href")
        == f"{ROOT}/listings/{shirt}/stalls"
    )
    said = await first.inner_text()
    assert "$25.00" in said
    assert "order o-0" in said
    assert "Mercari: gone after 17 s" in said
    assert "Cancelled there" in await rows.last.inner_text()
    figures = await page.locator(".facts").first.inner_text()
    assert "2 orders" in figures  # the cancelled one does not count
    assert "$50.00" in figures
    await page.get_by_text("By month and marketplace, as tables").click()
    assert "$50.00 (2)" in await page.locator(".months").first.inner_text()
    await house.rows("UPDATE take_downs SET started_at = NULL")  # it had waited to be posted there
    await page.reload()
    assert "Mercari: nothing to take down" in await rows.first.inner_text()
    await house.person("bob")
    bobs = await house.signed_in("bob")
    await bobs.goto("/sales")
    assert await bobs.get_by_text("Nothing sold yet.").is_visible()
    assert "Linen" not in await bobs.content()


async def test_what_is_left_is_after_the_fee_and_what_it_cost(house):
    alice, _ = await house.person("alice"), await house.person("bob")
    await sold(house, alice, number=3)
    async with visiting(house, "alice") as page:
        before = await page.get("/sales")
        assert "2 orders have no cost yet." in before
        fee = fee_of(get_form("ebay").FEES, 2500, "men.shirts.casual")
        assert f"${(5000 - 2 * fee) / 100:.2f}" in before
        await house.rows("UPDATE sales SET cost_cents = 2900")
        after = await page.get("/sales")
        assert "no cost yet" not in after
        left = 5000 - 2 * fee - 5800
        assert f"-${-left / 100:.2f}" in after
        for part in ("<desc", ' loss"', "$58.00", "Sales by marketplace"):
            assert part in after
        file = list(csv.DictReader(io.StringIO((await page.get("/api/export/sales.csv")).lstrip("\ufeff"))))
        assert [row["order_id"] for row in file] == ["o-2", "o-1", "o-0"]
        assert (file[2]["price"], file[2]["cost"]) == ("25.00", "29.00")
        assert file[2]["left"] == f"-{(400 + fee) / 100:.2f}"
        assert (file[0]["left"], file[0]["cost"], bool(file[0]["cancelled_at"])) == ("", "", True)
    async with visiting(house, "bob") as page:
        assert "o-1" not in await page.get("/api/export/sales.csv")
        assert "Nothing sold yet." in await page.get("/sales")


def test_what_is_left_is_stacked_by_marketplace_and_losses_go_below_the_line():
    first = datetime(2026, 11, 1, tzinfo=UTC)
    sums = {"poshmark": Sum(1, 3000, 1000, 0), "mercari": Sum(1, 2000, 0, 500), "ebay": Sum(1, 1000, 0, 2000)}
    drawn = chart_of_left([Month(first), Month(first, sums)])
    nothing, bars = drawn.bars
    assert nothing == []
    found = {bar.place: (bar.y, bar.height, bar.cents) for bar in bars}
    scale = (HEIGHT - 8) / 4500
    above = [(f"s{place}", sums[name]) for place, name in enumerate(MARKETPLACES) if sums[name].left > 0]
    y = drawn.zero
    for place, one in above:
        y -= one.left * scale
        assert found.pop(place) == pytest.approx((y, one.left * scale, one.left), abs=0.1)
    assert y == pytest.approx(8, abs=0.1)
    ((place, (y, height, cents)),) = found.items()
    assert (place, cents) == (f"s{list(MARKETPLACES).index('ebay')} loss", -1000)
    assert (y, y + height) == (drawn.zero, pytest.approx(HEIGHT, abs=0.1))


async def test_sales_are_sought_by_words_marketplace_and_month_and_nobody_elses_found(house):
    alice, bob = await house.person("alice"), await house.person("bob")
    await sold(house, alice, title="Linen shirt, 50% wool", number=52)
    await house.rows(
        "INSERT INTO sales (user_id, connection_id, order_id, title, price_cents, quantity, cost_cents, "
        "sold_at, observed_at) SELECT user_id, id, 'late-7', 'Silk scarf', 4000, 1, 1000, at, at "
        "FROM connections, LATERAL (SELECT CAST('2026-02-03' AS timestamptz) AS at) t "
        "WHERE marketplace = 'mercari'"
    )
    async with visiting(house, "alice") as page:
        shown = await page.get("/sales")
        assert "The last twelve months" in shown
        assert f'href="{ROOT}/sales?on=ebay"' in shown
        for query in (
            "q=SCARF", "q=silk+late-7", "on=mercari", "month=2026-02", "q=s&on=mercari&month=2026-02",
        ):  # fmt: skip
            found = await page.get(f"/sales?{query}")
            assert ("Silk scarf" in found, "Linen shirt" in found) == (True, False), query
            assert "<b>1 order</b> for $40.00" in found
            assert "The last twelve months" not in found
        many = await page.get("/sales?q=50%25+LINEN&on=ebay")
        assert "<b>51 orders</b> for $1,275.00" in many  # one is cancelled
        assert many.count("order o-") == 50
        more = re.search(r'href="([^"]+)">Earlier sales', many)[1].removeprefix(ROOT)
        assert (await page.get(more.replace("&amp;", "&"))).count("order o-") == 2
        assert '<option value="2026-02" selected>Feb 2026</option>' in await page.get("/sales?month=2026-02")
        nothing = await page.get("/sales?q=5_%25")
        assert "No sale of yours is like that." in nothing
        assert "Linen" not in nothing
        assert "The last twelve months" in await page.get("/sales?on=nowhere&month=2026-13&q=%00")
    async with visiting(house, "bob") as page:
        assert "No sale of yours is like that." in await page.get("/sales?q=linen")
    assert alice != bob


async def sold_at_an_edge(house):
    """Of alice in California and bob in New Zealand: what sold in her evening of 30 November, his 1 December,
    and what only the day is known of."""
    for name, zone in (("alice", "America/Los_Angeles"), ("bob", "Pacific/Auckland")):
        user = await house.person(name)
        await account(house, user, "ebay", name)
        await house.rows(
            "UPDATE users SET time_zone = :zone WHERE id = :id RETURNING 1", zone=zone, id=user
        )  # fmt: skip
        for title, at, exact in (
            ("Evening shirt", "2025-12-01T04:00:00Z", True),
            ("Some day's shirt", "2025-12-01T00:00:00Z", False),
        ):
            await house.rows(
                "INSERT INTO sales (user_id, connection_id, order_id, title, price_cents, quantity, sold_at, "
                "sold_at_exact) SELECT user_id, id, :title, :title, 2500, 1, CAST(:at AS timestamptz), "
                ":exact FROM connections WHERE user_id = :id RETURNING 1",
                id=user, title=f"{name}: {title}", at=at, exact=exact,
            )  # fmt: skip


async def test_a_month_is_that_of_its_sellers_own_clock(house):
    await sold_at_an_edge(house)
    for name, other, evening in (("alice", "bob", "2025-11"), ("bob", "alice", "2025-12")):
        async with visiting(house, name) as page:
            for month in ("2025-11", "2025-12"):
                found = await page.get(f"/sales?month={month}")
                assert (f"{name}: Evening shirt" in found) is (month == evening)
                assert (f"{name}: Some day" in found) is (month == "2025-12")
                assert f"{other}: " not in found
            assert "<b>1 order</b> for $25.00" in await page.get(f"/sales?month={evening}&q=evening")


@pytest.mark.longer
@pytest.mark.parametrize(
    ("name", "zone", "evening"),
    [("alice", "America/Los_Angeles", "Nov 30, 2025"), ("bob", "Pacific/Auckland", "Dec 1, 2025")],
)
async def test_the_date_on_the_page_is_of_the_month_that_it_is_found_under(house, name, zone, evening):
    await sold_at_an_edge(house)
    page = await house.signed_in(name, timezone_id=zone, locale="en-US")
    month = datetime.strptime(evening, "%b %d, %Y")
    await page.goto(f"/sales?month={month:%Y-%m}&q=evening")
    rows = page.locator(".sold > li")
    assert await rows.count() == 1
    assert evening in await rows.inner_text()
    await page.goto("/sales?month=2025-12&q=some+day")
    assert "Dec 1, 2025" in await rows.inner_text()


@pytest.mark.longer
async def test_earlier_sales_come_page_by_page_and_what_a_buyer_wrote_is_text(house):
    alice = await house.person("alice")
    await sold(house, alice, title=EVIL, number=52)
    page = await house.signed_in("alice")
    await page.goto("/sales")
    assert await page.locator(".sold > li").count() == 50
    await page.get_by_role("link", name="Earlier sales").click()
    assert await page.locator(".sold > li").count() == 2
    assert EVIL[:20] in await page.locator("main").inner_text()
    assert await page.evaluate("window.ran") is None
    assert await page.get_by_role("link", name="Earlier sales").count() == 0


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.longer
async def test_how_it_looks(house, scheme, width):
    alice = await house.person("alice")
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/sales")
    await passes(page, "sales-none")
    await sold(house, alice, number=5)
    await page.goto("/sales")
    await page.get_by_text("By month and marketplace, as tables").click()
    await passes(page, "sales")
    await page.get_by_role("searchbox", name="Search your sales by title or order").fill("o-1")
    await page.get_by_role("button", name="Search", exact=True).click()
    await page.get_by_text("1 order for").wait_for()
    await passes(page, "sales-sought")


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.longer
async def test_a_seller_marks_what_sold_elsewhere_and_takes_it_back(house, scheme, width):
    alice, bob = await house.person("alice"), await house.person("bob")
    ebay = await account(house, alice, "ebay", "alice")
    shirts = [await listing(house, alice, title=f"Linen shirt {one}") for one in (1, 2, 3)]
    for shirt in shirts:
        await publication(house, alice, shirt, ebay, wanted="live", put="live", state="live")
    await listing(house, bob, title="Bob's shirt")
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto(f"/listings/{shirts[0]}/stalls")
    await page.get_by_role("link", name="Mark as sold").click()
    await page.get_by_role("textbox", name="Where").fill(EVIL)
    await page.get_by_label("Sold for").fill("a lot")
    await page.get_by_role("button", name="Mark as sold").click()
    await page.get_by_text("Write an amount in dollars").wait_for()
    await passes(page, "sold-refused")
    await page.get_by_label("Sold for").fill("30")
    await page.get_by_label("Fees and costs").fill("4.50")
    await passes(page, "sold")
    await page.get_by_role("button", name="Mark as sold").click()
    await page.get_by_text("Marked as sold.").wait_for()
    await page.goto("/inventory")
    for shirt in shirts[1:]:
        await page.locator(f'tr[data-key="{shirt}"] input[type=checkbox]').first.check()
    await page.get_by_role("button", name="Mark as sold").click()
    await page.get_by_role("heading", name="Mark as sold: 2 listings").wait_for()
    await passes(page, "bulk-sold")
    await page.get_by_role("textbox", name="Where").fill("The flea market")
    await page.get_by_label("Linen shirt 2: sold for, in dollars").fill("12.50")
    await page.get_by_role("button", name="Mark 2 listings as sold").click()
    await page.get_by_text("2 listings are marked as sold.").wait_for()
    await passes(page, "bulk-sold-done")
    await page.goto("/sales")
    assert await page.evaluate("window.ran") is None
    assert EVIL in await page.locator("main").inner_text()
    assert "Bob" not in await page.content()
    await passes(page, "sales-elsewhere")
    await page.get_by_role("link", name="Show them").click()
    await page.get_by_role("link", name="Write its cost for Linen shirt 2").wait_for()
    await passes(page, "sales-costless")
    await page.get_by_role("link", name="Write its cost for Linen shirt 2").click()
    await page.get_by_role("textbox", name="Cost").fill("4.50")
    await passes(page, "sale-cost")
    await page.keyboard.press("Enter")
    await page.get_by_text("Its cost is written.").wait_for()
    await page.get_by_role("link", name="cost $4.50 for Linen shirt 2: change").wait_for()
    await page.goto("/sales")
    row = page.locator(".sold > li", has_text="Linen shirt 2")
    await row.get_by_role("button", name="Take it back").click()
    await page.get_by_role("dialog").get_by_role("button", name="Take it back").click()
    await page.get_by_text("You took it back").wait_for()
    await page.goto(f"/sales?month={datetime.now(UTC):%Y-%m}&on=elsewhere")
    await passes(page, "sales-month")
