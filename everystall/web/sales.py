"""What sold where, what was taken down because of it, what was sold twice; and what you sold elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query
from pydantic import Field
from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.inventory import double_sales, orders, sold_elsewhere, takings
from everystall.inventory.connections import get_connection
from everystall.inventory.pairs import DeadlineOut
from everystall.inventory.sale_rules import keep_last_units, rules_of
from everystall.inventory.sellers_day import now_of_seller
from everystall.inventory.sold_elsewhere import Told
from everystall.models import Connection, DoubleSale, Publication, Sale, SaleRules, TakeDown
from everystall.web.cursors import cursor_of, read_cursor
from everystall.web.deps import Seller, Transaction, as_id
from everystall.web.shapes import Body, CostBody, Line100, MoneyBody, MoneyOut, Shape

router = APIRouter(prefix="/api/sales", tags=["sales"])


class TakeDownOut(Shape):
    """A listing that was taken down because of a sale elsewhere. With the sale's `soldAt` and `observedAt`:
    how long it was still for sale there."""

    marketplace: str
    #: Null: its listing is deleted.
    browser_profile_id: str | None
    asked_at: datetime
    #: When a visit first went to take it down, and when its own page said that it is gone.
    started_at: datetime | None
    gone_at: datetime | None
    #: When you were told that it is late.
    told_at: datetime | None


class OrderOut(Shape):
    """An item of an order, as the account's own list of orders shows it; or what you sold elsewhere."""

    #: Null, both: you sold it elsewhere.
    marketplace: str | None
    browser_profile_id: str | None
    #: Where that was, in your words.
    place: str | None
    #: Null: the listing's own page said that it is sold, and no order was seen yet; or there is none.
    order_id: str | None
    remote_id: str | None
    title: str
    price: MoneyOut | None
    quantity: int
    #: mail: a mail of the marketplace alone, since we could not look there. seller: you said so.
    told_by: Literal["orders", "page", "mail", "seller"]
    #: As the marketplace tells it; null: it does not.
    sold_at: datetime | None
    observed_at: datetime


class SaleOut(OrderOut):
    sale_id: str
    #: Null: it is none of the listings here, or that is deleted.
    listing_id: str | None
    #: False: of `soldAt` only the day is known, that of UTC.
    sold_at_exact: bool
    #: When it was first seen cancelled there, or you took it back.
    cancelled_at: datetime | None
    #: What its fee goes by, and what one of it cost you: as the listing said when it sold, or, if it said
    #: nothing, first since. You may write another cost.
    category: str | None
    cost: MoneyOut | None
    #: What selling it elsewhere cost you, as you said; of marketplaces it is reckoned.
    fees: MoneyOut | None
    take_downs: list[TakeDownOut]


class SalesOut(Shape):
    sales: list[SaleOut]
    #: For the next page; null: that was the last one.
    next_cursor: str | None


class DoubleSaleOut(Shape):
    listing_id: str | None
    detected_at: datetime
    #: When one of the two was cancelled there.
    settled_at: datetime | None
    #: The one that has it. Null: the listing's own page said that it is sold, and no order was seen.
    earlier: OrderOut | None
    later: OrderOut
    #: Until when the later order must be sent or cancelled, and what you may write to its buyer.
    deadline: DeadlineOut
    letter_to_buyer: str


class DoubleSalesOut(Shape):
    double_sales: list[DoubleSaleOut]
    next_cursor: str | None


PutBack = Literal["ask", "always", "never"]
Blind = Literal["keep", "end_elsewhere"]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=200)]


