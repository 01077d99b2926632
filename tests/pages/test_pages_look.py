"""Each page, light and dark, on a desk and on a phone: nothing on the console, nothing sideways, nothing that
axe-core calls serious."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from sqlalchemy import text

from everystall.backup.making import make
from everystall.backup.shelf import Shelf, State
from everystall.errors import Misconfigured
from everystall.switch import Switch
from everystall.vault.keyring import Keyring
from everystall.web.invitations import first_owner
from tests.pages.conftest import PASSWORD, furnish

#: The first in CI (`make test-longer`), all with `make e2e-all`.
LOOKS = [
    pytest.param("dark", 390, id="dark-phone"),
    pytest.param("light", 1440, id="light-desk", marks=pytest.mark.extended),
    pytest.param("dark", 1440, id="dark-desk", marks=pytest.mark.extended),
    pytest.param("light", 390, id="light-phone", marks=pytest.mark.extended),
]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
pytestmark = pytest.mark.browser


def look(scheme, width):
    return {
        "color_scheme": scheme,
        "viewport": {"width": width, "height": 844 if width < 500 else 900},
        "has_touch": width < 500,
        "timezone_id": "America/Los_Angeles",
        "locale": "en-US",
        "reduced_motion": "reduce",
    }


async def passes(page, name, heading=None):
    """Raises AssertionError with what is wrong; leaves a picture where EVERYSTALL_TEST_SHOTS says."""
    await page.wait_for_load_state("networkidle")
    if folder := os.environ.get("EVERYSTALL_TEST_SHOTS"):
        scheme = await page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'")
        width = page.viewport_size["width"]
        await page.screenshot(path=Path(folder) / f"{name}-{width}-{scheme}.png", full_page=True)
    said = await page.locator("h1").inner_text()
    assert said == heading if heading else said != "Something went wrong", f"{name}: {said}"
    sideways = await page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert sideways[0] <= sideways[1], f"{name} scrolls sideways: {sideways}"
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE_SCRIPT)
    # to hand over what is in order as well takes a quarter as long as to look
    violations = await page.evaluate(
        "options => axe.run(options).then(found => found.violations)",
        {"runOnly": RULES, "resultTypes": ["violations"]},
    )
    wrong = [
        f"{one['id']}: {one['help']} ({[node['target'] for node in one['nodes']][:4]})" for one in violations
    ]
    assert not wrong, f"{name}: {wrong}"


@pytest.mark.longer
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_the_pages_of_who_is_not_signed_in(house, scheme, width):
    token = await first_owner(house.database)
    Shelf(house.settings).look_after()
    page = await (await house.context(**look(scheme, width))).new_page()
    await page.goto(f"/first?token={token}")
    await passes(page, "first")
    await page.get_by_label("E-mail address").fill("alice@example.com")
    await page.get_by_label("Password", exact=True).fill("alice@example.com")
    await page.get_by_role("button", name="Make my account").click()
    await passes(page, "first-refused")
    await page.get_by_text("Restore from a backup").click()
    await passes(page, "first-restore")
    await page.goto("/sign-in?next=/connections")
    await passes(page, "sign-in")
    await page.get_by_label("E-mail address").fill("alice@example.com")
    await page.get_by_label("Password", exact=True).fill("not the password")
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await passes(page, "sign-in-refused")
    await page.goto("/nothing-here")
    await passes(page, "not-found")
    await page.goto("/api/docs")
    await page.locator("details").nth(3).locator("summary").click()
    await passes(page, "reference-signed-out")


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.longer
async def test_the_pages_of_a_newcomer(house, scheme, width):
    await house.person("alice", "owner")
    page = await house.signed_in("alice", **look(scheme, width))
    await passes(page, "today-new")
    for path in ("/connections", "/account", "/extension"):
        await page.goto(path)
        await passes(page, f"{path[1:]}-new")


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.longer
async def test_the_pages_of_a_busy_seller(house, scheme, width):
    await furnish(house, await house.person("alice", "owner"))
    page = await house.signed_in("alice", **look(scheme, width))
    await passes(page, "today")
    await page.goto("/connections")
    await passes(page, "connections")
    for opened in await page.locator(".account").first.locator("summary").all():
        await opened.click()
    await passes(page, "connections-open")
    await page.goto("/account")
    await passes(page, "account")
    await page.get_by_role("button", name="Unpair").click()
    await passes(page, "account-confirm")
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Pair a browser").click()
    await passes(page, "account-code")
    await page.get_by_text("Make a token", exact=True).click()
    await page.get_by_label("Name", exact=True).fill("Nightly upload")
    await page.get_by_role("button", name="Make the token").click()
    await page.get_by_text("Invite somebody").click()
    await page.get_by_text("Delete my account").click()
    await passes(page, "account-token")
    await page.goto("/api/docs")
    await page.locator("details").nth(5).locator("summary").click()
    await passes(page, "reference")


@pytest.mark.extended
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_the_pages_of_backups(house, scheme, width):
    await furnish(house, await house.person("alice", "owner"))
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/account/backup")
    await passes(page, "backup-by-hand")
    shelf, keyring = Shelf(house.settings), Keyring.load(house.settings)
    for kind, passphrase in (("night", None), ("before", None), ("asked", "four stalls in the rain")):
        shelf.make()
        settings = house.settings.model_copy(update={"pbkdf2_iterations": 100_000})
        await asyncio.to_thread(make, settings, keyring, shelf.new(kind), passphrase=passphrase)
    shelf.look_after()
    shelf.tell(State("backup", "runs", 812, 2310))
    await page.goto("/account/backup")
    await passes(page, "backup-runs")
    shelf.tell(State("backup", "failed", message="There is not enough room.", action="Make room."))
    await page.reload()
    await page.get_by_text("Restore one of these").click()
    await page.get_by_text("Restore a file").click()
    await passes(page, "backup-restore")
    await house.rows("UPDATE users SET restored_to = now() - interval '9 hours', paused_at = now()")
    await page.goto("/")
    await passes(page, "today-restored")


@pytest.mark.longer
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_the_pages_of_who_practises(house, scheme, width):
    await house.person("alice", "owner")
    bob = await house.person("bob")
    page = await house.signed_in("alice", **look(scheme, width))
    switch = Switch(house.settings.everystall_home)
    switch.look()
    for path, name in (("/", "today"), ("/settings", "settings")):
        await page.goto(path)
        await passes(page, f"practice-{name}-back")
    switch.ask()
    await page.goto("/practice")
    await passes(page, "practice-going-back")
    switch.drop()
    for name in ("poshmark", "mercari", "ebay"):
        object.__setattr__(house.settings, f"{name}_url", f"https://{name}.com")
    for path, name in (("/", "today"), ("/settings", "settings")):
        await page.goto(path)
        await passes(page, f"practice-{name}-switch")
    await page.goto("/")
    await page.get_by_role("button", name="Try it on the practice marketplaces").press("Enter")
    await page.get_by_role("heading", name="Starting the practice marketplaces…").wait_for()
    await passes(page, "practice-starting")
    switch.fail(Misconfigured("Port 8730 on 127.0.0.1 is taken.", action="Stop what listens there."))
    await page.get_by_text("Port 8730 on 127.0.0.1 is taken.").wait_for()  # by itself
    await passes(page, "practice-today-failed")
    await furnish(house, bob)
    await page.goto("/settings#practice")
    await passes(page, "practice-settings-command")


@pytest.mark.extended
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_the_pages_of_who_comes_and_goes(house, scheme, width):
    await furnish(house, await house.person("alice", "owner"))
    object.__setattr__(house.settings, "public_url", "http://192.168.0.7:8720")
    page = await house.signed_in("alice", **look(scheme, width))
    await passes(page, "not-encrypted")
    object.__setattr__(house.settings, "public_url", house.url)
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/account")
    await page.get_by_text("Invite somebody").click()
    await page.get_by_label("E-mail address", exact=True).fill("bob@example.com")
    await page.get_by_role("button", name="Make the link").click()
    await passes(page, "invite")
    bobs = await (await house.context(**look(scheme, width))).new_page()
    await bobs.goto(await page.locator("#link").inner_text())
    await passes(bobs, "invitation", "You are invited")
    await page.get_by_text("Delete my account").click()
    await page.get_by_label("Your e-mail address, to be sure").fill("alice@example.com")
    await page.get_by_role("textbox", name="Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Delete everything of mine").click()
    if await page.get_by_role("dialog").is_visible():
        await passes(page, "farewell-sure")
        await page.get_by_role("dialog").get_by_role("button").last.click()
    await page.get_by_role("heading", name="Your account is deleted").wait_for()
    await passes(page, "farewell", "Your account is deleted")


@pytest.mark.extended
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_the_pages_of_what_goes_wrong(house, scheme, width):
    page = await (await house.context(**look(scheme, width))).new_page()
    await house.rows("ALTER FUNCTION everystall.look_at_invitation(bytea) RENAME TO away")
    await page.goto("/first?token=abc")
    await passes(page, "error-500", "Something went wrong")
    for _ in range(25):
        await page.request.post("/sign-in", form={"email": "a"}, headers={"Origin": house.url})
    await page.goto("/sign-in")
    await page.get_by_label("E-mail address").fill("a@example.com")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await passes(page, "error-429", "Too many requests")
    (row,) = await house.rows("SELECT current_database() AS name")
    async with house.admin.as_app() as session:
        await session.execute(text(f'REVOKE CONNECT ON DATABASE "{row["name"]}" FROM PUBLIC'))
    await house.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await page.goto("/first?token=abc")
    await passes(page, "error-503", "The database does not answer")
    house.complaints[:] = [one for one in house.complaints if "status of 50" not in one]
