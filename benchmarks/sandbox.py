"""The practice marketplaces with a list of page loads in front: documents served to top-level navigations,
per marketplace, in order, at /_loads. Lists ours and the bare scripts' alike."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser
from collections import defaultdict

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from everystall.processes import end_with_parent
from everystall.sandbox.app import build

#: Ids of listings and drafts, on all three; and a seller's name.
_ID = re.compile(r"m?\d{9,}|[0-9a-f]{24}|bench\d+")


class Counting:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._loads: dict[str, list[str]] = defaultdict(list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == "/_loads":
            body = json.dumps(self._loads).encode()
            await send({"type": "http.response.start", "status": 200,
                        "headers": [(b"content-type", b"application/json")]})  # fmt: skip
            await send({"type": "http.response.body", "body": body})
            return
        headers = dict(scope["headers"])
        marketplace = headers.get(b"host", b"").split(b".")[0].decode()

        async def counted(message: Message) -> None:
            # redirects are not loads; an iframe is a destination of its own
            document = headers.get(b"sec-fetch-dest") == b"document"
            if document and message["type"] == "http.response.start" and message["status"] < 300:
                self._loads[marketplace].append(_address(scope))
            await send(message)

        await self._app(scope, receive, counted)


def _address(scope: Scope) -> str:
    """Path and query, with ids as "…": the same for every listing."""
    query = scope["query_string"].decode()
    return _ID.sub("…", scope["path"] + (f"?{query}" if query else ""))


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("command", choices=["sandbox"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--with-parent", action="store_true")
    given = parser.parse_args()
    if given.with_parent:
        end_with_parent()
    uvicorn.run(Counting(build()), host="127.0.0.1", port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
