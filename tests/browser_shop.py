"""A shop of one page each, served on a free port of this machine, that tells what it was asked; what is
looked for on its pages, and a browser there."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from everystall.browser.session import Browser, open_browser
from everystall.browser.targets import Obstacle, Site, Target
from everystall.settings import Settings

SITE = Site(obstacles=(Obstacle("login", "Sign in.", ("#sign-in",)),), domains=("shop.localhost",),
            parts=("pictures.localhost",))  # fmt: skip
TITLE = Target("the listing's title", ("#title", 'input[name="title"]'))
NEXT = Target("the button that leads on", ("#next", "button.next"))
PUBLISH = Target("the button that publishes", ("#publish", "button.publish"), effect="commit")

#: path → (status, headers, body)
Answer = tuple[int, dict[str, str], bytes]


class Shop:
    """`pages` is changed by the test; `asked` holds (host, path, headers), `posted` the bodies."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.posted: list[tuple[str, bytes]] = []
        self.port = 0

    def url(self, name: str = "poshmark") -> str:
        return f"http://{name}.localhost:{self.port}"

    def show(self, path: str, body: str | bytes, status: int = 200, **headers: str) -> None:
        data = body if isinstance(body, bytes) else f"<!doctype html><title>shop</title>{body}".encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = (status, {"Content-Type": "text/html; charset=utf-8", **named}, data)

    def paths(self, name: str) -> list[str]:
        return [path for host, path, _ in self.asked if host == f"{name}.localhost:{self.port}"]


@contextmanager
def shop() -> Iterator[Shop]:
    made = Shop()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            made.asked.append((self.headers["Host"], path, {k.lower(): v for k, v in self.headers.items()}))
            status, headers, body = made.pages.get(path, (404, {}, b"nothing here"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            made.posted.append((self.path, self.rfile.read(int(self.headers["Content-Length"] or 0))))
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A browser that hangs up is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def stall() -> Iterator[Shop]:
    with shop() as made:
        yield made


@pytest.fixture(scope="module")
async def browser(stall: Shop, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """It waits a second for what is not there, and an agent may attach to it."""
    settings = Settings(_env_file=None, everystall_home=tmp_path_factory.mktemp("home"), locator_seconds=1,
                        page_seconds=30, commit_click_seconds=2)  # fmt: skip
    async with open_browser(site=SITE, base_url=stall.url("shop"), storage=None, settings=settings,
                            attachable=True) as opened:  # fmt: skip
        yield opened
