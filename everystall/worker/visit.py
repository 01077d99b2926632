"""A visit to one account: take the most urgent due publication, do one step, record, repeat.

Level-triggered: it reads what is wanted and what is there, never a list of instructions, so posting,
taking down and resuming after a crash are one mechanism. It opens a browser only once something is
due, holds no transaction while a browser works, and sleeps for no pace.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import structlog
from sqlalchemy import TEXT, Boolean, Integer, Uuid, column, func, select, text, update
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.browser import hosts
from everystall.browser.driver import Driver
from everystall.browser.heal import Healing, Model
from everystall.browser.page import Page
from everystall.browser.session import Browser, Storage, open_browser
from everystall.content.model import Model as ChatModel
from everystall.content.photos import Photos
from everystall.db import Database
from everystall.errors import (
    AnotherAccount,
    BrowserNotStarted,
    EverystallError,
    LeaseLost,
    MarketplaceBusy,
    Misconfigured,
    NotWanted,
    PageChanged,
)
from everystall.inventory.publications import NOT_HELD, backoff, lock_with_others
from everystall.marketplaces import MARKETPLACES, get_adapter, get_form
from everystall.marketplaces.base import Adapter
from everystall.models import Connection, Publication
from everystall.settings import Settings
from everystall.vault.sessions import Opened, Vault
from everystall.worker import (
    delist,
    failures,
    hands,
    heals,
    pace,
    publish,
    read_in,
    reconcile,
    relist,
    revise,
    sitting,
    watch,
)
from everystall.worker.lease import Lease
from everystall.worker.presence import Presence
from everystall.worker.seats import Seats
from everystall.worker.traced import Traced

log = structlog.get_logger()

#: Steps and seconds after which a visit goes to the back of the queue.
BUDGET_STEPS = 60
BUDGET_SECONDS = 900.0
#: A look due within this many seconds is waited for with the browser open: a new browser costs as much.
LINGER_SECONDS = 3.0
#: A visit begins with a look at what sold, unless there was one that lately; and for so long nobody else is
#: sent to check the account that a visit is checking.
FRESH_SECONDS, CHECKING_SECONDS = 10.0, 60.0
#: Classes of SQLSTATE that say nothing of what was asked: connection, read-only or resting for too long,
#: sign-in, deadlock, no room, locked, ended by its operator, the machine's disk.
_NOT_OF_IT = ("08", "25", "28", "40", "53", "55", "57", "58")
#: More may be offered there than is left of several. To lower that is as a delist: it runs while posting is
#: paused, unless the seller paused taking down, too. (everystall.due() knows only what a sale left so: who
#: edited wakes the account, and each check finds it.)
_LOWERS = """(p.put = 'live' AND (p.state <> 'ending' OR p.relist = 'asked')
    AND (c.paused_at IS NULL OR NOT c.pause_ends) AND (u.paused_at IS NULL OR NOT u.pause_ends)
    AND (p.lower_asked_at IS NOT NULL OR p.put_revision IS NULL OR EXISTS (
        SELECT FROM attempts a JOIN listings l ON l.id = p.listing_id
        WHERE a.publication_id = p.id AND a.outcome = 'live'
          AND coalesce(a.draft ->> 'quantity', '1')::int > l.quantity - l.quantity_sold)))"""
#: What the urgent lane is for; all else comes behind it.
_URGENT = "(p.wanted = 'ended' OR (p.put = 'live' AND p.lower_asked_at IS NOT NULL))"
#: Which publications of an account are due now. Delists and looks run while posting is paused.
_DUE = f"""
    FROM publications p JOIN connections c ON c.id = p.connection_id JOIN users u ON u.id = p.user_id
    WHERE p.connection_id = :id AND (p.unsettled OR p.looking) AND ({NOT_HELD} OR p.looking)
      AND c.needs_you IS NULL AND (p.next_try_at IS NULL OR p.next_try_at <= now())
      AND (p.wanted = 'ended' OR p.looking OR (c.paused_at IS NULL AND u.paused_at IS NULL) OR {_LOWERS})"""
#: Steps of a publication that ended without a word. Of what a PostgreSQL that was started anew cut off, no
#: listing is the reason.
_CUT_OFF = "p.cut_off + coalesce(p.begun_at > pg_postmaster_start_time(), false)::int"
_FOUND = (
    column("resting", Boolean), column("check_due", Boolean), column("stale", Boolean),
    column("soon", Boolean), column("due_id", Uuid), column("wanted", TEXT), column("put", TEXT),
    column("state", TEXT), column("looking", Boolean), column("relist", TEXT), column("stays", Boolean),
    column("cut_off", Integer), column("orphan_cut_off", Integer), column("orphan_id", Uuid),
    column("importing", Boolean),
    column("job_id", TEXT),
)  # fmt: skip
#: The account `c` has an import whose next step is due; not while it is paused.
_IMPORTING = """EXISTS (SELECT FROM live_imports i JOIN users u ON u.id = i.user_id
    WHERE i.connection_id = c.id AND i.status = 'running' AND i.next_step_at <= now()
      AND c.needs_you IS NULL AND c.paused_at IS NULL AND u.paused_at IS NULL)"""
#: Of the account's row: not what is long and only hands.py asks for.
_ACCOUNT = [one for one in Connection.__table__.c if one.name != "live_ids"]
#: The account while the lease is ours, and what is due there: a check (or the last one is `stale`), the most
#: urgent publication, an attempt given up that is to be looked for, a step of an import. In one statement:
#: of a short visit that is the most of it.
NEXT = select(Connection, *_FOUND).from_statement(
    text(f"""
    SELECT {", ".join(f"c.{one.name}" for one in _ACCOUNT)},
           coalesce(c.rest_until > now(), false) AS resting,
           coalesce(c.needs_you IS NULL AND c.next_check_at <= now(), false) AS check_due,
           coalesce(c.needs_you IS NULL
                    AND c.watched_at < now() - make_interval(secs => {FRESH_SECONDS}), false) AS stale,
           coalesce(c.needs_you IS NULL
                    AND c.next_check_at <= now() + make_interval(secs => {CHECKING_SECONDS})
                    AND c.watched_at > now() - make_interval(secs => {watch.LONG_SECONDS}), false) AS soon,
           due.id AS due_id, due.wanted, due.put, due.state, due.looking, due.relist,
           due.stays, due.cut_off, orphan.cut_off AS orphan_cut_off,
           orphan.publication_id AS orphan_id,
           :reading AND {_IMPORTING} AS importing,
           (SELECT r.job_id FROM listing_automation_results r
            WHERE r.publication_id = due.id AND r.finished_at IS NULL
            ORDER BY r.created_at DESC, r.id DESC LIMIT 1) AS job_id
    FROM connections c
    LEFT JOIN LATERAL (
        SELECT p.id, p.wanted, p.put, p.state, p.looking, p.relist,
               c.paused_at IS NOT NULL OR u.paused_at IS NOT NULL
                   OR (p.relist = 'asked' AND p.lower_asked_at IS NOT NULL) AS stays,
               {_CUT_OFF} AS cut_off {_DUE}
          AND (NOT :urgent OR {_URGENT})
        ORDER BY {_URGENT} DESC, p.looking DESC, coalesce(p.relist = 'asked', false), p.asked_at,
                 p.id LIMIT 1) due ON true
    LEFT JOIN LATERAL (
        SELECT a.publication_id, {_CUT_OFF} AS cut_off
        FROM attempts a JOIN publications p ON p.id = a.publication_id
        WHERE a.connection_id = :id AND a.outcome = 'unresolved' AND a.next_look_at <= now()
          AND c.needs_you IS NULL AND NOT :urgent ORDER BY a.next_look_at LIMIT 1) orphan ON true
    WHERE c.id = :id AND c.lease_fence = :fence AND c.lease_until > clock_timestamp()
    """).columns(*_ACCOUNT, *_FOUND)
)


@dataclass
class Tools:
    """What every visit of this process shares."""

    db: Database
    vault: Vault
    photos: Photos
    #: Newer ones take their place while it runs, where the owner changes one (everystall/choices.py).
    settings: Settings
    driver: Driver
    #: Set by SIGTERM: finish the step, hand back the rest.
    stopping: asyncio.Event
    #: Where the marketplaces are reached; the simulation (tests/simulation) brings its own.
    get_adapter: Callable[[str], Adapter] = get_adapter
    open_browser: Callable[..., AbstractAsyncContextManager[Browser]] = open_browser
    #: Where sellers sit at this worker's browsers; none: at no browser of this process.
    seats: Seats | None = None
    #: What is done about one due row, instead of what a visit does. The benchmarks' asks no marketplace.
    step: Callable[[Visit, Due], Awaitable[None]] | None = None
    presence: Presence = field(default_factory=Presence)
    #: Asked once where a target is lost and none stands out (browser/heal.py); none: that is a stop.
    model: Model | None = None
    #: Whom the last rung asks (worker/agents.py); none: there is no such rung.
    agent: ChatModel | None = None


@dataclass(frozen=True)
class Due:
    """The most urgent thing to do, as read from the rows."""

    #: look · orphan (an unresolved attempt's look) · end · still there (a take-down that crossed a new
    #: wish) · publish · revise · relist · check · list (of what is live, after these) · import
    kind: str
    publication_id: UUID | None = None
    #: The latest job that waits for it, for the log.
    job_id: str | None = None
    #: Steps of it in a row, up to now, of which nothing was written down.
    cut_off: int = 0


def _kind(wanted: str, put: str, state: str, looking: bool, relist: str | None, stays: bool) -> str:
    """`stays`: what is to be relisted is not taken down now, but may be changed."""
    if looking:
        return "look"
    if wanted == "ended":
        return "end"
    if put == "live" and relist is not None and not stays:
        return "relist"
    if put == "live":
        return "still there" if state == "ending" and relist != "asked" else "revise"
    return "publish"


def _refused(error: DBAPIError) -> Misconfigured:
    """PostgreSQL will say the same the next time: counted, and after some times its seller is asked."""
    name = type(error.orig).__name__
    log.error("step.refused_by_database", error=name)
    return Misconfigured(
        f"The database refused what was to be written ({name}).",
        action="Whoever runs Everystall finds the reason in PostgreSQL's log; then try again.",
    )


async def visit(tools: Tools, connection_id: UUID, lane: str, woken: int | None = None) -> None:
    """The body of the task: take the lease, work, hand back. Ends at once if somebody else is there.
    `woken`: the engine's number of the wake-up."""
    log.info("visit.at", at="claim", connection_id=str(connection_id))
    lease = await Lease.take(tools.db, tools.settings, connection_id)
    if lease is None:
        return
    with (
        structlog.contextvars.bound_contextvars(
            user_id=str(lease.user_id), connection_id=str(connection_id), fence=lease.fence, lane=lane
        ),
        tools.presence.holding(lease),
    ):
        async with lease:
            working = asyncio.create_task(Visit(tools, lease, lane, Traced(woken)).run())
            lost = asyncio.create_task(lease.lost.wait())
            try:
                await asyncio.wait({working, lost}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                lost.cancel()
                if not working.done():
                    working.cancel()
                with suppress(LeaseLost, asyncio.CancelledError):
                    await working


class Visit:
    """One visit. The steps are functions in watch.py, publish.py, revise.py, reconcile.py, relist.py,
    delist.py and failures.py; they take it as an argument."""

    def __init__(self, tools: Tools, lease: Lease, lane: str, traced: Traced | None = None) -> None:
        self.tools = tools
        self.lease = lease
        self.lane = lane
        self._traced = traced or Traced(None)
        self.urgent = lane == "urgent"
        #: It may take an import's steps; no other does, so that those never fill the slots for all else.
        self.reading = lane == "reading"
        #: It begins with its seller at the browser, if they wait for one.
        self.begins_sitting = lane == "sittings"
        #: The seller who sits at the browser that is open.
        self.sitting: sitting.Sitter | None = None
        #: The account, read anew by every publish: the seller may change its defaults meanwhile.
        self.connection: Connection
        #: What the opened session is used for, for the vault's audit.
        self.purpose = "post"
        #: Which session the next browser is opened with.
        self.which: Literal["newest", "last_good"] = "newest"
        #: When this visit last went to check the account, for as long as it is at it.
        self.check_claimed: datetime | None = None
        #: The reading of its list of what is live that is under way.
        self.round: hands.Round | None = None
        #: When the account's lists were last read from end to known, by time.monotonic().
        self.lists_read_at: float | None = None
        #: Where the list of orders is that of what is sold: what it just showed, and when.
        self.sold_ids: frozenset[str] = frozenset()
        self.sold_read_at: float | None = None
        #: The session as the browser has it; what a picture or a log must not show.
        self.stored: Storage | None = None
        self._stack = AsyncExitStack()
        self._browser: Browser | None = None
        self._opened: Opened | None = None
        self._proved = False
        #: It had a listing to post or to change. Where that came to no click another may have its turn, but
        #: not after a failure that the next would meet as well.
        self.turn_is_over = False
        #: As Due.cut_off, of the step that it is at.
        self.cut_off = 0
        #: What is known of the marketplace's targets, once a browser is open.
        self.healing: Healing | None = None
        #: The step is one whose fields begin empty.
        self._noting = False
        #: The highest number of a session that this visit opened or wrote.
        self._seq = 0
        #: Until when a browser that ended heard that we shall rest, by time.monotonic().
        self._rest_until = 0.0

    # ---- the loop ----

    async def run(self) -> None:
        steps, done, budget = 0, False, BUDGET_SECONDS
        try:
            if self.begins_sitting:
                if not await sitting.begin(self):
                    done = True
                    return
                budget = sitting.AFTER_SECONDS
            began = time.monotonic()
            while not self.tools.stopping.is_set():
                due = await self._next()
                if due is None:
                    if await self._linger() or (self.turn_is_over and await pace.close_up(self)):
                        continue
                    done = not self.urgent
                    break
                async with self._traced.step(self, due):
                    await self._do(due)
                steps += 1
                if steps >= BUDGET_STEPS or time.monotonic() - began > budget:
                    break
        finally:
            await self._close()
            self._traced.end()
        if not done:
            await self._wake_for_the_rest()

    async def _next(self) -> Due | None:
        """What is due now, the most urgent first: what is wanted gone; a check of the account, which is due
        by itself or comes before the visit's first step; looks; posts; the list of what is live. Nothing
        while the marketplace asked us to rest: take-downs wait, too, and their seller is told."""
        lease = self.lease
        asked = {"id": lease.connection_id, "fence": lease.fence, "urgent": self.urgent,
                 "reading": self.reading}  # fmt: skip
        async with self.tools.db.as_user(lease.user_id) as session:
            row = (await session.execute(NEXT, asked)).one_or_none()
            if row is None:
                lease.lost.set()
                raise LeaseLost
            self.know(row[0])
            if row.resting:
                return None
            work = row.importing or (row.due_id or row.orphan_id) is not None
            first = row.stale and self.check_claimed is None and work
            first = first and self.connection.checks_cut_off < failures.TRIES - 1  # else by its time alone
            # a browser that came to take something down is there already: what sold here, too, is seen by it,
            # and nobody has to open another in a minute
            beside = (
                row.soon and self.check_claimed is None and row.due_id is None and self._browser is not None
            )
            if beside if self.urgent else (row.check_due or first) and row.wanted != "ended":
                mine = await session.execute(
                    text("""UPDATE connections SET next_check_at = now() + make_interval(secs => :checking),
                                checks_cut_off = checks_cut_off + 1
                            WHERE id = :id AND lease_fence = :fence AND needs_you IS NULL
                            RETURNING next_check_at"""),
                    asked | {"checking": CHECKING_SECONDS},
                )
                claimed = mine.scalar_one_or_none()
                if claimed is not None:
                    self.check_claimed = claimed
                    return Due("check", cut_off=self.connection.checks_cut_off)
            if row.due_id is not None:
                kind = _kind(row.wanted, row.put, row.state, row.looking, row.relist, row.stays)
                if kind == "publish" and row.orphan_id is not None:  # it may be there already
                    return Due("orphan", row.orphan_id, cut_off=row.orphan_cut_off)
                return Due(kind, row.due_id, row.job_id, row.cut_off)
            if row.orphan_id is not None:
                return Due("orphan", row.orphan_id, cut_off=row.orphan_cut_off)
            if self.round is not None and self.connection.needs_you is None:
                return Due("list")
            return Due("import") if row.importing else None

    def know(self, connection: Connection) -> None:
        """The account as it stands."""
        if not hasattr(self, "connection"):
            structlog.contextvars.bind_contextvars(marketplace=connection.marketplace)
            self.adapter = self.tools.get_adapter(connection.marketplace)
            self.form = get_form(connection.marketplace)
        self.connection = connection

    async def _do(self, due: Due) -> None:
        """One step. What PostgreSQL does to everybody ends the visit: the rows stand, and the tick wakes
        it."""
        unforeseen: EverystallError | None = None
        about = {"publication_id": str(due.publication_id), "job_id": due.job_id}
        known = {name: value for name, value in about.items() if value and due.publication_id}
        with structlog.contextvars.bound_contextvars(step=due.kind, **known):
            if due.publication_id is not None and due.cut_off >= failures.TRIES:
                given_up = due.kind == "orphan"
                await (reconcile.orphan_not_read if given_up else failures.cut_off)(self, due.publication_id)
                return
            if due.kind == "check" and due.cut_off >= failures.TRIES:
                await failures.check_cut_off(self)
                return
            self.cut_off, self._noting = due.cut_off, due.kind == "publish"
            if self.healing is not None:
                self.healing.begin(noting=self._noting)
            try:
                await (self._step(due) if self.tools.step is None else self.tools.step(self, due))
            except (LeaseLost, InterfaceError):
                raise
            except (OperationalError, InternalError) as e:
                if (getattr(e.orig, "sqlstate", None) or "08")[:2] in _NOT_OF_IT:
                    raise
                self.lists_read_at = None
                unforeseen = _refused(e)
            except NotWanted as e:
                log.info("step.not_wanted", why=e.message)
                if due.publication_id is not None:
                    await failures.dropped(self, due.publication_id)
            except EverystallError as e:
                await self._failed(due, e)
            except Exception as e:
                self.lists_read_at = None
                # an error's own words may hold what it stumbled over
                said = failures.without_secrets(self, "".join(traceback.format_exception(e)))
                log.error("step.broke", traceback=said)
                unforeseen = PageChanged(f"Something we did not foresee ({type(e).__name__}).")
            await heals.keep(self)
            if unforeseen is not None:  # not above: whoever logged a failure of this would show `e` with it
                await self._failed(due, unforeseen)
            if self.rest:
                await pace.keep_rest(self, self.rest)

    def begins(self) -> dict[str, Any]:
        """What a publication's row says from here on, until it is written down what became of the step. One
        that was cut off is left alone for longer each time, so that others of the account have their turn."""
        values: dict[str, Any] = {"under_way": True, "begun_at": func.now(), "cut_off": self.cut_off}
        if self.cut_off:
            wait = backoff(self.cut_off - 1, None, random.random(), failures.END_AGAIN)
            values["next_try_at"] = func.now() + wait
        return values

    async def begin(self, session: AsyncSession, publication_id: UUID) -> datetime:
        """The same, of a row that is not changed otherwise. When that was."""
        values = self.begins()
        del values["under_way"]
        mine = update(Publication).where(Publication.id == publication_id).values(values)
        began = await session.execute(mine.returning(func.now()).execution_options(synchronize_session=False))
        now: datetime = began.scalar_one()
        return now

    async def _step(self, due: Due) -> None:
        id = due.publication_id
        if due.kind == "list":
            self.purpose = "look"
            assert self.round is not None, "there is one where a step of it is due"
            await hands.go_on(self, self.round)
        elif due.kind == "import":
            self.purpose = "import"
            await read_in.read_in(self)
        elif id is None:
            self.purpose = "check"
            await self._check()
        elif due.kind == "publish":
            self.purpose, self.turn_is_over = "post", True
            await publish.publish(self, id)
        elif due.kind == "end":
            self.purpose = "take down"
            await delist.delist(self, id)
        elif due.kind == "still there":
            self.purpose = "look"
            await delist.look_whether_it_stands(self, id)
        elif due.kind == "revise":
            self.purpose, self.turn_is_over = "change", True
            await revise.revise(self, id)
        elif due.kind == "relist":
            self.purpose = "relist"
            await relist.relist(self, id)
        else:
            self.purpose = "look"
            await (reconcile.look if due.kind == "look" else reconcile.look_for_orphan)(self, id)

    async def _failed(self, due: Due, error: EverystallError) -> None:
        await failures.count(self, error)
        if due.kind == "list":
            await hands.failed(self, error)
        elif due.kind == "import":
            await read_in.failed(self, error)
        elif due.kind == "orphan" and due.publication_id is not None:
            await failures.failed_orphan(self, due.publication_id, error)
        else:
            await failures.failed(self, due.publication_id, error)

    async def _check(self) -> None:
        """Does the sign-in still work, and is it this account's, the first time? Did anything sell?"""
        if self.has_newer_session(self.connection.session_seq):
            await self.start_over("newest")
        page = await self.page()
        assert self._opened is not None
        if not (self._opened.proved or self._proved):
            await self._identify(page)
        await self.watch()

    async def watch(self) -> None:
        """What sold there; the list of what is live is read after it where that shall be."""
        why = await watch.watch(self)
        if self.urgent and why == "due":
            return  # others wait for the slot; it is as due for the next visit
        if why == "sale" or (why == "due" and self.round is None):  # else the one that is under way goes on
            self.round = hands.Round(after_sale=why == "sale")

    async def _identify(self, page: Page) -> None:
        """Whose session is it? Raises SessionExpired if it is another account's: nothing is done there."""
        log.info("visit.at", at="session check")
        account = await self.adapter.check_session(page)
        known = self.connection.account_id
        if account.id is not None and known is not None and account.id != known:
            raise AnotherAccount(f"This session is signed in to another account at {self.label}.")
        name, called = account.name or "", self.connection.account_name or ""
        if account.id is None and name and called and name.casefold() != called.casefold():
            raise AnotherAccount(
                f"This session is signed in as “{name}” at {self.label}, and this account is “{called}”. If "
                "you renamed it there, give this account its new name here and connect it again."
            )
        async with self.lease.transaction() as session:
            connection = await session.get_one(Connection, self.lease.connection_id, populate_existing=True)
            connection.account_id = connection.account_id or account.id
            connection.account_name = account.name or connection.account_name
            self.connection = connection
        heals.keep_names_out(self)
        await self.signed_in()

    async def _linger(self) -> bool:
        """Wait for a look, or an import's step, that is due in a moment, if a browser is open for it."""
        if self._browser is None or self.urgent:
            return False
        async with self.lease.transaction() as session:
            seconds = (
                await session.execute(
                    text("""SELECT extract(epoch FROM least(
                                (SELECT min(next_try_at) FROM publications
                                 WHERE connection_id = :id AND looking AND next_try_at > now()),
                                (SELECT next_step_at FROM live_imports
                                 WHERE connection_id = :id AND status = 'running' AND next_step_at > now()
                                   AND :reading)
                            ) - now())"""),
                    {"id": self.lease.connection_id, "reading": self.reading},
                )
            ).scalar_one()
        if seconds is None or seconds > LINGER_SECONDS:
            return False
        with suppress(TimeoutError):
            await asyncio.wait_for(self.tools.stopping.wait(), float(seconds) + 0.02)
        return True

    async def _wake_for_the_rest(self) -> None:
        """What is due and was not done (budget spent, urgent lane, stopping) gets a wake-up at the back, in
        the lane that is its own."""
        async with self.lease.transaction() as session:
            left = await session.execute(
                text(f"""SELECT EXISTS (SELECT {_DUE} AND p.put = 'live' AND {_URGENT}) AS urgent,
                        EXISTS (SELECT {_DUE} AND NOT (p.put = 'live' AND {_URGENT})) AS visits,
                        {_IMPORTING} AS reading
                    FROM connections c
                    WHERE c.id = :id AND (c.rest_until IS NULL OR c.rest_until <= now())"""),
                {"id": self.lease.connection_id},
            )
            row = left.one_or_none()
            for lane, is_left in row._mapping.items() if row is not None else ():
                if is_left:
                    await engine.wake(session, [self.lease.connection_id], lane, back=True)

    # ---- the browser and its session ----

    @property
    def label(self) -> str:
        return MARKETPLACES[self.connection.marketplace]

    @property
    def rest(self) -> float:
        """Seconds that are left of the rest that the marketplace asked for in this visit; 0: it did not."""
        here = self._browser.page.rest if self._browser is not None else 0.0
        return max(self._rest_until - time.monotonic(), here)

    @property
    def open_page(self) -> Page | None:
        return self._browser.page if self._browser is not None else None

    async def page(self) -> Page:
        """The visit's page; opens vault and browser at the first call, and when the browser is gone."""
        if self._browser is not None and self._browser.page.gone:
            log.warning("browser.gone")
            await self._end_browser()
        if self._browser is None:
            if self.rest:
                raise MarketplaceBusy(f"{self.label} asks us to slow down.", retry_after=self.rest)
            log.info("visit.at", at="open session")
            self._opened = await self.tools.vault.open(
                self.lease.user_id, self.lease.connection_id, purpose=self.purpose, which=self.which
            )
            with self._opened.secret as plain:
                self.stored = Storage.from_json(json.loads(bytes(plain)))
            self._seq = max(self._seq, self._opened.seq)
            log.info("visit.at", at="start browser")
            try:
                self._browser = await self._start_browser(self.stored)
            except BrowserNotStarted:
                if not await self.tools.driver.forget_if_dead():
                    raise
                log.warning("browser.driver_gone")
                self._browser = await self._start_browser(self.stored)
            await self._remember_pages(self._browser.page)
            if not self._opened.proved and self.form.read_account(self.stored.to_json()).id is None:
                # nobody has seen yet whose it is, and it does not say so itself
                await self._identify(self._browser.page)
        return self._browser.page

    async def _remember_pages(self, page: Page) -> None:
        """Of a browser that is new in the middle of a step, the step goes on."""
        if self.healing is None:
            self.healing = await heals.remembered(self)
            self.healing.begin(noting=self._noting)
        page.healing = self.healing

    @property
    def browser(self) -> Browser | None:
        return self._browser

    @property
    def has_session(self) -> bool:
        """The open browser has the account's own session, as it was sealed."""
        return self._opened is not None

    async def blank_page(self, said: Storage) -> Page:
        """The page of a browser that is signed in nowhere and says this of itself."""
        await self._end_browser()
        self.stored = said
        self._browser = await self._start_browser(said)
        return self._browser.page

    def while_open(self, held: AbstractContextManager[object]) -> None:
        """Held until the browser ends."""
        self._stack.enter_context(held)

    async def _start_browser(self, stored: Storage) -> Browser:
        presence = self.tools.presence
        try:
            started = await self._enter_browser(stored)
        except BrowserNotStarted as e:
            presence.browser_failed = e.message
            raise
        presence.browser_failed = None
        return started

    async def _enter_browser(self, stored: Storage) -> Browser:
        return await self._stack.enter_async_context(
            self.tools.open_browser(
                site=self.adapter.site,
                base_url=self.connection.base_url,
                storage=stored,
                settings=self.tools.settings,
                deadline=self.lease.deadline,
                playwright=await self.tools.driver.get(),
                attachable=self.tools.agent is not None,
            )
        )

    async def signed_in(self) -> None:
        """The marketplace just showed us a page that only the signed-in seller gets: remember that
        this session works, and keep what it rotated to, before anything else can fail."""
        assert self._opened is not None
        assert self._browser is not None
        if not self._proved:
            self._proved = True
            await self.tools.vault.mark(self.lease.user_id, self._opened.session_id, worked=True)
        now = await self._browser.storage()
        if now == self.stored:
            return
        self.stored = now
        seq = await self.tools.vault.save_rotated(
            self.lease.user_id, self.lease.connection_id, now.to_json(),
            opened_seq=self._seq if self.which == "newest" else self._opened.seq, fence=self.lease.fence,
        )  # fmt: skip
        if seq is not None:
            self._seq, self.which = seq, "newest"

    async def note_policies(self, policies: Mapping[str, Sequence[str]]) -> None:
        """What the account has to choose from, as its form just showed it: the editor proposes that."""
        if policies and policies != self.connection.policies:
            async with self.lease.transaction() as session:
                mine = await session.get_one(Connection, self.lease.connection_id)
                mine.policies = dict(policies)
            self.connection.policies = dict(policies)

    async def note_signed_out(self) -> None:
        """The session we opened is signed out; what the site made of its cookies is not to be kept."""
        self._proved = False
        if self._opened is not None:
            await self.tools.vault.mark(self.lease.user_id, self._opened.session_id, worked=False)

    def has_newer_session(self, seq: int) -> bool:
        """Did the seller hand one over after the one that we found signed out?"""
        return 0 < self._seq < seq

    async def start_over(self, which: Literal["newest", "last_good"]) -> None:
        """Close the browser; the next one opens with this session."""
        await self._close()
        self.lists_read_at = None
        self.which = which

    async def _close(self) -> None:
        """Write rotated cookies back, then end the browser, whatever came of that: what is left of it would
        lie on the disk, cookies and all. Raises nothing of its own: the work is recorded already."""
        try:
            if self._browser is not None and self._proved and not self.lease.lost.is_set():
                await self.signed_in()
        except EverystallError as e:
            log.warning("session.not_written_back", error=e.code)
        except (SQLAlchemyError, OSError) as e:
            log.warning("session.not_written_back", error=type(e).__name__)
        finally:
            await self._end_browser()

    async def _end_browser(self) -> None:
        self._rest_until = time.monotonic() + self.rest
        browser, self._browser = self._browser, None
        sitter, self.sitting = self.sitting, None
        if sitter is not None:
            await sitter.over()
        if browser is not None:
            if browser.unlisted_hosts:
                log.info("browser.unlisted_hosts", hosts=sorted(browser.unlisted_hosts))
                home = self.tools.settings.everystall_home
                hosts.remember(home, self.connection.marketplace, browser.unlisted_hosts)
            stack, self._stack = self._stack, AsyncExitStack()
            with suppress(EverystallError):
                await stack.aclose()
        self._opened, self._proved = None, False

    # ---- rows ----

    async def find_locked(self, session: AsyncSession, publication_id: UUID) -> Publication | None:
        """The publication's row, locked; None if the seller deleted the listing meanwhile."""
        found = await session.execute(
            select(Publication).where(Publication.id == publication_id).with_for_update()
        )
        return found.scalar_one_or_none()

    async def locked(
        self, session: AsyncSession, publication_id: UUID, *, with_others: bool = False
    ) -> Publication:
        """The same, or NotWanted. `with_others`: all of the listing's, and the listing, since one more was
        sold."""
        if with_others:
            publication = (await lock_with_others(session, [publication_id])).get(publication_id)
        else:
            publication = await self.find_locked(session, publication_id)
        if publication is None:
            raise NotWanted("The listing was deleted.")
        return publication
