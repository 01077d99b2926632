"""Passwords: argon2id, in a thread, and every try counted in PostgreSQL before it is looked at.

An address that nobody has costs the same time as one with a wrong password, and is answered the same.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Final, TypeVar
from uuid import UUID

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database
from everystall.errors import BadRequest, LogInFailed, NotFound, RateLimited
from everystall.models import LogInNetwork, Totp, User
from everystall.web.tokens import lowered_wall

T = TypeVar("T")
#: Characters.
SHORTEST, LONGEST = 10, 200
WORDS: Final = "Three or four words that do not belong together are easy to keep and hard to guess."
#: zxcvbn's, of 4: from 2 on it takes more than a million guesses.
_SCORE: Final = 2
#: It tries what each sign may stand for, in all combinations: 40 characters with two such signs and all
#: digits take it as long as argon2 takes, 72 with all signs take seconds, and others wait.
_LOOKED_AT: Final = 40
_SIGNS, _MOST_SIGNS = frozenset("@({[<!|$+%"), 2
#: RFC 9106's second choice: 64 MiB, three passes, four lanes; 60 to 120 ms on the machines we know.
ARGON2 = PasswordHash((Argon2Hasher(time_cost=3, memory_cost=65_536, parallelism=4),))
#: Passwords that wait for a thread at most, two to four seconds' worth: of a flood from many networks the
#: rest is refused, so that nobody waits for it.
MOST_WAITING = 40
_waiting = 0
#: Each takes 64 MiB while it runs.
_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="passwords")


async def hash_password(password: str, email: str = "") -> str:
    """What is stored. Raises BadRequest for a password that is too short, too long or easy to guess."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadRequest(
            f"A password has {SHORTEST} to {LONGEST} characters; this one has {len(password)}.",
            action=WORDS,
        )
    if (why := await _in_thread(partial(_guessable, _same(password), email))) is not None:
        raise BadRequest(f"That password is easy to guess. {why}".rstrip(), action=WORDS)
    return await _in_thread(partial(ARGON2.hash, _same(password)))


def _guessable(password: str, email: str) -> str | None:
    """Why a password would be guessed early, in a sentence or none; None for one that would not, or that is
    full of signs. Who guesses has a hundred tries in a quarter of an hour, and knows the address."""
    if len(_SIGNS.intersection(password)) > _MOST_SIGNS:
        return None
    from zxcvbn import zxcvbn  # 40 ms, for who sets a password

    known = [email, *email.replace("@", ".").split("."), "everystall"]
    found = zxcvbn(password[:_LOOKED_AT], user_inputs=known)
    return str(found["feedback"]["warning"]) if found["score"] < _SCORE else None


async def check_password(database: Database, email: str, password: str, network: str) -> UUID:
    """Whose it is. Counts the try, in a transaction of its own, and forgets the tries if it is right, and no
    second factor is asked for. `network`: where it is tried from. Raises LogInFailed: wrong, nobody's, or too
    many tries in 15 minutes (ten from one network, a hundred from all strange ones)."""
    row = await count_try(database, email, network)
    stored = row[1] if row is not None else await _in_thread(_nobodys)
    good, better = await _in_thread(partial(ARGON2.verify_and_update, _same(password[: LONGEST + 1]), stored))
    if row is None or not good:
        raise LogInFailed
    user_id = row[0]
    async with database.as_user(user_id) as session:
        if await session.scalar(select(Totp.user_id)) is None:
            await forget_tries(session, user_id, network)
        if better:
            await session.execute(update(User).where(User.id == user_id).values(password_hash=better))
    return user_id


async def count_try(database: Database, email: str, network: str) -> tuple[UUID, str] | None:
    """Counts a try at a password or at a code after it, and tells whose it is and the password's hash; None
    for nobody and after too many."""
    email = email.strip().lower()
    row = await database.ask(
        "SELECT user_id, password_hash FROM everystall.begin_log_in(%(email)s, %(network)s)",
        email=email if email.isprintable() else "", network=network,
    )  # fmt: skip
    return (row.user_id, row.password_hash) if row is not None else None


async def forget_tries(session: AsyncSession, user_id: UUID, network: str) -> None:
    """Somebody proved from there that it is they. In the order of begin_log_in."""
    here = update(LogInNetwork).where(LogInNetwork.network == network)
    await session.execute(here.values(tries=0, good_at=func.now()))
    fresh = {"log_in_tries": 0, "log_in_since": None}
    await session.execute(update(User).where(User.id == user_id).values(fresh))


async def set_password(admin: AsyncSession, email: str, password: str) -> None:
    """A forgotten one, by the operator: a new password for the account with that address, whose browsers are
    all signed out, and of which no second factor is asked any more. `admin`: the database's administrator.
    Raises NotFound, BadRequest."""
    email = email.strip().lower()
    stored = await hash_password(password, email)
    async with lowered_wall(admin):
        user_id = await admin.scalar(
            text("""UPDATE users SET password_hash = :stored, log_in_tries = 0, log_in_since = NULL
                    WHERE email = :email RETURNING id"""),
            {"stored": stored, "email": email},
        )
        if user_id is None:
            raise NotFound(f"Nobody here has the address {email[:80]!r}.", action="Check the spelling.")
        await admin.execute(text("DELETE FROM log_in_networks WHERE user_id = :id"), {"id": user_id})
        await admin.execute(text("DELETE FROM recovery_codes WHERE user_id = :id"), {"id": user_id})
        await admin.execute(
            text("""WITH off AS (DELETE FROM totps WHERE user_id = :id RETURNING user_id)
                    INSERT INTO sign_in_changes (user_id, what, about)
                    SELECT user_id, 'second_factor_reset', 'the operator' FROM off"""),
            {"id": user_id},
        )
        await admin.execute(
            text("INSERT INTO sign_in_changes (user_id, what, about) VALUES (:id, 'password_changed', :by)"),
            {"id": user_id, "by": "the operator"},
        )
        await admin.execute(
            text("DELETE FROM api_tokens WHERE user_id = :id AND kind = 'browser'"), {"id": user_id}
        )


@cache
def _nobodys() -> str:
    """What a password is compared with when there is nobody."""
    return ARGON2.hash("nobody has this password")


def _same(password: str) -> str:
    """However a keyboard composes an é, it is the same password (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password)


async def _in_thread(work: Callable[[], T]) -> T:
    """RateLimited, if too many wait already."""
    global _waiting
    if _waiting >= MOST_WAITING:
        raise RateLimited("Too many people sign in at this moment.", retry_after=2)
    _waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, work)
    finally:
        _waiting -= 1
