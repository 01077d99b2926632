"""Prices of all that is live on a marketplace: looked at first, two hundred at a time, then exactly that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import TypeAdapter

from everystall.errors import BadRequest, EverystallError
from everystall.inventory.price_changes import MOST, Made, take_back
from everystall.inventory.pricing import HIGHEST_PRICE, Rule, dollars
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
    page: Opened,
    typed: Typed,
    told: ChangesOut | None = None,
    *,
    made: Sequence[Made] = (),
    error: EverystallError | None = None,
) -> HTMLResponse:
    """`told`: what would come of it, or came of it; `made`: what can be undone of that."""
    return page.show(
        "price_changes.html",
        status=error.status if error else 422 if typed.wrong else 200,
        home="/prices/changes" if told or error or typed.wrong else None,
        typed=typed,
        told=told,
        made=_MADE.dump_json(list(made)).decode() if made else None,
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
        told, changes = await price_changes.changes_of(body, page.session, preview=not sure)
    except EverystallError as error:
        if error.status == 404:
            raise
        return await _show(page, typed, error=error)
    made = [Made.of(one) for one in changes if sure and one.outcome == "changed"]
    return await _show(page, typed, told, made=made)


@router.get("/prices/changes/undo")
async def lead_back() -> Response:
    """The address of a form, opened by itself."""
    return go("/prices/changes")


@router.post("/prices/changes/undo")
async def undo(page: OpenedPage, request: Request) -> HTMLResponse:
    """Each price that was changed is as it was, wherever nobody changed it since."""
    made = _made(str((await request.form()).get("made") or ""))
    back, there = await take_back(page.session, made)
    return page.show("price_changes_undone.html", home="/prices/changes", back=back, there=there,
                     gone=len(made) - there)  # fmt: skip


#: What of a change goes into the form of its undo.
_MADE: Final = TypeAdapter(list[Made])


def _made(text: str) -> list[Made]:
    """What a page of ours put into its form. Raises BadRequest for what it did not."""
    try:
        found = _MADE.validate_json(text)
        for one in found:
            for cents in (one.was, one.now):
                if cents is not None and not 1 <= cents <= HIGHEST_PRICE:
                    raise ValueError
            for rule in [rule for rules in one.rules.values() for rule in rules if rule is not None]:
                told = Rule.model_validate(rule).model_dump(exclude={"rounding"}, exclude_none=True)
                if max(abs(value) for value in told.values()) > HIGHEST_PRICE:
                    raise ValueError
    except ValueError:
        raise BadRequest("This form is not one of ours.", action="Go back to the prices.") from None
    return found[:MOST]


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
