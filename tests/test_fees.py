"""What the marketplaces take, to the cent; and the lowest price that leaves what the seller wants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.fees import Beside, fee_of, lowest_price, net_of

CATEGORIES = [None, "men.shirts.casual", "books.fiction", "women.bags.totes", "women.jewelry.rings"]
#: Up to $20,000: above every step of every table.
CENTS = st.integers(1, 2_000_000)
BESIDES = st.builds(Beside, st.integers(0, 5_000), st.integers(0, 2_500))
GRIDS = st.sampled_from([(1, 0), (100, 0), (100, 99)])
PLACES = st.sampled_from(list(MARKETPLACES))


def fees(marketplace):
    return get_form(marketplace).FEES


@pytest.mark.parametrize(
    ("marketplace", "price", "category", "beside", "fee"),
    [
        ("poshmark", 1499, None, Beside(), 295),
        ("poshmark", 1500, None, Beside(), 300),
        ("poshmark", 4500, None, Beside(700, 800), 900),  # the label and the tax are the buyer's
        ("mercari", 2500, None, Beside(), 250),
        ("mercari", 2500, None, Beside(postage=599), 310),  # 309.9
        ("mercari", 2500, None, Beside(tax=1000), 250),
        ("ebay", 1000, "men.shirts.casual", Beside(), 30 + 136),
        ("ebay", 1001, "men.shirts.casual", Beside(), 40 + 137),  # 136.136
        ("ebay", 2500, None, Beside(), 40 + 340),
        ("ebay", 2500, None, Beside(postage=500, tax=800), 40 + 441),  # 13.6% of 3240: 440.64
        ("ebay", 950, None, Beside(postage=100), 40 + 143),  # the order is above $10, the price is not
        ("ebay", 2500, "books.fiction", Beside(), 40 + 383),  # 382.5
        ("ebay", 2500, "bookshelves", Beside(), 40 + 340),
        ("ebay", 20000, "women.bags.totes", Beside(), 40 + 3000),
    ],
)
def test_the_fee_is_the_tables_to_the_cent(marketplace, price, category, beside, fee):
    assert fee_of(fees(marketplace), price, category, beside) == fee
    assert net_of(fees(marketplace), price, category, beside) == price - fee


@given(PLACES, st.sampled_from(CATEGORIES), st.integers(-500, 1_500_000), BESIDES)
def test_the_lowest_price_leaves_what_is_wanted_and_a_cent_less_does_not(marketplace, category, net, beside):
    price = lowest_price(fees(marketplace), net, category, beside)
    assert net_of(fees(marketplace), price, category, beside) >= net
    assert price == 1 or net_of(fees(marketplace), price - 1, category, beside) < net


@given(PLACES, st.sampled_from(CATEGORIES), st.integers(0, 6_000), BESIDES, GRIDS, st.integers(1, 8_000))
def test_of_the_prices_that_are_asked_for_it_is_the_very_lowest(
    marketplace, category, net, beside, grid, at_least
):
    """By trying them all: where a step begins, what is left sinks, and a price above may leave too little."""
    table = fees(marketplace)
    price = lowest_price(table, net, category, beside, at_least=at_least, grid=grid)
    assert price == next(
        cents
        for cents in range(at_least, 100_000)
        if cents % grid[0] == grid[1] and net_of(table, cents, category, beside) >= net
    )


@given(
    PLACES, st.sampled_from(CATEGORIES), st.integers(0, 1_000_000), st.integers(0, 100_000), BESIDES, GRIDS
)
def test_who_wants_more_never_gets_a_lower_price(marketplace, category, net, more, beside, grid):
    table = fees(marketplace)
    assert lowest_price(table, net, category, beside, grid=grid) <= lowest_price(
        table, net + more, category, beside, grid=grid
    )


@given(PLACES, st.sampled_from(CATEGORIES), CENTS, BESIDES)
def test_a_dearer_thing_never_costs_a_lower_fee(marketplace, category, price, beside):
    table = fees(marketplace)
    assert 0 < fee_of(table, price, category, beside) <= fee_of(table, price + 1, category, beside)


def test_at_poshmarks_step_a_dollar_more_leaves_less():
    table = fees("poshmark")
    assert (net_of(table, 1499), net_of(table, 1500)) == (1204, 1200)
    assert lowest_price(table, 1204) == 1499
    assert lowest_price(table, 1204, grid=(100, 0)) == 1600  # not 1500, which would leave four cents less


@pytest.mark.parametrize("marketplace", MARKETPLACES)
def test_every_table_begins_at_nothing_rises_and_says_where_it_is_from(marketplace):
    table = fees(marketplace)
    for steps in (table.steps, *table.categories.values()):
        starts = [step.start for step in steps]
        assert starts[0] == 0
        assert starts == sorted(set(starts))
    assert table.source
    assert table.checked.year >= 2026
    assert MARKETPLACES[marketplace] in table.said


def test_what_no_price_leaves_is_said():
    with pytest.raises(ValueError, match="no price"):
        lowest_price(fees("mercari"), 10**12)
