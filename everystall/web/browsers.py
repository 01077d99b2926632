"""Signed-in browsers: a cookie of 256 random bits, a row of api_tokens, and the proof that a request with
that cookie was made by one of our own pages.

A cookie is sent by the browser whoever wrote the page, so it is never enough for a request that changes
something; and it is never looked at in a request of an extension.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import Response

from everystall.errors import CrossSite
from everystall.models import ApiToken
from everystall.settings import Settings
from everystall.web.tokens import hash_of

#: Signed in at most so long; without a visit for 14 days it ends before (everystall.sign_in).
DAYS: Final = 60
#: Requests that change nothing.
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: Up to 10 GB: nothing of it is read before it is known to be from our own page.
_LARGE: Final = "/api/imports/archive"
_EXTENSION = re.compile(r"(chrome|moz)-extension://[A-Za-z0-9-]+")
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrom", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"),
            ("Mac OS", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux"))  # fmt: skip


# ---- the cookie -----------------------------------------------------------------------------------


def cookie_name(settings: Settings) -> str:
    """`__Host-`: browsers take it with Secure and Path=/ only, and from no other host. Below a path of a host
    it is sent to nothing else there, which that name forbids."""
    if not settings.secure_cookies:
        return "everystall"
    return "__Secure-everystall" if settings.everystall_root_path else "__Host-everystall"


def give_cookie(response: Response, settings: Settings, token: str) -> None:
    response.set_cookie(
        cookie_name(settings), token, max_age=DAYS * 86_400,
        path=settings.everystall_root_path or "/",
        secure=settings.secure_cookies, httponly=True, samesite="lax",
    )  # fmt: skip


def take_cookie(response: Response, settings: Settings) -> None:
    response.delete_cookie(
        cookie_name(settings),
        path=settings.everystall_root_path or "/",
        secure=settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )


def cookie_of(headers: Headers, settings: Settings) -> str | None:
    """The browser's token; never that of a request which an extension made."""
    if is_extension(headers.get("origin")):
        return None
    cookies: Mapping[str, str] = cookie_parser(headers.get("cookie", ""))
    return cookies.get(cookie_name(settings)) or None


def credential_of(headers: Headers, settings: Settings) -> str | None:
    """What a request says it is known by: the bearer token, else the cookie."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else cookie_of(headers, settings)


def is_extension(origin: str | None) -> bool:
    """Whether a request's Origin is a browser extension's."""
    return origin is not None and _EXTENSION.fullmatch(origin) is not None


# ---- the session ----------------------------------------------------------------------------------


async def open_browser(
    session: AsyncSession, user_id: UUID, user_agent: str | None, *, instead_of: str | None = None
) -> tuple[str, UUID]:
    """Signs a browser in: its new cookie's value and the row's id. The one that it came with is over."""
    if instead_of is not None:
        await close_browser(session, token=instead_of)
    token = secrets.token_urlsafe(32)
    row = ApiToken(
        user_id=user_id,
        kind="browser",
        name=name_of(user_agent),
        user_agent=_plain(user_agent),
        token_hash=hash_of(token),
        expires_at=datetime.now(UTC) + timedelta(days=DAYS),
    )
    session.add(row)
    await session.flush()
    return token, row.id


async def close_browser(session: AsyncSession, *, token: str) -> None:
    """Signs out whoever has this cookie, if it is this seller's."""
    await session.execute(
        delete(ApiToken).where(ApiToken.kind == "browser", ApiToken.token_hash == hash_of(token))
    )


def name_of(user_agent: str | None) -> str:
    """What a person calls it: "Firefox on Linux"."""
    said = user_agent or ""
    browser = next((name for word, name in _BROWSERS if word in said), "A browser")
    system = next((name for word, name in _SYSTEMS if word in said), None)
    return f"{browser} on {system}" if system else browser


def _plain(user_agent: str | None) -> str | None:
    return "".join(c for c in user_agent if " " <= c <= "~")[:500] if user_agent else None


# ---- made by one of our own pages ------------------------------------------------------------------


def csrf_token(key: bytes, token_id: UUID) -> str:
    """What our pages send back with a form: bound to the signed-in browser, worth nothing in another."""
    return hmac.new(key, token_id.bytes, hashlib.sha256).hexdigest()


def masked(token: str) -> str:
    """The same, otherwise each time: a page that holds it may be packed, and how well it packs says nothing
    of it (BREACH)."""
    mask = secrets.token_bytes(len(token) // 2)
    return mask.hex() + _crossed(mask, bytes.fromhex(token))


def _unmasked(given: str) -> str:
    """What `masked` was given; a token that came as it is stays so."""
    half = len(given) // 2
    if not re.fullmatch(r"[0-9a-f]{128}", given):
        return given
    return _crossed(bytes.fromhex(given[:half]), bytes.fromhex(given[half:]))


def _crossed(one: bytes, other: bytes) -> str:
    return bytes(a ^ b for a, b in zip(one, other, strict=True)).hex()


async def check_csrf(request: Request, settings: Settings, key: bytes, token_id: UUID) -> None:
    """For requests that change something and came with a cookie. Raises CrossSite."""
    check_own_page(request.headers, settings)
    given: object = request.headers.get("x-csrf-token")
    is_form = request.headers.get("content-type", "").startswith(
        ("application/x-www-form-urlencoded", "multipart/form-data")
    )
    if given is None and is_form and request.url.path != _LARGE:
        given = (await request.form()).get("csrf")
    good = csrf_token(key, token_id)
    if not isinstance(given, str) or not hmac.compare_digest(_unmasked(given).encode(), good.encode()):
        await request.close()  # files of its form, if that was read
        raise CrossSite


def check_own_page(headers: Headers, settings: Settings) -> None:
    """Raises CrossSite unless the browser says that the request is same-origin, or typed by the user.
    Browsers that do not say (old ones, and all over plain http) must name the origin or the page."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise CrossSite
        return
    try:
        origin = urlsplit(headers.get("origin") or headers.get("referer") or "")
    except ValueError:
        raise CrossSite from None
    own = {headers.get("host", "").lower(), urlsplit(settings.public_url).netloc}
    if origin.scheme not in ("http", "https") or not origin.netloc or origin.netloc.lower() not in own:
        raise CrossSite


def same_site_path(path: str | None) -> str:
    """Where to go on after signing in: a path of ours, else the start page. `//host` and `/\\host` are
    another site's to a browser."""
    if path is None or not path.startswith("/") or path[1:2] in ("/", "\\"):
        return "/"
    if len(path) > 2000 or any(c <= " " or c == "\x7f" or c == "\\" for c in path):
        return "/"
    return path
