"""Our listing in eBay's words: its limits, its menus, and everything that it would still ask for.

Pure: loads no browser and no database. Never guesses a policy, size, weight or ZIP code, and never
shortens what the seller wrote: what does not fit is a Problem with the limit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pydantic import ValidationError

from everystall.marketplaces import taxonomy
from everystall.marketplaces.base import (
    CONDITIONS,
    MARKER_LENGTH,
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
from everystall.marketplaces.ebay import menu
from everystall.marketplaces.fees import FeeTable, Step
from everystall.marketplaces.sale_mail import SaleMail
from everystall.marketplaces.sending import Sending

LABEL = "eBay"
BASE_URL = "https://www.ebay.com"
COOKIE_DOMAINS = ("ebay.com",)
SIGN_IN_COOKIES = ("s", "ds1")  # a guess: NOTES.md
SIGN_IN_PAGES = (r"^https?://signin\.ebay\.", r"/signin/?($|\?)")
SIGN_IN_PATH = "/signin/"
REMOTE_ID = r"/itm/(?:[^/?#]+/)?(\d{12})(?:[/?#]|$)"
LIMITS = Limits(
    title=80, description=4000, price_min=99, price_max=99_999_999, quantity_max=9999, colors=1, sku=50,
    photos=PhotoRule(max_count=24),
)  # fmt: skip
#: Characters of an item specific.
ASPECT_NAME, ASPECT_VALUE = 40, 50
#: How a listing is written there, for whoever rewrites one. A guess: no source says more than the limits.
WRITING = (
    "buyers search by words of the title: it uses the room it has for brand, model, kind, size, colour "
    "and material, in that order, without filling words. The description may be longer; flaws and "
    "measurements come first."
)
CAPABILITIES = Capabilities(
    marker_field=True, quantities=True, revise=True, fixed=frozenset({"category"}),
    sold_is_orders=True, orders_stay_days=60, pace_seconds=45, daily_cap=100,
)  # fmt: skip


def _steps(rate: int) -> tuple[Step, Step]:
    """With what it takes of each order: more of one above $10.00."""
    return Step(0, fixed=30, rate=rate), Step(1001, fixed=40, rate=rate)


FEES = FeeTable(
    steps=_steps(1360), of_postage=True, of_tax=True,
    categories={
        "books": _steps(1530), "media": _steps(1530),
        "women.jewelry": _steps(1500), "women.bags": _steps(1500),
    },
    source="eBay's own page, by a note that cites it (clothing); the other categories: NOTES.md",
    checked=date(2026, 8, 20),
    said="eBay takes 13.6% in most categories (15% of jewelry and women's bags, 15.3% of books and media) of "
    "all that the buyer pays, postage and sales tax too, and $0.40 of each order ($0.30 up to $10.00). It "
    "takes less with a store subscription, and above some thousand dollars: that is not reckoned with.",
)  # fmt: skip
SENDING = Sending(
    days=None, source="eBay's own help, a copy without a date (NOTES.md)", checked=date(2026, 11, 26),
    said="eBay goes by the handling time of your shipping policy: the order's own page says until when. "
    "Cancelling because it is out of stock counts as a defect of yours.",
)  # fmt: skip
SALE_MAIL = SaleMail(
    domain="ebay.com", source="several public tools (NOTES.md)", checked=date(2026, 11, 26),
    subjects=(r"^You made the sale for (?P<title>.+?)!?$", r"^(?:Congratulations, )?you sold: (?P<title>.+)$",
              r"^Your item (?:has )?sold"),
    remote_id=r"\bItem (?:number|ID):?\s*(\d{12})\b",
)  # fmt: skip
CATEGORIES = {key: place.path for key, place in menu.PLACES.items()}
PATHS = tuple(dict.fromkeys(CATEGORIES.values()))
#: "Used" and "Pre-owned" may be any of ours.
CONDITIONS_THERE = {
    label: key
    for group in menu.CONDITIONS.values()
    for key, label in group.items()
    if list(group.values()).count(label) == 1 or key == "new_with_tags"
}
DEFAULTS = {
    "payment_policy": Default("The name of your payment policy on eBay"),
    "return_policy": Default("The name of your return policy on eBay"),
    "shipping_policy": Default("The name of your shipping policy on eBay, where the buyer pays the postage"),
    "free_shipping_policy": Default("The name of your shipping policy on eBay, where you pay the postage"),
    "ships_from_zip": Default("The ZIP code that you ship from"),
    "shipping_payer": Default("Who pays the postage: buyer or seller", choices=PAYERS),
    "postage_by_weight": Default(
        "Whether your shipping policy goes by weight; yes unless you say false", "yes_no"
    ),
    "offers": Default("Whether buyers may make offers (Best Offer); off unless you switch it on", "yes_no"),
    "promotion": Default(
        "Whether eBay promotes your listings for a fee; off unless you switch it on", "yes_no"
    ),
}
POLICIES = {"payment_policy": "payment", "return_policy": "return", "shipping_policy": "shipping"}
#: Ounces: the scale's end (150 lb).
MOST_OZ = 2400
#: Inches of one side.
MOST_IN = 999
UNBRANDED = "Unbranded"
#: What it has no place for, and what that is called.
NO_FIELD = {"original_price": "an original price", "tags": "tags"}
#: What holds a size, a colour.
SIZE_ASPECTS = ("Size", "US Shoe Size", "Ring Size")
COLOR_ASPECTS = ("Color", "Exterior Color")


def compose(
    listing: ListingFacts, defaults: Mapping[str, Any]
) -> tuple[Draft | None, list[Problem], list[Note]]:
    """The draft, or None and every problem at once; and what is not sent."""
    try:
        facts, own = _overridden(listing, defaults)
    except ValidationError as e:
        where = ".".join(str(step) for step in e.errors()[0]["loc"])
        said = f"what is set for eBay in {where} is not usable"
        return None, [_problem("overrides", "not_accepted", said)], []
    found: list[Problem] = []
    title, description = _texts(facts, found)
    path, place, kind = _category(facts, own, found)
    aspects = _aspects(facts, place, kind, found)
    condition = _condition(facts, kind, found)
    shipping = _shipping(facts, own, found)
    _price(facts, found)
    _numbers(facts, found)
    notes = _notes(facts, aspects) + not_known(LABEL, "ebay", own, (*DEFAULTS, "path"))
    if found or facts.price is None:
        return None, found, notes
    brand = aspects.get("Brand")
    return Draft(
        title=title, description=description, price=facts.price, quantity=facts.quantity, category=path,
        brand=None if brand == UNBRANDED else brand,
        size=next((aspects[name] for name in SIZE_ASPECTS if name in aspects), None),
        condition=condition, colors=tuple(aspects[name] for name in COLOR_ASPECTS if name in aspects),
        sku=(facts.sku or "").strip() or None, specifics=aspects, shipping=shipping,
        options={name: own.get(name) is True for name in ("offers", "promotion")},
        photos=tuple(photo.name for photo in facts.photos),
    ), [], notes  # fmt: skip


def menu_of(listing: ListingFacts) -> Menu:
    try:
        facts, own = _overridden(listing, {})
    except ValidationError:
        facts, own = listing, {}
    _, place, kind = _category(facts, own, [])
    sized = place is not None and kind is not None and "size" in kind.required.values()
    scales = taxonomy.scales_at(CATEGORIES, place.path, facts.category) if place and sized else []
    return Menu(
        category=CATEGORIES.get(listing.category or "", ()),
        condition=menu.CONDITIONS[kind.conditions].get(listing.condition or "") if kind else None,
        conditions=tuple(dict.fromkeys(_conditions(kind))),
        sizes=tuple(dict.fromkeys(_there(size) for scale in scales for size in taxonomy.SIZE_SCALES[scale])),
    )


def own_settings(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Its policies by name, and what it switches on."""
    own = {name: shown["shipping"][name] for name in POLICIES if shown["shipping"].get(name)}
    return own | {name: True for name in ("offers", "promotion") if shown["options"].get(name)}


