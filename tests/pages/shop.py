"""A seller's shop as it may stand on an ordinary day, as rows: what the pictures of docs/screenshots show."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from tests.pages.clothes import photo
from tests.pages.conftest import House
from tests.pages.standing import account, attempt, listing, pictured, publication, question

EBAY = {
    "payment_policy": "Immediate payment", "return_policy": "30 days, buyer pays",
    "shipping_policy": "Ground, buyer pays", "ships_from_zip": "97205",
}  # fmt: skip
ROBOT = "Poshmark asks whether you are a robot."
#: Thing, its colour, title, brand, category, size, price, days since it was written, and where it stands.
THINGS: list[tuple[str, str, str, str, str, str | None, int, int, str]] = [
    ("jacket", "#b07a3c", "Carhartt Detroit chore jacket, blanket lined", "Carhartt",
     "men.coats.bombers", "L", 8900, 0,
     "poshmark:filling mercari:live ebay:live"),
    ("dress", "#a8434f", "Reformation midi dress, cherry red", "Reformation", "women.dresses.midi", "6",
     11800, 1,
     "poshmark:live mercari:asked ebay:waiting"),
    ("jeans", "#33415e", "Levi's 501 straight jeans, selvedge", "Levi's", "men.jeans.straight", "32x32",
     9500, 3,
     "poshmark:live mercari:live ebay:live"),
    ("shirt", "#5c83b5", "Everlane linen shirt, relaxed fit", "Everlane", "men.shirts.casual", "M", 3400, 5,
     "poshmark:live mercari:live ebay:edited"),
    ("bag", "#8a5a3a", "Madewell transport tote, English saddle", "Madewell", "women.bags.totes", None,
     9800, 9,
     "poshmark:live mercari:live ebay:live"),
    ("watch", "#6b6f76", "Timex Weekender watch, steel", "Timex", "men.accessories.watches", None, 4200, 12,
     "mercari:live ebay:live"),
    ("boot", "#2b2b2f", "Dr. Martens 1460 boots, black", "Dr. Martens", "women.shoes.boots", "8", 9900, 16,
     "poshmark:ended mercari:ended ebay:sold"),
    ("bowl", "#d8b24a", "Pyrex Butterprint bowl, 2½ quarts", "Pyrex", "home.kitchen.bakeware", None, 5400, 21,
     "mercari:sold ebay:ended"),
    ("dress", "#4d6b57", "Eileen Fisher silk dress, moss", "Eileen Fisher", "women.dresses.midi", "M",
     7600, 34,
     "poshmark:live ebay:live"),
    ("shirt", "#c9c2b4", "Patagonia Bearfoot tee, sand", "Patagonia", "men.shirts.tees", "L", 2400, 48,
     "poshmark:live mercari:live"),
    ("jeans", "#7f8fa6", "Agolde 90s jean, light wash", "Agolde", "women.jeans.straight", "27", 8800, 62,
     "poshmark:live mercari:live ebay:live"),
    ("jacket", "#5a6348", "Barbour Bedale waxed jacket, olive", "Barbour", "men.coats.rain", "L", 18500,
     66, ""),
]  # fmt: skip
#: What sold before, each a listing of its own: the latest first.
PAST: list[tuple[str, str, str, str, str, str | None, int]] = [
    ("jacket", "#3d5a80", "Levi's trucker jacket, mid wash", "Levi's", "men.coats.bombers", "M", 7200),
    ("bag", "#6d2e3a", "Coach Willis satchel, burgundy", "Coach", "women.bags.totes", None, 14500),
    ("boot", "#7b4a2b", "Frye Melissa boots, cognac", "Frye", "women.shoes.boots", "8.5", 12800),
    ("watch", "#b08d57", "Fossil Minimalist watch, brass", "Fossil", "men.accessories.watches", None, 5600),
    ("shirt", "#7c3f2c", "Pendleton board shirt, umber", "Pendleton", "men.shirts.casual", "L", 6400),
    ("dress", "#2f6f73", "Anthropologie midi dress, teal", "Anthropologie", "women.dresses.midi", "8", 5800),
    ("bowl", "#3f9aa5", "Fiesta mixing bowl, turquoise", "Fiesta", "home.kitchen.bakeware", None, 3800),
    ("jeans", "#22304a", "Wrangler 13MWZ jeans, rigid", "Wrangler", "men.jeans.straight", "34x32", 4600),
    ("bag", "#44505c", "Filson field bag, slate", "Filson", "women.bags.totes", None, 16500),
    ("jacket", "#7d7461", "L.L.Bean field coat, khaki", "L.L.Bean", "men.coats.bombers", "XL", 9400),
    ("shirt", "#a9b8a0", "Faherty legend shirt, sage", "Faherty", "men.shirts.casual", "M", 5200),
    ("boot", "#4a3a30", "Red Wing Iron Ranger boots", "Red Wing", "women.shoes.boots", "9", 17800),
    ("dress", "#d08a9b", "Sézane wrap dress, rose", "Sézane", "women.dresses.midi", "4", 8600),
    ("watch", "#3a3f47", "Seiko 5 watch, black dial", "Seiko", "men.accessories.watches", None, 8900),
    ("bowl", "#b5523b", "Le Creuset bowl, flame", "Le Creuset", "home.kitchen.bakeware", None, 4200),
    ("jeans", "#5a6b86", "Madewell perfect vintage jean", "Madewell", "women.jeans.straight", "28", 5400),
]  # fmt: skip
COLOURS = (
    "brown", "red", "navy", "blue", "brown", "silver", "black", "yellow", "green", "beige", "blue", "green",
)  # fmt: skip
LIVE: dict[str, Any] = {
    "state": "live", "put": "live", "put_revision": 1,
    "read_back": {"title": True, "price": True, "photos": True, "description": True},
}  # fmt: skip


@dataclass
class Shop:
    #: Title's first word → id.
    listings: dict[str, str]
    #: Marketplace → its account's public id; "vintage" is a second one, on Poshmark.
    accounts: dict[str, str]


def ago(**how: float) -> datetime:
    return datetime.now(UTC) - timedelta(**how)


def photos_of(thing: str, colour: str) -> list[bytes]:
    return [photo(thing, colour), photo(thing, colour, "#d9e0e4", 5), photo(thing, colour, "#ece9ef", -8)]


async def open_shop(house: House, user: UUID) -> Shop:
    """Accounts, listings in every state, what waits for an answer, what sold in eleven months."""
    accounts = {
        "poshmark": await account(house, user, "poshmark", "alices_closet"),
        "mercari": await account(house, user, "mercari", "AliceM"),
        "ebay": await account(house, user, "ebay", "alice-sells", defaults=EBAY),
        "vintage": await account(
            house, user, "poshmark", "vintage_by_a",
            needs_you={"reason": "challenge", "message": ROBOT, "url": None, "actions": []},
        ),
    }  # fmt: skip
    await house.rows("UPDATE connections SET last_visit_at = now() - interval '2 minutes', "
                     "watched_at = now() - interval '2 minutes'")  # fmt: skip
    for minutes, purpose in ((610, "post"), (300, "post"), (120, "check"), (62, "check"), (2, "check")):
        await house.rows(
            "INSERT INTO vault_audit (user_id, connection_id, session_id, seq, kid, purpose, at) SELECT "
            "user_id, "
            "connection_id, id, 1, 'k1', :purpose, now() - :minutes * interval '1 minute' "
            "FROM user_marketplace_sessions",
            purpose=purpose, minutes=minutes,
        )  # fmt: skip
    shop = Shop({}, accounts)
    for number, (thing, colour, title, brand, category, size, price, days, stands) in enumerate(THINGS):
        id = await listing(
            house, user, photos_of(thing, colour)[: 3 if number < 5 else 1], title=title, brand=brand,
            category=category, size=size, price_cents=price, original_price_cents=price * 2,
            sku=f"EV-{1240 - number}", location=f"Shelf {'ABC'[number % 3]}{number % 4 + 1}",
            cost_cents=price // 400 * 100,
            colors=[COLOURS[number]],
            labels=[["winter"], ["summer"], [], ["to mend"]][number % 4], created_at=ago(days=days, hours=2),
            description="In good condition, worn a few times and washed cold. No stains, no holes."
            "\n\nShips the next working day.",
        )  # fmt: skip
        shop.listings[title.split()[0]] = id
        for stand in stands.split():
            await _stands(house, user, shop, id, price, days, *stand.split(":"))
    await _waits_at_vintage(house, user, shop)
    await _sold(house, user, shop)
    return shop


async def _stands(
    house: House, user: UUID, shop: Shop, id: str, price: int, days: int, marketplace: str, state: str
) -> None:
    on, how, asks = shop.accounts[marketplace], dict(LIVE), None
    match state:
        case "filling":
            how = {"state": "filling", "started_at": ago(seconds=21), "updated_at": ago(seconds=6)}
        case "waiting":
            at = ago(minutes=-3)
            how = {"next_try_at": at, "paced_to": at}
        case "ended" | "sold":
            how = {"state": state, "put": state, "wanted": "ended"}
        case "asked":
            asks = question(
                id, on, "unresolved",
                "Mercari did not say whether it was posted. We clicked once, and will not click again by "
                "ourselves.",
                "it_is_there", "post_again", "give_up",
            )  # fmt: skip
            how = {"state": "reconciling", "looking": True}
        case "edited":
            asks = question(
                id, on, "edited_there", "You changed this on eBay and here: price.", "put_mine", "keep_theirs"
            )  # fmt: skip
    if state in ("live", "edited"):
        began = ago(days=days, minutes=50)
        host = {
            "poshmark": "poshmark.com/listing",
            "mercari": "www.mercari.com/us/item",
            "ebay": "www.ebay.com/itm",
        }
        how |= {"url": f"https://{host[marketplace]}/{id[:8]}", "remote_id": id[:8], "started_at": began,
                "finished_at": began + timedelta(seconds=41), "asked_at": began}  # fmt: skip
    if asks:
        how["needs_you"] = asks
    of = await publication(house, user, id, on, **how)
    if state == "asked":
        kept = pictured(house, user, await _page_of_mercari(house))
        await attempt(house, user, of, evidence=kept | {"at": ago(minutes=5).isoformat()})
    elif state == "edited":
        prices = {
            "ours": {"amount": price, "currency": "USD"},
            "theirs": {"amount": price - 500, "currency": "USD"},
        }
        await attempt(house, user, of, conflict={"price": prices})
        await house.rows("UPDATE attempts SET draft = CAST(:draft AS jsonb), outcome = 'live' "
                         "WHERE publication_id = "
                         "CAST(:of AS uuid)", of=of, draft=json.dumps({"price": prices["ours"]}))  # fmt: skip
    elif state == "live":
        await attempt(house, user, of)
        await house.rows("UPDATE attempts SET outcome = 'live', armed_at = now() - :days * interval '1 day', "
                         "remote_id = :remote WHERE publication_id = CAST(:of AS uuid)",
                         of=of, days=days, remote=f"{marketplace} {id[:8]}")  # fmt: skip


async def _page_of_mercari(house: House) -> bytes:
    """What the worker saw there, more or less."""
    page = await house.browser.new_page(viewport={"width": 1280, "height": 900})
    await page.set_content(
        "<style>body{margin:0;font:18px sans-serif;color:#333}header{padding:18px 40px;border-bottom:1px "
        "solid #ddd;"
        "color:#5b5bd6;font-weight:700;font-size:26px}main{max-width:640px;margin:60px "
        "auto;display:grid;gap:22px}"
        "i{background:#eee;height:44px;border-radius:6px}b{background:#5b5bd6;color:#fff;padding:14px;"
        "text-align:center;border-radius:6px}</style><header>mercari</header><main><h1>Sell an item</h1>"
        "<i></i><i></i><i style='height:140px'></i><i></i><b>Listing…</b></main>"
    )
    picture = await page.screenshot()
    await page.close()
    return picture


async def _waits_at_vintage(house: House, user: UUID, shop: Shop) -> None:
    said = question(
        shop.listings["Barbour"], shop.accounts["vintage"], "challenge", ROBOT, "retry", "give_up"
    )  # fmt: skip
    await publication(house, user, shop.listings["Barbour"], shop.accounts["vintage"], needs_you=said)


async def _sold(house: House, user: UUID, shop: Shop) -> None:
    """The two that are gone, each taken down elsewhere, and what sold in the months before."""
    by_chance, marketplaces = Random(8), ("poshmark", "mercari", "ebay")
    orders: list[tuple[Any, ...]] = [
        (0.1, "ebay", 6, shop.listings["Dr."], ("poshmark", "mercari")),
        (1.4, "mercari", 7, shop.listings["Pyrex"], ("ebay",)),
    ]
    for number in range(64):
        days, on = 3 + number * 5 + by_chance.random() * 4, by_chance.choice(marketplaces)
        thing = len(THINGS) + number if number < len(PAST) else by_chance.randrange(len(THINGS))
        id = await _gone(house, user, shop, number, days, on) if number < len(PAST) else None
        orders.append((days, on, thing, id, ()))
    things = [one[:7] for one in THINGS] + PAST
    for number, (days, marketplace, thing, id, elsewhere) in enumerate(orders):
        _, _, title, _, category, _, price = things[thing]
        (sale,) = await house.rows(
            "INSERT INTO sales (user_id, connection_id, listing_id, order_id, title, price_cents, "
            "quantity, category, "
            "cost_cents, sold_at, sold_at_exact, observed_at, counted) SELECT user_id, id, CAST(:listing "
            "AS uuid), "
            ":order, :title, :price, 1, :category, :cost, :at, true, :seen, 1 FROM connections "
            "WHERE public_id = :account RETURNING id",
            listing=id, order=f"{24100 + number * 7}-{thing:03}", title=title, price=price, category=category,
            cost=price // 400 * 100, at=ago(days=days), seen=ago(days=days, seconds=-24),
            account=shop.accounts[marketplace],
        )  # fmt: skip
        for place, other in enumerate(elsewhere):
            await house.rows(
                "INSERT INTO take_downs (user_id, sale_id, publication_id, marketplace, started_at, "
                "gone_at) SELECT "
                "user_id, :sale, id, marketplace, :began, :gone FROM publications WHERE listing_id = "
                "CAST(:listing AS uuid) AND marketplace = :other",
                sale=sale["id"], listing=id, other=other, began=ago(days=days, seconds=-27),
                gone=ago(days=days, seconds=-41 - 9 * place),
            )  # fmt: skip
    await house.rows("UPDATE listings SET quantity_sold = 1 WHERE id IN (SELECT listing_id FROM sales)")


async def _gone(house: House, user: UUID, shop: Shop, number: int, days: float, marketplace: str) -> str:
    """One of PAST, sold there so long ago."""
    thing, colour, title, brand, category, size, price = PAST[number]
    id = await listing(
        house, user, [photo(thing, colour)], title=title, brand=brand, category=category, size=size,
        price_cents=price, sku=f"EV-{1190 - number}", location=None, cost_cents=price // 400 * 100,
        created_at=ago(days=days + 69 + number),
    )  # fmt: skip
    await publication(house, user, id, shop.accounts[marketplace], state="sold", put="sold", wanted="ended")
    return id
