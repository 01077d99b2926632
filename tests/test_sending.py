"""Until when an order must be sent, where a marketplace says so."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.sending import Sending

WEDNESDAY = datetime(2026, 11, 25, 18, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "working", "until"),
    [(7, False, 7), (1, True, 1), (2, True, 2), (3, True, 5), (8, True, 12), (0, False, 0)],
)
def test_days_are_counted_from_the_order_on(days, working, until):
    rule = Sending(days, said="", source="", checked=date(2026, 11, 26), working_days=working)
    assert rule.until(WEDNESDAY) == WEDNESDAY + timedelta(days=until)


def test_an_order_of_a_saturday_begins_on_monday():
    rule = Sending(1, said="", source="", checked=date(2026, 11, 26), working_days=True)
    saturday = WEDNESDAY + timedelta(days=3)
    assert rule.until(saturday) == saturday + timedelta(days=2)


@pytest.mark.parametrize("marketplace", MARKETPLACES)
def test_each_marketplace_says_where_its_time_was_read(marketplace):
    rule = get_form(marketplace).SENDING
    assert rule.source
    assert rule.said.startswith(MARKETPLACES[marketplace])
    assert rule.checked <= date.today()
    assert (rule.until(WEDNESDAY) is None) == (rule.days is None)
