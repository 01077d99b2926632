"""Everystall as an app on a phone or a desk: what browsers want to know of it, the service worker that shows
pushes, and the page that stands there without a network. All of it is the same for everybody.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from everystall.web.addresses import address, root
from everystall.web.render import API_HEADERS, FOLDER, page, static

router = APIRouter()

#: Behind the bars of the system, as the pages' own ground (everystall.css, --bg).
LIGHT, DARK = "#f5f7f9", "#0e1117"
#: A service worker lives by the policy that it came with; all that it fetches is ours.
_POLICY: Final = "default-src 'none'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'"


@router.get("/manifest.webmanifest")
async def manifest() -> Response:
    icons = [
        {
            "src": address(static(f"icon-{name}.png")),
            "sizes": f"{side}x{side}",
            "type": "image/png",
            "purpose": use,
        }
        for name, side, use in (("192", 192, "any"), ("512", 512, "any"), ("maskable", 512, "maskable"))
    ]
    shortcuts = [
        {"name": name, "url": address(url)}
        for name, url in (("Inventory", "/inventory"), ("Needs you", "/needs-you"), ("Sales", "/sales"))
    ]
    told = {
        "id": address("/"), "start_url": address("/"), "scope": address("/"), "name": "Everystall",
        "short_name": "Everystall",
        "description": "Write a listing once; sell it at every stall.", "display": "standalone", "lang": "en",
        "background_color": LIGHT, "theme_color": LIGHT, "icons": icons, "shortcuts": shortcuts,
    }  # fmt: skip
    return JSONResponse(
        told, media_type="application/manifest+json", headers={"Cache-Control": "public, max-age=3600"}
    )


@router.get("/sw.js")
async def service_worker() -> Response:
    headers = {**API_HEADERS, "cache-control": "no-cache", "content-security-policy": _POLICY}
    return Response(_worker(root()), media_type="text/javascript", headers=headers)


@router.get("/offline")
async def offline(request: Request) -> HTMLResponse:
    return page(request, "offline.html")


@cache
def _worker(begin: str) -> str:
    """With the names of what it keeps: a new one is another worker, and takes the old one's place."""
    files = ["/offline", static("everystall.css"), static("inter-5.3.0-latin.woff2")]
    shell = {"root": begin, "files": [begin + file for file in files],
             "icon": begin + static("icon-192.png"), "badge": begin + static("icon-badge.png")}  # fmt: skip
    return f"const SHELL = {json.dumps(shell)};\n" + (FOLDER / "sw.js").read_text()
