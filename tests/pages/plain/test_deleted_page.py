"""What was deleted is offered back: at once, and under Deleted; each seller's own."""

from __future__ import annotations

import re

from tests.pages.plain.conftest import plain
from tests.pages.standing import listing


async def test_a_delete_is_undone_at_once_or_later(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    shirt = await listing(house, alice.id, title="Linen shirt of Alice")
    await listing(house, bob.id, title="Mug of Bob")
    led = await alice.done(f"/listings/{shirt}/delete")
    assert led == f"/inventory?deleted={shirt}"
    assert "“Linen shirt of Alice” is deleted. Undo" in await alice.text(led)
    assert "deleted" not in await bob.text(led)
    assert "Linen shirt of Alice" in await alice.text("/inventory/deleted")
    assert "Nothing deleted" in await bob.text("/inventory/deleted")
    for form in ({"one": shirt}, {"id": shirt}, {"one": "x"}):
        assert (await bob.post("/inventory/deleted", **form)).status_code == 404
    assert await alice.done("/inventory/deleted", one=shirt) == f"/listings/{shirt}?said=listing-restored"
    assert "The listing is back." in await alice.text(f"/listings/{shirt}?said=listing-restored")
    assert "is deleted" not in await alice.text(led)
    assert (await alice.get("/inventory?deleted=x")).status_code == 200
    assert (await alice.post("/inventory/deleted", one=shirt)).status_code == 404
    assert (await alice.post("/inventory/deleted")).status_code == 400


async def test_many_that_were_deleted_are_restored_with_one_press(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    ids = [await listing(house, alice.id, title=f"Shirt {number}") for number in range(3)]
    done = (await alice.post("/inventory/bulk", do="delete", ids=" ".join(ids), sure="yes")).text
    assert sorted(re.findall(r'name="id" value="([^"]+)"', done)) == sorted(ids)
    assert "Nothing found" in await alice.text("/inventory?q=shirt")
    await alice.done("/inventory/deleted", one=ids[0])
    said = plain((await alice.post("/inventory/deleted", id=ids)).text)
    assert "2 listings are restored. 1 was restored already, or is gone." in said
    assert len(await house.rows("SELECT 1 FROM listings")) == 3
    assert "Shirt" not in await bob.text("/inventory/deleted")
