"""The listing editor's form: what stands in its fields, and what of that its seller changed.

A part of the form is what is saved, refused and kept from another's change as one. With each part goes a mark
of the value that the page was opened with. So a form changes only what was changed in it, and an older page
never writes over what another one saved meanwhile: there its seller is asked.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from starlette.datastructures import FormData

from everystall.errors import BadRequest
from everystall.marketplaces import MARKETPLACES, get_form, taxonomy
from everystall.web.answers import complaint
from everystall.web.listings import ListingBody, ListingOut, check_overrides

#: Name of an input → what stands in those of that name, in order.
Texts = Mapping[str, Sequence[str]]

#: What a listing may have otherwise for one marketplace, as far as the form asks for it.
OWN: Final[Mapping[str, Sequence[str]]] = {
    place: ("title", "description", "price", "category", "condition", "size", "brand",
            *get_form(place).POLICIES)
    for place in MARKETPLACES
}  # fmt: skip
SIDES: Final = ("length_in", "width_in", "height_in")
_DOLLARS: Final = re.compile(r"\$?\s*(\d{1,3}(?:,\d{3})+|\d*)(?:\.(\d{0,2}))?")
_AMOUNT: Final = "Write an amount in dollars, such as 12 or 12.50."


@dataclass(frozen=True)
class Part:
    #: What its inputs hold for a listing.
    show: Callable[[ListingOut], dict[str, list[str]]]
    #: What that says, in the API's JSON. Raises ValueError in words.
    read: Callable[[Texts], Any]


@dataclass(frozen=True)
class Met:
    """What a part was changed to elsewhere: in words, and its mark."""

    said: str
    mark: str


@dataclass
class Sent:
    """A form as it was sent, beside the listing as it stands."""

    texts: dict[str, list[str]]
    #: The parts that the form says as the listing does, or that were saved since.
    same: set[str] = field(default_factory=set)
    #: Part → its new value.
    values: dict[str, Any] = field(default_factory=dict)
    #: Part → what is wrong with it.
    wrong: dict[str, str] = field(default_factory=dict)
    #: Part → what it was changed to elsewhere, since this page was opened.
    met: dict[str, Met] = field(default_factory=dict)
    #: Part → the mark that came with it.
    was: dict[str, str] = field(default_factory=dict)


def texts_of(form: FormData) -> dict[str, list[str]]:
    """What a form sent, as it was typed: browsers send lines that end in CR LF."""
    found: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            found.setdefault(name, []).append(value.replace("\r\n", "\n"))
    return found


def texts(listing: ListingOut) -> dict[str, list[str]]:
    """What stands in every input."""
    return {name: values for part in PARTS.values() for name, values in part.show(listing).items()}


def marks(listing: ListingOut) -> dict[str, str]:
    """Part → the mark of its value."""
    return {name: _mark(_value(part, listing)) for name, part in PARTS.items()}


def read(sent: dict[str, list[str]], listing: ListingOut) -> Sent:
    """What the form changes. Of parts that were changed elsewhere too, `keep` names those whose value here
    stands, with the mark of the other that its seller saw; `take` those whose other value does."""
    found = Sent(sent)
    keep, take = sent.get("keep", []), sent.get("take", [])
    for name, part in PARTS.items():
        shown = part.show(listing)
        if name in take or not all(one in sent for one in shown):
            continue
        found.was[name] = was = _was(name, part, sent, shown)
        now = _value(part, listing)
        if {one: sent[one] for one in shown} == shown:
            found.same.add(name)
            continue
        try:
            mine = part.read(sent)
        except ValueError as error:
            if _mark({one: sent[one] for one in shown}) != was:  # else nobody touched it
                found.wrong[name] = str(error)
            continue
        if mine == now:
            found.same.add(name)
        elif _mark(mine) == was:
            pass  # as the page was opened: somebody else's change stands
        elif was and was != _mark(now) and f"{name} {_mark(now)}" not in keep:
            said = ", ".join(filter(None, (one for each in shown.values() for one in each)))
            found.met[name] = Met(said, _mark(now))
        else:
            found.values[name] = mine
    return found


def _was(name: str, part: Part, sent: Texts, shown: Texts) -> str:
    """The mark that came with a part; of a form that says instead what it showed (`seen.…`), that one's."""
    if all(f"seen.{one}" in sent for one in shown):
        with suppress(ValueError):
            return _mark(part.read({one: sent[f"seen.{one}"] for one in shown}))
    return sent.get(f"was.{name}", [""])[0]


