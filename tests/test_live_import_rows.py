"""What an import of live listings knows by the rows; the marketplaces' side is tests/journeys."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from everystall.inventory import live_imports
from everystall.marketplaces.base import Active, Money
from everystall.models import Attempt, Connection, LiveImport, LiveImportItem


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
        ({"outcome": "unresolved", "next_look_at": func.now()}, "A shirt", True),
    ],
)
async def test_what_may_be_a_post_that_nobody_has_found_yet_waits(db, alice, doing, values, title, open_):
    _, mine = doing
    await attempt(db, mine, **values)
    async with db.as_user(alice) as session:
        assert await live_imports.is_in_question(session, mine, title) is open_
