"""What changed in a long list is found by few of its pages."""

from __future__ import annotations

import math
import random

import pytest

from everystall.worker.list_order import FEW, Order

SIZE, PAGES = 20, 100
BEFORE = [f"m{n}" for n in range(SIZE * PAGES - 7)]


def read(before, there, *, size=SIZE, begins_again=False, turn=2):
    """Until it wants no more; the pages that it wanted."""
    order, wanted = Order(before, turn), []
    while (number := order.next()) is not None:
        assert number not in wanted, "twice"
        wanted.append(number)
        rows = there[(number - 1) * size : number * size]
        if begins_again and not rows:
            rows = there[:size]
        order.add(number, rows, begins_again or len(there) > number * size)
    return order, wanted


def test_where_nothing_changed_it_is_the_first_the_last_and_two_in_turn():
    order, wanted = read(BEFORE, BEFORE, turn=42)
    assert wanted == [1, PAGES, 42, 43]
    assert (order.now(), order.pages_read, order.turn) == (BEFORE, 4, 44)
    order, wanted = read(BEFORE, BEFORE, turn=99)
    assert (wanted, order.turn) == ([1, PAGES, 99, 2], 3)


@pytest.mark.parametrize("place", [0, 19, 20, 713, len(BEFORE) - 1])
def test_what_is_gone_is_found_by_halves(place):
    there = [id for id in BEFORE if id != BEFORE[place]]
    order, wanted = read(BEFORE, there)
    assert order.now() == there
    assert len(wanted) <= FEW + 1 + math.log2(PAGES)


def test_what_was_posted_anew_is_seen_on_top_and_what_moved_there_is_not_gone():
    anew = ["new", BEFORE[900], *BEFORE[:713], *BEFORE[714:900], *BEFORE[901:]]
    order, wanted = read(BEFORE, anew)
    assert order.now() == anew
    assert len(wanted) <= FEW + 3 * math.log2(PAGES)


@pytest.mark.parametrize("begins_again", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_whatever_went_came_or_moved_to_the_top_is_found(seed, begins_again):
    dice = random.Random(seed)
    there = [id for id in BEFORE if dice.random() > dice.choice([0.001, 0.3])]
    moved = dice.sample(there, dice.randrange(4))
    there = [id for id in there if id not in moved]
    there = [f"new{n}" for n in range(dice.choice([0, 1, 30, 500]))] + moved + there
    order, wanted = read(BEFORE, there, begins_again=begins_again, turn=dice.randrange(2, PAGES))
    assert set(order.now()) == set(there)
    assert len(wanted) <= len(there) // SIZE + 12


@pytest.mark.parametrize("before", [None, [], BEFORE[: FEW * SIZE]])
def test_what_nobody_knows_and_what_is_short_is_read_as_a_whole(before):
    there = BEFORE[1:70]
    order, wanted = read(before, there)
    assert wanted == [1, 2, 3, 4]
    assert order.now() == there
    assert read(before, there, begins_again=True)[1] == [1, 2, 3, 4, 5]


def test_pages_of_no_certain_length_are_read_all():
    order, number = Order(BEFORE), 1
    pages = [BEFORE[:20], *(BEFORE[n : n + 19] for n in range(20, 500, 19))]
    wanted = []
    while (number := order.next()) is not None:
        wanted.append(number)
        shown = pages[number - 1] if number <= len(pages) else []
        order.add(number, shown, number < len(pages))
    assert set(order.now()) == {id for page in pages for id in page}


def test_one_page_less_is_found_at_once():
    before = [*BEFORE[: SIZE * (PAGES - 1)], "last"]
    there = [id for id in before if id != BEFORE[30]]
    order, wanted = read(before, there, turn=5)
    assert (wanted[:3], order.now()) == ([1, PAGES, PAGES - 1], there)
    assert len(wanted) <= FEW + 2 + math.log2(PAGES)


def test_an_account_that_is_empty_now_is_one_page():
    order, wanted = read(BEFORE, [])
    assert (order.now(), wanted) == ([], [1])


def test_a_page_that_shows_nothing_and_goes_on_is_the_end():
    order = Order(BEFORE)
    order.add(1, [], True)
    assert (order.next(), order.now(), order.is_long) == (None, [], False)
