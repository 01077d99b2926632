"""Changing one live listing to what it is wanted to be: look, read its form, write what is other, arm, click
once, read back.

What the seller changed there by hand is never written over: it stays, or where it was changed here too, the
seller is asked. What a click puts is written down before it. A change may be made twice and is the same then,
so that after an answer that settles nothing the form is read again: what is there as meant is done, what is
not is written once more, after the time in which the site may still take the first click.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from sqlalchemy import func, null, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import (
    AccountLimited,
    EditedThere,
    EverystallError,
    ListingIncomplete,
    ListingRejected,
    MarketplaceBusy,
    NotWanted,
    PageChanged,
    listed,
)
from everystall.inventory import sale_effects
from everystall.inventory.publications import (
    about_order,
    ask_first,
    backoff,
    change,
    live_attempt,
    needs_you,
    tell,
)
from everystall.marketplaces.base import Draft, Filled, PhotoFile, Published, ReadBack, Seen, flat, hash_of
from everystall.models import Attempt, Listing, Publication, User
from everystall.worker import failures, hands, heals, pace, publish, reconcile
from everystall.worker.compare import (
    QUANTITY,
    Merged,
    compare,
    differing,
    kept_note,
    merge,
    same,
    same_photos,
)

if TYPE_CHECKING:
    from everystall.browser.page import Page
    from everystall.worker.visit import Visit

log = structlog.get_logger()

#: After a click whose answer settled nothing, how long the site may still take it.
LATE_SECONDS = 10.0
#: A live page that still shows what was there before is read again after so many seconds.
STALE = (0.5, 1.5)


@dataclass
class Plan:
    """What is about to be changed, as composed from the listing's present content."""

    publication_id: UUID
    remote_id: str
    revision: int
    draft: Draft
    #: What is live there; its row is written by its own id only.
    attempt: Attempt
    #: Fields that differed from what we put from the beginning.
    unlike: frozenset[str]
    #: A click of ours may still take effect.
    late: bool
    #: Some sold there: how many it offers now is to be seen.
    recount: bool = False
    #: Some sold, or posting is paused: that fewer are left is put, and nothing else.
    lowers: bool = False
    #: The listing's revision that is there once this is put.
    puts: int = 0
    photo_hashes: list[str] = field(default_factory=list)
    merged: Merged = field(default_factory=lambda: Merged(frozenset()))
    #: What the form shows of an earlier click that nobody had looked after.
    landed: frozenset[str] = frozenset()
    #: What the form has no field for, and what the site does not let be changed.
    missing: Sequence[str] = ()
    fixed: Sequence[str] = ()
    #: The form shows how many it offers.
    counted: bool = False
    armed: bool = False

    @property
    def wanted(self) -> dict[str, Any]:
        return flat(self.draft.model_dump(mode="json"))

    @property
    def put(self) -> dict[str, Any]:
        return flat(self.attempt.draft)

    @property
    def clicked(self) -> dict[str, Any]:
        """What a click that nobody has looked after yet may have put; {}: there was none."""
        return flat(self.attempt.revising["draft"]) if self.attempt.revising else {}

    @property
    def whole(self) -> bool:
        """Once this is put, is all there that is wanted? Else it is made fewer, and nothing else."""
        return not self.lowers or self.puts == self.revision

    @property
    def photos_meant(self) -> bool:
        """May photos have to be sent?"""
        clicked = self.clicked.get("photos", self.put["photos"])
        return not self.put["photos"] == clicked == self.wanted["photos"]


