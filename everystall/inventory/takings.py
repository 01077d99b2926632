"""What sales bring in: what they went for, what the marketplaces take of it, what the things cost, and what
is left. By month and marketplace, and as a file.

Fees are reckoned from the published tables by the category; it and what a thing cost stand in the sale, so
that a listing that is changed or deleted later changes no month that is over. Of what was sold elsewhere the
seller says what selling it cost. Postage is in none of it. Cancelled orders bring nothing.

Months are the seller's: their edges are moments in the seller's time zone. A sale of which only the day is
known counts on that day, wherever the seller is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    SQLColumnExpression,
    case,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database
from everystall.errors import NotFound
from everystall.inventory.sellers_day import now_of_seller
from everystall.inventory.transfer import BATCH, csv_line
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.fees import fee_of
from everystall.models import Connection, Listing, Sale

#: Months that the sums are of.
MONTHS: Final = 12
COLUMNS: Final = (
    "sold_at", "seen_at", "marketplace", "account", "order_id", "title", "sku", "quantity", "price", "fee",
    "cost", "left", "currency", "cancelled_at", "listing_id",
)  # fmt: skip
#: Where it was sold, if on no marketplace that we know.
ELSEWHERE: Final = "elsewhere"
#: All places, by name.
PLACES: Final = {**MARKETPLACES, ELSEWHERE: "Elsewhere"}
#: Sales with the same of these bring in the same.
_ALIKE: Final = (
    func.coalesce(Connection.marketplace, ELSEWHERE).label("marketplace"), Sale.price_cents, Sale.quantity,
    Sale.category, Sale.cost_cents, Sale.fee_cents,
)  # fmt: skip
#: Of `sold_at` only the day is known: it is that of UTC.
_DAY_ONLY: Final = Sale.sold_at.is_not(None) & Sale.sold_at_exact.is_(False)


@dataclass(frozen=True)
class Taking:
    """Of one item of an order, in cents; None: not known."""

    price: int | None
    fee: int | None
    cost: int | None

    @classmethod
    def of(
        cls, place: str, price: int | None, category: str | None, cost: int | None, quantity: int,
        told: int | None = None,
    ) -> Taking:  # fmt: skip
        """`cost`: of one; `price`: of the item as the order has it; `told`: the fee, where it was sold
        elsewhere."""
        if place == ELSEWHERE:
            fee = None if price is None else told or 0
        else:
            fee = None if price is None else fee_of(get_form(place).FEES, price, category)
        return cls(price, fee, None if cost is None else cost * quantity)

    @property
    def left(self) -> int | None:
        """After the fee; and after the cost, where that is known."""
        return None if self.price is None or self.fee is None else self.price - self.fee - (self.cost or 0)


@dataclass
class Sum:
    """Of several."""

    number: int = 0
    cents: int = 0
    fees: int = 0
    cost: int = 0
    #: Of how many nobody said what the thing cost.
    costless: int = 0

    @property
    def left(self) -> int:
        return self.cents - self.fees - self.cost

    def add(self, taking: Taking, number: int) -> None:
        self.number += number
        self.cents += (taking.price or 0) * number
        self.fees += (taking.fee or 0) * number
        self.cost += (taking.cost or 0) * number
        self.costless += number if taking.cost is None else 0


def together(sums: Iterable[Sum]) -> Sum:
    found = Sum()
    for one in sums:
        for name in vars(found):
            setattr(found, name, getattr(found, name) + getattr(one, name))
    return found


@dataclass
class Month:
    first: datetime
    #: By marketplace.
    sums: dict[str, Sum] = field(default_factory=dict)

    @property
    def all(self) -> Sum:
        return together(self.sums.values())


async def months_of(session: AsyncSession, now: datetime) -> list[Month]:
    """The last twelve in the time zone of `now`, the oldest first. One query."""
    months = [Month(_back(now, number)) for number in reversed(range(MONTHS))]
    edges = [*(one.first for one in months), month_after(now)]
    of_day, of_moment = _number_of(Sale.sold_at, map(_day_of, edges)), _number_of(_came(), edges)
    alike = (case((_DAY_ONLY, of_day), else_=of_moment).label("month"), *_ALIKE)
    rows = await session.execute(
        select(*alike, func.count().label("number"))
        .outerjoin(Connection, Connection.id == Sale.connection_id)
        .where(between(edges[0], edges[-1]), Sale.cancelled_at.is_(None))
        .group_by(*alike)
    )
    for row in rows:
        one = months[row.month - 1]
        taking = Taking.of(
            row.marketplace, row.price_cents, row.category, row.cost_cents, row.quantity, row.fee_cents
        )
        one.sums.setdefault(row.marketplace, Sum()).add(taking, row.number)
    return months


async def sums_of_days(session: AsyncSession, now: datetime, days: Sequence[int]) -> list[Sum]:
    """Of the last so many days, each. One query."""
    came, begins = _came(), [now - timedelta(days=one) for one in days]
    rows = await session.execute(
        select(*_ALIKE, *(func.count().filter(came >= one) for one in begins))
        .outerjoin(Connection, Connection.id == Sale.connection_id)
        .where(came >= min(begins), Sale.cancelled_at.is_(None))
        .group_by(*_ALIKE)
    )
    sums = [Sum() for _ in days]
    for place, price, quantity, category, cost, fee, *numbers in rows:
        taking = Taking.of(place, price, category, cost, quantity, fee)
        for one, number in zip(sums, numbers, strict=True):
            one.add(taking, number)
    return sums


async def sum_of(session: AsyncSession, which: Sequence[ColumnElement[bool]]) -> Sum:
    """Of those of which all this is so. One query."""
    rows = await session.execute(
        select(*_ALIKE, func.count())
        .outerjoin(Connection, Connection.id == Sale.connection_id)
        .where(*which, Sale.cancelled_at.is_(None))
        .group_by(*_ALIKE)
    )
    found = Sum()
    for place, price, quantity, category, cost, fee, number in rows:
        found.add(Taking.of(place, price, category, cost, quantity, fee), number)
    return found


def in_month(first: datetime) -> ColumnElement[bool]:
    """It sold in the month that begins then."""
    return between(first, month_after(first))


def between(begins: datetime, ends: datetime) -> ColumnElement[bool]:
    """It sold from then on, and before then, both in the seller's time zone."""
    of_day = (Sale.sold_at >= _day_of(begins)) & (Sale.sold_at < _day_of(ends))
    return case((_DAY_ONLY, of_day), else_=(_came() >= begins) & (_came() < ends))


