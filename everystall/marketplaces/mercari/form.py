"""Our listing in Mercari's words: its limits, its menus, and everything that it would still ask for.

Pure: loads no browser and no database. Never guesses a size, weight, ZIP code or postage, and never
shortens what the seller wrote: what does not fit is a Problem with the limit.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pydantic import ValidationError

from everystall.marketplaces import taxonomy
from everystall.marketplaces.base import (
    CONDITIONS,
    NO_BRAND,
    PAYERS,
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
from everystall.marketplaces.mercari import menu
from everystall.marketplaces.sale_mail import SaleMail
from everystall.marketplaces.sending import Sending

LABEL = "Mercari"
BASE_URL = "https://www.mercari.com"
COOKIE_DOMAINS = ("mercari.com",)
SIGN_IN_COOKIES = ("_mwus",)
SIGN_IN_PAGES = (r"/login/?($|\?)",)
SIGN_IN_PATH = "/login/"
REMOTE_ID = r"/us/item/(m\d+)"
LIMITS = Limits(
    title=80, description=1000, price_min=100, price_max=200_000, quantity_max=1, colors=0,
    photos=PhotoRule(max_count=12),
)  # fmt: skip
#: The site counts words here, not characters.
DESCRIPTION_WORDS = 5
#: How a listing is written there, for whoever rewrites one. A guess: no source says more than the limits.
WRITING = (
    "the description is short: what it is, its condition and flaws, its measurements, a line each. It has "
    "at least five words. The title has brand, kind and size; it need not be full."
)
#: Relisting: other listers keep a cycle of 30 days there (NOTES.md).
CAPABILITIES = Capabilities(
    marker_field=False, sold_is_orders=True, revise=True, pace_seconds=60, daily_cap=100, relist_days=30
)  # fmt: skip
FEES = FeeTable(
    steps=(Step(0, rate=1000),), of_postage=True,
    source="Mercari's own page, by a note that cites it", checked=date(2026, 8, 20),
    said="Mercari takes 10% of the price, and of the postage where the buyer pays it.",
)  # fmt: skip
SENDING = Sending(
    days=3, working_days=True, source="Mercari's own help, copies without a date (NOTES.md)",
    checked=date(2026, 11, 26),
    said="Mercari wants it sent within 3 business days; after that the buyer may cancel. It may charge you "
    "5% of the price (at most $25) for cancelling.",
)  # fmt: skip
SALE_MAIL = SaleMail(
    domain="mercari.com", source="a public tool of 2026 (NOTES.md)", checked=date(2026, 11, 26),
    subjects=(r"^You['’]ve made a sale: (?P<title>.+)$",), remote_id=r"\bID:\s*(m\d{6,})\b",
)  # fmt: skip
CATEGORIES = {key: path for key, (path, _) in menu.CATEGORIES.items()}
PATHS = tuple(menu.PATHS)
POLICIES: Mapping[str, str] = {}
DEFAULTS = {
    "ships_from_zip": Default("The ZIP code that you ship from"),
    "shipping_payer": Default("Who pays the postage: buyer or seller", choices=PAYERS),
    "carrier": Default(
        "Whose prepaid label you use: USPS, UPS or FedEx (USPS up to 6 lb if you do not say)",
        choices={"USPS": "USPS", "UPS": "UPS", "FedEx": "FedEx"},
    ),
    "fits_in_shoebox": Default(
        "Whether your parcels fit in a shoebox, where a listing has no package size", "yes_no"
    ),
    "smart_pricing": Default(
        "Whether Mercari may lower your prices (Smart Pricing); off unless you switch it on", "yes_no"
    ),
    "smart_pricing_floor": Default("The lowest price in cents that Smart Pricing may go to", "cents"),
}
#: Our condition → the site's label. Mercari's "Like new" is "new without tags, unused"; it has no word
#: for what is new and flawed.
CONDITION = {
    "new_with_tags": "New",
    "new_without_tags": "Like new",
    "like_new": "Like new",
    "good": "Good",
    "fair": "Fair",
    "poor": "Poor",
}
CONDITIONS_THERE = {label: key for key, label in CONDITION.items()}
#: What it has no place for, and what that is called (NOTES.md: colours are a guess).
NO_FIELD = {
    "sku": "a SKU",
    "colors": "colours",
    "tags": "tags",
    "original_price": "an original price",
    "specifics": "further facts",
}
CARRIERS = ("USPS", "UPS", "FedEx")
#: Ounces: up to here a weight has a known USPS class, so the weight alone decides.
USPS_KNOWN_OZ = 96
MOST_OZ = 2400
#: Inches. The box that Mercari's question means is a guess (NOTES.md).
SHOEBOX = (14.0, 8.0, 5.0)


def compose(
    listing: ListingFacts, defaults: Mapping[str, Any]
) -> tuple[Draft | None, list[Problem], list[Note]]:
    """The draft, or None and every problem at once; and what is not sent."""
    try:
        facts, own = _overridden(listing, defaults)
    except ValidationError as e:
        where = ".".join(str(step) for step in e.errors()[0]["loc"])
        said = f"what is set for Mercari in {where} is not usable"
        return None, [_problem("overrides", "not_accepted", said)], []
    found: list[Problem] = []
    title, description = _texts(facts, found)
    category, size = _category(facts, own, found)
    draft_shipping = _shipping(facts, own, found)
    smart, specifics = _smart_pricing(facts, own, found)
    _price(facts, found)
    _numbers(facts, found)
    brand = _brand(facts, found)
    condition = _condition(facts, found)
    notes = not_sent(LABEL, facts, NO_FIELD) + not_known(LABEL, "mercari", own, (*DEFAULTS, "path"))
    if category is not None and size is None:
        notes += not_sent(LABEL, facts, {"size": "a size in that category"})
    if found or facts.price is None or category is None:
        return None, found, notes
    return Draft(
        title=title, description=description, price=facts.price, category=category, brand=brand, size=size,
        condition=condition, shipping=draft_shipping, options={"smart_pricing": smart}, specifics=specifics,
        photos=tuple(photo.name for photo in facts.photos),
    ), [], notes  # fmt: skip


def menu_of(listing: ListingFacts) -> Menu:
    try:
        facts, own = _overridden(listing, {})
    except ValidationError:
        facts, own = listing, {}
    path = CATEGORIES.get(listing.category or "", ())
    where, group = _place(facts, own)
    return Menu(
        category=tuple(step.replace("{age}", "(by its size)") for step in path),
        condition=CONDITION.get(listing.condition or ""),
        conditions=tuple(CONDITIONS_THERE),
        sizes=menu.sizes_at(where, group) if group else (),
    )


def own_settings(shown: Mapping[str, Any]) -> dict[str, Any]:
    own: dict[str, Any] = {}
    carrier = shown["shipping"].get("carrier")
    if carrier in CARRIERS and carrier != CARRIERS[0]:
        own["carrier"] = carrier
    floor = re.fullmatch(r"(\d+)\.(\d\d)", str(shown["specifics"].get("Smart Pricing floor") or ""))
    if shown["options"].get("smart_pricing"):
        own["smart_pricing"] = True
        if floor:
            own["smart_pricing_floor"] = int(floor[1]) * 100 + int(floor[2])
    return own


def read_account(session: Mapping[str, Any]) -> Account:
    """Whose session it is: the subject of the access token in the `_mwus` cookie (a guess: NOTES.md)."""
    cookies: Sequence[Any] = session.get("cookies") or ()
    for cookie in cookies:
        if isinstance(cookie, Mapping) and cookie.get("name") == "_mwus":
            token = _json(str(cookie.get("value", ""))).get("accessToken")
            parts = str(token or "").split(".")
            subject = _json(parts[1]).get("sub") if len(parts) == 3 else None
            if subject:
                return Account(id=str(subject))
    return Account(id=None)


# ---- the pieces -----------------------------------------------------------------------------------


def _overridden(listing: ListingFacts, defaults: Mapping[str, Any]) -> tuple[ListingFacts, Mapping[str, Any]]:
    """The facts as they stand for Mercari, and the answers that only Mercari asks for."""
    given = dict(listing.overrides.get("mercari", {}))
    category: Any = given.get("category")
    own: dict[str, Any] = {name: defaults[name] for name in DEFAULTS if defaults.get(name) is not None}
    if isinstance(category, list | tuple) or " > " in str(category or ""):
        given.pop("category")
        steps: Sequence[Any] = category.split(" > ") if isinstance(category, str) else category
        own["path"] = [str(step).strip() for step in steps]
    facts: dict[str, Any] = listing.model_dump()
    for name in ("ships_from_zip", "shipping_payer"):
        facts[name] = facts[name] or own.get(name)
    facts.update({name: value for name, value in given.items() if name in ListingFacts.model_fields})
    own.update({name: value for name, value in given.items() if name not in ListingFacts.model_fields})
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
    words = len(description.split())
    if description and words < DESCRIPTION_WORDS:
        said = f"the description has {words} words and needs at least {DESCRIPTION_WORDS}"
        found.append(_problem("description", "too_short", said, DESCRIPTION_WORDS))
    return title, description


def _category(
    facts: ListingFacts, own: Mapping[str, Any], found: list[Problem]
) -> tuple[tuple[str, ...] | None, str | None]:
    path, group = _place(facts, own)
    if "path" not in own and not facts.category:
        found.append(_problem("category", "missing", "the category is missing"))
        return None, None
    if not path:
        ours = taxonomy.find_category(facts.category)
        what = " > ".join(ours.label) if ours else facts.category
        said = f"it has no one place for {what}; set its own menu for Mercari, as “Men > Jewelry > Rings”"
        found.append(_problem("category", "not_accepted", said))
        return None, None
    if group is None:
        return path, None
    if not facts.size:
        found.append(_problem("size", "missing", "the size is missing"))
        return None, None
    size = facts.size.strip()
    scales = _scales(facts.category, group)
    if scales and size not in menu.SIZES[group]:
        size = taxonomy.find_size_in(scales, size) or ""
    label = menu.find_label(group, size) if size else None
    age, sizes = menu.kids_leaf(group, size) if label else None, menu.sizes_at(path, group)
    if "{age}" in path[-1]:
        path = (*path[:-1], path[-1].replace("{age}", age)) if age else ()
    elif label not in sizes or age not in (None, menu.age_at(path) or age):
        label = None
    if label is None or not path:
        some = ", ".join(sizes[:30])
        found.append(
            _problem("size", "not_accepted", f"it has no size {facts.size!r} there; it has {some}", some)
        )
        return None, None
    return path, label


def _place(facts: ListingFacts, own: Mapping[str, Any]) -> tuple[tuple[str, ...], str | None]:
    """The path, and the group of its sizes."""
    path, group = menu.CATEGORIES.get(facts.category or "", ((), None))
    if "path" in own:
        path = tuple(own["path"])
        group = menu.PATHS.get(path, group)
    return path, group


def _scales(category: str | None, group: str) -> list[str]:
    """Our scales of what has these sizes there; of the listing's own category alone where it has."""
    known, of_it = menu.CATEGORIES, menu.CATEGORIES.get(category or "")
    keys = [category] if of_it and of_it[1] == group else [key for key in known if known[key][1] == group]
    found = (taxonomy.find_category(key) for key in keys)
    return list(dict.fromkeys(one.size_scale for one in found if one and one.size_scale))


