"""What the seller wants done after a sale without being asked each time. Who set nothing has the defaults."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.models import SaleRules


async def rules_of(session: AsyncSession, user_id: UUID) -> SaleRules:
    """The seller's rules; what was never set is no row, and as it would be in one."""
    asked = select(SaleRules).where(SaleRules.user_id == user_id).execution_options(populate_existing=True)
    found = await session.scalar(asked)
    return found or SaleRules(user_id=user_id, put_back="ask", blind="keep", blind_minutes=30)
