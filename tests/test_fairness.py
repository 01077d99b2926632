"""One seller's bulk post and another's single one: who comes when, with one slot for all. Real rows, real
lanes; a visit here does its budget's worth of rows and hands back the rest, as worker/visit.py does."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from everystall import engine
from everystall.models import LiveImport
from everystall.worker.run import find_due
from everystall.worker.visit import BUDGET_STEPS

BULK = 5000


async def _post(admin, user, account, number):
    """So many listings of a seller, all wanted live on one account."""
    await admin.execute(
        """WITH written AS (INSERT INTO listings (user_id, title)
                            SELECT %s, 'number ' || n FROM generate_series(1, %s) n RETURNING id)
           INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision)
           SELECT %s, w.id, %s, 'poshmark', 1 FROM written w""",
        [user, number, user, account],
    )


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
