"""Where a listing stands, and posting it: by rows as visits would leave them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from everystall.web.pages.stalls import why_waiting
from tests.pages.conftest import DESK_AND_PHONE, EVIL, EVIL_URL, ROOT
from tests.pages.standing import account, attempt, listing, publication, question
from tests.pages.test_pages_look import LOOKS, look, passes

pytestmark = pytest.mark.browser
BOTH = pytest.mark.parametrize(
    "scripts",
    [True, pytest.param(False, marks=pytest.mark.extended)],
    ids=["with-scripts", "without-scripts"],
)
EBAY = {"payment_policy": "Immediate", "return_policy": "30 days", "shipping_policy": "Ground"}


def in_(minutes):
    return datetime.now(UTC) + timedelta(minutes=minutes)


async def three(house, user):
    """Accounts on all three marketplaces, ready to be posted to."""
    return [
        await account(house, user, "poshmark", "alices_closet"),
        await account(house, user, "mercari", "AliceM"),
        await account(house, user, "ebay", "alice-sells", defaults=EBAY),
    ]


async def states(house, user):
    """One listing on seven accounts, in a state of its own on each."""
    shirt = await listing(house, user)
    names = ("opening", "filling", "sent", "live", "changed", "asked", "paced")
    ids = {name: await account(house, user, "mercari", name) for name in names}
    at = {"updated_at": in_(-0.2), "started_at": in_(-0.5)}
    await publication(house, user, shirt, ids["opening"], state="composing", **at)
    await publication(house, user, shirt, ids["filling"], state="filling", **at)
    await publication(house, user, shirt, ids["sent"], state="reconciling", looking=True, **at)
    await publication(
        house, user, shirt, ids["live"], state="live", put="live", put_revision=1,
        url="https://www.mercari.com/us/item/m1/", read_back={"title": True, "price": True, "photos": True},
        started_at=(began := in_(-9)), finished_at=began + timedelta(seconds=41),
    )  # fmt: skip
    await publication(
        house, user, shirt, ids["changed"], state="live", put="live", put_revision=1,
        url="https://www.mercari.com/us/item/m2/", read_back={"title": True, "size": False},
        notes=[{"field": "size", "message": "This stands on Mercari otherwise than here, and stays so."}],
    )  # fmt: skip
    said = question(shirt, ids["asked"], "page_changed", "There is no button “List”.", "retry", "give_up")
    await publication(house, user, shirt, ids["asked"], needs_you=said)
    await publication(house, user, shirt, ids["paced"], next_try_at=(at := in_(3)), paced_to=at)
    return shirt, ids


@DESK_AND_PHONE
@BOTH
async def test_posting_to_all_queues_one_job_however_often_it_is_pressed(house, scripts):
    alice = await house.person("alice")
    ids = await three(house, alice)
    shirt = await listing(house, alice)
    page = await house.signed_in("alice", java_script_enabled=scripts)
    await page.goto(f"/listings/{shirt}/stalls")
    assert await page.get_by_role("checkbox", checked=True).count() == 3
    key = await page.locator("input[name=key]").get_attribute("value")
    csrf = await page.locator("input[name=csrf]").first.get_attribute("value")
    await page.get_by_role("button", name="Post to all").click()
    await page.get_by_text("Posting.", exact=True).wait_for()
    for label in ("alices_closet", "AliceM", "alice-sells"):
        assert await page.locator("li.stall", has_text=label).get_by_text("Waiting", exact=True).is_visible()
    assert await page.get_by_role("button", name="Post to all").count() == 0
    # the same form once more, as a browser that was told nothing would send it
    again = await page.request.post(
        f"/listings/{shirt}/stalls/post",
        multipart=None,
        data="&".join([f"csrf={csrf}", f"key={key}", *(f"account={id}" for id in ids)]),
        headers={"Origin": house.url, "Content-Type": "application/x-www-form-urlencoded"},
        max_redirects=0,
    )
    assert again.status == 303
    (job,) = await house.rows("SELECT count(*) AS number FROM jobs")
    assert job["number"] == 1
    rows = await house.rows("SELECT wanted, state FROM publications")
    assert rows == [{"wanted": "live", "state": "waiting"}] * 3


@pytest.mark.longer
async def test_what_is_missing_and_who_is_signed_out_is_said_before_anything_is_posted(house):
    alice = await house.person("alice")
    await three(house, alice)
    await house.rows("UPDATE user_marketplace_sessions SET expires_at = now() - interval '1 hour' WHERE "
                     "marketplace = 'poshmark'")  # fmt: skip
    await house.rows("UPDATE connections SET paused_at = now() WHERE marketplace = 'mercari'")
    await house.rows("UPDATE connections SET defaults = '{}' WHERE marketplace = 'ebay'")
    shirt = await listing(house, alice)
    page = await house.signed_in("alice")
    await page.goto(f"/listings/{shirt}/stalls")
    rows = page.locator(".choices > li")
    closet, mercari, ebay = (rows.nth(place) for place in range(3))
    assert await closet.get_by_text("Everystall is not signed in to Poshmark.").is_visible()
    assert await closet.get_by_role("checkbox").is_disabled()
    assert await mercari.get_by_text("Paused: it waits there until you go on.").is_visible()
    assert await mercari.get_by_role("checkbox").is_checked()
    assert await ebay.get_by_role("checkbox").is_disabled()
    assert await ebay.locator(".lack").count() >= 1
    way = await ebay.get_by_role("link", name="Set").get_attribute("href")
    assert way == f"{ROOT}/connections#bp_ebay_alice-sells"
    await page.get_by_role("button", name="Post to all").click()
    await page.get_by_text("Posting where it is not paused.").wait_for()
    stall = page.locator("li.stall", has_text="AliceM")
    assert await stall.get_by_text("You paused this account.").is_visible()
    assert [row["marketplace"] for row in await house.rows("SELECT marketplace FROM publications")] == [
        "mercari"
    ]


@pytest.mark.longer
async def test_of_several_accounts_the_seller_says_which(house):
    alice = await house.person("alice")
    await account(house, alice, "mercari", "Shoes")
    dresses = await account(house, alice, "mercari", "Dresses")
    shirt = await listing(house, alice)
    page = await house.signed_in("alice", java_script_enabled=False)
    await page.goto(f"/listings/{shirt}/stalls")
    assert await page.get_by_text("You have several accounts on Mercari").is_visible()
    assert await page.get_by_role("checkbox", checked=True).count() == 0
    await page.get_by_role("button", name="Post to all").click()
    assert await page.get_by_text("No account is checked.").is_visible()
    assert await house.rows("SELECT 1 FROM jobs") == []
    await page.get_by_label("Mercari Dresses").check()
    await page.get_by_role("button", name="Post to all").click()
    await page.get_by_text("Posting.", exact=True).wait_for()
    (row,) = await house.rows(
        "SELECT c.public_id FROM publications p JOIN connections c ON c.id = p.connection_id"
    )
    assert row["public_id"] == dresses


@BOTH
@pytest.mark.longer
async def test_each_account_says_how_it_stands_why_and_what_may_be_done(house, scripts):
    alice = await house.person("alice")
    shirt, _ = await states(house, alice)
    page = await house.signed_in("alice", java_script_enabled=scripts)
    await page.goto(f"/listings/{shirt}/stalls")

    def stall(name):
        return page.locator("li.stall", has=page.get_by_text(name, exact=True))

    for name, word in (
        ("opening", "Opening"), ("filling", "Filling in"), ("sent", "Sent, looking for it"), ("live", "Live"),
        ("changed", "Live"), ("asked", "Needs you"), ("paced", "Waiting"),
    ):  # fmt: skip
        assert await stall(name).locator(".chip").inner_text() == word, name
    counted = await stall("filling").locator("time[data-since]").inner_text()
    assert counted.endswith(" s") if scripts else counted.startswith("since ")
    (row,) = await house.rows("SELECT started_at FROM publications WHERE state = 'filling'")
    since = await stall("filling").locator("time[data-since]").get_attribute("datetime")
    assert datetime.fromisoformat(since) == row["started_at"]  # whatever was written down since
    assert await stall("live").get_by_text("Live · took 41 s").is_visible()
    cover = stall("filling").locator("header img")
    assert "size=thumbnail" in await cover.get_attribute("src")
    assert await cover.get_attribute("alt") == ""
    assert await stall("filling").locator("progress").get_attribute("value") == "2"
    assert "seconds apart" in await stall("paced").inner_text()
    assert "3 fields as you wrote them" in await stall("live").inner_text()
    assert await stall("live").get_by_role("link", name="See it on Mercari").get_attribute("href") == (
        "https://www.mercari.com/us/item/m1/"
    )
    assert "Other than here: Size." in await stall("changed").inner_text()
    assert "There is no button “List”." in await stall("asked").inner_text()
    buttons = [await one.inner_text() for one in await stall("asked").get_by_role("button").all()]
    assert [text.split("\n")[0] for text in buttons] == ["Try again", "Do not post it"]
    await stall("asked").get_by_role("button", name="Try again").click()
    await page.get_by_text("Trying again.", exact=True).wait_for()
    assert await house.rows("SELECT 1 FROM publications WHERE needs_you IS NOT NULL") == []

    await stall("live").get_by_role("button", name="Take it down").click()
    if scripts:
        await page.get_by_role("dialog").get_by_role("button", name="Take it down").click()
    await page.get_by_text("Taking it down.", exact=True).wait_for()
    assert await stall("live").locator(".chip").inner_text() == "Taking down"
    assert len(await house.rows("SELECT 1 FROM publications WHERE wanted = 'ended'")) == 1


@pytest.mark.longer
async def test_what_is_refused_is_said_at_its_account_and_changes_nothing(house):
    alice = await house.person("alice")
    shirt, ids = await states(house, alice)
    await house.rows("UPDATE publications SET relist = NULL")
    page = await house.signed_in("alice", java_script_enabled=False)
    await page.goto(f"/listings/{shirt}/stalls")
    csrf = await page.locator("input[name=csrf]").first.get_attribute("value")
    answer = await page.request.post(
        f"/listings/{shirt}/stalls", form={"csrf": csrf, "account": ids["live"], "action": "retry"},
        headers={"Origin": house.url, "Accept": "text/html"},
    )  # fmt: skip
    assert answer.status == 400
    assert "does not wait for you" in await answer.text()
    for action in ("", "nonsense", "put_mine"):
        answer = await page.request.post(
            f"/listings/{shirt}/stalls", form={"csrf": csrf, "account": ids["asked"], "action": action},
            headers={"Origin": house.url, "Accept": "text/html"},
        )  # fmt: skip
        assert answer.status == 400, action
    assert len(await house.rows("SELECT 1 FROM publications WHERE needs_you IS NOT NULL")) == 1


async def test_what_is_somebody_elses_is_not_there(house):
    alice = await house.person("alice")
    shirt, ids = await states(house, alice)
    await house.person("bob")
    page = await house.signed_in("bob")
    csrf = await page.locator("input[name=csrf]").first.get_attribute("value")
    for path in (f"/listings/{shirt}/stalls", "/listings/nonsense/stalls"):
        answer = await page.request.get(path, headers={"Accept": "text/html"})
        assert answer.status == 404
        assert "Linen shirt" not in await answer.text()
    before = await house.rows("SELECT * FROM publications ORDER BY id")
    for path, form in (
        (f"/listings/{shirt}/stalls", {"account": ids["live"], "action": "end"}),
        (f"/listings/{shirt}/stalls", {"account": ids["asked"], "action": "retry"}),
        (f"/listings/{shirt}/stalls/post", {"account": ids["live"], "key": "k"}),
    ):
        answer = await page.request.post(
            path, form={"csrf": csrf, **form}, headers={"Origin": house.url, "Accept": "text/html"}
        )
        assert answer.status == 404, path
    assert await house.rows("SELECT * FROM publications ORDER BY id") == before
    assert await house.rows("SELECT 1 FROM jobs") == []


@pytest.mark.longer
async def test_whatever_a_marketplace_or_a_seller_wrote_is_shown_and_never_run(house):
    alice = await house.person("alice")
    evil = await account(house, alice, "mercari", "evil")
    await house.rows("UPDATE connections SET label = :evil", evil=EVIL)
    shirt = await listing(house, alice, title=EVIL)
    said = question(
        shirt, evil, "unresolved", EVIL, "it_is_there", "give_up", url=EVIL_URL, letter_to_buyer=EVIL
    )
    of = await publication(
        house, alice, shirt, evil, needs_you=said, looking=True, put="live", state="live", url=EVIL_URL,
        read_back={EVIL: False}, notes=[{"field": EVIL, "message": EVIL}],
    )  # fmt: skip
    await attempt(house, alice, of, conflict={EVIL: {"ours": EVIL, "theirs": EVIL}})
    page = await house.signed_in("alice")
    for path in (
        f"/listings/{shirt}/stalls",
        "/needs-you",
        f"/needs-you?at={EVIL}&did={EVIL}&on={EVIL}&done=9e9",
    ):
        await page.goto(path)
        assert await page.evaluate("window.ran") is None
        assert EVIL[:30] in await page.locator("main").inner_text()
        for link in await page.locator("a[href]").evaluate_all("all => all.map(one => one.protocol)"):
            assert link in ("http:", "https:")


@pytest.mark.longer
async def test_an_open_page_follows_what_happens(house):
    alice = await house.person("alice")
    shirt, ids = await states(house, alice)
    page = await house.signed_in("alice")
    await page.goto(f"/listings/{shirt}/stalls")
    await house.rows("UPDATE publications SET state = 'filling' WHERE state = 'composing'")
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    opening = page.locator(f"#{ids['opening']}")
    await opening.get_by_text("Filling in", exact=True).wait_for()
    assert "Mercari, opening: Filling in." in await page.locator("#said").inner_text()


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.longer
async def test_how_it_looks(house, scheme, width):
    alice = await house.person("alice")
    await three(house, alice)
    fresh = await listing(house, alice, title="Wool coat, long, with a belt", brand=None)
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto(f"/listings/{fresh}/stalls")
    await passes(page, "stalls-new")
    shirt, _ = await states(house, alice)
    await page.goto(f"/listings/{shirt}/stalls")
    await passes(page, "stalls")
    await page.get_by_role("button", name="Take it down").first.click()
    await passes(page, "stalls-sure")


@pytest.mark.parametrize("looking", [False, True])
@pytest.mark.parametrize("wanted", ["live", "ended"])
def test_what_waits_for_a_rest_that_its_marketplace_asked_for_says_until_when(wanted, looking):
    now = datetime.now(UTC)
    rest = now + timedelta(minutes=20)
    row = SimpleNamespace(
        needs_you=None, unsettled=True, looking=looking, state="ending", marketplace="mercari", wanted=wanted,
        put="live", next_try_at=None, paced_to=None,
    )  # fmt: skip
    alice = SimpleNamespace(paused_at=None)
    why = why_waiting(row, SimpleNamespace(rest_until=rest, paused_at=None), alice, None, now, 1)
    assert (why.until, "Mercari asked us to rest." in why.text) == (rest, True)
    assert ("taken down right after that" in why.text) is (wanted == "ended")
