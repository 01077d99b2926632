"""The prices' pages in a browser: a rule to what is live, and how each looks."""

from __future__ import annotations

import pytest

from tests.pages.conftest import DESK_AND_PHONE
from tests.pages.plain.test_prices_pages import live
from tests.pages.test_pages_journey import press
from tests.pages.test_pages_look import LOOKS, look, passes

pytestmark = pytest.mark.browser


@DESK_AND_PHONE
@pytest.mark.extended
async def test_a_rule_is_tried_saved_and_applied_to_what_is_live(house):
    alice = await house.person("alice")
    await live(house, alice)
    page = await house.signed_in("alice")
    await page.get_by_role("link", name="Prices", exact=True).click()
    await page.get_by_text("Make a rule for eBay").click()
    ebay = page.locator("#ebay")
    await ebay.get_by_label("At least left after fees").fill("30")
    for needed in ("Postage that the buyer pays", "Sales tax in per cent"):
        await ebay.get_by_label(needed).fill("0")
    await ebay.get_by_role("button", name="Show what it makes").click()
    await ebay.get_by_text("Not saved yet.").wait_for()
    await ebay.get_by_role("button", name="Save the rule").click()
    await ebay.get_by_role("link", name="See what would change").click()
    await press(page, "Look")
    await page.get_by_role("button", name="Change 1 price").click()
    await page.get_by_text("1 price is changed.").wait_for()
    await page.goto("/prices")
    assert await page.get_by_text("stands by another rule").count() == 0


@pytest.mark.longer
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_how_pricing_looks(house, scheme, width):
    alice = await house.person("alice")
    page = await house.signed_in("alice", **look(scheme, width))
    for path, name in (
        ("", "prices"),
        ("/drops", "drops"),
        ("/changes", "changes"),
        ("/relisting", "relisting"),
    ):
        await page.goto(f"/prices{path}")
        await passes(page, f"{name}-none")
    for title, price in (("Linen shirt, hardly worn", 2500), ("Stoneware mug, ash glaze", 1800),
                         ("Levi's 501 jeans, 32x30, dark wash, never hemmed", 4500)):  # fmt: skip
        await live(house, alice, title=title, price_cents=price, days=58)
    await page.goto("/prices")
    await page.get_by_text("Make a rule for eBay").click()
    ebay = page.locator("#ebay")
    await ebay.get_by_label("Mark-up in per cent").fill("8")
    await ebay.get_by_label("At least left after fees").fill("20")
    for needed in ("Postage that the buyer pays", "Sales tax in per cent"):
        await ebay.get_by_label(needed).fill("0")
    await ebay.get_by_role("button", name="Show what it makes").click()
    await ebay.get_by_text("Not saved yet.").wait_for()
    await passes(page, "prices-tried")
    await ebay.get_by_role("button", name="Save the rule").click()
    await ebay.get_by_role("link", name="See what would change").click()
    await page.get_by_role("button", name="Look", exact=True).click()
    await page.get_by_role("button", name="Change 3 prices").wait_for()
    await passes(page, "changes")
    await page.get_by_role("button", name="Change 3 prices").click()
    await page.get_by_text("3 prices are changed.").wait_for()
    await passes(page, "changes-done")
    await page.get_by_role("button", name="Undo").click()
    await page.get_by_text("3 prices are as they were.").wait_for()
    await passes(page, "changes-undone")
    await house.rows("UPDATE publications SET put_revision = wanted_revision")  # as a visit finds it
    await page.goto("/prices/drops")
    for label, value in (
        ("Each step takes away", "10"),
        ("Days between two steps", "7"),
        ("Never below", "12"),
    ):
        await page.get_by_label(label).fill(value)
    await page.get_by_role("button", name="Let prices fall").click()
    await page.get_by_text("Falls next").wait_for()
    await passes(page, "drops")
    await page.goto("/prices/relisting")
    ebay = page.locator("#ebay")
    await ebay.get_by_label("Days that it has stood there").fill("60")
    await ebay.get_by_label("At most a day, on each account").fill("2")
    await ebay.get_by_role("button", name="Relist by this rule on eBay").click()
    await page.get_by_text("Not before these days").wait_for()
    await passes(page, "relisting")
