"""Relisting, as it is asked for: by rules and by hand. What the visits make of it: tests/journeys."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from everystall.inventory.relisting import ask_due
from tests.api.conftest import live_listing

RULES = "/api/relisting/rules"
MONTHLY = {"afterDays": 30, "perDay": 2}


async def rules(seller, marketplace="mercari", **body):
    answer = await seller.client.put(f"{RULES}/{marketplace}", json={**MONTHLY, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def days_pass(site, days):
    for table, columns in {
        "attempts": ("created_at", "armed_at"),
        "publications": ("relist_asked_at",),
        "relist_rules": ("next_look_at",),
    }.items():
        back = ", ".join(f"{name} = {name} - make_interval(days => :days)" for name in columns)
        await site.rows(f"UPDATE {table} SET {back}", days=days)


async def coming(seller, days=7):
    return (await seller.get(f"/api/relisting/preview?days={days}")).json()["coming"]


async def relisting(site):
    return [row["relist"] for row in await site.rows("SELECT relist FROM publications ORDER BY relist")]


async def test_a_rule_is_kept_and_respects_the_marketplaces_own(alice, bob):
    assert await rules(alice) == {"marketplace": "mercari", "afterDays": 30, "perDay": 2, "betweenDays": 30}
    shown = (await alice.get(RULES)).json()
    assert [rule["marketplace"] for rule in shown["rules"]] == ["mercari"]
    assert shown["minimumDays"] == {"poshmark": 1, "mercari": 30, "ebay": 1}
    assert "likes" in shown["message"]
    for body in ({"afterDays": 29}, {"betweenDays": 7}):
        answer = await alice.client.put(f"{RULES}/mercari", json={**MONTHLY, **body})
        assert (answer.status_code, answer.json()["limit"]) == (400, 30)
    assert (await alice.client.put(f"{RULES}/mercari", json={**MONTHLY, "perDay": 101})).status_code == 422
    assert (await alice.client.put(f"{RULES}/nowhere", json=MONTHLY)).status_code in (400, 404)
    assert (await bob.get(RULES)).json()["rules"] == []
    await bob.client.delete(f"{RULES}/mercari")
    assert len((await alice.get(RULES)).json()["rules"]) == 1
    await alice.client.delete(f"{RULES}/mercari")
    assert (await alice.get(RULES)).json()["rules"] == []


@pytest.mark.longer
async def test_what_has_stood_long_enough_is_asked_for_and_once(site, alice):
    await rules(alice)
    listing, profiles = await live_listing(site, alice, "mercari")
    (one,) = await coming(alice, days=30)
    assert (one["listingId"], one["browserProfileId"]) == (listing, profiles["mercari"])
    at = datetime.fromisoformat(one["at"])
    assert timedelta(days=29.9) < at - datetime.now(at.tzinfo) < timedelta(days=30.1)
    await days_pass(site, 29)
    assert await ask_due(site.database) == 0
    assert len(await coming(alice, days=7)) == 1
    await days_pass(site, 1)

    async def again():
        await site.rows("UPDATE relist_rules SET next_look_at = now() - interval '1 minute'")
        return await ask_due(site.database)

    assert sum(await asyncio.gather(*(again() for _ in range(4)))) == 1
    assert await relisting(site) == ["asked"]
    assert len(await site.wakes()) == 1
    assert await coming(alice) == []
    (publication,) = (await alice.get(f"/api/listings/{listing}")).json()["publications"]
    assert (publication["relist"], publication["wanted"], publication["put"]) == ("asked", "live", "live")


async def test_no_more_a_day_than_the_rule_says_the_oldest_first(site, alice):
    await rules(alice)
    _, profiles = await live_listing(site, alice, "mercari", title="Number 1")
    for number in (2, 3):
        await days_pass(site, 1)
        await live_listing(site, alice, "mercari", accounts=profiles, title=f"Number {number}")
    await days_pass(site, 40)
    assert [one["title"] for one in await coming(alice, days=1)] == ["Number 1", "Number 2"]
    assert [one["title"] for one in await coming(alice, days=2)] == ["Number 1", "Number 2", "Number 3"]
    assert await ask_due(site.database) == 2
    await site.rows("UPDATE relist_rules SET next_look_at = now()")
    assert await ask_due(site.database) == 0
    waits = await site.rows("SELECT title FROM listings l JOIN publications p ON p.listing_id = l.id "
                            "WHERE p.relist IS NULL")  # fmt: skip
    assert waits == [{"title": "Number 3"}]
    await days_pass(site, 1)
    assert await ask_due(site.database) == 1


@pytest.mark.longer
async def test_between_two_of_the_same_listing_lie_the_rules_days(site, alice):
    await rules(alice, "poshmark", afterDays=3, betweenDays=10)
    await live_listing(site, alice, "poshmark")
    await days_pass(site, 3)
    assert await ask_due(site.database) == 1
    await site.rows("UPDATE publications SET relist = NULL, state = 'live'")  # a visit has done it
    await days_pass(site, 9)
    assert await ask_due(site.database) == 0
    await days_pass(site, 1)
    assert await ask_due(site.database) == 1


@pytest.mark.parametrize(
    "why",
    [
        'UPDATE publications SET needs_you = \'{"reason": "x"}\'',
        "UPDATE publications SET wanted_revision = wanted_revision + 1",
        'UPDATE attempts SET adopted = \'{"title": "by hand"}\'',
        "UPDATE listings SET quantity_sold = quantity",
        "UPDATE listings SET delete_asked_at = now()",
        'UPDATE connections SET needs_you = \'{"reason": "x"}\'',
        "UPDATE connections SET paused_at = now()",
        "UPDATE users SET paused_at = now()",
        "UPDATE publications SET wanted = 'ended'",
    ],
)
async def test_what_waits_or_stands_there_otherwise_is_left(site, alice, why):
    await rules(alice)
    await live_listing(site, alice, "mercari")
    await days_pass(site, 40)
    assert len(await coming(alice)) == 1
    await site.rows(why)
    assert await coming(alice) == []
    assert await ask_due(site.database) == 0
    assert await relisting(site) == [None]


async def test_one_now_says_what_is_lost_and_keeps_the_marketplaces_days(site, alice, bob):
    listing, profiles = await live_listing(site, alice, "mercari", "poshmark")
    path = f"/api/listings/{listing}/publications/{{}}/relist"
    young = await alice.client.post(path.format(profiles["mercari"]))
    assert (young.status_code, young.json()["days"]) == (400, 30)
    await days_pass(site, 30)
    stranger = await bob.client.post(path.format(profiles["mercari"]))
    assert stranger.status_code == 404
    answer = await alice.client.post(path.format(profiles["mercari"]))
    assert answer.status_code == 200, answer.text
    assert "likes" in answer.json()["message"]
    assert answer.json()["publication"]["relist"] == "asked"
    again = await alice.client.post(path.format(profiles["mercari"]))
    assert again.json()["publication"]["relist"] == "asked"
    ended = await alice.client.post(f"/api/listings/{listing}/publications/{profiles['mercari']}/end")
    assert ended.json()["relist"] is None
    assert (await alice.client.post(path.format(profiles["mercari"]))).status_code == 400
    await site.rows('UPDATE attempts SET adopted = \'{"title": "by hand"}\'')
    other = await alice.client.post(path.format(profiles["poshmark"]))
    assert (other.status_code, "on Poshmark otherwise than here" in other.json()["message"]) == (400, True)
    assert "by hand" not in other.text  # it may have come in, or been linked, so


async def test_cancelling_a_job_does_not_take_down_what_is_relisted(site, alice):
    listing, profiles = await live_listing(site, alice, "mercari")
    await days_pass(site, 30)
    await alice.client.post(f"/api/listings/{listing}/publications/{profiles['mercari']}/relist")
    await site.put(alice, put="ended", state="waiting", seen="ended")
    assert await relisting(site) == ["down"]
    job = (await alice.publish(listing, "mercari")).json()
    answer = await alice.client.post(f"/api/jobs/{job['jobId']}/cancel")
    assert answer.json()["status"] == "cancelled"
    (row,) = await site.rows("SELECT wanted, relist FROM publications")
    assert row == {"wanted": "live", "relist": "down"}
