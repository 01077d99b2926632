"""Posting a listing to several marketplaces, and how that goes: jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from pydantic import Field
from sqlalchemy import select, tuple_

from everystall.errors import BadRequest, listed
from everystall.inventory import jobs
from everystall.inventory.pairs import results
from everystall.marketplaces import MARKETPLACES
from everystall.models import AutomationResult, Job
from everystall.web.cursors import cursor_of, read_cursor
from everystall.web.deps import Deserted, Seller, Transaction, as_id
from everystall.web.numbers import START_ONE
from everystall.web.shapes import ActionOut, Body, Pair, Shape

router = APIRouter(prefix="/api", tags=["jobs"])

JobStatus = Literal["running", "done", "needs_you", "cancelled"]


class PostBody(Body):
    listing_id: str
    #: Where to: `["poshmark", "ebay"]`. May be left out where `connections` says it.
    marketplaces: Annotated[list[str], Field(max_length=50)] = []
    #: Which accounts, where you have several on a marketplace: their browserProfileIds.
    connections: Annotated[list[str], Field(max_length=200)] = []


class PostedOut(Shape):
    success: Literal[True] = True
    job_id: str
    message: str
    marketplaces: list[str]
    automation_results: list[Pair]


class JobOut(Shape):
    job_id: str
    status: JobStatus
    listing_id: str
    marketplaces: list[str]
    created_at: datetime
    finished_at: datetime | None
    automation_results: list[Pair]
    waits_for: Literal["worker"] | None = Field(
        description="worker: no worker of this Everystall runs, so it is not gone on with before one does; "
        "nothing is lost"
    )


class JobsOut(Shape):
    jobs: list[JobOut]
    next_cursor: str | None


class GoingOn(Shape):
    marketplace: str
    browser_profile_id: str
    message: str
    actions: list[ActionOut]


class CancelledOut(JobOut):
    success: Literal[True] = True
    message: str
    #: What could not be taken back, with its *Take it down*.
    going_on: list[GoingOn]


@router.post("/listings/post", response_model=PostedOut)
async def post_listing(
    body: PostBody,
    deserted: Deserted,
    session: Transaction,
    who: Seller,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> PostedOut:
    """Queues a listing for every marketplace named, or for none: 409 `session_missing`, 422
    `listing_incomplete` and 409 `which_account` name everything that stands in the way at once. The same
    `Idempotency-Key` again returns the first job."""
    if not body.marketplaces and not body.connections:
        raise BadRequest("Post to where?", action="Name at least one marketplace in `marketplaces`.")
    posted = await jobs.post(
        session, who.user_id, as_id(body.listing_id), body.marketplaces, body.connections, idempotency_key
    )
    return PostedOut(
        job_id=posted.job.id,
        message=_said(posted, deserted=deserted),
        marketplaces=_marketplaces(posted.pairs),
        automation_results=[Pair.of(row) for row in posted.pairs],
    )


@router.get("/jobs")
async def list_jobs(
    deserted: Deserted,
    session: Transaction,
    listing_id: Annotated[str | None, Query(alias="listingId", max_length=60)] = None,
    status: JobStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> JobsOut:
    """Newest first."""
    wanted = select(Job).order_by(Job.created_at.desc(), Job.id.desc()).limit(limit + 1)
    if listing_id is not None:
        wanted = wanted.where(Job.listing_id == as_id(listing_id))
    if status is not None:
        wanted = wanted.where(Job.status == status)
    if cursor is not None:
        at, last = read_cursor(cursor)
        wanted = wanted.where(tuple_(Job.created_at, Job.id) < tuple_(at, last))
    found = list(await session.scalars(wanted))
    shown, more = found[:limit], len(found) > limit
    pairs: dict[str, list[AutomationResult]] = {job.id: [] for job in shown}
    for row in await results(session, list(pairs)):
        pairs[row.job_id].append(row)
    return JobsOut(
        jobs=[JobOut(**_job(job, pairs[job.id], deserted)) for job in shown],
        next_cursor=cursor_of(shown[-1].created_at, shown[-1].id) if more else None,
    )


@router.get("/jobs/{jobId}")
async def get_job(jobId: str, deserted: Deserted, session: Transaction) -> JobOut:
    job, pairs = await jobs.get_job(session, jobId)
    return JobOut(**_job(job, pairs, deserted))


@router.post("/jobs/{jobId}/cancel")
async def cancel_job(jobId: str, deserted: Deserted, session: Transaction) -> CancelledOut:
    """Takes back what was not submitted yet. What is being submitted at this moment is finished, and
    listed in `goingOn` with *Take it down*."""
    before, _ = await jobs.get_job(session, jobId)
    if before.finished_at is not None:
        message = "This job was finished already; nothing was changed."
    else:
        message = "Cancelled: nothing more of it is posted."
    cancelled = await jobs.cancel(session, jobId)
    if cancelled.going_on:
        names = listed([MARKETPLACES[one["marketplace"]] for one in cancelled.going_on])
        message = f"Cancelled, except for what is being submitted at this moment ({names})."
    return CancelledOut(
        **_job(cancelled.job, cancelled.pairs, deserted),
        message=message,
        going_on=[GoingOn(**one) for one in cancelled.going_on],
    )


def _job(job: Job, pairs: Any, deserted: bool) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "status": job.status,
        "listing_id": str(pairs[0].listing_id if pairs else job.listing_id),
        "marketplaces": _marketplaces(pairs),
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "automation_results": [Pair.of(row) for row in pairs],
        "waits_for": "worker" if deserted and job.finished_at is None else None,
    }


def _marketplaces(pairs: Any) -> list[str]:
    return list(dict.fromkeys(row.marketplace for row in pairs))


def _said(posted: jobs.Posted, *, deserted: bool) -> str:
    if posted.repeated:
        return "This request was received before; this is the job that it made."
    names = listed([MARKETPLACES[name] for name in _marketplaces(posted.pairs)])
    if all(pair.finished_at is not None and pair.state == "live" for pair in posted.pairs):
        return f"It is live on {names} already, as it stands."
    message = f"Listing job queued: it goes to {names}. You may close this window."
    if posted.paused:
        message += (
            f" Posting is paused for {len(posted.paused)} of these accounts; it waits there until you resume."
        )
    return f"{message} No worker of Everystall runs now. {START_ONE}" if deserted else message
