"""What a sale does, whoever saw it first: the account's list of orders, or the listing's own page.

One transaction: the sale's row, how many are left, what of the listing is wanted gone elsewhere, the event,
the wake-ups. An order has its effect once, however often it is read. Nothing here touches a marketplace, and
no order is ever cancelled by us.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, and_, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.db import Database
from everystall.errors import Refused, listed
from everystall.inventory import double_sales, orders
from everystall.inventory.listings import forget_listing_if_over
from everystall.inventory.publications import (
    ACTIONS,
    about_order,
    ask_first,
    change,
    held,
    held_by_pause,
    lock_with_others,
    needs_you,
    public_ids,
    still_asked,
    tell,
    want_ended,
    want_live,
)
from everystall.inventory.revisions import touch
from everystall.inventory.sale_rules import can_hold_last, rules_of
from everystall.logs import chore
from everystall.marketplaces import MARKETPLACES, base, get_form
from everystall.models import Attempt, Connection, Listing, Publication, Sale, TakeDown

log = structlog.get_logger()

#: Orders of an account that are remembered as known: more than its list shows in one reading.
MOST_KNOWN = 1000
#: Days for which an order may still be cancelled: so long a buyer may wait for what is not sent (Poshmark).
CANCEL_DAYS = 21
#: Seconds for which an order is missing from its list before its seller is asked about it.
MISSING_SECONDS = 300
#: Why a publication asks whose order was cancelled, or may be, and what may be answered.
CANCELLED, ANSWERS = "sale_cancelled", ("put_back", "leave_sold")
#: Seconds after which a listing that sold elsewhere has to be gone, or the seller is told.
LATE_SECONDS = 300
#: Late ones that one look takes at most.
MOST_LATE = 100


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


def _items(connection: Connection, order_id: str, remote_id: str | None) -> tuple[ColumnElement[bool], ...]:
    """SQL: what of an order is of one listing; None: all of it."""
    of_order = (Sale.connection_id == connection.id, Sale.order_id == order_id)
    return of_order if remote_id is None else (*of_order, Sale.remote_id == remote_id)


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
                await _settle_cancelled(session, publication, seen)
            elif had < seen.quantity and attempt is not None and publication is not None:
                await session.refresh(attempt)
                await _count(session, publication, attempt, seen, had=had)
            continue
        sale_id = await _write(session, connection, told)
        if sale_id is not None and attempt is not None and publication is not None and not told.cancelled:
            await session.refresh(attempt)
            await _count(session, publication, attempt, await session.get_one(Sale, sale_id))
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
    there = _left_there(attempt)
    cancelled = await _find_passed_by(session, attempt) if there > 0 else None
    if cancelled is not None:
        there -= cancelled.quantity
    if there > 0:
        await _without_order(session, publication, attempt, there, "page")
    if cancelled is not None:
        await _count_cancelled(session, publication, attempt, cancelled)
    elif there <= 0:  # all its orders are known
        listing = await session.get_one(Listing, publication.listing_id)
        await _all_sold_there(session, publication, attempt, _left(listing))


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
    if attempt.outcome == "live" and _left_there(attempt) > 0:
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
    await _count(session, publication, attempt, sale)


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
        await _count(session, publication, attempt, sale)


# ---- cancelled ----------------------------------------------------------------------------------------

#: The seller has not decided about it.
_UNANSWERED = and_(
    Sale.counted > 0,
    or_(and_(Sale.cancelled_at.is_not(None), Sale.settled_at.is_(None)),
        and_(Sale.cancelled_at.is_(None), Sale.missing_at.is_not(None), Sale.missing_asked_at.is_not(None))),
)  # fmt: skip


async def take_cancelled(
    session: AsyncSession, connection: Connection, order_id: str, remote_id: str | None = None
) -> None:
    """An order that we know is cancelled there, or what it has of one listing: what that leaves is put back
    or not, or the seller is asked."""
    of_order = (*_items(connection, order_id, remote_id), Sale.cancelled_at.is_(None))
    sold = select(Sale.publication_id).where(*of_order, Sale.publication_id.is_not(None))
    publications = await lock_with_others(
        session, [id for id in await session.scalars(sold) if id is not None]
    )
    rows = await session.scalars(
        update(Sale).where(*of_order).values(cancelled_at=func.clock_timestamp()).returning(Sale)
    )
    for sale in rows.all():
        publication = publications.get(sale.publication_id) if sale.publication_id is not None else None
        if publication is not None:
            await _settle_cancelled(session, publication, sale)


async def take_missing(
    session: AsyncSession, connection: Connection, order_ids: Collection[str], since: datetime | None
) -> None:
    """The list of orders does not show these, read to its end, or as far as `since`. That proves nothing: was
    it so minutes ago as well, the seller is asked, even where the rule says always."""
    missing: list[ColumnElement[bool]] = [
        Sale.connection_id == connection.id, Sale.order_id.in_(order_ids),
        Sale.cancelled_at.is_(None), Sale.missing_asked_at.is_(None),
    ]  # fmt: skip
    if since is not None:  # it may be a day
        missing.append(Sale.sold_at > since + timedelta(days=1))
    for_long = (*missing, Sale.missing_at < func.now() - timedelta(seconds=MISSING_SECONDS))
    sold = await session.scalars(select(Sale.publication_id).where(*for_long))
    publications = await lock_with_others(session, [id for id in sold if id is not None])
    rows = await session.scalars(
        update(Sale).where(*for_long).values(missing_asked_at=func.now()).returning(Sale)
    )
    never = (await rules_of(session, connection.user_id)).put_back == "never"
    for sale in rows.all():
        publication = publications.get(sale.publication_id) if sale.publication_id is not None else None
        if publication is not None and sale.counted > 0 and not never:
            listing = await session.get_one(Listing, publication.listing_id)
            if listing.delete_asked_at is None:
                await _ask_about_cancelled(session, publication)
                continue
        sale.missing_at = None  # there is nothing to ask
    await session.execute(
        update(Sale).where(*missing, Sale.missing_at.is_(None)).values(missing_at=func.now())
    )


async def take_shown(session: AsyncSession, connection: Connection, order_id: str) -> None:
    """An order that was missing is in the list again: nobody need say any more whether it was cancelled."""
    of_order = _items(connection, order_id, None)
    sold = await session.scalars(select(Sale.publication_id).where(*of_order))
    ids = {id for id in sold if id is not None}
    publications = await lock_with_others(session, ids)
    await session.execute(update(Sale).where(*of_order).values(missing_at=None, missing_asked_at=None))
    for publication in (publications[id] for id in sorted(ids & publications.keys())):
        if not await _unanswered(session, publication):
            still = still_asked(publication, _about_cancelled)
            if still != publication.needs_you:
                await change(session, publication, needs_you=still)


async def _settle_cancelled(session: AsyncSession, publication: Publication, sale: Sale) -> None:
    await double_sales.pass_on(session, sale)
    rule = (await rules_of(session, sale.user_id)).put_back
    listing = await session.get_one(Listing, publication.listing_id)
    if sale.counted == 0 or listing.delete_asked_at is not None:
        rule = "never"
    again = await put_back(session, publication.listing_id, [sale]) if rule == "always" else []
    looks = await _look_again(session, [sale])
    if rule == "never":
        sale.settled_at = func.now()
    elif rule == "ask":
        await _ask_about_cancelled(session, publication)
    await session.flush()
    data = {"putBack": rule, "postedAgainOn": await public_ids(session, again)}
    await tell(session, publication, "sale.cancelled", **orders.as_json(sale), **data)
    await engine.wake(session, [*again, *looks])


async def _look_again(session: AsyncSession, cancelled: Sequence[Sale]) -> list[UUID]:
    """The marketplace itself may have these for sale again, now or later, where they were sold out: a visit
    looks (reconcile.look_for_orphan), before anything is posted there. The accounts."""
    accounts = []
    for sale in cancelled:
        sold = await session.scalars(
            select(Attempt).where(Attempt.connection_id == sale.connection_id,
                                  Attempt.remote_id == sale.remote_id,
                                  Attempt.outcome.in_(("sold", "unresolved")))
        )  # fmt: skip
        for attempt in sold.all():
            attempt.outcome, attempt.looks, attempt.next_look_at = "unresolved", -1, func.now()
            accounts.append(attempt.connection_id)
    await session.flush()
    return accounts


async def find_cancelled(session: AsyncSession, attempt: Attempt) -> Sale | None:
    """The order that had what this attempt posted, and was cancelled."""
    if attempt.remote_id is None:
        return None
    found = await session.scalars(
        select(Sale)
        .where(Sale.connection_id == attempt.connection_id, Sale.remote_id == attempt.remote_id,
               Sale.cancelled_at.is_not(None))
        .order_by(Sale.cancelled_at.desc())
        .limit(1)
    )  # fmt: skip
    return found.first()


async def ask_of_put_back(session: AsyncSession, publication: Publication, attempt: Attempt) -> bool:
    """The marketplace itself has it for sale again: while the seller has not said yet what shall be, the
    question says so, and the answer has it looked at again. False: nothing is asked. All is locked."""
    if not await _unanswered(session, publication):
        return False
    attempt.outcome, attempt.next_look_at = "sold", None
    await _ask_about_cancelled(session, publication, there=True)
    return True


async def take_put_back(session: AsyncSession, publication: Publication, cancelled: Sale) -> None:
    """The marketplace itself has it for sale again: while some are left it is wanted there, and need not be
    posted; else it goes, as what sold elsewhere does. All is locked."""
    listing = await session.get_one(Listing, publication.listing_id)
    if listing.quantity > listing.quantity_sold and listing.delete_asked_at is None:
        if publication.put == "sold":
            await change(session, publication, wanted="live", wanted_revision=listing.revision)
        return
    publication.wanted = "ended"
    await _owe_take_down(session, cancelled, publication, goes=True, decided=True)


async def take_sold_again(
    session: AsyncSession, connection: Connection, order_id: str, remote_id: str | None
) -> None:
    """An order that was cancelled stands, or what it has of one listing: where it is called as its listing
    is, somebody bought what the marketplace had for sale again. So it is a sale like any other."""
    of_order = (*_items(connection, order_id, remote_id), Sale.cancelled_at.is_not(None))
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
        if not await _unanswered(session, publication):
            await change(session, publication, needs_you=still_asked(publication, _about_cancelled))
        if had < seen.quantity:
            await _count(session, publication, attempt, seen, had=had)


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


async def _ask_about_cancelled(
    session: AsyncSession, publication: Publication, *, there: bool = False
) -> None:  # fmt: skip
    """`there`: its own page says that it is for sale again."""
    account = await session.get_one(Connection, publication.connection_id)
    label, said = MARKETPLACES[publication.marketplace], ""
    missing, cancelled = _apart(await _unanswered(session, publication))
    if cancelled:
        said += f"An order of this on {label} was cancelled there ({_named(cancelled)}). "
    if missing:
        said += f"An order of this is not in your list on {label} any more ({_named(missing)}): "
        said += "was it cancelled? "
    said += "Shall what it had be for sale again, and be posted again where it was taken down because of it? "
    if there:
        said += f"{label} itself has it for sale again; left as sold, it goes there unless you have others."
    else:
        said += f"Where it was sold we post nothing; if {label} itself has it for sale again, we go by that."
    asked = needs_you(publication, account.public_id, CANCELLED, said, publication.url)
    await change(session, publication, needs_you=ask_first(publication, asked))


def _named(asked_about: Sequence[Sale]) -> str:
    return listed([one.order_id or one.title for one in asked_about])


async def _unanswered(session: AsyncSession, publication: Publication) -> Sequence[Sale]:
    """Its orders, cancelled or missing, about which the seller has not decided."""
    open_ones = await session.scalars(
        select(Sale)
        .where(Sale.publication_id == publication.id, _UNANSWERED)
        .order_by(Sale.cancelled_at, Sale.id)
    )
    return open_ones.all()


def _apart(asked_about: Sequence[Sale]) -> tuple[list[Sale], list[Sale]]:
    """(missing, cancelled)"""
    missing = [one for one in asked_about if one.cancelled_at is None]
    return missing, [one for one in asked_about if one.cancelled_at is not None]


async def answer(session: AsyncSession, publication: Publication, action: str) -> None:
    """What the seller decided about the cancelled orders of one publication; of those that are missing, put
    back says that they are cancelled, too. Raises Refused where nothing is asked."""
    await lock_with_others(session, [publication.id])
    if (publication.needs_you or {}).get("reason") != CANCELLED:
        raise Refused(
            f"“{ACTIONS[action]}” does not fit: nothing is asked about a cancelled order here.",
            action="Load the listing again and use one of its actions.",
        )
    missing, cancelled = _apart(await _unanswered(session, publication))
    await change(session, publication, needs_you=still_asked(publication, _about_cancelled))
    again: list[UUID] = []
    if action == "put_back":
        for sale in missing:
            sale.cancelled_at = func.now()
            await double_sales.pass_on(session, sale)
        cancelled += missing
        kept = {sale.id for sale in missing if sale.counted > 0}  # of others the next order has it
        again = await put_back(session, publication.listing_id, cancelled)
        posted = await public_ids(session, again)
        for sale in missing:
            said = {"putBack": "ask" if sale.id in kept else "never", "postedAgainOn": posted}
            await tell(session, publication, "sale.cancelled", **orders.as_json(sale), **said)
    else:
        for sale in missing:  # it stands
            sale.missing_at = None
    for sale in cancelled:
        sale.settled_at = func.now()
    await engine.wake(session, [*again, *await _look_again(session, cancelled)])


async def _free_cancelled(session: AsyncSession, listing: Listing, many: int) -> int:
    """What cancelled orders hold while their seller has not answered: sold again, it is the next one's. How
    many of so many. Nobody is asked any more about an order that holds nothing."""
    unanswered = (
        Sale.listing_id == listing.id, Sale.cancelled_at.is_not(None), Sale.settled_at.is_(None),
        Sale.counted > 0,
    )  # fmt: skip
    left = many
    for sale in (await session.scalars(select(Sale).where(*unanswered).order_by(Sale.cancelled_at))).all():
        passed = min(left, sale.counted)
        left, sale.counted = left - passed, sale.counted - passed
        if sale.counted == 0:
            sale.settled_at = func.now()
    await session.flush()
    answered = await session.scalars(
        select(Publication)
        .where(Publication.listing_id == listing.id, Publication.needs_you.is_not(None),
               Publication.id.not_in(
                   select(Sale.publication_id)
                   .where(Sale.listing_id == listing.id, _UNANSWERED, Sale.publication_id.is_not(None))))
        .order_by(Publication.id)
    )  # fmt: skip
    for publication in answered.all():
        asked = still_asked(publication, _about_cancelled)
        if asked != publication.needs_you:
            await change(session, publication, needs_you=asked)
    return many - left


def _about_cancelled(asked: dict[str, Any]) -> bool:
    return bool(asked["reason"] == CANCELLED)


async def put_back(session: AsyncSession, listing_id: UUID, cancelled: Sequence[Sale]) -> list[UUID]:
    """What these orders had is for sale again, and is posted again where it was taken down because of them;
    the accounts. Not where it was sold: whether the marketplace put it back itself is looked at. All is
    locked."""
    listing = await session.get_one(Listing, listing_id)
    listing.quantity_sold = max(0, listing.quantity_sold - sum(sale.counted for sale in cancelled))
    for sale in cancelled:
        sale.counted, sale.settled_at = 0, func.now()
    await touch(session, listing)
    of_these = TakeDown.sale_id.in_([sale.id for sale in cancelled])
    taken = select(TakeDown.publication_id).where(of_these, TakeDown.settled_at.is_(None))
    ended = await session.scalars(
        select(Publication)
        .where(Publication.id.in_(taken), Publication.wanted == "ended", Publication.put != "sold")
        .order_by(Publication.id)
    )
    return [one.connection_id for one in ended.all() if await want_live(session, one)]


# ---- taking down ----------------------------------------------------------------------------------


async def note_started(session: AsyncSession, publication: Publication) -> None:
    """A visit goes to take it down."""
    await session.execute(
        update(TakeDown)
        .where(TakeDown.publication_id == publication.id, TakeDown.gone_at.is_(None),
               TakeDown.started_at.is_(None))
        .values(started_at=func.clock_timestamp())
    )  # fmt: skip


async def tell_if_late(session: AsyncSession, publication: Publication) -> None:
    """It sold elsewhere and could not be taken down, or made fewer, so far: past the target the seller hears
    of it, once; at once, where the marketplace asked for a rest that is longer."""
    resting = select(Connection.rest_until).where(Connection.id == publication.connection_id)
    past = func.greatest(func.now(), resting.scalar_subquery()) - timedelta(seconds=LATE_SECONDS)
    if publication.lower_asked_at is not None and publication.lower_told_at is None:
        lowers = await session.execute(
            update(Publication)
            .where(Publication.id == publication.id, Publication.lower_asked_at < past)
            .values(lower_told_at=func.clock_timestamp())
            .returning(Publication.lower_asked_at)
            .execution_options(synchronize_session=False)
        )
        for asked_at in filter(None, lowers.scalars().all()):
            await session.refresh(publication, ["lower_told_at"])
            await _tell_late(session, publication, asked_at, lowers=True)
    late = await session.execute(
        update(TakeDown)
        .where(TakeDown.publication_id == publication.id, TakeDown.gone_at.is_(None),
               TakeDown.told_at.is_(None), TakeDown.asked_at < past)
        .values(told_at=func.clock_timestamp())
        .returning(TakeDown.asked_at)
    )  # fmt: skip
    since = late.scalars().first()
    if since is not None:
        await _tell_late(session, publication, since)


async def _tell_late(session: AsyncSession, publication: Publication, since: datetime, **more: Any) -> None:
    """`until`: the marketplace asked for a rest until then, and we leave it alone."""
    until = await session.scalar(
        select(Connection.rest_until).where(
            Connection.id == publication.connection_id, Connection.rest_until > func.now()
        )
    )
    more |= {"until": until.isoformat()} if until is not None else {}
    await tell(session, publication, "delist.late", since=since.isoformat(), **more)


async def tell_late(db: Database) -> None:
    """Of the seller's publications that sold elsewhere, what is late is told, whatever it waits for."""
    asked = text("SELECT DISTINCT publication_id, user_id FROM everystall.late_take_downs(:after, :most)")
    async with db.as_app() as session:
        after = timedelta(seconds=LATE_SECONDS)
        rows = (await session.execute(asked, {"after": after, "most": MOST_LATE})).all()
    for row in rows:
        with chore("late take-down", user_id=row.user_id, publication_id=row.publication_id):
            async with db.as_user(row.user_id) as session:
                found = select(Publication).where(Publication.id == row.publication_id).with_for_update()
                publication = await session.scalar(found)
                if publication is not None:
                    await tell_if_late(session, publication)


