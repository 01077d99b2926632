"""Prices that fall by themselves: so much every so many days, while a listing is live; never below a floor,
neither the listing's price, nor what the rule for a marketplace makes of it.

A step is made once: under the locks of its listing, with its number as the key of its row, in the transaction
of the edit that it is. Steps that were missed, while no worker ran, are not made up for.
"""

from __future__ import annotations

from bisect import bisect_left
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
from everystall.inventory.listings import facts_with
from everystall.inventory.price_changes import Change, Wish
from everystall.inventory.pricing import dollars, price_at
from everystall.inventory.publications import lock_all
from everystall.logs import chore
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import Money
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
    #: Cents below which it never falls.
    floor: int
    #: Its number: the n-th of this listing.
    number: int
    #: Why the step before was not made; None: it was.
    refused: str | None


#: A listing's own schedule goes before the seller's. The days count from when that was set, since when it is
#: for sale (posted where it is live the longest), or the last step: from the latest. One more marketplace,
#: and a relist, which keeps the price, begin nothing anew: what is relisted more often would never fall.
#: Sold, ended, or at the floor: there is no next. Where it is live on a marketplace of whole dollars, the
#: floor is the next whole dollar.
_NEXT = """
    SELECT l.id, l.price_cents, d.percent, d.cents, f.floor_cents, coalesce(step.number, 0) + 1 AS number,
           step.refused,
           greatest(d.began_at, live.since, step.made_at) + make_interval(days => d.every_days) AS at
    FROM listings l
    JOIN LATERAL (SELECT * FROM price_drops d WHERE d.listing_id = l.id OR d.listing_id IS NULL
                  ORDER BY d.listing_id NULLS LAST LIMIT 1) d ON true
    JOIN LATERAL (SELECT min(p.asked_at) AS since, bool_or(p.marketplace = ANY(:whole)) AS whole
                  FROM publications p
                  WHERE p.listing_id = l.id AND p.wanted = 'live' AND p.put = 'live') live
        ON live.since IS NOT NULL
    CROSS JOIN LATERAL (SELECT CASE WHEN live.whole THEN (d.floor_cents + 99) / 100 * 100
                               ELSE d.floor_cents END AS floor_cents) f
    LEFT JOIN LATERAL (SELECT s.number, s.made_at, s.refused FROM price_steps s WHERE s.listing_id = l.id
                       ORDER BY s.number DESC LIMIT 1) step ON true
    WHERE l.delete_asked_at IS NULL AND l.quantity > l.quantity_sold AND l.price_cents > f.floor_cents
"""
_WHOLE = [name for name in MARKETPLACES if get_form(name).LIMITS.whole_dollars]
_OF_LISTINGS = text(f"{_NEXT} AND l.id = ANY(:ids)").bindparams(whole=_WHOLE)
_COMING = text(f"SELECT * FROM ({_NEXT}) n ORDER BY at, id LIMIT :most").bindparams(whole=_WHOLE)
_DUE = text(f"""
    SELECT id FROM ({_NEXT} AND d.id = :drop AND (CAST(:listing AS uuid) IS NULL OR l.id = :listing)) n
    WHERE at <= now() ORDER BY at, id LIMIT :most
""").bindparams(whole=_WHOLE)


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
    return Next(row.id, row.at, price, row.floor_cents, row.number, row.refused)


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
            with chore("price drop", user_id=taken.user_id, listing_id=listing_id):
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
    change = await _look(session, listing_id, step.price)
    price, refused = _held(change, step), " ".join(change.refused) or None
    if price == change.before:
        refused = f"By your rule for a marketplace it would cost less than {dollars(step.floor)} there."
    elif price != step.price:
        change = await _look(session, listing_id, price)
        refused = " ".join(change.refused) or None
    session.add(
        PriceStep(
            user_id=change.listing.user_id, listing_id=listing_id, number=step.number,
            before_cents=change.before, after_cents=change.after, refused=refused,
        )
    )  # fmt: skip
    if refused is None:
        await price_changes.make(session, change)
    log.info("price.dropped", listing_id=str(listing_id), number=step.number, refused=refused is not None)
    return refused is None


async def _look(session: AsyncSession, listing_id: UUID, price: int) -> Change:
    wish = Wish("set", price=price, leaves_lower=True)
    return (await price_changes.look(session, [listing_id], wish))[0]


def _held(change: Change, step: Next) -> int:
    """The step's price, or the lowest above it of which no rule makes less than the floor; at most the price
    as it is."""
    facts, before = facts_with(change.listing, ()), change.before or step.price

    def holds(price: int) -> bool:
        at = facts.model_copy(update={"price": Money(amount=price, currency=change.listing.currency)})
        found = [price_at(one.publication.marketplace, at, one.rule) for one in change.there]
        return all(one.price >= step.floor for one in found if one is not None and one.by == "rule")

    prices = range(step.price, before, 1 if step.price % 100 or before % 100 else 100)
    place = bisect_left(prices, True, key=holds)
    return prices[place] if place < len(prices) else before


async def steps_of(session: AsyncSession, listing_id: UUID) -> list[PriceStep]:
    """The last ones, newest first."""
    rows = await session.scalars(
        select(PriceStep)
        .where(PriceStep.listing_id == listing_id)
        .order_by(PriceStep.number.desc())
        .limit(100)
    )
    return list(rows)
