"""Posting one listing on one account: compose, look what is there, fill, arm, click once, read back.

Until `arm` commits, nothing a buyer can see has happened and the whole may be repeated. From then on
nobody clicks again before somebody has looked (reconcile.py). Before an agent acts in the form (agents.py) as
much is committed: whatever it presses, it is as after a click of ours.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import (
    AccountLimited,
    ChallengeShown,
    EverystallError,
    LeaseLost,
    ListingIncomplete,
    ListingRejected,
    MarketplaceBusy,
    NotWanted,
    PageChanged,
    SessionExpired,
    listed,
)
from everystall.inventory import pricing
from everystall.inventory.listings import facts_of, forget_listing_if_over
from everystall.inventory.publications import (
    change,
    needs_you,
    open_attempt,
    reason_of,
    want_ended,
)
from everystall.marketplaces.base import (
    MARKER_LENGTH,
    Draft,
    Filled,
    PhotoFile,
    Published,
    ReadBack,
    hash_of,
    with_marker,
)
from everystall.models import Attempt, Connection, Listing, Publication, User
from everystall.worker import agents, failures, heals, pace, reconcile
from everystall.worker.compare import compare, differing

if TYPE_CHECKING:
    from everystall.browser.page import Page
    from everystall.worker.visit import Visit

log = structlog.get_logger()

#: Seconds in one visit for which a reading of the account's lists serves the next post too. Filling in a form
#: takes as long and lies between the reading and the click anyway.
BASELINE_SECONDS = 10.0
#: What another attempt makes of this one.
_TWIN = "The same title and price is just being posted on this account."
#: How long something with the same title and price waits for an open attempt without a marker.
TWIN_WAIT = timedelta(seconds=5)


@dataclass
class Plan:
    """What is about to be posted, as composed from the listing's present content."""

    publication_id: UUID
    attempt_id: UUID
    revision: int
    draft: Draft
    #: Ids on this account that we know: reading its lists stops there.
    known: frozenset[str]
    baseline: frozenset[str] = frozenset()
    photo_hashes: list[str] = field(default_factory=list)
    marker: str | None = None
    #: What the site called the draft that our filling made.
    draft_id: str | None = None
    armed: bool = False
    #: When an agent was last let act in the form, by time.monotonic().
    acted_at: float | None = None


async def publish(visit: Visit, publication_id: UUID) -> None:
    """One whole try. Raises what stopped it before the click; after the click it only records."""
    plan = await _compose(visit, publication_id)
    if plan is None:
        return
    rendering = asyncio.create_task(render(visit, plan.draft))  # while the browser starts
    try:
        page = await visit.page()
        heals.keep_out(visit, plan.draft)
        photos, plan.photo_hashes = await rendering
    finally:
        rendering.cancel()
    await _note_filling(visit, plan)
    await _discard_leftovers(visit, page)
    await _read_baseline(visit, page, plan)

    async def arm(read: ReadBack) -> None:
        page.helper = None
        await _wait_for_acts(visit, plan)
        filled = await read()
        await visit.note_policies(filled.policies)
        await _arm(visit, plan, filled)

    async def drafted(draft_id: str) -> None:
        await _note_draft(visit, plan, draft_id)

    log.info("visit.at", at="fill")
    page.clicked = False
    try:
        with agents.helping(visit, page, plan.draft, photos, partial(_arm_for_an_act, visit, plan)):
            answer = await visit.adapter.publish(page, plan.draft, photos, arm, drafted)
    except EverystallError as e:
        visit.lists_read_at = None
        acted = plan.acted_at is not None
        if plan.armed and not page.clicked and not acted:
            await _disarm(visit, plan)
        if isinstance(e, LeaseLost):  # who was stopped for too long has nothing to tell but that
            raise
        if not plan.armed and not acted:
            if isinstance(e, NotWanted):
                await failures.dropped(visit, publication_id)
            else:
                await failures.failed(visit, publication_id, e)  # with a picture, before we tidy up
            await _tidy(visit, page, plan, e)
            return
        if isinstance(e, ListingRejected | AccountLimited) and not acted:
            if await _rejected(visit, plan, e):
                raise
            return
        log.warning("publish.answer_unclear", error=e.code, message=e.message)
        await pace.heed(visit, e)
        if acted:
            await _note_stop(visit, plan, e, clicked=page.clicked)
        else:
            await _answered(visit, plan, Published())
        await failures.keep_evidence(visit, plan.attempt_id)
        if _asks_now(e):
            await failures.failed(visit, plan.publication_id, e)
        return
    if not plan.armed:
        raise PageChanged("The adapter clicked without arming.")  # a bug of ours: never to be hidden
    await _answered(visit, plan, answer)
    if answer.remote_id is not None:
        await reconcile.look(visit, publication_id)
    else:
        await failures.keep_evidence(visit, plan.attempt_id, answer.said)


async def _compose(visit: Visit, publication_id: UUID) -> Plan | None:
    """The draft and its attempt's row, or None if it is not to be posted now."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id)
        listing = await session.get(Listing, publication.listing_id)
        if listing is None or publication.wanted != "live":
            return None
        if await nothing_left(session, publication, listing):
            return None
        await read_account(visit, session)
        if wait := await pace.until_next_post(visit, session):
            await pace.hold(visit, session, publication, wait)
            return None
        draft = await compose(visit, session, listing, publication)
        attempt = await open_attempt(session, publication)
        if attempt is not None and attempt.armed_at is not None:
            # an old question nobody looks after any more: first that, and never a second click before it
            await change(session, publication, looking=True, state="reconciling", next_try_at=None)
            return None
        if attempt is None:
            attempt = Attempt(
                user_id=publication.user_id, publication_id=publication.id,
                connection_id=publication.connection_id, marker=_marker(visit),
            )  # fmt: skip
            session.add(attempt)
        draft = marked(draft, attempt.marker, visit.form.LIMITS.sku)
        attempt.draft = draft.model_dump(mode="json")
        attempt.fields_hash = hash_of(attempt.draft)
        attempt.listing_revision, attempt.fence = listing.revision, visit.lease.fence
        if await _waits_for_twin(visit, session, publication, attempt):
            return None
        await change(
            session, publication, state="composing", wanted_revision=listing.revision,
            started_at=publication.started_at or func.now(), finished_at=None, notes=[], **visit.begins(),
        )  # fmt: skip
        return Plan(publication.id, attempt.id, listing.revision, draft,
                    await reconcile.known_ids(session, visit.lease.connection_id),
                    marker=attempt.marker)  # fmt: skip


async def nothing_left(session: AsyncSession, publication: Publication, listing: Listing) -> bool:
    """Every one is sold, or the listing is being deleted: then it is not to be there."""
    if listing.quantity > listing.quantity_sold and listing.delete_asked_at is None:
        return False
    await want_ended(session, publication)
    await forget_listing_if_over(session, listing.id)
    return True


async def read_account(visit: Visit, session: AsyncSession) -> None:
    """The account as it is now: the seller may have changed its defaults."""
    visit.connection = await session.get_one(Connection, visit.lease.connection_id, populate_existing=True)
    session.expunge(visit.connection)  # what is raised later must not empty it: it outlives us


async def compose(visit: Visit, session: AsyncSession, listing: Listing, publication: Publication) -> Draft:
    """The listing in the site's own words, or ListingIncomplete."""
    facts = await facts_of(session, listing)
    draft, problems, _ = pricing.compose(
        publication.marketplace, facts, publication.price_rule, visit.connection.defaults
    )
    if draft is None:
        fields = listed(sorted({problem.field for problem in problems}))
        raise ListingIncomplete(f"{visit.label} needs more: {fields}. {problems[0].message}")
    return draft


async def _note_filling(visit: Visit, plan: Plan) -> None:
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, plan.publication_id)
        if publication.wanted != "live":
            raise NotWanted("It is no longer wanted here.")
        await change(session, publication, state="filling", under_way=True)


async def _read_baseline(visit: Visit, page: Page, plan: Plan) -> None:
    """What is on the account before our click, and thereby that the session works. The known ids hold the
    last attempt's baseline, and what this visit posted since."""
    plan.baseline = plan.known
    if visit.lists_read_at is not None and time.monotonic() - visit.lists_read_at < BASELINE_SECONDS:
        return
    began = time.monotonic()
    log.info("visit.at", at="baseline")
    look_for: Sequence[str] = ("live", "draft", "sold")
    if visit.sold_read_at is not None and began - visit.sold_read_at < BASELINE_SECONDS:
        look_for, plan.baseline = ("live", "draft"), plan.baseline | visit.sold_ids
    there = await visit.adapter.find_active(page, known=plan.known, look_for=look_for)
    plan.baseline |= {item.remote_id for item in there}
    await visit.signed_in()
    visit.lists_read_at = began


