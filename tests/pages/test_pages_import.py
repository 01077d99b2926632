"""A file of listings, brought in by its page; and how import and export look."""

from __future__ import annotations

import asyncio

import pytest

from tests.bringing import bring_in
from tests.pages.conftest import DESK_AND_PHONE, EVIL, furnish
from tests.pages.plain.test_import_page import CUP, MUG, live_import
from tests.pages.test_pages_journey import press
from tests.pages.test_pages_look import LOOKS, look, passes
from tests.test_incoming import VENDOO, file

pytestmark = pytest.mark.browser


def given(data, name="mine.csv"):
    return {"name": name, "mimeType": "text/csv", "buffer": data}


@DESK_AND_PHONE
@pytest.mark.longer
async def test_a_file_is_looked_at_and_brought_in_without_choosing_it_twice(house):
    await house.person("alice")
    page = await house.signed_in("alice")
    await page.goto("/inventory")
    await page.get_by_role("navigation", name="Inventory").get_by_role("link", name="Import").click()
    await page.get_by_label("The file", exact=True).set_input_files(given(b"what is this", name="photo.jpg"))
    await page.get_by_role("button", name="Look at it first").click()
    await page.locator("#import-file:invalid").wait_for()
    evil = {**MUG, "Title": EVIL, "Condition": EVIL}
    await page.get_by_label("The file", exact=True).set_input_files(given(file(VENDOO, evil, CUP)))
    await page.get_by_role("button", name="Look at it first").click()
    outlook = page.locator("#outlook:focus")
    await outlook.get_by_text("A file of Vendoo, 2 listings. Nothing is written yet.").wait_for()
    assert EVIL[:20] in await outlook.inner_text()
    assert await page.evaluate("window.ran") is None
    assert await house.rows("SELECT 1 FROM imports") == []
    await press(page, "Bring it in")
    await page.wait_for_url("**/inventory/import/*-*")
    assert await page.get_by_text("0 of 2 rows").is_visible()
    await bring_in(house.database, asyncio.Event())
    await page.get_by_text("2 rows are through").wait_for()


@pytest.mark.longer
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_how_importing_looks(house, scheme, width):
    alice = await house.person("alice")
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/inventory/import")
    await passes(page, "import-none")
    await furnish(house, alice)
    accounts = await house.rows("SELECT public_id FROM connections ORDER BY public_id")
    await live_import(house, accounts[0]["public_id"], listed_at="2026-11-26T10:00:00Z")
    await live_import(house, accounts[3]["public_id"], status="done", listed_at="2026-11-26T10:00:00Z")
    await page.goto("/inventory/import")
    rows = [{**MUG, "Title": f"Mug, number {n}", "Sku": f"M-{n}"} for n in range(12)]
    data = file(VENDOO, *rows, CUP, {**MUG, "Title": "Bowl", "Sku": "B-1", "Price": "twelve"})
    await page.get_by_label("The file", exact=True).set_input_files(
        given(data, name="vendoo-export-2026-11.csv")
    )
    await page.get_by_role("button", name="Look at it first").click()
    await page.locator("#outlook h3").wait_for()
    await passes(page, "import-looked-at")
    await page.get_by_role("button", name="Bring it in").click()
    await page.wait_for_url("**/import/*-*")
    await passes(page, "import-running", "vendoo-export-2026-11.csv")
    await bring_in(house.database, asyncio.Event())
    await page.reload()
    await passes(page, "import-done", "vendoo-export-2026-11.csv")
    await page.goto("/inventory/export")
    await passes(page, "export")
