"""The pages of who runs the installation lead to each other, and to nobody else."""

from __future__ import annotations

import re

from everystall.engine import LANES
from everystall.web.pages.activity import _LANES

PAGES = ("/activity", "/activity/healed", "/settings", "/settings/connection", "/account/backup")


async def test_each_of_the_owners_pages_leads_to_the_others_and_a_seller_finds_none(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    await house.rows("UPDATE users SET role = 'owner' WHERE id = :id", id=alice.id)
    for path in PAGES:
        text = (await alice.get(path)).text
        place = text.partition('aria-label="Main"')[2].partition("</nav>")[0]
        assert re.findall(r'href="([^"]*)" aria-current="page"', place) == ["/activity"], path
        page = text.partition('aria-label="This installation"')[2].partition("</nav>")[0]
        for other in PAGES:
            here = ' aria-current="page"' if other == path else ""
            assert f'<a href="{other}"{here}>' in page, (path, other)
        assert (await bob.get(path)).status_code == 404


def test_every_lane_has_a_name_for_people():
    assert tuple(_LANES) == LANES
