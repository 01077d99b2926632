"""The main pages of a shop in full swing, from a phone to a wide screen: nothing moves sideways, nothing is
cut, and no line of words is longer than is read well."""

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

#: What is wrong with how a page lies: but for what is meant to move sideways in itself, and says so.
WRONG = """() => {
  const root = document.documentElement, found = new Set();
  if (root.scrollWidth > root.clientWidth) found.add(`sideways by ${root.scrollWidth - root.clientWidth}`);
  const all = [...document.querySelectorAll('main *')].filter(one =>
    one.checkVisibility({ visibilityProperty: true })
    && !one.closest('.vh, .scrolls, .views, .bulk, pre, svg'));
  for (const one of all) {
    const box = one.getBoundingClientRect(), said = (one.innerText ?? '').slice(0, 60);
    if (!box.width || !said.trim()) continue;
    if (box.right > root.clientWidth + 1 || box.left < -1) found.add(`cut: ${said}`);
    if (one.matches('.chip, .num, .btn, .filters a, dt, dd') && one.scrollWidth > one.clientWidth + 1
        && getComputedStyle(one).display !== 'inline') found.add(`too long: ${said}`);
    if (!one.matches('p') || one.querySelector('.btn, input')) continue;
    const words = document.createRange();
    words.selectNodeContents(one);
    const line = Math.max(0, ...[...words.getClientRects()].map(rect => rect.width));
    if (line > 56 * parseFloat(getComputedStyle(one).fontSize)) found.add(`hard to read: ${said}`);
  }
  return [...found];
}"""


async def test_every_page_lies_well_at_every_width(house):
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
            wrong += [f"{name} at {width}: {one}" for one in await page.evaluate(WRONG)]
            if folder := os.environ.get("EVERYSTALL_TEST_SHOTS"):
                await page.screenshot(path=Path(folder) / f"{name}-{width}.png", full_page=True)
        if "/listings/" in path:
            assert (await bobs.request.get(path)).status == 404
    assert wrong == []
