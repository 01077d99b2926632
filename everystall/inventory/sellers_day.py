"""What day it is for a seller: months and days of their sales are by it, as the dates on their pages are."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.models import NoticeRules, User
from everystall.notify.hours import zone_of


async def now_of_seller(session: AsyncSession) -> datetime:
    """Now, in the time zone that the seller who asks named for their notifications, else in their browser's,
    else in UTC."""
    row = (
        await session.execute(
            select(NoticeRules.time_zone, User.time_zone)
            .select_from(User)
            .outerjoin(NoticeRules, NoticeRules.user_id == User.id)
        )
    ).one_or_none()
    return datetime.now(zone_of(*(row or ())))