# ---- the effect -----------------------------------------------------------------------------------


async def _count(
    session: AsyncSession, publication: Publication, attempt: Attempt, sale: Sale, *, had: int = 0
) -> None:
    """So many fewer are left, there and of the listing (`had`: of the sale these were counted before)."""
    listing = await session.get_one(Listing, publication.listing_id)
    _is_of(sale, publication, listing)
    many, before = sale.quantity - had, max(0, listing.quantity - listing.quantity_sold)
    free = await _free_cancelled(session, listing, many - before) if before < many else 0
    sale.counted += min(before, many) + free
    listing.quantity_sold += min(before, many)
    left = _left(listing)
    await session.flush()
    log.info("sale.detected", publication_id=str(publication.id), marketplace=publication.marketplace,
             order_id=sale.order_id, left=left)  # fmt: skip
    await tell(session, publication, "sale.detected", url=attempt.url, **orders.as_json(sale), left=left)
    await _sold_there(session, publication, attempt, sale, many, left)
    await fewer_elsewhere(session, listing, sale)
    if before + free < many:
        await double_sales.tell(session, publication, sale)


async def _count_cancelled(
    session: AsyncSession, publication: Publication, attempt: Attempt, sale: Sale
) -> None:
    """It was cancelled when we first saw it, and its listing stays sold: as if we had seen it stand before,
    but what is put back by the seller's rule was never taken down."""
    listing = await session.get_one(Listing, publication.listing_id)
    _is_of(sale, publication, listing)
    sale.counted = min(max(0, listing.quantity - listing.quantity_sold), sale.quantity)
    listing.quantity_sold += sale.counted
    await session.flush()
    await _all_sold_there(session, publication, attempt, _left(listing))
    await _settle_cancelled(session, publication, sale)
    await fewer_elsewhere(session, listing, sale)


