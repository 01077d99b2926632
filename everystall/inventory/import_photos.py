"""Photos of files that are brought in: those that came with an archive, and those that a CSV names by their
addresses. These are fetched by a worker once all rows are through, some of a row at a time. No transaction is
open meanwhile, and what breaks off is fetched again. What does not come in is told; the listing goes without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import exists, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.content.addresses import Fetcher
from everystall.content.photos import Photos, StoredPhoto
from everystall.db import Database
from everystall.errors import EverystallError, NotFound, PhotoRefused
from everystall.inventory.incoming.rows import Finding
from everystall.inventory.listings import find_listing
from everystall.inventory.revisions import touch
from everystall.models import Import, ImportRow, ListingPhoto

log = structlog.get_logger()

#: Photos that are fetched at once.
AT_ONCE: Final = 4
#: For how long a worker may be silent then: they take 20 seconds to come, and as long again to be looked at.
CLAIM: Final = timedelta(minutes=2)
#: What an address is cut to where it is said back.
SAID: Final = 300
_FACTS: Final = ("sha256", "width", "height", "content_type", "byte_size")
#: As the index says it of itself.
_LEFT: Final = text("import_rows.to_fetch <> '{}'")


async def add_photos(
    session: AsyncSession, listing_id: UUID, originals: Sequence[Mapping[str, Any]], *, made: bool = False
) -> bool:
    """Whether they were added: where the listing has none. What the seller chose here stays. `made`: in this
    transaction."""
    listing = await find_listing(session, listing_id, lock=not made)
    if not originals or await _has_photos(session, listing_id):
        return False
    for position, photo in enumerate(originals):
        session.add(ListingPhoto(user_id=listing.user_id, listing_id=listing_id, position=position, **photo))
    if not made:
        await touch(session, listing)
    return True


async def claimed(session: AsyncSession, import_id: UUID, claimed_until: datetime) -> Import | None:
    """Locked; None: it is not ours any more."""
    found = select(Import).where(
        Import.id == import_id, Import.claimed_until == claimed_until, Import.status == "running"
    )
    return (await session.execute(found.with_for_update())).scalar_one_or_none()


async def are_left(session: AsyncSession, import_id: UUID) -> bool:
    """Photos to be fetched."""
    return await session.scalar(_to_fetch(import_id).limit(1)) is not None


async def fetch_next(
    db: Database, import_id: UUID, user_id: UUID, claimed_until: datetime, store: Photos, fetcher: Fetcher
) -> bool:
    """The next photos of a claimed import. False: rows come first, or none is left."""
    async with db.as_user(user_id) as session:
        doing = await claimed(session, import_id, claimed_until)
        row = await _find_next(session, import_id) if doing is not None else None
        if doing is None or row is None:
            return False
        if not await _wants(session, row):
            row.to_fetch = []
            doing.claimed_until = func.clock_timestamp()
            return True
        addresses, line = row.to_fetch[:AT_ONCE], row.line
        doing.claimed_until = func.clock_timestamp() + CLAIM
        await session.flush()
        await session.refresh(doing)
        until = doing.claimed_until
        assert until is not None, "it was set just now"
    put: list[str] = []
    try:
        came = await _fetch_all(addresses, store, fetcher, put)
        found = await store.look_for(db, put)
        async with db.as_user(user_id) as session:
            await store.hold(session, found)
            if await _note(session, (user_id, import_id, line), until, addresses, came):
                put.clear()  # the row names them, or its listing does
    except EverystallError as e:  # the store is away or full, or one went: once more when the claim ends
        log.warning("import.photos_wait", error=e.code)
    finally:
        await store.forget_unnamed(db, put)
    return True


def _to_fetch(import_id: UUID) -> Any:
    return select(ImportRow).where(ImportRow.import_id == import_id, _LEFT)


async def _find_next(session: AsyncSession, import_id: UUID) -> ImportRow | None:
    waiting = exists().where(ImportRow.import_id == import_id, ImportRow.outcome.is_(None))
    if await session.scalar(select(waiting)):
        return None
    found: ImportRow | None = await session.scalar(_to_fetch(import_id).order_by(ImportRow.line).limit(1))
    return found


async def _has_photos(session: AsyncSession, listing_id: UUID) -> bool:
    one = select(ListingPhoto.id).where(ListingPhoto.listing_id == listing_id).limit(1)
    return await session.scalar(one) is not None


async def _wants(session: AsyncSession, row: ImportRow) -> bool:
    """Its listing is there, and has no photos yet."""
    if row.listing_id is None or await _has_photos(session, row.listing_id):
        return False
    try:
        await find_listing(session, row.listing_id)
    except NotFound:
        return False
    return True


async def _fetch_all(
    addresses: Sequence[str], store: Photos, fetcher: Fetcher, put: list[str]
) -> list[StoredPhoto | PhotoRefused]:
    """`put` gets the hashes of those that are in the store."""

    async def fetch(address: str) -> StoredPhoto | PhotoRefused:
        try:
            stored = await store.put(await fetcher.fetch(address))
        except PhotoRefused as e:
            return e
        except EverystallError:
            raise
        except Exception as e:  # of one address: the others, and the import, go on
            log.error("import.photo_unforeseen", error=type(e).__name__)
            return PhotoRefused("Something unforeseen went wrong with it.")
        put.append(stored.sha256)
        return stored

    found: list[StoredPhoto | PhotoRefused] = []
    for one in await asyncio.gather(*map(fetch, addresses), return_exceptions=True):
        if isinstance(one, BaseException) and not isinstance(one, PhotoRefused):
            raise one
        found.append(one)
    return found


async def _note(
    session: AsyncSession, key: tuple[UUID, UUID, int], until: datetime, addresses: Sequence[str],
    came: Sequence[StoredPhoto | PhotoRefused],
) -> bool:  # fmt: skip
    """What came of them; behind the last, the listing gets all that came, in the file's order. False:
    somebody else is at it."""
    doing = await claimed(session, key[1], until)
    row = await session.get(ImportRow, key)
    if doing is None or row is None:
        return False
    originals, missing, findings = [*row.originals], [*row.photos], [*row.findings]
    for address, one in zip(addresses, came, strict=True):
        if isinstance(one, PhotoRefused):
            missing.append(address)
            findings.append(_missing(address, one).as_json())
        elif one.sha256 not in {photo["sha256"] for photo in originals}:
            originals.append({name: getattr(one, name) for name in _FACTS} | {"turn": 0})
    row.originals, row.photos, row.findings = originals, missing, findings
    row.to_fetch = row.to_fetch[len(addresses) :]
    doing.claimed_until = func.clock_timestamp()
    if not row.to_fetch and row.listing_id is not None:
        await _give(session, row, row.listing_id)
    return True


async def _give(session: AsyncSession, row: ImportRow, listing_id: UUID) -> None:
    try:
        added = await add_photos(session, listing_id, row.originals)
    except NotFound:  # deleted meanwhile
        return
    if added and row.outcome == "skipped":
        row.outcome = "updated"
        row.findings = [finding for finding in row.findings if finding["code"] != "here_already"]


def _missing(address: str, why: PhotoRefused) -> Finding:
    return Finding(
        None, "photos", "photo_not_fetched", f"The photo {address[:SAID]} did not come in. {why.message}",
        "Add it to the listing.",
    )  # fmt: skip
