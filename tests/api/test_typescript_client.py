"""clients/typescript, in Node, with a real web: what its example does, and what it believes of a webhook."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from everystall.notify.webhooks import sign
from everystall.processes import free_port
from tests.api.conftest import photo

ROOT = Path(__file__).parents[2]
NODE, CLIENT = ROOT / ".venv/bin/node", ROOT / "clients/typescript"
SECRET = "whsec_" + "c2VjcmV0" * 6

pytestmark = pytest.mark.longer


@asynccontextmanager
async def a_web(site, tmp_path):
    """`everystall web`, as a process; its address."""
    port = free_port()
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EVERYSTALL_TEST")},
        "PYTHONPATH": str(ROOT),
        "EVERYSTALL_HOME": str(site.settings.everystall_home),
        "EVERYSTALL_PORT": str(port),
        "DATABASE_URL": site.settings.database_url.get_secret_value(),
    }
    log = tmp_path / "web.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "everystall", "web"], env=env, stdout=out, stderr=out, cwd=tmp_path
        )
    try:
        async with httpx.AsyncClient() as client:
            for _ in range(600):
                assert process.poll() is None, log.read_text()
                try:
                    if (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200:
                        break
                except httpx.TransportError:
                    await asyncio.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


@asynccontextmanager
async def example(url, seller, *marketplaces):
    process = await asyncio.create_subprocess_exec(
        str(NODE), "example.ts", *marketplaces, cwd=CLIENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "EVERYSTALL_URL": url, "EVERYSTALL_TOKEN": seller.token},
    )  # fmt: skip
    process.stdin.write(photo())
    process.stdin.close()
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def heard(process):
    return json.loads(await asyncio.wait_for(process.stdout.readline(), 120))


async def test_the_example_posts_a_listing_once_and_follows_it_and_another_seller_is_told_what_is_missing(
    site, alice, bob, tmp_path
):
    await alice.connect("mercari")
    async with a_web(site, tmp_path) as url:
        async with example(url, alice, "mercari") as process:
            made = await heard(process)
            assert made["again"] == made["jobId"]
            rows = await site.rows("SELECT id, user_id FROM jobs")
            assert [(row["id"], row["user_id"]) for row in rows] == [(made["jobId"], alice.user_id)]
            await site.go_live(alice)
            (there,) = await site.rows("SELECT marketplace, state, url FROM publications")
            assert await heard(process) == there
            assert await process.wait() == 0
        async with example(url, bob, "mercari") as refused:
            said = await heard(refused)
            assert (said["status"], said["error"]) == (409, "session_missing")
            assert said["missing"][0]["marketplace"] == "mercari"
            assert await refused.wait() == 1
    assert len(await site.rows("SELECT FROM jobs")) == 1


def verified(secret, body, headers):
    code = (
        "import { verify } from './index.ts'; const [secret, body, headers] = JSON.parse(process.argv[1]);"
        "console.log(JSON.stringify(verify(secret, body, new Headers(headers))))"
    )
    return subprocess.run(
        [NODE, "--input-type=module-typescript", "-e", code, json.dumps([secret, body, headers])],
        cwd=CLIENT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_webhook_is_believed_if_our_secret_signed_it_and_not_for_long():
    body = json.dumps(
        {"type": "job.finished", "timestamp": "2026-11-25T10:00:00.000Z", "data": {"jobId": "j"}}
    )
    now = datetime.now(UTC)
    headers = dict(sign("msg_1", now, body, [SECRET]))
    assert json.loads(verified(SECRET, body, headers).stdout)["data"] == {"jobId": "j"}
    another = "whsec_" + "YW5vdGhl" * 6
    for secret, said, sent in (
        (another, body, headers),
        (SECRET, body.replace("j", "k"), headers),
        (SECRET, body, dict(sign("msg_1", now - timedelta(hours=1), body, [SECRET]))),
    ):
        refused = verified(secret, said, sent)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "WebhookVerificationError" in refused.stderr
