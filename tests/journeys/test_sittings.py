"""A seller at the worker's browser, through the dashboard: they see its picture, click and type in it, and
what waited goes on. Nobody else gets there, and nothing that they type is kept."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import websockets
from playwright.async_api import Locator, Page
from sqlalchemy import text
from websockets.asyncio.client import connect

from everystall.db import Database
from everystall.inventory import sittings
from everystall.sandbox.core import PASSWORD as SHOPS_PASSWORD
from everystall.sandbox.poshmark import signin as poshmark_signin
from everystall.web.app import create_app
from everystall.web.passwords import hash_password
from everystall.worker.seats import Seat, Seats
from everystall.worker.visit import visit
from tests.journeys.conftest import Seller, Stall

pytestmark = [pytest.mark.journey, pytest.mark.browser]

PASSWORD = "correct horse battery"


@dataclass
class Dashboard:
    """Our web on a port, on the stage's database, and browsers in front of it."""

    stall: Stall
    url: str
    seats: Seats

    async def open(self, seller: Seller, **how: Any) -> Page:
        """The seller's own browser, signed in."""
        context = await (await self.stall.own_browsers.get(self.stall.tools)).new_context(
            base_url=self.url, **how
        )
        context.set_default_timeout(40_000)
        page = await context.new_page()
        await page.goto("/sign-in")
        await page.get_by_label("E-mail address").fill(f"{seller.name}@example.com")
        await page.get_by_label("Password", exact=True).fill(PASSWORD)
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await page.wait_for_url("**/")
        return page

    @asynccontextmanager
    async def worker(self, profile: str) -> AsyncIterator[asyncio.Task[None]]:
        """What the lane of sittings leads to, in this process; it has ended when the block is left."""
        tools = replace(self.stall.tools, seats=self.seats)
        id = await self.stall.connection_id(profile)
        working = asyncio.create_task(visit(tools, id, "sittings"))
        try:
            yield working
            await asyncio.wait_for(working, 60)
        finally:
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working

    def remote(self) -> Any:
        """The page that the worker shows, for where things are on it."""
        (seat,) = self.seats._seats.values()
        return seat.screen.page.raw


@pytest.fixture
async def dashboard(stall: Stall) -> AsyncIterator[Dashboard]:
    listening = socket.socket(proto=socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    tools = stall.tools
    settings = tools.settings.model_copy(
        update={"everystall_port": (port := listening.getsockname()[1]),
                "public_url": f"http://127.0.0.1:{port}"}
    )  # fmt: skip
    app = create_app(settings, database=tools.db, vault=tools.vault, photos=tools.photos)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical", access_log=False,
                                          timeout_graceful_shutdown=5))  # fmt: skip
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    db = Database(stall.admin_url)
    async with db.as_app() as session:
        hash = await hash_password(PASSWORD)
        await session.execute(text("UPDATE users SET password_hash = :hash"), {"hash": hash})
    await db.close()
    seats = Seats(tools.db, tools.vault, tools.settings)
    async with seats.open():
        yield Dashboard(stall, settings.public_url, seats)
    await app.state.parts.captures.close()
    await app.state.parts.moves.close()
    server.should_exit = True
    await serving


async def _there(page: Page, remote_target: Locator) -> tuple[float, float]:
    """Where in the picture this stands that is on the worker's page."""
    box, there = await remote_target.bounding_box(), await page.locator("canvas").bounding_box()
    size = remote_target.page.viewport_size
    assert box
    assert there
    assert size
    across, down = there["width"] / size["width"], there["height"] / size["height"]
    return (
        there["x"] + (box["x"] + box["width"] / 2) * across,
        there["y"] + (box["y"] + box["height"] / 2) * down,
    )


async def _click_there(page: Page, remote_target: Locator) -> None:
    await page.locator("canvas").scroll_into_view_if_needed()
    await page.mouse.click(*await _there(page, remote_target))


async def _tap_there(page: Page, remote_target: Locator) -> None:
    await page.locator("canvas").scroll_into_view_if_needed()
    await page.touchscreen.tap(*await _there(page, remote_target))


async def _rows(stall: Stall) -> list[dict[str, Any]]:
    return await stall.rows("SELECT * FROM sittings ORDER BY asked_at")


