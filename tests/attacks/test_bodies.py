"""Row 14: bodies of 400 MB, with a length and without, at a real web. They are refused and cost nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from everystall.processes import answers, free_port
from tests.attacks.estate import Estate

MEGABYTE = 1024 * 1024
SIZE = 400 * MEGABYTE
ROUTES = {
    "/api/listings/{listingId}/photos": "image/jpeg",
    "/api/listings": "application/json",
    "/api/imports": "multipart/form-data; boundary=b",
    "/api/sessions/sync": "application/json",
    "/api/jobs/webhook": "application/json",
    "/api/sign-in": "application/json",
    "/api/pairings/look": "application/json",
    "/nowhere": "application/octet-stream",
}
FORM = "multipart/form-data; boundary=b"

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


@pytest.fixture
def web(estate: Estate, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """(port, process id) of the web on Alice's estate."""
    settings, port = estate.site.settings, free_port()
    assert settings.database_url
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EVERYSTALL_TEST")},
        "PYTHONPATH": str(Path(__file__).parents[2]), "EVERYSTALL_HOME": str(settings.everystall_home),
        "EVERYSTALL_PORT": str(port), "DATABASE_URL": settings.database_url.get_secret_value(),
    }  # fmt: skip
    with open(tmp_path / "web.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "everystall", "web"], env=env, stdout=log, stderr=log, cwd=tmp_path
        )
    try:
        while answers(f"http://127.0.0.1:{port}/readyz") is None:
            assert process.poll() is None, (tmp_path / "web.log").read_text()
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


@pytest.mark.longer
async def test_400_mb_are_refused_everywhere_and_cost_no_memory(estate: Estate, web: tuple[int, int]):
    port, pid = web
    authorization = f"authorization: Bearer {estate.tokens['api']}"
    sent = [
        (path.format_map(estate.ids), kind, chunked, who)
        for path, kind in [*ROUTES.items(), ("/api/listings/{listingId}/photos", FORM)]
        for chunked in (False, True)
        for who in (authorization, "x-nobody: 1")
    ]
    before = _highest(pid)
    heads = [await _answer(port, *each) for each in sent]
    for (path, _, chunked, who), head in zip(sent, heads, strict=True):
        status = head.split(" ")[1]
        # a body without a length is counted by whoever reads it, and nobody reads a stranger's
        unread = chunked and (who != authorization or path == "/nowhere")
        assert status == "413" or (unread and status in ("401", "404", "422")), (path, chunked, who[:5], head)
    assert _highest(pid) - before < 100, "MB more than before"
    assert answers(f"http://127.0.0.1:{port}/readyz")


@pytest.mark.extended
async def test_many_at_once_cost_no_memory_either(estate: Estate, web: tuple[int, int]):
    port, pid = web
    before = _highest(pid)
    who = f"authorization: Bearer {estate.tokens['api']}"
    async with asyncio.timeout(120):
        heads = await asyncio.gather(
            *(_answer(port, "/api/sessions/sync", "application/json", True, who) for _ in range(20))
        )
    assert {head.split(" ")[1] for head in heads} == {"413"}
    assert _highest(pid) - before < 100, "MB more than before"


HEADS = {
    "one header": (b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ", b"y" * MEGABYTE),
    "many headers": (b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n", b"x: y\r\n" * (MEGABYTE // 6)),
    "address": (b"GET /healthz?", b"y" * MEGABYTE),
    "trailers": (
        b"POST /nowhere HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ",
        b"y" * MEGABYTE,
    ),
}


@pytest.mark.extended
async def test_heads_and_trailers_without_end_are_cut_short(web: tuple[int, int]):
    port, pid = web
    before = _highest(pid)
    for name, (start, piece) in HEADS.items():
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        with pytest.raises(ConnectionError):
            await _pour(writer, piece)
        writer.close()
        assert _highest(pid) - before < 100, f"MB more than before: {name}"
    # what no application sees is refused in the one shape too
    for sent in (b"GARBAGE\r\n\r\n", b"GET /healthz?" + b"y" * 70_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert json.loads(body).keys() == {"error", "message", "action"}
        writer.close()
    assert answers(f"http://127.0.0.1:{port}/readyz")


async def _pour(writer: asyncio.StreamWriter, piece: bytes) -> None:
    for _ in range(SIZE // MEGABYTE):
        writer.write(piece)
        await writer.drain()


async def _answer(port: int, path: str, kind: str, chunked: bool, who: str) -> str:
    """The first line that comes back while 400 MB are being sent, or as many as the web lets us."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    length = "transfer-encoding: chunked" if chunked else f"content-length: {SIZE}"
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {kind}\r\n{who}\r\n{length}\r\n\r\n"
    piece = b" " * MEGABYTE
    framed = b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece

    async def send() -> None:
        try:
            writer.write(head.encode())
            if kind == FORM:
                start = b'--b\r\ncontent-disposition: form-data; name="photos"; filename="x.jpg"\r\n\r\n'
                start = start.ljust(MEGABYTE)
                writer.write(b"%x\r\n%s\r\n" % (len(start), start) if chunked else start)
            for _ in range(SIZE // MEGABYTE - 1):
                writer.write(framed)
                await writer.drain()
        except OSError:
            pass  # it has heard enough

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(60):
            return (await reader.readline()).decode()
    finally:
        sending.cancel()
        writer.close()


def _highest(pid: int) -> float:
    """MB of memory that the process had at most."""
    (line,) = (one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
