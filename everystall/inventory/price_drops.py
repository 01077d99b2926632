"""Prices that fall by themselves: so much every so many days, never below a floor, while a listing is live.

A step is made once: under the locks of its listing, with its number as the key of its row, in the transaction
of the edit that it is. Steps that were missed, while no worker ran, are not made up for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database
from everystall.inventory import price_changes
from everystall.inventory.price_changes import Wish
from everystall.inventory.publications import lock_all
from everystall.models import PriceDrop, PriceStep

log = structlog.get_logger()

#: Listings that one tick looks at: it is a short thing (1 s). The next one goes on.
MOST = 50


@dataclass(frozen=True)
class Next:
    """The next step of a listing."""

    listing_id: UUID
    at: datetime
    #: Cents that it will cost then, as things stand.
    price: int
    #: Its number: the n-th of this listing.
    number: int
    #: Why the step before was not made; None: it was.
    refused: str | None


#: A listing's own schedule goes before the seller's. The days count from when that was set, the listing was
#: last posted, or the last step: from the latest. Sold, ended, or at the floor: there is no next.
_NEXT = """
    SELECT l.id, l.price_cents, d.percent, d.cents, d.floor_cents, coalesce(step.number, 0) + 1 AS number,
           step.refused,
           greatest(d.began_at, live.since, step.made_at) + make_interval(days => d.every_days) AS at
    FROM listings l
    JOIN LATERAL (SELECT * FROM price_drops d WHERE d.listing_id = l.id OR d.listing_id IS NULL
                  ORDER BY d.listing_id NULLS LAST LIMIT 1) d ON true
    JOIN LATERAL (SELECT min(p.asked_at) AS since FROM publications p
                  WHERE p.listing_id = l.id AND p.wanted = 'live' AND p.put = 'live') live
        ON live.since IS NOT NULL
    LEFT JOIN LATERAL (SELECT s.number, s.made_at, s.refused FROM price_steps s WHERE s.listing_id = l.id
                       ORDER BY s.number DESC LIMIT 1) step ON true
    WHERE l.delete_asked_at IS NULL AND l.quantity > l.quantity_sold AND l.price_cents > d.floor_cents
"""
_OF_LISTINGS = text(f"{_NEXT} AND l.id = ANY(:ids)")
_COMING = text(f"SELECT * FROM ({_NEXT}) n ORDER BY at, id LIMIT :most")
_DUE = text(f"""
    SELECT id FROM ({_NEXT} AND d.id = :drop AND (CAST(:listing AS uuid) IS NULL OR l.id = :listing)) n
    WHERE at <= now() ORDER BY at, id LIMIT :most
""")


def lowered(price: int, percent: int, cents: int, floor: int) -> int:
    """One step down from a price above the floor: `percent` hundredths of a per cent and `cents` less, at
    least a cent; whole dollars stay whole dollars, so that a marketplace that takes no others takes it."""
    found = min(price - 1, price - (price * percent + 5_000) // 10_000 - cents)
    if price % 100 == 0:
        found = found // 100 * 100
    return max(found, floor)


async def next_of(session: AsyncSession, listing_ids: Sequence[UUID]) -> Mapping[UUID, Next]:
    """Those of these listings that have a next step. One query."""
    rows = await session.execute(_OF_LISTINGS, {"ids": list(listing_ids)})
    return {row.id: _next(row) for row in rows}


async def coming(session: AsyncSession, most: int) -> list[Next]:
    """What falls next, the soonest first. One query."""
    return [_next(row) for row in await session.execute(_COMING, {"most": most})]


def _next(row: Row[Any]) -> Next:
    price = lowered(row.price_cents, row.percent, row.cents, row.floor_cents)
    return Next(row.id, row.at, price, row.number, row.refused)


async def lower_due(db: Database) -> int:
    """Makes the steps that are due, of so many listings at most; how many."""
    made, left = 0, MOST
    while left > 0:
        async with db.as_app() as session:
            taken = (await session.execute(text("SELECT * FROM everystall.take_drop()"))).one_or_none()
        if taken is None:
            break
        async with db.as_user(taken.user_id) as session:
            ids = await _due(session, taken.id, left)
        for listing_id in ids:
            async with db.as_user(taken.user_id) as session:
                made += await _step(session, taken.id, listing_id)
        left -= max(1, len(ids))
    return made


async def _due(session: AsyncSession, drop_id: UUID, most: int) -> list[UUID]:
    """The listings of this schedule that are due. If there are more, it is taken again at the next tick."""
    drop = await session.get(PriceDrop, drop_id)
    if drop is None:
        return []
    asked = {"drop": drop_id, "listing": drop.listing_id, "most": most + 1}
    found = list((await session.execute(_DUE, asked)).scalars())
    if len(found) > most:
        again = update(PriceDrop).where(PriceDrop.id == drop_id).values(next_look_at=func.now())
        await session.execute(again)
    return found[:most]


async def _step(session: AsyncSession, drop_id: UUID, listing_id: UUID) -> bool:
    """One step, if it is still due now that nobody else can change the listing."""
    await lock_all(session, [listing_id])
    asked = {"drop": drop_id, "listing": listing_id, "most": 1}
    if (await session.execute(_DUE, asked)).first() is None:
        return False
    step = (await next_of(session, [listing_id]))[listing_id]
    wish = Wish("set", price=step.price, leaves_lower=True)
    (change,) = await price_changes.look(session, [listing_id], wish)
    refused = " ".join(change.refused) or None
    session.add(
        PriceStep(
            user_id=change.listing.user_id, listing_id=listing_id, number=step.number,
            before_cents=change.before, after_cents=step.price, refused=refused,
        )
    )  # fmt: skip
    if refused is None:
        await price_changes.make(session, change)
    log.info("price.dropped", listing_id=str(listing_id), number=step.number, refused=refused is not None)
    return refused is None


async def steps_of(session: AsyncSession, listing_id: UUID) -> list[PriceStep]:
    """The last ones, newest first."""
    rows = await session.scalars(
        select(PriceStep)
        .where(PriceStep.listing_id == listing_id)
        .order_by(PriceStep.number.desc())
        .limit(100)
    )
    return list(rows)
