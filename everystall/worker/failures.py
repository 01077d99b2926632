"""What a failed step becomes: the same again later, a question to the seller, or our own bug to mend.

Decided by the failure's fate alone. Whatever it is, the row moves on: a step that failed is never due
again at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.browser import evidence
from everystall.errors import (
    AccountLimited,
    AnotherAccount,
    BrowserEnded,
    BrowserNotStarted,
    ChallengeShown,
    EverystallError,
    LeaseLost,
    MarketplaceBusy,
    PageChanged,
    SealBroken,
    SessionExpired,
    SessionMissing,
)
from everystall.inventory import take_downs
from everystall.inventory.publications import (
    AT_REST,
    TRIED_ON,
    alter,
    ask_first,
    backoff,
    change,
    is_held,
    is_urgent,
    needs_you,
    reason_of,
    tell_jobs,
)
from everystall.models import Attempt, Connection, Publication, User
from everystall.notify import messages
from everystall.worker import pace, reconcile, watch

if TYPE_CHECKING:
    from everystall.worker.visit import Visit

log = structlog.get_logger()

#: Failures in a row after which "it passes by itself" is no longer believed.
TRIES = 8
#: The next look for an open question after a look itself failed.
LOOK_AGAIN = timedelta(minutes=5)
#: The next check of an account, or try of a take-down, after one that found the site not as we know it.
CHECK_AGAIN = timedelta(minutes=15)
#: Seconds between tries of a take-down, at most: five minutes with what `backoff` adds.
END_AGAIN = 240.0
#: For a picture to be taken, and to be where the photos are.
EVIDENCE_SECONDS = 20.0

Evidence = Mapping[str, Any] | None


async def failed(visit: Visit, publication_id: UUID | None, error: EverystallError) -> None:
    """Give a failure its fate. `publication_id` is None for a check of the account."""
    log.warning("step.failed", error=error.code, message=error.message, fate=error.fate)
    if isinstance(error, PageChanged) and visit.rest:  # it lacks what the marketplace did not answer
        error = MarketplaceBusy(error.message, retry_after=visit.rest)
    await pace.heed(visit, error)
    if error.fate != "seller":
        visit.turn_is_over = False
    await visit.note_policies(error.details.get("policies", {}))
    if isinstance(error, SessionExpired | ChallengeShown) and await _handed_over(visit, error):
        await dropped(visit, publication_id)
    elif isinstance(error, SessionExpired | SessionMissing | SealBroken):
        if await _try_last_good(visit, error):
            await dropped(visit, publication_id)
            return
        said = f"{visit.label} no longer knows your sign-in. Nothing was lost: connect it again and the work "
        said = error.message if isinstance(error, AnotherAccount) else said + "goes on."
        await _flag_account(visit, "session_expired", said, await _evidence(visit))
    elif isinstance(error, ChallengeShown):
        said = f"{error.message}. We stopped there: only you may answer it."
        await _flag_account(visit, "challenge", said, await _evidence(visit))
    elif publication_id is None:
        passes = error.fate in ("retry", "operator")
        asked = timedelta(seconds=max(60.0, getattr(error, "retry_after", None) or 0.0))
        picture = await _evidence(visit) if watch.will_tell(visit, error) else None
        await watch.note_failed(visit, error, picture)
        await _check_later(visit, asked if passes else CHECK_AGAIN)
    elif isinstance(error, AccountLimited):
        await _flag_posts(visit, error.message, await _evidence(visit))
        await _again_later(visit, publication_id, error, counts=False)
    elif error.fate in ("retry", "operator"):
        picture = await _last_evidence(visit, publication_id, error)
        await _again_later(visit, publication_id, error, picture)
    else:
        picture = await _evidence(visit)
        if isinstance(error, PageChanged) and (lost := await _session_lost(visit)) is not None:
            await failed(visit, publication_id, lost)
            return
        await flag(visit, publication_id, reason_of(error), error.message, picture)


async def _handed_over(visit: Visit, error: EverystallError) -> bool:
    """The seller sits at this very browser, and has answered what it asks."""
    sitter = visit.sitting
    return sitter is not None and sitter.attended and await sitter.hand_over(error)


async def count(visit: Visit, error: EverystallError) -> None:
    """For the figures of whoever runs this: by marketplace, step and code, not by seller."""
    await visit.tools.db.ask(
        "SELECT everystall.note_failure(%(marketplace)s, %(step)s, %(code)s)",
        marketplace=visit.connection.marketplace, step=visit.purpose, code=error.code,
    )  # fmt: skip


async def _session_lost(visit: Visit) -> EverystallError | None:
    """A page that is not as we know it may only be one whose sign-in ended under it: asked, not guessed."""
    if visit.open_page is None:
        return None
    try:
        await visit.adapter.check_session(visit.open_page)
    except (SessionExpired, ChallengeShown) as e:
        return e
    except LeaseLost:
        raise
    except EverystallError as e:
        await pace.heed(visit, e)
    return None


async def failed_orphan(visit: Visit, publication_id: UUID, error: EverystallError) -> None:
    """A look for an attempt that was given up: it is looked for later, and not for ever. Where the account
    itself cannot be visited, that was no look."""
    await pace.heed(visit, error)
    if not isinstance(error, SessionExpired | SessionMissing | ChallengeShown):
        await reconcile.orphan_not_read(visit, publication_id)
        return
    await failed(visit, None, error)
    async with visit.lease.transaction() as session:
        await session.execute(
            update(Attempt)
            .where(Attempt.publication_id == publication_id, Attempt.outcome == "unresolved",
                   Attempt.next_look_at <= func.now())
            .values(next_look_at=func.now() + LOOK_AGAIN)
        )  # fmt: skip


async def flag(
    visit: Visit, publication_id: UUID, reason: str, message: str, evidence_: Evidence = None
) -> None:  # fmt: skip
    """This publication waits for the seller now."""
    async with visit.lease.transaction() as session:
        publication = await visit.find_locked(session, publication_id)
        if publication is None or over(publication):
            return
        await _flag(visit, session, publication, reason, message, evidence_)
        await tell_jobs(session, [publication_id])


async def cut_off(visit: Visit, publication_id: UUID) -> None:
    """Whoever was at it ended without a word, each time: that is no bad moment any more."""
    said = (
        f"{TRIES} times in a row the work on this listing was cut off in the middle: the worker ended, or "
        "lost its database, and nothing more was written down. A photo that is too large for the worker's "
        "memory may do that. Whoever runs Everystall finds the reason in the worker's log; then try again."
    )
    log.error("step.cut_off", publication_id=str(publication_id), times=TRIES)
    await flag(visit, publication_id, PageChanged.code, said)


async def check_cut_off(visit: Visit) -> None:
    """The same of a check: nobody saw what sells there. One try from time to time, as somebody may have
    mended it."""
    said = f"{TRIES} times in a row the look was cut off in the middle (the worker's log has the reason)."
    log.error("check.cut_off", times=TRIES)
    await watch.note_failed(visit, PageChanged(said), None)
    await _check_later(visit, CHECK_AGAIN, cut_off=TRIES - 1)


async def dropped(visit: Visit, publication_id: UUID | None) -> None:
    """Nothing was clicked: back to waiting, unless someone already decided otherwise."""
    if publication_id is None:
        await _check_later(visit, timedelta(0))
        return
    async with visit.lease.transaction() as session:
        publication = await visit.find_locked(session, publication_id)
        if publication is not None:
            await change(session, publication, state=AT_REST.get(publication.state, publication.state))


def over(publication: Publication) -> bool:
    """Nobody wants it any more and nothing of it is there or in question: what just failed is moot."""
    return publication.wanted == "ended" and publication.put != "live" and not publication.looking


async def _flag(
    visit: Visit, session: AsyncSession, publication: Publication, reason: str, message: str,
    evidence_: Evidence,
) -> None:  # fmt: skip
    """Without telling the jobs: the caller does, once for all that it flags."""
    attempt = await _last_attempt(session, publication)
    if attempt is not None:
        attempt.error = f"{reason}: {message}"
        attempt.evidence = dict(evidence_) if evidence_ else attempt.evidence
    publication.state = AT_REST.get(publication.state, publication.state)
    if publication.looking:
        publication.next_try_at = func.now() + LOOK_AGAIN
    elif is_urgent(publication) and reason in TRIED_ON:  # until it is gone, or fewer
        publication.next_try_at = func.now() + (CHECK_AGAIN if reason == "page_changed" else LOOK_AGAIN)
        still = "It is still there" if publication.wanted == "ended" else "It still offers more than are left"
        message = f"{message} {still}: we go on trying."
    asked = needs_you(
        publication, visit.connection.public_id, reason, message, publication.url or visit.connection.base_url
    )
    await alter(session, publication, needs_you=ask_first(publication, asked), finished_at=func.now())


async def _last_attempt(session: AsyncSession, publication: Publication) -> Attempt | None:
    of_it = select(Attempt).where(Attempt.publication_id == publication.id)
    return (await session.scalars(of_it.order_by(Attempt.created_at.desc()).limit(1))).first()


async def _flag_account(visit: Visit, reason: str, message: str, evidence_: Evidence) -> None:
    """The account cannot be visited: so says the connection and every publication that is due there.
    A session that the seller handed over meanwhile is tried first."""
    async with visit.lease.transaction() as session:
        connection = await session.get_one(Connection, visit.lease.connection_id, populate_existing=True)
        newer = reason == "session_expired" and visit.has_newer_session(connection.session_seq)
        if not newer:
            before = (connection.needs_you or {}).get("reason")
            asked: dict[str, Any] = {"reason": reason, "message": message, "url": connection.base_url}
            # of a look that no listing waits for, it is kept nowhere else
            connection.needs_you = asked | ({"evidence": dict(evidence_)} if evidence_ else {})
            connection.checks_cut_off = 0
            if reason == "session_expired" != before:
                await _tell_account(visit, session, "session.expired", message)
            elif before is None:
                said = f"{message} What sells there is not noticed meanwhile; look there yourself."
                await _tell_account(visit, session, "watch.failed", said)
            await _flag_all(
                visit, session, reason, message, evidence_, Publication.unsettled | Publication.looking
            )
    await visit.start_over("newest")


async def _tell_account(visit: Visit, session: AsyncSession, type: str, message: str) -> None:
    data = {
        "browserProfileId": visit.connection.public_id,
        "marketplace": visit.connection.marketplace,
        "message": message,
        "reconnect": watch.reconnect_link(visit),
    }
    await messages.record(session, visit.connection.user_id, type, data)


async def _flag_posts(visit: Visit, message: str, evidence_: Evidence) -> None:
    """The account may not list more for now: whatever waits to be posted there waits for the seller."""
    posts = Publication.unsettled & (Publication.wanted == "live") & Publication.looking.is_(False)
    posts &= Publication.lower_asked_at.is_(None)
    async with visit.lease.transaction() as session:
        await _flag_all(visit, session, "account_limited", message, evidence_, posts)


async def _flag_all(
    visit: Visit, session: AsyncSession, reason: str, message: str, evidence_: Evidence, which: Any
) -> None:  # fmt: skip
    waiting = (
        select(Publication)
        .where(Publication.connection_id == visit.lease.connection_id, Publication.needs_you.is_(None), which)
        .order_by(Publication.id)
        .with_for_update()
    )
    publications = (await session.scalars(waiting)).all()
    for publication in publications:
        await _flag(visit, session, publication, reason, message, evidence_)
    await tell_jobs(session, [publication.id for publication in publications])


async def _again_later(
    visit: Visit, publication_id: UUID, error: EverystallError, picture: Evidence = None, *,
    counts: bool = True,
) -> None:  # fmt: skip
    async with visit.lease.transaction() as session:
        publication = await visit.find_locked(session, publication_id)
        if publication is None or over(publication) or (is_held(publication) and not publication.looking):
            return
        await take_downs.tell_if_late(session, publication)
        tries = publication.tries + counts
        rest, jitter = getattr(error, "retry_after", None), random.random()
        wait = backoff(max(tries - 1, 0), rest, jitter)
        ending = publication.wanted == "ended" or publication.state == "ending"
        state = "ending" if ending else "revising" if publication.put == "live" else "waiting"
        # what does not start or last here is asked of nobody while something could be sold twice: its seller
        # hears that the account cannot be seen, and it goes as soon as a browser is there again
        goes_on = not counts or publication.needs_you is not None
        goes_on |= isinstance(error, BrowserNotStarted | BrowserEnded)
        attempt = None if publication.looking else await _last_attempt(session, publication)
        if attempt is not None:  # shown with what is tried again by itself
            attempt.error = f"{error.code}: {error.message}"
        if publication.looking:
            await _look_later(visit, session, publication, error, tries, wait)
        elif is_urgent(publication) and (tries < TRIES or goes_on):
            wait = backoff(max(tries - 1, 0), rest, jitter, END_AGAIN)
            wait = wait if counts else max(wait, LOOK_AGAIN)  # the account is limited for longer than that
            await change(session, publication, tries=tries, next_try_at=func.now() + wait, state=state)
        elif tries >= TRIES:
            said = f"It did not work {tries} times in a row: {error.message} {error.action}"
            if error.fate == "retry":
                said = f"{visit.label} did not answer {tries} times in a row: {error.message}"
            publication.tries = tries
            await _flag(visit, session, publication, reason_of(error), said, picture)
            await tell_jobs(session, [publication_id])
        else:
            await change(session, publication, tries=tries, next_try_at=func.now() + wait, state=state)


async def _look_later(
    visit: Visit, session: AsyncSession, publication: Publication, error: EverystallError, tries: int,
    wait: timedelta,
) -> None:  # fmt: skip
    """We clicked, or an agent acted in the form, and we cannot look. Past the settle window the seller hears
    of it; we go on trying."""
    asked = await session.execute(
        text("""SELECT stopped FROM attempts WHERE publication_id = :id AND outcome IS NULL
                AND armed_at < now() - make_interval(secs => :seconds)"""),
        {"id": publication.id, "seconds": visit.tools.settings.settle_seconds},
    )
    past = asked.first()
    if past is not None and publication.needs_you is None and publication.wanted == "live":
        now = f"{visit.label} does not answer now."
        if error.fate == "operator":
            now = f"We cannot look there now: {error.message}"
        said = f"{reconcile.did(visit, past.stopped)} {now} We go on trying."
        await _flag(visit, session, publication, "unresolved", said, None)
    await change(session, publication, tries=tries, next_try_at=func.now() + wait, state="reconciling")


async def _check_later(visit: Visit, wait: timedelta, cut_off: int = 0) -> None:
    async with visit.lease.transaction() as session:
        await session.execute(
            update(Connection)
            .where(Connection.id == visit.lease.connection_id)
            .values(next_check_at=func.now() + wait, checks_cut_off=cut_off)
        )


async def _try_last_good(visit: Visit, error: EverystallError) -> bool:
    """The newest session is signed out: the last one that worked gets one try in this visit."""
    if visit.which == "last_good":
        return False
    await visit.note_signed_out()
    await visit.start_over("last_good")
    try:
        await visit.page()
    except LeaseLost:
        raise
    except EverystallError:
        return False
    log.info("session.last_good_tried", instead_of=error.code)
    return True


async def keep_evidence(visit: Visit, attempt_id: UUID, said: str | None = None) -> None:
    """The page after a click whose answer settled nothing, and what it said, kept with the attempt."""
    kept = dict(await _evidence(visit) or {}) | ({"said": said} if said else {})
    if not kept:
        return
    async with visit.lease.transaction() as session:
        attempt = await session.get(Attempt, attempt_id, populate_existing=True)
        if attempt is not None:
            attempt.evidence = kept


async def _last_evidence(visit: Visit, publication_id: UUID, error: EverystallError) -> Evidence:
    """A picture, if this is the failure after which the seller is asked."""
    if error.fate != "retry":
        return None
    async with visit.lease.transaction() as session:
        tries = await session.scalar(select(Publication.tries).where(Publication.id == publication_id))
    return await _evidence(visit) if (tries or 0) + 1 == TRIES else None


async def _evidence(visit: Visit) -> Evidence:
    """A picture of the page as it stood, without what is secret; none if no page is open. Never the reason
    for which a step fails, or waits for long."""
    if visit.open_page is None:
        return None
    try:
        async with asyncio.timeout(EVIDENCE_SECONDS):
            return await evidence.capture(visit.open_page, partial(_keep_picture, visit), secrets_of(visit))
    except Exception as e:
        log.warning("evidence.none", why=type(e).__name__)
        return None


async def _keep_picture(visit: Visit, name: str, data: bytes) -> None:
    """Of an account that is deleted meanwhile it goes as all others did."""
    photos, user_id = visit.tools.photos, visit.lease.user_id
    await photos.keep_evidence(user_id, name, data)
    async with visit.tools.db.as_user(user_id) as session:
        deleted = await session.scalar(select(User.id)) is None
    if deleted:
        await photos.forget_evidence(user_id)


def without_secrets(visit: Visit, text: str) -> str:
    """For the log."""
    return evidence.scrub(text, secrets_of(visit))


def secrets_of(visit: Visit) -> Sequence[str]:
    """What a picture or a log must not show."""
    stored = visit.stored.to_json() if visit.stored else {}
    return [
        *(cookie["value"] for cookie in stored.get("cookies", ())),
        *stored.get("localStorage", {}).values(),
        *stored.get("sessionStorage", {}).values(),
    ]
