"""A practice Poshmark and a signed-in browser, for this adapter's tests only."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from everystall.browser.chromium import LAUNCH_ARGS, find_chromium
from everystall.browser.driver import Driver
from everystall.browser.session import Storage, open_browser
from everystall.marketplaces.base import PhotoFile
from everystall.marketplaces.poshmark.adapter import ADAPTER
from everystall.sandbox.core import PASSWORD
from everystall.sandbox.poshmark import session_cookies
from everystall.sandbox.testing import Sandbox, sign_in, start_in_thread
from everystall.settings import Settings


@pytest.fixture(scope="session")
def poshmark_site() -> Iterator[Sandbox]:
    sandbox = start_in_thread()
    yield sandbox
    sandbox.stop()


@pytest.fixture
def site(poshmark_site: Sandbox) -> Sandbox:
    poshmark_site.reset()
    return poshmark_site


@pytest.fixture(scope="session")
async def driver() -> AsyncIterator[Driver]:
    driver = Driver()
    yield driver
    await driver.close()


@pytest.fixture
def settings(tmp_path: Path, site: Sandbox) -> Settings:
    return Settings(_env_file=None, everystall_home=tmp_path, poshmark_url=site.url("poshmark"))


@pytest.fixture
def storage(site: Sandbox) -> dict[str, Any]:
    """What the extension hands over once Alice is signed in."""
    session = site.world.sign_in("poshmark", "alice", PASSWORD)
    assert session is not None
    return {
        "cookies": [
            {
                "name": cookie.name, "value": cookie.value, "domain": "poshmark.localhost", "path": "/",
                "expires": -1, "httpOnly": cookie.http_only, "secure": True, "sameSite": "Lax",
            }
            for cookie in session_cookies(session)
        ],
        "localStorage": {}, "sessionStorage": {}, "userAgent": None,
    }  # fmt: skip


@pytest.fixture
async def signed_in(site: Sandbox, settings: Settings, driver: Driver) -> dict[str, Any]:
    """The same, through the site's own sign-in page."""
    playwright = await driver.get()
    browser = await playwright.chromium.launch(
        executable_path=str(find_chromium(settings)), args=list(LAUNCH_ARGS), headless=True
    )
    try:
        return await sign_in(await browser.new_context(), site, "poshmark", "alice")
    finally:
        await browser.close()


@pytest.fixture
async def browser(
    site: Sandbox, settings: Settings, driver: Driver, storage: dict[str, Any]
) -> AsyncIterator[Any]:
    async with open_browser(
        site=ADAPTER.site, base_url=site.url("poshmark"), storage=Storage.from_json(storage),
        settings=settings, playwright=await driver.get(),
    ) as browser:  # fmt: skip
        yield browser


@pytest.fixture
def page(browser: Any) -> Any:
    return browser.page


def photo(number: int) -> PhotoFile:
    """A picture that is unlike the others."""
    image = Image.new("RGB", (300, 400), (40 * number % 255, 90, 160))
    draw = ImageDraw.Draw(image)
    for stripe in range(number + 2):
        draw.rectangle((stripe * 40, stripe * 30, stripe * 40 + 60, 380), fill=(250 - stripe * 30, 200, 40))
    out = io.BytesIO()
    image.save(out, "JPEG")
    return PhotoFile(f"photo-{number}.jpg", "image/jpeg", out.getvalue())
