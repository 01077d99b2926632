"""A bulk that is sent twice is one, and its answer is the first one's; what only waits is taken back."""

from __future__ import annotations

import re

import pytest

from tests.pages.conftest import visiting
from tests.pages.standing import account, attempt, listing, publication


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
            assert '/inventory?state=posting"' in one
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


async def _live(house, user, at, number):
    shirt = await listing(house, user, title=f"Shirt {number}", sku=f"A-{number}")
    of = await publication(
        house, user, shirt, at, state="live", put="live", put_revision=1, remote_id=f"m{number}"
    )
    await attempt(house, user, of)
    await house.rows(
        "UPDATE attempts SET outcome = 'live', created_at = now() - interval '90 days' "
        "WHERE publication_id = CAST(:id AS uuid)", id=of,
    )  # fmt: skip
    return shirt


@pytest.mark.parametrize(("verb", "begins"), [("end", "started_at = now()"), ("relist", "relist = 'begun'")])
async def test_take_downs_of_many_are_taken_back_where_nobody_has_begun(house, verb, begins):
    alice = await house.person("alice")
    await house.person("bob")
    mercari = await account(house, alice, "mercari", "alice")
    ids = [await _live(house, alice, mercari, number) for number in range(3)]
    async with visiting(house, "alice") as page:
        done = (await page.post("/inventory/bulk", do=verb, ids=" ".join(ids), sure="yes")).text
        named = re.search(r'name="publications" value="([^"]+)"', done)[1]
        assert len(named.split()) == 3
        assert "Keep it" in await page.get(f"/listings/{ids[0]}/stalls")
        await house.rows(f"UPDATE publications SET {begins} WHERE listing_id = CAST(:id AS uuid)", id=ids[2])
        assert "Keep it" not in await page.get(f"/listings/{ids[2]}/stalls")
        async with visiting(house, "bob") as other:
            await other.post("/inventory/undo/ends", status=404, publications=named)
        undone = (await page.post("/inventory/undo/ends", publications=named)).text
        assert "2 take-downs are taken back." in undone
        assert "1 has begun and goes on" in undone
        await page.post("/inventory/undo/ends", status=404, publications="nothing")
    rows = await house.rows("SELECT listing_id, wanted, state, relist FROM publications")
    stays = {str(row["listing_id"]) for row in rows if (row["wanted"], row["state"]) == ("live", "live")}
    assert stays == set(ids[:2])


async def test_deleting_is_stopped_from_where_it_stands(house):
    alice = await house.person("alice")
    await house.person("bob")
    shirt = await _live(house, alice, await account(house, alice, "mercari", "alice"), 1)
    async with visiting(house, "alice") as page:
        await page.post("/inventory/bulk", do="delete", ids=shirt, also_live="yes", sure="yes")
        for path in (f"/listings/{shirt}", f"/listings/{shirt}/stalls"):
            assert "Stop deleting" in await page.get(path)
        async with visiting(house, "bob") as other:
            await other.post(f"/listings/{shirt}/keep", status=404)
        kept = (await page.post(f"/listings/{shirt}/keep")).text
        assert "It is not deleted." in kept
        assert "Stop deleting" not in kept
        again = (await page.post(f"/listings/{shirt}/keep", status=409)).text
        assert "It is not being deleted." in again
    assert await house.rows("SELECT wanted, state FROM publications") == [{"wanted": "live", "state": "live"}]


