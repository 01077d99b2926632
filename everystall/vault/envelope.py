"""The scheme ES1: how a data key is wrapped and a session sealed. Pure functions, no database, no files.

    wrapped = nonce12 || AES-256-GCM(wrap key, data key, AAD = LP("es1/dek", kid, user, version))
    sealed  = "ES1\\x01" || nonce12 || AES-256-GCM(data key, payload,
              AAD = LP("es1/session", user, marketplace, row id, seq, expires_at in microseconds))

LP prefixes each field with its length, so no two rows share an AAD. Nothing is ever tried with a second
key, nothing secret is ever in a repr, a log line or an exception. Python cannot promise that memory is
wiped; `decrypt_into` a buffer that is zeroed leaves no copy of ours (`bytes` would).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import NoReturn
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from everystall.errors import SealBroken

MAGIC = b"ES1\x01"
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Readable = bytes | bytearray | memoryview


class SecretBytes:
    """Bytes that never show themselves: `with secret as plain:` lends a bytearray and zeroes it after.

    Shows as `***`, compares by identity only, cannot be pickled or copied, opens once.
    """

    __slots__ = ("_buffer", "_wiped")

    def __init__(self, buffer: bytearray) -> None:
        self._buffer = buffer
        self._wiped = False

    def __enter__(self) -> bytearray:
        if self._wiped:
            raise ValueError("this secret was wiped already")
        return self._buffer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def wipe(self) -> None:
        """Overwrites it with zeros; any number of times."""
        self._buffer[:] = bytes(len(self._buffer))
        self._wiped = True

    def __del__(self) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is neither pickled nor copied")


@dataclass(frozen=True)
class Binding:
    """What a sealed session is bound to; any other value of any field and it does not open."""

    user_id: UUID
    marketplace: str
    row_id: UUID
    seq: int
    expires_at: datetime

    def aad(self) -> bytes:
        return lp("es1/session", self.user_id, self.marketplace, self.row_id, self.seq,
                  microseconds(self.expires_at))  # fmt: skip


def lp(*fields: str | int | UUID | bytes) -> bytes:
    """Each field as UTF-8, behind its length as 4 bytes: ("a", "bc") and ("ab", "c") differ."""
    encoded = [field if isinstance(field, bytes) else str(field).encode() for field in fields]
    return b"".join(len(field).to_bytes(4, "big") + field for field in encoded)


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970, PostgreSQL's own precision. A moment without a zone is refused."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def subkey(secret: Readable, purpose: str) -> bytes:
    """HKDF-SHA256 of a ring key (32 random bytes) for one purpose: wrap, webhook, csrf, kid …"""
    info = b"everystall/v1/" + purpose.encode()
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(bytes(secret))


def encrypt(key: Readable, payload: Readable, aad: bytes) -> bytes:
    """nonce || ciphertext || tag, with a fresh random nonce."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, payload, aad)


def decrypt(key: Readable, data: bytes, aad: bytes) -> SecretBytes:
    """The other way. SealBroken for any change of any bit."""
    size = len(data) - NONCE_BYTES - TAG_BYTES
    if size < 0:
        raise SealBroken
    plain = bytearray(size)
    try:
        AESGCM(key).decrypt_into(data[:NONCE_BYTES], data[NONCE_BYTES:], aad, plain)
    except InvalidTag:
        plain[:] = bytes(size)
        raise SealBroken from None
    return SecretBytes(plain)


def wrap(ring_key: Readable, data_key: Readable, kid: str, user_id: UUID, version: int) -> bytes:
    """A user's data key under a ring key."""
    return encrypt(subkey(ring_key, "wrap"), data_key, lp("es1/dek", kid, user_id, version))


def unwrap(ring_key: Readable, wrapped: bytes, kid: str, user_id: UUID, version: int) -> SecretBytes:
    """The data key. SealBroken: the ring key is another under the same name, or the row was changed."""
    return decrypt(subkey(ring_key, "wrap"), wrapped, lp("es1/dek", kid, user_id, version))


def seal_webhook(data_key: Readable, secret: Readable, user_id: UUID, endpoint_id: UUID) -> bytes:
    """A webhook's secret, bound to its endpoint."""
    return encrypt(data_key, secret, lp("es1/webhook", user_id, endpoint_id))


def unseal_webhook(data_key: Readable, sealed: bytes, user_id: UUID, endpoint_id: UUID) -> SecretBytes:
    """The secret. SealBroken for another endpoint or user."""
    return decrypt(data_key, sealed, lp("es1/webhook", user_id, endpoint_id))


def seal_mailbox(data_key: Readable, secret: Readable, user_id: UUID) -> bytes:
    """The password of the seller's mailbox, bound to the seller."""
    return encrypt(data_key, secret, lp("es1/mailbox", user_id))


def unseal_mailbox(data_key: Readable, sealed: bytes, user_id: UUID) -> SecretBytes:
    """The password. SealBroken for another seller."""
    return decrypt(data_key, sealed, lp("es1/mailbox", user_id))


def seal_channel(data_key: Readable, secret: Readable, user_id: UUID, channel_id: UUID) -> bytes:
    """Where a seller's channel leads, bound to it."""
    return encrypt(data_key, secret, lp("es1/channel", user_id, channel_id))


def unseal_channel(data_key: Readable, sealed: bytes, user_id: UUID, channel_id: UUID) -> SecretBytes:
    """Where it leads. SealBroken for another channel or seller."""
    return decrypt(data_key, sealed, lp("es1/channel", user_id, channel_id))


def seal_totp(data_key: Readable, secret: Readable, user_id: UUID) -> bytes:
    """What the seller's one-time codes are made of, bound to the seller."""
    return encrypt(data_key, secret, lp("es1/totp", user_id))


def unseal_totp(data_key: Readable, sealed: bytes, user_id: UUID) -> SecretBytes:
    """The same. SealBroken for another seller."""
    return decrypt(data_key, sealed, lp("es1/totp", user_id))


def seal(data_key: Readable, payload: Readable, binding: Binding) -> bytes:
    """The payload, bound to its row."""
    return MAGIC + encrypt(data_key, payload, binding.aad())


def unseal(data_key: Readable, sealed: bytes, binding: Binding) -> SecretBytes:
    """The payload of a sealed row. SealBroken for another row, user, marketplace, seq or expiry."""
    if sealed[: len(MAGIC)] != MAGIC:
        raise SealBroken
    return decrypt(data_key, sealed[len(MAGIC) :], binding.aad())
