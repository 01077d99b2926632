"""The marketplaces' pages: pace and cap, what a sign-in was opened for, rules for sales, mails about them."""

from __future__ import annotations

import re

from tests.pages.conftest import furnish
from tests.pages.plain.conftest import plain
from tests.pages.standing import account, attempt, listing, publication


async def test_an_account_says_what_its_session_was_opened_for_and_lists_each_time(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    await furnish(house, alice.id)
    (row,) = await house.rows("SELECT public_id FROM connections WHERE account_name = 'alice-sells'")
    said = await alice.text("/connections")
    assert (
        "Your eBay session was opened 3 times in the last 24 hours: to see what sold (2) and to post (1)."
        in said
    )
    there = f"/connections/{row['public_id']}/openings"
    listed = await alice.text(there)
    assert listed.count("to see what sold") == 3  # in the sentence too
    whole = (await alice.get("/account")).text
    assert re.findall(r"<tr><td>([^<]+)</td>", whole)[:2] == ["to see what sold"] * 2
    assert "<td>check" not in whole
    assert "to see what sold" not in (await bob.get("/account")).text
    await house.rows("DELETE FROM vault_audit WHERE purpose = 'post'")
    assert "2 times in the last 24 hours: to see what sold." in await alice.text(there)
    await house.rows("DELETE FROM vault_audit")
    assert "Your eBay session was not opened in the last 24 hours." in await alice.text("/connections")
    assert (await bob.get(there)).status_code == 404
    assert "session was" not in await bob.text("/connections")


async def test_another_account_is_signed_in_to_here_without_the_extension(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    await account(house, alice.id, "ebay", "alice")
    page = (await alice.get("/connections")).text.partition("Connect another account")[2]
    assert page.count('name="marketplace" value="ebay"') == 1
    where = await alice.done("/sittings", marketplace="ebay")
    assert (await alice.get(where)).status_code == 200
    assert (await bob.get(where)).status_code == 404
    said = await house.rows(
        "SELECT account_name FROM connections WHERE marketplace = 'ebay' ORDER BY created_at"
    )
    assert [row["account_name"] for row in said] == ["alice", None]
    assert "Connect another account" not in await bob.text("/connections")


async def test_many_openings_come_page_by_page(house, reader):
    alice = await reader("alice")
    ebay = await account(house, alice.id, "ebay", "alice")
    await house.rows(
        "INSERT INTO vault_audit (user_id, connection_id, session_id, seq, kid, purpose, at) "
        "SELECT c.user_id, c.id, s.id, 1, 'k1', 'check', now() - n * interval '1 minute' "
        "FROM connections c JOIN user_marketplace_sessions s ON s.connection_id = c.id, "
        "generate_series(1, 70) n"
    )
    first = (await alice.get(f"/connections/{ebay}/openings")).text
    assert first.count("<td>to see what sold") == 50
    older = re.search(r'href="(/connections/[^"]+cursor=[^"]+)"', first)[1]
    assert (await alice.get(older.replace("&amp;", "&"))).text.count("<td>to see what sold") == 20
    assert (await alice.get(f"/connections/{ebay}/openings?cursor=x")).status_code == 400


async def test_pace_and_daily_cap_are_the_sellers_to_set(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    ebay = await account(house, alice.id, "ebay", "alice")
    shirt = await listing(house, alice.id)
    of = await publication(house, alice.id, shirt, ebay, state="live", put="live")
    await attempt(house, alice.id, of)
    await house.rows("UPDATE attempts SET armed_at = now() - interval '2 hours'")
    assert "Posted in 24 hours 1 of 100 at most" in await alice.text("/connections")
    await alice.done(f"/connections/{ebay}", pace_seconds="90", daily_cap="20")
    said = await alice.text("/connections")
    assert "Between two posts 90 seconds" in said
    assert "1 of 20 at most" in said
    for wrong in ("0", "1001", "2.5", "many", "-3", "９"):
        answer = await alice.post(f"/connections/{ebay}", daily_cap=wrong)
        assert answer.status_code == 422
        assert "Write a whole number from 1 to 1,000." in answer.text
        assert f'value="{wrong}"' in answer.text
    await alice.done(f"/connections/{ebay}", daily_cap="")
    assert "1 of 100 at most" in await alice.text("/connections")
    assert (await bob.post(f"/connections/{ebay}", daily_cap="1")).status_code == 404


async def test_an_account_that_cannot_be_seen_says_what_is_done_meanwhile(house, reader):
    alice = await reader("alice")
    ebay = await account(house, alice.id, "ebay", "alice")
    shirt = await listing(house, alice.id)
    await publication(house, alice.id, shirt, ebay, state="live", put="live")
    assert "may go unnoticed" not in await alice.text("/connections")
    await house.rows("UPDATE connections SET watch_told_at = now(), blind_since = now()")
    said = await alice.text("/connections")
    assert "What sells here may go unnoticed." in said
    assert "it stays live elsewhere meanwhile, and may sell twice" in said
    await alice.done("/connections/rules", blind="end_elsewhere", blind_minutes="45", put_back="ask")
    assert "is taken down elsewhere after 45 minutes" in await alice.text("/connections")


async def test_the_rules_for_sales_are_kept_and_what_is_wrong_is_said_at_its_field(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    ebay = await account(house, alice.id, "ebay", "alice")
    form = {"blind": "keep", "blind_minutes": "5", "put_back": "always", "last_unit_on": ebay}
    await alice.done("/connections/rules", **form)
    page = (await alice.get("/connections/rules")).text
    assert re.search(r'value="always" checked', page)
    assert re.search(rf'value="{ebay}" selected', page)
    (row,) = await house.rows("SELECT user_id, put_back, blind_minutes FROM sale_rules")
    assert (row["user_id"], row["put_back"], row["blind_minutes"]) == (alice.id, "always", 5)
    for wrong in ({"blind_minutes": "soon"}, {"blind_minutes": "99999"}, {"put_back": "x"}, {"blind": ""}):
        answer = await alice.post("/connections/rules", **{**form, **wrong})
        assert answer.status_code == 422, wrong
        assert "Nothing was saved." in answer.text
    assert (await bob.post("/connections/rules", **form)).status_code == 404
    assert "alone" not in await bob.text("/connections/rules")
    assert len(await house.rows("SELECT 1 FROM sale_rules")) == 1


async def test_an_address_for_sale_mails_is_shown_once(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    made = (await alice.post("/connections/mails/address")).text
    url = re.search(r'<code id="url">([^<]+)</code>', made)[1]
    assert url.startswith(f"{house.url}/api/hints/mail/")
    token = url.rpartition("/")[2]
    assert token not in (await alice.get("/connections/mails")).text
    sent = await alice.client.post(
        f"/api/hints/mail/{token}", content=b"From: a@example.com\r\nSubject: hi\r\n\r\nx",
        headers={"Content-Type": "message/rfc822"},
    )  # fmt: skip
    assert sent.status_code == 200
    assert "Last mail none yet" not in await alice.text("/connections/mails")
    assert "You have no address yet." in await bob.text("/connections/mails")
    await bob.done("/connections/mails/address/delete")
    assert len(await house.rows("SELECT 1 FROM mail_addresses")) == 1
    await alice.done("/connections/mails/address/delete")
    assert "You have no address yet." in await alice.text("/connections/mails")


async def test_a_mailbox_is_watched_and_its_password_is_never_shown(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    form = {
        "host": "imap.example.com",
        "port": "993",
        "username": "alice@example.com",
        "password": "hush-hush",
    }
    await alice.done("/connections/mails/mailbox", **form)
    page = (await alice.get("/connections/mails")).text
    assert "alice@example.com at imap.example.com Not read yet" in plain(page)
    assert "hush-hush" not in page
    for name, value in (
        ("host", "127.0.0.1"),
        ("host", ""),
        ("port", "x"),
        ("username", ""),
        ("password", ""),
    ):
        answer = await alice.post("/connections/mails/mailbox", **{**form, name: value})
        assert answer.status_code == 422, name
        assert "The mailbox was not saved." in answer.text
        assert "hush-hush" not in answer.text
        assert 'aria-invalid="true"' in answer.text, name
    assert "Watch it" in await bob.text("/connections/mails")
    assert "imap.example.com at" not in await bob.text("/connections/mails")
    await alice.done("/connections/mails/mailbox/delete")
    assert await house.rows("SELECT 1 FROM mailboxes") == []


async def test_a_night_pace_is_told_where_there_is_one(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    night = "and less often from midnight to six where you are"
    assert night not in await alice.text("/connections/mails")
    vars(house.settings)["watch_night_seconds"] = 600  # as when the owner chose it
    for one in (alice, bob):
        assert f"about every minute, {night}. While" in await one.text("/connections/mails")


async def test_going_on_where_no_worker_is_says_so_and_asks_for_no_visit(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    nobody = {"reason": "no_worker", "message": "No worker runs at “home”.", "url": None, "actions": []}
    public = await account(house, alice.id, "ebay", "alice", needs_you=nobody)
    await house.rows("UPDATE connections SET place = 'home', paused_at = now()")
    resume = f"/connections/{public}/resume"
    assert (await bob.post(resume)).status_code == 404
    said = await alice.text(await alice.done(resume))
    assert "It is not paused any more. But no worker runs where this account is visited from" in said
    refused = await alice.post(resume)  # from a page that was open before
    assert refused.status_code == 409
    assert "It cannot go on yet. No worker runs at “home”." in refused.text
    assert "WORKER_PLACE=home" in refused.text
    (row,) = await house.rows("SELECT paused_at, needs_you ->> 'reason' AS reason FROM connections")
    assert row == {"paused_at": None, "reason": "no_worker"}
    assert "Go on" not in await alice.text("/connections")
    given = {"account": public, "reason": "no_worker", "action": "resume"}
    assert "It cannot go on yet." in (await alice.post("/needs-you/account", **given)).text


async def test_a_mailbox_that_no_worker_has_room_for_says_so(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    form = {"host": "imap.example.com", "port": "993", "username": "a@example.com", "password": "hush-hush"}
    for one in (alice, bob):
        await one.done("/connections/mails/mailbox", **form)
    await house.rows(
        "UPDATE mailboxes SET made_at = now() - interval '16 minutes' WHERE user_id = :id", id=alice.id
    )
    said = "No worker reads this mailbox"
    assert said in await alice.text("/connections/mails")
    assert said not in await bob.text("/connections/mails")
    held = "UPDATE mailboxes SET claimed_until = now() - CAST(:ago AS interval)"
    await house.rows(held, ago="14 minutes")
    assert said not in await alice.text("/connections/mails")
    await house.rows(held, ago="16 minutes")
    assert said in await alice.text("/connections/mails")
    await house.rows("UPDATE mailboxes SET failing_since = now(), failing_why = 'refused'")
    assert said not in await alice.text("/connections/mails")
