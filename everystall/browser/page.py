"""A page in the words of an adapter: targets instead of selectors, our errors instead of Playwright's.

Before anything is looked for, and while it is, the page is looked at for what is not ours to work on:
a sign-in page, a captcha, a limit. A commit target is clicked once, never healed, never retried.
Where the marketplace asks for a rest, in whichever answer, no page is opened and nothing committed before it
is over.
Nothing here ever waits for Playwright's own 30 seconds.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin, urlsplit

import structlog
from playwright.async_api import Dialog, FilePayload, JSHandle, Locator, Request, Response
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page as RawPage
from playwright.async_api import TimeoutError as PlaywrightTimeout

from everystall.browser.agent import Helper, Wish
from everystall.browser.guard import Deadline
from everystall.browser.heal import Healed, Healing
from everystall.browser.looks import SHOWN, layout_of
from everystall.browser.targets import Obstacle, Site, Target
from everystall.errors import (
    AccountLimited,
    BrowserEnded,
    ChallengeShown,
    EverystallError,
    LeaseLost,
    MarketplaceBusy,
    NotWanted,
    PageChanged,
    SessionExpired,
)
from everystall.settings import Settings

if TYPE_CHECKING:
    from everystall.marketplaces.base import PhotoFile

log = structlog.get_logger()

#: Seconds between two looks for an obstacle while a target is looked for.
OBSTACLE_POLL = 0.2
State = Literal["visible", "attached"]
#: What Playwright says when the page went away under what we did: nobody's fault, passes by itself.
_MOVED_ON = re.compile(r"context was destroyed|navigat|detached|interrupted", re.IGNORECASE)
#: What makes a page that is mounted in the browser, and what Chromium calls a connection that broke: not a
#: part that the page itself gave up, or that its own rules forbid.
_PARTS = ("script", "fetch", "xhr")
_CUT_OFF = re.compile(
    r"ERR_(CONNECTION|SOCKS|EMPTY|INCOMPLETE|CONTENT_LENGTH|TIMED_OUT|NETWORK|NAME_NOT|ADDRESS|INTERNET)"
)
#: Of a photo that a page shows, in bytes.
MOST_FETCHED = 30_000_000


@contextmanager
def translated(deadline: Deadline | None = None) -> Iterator[None]:
    """Playwright's errors as ours; no URL and no page text in a message."""
    try:
        yield
    except PlaywrightTimeout as e:
        if deadline is not None and deadline.passed:
            raise LeaseLost from e
        raise MarketplaceBusy("The page did not answer in time.") from e
    except PlaywrightError as e:
        if deadline is not None and deadline.passed:
            raise LeaseLost from e
        said = e.message.split("\n", 1)[0]  # behind it comes a log that quotes the page
        if re.search("closed|crashed|disconnected", said):
            raise BrowserEnded("Everystall's own browser ended in the middle of it.") from e
        found = re.search(r"net::(ERR_[A-Z_]+)", said)
        if found:
            raise MarketplaceBusy(f"The marketplace cannot be reached ({found[1]}).") from e
        if _MOVED_ON.search(said):
            raise MarketplaceBusy("The page went on to another one meanwhile.") from e
        raise PageChanged("The page does not work as we know it.") from e


def pauses() -> Iterator[float]:
    """Seconds to wait between two looks: short at first, longer the longer it takes. Each look is a round
    trip for each locator; where many pages are slow at once, looking would be what slows them."""
    pause = 0.03
    while True:
        yield pause
        pause = min(pause * 1.3, 0.3)


#: An element, and its place, where the page may draw it anew.
_HOLD = """(one) => {
  const within = one.parentElement, all = [...(within?.children ?? [])];
  return {one, within, at: all.indexOf(one), of: all.length};
}"""
#: What shows there, of that element or of the same kind in its place; null: nothing does.
_SHOWS_THERE = f"""({{one, within, at, of}}) => {{
  const kind = (e) => [e.tagName, e.type, e.getAttribute("role")].join();
  const anew = within?.isConnected && within.children.length === of && within.children[at];
  const there = one.isConnected ? one : anew;
  const seen = there && kind(there) === kind(one) && there.checkVisibility({{visibilityProperty: true}});
  return seen ? ({SHOWN})(there) : null;
}}"""


