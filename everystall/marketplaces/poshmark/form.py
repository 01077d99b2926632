"""Our listing in Poshmark's words: its limits, its menus, and everything that it would still ask for.

Pure: loads no browser and no database. Never guesses a brand, size or colour, and never shortens what
the seller wrote: what does not fit is a Problem with the limit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from urllib.parse import unquote

from pydantic import ValidationError

from everystall.marketplaces import taxonomy
from everystall.marketplaces.base import (
    CONDITIONS,
    MARKER_LENGTH,
    NO_BRAND,
    Account,
    Capabilities,
    Default,
    Draft,
    Limits,
    ListingFacts,
    Menu,
    Note,
    PhotoRule,
    Problem,
    not_known,
    not_sent,
)
from everystall.marketplaces.fees import FeeTable, Step
from everystall.marketplaces.poshmark import menu
from everystall.marketplaces.sale_mail import SaleMail
from everystall.marketplaces.sending import Sending

LABEL = "Poshmark"
BASE_URL = "https://poshmark.com"
COOKIE_DOMAINS = ("poshmark.com",)
SIGN_IN_COOKIES = ("jwt", "ui")
SIGN_IN_PAGES = (r"://[^/]+/login([/?#]|$)",)
SIGN_IN_PATH = "/login"
REMOTE_ID = r"/listing/(?:[^/?#]*-)?([0-9a-f]{24})(?:[/?#]|$)"
LIMITS = Limits(
    title=80, description=1500, price_min=300, price_max=100_000_000, whole_dollars=True, quantity_max=99,
    colors=2, tags=3, sku=50, photos=PhotoRule(max_count=16),
)  # fmt: skip
#: How a listing is written there, for whoever rewrites one. A guess: no source says more than the limits.
WRITING = (
    "buyers search on a phone, by brand, kind, colour and size. The title begins with the brand, then "
    "what it is, then colour and size. The description is a few short lines; measurements stand on a line "
    "of their own."
)
CAPABILITIES = Capabilities(marker_field=True, quantities=True, revise=True, pace_seconds=45, daily_cap=300)
FEES = FeeTable(
    steps=(Step(0, fixed=295), Step(1500, rate=2000)),
    discounts={"none": 0, "partial": 150, "free": 649},
    source="Poshmark's own page, by a note that cites it", checked=date(2026, 8, 20),
    said="Poshmark takes $2.95 of a sale under $15.00, and 20% of one of $15.00 or more.",
)  # fmt: skip
SENDING = Sending(
    days=7, source="Poshmark's own help, a copy without a date (NOTES.md)", checked=date(2026, 11, 26),
    said="Poshmark lets the buyer cancel what is not sent by the 7th day, and may cancel it itself after the "
    "21st.",
)  # fmt: skip
SALE_MAIL = SaleMail(
    domain="poshmark.com", source="two public tools of 2026 (NOTES.md)", checked=date(2026, 11, 26),
    subjects=(r'^"(?P<title>.+)" just sold to @\S+ on Poshmark',
              r"\bbundle\b.*\bjust sold\b|\bjust sold\b.*\bbundle\b"),
)  # fmt: skip
CATEGORIES = menu.CATEGORIES
PATHS = tuple(dict.fromkeys(CATEGORIES.values()))
POLICIES: Mapping[str, str] = {}
DEFAULTS = {
    "smart_sell": Default(
        "Whether Poshmark may offer buyers lower prices by itself (Smart Sell); off unless you switch it on",
        "yes_no",
    ),
    "smart_sell_minimum": Default("The lowest price in cents that Smart Sell may go to", "cents"),
    "shipping_discount": Default(
        "What you give towards the buyer's postage: none, partial ($1.50 off) or free",
        choices={"none": "Nothing", "partial": "$1.50 off", "free": "All of it"},
    ),
}
#: Our condition → the site's label. The site has four words; what is new without tags may not be called
#: new there, so it is sold as the best of the used ones.
CONDITION = {
    "new_with_tags": "New With Tags (NWT)",
    "new_without_tags": "Like New",
    "like_new": "Like New",
    "good": "Good",
    "fair": "Fair",
}
CONDITIONS_THERE = {label: key for key, label in CONDITION.items()}
COLORS = (
    "red", "pink", "orange", "yellow", "green", "blue", "purple", "gold", "silver", "black", "gray", "white",
    "cream", "brown", "tan",
)  # fmt: skip
#: Ours → the site's words for what the seller gives towards the postage.
DISCOUNTS = {"none": "None", "partial": "-$1.50", "free": "-$6.49 (free)"}
#: Ounces → what the site's prepaid label takes on top of the flat price, in cents, paid by the seller.
LABEL_TIERS = ((80, 0), (160, 500), (240, 1000))
#: What it has no place for, and what that is called. Its label is flat, from the address of the account.
NO_FIELD = {
    "specifics": "further facts",
    "package": "the package's weight and size",
    "ships_from_zip": "the ZIP code that you ship from",
}
_PRIVATE = ("smart_sell", "smart_sell_minimum", "shipping_discount")


def compose(
    listing: ListingFacts, defaults: Mapping[str, Any]
) -> tuple[Draft | None, list[Problem], list[Note]]:
    """The draft, or None and every problem at once; and what is not sent."""
    try:
        facts, own = _overridden(listing, defaults)
    except ValidationError as e:
        where = ".".join(str(step) for step in e.errors()[0]["loc"])
        return (
            None,
            [_problem("overrides", "not_accepted", f"what is set for Poshmark in {where} is not usable")],
            [],
        )
    found: list[Problem] = []
    title, description = _texts(facts, found)
    category, size = _category(facts, own, found)
    brand = _brand(facts, found)
    condition = _condition(facts, found)
    colors = _colors(facts, found)
    tags = _tags(facts, found)
    _prices(facts, found)
    _numbers(facts, found)
    sku = _sku(facts, found)
    discount = _shipping(facts, own, found)
    smart, specifics = _smart_sell(facts, own, found)
    notes = not_sent(LABEL, facts, NO_FIELD) + not_known(LABEL, "poshmark", own, (*_PRIVATE, "path"))
    if found or facts.price is None or category is None or size is None:
        return None, found, notes
    scales = taxonomy.scales_at(CATEGORIES, category, facts.category)
    specifics["Size tab"] = menu.find_tab(facts.category, scales[0] if scales else None, size)
    return Draft(
        title=title, description=description, price=facts.price, original_price=facts.original_price,
        quantity=facts.quantity, category=category, brand=brand, size=size, condition=condition,
        colors=colors, tags=tags, sku=sku, specifics=specifics, shipping={"discount": discount},
        options={"smart_sell": smart}, photos=tuple(photo.name for photo in facts.photos),
    ), [], notes  # fmt: skip


def menu_of(listing: ListingFacts) -> Menu:
    try:
        facts, own = _overridden(listing, {})
    except ValidationError:
        facts, own = listing, {}
    path = own.get("path") or CATEGORIES.get(facts.category or "", ())
    sizes = [
        menu.find_size(scale, size)
        for scale in taxonomy.scales_at(CATEGORIES, path, facts.category)
        for size in taxonomy.SIZE_SCALES[scale]
    ]
    return Menu(
        category=CATEGORIES.get(listing.category or "", ()),
        condition=CONDITION.get(listing.condition or ""),
        conditions=tuple(CONDITIONS_THERE),
        sizes=tuple(dict.fromkeys(size for size in sizes if size)),
    )


def own_settings(shown: Mapping[str, Any]) -> dict[str, Any]:
    """What the price dialog holds is not shown without opening it: Smart Sell and the postage stay as they
    are."""
    return {}


def read_account(session: Mapping[str, Any]) -> Account:
    """Whose session it is: `uid` (24 hex) and `dh` (handle) in the `ui` cookie, URL-encoded JSON."""
    cookies: Sequence[Any] = session.get("cookies") or ()
    for cookie in cookies:
        if isinstance(cookie, Mapping) and cookie.get("name") == "ui":
            try:
                ui = json.loads(unquote(str(cookie.get("value", ""))))
            except ValueError:
                continue
            if isinstance(ui, Mapping) and re.fullmatch(r"[0-9a-f]{24}", str(ui.get("uid", ""))):
                handle = str(ui.get("dh") or "")
                return Account(id=str(ui["uid"]), name=handle or None)
    return Account(id=None)


# ---- the pieces -----------------------------------------------------------------------------------


def _overridden(listing: ListingFacts, defaults: Mapping[str, Any]) -> tuple[ListingFacts, Mapping[str, Any]]:
    """The facts as they stand for Poshmark, and the answers that only Poshmark asks for."""
    given = dict(listing.overrides.get("poshmark", {}))
    own: dict[str, Any] = {name: defaults[name] for name in _PRIVATE if defaults.get(name) is not None}
    category = given.get("category")
    if isinstance(category, list | tuple) or " > " in str(category or ""):
        given.pop("category")
        steps: Sequence[Any] = category.split(" > ") if isinstance(category, str) else category or ()
        own["path"] = tuple(str(step).strip() for step in steps)
    facts: dict[str, Any] = listing.model_dump()
    facts["shipping_payer"] = facts["shipping_payer"] or defaults.get("shipping_payer")
    for name, value in given.items():
        (facts if name in ListingFacts.model_fields else own)[name] = value
    return ListingFacts.model_validate(facts), own


def _texts(facts: ListingFacts, found: list[Problem]) -> tuple[str, str]:
    title = " ".join((facts.title or "").split())
    description = (facts.description or "").replace("\r\n", "\n").replace("\r", "\n").strip()
    for name, text, most in (
        ("title", title, LIMITS.title),
        ("description", description, LIMITS.description),
    ):
        if not text:
            found.append(_problem(name, "missing", f"the {name} is missing"))
        elif count(text) > most:
            said = f"the {name} has {count(text)} characters and may have {most}"
            found.append(_problem(name, "too_long", said, most))
    return title, description


def _category(
    facts: ListingFacts, own: Mapping[str, Any], found: list[Problem]
) -> tuple[tuple[str, ...] | None, str | None]:
    ours = taxonomy.find_category(facts.category)
    path: tuple[str, ...] | None = own.get("path") or menu.CATEGORIES.get(facts.category or "")
    if not facts.category and path is None:
        found.append(_problem("category", "missing", "the category is missing"))
        return None, None
    if path is None:
        what = " > ".join(ours.label) if ours else facts.category
        said = f"it has no one place for {what}; set its own menu for Poshmark, as “Home > Art > Prints”"
        found.append(_problem("category", "not_accepted", said))
        return None, None
    if len(path) not in (2, 3) or path[0] not in menu.DEPARTMENTS:
        said = (
            f"its menu has a department ({', '.join(menu.DEPARTMENTS)}), a category and maybe a subcategory"
        )
        found.append(_problem("category", "not_accepted", said))
        return None, None
    scales = taxonomy.scales_at(CATEGORIES, path, facts.category)
    known = bool(scales) or path in PATHS
    if not known and ours and ours.size_scale:
        scales = [ours.size_scale]
    if scales not in ([], ["one_size"]) and not facts.size:
        found.append(_problem("size", "missing", "the size is missing"))
        return path, None
    if not known and ours is None:  # the seller chose the site's own menu: then its own size, too
        if not facts.size:
            said = "with the site's own category, give the size as Poshmark writes it (OS: one size)"
            found.append(_problem("size", "missing", said))
        return path, facts.size
    asked: Sequence[str | None] = scales or [None]
    size = next(filter(None, (menu.find_size(scale, facts.size) for scale in asked)), None)
    if size is None and scales:
        sizes = taxonomy.SIZE_SCALES[scales[0]]
        some, more = ", ".join(sizes[:24]), " and others" if len(sizes) > 24 else ""
        found.append(
            _problem("size", "not_accepted", f"we know no size {facts.size!r} there, but {some}{more}", some)
        )
    return path, size


def _brand(facts: ListingFacts, found: list[Problem]) -> str | None:
    brand = " ".join((facts.brand or "").split())
    if not brand:
        found.append(_problem("brand", "missing", f"the brand is missing; write “{NO_BRAND}” if it has none"))
    return None if brand.lower() in ("", NO_BRAND) else brand


def _condition(facts: ListingFacts, found: list[Problem]) -> str | None:
    if not facts.condition:
        found.append(_problem("condition", "missing", "the condition is missing"))
        return None
    own = {label.casefold(): label for label in CONDITIONS_THERE}
    label = CONDITION.get(facts.condition) or own.get(facts.condition.casefold())
    if label is None:
        known = ", ".join(CONDITIONS_THERE)
        said = f"it has no condition “{CONDITIONS.get(facts.condition, facts.condition)}”, only {known}"
        found.append(_problem("condition", "not_accepted", said, known))
    return label


def _colors(facts: ListingFacts, found: list[Problem]) -> tuple[str, ...]:
    colors = tuple(dict.fromkeys(color.lower() for color in facts.colors))
    unknown = [color for color in colors if color not in COLORS]
    if unknown:
        said = f"it has no colour {' or '.join(unknown)}; set one or two of {', '.join(COLORS)} for Poshmark"
        found.append(_problem("colors", "not_accepted", said, ", ".join(COLORS)))
    if len(colors) > LIMITS.colors:
        said = f"it takes {LIMITS.colors} colours and this has {len(colors)}"
        found.append(_problem("colors", "too_many", said, LIMITS.colors))
    return tuple(color.capitalize() for color in colors)


def _tags(facts: ListingFacts, found: list[Problem]) -> tuple[str, ...]:
    tags = tuple(dict.fromkeys(filter(None, (" ".join(tag.split()).lstrip("#") for tag in facts.tags))))
    if len(tags) > LIMITS.tags:
        said = f"it takes {LIMITS.tags} style tags and this has {len(tags)}"
        found.append(_problem("tags", "too_many", said, LIMITS.tags))
    return tags


def _prices(facts: ListingFacts, found: list[Problem]) -> None:
    if facts.price is None:
        found.append(_problem("price", "missing", "the price is missing"))
    for name, price in (("price", facts.price), ("original_price", facts.original_price)):
        words = name.replace("_", " ")
        if price is None:
            continue
        low = LIMITS.price_min if name == "price" else 0
        if price.currency != "USD":
            found.append(_problem(name, "not_accepted", "prices are in US dollars there"))
        elif not low <= price.amount <= LIMITS.price_max:
            code, limit = ("too_low", low) if price.amount < low else ("too_high", LIMITS.price_max)
            said = f"the {words} is {_dollars(price.amount)}; it goes from {_dollars(low)} to $1,000,000"
            found.append(_problem(name, code, said, limit))
        elif price.amount % 100:
            said = f"the {words} is {_dollars(price.amount)}, and it takes whole dollars only"
            found.append(_problem(name, "not_whole", said, 100))


def _numbers(facts: ListingFacts, found: list[Problem]) -> None:
    if facts.quantity < 1:
        found.append(_problem("quantity", "too_few", "there is nothing left to sell", 1))
    elif facts.quantity > LIMITS.quantity_max:
        said = f"it takes {LIMITS.quantity_max} of a thing and this has {facts.quantity}"
        found.append(_problem("quantity", "too_many", said, LIMITS.quantity_max))
    most = LIMITS.photos.max_count
    if not facts.photos:
        found.append(_problem("photos", "missing", "it needs at least one photo", 1))
    elif len(facts.photos) > most:
        said = f"it takes {most} photos and this has {len(facts.photos)}"
        found.append(_problem("photos", "too_many", said, most))


def _sku(facts: ListingFacts, found: list[Problem]) -> str | None:
    sku = " ".join((facts.sku or "").split()) or None
    most = LIMITS.sku - MARKER_LENGTH
    if sku is not None and count(sku) > most:
        said = f"the SKU has {count(sku)} characters and may have {most} (we add our mark of {MARKER_LENGTH})"
        found.append(_problem("sku", "too_long", said, most))
    return sku


def _shipping(facts: ListingFacts, own: Mapping[str, Any], found: list[Problem]) -> str:
    """The site's flat label, which the buyer pays unless the seller gives something towards it."""
    weight, heaviest = facts.package.weight_oz, LABEL_TIERS[-1][0]
    if weight is not None and not 0 < weight <= heaviest:
        code, limit = ("too_low", 1) if weight <= 0 else ("too_high", heaviest)
        said = f"the package weighs {weight} oz; its labels take up to {heaviest} oz ({heaviest // 16} lb)"
        found.append(_problem("package", code, said, limit))
    chosen = own.get("shipping_discount") or ("free" if facts.shipping_payer == "seller" else "none")
    if chosen not in DISCOUNTS:
        said = f"the shipping discount is one of {', '.join(DISCOUNTS)}"
        found.append(_problem("defaults.shipping_discount", "not_accepted", said, ", ".join(DISCOUNTS)))
        return DISCOUNTS["none"]
    return DISCOUNTS[chosen]