def read_account(session: Mapping[str, Any]) -> Account:
    """No cookie of eBay's says whose session it is in a form that we can read (NOTES.md)."""
    return Account(id=None)


# ---- the pieces -----------------------------------------------------------------------------------


def _overridden(listing: ListingFacts, defaults: Mapping[str, Any]) -> tuple[ListingFacts, Mapping[str, Any]]:
    """The facts as they stand for eBay, and the answers that only eBay asks for."""
    given = dict(listing.overrides.get("ebay", {}))
    category: Any = given.get("category")
    own: dict[str, Any] = {name: defaults[name] for name in DEFAULTS if defaults.get(name) is not None}
    if isinstance(category, list | tuple) or " > " in str(category or ""):
        given.pop("category")
        steps: Sequence[Any] = category.split(" > ") if isinstance(category, str) else category
        own["path"] = tuple(str(step).strip() for step in steps)
    facts: dict[str, Any] = listing.model_dump()
    for name in ("ships_from_zip", "shipping_payer"):
        facts[name] = facts[name] or own.get(name)
    if isinstance(given.get("specifics"), Mapping):
        given["specifics"] = {**facts["specifics"], **given["specifics"]}
    if given.get("shipping_policy"):  # of this one listing, whoever pays
        own["free_shipping_policy"] = given["shipping_policy"]
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
    most = LIMITS.sku - MARKER_LENGTH
    if len((facts.sku or "").strip()) > most:
        said = f"the SKU may have {most} characters there; {MARKER_LENGTH} more are kept for our own mark"
        found.append(_problem("sku", "too_long", said, most))
    return title, description