def body_of(sent: Sent, listing: ListingOut) -> ListingBody | None:
    """What is to be saved: the changed parts that the API takes. What it refuses is in `sent.wrong` then.
    None: nothing."""
    body: dict[str, Any] = {}
    overrides = {place: dict(own) for place, own in listing.overrides.items()}
    for name, value in list(sent.values.items()):
        place, _, own = name.rpartition(".")
        try:
            if place:
                check_overrides(ListingBody(overrides={place: {own: value}} if value is not None else {}))
            else:
                ListingBody.model_validate({to_camel(name): value})
        except ValidationError as error:
            refuse(sent, name, _said(error))
        except BadRequest as error:
            refuse(sent, name, f"It {error.details['fields'][0]['message']}.")
        else:
            if not place:
                body[to_camel(name)] = value
                continue
            there = overrides.setdefault(place, {})
            there[to_camel(own)] = value
            if value is None:
                del there[to_camel(own)]
            body["overrides"] = overrides
    if "overrides" in body:
        body["overrides"] = {place: own for place, own in overrides.items() if own}
    return ListingBody.model_validate(body) if body else None


def refuse(sent: Sent, name: str, said: str) -> None:
    sent.values.pop(name, None)
    sent.wrong[name] = said


def _said(error: ValidationError) -> str:
    found = error.errors()[0]
    inner = [str(step) for step in found["loc"][1:] if step != "[key]"]
    subject = {
        "weightOz": "The weight in ounces", "lengthIn": "The length", "widthIn": "The width",
        "heightIn": "The height", "amount": "The price",
    }.get(inner[0] if inner else "", "It")  # fmt: skip
    said = complaint(found)
    return f"{subject} {said}." if not said[:1].isupper() else f"{said}."


def _value(part: Part, listing: ListingOut) -> Any:
    """What the form would say if nobody touched it."""
    shown = part.show(listing)
    try:
        return part.read(shown)
    except ValueError:  # from a time when that was taken
        return shown


