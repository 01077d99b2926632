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


TOO_SLOW = "Everystall's own browser did not start in time: the machine that it runs on is too slow."


async def test_a_browser_that_does_not_start_is_told_as_this_machines_fault_and_to_its_seller_alone(
    house, reader
):
    alice, bob = await reader("alice"), await reader("bob")
    shirt, public = await listing(house, alice.id), await account(house, alice.id, "ebay", "alice")
    later = datetime.now(UTC) + timedelta(minutes=5)
    of = await publication(house, alice.id, shirt, public, tries=2, next_try_at=later.isoformat())
    await attempt(house, alice.id, of)
    await house.rows("UPDATE attempts SET error = :said", said=f"browser_not_started: {TOO_SLOW}")
    said = await alice.text(f"/listings/{shirt}/stalls")
    assert f"It did not work 2 times: {TOO_SLOW} It is tried again by itself. Its turn is" in said
    asked = question(shirt, public, "browser_not_started", f"It did not work 8 times: {TOO_SLOW}", "retry")
    await house.rows("UPDATE publications SET needs_you = CAST(:asked AS jsonb)", asked=json.dumps(asked))
    said = await alice.text("/needs-you")
    assert "Everystall's own browser does not start" in said
    assert TOO_SLOW in said
    assert "gives its machine more memory, or less to do" in said
    assert "eBay does not answer" not in said
    assert "Browser did not start" in await alice.text("/inventory")
    await house.rows(BLIND, id=public)
    told = {"browserProfileId": public, "marketplace": "ebay", "message": f"We cannot see it: {TOO_SLOW}"}
    await house.rows("INSERT INTO events (user_id, type, data) VALUES (:user, 'watch.failed', "
                     "CAST(:data AS jsonb))", user=alice.id, data=json.dumps(told))  # fmt: skip
    assert f"We cannot see it: {TOO_SLOW}" in await alice.text("/needs-you")
    assert TOO_SLOW not in await bob.text("/needs-you")
    assert (await bob.get(f"/listings/{shirt}/stalls")).status_code == 404


async def test_nothing_that_may_be_live_is_taken_down_by_a_button_that_does_not_say_so(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    nobody = {"reason": "no_worker", "message": "No worker runs at “home”.", "url": None, "actions": []}
    public = await account(house, alice.id, "ebay", "alice", needs_you=nobody)
    sent, live = {"looking": True, "state": "reconciling"}, {"put": "live", "state": "live"}
    stands = {"begun": {}, "sent": sent, "live": live}
    for name, values in stands.items():  # all were asked about before they were sent
        shirt = stands[name] = await listing(house, alice.id, title=name)
        asked = question(shirt, public, "no_worker", "No worker runs at “home”.", "give_up")
        await publication(house, alice.id, shirt, public, needs_you=asked, put_revision=0, **values)
    pages = {name: (await alice.get(f"/listings/{shirt}/stalls")).text for name, shirt in stands.items()}
    assert {name: ("Do not post it" in page, "Take it down if it is there" in page, ">Take it down<" in page)
            for name, page in pages.items()} == {"begun": (True, False, False), "sent": (False, True, False),
                                                 "live": (False, False, True)}  # fmt: skip
    assert 'data-confirm="Take it down on eBay?"' in pages["sent"]
    given = {"account": public, "reason": "no_worker", "action": "give_up", "text": "Do not post it"}
    assert (await bob.post("/needs-you/all", **given)).status_code == 404
    page = await alice.text("/needs-you")
    assert ("Do not post it: 1 listing" in page, "if it is there:" in page) == (True, False)
    await alice.done("/needs-you/all", **given)
    rows = await house.rows("SELECT title, wanted FROM publications p JOIN listings l ON l.id = listing_id")
    assert {row["title"]: row["wanted"] for row in rows} == {"begun": "ended", "sent": "live", "live": "live"}
    page = await alice.text("/needs-you")
    assert ("Do not post it:" in page, "Take it down if it is there: 1 listing" in page) == (False, True)


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


async def test_a_rest_that_was_asked_for_is_said_with_its_end_in_the_readers_own_time(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    public, rest = await account(house, alice.id, "mercari", "alice"), datetime.now(UTC) + timedelta(hours=2)
    of = await publication(
        house, alice.id, await listing(house, alice.id), public, put="live", state="ending", wanted="ended"
    )
    await house.rows(
        "WITH s AS (INSERT INTO sales (user_id, connection_id, order_id, title, quantity) "
        "SELECT user_id, id, 'o1', 'Linen shirt', 1 FROM connections RETURNING *) "
        "INSERT INTO take_downs (user_id, sale_id, publication_id, marketplace, told_at) "
        "SELECT user_id, id, CAST(:of AS uuid), 'mercari', now() FROM s",
        of=of,
    )
    said = await alice.text("/needs-you")
    assert "on Mercari yet. We go on trying." in said
    assert "Try again now" in said
    assert "asked us to rest" not in await alice.text("/connections")
    await house.rows("UPDATE connections SET rest_until = :rest", rest=rest)
    said = await alice.text("/needs-you")
    assert "Mercari asked us to rest. We go on" in said
    assert "Try again now" not in said  # nothing is, before that is over
    assert "Mercari asked us to rest we go on" in await alice.text("/connections")
    assert f'<time datetime="{rest.isoformat()}" data-when="near"' in (await alice.get("/needs-you")).text
    for path in ("/needs-you", "/connections"):
        assert "asked us to rest" not in await bob.text(path)
