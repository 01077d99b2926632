"""Taking down and relisting many, where it was chosen alone: by marketplace, by account; nobody else's."""

from __future__ import annotations

import re

import pytest

from tests.pages.plain.conftest import plain
from tests.pages.standing import account, attempt, listing, publication

VERBS = pytest.mark.parametrize("verb", ["end", "relist"])
GONE = {"reason": "disconnected", "message": "You took it away."}
#: What is asked for where, of these verbs.
ASKED = {"end": "wanted = 'ended'", "relist": "relist = 'asked'"}
DONE = {"end": "being taken down", "relist": "taken down and posted again"}


async def live(house, who, shirt, *names):
    """On these accounts, long enough to be relisted."""
    for name in names:
        there = await publication(
            house, who.id, shirt, name, state="live", put="live", put_revision=1, remote_id=f"{shirt}{name}"
        )
        await attempt(house, who.id, there)
        await house.rows(
            "UPDATE attempts SET outcome = 'live', created_at = now() - interval '90 days' "
            "WHERE publication_id = CAST(:id AS uuid)", id=there,
        )  # fmt: skip


async def stalls(house, reader):
    """Alice: two shirts on Mercari and Poshmark, one on Poshmark alone. Bob: one on Mercari."""
    alice, bob = await reader("alice"), await reader("bob")
    mercari, poshmark = [await account(house, alice.id, name, "alice") for name in ("mercari", "poshmark")]
    theirs = await account(house, bob.id, "mercari", "bob")
    ids = [await listing(house, alice.id, title=f"Shirt {number}", sku=f"A-{number}") for number in range(3)]
    for shirt in ids[:2]:
        await live(house, alice, shirt, mercari, poshmark)
    await live(house, alice, ids[2], poshmark)
    await live(house, bob, await listing(house, bob.id, title="Of Bob"), theirs)
    return alice, bob, mercari, poshmark, theirs, ids


async def asked(house, verb):
    rows = await house.rows(
        "SELECT c.public_id, l.title FROM publications p JOIN connections c ON c.id = p.connection_id "
        f"JOIN listings l ON l.id = p.listing_id WHERE p.{ASKED[verb]} ORDER BY 1, 2"
    )
    return [(row["public_id"], row["title"]) for row in rows]


def checked(html):
    """The accounts that are ticked, and those that are not."""
    boxes = re.findall(r'name="account" value="([^"]+)"( checked)?', html)
    return [id for id, on in boxes if on], [id for id, on in boxes if not on]


@VERBS
async def test_it_is_done_at_the_chosen_accounts_alone_and_taken_back_there(house, reader, verb):
    alice, bob, mercari, poshmark, theirs, ids = await stalls(house, reader)
    form = {"do": verb, "ids": " ".join(ids)}
    first = (await alice.post("/inventory/bulk", **form)).text
    assert '<legend class="vh">Where</legend>' in first
    assert checked(first) == ([poshmark, mercari], [])
    assert "2 of these" in plain(first)
    assert "3 of these" in plain(first)
    assert theirs not in first

    form |= {"accounts": "chosen", "account": mercari, "looked": mercari}
    shown = plain((look := await alice.post("/inventory/bulk", **form)).text)
    assert checked(look.text) == ([mercari], [poshmark])
    assert re.search(r"again 2 |down 2 ", shown)
    stays = "Stays on Poshmark." if verb == "end" else "Stays as it is on Poshmark."
    assert shown.count(stays) == 3
    assert await asked(house, verb) == []
    assert (await bob.post("/inventory/bulk", **form, sure="yes")).status_code == 404
    assert await asked(house, verb) == []

    done = (await alice.post("/inventory/bulk", **form, sure="yes")).text
    assert f"2 listings are {DONE[verb]}." in done
    assert "1 listing stayed as it was." in plain(done)
    assert await asked(house, verb) == [(mercari, "Shirt 0"), (mercari, "Shirt 1")]

    # what was asked for elsewhere before stays when this is taken back
    await alice.post("/inventory/bulk", do=verb, ids=ids[2], sure="yes")
    named = re.search(r'name="publications" value="([^"]+)"', done)[1]
    assert len(named.split()) == 2
    assert (await bob.post("/inventory/undo/ends", publications=named)).status_code == 404
    undone = await alice.post("/inventory/undo/ends", publications=named)
    assert "2 take-downs are taken back." in undone.text
    assert await asked(house, verb) == [(poshmark, "Shirt 2")]


@VERBS
async def test_in_a_list_of_one_marketplace_its_accounts_alone_are_chosen(house, reader, verb):
    alice, _, mercari, poshmark, _, _ = await stalls(house, reader)
    form = {"do": verb, "all": "yes", "count": "2", "on": "mercari"}
    shown = (await alice.post("/inventory/bulk", **form)).text
    assert checked(shown) == ([mercari], [poshmark])
    both = await alice.post("/inventory/bulk", **form, accounts="chosen", account=[mercari, poshmark])
    assert checked(both.text) == ([poshmark, mercari], [])
    await alice.post("/inventory/bulk", **form, sure="yes")
    assert await asked(house, verb) == [(mercari, "Shirt 0"), (mercari, "Shirt 1")]


@VERBS
async def test_where_it_was_chosen_anew_since_the_look_it_is_shown_again_first(house, reader, verb):
    alice, _, mercari, poshmark, theirs, ids = await stalls(house, reader)
    form = {"do": verb, "ids": " ".join(ids), "accounts": "chosen", "sure": "yes"}
    looked = f"{mercari} {poshmark}"
    again = (await alice.post("/inventory/bulk", **form, account=poshmark, looked=looked)).text
    assert "You chose other accounts." in again
    assert checked(again) == ([poshmark], [mercari])
    none = plain((await alice.post("/inventory/bulk", **form, looked=looked)).text)
    assert "You chose other accounts." in none
    assert none.count("Stays") == 5
    of_bob = (await alice.post("/inventory/bulk", **form, account=theirs, looked=theirs)).text
    assert f"0 listings are {DONE[verb]}." in of_bob
    assert await asked(house, verb) == []
    await alice.post("/inventory/bulk", **form, account=poshmark, looked=poshmark)
    assert {place for place, _ in await asked(house, verb)} == {poshmark}


async def test_two_accounts_of_a_marketplace_are_told_apart_and_one_taken_away_is_offered(house, reader):
    alice, _, mercari, poshmark, _, ids = await stalls(house, reader)
    second = await account(house, alice.id, "mercari", "closet", needs_you=GONE)
    empty = await account(house, alice.id, "ebay", "gone", needs_you=GONE)
    await live(house, alice, ids[0], second)
    form = {"do": "end", "ids": " ".join(ids)}
    shown = (await alice.post("/inventory/bulk", **form)).text
    assert set(checked(shown)[0]) == {mercari, second, poshmark}
    assert empty not in shown
    assert "1 of these · Taken away: it waits" in plain(shown)
    form |= {"accounts": "chosen", "account": second}
    shown = plain((await alice.post("/inventory/bulk", **form)).text)
    assert "Mercari (closet)" in shown
    assert "Stays on Mercari (alice)." in shown
    await alice.post("/inventory/bulk", **form, sure="yes")
    assert await asked(house, "end") == [(second, "Shirt 0")]
