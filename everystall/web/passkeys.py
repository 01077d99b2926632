"""Passkeys: keys of a seller's own devices, which sign in without a password. A device that is asked for one
looks first who holds it (a finger, a face, a PIN), so that it is two factors in one.

A challenge is good for five minutes, and once. Whose a passkey is, the passkey says itself; that it is
theirs, the signature under our challenge proves.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest, Conflict, NotFound, PasskeyRefused, SignInOver
from everystall.models import Passkey
from everystall.settings import Settings
from everystall.web import begun, browsers
from everystall.web.account import Entered, Name, SignedInOut, enter, get_user
from everystall.web.deps import AllParts, Parts, Seller, SignedIn, Transaction, as_id, own_page
from everystall.web.factors import ProofBody, check_way_in, lock, note, step_up
from everystall.web.shapes import Body, Done, Shape

router = APIRouter(prefix="/api", tags=["account"])

#: A person has a handful of devices.
MOST: Final = 20

Ticket = Annotated[str, Field(max_length=100)]


class OptionsOut(Shape):
    #: What `navigator.credentials` is asked with (WebAuthn's JSON form).
    options: dict[str, Any]
    #: Goes back with what it answers.
    ticket: str


class NewBody(ProofBody):
    name: Name


class AnswerBody(Body):
    ticket: Ticket
    #: What `navigator.credentials` answered, in its JSON form.
    credential: dict[str, Any]


class PasskeyOut(Shape):
    id: UUID
    name: str
    created_at: datetime
    last_used_at: datetime | None


class PasskeysOut(Shape):
    passkeys: list[PasskeyOut]


def unable(settings: Settings) -> str | None:
    """Why no browser makes a passkey for this address; None: they do."""
    host = settings.public_host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return (
            "Browsers make passkeys for names only, and PUBLIC_URL names this server by numbers. Have it "
            f"served under a name; on this machine `http://localhost:{settings.everystall_port}` is one."
        )
    if settings.public_url.startswith("https://") or host == "localhost" or host.endswith(".localhost"):
        return None
    return "Browsers make passkeys over https only. Have PUBLIC_URL served over https."


def _able(settings: Settings) -> None:
    if (why := unable(settings)) is not None:
        raise Conflict(why, action="Sign in with your password meanwhile.")


# ---- signing in -------------------------------------------------------------------------------------


async def ask(parts: Parts) -> OptionsOut:
    """For whoever has one: which, the device offers by itself."""
    from webauthn import generate_authentication_options, options_to_json
    from webauthn.helpers.structs import UserVerificationRequirement

    _able(parts.settings)
    challenge = secrets.token_bytes(32)
    options = generate_authentication_options(
        rp_id=parts.settings.public_host,
        challenge=challenge,
        timeout=begun.AT_HAND * 1000,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    ticket = await begun.begin(parts.database, "passkey", begun.AT_HAND, challenge=challenge.hex())
    return OptionsOut(options=json.loads(options_to_json(options)), ticket=ticket)


async def sign_in(parts: Parts, request: Request, ticket: str, credential: str | dict[str, Any]) -> Entered:
    """Signs the browser in that made the request. Raises PasskeyRefused, SignInOver."""
    from webauthn import verify_authentication_response
    from webauthn.helpers import parse_authentication_credential_json
    from webauthn.helpers.exceptions import WebAuthnException

    _able(parts.settings)
    kept = await begun.take(parts.database, "passkey", ticket)
    try:
        given = parse_authentication_credential_json(credential)
        user_id = UUID(bytes=given.response.user_handle or b"")
    except (WebAuthnException, ValueError, TypeError, KeyError):
        raise PasskeyRefused from None
    async with parts.database.as_user(user_id) as session:
        # who signs with the same at the same time waits, and must have counted further
        row = await session.scalar(
            select(Passkey).where(Passkey.credential_id == given.raw_id).with_for_update()
        )
        if row is None:
            raise PasskeyRefused
        try:
            proved = verify_authentication_response(
                credential=given,
                expected_challenge=bytes.fromhex(kept["challenge"]),
                expected_rp_id=parts.settings.public_host,
                expected_origin=parts.settings.public_url,
                credential_public_key=row.public_key,
                credential_current_sign_count=row.sign_count,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, TypeError, KeyError):
            raise PasskeyRefused from None
        row.sign_count, row.last_used_at = proved.new_sign_count, await session.scalar(select(func.now()))
    return await enter(parts, request, user_id)


# ---- one's own --------------------------------------------------------------------------------------


async def find(session: AsyncSession) -> list[Passkey]:
    return list(await session.scalars(select(Passkey).order_by(Passkey.created_at.desc(), Passkey.id)))


async def begin(
    parts: Parts, request: Request, who: SignedIn, name: str, password: str | None, code: str | None
) -> OptionsOut:
    """For a new one of this name. Raises Conflict where no browser makes one, or there are too many; what
    `step_up` raises."""
    from webauthn import generate_registration_options, options_to_json
    from webauthn.helpers.structs import (
        AuthenticatorSelectionCriteria,
        PublicKeyCredentialDescriptor,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    _able(parts.settings)
    user = await step_up(parts, request, who, password, code)
    async with parts.database.as_user(who.user_id) as session:
        known = await find(session)
    if len(known) >= MOST:
        raise Conflict(f"You have {MOST} passkeys, which is as many as there may be.", action="Remove one.")
    challenge = secrets.token_bytes(32)
    options = generate_registration_options(
        rp_id=parts.settings.public_host,
        rp_name="Everystall",
        user_name=user.email,
        user_id=who.user_id.bytes,
        challenge=challenge,
        timeout=begun.AT_HAND * 1000,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=one.credential_id) for one in known],
    )
    ticket = await begun.begin(
        parts.database, "new passkey", begun.AT_HAND,
        user_id=str(who.user_id), challenge=challenge.hex(), name=name,
    )  # fmt: skip
    return OptionsOut(options=json.loads(options_to_json(options)), ticket=ticket)


async def add(
    parts: Parts, session: AsyncSession, who: SignedIn, ticket: str, credential: str | dict[str, Any]
) -> Passkey:
    """Raises SignInOver, BadRequest for what is no answer to our challenge."""
    from webauthn import verify_registration_response
    from webauthn.helpers.exceptions import WebAuthnException

    kept = await begun.take(parts.database, "new passkey", ticket)
    if kept["user_id"] != str(who.user_id):
        raise SignInOver
    try:
        proved = verify_registration_response(
            credential=credential,
            expected_challenge=bytes.fromhex(kept["challenge"]),
            expected_rp_id=parts.settings.public_host,
            expected_origin=parts.settings.public_url,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError):
        raise BadRequest("That is no passkey that we asked for.", action="Begin again.") from None
    known = select(Passkey.id).where(Passkey.credential_id == proved.credential_id)
    if await session.scalar(known) is not None:
        raise Conflict("That passkey is yours already.", action="There is nothing to do.")
    row = Passkey(
        user_id=who.user_id,
        name=kept["name"],
        credential_id=proved.credential_id,
        public_key=proved.credential_public_key,
        sign_count=proved.sign_count,
    )
    session.add(row)
    await note(session, who.user_id, "passkey_added", row.name)
    await session.flush()
    await session.refresh(row)
    return row


async def remove(
    parts: Parts, request: Request, who: SignedIn, passkey_id: UUID, password: str | None, code: str | None
) -> None:
    """It signs nobody in from now on. Raises NotFound, Conflict where it is the only way in, and what
    `step_up` raises."""
    user = await step_up(parts, request, who, password, code)
    async with parts.database.as_user(who.user_id) as session:
        await lock(session, user.id)
        gone = await session.scalar(delete(Passkey).where(Passkey.id == passkey_id).returning(Passkey.name))
        if gone is None:
            raise NotFound
        await check_way_in(parts, session, user)
        await note(session, who.user_id, "passkey_removed", gone)


# ---- routes -----------------------------------------------------------------------------------------


@router.post("/sign-in/passkey/options", dependencies=[Depends(own_page)])
async def post_sign_in_options(parts: AllParts) -> OptionsOut:
    """For pages: what a browser is asked for a passkey with. 409 where no browser makes one."""
    return await ask(parts)


@router.post("/sign-in/passkey", dependencies=[Depends(own_page)])
async def post_sign_in(
    body: AnswerBody, request: Request, response: Response, parts: AllParts
) -> SignedInOut:
    """Signs a browser in by a passkey: the answer sets its cookie. For pages; programs use a token."""
    entered = await sign_in(parts, request, body.ticket, body.credential)
    async with parts.database.as_user(entered.user_id) as session:
        user = await get_user(session, SignedIn(entered.user_id, entered.token_id, "browser", frozenset()))
    browsers.give_cookie(response, parts.settings, entered.token)
    return SignedInOut(account=user.email, csrf_token=browsers.csrf_token(parts.csrf_key, entered.token_id))


@router.get("/account/passkeys")
async def list_passkeys(session: Transaction) -> PasskeysOut:
    return PasskeysOut(passkeys=[_shown(row) for row in await find(session)])


@router.post("/account/passkeys/options")
async def post_options(body: NewBody, request: Request, who: Seller, parts: AllParts) -> OptionsOut:
    """Begins to add one: what a browser is asked to make it with."""
    return await begin(parts, request, who, body.name, body.password, body.code)


@router.post("/account/passkeys", status_code=201)
async def post_passkey(body: AnswerBody, session: Transaction, who: Seller, parts: AllParts) -> PasskeyOut:
    """Adds what the browser made."""
    return _shown(await add(parts, session, who, body.ticket, body.credential))


@router.delete("/account/passkeys/{passkeyId}")
async def delete_passkey(
    passkeyId: str, body: ProofBody, request: Request, who: Seller, parts: AllParts
) -> Done:
    """Removes it. 409 where it is the only way by which you sign in."""
    await remove(parts, request, who, as_id(passkeyId), body.password, body.code)
    return Done(message="That passkey signs nobody in any more.")


def _shown(row: Passkey) -> PasskeyOut:
    return PasskeyOut(id=row.id, name=row.name, created_at=row.created_at, last_used_at=row.last_used_at)
