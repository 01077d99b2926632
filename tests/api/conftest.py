"""The API over a real PostgreSQL, with two sellers: Alice owns, Bob must get nothing."""

from __future__ import annotations

import base64
import io
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image
from sqlalchemy import select, text

from everystall.content.photos import Photos
from everystall.db import Database
from everystall.inventory.listings import facts_of
from everystall.inventory.pricing import compose
from everystall.inventory.publications import change
from everystall.models import Connection, Listing, Publication
from everystall.settings import Settings
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from everystall.web import captures, live, passwords
from everystall.web.app import create_app
from everystall.web.deps import Parts
from everystall.web.draining import Draining
from everystall.web.limits import Limits
from everystall.web.listening import Listening
from everystall.web.tokens import make_token

PUBLIC_URL = "https://everystall.test"
#: All of it below a path of the host, in the pass that `make test-base-path` makes.
ROOT = os.environ.get("EVERYSTALL_TEST_ROOT_PATH", "")
ADDRESS = PUBLIC_URL + ROOT
COOKIE = "__Secure-everystall" if ROOT else "__Host-everystall"
SHIRT: dict[str, Any] = {
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
}


def photo(number: int = 0, size: tuple[int, int] = (400, 500)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (number * 37 % 256, number * 91 % 256, number * 53 % 256)).save(out, "PNG")
    return out.getvalue()


def cookie(name: str, value: str, domain: str, **more: Any) -> dict[str, Any]:
    """As chrome.cookies tells it."""
    return {
        "name": name, "value": value, "domain": domain, "path": "/", "secure": True, "httpOnly": True,
        "hostOnly": not domain.startswith("."), "session": False, "sameSite": "lax", "storeId": "0",
        "expirationDate": time.time() + 86_400, **more,
    }  # fmt: skip


def signed_in_as(marketplace: str, account: str | None) -> list[dict[str, Any]]:
    """A session's cookies; with `account` readable from them where the site tells it."""
    if marketplace == "poshmark":
        cookies = [cookie("jwt", "a.b.c", ".poshmark.com")]
        if account:
            uid = account.encode().hex().ljust(24, "0")[:24]
            cookies.append(cookie("ui", quote(json.dumps({"uid": uid, "dh": account})), ".poshmark.com"))
        return cookies
    if marketplace == "mercari":
        claims = base64.urlsafe_b64encode(json.dumps({"sub": account} if account else {}).encode())
        token = f"e30.{claims.decode().rstrip('=')}.sig"
        value = base64.b64encode(json.dumps({"accessToken": token}).encode()).decode()
        return [cookie("_mwus", value, ".www.mercari.com")]
    return [cookie("dp1", "bits", ".ebay.com"), cookie("nonsession", "bits", ".ebay.com")]


@dataclass
class Seller:
    user_id: UUID
    token: str
    client: httpx.AsyncClient

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.client.get(path, **more)

    async def post(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        return await self.client.post(path, json=json, **more)

    async def sync(self, marketplace: str, cookies: list[dict[str, Any]], **more: Any) -> httpx.Response:
        return await self.client.post(
            "/api/sessions/sync",
            json={
                "marketplace": marketplace,
                "cookies": cookies,
                "localStorage": {"theme": "dark"},
                "sessionStorage": {},
                "isLoggedIn": True,
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "userAgent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0",
                **more,
            },
        )

    async def connect(self, marketplace: str, account: str | None = "alice") -> str:
        answer = await self.sync(marketplace, signed_in_as(marketplace, account))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["browserProfileId"])

    async def listing(self, photos: int = 1, **changes: Any) -> str:
        answer = await self.post("/api/listings", {**SHIRT, **changes})
        assert answer.status_code == 201, answer.text
        id = str(answer.json()["listingId"])
        if photos:
            files = [("photos", (f"{n}.png", photo(n), "image/png")) for n in range(photos)]
            added = await self.client.post(f"/api/listings/{id}/photos", files=files)
            assert added.status_code == 201, added.text
        return id

    async def publish(self, listing: str, *marketplaces: str, **more: Any) -> httpx.Response:
        body = {"listingId": listing, "marketplaces": list(marketplaces)}
        return await self.post("/api/listings/post", {**body, **more.pop("body", {})}, **more)


