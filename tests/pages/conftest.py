"""The pages as people have them: our web on a port of this machine, a real Chromium, a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from sqlalchemy import text

from everystall.browser.chromium import LAUNCH_ARGS, find_chromium
from everystall.content.photos import Photos
from everystall.db import Database
from everystall.marketplaces import MARKETPLACES
from everystall.settings import Settings
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from everystall.web import passwords
from everystall.web.app import create_app
from everystall.web.browsers import cookie_name, open_browser

PASSWORD = "correct horse battery"
#: All of it below a path of the host, in the pass that `make test-base-path` makes.
ROOT = os.environ.get("EVERYSTALL_TEST_ROOT_PATH", "")
#: What a seller, a marketplace's account or a browser may call itself.
EVIL = """"><img src=x onerror="window.ran=1"><script>window.ran=2</script>'{{7*7}}</title>"""
EVIL_URL = "javascript:window.ran=3"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
#: A journey with both.
DESK_AND_PHONE = pytest.mark.parametrize(
    "device",
    [pytest.param({}, id="desk"), pytest.param(PHONE, id="phone", marks=pytest.mark.longer)],
    indirect=True,
)


@cache
def hashed_password() -> str:
    return passwords.ARGON2.hash(PASSWORD)


@dataclass
class House:
    """Everystall, as it stands under its address."""

    url: str
    settings: Settings
    database: Database
    admin: Database
    browser: Browser
    app: FastAPI
    #: What its people have before them, unless they say otherwise.
    device: dict[str, Any] = field(default_factory=dict)
    #: What pages should not have: errors on the console, violations of the policy, requests elsewhere.
    complaints: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """As the database's administrator: for looking, and for what a visit or time would do."""
        async with self.admin.as_app() as session:
            found = await session.execute(text(query), values)
            return [dict(row._mapping) for row in found] if found.returns_rows else []

    async def person(self, name: str, role: str = "seller") -> UUID:
        """Somebody who can sign in as `name`@example.com."""
        (row,) = await self.rows(
            "INSERT INTO users (email, password_hash, role) VALUES (:email, :hash, :role) RETURNING id",
            email=f"{name}@example.com", hash=hashed_password(), role=role,
        )  # fmt: skip
        return UUID(str(row["id"]))

    async def context(self, **how: Any) -> BrowserContext:
        """A browser of its own, without cookies; the tests fail for what its pages complain of. Without a
        service worker, unless `service_workers` is "allow"."""
        how = {"service_workers": "block", **self.device, **how}
        context = await self.browser.new_context(base_url=self.url, **how)
        context.set_default_timeout(30_000)
        context.on("page", _below_the_root)
        context.on("console", self._hear)
        context.on("weberror", lambda e: self.complaints.append(str(e.error)))
        context.on("request", self._note)
        if how.get("java_script_enabled", True):
            await context.add_init_script(
                "addEventListener('securitypolicyviolation', e => "
                "console.error('policy: ' + e.violatedDirective + ' ' + e.blockedURI))"
            )
        self.contexts.append(context)
        return context

    def _hear(self, message: Any) -> None:
        """A refused form is an error to the console, and meant."""
        if message.type == "error" and "status of 4" not in message.text:
            self.complaints.append(message.text)

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:")):
            self.complaints.append(f"a request to {request.url[:80]}")

    async def cookie(self, name: str) -> str:
        """What a browser of somebody's is known by once they signed in."""
        (row,) = await self.rows("SELECT id FROM users WHERE email = :email", email=f"{name}@example.com")
        async with self.database.as_user(row["id"]) as session:
            token, _ = await open_browser(session, row["id"], None)
        return token

    async def signed_in(self, name: str, **how: Any) -> Page:
        """Somebody's browser, on the start page. Without the door, which has tests of its own."""
        context = await self.context(**how)
        await context.add_cookies(
            [
                {
                    "name": cookie_name(self.settings), "value": await self.cookie(name),
                    "domain": urlsplit(self.url).hostname or "", "path": ROOT or "/", "httpOnly": True,
                    "secure": self.settings.secure_cookies, "sameSite": "Lax",
                }
            ]
        )  # fmt: skip
        page = await context.new_page()
        await page.goto("/")
        return page


