"""Two listings that may be one thing, on their page: the answers, the undo, each seller's own."""

from __future__ import annotations

import json

from tests.pages.conftest import EVIL
from tests.pages.standing import account, attempt, listing, publication

PAGE = "/inventory/matches"


async def pair(house, user, *titles, number=""):
    """A shirt on Poshmark and again on eBay, proposed as one thing; the match and both listings."""
    sides = []
    for marketplace, title in zip(
        ("poshmark", "ebay"), titles or ("Linen shirt", "Shirt of linen"), strict=True
    ):
        name = f"{marketplace[:4]}{number}-{str(user)[:6]}"
        on = await account(house, user, marketplace, name)
        made = await listing(house, user, title=title, sku=f"{marketplace}-{number}", price_cents=2500)
        of = await publication(house, user, made, on, state="live", put="live", put_revision=1)
        await attempt(house, user, of)
        await house.rows(
            "UPDATE attempts SET outcome = 'live', armed_at = now(), remote_id = :remote "
            "WHERE publication_id = CAST(:of AS uuid)",
            remote=f"r-{name}", of=of,
        )  # fmt: skip
        sides.append(made)
    (row,) = await house.rows(
        "INSERT INTO matches (user_id, one_id, other_id, points, reasons, doubts) VALUES (:user, "
        "least(CAST(:a AS uuid), CAST(:b AS uuid)), greatest(CAST(:a AS uuid), CAST(:b AS uuid)), 7, "
        "CAST(:reasons AS jsonb), CAST(:doubts AS jsonb)) RETURNING id",
        user=user, a=sides[0], b=sides[1], reasons=json.dumps(["One photo in common"]),
        doubts=json.dumps(["One has no size"]),
    )  # fmt: skip
    return str(row["id"]), *sides


async def test_a_pair_is_shown_side_by_side_and_linked_and_taken_back(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    match, one, other = await pair(house, alice.id)
    said = await alice.text(PAGE)
    for told in ("Linen shirt", "Shirt of linen", "One photo in common", "One has no size", "To answer 1",
                 "SKU (differs)", "Colours Blue Blue"):  # fmt: skip
        assert told in said, told
    assert "Price (differs)" not in said
    assert f"/api/listings/{one}/photos/" in (await alice.get(PAGE)).text
    assert "Linen" not in await bob.text(PAGE)
    for say in ("same", "apart", "undo"):
        assert (await bob.post(f"{PAGE}/{match}", say=say)).status_code == 404

    there = await alice.done(f"{PAGE}/{match}", say="same")
    assert there == f"{PAGE}?answered={match}&said=linked"
    page = await alice.text(there)
    assert "One thing." in page
    assert "Undo" in page
    assert "Nothing to answer" in page
    assert "Undo" not in await bob.text(there)
    assert len(await house.rows("SELECT 1 FROM listings")) == 1
    assert "Linked by you" in await alice.text(f"{PAGE}?state=linked")
    await alice.done(f"{PAGE}/{match}", say="undo")
    rows = await house.rows("SELECT id::text FROM listings")
    assert {row["id"] for row in rows} == {one, other}
    assert "To answer 1" in await alice.text(PAGE)


async def test_a_pair_is_called_apart_and_asked_again(house, reader):
    alice = await reader("alice")
    match, *_ = await pair(house, alice.id)
    await alice.done(f"{PAGE}/{match}", say="apart")
    assert "Linen shirt" not in await alice.text(PAGE)
    assert "Said by you" in await alice.text(f"{PAGE}?state=apart")
    assert await alice.done(f"{PAGE}/{match}", say="undo") == f"{PAGE}?said=asked-again"
    (row,) = await house.rows("SELECT state, decided_by FROM matches")
    assert dict(row) == {"state": "proposed", "decided_by": None}
    await house.rows("DELETE FROM publications")
    await house.rows("DELETE FROM listings WHERE title = 'Shirt of linen'")
    assert "To answer 0" in await alice.text(PAGE)


async def test_what_cannot_be_linked_says_why(house, reader):
    alice = await reader("alice")
    match, *_ = await pair(house, alice.id)
    await house.rows("UPDATE publications SET state = 'ending', wanted = 'ended'")
    answer = await alice.post(f"{PAGE}/{match}", say="same")
    assert answer.status_code == 400
    assert "What to do" not in answer.text
    assert 'role="alert"' in answer.text
    assert (await house.rows("SELECT state FROM matches"))[0]["state"] == "proposed"
    assert (await alice.post(f"{PAGE}/{match}", say="maybe")).status_code == 303
    assert (await alice.post(f"{PAGE}/nothing", say="same")).status_code == 404


async def test_an_address_that_says_nonsense_is_the_page(reader):
    alice = await reader("alice")
    for query in ("?state=x", "?answered=x", "?said=linked", "?state=linked&answered="):
        assert "Matches" in await alice.text(f"{PAGE}{query}")


async def test_comparing_is_asked_for_and_said(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    assert "Not compared yet." in await alice.text(PAGE)
    await alice.done(f"{PAGE}/compare")
    assert "are being compared just now" in await alice.text(PAGE)
    assert "Not compared yet." in await bob.text(PAGE)
    assert len(await house.rows("SELECT 1 FROM matchings")) == 1


async def test_many_pairs_come_page_by_page_and_a_title_is_text(house, reader):
    alice = await reader("alice")
    for number in range(22):
        await pair(house, alice.id, EVIL, "Mug", number=number)
    first = (await alice.get(PAGE)).text
    assert first.count("<article") == 20
    assert "<img src=x" not in first
    after = first.partition("after=")[2].partition('"')[0]
    assert (await alice.get(f"{PAGE}?state=proposed&after={after}")).text.count("<article") == 2
