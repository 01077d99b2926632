"""What a seller does in a browser of their own, with the extension in it: pair by the code, sign in at the
marketplaces, press *Connect*. For the demo, the benchmarks and the tests; nothing here calls the API in the
extension's place.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from everystall.browser.own import OwnBrowser, open_own_browser
from everystall.demo.stage import Stage
from everystall.extension import marketplaces, unpack
from everystall.marketplaces import MARKETPLACES

#: Milliseconds that a click or a page may take.
PATIENCE = 120_000


@asynccontextmanager
async def own_browser(
    stage: Stage, folder: Path | None = None, more_extensions: Sequence[Path] = ()
) -> AsyncIterator[OwnBrowser]:
    """A Chromium with the practice build. Its profile is kept in `folder`, else gone with the block."""
    kept = folder or Path(tempfile.mkdtemp(prefix="everystall-own-"))
    try:
        extension = unpack(kept / "extension", practice=True)
        async with open_own_browser(
            kept / "profile", extension, stage.settings, more_extensions=more_extensions
        ) as browser:
            browser.context.set_default_timeout(PATIENCE)
            yield browser
    finally:
        if folder is None:
            shutil.rmtree(kept, ignore_errors=True)


async def pair(stage: Stage, browser: OwnBrowser, address: str | None = None) -> Any:
    """Types the code of the stage's seller into the popup and accepts what it shows; the popup, a page.
    `address`: where the server is for this browser, if not under its own."""
    code = stage.call("POST", "/api/pairings")["code"]
    # Chromium asks about hosts only what nobody answers in a headless one
    hosts = [host for one in marketplaces(practice=True).values() for host in one["hosts"]]
    await browser.say_yes_to(*hosts)
    popup = await browser.popup()
    await popup.get_by_label("Address of your server").fill(address or stage.url)
    await popup.get_by_label("Code").fill(f"{code[:4]}-{code[4:]}")
    await popup.get_by_role("button", name="Continue").click()
    await popup.get_by_role("button", name="Yes, pair this browser").click()
    await popup.get_by_role("button", name=f"Connect {next(iter(MARKETPLACES.values()))}").wait_for()
    return popup


async def sign_in(stage: Stage, browser: OwnBrowser, marketplace: str, username: str) -> Any:
    """Through the marketplace's own page, in a tab that stays open."""
    page = await browser.context.new_page()
    await import_module(f"everystall.sandbox.{marketplace}.signin").sign_in(
        page, stage.site(marketplace), username
    )
    return page


async def connect(popup: Any, marketplace: str) -> None:
    """Presses *Connect*, then *Allow and connect*."""
    row = row_of(popup, marketplace)
    await popup.bring_to_front()
    await row.get_by_role("button", name=f"Connect {MARKETPLACES[marketplace]}", exact=True).click()
    await row.get_by_role("button", name="Allow and connect").click()


async def until(popup: Any, marketplace: str, state: str, timeout: float = PATIENCE) -> None:
    """Until the popup shows it: off, needs-sign-in, stale, waiting, connected."""
    await popup.locator(f"[data-marketplace={marketplace}][data-state={state}]").wait_for(timeout=timeout)


def row_of(popup: Any, marketplace: str) -> Any:
    return popup.locator(f"[data-marketplace={marketplace}]")
