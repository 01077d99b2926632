"""Reading an account's live listings in, a step at a time: a few pages of its list, or one listing by its
own page and form. Nothing is changed there, and nothing clicked. Posts, looks and take-downs come first."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import func

from everystall.content.photos import PHOTO_DISTANCE, hamming
from everystall.errors import (
    AccountLimited,
    BrowserEnded,
    ChallengeShown,
    EverystallError,
    LeaseLost,
    MarketplaceBusy,
    PageChanged,
    PhotoRefused,
    SealBroken,
    SessionExpired,
    SessionMissing,
)
from everystall.inventory import live_imports, sales
from everystall.inventory.incoming import live
from everystall.inventory.live_imports import Read, TakenPhoto
from everystall.inventory.publications import backoff
from everystall.marketplaces.base import Draft, Filled, Money, Seen
from everystall.models import Connection, LiveImport, LiveImportItem
from everystall.worker import failures, pace

if TYPE_CHECKING:
    from everystall.browser.page import Page
    from everystall.worker.visit import Visit

log = structlog.get_logger()

#: Pages of the list in one step: what a take-down on the account may have to wait for.
PAGES = 3
#: Pages in a row without anything new after which a list has no more: one may only have moved by a page.
VAIN = 2
#: Photos in a row that do not come, each perhaps after 20 seconds, until the rest of that listing is not
#: asked for: what is to be taken down waits for the step.
MOST_MISSING = 3
#: Seconds between two steps, as somebody who reads.
REST_SECONDS = 2.0
#: A listing that may be one that we just posted is looked at again after so many.
IN_QUESTION_SECONDS = 30.0


async def read_in(visit: Visit) -> None:
    """One step of the account's import."""
    async with visit.lease.transaction() as session:
        doing = await live_imports.find_due(session, visit.lease.connection_id)
        if doing is None:
            return
        item = await live_imports.find_next(session, doing) if doing.listed_at is not None else None
        cut_off, doing.cut_off = doing.cut_off, doing.cut_off + 1
    if cut_off >= live_imports.TRIES:
        await _give_up(visit, item)
    elif doing.listed_at is None:
        await _read_list(visit, doing.pages_read)
    elif item is not None:
        await _read_one(visit, item)
    else:
        await _finish(visit, "done")


async def failed(visit: Visit, error: EverystallError) -> None:
    """The import waits, or goes on with the next listing; what ends the sign-in is the account's."""
    log.warning("import.step_failed", error=error.code, message=error.message)
    async with visit.lease.transaction() as session:
        doing = await live_imports.find_due(session, visit.lease.connection_id)
        if doing is not None:
            doing.cut_off = 0
    if isinstance(error, SessionExpired | SessionMissing | SealBroken | ChallengeShown):
        await failures.failed(visit, None, error)
        return
    await pace.heed(visit, error)
    asked = getattr(error, "retry_after", None)
    async with visit.lease.transaction() as session:
        doing = await live_imports.find_due(session, visit.lease.connection_id)
        if doing is None:
            return
        item = await live_imports.find_next(session, doing) if doing.listed_at is not None else None
        ours = error.fate == "operator" and not isinstance(error, BrowserEnded)
        if isinstance(error, AccountLimited) or ours:  # nothing about this one
            doing.message = error.message
            doing.next_step_at = func.clock_timestamp() + timedelta(seconds=max(asked or 0.0, 600.0))
            return
        over = await live_imports.later(doing, item, error.message, _wait(doing, item, asked))
    if over and item is None:
        await _finish(visit, "failed")


async def _give_up(visit: Visit, item: LiveImportItem | None) -> None:
    """Whoever was at it ended in the middle, each time: it goes on with the next listing."""
    said = (
        f"{live_imports.TRIES} times in a row the work on this was cut off in the middle: the worker ended, "
        "or lost its database. A photo that is too large for the worker's memory may do that. Whoever runs "
        "Everystall finds the reason in the worker's log."
    )
    log.error("import.cut_off", remote_id=item.remote_id if item else None, times=live_imports.TRIES)
    async with visit.lease.transaction() as session:
        doing = await live_imports.find_due(session, visit.lease.connection_id)
        if doing is None:
            return
        doing.cut_off, doing.message = 0, said
        mine = item and await session.get(LiveImportItem, (item.user_id, item.import_id, item.remote_id))
        if mine is not None and mine.outcome is None:
            live_imports.fail(mine, said)
    if item is None:
        await _finish(visit, "failed")


