"""The judge of `make bench-sales` goes by the ledger: what was for sale too long, what we said too soon."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks import sales
from benchmarks.sales import LATE, Outcome, stayed, too_soon

HERE, THERE, ELSEWHERE = ("ebay", "1"), ("mercari", "m1"), ("poshmark", "p1")
PLACES = [HERE, THERE, ELSEWHERE]


@pytest.mark.parametrize(
    ("sold", "ended", "too_long"),
    [
        ({HERE: 100.0}, {THERE: 160.0, ELSEWHERE: 100.0 + LATE}, False),
        ({HERE: 100.0}, {THERE: 160.0, ELSEWHERE: 101.0 + LATE}, True),  # gone at the end, and late
        ({HERE: 100.0}, {THERE: 160.0}, True),  # for sale yet
        ({HERE: 100.0, THERE: 102.0}, {ELSEWHERE: 160.0}, False),  # sold twice: nowhere for sale
        ({HERE: 100.0, THERE: 101.0 + LATE}, {ELSEWHERE: 160.0}, True),
    ],
)
def test_what_was_for_sale_for_too_long_is_found_though_it_is_gone_by_now(sold, ended, too_long):
    assert stayed(PLACES, sold, ended) is too_long


@pytest.mark.parametrize("part", ["fast", "mails"])
def test_the_parts_with_five_accounts_make_sixty_sales_whatever_the_minutes_of_the_hour(monkeypatch, part):
    """With `--minutes 5` they made 30."""
    asked = []
    monkeypatch.setattr(sales, "fair", lambda home, say, more, run: run(SimpleNamespace(say=say)))
    monkeypatch.setattr(sales, "stock", lambda here, *what: asked.append(what))
    monkeypatch.setattr(sales, "buy_all", lambda here, *what: asked.append(what))
    monkeypatch.setattr(sales, "pass_mails_on", lambda here: asked.append("mails"))
    monkeypatch.setattr(sales, "settle", lambda here: None)
    monkeypatch.setattr(sales, "judge", lambda here: Outcome(60, [1.0], [1.0], 0, 0, 0, 0, 0, ()))
    monkeypatch.setattr("sys.argv", ["sales", "--only", part, "--minutes", "5", "--no-write"])
    with pytest.raises(SystemExit):
        sales.main()
    (sellers, marketplaces, copies), *beside, (many, seconds, _) = asked
    assert (many, seconds, sum(map(len, marketplaces)), beside) == (60, 600, 5, ["mails"] * (part == "mails"))
    assert sellers * copies >= many  # else the buyers run out of what is for sale


def test_what_we_said_before_it_was_so_is_found():
    state = {HERE: "sold", THERE: "ended", ELSEWHERE: "live"}
    sold, ended = {HERE: 100.0}, {THERE: 160.0}
    assert too_soon([(THERE, 160.0), (HERE, 100.5)], state, sold, ended) == []
    said = too_soon([(THERE, 159.9), (HERE, 99.0), (ELSEWHERE, 170.0)], state, sold, ended)
    assert [line.partition(") ")[2] for line in said] == [
        "was gone 0.100 s after we said so", "was gone 1.000 s after we said so",
        "is for sale and we say that it is gone",
    ]  # fmt: skip


async def test_what_it_asks_the_database_can_be_asked(admin):
    for asked in (sales._SEEN, sales._OURS, sales._LATE):
        assert await (await admin.execute(asked)).fetchall() == []
