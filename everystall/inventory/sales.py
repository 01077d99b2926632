"""What is sold, whoever saw it first: the account's list of orders, or the listing's own page.

One transaction: the sale's row, what it does (sale_effects.py), the event, the wake-ups. An order has its
effect once, however often it is read. Nothing here touches a marketplace, and no order is ever cancelled by
us.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.inventory import cancelled_sales, double_sales, sale_effects
from everystall.inventory.listings import forget_listing_if_over
from everystall.inventory.publications import change, lock_with_others, still_asked
from everystall.marketplaces import base
from everystall.models import Attempt, Connection, Listing, Publication, Sale

#: Orders of an account that are remembered as known: more than its list shows in one reading.
MOST_KNOWN = 1000
#: Days for which an order may still be cancelled: so long a buyer may wait for what is not sent (Poshmark).
CANCEL_DAYS = 21


@dataclass(frozen=True)
class Known:
    """The account's orders that we have met. What one has of one listing is cancelled or not by itself."""

    orders: frozenset[str] = frozenset()
    #: (order, the site's id of the listing), and (order, None) for each that has some: known to be cancelled,
    #: and not known to be.
    cancelled: frozenset[tuple[str, str | None]] = frozenset()
    stand: frozenset[tuple[str, str | None]] = frozenset()
    #: Its list did not show them, read as far as that.
    missing: frozenset[str] = frozenset()


async def known(session: AsyncSession, connection_id: UUID) -> Known:
    found = await session.execute(
        select(Sale.order_id, Sale.remote_id, Sale.cancelled_at.is_not(None),
               or_(Sale.missing_at.is_not(None), Sale.missing_asked_at.is_not(None)))
        .where(Sale.connection_id == connection_id, Sale.order_id.is_not(None))
        .order_by(Sale.observed_at.desc())
        .limit(MOST_KNOWN)
    )  # fmt: skip
    missing = set[str]()
    items: dict[bool, set[tuple[str, str | None]]] = {True: set(), False: set()}
    for order_id, remote_id, cancelled, is_missing in found.all():
        if order_id is not None:
            items[cancelled] |= {(order_id, remote_id), (order_id, None)}
            missing |= {order_id} if is_missing else set()
    orders = frozenset(order_id for order_id, _ in items[True] | items[False])
    return Known(orders, frozenset(items[True]), frozenset(items[False]), frozenset(missing))


async def late(session: AsyncSession, connection_id: UUID, days: int) -> set[str]:
    """Those that we met, and that were made, in the last so many days; but for those that were missing and
    about which that is decided."""
    came = func.least(Sale.sold_at, Sale.observed_at)
    rows = await session.scalars(
        select(Sale.order_id).where(Sale.connection_id == connection_id, Sale.order_id.is_not(None),
                                    came > func.now() - timedelta(days=days),
                                    or_(Sale.missing_asked_at.is_(None),
                                        and_(Sale.cancelled_at.is_(None), Sale.missing_at.is_not(None))))
        .order_by(Sale.observed_at.desc()).limit(MOST_KNOWN)
    )  # fmt: skip
    return {order_id for order_id in rows if order_id is not None}


async def may_be_cancelled(session: AsyncSession, connection_id: UUID) -> frozenset[str]:
    """Orders of what is ours that are not known to be cancelled, nor asked about since they are missing, and
    are not from long ago."""
    came = func.least(Sale.sold_at, Sale.observed_at)
    rows = await session.scalars(
        select(Sale.order_id).where(Sale.connection_id == connection_id, Sale.order_id.is_not(None),
                                    Sale.publication_id.is_not(None), Sale.cancelled_at.is_(None),
                                    Sale.missing_asked_at.is_(None),
                                    came > func.now() - timedelta(days=CANCEL_DAYS))
        .order_by(Sale.observed_at.desc()).limit(MOST_KNOWN)
    )  # fmt: skip
    return frozenset(order_id for order_id in rows if order_id is not None)


async def first_post(session: AsyncSession, connection_id: UUID) -> datetime:
    """When we first posted something on the account, or brought in what stood there: no order from before is
    of that. Now, if never."""
    began = await session.scalar(
        select(func.min(func.coalesce(Attempt.armed_at, Attempt.created_at)))
        .where(Attempt.connection_id == connection_id)
    )  # fmt: skip
    return began or datetime.now(UTC)


