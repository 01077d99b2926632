"""`make bench` measures the ticks that a worker makes, with all that they look after."""

from __future__ import annotations

import pytest

from benchmarks import ticks
from everystall.worker import run


@pytest.mark.longer
def test_what_is_measured_is_the_workers_own_tick(tmp_path, monkeypatch):
    made, clean = [], run.clean

    async def noted(*given):
        made.append(given)
        await clean(*given)

    monkeypatch.setattr(run, "clean", noted)  # of all that a tick does the last, once a minute
    monkeypatch.setattr(ticks, "MINUTES", 1)
    tmp_path.chmod(0o755)
    found = ticks.measure(tmp_path / "home", lambda line: None, accounts=24)
    assert found["woken"] == 24
    assert len(made) == 1
