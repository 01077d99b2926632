"""What people do on the pages, from the first start on, with scripts and without."""

from __future__ import annotations

import io
import json
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from everystall.web.invitations import first_owner
from tests.pages.conftest import DESK_AND_PHONE, PASSWORD, ROOT, furnish, sign_in

pytestmark = pytest.mark.browser
BOTH = pytest.mark.parametrize(
    "scripts",
    [True, pytest.param(False, marks=pytest.mark.extended)],
    ids=["with-scripts", "without-scripts"],
)


def api(house, token):
    return httpx.AsyncClient(base_url=house.url, headers={"Authorization": f"Bearer {token}"})


async def press(page, name, **where):
    """A button that leads to a new page, and that page."""
    await page.get_by_role("button", name=name, **where).click()
    await page.wait_for_load_state()


@DESK_AND_PHONE
@BOTH
async def test_from_the_first_start_to_a_paired_browser_a_token_and_out(house, scripts):
    page = await (await house.context(java_script_enabled=scripts)).new_page()
    await page.goto("/account")
    assert page.url == f"{house.url}/sign-in?next=/account"

    await page.goto(f"/first?token={await first_owner(house.database)}")
    await page.get_by_label("E-mail address").fill("Alice@Example.com")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await press(page, "Make my account")
    assert page.url == f"{house.url}/"
    assert await page.get_by_role("heading", name="What to do next").is_visible()

    await page.get_by_role("link", name="Get the extension").click()
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Download for Chrome").click()
    assert (
        _manifest(Path(await (await download.value).path()).read_bytes())["name"] == "Everystall (practice)"
    )
    await page.get_by_role("link", name="I have it: pair").click()
    await press(page, "Pair a browser")
    code = await page.locator("#code").inner_text()
    assert await page.locator("#server").inner_text() == house.url
    async with httpx.AsyncClient(base_url=house.url) as extension:
        looked = (await extension.post("/api/pairings/look", json={"code": code.lower()})).json()
        assert (looked["account"], looked["server"]) == ("alice@example.com", house.url)
        if scripts:
            await page.get_by_text("The code was typed in.", exact=True).wait_for()
            assert not await page.locator("#code").is_visible()
        body = {"ticket": looked["ticket"], "name": "Chrome on the desk"}
        assert (await extension.post("/api/pairings/accept", json=body)).status_code == 200
    if not scripts:
        await page.goto("/account")
    await page.locator("b", has_text="Chrome on the desk").wait_for()  # with scripts, by itself
    if scripts:
        await page.get_by_text("Paired.", exact=True).wait_for()
        assert not await page.locator("#code").is_visible()

    await page.goto("/account")
    await page.get_by_text("Make a token", exact=True).click()
    await page.get_by_label("Name", exact=True).fill("Nightly upload")
    await press(page, "Make the token")
    token = await page.locator("#token").inner_text()
    async with api(house, token) as client:
        assert (await client.get("/api/account")).json()["email"] == "alice@example.com"
    await page.goto("/account")
    assert token not in await page.content()

    await page.get_by_role("button", name="Revoke").click()
    if scripts:
        assert await page.get_by_role("dialog").get_by_text("Revoke this token?").is_visible()
        await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await page.get_by_text("The token is revoked.").wait_for()
    async with api(house, token) as client:
        assert (await client.get("/api/account")).status_code == 401

    await page.get_by_role("main").get_by_role("button", name="Sign out").first.click()
    await page.get_by_text("You are signed out.").wait_for()
    await page.goto("/account")
    assert page.url == f"{house.url}/sign-in?next=/account"
    await page.get_by_label("E-mail address").fill("alice@example.com")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await press(page, "Sign in", exact=True)
    assert page.url == f"{house.url}/account"


