"""The stage of the extension: a whole Everystall of real processes, the practice marketplaces, and a real
Chromium with the practice build unpacked. The test itself calls our API only as a seller's page would."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from everystall.browser.own import OwnBrowser
from everystall.db import Database
from everystall.demo.own_browser import connect, own_browser, pair, sign_in, until
from everystall.demo.stage import Stage, set_up
from everystall.installation import addresses, opened, set_password
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault

PASSWORD = "linen shirt hardly worn"
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

    async def handed_over(self, marketplace: str) -> dict[str, Any]:
        """The newest session of this seller there, opened as a visit would."""
        with opened(self.stage.settings, prepared=False) as settings:
            database = Database(addresses(settings)["DATABASE_URL"])
            vault = Vault(database, Keyring.load(settings), settings)
            with psycopg.connect(self.database) as connection:
                row = connection.execute(
                    """SELECT u.id, c.id FROM connections c JOIN users u ON u.id = c.user_id
                       WHERE c.marketplace = %s AND u.email = %s""",
                    [marketplace, f"{self.name}@example.com"],
                ).fetchone()
            assert row is not None
            try:
                with (await vault.open(*row, purpose="test")).secret as plain:
                    return dict(json.loads(bytes(plain)))
            finally:
                await database.close()

    async def dashboard(self) -> Any:
        """A page of this seller's own on the server, in a tab."""
        with opened(self.stage.settings, prepared=False) as settings:
            await set_password(settings, f"{self.name}@example.com", PASSWORD)
        page = await self.browser.context.new_page()
        await page.goto(f"{self.stage.url}/sign-in")
        await page.get_by_label("E-mail address").fill(f"{self.name}@example.com")
        await page.get_by_label("Password", exact=True).fill(PASSWORD)
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await page.wait_for_url(f"{self.stage.url}/")
        return page


@dataclass
class Clock:
    """The extension's alarm, set forward: the browser itself rings it, and starts a worker that rests."""

    page: Any

    @classmethod
    async def of(cls, browser: OwnBrowser) -> Clock:
        """From a page of the extension's that is not its popup, so that nothing else wakes or asks."""
        page = await browser.context.new_page()
        await page.goto(f"chrome-extension://{browser.extension_id}/manifest.json")
        return cls(page)

    async def ring(self) -> None:
        (alarm,) = await self.page.evaluate("chrome.alarms.getAll()") or [{"name": "tick"}]
        assert (alarm["name"], alarm.get("periodInMinutes", 0.5)) == ("tick", 0.5)
        await self.page.evaluate("chrome.alarms.create('tick', { when: Date.now(), periodInMinutes: 0.5 })")

    async def stop(self) -> None:
        """What happens from here on, no alarm has done."""
        await self.page.evaluate("chrome.alarms.clear('tick')")


class Way:
    """The way from the browser to the server, which can be cut and mended: connections are carried on."""

    def __init__(self, to_port: int) -> None:
        self._to, self.port = to_port, 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._open:
                writer.close()
            self._server = None

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        both = {writer, there_writer}
        self._open |= both
        await asyncio.gather(_pour(reader, there_writer), _pour(there_reader, writer))
        self._open -= both


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def way(stage: Stage) -> AsyncIterator[Way]:
    way = Way(stage.settings.everystall_port)
    await way.mend()
    yield way
    await way.cut()


Paired = Callable[..., AbstractAsyncContextManager[Own]]


async def eventually(is_so: Callable[[], Any], *, seconds: float = 30, what: str = "it") -> None:
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
def paired(stage: Stage, database: str, new_seller: Callable[[], str], tmp_path: Path) -> Paired:
    """`async with paired() as own`: a new seller's browser, on a profile that stays in `tmp_path`."""

    @asynccontextmanager
    async def open_paired(
        address: str | None = None, more_extensions: Sequence[Path] = ()
    ) -> AsyncIterator[Own]:
        name = new_seller()
        authorization = stage.api.headers["Authorization"]
        async with own_browser(stage, tmp_path, more_extensions) as browser:
            yield Own(stage, browser, await pair(stage, browser, address), name, authorization, database)

    return open_paired


@pytest.fixture
async def own(paired: Paired) -> AsyncIterator[Own]:
    async with paired() as own:
        yield own
