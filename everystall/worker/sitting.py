"""A sitting, as its visit has it: the browser is opened for the seller, handed to them where the marketplace
asks for a person, and taken back as soon as it does not any more; then the visit goes on in it.

A challenge is answered with the account's own session, which is written back. A sign-in begins with none:
what the seller signs in to there is the worker's own session, shared with no other browser. Nothing that they
type is read, kept or logged; no picture of the page is taken for a failure while it is theirs.
"""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from everystall import engine
from everystall.browser.screen import Screen
from everystall.browser.session import Storage
from everystall.errors import (
    BrowserEnded,
    ChallengeShown,
    EverystallError,
    LeaseLost,
    SealBroken,
    SessionExpired,
    SessionMissing,
)
from everystall.inventory import sittings
from everystall.inventory.connections import go_on
from everystall.inventory.handover import Handover, take
from everystall.marketplaces.base import Account
from everystall.models import ApiToken, Attempt, Connection, Sitting, User
from everystall.worker import failures
from everystall.worker.seats import Seat

if TYPE_CHECKING:
    from everystall.worker.visit import Visit

log = structlog.get_logger()

#: Seconds between two looks at the page, and between two at the sitting's row.
LOOK_SECONDS, ROW_SECONDS = 0.6, 2.0
#: So long the seller has done nothing before we look by ourselves whether it is done: that opens another
#: page.
CALM_SECONDS = 1.5
#: Seconds that the visit goes on in the seller's browser, before it hands back the rest.
AFTER_SECONDS = 90.0
#: What the vault's audit says.
PURPOSE: Final = "open it for you"

Outcome = Literal["done", "closed", "left", "long", "failed"]


async def begin(visit: Visit) -> bool:
    """Opens the account's browser for its seller, if they wait for one, and hands it over. Whether the visit
    may go on in it: the account's own session is good again."""
    seats = visit.tools.seats
    async with visit.lease.transaction() as session:
        row = await sittings.find_open(session, visit.lease.connection_id)
        connection = await session.get_one(Connection, visit.lease.connection_id)
        session.expunge_all()
    if row is None or seats is None:
        return False
    visit.know(connection)
    visit.purpose = PURPOSE
    log.info("sitting.opened", sitting_id=str(row.id), purpose=row.purpose)
    try:
        asked = await _open(visit, signs_in=row.purpose == "sign_in")
        assert visit.browser is not None
        seat = Seat(visit.lease.user_id, visit.lease.connection_id, Screen(visit.browser.page))
        sitting = visit.sitting = Sitter(visit, row, seat)
        visit.while_open(seats.seat(row.id, seat))
        if not await sitting.serve_at(seats.address):
            return False
        if asked is None and row.purpose == "challenge":
            return await sitting.proved()
        return await sitting.hand_over(asked)
    except (LeaseLost, SQLAlchemyError):
        raise
    except EverystallError as e:
        log.warning("sitting.failed", error=e.code, message=e.message)
        await _fail(visit, row, f"{e.message} {e.action}")
    except Exception as e:
        said = failures.without_secrets(visit, "".join(traceback.format_exception(e)))
        log.error("sitting.broke", traceback=said)
        await _fail(visit, row, "Something went wrong that we did not foresee. Open it again.")
    return False


async def _fail(visit: Visit, row: Sitting, said: str) -> None:
    async with visit.tools.db.as_user(visit.lease.user_id) as session:
        await sittings.end(session, row.id, "failed", said)


async def _open(visit: Visit, *, signs_in: bool) -> EverystallError | None:
    """The browser, where the marketplace asks for a person; what it asks, if anything."""
    if not signs_in:
        try:
            page = await visit.page()
            if (asked_at := await _asked_at(visit)) is not None:
                await page.goto(asked_at)
            await visit.adapter.check_session(page)
            return None
        except (SessionMissing, SealBroken):
            pass  # it ended meanwhile: they sign in anew
        except (LeaseLost, BrowserEnded):
            raise
        except EverystallError as e:
            if visit.browser is None:
                raise
            return e
    page = await visit.blank_page(await _said_of_browser(visit))
    try:
        await page.goto(visit.form.SIGN_IN_PATH)
    except (SessionExpired, ChallengeShown) as e:
        return e
    return None


async def _asked_at(visit: Visit) -> str | None:
    """The page on which the marketplace asked for a person, if it was a listing's. A site may ask on some
    pages only."""
    async with visit.lease.transaction() as session:
        url: str | None = await session.scalar(
            select(Attempt.evidence["url"].astext)
            .where(Attempt.connection_id == visit.lease.connection_id, Attempt.error.startswith("challenge:"))
            .order_by(Attempt.created_at.desc()).limit(1)
        )  # fmt: skip
    return url if url and url.startswith(visit.connection.base_url + "/") else None


