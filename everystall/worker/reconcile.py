"""Finding out what became of a click: in active, drafts and sold, by our marker, else by an id that
was not there before with the same title, price and photos. Nothing here clicks "publish".

Each look is a step of its own. The only proofs of absence are a refusal in answer to our click and our
own draft lying there unpublished; a list that does not show the listing proves nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BrowserEnded, EverystallError, LeaseLost, MarketplaceBusy
from everystall.inventory import cancelled_sales, sales
from everystall.inventory.listings import forget_listing_if_over
from everystall.inventory.publications import about_order, ask_first, backoff, change, needs_you, open_attempt
from everystall.marketplaces.base import Active, Draft, Seen
from everystall.models import Attempt, Publication, Sale
from everystall.worker import heals, watch
from everystall.worker.compare import compare, differing, same_photos, same_thing

if TYPE_CHECKING:
    from everystall.browser.page import Page
    from everystall.worker.visit import Visit

log = structlog.get_logger()

#: Seconds between the looks inside the settle window; then, after the click, five minutes, an hour, a day.
SOON = (1.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0)
LATER = (300.0, 3600.0, 86400.0)
#: After the click, how long our own draft has to lie there before it proves that nothing was published.
DRAFT_SECONDS = 10.0
#: How far a list may be behind: so long after we discarded the draft nothing of ours may have turned up.
LAG_SECONDS = 30.0


async def look(visit: Visit, publication_id: UUID) -> None:
    """One look for the open, armed attempt of this publication, and what follows from it."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id)
        attempt = await open_attempt(session, publication)
        if attempt is None or attempt.armed_at is None:
            await change(session, publication, looking=False)
            return
        if publication.state == "armed":
            await change(session, publication, state="reconciling")
        # what is read from here on is not older
        began = await visit.begin(session, publication_id)
    page = await visit.page()
    log.info("visit.at", at="read-back")
    found, seen = await _find(visit, page, attempt)
    if found is None and _was_discarded(publication, attempt):
        await _draft_is_gone(visit, publication_id, attempt, began)
    elif found is None:
        await _not_found(visit, publication_id, attempt, began)
    elif found.state == "draft" and publication.needs_you is None:
        await _only_a_draft(visit, page, publication_id, attempt, found, began)
    elif found.state == "draft":  # the site keeps it for a review: it may let it through by itself
        await _not_found(visit, publication_id, attempt, began)
    elif seen is None or seen.state in ("unknown", "draft"):
        await _remember(visit, publication_id, attempt.id, found)
        await _not_found(visit, publication_id, attempt, began)
    else:
        await settle(visit, page, publication_id, attempt, found.remote_id, seen)