def _is_of(sale: Sale, publication: Publication, listing: Listing) -> None:
    sale.listing_id, sale.publication_id = listing.id, publication.id
    sale.category = sale.category or listing.category
    sale.cost_cents = listing.cost_cents if sale.cost_cents is None else sale.cost_cents


def _left(listing: Listing) -> int:
    """To be sold."""
    return listing.quantity - listing.quantity_sold if listing.delete_asked_at is None else 0


async def fewer_elsewhere(session: AsyncSession, listing: Listing, sale: Sale) -> None:
    """Of the listing so many are left: with none it goes everywhere, with some it is made fewer. All is
    locked."""
    left = _left(listing)
    if left == 0:
        await _take_down(session, listing, sale)
        return
    await touch(session, listing)
    only = (await rules_of(session, sale.user_id)).last_unit_on if left == 1 else None
    if only is not None and await can_hold_last(session, listing, only):
        await _take_down(session, listing, sale, but=only)
    await _lower(session, listing)


async def _sold_there(
    session: AsyncSession, publication: Publication, attempt: Attempt, sale: Sale, many: int, left: int
) -> None:
    """Where it was sold. What it held of several is fewer now; with none of them it is posted again while
    there are others, in a new attempt."""
    if attempt.outcome not in (None, "live"):
        return
    there = _left_there(attempt) - many
    ordered = attempt.outcome == "live" and sale.told_by == "orders"
    if there > 0 or (ordered and await _page_says(session, publication)):
        if "quantity" in attempt.adopted:
            attempt.adopted = {**attempt.adopted, "quantity": max(there, 0)}
        put = int(attempt.draft.get("quantity", 1)) - many
        attempt.draft = {**attempt.draft, "quantity": max(put, 1 if there > 0 else 0)}
        await change(session, publication, put_revision=None if attempt.outcome else publication.put_revision)
        return
    await _all_sold_there(session, publication, attempt, left)


