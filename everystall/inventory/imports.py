"""Bringing in a file of listings: what would become of each row, and then that, batch by batch, in a worker.

A row's outcome is written in the transaction that makes its listing, and its source names one listing
(`listing_sources`, by its unique key). So an import that breaks off goes on where it was, and one that is
repeated makes nothing twice. What the seller wrote here is not written over by a file that does not know it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog
from sqlalchemy import func, select, text, tuple_
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.content.addresses import Fetcher
from everystall.content.photos import Photos
from everystall.db import Database
from everystall.errors import ImportRunning
from everystall.inventory import import_photos, links
from everystall.inventory.incoming import ebay, own, shopify
from everystall.inventory.incoming.rows import SAID, Finding
from everystall.inventory.listings import find_listing
from everystall.inventory.revisions import changed
from everystall.marketplaces import MARKETPLACES
from everystall.models import (
    Attempt,
    Connection,
    Import,
    ImportRow,
    Listing,
    ListingPhoto,
    ListingSource,
    PriceDrop,
    Publication,
)

log = structlog.get_logger()

#: Rows of one transaction.
BATCH = 200
#: Seconds for which photos are fetched before comparisons have their turn.
PHOTO_SECONDS = 10.0
#: What a row may change of a listing that is there, and what stands there before anybody tells.
_CONTENT: Mapping[str, Any] = {
    "title": None, "description": None, "brand": None, "category": None, "size": None, "condition": None,
    "colors": [], "tags": [], "price_cents": None, "original_price_cents": None, "quantity": 1, "sku": None,
    "package": {}, "ships_from_zip": None, "shipping_payer": None, "specifics": {}, "overrides": {},
    "location": None, "cost_cents": None, "labels": [],
}  # fmt: skip
#: Begins the keys of sources that are marketplaces.
_PLACE = "id:"
#: Formats whose quantity is what is left; ours counts the sold ones in.
_LEFT = (ebay.NAME, shopify.NAME)


@dataclass
class Decision:
    """What becomes of a row."""

    outcome: str
    listing_id: UUID | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


# ---- deciding -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Here:
    """What is here already that the rows may be."""

    #: Key of a row → where it came from before.
    sources: Mapping[str, ListingSource]
    listings: Mapping[UUID, Listing]
    #: A listing as our export called it → what it is since it was linked.
    linked: Mapping[UUID, UUID]
    #: (marketplace, what that calls it) → listing.
    places: Mapping[tuple[str, str], UUID]
    skus: Mapping[str, UUID]
    #: (when it was written, title) → listing.
    written: Mapping[tuple[str, str | None], UUID]


async def decide(session: AsyncSession, source: str, rows: Sequence[ImportRow]) -> list[Decision]:
    """What becomes of these rows of one import, as things stand. Changes nothing."""
    keys = [row.key for row in rows]
    sources = {
        known.key: known
        for known in await session.scalars(
            select(ListingSource).where(ListingSource.source == source, ListingSource.key.in_(keys))
        )
    }
    own = [id for row in rows if (id := _own_id(source, row.key)) is not None]
    parts = await links.find_parts(session, own) if own else {}
    ids = [known.listing_id for known in sources.values()] + [id for all_ in parts.values() for id in all_]
    listings = {
        listing.id: listing for listing in await session.scalars(select(Listing).where(Listing.id.in_(ids)))
    }
    here = _Here(
        sources,
        listings,
        {id: other for id, all_ in parts.items() for other in all_ if other in listings},
        await _places_taken(session, rows),
        await _skus_taken(session, rows),
        await _written_here(session, rows) if own else {},
    )
    return [_decide(source, row, here) for row in rows]


def _made_now(rows: Sequence[ImportRow]) -> Any:
    """Listings that this import made."""
    return select(ListingSource.listing_id).where(ListingSource.import_id == rows[0].import_id)


async def _skus_taken(session: AsyncSession, rows: Sequence[ImportRow]) -> dict[str, UUID]:
    """SKU → a listing that has it and was not made by this import."""
    skus = [row.facts["sku"] for row in rows if row.facts.get("sku")]
    if not skus:
        return {}
    found = await session.execute(
        select(Listing.sku, Listing.id).where(Listing.sku.in_(skus), Listing.id.not_in(_made_now(rows)))
    )
    return {sku: id for sku, id in found if sku is not None}


async def _places_taken(session: AsyncSession, rows: Sequence[ImportRow]) -> dict[tuple[str, str], UUID]:
    """The listing that is, or was, there by a publication of it, or by the word of another file."""
    wanted = {place for row in rows for place in places_of(row.facts)}
    if not wanted:
        return {}
    said = await session.execute(
        select(ListingSource.source, ListingSource.key, ListingSource.listing_id).where(
            tuple_(ListingSource.source, ListingSource.key).in_(
                [(name, place_key(remote_id)) for name, remote_id in wanted]
            ),
            ListingSource.listing_id.not_in(_made_now(rows)),
        )
    )
    put = await session.execute(
        select(Connection.marketplace, Attempt.remote_id, Publication.listing_id)
        .join(Attempt, Attempt.connection_id == Connection.id)
        .join(Publication, Publication.id == Attempt.publication_id)
        .where(Attempt.remote_id.in_({remote_id for _, remote_id in wanted}))
    )
    found = {(name, key.removeprefix(_PLACE)): id for name, key, id in said}
    found |= {(name, remote_id): id for name, remote_id, id in put if remote_id is not None}
    return found


async def _written_here(
    session: AsyncSession, rows: Sequence[ImportRow]
) -> dict[tuple[str, str | None], UUID]:
    """When a listing was written goes along with it, to the millionth of a second."""
    told = [datetime.fromisoformat(row.facts["created_at"]) for row in rows if row.facts.get("created_at")]
    found = await session.execute(
        select(Listing.created_at, Listing.title, Listing.id).where(
            Listing.created_at.in_(told), Listing.id.not_in(_made_now(rows))
        )
    )
    return {(at.astimezone(UTC).isoformat(), title): id for at, title, id in found}


def places_of(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(marketplace, what that calls it) of where a file says that it is or was."""
    for name, remote_ids in facts.get("places", {}).items():
        for remote_id in remote_ids:
            yield name, remote_id


