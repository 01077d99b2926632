"""What the seller did by hand on the marketplace: the account's own list of what is live, held against what
we hold live there.

The list only says which listing's own page is worth a look, by what it lacks or shows otherwise; that page is
the judge, and one that cannot be read proves nothing. Of a long list a few pages say where it changed
(list_order.py). What a hand did is taken over and never undone. Nothing here clicks.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import ChallengeShown, EverystallError, SealBroken, SessionExpired, SessionMissing
from everystall.inventory.publications import change, live_attempt, tell
from everystall.marketplaces.base import Active, Draft, Seen
from everystall.models import Attempt, Listing, Publication
from everystall.worker import failures, pace, reconcile
from everystall.worker.compare import QUANTITY, by_hand, compare, kept_note, same, same_photos, same_thing
from everystall.worker.list_order import Order

if TYPE_CHECKING:
    from everystall.browser.page import Page
    from everystall.worker.visit import Visit

log = structlog.get_logger()

#: An account's list is read so many seconds after the last time, for each page of it that was then read: a
#: page in a quarter of an hour, however long it is, beside a page of orders each 75 seconds.
LIST_SECONDS = 900
#: Pages of it that are read in one step: what is to be taken down waits for a step.
PAGES = 5
#: So many listings' own pages that say that all is as it was, and the list is not believed until next time.
MOST_VAIN = 5
#: What we hold live there, and what was ended there by hand and may have been posted anew by hand.
_HELD = text("""
    SELECT p.id AS publication_id, a.id AS attempt_id, a.remote_id, p.put = 'live' AS standing, p.unsettled,
           jsonb_build_object('title', a.draft -> 'title', 'price', a.draft -> 'price', 'description',
                              a.draft -> 'description', 'quantity', a.draft -> 'quantity')
               || a.adopted AS known, a.listed
    FROM publications p JOIN LATERAL (
        SELECT * FROM attempts WHERE publication_id = p.id AND remote_id IS NOT NULL
        ORDER BY created_at DESC LIMIT 1) a ON true
    WHERE p.connection_id = :id AND NOT p.looking
      AND ((p.put = 'live' AND p.wanted = 'live' AND a.outcome = 'live')
           OR (p.put = 'ended' AND p.needs_you ->> 'reason' = 'gone'))
    ORDER BY a.created_at DESC""")
#: What the list was, and what of that is not there any more as far as we know; or null.
_BEFORE = text("""
    SELECT c.live_ids, c.list_turn, ARRAY(
        SELECT a.remote_id FROM attempts a WHERE a.connection_id = c.id
        AND a.remote_id = ANY (c.live_ids) AND a.outcome IS DISTINCT FROM 'live') AS gone
    FROM connections c WHERE c.id = :id""")


@dataclass(frozen=True)
class Held:
    """One listing as we hold it there."""

    publication_id: UUID
    attempt_id: UUID
    remote_id: str
    #: It is live as far as we know; else it is gone, and its seller was told.
    standing: bool
    #: An edit is on its way there: what is other than before is looked at by that.
    unsettled: bool
    #: Title, price, description and quantity as we know them to be there.
    known: Mapping[str, Any]
    #: What the list showed before, where its page said otherwise.
    listed: Mapping[str, Any] | None


@dataclass
class Round:
    """One reading of an account's list, over several steps of a visit."""

    #: Something was sold there that we do not know: it may be what a hand had posted anew.
    after_sale: bool = False
    #: None: not yet read from the rows.
    held: list[Held] | None = None
    order: Order = field(default_factory=lambda: Order(None))
    #: All of it is read that has to be.
    done: bool = False
    rows: dict[str, Active] = field(default_factory=dict)
    #: What is sold there; None: not read.
    sold: list[Active] | None = None
    doubts: list[Held] = field(default_factory=list)
    #: Pages in a row that were read for nothing.
    vain: int = 0

    def unknown(self) -> list[Active]:
        """What is there and is not as we hold it."""
        known = {held.remote_id for held in self.held or ()}
        return [row for row in (*self.rows.values(), *(self.sold or ())) if row.remote_id not in known]


