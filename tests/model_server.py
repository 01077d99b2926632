"""A language model on this machine that says what a test tells it to, in OpenRouter's words over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Asked:
    """One question, as it came."""

    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def model(self) -> str:
        return str(self.body["model"])

    @property
    def parts(self) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for message in self.body["messages"]:
            content = message.get("content") or []
            found += [{"type": "text", "text": content}] if isinstance(content, str) else content
        return found

    @property
    def text(self) -> str:
        return "\n".join(str(part["text"]) for part in self.parts if part["type"] == "text")

    @property
    def images(self) -> list[bytes]:
        urls = [part["image_url"]["url"] for part in self.parts if part["type"] == "image_url"]
        return [base64.b64decode(url.partition(",")[2]) for url in urls]


#: The fields of an answer; words where a shape was asked for; a status.
Said = Mapping[str, Any] | str | int


@dataclass
class ModelServer:
    """`answer`: what is said, to all or by the question. `cost`: dollars for each; None: it does not say."""

    answer: Said | Callable[[Asked], Said | Awaitable[Said]] = 500
    cost: float | None = 0.002
    #: Whether it says what was used.
    tells: bool = True
    #: Seconds before it answers.
    delay: float = 0.0
    #: Whom it lets in.
    key: str = "sk-or-a-key-of-the-tests"
    got: list[Asked] = field(default_factory=list)

    async def __aenter__(self) -> ModelServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/api/v1"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            assert head[0].startswith("POST /api/v1/chat/completions "), head[0]
            lines = [line.split(": ", 1) for line in head[1:] if line]
            headers = {name.lower(): value for name, value in lines}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            asked = Asked(headers, body)
            self.got.append(asked)
            await asyncio.sleep(self.delay)
            if headers.get("authorization") != f"Bearer {self.key}":
                said: Said = 401
            else:
                answer = self.answer(asked) if callable(self.answer) else self.answer
                said = answer if isinstance(answer, int | str | Mapping) else await answer
            status = said if isinstance(said, int) else 200
            out = json.dumps(self._reply(asked, said)).encode()
            writer.write(
                b"HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nRetry-After: 0\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (status, len(out), out)
            )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _reply(self, asked: Asked, said: Said) -> dict[str, Any]:
        if isinstance(said, int):
            return {"error": {"code": said, "message": f"Said {said}"}}
        message: dict[str, Any] = {"role": "assistant", "content": said if isinstance(said, str) else None}
        if not isinstance(said, str):
            name = asked.body["tools"][0]["function"]["name"]
            function = {"name": name, "arguments": json.dumps(said)}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        why = "stop" if isinstance(said, str) else "tool_calls"
        usage = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
        return {
            "id": f"gen-{len(self.got)}",
            "object": "chat.completion",
            "created": 1,
            "model": asked.model,
            "provider": "Scripted",
            "choices": [{"index": 0, "finish_reason": why, "native_finish_reason": why, "message": message}],
            **({"usage": usage if self.cost is None else {**usage, "cost": self.cost}} if self.tells else {}),
        }
