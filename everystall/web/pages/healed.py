"""What was lost on the marketplaces' pages and found again, for the installation's owner: before and after,
with a picture; to be rejected, and handed on as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import UploadFile

from everystall.errors import BadRequest
from everystall.marketplaces import MARKETPLACES
from everystall.web import healed
from everystall.web.deps import AllParts, PageOwner, Parts, SignedIn, as_id
from everystall.web.pages.opened import go, opened

router = APIRouter()

_STATES: Final = {
    "candidate": ("warn", "On trial"), "promoted": ("ok", "Proved itself"),
    "demoted": ("bad", "Failed: not used"), "rejected": ("", "Rejected"),
}  # fmt: skip
_BY: Final = {
    "likeness": "by likeness", "model": "by a model", "agent": "by an agent", "file": "from a file",
}  # fmt: skip
#: What is told of an element, and in which words.
_TRAITS: Final = {
    "tag": "Tag", "type": "Type", "label": "Label", "text": "Words", "placeholder": "Placeholder",
    "heading": "Heading above", "name": "Name", "id": "Id", "data": "Data", "place": "Place",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One trait, as it was and as it is."""

    name: str
    before: str
    after: str

    @property
    def same(self) -> bool:
        return self.before == self.after


@router.get("/activity/healed")
async def show_healed(request: Request, parts: AllParts, who: PageOwner) -> HTMLResponse:
    return await _show(request, parts, who)


@router.get("/activity/healed/file")
async def save(parts: AllParts, who: PageOwner) -> Response:
    found = healed.file_of(await healed.find_healed(parts.database))
    return Response(
        json.dumps(found, indent=1, ensure_ascii=False),
        media_type="application/json",
        headers={"content-disposition": 'attachment; filename="everystall-healed.json"'},
    )


@router.get("/activity/healed/{id}.jpg")
async def show_picture(id: str, parts: AllParts, who: PageOwner) -> Response:
    picture = await healed.get_picture(parts.database, as_id(id))
    return Response(picture, media_type="image/jpeg", headers={"cache-control": "private, max-age=86400"})


@router.post("/activity/healed")
async def take_in(request: Request, parts: AllParts, who: PageOwner) -> Response:
    async with request.form() as form:
        file = form.get("file")
        data = await file.read(healed.MOST_BYTES + 1) if isinstance(file, UploadFile) else b""
    try:
        body = healed.read_file(data)
    except BadRequest as error:
        return await _show(request, parts, who, error=error)
    taken = await healed.take_in(parts.database, who, body)
    return go("/activity/healed", "healed-taken" if taken else "healed-known")


@router.post("/activity/healed/{id}/reject")
async def reject(id: str, parts: AllParts, who: PageOwner) -> Response:
    await healed.reject(parts.database, who, as_id(id))
    return go("/activity/healed", "healed-rejected")


async def _show(
    request: Request, parts: Parts, who: SignedIn, *, error: BadRequest | None = None
) -> HTMLResponse:
    found = await healed.find_healed(parts.database)
    async with opened(request, parts, who) as page:
        return page.show(
            "healed.html",
            status=error.status if error else 200,
            home="/activity/healed" if error else None,
            error=error,
            found=found,
            labels=MARKETPLACES,
            states=_STATES,
            by=_BY,
            rows=_rows,
            proved=sum(one.state == "promoted" for one in found),
        )


def _rows(one: healed.Found) -> list[Row]:
    """Those that it had or has; of one from a file nothing is known."""
    if not one.after:
        return []
    return [
        Row(said, before, after)
        for trait, said in _TRAITS.items()
        if (before := _told(one.before, trait)) + (after := _told(one.after, trait))
    ]


def _told(look: Mapping[str, Any], trait: str) -> str:
    value = look.get(trait) or ""
    if trait == "place":
        return str(value).replace("of", " of ")
    return ", ".join(value) if isinstance(value, list) else str(value)
