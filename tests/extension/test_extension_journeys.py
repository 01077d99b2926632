"""The extension in a real Chromium, against a real server and the practice marketplaces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from playwright.async_api import Error as PlaywrightError

from everystall.demo.own_browser import connect, own_browser, row_of, until
from everystall.demo.stage import DEFAULTS, Stage
from everystall.inventory.sample import takers
from everystall.marketplaces import MARKETPLACES
from everystall.processes import free_port
from tests.extension.conftest import Clock, Own, Paired, Way, eventually

pytestmark = [pytest.mark.browser, pytest.mark.journey]


#: Notes which hosts the popup asks the seller for, and asks.
ASKED = """() => {
    const request = chrome.permissions.request.bind(chrome.permissions);
    globalThis.asked = [];
    chrome.permissions.request = (what) => (asked.push(what.origins), request(what));
}"""


@pytest.mark.longer
async def test_a_seller_pairs_connects_three_and_posts(own: Own, new_seller: Callable[[], str]):
    for name in MARKETPLACES:
        await own.sign_in(name)
    assert own.call("GET", "/api/connections")["connections"] == []  # paired is not connected
    await own.popup.evaluate(ASKED)
    for place, name in enumerate(MARKETPLACES, 1):
        await connect(own.popup, name)
        await until(own.popup, name, "connected")
        connections = own.call("GET", "/api/connections")["connections"]
        assert {one["marketplace"] for one in connections} == set(list(MARKETPLACES)[:place])
        asked = await own.popup.evaluate("asked")
        assert asked[place - 1 :] == [[f"*://{name}.localhost/*"]]  # one at a time
        profile = own.connection(name)["browserProfileId"]
        if name in DEFAULTS:
            own.call("PATCH", f"/api/connections/{profile}", json={"defaults": DEFAULTS[name]})
    (paired,) = own.call("GET", "/api/extensions")["extensions"]
    assert paired["name"] == "Chrome on Linux"
    job = own.stage.post(own.stage.new_listing(), takers())["jobId"]
    await eventually(lambda: own.call("GET", f"/api/jobs/{job}")["status"] != "running", seconds=120)
    results = own.call("GET", f"/api/jobs/{job}")["automationResults"]
    assert [each["state"] for each in results] == ["live"] * 3, results

    new_seller()  # somebody else gets nothing of it
    assert own.stage.call("GET", "/api/connections")["connections"] == []
    assert own.stage.call("GET", "/api/extensions")["extensions"] == []


async def _connected_where_tokens_rotate(own: Own, *, grace_seconds: float) -> Any:
    """Mercari, whose token is another with each page; the tab in which the seller signed in."""
    own.stage.control(
        "POST", "sessions", marketplace="mercari", account=own.name, rotate=True, grace_seconds=grace_seconds
    )
    tab = await own.sign_in("mercari")
    await connect(own.popup, "mercari")
    await until(own.popup, "mercari", "connected")
    return tab


@pytest.mark.extended
async def test_the_servers_copy_follows_the_sellers_browser(own: Own):
    tab = await _connected_where_tokens_rotate(own, grace_seconds=60)

    before = own.captures("mercari")
    await tab.reload()  # the site hands out another token
    await until(own.popup, "mercari", "stale", timeout=30_000)
    assert own.captures("mercari") <= before  # once a minute is enough
    await own.a_minute_passes("mercari")
    await (await Clock.of(own.browser)).ring()
    await eventually(lambda: own.captures("mercari") > before, what="a new capture after a rotation")

    before = own.captures("mercari")
    own.call("POST", "/api/sessions/refresh", json={"marketplace": "mercari"})
    await eventually(lambda: own.captures("mercari") > before, what="the capture that was asked for")
    assert own.connection("mercari")["refreshAskedAt"] is None

    await tab.goto(f"{own.stage.site('mercari')}/logout")
    await until(own.popup, "mercari", "needs-sign-in", timeout=60_000)  # as is promised
    await eventually(lambda: own.connection("mercari")["status"] == "expired", seconds=60, what="the log-out")

    before = own.captures("mercari")
    await tab.close()
    await own.sign_in("mercari")
    await until(own.popup, "mercari", "connected")
    assert own.captures("mercari") > before
    assert own.connection("mercari")["status"] == "connected"


@pytest.mark.extended
async def test_where_a_visit_renewed_the_sign_in_the_seller_is_told_within_a_minute(own: Own):
    """This site takes the sign-in from both browsers once a token that was renewed is used again."""
    tab = await _connected_where_tokens_rotate(own, grace_seconds=0.2)
    job = own.stage.post(own.stage.new_listing(), ["mercari"])["jobId"]
    await eventually(lambda: own.call("GET", f"/api/jobs/{job}")["status"] == "done", seconds=60)

    await tab.goto(f"{own.stage.site('mercari')}/mypage/listings/active/")
    assert "/login" in tab.url
    assert any(cookie["name"] == "_mwus" for cookie in await own.browser.context.cookies())  # they stay
    await until(own.popup, "mercari", "stale", timeout=60_000)
    assert own.connection("mercari")["status"] == "expired"

    await tab.close()
    await own.sign_in("mercari")
    await until(own.popup, "mercari", "connected")
    assert own.connection("mercari")["status"] == "connected"


@pytest.mark.extended
async def test_a_capture_says_what_the_browser_says_and_keeps_the_storage_when_no_tab_is_open(
    paired: Paired, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TZ", "Asia/Calcutta")  # where the seller's browser is, and nothing else here
    async with paired() as own:
        tab = await own.sign_in("mercari")
        await tab.evaluate("sessionStorage.setItem('step', '2')")
        device = await tab.evaluate("localStorage.getItem('_s_did')")
        await connect(own.popup, "mercari")
        await until(own.popup, "mercari", "connected")
        first = await own.handed_over("mercari")
        assert (first["languages"], first["timeZone"]) == (["en-US", "en"], "Asia/Calcutta")
        assert (first["localStorage"]["_s_did"], first["sessionStorage"]["step"]) == (device, "2")

        await tab.close()
        before = own.captures("mercari")
        await row_of(own.popup, "mercari").get_by_role("button", name="Sync Mercari now").click()
        await eventually(lambda: own.captures("mercari") > before)
        kept = await own.handed_over("mercari")
        assert (kept["localStorage"]["_s_did"], kept["sessionStorage"]["step"]) == (device, "2")
        assert kept["languages"] == ["en-US", "en"]

        # nor does a tab that does not answer hold anything up
        stuck, dialogs = await own.browser.context.new_page(), []
        stuck.on("dialog", lambda dialog: dialogs.append(dialog))
        await stuck.goto(own.stage.site("mercari"))
        await stuck.evaluate("setTimeout(() => alert('Still here?'))")
        before = own.captures("mercari")
        await own.popup.bring_to_front()
        await row_of(own.popup, "mercari").get_by_role("button", name="Sync Mercari now").click()
        await eventually(lambda: own.captures("mercari") > before, seconds=20)
        assert (await own.handed_over("mercari"))["localStorage"]["_s_did"] == device
        await dialogs[0].dismiss()


@pytest.mark.extended
async def test_it_goes_on_after_its_worker_was_stopped(own: Own):
    await own.connect("poshmark")
    await own.a_minute_passes("poshmark")
    clock = await Clock.of(own.browser)
    await own.popup.close()

    tab = own.browser.context.pages[0]
    await stop_worker(own, tab)
    before = own.captures("poshmark")
    await tab.goto(f"{own.stage.site('poshmark')}/logout")
    await own.sign_in("poshmark")  # the cookies wake it
    await eventually(lambda: own.captures("poshmark") > before, what="a capture after a sign-in")

    await stop_worker(own, tab)
    before = own.captures("poshmark")
    own.call("POST", "/api/sessions/refresh", json={"marketplace": "poshmark"})
    await clock.ring()  # and so does the alarm
    await eventually(lambda: own.captures("poshmark") > before, what="the capture that was asked for")


async def stop_worker(own: Own, tab: Any) -> None:
    """As the browser does after 30 seconds of rest; by its own tools."""
    devtools = await own.browser.context.new_cdp_session(tab)

    async def running() -> list[str]:
        targets = (await devtools.send("Target.getTargets"))["targetInfos"]
        return [str(one["targetId"]) for one in targets if one["type"] == "service_worker"]

    assert await running()
    async with asyncio.timeout(60):
        while left := await running():
            for worker in left:
                with suppress(PlaywrightError):  # it went meanwhile
                    await devtools.send("Target.closeTarget", {"targetId": worker})
    await devtools.detach()


@pytest.mark.extended
async def test_it_goes_on_after_the_browser_was_started_again(paired: Paired, tmp_path: Path):
    async with paired() as own:
        await own.connect("poshmark")
    before = own.captures("poshmark")
    own.call("POST", "/api/sessions/refresh", json={"marketplace": "poshmark"})
    async with own_browser(own.stage, tmp_path) as browser:  # nobody opens the popup, and no tab of it
        await eventually(
            lambda: own.captures("poshmark") > before, seconds=60, what="the capture that was asked for"
        )
        await until(await browser.popup(), "poshmark", "connected")


@pytest.mark.extended
async def test_what_happens_while_the_server_is_away_is_told_when_it_is_back(paired: Paired, way: Way):
    async with paired(way.url) as own:
        profile = await own.connect("ebay")
        await own.connect("poshmark")
        before = own.captures("ebay")
        await own.a_minute_passes("ebay")  # else it would not even try before
        await way.cut()
        await own.browser.context.clear_cookies(domain="ebay.localhost")
        await own.sign_in("ebay")
        await until(own.popup, "ebay", "stale", timeout=30_000)
        await row_of(own.popup, "ebay").get_by_text("cannot be reached").wait_for()
        await row_of(own.popup, "poshmark").get_by_role("button", name="Disconnect Poshmark").click()
        await until(own.popup, "poshmark", "off")
        kept = json.dumps(await own.kept())
        for cookie in await own.browser.context.cookies():
            assert len(cookie["value"]) < 8 or cookie["value"] not in kept, (
                "what waits is a fact, not a secret"
            )
        assert own.captures("ebay") <= before  # a visit may have replaced it by what the site renewed
        assert own.connection("poshmark")["status"] == "connected"

        await way.mend()
        await (await Clock.of(own.browser)).ring()
        await until(own.popup, "ebay", "connected", timeout=30_000)
        assert own.captures("ebay") > before
        assert own.connection("ebay")["browserProfileId"] == profile
        await eventually(lambda: own.connection("poshmark")["status"] == "missing")


@pytest.mark.extended
async def test_with_a_page_of_the_dashboard_open_a_request_acts_at_once(own: Own):
    await own.connect("poshmark")
    clock = await Clock.of(own.browser)
    await own.popup.close()
    await stop_worker(own, own.browser.context.pages[0])  # with the question that it asked for the popup

    async def asked_for(seconds: float = 20, alarm: bool = False) -> None:
        before = own.captures("poshmark")
        own.call("POST", "/api/sessions/refresh", json={"marketplace": "poshmark"})
        if alarm:
            await clock.ring()
        await eventually(lambda: own.captures("poshmark") > before, seconds=seconds)
        await clock.stop()

    await asked_for(alarm=True)
    with pytest.raises(AssertionError, match="did not happen"):
        await asked_for(seconds=3)  # nobody looks: the next alarm would ask
    page = await own.dashboard()
    await asked_for(alarm=True)
    for _ in range(2):
        await asked_for()
    await page.close()


@pytest.mark.extended
async def test_the_seller_chooses_among_several_accounts(own: Own):
    """eBay's sign-in does not say whose it is."""
    with psycopg.connect(own.database) as connection:
        for place, label in enumerate(("Books", "Cards")):
            connection.execute(
                """INSERT INTO connections (user_id, public_id, marketplace, label, base_url)
                   SELECT id, %s, 'ebay', %s, %s FROM users WHERE email = %s""",
                [f"bp_ebay_{own.name}{place}", label, own.stage.site("ebay"), f"{own.name}@example.com"],
            )
    await own.sign_in("ebay")
    await connect(own.popup, "ebay")
    await until(own.popup, "ebay", "waiting")
    row = row_of(own.popup, "ebay")
    await row.get_by_text("Which account?").wait_for()
    assert await row.locator(".which button").all_inner_texts() == ["Books", "Cards"]
    assert own.sealed("ebay") == 0
    await row.get_by_role("button", name="Cards").click()
    await until(own.popup, "ebay", "connected")
    found = {one["label"]: one["status"] for one in own.call("GET", "/api/connections")["connections"]}
    assert found == {"Books": "expired", "Cards": "connected"}  # which is to say, none there
    kept = (await own.kept())["connected:ebay"]
    assert (kept["profile"], kept["which"]) == (f"bp_ebay_{own.name}1", None)
    await row.get_by_role("button", name="Sync eBay now").click()  # and is not asked again
    await eventually(lambda: own.captures("ebay") > 1)
    await until(own.popup, "ebay", "connected")


