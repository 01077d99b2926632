"""Practice marketplaces for the sales' benchmark: a listing there can be copied many times, and every byte
that is served is counted. Neither is a thing that the practice marketplaces themselves offer.

POST /_copies {"marketplace", "listing_id", "titles": [...]}  → {"ids": [...]}
GET  /_bytes                                                  → {"bytes": …}
"""

from __future__ import annotations

import json
import secrets
from argparse import ArgumentParser
from copy import deepcopy

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from everystall.processes import end_with_parent
from everystall.sandbox.app import build
from everystall.sandbox.core import World

#: Listings' ids as the three have them.
_IDS = {
    "poshmark": lambda: secrets.token_hex(12),
    "mercari": lambda: f"m{secrets.randbelow(9 * 10**10) + 10**10}",
    "ebay": lambda: str(secrets.randbelow(9 * 10**11) + 10**11),
}


class Shop:
    def __init__(self, app: ASGIApp, world: World) -> None:
        self._app, self._world, self._bytes = app, world, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/_copies":
            wish = json.loads(await Request(scope, receive).body())
            await JSONResponse({"ids": self._copies(**wish)})(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"] == "/_bytes":
            await JSONResponse({"bytes": self._bytes})(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            self._bytes += len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, counted)

    def _copies(self, marketplace: str, listing_id: str, titles: list[str], skus: list[str]) -> list[str]:
        """The same listing again under other titles, as if each had been posted."""
        one = self._world.item(marketplace, listing_id)
        assert one is not None
        found = []
        for title, sku in zip(titles, skus, strict=True):
            fields = {**deepcopy(one.fields), "title": title}
            other = self._world.draft(marketplace, one.account, _IDS[marketplace](), fields, one.photos,
                                      None if one.sku is None else sku)  # fmt: skip
            other.private = deepcopy(one.private)
            found.append(self._world.publish(other).id)
        return found


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("command", choices=["sandbox"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--with-parent", action="store_true")
    given = parser.parse_args()
    if given.with_parent:
        end_with_parent()
    world = World()
    uvicorn.run(Shop(build(world), world), host="127.0.0.1", port=given.port, log_level="warning",
                access_log=False)  # fmt: skip


if __name__ == "__main__":
    main()
