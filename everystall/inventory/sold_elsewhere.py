"""What its seller sold elsewhere (a shop, a stall, another site) and says so. It does what any sale does, in
one transaction: the sale's row, how many are left, what is wanted gone from the marketplaces, the wake-ups.

Its seller may take it back; then it is as if an order had been cancelled, and put back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.db import Database
from everystall.errors import BadRequest, Conflict, EverystallError, NotFound
from everystall.inventory import bulk, double_sales
from everystall.inventory.bulk import Done, Line
from everystall.inventory.cancelled_sales import put_back
from everystall.inventory.listings import find_listing
from everystall.inventory.publications import lock_all, public_ids
from everystall.inventory.sale_effects import fewer_elsewhere
from everystall.inventory.sellers_day import now_of_seller
from everystall.models import Listing, Sale
from everystall.notify import messages

log = structlog.get_logger()

#: Days that a sale may lie back.
MOST_DAYS = 3650
#: Of the clocks that are farthest ahead of UTC.
_AHEAD = timedelta(hours=14)


@dataclass(frozen=True)
class Told:
    """What the seller says of it; amounts in cents, `price` of all of them together."""

    sold_on: date
    price: int | None = None
    fee: int | None = None
    place: str | None = None
    quantity: int = 1


def latest_day(now: datetime) -> date:
    """The last one that has begun: where the seller is, or, where that is UTC and so perhaps not known,
    anywhere."""
    return (now if now.tzinfo != ZoneInfo("UTC") else now + _AHEAD).date()


def check_day(day: date, now: datetime) -> date:
    """Raises BadRequest for one that has not begun, or is long ago; `now` is in the seller's time zone."""
    if not now.date() - timedelta(days=MOST_DAYS) <= day <= latest_day(now):
        raise BadRequest("That is no day on which it can have sold.", action="Write today, or a day before.")
    return day


async def mark(session: AsyncSession, listing_id: UUID, told: Told, key: str | None = None) -> Sale:
    """Raises NotFound; Conflict where there are not so many left. The same `key` again is the first sale."""
    check_day(told.sold_on, await now_of_seller(session))
    await lock_all(session, [listing_id])
    listing = await find_listing(session, listing_id)
    given: dict[str, UUID] = {"id": uuid5(listing.user_id, f"sold {listing_id} {key}")} if key else {}
    if given and (known := await session.get(Sale, given["id"])) is not None:
        return known
    left = listing.quantity - listing.quantity_sold
    if listing.delete_asked_at is not None:
        raise Conflict("The whole listing is being deleted.", action="Stop deleting it first.")
    if told.quantity > left:
        raise Conflict(
            "It is sold already: none is left." if left <= 0 else f"Only {left} of it are left.",
            action="Look at it under Sales; raise its quantity if you have more.",
        )
    sale = Sale(
        user_id=listing.user_id, listing_id=listing.id, told_by="seller", title=listing.title or "",
        quantity=told.quantity, counted=told.quantity, price_cents=told.price, fee_cents=told.fee,
        place=told.place, sold_at=datetime.combine(told.sold_on, time(12), UTC), category=listing.category,
        cost_cents=listing.cost_cents, **given,
    )  # fmt: skip
    session.add(sale)
    listing.quantity_sold += told.quantity
    await session.flush()
    await session.refresh(sale)
    log.info("sale.marked", listing_id=str(listing.id), left=left - told.quantity)
    await _tell(session, sale, listing, takenBack=False)
    await fewer_elsewhere(session, listing, sale)
    return sale


async def take_back(session: AsyncSession, sale_id: UUID) -> Sale:
    """It was not sold: what it had is for sale again, and posted again where it was taken down because of it.
    Raises NotFound; Conflict where it is taken back already, or is an order of a marketplace."""
    sale = await session.get(Sale, sale_id)
    if sale is None:
        raise NotFound
    if sale.told_by != "seller":
        raise Conflict("That is an order of a marketplace.", action="Cancel it there; we see that.")
    if sale.listing_id is not None:
        await lock_all(session, [sale.listing_id])
    await session.refresh(sale, with_for_update=True)
    if sale.cancelled_at is not None:
        raise Conflict("It is taken back already.", action="Load the page again.")
    sale.cancelled_at = sale.settled_at = func.now()
    await session.flush()
    again: Sequence[UUID] = ()
    listing = await session.get(Listing, sale.listing_id) if sale.listing_id is not None else None
    if listing is not None:
        await double_sales.pass_on(session, sale)
        if listing.delete_asked_at is None:
            again = await put_back(session, listing.id, [sale])
        await _tell(session, sale, listing, takenBack=True, postedAgainOn=await public_ids(session, again))
    await session.refresh(sale)
    await engine.wake(session, again)
    return sale


async def _tell(session: AsyncSession, sale: Sale, listing: Listing, **more: Any) -> None:
    def money(cents: int | None) -> dict[str, Any] | None:
        return None if cents is None else {"amount": cents, "currency": sale.currency}

    data = {
        "listingId": str(listing.id), "saleId": str(sale.id), "title": sale.title,
        "price": money(sale.price_cents), "fees": money(sale.fee_cents), "quantity": sale.quantity,
        "place": sale.place, "soldAt": sale.sold_at.isoformat() if sale.sold_at else None,
        "left": listing.quantity - listing.quantity_sold,
    }  # fmt: skip
    await messages.record(session, sale.user_id, "sale.marked", data | more)


# ---- many at once ---------------------------------------------------------------------------------


def look(listings: Sequence[Listing]) -> list[Line]:
    """Of which one may be marked. What is live of it stands in `bulk.look_at_ending`."""
    lines = [Line(listing) for listing in listings]
    for line in lines:
        if line.listing.delete_asked_at is not None:
            line.reasons.append("It is being taken down everywhere and deleted.")
        elif line.listing.quantity_sold >= line.listing.quantity:
            line.left.append("It is sold already.")
        else:
            line.places.append(("", str(line.listing.id)))
    return lines


async def mark_all(
    db: Database, user_id: UUID, lines: Sequence[Line], told: dict[UUID, Told], key: str
) -> tuple[Done, list[str]]:
    """One of each; and the sales."""
    made = list[str]()

    async def mark_one(line: Line) -> list[str]:
        async with db.as_user(user_id) as session:
            sale = await mark(session, line.listing.id, told[line.listing.id], key)
        made.append(str(sale.id))
        return []

    return await bulk.each(lines, mark_one), made


async def take_all_back(db: Database, user_id: UUID, sale_ids: Sequence[UUID]) -> tuple[int, int]:
    """(how many were taken back, how many are the seller's); NotFound if none is."""
    back, found = 0, 0
    for id in sale_ids:
        try:
            async with db.as_user(user_id) as session:
                await take_back(session, id)
        except NotFound:
            continue
        except EverystallError:
            found += 1
        else:
            found, back = found + 1, back + 1
    if not found:
        raise NotFound
    return back, found
