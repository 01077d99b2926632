"""The envelope of an archive: a stream that can be written to a pipe and read from one.

    "EVERYSTALL-BACKUP-1\\n" || length of the head, 4 bytes || head, JSON || chunks
    chunk = AES-256-GCM(file key, 256 KiB, nonce = number of the chunk, 11 bytes || 1 in the last, else 0,
                        AAD = SHA-256 of all before the chunks)

The file key is 32 random bytes of this file alone, so numbers are good nonces. The head is readable by
anybody and holds that key once per lock: wrapped by a passphrase (PBKDF2, as the key ring's) or by a sub-key
of a ring key. A chunk that is missing, moved, bent or cut off, or a changed head, does not open.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from everystall.errors import BackupRefused, Misconfigured, SealBroken
from everystall.vault import envelope
from everystall.vault.keyring import Keyring, Lock

MAGIC: Final = b"EVERYSTALL-BACKUP-1\n"
CHUNK: Final = 256 * 1024
#: More is no head of ours.
HEAD_BYTES: Final = 64 * 1024
#: What a stranger's head may ask of our processor: a few seconds.
MOST_ITERATIONS: Final = 10_000_000

Head = Mapping[str, Any]


class Sealing:
    """Takes bytes and writes them sealed. Without `close` the file is one that was cut off."""

    def __init__(
        self, out: IO[bytes], told: Head, keyring: Keyring, passphrase: str | None, iterations: int
    ) -> None:
        """`told`: what the head tells anybody."""
        key = os.urandom(envelope.KEY_BYTES)
        locks = [_ring_lock(keyring, key)]
        if passphrase:
            locks.append(_passphrase_lock(passphrase, iterations, key))
        head = json.dumps({**told, "locks": locks}).encode()
        before = MAGIC + len(head).to_bytes(4, "big") + head
        self._aes, self._aad = AESGCM(key), hashlib.sha256(before).digest()
        self._out, self._waiting, self._number = out, bytearray(), 0
        out.write(before)

    def write(self, data: bytes) -> int:
        self._waiting += data
        while len(self._waiting) > CHUNK:  # one is kept back: it may be the last
            self._seal(bytes(self._waiting[:CHUNK]), last=False)
            del self._waiting[:CHUNK]
        return len(data)

    def close(self) -> None:
        self._seal(bytes(self._waiting), last=True)
        self._waiting.clear()

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        self._out.write(self._aes.encrypt(_nonce(self._number, last), chunk, self._aad))
        self._number += 1


class Opening:
    """The other way: reads what was sealed. Raises BackupRefused for whatever is not as it was written; bytes
    are handed out before the end was seen, so read all of it once before acting on any."""

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        _, before = _read_head(file)
        self._aes, self._aad = AESGCM(key), hashlib.sha256(before).digest()
        self._file, self._number, self._over = file, 0, False
        self._open, self._next = b"", file.read(CHUNK + envelope.TAG_BYTES)

    def read(self, size: int) -> bytes:
        while len(self._open) < size and not self._over:
            chunk, self._next = self._next, self._file.read(CHUNK + envelope.TAG_BYTES)
            self._over = not self._next
            try:
                self._open += self._aes.decrypt(_nonce(self._number, self._over), chunk, self._aad)
            except (InvalidTag, ValueError):
                raise damaged() from None
            self._number += 1
        taken, self._open = self._open[:size], self._open[size:]
        return taken

    def finish(self) -> None:
        """To the end of the file: only then nothing is missing."""
        while self.read(CHUNK):
            pass


def read_head(file: IO[bytes]) -> Head:
    """What an archive tells anybody; the file is at the first chunk then. Nothing of it is proven."""
    return _read_head(file)[0]


def _read_head(file: IO[bytes]) -> tuple[Head, bytes]:
    if file.read(len(MAGIC)) != MAGIC:
        raise BackupRefused("That file is no backup of Everystall.")
    size = file.read(4)
    length = int.from_bytes(size, "big")
    head = file.read(length) if 0 < length <= HEAD_BYTES else b""
    try:
        told = json.loads(head)
        if not isinstance(told["locks"], list) or not isinstance(told["made"], str):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise damaged() from None
    return told, MAGIC + size + head


def unlock(head: Head, rings: Sequence[bytes], passphrase: str | None) -> bytes:
    """The file key, by a ring key of this machine or by the passphrase. Raises BackupRefused."""
    locks: list[Any] = head["locks"]
    try:
        for lock in locks:
            for ring in rings if lock["by"] == "ring" else ():
                if lock["check"] == _check(ring):
                    return _unwrap(envelope.subkey(ring, "backup"), lock)
        by_passphrase = [lock for lock in locks if lock["by"] == "passphrase"]
        if not by_passphrase:
            raise BackupRefused(
                "That backup opens only where the key ring is that it was made with.",
                action="Put that machine's keys/ring.json in place, or use a backup that was made with "
                "BACKUP_PASSPHRASE.",
            )
        for lock in by_passphrase if passphrase else ():
            kdf = lock["kdf"]
            if int(kdf["iterations"]) > MOST_ITERATIONS:
                raise damaged()
            made = Lock.make(passphrase or "", int(kdf["iterations"]), base64.b64decode(kdf["salt"]))
            return _unwrap(made.key, lock)
    except SealBroken:
        raise BackupRefused(
            "That passphrase does not open the backup.",
            action="Give the one that it was made with.",
            passphrase="wrong",
        ) from None
    except (KeyError, TypeError, ValueError, Misconfigured):
        raise damaged() from None
    raise BackupRefused(
        "That backup was made elsewhere and is closed by a passphrase.",
        action="Give the passphrase that it was made with.",
        passphrase="missing",
    )


def damaged() -> BackupRefused:
    return BackupRefused("That backup is damaged or was cut off, so nothing was done with it.")


def _ring_lock(keyring: Keyring, key: bytes) -> dict[str, Any]:
    ring = keyring.key_bytes()[0]
    return {"by": "ring", "check": _check(ring)} | _wrap(envelope.subkey(ring, "backup"), "ring", key)


def _passphrase_lock(passphrase: str, iterations: int, key: bytes) -> dict[str, Any]:
    lock = Lock.make(passphrase, iterations)
    return {"by": "passphrase", "kdf": lock.header} | _wrap(lock.key, "passphrase", key)


def _wrap(by: bytes, name: str, key: bytes) -> dict[str, str]:
    return {"wrapped": base64.b64encode(envelope.encrypt(by, key, _about(name))).decode()}


def _unwrap(by: bytes, lock: Mapping[str, str]) -> bytes:
    with envelope.decrypt(by, base64.b64decode(lock["wrapped"]), _about(lock["by"])) as key:
        return bytes(key)


def _about(name: str) -> bytes:
    return envelope.lp("es1/backup", name)


def _check(ring: bytes) -> str:
    return envelope.subkey(ring, "check").hex()


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
