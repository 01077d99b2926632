"""The way back: a database of an archive's rows, brought to this version, in one transaction; photos beside.

Refused before anything is touched: what does not open or is not whole, what a newer version made, and as long
as a web or a worker is connected. The key ring of this machine is not changed: data keys that the archive's
ring wrapped are wrapped anew by ours. Whatever fails, all is as before.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
import structlog
from psycopg import sql
from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.exc import OperationalError

from everystall import db
from everystall.backup import aftermath, archive
from everystall.backup.archive import ABOUT, CONTENTS, KEYRING, Progress, silent
from everystall.backup.making import make_on_shelf
from everystall.backup.sealing import damaged
from everystall.content import photo_store
from everystall.content.photos import Photos
from everystall.errors import BackupRefused, Misconfigured, SealBroken
from everystall.settings import Settings
from everystall.vault.envelope import Binding, unseal
from everystall.vault.keyring import Keyring

log = structlog.get_logger()

#: Seconds that a connection of who was just stopped may still be there.
GOING: Final = 5.0


class Restored:
    """What came of it."""

    def __init__(self, about: dict[str, Any]) -> None:
        self.made = datetime.fromisoformat(about["made"])
        self.version = str(about["version"])
        self.rows = self.photos = self.sessions = 0
        #: Of the sessions, how many do not open with their seller's key.
        self.broken = 0
        #: Photos that were missing when the archive was made.
        self.missing = 0


def check(file: Path, key: bytes, settings: Settings, progress: Progress = silent) -> dict[str, Any]:
    """All that can be known before: whole, of a version that we know, nobody connected, the photo store not
    another database's; the about.json. Raises BackupRefused, Misconfigured."""
    with file.open("rb") as opened:
        about = archive.check(opened, key, progress)
    admin, login = urls(settings)
    engine = create_engine(admin, connect_args={"connect_timeout": 10})
    try:
        with engine.connect() as connection:
            if about["format"] > archive.FORMAT or not db.knows(connection, about["head"]):
                raise BackupRefused(
                    f"That backup was made by a newer Everystall ({about['version']}).",
                    action="Install that version or a newer one here, and restore it then.",
                )
            check_alone(connection, login)
            known = _known_store(connection)
    except OperationalError as e:
        raise db.unreachable(admin, e) from None
    finally:
        engine.dispose()
    if known is not None:
        asyncio.run(_check_store(settings, known))
    return about


def restore(
    file: Path, key: bytes, settings: Settings, keyring: Keyring, progress: Progress = silent
) -> Restored:
    """After `check`. Raises BackupRefused, StorageFull and whatever goes wrong: then nothing was changed."""
    admin, login = urls(settings)
    engine = create_engine(admin, hide_parameters=True, connect_args={"connect_timeout": 10})
    photos = Photos(settings)
    new: list[str] = []
    try:
        with asyncio.Runner() as runner:
            try:
                with engine.begin() as connection, file.open("rb") as opened:
                    found = archive.members(opened, key)
                    return _restore(connection, login, found, keyring, photos, runner, new, progress)
            except BaseException:
                for sha256 in new:
                    runner.run(photos.forget(sha256))
                raise
            finally:
                runner.run(photos.close())
    except OperationalError as e:
        raise db.unreachable(admin, e) from None
    finally:
        engine.dispose()


def put_back(
    file: Path, key: bytes, settings: Settings, keyring: Keyring, progress: Progress = silent
) -> tuple[Restored, Path | None]:
    """All of it: looked at, what is here now kept as a restore point, then restored. Raises BackupRefused,
    StorageFull and whatever goes wrong: then all is as before."""
    check(file, key, settings)
    point = make_on_shelf(settings, keyring, "before", keep=file) if holds_something(settings) else None
    return restore(file, key, settings, keyring, progress), point


def holds_something(settings: Settings) -> bool:
    """Whether there is anybody here whose state could be restored."""
    engine = create_engine(urls(settings)[0], connect_args={"connect_timeout": 10})
    try:
        with engine.connect() as connection:
            there = connection.execute(text("SELECT to_regclass('public.users')")).scalar_one()
            if there is None:
                return False
            return bool(connection.execute(text("SELECT EXISTS (SELECT FROM public.users)")).scalar_one())
    finally:
        engine.dispose()