@pytest.mark.longer
async def test_a_captcha_is_answered_in_the_picture_and_the_visit_goes_on(
    stall: Stall, alice: Seller, bob: Seller, dashboard: Dashboard
):
    profile = await stall.connect(alice, "mercari")
    listing = await stall.listing(alice)
    await stall.post(alice, listing, ["mercari"])
    stall.sandbox.fault("mercari", kind="captcha", times=1000, path="/sell/")
    await stall.visit(profile)
    page = await dashboard.open(alice)
    await page.goto("/needs-you")
    await page.get_by_role("button", name="Open it here").click()
    await page.wait_for_url("**/sittings/*")
    async with dashboard.worker(profile):
        await page.locator("[data-turn=yours][data-shows]").wait_for()
        check = dashboard.remote().frame_locator("iframe.challenge")
        await _not_for(bob, dashboard, page.url)
        await _click_there(page, check.get_by_role("checkbox"))
        await _click_there(page, check.get_by_role("button"))
        await page.get_by_text("That is done.").wait_for(timeout=90_000)
    (publication,) = await stall.rows("SELECT state, needs_you FROM publications")
    assert publication == {"state": "live", "needs_you": None}
    assert len(stall.live("mercari")) == 1
    assert len(stall.events("mercari", "person_shown")) == 1
    (row,) = await _rows(stall)
    assert (row["outcome"], row["purpose"], row["address"]) == ("done", "challenge", None)
    assert row["asked_by"] == "Chrome on Linux"
    audit = await stall.rows("SELECT purpose FROM vault_audit ORDER BY id")
    assert "open it for you" in [one["purpose"] for one in audit]


