"""An archive in an object store, by an address as s3://bucket/folder/name and PHOTOS_S3_…, as photos are.

It goes there as it is made, in parts, and is there once it is whole; nothing of it lies on this disk. To be
restored it is fetched first, since it is read twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError

from everystall.backup.shelf import Shelf
from everystall.content.photos import bare, open_remote, why_refused
from everystall.errors import (
    BackupRefused,
    Conflict,
    EverystallError,
    Misconfigured,
    StorageAway,
    StorageFull,
)
from everystall.settings import Settings

#: Bytes of a part: of 10,000, which S3 takes, an archive of 160 GB. And how many are on their way at once.
PART: Final = 16 * 1024 * 1024
AT_ONCE: Final = 2


def is_remote(place: str) -> bool:
    """Whether it is the address of an object store, and not a file."""
    return "://" in place


def by_time(place: str) -> str:
    """A folder's address with the name of one that begins now; one that has a name stays."""
    return f"{place}{datetime.now(UTC):%Y%m%dT%H%M%SZ}.everystall" if place.endswith("/") else place


class Remote:
    """One archive there."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.where = bare(url)
        folder, _, self.name = url.rpartition("/")
        try:
            if not urlsplit(folder).netloc or not self.name:
                raise ValueError
            self._store = open_remote(folder, settings)
        except (BaseError, ValueError, OSError):
            raise Misconfigured(
                f"{self.where} is no place in an object store that we know.",
                action="Write it as s3://bucket/folder/name.everystall, and set PHOTOS_S3_… as for photos.",
            ) from None

    def size(self) -> int | None:
        """In bytes; None: it is not there."""
        try:
            return int(obstore.head(self._store, self.name)["size"])
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as e:
            raise self._away(e) from None

    @contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """What is written while this is open is there when it ends well, and nothing of it else. Raises
        Conflict where there is one already."""
        if self.size() is not None:
            raise Conflict(f"There is a file {self.where} already.", action="Give another name.")
        upload = _Upload(self, obstore.open_writer(
            self._store, self.name, buffer_size=PART, max_concurrency=AT_ONCE
        ))  # fmt: skip
        file: Any = upload
        yield file
        upload.finish()

    def fetch(self, shelf: Shelf) -> Path:
        """As what somebody sent to be restored. Raises BackupRefused if it is not there, StorageFull."""
        if (size := self.size()) is None:
            raise BackupRefused(f"There is no file {self.where}.", action="Name a backup.")
        shelf.make()
        shelf.check_room(size)
        to = shelf.new("sent")
        try:
            with to.open("xb") as file:
                to.chmod(0o600)
                for chunk in obstore.get(self._store, self.name).stream(min_chunk_size=1024 * 1024):
                    file.write(chunk)
            return to
        except BaseException as e:
            to.unlink(missing_ok=True)
            if isinstance(e, OSError) and e.errno is not None:
                raise StorageFull(f"The backup could not be fetched: {e.strerror}.") from None
            if isinstance(e, BaseError | OSError):
                raise self._away(e) from None
            raise

    def _away(self, error: Exception) -> EverystallError:
        refused = why_refused(error)
        if refused is not None:
            return Misconfigured(
                f"There is no bucket for {self.where}." if refused == "bucket"
                else f"The store of {self.where} does not accept our keys.",
                action="Check the address, PHOTOS_S3_ENDPOINT and PHOTOS_S3_REGION, and that "
                "PHOTOS_S3_KEY_ID may read and write there.",
            )  # fmt: skip
        return StorageAway(f"The store of {self.where} does not answer.", action="Try it again later.")


class _Upload:
    """A file to write to. Who does not `finish` it has written nothing."""

    def __init__(self, remote: Remote, writer: obstore.WritableFile) -> None:
        self._remote, self._writer = remote, writer

    def write(self, data: bytes) -> int:
        try:
            return self._writer.write(data)
        except (BaseError, OSError) as e:
            raise self._remote._away(e) from None

    def finish(self) -> None:
        try:
            self._writer.close()
        except (BaseError, OSError) as e:
            raise self._remote._away(e) from None
