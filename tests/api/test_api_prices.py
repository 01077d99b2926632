"""Price rules: what they say, what is posted by them, and that none changes what is live by itself."""

from __future__ import annotations

import pytest

from tests.api.conftest import live_listing

RULES = "/api/prices/rules"


async def rule(seller, marketplace, **body):
    answer = await seller.client.put(f"{RULES}/{marketplace}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def prices(seller, listing):
    told = (await seller.get(f"/api/listings/{listing}")).json()["prices"]
    return {one["marketplace"]: one for one in told}


def amounts(price):
    return tuple(price[name]["amount"] for name in ("price", "fee", "left"))


async def wanted(site, seller):
    """Marketplace → cents, by the rule that each publication has."""
    rows = await site.rows("SELECT * FROM publications WHERE user_id = :id", id=seller.user_id)
    return {row["marketplace"]: row["price_rule"] for row in rows}


async def test_a_rule_is_kept_shown_with_the_fees_and_taken_away(alice):
    shown = await rule(
        alice, "ebay", markUpPercent=12.5, markUpCents=50, rounding="99", taxPercent=8.25,
        minimumNet={"amount": 3000}, postage={"amount": 599},
    )  # fmt: skip
    (listed,) = [one for one in (await alice.get(RULES)).json()["rules"] if one["marketplace"] == "ebay"]
    assert shown == listed
    assert {name: listed[name] for name in ("markUpPercent", "markUpCents", "rounding", "taxPercent")} == {
        "markUpPercent": 12.5, "markUpCents": 50, "rounding": "99", "taxPercent": 8.25,
    }  # fmt: skip
    assert (listed["minimumNet"]["amount"], listed["postage"]["amount"]) == (3000, 599)
    assert (listed["set"], listed["notApplied"]) == (True, 0)
    assert "13.6%" in listed["fees"]["said"]
    assert listed["fees"]["checked"] == "2026-08-20"
    gone = await alice.client.delete(f"{RULES}/ebay")
    assert "no price rule for eBay any more" in gone.json()["message"]
    assert {one["set"] for one in (await alice.get(RULES)).json()["rules"]} == {False}
    assert "There was no price rule" in (await alice.client.delete(f"{RULES}/ebay")).json()["message"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"markUpPercent": 10.001}, "two digits"),
        ({"markUpPercent": -95}, "at least -90"),
        ({"markUpCents": 1.5}, "whole number of cents"),
        ({"rounding": "up"}, "must be"),
        ({"minimumNet": {"amount": 0}}, "at least 1 cent"),
        ({"taxPercent": 50}, "at most 25"),
        ({"markup": 10}, "no such field"),
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused_by_its_field(alice, body, said):
    answer = await alice.client.put(f"{RULES}/mercari", json=body)
    assert answer.status_code == 422
    assert said in answer.text


async def test_poshmark_takes_no_rounding_but_to_whole_dollars(alice):
    answer = await alice.client.put(f"{RULES}/poshmark", json={"rounding": "99"})
    assert (answer.status_code, answer.json()["message"]) == (400, "Poshmark takes whole dollars only.")
    assert (await rule(alice, "poshmark", markUpPercent=10))["rounding"] == "whole_dollars"
    assert (await alice.client.put(f"{RULES}/nowhere", json={})).status_code == 400


@pytest.mark.parametrize(
    ("marketplace", "missing", "rest"),
    [
        ("ebay", "postage and sales tax", {"postage": {"amount": 600}, "taxPercent": 0}),
        ("mercari", "postage", {"postage": {"amount": 0}}),
        ("poshmark", None, {}),
    ],
)
async def test_what_shall_be_left_needs_all_that_the_fee_is_taken_of(alice, bob, marketplace, missing, rest):
    wish = {"minimumNet": {"amount": 3000}}
    answer = await alice.client.put(f"{RULES}/{marketplace}", json=wish)
    assert answer.status_code == (400 if missing else 200)
    assert missing is None or f"takes its fee of the {missing} that" in answer.json()["message"]
    shown = await rule(alice, marketplace, **wish, **rest)
    assert shown["postage"] == {"amount": 0, "currency": "USD"} | rest.get("postage", {})
    assert {one["set"] for one in (await bob.get(RULES)).json()["rules"]} == {False}


async def test_listing_and_check_show_price_fee_and_what_is_left_of_each_marketplace(alice):
    await rule(alice, "poshmark", minimumNet={"amount": 3000})
    await rule(alice, "ebay", markUpPercent=10)
    listing = await alice.listing(overrides={"mercari": {"price": {"amount": 1999}}})
    shown = await prices(alice, listing)
    assert {name: (*amounts(one), one["by"]) for name, one in shown.items()} == {
        "poshmark": (3800, 760, 3040, "rule"),
        "mercari": (1999, 200, 1799, "override"),
        "ebay": (2750, 414, 2336, "rule"),
    }
    assert shown["poshmark"]["notes"] == ["$25.00 would leave less than $30.00 after fees: raised."]
    checked = (await alice.post(f"/api/listings/{listing}/check")).json()["marketplaces"]
    assert {one["marketplace"]: amounts(one["price"]) for one in checked} == {
        name: amounts(one) for name, one in shown.items()
    }
    (posh,) = [one for one in checked if one["marketplace"] == "poshmark"]
    assert posh["draft"]["price"]["amount"] == 3800
    unpriced = await alice.listing(price=None)
    assert await prices(alice, unpriced) == {}
    checked = (await alice.post(f"/api/listings/{unpriced}/check")).json()["marketplaces"]
    assert {one["price"] for one in checked} == {None}


