"""The commands: help at once, a plain word where something is wrong, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = [
    [], ["demo"], ["up"], ["web"], ["worker"], ["sandbox"], ["migrate"], ["doctor"],
    ["keys"], ["keys", "rotate"], ["keys", "verify"], ["token"], ["token", "create"],
]  # fmt: skip


def everystall(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "everystall", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **env},
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: list[str]):
    shown = everystall(*command, "--help")
    assert shown.returncode == 0
    assert "Usage:" in shown.stdout
    assert "with-parent" not in shown.stdout


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
