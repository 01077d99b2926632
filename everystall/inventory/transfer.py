"""A seller's listings as a CSV file in which a spreadsheet that reads commas finds no formula.

One row per listing, one column per field and per marketplace. Cells that a spreadsheet would take for a
formula begin with an apostrophe (OWASP, "CSV Injection", read 2026-11-23); `plain` takes it off again, so
that what went out comes back the same.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database
from everystall.marketplaces import MARKETPLACES
from everystall.marketplaces.base import photo_name
from everystall.models import Listing, ListingPhoto, Publication

#: Listings that are read at once.
BATCH: Final = 500
#: base.Package
PACKAGE: Final = ("weight_oz", "length_in", "width_in", "height_in")
COLUMNS: Final = (
    "listing_id", "sku", "title", "description", "brand", "category", "size", "condition", "colors", "tags",
    "price", "original_price", "currency", "quantity", "quantity_sold", *PACKAGE, "ships_from_zip",
    "shipping_payer", "specifics", "overrides", "location", "cost", "labels", "photos",
    *MARKETPLACES, "created_at", "updated_at",
)  # fmt: skip

#: The signs that begin a formula in some spreadsheet, the full-width ones of East Asian settings too.
_SIGNS: Final = "=+\\-@\t\r\n＝＋－＠"
_FORMULA: Final = re.compile(rf"'*[{_SIGNS}]")
_GUARDED: Final = re.compile(rf"'+[{_SIGNS}]")


def guarded(value: str) -> str:
    """A cell's text that no spreadsheet takes for a formula."""
    return f"'{value}" if _FORMULA.match(value) else value


def plain(cell: str) -> str:
    """What `guarded` was given."""
    return cell[1:] if _GUARDED.match(cell) else cell


def in_lines(words: Sequence[str]) -> str:
    """One word a line; as JSON where that would not come back the same."""
    cell = "\n".join(words)
    return cell if unlisted(cell) == list(words) else json.dumps(words, ensure_ascii=False)


def unlisted(cell: str) -> list[str]:
    """What `in_lines` was given; a spreadsheet may have changed the line breaks."""
    if cell.startswith("["):
        try:
            found = json.loads(cell)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, list) and all(isinstance(word, str) for word in found):
            return found
    return [word for word in cell.replace("\r\n", "\n").split("\n") if word.strip()]


def csv_line(cells: Sequence[str | Decimal]) -> str:
    """Text is guarded; a number is one to a spreadsheet too, and begins no formula."""
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow(
        [guarded(cell) if isinstance(cell, str) else cell for cell in cells]
    )
    return out.getvalue()


async def csv_lines(db: Database, user_id: UUID, ids: Sequence[UUID] | None = None) -> AsyncIterator[str]:
    """The file, batch by batch, a transaction each; of these listings only, where they are given."""
    if ids is not None:
        yield "\ufeff" + csv_line(COLUMNS)
        for first in range(0, len(ids), BATCH):
            async with db.as_user(user_id) as session:
                rows, _ = await read_batch(session, None, ids[first : first + BATCH])
            yield "".join(csv_line(row) for row in rows)
        return
    yield "\ufeff" + csv_line(COLUMNS)  # the mark by which spreadsheets know UTF-8
    after, more = None, True
    while more:
        async with db.as_user(user_id) as session:
            rows, after = await read_batch(session, after)
        yield "".join(csv_line(row) for row in rows)
        more = after is not None


async def read_batch(
    session: AsyncSession, after: tuple[datetime, UUID] | None, of: Sequence[UUID] | None = None
) -> tuple[list[list[str]], tuple[datetime, UUID] | None]:
    """(rows of COLUMNS, where the next batch begins or None at the end): the seller's listings, oldest
    first, at most BATCH; `of`: only these."""
    wanted = select(Listing).order_by(Listing.created_at, Listing.id).limit(BATCH)
    if of is not None:
        wanted = wanted.where(Listing.id.in_(of))
    if after is not None:
        wanted = wanted.where(tuple_(Listing.created_at, Listing.id) > tuple_(*after))
    listings = list(await session.scalars(wanted))
    ids = [listing.id for listing in listings]
    photos: dict[UUID, list[str]] = {id: [] for id in ids}
    for photo in await session.execute(
        select(ListingPhoto.listing_id, ListingPhoto.sha256, ListingPhoto.turn)
        .where(ListingPhoto.listing_id.in_(ids))
        .order_by(ListingPhoto.position)
    ):
        photos[photo.listing_id].append(photo_name(photo.sha256, photo.turn))
    places: dict[UUID, dict[str, list[str]]] = {id: {} for id in ids}
    for row in await session.scalars(
        select(Publication).where(Publication.listing_id.in_(ids)).order_by(Publication.id)
    ):
        said = f"{row.state} {row.url}" if row.url else row.state
        places[row.listing_id].setdefault(row.marketplace, []).append(said)
    rows = [_row(listing, photos[listing.id], places[listing.id]) for listing in listings]
    last = (listings[-1].created_at, listings[-1].id) if len(listings) == BATCH else None
    return rows, last


def _row(listing: Listing, photos: Sequence[str], places: Mapping[str, Sequence[str]]) -> list[str]:
    values: dict[str, Any] = {
        **{name: getattr(listing, name, None) for name in COLUMNS},
        **{name: listing.package.get(name) for name in PACKAGE},
        **{name: "\n".join(places.get(name, ())) for name in MARKETPLACES},
        "listing_id": listing.id,
        "colors": in_lines(listing.colors),
        "tags": in_lines(listing.tags),
        "price": _money(listing.price_cents),
        "original_price": _money(listing.original_price_cents),
        "cost": _money(listing.cost_cents),
        "labels": in_lines(listing.labels),
        "specifics": _json(listing.specifics),
        "overrides": _json(listing.overrides),
        "photos": "\n".join(photos),
    }
    return [_text(values[name]) for name in COLUMNS]


def _money(cents: int | None) -> str:
    return "" if cents is None else f"{cents // 100}.{cents % 100:02d}"


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if value else ""


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return "" if value is None else str(value)
