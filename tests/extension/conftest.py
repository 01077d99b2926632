"""The stage of the extension: a whole Everystall of real processes, the practice marketplaces, and a real
Chromium with the practice build unpacked. The test itself calls our API only as a seller's page would."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from everystall.browser.own import OwnBrowser
from everystall.demo.own_browser import connect, own_browser, pair, sign_in, until
from everystall.demo.stage import Stage, set_up
from everystall.installation import addresses, opened

_number = count(1)


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    home, environment, here = Path(tempfile.mkdtemp(prefix="everystall-x-")), dict(os.environ), Path.cwd()
    try:
        with set_up(home=home) as stage:
            yield stage
    finally:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(here)
        shutil.rmtree(home, ignore_errors=True)


@dataclass
class Own:
    """One seller with a browser of their own, paired."""

    stage: Stage
    browser: OwnBrowser
    popup: Any
    name: str
    authorization: str
    database: str

    def call(self, method: str, path: str, **options: Any) -> Any:
        """As the seller's own page would."""
        self.stage.api.headers["Authorization"] = self.authorization
        return self.stage.call(method, path, **options)

    async def sign_in(self, marketplace: str) -> Any:
        return await sign_in(self.stage, self.browser, marketplace, self.name)

    async def connect(self, marketplace: str) -> str:
        """Signs in, connects; the browserProfileId."""
        await self.sign_in(marketplace)
        await connect(self.popup, marketplace)
        await until(self.popup, marketplace, "connected")
        return str(self.connection(marketplace)["browserProfileId"])

    def connection(self, marketplace: str) -> Any:
        (found,) = (
            one
            for one in self.call("GET", "/api/connections")["connections"]
            if one["marketplace"] == marketplace
        )
        return found

    def sealed(self, marketplace: str) -> int:
        """How many sessions of this seller there lie in the vault."""
        return self._asked(marketplace)[1]

    def captures(self, marketplace: str) -> int:
        """A number that grows with each session that the extension hands over of this seller there."""
        return self._asked(marketplace)[0]

    def _asked(self, marketplace: str) -> tuple[int, int]:
        with psycopg.connect(self.database) as connection:
            row = connection.execute(
                """SELECT coalesce(max(s.seq) FILTER (WHERE s.origin = 'extension'), 0), count(*)
                   FROM user_marketplace_sessions s JOIN connections c ON c.id = s.connection_id
                   JOIN users u ON u.id = c.user_id WHERE c.marketplace = %s AND u.email = %s""",
                [marketplace, f"{self.name}@example.com"],
            ).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    async def a_minute_passes(self, marketplace: str) -> None:
        """Since the last hand-over, as far as the extension knows."""
        await self.popup.evaluate(
            """async (key) => {
                const kept = (await chrome.storage.local.get(key))[key];
                await chrome.storage.local.set({ [key]: { ...kept, syncedAt: kept.syncedAt - 61_000 } });
            }""",
            f"connected:{marketplace}",
        )

    async def kept(self) -> dict[str, Any]:
        """All that the extension keeps."""
        return dict(await self.popup.evaluate("chrome.storage.local.get()"))


async def eventually(is_so: Callable[[], Any], *, seconds: float = 20, what: str = "it") -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(is_so):
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds:.0f} s"
        await asyncio.sleep(0.1)


@pytest.fixture(scope="session")
def database(stage: Stage) -> str:
    with opened(stage.settings, prepared=False) as settings:
        return addresses(settings)["DATABASE_ADMIN_URL"]


@pytest.fixture
def new_seller(stage: Stage) -> Callable[[], str]:
    def make() -> str:
        name = f"own{next(_number)}x{os.getpid()}"
        stage.new_seller(f"{name}@example.com")
        return name

    return make


@pytest.fixture
async def own(
    stage: Stage, database: str, new_seller: Callable[[], str], tmp_path: Path
) -> AsyncIterator[Own]:
    name = new_seller()
    authorization = stage.api.headers["Authorization"]
    async with own_browser(stage, tmp_path) as browser:
        popup = await pair(stage, browser)
        yield Own(stage, browser, popup, name, authorization, database)


Eventually = Callable[..., Awaitable[None]]
