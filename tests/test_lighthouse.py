"""What `make lighthouse` does with a run of Lighthouse that came to nothing; no browser is started."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.lighthouse import look
from everystall.settings import Settings

#: As Lighthouse 13.5.0 says it.
LOST = "Runtime error encountered: Something went wrong with recording the trace. (NO_NAVSTART)"


def lighthouse(*ends):
    """Stands for the program: each run ends with the next of these, "" being a report."""
    left = list(ends)

    def run(command, **_):
        said = left.pop(0)
        report = next(part for part in command if str(part).startswith("--output-path="))
        Path(report.partition("=")[2]).write_text(json.dumps({"run": len(ends) - len(left)}))
        return subprocess.CompletedProcess(command, 1 if said else 0, "", said)

    return run, left


@pytest.mark.parametrize(("ends", "run"), [(["", ""], 1), ([LOST, "", ""], 2)])
def test_a_run_that_lost_the_pages_beginning_is_made_once_more(ends, run):
    program, left = lighthouse(*ends)
    assert look("http://127.0.0.1:1/", "", (), Settings(_env_file=None), program) == {"run": run}
    assert left == [""]


@pytest.mark.parametrize("ends", [[LOST, LOST], ["Unable to connect to Chrome"]])
def test_what_fails_twice_or_otherwise_is_said(ends):
    program, left = lighthouse(*ends)
    with pytest.raises(SystemExit, match=re.escape(ends[0])):
        look("http://127.0.0.1:1/", "", (), Settings(_env_file=None), program)
    assert left == []
