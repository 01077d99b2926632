"""The second factor of a password: the one-time codes of an app (TOTP), and recovery codes that stand in for
one. And what is kept of each change in how somebody signs in.

A code is taken once. Tries at one are counted as those at a password are, together with them, and a right
password alone forgets none. Those at the app's six digits are counted for themselves, too: per account, for
as long as none is right.
"""

from __future__ import annotations

import hmac
import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import structlog
from fastapi import APIRouter, Request
from pydantic import Field
from sqlalchemy import case, delete, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import (
    BadRequest,
    CodeNeeded,
    CodesRest,
    CodeWrong,
    Conflict,
    NotFound,
    SignInAgain,
    SignInOver,
)
from everystall.models import (
    ApiToken,
    Invitation,
    Passkey,
    ProviderIdentity,
    RecoveryCode,
    SignInChange,
    Totp,
    User,
)
from everystall.notify import messages
from everystall.web import begun
from everystall.web.deps import AllParts, Parts, Seller, SignedIn, Transaction, as_id
from everystall.web.invitations import check_owner
from everystall.web.limits import asked_from
from everystall.web.passwords import check_password, count_try, forget_tries
from everystall.web.shapes import Body, Done, Shape
from everystall.web.tokens import hash_of

log = structlog.get_logger()

router = APIRouter(prefix="/api", tags=["account"])

#: Seconds that a code is shown (RFC 6238); clocks may be one step apart.
STEP: Final = 30
RECOVERY_CODES: Final = 10
#: Codes of the app that may be wrong in a row, whoever gave them; after each more, none is looked at for a
#: minute, two, four … up to so many. Who has the password alone thus guesses six a day, of a million of which
#: three are right: one in 150 within a year.
FREE_TRIES: Final = 5
LONGEST_REST: Final = 240
#: And its seller is told: after the first that is followed by a rest, and after ten more each.
TOLD_EACH: Final = 10
#: Who has no password signed in at most so long ago.
FRESH: Final = timedelta(minutes=10)
#: As browsers show them, without those that look alike. 16 of 32 are 80 bits.
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"

Code = Annotated[str, Field(max_length=100)]
Password = Annotated[str, Field(max_length=200)]


class ProofBody(Body):
    #: Left out by who has none.
    password: Password | None = None
    #: Where a second factor is on.
    code: Code | None = None


class ConfirmBody(Body):
    ticket: Annotated[str, Field(max_length=100)]
    code: Code


class SecondFactorOut(Shape):
    on: bool
    recovery_codes_left: int


class SecretOut(Shape):
    #: For an app; shown this once.
    secret: str
    #: The same as an app reads it from a QR code.
    uri: str
    #: For `…/confirm`, within a quarter of an hour.
    ticket: str


class RecoveryCodesOut(Shape):
    #: Shown this once. Each is good once.
    recovery_codes: list[str]


class ChangeOut(Shape):
    at: datetime
    what: str
    about: str | None


class ChangesOut(Shape):
    changes: list[ChangeOut]


@dataclass(frozen=True)
class Factor:
    on: bool
    recovery_codes_left: int


# ---- proving that it is you -------------------------------------------------------------------------


async def is_on(session: AsyncSession) -> bool:
    """Whether the seller's password alone signs nobody in."""
    return await session.scalar(select(Totp.user_id)) is not None


async def check_code(parts: Parts, request: Request, email: str, code: str) -> UUID:
    """After the password: a code of the app, or a recovery code; neither is good again. Whose. Raises
    CodeWrong, after too many tries too, and CodesRest."""
    network = asked_from(request.scope)
    counted = await count_try(parts.database, email, network)
    if counted is None:
        raise CodeWrong
    user_id = counted[0]
    plain = "".join(code.split()).replace("-", "").lower()
    of_app = len(plain) == 6 and plain.isascii() and plain.isdigit()
    tries = await _count_code(parts, user_id) if of_app else 0
    async with parts.database.as_user(user_id) as session:
        right = await (
            _takes(parts, session, user_id, plain) if of_app else _takes_recovery(session, user_id, plain)
        )
        if right:
            await forget_tries(session, user_id, network)
            await session.execute(update(Totp).values(tries=0, rests_until=None))
        elif tries > FREE_TRIES and (tries - FREE_TRIES) % TOLD_EACH == 1:
            await note(session, user_id, "codes_guessed", f"{tries} in a row")
    if not right:
        raise CodeWrong
    return user_id


