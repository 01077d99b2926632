"""A Chromium that runs elsewhere, reached by its DevTools address (BROWSER_CDP_URL): a context of its own per
visit, closed after it, or by Chromium itself when the connection breaks.

What our own browser has and this one cannot: no guard ends it with a stopped worker (the deadline before the
click and the click's time-out are the fence), no profile and no process of a visit's own, and whoever runs it
sees what passes through it. Its address may hold a key and is never shown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from playwright.async_api import Browser, BrowserContext, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from everystall.browser.driver import starting
from everystall.errors import Misconfigured
from everystall.settings import Settings


@asynccontextmanager
async def open_context(
    playwright: Playwright, settings: Settings, *, user_agent: str | None, time_zone: str | None
) -> AsyncIterator[BrowserContext]:
    """Raises BrowserNotStarted if the browser is not there this time."""
    with starting(elsewhere=True):
        browser = await _connect(playwright, settings)
        context = await browser.new_context(
            user_agent=user_agent,
            timezone_id=time_zone,
            accept_downloads=False,
            viewport={"width": 1280, "height": 900},
        )
    try:
        yield context
    finally:
        with suppress(PlaywrightError):
            await context.close()
        with suppress(PlaywrightError):
            await browser.close()  # the connection; the browser stays


async def find_version(settings: Settings) -> str:
    """What answers there. Raises Misconfigured."""
    async with async_playwright() as playwright:
        try:
            browser = await _connect(playwright, settings)
            version = browser.version
            await browser.close()
        except PlaywrightError:
            raise Misconfigured(
                "No browser answers at the address of BROWSER_CDP_URL.",
                action="Start it (chromium --headless --remote-debugging-port=9222), or correct the address.",
            ) from None
        return version


async def _connect(playwright: Playwright, settings: Settings) -> Browser:
    assert settings.browser_cdp_url is not None
    return await playwright.chromium.connect_over_cdp(
        settings.browser_cdp_url.get_secret_value(), timeout=settings.page_seconds * 1000
    )
