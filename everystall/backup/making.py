"""A backup made: beside, and renamed once it is whole."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import structlog
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from everystall import __version__, db
from everystall.backup import archive
from everystall.backup.archive import Progress, silent
from everystall.backup.remote import Remote
from everystall.backup.sealing import Sealing
from everystall.backup.shelf import Shelf
from everystall.content import photo_store
from everystall.content.photos import Photos
from everystall.embedded import Server
from everystall.errors import EverystallError, Misconfigured, StorageFull
from everystall.settings import Settings
from everystall.vault import rotation
from everystall.vault.keyring import Keyring

log = structlog.get_logger()


def make(
    settings: Settings,
    keyring: Keyring,
    to: Path | Remote,
    *,
    passphrase: str | None = None,
    progress: Progress = silent,
    even_broken: bool = False,
) -> dict[str, Any]:
    """Writes everything to `to`, which only we may read; its contents.json. Without a passphrase the one of
    BACKUP_PASSPHRASE is taken, if there is one. Raises StorageFull, StorageAway, Misconfigured: then there is
    no file. `even_broken`: also where the ring or the photo store here is not the database's."""
    if settings.database_admin_url is None:
        raise Misconfigured(
            "A backup needs more rights than the login role of DATABASE_URL has.",
            action="Set DATABASE_ADMIN_URL to a superuser's address of the same database.",
        )
    if passphrase is None and settings.backup_passphrase is not None:
        passphrase = settings.backup_passphrase.get_secret_value()
    url, photos = settings.database_admin_url.get_secret_value(), Photos(settings)

    async def work() -> dict[str, Any]:
        told = {"made": datetime.now(UTC).isoformat(), "version": __version__}
        try:
            if not even_broken:
                await _check_whose(url, keyring, photos)
            with to.writing() if isinstance(to, Remote) else _written(to) as file:
                out = Sealing(file, told, keyring, passphrase, settings.pbkdf2_iterations)
                return await archive.write(out, url, keyring, photos, progress)
        finally:
            await photos.close()

    contents = asyncio.run(work())
    log.info("backup.made", name=to.name, photos=contents["photos"])
    if contents["missing"]:
        log.error("backup.photos_missing", number=len(contents["missing"]))
    return contents


def check_there(settings: Settings) -> None:
    """Where no installation is, a backup would make an empty one and be of that. Raises Misconfigured."""
    if settings.database_url is None and not Server(settings.everystall_home).exists():
        raise Misconfigured(
            f"Nothing is installed in {settings.everystall_home}, and no database is named: no backup made.",
            action="Set EVERYSTALL_HOME, or DATABASE_URL where there is one, as the web has it; then again.",
        )


async def _check_whose(url: str, keyring: Keyring, photos: Photos) -> None:
    """A backup with another ring than the database's could not be restored, and one with another photo store
    would have none. Raises Misconfigured."""
    engine = create_async_engine(db.driver_url(url), connect_args={"connect_timeout": 10})
    try:
        async with engine.connect() as connection:
            if not await rotation.sees_everyone(connection):
                return  # which is refused when the tables are read
            await rotation.check_opens(connection, keyring)
            there = await connection.scalar(text("SELECT to_regclass('everystall.photo_store')"))
            known = await connection.scalar(text("SELECT id FROM everystall.photo_store")) if there else None
            some = await connection.scalars(text("SELECT DISTINCT sha256 FROM listing_photos LIMIT 20"))
    except OperationalError as e:
        raise db.unreachable(engine.url, e) from None
    finally:
        await engine.dispose()
    if known is not None:
        await photo_store.check_whose(photos, known, some.all())


@contextmanager
def _written(to: Path) -> Iterator[IO[bytes]]:
    """Beside, and renamed once it is whole and on the disk. Raises StorageFull."""
    half = to.with_name(f"{to.name}.part")
    try:
        with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        half.replace(to)
    except OSError as e:
        raise StorageFull(
            f"The backup could not be written: {e.strerror}; none was made.",
            action=f"See that {to.parent} may be written by this user, and has room.",
        ) from None
    finally:
        half.unlink(missing_ok=True)


def make_on_shelf(
    settings: Settings, keyring: Keyring, kind: str, progress: Progress = silent, *, keep: Path | None = None
) -> Path:
    """One more in EVERYSTALL_HOME/backups; what is too old goes, but for `keep`. Raises StorageFull."""
    shelf = Shelf(settings)
    shelf.make()
    shelf.thin(keep)
    shelf.check_room()
    path = shelf.new(kind)
    # what is replaced may be what is lost: the reason to restore
    make(settings, keyring, path, progress=progress, even_broken=kind == "before")
    shelf.thin(keep)
    return path


def make_before_upgrade(settings: Settings) -> Path | None:
    """What is here, before migrations change it; None where they change nothing, nobody is here yet,
    BACKUP_DAYS is 0, or who migrates does not see all rows. Raises Misconfigured if none can be made."""
    if settings.backup_days == 0 or settings.database_admin_url is None:
        return None
    url = db.driver_url(settings.database_admin_url.get_secret_value())

    async def look() -> Keyring | None:
        engine = create_async_engine(url, connect_args={"connect_timeout": 10})
        try:
            async with engine.connect() as connection:
                if await connection.scalar(text("SELECT to_regclass('public.users')")) is None:
                    return None
                if not await rotation.sees_everyone(connection):
                    log.warning("upgrade.no_backup", why="who migrates does not see every seller's rows")
                    return None
                now, newest = await connection.run_sync(db.revisions)
                anybody = await connection.scalar(text("SELECT EXISTS (SELECT FROM public.users)"))
                if now == newest or not anybody:
                    return None
                keyring = Keyring.load(settings)
                await rotation.check_opens(connection, keyring)
                log.info("upgrade.backup_first", revision=now, to=newest)
                return keyring
        except OperationalError:
            return None  # who migrates comes to it next, and says so
        finally:
            await engine.dispose()

    try:
        keyring = asyncio.run(look())
        return make_on_shelf(settings, keyring, "upgrade") if keyring is not None else None
    except EverystallError as e:
        raise Misconfigured(
            f"Before an upgrade a backup is made, and none could be: {e.message}",
            action=f"{e.action} Or set BACKUP_DAYS=0: then none is made. The database is as it was.",
        ) from None
