"""Child processes that live and end with us: what `up`, the demo and the benchmarks are made of.

Each child is `python -m everystall …` in a session of its own, so that Ctrl-C reaches only us and we end
them in order. A child started `--with-parent` also ends by itself when we are gone, however we went: it
reads a pipe that closes with us. Never restarts anything: one that fell over is news for the operator.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx

from everystall.errors import Misconfigured

#: Seconds. A worker gives its visits 60 to finish their step; more than that and it is killed.
STOP_SECONDS = 65.0
#: Seconds without any progress until a start is given up, and until it is told that it is waited for. A slow
#: machine may take minutes; what falls over is told at once.
PATIENCE_SECONDS, TELL_SECONDS = 600.0, 10.0
_PR_SET_DUMPABLE = 4


class Children:
    """`with Children() as children: children.start("web", …)`. Leaving the block ends them all."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(
        self,
        name: str,
        *arguments: str,
        module: str = "everystall",
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
        hold: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Starts `python -m MODULE ARGUMENTS --with-parent`, in our environment or in `env`. Its output
        goes to `log`, or where ours goes. `hold`: it loads its code and begins at `release()`."""
        command = [sys.executable, "-m", module, *arguments, "--with-parent"]
        with open(log, "ab") if log else contextlib.nullcontext() as out:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # a byte says begin; it closes with us
                bufsize=0,
                stdout=out,
                stderr=out,
                env={**(os.environ if env is None else env), "PYTHONPATH": python_path()},
                start_new_session=True,
            )
        self._running[name] = child
        if not hold:
            self.release(name)
        return child

    def release(self, name: str) -> None:
        """One that was started with `hold` may begin. One that fell over meanwhile is told by `ended`."""
        pipe = self._running[name].stdin
        with contextlib.suppress(BrokenPipeError):
            if pipe:
                pipe.write(b".")
                pipe.flush()

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def ended(self) -> tuple[str, int] | None:
        """The first child that is no longer there and its exit code, or None while all run."""
        for name, child in self._running.items():
            code = child.poll()
            if code is not None:
                return name, code
        return None

    def stop(self, name: str | None = None) -> None:
        """SIGTERM to one or all at once, SIGKILL to whoever is still there after STOP_SECONDS, or at
        once if we are interrupted again meanwhile."""
        names = [name] if name else list(self._running)
        children = [self._running.pop(each) for each in names]
        for child in children:
            if child.poll() is None:
                child.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        try:
            for child in children:
                child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        finally:
            for child in children:
                if child.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
                if child.stdin:
                    child.stdin.close()


def end_with_parent() -> None:
    """In a child: waits until the parent says begin, and from then on SIGTERMs ourselves as soon as our
    standard input closes. Raises KeyboardInterrupt if the parent went before."""
    if not os.read(0, 1):
        raise KeyboardInterrupt

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="parent").start()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end us as Ctrl-C does, so that the `with` blocks run."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_until_ready(
    find_lack: Callable[[], str | None],
    children: Children,
    *,
    what: str,
    seconds: float = PATIENCE_SECONDS,
    log: Path | None = None,
    tell: Callable[[str], None] = lambda said: None,
) -> None:
    """Asks every 50 ms what it still lacks, in words, until that is None. Raises Misconfigured as soon as a
    child has ended, or after `seconds` without progress: it lacked the same, and its log did not grow. Tells
    every ten seconds what is waited for."""
    began = moved_at = told_at = time.monotonic()
    before: tuple[str, int] | None = None
    see = f"See what it says in {log}." if log else "See what it says above."
    while (lack := find_lack()) is not None:
        ended = children.ended()
        if ended is not None:
            raise Misconfigured(
                f"{what} did not start: its {ended[0]} ended with code {ended[1]}.", action=see
            )
        now = time.monotonic()
        if (stands := (lack, log.stat().st_size if log else 0)) != before:
            before, moved_at = stands, now
        if now - moved_at > seconds:
            raise Misconfigured(
                f"{what} was given up after {now - began:.0f} seconds: {lack} was not there, and nothing "
                f"had moved for {seconds:.0f}.",
                action=see,
            )
        if now - told_at > TELL_SECONDS:
            told_at = now
            tell(f"{what} still starts: {lack} is not there yet ({now - began:.0f} s).")
        time.sleep(0.05)


def answers(url: str, host: str | None = None, *, seconds: float = 2.0) -> dict[str, object] | None:
    """The JSON of a 200 at `url`, or None. Loopback only, so no proxy is asked."""
    try:
        with httpx.Client(trust_env=False, timeout=seconds) as client:
            answer = client.get(url, headers={"Host": host} if host else None)
            return dict(answer.json()) if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError):
        return None


def command() -> str:
    """`everystall` as the reader can type it: where this Python has it, if it is not on the PATH."""
    own = Path(sys.executable).with_name("everystall")
    return "everystall" if shutil.which("everystall") or not own.exists() else str(own)


def is_free(port: int) -> bool:
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def claim_port(port: int) -> None:
    """Raises Misconfigured if the web could not listen there, and says who does if it is one of us."""
    if is_free(port):
        return
    ours = answers(f"http://127.0.0.1:{port}/healthz")
    if ours and "version" in ours:
        raise Misconfigured(
            f"Everystall {ours['version']} runs on port {port} already.",
            action=f"Use http://127.0.0.1:{port}, or set EVERYSTALL_PORT and EVERYSTALL_HOME for one more.",
        )
    raise Misconfigured(
        f"Port {port} on 127.0.0.1 is taken by another program, or not allowed to this user.",
        action="Stop what listens there, or set EVERYSTALL_PORT to a free port.",
    )


def forbid_core_dumps() -> None:
    """A picture of our memory would hold what we have just opened: none is written when we or our children
    crash, and on Linux none is piped to a program that collects them, either."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def python_path() -> str:
    """So that `-m everystall` finds this very package, whatever folder we were called from."""
    own = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join(filter(None, [own, os.environ.get("PYTHONPATH")]))