class Page:
    """One page. All waits are settings.locator_seconds unless said otherwise."""

    def __init__(
        self, raw: RawPage, *, site: Site, base_url: str, settings: Settings, deadline: Deadline | None = None
    ) -> None:
        #: Playwright's page, for evidence and for nobody else.
        self.raw = raw
        self.base_url = base_url
        self._site = site
        self._settings = settings
        self._deadline = deadline
        #: Text of dialogs that the page opened; each was dismissed, unless a commit said otherwise.
        self.dialogs: list[str] = []
        #: The host of a top-level page that the walls refused (session.py).
        self.refused: str | None = None
        #: The browser, its driver or the page's process has ended: nothing more can be done with this one.
        self.gone = False
        #: A `commit` came as far as its click, since somebody last set this to False.
        self.clicked = False
        #: A rehearsal: all but the click of a `commit`.
        self.dry = False
        self._accept_dialog = False
        #: Addresses that were asked for since `goto`: the last ones.
        self._asked: deque[str] = deque(maxlen=300)
        raw.on("dialog", self._on_dialog)
        #: Something that makes the page was asked for since `goto`, and the connection broke.
        self._lacks_part = False
        raw.on("request", lambda request: self._asked.append(request.url))
        raw.on("requestfailed", self._on_lost)
        #: Until when the marketplace asked us to rest, by time.monotonic().
        self._rest_until = 0.0
        raw.on("response", self._on_answer)
        #: What is known of this marketplace's targets (heal.py); none: nothing is healed or remembered.
        self.healing: Healing | None = None
        #: Asked where the other rungs stop (agent.py); none: that is a stop.
        self.helper: Helper | None = None
        #: What such a one did here.
        self.acts = 0
        #: What was filled in, read and closed, since `goto`: while one of these shows, nobody else acts.
        self.sealed: Sequence[Target] = ()
        #: The healed locator that found what was looked for last.
        self._healed: Healed | None = None
        #: What targets were found as since `goto`, and the elements at which something was done: a menu's own
        #: button may say what was chosen from then on.
        self._met: dict[str, Locator] = {}
        self._held: dict[str, JSHandle] = {}

    @property
    def url(self) -> str:
        return self.raw.url

    @property
    def rest(self) -> float:
        """Seconds that are left of the rest that the marketplace asked for; 0: it asked for none."""
        return max(self._rest_until - time.monotonic(), 0.0)

    # ---- going places ----

    async def goto(self, path: str, *, ready: Target | None = None) -> None:
        """Opens a path of the marketplace, or an address on its hosts, and waits for `ready`."""
        address = urljoin(self.base_url + "/", path)
        self._own(address)
        self._stay_away()
        self.refused, self._accept_dialog = None, False
        self._asked.clear()
        self._met.clear()
        self._held.clear()
        self._lacks_part, self.sealed = False, ()
        try:
            with self._translated():
                response = await self._go(address)
        except MarketplaceBusy:
            self._inside()
            raise
        await self.look_out()
        _judge(response)
        if ready is not None:
            await self._do(
                ready, f"come to {ready.intent}", _nothing, seconds=self._settings.page_seconds, waits=True
            )

    async def look_out(self) -> None:
        """Raises if the page shows something that is not ours to work on: one round trip if not."""
        self._inside()
        obstacles = self._site.obstacles
        for obstacle in obstacles:
            if any(re.search(pattern, self.raw.url) for pattern in obstacle.urls):
                raise self._error_for(obstacle)
        texts = [text for obstacle in obstacles for text in obstacle.locators]
        if not texts or not await self._any_visible(texts):
            return
        for obstacle in obstacles:
            if obstacle.locators and await self._any_visible(obstacle.locators):
                raise self._error_for(obstacle)

    async def wait_url(self, pattern: str, *, seconds: float | None = None) -> None:
        """Until the address matches the regular expression."""
        end = time.monotonic() + (seconds or self._settings.page_seconds)
        looked = time.monotonic()
        pause = pauses()
        while not re.search(pattern, self.raw.url):
            if time.monotonic() - looked > OBSTACLE_POLL:
                looked = time.monotonic()
                await self.look_out()
            if time.monotonic() > end:
                raise MarketplaceBusy("The marketplace did not go on to the next page.")
            await asyncio.sleep(next(pause))

    # ---- acting ----

    async def fill(self, target: Target, text: str) -> None:
        async def act(found: Locator) -> None:
            await found.fill(text, timeout=self._milliseconds)
            await self._holds(target, found, text)

        await self._do(target, f"write its value into {target.intent}", act, value=text)

    async def type(self, target: Target, text: str) -> None:
        """Key by key, for fields that take nothing else."""

        async def act(found: Locator) -> None:
            await found.press_sequentially(text, timeout=self._settings.page_seconds * 1000)
            await self._holds(target, found, text)

        await self._do(target, f"write its value into {target.intent}", act, value=text)

    async def press(self, target: Target, key: str) -> None:
        found = await self._find(target)
        async with self._acting(target):
            await found.press(key, timeout=self._milliseconds)

    async def click(self, target: Target, *, accept_dialog: bool = False) -> None:
        """For what only the seller can see. A commit target goes through `commit`.

        `accept_dialog`: the question that this asks is answered yes, for a draft that is deleted."""
        if target.effect == "commit":
            raise PageChanged(f"“{target.intent}” would publish: it is clicked by commit only.")
        self._accept_dialog = accept_dialog and target.effect == "draft"
        try:
            await self._do(
                target, f"press {target.intent}", lambda found: found.click(timeout=self._milliseconds)
            )
        finally:
            self._accept_dialog = False

    async def hover(self, target: Target) -> None:
        found = await self._find(target)
        async with self._acting(target):
            await found.hover(timeout=self._milliseconds)

    async def check(self, target: Target, on: bool) -> None:
        async def act(found: Locator) -> None:
            await found.set_checked(on, timeout=self._milliseconds, force=not await found.is_visible())

        await self._do(target, f"{'tick' if on else 'untick'} {target.intent}", act, state="attached")

    async def select(self, target: Target, label: str) -> None:
        """An option of a <select>, by its exact label."""

        async def act(found: Locator) -> None:
            await found.select_option(label=label, timeout=self._milliseconds)
            await self._holds(target, found, label)

        await self._do(target, f"choose its value in {target.intent}", act, value=label)

    async def set_files(self, target: Target, files: Sequence[PhotoFile]) -> None:
        """Bytes, never paths: the browser may run where our files are not."""
        given = [FilePayload(name=one.name, mimeType=one.content_type, buffer=one.data) for one in files]
        await self._do(
            target,
            f"give the photos to {target.intent}",
            lambda found: found.set_input_files(given, timeout=self._settings.page_seconds * 1000),
            state="attached",
        )

    async def commit(self, target: Target, *, accept_dialog: bool = False) -> None:
        """The one click that a buyer can see the outcome of. LeaseLost if we may no longer act. Any other
        error but PageChanged, and NotWanted in a rehearsal, leaves open whether the page took the click:
        somebody must look.

        `accept_dialog`: the page's next question ("Are you sure?") is answered yes, that one only."""
        if target.effect != "commit":
            raise PageChanged(f"“{target.intent}” is not marked as what publishes.")
        found = await self._find(target)
        async with self._acting(target):
            if not await found.is_enabled(timeout=self._milliseconds):
                raise PageChanged(f"The page does not let us press {target.intent}.")
        if self.dry:
            raise NotWanted("This is a rehearsal: nothing is clicked.")
        if self._deadline is not None and self._deadline.passed:
            raise LeaseLost
        self._stay_away()
        self._accept_dialog = accept_dialog
        log.info("visit.at", at="click", target=target.intent)
        self.clicked = True
        try:
            with self._translated():
                await found.click(timeout=self._settings.commit_click_seconds * 1000, no_wait_after=True)
        except PageChanged as e:
            raise MarketplaceBusy("Whether the page took the click is not known.") from e

    # ---- waiting ----

    async def wait_for(
        self, target: Target, *, state: State = "visible", seconds: float | None = None
    ) -> None:  # fmt: skip
        await self._find(target, state=state, seconds=seconds)

    async def wait_enabled(self, target: Target) -> None:
        """Until it can be pressed, what publishes too: that is what stands in front of `arm`."""

        async def act(_: Locator) -> None:
            end, pause = time.monotonic() + self._settings.locator_seconds, pauses()
            while not await self.is_enabled(target):
                if time.monotonic() > end:
                    raise PageChanged(f"The page does not let us press {target.intent}.")
                await asyncio.sleep(next(pause))

        if await self.count(target) == 0:  # it is waited for, and that it cannot be found is final
            await self._find(target)
        do = f"make it possible to press {target.intent}, without pressing it"
        await self._do(target, do, act, waits=True)

    async def wait_gone(self, target: Target, *, seconds: float | None = None) -> None:
        end = time.monotonic() + (seconds or self._settings.locator_seconds)
        pause = pauses()
        while await self.has(target):
            if time.monotonic() > end:
                await self.look_out()
                raise PageChanged(f"This did not go away: {target.intent}.")
            await asyncio.sleep(next(pause))
        self._held.pop(target.key, None)
        self._met.pop(target.key, None)  # what stands in its place later is another's

    async def first(self, *targets: Target, seconds: float | None = None) -> int:
        """Which of them shows first, as its place."""
        end = time.monotonic() + (seconds or self._settings.locator_seconds)
        looked = time.monotonic()
        pause = pauses()
        while True:
            for place, target in enumerate(targets):
                if await self.has(target):
                    return place
            if time.monotonic() - looked > OBSTACLE_POLL:
                looked = time.monotonic()
                await self.look_out()
            if time.monotonic() > end:
                await self.look_out()
                healed = [place for place, one in enumerate(targets) if await self._heal(one, "visible")]
                if len(healed) == 1:
                    return healed[0]
                self._miss(*targets)
                raise self._absent(f"None of these is on the page: {'; '.join(t.intent for t in targets)}.")
            await asyncio.sleep(next(pause))

    def lacks(self, *targets: Target) -> None:
        """These are known not to be on the page now: what looks like them is another."""
        if self.healing is not None:
            self.healing.lacking = {target.key for target in targets}

    def met(self, target: Target) -> bool:
        """It was found on this page before."""
        return target.key in self._met

    # ---- reading ----

    def heard(self, pattern: str) -> str | None:
        """The first group of the regular expression in an address that the page itself asked for since
        `goto` opened it, answered or not; None if there is none."""
        found = next((found for url in self._asked if (found := re.search(pattern, url))), None)
        return found[1] if found else None

    async def has(self, target: Target) -> bool:
        """Is it visible now?"""
        return await self.count(target) > 0

    async def stands(self, target: Target, *, state: State = "visible") -> bool:
        """Is it there, or in a moment, by the rungs before the last, and can it be used?"""
        try:
            found = await self._find(target, state=state)
        except PageChanged:
            return False
        with self._translated():
            return await found.is_enabled(timeout=self._milliseconds)

    async def count(self, target: Target) -> int:
        """How many are visible now, by the first locator that finds any."""
        with self._translated():
            for locator, healed in self._tries(target):
                found = await _many(locator.locator("visible=true"), healed)
                if found:
                    return found
        return 0

    async def text(self, target: Target) -> str:
        found = await self._find(target)
        with self._translated():
            return await found.inner_text(timeout=self._milliseconds)

    async def texts(self, target: Target) -> list[str]:
        """Of all that are visible now."""
        with self._translated():
            for locator in self.locators_of(target):
                found = await locator.locator("visible=true").all_inner_texts()
                if found:
                    return found
        return []

    async def value(self, target: Target) -> str:
        found = await self._find(target, state="attached")
        with self._translated():
            return await found.input_value(timeout=self._milliseconds)

    async def attribute(self, target: Target, name: str) -> str | None:
        found = await self._find(target, state="attached")
        with self._translated():
            return await found.get_attribute(name, timeout=self._milliseconds)

    async def is_checked(self, target: Target) -> bool:
        found = await self._find(target, state="attached")
        with self._translated():
            return await found.is_checked(timeout=self._milliseconds)

    async def is_enabled(self, target: Target) -> bool:
        found = await self._find(target)
        with self._translated():
            return await found.is_enabled(timeout=self._milliseconds)

    async def read(self, script: str, arg: Any = None) -> Any:
        """The result of a function that only reads the page: one round trip for a whole list."""
        with self._translated():
            return await self.raw.evaluate(script, arg)

    async def cookie(self, name: str) -> str | None:
        """One of the marketplace's."""
        with self._translated():
            cookies = await self.raw.context.cookies(self.base_url)
        return next((one.get("value") for one in cookies if one.get("name") == name), None)

    async def fetch(self, url: str) -> bytes:
        """What the page itself would get from an address on the marketplace's hosts (its photos)."""
        url = urljoin(self.raw.url, url)
        self._own(url, self._site.parts)
        here, there = urlsplit(self.raw.url), urlsplit(url)
        # The page may not read what lies on another origin, so Playwright's client does; that one cannot
        # resolve *.localhost. It follows no redirect, which could lead anywhere.
        if here[:2] != there[:2] and not (there.hostname or "").endswith("localhost"):
            with self._translated():
                answer = await self.raw.context.request.get(
                    url, max_redirects=0, timeout=self._settings.page_seconds * 1000
                )
                self._hear(url, answer.status, answer.headers)
                if answer.ok and int(answer.headers.get("content-length") or 0) <= MOST_FETCHED:
                    return await answer.body()
            raise self._busy(f"The marketplace did not give us back a photo ({answer.status}).")
        with self._translated():
            got = await self.raw.evaluate(
                """async ([url, most]) => {
                    let blob;
                    try {
                        const answer = await fetch(url, {credentials: 'include',
                                                         signal: AbortSignal.timeout(20000)});
                        if (!answer.ok) return null;
                        blob = await answer.blob();
                    } catch { return null; }
                    if (blob.size > most) return null;
                    const reader = new FileReader();
                    return await new Promise((done) => {
                        reader.onload = () => done(reader.result.split(',')[1] || '');
                        reader.readAsDataURL(blob);
                    });
                }""",
                [url, MOST_FETCHED],
            )
        if got is None:
            raise self._busy("The marketplace did not give us back a photo.")
        return base64.b64decode(got)

    async def read_form(self, script: str, fields: Mapping[str, Target]) -> Any:
        """The same. What it does not find (null) is read from its target, where that is on the page, or from
        what was found as that before: a value, or the words of what is no field. What a target looks like is
        noted also where it is only read: once the site has changed, it may have to be found to be set."""
        shown = await self.read(script)
        noting = self.healing is not None and self.healing.noting
        for name, target in fields.items():
            if shown[name] is not None and not noting:
                continue
            with self._translated():
                for found, healed in self._tries(target):
                    if await _many(found, healed) == 1:
                        if shown[name] is None:
                            shown[name] = await found.evaluate(SHOWN, timeout=self._milliseconds)
                        if self.healing is not None and healed is None:
                            await self.healing.note(target, found, layout_of(self.raw.url, target.frame))
                        break
            if shown[name] is None and (held := self._held.get(target.key)) is not None:
                with suppress(PlaywrightError):  # the page is another
                    shown[name] = await held.evaluate(_SHOWS_THERE)
        return shown

    # ---- parts ----

    @property
    def _milliseconds(self) -> float:
        return self._settings.locator_seconds * 1000

    async def _go(self, address: str) -> Response | None:
        """Twice again where the page before this one was still on its way somewhere."""
        for left in (2, 1, 0):
            try:
                return await self.raw.goto(address, wait_until="domcontentloaded")
            except PlaywrightError as e:
                if not left or "interrupted by another navigation" not in e.message:
                    raise
            await asyncio.sleep(0.1)
        return None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with translated(self._deadline):
                yield
        except BrowserEnded:
            self.gone = True
            raise

    def _inside(self) -> None:
        if self.refused is not None:
            raise PageChanged(f"The marketplace led us to {self.refused}, which is not its own.")

    def _own(self, url: str, parts: Sequence[str] = ()) -> None:
        """PageChanged unless the address is the marketplace's."""
        there = urlsplit(url)
        own = (urlsplit(self.base_url).hostname or "", *self._site.domains, *parts)
        host = there.hostname or ""
        if there.scheme not in ("http", "https") or not any(
            host == one or host.endswith("." + one) for one in own if one
        ):
            raise PageChanged(f"An address on {host or there.scheme} is not the marketplace's own.")

    def _on_answer(self, response: Response) -> None:
        self._hear(response.url, response.status, response.headers)

    def _hear(self, url: str, status: int, headers: Mapping[str, str]) -> None:
        """Any answer of the marketplace's own hosts may ask us to rest: that to a click, too."""
        seconds = _asked_rest(status, headers)
        if seconds:
            with suppress(PageChanged):  # a stranger's is none of the marketplace's
                self._own(url)
                self._rest_until = max(self._rest_until, time.monotonic() + seconds)

    def _stay_away(self) -> None:
        if self.rest:
            raise self._busy("The marketplace asks us to slow down.")

    def _busy(self, said: str) -> MarketplaceBusy:
        return MarketplaceBusy(said, retry_after=self.rest or None)

    def _error_for(self, obstacle: Obstacle) -> EverystallError:
        if obstacle.kind == "login":
            return SessionExpired(obstacle.says)
        if obstacle.kind == "limited":
            return AccountLimited(obstacle.says)
        if obstacle.kind == "busy":
            return self._busy(obstacle.says)
        return ChallengeShown(obstacle.says)

    @asynccontextmanager
    async def _acting(self, target: Target) -> AsyncIterator[None]:
        """Something was found: if it cannot be used, either an obstacle came up or the page has changed."""
        try:
            with self._translated():
                yield
        except (MarketplaceBusy, PageChanged) as e:
            if isinstance(e.__cause__, PlaywrightTimeout):
                await self.look_out()
                self._was_wrong()
                raise PageChanged(f"This is on the page but cannot be used: {target.intent}.") from e
            raise

    async def _do(
        self, target: Target, do: str, act: Callable[[Locator], Awaitable[None]], *, state: State = "visible",
        seconds: float | None = None, waits: bool = False, value: str | None = None,
    ) -> None:  # fmt: skip
        """What is done at a target. Where the other rungs stop, rung 4 does it, or clears the way to it.
        `waits`: it only has to be there. `value`: what is written or chosen."""
        try:
            await self._try(target, act, state, seconds)
            return
        except PageChanged as e:
            if self.helper is None or self._lacks_part or self.rest or self.clicked:
                raise
            came = await self.helper.help(self, Wish(target, do, state, waits, value))
            if came is None:
                raise PageChanged(f"{e.message} {self.helper.says}") from e
        if came == "clear":
            await self._try(target, act, state, None)

    async def _try(
        self, target: Target, act: Callable[[Locator], Awaitable[None]], state: State, seconds: float | None
    ) -> None:
        found = await self._find(target, state=state, seconds=seconds)
        if self.healing is not None:
            with self._translated():
                self._held[target.key] = await found.evaluate_handle(_HOLD, timeout=self._milliseconds)
        async with self._acting(target):
            await act(found)

    async def _any_visible(self, texts: Sequence[str]) -> bool:
        with self._translated():
            union = self.raw.locator(texts[0])
            for text in texts[1:]:
                union = union.or_(self.raw.locator(text))
            return await union.locator("visible=true").count() > 0

    def locators_of(self, target: Target) -> Iterator[Locator]:
        return (locator for locator, _ in self._tries(target))

    def _tries(self, target: Target) -> Iterator[tuple[Locator, Healed | None]]:
        """Its locators in order: healed ones that proved themselves, its own, other healed ones."""
        root = self.raw if target.frame is None else self.raw.frame_locator(target.frame)
        healing, layout = self.healing, layout_of(self.raw.url, target.frame)
        for one in healing.tried(target, layout, first=True) if healing else ():
            yield root.locator(target.filled(one.locator)), one
        for text in target.locators:
            yield root.locator(text), None
        for one in healing.tried(target, layout, first=False) if healing else ():
            yield root.locator(target.filled(one.locator)), one

    async def _find(
        self, target: Target, *, state: State = "visible", seconds: float | None = None
    ) -> Locator:  # fmt: skip
        """The ladder. Rung 1: the locators, in order; one visible match is a find, several are none.
        Rungs 2 and 3 (heal.py) come once that took as long as it may, or as any other would."""
        end = time.monotonic() + (seconds or self._settings.locator_seconds)
        looked = time.monotonic()
        heal_at = min(end, looked + self._settings.locator_seconds)
        pause = pauses()
        while True:
            with self._translated():
                for locator, healed in self._tries(target):
                    wanted = locator.locator("visible=true") if state == "visible" else locator
                    if await _many(wanted, healed) == 1 and await self._fits(target, wanted, healed):
                        await self.meet(target, wanted, healed)
                        return wanted
            now = time.monotonic()
            if now - looked > OBSTACLE_POLL or now > end:
                looked = now
                await self.look_out()
            if now > heal_at or now > end:
                await self.look_out()
                heal_at = end
                if (found := await self._heal(target, state, ask=now > end)) is not None:
                    return found
            if now > end:
                several = await self.count(target)
                if several > 1:
                    raise PageChanged(
                        f"This is on the page {several} times, where one is expected: {target.intent}."
                    )
                self._miss(target)
                raise self._absent(f"We do not find this on the page: {target.intent}.")
            await asyncio.sleep(next(pause))

    async def _fits(self, target: Target, found: Locator, healed: Healed | None) -> bool:
        if healed is None or self.healing is None:
            return True
        return await self.healing.fits(target, found, layout_of(self.raw.url, target.frame), healed)

    async def meet(self, target: Target, found: Locator, healed: Healed | None) -> None:
        """Something was found."""
        self._healed, self._met[target.key] = healed, found
        if self.healing is None:
            return
        if healed is not None:
            self.healing.use(healed)
        else:
            self.healing.found.add(target.key)
            await self.healing.note(target, found, layout_of(self.raw.url, target.frame))

    def taken(self, target: Target) -> list[Locator]:
        """What other targets than this were found as on this page."""
        return [found for key, found in self._met.items() if key != target.key]

    def _miss(self, *targets: Target) -> None:
        if self.healing is not None:
            self.healing.missing.update(target.key for target in targets)

    async def _heal(self, target: Target, state: State, *, ask: bool = True) -> Locator | None:
        """Rungs 2 and, where it may `ask`, 3: on a page that was just looked at for obstacles and lacks no
        part of its own."""
        if self.healing is None or not target.heal or self._lacks_part or self.rest:
            return None
        if await self.count(target) > 1:  # it is there, more than once
            return None
        layout = layout_of(self.raw.url, target.frame)
        with self._translated():
            healed = await self.healing.find(
                self.raw,
                target,
                layout,
                attached=state == "attached",
                taken=self.taken(target),
                ask=ask and target.guess,
            )
            if healed is None:
                return None
            await self.meet(target, *healed)
        return healed[0]

    async def _holds(self, target: Target, found: Locator, text: str) -> None:
        """What was written stands in the field: asked where that was healed."""
        if self.healing is None:
            return
        self.healing.written.add(text)
        if self._healed is None:
            return
        if _folded(await found.evaluate(SHOWN, timeout=self._milliseconds)) != _folded(text):
            self._was_wrong()
            raise PageChanged(f"This does not keep what we write: {target.intent}.")

    def _was_wrong(self) -> None:
        if self.healing is not None and self._healed is not None:
            self.healing.fail(self._healed)
            self._healed = None

    def _absent(self, said: str) -> EverystallError:
        """Of a page that lacks what makes it, nothing can be said but that."""
        if self._lacks_part or self.rest:
            return self._busy("A part of the page did not arrive.")
        return PageChanged(said)

    def _on_lost(self, request: Request) -> None:
        if request.resource_type in _PARTS and _CUT_OFF.search(request.failure or ""):
            with suppress(PageChanged):  # a stranger's is none of the page's
                self._own(request.url, self._site.parts)
                self._lacks_part = True

    async def _on_dialog(self, dialog: Dialog) -> None:
        """No is the answer, but for leaving a half-filled form, and for the question behind a commit or
        behind the deletion of a draft."""
        yes = dialog.type == "beforeunload" or self._accept_dialog
        if dialog.type != "beforeunload":
            self.dialogs.append(dialog.message[:200])
            self._accept_dialog = False
        with suppress(PlaywrightError):
            await (dialog.accept() if yes else dialog.dismiss())


