"""The embedded database moved into one of yours: every row of every table, in one transaction there.

Nothing is changed here. Either all of it is there, counted and compared, or the other database is as empty as
it was. The queue stays behind, as with a backup: a tick finds what is due.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import structlog
from psycopg import sql
from sqlalchemy import URL, Connection, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from everystall import db
from everystall.backup import archive, restoring
from everystall.backup.archive import Progress, silent
from everystall.embedded import LOGIN, MOVED
from everystall.errors import Conflict, Misconfigured
from everystall.settings import Settings

log = structlog.get_logger()

#: All that is ours, but for the queue: columns that are not computed, whose it is, and whether its policies
#: hold for the owner too.
_TABLES: Final = f"""
SELECT CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname AS name,
       array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attgenerated = ''),
       pg_get_userbyid(c.relowner), c.relforcerowsecurity
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND n.nspname IN ('public', 'everystall') AND c.relname <> 'alembic_version'
  AND pg_get_userbyid(c.relowner) IN ('{db.OWNER}', '{db.ENGINE}')
GROUP BY c.oid, n.nspname ORDER BY name
"""
_SEQUENCES: Final = """
SELECT schemaname || '.' || sequencename, last_value FROM pg_sequences
WHERE last_value IS NOT NULL AND schemaname IN ('public', 'everystall')
"""
#: What there is already, but for what an extension of the operator's brought.
_HELD: Final = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname IN ('public', 'everystall', 'procrastinate')) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND d.deptype = 'e')
ORDER BY 1 LIMIT 1
"""
#: So that both sides write a row in the same words, and take the time that it takes.
_SAME_WORDS: Final = (
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'postgres'; "
    "SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; SET LOCAL search_path = public; "
    "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0; "
    "SET CONSTRAINTS ALL IMMEDIATE"
)


@dataclass(frozen=True)
class Moved:
    place: str
    tables: int
    rows: int
    #: Files with DATABASE_URL and DATABASE_ADMIN_URL, for us alone.
    login_file: Path
    admin_file: Path


@dataclass(frozen=True)
class _Table:
    name: str
    columns: list[str]
    owner: str
    forced: bool


def check_target(to: str) -> None:
    """Raises Misconfigured if that is no address of a PostgreSQL."""
    try:
        name = make_url(to).get_backend_name()
    except (ArgumentError, ValueError):
        name = ""
    if name not in ("postgresql", "postgres"):
        raise Misconfigured(
            "The URL to move to is not the address of a PostgreSQL database; nothing was moved.",
            action="Write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
        )


def move(settings: Settings, to: str, progress: Progress = silent) -> Moved:
    """`settings`: with the embedded database's addresses, while nobody else has it. `to`: the address of an
    empty database, a superuser's or its owner's with CREATEROLE. Raises Conflict, Misconfigured and whatever
    goes wrong: then that database is as it was."""
    here, login_here = restoring.urls(settings)
    admin = db.driver_url(to)
    source = create_engine(here, hide_parameters=True)
    target = create_engine(admin, hide_parameters=True, connect_args={"connect_timeout": 10})
    mark = settings.everystall_home / MOVED
    files = [settings.everystall_home / name for name in ("database-url", "database-admin-url")]
    try:
        with source.begin() as ours, target.begin() as theirs:
            db.check_version(theirs)
            _check_empty(theirs, db.place(admin))
            # nobody writes here until it is over, and nobody reads what will be old
            restoring.check_alone(ours, login_here, "moved")
            tables = _tables(ours)
            names = sql.SQL(", ").join(archive.named(table.name) for table in tables)
            _raw(ours).execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(names))
            login = _new_login(theirs, admin)
            db.begin(theirs, login)
            db.upgrade(theirs, login)
            for each in (ours, theirs):
                _raw(each).execute(_SAME_WORDS)
            rows = 0
            for number, table in enumerate(tables, 1):
                rows += _copy(_raw(ours), _raw(theirs), table)
                progress(number, len(tables))
            for name, last in ours.execute(text(_SEQUENCES)):
                set_ = text("SELECT setval(CAST(:name AS regclass), :last)")
                theirs.execute(set_, {"name": name, "last": last})
            for file, url in zip(files, (login, admin), strict=True):
                _keep(file, url.set(drivername="postgresql").render_as_string(hide_password=False))
            _keep(mark, db.place(admin))
            restoring.check_alone(ours, login_here, "moved")
    except BaseException as e:
        for file in (mark, *files):
            file.unlink(missing_ok=True)
        if isinstance(e, DBAPIError | psycopg.Error) and (refused := db.refusal(admin, e)) is not None:
            raise refused from None
        raise
    finally:
        source.dispose()
        target.dispose()
    log.info("database.moved", to=db.place(admin), tables=len(tables), rows=rows)
    return Moved(db.place(admin), len(tables), rows, *files)


