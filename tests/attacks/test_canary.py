"""Row 2: a session with a marker in it goes through everything that can happen, in real processes. Afterwards
the marker is in no log, no table, no file and no message."""

from __future__ import annotations

import asyncio
import base64
import os
import resource
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from everystall.marketplaces import MARKETPLACES, get_adapter
from everystall.processes import free_port
from tests.journeys.conftest import Seller, Stall
from tests.receiver import Receiver

pytestmark = [pytest.mark.journey, pytest.mark.browser]

Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture(params=["json", pytest.param("console", marks=pytest.mark.extended)])
def start(request: pytest.FixtureRequest, stall: Stall, tmp_path: Path) -> Iterator[Start]:
    """`start("web")`, `start("worker")`: real processes, which the system would let write core files."""
    settings, running = stall.settings, []
    for name in ("tmp", "cwd", "logs"):
        (tmp_path / name).mkdir()
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EVERYSTALL_TEST")},
        "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path / "tmp"),
        "EVERYSTALL_HOME": str(settings.everystall_home), "EVERYSTALL_PORT": str(free_port()),
        "DATABASE_URL": settings.database_url.get_secret_value(), "DATABASE_ADMIN_URL": stall.admin_url,
        "LOG_FORMAT": request.param,
        **{f"{name.upper()}_URL": settings.base_url(name) for name in MARKETPLACES},
        "PACE_SECONDS": "0", "SETTLE_SECONDS": "4", "LEASE_SECONDS": "4",
        "LEASE_RENEW_SECONDS": "1", "GUARD_SECONDS": "3", "WEBHOOK_ALLOW_PRIVATE": "true",
        "NOTIFICATIONS_WEBHOOK_ENABLED": "true",
    }  # fmt: skip
    stall.sellers["alice"].client.base_url = httpx.URL(f"http://127.0.0.1:{env['EVERYSTALL_PORT']}")
    _, most = resource.getrlimit(resource.RLIMIT_CORE)

    def start(command: str) -> subprocess.Popen[bytes]:
        name = f"{command.replace(' ', '-')}-{len(running)}.log"
        log = open(tmp_path / "logs" / name, "wb")  # noqa: SIM115  (the child's)
        process = subprocess.Popen(
            [sys.executable, "-m", "everystall", *command.split()], env=env, stdout=log, stderr=log,
            cwd=tmp_path / "cwd",
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (most, most)),
        )  # fmt: skip
        log.close()
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait(10)


@pytest.fixture
def mark() -> str:
    return "canary" + secrets.token_hex(17)


@pytest.mark.longer
async def test_a_sessions_secrets_are_nowhere_whatever_happens(
    stall: Stall, start: Start, mark: str, tmp_path: Path
):
    alice = stall.sellers["alice"]
    alice.client = httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(), base_url=alice.client.base_url,
        headers=alice.client.headers, timeout=30,
    )  # fmt: skip
    start("web")
    worker = start("worker")
    await _until(lambda: _answers(alice))
    async with Receiver() as receiver:
        made = await alice.client.post("/api/webhooks", json={"url": receiver.url()})
        assert made.status_code == 201, made.text
        shown = "shown" + secrets.token_hex(17)  # on each page
        await _hand_over(stall, alice, shown, mark)

        async def post(*, then: str, meanwhile: str | None = None, **fields: Any) -> dict[str, Any]:
            listing = await stall.listing(alice, **fields)
            if meanwhile:
                await alice.client.post("/api/pause")
            job = (await stall.post(alice, listing, ["mercari"]))["jobId"]
            if meanwhile:
                await stall.rows(f"UPDATE connections SET {meanwhile} RETURNING id")
                await stall.rows("UPDATE users SET paused_at = NULL RETURNING id")

            async def ended() -> bool:
                return bool((await stall.job(alice, job))["status"] == then)

            await _until(ended)
            return dict((await stall.job(alice, job))["automationResults"][0])

        # it works
        assert (await post(then="done"))["state"] == "live"
        # a page is not there, and a step meets what nobody foresaw
        stall.sandbox.fault("mercari", kind="down", status=404, path="/sell/", times=1000)
        changed = await post(then="needs_you", title="Another shirt")
        stall.sandbox.clear_faults()
        broken = await post(then="needs_you", title="A third shirt", meanwhile="defaults = '[1]'")
        await stall.rows("UPDATE connections SET defaults = '{}' RETURNING id")
        # the worker crashes while the session is open; the next one tidies up
        stall.sandbox.fault("mercari", kind="latency", seconds=0.5, times=1000)
        listing = await stall.listing(alice, title="A fourth shirt")
        crossed = (await stall.post(alice, listing, ["mercari"]))["jobId"]
        await _until(lambda: _filling(stall))
        worker.send_signal(signal.SIGABRT)
        await asyncio.to_thread(worker.wait, 20)
        stall.sandbox.clear_faults()
        worker = start("worker")
        await _until(lambda: _is(stall, alice, crossed, "done"), 90)
        # a challenge
        stall.sandbox.fault("mercari", kind="captcha", path="/sell/", times=1000)
        asked = await post(then="needs_you", title="A fifth shirt")
        stall.sandbox.clear_faults()
        await _until(lambda: _told(receiver, 5))
        messages = [received.body for received in receiver.got]
        worker.terminate()
        await asyncio.to_thread(worker.wait, 30)
    assert [pair["needsYou"]["reason"] for pair in (changed, broken, asked)] == [
        "page_changed", "page_changed", "challenge"
    ]  # fmt: skip

    dump = await _dump(stall)
    files = {
        str(path.relative_to(tmp_path)): path.read_bytes()
        for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()
    }  # fmt: skip
    places = {**files, "the database": dump, "the webhooks": b"\n".join(messages)}
    assert [name for name, held in places.items() if _found(mark, held)] == []
    # the account's own name is no secret: it may stand in its row, and is blotted in pictures
    assert [name for name, held in files.items() if _found(shown, held)] == []
    # so it would have been found: what is no secret is
    assert _found("A fifth shirt", dump)
    assert any(b"step.broke" in held for name, held in files.items() if name.startswith("logs/worker"))
    assert any(name.endswith(".aria.txt") for name in files)
    assert not [name for name in files if name.startswith(("tmp/", "cwd/", "home/run/profiles"))]
    shown_on = [path for path in tmp_path.rglob("*.aria.txt") if 'link "***"' in path.read_text()]
    assert shown_on
    for outline in shown_on:
        picture = outline.with_name(outline.name.replace(".aria.txt", ".png"))
        assert _blotted(Image.open(picture)) > 500, "the account's name can be read"

    # the keys are changed, everything is opened once, and the account goes
    for command in ("keys rotate --reencrypt", "keys verify"):
        assert await asyncio.to_thread(start(command).wait, 60) == 0, command
    (row,) = await stall.rows("SELECT email FROM users WHERE id = :id", id=alice.user_id)
    gone = await alice.client.request("DELETE", "/api/account?force=true", json={"confirm": row["email"]})
    assert gone.status_code == 200, gone.text
    assert await stall.rows("SELECT 1 AS one FROM users WHERE id = :id", id=alice.user_id) == []
    places = {
        str(path.relative_to(tmp_path)): path.read_bytes()
        for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()
    }  # fmt: skip
    places |= {"the database": await _dump(stall), "the answer": gone.content}
    assert [name for name, held in places.items() if _found(mark, held) or _found(shown, held)] == []


