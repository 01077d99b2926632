"""Targets that were lost on a marketplace's pages and found again: for the installation's owner, who may
reject one, and hand what proved itself to another installation as a file. Nothing in it is a seller's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import text

from everystall.db import Database
from everystall.errors import BadRequest, NotFound
from everystall.marketplaces import MARKETPLACES
from everystall.web.deps import SignedIn

#: Of a file: bytes, and locators in it.
MOST_BYTES: Final = 1_000_000
MOST: Final = 500

Words = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]


@dataclass(frozen=True)
class Found:
    """A locator that was found again, as the owner sees it."""

    id: UUID
    marketplace: str
    #: What it is, in words.
    target: str
    #: On pages whose address begins so.
    layout: str
    locator: str
    #: candidate: worked once or twice · promoted: tried before all others · demoted: failed, not used any
    #: more · rejected: the owner said no.
    state: Literal["candidate", "promoted", "demoted", "rejected"]
    #: Runs that were verified; three promote it.
    verified: int
    by: Literal["likeness", "model", "agent", "file"]
    #: What the element showed of itself when its own locators found it, and what the one found now does.
    before: dict[str, Any]
    after: dict[str, Any]
    pictured: bool
    found_at: datetime
    changed_at: datetime


class OneOfFile(BaseModel):
    marketplace: Words
    target: Words
    layout: Words
    locator: Words


class FileOfLocators(BaseModel):
    """What `file_of` makes."""

    locators: Annotated[list[OneOfFile], Field(max_length=MOST)]


async def find_healed(database: Database) -> list[Found]:
    """The latest first."""
    async with database.as_app() as session:
        rows = await session.execute(text("SELECT * FROM everystall.healed_locators()"))
        return [Found(**row) for row in rows.mappings()]


async def get_picture(database: Database, id: UUID) -> bytes:
    """JPEG. Raises NotFound."""
    async with database.as_app() as session:
        picture = await session.scalar(text("SELECT everystall.healed_picture(:id)"), {"id": id})
    if picture is None:
        raise NotFound
    return bytes(picture)


async def reject(database: Database, who: SignedIn, id: UUID) -> None:
    """It is never used again. Raises NotFound."""
    async with database.as_app() as session:
        asked = {"by": who.user_id, "id": id}
        if not await session.scalar(text("SELECT everystall.reject_locator(:by, :id)"), asked):
            raise NotFound


def file_of(found: Sequence[Found]) -> Mapping[str, Any]:
    """Those that proved themselves, for another installation."""
    proved = [one for one in found if one.state == "promoted"]
    return {"locators": [{name: getattr(one, name) for name in OneOfFile.model_fields} for one in proved]}


def read_file(data: bytes) -> FileOfLocators:
    """Raises BadRequest."""
    try:
        return FileOfLocators.model_validate_json(data[: MOST_BYTES + 1])
    except ValidationError as e:
        raise BadRequest(
            "That is no file of healed locators.", action="Choose one that was saved on this page."
        ) from e


async def take_in(database: Database, who: SignedIn, body: FileOfLocators) -> int:
    """As candidates: each has to prove itself here too. How many are new."""
    known = [one.model_dump() for one in body.locators if one.marketplace in MARKETPLACES]
    async with database.as_app() as session:
        asked = {"by": who.user_id, "all": json.dumps(known)}
        taken = await session.scalar(text("SELECT everystall.take_locators(:by, CAST(:all AS jsonb))"), asked)
    return int(taken or 0)
