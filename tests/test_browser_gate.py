"""The way out of a browser that an agent works in: by names of hosts, and cut where they no more count."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import sys

import pytest

from everystall.browser.gate import Gate
from everystall.browser.session import _within


def everybody(_: str) -> bool:
    return True


@pytest.fixture
async def echo():
    """A port that says what it hears, and then that it heard all."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data.upper())
        writer.write(b".")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def through(gate: Gate, host: str, port: int):
    """(what it answers, reader, writer)"""
    there = next(arg for arg in gate.args if arg.startswith("--proxy-server="))
    reader, writer = await asyncio.open_connection("127.0.0.1", int(there.rpartition(":")[2]))
    writer.write(b"\x05\x01\x00")
    assert await reader.readexactly(2) == b"\x05\x00"
    try:
        address = ipaddress.ip_address(host)
        named = bytes([1 if address.version == 4 else 4]) + address.packed
    except ValueError:
        named = bytes([3, len(host)]) + host.encode()
    writer.write(b"\x05\x01\x00" + named + port.to_bytes(2, "big"))
    return (await reader.readexactly(10))[1], reader, writer


@pytest.mark.parametrize("host", ["shop.localhost", "SHOP.localhost.", "localhost", "127.0.0.1"])
async def test_what_may_be_reached_is_and_nothing_is_changed_on_the_way(echo, host):
    async with Gate(everybody) as gate:
        code, reader, writer = await through(gate, host, echo)
        assert code == 0
        sent = b"hello " * 50_000
        writer.write(sent)
        writer.write_eof()
        assert await reader.read(-1) == sent.upper() + b"."
        writer.close()


@pytest.mark.parametrize("host", [
    "evil.localhost", "shop.localhost.evil.localhost", "notshop.localhost", "127.0.0.1", "::1", "localhost",
])  # fmt: skip
async def test_a_host_that_only_looks_like_one_that_is_listed_is_not_reached(echo, host):
    async with Gate(everybody) as gate:
        gate.only(lambda asked: _within(asked, ["shop.localhost"]))
        for own in ("shop.localhost", "pictures.shop.localhost"):
            code, _, writer = await through(gate, own, echo)
            assert code == 0
            writer.close()
        code, reader, writer = await through(gate, host, echo)
        assert code == 2
        assert await reader.read(-1) == b""
        writer.close()


async def test_what_is_open_to_others_is_cut_and_they_may_come_again_afterwards(echo):
    async with Gate(everybody) as gate:
        _, own, ours = await through(gate, "shop.localhost", echo)
        _, other, theirs = await through(gate, "evil.localhost", echo)
        gate.only(lambda asked: asked == "shop.localhost")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await other.readexactly(1)
        ours.write(b"still")
        assert await own.readexactly(5) == b"STILL"
        gate.only(None)
        code, _, again = await through(gate, "evil.localhost", echo)
        assert code == 0
        for writer in (ours, theirs, again):
            writer.close()


async def test_what_it_was_made_for_holds_whatever_is_listed(echo):
    """As a practice marketplace's, which reaches nothing but this machine."""
    async with Gate(lambda host: host.endswith(".localhost")) as gate:
        gate.only(everybody)
        code, _, writer = await through(gate, "127.0.0.1", echo)
        assert code == 2
        writer.close()


async def test_whom_nobody_answers_is_told_so(unused_tcp_port_factory):
    async with Gate(everybody) as gate:
        code, _, writer = await through(gate, "127.0.0.1", unused_tcp_port_factory())
        assert code == 5
        writer.close()


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\x05\x01\x00\x05\x02\x00\x01", b"\x05", b""])
async def test_what_speaks_something_else_gets_nothing(said):
    async with Gate(everybody) as gate:
        there = next(arg for arg in gate.args if arg.startswith("--proxy-server="))
        reader, writer = await asyncio.open_connection("127.0.0.1", int(there.rpartition(":")[2]))
        writer.write(said)
        writer.write_eof()
        assert (await reader.read(-1)).strip(b"\x05\x00") == b""
        writer.close()


async def test_with_it_all_connections_end(echo):
    async with Gate(everybody) as gate:
        _, reader, writer = await through(gate, "shop.localhost", echo)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()


#: As another user: all that a proxy is told at once, and then it waits for the answer, or is gone.
STRANGER = """import json, os, socket, sys
user, gate, port, waits = json.loads(sys.argv[1])
os.setuid(user)
with socket.socket() as way:
    way.connect(("127.0.0.1", gate))
    way.sendall(b"\\5\\1\\0\\5\\1\\0\\1\\x7f\\0\\0\\1" + port.to_bytes(2, "big") + b"hello")
    if waits:
        try:
            sys.stdout.write(str(len(way.recv(100))))
        except ConnectionError:
            sys.stdout.write("0")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be somebody else")
@pytest.mark.parametrize("waits", [True, False])
async def test_a_program_of_another_user_is_not_let_in(waits):
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Gate(everybody) as gate:
        there = next(arg for arg in gate.args if arg.startswith("--proxy-server="))

        async def come(user: int) -> str:
            told = json.dumps([user, int(there.rpartition(":")[2]), port, waits])
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-c", STRANGER, told, stdout=asyncio.subprocess.PIPE
            )
            said, _ = await process.communicate()
            assert process.returncode == 0
            await asyncio.sleep(0.3)
            return said.decode()

        assert await come(65534) == ("0" if waits else "")
        assert heard == []
        if waits:  # one that is gone is not asked who it was
            assert int(await come(0)) > 0
            assert heard == [b"hello"]
    server.close()
