"""What an account's pace does to the rows that wait there: each is put off by its place in the queue, few are
written again with each post, and a new pace counts at once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from sqlalchemy import select

from everystall.inventory.publications import drop_pace
from everystall.models import Connection, Publication
from everystall.worker import pace

MANY = 200


@pytest.fixture
async def account(admin, alice, make_connection):
    """An account with many listings that wait to be posted, one after another."""
    connection = await make_connection(alice, "mercari", pace_seconds=60)
    await admin.execute(
        """WITH written AS (INSERT INTO listings (user_id, title)
                            SELECT %(user)s, 'number ' || n FROM generate_series(1, %(n)s) n RETURNING id)
           INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision,
                                     asked_at)
           SELECT %(user)s, w.id, %(account)s, 'mercari', 1, now() + row_number() OVER () * interval '1 ms'
           FROM written w""",
        {"user": alice, "n": MANY, "account": connection.id},
    )
    return connection


def _visit(connection, installation=None):
    """As far as the pace asks it."""
    return SimpleNamespace(
        connection=connection,
        tools=SimpleNamespace(settings=SimpleNamespace(pace_seconds=installation, daily_cap=installation)),
        form=SimpleNamespace(CAPABILITIES=SimpleNamespace(pace_seconds=30, daily_cap=100)),
    )


async def _hold(db, user, connection):
    async with db.as_user(user) as session:
        found = await session.scalars(select(Publication).where(Publication.put == "nothing").limit(1))
        await pace.hold(_visit(connection), session, found.one(), 60)


async def _waits(admin):
    rows = await admin.execute(
        "SELECT round(extract(epoch FROM next_try_at - now()) / 60)::int AS gaps, xmin::text AS written "
        "FROM publications ORDER BY asked_at"
    )
    return await rows.fetchall()


async def test_what_waits_is_put_off_one_gap_after_another_and_not_written_with_each_post(
    db, admin, alice, account
):
    await _hold(db, alice, account)
    first = await _waits(admin)
    assert [row["gaps"] for row in first[: pace.AHEAD + 3]] == [
        *range(1, pace.AHEAD + 1),
        *[pace.AHEAD + 1] * 3,
    ]
    # a minute later, when the first was posted
    await admin.execute("UPDATE publications SET next_try_at = next_try_at - interval '60 seconds'")
    await admin.execute("UPDATE publications SET put = 'live', put_revision = 1, state = 'live' WHERE id = "
                        "(SELECT id FROM publications ORDER BY asked_at LIMIT 1)")  # fmt: skip
    before = await _waits(admin)
    await _hold(db, alice, account)
    after = await _waits(admin)
    assert sum(one["written"] != other["written"] for one, other in zip(before, after, strict=True)) <= 2
    assert [row["gaps"] for row in after[1:4]] == [1, 2, 3]


async def test_a_new_pace_counts_at_once_for_what_waits_for_nothing_else(db, admin, alice, bob, account):
    async def drop(user):
        async with db.as_user(user) as session:
            await drop_pace(session, SimpleNamespace(id=account.id))

    await _hold(db, alice, account)
    await drop(bob)
    assert all(row["gaps"] for row in await _waits(admin))
    await drop(alice)
    assert {row["gaps"] for row in await _waits(admin)} == {None}
    await _hold(db, alice, account)
    await admin.execute("""UPDATE publications SET tries = 1, next_try_at = now() + interval '5 minutes'
                           WHERE id = (SELECT id FROM publications ORDER BY asked_at LIMIT 1)""")
    await drop(alice)  # one of them failed, and comes again when it was told to
    assert [row["gaps"] for row in await _waits(admin)] == [5] + [None] * (MANY - 1)


async def test_the_gap_is_the_accounts_own_else_the_installations_else_the_marketplaces():
    asked = ((0, 5), (None, 5), (None, None))
    assert [pace.gap(_visit(Connection(pace_seconds=own), here)) for own, here in asked] == [0, 5, 30]


async def test_so_is_the_daily_cap():
    asked = ((2, 5), (None, 5), (None, None))
    assert [pace.cap(_visit(Connection(daily_cap=own), here)) for own, here in asked] == [2, 5, 100]


async def test_an_account_at_its_own_cap_waits_until_the_first_of_the_day_is_a_day_old(
    db, admin, alice, account
):
    await admin.execute(
        """INSERT INTO attempts (user_id, publication_id, connection_id, listing_revision, draft, fields_hash,
                                 fence, outcome, armed_at)
           SELECT user_id, id, connection_id, 1, '{}', 'h', 1, 'ended',
                  now() - row_number() OVER () * interval '2 hours'
           FROM publications LIMIT 3"""
    )
    for cap, hours in ((4, 0), (3, 18), (2, 20)):
        account.daily_cap = cap
        async with db.as_user(alice) as session:
            waits = await pace.until_next_post(_visit(account), session)
        assert round(waits / 3600) == hours, cap
