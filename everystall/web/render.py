"""Pages: templates filled in, whole or one block of them, and the files that go with them.

Everything is escaped; no template marks anything as safe. A page asks for no script, style, font or picture
of anybody else's, and holds no inline script or style.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import Headers
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from everystall import __version__
from everystall.errors import EverystallError, RateLimited
from everystall.marketplaces import MARKETPLACES, is_practice
from everystall.settings import Settings
from everystall.web.addresses import Addresses

FOLDER: Final = Path(__file__).parent / "static"
#: The cookie by which a browser remembers that its user wants it light or dark, whatever the system says.
THEME: Final = "theme"
THEMES: Final = ("auto", "light", "dark")
#: By this header an open page asks for one of its blocks (static/live.js).
PART: Final = "x-part"

API_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
PAGE_HEADERS: Final = {
    **API_HEADERS,
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types htmx everystall",
    "cross-origin-opener-policy": "same-origin",
    # with no-referrer a form says "Origin: null", and over plain http that is all that we would have
    "referrer-policy": "same-origin",
}

mimetypes.add_type("font/woff2", ".woff2")
mimetypes.add_type("text/javascript", ".js")


def headers_of(answer: Response | Mapping[str, str]) -> Mapping[str, str]:
    """What an answer with these headers must carry besides, by what it holds."""
    headers = answer.headers if isinstance(answer, Response) else answer
    return PAGE_HEADERS if headers.get("content-type", "").startswith("text/html") else API_HEADERS


# ---- templates -------------------------------------------------------------------------------------


@cache
def static(name: str) -> str:
    """The address of a file of static/, with a hash of what is in it: it may be kept for ever."""
    return f"/static/{name}?v={_version(FOLDER / name)}"


@cache
def _version(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def said_time(at: datetime) -> str:
    """ "25 Nov 2026, 23:40 UTC": what stands where no script says it in the reader's own words."""
    return f"{said_day(at)}, {at.astimezone(UTC):%H:%M} UTC"


