"""Two listings that are one thing become one: the later's publications go to the earlier, so that what sells
once is taken down everywhere. Nothing changes on any marketplace by it, nothing is lost, and it can be
undone.

All functions run inside the caller's transaction, and lock publications before listings as everybody does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any, Literal
from uuid import UUID

import structlog
from sqlalchemy import func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.content.photos import Fingerprint
from everystall.errors import Refused
from everystall.inventory import pricing, takings
from everystall.inventory.deleted import FOLLOWS, KEPT, describe, put_back
from everystall.inventory.incoming import live
from everystall.inventory.likeness import same_photo
from everystall.inventory.listings import facts_of
from everystall.inventory.publications import live_attempt, lock_all
from everystall.inventory.traits import views_of
from everystall.marketplaces.base import flat, hash_of, with_marker
from everystall.models import (
    Attempt,
    Connection,
    Listing,
    ListingPhoto,
    ListingSource,
    Match,
    Publication,
    Sale,
)

log = structlog.get_logger()

#: What the earlier takes from the later where it says nothing itself.
_FILLED = ("title", "description", "brand", "category", "size", "condition", "colors", "tags", "price_cents",
           "original_price_cents", "sku", "package", "ships_from_zip", "shipping_payer", "location",
           "cost_cents", "labels")  # fmt: skip
#: What each listing is, or was, linked with, itself too.
_PARTS = text("""
    WITH RECURSIVE part(thing, id) AS (
        SELECT id, id FROM unnest(CAST(:ids AS uuid[])) AS id
        UNION
        SELECT p.thing, other.id FROM part p CROSS JOIN LATERAL (
            SELECT other_id AS id FROM matches WHERE one_id = p.id AND state = 'linked'
            UNION ALL SELECT one_id FROM matches WHERE other_id = p.id AND state = 'linked') other)
    SELECT thing, id FROM part""")


async def link(session: AsyncSession, row: Match, *, by: Literal["everystall", "seller"]) -> Listing:
    """One listing of the two. Raises Refused, in words, and nothing was done."""
    publications = await lock_all(session, [row.one_id, row.other_id])
    earlier, later = await _both(session, row)
    _check(publications, earlier, later, by)
    await _check_apart(session, row)
    moved = [one for one in publications if one.listing_id == later.id]
    before = {name: getattr(earlier, name) for name in (*_FILLED, "specifics", "overrides", "quantity")}
    undo = await describe(session, later)
    _fill(earlier, later)
    undo["photos"] = await _add_photos(session, earlier, later)
    undo["publications"] = [str(one.id) for one in moved]
    undo["earlier"] = {
        name: [value, getattr(earlier, name)]
        for name, value in before.items()
        if value != getattr(earlier, name)
    }
    for one in moved:
        one.listing_id = earlier.id
    await session.flush()
    for model in (*FOLLOWS, ListingSource):
        await session.execute(
            update(model).where(model.listing_id == later.id).values(listing_id=earlier.id)
            .execution_options(synchronize_session=False)
        )  # fmt: skip
    await session.delete(later)
    await session.flush()
    await takings.fill_in(session, earlier)
    await _settle(session, earlier, publications)
    row.state, row.decided_by, row.decided_at, row.undo = "linked", by, func.clock_timestamp(), undo
    await session.flush()
    await _watch(session, publications)
    log.info("listings.linked", listing_id=str(earlier.id), by=by)
    return earlier


async def unlink(session: AsyncSession, row: Match) -> tuple[UUID, UUID]:
    """Two listings again, and never proposed: (the earlier, the later). What was changed since in the
    earlier stays with it. Raises Refused where one of it was sold since."""
    undo = row.undo or {}
    later_id = UUID(undo["listing"]["id"])
    earlier_id = row.other_id if later_id == row.one_id else row.one_id
    publications = await lock_all(session, [earlier_id])
    earlier = await session.get(Listing, earlier_id)
    if earlier is None:
        raise Refused("The listing is gone.", action="There is nothing to take apart.")
    _check_rest(publications)
    sold = select(func.count()).where(Sale.listing_id == earlier_id, Sale.observed_at > row.decided_at)
    if await session.scalar(sold):
        raise Refused(
            "One was sold since they were linked, and taken down elsewhere.",
            action="Write a new listing for what is left.",
        )
    moved = [one for one in publications if str(one.id) in undo["publications"]]
    for name, (before, after) in undo["earlier"].items():
        if getattr(earlier, name) == after:
            setattr(earlier, name, before)
    await put_back(session, Listing, [undo["listing"]])
    for model in KEPT:
        await put_back(session, model, undo[model.__tablename__])
    for one in moved:
        one.listing_id = later_id
    await session.flush()
    await _move_back(session, undo, moved, later_id)
    await session.execute(
        text("DELETE FROM listing_photos WHERE listing_id = :id AND id = ANY(CAST(:ids AS uuid[]))"),
        {"id": earlier_id, "ids": undo["photos"]},
    )
    later = await session.get_one(Listing, later_id)
    await _settle(session, earlier, [one for one in publications if one not in moved])
    await _settle(session, later, moved)
    row.state, row.decided_by, row.decided_at, row.undo = "apart", "seller", func.clock_timestamp(), None
    await session.flush()
    return earlier_id, later_id


async def find_parts(session: AsyncSession, ids: Collection[UUID]) -> dict[UUID, set[UUID]]:
    """Each of these listings, which may be gone, with all that is one thing with it by links."""
    parts: dict[UUID, set[UUID]] = {}
    for thing, id in await session.execute(_PARTS, {"ids": list(ids)}):
        parts.setdefault(thing, set()).add(id)
    return parts


# ---- may they ---------------------------------------------------------------------------------------


async def _both(session: AsyncSession, row: Match) -> tuple[Listing, Listing]:
    found = [await session.get(Listing, id) for id in (row.one_id, row.other_id)]
    known = [one for one in found if one is not None and one.delete_asked_at is None]
    if len(known) < 2:
        raise Refused("One of the two listings is gone.", action="Load the matches again.")
    earlier, later = sorted(known, key=lambda one: (one.created_at, one.id))
    return earlier, later


def _check(publications: Sequence[Publication], earlier: Listing, later: Listing, by: str) -> None:
    accounts = [
        {one.connection_id for one in publications if one.listing_id == listing.id}
        for listing in (earlier, later)
    ]
    if accounts[0] & accounts[1]:
        raise Refused(
            "Both are, or were, on the same account: two things there cannot be one here.",
            action="Take one of the two down for good, and delete its listing.",
        )
    _check_rest(publications)
    lefts = [one.quantity - one.quantity_sold for one in (earlier, later)]
    if earlier.quantity == later.quantity == 1 and lefts[0] != lefts[1]:
        raise Refused(
            "One of the two is sold, and the other is still for sale. If they are one thing, it is gone.",
            action="Take the other one down, and delete its listing. If you have one more, raise the "
            "quantity of the sold one first.",
        )
    if by == "everystall" and lefts[0] != lefts[1]:
        raise Refused("They do not hold as many.", action="Decide yourself.")


async def _check_apart(session: AsyncSession, row: Match) -> None:
    """What was called apart stays so when one of it became a part of another."""
    parts = await find_parts(session, [row.one_id, row.other_id])
    ids = [tuple(sorted(pair)) for pair in product(parts[row.one_id], parts[row.other_id])]
    apart = select(Match.id).where(
        Match.state == "apart", Match.id != row.id, tuple_(Match.one_id, Match.other_id).in_(ids)
    )
    if await session.scalar(apart.limit(1)) is not None:
        raise Refused(
            "You called these two, or what is linked with them, apart.",
            action="If they are one thing after all, undo those links first, and link the two.",
        )


def _check_rest(publications: Sequence[Publication]) -> None:
    if any(one.unsettled or one.looking for one in publications):
        raise Refused(
            "Something of them is just being posted, changed or taken down, or waits for you.",
            action="Try again when it is done.",
        )


# ---- doing ------------------------------------------------------------------------------------------


def _fill(earlier: Listing, later: Listing) -> None:
    """What the earlier does not say, and what only the later's marketplaces ask for."""
    for name in _FILLED:
        if getattr(earlier, name) in (None, [], {}):
            setattr(earlier, name, getattr(later, name))
    earlier.specifics = {**later.specifics, **earlier.specifics}
    earlier.overrides = {**later.overrides, **earlier.overrides}
    left = max(one.quantity - one.quantity_sold for one in (earlier, later))
    earlier.quantity = earlier.quantity_sold + left


