"""A page as somebody far away sees and uses it: pictures of it as it changes, and what they do with mouse and
keys. What is typed goes to the page and nowhere else: it is in no log, no error and no trace.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, Literal

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import ViewportSize
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from everystall.browser.page import Page, translated
from everystall.errors import BrowserEnded, EverystallError

#: What a visit's page has.
USUAL: ViewportSize = {"width": 1280, "height": 900}
#: Seconds between two pictures for who works there, and for who only looks on: a page that plays a film shall
#: not take a processor.
FRAME_SECONDS, CALM_FRAME_SECONDS = 0.08, 0.5
#: Of JPEG.
QUALITY = 72
#: Characters of one message.
MOST_TEXT = 2000

_Part = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Pixels = Annotated[float, Field(ge=-4000, le=4000, allow_inf_nan=False)]
_KEYS = "Enter|Tab|Backspace|Delete|Escape|ArrowLeft|ArrowRight|ArrowUp|ArrowDown|Home|End|PageUp|PageDown"


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Mouse(_Said):
    """Where it is, as parts of the page's width and height."""

    do: Literal["move", "down", "up"]
    x: _Part
    y: _Part
    #: 2 for the second of a double click.
    clicks: Annotated[int, Field(ge=1, le=3)] = 1


class Wheel(_Said):
    do: Literal["wheel"]
    x: _Part
    y: _Part
    across: _Pixels = 0.0
    down: _Pixels = 0.0


class Text(_Said):
    do: Literal["text"]
    text: Annotated[str, Field(min_length=1, max_length=MOST_TEXT, repr=False)]


class Key(_Said):
    """One that writes nothing; and all of a field, to write over it."""

    do: Literal["key"]
    key: Annotated[str, Field(pattern=rf"^((Shift\+|Control\+)?({_KEYS})|Control\+a)$", repr=False)]


class Size(_Said):
    """What the seller has room for: a page is laid out for it, as for a window of that size."""

    do: Literal["size"]
    width: Annotated[int, Field(ge=1, le=10_000)]
    height: Annotated[int, Field(ge=1, le=10_000)]


class Way(_Said):
    do: Literal["back", "reload"]


class Done(_Said):
    """The seller has done what the marketplace asked for."""

    do: Literal["done"]


class Shown(_Said):
    """The last picture has arrived."""

    do: Literal["shown"]


Act = Mouse | Wheel | Text | Key | Size | Way | Done | Shown
_ACT: TypeAdapter[Act] = TypeAdapter(Annotated[Act, Field(discriminator="do")])


def read_act(message: str | bytes) -> Act | None:
    """What the seller's browser says that they did; None for what is no such thing."""
    try:
        return _ACT.validate_json(message)
    except (ValidationError, ValueError):
        return None


class Screen:
    """One page's."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.frame_seconds = FRAME_SECONDS

    @property
    def size(self) -> ViewportSize:
        return self.page.raw.viewport_size or USUAL

    async def pictures(self) -> AsyncIterator[bytes]:
        """JPEGs as the page changes, from now on; who is slow gets the newest, not each. Ends with the
        page."""
        raw = self.page.raw
        newest, fresh, tasks = b"", asyncio.Event(), set[asyncio.Task[None]]()

        async def taken(number: int) -> None:
            await asyncio.sleep(self.frame_seconds)
            with suppress(PlaywrightError):
                await cdp.send("Page.screencastFrameAck", {"sessionId": number})

        def on_frame(event: dict[str, Any]) -> None:
            nonlocal newest
            newest = base64.b64decode(event["data"])
            fresh.set()
            task = asyncio.ensure_future(taken(event["sessionId"]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        with translated():
            cdp = await raw.context.new_cdp_session(raw)
        cdp.on("Page.screencastFrame", on_frame)
        try:
            with translated():
                await cdp.send("Page.startScreencast", {"format": "jpeg", "quality": QUALITY})
            while not raw.is_closed():
                with suppress(TimeoutError):
                    await asyncio.wait_for(fresh.wait(), 1)
                if fresh.is_set():
                    fresh.clear()
                    yield newest
        finally:
            for task in tasks:
                task.cancel()
            with suppress(PlaywrightError):
                await cdp.detach()  # which stops it, too

    async def act(self, act: Act) -> None:
        """Does on the page what the seller did. Raises BrowserEnded; what the page does not take in that
        moment (it is on its way to another) is lost, as with any browser."""
        try:
            with translated():
                await self._act(act)
        except BrowserEnded:
            raise
        except EverystallError:
            return

    async def _act(self, act: Act) -> None:
        raw = self.page.raw
        if isinstance(act, Mouse):
            await raw.mouse.move(*self._at(act))
            if act.do == "down":
                await raw.mouse.down(click_count=act.clicks)
            elif act.do == "up":
                await raw.mouse.up(click_count=act.clicks)
        elif isinstance(act, Wheel):
            await raw.mouse.move(*self._at(act))
            await raw.mouse.wheel(act.across, act.down)
        elif isinstance(act, Text):
            if len(act.text) == 1:
                await raw.keyboard.type(act.text)
            else:
                await raw.keyboard.insert_text(act.text)
        elif isinstance(act, Key):
            await raw.keyboard.press(act.key)
        elif isinstance(act, Way):
            await (raw.go_back() if act.do == "back" else raw.reload(wait_until="commit"))

    async def resize(self, wanted: Size | None) -> None:
        """Lays the page out for the seller's room, within what sites know; None: as for any visit."""
        size = USUAL
        if wanted is not None:
            size = {"width": min(max(wanted.width, 360), 1280), "height": min(max(wanted.height, 480), 900)}
        if size != self.size:
            with translated():
                await self.page.raw.set_viewport_size(size)

    async def back_inside(self) -> str | None:
        """The host that the page just wanted to lead to and that is not the marketplace's; it is where it was
        before."""
        refused, self.page.refused = self.page.refused, None
        if refused is not None:
            with suppress(PlaywrightError):
                await self.page.raw.go_back(wait_until="commit")
        return refused

    def _at(self, act: Mouse | Wheel) -> tuple[float, float]:
        return act.x * self.size["width"], act.y * self.size["height"]
