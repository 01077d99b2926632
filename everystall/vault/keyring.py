"""The ring of root keys, outside the database: a file of mode 0600, a file wrapped by a passphrase, or
SESSION_ENCRYPTION_KEY. A database dump or backup alone is worth nothing without it.

A ring is `{"format", "current", "keys": {kid: {"key": base64, "created": iso}}}`; the current key wraps
new data keys, the others only unwrap. It is never made anew where one exists, never tried key by key.
A passphrase goes through PBKDF2-HMAC-SHA256 once, at start; random keys do not need it (RFC 5869 §4).
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from everystall.errors import Misconfigured, SealBroken
from everystall.settings import Settings
from everystall.vault import envelope
from everystall.vault.envelope import KEY_BYTES, SecretBytes

log = structlog.get_logger()

FORMAT = "everystall-keyring-1"
#: Rounds below this are refused wherever they come from; the document's own figure.
ITERATIONS_FLOOR = 100_000
#: OWASP's figure for PBKDF2-HMAC-SHA256 (2026-08); fewer work, with a warning.
ITERATIONS_ADVISED = 600_000
#: More than this is a damaged or hostile file: a minute of CPU and more.
ITERATIONS_CEILING = 100_000_000
SALT_BYTES = 32


@dataclass(frozen=True)
class Lock:
    """What a passphrase makes: the key that wraps the ring, and the header that says how."""

    key: bytes
    salt: bytes
    iterations: int

    @classmethod
    def make(cls, passphrase: str, iterations: int, salt: bytes | None = None) -> Lock:
        if not ITERATIONS_FLOOR <= iterations <= ITERATIONS_CEILING:
            raise Misconfigured(
                f"A key ring with {iterations:,} PBKDF2 rounds is not accepted.",
                action=f"Use PBKDF2_ITERATIONS of {ITERATIONS_FLOOR:,} at least; "
                f"{ITERATIONS_ADVISED:,} is the default.",
            )
        if iterations < ITERATIONS_ADVISED:
            log.warning("keyring.few_iterations", iterations=iterations, advised=ITERATIONS_ADVISED)
        salt = salt or os.urandom(SALT_BYTES)
        derived = PBKDF2HMAC(SHA256(), KEY_BYTES, salt, iterations).derive(passphrase.encode())
        return cls(derived, salt, iterations)

    def __repr__(self) -> str:
        return "Lock(***)"

    @property
    def header(self) -> dict[str, Any]:
        return {"name": "PBKDF2-HMAC-SHA256", "salt": _b64(self.salt), "iterations": self.iterations}

    @property
    def aad(self) -> bytes:
        return envelope.lp("es1/ring", FORMAT, self.salt, self.iterations)


class Keyring:
    """The loaded ring. Shows no key in its repr. `path` is None where the environment holds the keys."""

    def __init__(
        self, current: str, keys: Mapping[str, Mapping[str, str]], path: Path | None, lock: Lock | None
    ) -> None:
        self.current = current
        self._keys = dict(keys)
        self.path = path
        self._lock = lock
        self._stamp = _stamp(path)

    def __repr__(self) -> str:
        return f"Keyring(current={self.current!r}, kids={self.kids!r})"

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("a key ring is neither pickled nor copied")

    # ---- loading ----

    @classmethod
    def load(cls, settings: Settings) -> Keyring:
        """The ring that the settings name; on first use a new file. Misconfigured says what to do."""
        if settings.session_encryption_key is not None:
            return cls._of_environment(settings.session_encryption_key.get_secret_value())
        path = settings.everystall_home / "keys" / "ring.json"
        passphrase = (
            settings.session_encryption_passphrase.get_secret_value()
            if settings.session_encryption_passphrase is not None
            else None
        )
        if passphrase == "":
            raise Misconfigured(
                "SESSION_ENCRYPTION_PASSPHRASE is empty.", action="Set a passphrase, or unset the variable."
            )
        with _alone(path):
            if not path.exists():
                lock = Lock.make(passphrase, settings.pbkdf2_iterations) if passphrase else None
                ring = cls("k1", {"k1": _new_key()}, path, lock)
                ring._write()
                log.info("keyring.made", path=str(path), passphrase=passphrase is not None)
                return ring
            ring = cls._of_file(path, passphrase=passphrase)
            if passphrase and ring._lock is None:
                ring._lock = Lock.make(passphrase, settings.pbkdf2_iterations)
                ring._write()
                log.info("keyring.wrapped", path=str(path))
            return ring

    @classmethod
    def _of_environment(cls, value: str) -> Keyring:
        """One key, or several with commas between: the first is current, the others only unwrap."""
        keys = {}
        for word in filter(None, re.split(r"[,\s]+", value.strip())):
            key = _thirty_two_bytes(word)
            keys["e" + envelope.subkey(key, "kid").hex()[:12]] = {"key": _b64(key), "created": ""}
        if not keys:
            raise _bad_key()
        return cls(next(iter(keys)), keys, None, None)

    @classmethod
    def _of_file(cls, path: Path, *, passphrase: str | None = None, lock: Lock | None = None) -> Keyring:
        """Reads the file, with the passphrase or with what was derived from it at start."""
        try:
            stored = json.loads(path.read_text())
        except OSError as e:
            raise Misconfigured(
                f"The key ring {path} cannot be read: {e.strerror}.",
                action=f"Make {path} readable for the user that runs Everystall.",
            ) from None
        except ValueError:
            raise _damaged(path) from None
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            log.warning("keyring.open_to_others", path=str(path), mode=oct(mode))
        try:
            if stored["format"] != FORMAT:
                raise _damaged(path)
            if "kdf" in stored:
                salt, iterations = _unb64(stored["kdf"]["salt"]), int(stored["kdf"]["iterations"])
                sealed = _unb64(stored["sealed"])
                if lock is None or lock.salt != salt or lock.iterations != iterations:
                    if passphrase is None:
                        raise Misconfigured(
                            f"The key ring {path} is wrapped by a passphrase, which this process lacks.",
                            action="Set SESSION_ENCRYPTION_PASSPHRASE (or its _FILE) and start again.",
                        )
                    lock = Lock.make(passphrase, iterations, salt)
                try:
                    with envelope.decrypt(lock.key, sealed, lock.aad) as plain:
                        stored = json.loads(bytes(plain))
                except SealBroken:
                    raise Misconfigured(
                        f"SESSION_ENCRYPTION_PASSPHRASE does not open the key ring {path}.",
                        action="Set the passphrase that it was wrapped with. Do not delete the file: "
                        "without it every stored session is lost.",
                    ) from None
            else:
                lock = None
            keys, current = stored["keys"], stored["current"]
            if current not in keys or any(len(_unb64(k["key"])) != KEY_BYTES for k in keys.values()):
                raise _damaged(path)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise _damaged(path) from None
        return cls(current, keys, path, lock)

    # ---- using ----

    @property
    def kids(self) -> tuple[str, ...]:
        """Names of the keys held, oldest first."""
        return tuple(self._keys)

    def _key(self, kid: str) -> bytes:
        """The ring key of exactly that name; the file is read again if somebody rotated meanwhile."""
        if kid not in self._keys:
            self.refresh()
        if kid not in self._keys:
            raise Misconfigured(
                f"The vault holds data keys of ring key {kid!r}, and this key ring has only "
                f"{', '.join(map(repr, self._keys))}: it is the wrong one for this database.",
                action="Put the right SESSION_ENCRYPTION_KEY, or this installation's own keys/ring.json "
                "(from its backup), in place and start again. Nothing stored was changed.",
            )
        return _unb64(self._keys[kid]["key"])

    def refresh(self) -> None:
        """Reads the file again if it changed since; cheap (one stat) if it did not."""
        if self.path is None or _stamp(self.path) == self._stamp:
            return
        newer = self._of_file(self.path, lock=self._lock)
        self.current, self._keys, self._stamp = newer.current, newer._keys, newer._stamp

    def wrap(self, data_key: envelope.Readable, user_id: UUID, version: int) -> tuple[str, bytes]:
        """(kid, wrapped) of a data key, under the current key of the file as it is now."""
        self.refresh()
        kid = self.current
        return kid, envelope.wrap(self._key(kid), data_key, kid, user_id, version)

    def unwrap(self, wrapped: bytes, kid: str, user_id: UUID, version: int) -> SecretBytes:
        """The data key. Misconfigured: no such ring key; SealBroken: it does not open with it."""
        return envelope.unwrap(self._key(kid), wrapped, kid, user_id, version)

    def seal_setting(self, name: str, value: envelope.Readable) -> dict[str, str]:
        """A secret setting under the current key, as JSON has it."""
        self.refresh()
        kid = self.current
        sealed = envelope.encrypt(
            envelope.subkey(self._key(kid), "setting"), value, envelope.lp("es1/setting", kid, name)
        )
        return {"kid": kid, "sealed": base64.b64encode(sealed).decode()}

    def open_setting(self, name: str, stored: Mapping[str, Any]) -> SecretBytes:
        """The other way. Misconfigured: no such ring key; SealBroken: it does not open with it."""
        kid = str(stored.get("kid"))
        try:
            sealed = base64.b64decode(str(stored.get("sealed")), validate=True)
        except ValueError:
            raise SealBroken from None
        return envelope.decrypt(
            envelope.subkey(self._key(kid), "setting"), sealed, envelope.lp("es1/setting", kid, name)
        )

    def subkey(self, purpose: str) -> bytes:
        """A key for something else than sessions (webhook, csrf …), of the current ring key."""
        return envelope.subkey(self._key(self.current), purpose)

    def check_values(self) -> dict[str, bytes]:
        """kid → 32 bytes that tell two keys apart and nothing of either."""
        return {kid: envelope.subkey(self._key(kid), "check") for kid in self.kids}

    def subkeys(self, purpose: str) -> list[bytes]:
        """The same of every ring key held, the current one first: what was made with an older one, or by
        a process that has not met the newest yet, is still known."""
        self.refresh()
        older = [kid for kid in self.kids if kid != self.current]
        return [envelope.subkey(self._key(kid), purpose) for kid in (self.current, *older)]

    def key_bytes(self) -> list[bytes]:
        """The keys themselves, the current one first: for backups, which nothing else opens."""
        self.refresh()
        older = [kid for kid in self.kids if kid != self.current]
        return [self._key(kid) for kid in (self.current, *older)]

    def for_backup(self) -> dict[str, Any]:
        """All of it, unsealed: it goes into a sealed archive and nowhere else."""
        self.refresh()
        return {"format": FORMAT, "current": self.current, "keys": self._keys}

    @classmethod
    def of_backup(cls, stored: Mapping[str, Any]) -> Keyring:
        """What `for_backup` gave, to unwrap with; of no file."""
        return cls(stored["current"], stored["keys"], None, None)

    # ---- changing ----

    def rotate(self) -> str:
        """Adds a key and makes it the current one; its name. The old ones go on unwrapping."""
        path = self._file()
        with _alone(path):
            self.refresh()
            number = 1 + max((int(k[1:]) for k in self._keys if re.fullmatch(r"k\d+", k)), default=0)
            self._keys[f"k{number}"] = _new_key()
            self.current = f"k{number}"
            self._write()
        log.info("keyring.rotated", kid=self.current)
        return self.current

    def retire(self, kid: str, *, in_use: int) -> None:
        """Destroys a key for good. Refused for the current one, and while `in_use` rows need it.
        Called by rotation.retire only, which counts while nobody can add."""
        path = self._file()
        with _alone(path):
            self.refresh()
            if kid not in self._keys:
                raise Misconfigured(
                    f"There is no ring key {kid!r}.", action=f"There are {', '.join(self.kids)}."
                )
            if kid == self.current:
                raise Misconfigured(
                    f"{kid!r} is the current ring key.", action="Run `everystall keys rotate --rewrap` first."
                )
            if in_use:
                raise Misconfigured(
                    f"{in_use} data keys are still wrapped by ring key {kid!r}; retiring it would lose them.",
                    action="Run `everystall keys rotate --rewrap` first.",
                )
            del self._keys[kid]
            self._write()
        log.info("keyring.retired", kid=kid)

    def change_passphrase(self, new: str | None, iterations: int = ITERATIONS_ADVISED) -> None:
        """Wraps the ring file anew (None = no passphrase). No data key and no session changes. Other
        processes need the new passphrase at their next start."""
        path = self._file()
        with _alone(path):
            self.refresh()
            self._lock = Lock.make(new, iterations) if new else None
            self._write()

    def _file(self) -> Path:
        if self.path is None:
            raise Misconfigured(
                "The key comes from SESSION_ENCRYPTION_KEY, so it is not ours to change.",
                action="Put a new key in front of the old one, with a comma between, restart, run "
                "`everystall keys rotate --rewrap`, then take the old one out.",
            )
        return self.path

    def _write(self) -> None:
        """The whole file or none of it: written beside, synced, renamed over."""
        assert self.path is not None
        ring: dict[str, Any] = {"format": FORMAT, "current": self.current, "keys": self._keys}
        if self._lock is not None:
            sealed = envelope.encrypt(self._lock.key, json.dumps(ring).encode(), self._lock.aad)
            ring = {"format": FORMAT, "kdf": self._lock.header, "sealed": _b64(sealed)}
        beside = self.path.with_suffix(".new")
        try:
            beside.unlink(missing_ok=True)
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as f:
                json.dump(ring, f, indent=1)
                f.flush()
                os.fsync(f.fileno())
            beside.replace(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as e:
            raise _no_folder(self.path, e) from None
        self._stamp = _stamp(self.path)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time, so that web and worker starting together make one ring."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path.parent / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as e:
        raise _no_folder(path, e) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _thirty_two_bytes(word: str) -> bytes:
    """A key from 64 hex digits or base64 (either alphabet). Anything else is refused, never stretched."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", word):
        return bytes.fromhex(word)
    try:
        usual = word.replace("-", "+").replace("_", "/")
        key = base64.b64decode(usual + "=" * (-len(word) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _bad_key() from None
    if len(key) != KEY_BYTES:
        raise _bad_key()
    return key


def _bad_key() -> Misconfigured:
    return Misconfigured(
        "SESSION_ENCRYPTION_KEY is not 32 bytes in base64 or hex.",
        action="Make one with `openssl rand -base64 32`. For a passphrase of your own use "
        "SESSION_ENCRYPTION_PASSPHRASE.",
    )


def _damaged(path: Path) -> Misconfigured:
    return Misconfigured(
        f"The key ring {path} is damaged.",
        action="Put it back from your backup. Do not delete it: without it every stored session is lost.",
    )


def _no_folder(path: Path, error: OSError) -> Misconfigured:
    return Misconfigured(
        f"The key ring {path} cannot be written: {error.strerror}.",
        action=f"Make {path.parent} writable for the user that runs Everystall, with room on its disk.",
    )


def _new_key() -> dict[str, str]:
    return {"key": _b64(os.urandom(KEY_BYTES)), "created": datetime.now(UTC).isoformat(timespec="seconds")}


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """Changes whenever the file is replaced."""
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
