"""The one Playwright driver of a worker process, started when the first browser is wanted; and what it is
when a browser does not start."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Playwright, async_playwright
from playwright.async_api import TimeoutError as PlaywrightTimeout

from everystall.errors import (
    BrowserNotStarted,
    EverystallError,
    MarketplaceBusy,
    Misconfigured,
    PageChanged,
)

log = structlog.get_logger()

#: Of Playwright's log of a start: Chromium's own last words, and how it ended.
_TELLING = re.compile(r"\[err\]\s*(.+)|<(process did exit: [^>]+)>")


@contextmanager
def starting(*, elsewhere: bool = False) -> Iterator[None]:
    """Until a browser is there nothing was asked of a marketplace: whatever keeps it from starting is no word
    of theirs. Raises BrowserNotStarted, with the cause in the log. `elsewhere`: it is none of ours."""
    ours = "Everystall's own browser did not start"
    try:
        yield
    except Misconfigured as e:
        log.warning("browser.not_started", cause=e.message)
        raise BrowserNotStarted(f"{ours}. {e.message}", action=e.action) from e
    except (PlaywrightError, MarketplaceBusy, PageChanged, OSError) as e:
        cause = e.__cause__ if isinstance(e, EverystallError) and e.__cause__ is not None else e
        log.warning("browser.not_started", cause=cause_of(cause))
        if elsewhere:
            raise BrowserNotStarted(
                "The browser that Everystall works with, on another machine, did not start: it does not "
                "answer, or not in time.",
                action="Whoever runs Everystall looks whether it runs and has memory left (BROWSER_CDP_URL), "
                "or whether one can be hired (BROWSER_USE_API_KEY).",
            ) from e
        if isinstance(cause, PlaywrightTimeout | TimeoutError):
            said = "in time: the machine that Everystall runs on is too slow or short of memory."
            raise BrowserNotStarted(f"{ours} {said}") from e
        raise BrowserNotStarted(
            f"{ours}: it ended at once. The machine that Everystall runs on is short of memory, or its "
            "Chromium does not work."
        ) from e


def cause_of(error: BaseException) -> str:
    """What an error of a start says, for the log: its first line and Chromium's last words. No address: that
    of a browser elsewhere may hold a key."""
    first, *more = str(error).splitlines() or [""]
    told = [found[1] or found[2] for found in map(_TELLING.search, more) if found]
    said = " · ".join([first or type(error).__name__, *list(dict.fromkeys(told))[-4:]])
    return re.sub(r"\w+://\S+", "…", said)[:600]


class Driver:
    """`await driver.get()` gives the running driver. Its 0.6 s and 150 MB are paid once per process, not
    per visit. Raises BrowserNotStarted."""

    def __init__(self) -> None:
        self._playwright: Playwright | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> Playwright:
        async with self._lock:
            if self._playwright is None:
                with starting():
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