async def _add_photos(session: AsyncSession, earlier: Listing, later: Listing) -> list[str]:
    """The later's that the earlier has not, behind its own; their ids as they are there."""
    rows = await session.scalars(
        select(ListingPhoto)
        .where(ListingPhoto.listing_id.in_([earlier.id, later.id]))
        .order_by(ListingPhoto.position)
    )
    photos = rows.all()
    own = [photo for photo in photos if photo.listing_id == earlier.id]
    place = max((photo.position for photo in own), default=-1)
    added = []
    for photo in photos:
        if photo.listing_id != later.id or any(_alike(photo, one) for one in own):
            continue
        place += 1
        values = {name: value for name, value in _columns(photo).items() if name not in ("id", "created_at")}
        new = ListingPhoto(**{**values, "listing_id": earlier.id, "position": place})
        session.add(new)
        own.append(new)
        added.append(new)
    await session.flush()
    return [str(photo.id) for photo in added]


def _alike(photo: ListingPhoto, other: ListingPhoto) -> bool:
    if photo.sha256 == other.sha256:
        return True
    if not photo.fingerprint or not other.fingerprint:
        return False
    # as a whole: one that is cut shows less than the other
    wholes = [views_of(Fingerprint.of(one))[:1] for one in (photo.fingerprint, other.fingerprint)]
    return same_photo(*wholes) is True


