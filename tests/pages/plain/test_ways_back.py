"""Every page that is no place of its own in the navigation leads back to the one that it belongs to."""

from __future__ import annotations

import re

from tests.pages.standing import account, listing

BACK = {
    "/account/sign-in": "/account",
    "/connections/{account}/openings": "/connections#{account}",
    "/inventory/deleted": "/inventory",
    "/inventory/import": "/inventory",
    "/listings/{id}": "/inventory",
    "/listings/{id}/content": "/listings/{id}",
    "/listings/{id}/sold": "/listings/{id}/stalls",
    "/listings/{id}/stalls": "/listings/{id}",
    "/notifications/settings": "/notifications",
    "/notifications/webhooks": "/notifications/settings",
    "/prices/drops": "/prices",
}


async def test_each_leads_back(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    known = {
        "id": await listing(house, alice.id), "account": await account(house, alice.id, "ebay", "alice")
    }  # fmt: skip
    for path, back in BACK.items():
        page = await alice.get(path.format(**known))
        head = re.search(r'<header class="top">.*?</header>', page.text, re.S)
        assert head is not None, path
        assert f'href="{back.format(**known)}"' in head[0], path
        assert (await bob.get(path.format(**known))).status_code == (404 if "{" in path else 200)