def place_key(remote_id: str) -> str:
    """Of a listing's source that is a marketplace."""
    return _PLACE + remote_id


def _decide(source: str, row: ImportRow, here: _Here) -> Decision:
    own_id, known = _own_id(source, row.key), here.sources.get(row.key)
    if row.outcome is not None:
        return Decision(row.outcome)
    if own_id is not None and own_id in here.listings:
        return _own_again(row, here.listings[own_id])
    if known is not None and known.listing_id in here.listings:
        listing = here.listings[known.listing_id]
        apart = listing.quantity_sold if source in _LEFT else 0
        return _known_again(row, listing, known.facts, apart)
    if own_id is not None and own_id in here.linked:
        return _left(
            here.linked[own_id], None, "linked_here",
            "It is here already: it was linked with this listing since.", "Nothing.",
        )  # fmt: skip
    for name, remote_id in places_of(row.facts):
        if (there := here.places.get((name, remote_id))) is not None:
            return _left(
                there, None, "place_taken",
                f"It is here already: your listing that is, or was, {remote_id} on {MARKETPLACES[name]}.",
                "Nothing.",
            )  # fmt: skip
    if (there := here.skus.get(row.facts.get("sku") or "")) is not None:
        return _left(
            there, "sku", "sku_taken",
            f"You have a listing with the SKU “{row.facts['sku'][:SAID]}” already; it was left as it is.",
            "Nothing, if it is the same thing; else give one of the two another SKU.",
        )  # fmt: skip
    if own_id is not None:
        written = row.facts.get("created_at", ""), row.facts.get("title")
        if (there := here.written.get(written)) is not None:
            return _left(
                there, None, "written_here",
                "It is here already: a listing of this title, written at the same moment.", "Nothing.",
            )  # fmt: skip
    return Decision("created")


def _left(listing_id: UUID, field: str | None, code: str, message: str, action: str) -> Decision:
    return Decision("skipped", listing_id, findings=[Finding(None, field, code, message, action)])


