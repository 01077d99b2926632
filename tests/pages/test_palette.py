"""Ctrl K, and the keys that hold on every page."""

from __future__ import annotations

import pytest

from tests.pages.conftest import EVIL, visiting
from tests.pages.standing import listing

pytestmark = pytest.mark.browser


@pytest.mark.longer
async def test_the_palette_goes_anywhere_by_keys_alone(house):
    alice = await house.person("alice")
    made = await listing(house, alice, title="Blue denim jacket", sku="J-7")
    page = await house.signed_in("alice", viewport={"width": 1440, "height": 900})
    await page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="A page, or words of a listing")
    assert await page.get_by_role("option").first.inner_text() == "New listing\nC"
    await field.fill("sal")
    assert await page.get_by_role("option").all_inner_texts() == ["Sales\nG S"]
    await field.fill("denim")
    await page.get_by_role("option", name="Blue denim jacket").wait_for()
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/listings/{made}")
    await page.locator("#name").click()  # out of the fields
    await page.keyboard.press("g")
    await page.keyboard.press("s")
    await page.wait_for_url("**/sales")
    await page.keyboard.press("?")
    await field.fill("nothing like it")
    await page.get_by_text("Nothing of that name.").wait_for()
    await page.keyboard.press("Escape")
    assert not await page.get_by_role("dialog").is_visible()
    await page.keyboard.press("c")
    await page.wait_for_url("**/listings/*")
    assert len(await house.rows("SELECT 1 FROM listings")) == 2


async def test_it_finds_nobody_elses_and_what_was_written_is_text(house):
    alice, _ = await house.person("alice"), await house.person("bob")
    await listing(house, alice, title=EVIL)
    async with visiting(house, "alice") as page:
        found = await page.get("/find?q=onerror")
        assert "&lt;img src=x" in found
        assert "<img src=x" not in found
        assert "<li" not in await page.get("/find?q=")
        assert "<li" not in await page.get("/find?q=%00")
    async with visiting(house, "bob") as page:
        assert "<li" not in await page.get("/find?q=onerror")
