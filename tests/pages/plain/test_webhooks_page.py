"""Webhooks on their page: added, tested, paused and deleted, by their own seller only."""

from __future__ import annotations

import re

import pytest

from everystall.inventory.questions import needs_you_count
from tests.pages.conftest import EVIL

PAGE = "/notifications/webhooks"
URL = "https://hooks.example.com/till"


async def added(house, who, **form):
    """Its id."""
    answer = await who.post(PAGE, url=URL, **form)
    assert answer.status_code == 200, answer.text
    (row,) = await house.rows("SELECT id FROM webhook_endpoints WHERE user_id = :id", id=who.id)
    return row["id"]


async def test_a_webhook_is_added_and_its_secret_shown_this_once(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    assert 'href="/notifications/webhooks"' in (await alice.get("/notifications/settings")).text
    assert "No webhook yet." in await alice.text(PAGE)
    answer = await alice.post(PAGE, url=f" {URL} ", label="Till", events=["sale.detected", "sale.double"])
    assert len(re.findall(r"whsec_[\w+/=]{40,}", answer.text)) == 1
    (row,) = await house.rows("SELECT user_id, url, label, events FROM webhook_endpoints")
    assert row == {
        "user_id": alice.id, "url": URL, "label": "Till", "events": ["sale.detected", "sale.double"],
    }  # fmt: skip
    page = await alice.text(PAGE)
    assert "whsec_" not in page
    assert "Told of sale.detected, sale.double" in page
    assert URL not in await bob.text(PAGE)


async def test_what_is_wrong_is_said_beside_its_field(house, reader):
    alice = await reader("alice")
    for form, field, said in (
        ({"url": ""}, "url", "Type the address that is told."),
        ({"url": "http://hooks.example.com/x"}, "url", "We send by https only."),
        ({"url": "https://127.0.0.1/x"}, "url", "We do not send to 127.0.0.1"),
        ({"url": f"{URL}/{'x' * 2000}"}, "url", "The address may have at most 2000 characters."),
        ({"url": URL, "label": "x" * 101}, "label", "The name may have at most 100 characters."),
        ({"url": URL, "label": "a\tb"}, "label", "The name holds a line break or another control character."),
        ({"url": URL, "events": "nonsense"}, None, "There is no such event."),
    ):
        answer = await alice.post(PAGE, **form)
        assert answer.status_code in (400, 422), form
        assert said in answer.text, form
        if field:
            beside = answer.text.partition(f'id="{field}-error"')[2].partition("</p>")[0]
            assert said in beside, form
            assert f'value="{form[field]}"' in answer.text
    assert await house.rows("SELECT 1 FROM webhook_endpoints") == []


@pytest.mark.longer
async def test_it_is_tested_paused_and_switched_on_and_what_was_answered_is_told(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    id = await added(house, alice, label="Till")
    assert await alice.done(f"{PAGE}/{id}/test") == f"{PAGE}?said=webhook-test#webhook-{id}"
    assert "webhook.test" in await alice.text(PAGE)
    for row, said in (
        ("status = 'delivered', last_status = 204, last_error = NULL", "taken, answered 204"),
        ("status = 'failed', last_status = 500, last_error = 'status'", "It answered 500, which is no yes."),
        (
            "status = 'waiting', tries = 2, last_status = NULL, last_error = 'timeout'",
            "It did not answer in time.",
        ),
    ):
        await house.rows(f"UPDATE webhook_deliveries SET {row}")
        assert said in await alice.text(PAGE)
    await alice.done(f"{PAGE}/{id}/pause")
    page = await alice.text(PAGE)
    assert ("Paused" in page, "Switch it on" in page, "Send a test" in page) == (True, True, False)
    async with house.database.as_user(alice.id) as session:
        assert await needs_you_count(session) == 0  # she did it herself
    assert "Nothing waits for you." in await alice.text("/needs-you")
    refused = await alice.post(f"{PAGE}/{id}/test")
    assert refused.status_code == 409
    assert "then enable the webhook" in refused.text
    for do in ("test", "pause", "enable", "delete"):
        assert (await bob.post(f"{PAGE}/{id}/{do}")).status_code == 404
    assert (await alice.post(f"{PAGE}/{id}/nonsense")).status_code == 404
    await alice.done(f"{PAGE}/{id}/enable")
    assert await house.rows("SELECT disabled_at, disabled_why FROM webhook_endpoints") == [
        {"disabled_at": None, "disabled_why": None}
    ]
    assert "data-confirm" in (await alice.get(PAGE)).text
    await alice.done(f"{PAGE}/{id}/delete")
    assert await house.rows("SELECT 1 FROM webhook_endpoints") == []


async def test_an_answer_that_nobody_has_words_for_is_told_without_a_number(house, reader):
    alice = await reader("alice")
    id = await added(house, alice)
    await alice.done(f"{PAGE}/{id}/test")
    await house.rows(
        "UPDATE webhook_deliveries SET status = 'failed', last_error = 'new', last_status = NULL"
    )
    page = await alice.text(PAGE)
    assert "None" not in page
    assert "It was not taken; nothing says why." in page


async def test_its_address_and_its_events_are_changed_by_their_own_seller(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    id = await added(house, alice, label="Till", events=["sale.detected"])
    one = f"{PAGE}/{id}"
    assert f'href="{one}"' in (await alice.get(PAGE)).text
    shown = (await alice.get(one)).text
    assert f'value="{URL}"' in shown
    assert re.findall(r'value="([\w.]+)" checked', shown) == ["sale.detected"]
    assert (await bob.get(one)).status_code == 404
    new = {"url": f" {URL}/2 ", "label": "", "events": ["sale.double", "sale.cancelled"]}
    assert (await bob.post(one, **new)).status_code == 404
    for form, said in (
        ({"url": " "}, "Type the address that is told."),
        ({"url": "https://127.0.0.1/x"}, "We do not send to 127.0.0.1"),
        ({"label": "x" * 101}, "The name may have at most 100 characters."),
        ({"events": "nonsense"}, "There is no such event."),
    ):
        refused = await alice.post(one, **new | form)
        assert refused.status_code in (400, 422), form
        assert said in refused.text, form
    kept = "SELECT url, label, events FROM webhook_endpoints"
    assert await house.rows(kept) == [{"url": URL, "label": "Till", "events": ["sale.detected"]}]
    assert await alice.done(one, **new) == f"{PAGE}?said=webhook-saved#webhook-{id}"
    assert await house.rows(kept) == [
        {"url": f"{URL}/2", "label": None, "events": ["sale.double", "sale.cancelled"]}
    ]
    await alice.done(one, url=URL)
    assert (await house.rows(kept))[0]["events"] == []


async def test_its_secret_is_made_anew_and_shown_this_once(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    first = re.search(r"whsec_[\w+/=]{40,}", (await alice.post(PAGE, url=URL)).text)[0]
    (row,) = await house.rows("SELECT id, sealed FROM webhook_endpoints")
    rotate = f"{PAGE}/{row['id']}/rotate"
    assert (await bob.post(rotate)).status_code == 404
    assert await house.rows("SELECT id, sealed FROM webhook_endpoints") == [row]
    answer = await alice.post(rotate)
    (second,) = re.findall(r"whsec_[\w+/=]{40,}", answer.text)
    assert second != first
    assert "An earlier one signs too, until 24 hours after it was replaced." in answer.text
    for page in (PAGE, f"{PAGE}/{row['id']}"):
        assert "whsec_" not in await alice.text(page)
    (now,) = await house.rows("SELECT sealed, previous_until > now() AS overlaps FROM webhook_endpoints")
    assert (now["sealed"] != row["sealed"], now["overlaps"]) == (True, True)


async def test_one_that_failed_for_a_day_waits_for_its_seller_and_leads_here(house, reader):
    alice = await reader("alice")
    id = await added(house, alice)
    await house.rows("UPDATE webhook_endpoints SET disabled_at = now(), disabled_why = 'failing'")
    async with house.database.as_user(alice.id) as session:
        assert await needs_you_count(session) == 1
    assert "Switched off" in await alice.text(PAGE)
    assert str(id) in (await alice.get("/needs-you")).text


async def test_what_stands_in_a_name_or_an_address_is_never_markup(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    await house.rows(
        "INSERT INTO webhook_endpoints (user_id, url, label, dek_version, sealed) VALUES "
        "(:id, :evil, :evil, 1, ''), (:id, :evil, NULL, 1, '')",
        id=alice.id, evil=EVIL,
    )  # fmt: skip
    refused = await alice.post(PAGE, url=EVIL, label=EVIL)
    for text in ((await alice.get(PAGE)).text, refused.text):
        assert "&lt;script&gt;window.ran=2" in text
        assert "<script>window.ran" not in text
        assert "<img src=x" not in text
    assert "window.ran" not in (await bob.get(PAGE)).text
    assert (await alice.client.post(PAGE, data={"url": URL})).status_code == 403
