"""What a worker says of itself is true: each thing that a visit needs is taken away, and it says so."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from everystall import __version__, installation
from everystall.browser.guard import Deadline
from everystall.db import Database
from everystall.errors import BrowserNotStarted, Misconfigured
from everystall.processes import free_port
from everystall.worker import presence, visit
from everystall.worker.health import HANGS_SECONDS, Health
from everystall.worker.lease import Lease
from everystall.worker.presence import Presence
from tests.test_cli import ROOT, clean
from tests.test_rolling_upgrades import CONTRACTS
from tests.test_upgrading import newer, settings

__all__ = ["newer", "settings"]  # fixtures


@pytest.fixture
async def tools(db, settings):
    """As much of a worker as its health is asked of."""
    return SimpleNamespace(db=db, settings=settings, stopping=asyncio.Event(), presence=Presence())


@pytest.fixture
async def ask(tools):
    port = free_port()
    async with (
        Health(tools).told("127.0.0.1", port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):

        async def ask(path: str) -> tuple[int, dict[str, object]]:
            answer = await client.get(path)
            return answer.status_code, answer.json()

        yield ask


async def test_a_worker_that_can_work_says_so_and_nothing_of_a_seller(ask, alice, make_connection):
    await make_connection(alice)
    status, said = await ask("/readyz")
    assert (status, said.pop("version")) == (200, __version__)
    assert said == {"ready": True, "draining": False, "database": "ok", "browser": "ok", "leases": "ok",
                    "signs": "ok", "visits": 0}  # fmt: skip
    assert (await ask("/healthz"))[0] == 200


async def test_nothing_else_is_answered_there(tools):
    port = free_port()
    async with Health(tools).told("127.0.0.1", port), httpx.AsyncClient(trust_env=False) as client:
        for path in ("/", "/sit", "/metrics", "/readyz/"):
            assert (await client.get(f"http://127.0.0.1:{port}{path}")).status_code == 404


async def test_one_that_was_told_to_end_is_not_ready_and_lives(ask, tools):
    tools.stopping.set()
    status, said = await ask("/readyz")
    assert (status, said["ready"], said["draining"]) == (503, False, True)
    assert (await ask("/healthz"))[0] == 200


async def test_one_whose_database_is_away_or_of_another_version_is_not_ready_and_lives(
    ask, tools, settings, newer
):
    known = tools.db
    tools.db = Database("postgresql://nobody:hush@127.0.0.1:9/none")
    status, said = await ask("/readyz")
    assert (status, said["ready"]) == (503, False)
    assert str(said["database"]).startswith("does not answer")
    assert "hush" not in str(said)
    tools.presence.signed_at = time.monotonic() - HANGS_SECONDS - 1
    assert tools.db.absence.suspected
    assert (await ask("/healthz"))[0] == 200, "it would stand no better if it was started anew"
    await tools.db.close()
    tools.db, tools.presence.signed_at = known, time.monotonic()
    await known.engine.dispose()
    newer(CONTRACTS)
    await asyncio.to_thread(installation.migrate, settings)
    status, said = await ask("/readyz")
    assert (status, "newer version (9900" in str(said["database"])) == (503, True)


async def test_one_whose_last_browser_did_not_start_is_not_ready_until_one_does(ask, tools):
    outcomes = [BrowserNotStarted("Everystall's own browser did not start in time."), "a browser"]

    class Visit(visit.Visit):
        def __init__(self) -> None:
            self.tools = tools

        async def _enter_browser(self, stored):
            if isinstance(outcome := outcomes.pop(0), Exception):
                raise outcome
            return outcome

    with pytest.raises(BrowserNotStarted):
        await Visit()._start_browser(None)
    status, said = await ask("/readyz")
    assert (status, "did not start in time" in str(said["browser"])) == (503, True)
    assert (await ask("/healthz"))[0] == 200
    assert await Visit()._start_browser(None) == "a browser"
    assert (await ask("/readyz"))[0] == 200


async def test_one_whose_visits_cannot_renew_their_leases_is_not_ready(
    ask, tools, db, admin, settings, alice, bob, make_connection
):
    """Each seller has an account; a visit is at alice's."""
    connection = await make_connection(alice)
    await make_connection(bob)
    lease = await Lease.take(db, settings, connection.id)
    with tools.presence.holding(lease):
        assert (await ask("/readyz"))[0] == 200
        lease.deadline = Deadline(0)  # no renewal arrived
        status, said = await ask("/readyz")
        assert (status, said["leases"]) == (503, "1 not renewed in time")
        lease.lost.set()  # then the visit ends by itself
        assert (await ask("/readyz"))[0] == 200
    assert tools.presence.leases == set()


