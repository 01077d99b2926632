"""Bringing in a file of listings: look first (`preview`), then let a worker do it, and watch."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError
from pydantic.alias_generators import to_snake
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import UploadFile

from everystall.errors import BadRequest, NotFound
from everystall.inventory import imports
from everystall.inventory.incoming import files
from everystall.inventory.incoming.rows import Finding, Row
from everystall.inventory.jobs import in_json
from everystall.models import Import, ImportRow
from everystall.web.answers import complaint
from everystall.web.deps import AllParts, Parts, Seller, Transaction, as_id
from everystall.web.listings import ListingBody, check_overrides
from everystall.web.photos import MOST
from everystall.web.shapes import Shape, check_plain

router = APIRouter(prefix="/api/imports", tags=["listings"])

#: Rows that one answer shows, and columns that it names.
SHOWN = 500
NAMED = 50
#: What a worker fetches.
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
#: What a row may say beside what `POST /api/listings` takes; each is checked where it is read.
_BESIDE = ("quantity_sold", "created_at", "updated_at", "places")


class FindingOut(Shape):
    """One thing to know of a row."""

    #: The file's column; null: the row as a whole.
    column: str | None
    #: The listing's field, where it is about one.
    field: str | None
    code: str
    message: str
    #: What to do about it.
    action: str


class ImportRowOut(Shape):
    #: Where it begins in the file; the header is line 1.
    line: int
    #: Of a preview: what it would be.
    outcome: Literal["waiting", "created", "updated", "skipped", "failed"]
    title: str | None
    sku: str | None
    #: The listing that it became, or is already.
    listing_id: str | None
    findings: list[FindingOut]
    #: Where its photos are that do not come in, or did not: add them to the listing.
    photos_not_taken: list[str]


class ImportOut(Shape):
    """How far an import is; of a preview, what would come of it."""

    #: Null: a preview, of which nothing is kept.
    import_id: str | None
    status: Literal["preview", "running", "done"]
    #: everystall, vendoo, ebay or shopify.
    format: str
    #: As it was read: utf-8, utf-16 or windows-1252.
    encoding: str
    file_name: str | None
    #: Rows that are listings, or would be if they were not refused.
    total: int
    waiting: int
    created: int
    updated: int
    skipped: int
    failed: int
    #: Columns with something in them for which a listing has no place.
    columns_not_taken: list[str]
    #: Photos that the file names and that do not come in.
    photos_not_taken: int
    #: Those at an address that a worker fetches yet; of a preview: would fetch.
    photos_to_fetch: int
    #: Those with something to know, in the file's order; at most 500.
    rows: list[ImportRowOut]
    #: There are more: ask with `?after=` this line.
    next_after: int | None
    created_at: datetime | None
    finished_at: datetime | None


# ---- the routes -----------------------------------------------------------------------------------

#: What is sent: a file of a form, for the page of the API.
A_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "required": ["file"],
                }
            }
        },
    }
}
After = Annotated[int, Query(ge=0, le=2**31 - 1)]


async def _import_id(importId: str) -> UUID:  # the path's own name
    return as_id(importId)


@router.post(
    "",
    status_code=202,
    responses={200: {"model": ImportOut, "description": "The preview."}},
    openapi_extra=A_FILE,
)
async def import_listings(
    request: Request,
    parts: AllParts,
    who: Seller,
    response: Response,
    preview: bool = False,
    after: After = 0,
) -> ImportOut:
    """A CSV file as a file of a multipart form: our own export, Vendoo's, eBay's File Exchange or Shopify's
    products. `?preview=true` says what would come of each row, and writes nothing. Else a worker brings the
    rows in, and the photos that they name by address. The same file again makes nothing twice; 409
    `import_running` while another one is under way."""
    name, data = await _sent(request)
    async with parts.imports:  # and no transaction is open meanwhile
        made, rows = await asyncio.to_thread(read, who.user_id, name, data)
    if preview:
        response.status_code = 200
    return await take(parts, made, _batches(rows), after, preview=preview)


@router.get("/{importId}")
async def get_import(
    import_id: Annotated[UUID, Depends(_import_id)], session: Transaction, after: After = 0
) -> ImportOut:
    """How far it is, and what is to be known of its rows. Kept as long as finished jobs are."""
    found = (await session.execute(select(Import).where(Import.id == import_id))).scalar_one_or_none()
    if found is None:
        raise NotFound
    return await _shown(session, found, after)


async def take(
    parts: Parts, made: Import, batches: AsyncIterable[Sequence[ImportRow]], after: int, *, preview: bool
) -> ImportOut:
    """What would come of it, or that it is kept for a worker."""
    async with parts.database.as_user(made.user_id) as session:
        if preview:
            return await _preview(session, made, batches, after)
        begun = await imports.begin(session, made, batches)
        return await _shown(session, begun, after)


async def _batches(rows: Sequence[ImportRow]) -> AsyncIterator[Sequence[ImportRow]]:
    for begin in range(0, len(rows), imports.BATCH):
        yield rows[begin : begin + imports.BATCH]


# ---- reading --------------------------------------------------------------------------------------


async def _sent(request: Request) -> tuple[str | None, bytes]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=5) as form:
            for _, value in form.multi_items():
                if isinstance(value, UploadFile):
                    return name_of(value.filename), await value.read()
    raise BadRequest("There is no file in that.", action="Send one CSV file as multipart/form-data.")


def name_of(given: str | None) -> str | None:
    """Printable, and short: it is shown and nothing else."""
    return "".join(letter for letter in given or "" if letter.isprintable())[:200] or None


def read(user_id: UUID, name: str | None, data: bytes) -> tuple[Import, list[ImportRow]]:
    """The CSV's rows, with what a listing takes of them."""
    file = files.read(data)
    made = import_of(user_id, name, hashlib.sha256(data).hexdigest(), file)
    return made, [row_of(made, row) for row in file.rows]