async def ours(session: AsyncSession, connection_id: UUID, remote_ids: Collection[str]) -> set[str]:
    """Which of these we posted on the account; also what is deleted since, and whose page said it is sold."""
    posted = select(Attempt.remote_id).where(
        Attempt.connection_id == connection_id, Attempt.remote_id.in_(remote_ids)
    )
    sold = select(Sale.remote_id).where(
        Sale.connection_id == connection_id, Sale.remote_id.in_(remote_ids), Sale.order_id.is_(None)
    )
    found = await session.scalars(posted.union(sold))
    return {remote_id for remote_id in found if remote_id is not None}


async def count_orders(session: AsyncSession, connection_id: UUID, remote_id: str) -> int:
    """Of this listing that we have met."""
    met = select(func.count()).where(Sale.connection_id == connection_id, Sale.remote_id == remote_id)
    return (await session.scalar(met)) or 0


async def remember(session: AsyncSession, connection: Connection, told: Sequence[base.Sale]) -> None:
    """Orders of what is none of ours: written down, so that they are known; nothing else."""
    if told:
        await session.execute(
            insert(Sale).on_conflict_do_nothing(),
            [
                {"user_id": connection.user_id, "connection_id": connection.id, **_columns(one)}
                for one in told
            ],
        )


async def take(session: AsyncSession, connection: Connection, order: Sequence[base.Sale]) -> None:
    """All items of one order. What is known of it already has no second effect."""
    asked = select(Attempt).where(
        Attempt.connection_id == connection.id,
        Attempt.remote_id.in_([one.remote_id for one in order if one.remote_id is not None]),
    )
    attempts = {attempt.remote_id: attempt for attempt in await session.scalars(asked)}
    publications = await lock_with_others(session, [attempt.publication_id for attempt in attempts.values()])
    written = select(Sale.line).where(Sale.connection_id == connection.id, Sale.order_id == order[0].order_id)
    lines = set(await session.scalars(written))
    parts = [part for told in order if told.line not in lines
             for part in await _parts(session, connection, told, lines)]  # fmt: skip
    for told in parts:
        attempt = attempts.get(told.remote_id)
        publication = publications.get(attempt.publication_id) if attempt is not None else None
        seen, had = await _take_place(session, connection, told)
        if seen is not None:
            if told.cancelled and publication is not None:
                await cancelled_sales.settle_cancelled(session, publication, seen)
            elif had < seen.quantity and attempt is not None and publication is not None:
                await session.refresh(attempt)
                await sale_effects.count(session, publication, attempt, seen, had=had)
            continue
        sale_id = await _write(session, connection, told)
        if sale_id is not None and attempt is not None and publication is not None and not told.cancelled:
            await session.refresh(attempt)
            await sale_effects.count(session, publication, attempt, await session.get_one(Sale, sale_id))
    for listing_id in {publication.listing_id for publication in publications.values()}:
        await forget_listing_if_over(session, listing_id)


async def _parts(
    session: AsyncSession, connection: Connection, told: base.Sale, lines: set[int]
) -> list[base.Sale]:
    """The item itself; of several that its page and mails told of one by one, as many parts as these are, so
    that none of them is counted beside it. The first has its line and its price."""
    found = await session.scalars(
        select(Sale.quantity)
        .where(Sale.connection_id == connection.id, Sale.remote_id.is_not(None),
               Sale.remote_id == told.remote_id, Sale.order_id.is_(None))
        .order_by(Sale.quantity.desc())
    )  # fmt: skip
    lines.add(told.line)
    first, parts = told, list[base.Sale]()
    counted = found.all()
    for quantity in counted[1:] if counted and counted[0] < told.quantity else ():
        taken = min(quantity, first.quantity - counted[0])
        if taken > 0:
            parts.append(replace(told, quantity=taken, price=None, line=min(*lines, 0) - 1))
            first = replace(first, quantity=first.quantity - taken)
            lines.add(parts[-1].line)
    return [first, *parts]


async def _write(session: AsyncSession, connection: Connection, told: base.Sale) -> UUID | None:
    """None: it is there already."""
    values = {"user_id": connection.user_id, "connection_id": connection.id, **_columns(told)}
    written = insert(Sale).values(values).on_conflict_do_nothing().returning(Sale.id)
    return (await session.execute(written)).scalar_one_or_none()