async def _nothing(_: Locator) -> None:
    pass


async def _many(found: Locator, healed: Healed | None) -> int:
    """How many there are. One that came from a file may be no selector at all: it finds none."""
    try:
        return await found.count()
    except PlaywrightError:
        if healed is None:
            raise
        return 0


def _folded(text: str) -> str:
    """As a site may write it its own way: "25" and "$25.00", two spaces and one."""
    number = re.fullmatch(r"\W{0,2}([\d,]+(?:\.\d+)?)", text.strip())
    return f"{float(number[1].replace(',', '')):g}" if number else " ".join(text.split())


def _judge(response: Response | None) -> None:
    """What the main answer's status says, where the page itself said nothing we know."""
    if response is None:
        return
    asked = _asked_rest(response.status, response.headers)
    if response.status == 429:
        raise MarketplaceBusy("The marketplace asks us to slow down.", retry_after=asked)
    if response.status >= 500:
        said = f"The marketplace answers with an error of its own ({response.status})."
        raise MarketplaceBusy(said, retry_after=asked)


def _asked_rest(status: int, headers: Mapping[str, str]) -> float | None:
    """Seconds for which an answer asks us to rest: *too many requests*, or an error with a Retry-After."""
    asked = headers.get("retry-after", "")
    return _seconds(asked) if status == 429 or (status >= 500 and asked) else None


def _seconds(retry_after: str) -> float:
    """Retry-After: seconds, or a date; a minute where it says neither, an hour at most: after that it is
    asked again, and what is to be taken down waits no longer for a word that may be a slip."""
    with suppress(ValueError):
        return min(max(float(retry_after), 0.0), 3600.0)
    with suppress(ValueError, TypeError):
        then = parsedate_to_datetime(retry_after)
        return min(max((then - datetime.now(UTC)).total_seconds(), 0.0), 3600.0)
    return 60.0