async def revise(visit: Visit, publication_id: UUID) -> None:
    """One whole try. Raises what stopped it, before the click and after it: it may be repeated as often as it
    takes."""
    plan = await _compose(visit, publication_id)
    if plan is None:
        return
    page = await visit.page()
    heals.keep_out(visit, plan.draft)
    log.info("visit.at", at="baseline")
    before = await _look(visit, page, plan)
    if before is None:
        return
    photos: Sequence[PhotoFile] = ()
    if plan.photos_meant:
        photos, plan.photo_hashes = await publish.render(visit, plan.draft)

    async def choose(form: Filled) -> frozenset[str]:
        await visit.note_policies(form.policies)
        return await _choose(visit, page, plan, before, form)

    async def arm(read: ReadBack) -> None:
        await _arm(visit, plan, await read())

    log.info("visit.at", at="fill")
    try:
        answer = await visit.adapter.revise(page, plan.remote_id, plan.draft, photos, choose, arm)
    except (ListingRejected, AccountLimited):
        if plan.armed:  # the site's own words: nothing was changed
            await _forget_click(visit, plan)
        raise
    except EverystallError as e:
        if plan.armed:
            log.warning("revise.answer_unclear", error=e.code, message=e.message)
            await failures.keep_evidence(visit, plan.attempt.id)
        raise
    if plan.armed is not bool(plan.merged.write):
        raise PageChanged("The adapter clicked without arming.")  # a bug of ours: never to be hidden
    seen = await _read_back(visit, page, plan, answer) if plan.armed else before
    if seen is not None:
        await _put(visit, page, plan, seen)


async def _compose(visit: Visit, publication_id: UUID) -> Plan | None:
    """What is wanted there and what we know of it; None if there is nothing to do now."""
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, publication_id)
        listing = await session.get(Listing, publication.listing_id)
        attempt = await live_attempt(session, publication)
        standing = (publication.wanted, publication.put) == ("live", "live")
        if listing is None or not standing or _going(publication):
            return None
        if attempt is None or attempt.remote_id is None:
            raise PageChanged("We have no record of what we put there.")  # a bug of ours: never to be hidden
        if await publish.nothing_left(session, publication, listing):
            return None
        await publish.read_account(visit, session)
        user = await session.get_one(User, publication.user_id, populate_existing=True)
        urgent = publication.lower_asked_at is not None
        lowers = urgent or visit.connection.paused_at is not None or user.paused_at is not None
        if lowers:
            draft, puts = await _lowered(visit, session, listing, publication, attempt)
        else:
            draft, puts = await _wanted(visit, session, listing, publication, attempt), listing.revision
        late = await session.scalar(
            text("SELECT revising_at > now() - make_interval(secs => :s) FROM attempts WHERE id = :id"),
            {"id": attempt.id, "s": min(LATE_SECONDS, visit.tools.settings.settle_seconds / 2)},
        )
        unlike = frozenset(differing(publication.read_back or {})) - attempt.adopted.keys()
        plan = Plan(publication_id, attempt.remote_id, listing.revision, draft, attempt, unlike,
                    late=bool(attempt.revising and late),
                    recount=publication.put_revision is None, lowers=lowers, puts=puts)  # fmt: skip
        session.expunge(attempt)
        common: dict[str, Any] = {"wanted_revision": listing.revision, "started_at": func.now()}
        if attempt.revising is None and plan.wanted == plan.put and not plan.recount:
            if puts != listing.revision:
                if urgent:  # no more are offered than are left: what else was edited is not urgent
                    await change(session, publication, lower_asked_at=None, lower_told_at=None,
                                 needs_you=about_order(publication))  # fmt: skip
                    await _ask_again(visit, session, publication, attempt)
                return None
            plan.merged = Merged(frozenset(), attempt.adopted)
            told = {note["field"]: note for note in (*publication.notes, *_notes(visit, plan))}
            common |= {"notes": list(told.values()), "finished_at": func.now(), "next_try_at": None}
            await change(session, publication, put_revision=listing.revision, tries=0, lower_asked_at=None,
                         lower_told_at=None, state=_at_rest(publication), needs_you=about_order(publication),
                         **common)  # fmt: skip
            if attempt.conflict is not None:
                mine = update(Attempt).where(Attempt.id == attempt.id)
                await session.execute(mine.values(conflict=null()))
            return None
        asked = lowers or attempt.revising is not None
        wait = await pace.rest(visit, session, only_asked=asked)
        if wait and urgent:  # the marketplace asked for it
            await change(session, publication, next_try_at=func.now() + timedelta(seconds=wait))
            return None
        if wait:
            await pace.hold(visit, session, publication, wait)
            return None
        await change(session, publication, state="revising", finished_at=None, **common, **visit.begins())
        return plan


def _going(publication: Publication) -> bool:
    """Somebody may have begun to take it down. To be relisted is asked only: nobody has."""
    return publication.state == "ending" and publication.relist != "asked"


