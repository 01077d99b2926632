"""A seller's inventory is found by what is in it and how it stands; another's never."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.dialects import postgresql

from everystall.inventory import stock
from everystall.inventory.stock import Sought
from everystall.models import Listing

NEEDS = '{"reason": "gone", "message": "It is gone."}'


@pytest.fixture
async def shelf(db, admin, alice, bob, make_listing, make_connection):
    """Five listings of Alice's in five states, one of Bob's; title → id."""
    accounts = {name: await make_connection(alice, name) for name in ("ebay", "mercari", "poshmark")}
    made = {}

    async def put(title, days, price, stands=(), **fields):
        row = await make_listing(alice, title=title, price_cents=price, **fields)
        made[title] = row.id
        at = datetime.now(UTC) - timedelta(days=days)
        await admin.execute("UPDATE listings SET created_at = %s WHERE id = %s", [at, row.id])
        for name, wanted, is_put, asked in stands:
            await admin.execute(
                "INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision, "
                "wanted, put, put_revision, state, needs_you, asked_at) "
                "VALUES (%s, %s, %s, %s, 1, %s, %s, 1, %s, %s, %s)",
                [alice, row.id, accounts[name].id, name, wanted, is_put,
                 "live" if is_put == "live" else "waiting", asked, at],
            )  # fmt: skip

    await put(
        "Draft 100% wool_scarf", 1, 1000, sku="EV-1200", brand="Acne", location="A 1", labels=["wool", "gift"]
    )
    await put("Linen shirt", 5, 2500, [("ebay", "live", "live", None), ("mercari", "live", "nothing", None)])
    await put("Old boots", 90, 9900, [("ebay", "live", "live", None), ("poshmark", "ended", "ended", None)])
    await put("Lost hat", 10, None, [("poshmark", "ended", "ended", NEEDS)])
    await put("Sold bag", 70, 5000, [("ebay", "ended", "sold", None)], quantity=1, quantity_sold=1)
    await put(
        "Cancelled belt",
        3,
        700,
        [("ebay", "ended", "nothing", None)],
        brand="ACNE",
        labels=["gift"],
        location="B 2",
    )
    await make_listing(bob, title="Linen shirt of Bob's", labels=["bobs", "gift"], location="A 1")
    return made


async def titles(db, shelf, whose, **how):
    async with db.as_user(whose) as session:
        ids, _ = await stock.page_of(session, Sought(**how))
        assert await stock.number_of(session, Sought(**how)) == len(ids)
        assert set(await stock.ids_of(session, Sought(**how), 100)) == set(ids)
    names = {id: title for title, id in shelf.items()}
    return [names[id] for id in ids]


SOUGHT = [
    ({"words": "LINEN"}, ["Linen shirt"]),
    ({"words": "1200 scarf"}, ["Draft 100% wool_scarf"]),
    ({"words": "acne"}, ["Draft 100% wool_scarf", "Cancelled belt"]),
    ({"words": "100%"}, ["Draft 100% wool_scarf"]),
    ({"words": "l_st"}, []),
    ({"words": "%"}, ["Draft 100% wool_scarf"]),
    ({"view": "drafts"}, ["Draft 100% wool_scarf", "Cancelled belt"]),
    ({"view": "listed"}, ["Linen shirt", "Old boots"]),
    ({"view": "needs-you"}, ["Lost hat"]),
    ({"view": "sold"}, ["Sold bag"]),
    ({"view": "stale"}, ["Old boots"]),
    ({"on": "ebay"}, ["Linen shirt", "Old boots"]),
    ({"on": "mercari"}, []),
    ({"off": "ebay", "view": "drafts"}, ["Draft 100% wool_scarf", "Cancelled belt"]),
    ({"state": "posting"}, ["Linen shirt"]),
    ({"state": "ended"}, ["Lost hat", "Sold bag"]),
    ({"problem": "gone"}, ["Lost hat"]),
    ({"problem": "challenge"}, []),
    ({"brand": "acne"}, ["Draft 100% wool_scarf", "Cancelled belt"]),
    ({"label": "gift"}, ["Draft 100% wool_scarf", "Cancelled belt"]),
    ({"label": "wool", "location": "A 1"}, ["Draft 100% wool_scarf"]),
    ({"label": "gif"}, []),
    ({"location": "A 1"}, ["Draft 100% wool_scarf"]),
    ({"low": 2500, "high": 5000}, ["Linen shirt", "Sold bag"]),
    ({"older": 60}, ["Sold bag", "Old boots"]),
    ({"younger": 4, "view": "drafts", "words": "belt"}, ["Cancelled belt"]),
]


async def test_what_is_sought_is_found(db, shelf, alice, subtests):
    for how, found in SOUGHT:
        with subtests.test(str(how)):
            assert await titles(db, shelf, alice, **how) == found


async def test_page_behind_page_shows_each_once_in_its_order(db, shelf, alice, subtests):
    for sort in stock.SORTS:
        with subtests.test(sort):
            whole = await titles(db, shelf, alice, sort=sort)
            assert len(whole) == 6
            seen, after = [], None
            async with db.as_user(alice) as session:
                while True:
                    ids, after = await stock.page_of(session, Sought(sort=sort), after, most=2)
                    seen += ids
                    if after is None:
                        break
            names = {id: title for title, id in shelf.items()}
            assert [names[id] for id in seen] == whole
            other = {"newest": "oldest", "dearest": "cheapest", "title": "title-down", "sku": "sku-down",
                     "fewest": "most"}.get(sort)  # fmt: skip
            if other:
                assert whole == list(reversed(await titles(db, shelf, alice, sort=other)))
            if sort == "title":
                assert whole[0] == "Cancelled belt"
            if sort == "sku":  # without one first
                assert whole[-1] == "Draft 100% wool_scarf"


@pytest.mark.parametrize(
    ("sorts", "index", "goes_on_at"),
    [
        (("sku", "sku-down"), "listings_in_order_of_sku", r"Index Cond: .*ROW\(sku_order, id\)"),
        # under row-level security a coalesce is no condition of an index, but its order
        (("cheapest", "dearest"), "listings_by_price", r"Filter: .*ROW\(COALESCE\(price_cents"),
    ],
)
async def test_an_order_is_read_from_its_index(db, admin, alice, bob, make_listing, sorts, index, goes_on_at):
    for number in range(60):
        await make_listing(alice, title=f"Thing {number}", sku=f"S-{number % 20:02}" if number % 2 else None,
                           price_cents=100 * (number % 7) or None)  # fmt: skip
    await make_listing(bob, title="Bob's", sku="S-05")
    asked = []
    event.listen(db.engine.sync_engine, "before_cursor_execute", lambda *of: asked.append(of[2:4]))
    async with db.as_user(alice) as session:
        for setting in ("seqscan", "bitmapscan", "incremental_sort"):
            await session.execute(text(f"SET LOCAL enable_{setting} = off"))
        for sort in sorts:
            _, after = await stock.page_of(session, Sought(sort=sort), most=5)
            ids, _ = await stock.page_of(session, Sought(sort=sort), after, most=5)
            assert len(ids) == 5
            connection = await session.connection()
            plan = await connection.exec_driver_sql(f"EXPLAIN {asked[-1][0]}", asked[-1][1])
            said = "\n".join(row[0] for row in plan)
            assert index in said, said
            assert "Sort" not in said, said
            assert re.search(goes_on_at, said), said


async def test_no_more_are_counted_than_are_asked_about(db, shelf, alice, bob):
    async with db.as_user(alice) as session:
        assert await stock.number_up_to(session, Sought(), 4) == 4
        assert await stock.number_up_to(session, Sought(label="gift"), 4) == 2
    async with db.as_user(bob) as session:
        assert await stock.number_up_to(session, Sought(), 4) == 1


async def test_the_numbers_of_the_views_are_what_the_views_show(db, shelf, alice, bob):
    async with db.as_user(alice) as session:
        counts = await stock.counts_of(session)
        for view in stock.VIEWS:
            assert counts.of(view) == await stock.number_of(session, Sought(view=view)), view
    async with db.as_user(bob) as session:
        counts = await stock.counts_of(session)
    assert (counts.all, counts.drafts, counts.listed, counts.needs_you) == (1, 1, 0, 0)


async def test_the_words_in_use_are_the_sellers_own(db, shelf, alice, bob):
    async with db.as_user(alice) as session:
        assert await stock.labels_in_use(session) == ["gift", "wool"]
        assert await stock.locations_in_use(session) == ["A 1", "B 2"]
        assert await stock.brands_in_use(session) in (
            ["Acne", "Levi's"],
            ["ACNE", "Levi's"],
        )  # one, in two ways
    async with db.as_user(bob) as session:
        assert await stock.labels_in_use(session) == ["bobs", "gift"]
        assert await stock.locations_in_use(session) == ["A 1"]
        assert await stock.brands_in_use(session) == ["Levi's"]


async def test_labels_and_locations_are_found_by_their_indexes(db, admin, alice, make_listing):
    for number in range(60):
        place = f"P{number % 20}"
        await make_listing(alice, title=f"Thing {number}", location=place, labels=[f"l{number % 20}"])
    for sought, index in (
        (Sought(label="l3"), "listings_labelled"),
        (Sought(location="P3"), "listings_by_location"),
    ):
        async with db.as_user(alice) as session:
            await session.execute(text("SET LOCAL enable_seqscan = off"))
            await session.execute(text("SET LOCAL enable_bitmapscan = off"))
            asked = select(Listing.id).where(*stock.conditions(sought)).order_by(
                Listing.created_at.desc(), Listing.id.desc()
            )  # fmt: skip
            literal = asked.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
            plan = "\n".join(await session.scalars(text(f"EXPLAIN {literal}")))
            assert index in plan, plan
            assert "Sort" not in plan, plan
            assert len((await session.scalars(asked)).all()) == 3


async def test_nobody_finds_what_is_anothers(db, shelf, bob):
    async with db.as_user(bob) as session:
        assert await stock.listings_of(session, list(shelf.values())) == []
        assert await stock.number_of(session, Sought(words="boots")) == 0


async def test_the_longest_title_there_may_be_is_kept_and_found(db, alice, make_listing):
    row = await make_listing(
        alice, title="\U0001f9e5" * 1000, brand="\U0001f9e5" * 200, sku="\U0001f9e5" * 100
    )
    async with db.as_user(alice) as session:
        assert await stock.ids_of(session, Sought(words="\U0001f9e5"), 5) == [row.id]
