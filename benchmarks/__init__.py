"""`make bench`: the figures of docs/benchmarks.md, measured against the practice marketplaces."""

import subprocess
from pathlib import Path


def commit() -> str:
    """Of what was measured, to stand behind a version or a date: " (da5f463)"; "" outside a clone."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f" ({done.stdout.strip()})" if done.returncode == 0 else ""
