"""A browser as a seller has one: a profile that stays, and our extension in it; for the demo, the benchmarks
and the tests. Never part of a visit.

Chromium asks a person before an extension may read a site. Here that yes is given as the browser's own page
of extensions would give it; the click in the popup still has to follow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from playwright.async_api import BrowserContext, Page, Playwright, async_playwright

from everystall.browser.chromium import LAUNCH_ARGS, find_chromium
from everystall.settings import Settings

#: No name but this machine's resolves.
_LOOPBACK = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE *.localhost, EXCLUDE localhost, EXCLUDE 127.0.0.1"

_SAY_YES = """async ([id, hosts]) => {
    const api = chrome.developerPrivate;
    const add = (host) => new Promise((done) =>
        api.addHostPermission(id, host, () => done(chrome.runtime.lastError)));
    for (const host of hosts) await add(host);
    await new Promise((done) => api.updateExtensionConfiguration(
        { extensionId: id, hostAccess: 'ON_SPECIFIC_SITES' }, () => done(chrome.runtime.lastError)));
    for (const host of hosts) await add(host);
}"""


_PATHS = """() => new Promise((done) => chrome.developerPrivate.getExtensionsInfo({}, (all) =>
    done(all.map((one) => [one.id, one.path ?? '']))))"""


@dataclass
class OwnBrowser:
    context: BrowserContext
    extension_id: str = ""

    async def id_of(self, extension: Path) -> str:
        """Of an unpacked extension that is loaded. Its service worker cannot be asked: it may be evicted."""
        page = await self.context.new_page()
        await page.goto("chrome://extensions")
        found = await page.evaluate(_PATHS)
        await page.close()
        return next(str(id) for id, path in found if Path(path).resolve() == extension.resolve())

    async def popup(self) -> Page:
        """The extension's popup, as a page of its own."""
        page = await self.context.new_page()
        await page.goto(f"chrome-extension://{self.extension_id}/popup/popup.html")
        return page

    async def say_yes_to(self, *hosts: str) -> None:
        """The browser's question about these hosts (match patterns) will be answered with yes."""
        page = await self.context.new_page()
        await page.goto("chrome://extensions")
        await page.evaluate(_SAY_YES, [self.extension_id, list(hosts)])
        await page.close()


@asynccontextmanager
async def open_own_browser(
    profile: Path,
    extension: Path,
    settings: Settings,
    *,
    playwright: Playwright | None = None,
    more_extensions: Sequence[Path] = (),
) -> AsyncIterator[OwnBrowser]:
    """Chromium on this profile with the unpacked extension; it ends with the block, the profile stays."""
    if playwright is None:
        async with (
            async_playwright() as own,
            open_own_browser(
                profile, extension, settings, playwright=own, more_extensions=more_extensions
            ) as browser,
        ):
            yield browser
        return
    loaded = ",".join(str(each) for each in (extension, *more_extensions))
    context = await playwright.chromium.launch_persistent_context(
        profile,
        executable_path=str(find_chromium(settings)),
        headless=True,
        args=[*LAUNCH_ARGS, _LOOPBACK, f"--disable-extensions-except={loaded}", f"--load-extension={loaded}"],
        viewport=cast("Any", {"width": 1280, "height": 900}),
    )
    try:
        browser = OwnBrowser(context)
        browser.extension_id = await browser.id_of(extension)
        yield browser
    finally:
        await context.close()
