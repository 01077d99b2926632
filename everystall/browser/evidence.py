"""What the page looked like when a step failed: a picture and its outline, with the secrets taken out."""

from __future__ import annotations

import os
import re
import secrets as random
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.async_api import Frame, Locator

from everystall.browser.page import Page, translated
from everystall.errors import StorageFull

#: Of an outline: enough to see what was there.
MOST_CHARACTERS = 40_000
#: Frames whose private parts are blotted.
MOST_FRAMES = 12
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")
_TOKEN = re.compile(r"\b[A-Za-z0-9_-]{32,}\b")
_PHONE = re.compile(r"\+?\d[\d ()-]{8,}\d")


def sweep(folder: Path, days: int) -> None:
    """Remove what is older than so many days. Quiet about what is not there or not ours."""
    oldest = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d")
    for day in folder.glob("????-??-??"):
        if day.name < oldest:
            shutil.rmtree(day, ignore_errors=True)


async def capture(page: Page, folder: Path, secrets: Sequence[str]) -> dict[str, Any]:
    """{"screenshot", "aria", "url", "at"}: names below `folder`, the URL without its query.
    Raises MarketplaceBusy if the browser is gone and StorageFull if there is no room."""
    now = datetime.now(UTC)
    raw = page.raw
    with translated():
        outline = await raw.locator("body").aria_snapshot(timeout=3000)
        private = [one for frame in raw.frames[:MOST_FRAMES] for one in await _private(frame, secrets)]
        picture = await raw.screenshot(mask=private, timeout=5000, type="png")
    name = f"{now:%Y-%m-%d}/{random.token_hex(8)}"
    try:
        for one in (folder, folder / f"{now:%Y-%m-%d}"):
            one.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(folder / f"{name}.png", picture)
        _write(folder / f"{name}.aria.txt", scrub(outline, secrets)[:MOST_CHARACTERS].encode())
    except OSError as e:
        raise StorageFull(f"The evidence could not be kept: {e.strerror}.") from e
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


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def scrub(text: str, secrets: Sequence[str]) -> str:
    """Secrets, addresses and whatever looks like a token, blotted."""
    for secret in _worth_hiding(secrets):
        text = text.replace(secret, "***")
    return _PHONE.sub("***", _TOKEN.sub("***", _EMAIL.sub("***", text)))


def _worth_hiding(secrets: Sequence[str]) -> list[str]:
    """Longest first, so that a part never gives away the rest; a short word is no secret."""
    return sorted({one for one in secrets if len(one) >= 8}, key=len, reverse=True)