async def _said_of_browser(visit: Visit) -> Storage:
    """What a new sign-in's browser says of itself: as the account's last session, else as the browser at
    which the seller sits, unless that is a phone's. No cookie of either."""
    try:
        opened = await visit.tools.vault.open(
            visit.lease.user_id, visit.lease.connection_id, purpose=PURPOSE, which="newest"
        )
        with opened.secret as plain:
            last = Storage.from_json(json.loads(bytes(plain)))
        return Storage(user_agent=last.user_agent, languages=last.languages, time_zone=last.time_zone)
    except (SessionMissing, SealBroken):
        pass
    async with visit.lease.transaction() as session:
        agent = await session.scalar(
            select(ApiToken.user_agent)
            .where(ApiToken.kind == "browser", ApiToken.user_agent.regexp_match("Chrome/"),
                   ~ApiToken.user_agent.regexp_match("Mobile|Android|iPhone"))
            .order_by(ApiToken.last_used_at.desc().nulls_last()).limit(1)
        )  # fmt: skip
        time_zone = await session.scalar(select(User.time_zone))
    return Storage(user_agent=agent, time_zone=time_zone)


class Sitter:
    """The seller who sits at a visit's browser."""

    def __init__(self, visit: Visit, row: Sitting, seat: Seat) -> None:
        self._visit, self.id, self._seat = visit, row.id, seat
        self._asked_at = row.asked_at
        #: With no session of the account's that could be written back.
        self._signs_in = not visit.has_session
        self._is_good = False
        #: How it ended; None: it is open, and so it stays for who comes after us.
        self._outcome: Outcome | None = None
        #: The address at which we looked and it was not done: not looked at again by ourselves, unless it
        #: asks for a person meanwhile.
        self._looked_at: str | None = None

    async def serve_at(self, address: str) -> bool:
        """Whether somebody still waits for it."""
        return await self._write(address=address, opened_at=func.coalesce(Sitting.opened_at, func.now()))

    async def hand_over(self, asked: EverystallError | None) -> bool:
        """The browser is the seller's until the marketplace asks for nobody any more. Whether it is ours
        again, signed in as the account that we know. In the middle of a visit only a seller who is there is
        asked."""
        try:
            return self._outcome is None and await self._hand_over(asked)
        except BrowserEnded as e:
            await self._end("failed", f"{e.message} {e.action}")
            return False

    async def _hand_over(self, asked: EverystallError | None) -> bool:
        visit, seat = self._visit, self._seat
        self._signs_in = self._signs_in or isinstance(asked, SessionExpired)
        label = visit.label
        said = asked.message if asked is not None else f"Sign in to {label}."
        log.info("sitting.yours", asked=asked.code if asked is not None else None)
        await seat.turn_to("yours", said.rstrip(".") + ".")
        calm, looked = 0, time.monotonic()
        while not visit.tools.stopping.is_set():
            await asyncio.sleep(LOOK_SECONDS)
            if time.monotonic() - looked > ROW_SECONDS:
                looked = time.monotonic()
                if not await self._still_wanted():
                    return False
            if refused := await seat.screen.back_inside():
                said = f"That leads to {refused}, which is not {label}'s own: it does not open here."
                await seat.turn_to("yours", f"{said} Sign in with your {label} name and password.")
            calm = calm + 1 if await self._looks_done() else 0
            if seat.done.is_set() or calm >= 2:
                calm = 0
                if (answer := await self._look()) is not None:
                    return answer
        return False

    @property
    def attended(self) -> bool:
        return self._seat.attended

    async def _looks_done(self) -> bool:
        """Nothing that asks for a person is on the page, and the seller is at rest. Looks only, so that
        nothing is taken from under their hands."""
        browser = self._visit.browser
        assert browser is not None
        try:
            await browser.page.look_out()
        except (LeaseLost, BrowserEnded):
            raise
        except EverystallError:
            self._looked_at = None
            return False
        if time.monotonic() - self._seat.touched_at < CALM_SECONDS or browser.page.url == self._looked_at:
            return False
        names = self._visit.form.SIGN_IN_COOKIES if self._signs_in else ()
        return not names or set(names) <= await browser.cookie_names()

    async def _look(self) -> bool | None:
        """Is somebody signed in? None: no, it is still the seller's."""
        visit, seat = self._visit, self._seat
        assert visit.browser is not None
        page = visit.browser.page
        self._looked_at = page.url
        await seat.turn_to("ours", "We look whether it is done.")
        try:
            account = await visit.adapter.check_session(page)
            if (other := self._another(account)) is not None:
                raise SessionExpired(other)
        except (LeaseLost, BrowserEnded):
            raise
        except EverystallError as e:
            if isinstance(e, SessionExpired):
                self._signs_in = True
            self._looked_at = page.url
            await seat.turn_to("yours", f"It is not done yet: {e.message.rstrip('.')}.")
            return None
        return await (self._signed_in(account) if self._signs_in else self.proved())

    def _another(self, account: Account) -> str | None:
        """What to say if it is another account than the one that this is."""
        known, visit = self._visit.connection, self._visit
        id, name = known.account_id, known.account_name
        if account.id is not None and id is not None:
            same = account.id == id
        else:
            same = not (account.name and name) or account.name.casefold() == name.casefold()
        if same:
            return None
        here = f"You are signed in as {account.name or account.id}, and this account is {name or id}"
        return f"{here}. Sign out of {visit.label} and sign in to that one"

    async def proved(self) -> bool:
        """The account's own session is good again; what it has become is kept, and what waited goes on."""
        visit = self._visit
        await visit.signed_in()
        said = f"{visit.label} lets us in again. What waited goes on by itself: you may leave."
        async with visit.lease.transaction() as session:
            connection = await session.get_one(
                Connection, visit.lease.connection_id, populate_existing=True, with_for_update=True
            )
            await go_on(session, connection)
            connection.next_check_at = func.now()
            await engine.wake(session, [connection.id])
        self._is_good = True
        await self._seat.turn_to("ours", said)
        log.info("sitting.proved")
        return True

    async def _signed_in(self, account: Account) -> bool:
        """What the seller signed in to here is handed over, as one of their own browser's would be; the visit
        that it wakes goes on with it."""
        visit = self._visit
        assert visit.browser is not None
        storage = (await visit.browser.storage()).to_json()
        async with visit.lease.transaction() as session:
            blank = visit.connection.session_seq == 0 and visit.connection.account_id is None
            taken = await take(
                session, visit.tools.vault, visit.tools.settings, visit.lease.user_id,
                Handover(
                    marketplace=visit.connection.marketplace, cookies=storage["cookies"],
                    local_storage=storage["localStorage"], session_storage=storage["sessionStorage"],
                    user_agent=storage["userAgent"], languages=storage["languages"],
                    time_zone=storage["timeZone"], captured_at=datetime.now(UTC),
                    browser_profile_id=visit.connection.public_id,
                ),
                proved=account,
            )  # fmt: skip
            name = f" as {taken.connection.account_name}" if taken.connection.account_name else ""
            self._outcome = "done"
            said = f"Signed in to {visit.label}{name}. What waits there goes on by itself."
            await sittings.end(session, self.id, "done", said)
            if taken.elsewhere and blank:
                await session.execute(
                    update(Sitting).where(Sitting.connection_id == visit.lease.connection_id)
                    .values(connection_id=taken.connection.id)
                )  # fmt: skip
                await session.execute(delete(Connection).where(Connection.id == visit.lease.connection_id))
        log.info("sitting.signed_in")
        return False

    async def _still_wanted(self) -> bool:
        """Writes down that the seller is there; ends it where they are not, or it takes too long."""
        rest = time.monotonic() - self._seat.touched_at
        if rest > sittings.IDLE.total_seconds():
            await self._end("left", "Nobody did anything for ten minutes, so the browser was closed.")
            return False
        if datetime.now(UTC) - self._asked_at > sittings.LONGEST:
            await self._end("long", "After half an hour the browser is closed. Open it again to go on.")
            return False
        left = sittings.IDLE - timedelta(seconds=rest)
        until = func.least(Sitting.asked_at + sittings.LONGEST, func.now() + left)
        seen = {"seen_at": func.now()} if self.attended else {}
        if await self._write(until=until, **seen):
            return True
        self._outcome = "closed"  # by its seller, who wrote so
        return False

    async def over(self) -> None:
        """Its browser is about to end. One that nobody ended stays open for the worker that comes next."""
        try:
            if self._outcome is None and self._is_good:
                await self._end("done", self._seat.said)
            elif self._outcome is None and not self._visit.lease.lost.is_set():
                await self._write(address=None)
        except (SQLAlchemyError, OSError, EverystallError) as e:
            log.warning("sitting.not_ended", error=type(e).__name__)
        with suppress(OSError):
            await self._seat.leave()

    async def _end(self, outcome: Outcome, said: str) -> None:
        self._outcome = outcome
        async with self._visit.tools.db.as_user(self._visit.lease.user_id) as session:
            await sittings.end(session, self.id, outcome, said)

    async def _write(self, **values: object) -> bool:
        async with self._visit.lease.transaction() as session:
            written = await session.execute(
                update(Sitting).where(Sitting.id == self.id, Sitting.ended_at.is_(None)).values(**values)
                .returning(Sitting.id)
            )  # fmt: skip
            return written.first() is not None