@pytest.mark.extended
async def test_unpairing_takes_everything_back_and_revokes_the_token(own: Own):
    for name in ("poshmark", "ebay"):
        await own.connect(name)
    token = (await own.kept())["pairing"]["token"]

    def answered() -> int:
        return httpx.get(
            f"{own.stage.url}/api/sessions/wanted",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        ).status_code

    assert answered() == 200
    await own.popup.get_by_role("button", name="Unpair").click()
    ask = own.popup.locator("#unpair-ask")
    await ask.get_by_role("button", name="Cancel").click()
    assert answered() == 200
    await own.popup.get_by_role("button", name="Unpair").click()
    await ask.get_by_role("button", name="Unpair").click()
    await own.popup.get_by_role("heading", name="Pair this browser").wait_for()
    await own.popup.get_by_text("your server has forgotten what it handed over").wait_for()
    assert answered() == 401
    assert own.call("GET", "/api/extensions")["extensions"] == []
    for name in ("poshmark", "ebay"):
        assert own.connection(name)["status"] == "missing"
        assert own.sealed(name) == 0
    assert set(await own.kept()) == {"notice"}
    assert (await own.popup.evaluate("chrome.permissions.getAll()"))["origins"] == []


@pytest.mark.extended
async def test_disconnecting_ends_it_on_both_sides(own: Own):
    for name in ("poshmark", "mercari"):
        await own.connect(name)
    allowed = (await own.popup.evaluate("chrome.permissions.getAll()"))["origins"]
    assert any("poshmark" in origin for origin in allowed)

    await row_of(own.popup, "poshmark").get_by_role("button", name="Disconnect Poshmark").click()
    await until(own.popup, "poshmark", "off")
    await eventually(lambda: own.connection("poshmark")["status"] == "missing")
    assert own.sealed("poshmark") == 0
    assert own.sealed("mercari") > 0
    allowed = (await own.popup.evaluate("chrome.permissions.getAll()"))["origins"]
    assert not any("poshmark" in origin for origin in allowed)
    assert "connected:poshmark" not in await own.kept()

    # taken away on the server: it is noticed, and not brought back behind the seller's back
    profile = own.connection("mercari")["browserProfileId"]
    own.call("POST", "/api/sessions/forget", json={"browserProfileId": profile})
    await until(own.popup, "mercari", "off", timeout=60_000)
    await own.popup.get_by_text("Mercari was disconnected on your server.").wait_for()
    await own.browser.context.clear_cookies(domain="mercari.localhost")
    await own.sign_in("mercari")
    await asyncio.sleep(3)  # longer than a sign-in rests before it is handed over
    assert own.sealed("mercari") == 0