@pytest.mark.longer
async def test_a_seller_signs_in_there_on_a_phone_and_what_they_type_is_nowhere(
    stall: Stall, alice: Seller, dashboard: Dashboard, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    canary = "canary" + secrets.token_hex(5)
    page = await dashboard.open(
        alice, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2
    )
    await page.goto("/connections")
    await page.get_by_role("button", name="Sign in here to Poshmark").tap()
    await page.wait_for_url("**/sittings/*")
    (account,) = await stall.rows("SELECT public_id FROM connections")
    keys = page.get_by_label("Type into the page")
    async with dashboard.worker(account["public_id"]):
        await page.locator("[data-turn=yours][data-shows]").wait_for()
        there = dashboard.remote()
        assert there.viewport_size["width"] < 400, "it is laid out for the phone"
        for password in (canary, SHOPS_PASSWORD):
            await there.locator("#login_form_username_email").scroll_into_view_if_needed()
            await _tap_there(page, there.locator("#login_form_username_email"))
            await keys.tap()
            await keys.press_sequentially("alice_closetx")
            await page.get_by_role("button", name="Delete").tap()
            await page.get_by_role("button", name="Tab").tap()
            await keys.press_sequentially(password)
            assert await keys.input_value() == "·"
            await there.wait_for_function(
                "p => document.querySelector('#login_form_password').value === p",
                arg=password,
                timeout=90_000,
            )
            await page.get_by_role("button", name="Enter").tap()
            if password == canary:
                await there.get_by_text("Invalid username").wait_for(timeout=90_000)
        await page.get_by_text("That is done.").wait_for(timeout=90_000)
    assert await page.get_by_text("Signed in to Poshmark as alice_closet").is_visible()
    (row,) = await _rows(stall)
    assert (row["outcome"], row["purpose"]) == ("done", "sign_in")
    (kept,) = await stall.rows("SELECT origin, worked_at, consented_at FROM user_marketplace_sessions")
    assert kept["origin"] == "worker"
    assert kept["worked_at"]
    assert kept["consented_at"]
    (connection,) = await stall.rows("SELECT account_name, needs_you FROM connections")
    assert connection == {"account_name": "alice_closet", "needs_you": None}
    await stall.visit(account["public_id"])  # what it woke: the sealed session works
    assert (await stall.rows("SELECT watched_at FROM connections"))[0]["watched_at"]
    printed = capfd.readouterr()
    assert "sitting.signed_in" in printed.out
    for told in (canary, SHOPS_PASSWORD):
        assert told not in printed.out.replace(stall.sandbox.url("poshmark"), "") + printed.err
    assert await _where(stall, canary, tmp_path) == []


async def _where(stall: Stall, word: str, folder: Path) -> list[str]:
    """The tables and files that hold it."""
    tables = await stall.rows(
        "SELECT table_schema || '.' || table_name AS name FROM information_schema.tables "
        "WHERE table_schema IN ('public', 'everystall', 'procrastinate')"
    )
    found = []
    for table in (one["name"] for one in tables):
        rows = await stall.rows(f"SELECT t::text AS row FROM {table} t")
        found += [table for row in rows if word in row["row"]]
    files = [one for one in folder.rglob("*") if one.is_file()]
    return found + [str(one) for one in files if word.encode() in one.read_bytes()]


@pytest.mark.extended
async def test_who_signs_in_as_somebody_else_is_told_so_and_nothing_is_kept(
    stall: Stall, alice: Seller, dashboard: Dashboard
):
    profile = await stall.connect(alice, "poshmark", "alice_closet")
    await stall.visit(profile)
    stall.sandbox.sessions("poshmark", "alice_closet", lifetime_seconds=0)
    await stall.rows("UPDATE connections SET next_check_at = now() RETURNING id")
    await stall.visit(profile)
    asked = await alice.client.post("/api/sittings", json={"browserProfileId": profile})
    assert asked.json()["purpose"] == "sign_in", asked.text
    async with dashboard.worker(profile):
        seat = await _seat(dashboard)
        assert await dashboard.remote().context.cookies() == []
        await poshmark_signin.sign_in(seat.screen.page.raw, stall.sandbox.url("poshmark"), "mallory")
        await _until(lambda: "You are signed in as mallory" in seat.said)
        await seat.screen.page.raw.evaluate("location.href = 'http://elsewhere.localhost:1/'")
        await _until(lambda: "leads to elsewhere.localhost" in seat.said)
        assert stall.sandbox.url("poshmark") in seat.screen.page.url
        (row,) = await _rows(stall)
        assert row["ended_at"] is None
        await seat.screen.page.raw.context.clear_cookies()
        await poshmark_signin.sign_in(seat.screen.page.raw, stall.sandbox.url("poshmark"), "alice_closet")
    (row,) = await _rows(stall)
    assert row["outcome"] == "done"
    kept = await stall.rows(
        "SELECT origin FROM user_marketplace_sessions WHERE failed_at IS NULL ORDER BY seq"
    )
    assert kept[-1]["origin"] == "worker"


@pytest.mark.extended
async def test_a_sign_in_to_an_account_that_is_here_already_becomes_its_own(
    stall: Stall, alice: Seller, dashboard: Dashboard
):
    profile = await stall.connect(alice, "poshmark", "alice_closet")
    asked = (await alice.client.post("/api/sittings", json={"marketplace": "poshmark"})).json()
    assert asked["browserProfileId"] != profile
    async with dashboard.worker(asked["browserProfileId"]):
        seat = await _seat(dashboard)
        await poshmark_signin.sign_in(seat.screen.page.raw, stall.sandbox.url("poshmark"), "alice_closet")
    (connection,) = await stall.rows("SELECT public_id FROM connections")
    assert connection["public_id"] == profile
    (told,) = (await alice.client.get("/api/sittings")).json()["sittings"]
    assert (told["browserProfileId"], told["state"]) == (profile, "done")


@pytest.mark.parametrize(
    "how",
    [
        "half an hour is over",
        pytest.param("the worker stops", marks=pytest.mark.extended),
        pytest.param("nobody comes", marks=pytest.mark.extended),
        pytest.param("its seller closes it", marks=pytest.mark.extended),
    ],
)
@pytest.mark.longer
async def test_what_nobody_answers_still_waits(
    stall: Stall, alice: Seller, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, how: str
):
    profile = await stall.connect(alice, "mercari")
    stall.sandbox.fault("mercari", kind="captcha", times=1000)
    await stall.visit(profile)
    asked = (await alice.client.post("/api/sittings", json={"browserProfileId": profile})).json()
    if how == "nobody comes":
        monkeypatch.setattr(sittings, "IDLE", timedelta(seconds=3))
    elif how == "half an hour is over":
        monkeypatch.setattr(sittings, "LONGEST", timedelta(seconds=5))
    async with dashboard.worker(profile):
        if how == "its seller closes it":
            await _seat(dashboard)
            assert (await alice.client.post(f"/api/sittings/{asked['id']}/close")).status_code == 200
        elif how == "the worker stops":
            await _seat(dashboard)
            stall.tools.stopping.set()
    (row,) = await _rows(stall)
    ends = {"half an hour is over": "long", "nobody comes": "left", "its seller closes it": "closed",
            "the worker stops": None}  # fmt: skip
    assert (row["outcome"], row["address"]) == (ends[how], None)
    (connection,) = await stall.rows("SELECT needs_you, lease_until FROM connections")
    assert connection["needs_you"]["reason"] == "challenge"
    assert connection["lease_until"] is None
    stall.tools.stopping.clear()
    if how == "the worker stops":  # another one goes on with it
        async with dashboard.worker(profile):
            await _seat(dashboard)
            await alice.client.post(f"/api/sittings/{asked['id']}/close")


@pytest.mark.extended
async def test_a_worker_opens_it_in_a_lane_of_its_own(
    stall: Stall, alice: Seller, dashboard: Dashboard, start_worker: Any
):
    """One slot of each kind: who takes their time holds up nobody's posts."""
    waits = await stall.connect(alice, "mercari")
    await stall.connect(alice, "poshmark")
    stall.sandbox.fault("mercari", kind="captcha", times=1000)
    await stall.visit(waits)
    start_worker(WORKER_SITTINGS="1")
    page = await dashboard.open(alice)
    await page.goto("/needs-you")
    await page.get_by_role("button", name="Open it here").click()
    await page.locator("[data-turn=yours][data-shows]").wait_for(timeout=90_000)
    job = await stall.post(alice, await stall.listing(alice), ["poshmark"])
    await _until(lambda: len(stall.live("poshmark")) == 1)
    await _until_job(stall, alice, job["jobId"])
    (row,) = await _rows(stall)
    assert row["ended_at"] is None
    assert row["address"].startswith("http://127.0.0.1:")
    await page.get_by_role("button", name="Close the browser").click()
    await page.get_by_text("The browser is closed.").wait_for()


async def _until_job(stall: Stall, seller: Seller, job: str) -> None:
    end = time.monotonic() + 60
    while (await stall.job(seller, job))["status"] == "running":
        assert time.monotonic() < end
        await asyncio.sleep(0.1)


async def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def _seat(dashboard: Dashboard) -> Seat:
    """The one that is its seller's now."""
    await _until(lambda: any(one.turn == "yours" for one in dashboard.seats._seats.values()))
    (seat,) = dashboard.seats._seats.values()
    return seat


@pytest.mark.extended
async def test_what_is_asked_again_while_the_seller_looks_on_is_handed_over_too(
    stall: Stall, alice: Seller, dashboard: Dashboard
):
    """Of the account itself nothing is asked any more; of the form there is, while the visit goes on."""
    profile = await stall.connect(alice, "mercari")
    await stall.visit(profile)
    await stall.post(alice, await stall.listing(alice), ["mercari"])
    asks = '{"reason": "challenge", "message": "A person?", "url": null, "actions": []}'
    await stall.rows("UPDATE connections SET needs_you = CAST(:asks AS jsonb) RETURNING id", asks=asks)
    stall.sandbox.fault("mercari", kind="captcha", times=1000, path="/sell/")
    stall.sandbox.fault("mercari", kind="latency", seconds=2, times=1000)
    page = await dashboard.open(alice)
    asked = (await alice.client.post("/api/sittings", json={"browserProfileId": profile})).json()
    await page.goto(asked["href"])
    async with dashboard.worker(profile):
        await _seat(dashboard)
        stall.sandbox.clear_faults()
        check = dashboard.remote().frame_locator("iframe.challenge")
        await check.get_by_role("checkbox").check(timeout=90_000)
        await check.get_by_role("button").click(timeout=90_000, no_wait_after=True)
        await page.get_by_text("That is done.").wait_for(timeout=60_000)
    assert len(stall.live("mercari")) == 1


async def _not_for(other: Seller, dashboard: Dashboard, url: str) -> None:
    """The page, its picture and its end are nobody else's."""
    page = await dashboard.open(other)
    path = url.removeprefix(dashboard.url)
    answer = await page.goto(path)
    assert answer
    assert answer.status == 404
    assert (await other.client.post(f"/api{path}/close")).status_code == 404
    assert (await other.client.get("/api/sittings")).json() == {"sittings": []}
    cookies = "; ".join(f"{one['name']}={one['value']}" for one in await page.context.cookies())
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(
            f"{url.replace('http', 'ws')}/live", proxy=None,
            additional_headers={"Cookie": cookies, "Origin": dashboard.url},
        )  # fmt: skip
    assert refused.value.response.status_code == 404
    await page.context.close()
