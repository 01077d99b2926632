"""What sold and has to be gone elsewhere within its time: when a visit went for it, and who is told that
it is late."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database
from everystall.inventory.publications import tell
from everystall.logs import chore
from everystall.models import Connection, Publication, TakeDown

#: Seconds after which a listing that sold elsewhere has to be gone, or the seller is told.
LATE_SECONDS = 300
#: Late ones that one look takes at most.
MOST_LATE = 100


async def note_started(session: AsyncSession, publication: Publication) -> None:
    """A visit goes to take it down."""
    await session.execute(
        update(TakeDown)
        .where(TakeDown.publication_id == publication.id, TakeDown.gone_at.is_(None),
               TakeDown.started_at.is_(None))
        .values(started_at=func.clock_timestamp())
    )  # fmt: skip


async def tell_if_late(session: AsyncSession, publication: Publication) -> None:
    """It sold elsewhere and could not be taken down, or made fewer, so far: past the target the seller hears
    of it, once; at once, where the marketplace asked for a rest that is longer."""
    resting = select(Connection.rest_until).where(Connection.id == publication.connection_id)
    past = func.greatest(func.now(), resting.scalar_subquery()) - timedelta(seconds=LATE_SECONDS)
    if publication.lower_asked_at is not None and publication.lower_told_at is None:
        lowers = await session.execute(
            update(Publication)
            .where(Publication.id == publication.id, Publication.lower_asked_at < past)
            .values(lower_told_at=func.clock_timestamp())
            .returning(Publication.lower_asked_at)
            .execution_options(synchronize_session=False)
        )
        for asked_at in filter(None, lowers.scalars().all()):
            await session.refresh(publication, ["lower_told_at"])
            await _tell_late(session, publication, asked_at, lowers=True)
    late = await session.execute(
        update(TakeDown)
        .where(TakeDown.publication_id == publication.id, TakeDown.gone_at.is_(None),
               TakeDown.told_at.is_(None), TakeDown.asked_at < past)
        .values(told_at=func.clock_timestamp())
        .returning(TakeDown.asked_at)
    )  # fmt: skip
    since = late.scalars().first()
    if since is not None:
        await _tell_late(session, publication, since)


async def _tell_late(session: AsyncSession, publication: Publication, since: datetime, **more: Any) -> None:
    """`until`: the marketplace asked for a rest until then, and we leave it alone."""
    until = await session.scalar(
        select(Connection.rest_until).where(
            Connection.id == publication.connection_id, Connection.rest_until > func.now()
        )
    )
    more |= {"until": until.isoformat()} if until is not None else {}
    await tell(session, publication, "delist.late", since=since.isoformat(), **more)


async def tell_late(db: Database) -> None:
    """Of the seller's publications that sold elsewhere, what is late is told, whatever it waits for."""
    asked = text("SELECT DISTINCT publication_id, user_id FROM everystall.late_take_downs(:after, :most)")
    async with db.as_app() as session:
        after = timedelta(seconds=LATE_SECONDS)
        rows = (await session.execute(asked, {"after": after, "most": MOST_LATE})).all()
    for row in rows:
        with chore("late take-down", user_id=row.user_id, publication_id=row.publication_id):
            async with db.as_user(row.user_id) as session:
                found = select(Publication).where(Publication.id == row.publication_id).with_for_update()
                publication = await session.scalar(found)
                if publication is not None:
                    await tell_if_late(session, publication)
