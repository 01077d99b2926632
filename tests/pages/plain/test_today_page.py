"""The start page: the way to the first live listing, and practising without touching anything real."""

from __future__ import annotations

import json
import os

import pytest

from everystall.errors import Misconfigured
from everystall.inventory.sample import LISTING
from everystall.marketplaces import get_form
from everystall.marketplaces.fees import fee_of
from everystall.switch import Asker, Switch
from everystall.web import numbers
from tests.pages.standing import account, listing, publication


def real(house):
    """As an installation for the real marketplaces has it."""
    for name, url in (("poshmark", "poshmark.com"), ("mercari", "www.mercari.com"), ("ebay", "www.ebay.com")):
        object.__setattr__(house.settings, f"{name}_url", f"https://{url}")


async def test_each_step_is_the_next_until_the_first_listing_is_live(house, reader):
    alice, bob = await reader("alice"), await reader("bob")

    async def next_step(who):
        page = (await who.get("/")).text
        step = page.partition('data-state="next"')[2].partition("<h3>")[2]
        return step.partition("</h3>")[0]

    assert await next_step(alice) == "Pair the browser that you sell with"
    assert 'href="/connections">Sign in here instead' in (await alice.get("/")).text
    ebay = await account(house, alice.id, "ebay", "alice")
    assert await next_step(alice) == "Write your first listing"
    assert "2 of 4 done." in await alice.text("/")
    shirt = await listing(house, alice.id)
    assert await next_step(alice) == "Post it to all"
    assert f'href="/listings/{shirt}/stalls"' in (await alice.get("/")).text
    of = await publication(house, alice.id, shirt, ebay, state="filling")
    assert "See where it stands" in await alice.text("/")
    await house.rows(
        "UPDATE publications SET state = 'live', put = 'live' WHERE id = CAST(:of AS uuid)", of=of
    )
    said = await alice.text("/")
    assert "What to do next" not in said
    assert "Live at marketplaces 1" in said
    assert await next_step(bob) == "Pair the browser that you sell with"


async def test_that_no_worker_runs_is_said_with_what_to_do_and_that_nothing_is_lost(
    house, reader, monkeypatch
):
    alice, bob = await reader("alice"), await reader("bob")
    shirt, hat = await listing(house, alice.id), await listing(house, bob.id, title="Hat")
    pages = []
    for who, what, states in ((alice, shirt, ("waiting", "filling")), (bob, hat, ("waiting",))):
        for state, marketplace in zip(states, ("ebay", "mercari"), strict=False):
            closet = await account(house, who.id, marketplace, f"{who.id}"[:8])
            await publication(house, who.id, what, closet, state=state)
        pages += [(who, "/", 1), (who, f"/listings/{what}/stalls", len(states))]
    monkeypatch.setattr(numbers, "NONE_SECONDS", 1e9)
    for who, page, _ in pages:
        assert "No worker of Everystall runs" not in await who.text(page)  # it was just started anew, say
    monkeypatch.setattr(numbers, "NONE_SECONDS", -1.0)
    for who, page, times in pages:
        said = await who.text(page)
        assert said.count("No worker of Everystall runs now") == times, said
        assert "Nothing is lost" in said
        assert "starts one with everystall worker , or all of it with everystall up ." in said
        assert "In a moment" not in said
    await house.rows("UPDATE users SET paused_at = now() WHERE id = :id", id=bob.id)
    assert "You paused posting everywhere." in await bob.text(f"/listings/{hat}/stalls")
    assert "Hat" not in await alice.text(f"/listings/{shirt}/stalls")


