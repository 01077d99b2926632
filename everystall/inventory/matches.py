"""A seller's live listings compared with each other (matching.py): what is certain is linked, what is likely
is proposed, and what the seller called apart stays so. The comparing is the work of a worker, in a thread and
outside of any transaction; what comes of it is written link by link."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import case, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.content.photos import Fingerprint, Photos
from everystall.db import Database
from everystall.errors import EverystallError, PhotoMissing, Refused
from everystall.inventory import links
from everystall.inventory.matching import Match as Found
from everystall.inventory.matching import Matches, match
from everystall.inventory.traits import LiveListing
from everystall.marketplaces import get_form
from everystall.marketplaces.base import Money, photo_name, photo_of, strip_marker
from everystall.models import ListingPhoto, Match, Matching
from everystall.notify import messages

log = structlog.get_logger()

#: For how long a worker may be silent before another takes it over (everystall.take_matching).
CLAIM = timedelta(minutes=5)
#: Photos of one transaction that are looked at for the first time.
BATCH = 20
_LIVE = text("""
    SELECT p.id, p.listing_id, p.connection_id, p.marketplace, a.draft, a.adopted, l.created_at
    FROM publications p JOIN attempts a ON a.publication_id = p.id AND a.outcome = 'live'
    JOIN listings l ON l.id = p.listing_id
    WHERE p.put = 'live' AND p.wanted = 'live' AND l.delete_asked_at IS NULL""")
_PHOTOS = "SELECT listing_id FROM publications WHERE put = 'live' AND wanted = 'live'"


@dataclass(frozen=True)
class Lot:
    """All that is compared: the listings there, and which of ours each is."""

    live: Sequence[LiveListing]
    made_at: Mapping[UUID, datetime]
    #: Pairs of our listings that the seller called apart; what is linked since, as what it is now.
    apart: frozenset[frozenset[str]]


def as_json(fingerprint: Fingerprint) -> dict[str, Any]:
    """As `listing_photos.fingerprint` keeps it."""
    return {"views": list(fingerprint.views), "tints": [list(tint) for tint in fingerprint.tints]}


async def ask(session: AsyncSession, user_id: UUID) -> None:
    """The seller's listings are to be compared, again if a worker is at it just now."""
    new = insert(Matching).values(user_id=user_id, asked_at=func.clock_timestamp())
    await session.execute(
        new.on_conflict_do_update(index_elements=["user_id"], set_={"asked_at": func.clock_timestamp()})
    )
    await engine.wake_imports(session)


async def compare_all(db: Database, photos: Photos, stopping: asyncio.Event) -> None:
    """The body of the task: seller by seller, until nobody waits."""
    while not stopping.is_set():
        async with db.as_app() as session:
            claim = (await session.execute(text("SELECT * FROM everystall.take_matching()"))).one_or_none()
        if claim is None:
            return
        with structlog.contextvars.bound_contextvars(user_id=str(claim.user_id)):
            await compare(db, photos, claim.user_id, claim.claimed_until)


async def compare(db: Database, photos: Photos, user_id: UUID, claimed_until: datetime) -> None:
    """One seller's, while the claim stands. What breaks off is done anew: a link is made once."""
    began = claimed_until
    while True:
        async with db.as_user(user_id) as session:
            renewed = await _renew(session, claimed_until)
            if renewed is None:
                return
            claimed_until = renewed
            unseen = await _unseen(session)
            if not unseen:
                lot = await _load(session)
                break
        looks = [(id, await _look(photos, name)) for id, name in unseen]
        async with db.as_user(user_id) as session:
            for id, look in looks:
                await session.execute(
                    update(ListingPhoto).where(ListingPhoto.id == id).values(fingerprint=look)
                )
    computed = await _match(db, user_id, lot, claimed_until)
    if computed is None:
        return
    found, claimed_until = computed
    linked, refused = dict[UUID, UUID](), list[tuple[frozenset[str], str]]()
    for group in found.groups:
        ids = sorted({UUID(str(one.thing)) for one in group}, key=lambda id: (lot.made_at[id], id))
        for other in ids[1:]:
            async with db.as_user(user_id) as session:
                renewed = await _renew(session, claimed_until)
                if renewed is None:
                    return
                claimed_until = renewed
                why = await _link(session, user_id, ids[0], other, _best(found.linked, other))
            if why is None:
                linked[other] = ids[0]
            else:
                refused.append((frozenset((str(ids[0]), str(other))), why))
    async with db.as_user(user_id) as session:
        there = lot.made_at.keys() - linked.keys()
        await _finish(session, user_id, claimed_until, began, found, refused, linked, there)