def _tables(connection: Connection) -> list[_Table]:
    """Those of schema everystall last: some tell of what is in the others."""
    found = {row[0]: _Table(*row) for row in connection.execute(text(_TABLES))}
    connection.execute(text("SET LOCAL search_path = public"))
    references = connection.execute(text(archive.REFERENCES)).all()
    public = [name for name in found if "." not in name]
    order = archive.in_order(public, [(row[0], row[1]) for row in references])
    return [found[name] for name in (*order, *sorted(found.keys() - set(public)))]


def _check_empty(connection: Connection, place: str) -> None:
    held = connection.execute(text(_HELD)).scalar_one_or_none()
    if held is not None:
        raise Conflict(
            f"The database at {place} holds something already ({held}), so nothing was moved there.",
            action="Make an empty one (CREATE DATABASE) and name that.",
        )
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise Misconfigured(
            f"The database at {place} keeps text as {encoding}, so nothing was moved there.",
            action="Make one that keeps it as UTF8 (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0).",
        )


def _new_login(connection: Connection, admin: URL) -> URL:
    """A role that the server does not have yet, with a password that nobody has to think of."""
    name = LOGIN
    known = text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :name)")
    while connection.execute(known, {"name": name}).scalar_one():
        name = f"{LOGIN}_{secrets.token_hex(3)}"
    return admin.set(username=db.named_like(admin, name), password=secrets.token_urlsafe(24))


def _copy(ours: psycopg.Connection[Any], theirs: psycopg.Connection[Any], table: _Table) -> int:
    """How many rows. What was written is read again, and compared with what was read here."""
    name = archive.named(table.name)
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    read = sql.SQL("COPY {} ({}) TO STDOUT").format(name, columns)
    write = sql.SQL("COPY {} ({}) FROM STDIN").format(name, columns)
    alter = sql.SQL("ALTER TABLE {} ").format(name)
    theirs.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(table.owner)))
    theirs.execute(alter + sql.SQL("DISABLE TRIGGER USER"))  # rows go in as they are: nothing counts or tells
    if table.forced:  # who is no superuser writes as the owner
        theirs.execute(alter + sql.SQL("NO FORCE ROW LEVEL SECURITY"))
    sent, got = _Sum(), _Sum()
    with ours.cursor() as source, theirs.cursor() as target:
        with source.copy(read) as rows, target.copy(write) as into:
            for row in rows:
                sent.add(row)
                into.write(row)
        with target.copy(read) as rows:
            for row in rows:
                got.add(row)
    if sent != got:
        raise Misconfigured(
            f"What was written to {table.name} is not what was read here ({got.rows} rows of {sent.rows}), "
            "so nothing was moved.",
            action="Try it again; if that happens again, report it.",
        )
    if table.forced:
        theirs.execute(alter + sql.SQL("FORCE ROW LEVEL SECURITY"))
    theirs.execute(alter + sql.SQL("ENABLE TRIGGER USER"))
    theirs.execute("RESET ROLE")
    return sent.rows


@dataclass
class _Sum:
    """Of rows in any order: how many, and their hashes added up."""

    rows: int = 0
    hashes: int = 0

    def add(self, row: bytes | bytearray | memoryview) -> None:
        self.rows += 1
        self.hashes = (self.hashes + int.from_bytes(hashlib.sha256(row).digest())) % (1 << 256)


def _keep(file: Path, content: str) -> None:
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(f"{content}\n")
        opened.flush()
        os.fsync(opened.fileno())


def _raw(connection: Connection) -> psycopg.Connection[Any]:
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw
