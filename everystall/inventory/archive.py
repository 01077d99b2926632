"""A seller's inventory as one zip that is made while it is sent: the CSV (transfer.py), JSON with all that is
known of it, and the original photos. Of photos one is held at a time.

A transaction per batch: none is open while the file goes over somebody's slow line.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic.alias_generators import to_camel
from sqlalchemy import Row, select, tuple_

from everystall.content.photos import Photos
from everystall.db import Database
from everystall.errors import PhotoMissing
from everystall.inventory.transfer import BATCH, csv_lines
from everystall.models import (
    Base,
    Connection,
    Listing,
    ListingPhoto,
    ListingTemplate,
    NoticeRules,
    PriceDrop,
    PriceRule,
    Publication,
    RelistRule,
    Sale,
    SaleRules,
    SavedView,
)

log = structlog.get_logger()

LISTINGS: Final = "listings.csv"
INVENTORY: Final = "inventory.json"
#: In the JSON, between what is said of the account and the long rest of it.
BEFORE_LISTINGS: Final = ', "listings": ['
PHOTOS: Final = "photos/"
#: Names the photos that the store has lost; only there if one is.
MISSING: Final = "missing-photos.txt"
_ENDINGS: Final = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif",
                   "image/heic": "heic", "image/avif": "avif"}  # fmt: skip
#: Listings that are described at once, with up to 40 photos each.
AT_ONCE: Final = 50
#: Whose a row is, and what is nobody's business outside: keys, and what visits keep for themselves.
_LEFT_OUT: Final = {"user_id", "publication_id", "connection_id", "next_try_at", "tries", "unsettled",
                    "lower_asked_at", "lower_told_at", "end_by_delete", "next_look_at", "words",
                    "version"}  # fmt: skip
_RULES: Final[Mapping[str, type[Base]]] = {
    "priceRules": PriceRule, "priceDrops": PriceDrop, "relistRules": RelistRule,
    "saleRules": SaleRules, "savedViews": SavedView, "templates": ListingTemplate, "noticeRules": NoticeRules,
}  # fmt: skip
_PARTS: Final[Mapping[str, Any]] = {
    "photos": (ListingPhoto, ListingPhoto.position), "publications": (Publication, Publication.created_at),
    "sales": (Sale, Sale.observed_at),
}  # fmt: skip


class _Pipe:
    """Takes what a zip writes, for whoever sends it on. It cannot be read or wound back."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """There is nothing behind it."""

    def close(self) -> None:
        """Nor here."""

    def take(self) -> bytes:
        taken, self._written = b"".join(self._written), []
        return taken


async def pack(db: Database, photos: Photos, user_id: UUID) -> AsyncIterator[bytes]:
    """The zip, piece by piece. What stops it halfway is raised: a zip that ends early is none."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as made:
        for name, text in ((LISTINGS, csv_lines(db, user_id)), (INVENTORY, _json(db, user_id))):
            with made.open(name, "w", force_zip64=True) as file:
                async for piece in text:
                    file.write(piece.encode())
                    yield pipe.take()
        lost = []
        async for sha256, content_type in _originals(db, user_id):
            try:
                data = await photos.get(sha256)
            except PhotoMissing:
                lost.append(sha256)
                continue
            name = f"{PHOTOS}{sha256}.{_ENDINGS.get(content_type, 'bin')}"
            made.writestr(name, data, zipfile.ZIP_STORED)
            yield pipe.take()
        if lost:
            log.error("export.photos_lost", number=len(lost))
            made.writestr(MISSING, "\n".join(lost))
    yield pipe.take()


async def _originals(db: Database, user_id: UUID) -> AsyncIterator[tuple[str, str]]:
    """(hash, type) of each photo, once."""
    known: set[str] = set()
    wanted = select(
        ListingPhoto.listing_id, ListingPhoto.position, ListingPhoto.sha256, ListingPhoto.content_type
    ).order_by(ListingPhoto.listing_id, ListingPhoto.position).limit(BATCH)  # fmt: skip
    batch = wanted
    while True:
        async with db.as_user(user_id) as session:
            rows = (await session.execute(batch)).all()
        for row in rows:
            if row.sha256 not in known:
                known.add(row.sha256)
                yield row.sha256, row.content_type
        if len(rows) < BATCH:
            return
        last = (rows[-1].listing_id, rows[-1].position)
        batch = wanted.where(tuple_(ListingPhoto.listing_id, ListingPhoto.position) > tuple_(*last))


async def _json(db: Database, user_id: UUID) -> AsyncIterator[str]:
    """One object; its listings are the long part of it, and come batch by batch."""
    async with db.as_user(user_id) as session:
        found = await session.execute(select(Connection.id, Connection.public_id))
        accounts = {row.id: row.public_id for row in found}
        rules = {
            name: (await session.execute(select(*table.__table__.columns))).all()
            for name, table in _RULES.items()
        }
    head: dict[str, Any] = {"everystall": 1, "exportedAt": datetime.now(UTC).isoformat()} | {
        name: [_told(row) for row in rows] for name, rows in rules.items()
    }
    for told, row in zip(head["saleRules"], rules["saleRules"], strict=True):
        told["lastUnitOn"] = accounts.get(row.last_unit_on)
    yield json.dumps(head, ensure_ascii=False)[:-1] + BEFORE_LISTINGS
    wanted = select(*Listing.__table__.columns).order_by(Listing.created_at, Listing.id).limit(AT_ONCE)
    batch, before = wanted, ""
    while True:
        async with db.as_user(user_id) as session:
            listings = (await session.execute(batch)).all()
            ids = [listing.id for listing in listings]
            parts = {
                name: (await session.execute(
                    select(*table.__table__.columns).where(table.listing_id.in_(ids)).order_by(order)
                )).all()
                for name, (table, order) in _PARTS.items()
            }  # fmt: skip
        for one in _described(listings, parts, accounts):  # and no transaction is open meanwhile
            yield before + json.dumps(one, ensure_ascii=False)
            before = ",\n"
        if len(listings) < AT_ONCE:
            break
        last = (listings[-1].created_at, listings[-1].id)
        batch = wanted.where(tuple_(Listing.created_at, Listing.id) > tuple_(*last))
    yield "]}\n"


def _described(
    listings: Sequence[Row[Any]], parts: Mapping[str, Sequence[Row[Any]]], accounts: Mapping[UUID, str]
) -> Iterator[dict[str, Any]]:
    """Each with its photos, where it is or was, and what of it was sold."""
    found: dict[tuple[str, UUID], list[dict[str, Any]]] = {}
    for name, rows in parts.items():
        for row in rows:
            account = {"browserProfileId": accounts.get(row.connection_id)} if name != "photos" else {}
            found.setdefault((name, row.listing_id), []).append(account | _told(row))
    for listing in listings:
        yield _told(listing) | {name: found.get((name, listing.id), []) for name in parts}


def _told(row: Row[Any]) -> dict[str, Any]:
    """Under the API's names."""
    return {to_camel(name): _plain(value) for name, value in row._mapping.items() if name not in _LEFT_OUT}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value) if isinstance(value, UUID) else value
