"""What an import of live listings knows by the rows; the marketplaces' side is tests/journeys."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update

from everystall.content.photos import Fingerprint, StoredPhoto
from everystall.errors import MarketplaceBusy
from everystall.inventory import imports, live_imports, sales
from everystall.inventory.live_imports import Read, TakenPhoto
from everystall.marketplaces.base import Active, Money, Seen
from everystall.models import (
    Attempt,
    Connection,
    DoubleSale,
    Import,
    ImportRow,
    Listing,
    ListingPhoto,
    ListingSource,
    LiveImport,
    LiveImportItem,
    Matching,
    Publication,
)
from everystall.models import Sale as Row
from everystall.worker import read_in
from tests.conftest import OPEN_ONES
from tests.selling import all_of, an_order, cancel, one_of, publish, rule, take


def row(remote_id, sku=None, title="A shirt"):
    return Active(remote_id, "live", title, Money(amount=900), sku=sku)


@pytest.fixture
async def doing(db, alice, stand):
    """The listing that is `r-1` on an account, and an import of that account; another is `r-2` elsewhere."""
    listing, (here, _) = await stand("ebay", "mercari")
    async with db.as_user(alice) as session:
        made = LiveImport(user_id=alice, connection_id=here.id)
        session.add(made)
        await session.flush()
        await session.refresh(made)
    return listing, made


async def attempt(db, doing, **values):
    async with db.as_user(doing.user_id) as session:
        await session.execute(
            update(Attempt).where(Attempt.connection_id == doing.connection_id).values(**values)
        )


async def note(db, doing, number, *rows):
    async with db.as_user(doing.user_id) as session:
        mine = await session.get_one(LiveImport, doing.id)
        return await live_imports.note_page(session, mine, rows, number)


async def test_a_page_says_how_many_it_brought_and_what_is_ours_is_known(db, alice, doing):
    listing, mine = doing
    assert await note(db, mine, 1, row("r-1"), row("r-2", "A-17"), row("r-9")) == 3
    assert await note(db, mine, 2, row("r-9"), row("r-10")) == 1
    assert await note(db, mine, 3, row("r-10"), row("r-1")) == 0
    assert await note(db, mine, 4) == 0
    async with db.as_user(alice) as session:
        found = await session.scalars(select(LiveImportItem).order_by(LiveImportItem.position))
        items = [(one.remote_id, one.outcome, one.listing_id) for one in found]
    assert items == [
        ("r-1", "known", listing.id),
        ("r-2", None, None),  # that is ours on another account
        ("r-9", None, None),
        ("r-10", None, None),
    ]


async def test_what_a_post_of_ours_made_is_ours_by_its_mark_before_its_number_is_known(db, alice, doing):
    listing, mine = doing
    await attempt(db, mine, remote_id=None, outcome=None, marker="~K7Q2XM")
    async with db.as_user(alice) as session:
        assert await live_imports.find_ours(session, mine, "r-9", "A-17 ~K7Q2XM") == listing.id
        for sku in ("A-17 ~K7Q2XN", "A-17", None):
            assert await live_imports.find_ours(session, mine, "r-9", sku) is None
        await session.execute(update(LiveImport).values(connection_id=await _other(session, mine)))
    async with db.as_user(alice) as session:
        elsewhere = await session.get_one(LiveImport, mine.id)
        assert await live_imports.find_ours(session, elsewhere, "r-9", "A-17 ~K7Q2XM") is None


async def _other(session, doing):
    return await session.scalar(select(Connection.id).where(Connection.id != doing.connection_id))


@pytest.mark.parametrize(
    ("values", "title", "open_"),
    [
        ({"outcome": None}, "A shirt", True),
        ({"outcome": None}, "Another", False),
        ({"outcome": None, "armed_at": None}, "A shirt", False),
        ({"outcome": "live"}, "A shirt", False),
        ({"outcome": "unresolved"}, "A shirt", False),
        ({"outcome": "unresolved", "next_look_at": func.now(), "remote_id": None}, "A shirt", True),
        ({"outcome": "unresolved", "next_look_at": func.now()}, "A shirt", False),  # its place is known
    ],
)
async def test_what_may_be_a_post_that_nobody_has_found_yet_waits(db, alice, doing, values, title, open_):
    _, mine = doing
    await attempt(db, mine, **values)
    async with db.as_user(alice) as session:
        assert await live_imports.is_in_question(session, mine, title) is open_


async def _read_in(db, here, **more):
    """`r-9` of the account comes in, as its page and form show it; the item."""
    async with db.as_user(here.user_id) as session:
        return await _read_in_by(session, here, **more)


async def _read_in_by(session, here, **more):
    doing = LiveImport(user_id=here.user_id, connection_id=here.id)
    session.add(doing)
    await session.flush()
    item = LiveImportItem(
        user_id=here.user_id, import_id=doing.id, remote_id="r-9", position=0, title="A shirt", sku=None
    )
    session.add(item)
    await session.flush()
    shown = {"title": "A shirt", "price": Money(amount=900), "options": {}, "shipping": {}, "specifics": {},
             **more}  # fmt: skip
    account = await session.get_one(Connection, here.id)
    await live_imports.bring_in(session, doing, item, account, Read("r-9", None, shown, (), ()), 1)
    return item


@pytest.fixture
async def came_in(db, alice, make_connection):
    """An account whose listing of three came in by an import, as `r-9`; one was ordered there before that."""
    here = await make_connection(alice, "ebay")
    async with db.as_user(alice) as session:
        await sales.remember(session, await session.get_one(Connection, here.id), [an_order("o0", "r-9")])
    await _read_in(db, here, quantity=3)
    return here


async def _its_page_says_sold(db, here):
    async with db.as_user(here.user_id) as session:
        attempt = (await session.scalars(select(Attempt))).one()
        publication = await session.get_one(Publication, attempt.publication_id)
        await sales.take_sold_page(session, publication, attempt)


@pytest.mark.parametrize("first", ["orders", "page"])
async def test_of_what_came_in_each_piece_is_counted_once_whoever_tells_of_it_first(
    db, alice, bob, came_in, first
):
    told = [(an_order("o1", "r-9", quantity=2),), (an_order("o2", "r-9"),)]
    if first == "page":
        await _its_page_says_sold(db, came_in)
        assert (await one_of(db, alice, Listing)).quantity_sold == 3
    for number, order in enumerate(told):
        for _ in range(2):
            await take(db, came_in, *order)
        assert (await one_of(db, alice, Listing)).quantity_sold == (3 if first == "page" else 2 + number)
    await _its_page_says_sold(db, came_in)
    listing = await one_of(db, alice, Listing)
    assert (listing.quantity, listing.quantity_sold) == (3, 3)
    assert {row.order_id: row.quantity for row in await all_of(db, alice, Row)} == {"o0": 1, "o1": 2, "o2": 1}
    assert await all_of(db, alice, DoubleSale) == []
    assert await all_of(db, bob, Row) == []


async def test_an_order_from_before_it_came_in_takes_nothing_of_one_that_is_cancelled(
    db, alice, bob, came_in
):
    await rule(db, alice, put_back="always")
    await take(db, came_in, an_order("o1", "r-9", quantity=2))
    await cancel(db, came_in, "o1")
    assert (await one_of(db, alice, Listing)).quantity_sold == 0
    assert await all_of(db, bob, Listing) == []


async def test_nor_is_it_the_earlier_one_of_more_than_there_was(db, alice, bob, came_in):
    await take(db, came_in, an_order("o1", "r-9", quantity=4))
    double = await one_of(db, alice, DoubleSale)
    rows = {row.id: row.order_id for row in await all_of(db, alice, Row)}
    assert (double.earlier_id, rows[double.later_id]) == (None, "o1")
    assert await all_of(db, bob, DoubleSale) == []


# ---- and a file, before, after or at the same time ----


async def _from_file(db, listing):
    """A file said that it is `r-9` on eBay."""
    async with db.as_user(listing.user_id) as session:
        session.add(_said(listing))


def _said(listing):
    return ListingSource(
        user_id=listing.user_id, source="ebay", key="id:r-9", listing_id=listing.id, facts={}
    )


@pytest.mark.longer
@pytest.mark.parametrize("known_by", ["place", "sku"])
async def test_what_a_file_brought_in_is_that_listing_and_it_stays_as_it_is(
    db, alice, bob, make_listing, make_connection, known_by
):
    here = await make_connection(alice, "ebay")
    if known_by == "place":
        mine = await make_listing(alice, title="Retitled", sku="S-1", price_cents=1200)
        await _from_file(db, mine)
    else:
        mine = await make_listing(alice, title=" a  Shirt", sku="S-1", price_cents=1200)
    theirs = await make_listing(bob, title="A shirt", sku="S-1")
    await _from_file(db, theirs)
    item = await _read_in(db, here, sku="S-1 ~K7Q2XM")
    assert (item.outcome, item.listing_id) == ("known", mine.id)
    listing, publication = await one_of(db, alice, Listing), await one_of(db, alice, Publication)
    assert (listing.id, listing.title, listing.price_cents) == (mine.id, mine.title, 1200)
    assert (publication.listing_id, publication.put, publication.unsettled) == (mine.id, "live", False)
    assert (await one_of(db, alice, Attempt)).remote_id == "r-9"
    assert await all_of(db, bob, Publication) == []
    assert (await one_of(db, bob, Listing)).id == theirs.id
    async with db.as_user(alice) as session:  # it is compared with what is live elsewhere
        doing = (await session.scalars(select(LiveImport))).one()
        await live_imports.finish(session, doing, await session.get_one(Connection, here.id), "done")
        assert await session.get(Matching, alice) is not None


@pytest.mark.parametrize("why", ["another title", "not alone", "sold", "on the account"])
async def test_what_only_may_be_one_of_a_file_comes_in_by_itself(
    db, alice, admin, make_listing, make_connection, why
):
    here = await make_connection(alice, "ebay")
    mine = await make_listing(
        alice, title="Another" if why == "another title" else "A shirt", sku="S-1",
        quantity_sold=1 if why == "sold" else 0,
    )  # fmt: skip
    if why == "not alone":
        await make_listing(alice, title="A shirt", sku="S-1")
    elif why in ("sold", "on the account"):
        await _from_file(db, mine)
    if why == "on the account":
        await publish(db, alice, mine, here, "r-8", "live", 1)
    before = len(await all_of(db, alice, Listing))
    item = await _read_in(db, here, sku="S-1")
    assert item.outcome == "created"
    assert len(await all_of(db, alice, Listing)) == before + 1


@pytest.mark.parametrize(
    ("known_by", "shown", "joined"), [("sku", 1, False), ("sku", 2, True), ("place", 1, True),
                                      ("place", 4, True), ("place and elsewhere", 1, False),
                                      ("place and elsewhere", 2, True)]
)  # fmt: skip
async def test_what_a_file_brought_in_has_as_many_left_as_its_page_shows_or_is_another(
    db, alice, bob, make_listing, make_connection, known_by, shown, joined
):
    here = await make_connection(alice, "ebay")
    many = {"title": "A shirt", "sku": "S-1", "quantity": 3, "quantity_sold": 1}
    mine, theirs = await make_listing(alice, **many), await make_listing(bob, **many)
    if known_by != "sku":
        await _from_file(db, mine)
        await _from_file(db, theirs)
    if known_by == "place and elsewhere":
        await publish(db, alice, mine, await make_connection(alice, "poshmark"), "p-1", "live", 2)
    item = await _read_in(db, here, sku="S-1", quantity=shown)
    assert (item.listing_id == mine.id) is joined
    left = {one.id: one.quantity - one.quantity_sold for one in await all_of(db, alice, Listing)}
    assert left == ({mine.id: shown} if joined else {mine.id: 2, item.listing_id: shown})
    publication = {one.remote_id: one for one in await all_of(db, alice, Publication)}["r-9"]
    assert (publication.listing_id, publication.unsettled) == (item.listing_id, False)
    kept = await one_of(db, bob, Listing)
    assert (kept.id, kept.quantity, kept.quantity_sold) == (theirs.id, 3, 1)


async def _waits(admin):
    """Until a transaction waits for another one."""
    async with asyncio.timeout(30):
        while True:
            found = await admin.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
            if await found.fetchone():
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("known_by", ["place", "sku"])
async def test_a_file_and_an_account_at_one_moment_make_one_the_file_first(
    db, admin, alice, make_connection, known_by
):
    here = await make_connection(alice, "ebay")
    async with db.as_user(alice) as session:
        await imports.alone(session, alice)
        mine = Listing(user_id=alice, title="A shirt", sku="S-1" if known_by == "sku" else None)
        session.add(mine)
        await session.flush()
        if known_by == "place":
            session.add(_said(mine))
            await session.flush()
        reading = asyncio.create_task(_read_in(db, here, sku="S-1"))
        await _waits(admin)
    item = await reading
    assert (item.outcome, item.listing_id) == ("known", mine.id)
    assert (await one_of(db, alice, Listing)).id == mine.id
    assert (await one_of(db, alice, Publication)).listing_id == mine.id


@pytest.mark.parametrize("known_by", ["place", "sku"])
async def test_a_file_and_an_account_at_one_moment_make_one_the_account_first(
    db, admin, alice, make_connection, known_by
):
    here = await make_connection(alice, "ebay")
    async with db.as_user(alice) as session:
        doing = Import(user_id=alice, file_hash="h", format="everystall", encoding="utf-8",
                       claimed_until=func.now() + timedelta(hours=1))  # fmt: skip
        session.add(doing)
        await session.flush()
        await session.refresh(doing)
        told = {"places": {"ebay": ["r-9"]}} if known_by == "place" else {"sku": "S-1"}
        for line, facts in ((2, {"title": "A shirt", **told}), (3, {"title": "Other"})):
            session.add(ImportRow(user_id=alice, import_id=doing.id, line=line, key=f"listing:{uuid4()}",
                                  facts=facts))  # fmt: skip
    async with db.as_user(alice) as session:
        item = await _read_in_by(session, here, sku="S-1")
        bringing = asyncio.create_task(imports.bring_in_batch(db, doing.id, alice, doing.claimed_until))
        await _waits(admin)
    await bringing
    async with db.as_user(alice) as session:
        rows = (await session.scalars(select(ImportRow).order_by(ImportRow.line))).all()
    assert [(row.outcome, row.listing_id == item.listing_id) for row in rows] == [
        ("skipped", True), ("created", False),
    ]  # fmt: skip
    assert sorted(one.title for one in await all_of(db, alice, Listing)) == ["A shirt", "Other"]


async def test_where_it_is_stands_once_whoever_forgets_to_wait(db, admin, alice, make_connection):
    """The key is the wall: a file that wrote it and is not waited for is found when it has committed."""
    here = await make_connection(alice, "ebay")
    async with db.as_user(alice) as session:
        mine = Listing(user_id=alice, title="A shirt")
        session.add(mine)
        await session.flush()
        session.add(_said(mine))
        await session.flush()
        reading = asyncio.create_task(_read_in(db, here))
        await _waits(admin)
    item = await reading
    assert (item.outcome, item.listing_id) == ("known", mine.id)
    assert (await one_of(db, alice, Listing)).id == mine.id


async def test_of_many_photos_that_do_not_come_three_are_waited_for():
    """Each may take 20 seconds, and what is to be taken down waits for the step."""
    asked = []

    async def fetch(url):
        asked.append(url)
        raise MarketplaceBusy("It is away.")

    async def revise(*_):
        raise MarketplaceBusy("It is away.")

    visit = SimpleNamespace(label="Mercari", adapter=SimpleNamespace(revise=revise),
                            tools=SimpleNamespace(photos=None))  # fmt: skip
    item = LiveImportItem(remote_id="m1", title="A shirt", tries=live_imports.TRIES - 1)
    seen = Seen("live", fields={"title": "A shirt", "price": Money(amount=900)},
                photo_urls=[f"/{n}.jpg" for n in range(1, 25)])  # fmt: skip
    read = await read_in._read(visit, SimpleNamespace(fetch=fetch), item, seen, [])
    assert asked == ["/1.jpg", "/2.jpg", "/3.jpg"]
    told = [note["message"] for note in read.notes if note["field"] == "photos"]
    assert told[2:] == [
        "Photo 3 did not come over: It is away.", "Nor did those from 4 on, which were not asked for."
    ]  # fmt: skip


async def test_the_store_is_asked_for_the_photos_before_they_are_written_down(
    db, admin, alice, bob, make_connection
):
    """It may take its time: nobody waits for it within a transaction."""
    here = await make_connection(alice, "ebay")
    await make_connection(bob, "ebay")
    doing = LiveImport(user_id=alice, connection_id=here.id)
    item = LiveImportItem(user_id=alice, remote_id="r-9", position=0, title="A shirt")
    async with db.as_user(alice) as session:
        session.add(doing)
        await session.flush()
        item.import_id = doing.id
        session.add(item)
    stored = StoredPhoto(sha256="a" * 64, width=4, height=3, content_type="image/png", byte_size=9)
    taken = TakenPhoto(stored, "0" * 16, Fingerprint(("0" * 16,), ((1, 2, 3),)))
    open_ones, held = [], []

    class Store:
        async def look_for(self, db, hashes):
            open_ones.extend(await (await admin.execute(OPEN_ONES)).fetchall())
            return hashes

        async def hold(self, session, found):
            held.extend(found)

    settings = SimpleNamespace(pace_seconds=0)
    visit = SimpleNamespace(
        connection=here, tools=SimpleNamespace(photos=Store(), db=db, settings=settings),
        lease=SimpleNamespace(connection_id=here.id, fence=1, transaction=lambda: db.as_user(alice)),
    )  # fmt: skip
    shown = {"title": "A shirt", "price": Money(amount=900), "options": {}, "shipping": {}, "specifics": {}}
    await read_in._record(visit, item, Read("r-9", None, shown, (taken,), ()))
    assert (open_ones, held) == ([], ["a" * 64])
    assert [one.sha256 for one in await all_of(db, alice, ListingPhoto)] == ["a" * 64]
    assert await all_of(db, bob, ListingPhoto) == []
