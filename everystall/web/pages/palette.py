"""What the palette (Ctrl K) finds: listings by their words. Where else one may go stands in the page."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from everystall.inventory import stock
from everystall.inventory.stock import Sought
from everystall.web.pages.opened import OpenedPage

router = APIRouter()

SHOWN: Final = 6


@router.get("/find")
async def find(page: OpenedPage, q: Annotated[str, Query(max_length=200)] = "") -> HTMLResponse:
    words, found = q.replace("\x00", "").strip(), []
    if words:
        ids, _ = await stock.page_of(page.session, Sought(words=words), most=SHOWN)
        found = await stock.listings_of(page.session, ids)
    return page.show("palette.html", found=found)
