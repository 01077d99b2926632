"""Accounts and the operator's identity provider (web/provider.py): who comes in by it, and as whom.

Whose account it is, the pair of issuer and subject says, and never an address: addresses are given anew, and
not every provider looks whose they are. A verified one lets somebody new in, where they are invited or their
domain is; it never opens an account that is there.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Request, Response
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import cookie_parser

from everystall.errors import Conflict, NotAllowed, NotFound, ProviderRefused, SignInOver
from everystall.models import ProviderIdentity
from everystall.settings import Settings
from everystall.web import begun
from everystall.web.account import Entered, enter
from everystall.web.deps import AllParts, Parts, Seller, SignedIn, Transaction, as_id
from everystall.web.factors import ProofBody, check_way_in, lock, note, step_up
from everystall.web.provider import Known, provider_of
from everystall.web.shapes import Done, Shape
from everystall.web.tokens import checked_email

router = APIRouter(prefix="/api", tags=["account"])


class IdentityOut(Shape):
    id: UUID
    issuer: str
    #: As the provider said it last.
    email: str | None
    created_at: datetime
    last_used_at: datetime | None


class IdentitiesOut(Shape):
    #: The provider's host; null: there is none here.
    provider: str | None
    identities: list[IdentityOut]


# ---- there and back ---------------------------------------------------------------------------------


async def start(parts: Parts, next: str, link: str | None) -> tuple[str, str]:
    """Where the browser goes, and the word that it keeps meanwhile. `link`: a ticket of `begin_connecting`.
    Raises NotFound where there is no provider, ProviderAway, SignInOver."""
    if parts.settings.oidc_issuer is None:
        raise NotFound("No identity provider is connected here.", action="Sign in with your password.")
    who = (await begun.take(parts.database, "connect", link))["user_id"] if link else None
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    address = await parts.provider.address(parts.settings, state=state, nonce=nonce, verifier=verifier)
    word = await begun.begin(
        parts.database, "provider", begun.ELSEWHERE,
        state=state, nonce=nonce, verifier=verifier, next=next, user_id=who,
    )  # fmt: skip
    return address, word


@dataclass(frozen=True)
class Returned:
    """`entered` None: the account that is signed in was connected."""

    entered: Entered | None
    next: str


async def finish(parts: Parts, request: Request, who: SignedIn | None) -> Returned:
    """For who comes back. Raises SignInOver, ProviderRefused, ProviderAway, NotAllowed, Conflict."""
    if parts.settings.oidc_issuer is None:
        raise NotFound("No identity provider is connected here.", action="Sign in with your password.")
    kept = await begun.take(parts.database, "provider", word_of(request, parts.settings) or "")
    asked = request.query_params
    if not hmac.compare_digest(asked.get("state", "").encode(), kept["state"].encode()):
        raise SignInOver
    if asked.get("iss", parts.settings.oidc_issuer) != parts.settings.oidc_issuer or not asked.get("code"):
        raise ProviderRefused
    if kept["user_id"] is not None and (who is None or str(who.user_id) != kept["user_id"]):
        raise SignInOver
    known = await parts.provider.known(
        parts.settings, asked["code"], nonce=kept["nonce"], verifier=kept["verifier"]
    )
    if kept["user_id"] is not None:
        await _connect(parts, UUID(kept["user_id"]), known)
        return Returned(None, "/account/sign-in")
    return Returned(await enter(parts, request, await _account_of(parts, known)), kept["next"])


async def _account_of(parts: Parts, known: Known) -> UUID:
    issuer = parts.settings.oidc_issuer
    async with parts.database.as_app() as session:
        found: UUID | None = await session.scalar(
            text("SELECT everystall.identity_of(:issuer, :subject)"),
            {"issuer": issuer, "subject": known.subject},
        )
    if found is not None:
        async with parts.database.as_user(found) as session:
            used = update(ProviderIdentity).where(
                ProviderIdentity.issuer == issuer, ProviderIdentity.subject == known.subject
            )
            seen = {"email": known.email} if known.email else {}
            await session.execute(used.values(last_used_at=func.now(), **seen))
        return found
    if known.email is None:
        raise NotAllowed(
            "Your identity provider does not say that your e-mail address is verified, so nobody new "
            "comes in by it.",
            action="You have an account here? Sign in with its password, and connect the provider under "
            "Account.",
        )
    email = checked_email(known.email)
    try:
        async with parts.database.as_app() as session:
            made: UUID | None = await session.scalar(
                text("SELECT everystall.join_by_identity(:issuer, :subject, :email, :domains)"),
                {
                    "issuer": issuer, "subject": known.subject, "email": email,
                    "domains": list(parts.settings.oidc_let_in),
                },
            )  # fmt: skip
    except IntegrityError:
        raise Conflict(
            f"{email} has an account here already, which is not connected with your identity provider.",
            action="Sign in with its password, and connect the provider under Account.",
        ) from None
    if made is None:
        raise NotAllowed(
            f"Nobody has invited {email} to this Everystall.",
            action="Ask its owner for an invitation. Nobody joins before there is an owner: whoever runs it "
            "opens the first start's link.",
        )
    return made


async def _connect(parts: Parts, user_id: UUID, known: Known) -> None:
    taken = Conflict(
        "That is connected with another account here, or with this one already.",
        action="Sign in at the provider as somebody else, or disconnect it there.",
    )
    try:
        async with parts.database.as_user(user_id) as session:
            session.add(
                ProviderIdentity(
                    user_id=user_id, issuer=str(parts.settings.oidc_issuer), subject=known.subject,
                    email=known.email,
                )
            )  # fmt: skip
            await session.flush()
            await note(session, user_id, "provider_connected", provider_of(parts.settings))
    except IntegrityError:
        raise taken from None


def cookie_name(settings: Settings) -> str:
    if not settings.secure_cookies:
        return "everystall-provider"
    prefix = "__Secure-" if settings.everystall_root_path else "__Host-"
    return f"{prefix}everystall-provider"


def give_word(response: Response, settings: Settings, word: str) -> None:
    response.set_cookie(
        cookie_name(settings), word, max_age=begun.ELSEWHERE, path=settings.everystall_root_path or "/",
        secure=settings.secure_cookies, httponly=True, samesite="lax",
    )  # fmt: skip


def take_word(response: Response, settings: Settings) -> None:
    response.delete_cookie(
        cookie_name(settings), path=settings.everystall_root_path or "/",
        secure=settings.secure_cookies, httponly=True, samesite="lax",
    )  # fmt: skip


def word_of(request: Request, settings: Settings) -> str | None:
    return cookie_parser(request.headers.get("cookie", "")).get(cookie_name(settings))


# ---- one's own --------------------------------------------------------------------------------------


async def find(session: AsyncSession) -> list[ProviderIdentity]:
    return list(
        await session.scalars(
            select(ProviderIdentity).order_by(ProviderIdentity.created_at, ProviderIdentity.id)
        )
    )


async def begin_connecting(
    parts: Parts, request: Request, who: SignedIn, password: str | None, code: str | None
) -> str:
    """A ticket for `start`, good for minutes. Raises what `step_up` raises."""
    await step_up(parts, request, who, password, code)
    return await begun.begin(parts.database, "connect", begun.AT_HAND, user_id=str(who.user_id))


async def disconnect(
    parts: Parts, request: Request, who: SignedIn, identity_id: UUID, password: str | None, code: str | None
) -> None:
    """It signs nobody in from now on. Raises NotFound, Conflict where it is the only way in, and what
    `step_up` raises."""
    user = await step_up(parts, request, who, password, code)
    async with parts.database.as_user(who.user_id) as session:
        await lock(session, user.id)
        issuer = await session.scalar(
            delete(ProviderIdentity)
            .where(ProviderIdentity.id == identity_id)
            .returning(ProviderIdentity.issuer)
        )
        if issuer is None:
            raise NotFound
        await check_way_in(parts, session, user)
        await note(session, who.user_id, "provider_disconnected", urlsplit(issuer).netloc)


@router.get("/account/identities")
async def list_identities(session: Transaction, parts: AllParts) -> IdentitiesOut:
    """Who you are at the identity provider of this installation. Connecting is done on the account's page."""
    return IdentitiesOut(
        provider=provider_of(parts.settings),
        identities=[
            IdentityOut(
                id=row.id, issuer=row.issuer, email=row.email, created_at=row.created_at,
                last_used_at=row.last_used_at,
            )
            for row in await find(session)
        ],
    )  # fmt: skip


@router.delete("/account/identities/{identityId}")
async def delete_identity(
    identityId: str, body: ProofBody, request: Request, who: Seller, parts: AllParts
) -> Done:
    """Disconnects it. 409 where it is the only way by which you sign in."""
    await disconnect(parts, request, who, as_id(identityId), body.password, body.code)
    return Done(message="That identity signs nobody in any more.")