def import_of(user_id: UUID, name: str | None, file_hash: str, file: files.File | files.Export) -> Import:
    """`file_hash`: of the file, or the archive that it came in."""
    return Import(
        id=uuid4(), user_id=user_id, file_name=name, file_hash=file_hash, format=file.format.NAME,
        encoding=file.encoding,
        columns_not_taken=[column[:100] for column in file.columns_not_taken[:NAMED] if _is_plain(column)],
    )  # fmt: skip


def row_of(made: Import, row: Row) -> ImportRow:
    """The row with what `POST /api/listings` would take of it; the rest is left out and told."""
    beside = {name: row.facts.pop(name) for name in _BESIDE if name in row.facts}
    facts = _checked(row)
    if "quantity_sold" in beside and not 0 <= beside["quantity_sold"] <= facts.get("quantity", 1):
        sold = beside.pop("quantity_sold")
        row.say(
            row.columns.get("quantity_sold"), "quantity", "more_sold_than_there_are",
            f"{sold} are sold, and there were {facts.get('quantity', 1)}.",
            "Count the sold ones in the quantity.",
        )  # fmt: skip
    photos = [photo for photo in row.photos if _is_plain(photo)]
    wanted = [] if row.outcome else [photo for photo in photos if _ADDRESS.match(photo)][:MOST]
    return ImportRow(
        user_id=made.user_id, import_id=made.id, line=row.line, key=_short(row.key), facts=facts | beside,
        findings=[_plainly(finding) for finding in row.findings],
        photos=[photo for photo in photos if photo not in wanted], to_fetch=wanted, outcome=row.outcome,
    )  # fmt: skip


def _checked(row: Row) -> dict[str, Any]:
    """The listing's columns. What does not pass is taken out, said, and the rest looked at again."""
    given = dict(row.facts)
    for name in [name for name in given if not _is_plain({name: given[name]})]:
        del given[name]
        _refuse(row, name, "holds a letter that is none (NUL, or half of one)")
    while True:
        try:
            body = ListingBody.model_validate(given)
            check_overrides(body)
            return body.columns(set(given))
        except ValidationError as e:
            if not _take_out(row, given, e.errors()[0]):
                raise
        except BadRequest as e:
            given.pop("overrides", None)
            _refuse(row, "overrides", e.message.rstrip("."))


def _take_out(row: Row, given: dict[str, Any], found: Any) -> bool:
    """A word of a list, or a fact of several, alone; else the field. False: it is none of these."""
    name, inner = to_snake(str(*found["loc"][:1])), found["loc"][1:2]
    if name not in given:
        return False
    value = given[name]
    if isinstance(value, list) and inner:
        given[name] = [word for place, word in enumerate(value) if place != inner[0]]
    elif name == "specifics" and inner and inner[0] in value:
        given[name] = {fact: said for fact, said in value.items() if fact != inner[0]}
    else:
        del given[name]
    _refuse(row, name, complaint(found))
    return True


