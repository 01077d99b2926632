"""An edit of a live listing: what it raises, who is woken, what the seller may answer."""

from __future__ import annotations

import json

import pytest

from tests.api.conftest import live_listing

EDITS = {
    "words": ("patch", "", {"json": {"title": "New words"}}),
    "a photo's end": ("delete", "/photos/{photo}", {}),
}


async def _shown(seller, listing):
    told = (await seller.client.get(f"/api/listings/{listing}")).json()["publications"]
    return {one["marketplace"]: one for one in told}


@pytest.mark.parametrize("edit", EDITS)
async def test_an_edit_is_wanted_where_the_listing_is_live_and_wakes_the_accounts(site, alice, edit):
    listing, _ = await live_listing(site, alice, "mercari", "poshmark")
    photos = (await alice.client.get(f"/api/listings/{listing}")).json()["photos"]
    verb, path, more = EDITS[edit]
    answer = await getattr(alice.client, verb)(
        f"/api/listings/{listing}" + path.format(photo=photos[0]["photoId"]), **more
    )
    assert answer.status_code == 200, answer.text
    for one in (await _shown(alice, listing)).values():
        assert (one["state"], one["needsYou"]) == ("live", None)
        assert one["wantedRevision"] == one["putRevision"] + 1
    assert len(await site.wakes()) == 2


async def test_an_edit_that_changes_nothing_there_sends_nobody(site, alice):
    listing, _ = await live_listing(site, alice, "mercari", "poshmark")
    await alice.client.patch(f"/api/listings/{listing}", json={"sku": "B-18"})  # Mercari has no field for it
    left = {name: one["wantedRevision"] - one["putRevision"]
            for name, one in (await _shown(alice, listing)).items()}  # fmt: skip
    assert left == {"mercari": 0, "poshmark": 1}
    assert len(await site.wakes()) == 1


async def test_an_edit_where_nobody_can_go_says_so_at_once(site, alice):
    listing, profiles = await live_listing(site, alice, "mercari", "poshmark")
    await site.rows(
        'UPDATE connections SET needs_you = \'{"reason": "session_expired", "message": "Gone."}\' '
        "WHERE public_id = :id",
        id=profiles["mercari"],
    )
    answer = await alice.client.patch(f"/api/listings/{listing}", json={"title": "New words"})
    told = {one["marketplace"]: one["needsYou"] for one in answer.json()["publications"]}
    assert told["poshmark"] is None
    assert told["mercari"]["reason"] == "session_expired"
    assert "cannot be changed on Mercari" in told["mercari"]["message"]
    # what is live is taken down by a button that says so, and not given up
    buttons = {one["name"]: one["label"] for one in told["mercari"]["actions"]}
    assert buttons == {"reconnect": "Connect again", "end": "Take it down"}
    where = f"/api/listings/{listing}/publications/{profiles['mercari']}"
    refused = await alice.client.post(f"{where}/give_up")
    assert (refused.status_code, refused.json()["error"]) == (400, "bad_request")
    shown = (await _shown(alice, listing))["mercari"]
    assert (shown["wanted"], shown["state"]) == ("live", "live")
    assert (await alice.client.post(f"{where}/end")).status_code == 200
    asked = (await _shown(alice, listing))["mercari"]
    assert asked["state"] == "ending"
    assert [one["name"] for one in asked["needsYou"]["actions"]] == ["reconnect"]


async def test_an_edit_of_what_is_to_be_taken_down_changes_nothing_there(site, alice):
    listing, profiles = await live_listing(site, alice, "mercari")
    await alice.client.post(f"/api/listings/{listing}/publications/{profiles['mercari']}/end")
    before = (await _shown(alice, listing))["mercari"]["wantedRevision"]
    await alice.client.patch(f"/api/listings/{listing}", json={"title": "New words"})
    now = (await _shown(alice, listing))["mercari"]
    assert (now["wantedRevision"], now["state"]) == (before, "ending")


async def test_another_seller_edits_and_answers_nothing(site, alice, bob):
    listing, profiles = await live_listing(site, alice, "mercari")
    before = await site.everything_of(alice)
    assert (await bob.client.patch(f"/api/listings/{listing}", json={"title": "Mine"})).status_code == 404
    for action in ("put_mine", "keep_theirs"):
        where = f"/api/listings/{listing}/publications/{profiles['mercari']}/{action}"
        assert (await bob.client.post(where)).status_code == 404
        assert (await alice.client.post(where)).status_code == 400  # nothing of hers is asked
    assert await site.everything_of(alice) == before


@pytest.mark.parametrize("action", ["put_mine", "keep_theirs"])
async def test_either_answer_to_a_conflict_goes_on_with_it(site, alice, action):
    listing, profiles = await live_listing(site, alice, "mercari")
    await alice.client.patch(f"/api/listings/{listing}", json={"title": "Mine"})
    asked = {"reason": "edited_there", "message": "m", "url": None, "actions": []}
    await site.put(alice, needs_you=asked)
    conflict = {
        "title": {"ours": "Mine", "theirs": "By hand"},
        "shipping.payer": {"ours": None, "theirs": "x"},
    }
    await site.rows("UPDATE attempts SET conflict = CAST(:c AS jsonb)", c=json.dumps(conflict))
    await site.forget_wakes()
    answer = await alice.client.post(
        f"/api/listings/{listing}/publications/{profiles['mercari']}/{action}"
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    assert (answer.json()["state"], answer.json()["needsYou"]) == ("live", None)
    (attempt,) = await site.rows("SELECT adopted, conflict, draft FROM attempts")
    assert (attempt["adopted"], attempt["conflict"]) == ({"title": "By hand", "shipping.payer": "x"}, None)
    kept = action == "keep_theirs"
    assert (attempt["draft"]["title"] == "Mine") is kept
    assert ("payer" in attempt["draft"]["shipping"]) is not kept
    assert len(await site.wakes()) == 1


async def test_a_change_that_may_have_been_clicked_is_not_taken_back_with_its_job(site, alice):
    listing, _ = await live_listing(site, alice, "mercari")
    await alice.client.patch(f"/api/listings/{listing}", json={"title": "New words"})
    job = (await alice.publish(listing, "mercari")).json()["jobId"]
    await site.put(alice, state="revising")
    await site.rows("UPDATE attempts SET revising = '{\"revision\": 3}'")
    answer = (await alice.client.post(f"/api/jobs/{job}/cancel")).json()
    assert answer["automationResults"][0]["state"] == "revising"
    await site.rows("UPDATE attempts SET revising = NULL")
    answer = (await alice.client.post(f"/api/jobs/{job}/cancel")).json()
    assert answer["automationResults"][0]["state"] == "cancelled"
    now = (await _shown(alice, listing))["mercari"]
    assert (now["state"], now["wantedRevision"]) == ("live", now["putRevision"])