async def _page_says(session: AsyncSession, publication: Publication) -> bool:
    """Where a site counts, its own page says whether any are left: what we put may have been lowered after
    the buyer came, or raised there by hand. Of one alone, only where a visit can go there at once."""
    if get_form(publication.marketplace).LIMITS.quantity_max == 1:
        return False
    if (await session.get_one(Listing, publication.listing_id)).quantity > 1:
        return True
    waits = await held(session, publication, "") or await held_by_pause(session, publication)
    return waits is None


async def _all_sold_there(
    session: AsyncSession, publication: Publication, attempt: Attempt, left: int
) -> None:  # fmt: skip
    attempt.outcome, attempt.finished_at, attempt.revising = "sold", func.now(), None
    await session.flush()
    again = left > 0 and publication.wanted == "live"
    await change(
        session, publication, put="sold", seen="sold", seen_at=func.now(), looking=False,
        needs_you=None if again else about_order(publication), tries=0, next_try_at=None,
        wanted="live" if again else "ended",
        state="waiting" if again else "sold", finished_at=None if again else func.now(),
    )  # fmt: skip


def _left_there(attempt: Attempt) -> int:
    """As it stands there; that may be other than what we would put."""
    return int(attempt.adopted.get("quantity", attempt.draft.get("quantity", 1)))