@router.get("")
async def list_sales(
    session: Transaction,
    listing_id: Annotated[str | None, Query(alias="listingId", max_length=60)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> SalesOut:
    """What was seen last comes first: every order that an account showed since it is connected, also of what
    is none of the listings here."""
    which = [] if listing_id is None else [Sale.listing_id == as_id(listing_id)]
    return await find_sales(session, which, limit, cursor)


async def find_sales(
    session: AsyncSession, which: Sequence[ColumnElement[bool]], limit: int, cursor: str | None = None
) -> SalesOut:
    """Those of which all this is so, of `sales` and `connections`; as the route."""
    wanted = (
        select(Sale, Connection.public_id, Connection.marketplace)
        .outerjoin(Connection, Connection.id == Sale.connection_id)
        .where(*which)
        .order_by(Sale.observed_at.desc(), Sale.id.desc())
        .limit(limit + 1)
    )
    if cursor is not None:
        at, last = read_cursor(cursor)
        wanted = wanted.where(tuple_(Sale.observed_at, Sale.id) < tuple_(at, as_id(last)))
    rows = (await session.execute(wanted)).all()
    shown = rows[:limit]
    downs = await _take_downs(session, [row.Sale.id for row in shown])
    return SalesOut(
        sales=[_sale(row.Sale, row.public_id, row.marketplace, downs[row.Sale.id]) for row in shown],
        next_cursor=cursor_of(shown[-1].Sale.observed_at, shown[-1].Sale.id) if len(rows) > limit else None,
    )


class SoldBody(Body):
    """What you sold elsewhere: a shop, a stall, another site."""

    listing_id: Annotated[str, Field(max_length=60)]
    #: Of all of them together.
    price: MoneyBody | None = None
    quantity: Annotated[int, Field(ge=1, le=999, strict=True)] = 1
    #: The day, such as 2026-11-28; left out: today.
    sold_on: date | None = None
    place: Line100 = None
    #: What selling it cost you there: a stall's rent, a card's fee.
    fees: CostBody | None = None


@router.post("", status_code=201)
async def mark_sold(
    body: SoldBody,
    session: Transaction,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> SaleOut:
    """It is sold, as if a marketplace had told of an order: with none left it is taken down wherever it is
    live. 409 where not so many are left. The same `Idempotency-Key` again returns the first sale. `soldOn` is
    today at the latest, and today if left out, in your time zone: that of your notifications, else your
    browser's, else UTC."""
    told = Told(
        body.sold_on or (await now_of_seller(session)).date(),
        body.price.amount if body.price else None,
        body.fees.amount if body.fees else None,
        body.place,
        body.quantity,
    )
    sale = await sold_elsewhere.mark(session, as_id(body.listing_id), told, idempotency_key)
    return await _one(session, sale)


@router.post("/{saleId}/take-back")
async def take_back_sale(saleId: str, session: Transaction) -> SaleOut:  # the path's own name
    """It was not sold elsewhere after all: what it had is for sale again, and posted again where it was taken
    down because of it. An order of a marketplace is cancelled there."""
    return await _one(session, await sold_elsewhere.take_back(session, as_id(saleId)))


async def _one(session: AsyncSession, sale: Sale) -> SaleOut:
    downs = await _take_downs(session, [sale.id])
    return _sale(sale, None, None, downs[sale.id])


@router.get("/doubles")
async def list_double_sales(session: Transaction, limit: Limit = 50, cursor: Cursor = None) -> DoubleSalesOut:
    """More was sold than there was: both orders, until when the later one must be sent or cancelled, and a
    text for its buyer. No order is ever cancelled for you. The last one found comes first."""
    wanted = select(DoubleSale).order_by(DoubleSale.detected_at.desc(), DoubleSale.id.desc()).limit(limit + 1)
    if cursor is not None:
        at, last = read_cursor(cursor)
        wanted = wanted.where(tuple_(DoubleSale.detected_at, DoubleSale.id) < tuple_(at, as_id(last)))
    rows = (await session.scalars(wanted)).all()
    shown = rows[:limit]
    ids = {id for row in shown for id in (row.earlier_id, row.later_id) if id is not None}
    sales = {sale.id: sale for sale in await session.scalars(select(Sale).where(Sale.id.in_(ids)))}
    accounts = await orders.accounts_of(session, sales.values())
    return DoubleSalesOut(
        double_sales=[_double(row, sales, accounts) for row in shown],
        next_cursor=cursor_of(shown[-1].detected_at, shown[-1].id) if len(rows) > limit else None,
    )


class RulesBody(Body):
    """What is left out stays as it is."""

    put_back: PutBack | None = None
    blind: Blind | None = None
    #: An account is blind for so long before anything is ended elsewhere because of it.
    blind_minutes: Annotated[int, Field(ge=0, le=10_080, strict=True)] | None = None
    #: A browserProfileId, or null.
    last_unit_on: Annotated[str, Field(max_length=200)] | None = None


class RulesOut(Shape):
    #: An order that we had counted is cancelled there: is what it had for sale again, and posted again
    #: where it was taken down because of it?
    put_back: PutBack
    #: What is live on an account that we cannot see: is it ended elsewhere, and put back once we see it?
    blind: Blind
    blind_minutes: int
    #: Of several, the last one stays on this account alone, if it is there; null: it stays everywhere.
    last_unit_on: str | None


@router.get("/rules")
async def get_rules(session: Transaction, who: Seller) -> RulesOut:
    """What is done after a sale without asking you."""
    rules = await rules_of(session, who.user_id)
    only = await session.get_one(Connection, rules.last_unit_on) if rules.last_unit_on else None
    return RulesOut(
        put_back=rules.put_back,
        blind=rules.blind,
        blind_minutes=rules.blind_minutes,
        last_unit_on=only.public_id if only else None,
    )


@router.patch("/rules")
async def patch_rules(body: RulesBody, session: Transaction, who: Seller) -> RulesOut:
    """From now on; what waits for you already still does. `lastUnitOn` holds for what has one left, too."""
    await set_rules(session, who.user_id, body)
    return await get_rules(session, who)


class SalePatch(Body):
    #: Of one; null: what its listing says.
    cost: CostBody | None


@router.patch("/{saleId}")
async def patch_sale(saleId: str, body: SalePatch, session: Transaction) -> SaleOut:
    """What one of it cost you, whatever its listing says, and also where that is deleted."""
    cents = body.cost.amount if body.cost else None
    return await _one(session, await takings.write_cost(session, as_id(saleId), cents))


async def set_rules(session: AsyncSession, user_id: UUID, body: RulesBody) -> None:
    """As the route."""
    values: dict[str, Any] = body.model_dump(exclude_none=True, exclude={"last_unit_on"})
    only = await get_connection(session, body.last_unit_on) if body.last_unit_on else None
    if "last_unit_on" in body.model_fields_set:
        values["last_unit_on"] = only.id if only else None
    await session.execute(
        insert(SaleRules)
        .values(user_id=user_id, **values)
        .on_conflict_do_update(index_elements=["user_id"], set_=values or {"user_id": user_id})
    )
    if only is not None:
        await keep_last_units(session, only.id)


async def _take_downs(session: AsyncSession, sale_ids: Sequence[UUID]) -> dict[UUID, list[TakeDownOut]]:
    found: dict[UUID, list[TakeDownOut]] = {id: [] for id in sale_ids}
    rows = await session.execute(
        select(TakeDown, Connection.public_id)
        .outerjoin(Publication, Publication.id == TakeDown.publication_id)
        .outerjoin(Connection, Connection.id == Publication.connection_id)
        .where(TakeDown.sale_id.in_(sale_ids))
        .order_by(TakeDown.asked_at, TakeDown.id)
    )
    for down, public_id in rows:
        one = TakeDownOut(
            marketplace=down.marketplace, browser_profile_id=public_id, asked_at=down.asked_at,
            started_at=down.started_at, gone_at=down.gone_at, told_at=down.told_at,
        )  # fmt: skip
        found[down.sale_id].append(one)
    return found


def _sale(
    row: Sale, public_id: str | None, marketplace: str | None, take_downs: list[TakeDownOut]
) -> SaleOut:  # fmt: skip
    def money(cents: int | None) -> MoneyOut | None:
        return None if cents is None else MoneyOut(amount=cents, currency=row.currency)

    return SaleOut(
        sale_id=str(row.id),
        marketplace=marketplace,
        browser_profile_id=public_id,
        listing_id=str(row.listing_id) if row.listing_id else None,
        order_id=row.order_id,
        remote_id=row.remote_id,
        title=row.title,
        place=row.place,
        price=money(row.price_cents),
        quantity=row.quantity,
        told_by=row.told_by,
        sold_at=row.sold_at,
        sold_at_exact=row.sold_at_exact,
        observed_at=row.observed_at,
        cancelled_at=row.cancelled_at,
        category=row.category,
        cost=money(row.cost_cents),
        fees=money(row.fee_cents),
        take_downs=take_downs,
    )


def _double(
    row: DoubleSale, sales: Mapping[UUID, Sale], accounts: Mapping[UUID, Connection]
) -> DoubleSaleOut:
    earlier = sales[row.earlier_id] if row.earlier_id else None
    told = double_sales.sides(earlier, sales[row.later_id], accounts)
    return DoubleSaleOut(
        listing_id=str(row.listing_id) if row.listing_id else None,
        detected_at=row.detected_at,
        settled_at=row.settled_at,
        **told,
    )
