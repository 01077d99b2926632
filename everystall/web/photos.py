"""A listing's photos: originals as they were taken, in the seller's order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import UploadFile

from everystall.content.photos import CARD, LARGE, THUMBNAIL
from everystall.errors import BadRequest, NotFound, PhotoRefused
from everystall.inventory.listings import find_listing
from everystall.inventory.revisions import touch
from everystall.marketplaces.base import PhotoRule, photo_name
from everystall.models import Listing, ListingPhoto
from everystall.web.deps import AllParts, ListingId, Parts, PhotoId, Seller, SignedIn, Transaction
from everystall.web.listings import PhotoOut, photos_of
from everystall.web.shapes import Body, Shape

router = APIRouter(prefix="/api/listings/{listingId}/photos", tags=["photos"])

MOST = 40
_SMALL: Mapping[str, PhotoRule] = {"thumbnail": THUMBNAIL, "card": CARD, "large": LARGE}


class PhotosOut(Shape):
    """All photos of the listing, in order."""

    photos: list[PhotoOut]
    revision: int


class OrderBody(Body):
    #: Every photo of the listing once, in the new order; the first is the cover.
    photo_ids: Annotated[list[str], Field(max_length=MOST)]


@router.post(
    "",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "photos": {"type": "array", "items": {"type": "string", "format": "binary"}}
                        },
                    }
                },
                "image/*": {"schema": {"type": "string", "format": "binary"}},
            }
        }
    },
)
async def add_photos(listing_id: ListingId, request: Request, parts: AllParts, who: Seller) -> PhotosOut:
    """Adds photos behind those that are there: files of a multipart form, under any name, or one photo as
    the body. All are taken or none. A photo that is there already stays where it is.

    No transaction is open while photos are decoded or the store is asked."""
    return await keep_photos(parts, who, listing_id, _sent(request))


async def keep_photos(
    parts: Parts, who: SignedIn, listing_id: UUID, sent: AsyncIterator[tuple[str, bytes]]
) -> PhotosOut:
    """As the route: each with a name that the seller knows it by."""
    async with parts.database.as_user(who.user_id) as session:
        await find_listing(session, listing_id)
        there = len(await photos_of(session, [listing_id]))
    _refuse_too_many(there)
    rows: list[ListingPhoto] = []
    async for name, data in sent:
        if len(rows) >= MOST:
            _refuse_too_many(MOST)
        try:
            kept = await parts.photos.put(data)
        except PhotoRefused as e:
            raise PhotoRefused(f"{name}: {e.message}", action=e.action, photo=name, **e.details) from None
        rows.append(
            ListingPhoto(
                user_id=who.user_id, listing_id=listing_id, sha256=kept.sha256, width=kept.width,
                height=kept.height, content_type=kept.content_type, byte_size=kept.byte_size,
            )
        )  # fmt: skip
    if not rows:
        raise BadRequest(
            "There is no photo in that.",
            action="Send files as multipart/form-data, or one photo as the body.",
        )
    found = await parts.photos.look_for(parts.database, {row.sha256 for row in rows})
    async with parts.database.as_user(who.user_id) as session:
        shown = await _append(session, listing_id, rows)
        await parts.photos.hold(session, found)
        return shown


async def _sent(request: Request) -> AsyncIterator[tuple[str, bytes]]:
    """Each photo with a name that the seller knows it by."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        data = await request.body()
        if data:
            yield "The photo", data
        return
    async with request.form(max_files=MOST + 1, max_fields=20) as form:
        for place, (_, value) in enumerate(form.multi_items(), 1):
            # a field for files in which none was chosen sends one that is empty, without a name
            if isinstance(value, UploadFile) and (value.filename or value.size):
                name = f"Photo {place} ({(value.filename or 'without a name')[:60]})"
                yield name, await value.read()


def _refuse_too_many(there: int, more: int = 1) -> None:
    if there + more > MOST:
        raise PhotoRefused(
            f"A listing has at most {MOST} photos; this one would have more.",
            action="Leave some out, or delete some first. None of these was added.",
            limit=MOST,
        )


async def _append(session: AsyncSession, listing_id: UUID, rows: Sequence[ListingPhoto]) -> PhotosOut:
    listing = await find_listing(session, listing_id, lock=True)
    there = await photos_of(session, [listing_id])
    known = {photo.sha256 for photo in there}
    new = {row.sha256: row for row in reversed(rows) if row.sha256 not in known}
    fresh = [row for row in rows if new.get(row.sha256) is row]
    _refuse_too_many(len(there), len(fresh))
    after = max((photo.position for photo in there), default=-1) + 1
    for position, row in enumerate(fresh, after):
        row.position = position
        session.add(row)
    if fresh:
        await touch(session, listing)
    return await _shown(session, listing)