PASSWORD = "linen shirt hardly worn"
OURS = {"origin": "https://everystall.test"}


@cache
def hashed_password() -> str:
    return passwords.ARGON2.hash(PASSWORD)


@dataclass
class Person(Seller):
    """Signed in with a browser: `client` has the cookie, our Origin and the token of our forms."""

    email: str

    @property
    def csrf(self) -> str:
        return str(self.client.headers["x-csrf-token"])


@dataclass
class Site:
    app: FastAPI
    settings: Settings
    database: Database
    vault: Vault
    admin: Database
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    async def seller(self, name: str, scopes: tuple[str, ...] = ()) -> Seller:
        async with self.admin.as_app() as session:
            token = await make_token(session, f"{name}@example.com", "test", scopes)
        user_id = (await self.rows("SELECT id FROM users WHERE email = :email", email=f"{name}@example.com"))[
            0
        ]["id"]
        return Seller(user_id, token, self.client(token))

    async def person(self, name: str, role: str = "seller") -> Person:
        """Somebody with a password, and a browser that is signed in."""
        email = f"{name}@example.com"
        (row,) = await self.rows(
            "INSERT INTO users (email, role, password_hash) VALUES (:email, :role, :hash) "
            "ON CONFLICT (email) DO UPDATE SET role = :role, password_hash = :hash RETURNING id",
            email=email, role=role, hash=hashed_password(),
        )  # fmt: skip
        client = await self.browser(email)
        return Person(row["id"], "", client, email)

    async def browser(self, email: str) -> httpx.AsyncClient:
        client = self.client()
        client.headers.update(OURS)
        answer = await client.post("/api/sign-in", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        client.headers["x-csrf-token"] = answer.json()["csrfToken"]
        return client

    def client(self, token: str | None = None, address: str = "127.0.0.1") -> httpx.AsyncClient:
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app, raise_app_exceptions=False, client=(address, 50_000)),
            base_url=ADDRESS,
            event_hooks={"response": [_leads_below_the_root]},
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )
        self.clients.append(client)
        return client

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """As the database's administrator: for looking, and for what a worker or time would do."""
        async with self.admin.as_app() as session:
            found = await session.execute(text(query), values)
            return [dict(row._mapping) for row in found] if found.returns_rows else []

    async def put(self, seller: Seller, **values: Any) -> None:
        """What a visit records about every publication of this seller."""
        async with self.database.as_user(seller.user_id) as session:
            for publication in await session.scalars(select(Publication).order_by(Publication.id)):
                await change(session, publication, **values)

    async def go_live(self, seller: Seller) -> None:
        async with self.database.as_user(seller.user_id) as session:
            for row in await session.scalars(select(Publication).order_by(Publication.id)):
                short = row.id.hex[:8]
                await change(session, row, state="live", put="live", put_revision=row.wanted_revision,
                             looking=False, needs_you=None, remote_id=f"r{short}",
                             url=f"https://example.com/{short}", read_back={"title": True})  # fmt: skip

    async def everything_of(self, seller: Seller) -> list[Any]:
        """All rows of a seller, to see that nothing changed."""
        tables = ("listings", "listing_photos", "connections", "user_marketplace_sessions", "publications",
                  "jobs", "listing_automation_results")  # fmt: skip
        return [
            await self.rows(f"SELECT * FROM {table} WHERE user_id = :id ORDER BY id", id=seller.user_id)
            for table in tables
        ]

    async def forget_wakes(self) -> None:
        async with self.admin.as_app() as session:
            await session.execute(text("SELECT set_config('search_path', 'procrastinate, public', true)"))
            await session.execute(text("DELETE FROM procrastinate_jobs"))

    async def wakes(self) -> list[dict[str, Any]]:
        return await self.rows(
            "SELECT queue_name, queueing_lock, status FROM procrastinate.procrastinate_jobs "
            "WHERE task_name = 'visit' ORDER BY id"
        )