@DESK_AND_PHONE
@BOTH
@pytest.mark.extended
async def test_an_account_is_named_paused_asked_for_and_disconnected(house, scripts):
    alice = await house.person("alice")
    await furnish(house, alice)
    page = await house.signed_in("alice", java_script_enabled=scripts)
    await page.goto("/connections")
    closet = page.locator("article", has_text="alices_closet")
    await closet.get_by_text("Name, pace and defaults").click()
    await closet.get_by_label("Your name for it").fill("Dresses")
    await closet.get_by_label("Whether Poshmark may offer").select_option("Yes")
    await closet.get_by_label("The lowest price that Smart Sell").fill("$12")
    await closet.get_by_role("button", name="Save").click()
    await page.get_by_text("Saved.", exact=True).wait_for()
    (row,) = await house.rows("SELECT label, defaults FROM connections WHERE account_name = 'alices_closet'")
    assert row == {"label": "Dresses", "defaults": {"smart_sell": True, "smart_sell_minimum": 1200}}

    closet = page.locator("article", has_text="Dresses")
    await closet.get_by_role("button", name="Pause").click()
    await page.get_by_text("Paused.", exact=True).wait_for()
    await closet.get_by_role("button", name="Go on").click()
    await page.get_by_text("Going on.", exact=True).wait_for()
    await closet.get_by_role("button", name="Ask for a new capture").click()
    await page.get_by_text("Asked for a new capture.").wait_for()
    assert await closet.get_by_text("Waiting for your browser").is_visible()

    robot = page.locator("article", has_text="vintage")
    await robot.get_by_role("button", name="I did it, go on").click()
    await page.get_by_text("Going on.", exact=True).wait_for()
    (row,) = await house.rows("SELECT needs_you FROM connections WHERE account_name = 'vintage'")
    assert row["needs_you"] is None

    await closet.get_by_text("Disconnect", exact=False).first.click()
    await closet.get_by_role("button", name="Disconnect Poshmark").click()
    await page.get_by_text("Disconnected.", exact=True).wait_for()
    assert await house.rows("SELECT 1 FROM connections WHERE label = 'Dresses'") == []
    kept = await house.rows("SELECT marketplace FROM user_marketplace_sessions ORDER BY marketplace")
    assert [row["marketplace"] for row in kept] == ["ebay", "mercari", "poshmark"]


@pytest.mark.longer
async def test_an_account_with_live_listings_is_disconnected_only_by_who_says_yes(house):
    alice = await house.person("alice")
    await furnish(house, alice)
    await house.rows(
        "WITH l AS (INSERT INTO listings (user_id, title) VALUES (:id, 'Shirt') RETURNING id) "
        "INSERT INTO publications "
        "(user_id, listing_id, connection_id, marketplace, wanted_revision, put, state) "
        "SELECT :id, l.id, c.id, c.marketplace, 1, 'live', 'live' FROM l, connections c "
        "WHERE c.marketplace = 'ebay'",
        id=alice,
    )
    page = await house.signed_in("alice", java_script_enabled=False)
    await page.goto("/connections")
    account = page.locator("article", has_text="alice-sells")
    await account.get_by_text("Disconnect").first.click()
    assert await account.get_by_text("1 listing is live there").is_visible()
    await account.get_by_label("I look after 1 live listing myself").check()
    await account.get_by_role("button", name="Disconnect eBay").click()
    await page.get_by_text("Disconnected.", exact=True).wait_for()
    account = page.locator("article", has_text="alice-sells")
    assert await account.get_by_text("Disconnected", exact=True).is_visible()
    assert await account.get_by_role("button", name="Pause").count() == 0


@pytest.mark.longer
async def test_a_wrong_field_says_what_is_wrong_keeps_what_was_typed_and_has_the_focus(house):
    await furnish(house, await house.person("alice"))
    page = await house.signed_in("alice")
    await page.goto("/connections")
    closet = page.locator("article", has_text="alices_closet")
    await closet.get_by_text("Name, pace and defaults").click()
    await closet.get_by_label("Your name for it").fill("Dresses")
    await closet.get_by_label("The lowest price that Smart Sell").fill("a lot")
    await closet.get_by_role("button", name="Save").click()
    await page.get_by_text("Write an amount in dollars").wait_for()
    wrong = closet.get_by_label("The lowest price that Smart Sell")
    assert await wrong.input_value() == "a lot"
    assert await wrong.evaluate("field => field === document.activeElement")
    assert await closet.get_by_label("Your name for it").input_value() == "Dresses"
    assert await house.rows("SELECT 1 FROM connections WHERE label IS NOT NULL") == []


async def test_signing_in_with_the_wrong_password_keeps_the_address_and_the_way_on(house):
    await house.person("alice")
    page = await (await house.context()).new_page()
    await page.goto("/sign-in?next=/connections")
    await page.get_by_label("E-mail address").fill("alice@example.com")
    await page.get_by_label("Password", exact=True).fill("something else")
    await press(page, "Sign in", exact=True)
    assert await page.get_by_text("Address and password do not belong together.").is_visible()
    field = page.get_by_label("Password", exact=True)
    assert await field.evaluate("field => field === document.activeElement")
    await field.fill(PASSWORD)
    await press(page, "Sign in", exact=True)
    assert page.url == f"{house.url}/connections"


