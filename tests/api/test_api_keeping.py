"""What is taken back before anybody went for it simply stays: a take-down, a relist, a delete. The visits'
side of it is tests/journeys/test_crossings.py."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, select

from everystall.inventory.relisting import ask_due
from everystall.models import Publication
from tests.api.conftest import live_listing
from tests.api.test_api_relisting import days_pass, rules
from tests.api.test_api_sales import sell


async def press(seller, listing, profile, action):
    return await seller.post(f"/api/listings/{listing}/publications/{profile}/{action}")


async def stands(site):
    return [
        (row["wanted"], row["put"], row["state"], row["unsettled"])
        for row in await site.rows("SELECT * FROM publications ORDER BY marketplace")
    ]


def names(publication):
    return [action["name"] for action in publication["actions"]]


async def test_a_take_down_that_waits_is_taken_back_and_nobody_goes_there(site, alice, bob):
    listing, profiles = await live_listing(site, alice, "mercari")
    await site.rows("UPDATE publications SET started_at = now()")  # by the visit that posted it
    ended = await press(alice, listing, profiles["mercari"], "end")
    assert names(ended.json()) == ["keep"]
    (shown,) = (await alice.get(f"/api/listings/{listing}/publications")).json()
    assert names(shown) == ["keep"]
    assert (await press(bob, listing, profiles["mercari"], "keep")).status_code == 404
    await site.forget_wakes()
    kept = await press(alice, listing, profiles["mercari"], "keep")
    assert kept.status_code == 200, kept.text
    assert names(kept.json()) == ["end"]
    assert await stands(site) == [("live", "live", "live", False)]
    assert await site.wakes() == []
    again = await press(alice, listing, profiles["mercari"], "keep")
    assert (again.status_code, "does not wait" in again.json()["message"]) == (409, True)


async def test_what_was_edited_meanwhile_is_put_there_once_it_is_kept(site, alice):
    listing, profiles = await live_listing(site, alice, "mercari")
    await press(alice, listing, profiles["mercari"], "end")
    await alice.client.patch(f"/api/listings/{listing}", json={"title": "Another title"})
    await site.forget_wakes()
    assert (await press(alice, listing, profiles["mercari"], "keep")).status_code == 200
    assert await stands(site) == [("live", "live", "live", True)]
    assert [wake["queue_name"] for wake in await site.wakes()] == ["visits"]


async def test_who_keeps_it_as_a_visit_begins_is_told_that_it_has_begun(site, alice):
    listing, profiles = await live_listing(site, alice, "mercari")
    await press(alice, listing, profiles["mercari"], "end")
    async with site.database.as_user(alice.user_id) as session:
        publication = await session.scalar(select(Publication).with_for_update())
        publication.started_at = func.now()  # as worker/delist.py before its first click
        await session.flush()
        pressed = asyncio.create_task(press(alice, listing, profiles["mercari"], "keep"))
        await asyncio.sleep(0.3)
        assert not pressed.done()
    refused = await pressed
    assert (refused.status_code, refused.json()["error"]) == (409, "conflict")
    assert refused.json()["message"] == "Taking it down on Mercari has begun."
    again = await press(alice, listing, profiles["mercari"], "end")  # that makes it no younger
    assert names(again.json()) == []
    assert (await press(alice, listing, profiles["mercari"], "keep")).status_code == 409
    assert await stands(site) == [("ended", "live", "ending", True)]


async def test_what_sold_elsewhere_is_not_kept(site, alice):
    listing, profiles = await live_listing(site, alice, "mercari", "poshmark")
    await sell(site, alice, listing, profiles["poshmark"], "o1")
    shown = (await alice.get(f"/api/listings/{listing}/publications")).json()
    assert [names(one) for one in shown] == [[], []]
    refused = await press(alice, listing, profiles["mercari"], "keep")
    assert (refused.status_code, "sold" in refused.json()["message"]) == (409, True)
    assert len(await site.rows("SELECT 1 FROM take_downs WHERE gone_at IS NULL")) == 1


@pytest.mark.longer
async def test_a_relist_that_waits_is_called_off_and_its_rule_comes_back_after_its_days(site, alice, bob):
    await rules(alice)
    listing, profiles = await live_listing(site, alice, "mercari")
    await days_pass(site, 40)
    assert await ask_due(site.database) == 1
    (shown,) = (await alice.get(f"/api/listings/{listing}/publications")).json()
    assert (shown["relist"], names(shown)) == ("asked", ["keep", "end"])
    assert (await press(bob, listing, profiles["mercari"], "keep")).status_code == 404
    kept = (await press(alice, listing, profiles["mercari"], "keep")).json()
    assert (kept["relist"], names(kept)) == (None, ["end"])
    assert await stands(site) == [("live", "live", "live", False)]
    await site.rows("UPDATE relist_rules SET next_look_at = now()")
    assert await ask_due(site.database) == 0
    await days_pass(site, 30)
    assert await ask_due(site.database) == 1
    await site.put(alice, relist="begun")
    refused = await press(alice, listing, profiles["mercari"], "keep")
    assert (refused.status_code, "has begun" in refused.json()["message"]) == (409, True)


@pytest.mark.longer
async def test_what_waited_to_be_relisted_and_is_taken_down_instead_is_kept_as_well(site, alice):
    listing, profiles = await live_listing(site, alice, "poshmark")
    await days_pass(site, 2)
    await site.rows("UPDATE publications SET started_at = now()")  # by the visit that posted it
    assert (await press(alice, listing, profiles["poshmark"], "relist")).status_code == 200
    assert names((await press(alice, listing, profiles["poshmark"], "end")).json()) == ["keep"]
    assert (await press(alice, listing, profiles["poshmark"], "keep")).json()["relist"] is None
    assert await stands(site) == [("live", "live", "live", False)]


@pytest.mark.longer
@pytest.mark.parametrize("begun", [False, True])
async def test_deleting_stops_and_what_nobody_went_for_stays(site, alice, bob, begun):
    listing, profiles = await live_listing(site, alice, "mercari", "poshmark")
    path = f"/api/listings/{listing}"
    assert (await alice.post(f"{path}/keep")).status_code == 409
    assert (await alice.client.delete(f"{path}?end=true")).status_code == 202
    refused = await press(alice, listing, profiles["poshmark"], "keep")
    assert (refused.status_code, refused.json()["action"]) == (409, "Stop deleting it.")
    assert (await bob.post(f"{path}/keep")).status_code == 404
    if begun:
        await site.rows("UPDATE publications SET started_at = now() WHERE marketplace = 'mercari'")
    kept = (await alice.post(f"{path}/keep")).json()
    assert (kept["all"], "Mercari" in kept["message"]) == (not begun, begun)
    goes = ("ended", "live", "ending", True)
    stays = ("live", "live", "live", False)
    assert await stands(site) == [goes if begun else stays, stays]
    assert (await alice.get(path)).json()["deleteAskedAt"] is None


async def test_what_stood_before_the_delete_stands_again_once_it_is_stopped(site, alice, bob):
    """What was to be taken down before still is, what waited to be posted waits, and what the seller ended
    since goes."""
    policies = {"paymentPolicy": "P", "returnPolicy": "R", "shippingPolicy": "S"}
    places = ("ebay", "mercari", "poshmark")
    listing, profiles = await live_listing(site, alice, *places, overrides={"ebay": policies})
    path = f"/api/listings/{listing}"
    await site.rows("UPDATE publications SET put = 'nothing', put_revision = NULL, state = 'waiting' "
                    "WHERE marketplace = 'poshmark'")  # fmt: skip
    await press(alice, listing, profiles["mercari"], "end")
    before = await stands(site)
    assert (await alice.client.delete(f"{path}?end=true")).status_code == 202
    assert (await alice.client.delete(f"{path}?end=true")).status_code == 202
    assert [row[0] for row in await stands(site)] == ["ended"] * 3
    assert (await bob.post(f"{path}/keep")).status_code == 404
    await site.forget_wakes()
    kept = (await alice.post(f"{path}/keep")).json()
    stays, goes = ("live", "live", "live", False), ("ended", "live", "ending", True)
    assert await stands(site) == before == [stays, goes, ("live", "nothing", "waiting", True)]
    assert (kept["all"], "Taking it down on Mercari goes on" in kept["message"]) == (False, True)
    assert [wake["queue_name"] for wake in await site.wakes()] == ["visits"]

    await press(alice, listing, profiles["mercari"], "keep")
    await alice.client.delete(f"{path}?end=true")
    await press(alice, listing, profiles["ebay"], "end")
    await press(alice, listing, profiles["poshmark"], "end")
    await alice.post(f"{path}/keep")
    assert await stands(site) == [goes, stays, ("ended", "nothing", "cancelled", False)]
