"""The list of what waits for the seller: what it says, and the buttons that end it."""

from __future__ import annotations

import json
import re

import pytest

from everystall.inventory.questions import needs_you_count
from tests.pages.conftest import DESK_AND_PHONE, EVIL_URL
from tests.pages.standing import account, attempt, listing, pictured, publication, question
from tests.pages.test_pages_look import LOOKS, look, passes

pytestmark = pytest.mark.browser
BOTH = pytest.mark.parametrize(
    "scripts",
    [True, pytest.param(False, marks=pytest.mark.extended)],
    ids=["with-scripts", "without-scripts"],
)
HTML = {"Accept": "text/html"}
#: Not "Take it down if it is there".
IT_IS_THERE = re.compile("^It is there")
#: A picture of one pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003"
    "0101"
    "00c9fe92ef0000000049454e44ae426082"
)


async def asked(house, user, public, title, reason, message, *actions, at=1, more=None, **values):
    """A listing that waits on that account for so many minutes; (its id, its publication's)."""
    id = await listing(house, user, title=title)
    said = question(id, public, reason, message, *actions, **(more or {}))
    of = await publication(house, user, id, public, needs_you=said, **values)
    await house.rows(
        "UPDATE publications SET updated_at = now() - make_interval(mins => :at) "
        "WHERE id = CAST(:id AS uuid)",
        at=at, id=of,
    )  # fmt: skip
    return id, of


async def everything(house, user):
    """One of each kind that there is."""
    closet = await account(
        house, user, "poshmark", "closet",
        needs_you={"reason": "challenge", "message": "Poshmark asks whether you are a robot.",
                   "url": None, "actions": []},
    )  # fmt: skip
    mercari = await account(house, user, "mercari", "AliceM")
    ebay = await account(house, user, "ebay", "alice-sells")
    ids = {"closet": closet, "mercari": mercari, "ebay": ebay}
    for number in range(2):
        await asked(house, user, closet, f"Held {number}", "challenge", "A robot?", "retry", "give_up", at=3)
    for number in range(3):
        await asked(
            house, user, mercari, f"Lost {number}", "page_changed", "There is no button “List”.", "retry",
            "give_up", at=9 + number,
        )  # fmt: skip
    ids["unresolved"], of = await asked(
        house, user, mercari, "Maybe there", "unresolved",
        "Mercari did not say whether it was posted. We clicked once, and will not click again by ourselves.",
        "it_is_there", "post_again", "give_up", looking=True, state="reconciling", at=5,
    )  # fmt: skip
    ids["picture"] = await attempt(house, user, of, evidence=pictured(house, user, PNG))
    ids["edited"], of = await asked(
        house, user, ebay, "Both changed", "edited_there", "You changed this on eBay and here: price.",
        "put_mine", "keep_theirs", put="live", state="live", at=7,
    )  # fmt: skip
    price = {"ours": {"amount": 2500, "currency": "USD"}, "theirs": {"amount": 1999, "currency": "USD"}}
    await house.rows(
        "INSERT INTO attempts (user_id, publication_id, connection_id, listing_revision, draft, fields_hash, "
        "fence, outcome, conflict) SELECT user_id, id, connection_id, 1, CAST(:draft AS jsonb), 'h', 1, "
        "'live', "
        "CAST(:conflict AS jsonb) FROM publications WHERE id = CAST(:id AS uuid)",
        id=of, conflict=json.dumps({"price": price}), draft=json.dumps({"price": price["ours"]}),
    )  # fmt: skip
    ids["twice"], _ = await asked(
        house, user, ebay, "Sold twice", "sold_twice", "It was sold more often than there was.", "understood",
        put="live", state="live", at=30, more={
            "letter_to_buyer": "Hello, and thank you.",
            "deadline": {"by": "2026-12-01T00:00:00+00:00", "said": "eBay: three days.", "source": "help",
                         "checked": "2026-11-20"},
        },
    )  # fmt: skip
    await house.rows(
        "INSERT INTO webhook_endpoints (user_id, url, dek_version, sealed, disabled_at, disabled_why) VALUES "
        "(:user, 'https://hooks.example/x', 1, '', now(), 'timeout')",
        user=user,
    )
    await house.rows(
        "INSERT INTO mailboxes (user_id, host, port, username, dek_version, sealed, failing_since, "
        "failing_why) VALUES (:user, 'imap.example.com', 993, 'alice', 1, '', now(), 'refused')",
        user=user,
    )
    return ids


def card(page, head):
    return page.locator("article.ask", has=page.get_by_role("heading", name=head, exact=True))


