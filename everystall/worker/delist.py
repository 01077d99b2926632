"""Taking one listing down, and making sure that it is gone.

Gone needs the listing's own page to say so; a list that does not show it, an error or a sign-in page
proves nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import MarketplaceBusy
from everystall.inventory import sales, take_downs
from everystall.inventory.listings import forget_listing_if_over
from everystall.inventory.publications import (
    about_order,
    ask_first,
    change,
    held_by_pause,
    live_attempt,
)
from everystall.marketplaces.base import SeenState
from everystall.models import Attempt, Connection, Listing, Publication, TakeDown
from everystall.worker import hands, heals, publish

if TYPE_CHECKING:
    from everystall.worker.visit import Visit

log = structlog.get_logger()

#: After a take-down began, how long its click may still have an effect.
LATE_SECONDS = 10.0


async def delist(visit: Visit, publication_id: UUID) -> None:
    """Look, take down, look. Raises what stopped it; it may be repeated as often as it takes."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id)
        if publication.wanted != "ended" or publication.put != "live":
            return
        if (asked := await held_by_pause(session, publication)) is not None:
            await change(session, publication, needs_you=ask_first(publication, asked))
            return
        await change(session, publication, state="ending", started_at=func.now(), finished_at=None,
                     **visit.begins())  # fmt: skip
        await take_downs.note_started(session, publication)
        remote_id, attempt = publication.remote_id, await _sold_elsewhere(session, publication)
    await take_down(visit, publication_id, remote_id, attempt)


async def take_down(
    visit: Visit, publication_id: UUID, remote_id: str | None, attempt: Attempt | None = None
) -> None:
    """The clicks, and what its own page says before and after. `attempt`: it sold elsewhere, so that what
    its seller's hand posted anew in its place is to go too."""
    assert remote_id is not None, "put = live is written together with its remote_id"
    page = await visit.page()
    log.info("visit.at", at="baseline")
    state = (await visit.adapter.read(page, remote_id)).state
    if state == "ended" and attempt and await hands.follow(visit, page, publication_id, attempt):
        return  # posted anew by its seller's hand: that is what the next step takes down
    if state not in ("ended", "sold"):
        await visit.adapter.delist(page, remote_id)
        log.info("visit.at", at="read-back")
        state = (await visit.adapter.read(page, remote_id)).state
    await visit.signed_in()
    if state == "ended":
        heals.prove(visit)
    await _record(visit, publication_id, state)
    if state not in ("ended", "sold"):
        raise MarketplaceBusy(f"{visit.label} still shows the listing after we took it down.")


async def _sold_elsewhere(session: AsyncSession, publication: Publication) -> Attempt | None:
    """What stands there, if it goes because of a sale elsewhere."""
    found = await session.scalar(
        select(TakeDown.id)
        .where(TakeDown.publication_id == publication.id, TakeDown.gone_at.is_(None))
        .limit(1)
    )
    return await live_attempt(session, publication) if found is not None else None


async def look_whether_it_stands(visit: Visit, publication_id: UUID) -> None:
    """It is wanted live again while a take-down may be under way: its own page says which came first. Where
    the last one was sold meanwhile, it goes."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id)
        if (publication.wanted, publication.put, publication.state) != ("live", "live", "ending"):
            return
        await visit.begin(session, publication_id)
        remote_id = publication.remote_id
    assert remote_id is not None, "put = live is written together with its remote_id"
    state = (await visit.adapter.read(await visit.page(), remote_id)).state
    if state in ("ended", "sold"):
        await _record(visit, publication_id, state)
        return
    if state != "live":
        raise MarketplaceBusy(f"{visit.label} does not say whether the listing still stands.")
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id)
        late = await session.scalar(
            text("SELECT started_at > now() - make_interval(secs => :s) FROM publications WHERE id = :id"),
            {"id": publication_id, "s": LATE_SECONDS},
        )
        if late:  # the site may take the click yet
            await change(session, publication, next_try_at=func.now() + timedelta(seconds=2))
        elif publication.wanted == "live":
            listing = await session.get_one(Listing, publication.listing_id)
            if await publish.nothing_left(session, publication, listing):
                return
            await change(session, publication, state="live", seen="live", seen_at=func.now(), tries=0,
                         next_try_at=None, finished_at=func.now())  # fmt: skip


async def _record(visit: Visit, publication_id: UUID, state: SeenState) -> None:
    """What its own page said, after the click or instead of it."""
    log.info("visit.at", at="save")
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id, with_others=state == "sold")
        seen = state if state in ("live", "ended", "sold") else "unknown"
        await change(session, publication, seen=seen, seen_at=func.now())
        if state not in ("ended", "sold"):
            await change(session, publication, next_try_at=func.now() + timedelta(seconds=1))
            return
        attempt = (
            await session.execute(
                select(Attempt).where(Attempt.publication_id == publication_id, Attempt.outcome == "live")
            )
        ).scalar_one_or_none()
        await change(session, publication, needs_you=about_order(publication))
        if attempt is not None and state == "sold":
            await sales.take_sold_page(session, publication, attempt)
        else:
            if attempt is not None:
                attempt.outcome, attempt.finished_at = state, func.now()
            if state == "sold":  # whatever was asked for meanwhile: a sold thing is not posted again
                publication.wanted = "ended"
            again = publication.wanted == "live"
            relisted = publication.relist is not None
            asked = None if again else publication.needs_you  # no post waits for what is asked of an order
            await change(session, publication, put=state, state="waiting" if again else state, tries=0,
                         next_try_at=None, needs_you=asked,
                         finished_at=None if again else func.now())  # fmt: skip
            if relisted and again:  # first a look whether somebody bought it before that
                await session.execute(
                    update(Connection)
                    .where(Connection.id == publication.connection_id)
                    .values(next_check_at=func.now())
                )
        log.info("publication.gone", state=state)
        await forget_listing_if_over(session, publication.listing_id)