@pytest.mark.longer
async def test_an_unforeseen_failure_that_quotes_a_secret_is_logged_without_it(
    stall: Stall, mark: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    alice = stall.sellers["alice"]
    profile = await _hand_over(stall, alice, "alice", mark)
    short = "only 27 letters with blanks"
    await _hand_over(stall, alice, "alice", short)

    async def publish(self: Any, page: Any, *rest: Any, **more: Any) -> Any:
        held = await page.raw.context.cookies()
        raise RuntimeError(f"what is this: {held}")

    monkeypatch.setattr(type(get_adapter("mercari")), "publish", publish)
    job = await stall.post(alice, await stall.listing(alice), ["mercari"])
    await stall.visit(profile)
    assert (await stall.job(alice, job["jobId"]))["status"] == "needs_you"
    said = "".join(capfd.readouterr())
    assert "step.broke" in said
    assert "RuntimeError" in said
    for secret in (mark, short):
        assert secret not in said + (await _dump(stall)).decode()


async def _hand_over(stall: Stall, seller: Seller, account: str, value: str) -> str:
    """Cookies and storage hold the value."""
    storage = await stall.sign_in("mercari", account)
    host = {"domain": "mercari.localhost", "path": "/", "secure": True, "httpOnly": True}
    storage["cookies"].append({"name": "canary", "value": value, "sameSite": "Lax", **host})
    for store in ("localStorage", "sessionStorage"):
        storage.setdefault(store, {})["canary"] = f'{{"token":"{value}"}}'
    # first as a programme of somebody's gets it wrong
    wrong = await seller.client.post(
        "/api/sessions/sync", json={"marketplace": "mercari", "cookies": [{"nam": value}], value: value}
    )
    assert wrong.status_code == 422
    assert value not in wrong.text
    return await stall.hand_over(seller, "mercari", storage)


async def _until(true: Callable[[], Any], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.1)


async def _answers(seller: Seller) -> bool:
    try:
        return (await seller.client.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def _is(stall: Stall, seller: Seller, job: str, status: str) -> bool:
    return bool((await stall.job(seller, job))["status"] == status)


async def _filling(stall: Stall) -> bool:
    return bool(await stall.rows("SELECT 1 AS one FROM publications WHERE state = 'filling'"))


async def _told(receiver: Receiver, jobs: int) -> bool:
    return len([one for one in receiver.got if one.message["type"] == "job.finished"]) >= jobs


async def _dump(stall: Stall) -> bytes:
    """Every table of every schema of ours, as text; bytes as hex."""
    tables = await stall.rows(
        """SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
           WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""
    )
    rows = [
        row["row"] for table in tables
        for row in await stall.rows(f"SELECT t::text AS row FROM {table['name']} t")
    ]  # fmt: skip
    return "\n".join(rows).encode()


def _found(word: str, held: bytes) -> bool:
    """As it is, in hex, in base64 at any place, in UTF-16."""
    raw = word.encode()
    shapes = [raw, raw.hex().encode(), raw.hex().upper().encode(), word.encode("utf-16-le")]
    # without the letters at either end, which depend on the neighbours
    shapes += [base64.b64encode(b"x" * n + raw)[4:-4] for n in range(3)]
    return any(shape in held for shape in shapes)


def _blotted(picture: Image.Image) -> int:
    """How many points of it are the mask's."""
    colours = picture.convert("RGB").getcolors(picture.width * picture.height) or []
    return sum(count for count, colour in colours if colour == (255, 0, 255))
