"""Prices that fall by themselves: the schedule for all, that of one listing, and what falls next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest
from everystall.inventory.listings import find_listing
from everystall.inventory.price_drops import coming
from everystall.inventory.pricing import dollars
from everystall.models import Listing, PriceDrop, PriceStep
from everystall.web import price_drops
from everystall.web.deps import as_id
from everystall.web.pages.amounts import Typed, dollars_of, percent_of, whole_of
from everystall.web.pages.opened import Opened, OpenedPage, go
from everystall.web.price_drops import DropBody, DropOut

router = APIRouter()

#: Lines of each list.
SHOWN: Final = 20


@dataclass(frozen=True)
class Fall:
    """A step: to be made, or made."""

    listing_id: UUID
    title: str
    before: str
    after: str
    at: datetime
    #: Why it was not made.
    refused: str | None = None


@router.get("/prices/drops")
async def show_drops(page: OpenedPage, listing: str = "") -> HTMLResponse:
    return await _show(page, listing)


async def _show(page: Opened, listing: str = "", typed: Typed | None = None) -> HTMLResponse:
    """`listing`: an id; the form is for that one alone."""
    session, one, of = page.session, None, None
    if listing:
        one = await find_listing(session, as_id(listing))
        of = await price_drops.get_listing_drops(one.id, session)
    common = (await price_drops.get_drops(session, page.who)).schedule
    own = of.schedule if of else common
    return page.show(
        "price_drops.html",
        status=422 if typed else 200,
        home=f"/prices/drops{f'?listing={one.id}' if one else ''}" if typed else None,
        values=typed.texts if typed else _values(own),
        wrong=typed.wrong if typed else {},
        own=own,
        common=said_of(common) if common else None,
        listing=one,
        next=[] if one else await _coming(session),
        steps=[] if one else await _made(session),
        singles=[] if one else await _singles(session),
    )


def _values(drop: DropOut | None) -> Mapping[str, str]:
    if drop is None:
        return {}
    return {
        "by": "cents" if drop.cents else "percent",
        "step": f"{drop.cents / 100:g}" if drop.cents else f"{drop.percent:g}",
        "every_days": str(drop.every_days),
        "floor": f"{drop.floor.amount / 100:.2f}".removesuffix(".00"),
    }


def said_of(drop: DropOut) -> str:
    """ "10% every 7 days, never below $15.00" """
    step = dollars(drop.cents) if drop.cents else f"{drop.percent:g}%"
    days = "every day" if drop.every_days == 1 else f"every {drop.every_days} days"
    return f"{step} {days}, never below {dollars(drop.floor.amount)}"


async def _coming(session: AsyncSession) -> list[Fall]:
    found = await coming(session, SHOWN)
    rows = select(Listing.id, Listing.title, Listing.price_cents).where(
        Listing.id.in_([one.listing_id for one in found])
    )
    known = {row.id: row for row in await session.execute(rows)}
    return [
        Fall(one.listing_id, known[one.listing_id].title or "Without a title",
             dollars(known[one.listing_id].price_cents or 0), dollars(one.price), one.at, one.refused)
        for one in found
    ]  # fmt: skip


async def _made(session: AsyncSession) -> list[Fall]:
    rows = await session.execute(
        select(PriceStep, Listing.title)
        .join(Listing, Listing.id == PriceStep.listing_id)
        .order_by(PriceStep.made_at.desc())
        .limit(SHOWN)
    )
    return [
        Fall(step.listing_id, title or "Without a title", dollars(step.before_cents or 0),
             dollars(step.after_cents), step.made_at, step.refused)
        for step, title in rows
    ]  # fmt: skip


async def _singles(session: AsyncSession) -> list[tuple[UUID, str, str]]:
    """Listings with a schedule of their own: id, title, what it says."""
    rows = await session.execute(
        select(PriceDrop, Listing.title)
        .join(Listing, Listing.id == PriceDrop.listing_id)
        .order_by(PriceDrop.began_at.desc())
        .limit(SHOWN)
    )
    return [
        (drop.listing_id, title or "Without a title", said_of(DropOut.of(drop)))
        for drop, title in rows
        if drop.listing_id is not None
    ]


@router.post("/prices/drops")
async def save_drops(page: OpenedPage, request: Request) -> Response:
    typed = Typed(await request.form())
    session, listing = page.session, typed["listing"]
    id = as_id(listing) if listing else None
    back = f"/listings/{id}" if id else "/prices/drops"
    if typed["do"] == "delete":
        if id is None:
            await price_drops.delete_drops(session, page.who)
        else:
            await price_drops.delete_listing_drops(id, session)
        return go(back, "drops-gone")
    values = _read(typed)
    if typed.wrong:
        return await _show(page, listing, typed)
    body = DropBody.model_validate(values)
    try:
        if id is None:
            await price_drops.put_drops(body, session, page.who)
        else:
            await price_drops.put_listing_drops(id, body, session, page.who)
    except BadRequest as error:
        typed.wrong["step"] = error.message
        return await _show(page, listing, typed)
    return go(back, "drops")


def _read(typed: Typed) -> dict[str, Any]:
    """The API's body."""
    values: dict[str, Any] = {
        "everyDays": typed.needed("every_days", lambda text: whole_of(text, 1, 365), 1),
        "floor": {"amount": typed.needed("floor", dollars_of, 1)},
    }
    if typed["by"] == "cents":
        values["cents"] = typed.needed("step", dollars_of, 0)
    else:
        values["percent"] = typed.needed("step", lambda text: percent_of(text, 0.01, 90), 0.0)
    if not values["floor"]["amount"]:
        typed.wrong["floor"] = "Write a price below which it never falls."
    if not values.get("cents", 1):
        typed.wrong["step"] = "Write more than nothing."
    return values
