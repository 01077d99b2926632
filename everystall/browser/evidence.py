"""What the page looked like when a step failed: a picture and its outline, with the secrets taken out."""

from __future__ import annotations

import re
import secrets as random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from playwright.async_api import Frame, Locator

from everystall.browser.page import Page, translated

#: Of an outline: enough to see what was there.
MOST_CHARACTERS = 40_000
#: Frames whose private parts are blotted.
MOST_FRAMES = 12
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")
_TOKEN = re.compile(r"\b[A-Za-z0-9_-]{32,}\b")
_PHONE = re.compile(r"\+?\d[\d ()-]{8,}\d")


async def capture(
    page: Page, keep: Callable[[str, bytes], Awaitable[None]], secrets: Sequence[str]
) -> dict[str, Any]:
    """{"screenshot", "aria", "url", "at"}: names that `keep` was given, the URL without its query.
    Raises MarketplaceBusy if the browser is gone, and what `keep` raises."""
    now = datetime.now(UTC)
    raw = page.raw
    with translated():
        outline = await raw.locator("body").aria_snapshot(timeout=3000)
        private = [one for frame in raw.frames[:MOST_FRAMES] for one in await _private(frame, secrets)]
        picture = await raw.screenshot(mask=private, timeout=5000, type="png")
    name = f"{now:%Y-%m-%d}/{random.token_hex(8)}"
    await keep(f"{name}.png", picture)
    await keep(f"{name}.aria.txt", scrub(outline, secrets)[:MOST_CHARACTERS].encode())
    return {
        "screenshot": f"{name}.png", "aria": f"{name}.aria.txt",
        "url": scrub(page.url.split("?")[0].split("#")[0], secrets), "at": now.isoformat(),
    }  # fmt: skip


async def _private(frame: Frame, secrets: Sequence[str]) -> list[Locator]:
    """What the picture must not show. The secrets stay here: the page is asked what it says, not whether
    it says them."""
    fields = frame.locator("input, textarea")
    values = await fields.evaluate_all("fields => fields.map((one) => String(one.value))")
    said = await frame.locator("body").evaluate_all("bodies => bodies.map((b) => b.innerText).join(' ')")
    return [
        frame.locator("input[type=password], input[type=email], input[type=tel]"),
        *(fields.nth(place) for place, value in enumerate(values) if scrub(value, secrets) != value),
        frame.get_by_text(_EMAIL),
        frame.get_by_text(_PHONE),
        frame.get_by_text(_TOKEN),
        *(frame.get_by_text(one, exact=False) for one in _worth_hiding(secrets) if one in said),
    ]


def scrub(text: str, secrets: Sequence[str]) -> str:
    """Secrets, addresses and whatever looks like a token, blotted."""
    for secret in _worth_hiding(secrets):
        text = text.replace(secret, "***")
    return _PHONE.sub("***", _TOKEN.sub("***", _EMAIL.sub("***", text)))


def _worth_hiding(secrets: Sequence[str]) -> list[str]:
    """Longest first, so that a part never gives away the rest; a short word is no secret."""
    return sorted({one for one in secrets if len(one) >= 8}, key=len, reverse=True)