async def _take_down(
    session: AsyncSession, listing: Listing, sale: Sale, *, but: UUID | None = None
) -> None:  # fmt: skip
    """The last one is sold: nothing of the listing is wanted live any more (`but`: the last one is left, and
    stays on that account alone). What waits to be posted is cancelled, what is armed is settled first, what
    is live goes at once; so does what was not wanted there any more and was not gone yet."""
    stands = or_(Publication.wanted == "live", Publication.put == "live", Publication.looking)
    found = select(Publication).where(
        Publication.listing_id == listing.id, stands, Publication.connection_id.is_distinct_from(but)
    ).order_by(Publication.id)  # fmt: skip
    owed = select(TakeDown.publication_id).join(Publication, Publication.id == TakeDown.publication_id).where(
        Publication.listing_id == listing.id, TakeDown.gone_at.is_(None)
    )  # fmt: skip
    of_another = set(await session.scalars(owed))
    there = []
    for publication in (await session.scalars(found)).all():
        decided = publication.wanted == "ended"  # not because of this sale: nor is it put back with it
        goes = await want_ended(session, publication)
        if publication.id == sale.publication_id and listing.quantity == 1:
            continue  # the visit that saw its order goes on to its page, which says whether any are left
        if goes:
            there.append(publication.connection_id)
        if publication.id in of_another:  # a sale before this one has it taken down
            continue
        await _owe_take_down(session, sale, publication, goes=goes, decided=decided)
    if there:
        await engine.wake(session, there, "urgent")


