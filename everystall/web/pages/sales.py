"""What sold where, what was taken down elsewhere because of it and how soon, and what is left of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.inventory import takings
from everystall.inventory.takings import Month, Taking, together
from everystall.marketplaces import MARKETPLACES
from everystall.models import Connection
from everystall.web import sales
from everystall.web.pages.opened import OpenedPage

router = APIRouter()

#: Of a chart, in its own units: how high its bars and what is below them are together.
HEIGHT: Final = 120
_BY: Final = {
    "orders": None,
    "page": "The listing's own page says so; its order was not seen yet.",
    "mail": "By the marketplace's mail alone: we could not look there.",
}


@dataclass(frozen=True)
class Ended:
    """Where it was taken down because of the sale."""

    label: str
    tone: str
    said: str
    times: Sequence[tuple[str, datetime | None]]


@dataclass(frozen=True)
class Sold:
    key: str
    title: str
    href: str | None
    label: str
    name: str | None
    at: datetime
    exact: bool
    taking: Taking
    quantity: int
    order: str | None
    remark: str | None
    cancelled: datetime | None
    ended: Sequence[Ended]

    @property
    def said(self) -> str:
        """For who does not see it come."""
        return f"{'Cancelled' if self.cancelled else 'Sold'} on {self.label}: {self.title}."


@dataclass(frozen=True)
class Bar:
    """A part of a month's bar: whose, from where and how high, in units of the chart."""

    label: str
    #: Which of the marketplaces; with `loss`, where it cost more than it brought.
    place: str
    y: float
    height: float
    cents: int


@dataclass(frozen=True)
class Chart:
    """Bars by month, the oldest first; `zero` is where nothing is."""

    zero: float
    bars: Sequence[Sequence[Bar]]
    said: str


@router.get("/sales")
async def show_sales(
    page: OpenedPage, cursor: Annotated[str | None, Query(max_length=200)] = None
) -> HTMLResponse:
    found = await sales.list_sales(page.session, limit=50, cursor=cursor)
    months = await takings.months_of(page.session, datetime.now(UTC))
    by_place = {name: together(one.sums[name] for one in months if name in one.sums) for name in MARKETPLACES}
    return page.show(
        "sales.html",
        sold=await _sold(page.session, found.sales),
        next_cursor=found.next_cursor,
        first=cursor is None,
        months=months,
        names=MARKETPLACES,
        total=together(one.all for one in months),
        by_place={name: one for name, one in by_place.items() if one.number},
        sold_chart=chart_of_sales(months),
        left_chart=chart_of_left(months),
    )


async def _sold(session: AsyncSession, rows: Sequence[sales.SaleOut]) -> list[Sold]:
    names = {
        row.public_id: row.label or row.account_name
        for row in await session.execute(
            select(Connection.public_id, Connection.label, Connection.account_name)
        )
    }
    return [
        Sold(
            key=row.sale_id, title=row.title, label=MARKETPLACES[row.marketplace],
            href=f"/listings/{row.listing_id}/stalls" if row.listing_id else None,
            name=names.get(row.browser_profile_id), at=row.sold_at or row.observed_at,
            exact=row.sold_at is None or row.sold_at_exact,
            taking=_taking(row),
            quantity=row.quantity, order=row.order_id, remark=_BY[row.told_by], cancelled=row.cancelled_at,
            ended=[_ended(row, down) for down in row.take_downs],
        )
        for row in rows
    ]  # fmt: skip


def _taking(sale: sales.SaleOut) -> Taking:
    price = sale.price.amount if sale.price else None
    cost = sale.cost.amount if sale.cost else None
    return Taking.of(sale.marketplace, price, sale.category, cost, sale.quantity)


def _ended(sale: sales.SaleOut, down: sales.TakeDownOut) -> Ended:
    label = MARKETPLACES[down.marketplace]
    times = [
        ("Sold", sale.sold_at if sale.sold_at_exact else None), ("Seen by us", sale.observed_at),
        ("Taking down began", down.started_at), ("Gone", down.gone_at),
    ]  # fmt: skip
    if down.gone_at is not None and down.started_at is None:  # it waited to be posted, or sold there as well
        return Ended(label, "ok", "nothing to take down", times)
    if down.gone_at is not None:
        return Ended(label, "ok", f"gone after {lasted(down.gone_at - sale.observed_at)}", times)
    if down.told_at is not None:
        return Ended(label, "bad", "not gone yet", times)
    return Ended(label, "run", "being taken down", times)


def lasted(time: timedelta) -> str:
    """ "17 s", "3 min 5 s", "2 h 10 min" """
    seconds = max(0, round(time.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


# ---- charts --------------------------------------------------------------------------------------------


def chart_of_sales(months: Sequence[Month]) -> Chart:
    """What they sold for, a part of each bar per marketplace."""
    highest = max((one.all.cents for one in months), default=0) or 1
    bars = []
    for one in months:
        y, parts = float(HEIGHT), list[Bar]()
        for place, (marketplace, label) in enumerate(MARKETPLACES.items()):
            cents = one.sums[marketplace].cents if marketplace in one.sums else 0
            if cents:
                height = cents / highest * (HEIGHT - 8)
                y -= height
                parts.append(Bar(label, f"s{place}", round(y, 1), round(height, 1), cents))
        bars.append(parts)
    return Chart(HEIGHT, bars, _told(months, "cents"))


def chart_of_left(months: Sequence[Month]) -> Chart:
    """What is left of that, alike; below the line, where it cost more."""
    each = [{name: one.left for name, one in month.sums.items()} for month in months]
    highest = max((sum(cents for cents in one.values() if cents > 0) for one in each), default=0)
    lowest = min((sum(cents for cents in one.values() if cents < 0) for one in each), default=0)
    scale = (HEIGHT - 8) / ((highest - lowest) or 1)
    zero = round(8 + highest * scale, 1) if highest or lowest else float(HEIGHT)
    bars = []
    for one in each:
        above, below, parts = zero, zero, list[Bar]()
        for place, (marketplace, label) in enumerate(MARKETPLACES.items()):
            cents = one.get(marketplace, 0)
            height = abs(cents) * scale
            if cents > 0:
                above -= height
                parts.append(Bar(label, f"s{place}", round(above, 1), round(height, 1), cents))
            elif cents < 0:
                parts.append(Bar(label, f"s{place} loss", round(below, 1), round(height, 1), cents))
                below += height
        bars.append(parts)
    return Chart(zero, bars, _told(months, "left"))


def _told(months: Sequence[Month], what: str) -> str:
    """The same in a sentence, for who does not see it."""
    said = [
        f"{one.first:%b %Y} {'-' if cents < 0 else ''}${abs(cents) / 100:,.2f}"
        for one in months
        if one.all.number
        for cents in [getattr(one.all, what)]
    ]
    return "; ".join(said) or "Nothing yet"