def _restore(
    connection: Connection,
    login: URL,
    found: Iterator[tuple[str, bytes]],
    keyring: Keyring,
    photos: Photos,
    runner: asyncio.Runner,
    new: list[str],
    progress: Progress,
) -> Restored:
    db.begin(connection, login)
    check_alone(connection, login)
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    connection.execute(text("SET LOCAL search_path = public"))
    about = json.loads(_named(next(found), ABOUT))
    ring = Keyring.of_backup(json.loads(_named(next(found), KEYRING)))
    result = Restored(about)
    store = _known_store(connection) or runner.run(photos.find_id()) or uuid4()
    numbers, fence, revoked = _remembered(connection)
    aftermath.keep_healed(connection)
    aftermath.keep_ways(connection)
    db.clear(connection)
    db.upgrade(connection, login, about["head"])
    ours = {row[0]: list(row[1]) for row in connection.execute(text(archive.TABLES))}
    later = (archive.SETTINGS if about["format"] < 2 else ()) + (
        archive.HEALED if about["format"] < 3 else ()
    )
    ours = {table: columns for table, columns in ours.items() if table not in later}
    if ours != about["tables"]:
        raise damaged()
    rows: dict[str, int] = dict.fromkeys(ours, 0)
    _triggers(connection, about["tables"], "DISABLE")
    done = 0
    for group, parts in itertools.groupby(found, lambda part: part[0].rpartition("/")[0]):
        if group.startswith("tables/"):
            table = group.removeprefix("tables/")
            rows[table] = _load(connection, table, about["tables"][table], (data for _, data in parts))
            continue
        for name, data in parts:
            if group == "photos":
                sha256 = name.removeprefix("photos/")
                if runner.run(photos.keep(sha256, data)):
                    new.append(sha256)
                progress(done := done + 1, done)
            elif name == CONTENTS:
                contents = json.loads(data)
    if rows != {table: each["rows"] for table, each in contents["tables"].items()}:
        raise damaged()
    result.rows, result.photos, result.missing = sum(rows.values()), done, len(contents["missing"])
    connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    _triggers(connection, about["tables"], "ENABLE")
    db.upgrade(connection, login)
    connection.execute(text("SET LOCAL search_path = public"))
    for name, last in about["sequences"].items():
        numbers[name] = max(last, numbers.get(name, 0))
    for name, last in numbers.items():
        connection.execute(
            text("SELECT setval(to_regclass(:name), :last) WHERE to_regclass(:name) IS NOT NULL"),
            {"name": name if "." in name else f"public.{name}", "last": last},
        )
    aftermath.settle(connection, result.made, fence, revoked)
    _rewrap(connection, ring, keyring)
    _open_sessions(connection, keyring, result)
    connection.execute(text("INSERT INTO everystall.photo_store (id) VALUES (:id)"), {"id": store})
    runner.run(photos.keep_id(store))
    log.info("backup.restored", made=about["made"], rows=result.rows, photos=result.photos)
    return result


def _named(member: tuple[str, bytes], name: str) -> bytes:
    if member[0] != name:
        raise damaged()
    return member[1]


