"""Whose photo store this is: database and store have the same id, the store in its everystall.json. A host
that is set up with another folder or bucket is refused at its start, instead of failing every post later.

Never changes an id that a database knows or a store says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID, uuid4

from sqlalchemy import text

from everystall.content.photos import MARK, Photos
from everystall.db import Database
from everystall.errors import Misconfigured

#: As with a ring that sealed nothing (db.migrate).
_FORGOTTEN = (
    " While no photo was ever added, stop every web and worker and run `everystall migrate`: it forgets the "
    "first store."
)


async def know_store(db: Database, photos: Photos) -> UUID:
    """The id that both have; the first to come gives it to a database that has none. Raises Misconfigured for
    a store that says another, or that says none and has none of the database's photos."""
    said = await photos.find_id()
    offered = said or uuid4()
    async with db.as_app() as session:
        known: UUID
        some: list[str]
        asked = text("SELECT known, photos FROM everystall.know_photo_store(:id)")
        # `some`: the first by hash of those that listings have now: as good as drawn by lot from all, old and
        # new, of every seller. What was deleted is not among them
        # of two that come first one waits here until the other's commit, which is after its file
        known, some = (await session.execute(asked, {"id": offered})).one()
        said = said or await photos.find_id()
        if said is None:
            if known != offered or some:
                await _check_has_any(photos, known, some)
            await photos.keep_id(known)
    check_id(photos, known, said or known)
    return known


async def check_whose(photos: Photos, known: UUID, some: Sequence[str]) -> None:
    """Raises Misconfigured for a store that is another database's; `some`: photos that this one must have."""
    said = await photos.find_id()
    if said is not None:
        check_id(photos, known, said)
    elif some:
        await _check_has_any(photos, known, some)


async def _check_has_any(photos: Photos, known: UUID, some: Sequence[str]) -> None:
    if not await photos.has_any(some):
        what = f"has none of this database's photos, and no {MARK} that says whose it is"
        raise _another(photos, known, what, also="" if some else _FORGOTTEN)


def check_id(photos: Photos, known: UUID, said: UUID) -> None:
    """Raises Misconfigured unless the store says the id that the database knows."""
    if said != known:
        raise _another(photos, known, f"is another database's ({MARK} says {said})")


def _another(photos: Photos, known: UUID, what: str, *, also: str = "") -> Misconfigured:
    return Misconfigured(
        f"The photo store {photos.where} {what}: posts would not find their photos there.",
        action=f"Check {photos.set_by}: all hosts need the same. If this database's photos were moved there "
        f"on purpose, put a file {MARK} there that says {json.dumps({'id': str(known)})}.{also}",
    )
