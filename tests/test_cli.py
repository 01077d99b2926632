"""The commands: help at once, a plain word where something is wrong, never a traceback."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from everystall import doctor
from everystall.backup.sealing import Sealing
from everystall.cli import app
from everystall.demo import show
from everystall.embedded import Server
from everystall.errors import Misconfigured
from everystall.processes import Children, answers, free_port
from everystall.settings import Settings
from everystall.vault.keyring import Keyring

ROOT = Path(__file__).parent.parent
COMMANDS = [
    [], ["demo"], ["up"], ["web"], ["worker"], ["sandbox"], ["migrate"], ["doctor"], ["backup"], ["restore"],
    ["move-database"],
    ["keys"], ["keys", "rotate"], ["keys", "verify"], ["token"], ["token", "create"],
]  # fmt: skip


def everystall(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "everystall", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **env},
    )  # fmt: skip


def clean() -> dict[str, str]:
    """Our environment without any setting of Everystall's."""
    return {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: list[str]):
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert "Usage:" in shown.output
    assert "with-parent" not in shown.output


def test_usage_is_said_of_the_command_that_people_have():
    done = everystall("restore", "--nonsense")
    assert "Usage: everystall restore" in done.stderr
    assert "python" not in done.stderr


def test_a_backup_that_goes_elsewhere_asks_nobody_where_nobody_is(tmp_path: Path):
    """As by cron."""
    done = subprocess.run(
        [sys.executable, "-m", "everystall", "backup", "--to", str(tmp_path / "all.everystall")],
        cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
        env={**clean(), "EVERYSTALL_HOME": str(tmp_path), "PYTHONPATH": str(ROOT),
             "DATABASE_URL": "postgresql://x@127.0.0.1:1/x"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "Set BACKUP_PASSPHRASE" in done.stderr
    assert list(tmp_path.glob("*.everystall*")) == []


def test_where_nothing_is_installed_nothing_is_backed_up_or_made(tmp_path: Path):
    home = tmp_path / "home"
    done = everystall("backup", EVERYSTALL_HOME=str(home))
    assert done.returncode == 1
    assert "Nothing is installed in" in done.stderr
    assert str(home) in done.stderr.replace("\n", "")
    assert not home.exists()


def test_what_is_no_address_to_move_to_is_not_blamed_on_a_setting(tmp_path: Path):
    for url in ("notanurl", "mysql://u@h/d"):
        done = everystall("move-database", url, EVERYSTALL_HOME=str(tmp_path / "home"))
        assert done.returncode == 1
        assert "URL to move to" in done.stderr
        assert "DATABASE_URL" not in done.stderr
    assert not (tmp_path / "home").exists()


def test_a_restore_of_no_file_names_the_backups_that_there_are(tmp_path: Path):
    shelf = tmp_path / "backups"
    for arguments in ((), ("gone.everystall",)):
        done = everystall("restore", *arguments, EVERYSTALL_HOME=str(tmp_path))
        assert done.returncode == 1
        assert f"In {shelf} there is none" in done.stderr
        assert not shelf.exists()
    shelf.mkdir()
    settings = Settings(_env_file=None, everystall_home=tmp_path)
    name = "20261101T010203Z-night.everystall"
    with (shelf / name).open("wb") as file:
        told = {"made": "2026-11-01T01:02:03+00:00", "version": "0.1.0"}
        Sealing(file, told, Keyring.load(settings), None, settings.pbkdf2_iterations).close()
    for arguments in ((), ("gone.everystall",)):
        done = everystall("restore", *arguments, EVERYSTALL_HOME=str(tmp_path))
        assert f"everystall restore {shelf / name}" in done.stderr


def test_a_browser_without_its_sandbox_is_told_by_the_doctor(monkeypatch):
    monkeypatch.setattr(doctor, "_run", lambda *_, **__: "Chromium 140 everystall")
    monkeypatch.setattr(doctor, "find_chromium", lambda _: Path("/usr/bin/chromium"))
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0, raising=False)
    told = doctor._chromium(Settings(_env_file=None), print)
    assert isinstance(told, doctor.Warned)
    assert "without its sandbox" in told.message
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 1000)
    assert "sandbox" not in str(doctor._chromium(Settings(_env_file=None), print))


