"""An archive of an inventory brought in: its photos are read and kept now, its listings by a worker."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import IO, Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from sqlalchemy import select
from starlette.datastructures import UploadFile

from everystall.errors import BadRequest, ImportRunning, PhotoRefused
from everystall.inventory.incoming.archives import Archive
from everystall.inventory.incoming.files import Export
from everystall.marketplaces.base import photo_of
from everystall.models import Import, ImportRow, ListingPhoto
from everystall.web import kept
from everystall.web.deps import AllParts, Parts, Seller, SignedIn
from everystall.web.imports import A_FILE, After, ImportOut, import_of, name_of, row_of, take
from everystall.web.photos import MOST

router = APIRouter(prefix="/api/imports", tags=["listings"])

#: Photos whose facts are asked for at once.
BATCH = 500
_FACTS = ("sha256", "width", "height", "content_type", "byte_size")


@router.post(
    "/archive",
    status_code=202,
    responses={200: {"model": ImportOut, "description": "The preview."}},
    openapi_extra=A_FILE,
)
async def import_archive(
    request: Request,
    parts: AllParts,
    who: Seller,
    response: Response,
    preview: bool = False,
    after: After = 0,
) -> ImportOut:
    """A zip of `GET /api/export` as a file of a multipart form. As `POST /api/imports`, and its photos come
    in with the listings that have none. They are looked at before this is answered: some hundred a minute."""
    async with alone(parts, who.user_id):
        return await take_archive(request, parts, who, response, preview=preview, after=after)


async def take_archive(
    request: Request, parts: Parts, who: SignedIn, response: Response, *, preview: bool, after: int = 0
) -> ImportOut:
    """As the route; the caller sees to it that the account sends one at once."""
    async with _sent(request) as (name, file):
        async with parts.imports:
            archive, said, export, made = await asyncio.to_thread(_read, who.user_id, name, file)
        drops = kept.drops_of(said)
        if preview:
            response.status_code = 200
            async with parts.imports:  # before the transaction that is open while it is read
                batches = _batches(made, export, drops, partial(_say_what_is_missing, archive.photos))
                return await take(parts, made, batches, after, preview=True)
        put: list[str] = []
        try:
            known = await _keep(parts, who.user_id, archive, export, put)
            async with parts.imports:
                batches = _batches(made, export, drops, partial(_name_originals, known))
                told = await take(parts, made, batches, after, preview=False)
        except BaseException:  # another import runs, or the account is gone: no row will tell whose they are
            await parts.photos.forget_unnamed(parts.database, put)
            raise
        await _keep_lost(parts, archive, list(known))
        async with parts.database.as_user(who.user_id) as session:
            await kept.bring_back(session, who.user_id, said)
        return told


@asynccontextmanager
async def alone(parts: Parts, user_id: UUID) -> AsyncIterator[None]:
    """Raises ImportRunning while another of the same account is here; nothing of the body is read."""
    if user_id in parts.sending:
        raise ImportRunning(
            "Another archive of yours is being sent.",
            action="Wait until that one is answered, and send this one again.",
        )
    parts.sending.add(user_id)
    try:
        yield
    finally:
        parts.sending.discard(user_id)


@asynccontextmanager
async def _sent(request: Request) -> AsyncIterator[tuple[str | None, IO[bytes]]]:
    """Its name and the file, which is on the disk for as long as this is open."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=5) as form:
            for _, value in form.multi_items():
                if isinstance(value, UploadFile):
                    yield name_of(value.filename), value.file
                    return
    raise BadRequest("There is no file in that.", action="Send one zip as multipart/form-data.")


def _read(user_id: UUID, name: str | None, file: IO[bytes]) -> tuple[Archive, dict[str, Any], Export, Import]:
    """All of its CSV is looked through; its rows are read in parts later."""
    archive = Archive(file)
    said = archive.kept()
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(1024 * 1024):
        digest.update(piece)
    export = archive.listings()
    return archive, said, export, import_of(user_id, name, digest.hexdigest(), export)


async def _batches(
    made: Import, export: Export, drops: Mapping[str, dict[str, Any]], finish: Callable[[ImportRow], None]
) -> AsyncIterator[Sequence[ImportRow]]:
    """Each part in a thread, so that others' requests get their turn."""

    def read_on() -> list[ImportRow] | None:
        if (rows := next(parts, None)) is None:
            return None
        found = [row_of(made, row) for row in rows]
        for row in found:
            if drop := drops.get(row.key):
                row.facts = {**row.facts, "price_drop": drop}
            finish(row)
        return found

    parts = export.parts()
    while (rows := await asyncio.to_thread(read_on)) is not None:
        yield rows


async def _keep(
    parts: Parts, user_id: UUID, archive: Archive, export: Export, put: list[str]
) -> dict[str, dict[str, Any]]:
    """Hash → facts of each photo that the rows name and that is in the store now. What the seller has already
    is not looked at again; of what others have nothing is believed: the archive brings the bytes. `put` gets
    the hashes of those, one by one."""
    async with parts.imports:
        wanted = await asyncio.to_thread(_named, archive, export)
    known: dict[str, dict[str, Any]] = {}
    for begin in range(0, len(wanted), BATCH):
        async with parts.database.as_user(user_id) as session:
            mine = await session.scalars(
                select(ListingPhoto).where(ListingPhoto.sha256.in_(wanted[begin : begin + BATCH]))
            )
            known |= {row.sha256: {name: getattr(row, name) for name in _FACTS} for row in mine}
    for sha256 in wanted:
        if sha256 in known:
            continue
        data = await asyncio.to_thread(archive.photo, sha256)
        if data is None:
            continue
        try:
            stored = await parts.photos.put(data)
        except PhotoRefused:
            continue
        put.append(sha256)
        known[sha256] = {name: getattr(stored, name) for name in _FACTS}
    return known


async def _keep_lost(parts: Parts, archive: Archive, hashes: Sequence[str]) -> None:
    """They are named now, so that no more of them go; what went meanwhile, being nobody's, is kept anew."""
    for begin in range(0, len(hashes), BATCH):
        for sha256 in await parts.photos.find_lost(parts.database, hashes[begin : begin + BATCH]):
            data = await asyncio.to_thread(archive.photo, sha256)
            if data is not None:
                await parts.photos.put(data)


def _named(archive: Archive, export: Export) -> list[str]:
    """Hashes of the photos that the rows name and that are in it."""
    wanted: dict[str, None] = {}
    if archive.photos:
        for rows in export.parts():
            for row in rows:
                mine = [hash for name in row.photos if (hash := photo_of(name)[0]) in archive.photos]
                wanted |= dict.fromkeys(mine[:MOST])
    return list(wanted)


def _name_originals(known: Mapping[str, dict[str, Any]], row: ImportRow) -> None:
    turns = dict(map(photo_of, row.photos))
    mine = [sha256 for sha256 in turns if sha256 in known][:MOST]
    row.originals = [known[sha256] | {"turn": turns[sha256]} for sha256 in mine]
    row.photos = [name for name in row.photos if photo_of(name)[0] not in mine]


def _say_what_is_missing(there: frozenset[str], row: ImportRow) -> None:
    row.photos = [name for name in row.photos if photo_of(name)[0] not in there]