async def _match(
    db: Database, user_id: UUID, lot: Lot, claimed_until: datetime
) -> tuple[Matches, datetime] | None:
    """In a thread, which may take longer than a claim: that is renewed meanwhile. None: somebody else is at
    it, and the thread's result is of no use to anybody."""
    computing = asyncio.create_task(asyncio.to_thread(match, lot.live, lot.apart))
    try:
        while not (await asyncio.wait({computing}, timeout=(CLAIM / 5).total_seconds()))[0]:
            async with db.as_user(user_id) as session:
                renewed = await _renew(session, claimed_until)
            if renewed is None:
                return None
            claimed_until = renewed
        return computing.result(), claimed_until
    finally:
        computing.cancel()


async def _renew(session: AsyncSession, claimed_until: datetime) -> datetime | None:
    """None: somebody else is at it. The row is locked, so that only one writes."""
    mine = await session.execute(
        update(Matching)
        .where(Matching.claimed_until == claimed_until)
        .values(claimed_until=func.clock_timestamp() + CLAIM)
        .returning(Matching.claimed_until)
    )
    return mine.scalar_one_or_none()


async def _unseen(session: AsyncSession) -> list[tuple[UUID, str]]:
    """Photos that nobody looked at yet, by their names."""
    rows = await session.execute(
        select(ListingPhoto.id, ListingPhoto.sha256, ListingPhoto.turn)
        .where(ListingPhoto.fingerprint.is_(None), text(f"listing_id IN ({_PHOTOS})"))
        .limit(BATCH)
    )
    return [(row.id, photo_name(row.sha256, row.turn)) for row in rows]


async def _look(photos: Photos, name: str) -> dict[str, Any]:
    """What is no photo any more looks like nothing."""
    try:
        sha256, turn = photo_of(name)
        return as_json(await photos.fingerprint(await photos.get(sha256), turn))
    except EverystallError as e:
        # the store is away, or full: tried again
        if e.fate == "operator" and not isinstance(e, PhotoMissing):
            raise
        log.warning("matching.photo_not_read", error=e.code)
        return {"views": [], "tints": []}


async def _load(session: AsyncSession) -> Lot:
    rows = (await session.execute(_LIVE)).all()
    looks: dict[UUID, list[Fingerprint]] = {}
    pictures = await session.execute(
        select(ListingPhoto.listing_id, ListingPhoto.fingerprint)
        .where(text(f"listing_id IN ({_PHOTOS})"))
        .order_by(ListingPhoto.position)
    )
    for listing_id, fingerprint in pictures:
        if fingerprint:
            looks.setdefault(listing_id, []).append(Fingerprint.of(fingerprint))
    made_at = {row.listing_id: row.created_at for row in rows}
    return Lot(
        [_as_there(row, tuple(looks.get(row.listing_id, ()))) for row in rows],
        made_at,
        await _apart(session, made_at),
    )


async def _apart(session: AsyncSession, there: Container[UUID]) -> frozenset[frozenset[str]]:
    found = await session.execute(select(Match.one_id, Match.other_id).where(Match.state == "apart"))
    pairs = found.all()
    parts = await links.find_parts(session, {id for pair in pairs for id in pair})
    now = {id: next((str(one) for one in ids if one in there), str(id)) for id, ids in parts.items()}
    return frozenset(frozenset((now[one], now[other])) for one, other in pairs)


