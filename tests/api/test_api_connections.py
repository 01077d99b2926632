"""A seller's accounts: defaults, pace, pause, taking one away; Bob's reach ends at his own."""

from __future__ import annotations

import json

from tests.api.conftest import live_listing


async def test_accounts_are_listed_with_how_they_stand_and_never_with_a_session(site, alice, bob):
    profile = await alice.connect("poshmark", "alice")
    answer = await alice.get("/api/connections")
    (one,) = answer.json()["connections"]
    assert (one["browserProfileId"], one["marketplace"], one["status"]) == (profile, "poshmark", "connected")
    assert (one["accountName"], one["paused"], one["defaults"]) == ("alice", False, {})
    assert one["baseUrl"] == site.settings.base_url("poshmark")
    assert "a.b.c" not in answer.text
    assert (await bob.get("/api/connections")).json()["connections"] == []


async def test_label_defaults_and_pace_are_changed_one_by_one(alice):
    profile = await alice.connect("mercari")
    path = f"/api/connections/{profile}"
    told = (await alice.client.patch(path, json={"dailyCap": 20})).json()
    assert told["dailyCap"] == 20
    body = {"label": "Shoes", "paceSeconds": 90, "defaults": {"shipsFromZip": "94110", "carrier": "USPS"}}
    told = (await alice.client.patch(path, json=body)).json()
    assert (told["label"], told["paceSeconds"], told["defaults"]) == ("Shoes", 90, body["defaults"])
    told = (await alice.client.patch(path, json={"defaults": {"carrier": None}})).json()
    assert (told["label"], told["paceSeconds"], told["defaults"]) == ("Shoes", 90, {"shipsFromZip": "94110"})
    assert "shipsFromZip" in told["defaultsKnown"]
    assert told["dailyCap"] == 20
    nothing = {"label": None, "paceSeconds": None, "dailyCap": None}
    told = (await alice.client.patch(path, json=nothing)).json()
    assert (told["label"], told["paceSeconds"], told["dailyCap"]) == (None, None, None)


async def test_an_account_is_given_a_place_and_its_wake_ups_go_there(site, alice):
    profile = await alice.connect("mercari")
    path = f"/api/connections/{profile}"
    assert (await alice.get(path)).json()["place"] is None
    await site.forget_wakes()
    assert (await alice.client.patch(path, json={"place": "home"})).json()["place"] == "home"
    waiting = "SELECT queue_name FROM procrastinate.procrastinate_jobs WHERE status = 'todo' ORDER BY 1"
    assert [row["queue_name"] for row in await site.rows(waiting)] == ["urgent@home", "visits@home"]
    assert (await alice.client.patch(path, json={"label": "Shoes"})).json()["place"] == "home"
    assert (await alice.client.patch(path, json={"place": None})).json()["place"] is None
    assert [row["queue_name"] for row in await site.rows(waiting)] == ["urgent", "visits"]


UNKNOWN = [
    {"place": "At home"},
    {"place": ""},
    {"place": "x" * 41},
    {"defaults": {"nonsense": 1}},
    {"defaults": {"carrier": {"nested": 1}}},
    {"defaults": {"carrier": "x" * 501}},
    {"defaults": []},
    {"paceSeconds": -1},
    {"dailyCap": 0},
    {"dailyCap": 1001},
    {"dailyCap": 2.5},
    {"paceSeconds": 10**9},
    {"label": "a\nb"},
    {"label": "x" * 101},
    {"baseUrl": "https://evil.example"},
]


async def test_what_the_marketplace_does_not_know_is_refused(alice, subtests):
    profile = await alice.connect("mercari")
    before = (await alice.get(f"/api/connections/{profile}")).json()
    for body in UNKNOWN:
        with subtests.test(str(body)[:60]):
            answer = await alice.client.patch(f"/api/connections/{profile}", json=body)
            assert answer.status_code in (400, 422)
            assert answer.json()["error"] == "bad_request"
            assert (await alice.get(f"/api/connections/{profile}")).json() == before


async def test_a_bad_place_is_told_what_one_is(alice):
    profile = await alice.connect("mercari")
    answer = await alice.client.patch(f"/api/connections/{profile}", json={"place": "Home Office"})
    assert answer.status_code == 422
    assert "small letters, digits and hyphens" in answer.json()["message"]


async def test_an_account_is_paused_and_resumed_and_woken(site, alice):
    profile = await alice.connect("mercari")
    assert (await alice.post(f"/api/connections/{profile}/pause")).json()["paused"] is True
    await site.forget_wakes()
    assert (await alice.post(f"/api/connections/{profile}/resume")).json()["paused"] is False
    assert len(await site.wakes()) == 1