async def test_a_visit_says_which_account_it_holds_for_as_long_as_it_does(
    tools, db, alice, make_connection, monkeypatch
):
    connection, seen = await make_connection(alice), []

    async def run(self):
        seen.extend(one.connection_id for one in tools.presence.leases)

    monkeypatch.setattr(visit.Visit, "run", run)
    await visit.visit(tools, connection.id, "visits")
    assert (seen, tools.presence.leases) == ([connection.id], set())


async def test_one_that_has_not_told_for_a_minute_that_it_lives_is_to_be_started_anew(
    ask, tools, monkeypatch
):
    tools.presence.signed_at = time.monotonic() - HANGS_SECONDS - 1
    status, said = await ask("/healthz")
    assert (status, said["status"]) == (503, "hangs")
    assert (await ask("/readyz"))[0] == 503
    await tools.presence.sign(tools)
    assert (await ask("/healthz"))[0] == 200


async def test_a_worker_ends_where_the_database_became_one_that_it_does_not_work_with(
    tools, settings, newer, monkeypatch
):
    """It began in the moment in which somebody migrated, and was seen by nobody."""
    monkeypatch.setattr(presence, "SIGN_SECONDS", 0.1)

    class Following:
        def __init__(self, *_: object) -> None: ...

        async def follow(self, *_: object, **__: object) -> None: ...

    monkeypatch.setattr(presence, "Following", Following)
    tools.vault = SimpleNamespace(open_setting=None)
    async with tools.presence.standing(tools):
        await asyncio.sleep(0.3)
        assert not tools.stopping.is_set()
        newer(CONTRACTS)
        monkeypatch.setattr("everystall.compatibility.find_broken", lambda *_: [])
        await asyncio.to_thread(installation.migrate, settings)
        await asyncio.wait_for(tools.stopping.wait(), 10)
    assert tools.presence.mismatch is not None
    assert "newer version" in tools.presence.mismatch.said


async def test_a_port_that_somebody_has_is_named(tools):
    port = free_port()
    async with Health(tools).told("127.0.0.1", port):
        with pytest.raises(Misconfigured, match=str(port)) as refused:
            async with Health(tools).told("127.0.0.1", port):
                pass
        assert "WORKER_HEALTH_PORT" in refused.value.action
    async with Health(tools).told("127.0.0.1", None):
        pass


@pytest.mark.longer
@pytest.mark.parametrize("command", ["worker", "web"])
def test_systemd_hears_when_it_is_ready_that_it_lives_and_that_it_ends(command: str, tmp_path: Path):
    """A real process; who listens is we."""
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(tmp_path / "notify"))
    heard.settimeout(240)
    port = free_port()
    env = {
        **clean(), "EVERYSTALL_HOME": str(tmp_path / "home"), "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "2000000", "EVERYSTALL_PORT": str(free_port()), "WORKER_HEALTH_PORT": str(port),
    }  # fmt: skip
    with open(tmp_path / "log", "wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "everystall", command], cwd=ROOT, env=env, stdout=out, stderr=out
        )
    try:
        said = [heard.recv(100) for _ in range(3)]
        assert set(said) == {b"READY=1", b"WATCHDOG=1"}, said
        if command == "worker":
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
                assert client.get("/readyz").json()["ready"] is True
                os.kill(process.pid, signal.SIGSTOP)
                with pytest.raises(httpx.HTTPError):
                    client.get("/healthz", timeout=2)
                os.kill(process.pid, signal.SIGCONT)
                assert client.get("/healthz").status_code == 200
        process.terminate()
        while heard.recv(100) != b"STOPPING=1":
            pass
        assert process.wait(70) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()
        heard.close()
