"""What sells, on rows alone: listings that are live on accounts, orders that a visit would have seen."""

from __future__ import annotations

from sqlalchemy import func, select

from everystall.inventory import cancelled_sales, sales
from everystall.marketplaces.base import Money, Sale
from everystall.models import Attempt, Connection, Publication, SaleRules


async def publish(db, user, listing, account, remote_id, outcome, quantity):
    async with db.as_user(user) as session:
        publication = Publication(
            user_id=user, listing_id=listing.id, connection_id=account.id, marketplace=account.marketplace,
            wanted_revision=1, put_revision=1, put="live", state="live", remote_id=remote_id,
        )  # fmt: skip
        session.add(publication)
        await session.flush()
        session.add(
            Attempt(
                user_id=user, publication_id=publication.id, connection_id=account.id, listing_revision=1,
                draft={"title": "A shirt", "price": {"amount": 900, "currency": "USD"}, "quantity": quantity},
                fields_hash="h", fence=1, remote_id=remote_id, outcome=outcome, armed_at=func.now(),
            )
        )  # fmt: skip


async def take(db, account, *order):
    async with db.as_user(account.user_id) as session:
        await sales.take(session, await session.get_one(Connection, account.id), order)


async def all_of(db, user, what):
    async with db.as_user(user) as session:
        return (await session.scalars(select(what).order_by(what.id))).all()


async def one_of(db, user, what):
    (found,) = await all_of(db, user, what)
    return found


def an_order(order_id, remote_id, **more):
    return Sale(order_id, remote_id, "A shirt", Money(amount=900), **more)


async def cancel(db, account, order_id):
    async with db.as_user(account.user_id) as session:
        await cancelled_sales.take_cancelled(session, await session.get_one(Connection, account.id), order_id)


async def stands(db, user):
    return {one.marketplace: (one.put, one.wanted, one.state) for one in await all_of(db, user, Publication)}


async def rule(db, user, **values):
    async with db.as_user(user) as session:
        session.add(SaleRules(user_id=user, **values))