async def test_resume_goes_on_after_an_answered_challenge_but_not_after_a_lost_sign_in(site, alice):
    profile = await alice.connect("mercari")
    await alice.publish(await alice.listing(), "mercari")
    for reason, stays in (("challenge", False), ("session_expired", True)):
        question = {"reason": reason, "message": "m", "url": None, "actions": []}
        await site.rows("UPDATE connections SET needs_you = CAST(:q AS jsonb)", q=json.dumps(question))
        await site.put(alice, needs_you=question)
        told = (await alice.post(f"/api/connections/{profile}/resume")).json()
        assert (told["needsYou"] is not None) == stays
        (row,) = await site.rows("SELECT needs_you FROM publications")
        assert (row["needs_you"] is not None) == stays


async def test_everything_is_paused_and_resumed(site, alice, bob):
    await alice.connect("mercari")
    assert (await alice.post("/api/pause")).status_code == 200
    assert (await alice.get("/api/connections")).json()["paused"] is True
    assert (await bob.get("/api/connections")).json()["paused"] is False
    answer = await alice.publish(await alice.listing(), "mercari")
    assert "paused" in answer.json()["message"]
    assert (await alice.post("/api/resume")).status_code == 200
    assert (await alice.get("/api/connections")).json()["paused"] is False


async def test_an_account_without_history_goes_with_its_session(site, alice):
    profile = await alice.connect("mercari")
    assert (await alice.client.delete(f"/api/connections/{profile}")).status_code == 200
    assert (await alice.get("/api/connections")).json()["connections"] == []
    assert await site.rows("SELECT 1 FROM user_marketplace_sessions") == []


async def test_an_account_with_live_listings_is_kept_unless_forced(site, alice):
    profile = await alice.connect("mercari")
    listing = await alice.listing()
    await alice.publish(listing, "mercari")
    await site.go_live(alice)
    refused = await alice.client.delete(f"/api/connections/{profile}")
    assert (refused.status_code, refused.json()["error"], refused.json()["live"]) == (409, "listing_live", 1)
    assert len(await site.rows("SELECT 1 FROM user_marketplace_sessions")) == 1

    assert (await alice.client.delete(f"/api/connections/{profile}?force=true")).status_code == 200
    assert await site.rows("SELECT 1 FROM user_marketplace_sessions") == []
    (one,) = (await alice.get("/api/connections")).json()["connections"]
    assert (one["status"], one["needsYou"]["reason"]) == ("missing", "disconnected")
    assert (await alice.publish(listing, "mercari")).json()["error"] == "session_missing"
    assert await alice.connect("mercari") == profile
    assert (await alice.get("/api/connections")).json()["connections"][0]["status"] == "connected"


async def test_bob_changes_nothing_of_alices_account(site, alice, bob):
    profile = await alice.connect("mercari")
    before = await site.everything_of(alice)
    path = f"/api/connections/{profile}"
    for answer in (
        await bob.get(path),
        await bob.client.patch(path, json={"label": "Bob's"}),
        await bob.post(f"{path}/pause"),
        await bob.post(f"{path}/resume"),
        await bob.client.delete(path),
        await bob.client.delete(f"{path}?force=true"),
    ):
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    assert (await bob.post("/api/pause")).status_code == 200
    assert await site.everything_of(alice) == before
    assert (await site.rows("SELECT paused_at FROM users WHERE id = :id", id=alice.user_id)) == [
        {"paused_at": None}
    ]


async def test_pausing_what_takes_down_too_is_shown_and_ends_with_the_pause(site, alice, bob):
    listing, profiles = await live_listing(site, alice, "mercari")
    path = f"/api/connections/{profiles['mercari']}"
    assert (await alice.post(f"{path}/pause?delists=true")).json()["delistsPaused"] is True
    answer = await alice.post(f"/api/listings/{listing}/publications/{profiles['mercari']}/end")
    assert answer.json()["needsYou"]["reason"] == "paused"
    assert answer.json()["needsYou"]["actions"][0]["href"] == f"{path}/resume"
    shown = (await alice.post(f"{path}/resume")).json()
    assert (shown["paused"], shown["delistsPaused"]) == (False, False)
    (row,) = await site.rows("SELECT needs_you, wanted FROM publications")
    assert row == {"needs_you": None, "wanted": "ended"}
    await alice.post("/api/pause?delists=true")
    everywhere = (await alice.get("/api/connections")).json()
    assert (everywhere["paused"], everywhere["delistsPaused"]) == (True, True)
    assert (await bob.get("/api/connections")).json()["delistsPaused"] is False
    await alice.post("/api/pause")
    everywhere = (await alice.get("/api/connections")).json()
    assert (everywhere["paused"], everywhere["delistsPaused"]) == (True, False)
    await alice.post("/api/resume")
    assert (await alice.get("/api/connections")).json()["delistsPaused"] is False


async def test_the_api_says_in_which_limits_a_pace_is_and_what_null_means(site):
    shapes = site.app.openapi()["components"]["schemas"]
    for shape in ("ConnectionBody", "ConnectionOut"):
        said = shapes[shape]["properties"]["paceSeconds"]
        assert said["examples"] == [45]
        assert "0 to 86,400" in said["description"]
        assert "null: " in said["description"]
