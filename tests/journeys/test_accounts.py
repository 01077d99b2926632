"""An account's sign-in: which session is used, whose wins, and that the seller is told when it is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from everystall.browser.chromium import LAUNCH_ARGS, find_chromium
from everystall.errors import LeaseLost
from everystall.worker.lease import Lease
from everystall.worker.visit import Due, Visit
from tests.journeys.conftest import Seller, Stall

pytestmark = [pytest.mark.journey, pytest.mark.browser]

#: A page that only the signed-in seller gets.
PRIVATE = {"mercari": "/mypage/listings/active/", "poshmark": "/create-listing"}


def _sessions(stall: Stall, marketplace: str) -> list[Any]:
    """The site's own sign-ins of all accounts, oldest first."""
    return [one for one in stall.sandbox.world._sessions if one.marketplace == marketplace]


async def _account(stall: Stall) -> dict[str, Any]:
    (row,) = await stall.rows("SELECT * FROM connections")
    return row


@asynccontextmanager
async def _sellers_tab(stall: Stall, storage: dict[str, Any]) -> AsyncIterator[Any]:
    """A browser of the seller's own that holds what was captured from it."""
    playwright = await stall.tools.driver.get()
    browser = await playwright.chromium.launch(
        executable_path=str(find_chromium(stall.settings)), args=list(LAUNCH_ARGS), headless=True
    )
    try:
        context = await browser.new_context()
        await context.add_cookies(storage["cookies"])
        yield await context.new_page()
    finally:
        await browser.close()


async def _newest_cookies(stall: Stall, seller: Seller, profile: str) -> list[dict[str, Any]]:
    opened = await stall.tools.vault.open(seller.user_id, await stall.connection_id(profile), purpose="check")
    with opened.secret as plain:
        cookies: list[dict[str, Any]] = json.loads(bytes(plain))["cookies"]
    return cookies


@pytest.mark.extended
async def test_the_last_session_that_worked_posts_where_the_newest_is_signed_out(stall: Stall, alice: Seller):
    marketplace = "mercari"
    profile = await stall.connect(alice, marketplace)
    await stall.visit(profile)  # it worked
    assert await stall.connect(alice, marketplace) == profile
    good, newest = _sessions(stall, marketplace)
    newest.revoked = True
    job = await stall.post(alice, await stall.listing(alice), [marketplace])
    job = await stall.until_done(alice, job["jobId"], profile)
    assert job["status"] == "done", job
    assert len(stall.live(marketplace)) == 1
    assert (await _account(stall))["needs_you"] is None
    # the one that was found signed out is not tried again
    opened = len(await stall.rows("SELECT 1 AS one FROM vault_audit"))
    second = await stall.post(alice, await stall.listing(alice, title="A second shirt"), [marketplace])
    assert (await stall.until_done(alice, second["jobId"], profile))["status"] == "done"
    assert len(await stall.rows("SELECT 1 AS one FROM vault_audit")) == opened + 1
    assert good.alive


@pytest.mark.extended
async def test_after_a_sign_out_that_was_told_no_earlier_sign_in_goes_on(stall: Stall, alice: Seller):
    marketplace = "mercari"
    profile = await stall.connect(alice, marketplace)
    await stall.visit(profile)  # it worked
    assert await stall.connect(alice, marketplace) == profile
    other = await stall.connect(alice, "poshmark")
    good, newest = _sessions(stall, marketplace)
    newest.revoked = True  # the seller signs out, and the site keeps the earlier one
    told = {"marketplace": marketplace, "browserProfileId": profile}
    assert (await alice.client.post("/api/sessions/signed-out", json=told)).is_success
    await stall.visit(profile)
    rows = await stall.rows("SELECT public_id, needs_you FROM connections")
    asked = {row["public_id"]: (row["needs_you"] or {}).get("reason") for row in rows}
    assert asked == {profile: "session_expired", other: None}
    assert good.alive
    left = await stall.rows(
        "SELECT c.public_id FROM user_marketplace_sessions s JOIN connections c ON c.id = s.connection_id"
    )
    assert sorted(row["public_id"] for row in left) == sorted([profile, other])


