"""One Chromium per visit, with the seller's own sign-in, inside the marketplace's walls.

The profile is a temporary folder only this user can read; it goes with the visit. Cookies and storage
reach the browser over its own pipe, never through a file, an argument or the environment. Languages and
time zone are no secret and are the whole browser's, frames and workers too: an argument, and TZ.

Walls: a top-level page may only be on the marketplace's own hosts; a pop-up that it opens is closed;
parts may come from anywhere and are recorded, except that a practice marketplace (*.localhost) reaches
nothing but this machine. Only documents are stopped and asked about, over CDP: a Playwright route would
stop every photo and script as well and switch off the cache, and redirects would pass it unseen.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import structlog
from playwright.async_api import (
    BrowserContext,
    CDPSession,
    Playwright,
    Request,
    Route,
    WebSocketRoute,
    async_playwright,
)
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page as RawPage

from everystall.browser import identity, remote
from everystall.browser.chromium import LAUNCH_ARGS, find_chromium
from everystall.browser.driver import starting
from everystall.browser.gate import Gate
from everystall.browser.guard import Deadline, Guard
from everystall.browser.page import Page, translated
from everystall.browser.targets import Site
from everystall.errors import Misconfigured, StorageFull
from everystall.settings import Settings

log = structlog.get_logger()

#: Bytes of a folder in which Chromium's socket still has a path that fits (107, of which its own part is 45).
MOST_TEMPORARY = 60
#: Marks a tab whose storage was filled in once, so that what the site rotates is not put back.
_FLAG = "__everystall_filled"
_SAME_SITE = {"lax": "Lax", "strict": "Strict", "none": "None", "no_restriction": "None"}


@dataclass(frozen=True)
class Storage:
    """A sign-in as it is sealed: cookies in Playwright's form, the base origin's storage, and what the
    seller's browser says of itself (where it did not say, ours speaks for itself)."""

    cookies: tuple[Mapping[str, Any], ...] = ()
    local: Mapping[str, str] = field(default_factory=dict)
    session: Mapping[str, str] = field(default_factory=dict)
    user_agent: str | None = None
    #: As navigator.languages, the preferred one first.
    languages: tuple[str, ...] = ()
    #: Its IANA name.
    time_zone: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Storage:
        """Takes the extension's cookies (chrome.cookies) and Playwright's alike."""
        cookies = sorted((_cookie(one) for one in data.get("cookies") or ()),
                         key=lambda one: (one["name"], one["domain"], one["path"]))  # fmt: skip
        local, session = dict(data.get("localStorage") or {}), dict(data.get("sessionStorage") or {})
        return cls(tuple(cookies), local, session, data.get("userAgent"),
                   tuple(data.get("languages") or ()), data.get("timeZone"))  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {
            "cookies": [dict(one) for one in self.cookies], "localStorage": dict(self.local),
            "sessionStorage": dict(self.session), "userAgent": self.user_agent,
            "languages": list(self.languages), "timeZone": self.time_zone,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"Storage({len(self.cookies)} cookies, ***)"


def _cookie(one: Mapping[str, Any]) -> dict[str, Any]:
    expires = one.get("expires", one.get("expirationDate"))
    domain = str(one["domain"])
    if one.get("hostOnly") is False and not domain.startswith("."):
        domain = "." + domain
    cookie: dict[str, Any] = {
        "name": str(one["name"]), "value": str(one["value"]), "domain": domain,
        "path": str(one.get("path") or "/"), "httpOnly": bool(one.get("httpOnly")),
        "secure": bool(one.get("secure")), "expires": -1 if expires in (None, -1) else int(float(expires)),
    }  # fmt: skip
    same_site = _SAME_SITE.get(str(one.get("sameSite", "")).lower())
    if same_site:
        cookie["sameSite"] = same_site
    partition = one.get("partitionKey")  # chrome.cookies: {"topLevelSite": …}; Playwright: the site
    if isinstance(partition, Mapping):
        partition = partition.get("topLevelSite")
    if partition:
        cookie["partitionKey"] = str(partition)
    return cookie


@dataclass
class Browser:
    """What a visit works with."""

    page: Page
    site: Site
    base_url: str
    #: Hosts that pages loaded parts from; and those of them that the adapter does not list.
    hosts: set[str]
    unlisted_hosts: set[str]
    #: Top-level navigations, in order, without their query.
    navigations: list[str]
    _context: BrowserContext
    _given: Storage
    #: Its top-level page's walls.
    _wall: Wall
    #: Where others may attach to it by CDP; none: nobody may.
    cdp_url: str | None = None
    #: Where others may attach to it: all its ways out; of one that runs elsewhere its requests.
    _gate: Gate | None = None
    _requests: remote.Requests | None = None
    #: Hosts that sockets may be opened to; none: any. And whether they are looked at: once they are, they are
    #: for as long as the browser lives.
    _listed: Sequence[str] | None = None
    _sockets_asked: bool = False

    @asynccontextmanager
    async def only_listed(self) -> AsyncIterator[None]:
        """Meanwhile nothing is requested of a host that the adapter does not list, and no page opens a socket
        to one; a pop-up asks for nothing at all. Where there is a gate nothing at all gets there; without one
        (a browser that runs elsewhere) these do: workers' sockets and those that were open before,
        connections in advance, WebRTC (docs/healing.md)."""
        listed = (urlsplit(self.base_url).hostname or "", *self.site.domains, *self.site.parts)

        async def decide(route: Route) -> None:
            url, ours = urlsplit(route.request.url), False
            with suppress(PlaywrightError):
                ours = route.request.frame.page == self.page.raw
            with suppress(PlaywrightError):
                if ours and (url.scheme not in ("http", "https") or _within(url.hostname or "", listed)):
                    await route.fallback()
                else:
                    log.warning("browser.host_refused", host=url.hostname)
                    await route.abort("blockedbyclient")

        if self._gate is not None:
            self._gate.only(lambda host: _within(host, listed))
        with translated():
            if self._requests is not None:
                await self._requests.only(lambda host: _within(host, listed))
            if not self._sockets_asked:
                await self._context.route_web_socket("**/*", self._decide_socket)
                self._sockets_asked = True
            await self._context.route("**/*", decide)
            await self._wall.only(listed)
        self._listed = listed
        try:
            yield
        finally:
            self._listed = None
            if self._gate is not None:
                self._gate.only(None)
            with suppress(PlaywrightError):
                await self._wall.only(None)
                await self._context.unroute("**/*", decide)
                if self._requests is not None:
                    await self._requests.only(None)

    async def _decide_socket(self, socket: WebSocketRoute) -> None:
        host = urlsplit(socket.url).hostname or ""
        with suppress(PlaywrightError):
            if self._listed is None or _within(host, self._listed):
                socket.connect_to_server()
            else:
                log.warning("browser.host_refused", host=host)
                await socket.close()

    async def storage(self) -> Storage:
        """Cookies and the base origin's storage as they are now."""
        with translated():
            cookies = await self._context.cookies()
            local, session = dict(self._given.local), dict(self._given.session)
            raw = self.page.raw
            if raw.url.startswith(self.base_url + "/"):
                with suppress(PlaywrightError):
                    stores = await raw.evaluate(
                        "() => [Object.assign({}, localStorage), Object.assign({}, sessionStorage)]"
                    )
                    local, session = stores
                    session.pop(_FLAG, None)
        domains = (urlsplit(self.base_url).hostname or "", *self.site.domains)
        return Storage.from_json({
            **self._given.to_json(), "localStorage": local, "sessionStorage": session,
            "cookies": [one for one in cookies if _within(str(one.get("domain", "")).lstrip("."), domains)],
        })  # fmt: skip

    async def cookie_names(self) -> set[str]:
        """Of the marketplace's cookies that are there now."""
        with translated():
            cookies = await self._context.cookies(self.base_url)
        return {str(one.get("name")) for one in cookies}


@asynccontextmanager
async def open_browser(
    *,
    site: Site,
    base_url: str,
    storage: Storage | None,
    settings: Settings,
    deadline: Deadline | None = None,
    playwright: Playwright | None = None,
    attachable: bool = False,
) -> AsyncIterator[Browser]:
    """A signed-in browser that ends with the block. With a deadline it is started under the guard; one that
    runs elsewhere (remote.py) has none. `attachable`: every program of this machine may attach to it; never
    to one that several visits share (BROWSER_CDP_URL).

    Raises BrowserNotStarted: it did not start this time, or there is none."""
    given = storage or Storage()
    async with AsyncExitStack() as stack:
        if playwright is None:
            playwright = await stack.enter_async_context(async_playwright())
        if settings.browser_elsewhere:
            there = remote.open_context(
                playwright, settings, user_agent=given.user_agent, time_zone=given.time_zone
            )
            context, own_address = await stack.enter_async_context(there)
            with starting(elsewhere=True):
                browser = await _prepare(context, site, base_url, given, settings, deadline)
            if attachable and own_address and context.browser is not None:
                try:
                    browser._requests = await remote.Requests.of(context.browser)
                    browser.cdp_url = own_address
                except PlaywrightError:  # then nobody attaches
                    log.warning("browser.requests_not_seen")
            yield browser
            return
        with starting():
            chromium = find_chromium(settings)
        host = urlsplit(base_url).hostname or ""
        practice = bool(_walls(host))
        gate = Gate(lambda asked: not practice or bool(_walls(asked))) if attachable else None
        if gate is not None:
            await stack.enter_async_context(gate)
        folder = await stack.enter_async_context(living_folder(_profiles(settings)))
        program, env, guard = chromium, _quiet_env(folder, given.time_zone), None
        if deadline is not None:
            # a unix socket's path may have 107 bytes: not every data folder leaves room for that
            nook = await stack.enter_async_context(guards_folder())
            guard = await stack.enter_async_context(Guard(nook, chromium, deadline))
            program, env = guard.program, env | guard.env
            # what it puts beside its profile goes with the visit, also if it is killed
            if len(os.fsencode(nook)) <= MOST_TEMPORARY:
                env["TMPDIR"] = str(nook)
        with starting():
            context = await playwright.chromium.launch_persistent_context(
                folder / "profile",
                executable_path=program,
                headless=True,
                args=[
                    *LAUNCH_ARGS,
                    *_languages(given),
                    *(["--remote-debugging-port=0", *gate.args] if gate is not None else _walls(host)),
                ],
                env=cast("Any", env),
                user_agent=given.user_agent,
                accept_downloads=False,
                viewport={"width": 1280, "height": 900},
                timeout=settings.page_seconds * 1000,
                chromium_sandbox=os.geteuid() != 0,
            )
            stack.push_async_callback(_close, context)
            if guard is not None:
                await guard.connected()
            browser = await _prepare(context, site, base_url, given, settings, deadline)
            if gate is not None:
                browser.cdp_url, browser._gate = _address_of(folder / "profile"), gate
        yield browser


async def _prepare(
    context: BrowserContext, site: Site, base_url: str, given: Storage, settings: Settings,
    deadline: Deadline | None,
) -> Browser:  # fmt: skip
    raw = context.pages[0] if context.pages else await context.new_page()
    context.set_default_timeout(settings.locator_seconds * 1000)
    context.set_default_navigation_timeout(settings.page_seconds * 1000)
    page = Page(raw, site=site, base_url=base_url, settings=settings, deadline=deadline)
    host = urlsplit(base_url).hostname or ""
    stays_here = settings.browser_elsewhere and bool(_walls(host))
    with translated(deadline):
        await _add_cookies(context, given.cookies)
        if given.local or given.session:
            await context.add_init_script(_fill_script(base_url, given))
        cdp = await context.new_cdp_session(raw)
        if given.user_agent:
            # ours was started with the languages (_languages); one that runs elsewhere is told per page
            spoken = given.languages if settings.browser_elsewhere else ()
            await cdp.send("Emulation.setUserAgentOverride", identity.override(given.user_agent, spoken))
        wall = Wall(cdp, page, (host, *site.domains), stays_here)
        await wall.stand()
    browser = Browser(page, site, base_url, set(), set(), [], context, given, wall)
    listed = (host, *site.domains, *site.parts)

    def note(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("http", "https"):
            return
        with suppress(PlaywrightError):
            if request.is_navigation_request() and request.frame == raw.main_frame:
                if request.redirected_from is None:
                    browser.navigations.append(f"{parts.scheme}://{parts.netloc}{parts.path}")
                return
        browser.hosts.add(parts.hostname or "")
        if not _within(parts.hostname or "", listed):
            browser.unlisted_hosts.add(parts.hostname or "")

    async def only_one(other: RawPage) -> None:
        log.warning("browser.popup_closed", host=urlsplit(other.url).hostname)
        with suppress(PlaywrightError):
            await other.close()

    context.on("request", note)
    raw.on("popup", only_one)
    return browser


async def _add_cookies(context: BrowserContext, cookies: Sequence[Mapping[str, Any]]) -> None:
    """All at once; where one is malformed, one by one without it, so that it does not cost the rest."""
    try:
        await context.add_cookies(cast("Any", [dict(one) for one in cookies]))
    except PlaywrightError:
        for one in cookies:
            try:
                await context.add_cookies(cast("Any", [dict(one)]))
            except PlaywrightError:
                log.warning("browser.cookie_refused", name=one["name"])


@dataclass
class Wall:
    """Top-level navigation, redirects included, to the marketplace's own hosts only. `stays_here`: and
    nothing else from elsewhere than its machine, for a browser that was not told so when it was started."""

    cdp: CDPSession
    page: Page
    domains: Sequence[str]
    stays_here: bool
    _only: Sequence[str] | None = None
    _main: str = ""
    _tasks: set[asyncio.Future[None]] = field(default_factory=set)

    async def stand(self) -> None:
        self._main = (await self.cdp.send("Page.getFrameTree"))["frameTree"]["frame"]["id"]
        self.cdp.on("Fetch.requestPaused", self._paused)
        await self.only(None)

    async def only(self, hosts: Sequence[str] | None) -> None:
        """Nothing from other hosts than these, redirects of parts included; None: parts from anywhere."""
        self._only = hosts
        whole = self.stays_here or hosts is not None
        pattern = {"urlPattern": "*"} if whole else {"urlPattern": "*", "resourceType": "Document"}
        await self.cdp.send("Fetch.enable", {"patterns": [pattern]})

    def _paused(self, event: dict[str, Any]) -> None:
        task = asyncio.ensure_future(self._decide(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _decide(self, event: dict[str, Any]) -> None:
        url = urlsplit(event["request"]["url"])
        by_http = url.scheme in ("http", "https")
        own = by_http and _within(url.hostname or "", self.domains)
        top = event["frameId"] == self._main and event["resourceType"] == "Document"
        away = self.stays_here and by_http and not _walls(url.hostname or "")
        away |= self._only is not None and by_http and not _within(url.hostname or "", self._only)
        with suppress(PlaywrightError):
            if own or not (top or away):
                await self.cdp.send("Fetch.continueRequest", {"requestId": event["requestId"]})
            else:
                if top:
                    log.warning("browser.navigation_refused", host=url.hostname)
                    self.page.refused = url.hostname or url.scheme
                refusal = {"requestId": event["requestId"], "errorReason": "BlockedByClient"}
                await self.cdp.send("Fetch.failRequest", refusal)


def _address_of(profile: Path) -> str | None:
    """Where Chromium says that others may attach to it."""
    with suppress(OSError, ValueError):
        port, path = (profile / "DevToolsActivePort").read_text().split("\n")[:2]
        return f"ws://127.0.0.1:{int(port)}{path}"
    return None


def _walls(host: str) -> list[str]:
    """On the practice marketplaces nothing may leave this machine, whatever a page asks for."""
    if host == "localhost" or host.endswith(".localhost") or host == "127.0.0.1":
        ours = ("*.localhost", "localhost", "127.0.0.1")
        return ["--host-resolver-rules=MAP * ~NOTFOUND, " + ", ".join(f"EXCLUDE {one}" for one in ours)]
    return []


def _languages(given: Storage) -> list[str]:
    """Accept-Language and navigator.languages. How numbers and dates are written (Intl's own locale) stays
    that of the browser's texts, as with anybody whose browser speaks another language than they prefer."""
    return [f"--accept-lang={','.join(given.languages)}"] if given.languages else []


def _quiet_env(folder: Path, time_zone: str | None) -> dict[str, str]:
    """Chromium needs little of our environment, and nothing that may hold a secret."""
    names = ("PATH", "LANG", "LC_ALL", "TZ", "DISPLAY")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    if time_zone is not None:
        kept["TZ"] = time_zone
    return {**kept, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}


def _fill_script(base_url: str, given: Storage) -> str:
    parts = urlsplit(base_url)
    stores = json.dumps([dict(given.local), dict(given.session)]).replace("</", "<\\/")
    return f"""(() => {{
        if (location.origin !== {json.dumps(f"{parts.scheme}://{parts.netloc}")}) return;
        if (sessionStorage.getItem({json.dumps(_FLAG)})) return;
        const [local, session] = {stores};
        for (const [k, v] of Object.entries(local)) localStorage.setItem(k, v);
        for (const [k, v] of Object.entries(session)) sessionStorage.setItem(k, v);
        sessionStorage.setItem({json.dumps(_FLAG)}, '1');
    }})()"""


def _within(host: str, domains: Sequence[str]) -> bool:
    """The domain itself, or a name below it."""
    return any(host == domain or host.endswith("." + domain) for domain in domains if domain)


async def _close(context: BrowserContext) -> None:
    with suppress(PlaywrightError, TimeoutError):
        await asyncio.wait_for(context.close(), 5)


@asynccontextmanager
async def living_folder(parent: Path, prefix: str = "") -> AsyncIterator[Path]:
    """A new folder, locked while we live and gone after."""
    try:
        made = Path(tempfile.mkdtemp(dir=parent, prefix=f".{prefix}"))
        lock = (made / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = made.rename(made.with_name(made.name[1:]))  # now that it is locked, others may look at it
    except OSError as e:
        raise StorageFull(f"There is no room for a browser's folder: {e.strerror}.") from e
    try:
        yield folder
    finally:
        for _ in range(40):  # a browser that was just killed may still be writing
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            if not folder.exists():
                break
            await asyncio.sleep(0.05)
        lock.close()


def guards_folder() -> AbstractAsyncContextManager[Path]:
    """Where a guard's socket is."""
    return living_folder(Path(tempfile.gettempdir()), f"evs-{os.getpid()}-")


def _profiles(settings: Settings) -> Path:
    folder = settings.everystall_home / "run" / "profiles"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        raise Misconfigured(
            f"The browser's profiles cannot be kept below EVERYSTALL_HOME: {e.strerror}.",
            action=f"Make {settings.everystall_home} a folder that this user may write to.",
        ) from e
    return folder


async def sweep_folders(settings: Settings) -> None:
    """Remove what the visits of dead workers left, and what a browser wrote after its visit was over. A
    living one holds its folder's lock, whichever container of this machine it is in."""
    temporary = Path(tempfile.gettempdir())
    for folder in (
        *_profiles(settings).iterdir(),
        *temporary.glob("evs-*-*"),
        *temporary.glob(".evs-*-*"),
    ):
        if _abandoned(folder):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    try:
        if folder.lstat().st_uid != os.geteuid():
            return False
        if folder.name.startswith("."):
            raise FileNotFoundError
        with (folder / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:  # not locked yet, or no lock any more: not while it may be being made
        with suppress(OSError):
            return time.time() - folder.stat().st_mtime > 60
        return False
    return True