async def test_what_the_seller_gives_towards_the_postage_is_taken_off(alice, bob):
    for seller, payer, left in ((alice, "seller", 1351), (bob, "buyer", 2000)):
        profile = await seller.connect("poshmark")
        path = f"/api/connections/{profile}"
        patched = await seller.client.patch(path, json={"defaults": {"shippingDiscount": "partial"}})
        assert patched.status_code == 200, patched.text
        listing = await seller.listing(shippingPayer=payer)
        assert amounts((await prices(seller, listing))["poshmark"]) == (2500, 500, left)
        checked = (await seller.post(f"/api/listings/{listing}/check")).json()["marketplaces"]
        (posh,) = [one for one in checked if one["marketplace"] == "poshmark"]
        assert amounts(posh["price"]) == (2500, 500, left)
        assert posh["price"]["notes"] == [
            "You give $6.49 of it towards the postage: that is taken off."
            if payer == "seller"
            else "This account gives $1.50 of it towards the postage: that is not taken off."
        ]


async def test_what_is_posted_keeps_the_rule_it_was_posted_by(site, alice):
    before = await rule(alice, "mercari", markUpPercent=10)
    listing, accounts = await live_listing(site, alice, "mercari")
    assert before["notApplied"] == 0
    changed = await rule(alice, "mercari", markUpPercent=20)
    assert changed["notApplied"] == 1
    assert await site.wakes() == []
    (one,) = [one for one in (await prices(alice, listing)).values() if one["marketplace"] == "mercari"]
    assert amounts(one)[0] == 3000
    stands = {"browserProfileId": accounts["mercari"], "price": {"amount": 2750, "currency": "USD"}}
    assert one["notApplied"] == [stands]
    # an edit of anything else leaves the price there as it is, and so does posting it once more
    await alice.client.patch(f"/api/listings/{listing}", json={"title": "New words"})
    assert (await alice.publish(listing, "mercari")).status_code == 200
    assert (await wanted(site, alice))["mercari"]["percent"] == 1000
    (checked,) = (await alice.post(f"/api/listings/{listing}/check", {"marketplaces": ["mercari"]})).json()[
        "marketplaces"
    ]
    assert checked["draft"]["price"]["amount"] == 2750  # what would be put there


async def test_an_edit_that_changes_nothing_by_the_rule_sends_nobody(site, alice):
    """$25.40 and $25.60 are both $26 at Poshmark."""
    await rule(alice, "poshmark")
    listing, _ = await live_listing(site, alice, "poshmark", price={"amount": 2540})
    await alice.client.patch(f"/api/listings/{listing}", json={"price": {"amount": 2560}})
    assert await site.wakes() == []
    await alice.client.patch(f"/api/listings/{listing}", json={"price": {"amount": 2640}})
    assert len(await site.wakes()) == 1


async def test_what_is_posted_anew_after_it_ended_goes_by_the_rule_of_now(site, alice):
    await rule(alice, "mercari", markUpPercent=10)
    listing, _ = await live_listing(site, alice, "mercari")
    await rule(alice, "mercari", markUpPercent=20)
    await site.rows("UPDATE attempts SET outcome = 'ended'")
    await site.put(alice, put="ended", state="ended", wanted="ended")
    assert (await alice.publish(listing, "mercari")).status_code == 200
    assert (await wanted(site, alice))["mercari"]["percent"] == 2000


@pytest.mark.longer
async def test_post_again_of_what_is_gone_goes_by_the_rule_of_now_too(site, alice):
    listing, accounts = await live_listing(site, alice, "mercari")
    await rule(alice, "mercari", markUpPercent=20)
    await site.rows("UPDATE attempts SET outcome = 'ended'")
    gone = {"reason": "gone", "message": "m", "url": None, "actions": []}
    await site.put(alice, put="ended", state="ended", wanted="ended", needs_you=gone)
    where = f"/api/listings/{listing}/publications/{accounts['mercari']}/post_again"
    assert (await alice.post(where)).status_code == 200
    assert (await wanted(site, alice))["mercari"]["percent"] == 2000


async def test_a_price_that_a_rule_makes_too_high_is_refused_before_anything_is_queued(alice):
    await alice.connect("mercari")
    await rule(alice, "mercari", markUpCents=300_000)
    refused = await alice.publish(await alice.listing(), "mercari")
    assert (refused.status_code, refused.json()["error"]) == (422, "listing_incomplete")
    assert [one["code"] for one in refused.json()["problems"]] == ["too_high"]


async def test_another_sellers_rules_are_not_his(site, alice, bob):
    await rule(alice, "mercari", markUpPercent=10)
    listing = await bob.listing()
    assert {one["set"] for one in (await bob.get(RULES)).json()["rules"]} == {False}
    assert amounts((await prices(bob, listing))["mercari"])[0] == 2500
    await bob.client.delete(f"{RULES}/mercari")
    await rule(bob, "mercari", markUpPercent=50)
    assert amounts((await prices(bob, listing))["mercari"])[0] == 3750
    assert amounts((await prices(alice, await alice.listing()))["mercari"])[0] == 2750