def _own_id(source: str, key: str) -> UUID | None:
    return UUID(key.removeprefix("listing:")) if source == own.NAME and key.startswith("listing:") else None


def _own_again(row: ImportRow, listing: Listing) -> Decision:
    """Our own export, in the account that it is from: what is other in the file was changed in the file, if
    nobody changed the listing since."""
    changes = {
        name: row.facts[name] for name in _CONTENT if _differs(row.facts, name, getattr(listing, name))
    }
    if not changes:
        return _same(listing)
    if row.facts.get("updated_at") != listing.updated_at.astimezone(UTC).isoformat():
        said = Finding(
            "updated_at", None, "changed_here",
            "You changed this listing after the file was exported; it was left as it is.",
            "Export again, and make your changes in the new file.",
        )  # fmt: skip
        return Decision("skipped", listing.id, findings=[said])
    return _changed(listing, changes, [])


def _known_again(row: ImportRow, listing: Listing, before: Mapping[str, Any], apart: int) -> Decision:
    """Of what the source said before, what it says otherwise now; what the seller changed here stays. A sale
    is told and not counted: it may be one that was seen here too. `apart`: so many sold ones are not in its
    quantity."""
    changes, kept = dict[str, Any](), list[str]()
    for name, empty in _CONTENT.items():
        here, last = getattr(listing, name), before.get(name, empty)
        if name not in row.facts or (told := row.facts[name]) == last:
            continue
        if name == "quantity" and apart:
            if told < last and told + apart > here:  # not more of them: it does not know of all these sales
                continue
            told, last = told + apart, here if here - apart == last else last
        if told in (last, here):
            continue
        if here == last:
            changes[name] = told
        else:
            kept.append(name)
    sold = row.facts.get("quantity_sold", 0)
    if sold <= max(before.get("quantity_sold", 0), listing.quantity_sold):
        return _changed(listing, changes, kept) if changes or kept else _same(listing)
    decision = _changed(listing, changes, kept)
    decision.findings.append(
        Finding(
            None, "quantity", "sold_there", f"The file says that {sold} are sold; here it is "
            f"{listing.quantity_sold} of {listing.quantity}. The file's sales were not counted.",
            "Take it down, or lower the quantity, if one of them was not sold here.",
        )
    )  # fmt: skip
    return decision


def _changed(listing: Listing, changes: dict[str, Any], kept: Sequence[str]) -> Decision:
    findings = [
        Finding(
            None, name, "changed_here", "You changed this here, and the file says otherwise: yours stays.",
            "Change the listing, if the file is right.",
        )
        for name in kept
    ]  # fmt: skip
    if "quantity" in changes and changes["quantity"] < listing.quantity_sold:
        del changes["quantity"]
        findings.append(
            Finding(
                None, "quantity", "fewer_than_sold", f"{listing.quantity_sold} of these are sold already.",
                "Count the sold ones in.",
            )
        )  # fmt: skip
    return Decision("updated" if changes else "skipped", listing.id, changes, findings)


def _same(listing: Listing) -> Decision:
    said = Finding(
        None, None, "here_already", "It is here already, and the file says nothing new.", "Nothing."
    )
    return Decision("skipped", listing.id, findings=[said])


def _differs(facts: Mapping[str, Any], name: str, here: Any) -> bool:
    return name in facts and facts[name] != here


# ---- doing ----------------------------------------------------------------------------------------


async def begin(session: AsyncSession, made: Import, batches: AsyncIterable[Sequence[ImportRow]]) -> Import:
    """Keeps the file's rows for a worker, in batches, so that others' requests get their turn in between. The
    same file, while it is being brought in, is the same import; another one raises ImportRunning."""
    running = await session.scalar(select(Import).where(Import.status == "running"))
    if running is not None:
        if running.file_hash != made.file_hash:
            raise ImportRunning(importId=str(running.id))
        return running
    session.add(made)
    await session.flush()
    async for rows in batches:
        session.add_all(rows)
        await session.flush()
    await engine.wake_imports(session)
    return made