def test_a_backup_of_a_database_that_is_away_says_so(tmp_path: Path):
    away = f"postgresql://everystall_app:secret@127.0.0.1:{free_port()}/everystall"
    done = subprocess.run(
        [sys.executable, "-m", "everystall", "backup", "--to", str(tmp_path / "all.everystall")],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env={**clean(), "EVERYSTALL_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "BACKUP_PASSPHRASE": "x",
             "DATABASE_URL": away, "DATABASE_ADMIN_URL": away},
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "127.0.0.1" in done.stderr
    assert "secret" not in done.stderr


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nsys.argv = ['everystall', '--help']\n"
        "from everystall.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'sqlalchemy', 'playwright', 'fastapi', 'PIL', 'procrastinate'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.longer
@pytest.mark.parametrize("command", [["web", "--with-parent"], ["worker"]], ids=["web", "worker"])
def test_what_a_process_loads_is_not_looked_through_for_rubbish_and_nothing_of_it_migrates(
    command: list[str], tmp_path: Path
):
    code = (
        "import gc, sys\n"
        f"sys.argv = ['everystall', *{command!r}]\n"
        "from everystall.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert gc.isenabled() and gc.get_freeze_count() > 100_000, gc.get_freeze_count()\n"
        "sys.exit('it migrates' if 'alembic' in sys.modules else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "EVERYSTALL_HOME": str(tmp_path), "EVERYSTALL_PORT": str(free_port()),
             "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_version_is_the_packages():
    import everystall as package

    assert everystall("--version").stdout.strip() == f"everystall {package.__version__}"


def test_a_wrong_setting_is_named_without_its_value_and_without_a_traceback(tmp_path: Path):
    shown = everystall("web", EVERYSTALL_HOME=str(tmp_path), EVERYSTALL_PORT="ninety", DATABASE_URL="")
    assert shown.returncode == 1
    assert "EVERYSTALL_PORT" in shown.stderr
    assert "ninety" not in shown.stderr
    assert "Traceback" not in shown.stderr


def test_an_unknown_command_is_a_plain_refusal():
    shown = everystall("post")
    assert shown.returncode == 2
    assert "No such command" in shown.stderr


@pytest.mark.extended
def test_a_taken_port_a_used_folder_and_an_ended_everystall_are_said_plainly(tmp_path: Path):
    home, port = str(tmp_path / "home"), str(free_port())
    env = {**clean(), "EVERYSTALL_HOME": home, "EVERYSTALL_PORT": port}
    first = subprocess.Popen(
        [sys.executable, "-m", "everystall", "up"],
        cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert first.stdout
        said = []
        for line in first.stdout:
            said.append(line)
            if "Ctrl-C ends it" in line:
                break
        assert first.poll() is None, "".join(said)
        assert f"  http://127.0.0.1:{port}/first?token=" in "".join(said)
        taken = everystall("up", **env)
        assert taken.returncode == 1
        assert f"runs on port {port} already" in taken.stderr
        used = everystall("up", **{**env, "EVERYSTALL_PORT": str(free_port())})
        assert used.returncode == 1
        assert "Everystall already runs on" in used.stderr
        assert "EVERYSTALL_HOME" in used.stderr
        typo = everystall("token", "create", "--email", "Seller@Example.com", **env)
        assert (typo.returncode, "--new" in typo.stderr, typo.stdout) == (1, True, "")
        made = everystall("token", "create", "--email", "Seller@Example.com", "--new", **env)
        assert made.returncode == 0, made.stderr
        assert made.stdout.startswith("evs_")
        health = everystall("doctor", **env)
        assert health.returncode == 0, health.stdout + health.stderr
        verified = everystall("keys", "verify", **env)
        assert verified.returncode == 0, verified.stderr
    finally:
        first.send_signal(signal.SIGINT)
        rest, _ = first.communicate(timeout=60)
    assert first.returncode == 0
    assert "Traceback" not in rest
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(port)), timeout=2)


@pytest.mark.extended
def test_a_database_that_went_is_started_again_by_up(tmp_path: Path):
    home, port = tmp_path / "home", free_port()
    env = {**clean(), "EVERYSTALL_HOME": str(home), "EVERYSTALL_PORT": str(port)}
    ready = f"http://127.0.0.1:{port}/readyz"
    log = tmp_path / "log"
    with log.open("w") as out:
        up = subprocess.Popen(
            [sys.executable, "-m", "everystall", "up"], cwd=ROOT, env=env, stdout=out, stderr=out
        )
    try:
        _until(lambda: "Ctrl-C ends it" in log.read_text())
        assert answers(ready) is not None
        server = Server(home)
        server.start()
        assert server.postmaster
        os.kill(server.postmaster, signal.SIGKILL)
        server.stop()
        _until(lambda: answers(ready) is None)
        _until(lambda: answers(ready) is not None)
        assert up.poll() is None
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)
    assert up.returncode == 0
    assert "database.started_again" in log.read_text()


