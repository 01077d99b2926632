"""What a seller takes away with them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from everystall.db import Database
from everystall.inventory.transfer import COLUMNS, csv_line, read_batch
from everystall.web.deps import AllParts, Seller

router = APIRouter(prefix="/api/export", tags=["export"])


@router.get(
    "/listings.csv",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The file."}},
)
async def export_listings(parts: AllParts, who: Seller) -> StreamingResponse:
    """All listings, oldest first: one row each, with what stands at each marketplace. Cells that a
    spreadsheet would run begin with an apostrophe."""
    name = f"everystall-listings-{datetime.now(UTC):%Y-%m-%d}.csv"
    return StreamingResponse(
        _lines(parts.database, who.user_id),
        media_type="text/csv; charset=utf-8; header=present",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _lines(database: Database, user_id: UUID) -> AsyncIterator[str]:
    """A transaction per batch: none is open while the file goes over somebody's slow line."""
    yield "\ufeff" + csv_line(COLUMNS)  # the mark by which spreadsheets know UTF-8
    after, more = None, True
    while more:
        async with database.as_user(user_id) as session:
            rows, after = await read_batch(session, after)
        yield "".join(csv_line(row) for row in rows)
        more = after is not None
