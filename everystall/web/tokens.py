"""API tokens: `evs_<id>_<secret>`. Stored as SHA-256 only; shown once, when made.

256 random bits need no slow hash. The prefix lets secret scanners find a leaked one.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import OWNER
from everystall.errors import BadRequest

PREFIX = "evs_"
#: What the operator's commands change.
_BEHIND = ("users", "api_tokens", "log_in_networks", "totps", "recovery_codes", "sign_in_changes")
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"


def new_token() -> str:
    """The id is for people to tell tokens apart; the secret is 256 bits."""
    name = "".join(secrets.choice(_LETTERS) for _ in range(8))
    return f"{PREFIX}{name}_{secrets.token_urlsafe(32)}"


def hash_of(token: str) -> bytes:
    """What is stored, and what everystall.sign_in() is asked for."""
    return hashlib.sha256(token.encode()).digest()


def checked_email(email: str) -> str:
    """In the form that is stored. Raises BadRequest."""
    email = email.strip().lower()
    if email.count("@") != 1 or not all(email.split("@")) or len(email) > 254 or not email.isprintable():
        said = f"{email[:80]!r} is not an e-mail address." if email else "There is no e-mail address."
        raise BadRequest(said, action="Give one, such as you@example.com.")
    return email


async def make_token(admin: AsyncSession, email: str, name: str, scopes: Sequence[str] = ()) -> str:
    """A new token for the seller with that e-mail address, who is made where missing. The only time that
    it can be read. `admin`: a transaction of the database's administrator, not the login role's."""
    email = checked_email(email)
    token = new_token()
    async with lowered_wall(admin):
        await admin.execute(
            text("INSERT INTO users (email) VALUES (:email) ON CONFLICT (email) DO NOTHING"), {"email": email}
        )
        await admin.execute(
            text(
                "INSERT INTO api_tokens (user_id, name, token_hash, scopes) "
                "SELECT id, :name, :hash, :scopes FROM users WHERE email = :email"
            ),
            {"email": email, "name": name, "hash": hash_of(token), "scopes": list(scopes)},
        )
    return token


@asynccontextmanager
async def lowered_wall(admin: AsyncSession) -> AsyncIterator[None]:
    """An administrator who is no superuser reads no seller's row either, and must find one by e-mail: so
    for this transaction, which nobody else sees, the tables' owner is exempt."""
    passes = await admin.scalar(
        text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
    )
    if passes:
        yield
        return
    await admin.execute(text(f"SET LOCAL ROLE {OWNER}"))
    for table in _BEHIND:
        await admin.execute(text(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"))
    yield
    for table in _BEHIND:
        await admin.execute(text(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"))
    await admin.execute(text("RESET ROLE"))