def month_before(first: datetime) -> datetime:
    return _back(first, 1)


def month_after(first: datetime) -> datetime:
    return _back(first, -1)


def _came() -> ColumnElement[datetime]:
    return func.coalesce(Sale.sold_at, Sale.observed_at)


def _day_of(at: datetime) -> datetime:
    """What its clock shows, as `sold_at` has it where only the day is known."""
    return at.replace(tzinfo=UTC)


def _number_of(column: SQLColumnExpression[Any], edges: Iterable[datetime]) -> ColumnElement[int]:
    """Of which of the months that begin at these edges: the first is 1."""
    return func.width_bucket(column, literal(list(edges), ARRAY(DateTime(timezone=True))))


async def find_sale(session: AsyncSession, sale_id: UUID) -> Sale:
    """Raises NotFound."""
    sale = await session.get(Sale, sale_id)
    if sale is None:
        raise NotFound
    return sale


async def write_cost(session: AsyncSession, sale_id: UUID, cents: int | None) -> Sale:
    """What one of it cost, whatever its listing says; None: as its listing says, if it has one yet. Raises
    NotFound."""
    sale = await find_sale(session, sale_id)
    if cents is None and sale.listing_id is not None:
        cents = await session.scalar(select(Listing.cost_cents).where(Listing.id == sale.listing_id))
    sale.cost_cents = cents
    await session.flush()
    return sale


async def fill_in(session: AsyncSession, listing: Listing) -> None:
    """Its sales whose cost or category nobody had said take what the listing says now, for good."""
    await session.execute(
        update(Sale)
        .where(Sale.listing_id == listing.id, or_(Sale.category.is_(None), Sale.cost_cents.is_(None)))
        .values(category=func.coalesce(Sale.category, listing.category),
                cost_cents=func.coalesce(Sale.cost_cents, listing.cost_cents))
    )  # fmt: skip


def _back(now: datetime, number: int) -> datetime:
    """The first of the month so many before this one, in the same time zone."""
    months = now.year * 12 + now.month - 1 - number
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=now.tzinfo)


# ---- as a file --------------------------------------------------------------------------------------


async def csv_of_sales(db: Database, user_id: UUID) -> AsyncIterator[str]:
    """All of them, what was seen first comes first; batch by batch, a transaction each. Times are in the
    seller's time zone."""
    yield "\ufeff" + csv_line(COLUMNS)
    async with db.as_user(user_id) as session:
        zone = (await now_of_seller(session)).tzinfo
    wanted = (
        select(Sale, Connection.marketplace, Connection.label, Connection.account_name, Listing.sku)
        .outerjoin(Connection, Connection.id == Sale.connection_id)
        .outerjoin(Listing, Listing.id == Sale.listing_id)
        .order_by(Sale.observed_at, Sale.id)
        .limit(BATCH)
    )
    batch = wanted
    while True:
        async with db.as_user(user_id) as session:
            rows = (await session.execute(batch)).all()
        yield "".join(csv_line(_cells(row, zone)) for row in rows)
        if len(rows) < BATCH:
            return
        last = rows[-1].Sale
        batch = wanted.where(tuple_(Sale.observed_at, Sale.id) > tuple_(last.observed_at, last.id))


def _cells(row: Any, zone: tzinfo | None) -> list[str | Decimal]:
    sale = row.Sale
    place = row.marketplace or ELSEWHERE
    taking = Taking.of(place, sale.price_cents, sale.category, sale.cost_cents, sale.quantity, sale.fee_cents)
    if sale.cancelled_at is not None:
        taking = Taking(sale.price_cents, None, None)
    left = taking.left if taking.cost is not None else None
    return [
        _time(sale.sold_at, zone if sale.sold_at_exact else UTC), _time(sale.observed_at, zone),
        PLACES[place], row.label or row.account_name or sale.place or "", sale.order_id or "", sale.title,
        row.sku or "", str(sale.quantity), _money(taking.price), _money(taking.fee), _money(taking.cost),
        _money(left), sale.currency, _time(sale.cancelled_at, zone), str(sale.listing_id or ""),
    ]  # fmt: skip


def _money(cents: int | None) -> str | Decimal:
    """Dollars; nothing where it is not known."""
    return "" if cents is None else Decimal(cents).scaleb(-2)


def _time(at: datetime | None, zone: tzinfo | None) -> str:
    return "" if at is None else at.astimezone(zone).isoformat()
