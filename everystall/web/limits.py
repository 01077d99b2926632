"""How often one may ask, per kind of request: guessing stays slow, and one's flood is not another's wait.

Moving windows, counted in this process's memory, or in Redis where several webs run (REDIS_URL). Who has not
proven who they are is counted by network, an account by its id. Tries at a password or a pairing code are
counted in PostgreSQL besides: that is what holds, this keeps it cheap.
"""

from __future__ import annotations

import ipaddress
import math
import re
import time
from collections import deque
from typing import Final

import structlog
from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter as RedisWindows
from limits.errors import StorageError
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from everystall.errors import RateLimited
from everystall.settings import Settings
from everystall.web import browsers
from everystall.web.answers import answer
from everystall.web.tokens import hash_of

log = structlog.get_logger()

#: Per minute. Each is far more than a person needs (docs/api.md tells them).
LOG_IN: Final = RateLimitItemPerMinute(20, namespace="log-in")
#: Two of them pair a browser; an office behind one address pairs many on one morning. A code dies after five
#: tries whoever makes them.
PAIRING: Final = RateLimitItemPerMinute(30, namespace="pairing")
UPLOAD: Final = RateLimitItemPerMinute(120, namespace="session-upload")
IMPORT: Final = RateLimitItemPerMinute(20, namespace="import")
WEBHOOK: Final = RateLimitItemPerMinute(600, namespace="webhook")
#: Sale mails: of one seller; one sender may bring those of many.
MAIL: Final = RateLimitItemPerMinute(60, namespace="mail")
MAILS: Final = RateLimitItemPerMinute(600, namespace="mails")
#: Mails that ask whether an address is to be written to.
LETTER: Final = RateLimitItemPerMinute(5, namespace="letter")
#: The same of whoever would get them, and per day: a mailbox is nobody's to fill, from however many accounts.
LETTERS_TO: Final = RateLimitItemPerDay(10, namespace="letters-to")
EVERYTHING: Final = RateLimitItemPerMinute(3000, namespace="everything")
#: Per second, for all networks together: guessers from many share what is looked up, and nobody's request
#: waits behind more than these.
PAIRINGS: Final = RateLimitItemPerSecond(10, namespace="pairings")

#: Before anybody is known, counted by network: method, path, budget.
_BY_NETWORK = (
    (
        "POST",
        re.compile(
            r"/sign-in(/code)?|/first|/invitation|/api/sign-in(/passkey/options)?|/api/account/password"
            r"|/account/password|/account/delete|/account/sign-in/.+"
            r"|/api/account/(second-factor|passkeys)(/.+)?"
        ),
        LOG_IN,
    ),
    # what comes back of one that was not begun costs one look
    ("GET", re.compile(r"/sign-in/provider"), LOG_IN),
    ("DELETE", re.compile(r"/api/account(/second-factor|/passkeys/[^/]+|/identities/[^/]+)?"), LOG_IN),
    ("POST", re.compile(r"/api/pairings/(look|accept)"), PAIRING),
    ("POST", re.compile(r"/api/jobs/webhook"), WEBHOOK),
    ("POST", re.compile(r"/api/hints/mail/[^/]+"), MAILS),
)
#: What costs more than the rest, counted by account.
_BY_ACCOUNT = {
    "/api/sessions/sync": UPLOAD,
    "/api/imports": IMPORT,
    "/api/imports/archive": IMPORT,
    "/inventory/import/file": IMPORT,
}
#: They cost nothing, and a health check shall not fail for somebody's flood.
_FREE = re.compile(r"/healthz|/static/.*")
#: Tokens that were good lately; more, and we begin anew.
_MOST_KNOWN = 100_000
#: Networks and accounts that are counted; of more, who has not asked for longest begins anew.
_MOST_COUNTED = 100_000


#: Seconds that a Redis which did not answer is not asked, and then by one: one that hangs costs a request now
#: and then a second, and not each.
REDIS_REST: Final = 5.0