async def counted(house, user):
    async with house.database.as_user(user) as session:
        return await needs_you_count(session)


@pytest.mark.longer
async def test_everything_that_waits_is_there_the_worst_first_and_counted_as_on_every_page(house):
    alice = await house.person("alice")
    ids = await everything(house, alice)
    page = await house.signed_in("alice")
    await page.goto("/needs-you")
    heads = [await one.inner_text() for one in await page.locator("article.ask h2").all()]
    assert heads == [
        "Sold twice",
        "Poshmark asks for a person",
        "Was it posted on Mercari?",
        "Changed on eBay and here",
        *["We lost our way on Mercari"] * 3,
        "Your mailbox cannot be read",
        "A webhook was switched off",
    ]
    assert await counted(house, alice) == len(heads) == 9
    assert (await page.locator(".side .count").inner_text()).startswith("9")
    await page.goto("/")
    assert await page.get_by_role("region", name="9 things wait for you").is_visible()
    await page.get_by_role("link", name="Answer", exact=True).click()

    twice = card(page, "Sold twice")
    assert "Send or cancel it by" in await twice.inner_text()
    await twice.get_by_text("What you may write to the buyer").click()
    assert await twice.get_by_text("Hello, and thank you.").is_visible()
    both = await card(page, "Changed on eBay and here").locator(".sides tbody").inner_text()
    assert both.split() == ["Price", "$25.00", "$19.99"]
    held = card(page, "Poshmark asks for a person")
    await held.get_by_text("2 listings wait for it").click()
    assert await held.get_by_role("link", name="Held 0").is_visible()
    picture = card(page, "Was it posted on Mercari?").get_by_role("img")
    await picture.scroll_into_view_if_needed()
    await page.wait_for_function("document.querySelector('.ask img').naturalWidth === 1")
    await page.goto("/needs-you?on=ebay")
    assert await page.locator("article.ask").count() == 2
    await page.goto(f"/needs-you?at={ids['edited']}-{ids['ebay']}")
    assert await page.evaluate("document.activeElement.id") == f"{ids['edited']}-{ids['ebay']}"


@pytest.mark.longer
@DESK_AND_PHONE
@BOTH
async def test_an_answer_is_given_told_and_leads_to_the_next_one(house, scripts):
    alice = await house.person("alice")
    ids = await everything(house, alice)
    page = await house.signed_in("alice", java_script_enabled=scripts)
    await page.goto("/needs-you")
    await card(page, "Sold twice").get_by_role("button", name="Understood").click()
    await page.get_by_text("1 of 9 done.", exact=True).wait_for()
    if scripts:
        assert await page.evaluate("document.activeElement.id") == f"{ids['closet']}-challenge"
    await card(page, "Poshmark asks for a person").get_by_role("button", name="I did it, go on").click()
    await page.get_by_text("2 of 9 done.", exact=True).wait_for()
    assert await house.rows("SELECT 1 FROM publications WHERE needs_you ->> 'reason' = 'challenge'") == []
    assert await house.rows("SELECT 1 FROM connections WHERE needs_you IS NOT NULL") == []

    there = card(page, "Was it posted on Mercari?")
    await there.get_by_label("Address of its page").fill("https://elsewhere.example/item/m123/")
    await there.get_by_role("button", name=IT_IS_THERE).click()
    await there.get_by_text("Which one is it on Mercari?").wait_for()
    await there.get_by_label("Address of its page").fill("http://mercari.localhost:1/us/item/m12345678901/")
    (row,) = await house.rows("SELECT id FROM attempts WHERE outcome IS NULL")
    await house.rows("UPDATE attempts SET armed_at = now() WHERE id = :id", id=row["id"])
    await there.get_by_role("button", name=IT_IS_THERE).click()
    await page.get_by_text("3 of 9 done.", exact=True).wait_for()
    (row,) = await house.rows("SELECT url FROM attempts WHERE id = :id", id=row["id"])
    assert row["url"].endswith("/us/item/m12345678901/")

    await card(page, "Changed on eBay and here").get_by_role("button", name="Keep what is there").click()
    await page.get_by_text("4 of 9 done.", exact=True).wait_for()
    (row,) = await house.rows("SELECT adopted, conflict FROM attempts WHERE outcome = 'live'")
    assert row == {"adopted": {"price": {"amount": 1999, "currency": "USD"}}, "conflict": None}


