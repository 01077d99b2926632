"""Listings of several marketplaces that may be one thing: side by side, and what the seller says to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import NotFound, Refused
from everystall.inventory import links, matches
from everystall.models import Listing, ListingPhoto, Match, Matching
from everystall.web.deps import Seller, Transaction, as_id
from everystall.web.publications import publications_of
from everystall.web.shapes import Done, MoneyOut, PublicationOut, Shape

router = APIRouter(prefix="/api/matches", tags=["matches"])

State = Literal["proposed", "linked", "apart"]
#: Matches of one answer.
SHOWN = 100


class SideOut(Shape):
    """One of the two, as it is now."""

    listing_id: str
    title: str | None
    brand: str | None
    size: str | None
    condition: str | None
    colors: list[str]
    category: str | None
    price: MoneyOut | None
    quantity: int
    sku: str | None
    #: In their order: `GET /api/listings/{listingId}/photos/{photoId}` shows each.
    photo_ids: list[str]
    publications: list[PublicationOut]


class MatchOut(Shape):
    match_id: str
    state: State
    #: What speaks for it, and what against.
    reasons: list[str]
    doubts: list[str]
    #: Evidence in points; the surest first.
    points: float
    #: Who linked them, or called them apart; null: nobody yet.
    decided_by: Literal["everystall", "seller"] | None
    decided_at: datetime | None
    #: Both listings; of linked ones the one that they are now.
    sides: list[SideOut]


class MatchesOut(Shape):
    #: A worker is to compare, or compares, just now.
    comparing: bool
    compared_at: datetime | None
    matches: list[MatchOut]
    #: There are more: ask with `?after=` this match's id.
    next_after: str | None


async def _match_id(matchId: str) -> UUID:  # the path's own name
    return as_id(matchId)


MatchId = Annotated[UUID, Depends(_match_id)]


@router.get("")
async def list_matches(
    session: Transaction,
    who: Seller,
    state: State = "proposed",
    after: Annotated[str | None, Query(max_length=36)] = None,
) -> MatchesOut:
    """What is proposed, was linked or was called apart; the surest first."""
    wanted = select(Match).where(Match.state == state)
    if state == "proposed":  # one may be deleted since
        here = select(Listing.id)
        wanted = wanted.where(Match.one_id.in_(here), Match.other_id.in_(here))
    if after is not None:
        last = await session.scalar(select(Match).where(Match.id == as_id(after)))
        if last is None:
            raise NotFound
        wanted = wanted.where(tuple_(-Match.points, Match.id) > (-last.points, last.id))
    rows = (await session.scalars(wanted.order_by(Match.points.desc(), Match.id).limit(SHOWN + 1))).all()
    asked = await session.get(Matching, who.user_id)
    return MatchesOut(
        comparing=asked is not None and asked.asked_at is not None,
        compared_at=asked.finished_at if asked else None,
        matches=await _shown(session, rows[:SHOWN]),
        next_after=str(rows[SHOWN - 1].id) if len(rows) > SHOWN else None,
    )


@router.post("", status_code=202)
async def compare(session: Transaction, who: Seller) -> Done:
    """Has all live listings of the seller's accounts compared with each other by a worker. The end of an
    import does the same."""
    await matches.ask(session, who.user_id)
    return Done(message="They are being compared. What is certain is linked, what is likely is proposed.")


@router.post("/{matchId}/link")
async def link(match_id: MatchId, session: Transaction) -> MatchOut:
    """They are one thing: one listing from now on, live where both were. Nothing changes on any
    marketplace."""
    row = await _locked(session, match_id)
    if row.state == "linked":
        raise Refused("They are linked already.", action="Nothing.")
    await links.link(session, row, by="seller")
    return await _fresh(session, row)


@router.post("/{matchId}/apart")
async def apart(match_id: MatchId, session: Transaction) -> MatchOut:
    """They are two things, and are never proposed again. Linked ones become two listings again, as they
    were; 400 where one was sold meanwhile."""
    row = await _locked(session, match_id)
    if row.state == "linked":
        await links.unlink(session, row)
    row.state, row.decided_by, row.decided_at = "apart", "seller", func.clock_timestamp()
    await session.flush()
    return await _fresh(session, row)


@router.post("/{matchId}/propose")
async def propose(match_id: MatchId, session: Transaction) -> MatchOut:
    """What was said of them is taken back, and they are proposed again. Linked ones become two listings
    again, as they were; 400 where one was sold meanwhile."""
    row = await _locked(session, match_id)
    if row.state == "linked":
        await links.unlink(session, row)
    row.state, row.decided_by, row.decided_at = "proposed", None, None
    await session.flush()
    return await _fresh(session, row)


async def _locked(session: AsyncSession, match_id: UUID) -> Match:
    found = await session.scalars(select(Match).where(Match.id == match_id).with_for_update())
    row = found.one_or_none()
    if row is None:
        raise NotFound
    return row


async def _fresh(session: AsyncSession, row: Match) -> MatchOut:
    session.expire_all()
    await session.refresh(row)
    (shown,) = await _shown(session, [row])
    return shown


async def _shown(session: AsyncSession, rows: Sequence[Match]) -> list[MatchOut]:
    ids = {id for row in rows for id in (row.one_id, row.other_id)}
    sides = await _sides(session, sorted(ids))
    return [
        MatchOut(
            match_id=str(row.id), state=row.state, reasons=row.reasons, doubts=row.doubts, points=row.points,
            decided_by=row.decided_by, decided_at=row.decided_at,
            sides=[sides[id] for id in (row.one_id, row.other_id) if id in sides],
        )
        for row in rows
    ]  # fmt: skip


async def _sides(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, SideOut]:
    listings = await session.scalars(select(Listing).where(Listing.id.in_(ids)))
    photos: dict[UUID, list[str]] = {}
    pictures = await session.execute(
        select(ListingPhoto.listing_id, ListingPhoto.id)
        .where(ListingPhoto.listing_id.in_(ids))
        .order_by(ListingPhoto.position)
    )
    for listing_id, photo_id in pictures:
        photos.setdefault(listing_id, []).append(str(photo_id))
    there = await publications_of(session, ids)
    return {row.id: _side(row, photos.get(row.id, []), there[row.id]) for row in listings}


def _side(row: Listing, photo_ids: list[str], publications: list[PublicationOut]) -> SideOut:
    same: dict[str, Any] = {
        name: getattr(row, name)
        for name in ("title", "brand", "size", "condition", "colors", "category", "quantity", "sku")
    }
    price = MoneyOut(amount=row.price_cents, currency=row.currency) if row.price_cents is not None else None
    return SideOut(
        listing_id=str(row.id), price=price, photo_ids=photo_ids, publications=publications, **same
    )
