"""`make test-machines`: the tests of several hosts, each a network namespace of its own on one bridge.

Needs root, for namespaces belong to whoever owns the machine's network; `make e2e-all` runs the same tests
over plain processes. Installs iproute2 where it is missing, and leaves neither namespace nor bridge behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent / "machines"


def main() -> int:
    if os.geteuid() != 0:
        sys.exit(
            "Network namespaces need root: sudo make test-machines.\n"
            "Without: make e2e-all ARGS=tests/machines runs the same tests over plain processes."
        )
    if shutil.which("ip") is None:
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "iproute2"]
        if shutil.which("apt-get") is None:
            sys.exit("There is no `ip` here: install iproute2.")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=False, env=quiet)
        subprocess.run(command, check=True, env=quiet, stdout=subprocess.DEVNULL)
    os.environ["EVERYSTALL_TEST_HOSTS"] = "namespaces"
    return int(pytest.main([str(TESTS), *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())