async def test_deleting_many_is_stopped_for_what_is_not_gone_yet(house):
    alice = await house.person("alice")
    await house.person("bob")
    mercari = await account(house, alice, "mercari", "alice")
    ids = [await _live(house, alice, mercari, number) for number in range(3)]
    ids.append(await listing(house, alice, title="A draft"))
    path = "/inventory/undo/deletes"
    async with visiting(house, "alice") as page:
        form = {"do": "delete", "ids": " ".join(ids), "also_live": "yes", "sure": "yes"}
        done = (await page.post("/inventory/bulk", **form)).text
        assert "4 listings are deleted, or being taken down and then deleted." in done
        named = re.search(r'name="listings" value="([^"]+)"', done)[1]
        assert set(named.split()) == set(ids[:3])  # the draft is gone
        assert "Stop deleting" in done
        asked = "SELECT count(*) AS n FROM listings WHERE delete_asked_at IS NOT NULL"
        async with visiting(house, "bob") as other:
            assert "0 listings are not deleted." in (await other.post(path, listings=named)).text
        assert (await house.rows(asked))[0]["n"] == 3
        await house.rows("UPDATE publications SET started_at = now() WHERE listing_id = CAST(:id AS uuid)",
                         id=ids[1])  # fmt: skip
        await house.rows("DELETE FROM listings WHERE id = CAST(:id AS uuid)", id=ids[2])
        stopped = (await page.post(path, listings=named)).text
        assert "2 listings are not deleted." in stopped
        assert "1 was gone already." in stopped
        assert "1 of them is being taken down somewhere" in stopped
        assert "2 listings are not deleted." in (await page.post(path, listings=named)).text
        await page.post(path, status=404, listings="nonsense")
    assert (await house.rows(asked))[0]["n"] == 0
    rows = await house.rows("SELECT listing_id, wanted FROM publications")
    assert {str(row["listing_id"]) for row in rows if row["wanted"] == "live"} == {ids[0]}


async def test_stopping_to_delete_many_keeps_nothing_that_was_to_go_before(house):
    alice = await house.person("alice")
    await house.person("bob")
    mercari = await account(house, alice, "mercari", "alice")
    ids = [await _live(house, alice, mercari, number) for number in range(2)]
    path = "/inventory/undo/deletes"
    async with visiting(house, "alice") as page:
        await page.post("/inventory/bulk", do="end", ids=ids[0], sure="yes")
        await page.post("/inventory/bulk", do="delete", ids=" ".join(ids), also_live="yes", sure="yes")
        async with visiting(house, "bob") as other:
            await other.post(path, listings=" ".join(ids))
        stopped = (await page.post(path, listings=" ".join(ids))).text
    assert "2 listings are not deleted." in stopped
    assert "1 of them is being taken down somewhere, which had begun or was asked for before" in stopped
    rows = await house.rows("SELECT listing_id, wanted, delete_asked_at FROM publications JOIN listings "
                            "ON listings.id = listing_id")  # fmt: skip
    assert {str(row["listing_id"]): row["wanted"] for row in rows} == {ids[0]: "ended", ids[1]: "live"}
    assert [row["delete_asked_at"] for row in rows] == [None, None]


@pytest.mark.longer
async def test_of_more_than_five_hundred_the_first_are_done_and_the_next_ones_offered(house):
    users = [await house.person(name) for name in ("alice", "bob")]
    for user in users:
        await house.rows(
            "INSERT INTO listings (user_id, title, location) "
            "SELECT :user, 'Shirt ' || n, 'A' FROM generate_series(1, 503) n",
            user=user,
        )  # fmt: skip
    async with visiting(house, "alice") as page:
        form = {"do": "label", "location": "A", "place": "B"}  # who is done does not match any more
        look = (await page.post("/inventory/bulk", **form, all="yes", count="503")).text
        assert "the first 500 of 503 listings" in look
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', look)) | {"place": "B"}
        done = (await page.post("/inventory/bulk", **fields, sure="yes")).text
        assert "500 listings are labelled." in done
        assert "Look at the next 3" in done
        assert await _places(house, users[0]) == {"A": 3, "B": 500}
        offered = done[done.index('name="all"') - 200 :]
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', offered))
        assert fields["place"] == "B"
        look = (await page.post("/inventory/bulk", **fields)).text
        assert "Label: 3 listings" in look
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', look)) | {"place": "B"}
        done = (await page.post("/inventory/bulk", **fields, sure="yes")).text
        assert "Look at the next" not in done
        assert await _places(house, users[0]) == {"B": 503}
    assert await _places(house, users[1]) == {"A": 503}


async def _places(house, user):
    rows = await house.rows(
        "SELECT location, count(*) AS number FROM listings WHERE user_id = :user GROUP BY 1", user=user
    )
    return {row["location"]: row["number"] for row in rows}