async def take_sold_page(session: AsyncSession, publication: Publication, attempt: Attempt) -> None:
    """The listing's own page says that it is sold: of what this attempt posted none is left there. Orders of
    it that came before we knew its id are counted, one that was cancelled before we saw it is settled as
    that, and what no order explains is a sale too."""
    await lock_with_others(session, [publication.id])
    await take_orders(session, publication, attempt)
    if attempt.outcome == "sold":
        return
    there = sale_effects.left_there(attempt)
    cancelled = await _find_passed_by(session, attempt) if there > 0 else None
    if cancelled is not None:
        there -= cancelled.quantity
    if there > 0:
        await _without_order(session, publication, attempt, there, "page")
    if cancelled is not None:
        await sale_effects.count_cancelled(session, publication, attempt, cancelled)
    elif there <= 0:  # all its orders are known
        listing = await session.get_one(Listing, publication.listing_id)
        await sale_effects.all_sold_there(session, publication, attempt, sale_effects.left_of(listing))


async def _find_passed_by(session: AsyncSession, attempt: Attempt) -> Sale | None:
    """The order that was cancelled when we first saw it, lately, and had what this attempt has live."""
    if attempt.outcome not in (None, "live"):
        return None
    found = await session.scalars(
        select(Sale)
        .where(Sale.connection_id == attempt.connection_id, Sale.remote_id == attempt.remote_id,
               Sale.publication_id.is_(None), Sale.listing_id.is_(None), Sale.cancelled_at.is_not(None),
               Sale.settled_at.is_(None), Sale.order_id.is_not(None),
               Sale.observed_at > func.now() - timedelta(days=CANCEL_DAYS))
        .order_by(Sale.observed_at.desc(), Sale.id)
        .limit(1)
    )  # fmt: skip
    return found.first()


async def ordered_since(session: AsyncSession, connection_id: UUID, since: datetime) -> Counter[UUID]:
    """How many orders of each publication were first seen since."""
    rows = await session.execute(
        select(Sale.publication_id, func.count())
        .where(Sale.connection_id == connection_id, Sale.told_by == "orders", Sale.observed_at >= since,
               Sale.publication_id.is_not(None))
        .group_by(Sale.publication_id)
    )  # fmt: skip
    return Counter({id: many for id, many in rows.all() if id is not None})


async def take_mail(session: AsyncSession, publication: Publication, attempt: Attempt) -> None:
    """The marketplace wrote that one was sold, and nobody can look there now."""
    await lock_with_others(session, [publication.id])
    await session.refresh(attempt)
    if attempt.outcome == "live" and sale_effects.left_there(attempt) > 0:
        await _without_order(session, publication, attempt, 1, "mail")


async def _without_order(
    session: AsyncSession, publication: Publication, attempt: Attempt, quantity: int, told_by: str
) -> None:
    """A sale of which no order was seen yet; one that turns up later takes its place."""
    sale = Sale(
        user_id=publication.user_id, connection_id=publication.connection_id, remote_id=attempt.remote_id,
        title=attempt.draft["title"], quantity=quantity, told_by=told_by,
        price_cents=attempt.draft["price"]["amount"], currency=attempt.draft["price"]["currency"],
    )  # fmt: skip
    session.add(sale)
    await session.flush()
    await session.refresh(sale)
    await sale_effects.count(session, publication, attempt, sale)


async def take_orders(session: AsyncSession, publication: Publication, attempt: Attempt) -> None:
    """Its id is known now: orders of it that were remembered as none of ours."""
    if attempt.remote_id is None:
        return
    found = await session.scalars(
        select(Sale)
        .where(Sale.connection_id == attempt.connection_id, Sale.remote_id == attempt.remote_id,
               Sale.publication_id.is_(None), Sale.listing_id.is_(None), Sale.cancelled_at.is_(None),
               Sale.order_id.is_not(None))
        .order_by(Sale.observed_at)
    )  # fmt: skip
    sales = found.all()
    if sales:
        await lock_with_others(session, [publication.id])
    for sale in sales:
        await sale_effects.count(session, publication, attempt, sale)


async def take_put_back(session: AsyncSession, publication: Publication, cancelled: Sale) -> None:
    """The marketplace itself has it for sale again: while some are left it is wanted there, and need not be
    posted; else it goes, as what sold elsewhere does. All is locked."""
    listing = await session.get_one(Listing, publication.listing_id)
    if listing.quantity > listing.quantity_sold and listing.delete_asked_at is None:
        if publication.put == "sold":
            await change(session, publication, wanted="live", wanted_revision=listing.revision)
        return
    publication.wanted = "ended"
    await sale_effects.owe_take_down(session, cancelled, publication, goes=True, decided=True)


