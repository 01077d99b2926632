"""A job: what a seller asked for at one moment, as pairs of (listing, account).

A job does nothing itself. Posting makes its publications wanted and wakes their accounts; the pairs
follow (publications.tell_jobs) until each is live, ended, cancelled or needs the seller. Several jobs may
point at one publication. Either everything that was asked for is queued, or nothing is.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog
from pydantic.alias_generators import to_camel
from sqlalchemy import and_, case, func, literal_column, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine, traces
from everystall.errors import (
    BadRequest,
    Conflict,
    ListingIncomplete,
    ListingLive,
    NotFound,
    SessionMissing,
    listed,
)
from everystall.inventory import pricing
from everystall.inventory.connections import SignIn, choose, find_sign_ins, ids_of
from everystall.inventory.listings import facts_of
from everystall.inventory.pairs import results
from everystall.inventory.pricing import BUSY, Priced, Rules
from everystall.inventory.publications import (
    ACTIONS,
    change,
    decided,
    end_jobs,
    forget_take_downs,
    live_attempt,
    tell_jobs,
    want_ended,
)
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import Draft, ListingFacts, Note, Problem
from everystall.models import AutomationResult, Connection, Job, Listing, Publication, User

log = structlog.get_logger()

_LETTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Checked:
    """What one marketplace would post of a listing, or everything that keeps it from it."""

    marketplace: str
    #: None: no account is connected there; checked with no defaults.
    sign_in: SignIn | None
    draft: Draft | None
    problems: Sequence[Problem]
    #: What of the listing is not sent there; no reason not to post.
    notes: Sequence[Note] = ()
    #: None: neither the listing nor its own values for the marketplace say one.
    price: Priced | None = None


@dataclass(frozen=True)
class Posted:
    job: Job
    pairs: Sequence[AutomationResult]
    #: An Idempotency-Key brought back the first job; nothing was done now.
    repeated: bool
    #: Accounts of the pairs where posting waits because the seller paused it.
    paused: Sequence[str]


def new_id(prefix: str, length: int) -> str:
    """`job_…`, `bp_poshmark_…`: random, lower case."""
    return f"{prefix}_" + "".join(secrets.choice(_LETTERS) for _ in range(length))


# ---- checking -------------------------------------------------------------------------------------


def check(facts: ListingFacts, meant: Mapping[str, Sequence[SignIn]], rules: Rules) -> list[Checked]:
    """One answer per account; per marketplace where none is connected. Pure."""
    found = []
    for marketplace, sign_ins in meant.items():
        for sign_in in sign_ins or (None,):
            defaults = sign_in.connection.defaults if sign_in else {}
            rule = rules.of(marketplace, sign_in.connection.id if sign_in else None)
            draft, problems, notes = None, [_sold_out(marketplace)], list[Note]()
            if facts.quantity > 0:
                draft, problems, notes = pricing.compose(marketplace, facts, rule, defaults)
            price = pricing.price_at(marketplace, facts, rule, defaults)
            found.append(Checked(marketplace, sign_in, draft, problems, notes, price))
    return found


def _sold_out(marketplace: str) -> Problem:
    return Problem(
        field="quantity",
        code="too_low",
        message=f"Every one of these is sold: there is none left to post to {MARKETPLACES[marketplace]}. "
        "Raise the quantity if you have more.",
        limit=1,
    )


async def accounts_meant(
    session: AsyncSession, marketplaces: Sequence[str], public_ids: Sequence[str], *, every: bool = False
) -> dict[str, list[SignIn]]:
    """Which accounts a request means (connections.choose). A named account brings its marketplace along
    where no marketplaces are given. Raises BadRequest, NotFound, WhichAccount."""
    if not marketplaces and not public_ids:
        raise BadRequest("Post to where?", action="Name at least one marketplace in `marketplaces`.")
    for marketplace in marketplaces:
        get_form(marketplace)
    if marketplaces:
        sign_ins = await find_sign_ins(session, marketplaces=marketplaces)
    else:
        sign_ins = await find_sign_ins(session, public_ids=public_ids)
        order = list(MARKETPLACES)
        marketplaces = sorted({one.connection.marketplace for one in sign_ins}, key=order.index)
    return choose(sign_ins, list(dict.fromkeys(marketplaces)), public_ids, every=every)


# ---- posting --------------------------------------------------------------------------------------


async def post(
    session: AsyncSession,
    user_id: UUID,
    listing_id: UUID,
    marketplaces: Sequence[str],
    public_ids: Sequence[str] = (),
    idempotency_key: str | None = None,
) -> Posted:
    """Queues the listing for all of these accounts, or raises and queues nothing.

    NotFound, ListingLive (it is being deleted), WhichAccount, SessionMissing with `missing`,
    ListingIncomplete with `problems`, each naming every marketplace concerned. Waking the accounts is
    the last statement.
    """
    asked = _hash(listing_id, marketplaces, public_ids)
    if idempotency_key is not None:
        before = await _find_repeated(session, idempotency_key, asked)
        if before is not None:
            return before
    listing = await session.get(Listing, listing_id)
    if listing is None:
        raise NotFound
    if listing.delete_asked_at is not None:
        raise ListingLive(
            "This listing is being taken down everywhere and deleted.",
            action="Write it anew to post it again.",
        )
    meant = await accounts_meant(session, marketplaces, public_ids)
    rules = (await pricing.rules_of(session, [listing_id]))[listing_id]
    checked = check(await facts_of(session, listing), meant, rules)
    _refuse_signed_out(checked)
    _refuse_incomplete(checked)

    sign_ins = [one.sign_in for one in checked if one.sign_in is not None]
    if any(one.connection.needs_you for one in sign_ins):
        await session.execute(  # a challenge or a limit: the seller says go on. Before the publications,
            update(Connection)  # in the order in which a visit locks its rows
            .where(Connection.id.in_(ids_of(sign_ins)))
            .values(needs_you=None)
        )
    await _lock_publications(session, listing)
    if listing.quantity <= listing.quantity_sold:  # the last one was sold while this waited for its rows
        _refuse_incomplete(
            [replace(one, draft=None, problems=[_sold_out(one.marketplace)]) for one in checked]
        )
    job_id = await _insert_job(session, user_id, listing_id, idempotency_key, asked)
    if job_id is None:  # the same key arrived twice at the same moment, and the other was first
        repeated = await _find_repeated(session, idempotency_key or "", asked)
        if repeated is None:
            raise Conflict
        return repeated
    publication_ids = await _want_live(session, listing, sign_ins, rules)
    await decided(session, publication_ids)
    await forget_take_downs(session, publication_ids)
    await _follow(session, job_id, publication_ids)
    log.info("job.made", job_id=job_id, user_id=str(user_id), pairs=len(publication_ids))
    await tell_jobs(session, publication_ids)
    job, pairs = await get_job(session, job_id)
    paused = await _paused(session, user_id, sign_ins)
    await engine.wake(session, ids_of(sign_ins))
    return Posted(job, pairs, repeated=False, paused=paused)


async def _lock_publications(session: AsyncSession, listing: Listing) -> None:
    """Those that are there, in the order of their ids, then the listing: a visit, a
    cancel, a sale and a delete lock in the same order. Raises ListingLive if it is being deleted by now."""
    await session.execute(
        select(Publication.id)
        .where(Publication.listing_id == listing.id)
        .order_by(Publication.id)
        .with_for_update()
    )
    await session.refresh(
        listing, ["delete_asked_at", "revision", "quantity", "quantity_sold"],
        with_for_update={"key_share": True},
    )  # fmt: skip
    if listing.delete_asked_at is not None:
        raise ListingLive("This listing is being taken down everywhere and deleted.")


async def _paused(session: AsyncSession, user_id: UUID, sign_ins: Sequence[SignIn]) -> list[str]:
    everywhere = await session.scalar(select(User.paused_at).where(User.id == user_id))
    return [
        one.connection.public_id
        for one in sign_ins
        if everywhere is not None or one.connection.paused_at is not None
    ]


def _refuse_signed_out(checked: Sequence[Checked]) -> None:
    missing = [
        {
            "marketplace": one.marketplace,
            "browserProfileId": one.sign_in.connection.public_id if one.sign_in else None,
            "status": one.sign_in.status if one.sign_in else "missing",
        }
        for one in checked
        if one.sign_in is None or one.sign_in.status != "connected"
    ]
    if missing:
        names = listed(list(dict.fromkeys(MARKETPLACES[str(one["marketplace"])] for one in missing)))
        raise SessionMissing(
            f"Nothing was queued: there is no working sign-in for {names}.",
            missing=missing,
            marketplaces=list(dict.fromkeys(one["marketplace"] for one in missing)),
            problems=problems_as_json(checked),
        )


def _refuse_incomplete(checked: Sequence[Checked]) -> None:
    wanting = [one for one in checked if one.draft is None or one.problems]
    if wanting:
        names = list(dict.fromkeys(MARKETPLACES[one.marketplace] for one in wanting))
        first = next(problem.message for one in wanting for problem in one.problems)
        raise ListingIncomplete(
            f"Nothing was queued: {listed(names)} {'needs' if len(names) == 1 else 'need'} more. {first}",
            marketplaces=list(dict.fromkeys(one.marketplace for one in wanting)),
            problems=problems_as_json(wanting),
        )


def problems_as_json(checked: Sequence[Checked]) -> list[dict[str, Any]]:
    """Every problem of every marketplace, under the names of the API's JSON."""
    return [
        {
            "marketplace": one.marketplace,
            "browserProfileId": one.sign_in.connection.public_id if one.sign_in else None,
            "field": in_json(problem.field),
            "code": problem.code,
            "message": problem.message,
            "limit": problem.limit,
        }
        for one in checked
        for problem in one.problems
    ]


