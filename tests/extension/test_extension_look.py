"""The popup at the size that browsers show it, light and dark, in each state: nothing sideways, nothing
that axe-core calls serious (contrast among it). With EVERYSTALL_TEST_SHOTS it leaves pictures there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from everystall.demo.own_browser import own_browser, pair, row_of, until
from everystall.demo.stage import Stage
from tests.pages.test_pages_look import passes

pytestmark = pytest.mark.browser
#: As style sheets see it: 360 px is the popup's own width.
SIZE = {"width": 360, "height": 600}


def standing(**changes: Any) -> dict[str, Any]:
    """One marketplace as the extension keeps it."""
    return {
        "profile": "bp_1", "profiles": ["bp_1"], "signedIn": True, "print": "p", "due": False,
        "syncedAt": (time.time() - 300) * 1000, "signedOutDue": False, "notBefore": 0, "status": "connected",
        "problem": None, "which": None, **changes,
    }  # fmt: skip


STATES = {
    "fine": {
        "poshmark": standing(),
        "mercari": standing(signedIn=False, print=None, due=True),
        "ebay": standing(due=True, problem="Your Everystall server cannot be reached."),
    },
    "asking": {
        "poshmark": standing(status="expired"),
        "mercari": standing(syncedAt=None, profiles=[], problem="None of the cookies is Mercari's."),
        "ebay": standing(
            which=[
                {"browserProfileId": "bp_2", "label": "Books", "accountName": None},
                {"browserProfileId": "bp_3", "label": None, "accountName": "cards-and-more"},
            ]
        ),
    },
}


async def both(page: Any, name: str) -> None:
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        await passes(page, f"popup-{name}")


@pytest.mark.extended
async def test_the_popup_in_light_and_in_dark(stage: Stage, new_seller: Callable[[], str], tmp_path: Path):
    new_seller()
    async with own_browser(stage, tmp_path) as browser:
        page = await browser.popup()
        await page.set_viewport_size(SIZE)
        await page.get_by_label("Address of your server").fill(stage.url)
        await both(page, "pair")
        await page.get_by_label("Code").fill("short")
        await page.get_by_role("button", name="Continue").click()
        await page.get_by_role("alert").wait_for()
        await both(page, "pair-refused")
        code = stage.call("POST", "/api/pairings")["code"]
        await page.get_by_label("Code").fill(code)
        await page.get_by_role("button", name="Continue").click()
        await page.get_by_role("heading", name="Is this yours?").wait_for()
        await both(page, "confirm")
        await page.close()

        page = await pair(stage, browser)
        await page.set_viewport_size(SIZE)
        await both(page, "paired")
        await row_of(page, "mercari").get_by_role("button", name="Connect Mercari").click()
        await row_of(page, "mercari").get_by_text("languages and time zone").wait_for()
        await both(page, "consent")
        await page.get_by_role("button", name="What leaves this browser").click()
        await page.get_by_text("your languages and time zone").wait_for()
        await both(page, "privacy")
        await page.get_by_role("button", name="Back").click()
        await page.get_by_role("button", name="Not now").click()

        # what a tick would find out, and undo: the sites were not allowed
        await page.evaluate("chrome.alarms.clear('tick')")
        for name, states in STATES.items():
            kept = {f"connected:{marketplace}": state for marketplace, state in states.items()}
            await page.evaluate("(kept) => chrome.storage.local.set(kept)", kept)
            await until(page, "poshmark", "connected" if name == "fine" else "stale")
            await both(page, name)
        await page.get_by_role("button", name="Unpair").click()
        await both(page, "unpair")
