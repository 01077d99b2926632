"""Waking accounts: procrastinate on the same PostgreSQL. Nothing else knows procrastinate.

The engine carries no work, only "visit account A now": rows hold the work. One wake-up per account and lane
waits at most, one visit per account runs at most, on any machine, and again if its worker dies. Never
schedules a future job (its lock would hold the account's place meanwhile).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from uuid import UUID

import procrastinate
import psycopg
import structlog
from procrastinate import exceptions
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager, NotificationCallback
from procrastinate.worker import Worker
from psycopg_pool import PoolClosed
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from everystall.absence import Absence
from everystall.db import driver_url, place, session_options

log = structlog.get_logger()
# what its connections meet is said by `Absence`, once
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

#: urgent: takes down, and the looks that confirm it · visits: everything but imports of live listings ·
#: reading: these, and whatever else is due on such an account meanwhile · ticks: short things only ·
#: messages: webhooks and notifications · imports: files of listings · sittings: sellers at a worker's
#: browser.
#: Each has slots of its own in every worker.
LANES = ("urgent", "visits", "reading", "ticks", "messages", "imports", "sittings")
VISITING = ("urgent", "visits")
#: In these an account with a place waits in a queue of its place: `visits@home`.
PLACED = (*VISITING, "reading", "sittings")
#: Seconds between two signs of life of a worker, and without one when its visits are taken over.
HEARTBEAT_SECONDS = 2.0
STALLED_SECONDS = 8.0
#: Seconds between two looks for jobs without a notification (migration 0002 has one sent for what waits).
POLL_SECONDS = 1.0

#: Under this name a session remembers whom to wake when it commits.
_TO_WAKE = "everystall.wake"


def make_app(database_url: str, absence: Absence | None = None) -> procrastinate.App:
    """A procrastinate app on this database, with no task yet. `database_url` is the login role's; `absence`
    is told when it is away."""
    url = driver_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    connector = procrastinate.PsycopgConnector(
        conninfo=url,
        kwargs={"options": session_options(search_path="procrastinate"), "connect_timeout": 10},
        min_size=1,
        max_size=8,
    )
    app = procrastinate.App(connector=connector)
    app.job_manager = _Jobs(connector, absence or Absence(url, place(driver_url(database_url))))
    return app


class _Jobs(JobManager):
    """procrastinate's, over a database that may be away for a moment: what runs goes on, and its end is told
    once the database is back. (By itself a worker of procrastinate stops then: it takes nothing new until
    all that runs has ended, and gives no sign of life meanwhile, so that others take its visits over.)"""

    #: When it was last found away, by time.monotonic().
    away_at: float | None = None

    def __init__(self, connector: procrastinate.PsycopgConnector, absence: Absence) -> None:
        super().__init__(connector)
        self.absence = absence

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        with self._may_be_away():
            return await super().fetch_job(queues, worker_id)
        return None

    async def update_heartbeat(self, worker_id: int) -> None:
        with self._may_be_away():
            await super().update_heartbeat(worker_id)

    async def list_jobs_to_abort_async(self, queue: str | None = None) -> Iterable[int]:
        with self._may_be_away():
            return await super().list_jobs_to_abort_async(queue)
        return []

    async def defer_periodic_job(self, job: Job, periodic_id: str, defer_timestamp: int) -> int | None:
        with self._may_be_away():
            return await super().defer_periodic_job(job, periodic_id, defer_timestamp)
        return None

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        while True:
            with self._may_be_away():
                await super().listen_for_jobs(on_notification=on_notification, queues=queues)
            await asyncio.sleep(POLL_SECONDS)

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        while True:
            with self._may_be_away():
                try:
                    return await super().finish_job(job, status, delete_job)
                except exceptions.ConnectorException as e:
                    if not isinstance(e.__cause__, psycopg.errors.RaiseException):
                        raise
                    log.info("engine.ended_elsewhere", job=job.id)  # rescued, or it had ended all the same
                    return
            await asyncio.sleep(POLL_SECONDS)

    @contextmanager
    def _may_be_away(self) -> Iterator[None]:
        away = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)
        try:
            yield
        except exceptions.ConnectorException as e:
            if not isinstance(e.__cause__, away) or isinstance(e.__cause__, PoolClosed):
                raise
            self.away_at = time.monotonic()
            if not self.absence.suspect(e):
                log.warning("engine.database_failed", error=type(e.__cause__).__name__)


async def wake(
    session: AsyncSession, connection_ids: Sequence[UUID], lane: str = "visits", *, back: bool = False
) -> None:
    """Wakes these accounts when, and only if, the session's transaction commits. `back`: behind its
    seller's others who wait, even if one of it waits already.

    All wake-ups of a transaction are sent together as its last statement, so none locks a waiting job
    longer than the commit takes, and two transactions always ask in the same order: no deadlock. An
    account that is not the seller's makes the commit fail (InsufficientPrivilege)."""
    if lane not in PLACED:
        raise ValueError(f"nobody is woken in the lane {lane!r}")
    _to_wake(session).setdefault(f"{lane} back" if back else lane, set()).update(connection_ids)


async def wake_messages(session: AsyncSession) -> None:
    """Wakes who sends messages, when the session's transaction commits."""
    _to_wake(session)["messages"] = set()


async def wake_imports(session: AsyncSession) -> None:
    """Wakes who brings in files and compares listings, when the session's transaction commits."""
    _to_wake(session)["imports"] = set()


