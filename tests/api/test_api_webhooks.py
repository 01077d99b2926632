"""The seller's webhooks over the API: a secret is seen once, the log says what was sent, Bob gets nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks import WebhookVerificationError

from everystall.notify import messages
from everystall.notify.send import Mail
from everystall.settings import Settings
from everystall.web.webhooks import MOST
from tests.api.conftest import Seller, Site
from tests.receiver import Receiver


@pytest.fixture
async def mail(site: Site) -> AsyncIterator[Mail]:
    """The worker's, where the own network is allowed; so is it to the web."""
    object.__setattr__(site.settings, "webhook_allow_private", True)
    mail = Mail(site.database, site.vault, site.settings)
    yield mail
    await mail.close()


async def _made(seller: Seller, url: str = "https://example.com/hook", **more: Any) -> dict[str, Any]:
    answer = await seller.post("/api/webhooks", {"url": url, **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def _log(seller: Seller, id: str) -> list[dict[str, Any]]:
    return list((await seller.get(f"/api/webhooks/{id}/deliveries")).json()["deliveries"])


async def test_a_secret_is_shown_when_it_is_made_and_never_again(site: Site, alice: Seller):
    made = await _made(alice, label="my till", events=["job.finished", "session.expired"])
    assert made["secret"].startswith("whsec_")
    assert len(made["secret"]) > 40
    shown = (await alice.get(f"/api/webhooks/{made['id']}")).json()
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    listed = await alice.get("/api/webhooks")
    assert listed.json()["webhooks"] == [shown]
    assert set(listed.json()["eventsKnown"]) == set(messages.TYPES) - {"webhook.test"}
    rows = await site.rows("SELECT * FROM webhook_endpoints")
    assert made["secret"][6:] not in listed.text + str(rows)


async def test_url_label_and_events_are_changed(alice: Seller):
    made = await _made(alice)
    changed = await alice.client.patch(
        f"/api/webhooks/{made['id']}", json={"url": "https://example.com/2", "events": ["job.finished"]}
    )
    assert changed.status_code == 200
    assert changed.json()["url"] == "https://example.com/2"
    assert changed.json()["events"] == ["job.finished"]
    cleared = await alice.client.patch(f"/api/webhooks/{made['id']}", json={"label": "x", "events": []})
    assert (cleared.json()["events"], cleared.json()["label"]) == ([], "x")


NOT_SENT_TO = [
    ("http://example.com/", "by https only"),
    ("https://127.0.0.1/", "not send to 127.0.0.1:"),
    ("https://169.254.169.254/", "to 169.254.169.254:"),
    ("https://[::1]/", "to ::1:"),
    ("https://u:p@example.com/", "before the @"),
    ("https://example.com:8443/", "ports 80 and 443 only"),
    ("ftp://example.com", "by https only"),
    ("nonsense", "not an address as https://"),
    ("https://foo_bar.example.com/", "foo_bar.example.com is not the name of a host"),
]


async def test_an_address_that_we_do_not_send_to_is_refused_with_a_reason(
    alice: Seller, subtests: pytest.Subtests
):
    made = await _made(alice)
    for url, said in NOT_SENT_TO:
        with subtests.test(url):
            for answer in (
                await alice.post("/api/webhooks", {"url": url}),
                await alice.client.patch(f"/api/webhooks/{made['id']}", json={"url": url}),
            ):
                assert answer.status_code == 422
                assert answer.json()["error"] == "webhook_refused"
                assert said in answer.json()["message"]
            kept = (await alice.get(f"/api/webhooks/{made['id']}")).json()["url"]
            assert kept == "https://example.com/hook"


@pytest.mark.parametrize(
    "body",
    [{}, {"url": ""}, {"url": "https://example.com", "events": ["listing.sneezed"]},
     {"url": "https://example.com", "events": ["webhook.test"]}, {"url": 7},
     {"url": "https://example.com", "secret": "whsec_mine"}, {"url": "https://example.com/\x00"}],
)  # fmt: skip
async def test_a_malformed_webhook_is_refused(alice: Seller, body: Any):
    assert (await alice.post("/api/webhooks", body)).status_code == 422


async def test_there_is_an_end_to_how_many(alice: Seller, bob: Seller):
    for _ in range(MOST):
        await _made(alice)
    answer = await alice.post("/api/webhooks", {"url": "https://example.com"})
    assert (answer.status_code, answer.json()["error"]) == (422, "webhook_refused")
    await _made(bob)


async def test_a_test_message_arrives_signed_and_is_in_the_log(alice: Seller, mail: Mail):
    async with Receiver() as receiver:
        made = await _made(alice, receiver.url(), events=["job.finished"])
        other = await _made(alice, receiver.url("/other"))
        asked = await alice.post(f"/api/webhooks/{made['id']}/test")
        assert asked.status_code == 202
        assert (asked.json()["status"], asked.json()["type"]) == ("waiting", "webhook.test")
        await mail.deliver()
    (got,) = receiver.got
    assert got.verified_by(made["secret"])["data"] == {"webhookId": made["id"]}
    (entry,) = await _log(alice, made["id"])
    assert (entry["status"], entry["lastStatus"], entry["messageId"]) == ("delivered", 204, got.id)
    assert await _log(alice, other["id"]) == []


async def test_after_a_rotation_both_secrets_verify(site: Site, alice: Seller, bob: Seller, mail: Mail):
    """A receiver that knows the oldest one goes on as long as it was promised, whatever is made meanwhile."""
    async with Receiver() as receiver:
        made = await _made(alice, receiver.url())
        path = f"/api/webhooks/{made['id']}"
        rotated = (await alice.post(f"{path}/rotate")).json()
        assert rotated["secret"] != made["secret"]
        assert rotated["previousSecretUntil"] is not None
        await alice.post(f"{path}/test")
        await mail.deliver()
        assert (await bob.post(f"{path}/rotate")).status_code == 404
        again = (await alice.post(f"{path}/rotate")).json()
        assert again["previousSecretUntil"] == rotated["previousSecretUntil"]
        await alice.post(f"{path}/test")
        await mail.deliver()
        await site.rows("UPDATE webhook_endpoints SET previous_until = now()")
        last = (await alice.post(f"{path}/rotate")).json()
        assert last["previousSecretUntil"] > again["previousSecretUntil"]
        await alice.post(f"{path}/test")
        await mail.deliver()
    first, second, third = receiver.got
    first.verified_by(made["secret"])
    first.verified_by(rotated["secret"])
    second.verified_by(made["secret"])
    second.verified_by(again["secret"])
    third.verified_by(again["secret"])
    third.verified_by(last["secret"])
    for message, gone in ((second, rotated), (third, made)):
        with pytest.raises(WebhookVerificationError):
            message.verified_by(gone["secret"])


@pytest.mark.parametrize("why", ["failing", "paused"])
async def test_another_address_begins_anew_unless_its_seller_paused_it(
    site: Site, alice: Seller, bob: Seller, why: str
):
    made = await _made(alice)
    path = f"/api/webhooks/{made['id']}"
    await site.rows(
        "UPDATE webhook_endpoints SET disabled_at = now(), disabled_why = :why, failures = 9, "
        "failing_since = now() - interval '2 days'", why=why
    )  # fmt: skip
    same = (await alice.client.patch(path, json={"url": made["url"], "label": "Shop"})).json()
    assert (same["disabledWhy"], same["failingSince"] is None) == (why, False)
    other = {"url": "https://example.com/other"}
    assert (await bob.client.patch(path, json=other)).status_code == 404
    changed = (await alice.client.patch(path, json=other)).json()
    assert changed["disabledWhy"] == (None if why == "failing" else "paused")
    assert (changed["disabledAt"] is None, changed["failingSince"]) == (why == "failing", None)
    assert await site.rows("SELECT failures FROM webhook_endpoints") == [{"failures": 0}]


async def test_a_message_is_sent_again_under_the_same_id(site: Site, alice: Seller, mail: Mail):
    async with Receiver() as receiver:
        made = await _made(alice, receiver.url())
        delivery = (await alice.post(f"/api/webhooks/{made['id']}/test")).json()
        await mail.deliver()
        await site.rows("UPDATE webhook_deliveries SET claimed_until = now() + interval '1 minute'")
        busy = await alice.post(f"/api/webhooks/{made['id']}/deliveries/{delivery['id']}/redeliver")
        assert (busy.status_code, busy.json()["error"]) == (409, "conflict")  # it is being sent
        await site.rows("UPDATE webhook_deliveries SET claimed_until = now() - interval '1 second'")
        again = await alice.post(f"/api/webhooks/{made['id']}/deliveries/{delivery['id']}/redeliver")
        assert (again.status_code, again.json()["status"]) == (202, "waiting")
        await mail.deliver()
    first, second = receiver.got
    assert (first.id, first.body) == (second.id, second.body)
    (entry,) = await _log(alice, made["id"])
    assert entry["status"] == "delivered"


async def test_a_disabled_webhook_says_so_until_it_is_enabled(site: Site, alice: Seller, mail: Mail):
    async with Receiver() as receiver:
        made = await _made(alice, receiver.url())
        delivery = (await alice.post(f"/api/webhooks/{made['id']}/test")).json()
        await site.rows(
            "UPDATE webhook_endpoints SET disabled_at = now(), disabled_why = 'failing', failures = 9, "
            "failing_since = now() - interval '2 days'"
        )
        await mail.deliver()
        assert (await _log(alice, made["id"]))[0]["lastError"] == "disabled"
        for path in ("test", f"deliveries/{delivery['id']}/redeliver"):
            answer = await alice.post(f"/api/webhooks/{made['id']}/{path}")
            assert (answer.status_code, answer.json()["error"]) == (409, "webhook_disabled")
        enabled = (await alice.post(f"/api/webhooks/{made['id']}/enable")).json()
        assert (enabled["disabledAt"], enabled["disabledWhy"], enabled["failingSince"]) == (None, None, None)
        await alice.post(f"/api/webhooks/{made['id']}/deliveries/{delivery['id']}/redeliver")
        await mail.deliver()
    assert len(receiver.got) == 1


async def test_the_log_is_read_in_pages_newest_first(site: Site, alice: Seller):
    made = await _made(alice)
    sent = [(await alice.post(f"/api/webhooks/{made['id']}/test")).json()["id"] for _ in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await alice.get(f"/api/webhooks/{made['id']}/deliveries?limit=3{cursor}")).json()
        seen += [entry["id"] for entry in page["deliveries"]]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert seen == sent[::-1]
    for broken in ("x", "MjAyNg"):
        answer = await alice.get(f"/api/webhooks/{made['id']}/deliveries?cursor={broken}")
        assert answer.status_code == 400


async def test_a_deleted_webhook_is_sent_nothing_more(alice: Seller, mail: Mail):
    async with Receiver() as receiver:
        made = await _made(alice, receiver.url())
        await alice.post(f"/api/webhooks/{made['id']}/test")
        gone = await alice.client.delete(f"/api/webhooks/{made['id']}")
        assert gone.status_code == 200
        await mail.deliver()
    assert receiver.got == []
    assert (await alice.get(f"/api/webhooks/{made['id']}")).status_code == 404


async def test_bob_gets_nothing_of_alices_and_changes_nothing(site: Site, alice: Seller, bob: Seller):
    made = await _made(alice)
    his = await _made(bob)
    delivery = (await alice.post(f"/api/webhooks/{made['id']}/test")).json()
    tables = ("webhook_endpoints", "webhook_deliveries", "events")
    before = [await site.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables]
    where = f"/api/webhooks/{made['id']}"
    for method, path, body in [
        ("GET", where, None),
        ("PATCH", where, {"url": "https://bob.example.com/"}),
        ("DELETE", where, None),
        ("POST", f"{where}/rotate", None),
        ("POST", f"{where}/enable", None),
        ("POST", f"{where}/test", None),
        ("GET", f"{where}/deliveries", None),
        ("POST", f"{where}/deliveries/{delivery['id']}/redeliver", None),
        ("POST", f"/api/webhooks/{his['id']}/deliveries/{delivery['id']}/redeliver", None),
        ("GET", f"/api/webhooks/{uuid4()}", None),
    ]:
        answer = await bob.client.request(method, path, json=body)
        assert answer.status_code == 404, (method, path)
        assert (await site.client().request(method, path, json=body)).status_code == 401
    assert (await bob.get("/api/webhooks/nonsense")).status_code == 404
    assert [row["id"] for row in (await bob.get("/api/webhooks")).json()["webhooks"]] == [his["id"]]
    assert [await site.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables] == before


async def test_a_token_for_handing_over_sessions_has_no_webhooks(site: Site):
    seller = await site.seller("extension", scopes=("sessions:write",))
    assert (await seller.get("/api/webhooks")).status_code == 403


def test_private_addresses_are_off_unless_the_operator_says_so():
    assert Settings(_env_file=None).webhook_allow_private is False


async def test_a_paused_webhook_is_sent_nothing_until_it_is_enabled(site: Site, alice: Seller, bob: Seller):
    made = await _made(alice)
    where = f"/api/webhooks/{made['id']}"
    assert (await bob.post(f"{where}/pause")).status_code == 404
    paused = (await alice.post(f"{where}/pause")).json()
    assert (paused["disabledAt"] is not None, paused["disabledWhy"]) == (True, "paused")
    assert (await alice.post(f"{where}/test")).status_code == 409
    async with site.database.as_user(alice.user_id) as session:
        await messages.record(session, alice.user_id, "webhook.disabled", {"message": "another one"})
    assert await _log(alice, made["id"]) == []
    assert (await alice.post(f"{where}/enable")).json()["disabledAt"] is None
