"""A post, seen by a collector of traces: from a real web's request to each place of a real worker's visit."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from everystall.processes import answers, free_port
from tests.collector import Collector
from tests.journeys.conftest import Seller, Stall

pytestmark = [pytest.mark.journey, pytest.mark.browser, pytest.mark.longer]

#: What the listing says, and must not be told.
CANARY = "canary5d1e77"


@pytest.mark.extended
async def test_a_post_is_one_trace_from_the_webs_request_to_the_workers_click_and_holds_no_secret(
    stall: Stall, alice: Seller, bob: Seller, start_worker: Callable[..., None], tmp_path: Path
):
    storage = await stall.sign_in("poshmark", alice.name)
    profile = await stall.hand_over(alice, "poshmark", storage)
    await stall.connect(bob, "poshmark")
    listing = await stall.listing(alice, title=f"Linen shirt {CANARY}", description=f"{CANARY} worn twice.")
    port = free_port()
    with Collector() as collector:
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "300"}
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EVERYSTALL_TEST")},
            "PYTHONPATH": str(Path(__file__).parents[2]), "EVERYSTALL_PORT": str(port),
            "EVERYSTALL_HOME": str(stall.settings.everystall_home),
            "DATABASE_URL": stall.settings.database_url.get_secret_value(), **told,
        }  # fmt: skip
        with open(tmp_path / "web.log", "wb") as log:
            web = subprocess.Popen(
                [sys.executable, "-m", "everystall", "web"], env=env, stdout=log, stderr=log, cwd=tmp_path
            )
        try:
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 240
            while await asyncio.to_thread(answers, f"{address}/readyz") is None:
                assert web.poll() is None, (tmp_path / "web.log").read_text()
                assert time.monotonic() < deadline
                await asyncio.sleep(0.3)
            start_worker(**told)
            token = alice.client.headers["Authorization"]
            async with httpx.AsyncClient(base_url=address, timeout=60) as client:
                posted = await client.post(
                    "/api/listings/post", json={"listingId": listing, "marketplaces": ["poshmark"]},
                    headers={"Authorization": token},
                )  # fmt: skip
                assert posted.status_code == 200, posted.text
            job = posted.json()["jobId"]
            deadline = time.monotonic() + 240
            while (now := await stall.job(alice, job))["status"] == "running":
                assert time.monotonic() < deadline, now
                await asyncio.sleep(0.5)
            assert now["status"] == "done", now
            await asyncio.to_thread(collector.until, lambda: bool(collector.named("visit")), 120)
        finally:
            web.terminate()
            web.wait(60)
    (request,) = collector.named("POST /api/listings/post")
    mine = {one.id: one for one in collector.spans if one.trace == request.trace}
    (publish,) = [one for one in mine.values() if one.name == "publish"]
    visit = mine[publish.parent]
    woken = mine[visit.parent]
    assert [visit.name, woken.name, woken.parent] == ["visit", "wake-up", request.id]
    assert (request.service, visit.service) == ("everystall-web", "everystall-worker")
    assert publish.attributes["job_id"] == job
    assert publish.attributes["marketplace"] == "poshmark"
    places = [one.name for one in mine.values() if one.parent == publish.id]
    assert {"fill", "arm", "click"} <= set(places)
    assert "job.made" in request.events
    everything = b"".join(collector.raw)
    kept = [one["value"] for one in storage["cookies"] if len(one["value"]) >= 8]
    assert kept
    database = stall.settings.database_url.get_secret_value()
    token = token.removeprefix("Bearer ")
    for hidden in (*kept, CANARY, token, f"{alice.name}@", profile, "poshmark.localhost", database):
        assert hidden.encode() not in everything, hidden
