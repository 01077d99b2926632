"""The rule's price is the one that stands there, and a changed rule's only when it is applied."""

from __future__ import annotations

import pytest

from tests.journeys.test_revise import _edit, _live, _until_put

pytestmark = [pytest.mark.journey, pytest.mark.browser]

CHANGES = "/api/prices/changes"


def _costs(stall):
    (there,) = stall.live("mercari")
    return there["fields"]["price"]["amount"]


async def _rule(seller, **body):
    assert (await seller.client.put("/api/prices/rules/mercari", json=body)).status_code == 200


@pytest.mark.longer
async def test_the_rules_price_stands_there_and_a_changed_rules_once_it_is_applied(stall, alice):
    await _rule(alice, minimumNet={"amount": 3000}, postage={"amount": 0})
    listing, profile = await _live(stall, alice, "mercari")
    assert _costs(stall) == 3334
    await _rule(alice, minimumNet={"amount": 4000}, postage={"amount": 0})
    await _edit(alice, listing, title="Linen shirt, worn twice")
    assert (await _until_put(stall, alice, listing, profile))["needsYou"] is None
    assert _costs(stall) == 3334
    body = {"liveOn": "mercari", "do": "apply_rules"}
    seen = (await alice.client.post(f"{CHANGES}?preview=true", json=body)).json()
    done = await alice.client.post(CHANGES, json={**body, "token": seen["token"]})
    assert (done.status_code, done.json()["changed"]) == (200, 1)
    assert (await _until_put(stall, alice, listing, profile))["needsYou"] is None
    assert _costs(stall) == 4445
    assert len(stall.events("mercari", "published")) == 1
