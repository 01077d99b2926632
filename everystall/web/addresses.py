"""Where our addresses begin: at the root of the host, or below a path of it (EVERYSTALL_ROOT_PATH).

Inside, a path is the application's own (`/inventory`), whatever stands before it: routes, limits, redirects
and templates know no other. It becomes an address on its way out, at one place each: redirects here,
attributes of a page as its template is compiled (docs/decisions/0015), links in messages by
`Settings.address`.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from jinja2 import Environment
from jinja2.ext import Extension
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_root: ContextVar[str] = ContextVar("root", default="")


def root() -> str:
    """What stands before our paths in this request's answer: "" or "/everystall"."""
    return _root.get()


def address(path: str) -> str:
    """A path of ours as a browser asks for it. What is none (another site's, a part of the page) stays."""
    return root() + path if path.startswith("/") and path[1:2] != "/" else path


class Rooted:
    """The outermost layer, plain ASGI: takes the root from the path that is asked for, where the proxy left
    it there, and puts it before the path of a redirect."""

    def __init__(self, app: ASGIApp, root: str) -> None:
        self.app, self.root = app, root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        _root.set(self.root)
        if not self.root:
            await self.app(scope, receive, send)
            return
        # in place: the error page that is made outside of all layers looks at it too
        scope["path"] = self._inside(scope["path"])
        if "raw_path" in scope:
            scope["raw_path"] = self._inside(scope["raw_path"].decode("latin-1")).encode("latin-1")
        host = Headers(scope=scope).get("host", "")

        async def send_rooted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if (where := headers.get("location")) is not None:
                    headers["location"] = self._outside(where, host)
            await send(message)

        await self.app(scope, receive, send_rooted)

    def _inside(self, path: str) -> str:
        if path == self.root:
            return "/"
        return path.removeprefix(self.root) if path.startswith(f"{self.root}/") else path

    def _outside(self, where: str, host: str) -> str:
        """Also a whole address of ours: the framework makes one where a stroke at the end is too many."""
        parts = urlsplit(where)
        if not parts.netloc:
            return address(where)
        return urlunsplit(parts._replace(path=address(parts.path))) if parts.netloc == host else where


#: Attributes that hold an address, which a browser or a script of ours asks for.
ATTRIBUTES: Final = ("href", "src", "action", "formaction", "hx-get", "hx-post", "data-from", "data-home",
                     "data-photos", "data-url", "data-address", "data-href", "data-live-at")  # fmt: skip
_ATTRIBUTE = re.compile(rf'(?<=\s)((?:{"|".join(ATTRIBUTES)})=")(?:(/(?!/))|\{{\{{(.*?)\}}\}})', re.DOTALL)


class Addresses(Extension):
    """Puts the root before our paths in a page's attributes, as its template is compiled: `href="/sales"`,
    and `href="{{ one.href }}"` where that turns out to be one of ours. So none can forget it."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.filters["address"] = address
        environment.globals["root"] = root

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        def rooted(found: re.Match[str]) -> str:
            before, stroke, expression = found.groups()
            if stroke:
                return f"{before}{{{{ root() }}}}/"
            return f"{before}{{{{ ({expression.strip()}) | address }}}}"

        return _ATTRIBUTE.sub(rooted, source)
