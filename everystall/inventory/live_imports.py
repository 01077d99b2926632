"""An account's live listings come in: which are to be read, and what each becomes. A listing and its
publication are made in one transaction with the outcome, and the account's id of it names one attempt (a
unique key): so each comes in once, however often it is read. Nothing here touches a marketplace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.content.photos import Fingerprint, StoredPhoto
from everystall.errors import Refused
from everystall.inventory import matches, pricing
from everystall.inventory.imports import alone, place_key
from everystall.inventory.incoming import live
from everystall.inventory.listings import facts_with, find_listing
from everystall.inventory.revisions import touch
from everystall.marketplaces.base import MARKER, Active, flat, hash_of, photo_name
from everystall.models import (
    Attempt,
    Connection,
    Listing,
    ListingPhoto,
    ListingSource,
    LiveImport,
    LiveImportItem,
    Publication,
    Sale,
)
from everystall.notify import messages

#: Failures of one listing, or of reading the list, after which it is given up.
TRIES = 4


@dataclass(frozen=True)
class TakenPhoto:
    """A photo of a live listing: what is kept of it, what it looks like there."""

    stored: StoredPhoto
    dhash: str
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Read:
    """A live listing as its own page and form show it (live.merged)."""

    remote_id: str
    url: str | None
    shown: Mapping[str, Any]
    photos: Sequence[TakenPhoto]
    #: What did not come over: [{field, message}].
    notes: Sequence[dict[str, str]]


async def begin(session: AsyncSession, connection: Connection) -> LiveImport:
    """The one that runs, or a new one, and somebody on the way. The account's row is locked by the caller."""
    if connection.needs_you is not None:
        raise Refused(
            f"The account cannot be visited now: {connection.needs_you['message']}",
            action="Connect it again, then ask again.",
        )
    running = await session.scalar(
        select(LiveImport).where(LiveImport.connection_id == connection.id, LiveImport.status == "running")
    )
    if running is None:
        await session.execute(delete(LiveImport).where(LiveImport.connection_id == connection.id))
        running = LiveImport(user_id=connection.user_id, connection_id=connection.id)
        session.add(running)
        await session.flush()
    await engine.wake(session, [connection.id], "reading")
    return running


async def find_due(session: AsyncSession, connection_id: UUID) -> LiveImport | None:
    found = await session.scalars(
        select(LiveImport).where(LiveImport.connection_id == connection_id, LiveImport.status == "running")
    )
    return found.one_or_none()


async def find_next(session: AsyncSession, doing: LiveImport) -> LiveImportItem | None:
    """The one to be read now, in the list's order; what failed comes after all others."""
    found = await session.scalars(
        select(LiveImportItem)
        .where(LiveImportItem.import_id == doing.id, LiveImportItem.outcome.is_(None))
        .order_by(LiveImportItem.tries, LiveImportItem.position)
        .limit(1)
    )
    return found.one_or_none()


async def note_page(
    session: AsyncSession, doing: LiveImport, rows: Sequence[Active], number: int
) -> int:  # fmt: skip
    """A page of the list, and how many of it were not met before. What is ours already is known by its id, or
    by our marker."""
    new: Sequence[str] = ()
    met = await session.scalar(select(func.count()).where(LiveImportItem.import_id == doing.id)) or 0
    if rows:
        values = [
            {"user_id": doing.user_id, "import_id": doing.id, "remote_id": row.remote_id,
             "position": met + place, "title": row.title, "sku": row.sku}
            for place, row in enumerate(rows)
        ]  # fmt: skip
        made = insert(LiveImportItem).on_conflict_do_nothing().returning(LiveImportItem.remote_id)
        new = (await session.scalars(made, values)).all()
    doing.tries, doing.cut_off, doing.message = 0, 0, None
    doing.pages_read = number
    await session.flush()
    await session.execute(
        text("""
        UPDATE live_import_items i SET outcome = 'known', listing_id = p.listing_id
        FROM attempts a JOIN publications p ON p.id = a.publication_id
        WHERE i.import_id = :import AND i.outcome IS NULL
          AND a.connection_id = :connection AND a.remote_id = i.remote_id"""),
        {"import": doing.id, "connection": doing.connection_id},
    )
    return len(new)