async def take_sold_again(
    session: AsyncSession, connection: Connection, order_id: str, remote_id: str | None
) -> None:
    """An order that was cancelled stands, or what it has of one listing: where it is called as its listing
    is, somebody bought what the marketplace had for sale again. So it is a sale like any other."""
    of_order = (*cancelled_sales.items_of(connection, order_id, remote_id), Sale.cancelled_at.is_not(None))
    asked = select(Attempt).where(
        Attempt.connection_id == connection.id, Attempt.remote_id.in_(select(Sale.remote_id).where(*of_order))
    )
    attempts = {attempt.remote_id: attempt for attempt in await session.scalars(asked)}
    publications = await lock_with_others(session, [attempt.publication_id for attempt in attempts.values()])
    rows = await session.scalars(select(Sale).where(*of_order).execution_options(populate_existing=True))
    for sale in rows.all():
        attempt = attempts.get(sale.remote_id)
        publication = publications.get(attempt.publication_id) if attempt is not None else None
        if attempt is None or publication is None:
            _stands(sale)
            continue
        await session.refresh(attempt)
        if attempt.outcome == "unresolved":  # nobody need look whether it is for sale
            attempt.outcome, attempt.next_look_at = "sold", None
        seen, had = await _take_its_place(session, connection, sale)
        if seen is not None:
            await double_sales.pass_on(session, sale)
        else:
            listing = await session.get_one(Listing, publication.listing_id)
            listing.quantity_sold, sale.counted = max(0, listing.quantity_sold - sale.counted), 0
            seen = _stands(sale)
        await session.flush()
        await session.refresh(seen)
        if not await cancelled_sales.unanswered(session, publication):
            await change(
                session, publication, needs_you=still_asked(publication, cancelled_sales.about_cancelled)
            )
        if had < seen.quantity:
            await sale_effects.count(session, publication, attempt, seen, had=had)


def _stands(sale: Sale) -> Sale:
    sale.cancelled_at = sale.settled_at = sale.sold_at = None
    sale.sold_at_exact, sale.observed_at = False, func.clock_timestamp()
    return sale


async def _take_its_place(
    session: AsyncSession, connection: Connection, sale: Sale
) -> tuple[Sale | None, int]:  # fmt: skip
    """As `_take_place`, of an order that was cancelled and stands: what its page or a mail told since is that
    order now; what was cancelled stays so, without its name."""
    cents = sale.price_cents
    price = None if cents is None else base.Money(amount=cents, currency=sale.currency)
    told = base.Sale(sale.order_id or "", sale.remote_id, sale.title, price, sale.quantity, sale.line)
    sale.order_id = sale.remote_id = None
    await session.flush()
    seen, had = await _take_place(session, connection, told)
    if seen is None:
        sale.order_id, sale.remote_id = told.order_id, told.remote_id
    return seen, had


async def _take_place(
    session: AsyncSession, connection: Connection, told: base.Sale
) -> tuple[Sale | None, int]:  # fmt: skip
    """Its page, or a mail, had said that it is sold, before this order was seen: then that was counted, and
    the order takes its place, or a part of it; and of how many that was. None: nothing had."""
    seen = await session.scalar(
        select(Sale)
        .where(Sale.connection_id == connection.id, Sale.remote_id.is_not(None),
               Sale.remote_id == told.remote_id, Sale.order_id.is_(None))
        .order_by(Sale.quantity < told.quantity, func.abs(Sale.quantity - told.quantity), Sale.observed_at)
        .limit(1)
    )  # fmt: skip
    if seen is None:
        return None, 0
    had = seen.quantity
    if seen.quantity > told.quantity:
        seen.quantity -= told.quantity
        part = min(seen.counted, told.quantity)
        seen.counted -= part
        seen = Sale(user_id=seen.user_id, connection_id=seen.connection_id, listing_id=seen.listing_id,
                    publication_id=seen.publication_id, observed_at=seen.observed_at,
                    counted=part, category=seen.category, cost_cents=seen.cost_cents)  # fmt: skip
        session.add(seen)
    for name, value in _columns(told).items():
        setattr(seen, name, value)
    await session.flush()
    return seen, had


def _columns(told: base.Sale) -> dict[str, Any]:
    return {
        "order_id": told.order_id, "line": told.line, "remote_id": told.remote_id, "title": told.title,
        "price_cents": told.price.amount if told.price else None,
        "currency": told.price.currency if told.price else "USD", "quantity": max(told.quantity, 1),
        "told_by": "orders", "sold_at": told.sold_at, "sold_at_exact": told.exact,
        "cancelled_at": datetime.now(UTC) if told.cancelled else None,
    }  # fmt: skip
