"""The practice world inside a test or the demo: start it in a thread, work its controls, sign in."""

from __future__ import annotations

import socket
import threading
import time
from importlib import import_module
from typing import Any

import httpx
import uvicorn

from everystall.sandbox.app import build
from everystall.sandbox.core import World


class Sandbox:
    """A running practice world."""

    def __init__(self, port: int = 0) -> None:
        self.world = World()
        self.hosts = build(self.world)
        # named: on others asyncio leaves Nagle's delay on, 40 ms for each answer on a connection that is kept
        self._socket = socket.socket(proto=socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                self.hosts, log_level="warning", proxy_headers=False, access_log=False, ws="none",
                timeout_graceful_shutdown=1,
            )
        )  # fmt: skip
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="sandbox", daemon=True
        )
        self._thread.start()
        started = time.monotonic()
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > started + 10:
                raise RuntimeError("the practice marketplaces did not start")
            time.sleep(0.01)
        self._control = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}/_control/",
            trust_env=False,
            limits=httpx.Limits(keepalive_expiry=2),  # the server's own five seconds reset none in use
        )

    def url(self, marketplace: str) -> str:
        """The base URL of one site."""
        return f"http://{marketplace}.localhost:{self.port}"

    def stop(self) -> None:
        self._control.close()
        self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()

    def ledger(self, marketplace: str | None = None, account: str | None = None) -> dict[str, Any]:
        """{"entries": every event, "listings": each listing as it is now}."""
        params = {k: v for k, v in {"marketplace": marketplace, "account": account}.items() if v}
        return self._answer(self._control.get("ledger", params=params))

    def buy(self, marketplace: str, **wish: Any) -> dict[str, Any]:
        """listing_id, sku or title; buyer, quantity, order_id (of one that is there already)."""
        return self._answer(self._control.post("buy", json={"marketplace": marketplace, **wish}))

    def cancel(
        self, marketplace: str, order_id: str, *, listing_id: str | None = None, puts_back: bool = False
    ) -> dict[str, Any]:  # fmt: skip
        """An order of a buyer's, or what it has of one listing. `puts_back`: the site itself has it for sale
        again."""
        wish = {"marketplace": marketplace, "order_id": order_id, "listing_id": listing_id,
                "puts_back": puts_back}  # fmt: skip
        return self._answer(self._control.post("cancel", json=wish))

    def by_hand(self, marketplace: str, do: str, listing_id: str, **fields: Any) -> dict[str, Any]:
        """What its seller does there: edit or relist (with these fields), end, mark_sold."""
        wish = {"marketplace": marketplace, "do": do, "listing_id": listing_id, "fields": fields}
        return self._answer(self._control.post("by_hand", json=wish))

    def fault(self, marketplace: str, kind: str, **more: Any) -> None:
        """account, times, seconds, status, path; what there is: core.POINTS."""
        self._answer(self._control.post("faults", json={"marketplace": marketplace, "kind": kind, **more}))

    def clear_faults(self) -> None:
        self._answer(self._control.delete("faults"))

    def drift(self, marketplace: str, seed: int = 1, strength: int = 1) -> None:
        wish = {"marketplace": marketplace, "seed": seed, "strength": strength}
        self._answer(self._control.post("drift", json=wish))

    def sessions(self, marketplace: str, account: str, **policy: Any) -> None:
        """lifetime_seconds, rotate, grace_seconds."""
        self._answer(
            self._control.post("sessions", json={"marketplace": marketplace, "account": account, **policy})
        )

    def reset(self) -> None:
        self._answer(self._control.post("reset"))

    @staticmethod
    def _answer(response: httpx.Response) -> dict[str, Any]:
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer


def start_in_thread(port: int = 0) -> Sandbox:
    """A practice world on a free port; `stop()` it."""
    return Sandbox(port)


async def sign_in(context: Any, sandbox: Sandbox, marketplace: str, username: str) -> dict[str, Any]:
    """Signs in through the site's own page in a Playwright context, as a seller would, and returns what
    the extension would send: {"cookies", "localStorage", "sessionStorage", "userAgent"}."""
    return await sign_in_at(context, sandbox.url(marketplace), marketplace, username)


async def sign_in_at(context: Any, base_url: str, marketplace: str, username: str) -> dict[str, Any]:
    """The same for a practice world that runs elsewhere."""
    page = await context.new_page()
    try:
        await import_module(f"everystall.sandbox.{marketplace}.signin").sign_in(page, base_url, username)
        stores = await page.evaluate(
            "() => ({localStorage: {...localStorage}, sessionStorage: {...sessionStorage},"
            " userAgent: navigator.userAgent})"
        )
        return {"cookies": await context.cookies(base_url), **stores}
    finally:
        await page.close()
