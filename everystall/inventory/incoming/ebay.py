"""eBay's File Exchange CSV, as its templates have it: `*Action(SiteID=US|…)` and the columns behind it.
A row with several variations says what they have in common, and each row below it is one of them. Our listing
is one thing in one size: each variation comes in as a listing of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from everystall.inventory.incoming.rows import (
    SAID,
    Line,
    Row,
    addresses,
    known_by_sku,
    take_html,
    take_money,
    take_text,
    whole,
)
from everystall.inventory.incoming.words import take_category, take_colors, take_size

NAME = "ebay"
LABEL = "eBay File Exchange"
_COLUMNS = {
    "title": "Title", "description": "Description", "brand": "C:Brand", "condition": "ConditionID",
    "colors": "C:Color", "size": "C:Size", "sku": "CustomLabel", "category": "Category",
    "price": "StartPrice", "quantity": "Quantity",
}  # fmt: skip
_TAKEN = {name.lower() for name in (*_COLUMNS.values(), "PicURL", "Action", "ItemID", "Format",
                                    "Relationship", "RelationshipDetails")}  # fmt: skip
#: Numbers that mean one condition of ours whatever the thing is. 3000 is "Used" of one kind and "Good" of
#: another; 4000 (very good) and 7000 (for parts) are none of ours.
_CONDITIONS = {
    "1000": "new_with_tags", "1500": "new_without_tags", "1750": "new_with_flaws", "2750": "like_new",
    "2990": "like_new", "3010": "fair", "5000": "good", "6000": "fair",
}  # fmt: skip
_ENDS = ("end", "delete")
#: What a variation never has from the row above it.
_ITS_OWN = ("customlabel", "startprice", "quantity", "itemid", "relationship", "relationshipdetails")


def bare(name: str) -> str:
    """`*Action(SiteID=US|…)` → action, `*Title` → title."""
    return name.strip().lstrip("*").partition("(")[0].strip().lower()


def knows(header: Sequence[str]) -> bool:
    names = {bare(name) for name in header}
    return "title" in names and any(re.match(r"\*?Action\(", name.strip(), re.IGNORECASE) for name in header)


def takes(column: str) -> bool:
    return bare(column) in _TAKEN or column.startswith("c:")


def read(header: Sequence[str], lines: Iterable[Line]) -> list[Row]:
    action = next(name for name in header if bare(name) == "action")
    currency = re.search(r"Currency=(\w+)", action, re.IGNORECASE)
    named = {
        name.strip().lower(): name.strip()[2:].strip() for name in header if name.lower().startswith("c:")
    }
    lines = list(lines)
    for line in lines:
        for name in _varied(line):
            named.setdefault(f"c:{name.lower()}", name)
    pairs = []
    for line in _things(lines):
        pairs.append((line, _row(_plainly(line), currency[1].upper() if currency else "USD", named)))
    return known_by_sku(pairs, "CustomLabel", _lasts)


def _things(lines: Iterable[Line]) -> Iterator[Line]:
    """A variation as a row that says all of it, instead of the row of what it varies. One that the row above
    does not name, or a second time, is left as it is: its own may be a row that could not be read."""
    products: list[list[Line]] = []
    for line in lines:
        if products and _plainly(line).get("Relationship"):
            products[-1].append(line)
        else:
            products.append([line])
    for head, *below in products:
        offered, found = _pairs(head), list[set[tuple[str, str]]]()
        for line in below:
            own = _pairs(line)
            if own and own <= offered and own not in found:
                found.append(own)
                yield _whole(head, line)
            else:
                yield line
        if not found:
            yield head


def _whole(head: Line, variation: Line) -> Line:
    common = {name: cell for name, cell in head.cells.items() if bare(name) not in _ITS_OWN}
    told = {
        name: cell
        for name, cell in variation.cells.items()
        if cell.strip() and not bare(name).startswith("relationship")
    }
    varied = {f"c:{name.lower()}": value for name, value in _varied(variation).items()}
    return Line(variation.number, common | told | varied)


def _varied(line: Line) -> dict[str, str]:
    """`Size=M|Color=Blue` → what varies, and what it is; of all of them: `Size=S;M|Color=Blue;Red`."""
    parts = (part.partition("=") for part in _plainly(line).get("RelationshipDetails").split("|"))
    return {name.strip(): value.strip() for name, _, value in parts if name.strip() and value.strip()}


def _pairs(line: Line) -> set[tuple[str, str]]:
    return {
        (name.lower(), value.strip().lower())
        for name, values in _varied(line).items()
        for value in values.split(";")
    }


def _plainly(line: Line) -> Line:
    return Line(line.number, {_short(name): cell for name, cell in line.cells.items()})


def _lasts(column: str) -> bool:
    """Of what a thing without a label is known by."""
    return column.startswith("c:") or bare(column) in (
        "title",
        "description",
        "conditionid",
        "category",
        "picurl",
    )


def _short(name: str) -> str:
    return name if name.startswith("c:") else bare(name)


def _row(line: Line, currency: str, named: dict[str, str]) -> Row:
    row = Row(line.number, "", photos=addresses(line.get("PicURL")), columns=_COLUMNS)
    if line.get("Action").lower().startswith(_ENDS):
        row.skip("Action", "not_a_listing", "This row ends a listing.", "Nothing.")
    elif line.get("Relationship"):
        row.fail(
            "Relationship", "variation",
            "The row above does not name it as one of its variations, or not a second time.",
            "Put it below the row that does, or write it as one with all columns and no Relationship.",
        )  # fmt: skip
    elif line.get("RelationshipDetails"):
        row.fail(
            "RelationshipDetails", "variations", "It has several variations, and none of them is below it.",
            "Put a row for each below it, or take the RelationshipDetails out.",
        )  # fmt: skip
    if re.fullmatch(r"[0-9]{12}", item := line.get("ItemID")):
        row.facts["places"] = {NAME: [item]}
    take_text(row, "title", line.get("Title"))
    take_text(row, "sku", line.get("CustomLabel"))
    take_text(row, "brand", line.get("C:Brand"))
    take_html(row, "description", "Description", line.get("Description"))
    take_category(row, "Category", line.get("Category"))
    take_size(row, "C:Size", line.get("C:Size"))
    take_colors(row, "C:Color", line.get("C:Color"))
    _take_condition(row, line.get("ConditionID"))
    _take_price(row, line, currency)
    specifics = {
        name: line.get(column)
        for column, name in named.items()
        if column not in ("c:brand", "c:size", "c:color") and line.get(column)
    }
    if specifics:
        row.facts["specifics"] = specifics
    _take_quantity(row, line)
    return row


def _take_condition(row: Row, cell: str) -> None:
    if not cell:
        return
    if cell in _CONDITIONS:
        row.facts["condition"] = _CONDITIONS[cell]
        return
    row.say(
        "ConditionID", "condition", "not_mapped",
        f"“{cell[:SAID]}” is none of our conditions, or may be several.",
        "Set the condition on the listing.",
    )  # fmt: skip


def _take_price(row: Row, line: Line, currency: str) -> None:
    cell = line.get("StartPrice")
    if cell and line.get("Format").lower() == "auction":
        row.say(
            "StartPrice", "price", "not_a_price", "An auction's first bid is no price.",
            "Set a price on the listing.",
        )  # fmt: skip
    elif cell and currency != "USD":
        row.say(
            "StartPrice", "price", "not_dollars", f"The file is in {currency[:3]}; we sell in US dollars.",
            "Set a price on the listing.",
        )  # fmt: skip
    else:
        take_money(row, "price", "StartPrice", cell)


def _take_quantity(row: Row, line: Line) -> None:
    number = whole(row, "quantity", "Quantity", line.get("Quantity"))
    if number is None:
        return
    if number > 0:
        row.facts["quantity"] = number
    elif row.outcome is None:
        row.skip("Quantity", "nothing_to_sell", "None is left.", "Write how many there are, to bring it in.")
