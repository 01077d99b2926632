"""A receiver of webhooks on loopback, as somebody would write one: real HTTP, the library's own check."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def message(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    def verified_by(self, secret: str) -> dict[str, Any]:
        """Raises if that secret did not sign it."""
        return dict(Webhook(secret).verify(self.body, self.headers))


#: What is sent back, byte for byte; a number is a status with nothing to say.
Answer = int | bytes


@dataclass
class Receiver:
    host: str = "127.0.0.1"
    answer: Answer | Callable[[Received], Answer] = 204
    #: Seconds before it answers.
    delay: float = 0.0
    #: After the answer, this many bytes more.
    flood: int = 0
    got: list[Received] = field(default_factory=list)
    connections: int = 0
    #: At once, at most.
    busiest: int = 0
    _busy: int = 0

    async def __aenter__(self) -> Receiver:
        self._server = await asyncio.start_server(self._serve, self.host, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()

    def url(self, path: str = "/hook", host: str | None = None) -> str:
        return f"http://{host or self.host}:{self.port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._busy += 1
        self.busiest = max(self.busiest, self._busy)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            received = Received(head[0].split(" ")[1], headers, body)
            self.got.append(received)
            await asyncio.sleep(self.delay)
            answer = self.answer(received) if callable(self.answer) else self.answer
            if isinstance(answer, int):
                answer = b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (
                    answer,
                    self.flood,
                )
            writer.write(answer)
            for _ in range(self.flood // 65536):
                writer.write(b"x" * 65536)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._busy -= 1
            writer.close()