async def test_what_sold_lately_is_told_to_who_sold_it(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    for who in (alice, bob):
        ebay = await account(house, who.id, "ebay", f"ebay-{who.id}")
        shirt = await listing(house, who.id)
        await publication(house, who.id, shirt, ebay, state="live", put="live")
    assert "Nothing sold in these days." in await alice.text("/")
    for hours, title, cancelled in (
        (2, "Wool hat", False), (50, "Silk scarf", False), (60, "Red cup", True), (999, "Old coat", False),
    ):  # fmt: skip
        await house.rows(
            "INSERT INTO sales (user_id, connection_id, order_id, title, price_cents, quantity, category, "
            "cost_cents, sold_at, sold_at_exact, observed_at, cancelled_at) SELECT user_id, id, :title, "
            ":title, 2000, 1, 'men.shirts.casual', 500, at, true, at, CASE WHEN :cancelled THEN at END "
            "FROM connections, LATERAL (SELECT now() - :hours * interval '1 hour' AS at) t "
            "WHERE user_id = :alice",
            alice=alice.id, title=title, hours=hours, cancelled=cancelled,
        )  # fmt: skip
    said = await alice.text("/")
    left = 2000 - fee_of(get_form("ebay").FEES, 2000, "men.shirts.casual") - 500
    assert f"In 24 hours 1 order, $20.00 about ${left / 100:.2f} left" in said
    assert f"In 7 days 2 orders, $40.00 about ${left / 50:.2f} left" in said
    assert "In 30 days 2 orders" in said
    assert said.index("Wool hat") < said.index("Silk scarf") < said.index("Red cup")
    assert "eBay cancelled" in said
    his = await bob.text("/")
    assert "Nothing sold in these days." in his
    assert "Wool hat" not in his


async def test_who_practises_may_begin_with_a_sample_and_is_told_where_they_are(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    await account(house, alice.id, "ebay", "alice")
    said = await alice.text("/")
    assert "These are practice marketplaces" in said
    assert "everystall up --practice" not in said
    assert "nothing here reaches a real marketplace" in (await alice.get("/account")).text
    there = await alice.done("/today/sample")
    page = await alice.text(there)
    assert LISTING["title"] in page
    (row,) = await house.rows("SELECT user_id, count(*) AS photos FROM listing_photos GROUP BY user_id")
    assert (row["user_id"], row["photos"]) == (alice.id, 4)
    assert LISTING["title"] not in await bob.text("/inventory")


async def test_at_real_marketplaces_there_is_no_sample_and_the_way_to_practise_is_told(house, reader):
    real(house)
    alice = await reader("alice")
    said = await alice.text("/")
    assert "Try it on practice marketplaces first" in said
    assert "everystall up --practice" in said
    assert "Take a sample" not in said
    assert (await alice.post("/today/sample")).status_code == 404
    assert await house.rows("SELECT 1 FROM listings") == []
    assert "nothing here reaches a real marketplace" not in (await alice.get("/")).text


async def test_a_practice_account_among_real_ones_says_so_and_the_other_way_round(house, reader):
    alice = await reader("alice")
    await account(house, alice.id, "ebay", "alice")
    for path in ("/", "/connections"):
        assert "Practice account" not in await alice.text(path)
    real(house)
    for path in ("/", "/connections"):
        assert "Practice account" in await alice.text(path)
    await house.rows("UPDATE connections SET base_url = 'https://www.ebay.com'")
    assert "Practice account" not in await alice.text("/connections")
    object.__setattr__(house.settings, "ebay_url", "http://ebay.localhost:8730")
    assert "Real account" in await alice.text("/connections")


SWITCH = "Try it on the practice marketplaces"


async def owner_of(house, reader, name="alice"):
    owner = await reader(name)
    await house.rows("UPDATE users SET role = 'owner' WHERE id = :id", id=owner.id)
    return owner


async def test_the_owner_alone_has_the_switch_to_practise_and_only_where_up_turns_it(house, reader):
    real(house)
    alice, bob = await owner_of(house, reader), await reader("bob")
    switch = Switch(house.settings.everystall_home)
    for page in ("/", "/settings"):
        said = await alice.text(page)
        assert (SWITCH in said, "everystall up --practice" in said) == (False, True)
    refused = await alice.post("/practice")
    assert (refused.status_code, "everystall up --practice" in refused.text) == (409, True)
    switch.look()
    for page in ("/", "/settings"):
        said = await alice.text(page)
        assert (SWITCH in said, "everystall up --practice" in said) == (True, False)
    said = await bob.text("/")
    assert (SWITCH in said, "everystall up --practice" in said) == (False, True)
    for address in ("/practice", "/practice/end"):
        assert (await bob.post(address)).status_code == 404
    assert (await bob.get("/practice")).status_code == 404
    assert (await alice.post("/practice/end")).status_code == 404
    assert (await alice.get("/practice")).headers["location"] == "/"
    object.__setattr__(house.settings, "public_url", "https://everystall.test")
    assert SWITCH not in await alice.text("/")  # the practice marketplaces would not be at their machine
    assert not switch.is_asked()


async def test_practising_is_asked_for_without_a_secret_and_the_page_waits_until_it_is_done(house, reader):
    real(house)
    alice, bob = await owner_of(house, reader), await reader("bob")
    home = house.settings.everystall_home
    switch = Switch(home)
    switch.look()
    assert await alice.done("/practice") == "/practice"
    (cookie,) = alice.client.cookies.values()
    asked = home / "switch.json"
    assert (oct(asked.stat().st_mode & 0o777), cookie in asked.read_text()) == ("0o600", False)
    assert "Starting the practice marketplaces" in (await alice.get("/practice")).text
    part = await alice.get("/practice", headers={"X-Part": "turn"})
    assert part.text.lstrip().startswith("<section")
    assert (await bob.get("/practice")).status_code == 404
    assert not Switch(home).look()  # the page may be on its way
    os.utime(asked, (0, 0))
    assert Switch(home).look()
    (row,) = await house.rows("SELECT token_hash FROM api_tokens WHERE user_id = :id", id=alice.id)
    assert switch.take() == Asker("alice@example.com", None, row["token_hash"].hex(), "A browser")
    assert (switch.take(), asked.exists()) == (None, False)
    assert (await alice.get("/practice")).headers["location"] == "/"
    switch.fail(Misconfigured("Port 8730 on 127.0.0.1 is taken.", action="Stop what listens there."))
    assert "Port 8730 on 127.0.0.1 is taken. Stop what listens there." in await alice.text("/")
    assert "Port 8730" not in await bob.text("/")
    await alice.done("/practice")
    assert switch.failed() is None


async def test_once_anybody_has_a_real_account_the_switch_says_why_there_is_none(house, reader):
    real(house)
    alice, bob = await owner_of(house, reader), await reader("bob")
    switch = Switch(house.settings.everystall_home)
    switch.look()
    await account(house, bob.id, "ebay", "bob")
    for page in ("/", "/settings"):
        said = await alice.text(page)
        assert SWITCH not in said
        assert "nobody would watch its sales meanwhile" in said
        assert "everystall up --practice" in said
    refused = await alice.post("/practice")
    assert (refused.status_code, "nobody would watch its sales" in refused.text) == (409, True)
    assert not switch.is_asked()


async def test_who_practises_goes_back_by_the_switch_and_is_told_what_ends(house, reader):
    alice, bob = await owner_of(house, reader), await reader("bob")
    switch = Switch(house.settings.everystall_home)
    assert "Back to my own Everystall" not in await alice.text("/")  # `up --practice` itself
    assert (await alice.post("/practice/end")).status_code == 409
    switch.look()
    for page in ("/", "/settings"):
        there = (await alice.get(page)).text
        assert "Back to my own Everystall" in there
        assert "Practice accounts, listings and sales are gone then." in there
    assert "Back to my own Everystall" not in await bob.text("/")
    assert (await bob.post("/practice/end")).status_code == 404
    assert (await alice.post("/practice")).status_code == 404
    assert await alice.done("/practice/end") == "/practice"
    assert json.loads((house.settings.everystall_home / "switch.json").read_text()) == {}
    assert "Going back to your own Everystall" in (await alice.get("/practice")).text


@pytest.mark.longer
async def test_after_a_restore_the_steps_lead_to_pages(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    await house.rows("UPDATE users SET restored_to = now(), paused_at = now() WHERE id = :id", id=alice.id)
    steps = (await alice.get("/")).text.partition('<ol class="steps">')[2].partition("</ol>")[0]
    assert '<a href="/inventory/import">' in steps
    assert "/api/docs" not in steps
    assert "was put back" not in await bob.text("/")
