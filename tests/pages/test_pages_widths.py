"""The main pages of a shop in full swing, from a phone to a wide screen: none of them moves sideways, and
a thumb meets what it aims at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.pages.shop import open_shop
from tests.pages.test_pages_activity import busy
from tests.pages.test_pages_look import look
from tests.pages.test_pages_notifications import happens

pytestmark = [pytest.mark.browser, pytest.mark.longer]
#: A phone, a tablet upright and on its side, a desk, a wide screen.
WIDTHS = (390, 768, 1024, 1440, 1920)
PAGES = {
    "today": "/", "inventory": "/inventory", "grid": "/inventory?look=grid", "deleted": "/inventory/deleted",
    "matches": "/inventory/matches", "import": "/inventory/import", "export": "/inventory/export",
    "needs-you": "/needs-you", "listing": "/listings/{id}", "stalls": "/listings/{id}/stalls",
    "content": "/listings/{id}/content", "sold": "/listings/{id}/sold", "sales": "/sales",
    "prices": "/prices", "price-changes": "/prices/changes", "drops": "/prices/drops",
    "relisting": "/prices/relisting", "connections": "/connections", "rules": "/connections/rules",
    "mails": "/connections/mails", "openings": "/connections/{account}/openings", "account": "/account",
    "signing-in": "/account/sign-in", "backup": "/account/backup", "notifications": "/notifications",
    "notification-settings": "/notifications/settings", "webhooks": "/notifications/webhooks",
    "activity": "/activity", "healed": "/activity/healed", "settings": "/settings",
    "connection-check": "/settings/connection", "extension": "/extension", "reference": "/api/docs",
}  # fmt: skip

#: Pixels by which a page is wider than its window.
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

#: Controls that are lower than a thumb is wide: 44 px, on a phone.
THIN = """() => {
  const high = one => one.getBoundingClientRect().height;
  const all = document.querySelectorAll(
    'main :is(button, summary, select, textarea, input:not([type=hidden]), .btn), nav a');
  return [...all].filter(one => one.checkVisibility() && one.offsetWidth > 1).filter(one => {
    const labels = [...(one.labels ?? [])];
    return Math.max(high(one), ...labels.map(high)) < 43.5;
  }).map(one => one.outerHTML.slice(0, 120) + ' ' + high(one));
}"""


async def test_no_page_scrolls_sideways_at_any_width_and_a_thumb_meets_its_controls(house):
    alice = await house.person("alice", "owner")
    await house.person("bob")
    shop = await open_shop(house, alice)
    await busy(house, alice)
    await happens(house, alice, "publication.live", title="Levi's 501 straight jeans", marketplace="mercari")
    page = await house.signed_in("alice", **look("light", 1440))
    page.set_default_timeout(60_000)
    bobs = await house.signed_in("bob")
    wrong = []
    for name, path in PAGES.items():
        path = path.format(id=shop.listings["Carhartt"], account=shop.accounts["ebay"])
        await page.goto(path)
        await page.wait_for_load_state("networkidle")
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 900})
            if (by := await page.evaluate(SIDEWAYS)) > 0:
                wrong.append(f"{name} at {width} by {by}")
            if width == 390:
                wrong += [f"{name}: {one}" for one in await page.evaluate(THIN)]
            if folder := os.environ.get("EVERYSTALL_TEST_SHOTS"):
                await page.screenshot(path=Path(folder) / f"{name}-{width}.png", full_page=True)
        if "/listings/" in path:
            assert (await bobs.request.get(path)).status == 404
    assert wrong == []