async def go_on(visit: Visit, round: Round) -> None:
    """A step of it: some pages of the list, or one listing's own page."""
    if round.held is None:
        async with visit.lease.transaction() as session:
            rows = await session.execute(_HELD, {"id": visit.lease.connection_id})
            round.held = [Held(**row._mapping) for row in rows]
            listed, turn, gone = (await session.execute(_BEFORE, {"id": visit.lease.connection_id})).one()
            round.order = Order(listed and _expected(round.held, listed, gone), turn)
        await _next(visit, LIST_SECONDS)  # whoever is killed by it is not at it again at once
    if not round.done:
        await _read_list(visit, round)
    elif round.doubts:
        held = round.doubts.pop()
        await (_judge if held.standing else _look_for_gone)(visit, round, held)
    if round.vain >= MOST_VAIN and round.doubts:
        log.warning("list.not_believed", left=len(round.doubts))
        round.doubts.clear()
    if round.done and not round.doubts:
        await _over(visit, round.order)


def _expected(held: Sequence[Held], listed: Sequence[str], gone: Collection[str]) -> list[str]:
    """The list as it was, with what came to be there and without what is over by what we did or know."""
    mine = [one.remote_id for one in held if one.standing]
    over = set(gone).difference(mine)
    new = [id for id in mine if id not in frozenset(listed)]
    return new + [id for id in listed if id not in over]


async def _read_list(visit: Visit, round: Round) -> None:
    page = await visit.page()
    log.info("visit.at", at="session check")
    for _ in range(PAGES):
        number = round.order.next()
        if number is None:
            break
        rows, more = await visit.adapter.list_active(page, number)
        round.order.add(number, [row.remote_id for row in rows], more)
        round.rows |= {row.remote_id: row for row in rows if row.remote_id not in round.rows}
    await visit.signed_in()
    round.done = round.order.next() is None
    if round.done:
        if round.after_sale:
            await _read_sold(visit, page, round)
        unknown, there = round.unknown(), frozenset(round.order.now())
        round.doubts = [one for one in round.held or () if not _fits(one, round.rows, unknown, there)]
        random.shuffle(round.doubts)  # none is always behind one whose page does not load


async def _read_sold(visit: Visit, page: Page, round: Round) -> None:
    if round.sold is None:
        round.sold = await visit.adapter.find_active(page, look_for=("sold",))


def _fits(held: Held, rows: Mapping[str, Active], unknown: Sequence[Active], there: Collection[str]) -> bool:
    """Does the list show nothing that its own page would have to explain? `there`: what it holds, also where
    it was not read."""
    if not held.standing:
        return not any(same_thing(held.known, row.title, row.price) for row in unknown)
    row = rows.get(held.remote_id)
    if row is None:
        return held.remote_id in there
    return held.unsettled or _as_known(held.known, row) or _shown(row) == held.listed


def _as_known(known: Mapping[str, Any], row: Active) -> bool:
    """More of it are a hand's doing; fewer may be sold."""
    price = row.price is None or same(known.get("price"), row.price)
    more = row.quantity is not None and row.quantity > (known.get(QUANTITY) or 1)
    return price and not more and same(known.get("title"), row.title)


def _shown(row: Active) -> dict[str, Any]:
    shown = {"title": row.title, "price": row.price.model_dump(mode="json") if row.price else None}
    return shown if row.quantity is None else shown | {"quantity": row.quantity}


async def _judge(visit: Visit, round: Round, held: Held) -> None:
    """What its own page says of a listing that the list lacks, or shows otherwise."""
    page = await visit.page()
    log.info("visit.at", at="read-back")
    seen = await visit.adapter.read(page, held.remote_id)
    if seen.state in ("ended", "sold"):
        round.vain = 0
        async with visit.lease.transaction() as session:
            attempt = await session.get(Attempt, held.attempt_id)
        if attempt is None or attempt.outcome != "live":  # a step in between ended or replaced it
            return
        log.info("hand.ended", publication_id=str(held.publication_id), state=seen.state)
        if seen.state == "ended":
            await _read_sold(visit, page, round)
            if await follow(visit, page, held.publication_id, attempt, round.unknown()):
                return
        await reconcile.settle(visit, page, held.publication_id, attempt, held.remote_id, seen)
    elif seen.state != "live" or not await _adopt(visit, held, round.rows.get(held.remote_id), seen):
        round.vain += 1
    else:
        round.vain = 0