async def _settle(session: AsyncSession, listing: Listing, publications: Sequence[Publication]) -> None:
    """What is live of it stays as it is there: what is other than the listing would have it is as if by
    hand, until it is changed here."""
    listing.revision += 1
    await session.flush()
    await session.refresh(listing)
    facts = await facts_of(session, listing)
    for publication in publications:
        publication.wanted_revision = listing.revision
        if publication.put != "live":
            continue
        publication.put_revision = listing.revision
        attempt = await live_attempt(session, publication)
        if attempt is None:
            continue
        account = await session.get_one(Connection, publication.connection_id)
        draft, _, _ = pricing.compose(
            publication.marketplace, facts, publication.price_rule, account.defaults
        )
        if draft is None:
            continue
        if attempt.marker:
            draft = draft.model_copy(update={"sku": with_marker(draft.sku, attempt.marker)})
        _rebase(attempt, *live.as_put(draft, {**flat(attempt.draft), **attempt.adopted}))
    await session.flush()


def _rebase(attempt: Attempt, put: dict[str, Any], adopted: dict[str, Any]) -> None:
    attempt.draft, attempt.adopted, attempt.fields_hash = put, adopted, hash_of(put)


async def _watch(session: AsyncSession, publications: Sequence[Publication]) -> None:
    """They are live in more than one place now: each account is looked at soon. Nobody is waited for."""
    ids = sorted({one.connection_id for one in publications if one.put == "live"})
    await session.execute(
        text("""UPDATE connections SET next_check_at = now() WHERE id IN (
                    SELECT id FROM connections WHERE id = ANY(:ids) AND next_check_at > now()
                    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)"""),
        {"ids": ids},
    )


# ---- undoing ----------------------------------------------------------------------------------------


async def _move_back(
    session: AsyncSession, undo: Mapping[str, Any], moved: Sequence[Publication], later_id: UUID
) -> None:
    """What came along with the later listing, and orders of its publications that were counted since."""
    theirs: list[tuple[Any, Any]] = [(model, model.id.in_(undo[model.__tablename__])) for model in FOLLOWS]
    theirs.append((Sale, Sale.publication_id.in_([one.id for one in moved])))
    keys = [(one["source"], one["key"]) for one in undo["listing_sources"]]
    theirs.append((ListingSource, tuple_(ListingSource.source, ListingSource.key).in_(keys)))
    for model, which in theirs:
        await session.execute(
            update(model).where(which).values(listing_id=later_id)
            .execution_options(synchronize_session=False)
        )  # fmt: skip


def _columns(row: Any) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in row.__table__.columns}
