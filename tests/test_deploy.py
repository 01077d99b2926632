"""The files that put Everystall somewhere are true to the code: their settings, commands and ports exist, and
what must not be in them is not."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from everystall.cli import app
from everystall.processes import STOP_SECONDS
from everystall.settings import _SECRETS, Settings
from everystall.web import health
from everystall.web.draining import DRAIN_SECONDS, GRACE_SECONDS

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
RENDER = yaml.safe_load((ROOT / "deploy/render.yaml").read_text())
FLY = {path.stem: tomllib.loads(path.read_text()) for path in (ROOT / "deploy/fly").glob("*.toml")}
RAILWAY = {path.stem: json.loads(path.read_text()) for path in (ROOT / "deploy/railway").glob("*.json")}
UNITS = {path.stem: path.read_text() for path in (ROOT / "deploy/systemd").glob("*.service")}
PAGE = (ROOT / "docs/install.md").read_text()
FILES = [path for path in (ROOT / "deploy").rglob("*") if path.is_file()]
#: Of others: the image's, PostgreSQL's, the platforms'.
NOT_OURS = {"BACKUP_TO", "PATH", "PORT", "PGDATA"} | {
    "POSTGRES_DB", "POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE"
}  # fmt: skip
OURS = {name.upper() for name in Settings.model_fields} | {f"{name}_FILE" for name in _SECRETS}
PORT = Settings.model_fields["everystall_port"].default


def _named_settings() -> Iterator[tuple[str, str]]:
    """(where, the setting's name)"""
    for line in re.findall(r"^ENV (.+)$", DOCKERFILE, re.M):
        yield from (("Dockerfile", name) for name in re.findall(r"(\w+)=", line))
    for name, service in COMPOSE["services"].items():
        yield from ((f"compose.yaml {name}", one) for one in service.get("environment", ()))
    for service in RENDER["services"]:
        yield from ((f"render.yaml {service['name']}", one["key"]) for one in service["envVars"])
    for name, config in FLY.items():
        yield from ((f"fly {name}", one) for one in config.get("env", ()))
    for name, unit in UNITS.items():
        yield from ((name, one) for one in re.findall(r"^Environment=(\w+)=", unit, re.M))
    for path in FILES:
        yield from ((path.name, one) for one in re.findall(r"\b(WORKER_\w+)=", path.read_text()))
    yield from (("install.md", one) for one in re.findall(r"\b([A-Z][A-Z0-9_]+)=", PAGE))


def test_the_settings_that_they_name_exist():
    named = set(_named_settings())
    assert {"Dockerfile", "compose.yaml worker", "render.yaml everystall-web", "fly everystall"} <= dict(
        named
    ).keys()
    assert [one for one in sorted(named) if one[1] not in OURS | NOT_OURS] == []


def test_the_commands_that_they_name_exist():
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    texts = [DOCKERFILE, (ROOT / "compose.yaml").read_text(), *(path.read_text() for path in FILES), PAGE]
    # `["everystall", "web"]`, `[everystall, migrate]`, `exec everystall worker`, `…/bin/everystall up` …
    starts = r"""(?:(?:exec |-- |bin/|= "|`|'|worker |migrate )everystall |\["?everystall"?, "?)([a-z-]+)"""
    named = {word for text in texts for word in re.findall(starts, text)}
    assert {"web", "worker", "migrate", "up", "doctor", "backup"} <= named <= set(commands)


def test_what_the_pages_say_to_type_is_what_the_commands_take():
    """Each `everystall …` of the documentation, as Click reads it; nothing is called."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    lines = [
        (page.name, line) for page in pages
        for line in re.findall(r"(?:`|^|\$ |migrate |sudo -u everystall )everystall ([a-z][^`\n#|&;…]*)",
                               page.read_text(), re.M)
    ]  # fmt: skip
    wrong = []
    for page, line in lines:
        name, *given = shlex.split(line.split("  ")[0], posix=True)
        if name not in commands or not given:
            continue
        try:
            commands[name].make_context(name, given, resilient_parsing=False).close()
        except typer.Exit:
            continue
        except typer.BadParameter.__mro__[1] as e:  # UsageError, of the Click that it brings
            wrong.append(f"{page}: everystall {line}: {e.format_message()}")
    assert len(lines) > 30
    assert wrong == []


def test_what_runs_unseen_logs_json_unless_somebody_says_otherwise():
    assert re.search(r"^ENV (?:.*\\\n)*.*LOG_FORMAT=json$", DOCKERFILE, re.M)
    units = [path for path in FILES if path.suffix == ".service"]
    assert len(units) == 5
    for path in units:
        text = path.read_text()  # what an EnvironmentFile says wins over it
        assert re.search(r"^Environment=.*\bLOG_FORMAT=json$", text, re.M), path
    assert all("LOG_FORMAT" not in service.get("environment", {}) for service in COMPOSE["services"].values())


def test_ports_and_the_address_of_readiness_agree():
    probe = f"http://127.0.0.1:{PORT}/readyz"
    assert f"EXPOSE {PORT}" in DOCKERFILE
    assert probe in re.findall(r"^HEALTHCHECK .+$", DOCKERFILE, re.M)[0]
    assert COMPOSE["services"]["web"]["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    web = RENDER["services"][0]
    assert {"key": "PORT", "value": str(PORT)} in web["envVars"]
    service = FLY["everystall"]["http_service"]
    assert service["internal_port"] == PORT
    assert f"`PORT={PORT}`" in PAGE
    paths = {
        web["healthCheckPath"],
        service["checks"][0]["path"],
        RAILWAY["web"]["deploy"]["healthcheckPath"],
    }
    assert paths == {"/readyz"} <= {route.path for route in health.router.routes}  # type: ignore[attr-defined]


def test_a_worker_has_the_time_that_its_visits_need_to_end():
    worker = COMPOSE["services"]["worker"]["stop_grace_period"]
    times = {
        "compose": int(worker.removesuffix("s")),
        "fly": FLY["everystall"]["kill_timeout"],
        "render": next(s for s in RENDER["services"] if s["type"] == "pserv")["maxShutdownDelaySeconds"],
        "railway": int(RAILWAY["worker"]["deploy"]["drainingSeconds"]),
        **{
            name: int(re.findall(r"^TimeoutStopSec=(\d+)$", UNITS[name], re.M)[0])
            for name in ("everystall", "everystall-worker")
        },
    }
    assert {name: time for name, time in times.items() if time < STOP_SECONDS} == {}
    assert FLY["everystall"]["kill_signal"] == "SIGTERM"


def test_a_web_has_the_time_in_which_it_is_not_ready_any_more_and_finishes_what_it_was_asked():
    times = {
        "compose": int(COMPOSE["services"]["web"]["stop_grace_period"].removesuffix("s")),
        "fly": FLY["everystall"]["kill_timeout"],
        "render": next(s for s in RENDER["services"] if s["type"] == "web")["maxShutdownDelaySeconds"],
        "railway": int(RAILWAY["web"]["deploy"]["drainingSeconds"]),
        "systemd": int(re.findall(r"^TimeoutStopSec=(\d+)$", UNITS["everystall-web"], re.M)[0]),
        "up": int(STOP_SECONDS),
    }
    assert {name: time for name, time in times.items() if time < DRAIN_SECONDS + GRACE_SECONDS} == {}


def test_only_who_migrates_or_makes_backups_has_the_superusers_address():
    services = {name: json.dumps(service) for name, service in COMPOSE["services"].items()}
    services |= {service["name"]: json.dumps(service) for service in RENDER["services"]}
    having = {name for name, said in services.items() if "admin_url" in said.lower()}
    assert having == {"migrate", "backup", "everystall-migrate", "everystall-backup"}
    assert not any("ADMIN" in json.dumps(config) for config in FLY.values())


def test_composes_backup_is_made_at_three_each_night_again_where_it_fails_and_ends_when_told_to(tmp_path):
    """The service's own lines, at half past two, by a clock and a program that say what is asked of them."""
    failed = tmp_path / "failed"
    said = {
        "date": "echo 9000", "sleep": 'echo "slept $1"; exec /bin/sleep 0.3',
        # each first one fails
        "everystall": f'echo "$*"; [ -e {failed} ] && exec /bin/rm {failed}; : > {failed}; exit 2',
        "touch": 'echo "unhealthy by $1"', "rm": 'echo "healthy by $2"',
    }  # fmt: skip
    for name, does in said.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    backup = COMPOSE["services"]["backup"]
    mark = backup["healthcheck"]["test"][-1]
    assert backup["healthcheck"]["test"] == ["CMD", "test", "!", "-e", mark]
    shell, flag, lines = backup["command"]
    for to, asked in (({}, "backup"), ({"BACKUP_TO": "s3://b/nightly/"}, "backup --to s3://b/nightly/")):
        failed.unlink(missing_ok=True)
        night = ["slept 1801", asked, f"unhealthy by {mark}", "slept 900", asked, f"healthy by {mark}"]
        with subprocess.Popen(
            [shell, flag, lines.replace("$$", "$")], env={"PATH": f"{tmp_path}:/usr/bin:/bin"} | to,
            stdout=subprocess.PIPE, text=True,
        ) as service:  # fmt: skip
            assert service.stdout is not None
            assert [service.stdout.readline().strip() for _ in range(8)] == [*night, *night[:2]]
            service.terminate()
            assert service.wait(5) == 0


def test_the_image_has_what_its_settings_ask_for():
    assert "make .venv/bull-ready" in (ROOT / "Dockerfile").read_text()
    lock = (ROOT / "requirements-bull.lock").read_text()
    for package in ("bullmq", "sentry-sdk"):
        assert f"\n{package}==" in lock


def test_the_image_is_made_of_what_is_let_into_it_and_names_no_host():
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    rules = [line for line in ignored if line and not line.startswith("#")]
    let_in = {line.removeprefix("!") for line in rules if line.startswith("!")}
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.M) for name in line.split()[:-1]
    }
    assert rules[0] == "*"
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)
    assert not any(name.startswith(".") or "secret" in name for name in copied)
    assert all(
        re.fullmatch(r"[a-z]+:[a-z-]+( AS \w+)?", line)
        for line in re.findall(r"^FROM (.+)$", DOCKERFILE, re.M)
    )
    assert re.findall(r"https?://(?!127\.0\.0\.1)\S+", DOCKERFILE) == []


