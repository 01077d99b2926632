"""When a seller is told: at once, or with what else came up in the hour or the day, and never in quiet hours.
Pure; every time of day is the seller's own, whatever their clocks are changed to meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

#: How soon: word → what the seller reads.
PACES = {"at_once": "At once", "hourly": "Once an hour", "daily": "Once a day"}


@dataclass(frozen=True)
class Hours:
    zone: ZoneInfo
    #: Minutes of the day, from and until; over midnight where the second is less.
    quiet: tuple[int, int] | None = None
    #: When what is told once a day is told.
    digest_hour: int = 8

    def is_quiet(self, at: datetime) -> bool:
        if self.quiet is None:
            return False
        begins, ends = self.quiet
        local = at.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        return begins <= minute < ends if begins <= ends else minute >= begins or minute < ends

    def next_time(self, pace: str, now: datetime) -> datetime:
        """When something that happens now is told: never before now, never in quiet hours."""
        at = now
        if pace == "hourly":
            local = now.astimezone(self.zone)
            at = now + timedelta(hours=1) - timedelta(
                minutes=local.minute, seconds=local.second, microseconds=local.microsecond
            )  # fmt: skip
        elif pace == "daily":
            at = next(self._each_day_at(self.digest_hour * 60, now))
        if self.quiet is not None and self.is_quiet(at):
            at = next(one for one in self._each_day_at(self.quiet[1], at) if not self.is_quiet(one))
        return at

    def _each_day_at(self, minute: int, after: datetime) -> Iterator[datetime]:
        """Each moment after that one at which the seller's clock shows it: twice in a night when clocks are
        set back; as much later as they are set forward where it is left out."""
        day = after.astimezone(self.zone).date() - timedelta(days=1)
        while True:
            face = datetime.combine(day, time(minute // 60, minute % 60), self.zone)
            found = {face.astimezone(UTC)}
            if (again := face.replace(fold=1).astimezone(UTC)) > min(found):
                found.add(again)
            yield from (at for at in sorted(found) if at > after)
            day += timedelta(days=1)


def zone_of(*names: str | None) -> ZoneInfo:
    """The first of these (IANA) that is one, else UTC."""
    for name in names:
        if name:
            try:
                return ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                continue
    return ZoneInfo("UTC")