def _at_rest(publication: Publication) -> str:
    """Its state while it is as it is wanted; what is to be relisted still is."""
    return "ending" if publication.relist == "asked" else "live"


async def _wanted(
    visit: Visit, session: AsyncSession, listing: Listing, publication: Publication, attempt: Attempt
) -> Draft:
    draft = await publish.compose(visit, session, listing, publication)
    return publish.marked(draft, attempt.marker, visit.form.LIMITS.sku)


async def _lowered(
    visit: Visit, session: AsyncSession, listing: Listing, publication: Publication, attempt: Attempt
) -> tuple[Draft, int]:
    """What was put there last, with no more of it than are left; and of which revision that is: where nothing
    else is wanted, of this one."""
    put = attempt.revising or {"draft": attempt.draft, "revision": attempt.listing_revision}
    draft, left = Draft.model_validate(put["draft"]), listing.quantity - listing.quantity_sold
    draft = draft.model_copy(update={"quantity": min(max(draft.quantity, 1), left)})
    with suppress(ListingIncomplete):
        if draft == await _wanted(visit, session, listing, publication, attempt):
            return draft, listing.revision
    return draft, int(put["revision"])


async def _look(visit: Visit, page: Page, plan: Plan) -> Seen | None:
    """The listing's own page. None: it is gone, sold, or there under another id, and that is written down."""
    seen = await visit.adapter.read(page, plan.remote_id)
    if seen.state == "ended" and await hands.follow(visit, page, plan.publication_id, plan.attempt):
        return None
    if seen.state in ("ended", "sold"):
        await reconcile.settle(visit, page, plan.publication_id, plan.attempt, plan.remote_id, seen)
        return None
    if seen.state != "live":
        raise MarketplaceBusy(f"{visit.label} does not show the listing as live.")
    return seen


async def _choose(visit: Visit, page: Page, plan: Plan, seen: Seen, form: Filled) -> frozenset[str]:
    """Which fields of the form are to be written. EditedThere: the seller has to say which is right."""
    await visit.signed_in()
    there = flat(form.fields)
    plan.counted = "quantity" in there
    if plan.photos_meant:
        there["photos"] = await _photos_there(visit, page, plan, seen)
    plan.missing = [name for name in form.missing if name in plan.wanted]
    fixed = [name for name in plan.wanted if name.partition(".")[0] in visit.form.CAPABILITIES.fixed]
    plan.fixed = [name for name in fixed if not same(there.get(name, plan.put.get(name)), plan.wanted[name])]
    apart = {*plan.missing, *fixed}
    plan.merged = merge(
        {name: value for name, value in plan.wanted.items() if name not in apart},
        {name: value for name, value in plan.put.items() if name not in apart},
        there, armed=plan.clicked, adopted=plan.attempt.adopted, unlike=plan.unlike, recount=plan.recount,
    )  # fmt: skip
    clicked = plan.clicked
    plan.landed = frozenset(
        name for name in clicked.keys() & there.keys()
        if clicked[name] != plan.put.get(name) and same(there[name], clicked[name])
    )  # fmt: skip
    if not plan.whole:
        plan.merged = replace(plan.merged, adopted=_as_before(plan))
    if plan.late and (plan.merged.write or plan.merged.conflict):
        raise MarketplaceBusy(f"{visit.label} does not show the changes yet.")
    if plan.merged.conflict:
        async with visit.lease.transaction() as session:
            publication = await visit.locked(session, plan.publication_id)
            attempt = await _mine(session, publication, plan)
            attempt.conflict = dict(plan.merged.conflict)
        raise EditedThere(_edited(visit, plan.merged.conflict))
    return plan.merged.write


def _as_before(plan: Plan) -> dict[str, Any]:
    """What we know to be by hand, where fewer are put and nothing else. What else is other there is not
    adopted: whether it was changed here, too, only the whole revision says."""
    ours = {QUANTITY, *plan.merged.write, *plan.landed}
    before = {name: value for name, value in plan.attempt.adopted.items() if name not in ours}
    return before | {name: value for name, value in plan.merged.adopted.items() if name == QUANTITY}


