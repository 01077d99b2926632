"""A Chromium that runs elsewhere, by its DevTools address (BROWSER_CDP_URL, or what cloud.py hired for the
visit alone): a context of its own per visit, closed after it, or by Chromium when the connection breaks.

What our own browser has and this one cannot: no guard ends it with a stopped worker (the deadline before the
click and the click's time-out are the fence), no profile and no process of a visit's own, and whoever runs it
sees what passes through it. Its address may hold a key and is never shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

import structlog
from playwright.async_api import Browser, BrowserContext, CDPSession, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from everystall.browser import cloud
from everystall.browser.driver import starting
from everystall.errors import Misconfigured
from everystall.settings import Settings

log = structlog.get_logger()

#: Of requests that are asked about: all, or none.
_ALL, _NONE = "*", "nothing://"


@dataclass
class Requests:
    """Those of a whole browser, whoever in it asks: pages, workers of each kind from their first line on,
    what is prefetched. A socket is none, nor is a connection."""

    _cdp: CDPSession
    _may: Callable[[str], bool] | None = None
    _tasks: set[asyncio.Future[None]] = field(default_factory=set)

    @classmethod
    async def of(cls, browser: Browser) -> Self:
        """Before its pages are opened: who asked before is not seen. Raises Playwright's error where it does
        not let us."""
        made = cls(await browser.new_browser_cdp_session())
        made._cdp.on("Fetch.requestPaused", made._paused)
        await made.only(None)
        return made

    async def only(self, may: Callable[[str], bool] | None) -> None:
        """To these hosts, redirects included; None: to any, and nobody is asked."""
        self._may = may
        pattern = {"urlPattern": _NONE if may is None else _ALL}
        await self._cdp.send("Fetch.enable", {"patterns": [pattern]})

    def _paused(self, event: dict[str, Any]) -> None:
        task = asyncio.ensure_future(self._decide(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _decide(self, event: dict[str, Any]) -> None:
        url, told = urlsplit(event["request"]["url"]), {"requestId": event["requestId"]}
        away = url.scheme in ("http", "https") and self._may is not None and not self._may(url.hostname or "")
        with suppress(PlaywrightError):
            if away:
                log.warning("browser.host_refused", host=url.hostname)
                await self._cdp.send("Fetch.failRequest", told | {"errorReason": "BlockedByClient"})
            else:
                await self._cdp.send("Fetch.continueRequest", told)


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
