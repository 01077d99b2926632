"""Pairs that may be one thing, answered by keys; and how they look."""

from __future__ import annotations

import pytest

from tests.pages.plain.test_matches_page import pair
from tests.pages.test_pages_look import LOOKS, look, passes

pytestmark = pytest.mark.browser


@pytest.mark.longer
async def test_pairs_are_answered_and_taken_back_by_keys(house):
    alice = await house.person("alice")
    await pair(house, alice, number=1)
    await pair(house, alice, "Mug", "Mug, blue", number=2)
    page = await house.signed_in("alice")
    await page.goto("/inventory/matches")
    first = await page.locator(".match[data-here] h2").inner_text()
    await page.keyboard.press("j")
    assert await page.locator(".match[data-here] h2").inner_text() != first
    await page.keyboard.press("k")
    await page.keyboard.press("n")
    await page.get_by_text("Two things.").wait_for()
    assert await page.locator(".match").count() == 1
    await page.keyboard.press("u")
    await page.get_by_text("you are asked again").wait_for()
    assert await page.locator(".match").count() == 2
    await page.keyboard.press("y")
    await page.get_by_text("One thing.").wait_for()
    states = await house.rows("SELECT state FROM matches ORDER BY state")
    assert [row["state"] for row in states] == ["linked", "proposed"]


@pytest.mark.longer
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_how_matching_looks(house, scheme, width):
    alice = await house.person("alice")
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/inventory/matches")
    await passes(page, "matches-none")
    await pair(house, alice, "Linen shirt, hardly worn", "LINEN SHIRT light blue men's M", number=1)
    await pair(house, alice, "Stoneware mug", "Stoneware mug, ash glaze, 12 oz", number=2)
    await page.goto("/inventory/matches")
    await passes(page, "matches")
    await page.get_by_role("button", name="Same thing").first.click()
    await page.get_by_text("One thing.").wait_for()
    await page.goto("/inventory/matches?state=linked")
    await passes(page, "matches-linked")
