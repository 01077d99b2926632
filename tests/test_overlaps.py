"""The checker of `make overlaps` finds two visits on one account wherever they show, and nothing else."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter

import pytest

from benchmarks import commit, lighthouse, matching, open_pages, overlaps, soak
from benchmarks.overlaps import Act, Change, find_overlaps
from everystall import __version__, engine
from everystall.settings import Settings
from everystall.worker import run, visit

TAKEN = [Change(0.0, "a", 1, 12.0), Change(2.0, "a", 1, 14.0), Change(3.0, "a", 1, None)]


def test_one_after_the_other_is_no_overlap():
    killed = [Change(4.0, "a", 2, 16.0), Change(16.0, "a", 3, 28.0), Change(17.0, "a", 3, None)]
    elsewhere = [Change(1.0, "b", 1, 13.0)]
    acts = [Act(0.5, "a", 1), Act(1.5, "b", 1), Act(5.0, "a", 2), Act(16.5, "a", 3)]
    assert find_overlaps([*TAKEN, *killed, *elsewhere], acts) == []


@pytest.mark.parametrize(
    ("leases", "acts", "says"),
    [
        ([Change(2.5, "a", 2, 14.5)], [], "too early"),
        ([Change(4.0, "a", 2, 16.0)], [Act(5.0, "a", 2), Act(5.1, "a", 1)], "acted after 2"),
        ([], [Act(3.5, "a", 1)], "without its lease"),
        ([], [Act(1.0, "a", 7)], "without its lease"),
    ],
)
def test_what_overlaps_is_found(leases, acts, says):
    found = find_overlaps([*TAKEN, *leases], acts)
    assert says in "\n".join(found)


def test_the_result_names_what_was_measured():
    assert re.fullmatch(r" \([0-9a-f]{7,}\)", commit())
    found = {
        "visits": 1,
        "seconds": 1.0,
        "kills": 0,
        "stops": 0,
        "acts": 1,
        "acted": 1,
        "overlaps": [],
        "seed": 1,
    }
    for said in (overlaps.write(found), matching.measured()):
        assert f"UTC{commit()}" in said
    samples = [(float(second), {"connections": 1.0}) for second in range(12)]
    ran = soak.Soak(None, "", samples=samples)
    scores = dict.fromkeys(("performance", "accessibility"), 1.0)
    for said in (
        soak.write(ran, 1.0, {}, Counter(), []),
        open_pages.write([0.1, 0.2], [0.1, 0.2], 0, 1.0),
        lighthouse.write([("Inventory", "phone", scores, set())], 1),
    ):
        assert f"{__version__}{commit()}" in said


async def test_its_workers_have_every_lane_that_a_worker_has(database_urls, tmp_path, monkeypatch):
    seen = {}

    async def noted(app, slots, **_):
        seen.update(slots)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(engine, "run_lanes", noted)
    monkeypatch.setattr(visit, "Visit", visit.Visit)  # `work` puts another in its place
    await overlaps.work(database_urls.login, tmp_path)
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    assert seen == run.slots_of(Settings(_env_file=None, worker_visits=overlaps.SLOTS))
    assert {"urgent", "visits", "ticks", "reading", "messages", "imports", "sittings"} <= seen.keys()


@pytest.mark.extended
def test_a_few_visits_with_a_killed_and_a_stopped_worker_do_not_overlap(tmp_path, monkeypatch):
    monkeypatch.setattr(overlaps, "KILL_EVERY", 4.0)
    monkeypatch.setattr(overlaps, "STOP_EVERY", 6.0)
    found = overlaps.measure(tmp_path, 150, seed=7, minutes=2)
    assert found["visits"] >= 150
    assert found["acts"] > 150
    assert found["kills"] >= 1
    assert found["overlaps"] == []
