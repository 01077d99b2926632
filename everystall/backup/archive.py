"""What is in an archive, in this order, as a tar in the envelope:

    about.json                        version, migration head, when, tables with their columns, sequences
    keyring.json                      the ring's keys
    tables/listings/000000.gz …       PostgreSQL's COPY text, in pieces; a table after those that it points at
    tables/everystall.chosen_settings/…   what owners chose while everything ran, with who changed what; and
                                      what is known of the marketplaces' pages, with what owners rejected
    photos/<sha256> …                 originals as they came
    contents.json                     rows and SHA-256 of each table, how many photos, those that were missing

All tables are read in one REPEATABLE READ transaction, so they are of one moment; photos after them. What is
left out: the queue (a tick finds what is due), signs of life, renditions (made anew), pictures of failures.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from typing import IO, Any, Final

import psycopg
from psycopg import sql

from everystall import __version__
from everystall.backup.sealing import CHUNK, Opening, Sealing, damaged
from everystall.content.photos import Photos
from everystall.db import OWNER, driver_url, unreachable
from everystall.errors import Misconfigured, PhotoMissing
from everystall.vault.keyring import Keyring

#: 1: without what owners chose. 2: without what is known of the marketplaces' pages.
FORMAT: Final = 3
ABOUT, KEYRING, CONTENTS = "about.json", "keyring.json", "contents.json"
#: Bytes of a table that are in memory at once, before they are packed.
PIECE: Final = 4 * 1024 * 1024
#: A member that is larger is none of ours: an original has 25 MB at most.
MEMBER: Final = 64 * 1024 * 1024

#: `progress(done, total)`: tables and photos.
Progress = Callable[[int, int], None]

#: In schema everystall: what owners chose (choices.py), and what is known of the marketplaces' pages
#: (browser/heal.py), none of which is of one machine. The rest there is signs of life, the check values of
#: this machine's key ring, and its photo store.
SETTINGS: Final = ("everystall.chosen_settings", "everystall.setting_changes")
HEALED: Final = ("everystall.looks", "everystall.locators")
#: Ours, and their columns; those that PostgreSQL computes are not written.
TABLES: Final = f"""
SELECT CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname AS name,
       array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attgenerated = '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND (
      n.nspname = 'public' AND c.relname <> 'alembic_version' AND c.relowner = '{OWNER}'::regrole
   OR n.nspname || '.' || c.relname IN {SETTINGS + HEALED})
GROUP BY name ORDER BY name
"""
REFERENCES: Final = """
SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND conrelid <> confrelid
"""
SEQUENCES: Final = """
SELECT CASE schemaname WHEN 'public' THEN '' ELSE schemaname || '.' END || sequencename, last_value
FROM pg_sequences WHERE last_value IS NOT NULL
  AND (schemaname = 'public' OR (schemaname, sequencename) = ('everystall', 'setting_changes_id_seq'))
"""
#: As everystall.unnamed_photos counts those that somebody needs: table → query. An older database has not
#: all of these tables, nor `originals` (before 0020), nor `to_fetch` (before 0038).
_PHOTOS: Final = {
    "listing_photos": "SELECT sha256 FROM listing_photos",
    "import_rows": """
        SELECT photo ->> 'sha256'
        FROM import_rows r, jsonb_array_elements(coalesce(to_jsonb(r) -> 'originals', '[]')) photo
        WHERE r.outcome IS NULL OR coalesce(to_jsonb(r) -> 'to_fetch', '[]') <> '[]'""",
    "matches": "SELECT jsonb_array_elements_text(undo_photos) FROM matches WHERE state = 'linked'",
    "deleted_listings": """
        SELECT jsonb_array_elements_text(photos) FROM deleted_listings
        WHERE deleted_at > now() - interval '30 days 12 hours'""",
}


def silent(done: int, total: int) -> None:
    """Nobody watches."""


def named(table: str) -> sql.Identifier:
    """As a statement has it; without a schema it is one of public's."""
    return sql.Identifier(*table.split("."))


# ---- writing --------------------------------------------------------------------------------------


async def write(
    out: Sealing, admin_url: str, keyring: Keyring, photos: Photos, progress: Progress = silent
) -> dict[str, Any]:
    """Writes everything and closes the envelope; returns its contents.json."""
    stream: Any = out
    with tarfile.open(fileobj=stream, mode="w|", bufsize=CHUNK, format=tarfile.PAX_FORMAT) as tar:
        url = driver_url(admin_url)
        try:
            connection = await psycopg.AsyncConnection.connect(
                url.set(drivername="postgresql").render_as_string(hide_password=False), connect_timeout=10
            )
        except psycopg.OperationalError as e:
            raise unreachable(url, e) from None
        async with connection:
            about, names = await _begin(connection)
            _add(tar, ABOUT, json.dumps(about).encode())
            _add(tar, KEYRING, json.dumps(keyring.for_backup()).encode())
            done, total = 0, len(about["tables"]) + len(names)
            tables: dict[str, dict[str, Any]] = {}
            for table, columns in about["tables"].items():
                tables[table] = await _write_table(connection, tar, table, columns)
                progress(done := done + 1, total)
        missing = []
        for sha256 in names:
            try:
                _add(tar, f"photos/{sha256}", await photos.get(sha256))
            except PhotoMissing:
                missing.append(sha256)
            progress(done := done + 1, total)
        contents = {"tables": tables, "photos": len(names) - len(missing), "missing": missing}
        _add(tar, CONTENTS, json.dumps(contents).encode())
    out.close()
    return contents