async def _photos_there(visit: Visit, page: Page, plan: Plan, seen: Seen) -> list[str]:
    """The live page's photos: as names of ours, or of nobody's we know. Raises where one does not load."""

    async def one(url: str) -> str:
        return await visit.tools.photos.dhash(await page.fetch(url))

    theirs = await asyncio.gather(*map(one, seen.photo_urls))
    if plan.attempt.revising and same_photos(plan.attempt.revising["photo_hashes"], theirs):
        return list(plan.clicked["photos"])
    if same_photos(plan.attempt.photo_hashes, theirs):
        return list(plan.put["photos"])
    return list(plan.wanted["photos"]) if same_photos(plan.photo_hashes, theirs) else list(theirs)


async def _arm(visit: Visit, plan: Plan, filled: Filled) -> None:
    """What the click will put, in a transaction of its own. Any change of mind: no click."""
    log.info("visit.at", at="arm")
    compared = compare(plan.draft, filled.fields)
    wrong = [name for name in differing(compared) if name in plan.merged.write]
    heals.judge(visit, wrong, filled.fields, live=False)
    if wrong:
        raise PageChanged(
            f"{visit.label}'s form does not show what we filled in: {listed(wrong)}. Nothing was changed."
        )
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, plan.publication_id)
        connection = await publish.still_wanted(
            visit, session, publication, plan.revision, lowers=plan.lowers
        )
        if publication.wanted_revision != plan.revision:
            raise NotWanted("The change was taken back meanwhile.")
        attempt = await _mine(session, publication, plan)
        if plan.landed and attempt.revising:  # the click before this one is what is there
            attempt.draft, attempt.photo_hashes = attempt.revising["draft"], attempt.revising["photo_hashes"]
            attempt.listing_revision = attempt.revising["revision"]
            attempt.fields_hash = hash_of(attempt.draft)
            attempt.adopted = {k: v for k, v in attempt.adopted.items() if k not in plan.landed}
        photos = plan.photo_hashes if "photos" in plan.merged.write else attempt.photo_hashes
        attempt.revising = {
            "revision": plan.puts, "draft": plan.draft.model_dump(mode="json"),
            "photo_hashes": list(photos),
        }  # fmt: skip
        attempt.revising_at, attempt.fence = func.clock_timestamp(), visit.lease.fence
        connection.last_post_at = func.clock_timestamp()
        shown = {name: True for name in plan.merged.write if name in compared}
        publication.read_back = {**(publication.read_back or {}), **shown}
        await change(session, publication, state="revising", next_try_at=None, under_way=True)
    plan.armed = True


async def _mine(session: AsyncSession, publication: Publication, plan: Plan) -> Attempt:
    """The attempt's row as it is now; NotWanted if it is no longer what is live, or the seller decided."""
    attempt = await live_attempt(session, publication)
    if attempt is None or attempt.id != plan.attempt.id or attempt.adopted != plan.attempt.adopted:
        raise NotWanted("What is live there was settled otherwise meanwhile.")
    return attempt


async def _forget_click(visit: Visit, plan: Plan) -> None:
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, plan.publication_id)
        attempt = await live_attempt(session, publication)
        if attempt is not None:
            attempt.revising, attempt.revising_at = None, None


async def _read_back(visit: Visit, page: Page, plan: Plan, answer: Published) -> Seen | None:
    """The live page after the click. A site that took the click may show the old page for a moment; one that
    did not say is asked by its form, in the next step."""
    log.info("visit.at", at="response")
    if answer.remote_id is None:
        await failures.keep_evidence(visit, plan.attempt.id, answer.said)
        said = f" It said: “{answer.said}”" if answer.said else ""
        raise MarketplaceBusy(f"{visit.label} did not say whether it took the changes.{said}")
    log.info("visit.at", at="read-back")
    seen = await _look(visit, page, plan)
    for seconds in STALE:
        compared = compare(plan.draft, seen.fields) if seen is not None else {}
        if not any(name in plan.merged.write for name in differing(compared)):
            break
        await asyncio.sleep(seconds)
        seen = await _look(visit, page, plan)
    return seen