async def look_for_orphan(visit: Visit, publication_id: UUID) -> None:
    """A look for an attempt that the seller gave up ("Post again"), or whose order was cancelled, so that the
    marketplace may have it for sale again. If it turns up beside a newer one, the newer is taken down: the
    older has the buyers' likes, and two would sell it twice."""
    async with visit.lease.transaction() as session:
        attempt = (
            await session.scalars(
                select(Attempt)
                .where(Attempt.publication_id == publication_id, Attempt.outcome == "unresolved",
                       Attempt.next_look_at <= func.now())
                .order_by(Attempt.next_look_at).limit(1)
            )
        ).first()  # fmt: skip
        if attempt is None:
            return
        publication = await visit.locked(session, publication_id)
        newer = await _newer(session, publication_id, attempt.id)
        if newer is not None and newer.outcome is None and newer.armed_at is not None:
            attempt.next_look_at = func.now() + timedelta(seconds=30)  # one question at a time
            return
        cancelled = await cancelled_sales.find_cancelled(session, attempt)
        await visit.begin(session, publication_id)
    page = await visit.page()
    found, seen = await _find(visit, page, attempt)
    there = ("live",) if cancelled is not None else ("live", "sold")
    if found is None or seen is None or seen.state not in there:
        async with visit.lease.transaction() as session:
            mine = await session.get_one(Attempt, attempt.id, populate_existing=True)
            mine.looks += 1
            mine.next_look_at = _next_later(mine.looks)
            if cancelled is not None and mine.looks >= len(LATER):
                mine.outcome = "sold"
            publication = await visit.locked(session, publication_id)
            publication.begun_at, publication.cut_off = None, 0
            await let_twins_go_on(session, mine)
            await forget_listing_if_over(session, publication.listing_id)
        return
    if cancelled is not None:
        async with visit.lease.transaction() as session:
            publication = await visit.locked(session, publication_id, with_others=True)
            mine = await session.get_one(Attempt, attempt.id, populate_existing=True)
            if await cancelled_sales.ask_of_put_back(session, publication, mine):
                return
    log.warning("orphan.turned_up", attempt_id=str(attempt.id), state=seen.state)
    twice = newer is not None and newer.outcome in ("live", "sold") and newer.remote_id is not None
    if twice and newer is not None and newer.remote_id is not None:
        state = newer.outcome
        if state == "live":
            await visit.adapter.delist(page, newer.remote_id)
            state = (await visit.adapter.read(page, newer.remote_id)).state
        if state == "sold":
            await _take_down_the_older(visit, page, publication_id, attempt, newer, found, cancelled)
            return
        if state != "ended":
            raise MarketplaceBusy(f"{visit.label} still shows the second listing after we took it down.")
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id, with_others=cancelled is not None)
        if cancelled is not None:
            await sales.take_put_back(session, publication, cancelled)
        newer = await _newer(session, publication_id, attempt.id)
        if newer is not None and newer.outcome in (None, "live"):
            newer.outcome, newer.finished_at = "ended", func.now()
            await session.flush()
        mine = await session.get_one(Attempt, attempt.id, populate_existing=True)
        mine.next_look_at, mine.outcome, mine.remote_id = None, None, found.remote_id
        await change(session, publication, looking=True, next_try_at=None, state="reconciling",
                     remote_id=found.remote_id, url=found.url)  # fmt: skip
    await settle(visit, page, publication_id, attempt, found.remote_id, seen)
    if twice:
        done = "The newer one was taken down; the older one stays."
        await _tell_twice(visit, publication_id, done, cancelled)


async def orphan_not_read(visit: Visit, publication_id: UUID) -> None:
    """A look for such an attempt failed: after five minutes, an hour, a day again. After that nobody looks
    any more: what was sold is sold, else the seller has to."""
    async with visit.lease.transaction() as session:
        publication = await visit.find_locked(session, publication_id)
        if publication is None:
            return
        publication.begun_at, publication.cut_off = None, 0
        sought = await session.scalars(
            select(Attempt)
            .where(Attempt.publication_id == publication_id, Attempt.outcome == "unresolved",
                   Attempt.next_look_at <= func.now())
            .order_by(Attempt.created_at)
        )  # fmt: skip
        for attempt in sought.all():
            attempt.looks = attempt.looks + 1 if attempt.looks < len(LATER) else 0
            attempt.next_look_at = _next_later(attempt.looks)
            if attempt.looks < len(LATER):
                continue
            if await cancelled_sales.find_cancelled(session, attempt) is not None:
                attempt.outcome = "sold"
            else:
                said = (
                    f"After you pressed Post again, we could not look whether the first listing turned up on "
                    f"{visit.label} beside it, and look no more. Look there yourself; if it is there twice, "
                    "take one of them down."
                )
                asked = needs_you(publication, visit.connection.public_id, "posted_twice", said,
                                  publication.url or visit.connection.base_url)  # fmt: skip
                await change(session, publication, needs_you=ask_first(publication, asked))
            await let_twins_go_on(session, attempt)
        await forget_listing_if_over(session, publication.listing_id)


async def _take_down_the_older(
    visit: Visit, page: Page, publication_id: UUID, attempt: Attempt, newer: Attempt, found: Active,
    cancelled: Sale | None,
) -> None:  # fmt: skip
    """It was there twice, and somebody bought the newer one: that is the sale, and the older has to go."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id, with_others=True)
        sold = await session.get_one(Attempt, newer.id, populate_existing=True)
        if sold.outcome == "live":
            await sales.take_sold_page(session, publication, sold)
    await visit.adapter.delist(page, found.remote_id)
    state = (await visit.adapter.read(page, found.remote_id)).state
    if state not in ("ended", "sold"):
        raise MarketplaceBusy(f"{visit.label} still shows the older listing after we took it down.")
    async with visit.lease.transaction() as session:
        mine = await session.get_one(Attempt, attempt.id, populate_existing=True)
        mine.remote_id, mine.url, mine.next_look_at = found.remote_id, found.url, None
        publication = await visit.locked(session, publication_id, with_others=True)
        if state == "sold":
            await sales.take_sold_page(session, publication, mine)
        mine.outcome, mine.finished_at = state, func.now()
    done = "The older one was taken down." if state == "ended" else "The older one was sold too: see to both."
    await _tell_twice(visit, publication_id, f"The newer one was sold. {done}", cancelled)


async def _tell_twice(visit: Visit, publication_id: UUID, done: str, cancelled: Sale | None) -> None:
    """`cancelled`: the order of the first one, which the marketplace itself had for sale again after it."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id)
        said = f"After you pressed Post again, the first listing turned up on {visit.label} beside it. {done}"
        if cancelled is not None:
            said = (
                f"The first listing's order was cancelled, and {visit.label} itself had it for sale again, "
                f"beside the one that was posted since. {done}"
            )
        asked = needs_you(publication, visit.connection.public_id, "posted_twice", said, publication.url)
        await change(session, publication, needs_you=ask_first(publication, asked))


