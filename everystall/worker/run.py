"""The worker process: lanes of visits, messages and imports over one PostgreSQL, ticks, signals, a clean end.

Any number of these may run on any number of machines; nothing here remembers anything that the
database does not.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from uuid import UUID

import procrastinate
import structlog
from sqlalchemy import text

from everystall import engine, systemd, traces
from everystall.absence import ends_with_it
from everystall.browser import remote
from everystall.browser.chromium import find_chromium
from everystall.browser.driver import Driver
from everystall.browser.session import sweep_folders
from everystall.content.addresses import Fetcher
from everystall.content.model import Model
from everystall.content.photo_store import know_store
from everystall.content.photos import Photos
from everystall.db import Database
from everystall.errors import LeaseLost, Misconfigured
from everystall.inventory import blindness, matches, take_downs
from everystall.inventory.imports import bring_in
from everystall.inventory.price_drops import lower_due
from everystall.inventory.relisting import ask_due
from everystall.logs import chore
from everystall.notify.outgoing import Outgoing
from everystall.notify.push import Vapid
from everystall.notify.send import Mail, work_off
from everystall.settings import Settings
from everystall.vault import rotation
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from everystall.worker import agents, heals, places
from everystall.worker.health import Health
from everystall.worker.mailboxes import Mailboxes
from everystall.worker.seats import Seats
from everystall.worker.visit import Tools, visit

log = structlog.get_logger()

#: Accounts that one look for due ones takes at most: each look reads all that is due, so that few large ones
#: are cheap where 100,000 wait (after a night without a worker, say).
BATCH = 5000
#: Seconds that a stopping worker gives its visits to finish their step.
GRACE_SECONDS = 60.0
#: Seconds between two clean-ups of what has expired, and for one: what is left goes the next time.
CLEAN_SECONDS, CLEAN_LIMIT = 60.0, 300.0
#: Rows of a kind that one transaction of a clean-up deletes, and such transactions in a row: what is left
#: goes a minute later (14 million rows a day).
CLEAN_ROWS, CLEAN_BATCHES = 500, 20
#: Whoever's work is due and not an account's.
_WAKE_DUE = (
    """SELECT everystall.wake_messages(true), everystall.wake_imports(NOT everystall.matching_due())"""
)


async def run(settings: Settings, *, ready: asyncio.Event | None = None) -> None:
    """Work until SIGTERM or SIGINT. `settings.database_url` is set (the CLI fills in the embedded
    server's). Raises Misconfigured if this machine cannot work."""
    if settings.database_url is None:
        raise Misconfigured("The worker was given no database.")
    url = settings.database_url.get_secret_value()
    async with AsyncExitStack() as stack:
        stack.enter_context(traces.sent(settings, "worker"))
        db = Database(url, tells_operator=settings.notifications_webhook_enabled)
        stack.push_async_callback(db.close)
        await db.check_login()
        keyring = Keyring.load(settings)
        if settings.browser_elsewhere:
            await remote.find_version(settings)
        else:
            find_chromium(settings)  # better no worker than one that fails every visit
        await sweep_folders(settings)
        photos = Photos(settings)
        stack.push_async_callback(photos.close)
        if await photos.check():
            await know_store(db, photos)
        driver = Driver()
        stack.push_async_callback(driver.close)
        await asyncio.gather(driver.get(), photos.warm())  # the first visit shall not wait for either
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, stopping.set)
        vault = Vault(db, keyring, settings)
        async with db.as_app() as session:
            await rotation.check(session, keyring)
        seats = await stack.enter_async_context(Seats(db, vault, settings).open())
        model, absent = Model(settings), agents.why_absent(settings)
        log.info("worker.agent", absent=absent)
        tools = Tools(db, vault, photos, settings, driver, stopping, seats=seats, model=heals.finder(model),
                      agent=None if absent else model)  # fmt: skip
        mail = Mail(db, vault, settings)
        stack.push_async_callback(mail.close)
        outgoing = Outgoing(db, vault, settings, Vapid.load(settings))
        stack.push_async_callback(outgoing.close)
        watched = Mailboxes(db, vault, settings)
        stack.push_async_callback(watched.close)
        fetcher = Fetcher()
        stack.push_async_callback(fetcher.close)
        app = make_app(url, tools, mail, watched, outgoing, fetcher)
        await stack.enter_async_context(app.open_async())
        slots = slots_of(settings)

        def follow(newer: Settings) -> None:
            vault.settings = mail.settings = outgoing.settings = watched.settings = newer
            model.follow(newer)
            tools.model = heals.finder(model)
            tools.agent = None if agents.why_absent(newer) else model

        await stack.enter_async_context(tools.presence.standing(tools, follow))
        place = settings.worker_place
        if place is not None:
            await stack.enter_async_context(places.standing(db, place))
        await stack.enter_async_context(cleaning(app, tools))
        health = Health(tools)
        told = health.told(settings.everystall_listen, settings.worker_health_port)
        await stack.enter_async_context(told)
        await stack.enter_async_context(systemd.watched(health.alive))
        lanes = asyncio.create_task(engine.run_lanes(app, slots, place=place, grace_seconds=GRACE_SECONDS))
        stopped = asyncio.create_task(stopping.wait())
        log.info("worker.ready", place=place, **slots)
        systemd.tell(systemd.READY)
        if ready is not None:
            ready.set()
        await asyncio.wait({lanes, stopped}, return_when=asyncio.FIRST_COMPLETED)
        log.info("worker.stopping")
        systemd.tell(systemd.STOPPING)
        if not lanes.done():
            lanes.cancel()
        stopped.cancel()
        await asyncio.gather(lanes, stopped, return_exceptions=True)
        if not stopping.is_set():
            lanes.result()  # the lanes ended by themselves: say why
        if (wrong := tools.presence.mismatch) is not None:
            raise Misconfigured(f"The database {wrong.said}, so this worker ended.", action=wrong.action)