def _category(
    facts: ListingFacts, own: Mapping[str, Any], found: list[Problem]
) -> tuple[tuple[str, ...], menu.Place | None, menu.Kind | None]:
    """The path, and what we know of the place that it leads to."""
    place = menu.PLACES.get(facts.category or "")
    path: tuple[str, ...] = place.path if place else ()
    if "path" in own:
        path = own["path"]
        # of several of ours with one place, the listing's own knows more of the thing
        place = place if place is not None and place.path == path else menu.find_place(path)
    elif not facts.category:
        found.append(_problem("category", "missing", "the category is missing"))
    elif place is None:
        ours = taxonomy.find_category(facts.category)
        what = " > ".join(ours.label) if ours else facts.category
        said = f"it has no one place for {what}; set its own menu for eBay, as “Art > Art Prints”"
        found.append(_problem("category", "not_accepted", said))
    return path, place, menu.KINDS[place.kind] if place else None


def _aspects(
    facts: ListingFacts, place: menu.Place | None, kind: menu.Kind | None, found: list[Problem]
) -> dict[str, str]:
    """Item specifics: what the category asks for, then what the seller wrote besides. What he wrote as a
    specific stands before what follows from the category."""
    told = {" ".join(name.split()): " ".join(str(v).split()) for name, v in facts.specifics.items()}
    names = {name.casefold(): name for name in (kind.required if kind else {})}
    told = {names.get(name.casefold(), name): value for name, value in told.items() if name and value}
    brand = " ".join((facts.brand or "").split())
    if brand.casefold() == NO_BRAND:
        brand = UNBRANDED
    if not brand and "Brand" not in told and (kind is None or "Brand" in kind.required):
        said = f"the brand is missing; write “{NO_BRAND}” if it has none"
        found.append(_problem("brand", "missing", said))
    color = _color(facts)
    aspects: dict[str, str] = {}
    for name, source in (kind.required if kind else {}).items():
        value = told.get(name, "")
        if source == "brand":
            value = brand or value
        elif source == "size":
            value = _size(facts, place, found) or ""
            if not value:
                continue
        elif source == "size_type":
            value = value or menu.size_type(facts.category, facts.size)
        elif source == "colors":
            value = value or color
            if not value:
                found.append(_problem("colors", "missing", "the colour is missing"))
                continue
        elif source == "department":
            value = value or (place and place.department) or ""
        elif source == "type":
            value = value or (place and place.type) or ""
        elif name == "Exterior Material":
            value = value or told.get("Material", "")
        if value:
            aspects[name] = value
        elif source != "brand":
            found.append(
                _problem(f"specifics.{name}", "missing", f"it asks for “{name}” among the specifics")
            )
    inseam = re.fullmatch(r"\d+\s*x\s*(\d+)", (facts.size or "").strip(), re.IGNORECASE)
    if inseam and "Size" in aspects:
        aspects["Inseam"] = f"{inseam[1]} in"
    if "Brand" not in aspects and brand and brand != UNBRANDED:
        aspects["Brand"] = brand
    if color and not any(name in aspects for name in COLOR_ASPECTS):
        aspects["Color"] = color
    for name, value in told.items():
        aspects.setdefault(name, value)
    for name, value in aspects.items():
        where = "brand" if name == "Brand" else f"specifics.{name}"
        if count(name) > ASPECT_NAME or count(value) > ASPECT_VALUE:
            said = f"“{name}” may have {ASPECT_VALUE} characters, and {ASPECT_NAME} in its name"
            found.append(_problem(where, "too_long", said, ASPECT_VALUE))
    return aspects


