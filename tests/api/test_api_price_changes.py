"""Prices of many listings at once: a look, and then exactly that or nothing."""

from __future__ import annotations

import pytest

from tests.api.conftest import live_listing, lowered_by_hand

CHANGES = "/api/prices/changes"
NOBODYS = "00000000-0000-4000-8000-000000000000"


async def look(seller, **body):
    answer = await seller.post(f"{CHANGES}?preview=true", body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def rule(seller, marketplace, **body):
    assert (await seller.client.put(f"/api/prices/rules/{marketplace}", json=body)).status_code == 200


async def price_of(seller, listing):
    return (await seller.get(f"/api/listings/{listing}")).json()["price"]["amount"]


def told(answer):
    """Listing → outcome, before and after, and the same of each account."""

    def cents(one):
        return tuple(one[name] and one[name]["amount"] for name in ("before", "after"))

    return {
        one["listingId"]: (one["outcome"], cents(one), {a["marketplace"]: cents(a) for a in one["accounts"]})
        for one in answer["listings"]
    }


async def test_a_look_says_before_and_after_of_each_marketplace_and_changes_nothing(site, alice):
    await rule(alice, "poshmark", markUpPercent=20)
    listing, _ = await live_listing(site, alice, "mercari", "poshmark")
    plain = await alice.listing(price={"amount": 4000})
    before = await site.everything_of(alice)
    answer = await look(alice, listingIds=[listing, plain], do="add", percent=10)
    assert told(answer) == {
        listing: ("changed", (2500, 2750), {"mercari": (2500, 2750), "poshmark": (3000, 3300)}),
        plain: ("changed", (4000, 4400), {}),
    }
    assert (answer["preview"], answer["changed"], answer["unchanged"], answer["refused"]) == (True, 2, 0, 0)
    assert await site.everything_of(alice) == before
    assert await site.wakes() == []


@pytest.mark.parametrize(
    ("wish", "after"),
    [
        ({"do": "set", "price": {"amount": 1900}}, 1900),
        ({"do": "add", "percent": -10.5}, 2238),  # 2237.5
        ({"do": "add", "cents": -125}, 2375),
        ({"do": "add", "percent": 10, "cents": 1}, 2751),
    ],
)
async def test_what_was_looked_at_is_done_once_as_an_edit_of_each(site, alice, wish, after):
    listing, _ = await live_listing(site, alice, "mercari")
    revision = (await alice.get(f"/api/listings/{listing}")).json()["revision"]
    seen = await look(alice, listingIds=[listing], **wish)
    done = await alice.post(CHANGES, {"listingIds": [listing], **wish, "token": seen["token"]})
    assert done.status_code == 200, done.text
    assert {**done.json(), "preview": True} == seen
    assert told(done.json())[listing] == ("changed", (2500, after), {"mercari": (2500, after)})
    now = (await alice.get(f"/api/listings/{listing}")).json()
    assert (now["price"]["amount"], now["revision"]) == (after, revision + 1)
    (publication,) = now["publications"]
    assert publication["wantedRevision"] == publication["putRevision"] + 1
    assert len(await site.wakes()) == 1
    again = await alice.post(CHANGES, {"listingIds": [listing], **wish, "token": seen["token"]})
    assert (again.status_code, again.json()["error"]) == (409, "prices_changed")
    assert await price_of(alice, listing) == after


@pytest.mark.longer
async def test_what_changed_since_the_look_makes_it_do_nothing_of_it(site, alice):
    listing, accounts = await live_listing(site, alice, "mercari")
    other = await alice.listing()
    body = {"listingIds": [listing, other], "do": "add", "cents": 100}

    async def edited():
        await alice.client.patch(f"/api/listings/{other}", json={"title": "New words"})

    async def taken_down():
        await alice.post(f"/api/listings/{listing}/publications/{accounts['mercari']}/end")

    for happens in (edited, taken_down):
        seen = await look(alice, **body)
        await happens()
        before = await site.everything_of(alice)
        done = await alice.post(CHANGES, {**body, "token": seen["token"]})
        assert (done.status_code, done.json()["error"]) == (409, "prices_changed"), happens.__name__
        assert await site.everything_of(alice) == before
    seen = await look(alice, **body)
    assert (await alice.post(CHANGES, {**body, "cents": 200, "token": seen["token"]})).status_code == 409
    assert (await alice.post(CHANGES, {**body, "token": seen["token"]})).status_code == 200


async def test_what_a_marketplace_would_not_take_is_refused_with_the_reason_and_the_rest_is_done(site, alice):
    listing, accounts = await live_listing(site, alice, "mercari", "poshmark")
    other, _ = await live_listing(site, alice, "mercari", accounts=accounts)
    unpriced = await alice.listing(price=None)
    body = {"listingIds": [listing, other, unpriced], "do": "add", "percent": 1}
    seen = await look(alice, **body)
    reasons = {one["listingId"]: one["reasons"] for one in seen["listings"]}
    assert "whole dollars only" in reasons[listing][0]
    assert reasons[unpriced] == ["It has no price yet."]
    assert (seen["changed"], seen["refused"]) == (1, 2)
    assert (await alice.post(CHANGES, {**body, "token": seen["token"]})).status_code == 200
    assert [await price_of(alice, one) for one in (listing, other)] == [2500, 2525]
    low = await look(alice, listingIds=[other], do="add", cents=-2525)
    assert "Its price would be $0.00" in low["listings"][0]["reasons"][0]


@pytest.mark.longer
async def test_rules_are_applied_to_what_is_live_after_a_look_and_not_before(site, alice):
    listing, accounts = await live_listing(site, alice, "mercari", "poshmark")
    settled, _ = await live_listing(
        site, alice, "poshmark", accounts=accounts, overrides={"poshmark": {"price": {"amount": 1100}}}
    )
    await rule(alice, "mercari", markUpPercent=10)
    body = {"liveOn": "mercari", "do": "apply_rules"}
    seen = await look(alice, **body)
    assert told(seen) == {
        listing: ("changed", (2500, 2500), {"mercari": (2500, 2750), "poshmark": (2500, 2500)})
    }
    assert (await alice.post(CHANGES, {**body, "token": seen["token"]})).status_code == 200
    assert len(await site.wakes()) == 1  # Poshmark has nothing to do
    rows = await site.rows(
        "SELECT marketplace, price_rule, wanted_revision - put_revision AS due FROM publications "
        "WHERE listing_id = CAST(:id AS uuid)", id=listing,
    )  # fmt: skip
    assert {row["marketplace"]: (bool(row["price_rule"]), row["due"]) for row in rows} == {
        "mercari": (True, 1), "poshmark": (False, 0)
    }  # fmt: skip
    rules = (await alice.get("/api/prices/rules")).json()["rules"]
    assert {one["notApplied"] for one in rules} == {0}
    assert told(await look(alice, **body))[listing][0] == "unchanged"
    assert told(await look(alice, liveOn="poshmark", do="apply_rules"))[settled][0] == "unchanged"


async def test_a_rule_taken_away_is_applied_as_well(site, alice):
    await rule(alice, "mercari", markUpPercent=10)
    listing, _ = await live_listing(site, alice, "mercari")
    await alice.client.delete("/api/prices/rules/mercari")
    body = {"listingIds": [listing], "do": "apply_rules"}
    seen = await look(alice, **body)
    assert told(seen)[listing] == ("changed", (2500, 2500), {"mercari": (2750, 2500)})
    assert (await alice.post(CHANGES, {**body, "token": seen["token"]})).status_code == 200
    assert told(await look(alice, **body))[listing][0] == "unchanged"
    assert len(await site.wakes()) == 1


async def test_an_own_price_for_a_marketplace_stays_and_is_shown_to(site, alice):
    listing, _ = await live_listing(site, alice, "mercari", overrides={"mercari": {"price": {"amount": 990}}})
    seen = await look(alice, listingIds=[listing], do="set", price={"amount": 3000})
    assert told(seen)[listing] == ("changed", (2500, 3000), {"mercari": (990, 990)})
    body = {"listingIds": [listing], "do": "set", "price": {"amount": 3000}, "token": seen["token"]}
    assert (await alice.post(CHANGES, body)).status_code == 200
    assert await site.wakes() == []


async def test_what_it_costs_there_is_what_the_seller_made_of_it_there(site, alice):
    listing, _ = await live_listing(site, alice, "mercari", "poshmark")
    await lowered_by_hand(site, "mercari", 2000)
    seen = await look(alice, listingIds=[listing], do="add", percent=-12)
    changed = {"mercari": (2000, 2200), "poshmark": (2500, 2200)}  # his own word, here and now: it is raised
    assert told(seen)[listing] == ("changed", (2500, 2200), changed)
    same = await look(alice, listingIds=[listing], do="apply_rules")
    assert told(same)[listing][2] == {"mercari": (2000, 2000), "poshmark": (2500, 2500)}
    # another is about to be put
    await alice.client.patch(f"/api/listings/{listing}", json={"price": {"amount": 2600}})
    seen = await look(alice, listingIds=[listing], do="set", price={"amount": 2400})
    assert told(seen)[listing][2] == {"mercari": (2600, 2400), "poshmark": (2600, 2400)}


async def test_many_come_in_parts_by_their_ids(site, alice):
    profile = await alice.connect("mercari")
    await alice.listing()  # lives nowhere
    await site.rows(
        """WITH made AS (
               INSERT INTO listings (user_id, title, price_cents)
               SELECT :user, 'Shirt ' || n, 2500 FROM generate_series(1, 203) n RETURNING id, user_id)
           INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision, put,
               put_revision, state)
           SELECT made.user_id, made.id, c.id, 'mercari', 1, 'live', 1, 'live'
           FROM made, connections c WHERE c.public_id = :account""",
        user=alice.user_id, account=profile,
    )  # fmt: skip
    body = {"liveOn": "mercari", "do": "apply_rules"}
    seen = await look(alice, **body)
    rest = await look(alice, **body, after=seen["nextAfter"])
    assert (len(seen["listings"]), len(rest["listings"]), rest["nextAfter"]) == (200, 3, None)
    ids = [*told(seen), *told(rest)]
    assert ids == sorted(set(ids))
    assert seen["unchanged"] == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"do": "set", "price": {"amount": 100}}, 400),
        ({"listingIds": [NOBODYS], "liveOn": "ebay", "do": "apply_rules"}, 400),
        ({"liveOn": "ebay", "do": "set"}, 400),
        ({"liveOn": "ebay", "do": "add"}, 400),
        ({"liveOn": "ebay", "do": "apply_rules", "cents": 5}, 400),
        ({"liveOn": "ebay", "do": "apply_rules"}, 400),  # no token, and no preview
        ({"liveOn": "nowhere", "do": "apply_rules"}, 422),
        ({"listingIds": [NOBODYS], "do": "apply_rules", "token": "x"}, 404),
        ({"listingIds": ["x"], "do": "apply_rules", "token": "x"}, 404),
        ({"listingIds": [NOBODYS] * 201, "do": "apply_rules"}, 422),
    ],
)
async def test_what_does_not_say_one_thing_is_refused(alice, body, status):
    assert (await alice.post(CHANGES, body)).status_code == status


async def test_another_seller_sees_and_changes_nothing(site, alice, bob):
    listing, _ = await live_listing(site, alice, "mercari")
    own = await bob.listing()
    wish = {"do": "set", "price": {"amount": 100}}
    token = (await look(alice, listingIds=[listing], **wish))["token"]
    before = await site.everything_of(alice)
    for preview in ("", "?preview=true"):
        for ids in ([listing], [own, listing]):
            answer = await bob.post(CHANGES + preview, {"listingIds": ids, **wish, "token": token})
            assert answer.status_code == 404
            assert listing not in answer.text
    assert (await look(bob, liveOn="mercari", **wish))["listings"] == []
    assert await price_of(bob, own) == 2500
    assert await site.everything_of(alice) == before
