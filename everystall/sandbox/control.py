"""What tests and the demo do to the practice world: read the ledger, buy, break things, change the sites."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from everystall.sandbox.core import LASTING, POINTS, DriftSetting, Fault, World


def control(world: World) -> Starlette:
    """The app under http://127.0.0.1:PORT/_control/."""

    async def ledger(request: Request) -> Response:
        marketplace, account = request.query_params.get("marketplace"), request.query_params.get("account")
        items = [
            item.as_json()
            for name in sorted({market for market, _ in world.accounts})
            for item in reversed(world.items(name))
            if marketplace in (None, item.marketplace) and account in (None, item.account.name)
        ]
        return JSONResponse({"entries": world.ledger.entries(marketplace, account), "listings": items})

    async def buy(request: Request) -> Response:
        wish = await request.json()
        try:
            item = world.buy(
                wish["marketplace"], listing_id=wish.get("listing_id"), sku=wish.get("sku"),
                title=wish.get("title"), buyer=wish.get("buyer", "a-buyer"),
                quantity=int(wish.get("quantity", 1)), order_id=wish.get("order_id"),
            )  # fmt: skip
        except (KeyError, LookupError) as e:
            return JSONResponse({"error": str(e)}, 404)
        return JSONResponse(item.as_json())

    async def cancel(request: Request) -> Response:
        wish = await request.json()
        try:
            item = world.cancel(
                wish["marketplace"], wish["order_id"], listing_id=wish.get("listing_id"),
                puts_back=bool(wish.get("puts_back")),
            )  # fmt: skip
        except (KeyError, LookupError) as e:
            return JSONResponse({"error": str(e)}, 404)
        return JSONResponse(item.as_json())

    async def by_hand(request: Request) -> Response:
        wish = await request.json()
        item = world.item(wish.get("marketplace", ""), wish.get("listing_id", ""))
        does = {"edit": world.edit, "end": world.end, "mark_sold": world.mark_sold, "relist": world.relist}
        what, fields = does.get(wish.get("do", "")), wish.get("fields") or {}
        if item is None or what is None:
            return JSONResponse({"error": f"a listing, and do: one of {', '.join(does)}"}, 404)
        return JSONResponse(what(item, **fields).as_json())

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            world.faults.clear()
        elif request.method == "POST":
            wish = await request.json()
            kind = wish.get("kind")
            if kind not in POINTS or not wish.get("marketplace"):
                return JSONResponse({"error": f"marketplace and kind, one of {', '.join(POINTS)}"}, 422)
            wish.setdefault("times", None if kind in LASTING else 1)
            try:
                world.faults.add(Fault(**wish))
            except TypeError as e:
                return JSONResponse({"error": str(e)}, 422)
        return JSONResponse({"faults": world.faults.as_json()})

    async def drift(request: Request) -> Response:
        wish = await request.json()
        strength = int(wish.get("strength", 1))
        if not 0 <= strength <= 4:
            return JSONResponse({"error": "strength is 0 to 4"}, 422)
        world.drifts[wish["marketplace"]] = DriftSetting(int(wish.get("seed", 1)), strength)
        return JSONResponse({"marketplace": wish["marketplace"], "strength": strength})

    async def sessions(request: Request) -> Response:
        wish: dict[str, Any] = await request.json()
        count = world.set_session_policy(
            wish["marketplace"], wish["account"].lower(), lifetime_seconds=wish.get("lifetime_seconds"),
            rotate=wish.get("rotate"), grace_seconds=wish.get("grace_seconds"),
        )  # fmt: skip
        return JSONResponse({"sessions": count})

    async def reset(_: Request) -> Response:
        world.reset()
        return JSONResponse({"reset": True})

    async def state(_: Request) -> Response:
        return JSONResponse(
            {
                "accounts": [{"marketplace": a.marketplace, "name": a.name} for a in world.accounts.values()],
                "drift": {
                    name: {"seed": setting.seed, "strength": setting.strength}
                    for name, setting in world.drifts.items()
                },
                "faults": world.faults.as_json(),
                "entries": len(world.ledger.entries()),
            }
        )

    return Starlette(
        routes=[
            Route("/_control/ledger", ledger),
            Route("/_control/buy", buy, methods=["POST"]),
            Route("/_control/cancel", cancel, methods=["POST"]),
            Route("/_control/by_hand", by_hand, methods=["POST"]),
            Route("/_control/faults", faults, methods=["GET", "POST", "DELETE"]),
            Route("/_control/drift", drift, methods=["POST"]),
            Route("/_control/sessions", sessions, methods=["POST"]),
            Route("/_control/reset", reset, methods=["POST"]),
            Route("/_control/state", state),
        ]
    )
