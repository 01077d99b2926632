"""The operator's identity provider (OpenID Connect), as this process knows it: the code flow with
PKCE, by authlib.

Nothing that it sends is believed before it was looked at: what it says of itself, who signed the ID token,
for whom, until when, and for which sign-in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import structlog

from everystall.errors import ProviderRefused
from everystall.settings import Settings
from everystall.web.signing_keys import KEPT, WAIT, SigningKeys, away, fetch

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import AsyncOAuth2Client

log = structlog.get_logger()

#: Where the provider sends a browser back to.
BACK: Final = "/sign-in/provider/back"
#: What an ID token may be signed by: keys of which we know the public half only.
ALGORITHMS: Final = ("RS256", "PS256", "ES256")
#: Seconds that its clock and ours may be apart.
_LEEWAY: Final = 60
_LARGEST: Final = 1_000_000


@dataclass(frozen=True)
class Known:
    """Who the provider says it is."""

    subject: str
    #: None: it has none, or did not verify it.
    email: str | None


def provider_of(settings: Settings) -> str | None:
    """What people know it by: the issuer's host."""
    return urlsplit(settings.oidc_issuer).netloc if settings.oidc_issuer else None


class Provider:
    """The identity provider of one process: what it says of itself, and its keys."""

    def __init__(self) -> None:
        self._said: Mapping[str, Any] | None = None
        self._said_at = 0.0
        self._keys = SigningKeys()
        self._turn = asyncio.Lock()

    async def address(self, settings: Settings, *, state: str, nonce: str, verifier: str) -> str:
        """Where the browser goes. Raises ProviderAway."""
        said = await self._metadata(settings)
        async with self._client(settings, said) as client:
            url, _ = client.create_authorization_url(
                said["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
            )
        return str(url)

    async def known(self, settings: Settings, code: str, *, nonce: str, verifier: str) -> Known:
        """Who came back with this code. Raises ProviderRefused, ProviderAway."""
        from authlib.common.errors import AuthlibBaseError

        said = await self._metadata(settings)
        try:
            async with self._client(settings, said) as client:
                token = await client.fetch_token(
                    said["token_endpoint"], grant_type="authorization_code", code=code, code_verifier=verifier
                )
        except AuthlibBaseError as e:
            raise _refused("token", e) from None
        except Exception as e:  # of the network, of what was no JSON; by classes of a client that is not ours
            raise away("token", e) from None
        claims = await self._claims(settings, said, token, nonce)
        email = claims.get("email") if claims.get("email_verified") is True else None
        return Known(str(claims["sub"]), email if isinstance(email, str) else None)

    async def _claims(
        self, settings: Settings, said: Mapping[str, Any], token: Mapping[str, Any], nonce: str
    ) -> Mapping[str, Any]:
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError

        given = token.get("id_token")
        if not isinstance(given, str) or len(given) > _LARGEST:
            raise _refused("token", ValueError("no ID token"))
        for again in (False, True):
            keys = await self._keys.get(str(said["jwks_uri"]), again=again)
            try:
                decoded = jwt.decode(given, keys, algorithms=list(ALGORITHMS))
                claims = CodeIDToken(
                    decoded.claims,
                    decoded.header,
                    options={
                        "iss": {"essential": True, "value": settings.oidc_issuer},
                        "aud": {"essential": True, "value": settings.oidc_client_id},
                        "exp": {"essential": True},
                        "sub": {"essential": True},
                    },
                    params={
                        "nonce": nonce,
                        "client_id": settings.oidc_client_id,
                        "access_token": token.get("access_token"),
                    },
                )
                claims.validate(leeway=_LEEWAY)
            except (JoseError, ValueError, TypeError) as e:
                # a key may be new since we asked
                if again or not isinstance(e, InvalidKeyIdError | BadSignatureError):
                    raise _refused("ID token", e) from None
                continue
            if not 0 < len(claims["sub"]) <= 255:
                raise _refused("ID token", ValueError("subject"))
            return dict(claims)
        raise AssertionError

    async def _metadata(self, settings: Settings) -> Mapping[str, Any]:
        async with self._turn:
            if self._said is None or time.monotonic() - self._said_at > KEPT:
                issuer = str(settings.oidc_issuer)
                said = await fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
                if said.get("issuer") != issuer:
                    raise away("discovery", ValueError("it calls itself otherwise than OIDC_ISSUER says"))
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    if not _safe(said.get(name), issuer):
                        raise away("discovery", ValueError(name))
                self._said, self._said_at = said, time.monotonic()
            return self._said

    @staticmethod
    def _client(settings: Settings, said: Mapping[str, Any]) -> AsyncOAuth2Client:
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        secret = settings.oidc_client_secret
        ways = said.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        basic = "client_secret_basic" if "client_secret_basic" in ways else "client_secret_post"
        return AsyncOAuth2Client(
            settings.oidc_client_id,
            secret.get_secret_value() if secret is not None else None,
            token_endpoint_auth_method=basic if secret is not None else "none",
            scope="openid email",
            redirect_uri=settings.address + BACK,
            code_challenge_method="S256",
            timeout=WAIT,
        )


def _safe(address: object, issuer: str) -> bool:
    """https, or where the issuer is itself plain: on this machine."""
    return isinstance(address, str) and address.startswith(
        ("https://",) if issuer.startswith("https://") else ("https://", "http://")
    )


def _refused(where: str, error: Exception) -> ProviderRefused:
    log.warning("provider.refused", at=where, error=type(error).__name__)
    return ProviderRefused()
