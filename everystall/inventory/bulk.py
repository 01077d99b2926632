"""Many listings at once: first what would become of each, then that.

A look changes nothing. Doing it is what the API does with one, over and over, each in a transaction of its
own: what was done stays done if a later one fails, and nobody's rows are locked for longer than one needs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import and_, distinct, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database
from everystall.errors import Conflict, EverystallError, NotFound, Refused
from everystall.inventory import jobs, pricing, relisting
from everystall.inventory.connections import SignIn
from everystall.inventory.listings import facts_with, find_listing
from everystall.inventory.publications import act, may_keep
from everystall.inventory.revisions import changed
from everystall.marketplaces import MARKETPLACES
from everystall.models import Job, Listing, ListingPhoto, Publication

#: Listings at once: each takes 10 to 30 ms, and somebody waits for the answer.
MOST: Final = 500
#: Of one listing.
MOST_LABELS: Final = 12


@dataclass
class Line:
    """What would become of one listing, or became of it."""

    listing: Listing
    #: Where something is done: what to call it, and the id by which it is done.
    places: list[tuple[str, str]] = field(default_factory=list)
    #: Why nothing is, or not everywhere.
    reasons: list[str] = field(default_factory=list)
    #: It is so already, or there is nothing to do.
    left: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """done: something of it · lacks: nothing, for a reason to mend · left: nothing to do"""
        return "done" if self.places else "lacks" if self.reasons else "left"


@dataclass(frozen=True)
class Done:
    """How it went. `failed`: title and why."""

    number: int
    failed: Sequence[tuple[str, str]]
    #: Of what was posted: their jobs, which may be cancelled while they wait.
    jobs: Sequence[str] = ()
    #: Of what is taken down or relisted: the publications that may be kept while they wait.
    waiting: Sequence[str] = ()
    #: Of what is deleted: the listings that are taken down first, which may be kept while they are; and those
    #: that are gone, which may be restored.
    deleting: Sequence[str] = ()
    deleted: Sequence[str] = ()
    #: Of what was marked as sold: the sales, which may be taken back.
    sales: Sequence[str] = ()
    #: What was changed and may be as it was again.
    changes: Sequence[Changed] = ()


@dataclass(frozen=True)
class Changed:
    """Of one listing: what it said before and says now, under names of `POST /api/listings`."""

    id: str
    was: Mapping[str, Any]
    now: Mapping[str, Any]


@dataclass(frozen=True)
class Labelling:
    """What shall become of labels, and of where things lie. None: it stays."""

    add: str | None = None
    drop: str | None = None
    #: "" takes it away.
    location: str | None = None

    def of(self, listing: Listing) -> dict[str, Any]:
        """`labels` and `location` of it then. Raises Refused."""
        labels = [label for label in listing.labels if label != self.drop]
        if self.add is not None and self.add not in labels:
            labels.append(self.add)
        if len(labels) > MOST_LABELS:
            raise Refused(f"It has {MOST_LABELS} labels already.")
        place = listing.location if self.location is None else self.location or None
        return {"labels": labels, "location": place}


@dataclass(frozen=True)
class Where:
    """The accounts at which something is done, and what each of the seller's is called."""

    chosen: Collection[UUID]
    names: Mapping[UUID, str]


# ---- looking --------------------------------------------------------------------------------------


async def look_at_posting(
    session: AsyncSession, listings: Sequence[Listing], accounts: Sequence[SignIn]
) -> list[Line]:
    """Each listing on each of these accounts, checked as a post checks it. Four queries."""
    ids = [listing.id for listing in listings]
    photos: dict[UUID, list[ListingPhoto]] = {id: [] for id in ids}
    rows = await session.scalars(
        select(ListingPhoto).where(ListingPhoto.listing_id.in_(ids)).order_by(ListingPhoto.position)
    )
    for photo in rows:
        photos[photo.listing_id].append(photo)
    rules = await pricing.rules_of(session, ids)
    there = {(row.listing_id, row.connection_id): row for row in await _publications(session, ids)}
    meant: dict[str, list[SignIn]] = {}
    for one in accounts:
        meant.setdefault(one.connection.marketplace, []).append(one)
    lines = []
    for listing in listings:
        line = Line(listing)
        lines.append(line)
        if listing.delete_asked_at is not None:
            line.left.append("It is being taken down everywhere and deleted.")
            continue
        for checked in jobs.check(facts_with(listing, photos[listing.id]), meant, rules[listing.id]):
            _sort_in(line, checked, there)
    return lines


