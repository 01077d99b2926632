"""Jobs of a Node back end, out of a BullMQ queue in Redis: each becomes a job of ours, once, and hears how
it goes.

Redis is only where jobs come from and where their outcome goes; what is to be done stands in PostgreSQL, as
for any other job. Whoever may write to that Redis may post as any seller, and reads what became of it: it is
the operator's own (docs/from-nextjs.md). What goes back is what the API tells that seller, never an error's
own words.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import structlog
from bullmq import Job, Worker
from bullmq.custom_errors import DelayedError, UnrecoverableError
from pydantic import ConfigDict, Field, ValidationError
from redis import Redis, RedisError
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from everystall import traces
from everystall.db import Database
from everystall.errors import BadRequest, Conflict, EverystallError, Misconfigured, listed
from everystall.inventory import jobs
from everystall.inventory.pairs import Shape, as_json
from everystall.settings import Settings

log = structlog.get_logger()

#: Jobs that are looked at together. A look takes milliseconds: none is held while it is being posted.
TOGETHER = 10
#: Milliseconds after which a job whose intake died is another's, and between two looks for such jobs.
LOCK, STALLED = 10_000, 5_000
#: An intake that died in the midst of a job says nothing of the job: BullMQ would fail it the second time.
DEATHS = 1_000_000
#: Seconds until a job is looked at again: a fifth of its age, at least and at most these.
SOONEST, LATEST = 1.0, 60.0
#: Until one is that could not be looked at, the database being away.
AGAIN = 5.0
#: Milliseconds between two tries to reach a Redis that is away.
REDIS_AGAIN = 2_000


class Wish(Shape):
    """What a producer puts into a job."""

    model_config = ConfigDict(extra="forbid")

    listing_id: UUID
    marketplaces: Annotated[list[str], Field(min_length=1, max_length=50)]
    user_id: UUID


class Failed(Exception):
    """What a job of BullMQ's failed by, as our JSON; its producer's `attempts` count."""


async def run(settings: Settings) -> None:
    """Takes jobs in until SIGTERM or SIGINT. Any number of these may run. Raises Misconfigured."""
    if settings.database_url is None or settings.redis_url is None:
        raise Misconfigured(
            "REDIS_URL names no Redis to take jobs from.",
            action="Set it to the one that your back end adds BullMQ jobs to.",
        )
    redis = settings.redis_url.get_secret_value()
    _check(redis)
    db = Database(
        settings.database_url.get_secret_value(), tells_operator=settings.notifications_webhook_enabled
    )
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        await db.check_login()
        with traces.sent(settings, "bull-intake"):
            async with taking(db, redis, settings.bull_queue) as work:
                stopped = asyncio.create_task(stopping.wait())
                log.info("bull.ready", queue=settings.bull_queue)
                await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
                log.info("bull.stopping")
                stopped.cancel()
    finally:
        await db.close()
    if not stopping.is_set():
        raise Misconfigured("BullMQ's worker ended by itself.", action="See the log above; start it again.")


@asynccontextmanager
async def taking(db: Database, redis: str, queue: str) -> AsyncIterator[asyncio.Task[None]]:
    """While in the block jobs are taken in, by the task that it yields."""
    worker = Worker(queue, Intake(db, queue).take, {
        "autorun": False, "connection": redis, "concurrency": TOGETHER, "lockDuration": LOCK,
        "stalledInterval": STALLED, "maxStalledCount": DEATHS, "runRetryDelay": REDIS_AGAIN,
    })  # fmt: skip
    worker.on("error", lambda error, *_: log.warning("bull.failed", error=type(error).__name__))
    work = asyncio.create_task(worker.run())
    try:
        yield work
    finally:
        await worker.close()
        await work


def _check(url: str) -> None:
    """BullMQ itself would try for minutes, and say nothing."""
    try:
        client = Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5)
    except ValueError:
        raise Misconfigured(
            "REDIS_URL is not the address of a Redis.", action="Write it as redis://:PASSWORD@HOST:6379/0."
        ) from None
    try:
        with client:
            client.ping()
    except (RedisError, OSError) as e:
        raise Misconfigured(
            f"The Redis of REDIS_URL does not let us in, or does not answer ({type(e).__name__}).",
            action="Check that it runs, and REDIS_URL.",
        ) from None


class Intake:
    def __init__(self, db: Database, queue: str) -> None:
        self._db, self._queue = db, queue

    async def take(self, job: Job, token: str) -> dict[str, Any]:
        """What a job came to. One that goes on is put back, to be looked at again; one that cannot be done
        fails with our JSON."""
        with structlog.contextvars.bound_contextvars(bull_id=job.id):
            try:
                with _told_of(job):
                    posted = await self._post(job)
            except (OperationalError, InterfaceError, PoolTimeout) as e:
                log.warning("bull.waits", kind=type(getattr(e, "orig", e)).__name__)
                return await self._put_back(job, token, AGAIN)
            except EverystallError as e:
                log.info("bull.refused", error=e.code)
                # its stack is kept in Redis: without what led to it
                raise UnrecoverableError(json.dumps(e.as_json())) from None
            except IntegrityError:
                raise Failed(json.dumps(Conflict().as_json())) from None
            except Exception as e:
                log.error("bull.broke", error=type(e).__name__, exc_info=True)
                raise Failed(json.dumps(EverystallError().as_json())) from None
            told = _told(posted)
            if posted.job.finished_at is not None:
                return told
            if job.progress != told:
                await job.updateProgress(told)
            age = (datetime.now(UTC) - posted.job.created_at).total_seconds()
            return await self._put_back(job, token, min(LATEST, max(SOONEST, age / 5)))

    async def _post(self, job: Job) -> jobs.Posted:
        """The one job of ours that belongs to it, made if there is none. BullMQ's ids begin anew in an
        emptied Redis, and may be given twice by who chooses them: with the time when it was added it is
        this one."""
        wish = _wish(job.data)
        key = f"bull:{self._queue}:{job.id}:{job.timestamp}"
        async with self._db.as_user(wish.user_id) as session:
            return await jobs.post(
                session, wish.user_id, wish.listing_id, wish.marketplaces, idempotency_key=key
            )

    async def _put_back(self, job: Job, token: str, seconds: float) -> dict[str, Any]:
        await job.moveToDelayed(round((time.time() + seconds) * 1000), token)
        raise DelayedError


@contextmanager
def _told_of(job: Job) -> Iterator[None]:
    """In the block what is done about a job belongs to its producer's trace, where BullMQ brings that along;
    later looks at one that goes on are none of its story."""
    if job.progress or not traces.on():
        yield
        return
    with traces.part(traces.begin("take in", _traceparent(job), asked=True)):
        yield


def _traceparent(job: Job) -> str | None:
    """BullMQ's telemetry is a carrier of OpenTelemetry's, as JSON."""
    try:
        told = json.loads(job.opts.get("tm") or "{}")
        said = told.get("traceparent")
    except (AttributeError, TypeError, ValueError):
        return None
    return said if isinstance(said, str) else None


def _wish(data: Any) -> Wish:
    try:
        return Wish.model_validate(data)
    except ValidationError as e:
        wrong = list(dict.fromkeys(str(found["loc"][0])[:60] for found in e.errors() if found["loc"]))
        raise BadRequest(
            f"The data of this job cannot be read: look at {listed(wrong or ['all of it'])}.",
            action="Add a job with listingId, marketplaces (a list of names) and userId, and nothing else.",
        ) from None


def _told(posted: jobs.Posted) -> dict[str, Any]:
    """As `GET /api/jobs/{jobId}` tells it."""
    results = as_json(posted.pairs)
    return {
        "jobId": posted.job.id,
        "status": posted.job.status,
        "listingId": str(posted.pairs[0].listing_id if posted.pairs else posted.job.listing_id),
        "marketplaces": list(dict.fromkeys(one["marketplace"] for one in results)),
        "automationResults": results,
    }
