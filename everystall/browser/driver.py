"""The one Playwright driver of a worker process, started when the first browser is wanted."""

from __future__ import annotations

import asyncio

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

    def forget_if_dead(self, error: BaseException) -> None:
        """After a browser that did not start: a driver whose process is gone is not asked again."""
        if "Connection closed" in str(error.__cause__ or ""):
            self._playwright = None

    async def close(self) -> None:
        if self._playwright is not None:
            playwright, self._playwright = self._playwright, None
            await playwright.stop()
