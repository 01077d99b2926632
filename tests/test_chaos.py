"""The fault matrix's own rules, and a handful of its cells, so that the harness cannot rot."""

from __future__ import annotations

from random import Random

import pytest

from chaos import faults
from chaos.matrix import FAULTS, STEPS, VERBS, Cell, cells
from chaos.play import VERBS as PLAYED
from chaos.play import play
from chaos.report import write
from chaos.stage import set_up

#: One of each kind, over all verbs: together about a minute.
HANDFUL = (
    "publish/click/kill-worker", "publish/response/net-reset-after", "revise/response/net-500-after",
    "delist/click/net-500-before",
)  # fmt: skip


def test_every_fault_has_somebody_who_makes_it():
    doors = {cell.fault for cell in cells() if faults.trap_of(cell, Random(1))}
    assert set(FAULTS) == doors | set(faults._STRIKES)


def test_every_verb_can_be_played():
    assert set(VERBS) == set(PLAYED)


def test_every_cell_that_cannot_occur_says_why():
    steps = {cell.step for cell in cells()}
    assert steps == set(STEPS)
    for cell in cells():
        assert cell.cannot is None or len(cell.cannot) > 10, cell.name
    assert sum(cell.cannot is None for cell in cells()) > 300


def test_the_seller_is_asked_only_about_what_nobody_could_know():
    lost = Cell("publish", "response", "net-reset-after")
    assert lost.allows("live", really_live=True)
    assert lost.allows("needs_you:unresolved", really_live=False)
    assert not lost.allows("needs_you:unresolved", really_live=True)
    assert not lost.allows("needs_you:page_changed", really_live=False)
    early = Cell("publish", "fill", "kill-worker")
    assert not early.allows("needs_you:unresolved", really_live=False)
    assert not early.allows("still filling", really_live=False)
    assert not Cell("publish", "click", "soft-reject").allows("live", really_live=True)
    again = Cell("revise", "response", "net-reset-after")  # a change may be made twice
    assert not again.allows("needs_you:unresolved", really_live=True)
    assert Cell("revise", "baseline", "seller-edits").allows("needs_you:edited_there", really_live=True)
    assert not Cell("publish", "response", "seller-edits").allows("needs_you:edited_there", really_live=True)


def test_what_is_there_from_the_beginning_can_be_deleted_at_each_step():
    assert Cell("publish", "fill", "seller-deletes").cannot == "nothing of ours is there yet"
    assert Cell("revise", "fill", "seller-deletes").cannot is None
    assert Cell("revise", "save", "seller-deletes").cannot is not None


def test_parts_add_up_to_one_page():
    one = {"seed": 1, "marketplace": "ebay", "outcome": "live", "wrong": [], "notes": [], "seconds": 5.0,
           "real": False, "commit": "abc", "at": "2026-01-01 10:00"}  # fmt: skip
    page = write([
        one | {"cell": "publish/click/kill-worker"},
        one | {"cell": "publish/arm/pg-cut", "wrong": ["I1: 2 of ours are live"]},
        one | {"cell": "delist/click/net-stall", "outcome": "needs_you:challenge"},
        one | {"cell": "publish/fill/stop", "real": True},
    ])  # fmt: skip
    assert "**2 of 3 cells passed**, 1 of them with a question" in page
    assert "`publish/arm/pg-cut` (ebay): I1: 2 of ours are live" in page
    assert "1 of 1 passed" in page
    (row,) = [line for line in page.splitlines() if "`kill-worker`" in line][:1]
    assert row.split("|")[2 + STEPS.index("click")].strip() == "ok"


@pytest.mark.journey
@pytest.mark.browser
@pytest.mark.extended
async def test_a_handful_of_cells_passes():
    by_name = {cell.name: cell for cell in cells()}
    async with set_up() as stage:
        for number, name in enumerate(HANDFUL):
            result = await play(stage, by_name[name], 1, number=number)
            assert result.passed, (result, result.lines[-40:])