async def _put(visit: Visit, page: Page, plan: Plan, seen: Seen) -> None:
    """It is there: as we put it just now, or as a click of ours before had put it already."""
    hashes = plan.photo_hashes if plan.photos_meant else plan.attempt.photo_hashes
    read_back = await reconcile.compare_all(visit, page, plan.draft, hashes, seen)
    if plan.armed:
        wrong = [name for name in differing(read_back) if name in plan.merged.write]
        heals.judge(visit, wrong, seen.fields, live=True)
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, plan.publication_id)
        attempt = await live_attempt(session, publication)
        if attempt is None or attempt.id != plan.attempt.id:
            raise NotWanted("It was settled otherwise meanwhile.")
        told, tries = plan.armed or attempt.revising is not None, publication.tries
        attempt.photo_hashes = hashes
        attempt.draft = plan.draft.model_dump(mode="json")
        attempt.fields_hash = hash_of(attempt.draft)
        attempt.listing_revision = plan.puts
        attempt.revising, attempt.revising_at = None, None
        attempt.adopted = dict(plan.merged.adopted)
        if plan.whole:
            attempt.conflict = None
        else:  # what else is other there, the whole revision finds
            read_back = {k: v for k, v in read_back.items() if k == QUANTITY or k in plan.merged.write}
        publication.notes = _notes(visit, plan)
        await reconcile.record(visit, session, publication, attempt, plan.remote_id, seen, read_back)
        if publication.state == "live":
            await change(session, publication, state=_at_rest(publication))
        if publication.lower_asked_at is not None and publication.put == "live":
            listing = await session.get_one(Listing, publication.listing_id, populate_existing=True)
            if _fewer(plan, seen, listing) and not sale_effects.offers_more(publication, attempt, listing):
                await change(session, publication, lower_asked_at=None, lower_told_at=None)
            else:  # the form says how many it offers, in a next step
                wait = backoff(tries, None, random.random(), failures.END_AGAIN)
                await change(session, publication, put_revision=None, tries=tries + 1,
                             next_try_at=func.now() + wait)  # fmt: skip
        await _ask_again(visit, session, publication, attempt)
        if told:
            await tell(session, publication, "publication.revised")


async def _ask_again(visit: Visit, session: AsyncSession, publication: Publication, attempt: Attempt) -> None:
    """Fewer are there, or need not be: what was changed there and here is asked about again. Where that was
    the quantity, it is another now: the whole revision says."""
    lowers = publication.put != "live" or publication.lower_asked_at is not None
    if attempt.conflict is None or QUANTITY in attempt.conflict or lowers:
        return
    asked = needs_you(publication, visit.connection.public_id, EditedThere.code,
                      _edited(visit, attempt.conflict), publication.url)  # fmt: skip
    await change(session, publication, needs_you=ask_first(publication, asked))


def _fewer(plan: Plan, seen: Seen, listing: Listing) -> bool:
    """Are no more offered there than are left? Where nothing had to be clicked, its form said so."""
    there = seen.fields.get("quantity")
    asked = plan.counted and not plan.armed
    return asked or there is None or there <= listing.quantity - listing.quantity_sold


def _notes(visit: Visit, plan: Plan) -> list[dict[str, str]]:
    """What is not there as the listing has it."""
    label, notes = visit.label, {}
    for name in plan.merged.adopted:
        notes[name] = kept_note(label, name)["message"]
    for name in plan.fixed:
        notes[name] = f"{label} keeps this as it was posted: take the listing down and post it again there."
    for name in plan.missing:
        notes[name] = f"{label} has no field for this in that category: it is not there."
    return [{"field": name, "message": message} for name, message in notes.items()]


def _edited(visit: Visit, conflict: Mapping[str, Any]) -> str:
    names = listed([name.partition(".")[2] or name for name in conflict])
    return (
        f"You changed this on {visit.label} and here: {names}. Nothing was changed there by us. "
        f"{_sides(conflict)}"
    )


def _sides(conflict: Mapping[str, Any]) -> str:
    """The first of them, in both versions."""
    name, sides = next(iter(conflict.items()))
    if name == "photos":
        return ""
    return f"There: “{_shown(sides['theirs'])}”; here: “{_shown(sides['ours'])}”."


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) and "amount" in value:
        return f"${value['amount'] // 100}.{value['amount'] % 100:02}"
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value or ""))[:120]