async def _hand_over_in_the_middle(stall: Stall, seller: Seller, *, used_ends: bool) -> str:
    """A post begins with one sign-in; while it is filled in, the seller hands over another. The job."""
    stall.sandbox.sessions("mercari", seller.name, rotate=True, grace_seconds=60)
    profile = await stall.connect(seller, "mercari")
    storage = await stall.sign_in("mercari", seller.name)
    used, _ = _sessions(stall, "mercari")
    stall.sandbox.fault("mercari", kind="latency", seconds=0.5, times=8)
    job = await stall.post(seller, await stall.listing(seller), ["mercari"])
    visiting = asyncio.create_task(stall.visit(profile))
    async with asyncio.timeout(20):
        while not await stall.rows("SELECT 1 AS one FROM publications WHERE state = 'filling'"):
            await asyncio.sleep(0.02)
    assert await stall.hand_over(seller, "mercari", storage) == profile
    used.revoked = used_ends
    handed_seq = (await _account(stall))["session_seq"]
    await visiting
    stall.sandbox.clear_faults()
    account = await _account(stall)
    assert account["needs_you"] is None
    if not used_ends:
        assert account["session_seq"] == handed_seq
        handed = {cookie["name"]: cookie["value"] for cookie in storage["cookies"]}
        kept = await _newest_cookies(stall, seller, profile)
        assert {cookie["name"]: cookie["value"] for cookie in kept} == handed
    job = await stall.until_done(seller, job["jobId"], profile)
    assert len(stall.live("mercari")) == 1
    return str(job["status"])


@pytest.mark.extended
async def test_a_hand_over_during_a_visit_is_not_overwritten_by_what_the_visit_rotated(
    stall: Stall, alice: Seller
):
    assert await _hand_over_in_the_middle(stall, alice, used_ends=False) == "done"


@pytest.mark.extended
async def test_a_hand_over_during_a_visit_is_not_blamed_for_the_sign_in_that_ended(
    stall: Stall, alice: Seller
):
    assert await _hand_over_in_the_middle(stall, alice, used_ends=True) == "done"


@pytest.mark.parametrize("marketplace", ["mercari", pytest.param("poshmark", marks=pytest.mark.extended)])
@pytest.mark.longer
async def test_with_rotating_cookies_the_sellers_own_tab_still_works_or_the_seller_is_told(
    stall: Stall, alice: Seller, marketplace: str
):
    storage = await stall.sign_in(marketplace, alice.name)
    stall.sandbox.sessions(marketplace, alice.name, rotate=True, grace_seconds=0.2)
    profile = await stall.hand_over(alice, marketplace, storage)
    job = await stall.post(alice, await stall.listing(alice), [marketplace])
    assert (await stall.until_done(alice, job["jobId"], profile))["status"] == "done"
    await asyncio.sleep(0.3)
    async with _sellers_tab(stall, storage) as tab:
        await tab.goto(stall.sandbox.url(marketplace) + PRIVATE[marketplace])
        signed_in = "/login" not in tab.url
    checked = await alice.client.post("/api/sessions/refresh", json={"browserProfileId": profile})
    assert checked.status_code in (200, 202), checked.text
    await stall.visit(profile)
    account = await _account(stall)
    told = (account["needs_you"] or {}).get("reason") == "session_expired"
    assert signed_in or told
    # and where the site took the rotated cookie back from both, we do not say that all is well
    alive = _sessions(stall, marketplace)[0].alive
    assert told is not alive
    answer = (await alice.client.get("/api/connections")).json()
    (one,) = answer if isinstance(answer, list) else answer["connections"]
    assert (one["status"] == "connected") is not told, one


