"""Sale mails over the API: an address with a secret in it, for one seller."""

from __future__ import annotations

import pytest

from tests.api.conftest import ADDRESS, live_listing
from tests.test_sale_mails import MAILS, mail


async def address(seller):
    answer = await seller.post("/api/hints/mail")
    assert answer.status_code == 200, answer.text
    return answer.json()["url"].removeprefix(ADDRESS)


async def due(site):
    rows = await site.rows("SELECT public_id FROM connections WHERE next_check_at <= now()")
    return {row["public_id"] for row in rows}


async def not_due(site):
    await site.rows("UPDATE connections SET next_check_at = now() + interval '1 hour'")


async def test_a_mail_that_is_passed_on_wakes_the_account(site, alice, bob):
    _, profiles = await live_listing(site, alice, "poshmark", "mercari")
    await bob.connect("mercari", "bob")
    await not_due(site)
    await site.forget_wakes()
    where, stranger = await address(alice), site.client()
    head = {"content-type": "message/rfc822"}
    answer = await stranger.post(where, content=mail(*MAILS["mercari"]), headers=head)
    assert answer.json() == {"success": True, "message": "Thank you."}
    assert await due(site) == {profiles["mercari"]}
    assert [row["queue_name"] for row in await site.wakes()] == ["visits"]
    shown = (await alice.get("/api/hints/mail")).json()
    assert shown["saleAt"] is not None
    assert (await bob.get("/api/hints/mail")).json() == {"madeAt": None, "usedAt": None, "saleAt": None}


async def test_the_json_of_an_inbound_mail_service_is_the_same_mail(site, alice):
    _, profiles = await live_listing(site, alice, "poshmark")
    await not_due(site)
    where = await address(alice)
    sender, subject = MAILS["poshmark"]
    body = {"From": sender, "Subject": subject, "TextBody": "Hooray", "HtmlBody": "<b>Hooray</b>",
            "MessageID": "a-1", "Headers": [{"Name": "Message-ID", "Value": "<1@example.com>"}],
            "Attachments": []}  # fmt: skip
    assert (await site.client().post(where, json=body)).status_code == 200
    assert await due(site) == {profiles["poshmark"]}
    await not_due(site)
    await site.client().post(where, content=mail(sender, subject))  # the same one again
    assert await due(site) == set()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"content": mail("friend@example.com", "Lunch?")}, 200),
        ({"content": b""}, 200),
        ({"json": {"From": "x"}}, 200),
        ({"json": []}, 400),
        ({"json": {"Subject": "x"}}, 400),
        ({"json": {"From": "a@b.c", "Headers": [{"Name": "Message-ID", "Value": "a\r\nb"}]}}, 200),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ({"content": b"x" * 1_100_000}, 413),
    ],
)
async def test_what_is_no_sale_mail_is_left_and_what_is_no_mail_refused(site, alice, body, status):
    await alice.connect("mercari")
    await not_due(site)
    answer = await site.client().post(await address(alice), **body)
    assert answer.status_code == status, answer.text
    assert await due(site) == set()
    assert (await alice.get("/api/hints/mail")).json()["saleAt"] is None


async def test_an_address_is_one_sellers_and_dies_with_the_next(site, alice, bob):
    first = await address(alice)
    assert (await site.rows("SELECT 1 FROM mail_addresses WHERE encode(token_hash, 'escape') = :t",
                            t=first.rpartition("/")[2])) == []  # fmt: skip
    second = await address(alice)
    raw, stranger = mail(*MAILS["mercari"]), site.client()
    assert (await stranger.post(first, content=raw)).status_code == 404
    assert (await stranger.post(second + "x", content=raw)).status_code == 404
    assert (await stranger.post(second, content=raw)).status_code == 200
    assert (await bob.client.delete("/api/hints/mail")).status_code == 200
    assert (await stranger.post(second, content=raw)).status_code == 200
    assert (await alice.client.delete("/api/hints/mail")).status_code == 200
    assert (await stranger.post(second, content=raw)).status_code == 404


async def test_a_flood_of_mails_is_held_short(site, alice):
    where = await address(alice)
    told = [(await site.client().post(where, content=b"")).status_code for _ in range(61)]
    assert told == [200] * 60 + [429]


INBOX = {"host": "IMAP.example.com", "username": "alice@example.com", "password": "made for this app"}


async def test_a_mailbox_is_kept_with_its_password_sealed_and_never_shown(site, alice, bob):
    put = await alice.client.put("/api/hints/mailbox", json=INBOX)
    assert put.json() == {"mailbox": {
        "host": "imap.example.com", "port": 993, "username": "alice@example.com", "checkedAt": None,
        "failing": None,
    }}  # fmt: skip
    assert (await alice.get("/api/hints/mailbox")).json() == put.json()
    assert (await bob.get("/api/hints/mailbox")).json() == {"mailbox": None}
    (row,) = await site.rows("SELECT to_jsonb(m)::text AS row FROM mailboxes m")
    assert INBOX["password"].encode().hex() not in row["row"]
    assert (await alice.client.put("/api/hints/mailbox", json=INBOX)).status_code == 200
    await bob.client.delete("/api/hints/mailbox")
    assert (await alice.get("/api/hints/mailbox")).json() == put.json()
    await alice.client.delete("/api/hints/mailbox")
    assert (await alice.get("/api/hints/mailbox")).json() == {"mailbox": None}


@pytest.mark.longer
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"host": "127.0.0.1"}, 400), ({"host": "10.0.0.1"}, 400),
        ({"host": "169.254.169.254"}, 400), ({"port": 25}, 400), ({"port": 143}, 400),
        ({"host": "imap.example.com/x"}, 422), ({"host": "a@b"}, 422), ({"password": ""}, 422),
        ({"username": ""}, 422), ({"port": "993"}, 422),
    ],
)  # fmt: skip
async def test_a_mailbox_in_our_own_network_or_on_another_port_is_refused(alice, change, status):
    answer = await alice.client.put("/api/hints/mailbox", json=INBOX | change)
    assert answer.status_code == status, answer.text
    assert INBOX["password"] not in answer.text
