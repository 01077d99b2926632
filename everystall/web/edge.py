"""The outermost layer, plain ASGI: how much a request may send, and headers that every answer carries.

Counted as the bytes arrive, so a body without a Content-Length is held to the same limit; nothing is
kept of what is too much.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from everystall.errors import TooLarge

MEGABYTE = 1024 * 1024
#: A photo is at most 25 MB; the rest is multipart's own.
PHOTOS = 26 * MEGABYTE
SESSION = 2 * MEGABYTE
JSON = MEGABYTE
#: Bytes beyond the limit that are read and thrown away, so that the sender gets to read our answer
#: instead of a reset connection.
DRAINED = 32 * MEGABYTE

#: Bytes by path, and what to do about more.
_LIMITS = (
    (re.compile(r"/api/listings/[^/]+/photos/?"), PHOTOS, "Send fewer photos at once, or each by itself."),
    (re.compile(r"/api/sessions/sync/?"), SESSION, "Send that marketplace's own cookies and storage only."),
    (re.compile(r".*", re.DOTALL), JSON, "Send less at once."),
)


def _limit_of(path: str) -> tuple[int, str]:
    return next((limit, action) for pattern, limit, action in _LIMITS if pattern.fullmatch(path))


def refusal(path: str) -> TooLarge:
    """What is said of too much at this address."""
    limit, action = _limit_of(path)
    return TooLarge(
        f"That is more than the {limit // MEGABYTE} MB that are taken here at once.", action=action
    )


class Edge:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        (limit, _), got = _limit_of(scope["path"]), 0
        declared = Headers(scope=scope).get("content-length", "0")

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("cache-control", "no-store")
                headers.setdefault("content-security-policy", "default-src 'none'; frame-ancestors 'none'")
                headers.setdefault("referrer-policy", "no-referrer")
                headers.setdefault("x-content-type-options", "nosniff")
            await send(message)

        async def drain() -> None:
            seen, more = 0, True
            while more and seen < DRAINED:
                message = await receive()
                seen += len(message.get("body", b""))
                more = message["type"] == "http.request" and message.get("more_body", False)

        async def receive_counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > limit:
                if message.get("more_body", False):
                    await drain()
                raise HTTPException(413, detail="too large")
            return message

        if declared.isascii() and declared.isdigit() and int(declared[:19]) > limit:
            await drain()
            error = refusal(scope["path"])
            await JSONResponse(error.as_json(), error.status)(scope, receive, send_safely)
            return
        await self.app(scope, receive_counted, send_safely)
