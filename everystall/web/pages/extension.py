"""How a seller gets the browser extension: the zips, made of this installation's own sources, and the steps.

It is not in the stores yet, and who was invited has no clone to make it from.
"""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from everystall import extension
from everystall.errors import NotFound
from everystall.marketplaces import MARKETPLACES
from everystall.settings import Settings
from everystall.web.account import find_tokens
from everystall.web.deps import AllParts, PageSeller
from everystall.web.pages.opened import OpenedPage
from everystall.web.render import on_practice

router = APIRouter()


@router.get("/extension")
async def show_extension(page: OpenedPage, request: Request) -> HTMLResponse:
    firefox = "Firefox/" in request.headers.get("user-agent", "")
    return page.show(
        "extension.html",
        files={store: file_name(store, page.parts.settings) for store in extension.STORES},
        stores=extension.STORES[::-1] if firefox else extension.STORES,
        paired=bool(await find_tokens(page.session, "extension")),
    )


@router.get("/extension/{file}")
async def download(file: str, who: PageSeller, parts: AllParts) -> Response:
    store = next((one for one in extension.STORES if file == file_name(one, parts.settings)), None)
    if store is None:
        raise NotFound("There is no such file.", action="The page /extension has those that there are.")
    return Response(
        _zip(store, on_practice(parts.settings), tuple(map(parts.settings.base_url, MARKETPLACES))),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{file}"'},
    )


def file_name(store: extension.Store, settings: Settings) -> str:
    """ "everystall-chrome.zip" """
    return f"everystall-{store}{'-practice' if on_practice(settings) else ''}.zip"


@cache
def _zip(store: extension.Store, practice: bool, urls: tuple[str, ...]) -> bytes:
    homes = dict(zip(MARKETPLACES, urls, strict=True)) if practice else None
    return extension.zipped(store, practice=practice, homes=homes)
