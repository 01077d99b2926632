"""One port, several sites: who is asked is told by the Host header; an unknown host gets a 404."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from everystall.sandbox import drift
from everystall.sandbox.control import control
from everystall.sandbox.core import (
    Account,
    CookieMaker,
    Item,
    ItemLimit,
    OddAnswer,
    Session,
    SoftReject,
    World,
)

_HERE = Path(__file__).parent

#: The sites: each folder here that somebody can sign in to.
SITES = tuple(sorted(path.parent.name for path in _HERE.glob("*/signin.py")))


class Failed(Exception):
    """The answer is an error page with this status."""

    def __init__(self, status: int) -> None:
        self.status = status


class Reset(Exception):
    """The connection is cut in the middle of the answer."""


@dataclass(frozen=True)
class Visit:
    """Who asks."""

    site: Site
    world: World
    session: Session | None

    @property
    def account(self) -> Account | None:
        return self.session.account if self.session else None


def visit_of(request: Request) -> Visit:
    """Who asks, as Site found out before it called the endpoint."""
    visit = request.scope["sandbox.visit"]
    assert isinstance(visit, Visit)
    return visit


#: Where the page that asks for a person sends the answer.
ANSWER = "/person"


class Site:
    """One practice site: an ASGI app that plays the faults, knows the session and drifts."""

    def __init__(
        self, world: World, marketplace: str, label: str, *, routes: Sequence[BaseRoute],
        token_of: Callable[[dict[str, str]], str | None], cookies: CookieMaker,
        vocabulary: drift.Vocabulary | None = None, folder: Path, login_path: str = "/login",
        captcha_page: Callable[[Request], Response] | None = None,
    ) -> None:  # fmt: skip
        self.world, self.marketplace, self.label = world, marketplace, label
        self.token_of, self.cookies, self.login_path = token_of, cookies, login_path
        self.vocabulary = vocabulary or drift.Vocabulary()
        self._captcha_page = captcha_page
        #: To add globals that the site's templates use.
        self.templates = Environment(
            loader=ChoiceLoader(
                [FileSystemLoader(folder / "templates"), FileSystemLoader(_HERE / "templates")]
            ),
            autoescape=True,
        )
        self.templates.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
        served = {"/practice": _HERE / "static", "/static": folder / "static"}
        static = [
            Mount(path, StaticFiles(directory=where)) for path, where in served.items() if where.is_dir()
        ]
        #: Scripts and styles by their path: a name of what is in them.
        self._versions = {
            f"{path}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest()[:10]
            for path, where in served.items()
            for file in where.glob("*.*")
        }
        leave = Route("/logout", self._sign_out)
        self._app = Starlette(routes=[*static, leave, *routes], exception_handlers={404: self._not_found})

    # ---- for the site's endpoints ----

    def asset(self, path: str) -> str:
        """A script's or style's address, other for other content, drift included: browsers keep it for ever,
        as they keep a real shop's."""
        setting = self.world.drift(self.marketplace)
        drifted = f"-{setting.seed}-{setting.strength}" if setting.strength else ""
        if setting.words is not None:
            drifted += f"-{hashlib.sha256(repr(setting.words).encode()).hexdigest()[:8]}"
        return f"{path}?v={self._versions[path]}{drifted}"

    def page(self, request: Request, template: str, status_code: int = 200, **context: Any) -> Response:
        """A rendered page, with `practice`, `account` and `site` beside what is given."""
        setting = self.world.drift(self.marketplace)
        visit: Visit | None = request.scope.get("sandbox.visit")
        practice = {
            "marketplace": self.marketplace,
            "layout": self.layout(request),
            "drift": {"seed": setting.seed, "strength": setting.strength},
        }
        html = self.templates.get_template(template).render(
            **{
                "practice": practice,
                "asked_at": request.url.path,
                "account": visit.account if visit else None,
                "site": self,
            }
            | context
        )
        return HTMLResponse(html, status_code)

    def layout(self, request: Request) -> str:
        """ "b" while the fault `layout` lasts for this account, else "a"."""
        account = visit_of(request).account
        taken = self.world.faults.take(self.marketplace, account.name if account else None, "layout")
        return "b" if taken else "a"

    def login_wall(self, request: Request) -> Response:
        """Where a signed-out visitor of a private page ends."""
        return RedirectResponse(f"{self.login_path}?from={request.url.path}", 302)

    def set_cookies(self, response: Response, session: Session) -> Response:
        """The session's cookies, as after a sign-in or a page."""
        for cookie in self.cookies(session):
            response.set_cookie(
                cookie.name, cookie.value, max_age=cookie.max_age, path=cookie.path, secure=True,
                httponly=cookie.http_only, samesite="lax",
            )  # fmt: skip
        return response

    async def submit(self, request: Request, commit: Callable[[], Item]) -> Item:
        """The click that makes a listing live, with the faults that are due. Raises SoftReject, ItemLimit
        and OddAnswer for the site to say, Failed and Reset for Site to answer."""
        account = visit_of(request).account
        name = account.name if account else None
        fault = self.world.faults.take(self.marketplace, name, "submit_before", path=request.url.path)
        if fault is not None:
            if fault.kind == "late_commit":
                _later(3.0 if fault.seconds is None else fault.seconds, commit)
                raise Failed(504)
            if account is not None:
                self.world.refuse(account, fault.kind)
            refusals: dict[str, type[Exception]] = {
                "soft_reject": SoftReject, "item_limit": ItemLimit, "reset_before": Reset,
            }  # fmt: skip
            raise refusals[fault.kind]() if fault.kind in refusals else Failed(fault.status)
        item = commit()
        fault = self.world.faults.take(self.marketplace, name, "submit_after", path=request.url.path)
        if fault is not None:
            answers: dict[str, type[Exception]] = {"reset_after": Reset, "odd_answer": OddAnswer}
            raise answers[fault.kind]() if fault.kind in answers else Failed(fault.status)
        return item

    # ---- ASGI ----

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        kept = _Kept(receive)
        request = Request(scope, kept)
        token = self.token_of(request.cookies)
        session = self.world.session(self.marketplace, token)
        try:
            response = await self._before(request, session, kept)
            if response is not None:
                await response(scope, receive, _closing(send))
                return
            if session is not None and not session.alive:
                session = None
            scope["sandbox.visit"] = Visit(self, self.world, session)
            await self._run(request, session, token, scope, kept, send)
        except Failed as e:
            await self._error(request, e.status)(scope, receive, _closing(send))
        except Reset:
            await _cut(send)

    async def _before(self, request: Request, session: Session | None, sent: _Kept) -> Response | None:
        """The faults that strike before the site itself is asked."""
        path = request.url.path
        if _is_static(request):
            return None
        name = session.account.name if session else None
        take = self.world.faults.take
        down = take(self.marketplace, name, "any", kind="down", path=path)
        if down is not None:
            if down.status == 0:
                raise Reset
            raise Failed(503 if down.status == 500 else down.status)
        slow = take(self.marketplace, name, "any", kind="slow", path=path)
        if slow is not None:
            await sent.whole()
            await asyncio.sleep(0.5 if slow.seconds is None else slow.seconds)
        many = take(self.marketplace, name, "any", kind="too_many", path=path)
        if many is not None:
            return HTMLResponse("<h1>Too many requests</h1>", 429, {"Retry-After": many.retry_after})
        if not _is_page(request):
            return None
        if path == ANSWER and request.method == "POST" and session is not None:
            return await self._answered(request, session)
        latency = take(self.marketplace, name, "page", kind="latency", path=path)
        if latency is not None:
            await asyncio.sleep(1.0 if latency.seconds is None else latency.seconds)
        if session is None or path == self.login_path:
            return None
        if take(self.marketplace, name, "page", kind="session_expired", path=path):
            session.revoked = True
        if take(self.marketplace, name, "page", kind="login_wall", path=path):
            return self.login_wall(request)
        if take(self.marketplace, name, "page", kind="captcha", path=path):
            request.scope["sandbox.visit"] = Visit(self, self.world, session)
            if self._captcha_page is not None:
                return self._captcha_page(request)
            return self.page(request, "captcha.html", 403)
        return None

    async def _answered(self, request: Request, session: Session) -> Response:
        """Somebody showed that they are a person: none is asked for any more, and they are led back."""
        async with request.form() as sent:
            back = str(sent.get("from") or "/")
        self.world.faults.end(self.marketplace, session.account.name, "captcha")
        self.world.ledger.record("person_shown", marketplace=self.marketplace, account=session.account.name)
        return RedirectResponse(back if back.startswith("/") and not back.startswith("//") else "/", 303)

    async def _run(
        self, request: Request, session: Session | None, token: str | None, scope: Scope, receive: Receive,
        send: Send,
    ) -> None:  # fmt: skip
        """The site's own answer: drifted, with the session's cookies where it is a signed-in page."""
        start: Message = {}
        body = bytearray()
        setting = self.world.drift(self.marketplace)

        async def hold(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.extend(message.get("body", b""))

        await self._app(scope, receive, hold)
        response = Response(bytes(body), start["status"])
        response.raw_headers = [
            (name, value) for name, value in start["headers"] if name != b"content-length"
        ]
        kind = response.headers.get("content-type", "").split(";")[0]
        is_page = _is_page(request) and kind == "text/html" and start["status"] < 400
        if is_page and session is not None and session.alive and b"set-cookie" not in dict(start["headers"]):
            self.world.rotate(session, token)
            self.set_cookies(response, session)
        text_kinds = ("text/html", "text/javascript", "application/javascript", "text/css")
        if setting.strength and kind in text_kinds:
            text = bytes(body).decode()
            words = setting.words or self.vocabulary
            response.body = drift.apply(text, words, setting.seed, setting.strength).encode()
        if setting.strength:
            for name in ("etag", "last-modified"):
                with suppress(KeyError):
                    del response.headers[name]
        kept = kind.startswith("image/") or (_is_static(request) and "v" in request.query_params)
        if kept and start["status"] == 200:
            response.headers["cache-control"] = "public, max-age=31536000, immutable"  # an address for each
        elif kind.startswith("text/") or "javascript" in kind or kind == "application/json":
            # a page kept from before a drift or a fault would be the wrong one
            response.headers["cache-control"] = "no-store"
        response.headers["content-length"] = str(len(response.body))
        await response(scope, receive, _closing(send))

    async def _sign_out(self, request: Request) -> Response:
        session = visit_of(request).session
        answer = RedirectResponse(self.login_path, 302)
        if session is not None:
            for cookie in self.cookies(session):
                answer.delete_cookie(cookie.name, path=cookie.path, secure=True, httponly=cookie.http_only)
            self.world.sign_out(session)
        return answer

    async def _not_found(self, request: Request, _: Exception) -> Response:
        return self._error(request, 404)

    def _error(self, request: Request, status: int) -> Response:
        request.scope.setdefault("sandbox.visit", Visit(self, self.world, None))
        if _is_page(request) or "text/html" in request.headers.get("accept", ""):
            return self.page(request, "error.html", status, status=status)
        return JSONResponse({"error": {"errorType": "ServerError", "statusCode": status}}, status)


class Hosts:
    """The whole practice world as one ASGI app."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sites: dict[str, Site] = {}
        for name in SITES:
            self.sites[name] = import_module(f"everystall.sandbox.{name}").site(world)
        self._control = control(world)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        name = host.rsplit(":", 1)[0].lower()
        if name.endswith(".localhost") and name.removesuffix(".localhost") in self.sites:
            await self.sites[name.removesuffix(".localhost")](scope, receive, send)
        elif name in ("127.0.0.1", "localhost"):
            await self._control(scope, receive, send)
        else:
            await JSONResponse({"error": "no such practice site"}, 404)(scope, receive, send)


def build(world: World | None = None) -> Hosts:
    """The app; `world` to look into it from a test."""
    return Hosts(world or World())


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _is_page(request: Request) -> bool:
    """A top-level navigation (browsers say so; other clients by what they accept)."""
    mode = request.headers.get("sec-fetch-mode")
    if mode is not None:
        return mode == "navigate" and request.headers.get("sec-fetch-dest") == "document"
    return "text/html" in request.headers.get("accept", "")


def _is_static(request: Request) -> bool:
    return request.url.path.startswith(("/practice/", "/static/"))


class _Kept:
    """What was received is there again for whoever asks later: a site that is slow has the whole request,
    and serves it though its sender hung up."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: deque[Message] = deque()

    async def whole(self) -> None:
        more = True
        while more:
            message = await self._receive()
            self._messages.append(message)
            more = message.get("more_body", False)

    async def __call__(self) -> Message:
        return self._messages.popleft() if self._messages else await self._receive()


def _closing(send: Send) -> Send:
    """Each answer closes its connection: Chromium silently repeats a request, POST included, when a
    reused connection is cut, and the ledger would blame the wrong one."""

    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return closing


def _later(seconds: float, commit: Callable[[], Any]) -> None:
    """The click's effect comes when its answer has long failed."""
    asyncio.get_running_loop().call_later(seconds, commit)


async def _cut(send: Callable[[Message], Awaitable[None]]) -> None:
    """Cuts the connection with a TCP reset. uvicorn's `send` is a method of the cycle that has it."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise RuntimeError("this server does not show its transport: use uvicorn")
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
