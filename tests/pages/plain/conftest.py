"""Pages as they are sent, and their forms, by HTTP alone: no browser is started."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from everystall.web.addresses import ATTRIBUTES
from everystall.web.browsers import cookie_name
from tests.pages.conftest import ROOT, House, in_order


@pytest.fixture(scope="session")
def chromium() -> None:
    """`house` asks for one."""


class BelowRoot(httpx.AsyncHTTPTransport):
    """In the pass below a path of the host each address of ours leads there; from there on tests know the
    path only."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        if not ROOT:
            return answer
        headers = {name: value for name, value in answer.headers.items() if name != "content-encoding"}
        await answer.aread()
        await answer.aclose()
        ways, body = [headers.get("location", "")], answer.content
        if headers.get("content-type", "").startswith("text/html"):
            ways += re.findall(rf'\s(?:{"|".join(ATTRIBUTES)})="([^"]*)"', answer.text)
            body = answer.text.replace(f'="{ROOT}/', '="/').encode()
        wrong = [way for way in ways if way.startswith("/") and not way.startswith(f"{ROOT}/")]
        assert not wrong, (request.url, wrong)
        if "location" in headers:
            headers["location"] = headers["location"].removeprefix(ROOT)
        return httpx.Response(answer.status_code, headers=headers, content=body)


class Reader:
    """Somebody who is signed in, without a window."""

    def __init__(self, house: House, user_id: UUID, client: httpx.AsyncClient) -> None:
        self.house, self.id, self.client = house, user_id, client
        self._csrf = ""

    async def get(self, path: str, **how: Any) -> httpx.Response:
        return await self.client.get(path, **how)

    async def text(self, path: str, **how: Any) -> str:
        """What stands on the page, without its tags."""
        answer = await self.get(path, **how)
        assert answer.status_code == 200, (path, answer.status_code)
        return plain(answer.text)

    async def post(self, path: str, files: Any = None, **form: Any) -> httpx.Response:
        """A form of ours, sent."""
        if not self._csrf:
            page = (await self.get("/extension")).text
            self._csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]  # type: ignore[index]
        return await self.client.post(path, data={"csrf": self._csrf, **form}, files=files)

    async def done(self, path: str, files: Any = None, **form: Any) -> str:
        """The address that a form leads to. Raises AssertionError for one that was refused."""
        answer = await self.post(path, files, **form)
        assert answer.status_code == 303, (answer.status_code, plain(answer.text)[:2000])
        return answer.headers["location"]


def plain(html: str) -> str:
    main = html.partition("<main")[2].partition("<footer")[0] or html
    return " ".join(re.sub(r"<[^>]+>", " ", main).split()).replace("&#39;", "'").replace("&#34;", '"')


@pytest.fixture
async def reader(house: House) -> AsyncIterator[Callable[[str], Awaitable[Reader]]]:
    """`await reader("alice")`"""
    clients = []

    async def sign_in(name: str) -> Reader:
        token = secrets.token_urlsafe(16)
        (row,) = await house.rows(
            "WITH u AS (INSERT INTO users (email) VALUES (:email) RETURNING id) "
            "INSERT INTO api_tokens (user_id, name, kind, token_hash, expires_at) "
            "SELECT id, 'Chrome', 'browser', :hash, now() + interval '1 day' FROM u RETURNING user_id",
            email=f"{name}@example.com", hash=hashlib.sha256(token.encode()).digest(),
        )  # fmt: skip
        headers = {"Origin": house.url, "Accept": "text/html"}
        cookies = {cookie_name(house.settings): token}
        client = httpx.AsyncClient(
            base_url=house.url, headers=headers, cookies=cookies, timeout=60, transport=BelowRoot(),
            event_hooks={"response": [in_order]},
        )  # fmt: skip
        clients.append(client)
        return Reader(house, UUID(str(row["user_id"])), client)

    yield sign_in
    for client in clients:
        await client.aclose()
