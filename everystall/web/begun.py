"""Sign-ins that have begun, and what they need to go on: known by a random word that only the browser has,
good for minutes, and taken once."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from everystall.db import Database
from everystall.errors import SignInOver
from everystall.web.tokens import hash_of

#: Seconds: a provider may ask for a password and a phone, an app is to be installed; a code and a passkey are
#: at hand.
ELSEWHERE, AT_HAND = 900, 300
_LONGEST: Final = 100


async def begin(database: Database, kind: str, seconds: int, **what: Any) -> str:
    """The word."""
    word = secrets.token_urlsafe(32)
    await database.ask(
        "SELECT everystall.begin_sign_in(%(hash)s, %(what)s::jsonb, %(seconds)s)",
        hash=hash_of(word), what=json.dumps({"kind": kind, **what}), seconds=seconds,
    )  # fmt: skip
    return word


async def look(database: Database, kind: str, word: str) -> Mapping[str, Any]:
    """What was kept. Raises SignInOver: unknown, taken, over, of another kind."""
    return await _ask(database, "look_at_sign_in", kind, word)


async def take(database: Database, kind: str, word: str) -> Mapping[str, Any]:
    """The same, for one caller only; it is gone then."""
    return await _ask(database, "take_sign_in", kind, word)


async def _ask(database: Database, function: str, kind: str, word: str) -> Mapping[str, Any]:
    row = await database.ask(f"SELECT everystall.{function}(%(hash)s) AS what", hash=hash_of(word[:_LONGEST]))
    if row is None or row.what is None or row.what["kind"] != kind:
        raise SignInOver
    found: Mapping[str, Any] = row.what
    return found
