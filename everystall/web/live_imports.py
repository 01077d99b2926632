"""The live listings of an account come in: asked for, and how far it is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import NotFound
from everystall.inventory import live_imports
from everystall.inventory.connections import get_connection
from everystall.inventory.jobs import in_json
from everystall.models import Connection, LiveImport, LiveImportItem
from everystall.web.deps import Transaction
from everystall.web.shapes import NoteOut, Shape

router = APIRouter(prefix="/api/connections", tags=["connections"])

#: Listings of one answer.
SHOWN = 500


class LiveItemOut(Shape):
    remote_id: str
    title: str
    #: known: it was one of ours already · gone: it is not live any more.
    outcome: Literal["waiting", "created", "known", "gone", "failed"]
    #: The listing that it became, or is already.
    listing_id: str | None
    #: What did not come over as it is there.
    notes: list[NoteOut]


class LiveImportOut(Shape):
    """How far it is."""

    browser_profile_id: str
    marketplace: str
    status: Literal["running", "done", "failed"]
    #: The account's list was read to its end: `total` will not grow any more.
    listed: bool
    total: int
    waiting: int
    created: int
    known: int
    gone: int
    failed: int
    #: What stands in its way just now, or ended it.
    message: str | None
    #: Those with something to know, in the list's order; at most 500.
    items: list[LiveItemOut]
    #: There are more: ask with `?after=` this.
    next_after: int | None
    created_at: datetime
    finished_at: datetime | None


@router.post("/{browserProfileId}/import", status_code=202)
async def import_live(browserProfileId: str, session: Transaction) -> LiveImportOut:
    """Has the listings that are live on the account come in, with their photos, each once; what is here
    already is known again. A worker reads them, between its posts. Asked for again while it runs, it is the
    same."""
    connection = await get_connection(session, browserProfileId, lock=True)
    doing = await live_imports.begin(session, connection)
    return await _shown(session, connection, doing, 0)


@router.get("/{browserProfileId}/import")
async def get_live_import(
    browserProfileId: str, session: Transaction, after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0
) -> LiveImportOut:
    """The account's last one."""
    connection = await get_connection(session, browserProfileId)
    found = await session.scalars(
        select(LiveImport)
        .where(LiveImport.connection_id == connection.id)
        .order_by(LiveImport.created_at.desc())
        .limit(1)
    )
    doing = found.one_or_none()
    if doing is None:
        raise NotFound("Nothing was brought in from this account.")
    return await _shown(session, connection, doing, after)


async def _shown(
    session: AsyncSession, connection: Connection, doing: LiveImport, after: int
) -> LiveImportOut:
    await session.refresh(doing)
    noted = func.jsonb_array_length(LiveImportItem.notes) > 0
    rows = (
        await session.scalars(
            select(LiveImportItem)
            .where(LiveImportItem.import_id == doing.id, LiveImportItem.position >= after, noted)
            .order_by(LiveImportItem.position)
            .limit(SHOWN + 1)
        )
    ).all()
    return LiveImportOut(
        browser_profile_id=connection.public_id,
        marketplace=connection.marketplace,
        status=doing.status,
        listed=doing.listed_at is not None,
        **await live_imports.counted(session, doing.id),
        message=doing.message,
        items=[_item(row) for row in rows[:SHOWN]],
        next_after=rows[SHOWN].position if len(rows) > SHOWN else None,
        created_at=doing.created_at,
        finished_at=doing.finished_at,
    )


def _item(row: LiveImportItem) -> LiveItemOut:
    return LiveItemOut(
        remote_id=row.remote_id,
        title=row.title,
        outcome=row.outcome or "waiting",
        listing_id=str(row.listing_id) if row.listing_id else None,
        notes=[NoteOut(field=in_json(note["field"]), message=note["message"]) for note in row.notes],
    )
