"""Photos at addresses that a file names.

An address is a stranger's word. It is resolved once, each answer is checked, and the connection goes to an
address that was checked; where it leads on to is checked the same. No cookie is kept and no proxy is used.
Addresses are never logged: one may hold a token.
"""

from __future__ import annotations

import asyncio

import httpx
from ssrfguard import Policy, Resolver, SSRFGuardError
from ssrfguard.httpx import AsyncSafeTransport

from everystall import __version__
from everystall.content.photos import MAX_BYTES
from everystall.errors import PhotoRefused

#: Seconds for one photo, from the name's look-up to its last byte.
TIMEOUT_SECONDS = 20.0
#: Addresses that one photo may lead on to.
REDIRECTS = 3
#: The Internet, by http or https: no private, loopback, link-local or otherwise special address; ports 80 and
#: 443.
PUBLIC = Policy()


class Fetcher:
    """Fetches from addresses that the policy allows. `resolver` stands in for socket.getaddrinfo; `timeout`
    is in seconds. `close()` when done."""

    def __init__(
        self, policy: Policy = PUBLIC, *, resolver: Resolver | None = None, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self._timeout = timeout
        self._transport = AsyncSafeTransport(
            policy=policy, resolver=resolver, limits=httpx.Limits(max_keepalive_connections=0)
        )

    async def fetch(self, url: str) -> bytes:
        """At most MAX_BYTES; whether they are a photo is for Photos.put to say. Raises PhotoRefused, in
        words that do not repeat the address."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._follow(url)
        except SSRFGuardError:
            raise PhotoRefused(
                "Only public addresses are asked, by http or https at their usual ports."
            ) from None
        except (TimeoutError, httpx.TimeoutException):
            raise PhotoRefused(f"It did not come within {self._timeout:.0f} seconds.") from None
        except (httpx.ConnectError, OSError):
            raise PhotoRefused("Nobody is reached there.") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            raise PhotoRefused("There is no answer that can be read.") from None

    async def _follow(self, url: str) -> bytes:
        for _ in range(REDIRECTS + 1):
            request = httpx.Request(
                "GET",
                url,
                headers={"user-agent": f"Everystall/{__version__}", "accept-encoding": "identity"},
                extensions={"timeout": httpx.Timeout(self._timeout).as_dict()},
            )
            answer = await self._transport.handle_async_request(request)
            try:
                if not answer.has_redirect_location:
                    return await _read(answer)
            finally:
                await answer.aclose()
            url = str(request.url.join(answer.headers["location"]))
        raise PhotoRefused("It leads from one address to the next.")

    async def close(self) -> None:
        await self._transport.aclose()


async def _read(answer: httpx.Response) -> bytes:
    if answer.status_code != 200:
        raise PhotoRefused(f"It answered {answer.status_code}.")
    found = bytearray()
    async for piece in answer.aiter_raw():  # as it was sent: what is packed may be a bomb
        found += piece
        if len(found) > MAX_BYTES:
            raise PhotoRefused(f"It has more than {MAX_BYTES // 1_000_000} MB.")
    return bytes(found)
