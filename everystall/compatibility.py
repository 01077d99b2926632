"""Which versions of the program work with a database, and which are connected to it.

A version is known by its newest migration. A migration that says `backward_compatible = True` leaves what the
version before reads and writes as it was; any other breaks the versions before it. The database keeps the
oldest version that works with it, so that a program knows whether it may go on, however newer that is.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

#: Before it nothing was promised, and no program said who it is.
FIRST: Final = "0069"
#: How a process of ours is called in pg_stat_activity: `everystall-web/0069/4242@host`.
_NAMED: Final = re.compile(r"everystall-([a-z-]+)/(\d{4})/(.+)")
_CONNECTED: Final = text("""
    SELECT application_name, host(client_addr) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = :login AND backend_type = 'client backend'
    GROUP BY 1, 2 ORDER BY 1, 2""")
_KEEP: Final = """
CREATE OR REPLACE FUNCTION everystall.oldest_program() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT '{oldest}' $$
"""


@dataclass(frozen=True)
class Mismatch:
    """Why this program does not work with a database: `said` goes on from "The database …"."""

    said: str
    action: str


_OLDER: Final = (
    "Run `everystall migrate` once, with DATABASE_ADMIN_URL set; `everystall up` does it by itself. Until "
    "then the version that was here works on."
)
_NEWER: Final = "Start the newer version instead of this one. What is wanted waits in the database."


def folder() -> Path:
    """Of the migrations."""
    here = Path(__file__).resolve().parent
    beside = [here / "migrations", here.parent / "migrations"]  # in the wheel; in the repository
    return next((path for path in beside if path.is_dir()), beside[-1])


@cache
def newest() -> str:
    """This version's newest migration: their names begin with numbers of four digits."""
    return max(path.name[:4] for path in folder().glob("versions/[0-9]*.py"))


def name_process(kind: str) -> None:
    """PostgreSQL, and who migrates it, know this process from now on by what it is (`web`, `worker`), its
    version, and where it runs. libpq reads it for each connection."""
    os.environ["PGAPPNAME"] = f"everystall-{kind}/{newest()}/{os.getpid()}@{socket.gethostname()}"


async def find_mismatch(connection: AsyncConnection | AsyncSession) -> Mismatch | None:
    """None: this program works with the database. Asked by the login role."""
    row = (await connection.execute(_THERE)).one()
    at = await connection.scalar(text("SELECT everystall.migration()")) if row.migration else None
    if at is None or at < newest():
        said = f"is of an older version ({at or 'before 0068'}; this one needs {newest()})"
        return Mismatch(said, _OLDER)
    oldest = await connection.scalar(text("SELECT everystall.oldest_program()")) if row.oldest else ""
    if oldest > newest():
        return Mismatch(f"is of a newer version ({at}; this one is {newest()}, it needs {oldest})", _NEWER)
    return None


_THERE: Final = text("""
    SELECT to_regproc('everystall.migration') IS NOT NULL AS migration,
           to_regproc('everystall.oldest_program') IS NOT NULL AS oldest""")


def oldest_at(scripts: ScriptDirectory, at: str, after: str = "") -> str | None:
    """The newest migration up to `at` that is not backward compatible, among those after `after`."""
    breaking = [
        script.revision
        for script in scripts.walk_revisions()
        if after < script.revision <= at and not getattr(script.module, "backward_compatible", False)
    ]
    return max(breaking, default=None)


def keep(connection: Connection, scripts: ScriptDirectory, revision: str) -> None:
    """Writes down which is the oldest program, in a database that was brought to that migration. As the
    functions' owner."""
    known = connection.scalar(text("SELECT to_regproc('everystall.oldest_program') IS NOT NULL"))
    if known and (at := scripts.get_revision(revision)) is not None:
        connection.exec_driver_sql(_KEEP.format(oldest=oldest_at(scripts, at.revision)))


def find_broken(connection: Connection, login: str, oldest: str) -> list[str]:
    """Who is connected as `login` and does not work with a database that needs `oldest`, in words."""
    connection.execute(text("SELECT pg_stat_clear_snapshot()"))
    found = []
    for name, address in connection.execute(_CONNECTED, {"login": login}):
        ours = _NAMED.fullmatch(name)
        if ours is None:
            found.append(f"an older program, or another, at {address or 'the local socket'}")
        elif ours[2] < oldest:
            found.append(f"a {ours[1]} of version {ours[2]} ({ours[3]})")
    return list(dict.fromkeys(found))