def said_day(at: datetime) -> str:
    """ "25 Nov 2026": of a time of which only the day is known, that of UTC."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b %Y}"


def said_near(at: datetime, now: datetime | None = None) -> str:
    """ "3 minutes ago", "yesterday", "in 2 hours"; a day from a week on: as static/times.js says it, so that
    nothing on the page moves when that does."""
    seconds = (at - (now or datetime.now(UTC))).total_seconds()
    if abs(seconds) >= 7 * 86400:
        at = at.astimezone(UTC)
        return f"{at:%b} {at.day}, {at.year}"
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if abs(seconds) >= length:
            number = math.floor(abs(seconds) / length + 0.5)
            if (unit, number) == ("day", 1):
                return "tomorrow" if seconds > 0 else "yesterday"
            said = how_many(number, unit)
            return f"in {said}" if seconds > 0 else f"{said} ago"
    return "in less than a minute" if seconds > 0 else "just now"


def how_many(number: int, one: str, several: str | None = None) -> str:
    """ "1 listing", "3 listings" """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def said_size(size: int) -> str:
    """ "820 kB", "3.4 MB", "1.2 GB" """
    return next(f"{size / unit:.3g} {name}" for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
                if size >= unit or name == "kB")  # fmt: skip


_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("everystall.web"),
    autoescape=True,
    undefined=StrictUndefined,
    extensions=[Addresses],
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.globals.update(static=static, version=__version__)
_ENVIRONMENT.filters.update(
    said_time=said_time, said_day=said_day, said_near=said_near, how_many=how_many, said_size=said_size
)
# known to every template, and to a block that is filled in alone, where no import of its template has run
_ENVIRONMENT.globals.update(vars(_ENVIRONMENT.get_template("parts.html").module))


@dataclass(frozen=True)
class Reader:
    """Who is signed in, as far as every page shows it."""

    email: str
    role: str
    #: For the form field `csrf`.
    csrf: str


def on_practice(settings: Settings) -> bool:
    """Whether a marketplace here is a practice one: pages say so, and the extension for those knows no real
    one."""
    return any(is_practice(settings.base_url(name)) for name in MARKETPLACES)


def page(
    request: Request,
    name: str,
    *,
    reader: Reader | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """A template, filled in; of it only the block that the request asks for in X-Part, where it is one.

    Every template knows `reader` (None: signed out), `here` (the path), `theme`, by `insecure` that cookies
    go over plain http, and by `practice` that nothing here reaches a real marketplace.
    """
    template = _ENVIRONMENT.get_template(name)
    theme = request.cookies.get(THEME)
    settings = request.app.state.parts.settings
    known = {
        "reader": reader,
        "here": request.url.path,
        "theme": theme if theme in THEMES else "auto",
        "insecure": not settings.secure_cookies,
        "practice": on_practice(settings),
        "unread": 0,
        "needs": 0,  # where it is not counted; the open page asks (needs.html)
        **context,
    }
    block = request.headers.get(PART)
    if block in template.blocks:
        html = "".join(template.blocks[block](template.new_context(known)))
    else:
        html = template.render(known)
    return _answer(request, html, status, headers or {})


#: Smaller than a packet: packing it saves nothing.
_WORTHWHILE: Final = 1_400


def _answer(request: Request, html: str, status: int, headers: Mapping[str, str]) -> HTMLResponse:
    """Packed where one of our own pages, or the reader's own hand, asked for it. What another site made the
    browser ask for is not: by the size of what it put in, it could guess what stands beside it
    (docs/decisions/0016)."""
    varies = {"Vary": "X-Part, Accept-Encoding, Sec-Fetch-Site", **headers}
    own = request.headers.get("sec-fetch-site") in ("same-origin", "none")
    if not own or len(html) < _WORTHWHILE or "gzip" not in request.headers.get("accept-encoding", ""):
        return HTMLResponse(html, status, varies)
    # level 5: a tenth larger than the best, in a third of its time
    packed = gzip.compress(html.encode(), 5, mtime=0)
    return HTMLResponse(packed, status, {**varies, "Content-Encoding": "gzip"})


# ---- what goes wrong -------------------------------------------------------------------------------

#: What stands over an error, by status; the error itself says the rest.
_TITLES: Final = {
    400: "That cannot be done",
    403: "That is not allowed",
    404: "There is nothing here",
    405: "That cannot be done",
    409: "That cannot be done now",
    413: "That is too much",
    421: "Everystall has another address",
    422: "That cannot be done",
    429: "Too many requests",
    503: "The database does not answer",
    507: "There is no room left",
}
#: And by its code, where the status says too little.
_TITLES_BY_CODE: Final = {
    "invitation_unknown": "This link does not work any more",
    "pairing_unknown": "This code does not work any more",
}


def wants_page(request: Request) -> bool:
    """Whether a person in a browser asks, at the address of a page. Programs, and the API, get JSON."""
    path = request.url.path
    if path.startswith("/api/") and path != "/api/docs":
        return False
    return "text/html" in request.headers.get("accept", "")


def error_page(request: Request, error: EverystallError, status: int | None = None) -> HTMLResponse:
    """What happened and what to do next. Needs no database and no sign-in."""
    return page(
        request,
        "error.html",
        status=status or error.status,
        headers={"Retry-After": str(error.retry_after)} if isinstance(error, RateLimited) else None,
        shown_status=status or error.status,
        title=_TITLES_BY_CODE.get(error.code) or _TITLES.get(status or error.status, "Something went wrong"),
        error=error,
        again=request.url.path if request.method == "GET" else "/",
        at=datetime.now(UTC),
    )


# ---- files -----------------------------------------------------------------------------------------


#: Text that is sent packed.
_PACKED: Final = (".css", ".js", ".svg")


@cache
def _packed(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), mtime=0)


class Files(StaticFiles):
    """static/, kept by browsers for a year where the address names what is in it. (A newer version's page may
    ask an older web beside it for something else.)"""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    def file_response(
        self, full_path: Any, stat_result: Any, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        path = Path(full_path)
        packs = "gzip" in Headers(scope=scope).get("accept-encoding", "") and path.suffix in _PACKED
        if packs and isinstance(response, FileResponse):
            headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            headers |= {name: response.headers[name] for name in ("etag", "last-modified")}
            response = Response(_packed(path), media_type=response.media_type, headers=headers)
        version = f"v={_version(path)}".encode()
        named = scope["query_string"] == version or re.search(r"-\d+\.\d+\.\d+", path.name)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if named else "no-cache"
        return response
