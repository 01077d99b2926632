"""Deleted listings: what went with a listing's row is kept for some days, and put back as it was.

Where listings are sought, brought in, compared or exported, a deleted one is none: its row is gone. What it
had on marketplaces (nothing is live of it) does not come back with it.
All functions run inside the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Table, delete, func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import NotFound
from everystall.models import (
    DeletedListing,
    DoubleSale,
    Job,
    Listing,
    ListingPhoto,
    ListingSource,
    PriceDrop,
    PriceStep,
    Sale,
)

#: Days in which one may be restored. Migration 0056 keeps photos for as long, and a little more.
DAYS: Final = 30
#: Of one page.
PAGE: Final = 100
#: What names a listing, and outlives it.
FOLLOWS: Final[tuple[Any, ...]] = (Sale, DoubleSale, Job)
#: What goes with the row.
KEPT: Final = (ListingPhoto, PriceDrop, PriceStep)


@dataclass(frozen=True)
class Deleted:
    """As far as it is shown."""

    id: UUID
    title: str | None
    sku: str | None
    price_cents: int | None
    deleted_at: datetime

    @property
    def until(self) -> datetime:
        return self.deleted_at + timedelta(days=DAYS)


# ---- deleting, and the way back ---------------------------------------------------------------------


async def throw_away(session: AsyncSession, listing: Listing) -> None:
    """Deletes the listing, locked and live nowhere."""
    await session.flush()
    described = await describe(session, listing)
    described["listing"]["delete_asked_at"] = None
    session.add(DeletedListing(id=listing.id, user_id=listing.user_id, described=described))
    await session.delete(listing)
    await session.flush()


async def restore(session: AsyncSession, id: UUID) -> UUID:
    """The seller's listing as it was, live nowhere. Raises NotFound: there is none, or its time is over."""
    there = delete(DeletedListing).where(DeletedListing.id == id, _in_time())
    taken = there.returning(DeletedListing.described, DeletedListing.deleted_at)
    found = (await session.execute(taken)).first()
    if found is None:
        raise NotFound
    described, row = found.described, dict(found.described["listing"])
    back = await _taken_back(session, described["sales"], found.deleted_at)
    row["quantity_sold"] = max(0, row["quantity_sold"] - back)
    await put_back(session, Listing, [row])
    for model in KEPT:
        await put_back(session, model, described[model.__tablename__])
    # another import may have brought it in again: then that is where its source leads
    sources = [{**row, "import_id": None} for row in described["listing_sources"]]
    await put_back(session, ListingSource, sources, unless_there=True)
    for model in FOLLOWS:
        await session.execute(
            update(model)
            .where(model.id.in_(described[model.__tablename__]), model.listing_id.is_(None))
            .values(listing_id=id)
            .execution_options(synchronize_session=False)
        )
    return id


async def _taken_back(session: AsyncSession, sales: Sequence[str], since: datetime) -> int:
    """How many its seller marked as sold, and took back since: they are for sale again."""
    gone = (
        select(Sale.id, Sale.counted)
        .where(Sale.id.in_(sales), Sale.told_by == "seller", Sale.cancelled_at >= since, Sale.counted > 0)
        .with_for_update()
    )
    found = (await session.execute(gone)).all()
    await session.execute(
        update(Sale)
        .where(Sale.id.in_([id for id, _ in found]))
        .values(counted=0)
        .execution_options(synchronize_session=False)
    )
    return sum(counted for _, counted in found)


def _in_time() -> ColumnElement[bool]:
    return DeletedListing.deleted_at > func.now() - timedelta(days=DAYS)


# ---- what there is ----------------------------------------------------------------------------------

_ROW: Final = DeletedListing.described["listing"]
_SHOWN: Final = (
    DeletedListing.id,
    _ROW["title"].astext.label("title"),
    _ROW["sku"].astext.label("sku"),
    _ROW["price_cents"].as_integer().label("price_cents"),
    DeletedListing.deleted_at,
)


async def find_deleted(session: AsyncSession, id: UUID) -> Deleted | None:
    """The seller's, that may be restored."""
    row = (await session.execute(select(*_SHOWN).where(DeletedListing.id == id, _in_time()))).first()
    return Deleted(**row._mapping) if row else None


async def deleted_of(
    session: AsyncSession, after: tuple[datetime, UUID] | None = None, most: int = PAGE
) -> tuple[list[Deleted], tuple[datetime, UUID] | None]:
    """The seller's, the latest first; and where they end, if there are more."""
    order = tuple_(DeletedListing.deleted_at, DeletedListing.id)
    wanted = select(*_SHOWN).where(_in_time())
    if after is not None:
        wanted = wanted.where(order < tuple_(*after))
    wanted = wanted.order_by(DeletedListing.deleted_at.desc(), DeletedListing.id.desc()).limit(most + 1)
    found = [Deleted(**row._mapping) for row in await session.execute(wanted)]
    last = found[most - 1] if len(found) > most else None
    return found[:most], (last.deleted_at, last.id) if last else None


# ---- rows as JSON -----------------------------------------------------------------------------------


async def describe(session: AsyncSession, listing: Listing) -> dict[str, Any]:
    """All that goes with the listing's row, as it stands in the database; of what outlives it the ids."""
    (row,) = await _as_json(session, "listings", "id", listing.id)
    found: dict[str, Any] = {"listing": row}
    for model in (*KEPT, ListingSource):
        name = model.__tablename__
        found[name] = await _as_json(session, name, "listing_id", listing.id)
    for follows in FOLLOWS:
        ids = await session.scalars(select(follows.id).where(follows.listing_id == listing.id))
        found[follows.__tablename__] = [str(id) for id in ids]
    return found


async def put_back(
    session: AsyncSession, model: Any, rows: Sequence[Mapping[str, Any]], *, unless_there: bool = False
) -> None:
    """Rows as `describe` has them. `unless_there`: one that is there by now stays."""
    table: Table = model.__table__
    known = [column.name for column in table.columns if column.computed is None]
    for row in rows:
        names = ", ".join(name for name in known if name in row)  # one of before a column came has it not
        await session.execute(
            text(f"INSERT INTO {table.name} ({names}) SELECT {names} "
                 f"FROM jsonb_populate_record(NULL::{table.name}, CAST(:row AS jsonb))"
                 + (" ON CONFLICT DO NOTHING" if unless_there else "")),
            {"row": json.dumps(row)},
        )  # fmt: skip


async def _as_json(session: AsyncSession, table: str, column: str, id: UUID) -> list[dict[str, Any]]:
    rows = await session.scalars(
        text(f"SELECT to_jsonb(t) FROM {table} t WHERE t.{column} = :id"), {"id": id}
    )
    return list(rows)
