"""What the cells play on: one PostgreSQL, one practice world behind the door, our web in this process, and
worker processes. Warm from cell to cell; each cell has a seller of its own.
"""

from __future__ import annotations

import asyncio
import copy
import io
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
from PIL import Image, ImageDraw
from psycopg.rows import dict_row

from chaos.door import Door
from chaos.workers import Line, Worker
from everystall.content.photos import Photos
from everystall.db import Database, migrate
from everystall.embedded import Server
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.models import Connection, WebhookEndpoint
from everystall.notify import webhooks
from everystall.sandbox.app import build
from everystall.sandbox.core import PASSWORD, Item, difference_hash
from everystall.sandbox.testing import Sandbox
from everystall.settings import Settings
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from everystall.web.app import create_app
from everystall.web.tokens import hash_of, new_token
from everystall.worker.compare import same_photos

#: The waits, scaled; everything else is as it comes.
SCALED = {
    "LEASE_SECONDS": "4", "LEASE_RENEW_SECONDS": "0.5", "GUARD_SECONDS": "2", "COMMIT_CLICK_SECONDS": "1",
    "SETTLE_SECONDS": "3",
}  # fmt: skip
FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
#: Megabytes of the disk that PostgreSQL is on, where it is one of our own and can be filled.
DISK_MB = 600

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
    "overrides": {
        "ebay": {
            "payment_policy": "Immediate payment",
            "return_policy": "30 days, buyer pays",
            "shipping_policy": "Ground, buyer pays",
        }
    },
}
_SAME: dict[str, Any] = {
    "description": SHIRT["description"], "brand": "Levi's", "quantity": 1, "size": "M",
}  # fmt: skip
_PACKAGE = {"weight_oz": 12, "length_in": 12, "width_in": 9, "height_in": 2, "ships_from_zip": "94110"}
#: The same as each marketplace has to have it, in its own words: all that its ledger knows, but for title,
#: price and photos. What would move the price is off.
AS_THERE: dict[str, dict[str, Any]] = {
    "poshmark": _SAME | {
        "category": ["Men", "Shirts", "Casual Button Down Shirts"], "condition": "Good", "colors": ["Blue"],
        "original_price": SHIRT["originalPrice"], "tags": [], "shipping": {"discount": "None"},
        "options": {"smart_sell": False}, "sku": "A-17",
    },
    "mercari": _SAME | {
        "category": ["Men", "Tops", "Button-front"], "condition": "Good", "size": "M (38-40)",
        "shipping": _PACKAGE | {"carrier": "USPS", "fits_in_shoebox": False, "payer": "buyer"},
        "options": {"smart_pricing": False},
    },
    "ebay": _SAME | {
        "category": ["Clothing, Shoes & Accessories", "Men", "Men's Clothing", "Shirts",
                     "Casual Button-Down Shirts"],
        "condition": "Pre-owned - Good", "colors": ["Blue"],
        "shipping": _PACKAGE | SHIRT["overrides"]["ebay"],
        "specifics": {"Department": "Men", "Size Type": "Regular", "Type": "Button-Up"},
        "options": {"offers": False, "promotion": False}, "sku": "A-17",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Content:
    """What is compared of a listing."""

    title: str = SHIRT["title"]
    #: In cents.
    price: int = SHIRT["price"]["amount"]
    #: How many of our pictures, from the first on; 0: others, or in another order.
    photos: int = 2
    #: Other fields that are not as they have to be there.
    differing: tuple[str, ...] = ()

    @classmethod
    def of(cls, item: Item) -> Content:
        """As it stands at the marketplace."""
        many = len(item.photos)
        ours = [difference_hash(picture(number)) for number in range(many)]
        whole = same_photos(ours, [photo.dhash for photo in item.photos])
        wanted = AS_THERE[item.marketplace]
        there = {name: value for name, value in item.fields.items() if name not in ("title", "price")}
        if "sku" in wanted:
            there["sku"] = (item.sku or "").partition(" ~")[0]  # our mark is behind it
        differing = sorted(name for name in wanted | there if there.get(name) != wanted.get(name))
        return cls(item.title, item.price, many if whole else 0, tuple(differing))


@dataclass
class Seller:
    """One cell's seller, with one account and one listing."""

    name: str
    user_id: UUID
    marketplace: str
    connection_id: UUID
    public_id: str
    api: httpx.AsyncClient
    listing: str = ""
    job: str | None = None
    #: The listing as it is wanted, and as it was before it was edited.
    wanted: Content = Content()
    before: Content = Content()
    #: An edit is one more photograph, and no other words.
    adds_photo: bool = False

    async def call(self, method: str, path: str, **options: Any) -> Any:
        answer = await self.api.request(method, path, **options)
        if answer.is_error:
            raise RuntimeError(f"{method} {path} was answered {answer.status_code}: {answer.text[:500]}")
        return answer.json() if answer.content else None


@dataclass
class Stage:
    home: Path
    server: Server
    admin_url: str
    sandbox: Sandbox
    door: Door
    settings: Settings
    env: Mapping[str, str]
    db: Database
    vault: Vault
    app: Any
    own_disk: bool
    workers: list[Worker] = field(default_factory=list)
    #: What the workers said since the cell began.
    lines: list[Line] = field(default_factory=list)
    #: Called with each line that a worker writes.
    listeners: list[Any] = field(default_factory=list)
    _kind: str = ""
    _references: dict[str, Item] = field(default_factory=dict)

    # ---- workers ----

    def hear(self, line: Line) -> None:
        self.lines.append(line)
        for listener in list(self.listeners):
            listener(line)

    async def start_worker(self, kind: str = "plain") -> Worker:
        """Another one. `clock`: under libfaketime, its clock as `set_clock` says."""
        worker = Worker(self.home / f"worker-{uuid4().hex[:6]}.log", self.hear)
        env = dict(self.env)
        if kind == "clock":
            env |= {
                "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self.clock_file),
                "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }  # fmt: skip
        await worker.start(env)
        self.workers.append(worker)
        return worker

    async def one_worker(self, kind: str = "plain") -> Worker:
        """Exactly one, ready."""
        if kind != self._kind:
            await self.end_workers()
            self._kind = kind
        for gone in [worker for worker in self.workers if not worker.alive]:
            await gone.end()
            self.workers.remove(gone)
        while len(self.workers) > 1:
            await self.workers.pop(0).end()
        if not self.workers:
            await self.start_worker(kind)
        await self.workers[0].ready()
        return self.workers[0]

    async def end_workers(self) -> None:
        while self.workers:
            await self.workers.pop().end()

    @property
    def clock_file(self) -> Path:
        return self.home / "clock"

    def set_clock(self, hours: int) -> None:
        self.clock_file.write_text(f"{hours:+d}h")

    # ---- sellers ----

    async def seller(self, name: str, marketplace: str) -> Seller:
        """A new one, signed in at the marketplace and handed over; no visit has looked yet."""
        token = new_token()
        (user,) = await self.rows("INSERT INTO users (email) VALUES (%s) RETURNING id", f"{name}@example.com")
        await self.rows(
            "INSERT INTO api_tokens (user_id, name, token_hash) VALUES (%s, 'chaos', %s) RETURNING id",
            user["id"], hash_of(token),
        )  # fmt: skip
        storage = self._sign_in(marketplace, name)
        account = get_form(marketplace).read_account(storage)
        connection = Connection(
            user_id=user["id"], public_id=f"bp_{marketplace}_{name}", marketplace=marketplace,
            account_id=account.id, account_name=name, base_url=self.door.url(marketplace),
        )  # fmt: skip
        async with self.db.as_user(user["id"]) as session:
            session.add(connection)
            await self.vault.save(session, user["id"], connection, storage, captured_at=datetime.now(UTC))
        api = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app), base_url="http://127.0.0.1",
            headers={"Authorization": f"Bearer {token}"}, timeout=30,
        )  # fmt: skip
        return Seller(name, user["id"], marketplace, connection.id, connection.public_id, api)

    def _sign_in(self, marketplace: str, name: str) -> dict[str, Any]:
        """What the seller's browser would hand over after signing in."""
        world = self.sandbox.world
        session = world.sign_in(marketplace, name, PASSWORD)
        assert session is not None
        site: Any = build(world).sites[marketplace]
        cookies = [
            {"name": one.name, "value": one.value, "domain": f"{marketplace}.localhost", "path": one.path,
             "secure": True, "httpOnly": one.http_only, "expires": int(time.time()) + 86400}
            for one in site.cookies(session)
        ]  # fmt: skip
        return {"cookies": cookies, "localStorage": {}, "sessionStorage": {}, "userAgent": None}

    async def new_listing(self, seller: Seller) -> None:
        made = await seller.call("POST", "/api/listings", json=SHIRT)
        seller.listing = str(made["listingId"])
        files = [("photos", (f"{i}.png", picture(i), "image/png")) for i in range(2)]
        await seller.call("POST", f"/api/listings/{seller.listing}/photos", files=files)

    async def add_hook(self, seller: Seller) -> None:
        """The seller's own webhook leads to the door."""
        async with self.db.as_user(seller.user_id) as session:
            row = WebhookEndpoint(id=uuid4(), user_id=seller.user_id, url=self.door.hook)
            await self.vault.seal_webhook(session, row, webhooks.new_secret())
            session.add(row)

    async def forget(self, seller: Seller) -> None:
        """What is still looked for of theirs is in nobody's way any more."""
        await self.rows("DELETE FROM users WHERE id = %s", seller.user_id)

    async def publication(self, seller: Seller) -> dict[str, Any]:
        (row,) = await self.rows("SELECT * FROM publications WHERE listing_id = %s", seller.listing)
        return row

    async def post(self, seller: Seller) -> None:
        wish = {"listingId": seller.listing, "marketplaces": [seller.marketplace]}
        seller.job = (await seller.call("POST", "/api/listings/post", json=wish))["jobId"]

    async def edit(self, seller: Seller) -> None:
        """With one more photograph, or with another title and price."""
        path, seller.before = f"/api/listings/{seller.listing}", seller.wanted
        if seller.adds_photo:
            seller.wanted = Content(photos=3)
            file = ("2.png", picture(2), "image/png")
            await seller.call("POST", f"{path}/photos", files={"photos": file})
        else:
            seller.wanted = Content("Linen shirt, blue", 2100)
            price = {"amount": seller.wanted.price, "currency": "USD"}
            await seller.call("PATCH", path, json={"title": seller.wanted.title, "price": price})

    async def act(self, seller: Seller, action: str) -> None:
        where = f"/api/listings/{seller.listing}/publications/{seller.public_id}/{action}"
        await seller.call("POST", where)

    # ---- what the marketplaces know, and what is done there by hand ----

    def items(self, seller: Seller) -> list[Item]:
        world = self.sandbox.world
        return world.items(seller.marketplace, world.account(seller.marketplace, seller.name))

    def by_hand(self, seller: Seller) -> Item:
        """The seller posts the same thing by hand: the same words, price and photos, without our mark."""
        world, template = self.sandbox.world, self._references[seller.marketplace]
        digits = {"mercari": f"m{world.new_number(11)}", "ebay": world.new_number(12)}
        twin = world.draft(
            seller.marketplace, world.account(seller.marketplace, seller.name),
            digits.get(seller.marketplace) or world.new_hex(), copy.deepcopy(template.fields),
            template.photos, sku=SHIRT["sku"],
        )  # fmt: skip
        twin.private = copy.deepcopy(template.private)
        return world.publish(twin)

    def edit_by_hand(self, seller: Seller) -> None:
        """The seller makes of the listing by hand what was asked of us."""
        world, wanted = self.sandbox.world, seller.wanted
        (item,) = self.items(seller)

        def change() -> None:
            item.fields |= {"title": wanted.title, "price": {"amount": wanted.price, "currency": "USD"}}
            item.photos = [*item.photos, *(
                world.keep_photo(seller.marketplace, item.account, picture(number), "image/png")
                for number in range(len(item.photos), wanted.photos)
            )]  # fmt: skip

        world.revise(item, change)

    async def reference(self, marketplace: str) -> None:
        """One listing per marketplace to copy by hand, posted the ordinary way."""
        if marketplace in self._references:
            return
        seller = await self.seller(f"reference-{marketplace}", marketplace)
        await self.new_listing(seller)
        await self.post(seller)
        async with asyncio.timeout(60):
            while (await self.publication(seller))["state"] != "live":
                await asyncio.sleep(0.1)
        self._references[marketplace] = self.items(seller)[0]
        await seller.api.aclose()

    # ---- the database ----

    async def connect(self) -> psycopg.AsyncConnection[dict[str, Any]]:
        """As its owner; waits until it lets us in."""
        async with asyncio.timeout(60):
            while True:
                try:
                    return await psycopg.AsyncConnection.connect(
                        self.admin_url, autocommit=True, row_factory=dict_row, connect_timeout=5,
                        application_name="chaos", options="-c default_transaction_read_only=off",
                    )  # fmt: skip
                except psycopg.OperationalError:
                    await asyncio.sleep(0.1)

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """As its owner: for looking and for setting the stage."""
        while True:
            try:
                async with await self.connect() as connection:
                    found = await connection.execute(query, values)
                    return await found.fetchall() if found.description else []
            except psycopg.OperationalError:  # it was just cut or restarted
                await asyncio.sleep(0.1)


@asynccontextmanager
async def set_up(*, real: bool = False) -> AsyncIterator[Stage]:
    """All of it, ended at the end. `real`: the waits as they come."""
    async with AsyncExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="everystall-chaos-"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        home.chmod(0o711)  # PostgreSQL's own user passes through
        own_disk = _mount(home / "pg", stack)
        server = Server(home / "pg")
        addresses = server.start()
        stack.callback(_stop, server)
        migrate(addresses.admin, addresses.login)
        sandbox = Sandbox()
        stack.callback(sandbox.stop)
        door = await stack.enter_async_context(Door(sandbox.port))
        env = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "CHROMIUM") if name in os.environ},
            "EVERYSTALL_HOME": str(home / "data"),
            "DATABASE_URL": addresses.login,
            **{f"{name.upper()}_URL": door.url(name) for name in MARKETPLACES},
            "PACE_SECONDS": "0", "DAILY_CAP": "100000", "LOG_FORMAT": "json", "WORKER_VISITS": "2",
            "WORKER_URGENT": "1", "WEBHOOK_ALLOW_PRIVATE": "true",
            **({} if real else SCALED),
        }  # fmt: skip
        (home / "data").mkdir(mode=0o700)
        settings = Settings(_env_file=None, **{name.lower(): value for name, value in env.items()})  # type: ignore[arg-type]
        db = Database(addresses.login)
        stack.push_async_callback(db.close)
        vault = Vault(db, Keyring.load(settings), settings)
        photos = Photos(settings)
        stack.push_async_callback(photos.close)
        app = create_app(settings, database=db, vault=vault, photos=photos)
        stage = Stage(home, server, addresses.admin, sandbox, door, settings, env, db, vault, app, own_disk)
        stage.set_clock(0)
        await _small_wal(stage)
        stack.push_async_callback(stage.end_workers)
        yield stage


