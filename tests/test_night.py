"""The seller's own night, in which accounts are looked at less often."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from everystall.worker.watch import is_night


@pytest.mark.parametrize(
    ("zone", "hour", "night"),
    [
        ("America/Chicago", 5, False),  # 23:00 the day before, in November
        ("America/Chicago", 6, True),
        ("America/Chicago", 11, True),
        ("America/Chicago", 12, False),
        ("Asia/Tokyo", 15, True),
        ("Asia/Tokyo", 21, False),
        (None, 3, False),  # nobody knows
        ("Mars/Olympus", 3, False),
        ("../etc/passwd", 3, False),
    ],
)
def test_it_is_night_from_midnight_to_six_where_the_seller_is(zone, hour, night):
    assert is_night(zone, datetime(2026, 11, 26, hour, tzinfo=UTC)) is night
