"""What an identity provider tells over HTTP: what it says of itself, and the public halves of the keys that
it signs by, asked for again when a signature names another."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import httpx
import structlog

from everystall.errors import ProviderAway

log = structlog.get_logger()

#: Seconds: an answer, keys are believed, and are not asked for again.
WAIT, KEPT, _REST = 10.0, 3600.0, 30.0
_LARGEST: Final = 1_000_000


class SigningKeys:
    """The keys at one address, as this process knows them."""

    def __init__(self) -> None:
        self._keys: Any = None
        self._at = self._asked_at = 0.0
        self._turn = asyncio.Lock()

    async def get(self, address: str, *, again: bool) -> Any:
        """A joserfc KeySet. `again`: a signature is by none of those we know. Raises ProviderAway where
        there are none yet, or no newer ones."""
        async with self._turn:
            now = time.monotonic()
            due = again or now - self._at > KEPT
            if self._keys is None or (due and now - self._asked_at > _REST):
                self._asked_at = now
                try:
                    self._keys, self._at = _key_set(await fetch(address)), now
                except ProviderAway:
                    if self._keys is None or again:
                        raise
            return self._keys


def _key_set(said: dict[str, Any]) -> Any:
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet, import_key

    found, keys = said.get("keys"), []
    for one in found if isinstance(found, list) else ():
        if isinstance(one, dict) and one.get("kty") in ("RSA", "EC") and one.get("use") != "enc":
            try:
                keys.append(import_key(one))
            except (JoseError, ValueError, TypeError, KeyError):
                continue  # of a kind that we do not know
    return KeySet(keys)


async def fetch(address: str) -> dict[str, Any]:
    """Raises ProviderAway for what is no JSON object, too."""
    try:
        async with httpx.AsyncClient(timeout=WAIT) as client:
            answer = await client.get(address)
            answer.raise_for_status()
            said = answer.json() if len(answer.content) <= _LARGEST else None
    except (httpx.HTTPError, ValueError) as e:
        raise away("discovery", e) from None
    if not isinstance(said, dict):
        raise away("discovery", ValueError("no object"))
    return said


def away(where: str, error: Exception) -> ProviderAway:
    # what it said may hold a code or a token: the kind of error says enough
    log.warning("provider.away", at=where, error=type(error).__name__)
    return ProviderAway()