def _smart_sell(
    facts: ListingFacts, own: Mapping[str, Any], found: list[Problem]
) -> tuple[bool, dict[str, str]]:
    """Off unless the seller chose it, and then with the seller's own lowest price."""
    if own.get("smart_sell") is not True:
        return False, {}
    floor = own.get("smart_sell_minimum")
    most = facts.price.amount if facts.price else LIMITS.price_max
    whole = isinstance(floor, int) and not isinstance(floor, bool) and floor % 100 == 0
    if not whole or not LIMITS.price_min <= (floor or 0) <= most:
        said = (
            "Smart Sell needs smart_sell_minimum: whole dollars in cents, at least 300, not above the price"
        )
        found.append(_problem("defaults.smart_sell_minimum", "missing", said, LIMITS.price_min))
        return True, {}
    return True, {"Smart Sell minimum": str((floor or 0) // 100)}


# ---- words ----------------------------------------------------------------------------------------


def label_surcharge(weight_oz: int) -> int:
    """Cents that the site takes from the seller for a heavier label."""
    return next(cents for most, cents in LABEL_TIERS if weight_oz <= most)


def count(text: str) -> int:
    """Characters as the site's own script counts them: an emoji is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _dollars(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}${abs(cents) // 100}.{abs(cents) % 100:02}"


def _problem(field: str, code: Any, said: str, limit: int | float | str | None = None) -> Problem:
    return Problem(field=field, code=code, message=f"{LABEL}: {said}.", limit=limit)
