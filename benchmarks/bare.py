"""What our publish is compared with: the shortest honest script that fills in and submits each practice
form and reads the live page back, written by hand with Playwright. No session vault, no baseline, no
arming, no looking: only the form, in a Chromium of its own, with the same session and the same photos."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any

from playwright.async_api import Page, async_playwright

from everystall.browser.chromium import LAUNCH_ARGS, find_chromium
from everystall.demo.stage import LISTING, PHOTOS, Stage

_number = count(1)
_DESCRIPTION = str(LISTING["description"])
_PHOTOS = [str(photo) for photo in PHOTOS]
_CLEAN = re.compile(r"\s+")


async def publish(stage: Stage, marketplace: str, captured: Mapping[str, Any]) -> float:
    """Seconds from the start of Chromium to the live page read back."""
    title = f"Set of 4 photo prints, bare {next(_number)}"
    async with async_playwright() as playwright:
        started = time.perf_counter()
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(stage.settings), args=LAUNCH_ARGS, headless=True
        )
        context = await browser.new_context(
            base_url=stage.site(marketplace), storage_state={"cookies": captured["cookies"]}
        )
        for store in ("localStorage", "sessionStorage"):
            await context.add_init_script(
                f"for (const [k, v] of Object.entries({_js(captured[store])})) {store}.setItem(k, v)"
            )
        page = await context.new_page()
        page.set_default_timeout(10_000)
        await _SCRIPTS[marketplace](page, title)
        seconds = time.perf_counter() - started
        await browser.close()
        return seconds


async def _mercari(page: Page, title: str) -> None:
    async def dialog(test_id: str) -> None:
        await page.get_by_test_id(test_id).click()

    page.context.set_default_timeout(10_000)
    await page.goto("/sell/")
    photos = page.get_by_test_id("SellPhotoInput")
    await photos.wait_for(state="attached")
    if await page.get_by_test_id("WelcomeButton").is_visible():
        await page.get_by_test_id("WelcomeButton").click()
    await photos.set_input_files(_PHOTOS)
    await page.get_by_test_id("Title").fill(title)
    await page.get_by_test_id("Description").fill(_DESCRIPTION)
    await page.get_by_test_id("SellCategoryFieldButton").click()
    for step in ("Home", "Artwork", "Art Prints"):
        await page.get_by_test_id("DialogWrapper").get_by_role("button", name=step).first.click()
    await page.get_by_test_id("NoBrandLink").click()
    await page.get_by_test_id("ConditionLikeNew").click()
    await page.get_by_test_id("ShipsFromAddButton").or_(page.get_by_test_id("ShipsFromEditButton")).click()
    await page.get_by_test_id("ZipCodeInput").fill("97205")
    await dialog("ShipsFromSaveButton")
    await page.get_by_test_id("SelectShipping").click()
    tip, pounds = page.get_by_test_id("ShippingTipButton"), page.get_by_test_id("ItemWeightInPounds")
    await tip.or_(pounds).first.wait_for()
    if await tip.is_visible():
        await tip.click()
    await pounds.fill("0")
    await page.get_by_test_id("ItemWeightInOunces").fill("12")
    await page.get_by_test_id("FitsInShoeboxNo").check()
    for side, inches in (("Length", "12"), ("Width", "10"), ("Height", "1")):
        await page.get_by_test_id(f"Input{side}").fill(inches)
    await dialog("SelectCarrierButton")
    await page.get_by_test_id("Carrier-USPS").click()
    await dialog("SelectCarrierSaveButton")
    await page.get_by_test_id("FreeShippingNoButton").click()
    await page.get_by_test_id("Price").fill("32")
    await page.get_by_test_id("SmartPricingTurnOffButton").click()
    await page.get_by_test_id("ListButton").click()
    await page.wait_for_url("**/us/item/**")
    await _equal(page, "[data-testid=ItemName]", title)
    await _equal(page, "[data-testid=ItemPrice]", "$32")
    await _equal(page, "[data-testid=ItemDescription]", _DESCRIPTION)
    assert await page.get_by_test_id("ItemPhoto").count() == len(_PHOTOS)


async def _poshmark(page: Page, title: str) -> None:
    await page.goto("/create-listing")
    await page.locator("#img-file-input").set_input_files(_PHOTOS)
    await page.locator("[data-et-name=apply]").click()
    await page.locator("[data-vv-name=title]").fill(title)
    await page.locator("[data-vv-name=description]").fill(_DESCRIPTION)
    category = page.locator(".listing-editor__category-container")
    await category.locator(".dropdown__selector").click()
    await category.locator("[data-et-name=home]").click()
    await category.get_by_text("Art", exact=True).click()
    await page.locator(".listing-editor__condition-container .dropdown__selector").click()
    await page.locator("[data-et-name=listing_condition]").nth(1).click()
    await page.locator("[data-et-name=color]").click()
    for color in ("Brown", "Cream"):
        await page.locator(f"[data-color={color}]").click()
    await page.locator("[data-vv-name=listingPrice]").click()
    await page.locator("#listing-price-modal-listing-price-input").fill("32")
    await page.locator("#listing-price-modal-original-price-input").fill("48")
    await page.locator("[data-test=toggle-switch]").click()
    await page.locator("[data-et-name=price_done]").click()
    await page.locator("[data-et-name=show_details]").click()
    await page.locator("[data-vv-name=sku]").fill("BARE")
    await page.locator("[data-et-name=next]").click()
    await page.locator("[data-et-name=list]").click()
    await page.wait_for_url("**/feed?created_listing_id=*")
    await page.goto(f"/listing/{page.url.rpartition('=')[2]}")
    await _equal(page, ".listing__title", title)
    await _equal(page, ".listing__price", "$32")
    await _equal(page, ".listing__description", _DESCRIPTION)
    assert await page.locator(".listing__image").count() == len(_PHOTOS)


async def _equal(page: Page, selector: str, meant: str) -> None:
    shown = _CLEAN.sub(" ", await page.locator(selector).inner_text()).strip()
    if not shown.startswith(_CLEAN.sub(" ", meant).strip()):
        raise RuntimeError(f"{selector} shows {shown!r}, not {meant!r}")


def _js(value: Any) -> str:
    import json

    return json.dumps(value)


_SCRIPTS: dict[str, Callable[[Page, str], Awaitable[None]]] = {
    "poshmark": _poshmark,
    "mercari": _mercari,
}