async def settle(
    visit: Visit, page: Page, publication_id: UUID, attempt: Attempt, remote_id: str, seen: Seen
) -> None:  # fmt: skip
    """The listing's own page told us what it is: write it down."""
    draft = Draft.model_validate(attempt.draft)
    read_back = await compare_all(visit, page, draft, attempt.photo_hashes, seen)
    if seen.state == "live":
        heals.judge(visit, differing(read_back), seen.fields, live=True)
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id, with_others=seen.state == "sold")
        mine = await session.get_one(Attempt, attempt.id, populate_existing=True)
        if mine.outcome not in (None, "live"):
            log.info("attempt.settled_otherwise", attempt_id=str(mine.id), outcome=mine.outcome)
            return
        await record(visit, session, publication, mine, remote_id, seen, read_back)
    if seen.state == "live":
        await watch.hasten(visit)


async def compare_all(
    visit: Visit, page: Page, draft: Draft, photo_hashes: Sequence[str], seen: Seen
) -> dict[str, bool]:
    """{field: equal?} of all that the listing's own page shows, its photos too."""
    log.info("visit.at", at="save")
    read_back = compare(draft, seen.fields)
    if seen.state == "live":  # where the page shows none, they are not as posted
        read_back["photos"] = same_photos(photo_hashes, await hashes(visit, page, seen.photo_urls))
    return read_back


async def record(
    visit: Visit, session: AsyncSession, publication: Publication, mine: Attempt, remote_id: str, seen: Seen,
    read_back: Mapping[str, bool],
) -> None:  # fmt: skip
    """What the listing's own page told us, into both rows."""
    mine.remote_id, mine.url = remote_id, seen.url
    if seen.state != "sold":
        mine.outcome, mine.finished_at = seen.state, None if seen.state == "live" else func.now()
    await let_twins_go_on(session, mine)
    common: dict[str, Any] = {
        "looking": False, "tries": 0, "next_try_at": None, "remote_id": remote_id, "url": seen.url,
        "seen": seen.state, "seen_at": func.now(), "finished_at": func.now(),
        "needs_you": about_order(publication),
    }  # fmt: skip
    if seen.state == "sold":
        await change(session, publication, **common)
        await sales.take_sold_page(session, publication, mine)
        await forget_listing_if_over(session, publication.listing_id)
    elif seen.state == "ended":
        by_others = publication.wanted == "live"
        await change(session, publication, put="ended", wanted="ended", state="ended", **common)
        if by_others:
            await _tell_gone(visit, session, publication)
        await forget_listing_if_over(session, publication.listing_id)
    else:
        # what the form showed just before the click stands for what the live page does not show
        merged = {**(publication.read_back or {}), **read_back}
        state = "live" if publication.wanted == "live" else "ending"
        await change(session, publication, put="live", put_revision=mine.listing_revision, state=state,
                     read_back=merged, **common)  # fmt: skip
        log.info("publication.live", remote_id=remote_id, differs=differing(merged))
        await sales.take_orders(session, publication, mine)


async def known_ids(session: AsyncSession, connection_id: UUID) -> frozenset[str]:
    """Every id on this account that we have met: our own attempts', and what stood there before them."""
    rows = await session.execute(
        text("""SELECT remote_id FROM attempts WHERE connection_id = :id AND remote_id IS NOT NULL
                UNION SELECT unnest(baseline) FROM attempts WHERE connection_id = :id"""),
        {"id": connection_id},
    )
    return frozenset(row[0] for row in rows)


