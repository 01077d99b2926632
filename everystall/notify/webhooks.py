"""Signing and sending one message, as Standard Webhooks says (https://www.standardwebhooks.com).

The address is a stranger's word. It is resolved once, each answer is checked, and the connection goes to an
address that was checked; no redirect is followed, no cookie is kept, no proxy is used, and nothing of the
answer is read but its status. Addresses and secrets are never logged: an address may hold a token.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from ssrfguard import Policy, Resolver, SSRFGuardError
from ssrfguard.httpx import AsyncSafeTransport
from standardwebhooks import Webhook

from everystall import __version__
from everystall.errors import WebhookRefused
from everystall.settings import Settings
from everystall.vault.sessions import Vault

#: Seconds for all of it, from the name's look-up to the answer's status.
TIMEOUT_SECONDS = 10.0
SECRET_BYTES = 32
PREFIX = "whsec_"
LONGEST_URL = 2000
#: `disabled_why` of an endpoint that its seller paused.
PAUSED = "paused"
#: The Internet: no private, loopback, link-local or otherwise special address; ports 80 and 443.
PUBLIC = Policy(allowed_schemes=frozenset({"https"}))
#: The same and this machine and its network (never link-local: that is where clouds keep their secrets).
NEARBY = Policy(
    allowed_networks=(
        "127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",
    ),  # type: ignore[arg-type]  # texts are taken too
    allowed_ports=frozenset(range(1, 65536)),
    on_partial_block="drop",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of one try: the status that was answered, or a word for why there was none."""

    status: int | None
    #: status · redirect · refused_address · unreachable · timeout · broken · not_signed; of a channel also
    #: gone · not_taken · unusable · no_server · server_near
    error: str | None

    @property
    def delivered(self) -> bool:
        return self.error is None


def policy_of(settings: Settings) -> Policy:
    """Where sellers' webhooks may lead."""
    return NEARBY if settings.webhook_allow_private else PUBLIC


def check_url(url: str, policy: Policy) -> None:
    """Raises WebhookRefused for an address that we would never send to; asks no name server."""
    if len(url) > LONGEST_URL:
        raise WebhookRefused(f"The address is longer than {LONGEST_URL} characters.")
    try:
        policy.check_url(url)
    except (SSRFGuardError, ValueError):
        raise WebhookRefused(_said_of(url, policy)) from None


def _said_of(url: str, policy: Policy) -> str:
    """What is wrong with an address as it is written, for whoever typed it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if not parts.scheme or not parts.hostname:
        return "That is not an address as https://shop.example.com/hook."
    if parts.scheme not in policy.allowed_schemes:
        return f"We send by {' or '.join(sorted(policy.allowed_schemes))} only."
    if "@" in parts.netloc:
        return "There is a name or a password in it, before the @; take it out."
    if port is not None and port not in policy.allowed_ports:
        few = len(policy.allowed_ports) < 10
        ports = " and ".join(map(str, sorted(policy.allowed_ports))) if few else "1 to 65535"
        return f"We send to the ports {ports} only."
    host = parts.hostname[:80]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return f"{host} is not the name of a host."
    return f"We do not send to {host}: it is this machine's, a private network's or set apart."


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def shown(secret: bytes) -> str:
    """A secret as people and libraries take it: `whsec_` and base64."""
    return PREFIX + base64.b64encode(secret).decode()


def operator_secrets(settings: Settings, vault: Vault) -> list[str]:
    """What signs job.finished for the operator's back end, and what our own receiver accepts: the first
    signs. WEBHOOK_SECRET, else made of the key ring, of which worker and web hold the same."""
    if settings.webhook_secret is not None:
        return [settings.webhook_secret.get_secret_value()]
    return [shown(key) for key in vault.subkeys("webhook")]


def message_id(delivery_id: UUID) -> str:
    return f"msg_{delivery_id.hex}"


def body_of(type: str, created_at: datetime, data: dict[str, Any]) -> str:
    """The message, the same at each try."""
    at = created_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps(
        {"type": type, "timestamp": at, "data": data}, ensure_ascii=False, separators=(",", ":")
    )


def sign(id: str, at: datetime, body: str, with_secrets: Sequence[str | bytes]) -> dict[str, str]:
    """The three headers; one signature per secret."""
    at = at.astimezone(UTC)  # the library takes the clock's face for UTC
    signatures = [Webhook(secret).sign(id, at, body) for secret in with_secrets]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


class Sender:
    """Sends to addresses that the policy allows. `resolver` stands in for socket.getaddrinfo; `timeout` is in
    seconds."""

    def __init__(
        self, policy: Policy, *, resolver: Resolver | None = None, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self._timeout = timeout
        self._transport = AsyncSafeTransport(
            policy=policy, resolver=resolver, limits=httpx.Limits(max_keepalive_connections=0)
        )

    async def send(self, url: str, headers: dict[str, str], body: str | bytes) -> Outcome:
        """One POST. Raises nothing: whatever goes wrong is an outcome."""
        try:
            request = httpx.Request(
                "POST",
                url,
                content=body.encode() if isinstance(body, str) else body,
                headers={
                    "content-type": "application/json",
                    "user-agent": f"Everystall/{__version__}",
                    "accept-encoding": "identity",
                    **headers,
                },
                extensions={"timeout": httpx.Timeout(self._timeout).as_dict()},
            )
            async with asyncio.timeout(self._timeout):
                answer = await self._transport.handle_async_request(request)
                await answer.aclose()  # unread, however long it is
        except SSRFGuardError:
            return Outcome(None, "refused_address")
        except (TimeoutError, httpx.TimeoutException):
            return Outcome(None, "timeout")
        except (httpx.ConnectError, OSError):
            return Outcome(None, "unreachable")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return Outcome(None, "broken")
        if 200 <= answer.status_code < 300:
            return Outcome(answer.status_code, None)
        return Outcome(answer.status_code, "redirect" if 300 <= answer.status_code < 400 else "status")

    async def close(self) -> None:
        await self._transport.aclose()