def _until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _ended(command: str, when: Callable[[str], bool], number: signal.Signals, **env: str) -> tuple[int, str]:
    """The exit code of a command that gets this signal as soon as `when` says so of its log, and the log."""
    log = Path(env["EVERYSTALL_HOME"]).with_name("log")
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "everystall", *command.split()], cwd=ROOT, env=env, stdout=out, stderr=out
        )
    deadline = time.monotonic() + 60
    while not when(log.read_text()):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    process.send_signal(number)
    return process.wait(timeout=60), log.read_text()


@pytest.mark.longer
def test_web_and_worker_end_well_by_ctrl_c_or_sigterm_once_they_serve(tmp_path: Path):
    port = free_port()
    env = {**clean(), "EVERYSTALL_HOME": str(tmp_path / "home"), "EVERYSTALL_PORT": str(port)}
    serving = {
        "web": lambda log: f"port={port}" in log and "web.ready" in log,
        "worker": lambda log: "worker.ready" in log,
    }
    for command, serves in serving.items():
        for number in (signal.SIGINT, signal.SIGTERM):
            code, log = _ended(command, serves, number, **env)
            assert (code, "Traceback" in log) == (0, False), f"{command} {number.name}: {log}"


@pytest.mark.extended
def test_in_a_container_the_web_listens_on_all_addresses(tmp_path: Path):
    port = free_port()
    env = {**clean(), "EVERYSTALL_HOME": str(tmp_path / "home"), "EVERYSTALL_PORT": str(port)}
    other = f"http://127.0.0.2:{port}/healthz"
    there = _ended(
        "web", lambda _: answers(other) is not None, signal.SIGTERM, **env, EVERYSTALL_LISTEN="0.0.0.0"
    )
    assert there[0] == 0, there[1]


def test_up_that_is_broken_off_before_it_is_up_says_so_by_its_exit_code(tmp_path: Path):
    home = tmp_path / "home"
    env = {**clean(), "EVERYSTALL_HOME": str(home), "EVERYSTALL_PORT": str(free_port())}
    code, log = _ended("up", lambda _: home.exists(), signal.SIGINT, **env)
    assert (code, "Traceback" in log) == (130, False), log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.longer
def test_a_worker_that_is_ended_while_it_starts_says_so_by_its_exit_code_alone(
    tmp_path: Path, database_urls, number
):
    env = {**clean(), "EVERYSTALL_HOME": str(tmp_path / "home"), "DATABASE_URL": database_urls.login}
    code, log = _ended("worker", lambda log: "photos.of_this_home" in log, number, **env)
    assert (code, "Traceback" in log, "exception" in log) == (130, False, False), log


def test_ctrl_c_is_the_good_end_of_a_demo_that_stays_up_and_a_fall_is_not(capfd: pytest.CaptureFixture[str]):
    class Interrupted(Children):
        def ended(self) -> None:
            raise KeyboardInterrupt

    class Fallen(Children):
        def ended(self) -> tuple[str, int]:
            return "everystall", 1

    settings = SimpleNamespace(everystall_home="/home")
    for children, good in ((Interrupted(), True), (Fallen(), False)):
        stage = SimpleNamespace(children=children, sandbox_port=1, url="u", settings=settings, logs="/logs")
        assert show._stay(stage, Console(), []) is good
    assert "/logs" in capfd.readouterr().out