def _sort_in(line: Line, checked: jobs.Checked, there: Mapping[tuple[UUID, UUID], Publication]) -> None:
    assert checked.sign_in is not None
    account, label = checked.sign_in.connection, MARKETPLACES[checked.marketplace]
    publication = there.get((line.listing.id, account.id))
    if publication is not None and publication.wanted == "live" and not publication.needs_you:
        line.left.append(f"Live on {label}." if publication.put == "live" else f"On its way to {label}.")
    elif checked.draft is None or checked.problems:
        line.reasons += [problem.message for problem in checked.problems]
    else:
        line.places.append((label, account.public_id))


async def standing_on(session: AsyncSession, listings: Sequence[Listing]) -> dict[UUID, int]:
    """Account → of how many of them something is live there, or on its way. One query."""
    there = and_(Publication.wanted == "live", or_(Publication.put == "live", Publication.unsettled))
    rows = await session.execute(
        select(Publication.connection_id, func.count(distinct(Publication.listing_id)).label("number"))
        .where(Publication.listing_id.in_([listing.id for listing in listings]), there)
        .group_by(Publication.connection_id)
    )
    return {row.connection_id: row.number for row in rows}


async def look_at_ending(
    session: AsyncSession, listings: Sequence[Listing], where: Where | None = None
) -> list[Line]:
    """What of them is live, or on its way there: everywhere, or where it was chosen. One query."""
    lines = {listing.id: Line(listing) for listing in listings}
    for row in await _publications(session, list(lines)):
        line, label = lines[row.listing_id], _called(row, where)
        if row.wanted == "live" and (row.put == "live" or row.unsettled):
            if _meant(row, where):
                line.places.append((label, str(row.id)))
            else:
                line.left.append(f"Stays on {label}.")
        elif row.put == "live":
            line.left.append(f"Being taken down on {label}.")
    for line in lines.values():
        if not line.places and not line.left:
            line.left.append("It is live nowhere.")
    return list(lines.values())


async def look_at_relisting(
    session: AsyncSession, listings: Sequence[Listing], where: Where | None = None
) -> list[Line]:
    """What of them may be taken down and posted again as new now: everywhere, or where it was chosen. Two
    queries."""
    lines = {listing.id: Line(listing) for listing in listings}
    rows = [row for row in await _publications(session, list(lines)) if row.put == "live"]
    stands = await relisting.standing(session, [row.id for row in rows])
    for row in rows:
        line, label = lines[row.listing_id], _called(row, where)
        refused = relisting.refusal(row, stands.get(row.id))
        if row.relist is not None:
            line.left.append(f"Being relisted on {label}.")
        elif not _meant(row, where):
            line.left.append(f"Stays as it is on {label}.")
        elif refused is not None:
            line.reasons.append(refused.message)
        else:
            line.places.append((label, str(row.id)))
    for line in lines.values():
        if not (line.places or line.reasons or line.left):
            line.left.append("It is live nowhere.")
    return list(lines.values())


def _called(row: Publication, where: Where | None) -> str:
    label = MARKETPLACES[row.marketplace]
    return label if where is None else where.names.get(row.connection_id, label)


def _meant(row: Publication, where: Where | None) -> bool:
    return where is None or row.connection_id in where.chosen


async def look_at_deleting(session: AsyncSession, listings: Sequence[Listing], end: bool) -> list[Line]:
    """All of them; of those that are live, or may be, only where they are taken down first. One query."""
    lines = {listing.id: Line(listing, places=[("", str(listing.id))]) for listing in listings}
    for row in await _publications(session, list(lines)):
        line, label = lines[row.listing_id], MARKETPLACES[row.marketplace]
        if row.put != "live" and not row.looking:
            continue
        if end:
            line.places.append((label, str(row.id)))
        else:
            line.places = []
            line.reasons.append(f"Live on {label}.")
    return [line if not line.reasons else Line(line.listing, reasons=line.reasons) for line in lines.values()]


def look_at_labelling(listings: Sequence[Listing], wish: Labelling) -> list[Line]:
    lines = [Line(listing) for listing in listings]
    for line in lines:
        try:
            meant = wish.of(line.listing)
        except Refused as error:
            line.reasons.append(error.message)
            continue
        if meant == labelled(line.listing):
            line.left.append("It is so already.")
        else:
            line.places.append(("", str(line.listing.id)))
    return lines


def labelled(listing: Listing) -> dict[str, Any]:
    return {"labels": list(listing.labels), "location": listing.location}


async def _publications(session: AsyncSession, ids: Sequence[UUID]) -> Sequence[Publication]:
    rows = await session.scalars(
        select(Publication)
        .where(Publication.listing_id.in_(ids))
        .order_by(Publication.marketplace, Publication.id)
    )
    return rows.all()