@pytest.mark.longer
@BOTH
async def test_several_of_one_account_are_answered_at_once(house, scripts):
    alice = await house.person("alice")
    await everything(house, alice)
    page = await house.signed_in("alice", java_script_enabled=scripts)
    await page.goto("/needs-you?on=mercari")
    await page.get_by_role("button", name="Try again: all 3").click()
    if scripts:
        await page.get_by_role("dialog").get_by_role("button", name="Try again").click()
    await page.get_by_text("3 of 4 done.", exact=True).wait_for()
    left = await house.rows("SELECT 1 FROM publications WHERE needs_you ->> 'reason' = 'page_changed'")
    assert left == []
    assert await page.locator("article.ask").count() == 1  # it still shows Mercari's only
    waits = await house.rows("SELECT 1 FROM publications WHERE needs_you IS NOT NULL")
    assert len(waits) == 5


@pytest.mark.longer
async def test_what_is_not_a_listings_is_ended_too_and_at_last_nothing_waits(house):
    alice = await house.person("alice")
    await everything(house, alice)
    await house.rows("DELETE FROM publications")
    await house.rows("UPDATE connections SET needs_you = NULL")
    page = await house.signed_in("alice")
    await page.goto("/needs-you")
    await card(page, "A webhook was switched off").get_by_role("button", name="Switch it on").click()
    await page.get_by_text("1 of 2 done.", exact=True).wait_for()
    assert await house.rows("SELECT 1 FROM webhook_endpoints WHERE disabled_at IS NOT NULL") == []
    mailbox = card(page, "Your mailbox cannot be read")
    await mailbox.get_by_label("Its password").fill("another one")
    await mailbox.get_by_role("button", name="Read it again").click()
    await page.get_by_text("2 of 2 done.", exact=True).wait_for()
    (row,) = await house.rows(
        "SELECT host, username, failing_since, length(sealed) > 20 AS sealed FROM mailboxes"
    )
    assert row == {"host": "imap.example.com", "username": "alice", "failing_since": None, "sealed": True}
    assert await page.get_by_text("Nothing waits for you.").is_visible()
    assert await counted(house, alice) == 0
    assert await page.locator(".side .count").count() == 0


@pytest.mark.longer
async def test_a_sale_that_is_not_taken_down_elsewhere_is_the_worst_and_a_mail_that_says_too_little(house):
    alice = await house.person("alice")
    ids = await everything(house, alice)
    shirt = await listing(house, alice, title="Sold elsewhere")
    of = await publication(
        house, alice, shirt, ids["mercari"], put="live", state="ending", wanted="ended", url=EVIL_URL
    )
    await house.rows(
        "WITH s AS (INSERT INTO sales (user_id, connection_id, order_id, title, quantity) "
        "SELECT user_id, id, 'o1', "
        "'Sold elsewhere', 1 FROM connections WHERE public_id = :ebay RETURNING *) INSERT INTO take_downs "
        "(user_id, sale_id, publication_id, marketplace, told_at) "
        "SELECT user_id, id, CAST(:of AS uuid), 'mercari', "
        "now() FROM s",
        ebay=ids["ebay"], of=of,
    )  # fmt: skip
    await house.rows(
        "UPDATE connections SET blind_since = now() - interval '5 minutes' WHERE public_id = :id",
        id=ids["closet"],
    )
    await house.rows(
        "INSERT INTO events (user_id, type, data) VALUES (:user, 'sale.unclear', CAST(:data AS jsonb))",
        user=alice,
        data=json.dumps({"browserProfileId": ids["closet"], "title": "Tea <b>pot", "message": "It wrote."}),
    )  # fmt: skip
    page = await house.signed_in("alice")
    await page.goto("/needs-you")
    late = card(page, "Sold, and still on Mercari")
    assert await late.get_by_role("link", name="Open Mercari").count() == 0  # that address is none
    assert "The mail names “Tea <b>pot”." in await card(page, "Something may have sold").inner_text()
    assert await counted(house, alice) == await page.locator("article.ask").count() == 11
    await late.get_by_role("button", name="Try again now").click()
    await page.get_by_role("dialog").get_by_role("button").last.click()
    await page.get_by_text("It is being taken down.").wait_for()
    assert await page.locator("article.ask:focus").get_by_text("Sold, and still on Mercari").is_visible()
    await house.rows("UPDATE connections SET needs_you = NULL")
    await house.rows("UPDATE publications SET needs_you = NULL WHERE needs_you ->> 'reason' = 'challenge'")
    await page.goto("/needs-you")
    assert await card(page, "Something may have sold").count() == 0
    assert await counted(house, alice) == await page.locator("article.ask").count() == 9


