"""Listings that come in and go out: a file, looked at first; what is live on an account; how far each is; and
everything as one file. Nothing is posted or changed at a marketplace by any of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import UploadFile

from everystall.errors import BadRequest, EverystallError, NotFound, Refused
from everystall.inventory.connections import find_sign_ins
from everystall.marketplaces import MARKETPLACES
from everystall.models import Import, Listing, ListingPhoto
from everystall.web import archives, browsers, imports, live_imports
from everystall.web.deps import AllParts, Deserted, Parts, SignedIn, as_id, of_unread_form
from everystall.web.edge import IMPORT, refusal
from everystall.web.imports import After, ImportOut
from everystall.web.live_imports import LiveImportOut
from everystall.web.numbers import START_ONE
from everystall.web.pages.opened import Opened, OpenedPage, go, opened

router = APIRouter()

#: Rows that the look at a file names.
SHOWN: Final = 100
#: Files that came in, of which the page tells.
LATEST: Final = 10
FORMATS: Final = {"everystall": "Everystall", "vendoo": "Vendoo", "ebay": "eBay", "shopify": "Shopify"}


@dataclass(frozen=True)
class Source:
    """An account whose live listings may come in."""

    id: str
    label: str
    name: str | None
    #: Nobody can look there before the seller has signed in again, or answered.
    away: bool
    #: Its last import.
    told: LiveImportOut | None


@dataclass(frozen=True)
class Outlook:
    """What would come of a file."""

    told: ImportOut

    @property
    def said(self) -> str:
        return FORMATS.get(self.told.format, self.told.format)


# ---- the page ---------------------------------------------------------------------------------------


@router.get("/inventory/import")
async def show_import(deserted: Deserted, page: OpenedPage) -> HTMLResponse:
    return await _show(page, deserted)


@router.get("/inventory/import/file")
async def lead_back() -> Response:
    """The address of the form, opened by itself."""
    return go("/inventory/import")


async def _show(
    page: Opened, deserted: bool, *, outlook: Outlook | None = None, error: EverystallError | None = None,
    at: str = "",
) -> HTMLResponse:  # fmt: skip
    latest = select(Import).order_by(Import.created_at.desc()).limit(LATEST)
    return page.show(
        "import.html",
        status=error.status if error else 200,
        home="/inventory/import" if error or outlook else None,
        outlook=outlook,
        error=error,
        at=at,
        shown=SHOWN,
        sources=await _sources(page.session),
        latest=(await page.session.scalars(latest)).all(),
        formats=FORMATS,
        start_one=START_ONE if deserted else None,
    )


async def _sources(session: AsyncSession) -> list[Source]:
    found = []
    for one in await find_sign_ins(session):
        row = one.connection
        if one.forgotten:
            continue
        try:
            told = await live_imports.get_live_import(row.public_id, session)
        except NotFound:
            told = None
        away = one.status != "connected" or row.needs_you is not None
        label = MARKETPLACES[row.marketplace]
        found.append(Source(row.public_id, label, row.label or row.account_name, away, told))
    return found


# ---- a file -----------------------------------------------------------------------------------------


@router.post("/inventory/import/file")
async def take_file(request: Request, parts: AllParts, deserted: Deserted) -> Response:
    """Looks at it, or brings it in. Nothing of a file is read while another one of the same account is."""
    who = await of_unread_form(request, parts)
    try:
        async with archives.alone(parts, who.user_id):
            await browsers.check_csrf(request, parts.settings, parts.csrf_key, who.token_id)
            told = await _take(request, parts, who)
    except EverystallError as error:
        if error.status == 403:  # not from our form
            raise
        async with opened(request, parts, who) as page:
            return await _show(page, deserted, error=error, at="file")
    finally:
        await request.close()
    if told.import_id is not None:
        return go(f"/inventory/import/{told.import_id}")
    async with opened(request, parts, who) as page:
        return await _show(page, deserted, outlook=Outlook(told))


async def _take(request: Request, parts: Parts, who: SignedIn) -> ImportOut:
    """Raises BadRequest and what the API's routes raise."""
    form = await request.form()
    file, look = form.get("file"), form.get("do") == "look"
    if not isinstance(file, UploadFile) or not file.filename:
        raise BadRequest("No file is chosen.", action="Choose the file first, then look at it.")
    begins = await file.read(2)
    await file.seek(0)
    if begins == b"PK":  # a zip
        return await archives.take_archive(request, parts, who, Response(), preview=look)
    if (file.size or 0) > IMPORT:
        raise refusal("/api/imports")
    return await imports.import_listings(request, parts, who, Response(), preview=look)


@router.get("/inventory/import/{id}")
async def show_file(id: str, deserted: Deserted, page: OpenedPage, after: After = 0) -> HTMLResponse:
    """How far it is, and what is to be known of its rows."""
    told = await imports.get_import(as_id(id), page.session, after)
    return page.show(
        "import_file.html", told=told, after=after, source=FORMATS.get(told.format, told.format), id=id,
        start_one=START_ONE if deserted else None,
    )  # fmt: skip


# ---- what is live on an account ----------------------------------------------------------------------


@router.post("/connections/{id}/import")
async def bring_live(id: str, deserted: Deserted, page: OpenedPage) -> Response:
    try:
        await live_imports.import_live(id, page.session)
    except NotFound:
        raise
    except Refused as error:
        return await _show(page, deserted, error=error, at="live")
    return go("/inventory/import", "live-import", f"from-{id}")


@router.get("/connections/{id}/import")
async def show_live(
    id: str, page: OpenedPage, after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0
) -> HTMLResponse:
    """What is to be known of each listing that came in from the account."""
    told = await live_imports.get_live_import(id, page.session, after)
    (one,) = await find_sign_ins(page.session, public_ids=[id])
    row = one.connection
    return page.show(
        "import_live.html", told=told, after=after, id=id, label=MARKETPLACES[row.marketplace],
        account=row.label or row.account_name,
    )  # fmt: skip


# ---- everything, to take away ------------------------------------------------------------------------


@router.get("/inventory/export")
async def show_export(page: OpenedPage) -> HTMLResponse:
    session = page.session
    return page.show(
        "export.html",
        listings=await session.scalar(select(func.count()).select_from(Listing)) or 0,
        photos=await session.scalar(select(func.count(func.distinct(ListingPhoto.sha256)))) or 0,
    )
