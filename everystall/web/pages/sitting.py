"""A seller at a worker's browser: its picture, which a script shows and takes mouse and keys for, and what
came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, Response

from everystall.errors import Conflict
from everystall.inventory import sittings as rows
from everystall.marketplaces import MARKETPLACES
from everystall.web import sittings
from everystall.web.deps import as_id
from everystall.web.pages.opened import OpenedPage, go

router = APIRouter()

#: state → tone, what is said first
_ENDED: Final = {
    "done": ("ok", "That is done."),
    "closed": ("info", "The browser is closed."),
    "left": ("warn", "The browser was closed."),
    "long": ("warn", "The browser was closed."),
    "failed": ("bad", "The browser could not be used."),
}


@dataclass(frozen=True)
class Ended:
    tone: str
    title: str
    text: str
    #: It still waits for its seller, who may open it again.
    again: bool


@router.post("/sittings")
async def ask(
    page: OpenedPage,
    account: Annotated[str, Form(max_length=200)] = "",
    marketplace: Annotated[str, Form(max_length=60)] = "",
) -> Response:
    try:
        sitting, _ = await sittings.ask(
            page.session, page.who, page.parts.settings,
            account=account.replace("\0", "") or None, marketplace=marketplace or None,
        )  # fmt: skip
    except Conflict:  # it was answered meanwhile
        return go("/connections", "answered-already")
    return go(f"/sittings/{sitting.id}")


@router.get("/sittings")
async def lead_back() -> Response:
    return go("/connections")


@router.get("/sittings/{id}")
async def show(id: str, page: OpenedPage) -> HTMLResponse:
    sitting, connection = await rows.get_sitting(page.session, as_id(id))
    shown = sittings.shown(sitting, connection)
    label = MARKETPLACES[connection.marketplace]
    ended = None
    if rows.is_over(sitting):
        tone, title = _ENDED[shown.state]
        waits = (connection.needs_you or {}).get("reason") in rows.PURPOSES
        left = "Nobody did anything for ten minutes." if shown.state == "left" else ""
        text = shown.message or left
        if waits and shown.state != "done":
            text = f"{text} {label} still waits for you.".strip()
        ended = Ended(tone, title, text, again=waits)
    return page.show(
        "sitting.html",
        sitting=shown,
        label=label,
        account=connection.label or connection.account_name,
        signs_in=shown.purpose == "sign_in",
        ended=ended,
        consent_days=page.parts.settings.consent_days,
    )


@router.post("/sittings/{id}/close")
async def close(id: str, page: OpenedPage) -> Response:
    await sittings.close_sitting(as_id(id), page.session)
    return go(f"/sittings/{id}")
