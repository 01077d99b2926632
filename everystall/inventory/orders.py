"""An order as others read it: what was sold, until when it must be sent or cancelled, and what may be written
to its buyer. Nothing is sent to anybody here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.marketplaces import get_form
from everystall.models import Connection, Sale


def as_json(sale: Sale) -> dict[str, Any]:
    price = {"amount": sale.price_cents, "currency": sale.currency} if sale.price_cents is not None else None
    return {
        "orderId": sale.order_id, "remoteId": sale.remote_id, "title": sale.title, "price": price,
        "quantity": sale.quantity, "toldBy": sale.told_by,
        "soldAt": sale.sold_at.isoformat() if sale.sold_at else None,
        "observedAt": sale.observed_at.isoformat(),
    }  # fmt: skip


async def accounts_of(session: AsyncSession, sales: Iterable[Sale]) -> dict[UUID, Connection]:
    """Their accounts by id. One query."""
    ids = {sale.connection_id for sale in sales if sale.connection_id is not None}
    rows = await session.scalars(select(Connection).where(Connection.id.in_(ids)))
    return {account.id: account for account in rows}


def described(sale: Sale, accounts: Mapping[UUID, Connection]) -> dict[str, Any]:
    """The same, and on which account; of what was sold elsewhere, where that was."""
    account = accounts[sale.connection_id] if sale.connection_id is not None else None
    return {
        "browserProfileId": account.public_id if account else None,
        "marketplace": account.marketplace if account else None,
        "place": sale.place, **as_json(sale),
    }  # fmt: skip


def deadline_of(sale: Sale, marketplace: str) -> dict[str, Any]:
    """Until when the order must be sent or cancelled. `by` is null where the marketplace names no such time
    that we know of; it is reckoned from when the order was seen where the site does not tell when it came."""
    rule = get_form(marketplace).SENDING
    by = rule.until(sale.sold_at or sale.observed_at)
    return {
        "by": by.isoformat() if by else None, "said": rule.said, "source": rule.source,
        "checked": rule.checked.isoformat(),
    }  # fmt: skip


def letter_to_buyer(sale: Sale) -> str:
    """What the seller may send to who bought what is not there any more. It names no other marketplace: they
    do not like to be told."""
    return (
        f"Hello, and thank you for your order of “{sale.title}”. I am sorry: the last one was sold just "
        "before your order came in, so I cannot send it to you. I will cancel your order, and you get all of "
        "your money back. I apologize for the trouble."
    )