async def _find(visit: Visit, page: Page, attempt: Attempt) -> tuple[Active | None, Seen | None]:
    """The listing of this attempt: as its row in a list, and as its own page says."""
    remote_id = attempt.remote_id
    if remote_id is not None:
        seen = await visit.adapter.read(page, remote_id)
        return Active(remote_id, "live", attempt.draft["title"], url=seen.url or attempt.url), seen
    told = re.search(visit.form.REMOTE_ID, attempt.url or "")
    if told is not None and not await _taken(visit, told[1]):  # the seller says: it is there
        seen = await visit.adapter.read(page, told[1])
        if seen.state in ("live", "sold") and await _is_ours(visit, page, attempt, seen):
            return Active(told[1], "live", attempt.draft["title"], url=seen.url), seen
    before = frozenset(attempt.baseline or ())
    there = await visit.adapter.find_active(page, known=before)
    await visit.signed_in()
    if attempt.marker is not None:
        ours = [item for item in there if item.sku is not None and item.sku.endswith(attempt.marker)]
        if ours:
            best = next((item for item in ours if item.state != "draft"), ours[0])
            read = None if best.state == "draft" else await visit.adapter.read(page, best.remote_id)
            return best, read
    draft_of_ours = None
    for item in there:
        if item.state == "draft" and item.remote_id == attempt.draft_id:
            draft_of_ours = item
        if item.state == "draft" or item.remote_id in before:
            continue
        if not same_thing(attempt.draft, item.title, item.price) or await _taken(visit, item.remote_id):
            continue
        seen = await visit.adapter.read(page, item.remote_id)
        marked = seen.fields.get("sku")
        if attempt.marker is not None and marked:
            if str(marked).endswith(attempt.marker):
                return item, seen
            continue
        if same_photos(attempt.photo_hashes, await hashes(visit, page, seen.photo_urls)):
            return item, seen
    if draft_of_ours is None and attempt.draft_id is not None and attempt.answered_at is None:
        # begun in the form and left there it stands in no list; its page tells, where it has the listing's id
        seen = await visit.adapter.read(page, attempt.draft_id)
        if seen.state == "draft":
            draft_of_ours = Active(attempt.draft_id, "draft", attempt.draft["title"], url=seen.url)
        elif seen.state in ("live", "sold"):
            return Active(attempt.draft_id, "live", attempt.draft["title"], url=seen.url), seen
    return draft_of_ours, None


async def _is_ours(visit: Visit, page: Page, attempt: Attempt, seen: Seen) -> bool:
    """By our marker where the page shows it, else by title, price and photos: another seller's may be
    called the same and cost the same."""
    sku = seen.fields.get("sku")
    if attempt.marker is not None and sku:
        return str(sku).endswith(attempt.marker)
    if not same_thing(attempt.draft, str(seen.fields.get("title") or ""), seen.fields.get("price")):
        return False
    return same_photos(attempt.photo_hashes, await hashes(visit, page, seen.photo_urls))


async def _taken(visit: Visit, remote_id: str) -> bool:
    """Is that listing already another attempt's?"""
    async with visit.lease.transaction() as session:
        found = await session.execute(
            select(Attempt.id).where(
                Attempt.connection_id == visit.lease.connection_id, Attempt.remote_id == remote_id
            )
        )
        return found.first() is not None


async def hashes(visit: Visit, page: Page, urls: Sequence[str]) -> list[str]:
    """Difference hashes of a live page's photos; one that does not load makes an impossible one. BrowserEnded
    says nothing of the photos: it is raised."""

    async def one(url: str) -> str:
        try:
            return await visit.tools.photos.dhash(await page.fetch(url))
        except (LeaseLost, BrowserEnded):
            raise
        except EverystallError as e:
            if getattr(e, "retry_after", None):  # asked to rest: it is looked at after that
                raise
            log.warning("photo.not_read_back", error=e.code)
            return hashlib.sha256(url.encode()).hexdigest()[:16]

    return list(await asyncio.gather(*map(one, urls)))