def _shipping(facts: ListingFacts, own: Mapping[str, Any], found: list[Problem]) -> dict[str, Any]:
    payer, package = facts.shipping_payer, facts.package
    if payer is None:
        found.append(_problem("shipping_payer", "missing", "say who pays the postage, buyer or seller"))
    where = (facts.ships_from_zip or "").strip()
    if not where:
        found.append(_problem("ships_from_zip", "missing", "the ZIP code that you ship from is missing"))
    elif not re.fullmatch(r"[0-9]{5}(-[0-9]{4})?", where):
        said = "the ZIP code that you ship from has five digits"
        found.append(_problem("ships_from_zip", "not_accepted", said))
    answers: dict[str, Any] = {"payer": payer, "ships_from_zip": where[:5]}
    weight = package.weight_oz
    if weight is None:
        found.append(_problem("package", "missing", "the weight of the package (weight_oz) is missing"))
        return answers
    if not 1 <= weight <= MOST_OZ:
        code, limit = ("too_low", 1) if weight < 1 else ("too_high", MOST_OZ)
        said = f"the package weighs {weight} oz; Mercari's labels go from 1 oz to {MOST_OZ} oz (150 lb)"
        found.append(_problem("package", code, said, limit))
    carrier = {name.lower(): name for name in CARRIERS}.get(str(own.get("carrier") or "").lower())
    if own.get("carrier") and carrier is None:
        said = f"the carrier is one of {', '.join(CARRIERS)}"
        found.append(_problem("defaults.carrier", "not_accepted", said))
    elif carrier is None and weight > USPS_KNOWN_OZ:
        said = f"above {USPS_KNOWN_OZ} oz, say whose label you use: {', '.join(CARRIERS)}"
        found.append(_problem("defaults.carrier", "missing", said))
    answers |= {"weight_oz": weight, "carrier": carrier or "USPS"}
    sides = (package.length_in, package.width_in, package.height_in)
    if all(side is not None for side in sides):
        known = [side for side in sides if side is not None]
        if min(known) <= 0:
            said = "each side of the package is longer than 0 inches"
            found.append(_problem("package", "too_low", said, 0))
        ordered = sorted(known, reverse=True)
        fits = all(side <= box for side, box in zip(ordered, SHOEBOX, strict=True))
        answers["fits_in_shoebox"] = fits
        if not fits:
            names = ("length_in", "width_in", "height_in")
            answers |= {name: float(side) for name, side in zip(names, known, strict=True)}
    elif isinstance(own.get("fits_in_shoebox"), bool) and own["fits_in_shoebox"]:
        answers["fits_in_shoebox"] = True
    else:
        said = "it asks whether the package fits in a shoebox: give its length, width and height in inches"
        found.append(_problem("package", "missing", said))
    return answers


