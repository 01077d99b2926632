"""What sold where, what was taken down elsewhere because of it and how soon, and what is left of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import Conflict
from everystall.inventory import sold_elsewhere, takings
from everystall.inventory.sellers_day import now_of_seller
from everystall.inventory.takings import ELSEWHERE, PLACES, Month, Sum, Taking, together
from everystall.marketplaces import MARKETPLACES
from everystall.models import Connection, ListingPhoto, Sale
from everystall.web import sales
from everystall.web.deps import AllParts, PageSeller, as_id
from everystall.web.pages.amounts import Typed, dollars_of
from everystall.web.pages.opened import OpenedPage, go, opened
from everystall.web.photos import photo_at

router = APIRouter()

#: Of a chart, in its own units: how high its bars and what is below them are together.
HEIGHT: Final = 120
#: Words of one search; more are not asked for.
_WORDS: Final = 8
_BY: Final = {
    "orders": None,
    "page": "The listing's own page says so; its order was not seen yet.",
    "mail": "By the marketplace's mail alone: we could not look there.",
    "seller": None,
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
    #: What one of it cost.
    cost: int | None
    #: Its first photo, small.
    photo: str | None
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
    #: Its seller said so, and may take it back.
    marked: bool = False

    @property
    def said(self) -> str:
        """For who does not see it come."""
        what = "Cancelled" if self.cancelled else "Sold"
        return f"{what} {'elsewhere' if self.marked else f'on {self.label}'}: {self.title}."


@dataclass(frozen=True)
class Asked:
    """What the page's address narrows it to; what is no word of ours is not there."""

    #: Words of the title or the order's number.
    q: str = ""
    on: str = ""
    #: "2026-11"
    month: str = ""
    #: none: of those alone whose cost nobody said.
    cost: str = ""

    @classmethod
    def of(cls, q: str, on: str, month: str, cost: str) -> Asked:
        return cls(
            q.replace("\x00", "").strip(),
            on if on in PLACES else "",
            month if re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", month, re.ASCII) else "",
            cost if cost == "none" else "",
        )

    def first(self, zone: tzinfo | None) -> datetime | None:
        """When that month begins there."""
        return datetime.strptime(self.month, "%Y-%m").replace(tzinfo=zone) if self.month else None

    def which(self, zone: tzinfo | None) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [
            or_(
                *(
                    column.icontains(word, autoescape=True)
                    for column in (Sale.title, Sale.order_id, Sale.place)
                )
            )
            for word in self.q.split()[:_WORDS]
        ]
        if self.on == ELSEWHERE:
            found.append(Sale.connection_id.is_(None))
        elif self.on:
            found.append(Connection.marketplace == self.on)
        if (first := self.first(zone)) is not None:
            found.append(takings.in_month(first))
        if self.cost:
            found += [Sale.cost_cents.is_(None), Sale.cancelled_at.is_(None)]
        return found

    def url(self, **other: Any) -> str:
        told = {name: value for name, value in {**vars(self), **other}.items() if value}
        return "/sales" + (f"?{urlencode(told)}" if told else "")


@dataclass(frozen=True)
class Figure:
    """One of a month beside the same of the month before; in cents where it is money."""

    label: str
    now: int
    before: int
    money: bool = True

    @property
    def change(self) -> str:
        """ "+12 %", "+3"; empty where nothing is to be compared, or it is the same."""
        more = self.now - self.before
        if not more:
            return ""
        if not self.money:
            return f"{more:+,}"
        return f"{more / self.before:+.0%}".replace("%", " %") if self.before > 0 else ""

    @property
    def tone(self) -> str:
        return "ok" if self.now > self.before else "bad" if self.now < self.before else ""


@dataclass(frozen=True)
class Compared:
    """A month and the one before it, up to the same day where it is not over."""

    month: str
    against: str
    figures: Sequence[Figure]

    @classmethod
    def of(cls, months: tuple[str, str], now: Sum, before: Sum) -> Compared | None:
        """None: nothing sold in either."""
        if not now.number + before.number:
            return None
        figures = (
            Figure("Sold", now.number, before.number, money=False),
            Figure("For", now.cents, before.cents),
            Figure("After fees, about", now.cents - now.fees, before.cents - before.fees),
            Figure("Left, about", now.left, before.left),
        )
        return cls(*months, figures=figures)


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
    #: What the highest bar comes to, in cents.
    highest: int


@router.get("/sales")
async def show_sales(
    page: OpenedPage,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    q: Annotated[str, Query(max_length=200)] = "",
    on: Annotated[str, Query(max_length=40)] = "",
    month: Annotated[str, Query(max_length=10)] = "",
    cost: Annotated[str, Query(max_length=10)] = "",
) -> HTMLResponse:
    asked, now = Asked.of(q, on, month, cost), await now_of_seller(page.session)
    which = asked.which(now.tzinfo)
    found = await sales.find_sales(page.session, which, 50, cursor)
    months = await takings.months_of(page.session, now)
    firsts = [one.first for one in reversed(months) if one.all.number]
    if (chosen := asked.first(now.tzinfo)) is not None and chosen not in firsts:
        firsts.append(chosen)
    by_place = {name: together(one.sums[name] for one in months if name in one.sums) for name in PLACES}
    elsewhere = by_place[ELSEWHERE].number or asked.on == ELSEWHERE
    return page.show(
        "sales.html",
        sold=await sold_of(page.session, found.sales),
        next_cursor=found.next_cursor,
        first=cursor is None,
        asked=asked,
        narrowed=await takings.sum_of(page.session, which) if asked != Asked() else None,
        months=months,
        month_names={f"{one:%Y-%m}": f"{one:%b %Y}" for one in firsts},
        names=PLACES if elsewhere else MARKETPLACES,
        compared=await compared(page.session, asked, now) if cursor is None else None,
        total=together(one.all for one in months),
        by_place={name: one for name, one in by_place.items() if one.number},
        sold_chart=chart_of_sales(months),
        left_chart=chart_of_left(months),
    )