async def in_order(answer: httpx.Response) -> None:
    """No page, in whatever state it is sent, leaves a level of headings out: who hears it goes by them."""
    if not answer.headers.get("content-type", "").startswith("text/html"):
        return
    html = (await answer.aread()).decode()
    if "<h1" in html:  # else it is a part of one
        levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", html)]
        steps = [(before, level) for before, level in pairwise([0, *levels]) if level > before + 1]
        assert not steps, (str(answer.url), levels)


class Visitor:
    """Somebody's pages as plain forms, where nothing needs a browser."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client, self._csrf = client, ""

    async def get(self, path: str, part: str | None = None, status: int = 200) -> str:
        answer = await self.client.get(path, headers={"X-Part": part} if part else {})
        assert answer.status_code == status, (path, answer.status_code)
        return answer.text

    async def post(self, path: str, status: int = 200, **fields: Any) -> httpx.Response:
        """With the proof of a page of ours; follows to the page that it leads to."""
        if not self._csrf:
            found = re.search(r'name="csrf" value="([0-9a-f]+)"', await self.get("/account"))
            assert found is not None
            self._csrf = found[1]
        answer = await self.client.post(path, data={"csrf": self._csrf, **fields})
        assert answer.status_code == status, (path, answer.status_code, answer.text[:2000])
        return answer


@asynccontextmanager
async def visiting(house: House, name: str) -> AsyncIterator[Visitor]:
    """Somebody signed in, over HTTP alone."""
    headers = {"Accept": "text/html", "Origin": house.url, "Sec-Fetch-Site": "same-origin"}
    cookies = {cookie_name(house.settings): await house.cookie(name)}
    async with httpx.AsyncClient(
        base_url=house.url, headers=headers, cookies=cookies, follow_redirects=True, timeout=60,
        event_hooks={"response": [in_order]},
    ) as client:  # fmt: skip
        yield Visitor(client)


def _below_the_root(page: Page) -> None:
    """What a test opens by its path alone; a browser would take that for the host's root."""
    if ROOT:
        _rooted(page, "goto")
        for name in ("get", "post", "put", "patch", "delete", "fetch"):
            _rooted(page.request, name)


def _rooted(asks: Any, name: str) -> None:
    ask = getattr(asks, name)
    if not hasattr(ask, "rooted"):

        def rooted(url: str, **how: Any) -> Any:
            return ask(ROOT + url if url.startswith("/") else url, **how)

        rooted.rooted = True  # type: ignore[attr-defined]
        setattr(asks, name, rooted)


async def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    await page.goto("/sign-in")
    await page.get_by_label("E-mail address").fill(f"{name}@example.com")
    await page.get_by_label("Password", exact=True).fill(password)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await page.wait_for_load_state()


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(Settings(_env_file=None)), args=list(LAUNCH_ARGS)
        )
        yield browser
        await browser.close()