async def _remember(visit: Visit, publication_id: UUID, attempt_id: UUID, found: Active) -> None:
    """Its id is known, its page is not there yet: keep the id."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id)
        mine = await session.get_one(Attempt, attempt_id, populate_existing=True)
        mine.remote_id, mine.url = found.remote_id, found.url
        await change(session, publication, remote_id=found.remote_id, url=found.url)


async def _not_found(visit: Visit, publication_id: UUID, attempt: Attempt, began: datetime) -> None:
    """Nothing seen since `began` (by the database's clock): that is no proof. Look again; after the window,
    ask the seller and go on looking."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id)
        mine = await session.get_one(Attempt, attempt.id, populate_existing=True)
        mine.looks += 1
        if mine.repost_asked_at is not None:
            mine.outcome, mine.looks = "unresolved", len(LATER)  # one look more, if it is one
            mine.next_look_at = _next_later(0)
            await nothing_there(session, publication)
            return
        age = (
            await session.execute(
                text("SELECT extract(epoch FROM now() - armed_at) FROM attempts WHERE id = :id"),
                {"id": mine.id},
            )
        ).scalar_one()
        read = (began - mine.armed_at).total_seconds() if mine.armed_at else 0.0  # a slow look is an old one
        if read < visit.tools.settings.settle_seconds and publication.needs_you is None:
            wait = SOON[min(mine.looks, len(SOON)) - 1]
            wait = min(wait, max(visit.tools.settings.settle_seconds - float(age), 0.1))
            await change(session, publication, next_try_at=func.now() + timedelta(seconds=wait))
            return
        later = [seconds for seconds in LATER if seconds > age + 1]
        if publication.wanted == "ended":
            if later:
                await change(session, publication, needs_you=None,
                             next_try_at=func.now() + timedelta(seconds=later[0] - float(age)))  # fmt: skip
            else:
                mine.outcome, mine.finished_at = "unresolved", func.now()
                await nothing_there(session, publication)
            return
        asked = publication.needs_you or needs_you(
            publication, visit.connection.public_id, "unresolved",
            _in_question(visit, mine), visit.connection.base_url,
        )  # fmt: skip
        await change(
            session, publication, needs_you=asked, finished_at=func.now(), looking=bool(later),
            next_try_at=func.now() + timedelta(seconds=later[0] - float(age)) if later else None,
        )  # fmt: skip


async def _only_a_draft(
    visit: Visit, page: Page, publication_id: UUID, attempt: Attempt, found: Active, began: datetime
) -> None:  # fmt: skip
    """Our own draft lies there unpublished: proof that the click did nothing, once the site had time to
    do it late. Discard the draft. Whether it went live in that very moment, the next looks tell; where it
    was not there any more when we came to discard it, it is as if we had seen nothing."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id)
        mine = await session.get_one(Attempt, attempt.id, populate_existing=True)
        if not await _passed(session, mine.armed_at, draft_seconds(visit)):
            await change(session, publication, next_try_at=func.now() + timedelta(seconds=1))
            return
    fresh = False  # a list may show it still
    if await visit.adapter.discard_draft(page, found.remote_id):
        async with visit.lease.transaction() as session:
            mine = await session.get_one(Attempt, attempt.id, populate_existing=True)
            if mine.draft_discarded_at is None:
                mine.draft_discarded_at = await session.scalar(select(func.clock_timestamp()))
            fresh = not await _passed(session, mine.draft_discarded_at, _lag(visit))
    seen = await visit.adapter.read(page, found.remote_id)
    if seen.state in ("live", "sold"):
        await settle(visit, page, publication_id, attempt, found.remote_id, seen)
    elif fresh:
        async with visit.lease.transaction() as session:
            publication = await visit.locked(session, publication_id)
            await change(session, publication, next_try_at=func.now() + timedelta(seconds=1))
    else:
        await _not_found(visit, publication_id, attempt, began)


def _was_discarded(publication: Publication, attempt: Attempt) -> bool:
    """Does the draft's absence tell anything? Not where the seller was asked, or said that it is there."""
    asked = publication.needs_you is not None or attempt.repost_asked_at is not None
    return attempt.draft_discarded_at is not None and attempt.url is None and not asked


async def _draft_is_gone(visit: Visit, publication_id: UUID, attempt: Attempt, began: datetime) -> None:
    """We discarded it, and nothing of ours is to be seen since `began` (by the database's clock): if that
    stays so for as long as a list may lag behind, the click did nothing. Try again."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id)
        mine = await session.get_one(Attempt, attempt.id, populate_existing=True)
        since = mine.draft_discarded_at
        if since is not None and began < (enough := since + timedelta(seconds=_lag(visit))):
            await change(session, publication, next_try_at=enough)
            return
        mine.outcome, mine.finished_at = "draft_only", func.now()
        before = await session.scalar(
            select(Attempt.outcome)
            .where(Attempt.publication_id == publication_id, Attempt.id != mine.id)
            .order_by(Attempt.created_at.desc())
            .limit(1)
        )
        stopped, tries = mine.stopped or {}, publication.tries + 1
        if not await nothing_there(session, publication, tries=0):
            return
        if stopped.get("passes") and before != "draft_only":
            wait = backoff(tries - 1, None, random.random())
            await change(session, publication, tries=tries, next_try_at=func.now() + wait)
        elif "reason" in stopped or before == "draft_only":
            said = f"{visit.label} kept the listing as a draft again and did not publish it. We deleted it."
            said = stopped.get("message") or said + _words_of(visit, mine)
            reason, where = stopped.get("reason", "not_published"), visit.connection.base_url
            asked = needs_you(publication, visit.connection.public_id, reason, said, where)
            await change(session, publication, finished_at=func.now(), needs_you=asked)


def draft_seconds(visit: Visit) -> float:
    return min(DRAFT_SECONDS, visit.tools.settings.settle_seconds / 2)


def _lag(visit: Visit) -> float:
    return min(LAG_SECONDS, visit.tools.settings.settle_seconds / 2)


async def _passed(session: AsyncSession, since: datetime | None, seconds: float) -> bool:
    """By the database's clock."""
    return bool(await session.scalar(select(func.now() - timedelta(seconds=seconds) >= since)))


async def nothing_there(session: AsyncSession, publication: Publication, **values: Any) -> bool:
    """The open attempt is over and posted nothing. True: it is still wanted, so it waits to be posted.
    False: nobody wants it any more, so that was the end of it."""
    wanted = publication.wanted == "live"
    await let_twins_go_on(session, publication)
    await change(
        session, publication, looking=False, needs_you=None, next_try_at=None,
        state="waiting" if wanted else "cancelled", finished_at=None if wanted else func.now(), **values,
    )  # fmt: skip
    if not wanted:
        await forget_listing_if_over(session, publication.listing_id)
    return wanted


async def let_twins_go_on(session: AsyncSession, one: Attempt | Publication) -> None:
    """Something on this account is settled: what waits for its twin tries again."""
    await session.execute(
        update(Publication)
        .where(Publication.connection_id == one.connection_id,
               Publication.needs_you["reason"].astext == "twin_in_question")
        .values(needs_you=None, next_try_at=None, finished_at=None)
        .execution_options(synchronize_session=False)
    )  # fmt: skip


def _in_question(visit: Visit, attempt: Attempt) -> str:
    said = f"{did(visit, attempt.stopped)} We do not see it there, and go on looking."
    return f"{said} {(attempt.stopped or {}).get('message', '')}".rstrip() + _words_of(visit, attempt)


def did(visit: Visit, stopped: Mapping[str, Any] | None) -> str:
    """What of ours may have posted it (`Attempt.stopped`), and that nothing else will."""
    if stopped is not None and not stopped["clicked"]:
        return (
            "An agent acted in the form, and it came to no click of ours. It may have posted the listing; we "
            "will not post it by ourselves."
        )
    return (
        f"{visit.label} did not say whether the listing was posted. We clicked once, and will not click "
        "again by ourselves."
    )


def _words_of(visit: Visit, attempt: Attempt) -> str:
    """What the site showed in answer to the click, where that settled nothing."""
    said = (attempt.evidence or {}).get("said")
    return f" {visit.label} said: “{said}”" if said else ""


async def _tell_gone(visit: Visit, session: AsyncSession, publication: Publication) -> None:
    """It was there and somebody took it down, not we: never fought, the seller is told."""
    await change(
        session, publication,
        needs_you=needs_you(publication, visit.connection.public_id, "gone",
                            f"The listing on {visit.label} was taken down, and not by us. We left it so.",
                            publication.url),
    )  # fmt: skip


async def _newer(session: AsyncSession, publication_id: UUID, attempt_id: UUID) -> Attempt | None:
    return (
        await session.scalars(
            select(Attempt)
            .where(Attempt.publication_id == publication_id, Attempt.id != attempt_id,
                   Attempt.outcome.is_(None) | (Attempt.outcome == "live"))
            .limit(1)
        )
    ).first()  # fmt: skip


def _next_later(looks: int) -> Any:
    """Five minutes, an hour, a day after; then never."""
    return func.now() + timedelta(seconds=LATER[looks]) if looks < len(LATER) else None