async def _count_code(parts: Parts, user_id: UUID) -> int:
    """Counts a code of the app before it is looked at, in a transaction of its own; how many were tried since
    one was right. Of many at once each is counted. A recovery code is none of them: it is not to be guessed,
    and so nobody who guesses is in its owner's way. Raises CodesRest."""
    doubled = func.power(2, func.least(Totp.tries - FREE_TRIES, 20))  # 20: fits into an interval
    rest = func.least(doubled, LONGEST_REST) * literal_column("interval '1 minute'")
    async with parts.database.as_user(user_id) as session:
        counted: int | None = await session.scalar(
            update(Totp)
            .where(func.coalesce(Totp.rests_until, func.now()) <= func.now())
            .values(
                tries=Totp.tries + 1,
                rests_until=case((Totp.tries >= FREE_TRIES, func.now() + rest)),
            )
            .returning(Totp.tries)
        )
        if counted is not None:
            return counted
        until = await session.scalar(select(Totp.rests_until))
    if until is None:  # it was taken off this moment
        raise CodeWrong
    minutes = math.ceil((until - datetime.now(UTC)).total_seconds() / 60)
    wait = f"{minutes} minutes" if minutes > 1 else "a minute"
    raise CodesRest(f"Too many wrong codes were given. The next is looked at in {wait}.")


async def step_up(
    parts: Parts, request: Request, who: SignedIn, password: str | None, code: str | None
) -> User:
    """The account, after all that signs it in was given once more: a borrowed cookie or token changes nothing
    in how its seller signs in. Raises LogInFailed, CodeNeeded, CodeWrong; SignInAgain for who has no password
    and did not sign in just now."""
    async with parts.database.as_user(who.user_id) as session:
        user = await session.scalar(select(User).where(User.id == who.user_id))
        if user is None:
            raise NotFound("This account is gone.")
        on = await is_on(session)
        if user.password_hash is None:
            await check_fresh(session, who)
            return user
    await check_password(parts.database, user.email, password or "", asked_from(request.scope))
    if on:
        if not code:
            raise CodeNeeded
        await check_code(parts, request, user.email, code)
    return user


async def check_fresh(session: AsyncSession, who: SignedIn) -> None:
    """Raises SignInAgain unless it is a browser that signed in just now, or who did so at Supabase."""
    mine = select(ApiToken.created_at).where(ApiToken.id == who.token_id, ApiToken.kind == "browser")
    since = who.signed_in_at if who.kind == "supabase" else await session.scalar(mine)
    if since is None or since < datetime.now(UTC) - FRESH:
        raise SignInAgain


async def lock(session: AsyncSession, user_id: UUID) -> None:
    """Of two at once who change how this seller signs in, the second finds what the first left."""
    await session.execute(select(User.id).where(User.id == user_id).with_for_update())


async def check_way_in(parts: Parts, session: AsyncSession, user: User) -> None:
    """Raises Conflict where nothing signs this seller in any more: nobody locks themselves out."""
    if user.password_hash is not None and parts.settings.password_sign_in:
        return
    here = select(ProviderIdentity.id).where(ProviderIdentity.issuer == parts.settings.oidc_issuer)
    if await session.scalar(here.union_all(select(Passkey.id)).limit(1)) is None:
        raise Conflict(
            "It is the only way by which you sign in.", action="Add a passkey or a password first."
        )


async def _takes(parts: Parts, session: AsyncSession, user_id: UUID, code: str) -> bool:
    row = await session.scalar(select(Totp))
    step = await _step_of(parts, session, row, code) if row is not None else None
    if step is None:
        return False
    # of two who come with the same code one is first
    later = update(Totp).where(Totp.user_id == user_id, Totp.last_step < step).values(last_step=step)
    return (await session.execute(later.returning(Totp.user_id))).first() is not None


async def _takes_recovery(session: AsyncSession, user_id: UUID, code: str) -> bool:
    used = await session.execute(
        update(RecoveryCode)
        .where(RecoveryCode.code_hash == hash_of(code), RecoveryCode.used_at.is_(None))
        .values(used_at=func.now())
        .returning(RecoveryCode.user_id)
    )
    if used.first() is None:
        return False
    left = await _left(session)
    await note(session, user_id, "recovery_code_used", f"{left} left")
    return True


async def _step_of(parts: Parts, session: AsyncSession, row: Totp, code: str) -> int | None:
    """At which step the app shows this code; None: at none of now."""
    import pyotp  # for who signs in with a code

    with await parts.vault.open_totp(session, row) as secret:
        app = pyotp.TOTP(secret.decode())
    now = int(time.time()) // STEP
    near = (now - 1, now, now + 1)
    return next((step for step in near if hmac.compare_digest(app.generate_otp(step), code)), None)


