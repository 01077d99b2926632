"""A Chromium that runs elsewhere, by its DevTools address (BROWSER_CDP_URL, or what cloud.py hired for the
visit alone): a context of its own per visit, closed after it, or by Chromium when the connection breaks.

What our own browser has and this one cannot: no guard ends it with a stopped worker (the deadline before the
click and the click's time-out are the fence), no profile and no process of a visit's own, and whoever runs it
sees what passes through it. Its address may hold a key and is never shown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from playwright.async_api import Browser, BrowserContext, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from everystall.browser import cloud
from everystall.browser.driver import starting
from everystall.errors import Misconfigured
from everystall.settings import Settings


@asynccontextmanager
async def open_context(
    playwright: Playwright, settings: Settings, *, user_agent: str | None, time_zone: str | None
) -> AsyncIterator[tuple[BrowserContext, str | None]]:
    """With the browser's address where nobody else is in it. Raises BrowserNotStarted if it is not there this
    time."""
    async with AsyncExitStack() as stack:
        own: str | None = None
        with starting(elsewhere=True):
            if settings.browser_cdp_url is None:
                own = await stack.enter_async_context(cloud.hired(settings))
            browser = await _connect(playwright, settings, own)
            stack.push_async_callback(_closed, browser)  # the connection; the browser stays
            context = await browser.new_context(
                user_agent=user_agent,
                timezone_id=time_zone,
                accept_downloads=False,
                viewport={"width": 1280, "height": 900},
            )
            stack.push_async_callback(_closed, context)
        yield context, own


async def _closed(one: Browser | BrowserContext) -> None:
    with suppress(PlaywrightError):
        await one.close()


async def find_version(settings: Settings) -> str:
    """What answers there. Raises Misconfigured."""
    if settings.browser_cdp_url is None:
        await cloud.check(settings)
        return "Browser Use Cloud"
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


async def _connect(playwright: Playwright, settings: Settings, own: str | None = None) -> Browser:
    address = settings.browser_cdp_url.get_secret_value() if settings.browser_cdp_url is not None else own
    assert address is not None
    return await playwright.chromium.connect_over_cdp(address, timeout=settings.page_seconds * 1000)