@pytest.mark.longer
async def test_the_password_is_changed_and_the_other_browser_is_out(house):
    await house.person("alice")
    page, other = await house.signed_in("alice"), await house.signed_in("alice")
    await page.goto("/account")
    await page.get_by_text("Change password").first.click()
    await page.get_by_label("Password now", exact=True).fill("something else")
    await page.get_by_label("New password", exact=True).fill("a new and longer one")
    await press(page, "Change password")
    assert await page.get_by_text("That is not the password that you have now.").is_visible()
    await page.get_by_label("Password now", exact=True).fill(PASSWORD)
    await page.get_by_label("New password", exact=True).fill("a new and longer one")
    await press(page, "Change password")
    assert await page.get_by_text("Your password is changed.").is_visible()
    await other.goto("/account")
    assert "/sign-in" in other.url
    await sign_in(other, "alice", "a new and longer one")
    assert other.url == f"{house.url}/"


@pytest.mark.longer
async def test_an_invitation_makes_an_account_of_its_own_that_sees_nothing_of_the_owners(house):
    await furnish(house, await house.person("alice", "owner"))
    page = await house.signed_in("alice")
    await page.goto("/account")
    await page.get_by_text("Invite somebody").click()
    await page.get_by_label("E-mail address", exact=True).fill("bob@example.com")
    await press(page, "Make the link")
    link = await page.locator("#link").inner_text()

    bobs = await (await house.context()).new_page()
    await bobs.goto(link)
    assert await bobs.get_by_text("alice@example.com invites you").is_visible()
    await bobs.get_by_label("Password", exact=True).fill(PASSWORD)
    await press(bobs, "Make my account")
    for path in ("/", "/connections", "/account"):
        await bobs.goto(path)
        seen = await bobs.content()
        for alices in ("alices_closet", "vintage", "alice-sells", "Nightly upload", "dora@", "used 3 times"):
            assert alices not in seen, path
    assert await bobs.get_by_text("Invite somebody").count() == 0
    await bobs.goto(link)
    assert await bobs.get_by_role("heading", name="This link does not work any more").is_visible()
    assert await bobs.get_by_role("link", name="Sign in").is_visible()


@pytest.mark.longer
async def test_the_account_is_deleted_by_address_and_password_and_backups_are_spoken_of(house):
    await furnish(house, await house.person("alice", "owner"))
    page = await house.signed_in("alice")
    await page.goto("/account")
    await page.get_by_text("Delete my account").click()
    await page.get_by_label("Your e-mail address, to be sure").fill("bob@example.com")
    await page.get_by_role("textbox", name="Password", exact=True).fill(PASSWORD)
    await press(page, "Delete everything of mine")
    assert await page.get_by_text("That is not this account's address.").is_visible()
    await page.get_by_label("Your e-mail address, to be sure").fill("alice@example.com")
    await page.get_by_role("textbox", name="Password", exact=True).fill(PASSWORD)
    await press(page, "Delete everything of mine")
    assert await page.get_by_role("heading", name="Your account is deleted").is_visible()
    assert await page.get_by_text("Backups hold it until").is_visible()
    assert await house.rows("SELECT 1 FROM users") == []
    await page.goto("/account")
    assert "/sign-in" in page.url


@pytest.mark.longer
async def test_an_open_page_keeps_itself_up_to_date_and_what_is_being_typed(house):
    await furnish(house, await house.person("alice"))
    page = await house.signed_in("alice")
    await page.goto("/connections")
    closet = page.locator("article", has_text="alices_closet")
    await closet.get_by_text("Name, pace and defaults").click()
    await closet.get_by_label("Your name for it").fill("half a na")
    await house.rows(
        'UPDATE connections SET needs_you = \'{"reason": "challenge", "message": "A code by mail."}\' '
        "WHERE account_name = 'alices_closet'"
    )
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await closet.get_by_text("A code by mail.").wait_for()
    assert await closet.get_by_label("Your name for it").input_value() == "half a na"
    assert "Needs you" in await page.locator("#said").inner_text()