async def test_who_lost_the_lease_writes_nothing(stall: Stall, alice: Seller):
    cookie = {"name": "practice", "value": "signed-in", "domain": "mercari.localhost", "path": "/"}
    profile = await stall.hand_over(alice, "mercari", {"cookies": [cookie]})
    id, db = await stall.connection_id(profile), stall.tools.db
    first = await Lease.take(db, stall.settings, id)
    assert first is not None
    assert await Lease.take(db, stall.settings, id) is None
    await stall.rows("UPDATE connections SET lease_until = now() - interval '1 second' RETURNING id")
    second = await Lease.take(db, stall.settings, id)
    assert second is not None
    assert second.fence > first.fence

    async def rename(lease: Lease, label: str) -> None:
        async with lease.transaction() as session:
            await session.execute(text("UPDATE connections SET label = :label"), {"label": label})

    await rename(second, "ours")
    with pytest.raises(LeaseLost):
        await rename(first, "the first one's")
    assert first.lost.is_set()
    account = await _account(stall)
    assert (account["label"], account["lease_fence"]) == ("ours", second.fence)
    async with first:  # nor does it give back what is another's
        pass
    assert (await _account(stall))["lease_until"] is not None
    assert await stall.tools.vault.save_rotated(
        alice.user_id, id, {"cookies": []}, opened_seq=1, fence=first.fence
    ) is None  # fmt: skip
    assert [row["seq"] for row in await stall.rows("SELECT seq FROM user_marketplace_sessions")] == [1]


@pytest.mark.extended
async def test_a_session_under_another_name_posts_nothing_until_the_seller_says_it_is_the_same(
    stall: Stall, alice: Seller
):
    """eBay tells a name and no id that lasts: a renamed account is not another one for ever."""
    profile = await stall.connect(alice, "ebay")
    await stall.visit(profile)
    account = await _account(stall)
    assert (account["account_id"], account["account_name"], account["needs_you"]) == (None, "alice", None)

    renamed = await stall.sign_in("ebay", "alice-renamed")
    await stall.rows("DELETE FROM user_marketplace_sessions RETURNING id")  # the old name signs in no more
    assert await stall.hand_over(alice, "ebay", renamed) == profile  # the only account there is
    await stall.rows("UPDATE connections SET next_check_at = now() RETURNING id")
    await stall.visit(profile)
    question = (await _account(stall))["needs_you"]
    assert question["reason"] == "session_expired"
    assert "alice-renamed" in question["message"]
    assert "renamed it" in question["message"]

    # a capture for this very account is what the extension sends by itself: it proves nothing
    assert await stall.hand_over(alice, "ebay", renamed, browserProfileId=profile) == profile
    await stall.rows("UPDATE connections SET next_check_at = now() RETURNING id")
    await stall.visit(profile)
    assert (await _account(stall))["needs_you"]["reason"] == "session_expired"

    answer = await alice.client.patch(f"/api/connections/{profile}", json={"accountName": "alice-renamed"})
    assert answer.status_code == 200, answer.text
    assert await stall.hand_over(alice, "ebay", renamed) == profile
    job = await stall.post(alice, await stall.listing(alice), ["ebay"])
    assert (await stall.until_done(alice, job["jobId"], profile))["status"] == "done"
    account = await _account(stall)
    assert (account["account_name"], account["needs_you"]) == ("alice-renamed", None)


@pytest.mark.parametrize("newer", [False, pytest.param(True, marks=pytest.mark.extended)])
@pytest.mark.longer
async def test_a_log_out_that_is_told_during_a_visit_is_looked_at_in_it(
    stall: Stall, alice: Seller, newer: bool
):
    profile = await stall.connect(alice, "mercari")
    checks = []

    async def step(visit: Visit, due: Due) -> None:
        await visit._step(due)
        checks.append(due.kind)
        if len(checks) == 1:
            _sessions(stall, "mercari")[0].revoked = True
            if newer:  # the seller has signed in again by then
                await stall.hand_over(alice, "mercari", await stall.sign_in("mercari", alice.name))
            told = {"marketplace": "mercari", "browserProfileId": profile}
            assert (await alice.client.post("/api/sessions/signed-out", json=told)).is_success

    stall.tools = replace(stall.tools, step=step)
    await stall.visit(profile)
    assert checks[:1] == ["check"]
    asked = (await _account(stall))["needs_you"]
    assert (asked or {}).get("reason") == (None if newer else "session_expired")
    assert len(checks) == (2 if newer else 1), "the check that fails is the second"
