"""What waits for the seller, and the buttons that end it, as they are sent."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta

from everystall.inventory.questions import needs_you_count
from tests.pages.standing import account, attempt, listing, pictured, publication, question

BLIND = (
    "UPDATE connections SET blind_since = now() - interval '5 minutes', watch_told_at = now() "
    "WHERE public_id = :id"
)


async def counted(house, who):
    async with house.database.as_user(who.id) as session:
        return await needs_you_count(session)


async def hears_of_a_sale(house, who, public_id, title="Tea pot"):
    """A mail that says too little; the event's id."""
    told = {"browserProfileId": public_id, "marketplace": "ebay", "title": title, "message": "It wrote."}
    (row,) = await house.rows(
        "INSERT INTO events (user_id, type, data) VALUES (:user, 'sale.unclear', CAST(:data AS jsonb)) "
        "RETURNING id",
        user=who.id, data=json.dumps(told),
    )  # fmt: skip
    return row["id"]


async def test_an_account_whose_sales_cannot_be_read_is_looked_at_again_at_once(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    public = await account(house, alice.id, "ebay", "alice")
    given = {"account": public, "reason": "watch_failed", "action": "look"}
    later = "UPDATE connections SET next_check_at = now() + interval '10 minutes' WHERE public_id = :id"
    due = "SELECT next_check_at <= now() AS due FROM connections WHERE public_id = :id"
    wakes = (
        "SELECT args FROM procrastinate.procrastinate_jobs WHERE queue_name = 'visits' AND status = 'todo'"
    )
    await house.rows(later, id=public)
    assert (await alice.post("/needs-you/account", **given)).status_code == 400  # nothing waits there
    await house.rows(BLIND, id=public)
    assert "Look again now" in await alice.text("/needs-you")
    assert (await bob.post("/needs-you/account", **given)).status_code == 404
    assert (await house.rows(due, id=public), await house.rows(wakes)) == ([{"due": False}], [])
    said = await alice.text(await alice.done("/needs-you/account", **given))
    assert "It is looked at now" in said
    assert "We cannot see what sells on eBay" in said  # until it is seen
    assert await house.rows(due, id=public) == [{"due": True}]
    assert len(await house.rows(wakes)) == 1


async def test_what_a_mail_told_of_waits_until_its_seller_says_that_they_looked(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    public = await account(house, alice.id, "ebay", "alice")
    await house.rows(BLIND, id=public)
    pot, cup = await hears_of_a_sale(house, alice, public), await hears_of_a_sale(house, alice, public, "Cup")
    assert await counted(house, alice) == 3
    for event in (pot, "0", "x", "9" * 30):
        assert (await bob.post("/needs-you/mail", event=str(event), action="settled")).status_code == 404
    assert await counted(house, alice) == 3
    assert "“Tea pot”" in await alice.text("/needs-you")
    assert "That is settled." in await alice.text(await alice.done("/needs-you/mail", event=str(pot)))
    page = await alice.text("/needs-you")
    assert ("“Tea pot”" in page, "“Cup”" in page) == (False, True)
    assert await counted(house, alice) == 2
    assert "did=already" in await alice.done("/needs-you/mail", event=str(pot))
    (kept,) = await house.rows("SELECT user_id, data FROM events WHERE type = 'sale.settled'")
    assert kept == {
        "user_id": alice.id,
        "data": {"eventId": pot, "browserProfileId": public, "marketplace": "ebay", "title": "Tea pot"},
    }
    assert (await alice.post("/needs-you/mail", event=str(cup), csrf="0" * 64)).status_code == 403


async def test_likely_pairs_lead_to_where_they_are_answered(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    one, other = sorted([await listing(house, alice.id), await listing(house, alice.id, sku="A-18")])
    await house.rows(
        "INSERT INTO matches (user_id, one_id, other_id, points) "
        "VALUES (:id, CAST(:one AS uuid), CAST(:other AS uuid), 5)",
        id=alice.id, one=one, other=other,
    )  # fmt: skip
    page = (await alice.get("/needs-you")).text
    assert "1 pair of your listings may be the same thing" in page
    assert '<a href="/inventory/matches">Matches</a>' in page
    assert "may be the same thing" not in (await bob.get("/needs-you")).text


async def test_a_picture_is_shown_until_its_time_is_over(house, reader):
    alice = await reader("alice")
    shirt, public = await listing(house, alice.id), await account(house, alice.id, "ebay", "alice")
    asked = question(shirt, public, "page_changed", "There is no button.", "retry")
    of = await publication(house, alice.id, shirt, public, needs_you=asked)
    kept = pictured(house, alice.id)
    id = await attempt(house, alice.id, of, evidence=kept)
    assert f'src="/needs-you/pictures/{id}"' in (await alice.get("/needs-you")).text
    old = (datetime.now(UTC) - timedelta(days=house.settings.evidence_days + 1)).isoformat()
    await house.rows(
        "UPDATE attempts SET evidence = CAST(:kept AS jsonb)", kept=json.dumps({**kept, "at": old})
    )
    assert "/needs-you/pictures/" not in (await alice.get("/needs-you")).text


async def test_a_picture_that_is_gone_says_so_in_its_place(house, reader):
    """As after a restore: a backup has none of them."""
    alice, bob = await reader("alice"), await reader("bob")
    shirt, public = await listing(house, alice.id), await account(house, alice.id, "ebay", "alice")
    asked = question(shirt, public, "page_changed", "There is no button.", "retry")
    of = await publication(house, alice.id, shirt, public, needs_you=asked)
    id = await attempt(house, alice.id, of, evidence=pictured(house, alice.id, b"alices"))
    assert (await alice.get(f"/needs-you/pictures/{id}")).content == b"alices"
    shutil.rmtree(house.settings.everystall_home / "photos" / "evidence")
    for who in (alice, bob):
        gone = await who.get(f"/needs-you/pictures/{id}")
        assert (gone.status_code, gone.headers["content-type"]) == (404, "image/svg+xml")
        assert "The picture is not there any more." in gone.text


async def test_an_account_that_a_look_found_asking_shows_its_picture_to_its_seller_alone(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    asked = {"reason": "challenge", "message": "A robot?", "url": None, "evidence": pictured(house, alice.id)}
    await account(house, alice.id, "ebay", "alice", needs_you=asked)
    await _shows_the_picture_of_the_account(house, alice, bob)


async def test_an_account_whose_sales_cannot_be_read_shows_its_picture_to_its_seller_alone(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    await account(house, alice.id, "ebay", "alice")
    await house.rows(
        "UPDATE connections SET watch_told_at = now(), watch_evidence = CAST(:kept AS jsonb)",
        kept=json.dumps(pictured(house, alice.id)),
    )
    await _shows_the_picture_of_the_account(house, alice, bob)
    await house.rows("UPDATE connections SET watch_told_at = NULL")  # it can be read again
    (row,) = await house.rows("SELECT id FROM connections")
    assert (await alice.get(f"/needs-you/pictures/{row['id']}")).status_code == 404


async def _shows_the_picture_of_the_account(house, alice, bob):
    (row,) = await house.rows("SELECT id FROM connections")
    picture = f"/needs-you/pictures/{row['id']}"
    assert f'src="{picture}"' in (await alice.get("/needs-you")).text
    assert (await alice.get(picture)).content == b"a picture"
    assert (await bob.get(picture)).status_code == 404
