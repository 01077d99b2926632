"""An edit of a listing, seen from where it is live: who has to go there.

An edit is no job: it raises what is wanted, and the visits put it (worker/revise.py).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.inventory import pricing, takings
from everystall.inventory.listings import PRIVATE, facts_of
from everystall.inventory.publications import change, held, live_attempt
from everystall.inventory.sale_rules import keep_last_unit
from everystall.marketplaces import MARKETPLACES
from everystall.marketplaces.base import ListingFacts, strip_marker
from everystall.models import Connection, Listing, Publication


async def changed(session: AsyncSession, listing: Listing, names: Collection[str]) -> None:
    """These columns of it changed. What is the seller's own alone is no new revision: nobody has to go."""
    if not {"category", "cost_cents"}.isdisjoint(names):
        await takings.fill_in(session, listing)
    if set(names) <= PRIVATE:
        listing.updated_at = func.clock_timestamp()
        await session.flush()
        await session.refresh(listing)
    else:
        await touch(session, listing)
    if "quantity" in names:
        await keep_last_unit(session, listing)


async def touch(session: AsyncSession, listing: Listing) -> None:
    """The content changed: the listing, and its publications, are locked."""
    listing.revision += 1
    listing.updated_at = func.clock_timestamp()
    await session.flush()
    await session.refresh(listing)
    await want_revised(session, listing)


async def want_revised(session: AsyncSession, listing: Listing) -> None:
    """The content of the listing changed, and its revision: so it is wanted wherever it is wanted live. Where
    nothing would be other there than before, nobody has to go. The caller has locked the publications, in the
    order of their ids, before the listing."""
    publications = await session.scalars(
        select(Publication)
        .where(Publication.listing_id == listing.id, Publication.wanted == "live")
        .order_by(Publication.id)
    )
    facts, due = await facts_of(session, listing), list[UUID]()
    for publication in publications.all():
        values: dict[str, Any] = {"wanted_revision": listing.revision}
        if publication.put == "live" and await _is_there(session, publication, facts):
            values["put_revision"] = listing.revision
        elif publication.put == "live":
            due.append(publication.connection_id)
            if publication.needs_you is None:
                label = MARKETPLACES[publication.marketplace]
                values["needs_you"] = await held(
                    session, publication, f"It cannot be changed on {label} now."
                )
        await change(session, publication, **values)
    if due:
        await engine.wake(session, due)


async def _is_there(session: AsyncSession, publication: Publication, facts: ListingFacts) -> bool:
    """Is what we last put there, letter by letter, what would be put now, and nothing open?"""
    attempt = await live_attempt(session, publication)
    if attempt is None or attempt.revising is not None or publication.unsettled:
        return False
    connection = await session.get_one(Connection, publication.connection_id)
    draft, _, _ = pricing.compose(publication.marketplace, facts, publication.price_rule, connection.defaults)
    there = {**attempt.draft, "sku": strip_marker(attempt.draft.get("sku"))}
    return draft is not None and draft.model_dump(mode="json") == there