# ---- switching it on and off ------------------------------------------------------------------------


async def find(session: AsyncSession) -> Factor:
    return Factor(await is_on(session), await _left(session))


@dataclass(frozen=True, repr=False)
class Begun:
    """What is shown once, for an app."""

    ticket: str
    secret: str
    uri: str


async def begin(parts: Parts, request: Request, who: SignedIn, password: str | None) -> Begun:
    """A new secret; nothing asks for its codes before one was given to `confirm`. Raises Conflict where one
    is on, BadRequest for who has no password, and what `step_up` raises."""
    import pyotp

    async with parts.database.as_user(who.user_id) as session:
        if await is_on(session):
            raise _already()
    user = await step_up(parts, request, who, password, None)
    if user.password_hash is None:
        raise BadRequest(
            "Codes are asked for after a password, and you have none.",
            action="What you sign in with asks for its own second factor.",
        )
    secret = pyotp.random_base32()
    async with parts.database.as_user(who.user_id) as session:
        row = await parts.vault.seal_totp(session, who.user_id, secret.encode())
    ticket = await begun.begin(
        parts.database, "totp", begun.ELSEWHERE,
        user_id=str(who.user_id), version=row.dek_version, sealed=row.sealed.hex(),
    )  # fmt: skip
    return Begun(ticket, secret, _uri(parts, user.email, secret))


async def shown_again(parts: Parts, session: AsyncSession, who: SignedIn, ticket: str) -> Begun:
    """The same for a ticket that was not used yet. Raises SignInOver."""
    row = _row(await begun.look(parts.database, "totp", ticket), who)
    email = await session.scalar(select(User.email).where(User.id == who.user_id))
    with await parts.vault.open_totp(session, row) as plain:
        secret = plain.decode()
    return Begun(ticket, secret, _uri(parts, email or "", secret))


async def confirm(parts: Parts, session: AsyncSession, who: SignedIn, ticket: str, code: str) -> list[str]:
    """Switches it on, since the app shows the right code; the recovery codes. Raises CodeWrong, SignInOver,
    Conflict."""
    row = _row(await begun.look(parts.database, "totp", ticket), who)
    step = await _step_of(parts, session, row, "".join(code.split()))
    if step is None:
        raise CodeWrong(
            "That is not the code that your app shows now.",
            action="Type the one that it shows next, and see that the clock of its device is right.",
        )
    await begun.take(parts.database, "totp", ticket)
    if await is_on(session):
        raise _already()
    row.last_step = step
    session.add(row)
    await note(session, who.user_id, "second_factor_on")
    return await _new_codes(session, who.user_id)


def _row(kept: Mapping[str, Any], who: SignedIn) -> Totp:
    if kept["user_id"] != str(who.user_id):
        raise SignInOver
    return Totp(
        user_id=who.user_id, dek_version=kept["version"], sealed=bytes.fromhex(kept["sealed"]), last_step=0
    )


def _uri(parts: Parts, email: str, secret: str) -> str:
    import pyotp

    issuer = f"Everystall ({parts.settings.public_host})"
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=issuer)


async def renew(
    parts: Parts, request: Request, who: SignedIn, password: str | None, code: str | None
) -> list[str]:
    """New recovery codes; those before are good no more. Raises NotFound where there is no second factor."""
    await step_up(parts, request, who, password, code)
    async with parts.database.as_user(who.user_id) as session:
        if not await is_on(session):
            raise NotFound("You have no second factor.", action="Set it up first.")
        await note(session, who.user_id, "recovery_codes")
        return await _new_codes(session, who.user_id)


async def remove(
    parts: Parts, request: Request, who: SignedIn, password: str | None, code: str | None
) -> None:
    """Switches it off. Raises NotFound where there is none."""
    await step_up(parts, request, who, password, code)
    async with parts.database.as_user(who.user_id) as session:
        if not await _take_off(session):
            raise NotFound("You have no second factor.", action="There is nothing to switch off.")
        await note(session, who.user_id, "second_factor_off")


