"""Relisting: the seller's rules, what they would do in the next days, and one listing now."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest, NotFound
from everystall.inventory import relisting
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.models import Connection, Publication, RelistRule
from everystall.web.deps import ListingId, Seller, Transaction
from everystall.web.publications import actions_of
from everystall.web.shapes import Body, Done, PublicationOut, Shape

router = APIRouter(tags=["relisting"])

#: That one answer shows.
SHOWN = 500
Days = Annotated[int, Field(ge=1, le=365, strict=True)]


class RelistRuleBody(Body):
    """What has stood for so many days is taken down and posted again as new."""

    after_days: Days
    #: On each account.
    per_day: Annotated[int, Field(ge=1, le=relisting.MOST_PER_DAY, strict=True)]
    #: Between two of the same listing; null: as `afterDays`.
    between_days: Days | None = None

    def columns(self, marketplace: str) -> dict[str, int]:
        """Those of `relist_rules`. Raises BadRequest."""
        get_form(marketplace)
        values = {
            "after_days": self.after_days,
            "between_days": self.between_days or self.after_days,
            "per_day": self.per_day,
        }
        least = relisting.minimum_days(marketplace)
        if min(values["after_days"], values["between_days"]) < least:
            raise BadRequest(
                f"On {MARKETPLACES[marketplace]} a listing stands for {least} days before it is relisted.",
                action="Send more `afterDays` and `betweenDays`.",
                limit=least,
            )
        return values


class RelistRuleOut(Shape):
    marketplace: str
    after_days: int
    per_day: int
    between_days: int

    @classmethod
    def of(cls, row: RelistRule) -> RelistRuleOut:
        return cls(
            marketplace=row.marketplace, after_days=row.after_days, per_day=row.per_day,
            between_days=row.between_days,
        )  # fmt: skip


class RelistRulesOut(Shape):
    rules: list[RelistRuleOut]
    #: Days that a listing stands at least before it is relisted there.
    minimum_days: dict[str, int]
    #: What is lost by it.
    message: str


class RelistNextOut(Shape):
    """One that would be relisted."""

    listing_id: str
    title: str | None
    marketplace: str
    browser_profile_id: str
    posted_at: datetime
    #: Not before this; when exactly is for the account's pace to say.
    at: datetime


class RelistPreviewOut(Shape):
    #: The soonest first; at most 500.
    coming: list[RelistNextOut]
    more: bool
    message: str


class RelistedOut(Shape):
    success: Literal[True] = True
    message: str
    publication: PublicationOut


@router.get("/api/relisting/rules")
async def get_rules(session: Transaction) -> RelistRulesOut:
    rules = {rule.marketplace: rule for rule in await session.scalars(select(RelistRule))}
    return RelistRulesOut(
        rules=[RelistRuleOut.of(rules[name]) for name in MARKETPLACES if name in rules],
        minimum_days={name: relisting.minimum_days(name) for name in MARKETPLACES},
        message=relisting.LOST,
    )


@router.put("/api/relisting/rules/{marketplace}")
async def put_rule(
    marketplace: str, body: RelistRuleBody, session: Transaction, who: Seller
) -> RelistRuleOut:
    """From now on: what its time has come for is relisted within the hour, as many as the day takes."""
    values = body.columns(marketplace)
    await session.execute(
        insert(RelistRule)
        .values(user_id=who.user_id, marketplace=marketplace, **values)
        .on_conflict_do_update(
            index_elements=["user_id", "marketplace"],
            set_={**values, "next_look_at": func.now(), "updated_at": func.now()},
        )
    )
    return RelistRuleOut.of(await _get(session, marketplace))


@router.delete("/api/relisting/rules/{marketplace}")
async def delete_rule(marketplace: str, session: Transaction) -> Done:
    """What was asked for already goes on."""
    get_form(marketplace)
    await session.execute(delete(RelistRule).where(RelistRule.marketplace == marketplace))
    return Done(
        message=f"Nothing is relisted on {MARKETPLACES[marketplace]} by itself any more; what is down for it "
        "is posted again."
    )


@router.get("/api/relisting/preview")
async def preview(session: Transaction, days: Annotated[int, Query(ge=1, le=30)] = 7) -> RelistPreviewOut:
    """What the rules would relist in the next days, as things stand. What is paused, waits for you, is under
    way or stands there otherwise than here is not among it."""
    names = {
        row.id: row.public_id for row in await session.execute(select(Connection.id, Connection.public_id))
    }
    found = []
    for rule in (await session.scalars(select(RelistRule))).all():
        for one in await relisting.coming(session, rule, days):
            found.append(
                RelistNextOut(
                    listing_id=str(one.listing_id), title=one.title, marketplace=rule.marketplace,
                    browser_profile_id=names[one.connection_id], posted_at=one.since, at=one.at,
                )
            )  # fmt: skip
    found.sort(key=lambda one: one.at)
    return RelistPreviewOut(coming=found[:SHOWN], more=len(found) > SHOWN, message=relisting.LOST)


@router.post("/api/listings/{listingId}/publications/{browserProfileId}/relist")
async def relist_now(listing_id: ListingId, browserProfileId: str, session: Transaction) -> RelistedOut:
    """It is taken down, seen gone, and posted again in a new attempt; sold meanwhile, it stays down."""
    wanted = (
        select(Publication, Connection)
        .join(Connection, Connection.id == Publication.connection_id)
        .where(Publication.listing_id == listing_id, Connection.public_id == browserProfileId)
    )
    found = (await session.execute(wanted)).one_or_none()
    if found is None:
        raise NotFound("That listing was never posted to an account of yours with that id.")
    publication, account = found
    await relisting.ask(session, publication)
    await session.flush()
    await session.refresh(publication)
    shown = PublicationOut.now(publication, account, actions_of(publication, browserProfileId, None))
    label = MARKETPLACES[publication.marketplace]
    return RelistedOut(
        message=f"It is taken down on {label} and posted again. {relisting.LOST}", publication=shown
    )


async def _get(session: AsyncSession, marketplace: str) -> RelistRule:
    found = await relisting.find_rule(session, marketplace)
    if found is None:
        raise NotFound
    return found
