"""Prices that fall by themselves: the seller's schedule, that of one listing, and the steps it made."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import AfterValidator, Field
from sqlalchemy import and_, case, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest
from everystall.inventory import price_drops
from everystall.inventory.listings import find_listing
from everystall.models import PriceDrop, PriceStep
from everystall.web.deps import ListingId, Seller, Transaction
from everystall.web.listings import NextDropOut
from everystall.web.prices import Cents, hundredths
from everystall.web.shapes import Body, Done, MoneyBody, MoneyOut, Shape

router = APIRouter(tags=["prices"])


class DropBody(Body):
    """A step every so many days, never below the floor."""

    #: Of the price as it is then; or `cents`.
    percent: Annotated[float, Field(ge=0, le=90), AfterValidator(hundredths)] = 0
    cents: Annotated[Cents, Field(ge=0)] = 0
    every_days: Annotated[int, Field(ge=1, le=365, strict=True)]
    floor: MoneyBody

    def columns(self) -> dict[str, int]:
        """Those of `price_drops`. Raises BadRequest."""
        if bool(self.percent) == bool(self.cents):
            raise BadRequest(
                "A step is so many per cent or so many cents.", action="Send `percent` or `cents`."
            )
        return {
            "percent": round(self.percent * 100),
            "cents": self.cents,
            "every_days": self.every_days,
            "floor_cents": self.floor.amount,
        }


class DropOut(Shape):
    percent: float
    cents: int
    every_days: int
    floor: MoneyOut
    #: When it was set; the first step comes so many days later, or after the listing was posted.
    began_at: datetime

    @classmethod
    def of(cls, row: PriceDrop) -> DropOut:
        return cls(
            percent=row.percent / 100, cents=row.cents, every_days=row.every_days,
            floor=MoneyOut(amount=row.floor_cents, currency="USD"), began_at=row.began_at,
        )  # fmt: skip


class StepOut(Shape):
    number: int
    before: MoneyOut | None
    after: MoneyOut
    made_at: datetime
    #: Why the price stayed as it was; null: it fell.
    refused: str | None

    @classmethod
    def of(cls, row: PriceStep) -> StepOut:
        before = row.before_cents
        return cls(
            number=row.number, made_at=row.made_at, refused=row.refused,
            before=None if before is None else MoneyOut(amount=before, currency="USD"),
            after=MoneyOut(amount=row.after_cents, currency="USD"),
        )  # fmt: skip


class DropsOut(Shape):
    #: For all listings that have none of their own.
    schedule: DropOut | None


class ListingDropsOut(Shape):
    #: The listing's own.
    schedule: DropOut | None
    #: The seller's, which is for it while it has none of its own.
    common: DropOut | None
    #: Null: it is live nowhere, sold, at the floor, or there is no schedule.
    next: NextDropOut | None
    #: The latest first, at most 100.
    steps: list[StepOut]


@router.get("/api/prices/drops")
async def get_drops(session: Transaction, who: Seller) -> DropsOut:
    row = await _find(session, None)
    return DropsOut(schedule=DropOut.of(row) if row else None)


@router.put("/api/prices/drops")
async def put_drops(body: DropBody, session: Transaction, who: Seller) -> DropsOut:
    """Prices of all listings that are live fall so, those with a schedule of their own excepted."""
    await _set(session, who.user_id, None, body)
    return await get_drops(session, who)


@router.delete("/api/prices/drops")
async def delete_drops(session: Transaction, who: Seller) -> Done:
    await session.execute(delete(PriceDrop).where(PriceDrop.listing_id.is_(None)))
    return Done(message="Prices do not fall any more, but for listings with a schedule of their own.")


@router.get("/api/listings/{listingId}/price-drops")
async def get_listing_drops(listing_id: ListingId, session: Transaction) -> ListingDropsOut:
    listing = await find_listing(session, listing_id)
    own, common = await _find(session, listing_id), await _find(session, None)
    following = (await price_drops.next_of(session, [listing_id])).get(listing_id)
    return ListingDropsOut(
        schedule=DropOut.of(own) if own else None,
        common=DropOut.of(common) if common else None,
        next=NextDropOut.of(following, listing.currency) if following else None,
        steps=[StepOut.of(step) for step in await price_drops.steps_of(session, listing_id)],
    )


@router.put("/api/listings/{listingId}/price-drops")
async def put_listing_drops(
    listing_id: ListingId, body: DropBody, session: Transaction, who: Seller
) -> ListingDropsOut:
    """This listing's price falls so, whatever the schedule for all says."""
    await find_listing(session, listing_id)
    await _set(session, who.user_id, listing_id, body)
    return await get_listing_drops(listing_id, session)


@router.delete("/api/listings/{listingId}/price-drops")
async def delete_listing_drops(listing_id: ListingId, session: Transaction) -> Done:
    await find_listing(session, listing_id)
    await session.execute(delete(PriceDrop).where(PriceDrop.listing_id == listing_id))
    return Done(message="It has no schedule of its own any more; the one for all is for it, if there is one.")


async def _find(session: AsyncSession, listing_id: UUID | None) -> PriceDrop | None:
    found = await session.scalars(
        select(PriceDrop)
        .where(PriceDrop.listing_id == listing_id if listing_id else PriceDrop.listing_id.is_(None))
        .execution_options(populate_existing=True)
    )
    return found.one_or_none()


async def _set(session: AsyncSession, user_id: UUID, listing_id: UUID | None, body: DropBody) -> None:
    """The same again changes nothing: the days go on counting."""
    values = body.columns()
    same = and_(*(getattr(PriceDrop, name) == value for name, value in values.items()))
    began = case((same, PriceDrop.began_at), else_=func.now())
    new = insert(PriceDrop).values(user_id=user_id, listing_id=listing_id, **values)
    await session.execute(
        new.on_conflict_do_update(
            index_elements=["user_id"] if listing_id is None else ["user_id", "listing_id"],
            index_where=text("listing_id IS NULL") if listing_id is None else None,
            set_={**values, "began_at": began, "next_look_at": func.now()},
        )
    )
