"""When a seller is told, whatever their time zone does to the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import example, given
from hypothesis import strategies as st

from everystall.notify.hours import PACES, Hours, zone_of

#: Clocks that are set by an hour, by half an hour, on other days, never, and beside the whole hour.
ZONES = ("America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata",
         "Pacific/Chatham", "Africa/Casablanca", "UTC")  # fmt: skip
zones = st.sampled_from(ZONES).map(ZoneInfo)
minutes = st.integers(0, 24 * 60 - 1)
moments = st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))
GAP, TWICE = datetime(2026, 3, 8, 6, 30, tzinfo=UTC), datetime(2026, 11, 1, 6, 10, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")


@given(zones, minutes, minutes, st.integers(0, 23), st.sampled_from(list(PACES)), moments)
@example(NEW_YORK, 22 * 60, 2 * 60 + 30, 2, "at_once", GAP)
@example(NEW_YORK, 22 * 60, 60 + 30, 1, "daily", TWICE)
@example(NEW_YORK, 60 + 15, 60 + 45, 1, "hourly", TWICE)
def test_it_is_told_soon_after_and_never_in_quiet_hours(zone, begins, ends, digest, pace, now):
    hours = Hours(zone, (begins, ends) if begins != ends else None, digest)
    at = hours.next_time(pace, now)
    assert at >= now
    assert not hours.is_quiet(at)
    assert at - now <= {"at_once": timedelta(0), "hourly": timedelta(hours=1)}.get(
        pace, timedelta(hours=25)
    ) + (timedelta(hours=26) if hours.quiet else timedelta(0))
    if pace == "at_once" and not hours.is_quiet(now):
        assert at == now


@given(zones, minutes, minutes, moments)
def test_quiet_hours_end_as_soon_as_they_are_over(zone, begins, ends, now):
    """Nothing between now and then would have been allowed, but for the minutes that a clock leaves out."""
    hours = Hours(zone, (begins, ends) if begins != ends else None)
    at = hours.next_time("at_once", now)
    step = now
    while step < at - timedelta(hours=1):
        assert hours.is_quiet(step), step
        step += timedelta(minutes=10)


def test_at_seven_is_at_seven_by_the_sellers_clock_in_summer_and_in_winter():
    hours = Hours(NEW_YORK, (22 * 60, 7 * 60))
    for month, day, hour in ((3, 7, 12), (3, 8, 11), (10, 31, 11), (11, 1, 12)):
        told = hours.next_time("at_once", datetime(2026, month, day, 5, 0, tzinfo=UTC))
        assert told == datetime(2026, month, day, hour, 0, tzinfo=UTC)
    assert hours.next_time("daily", datetime(2026, 6, 1, 12, 30, tzinfo=UTC)).astimezone(NEW_YORK).hour == 8


def test_a_zone_that_is_none_is_the_next_ones():
    assert zone_of("Mars/Olympus", "../etc/passwd", None, "Europe/Berlin").key == "Europe/Berlin"
    assert zone_of(None, "").key == "UTC"
