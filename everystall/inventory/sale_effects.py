"""What a sale does to its listing: how many are left, there and everywhere, and what is wanted gone or made
fewer elsewhere."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.inventory import cancelled_sales, double_sales, orders
from everystall.inventory.publications import (
    about_order,
    ask_first,
    change,
    held,
    held_by_pause,
    tell,
    want_ended,
)
from everystall.inventory.revisions import touch
from everystall.inventory.sale_rules import can_hold_last, rules_of
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.models import Attempt, Listing, Publication, Sale, TakeDown

log = structlog.get_logger()


async def count(
    session: AsyncSession, publication: Publication, attempt: Attempt, sale: Sale, *, had: int = 0
) -> None:
    """So many fewer are left, there and of the listing (`had`: of the sale these were counted before)."""
    listing = await session.get_one(Listing, publication.listing_id)
    _is_of(sale, publication, listing)
    many, before = sale.quantity - had, max(0, listing.quantity - listing.quantity_sold)
    free = await cancelled_sales.free_cancelled(session, listing, many - before) if before < many else 0
    sale.counted += min(before, many) + free
    listing.quantity_sold += min(before, many)
    left = left_of(listing)
    await session.flush()
    log.info("sale.detected", publication_id=str(publication.id), marketplace=publication.marketplace,
             order_id=sale.order_id, left=left)  # fmt: skip
    await tell(session, publication, "sale.detected", url=attempt.url, **orders.as_json(sale), left=left)
    await _sold_there(session, publication, attempt, sale, many, left)
    await fewer_elsewhere(session, listing, sale)
    if before + free < many:
        await double_sales.tell(session, publication, sale)


async def count_cancelled(
    session: AsyncSession, publication: Publication, attempt: Attempt, sale: Sale
) -> None:
    """It was cancelled when we first saw it, and its listing stays sold: as if we had seen it stand before,
    but what is put back by the seller's rule was never taken down."""
    listing = await session.get_one(Listing, publication.listing_id)
    _is_of(sale, publication, listing)
    sale.counted = min(max(0, listing.quantity - listing.quantity_sold), sale.quantity)
    listing.quantity_sold += sale.counted
    await session.flush()
    await all_sold_there(session, publication, attempt, left_of(listing))
    await cancelled_sales.settle_cancelled(session, publication, sale)
    await fewer_elsewhere(session, listing, sale)


def _is_of(sale: Sale, publication: Publication, listing: Listing) -> None:
    sale.listing_id, sale.publication_id = listing.id, publication.id
    sale.category = sale.category or listing.category
    sale.cost_cents = listing.cost_cents if sale.cost_cents is None else sale.cost_cents


def left_of(listing: Listing) -> int:
    """To be sold."""
    return listing.quantity - listing.quantity_sold if listing.delete_asked_at is None else 0


async def fewer_elsewhere(session: AsyncSession, listing: Listing, sale: Sale) -> None:
    """Of the listing so many are left: with none it goes everywhere, with some it is made fewer. All is
    locked."""
    left = left_of(listing)
    if left == 0:
        await _take_down(session, listing, sale)
        return
    await touch(session, listing)
    only = (await rules_of(session, sale.user_id)).last_unit_on if left == 1 else None
    if only is not None and await can_hold_last(session, listing, only):
        await _take_down(session, listing, sale, but=only)
    await lower(session, listing)


async def _sold_there(
    session: AsyncSession, publication: Publication, attempt: Attempt, sale: Sale, many: int, left: int
) -> None:
    """Where it was sold. What it held of several is fewer now; with none of them it is posted again while
    there are others, in a new attempt."""
    if attempt.outcome not in (None, "live"):
        return
    there = left_there(attempt) - many
    ordered = attempt.outcome == "live" and sale.told_by == "orders"
    if there > 0 or (ordered and await _page_says(session, publication)):
        if "quantity" in attempt.adopted:
            attempt.adopted = {**attempt.adopted, "quantity": max(there, 0)}
        put = int(attempt.draft.get("quantity", 1)) - many
        attempt.draft = {**attempt.draft, "quantity": max(put, 1 if there > 0 else 0)}
        await change(session, publication, put_revision=None if attempt.outcome else publication.put_revision)
        return
    await all_sold_there(session, publication, attempt, left)


async def _page_says(session: AsyncSession, publication: Publication) -> bool:
    """Where a site counts, its own page says whether any are left: what we put may have been lowered after
    the buyer came, or raised there by hand. Of one alone, only where a visit can go there at once."""
    if get_form(publication.marketplace).LIMITS.quantity_max == 1:
        return False
    if (await session.get_one(Listing, publication.listing_id)).quantity > 1:
        return True
    waits = await held(session, publication, "") or await held_by_pause(session, publication)
    return waits is None


async def all_sold_there(
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


def left_there(attempt: Attempt) -> int:
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
        await owe_take_down(session, sale, publication, goes=goes, decided=decided)
    if there:
        await engine.wake(session, there, "urgent")


async def owe_take_down(
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
    return max(left_there(attempt), clicked) > listing.quantity - listing.quantity_sold


async def lower(session: AsyncSession, listing: Listing) -> None:
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