async def find_ours(session: AsyncSession, doing: LiveImport, remote_id: str, sku: str | None) -> UUID | None:
    """The listing of ours that it is already: by its id there, else by the marker of a post of ours."""
    marker = MARKER.search(sku or "")
    mine = Attempt.remote_id == remote_id
    if marker:
        mine |= Attempt.marker == marker[0].strip()
    found = await session.scalars(
        select(Publication.listing_id)
        .join(Attempt, Attempt.publication_id == Publication.id)
        .where(Attempt.connection_id == doing.connection_id, mine)
        .limit(1)
    )
    return found.one_or_none()


async def is_in_question(session: AsyncSession, doing: LiveImport, title: str) -> bool:
    """Is a post of that title open on the account? Then it may be this one, and whoever looks finds out."""
    return bool(
        await session.scalar(
            text("""SELECT EXISTS (SELECT FROM attempts WHERE connection_id = :id AND armed_at IS NOT NULL
                AND (outcome IS NULL
                     OR (outcome = 'unresolved' AND next_look_at IS NOT NULL AND remote_id IS NULL))
                AND draft ->> 'title' = :title)"""),
            {"id": doing.connection_id, "title": title},
        )
    )


async def bring_in(
    session: AsyncSession, doing: LiveImport, item: LiveImportItem, connection: Connection, read: Read,
    fence: int
) -> None:  # fmt: skip
    """The listing with its photos, or the one that a file brought in before; its publication as it is live
    there, and the outcome. Nobody has to go there."""
    came = live.read(connection.marketplace, read.shown)
    await alone(session, doing.user_id)
    here = await _find_here(session, connection, read.remote_id, came)
    listing, made = (here, False) if here else await _write(session, doing, connection, read, came)
    photos = [] if made else await _photos_of(session, listing)
    if not photos:
        photos = _photos(listing, read.photos)
        session.add_all(photos)
        await session.flush()
        if photos and not made:
            await touch(session, listing)
    facts = facts_with(listing, photos)
    draft, _, _ = pricing.compose(connection.marketplace, facts, None, connection.defaults)
    shown = {**read.shown, "photos": tuple(photo_name(photo.sha256, photo.turn) for photo in photos)}
    put, adopted = live.as_put(draft, shown)
    notes = [*came.notes, *read.notes]
    publication = Publication(
        id=uuid4(), user_id=doing.user_id, listing_id=listing.id, connection_id=connection.id,
        marketplace=connection.marketplace, wanted="live", wanted_revision=listing.revision, put="live",
        put_revision=listing.revision, seen="live", seen_at=func.now(), state="live",
        remote_id=read.remote_id, url=read.url, notes=notes,
        read_back={name: name not in adopted for name in flat(shown)}, finished_at=func.now(),
    )  # fmt: skip
    attempt = Attempt(
        user_id=doing.user_id, publication_id=publication.id, connection_id=connection.id,
        listing_revision=listing.revision, draft=put, fields_hash=hash_of(put), photo_hashes=[one.dhash for
        one in read.photos], fence=fence, remote_id=read.remote_id, url=read.url, outcome="live",
        adopted=adopted,
    )  # fmt: skip
    for row in (publication, attempt):
        session.add(row)
        await session.flush()
    # orders from before are of it and have had their effect: what the page shows is what is left
    await session.execute(
        update(Sale)
        .where(Sale.connection_id == connection.id, Sale.remote_id == read.remote_id,
               Sale.publication_id.is_(None), Sale.listing_id.is_(None))
        .values(listing_id=listing.id, publication_id=publication.id, category=listing.category,
                settled_at=func.now())
    )  # fmt: skip
    item.outcome, item.listing_id, item.notes = "created" if made else "known", listing.id, notes


async def _write(
    session: AsyncSession, doing: LiveImport, connection: Connection, read: Read, came: live.Came
) -> tuple[Listing, bool]:
    """A new one: True. Where it is stands once for a seller (ListingSource): of a file that is brought in at
    this moment and says the same there is no second one; then that is it."""
    listing = Listing(id=uuid4(), user_id=doing.user_id, revision=1, currency="USD", quantity_sold=0,
                      **came.columns)  # fmt: skip
    session.add(listing)
    await session.flush()
    place = insert(ListingSource).values(
        user_id=doing.user_id, source=connection.marketplace, key=place_key(read.remote_id),
        listing_id=listing.id, facts={},
    )  # fmt: skip
    first = await session.scalar(place.on_conflict_do_nothing().returning(ListingSource.listing_id))
    if first is None and (other := await _find_here(session, connection, read.remote_id, came)) is not None:
        await session.delete(listing)
        await session.flush()
        return other, False
    return listing, True


