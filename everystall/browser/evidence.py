"""What the page looked like when a step failed: a picture and its outline, with the secrets taken out."""

from __future__ import annotations

import re
import secrets as random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from everystall.browser.page import Page, translated

#: Of an outline: enough to see what was there.
MOST_CHARACTERS = 40_000
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")
_TOKEN = re.compile(r"\b[A-Za-z0-9_-]{32,}\b")
_PHONE = re.compile(r"\+?\d[\d ()-]{8,}\d")


async def capture(page: Page, folder: Path, secrets: Sequence[str]) -> dict[str, Any]:
    """{"screenshot", "aria", "url", "at"}: names below `folder`, the URL without its query."""
    now = datetime.now(UTC)
    day = folder / now.strftime("%Y-%m-%d")
    day.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = random.token_hex(8)
    raw = page.raw
    with translated():
        outline = await raw.locator("body").aria_snapshot(timeout=3000)
        private = [
            raw.locator("input[type=password], input[type=email], input[type=tel]"),
            raw.get_by_text(_EMAIL),
            *(raw.get_by_text(one, exact=False) for one in _worth_hiding(secrets)
              if len(one) < 200 and scrub(outline, [one]) != outline),
        ]  # fmt: skip
        picture = await raw.screenshot(mask=private, timeout=5000, type="png")
    (day / f"{name}.png").write_bytes(picture)
    (day / f"{name}.aria.txt").write_text(scrub(outline, secrets)[:MOST_CHARACTERS])
    for path in (day / f"{name}.png", day / f"{name}.aria.txt"):
        path.chmod(0o600)
    return {
        "screenshot": f"{day.name}/{name}.png", "aria": f"{day.name}/{name}.aria.txt",
        "url": page.url.split("?")[0].split("#")[0], "at": now.isoformat(),
    }  # fmt: skip


def scrub(text: str, secrets: Sequence[str]) -> str:
    """Secrets, addresses and whatever looks like a token, blotted."""
    for secret in _worth_hiding(secrets):
        text = text.replace(secret, "***")
    return _PHONE.sub("***", _TOKEN.sub("***", _EMAIL.sub("***", text)))


def _worth_hiding(secrets: Sequence[str]) -> list[str]:
    """Longest first, so that a part never gives away the rest; a short word is no secret."""
    return sorted({one for one in secrets if len(one) >= 8}, key=len, reverse=True)
