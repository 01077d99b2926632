"""Keeps photos: originals as they came, under the hash of their bytes, and renditions that a site takes; and
what pages looked like when something failed.

Pixels are decoded in child processes only (imaging.py): a bomb, a broken file or a decoder's bug ends a
child, never us. A name in the store is made of hashes; no name that a user gave ever gets there. What is
sent out is always encoded anew, so no EXIF, GPS or hidden second file leaves the house.

What nobody has is deleted by whoever wrote that down first, and counts as at it for five minutes. A store
asks no database before it deletes, and no transaction outlasts a frozen process: so one that was frozen for
longer just there may delete what was named meanwhile. It has read it before, and puts it back when it is
awake. What stays lost is what such a one deletes and is killed right after, and what a store deletes after
it was no longer waited for.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import unquote, urlsplit
from uuid import UUID

import obstore
import structlog
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, ObjectStore, S3Store, from_url
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database
from everystall.errors import (
    EverystallError,
    Misconfigured,
    NotFound,
    PhotoMissing,
    PhotoRefused,
    StorageAway,
    StorageFull,
)
from everystall.marketplaces.base import PhotoFacts, PhotoRule, photo_of
from everystall.settings import Settings

log = structlog.get_logger()

#: Bytes of one original.
MAX_BYTES = 25_000_000
#: Children at most; each is started when it is first needed and then kept.
CHILDREN = 2
_CHILD = Path(__file__).with_name("imaging.py")
#: Seconds for one file, the child's start apart.
TIMEOUT = 30.0
#: Part of a rendition's name: raise it when the rendering changes.
RENDERING = 1
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
#: Pictures that one sweep deletes at most: what is left goes a minute later.
SWEPT = 500
#: What evidence.capture calls them.
_PICTURE = re.compile(_DAY.pattern + r"/[0-9a-f]{16}\.(png|aria\.txt)")
_TAKES = "Send a JPEG, HEIC, PNG, WebP, AVIF or GIF photo of at most 40 megapixels and 25 MB."
#: No space (28), quota (122 on Linux, 69 on macOS), file too large (27). obstore tells it in text only.
_FULL = re.compile(r"\(os error (28|122|69|27)\)|code: (28|122|69|27)\b|StorageFull|QuotaExceeded")
#: What S3 says of keys that it does not know, in text only: with some stores it comes as a plain 4xx.
_KEYS = re.compile(
    r"InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|Missing(SecretAccessKey|AccessKeyId)"
)
_NO_BUCKET = re.compile(r"NoSuchBucket|bucket does not exist", re.IGNORECASE)
#: A store over the network: seconds to connect and for one answer, and how long it is tried again meanwhile.
_NETWORK: Any = {"connect_timeout": "5s", "timeout": "60s"}
_RETRIES: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}


#: What a list shows of a photo: 96 pixels wide, on a screen that has two for each.
THUMBNAIL = PhotoRule(max_count=1, longest_side=192, quality=80, max_bytes=24_000)

#: What a grid shows of it: 240 pixels wide, the same.
CARD = PhotoRule(max_count=1, longest_side=480, quality=70, max_bytes=80_000)

#: What is looked at for flaws and labels, turned as it is sent; also of originals that no browser shows.
LARGE = PhotoRule(max_count=1, longest_side=2048, quality=85, max_bytes=2_000_000)

#: What is said beforehand where a second process may come to look for photos elsewhere.
OWN_HOME = (
    "These are the photos of this EVERYSTALL_HOME. A web or worker with another, or on another host, does "
    "not start with photos of its own: then give all of them the same PHOTOS_URL."
)
_UNNAMED = text("SELECT everystall.unnamed_photos(CAST(:hashes AS text[]))")
_HOLD = text("SELECT everystall.hold_photos(CAST(:hashes AS text[]), CAST(:since AS timestamptz))")
#: Seconds at most to delete one. After five minutes what was begun counts as broken off (migration 0049).
FORGETTING = 240.0
#: Questions to a store that are on their way at once.
_AT_ONCE = 16
#: At the root of the store: whose it is (photo_store.py).
MARK = "everystall.json"
#: Bits of 64 in which two renditions of one photo may differ after a site recompressed it: 4 were seen, and
#: more than 10 between different photos (tests/test_photos.py).
PHOTO_DISTANCE = 10


@dataclass(frozen=True)
class Fingerprint:
    """What a photo looks like: dhashes of its views, in the order of imaging.fingerprint, and the mean (red,
    green, blue) of the centre of each. Two of one photo have a view in common: `hamming` ≤ PHOTO_DISTANCE,
    and the same colour."""

    views: tuple[str, ...]
    tints: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Fingerprint:
        """Of what imaging.fingerprint answers."""
        return cls(
            tuple(map(str, found["views"])), tuple((int(r), int(g), int(b)) for r, g, b in found["tints"])
        )


class StoredPhoto(PhotoFacts):
    """What `put` found: size in pixels upright, type, hash, and bytes."""

    byte_size: int


@dataclass(frozen=True)
class Found:
    """Photos that were in the store at that time, by the database's clock."""

    hashes: tuple[str, ...]
    at: datetime