def _notes(facts: ListingFacts, aspects: Mapping[str, str]) -> list[Note]:
    """What of the listing is not among what is sent. Which fields the category's form has, only the form
    shows: what it lacks is told after posting, as a difference."""
    names = dict(NO_FIELD)
    if not any(name in aspects for name in SIZE_ASPECTS):
        names["size"] = "a size in that category"
    notes = not_sent(LABEL, facts, names)
    color = next((aspects[name] for name in COLOR_ASPECTS if name in aspects), None)
    if color is not None and [menu.COLORS.get(one, one.capitalize()) for one in facts.colors] not in (
        [], [color],
    ):  # fmt: skip
        said = f"{LABEL} takes one colour: “{', '.join(facts.colors)}” is sent as “{color}”."
        notes.append(Note(field="colors", message=said))
    for name, value in facts.specifics.items():
        sent = {key.casefold(): text for key, text in aspects.items()}.get(" ".join(name.split()).casefold())
        if sent is not None and sent != " ".join(str(value).split()):
            said = f"{LABEL} has one field “{name}”: “{sent}” is sent there, “{value}” is not."
            notes.append(Note(field=f"specifics.{name}", message=said))
    return notes


def _color(facts: ListingFacts) -> str:
    """It takes one: the main colour, or Multicolor for three and more (NOTES.md)."""
    if not facts.colors:
        return ""
    main = "multicolor" if len(facts.colors) > 2 else facts.colors[0]
    return menu.COLORS.get(main, main.capitalize())


def _size(facts: ListingFacts, place: menu.Place | None, found: list[Problem]) -> str | None:
    """As eBay's list has it: since August 2026 it takes no others."""
    if not facts.size:
        found.append(_problem("size", "missing", "the size is missing"))
        return None
    scales = taxonomy.scales_at(CATEGORIES, place.path, facts.category) if place else []
    size = taxonomy.find_size_in(scales, facts.size)
    if size is None:
        some = ", ".join(taxonomy.SIZE_SCALES[scales[0]][:30]) if scales else ""
        said = f"it has no size {facts.size!r} there" + (f"; it has {some}" if some else "")
        found.append(_problem("size", "not_accepted", said, some or None))
        return None
    return _there(size)


def _there(size: str) -> str:
    """Our size in eBay's words: waist and inseam are two things there."""
    return menu.SIZES.get(size, re.sub(r"^(\d+)x\d+$", r"\1", size))


def _conditions(kind: menu.Kind | None) -> list[str]:
    """The labels of a kind of thing; of every kind where that is not known."""
    groups = [kind.conditions] if kind else list(menu.CONDITIONS)
    return [
        label
        for group in groups
        for label in (*menu.CONDITIONS[group].values(), *menu.MORE_CONDITIONS.get(group, ()))
    ]


def _condition(facts: ListingFacts, kind: menu.Kind | None, found: list[Problem]) -> str | None:
    if not facts.condition:
        found.append(_problem("condition", "missing", "the condition is missing"))
        return None
    known = _conditions(kind)
    label = menu.CONDITIONS[kind.conditions].get(facts.condition) if kind else None
    label = label or {name.casefold(): name for name in known}.get(facts.condition.casefold())
    if label is None:
        what = CONDITIONS.get(facts.condition, facts.condition)
        some = ", ".join(dict.fromkeys(known))
        said = f"it has no condition “{what}” in that category; set one of its own for eBay: {some}"
        found.append(_problem("condition", "not_accepted", said, some))
    return label