async def sold_of(session: AsyncSession, rows: Sequence[sales.SaleOut]) -> list[Sold]:
    """As the page shows them."""
    names = {
        row.public_id: row.label or row.account_name
        for row in await session.execute(
            select(Connection.public_id, Connection.label, Connection.account_name)
        )
    }
    photos = await _photos(session, {row.listing_id for row in rows if row.listing_id})
    return [
        Sold(
            key=row.sale_id, title=row.title, label=PLACES[row.marketplace or ELSEWHERE],
            href=f"/listings/{row.listing_id}/stalls" if row.listing_id else None,
            cost=row.cost.amount if row.cost else None,
            photo=photos.get(row.listing_id or ""), marked=row.told_by == "seller",
            name=row.place or names.get(row.browser_profile_id or ""), at=row.sold_at or row.observed_at,
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
    fee = sale.fees.amount if sale.fees else None
    return Taking.of(sale.marketplace or ELSEWHERE, price, sale.category, cost, sale.quantity, fee)


async def _photos(session: AsyncSession, listing_ids: Collection[str]) -> dict[str, str]:
    """The first photo of each of these. One query."""
    if not listing_ids:
        return {}
    rows = await session.execute(
        select(ListingPhoto.listing_id, ListingPhoto.id, ListingPhoto.turn).where(
            ListingPhoto.listing_id.in_([as_id(id) for id in listing_ids]), ListingPhoto.position == 0
        )
    )
    return {str(row.listing_id): photo_at(row.listing_id, row.id, row.turn) for row in rows}


async def compared(session: AsyncSession, asked: Asked, now: datetime) -> Compared | None:
    """The month that is asked for beside the one before; else this month so far, beside as much of the last
    one. Two queries."""
    first = asked.first(now.tzinfo) or now.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    before, after = takings.month_before(first), takings.month_after(first)
    whole = now >= after
    until = min(before + (now - first), first) if not whole else first
    which = replace(asked, month="").which(now.tzinfo)
    sums = [
        await takings.sum_of(session, [*which, takings.between(begins, ends)])
        for begins, ends in ((first, after), (before, until))
    ]
    names = (f"{first:%B %Y}", f"{before:%B %Y}")
    if not whole:
        names = (f"{first:%B} so far", f"{before:%B}, up to the same day")
    return Compared.of(names, *sums)


@router.post("/sales/{id}/take-back")
async def take_back(id: str, parts: AllParts, who: PageSeller) -> Response:
    """What its seller had marked as sold elsewhere is for sale again."""
    try:
        async with parts.database.as_user(who.user_id) as session:
            sale = await sold_elsewhere.take_back(session, as_id(id))
    except Conflict:
        return go("/sales", "sale-is-back")
    return go("/sales", "sale-back" if sale.listing_id else "sale-is-back")


@router.get("/sales/{id}/cost")
async def show_cost(id: str, page: OpenedPage) -> HTMLResponse:
    sale = await takings.find_sale(page.session, as_id(id))
    text = "" if sale.cost_cents is None else f"{sale.cost_cents / 100:.2f}"
    return page.show("sale_cost.html", sale=sale, text=text, wrong=None)


@router.post("/sales/{id}/cost")
async def write_cost(id: str, request: Request, parts: AllParts, who: PageSeller) -> Response:
    """What one of it cost; nothing written: what its listing says."""
    typed = Typed(await request.form())
    cents = typed.read("cost", dollars_of, None)
    async with opened(request, parts, who) as page:
        sale = await takings.find_sale(page.session, as_id(id))
        if typed.wrong:
            wrong = typed.wrong["cost"]
            return page.show("sale_cost.html", status=422, sale=sale, text=typed["cost"], wrong=wrong,
                             home=f"/sales/{sale.id}/cost")  # fmt: skip
    async with parts.database.as_user(who.user_id) as session:
        await takings.write_cost(session, sale.id, cents)
    return go("/sales", "cost-saved", f"sale-{sale.id}")


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
        for place, (marketplace, label) in enumerate(PLACES.items()):
            cents = one.sums[marketplace].cents if marketplace in one.sums else 0
            if cents:
                height = cents / highest * (HEIGHT - 8)
                y -= height
                parts.append(Bar(label, f"s{place}", round(y, 1), round(height, 1), cents))
        bars.append(parts)
    return Chart(HEIGHT, bars, _told(months, "cents"), max((one.all.cents for one in months), default=0))


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
        for place, (marketplace, label) in enumerate(PLACES.items()):
            cents = one.get(marketplace, 0)
            height = abs(cents) * scale
            if cents > 0:
                above -= height
                parts.append(Bar(label, f"s{place}", round(above, 1), round(height, 1), cents))
            elif cents < 0:
                parts.append(Bar(label, f"s{place} loss", round(below, 1), round(height, 1), cents))
                below += height
        bars.append(parts)
    return Chart(zero, bars, _told(months, "left"), highest)


def _told(months: Sequence[Month], what: str) -> str:
    """The same in a sentence, for who does not see it."""
    said = [
        f"{one.first:%b %Y} {'-' if cents < 0 else ''}${abs(cents) / 100:,.2f}"
        for one in months
        if one.all.number
        for cents in [getattr(one.all, what)]
    ]
    return "; ".join(said) or "Nothing yet"