async def reset(parts: Parts, who: SignedIn, invitation_id: UUID) -> str:
    """By an owner, of somebody whom they invited and who lost their app; whose it was. Written down with the
    owner's name, and told. Raises NotAllowed, NotFound."""
    async with parts.database.as_user(who.user_id) as session:
        await check_owner(session, who)
        joined = await session.scalar(select(Invitation.joined_id).where(Invitation.id == invitation_id))
        by = await session.scalar(select(User.email).where(User.id == who.user_id))
    if joined is None:
        raise NotFound
    async with parts.database.as_user(joined) as session:
        email = await session.scalar(select(User.email).where(User.id == joined))
        if not await _take_off(session):
            raise NotFound(f"{email} has no second factor.", action="There is nothing to take off.")
        await note(session, joined, "second_factor_reset", f"By {by}")
    log.info("second_factor.reset", of=str(joined), by=str(who.user_id))
    return email or ""


async def note(session: AsyncSession, user_id: UUID, what: str, about: str | None = None) -> None:
    """Writes down what was changed, and tells the seller. `what`: of notify/words.py's SIGN_IN_CHANGES."""
    session.add(SignInChange(user_id=user_id, what=what, about=about))
    await messages.record(session, user_id, "account.sign_in_changed", {"what": what, "about": about})


async def changes(session: AsyncSession) -> list[SignInChange]:
    """The latest fifty, the last first."""
    wanted = select(SignInChange).order_by(SignInChange.at.desc(), SignInChange.id).limit(50)
    return list(await session.scalars(wanted))


def _already() -> Conflict:
    return Conflict("Your second factor is on already.", action="Switch it off first, to set up another app.")


async def _take_off(session: AsyncSession) -> bool:
    await session.execute(delete(RecoveryCode))
    gone = await session.execute(delete(Totp).returning(Totp.user_id))
    return gone.first() is not None


async def _left(session: AsyncSession) -> int:
    unused = select(func.count()).select_from(RecoveryCode).where(RecoveryCode.used_at.is_(None))
    return await session.scalar(unused) or 0


async def _new_codes(session: AsyncSession, user_id: UUID) -> list[str]:
    await session.execute(delete(RecoveryCode))
    made = ["".join(secrets.choice(_LETTERS) for _ in range(16)) for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(user_id=user_id, code_hash=hash_of(one)) for one in made)
    await session.flush()
    return ["-".join(one[at : at + 4] for at in range(0, 16, 4)) for one in made]


# ---- routes -----------------------------------------------------------------------------------------


@router.get("/account/second-factor")
async def get_second_factor(session: Transaction) -> SecondFactorOut:
    found = await find(session)
    return SecondFactorOut(on=found.on, recovery_codes_left=found.recovery_codes_left)


@router.post("/account/second-factor")
async def post_second_factor(body: ProofBody, request: Request, who: Seller, parts: AllParts) -> SecretOut:
    """Begins to set it up: the secret for an app. It is on once a code of it was sent to `…/confirm`."""
    made = await begin(parts, request, who, body.password)
    return SecretOut(secret=made.secret, uri=made.uri, ticket=made.ticket)


@router.post("/account/second-factor/confirm")
async def post_confirm(
    body: ConfirmBody, session: Transaction, who: Seller, parts: AllParts
) -> RecoveryCodesOut:
    """Switches it on. The recovery codes are in this answer and nowhere else."""
    return RecoveryCodesOut(recovery_codes=await confirm(parts, session, who, body.ticket, body.code))


@router.post("/account/second-factor/recovery-codes")
async def post_recovery_codes(
    body: ProofBody, request: Request, who: Seller, parts: AllParts
) -> RecoveryCodesOut:
    """New ones; those before are good no more."""
    return RecoveryCodesOut(recovery_codes=await renew(parts, request, who, body.password, body.code))


@router.delete("/account/second-factor")
async def delete_second_factor(body: ProofBody, request: Request, who: Seller, parts: AllParts) -> Done:
    """Switches it off."""
    await remove(parts, request, who, body.password, body.code)
    return Done(message="Your password signs you in alone from now on.")


@router.get("/account/sign-in-changes")
async def get_changes(session: Transaction) -> ChangesOut:
    """What was changed in how you sign in, the last first; the latest fifty."""
    return ChangesOut(
        changes=[ChangeOut(at=row.at, what=row.what, about=row.about) for row in await changes(session)]
    )


@router.post("/invitations/{invitationId}/reset-second-factor")
async def post_reset(invitationId: str, who: Seller, parts: AllParts) -> Done:
    """Owners only: for somebody who joined by that invitation and lost their app. They are told."""
    email = await reset(parts, who, as_id(invitationId))
    return Done(message=f"{email} signs in with the password alone until they set a second factor up again.")
