"""What moves, told to open pages as it happens: over a WebSocket, and over server-sent events where something
between breaks those. A message says which listings changed; the page asks for its own parts again, so a
message that never came, or came twice, leaves nothing wrong on it (docs/decisions/0011).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Final

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, StreamingResponse

from everystall.errors import RateLimited
from everystall.notify import notices
from everystall.web.deps import AllParts, PageSeller, Parts, SignedIn, find_signed_in
from everystall.web.listening import ANYTHING
from everystall.web.pages.opened import OpenedPage
from everystall.web.sockets import AWAY, LATER, REFUSED, let_in

router = APIRouter(include_in_schema=False)

#: Told by the triggers of migrations 0022 (listings) and 0040 (`accounts`, `visits`, `sales`), and `notices`
#: by notify/notices.py.
CHANNEL: Final = notices.MOVES
#: Seconds of silence after which we say that we are there, and see whether the browser is still signed in.
PING_SECONDS: Final = 20.0
#: So long a stream goes on.
STREAM_SECONDS: Final = 200.0
#: What happens within so many seconds after a message is one message; as long as a page waits between two
#: questions, so that a step that follows another at once is shown within a quarter of a second.
TOGETHER_SECONDS: Final = 0.1
#: Pages of one seller that are told at once, by one process; a page beyond these asks every so often itself.
MOST_PAGES: Final = 40


@router.websocket("/live")
async def watch(socket: WebSocket) -> None:
    """Messages: `{"listings": ["…"]}`, ids, CHANNEL's words or `*` (the first is that); `{}` says that we are
    there."""
    found = await let_in(socket)
    if found is None:
        return
    parts, who, token = found
    if parts.moves.count(who.user_id) >= MOST_PAGES:
        await socket.close(LATER)
        return
    await socket.accept()
    gone = asyncio.create_task(_until_gone(socket))
    try:
        async for message in _moves(parts, who, token, gone):
            await socket.send_text(message)
        if not gone.done():
            await socket.close(AWAY if parts.moves.closed else REFUSED)
    except (WebSocketDisconnect, RuntimeError):  # it went while we were sending
        pass
    finally:
        gone.cancel()


@router.get("/live/events")
async def stream(parts: AllParts, who: PageSeller) -> StreamingResponse:
    """The same, as server-sent events."""
    if parts.moves.count(who.user_id) >= MOST_PAGES:
        raise RateLimited("Too many of your pages are open at once.", retry_after=30)

    async def events() -> AsyncIterator[str]:
        async for message in _moves(parts, who, None, None):
            yield f"data: {message}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.get("/live/needs")
async def show_needs(page: OpenedPage) -> HTMLResponse:
    """How many things wait for the seller: the count that stands on every page."""
    return page.show("needs.html")


async def _moves(
    parts: Parts, who: SignedIn, token: str | None, gone: asyncio.Task[None] | None
) -> AsyncIterator[str]:
    """Messages until this process ends, the other side has gone or is signed out; of a stream, which has no
    `token`, for a few minutes: its browser comes back by itself and is asked again who it is."""
    began = asked = time.monotonic()
    with parts.moves.waiting(who.user_id) as woken:
        await parts.moves.ready(PING_SECONDS)
        woken.hear(ANYTHING)  # between the page's own reading and now
        while not parts.moves.closed and not (gone is not None and gone.done()):
            waiting = asyncio.ensure_future(woken.wait())
            try:
                ends = [waiting] if gone is None else [waiting, gone]
                await asyncio.wait(ends, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            if token is None and time.monotonic() - began > STREAM_SECONDS:
                return
            if token is not None and time.monotonic() - asked >= PING_SECONDS:
                asked = time.monotonic()
                if await find_signed_in(parts, token, ("browser",)) is None:
                    return
            if woken.is_set():
                yield json.dumps({"listings": sorted(woken.take())})
                await asyncio.sleep(TOGETHER_SECONDS)
            else:
                yield "{}"


async def _until_gone(socket: WebSocket) -> None:
    """A page says nothing to us; what it sends is thrown away."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
