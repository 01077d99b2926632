"""The only way out of a visit's Chromium in which an agent may work: a SOCKS proxy of ours on 127.0.0.1.

What it keeps out is out of reach for all that is in the browser: workers of each kind, their sockets, what is
prefetched or connected to in advance, WebRTC. It knows names of hosts and nothing of what is said to them.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

log = structlog.get_logger()

#: May this host be reached?
Rule = Callable[[str], bool]

#: What RFC 1928 calls: succeeded, not allowed, host unreachable, connection refused.
_DONE, _NOT_ALLOWED, _UNREACHABLE, _REFUSED = 0, 2, 4, 5
#: Seconds for a connection to be made.
_SECONDS = 30


class Gate:
    """`rule`: what may be reached at all."""

    def __init__(self, rule: Rule) -> None:
        self._rule, self._only = rule, rule
        #: Connections that are open, to which host.
        self._open: dict[asyncio.StreamWriter, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def args(self) -> list[str]:
        """For Chromium: all that it sends goes this way, to this machine too, and it looks up no name."""
        port = self._server.sockets[0].getsockname()[1]
        return [
            f"--proxy-server=socks5://127.0.0.1:{port}",
            "--proxy-bypass-list=<-loopback>",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",  # as it was called before
            "--webrtc-ip-handling-policy=disable_non_proxied_udp",
        ]

    def only(self, rule: Rule | None) -> None:
        """Nothing else from now on, and what is open to others ends; None: as at first."""
        self._only = rule or self._rule
        for writer, host in list(self._open.items()):
            if not self._may(host):
                writer.transport.abort()

    def _may(self, host: str) -> bool:
        return self._rule(host) and self._only(host)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            host, port = await _asked(reader, writer)
            if not self._may(host):
                log.warning("browser.host_refused", host=host)
                writer.write(_answer(_NOT_ALLOWED))
                return
            there = await _connect(host, port, writer)
            if there is None:
                return
            self._open[writer] = self._open[there[1]] = host
            try:
                if self._may(host):  # it took its time
                    writer.write(_answer(_DONE))
                    await asyncio.gather(_carry(reader, there[1]), _carry(there[0], writer))
            finally:
                del self._open[writer], self._open[there[1]]
                there[1].transport.abort()
        except (OSError, EOFError, ValueError):
            pass  # the other side went, or speaks something else
        finally:
            writer.close()


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
    """Where to. Raises ValueError, EOFError."""
    version, methods = await reader.readexactly(2)
    await reader.readexactly(methods)
    writer.write(b"\x05\x00")
    version, command, _, kind = await reader.readexactly(4)
    if version != 5 or command != 1 or kind not in (1, 3, 4):
        raise ValueError
    if kind == 3:
        length = (await reader.readexactly(1))[0]
        host = (await reader.readexactly(length)).decode("ascii").lower().rstrip(".")
    else:
        host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
    return host, int.from_bytes(await reader.readexactly(2), "big")


async def _connect(
    host: str, port: int, writer: asyncio.StreamWriter
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """None: it was told that this did not work."""
    # as Chromium does: such a name is this machine, whoever answers for it elsewhere
    address = "127.0.0.1" if host == "localhost" or host.endswith(".localhost") else host
    try:
        async with asyncio.timeout(_SECONDS):
            return await asyncio.open_connection(address, port, happy_eyeballs_delay=0.25)
    except OSError as e:  # TimeoutError, too
        writer.write(_answer(_REFUSED if e.errno == errno.ECONNREFUSED else _UNREACHABLE))
        return None


def _answer(code: int) -> bytes:
    return bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0))


async def _carry(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    """Until it ends, and then that it did."""
    try:
        while data := await source.read(65536):
            to.write(data)
            await to.drain()
        with suppress(OSError):
            to.write_eof()
    except OSError:
        to.transport.abort()
