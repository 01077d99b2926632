"""What sold where, what was taken down elsewhere because of it and how soon, and what is left of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.fees import fee_of
from everystall.models import Connection, Listing, Sale
from everystall.web import sales
from everystall.web.deps import as_id
from everystall.web.pages.opened import OpenedPage

router = APIRouter()

#: Months that the sums are of.
MONTHS: Final = 12
#: Of the chart, in its own units.
HEIGHT: Final = 120
_TOLD: Final = {
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
    price: int | None
    fee: int | None
    quantity: int
    order: str | None
    remark: str | None
    cancelled: datetime | None
    ended: Sequence[Ended]

    @property
    def left(self) -> int | None:
        return None if self.price is None or self.fee is None else self.price - self.fee


@dataclass
class Sum:
    """Of one marketplace in one month."""

    number: int = 0
    cents: int = 0
    fees: int = 0


@dataclass(frozen=True)
class Bar:
    """A part of a month's bar: whose, from where and how high, in units of the chart."""

    label: str
    place: int
    y: float
    height: float
    cents: int


@dataclass
class Month:
    first: datetime
    sums: dict[str, Sum] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)

    @property
    def all(self) -> Sum:
        parts = self.sums.values()
        return Sum(
            sum(one.number for one in parts), sum(one.cents for one in parts), sum(one.fees for one in parts)
        )


@router.get("/sales")
async def show_sales(
    page: OpenedPage, cursor: Annotated[str | None, Query(max_length=200)] = None
) -> HTMLResponse:
    found = await sales.list_sales(page.session, limit=50, cursor=cursor)
    months = await months_of(page.session, datetime.now(UTC))
    total = Month(datetime.now(UTC), {str(place): one.all for place, one in enumerate(months)}).all
    return page.show(
        "sales.html",
        sold=await _sold(page.session, found.sales),
        next_cursor=found.next_cursor,
        first=cursor is None,
        months=months,
        names=MARKETPLACES,
        total=total,
    )


async def _sold(session: AsyncSession, rows: Sequence[sales.SaleOut]) -> list[Sold]:
    ids = {as_id(row.listing_id) for row in rows if row.listing_id}
    categories = {
        str(id): category
        for id, category in await session.execute(
            select(Listing.id, Listing.category).where(Listing.id.in_(ids))
        )
    }
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
            exact=row.sold_at is None or row.sold_at_exact, price=row.price.amount if row.price else None,
            fee=_fee(row.marketplace, row.price.amount if row.price else None,
                     categories.get(row.listing_id or "")),
            quantity=row.quantity, order=row.order_id, remark=_TOLD[row.told_by], cancelled=row.cancelled_at,
            ended=[_ended(row, down) for down in row.take_downs],
        )
        for row in rows
    ]  # fmt: skip


def _fee(marketplace: str, price: int | None, category: str | None) -> int | None:
    return None if price is None else fee_of(get_form(marketplace).FEES, price, category)


def _ended(sale: sales.SaleOut, down: sales.TakeDownOut) -> Ended:
    label = MARKETPLACES[down.marketplace]
    times = [
        ("Sold", sale.sold_at if sale.sold_at_exact else None), ("Seen by us", sale.observed_at),
        ("Taking down began", down.started_at), ("Gone", down.gone_at),
    ]  # fmt: skip
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


# ---- by month ----------------------------------------------------------------------------------------


async def months_of(session: AsyncSession, now: datetime) -> list[Month]:
    """The last twelve, the oldest first; of orders that stand. A listing's fee is of its category."""
    months = [Month(_back(now, number)) for number in reversed(range(MONTHS))]
    came = func.coalesce(Sale.sold_at, Sale.observed_at)
    month = func.date_trunc("month", came, "UTC").label("month")
    rows = await session.execute(
        select(
            month, Connection.marketplace, Sale.price_cents, Listing.category, func.count().label("number")
        )
        .join(Connection, Connection.id == Sale.connection_id)
        .outerjoin(Listing, Listing.id == Sale.listing_id)
        .where(came >= months[0].first, Sale.cancelled_at.is_(None))
        .group_by(month, Connection.marketplace, Sale.price_cents, Listing.category)
    )
    by_first = {one.first: one for one in months}
    for row in rows:
        one = by_first.get(row.month.astimezone(UTC))
        if one is None:  # a site's clock is ahead of ours
            continue
        part = one.sums.setdefault(row.marketplace, Sum())
        part.number += row.number
        part.cents += (row.price_cents or 0) * row.number
        part.fees += (_fee(row.marketplace, row.price_cents, row.category) or 0) * row.number
    _draw(months)
    return months


def _back(now: datetime, number: int) -> datetime:
    """The first of the month so many before this one."""
    months = now.year * 12 + now.month - 1 - number
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)


def _draw(months: Sequence[Month]) -> None:
    highest = max((one.all.cents for one in months), default=0) or 1
    for one in months:
        y = float(HEIGHT)
        for place, (marketplace, label) in enumerate(MARKETPLACES.items()):
            part: Mapping[str, Sum] = one.sums
            if marketplace in part and part[marketplace].cents:
                height = part[marketplace].cents / highest * (HEIGHT - 8)
                y -= height
                one.bars.append(Bar(label, place, round(y, 1), round(height, 1), part[marketplace].cents))