@pytest.mark.extended
async def test_a_browser_whose_token_was_revoked_keeps_nothing(own: Own):
    await own.connect("ebay")
    (paired,) = own.call("GET", "/api/extensions")["extensions"]
    own.call("DELETE", f"/api/extensions/{paired['id']}")
    await row_of(own.popup, "ebay").get_by_role("button", name="Sync eBay now").click()
    await own.popup.get_by_text("This browser is no longer paired").wait_for()
    await own.popup.get_by_role("heading", name="Pair this browser").wait_for()
    assert set(await own.kept()) == {"notice"}
    assert (await own.popup.evaluate("chrome.permissions.getAll()"))["origins"] == []


@pytest.mark.longer
async def test_a_hostile_page_and_a_hostile_extension_get_nothing(paired: Paired, tmp_path: Path):
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    manifest = {"manifest_version": 3, "name": "Hostile", "version": "1", "permissions": ["storage"]}
    (hostile / "manifest.json").write_text(json.dumps(manifest))
    (hostile / "page.html").write_text("<!doctype html><title>hostile</title>")
    async with paired(more_extensions=[hostile]) as own:
        browser, stage = own.browser, own.stage
        await own.connect("poshmark")
        kept = await own.kept()
        orders: list[dict[str, Any]] = [
            {"type": kind, "marketplace": "poshmark"} for kind in ("connect", "sync", "disconnect", "unpair")
        ]

        page = await browser.context.new_page()
        await page.goto(f"{stage.site('poshmark')}/feed")  # even one that the extension may read
        assert await page.evaluate("typeof chrome.runtime?.sendMessage") == "undefined"
        popup_url = f"chrome-extension://{browser.extension_id}/popup/popup.html"
        assert (
            await page.evaluate("(url) => fetch(url).then(() => 'read', () => 'refused')", popup_url)
            == "refused"
        )
        await page.evaluate(
            "(url) => { const f = document.createElement('iframe'); f.src = url; document.body.append(f); }",
            popup_url,
        )
        async with asyncio.timeout(60):  # the browser puts a page of its own there
            while not [frame for frame in page.frames if frame.url.startswith("chrome-error:")]:
                await asyncio.sleep(0.05)
        assert not [frame for frame in page.frames if frame.url.startswith("chrome-extension:")]

        await page.goto(f"chrome-extension://{await browser.id_of(hostile)}/page.html")
        for order in orders:
            said = await page.evaluate(
                "([id, order]) => chrome.runtime.sendMessage(id, order).then(() => 'taken', String)",
                [browser.extension_id, order],
            )
            assert "Receiving end does not exist" in said
        said = await page.evaluate(
            """(id) => new Promise((done) => chrome.runtime.connect(id).onDisconnect.addListener(
                () => done(chrome.runtime.lastError?.message)))""",
            browser.extension_id,
        )
        assert "Receiving end does not exist" in said

        # our own popup may ask for what there is, and for nothing else
        for kind in ("constructor", "toString", "tick", "keep", ""):
            answer = await own.popup.evaluate("(type) => chrome.runtime.sendMessage({ type })", kind)
            assert answer == {"error": "refused"}, kind
        # and another page of ours for nothing at all
        other = await browser.context.new_page()
        await other.goto(f"chrome-extension://{browser.extension_id}/manifest.json")
        answer = await other.evaluate("(order) => chrome.runtime.sendMessage(order)", orders[3])
        assert answer == {"error": "refused"}

        # what it keeps of the sign-in may change by itself: the tab above had the site renew its cookies
        left = await own.kept()
        assert left["pairing"] == kept["pairing"]
        assert left.keys() >= {name for name in kept if name.startswith("connected:")}
        assert own.connection("poshmark")["status"] == "connected"


