"""Browser Use Cloud as its documents have it (API version 3), over HTTP on this machine: it hands out a
browser that is there already, and tells what it was asked."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class CloudServer:
    """`address`: the DevTools address of the browser. `status`: what hiring is answered with."""

    address: str | None
    status: int = 201
    key: str = "bu_a-key-of-the-tests"
    #: (method, path, body)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    #: Of browsers that were hired and not given back.
    running: set[str] = field(default_factory=set)

    async def __aenter__(self) -> CloudServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/api/v3"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split()
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.asked.append((method, path, json.loads(body) if body else None))
        status, said = self._answer(method, path.removeprefix("/api/v3"), body, headers)
        out = json.dumps(said).encode()
        writer.write(
            b"HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (status, len(out), out)
        )
        await writer.drain()
        writer.close()

    def _answer(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        if headers.get("x-browser-use-api-key") != self.key:
            return 401, {"detail": "Invalid API key"}
        if (method, path) == ("GET", "/browsers"):
            return 200, {"items": [], "totalItems": 0, "pageNumber": 1, "pageSize": 10}
        if (method, path) == ("POST", "/browsers"):
            if self.status != 201:
                return self.status, {"detail": "No."}
            id = f"5f0c1c1e-0000-4000-8000-{len(self.asked):012}"
            self.running.add(id)
            return 201, self._session(id, "active")
        id = path.removeprefix("/browsers/")
        if method == "PATCH" and json.loads(body) == {"action": "stop"} and id in self.running:
            self.running.discard(id)
            return 200, self._session(id, "stopped")
        return 404, {"detail": "Session not found"}

    def _session(self, id: str, status: str) -> dict[str, Any]:
        return {
            "id": id, "status": status, "liveUrl": "https://live.example/?wss=secret", "cdpUrl": self.address,
            "timeoutAt": "2026-11-28T08:00:00Z", "startedAt": "2026-11-28T07:30:00Z", "finishedAt": None,
        }  # fmt: skip