def _wait(doing: LiveImport, item: LiveImportItem | None, asked: float | None) -> timedelta:
    """A listing that does not work is put behind the others: then only the site's own word holds them up."""
    return timedelta(seconds=asked or REST_SECONDS) if item else backoff(doing.tries, asked, random.random())


async def _read_list(visit: Visit, pages_read: int) -> None:
    """A step begins with the page that the last one ended with: what was sold meanwhile moved others
    there. A list that begins again has no end either: two pages that bring nothing new are one."""
    page, vain = await visit.page(), 0
    for number in range(max(pages_read, 1), max(pages_read, 1) + PAGES):
        rows, more = await visit.adapter.list_active(page, number)
        async with visit.lease.transaction() as session:
            doing = await live_imports.find_due(session, visit.lease.connection_id)
            if doing is None:
                return
            new = await live_imports.note_page(session, doing, rows, number)
            vain = 0 if new or number == pages_read else vain + 1
            more = more and vain < VAIN
            if not more:
                doing.listed_at = func.clock_timestamp()
            doing.next_step_at = func.clock_timestamp() + timedelta(seconds=_rest(visit))
        if not more:
            break
    await visit.signed_in()


async def _read_one(visit: Visit, item: LiveImportItem) -> None:
    put: list[str] = []
    try:
        await _read_and_record(visit, item, put)
    finally:  # photos of what was not written down after all; else they have their listing
        await visit.tools.photos.forget_unnamed(visit.tools.db, put)


async def _read_and_record(visit: Visit, item: LiveImportItem, put: list[str]) -> None:
    """`put` gets the hashes of the photos that are kept."""
    read = None
    async with visit.lease.transaction() as session:
        doing = await live_imports.find_due(session, visit.lease.connection_id)
        ours = doing and await live_imports.find_ours(session, doing, item.remote_id, item.sku)
        known = await sales.count_orders(session, visit.lease.connection_id, item.remote_id)
    if ours is None:
        page = await visit.page()
        seen = await visit.adapter.read(page, item.remote_id)
        if seen.state == "unknown":
            raise MarketplaceBusy(f"{visit.label} does not show the listing “{item.title[:80]}”.")
        read = await _read(visit, page, item, seen, put) if seen.state == "live" else None
        await visit.signed_in()
        if read is not None and await _one_sold(visit, item, read, known):
            return  # and read once more: the next step is this one again
    await _record(visit, item, read)


async def _one_sold(visit: Visit, item: LiveImportItem, read: Read, known: int) -> bool:
    """Of several, since `known` orders were known: nobody can say whether what we read counts it already."""
    if (read.shown.get("quantity") or 1) < 2:
        return False
    await visit.watch()
    async with visit.lease.transaction() as session:
        doing = await live_imports.find_due(session, visit.lease.connection_id)
        if doing is not None:
            doing.cut_off = 0
        return await sales.count_orders(session, visit.lease.connection_id, item.remote_id) != known


async def _record(visit: Visit, item: LiveImportItem, read: Read | None) -> None:
    found = None
    if read is not None and read.photos:
        hashes = {photo.stored.sha256 for photo in read.photos}
        found = await visit.tools.photos.look_for(visit.tools.db, hashes)
    async with visit.lease.transaction() as session:
        doing = await live_imports.find_due(session, visit.lease.connection_id)
        mine = await session.get(LiveImportItem, (item.user_id, item.import_id, item.remote_id))
        if doing is None or mine is None or mine.outcome is not None:
            return
        doing.message, doing.cut_off = None, 0
        doing.next_step_at = func.clock_timestamp() + timedelta(seconds=_rest(visit))
        sku = str(read.shown.get("sku") or "") if read else item.sku
        ours = await live_imports.find_ours(session, doing, item.remote_id, sku)
        if ours is not None:
            mine.outcome, mine.listing_id = "known", ours
        elif read is None:
            mine.outcome = "gone"
        elif await live_imports.is_in_question(session, doing, str(read.shown["title"])):
            said = "A post of that title is under way there: it may be this one."
            await live_imports.later(doing, mine, said, timedelta(seconds=IN_QUESTION_SECONDS))
        else:
            connection = await session.get_one(Connection, visit.lease.connection_id)
            if found is not None:
                await visit.tools.photos.hold(session, found)
            await live_imports.bring_in(session, doing, mine, connection, read, visit.lease.fence)
            log.info("import.came_in", remote_id=item.remote_id)


