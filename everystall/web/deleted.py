"""Deleted listings: which there are, and the way back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from everystall.inventory import deleted
from everystall.inventory.deleted import Deleted
from everystall.web.cursors import cursor_of, read_cursor
from everystall.web.deps import Seller, Transaction, as_id
from everystall.web.listings import ListingOut, get_listing
from everystall.web.shapes import MoneyOut, Shape

router = APIRouter(prefix="/api/deleted-listings", tags=["listings"])


async def _deleted_id(deletedId: str) -> UUID:  # the path's own name
    return as_id(deletedId)


DeletedId = Annotated[UUID, Depends(_deleted_id)]


class DeletedListingOut(Shape):
    #: The listing's; it has the same once it is restored.
    listing_id: str
    title: str | None
    sku: str | None
    price: MoneyOut | None
    deleted_at: datetime
    #: When it is gone for good.
    until: datetime

    @classmethod
    def of(cls, one: Deleted) -> DeletedListingOut:
        price = None if one.price_cents is None else MoneyOut(amount=one.price_cents, currency="USD")
        return cls(
            listing_id=str(one.id), title=one.title, sku=one.sku, price=price, deleted_at=one.deleted_at,
            until=one.until,
        )  # fmt: skip


class DeletedListingsOut(Shape):
    listings: list[DeletedListingOut]
    next_cursor: str | None


@router.get("")
async def list_deleted(
    session: Transaction, cursor: Annotated[str | None, Query(max_length=200)] = None
) -> DeletedListingsOut:
    """The latest first."""
    after = None
    if cursor is not None:
        at, last = read_cursor(cursor)
        after = at, as_id(last)
    found, ends = await deleted.deleted_of(session, after)
    return DeletedListingsOut(
        listings=[DeletedListingOut.of(one) for one in found], next_cursor=cursor_of(*ends) if ends else None
    )


@router.post("/{deletedId}/restore")
async def restore_listing(deleted_id: DeletedId, session: Transaction, who: Seller) -> ListingOut:
    """The listing as it was, with its photos; live nowhere. 404: there is none, or its time is over."""
    return await get_listing(await deleted.restore(session, deleted_id), session)
