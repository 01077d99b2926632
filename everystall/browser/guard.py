"""The guard: a small process between Playwright and Chromium that ends the browser with its worker.

A stopped or killed worker cannot close anything, and its browser would still click. So the guard kills
its whole process group as soon as the link to the worker closes, or no beat came before the deadline.
Run as a program it needs the standard library only; the worker uses `Deadline` and `Guard`.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

#: Survives suspension of the machine where the system has such a clock; the same in all processes.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
LINK = "EVERYSTALL_GUARD_LINK"
PROGRAM = "EVERYSTALL_GUARD_PROGRAM"
UNTIL = "EVERYSTALL_GUARD_UNTIL"
_BEAT = struct.Struct("!d")


def clock() -> float:
    """Seconds on the clock that guard and worker share."""
    return time.clock_gettime(_CLOCK)


class Deadline:
    """Until when a visit may act. `beat` moves it; nobody can move it back, and once it has passed it stays
    so: the guard has ended the browser by then."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.until = clock() + seconds
        self._links: list[socket.socket] = []

    @property
    def passed(self) -> bool:
        return clock() >= self.until

    def beat(self, started: float) -> None:
        """The lease was renewed by a call that began at `started` (clock())."""
        if self.passed:
            return
        self.until = max(self.until, started + self.seconds)
        for link in self._links:
            self._send(link)

    def link(self, link: socket.socket) -> None:
        """From now on this guard hears every beat."""
        self._links.append(link)
        self._send(link)

    def unlink(self, link: socket.socket) -> None:
        with suppress(ValueError):
            self._links.remove(link)

    def _send(self, link: socket.socket) -> None:
        with suppress(OSError):  # a guard that is gone has killed its browser already
            link.send(_BEAT.pack(self.until), socket.MSG_DONTWAIT)


class Guard:
    """Worker side, `async with`: `program` is what Playwright starts, with `env`; then `await connected()`.
    Leaving the block kills what is still there."""

    def __init__(self, folder: Path, chromium: Path, deadline: Deadline) -> None:
        self._deadline = deadline
        self._address = folder / "g"
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.setblocking(False)
        self._server.bind(str(self._address))
        self._server.listen(1)
        self._link: socket.socket | None = None
        self.program = folder / "chromium"
        self.program.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" -I -S "{Path(__file__).resolve()}" "$@"\n'
        )
        self.program.chmod(0o700)
        self.env = {LINK: str(self._address), PROGRAM: str(chromium), UNTIL: repr(deadline.until)}

    async def __aenter__(self) -> Guard:
        import asyncio  # not at the top: the guard's own start must stay quick

        self._accepting = asyncio.create_task(self._accept())
        return self

    async def _accept(self) -> None:
        import asyncio

        self._link, _ = await asyncio.get_running_loop().sock_accept(self._server)
        self._link.setblocking(False)
        self._deadline.link(self._link)

    async def connected(self) -> None:
        """Until the guard has called; from then on it hears every beat. TimeoutError after five seconds."""
        import asyncio

        await asyncio.wait_for(asyncio.shield(self._accepting), 5)

    async def __aexit__(self, *_: object) -> None:
        self._accepting.cancel()
        if self._link is not None:
            self._deadline.unlink(self._link)
            self._link.close()
        self._server.close()


def main() -> None:
    """Playwright's executable: start Chromium, keep the link, end both together."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.connect(os.environ.pop(LINK))
    program = os.environ.pop(PROGRAM)
    until = float(os.environ.pop(UNTIL))
    with suppress(OSError):
        os.setpgid(0, 0)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _die_with_parent(parent)
        os.execv(program, [program, *sys.argv[1:]])
    for fd in (3, 4):  # the pipe of the browser protocol: Chromium's alone
        with suppress(OSError):
            os.close(fd)
    _watch(link, child, until)


def _watch(link: socket.socket, child: int, until: float) -> None:
    ended = os.pidfd_open(child) if hasattr(os, "pidfd_open") else -1
    heard = b""
    while True:
        left = until - clock()
        if left <= 0:
            _kill()
        watched = [link.fileno()] + ([ended] if ended >= 0 else [])
        ready, _, _ = select.select(watched, [], [], min(left, 0.2) if ended < 0 else left)
        if ended in ready or ended < 0:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid == child:
                os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        if link.fileno() in ready:
            try:
                got = link.recv(4096)
            except OSError:
                got = b""
            if not got:
                _kill()
            heard += got
            while len(heard) >= _BEAT.size:
                until = max(until, _BEAT.unpack_from(heard)[0])
                heard = heard[_BEAT.size :]


def _kill() -> None:
    """Everything in our group, ourselves included: Playwright starts us as the leader of one."""
    os.killpg(0, signal.SIGKILL)


def _die_with_parent(parent: int) -> None:
    """On Linux: the kernel kills Chromium should the guard itself be killed."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main()