async def _finish(visit: Visit, status: str) -> None:
    async with visit.lease.transaction() as session:
        doing = await live_imports.find_due(session, visit.lease.connection_id)
        if doing is not None:
            connection = await session.get_one(Connection, visit.lease.connection_id)
            await live_imports.finish(session, doing, connection, status)


def _rest(visit: Visit) -> float:
    """No more than what the account takes between two posts."""
    gap = visit.connection.pace_seconds
    if gap is None:
        gap = visit.tools.settings.pace_seconds
    return REST_SECONDS if gap is None else min(REST_SECONDS, gap)


# ---- one listing ----------------------------------------------------------------------------------


async def _read(visit: Visit, page: Page, item: LiveImportItem, seen: Seen, put: list[str]) -> Read:
    notes: list[dict[str, str]] = []
    photos, last_try, missing = [], item.tries + 1 >= live_imports.TRIES, 0
    for place, url in enumerate(seen.photo_urls, 1):  # before the form is opened: they are this page's
        if missing == MOST_MISSING:
            said = f"Nor did those from {place} on, which were not asked for."
            notes.append({"field": "photos", "message": said})
            break
        photo = await _take(visit, page, url, last_try=last_try, called=f"Photo {place}", notes=notes)
        missing = 0 if photo else missing + 1
        if photo is not None:
            put.append(photo.stored.sha256)
            photos.append(photo)
    listed = {"sku": item.sku} if item.sku else {}
    shown = live.merged({**listed, **seen.fields}, {})
    if not isinstance(shown.get("price"), Money) or not shown.get("title"):
        raise PageChanged(f"{visit.label}'s page of “{item.title[:80]}” does not show its title and price.")
    shown = live.merged(shown, await _read_form(visit, page, item.remote_id, shown, notes))
    return Read(item.remote_id, seen.url, shown, photos, notes)


async def _read_form(
    visit: Visit, page: Page, remote_id: str, shown: Mapping[str, Any], notes: list[dict[str, str]]
) -> Mapping[str, Any]:
    """What only the seller sees of it: the form in which it could be changed, read and left as it is."""
    found: dict[str, Any] = {}
    would_click = False

    async def choose(form: Filled) -> frozenset[str]:
        await visit.note_policies(form.policies)
        found.update(form.fields)
        return frozenset()

    async def arm(_: object) -> None:  # a bug of ours: never to be hidden
        nonlocal would_click
        would_click = True
        raise PageChanged("We were about to change it while we only read it. Nothing was clicked.")

    draft, _ = live.as_put(None, shown)
    try:
        await visit.adapter.revise(page, remote_id, Draft.model_validate(draft), (), choose, arm)
    except (MarketplaceBusy, PageChanged) as e:
        if isinstance(e, BrowserEnded) or would_click:
            raise
        said = f"{visit.label} showed no form of it: what only you see there did not come over."
        notes.append({"field": "", "message": said})
    return found


async def _take(
    visit: Visit, page: Page, url: str, *, last_try: bool, called: str, notes: list[dict[str, str]]
) -> TakenPhoto | None:  # fmt: skip
    """The photo as large as the site has it, if that is the one that it shows; kept as it came. None: it did
    not come over, which is told."""
    store = visit.tools.photos
    try:
        data = await page.fetch(url)
        dhash = await store.dhash(data)
        data, dhash = await _find_whole(visit, page, url, dhash) or (data, dhash)
        fingerprint = await store.fingerprint(data)
        return TakenPhoto(await store.put(data), dhash, fingerprint)
    except (PhotoRefused, MarketplaceBusy) as e:
        if isinstance(e, BrowserEnded) or (isinstance(e, MarketplaceBusy) and not last_try):
            raise
        notes.append({"field": "photos", "message": f"{called} did not come over: {e.message}"})
        return None


async def _find_whole(visit: Visit, page: Page, url: str, dhash: str) -> tuple[bytes, str] | None:
    """None: there is no other than what is shown, or not at that address."""
    large = visit.adapter.full_size(url)
    if large == url:
        return None
    try:
        data = await page.fetch(large)
        found = await visit.tools.photos.dhash(data)
    except (LeaseLost, BrowserEnded):
        raise
    except EverystallError as e:
        log.warning("import.no_large_photo", error=e.code)
        return None
    return (data, found) if hamming(found, dhash) <= PHOTO_DISTANCE else None
