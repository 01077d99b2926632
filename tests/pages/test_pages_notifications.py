"""What a seller was told, and where else: the pages, a real browser's service worker, and the bell."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from everystall.notify import channels, messages
from everystall.notify.outgoing import Outgoing
from everystall.notify.push import Vapid
from everystall.notify.send import work_off
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from tests.mail_server import MailServer
from tests.pages.conftest import DESK_AND_PHONE, EVIL, ROOT, sign_in, visiting
from tests.pages.test_pages_look import LOOKS, look, passes
from tests.receiver import Receiver

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
    pytest.mark.filterwarnings("ignore:Session.login_data is deprecated:DeprecationWarning"),
]


async def happens(house, user, event="sale.detected", **data):
    said = {"marketplace": "ebay", "browserProfileId": "bp_ebay_1", "listingId": str(uuid4()),
            "title": "A linen shirt", "left": 0, **data}  # fmt: skip
    async with house.database.as_user(user) as session:
        return await messages.record(session, user, event, said)


async def much_happens(house, user, title="A linen shirt"):
    """One of each kind."""
    asked = {"reason": "field_missing", "message": "Mercari wants to know the size."}
    later = {"marketplace": "mercari", "browserProfileId": "bp_mercari_1"}
    for type, data in (
        ("matching.finished", {"linked": 3, "proposed": 1}),
        ("import.finished", {"status": "done", "created": 41, "known": 2, "marketplace": "poshmark"}),
        ("publication.live", {"marketplace": "poshmark"}),
        (
            "session.expired",
            {"message": "Mercari no longer knows your sign-in. Sign in there again.", **later},
        ),
        ("publication.needs_you", {"needsYou": asked, **later}),
        ("delist.late", {"marketplace": "poshmark"}),
        ("sale.detected", {"price": {"amount": 4800, "currency": "USD"}, "left": 2}),
        ("sale.double", {"earlier": {"marketplace": "ebay"}, "later": later}),
    ):
        await happens(house, user, type, **{"title": title, **data})


def may_send(house, smtp_url):
    """As the operator who has a mail server, and trusts the own network."""
    object.__setattr__(house.settings, "smtp_url", SecretStr(smtp_url))
    object.__setattr__(house.settings, "webhook_allow_private", True)


@asynccontextmanager
async def worker(house):
    vault = Vault(house.database, Keyring.load(house.settings), house.settings)
    outgoing = Outgoing(house.database, vault, house.settings, Vapid.load(house.settings))
    yield outgoing
    await outgoing.close()


@DESK_AND_PHONE
@pytest.mark.longer
async def test_what_happened_stands_there_once_and_is_read_by_opening_it(house):
    alice, bob = await house.person("alice"), await house.person("bob")
    await much_happens(house, alice)
    page = await house.signed_in("alice", java_script_enabled=False)
    bell = page.locator(".bell")
    assert "8" in await bell.inner_text()
    await bell.click()
    rows = page.locator(".notices > li")
    assert await rows.count() == 8
    assert [await rows.nth(place).locator("b").first.inner_text() for place in range(3)] == [
        "Sold twice", "Sold on eBay", "Not gone from Poshmark yet"
    ]  # fmt: skip
    await rows.nth(1).get_by_role("link").click()
    assert page.url.endswith("/sales")
    assert "7" in await bell.inner_text()
    await page.goto("/notifications")
    assert await page.locator(".notices > [data-state=new]").count() == 7
    theirs = await page.locator(".notices a").first.get_attribute("href")
    await rows.first.get_by_role("button", name="Mark as read").click()
    await page.get_by_role("button", name="Mark all as read").click()
    assert await page.locator(".notices > [data-state=new]").count() == 0
    assert (await bell.inner_text()).strip() == "Notifications"
    other = await house.signed_in("bob", java_script_enabled=False)
    assert (await other.request.get(theirs, max_redirects=0)).status == 404
    await other.goto("/notifications")
    assert "Nothing has happened yet" in await other.locator("main").inner_text()
    for number in range(31):
        await happens(house, bob, title=f"Shirt {number}")
    await other.goto("/notifications")
    assert await other.locator(".notices > li").count() == 30
    await other.get_by_role("link", name="Earlier ones").click()
    assert "Shirt 0" in await other.locator(".notices").inner_text()
    assert await other.locator(".notices > li").count() == 1
    for cursor in ("x", "9" * 30, "٣"):
        assert (await other.request.get(f"/notifications?cursor={cursor}")).status == 400


@pytest.mark.longer
async def test_an_address_is_asked_first_and_only_its_own_seller_may_confirm_it(house):
    await house.person("bob")
    alice = await house.person("alice")
    page = await house.signed_in("alice", java_script_enabled=False)
    await page.goto("/notifications/settings")
    assert "This Everystall sends no mails" in await page.locator("#email").inner_text()
    assert await page.locator("#email a[href$='/settings#set-smtp_url']").count() == 0
    await house.rows("UPDATE users SET role = 'owner' WHERE email = 'alice@example.com'")
    await page.goto("/notifications/settings")
    await page.locator("#email").get_by_role("link", name="Set the mail server").click()
    assert await page.locator("#set-smtp_url").count() == 1
    await house.rows("UPDATE users SET role = 'seller' WHERE email = 'alice@example.com'")
    await page.goto("/notifications/settings")
    server = MailServer(password="postmans-secret")
    async with server.running() as url, worker(house) as outgoing:
        may_send(house, url)
        await page.goto("/notifications/settings")
        address = page.get_by_label("E-mail address")
        await address.fill("nobody@nowhere")
        await page.get_by_role("button", name="Add the address").click()
        assert await address.input_value() == "nobody@nowhere"
        assert "not an e-mail address" in await page.locator("#new-address-error").inner_text()
        await address.fill("phone@example.com")
        await page.get_by_role("button", name="Add the address").click()
        assert "Not confirmed" in await page.locator("#email").inner_text()
        await happens(house, alice)
        await work_off(None, outgoing)
        assert [mail["subject"] for mail in server.got] == ["Shall Everystall write to this address?"]
        link = re.search(r"/notifications/confirm\?token=\S+", server.text())[0]
        other = await house.signed_in("bob", java_script_enabled=False)
        assert (await other.request.get(link)).status == 404
        await other.goto("/notifications/settings")
        proof = await other.locator("input[name=csrf]").first.input_value()
        token = link.partition("token=")[2]
        forms = {"csrf": proof, "token": token}
        same = {"Origin": house.url}
        assert (await other.request.post("/notifications/confirm", form=forms, headers=same)).status == 404
        (row,) = await house.rows("SELECT id, confirmed_at FROM channels")
        assert row["confirmed_at"] is None
        for do in ("test", "remove", "again"):
            path = f"/notifications/channels/{row['id']}/{do}"
            assert (await other.request.post(path, form=forms, headers=same)).status == 404
        await page.goto(link)
        await page.get_by_role("button", name="Yes, write to it").click()
        assert "Not confirmed" not in await page.locator("#email").inner_text()
        assert (await page.request.get(link)).status == 404
        await page.locator("#email").get_by_role("button", name="Send a test").click()
        await page.locator("#email").get_by_role("button", name="Send a test").click()
        assert "A test is on its way there" in await page.locator("#email").inner_text()
        await work_off(None, outgoing)
        assert server.got[-1]["subject"] == "Everystall reaches you here"
        await page.goto("/notifications/settings")
        assert "Last sent" in await page.locator("#email").inner_text()
        await page.locator("#email").get_by_role("button", name="Remove").click()
        assert await house.rows("SELECT 1 AS one FROM channels") == []


@pytest.mark.longer
async def test_a_service_is_refused_at_its_field_and_what_is_chosen_is_kept(house):
    await house.person("alice")
    page = await house.signed_in("alice", java_script_enabled=False)
    await page.goto("/notifications/settings")
    await page.get_by_text("Add a service").click()
    await page.get_by_label("URL", exact=True).fill("json://127.0.0.1/opensesame")
    await page.get_by_role("button", name="Add it", exact=True).click()
    assert "do not send to 127.0.0.1" in await page.locator("#service-url-error").inner_text()
    assert await page.get_by_label("URL", exact=True).input_value() == "json://127.0.0.1/opensesame"
    async with Receiver() as receiver, worker(house) as outgoing:
        may_send(house, "smtp+plain://127.0.0.1:1?from=a@example.com")
        await page.get_by_label("URL", exact=True).fill(f"json://127.0.0.1:{receiver.port}/opensesame")
        page.set_default_timeout(60_000)  # a process starts, and looks at it
        await page.get_by_role("button", name="Add it", exact=True).click()
        assert "opensesame" not in await page.content()
        await page.locator("#service").get_by_role("button", name="Send a test").click()
        await work_off(None, outgoing)
        assert [one.path for one in receiver.got] == ["/opensesame"]
    table = page.get_by_role("table", name="What is told where")
    assert await table.get_by_label("Other services: Sold", exact=True).is_checked()
    assert not await table.get_by_label("Push: Live").is_checked()
    await table.get_by_label("Push: Live").check()
    await table.get_by_label("Other services: Sold", exact=True).uncheck()
    await page.get_by_label("E-mail: how soon").select_option("daily")
    await page.get_by_label("Quiet hours", exact=True).check()
    await page.get_by_label("From", exact=True).fill("07:00")
    await page.get_by_label("Until", exact=True).fill("07:00")
    await page.get_by_role("button", name="Save what and when").click()
    assert "when quiet hours begin" in await page.locator("#quiet_from-error").inner_text()
    assert await house.rows("SELECT 1 AS one FROM notice_rules") == []
    await table.get_by_label("Push: Live").check()
    await table.get_by_label("Other services: Sold", exact=True).uncheck()
    await page.get_by_label("E-mail: how soon").select_option("daily")
    await page.get_by_label("From", exact=True).fill("21:30")
    await page.get_by_label("Your time zone").select_option("Europe/Berlin")
    await page.get_by_role("button", name="Save what and when").click()
    assert await table.get_by_label("Push: Live").is_checked()
    assert not await table.get_by_label("Other services: Sold", exact=True).is_checked()
    (rules,) = await house.rows("SELECT * FROM notice_rules")
    assert (rules["quiet_from"], rules["quiet_until"]) == (21 * 60 + 30, 7 * 60)
    assert (rules["email_pace"], rules["time_zone"]) == ("daily", "Europe/Berlin")


async def test_the_bell_of_an_open_page_hears_what_happens(house):
    alice, bob = await house.person("alice"), await house.person("bob")
    page = await house.signed_in("alice")
    await page.goto("/notifications")
    await page.wait_for_timeout(500)
    await happens(house, bob, title="Not hers")
    await happens(house, alice)
    await page.locator(".bell .count", has_text="1").wait_for()
    await page.locator(".notices > li", has_text="A linen shirt").wait_for()
    assert "Not hers" not in await page.content()


@pytest.mark.longer
async def test_a_push_is_shown_and_leads_to_what_it_is_about_and_offline_there_is_a_page(house):
    alice = await house.person("alice")
    event = await happens(house, alice)
    context = await house.context(service_workers="allow")
    await context.grant_permissions(["notifications"], origin=house.url)
    page = await context.new_page()
    await sign_in(page, "alice")
    await page.goto("/notifications/settings")
    await page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    await page.reload()  # what was loaded before the worker was there may be none of its own
    cdp = await context.new_cdp_session(page)
    found = asyncio.get_running_loop().create_future()
    cdp.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda said: found.done() or [found.set_result(one) for one in said["registrations"][:1]],
    )
    await cdp.send("ServiceWorker.enable")
    registration = await asyncio.wait_for(found, 10)
    push = {"origin": house.url, "registrationId": registration["registrationId"]}
    said = {"title": "Sold on eBay", "body": "A shirt", "url": f"{ROOT}/notifications/{event}",
            "page": f"{ROOT}/sales", "tag": f"e{event}"}  # fmt: skip
    for _ in range(2):  # the second takes the first one's place
        await cdp.send("ServiceWorker.deliverPushMessage", {**push, "data": json.dumps(said)})
    shown = await page.evaluate(
        """async () => {
            const worker = await navigator.serviceWorker.ready;
            for (let i = 0; i < 100; i++) {
                const shown = await worker.getNotifications();
                if (shown.length) return shown.map((one) => [one.title, one.body, one.tag]);
                await new Promise((done) => setTimeout(done, 50));
            }
        }"""
    )
    assert shown == [["Sold on eBay", "A shirt", f"e{event}"]]
    (running,) = context.service_workers
    await running.evaluate(
        """() => {  // what a browser does for a hand's tap only
            self.done = [];
            self.clients.openWindow = async (url) => { self.done.push(["opened", url]); };
            WindowClient.prototype.focus = async function () { self.done.push(["focused", this.url]); };
        }"""
    )

    async def tap():
        return await running.evaluate(
            """async () => {
                self.done = [];
                const [notification] = await self.registration.getNotifications();
                self.dispatchEvent(new NotificationEvent("notificationclick", { notification }));
                for (let i = 0; i < 100 && !self.done.length; i++)
                    await new Promise((go) => setTimeout(go, 50));
                return self.done;
            }"""
        )

    # what is open there stays, whatever somebody is writing in it
    await page.get_by_text("Add a service").click()
    await page.get_by_label("URL", exact=True).fill("ntfys://half-wri")
    assert await tap() == [["opened", f"{house.url}/notifications/{event}"]]
    await page.wait_for_timeout(500)
    assert await page.get_by_label("URL", exact=True).input_value() == "ntfys://half-wri"
    # and what shows it already is that window; it is read by the tap
    await page.goto("/sales")
    await cdp.send("ServiceWorker.deliverPushMessage", {**push, "data": json.dumps(said)})
    assert len(await house.rows("SELECT 1 AS one FROM notices WHERE read_at IS NULL")) == 1
    await page.evaluate(
        """async () => {
            const worker = await navigator.serviceWorker.ready;
            while (!(await worker.getNotifications()).length) await new Promise((go) => setTimeout(go, 50));
        }"""
    )
    assert await tap() == [["focused", f"{house.url}/sales"]]
    async with asyncio.timeout(30):
        while await house.rows("SELECT 1 AS one FROM notices WHERE read_at IS NULL"):
            await asyncio.sleep(0.05)
    kept = await running.evaluate(
        """async () => {
            const all = [];
            for (const name of await caches.keys())
                for (const { url } of await (await caches.open(name)).keys()) all.push(new URL(url).pathname);
            return all;
        }"""
    )
    assert sorted(kept) == ["/offline", "/static/everystall.css", "/static/inter-5.3.0-latin.woff2"]
    await context.set_offline(True)
    await page.goto("/inventory")
    assert await page.locator("h1").inner_text() == "No connection to Everystall"
    assert "alice" not in await page.content()
    await context.set_offline(False)
    house.complaints[:] = [one for one in house.complaints if "ERR_INTERNET_DISCONNECTED" not in one]


@pytest.mark.longer
async def test_a_browser_that_subscribes_is_kept_without_what_it_said(house):
    await house.person("alice")
    page = await house.signed_in("alice")
    await page.goto("/notifications/settings")
    assert await page.locator("[data-push-says=unable]").is_visible()  # the tests' browsers have no worker
    key = await page.locator("form[data-push]").get_attribute("data-push")
    assert key == Vapid.load(house.settings).public_key
    proof = await page.locator("input[name=csrf]").first.input_value()
    same = {"Origin": house.url}
    for wrong in ("", "null", "[]", "{", '{"endpoint": "https://a.example", "keys": {}}'):
        answer = await page.request.post(
            "/notifications/browsers", form={"csrf": proof, "subscription": wrong}, headers=same
        )
        assert answer.status == 422, wrong
    keys = {"auth": "c2l4dGVlbiBieXRlcyBvaw", "p256dh": key}
    good = json.dumps({"endpoint": "https://push.example.com/subscription-token", "keys": keys})
    for _ in range(2):  # again, as after a new permission: one is there
        answer = await page.request.post(
            "/notifications/browsers", form={"csrf": proof, "subscription": good}, headers=same
        )
        assert answer.status == 200
    (row,) = await house.rows("SELECT * FROM channels")
    assert row["token_id"] is not None
    await page.goto("/notifications/settings")
    assert "This browser" in await page.locator("#push").inner_text()
    assert "subscription-token" not in await page.content()
    await page.get_by_role("button", name="Sign out").first.click()
    assert await house.rows("SELECT 1 AS one FROM channels") == []


@pytest.mark.longer
async def test_it_can_be_installed(house):
    await house.person("alice")
    async with httpx.AsyncClient(base_url=house.url) as client:
        manifest = (await client.get("/manifest.webmanifest")).json()
        assert manifest["display"] == "standalone"
        for icon in manifest["icons"]:
            answer = await client.get(icon["src"])
            assert answer.headers["content-type"] == "image/png"
            assert "immutable" in answer.headers["cache-control"]
        worker = await client.get("/sw.js")
        assert worker.headers["cache-control"] == "no-cache"
        assert "connect-src 'self'" in worker.headers["content-security-policy"]
        assert (await client.get("/offline")).status_code == 200
    page = await house.signed_in("alice")
    cdp = await page.context.new_cdp_session(page)
    read = await cdp.send("Page.getAppManifest")
    assert read["errors"] == []
    assert read["url"] == f"{house.url}/manifest.webmanifest"
    wrong = await cdp.send("Page.getInstallabilityErrors")
    # a test's browser keeps nothing, as a private window does
    assert [one["errorId"] for one in wrong["installabilityErrors"]] in ([], ["in-incognito"])


@pytest.mark.longer
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_the_looks_of_notifications(house, scheme, width):
    alice = await house.person("alice")
    may_send(house, "smtp+plain://127.0.0.1:1?from=a@example.com")
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/notifications")
    await passes(page, "notifications-none")
    await page.goto("/notifications/settings")
    await passes(page, "notification-settings-new")
    await much_happens(house, alice)
    await much_happens(house, alice, title=EVIL)
    await house.rows("UPDATE notices SET read_at = now() WHERE event_id % 3 = 0")
    vault = Vault(house.database, Keyring.load(house.settings), house.settings)
    async with house.database.as_user(alice) as session:
        await channels.add_address(session, vault, house.settings, alice, "alice@example.com")
        await channels.add_service(session, vault, alice, "ntfys://ntfy.sh/x", None)
        await channels.add_service(session, vault, alice, "tgram://1:a/2", EVIL[:100])
    await house.rows(
        "UPDATE channels SET last_error = 'not_taken', failing_since = now() WHERE label LIKE '%script%'"
    )
    await page.goto("/notifications")
    await passes(page, "notifications")
    await page.goto("/notifications/settings")
    await page.get_by_text("Add a service").click()
    await page.get_by_label("Quiet hours", exact=True).check()
    await page.evaluate("scrollTo(0, 0)")
    await passes(page, "notification-settings")
    await page.goto("/offline")
    await passes(page, "offline", "No connection to Everystall")
    assert await page.evaluate("window.ran") is None


@pytest.mark.longer
async def test_a_webhook_that_is_changed_says_whether_it_is_told_and_which_secrets_sign(house):
    await house.person("alice"), await house.person("bob")
    here, url = "/notifications/webhooks", "https://shop.example.com/hook"
    async with visiting(house, "alice") as page, visiting(house, "bob") as other:
        await page.post(here, url=url)
        (row,) = await house.rows("SELECT id FROM webhook_endpoints")
        one = f"{here}/{row['id']}"
        await house.rows("UPDATE webhook_endpoints SET disabled_at = now(), disabled_why = 'failing'")
        assert "It is off: it is told nothing" in (await page.post(one, url=url, label="Till")).text
        await other.post(one, status=404, url=url + "s")
        assert "What happens from now on is told" in (await page.post(one, url=url + "s")).text
        await page.post(f"{one}/pause")
        assert "It is off: it is told nothing" in (await page.post(one, url=url)).text
        assert "The old one signs for 24 hours more." in await page.get(one)
        await page.post(f"{one}/rotate")
        changed = await page.get(one)
        assert "The last one stops at once; the one before it still signs" in changed
        assert "An earlier one still signs, until" in changed
        await other.get(one, status=404)


@pytest.mark.longer
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_how_the_webhooks_look(house, scheme, width):
    alice = await house.person("alice")
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/notifications/webhooks")
    await passes(page, "webhooks-none")
    await page.get_by_label("Address").fill("https://127.0.0.1/hook")
    await page.get_by_role("button", name="Add it").click()
    assert "We do not send to 127.0.0.1" in await page.locator("#url-error").inner_text()
    await passes(page, "webhooks-refused")
    await page.get_by_label("Address").fill("https://shop.example.com/hooks/everystall")
    await page.get_by_label("Name").fill("The till")
    await page.keyboard.press("Enter")
    await page.get_by_text("Copy this secret now.").wait_for()
    await house.rows(
        "INSERT INTO webhook_endpoints "
        "(user_id, url, dek_version, sealed, disabled_at, disabled_why, events) "
        "VALUES (:id, :url, 1, '', now(), 'failing', '{sale.detected,sale.double}')",
        id=alice, url="https://a-very-long-name-of-a-host.example.com/" + "with-no-end-" * 8,
    )  # fmt: skip
    for status, said, error in (
        ("delivered", 204, None),
        ("failed", 500, "status"),
        ("waiting", None, "timeout"),
    ):
        await page.goto("/notifications/webhooks")
        await page.get_by_role("button", name="Send a test").first.click()
        await page.get_by_text("A test is on its way.").wait_for()
        await house.rows(
            "UPDATE webhook_deliveries SET status = :status, tries = 2, last_status = :said, "
            "last_error = :error WHERE last_error IS NULL AND last_status IS NULL",
            status=status, said=said, error=error,
        )  # fmt: skip
    await page.goto("/notifications/webhooks")
    await page.get_by_text("What was sent").first.click()
    await passes(page, "webhooks")
    await page.get_by_role("link", name="Change The till").click()
    await page.get_by_label("Address").fill("https://127.0.0.1/hook")
    await page.get_by_role("button", name="Save").click()
    assert "We do not send to 127.0.0.1" in await page.locator("#url-error").inner_text()
    await passes(page, "webhook-refused")
    await page.get_by_role("button", name="Make a new secret").click()
    await page.get_by_role("dialog").get_by_role("button", name="Make it").click()
    await page.get_by_text("An earlier one signs too, until 24 hours after it was replaced.").wait_for()
    await passes(page, "webhook-secret")
    await page.goto("/notifications/webhooks")
    delete = page.get_by_role("button", name="Delete").first
    await delete.focus()
    await page.keyboard.press("Enter")
    await page.get_by_role("dialog").get_by_role("button", name="Delete it").click()
    await page.get_by_text("The webhook is deleted.").wait_for()
    await passes(page, "webhooks-deleted")
