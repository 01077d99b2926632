"""Sends what is due: the body of the task `deliver`. One message is never sent by two at once, is tried again
for a day, and an endpoint that takes nothing for a day is disabled.

No transaction is open while a receiver answers.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database
from everystall.errors import EverystallError
from everystall.models import Event, WebhookDelivery, WebhookEndpoint
from everystall.notify import messages, webhooks
from everystall.notify.webhooks import Outcome, Sender
from everystall.settings import Settings
from everystall.vault.sessions import Vault

log = structlog.get_logger()

#: Messages on the way at once, in one worker.
AT_ONCE = 8
#: Seconds until the next try, after the first failure, the second …: 23 h 43 min in all.
BACKOFF = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 28_800)
#: A fifth of each, more or less, so that messages that failed together are not tried together.
JITTER = 0.2
#: How long the other messages of an endpoint wait when one failed: others' go first.
HOLD = timedelta(seconds=30)
#: How long, and how often in a row, an endpoint may fail.
DISABLE_AFTER = timedelta(hours=24)
DISABLE_FAILURES = 5


C = TypeVar("C")


@dataclass(frozen=True)
class Post:
    """One message, ready to go."""

    url: str
    id: str
    body: str
    secrets: Sequence[str | bytes]

    def __repr__(self) -> str:
        return f"Post({self.id})"


@dataclass(frozen=True)
class Claim:
    delivery_id: UUID
    user_id: UUID
    #: Until when nobody else takes it; also what its outcome is recorded under.
    until: datetime


class Sends(Protocol[C]):
    """Who sends what is due of a kind."""

    #: Tries on the way at once, in one worker.
    at_once: int

    async def claim(self, most: int) -> list[C]: ...

    async def deliver_one(self, claim: C) -> None: ...


async def work_off(stopping: asyncio.Event | None, *senders: Sends[Any]) -> int:
    """All that is due of these kinds, until nothing is; how many tries that were. While one kind waits for
    slow receivers, what comes up of the others goes out."""
    running: dict[asyncio.Task[None], Sends[Any]] = {}
    tried = 0
    try:
        while True:
            for sender in senders if stopping is None or not stopping.is_set() else ():
                room = sender.at_once - sum(one is sender for one in running.values())
                for claim in await sender.claim(room) if room else ():
                    running[asyncio.create_task(sender.deliver_one(claim))] = sender
                    tried += 1
            if not running:
                return tried
            # at most a second, so that a slow receiver's message holds up nobody's new one
            done, _ = await asyncio.wait(running, timeout=1, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                del running[task]
                task.result()
    finally:
        for task in running:
            task.cancel()


class Mail:
    """What sending webhooks needs: one per worker. Senders come in as arguments where a test has its own."""

    at_once = AT_ONCE

    def __init__(
        self, db: Database, vault: Vault, settings: Settings, *,
        to_sellers: Sender | None = None, to_operator: Sender | None = None,
    ) -> None:  # fmt: skip
        self.db = db
        self.vault = vault
        self.settings = settings
        self.to_sellers = to_sellers or Sender(webhooks.policy_of(settings))
        #: The operator chose the address: it may be near.
        self.to_operator = to_operator or Sender(webhooks.NEARBY)

    async def deliver(self, stopping: asyncio.Event | None = None) -> int:
        """Sends until nothing is due; how many tries that were."""
        return await work_off(stopping, self)

    async def close(self) -> None:
        await self.to_sellers.close()
        await self.to_operator.close()

    async def claim(self, most: int) -> list[Claim]:
        async with self.db.as_app() as session:
            rows = await session.execute(
                text("SELECT id, user_id, claimed_until FROM everystall.due_deliveries(:n)"), {"n": most}
            )
            return [Claim(row.id, row.user_id, row.claimed_until) for row in rows]

    async def deliver_one(self, claim: Claim) -> None:
        """Whatever happens, the others go on; what is not recorded is tried again when the claim ends."""
        with structlog.contextvars.bound_contextvars(
            delivery_id=str(claim.delivery_id), user_id=str(claim.user_id)
        ):
            try:
                outcome = await self._send(claim)
                if outcome is not None:
                    async with self.db.as_user(claim.user_id) as session:
                        await _record(session, claim, outcome)
            except Exception as e:
                # by its name alone: its text may hold an address or a secret
                log.warning("webhook.not_recorded", error=type(e).__name__)

    async def _send(self, claim: Claim) -> Outcome | None:
        try:
            async with self.db.as_user(claim.user_id) as session:
                post, ours = await self._prepare(session, claim)
        except EverystallError as e:
            log.error("webhook.not_signed", error=e.code)
            return Outcome(None, "not_signed")
        if post is None:
            return None
        headers = webhooks.sign(post.id, datetime.now(UTC), post.body, post.secrets)
        return await (self.to_operator if ours else self.to_sellers).send(post.url, headers, post.body)

    async def _prepare(self, session: AsyncSession, claim: Claim) -> tuple[Post | None, bool]:
        """The message, and whether it is the operator's; None if there is nothing to send any more."""
        row = (
            await session.execute(
                select(WebhookDelivery, Event, WebhookEndpoint, func.now())
                .join(Event, Event.id == WebhookDelivery.event_id)
                .outerjoin(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
                .where(*_claimed(claim))
            )
        ).one_or_none()
        if row is None:
            return None, False
        delivery, event, endpoint, now = row
        structlog.contextvars.bind_contextvars(**messages.about(event))  # this task is this delivery's
        id = webhooks.message_id(delivery.id)
        if endpoint is None:
            data: dict[str, Any] = {**event.data, "userId": str(event.user_id)}
            body = webhooks.body_of(event.type, event.created_at, data)
            signing = webhooks.operator_secrets(self.settings, self.vault)[:1]
            return Post(self.settings.job_webhook_url, id, body, signing), True
        if endpoint.disabled_at is not None:
            delivery.status, delivery.last_error, delivery.claimed_until = "failed", "disabled", None
            return None, False
        overlaps = endpoint.previous_until is not None and endpoint.previous_until > now
        keys: list[str | bytes] = []
        for secret in await self.vault.open_webhook(session, endpoint, previous=overlaps):
            with secret as plain:
                keys.append(bytes(plain))
        return Post(endpoint.url, id, webhooks.body_of(event.type, event.created_at, event.data), keys), False


def _claimed(claim: Claim) -> tuple[Any, ...]:
    return (
        WebhookDelivery.id == claim.delivery_id,
        WebhookDelivery.claimed_until == claim.until,
        WebhookDelivery.status == "waiting",
    )


async def _record(session: AsyncSession, claim: Claim, outcome: Outcome) -> None:
    """What became of the try; nothing if the claim is not ours any more. The endpoint is locked before its
    deliveries, always."""
    endpoint = (
        await session.execute(
            select(WebhookEndpoint)
            .join(WebhookDelivery, WebhookDelivery.endpoint_id == WebhookEndpoint.id)
            .where(*_claimed(claim))
            .with_for_update(of=WebhookEndpoint)
        )
    ).scalar_one_or_none()
    delivery = (
        await session.execute(select(WebhookDelivery).where(*_claimed(claim)).with_for_update())
    ).scalar_one_or_none()
    if delivery is None:
        return
    delivery.tries += 1
    delivery.claimed_until = None
    delivery.last_status, delivery.last_error = outcome.status, outcome.error
    if outcome.delivered:
        delivery.status, delivery.delivered_at = "delivered", func.now()
    elif delivery.tries > len(BACKOFF):
        delivery.status = "failed"
    else:
        delivery.next_try_at = func.now() + wait_after(delivery.tries, random.random())
    log.info("webhook.tried", status=outcome.status, error=outcome.error, tries=delivery.tries)
    await session.flush()
    if endpoint is not None:
        await _note_endpoint(session, endpoint, outcome)


def wait_after(tries: int, chance: float) -> timedelta:
    """Until the next try after that many; `chance` in 0..1."""
    return timedelta(seconds=BACKOFF[tries - 1] * (1 - JITTER + 2 * JITTER * chance))


async def _note_endpoint(session: AsyncSession, endpoint: WebhookEndpoint, outcome: Outcome) -> None:
    """The row is locked. A failure holds up the endpoint's other messages, the last straw disables it."""
    if outcome.delivered:
        endpoint.failing_since, endpoint.failures = None, 0
        return
    now = (await session.execute(select(func.now()))).scalar_one()
    endpoint.failing_since = endpoint.failing_since or now
    endpoint.failures += 1
    of_endpoint = (WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.status == "waiting")
    if endpoint.failures < DISABLE_FAILURES or endpoint.failing_since > now - DISABLE_AFTER:
        await session.execute(
            update(WebhookDelivery)
            .where(*of_endpoint, WebhookDelivery.next_try_at < now + HOLD,
                   WebhookDelivery.claimed_until.is_(None), WebhookDelivery.tries == 0)
            .values(next_try_at=now + HOLD)
            .execution_options(synchronize_session=False)
        )  # fmt: skip
        return
    if endpoint.disabled_at is not None:
        return
    endpoint.disabled_at, endpoint.disabled_why = now, "failing"
    await session.execute(
        update(WebhookDelivery)
        .where(*of_endpoint)
        .values(status="failed", last_error="disabled", claimed_until=None)
        .execution_options(synchronize_session=False)
    )
    log.warning("webhook.disabled", webhook_id=str(endpoint.id))
    name = endpoint.label or "without a name"
    await session.flush()
    await messages.record(
        session,
        endpoint.user_id,
        "webhook.disabled",
        {
            "webhookId": str(endpoint.id),
            "label": endpoint.label,
            "message": f"Your webhook ({name}) took none of our messages for a day, so it was disabled. Mend "
            "the receiver, then enable it; what it missed is in its log and can be sent again.",
        },
    )
