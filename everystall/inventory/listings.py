"""A listing's row, and with its photos the plain facts that every marketplace's form reads."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import NotFound
from everystall.inventory.deleted import throw_away
from everystall.marketplaces.base import ListingFacts, Money, Package, PhotoFacts
from everystall.models import Listing, ListingPhoto, Publication

#: What is never sent anywhere: an edit of these is none where the listing is live.
PRIVATE = frozenset({"location", "cost_cents", "labels"})


async def facts_of(session: AsyncSession, listing: Listing) -> ListingFacts:
    """What the seller wrote, with the photos in their order. One query."""
    photos = await session.scalars(
        select(ListingPhoto).where(ListingPhoto.listing_id == listing.id).order_by(ListingPhoto.position)
    )
    return facts_with(listing, photos.all())


def facts_with(listing: Listing, photos: Sequence[ListingPhoto]) -> ListingFacts:
    """The same, the photos given."""

    def money(cents: int | None) -> Money | None:
        return None if cents is None else Money(amount=cents, currency=listing.currency)

    return ListingFacts(
        title=listing.title,
        description=listing.description,
        brand=listing.brand,
        category=listing.category,
        size=listing.size,
        condition=listing.condition,
        colors=tuple(listing.colors),
        tags=tuple(listing.tags),
        price=money(listing.price_cents),
        original_price=money(listing.original_price_cents),
        quantity=listing.quantity - listing.quantity_sold,
        sku=listing.sku,
        package=Package(**listing.package),
        ships_from_zip=listing.ships_from_zip,
        shipping_payer=listing.shipping_payer,
        specifics=listing.specifics,
        photos=tuple(
            PhotoFacts(
                sha256=p.sha256, width=size[0], height=size[1], content_type=p.content_type, turn=p.turn
            )
            for p in photos
            for size in [size_of(p)]
        ),
        overrides=listing.overrides,
    )


def size_of(photo: ListingPhoto) -> tuple[int, int]:
    """Width and height in pixels, as it is shown."""
    return (photo.height, photo.width) if photo.turn in (90, 270) else (photo.width, photo.height)


async def find_listing(session: AsyncSession, listing_id: UUID, *, lock: bool = False) -> Listing:
    """The seller's own, or NotFound. Locked, its publications are too, and before it: a visit locks them in
    that order."""
    if lock:
        await session.execute(
            select(Publication.id)
            .where(Publication.listing_id == listing_id)
            .order_by(Publication.id)
            .with_for_update()
        )
    wanted = select(Listing).where(Listing.id == listing_id)
    found = (await session.execute(wanted.with_for_update() if lock else wanted)).scalar_one_or_none()
    if found is None:
        raise NotFound
    return found


#: What a copy does not have of the original: what it went through, and what names one thing only.
_ITS_OWN = {"id", "sku", "quantity_sold", "revision", "delete_asked_at", "created_at", "updated_at"}


async def copy_of(session: AsyncSession, listing: Listing) -> Listing:
    """A draft with the same content and photos, and no SKU: that names the original."""
    made = Listing(
        **{
            column.key: getattr(listing, column.key)
            for column in Listing.__table__.columns
            if column.key not in _ITS_OWN and column.computed is None
        }
    )
    session.add(made)
    await session.flush()
    photos = await session.scalars(select(ListingPhoto).where(ListingPhoto.listing_id == listing.id))
    for photo in photos.all():
        kept = {
            column.key: getattr(photo, column.key)
            for column in ListingPhoto.__table__.columns
            if column.key not in {"id", "listing_id", "created_at"}
        }
        session.add(ListingPhoto(**kept, listing_id=made.id))
    await session.flush()
    return made


async def forget_listing_if_over(session: AsyncSession, listing_id: UUID) -> None:
    """DELETE ?end=true: the listing goes once nothing of it is live, wanted or in question."""
    listing = await session.get(Listing, listing_id)
    if listing is None or listing.delete_asked_at is None:
        return
    await session.flush()
    open_ = await session.execute(
        text("""
        SELECT 1 FROM publications p WHERE p.listing_id = :id AND (p.unsettled OR p.looking OR p.put = 'live'
            OR EXISTS (SELECT 1 FROM attempts a WHERE a.publication_id = p.id AND a.next_look_at IS NOT NULL))
        LIMIT 1"""),
        {"id": listing_id},
    )
    if open_.first() is None:
        await throw_away(session, listing)
