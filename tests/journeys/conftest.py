"""The stage of the journeys: our web, our visits, the practice marketplaces, a real Chromium, a real
PostgreSQL. The judge is the marketplaces' own ledger."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import structlog
from PIL import Image, ImageDraw
from playwright.async_api import Browser, Playwright
from sqlalchemy import text

from everystall.browser.chromium import LAUNCH_ARGS, find_chromium
from everystall.browser.driver import Driver
from everystall.content.photos import Photos
from everystall.db import Database
from everystall.inventory.sample import DEFAULTS
from everystall.marketplaces import MARKETPLACES
from everystall.sandbox.testing import Sandbox, sign_in, start_in_thread
from everystall.settings import Settings
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from everystall.web.app import create_app
from everystall.web.tokens import hash_of, new_token
from everystall.worker.visit import Tools, visit

ALL = tuple(MARKETPLACES)
SHIRT = {
    "title": "Linen shirt, hardly worn",
    "description": "A light linen shirt. Worn twice, washed cold, no flaws that I can see.",
    "brand": "Levi's",
    "category": "men.shirts.casual",
    "size": "M",
    "condition": "good",
    "colors": ["blue"],
    "price": {"amount": 2500, "currency": "USD"},
    "originalPrice": {"amount": 6000, "currency": "USD"},
    "sku": "A-17",
    "package": {"weightOz": 12, "lengthIn": 12, "widthIn": 9, "heightIn": 2},
    "shipsFromZip": "94110",
    "shippingPayer": "buyer",
    "specifics": {},
    "overrides": DEFAULTS,
}


@pytest.fixture(
    params=["mercari", *(pytest.param(name, marks=pytest.mark.extended) for name in ALL if name != "mercari")]
)
def marketplace(request: Any) -> str:
    """Each of its kind on one marketplace in `make test`, on all of them in `make e2e-all`."""
    return request.param


@pytest.fixture(scope="session")
def practice() -> Any:
    sandbox = start_in_thread()
    yield sandbox
    sandbox.stop()


@pytest.fixture(scope="session")
async def driver() -> AsyncIterator[Driver]:
    driver = Driver()
    yield driver
    await driver.close()


class OwnBrowsers:
    """One Chromium in which the sellers of all tests sign in, each in a context of their own."""

    def __init__(self) -> None:
        self._browser: Browser | None = None
        self._of: Playwright | None = None

    async def get(self, tools: Tools) -> Browser:
        playwright = await tools.driver.get()
        # a test may have killed it, or the driver
        if self._browser is None or self._of is not playwright or not self._browser.is_connected():
            self._of = playwright
            self._browser = await playwright.chromium.launch(
                executable_path=str(find_chromium(tools.settings)), args=list(LAUNCH_ARGS), headless=True
            )
        return self._browser


@pytest.fixture(scope="session")
def own_browsers(driver: Driver) -> OwnBrowsers:
    return OwnBrowsers()  # it ends with the driver


@dataclass
class Seller:
    """One person with an API token and accounts."""

    user_id: UUID
    client: httpx.AsyncClient
    name: str


@dataclass
class Stall:
    sandbox: Sandbox
    settings: Settings
    tools: Tools
    admin_url: str
    admin: Database
    own_browsers: OwnBrowsers
    sellers: dict[str, Seller] = field(default_factory=dict)

    # ---- what a seller does ----

    async def sign_in(self, marketplace: str, username: str) -> dict[str, Any]:
        """In a browser of the seller's own, through the marketplace's sign-in page."""
        context = await (await self.own_browsers.get(self.tools)).new_context()
        try:
            return await sign_in(context, self.sandbox, marketplace, username)
        finally:
            await context.close()

    async def connect(self, seller: Seller, marketplace: str, username: str | None = None) -> str:
        storage = await self.sign_in(marketplace, username or seller.name)
        return await self.hand_over(seller, marketplace, storage)

    async def hand_over(self, seller: Seller, marketplace: str, storage: dict[str, Any], **more: Any) -> str:
        answer = await seller.client.post(
            "/api/sessions/sync",
            json={
                "marketplace": marketplace,
                "cookies": storage["cookies"],
                "localStorage": storage.get("localStorage", {}),
                "sessionStorage": storage.get("sessionStorage", {}),
                "userAgent": storage.get("userAgent"),
                "isLoggedIn": True,
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                **more,
            },
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["browserProfileId"])

    async def listing(self, seller: Seller, photos: int = 2, **fields: Any) -> str:
        answer = await seller.client.post("/api/listings", json={**SHIRT, **fields})
        assert answer.status_code in (200, 201), answer.text
        id = str(answer.json()["id"])
        files = [("photos", (f"{i}.png", photo(i), "image/png")) for i in range(photos)]
        if files:
            added = await seller.client.post(f"/api/listings/{id}/photos", files=files)
            assert added.status_code in (200, 201), added.text
        return id

    async def post(self, seller: Seller, listing: str, marketplaces: Sequence[str] = ALL) -> dict[str, Any]:
        answer = await seller.client.post(
            "/api/listings/post", json={"listingId": listing, "marketplaces": list(marketplaces)}
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def job(self, seller: Seller, id: str) -> dict[str, Any]:
        answer = await seller.client.get(f"/api/jobs/{id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    # ---- what the engine does ----

    async def visit(self, *browser_profile_ids: str, lane: str = "visits") -> None:
        """What a wake-up leads to, at once and in this process, which knows nothing of a seller's request."""
        structlog.contextvars.clear_contextvars()
        ids = [await self.connection_id(one) for one in browser_profile_ids]
        await asyncio.gather(*(visit(self.tools, id, lane) for id in ids))

    async def until_done(
        self, seller: Seller, job: str, *profiles: str, seconds: float = 30
    ) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while True:
            await self.visit(*profiles)
            now = await self.job(seller, job)
            if now["status"] != "running" or time.monotonic() > end:
                return now
            await asyncio.sleep(0.2)

    async def connection_id(self, browser_profile_id: str) -> UUID:
        found = await self.rows("SELECT id FROM connections WHERE public_id = :id", id=browser_profile_id)
        return UUID(str(found[0]["id"]))

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """As the database's owner: for looking, never for acting."""
        async with self.admin.as_app() as session:
            return [dict(row._mapping) for row in await session.execute(text(query), values)]

    # ---- what the marketplaces know ----

    def ledger(self, marketplace: str, account: str | None = None) -> list[dict[str, Any]]:
        """The listings of a marketplace as it has them now, drafts and all."""
        found = self.sandbox.ledger(marketplace=marketplace)["listings"]
        return [item for item in found if account is None or item["account"] == account]

    def live(self, marketplace: str) -> list[dict[str, Any]]:
        return [item for item in self.ledger(marketplace) if item["state"] == "live"]

    def events(self, marketplace: str, event: str) -> list[dict[str, Any]]:
        entries = self.sandbox.ledger(marketplace=marketplace)["entries"]
        return [entry for entry in entries if entry["event"] == event]