async def live_listing(
    site: Site, seller: Seller, *marketplaces: str, accounts: dict[str, str] | None = None, **listing: Any
) -> tuple[str, dict[str, str]]:
    """A listing that is live, with the attempts that put it there; and the accounts, which may be given."""
    profiles = accounts or {name: await seller.connect(name) for name in marketplaces}
    made = await seller.listing(**listing)
    posted = await seller.publish(made, *marketplaces)
    assert posted.status_code == 200, posted.text
    await site.go_live(seller)
    for row in await site.rows("SELECT * FROM publications WHERE listing_id = CAST(:id AS uuid)", id=made):
        await site.rows(
            "INSERT INTO attempts (user_id, publication_id, connection_id, listing_revision, draft, "
            "fields_hash, fence, outcome, remote_id) VALUES (:user_id, :id, :connection_id, :put_revision, "
            "CAST(:draft AS jsonb), 'h', 1, 'live', :remote_id)",
            draft=json.dumps(await _composed(site, seller, row)), **{name: row[name] for name in
            ("user_id", "id", "connection_id", "put_revision", "remote_id")},
        )  # fmt: skip
    await site.forget_wakes()
    return made, profiles


async def lowered_by_hand(site: Site, marketplace: str, cents: int) -> None:
    """As a look at its page finds it: the seller asks for other than we put there."""
    await site.rows(
        """UPDATE attempts a SET adopted = CAST(:adopted AS jsonb) FROM publications p
           WHERE p.id = a.publication_id AND p.marketplace = :marketplace""",
        adopted=json.dumps({"price": {"amount": cents, "currency": "USD"}}), marketplace=marketplace,
    )  # fmt: skip


async def _composed(site: Site, seller: Seller, row: Mapping[str, Any]) -> Any:
    async with site.database.as_user(seller.user_id) as session:
        listing = await session.get_one(Listing, row["listing_id"])
        connection = await session.get_one(Connection, row["connection_id"])
        facts = await facts_of(session, listing)
        draft, problems, _ = compose(row["marketplace"], facts, row["price_rule"], connection.defaults)
    assert draft is not None, problems
    return draft.model_dump(mode="json")


async def _leads_below_the_root(answer: httpx.Response) -> None:
    """Each redirect does; from there on tests know the path only."""
    if (where := answer.headers.get("location")) is not None and where.startswith("/"):
        assert where.startswith(ROOT), where
        answer.headers["location"] = where.removeprefix(ROOT)


@cache
def _application() -> FastAPI:
    """One for all tests, because it takes longer to make than most of them; the parts are each test's own."""
    return create_app(Settings(_env_file=None, public_url=PUBLIC_URL, everystall_root_path=ROOT))


@pytest.fixture
async def site(database_urls: Any, tmp_path: Path) -> AsyncIterator[Site]:
    settings = Settings(
        _env_file=None,
        everystall_home=tmp_path / "home",
        database_url=database_urls.login,
        database_admin_url=database_urls.admin,
        public_url=PUBLIC_URL,
        everystall_root_path=ROOT,
    )
    settings.everystall_home.mkdir(mode=0o700)
    database, admin = Database(database_urls.login), Database(database_urls.admin)
    vault = Vault(database, Keyring.load(settings), settings)
    photos = Photos(settings)
    app = _application()
    vars(app.state.draining).update(vars(Draining()))
    listening = (Listening(database, channel) for channel in (captures.CHANNEL, live.CHANNEL))
    app.state.parts = Parts(settings, database, vault, photos, Limits(), *listening)
    made = Site(app, settings, database, vault, admin)
    yield made
    for client in made.clients:
        await client.aclose()
    await app.state.parts.captures.close()
    await photos.close()
    await database.close()
    await admin.close()


@pytest.fixture
async def alice(site: Site) -> Seller:
    return await site.seller("alice")


@pytest.fixture
async def bob(site: Site) -> Seller:
    return await site.seller("bob")