@pytest.mark.longer
async def test_what_was_answered_meanwhile_is_no_error_and_what_does_not_fit_is_said(house):
    alice = await house.person("alice")
    ids = await everything(house, alice)
    page = await house.signed_in("alice", java_script_enabled=False)
    await page.goto("/needs-you")
    await house.rows(
        "UPDATE publications SET needs_you = NULL WHERE listing_id = CAST(:id AS uuid)", id=ids["twice"]
    )
    await card(page, "Sold twice").get_by_role("button", name="Understood").click()
    await page.get_by_text("That was answered already.").wait_for()
    csrf = await page.locator("input[name=csrf]").first.get_attribute("value")
    headers = {"Origin": house.url, **HTML}
    for path, form, status in (
        ("listing", {"listing": ids["edited"], "account": ids["ebay"], "action": "retry",
                     "reason": "edited_there"}, 400),
        ("account", {"account": ids["closet"], "action": "nonsense", "reason": "challenge"}, 400),
        ("all", {"account": ids["mercari"], "action": "it_is_there", "reason": "unresolved"}, 400),
        ("all", {"account": ids["mercari"], "action": "retry", "reason": "nonsense"}, 404),
        ("listing", {"listing": "x", "account": ids["ebay"], "action": "retry"}, 404),
        ("webhook", {"webhook": "x"}, 404),
        ("mailbox", {"password": ""}, 400),
    ):  # fmt: skip
        answer = await page.request.post(f"/needs-you/{path}", form={"csrf": csrf, **form}, headers=headers)
        assert answer.status == status, (path, form, answer.status)
    assert len(await house.rows("SELECT 1 FROM publications WHERE needs_you IS NOT NULL")) == 7


@pytest.mark.longer
async def test_nobody_sees_or_answers_what_waits_for_another_and_no_picture_of_theirs(house):
    alice = await house.person("alice")
    ids = await everything(house, alice)
    (hook,) = await house.rows("SELECT id FROM webhook_endpoints")
    await house.person("bob", "owner")
    page = await house.signed_in("bob")
    await page.goto("/needs-you")
    assert await page.get_by_text("Nothing waits for you.").is_visible()
    assert (await page.request.get(f"/needs-you/pictures/{ids['picture']}", headers=HTML)).status == 404
    csrf = await page.locator("input[name=csrf]").first.get_attribute("value")
    before = await house.rows("SELECT * FROM publications ORDER BY id")
    for path, form in (
        ("listing", {"listing": ids["twice"], "account": ids["ebay"], "action": "understood"}),
        ("all", {"account": ids["mercari"], "action": "retry", "reason": "page_changed"}),
        ("account", {"account": ids["closet"], "action": "resume", "reason": "challenge"}),
        ("account", {"account": ids["closet"], "action": "reconnect", "reason": "challenge"}),
        ("webhook", {"webhook": str(hook["id"]), "action": "enable"}),
        ("webhook", {"webhook": str(hook["id"]), "action": "delete"}),
        ("mailbox", {"action": "delete"}),
    ):
        answer = await page.request.post(
            f"/needs-you/{path}", form={"csrf": csrf, **form}, headers={"Origin": house.url, **HTML}
        )
        assert answer.status == 404, (path, form)
        cross = await page.request.post(
            f"/needs-you/{path}", form={"csrf": csrf, **form},
            headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example", **HTML},
        )  # fmt: skip
        assert cross.status == 403, (path, form)
    assert await house.rows("SELECT * FROM publications ORDER BY id") == before
    assert len(await house.rows("SELECT 1 FROM webhook_endpoints WHERE disabled_at IS NOT NULL")) == 1
    assert len(await house.rows("SELECT 1 FROM mailboxes")) == 1
    alices = await house.signed_in("alice")
    seen = await alices.request.get(f"/needs-you/pictures/{ids['picture']}")
    assert (seen.status, seen.headers["content-type"], await seen.body()) == (200, "image/png", PNG)
    await house.rows(
        'UPDATE attempts SET evidence = \'{"screenshot": "../ring.json"}\' WHERE evidence IS NOT NULL'
    )
    assert (await alices.request.get(f"/needs-you/pictures/{ids['picture']}", headers=HTML)).status == 404


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.longer
async def test_how_it_looks(house, scheme, width):
    alice = await house.person("alice")
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/needs-you")
    await passes(page, "needs-you-none")
    await everything(house, alice)
    await page.goto("/needs-you")
    await passes(page, "needs-you")
    await card(page, "Sold twice").get_by_role("button", name="Understood").click()
    await page.get_by_text("1 of 9 done.").wait_for()
    await passes(page, "needs-you-next")
    await page.goto("/")
    await passes(page, "today-asked")