def _shipping(facts: ListingFacts, own: Mapping[str, Any], found: list[Problem]) -> dict[str, Any]:
    """Who pays, the policies by name, where it is, and what it weighs."""
    answers: dict[str, Any] = {"payer": facts.shipping_payer}
    if facts.shipping_payer is None:
        found.append(_problem("shipping_payer", "missing", "say who pays the postage, buyer or seller"))
    for name, what in POLICIES.items():
        free = name == "shipping_policy" and facts.shipping_payer == "seller"
        key = "free_shipping_policy" if free else name
        answers[name] = " ".join(str(own.get(key) or "").split())
        if not answers[name]:
            some = f"{what} policy there{' for when you pay the postage' if free else ''}"
            said = f"set the name of your {some} in the account's defaults"
            found.append(_problem(f"defaults.{key}", "missing", said))
    where = (facts.ships_from_zip or "").strip()
    if not where:
        found.append(_problem("ships_from_zip", "missing", "the ZIP code that you ship from is missing"))
    elif not re.fullmatch(r"[0-9]{5}(-[0-9]{4})?", where):
        said = "the ZIP code that you ship from has five digits"
        found.append(_problem("ships_from_zip", "not_accepted", said))
    answers["ships_from_zip"] = where[:5]
    package = facts.package
    if package.weight_oz is None:
        if own.get("postage_by_weight") is not False:
            said = (
                "the weight of the package (weight_oz) is missing; where your shipping policy does not go "
                "by weight, say no to postage by weight in the account's defaults"
            )
            found.append(_problem("package", "missing", said))
    elif not 1 <= package.weight_oz <= MOST_OZ:
        code, limit = ("too_low", 1) if package.weight_oz < 1 else ("too_high", MOST_OZ)
        said = f"the package weighs {package.weight_oz} oz; it goes from 1 oz to {MOST_OZ} oz (150 lb)"
        found.append(_problem("package", code, said, limit))
    else:
        answers["weight_oz"] = package.weight_oz
    sides = {name: getattr(package, name) for name in ("length_in", "width_in", "height_in")}
    known = {name: float(side) for name, side in sides.items() if side is not None}
    if any(not 0.01 <= side <= MOST_IN for side in known.values()):
        said = f"each side of the package is longer than 0 inches and at most {MOST_IN}"
        found.append(_problem("package", "not_accepted", said, MOST_IN))
    # the form takes hundredths of an inch; what is longer by less than that fits as well
    return answers | {name: round(side, 2) for name, side in known.items()}


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
    most = LIMITS.quantity_max
    if facts.quantity > most:
        said = f"it takes {most} of a thing per listing, and this has {facts.quantity}"
        found.append(_problem("quantity", "too_many", said, most))
    elif facts.quantity < 1:
        found.append(_problem("quantity", "too_few", "there is nothing left to sell", 1))
    most = LIMITS.photos.max_count
    if not facts.photos:
        found.append(_problem("photos", "missing", "it needs at least one photo", 1))
    elif len(facts.photos) > most:
        said = f"it takes {most} photos and this has {len(facts.photos)}"
        found.append(_problem("photos", "too_many", said, most))


# ---- words ----------------------------------------------------------------------------------------


def count(text: str) -> int:
    """Characters as the site's own script counts them: an emoji is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def dollars(cents: int) -> str:
    """1250 → "12.50", as the price field writes it."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}"


def _problem(field: str, code: Any, said: str, limit: int | float | str | None = None) -> Problem:
    return Problem(field=field, code=code, message=f"{LABEL}: {said}.", limit=limit)


__all__: Sequence[str] = (
    "BASE_URL", "CAPABILITIES", "COOKIE_DOMAINS", "DEFAULTS", "LABEL", "LIMITS", "REMOTE_ID",
    "SIGN_IN_COOKIES", "SIGN_IN_PAGES", "SIGN_IN_PATH", "compose", "read_account",
)  # fmt: skip
