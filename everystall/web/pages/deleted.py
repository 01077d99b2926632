"""What was deleted and may be restored."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from everystall.errors import BadRequest, NotFound
from everystall.inventory import deleted
from everystall.inventory.bulk import MOST
from everystall.inventory.deleted import DAYS
from everystall.inventory.pricing import dollars
from everystall.web.cursors import cursor_of, read_cursor
from everystall.web.deps import AllParts, PageSeller, as_id
from everystall.web.pages.opened import OpenedPage, go, opened

router = APIRouter()


@router.get("/inventory/deleted")
async def show_deleted(page: OpenedPage) -> HTMLResponse:
    after, cursor = None, page.request.query_params.get("after")
    if cursor:
        at, last = read_cursor(cursor[:200])
        after = at, as_id(last)
    found, ends = await deleted.deleted_of(page.session, after)
    return page.show(
        "deleted.html", found=found, begun=after is not None, more=cursor_of(*ends) if ends else None,
        days=DAYS, dollars=dollars,
    )  # fmt: skip


@router.post("/inventory/deleted")
async def restore(request: Request, parts: AllParts, who: PageSeller) -> Response:
    """One, which is opened; or those that are ticked, in a transaction each."""
    form = await request.form(max_fields=3000)
    if one := str(form.get("one") or ""):
        async with parts.database.as_user(who.user_id) as session:
            id = await deleted.restore(session, as_id(one))
        return go(f"/listings/{id}", "listing-restored")
    ids = [as_id(id) for id in dict.fromkeys(form.getlist("id")) if isinstance(id, str)][:MOST]
    if not ids:
        raise BadRequest("No listing is ticked.", action="Go back, and tick some listings first.")
    back = 0
    for id in ids:
        async with parts.database.as_user(who.user_id) as session:
            try:
                await deleted.restore(session, id)
            except NotFound:
                continue
            back += 1
    if not back:
        raise NotFound
    async with opened(request, parts, who) as page:
        return page.show("bulk_undone.html", home="/inventory/deleted", taken=back, going_on=0,
                         asked=len(ids), kind="restored")  # fmt: skip
