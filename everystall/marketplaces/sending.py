"""Until when a marketplace wants an order sent, from the line in its form.py (`SENDING`). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

#: Monday is 0.
_SATURDAY = 5


@dataclass(frozen=True)
class Sending:
    """What the seller has time for: to send an order, or to cancel it."""

    #: Days from the order on; None: not known.
    days: int | None
    #: The seller reads this.
    said: str
    #: Where it was read, and when.
    source: str
    checked: date
    #: Saturdays and Sundays are none of the days. (Holidays are: the time is never overstated.)
    working_days: bool = False

    def until(self, ordered_at: datetime) -> datetime | None:
        """When the time is over; None: not known."""
        if self.days is None:
            return None
        until = ordered_at
        for _ in range(self.days):
            until += timedelta(days=1)
            while self.working_days and until.weekday() >= _SATURDAY:
                until += timedelta(days=1)
        return until