def _hash(listing_id: UUID, marketplaces: Sequence[str], public_ids: Sequence[str]) -> str:
    """Of a request to post, in whatever order it names the places."""
    asked = [str(listing_id), sorted(set(marketplaces)), sorted(set(public_ids))]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def in_json(field: str) -> str:
    """A field's name as the API's JSON has it: "defaults.return_policy" → "defaults.returnPolicy". The names
    of specifics are the seller's or the marketplace's own."""
    return field if field.startswith("specifics.") else ".".join(map(to_camel, field.split(".")))


async def _insert_job(
    session: AsyncSession, user_id: UUID, listing_id: UUID, idempotency_key: str | None, request_hash: str
) -> str | None:
    found = await session.execute(
        insert(Job)
        .values(
            id=new_id("job", 16),
            user_id=user_id,
            listing_id=listing_id,
            idempotency_key=idempotency_key,
            request_hash=request_hash,
            traceparent=traces.traceparent(),
        )
        .on_conflict_do_nothing(index_elements=["user_id", "idempotency_key"])
        .returning(Job.id)
    )
    return found.scalar_one_or_none()


async def _want_live(
    session: AsyncSession, listing: Listing, sign_ins: Sequence[SignIn], rules: Rules
) -> list[UUID]:
    """One row per account, wanted live at this revision; the rows in id order of the accounts.

    An open attempt is left alone with its question (`looking`): nobody clicks again before somebody has
    looked. What is being filled in just now goes on, and reads the new revision before it arms."""
    old = Publication
    # "ending": it is wanted again while it is taken down; a visit looks which of the two came first
    busy = or_(old.looking, old.state.in_(BUSY))
    asked = and_(old.looking, old.needs_you["reason"].astext == "unresolved")
    new = insert(Publication).values(
        [
            {
                "user_id": listing.user_id,
                "listing_id": listing.id,
                "connection_id": one.connection.id,
                "marketplace": one.connection.marketplace,
                "wanted": "live",
                "wanted_revision": listing.revision,
                "price_rule": rules.of(one.connection.marketplace, one.connection.id),
            }
            for one in sorted(sign_ins, key=lambda one: one.connection.id)
        ]
    )
    there = or_(old.put == "live", busy)
    state = case(
        (busy, old.state), (old.put == "live", literal_column("'live'")), else_=literal_column("'waiting'")
    )
    found = await session.execute(
        new.on_conflict_do_update(
            index_elements=["user_id", "listing_id", "connection_id"],
            set_={
                "wanted": "live",
                "wanted_revision": new.excluded.wanted_revision,
                "price_rule": case((there, old.price_rule), else_=new.excluded.price_rule),
                "needs_you": case((asked, old.needs_you), else_=None),
                "next_try_at": case((old.looking, old.next_try_at), else_=None),
                "tries": case((old.looking, old.tries), else_=0),
                "state": state,
                "remote_id": case((there, old.remote_id), else_=None),
                "url": case((there, old.url), else_=None),
                "read_back": case((there, old.read_back), else_=None),
                "started_at": case((there, old.started_at), else_=None),
                "finished_at": case((old.put == "live", old.finished_at), else_=None),
                "asked_at": func.now(),
                "updated_at": func.now(),
            },
        ).returning(Publication.id),
    )
    return list(found.scalars())


