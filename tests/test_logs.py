"""Log lines as JSON, and what a Sentry is told: never what somebody wrote or is signed in by."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys

import pytest

from tests.receiver import Receiver

#: Stands for whatever must not leave: it is in a body, a cookie, a header, a variable, an error's words.
CANARY = "canary-7f3a"
_SET_UP = """
import logging, sys
from everystall import logs
from everystall.settings import Settings
logs.set_up(Settings(_env_file=None, log_format="json", sentry_dsn=sys.argv[1] or None))
"""
_BREAKS = (
    _SET_UP
    + f"""
import asyncio, httpx, structlog
from fastapi import FastAPI, Request
from everystall.web import answers

app = FastAPI()
answers.install(app)

@app.post("/broken/{{token}}")
async def broken(token: str, request: Request) -> None:
    secret = (await request.body()).decode()
    raise ValueError("cannot read " + secret)

async def main() -> None:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.post("/broken/{CANARY}", content="{CANARY}",
            headers={{"cookie": "everystall={CANARY}", "authorization": "Bearer {CANARY}"}})
        assert answer.status_code == 500
    structlog.get_logger().error("step.broke", step="publish", job_id="job_1", marketplace="ebay",
                                 message="{CANARY}")
    structlog.get_logger().warning("no.error", step="publish")

asyncio.run(main())
"""
)


async def run(script: str, dsn: str = "") -> str:
    """What a process of its own says on standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, dsn, stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.mark.longer
async def test_what_a_sentry_is_told_names_the_error_and_holds_nothing_of_a_seller():
    async with Receiver(answer=200) as sentry:
        said = await run(_BREAKS, f"http://key@127.0.0.1:{sentry.port}/1")
    assert said.count("step.broke") == 1
    told = b"".join(
        gzip.decompress(one.body) if one.headers.get("content-encoding") == "gzip" else one.body
        for one in sentry.got
    ).decode()
    events = [json.loads(line) for line in told.splitlines() if '"event_id"' in line and '"level"' in line]
    assert [one["message"] for one in events] == ["web.broke", "step.broke"]
    (failure,) = events[0]["exception"]["values"]
    assert failure["type"] == "ValueError"
    assert failure["stacktrace"]["frames"][-1]["function"] == "broken"
    assert set(failure) == {"type", "module", "stacktrace"}
    assert events[1]["tags"] == {"step": "publish", "job_id": "job_1", "marketplace": "ebay"}
    (broke,) = [json.loads(line) for line in said.splitlines() if '"web.broke"' in line]
    assert broke["path"] == "/broken/{token}"
    assert CANARY in said  # it was there to be told
    assert CANARY not in told
    for one in events:
        assert not {"request", "breadcrumbs", "extra", "user", "server_name", "modules"} & set(one)


async def test_without_the_package_a_start_says_so_and_goes_on():
    script = "import sys\nsys.modules['sentry_sdk'] = None\n" + _SET_UP + "print('on', file=sys.stderr)\n"
    said = (await run(script, "http://key@127.0.0.1:9/1")).splitlines()
    assert json.loads(said[0])["event"] == "sentry.not_installed"
    assert said[1] == "on"


async def test_what_a_library_says_is_a_line_of_json_too():
    script = (
        _SET_UP
        + """
import structlog
with structlog.contextvars.bound_contextvars(job_id="job_1"):
    logging.getLogger("some.library").warning("it is %s", "late")
"""
    )
    (line,) = (await run(script)).splitlines()
    found = json.loads(line)
    assert (found["event"], found["level"], found["logger"]) == ("it is late", "warning", "some.library")
    assert found["job_id"] == "job_1"