def _refuse(row: Row, name: str, said: str) -> None:
    column = row.columns.get(name, name)
    row.say(
        column, name, "not_taken", f"{column}: {said}. It was left out.", "Mend it, or set it on the listing."
    )


def _plainly(finding: Finding) -> dict[str, Any]:
    """What was said back of the file's own words may hold what no column can."""
    return {
        name: said and re.sub("[\x00\ud800-\udfff]", "\ufffd", said)
        for name, said in finding.as_json().items()
    }


def _short(key: str) -> str:
    """A key that an index takes."""
    if len(key) <= 300 and _is_plain(key):
        return key
    return f"hash:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _is_plain(value: Any) -> bool:
    try:
        check_plain(value)
    except ValueError:
        return False
    return True


# ---- showing --------------------------------------------------------------------------------------


async def _preview(
    session: AsyncSession, made: Import, batches: AsyncIterable[Sequence[ImportRow]], after: int
) -> ImportOut:
    counts: dict[str, int] = {}
    shown: list[ImportRow] = []
    photos = fetched = 0
    async for rows in batches:
        for row, decision in zip(rows, await imports.decide(session, made.format, rows), strict=True):
            counts[decision.outcome] = counts.get(decision.outcome, 0) + 1
            row.outcome, row.listing_id = decision.outcome, decision.listing_id
            row.findings = [*row.findings, *(finding.as_json() for finding in decision.findings)]
        await imports.forget_photos(session, rows)
        for row in rows:
            if row.line > after and (row.findings or row.photos) and len(shown) <= SHOWN:
                shown.append(row)
            photos += len(row.photos)
            fetched += len(row.to_fetch) if row.outcome == "created" else 0
    return _out(made, counts, photos, fetched, shown, preview=True)


async def _shown(session: AsyncSession, found: Import, after: int) -> ImportOut:
    counted = await session.execute(
        select(
            ImportRow.outcome, func.count(), func.sum(func.cardinality(ImportRow.photos)),
            func.sum(func.cardinality(ImportRow.to_fetch)),
        )
        .where(ImportRow.import_id == found.id)
        .group_by(ImportRow.outcome)
    )  # fmt: skip
    of_outcome = {outcome or "waiting": numbers for outcome, *numbers in counted}
    rows = await session.scalars(
        select(ImportRow)
        .where(
            ImportRow.import_id == found.id,
            ImportRow.line > after,
            (func.jsonb_array_length(ImportRow.findings) > 0) | (func.cardinality(ImportRow.photos) > 0),
        )
        .order_by(ImportRow.line)
        .limit(SHOWN + 1)
    )
    await session.refresh(found)
    counts = {outcome: numbers[0] for outcome, numbers in of_outcome.items()}
    photos, to_fetch = (sum(numbers[place] for numbers in of_outcome.values()) for place in (1, 2))
    return _out(found, counts, photos, to_fetch, rows.all())


def _out(
    found: Import, counts: dict[str, int], photos: int, to_fetch: int, rows: Sequence[ImportRow], *,
    preview: bool = False,
) -> ImportOut:  # fmt: skip
    counts = dict.fromkeys(("waiting", "created", "updated", "skipped", "failed"), 0) | counts
    shown = rows[:SHOWN]
    return ImportOut(
        import_id=None if preview else str(found.id),
        status="preview" if preview else found.status,
        format=found.format,
        encoding=found.encoding,
        file_name=found.file_name,
        total=sum(counts.values()),
        **counts,
        columns_not_taken=found.columns_not_taken,
        photos_not_taken=photos,
        photos_to_fetch=to_fetch,
        rows=list(_rows(shown)),
        next_after=shown[-1].line if len(rows) > SHOWN else None,
        created_at=None if preview else found.created_at,
        finished_at=None if preview else found.finished_at,
    )


def _rows(rows: Iterable[ImportRow]) -> Iterable[ImportRowOut]:
    for row in rows:
        yield ImportRowOut(
            line=row.line,
            outcome=row.outcome or "waiting",
            title=row.facts.get("title"),
            sku=row.facts.get("sku"),
            listing_id=str(row.listing_id) if row.listing_id else None,
            findings=[
                FindingOut(**{**said, "field": in_json(said["field"]) if said["field"] else None})
                for said in row.findings
            ],
            photos_not_taken=row.photos,
        )
