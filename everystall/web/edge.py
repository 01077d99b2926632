"""The outermost layer, plain ASGI: under which names we answer, which of the routes an extension may call,
how much a request may send, and headers that every answer carries.

Bytes are counted as they arrive, so a body without a Content-Length is held to the same limit; nothing is
kept of what is too much.
"""

from __future__ import annotations

import re
import secrets

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from everystall.errors import EverystallError, TooLarge, WrongHost
from everystall.settings import Settings, is_loopback
from everystall.web.browsers import is_extension
from everystall.web.draining import Draining
from everystall.web.render import error_page, headers_of, wants_page

MEGABYTE = 1024 * 1024
#: A photo is at most 25 MB; the rest is multipart's own.
PHOTOS = 26 * MEGABYTE
SESSION = 2 * MEGABYTE
#: 20,000 listings with a kilobyte each.
IMPORT = 20 * MEGABYTE
#: An inventory with its photos: on the disk while it is read, never in memory.
ARCHIVE = 10 * 1024 * MEGABYTE
#: The whole of an installation, the same way.
BACKUP = 100 * 1024 * MEGABYTE
JSON = MEGABYTE
#: Bytes beyond the limit that are read and thrown away, so that the sender gets to read our answer
#: instead of a reset connection.
DRAINED = 32 * MEGABYTE

#: Bytes by path, and what to do about more.
_LIMITS = (
    (re.compile(r"(/api)?/listings/[^/]+/photos/?"), PHOTOS, "Send fewer photos at once, or each by itself."),
    (re.compile(r"/api/imports/?"), IMPORT, "Send the file in parts, each with the header."),
    (
        re.compile(r"/api/imports/archive/?|/inventory/import/file"),
        ARCHIVE,
        "Send it in parts: listings.csv in each, and some of the photos.",
    ),
    (
        re.compile(r"/account/backup/upload/?|/first/restore/?"),
        BACKUP,
        "Put the file on the machine and use `everystall restore`.",
    ),
    (re.compile(r"/api/sessions/sync/?"), SESSION, "Send that marketplace's own cookies and storage only."),
    (re.compile(r".*", re.DOTALL), JSON, "Send less at once."),
)

_PORT = re.compile(r":\d+$")
#: What a platform that runs us in a container asks there, by whatever name it has for that.
_HEALTH = ("/healthz", "/readyz")
#: What extensions call, with a bearer token or without; they have no permission on our host and no cookie.
_FOR_EXTENSIONS = re.compile(
    r"/api/(pairings/(look|accept)|extensions/forget-me"
    r"|sessions/(wanted|sync|validate|refresh|signed-out|forget))/?"
)
_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "authorization, content-type",
    "access-control-max-age": "600",
}


def _limit_of(path: str) -> tuple[int, str]:
    return next((limit, action) for pattern, limit, action in _LIMITS if pattern.fullmatch(path))


def refusal(path: str) -> TooLarge:
    """What is said of too much at this address."""
    limit, action = _limit_of(path)
    return TooLarge(
        f"That is more than the {limit // MEGABYTE} MB that are taken here at once.", action=action
    )


class Edge:
    def __init__(self, app: ASGIApp, settings: Settings, draining: Draining) -> None:
        self.app = app
        self._draining = draining
        self._host = settings.public_host
        self._in_container = not is_loopback(settings.everystall_listen)
        self._always = (
            {"strict-transport-security": "max-age=31536000"}
            if settings.public_url.startswith("https://")
            else {}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # by it the lines of the log that belong together are found; each request is a task of its own
        number = secrets.token_hex(8)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=number)
        if scope["type"] == "websocket" and not self._is_ours(Headers(scope=scope).get("host", "")):
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        (limit, _), got = _limit_of(scope["path"]), 0
        asked = Headers(scope=scope)
        declared = asked.get("content-length", "0")
        cors = _cors(scope["path"], asked.get("origin"))

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in headers_of(headers).items():
                    headers.setdefault(name, value)
                headers.update({**self._always, **cors, "x-request-id": number})
                if self._draining.begun:  # what comes next goes to another web
                    headers["connection"] = "close"
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

        by_platform = self._in_container and scope["path"] in _HEALTH
        if not (by_platform or self._is_ours(asked.get("host", ""))):
            await _refused(WrongHost(), scope)(scope, receive, send_safely)
            return
        if scope["method"] == "OPTIONS" and cors and "access-control-request-method" in asked:
            await Response(status_code=204, headers=_PREFLIGHT)(scope, receive, send_safely)
            return
        if declared.isascii() and declared.isdigit() and int(declared[:19]) > limit:
            await drain()
            await _refused(refusal(scope["path"]), scope)(scope, receive, send_safely)
            return
        await self.app(scope, receive_counted, send_safely)

    def _is_ours(self, host: str) -> bool:
        """A page of another host that made its name point at us (DNS rebinding) still sends that name."""
        name = _PORT.sub("", host.lower()).strip("[]")
        return name == self._host or is_loopback(name)


def _refused(error: EverystallError, scope: Scope) -> Response:
    request = Request(scope)
    if wants_page(request):
        return error_page(request, error)
    return JSONResponse(error.as_json(), error.status)


def _cors(path: str, origin: str | None) -> dict[str, str]:
    """Lets an extension read the answer; never with credentials."""
    if origin is None or not is_extension(origin) or not _FOR_EXTENSIONS.fullmatch(path):
        return {}
    return {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": "retry-after",
        "vary": "Origin",
    }