def _stop(server: Server) -> None:
    if server.postmaster is None:
        server.start()  # a fault took it down: stop() would have nothing to do, and its files stay locked
    server.stop()


def _mount(folder: Path, stack: AsyncExitStack) -> bool:
    """A small disk for PostgreSQL alone, so that it can be filled. Needs root."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=711", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        return False
    stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=False)
    return True


async def _small_wal(stage: Stage) -> None:
    """Few ready-made WAL files, so that a full disk is noticed at once."""
    for setting in ("max_wal_size = '64MB'", "min_wal_size = '32MB'", "wal_recycle = off"):
        await stage.rows(f"ALTER SYSTEM SET {setting}")
    await stage.rows("SELECT pg_reload_conf()")


def picture(number: int) -> bytes:
    """A photograph that no other number's resembles."""
    image = Image.new("RGB", (640, 480), ((number * 97) % 256, (number * 57 + 80) % 256, 120))
    draw = ImageDraw.Draw(image)
    for i in range(7):
        x, y = (number * 131 + i * 89) % 560, (number * 71 + i * 53) % 400
        draw.rectangle(
            (x, y, x + 60 + i * 9, y + 70), fill=((i * 37) % 256, (number * 41 + i * 19) % 256, 40)
        )
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def without(words: Sequence[str], *those: str) -> tuple[str, ...]:
    return tuple(word for word in words if word not in those)