class Windows:
    """Moving windows in memory. (Those of `limits` start a thread in every hundredth of a second in which
    anybody asks; it walks through all who ever asked, and forgets none.)"""

    def __init__(self) -> None:
        self._times: dict[tuple[str, str], deque[float]] = {}

    def wait(self, budget: RateLimitItem, who: str) -> float:
        """0 for a request that is counted now, else the seconds until one may be."""
        now, key = time.monotonic(), (budget.namespace, who)
        # as many of the latest as may be in one window: a new one pushes out one that is over
        times = self._times.pop(key, None) or deque(maxlen=budget.amount)
        self._times[key] = times  # at the end
        if len(self._times) > _MOST_COUNTED:
            del self._times[next(iter(self._times))]
        if len(times) == budget.amount and (left := times[0] + budget.get_expiry() - now) > 0:
            return left
        times.append(now)
        return 0


class Limits:
    """The windows of one process. `redis_url`: counted there, and here while it does not answer."""

    def __init__(self, redis_url: SecretStr | None = None) -> None:
        self._memory = Windows()
        self._redis: RedisWindows | None = None
        if redis_url is not None:
            storage = RedisStorage(
                f"async+{redis_url.get_secret_value()}",
                implementation="redispy",
                wrap_exceptions=True,
                socket_connect_timeout=1.0,
                socket_timeout=1.0,
            )
            self._redis = RedisWindows(storage)
        self._redis_away_until = 0.0
        self._known: set[bytes] = set()

    async def spend(self, budget: RateLimitItem, who: str) -> None:
        """Counts one request. Raises RateLimited with the seconds to wait."""
        if self._redis is not None and time.monotonic() >= self._redis_away_until:
            if self._redis_away_until:  # who asks whether it is back asks alone
                self._redis_away_until = time.monotonic() + REDIS_REST
            try:
                hit = await self._redis.hit(budget, who)
                self._redis_away_until = 0.0
                if hit:
                    return
                reset = (await self._redis.get_window_stats(budget, who)).reset_time
                raise _limited(reset - time.time())
            except (OSError, StorageError) as e:
                self._redis_away_until = time.monotonic() + REDIS_REST
                log.warning("limits.redis_away", error=type(e).__name__)
        if (wait := self._memory.wait(budget, who)) > 0:
            raise _limited(wait)

    def remember(self, token: str, good: bool) -> None:
        """Whether a token or a cookie was good just now: requests with a good one count for the account
        and not for the network that they come from."""
        if not good:
            self._known.discard(hash_of(token))
            return
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add(hash_of(token))

    def knows(self, token: str | None) -> bool:
        return token is not None and hash_of(token) in self._known


def budget_of(path: str) -> RateLimitItem:
    """What a signed-in account's request counts for."""
    return _BY_ACCOUNT.get(path.rstrip("/"), EVERYTHING)


def network_of(host: str | None) -> str:
    """What of an address stands for whoever has it: /24 of IPv4, /56 of IPv6."""
    try:
        address = ipaddress.ip_address((host or "").split("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    length = 24 if address.version == 4 else 56
    return str(ipaddress.ip_network((address, length), strict=False))


def asked_from(scope: Scope) -> str:
    """The network that a request comes from."""
    client = scope.get("client")
    return network_of(client[0] if client else None)


class Limited:
    """Plain ASGI: refuses what is too much before anything is read, hashed or asked of the database."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limits: Limits = scope["app"].state.parts.limits
        if (budget := self._budget(scope, limits)) is not None:
            try:
                await limits.spend(budget, asked_from(scope))
                if budget is PAIRING:
                    await limits.spend(PAIRINGS, "all networks")
            except RateLimited as e:
                await answer(e, Request(scope))(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _budget(self, scope: Scope, limits: Limits) -> RateLimitItem | None:
        path = scope["path"].rstrip("/") or "/"
        for method, pattern, budget in _BY_NETWORK:
            if scope["method"] == method and pattern.fullmatch(path):
                return budget
        if _FREE.fullmatch(path):
            return None
        token = browsers.credential_of(Headers(scope=scope), self.settings)
        return None if limits.knows(token) else EVERYTHING


def _limited(seconds: float) -> RateLimited:
    return RateLimited(retry_after=max(1, math.ceil(seconds)))
