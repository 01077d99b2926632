"""What the inventory asks of the database for a part of its page."""

from __future__ import annotations

import re

from sqlalchemy import event

from everystall.web.pages import inventory
from tests.pages.standing import listing


async def test_a_keystroke_asks_for_nothing_that_stands_around_its_rows(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    for who, title in ((alice, "Linen shirt of Alice"), (bob, "Linen shirt of Bob")):
        await listing(house, who.id, title=title)
    asked = []
    event.listen(house.database.engine.sync_engine, "before_cursor_execute", lambda *of: asked.append(of[2]))
    assert "Linen shirt of Alice" in await alice.text("/inventory?q=shirt")
    assert [one for one in asked if "FROM notices" in one]
    asked.clear()
    rows = await alice.text("/inventory?typed=yes&q=shirt", headers={"X-Part": "results"})
    assert ("Linen shirt of Alice" in rows, "Linen shirt of Bob" in rows) == (True, False)
    around = ("FROM notices", "needs_you IS NOT NULL", "FROM saved_views", "OFFSET", "count(*)")
    assert not [one for one in asked if any(part in one for part in around)]


async def test_a_keystroke_is_told_how_many_match_where_counting_them_is_short(house, reader, monkeypatch):
    alice, bob = await reader("alice"), await reader("bob")
    for who, many in ((alice, inventory.TYPED + 5), (bob, 1)):
        for number in range(many):
            await listing(house, who.id, title=f"Shirt {number:02}")
    rows = {"X-Part": "results"}
    for large in (False, True):
        if large:
            monkeypatch.setattr(inventory, "MANY", 10)
        page = (await alice.get("/inventory")).text
        address = re.search(r'hx-get="(/inventory\?typed=\w+)"', page)[1]
        several = await alice.text(f"{address}&q=shirt", headers=rows)
        assert f"{inventory.TYPED + 5} listings" in several or large
        assert ("listings" in several) != large
        assert "1 listing " in await alice.text(f"{address}&q=shirt+07", headers=rows)
        assert "1 listing " in await bob.text(f"{address}&q=shirt", headers=rows)
