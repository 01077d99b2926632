"""A browser never outlives its worker, and never acts for one that stands still."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from everystall.browser.guard import Deadline, clock
from everystall.browser.session import sweep_folders
from everystall.settings import Settings

pytestmark = pytest.mark.browser

#: A worker with one open browser. It says "open" and then does what its last argument says.
WORKER = textwrap.dedent("""
    import asyncio, sys, time
    from everystall.browser.guard import Deadline, clock
    from everystall.browser.session import open_browser
    from everystall.browser.targets import Site, Target
    from everystall.settings import Settings

    async def beat(deadline):
        while True:
            deadline.beat(clock())
            await asyncio.sleep(0.2)

    async def main(home, url, seconds, act):
        settings = Settings(_env_file=None, everystall_home=home, commit_click_seconds=1)
        deadline = Deadline(float(seconds))
        opening = asyncio.ensure_future(beat(deadline))  # a browser may take longer to start than `seconds`
        async with open_browser(site=Site((), ()), base_url=url, storage=None, settings=settings,
                                deadline=deadline) as browser:
            await browser.page.goto("/")
            if act in ("click", "stall"):  # the button wakes up later: the driver waits for it, not we
                button = browser.page.raw.locator("#later")
                pending = asyncio.ensure_future(button.click(timeout=20000))
                await asyncio.sleep(0.3)
            opening.cancel()
            deadline.beat(clock())
            print("open", flush=True)
            if act == "wait":
                await asyncio.sleep(60)
            if act == "renew":
                for _ in range(50):
                    await asyncio.sleep(0.1)
                    deadline.beat(clock())
                await browser.page.goto("/")
                print("renewed", flush=True)
            if act == "stall":  # the event loop stands still, so nobody renews
                time.sleep(60)
            if act == "click":
                await pending
                print("clicked", flush=True)

    asyncio.run(main(*sys.argv[1:]))
""")


class _Shop(BaseHTTPRequestHandler):
    clicks: list[float] = []
    #: Seconds after which the button can be pressed.
    asleep = 6.0

    def do_GET(self) -> None:
        page = b"""<button id=later disabled>Publish</button><script>
            later.onclick = () => fetch('/clicked', {method: 'POST', keepalive: true});
            setTimeout(() => later.disabled = false, %d)</script>"""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(page % int(self.asleep * 1000))

    def do_POST(self) -> None:
        self.clicks.append(time.monotonic())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[str]:
    _Shop.clicks.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Shop)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://poshmark.localhost:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def worker(tmp_path: Path, shop: str) -> Iterator[object]:
    started: list[subprocess.Popen[str]] = []

    def start(act: str, seconds: float = 7) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), shop, str(seconds), act],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def chromiums(home: Path) -> list[int]:
    """Processes, zombies aside, whose command line names this home's profiles or whose parent's does."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue
        browser = b"chrom" in command.lower() and b"python" not in command.split(b"\0")[0]
        if state != "Z" and browser and str(home).encode() in command + environ:
            found.append(int(entry.name))
    return found


@pytest.mark.longer
def test_a_killed_worker_leaves_no_browser_one_second_later(worker, tmp_path):
    process = worker("wait")
    assert chromiums(tmp_path)
    beside = Path(tempfile.gettempdir()).glob(f"evs-{process.pid}-*/*")
    assert any(one.name.startswith("org.chromium.") for one in beside)  # swept with all of that folder
    process.kill()
    process.wait()
    time.sleep(1)
    assert chromiums(tmp_path) == []
    asyncio.run(sweep_folders(Settings(_env_file=None, everystall_home=tmp_path)))
    assert not list(Path(tempfile.gettempdir()).glob(f"evs-{process.pid}-*"))


@pytest.mark.longer
def test_a_browser_starts_where_the_folder_for_what_is_temporary_has_a_long_name(
    worker, tmp_path, monkeypatch
):
    long = tmp_path / ("t" * (80 - len(str(tmp_path))))
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    process = worker("wait")
    assert list(long.glob(f"evs-{process.pid}-*/g"))


@pytest.mark.extended
def test_a_browser_lives_as_long_as_its_deadline_is_moved(worker, tmp_path):
    process = worker("renew", 4)
    assert process.stdout.readline() == "renewed\n"
    assert process.wait(10) == 0
    assert chromiums(tmp_path) == []
    assert list((tmp_path / "run" / "profiles").iterdir()) == []


@pytest.mark.longer
@pytest.mark.parametrize("run", [0, *(pytest.param(run, marks=pytest.mark.extended) for run in range(1, 5))])
def test_a_stopped_worker_never_clicks_after_its_deadline(worker, tmp_path, run):
    """The click is pending in Playwright's driver, which goes on while the worker stands still."""
    process = worker("click", 3.0)
    process.send_signal(signal.SIGSTOP)
    time.sleep(_Shop.asleep + 1.0)
    assert _Shop.clicks == []
    assert chromiums(tmp_path) == []


@pytest.mark.extended
def test_a_worker_whose_event_loop_stands_still_does_not_click_either(worker, tmp_path):
    worker("stall", 3.0)
    time.sleep(_Shop.asleep + 1.0)
    assert _Shop.clicks == []
    assert chromiums(tmp_path) == []


@pytest.mark.longer
def test_without_a_stop_the_same_click_comes(worker):
    """So that the test above can fail."""
    process = worker("click", 20)
    assert process.stdout.readline() == "clicked\n"
    assert process.wait(10) == 0
    assert len(_Shop.clicks) == 1


@pytest.mark.longer
def test_a_killed_guard_takes_its_browser_along(worker, tmp_path):
    process = worker("wait")
    (guard,) = [pid for pid in _children(process.pid) if b"guard.py" in _command(pid)]
    os.kill(guard, signal.SIGKILL)
    time.sleep(1)
    assert chromiums(tmp_path) == []


def test_a_deadline_only_moves_forward():
    deadline = Deadline(5)
    until = deadline.until
    deadline.beat(clock() - 60)
    assert deadline.until == until
    deadline.beat(clock() + 1)
    assert deadline.until > until
    assert not deadline.passed


def test_a_deadline_that_has_passed_stays_so():
    deadline = Deadline(0.01)
    time.sleep(0.02)
    deadline.beat(clock())  # a renewal that comes after the guard has struck
    assert deadline.passed


def _command(pid: int) -> bytes:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


def _children(pid: int) -> list[int]:
    found, todo = [], [pid]
    while todo:
        parent = todo.pop()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found.append(int(entry.name))
                todo.append(int(entry.name))
    return found