def _to_wake(session: AsyncSession) -> dict[str, set[UUID]]:
    sync = session.sync_session
    if _TO_WAKE not in sync.info:
        sync.info[_TO_WAKE] = {}
        event.listen(sync, "before_commit", _send)
        event.listen(sync, "after_rollback", _forget)
    waiting: dict[str, set[UUID]] = sync.info[_TO_WAKE]
    return waiting


def _send(session: Session) -> None:
    if session.in_nested_transaction():
        return  # only a savepoint; the transaction is not at its end
    waiting: dict[str, set[UUID]] = dict(session.info[_TO_WAKE])
    session.info[_TO_WAKE].clear()
    session.flush()
    for asked in (*PLACED, *(f"{lane} back" for lane in PLACED)):
        if waiting.get(asked):
            lane, _, back = asked.partition(" ")
            session.execute(
                text("SELECT everystall.wake(CAST(:ids AS uuid[]), :lane, :back)"),
                {"ids": sorted(waiting[asked]), "lane": lane, "back": bool(back)},
            )
    if "messages" in waiting:
        session.execute(text("SELECT everystall.wake_messages()"))
    if "imports" in waiting:
        session.execute(text("SELECT everystall.wake_imports()"))


def _forget(session: Session) -> None:
    session.info[_TO_WAKE].clear()


async def rescue(app: procrastinate.App) -> int:
    """Hands on the visits of workers whose signs of life stopped; how many. After the database was away
    everybody is given the time for one."""
    jobs = app.job_manager
    if isinstance(jobs, _Jobs) and jobs.away_at and time.monotonic() - jobs.away_at < STALLED_SECONDS:
        return 0
    stalled = list(await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS))
    for job in stalled:
        try:
            await app.job_manager.retry_job(job)
            log.warning("engine.rescued", job=job.id, lock=job.lock)
        except exceptions.UniqueViolation:
            # A newer wake-up of the same account waits already and will do the work. While this one
            # stands it holds the account's lock.
            try:
                await app.job_manager.finish_job(job, status=Status.FAILED, delete_job=True)
                log.warning("engine.replaced", job=job.id, lock=job.lock)
            except exceptions.ConnectorException:
                log.info("engine.rescued_elsewhere", job=job.id)
        except exceptions.ConnectorException:  # finished, or rescued by another worker, a moment ago
            log.info("engine.rescued_elsewhere", job=job.id)
    return len(stalled)


async def forget_ended(app: procrastinate.App, most: int) -> None:
    """Deletes wake-ups that ended and were kept: ours delete theirs as they end; another version's or a
    person's may not have."""
    await app.connector.execute_query_async(
        """DELETE FROM procrastinate_jobs WHERE id IN (
               SELECT id FROM procrastinate_jobs
               WHERE status IN ('succeeded', 'failed', 'cancelled', 'aborted') ORDER BY id LIMIT %(most)s)""",
        most=most,
    )


async def run_lanes(
    app: procrastinate.App, slots: Mapping[str, int], *, place: str | None = None, grace_seconds: float = 60.0
) -> None:
    """Works off the lanes until cancelled, each with its number of slots: the accounts of `place` and those
    that have none. Cancelled, it takes nothing
    new, gives what runs `grace_seconds` to finish, then cancels that. The app is open; signals are the
    caller's."""
    unknown = set(slots) - set(LANES)
    if unknown:
        raise ValueError(f"there is no lane {', '.join(sorted(unknown))}")
    async with asyncio.TaskGroup() as lanes:
        for lane, number in slots.items():
            queues = [lane, f"{lane}@{place}"] if place and lane in PLACED else [lane]
            lanes.create_task(_run_lane(app, lane, queues, number, grace_seconds), name=f"lane {lane}")


async def _run_lane(
    app: procrastinate.App, lane: str, queues: list[str], number: int, grace_seconds: float
) -> None:
    """procrastinate's worker ends by itself when something of it fails; the lane does not. It stops to give
    signs of life as soon as it is told to stop, while visits run that may take a minute yet: so we give them.

    It is told to stop and not cancelled: while it begins, a cancellation may get lost where a connection is
    waited for (asyncio.wait_for of Python 3.11), and it would work on for ever."""
    while True:
        try:
            worker = Worker(
                app,
                queues=queues,
                name=lane,
                concurrency=number,
                wait=True,
                fetch_job_polling_interval=POLL_SECONDS,
                delete_jobs="always",
                install_signal_handlers=False,
                update_heartbeat_interval=86_400.0,  # ours, below
                stalled_worker_timeout=STALLED_SECONDS,
                shutdown_graceful_timeout=grace_seconds,
            )
            working = asyncio.create_task(worker.run(), name=lane)  # type: ignore[no-untyped-call]
            living = asyncio.create_task(_give_signs_of_life(app, worker), name=f"{lane} lives")
            try:
                await asyncio.shield(working)
            except asyncio.CancelledError:
                worker.stop()  # type: ignore[no-untyped-call]
                await working
                raise
            finally:
                living.cancel()
            log.warning("engine.lane_ended", lane=lane)
        except exceptions.ConnectorException as e:
            if not (isinstance(app.job_manager, _Jobs) and app.job_manager.absence.suspect(e)):
                log.warning("engine.lane_failed", lane=lane, error=type(e.__cause__ or e).__name__)
        await asyncio.sleep(POLL_SECONDS)


async def _give_signs_of_life(app: procrastinate.App, worker: Worker) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        if worker.worker_id is not None:
            with suppress(exceptions.ConnectorException):
                await app.job_manager.update_heartbeat(worker.worker_id)
