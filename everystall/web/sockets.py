"""WebSockets that our own pages open: who is let in, and the codes by which they are closed."""

from __future__ import annotations

from fastapi import WebSocket

from everystall.errors import CrossSite, RateLimited
from everystall.web import browsers
from everystall.web.deps import Parts, SignedIn, find_signed_in
from everystall.web.limits import EVERYTHING, asked_from

#: Signed out, or never in; going away, come back; too many.
REFUSED, AWAY, LATER = 1008, 1001, 1013


async def let_in(socket: WebSocket) -> tuple[Parts, SignedIn, str] | None:
    """Who opens it, by the cookie that a page of ours sends; nobody else is accepted."""
    parts: Parts = socket.app.state.parts
    try:
        browsers.check_own_page(socket.headers, parts.settings)
    except CrossSite:
        await socket.close(REFUSED)
        return None
    token = browsers.cookie_of(socket.headers, parts.settings)
    try:
        if not parts.limits.knows(token):
            await parts.limits.spend(EVERYTHING, asked_from(socket.scope))
    except RateLimited:
        await socket.close(LATER)
        return None
    who = await find_signed_in(parts, token, ("browser",)) if token else None
    if token is None or who is None:
        await socket.close(REFUSED)
        return None
    return parts, who, token
