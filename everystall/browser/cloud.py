"""A browser of a visit's own at Browser Use Cloud (BROWSER_USE_API_KEY): hired before the visit, given back
after it. Its API is spoken as version 3 of their documents has it (docs.browser-use.com/cloud/api-v3).

What is in it (sign-ins, photos) is at that company meanwhile. The key and the browser's address, by which it
can be driven, are never shown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx
import structlog

from everystall.errors import Misconfigured
from everystall.settings import Settings

log = structlog.get_logger()

#: After which the browser ends by itself: a visit is 15 at most, and its last step.
MINUTES = 30
#: Seconds for an answer; they start a browser for it.
SECONDS = 30.0


@asynccontextmanager
async def hired(settings: Settings) -> AsyncIterator[str]:
    """Its DevTools address. Raises Misconfigured, OSError: there is none this time."""
    async with _client(settings) as client:
        made = await _ask(client, "POST", "/browsers", json={"timeout": MINUTES})
        id, address = made.get("id"), made.get("cdpUrl")
        log.info("cloud.hired", id=id)
        try:
            if not address:
                raise OSError("Browser Use Cloud names no address of the browser.")
            yield str(address)
        finally:
            await _give_back(client, str(id))


async def check(settings: Settings) -> None:
    """Whether the key is good; hires none. Raises Misconfigured."""
    async with _client(settings) as client:
        try:
            await _ask(client, "GET", "/browsers")
        except OSError as e:
            raise Misconfigured(
                f"Browser Use Cloud does not answer as it should: {e}",
                action="Look whether this machine reaches it (BROWSER_USE_URL), and try again.",
            ) from None


async def _give_back(client: httpx.AsyncClient, id: str) -> None:
    """Twice; else it ends by itself, and is paid until then."""
    for _ in range(2):
        try:
            await _ask(client, "PATCH", f"/browsers/{id}", json={"action": "stop"})
        except (Misconfigured, OSError) as e:
            log.warning("cloud.not_given_back", id=id, why=str(e))
        else:
            return


async def _ask(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> dict[str, Any]:
    try:
        answer = await client.request(method, path, **more)
    except httpx.HTTPError as e:
        raise OSError(f"It cannot be reached ({type(e).__name__}).") from None
    if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN):
        raise Misconfigured(
            f"Browser Use Cloud does not let this key hire a browser ({answer.status_code}).",
            action="Look at BROWSER_USE_API_KEY, what the key may do, and the credit of the account.",
        )
    if not answer.is_success:
        raise OSError(f"It answers with {answer.status_code}.")
    try:
        said = answer.json()
    except ValueError:
        raise OSError("Its answer is not as documented.") from None
    return said if isinstance(said, dict) else {}


def _client(settings: Settings) -> httpx.AsyncClient:
    assert settings.browser_use_api_key is not None
    headers = {"X-Browser-Use-API-Key": settings.browser_use_api_key.get_secret_value()}
    return httpx.AsyncClient(
        base_url=settings.browser_use_url, headers=headers, timeout=SECONDS, trust_env=False
    )
