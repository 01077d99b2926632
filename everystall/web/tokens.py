"""API tokens: `evs_<id>_<secret>`. Stored as SHA-256 only; shown once, when made.

256 random bits need no slow hash. The prefix lets secret scanners find a leaked one.
"""

from __future__ import annotations

import hashlib
import secrets

PREFIX = "evs_"
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"


def new_token() -> str:
    """The id is for people to tell tokens apart; the secret is 256 bits."""
    name = "".join(secrets.choice(_LETTERS) for _ in range(8))
    return f"{PREFIX}{name}_{secrets.token_urlsafe(32)}"


def hash_of(token: str) -> bytes:
    """What is stored, and what everystall.sign_in() is asked for."""
    return hashlib.sha256(token.encode()).digest()