def _smart_pricing(
    facts: ListingFacts, own: Mapping[str, Any], found: list[Problem]
) -> tuple[bool, dict[str, str]]:
    """Off unless the seller chose it, and then with the seller's own floor."""
    if own.get("smart_pricing") is not True:
        return False, {}
    floor = own.get("smart_pricing_floor")
    most = facts.price.amount if facts.price else LIMITS.price_max
    if not isinstance(floor, int) or isinstance(floor, bool) or not LIMITS.price_min <= floor < most:
        said = "Smart Pricing needs smart_pricing_floor in cents: at least 100 and below the price"
        found.append(_problem("defaults.smart_pricing_floor", "missing", said))
        return True, {}
    return True, {"Smart Pricing floor": dollars(floor)}


def _price(facts: ListingFacts, found: list[Problem]) -> None:
    low, high, price = LIMITS.price_min, LIMITS.price_max, facts.price
    if price is None:
        found.append(_problem("price", "missing", "the price is missing"))
    elif price.currency != "USD":
        found.append(_problem("price", "not_accepted", "prices are in US dollars there"))
    elif not low <= price.amount <= high:
        code, limit = ("too_low", low) if price.amount < low else ("too_high", high)
        said = f"the price is ${dollars(price.amount)}; it goes from ${dollars(low)} to ${dollars(high)}"
        found.append(_problem("price", code, said, limit))


