"""Our own export (inventory/transfer.py), as it left or as a spreadsheet gave it back. Nothing is mapped: the
words are ours already, and a cell that was guarded against formulas comes back as it was."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from everystall.inventory.incoming.rows import (
    SAID,
    Line,
    Row,
    Whole,
    known_by_sku,
    refuse_doubles,
    take_money,
    whole,
)
from everystall.inventory.transfer import COLUMNS, PACKAGE, plain, unlisted
from everystall.marketplaces import MARKETPLACES, get_form

NAME = "everystall"
LABEL = "Everystall"
#: Kept letter by letter.
_TEXTS = ("sku", "title", "description", "brand", "category", "size", "condition", "ships_from_zip",
          "shipping_payer", "location")  # fmt: skip
#: Of one listing on one marketplace.
MOST_PLACES = 20
#: What a row without id and SKU is known by.
_LASTING = {"title", "description", "brand", "category", "size", "condition", "colors"}


def knows(header: Sequence[str]) -> bool:
    return {"listing_id", "title"} <= {name.lower() for name in header}


def takes(column: str) -> bool:
    return column in COLUMNS


def note_sku(line: Line, skus: Counter[str]) -> None:
    """Where that is what the row is known by."""
    if (sku := plain(line.cells.get("sku", ""))) and not plain(line.cells.get("listing_id", "")).strip():
        skus[sku] += 1


def read(header: Sequence[str], lines: Iterable[Line], whole: Whole | None = None) -> list[Row]:
    """`whole`: of the file, where these lines are a part of it."""
    there = {name.lower() for name in header}
    known, unknown = [], []
    for line in lines:
        row = Row(line.number, "", columns={name: name for name in COLUMNS})
        cells = {name: plain(cell) for name, cell in line.cells.items()}
        _take(row, cells, there)
        listing_id = cells.get("listing_id", "").strip()
        if not listing_id:
            unknown.append((line, row))
            continue
        try:
            row.key = f"listing:{UUID(listing_id)}"
        except ValueError:
            row.key = f"line:{line.number}"
            row.fail(
                "listing_id", "not_an_id", f"“{listing_id[:SAID]}” is no id of a listing.",
                "Leave the cell as the export wrote it, or empty for a new listing.",
            )  # fmt: skip
        known.append(row)
    return sorted(
        [*refuse_doubles(known, whole), *known_by_sku(unknown, "sku", _LASTING.__contains__, whole)],
        key=lambda row: row.line,
    )


def _take(row: Row, cells: dict[str, str], there: set[str]) -> None:
    for name in _TEXTS:
        if name in there:
            row.facts[name] = cells.get(name) or None
    for name in ("colors", "tags", "labels"):
        if name in there:
            row.facts[name] = unlisted(cells.get(name, ""))
    _take_prices(row, cells, there)
    for name in ("quantity", "quantity_sold"):
        if (number := whole(row, name, name, cells.get(name, "").strip())) is not None:
            row.facts[name] = number
    if there & set(PACKAGE):
        _take_package(row, cells)
    for name in ("specifics", "overrides"):
        if name in there:
            _take_json(row, name, cells.get(name, ""))
    for name in ("created_at", "updated_at"):
        if at := _time(cells.get(name, "")):
            row.facts[name] = at
    row.photos = cells.get("photos", "").split()
    places = {name: found for name in MARKETPLACES if (found := _remote_ids(name, cells.get(name, "")))}
    if places:
        row.facts["places"] = places


def _remote_ids(marketplace: str, cell: str) -> list[str]:
    """What the marketplace calls it: of the addresses in a cell, each on a line of its own."""
    found = (re.search(get_form(marketplace).REMOTE_ID, line) for line in cell.splitlines()[:MOST_PLACES])
    return [one[1] for one in found if one]


def _take_prices(row: Row, cells: dict[str, str], there: set[str]) -> None:
    """An empty cell takes a price away; one that cannot be read leaves it as it is."""
    if (currency := cells.get("currency", "").strip()) not in ("", "USD"):
        row.say(
            "currency", "price", "not_dollars", f"“{currency[:SAID]}” is no currency that we sell in.",
            "Write prices in US dollars, and USD here.",
        )  # fmt: skip
        return
    for name in ("price", "original_price", "cost"):
        cell = cells.get(name, "").strip()
        if name == "cost" and re.fullmatch(r"\$?0+(\.0*)?", cell):
            row.facts[name] = {"amount": 0, "currency": "USD"}  # a gift, or found
        elif cell:
            take_money(row, name, name, cell)
        elif name in there:
            row.facts[name] = None


def _take_package(row: Row, cells: dict[str, str]) -> None:
    found: dict[str, Any] = {}
    before = len(row.findings)
    for name in PACKAGE:
        cell = cells.get(name, "").strip()
        if not cell:
            continue
        if name == "weight_oz":
            if (ounces := whole(row, "package", name, cell)) is not None:
                found[name] = ounces
        elif re.fullmatch(r"[0-9]{1,4}(\.[0-9]+)?(e-?[0-9]+)?", cell):
            found[name] = float(cell)
        else:
            row.say(name, "package", "not_a_number", f"“{cell[:SAID]}” is no number.", "Write inches: 12.5.")
    if len(row.findings) == before:
        row.facts["package"] = found


def _take_json(row: Row, name: str, cell: str) -> None:
    try:
        found = json.loads(cell) if cell.strip() else {}
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        row.facts[name] = found
        return
    row.say(
        name, name, "not_json", "It is not the JSON that the export wrote.",
        'Leave it as it was, or write an object: {"Material": "Cotton"}.',
    )  # fmt: skip


def _time(cell: str) -> str | None:
    try:
        at = datetime.fromisoformat(cell.strip())
        return at.astimezone(UTC).isoformat() if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
