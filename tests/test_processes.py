"""Child processes live and end with us, however we end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from everystall import processes
from everystall.errors import Misconfigured
from everystall.processes import Children, answers, claim_port, free_port, is_free, wait_until_ready

ROOT = Path(__file__).parent.parent


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def is_up(port: int) -> bool:
    return answers(f"http://127.0.0.1:{port}/_control/state") is not None


def until_gone(pid: int, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_running(pid)


def test_leaving_the_block_ends_the_children():
    port = free_port()
    with Children() as children:
        children.start("sandbox", "sandbox", "--port", str(port))
        pid = children.pid("sandbox")
        wait_until_ready(lambda: None if is_up(port) else "its web", children, what="It")
        assert is_running(pid)
    assert not is_running(pid)
    assert is_free(port)


@pytest.mark.longer
def test_a_child_ends_when_its_parent_is_killed():
    port = free_port()
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from everystall.processes import Children, wait_until_ready, answers\n"
            "children = Children()\n"
            f"child = children.start('sandbox', 'sandbox', '--port', '{port}')\n"
            f"url = 'http://127.0.0.1:{port}/_control/state'\n"
            "wait_until_ready(lambda: None if answers(url) else 'its web', children, what='It')\n"
            "print(child.pid, flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert parent.stdout
    with parent.stdout:
        pid = int(parent.stdout.readline())
    assert is_running(pid)
    parent.kill()
    parent.wait()
    assert until_gone(pid)


def test_a_child_that_falls_over_is_told_at_once():
    with Children() as children:
        children.start("sandbox", "no-such-command")
        with pytest.raises(Misconfigured, match="The sandbox did not start: its sandbox ended with code 2"):
            wait_until_ready(lambda: "its web", children, what="The sandbox", seconds=30)


def test_a_slow_start_is_waited_for_while_it_moves_told_and_then_given_up(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(processes, "TELL_SECONDS", 0.3)
    log, began, told = tmp_path / "log", time.monotonic(), []
    log.touch()

    def find_lack() -> str:
        """It moves for two seconds: first what it lacks, then its log."""
        passed = time.monotonic() - began
        if 1 < passed < 2:
            log.write_text("." * int(passed * 10))
        return "the database" if passed < 0.7 else "a worker"

    with Children() as children, pytest.raises(Misconfigured, match="a worker was not there") as given_up:
        wait_until_ready(find_lack, children, what="It", seconds=0.9, log=log, tell=told.append)
    assert 2.7 < time.monotonic() - began < 10
    assert str(log) in given_up.value.action
    assert "the database is not there yet" in told[0]
    assert "a worker is not there yet" in told[-1]


def test_a_taken_port_is_named_with_the_setting_that_moves_it():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        with pytest.raises(Misconfigured, match=f"Port {port} .* taken") as e:
            claim_port(port)
        assert "EVERYSTALL_PORT" in e.value.action


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_sandbox_cleanly(number: signal.Signals):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "everystall", "sandbox", "--port", str(port)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not is_up(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert "Traceback" not in errors
    assert process.returncode == 0
