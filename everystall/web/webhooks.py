"""The seller's webhooks: addresses of their own that are told of events, and the log of what was sent.

A secret is shown once, when it is made.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, Field
from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.errors import Conflict, NotFound, WebhookDisabled, WebhookRefused
from everystall.models import Event, User, WebhookDelivery, WebhookEndpoint
from everystall.notify import messages, webhooks
from everystall.web.cursors import cursor_of, read_cursor
from everystall.web.deps import AllParts, Seller, Transaction, as_id
from everystall.web.shapes import Body, Done, Line100, Shape

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])

#: Endpoints of one seller at most: each event is sent to all of them.
MOST = 20
#: How long the old secret signs beside the new one.
OVERLAP = timedelta(hours=24)
#: What an endpoint may ask for, and what it says; a test comes unasked.
WANTED = {type: said for type, said in messages.TYPES.items() if type != "webhook.test"}


def _known(types: list[str]) -> list[str]:
    unknown = [type[:60] for type in types if type not in WANTED]
    if unknown:
        raise ValueError(f"there is no event {', '.join(unknown)}; use {', '.join(WANTED)}")
    return list(dict.fromkeys(types))


Types = Annotated[list[str], Field(max_length=50), AfterValidator(_known)]
Url = Annotated[str, Field(min_length=1, max_length=webhooks.LONGEST_URL)]


class WebhookBody(Body):
    url: Url
    #: What you call it.
    label: Line100 = None
    #: Which events it is sent; none: all.
    events: Types = []


class WebhookChanges(Body):
    url: Url | None = None
    label: Line100 = None
    events: Types | None = None


class WebhookOut(Shape):
    id: str
    url: str
    label: str | None
    events: list[str]
    #: Since when it took nothing; null: the last message was taken, or there was none.
    failing_since: datetime | None
    disabled_at: datetime | None
    #: failing: it took nothing for a day · paused: by you
    disabled_why: str | None
    #: Until when the secret before this one signs too.
    previous_secret_until: datetime | None
    created_at: datetime


class WebhookMade(WebhookOut):
    #: `whsec_…`, shown this once.
    secret: str


class WebhooksOut(Shape):
    webhooks: list[WebhookOut]
    #: What `events` may name, and what each says; `webhook.test` comes unasked.
    events_known: dict[str, str]


class DeliveryOut(Shape):
    id: str
    #: The header `webhook-id`, the same at each try.
    message_id: str
    type: str
    status: Literal["waiting", "delivered", "failed"]
    tries: int
    #: While it is waiting.
    next_try_at: datetime | None
    #: What the receiver answered at the last try; null: nothing.
    last_status: int | None
    #: status (no 2xx: `lastStatus` says which) · redirect · refused_address · unreachable · timeout ·
    #: broken · not_signed · disabled
    last_error: str | None
    delivered_at: datetime | None
    created_at: datetime
    #: The message's `data`.
    data: dict[str, Any]


class DeliveriesOut(Shape):
    deliveries: list[DeliveryOut]
    next_cursor: str | None


async def _webhook_id(webhookId: str) -> UUID:  # the path's own name
    return as_id(webhookId)


async def _delivery_id(deliveryId: str) -> UUID:
    return as_id(deliveryId)


WebhookId = Annotated[UUID, Depends(_webhook_id)]
DeliveryId = Annotated[UUID, Depends(_delivery_id)]


@router.get("")
async def list_webhooks(session: Transaction) -> WebhooksOut:
    rows = await session.scalars(
        select(WebhookEndpoint).order_by(WebhookEndpoint.created_at, WebhookEndpoint.id)
    )
    return WebhooksOut(webhooks=[WebhookOut(**_shown(row)) for row in rows], events_known=WANTED)


@router.post("", status_code=201)
async def create_webhook(
    body: WebhookBody, session: Transaction, who: Seller, parts: AllParts
) -> WebhookMade:
    """The one time that the secret is shown. 422 `webhook_refused`: an address that we do not send to."""
    webhooks.check_url(body.url, webhooks.policy_of(parts.settings))
    await session.execute(select(User.id).where(User.id == who.user_id).with_for_update())  # one at a time
    there = await session.scalar(select(func.count()).select_from(WebhookEndpoint))
    if there is not None and there >= MOST:
        raise WebhookRefused(f"You have {there} webhooks, and {MOST} is all.", action="Delete one first.")
    row = WebhookEndpoint(id=uuid4(), user_id=who.user_id, url=body.url, label=body.label, events=body.events)
    secret = webhooks.new_secret()
    await parts.vault.seal_webhook(session, row, secret)
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return WebhookMade(**_shown(row), secret=webhooks.shown(secret))


@router.get("/{webhookId}")
async def get_webhook(id: WebhookId, session: Transaction) -> WebhookOut:
    return WebhookOut(**_shown(await _get(session, id)))


@router.patch("/{webhookId}")
async def patch_webhook(
    id: WebhookId, body: WebhookChanges, session: Transaction, parts: AllParts
) -> WebhookOut:
    """Another address begins anew: one that was disabled because it took nothing is sent events again."""
    row = await _get(session, id, lock=True)
    if body.url is not None:
        webhooks.check_url(body.url, webhooks.policy_of(parts.settings))
        if body.url != row.url:  # what failed was the one before
            row.failing_since, row.failures = None, 0
            if row.disabled_why != webhooks.PAUSED:
                row.disabled_at = row.disabled_why = None
        row.url = body.url
    if "label" in body.model_fields_set:
        row.label = body.label
    if body.events is not None:
        row.events = body.events
    return WebhookOut(**_shown(row))


@router.delete("/{webhookId}")
async def delete_webhook(id: WebhookId, session: Transaction) -> Done:
    """Its log goes with it; what was on its way may still arrive."""
    await _get(session, id, lock=True)
    await session.execute(delete(WebhookEndpoint).where(WebhookEndpoint.id == id))
    return Done(message="The webhook is gone, and its log with it.")


@router.post("/{webhookId}/rotate")
async def rotate_secret(id: WebhookId, session: Transaction, parts: AllParts) -> WebhookMade:
    """A new secret, shown this once. For 24 hours messages carry a signature by the old one too. If the one
    before that still signs, it does so to its end, and the one that is replaced does not any more."""
    row = await _get(session, id, lock=True)
    secret = webhooks.new_secret()
    promised = row.previous_until is not None and row.previous_until > datetime.now(UTC)
    await parts.vault.seal_webhook(session, row, secret, keep_previous=promised)
    if not promised:
        row.previous_until = func.now() + OVERLAP
    await session.flush()
    await session.refresh(row)
    return WebhookMade(**_shown(row), secret=webhooks.shown(secret))


@router.post("/{webhookId}/pause")
async def pause_webhook(id: WebhookId, session: Transaction) -> WebhookOut:
    """Until `enable` it is sent nothing; what happens meanwhile is not sent later."""
    row = await _get(session, id, lock=True)
    row.disabled_at, row.disabled_why = func.now(), webhooks.PAUSED
    await session.flush()
    await session.refresh(row)
    return WebhookOut(**_shown(row))


@router.post("/{webhookId}/enable")
async def enable_webhook(id: WebhookId, session: Transaction) -> WebhookOut:
    """After it was disabled or paused: from now on it is sent events again. What it missed can be sent again
    one by one."""
    row = await _get(session, id, lock=True)
    row.disabled_at = row.disabled_why = row.failing_since = None
    row.failures = 0
    return WebhookOut(**_shown(row))


@router.post("/{webhookId}/test", status_code=202)
async def test_webhook(id: WebhookId, session: Transaction) -> DeliveryOut:
    """Sends it a `webhook.test`; the log says what became of it. 409 `webhook_disabled`."""
    row = await _get(session, id)
    _refuse_disabled(row)
    return await _delivery(session, id, await messages.record_test(session, row))


@router.get("/{webhookId}/deliveries")
async def list_deliveries(
    id: WebhookId,
    session: Transaction,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> DeliveriesOut:
    """What was sent, or is to be, newest first; kept for 30 days, or what EVENT_DAYS says."""
    await _get(session, id)
    wanted = (
        select(WebhookDelivery, Event)
        .join(Event, Event.id == WebhookDelivery.event_id)
        .where(WebhookDelivery.endpoint_id == id)
        .order_by(WebhookDelivery.created_at.desc(), WebhookDelivery.id.desc())
        .limit(limit + 1)
    )
    if cursor is not None:
        at, last = read_cursor(cursor)
        wanted = wanted.where(tuple_(WebhookDelivery.created_at, WebhookDelivery.id) < (at, as_id(last)))
    rows = (await session.execute(wanted)).all()
    shown = rows[:limit]
    more = cursor_of(shown[-1][0].created_at, shown[-1][0].id) if len(rows) > limit else None
    return DeliveriesOut(deliveries=[_shown_delivery(*row) for row in shown], next_cursor=more)


@router.post("/{webhookId}/deliveries/{deliveryId}/redeliver", status_code=202)
async def redeliver(id: WebhookId, delivery_id: DeliveryId, session: Transaction) -> DeliveryOut:
    """Sends the same message again, under the same `webhook-id`: a receiver that has it may leave it. 409
    while it is being sent."""
    _refuse_disabled(await _get(session, id))
    row = await session.scalar(
        select(WebhookDelivery)
        .where(WebhookDelivery.id == delivery_id, WebhookDelivery.endpoint_id == id)
        .with_for_update()
    )
    if row is None:
        raise NotFound
    if row.claimed_until is not None and row.claimed_until > datetime.now(UTC):
        raise Conflict("This message is being sent at this moment.", action="Try again in half a minute.")
    row.status, row.tries, row.next_try_at, row.claimed_until = "waiting", 0, func.now(), None
    row.delivered_at = None
    await session.flush()
    await engine.wake_messages(session)
    return await _delivery(session, id, delivery_id)


async def _get(session: AsyncSession, id: UUID, *, lock: bool = False) -> WebhookEndpoint:
    wanted = select(WebhookEndpoint).where(WebhookEndpoint.id == id)
    row = await session.scalar(wanted.with_for_update() if lock else wanted)
    if row is None:
        raise NotFound
    return row


def _refuse_disabled(row: WebhookEndpoint) -> None:
    if row.disabled_at is not None:
        raise WebhookDisabled


async def _delivery(session: AsyncSession, id: UUID, delivery_id: UUID) -> DeliveryOut:
    row = await session.execute(
        select(WebhookDelivery, Event)
        .join(Event, Event.id == WebhookDelivery.event_id)
        .where(WebhookDelivery.id == delivery_id, WebhookDelivery.endpoint_id == id)
        .execution_options(populate_existing=True)
    )
    delivery, event = row.one()
    return _shown_delivery(delivery, event)


def _shown(row: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "url": row.url,
        "label": row.label,
        "events": row.events,
        "failing_since": row.failing_since,
        "disabled_at": row.disabled_at,
        "disabled_why": row.disabled_why,
        "previous_secret_until": row.previous_until,
        "created_at": row.created_at,
    }


def _shown_delivery(row: WebhookDelivery, event: Event) -> DeliveryOut:
    return DeliveryOut(
        id=str(row.id),
        message_id=webhooks.message_id(row.id),
        type=event.type,
        status=row.status,
        tries=row.tries,
        next_try_at=row.next_try_at if row.status == "waiting" else None,
        last_status=row.last_status,
        last_error=row.last_error,
        delivered_at=row.delivered_at,
        created_at=row.created_at,
        data=event.data,
    )