@pytest.mark.longer
async def test_pairing_needs_only_the_keyboard_and_refuses_what_is_unsafe(
    stage: Stage, new_seller: Callable[[], str], tmp_path: Path
):
    name = new_seller()
    code = stage.call("POST", "/api/pairings")["code"]
    async with own_browser(stage, tmp_path) as browser:
        popup = await browser.popup()
        keyboard = popup.keyboard
        await popup.locator("#server:focus").wait_for()  # the first field has the focus
        await keyboard.type("http://192.0.2.7:8720")
        await keyboard.press("Tab")
        await keyboard.type(code.lower())
        await keyboard.press("Enter")
        await popup.get_by_role("alert").get_by_text("Over plain http").wait_for()

        await keyboard.press("ControlOrMeta+A")
        await keyboard.type(f"127.0.0.1:{free_port()}")
        await keyboard.press("Enter")
        await popup.get_by_role("alert").get_by_text("Nothing answers as an Everystall").wait_for()
        assert await popup.get_by_label("Address of your server").get_attribute("aria-invalid") == "true"

        await keyboard.press("ControlOrMeta+A")
        await keyboard.type(f"{stage.url}/account#extensions")  # as it stands in the address bar
        await keyboard.press("Tab")
        await keyboard.type("ABCD-2345")
        await keyboard.press("Enter")
        await popup.get_by_role("alert").get_by_text("code").wait_for()
        await keyboard.press("ControlOrMeta+A")
        await keyboard.type(f"{code[:4]}-{code[4:]}".lower())
        await keyboard.press("Enter")
        await popup.get_by_role("heading", name="Is this yours?").wait_for()
        await popup.get_by_text(f"{name}@example.com").wait_for()
        await popup.locator("#confirm-server").get_by_text(stage.url).wait_for()
        assert stage.call("GET", "/api/extensions")["extensions"] == []  # shown, not accepted
        await keyboard.press("Tab")
        await keyboard.press("Enter")
        await popup.get_by_role("button", name="Connect Poshmark").wait_for()
        assert len(stage.call("GET", "/api/extensions")["extensions"]) == 1
        assert stage.call("GET", "/api/connections")["connections"] == []
