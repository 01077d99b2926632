"""The fault matrix's own rules, and a handful of its cells, so that the harness cannot rot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from chaos import faults, judge
from chaos.matrix import FAULTS, STEPS, VERBS, Cell, cells
from chaos.play import VERBS as PLAYED
from chaos.play import play
from chaos.report import NOTES, write
from chaos.stage import AS_THERE, SHIRT, Content, picture, set_up
from chaos.workers import naming
from everystall.sandbox.core import Item, World

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
    assert page.endswith("\n\n" + NOTES.read_text())
    (row,) = [line for line in page.splitlines() if "`kill-worker`" in line][:1]
    assert row.split("|")[2 + STEPS.index("click")].strip() == "ok"


def test_all_that_a_marketplace_shows_of_a_listing_is_compared():
    world = World()
    for marketplace, wanted in AS_THERE.items():
        fields = {**wanted, "title": SHIRT["title"], "price": SHIRT["price"]}
        sku = f"{fields.pop('sku', '')} ~3XLSDC"
        account = world.account(marketplace, "alice")
        photos = [world.keep_photo(marketplace, account, picture(n), "image/png") for n in range(2)]

        def there(marketplace=marketplace, account=account, photos=photos, sku=sku, fields=fields, **other):
            return Content.of(Item("1", marketplace, account, "live", {**fields, **other}, sku, photos))

        assert there() == Content()
        for name, value in (("description", "Another."), ("quantity", 2), ("shipping", {}), ("tip", 1)):
            assert there(**{name: value}).differing == (name,), marketplace
        assert there(fields={**fields, "size": None}).differing == ("size",)
        other = there(sku="B-18 ~3XLSDC").differing
        assert other == (() if marketplace == "mercari" else ("sku",))


def test_what_was_started_for_a_browser_is_found_whoever_it_belongs_to_by_now(tmp_path):
    code = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL).pid)"
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    parent = [sys.executable, "-c", code, *sleep, f"--user-data-dir={tmp_path}/profiles/1"]
    orphan = int(subprocess.run(parent, stdout=subprocess.PIPE, check=True).stdout)
    try:
        assert naming(tmp_path / "profiles") == [orphan]
        assert naming(tmp_path / "elsewhere") == []
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_the_page_is_what_would_be_written_but_for_its_results():
    """What a person adds to it by hand would be gone with the next writing: that goes into chaos/NOTES.md."""
    page = (Path(__file__).parent.parent / "docs/reliability.md").read_text()
    written = write([])
    assert page.endswith(NOTES.read_text())
    for said in written[written.index("Each cell is a seller") : written.index("## publish")].split("\n\n"):
        assert said in page


@pytest.mark.parametrize(
    ("verb", "ended", "status", "asked", "fits"),
    [
        ("publish", "live", "done", None, True),
        ("publish", "live", "needs_you", "unresolved", True),
        ("publish", "live", "needs_you", "page_changed", False),
        ("publish", "live", "running", None, False),
        ("publish", "live", "cancelled", None, False),
        ("publish", "needs_you:challenge", "needs_you", "challenge", True),
        ("publish", "needs_you:challenge", "done", None, False),
        ("publish", "still filling", "running", None, False),
        ("revise", "needs_you:gone", "done", None, True),
        ("revise", "live", "needs_you", "gone", False),
        ("delist", "ended", "done", None, True),
        ("delist", "ended", "running", None, False),
    ],
)
async def test_a_job_says_what_became_of_it(verb, ended, status, asked, fits):
    async def rows(query, *values):
        return [{"status": status, "asked": asked}]

    stage, seller = SimpleNamespace(rows=rows), SimpleNamespace(job="job_1")
    assert (await judge._job(stage, seller, verb, ended) == []) == fits


@pytest.mark.parametrize("place", [*judge.TOLD, "webhooks", "worker-1.log"])
async def test_a_secret_is_found_wherever_others_are_told_of_it(tmp_path, place):
    token = "of-the-session"
    session = SimpleNamespace(account=SimpleNamespace(name="s1"), token=token, spent={})

    async def rows(query, user_id):
        return [{"t": f"({token})" if f"FROM {place} t" in query else "(nothing)"}]

    if place.endswith(".log"):
        (tmp_path / place).write_text(f"said {token}")
    told = {"type": "x", "data": {"jobId": "job_1", "message": token if place == "webhooks" else ""}}
    stage = SimpleNamespace(home=tmp_path, rows=rows, door=SimpleNamespace(told=[told]), sandbox=(
        SimpleNamespace(world=SimpleNamespace(_sessions=[session]))))  # fmt: skip
    seller = SimpleNamespace(name="s1", user_id=1, job="job_1", listing="l")
    assert await judge._silent(stage, seller) == [f"I6: a secret in {place}"]


@pytest.mark.journey
@pytest.mark.browser
@pytest.mark.extended
async def test_a_handful_of_cells_passes():
    by_name = {cell.name: cell for cell in cells()}
    async with set_up() as stage:
        for number, name in enumerate(HANDFUL):
            result = await play(stage, by_name[name], 1, number=number)
            assert result.passed, (result, result.lines[-40:])
