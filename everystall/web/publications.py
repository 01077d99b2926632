"""What the seller decides about one listing on one account: retry, post again, it is there, take it down,
keep it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import NotFound
from everystall.inventory import cancelled_sales
from everystall.inventory.publications import ACTIONS, act, may_keep
from everystall.models import Connection, Listing, Publication
from everystall.web.deps import ListingId, Transaction
from everystall.web.shapes import ActionOut, Body, PublicationOut

router = APIRouter(prefix="/api/listings/{listingId}/publications", tags=["publications"])


class ActionBody(Body):
    #: For `it_is_there`: the address of the listing's page.
    url: Annotated[str, Field(max_length=2000)] | None = None


@router.get("")
async def list_publications(listing_id: ListingId, session: Transaction) -> list[PublicationOut]:
    """Where the listing is, or was, or shall be: one per account."""
    if await session.get(Listing, listing_id) is None:
        raise NotFound
    return (await publications_of(session, [listing_id]))[listing_id]


@router.post("/{browserProfileId}/{action}")
async def decide(
    listing_id: ListingId,
    browserProfileId: str,
    action: str,
    session: Transaction,
    body: ActionBody | None = None,
) -> PublicationOut:
    """One of the buttons of `needsYou.actions` and `actions`; `end` (take it down) at any time, and `keep` it
    as long as nobody has begun to take it down. 409: it has begun."""
    wanted = (
        select(Publication)
        .join(Connection, Connection.id == Publication.connection_id)
        .where(Publication.listing_id == listing_id, Connection.public_id == browserProfileId)
    )
    publication = (await session.execute(wanted)).scalar_one_or_none()
    if publication is None:
        raise NotFound("That listing was never posted to an account of yours with that id.")
    if action in cancelled_sales.ANSWERS:
        await cancelled_sales.answer(session, publication, action)
    else:
        await act(session, publication, action, url=body.url if body else None)
    await session.flush()
    await session.refresh(publication)
    account = await session.get_one(Connection, publication.connection_id)
    listing = await session.get_one(Listing, listing_id)
    return PublicationOut.now(publication, account, actions_of(publication, browserProfileId, listing))


async def publications_of(
    session: AsyncSession, listing_ids: Sequence[UUID]
) -> dict[UUID, list[PublicationOut]]:
    """The publications of each of these listings, as they stand. Two queries (and one of the listings, where
    one is being taken down): joined, they were found by
    account, among all that a seller has there."""
    rows = (await session.scalars(select(Publication).where(Publication.listing_id.in_(listing_ids)))).all()
    accounts = {row.connection_id for row in rows}
    found_accounts = await session.scalars(select(Connection).where(Connection.id.in_(accounts)))
    account_of = {account.id: account for account in found_accounts}
    going = {row.listing_id for row in rows if row.wanted == "ended" and row.put == "live"}
    listings = (
        {one.id: one for one in await session.scalars(select(Listing).where(Listing.id.in_(going)))}
        if going
        else {}
    )
    found: dict[UUID, list[PublicationOut]] = {id: [] for id in listing_ids}
    for row in sorted(rows, key=lambda row: (row.created_at, account_of[row.connection_id].public_id)):
        account = account_of[row.connection_id]
        actions = actions_of(row, account.public_id, listings.get(row.listing_id))
        found[row.listing_id].append(PublicationOut.now(row, account, actions))
    return found


def actions_of(publication: Publication, browser_profile_id: str, listing: Listing | None) -> list[ActionOut]:
    """What the seller may do beside what `needsYou` offers. `listing`: known where it is being taken down."""
    names = []
    if publication.relist == "asked" or (listing is not None and may_keep(publication, listing)):
        names.append("keep")
    if publication.wanted != "ended" and (publication.put == "live" or publication.unsettled):
        names.append("end")
    where = f"/api/listings/{publication.listing_id}/publications/{browser_profile_id}"
    return [
        ActionOut(name=name, label=ACTIONS[name], method="POST", href=f"{where}/{name}") for name in names
    ]
