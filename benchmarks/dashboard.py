"""How the inventory holds out with 50,000 listings: `make bench-dashboard` says first byte, keystroke to rows
and the page's weight; with `--plans` how PostgreSQL answers what the page asks. Minutes; writes nothing.

One seller has them all, on three marketplaces: a tenth drafts, a tenth sold, a hundredth waits for them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import socket
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import uvicorn
from playwright.async_api import async_playwright

from benchmarks.engine import Place, place
from benchmarks.queries import explained
from everystall.browser.chromium import LAUNCH_ARGS, find_chromium
from everystall.content.photos import Photos
from everystall.db import Database
from everystall.inventory import stock
from everystall.inventory.stock import Sought
from everystall.settings import Settings
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from everystall.web import browsers
from everystall.web.app import create_app

LISTINGS = 50_000
TIMES = 60
#: Milliseconds, and bytes.
FIRST_BYTE, KEYSTROKE, WEIGHT = 100, 150, 150_000
BRANDS = (
    "Levi's",
    "Carhartt",
    "Nike",
    "Patagonia",
    "Coach",
    "Madewell",
    "Pyrex",
    "Sony",
    "Lululemon",
    "unbranded",
)
THINGS = ("jacket", "jeans", "boots", "bag", "watch", "bowl", "shirt")

#: What is opened: name → the page's address.
PAGES = {
    "the first page": "/inventory",
    "Show more, the third fifty": "/inventory?pages=3",
    "drafts": "/inventory?view=drafts",
    "listed": "/inventory?view=listed",
    "needs you": "/inventory?view=needs-you",
    "sold": "/inventory?view=sold",
    "stale": "/inventory?view=stale",
    "a word that many have": "/inventory?q=jacket",
    "a word that one has": "/inventory?q=ev-4711",
    "a word that none has": "/inventory?q=zeppelin",
    "not on eBay": "/inventory?off=ebay",
    "on eBay, from $50, by price": "/inventory?on=ebay&low=50&sort=dearest",
    "by title": "/inventory?sort=title",
    "by SKU": "/inventory?sort=sku",
    "by stock": "/inventory?sort=most",
    "a brand": "/inventory?brand=Coach",
    "a label that a tenth has": "/inventory?label=summer",
    "a label that few have": "/inventory?label=to+mend",
    "a place": "/inventory?location=Shelf+17",
    "as cards": "/inventory?look=grid",
}
#: What comes after a page, for itself.
PARTS = {"the numbers of the views": "views", "how many match": "total"}


def fill(here: Place, listings: int) -> UUID:
    """The seller's id."""
    with psycopg.connect(here.admin) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in _FILL:
            connection.execute(
                statement, {"listings": listings, "brands": list(BRANDS), "things": list(THINGS)}
            )
        (user_id,) = connection.execute("SELECT id FROM users").fetchone() or (None,)
    with psycopg.connect(here.admin, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
    assert isinstance(user_id, UUID)
    return user_id


_FILL = (
    "INSERT INTO users (email) VALUES ('seller@example.com')",
    """INSERT INTO connections (user_id, public_id, marketplace, base_url)
       SELECT id, 'bp_' || m, m, 'http://' || m || '.localhost' FROM users,
       unnest(ARRAY['poshmark', 'mercari', 'ebay']) m""",
    """INSERT INTO listings (user_id, title, description, brand, category, condition, size, price_cents, sku,
           quantity_sold, created_at, location, labels, cost_cents)
       SELECT u.id, b || ' ' || (%(things)s::text[])[1 + n %% 7] || ', lot ' || n,
           repeat('Worn twice, washed cold, no flaws that I can see. ', 12), b,
           'men.shirts.casual', 'good', 'M', 500 + (n * 7919) %% 20000, 'EV-' || n,
           (n %% 10 = 1)::int, now() - n * interval '7 minutes', 'Shelf ' || n %% 400,
           CASE WHEN n %% 2500 = 3 THEN ARRAY['summer', 'to mend'] WHEN n %% 10 = 3 THEN ARRAY['summer']
                ELSE '{}' END, 300 + n %% 900
       FROM generate_series(1, %(listings)s) n,
            LATERAL (SELECT (%(brands)s::text[])[1 + n %% 10] AS b) x, users u""",
    """INSERT INTO listing_photos (user_id, listing_id, position, sha256, content_type, width, height,
           byte_size)
       SELECT user_id, id, p, md5(id::text || p), 'image/jpeg', 1200, 900, 200000
       FROM listings, generate_series(0, 3) p""",
    """INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted, wanted_revision,
           put, put_revision, state, needs_you, remote_id, url, asked_at, created_at)
       SELECT l.user_id, l.id, c.id, c.marketplace, x.w, 1, x.p, 1, x.p,
           CASE WHEN hashtext(l.id::text) %% 300 = 0 THEN
               '{"reason": "page_changed", "message": "Look."}'::jsonb END,
           md5(l.id::text || c.id), 'http://x.localhost/listing/' || md5(l.id::text || c.id),
           l.created_at, l.created_at
       FROM listings l JOIN connections c USING (user_id),
            LATERAL (SELECT CASE WHEN l.quantity_sold > 0 OR hashtext(l.id::text || c.id) %% 9 = 0
                THEN 'ended' ELSE 'live' END) y(w), LATERAL (SELECT y.w, y.w) x(w, p)
       WHERE substr(l.sku, 4)::int %% 10 <> 0""",
)


# ---- the page over HTTP -----------------------------------------------------------------------------


async def over_http(url: str, cookie: str, say: Callable[[str], None]) -> dict[str, int]:
    """Says first bytes; the weight of the page's parts."""
    weights: dict[str, int] = {}
    # as browsers say it of a link in one of our pages
    asked = {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}
    async with httpx.AsyncClient(base_url=url, headers=asked, timeout=60) as client:
        say(f"\nFirst byte, ms, of {TIMES} (goal: p95 ≤ {FIRST_BYTE})")
        for name, address in PAGES.items():
            await _told(say, name, FIRST_BYTE, partial(_first_byte, client, address))
        say("\nFor itself, after the page, ms")
        for name, part in PARTS.items():
            await _told(say, name, None, partial(_first_byte, client, "/inventory", part))
        page = await client.get("/inventory")
        say(f"\nThe page unpacked: {len(page.content):,} bytes")
        weights["the page"] = await _on_the_wire(client, "/inventory")
        for path in sorted({part.split('"')[0] for part in page.text.split('"/static/')[1:]}):
            weights[path.split("?")[0]] = await _on_the_wire(client, f"/static/{path}")
    return weights


async def _on_the_wire(client: httpx.AsyncClient, path: str) -> int:
    async with client.stream("GET", path) as answer:
        return sum([len(part) async for part in answer.aiter_raw()])


async def _first_byte(client: httpx.AsyncClient, address: str, part: str | None = None) -> float:
    began = time.perf_counter()
    async with client.stream("GET", address, headers={"X-Part": part} if part else {}) as answer:
        took = time.perf_counter() - began
        assert answer.status_code == 200, (address, answer.status_code)
        await answer.aread()
    return took


async def _told(
    say: Callable[[str], None], name: str, goal: float | None, once: Callable[[], Awaitable[float]]
) -> None:
    for _ in range(3):
        await once()
    took = sorted([1000 * await once() for _ in range(TIMES)])
    say(_line(name, took, goal))


def _line(name: str, took: list[float], goal: float | None) -> str:
    p95 = took[int(len(took) * 0.95)]
    judged = "" if goal is None else "met" if p95 <= goal else "NOT MET"
    return f"  {name:32} median {statistics.median(took):6.1f}   p95 {p95:6.1f}   {judged}"


# ---- the page in a browser --------------------------------------------------------------------------

_KEY = """async (text) => {
    const box = document.getElementById("q"), results = document.getElementById("results");
    box.value = text;
    return await new Promise((resolve) => {
        const began = performance.now();
        const seen = new MutationObserver(() => {
            seen.disconnect();
            requestAnimationFrame(() => resolve(performance.now() - began));
        });
        seen.observe(results, { childList: true });
        box.dispatchEvent(new InputEvent("input", { bubbles: true }));
    });
}"""


async def in_a_browser(url: str, cookie: str, settings: Settings, say: Callable[[str], None]) -> None:
    """From a keystroke until its rows are in the page."""
    words = ["j", "ja", "jac", "jack", "e", "ev", "ev-4", "ev-47", "ev-471", "ev-4711", "coach b", "zeppelin"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(settings), args=list(LAUNCH_ARGS)
        )
        context = await browser.new_context(base_url=url, extra_http_headers={"Cookie": cookie})
        page = await context.new_page()
        await page.goto("/inventory")
        await page.wait_for_load_state("networkidle")
        took = []
        for _ in range(max(1, TIMES // len(words))):
            for word in words:
                took.append(float(await page.evaluate(_KEY, word)))
        say(f"\nKeystroke to rows, ms, of {len(took)}, with its 20 ms of waiting for the next key; no photos")
        say(_line("in Chromium", sorted(took), KEYSTROKE))
        await browser.close()


# ---- what PostgreSQL does ---------------------------------------------------------------------------


async def plans(db: Database, user_id: UUID, say: Callable[[str], None]) -> None:
    """How long each question takes there, and its plan."""
    asked: dict[str, Callable[[Any], Awaitable[Any]]] = {
        "the first page": lambda s: stock.page_of(s, Sought()),
        "a word that one has": lambda s: stock.page_of(s, Sought(words="ev-4711")),
        "drafts": lambda s: stock.page_of(s, Sought(view="drafts")),
        "listed": lambda s: stock.page_of(s, Sought(view="listed")),
        "not on eBay": lambda s: stock.page_of(s, Sought(off="ebay")),
        "a label that few have": lambda s: stock.page_of(s, Sought(label="to mend")),
        "a place": lambda s: stock.page_of(s, Sought(location="Shelf 17")),
        "labels in use": stock.labels_in_use,
        "places in use": stock.locations_in_use,
        "the numbers of the views": stock.counts_of,
    }
    for name, ask in asked.items():
        say(f"\n## {name}\n")
        for plan in await explained(db, user_id, ask):
            say(plan)


async def measure(listings: int, *, with_plans: bool) -> None:
    say = print
    with tempfile.TemporaryDirectory(prefix="everystall-dashboard-") as folder:
        home = Path(folder)
        with place(home / "db", fsync=False) as here:
            began = time.monotonic()
            user_id = fill(here, listings)
            say(f"{listings:,} listings, filled in {time.monotonic() - began:.0f} s")
            await _measure(here, home, user_id, say, with_plans=with_plans)


@contextlib.asynccontextmanager
async def dashboard(
    here: Place, home: Path, user_id: UUID
) -> AsyncIterator[tuple[Settings, Database, str]]:  # fmt: skip
    """A web that serves this place, and the cookie of the seller's browser."""
    # named, as the product's are: on others asyncio leaves Nagle's delay on (40 ms)
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    settings = Settings(
        _env_file=None, everystall_home=home / "home", everystall_port=listening.getsockname()[1]
    )
    settings.everystall_home.mkdir(mode=0o700)
    db, photos = Database(here.login), Photos(settings)
    vault = Vault(db, Keyring.load(settings), settings)
    app = create_app(settings, database=db, vault=vault, photos=photos)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical", access_log=False))
    gc.freeze()  # as `everystall web` does once it is loaded
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    async with db.as_user(user_id) as session:
        token, _ = await browsers.open_browser(session, user_id, "Chrome")
    try:
        yield settings, db, f"{browsers.cookie_name(settings)}={token}"
    finally:
        server.should_exit = True
        await serving
        await app.state.parts.captures.close()
        await app.state.parts.moves.close()
        await photos.close()
        await db.close()


async def _measure(
    here: Place, home: Path, user_id: UUID, say: Callable[[str], None], *, with_plans: bool
) -> None:
    async with dashboard(here, home, user_id) as (settings, db, cookie):
        if with_plans:
            await plans(db, user_id, say)
        weights = await over_http(settings.public_url, cookie, say)
        total = sum(weights.values())
        say(f"\nWeight without photos, bytes (goal: ≤ {WEIGHT:,})")
        for name, size in weights.items():
            say(f"  {name:32} {size:8,}")
        say(f"  {'together':32} {total:8,}   {'met' if total <= WEIGHT else 'NOT MET'}")
        here.query("TRUNCATE listing_photos")  # there are no files behind them
        await in_a_browser(settings.public_url, cookie, settings, say)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-dashboard", description=__doc__)
    parser.add_argument("--listings", type=int, default=LISTINGS)
    parser.add_argument("--plans", action="store_true", help="and how PostgreSQL answers")
    given = parser.parse_args()
    asyncio.run(measure(given.listings, with_plans=given.plans))


if __name__ == "__main__":
    main()