def slots_of(settings: Settings) -> dict[str, int]:
    """How many tasks of each lane run at once."""
    return {
        "urgent": settings.worker_urgent, "visits": settings.worker_visits, "ticks": 1,
        "reading": settings.worker_reading, "messages": 1, "imports": 1,
        "sittings": settings.worker_sittings,
    }  # fmt: skip


def make_app(
    url: str,
    tools: Tools,
    mail: Mail,
    watched: Mailboxes | None = None,
    outgoing: Outgoing | None = None,
    fetcher: Fetcher | None = None,
) -> procrastinate.App:
    """The engine's app with our tasks on it."""
    app, fetch = engine.make_app(url, tools.db.absence), fetcher or Fetcher()

    @app.task(name="visit", pass_context=True)
    async def visit_(context: procrastinate.JobContext, connection_id: str, lane: str) -> None:
        try:
            with ends_with_it(), tools.presence.visiting():
                await visit(tools, UUID(connection_id), lane, context.job.id)
        except LeaseLost:
            log.warning("visit.lease_lost", connection_id=connection_id)

    @app.task(name="deliver")
    async def deliver_() -> None:
        with ends_with_it():
            await work_off(tools.stopping, mail, *([outgoing] if outgoing is not None else []))

    @app.task(name="bring_in")
    async def bring_in_() -> None:
        with ends_with_it():
            while await bring_in(tools.db, tools.stopping, tools.photos, fetch):
                await matches.compare_all(tools.db, tools.photos, tools.stopping)
            await matches.compare_all(tools.db, tools.photos, tools.stopping)

    @app.periodic(cron="* * * * * */5")  # the sixth field is the seconds
    @app.task(name="tick", queue="ticks", queueing_lock="tick", pass_context=False)
    async def tick_(timestamp: int) -> None:
        with chore("due accounts"):
            await find_due(tools.db)
        with chore("visits of dead workers"):
            await engine.rescue(app)
        with chore("places"):
            await places.look_after(tools.db)
        with chore("blind accounts"):
            await blindness.look_after(tools.db)
        with chore("late take-downs"):
            await take_downs.tell_late(tools.db)
        with chore("messages and imports"):
            async with tools.db.as_app() as session:
                await session.execute(text(_WAKE_DUE))
        with chore("price drops"):
            await lower_due(tools.db)
        with chore("relisting"):
            await ask_due(tools.db)
        if watched is not None:
            with chore("mailboxes"):
                await watched.look_after()

    return app


@asynccontextmanager
async def cleaning(app: procrastinate.App, tools: Tools) -> AsyncIterator[None]:
    """While in the block, what has expired is deleted once a minute. Beside the ticks: a photo store that
    does not answer holds up nothing but this."""

    async def go_on() -> None:
        while True:
            with chore("folders"):
                await sweep_folders(tools.settings)
            with chore("wake-ups that ended"):
                await engine.forget_ended(app, CLEAN_ROWS)
            with chore("clean-up"):
                async with asyncio.timeout(CLEAN_LIMIT):
                    await clean(tools.db, tools.photos, tools.settings)
            await asyncio.sleep(CLEAN_SECONDS)

    going = asyncio.create_task(go_on(), name="cleaning")
    try:
        yield
    finally:
        going.cancel()
        with suppress(asyncio.CancelledError):
            await going


async def clean(db: Database, photos: Photos, settings: Settings) -> None:
    """Deletes what has expired, and what is older than the settings want it kept: events with the log of
    their messages, finished jobs and imports with photos that came to nothing, pictures of failures; and
    listings that were deleted a month ago. Never a publication or an attempt."""
    async with db.as_app() as session:
        await session.execute(text("SELECT everystall.expire()"))
    kept = {"events": settings.event_days, "jobs": settings.job_days, "most": CLEAN_ROWS}
    for _ in range(CLEAN_BATCHES):
        async with db.as_app() as session:
            spent = await session.scalars(text("SELECT everystall.spent_photos(:jobs)"), kept)
            hashes = list(spent)
        # before their rows go: who stops here is asked again
        await photos.forget_unnamed(db, hashes)
        async with db.as_app() as session:
            gone = await session.scalar(text("SELECT everystall.clean(:events, :jobs, :most)"), kept)
        if (gone or 0) < CLEAN_ROWS:
            break
    await photos.sweep_evidence(settings.evidence_days)
    # where earlier versions kept them: nothing is read there, or written
    earlier = settings.everystall_home / "evidence"
    if not photos.meets(earlier):
        await asyncio.to_thread(shutil.rmtree, earlier, ignore_errors=True)


async def find_due(db: Database) -> int:
    """Wake every account that has something due: what a lost wake-up costs is the seconds between
    two of these. Returns how many were woken."""
    woken = 0
    while True:
        async with db.as_app() as session:
            rows = (
                await session.execute(
                    text("SELECT connection_id, lane FROM everystall.due(:n)"), {"n": BATCH}
                )
            ).all()
            if len(rows) < BATCH:
                found = await session.scalars(text("SELECT everystall.due_live_imports(:n)"), {"n": BATCH})
                if ids := sorted({*found}):
                    await engine.wake(session, ids, "reading")
                asked = await session.scalars(text("SELECT everystall.due_sittings(:n)"), {"n": BATCH})
                if ids := sorted({*asked}):
                    await engine.wake(session, ids, "sittings")
            for lane in ("urgent", "visits"):
                ids = [row.connection_id for row in rows if row.lane == lane]
                if ids:
                    await engine.wake(session, ids, lane)
        woken += len(rows)
        if len(rows) < BATCH:
            return woken