class Photos:
    """The photo store of an installation, and its children. `close()` when done."""

    def __init__(self, settings: Settings) -> None:
        self._location = settings.photos_location
        self._own_home = settings.photos_of_own_home
        #: Which settings say where it is.
        self.set_by = _set_by(settings)
        self._store, self._folder = _open_store(self._location, settings)
        self._threads = ThreadPoolExecutor(CHILDREN, thread_name_prefix="photos")
        self._children: list[_Child] = []
        self._lock = threading.Lock()

    async def warm(self) -> None:
        """Starts a child, so that the first photo need not wait for it (0.1 to 0.3 s)."""
        await self._in_thread(lambda: self._give_back(self._take()))

    async def probe(self) -> str:
        """Writes, reads and deletes a few bytes; where, in words without a secret. Raises Misconfigured (no
        such bucket, wrong keys), StorageAway, StorageFull."""
        name, data = f"probes/{secrets.token_hex(8)}", b"everystall"
        try:
            await self._write(name, data)
        except StorageAway as e:  # to who runs this installation, not to a seller
            raise StorageAway(
                e.message,
                action=f"Check that it runs, that this machine reaches it, and {self.set_by}. Until then "
                "uploads are refused and posts wait.",
            ) from None
        found = b""
        with suppress(FileNotFoundError):
            found = await self._read(name)
        try:
            await obstore.delete_async(self._store, name)
        except (BaseError, OSError) as e:
            raise self._no_store(e, "written") from None
        if found != data:
            raise Misconfigured(f"The photo store {bare(self._location)} gives back something else.")
        return bare(self._location)

    async def check(self) -> bool:
        """At the start of a process: what is set up wrongly stops it; a store that is away may come back.
        Whether it is there."""
        away = False
        try:
            await self.probe()
        except StorageAway as e:
            away = True
            log.warning("photos.store_away", message=e.message, action=e.action)
        if self._own_home:
            log.warning("photos.of_this_home", location=self.where, message=OWN_HOME)
        return not away

    async def close(self) -> None:
        """Ends the children."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        for child in self._children:
            child.end()
        self._children.clear()

    # ---- store ----

    @property
    def where(self) -> str:
        """The location, without what may be secret in it."""
        return bare(self._location)

    async def find_id(self) -> UUID | None:
        """Whose store it says it is; None where it says nothing that can be read."""
        try:
            return UUID(json.loads(await self._read(MARK))["id"])
        except (FileNotFoundError, ValueError, TypeError, LookupError, AttributeError):
            return None

    async def keep_id(self, id: UUID) -> None:
        """Whose store it is from now on. For one that says nothing."""
        await self._write(MARK, json.dumps({"id": str(id)}).encode())

    async def has_any(self, hashes: Iterable[str]) -> bool:
        """Whether one of these originals is there."""
        for sha256 in hashes:
            try:
                await obstore.head_async(self._store, f"originals/{_hash(sha256)}")
                return True
            except FileNotFoundError:
                continue
            except (BaseError, OSError) as e:
                raise self._no_store(e, "read") from None
        return False

    async def put(self, data: bytes) -> StoredPhoto:
        """Stores an original as it is; the same bytes twice are one. PhotoRefused: not a photo we can use,
        in words. StorageFull: nothing was stored, not even half."""
        if len(data) > MAX_BYTES:
            raise PhotoRefused(
                f"The photo has {len(data) / 1e6:.1f} MB; {MAX_BYTES // 1_000_000} MB are taken.",
                action=_TAKES,
            )
        if not data:
            raise PhotoRefused("The file is empty.", action=_TAKES)
        found, _ = await self._ask({"do": "look"}, data)
        sha256 = hashlib.sha256(data).hexdigest()
        await self._write(f"originals/{sha256}", data)
        return StoredPhoto(sha256=sha256, byte_size=len(data), **found)

    async def keep(self, sha256: str, data: bytes) -> bool:
        """An original out of a backup, where it was looked at once: under its hash, as it is. Whether it was
        not here. StorageFull: nothing was stored."""
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError("that is another photo's hash")
        name = f"originals/{sha256}"
        try:
            await obstore.head_async(self._store, name)
        except FileNotFoundError:
            await self._write(name, data)
            return True
        except (BaseError, OSError) as e:
            raise self._no_store(e, "read") from None
        await self._write(name, data)  # of another length: half of it, say
        return False

    async def get(self, sha256: str) -> bytes:
        """The original's bytes; what is not they (a link that somebody put into the store, a damaged file)
        is never handed out. PhotoMissing; NotFound for what is no hash."""
        where = bare(self._location)
        try:
            data = await self._read(f"originals/{_hash(sha256)}")
        except FileNotFoundError:
            log.error("photos.missing", sha256=sha256, location=where)
            raise PhotoMissing(f"The photo store {where} does not have a photo of this listing.") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            log.error("photos.not_the_original", sha256=sha256, location=where)
            raise PhotoMissing(f"What the photo store {where} has for a photo of this listing is not it.")
        return data

    async def rendition(self, photo: str, rule: PhotoRule) -> bytes:
        """The JPEG that a site takes of a photo (its name, base.photo_name): upright and turned as its seller
        wants it, sRGB, without metadata, the whole photo fitted on white and never cropped or enlarged. Made
        once, then kept."""
        sha256, turn = photo_of(photo)
        wanted: dict[str, Any] = {
            "longest_side": rule.longest_side,
            "quality": rule.quality,
            "ratio": rule.ratio,
            "max_bytes": rule.max_bytes,
        }
        if turn:
            wanted["turn"] = turn
        recipe = hashlib.sha256(json.dumps([RENDERING, wanted], sort_keys=True).encode()).hexdigest()[:16]
        name = f"renditions/{_hash(sha256)}/{recipe}.jpg"
        try:
            return await self._read(name)
        except FileNotFoundError:
            pass
        _, made = await self._ask({"do": "render", "rule": wanted}, await self.get(sha256))
        try:
            await self._write(name, made)
        except StorageFull:
            log.warning("photos.rendition_not_kept", sha256=sha256)  # it can be made again; the post goes on
        return made

    async def forget(self, sha256: str) -> None:
        """Deletes an original and what was rendered of it. Quiet if it is not there."""
        names = [f"originals/{_hash(sha256)}"]
        try:
            async for found in obstore.list(self._store, prefix=f"renditions/{sha256}/"):
                names += [each["path"] for each in found]
            for name in names:
                await self._remove(name)
        except (BaseError, OSError) as e:
            raise self._no_store(e, "written") from None

    async def look_for(self, db: Database, hashes: Collection[str]) -> Found:
        """For who names them next, in a transaction (`hold`): none is open here, since the store may take its
        time. Raises StorageAway if one was deleted since it was stored, as nobody had it."""
        async with db.as_app() as session:
            at = await session.scalar(text("SELECT clock_timestamp()"))
        if await self._find_missing(hashes):
            raise _gone()
        return Found(tuple(hashes), at)

    async def hold(self, session: AsyncSession, found: Found) -> None:
        """In the transaction that names them: until it ends nobody begins to delete one, and then they are
        named. Raises StorageAway if one went after it was looked for."""
        if found.hashes and await self._find_going(session, found.hashes, found.at):
            raise _gone()

    async def find_lost(self, db: Database, hashes: Collection[str]) -> list[str]:
        """Those of them that are not there. They are named by now: no more of them go, and who is deleting
        one is waited for."""
        while True:
            async with db.as_app() as session:
                if not await self._find_going(session, hashes):
                    break
            await asyncio.sleep(0.2)
        return await self._find_missing(hashes)

    async def _find_missing(self, hashes: Collection[str]) -> list[str]:
        free = asyncio.Semaphore(_AT_ONCE)

        async def is_there(sha256: str) -> bool:
            async with free:
                return await self.has_any([sha256])

        there = await asyncio.gather(*map(is_there, hashes))
        return [sha256 for sha256, found in zip(hashes, there, strict=True) if not found]

    async def _find_going(
        self, session: AsyncSession, hashes: Collection[str], since: datetime | None = None
    ) -> list[str]:
        """Those that are being deleted, or were since then."""
        return list(await session.scalars(_HOLD, {"hashes": list(hashes), "since": since}))

    async def forget_unnamed(self, db: Database, hashes: Collection[str]) -> None:
        """Deletes those of them that nobody has, by everystall.unnamed_photos. What cannot be deleted now is
        said in the log and stops nothing; of a store that does not answer no more is asked."""
        for sha256 in await self._find_unnamed(db, hashes) if hashes else ():
            try:
                await self._forget_unnamed(db, sha256)
            except EverystallError as e:
                log.error("photos.left", sha256=sha256, error=e.code)
                if isinstance(e, StorageAway):
                    return

    async def _find_unnamed(self, db: Database, hashes: Collection[str]) -> list[str]:
        async with db.as_app() as session:
            return list(await session.scalars(_UNNAMED, {"hashes": list(hashes)}))

    async def _forget_unnamed(self, db: Database, sha256: str) -> None:
        """Asked once more while nobody names any, and written down before it goes: who stored the same
        meanwhile has named it by now, or finds that it went (`hold`). Who stood still for so long that it
        was named all the same puts it back."""
        data: bytes | None = None
        failed: EverystallError | None = None
        try:
            async with asyncio.timeout(FORGETTING):
                begun = await db.ask("SELECT everystall.begin_forgetting(%(hash)s) AS at", hash=sha256)
                if begun is None or (at := begun.at) is None:
                    return
                with suppress(FileNotFoundError):
                    data = await self._read(f"originals/{_hash(sha256)}")
                await self.forget(sha256)
        except TimeoutError:
            failed = StorageAway(f"The photo store {self.where} does not answer.")
        except EverystallError as e:
            failed = e
        if failed is None:  # else it may still go, and nobody names it for five minutes
            await db.ask("SELECT everystall.end_forgetting(%(hash)s, %(at)s)", hash=sha256, at=at)
        if data is not None and not await self._find_unnamed(db, [sha256]):
            log.warning("photos.put_back", sha256=sha256)
            await self._write(f"originals/{sha256}", data)
        if failed is not None:
            raise failed

    # ---- what pages looked like (browser/evidence.py) ----

    async def keep_evidence(self, user_id: UUID, name: str, data: bytes) -> None:
        """A picture of a page of this seller's, or its outline, under a name that begins with its day.
        StorageFull: nothing was stored."""
        named = _evidence(user_id, name)
        if self._folder is not None:
            await asyncio.to_thread(_shut_off, self._folder / "evidence")
        await self._write(named, data)
        if self._folder is not None:
            (self._folder / named).chmod(0o600)

    async def evidence(self, user_id: UUID, name: str) -> bytes:
        """NotFound if there is no such of this seller's, or not any more."""
        try:
            return await self._read(_evidence(user_id, name))
        except FileNotFoundError:
            raise NotFound("There is no such picture any more.") from None

    async def forget_evidence(self, user_id: UUID) -> None:
        """All of this seller's. What cannot be deleted now is said in the log, goes after its days, and stops
        nothing."""
        try:
            for day in await self._days():
                await self._delete_all(f"evidence/{day}/{user_id}")
        except (BaseError, OSError) as e:
            log.error("evidence.left", error=type(e).__name__)

    async def sweep_evidence(self, days: int) -> None:
        """Deletes what is older than so many days, of so many at once. What cannot be deleted now is said in
        the log, and is tried again the next time."""
        left = SWEPT
        oldest = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d")
        try:
            for day in await self._days():
                if day < oldest and left > 0:
                    left -= await self._delete_all(f"evidence/{day}", left)
        except (BaseError, OSError) as e:
            log.warning("evidence.not_swept", error=type(e).__name__)

    async def _days(self) -> list[str]:
        """Of which there are pictures."""
        try:
            found = await obstore.list_with_delimiter_async(self._store, prefix="evidence/")
        except FileNotFoundError:
            return []
        names = (prefix.rpartition("/")[2] for prefix in found["common_prefixes"])
        return [name for name in names if _DAY.fullmatch(name)]

    async def _delete_all(self, place: str, most: int | None = None) -> int:
        """So many at most; how many it were."""
        gone = 0
        with suppress(FileNotFoundError):
            async for each in obstore.list(self._store, prefix=f"{place}/"):
                for one in each:
                    if gone == most:
                        return gone
                    gone += 1
                    await self._remove(one["path"])
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder / place, ignore_errors=True)
        return gone

    async def _remove(self, name: str) -> None:
        """Quiet if it is not there."""
        try:
            await obstore.delete_async(self._store, name)
        except FileNotFoundError:
            pass
        except BaseError:
            with suppress(FileNotFoundError):  # which Supabase's Storage, until lately, calls AccessDenied
                await obstore.head_async(self._store, name)
                raise

    def meets(self, folder: Path) -> bool:
        """Whether this store is that folder, lies in it, or around it."""
        if self._folder is None:
            return False
        here, there = self._folder.resolve(), folder.resolve()
        return here.is_relative_to(there) or there.is_relative_to(here)

    async def _read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        try:
            found = await obstore.get_async(self._store, name)
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as e:
            raise self._no_store(e, "read") from None

    async def _write(self, name: str, data: bytes) -> None:
        """All of it or nothing: the store writes beside and renames. Quiet if it is there already."""
        try:
            if (await obstore.head_async(self._store, name))["size"] == len(data):
                return
        except FileNotFoundError:
            pass
        except (BaseError, OSError) as e:
            raise self._no_store(e, "read") from None
        try:
            await obstore.put_async(self._store, name, data)
            if self._folder is not None:
                await asyncio.to_thread(_settle, self._folder / name)
        except (BaseError, OSError) as e:
            raise self._no_store(e, "written") from None

    def _no_store(self, error: Exception, done: str) -> EverystallError:
        said, where = str(error), bare(self._location)
        if _FULL.search(said):
            return StorageFull("There is no room to store the photo; nothing was stored.")
        refused = why_refused(error)
        if self._folder is None and refused == "bucket":
            return Misconfigured(
                f"There is no bucket for the photo store {where}.",
                action="Make it, or correct PHOTOS_URL (and PHOTOS_S3_ENDPOINT, PHOTOS_S3_REGION).",
            )
        if self._folder is None and refused == "keys":
            return Misconfigured(
                f"The photo store {where} does not accept our keys.",
                action="Check PHOTOS_S3_KEY_ID and PHOTOS_S3_KEY_SECRET, and that they may list, read, write "
                "and delete there.",
            )
        log.error("photos.store_failed", error=type(error).__name__, location=where)
        if self._folder is None:
            return StorageAway(f"The photo store {where} does not answer.")
        return Misconfigured(
            f"The photo store {where} cannot be {done}.",
            action="Check PHOTOS_URL and the folder's permissions.",
        )

    # ---- pixels ----

    async def dhash(self, data: bytes) -> str:
        """64 bits of how a photo looks, as 16 hex digits: near for the same photo recompressed or scaled
        (`hamming` ≤ PHOTO_DISTANCE), far for another. PhotoRefused if it is none."""
        return str(await self._look("dhash", data))

    async def fingerprint(self, data: bytes, turn: int = 0) -> Fingerprint:
        """What a photo is known by after a marketplace cut, framed, shrank or recompressed it. PhotoRefused
        if it is none."""
        found = await self._look("fingerprint", data, turn=turn)
        return Fingerprint.of(found)

    async def _look(self, what: str, data: bytes, **how: Any) -> Any:
        if len(data) > MAX_BYTES:
            raise PhotoRefused(f"The photo has more than {MAX_BYTES // 1_000_000} MB.", action=_TAKES)
        found, _ = await self._ask({"do": what, **how}, data)
        return found

    async def _ask(self, request: dict[str, Any], data: bytes) -> tuple[Any, bytes]:
        answer, made = await self._in_thread(partial(self._ask_child, request, data))
        if "refused" in answer:
            log.info("photos.refused", request=request["do"], because=answer.get("because"))
            raise PhotoRefused(answer["refused"], action=_TAKES)
        return answer["ok"], made

    async def _in_thread(self, work: Any) -> Any:
        # with what the line of the log is to say, as asyncio.to_thread would
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, work)

    def _ask_child(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        child = self._take()
        try:
            answer, made = child.ask(request, data)
        except _ChildEnded:
            child.end()
            log.warning("photos.child_ended", request=request["do"], size=len(data))
            return {"refused": "The photo takes too long or too much memory to read."}, b""
        except BaseException:
            child.end()
            raise
        if answer.get("last"):
            child.end()
        else:
            self._give_back(child)
        return answer, made

    def _take(self) -> _Child:
        with self._lock:
            while self._children:
                child = self._children.pop()
                if child.alive:
                    return child
                child.end()
        return _Child()

    def _give_back(self, child: _Child) -> None:
        with self._lock:
            self._children.append(child)


def _gone() -> StorageAway:
    return StorageAway(
        "The same photo was there before, and is being deleted, or was while it came in.",
        action="A worker tries it again by itself. If you sent it, send it again in five minutes.",
    )


def hamming(a: str, b: str) -> int:
    """How many of the 64 bits of two dhashes differ."""
    return (int(a, 16) ^ int(b, 16)).bit_count()


class _ChildEnded(Exception):
    """Killed by a limit or the timeout."""


class _Child:
    """One process of imaging.py. It has no environment (so no key of ours), and no file of ours open."""

    def __init__(self) -> None:
        keep = {k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT")}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-X", "faulthandler=0", str(_CHILD)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=keep,
            cwd="/", start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout
        try:
            self._within(TIMEOUT, self._line)
        except _ChildEnded:
            self.end()
            raise Misconfigured("The process that reads photos does not start.") from None

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """Its answer. _ChildEnded if it died or took too long; then it is of no more use."""
        answer: tuple[dict[str, Any], bytes] = self._within(TIMEOUT, lambda: self._exchange(request, data))
        return answer

    def _exchange(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        self._stdin.write(json.dumps({**request, "size": len(data)}).encode() + b"\n" + data)
        self._stdin.flush()
        answer = self._line()
        size = answer["size"]
        made = self._stdout.read(size)
        if len(made) != size:
            raise _ChildEnded
        return answer, made

    def _line(self) -> dict[str, Any]:
        line = self._stdout.readline(10_000)
        if not line.endswith(b"\n"):
            raise _ChildEnded
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _within(self, seconds: float, work: Any) -> Any:
        timer = threading.Timer(seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            return work()
        except (OSError, ValueError, KeyError):  # a pipe that broke, or an answer that is none
            raise _ChildEnded from None
        finally:
            timer.cancel()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._stdout.close()
        with suppress(OSError):  # what was not sent yet went with it
            self._stdin.close()


def _open_store(location: str, settings: Settings) -> tuple[ObjectStore, Path | None]:
    """The store, and its folder if it is one (made with mode 0700)."""
    parts = urlsplit(location)
    if parts.scheme not in ("", "file"):
        try:
            return open_remote(location, settings), None
        except (BaseError, ValueError, OSError) as e:
            if why_refused(e) == "keys":
                raise Misconfigured(
                    f"The keys of the photo store {bare(location)} are not complete.",
                    action="Set PHOTOS_S3_KEY_ID and PHOTOS_S3_KEY_SECRET, both.",
                ) from None
            raise Misconfigured(
                f"PHOTOS_URL {bare(location)} is not an object store that we know.",
                action="Use a folder, or a URL as file:///path, s3://bucket/path, gs://bucket or az://container.",
            ) from None
    folder = Path(unquote(parts.path) if parts.scheme else location).expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        return LocalStore(folder, mkdir=True), folder
    except (BaseError, OSError) as e:
        raise Misconfigured(
            f"The photo folder {folder} cannot be used: {getattr(e, 'strerror', None) or type(e).__name__}.",
            action=f"Make {folder} writable for the user that runs Everystall, or set PHOTOS_URL.",
        ) from None


def open_remote(location: str, settings: Settings) -> ObjectStore:
    """An object store by its URL, s3:// with what PHOTOS_S3_… say. Raises BaseError, ValueError, OSError."""
    scheme = urlsplit(location).scheme
    if scheme == "memory":
        return from_url(location)
    if scheme not in ("s3", "s3a"):
        return from_url(location, client_options=_NETWORK, retry_config=_RETRIES)
    config: Any = {"virtual_hosted_style_request": not settings.photos_s3_path_style}
    given = {
        "endpoint": settings.photos_s3_endpoint,
        "region": settings.photos_s3_region,
        "access_key_id": settings.photos_s3_key_id,
        "secret_access_key": (secret := settings.photos_s3_key_secret) and secret.get_secret_value(),
    }
    config |= {name: value for name, value in given.items() if value}
    plain = (settings.photos_s3_endpoint or "").startswith("http://")
    options: Any = {**_NETWORK, "allow_http": plain}
    return S3Store.from_url(location, config=config, client_options=options, retry_config=_RETRIES)


def why_refused(error: Exception) -> Literal["bucket", "keys"] | None:
    """What a store over the network misses, where it says so: its bucket, or keys that it knows."""
    said = str(error)
    if _NO_BUCKET.search(said):
        return "bucket"
    denied = isinstance(error, PermissionDeniedError | UnauthenticatedError)
    return "keys" if denied or _KEYS.search(said) else None


def _set_by(settings: Settings) -> str:
    """Which settings say where the store is."""
    if urlsplit(settings.photos_location).scheme not in ("s3", "s3a"):
        return "PHOTOS_URL"
    if not settings.photos_s3_endpoint:
        return "PHOTOS_URL and PHOTOS_S3_REGION (PHOTOS_S3_ENDPOINT is not set: it is sought at Amazon's)"
    return f"PHOTOS_S3_ENDPOINT ({settings.photos_s3_endpoint}) and PHOTOS_URL"


def _settle(path: Path) -> None:
    """On the disk, not only in its cache, before we say that it is stored."""
    for each in (path, path.parent):
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def bare(location: str) -> str:
    """The location without what may be secret in a URL."""
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if parts.scheme else location


def _shut_off(folder: Path) -> None:
    """For us alone, also where it was made otherwise."""
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)


def _evidence(user_id: UUID, name: str) -> str:
    if not _PICTURE.fullmatch(name):
        raise NotFound("There is no such picture.")
    day, _, file = name.partition("/")
    return f"evidence/{day}/{user_id}/{file}"


def _hash(sha256: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise NotFound("There is no such photo.")
    return sha256