async def _begin(connection: psycopg.AsyncConnection) -> tuple[dict[str, Any], list[str]]:
    """The moment that the archive is of. Raises Misconfigured for who does not see all rows."""
    await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
    await connection.set_read_only(True)
    await connection.execute("SET LOCAL row_security = off")  # an error instead of fewer rows
    await connection.execute("SET LOCAL search_path = public")
    try:
        head = await (await connection.execute("SELECT version_num FROM alembic_version")).fetchone()
        columns: dict[str, list[str]] = dict(await (await connection.execute(TABLES)).fetchall())
        references = await (await connection.execute(REFERENCES)).fetchall()
        sequences: dict[str, int] = dict(await (await connection.execute(SEQUENCES)).fetchall())
        photos = " UNION ".join(query for table, query in _PHOTOS.items() if table in columns)
        names = [str(row[0]) for row in await (await connection.execute(f"{photos} ORDER BY 1")).fetchall()]
    except psycopg.errors.InsufficientPrivilege:
        raise Misconfigured(
            "Who DATABASE_ADMIN_URL logs in as does not see every seller's rows, so no backup can be made.",
            action="Set DATABASE_ADMIN_URL to a superuser's address, or give that role BYPASSRLS.",
        ) from None
    about = {
        "format": FORMAT, "version": __version__, "head": head[0] if head else None,
        "made": datetime.now(UTC).isoformat(), "sequences": sequences,
        "tables": {table: columns[table] for table in in_order(columns, references)},
    }  # fmt: skip
    return about, names


def in_order(tables: Iterable[str], references: Iterable[tuple[str, str]]) -> list[str]:
    """A table after those that it points at."""
    sorter: TopologicalSorter[str] = TopologicalSorter({table: set() for table in tables})
    for table, other in references:
        sorter.add(table, other)
    return list(sorter.static_order())


async def _write_table(
    connection: psycopg.AsyncConnection, tar: tarfile.TarFile, table: str, columns: list[str]
) -> dict[str, Any]:
    statement = sql.SQL("COPY {} ({}) TO STDOUT").format(
        named(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    digest, waiting, number = hashlib.sha256(), bytearray(), 0

    def add() -> None:
        nonlocal number
        _add(tar, f"tables/{table}/{number:06}.gz", gzip.compress(waiting, 3, mtime=0))
        waiting.clear()
        number += 1

    async with connection.cursor() as cursor:
        async with cursor.copy(statement) as rows:
            async for row in rows:
                digest.update(row)
                waiting += row
                if len(waiting) >= PIECE:
                    add()
        if waiting:
            add()
        return {"rows": cursor.rowcount, "sha256": digest.hexdigest()}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    tar.addfile(member, io.BytesIO(data))
    tar.members.clear()  # type: ignore[attr-defined]  # or it remembers each


# ---- reading --------------------------------------------------------------------------------------


def members(file: IO[bytes], key: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each, to the very end. Raises BackupRefused as soon as something is not as it was
    written."""
    opening: Any = Opening(file, key)
    try:
        with tarfile.open(fileobj=opening, mode="r|", bufsize=CHUNK) as tar:
            for member in tar:
                if not member.isfile() or member.size > MEMBER:
                    raise damaged()
                found = tar.extractfile(member)
                assert found is not None
                yield member.name, found.read()
                tar.members.clear()  # type: ignore[attr-defined]  # or it remembers each
    except tarfile.TarError:
        raise damaged() from None
    opening.finish()


def unpack(data: bytes) -> bytes:
    """A piece of a table. Raises BackupRefused for what is larger than any of ours."""
    unpacking = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacking.decompress(data, MEMBER)
    except zlib.error:
        raise damaged() from None
    if not unpacking.eof:
        raise damaged()
    return unpacked


def check(file: IO[bytes], key: bytes, progress: Progress = silent) -> dict[str, Any]:
    """Reads all of it and holds it against its own contents.json; the about.json. Raises BackupRefused."""
    try:
        return _check(file, key, progress)
    except (LookupError, TypeError, ValueError):
        raise damaged() from None


def _check(file: IO[bytes], key: bytes, progress: Progress) -> dict[str, Any]:
    about: dict[str, Any] = {}
    contents: Mapping[str, Any] = {}
    digests: dict[str, Any] = {}
    photos = 0
    for name, data in members(file, key):
        kind, _, rest = name.partition("/")
        if name == ABOUT:
            about = json.loads(data)
            digests = {table: hashlib.sha256() for table in about["tables"]}
        elif name == CONTENTS:
            contents = json.loads(data)
        elif kind == "tables":
            digests[rest.partition("/")[0]].update(unpack(data))
        elif kind == "photos":
            photos += 1
            progress(photos, photos)
            if hashlib.sha256(data).hexdigest() != rest:
                raise damaged()
    if not contents or contents["photos"] != photos:
        raise damaged()
    if {t: d.hexdigest() for t, d in digests.items()} != {
        t: each["sha256"] for t, each in contents["tables"].items()
    }:
        raise damaged()
    return about
