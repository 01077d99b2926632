"""The pairs of jobs, as others read them: the API's answers and the event `job.finished` show the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.marketplaces import MARKETPLACES
from everystall.models import AutomationResult


class Shape(BaseModel):
    """JSON that leaves or comes in: names are camelCase outside, ours inside."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


class ActionOut(Shape):
    name: str
    label: str
    method: str
    href: str


class DeadlineOut(Shape):
    """Until when an order must be sent or cancelled."""

    #: Null: the marketplace names no time that we know of.
    by: datetime | None
    said: str
    source: str
    checked: date


class NeedsYou(Shape):
    """Why something waits for the seller, in words, and the buttons that end it."""

    reason: str
    message: str
    url: str | None = None
    actions: list[ActionOut] = []
    #: Of an order that cannot be sent: until when, and what you may write to its buyer.
    deadline: DeadlineOut | None = None
    letter_to_buyer: str | None = None


class Pair(Shape):
    """One listing on one account, as a job follows it."""

    marketplace: str
    browser_profile_id: str
    state: str
    needs_you: NeedsYou | None
    url: str | None
    remote_id: str | None
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: AutomationResult) -> Pair:
        return cls(
            marketplace=row.marketplace,
            browser_profile_id=row.browser_profile_id,
            state=row.state,
            needs_you=NeedsYou(**row.needs_you) if row.needs_you else None,
            url=row.url,
            remote_id=row.remote_id,
            started_at=row.started_at,
            finished_at=row.finished_at,
        )


async def results(session: AsyncSession, job_ids: Sequence[str]) -> list[AutomationResult]:
    """The pairs of these jobs as they stand, in the marketplaces' order."""
    rows = await session.scalars(
        select(AutomationResult)
        .where(AutomationResult.job_id.in_(job_ids))
        .execution_options(populate_existing=True)
    )
    order = list(MARKETPLACES)
    return sorted(rows, key=lambda row: (row.job_id, order.index(row.marketplace), row.browser_profile_id))


def as_json(rows: Sequence[AutomationResult]) -> list[dict[str, Any]]:
    """`automationResults`"""
    return [Pair.of(row).model_dump(mode="json", by_alias=True) for row in rows]
