"""Asking for a worker's browser: for one's own account that waits, or to sign in to a new one."""

from __future__ import annotations

import json

import pytest

CHALLENGE = {"reason": "challenge", "message": "It asks whether you are a robot.", "url": None, "actions": []}


async def _waits(site, profile, reason="challenge"):
    await site.rows(
        "UPDATE connections SET needs_you = CAST(:asks AS jsonb) WHERE public_id = :id RETURNING id",
        id=profile, asks=json.dumps(CHALLENGE | {"reason": reason}),
    )  # fmt: skip


async def test_a_browser_is_asked_for_shown_and_closed(site, alice, bob):
    profile = await alice.connect("poshmark", "alice")
    await _waits(site, profile)
    answer = await alice.client.post("/api/sittings", json={"browserProfileId": profile})
    made = answer.json()
    assert answer.status_code == 200, answer.text
    assert (made["purpose"], made["state"], made["browserProfileId"]) == ("challenge", "waiting", profile)
    assert made["href"] == f"/sittings/{made['id']}"
    assert (await alice.get("/api/sittings")).json()["sittings"] == [made]
    # Bob gets nothing of it
    assert (await bob.get("/api/sittings")).json() == {"sittings": []}
    asked = await bob.client.post("/api/sittings", json={"browserProfileId": profile})
    assert asked.status_code == 404
    assert (await bob.client.post(f"/api/sittings/{made['id']}/close")).status_code == 404
    assert (await alice.client.post(f"/api/sittings/{made['id']}/close")).status_code == 200
    (ended,) = (await alice.get("/api/sittings")).json()["sittings"]
    assert (ended["state"], ended["message"]) == ("closed", "You closed it.")
    assert ended["endedAt"]


async def test_where_nothing_is_asked_none_is_opened(alice):
    profile = await alice.connect("poshmark", "alice")
    answer = await alice.client.post("/api/sittings", json={"browserProfileId": profile})
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")


@pytest.mark.parametrize(
    "body", [{}, {"marketplace": "no-such"}, {"marketplace": "ebay", "browserProfileId": "x"}]
)
async def test_what_makes_no_sense_is_refused(alice, body):
    answer = await alice.client.post("/api/sittings", json=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["action"]


async def test_a_new_account_is_begun_and_becomes_the_extensions_if_that_is_first(site, alice):
    made = (await alice.client.post("/api/sittings", json={"marketplace": "mercari"})).json()
    assert made["purpose"] == "sign_in"
    (one,) = (await alice.get("/api/connections")).json()["connections"]
    assert (one["browserProfileId"], one["status"]) == (made["browserProfileId"], "expired")
    profile = await alice.connect("mercari", "alice")
    assert profile == made["browserProfileId"], "the one that was begun, and no second"
    (one,) = (await alice.get("/api/connections")).json()["connections"]
    assert (one["status"], one["needsYou"]) == ("connected", None)


async def test_an_account_that_was_taken_away_is_signed_in_to_again(site, alice):
    profile = await alice.connect("poshmark", "alice")
    await _waits(site, profile, "disconnected")
    made = await alice.client.post("/api/sittings", json={"browserProfileId": profile})
    assert made.json()["purpose"] == "sign_in"