def _as_there(row: Any, photos: tuple[Fingerprint, ...]) -> LiveListing:
    """What stands on the marketplace: as we put it, but for what was changed there."""
    said = {**row.draft, **row.adopted}
    money = said.get("price")
    return LiveListing(
        account=str(row.connection_id), key=str(row.id), thing=str(row.listing_id),
        title=said.get("title") or "", brand=said.get("brand"), size=said.get("size"),
        price=Money(**money) if money else None, sku=strip_marker(said.get("sku")),
        condition=said.get("condition"), category=tuple(said.get("category") or ()),
        colors=tuple(said.get("colors") or ()), photos=photos,
        quantity=said.get("quantity") if get_form(row.marketplace).CAPABILITIES.quantities else None,
    )  # fmt: skip


async def _link(session: AsyncSession, user_id: UUID, one: UUID, other: UUID, found: Found) -> str | None:
    """Why not; None: linked."""
    row = await _row(session, user_id, one, other, found)
    if row.state != "proposed":
        return "It was decided otherwise."
    try:
        await links.link(session, row, by="everystall")
    except Refused as e:
        return e.message
    return None


async def _row(session: AsyncSession, user_id: UUID, one: UUID, other: UUID, found: Found) -> Match:
    first, second = sorted((one, other))
    values = {"points": found.points, "reasons": list(found.reasons), "doubts": list(found.doubts)}
    new = insert(Match).values(user_id=user_id, one_id=first, other_id=second, **values)
    await session.execute(new.on_conflict_do_nothing())
    row = await session.scalars(
        select(Match).where(Match.one_id == first, Match.other_id == second).with_for_update()
    )
    return row.one()


def _best(linked: Iterable[Found], thing: UUID) -> Found:
    return next(one for one in linked if str(thing) in (one.one.thing, one.other.thing))  # surest first


async def _finish(
    session: AsyncSession, user_id: UUID, claimed_until: datetime, began: datetime, found: Matches,
    refused: Sequence[tuple[frozenset[str], str]], linked: Mapping[UUID, UUID], there: Container[UUID],
) -> None:  # fmt: skip
    """What is proposed now, all at once; what was proposed before and is not any more goes. `linked`: what
    was linked just now, and with what; `there`: what stands after that."""
    if await _renew(session, claimed_until) is None:
        return
    pairs: dict[tuple[UUID, UUID], dict[str, Any]] = {}
    doubted, apart = dict(refused), await _apart(session, there)
    for one in sorted((*found.linked, *found.proposed), key=lambda one: one.points):
        ids = [UUID(str(side.thing)) for side in (one.one, one.other)]
        things = frozenset(str(linked.get(id, id)) for id in ids)
        doubts = [*one.doubts, *([doubted[things]] if things in doubted else [])]
        if doubts and len(things) == 2 and things not in apart:
            first, second = sorted(UUID(thing) for thing in things)
            pairs[first, second] = {"points": one.points, "reasons": list(one.reasons), "doubts": doubts}
    await session.execute(delete(Match).where(Match.state == "proposed"))
    if pairs:
        values = [
            {"user_id": user_id, "one_id": one, "other_id": other, **said}
            for (one, other), said in pairs.items()
        ]
        await session.execute(insert(Match).on_conflict_do_nothing(), values)
    await session.execute(
        update(Matching)
        .where(Matching.user_id == user_id)
        .values(finished_at=func.clock_timestamp(), claimed_until=None,
                asked_at=case((Matching.asked_at > began - CLAIM, Matching.asked_at)))
    )  # fmt: skip
    data = {"linked": len(linked), "proposed": len(pairs)}
    await messages.record(session, user_id, "matching.finished", data)
