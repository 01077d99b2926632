"""POST /api/listings/post and jobs: everything or nothing is queued; pairs follow their publications."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest

from everystall.web import numbers
from everystall.web.pages.connections import find_places

PAIR = {"marketplace", "browserProfileId", "state", "needsYou", "url", "remoteId", "startedAt", "finishedAt"}


async def _job(seller, answer):
    got = await seller.get(f"/api/jobs/{answer.json()['jobId']}")
    assert got.status_code == 200
    return got.json()


async def test_posting_makes_a_job_with_one_pair_per_marketplace_and_wakes_their_accounts(site, alice):
    profiles = {name: await alice.connect(name) for name in ("mercari", "poshmark")}
    await site.forget_wakes()
    listing = await alice.listing()
    answer = await alice.publish(listing, "poshmark", "mercari")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told.keys() == {"success", "jobId", "message", "marketplaces", "automationResults"}
    assert re.fullmatch(r"job_[a-z0-9]+", told["jobId"])
    assert (told["success"], told["marketplaces"]) == (True, ["poshmark", "mercari"])
    assert [pair.keys() for pair in told["automationResults"]] == [PAIR, PAIR]
    assert {p["marketplace"]: p["browserProfileId"] for p in told["automationResults"]} == profiles
    assert {p["state"] for p in told["automationResults"]} == {"waiting"}
    rows = await site.rows("SELECT * FROM publications")
    assert {(r["wanted"], r["wanted_revision"], r["unsettled"]) for r in rows} == {("live", 2, True)}
    assert len(await site.wakes()) == 2
    job = await _job(alice, answer)
    assert (job["status"], job["listingId"], job["finishedAt"]) == ("running", listing, None)
    assert job["automationResults"] == told["automationResults"]


async def test_a_job_that_no_worker_goes_on_with_says_so(site, alice, bob, monkeypatch):
    monkeypatch.setattr(numbers, "NONE_SECONDS", 1e9)
    await alice.connect("mercari")
    answer = await alice.publish(await alice.listing(), "mercari")
    assert "No worker" not in answer.json()["message"]
    assert (await _job(alice, answer))["waitsFor"] is None
    monkeypatch.setattr(numbers, "NONE_SECONDS", -1.0)
    job = await _job(alice, answer)
    assert (job["status"], job["waitsFor"]) == ("running", "worker")
    (listed,) = (await alice.get("/api/jobs")).json()["jobs"]
    assert listed == job
    told = (await alice.publish(await alice.listing(), "mercari")).json()["message"]
    assert "No worker of Everystall runs now. Nothing is lost" in told
    await site.go_live(alice)
    assert (await _job(alice, answer))["waitsFor"] is None
    assert (await bob.get(f"/api/jobs/{answer.json()['jobId']}")).status_code == 404


async def test_a_job_is_done_when_every_pair_is_live(site, alice):
    await alice.connect("mercari")
    await alice.connect("poshmark")
    answer = await alice.publish(await alice.listing(), "poshmark", "mercari")
    await site.put(alice, state="filling")
    assert (await _job(alice, answer))["status"] == "running"
    await site.go_live(alice)
    job = await _job(alice, answer)
    assert job["status"] == "done"
    for pair in job["automationResults"]:
        assert (pair["state"], pair["needsYou"]) == ("live", None)
        assert pair["url"]
        assert pair["remoteId"]
        assert pair["finishedAt"]


async def test_a_job_that_waits_for_the_seller_says_why_and_what_to_press(site, alice):
    await alice.connect("mercari")
    answer = await alice.publish(await alice.listing(), "mercari")
    retry = {"name": "retry", "label": "Try again", "method": "POST", "href": "/x"}
    question = {"reason": "page_changed", "message": "It is new.", "url": "https://x", "actions": [retry]}
    await site.put(alice, needs_you=question)
    job = await _job(alice, answer)
    assert job["status"] == "needs_you"
    shown = job["automationResults"][0]["needsYou"]
    assert question.items() <= shown.items()
    await site.go_live(alice)
    assert (await _job(alice, answer))["status"] == "needs_you", "a job's history stays as it was"
    listing = (await alice.get(f"/api/listings/{job['listingId']}")).json()
    assert listing["publications"][0]["state"] == "live"


@pytest.mark.parametrize(
    ("publication", "account", "waits_for"),
    [
        ("paced_to = now() + interval '5 minutes'", "rest_until = NULL", "pace"),
        ("paced_to = now() + interval '5 minutes'", "rest_until = now() + interval '5 minutes'", "rest"),
        ("tries = 1", "rest_until = now() - interval '5 minutes'", "retry"),
    ],
)
async def test_what_waits_by_itself_says_for_what_and_until_when(
    site, alice, publication, account, waits_for
):
    profile = await alice.connect("mercari")
    listing = await alice.listing()
    await alice.publish(listing, "mercari")
    path = f"/api/listings/{listing}/publications"
    (row,) = (await alice.get(path)).json()
    assert (row["waitsFor"], row["notBefore"]) == (None, None)
    await site.rows(f"UPDATE connections SET {account}")
    await site.rows(f"UPDATE publications SET next_try_at = now() + interval '5 minutes', {publication}")
    (row,) = (await alice.get(path)).json()
    assert row["waitsFor"] == waits_for
    left = datetime.fromisoformat(row["notBefore"]) - datetime.now(UTC)
    assert timedelta(minutes=4) < left < timedelta(minutes=6)
    async with site.database.as_user(alice.user_id) as session:
        places = await find_places(session, site.settings)
    (stand,) = [stand for place in places for stand in place.stands if stand.id == profile]
    assert (stand.paced, stand.live) == (int(waits_for != "retry"), 0)
    await site.put(alice, needs_you={"reason": "gone", "message": "m", "url": None, "actions": []})
    (row,) = (await alice.get(path)).json()
    assert (row["waitsFor"], row["notBefore"]) == (None, None), "it waits for Alice"


# ---- what stands in the way ----


async def test_missing_and_expired_sign_ins_are_named_together_and_nothing_is_queued(site, alice):
    await alice.connect("mercari")
    expired = await alice.connect("poshmark")
    await site.rows("UPDATE user_marketplace_sessions SET expires_at = now() WHERE marketplace = 'poshmark'")
    before = await site.everything_of(alice)
    listing = await alice.listing()
    await site.forget_wakes()
    answer = await alice.publish(listing, "poshmark", "mercari", "ebay")
    assert (answer.status_code, answer.json()["error"]) == (409, "session_missing")
    assert answer.json()["missing"] == [
        {"marketplace": "poshmark", "browserProfileId": expired, "status": "expired"},
        {"marketplace": "ebay", "browserProfileId": None, "status": "missing"},
    ]
    assert {"Poshmark", "eBay"} <= set(re.findall(r"\w+", answer.json()["message"]))
    assert await site.wakes() == []
    assert (await site.everything_of(alice))[2:] == before[2:]


async def test_everything_that_every_marketplace_lacks_is_named_together_and_nothing_is_queued(site, alice):
    await alice.connect("mercari")
    await alice.connect("poshmark")
    listing = await alice.listing(photos=0, category=None, size=None)
    await site.forget_wakes()
    answer = await alice.publish(listing, "poshmark", "mercari")
    assert (answer.status_code, answer.json()["error"]) == (422, "listing_incomplete")
    assert answer.json()["marketplaces"] == ["poshmark", "mercari"]
    for name in ("poshmark", "mercari"):
        fields = {p["field"] for p in answer.json()["problems"] if p["marketplace"] == name}
        assert {"category", "photos"} <= fields
    assert await site.rows("SELECT 1 FROM publications UNION ALL SELECT 1 FROM jobs") == []
    assert await site.wakes() == []


@pytest.mark.parametrize("change", [{"title": "T" * 200}, {"price": {"amount": 99_999_999}}])
async def test_what_does_not_fit_is_reported_with_the_limit(alice, change):
    await alice.connect("mercari")
    answer = await alice.publish(await alice.listing(**change), "mercari")
    assert answer.status_code == 422
    (problem,) = answer.json()["problems"]
    assert problem["field"] == next(iter(change))
    assert problem["limit"]


async def test_what_is_sold_out_is_not_posted(site, alice):
    await alice.connect("mercari")
    listing = await alice.listing()
    await site.rows("UPDATE listings SET quantity_sold = 1")
    answer = await alice.publish(listing, "mercari")
    assert (answer.status_code, answer.json()["error"]) == (422, "listing_incomplete")
    assert [p["field"] for p in answer.json()["problems"]] == ["quantity"]
    assert await site.rows("SELECT 1 FROM publications") == []


async def test_several_accounts_of_one_marketplace_have_to_be_named(alice):
    profiles = [await alice.connect("poshmark", name) for name in ("one", "two")]
    listing = await alice.listing()
    answer = await alice.publish(listing, "poshmark")
    assert (answer.status_code, answer.json()["error"]) == (409, "which_account")
    assert {one["browserProfileId"] for one in answer.json()["connections"]} == set(profiles)
    one = await alice.publish(listing, "poshmark", body={"connections": profiles[:1]})
    assert [p["browserProfileId"] for p in one.json()["automationResults"]] == profiles[:1]
    both = await alice.publish(listing, body={"connections": profiles})
    assert {p["browserProfileId"] for p in both.json()["automationResults"]} == set(profiles)


NO_SENSE = [
    ({"marketplaces": []}, 400),
    ({"marketplaces": ["amazon"]}, 400),
    ({"marketplaces": ["mercari"], "connections": ["bp_mercari_nonsense"]}, 404),
    ({"listingId": "nonsense"}, 404),
    ({"listingId": "00000000-0000-0000-0000-000000000000", "marketplaces": ["mercari"]}, 404),
    ({"listingId": 5}, 422),
    ({"marketplaces": "mercari"}, 422),
]


async def test_a_wish_that_makes_no_sense_is_refused(site, alice, subtests):
    await alice.connect("mercari")
    for body, status in NO_SENSE:
        with subtests.test(str(body)):
            wish = {"listingId": await alice.listing(), "marketplaces": ["mercari"], **body}
            answer = await alice.post("/api/listings/post", wish)
            assert answer.status_code == status, answer.text
            assert {"error", "message", "action"} <= answer.json().keys()
            assert await site.rows("SELECT 1 FROM jobs") == []


async def test_bobs_accounts_are_not_alices_to_post_with(site, alice, bob):
    await alice.connect("mercari")
    his = await bob.connect("mercari", "bob")
    answer = await alice.publish(await alice.listing(), "mercari", body={"connections": [his]})
    assert answer.status_code == 404
    assert await site.rows("SELECT 1 FROM jobs") == []


# ---- again ----


async def test_the_same_idempotency_key_returns_the_first_job(site, alice, bob):
    await alice.connect("mercari")
    listing = await alice.listing()
    key = {"headers": {"Idempotency-Key": "once"}}
    first, second = (
        await alice.publish(listing, "mercari", **key),
        await alice.publish(listing, "mercari", **key),
    )
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["jobId"] == second.json()["jobId"]
    await site.rows("UPDATE listings SET quantity_sold = 1")
    assert (await alice.publish(listing, "mercari", **key)).json()["jobId"] == first.json()["jobId"]
    assert (await alice.publish(await alice.listing(), "mercari", **key)).status_code == 400
    assert (await alice.publish(listing, "poshmark", **key)).status_code == 400
    await bob.connect("mercari", "bob")
    his = await bob.publish(await bob.listing(), "mercari", **key)
    assert his.status_code == 200
    assert his.json()["jobId"] != first.json()["jobId"]


async def test_the_same_key_many_times_at_once_is_still_one_job(site, alice):
    await alice.connect("mercari")
    listing = await alice.listing()
    answers = await asyncio.gather(
        *(alice.publish(listing, "mercari", headers={"Idempotency-Key": "k"}) for _ in range(6))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["jobId"] for answer in answers}) == 1
    assert len(await site.rows("SELECT 1 FROM publications")) == 1


async def test_two_jobs_follow_one_publication(site, alice):
    await alice.connect("mercari")
    listing = await alice.listing()
    first, second = await alice.publish(listing, "mercari"), await alice.publish(listing, "mercari")
    assert first.json()["jobId"] != second.json()["jobId"]
    assert len(await site.rows("SELECT 1 FROM publications")) == 1
    await site.go_live(alice)
    assert {(await _job(alice, one))["status"] for one in (first, second)} == {"done"}


async def test_what_is_live_as_it_stands_is_done_at_once(site, alice):
    await alice.connect("mercari")
    listing = await alice.listing()
    await alice.publish(listing, "mercari")
    await site.go_live(alice)
    again = await alice.publish(listing, "mercari")
    (pair,) = again.json()["automationResults"]
    assert (pair["state"], (await _job(alice, again))["status"]) == ("live", "done")
    (row,) = await site.rows("SELECT * FROM publications")
    assert row["unsettled"] is False


async def test_posting_again_after_a_change_or_an_end_wants_it_live_as_it_is_now(site, alice):
    await alice.connect("mercari")
    listing = await alice.listing()
    await alice.publish(listing, "mercari")
    await site.put(alice, state="ended", put="ended", wanted="ended", remote_id="r1", url="https://x")
    await alice.client.patch(f"/api/listings/{listing}", json={"title": "New words"})
    again = await alice.publish(listing, "mercari")
    (pair,) = again.json()["automationResults"]
    assert (pair["state"], pair["url"], pair["remoteId"]) == ("waiting", None, None)
    (row,) = await site.rows("SELECT * FROM publications")
    assert (row["wanted"], row["wanted_revision"], row["unsettled"]) == ("live", 3, True)


async def test_posting_again_answers_a_question_except_an_open_one(site, alice):
    await alice.connect("mercari")
    listing = await alice.listing()
    await alice.publish(listing, "mercari")
    rejected = {"reason": "listing_rejected", "message": "m", "url": None, "actions": []}
    await site.put(alice, needs_you=rejected, tries=3)
    again = await alice.publish(listing, "mercari")
    assert again.json()["automationResults"][0]["needsYou"] is None
    unresolved = {"reason": "unresolved", "message": "Is it there?", "url": None, "actions": []}
    await site.put(alice, needs_you=unresolved, looking=True, state="reconciling")
    once_more = await alice.publish(listing, "mercari")
    assert once_more.json()["automationResults"][0]["needsYou"]["reason"] == "unresolved"
    assert (await _job(alice, once_more))["status"] == "needs_you"


async def test_posting_to_a_paused_account_is_taken_and_says_that_it_waits(alice):
    profile = await alice.connect("mercari")
    await alice.post(f"/api/connections/{profile}/pause")
    answer = await alice.publish(await alice.listing(), "mercari")
    assert answer.status_code == 200
    assert "paused" in answer.json()["message"]


# ---- cancel ----


async def test_cancel_takes_back_what_was_not_submitted(site, alice):
    await alice.connect("mercari")
    answer = await alice.publish(await alice.listing(), "mercari")
    await site.put(alice, state="filling")
    cancelled = await alice.post(f"/api/jobs/{answer.json()['jobId']}/cancel")
    assert cancelled.status_code == 200
    assert (cancelled.json()["status"], cancelled.json()["goingOn"]) == ("cancelled", [])
    assert cancelled.json()["automationResults"][0]["state"] == "cancelled"
    (row,) = await site.rows("SELECT * FROM publications")
    assert (row["wanted"], row["unsettled"], row["state"]) == ("ended", False, "cancelled")
    again = await alice.post(f"/api/jobs/{answer.json()['jobId']}/cancel")
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")


@pytest.mark.parametrize("state", ["armed", "reconciling"])
async def test_cancel_lets_what_is_armed_finish_and_offers_to_take_it_down(site, alice, state):
    profile = await alice.connect("mercari")
    listing = await alice.listing()
    answer = await alice.publish(listing, "mercari")
    await site.put(alice, state=state, looking=True)
    cancelled = (await alice.post(f"/api/jobs/{answer.json()['jobId']}/cancel")).json()
    assert cancelled["status"] == "running"
    (going_on,) = cancelled["goingOn"]
    (button,) = going_on["actions"]
    assert (going_on["browserProfileId"], button["label"]) == (profile, "Take it down")
    await site.go_live(alice)
    assert (await _job(alice, answer))["status"] == "done"
    assert (await alice.client.request(button["method"], button["href"])).status_code == 200
    (row,) = await site.rows("SELECT * FROM publications")
    assert (row["wanted"], row["state"]) == ("ended", "ending")


async def test_cancel_leaves_what_another_job_wants(site, alice):
    await alice.connect("mercari")
    listing = await alice.listing()
    first, second = await alice.publish(listing, "mercari"), await alice.publish(listing, "mercari")
    cancelled = await alice.post(f"/api/jobs/{first.json()['jobId']}/cancel")
    assert cancelled.json()["status"] == "cancelled"
    (row,) = await site.rows("SELECT * FROM publications")
    assert (row["wanted"], row["unsettled"]) == ("live", True)
    await site.go_live(alice)
    assert (await _job(alice, second))["status"] == "done"
    assert (await _job(alice, first))["automationResults"][0]["state"] == "cancelled"


async def test_a_finished_job_is_not_cancelled(site, alice):
    await alice.connect("mercari")
    answer = await alice.publish(await alice.listing(), "mercari")
    await site.go_live(alice)
    cancelled = await alice.post(f"/api/jobs/{answer.json()['jobId']}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "done")
    assert (await site.rows("SELECT wanted FROM publications")) == [{"wanted": "live"}]


async def test_cancelling_a_change_of_what_is_live_leaves_it_live(site, alice):
    await alice.connect("mercari")
    listing = await alice.listing()
    await alice.publish(listing, "mercari")
    await site.go_live(alice)
    await alice.client.patch(f"/api/listings/{listing}", json={"title": "Other"})
    answer = await alice.publish(listing, "mercari")
    await alice.post(f"/api/jobs/{answer.json()['jobId']}/cancel")
    (row,) = await site.rows("SELECT * FROM publications")
    assert (row["wanted"], row["put"], row["state"], row["unsettled"]) == ("live", "live", "live", False)


# ---- others ----


@pytest.mark.longer
async def test_bob_sees_and_cancels_none_of_alices_jobs(site, alice, bob):
    profile = await alice.connect("mercari")
    listing = await alice.listing()
    job = (await alice.publish(listing, "mercari")).json()["jobId"]
    before = await site.everything_of(alice)
    for answer in (
        await bob.get(f"/api/jobs/{job}"),
        await bob.post(f"/api/jobs/{job}/cancel"),
        await bob.post(f"/api/listings/{listing}/publications/{profile}/end"),
        await bob.post(f"/api/listings/{listing}/publications/{profile}/retry"),
    ):
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    assert (await bob.get("/api/jobs")).json()["jobs"] == []
    assert (await bob.get("/api/jobs", params={"listingId": listing})).json()["jobs"] == []
    assert await site.everything_of(alice) == before


async def test_jobs_come_newest_first_and_page_by_page(site, alice):
    await alice.connect("mercari")
    listings = [await alice.listing() for _ in range(3)]
    ids = [(await alice.publish(one, "mercari")).json()["jobId"] for one in listings]
    page = (await alice.get("/api/jobs", params={"limit": 2})).json()
    assert [job["jobId"] for job in page["jobs"]] == [ids[2], ids[1]]
    rest = (await alice.get("/api/jobs", params={"limit": 2, "cursor": page["nextCursor"]})).json()
    assert [job["jobId"] for job in rest["jobs"]] == [ids[0]]
    assert rest["nextCursor"] is None
    mine = (await alice.get("/api/jobs", params={"listingId": listings[0]})).json()
    assert [job["jobId"] for job in mine["jobs"]] == [ids[0]]
    await site.go_live(alice)
    assert (await alice.get("/api/jobs", params={"status": "running"})).json()["jobs"] == []
    assert len((await alice.get("/api/jobs", params={"status": "done"})).json()["jobs"]) == 3


async def test_an_action_has_to_fit_what_the_publication_waits_for(site, alice):
    profile = await alice.connect("mercari")
    listing = await alice.listing()
    await alice.publish(listing, "mercari")
    path = f"/api/listings/{listing}/publications/{profile}"
    assert (await alice.post(f"{path}/explode")).status_code == 400
    assert (await alice.post(f"{path}/it_is_there")).status_code == 400
    await site.put(
        alice, needs_you={"reason": "listing_rejected", "message": "m", "url": None, "actions": []}
    )
    retried = await alice.post(f"{path}/retry")
    assert (retried.status_code, retried.json()["needsYou"], retried.json()["state"]) == (
        200,
        None,
        "waiting",
    )
    assert (await alice.get(f"/api/listings/{listing}/publications")).json() == [retried.json()]
