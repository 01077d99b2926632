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
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.browser import evidence
from everystall.browser.driver import Driver
from everystall.browser.page import Page
from everystall.browser.session import Browser, Storage, open_browser
from everystall.content.photos import Photos
from everystall.db import Database
from everystall.errors import (
    AccountLimited,
    ChallengeShown,
    EverystallError,
    LeaseLost,
    NotWanted,
    PageChanged,
    SessionExpired,
    SessionMissing,
)
from everystall.inventory.publications import backoff, change, needs_you, open_attempt, reason_of
from everystall.marketplaces import MARKETPLACES, get_adapter, get_form
from everystall.models import Connection, Publication
from everystall.settings import Settings
from everystall.vault.sessions import Opened, Vault
from everystall.worker.lease import Lease

log = structlog.get_logger()

#: Steps and seconds after which a visit goes to the back of the queue.
BUDGET_STEPS = 60
BUDGET_SECONDS = 900.0
#: A look due within this many seconds is waited for with the browser open: a new browser costs as much.
LINGER_SECONDS = 3.0
#: Failures in a row after which "it passes by itself" is no longer believed.
TRIES = 8


@dataclass(frozen=True)
class Tools:
    """What every visit of this process shares."""

    db: Database
    vault: Vault
    photos: Photos
    settings: Settings
    driver: Driver
    #: Set by SIGTERM: finish the step, hand back the rest.
    stopping: asyncio.Event


@dataclass(frozen=True)
class Due:
    """The most urgent thing to do, as read from the rows."""

    #: look · orphan (an unresolved attempt's look) · end · publish · revise · check
    kind: str
    publication_id: UUID | None = None