async def _find_here(
    session: AsyncSession, connection: Connection, remote_id: str, came: live.Came
) -> Listing | None:
    """A listing of a file that is this one: the file said that it is there; or, live nowhere, it alone has
    this SKU, the same title and as many left. Locked. None where it is, or was, on this account already, or
    is sold. Of what the file said is there as many are left as its page shows; None where it is elsewhere,
    too, with another number."""
    by_place = select(ListingSource.listing_id).where(
        ListingSource.source == connection.marketplace, ListingSource.key == place_key(remote_id)
    )
    placed = [*await session.scalars(by_place)]
    found = placed or await _find_by_sku(session, came)
    if len(found) != 1:
        return None
    listing = await find_listing(session, found[0], lock=True)
    await session.refresh(listing)
    on_it = select(Publication.id).where(
        Publication.listing_id == listing.id, Publication.connection_id == connection.id
    )
    left, shown = listing.quantity - listing.quantity_sold, came.columns["quantity"]
    if left < 1 or listing.delete_asked_at is not None or await session.scalar(on_it) is not None:
        return None
    if left != shown:
        elsewhere = select(Publication.id).where(Publication.listing_id == listing.id).limit(1)
        if not placed or await session.scalar(elsewhere) is not None:
            return None
        listing.quantity = listing.quantity_sold + shown
        await touch(session, listing)
    return listing


async def _find_by_sku(session: AsyncSession, came: live.Came) -> list[UUID]:
    sku, title = came.columns["sku"], _bare(came.columns["title"])
    if not sku or not title:
        return []
    rows = (await session.execute(select(Listing.id, Listing.title).where(Listing.sku == sku).limit(2))).all()
    placed = select(Publication.id).where(Publication.listing_id.in_([row.id for row in rows])).limit(1)
    if len(rows) != 1 or _bare(rows[0].title) != title or await session.scalar(placed) is not None:
        return []
    return [rows[0].id]


def _bare(title: str | None) -> str:
    return " ".join((title or "").casefold().split())


async def _photos_of(session: AsyncSession, listing: Listing) -> list[ListingPhoto]:
    wanted = select(ListingPhoto).where(ListingPhoto.listing_id == listing.id)
    return [*await session.scalars(wanted.order_by(ListingPhoto.position))]


def _photos(listing: Listing, taken: Sequence[TakenPhoto]) -> list[ListingPhoto]:
    """In their order; the same picture twice is one."""
    found = {one.stored.sha256: one for one in taken}
    return [
        ListingPhoto(
            user_id=listing.user_id, listing_id=listing.id, position=place, sha256=one.stored.sha256,
            content_type=one.stored.content_type, width=one.stored.width, height=one.stored.height,
            byte_size=one.stored.byte_size, fingerprint=matches.as_json(one.fingerprint), turn=0,
        )
        for place, one in enumerate(found.values())
    ]  # fmt: skip


async def later(doing: LiveImport, item: LiveImportItem | None, message: str, wait: timedelta) -> bool:
    """It did not work this time. True: it is given up, and so is the whole where its list cannot be read."""
    doing.message = message
    doing.next_step_at = func.clock_timestamp() + wait
    if item is not None:
        item.tries += 1
        if item.tries >= TRIES:
            fail(item, message)
        return item.outcome == "failed"
    doing.tries += 1
    return doing.tries >= TRIES


def fail(item: LiveImportItem, message: str) -> None:
    item.outcome, item.notes = "failed", [{"field": "", "message": message}]


async def finish(session: AsyncSession, doing: LiveImport, connection: Connection, status: str) -> None:
    """The end of it: told, and the seller's listings are compared with each other."""
    doing.status, doing.finished_at = status, func.clock_timestamp()
    counts = await counted(session, doing.id)
    data = {
        "browserProfileId": connection.public_id,
        "marketplace": connection.marketplace,
        "status": status,
        "message": doing.message,
        **counts,
    }
    await messages.record(session, doing.user_id, "import.finished", data)
    came = exists().where(Attempt.connection_id == connection.id, Attempt.created_at >= doing.created_at)
    if await session.scalar(select(came)):
        await matches.ask(session, doing.user_id)


async def counted(session: AsyncSession, import_id: UUID) -> dict[str, int]:
    rows = await session.execute(
        select(LiveImportItem.outcome, func.count())
        .where(LiveImportItem.import_id == import_id)
        .group_by(LiveImportItem.outcome)
    )
    found = {outcome or "waiting": number for outcome, number in rows}
    names = ("waiting", "created", "known", "gone", "failed")
    return {"total": sum(found.values()), **{name: found.get(name, 0) for name in names}}