@router.put("")
async def order_photos(listing_id: ListingId, body: OrderBody, session: Transaction) -> PhotosOut:
    """The new order: every photo of the listing, each once."""
    listing = await find_listing(session, listing_id, lock=True)
    there = {str(photo.id): photo for photo in await photos_of(session, [listing_id])}
    if sorted(body.photo_ids) != sorted(there):
        raise BadRequest(
            "The order has to name every photo of the listing, each once.",
            action="Load the listing again and send all its photo ids.",
            photos=list(there),
        )
    moved = [(there[id], place) for place, id in enumerate(body.photo_ids) if there[id].position != place]
    for photo, place in moved:
        photo.position = place
    if moved:
        await touch(session, listing)
    return await _shown(session, listing)


class TurnBody(Body):
    #: Degrees clockwise, from the original as it came: 0, 90, 180 or 270.
    turn: Literal[0, 90, 180, 270]


@router.patch("/{photoId}")
async def turn_photo(
    listing_id: ListingId, photo_id: PhotoId, body: TurnBody, session: Transaction
) -> PhotosOut:
    """How it is turned wherever it is shown or sent; the original stays as it is. A change of content: where
    the listing is live, its photos are sent anew."""
    listing = await find_listing(session, listing_id, lock=True)
    photo = await _find(session, listing_id, photo_id)
    if photo.turn != body.turn:
        photo.turn, photo.fingerprint = body.turn, None
        await session.flush()
        await touch(session, listing)
    return await _shown(session, listing)


@router.delete("/{photoId}")
async def delete_photo(listing_id: ListingId, photo_id: PhotoId, session: Transaction) -> PhotosOut:
    listing = await find_listing(session, listing_id, lock=True)
    photo = await _find(session, listing_id, photo_id)
    await session.delete(photo)
    await session.flush()
    await session.execute(
        update(ListingPhoto)
        .where(ListingPhoto.listing_id == listing_id, ListingPhoto.position > photo.position)
        .values(position=ListingPhoto.position - 1)
        .execution_options(synchronize_session=False)
    )
    await touch(session, listing)
    return await _shown(session, listing)


@router.get("/{photoId}", response_class=Response)
async def get_photo(
    listing_id: ListingId,
    photo_id: PhotoId,
    parts: AllParts,
    who: Seller,
    size: Annotated[Literal["original", "thumbnail", "card", "large"], Query()] = "original",
) -> Response:
    """The original's bytes as they came; or, turned as you want it, a JPEG of at most 192 (thumbnail), 480
    (card) or 2,048 (large) pixels a side."""
    async with parts.database.as_user(who.user_id) as session:
        photo = await _find(session, listing_id, photo_id)
    name = photo_name(photo.sha256, photo.turn)
    rule = _SMALL.get(size)
    made = parts.photos.rendition(name, rule) if rule else parts.photos.get(photo.sha256)
    # who turns it asks at another address (`photo_at`)
    return Response(
        await made,
        media_type="image/jpeg" if rule else photo.content_type,
        headers={
            "Cache-Control": "private, max-age=31536000, immutable",
            "ETag": f'"{f"{name}-{size}" if rule else photo.sha256}"',
        },
    )


def photo_at(listing_id: UUID, photo_id: UUID, turn: int, size: str = "thumbnail") -> str:
    """Where it is seen, small. Browsers keep it: turned otherwise it has another address."""
    return f"/api/listings/{listing_id}/photos/{photo_id}?size={size}" + (f"&turn={turn}" if turn else "")


async def _find(session: AsyncSession, listing_id: UUID, photo_id: UUID) -> ListingPhoto:
    found = (
        await session.execute(
            select(ListingPhoto).where(ListingPhoto.id == photo_id, ListingPhoto.listing_id == listing_id)
        )
    ).scalar_one_or_none()
    if found is None:
        raise NotFound
    return found


async def _shown(session: AsyncSession, listing: Listing) -> PhotosOut:
    await session.flush()
    rows = await photos_of(session, [listing.id])
    return PhotosOut(photos=[PhotoOut.of(row) for row in rows], revision=listing.revision)
