"""Shopify's product CSV. The rows of one Handle are one product: the first says what it is, each with a price
or an option is a variant, each with only a picture is a picture. Our listing is one thing in one size: each
variant comes in as a listing of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from everystall.inventory.incoming.rows import (
    Line,
    Row,
    addresses,
    listed,
    refuse_doubles,
    take_html,
    take_money,
    take_text,
    whole,
)
from everystall.inventory.incoming.words import take_category, take_colors, take_size

NAME = "shopify"
LABEL = "Shopify"
_COLUMNS = {
    "title": "Title", "description": "Body (HTML)", "brand": "Vendor", "category": "Type", "tags": "Tags",
    "sku": "Variant SKU", "price": "Variant Price", "original_price": "Variant Compare At Price",
    "quantity": "Variant Inventory Qty", "package": "Variant Grams",
}  # fmt: skip
_OPTIONS = tuple((f"Option{n} Name", f"Option{n} Value") for n in (1, 2, 3))
_TAKEN = {
    name.lower()
    for name in (
        *_COLUMNS.values(),
        "Handle",
        "Image Src",
        "Image Position",
        "Variant Image",
        *(n for pair in _OPTIONS for n in pair),
    )
}
_GRAMS_PER_OUNCE = 28.349523125


def knows(header: Sequence[str]) -> bool:
    return {"handle", "title", "variant price"} <= {name.lower() for name in header}


def takes(column: str) -> bool:
    return column in _TAKEN


def read(header: Sequence[str], lines: Iterable[Line]) -> list[Row]:
    products: dict[str, list[Line]] = {}
    rows = []
    for line in lines:
        if handle := line.get("Handle"):
            products.setdefault(handle, []).append(line)
            continue
        row = Row(line.number, f"line:{line.number}", columns=_COLUMNS)
        row.fail(
            "Handle", "no_handle", "It has no Handle, so nobody knows which product it belongs to.",
            "Write the product's Handle in it.",
        )  # fmt: skip
        rows.append(row)
    for handle, of_product in products.items():
        rows += _listings(handle, of_product)
    return sorted(refuse_doubles(rows), key=lambda row: row.line)


def _listings(handle: str, lines: Sequence[Line]) -> list[Row]:
    head = next((line for line in lines if line.get("Title")), lines[0])
    variants = [line for line in lines if line is head or _is_variant(line)]
    photos = [
        address
        for line in sorted(lines, key=lambda line: _place(line.get("Image Position")))
        for address in addresses(line.get("Image Src"))
    ]
    own = [addresses(line.get("Variant Image")) for line in variants]
    return [
        _listing(handle, head, line, list(dict.fromkeys([*first, *photos])))
        for line, first in zip(variants, own, strict=True)
    ]


def _is_variant(line: Line) -> bool:
    return any(line.get(name) for name in ("Option1 Value", "Variant Price", "Variant SKU"))


def _place(cell: str) -> int:
    return int(cell) if cell.isdecimal() and len(cell) < 6 else 99_999


def _listing(handle: str, head: Line, variant: Line, photos: list[str]) -> Row:
    values = [variant.get(value) for _, value in _OPTIONS]
    row = Row(variant.number, "handle:" + "/".join([handle, *values]), photos=photos, columns=_COLUMNS)
    take_text(row, "title", head.get("Title"))
    take_html(row, "description", "Body (HTML)", head.get("Body (HTML)"))
    take_text(row, "brand", head.get("Vendor"))
    take_category(row, "Type", head.get("Type"))
    if tags := listed(head.get("Tags")):
        row.facts["tags"] = tags
    take_text(row, "sku", variant.get("Variant SKU").removeprefix("'"))  # Shopify's own guard of long numbers
    take_money(row, "price", "Variant Price", variant.get("Variant Price"))
    take_money(row, "original_price", "Variant Compare At Price", variant.get("Variant Compare At Price"))
    _take_options(row, head, values)
    _take_weight(row, variant.get("Variant Grams"))
    number = whole(row, "quantity", "Variant Inventory Qty", variant.get("Variant Inventory Qty"))
    if number is not None and number > 0:
        row.facts["quantity"] = number
    elif number is not None:
        row.skip(
            "Variant Inventory Qty", "nothing_to_sell", "None is in stock.",
            "Write how many there are, to bring it in.",
        )  # fmt: skip
    return row


def _take_options(row: Row, head: Line, values: Sequence[str]) -> None:
    for (name, column), value in zip(_OPTIONS, values, strict=True):
        called = head.get(name)
        if not value or value == "Default Title":
            continue
        if called.lower() == "size":
            take_size(row, column, value)
        elif called.lower() in ("color", "colour"):
            take_colors(row, column, value)
        else:
            row.facts.setdefault("specifics", {})[called or name.removesuffix(" Name")] = value


def _take_weight(row: Row, cell: str) -> None:
    """Whole ounces, the nearest: Shopify itself writes a pound as 454 g."""
    grams = whole(row, "package", "Variant Grams", cell)
    if grams is not None and grams > 0:
        row.facts["package"] = {"weight_oz": max(1, round(grams / _GRAMS_PER_OUNCE))}
