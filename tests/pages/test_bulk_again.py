"""A bulk that is sent twice is one, and its answer is the first one's."""

from __future__ import annotations

import re

from tests.pages.conftest import visiting
from tests.pages.standing import account, listing


async def test_a_post_that_is_pressed_twice_answers_the_same_and_another_choice_is_another(house):
    alice = await house.person("alice")
    await house.person("bob")
    ids = [await listing(house, alice, title=f"Shirt {number}", sku=f"A-{number}") for number in range(2)]
    mercari, poshmark = [await account(house, alice, name, name) for name in ("mercari", "poshmark")]
    async with visiting(house, "alice") as page:
        form = {"do": "post", "ids": " ".join(ids), "accounts": "chosen", "account": mercari}
        shown = (await page.post("/inventory/bulk", **form)).text
        key = re.search(r'name="key" value="(\w+)"', shown)[1]
        first = (await page.post("/inventory/bulk", **form, key=key, sure="yes")).text
        again = (await page.post("/inventory/bulk", **form, key=key, sure="yes")).text
        jobs = [re.search(r'name="jobs" value="([^"]+)"', one)[1] for one in (first, again)]
        assert sorted(jobs[0].split()) == sorted(jobs[1].split())
        for one in (first, again):
            assert "2 listings are on their way." in one
            assert "Undo" in one
        assert len(await house.rows("SELECT 1 FROM jobs")) == 2
        # from the same page to another account: another wish, not a refusal
        other = await page.post("/inventory/bulk", **form | {"account": poshmark}, key=key, sure="yes")
        assert "2 listings are on their way." in other.text
        assert len(await house.rows("SELECT 1 FROM jobs")) == 4
        undone = await page.post("/inventory/undo", jobs=jobs[1])
        assert "2 posts are taken back." in undone.text
    async with visiting(house, "bob") as page:
        assert (
            await page.post("/inventory/bulk", status=404, **form, key=key, sure="yes")
        ).status_code == 404
        await page.post("/inventory/undo", status=404, jobs=jobs[0])