@pytest.fixture
async def stall(
    practice: Sandbox, driver: Driver, own_browsers: OwnBrowsers, database_urls: Any, tmp_path: Path
) -> AsyncIterator[Stall]:  # fmt: skip
    practice.reset()
    settings = Settings(
        _env_file=None,
        everystall_home=tmp_path / "home",
        database_url=database_urls.login,
        database_admin_url=database_urls.admin,
        **{f"{name}_url": practice.url(name) for name in ALL},
        pace_seconds=0,
        settle_seconds=4,
    )
    settings.everystall_home.mkdir(mode=0o700)
    db, admin = Database(database_urls.login), Database(database_urls.admin)
    vault = Vault(db, Keyring.load(settings), settings)
    photos = Photos(settings)
    tools = Tools(db, vault, photos, settings, driver, asyncio.Event())
    app = create_app(settings, database=db, vault=vault, photos=photos)
    stall = Stall(practice, settings, tools, database_urls.admin, admin, own_browsers)
    for name in ("alice", "bob"):
        user_id, token = await _make_user(stall, name)
        stall.sellers[name] = Seller(
            user_id,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app=app),
                base_url="http://127.0.0.1",
                headers={"Authorization": f"Bearer {token}"},
                timeout=30,
            ),
            name,
        )
    yield stall
    for seller in stall.sellers.values():
        await seller.client.aclose()
    await photos.close()
    await db.close()
    await admin.close()


@pytest.fixture
def start_worker(stall: Stall, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Starts `everystall worker` with one slot for visits, and these settings; it ends with the test."""
    settings, running = stall.settings, []

    def start(**more: str) -> None:
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EVERYSTALL_TEST")},
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "EVERYSTALL_HOME": str(settings.everystall_home),
            "DATABASE_URL": settings.database_url.get_secret_value() if settings.database_url else "",
            "PACE_SECONDS": "0",
            "WORKER_VISITS": "1",
            "WORKER_URGENT": "1",
            **more,
        }
        command = [sys.executable, "-m", "everystall", "worker"]
        with open(tmp_path / "worker.log", "wb") as log:
            running.append(subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=tmp_path))

    yield start
    for process in running:
        process.kill()
        process.wait(10)


@pytest.fixture
def workers(stall: Stall, tmp_path: Path) -> Iterator[Any]:
    """Start `everystall worker` on the stage's database and data folder; or what Python is told instead."""
    settings, running = stall.settings, []

    def start(*program: str, **more: str) -> subprocess.Popen[bytes]:
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EVERYSTALL_TEST")},
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "EVERYSTALL_HOME": str(settings.everystall_home),
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "PACE_SECONDS": "0",
            "LEASE_SECONDS": "4",
            "LEASE_RENEW_SECONDS": "1",
            "GUARD_SECONDS": "3",
            "SETTLE_SECONDS": "6",
            **more,
        }
        log = open(tmp_path / f"worker-{len(running)}.log", "wb")  # noqa: SIM115  (the child's)
        process = subprocess.Popen(
            [sys.executable, *(program or ("-m", "everystall", "worker"))],
            env=env, stdout=log, stderr=log, cwd=tmp_path,
        )  # fmt: skip
        log.close()
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait(10)


@pytest.fixture
def alice(stall: Stall) -> Seller:
    return stall.sellers["alice"]


@pytest.fixture
def bob(stall: Stall) -> Seller:
    return stall.sellers["bob"]


async def _make_user(stall: Stall, name: str) -> tuple[UUID, str]:
    token = new_token()
    rows = await stall.rows(
        "INSERT INTO users (email) VALUES (:email) RETURNING id", email=f"{name}@example.com"
    )
    await stall.rows(
        "INSERT INTO api_tokens (user_id, name, token_hash) VALUES (:id, 'test', :hash) RETURNING id",
        id=rows[0]["id"], hash=hash_of(token),
    )  # fmt: skip
    return UUID(str(rows[0]["id"])), token


def photo(number: int) -> bytes:
    """A picture that no other number's resembles."""
    seed = hashlib.sha256(json.dumps(number).encode()).digest()
    image = Image.new("RGB", (640, 480), tuple(seed[:3]))
    draw = ImageDraw.Draw(image)
    for i in range(0, 28, 4):
        x, y, w, h = (seed[i] * 2, seed[i + 1], 40 + seed[i + 2], 40 + seed[i + 3])
        draw.rectangle((x, y, x + w, y + h), fill=(seed[i], seed[(i * 3) % 32], seed[(i * 7) % 32]))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
