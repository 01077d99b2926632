"""What the inventory asks of the database for a part of its page."""

from __future__ import annotations

from sqlalchemy import event

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
    assert not [one for one in asked if "FROM notices" in one or "needs_you IS NOT NULL" in one]
