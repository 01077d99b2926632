"""Where archives lie: EVERYSTALL_HOME/backups, for us alone. And what the pages and `everystall up` tell each
other there, since the web may neither read all rows nor replace them: what is asked for, and how far it is.

A request holds the key of an archive at most, sealed by a sub-key of the ring; never a passphrase.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from everystall.backup.sealing import Head, read_head, unlock
from everystall.errors import BackupRefused, Conflict, NotFound, SealBroken, StorageFull
from everystall.settings import Settings
from everystall.vault import envelope
from everystall.vault.keyring import Keyring

#: night: by the clock · asked: by the button or the command · before: what was here before a restore ·
#: upgrade: what was here before migrations changed it · sent: somebody's own file, to be restored
KINDS: Final = ("night", "asked", "before", "upgrade", "sent")
_NAME: Final = re.compile(rf"\d{{8}}T\d{{6}}Z-({'|'.join(KINDS)})\.everystall")
#: For that long each is kept that was made at night; of older ones one a week, until BACKUP_DAYS.
EACH_DAYS: Final = 7
#: Of the nights, when: hour of this machine's day.
HOUR: Final = 3
#: Seconds after which who looks after backups is not there any more.
GONE: Final = 30.0
#: Bytes that stay free on the disk.
SPARE: Final = 200_000_000


@dataclass(frozen=True)
class Kept:
    """An archive on the shelf, by what its head tells anybody."""

    name: str
    kind: str
    made: datetime
    version: str
    size: int
    #: A passphrase opens it elsewhere.
    portable: bool


@dataclass(frozen=True)
class State:
    """How far the last thing that was asked for is."""

    #: backup · restore
    what: str
    #: waits · runs · done · failed
    step: str
    done: int = 0
    total: int = 0
    #: What came of it, and what to do about that.
    message: str = ""
    action: str = ""
    at: str = ""

    @property
    def going_on(self) -> bool:
        return self.step in ("waits", "runs")


class Shelf:
    def __init__(self, settings: Settings) -> None:
        self.folder = settings.everystall_home / "backups"
        self._days = settings.backup_days
        self._asked, self._state = self.folder / "asked.json", self.folder / "state.json"
        self._alive = self.folder / "looked-after"

    def make(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)

    # ---- archives ----

    def new(self, kind: str) -> Path:
        """A path for one that begins now."""
        self.make()
        return self.folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{kind}.everystall"

    def find(self) -> list[Kept]:
        """Those that are whole as far as their head tells, the newest first."""
        kept = [self._look(path) for path in self.folder.glob("*.everystall") if _NAME.fullmatch(path.name)]
        return sorted(filter(None, kept), key=lambda one: one.name, reverse=True)

    def path(self, name: str) -> Path:
        """Raises NotFound; a name is never a way to another folder."""
        path = self.folder / name
        if not _NAME.fullmatch(name) or not path.is_file():
            raise NotFound
        return path

    def _look(self, path: Path) -> Kept | None:
        try:
            with path.open("rb") as file:
                head = read_head(file)
            portable = any(lock["by"] == "passphrase" for lock in head["locks"])
            kind, made = path.stem.partition("-")[2], datetime.fromisoformat(head["made"])
            return Kept(path.name, kind, made, str(head["version"]), path.stat().st_size, portable)
        except (OSError, BackupRefused, LookupError, TypeError, ValueError):
            return None

    def check_room(self, size: int | None = None) -> None:
        """For `size` bytes, or for one as large as the last. Raises StorageFull."""
        wanted = (
            size if size is not None else max((one.size for one in self.find()[:1]), default=0) * 11 // 10
        )
        if shutil.disk_usage(self.folder).free < wanted + SPARE:
            raise StorageFull(
                "There is not enough room on the disk for a backup, so none was made.",
                action=f"Make room where {self.folder} is, or set BACKUP_DAYS lower.",
            )

    def check_room_to_take(self, size: int) -> None:
        """For a file of `size` bytes that somebody sends: it lies among the temporary files while it comes,
        and then here as well. Raises StorageFull."""
        coming = Path(tempfile.gettempdir())
        same = coming.stat().st_dev == self.folder.stat().st_dev
        for folder, wanted in ((coming, size), (self.folder, size * 2 if same else size)):
            if shutil.disk_usage(folder).free < wanted + SPARE:
                raise StorageFull(
                    "There is not enough room on the disk for that file, so it was not taken.",
                    action=f"Make room where {folder} is, or put the file on the machine and use "
                    "`everystall restore`.",
                )

    def thin(self, keep: Path | None = None) -> int:
        """Deletes what is too old, and of what was made at night what is more than is kept; how many. The
        newest stays in any case, and `keep`."""
        now, weeks, gone = datetime.now(UTC), set(), 0
        for one in self.find()[1:]:
            age = now - one.made
            week = one.made.isocalendar()[:2]
            if one.kind == "sent":
                stays = age < timedelta(days=1)
            else:
                stays = age < timedelta(days=max(self._days, 1))
                if one.kind == "night" and age >= timedelta(days=EACH_DAYS):
                    stays = stays and week not in weeks
                    weeks.add(week)
            if not stays and (keep is None or one.name != keep.name):
                (self.folder / one.name).unlink(missing_ok=True)
                gone += 1
        for half in self.folder.glob("*.part"):
            if time.time() - half.stat().st_mtime > 86_400:
                half.unlink(missing_ok=True)
        return gone

    def is_night_due(self, now: datetime) -> bool:
        """`now` in this machine's time. True once a day, from HOUR on, until one was made."""
        if self._days == 0:
            return False
        since = now.replace(hour=HOUR, minute=0, second=0, microsecond=0)
        if now < since:
            since -= timedelta(days=1)
        return not any(one.kind == "night" and one.made >= since for one in self.find())

    # ---- asking and telling ----

    def ask(self, what: str, *, name: str = "", key: bytes = b"", keyring: Keyring | None = None) -> None:
        """For who looks after backups. Raises Conflict as `check_free`."""
        self.check_free()
        sealed = ""
        if keyring is not None:
            about = envelope.lp("es1/backup-asked", name)
            sealed = base64.b64encode(envelope.encrypt(keyring.subkey("backup-asked"), key, about)).decode()
        self.tell(State(what, "waits"))
        _write(self._asked, {"what": what, "name": name, "key": sealed})

    def check_free(self) -> None:
        """Raises Conflict while something goes on, or if nobody looks after backups."""
        if not self.is_looked_after():
            raise Conflict(
                "Nothing here makes or restores backups by itself: `everystall up` does.",
                action="Use `everystall backup` and `everystall restore` at the command line.",
            )
        if (state := self.state()) is not None and state.going_on:
            raise Conflict("A backup or a restore goes on just now.", action="Wait until it is done.")

    def asked(self) -> str | None:
        """What is asked for."""
        try:
            return str(json.loads(self._asked.read_text())["what"])
        except (OSError, ValueError, LookupError):
            return None

    def take(self, keyring: Keyring) -> tuple[str, bytes]:
        """Name and key of the archive that shall be restored; the request is gone then. Raises NotFound."""
        try:
            asked = json.loads(self._asked.read_text())
            self._asked.unlink()
            about = envelope.lp("es1/backup-asked", asked["name"])
            sealed = base64.b64decode(asked["key"])
        except (OSError, ValueError, LookupError):
            raise NotFound("Nothing is asked for.") from None
        for subkey in keyring.subkeys("backup-asked"):
            try:
                with envelope.decrypt(subkey, sealed, about) as key:
                    return str(asked["name"]), bytes(key)
            except SealBroken:
                continue
        raise NotFound("What was asked for is of another key ring.")

    def drop(self) -> None:
        self._asked.unlink(missing_ok=True)

    def state(self) -> State | None:
        try:
            return State(**json.loads(self._state.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def tell(self, state: State) -> None:
        self.make()
        _write(self._state, asdict(replace(state, at=datetime.now(UTC).isoformat())))

    def look_after(self) -> None:
        """A sign of life of who does what is asked for."""
        self.make()
        self._alive.touch(mode=0o600)

    def is_looked_after(self) -> bool:
        try:
            return time.time() - self._alive.stat().st_mtime < GONE
        except OSError:
            return False


def find_key(file: Path, keyring: Keyring, passphrase: str | None) -> tuple[Head, bytes]:
    """Head and key of an archive: by this ring, else by the passphrase. Takes a third of a second for the
    latter. Raises BackupRefused."""
    try:
        with file.open("rb") as opened:
            head = read_head(opened)
    except OSError as e:
        raise BackupRefused(
            f"{file} cannot be read: {e.strerror}.",
            action="Make it readable for the user that Everystall runs as (chmod, chown), and its folder.",
        ) from None
    return head, unlock(head, keyring.key_bytes(), passphrase)


def _write(path: Path, content: dict[str, Any]) -> None:
    """All of it or nothing."""
    beside = path.with_suffix(f".{os.getpid()}")
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file)
    beside.replace(path)