async def _owe_take_down(
    session: AsyncSession, sale: Sale, publication: Publication, *, goes: bool, decided: bool
) -> None:
    """Because of this sale, which may have taken it down before (`take_sold_again`)."""
    now = func.clock_timestamp()
    values = {"asked_at": now, "started_at": None, "gone_at": None if goes else now, "told_at": None,
              "settled_at": now if decided else None}  # fmt: skip
    await session.execute(
        insert(TakeDown)
        .values(user_id=sale.user_id, sale_id=sale.id, publication_id=publication.id,
                marketplace=publication.marketplace, **values)
        .on_conflict_do_update(constraint="take_downs_once", set_=values)
    )  # fmt: skip


def offers_more(publication: Publication, attempt: Attempt, listing: Listing) -> bool:
    """Than are left, as far as we know: as it stands there, or as a click that nobody looked after put it."""
    if publication.put == "live" and publication.put_revision is None:
        return True
    clicked = int(attempt.revising["draft"].get("quantity", 1)) if attempt.revising else 0
    return max(_left_there(attempt), clicked) > listing.quantity - listing.quantity_sold


async def _lower(session: AsyncSession, listing: Listing) -> None:
    """Some are left: where more than these can be bought, it is made fewer as urgently as it would be taken
    down. What else is asked about it comes up again after that."""
    found = await session.execute(
        select(Publication, Attempt)
        .join(Attempt, Attempt.publication_id == Publication.id)
        .where(Publication.listing_id == listing.id, Publication.wanted == "live",
               or_(Publication.put == "live", Publication.looking),
               or_(Attempt.outcome.is_(None), Attempt.outcome == "live"))
        .order_by(Publication.id)
        .execution_options(populate_existing=True)
    )  # fmt: skip
    there = []
    for publication, attempt in found.all():
        if not offers_more(publication, attempt, listing):
            continue
        values: dict[str, Any] = {}
        if publication.lower_asked_at is None:
            values |= {"lower_asked_at": func.clock_timestamp(), "lower_told_at": None}
        if not publication.looking:
            why = f"That fewer are left cannot be said on {MARKETPLACES[publication.marketplace]} now."
            asked = await held(session, publication, why) or await held_by_pause(session, publication)
            values["needs_you"] = ask_first(publication, asked) if asked else about_order(publication)
            values |= {"next_try_at": None, "tries": 0}
        await change(session, publication, **values)
        there.append(publication.connection_id)
    if there:
        await engine.wake(session, there, "urgent")


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
