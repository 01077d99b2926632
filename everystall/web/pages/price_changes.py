"""Prices of all that is live on a marketplace: looked at first, two hundred at a time, then exactly that."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from everystall.errors import EverystallError
from everystall.inventory.pricing import dollars
from everystall.marketplaces import MARKETPLACES
from everystall.web import price_changes
from everystall.web.pages.amounts import Typed, dollars_of, percent_of
from everystall.web.pages.opened import Opened, OpenedPage, go
from everystall.web.price_changes import ChangeBody, ChangesOut

router = APIRouter()

#: Listings that the page shows of each kind.
SHOWN: Final = 50
WISHES: Final = {
    "percent": "By per cent",
    "dollars": "By dollars",
    "apply_rules": "As my rules say now",
}


@router.get("/prices/changes")
async def show_changes(page: OpenedPage) -> HTMLResponse:
    asked = Typed(page.request.query_params)
    return await _show(page, asked)


async def _show(
    page: Opened, typed: Typed, told: ChangesOut | None = None, error: EverystallError | None = None
) -> HTMLResponse:
    """`told`: what would come of it, or came of it."""
    return page.show(
        "price_changes.html",
        status=error.status if error else 422 if typed.wrong else 200,
        home="/prices/changes" if told or error or typed.wrong else None,
        typed=typed,
        told=told,
        error=error,
        marketplaces=MARKETPLACES,
        wishes=WISHES,
        dollars=dollars,
        shown=SHOWN,
    )


@router.post("/prices/changes")
async def change(page: OpenedPage, request: Request) -> Response:
    """What would become of each; with `sure`, that."""
    typed = Typed(await request.form())
    sure = typed["sure"] == "yes"
    if typed["on"] not in MARKETPLACES:
        return go("/prices/changes")
    values = _read(typed)
    if typed.wrong:
        return await _show(page, typed)
    if sure:
        values["token"] = typed["token"]
    try:
        body = ChangeBody.model_validate(values)
        told = await price_changes.change_prices(body, page.session, page.who, preview=not sure)
    except EverystallError as error:
        if error.status == 404:
            raise
        return await _show(page, typed, error=error)
    return await _show(page, typed, told)


def _read(typed: Typed) -> dict[str, Any]:
    """The API's body."""
    begins = bool(typed["token"]) and typed["sure"] != "yes"  # it was looked at, and is looked at anew
    after = None if begins else typed["after"] or None
    values: dict[str, Any] = {"liveOn": typed["on"], "after": after, "do": "add"}
    if typed["how"] == "apply_rules":
        values["do"] = "apply_rules"
    elif typed["how"] == "dollars":
        values["cents"] = typed.needed("value", lambda text: dollars_of(text, signed=True), 0)
    else:
        values["percent"] = typed.needed("value", lambda text: percent_of(text, -90, 900), 0.0)
    if values["do"] == "add" and not (values.get("cents") or values.get("percent") or typed.wrong):
        typed.wrong["value"] = "Write more or less than nothing."
    return values
