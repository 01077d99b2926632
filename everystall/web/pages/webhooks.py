"""The seller's webhooks: made, changed, tested, paused and deleted, with what became of the last messages.

A secret stands in the answer to the form that made it, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, Response
from pydantic import AfterValidator, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest, EverystallError, NotFound, Refused
from everystall.notify.webhooks import LONGEST_URL, PAUSED
from everystall.web import webhooks
from everystall.web.answers import complaint
from everystall.web.deps import as_id
from everystall.web.pages.opened import Opened, OpenedPage, go
from everystall.web.webhooks import WANTED

router = APIRouter()

HERE: Final = "/notifications/webhooks"
#: Messages of each that are shown.
SHOWN: Final = 8
#: DeliveryOut.last_error → what the receiver did.
ANSWERED: Final = {
    "redirect": "It led elsewhere; we follow nowhere.",
    "refused_address": "Its address leads into a network that we do not send to.",
    "unreachable": "Nobody answered at its address.",
    "timeout": "It did not answer in time.",
    "broken": "What it answered cannot be read.",
    "not_signed": "We could not sign it: its secret cannot be opened.",
    "disabled": "Not sent: the webhook was off.",
}
_FIELDS: Final = {"url": "The address", "label": "The name"}
#: No database holds a NUL.
Text = Annotated[str, Form(max_length=4000), AfterValidator(lambda text: text.replace("\0", ""))]


async def _show(
    page: Opened,
    *,
    where: str | None = None,
    error: EverystallError | None = None,
    made: Any = None,
    **given: Any,
) -> HTMLResponse:
    """`where`: the field that was refused, or the webhook; `given`: what the form held. `made`: shown once
    with its secret."""
    rows = (await webhooks.list_webhooks(page.session)).webhooks
    sent = {one.id: await webhooks.list_deliveries(as_id(one.id), page.session, limit=SHOWN) for one in rows}
    return page.show(
        "webhooks.html",
        status=error.status if error else 200,
        home=HERE if error or made else None,
        rows=rows,
        sent={id: found.deliveries for id, found in sent.items()},
        answered=ANSWERED,
        paused=PAUSED,
        events=WANTED,
        longest=LONGEST_URL,
        made=made,
        where=where,
        error=error,
        given=given,
    )


@router.get("/notifications/webhooks")
async def show_webhooks(page: OpenedPage) -> HTMLResponse:
    return await _show(page)


async def _show_one(
    page: Opened, id: UUID, *, where: str | None = None, error: EverystallError | None = None, **given: Any
) -> HTMLResponse:
    """One, to be changed; `where` and `given` as in `_show`."""
    one = await webhooks.get_webhook(id, page.session)
    return page.show(
        "webhook.html",
        status=error.status if error else 200,
        home=f"{HERE}/{id}" if error else None,
        one=one,
        overlaps=one.previous_secret_until is not None and one.previous_secret_until > datetime.now(UTC),
        events=WANTED,
        longest=LONGEST_URL,
        where=where,
        error=error,
        given=given or {"url": one.url, "label": one.label or "", "events": one.events},
    )


@router.get("/notifications/webhooks/{id}")
async def show_webhook(id: str, page: OpenedPage) -> HTMLResponse:
    return await _show_one(page, as_id(id))


@router.post("/notifications/webhooks")
async def add_webhook(
    page: OpenedPage, url: Text = "", label: Text = "", events: Annotated[list[str] | None, Form()] = None
) -> Response:
    given: dict[str, Any] = {"url": url, "label": label, "events": events or []}
    try:
        body = webhooks.WebhookBody(**given | {"url": url.strip()})
        made = await webhooks.create_webhook(body, page.session, page.who, page.parts)
    except (ValidationError, Refused) as error:
        where, said = _wrong(error, url)
        return await _show(page, where=where, error=said, **given)
    return await _show(page, made=made)


@router.post("/notifications/webhooks/{id}")
async def change_webhook(
    id: str, page: OpenedPage, url: Text = "", label: Text = "",
    events: Annotated[list[str] | None, Form()] = None,
) -> Response:  # fmt: skip
    given: dict[str, Any] = {"url": url, "label": label, "events": events or []}
    try:
        body = webhooks.WebhookChanges(**given | {"url": url.strip()})
        now = await webhooks.patch_webhook(as_id(id), body, page.session, page.parts)
    except NotFound:
        raise
    except (ValidationError, Refused) as error:
        where, said = _wrong(error, url)
        return await _show_one(page, as_id(id), where=where, error=said, **given)
    return go(HERE, "webhook-saved-off" if now.disabled_at else "webhook-saved", f"webhook-{as_id(id)}")


def _wrong(error: ValidationError | Refused, url: str) -> tuple[str, EverystallError]:
    """The field that is refused, and why."""
    if not url.strip():
        return "url", BadRequest("Type the address that is told.", action="")
    if isinstance(error, Refused):
        return "url", error
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "url"
    said = f"{_FIELDS[name]} {complaint(first)}." if name in _FIELDS else "There is no such event."
    return name, BadRequest(said, action="")


@router.post("/notifications/webhooks/{id}/rotate")
async def rotate(id: str, page: OpenedPage) -> HTMLResponse:
    """The new secret, this once."""
    return await _show(page, made=await webhooks.rotate_secret(as_id(id), page.session, page.parts))


@router.post("/notifications/webhooks/{id}/{do}")
async def act(id: str, do: str, page: OpenedPage) -> Response:
    ways: Mapping[str, Callable[[UUID, AsyncSession], Awaitable[object]]] = {
        "test": webhooks.test_webhook, "pause": webhooks.pause_webhook,
        "enable": webhooks.enable_webhook, "delete": webhooks.delete_webhook,
    }  # fmt: skip
    if do not in ways:
        raise NotFound
    try:
        await ways[do](as_id(id), page.session)
    except Refused as error:
        if error.status == 404:
            raise
        return await _show(page, where=str(as_id(id)), error=error)
    return go(HERE, f"webhook-{do}", "" if do == "delete" else f"webhook-{as_id(id)}")
