"""`everystall worker` as processes: started, heard (each writes where its visit is), struck, ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.memory import PROC, descendants
from everystall.processes import python_path

Line = dict[str, Any]


class Worker:
    """One of them. Its log is a file and what `hear` is called with, line by line."""

    def __init__(self, log: Path, hear: Callable[[Line], None]) -> None:
        self.log = log
        self._hear = hear
        self._ready = asyncio.Event()
        self.stopped = False

    async def start(self, env: Mapping[str, str]) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "everystall", "worker", "--with-parent",  # however we end, it ends too
            env={**env, "PYTHONPATH": python_path()}, cwd=self.log.parent, start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE, limit=1 << 20,
        )  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(b".")  # it may begin
        self._listening = asyncio.create_task(self._listen())

    async def ready(self) -> None:
        """Raises RuntimeError if it ends instead."""
        async with asyncio.timeout(60):
            while not self._ready.is_set():
                if not self.alive:
                    raise RuntimeError(f"a worker ended at its start: see {self.log}")
                await asyncio.sleep(0.02)

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        with self.log.open("ab", buffering=0) as log:
            async for raw in self._process.stderr:
                log.write(raw)
                with suppress(ValueError):
                    line = json.loads(raw)
                    if line.get("event") == "worker.ready":
                        self._ready.set()
                    self._hear(line)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def send(self, number: signal.Signals) -> None:
        self.stopped = number == signal.SIGSTOP
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def end(self, *, kill: bool = False) -> int:
        """SIGTERM as an operator would, or SIGKILL; the exit code."""
        if self.alive:
            self.send(signal.SIGCONT)
            self.send(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            async with asyncio.timeout(40):
                code = await self._process.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            code = await self._process.wait()
        await self._listening
        return code

    # ---- what it started ----

    def tree(self) -> list[int]:
        return [self.pid, *descendants(self.pid)]

    def chromiums(self) -> list[int]:
        return browsers(self.pid)

    def renderers(self) -> list[int]:
        return [pid for pid in descendants(self.pid) if b"--type=renderer" in _words(pid)]

    def driver(self) -> int | None:
        return driver(self.pid)


def browsers(pid: int) -> list[int]:
    """The browsers' main processes below a process: what guards started."""
    return [one for one in descendants(pid) if (words := _words(one)) and _is_browser(words)]


def naming(path: Path) -> list[int]:
    """Processes of the machine that were told of this path, whoever they belong to by now: one whose worker
    was killed is init's."""
    said = str(path).encode()
    return [int(one.name) for one in PROC.iterdir() if one.name.isdigit() and any(
        said in word for word in _words(int(one.name)))]  # fmt: skip


def driver(pid: int) -> int | None:
    """Playwright's own process."""
    return next((one for one in descendants(pid) if b"run-driver" in _words(one)), None)


def _words(pid: int) -> list[bytes]:
    try:
        # Chromium rewrites its title: blanks instead of zeros
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").split()
    except OSError:
        return []


def _is_browser(words: list[bytes]) -> bool:
    text = b" ".join(words)
    return (
        b"--user-data-dir" in text
        and b"--type=" not in text
        and b"guard.py" not in text
        and b"/bin/sh" not in words[0]
    )
