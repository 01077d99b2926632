"""Views of the inventory that a seller keeps, under names of theirs."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest, Conflict, NotFound
from everystall.models import SavedView

#: Of one seller: they stand beside one another.
MOST: Final = 30
LONGEST_NAME: Final = 40


async def views_of(session: AsyncSession) -> list[SavedView]:
    """In the order in which they were kept."""
    rows = await session.scalars(select(SavedView).order_by(SavedView.created_at, SavedView.id))
    return list(rows)


async def keep(session: AsyncSession, user_id: UUID, name: str, query: str) -> SavedView:
    """`query`: the page's address behind its `?`. Raises BadRequest, Conflict, in words."""
    if (await session.scalar(select(func.count()).select_from(SavedView)) or 0) >= MOST:
        raise Conflict(f"You keep {MOST} views already.", action="Delete one that you do not need.")
    row = SavedView(user_id=user_id, name=named(name), query=query, created_at=func.clock_timestamp())
    session.add(row)
    await _write(session)
    return row


async def rename(session: AsyncSession, id: UUID, name: str) -> SavedView:
    row = await get_view(session, id)
    row.name = named(name)
    await _write(session)
    return row


async def get_view(session: AsyncSession, id: UUID) -> SavedView:
    """The seller's own, or NotFound."""
    row = await session.get(SavedView, id)
    if row is None:
        raise NotFound
    return row


def named(name: str) -> str:
    """The name as it is kept. Raises BadRequest."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise BadRequest(
            "A view needs a name.", action=f"Write one of 1 to {LONGEST_NAME} letters, such as Bags to mend."
        )
    return name


async def _write(session: AsyncSession) -> None:
    try:
        async with session.begin_nested():
            await session.flush()
    except IntegrityError:
        raise Conflict("You keep a view of that name already.", action="Choose another name.") from None
