"""What an open page of where a listing stands asks of the database at each step of a post."""

from __future__ import annotations

from sqlalchemy import event

from tests.pages.standing import account, listing, publication


async def test_a_step_of_a_post_asks_for_nothing_that_does_not_change_with_it(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    shirt = await listing(house, alice.id, title="Linen shirt of Alice")
    for marketplace in ("poshmark", "mercari"):
        there = await account(house, alice.id, marketplace, f"alice_{marketplace}")
        await publication(house, alice.id, shirt, there, wanted="live", state="filling")
    asked = []
    event.listen(house.database.engine.sync_engine, "before_cursor_execute", lambda *of: asked.append(of[2]))
    around = ("FROM notices", "needs_you IS NOT NULL", "FROM jobs", "GROUP BY publications.connection_id",
              "FROM price_rules")  # fmt: skip
    path = f"/listings/{shirt}/stalls"
    whole = await alice.text(path)
    assert [one for one in asked if "FROM notices" in one]
    assert whole.count("Filling in · since") == 2
    asked.clear()
    part = await alice.get(path, headers={"X-Part": "stalls"})
    assert part.text.count('class="panel stall"') == 3
    assert "Post to" not in part.text
    assert not [one for one in asked if any(part in one for part in around)]
    assert len(asked) <= 8, asked
    assert 'data-untold="3"' in part.text  # while something moves it asks often where nothing is told
    assert (await bob.get(path, headers={"X-Part": "stalls"})).status_code == 404
    # where it can be posted to one more, its form is there, with what is in line
    await account(house, alice.id, "ebay", "alice_ebay")
    asked.clear()
    part = await alice.get(path, headers={"X-Part": "stalls"})
    assert "Post to" in part.text
    assert [one for one in asked if "GROUP BY publications.connection_id" in one]
    # what is counted for the frame is told to who asks for that
    assert (await alice.get("/live/needs", headers={"X-Part": "needs"})).status_code == 200
    assert [one for one in asked if "needs_you IS NOT NULL" in one]
