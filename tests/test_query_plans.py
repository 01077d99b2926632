"""The questions that are asked most are answered by indexes, as a seller behind row-level security."""

from __future__ import annotations

import re

import pytest

from benchmarks.engine import Place
from benchmarks.queries import ASKED, TICK, Sample, fill, plans, samples
from everystall.db import Database
from everystall.web.cursors import read_cursor

#: Which indexes each needs: with another it would read more than it is asked for.
NEEDED = {
    TICK: ("publications_due_at",),
    "due rows of one account, by its visit": ("publications_due",),
    "job status, `GET /api/jobs/{jobId}`": ("results_once",),
    "a listing's publications": ("publications_once",),
    "the listings, first page": ("listings_(?:by_user|sought)", "publications_once"),
    "the listings, a page from the middle": ("listings_(?:by_user|sought)", "publications_once"),
    "the jobs that need the seller, first page": ("jobs_by_status", "results_once"),
}
GROWING = "publications|jobs|listing_automation_results|listings|listing_photos|attempts|connections"


def middle_of_first_seller(here: Place) -> Sample:
    """As many come before it as after: near an end of the list few rows are left, and any index will do."""
    theirs = samples(here, 600)[:300]
    return sorted(theirs, key=lambda one: read_cursor(one.cursor))[len(theirs) // 2]


async def test_what_is_asked_most_is_answered_by_its_indexes(db: Database, database_urls, tmp_path):
    """`enable_seqscan = off`: among few rows reading all would be cheaper, and among many it is what is left
    where an index is missing."""
    here = Place(tmp_path, database_urls.login, database_urls.admin, postmaster=0)
    fill(here, 3000)
    found = await plans(here, db, middle_of_first_seller(here), "enable_seqscan = off")
    assert set(found) == {TICK, *ASKED} == set(NEEDED)
    for name, needed in NEEDED.items():
        plan = "\n".join(found[name])
        assert not re.search(rf"Seq Scan on ({GROWING})\b", plan), f"{name}\n{plan}"
        assert "BitmapAnd" not in plan, f"{name} reads all of a seller's beside what it needs\n{plan}"
        for index in needed:
            assert re.search(rf"\b{index}\b", plan), f"{name} needs {index}\n{plan}"


@pytest.mark.longer
@pytest.mark.parametrize("cursor", [False, True])
async def test_a_page_of_what_came_in_one_transaction_reads_a_page_and_not_all(
    db: Database, database_urls, tmp_path, cursor
):
    here = Place(tmp_path, database_urls.login, database_urls.admin, postmaster=0)
    fill(here, 3000)
    name = "the listings, a page from the middle" if cursor else "the listings, first page"
    plan = (await plans(here, db, middle_of_first_seller(here)))[name][0]
    used = r"Index Scan using listings_(?:by_user|sought)\b.*actual (?:time=\S+ )?rows=([\d.]+)"
    (read,) = re.findall(used, plan)
    assert float(read) <= 51, plan