def test_nothing_runs_as_root_or_without_chromiums_sandbox():
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.M)[-1] in re.findall(r"--uid (\d+)", DOCKERFILE)
    assert all("User=everystall\n" in unit and "NoNewPrivileges=yes\n" in unit for unit in UNITS.values())
    texts = [DOCKERFILE, json.dumps(COMPOSE), *(path.read_text() for path in FILES)]
    assert not any("no-sandbox" in text or "unconfined" in text or "SYS_ADMIN" in text for text in texts)
    services = COMPOSE["services"]
    for name in ("migrate", "backup", "web", "worker"):
        assert services[name]["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in services[name]["security_opt"]
    assert "seccomp=deploy/chromium-seccomp.json" in services["worker"]["security_opt"]


def test_a_workers_filter_of_system_calls_lets_namespaces_be_made_and_nothing_be_mounted():
    profile = json.loads((ROOT / "deploy/chromium-seccomp.json").read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert {one["action"] for one in profile["syscalls"]} == {"SCMP_ACT_ALLOW"}
    allowed = [name for one in profile["syscalls"] for name in one["names"]]
    assert len(allowed) == len(set(allowed))
    assert {"clone", "unshare", "chroot", "seccomp", "execve", "flock"} <= set(allowed)
    forbidden = {"mount", "pivot_root", "setns", "bpf", "keyctl", "add_key", "ptrace", "perf_event_open",
                 "io_uring_setup", "userfaultfd", "process_vm_readv", "open_by_handle_at", "kexec_load",
                 "init_module", "reboot"}  # fmt: skip
    assert forbidden.isdisjoint(allowed)


def test_compose_knows_every_word_of_its_file():
    from check_jsonschema.builtin_schemas import get_builtin_schema
    from jsonschema.validators import validator_for

    schema = get_builtin_schema("vendor.compose-spec")
    assert [error.message for error in validator_for(schema)(schema).iter_errors(COMPOSE)] == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_knows_every_word_of_its_units(tmp_path: Path):
    for name, unit in UNITS.items():
        program = re.findall(r"^ExecStart=(\S+)", unit, re.M)
        assert program == ["/srv/everystall/.venv/bin/everystall"]
        (tmp_path / f"{name}.service").write_text(unit.replace(program[0], "/bin/true"))
    units = [str(tmp_path / f"{name}.service") for name in UNITS]
    units += [shutil.copy(timer, tmp_path) for timer in (ROOT / "deploy/systemd").glob("*.timer")]
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stderr) == (0, "")


def test_the_page_names_files_that_are_there():
    named = set(re.findall(r"\bdeploy/[\w/.-]*\w", PAGE))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    stated = {str(path.relative_to(ROOT)) for path in FILES} - {
        name for name in named if (ROOT / name).is_file()
    }
    assert stated == set()
