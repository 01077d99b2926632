"""The checker of `make overlaps` finds two visits on one account wherever they show, and nothing else."""

from __future__ import annotations

import pytest

from benchmarks import overlaps
from benchmarks.overlaps import Act, Change, find_overlaps

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


@pytest.mark.extended
def test_a_few_visits_with_a_killed_and_a_stopped_worker_do_not_overlap(tmp_path, monkeypatch):
    monkeypatch.setattr(overlaps, "KILL_EVERY", 4.0)
    monkeypatch.setattr(overlaps, "STOP_EVERY", 6.0)
    found = overlaps.measure(tmp_path, 150, seed=7, minutes=2)
    assert found["visits"] >= 150
    assert found["acts"] > 150
    assert found["kills"] >= 1
    assert found["overlaps"] == []
