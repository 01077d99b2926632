"""The one Playwright driver of a worker process, started when the first browser is wanted."""

from __future__ import annotations

import asyncio

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Playwright, async_playwright


class Driver:
    """`await driver.get()` gives the running driver. Its 0.6 s and 150 MB are paid once per process, not
    per visit."""

    def __init__(self) -> None:
        self._playwright: Playwright | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> Playwright:
        async with self._lock:
            if self._playwright is None:
                self._playwright = await async_playwright().start()
            return self._playwright

    async def forget_if_dead(self) -> bool:
        """After a browser that did not start: whether the driver's process is gone. Then the next `get`
        starts another. Asked, not read from the error: a browser that falls over at once says the same."""
        playwright = self._playwright
        if playwright is None:
            return True
        try:
            async with asyncio.timeout(5):
                await (await playwright.request.new_context()).dispose()
        except (PlaywrightError, TimeoutError):
            if self._playwright is playwright:
                self._playwright = None
            return True
        return False

    async def close(self) -> None:
        if self._playwright is not None:
            playwright, self._playwright = self._playwright, None
            await playwright.stop()
