"""`make bench` measures the ticks that a worker makes, with all that they look after."""

from __future__ import annotations

import pytest

from benchmarks import ticks
from everystall.worker import run


@pytest.mark.extended
def test_what_is_measured_is_the_workers_own_tick(tmp_path, monkeypatch):
    made, ask_due = [], run.ask_due

    async def noted(*given):
        made.append(given)
        return await ask_due(*given)

    monkeypatch.setattr(run, "ask_due", noted)  # of all that such a tick does the last
    monkeypatch.setattr(ticks, "MINUTES", 1)
    tmp_path.chmod(0o755)
    found = ticks.measure(tmp_path / "home", lambda line: None, accounts=24)
    assert found["woken"] == 24
    assert len(made) == 60 // ticks.TICK_SECONDS + 6