async def bring_in(db: Database, stopping: asyncio.Event, store: Photos, fetcher: Fetcher) -> bool:
    """The body of the task: batches of all imports in turn, until none is due; then False. True: photos are
    left, and were fetched for so long that others may have their turn first."""
    end = time.monotonic() + PHOTO_SECONDS
    while not stopping.is_set():
        async with db.as_app() as session:
            claim = (await session.execute(text("SELECT * FROM everystall.take_import()"))).one_or_none()
        if claim is None:
            return False
        with structlog.contextvars.bound_contextvars(import_id=str(claim.id), user_id=str(claim.user_id)):
            mine = claim.id, claim.user_id, claim.claimed_until
            fetched = await import_photos.fetch_next(db, *mine, store, fetcher)
            if not fetched:
                await bring_in_batch(db, *mine)
        if fetched and time.monotonic() > end:
            return True
    return False


async def bring_in_batch(db: Database, import_id: UUID, user_id: UUID, claimed_until: datetime) -> None:
    """The next rows of a claimed import. If the database will not have one of them, each by itself, and that
    one failed."""
    try:
        async with db.as_user(user_id) as session:
            await _bring_in(session, import_id, claimed_until, BATCH)
        return
    except (DataError, IntegrityError) as e:
        log.warning("import.batch_refused", error=type(e.orig).__name__)
    for _ in range(BATCH):
        try:
            async with db.as_user(user_id) as session:
                left = await _bring_in(session, import_id, claimed_until, 1, keep=True)
        except (DataError, IntegrityError) as e:
            log.error("import.row_refused", error=type(e.orig).__name__)
            async with db.as_user(user_id) as session:
                left = await _bring_in(session, import_id, claimed_until, 1, keep=True, give_up=True)
        if not left:
            break
    async with db.as_user(user_id) as session:
        await _bring_in(session, import_id, claimed_until, 0)


async def _bring_in(
    session: AsyncSession,
    import_id: UUID,
    claimed_until: datetime,
    most: int,
    *,
    keep: bool = False,
    give_up: bool = False,
) -> bool:
    """One transaction: at most `most` rows, and the end of the import behind the last, if no photos are left.
    `keep`: the claim stays. `give_up`: the first row fails. False: no row is left, or it is not ours any
    more."""
    doing = await import_photos.claimed(session, import_id, claimed_until)
    if doing is None:
        return False
    waiting = (
        select(ImportRow)
        .where(ImportRow.import_id == import_id, ImportRow.outcome.is_(None))
        .order_by(ImportRow.line)
        .limit(most + 1)
    )
    rows = list(await session.scalars(waiting))
    if give_up:
        for row in rows[:1]:
            row.outcome, row.to_fetch = "failed", []
            row.findings = [*row.findings, _REFUSED.as_json()]
    elif rows[:most]:
        await _write(session, doing, rows[:most])
    if not keep:
        doing.claimed_until = func.clock_timestamp()
    if len(rows) <= most and not await import_photos.are_left(session, import_id):
        doing.status, doing.finished_at, doing.claimed_until = "done", func.clock_timestamp(), None
    return len(rows) > most


_REFUSED = Finding(
    None, None, "not_written", "It could not be written down; the operator's log has the reason.",
    "Ask the operator, or enter this one by hand.",
)  # fmt: skip


