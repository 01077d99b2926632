"""Orders that are cancelled, or missing from their list: what the seller is asked about them, and what
the answer does. Nothing is posted where it was sold unless the seller said so."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.errors import Refused, listed
from everystall.inventory import double_sales, orders
from everystall.inventory.publications import (
    ACTIONS,
    ask_first,
    change,
    lock_with_others,
    needs_you,
    public_ids,
    still_asked,
    tell,
    want_live,
)
from everystall.inventory.revisions import touch
from everystall.inventory.sale_rules import rules_of
from everystall.marketplaces import MARKETPLACES
from everystall.models import Attempt, Connection, Listing, Publication, Sale, TakeDown

#: Why a publication asks whose order was cancelled, or may be, and what may be answered.
CANCELLED, ANSWERS = "sale_cancelled", ("put_back", "leave_sold")
#: Seconds for which an order is missing from its list before its seller is asked about it.
MISSING_SECONDS = 300
#: The seller has not decided about it.
_UNANSWERED = and_(
    Sale.counted > 0,
    or_(and_(Sale.cancelled_at.is_not(None), Sale.settled_at.is_(None)),
        and_(Sale.cancelled_at.is_(None), Sale.missing_at.is_not(None), Sale.missing_asked_at.is_not(None))),
)  # fmt: skip


def items_of(connection: Connection, order_id: str, remote_id: str | None) -> tuple[ColumnElement[bool], ...]:
    """SQL: what of an order is of one listing; None: all of it."""
    of_order = (Sale.connection_id == connection.id, Sale.order_id == order_id)
    return of_order if remote_id is None else (*of_order, Sale.remote_id == remote_id)


async def take_cancelled(
    session: AsyncSession, connection: Connection, order_id: str, remote_id: str | None = None
) -> None:
    """An order that we know is cancelled there, or what it has of one listing: what that leaves is put back
    or not, or the seller is asked."""
    of_order = (*items_of(connection, order_id, remote_id), Sale.cancelled_at.is_(None))
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
            await settle_cancelled(session, publication, sale)


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
                await ask_about_cancelled(session, publication)
                continue
        sale.missing_at = None  # there is nothing to ask
    await session.execute(
        update(Sale).where(*missing, Sale.missing_at.is_(None)).values(missing_at=func.now())
    )


async def take_shown(session: AsyncSession, connection: Connection, order_id: str) -> None:
    """An order that was missing is in the list again: nobody need say any more whether it was cancelled."""
    of_order = items_of(connection, order_id, None)
    sold = await session.scalars(select(Sale.publication_id).where(*of_order))
    ids = {id for id in sold if id is not None}
    publications = await lock_with_others(session, ids)
    await session.execute(update(Sale).where(*of_order).values(missing_at=None, missing_asked_at=None))
    for publication in (publications[id] for id in sorted(ids & publications.keys())):
        if not await unanswered(session, publication):
            still = still_asked(publication, about_cancelled)
            if still != publication.needs_you:
                await change(session, publication, needs_you=still)


async def settle_cancelled(session: AsyncSession, publication: Publication, sale: Sale) -> None:
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
        await ask_about_cancelled(session, publication)
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
    if not await unanswered(session, publication):
        return False
    attempt.outcome, attempt.next_look_at = "sold", None
    await ask_about_cancelled(session, publication, there=True)
    return True


async def ask_about_cancelled(
    session: AsyncSession, publication: Publication, *, there: bool = False
) -> None:  # fmt: skip
    """`there`: its own page says that it is for sale again."""
    account = await session.get_one(Connection, publication.connection_id)
    label, said = MARKETPLACES[publication.marketplace], ""
    missing, cancelled = _apart(await unanswered(session, publication))
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


async def unanswered(session: AsyncSession, publication: Publication) -> Sequence[Sale]:
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
    missing, cancelled = _apart(await unanswered(session, publication))
    await change(session, publication, needs_you=still_asked(publication, about_cancelled))
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


async def free_cancelled(session: AsyncSession, listing: Listing, many: int) -> int:
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
        asked = still_asked(publication, about_cancelled)
        if asked != publication.needs_you:
            await change(session, publication, needs_you=asked)
    return many - left


def about_cancelled(asked: dict[str, Any]) -> bool:
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
