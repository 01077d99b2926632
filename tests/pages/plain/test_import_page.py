"""Listings that come in and go out, on their pages: a file, an account's live listings, everything."""

from __future__ import annotations

import asyncio
import io
import zipfile

import httpx
import pytest

from everystall.web import numbers
from tests.bringing import bring_in
from tests.pages.conftest import EVIL
from tests.pages.plain.conftest import plain
from tests.pages.standing import account, listing
from tests.test_incoming import VENDOO, file

MUG = {"Title": "Mug", "Sku": "M-1", "Price": "5.00", "Quantity Left": "1"}
CUP = {"Title": "Cup", "Price": "6.00", "Condition": "so so", "Images": "https://a.example/1.jpg"}
FILE = "/inventory/import/file"


@pytest.mark.longer
async def test_a_file_is_looked_at_brought_in_and_followed(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    sent = {"file": ("mine.csv", file(VENDOO, MUG, {**CUP, "Internal Notes": "x"}))}
    looked = plain((await alice.post(FILE, sent, do="look")).text)
    assert "A file of Vendoo, 2 listings. Nothing is written yet. New listings 2" in looked
    assert "Line 3 Cup New" in looked
    assert "1 photo is fetched from where the file says" in looked
    assert "no place for: Internal Notes" in looked
    assert await house.rows("SELECT 1 FROM imports") == []
    there = await alice.done(FILE, sent, do="take")
    assert await alice.done(FILE, sent, do="take") == there  # nothing twice
    said = await alice.text(there)
    assert "0 of 2 rows" in said
    assert "1 photo is still to be fetched" in said
    assert "mine.csv" in await alice.text("/inventory/import")
    await bring_in(house.database, asyncio.Event())
    said = await alice.text(there)
    assert "2 rows are through" in said
    assert "so so" in said
    assert "1 photo of the file did not come in" in said
    assert "The photo https://a.example/1.jpg did not come in. Nobody is reached there." in said
    assert (await bob.get(there)).status_code == 404
    assert "mine.csv" not in await bob.text("/inventory/import")


async def test_another_file_waits_until_the_first_is_through(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    await alice.done(FILE, {"file": ("a.csv", file(VENDOO, MUG))}, do="take")
    refused = await alice.post(FILE, {"file": ("b.csv", file(VENDOO, CUP))}, do="take")
    assert refused.status_code == 409
    assert "Another file is being brought in." in plain(refused.text)
    await bob.done(FILE, {"file": ("b.csv", file(VENDOO, CUP))}, do="take")


async def test_what_is_no_file_of_listings_is_refused_at_the_field(house, reader):
    alice = await reader("alice")
    for sent, said in (
        ({"file": ("", b"")}, "No file is chosen."),
        ({"file": ("a.csv", b"what is this")}, ""),
        ({"file": ("a.zip", b"PK and nothing")}, "no archive of an inventory"),
        ({"other": ("a.csv", b"x")}, "No file is chosen."),
        ({"file": ("a.csv", b"x" * (20 * 1024 * 1024 + 1))}, "20 MB"),
    ):
        answer = await alice.post(FILE, sent, do="look")
        assert answer.status_code in (400, 413, 422), said
        assert 'aria-invalid="true"' in answer.text
        assert said in plain(answer.text)
    assert await house.rows("SELECT 1 FROM imports") == []


async def test_only_our_own_form_brings_a_file_in(house, reader):
    alice = await reader("alice")
    sent = {"file": ("a.csv", file(VENDOO, MUG))}
    for form, headers in (({}, {}), ({"csrf": "0" * 64}, {}), ({}, {"Sec-Fetch-Site": "cross-site"})):
        answer = await alice.client.post(FILE, data=form, files=sent, headers=headers)
        assert answer.status_code == 403
    assert await house.rows("SELECT 1 FROM imports") == []
    async with httpx.AsyncClient(base_url=house.url) as stranger:
        assert (await stranger.post(FILE, files=sent)).status_code == 303
    assert (await alice.get(FILE)).headers["location"] == "/inventory/import"


async def test_everything_goes_out_and_comes_in_with_its_photos(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    shirt = await listing(house, alice.id)
    assert "1 listing as CSV and JSON, 1 original photo" in await alice.text("/inventory/export")
    assert "0 listings" in await bob.text("/inventory/export")
    packed = (await alice.get("/api/export")).content
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert shirt in archive.read("listings.csv").decode()
    sent = {"file": ("mine.zip", packed)}
    assert "New listings 1" in plain((await bob.post(FILE, sent, do="look")).text)
    await bob.done(FILE, sent, do="take")
    await bring_in(house.database, asyncio.Event())
    (theirs,) = await house.rows(
        "SELECT l.title, p.sha256 FROM listings l JOIN listing_photos p ON p.listing_id = l.id "
        "WHERE l.user_id = :bob",
        bob=bob.id,
    )
    assert theirs["title"] == "Linen shirt, hardly worn"


async def live_import(house, public_id, **values):
    """As a worker left it, with a listing of each outcome."""
    known = {"status": "running", "listed_at": None, "message": None, **values}
    (row,) = await house.rows(
        "INSERT INTO live_imports (user_id, connection_id, status, listed_at, message, finished_at) "
        "SELECT user_id, id, CAST(:status AS text), CAST(:listed_at AS timestamptz), :message, "
        "CASE WHEN :status <> 'running' THEN now() END FROM connections WHERE public_id = :account "
        "RETURNING id, user_id",
        account=public_id, **known,
    )  # fmt: skip
    outcomes = (("created", "Linen shirt"), ("known", "Mug"), ("failed", "Cup"), (None, "Lamp"))
    for place, (outcome, title) in enumerate(outcomes):
        await house.rows(
            "INSERT INTO live_import_items (user_id, import_id, remote_id, position, title, outcome, notes) "
            "VALUES (:user, :import, :remote, :place, :title, :outcome, CAST(:notes AS jsonb))",
            user=row["user_id"], remote=f"r-{place}", place=place, title=title, outcome=outcome,
            notes='[{"field": "category", "message": "Its category there is none of ours."}]'
            if place == 0 else "[]", **{"import": row["id"]},
        )  # fmt: skip


async def test_what_is_live_on_an_account_is_asked_for_and_followed(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    ebay = await account(house, alice.id, "ebay", "alice")
    challenge = {"reason": "challenge", "message": "A code."}
    away = await account(house, alice.id, "mercari", "away", needs_you=challenge)
    assert "away Nobody can look there now." in await alice.text("/inventory/import")
    there = await alice.done(f"/connections/{ebay}/import")
    assert there == f"/inventory/import?said=live-import#from-{ebay}"
    said = await alice.text("/inventory/import?said=live-import")
    assert "It is being read." in said
    assert "Its list is being read: 0 listings so far" in said
    await house.rows("DELETE FROM live_imports")
    await live_import(house, ebay, status="done", listed_at="2026-11-26T10:00:00Z", message=None)
    said = await alice.text("/inventory/import")
    assert "1 listing came in, 1 was here already, 1 could not be read" in said
    assert "Its category there is none of ours." in await alice.text(f"/connections/{ebay}/import")
    refused = await alice.post(f"/connections/{away}/import")
    assert (refused.status_code, "cannot be visited now: A code." in refused.text) == (400, True)
    assert (await bob.post(f"/connections/{ebay}/import")).status_code == 404
    assert (await bob.get(f"/connections/{ebay}/import")).status_code == 404
    assert "Came in" not in await bob.text("/inventory/import")


async def test_what_a_marketplace_says_is_text(house, reader):
    alice = await reader("alice")
    ebay = await account(house, alice.id, "ebay", "alice")
    await live_import(house, ebay, status="failed", message=EVIL)
    await house.rows("UPDATE live_import_items SET title = :evil", evil=EVIL)
    for path in ("/inventory/import", f"/connections/{ebay}/import"):
        page = (await alice.get(path)).text
        assert "<img src=x" not in page
        assert "&lt;img src=x" in page


async def test_that_no_worker_runs_is_said_where_one_would_bring_it_in(house, reader, monkeypatch):
    alice, bob = await reader("alice"), await reader("bob")
    for who in (alice, bob):
        await account(house, who.id, "ebay", f"{who.id}"[:8])
    there = await alice.done(FILE, {"file": ("mine.csv", file(VENDOO, MUG))}, do="take")
    told = "No worker of Everystall runs now: nothing comes in. Nothing is lost"
    for seconds, times in ((1e9, 0), (-1.0, 1)):
        monkeypatch.setattr(numbers, "NONE_SECONDS", seconds)
        for who, path in ((alice, there), (alice, "/inventory/import"), (bob, "/inventory/import")):
            assert (await who.text(path)).count(told) == times, path
    await bring_in(house.database, asyncio.Event())
    assert told not in await alice.text(there)  # it is through
    assert (await bob.get(there)).status_code == 404