async def _follow(session: AsyncSession, job_id: str, publication_ids: Sequence[UUID]) -> None:
    """The job's pairs; tell_jobs then fills them in and ends those that are live already."""
    await session.execute(
        text("""
        INSERT INTO listing_automation_results (user_id, job_id, publication_id, listing_id, connection_id,
            marketplace, browser_profile_id, wanted_revision)
        SELECT p.user_id, :job, p.id, p.listing_id, p.connection_id, p.marketplace, c.public_id,
               p.wanted_revision
        FROM publications p JOIN connections c ON c.id = p.connection_id WHERE p.id = ANY(:ids)"""),
        {"job": job_id, "ids": list(publication_ids)},
    )


async def _find_repeated(session: AsyncSession, key: str, request_hash: str) -> Posted | None:
    """The job that this Idempotency-Key made. BadRequest if the key now asks for something else: to
    answer with the first job would lose the second wish."""
    job_id = (await session.execute(select(Job.id).where(Job.idempotency_key == key))).scalar_one_or_none()
    if job_id is None:
        return None
    job, pairs = await get_job(session, job_id)
    if job.request_hash != request_hash:
        raise BadRequest(
            "This Idempotency-Key was used for another request.",
            action="Use a new key for each new request, and the old one only to repeat an old request.",
        )
    return Posted(job, pairs, repeated=True, paused=())


