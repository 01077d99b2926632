"""The pages of who runs the installation: how it does, its settings, the check of its proxy."""

from __future__ import annotations

import pytest

from tests.pages.conftest import DESK_AND_PHONE
from tests.pages.standing import account, listing, publication
from tests.pages.test_pages_look import LOOKS, look, passes

pytestmark = pytest.mark.browser


async def busy(house, user):
    """Posts of a day and a week, failures of several kinds, two workers of which one is away."""
    shirt = await listing(house, user)
    for marketplace, bad in (("poshmark", 9), ("mercari", 17), ("ebay", 40)):
        profile = await account(house, user, marketplace, f"alice-{marketplace}")
        one = await publication(house, user, shirt, profile, put="nothing", state="waiting", wanted="live")
        await house.rows(
            """WITH n AS (SELECT n, now() - interval '1 hour' * (n * n % 160)
                                    - interval '1 min' * (n % 50) AS t FROM generate_series(1, 150) n),
                    j AS (INSERT INTO jobs (id, user_id, listing_id)
                          SELECT 'job_' || :m || n, :u, CAST(:l AS uuid) FROM n)
               INSERT INTO listing_automation_results (user_id, job_id, publication_id, listing_id,
                   connection_id, marketplace, browser_profile_id, wanted_revision, state, created_at,
                   started_at, finished_at)
               SELECT :u, 'job_' || :m || n, CAST(:p AS uuid), CAST(:l AS uuid), gen_random_uuid(), :m,
                      :profile, 1, CASE WHEN n % :bad = 0 THEN 'filling' ELSE 'live' END,
                      t - interval '1 s' * (40 + n % 90), t - interval '1 s' * (20 + n % 9), t FROM n""",
            u=user, l=shirt, p=one, m=marketplace, profile=profile, bad=bad,
        )  # fmt: skip
    for marketplace, step, code, times in (
        ("poshmark", "post", "challenge", 4), ("poshmark", "look", "marketplace_busy", 23),
        ("mercari", "post", "page_changed", 2), ("ebay", "check", "session_expired", 1),
    ):  # fmt: skip
        for _ in range(times):
            await house.rows("SELECT everystall.note_failure(:m, :s, :c)", m=marketplace, s=step, c=code)
    for host, place, running in (("shed", None, 3), ("home-pc", "home", 0)):
        await house.rows(
            "SELECT everystall.stand_worker(gen_random_uuid(), :host, 4711, :place, '0.1.0', 5, :running)",
            host=host, place=place, running=running,
        )  # fmt: skip
    await house.rows(
        "UPDATE everystall.workers SET started_at = now() - interval '2 days', "
        "seen_at = now() - interval '7 minutes' WHERE host = 'home-pc'"
    )


@DESK_AND_PHONE
@pytest.mark.longer
async def test_an_owner_finds_the_pages_and_a_proxy_that_lets_everything_through_is_seen(house):
    await house.person("alice", "owner")
    await house.person("bob")
    page = await house.signed_in("alice")
    if house.device:  # a phone has no room for it beside the others
        await page.get_by_role("link", name="Account", exact=True).click()
    await page.get_by_role("link", name="Activity", exact=True).click()
    assert "No worker is running." in await page.locator("main").inner_text()
    await house.rows("SELECT everystall.stand_worker(gen_random_uuid(), 'shed', 4711, NULL, '0.1.0', 5, 3)")
    await page.wait_for_timeout(2_100)  # what was read is good for two seconds
    await page.reload()
    assert "3 of 5 visits" in await page.locator("main").inner_text()
    await page.get_by_role("link", name="Settings", exact=True).click()
    await page.get_by_label("Look for sales on cross-listed accounts").fill("0")
    await page.get_by_role("button", name="Save").click()
    assert await page.get_by_label("Look for sales on cross-listed accounts").input_value() == "0"
    assert "At least 1." in await page.locator("main").inner_text()
    await page.get_by_label("Look for sales on cross-listed accounts").fill("90")
    await page.get_by_role("button", name="Save").click()
    assert "75" not in await page.get_by_label("Look for sales on cross-listed accounts").input_value()
    assert "its default → 90" in await page.locator("main").inner_text()
    await page.get_by_role("link", name="Connection check").click()
    for tried in ("socket", "stream"):
        await page.locator(f"[data-tries={tried}][data-found=good]").wait_for()
    await page.get_by_role("button", name="Check a form, too").click()
    await page.get_by_text("Forms get through.").wait_for()
    bobs = await house.signed_in("bob")
    await bobs.goto("/account")
    assert await bobs.get_by_role("link", name="Activity", exact=True).count() == 0


@pytest.mark.longer
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_the_pages_of_who_runs_it(house, scheme, width):
    alice = await house.person("alice", "owner")
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/activity")
    await passes(page, "activity-new")
    await busy(house, alice)
    await page.wait_for_timeout(10_500)  # figures are read anew after ten seconds
    await page.goto("/activity")
    await page.get_by_text("As a table").click()
    await passes(page, "activity")
    await page.goto("/activity?window=7d")
    await passes(page, "activity-week")
    await page.goto("/settings")
    await page.get_by_label("Look for sales on cross-listed accounts").fill("90")
    await page.get_by_role("button", name="Save").click()
    await page.get_by_label("Keep events").fill("1")
    await page.get_by_role("button", name="Save").click()
    await passes(page, "settings")
    await page.goto("/settings?q=key")
    await page.get_by_label("OpenRouter key").fill("a key")
    await page.get_by_role("button", name="Save").click()
    await page.goto("/settings?differs=yes")
    await passes(page, "settings-differ")
    await page.goto("/settings")
    for reason in await page.locator(".kept > summary").all():
        await reason.click()
    await passes(page, "settings-all")
    await page.goto("/settings/connection")
    await page.locator("[data-tries=stream][data-found]").wait_for()
    await passes(page, "connection-check")
