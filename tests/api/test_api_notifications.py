"""Notifications over the API: what was told, the ways, what goes where; and nothing for Bob."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from everystall.notify import messages
from everystall.web.limits import LETTER, LETTERS_TO
from everystall.web.notifications import mailbox_of
from tests.api.test_api_limits import spend


async def happens(site, seller, type="sale.detected", **data):
    said = {"marketplace": "ebay", "browserProfileId": "bp_ebay_1", "listingId": "x", "title": "A shirt"}
    async with site.database.as_user(seller.user_id) as session:
        return await messages.record(session, seller.user_id, type, {**said, **data, "listingId": None})


async def test_what_was_told_is_listed_and_read_by_its_seller_alone(site, alice, bob):
    first = await happens(site, alice)
    second = await happens(site, alice, "publication.needs_you", needsYou={"reason": "x", "message": "Size?"})
    answer = (await alice.get("/api/notifications?limit=1")).json()
    assert (answer["unread"], answer["nextCursor"]) == (2, str(second))
    (one,) = answer["notifications"]
    assert (one["title"], one["text"], one["subject"]) == ("eBay needs you", "A shirt: Size?", "needs_you")
    older = (await alice.get(f"/api/notifications?cursor={answer['nextCursor']}")).json()
    assert [one["id"] for one in older["notifications"]] == [first]
    assert (await bob.get("/api/notifications")).json()["notifications"] == []
    assert (await bob.post("/api/notifications/read", {"id": first})).status_code == 404
    assert (await bob.post("/api/notifications/read", {})).status_code == 200
    assert (await alice.get("/api/notifications")).json()["unread"] == 2
    await alice.post("/api/notifications/read", {"id": first})
    assert (await alice.get("/api/notifications")).json()["unread"] == 1
    await alice.post("/api/notifications/read", {})
    assert (await alice.get("/api/notifications")).json()["unread"] == 0


async def test_rules_are_kept_as_they_were_given(alice, bob):
    before = (await alice.get("/api/notifications/rules")).json()
    assert before["email"] is None
    assert "sold_twice" in before["subjects"]
    rules = {
        "email": ["sold"], "emailPace": "hourly", "quiet": {"begins": "22:00", "ends": "07:30"},
        "timeZone": "Europe/Berlin", "urgentPasses": False, "digestHour": 18,
    }  # fmt: skip
    kept = (await alice.client.put("/api/notifications/rules", json=rules)).json()
    assert {name: kept[name] for name in rules} == rules
    assert (await alice.get("/api/notifications/rules")).json() == kept
    assert (await bob.get("/api/notifications/rules")).json() == before


@pytest.mark.parametrize(
    "wrong",
    [{"email": ["weather"]}, {"emailPace": "yearly"}, {"digestHour": 24}, {"timeZone": "Mars/Olympus"},
     {"quiet": {"begins": "22:00", "ends": "22:00"}}, {"quiet": {"begins": "24:00", "ends": "07:00"}}],
)  # fmt: skip
async def test_rules_that_cannot_be_are_refused(alice, wrong):
    answer = await alice.client.put("/api/notifications/rules", json=wrong)
    assert answer.status_code == 422
    assert answer.json()["error"]


async def test_a_service_is_kept_sealed_and_tested_and_removed(site, alice, bob):
    url = "json://example.com/opensesame"
    for wrong in ({"kind": "service"}, {"kind": "service", "url": "gopher://x"},
                  {"kind": "service", "url": "json://127.0.0.1/x"},
                  {"kind": "email", "address": "alice@example.com"}):  # fmt: skip
        answer = await alice.post("/api/notifications/channels", wrong)
        assert answer.status_code in (400, 422), answer.text
    made = await alice.post("/api/notifications/channels", {"kind": "service", "url": url})
    assert made.status_code == 201, made.text
    assert made.json()["label"] == "JSON · example.com"
    assert (
        await alice.post("/api/notifications/channels", {"kind": "service", "url": url})
    ).status_code == 422
    listed = await alice.get("/api/notifications/channels")
    assert len(listed.json()["channels"]) == 1
    assert "opensesame" not in made.text + listed.text
    path = f"/api/notifications/channels/{made.json()['id']}"
    assert (await bob.get("/api/notifications/channels")).json()["channels"] == []
    assert (await bob.client.delete(path)).status_code == 404
    assert (await bob.post(f"{path}/test")).status_code == 404
    assert (await alice.post(f"{path}/test")).status_code == 202
    assert (await alice.post(f"{path}/test")).status_code == 409
    assert (await alice.client.delete(path)).status_code == 200
    assert await site.rows("SELECT 1 AS one FROM notice_deliveries") == []


CHANNELS = "/api/notifications/channels"


def may_send(site):
    """As the operator who has a mail server."""
    object.__setattr__(site.settings, "smtp_url", SecretStr("smtp+plain://127.0.0.1:1?from=a@example.com"))


async def test_mails_that_ask_are_counted_for_who_has_them_sent_by_a_program_too(site, alice, bob):
    may_send(site)
    asked = [
        (await alice.post(CHANNELS, {"kind": "email", "address": f"a{n}@example.com"})).status_code
        for n in range(LETTER.amount + 1)
    ]
    assert asked == [201] * LETTER.amount + [429]
    assert len(await site.rows("SELECT 1 AS one FROM channels")) == LETTER.amount
    other = await bob.post(CHANNELS, {"kind": "email", "address": "b@example.com"})
    assert other.status_code == 201


async def test_a_mailbox_is_filled_from_no_number_of_accounts(site, alice, bob):
    may_send(site)
    sam = await site.person("sam")
    made = await alice.post(CHANNELS, {"kind": "email", "address": "their.name@Example.com"})
    assert made.status_code == 201
    await spend(site, LETTERS_TO, mailbox_of("theirname@example.com"))
    for again in ("their.name@example.com", "Their.Name+shop@example.com"):
        refused = await bob.post(CHANNELS, {"kind": "email", "address": again})
        assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
        assert "mailbox" in refused.json()["message"]
    form = {"csrf": sam.csrf, "address": "theirname@example.com"}
    assert (await sam.client.post("/notifications/addresses", data=form)).status_code == 429
    assert len(await site.rows("SELECT 1 AS one FROM channels")) == 1
    assert len(await site.rows("SELECT 1 AS one FROM notice_deliveries")) == 1
    assert (await bob.post(CHANNELS, {"kind": "email", "address": "other@example.com"})).status_code == 201


async def test_an_event_without_words_hides_none_of_the_others(site, bob):
    """Of another version, or broken."""
    sam = await site.person("sam")
    fine = await happens(site, sam)
    for type, data in (("moon.rises", "{}"), ("sale.double", "{}"), ("sale.detected", '{"price": 1}'),
                       ("publication.needs_you", '{"needsYou": "a word"}')):  # fmt: skip
        await site.rows(
            "WITH e AS (INSERT INTO events (user_id, type, data) VALUES (:u, :t, CAST(:d AS jsonb)) "
            "RETURNING id) INSERT INTO notices (user_id, event_id) SELECT :u, id FROM e",
            u=sam.user_id, t=type, d=data,
        )  # fmt: skip
    listed = await sam.get("/api/notifications")
    assert listed.status_code == 200, listed.text
    told = listed.json()["notifications"]
    assert [one["title"] for one in told] == ["Something happened"] * 4 + ["Sold on eBay"]
    page = await sam.client.get("/notifications")
    assert page.text.count("This Everystall has no words for what happened here.") == 4
    assert f"/notifications/{fine}" in page.text
    opened = await sam.client.get(f"/notifications/{told[0]['id']}")
    assert (opened.status_code, opened.headers["location"]) == (303, "/notifications")
    assert (await bob.get("/api/notifications")).json()["notifications"] == []
