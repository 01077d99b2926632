"""What the seller wants done after a sale without being asked each time. Who set nothing has the defaults."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.inventory.publications import lock_all, want_ended
from everystall.models import Connection, Listing, Publication, SaleRules


async def rules_of(session: AsyncSession, user_id: UUID) -> SaleRules:
    """The seller's rules; what was never set is no row, and as it would be in one."""
    asked = select(SaleRules).where(SaleRules.user_id == user_id).execution_options(populate_existing=True)
    found = await session.scalar(asked)
    return found or SaleRules(user_id=user_id, put_back="ask", blind="keep", blind_minutes=30)


async def can_hold_last(session: AsyncSession, listing: Listing, connection_id: UUID) -> bool:
    """Whether the last one of several may stay on this account alone: it is wanted there, and we see it."""
    there = await session.scalar(
        select(Publication.id)
        .join(Connection, Connection.id == Publication.connection_id)
        .where(Publication.listing_id == listing.id, Publication.connection_id == connection_id,
               Publication.wanted == "live", Connection.needs_you.is_(None),
               Connection.watch_told_at.is_(None))
    )  # fmt: skip
    return there is not None and listing.quantity > 1


async def keep_last_unit(session: AsyncSession, listing: Listing) -> None:
    """Its quantity was changed by hand: the last one stays on one account, by its seller's rule. The listing
    and its publications are locked."""
    only = (await rules_of(session, listing.user_id)).last_unit_on
    if only is not None:
        await keep_last_units(session, only, listing.id)


async def keep_last_units(
    session: AsyncSession, connection_id: UUID, listing_id: UUID | None = None
) -> None:  # fmt: skip
    """What has one left of several by now (of all, or this one), and is on this account, is ended on all
    others."""
    there = select(Publication.listing_id).where(
        Publication.connection_id == connection_id, Publication.wanted == "live"
    )
    last = Listing.quantity - Listing.quantity_sold == 1
    found = select(Listing.id).where(Listing.id.in_(there), Listing.quantity > 1, last)
    if listing_id is not None:
        found = found.where(Listing.id == listing_id)
    publications = await lock_all(session, list(await session.scalars(found)))
    for publication in publications:
        listing = await session.get_one(Listing, publication.listing_id)
        if (
            publication.connection_id != connection_id
            and publication.wanted == "live"
            and listing.quantity - listing.quantity_sold == 1
            and await can_hold_last(session, listing, connection_id)
            and await want_ended(session, publication)
        ):
            await engine.wake(session, [publication.connection_id], "urgent")
