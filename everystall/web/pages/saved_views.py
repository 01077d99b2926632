"""Keeping what of the inventory is looked at, as a view beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest, EverystallError
from everystall.inventory import saved_views
from everystall.web.deps import AllParts, PageSeller, as_id
from everystall.web.pages import inventory
from everystall.web.pages.inventory import Asked
from everystall.web.pages.opened import go, opened

router = APIRouter()


@router.get("/inventory/views")
async def lead_to_inventory() -> Response:
    """The address of a form, opened by itself."""
    return go("/inventory")


@router.post("/inventory/views")
async def change_views(request: Request, parts: AllParts, who: PageSeller) -> Response:
    """`do`: save · rename · delete"""
    form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    asked = Asked.of(dict(parse_qsl(form.get("query", "")[:4000])))
    try:
        async with parts.database.as_user(who.user_id) as session:
            said = await _change(session, who.user_id, form, asked)
    except EverystallError as error:
        if error.status == 404:
            raise
        async with opened(request, parts, who) as page:
            return await inventory.show(page, given=asked.told(), error=error)
    return go(asked.url(said=said))


async def _change(session: AsyncSession, user_id: UUID, form: Mapping[str, str], asked: Asked) -> str:
    do, name = form.get("do"), form.get("name", "").replace("\0", "")
    if do == "rename":
        await saved_views.rename(session, as_id(form.get("kept", "")), name)
        return "view-renamed"
    if do == "delete":
        await session.delete(await saved_views.get_view(session, as_id(form.get("kept", ""))))
        return "view-deleted"
    if not asked.query:
        raise BadRequest("That is all that you have.", action="Choose a filter or an order first.")
    await saved_views.keep(session, user_id, name, asked.query)
    return "view-saved"
