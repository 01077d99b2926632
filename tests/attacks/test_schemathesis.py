"""Everything that the OpenAPI allows, and much that it does not: schemathesis against the real web, chaining
what operations answer. Never a 500, never a status, content type or body that is not documented.

By hand, with more:  make test ARGS="tests/attacks/test_schemathesis.py -m extended -s"
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvicorn

from everystall.web.app import create_app
from everystall.web.limits import Limits
from tests.attacks.estate import Estate

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance", "use_after_free",
    "allow_header_conformance", "ignored_auth",
)  # fmt: skip


class Unlimited(Limits):
    """A flood is what this is; the limits have tests of their own."""

    async def spend(self, budget: object, who: str) -> None:
        pass


@pytest.fixture
async def address(estate: Estate) -> AsyncIterator[str]:
    """A real server on Alice's estate."""
    site, parts = estate.site, estate.site.app.state.parts
    app = create_app(
        site.settings, database=site.database, vault=site.vault, photos=parts.photos, limits=Unlimited()
    )
    await app.state.parts.captures.close()  # who waits for a capture is let go at once
    bound = socket.create_server(("127.0.0.1", 0))
    app.openapi()  # made now, and not within the ten seconds that schemathesis waits for it
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
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
        ("fuzzing", 4),
        ("stateful", 30),
        pytest.param("coverage", 1, marks=pytest.mark.extended),
        pytest.param("fuzzing", 60, marks=pytest.mark.extended),
        pytest.param("stateful", 500, marks=pytest.mark.extended),
    ],
)
async def test_whatever_is_sent_is_answered_as_documented(
    estate: Estate, address: str, tmp_path: Path, phase: str, examples: int
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