async def visit(tools: Tools, connection_id: UUID, lane: str) -> None:
    """The body of the task: take the lease, work, hand back. Ends at once if somebody else is there."""
    async with tools.db.as_app() as session:
        user_id = (
            await session.execute(text("SELECT everystall.connection_owner(:id)"), {"id": connection_id})
        ).scalar_one_or_none()
    if user_id is None:
        return
    lease = await Lease.take(tools.db, tools.settings, user_id, connection_id)
    if lease is None:
        return
    with structlog.contextvars.bound_contextvars(
        user_id=str(user_id), connection_id=str(connection_id), fence=lease.fence, lane=lane
    ):
        async with lease:
            working = asyncio.create_task(Visit(tools, lease, lane).run())
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
    """One visit. The steps are functions in publish.py, reconcile.py, delist.py; they take it as an
    argument."""

    def __init__(self, tools: Tools, lease: Lease, lane: str) -> None:
        self.tools = tools
        self.lease = lease
        self.urgent = lane == "urgent"
        self.connection: Connection
        #: What the opened session is used for, for the vault's audit.
        self.purpose = "post"
        self._stack = AsyncExitStack()
        self._browser: Browser | None = None
        self._opened: Opened | None = None
        self._which: Literal["newest", "last_good"] = "newest"
        self._proved = False
        self._stored: Storage | None = None
        self._seq = 0

    # ---- the loop ----

    async def run(self) -> None:
        began, steps = time.monotonic(), 0
        async with self.lease.transaction() as session:
            self.connection = await session.get_one(Connection, self.lease.connection_id)
        structlog.contextvars.bind_contextvars(marketplace=self.connection.marketplace)
        self.adapter = get_adapter(self.connection.marketplace)
        self.form = get_form(self.connection.marketplace)
        try:
            while not self.tools.stopping.is_set():
                due = await self._next()
                if due is None:
                    if await self._linger():
                        continue
                    break
                await self._do(due)
                steps += 1
                if steps >= BUDGET_STEPS or time.monotonic() - began > BUDGET_SECONDS:
                    break
        finally:
            await self._close()
        await self._wake_for_the_rest()

    async def _next(self) -> Due | None:
        """What is due now, the most urgent first: what is wanted gone, then looks, then posts."""
        async with self.lease.transaction() as session:
            row = (
                await session.execute(
                    text("""
                    SELECT p.id, p.wanted, p.put, p.looking FROM publications p
                    JOIN connections c ON c.id = p.connection_id JOIN users u ON u.id = p.user_id
                    WHERE p.connection_id = :id AND (p.unsettled OR p.looking)
                      AND (p.needs_you IS NULL OR p.looking) AND c.needs_you IS NULL
                      AND (p.next_try_at IS NULL OR p.next_try_at <= now())
                      AND (p.wanted = 'ended' OR p.looking
                           OR (c.paused_at IS NULL AND u.paused_at IS NULL))
                      AND (NOT :urgent OR p.wanted = 'ended')
                    ORDER BY p.wanted = 'ended' DESC, p.looking DESC, p.asked_at, p.id LIMIT 1"""),
                    {"id": self.lease.connection_id, "urgent": self.urgent},
                )
            ).first()
            if row is not None:
                kind = ("look" if row.looking else "end" if row.wanted == "ended"
                        else "revise" if row.put == "live" else "publish")  # fmt: skip
                return Due(kind, row.id)
            if self.urgent:
                return None
            orphan = (
                await session.execute(
                    text("""SELECT publication_id FROM attempts WHERE connection_id = :id
                            AND outcome = 'unresolved' AND next_look_at <= now()
                            ORDER BY next_look_at LIMIT 1"""),
                    {"id": self.lease.connection_id},
                )
            ).scalar_one_or_none()
            if orphan is not None:
                return Due("orphan", orphan)
            asked = await session.execute(
                text("""UPDATE connections SET next_check_at = NULL
                        WHERE id = :id AND next_check_at <= now() AND needs_you IS NULL RETURNING 1"""),
                {"id": self.lease.connection_id},
            )
            return Due("check") if asked.first() else None

    async def _do(self, due: Due) -> None:
        from everystall.worker import delist, publish, reconcile  # the steps know the visit, not we them

        id = due.publication_id
        with structlog.contextvars.bound_contextvars(step=due.kind, publication_id=str(id)):
            try:
                if due.kind == "check" or id is None:
                    await self._check()
                elif due.kind == "publish":
                    self.purpose = "post"
                    await publish.publish(self, id)
                elif due.kind == "end":
                    self.purpose = "take down"
                    await delist.delist(self, id)
                elif due.kind == "revise":
                    changed = (
                        f"You changed this listing after it was posted to {self.label}. Everystall cannot "
                    )
                    await self.flag(id, "changed_since_posted", changed + "change a live listing there yet.")
                else:
                    self.purpose = "look"
                    await (reconcile.look if due.kind == "look" else reconcile.look_for_orphan)(self, id)
            except LeaseLost:
                raise
            except NotWanted as e:
                log.info("step.not_wanted", why=e.message)
                await self._dropped(id)
            except EverystallError as e:
                await self.failed(id, e)
            except Exception as e:
                log.exception("step.broke")
                await self.failed(id, PageChanged(f"Something we did not foresee ({type(e).__name__})."))

    async def _check(self) -> None:
        """The seller asked whether the sign-in still works."""
        self.purpose = "check"
        account = await self.adapter.check_session(await self.page())
        await self.signed_in()
        async with self.lease.transaction() as session:
            connection = await session.get_one(Connection, self.lease.connection_id)
            connection.account_name = account.name or connection.account_name

    async def _linger(self) -> bool:
        """Wait for a look that is due in a moment, if a browser is open for it."""
        if self._browser is None or self.urgent:
            return False
        async with self.lease.transaction() as session:
            seconds = (
                await session.execute(
                    text("""SELECT extract(epoch FROM min(next_try_at) - now()) FROM publications
                            WHERE connection_id = :id AND looking AND next_try_at > now()"""),
                    {"id": self.lease.connection_id},
                )
            ).scalar_one()
        if seconds is None or seconds > LINGER_SECONDS:
            return False
        with suppress(TimeoutError):
            await asyncio.wait_for(self.tools.stopping.wait(), float(seconds) + 0.02)
        return True

    async def _wake_for_the_rest(self) -> None:
        """What is due and was not done (budget spent, urgent lane, stopping) gets a wake-up at the back."""
        self.urgent = False
        async with self.lease.transaction() as session:
            left = await session.execute(
                text("""SELECT 1 FROM publications p JOIN connections c ON c.id = p.connection_id
                        JOIN users u ON u.id = p.user_id
                        WHERE p.connection_id = :id AND (p.unsettled OR p.looking)
                          AND (p.needs_you IS NULL OR p.looking) AND c.needs_you IS NULL
                          AND (p.next_try_at IS NULL OR p.next_try_at <= now())
                          AND (p.wanted = 'ended' OR p.looking
                               OR (c.paused_at IS NULL AND u.paused_at IS NULL)) LIMIT 1"""),
                {"id": self.lease.connection_id},
            )
            if left.first() is not None:
                await engine.wake(session, [self.lease.connection_id], "visits")

    # ---- the browser and its session ----

    @property
    def label(self) -> str:
        return MARKETPLACES[self.connection.marketplace]

    async def page(self) -> Page:
        """The visit's page; opens vault and browser at the first call."""
        if self._browser is None:
            self._opened = await self.tools.vault.open(
                self.lease.user_id, self.lease.connection_id, purpose=self.purpose, which=self._which
            )
            with self._opened.secret as plain:
                self._stored = Storage.from_json(json.loads(bytes(plain)))
            self._seq = self._opened.seq
            self._browser = await self._stack.enter_async_context(
                open_browser(
                    site=self.adapter.site,
                    base_url=self.connection.base_url,
                    storage=self._stored,
                    settings=self.tools.settings,
                    deadline=self.lease.deadline,
                    playwright=await self.tools.driver.get(),
                )
            )
        return self._browser.page

    async def signed_in(self) -> None:
        """The marketplace just showed us a page that only the signed-in seller gets: remember that
        this session works, and keep what it rotated to, before anything else can fail."""
        assert self._opened is not None
        assert self._browser is not None
        if not self._proved:
            self._proved = True
            await self.tools.vault.mark(self.lease.user_id, self._opened.session_id, worked=True)
        now = await self._browser.storage()
        if now == self._stored:
            return
        self._stored = now
        seq = await self.tools.vault.save_rotated(
            self.lease.user_id, self.lease.connection_id, now.to_json(),
            opened_seq=self._seq, fence=self.lease.fence,
        )  # fmt: skip
        self._seq = seq or self._seq

    async def _close(self) -> None:
        """Write rotated cookies back, then end the browser. Never raises: the work is recorded already."""
        if self._browser is not None and self._proved and not self.lease.lost.is_set():
            try:
                await self.signed_in()
            except EverystallError as e:
                log.warning("session.not_written_back", error=e.code)
        browser, self._browser = self._browser, None
        if browser is not None:
            if browser.unlisted_hosts:
                log.info("browser.unlisted_hosts", hosts=sorted(browser.unlisted_hosts))
            with suppress(EverystallError):
                await self._stack.aclose()
            self._stack = AsyncExitStack()
        self._opened, self._proved = None, False

    # ---- what a failure becomes ----

    async def failed(self, publication_id: UUID | None, error: EverystallError) -> None:
        """Give a failure its fate: again later, a question to the seller, or our own bug."""
        log.warning("step.failed", error=error.code, message=error.message, fate=error.fate)
        if isinstance(error, SessionExpired | SessionMissing) and await self._try_last_good(error):
            await self._dropped(publication_id)
            return
        evidence_ = await self._evidence() if error.fate != "retry" else None
        if isinstance(error, SessionExpired | SessionMissing):
            said = (
                f"{self.label} no longer knows your sign-in. Nothing was lost: connect it again and the work "
            )
            await self._flag_account("session_expired", said + "goes on.", evidence_)
        elif isinstance(error, ChallengeShown):
            await self._flag_account("challenge", f"{error.message} We stopped there: only you may answer "
                                     "it.", evidence_)  # fmt: skip
        elif publication_id is None:
            return
        elif isinstance(error, AccountLimited):
            await self._flag_posts("account_limited", error.message, evidence_)
        elif error.fate == "retry":
            await self._again_later(publication_id, error)
        else:
            await self.flag(publication_id, reason_of(error), error.message, evidence=evidence_)

    async def flag(
        self, publication_id: UUID, reason: str, message: str, *, url: str | None = None,
        evidence: dict[str, Any] | None = None, **values: Any
    ) -> None:  # fmt: skip
        """This publication waits for the seller now."""
        async with self.lease.transaction() as session:
            publication = await self.locked(session, publication_id)
            await self._flag(session, publication, reason, message, url, evidence, **values)

    async def _flag(
        self, session: AsyncSession, publication: Publication, reason: str, message: str,
        url: str | None, evidence: dict[str, Any] | None, **values: Any
    ) -> None:  # fmt: skip
        attempt = await open_attempt(session, publication)
        if attempt is not None:
            attempt.error = f"{reason}: {message}"
            attempt.evidence = evidence or attempt.evidence
        state = publication.state
        if state in ("composing", "filling"):
            state = "waiting"
        await change(
            session, publication, state=state, finished_at=func.now(),
            needs_you=needs_you(publication, self.connection.public_id, reason, message,
                                url or publication.url or self.connection.base_url), **values,
        )  # fmt: skip

    async def _flag_account(self, reason: str, message: str, evidence_: dict[str, Any] | None) -> None:
        """The account cannot be visited: so says the connection and every publication that is due there."""
        async with self.lease.transaction() as session:
            connection = await session.get_one(Connection, self.lease.connection_id)
            connection.needs_you = {"reason": reason, "message": message, "url": connection.base_url}
            await self._flag_all(session, reason, message, evidence_, posts_only=False)
        await self._close()

    async def _flag_posts(self, reason: str, message: str, evidence_: dict[str, Any] | None) -> None:
        async with self.lease.transaction() as session:
            await self._flag_all(session, reason, message, evidence_, posts_only=True)

    async def _flag_all(
        self, session: AsyncSession, reason: str, message: str, evidence_: dict[str, Any] | None,
        *, posts_only: bool
    ) -> None:  # fmt: skip
        waiting = select(Publication).where(
            Publication.connection_id == self.lease.connection_id,
            Publication.unsettled | Publication.looking,
            Publication.needs_you.is_(None),
        )
        if posts_only:
            waiting = waiting.where(Publication.wanted == "live", Publication.looking.is_(False))
        for publication in (await session.scalars(waiting.order_by(Publication.id).with_for_update())).all():
            await self._flag(session, publication, reason, message, None, evidence_)

    async def _again_later(self, publication_id: UUID, error: EverystallError) -> None:
        async with self.lease.transaction() as session:
            publication = await self.locked(session, publication_id)
            tries = publication.tries + 1
            if tries >= TRIES and not publication.looking:
                said = f"{self.label} did not answer {tries} times in a row: {error.message}"
                await self._flag(session, publication, "marketplace_busy", said, None, None, tries=tries)
                return
            wait = backoff(tries - 1, getattr(error, "retry_after", None), random.random())
            state = ("reconciling" if publication.looking else "ending" if publication.wanted == "ended"
                     else "waiting")  # fmt: skip
            await change(session, publication, tries=tries, next_try_at=func.now() + wait, state=state)

    async def _try_last_good(self, error: EverystallError) -> bool:
        """The newest session is signed out: the last one that worked gets one try in this visit."""
        if self._which == "last_good":
            return False
        if self._opened is not None:
            await self.tools.vault.mark(self.lease.user_id, self._opened.session_id, worked=False)
        self._which = "last_good"
        self._proved = False
        await self._close()
        try:
            await self.page()
        except (SessionMissing, SessionExpired):
            return False
        log.info("session.last_good_tried", instead_of=error.code)
        return True

    async def _dropped(self, publication_id: UUID | None) -> None:
        """Nothing was clicked: back to waiting, unless someone already decided otherwise."""
        if publication_id is None:
            return
        async with self.lease.transaction() as session:
            publication = await self.locked(session, publication_id)
            if publication.state in ("composing", "filling"):
                await change(session, publication, state="waiting")

    async def _evidence(self) -> dict[str, Any] | None:
        if self._browser is None:
            return None
        try:
            return await evidence.capture(
                self._browser.page, self.tools.settings.everystall_home / "evidence", self._secrets()
            )
        except EverystallError as e:
            log.warning("evidence.none", error=e.code)
            return None

    def _secrets(self) -> Sequence[str]:
        stored = self._stored.to_json() if self._stored else {}
        return [
            *(cookie["value"] for cookie in stored.get("cookies", ())),
            *stored.get("localStorage", {}).values(),
            *stored.get("sessionStorage", {}).values(),
        ]

    # ---- rows ----

    async def locked(self, session: AsyncSession, publication_id: UUID) -> Publication:
        """The publication's row, locked. NotWanted if it is gone."""
        found = await session.execute(
            select(Publication).where(Publication.id == publication_id).with_for_update()
        )
        publication = found.scalar_one_or_none()
        if publication is None:
            raise NotWanted("The listing was deleted.")
        return publication
