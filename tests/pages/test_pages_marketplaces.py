"""The marketplaces' pages in a browser: a rule and a mailbox, and how each looks."""

from __future__ import annotations

import pytest

from tests.pages.conftest import DESK_AND_PHONE, furnish
from tests.pages.test_pages_journey import press
from tests.pages.test_pages_look import LOOKS, look, passes

pytestmark = pytest.mark.browser


@DESK_AND_PHONE
@pytest.mark.longer
async def test_from_an_account_that_cannot_be_seen_to_the_rule_for_it_and_back(house):
    alice = await house.person("alice")
    await furnish(house, alice)
    await house.rows("UPDATE publications SET put = 'live', state = 'live'")
    page = await house.signed_in("alice")
    await page.goto("/connections")
    vintage = page.locator("article", has_text="vintage")
    await vintage.get_by_role("link", name="Change the rule").click()
    await page.get_by_text("Take it down elsewhere", exact=True).click()
    await page.get_by_label("Minutes before anything is taken down").fill("20")
    await press(page, "Save")
    await page.get_by_text("It holds from now on").wait_for()
    await page.get_by_role("link", name="Accounts").click()
    await vintage.get_by_text("is taken down elsewhere after 20 minutes").wait_for()
    await vintage.get_by_role("link", name="Each opening").click()
    assert await page.get_by_role("cell", name="to post").is_visible()


PAUSED = "SELECT paused_at IS NOT NULL AS paused, pause_ends FROM"


@pytest.mark.extended
@DESK_AND_PHONE
async def test_taking_down_is_paused_too_by_who_read_what_follows(house):
    for name in ("alice", "bob"):
        await furnish(house, await house.person(name))
    page = await house.signed_in("alice")
    await page.goto("/connections")
    await page.locator("summary", has_text="Pause everything, taking down too").click()
    await page.locator(".account").first.locator("summary", has_text="Pause taking down, too").click()
    await page.get_by_text("What sells there is still seen").first.wait_for()
    await passes(page, "marketplaces-pausing")
    await page.get_by_role("button", name="Pause everything, taking down too").click()
    await page.get_by_text("Everything is paused, taking down too.").wait_for()
    await page.get_by_text("Nothing is taken down either, whatever sells.").wait_for()
    assert await page.locator("summary", has_text="Pause everything, taking down too").count() == 0
    await passes(page, "marketplaces-all-paused")
    of = f"{PAUSED} users ORDER BY email"
    assert [tuple(row.values()) for row in await house.rows(of)] == [(True, True), (False, False)]
    await press(page, "Go on everywhere")
    await page.get_by_text("Going on everywhere.").wait_for()
    await press(page, "Pause everywhere")
    await page.get_by_text("Listings that sell are still taken down elsewhere").wait_for()
    assert (await house.rows(of))[0] == {"paused": True, "pause_ends": False}
    await press(page, "Go on everywhere")

    closet = page.locator("article", has_text="alices_closet")
    await closet.locator("summary", has_text="Pause taking down, too").click()
    await closet.get_by_role("button", name="Pause taking down, too on Poshmark alices_closet").click()
    await page.get_by_text("Paused, taking down too.").wait_for()
    await closet.get_by_text("What sells elsewhere stays there, too").wait_for()
    assert await closet.locator("summary", has_text="Pause taking down").count() == 0
    await passes(page, "marketplaces-one-paused")
    rows = await house.rows(f"{PAUSED} connections WHERE account_name = 'alices_closet' ORDER BY paused_at")
    assert [tuple(row.values()) for row in rows] == [(True, True), (False, False)]


@pytest.mark.longer
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_how_each_page_looks(house, scheme, width):
    await furnish(house, await house.person("alice"))
    await house.rows("UPDATE publications SET put = 'live', state = 'live'")
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/connections")
    await passes(page, "marketplaces-blind")
    await page.goto("/connections/rules")
    await passes(page, "sale-rules")
    await page.goto("/connections/mails")
    await passes(page, "sale-mails")
    await page.get_by_role("button", name="Make an address").click()
    await page.get_by_text("It is shown this once.").wait_for()
    await passes(page, "sale-mails-address")
    for label, value in (("IMAP server", "127.0.0.1"), ("Name", "alice@example.com"), ("Password", "hush")):
        await page.get_by_label(label, exact=True).fill(value)
    await page.get_by_role("button", name="Watch it").click()
    await page.get_by_text("The mailbox was not saved.").wait_for()
    await passes(page, "sale-mails-refused")
    await page.goto("/connections")
    await page.get_by_role("link", name="Each opening").first.click()
    await page.wait_for_url("**/openings")
    await passes(page, "openings", "Use of your Poshmark sign-in")
