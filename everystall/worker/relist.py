"""The first half of relisting: taken down and seen gone by its own page. The second is a post like any other
(publish.py), in a new attempt, after one more look whether somebody bought it.

Nothing is taken down that could not be posted again at once, nor what stands there otherwise than here. From
the first click on the row says so (`relist`), so that whoever comes after a crash goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from sqlalchemy import func, text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import ListingIncomplete, MarketplaceBusy, NotWanted, listed
from everystall.inventory import relisting
from everystall.inventory.publications import NOT_HELD, change, live_attempt
from everystall.marketplaces.base import Draft
from everystall.models import Attempt, Listing, Publication
from everystall.worker import delist, pace, publish, reconcile
from everystall.worker.compare import differing

if TYPE_CHECKING:
    from everystall.browser.page import Page
    from everystall.worker.visit import Visit

log = structlog.get_logger()

#: How long others on the account wait for one that is down, so that what cannot be posted again takes none
#: with it.
WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Plan:
    """What stands there, and what would be posted in its place."""

    publication_id: UUID
    revision: int
    draft: Draft
    attempt: Attempt
    #: Fields that differed from what we put from the beginning.
    unlike: frozenset[str]


async def relist(visit: Visit, publication_id: UUID) -> None:
    """Taken down, as far as it comes; it may be repeated as often as it takes."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id)
        if (publication.wanted, publication.put) != ("live", "live") or publication.relist is None:
            return
        begun, remote_id = publication.relist == "begun", publication.remote_id
        if begun:
            await visit.begin(session, publication_id)
    if not begun:
        plan = await _compose(visit, publication_id)
        if plan is None:
            return
        page = await visit.page()
        await publish.render(visit, plan.draft)
        log.info("visit.at", at="baseline")
        if not await _stands_as_put(visit, page, plan):
            return
        await _begin(visit, plan)
    await delist.take_down(visit, publication_id, remote_id)


async def _compose(visit: Visit, publication_id: UUID) -> Plan | None:
    """None: not now, or not at all."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id)
        listing = await session.get(Listing, publication.listing_id)
        attempt = await live_attempt(session, publication)
        if listing is None or attempt is None or publication.relist != "asked":
            return None
        if await publish.nothing_left(session, publication, listing):
            return None
        await publish.read_account(visit, session)
        asked = await _others(session, publication)
        if asked:
            await relisting.leave(session, publication, "another one could not be posted again", tried=False)
            return None
        wait = await pace.until_next_post(visit, session) or (WAIT_SECONDS if asked is not None else 0)
        if wait:
            await _hold(session, publication, wait)
            return None
        if attempt.adopted or attempt.conflict or attempt.revising:
            await relisting.leave(session, publication, "something of it stands there otherwise than here")
            return None
        try:
            draft = await publish.compose(visit, session, listing, publication)
        except ListingIncomplete as e:
            await relisting.leave(session, publication, f"it could not be posted again: {e.message}")
            return None
        unlike = frozenset(differing(publication.read_back or {}))
        plan = Plan(publication_id, listing.revision, draft, attempt, unlike)
        session.expunge(attempt)
        await visit.begin(session, publication_id)
        return plan


async def _others(session: AsyncSession, publication: Publication) -> bool | None:
    """None: no other one of the account is down, or about to be. Else: does one of these ask the seller?"""
    found = await session.execute(
        text("""SELECT bool_or(needs_you IS NOT NULL) FROM publications
                WHERE connection_id = :id AND relist IN ('begun', 'down') AND id <> :mine"""),
        {"id": publication.connection_id, "mine": publication.id},
    )
    asked: bool | None = found.scalar_one()
    return asked


async def _hold(session: AsyncSession, publication: Publication, wait: float) -> None:
    await session.execute(
        text(f"""UPDATE publications p SET next_try_at = now() + make_interval(secs => :wait)
                WHERE connection_id = :id AND relist = 'asked' AND {NOT_HELD}
                  AND (next_try_at IS NULL OR next_try_at < now() + make_interval(secs => :wait))"""),
        {"id": publication.connection_id, "wait": wait},
    )


async def _stands_as_put(visit: Visit, page: Page, plan: Plan) -> bool:
    """Its own page. What is gone or sold is written down; what is otherwise than we put it stays up."""
    attempt = plan.attempt
    assert attempt.remote_id is not None, "put = live is written together with its remote_id"
    seen = await visit.adapter.read(page, attempt.remote_id)
    if seen.state in ("ended", "sold"):
        await reconcile.settle(visit, page, plan.publication_id, attempt, attempt.remote_id, seen)
        return False
    if seen.state != "live":
        raise MarketplaceBusy(f"{visit.label} does not show the listing as live.")
    put = Draft.model_validate(attempt.draft)
    compared = await reconcile.compare_all(visit, page, put, attempt.photo_hashes, seen)
    by_hand = [name for name in differing(compared) if name not in plan.unlike]
    if not by_hand:
        return True
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, plan.publication_id)
        await relisting.leave(session, publication, f"this is not as we put it there: {listed(by_hand)}")
    return False


async def _begin(visit: Visit, plan: Plan) -> None:
    """The promise before the click, in a transaction of its own: from here on it is posted again, whoever
    took it down. Any change of mind: no click."""
    log.info("visit.at", at="arm")
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, plan.publication_id)
        await publish.still_wanted(visit, session, publication, plan.revision)
        attempt = await live_attempt(session, publication)
        if publication.relist != "asked" or attempt is None or attempt.id != plan.attempt.id:
            raise NotWanted("It was settled otherwise meanwhile.")
        await change(session, publication, relist="begun", state="ending", started_at=func.now(),
                     finished_at=None, under_way=True)  # fmt: skip
