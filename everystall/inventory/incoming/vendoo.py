"""Vendoo's CSV export (its header row as seen 2026; how it writes photos, tags and status in the cells is not
published: several ways are read)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from everystall.inventory.incoming.rows import (
    Line,
    Row,
    addresses,
    known_by_sku,
    listed,
    take_money,
    take_text,
    whole,
)
from everystall.inventory.incoming.words import take_category, take_colors, take_condition

NAME = "vendoo"
LABEL = "Vendoo"
_COLUMNS = {
    "title": "Title", "description": "Description", "brand": "Brand", "condition": "Condition",
    "colors": "Primary Color", "tags": "Tags", "sku": "Sku", "category": "Category", "price": "Price",
    "quantity": "Quantity Left", "quantity_sold": "Quantity Sold", "cost": "Cost of Goods",
    "labels": "Labels",
}  # fmt: skip
_TAKEN = {name.lower() for name in (*_COLUMNS.values(), "Images", "Secondary Color", "Status")}


#: What a thing without a SKU is known by.
_LASTING = {
    "title",
    "description",
    "brand",
    "condition",
    "primary color",
    "secondary color",
    "category",
    "images",
}


def knows(header: Sequence[str]) -> bool:
    return {"title", "sku", "listing platforms", "quantity left"} <= {name.lower() for name in header}


def takes(column: str) -> bool:
    return column in _TAKEN


def read(header: Sequence[str], lines: Iterable[Line]) -> list[Row]:
    return known_by_sku([(line, _row(line)) for line in lines], "Sku", _LASTING.__contains__)


def _row(line: Line) -> Row:
    row = Row(line.number, "", photos=addresses(line.get("Images")), columns=_COLUMNS)
    for field in ("title", "description", "brand", "sku"):
        take_text(row, field, line.get(_COLUMNS[field]))
    take_money(row, "price", "Price", line.get("Price"))
    take_money(row, "cost", "Cost of Goods", line.get("Cost of Goods"))
    take_category(row, "Category", line.get("Category"))
    take_condition(row, "Condition", line.get("Condition"))
    for column in ("Primary Color", "Secondary Color"):
        take_colors(row, column, line.get(column))
    for field in ("tags", "labels"):
        if words := listed(line.get(_COLUMNS[field])):
            row.facts[field] = words
    _take_quantity(row, line)
    return row


def _take_quantity(row: Row, line: Line) -> None:
    """What is left and what is sold, together, are the listing's quantity."""
    left = whole(row, "quantity", "Quantity Left", line.get("Quantity Left"))
    sold = whole(row, "quantity_sold", "Quantity Sold", line.get("Quantity Sold"))
    if left is None and sold is None and line.get("Status").lower() == "sold":
        left, sold = 0, 1
    if left is None and not sold:
        return
    left, sold = max(0, left or 0), max(0, sold or 0)
    if left + sold == 0:
        row.skip(
            "Quantity Left", "nothing_to_sell", "None is left, and none was sold.",
            "Write how many there are, to bring it in.",
        )  # fmt: skip
        return
    row.facts |= {"quantity": left + sold, "quantity_sold": sold}
