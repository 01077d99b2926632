"""Which listings of an account's list are worth a look at their own page."""

from __future__ import annotations

from uuid import uuid4

import pytest

from everystall.marketplaces.base import Active, Money
from everystall.worker.hands import Held, _fits

KNOWN = {"title": "A shirt", "price": {"amount": 2500, "currency": "USD"}}


def _held(**more: object) -> Held:
    as_it_is = {"standing": True, "unsettled": False, "known": KNOWN, "listed": None, **more}
    return Held(uuid4(), uuid4(), "m1", **as_it_is)  # type: ignore[arg-type]


def _row(title: str = "A shirt", dollars: int | None = 25, id: str = "m1") -> Active:
    return Active(id, "live", title, Money(amount=dollars * 100) if dollars else None)


@pytest.mark.parametrize(
    ("held", "row", "fits"),
    [
        (_held(), _row(), True),
        (_held(), _row("A  shirt "), True),
        (_held(), _row(dollars=None), True),  # a list that shows no price says nothing of it
        (_held(), None, False),
        (_held(), _row(dollars=24), False),
        (_held(), _row("A blue shirt"), False),
        (_held(unsettled=True), _row("A blue shirt"), True),  # a change is on its way, and looks itself
        (_held(unsettled=True), None, False),
        # the list has its own way of showing it, and its page was looked at because of that
        (_held(listed={"title": "A sh…", "price": KNOWN["price"]}), _row("A sh…"), True),
        (_held(listed={"title": "A sh…", "price": KNOWN["price"]}), _row("A sh…", 24), False),
    ],
)
def test_what_the_list_lacks_or_shows_otherwise_is_worth_a_look(held: Held, row: Active | None, fits: bool):
    assert _fits(held, {row.remote_id: row} if row else {}, []) is fits


def test_what_is_gone_is_worth_one_where_something_like_it_is_there():
    gone = _held(standing=False)
    assert _fits(gone, {}, [])
    assert _fits(gone, {}, [_row("Another", id="m2"), _row(dollars=24, id="m3")])
    assert not _fits(gone, {}, [_row(id="m2")])
