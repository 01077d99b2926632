"""More was sold than there was: always found, since each order counts. The earlier order has it; the seller
gets both, until when the later must be sent or cancelled, and a text for its buyer. We cancel no order.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.inventory import orders
from everystall.inventory.publications import ask_first, change, needs_you, still_asked
from everystall.marketplaces import MARKETPLACES
from everystall.models import Connection, DoubleSale, Publication, Sale
from everystall.notify import messages

log = structlog.get_logger()

#: Two days without their hours, in time zones that nobody knows, are told apart by more than this.
DAYS_APART = timedelta(days=2)
REASON = "sold_twice"


async def tell(session: AsyncSession, publication: Publication, sale: Sale) -> None:
    """This sale was of more than was left."""
    other = await session.scalar(
        select(Sale)
        .where(Sale.listing_id == sale.listing_id, Sale.id != sale.id, Sale.cancelled_at.is_(None),
               Sale.settled_at.is_(None))
        .order_by(Sale.observed_at.desc(), Sale.id)
        .limit(1)
    )  # fmt: skip
    earlier, later = (other, sale) if other is None or _came_first(other, sale) else (sale, other)
    if earlier is sale and other is not None:  # it came first, and was seen second
        passed = min(other.counted, sale.quantity - sale.counted)
        other.counted, sale.counted = other.counted - passed, sale.counted + passed
    session.add(DoubleSale(user_id=sale.user_id, listing_id=sale.listing_id, later_id=later.id,
                           earlier_id=earlier.id if earlier is not None else None))  # fmt: skip
    log.warning("sale.double", listing_id=str(sale.listing_id))
    accounts = await orders.accounts_of(session, filter(None, (earlier, later)))
    data = {"listingId": str(sale.listing_id), **sides(earlier, later, accounts)}
    await messages.record(session, sale.user_id, "sale.double", data)
    lost = publication
    if later.publication_id is not None and later.publication_id != publication.id:
        lost = await session.get_one(Publication, later.publication_id)
    account = await session.get_one(Connection, lost.connection_id)
    label, by = MARKETPLACES[lost.marketplace], data["deadline"]["by"]
    said = (
        f"It was sold more often than you have it. This order on {label} came later: tell the buyer, and "
        f"cancel it there yourself, or send another{_until(by)} We cancel nothing."
    )
    asked = needs_you(lost, account.public_id, REASON, said, lost.url)
    more = {"deadline": data["deadline"], "letterToBuyer": data["letterToBuyer"], "saleId": str(later.id)}
    await change(session, lost, needs_you=ask_first(lost, asked | more))


def sides(earlier: Sale | None, later: Sale, accounts: Mapping[UUID, Connection]) -> dict[str, Any]:
    """Both orders, and what is to be done about the later one."""
    later_side = orders.described(later, accounts)
    return {
        "earlier": orders.described(earlier, accounts) if earlier is not None else None,
        "later": later_side,
        "deadline": orders.deadline_of(later, later_side["marketplace"]),
        "letterToBuyer": orders.letter_to_buyer(later),
    }


async def pass_on(session: AsyncSession, cancelled: Sale) -> None:
    """What the cancelled order had of the listing goes to those that came too late; what is left it keeps.
    Nobody is asked any more about an order that can be sent now, or is cancelled."""
    left = cancelled.counted
    late = await session.scalars(
        select(Sale)
        .where(Sale.listing_id == cancelled.listing_id, Sale.id != cancelled.id, Sale.cancelled_at.is_(None),
               Sale.settled_at.is_(None), Sale.publication_id.is_not(None), Sale.counted < Sale.quantity)
        .order_by(Sale.observed_at, Sale.id)
    )  # fmt: skip
    over = [cancelled.id]
    for sale in late.all():
        passed = min(left, sale.quantity - sale.counted)
        left, sale.counted = left - passed, sale.counted + passed
        if sale.counted == sale.quantity:
            over.append(sale.id)
    cancelled.counted = left
    await session.flush()
    await session.execute(
        update(DoubleSale)
        .where(DoubleSale.later_id.in_(over), DoubleSale.settled_at.is_(None))
        .values(settled_at=func.clock_timestamp())
    )
    settled = {str(id) for id in over}
    asked = await session.scalars(
        select(Publication)
        .where(Publication.id.in_(select(Sale.publication_id).where(Sale.id.in_(over))),
               Publication.needs_you.is_not(None))
        .order_by(Publication.id)
    )  # fmt: skip
    for publication in asked.all():
        still = still_asked(publication, lambda one: one["reason"] == REASON and one.get("saleId") in settled)
        if still != publication.needs_you:
            await change(session, publication, needs_you=still)


def _came_first(one: Sale, other: Sale) -> bool:
    """By the marketplaces' own times where they tell them apart, else by when we saw them. What was sold
    elsewhere is handed over already, so it has it."""
    if one.connection_id is None:
        return True
    if one.sold_at is not None and other.sold_at is not None:
        apart = timedelta(0) if one.sold_at_exact and other.sold_at_exact else DAYS_APART
        if abs(one.sold_at - other.sold_at) > apart:
            return one.sold_at < other.sold_at
    return one.observed_at <= other.observed_at


def _until(by: str | None) -> str:
    if by is None:
        return "; until when, the order's own page there says."
    return f", by {datetime.fromisoformat(by):%B %-d, %Y}."
