"""A live listing of a marketplace in our words. What has no word of ours stays as the site says it: as the
listing's own setting for that marketplace where its form takes one, and told as a note in any case. Pure; it
never guesses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from everystall.inventory.incoming.rows import Row
from everystall.inventory.incoming.words import take_category, take_colors, take_condition, take_size
from everystall.marketplaces import get_form
from everystall.marketplaces.base import NESTED, NO_BRAND, Draft, Money, flat, strip_marker
from everystall.marketplaces.taxonomy import SIZE_SCALES, find_category, find_size

#: Sides and weight of a package among a site's shipping answers.
_PACKAGE = ("weight_oz", "length_in", "width_in", "height_in")


@dataclass
class Came:
    """What a live listing becomes here."""

    #: Columns of `listings`.
    columns: dict[str, Any] = field(default_factory=dict)
    #: [{field, message}]
    notes: list[dict[str, str]] = field(default_factory=list)


def merged(page: Mapping[str, Any], form: Mapping[str, Any]) -> dict[str, Any]:
    """What a listing's own page and its form show, in the names of a draft. The form is nearer to what the
    seller wrote; what one of them does not show is the other's."""
    found = _nearer(page, form)
    for name in NESTED:
        both = _nearer(page.get(name) or {}, form.get(name) or {})
        found[name] = {key: value for key, value in both.items() if value is not None}
    return found


def _nearer(page: Mapping[str, Any], form: Mapping[str, Any]) -> dict[str, Any]:
    return {**form, **page, **{name: value for name, value in form.items() if value is not None}}


def read(marketplace: str, shown: Mapping[str, Any]) -> Came:
    """`shown` as `merged` makes it."""
    form, row = get_form(marketplace), Row(line=0, key="")
    facts, shipping = row.facts, shown["shipping"]
    for name in ("title", "description", "size"):
        facts[name] = _plain(shown.get(name)) or None
    for name in ("price", "original_price"):
        money = shown.get(name)
        facts[f"{name}_cents"] = money.amount if isinstance(money, Money) else None
    if "brand" in shown:
        facts["brand"] = _plain(shown["brand"]) or NO_BRAND
    quantity = shown.get("quantity")
    facts["quantity"] = quantity if isinstance(quantity, int) and quantity > 0 else 1
    facts["sku"] = strip_marker(_plain(shown.get("sku")) or None)
    facts["colors"] = []
    facts["tags"] = [_plain(tag) for tag in shown.get("tags") or ()]
    facts["package"] = {name: shipping[name] for name in _PACKAGE if shipping.get(name)}
    facts["ships_from_zip"] = shipping.get("ships_from_zip") or None
    facts["shipping_payer"] = shipping.get("payer") or None
    own = dict(form.own_settings(shown))
    _words(form.CONDITIONS_THERE, row, shown, own)
    facts["specifics"] = _specifics(shown)
    facts["overrides"] = {marketplace: own} if own else {}
    notes = [
        {"field": one.field or "", "message": f"{one.message} It stays as it is on {form.LABEL}."}
        for one in row.findings
    ]
    return Came(facts, notes)


def as_put(composed: Draft | None, shown: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What stands there as what we last put, and {field: value} of what is other than we would have put it
    (names of `flat`): that stays there until it is changed here. `shown` as `merged` makes it, with the
    photos."""
    if composed is None:
        asked = {"description": "", "category": ()}
        told = {
            name: value for name, value in shown.items() if value is not None and name in Draft.model_fields
        }
        return Draft.model_validate({**asked, **told}).model_dump(mode="json"), {}
    draft = composed.model_dump(mode="json")
    put = flat(draft)
    return draft, {name: value for name, value in flat(shown).items() if put.get(name) != value}


def _words(conditions: Mapping[str, str], row: Row, shown: Mapping[str, Any], own: dict[str, Any]) -> None:
    """Of those that each site has its own for: ours, or theirs as the listing's setting for the site."""
    path = " > ".join(shown.get("category") or ())
    take_category(row, "category", path)
    if path and "category" not in row.facts:
        own["category"] = path
    take_size(row, "size", _size(row.facts.pop("size") or "", row.facts.get("category")))
    label = _plain(shown.get("condition"))
    if label in conditions:
        row.facts["condition"] = conditions[label]
    else:
        take_condition(row, "condition", label)
    if label and "condition" not in row.facts:
        own["condition"] = label
    take_colors(row, "colors", ", ".join(shown.get("colors") or ()))


def _size(label: str, category: str | None) -> str:
    """ "M (38-40)" is M, if that is a size of ours: what the parenthesis says follows from it."""
    ours = find_category(category)
    scales = (ours.size_scale,) if ours else SIZE_SCALES
    bare = re.sub(r"\s*\([^()]*\)$", "", label)
    return bare if any(scale and find_size(scale, bare) for scale in scales) else label


def _specifics(shown: Mapping[str, Any]) -> dict[str, str]:
    """Without those that say once more what has a field of its own."""
    again = {"brand": (shown.get("brand"),), "size": (shown.get("size"),), "color": shown.get("colors") or ()}
    return {
        name: _plain(value)
        for name, value in shown["specifics"].items()
        if not any(word in name.casefold() and value in said for word, said in again.items())
        and name.casefold() != "brand"
    }


def _plain(value: Any) -> str:
    return str(value or "").replace("\x00", "").strip()