def _load(connection: Connection, table: str, columns: list[str], parts: Iterator[bytes]) -> int:
    raw = _raw(connection)
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        archive.named(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with raw.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for part in parts:
                copy.write(archive.unpack(part))
        return cursor.rowcount


def _remembered(connection: Connection) -> tuple[dict[str, int], int, list[bytes]]:
    """Of what is here now: the numbers that were given out, the highest fence, the tokens that were revoked.
    Rows of older versions may lack some of it: then there is nothing to remember."""
    if connection.execute(text("SELECT to_regclass('public.connections')")).scalar_one() is None:
        return {}, 0, []
    numbers = {row[0]: int(row[1]) for row in connection.execute(text(archive.SEQUENCES))}
    fence = connection.execute(text("SELECT coalesce(max(lease_fence), 0) FROM connections")).scalar_one()
    revoked = connection.execute(text("SELECT token_hash FROM api_tokens WHERE revoked_at IS NOT NULL"))
    return numbers, int(fence), [bytes(each) for each in revoked.scalars()]


def _known_store(connection: Connection) -> UUID | None:
    """The photo store of what is here now: photos that come are added to it, and it stays this database's."""
    if connection.execute(text("SELECT to_regclass('everystall.photo_store')")).scalar_one() is None:
        return None
    return connection.execute(text("SELECT id FROM everystall.photo_store")).scalar_one_or_none()


async def _check_store(settings: Settings, known: UUID) -> None:
    photos = Photos(settings)
    try:
        photo_store.check_id(photos, known, await photos.find_id() or known)
    finally:
        await photos.close()


def _triggers(connection: Connection, tables: dict[str, Any], what: str) -> None:
    """Rows go in as they were: nothing counts or tells."""
    for table in tables:
        _raw(connection).execute(
            sql.SQL("ALTER TABLE {} " + what + " TRIGGER USER").format(archive.named(table))
        )


def _rewrap(connection: Connection, ring: Keyring, keyring: Keyring) -> None:
    """What a key of the archive's ring wrapped that is not one of ours, by our current one. Raises
    BackupRefused if one does not open: then sessions would be lost."""
    ours = keyring.check_values()
    theirs = ring.check_values()
    found = connection.execute(text("SELECT id, user_id, version, kid, wrapped FROM user_keys")).all()
    for row in found:
        try:
            with ring.unwrap(row.wrapped, row.kid, row.user_id, row.version) as key:
                if ours.get(row.kid) == theirs[row.kid]:
                    continue
                kid, wrapped = keyring.wrap(key, row.user_id, row.version)
        except (SealBroken, Misconfigured, KeyError):
            raise BackupRefused(
                "A seller's data key in that backup does not open with the key ring in it."
            ) from None
        connection.execute(
            text("UPDATE user_keys SET kid = :kid, wrapped = :wrapped WHERE id = :id"),
            {"kid": kid, "wrapped": wrapped, "id": row.id},
        )
    for kid, value in ours.items():
        connection.execute(
            text("INSERT INTO everystall.vault_keys (kid, check_value) VALUES (:kid, :value)"),
            {"kid": kid, "value": value},
        )


def _open_sessions(connection: Connection, keyring: Keyring, result: Restored) -> None:
    """Each, with a line in its seller's audit before. One that does not open is told: it was so before."""
    found = connection.execute(
        text(
            "SELECT s.*, k.kid, k.wrapped FROM user_marketplace_sessions s JOIN user_keys k "
            "ON k.user_id = s.user_id AND k.version = s.dek_version ORDER BY s.user_id, s.id"
        )
    ).all()
    for row in found:
        connection.execute(
            text(
                "INSERT INTO vault_audit (user_id, connection_id, session_id, seq, kid, purpose) "
                "VALUES (:user_id, :connection_id, :id, :seq, :kid, 'restore')"
            ),
            {name: getattr(row, name) for name in ("user_id", "connection_id", "id", "seq", "kid")},
        )
        binding = Binding(row.user_id, row.marketplace, row.id, row.seq, row.expires_at)
        try:
            with keyring.unwrap(row.wrapped, row.kid, row.user_id, row.dek_version) as key:
                unseal(key, row.sealed, binding).wipe()
            result.sessions += 1
        except SealBroken:
            result.broken += 1
            log.warning("backup.session_does_not_open", user_id=str(row.user_id), session_id=str(row.id))


def check_alone(connection: Connection, login: URL, what: str = "restored") -> None:
    """Raises BackupRefused while a web or a worker is connected. `what` was not done then."""
    until = time.monotonic() + GOING
    asked = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = :n")
    while connection.execute(asked, {"n": db.role_of(login)}).scalar_one():
        connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        if time.monotonic() > until:
            raise BackupRefused(
                f"A web or a worker is connected to this database, so nothing was {what}.",
                action="Stop every web and worker first (Ctrl-C in `everystall up`).",
            )
        time.sleep(0.2)


def urls(settings: Settings) -> tuple[URL, URL]:
    if settings.database_admin_url is None or settings.database_url is None:
        raise Misconfigured(
            "Restoring needs more rights than the login role of DATABASE_URL has.",
            action="Set DATABASE_ADMIN_URL to a superuser's address of the same database.",
        )
    return (
        db.driver_url(settings.database_admin_url.get_secret_value()),
        db.driver_url(settings.database_url.get_secret_value()),
    )


def _raw(connection: Connection) -> psycopg.Connection[Any]:
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw
