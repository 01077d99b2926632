"""One seller's bulk post and another's single one: who comes when, with few slots for all. Real rows, real
lanes, and where it matters real visits, whose steps ask no marketplace."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from benchmarks.engine import idle_tools
from everystall import engine
from everystall.inventory.publications import change
from everystall.models import LiveImport
from everystall.notify.send import Mail
from everystall.settings import Settings
from everystall.worker.run import find_due, make_app
from everystall.worker.visit import BUDGET_SECONDS, BUDGET_STEPS

BULK = 5000
#: Seconds that a wake-up counts as asked later for each other of its seller, and for all of them at most.
SLOT, MOST = 900, 14_400
PRIORITIES = "SELECT args ->> 'connection_id' AS id, -priority AS counts_as FROM procrastinate_jobs"


async def _post(admin, user, account, number):
    """So many listings of a seller, all wanted live on one account."""
    await admin.execute(
        """WITH written AS (INSERT INTO listings (user_id, title)
                            SELECT %s, 'number ' || n FROM generate_series(1, %s) n RETURNING id)
           INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision)
           SELECT %s, w.id, %s, 'poshmark', 1 FROM written w""",
        [user, number, user, account],
    )


@pytest.mark.longer
async def test_a_bulk_post_of_5000_delays_another_sellers_single_post_by_one_visit_at_most(
    db, admin, database_urls, alice, bob, make_connection
):
    hers, his = await make_connection(alice), await make_connection(bob)
    await _post(admin, alice, hers.id, BULK)
    owner, visits = {hers.id: alice, his.id: bob}, []
    app = engine.make_app(database_urls.login)

    async def meanwhile() -> None:
        """While her first visit runs: the tick and she herself wake her account, then he posts one."""
        await find_due(db)
        async with db.as_user(alice) as session:
            await engine.wake(session, [hers.id])
        await _post(admin, bob, his.id, 1)
        async with db.as_user(bob) as session:
            await engine.wake(session, [his.id])

    @app.task(name="visit")
    async def visit(connection_id: str, lane: str) -> None:
        account = next(id for id in owner if str(id) == connection_id)
        visits.append(owner[account])
        async with db.as_user(owner[account]) as session:
            await session.execute(
                text("""UPDATE publications SET put = 'live', put_revision = 1, state = 'live' WHERE id IN (
                        SELECT id FROM publications WHERE connection_id = :id AND unsettled
                        ORDER BY asked_at, id LIMIT :n)"""),
                {"id": account, "n": BUDGET_STEPS},
            )
        if visits == [alice]:
            await meanwhile()
        async with db.as_user(owner[account]) as session:
            left = await session.execute(
                text("SELECT 1 FROM publications WHERE connection_id = :id AND unsettled LIMIT 1"),
                {"id": account},
            )
            if left.first() is not None:
                await engine.wake(session, [account], back=True)

    async with db.as_user(alice) as session:
        await engine.wake(session, [hers.id])
    async with app.open_async():
        lanes = asyncio.create_task(engine.run_lanes(app, {"visits": 1}))
        async with asyncio.timeout(120):
            while len(visits) < -(-BULK // BUDGET_STEPS) + 1:
                await asyncio.sleep(0.05)
        lanes.cancel()
        await asyncio.gather(lanes, return_exceptions=True)
    assert visits[:3] == [alice, bob, alice]
    assert visits.count(bob) == 1
    left = await (await admin.execute("SELECT count(*) AS n FROM publications WHERE unsettled")).fetchone()
    assert left["n"] == 0


async def test_a_check_does_not_wait_while_imports_fill_their_slot(
    db, admin, database_urls, alice, bob, make_connection
):
    """Her accounts are brought in one after the other, for as long as that takes; his is looked at, and so is
    hers that waits for its import."""
    hers, waits = [await make_connection(alice, name) for name in ("mercari", "ebay")]
    his = await make_connection(bob)
    async with db.as_user(alice) as session:
        session.add_all([LiveImport(user_id=alice, connection_id=one.id) for one in (hers, waits)])
    visits: list[tuple[str, str]] = []
    begun, over = asyncio.Event(), asyncio.Event()
    app = engine.make_app(database_urls.login)

    @app.task(name="visit")
    async def visit(connection_id: str, lane: str) -> None:
        visits.append((connection_id, lane))
        if len(visits) == 1:
            begun.set()
            await over.wait()

    await find_due(db)
    async with app.open_async():
        lanes = asyncio.create_task(engine.run_lanes(app, {"visits": 1, "reading": 1}))
        try:
            async with asyncio.timeout(30):
                await begun.wait()
                waiting = next(one for one in (hers, waits) if str(one.id) != visits[0][0])
                await admin.execute(
                    "UPDATE connections SET next_check_at = now() WHERE id = ANY(%s)", [[his.id, waiting.id]]
                )
                await find_due(db)
                while len(visits) < 3:
                    await asyncio.sleep(0.05)
        finally:
            over.set()
            lanes.cancel()
            await asyncio.gather(lanes, return_exceptions=True)
    assert set(visits[1:3]) == {(str(his.id), "visits"), (str(waiting.id), "visits")}


# ---- who has many accounts -----------------------------------------------------------------------


async def _accounts(make_connection, seller, number):
    return [(await make_connection(seller)).id for _ in range(number)]


async def _wake(db, seller, *ids, **how):
    async with db.as_user(seller) as session:
        await engine.wake(session, ids, **how)


async def _later(admin, *ids):
    """By how many seconds each of these counts as asked later than the first of them."""
    rows = await (await admin.execute(PRIORITIES + " WHERE status = 'todo'")).fetchall()
    found = {row["id"]: row["counts_as"] for row in rows}
    return [round((found[str(id)] - found[str(ids[0])]) / SLOT, 1) * SLOT for id in ids]


@pytest.mark.longer
@pytest.mark.parametrize("slots", [pytest.param(1, marks=pytest.mark.extended), 3])
async def test_six_accounts_of_one_seller_do_not_come_before_anothers_only_one(
    db, admin, database_urls, alice, bob, make_connection, tmp_path, slots
):
    """Each of hers has more than a visit does. He posts one listing while hers fill all slots and wait."""
    hers, (his,) = await _accounts(make_connection, alice, 6), await _accounts(make_connection, bob, 1)
    for account in hers:
        await _post(admin, alice, account, BUDGET_STEPS + 10)
    settings = Settings(_env_file=None, everystall_home=tmp_path)
    tools, steps = idle_tools(db, settings), []

    async def step(visit, due):
        steps.append((visit.lease.connection_id, visit.lease.fence))
        if len(steps) == 5:  # all slots are hers
            await _post(admin, bob, his, 1)
            await _wake(db, bob, his)
        async with visit.lease.transaction() as session:
            publication = await visit.locked(session, due.publication_id)
            await change(session, publication, put="live", put_revision=1, state="live")

    tools.step, mail = step, Mail(db, tools.vault, settings)
    await _wake(db, alice, *hers)
    app = make_app(database_urls.login, tools, mail)
    async with app.open_async():
        lanes = asyncio.create_task(engine.run_lanes(app, {"visits": slots}, grace_seconds=5))
        async with asyncio.timeout(120):
            while len(steps) < 6 * (BUDGET_STEPS + 10) + 1:
                await asyncio.sleep(0.05)
        lanes.cancel()
        await asyncio.gather(lanes, return_exceptions=True)
    await mail.close()
    await tools.photos.close()
    begun = list(dict.fromkeys(steps))
    assert begun.index((his, 1)) == slots  # right after those that ran
    assert {account for account, _ in begun[:slots] + begun[slots + 1 : 7]} == set(hers)  # hers in turn
    left = await (await admin.execute("SELECT count(*) AS n FROM publications WHERE unsettled")).fetchone()
    assert left["n"] == 0


async def test_a_wake_up_counts_as_asked_later_for_each_that_its_seller_has(
    db, admin, alice, bob, make_connection
):
    assert SLOT == BUDGET_SECONDS
    hers, his = await _accounts(make_connection, alice, 6), await _accounts(make_connection, bob, 2)
    await _wake(db, alice, *sorted(hers)[:3])  # in one call
    for id in sorted(hers)[3:]:
        await _wake(db, alice, id)
    assert await _later(admin, *sorted(hers)) == [n * SLOT for n in range(6)]
    await admin.execute(
        "UPDATE procrastinate_jobs SET status = 'doing' WHERE args ->> 'connection_id' = ANY(%s)",
        [[str(id) for id in sorted(hers)[:2]]],
    )
    await admin.execute("DELETE FROM procrastinate_jobs WHERE status = 'todo'")
    await _wake(db, bob, his[0])
    await _wake(db, alice, sorted(hers)[2])  # after two that run
    await _wake(db, alice, sorted(hers)[0])  # after the one that waits, too: it runs, and is to come again
    await _wake(db, bob, his[1])
    told = await _later(admin, his[0], sorted(hers)[2], sorted(hers)[0], his[1])
    assert told == [0, 2 * SLOT, 3 * SLOT, SLOT]


async def test_who_waits_longer_than_its_turns_comes_and_a_sellers_own_keep_their_order(
    db, admin, alice, bob, make_connection
):
    """Nobody waits for ever: what was asked four hours ago comes before what is asked now, whosever it is."""
    hers, (his,) = await _accounts(make_connection, alice, 20), await _accounts(make_connection, bob, 1)
    for id in hers:
        await _wake(db, alice, id)
    assert await _later(admin, *hers) == [min(n * SLOT, MOST) for n in range(20)]
    await admin.execute("UPDATE procrastinate_jobs SET priority = priority + %s", [MOST + 10])  # so long ago
    await _wake(db, bob, his)
    order = await (
        await admin.execute(
            PRIORITIES + " WHERE status = 'todo' ORDER BY priority DESC, procrastinate_jobs.id"
        )
    ).fetchall()
    assert [row["id"] for row in order] == [str(id) for id in (*hers, his)]
    await _wake(db, alice, hers[0])  # one that waits stays where it is
    await _wake(db, alice, hers[1], back=True)  # this one is handed back
    assert await _later(admin, his, hers[1]) == [0, SLOT]
    assert (await _later(admin, his, hers[0]))[1] < -MOST + SLOT


async def test_turns_are_a_matter_of_visits_alone(db, admin, alice, make_connection):
    """All that an account has waiting has one lock: of these the visit comes before the import."""
    hers = await _accounts(make_connection, alice, 3)
    for lane in ("reading", "sittings", "visits", "urgent"):
        await _wake(db, alice, *hers, lane=lane)
    rows = await (
        await admin.execute(
            """SELECT args ->> 'lane' AS lane, priority FROM procrastinate_jobs
               WHERE args ->> 'connection_id' = %s ORDER BY priority DESC""",
            [str(sorted(hers)[-1])],
        )
    ).fetchall()
    assert [row["lane"] for row in rows] == ["urgent", "sittings", "visits", "reading"]
    fixed = await (
        await admin.execute(
            "SELECT DISTINCT args ->> 'lane' AS lane, priority FROM procrastinate_jobs "
            "WHERE args ->> 'lane' <> 'visits' ORDER BY priority DESC"
        )
    ).fetchall()
    assert [(row["lane"], row["priority"]) for row in fixed] == [
        ("urgent", 10), ("sittings", 0), ("reading", -2_000_000_000)
    ]  # fmt: skip