# ---- doing ----------------------------------------------------------------------------------------


async def each(lines: Sequence[Line], do: Callable[[Line], Awaitable[Sequence[str]]]) -> Done:
    """One after the other. `do` says of which jobs it is; what it refuses is told, and the others go on."""
    number, failed, made = 0, [], list[str]()
    for line in lines:
        if line.outcome != "done":
            continue
        try:
            made += await do(line)
            number += 1
        except EverystallError as e:
            failed.append((line.listing.title or "A listing without a title", e.message))
    return Done(number, failed, made)


async def post_all(db: Database, user_id: UUID, lines: Sequence[Line], key: str) -> Done:
    """A job per listing, each with an idempotency key of its own: pressed twice it is one, and the answer is
    the first one's, whatever became of it since."""
    keys = {f"bulk {key} {line.listing.id}": line for line in lines}
    async with db.as_user(user_id) as session:
        known = select(Job.idempotency_key, Job.id).where(Job.idempotency_key.in_(keys))
        before = {keys[row.idempotency_key].listing.id: row.id for row in await session.execute(known)}

    async def post(line: Line) -> list[str]:
        async with db.as_user(user_id) as session:
            accounts = [id for _, id in line.places]
            posted = await jobs.post(
                session, user_id, line.listing.id, (), accounts, f"bulk {key} {line.listing.id}"
            )
            return [posted.job.id]

    done = await each([line for line in lines if line.listing.id not in before], post)
    return Done(len(before) + done.number, done.failed, [*before.values(), *done.jobs])


async def end_all(db: Database, user_id: UUID, lines: Sequence[Line]) -> Done:
    """*Take it down*, wherever the lines say."""

    async def end(session: AsyncSession, publication: Publication) -> None:
        await act(session, publication, "end")

    return await _each_place(db, user_id, lines, end)


async def relist_all(db: Database, user_id: UUID, lines: Sequence[Line]) -> Done:
    return await _each_place(db, user_id, lines, relisting.ask)


async def _each_place(
    db: Database,
    user_id: UUID,
    lines: Sequence[Line],
    do: Callable[[AsyncSession, Publication], Awaitable[None]],
) -> Done:
    """A transaction each: rows are locked account by account."""

    async def all_of(line: Line) -> list[str]:
        for _, id in line.places:
            async with db.as_user(user_id) as session:
                publication = await session.get(Publication, UUID(id))
                if publication is None:
                    raise Refused("It is not there any more.")
                await do(session, publication)
                if may_keep(publication, line.listing):
                    waiting.append(id)
        return []

    waiting = list[str]()
    done = await each(lines, all_of)
    return Done(done.number, done.failed, waiting=waiting)


async def keep_all(db: Database, user_id: UUID, publication_ids: Sequence[str]) -> tuple[int, int]:
    """Each of these publications stays where it is: (how many, what goes on, since it has begun). What is not
    the seller's is not there; NotFound if that is all of them."""
    kept, going_on = 0, 0
    for id in publication_ids:
        async with db.as_user(user_id) as session:
            publication = await session.get(Publication, UUID(id))
            if publication is None:
                continue
            try:
                await act(session, publication, "keep")
            except Conflict:
                going_on += 1
            else:
                kept += 1
    if not kept + going_on:
        raise NotFound
    return kept, going_on


async def label_all(db: Database, user_id: UUID, lines: Sequence[Line], wish: Labelling) -> Done:
    """Nobody has to go anywhere for it."""
    changes = list[Changed]()

    async def label(line: Line) -> list[str]:
        async with db.as_user(user_id) as session:
            listing = await find_listing(session, line.listing.id, lock=True)
            await session.refresh(listing)
            was, now = labelled(listing), wish.of(listing)
            for name, value in now.items():
                setattr(listing, name, value)
            await changed(session, listing, now)
        changes.append(Changed(str(line.listing.id), was, now))
        return []

    done = await each(lines, label)
    return Done(done.number, done.failed, changes=changes)


async def take_back(db: Database, user_id: UUID, job_ids: Sequence[str]) -> tuple[int, int]:
    """Cancels these jobs: (taken back, what is being submitted at this moment and goes on). What is not the
    seller's is not there; NotFound if that is all of them."""
    taken, going_on, found = 0, 0, 0
    for job_id in job_ids:
        try:
            async with db.as_user(user_id) as session:
                cancelled = await jobs.cancel(session, job_id)
        except NotFound:
            continue
        found += 1
        going_on += len(cancelled.going_on)
        taken += any(pair.state == "cancelled" for pair in cancelled.pairs)
    if not found:
        raise NotFound
    return taken, going_on