@DESK_AND_PHONE
@pytest.mark.longer
async def test_today_says_which_listings_wait_and_what_for(house):
    await furnish(house, await house.person("alice"))
    page = await house.signed_in("alice")
    asked = page.get_by_role("region", name="2 things wait for you")  # the other is Mercari's sign-in
    assert "Linen shirt on Poshmark: Poshmark asks for a code." in await asked.inner_text()
    await asked.get_by_role("link", name="Linen shirt").click()
    await page.locator("article.ask:focus").get_by_text("1 listing waits for it").wait_for()
    await house.person("bob")
    bobs = await house.signed_in("bob")
    assert await bobs.get_by_text("for you").count() == 0
    assert "Linen shirt" not in await bobs.content()


@pytest.mark.longer
async def test_the_first_account_that_comes_in_is_seen_by_the_page_that_told_how(house):
    alice = await house.person("alice")
    page = await house.signed_in("alice")
    await page.goto("/connections")
    await page.get_by_role("heading", name="Connect your first account").wait_for()
    await furnish(house, alice)
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await page.get_by_role("heading", name="Connect another account").wait_for()
    assert await page.get_by_role("heading", name="alices_closet").is_visible()


@pytest.mark.longer
async def test_the_extension_is_for_who_is_signed_in_and_for_the_marketplaces_that_are_here(house):
    await house.person("alice")
    page = await house.signed_in("alice")
    await page.goto("/extension")
    assert await page.get_by_text("This Everystall works on practice marketplaces.").is_visible()
    assert (await page.request.get("/extension/everystall-chrome.zip")).status == 404
    made = await page.request.get("/extension/everystall-chrome-practice.zip")
    with ZipFile(io.BytesIO(await made.body())) as files:
        assert b"http://mercari.localhost:1" in files.read("lib/marketplaces.js")
    for name, url in (("poshmark", "poshmark.com"), ("mercari", "www.mercari.com"), ("ebay", "www.ebay.com")):
        object.__setattr__(house.settings, f"{name}_url", f"https://{url}")
    await page.reload()
    assert await page.get_by_text("This Everystall works on practice marketplaces.").count() == 0
    for store in ("chrome", "firefox"):
        made = await page.request.get(f"/extension/everystall-{store}.zip")
        hosts = _manifest(await made.body())["optional_host_permissions"]
        assert "*://*.poshmark.com/*" in hosts
        assert not [host for host in hosts if "localhost" in host]
    for other in ("everystall-opera.zip", "everystall-chrome-practice.zip"):
        assert (await page.request.get(f"/extension/{other}")).status == 404
    async with httpx.AsyncClient(base_url=house.url) as stranger:
        for path in ("/extension", "/extension/everystall-chrome.zip"):
            assert (await stranger.get(path)).status_code == 303


def _manifest(archive):
    with ZipFile(io.BytesIO(archive)) as files:
        return json.loads(files.read("manifest.json"))


@pytest.mark.longer
async def test_a_page_that_was_signed_out_elsewhere_leads_to_the_door(house):
    await house.person("alice")
    page = await house.signed_in("alice")
    await house.rows("DELETE FROM api_tokens")
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await page.wait_for_url("**/sign-in?next=/")


@BOTH
async def test_light_and_dark_are_the_readers_own(house, scripts):
    page = await (await house.context(color_scheme="light", java_script_enabled=scripts)).new_page()
    await page.goto("/sign-in")
    await press(page, "Dark")
    root = page.locator("html")
    await page.locator("html[data-theme=dark]").wait_for()
    await page.reload()
    assert await root.get_attribute("data-theme") == "dark"
    await press(page, "Auto")
    await page.locator("html:not([data-theme])").wait_for()
    await page.reload()
    assert await root.get_attribute("data-theme") is None


@pytest.mark.longer
async def test_an_address_without_https_says_so_on_every_page(house):
    await house.person("alice")
    object.__setattr__(house.settings, "public_url", "http://192.168.0.7:8720")
    page = await (await house.context()).new_page()
    await page.goto("/sign-in")  # before a password is typed
    assert await page.get_by_text("This connection is not encrypted.").is_visible()
    page = await house.signed_in("alice")
    for path in ("/", "/connections", "/account"):
        await page.goto(path)
        assert page.url == house.url + ROOT + path
        assert await page.get_by_text("This connection is not encrypted.").is_visible()
    assert await page.get_by_text("No browser can be paired over plain http.").is_visible()
    assert await page.get_by_role("button", name="Pair a browser").count() == 0
