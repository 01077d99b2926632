"""How requests arrive here, for the owner who sets up a reverse proxy: what this server sees of one against
PUBLIC_URL, which header is missing, and the lines that send it. Whether WebSockets and streams get through is
tried by the page's own script (static/connection.js)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from everystall.settings import Settings, is_loopback
from everystall.web.deps import AllParts, PageOwner, Parts, SignedIn
from everystall.web.pages.opened import opened

router = APIRouter()

#: What a proxy adds, as far as anything here goes by it or a person may want to see it.
SHOWN: Final = ("host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix",
                "forwarded", "via", "origin", "sec-fetch-site")  # fmt: skip


@dataclass(frozen=True)
class Check:
    tone: Literal["ok", "warn", "bad", "info"]
    title: str
    said: str
    #: The header that is missing or wrong.
    header: str | None = None


@router.get("/settings/connection")
async def show_check(request: Request, parts: AllParts, who: PageOwner) -> HTMLResponse:
    return await _show(request, parts, who)


@router.post("/settings/connection")
async def check_form(request: Request, parts: AllParts, who: PageOwner) -> HTMLResponse:
    """As any form of ours: that it came this far says that its Origin is taken. Changes nothing."""
    return await _show(request, parts, who)


async def _show(request: Request, parts: Parts, who: SignedIn) -> HTMLResponse:
    settings = parts.settings
    async with opened(request, parts, who) as page:
        return page.show(
            "connection_check.html",
            home="/settings/connection" if request.method == "POST" else None,
            checks=checks(request, settings),
            sent=[(name, request.headers.get(name)) for name in SHOWN],
            scheme=request.url.scheme,
            client=_client(request),
            public_url=settings.public_url,
            trusted=settings.trusted_proxies.replace(",", ", "),
            snippets=snippets(settings),
        )


def checks(request: Request, settings: Settings) -> list[Check]:
    public = urlsplit(settings.public_url)
    host = request.headers.get("host", "").lower()
    forwarded = [name for name in SHOWN[1:7] if name in request.headers]
    by_own_name = is_loopback(_name(host)) and not is_loopback(public.hostname or "")
    if by_own_name and not forwarded:
        said = f"Others come by {settings.public_url}: open this page there to check their way."
        return [Check("info", "You opened it on this machine itself, by no proxy.", said)]
    found = [_of_host(host, public.netloc), _of_scheme(request, public.scheme)]
    if not is_loopback(public.hostname or ""):
        found.append(_of_client(request))
    if request.method == "POST":
        origin = request.headers.get("origin", "none")
        found.append(Check("ok", "Forms get through.", f"One arrived with the Origin {origin}."))
    return found


def _of_host(host: str, wanted: str) -> Check:
    if host == wanted:
        return Check("ok", "The address is right.", f"Requests name {host}, as PUBLIC_URL does.")
    if is_loopback(_name(host)):
        said = f"The proxy asks for {host} instead of what people typed. Have it pass the Host on."
        return Check("bad", "The header Host is not passed on.", said, "Host")
    said = f"Requests name {host}, PUBLIC_URL says {wanted}. Correct PUBLIC_URL, or open that address."
    return Check("bad", "The address is another one than PUBLIC_URL.", said, "Host")


def _of_scheme(request: Request, wanted: str) -> Check:
    seen = request.url.scheme
    if seen == wanted:
        return Check("ok", f"It is known to be {seen}.", f"PUBLIC_URL says {wanted}, and so do requests.")
    if wanted == "https" and request.headers.get("x-forwarded-proto", "https") != "https":
        said = "The proxy that people come to has TLS, but the one before us says that there is none."
        return Check("bad", "The header X-Forwarded-Proto says http.", said, "X-Forwarded-Proto")
    if wanted == "https" and "x-forwarded-proto" in request.headers:
        said = f"It came from {_client(request)}, which TRUSTED_PROXIES does not name."
        return Check("bad", "The header X-Forwarded-Proto is not believed.", said, "X-Forwarded-Proto")
    if wanted == "https":
        said = "People come by https, but the proxy does not say so to us."
        return Check("bad", "The header X-Forwarded-Proto is missing.", said, "X-Forwarded-Proto")
    said = "Set PUBLIC_URL to the https address and start again: then cookies are marked Secure."
    return Check("warn", "PUBLIC_URL says http, but people come by https.", said)


def _of_client(request: Request) -> Check:
    if "x-forwarded-for" not in request.headers:
        said = "Everybody looks like one and the same visitor, so one's wrong passwords would keep all out."
        return Check("bad", "The header X-Forwarded-For is missing.", said, "X-Forwarded-For")
    said = (
        f"You come from {_client(request)}. If that is a proxy's own address, it replaces the header, or "
        "TRUSTED_PROXIES does not name it."
    )
    return Check("ok", "Visitors are told apart.", said)


def _client(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _name(host: str) -> str:
    return host.rpartition(":")[0].strip("[]") if ":" in host else host


def snippets(settings: Settings) -> list[tuple[str, str]]:
    """(whose, what goes into its configuration)"""
    public, port = urlsplit(settings.public_url), settings.everystall_port
    host = public.hostname or "everystall.example.com"
    return [
        (
            "Caddy",
            f"{host} {{\n    reverse_proxy 127.0.0.1:{port} {{\n        flush_interval -1\n    }}\n}}\n",
        ),
        ("nginx", _NGINX.replace("HOST", host).replace("PORT", str(port))),
        ("Traefik", _TRAEFIK.replace("HOST", host).replace("PORT", str(port))),
    ]


_NGINX: Final = """\
map $http_upgrade $connection_upgrade { default upgrade; '' close; }
server {
    listen 443 ssl;
    server_name HOST;
    client_max_body_size 0;              # Everystall has limits of its own
    location / {
        proxy_pass http://127.0.0.1:PORT;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_buffering off;
        proxy_read_timeout 300s;
    }
}
"""
_TRAEFIK: Final = """\
http:
  routers:
    everystall:
      rule: Host(`HOST`)
      entryPoints: [websecure]
      tls: {}
      service: everystall
  services:
    everystall:
      loadBalancer:
        passHostHeader: true
        servers:
          - url: http://127.0.0.1:PORT
"""
