"""`make test-postgres`: the database tests on Debian's PostgreSQL, the one that many installations have.

Installs it when root, starts a cluster of its own in a temporary folder and on a free port, and ends it.
A cluster that runs on this machine already is left alone.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from everystall.processes import free_port

ROOT = Path(__file__).parent
#: What talks to PostgreSQL; the rest would only repeat `make test`.
TESTS = [
    "api", "test_catalog.py", "test_engine.py", "test_migrate.py", "test_rls.py", "test_vault_sessions.py",
]  # fmt: skip
OLDEST = 15


def main() -> int:
    programs = find_programs() or install()
    folder = Path(tempfile.mkdtemp(prefix="everystall-postgres-"))
    user = pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    data, port = folder / "data", free_port()

    def run(program: str, *arguments: str) -> None:
        subprocess.run([programs / program, "-D", data, *arguments], check=True, user=user, cwd=folder,
                       env={"LC_ALL": "C.UTF-8"}, stdout=subprocess.DEVNULL)  # fmt: skip

    secret = secrets.token_hex(16)
    password = folder / "password"
    password.write_text(secret)
    run("initdb", "-U", "tester", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8",
        "--no-sync")  # fmt: skip
    options = f"-h 127.0.0.1 -p {port} -k '' -c fsync=off -c max_connections=300"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        version = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True)
        sys.stdout.write(f"{version.stdout.strip()} on port {port}\n")
        sys.stdout.flush()
        os.environ["EVERYSTALL_TEST_ADMIN_URL"] = f"postgresql://tester:{secret}@127.0.0.1:{port}/postgres"
        return int(pytest.main([*(str(ROOT / name) for name in TESTS), *sys.argv[1:]]))
    finally:
        run("pg_ctl", "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


def find_programs() -> Path | None:
    """The folder of the oldest version here that Everystall supports."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    fitting = sorted((int(path.parent.name), path) for path in found if int(path.parent.name) >= OLDEST)
    return fitting[0][1] if fitting else None


def install() -> Path:
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "postgresql"]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(
            f"There is no PostgreSQL {OLDEST} or newer in /usr/lib/postgresql. On Debian or Ubuntu:\n"
            f"  sudo {' '.join(command)}"
        )
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=quiet)
    subprocess.run(command, check=True, env=quiet, stdout=subprocess.DEVNULL)
    programs = find_programs()
    if programs is None:
        sys.exit(f"What apt-get installed is older than PostgreSQL {OLDEST}.")
    return programs


if __name__ == "__main__":
    sys.exit(main())
