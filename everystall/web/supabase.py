"""The people of a Supabase project, who come with the access tokens of its Auth (docs/supabase.md).

A token is believed only if the project signed it, for a person who is signed in, and it is not over. What
opens the project to programs (`anon`, `service_role`) is nobody's here, whoever signed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog

from everystall.errors import BadRequest, Conflict, EverystallError, NotAllowed, Unauthenticated
from everystall.settings import Settings
from everystall.web.signing_keys import SigningKeys
from everystall.web.tokens import checked_email

if TYPE_CHECKING:
    from joserfc.jwt import Token

log = structlog.get_logger()

#: By its signing keys, of which we know the public half only; by its legacy secret. Never both: a public key
#: that is taken for a secret is one that everybody has.
BY_KEYS: Final = ("ES256", "RS256")
BY_SECRET: Final = ("HS256",)
#: What a person's token is for, and the role in which it is used.
PERSON: Final = "authenticated"
#: Seconds that its clock and ours may be apart; letters of a token.
_LEEWAY, _LONGEST = 10, 12_000


@dataclass(frozen=True)
class Person:
    id: UUID
    #: As it was when the token was made. Whether it was ever confirmed is for the project to see to.
    email: str | None
    #: Of the sign-in that the token is from, and when that was, where the token tells.
    session_id: UUID
    signed_in_at: datetime | None


class Supabase:
    """The project's Auth, as one web process knows it."""

    def __init__(self) -> None:
        self._keys = SigningKeys()

    async def known(self, settings: Settings, token: str) -> Person:
        """Whose token it is. Raises Unauthenticated, ProviderAway; NotAllowed for who is anonymous there."""
        from joserfc.errors import JoseError
        from joserfc.jwt import JWTClaimsRegistry

        issuer = f"{settings.supabase_url}/auth/v1"
        try:
            claims = (await self._opened(settings, issuer, token)).claims
            if claims.get("role") != PERSON:
                raise _refused(
                    "a key of the project",
                    "That is a key of the Supabase project, and nobody's access token.",
                )
            JWTClaimsRegistry(
                leeway=_LEEWAY,
                iss={"essential": True, "value": issuer},
                aud={"essential": True, "value": PERSON},
                exp={"essential": True},
                sub={"essential": True},
            ).validate(claims)
            if claims.get("is_anonymous"):
                raise NotAllowed("You are anonymous there.", action="Sign up with an e-mail address first.")
            return Person(
                UUID(claims["sub"]), _email(claims), UUID(claims["session_id"]), _signed_in_at(claims)
            )
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError) as e:
            raise _refused(type(e).__name__) from None

    async def _opened(self, settings: Settings, issuer: str, token: str) -> Token:
        from joserfc import jwt
        from joserfc.errors import BadSignatureError, InvalidKeyIdError
        from joserfc.jwk import OctKey

        if len(token) > _LONGEST:
            raise ValueError("it is too long")
        if settings.supabase_jwt_secret is not None:
            secret = OctKey.import_key(settings.supabase_jwt_secret.get_secret_value())
            return jwt.decode(token, secret, algorithms=list(BY_SECRET))
        where = f"{issuer}/.well-known/jwks.json"
        keys = await self._keys.get(where, again=False)
        try:
            return jwt.decode(token, keys, algorithms=list(BY_KEYS))
        except (InvalidKeyIdError, BadSignatureError):  # a key may be new since we asked
            return jwt.decode(token, await self._keys.get(where, again=True), algorithms=list(BY_KEYS))


def stranger(person: Person) -> EverystallError:
    """What is said to who is known there, and gets no account here."""
    if person.email is None:
        return NotAllowed(
            "Supabase knows no e-mail address of yours, and an account here has one.",
            action="Add one to your account there, and come with a new token.",
        )
    return Conflict(
        f"{person.email} has an account here already, which is not the one of Supabase.",
        action="Whoever has it signs in with its password; the owner of this installation can remove it.",
    )


def _email(claims: Mapping[str, Any]) -> str | None:
    try:
        return checked_email(claims.get("email") or "")
    except BadRequest:
        return None


def _signed_in_at(claims: Mapping[str, Any]) -> datetime | None:
    """Of `amr`: a token that was made anew keeps the time at which its person gave a password, say."""
    said = (each for each in claims.get("amr") or () if isinstance(each, Mapping))  # a hook may make it words
    times = [float(each["timestamp"]) for each in said]
    return datetime.fromtimestamp(max(times), UTC) if times else None


def _refused(
    why: str, message: str = "This access token is not good: over, or not of this project."
) -> Unauthenticated:
    log.info("supabase.refused", why=why)
    return Unauthenticated(
        message, action="Send `Authorization: Bearer` with the access token of who is signed in."
    )
