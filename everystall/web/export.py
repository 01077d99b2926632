"""What a seller takes away with them."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from everystall.inventory.archive import pack
from everystall.inventory.takings import csv_of_sales
from everystall.inventory.transfer import csv_lines
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
        csv_lines(parts.database, who.user_id),
        media_type="text/csv; charset=utf-8; header=present",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get(
    "/sales.csv",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The file."}},
)
async def export_sales(parts: AllParts, who: Seller) -> StreamingResponse:
    """All sales, the first that was seen first: for what, the marketplace's fee by its published table, what
    the thing cost you, and what is left of it (empty where one of these is not known, or it is cancelled).
    Times are in your time zone: that of your notifications, else your browser's, else UTC; where only the day
    is known, `sold_at` is on it in UTC."""
    name = f"everystall-sales-{datetime.now(UTC):%Y-%m-%d}.csv"
    return StreamingResponse(
        csv_of_sales(parts.database, who.user_id),
        media_type="text/csv; charset=utf-8; header=present",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get(
    "",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
            "description": "The archive.",
        }
    },
)
async def export_all(parts: AllParts, who: Seller) -> StreamingResponse:
    """Everything, as one zip that is made while it is sent: `listings.csv`, `inventory.json` (with what is or
    was where, sales, rules, views and templates) and the original photos. `POST /api/imports/archive` takes
    it back."""
    name = f"everystall-{datetime.now(UTC):%Y-%m-%d}.zip"
    return StreamingResponse(
        pack(parts.database, parts.photos, who.user_id),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