@pytest.fixture
def device(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A desk; DESK_AND_PHONE says otherwise."""
    return getattr(request, "param", {})


@pytest.fixture
def host() -> str:
    """What people call it."""
    return "127.0.0.1"


@pytest.fixture
async def house(
    database_urls: Any, tmp_path: Path, chromium: Browser, device: dict[str, Any], host: str
) -> AsyncIterator[House]:
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    settings = Settings(
        _env_file=None,
        everystall_home=tmp_path / "home",
        everystall_port=port,
        public_url=f"http://{host}:{port}",
        everystall_root_path=ROOT,
        database_url=database_urls.login,
        database_admin_url=database_urls.admin,
        **{f"{name}_url": f"http://{name}.localhost:1" for name in MARKETPLACES},
    )
    settings.everystall_home.mkdir(mode=0o700)
    database, admin = Database(database_urls.login), Database(database_urls.admin)
    vault, photos = Vault(database, Keyring.load(settings), settings), Photos(settings)
    app = create_app(settings, database=database, vault=vault, photos=photos)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical", access_log=False,
                                          timeout_graceful_shutdown=5))  # fmt: skip
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    house = House(settings.address, settings, database, admin, chromium, app, device)
    yield house
    for context in house.contexts:
        await context.close()
    server.should_exit = True
    await serving
    await app.state.parts.captures.close()
    await app.state.parts.moves.close()
    await photos.close()
    await database.close()
    await admin.close()
    assert house.complaints == []


async def furnish(house: House, user_id: UUID, name: str = "", url: str | None = None) -> None:
    """Accounts in every state, tokens, a paired browser, openings of the vault, people invited. `name` is put
    wherever somebody may write one, `url` where a marketplace may."""
    accounts = {
        "poshmark": [("alices_closet", {"needs_you": None}), ("vintage", {"reason": "challenge"})],
        "mercari": [("Alice M", {"reason": "session_expired"})],
        "ebay": [("alice-sells", {"needs_you": None})],
    }
    for marketplace, rows in accounts.items():
        for number, (account, needs) in enumerate(rows):
            question = None
            if reason := needs.get("reason"):
                said = {"challenge": "Poshmark asks whether you are a robot."}.get(reason, "Signed out.")
                question = {"reason": reason, "message": name or said, "url": url, "actions": []}
            await _account(house, user_id, marketplace, number, name or account, question)
    await house.rows(
        "UPDATE connections SET paused_at = now() WHERE marketplace = 'ebay' AND user_id = :id", id=user_id
    )
    asked = {"reason": "challenge", "message": name or "Poshmark asks for a code.", "url": url, "actions": []}
    await house.rows(
        "WITH l AS (INSERT INTO listings (user_id, title) VALUES (:id, :title) RETURNING id) "
        "INSERT INTO publications "
        "(user_id, listing_id, connection_id, marketplace, wanted_revision, needs_you) "
        "SELECT :id, l.id, c.id, c.marketplace, 1, CAST(:asked AS jsonb) FROM l, connections c "
        "WHERE c.account_name = :account AND c.user_id = :id",
        id=user_id, title=name or "Linen shirt", asked=json.dumps(asked), account=name or "vintage",
    )  # fmt: skip
    for kind, what in (("extension", "Chrome on macOS"), ("api", "Nightly upload"), ("api", "Phone scanner")):
        await house.rows(
            "INSERT INTO api_tokens (user_id, name, kind, token_hash, scopes, last_used_at, expires_at) "
            "VALUES (:id, :name, :kind, sha256(gen_random_uuid()::text::bytea), '{*}', "
            "now() - interval '3 hours', "
            "CASE WHEN :kind = 'api' THEN now() + interval '80 days' END)",
            id=user_id, name=name or what, kind=kind,
        )  # fmt: skip
    await house.rows(
        "INSERT INTO invitations (user_id, email, token_hash, expires_at) VALUES "
        "(:id, :email, sha256(gen_random_uuid()::text::bytea), now() + interval '6 days')",
        id=user_id, email=f"{name or 'dora'}@example.com",
    )  # fmt: skip


async def _account(
    house: House, user_id: UUID, marketplace: str, number: int, account: str, question: Any
) -> None:
    public_id = f"bp_{marketplace}_{str(user_id)[:8]}{number}"
    (row,) = await house.rows(
        "INSERT INTO connections (user_id, public_id, marketplace, account_id, account_name, base_url, "
        "needs_you, last_visit_at) VALUES (:id, :public, :marketplace, :public, :account, :base, "
        "CAST(:needs AS jsonb), "
        "now() - interval '4 minutes') RETURNING id",
        id=user_id, public=public_id, marketplace=marketplace, account=account,
        base=house.settings.base_url(marketplace), needs=json.dumps(question) if question else None,
    )  # fmt: skip
    expired = bool(question) and question["reason"] == "session_expired"
    (kept,) = await house.rows(
        "INSERT INTO user_marketplace_sessions (user_id, connection_id, marketplace, seq, dek_version, "
        "sealed, origin, captured_at, consented_at, expires_at, worked_at) VALUES (:id, :connection, "
        ":marketplace, 1, 1, '', 'extension', now(), now(), now() + CAST(:left AS interval), "
        "now() - interval '4 minutes') "
        "RETURNING id",
        id=user_id, connection=row["id"], marketplace=marketplace, left="-1 hour" if expired else "6 days",
    )  # fmt: skip
    for minutes, purpose in ((300, "post"), (120, "check"), (4, "check")):
        await house.rows(
            "INSERT INTO vault_audit (user_id, connection_id, session_id, seq, kid, purpose, at) VALUES "
            "(:id, :connection, :session, 1, 'k1', :purpose, now() - :minutes * interval '1 minute')",
            id=user_id, connection=row["id"], session=kept["id"], purpose=purpose, minutes=minutes,
        )  # fmt: skip