def _numbers(facts: ListingFacts, found: list[Problem]) -> None:
    if facts.quantity > LIMITS.quantity_max:
        said = f"it takes one of a thing per listing, and this has {facts.quantity}; set 1 for Mercari"
        found.append(_problem("quantity", "too_many", said, LIMITS.quantity_max))
    elif facts.quantity < 1:
        found.append(_problem("quantity", "too_few", "there is nothing left to sell", 1))
    most = LIMITS.photos.max_count
    if not facts.photos:
        found.append(_problem("photos", "missing", "it needs at least one photo", 1))
    elif len(facts.photos) > most:
        said = f"it takes {most} photos and this has {len(facts.photos)}"
        found.append(_problem("photos", "too_many", said, most))


def _brand(facts: ListingFacts, found: list[Problem]) -> str | None:
    brand = " ".join((facts.brand or "").split())
    if not brand:
        said = f"the brand is missing; write “{NO_BRAND}” if it has none"
        found.append(_problem("brand", "missing", said))
    return None if brand.lower() in ("", NO_BRAND) else brand


def _condition(facts: ListingFacts, found: list[Problem]) -> str | None:
    if not facts.condition:
        found.append(_problem("condition", "missing", "the condition is missing"))
        return None
    own = {label.casefold(): label for label in CONDITIONS_THERE}
    label = CONDITION.get(facts.condition) or own.get(facts.condition.casefold())
    if label is None:
        what = CONDITIONS.get(facts.condition, facts.condition)
        known = ", ".join(CONDITIONS_THERE)
        said = f"it has no condition “{what}”; set one of its own for Mercari: {known}"
        found.append(_problem("condition", "not_accepted", said, known))
    return label


# ---- words ----------------------------------------------------------------------------------------


def count(text: str) -> int:
    """Characters as the site's own script counts them: an emoji is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def dollars(cents: int) -> str:
    """1250 → "12.50", as the price field writes it."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}"


def _problem(field: str, code: Any, said: str, limit: int | float | str | None = None) -> Problem:
    return Problem(field=field, code=code, message=f"{LABEL}: {said}.", limit=limit)


def _json(text: str) -> Mapping[str, Any]:
    """What is in base64 (either alphabet, with or without padding), as JSON; empty if it is not."""
    bare = re.sub(r"%3D", "=", text, flags=re.IGNORECASE).strip('"').rstrip("=")
    try:
        data = base64.b64decode(bare.replace("-", "+").replace("_", "/") + "=" * (-len(bare) % 4))
        value = json.loads(data)
    except (binascii.Error, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


__all__: Sequence[str] = (
    "BASE_URL", "CAPABILITIES", "COOKIE_DOMAINS", "DEFAULTS", "LABEL", "LIMITS", "REMOTE_ID",
    "SIGN_IN_COOKIES", "SIGN_IN_PAGES", "SIGN_IN_PATH", "compose", "read_account",
)  # fmt: skip