def _mark(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


# ---- the parts -------------------------------------------------------------------------------------


def _one(sent: Texts, name: str) -> str:
    return sent[name][0].strip()


def _text(name: str) -> Part:
    """One line or more, as it is written; blank: not told."""

    def show(listing: ListingOut) -> dict[str, list[str]]:
        return {name: [str(getattr(listing, name) or "").replace("\r\n", "\n")]}

    return Part(show, lambda sent: sent[name][0] if sent[name][0].strip() else None)


def _money(name: str) -> Part:
    def show(listing: ListingOut) -> dict[str, list[str]]:
        money = getattr(listing, name)
        return {name: [dollars(money.amount) if money else ""]}

    return Part(show, lambda sent: cents(_one(sent, name)))


def dollars(amount: int) -> str:
    """4900 → "49", 4950 → "49.50", as a person writes it"""
    return f"{amount // 100}" if amount % 100 == 0 else f"{amount // 100}.{amount % 100:02}"


def cents(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    found = _DOLLARS.fullmatch(text)
    if found is None or not (found[1] or found[2]) or len(text) > 20:
        raise ValueError(_AMOUNT)
    amount = int((found[1] or "0").replace(",", "")) * 100 + int((found[2] or "").ljust(2, "0"))
    if amount == 0:
        raise ValueError("Leave it blank while it is not known.")
    return {"amount": amount, "currency": "USD"}


def category_name(key: str | None) -> str:
    """ "women.dresses.midi" → "Women > Dresses > Midi dresses" """
    known = taxonomy.find_category(key)
    return " > ".join(known.label) if known else key or ""


def _category(sent: Texts) -> str | None:
    text = _one(sent, "category")
    if not text:
        return None
    said = re.sub(r"\s*>\s*", " > ", text).casefold()
    for one in taxonomy.CATEGORIES.values():
        if said in (" > ".join(one.label).casefold(), one.key):
            return one.key
    found = taxonomy.search(text)
    if len(found) == 1:
        return found[0].key
    near = found[:3] or taxonomy.near(text)
    like = "; ".join(" > ".join(one.label) for one in near)
    raise ValueError(
        f"“{text[:80]}” is no category here. " + (f"Near it: {like}." if like else "Choose one of the list.")
    )


def _listed(name: str) -> Part:
    """Several, each in an input of its own."""

    def show(listing: ListingOut) -> dict[str, list[str]]:
        return {name: [*getattr(listing, name), ""]}

    return Part(show, lambda sent: list(dict.fromkeys(filter(None, (one.strip() for one in sent[name])))))


def _tags(sent: Texts) -> list[str]:
    return list(dict.fromkeys(filter(None, (one.strip() for one in re.split(r"[,\n]", sent["tags"][0])))))


def _labels(sent: Texts) -> list[str]:
    return list(dict.fromkeys(filter(None, (one.strip() for one in re.split(r"[,\n]", sent["labels"][0])))))


def _cost(sent: Texts) -> dict[str, Any] | None:
    """As a price; but a gift cost nothing."""
    text = _one(sent, "cost")
    return {"amount": 0, "currency": "USD"} if re.fullmatch(r"\$?\s*0+(\.0{0,2})?", text) else cents(text)


def _quantity(sent: Texts) -> int:
    text = _one(sent, "quantity")
    if not re.fullmatch(r"\d{1,9}", text):
        raise ValueError("Write how many there are: a whole number from 1.")
    return int(text)


def _package_texts(listing: ListingOut) -> dict[str, list[str]]:
    package = listing.package
    pounds, ounces = divmod(package.weight_oz or 0, 16)
    sides = {name: getattr(package, name) for name in SIDES}
    return {
        "weight_lb": [str(pounds or "")],
        "weight_oz": [str(ounces or ("" if pounds or not package.weight_oz else 0))],
        **{name: [f"{side:.15g}" if side is not None else ""] for name, side in sides.items()},
    }


def _package(sent: Texts) -> dict[str, Any]:
    found: dict[str, Any] = {}
    pounds, ounces = _one(sent, "weight_lb"), _one(sent, "weight_oz")
    if pounds or ounces:
        if not (re.fullmatch(r"\d{0,6}", pounds) and re.fullmatch(r"\d{0,6}", ounces)):
            raise ValueError("Write the weight in whole pounds and ounces.")
        found["weightOz"] = int(pounds or 0) * 16 + int(ounces or 0)
    for name in SIDES:
        if text := _one(sent, name):
            if not re.fullmatch(r"\d{1,6}(\.\d{0,15})?|\.\d{1,15}", text):
                raise ValueError("Write length, width and height in inches, such as 12 or 9.5.")
            found[to_camel(name)] = float(text)
    return found


def _specifics_texts(listing: ListingOut) -> dict[str, list[str]]:
    return {
        "specific_name": [*listing.specifics, ""],
        "specific_value": [*map(str, listing.specifics.values()), ""],
    }


def _specifics(sent: Texts) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in zip(sent["specific_name"], sent["specific_value"], strict=False):
        name, value = name.strip(), value.strip()
        if not value:
            continue
        if not name:
            raise ValueError(f"Say what “{value[:40]}” is, such as Material.")
        if name in found:
            raise ValueError(f"There are two of “{name[:40]}”; one has to go.")
        found[name] = value
    return found


def _own(place: str, name: str) -> Part:
    """What one marketplace gets instead; blank: what all get."""
    key = f"{place}.{name}"

    def show(listing: ListingOut) -> dict[str, list[str]]:
        value = listing.overrides.get(place, {}).get(to_camel(name))
        if name == "price":
            amount = value.get("amount") if isinstance(value, Mapping) else None
            return {key: [dollars(amount) if isinstance(amount, int) else ""]}
        if isinstance(value, list | tuple):
            value = " > ".join(map(str, value))
        return {key: [str(value or "").replace("\r\n", "\n")]}

    if name == "price":
        return Part(show, lambda sent: cents(_one(sent, key)))
    if name == "category":
        return Part(show, lambda sent: _own_category(place, _one(sent, key)))
    return Part(show, lambda sent: sent[key][0] if sent[key][0].strip() else None)


def _own_category(place: str, text: str) -> str | None:
    """A path of the marketplace's own menu, from top to bottom. We do not hold all of it: what is no word of
    one that we hold, but a path, stands as it is. What is merely near is offered and never taken, not even
    where it is the only one: “mini” may be meant for a dress, and what we hold has a skirt."""
    if not text:
        return None
    said = re.sub(r"\s*>\s*", " > ", text)
    paths = [" > ".join(path) for path in get_form(place).PATHS]
    same = {one.casefold(): one for one in paths}.get(said.casefold())
    if same or " > " in said or taxonomy.find_category(said):
        return same or said
    words = said.casefold().split()
    found = [one for one in paths if all(word in one.casefold() for word in words)]
    found.sort(key=lambda one: one.split(" > ")[-1].casefold() != " ".join(words))
    raise ValueError(
        f"“{text[:80]}” is no category on {MARKETPLACES[place]} that we know. "
        + (f"Near it: {'; '.join(found[:3])}." if found else "Write its own menu, as Art > Art Prints.")
    )


PARTS: Final[Mapping[str, Part]] = {
    **{name: _text(name) for name in ("title", "description", "brand", "size", "sku", "ships_from_zip")},
    "category": Part(lambda listing: {"category": [category_name(listing.category)]}, _category),
    **{name: _text(name) for name in ("condition", "shipping_payer")},
    "colors": _listed("colors"),
    "tags": Part(lambda listing: {"tags": [", ".join(listing.tags)]}, _tags),
    "price": _money("price"),
    "original_price": _money("original_price"),
    "quantity": Part(lambda listing: {"quantity": [str(listing.quantity)]}, _quantity),
    "cost": Part(_money("cost").show, _cost),
    "location": _text("location"),
    "labels": Part(lambda listing: {"labels": [", ".join(listing.labels)]}, _labels),
    "package": Part(_package_texts, _package),
    "specifics": Part(_specifics_texts, _specifics),
    **{f"{place}.{name}": _own(place, name) for place in MARKETPLACES for name in OWN[place]},
}
