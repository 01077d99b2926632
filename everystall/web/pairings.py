"""Pairing a browser: a short code from the account page, typed into the extension, becomes its token.

The extension first *looks*, and shows whose account on which server it is, because somebody else's code
would send this browser's sessions to somebody else; only then does it *accept*. Guessing is bounded by the
database: five tries per code, right or wrong, counted by the statement that compares.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

from fastapi import APIRouter
from pydantic import AfterValidator, Field
from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database
from everystall.errors import PairingUnknown, RateLimited
from everystall.models import Pairing, User
from everystall.web.deps import AllParts, Seller, SignedIn, Transaction
from everystall.web.shapes import Body, Shape, one_line
from everystall.web.tokens import hash_of, new_token

router = APIRouter(prefix="/api/pairings", tags=["pairing"])

#: No I, L, O, 0, 1: 31 letters, so the 6 that prove a code are one of 887 million.
ALPHABET: Final = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
HANDLE, SECRET = 2, 6
MINUTES: Final = 10
#: After so many it is over (everystall.look_at_pairing).
TRIES: Final = 5


class CodeOut(Shape):
    #: Shown as ABCD-EFGH.
    code: str
    expires_at: datetime


class LookBody(Body):
    code: Annotated[str, Field(max_length=40)]


class LookedOut(Shape):
    #: For `accept`, until the code would have expired.
    ticket: str
    #: Whose sessions they will be, and where they will go: for the person to read before accepting.
    account: str
    server: str
    expires_at: datetime


class AcceptBody(Body):
    ticket: Annotated[str, Field(max_length=200)]
    #: What the account page will call this browser.
    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(one_line)]


class AcceptedOut(Shape):
    #: Hands over sessions and asks about them; nothing else.
    token: str
    account: str
    name: str


@router.post("", status_code=201)
async def post_code(session: Transaction, who: Seller) -> CodeOut:
    """A code for the extension: good once, for ten minutes and five tries. The one before is void."""
    code, expires_at = await make_code(session, who)
    return CodeOut(code=code, expires_at=expires_at)


@router.post("/look")
async def look(body: LookBody, parts: AllParts) -> LookedOut:
    """Whose code it is. Spends it: what comes back is a ticket for `accept`."""
    ticket, account, expires_at = await look_at(parts.database, body.code)
    return LookedOut(ticket=ticket, account=account, server=parts.settings.address, expires_at=expires_at)


@router.post("/accept")
async def accept(body: AcceptBody, parts: AllParts) -> AcceptedOut:
    """The extension's token, once."""
    token, account = await accept_ticket(parts.database, body.ticket, body.name)
    return AcceptedOut(token=token, account=account, name=body.name)


async def make_code(session: AsyncSession, who: SignedIn) -> tuple[str, datetime]:
    """A new code and when it ends. Raises RateLimited while every handle is taken by others."""
    await session.execute(delete(Pairing).where(Pairing.looked_at.is_(None)))
    expires_at = datetime.now(UTC) + timedelta(minutes=MINUTES)
    for _ in range(50):
        code = "".join(secrets.choice(ALPHABET) for _ in range(HANDLE + SECRET))
        made = await session.execute(
            insert(Pairing)
            .values(
                user_id=who.user_id, handle=code[:HANDLE], secret_hash=hash_of(code), expires_at=expires_at
            )
            .on_conflict_do_nothing()
            .returning(Pairing.id)
        )
        if made.first() is not None:
            return code, expires_at
    raise RateLimited("Too many people pair a browser at the moment.", retry_after=60)


async def how_far(session: AsyncSession) -> Literal["open", "looked", "accepted"] | None:
    """How far the seller's last code is; None: there is none that is good. `looked`: it was typed in
    somewhere, which waits for a yes."""
    last = await session.scalar(
        select(Pairing).where(Pairing.expires_at > func.now()).order_by(Pairing.created_at.desc()).limit(1)
    )
    if last is None or (last.looked_at is None and last.tries >= TRIES):
        return None
    if last.accepted_at is not None:
        return "accepted"
    return "open" if last.looked_at is None else "looked"


async def look_at(database: Database, typed: str) -> tuple[str, str, datetime]:
    """(ticket, e-mail of the account, until when) of a code as typed: with a dash or not, in any case.
    Raises PairingUnknown."""
    code = "".join(letter for letter in typed.upper() if letter not in "- \t")
    if len(code) != HANDLE + SECRET or not set(code) <= set(ALPHABET):
        raise PairingUnknown
    ticket = secrets.token_urlsafe(32)
    row = await database.ask(
        "SELECT email, expires_at FROM everystall.look_at_pairing(%(handle)s, %(secret)s, %(ticket)s)",
        handle=code[:HANDLE], secret=hash_of(code), ticket=hash_of(ticket),
    )  # fmt: skip
    if row is None or row.email is None:
        raise PairingUnknown
    return ticket, row.email, row.expires_at


async def accept_ticket(database: Database, ticket: str, name: str) -> tuple[str, str]:
    """(the new token, e-mail of the account). Raises PairingUnknown."""
    token = new_token()
    async with database.as_app() as session:
        user_id = await session.scalar(
            text("SELECT everystall.accept_pairing(:ticket, :token, :name)"),
            {"ticket": hash_of(ticket), "token": hash_of(token), "name": name},
        )
    if user_id is None:
        raise PairingUnknown
    async with database.as_user(user_id) as session:
        account = await session.scalar(select(User.email).where(User.id == user_id))
    return token, str(account)
