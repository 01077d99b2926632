"""A Chromium that somebody else started, on another machine as far as a worker knows."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from everystall.browser.chromium import LAUNCH_ARGS, find_chromium
from everystall.settings import Settings


@contextmanager
def chromium_elsewhere(profile: Path) -> Iterator[str]:
    """Its DevTools address."""
    chromium = find_chromium(Settings(_env_file=None, everystall_home=profile))
    arguments = [*LAUNCH_ARGS, "--headless", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    process = subprocess.Popen([chromium, *arguments, "about:blank"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("DevTools listening on "):
            break
    try:
        yield line.split()[-1]
    finally:
        process.kill()
        process.communicate()
