"""A span for each request, named by the route and never by the address: that may hold a token."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import get_contextvars

from everystall import traces

#: Asked every few seconds, by machines.
_UNTOLD = ("/healthz", "/readyz", "/metrics")


class Traced:
    """Plain ASGI, right inside the edge, which gives a request its number. A trace that somebody else began
    (a proxy, a back end: `traceparent`) goes on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        untold = scope["type"] != "http" or scope["path"] in _UNTOLD or scope["path"].startswith("/static/")
        if untold or not traces.on():
            await self.app(scope, receive, send)
            return
        number = get_contextvars().get("request_id")
        known = {"http.request.method": scope["method"], "request_id": number}
        span = traces.begin(scope["method"], Headers(scope=scope).get("traceparent"), known, asked=True)
        with traces.part(span) as part:

            async def send_told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        part.failed(str(message["status"]))
                await send(message)

            try:
                await self.app(scope, receive, send_told)
            finally:
                if (route := getattr(scope.get("route"), "path", None)) is not None:
                    span.update_name(f"{scope['method']} {route}")
                    span.set_attribute("http.route", route)
