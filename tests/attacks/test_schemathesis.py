"""Everything that the OpenAPI allows, and much that it does not: schemathesis against the real web, chaining
what operations answer. Never a 500, never a status, content type or body that is not documented.

By hand, with more:  make test ARGS="tests/attacks/test_schemathesis.py -m extended -s"
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from everystall.web.app import create_app
from everystall.web.limits import Limits
from tests.attacks.estate import Estate

#: Not `use_after_free`: an account that was taken away stays to be seen, and it can be told no exception.
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance", "allow_header_conformance", "ignored_auth",
)  # fmt: skip


class Unlimited(Limits):
    """A flood is what this is; the limits have tests of their own."""

    async def spend(self, budget: object, who: str) -> None:
        pass


class Counted:
    """Which operations were sent, and what they were answered."""

    def __init__(self, app: FastAPI) -> None:
        self.app, self.got = app, Counter[tuple[str, int]]()
        self.last = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")
                self.last = message["status"]
                self.got[f"{scope['method']} {getattr(route, 'path', '')}", self.last] += 1
            await send(message)

        await self.app(scope, receive, counted)

    def operations(self, good: bool = False) -> set[str]:
        return {name for name, status in self.got if not good or status < 300}


@pytest.fixture
async def web(estate: Estate) -> Counted:
    site, parts = estate.site, estate.site.app.state.parts
    # the token that all is sent with stays, whoever revokes it: what came after would only be refused
    await site.rows("CREATE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    await site.rows(
        f"CREATE TRIGGER stays BEFORE DELETE ON api_tokens FOR EACH ROW "
        f"WHEN (OLD.id = '{estate.ids['tokenId']}') EXECUTE FUNCTION stays()"
    )
    app = create_app(
        site.settings, database=site.database, vault=site.vault, photos=parts.photos, limits=Unlimited()
    )
    return Counted(app)


@pytest.fixture
async def address(web: Counted) -> AsyncIterator[str]:
    """A real server on Alice's estate."""
    app = web.app
    await app.state.parts.captures.close()  # who waits for a capture is let go at once
    bound = socket.socket(proto=socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    app.openapi()  # made now, and not within the ten seconds that schemathesis waits for it
    server = uvicorn.Server(uvicorn.Config(web, log_config=None, lifespan="off"))
    running = asyncio.create_task(server.serve([bound]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    server.should_exit = True
    await running
    bound.close()


@pytest.mark.parametrize(
    ("phase", "examples"),
    [
        pytest.param("fuzzing", 4, marks=pytest.mark.longer),
        pytest.param("stateful", 30, marks=pytest.mark.extended),
        pytest.param("coverage", 1, marks=pytest.mark.extended),
        pytest.param("fuzzing", 60, marks=pytest.mark.extended),
        pytest.param("stateful", 500, marks=pytest.mark.extended),
    ],
)
async def test_whatever_is_sent_is_answered_as_documented(
    estate: Estate, web: Counted, address: str, tmp_path: Path, phase: str, examples: int
):
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml"), "run",
        f"{address}/openapi.json", "--header", f"Authorization: Bearer {estate.tokens['api']}",
        "--checks", ",".join(CHECKS), "--max-examples", str(examples), "--seed", "7", "--continue-on-failure",
        "--phases", phase, "--generation-database", "none", "--no-color",
        "--suppress-health-check", "all", "--warnings", "off",
    ]  # fmt: skip
    (tmp_path / "schemathesis.toml").write_text("")
    process = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said[-20_000:]
    (cases,) = re.findall(r"(\d+) generated", said)
    assert int(cases) > 50, said
    sys.stdout.write(said)
    known = {
        f"{method.upper()} {path}"
        for path, methods in web.app.openapi()["paths"].items()
        for method in methods
    }
    sent, good = web.operations() & known, web.operations(good=True) & known
    sys.stdout.write(f"{len(sent)} of {len(known)} operations were sent, {len(good)} done\n")
    assert len(sent) >= (20 if phase == "stateful" else len(known))
    assert len(good) >= (15 if phase == "stateful" else len(known) * 0.6)
    async with httpx.AsyncClient(base_url=address) as client:  # and so it was to the end
        bearer = {"Authorization": f"Bearer {estate.tokens['api']}"}
        assert (await client.get("/api/account", headers=bearer)).status_code == 200