# ---- reading --------------------------------------------------------------------------------------


async def get_job(session: AsyncSession, job_id: str) -> tuple[Job, list[AutomationResult]]:
    """The job as it stands, its pairs in the marketplaces' order. Raises NotFound."""
    job = (
        await session.execute(select(Job).where(Job.id == job_id).execution_options(populate_existing=True))
    ).scalar_one_or_none()
    if job is None:
        raise NotFound
    return job, await results(session, [job_id])


# ---- cancelling -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cancelled:
    job: Job
    pairs: Sequence[AutomationResult]
    #: Pairs that could not be taken back: they are armed or past it and finish; then *Take it down*.
    going_on: Sequence[Mapping[str, Any]]


async def cancel(session: AsyncSession, job_id: str) -> Cancelled:
    """Takes back what has not armed. A publication that another unfinished job wants too stays wanted;
    only this job's pair ends. What ended as a question to the seller is taken back too, so that answering
    it later posts nothing; the job's own history stays as it is."""
    job, pairs = await get_job(session, job_id)
    open_pairs = {
        pair.publication_id: pair
        for pair in pairs
        if pair.publication_id is not None and (pair.finished_at is None or pair.needs_you is not None)
    }
    publications = (
        await session.scalars(
            select(Publication)
            .where(Publication.id.in_(list(open_pairs)))
            .order_by(Publication.id)
            .with_for_update()
        )
    ).all()
    wanted_too = await _wanted_by_others(session, job_id, list(open_pairs))
    going_on: list[Mapping[str, Any]] = []
    for publication in publications:
        pair = open_pairs[publication.id]
        if pair.finished_at is not None and (publication.needs_you is None or publication.looking):
            continue
        if publication.id not in wanted_too and await _armed(session, publication):
            going_on.append(_going_on(pair))
            continue
        await session.execute(
            update(AutomationResult)
            .where(AutomationResult.id == pair.id, AutomationResult.finished_at.is_(None))
            .values(state="cancelled", needs_you=None, finished_at=func.clock_timestamp())
        )
        if publication.id in wanted_too or publication.relist is not None:  # it was there before the job
            continue
        if publication.put == "live" and publication.state != "ending":
            await change(session, publication, state="live",
                         wanted_revision=publication.put_revision or publication.wanted_revision,
                         next_try_at=None)  # fmt: skip
        else:
            await decided(session, [publication.id])
            await want_ended(session, publication)
    await end_jobs(session, [job_id])
    job, pairs = await get_job(session, job_id)
    return Cancelled(job, pairs, going_on)


async def _armed(session: AsyncSession, publication: Publication) -> bool:
    """May a click have happened that nobody has looked after yet?"""
    if publication.looking or publication.state == "armed":
        return True
    attempt = await live_attempt(session, publication) if publication.state == "revising" else None
    return attempt is not None and attempt.revising is not None


async def _wanted_by_others(session: AsyncSession, job_id: str, publication_ids: list[UUID]) -> set[UUID]:
    rows = await session.scalars(
        select(AutomationResult.publication_id).where(
            AutomationResult.publication_id.in_(publication_ids),
            AutomationResult.job_id != job_id,
            AutomationResult.finished_at.is_(None),
        )
    )
    return {row for row in rows if row is not None}


def _going_on(pair: AutomationResult) -> Mapping[str, Any]:
    where = f"/api/listings/{pair.listing_id}/publications/{pair.browser_profile_id}"
    label = MARKETPLACES[pair.marketplace]
    return {
        "marketplace": pair.marketplace,
        "browserProfileId": pair.browser_profile_id,
        "message": f"It is being submitted to {label} at this moment and cannot be taken back; it will be "
        "finished, and you can take it down.",
        "actions": [{"name": "end", "label": ACTIONS["end"], "method": "POST", "href": f"{where}/end"}],
    }
