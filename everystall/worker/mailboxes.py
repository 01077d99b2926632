"""Sellers' mailboxes, watched for mails about sales: one connection each, held by one worker at a time.

A mailbox is claimed for a minute, and the claim renewed while it is watched; when its worker dies, another
takes it over. What came before the first look is no news. What is wrong for long is told once.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database
from everystall.errors import EverystallError
from everystall.inventory import mailboxes, sale_mails
from everystall.inventory.mailboxes import MOST
from everystall.inventory.sale_mails import SaleTold
from everystall.models import Mailbox
from everystall.notify import messages
from everystall.settings import Settings
from everystall.vault.sessions import Vault
from everystall.worker.imap import Failed, Inbox, Refused

log = structlog.get_logger()

CLAIM = timedelta(seconds=60)
#: Seconds of one wait for new mail: the claim is renewed between two, and what came just before one began is
#: seen after it.
IDLE_SECONDS = 10.0
#: After a failure it is tried again so much later; told when it goes on for so long.
AGAIN = timedelta(seconds=60)
TOLD_AFTER = timedelta(minutes=15)
T = TypeVar("T")


@dataclass
class _Watch:
    """One mailbox, for as long as it is ours: what is recorded of it needs the claim."""

    user_id: UUID
    claim: datetime
    inbox: Inbox | None = None


class Mailboxes:
    """Those that this worker watches. `context`: whose certificates are believed."""

    def __init__(
        self, db: Database, vault: Vault, settings: Settings, *, context: ssl.SSLContext | None = None
    ) -> None:
        self.db, self.vault, self.settings = db, vault, settings
        self._policy = mailboxes.policy_of(settings)
        self._context = context or ssl.create_default_context()
        self._threads = ThreadPoolExecutor(MOST, thread_name_prefix="mailbox")
        self._tasks: set[asyncio.Task[None]] = set()

    async def look_after(self) -> None:
        """Takes what nobody watches, as far as there is room."""
        room = MOST - len(self._tasks)
        if room == 0:
            return
        async with self.db.as_app() as session:
            asked = text("SELECT user_id, claimed_until FROM everystall.take_mailboxes(:n, :claim)")
            rows = (await session.execute(asked, {"n": room, "claim": CLAIM})).all()
        for row in rows:
            task = asyncio.create_task(self._watch(row.user_id, row.claimed_until))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, do: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, do)

    async def _watch(self, user_id: UUID, claim: datetime) -> None:
        structlog.contextvars.bind_contextvars(user_id=str(user_id))  # this task is this mailbox's
        watch = _Watch(user_id, claim)
        try:
            await self._read(watch)
        except Refused:
            await self._failed(watch, "refused")
        except (SQLAlchemyError, EverystallError) as e:
            log.warning("mailbox.left", error=type(e).__name__)  # whoever takes it next tries again
        except Exception as e:
            if isinstance(e, Failed):
                log.warning("mailbox.failed", error=type(e).__name__)
            else:  # the error's own words may hold what it stumbled over
                log.error("mailbox.broke", error=type(e).__name__)
            await self._failed(watch, type(e).__name__)
        finally:
            if watch.inbox is not None:
                watch.inbox.client.shutdown()  # and ends what its thread waits for

    async def _read(self, watch: _Watch) -> None:
        user_id = watch.user_id
        async with self.db.as_user(user_id) as session:
            box = await _claimed(session, watch.claim)
            if box is None:
                return
            secret = await self.vault.open_mailbox(session, box)
        inbox = await self._in_thread(lambda: Inbox(box.host, box.port, self._policy, self._context))
        watch.inbox = inbox
        with secret as plain:
            password = bytes(plain).decode()
        valid_for, last = await self._in_thread(lambda: inbox.enter(box.username, password))
        if box.uid_validity == valid_for and box.last_uid is not None:
            last = box.last_uid
        while True:
            last, mails = await self._in_thread(partial(inbox.newer, last))
            for told in mails:
                await self._take(user_id, told)
            if not await self._renew(watch, valid_for, last):
                return
            await self._in_thread(lambda: inbox.wait(IDLE_SECONDS))

    async def _take(self, user_id: UUID, told: SaleTold) -> None:
        """One that cannot be taken is left, and those after it are not."""
        try:
            async with self.db.as_user(user_id) as session:
                await sale_mails.take(session, user_id, told)
        except (OperationalError, InterfaceError, InternalError):  # the database's, not the mail's
            raise
        except Exception as e:
            log.error("mail.not_taken", error=type(e).__name__)

    async def _renew(self, watch: _Watch, valid_for: int, last: int) -> bool:
        """False: it is another's now, or changed, or gone."""
        async with self.db.as_user(watch.user_id) as session:
            box = await _claimed(session, watch.claim)
            if box is None:
                return False
            now = (await session.execute(select(func.clock_timestamp()))).scalar_one()
            box.claimed_until, box.checked_at = now + CLAIM, now
            box.uid_validity, box.last_uid = valid_for, last
            box.failing_since = box.failing_why = box.told_at = None
        watch.claim = now + CLAIM
        return True

    async def _failed(self, watch: _Watch, why: str) -> None:
        """A name or password that is refused is told at once, and rests until it is changed. What was changed
        meanwhile did not fail."""
        async with self.db.as_user(watch.user_id) as session:
            box = await _claimed(session, watch.claim)
            if box is None:
                return
            now = (await session.execute(select(func.clock_timestamp()))).scalar_one()
            box.failing_since, box.failing_why = box.failing_since or now, why
            box.claimed_until = None if why == "refused" else now + AGAIN
            if box.told_at is None and (why == "refused" or now - box.failing_since > TOLD_AFTER):
                box.told_at = now
                said = mailboxes.said_of(box)
                await messages.record(
                    session, watch.user_id, "mailbox.failed", {"host": box.host, "message": said}
                )


async def _claimed(session: AsyncSession, claim: datetime) -> Mailbox | None:
    asked = select(Mailbox).where(Mailbox.claimed_until == claim).with_for_update()
    return (await session.scalars(asked)).one_or_none()
