"""What our publish is compared with: the shortest honest script that fills in and submits each practice
form and reads the live page back, written by hand with Playwright. No session vault, no baseline, no
arming, no looking: only the form, in a Chromium of its own, with the same session and the same photos."""

from __future__ import annotations

import json
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
                f"for (const [k, v] of Object.entries({json.dumps(captured[store])})) {store}.setItem(k, v)"
            )
        page = await context.new_page()
        page.set_default_timeout(10_000)
        await _SCRIPTS[marketplace](page, title)
        seconds = time.perf_counter() - started
        await browser.close()
        return seconds


async def _mercari(page: Page, title: str) -> None:
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
    await page.get_by_test_id("ShipsFromSaveButton").click()
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
    await page.get_by_test_id("SelectCarrierButton").click()
    await page.get_by_test_id("Carrier-USPS").click()
    await page.get_by_test_id("SelectCarrierSaveButton").click()
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


async def _ebay(page: Page, title: str) -> None:
    await page.goto("/sl/prelist/identify")
    await page.get_by_label("Enter a category value").fill("Art Prints")
    await page.locator(".category-option label", has_text=re.compile(r"Art Prints$")).first.click()
    await page.locator(".prelist-done").click()
    await page.locator(".prelist-no-match").click()
    await page.locator(".condition-option label", has_text="New other").click()
    await page.locator(".prelist-continue").click()
    photos = page.locator("#lstng-root input[type=file]")
    await photos.set_input_files(_PHOTOS)
    await page.locator("[name=title]").fill(title)
    await page.locator("[name=customLabel]").fill("BARE")
    await page.locator("[name='search-box-attributesColor']").fill("Brown")
    await page.locator("[role=menu][aria-label=Color]").get_by_text("Brown", exact=True).click()
    await page.frame_locator("#se-rte-frame__summary").locator("body").fill(_DESCRIPTION)
    await page.locator("[name=price]").fill("32")
    await page.locator("[name=quantity]").fill("1")
    await page.locator("[name=bestOfferEnabled]").uncheck()
    await page.locator("[name=promotedListing]").uncheck()
    await page.locator("[name=shippingPolicyId]").select_option(label="Ground, buyer pays")
    await page.locator("[name=paymentPolicyId]").select_option(label="Immediate payment")
    await page.locator("[name=returnPolicyId]").select_option(label="30 days, buyer pays")
    for name, value in (("majorWeight", "0"), ("minorWeight", "12"), ("packageLength", "12")):
        await page.locator(f"[name={name}]").fill(value)
    for name, value in (("packageWidth", "10"), ("packageDepth", "1"), ("itemLocationZip", "97205")):
        await page.locator(f"[name={name}]").fill(value)
    await page.locator(".uploader-thumbnail img").nth(len(_PHOTOS) - 1).wait_for()
    await page.locator(".lstng-list").click()
    await page.locator(".success-link").click()
    await _equal(page, ".x-item-title__mainTitle", title)
    await _equal(page, ".x-price-primary", "US $32")
    text = await page.frame_locator("#desc_ifr").locator("#ds_div").inner_text()
    assert _CLEAN.sub(" ", text).strip() == _CLEAN.sub(" ", _DESCRIPTION)
    assert await page.locator(".ux-image-carousel-item").count() == len(_PHOTOS)


async def _equal(page: Page, selector: str, meant: str) -> None:
    shown = _CLEAN.sub(" ", await page.locator(selector).inner_text()).strip()
    if not shown.startswith(_CLEAN.sub(" ", meant).strip()):
        raise RuntimeError(f"{selector} shows {shown!r}, not {meant!r}")


_SCRIPTS: dict[str, Callable[[Page, str], Awaitable[None]]] = {
    "poshmark": _poshmark,
    "mercari": _mercari,
    "ebay": _ebay,
}
