"""From nothing to the first live listing by the pages, on practice marketplaces."""

from __future__ import annotations

import re

import pytest

from tests.journeys.conftest import Seller, Stall
from tests.journeys.test_from_the_page import Reader

pytestmark = [pytest.mark.journey, pytest.mark.browser, pytest.mark.longer]


async def test_a_sample_is_taken_posted_to_all_and_live(stall: Stall, alice: Seller):
    accounts = [await stall.connect(alice, name) for name in ("poshmark", "mercari", "ebay")]
    reader = await Reader.of(stall, alice)
    today = await reader.read("/")
    assert "Take a sample" in today
    where = await reader.send("/today/sample", today)
    page = await reader.read(where)
    chosen = re.findall(r'name="account" value="(\w+)" checked', page)
    assert sorted(chosen) == sorted(accounts)
    key = re.search(r'name="key" value="(\w+)"', page)
    assert key is not None
    await reader.send(f"{where}/post", page, key=key[1], account=chosen)
    (job,) = await stall.rows("SELECT id FROM jobs")
    done = await stall.until_done(alice, job["id"], *accounts)
    assert done["status"] == "done", done
    for name in ("poshmark", "mercari", "ebay"):
        assert len(stall.live(name)) == 1
    assert "What to do next" not in await reader.read("/")
