"""Sends what is due to sellers' channels: mails, pushes, other services. What is due together is one message.
A delivery is claimed before it is sent and recorded after; whoever dies between the two leaves it to be sent
again when the claim is over, under the same tag where the channel knows one.

No transaction is open while anybody answers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database
from everystall.errors import EverystallError
from everystall.models import Channel, Event, NoticeDelivery, User
from everystall.notify import channels, messages, notices, push, services, webhooks, words
from everystall.notify.push import Vapid
from everystall.notify.webhooks import Outcome, Sender
from everystall.notify.words import Told
from everystall.settings import Settings
from everystall.vault.sessions import Vault

log = structlog.get_logger()

#: Channels that are sent to at once, in one worker: mails and services take a process each.
AT_ONCE: Final = 4
#: Seconds until the next try, after the first failure, the second …: 11 hours in all.
BACKOFF: Final = (10, 60, 300, 1800, 3600, 7200, 10_800, 14_400)
#: What no later try mends.
_FOR_GOOD: Final = ("refused_address", "unusable")
#: Failures in a row after which the seller is told in the app: one message's take half an hour.
TELL_AFTER: Final = 5
#: Of many in one message.
LISTED: Final = 30


@dataclass(frozen=True)
class Claim:
    channel_id: UUID
    user_id: UUID
    #: Until when nobody else takes what was taken; also what its outcome is recorded under.
    until: datetime


@dataclass(frozen=True)
class Message:
    """One message, ready to go. `several`: what stands in it one by one."""

    deliveries: tuple[UUID, ...]
    title: str
    text: str
    href: str
    tag: str
    #: Where that leads.
    page: str
    urgent: bool = False
    several: tuple[Told, ...] = ()
    #: What the log says of it.
    about: Mapping[str, str] = field(default_factory=dict)


class Outgoing:
    """What sending to channels needs: one per worker."""

    at_once = AT_ONCE

    def __init__(
        self, db: Database, vault: Vault, settings: Settings, vapid: Vapid, *, to_push: Sender | None = None
    ) -> None:
        self.db, self.vault, self.settings, self.vapid = db, vault, settings, vapid
        self.to_push = to_push or Sender(webhooks.policy_of(settings))

    async def close(self) -> None:
        await self.to_push.close()

    async def claim(self, most: int) -> list[Claim]:
        async with self.db.as_app() as session:
            rows = await session.execute(
                text("SELECT channel_id, user_id, claimed_until FROM everystall.due_notices(:n)"), {"n": most}
            )
            return [Claim(row.channel_id, row.user_id, row.claimed_until) for row in rows]

    async def deliver_one(self, claim: Claim) -> None:
        """Whatever happens, the others go on; what is not recorded is tried again when the claim ends."""
        with structlog.contextvars.bound_contextvars(
            channel_id=str(claim.channel_id), user_id=str(claim.user_id)
        ):
            try:
                async with self.db.as_user(claim.user_id) as session:
                    channel, where, messages = await self._prepare(session, claim)
                if channel is None:
                    return
                for message in messages:
                    with structlog.contextvars.bound_contextvars(**message.about):
                        outcome = await self._send(channel, where, message)
                        async with self.db.as_user(claim.user_id) as session:
                            await _record(session, claim, message, outcome)
            except EverystallError as e:
                log.error("notice.not_sent", error=e.code)
                async with self.db.as_user(claim.user_id) as session:
                    await _give_up(session, claim)
            except Exception as e:
                # by its name alone: its text may hold an address or a secret
                log.warning("notice.not_recorded", error=type(e).__name__)

    async def _prepare(
        self, session: AsyncSession, claim: Claim
    ) -> tuple[Channel | None, str, list[Message]]:
        """The channel, where it leads, and what goes there; nothing where what was claimed is another's by
        now."""
        rows = (
            await session.execute(
                select(NoticeDelivery, Event)
                .outerjoin(Event, Event.id == NoticeDelivery.event_id)
                .where(*_claimed(claim))
                .order_by(NoticeDelivery.created_at)
            )
        ).all()
        channel = await session.get(Channel, claim.channel_id)
        if channel is None or not rows:
            return None, "", []
        with await self.vault.open_channel(session, channel) as plain:
            where = bytes(plain).decode()
        email = await session.scalar(select(User.email))
        messages = []
        for delivery, _ in rows:
            if delivery.what == "test":
                messages.append(_test(delivery))
            elif delivery.what == "confirm":
                messages.append(_confirm(delivery, where, email or ""))
        events = [(delivery, event) for delivery, event in rows if event is not None]
        if events and channel.confirmed_at is not None:
            told = await words.told(session, [event for _, event in events])
            wordless = [one.id for (one, _), said in zip(events, told, strict=True) if said.wordless]
            if wordless:
                await _fail(session, "no_words", *_claimed(claim), NoticeDelivery.id.in_(wordless))
            if said := [one for one in told if not one.wordless]:
                owed = [(one, event) for one, event in events if one.id not in wordless]
                messages.append(_of_events(owed, said))
        return channel, where, messages

    async def _send(self, channel: Channel, where: str, message: Message) -> Outcome:
        link = self.settings.address + message.href
        if channel.kind == "push":
            root = self.settings.everystall_root_path
            said = {"title": message.title, "body": message.text, "url": root + message.href,
                    "page": root + message.page, "tag": message.tag}  # fmt: skip
            return await push.send(
                self.to_push,
                self.vapid,
                json.loads(where),
                said,
                urgent=message.urgent,
                settings=self.settings,
            )
        body = self._body(message, link)
        if channel.kind == "service":
            return await services.send(where, message.title, body, self.settings)
        settings = f"{self.settings.address}/notifications/settings"
        foot = "" if message.tag == "confirm" else f"\n\n-- \nWhat you are told here, and when: {settings}"
        return await services.send_mail(channel.key, message.title, body + foot, self.settings)

    def _body(self, message: Message, link: str) -> str:
        if not message.several:
            return f"{message.text}\n\n{link}"
        parts = [
            f"{one.title}\n{one.text}\n{self.settings.address}/notifications/{one.event_id}"
            for one in message.several
        ]
        more = len(message.deliveries) - len(message.several)
        return "\n\n".join([*parts, *([f"And {more} more: {link}"] if more else [])])


def _of_events(owed: Sequence[tuple[NoticeDelivery, Event]], told: Sequence[Told]) -> Message:
    """One message of all that is due, what is most urgent first."""
    ids = tuple(one.id for one, _ in owed)
    about = messages.about(*(event for _, event in owed))
    urgent = any(one.urgent for one, _ in owed)
    first, *rest = words.first_first(told)
    tag = f"e{first.event_id}"
    if not rest:
        href = f"/notifications/{first.event_id}"
        return Message(ids, first.title, first.text, href, tag, first.href, urgent, about=about)
    title = f"{first.title}, and {len(rest)} more"
    lines = [f"{one.title}: {one.text}" for one in (first, *rest)][:4]
    return Message(ids, title, "\n".join(lines), "/notifications", tag, "/notifications", urgent,
                   (first, *rest)[:LISTED], about)  # fmt: skip


def _test(delivery: NoticeDelivery) -> Message:
    return Message(
        (delivery.id,), "Everystall reaches you here", "You asked for this test. It works.",
        "/notifications/settings", "test", "/notifications/settings",
    )  # fmt: skip


def _confirm(delivery: NoticeDelivery, token: str, email: str) -> Message:
    said = (
        f"The Everystall account {email} asks to be told here when something sells or needs an answer. Was "
        "that you? Then open this within a day, signed in there. If not, do nothing: no more is sent here."
    )
    href = f"/notifications/confirm?token={token}"
    return Message((delivery.id,), "Shall Everystall write to this address?", said, href, "confirm", href)


def _claimed(claim: Claim) -> tuple[Any, ...]:
    return (
        NoticeDelivery.channel_id == claim.channel_id,
        NoticeDelivery.claimed_until == claim.until,
        NoticeDelivery.status == "waiting",
    )


async def _record(session: AsyncSession, claim: Claim, message: Message, outcome: Outcome) -> None:
    """What became of the try; nothing if the claim is not ours any more. The channel is locked before its
    deliveries, always."""
    channel = await session.get(Channel, claim.channel_id, with_for_update=True)
    rows = await session.scalars(
        select(NoticeDelivery)
        .where(*_claimed(claim), NoticeDelivery.id.in_(message.deliveries))
        .with_for_update()
    )
    deliveries = list(rows)
    if channel is None or not deliveries:
        return
    log.info("notice.tried", kind=channel.kind, things=len(deliveries), error=outcome.error)
    if outcome.error == "gone":
        await _tell(session, channel, outcome.error)
        await session.execute(delete(Channel).where(Channel.id == channel.id))
        return
    for one in deliveries:
        one.tries, one.claimed_until, one.last_error = one.tries + 1, None, outcome.error
        if outcome.delivered:
            one.status, one.delivered_at = "delivered", func.now()
        elif one.tries > len(BACKOFF) or outcome.error in _FOR_GOOD or one.what == "test":
            one.status = "failed"
        else:
            one.next_try_at = func.now() + wait_after(one.tries, random.random())
    await session.execute(select(notices.heard(claim.user_id)))  # the settings page says what became of it
    if outcome.error is None:
        channel.last_error, channel.failing_since, channel.failures = None, None, 0
        channel.sent_at = func.now()
    else:
        await _failed(session, channel, outcome.error)


async def _fail(session: AsyncSession, why: str, *which: Any) -> None:
    """For good: no later try mends that."""
    failed = {"status": "failed", "claimed_until": None, "last_error": why}
    await session.execute(update(NoticeDelivery).where(*which).values(**failed))


async def _give_up(session: AsyncSession, claim: Claim) -> None:
    """What was sealed does not open."""
    channel = await session.get(Channel, claim.channel_id, with_for_update=True)
    await _fail(session, "unusable", *_claimed(claim))
    if channel is not None:
        await _failed(session, channel, "unusable")


async def _failed(session: AsyncSession, channel: Channel, why: str) -> None:
    """Once more. Its seller is told of it once, until it works again."""
    before = channel.failures
    channel.last_error, channel.failing_since = why, channel.failing_since or func.now()
    # what no later try mends is told at once, and not again
    channel.failures = max(before + 1, TELL_AFTER if why in _FOR_GOOD else 0)
    if before < TELL_AFTER <= channel.failures:
        await _tell(session, channel, why)


async def _tell(session: AsyncSession, channel: Channel, why: str) -> None:
    said = {"channelId": str(channel.id), "kind": channel.kind, "label": channel.label,
            "message": channels.said_of_error(why)}  # fmt: skip
    await messages.record(session, channel.user_id, "channel.failed", said)


def wait_after(tries: int, chance: float) -> timedelta:
    """Until the next try after that many; `chance` in 0..1: a fifth more or less."""
    return timedelta(seconds=BACKOFF[tries - 1] * (0.8 + 0.4 * chance))
