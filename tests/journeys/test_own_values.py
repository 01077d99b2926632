"""What a listing has otherwise for one marketplace stands there so, in the marketplace's own ledger."""

from __future__ import annotations

import pytest

from tests.journeys.conftest import SHIRT, Seller, Stall
from tests.journeys.test_decisions import _signed_in

pytestmark = [pytest.mark.journey, pytest.mark.browser]
#: All in the site's own words; the shirt says another of each.
OWN = {
    "poshmark": {"category": "Men > Jeans > Straight", "condition": "Like New", "size": "32",
                 "brand": "Patagonia"},
    "mercari": {"category": "Men > Jeans > Classic, straight leg", "condition": "Fair", "size": "32 in.",
                "brand": "Wrangler"},
    "ebay": {"category": "Clothing, Shoes & Accessories > Men > Men's Clothing > Jeans",
             "condition": "Pre-owned - Excellent", "size": "32", "brand": "Patagonia"},
}  # fmt: skip
POLICIES = {
    "paymentPolicy": "eBay managed payments", "returnPolicy": "No returns accepted",
    "shippingPolicy": "Flat rate, buyer pays",
}  # fmt: skip


@pytest.mark.longer
@pytest.mark.parametrize(
    "marketplace",
    ["ebay", *(pytest.param(name, marks=pytest.mark.extended) for name in ("poshmark", "mercari"))],
)
async def test_each_own_value_is_what_the_marketplace_has(
    stall: Stall, alice: Seller, bob: Seller, marketplace: str
):
    storage = _signed_in(stall, marketplace, "alice")
    profile = await stall.hand_over(alice, marketplace, storage)
    other = await stall.hand_over(bob, marketplace, storage)
    own = {**OWN[marketplace], **(POLICIES if marketplace == "ebay" else {})}
    listing = await stall.listing(alice, photos=1, overrides={marketplace: own})
    job = await stall.post(alice, listing, [marketplace])
    job = await stall.until_done(alice, job["jobId"], profile, seconds=300)
    assert job["status"] == "done", job
    (item,) = stall.live(marketplace)
    there = item["fields"]
    assert " > ".join(there["category"]) == own["category"]
    for name in ("condition", "size", "brand"):
        assert there[name] == own[name], name
        assert there[name] != SHIRT[name]
    rows = await stall.rows("SELECT public_id, policies FROM connections")
    kept = {row["public_id"]: row["policies"] for row in rows}
    assert kept.pop(other) == {}  # nobody was there
    if marketplace != "ebay":
        assert kept == {profile: {}}
        return
    for name, value in (
        ("payment_policy", POLICIES["paymentPolicy"]), ("return_policy", POLICIES["returnPolicy"]),
        ("shipping_policy", POLICIES["shippingPolicy"]),
    ):  # fmt: skip
        assert there["shipping"][name] == value
        assert value in kept[profile][name]
        assert len(kept[profile][name]) > 1


@pytest.mark.extended
async def test_a_policy_that_the_account_does_not_have_is_named_and_what_it_has_is_kept(
    stall: Stall, alice: Seller
):
    profile = await stall.connect(alice, "ebay")
    own = {**POLICIES, "returnPolicy": "Sixty days"}
    job = await stall.post(alice, await stall.listing(alice, photos=1, overrides={"ebay": own}), ["ebay"])
    await stall.visit(profile)
    (pair,) = (await stall.job(alice, job["jobId"]))["automationResults"]
    assert "has no return policy “Sixty days”; it has No returns accepted" in pair["needsYou"]["message"]
    assert stall.live("ebay") == []
    (row,) = await stall.rows("SELECT policies FROM connections")
    assert "No returns accepted" in row["policies"]["return_policy"]
