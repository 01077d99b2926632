"""The only way to the practice marketplaces, and it can fail: one connection is one request (the sandbox
closes each), so a request may be held, refused, cut or answered otherwise, before or after the marketplace
has done what it asks. Takes webhooks too, at /hook.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

#: hold: until released, then on · reset: cut · error: an HTTP 500 instead · stall: nothing, then cut ·
#: late: an HTTP 504 now, and the request goes through seconds later · truncate: half of the answer.
Act = Literal["hold", "reset", "error", "stall", "late", "truncate"]
When = Literal["before", "after"]

_ERROR = (
    b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: 18\r\nConnection: close\r\n\r\n"
    b"<h1>An error.</h1>"
)


@dataclass(frozen=True)
class Asked:
    """One request, as far as a trap looks at it."""

    host: str
    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def is_document(self) -> bool:
        return self.headers.get("sec-fetch-dest") == "document"

    @property
    def is_visit(self) -> bool:
        """A page that is gone to by its address, as we do; not where another page leads."""
        return self.is_document and self.headers.get("sec-fetch-site") == "none"

    @property
    def is_upload(self) -> bool:
        return self.headers.get("content-type", "").startswith("multipart/form-data")

    @property
    def is_webhook(self) -> bool:
        return self.path == "/hook"


@dataclass
class Trap:
    """What happens to the first request that matches."""

    matches: Callable[[Asked], bool]
    act: Act = "hold"
    when: When = "before"
    seconds: float = 6.0
    #: A held request whose browser died meanwhile had not left it yet, or not all of it.
    lost: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    asked: Asked | None = None


class Door:
    """`async with Door(sandbox.port) as door`: `door.port` is what the browsers are told."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._late: set[asyncio.Task[None]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.port = 0
        self.trap: Trap | None = None
        #: The webhooks' messages that were answered 204.
        self.told: list[dict[str, Any]] = []

    async def __aenter__(self) -> Door:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.shut()
        left = [*self._late, *self._serving]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", self.port, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    def shut(self) -> None:
        """From now on connections are refused."""
        self._server.close()

    def url(self, marketplace: str) -> str:
        return f"http://{marketplace}.localhost:{self.port}"

    @property
    def hook(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    # ---- one connection ----

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):  # the browser went away
            head = await reader.readuntil(b"\r\n\r\n")
            asked = _parsed(head)
            body = await reader.readexactly(int(asked.headers.get("content-length", 0)))
            trap = self.trap
            if trap is not None and trap.matches(asked):
                self.trap, trap.asked = None, asked
                await self._spring(trap, asked, head + body, writer)
            else:
                await self._pass(asked, head + body, writer)
        with suppress(OSError):
            writer.close()

    async def _spring(self, trap: Trap, asked: Asked, request: bytes, writer: asyncio.StreamWriter) -> None:
        answer = b""
        if trap.when == "after":
            answer = await self._answer(asked, request)
        trap.reached.set()
        if trap.act == "hold":
            await trap.released.wait()
            if trap.lost:
                _cut(writer)
                return
            writer.write(answer or await self._answer(asked, request))
        elif trap.act == "error":
            writer.write(_ERROR % b"500 Internal Server Error")
        elif trap.act == "late":
            writer.write(_ERROR % b"504 Gateway Timeout")
            self._late.add(asyncio.create_task(self._later(trap.seconds, asked, request)))
        elif trap.act == "truncate":
            head, _, body = (answer or await self._answer(asked, request)).partition(b"\r\n\r\n")
            writer.write(head + b"\r\n\r\n" + body[: len(body) // 2])
        else:
            if trap.act == "stall":
                await asyncio.sleep(trap.seconds)
            _cut(writer)
            return
        await writer.drain()

    async def _later(self, seconds: float, asked: Asked, request: bytes) -> None:
        await asyncio.sleep(seconds)
        await self._answer(asked, request)

    async def _pass(self, asked: Asked, request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(await self._answer(asked, request))
        await writer.drain()

    async def _answer(self, asked: Asked, request: bytes) -> bytes:
        """The whole answer of the marketplace, or of the receiver of webhooks."""
        if asked.is_webhook:
            self.told.append(
                json.loads(request.partition(b"\r\n\r\n")[2]) | {"id": asked.headers["webhook-id"]}
            )
            return b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            writer.write(request)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()


def _parsed(head: bytes) -> Asked:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    return Asked(headers.get("host", ""), method, path.partition("?")[0], headers)


def _cut(writer: asyncio.StreamWriter) -> None:
    """A TCP reset."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