async def _look_for_gone(visit: Visit, round: Round, held: Held) -> None:
    """It was ended there, and something that resembles it is in the list."""
    async with visit.lease.transaction() as session:
        attempt = await session.get(Attempt, held.attempt_id)
    if attempt is not None:
        moved = await follow(visit, await visit.page(), held.publication_id, attempt, round.unknown())
        round.vain = 0 if moved else round.vain + 1


async def _adopt(visit: Visit, held: Held, row: Active | None, seen: Seen) -> bool:
    """It is live: what is other on its page than we know it to be was changed by hand, and stays. False: all
    is as it was."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, held.publication_id)
        attempt = await live_attempt(session, publication)
        changing = publication.unsettled or (attempt is not None and attempt.revising is not None)
        if attempt is None or attempt.id != held.attempt_id or changing:
            return False
        before = dict(attempt.adopted)
        _take_over(visit, publication, attempt, seen)
        known = attempt.draft | attempt.adopted
        attempt.listed = None if row is None or _as_known(known, row) else _shown(row)
        await change(session, publication, seen="live", seen_at=func.now())
        if attempt.adopted == before:
            return False
        names = sorted(attempt.adopted.keys() ^ before.keys())
        log.info("hand.edited", publication_id=str(publication.id), fields=names)
        return True


def _take_over(visit: Visit, publication: Publication, attempt: Attempt, seen: Seen) -> None:
    """What the page shows by the seller's hand, into both rows."""
    read_back = publication.read_back or {}
    adopted = by_hand(attempt.draft, attempt.adopted, seen.fields, read_back)
    notes = [note for note in publication.notes if note["field"] not in {*attempt.adopted, *adopted}]
    publication.notes = notes + [kept_note(visit.label, name) for name in adopted]
    compared = compare(Draft.model_validate(attempt.draft), seen.fields)
    publication.read_back = read_back | {name: compared[name] for name in compared if name in read_back}
    attempt.adopted = adopted


# ---- under another id -----------------------------------------------------------------------------


async def follow(
    visit: Visit, page: Page, publication_id: UUID, attempt: Attempt, there: Sequence[Active] | None = None
) -> bool:
    """It is gone from where it was: did its seller delete it and post it anew by hand? Then the publication
    is what is there now. `there`: what the account's lists show, if they were just read. False: nothing like
    it is among that."""
    if there is None:
        there = await visit.adapter.find_active(page, look_for=("live", "sold"))
    found = await _find_moved(visit, page, attempt, there)
    if found is None:
        return False
    item, seen = found
    draft = Draft.model_validate(attempt.draft)
    read_back = await reconcile.compare_all(visit, page, draft, attempt.photo_hashes, seen)
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id, with_others=seen.state == "sold")
        old = await session.get_one(Attempt, attempt.id, populate_existing=True)
        told = publication.put == "live"
        if old.outcome != ("live" if told else "ended"):  # another is what stands there, or stood last
            return False
        if not told and not await _want_again(session, publication):
            return False
        new = await _attempt_of(visit, session, old, item, seen)
        _take_over(visit, publication, new, seen)
        await reconcile.record(visit, session, publication, new, item.remote_id, seen, read_back)
        log.info("hand.reposted", publication_id=str(publication_id), remote_id=item.remote_id)
        if told and seen.state == "live":
            await tell(session, publication, "publication.live")
    return True


async def _want_again(session: AsyncSession, publication: Publication) -> bool:
    """It was ended there by hand, and there it is again. False: that was not how it ended, or nothing of it
    is left to be sold."""
    listing = await session.get_one(Listing, publication.listing_id)
    left = listing.quantity > listing.quantity_sold and listing.delete_asked_at is None
    if (publication.needs_you or {}).get("reason") != "gone" or not left:
        return False
    publication.wanted, publication.wanted_revision = "live", listing.revision
    return True


