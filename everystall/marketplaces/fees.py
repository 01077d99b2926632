"""What a marketplace takes of a sale: whole cents, from the table in its form.py (`FEES`). Pure.

A fee is rounded up to the cent, since the sites do not say how they round: what is left is never overstated.
It is what the marketplace takes of the sale and nothing else: no postage, no promotion, no payout fee.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

#: Cents that a search for a price ends at: a hundred times what a listing's price may be.
HIGHEST = 100_000_000_000


#: Prices that are a multiple of the first number plus the second: (100, 99) are those that end in .99.
Grid = tuple[int, int]
ANY: Grid = (1, 0)


@dataclass(frozen=True)
class Step:
    """What is taken of a sale of `start` cents or more, up to the next step: `fixed` cents, and `rate`
    hundredths of a per cent of all of it."""

    start: int
    fixed: int = 0
    rate: int = 0


@dataclass(frozen=True)
class FeeTable:
    """One marketplace's fees. `steps` begin with 0 and go upwards."""

    steps: Sequence[Step]
    #: Where it was read, and when.
    source: str
    checked: date
    #: The seller reads this: what the table is for, and what it does not know.
    said: str
    #: Is the fee taken of the postage, and of the sales tax, that the buyer pays as well?
    of_postage: bool = False
    of_tax: bool = False
    #: What the seller gives of a sale towards the buyer's postage: the setting `shipping_discount` → cents.
    #: Where nothing is set it is `free` if the seller pays the postage, else `none`.
    discounts: Mapping[str, int] = field(default_factory=dict)
    #: Beginning of a category of ours → its own steps ("books" is for books.fiction too).
    categories: Mapping[str, Sequence[Step]] = field(default_factory=dict)


@dataclass(frozen=True)
class Beside:
    """What the buyer pays beside the price, as the seller expects it: cents of postage, and hundredths of a
    per cent of sales tax (of price and postage). And the cents that the seller gives of the price towards the
    postage."""

    postage: int = 0
    tax: int = 0
    given: int = 0


NOTHING_BESIDE = Beside()


def fee_of(table: FeeTable, price: int, category: str | None = None, beside: Beside = NOTHING_BESIDE) -> int:
    """Cents that are taken when it sells at this price."""
    amount = _amount(table, price, beside)
    step = next(step for step in reversed(_steps(table, category)) if step.start <= amount)
    return step.fixed + _up(amount * step.rate, 10_000)


def net_of(table: FeeTable, price: int, category: str | None = None, beside: Beside = NOTHING_BESIDE) -> int:
    """Cents of the price that are left, less what the seller gives of it. Where a step begins, a higher price
    may leave less."""
    return price - fee_of(table, price, category, beside) - beside.given


def lowest_price(
    table: FeeTable,
    net: int,
    category: str | None = None,
    beside: Beside = NOTHING_BESIDE,
    *,
    at_least: int = 1,
    grid: Grid = ANY,
) -> int:
    """The lowest price from `at_least` on that leaves `net` cents or more, among those of `grid`."""
    prices = range(round_up(at_least, grid), HIGHEST, grid[0])
    starts = [step.start for step in _steps(table, category)]
    for start, end in zip(starts, [*starts[1:], HIGHEST * 2], strict=True):
        # the prices that fall into this step: in it, what is left never sinks as the price rises
        begin = bisect_left(prices, start, key=lambda price: _amount(table, price, beside))
        there = prices[begin : bisect_left(prices, end, key=lambda price: _amount(table, price, beside))]
        place = bisect_left(there, net, key=lambda price: net_of(table, price, category, beside))
        if place < len(there):
            return there[place]
    raise ValueError(f"no price leaves {net} cents")


def dearest(table: FeeTable, categories: Iterable[str | None]) -> str | None:
    """Of these categories, or of all that the table tells apart if there are none, one of which most is
    taken."""
    known = list(categories) or [None, *table.categories]
    return max(known, key=lambda category: max(step.rate for step in _steps(table, category)))


def round_up(price: int, grid: Grid) -> int:
    """The lowest price of the grid that is not lower; 0 and less is none."""
    every, offset = grid
    first = max(0 if offset else 1, _up(price - offset, every))
    return first * every + offset


def _steps(table: FeeTable, category: str | None) -> Sequence[Step]:
    parts = (category or "").split(".")
    own = [".".join(parts[:number]) for number in range(len(parts), 0, -1)]
    return next((table.categories[name] for name in own if name in table.categories), table.steps)


def _amount(table: FeeTable, price: int, beside: Beside) -> int:
    """What the fee is taken of."""
    postage = beside.postage if table.of_postage else 0
    tax = _up((price + beside.postage) * beside.tax, 10_000) if table.of_tax else 0
    return price + postage + tax


def _up(cents: int, parts: int) -> int:
    return -(-cents // parts)
