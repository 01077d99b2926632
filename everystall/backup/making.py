"""A backup made: beside, and renamed once it is whole."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from everystall import __version__
from everystall.backup import archive
from everystall.backup.archive import Progress, silent
from everystall.backup.sealing import Sealing
from everystall.backup.shelf import Shelf
from everystall.content.photos import Photos
from everystall.errors import Misconfigured, StorageFull
from everystall.settings import Settings
from everystall.vault.keyring import Keyring

log = structlog.get_logger()


def make(
    settings: Settings,
    keyring: Keyring,
    to: Path,
    *,
    passphrase: str | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Writes everything to `to`, which only we may read; its contents.json. Without a passphrase the one of
    BACKUP_PASSPHRASE is taken, if there is one. Raises StorageFull, Misconfigured: then there is no file."""
    if settings.database_admin_url is None:
        raise Misconfigured(
            "A backup needs more rights than the login role of DATABASE_URL has.",
            action="Set DATABASE_ADMIN_URL to a superuser's address of the same database.",
        )
    if passphrase is None and settings.backup_passphrase is not None:
        passphrase = settings.backup_passphrase.get_secret_value()
    half = to.with_name(f"{to.name}.part")
    url, photos = settings.database_admin_url.get_secret_value(), Photos(settings)

    async def work() -> dict[str, Any]:
        told = {"made": datetime.now(UTC).isoformat(), "version": __version__}
        try:
            with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                out = Sealing(file, told, keyring, passphrase, settings.pbkdf2_iterations)
                contents = await archive.write(out, url, keyring, photos, progress)
                file.flush()
                os.fsync(file.fileno())
            return contents
        finally:
            await photos.close()

    try:
        contents = asyncio.run(work())
        half.replace(to)
    except OSError as e:
        raise StorageFull(
            f"The backup could not be written: {e.strerror}; none was made.",
            action=f"See that {to.parent} may be written by this user, and has room.",
        ) from None
    finally:
        half.unlink(missing_ok=True)
    log.info("backup.made", name=to.name, bytes=to.stat().st_size, photos=contents["photos"])
    if contents["missing"]:
        log.error("backup.photos_missing", number=len(contents["missing"]))
    return contents


def make_on_shelf(
    settings: Settings, keyring: Keyring, kind: str, progress: Progress = silent, *, keep: Path | None = None
) -> Path:
    """One more in EVERYSTALL_HOME/backups; what is too old goes, but for `keep`. Raises StorageFull."""
    shelf = Shelf(settings)
    shelf.make()
    shelf.thin(keep)
    shelf.check_room()
    path = shelf.new(kind)
    make(settings, keyring, path, progress=progress)
    shelf.thin(keep)
    return path