async def render(visit: Visit, draft: Draft) -> tuple[list[PhotoFile], list[str]]:
    """The renditions, in order, and their hashes; kept in the store, so a second try costs nothing."""
    photos, rule = visit.tools.photos, visit.form.LIMITS.photos

    async def one(place: int, sha256: str) -> tuple[PhotoFile, str]:
        data = await photos.rendition(sha256, rule)
        return PhotoFile(f"photo-{place + 1}.jpg", "image/jpeg", data), await photos.dhash(data)

    made = await asyncio.gather(*(one(i, sha256) for i, sha256 in enumerate(draft.photos)))
    return [file for file, _ in made], [dhash for _, dhash in made]


async def _arm(visit: Visit, plan: Plan, filled: Filled) -> None:
    """The promise before the click, in a transaction of its own. Any change of mind: no click."""
    log.info("visit.at", at="arm")
    wrong = differing(compare(plan.draft, filled.fields))
    heals.judge(visit, wrong, filled.fields, live=False)
    if wrong:
        raise PageChanged(
            f"{visit.label}'s form does not show what we filled in: {listed(wrong)}. Nothing was posted."
        )
    async with visit.lease.transaction() as session:
        publication, attempt, connection = await _lock(visit, session, plan)
        twin = plan.acted_at is None and await _waits_for_twin(visit, session, publication, attempt)
        if not twin:
            attempt.draft_id = filled.draft_id or plan.draft_id
            attempt.stopped = None
            connection.last_post_at = func.clock_timestamp()
            read_back = compare(plan.draft, filled.fields) | dict.fromkeys(filled.missing, False)
            await _promise(visit, session, plan, publication, attempt, tries=0, read_back=read_back)
    if twin:
        raise NotWanted(_TWIN)
    plan.armed = True


async def _arm_for_an_act(visit: Visit, plan: Plan) -> None:
    """The same promise before each act of an agent's in the form: what it presses may publish, whatever it
    looks like. It holds for the time of the last one."""
    if visit.lease.deadline.passed:
        raise LeaseLost
    async with visit.lease.transaction() as session:
        publication, attempt, _ = await _lock(visit, session, plan)
        twin = plan.acted_at is None and await _waits_for_twin(visit, session, publication, attempt)
        if not twin:
            attempt.stopped = {"clicked": False}  # also if we are killed before we can say more
            await _promise(visit, session, plan, publication, attempt)
            plan.acted_at = time.monotonic()
    if twin:
        raise NotWanted(_TWIN)


async def _lock(visit: Visit, session: AsyncSession, plan: Plan) -> tuple[Publication, Attempt, Connection]:
    """What a promise stands on; NotWanted if any of it changed."""
    publication = await visit.locked(session, plan.publication_id)
    connection = await still_wanted(visit, session, publication, plan.revision)
    attempt = await session.get_one(Attempt, plan.attempt_id, populate_existing=True)
    if (attempt.armed_at is not None and plan.acted_at is None) or attempt.outcome is not None:
        raise NotWanted("This try was settled meanwhile.")
    return publication, attempt, connection


async def _promise(
    visit: Visit, session: AsyncSession, plan: Plan, publication: Publication, attempt: Attempt,
    *, state: str = "armed", **values: Any,
) -> None:  # fmt: skip
    """From here on it may be live."""
    attempt.armed_at = func.clock_timestamp()
    attempt.fence = visit.lease.fence
    attempt.baseline = sorted(plan.baseline)
    await session.execute(  # what is settled needs none; the newest and the open ones hold all
        update(Attempt)
        .where(Attempt.connection_id == attempt.connection_id, Attempt.id != attempt.id,
               Attempt.baseline != [],
               Attempt.outcome.in_(("live", "ended", "sold", "rejected", "draft_only")))
        .values(baseline=[])
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    attempt.photo_hashes = plan.photo_hashes
    await change(session, publication, state=state, looking=True, next_try_at=None, **values)


async def _wait_for_acts(visit: Visit, plan: Plan) -> None:
    """What an agent pressed may publish for as long as a click of ours may. Where the form stands there as it
    was after that, it did not."""
    if plan.acted_at is not None:
        passed = time.monotonic() - plan.acted_at
        await asyncio.sleep(max(reconcile.draft_seconds(visit) - passed, 0))


def _asks_now(error: EverystallError) -> bool:
    """The seller hears it at once, though it may be live. What is wrong with the listing waits for that."""
    return error.fate == "seller" and not isinstance(error, ListingRejected)


async def _note_stop(visit: Visit, plan: Plan, error: EverystallError, *, clicked: bool) -> None:
    """An agent acted, and this ended the try. Until when something may have been pressed, and what the seller
    hears if nothing came of it."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, plan.publication_id)
        attempt = await session.get_one(Attempt, plan.attempt_id, populate_existing=True)
        stopped: dict[str, Any] = {"clicked": clicked}
        if error.fate != "drop" and not _asks_now(error):
            passes = error.fate in ("retry", "operator")
            stopped |= {"reason": reason_of(error), "message": error.message, "passes": passes}
        attempt.stopped = stopped
        await _promise(visit, session, plan, publication, attempt, state="reconciling")


async def still_wanted(
    visit: Visit, session: AsyncSession, publication: Publication, revision: int, *, lowers: bool = False
) -> Connection:
    """Reads once more, locked, what the click stands on; NotWanted if any of it changed. The account.
    `lowers`: it says no more than that fewer are left, which a pause of posting does not stop."""
    listing = (
        await session.execute(
            select(Listing).where(Listing.id == publication.listing_id).with_for_update(read=True)
        )
    ).scalar_one()
    connection = await session.get_one(Connection, visit.lease.connection_id, populate_existing=True)
    user = await session.get_one(User, visit.lease.user_id, populate_existing=True)
    if publication.wanted != "live" or listing.delete_asked_at is not None:
        raise NotWanted("It is no longer wanted here.")
    if listing.revision != revision:
        raise NotWanted("The listing was edited meanwhile.")
    if listing.quantity <= listing.quantity_sold:
        raise NotWanted("The last one was sold meanwhile.")
    paused = [one for one in (connection, user) if one.paused_at is not None]
    if paused and (not lowers or any(one.pause_ends for one in paused)):
        raise NotWanted("Posting is paused.")
    if connection.needs_you is not None:
        raise NotWanted("The account was disconnected, or waits for the seller.")
    return connection


async def _disarm(visit: Visit, plan: Plan) -> None:
    """Something came between arming and the click, and we know for certain that we did not click."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, plan.publication_id)
        attempt = await session.get_one(Attempt, plan.attempt_id, populate_existing=True)
        attempt.armed_at = None
        if await reconcile.nothing_there(session, publication):
            log.info("publish.not_clicked")
        else:
            attempt.outcome, attempt.finished_at = "rejected", func.now()
    plan.armed = False


async def _answered(visit: Visit, plan: Plan, answer: Published) -> None:
    """The click's answer, the moment it is known and before anything is read back."""
    log.info("visit.at", at="response")
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, plan.publication_id)
        attempt = await session.get_one(Attempt, plan.attempt_id, populate_existing=True)
        attempt.answered_at = func.clock_timestamp()
        if answer.remote_id is not None:
            attempt.remote_id, attempt.url = answer.remote_id, answer.url
            await change(
                session, publication, state="reconciling", remote_id=answer.remote_id, url=answer.url
            )
        else:
            visit.lists_read_at = None  # what this click made may be there, and is not known
            await change(session, publication, state="reconciling")


async def _note_draft(visit: Visit, plan: Plan, draft_id: str) -> None:
    """The form has a draft at the site: kept before filling goes on, so that whatever stops this try, the
    next one on the account knows what is ours to delete (Poshmark holds about 15 drafts)."""
    plan.draft_id = draft_id
    async with visit.lease.transaction() as session:
        attempt = await session.get(Attempt, plan.attempt_id, populate_existing=True)
        if attempt is None:
            raise NotWanted("The listing was deleted.")
        attempt.draft_id = draft_id


async def _discard_leftovers(visit: Visit, page: Page) -> None:
    """Drafts of earlier tries on this account, whichever listing's: those that were never clicked on, and
    those whose click was refused. The site told us their ids in our own forms, so they are ours for
    certain. One that its page does not let us delete is left there, and not tried again."""
    async with visit.lease.transaction() as session:
        left = (
            await session.execute(
                select(Attempt.id, Attempt.draft_id).where(
                    Attempt.connection_id == visit.lease.connection_id,
                    Attempt.draft_id.is_not(None),
                    (Attempt.outcome == "rejected")
                    | (Attempt.outcome.is_(None) & Attempt.armed_at.is_(None)),
                )
            )
        ).all()
    for attempt_id, draft_id in left:
        try:
            await visit.adapter.discard_draft(page, str(draft_id))
        except PageChanged as e:
            log.warning("publish.draft_left", draft_id=draft_id, why=e.message)
        await _forget_draft(visit, attempt_id)


async def _tidy(visit: Visit, page: Page, plan: Plan, error: EverystallError) -> None:
    """Before the click a failed fill may leave a draft of ours: it goes at once, or where the site does not
    answer or somebody has to look at the page as it is, before the next post on the account."""
    if plan.draft_id is None or isinstance(error, SessionExpired | ChallengeShown | MarketplaceBusy):
        return
    try:
        await visit.adapter.discard_draft(page, plan.draft_id)
        await _forget_draft(visit, plan.attempt_id)
    except LeaseLost:
        raise
    except EverystallError as e:
        log.info("publish.draft_left", error=e.code)
        await pace.heed(visit, e)


async def _forget_draft(visit: Visit, attempt_id: UUID) -> None:
    async with visit.lease.transaction() as session:
        attempt = await session.get(Attempt, attempt_id, populate_existing=True)
        if attempt is not None:
            attempt.draft_id = None


async def _rejected(visit: Visit, plan: Plan, error: EverystallError) -> bool:
    """The page answered our click with a refusal or a limit in so many words: proof that nothing is
    there. False if nobody wants it any more, so that nobody needs to be told."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, plan.publication_id)
        attempt = await session.get_one(Attempt, plan.attempt_id, populate_existing=True)
        attempt.outcome, attempt.finished_at, attempt.error = "rejected", func.now(), error.message
        return await reconcile.nothing_there(session, publication, read_back=None)


async def _waits_for_twin(
    visit: Visit, session: AsyncSession, publication: Publication, attempt: Attempt
) -> bool:
    """Is another attempt without a marker, same title and price, open on this account? Then the two could
    not be told apart: this one waits, and where the other is in question for long, it says so."""
    if attempt.marker is not None:
        return False
    await session.flush()
    found = await session.execute(
        text("""SELECT bool_or(armed_at < now() - make_interval(secs => :settle)) FROM attempts
                WHERE connection_id = :connection AND publication_id <> :mine
                AND armed_at IS NOT NULL AND marker IS NULL
                AND (outcome IS NULL
                     OR (outcome = 'unresolved' AND next_look_at IS NOT NULL AND remote_id IS NULL))
                AND draft ->> 'title' = :title AND draft -> 'price' = CAST(:price AS jsonb)"""),
        {"connection": attempt.connection_id, "mine": publication.id, "title": attempt.draft["title"],
         "price": json.dumps(attempt.draft["price"]), "settle": visit.tools.settings.settle_seconds},
    )  # fmt: skip
    for_long = found.scalar_one()
    if for_long is None:
        return False
    await change(session, publication, next_try_at=func.now() + TWIN_WAIT, state="waiting")
    if for_long:
        said = (
            f"Another listing with the same title and price may be on {visit.label}, and this one could not "
            "be told from it. It is posted once that is settled; or give it another title, then try again."
        )
        asked = needs_you(publication, visit.connection.public_id, "twin_in_question", said,
                          visit.connection.base_url)  # fmt: skip
        await change(session, publication, needs_you=asked, finished_at=func.now())
    return True


def _marker(visit: Visit) -> str | None:
    """`~` and 30 random bits, where only the seller sees it."""
    if not visit.form.CAPABILITIES.marker_field:
        return None
    return "~" + base64.b32encode(os.urandom(5)).decode()[:6]


def marked(draft: Draft, marker: str | None, limit: int) -> Draft:
    if marker is None:
        return draft
    if draft.sku and len(draft.sku) > limit - MARKER_LENGTH:
        raise ListingIncomplete(
            f"The SKU is too long: with our mark it may have {limit - MARKER_LENGTH} characters here."
        )
    return draft.model_copy(update={"sku": with_marker(draft.sku, marker)})
