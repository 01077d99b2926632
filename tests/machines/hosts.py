"""Hosts that Everystall's processes run on: this machine with a folder for each, or, with
EVERYSTALL_TEST_HOSTS=namespaces (`make test-machines`), a network namespace for each on a bridge of our own,
so that one reaches another by its address only."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from everystall.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
APART = os.environ.get("EVERYSTALL_TEST_HOSTS") == "namespaces"


@dataclass
class Host:
    """One machine. What is started on it ends with the test."""

    name: str
    address: str
    home: Path
    namespace: str | None = None
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """`python ARGUMENTS`; what it says goes to a file of its number in the host's folder."""
        inside = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        with open(self.home / f"{len(self.running)}.log", "wb") as log:
            process = subprocess.Popen(
                [*inside, sys.executable, *arguments],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **(env or {})},
                stdout=log, stderr=log, cwd=self.home, start_new_session=True,
            )  # fmt: skip
        self.running.append(process)
        return process

    def relay(self, here: tuple[str, int], there: tuple[str, int]) -> None:
        self.start("-m", "tests.machines.relay", *(str(part) for part in (*here, *there)))

    def said(self) -> str:
        """The last lines of everything that ran here."""
        logs = sorted(self.home.glob("*.log"))
        return "\n".join(f"== {log}\n{log.read_text(errors='replace')[-3000:]}" for log in logs)

    def end(self) -> None:
        for process in self.running:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(10)


@dataclass
class Hosts:
    """`hub` is where PostgreSQL, the store and the practice marketplaces are, as all hosts reach it."""

    hub: Host
    others: list[Host]

    @property
    def network(self) -> str:
        """From where PostgreSQL is asked."""
        return self.hub.address.rpartition(".")[0] + ".0/24"


@contextmanager
def make_hosts(folder: Path, *names: str) -> Iterator[Hosts]:
    for name in ("hub", *names):
        (folder / name).mkdir(mode=0o700)
    with _namespaces(folder, names) if APART else _folders(folder, names) as hosts:
        try:
            yield hosts
        finally:
            for host in (*hosts.others, hosts.hub):
                host.end()


@contextmanager
def _folders(folder: Path, names: tuple[str, ...]) -> Iterator[Hosts]:
    made = [Host(name, "127.0.0.1", folder / name) for name in ("hub", *names)]
    yield Hosts(made[0], made[1:])


@contextmanager
def _namespaces(folder: Path, names: tuple[str, ...]) -> Iterator[Hosts]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise RuntimeError("network namespaces need root and iproute2: run `make test-machines` as root")
    mark, net = secrets.token_hex(3), f"10.213.{secrets.randbelow(256)}"
    bridge, made = f"evs{mark}", []
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{net}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for number, name in enumerate(names, 2):
            inside, end = f"evs{mark}-{name}", f"evs{mark}{number}"
            _ip("netns", "add", inside)
            made.append(Host(name, f"{net}.{number}", folder / name, inside))
            _ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", inside)
            _ip("link", "set", end, "master", bridge, "up")
            _ip("-n", inside, "addr", "add", f"{net}.{number}/24", "dev", "eth0")
            _ip("-n", inside, "link", "set", "eth0", "up")
            _ip("-n", inside, "link", "set", "lo", "up")
        yield Hosts(Host("hub", f"{net}.1", folder / "hub"), made)
    finally:
        for host in made:
            _ip("netns", "del", str(host.namespace))
        _ip("link", "del", bridge)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def port_on(host: Host) -> int:
    """One that nobody has there."""
    return 8720 + len(host.running) if host.namespace else free_port()