async def alone(session: AsyncSession, user_id: UUID) -> None:
    """Of all that makes a seller's listings out of what is elsewhere, one at a time writes, until its
    transaction ends: so each sees what the other made, whatever it is known by."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"),
        {"key": f"imports {user_id}"},
    )


async def _write(session: AsyncSession, doing: Import, rows: Sequence[ImportRow]) -> None:
    await alone(session, doing.user_id)
    for row, decision in zip(rows, await decide(session, doing.format, rows), strict=True):
        if decision.outcome == "updated" and decision.listing_id is not None:
            listing = await find_listing(session, decision.listing_id, lock=True)
            await session.refresh(listing)  # as it is now that nobody else can change it
            (decision,) = await decide(session, doing.format, [row])
            if decision.outcome == "updated":
                for name, value in decision.changes.items():
                    setattr(listing, name, value)
                await changed(session, listing, decision.changes)
        elif decision.outcome == "created":
            decision.listing_id = _create(session, doing, row)
            if drop := row.facts.get("price_drop"):
                await session.flush()
                session.add(PriceDrop(user_id=doing.user_id, listing_id=decision.listing_id, **drop))
        if not _is_its_listing(decision):
            row.to_fetch = []
        elif row.originals and not row.to_fetch:
            await session.flush()
            await _add_photos(session, row, decision)
        row.outcome, row.listing_id = decision.outcome, decision.listing_id
        row.findings = [*row.findings, *(finding.as_json() for finding in decision.findings)]
    await session.flush()
    await forget_photos(session, rows)
    await _remember(session, doing, rows)


def _create(session: AsyncSession, doing: Import, row: ImportRow) -> UUID:
    """In the file's order, whatever the batch; what left us once was made when it was made."""
    made_at = doing.created_at + timedelta(microseconds=row.line)
    if told := row.facts.get("created_at"):
        made_at = min(made_at, datetime.fromisoformat(told))
    values = {name: row.facts[name] for name in (*_CONTENT, "quantity_sold") if name in row.facts}
    listing = Listing(id=uuid4(), user_id=doing.user_id, created_at=made_at, **values)
    session.add(listing)
    return listing.id


def _is_its_listing(decision: Decision) -> bool:
    """And not one that was left alone, whatever the row says."""
    same = [finding.code for finding in decision.findings] == ["here_already"]
    return decision.outcome in ("created", "updated") or (decision.outcome == "skipped" and same)


async def _add_photos(session: AsyncSession, row: ImportRow, decision: Decision) -> None:
    """Those that came with it."""
    assert decision.listing_id is not None, "the caller asked"
    made = decision.outcome == "created"
    added = await import_photos.add_photos(session, decision.listing_id, row.originals, made=made)
    if added and decision.outcome == "skipped":
        decision.outcome, decision.findings = "updated", []


async def forget_photos(session: AsyncSession, rows: Sequence[ImportRow]) -> None:
    """Where the listing was here and has photos: these stay, and those that the row names are neither fetched
    nor said to be missing."""
    named = [row for row in rows if (row.to_fetch or row.photos) and row.outcome != "created"]
    ids = [row.listing_id for row in named if row.listing_id is not None]
    if not ids:
        return
    found = await session.scalars(
        select(ListingPhoto.listing_id).distinct().where(ListingPhoto.listing_id.in_(ids))
    )
    have = set(found)
    for row in named:
        if row.listing_id in have:
            row.to_fetch, row.photos = [], []


async def _remember(session: AsyncSession, doing: Import, rows: Sequence[ImportRow]) -> None:
    """What the source said last of each listing that came from it."""
    keys = [row.key for row in rows]
    known = {
        source.key: source
        for source in await session.scalars(
            select(ListingSource).where(ListingSource.source == doing.format, ListingSource.key.in_(keys))
        )
    }
    for row in rows:
        if row.outcome == "created":
            session.add(_source(doing, row, doing.format, row.key, row.facts))
        elif row.key in known and known[row.key].listing_id == row.listing_id:
            known[row.key].facts = row.facts
    # of two imports that bring the same in at one moment, this key refuses the second
    places = {
        (name, place_key(id)): row
        for row in rows if row.outcome == "created" for name, id in places_of(row.facts)
    }  # fmt: skip
    if not places:
        return
    there = await session.execute(
        select(ListingSource.source, ListingSource.key).where(
            tuple_(ListingSource.source, ListingSource.key).in_(list(places))
        )
    )
    for name, key in places.keys() - {(name, key) for name, key in there}:
        session.add(_source(doing, places[name, key], name, key, {}))


def _source(doing: Import, row: ImportRow, source: str, key: str, facts: Mapping[str, Any]) -> ListingSource:
    return ListingSource(
        user_id=doing.user_id, source=source, key=key, listing_id=row.listing_id, import_id=doing.id,
        facts=facts,
    )  # fmt: skip
