"""Events: what happened to a seller's things, written with the change that it tells of.

Nothing is sent here: an event and its deliveries are rows of the caller's transaction, and whoever sends them
(notify/send.py) is woken when it commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.db import TELLS_OPERATOR
from everystall.models import Event, WebhookDelivery, WebhookEndpoint
from everystall.notify import notices

#: Every type of event, and what it says. `webhook.test` goes to the one endpoint that is tested.
TYPES = {
    "job.finished": "a job has no more to do: each of its pairs is live, ended, cancelled or needs you",
    "publication.live": "a listing is live on an account, and its page was read back",
    "publication.revised": "your edit of a live listing is there, and its page was read back",
    "publication.needs_you": "a listing on an account waits for you",
    "publication.ended": "a listing is gone from an account: taken down, sold, or gone by itself",
    "sale.detected": "something of yours was sold; where it is live elsewhere it is being taken down",
    "sale.marked": "you said that something was sold elsewhere, or took that back",
    "sale.double": "more was sold than there was: one of two orders cannot be sent",
    "sale.unclear": "by a mail something was sold on an account that we cannot see; it is not clear what",
    "sale.settled": "you looked after a sale that was not clear, and said so",
    "sale.cancelled": "an order that we had counted was cancelled there",
    "delist.late": "what was sold elsewhere is not known to be gone, or fewer, after five minutes",
    "relist.skipped": "a listing was not relisted, and stays up as it is",
    "watch.failed": "what sells on an account cannot be seen",
    "mailbox.failed": "your mailbox cannot be read, so that mails about sales wake nobody",
    "blind.ended": "what is live on an account that we cannot see is being ended elsewhere, by your rule",
    "blind.put_back": "an account sees again: what was ended because of it and did not sell is posted again",
    "import.finished": "the live listings of an account came in, or could not be read",
    "matching.finished": "your live listings were compared with each other",
    "session.expired": "a marketplace no longer knows your sign-in",
    "account.sign_in_changed": "how you sign in was changed: a second factor, a passkey, a provider",
    "channel.failed": "what you are told by took nothing five times in a row, or is gone",
    "webhook.disabled": "a webhook was disabled, since it took nothing for a day",
    "webhook.test": "you asked for it",
}


async def record(session: AsyncSession, user_id: UUID, type: str, data: Mapping[str, Any]) -> int:
    """Writes the event, a delivery for each endpoint of the seller that wants it, and what the seller is told
    of it; the event's id. `data` is what others read: names in camelCase, plain JSON, no secret. The session
    acts as the seller."""
    if type not in TYPES:
        raise ValueError(f"there is no event {type!r}")
    event_id = await _write(session, user_id, type, data)
    endpoints: list[UUID | None] = list(
        await session.scalars(
            select(WebhookEndpoint.id).where(
                WebhookEndpoint.user_id == user_id,
                WebhookEndpoint.disabled_at.is_(None),
                text("(events = '{}' OR :type = ANY(events))").bindparams(type=type),
            )
        )
    )
    if type == "job.finished" and session.info.get(TELLS_OPERATOR):
        endpoints.append(None)
    if endpoints:
        await _owe(session, user_id, event_id, endpoints)
    if await notices.tell(session, user_id, event_id, type, data):
        await engine.wake_messages(session)
    return event_id


def about(*events: Event) -> dict[str, str]:
    """What a line of the log says of a message that tells of these: wherein they agree."""
    found: dict[str, set[str | None]] = {
        "type": {event.type for event in events},
        "job_id": {event.data.get("jobId") for event in events},
        "marketplace": {event.data.get("marketplace") for event in events},
    }
    return {name: one for name, said in found.items() if len(said) == 1 and (one := next(iter(said)))}


async def record_test(session: AsyncSession, endpoint: WebhookEndpoint) -> UUID:
    """An event for this endpoint only, whatever it wants otherwise; the delivery's id."""
    event_id = await _write(session, endpoint.user_id, "webhook.test", {"webhookId": str(endpoint.id)})
    (delivery,) = await _owe(session, endpoint.user_id, event_id, [endpoint.id])
    return delivery


async def _write(session: AsyncSession, user_id: UUID, type: str, data: Mapping[str, Any]) -> int:
    written = insert(Event).values(user_id=user_id, type=type, data=dict(data)).returning(Event.id)
    return (await session.execute(written)).scalar_one()


async def _owe(
    session: AsyncSession, user_id: UUID, event_id: int, endpoints: list[UUID | None]
) -> list[UUID]:
    owed = (
        insert(WebhookDelivery)
        .values([{"user_id": user_id, "event_id": event_id, "endpoint_id": one} for one in endpoints])
        .returning(WebhookDelivery.id)
    )
    made = list((await session.execute(owed)).scalars())
    await engine.wake_messages(session)
    return made
