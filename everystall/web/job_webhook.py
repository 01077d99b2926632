"""`POST /api/jobs/webhook`: a worker tells of a finished job, signed as Standard Webhooks says.

The signature is all that counts: cookies and tokens are not looked at, and a browser is turned away, so that
nobody's page can make a seller's browser send here. A message has its effect once, however often and at
whatever moment it comes; what is not properly signed is 401, whatever it is made of.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Request
from pydantic import BeforeValidator, Field, ValidationError
from sqlalchemy import text
from standardwebhooks import Webhook, WebhookVerificationError

from everystall.db import become
from everystall.errors import BadRequest, NotAllowed, Unauthenticated
from everystall.inventory.outcomes import take_outcome
from everystall.inventory.pairs import Pair
from everystall.models import STATES
from everystall.notify.webhooks import operator_secrets
from everystall.web.deps import AllParts, as_id
from everystall.web.shapes import Done, Shape, check_plain

log = structlog.get_logger()
router = APIRouter(prefix="/api/jobs", tags=["jobs"])

#: The library signs "id.timestamp.body" and does not look whether the id has a dot of its own.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _plain(value: Any) -> Any:
    check_plain(value)
    return value


class FinishedPair(Pair):
    state: Annotated[str, Field(pattern=f"^({'|'.join(STATES)})$")]
    marketplace: Annotated[str, Field(max_length=60)]
    browser_profile_id: Annotated[str, Field(max_length=100)]
    url: Annotated[str, Field(max_length=2000)] | None
    remote_id: Annotated[str, Field(max_length=200)] | None


class FinishedJob(Shape):
    user_id: str
    job_id: Annotated[str, Field(max_length=60)]
    automation_results: Annotated[list[FinishedPair], Field(max_length=200)]


class JobMessage(Shape):
    """`{"type": "job.finished", "timestamp", "data"}`; other types are taken and left."""

    type: Annotated[str, Field(max_length=100)]
    data: Annotated[dict[str, Any], BeforeValidator(_plain)]


@router.post(
    "/webhook",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
            for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
        ],
        "security": [],
    },
    responses={
        401: {"description": "Not signed with WEBHOOK_SECRET, or more than 5 minutes old"},
        403: {"description": "Sent by a browser"},
    },
)
async def receive(request: Request, parts: AllParts) -> Done:
    """Records what became of a job. The same message again changes nothing."""
    if "origin" in request.headers or "sec-fetch-site" in request.headers:
        raise NotAllowed("This address is for workers, not for browsers.", action="Send it from a server.")
    body = await request.body()
    id = _verified(request, body, operator_secrets(parts.settings, parts.vault))
    message = _read(body)
    async with parts.database.as_app() as session:
        # waits for another transaction that has just this id, and is undone with what follows
        new = await session.scalar(text("SELECT everystall.receive_webhook(:id)"), {"id": id})
        if not new:
            return Done(message="This message was received before; nothing was changed.")
        if message is None:
            return Done(message="Received; there is nothing to do for it.")
        await become(session, as_id(message.user_id))
        recorded = await take_outcome(session, message.job_id, message.automation_results)
    log.info("job_webhook.received", job_id=message.job_id, message_id=id, recorded=recorded)
    return Done(message=f"Received; {recorded} open pairs of the job were recorded.")


def _verified(request: Request, body: bytes, secrets: list[str]) -> str:
    """The message's id. Raises Unauthenticated for whatever is not signed by one of the secrets just now."""
    id = request.headers.get("webhook-id", "")
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    headers = {name: request.headers.get(name, "") for name in names}
    if _ID.fullmatch(id):
        for secret in secrets:
            try:
                Webhook(secret).verify(body, headers, json_parse=False)
            except (WebhookVerificationError, ValueError):  # garbage of any kind is a ValueError of some kind
                continue
            return id
    raise Unauthenticated(
        "This message is not signed by us, or not within the last 5 minutes.",
        action="Sign it with WEBHOOK_SECRET as Standard Webhooks says; check both machines' clocks.",
    )


def _read(body: bytes) -> FinishedJob | None:
    """What a signed message says; None for a type that concerns nobody here. Raises BadRequest."""
    try:
        message = JobMessage.model_validate(json.loads(body))
        return FinishedJob.model_validate(message.data) if message.type == "job.finished" else None
    except RecursionError:
        raise BadRequest("That is nested too deep.") from None
    except ValidationError as e:
        fields = sorted({".".join(map(str, found["loc"]))[:100] or "body" for found in e.errors()[:30]})
        raise BadRequest(f"A signed message, but not in our form: {', '.join(fields)}.") from None
    except ValueError:
        raise Unauthenticated("This is not JSON.", action="Send the event as JSON.") from None