@pytest.mark.extended
def test_a_wrong_key_for_an_existing_vault_is_said_before_anything_starts(tmp_path: Path):
    env = {**clean(), "EVERYSTALL_HOME": str(tmp_path / "home"), "EVERYSTALL_PORT": str(free_port())}
    keys = [base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]
    seal = (
        "import asyncio\n"
        "from uuid import UUID\n"
        "from sqlalchemy import text\n"
        "from sqlalchemy.ext.asyncio import AsyncSession\n"
        "from everystall import installation, settings\n"
        "from everystall.vault.keyring import Keyring\n"
        "from everystall.vault.sessions import make_data_key\n"
        "with installation.opened(settings.load()) as s:\n"
        "    asyncio.run(installation.make_token(s, 'a@example.com', 'x'))\n"
        "    async def work():\n"
        "        async with installation.admin(s) as engine, AsyncSession(engine) as session:\n"
        "            user = (await session.execute(text('SELECT id FROM users'))).scalar_one()\n"
        "            await make_data_key(session, Keyring.load(s), user, 1)\n"
        "            await session.commit()\n"
        "    asyncio.run(work())\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", seal],
        cwd=ROOT, env={**env, "SESSION_ENCRYPTION_KEY": keys[0]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    for command in (["up"], ["token", "create", "--email", "b@example.com"], ["keys", "verify"]):
        refused = everystall(*command, **env, SESSION_ENCRYPTION_KEY=keys[1])
        assert refused.returncode == 1, refused.stdout
        assert "Traceback" not in refused.stderr
        assert "key" in refused.stderr.lower()
        assert keys[1] not in refused.stderr


@pytest.mark.extended
def test_a_first_start_without_the_key_does_not_keep_the_key_out(tmp_path: Path):
    env = {**clean(), "EVERYSTALL_HOME": str(tmp_path / "home"), "EVERYSTALL_PORT": str(free_port())}
    key = base64.b64encode(bytes(range(32))).decode()
    for more in ({}, {"SESSION_ENCRYPTION_KEY": key}):
        verified = everystall("keys", "verify", **env, **more)
        assert verified.returncode == 0, verified.stderr
        checked = everystall("doctor", **env, **more)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.longer
def test_a_folder_that_is_not_ours_and_a_missing_chromium_are_told_by_the_doctor(tmp_path: Path):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    env = {**clean(), "EVERYSTALL_HOME": str(blocker / "home"), "CHROMIUM": str(tmp_path / "none")}
    shown = everystall("doctor", **env, EVERYSTALL_PORT=str(free_port()))
    assert shown.returncode == 1
    assert "Traceback" not in shown.stderr
    assert "EVERYSTALL_HOME" in shown.stdout
    assert "CHROMIUM" in shown.stdout


def test_a_driver_that_lacks_a_library_is_told_by_the_doctor(tmp_path, monkeypatch):
    settings = Settings(_env_file=None)
    assert "starts" in doctor._driver(settings, print)
    broken = tmp_path / "playwright"
    broken.mkdir()
    (broken / "__init__.py").touch()
    said = "node: error while loading shared libraries: libatomic.so.1: cannot open shared object file"
    (broken / "__main__.py").write_text(f"import sys\nprint({said!r}, file=sys.stderr)\nsys.exit(127)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(Misconfigured, match=r"libatomic\.so\.1") as refused:
        doctor._driver(settings, print)
    assert "libatomic1" in refused.value.action


def test_the_doctor_says_nothing_of_a_database_that_it_did_not_reach(tmp_path, monkeypatch, capsys):
    for name in ("_python", "_folder", "_chromium", "_photos", "_redis", "_port"):
        monkeypatch.setattr(doctor, name, lambda settings, say: "")
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    assert not doctor.examine(Settings(_env_file=None, everystall_home=tmp_path, database_url=nowhere))
    shown = capsys.readouterr().out
    assert "Database, key" in shown
    assert "Agent" not in shown
    assert "Places" not in shown
    assert "hosts" not in shown


@pytest.mark.extended
def test_the_doctor_says_what_it_makes_before_it_does_and_each_row_as_it_is_done(tmp_path: Path):
    home = tmp_path / "home"
    env = {**clean(), "EVERYSTALL_HOME": str(home), "EVERYSTALL_PORT": str(free_port()), "COLUMNS": "300"}
    said, had_a_key = "", []
    with subprocess.Popen(
        [sys.executable, "-m", "everystall", "doctor"], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            said += line
            if "Making the database" in line:
                had_a_key.append((home / "keys").exists())
    assert process.returncode == 0, said
    assert had_a_key == [False]
    for before, row in (("Making the data folder", "Folder "), ("Making the database", "Database, key ")):
        assert said.index(before) < said.index(row)
    assert "Making" not in everystall("doctor", **env).stdout


def test_the_doctor_tells_that_the_key_is_another_databases(database_urls, tmp_path):
    keys = [base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]
    right, wrong = (
        Settings(
            _env_file=None,
            everystall_home=tmp_path,
            database_url=database_urls.login,
            session_encryption_key=key,
        )
        for key in keys
    )
    assert "knows the ring key" in doctor._database(right, print)
    with pytest.raises(Misconfigured, match="None of the ring keys"):
        doctor._database(wrong, print)
    assert "knows the ring key" in doctor._database(right, print)


@pytest.mark.extended
def test_practice_is_an_everystall_of_its_own_beside_the_real_one(tmp_path: Path):
    home = tmp_path / "home"
    port = free_port()
    real = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/real", "EBAY_URL": "https://www.ebay.com"}
    env = {**clean(), **real, "EVERYSTALL_HOME": str(home), "EVERYSTALL_PORT": str(port)}
    code, said = _ended("up --practice", lambda log: "Ctrl-C ends it." in log, signal.SIGINT, **env)
    assert code == 0, said
    assert f"http://localhost:{port + 1}/first?token=" in said
    assert f"data     {home / 'practice'}" in said
    assert sorted(path.name for path in home.iterdir()) == ["practice"]
    (home / "practice" / "practice-only").unlink()
    refused = everystall("up", "--practice", **env)
    assert refused.returncode == 1
    assert "not of an Everystall that was practised with" in refused.stderr
    assert (home / "practice" / "keys").exists()