async def _attempt_of(
    visit: Visit, session: AsyncSession, old: Attempt, item: Active, seen: Seen
) -> Attempt:  # fmt: skip
    """What the seller posted himself, as if we had: the old one stays, for orders of it that turn up late."""
    if old.outcome == "live":
        old.outcome, old.finished_at = "ended", func.now()
        await session.flush()
    new = Attempt(
        user_id=old.user_id, publication_id=old.publication_id, connection_id=old.connection_id,
        listing_revision=old.listing_revision, marker=old.marker, draft=old.draft,
        fields_hash=old.fields_hash, photo_hashes=old.photo_hashes, adopted=old.adopted,
        fence=visit.lease.fence, remote_id=item.remote_id, url=seen.url,
    )  # fmt: skip
    session.add(new)
    await session.flush()
    return new


async def _find_moved(
    visit: Visit, page: Page, attempt: Attempt, there: Sequence[Active]
) -> tuple[Active, Seen] | None:
    """With our marker and the same title; or an id that nobody here had met, with the same title and price,
    and the same photos on its own page. What was there before is none of it, however alike it is."""
    known = {**attempt.draft, **attempt.adopted}
    async with visit.lease.transaction() as session:
        met = await reconcile.known_ids(session, visit.lease.connection_id)
        others = await _others(session, visit.lease.connection_id)
    for item in there:
        alike = same_thing(known, item.title, item.price)
        marked = _bears(attempt.marker, item.sku)
        if item.remote_id in others.taken or not (marked or alike):
            continue
        old = item.remote_id in met
        if not marked and (others.may_be(item) or (old and attempt.marker is None)):
            continue
        seen = await visit.adapter.read(page, item.remote_id)
        if seen.state not in ("live", "sold"):
            continue
        if (marked or _bears(attempt.marker, seen.fields.get("sku"))) and same(
            known["title"], seen.fields.get("title")
        ):
            return item, seen
        theirs = await reconcile.hashes(visit, page, seen.photo_urls)
        if (marked or not old) and same_photos(attempt.photo_hashes, theirs):
            return item, seen
    return None


def _bears(marker: str | None, sku: Any) -> bool:
    return bool(marker and sku and str(sku).endswith(marker))


@dataclass(frozen=True)
class Others:
    """What of an account's lists is not to be taken for something that was posted anew."""

    taken: frozenset[str]
    #: What is meant by clicks that nobody has settled yet.
    drafts: Sequence[Mapping[str, Any]]

    def may_be(self, item: Active) -> bool:
        return any(same_thing(draft, item.title, item.price) for draft in self.drafts)


async def _others(session: AsyncSession, connection_id: UUID) -> Others:
    """Every attempt's own, and what an open one may be."""
    taken = select(Attempt.remote_id).where(
        Attempt.connection_id == connection_id, Attempt.remote_id.is_not(None)
    )
    clicked = select(Attempt.draft).where(
        Attempt.connection_id == connection_id,
        Attempt.remote_id.is_(None),
        Attempt.armed_at.is_not(None),
        Attempt.outcome.is_(None) | (Attempt.outcome == "unresolved"),
    )
    ids = [remote_id for remote_id in await session.scalars(taken) if remote_id is not None]
    return Others(frozenset(ids), (await session.scalars(clicked)).all())


# ---- when -----------------------------------------------------------------------------------------


async def _over(visit: Visit, order: Order) -> None:
    visit.round = None
    now = order.now()
    async with visit.lease.transaction() as session:
        await session.execute(
            text("UPDATE connections SET live_ids = :ids, list_turn = :turn WHERE id = :id"),
            {"id": visit.lease.connection_id, "ids": now if order.is_long else None, "turn": order.turn},
        )
    await _next(visit, LIST_SECONDS * order.pages_read)


async def failed(visit: Visit, error: EverystallError) -> None:
    """The list, or a page, could not be read: that is no end of anything. Later again."""
    visit.round = None
    if isinstance(error, SessionExpired | SessionMissing | SealBroken | ChallengeShown):
        await failures.failed(visit, None, error)
        return
    log.warning("list.unread", error=error.code, message=error.message)
    await pace.heed(visit, error)
    await _next(visit, LIST_SECONDS)


async def _next(visit: Visit, seconds: float) -> None:
    async with visit.lease.transaction() as session:
        await session.execute(
            text("""UPDATE connections SET next_list_at = now() + make_interval(secs => :seconds)
                    WHERE id = :id"""),
            {"id": visit.lease.connection_id, "seconds": seconds},
        )
