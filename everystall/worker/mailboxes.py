"""Sellers' mailboxes, watched for mails about sales: one connection each, held by one worker at a time.

A mailbox is claimed for a minute, and the claim renewed while it is watched; when its worker dies, another
takes it over. What came before the first look is no news. What is wrong for long is told once.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database
from everystall.errors import EverystallError
from everystall.inventory import mailboxes, sale_mails
from everystall.models import Mailbox
from everystall.notify import messages
from everystall.settings import Settings
from everystall.vault.sessions import Vault
from everystall.worker.imap import Failed, Inbox, Refused

log = structlog.get_logger()

#: Mailboxes that one worker watches: each holds a thread.
MOST = 50
CLAIM = timedelta(seconds=60)
#: Seconds of one wait for new mail: the claim is renewed between two, and what came just before one began is
#: seen after it.
IDLE_SECONDS = 10.0
#: After a failure it is tried again so much later; told when it goes on for so long.
AGAIN = timedelta(seconds=60)
TOLD_AFTER = timedelta(minutes=15)
T = TypeVar("T")


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
        opened: list[Inbox] = []
        try:
            await self._read(user_id, claim, opened)
        except Refused:
            await self._failed(user_id, "refused")
        except Failed as e:
            log.warning("mailbox.failed", error=type(e).__name__)
            await self._failed(user_id, type(e).__name__)
        except (SQLAlchemyError, EverystallError) as e:
            log.warning("mailbox.left", error=type(e).__name__)  # whoever takes it next tries again
        finally:
            for inbox in opened:
                inbox.client.shutdown()  # and ends what its thread waits for

    async def _read(self, user_id: UUID, claim: datetime, opened: list[Inbox]) -> None:
        async with self.db.as_user(user_id) as session:
            box = await _claimed(session, claim)
            if box is None:
                return
            secret = await self.vault.open_mailbox(session, box)
        inbox = await self._in_thread(lambda: Inbox(box.host, box.port, self._policy, self._context))
        opened.append(inbox)
        with secret as plain:
            password = bytes(plain).decode()
        valid_for, last = await self._in_thread(lambda: inbox.enter(box.username, password))
        if box.uid_validity == valid_for and box.last_uid is not None:
            last = box.last_uid
        while True:
            last, mails = await self._in_thread(partial(inbox.newer, last))
            for raw in mails:
                told = sale_mails.read(sale_mails.parse(raw))
                if told is not None:
                    async with self.db.as_user(user_id) as session:
                        await sale_mails.take(session, user_id, told)
            renewed = await self._renew(user_id, claim, valid_for, last)
            if renewed is None:
                return
            claim = renewed
            await self._in_thread(lambda: inbox.wait(IDLE_SECONDS))

    async def _renew(self, user_id: UUID, claim: datetime, valid_for: int, last: int) -> datetime | None:
        """None: it is another's now, or changed, or gone."""
        async with self.db.as_user(user_id) as session:
            box = await _claimed(session, claim)
            if box is None:
                return None
            now = (await session.execute(select(func.clock_timestamp()))).scalar_one()
            box.claimed_until, box.checked_at = now + CLAIM, now
            box.uid_validity, box.last_uid = valid_for, last
            box.failing_since = box.failing_why = box.told_at = None
            return box.claimed_until

    async def _failed(self, user_id: UUID, why: str) -> None:
        """A name or password that is refused is told at once, and rests until it is changed."""
        async with self.db.as_user(user_id) as session:
            box = await session.scalar(select(Mailbox).with_for_update())
            if box is None:
                return
            now = (await session.execute(select(func.clock_timestamp()))).scalar_one()
            box.failing_since, box.failing_why = box.failing_since or now, why
            box.claimed_until = None if why == "refused" else now + AGAIN
            if box.told_at is None and (why == "refused" or now - box.failing_since > TOLD_AFTER):
                box.told_at = now
                said = mailboxes.said_of(box)
                await messages.record(session, user_id, "mailbox.failed", {"host": box.host, "message": said})


async def _claimed(session: AsyncSession, claim: datetime) -> Mailbox | None:
    asked = select(Mailbox).where(Mailbox.claimed_until == claim).with_for_update()
    return (await session.scalars(asked)).one_or_none()
