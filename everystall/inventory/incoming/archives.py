"""An archive of ours (inventory/archive.py) that somebody sent. Nothing of it is written to a disk under a
name that it brings: three kinds of members are read, by their exact names, and all else is left where it is.
What it says of sizes is not believed: each read is bounded."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from typing import IO, Any, Final, cast

from everystall.content.photos import MAX_BYTES
from everystall.errors import ImportRefused
from everystall.inventory.archive import BEFORE_LISTINGS, INVENTORY, LISTINGS
from everystall.inventory.incoming.files import Export

#: Bytes of the CSV, which is read in parts: 50,000 listings with 20 KB each.
MOST_CSV: Final = 1_000_000_000
#: Bytes of what the JSON says before its listings: it is held in memory.
MOST_SAID: Final = 20 * 1024 * 1024
#: Bytes of the zip's own list of members (130,000 photos): it is held in memory.
MOST_NAMES: Final = 16 * 1024 * 1024
#: Photos hardly shrink: what unpacks to more than so many times its size, and a little, is a bomb.
MOST_TIMES: Final = 2
LITTLE: Final = 50_000_000
#: Of the others zipfile unpacks all that some bytes become, however little was asked for.
_BOUNDED: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PHOTO: Final = re.compile(r"photos/([0-9a-f]{64})\.[a-z0-9]{1,5}")
_AT_ONCE: Final = 1024 * 1024
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError,
                  OverflowError)  # fmt: skip


class _Bounded:
    """The file, which gives at most so much at once: a list of members that is longer is not read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found = self._file.read(min(size, MOST_NAMES + 1) if size >= 0 else MOST_NAMES + 1)
        if len(found) > MOST_NAMES:
            raise _refused("It has too many members.")
        return found


class _Member(io.RawIOBase):
    """One that is read piece by piece."""

    def __init__(self, file: IO[bytes], what: str) -> None:
        self._file, self._what = file, what

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        try:
            found = self._file.read(len(into))
        except _BROKEN:
            raise _damaged(self._what) from None
        into[: len(found)] = found
        return len(found)


class Archive:
    """Raises ImportRefused for what is no archive of ours."""

    def __init__(self, file: IO[bytes]) -> None:
        size = file.seek(0, 2)
        try:
            self._zip = zipfile.ZipFile(cast("IO[bytes]", _Bounded(file)))
        except _BROKEN:
            raise _refused("It is no zip, or a damaged one.") from None
        members = self._zip.infolist()
        self._photos = {
            found[1]: member for member in members if (found := _PHOTO.fullmatch(member.filename))
        }
        read = [member for member in members if _is_read(member.filename)]
        if any(member.compress_type not in _BOUNDED for member in read):
            raise _refused("It is packed in another way than a zip mostly is (deflated, or not at all).")
        unpacked = sum(member.file_size for member in self._photos.values())
        if unpacked > MOST_TIMES * size + LITTLE:
            raise _refused("It unpacks to far more than it is.")

    @property
    def photos(self) -> frozenset[str]:
        """Hashes of those that it says it has."""
        return frozenset(self._photos)

    def listings(self) -> Export:
        return Export(self._listings)

    def _listings(self) -> IO[bytes]:
        what = f"Its {LISTINGS}"
        try:
            if self._zip.getinfo(LISTINGS).file_size > MOST_CSV:  # and no more than it says is read
                raise _refused(f"{what} has more than {MOST_CSV // 1_000_000:,} MB.")
            return io.BufferedReader(_Member(self._zip.open(LISTINGS), what))
        except KeyError:
            raise _refused(f"There is no {LISTINGS} in it.") from None
        except _BROKEN:
            raise _damaged(what) from None

    def kept(self) -> dict[str, Any]:
        """What its JSON says before the listings: rules, views, templates. Nothing, if it is none of ours."""
        if INVENTORY not in self._zip.namelist():
            return {}
        end, head = BEFORE_LISTINGS.encode(), bytearray()
        try:
            with self._zip.open(INVENTORY) as file:
                while end not in head and len(head) <= MOST_SAID and (piece := file.read(_AT_ONCE)):
                    head += piece
        except _BROKEN:
            raise _damaged(f"Its {INVENTORY}") from None
        said, found, _ = head.partition(end)
        try:
            told = json.loads(said + b"}") if found else None
        except (ValueError, RecursionError):
            told = None
        return told if isinstance(told, dict) else {}

    def photo(self, sha256: str) -> bytes | None:
        """Its bytes; None if they are others than its name says, or too many."""
        member = self._photos[sha256]
        if member.file_size > MAX_BYTES:
            return None
        data = self._read(member, MAX_BYTES, "A photo")
        return data if hashlib.sha256(data).hexdigest() == sha256 else None

    def _read(self, member: zipfile.ZipInfo, most: int, what: str) -> bytes:
        found = bytearray()
        try:
            with self._zip.open(member) as file:
                while piece := file.read(_AT_ONCE):
                    found += piece
                    if len(found) > most:
                        raise _refused(f"{what} has more than {most // 1_000_000} MB.")
        except _BROKEN:
            raise _damaged(what) from None
        return bytes(found)


def _is_read(name: str) -> bool:
    return name in (LISTINGS, INVENTORY) or _PHOTO.fullmatch(name) is not None


def _damaged(what: str) -> ImportRefused:
    return _refused(f"{what} is damaged.")


def _refused(said: str) -> ImportRefused:
    return ImportRefused(
        f"This is no archive of an inventory: {said}",
        action="Send the zip as it was exported; or its listings.csv by itself, without photos.",
    )
