"""Waking accounts: no wake-up is lost whenever it comes, none is made twice, nobody waits for ever."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from uuid import UUID, uuid4

import psycopg
import pytest
import structlog.testing
from procrastinate import exceptions
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from everystall import engine
from everystall.db import Database

SQL_WAKE = text("SELECT everystall.wake(CAST(:ids AS uuid[]), :lane)")
JOBS = "SELECT * FROM procrastinate.procrastinate_jobs ORDER BY id"


async def _jobs(admin, status=None):
    rows = await (await admin.execute(JOBS)).fetchall()
    return [row for row in rows if status is None or row["status"] == status]


async def _wake(db: Database, ids, lane="visits", user=None):
    async with db.as_user(user) if user else db.as_app() as session:
        await engine.wake(session, ids, lane)


async def _until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def _worker(url, body, grace=2.0, **slots):
    """A real worker whose visits are `body(connection_id, lane)`."""
    app = engine.make_app(url)

    @app.task(name="visit")
    async def visit(connection_id: str, lane: str) -> None:
        await body(UUID(connection_id), lane)

    async with app.open_async():
        lanes = asyncio.create_task(
            engine.run_lanes(app, slots or {"urgent": 1, "visits": 2}, grace_seconds=grace), name="the lanes"
        )
        try:
            yield app
        finally:
            lanes.cancel()
            await asyncio.gather(lanes, return_exceptions=True)


# ---- what wake() writes ----


def test_wake_was_written_for_this_procrastinate():
    """everystall.wake() inserts into procrastinate's table and sends its notification. With another
    version: compare its schema, add its migration to ours, run this file, and change the number here."""
    assert version("procrastinate") == "3.10.0"


async def test_a_wake_up_is_what_procrastinate_itself_would_have_deferred(db, admin, database_urls):
    account = uuid4()
    app = engine.make_app(database_urls.login)

    @app.task(name="visit")
    async def visit(connection_id: str, lane: str) -> None: ...

    async with app.open_async():
        await visit.configure(
            queue="urgent",
            priority=10,
            lock=f"connection:{account}",
            queueing_lock=f"connection:{account}:urgent",
        ).defer_async(connection_id=str(account), lane="urgent")
    (theirs,) = await _jobs(admin)
    await admin.execute("DELETE FROM procrastinate.procrastinate_jobs")
    await _wake(db, [account], "urgent")
    (ours,) = await _jobs(admin)
    assert {**ours, "id": 0} == {**theirs, "id": 0}
    events = await (await admin.execute("SELECT type FROM procrastinate.procrastinate_events")).fetchall()
    assert [event["type"] for event in events] == ["deferred"]


@pytest.mark.longer
async def test_five_thousand_wakes_are_one_waiting_job_per_lane(db, admin):
    account = uuid4()
    for _ in range(50):
        async with db.as_app() as session:
            for _ in range(50):
                await session.execute(SQL_WAKE, {"ids": [account], "lane": "visits"})
                await session.execute(SQL_WAKE, {"ids": [account, account], "lane": "urgent"})
    jobs = await _jobs(admin)
    assert [(job["queue_name"], job["lock"]) for job in jobs] == [
        ("visits", f"connection:{account}"),
        ("urgent", f"connection:{account}"),
    ]
    assert jobs[1]["priority"] > jobs[0]["priority"]


async def test_a_rolled_back_transaction_wakes_nobody(db, admin):
    async def fail():
        async with db.as_app() as session:
            await engine.wake(session, [uuid4()])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await _jobs(admin) == []


async def test_a_savepoint_wakes_nobody_before_the_transaction_ends(db, admin):
    account = uuid4()
    async with db.as_app() as session:
        async with session.begin_nested():
            await engine.wake(session, [account])
        mine = "SELECT count(*) FROM procrastinate.procrastinate_jobs"
        assert (await session.execute(text(mine))).scalar_one() == 0
    assert len(await _jobs(admin)) == 1


async def test_a_seller_wakes_own_accounts_only(db, admin, alice, bob, make_connection):
    hers, his = await make_connection(alice), await make_connection(bob)
    await _wake(db, [hers.id], user=alice)
    for ids in ([his.id], [hers.id, his.id], [uuid4()]):
        with pytest.raises(DBAPIError, match="not yours"):
            await _wake(db, ids, user=alice)
    assert [job["args"]["connection_id"] for job in await _jobs(admin)] == [str(hers.id)]


@pytest.mark.parametrize("claims", ["", "{}"])
async def test_a_seller_role_without_claims_wakes_nobody(db, admin, alice, make_connection, claims):
    hers = await make_connection(alice)
    async with db.as_app() as session:
        await session.execute(text("SET LOCAL ROLE authenticated"))
        await session.execute(text("SELECT set_config('request.jwt.claims', :c, true)"), {"c": claims})
        with pytest.raises(DBAPIError, match="not yours"):
            await session.execute(SQL_WAKE, {"ids": [hers.id], "lane": "visits"})
        await session.rollback()
    assert await _jobs(admin) == []


async def test_an_account_made_in_the_same_transaction_can_be_woken(db, admin, alice):
    from everystall.models import Connection

    async with db.as_user(alice) as session:
        connection = Connection(
            id=uuid4(), user_id=alice, public_id="bp_x", marketplace="ebay", base_url="http://x"
        )
        await engine.wake(session, [connection.id])
        session.add(connection)  # written when the transaction ends, before the wake-up
    assert len(await _jobs(admin)) == 1


@pytest.mark.parametrize("lane", ["ticks", "else", ""])
async def test_there_are_no_other_lanes(db, lane):
    with pytest.raises(ValueError, match="lane"):
        await _wake(db, [uuid4()], lane)
    with pytest.raises(DBAPIError, match="no lane"):
        async with db.as_app() as session:
            await session.execute(SQL_WAKE, {"ids": [uuid4()], "lane": lane})


async def test_wakers_in_opposite_orders_never_deadlock(database_urls, admin):
    """Each woke its accounts one by one, in its own order; the locks are taken in one order at the end."""
    a, b = sorted([uuid4(), uuid4()])
    database = Database(database_urls.login)

    async def waker(order, lanes):
        for _ in range(40):
            async with database.as_app() as session:
                for account in order:
                    for lane in lanes:
                        await engine.wake(session, [account], lane)
                        await asyncio.sleep(0)

    async def direct(order):
        for _ in range(40):
            async with database.as_app() as session:
                await session.execute(SQL_WAKE, {"ids": order, "lane": "visits"})

    try:
        async with asyncio.timeout(30):
            await asyncio.gather(
                waker([a, b], ["visits", "urgent"]),
                waker([b, a], ["urgent", "visits"]),
                waker([b, a], ["visits"]),
                direct([a, b]),
                direct([b, a]),
            )
    finally:
        await database.close()
    assert len(await _jobs(admin)) == 4


# ---- never lost ----


async def test_a_waiting_job_is_not_taken_before_the_waker_has_committed(db, admin, database_urls, alice):
    """The trap of a plain deduplicating defer: the waiting job is taken, sees no rows, is gone, and then
    the rows appear. The first row is written by a waker who is still busy with its transaction."""
    account = uuid4()
    await _wake(db, [account])  # there is a waiting job
    found = []

    async def body(connection_id, lane):
        found.append((await (await admin.execute("SELECT count(*) AS n FROM users")).fetchone())["n"])

    await admin.execute("DELETE FROM users")
    async with await psycopg.AsyncConnection.connect(database_urls.admin) as waker:
        await waker.execute("INSERT INTO users (email) VALUES ('row@example.com')")
        await waker.execute("SELECT everystall.wake(ARRAY[%s], 'visits')", [account])
        async with _worker(database_urls.login, body):
            await asyncio.sleep(1.5)  # more than a poll
            assert found == []
            await waker.commit()

            async def visited():
                return found == [1]

            await _until(visited)


@pytest.mark.longer
async def test_a_wake_up_at_any_moment_of_a_running_visit_is_not_lost(db, admin, database_urls, alice):
    """A visit takes rows until it finds none. A row with its wake-up comes at each moment there is:
    before its first look, between looks, after its last, at its very end."""
    account = uuid4()
    await admin.execute("CREATE TABLE work (id int PRIMARY KEY, done_by int)")
    visits = 0
    put = 0

    async def put_row():
        nonlocal put
        put += 1
        async with await psycopg.AsyncConnection.connect(database_urls.admin) as waker:
            await waker.execute("INSERT INTO work (id) VALUES (%s)", [put])
            await waker.execute("SELECT everystall.wake(ARRAY[%s], 'visits')", [account])

    pending: list[asyncio.Task[None]] = []

    async def body(connection_id, lane):
        nonlocal visits
        visits += 1
        moment = visits % 6
        if visits <= 30 and moment == 0:
            await put_row()
        async with await psycopg.AsyncConnection.connect(database_urls.admin, autocommit=True) as own:
            while True:
                taken = await own.execute(
                    """UPDATE work SET done_by = %s
                       WHERE id = (SELECT min(id) FROM work WHERE done_by IS NULL)""",
                    [visits],
                )
                if visits <= 30 and moment == 1:
                    await put_row()
                    moment = -1
                if taken.rowcount == 0:
                    break
        if visits <= 30 and moment in (2, 3, 4, 5):
            if moment == 2:
                await put_row()  # after its last look
            else:  # while procrastinate writes down that the visit ended, a little earlier or later

                async def later(seconds):
                    await asyncio.sleep(seconds)
                    await put_row()

                pending.append(asyncio.create_task(later((moment - 3) * 0.004)))

    async def all_done():
        await asyncio.gather(*pending)
        row = await (
            await admin.execute("SELECT count(*) FILTER (WHERE done_by IS NULL) AS n FROM work")
        ).fetchone()
        return visits > 30 and row["n"] == 0 and not await _jobs(admin)

    async with _worker(database_urls.login, body):
        await put_row()
        await _until(all_done, 60)
    assert put > 25


async def test_a_worker_that_is_stopped_while_it_begins_stops(database_urls, monkeypatch):
    """A wait for a connection may swallow a cancellation (asyncio.wait_for of Python 3.11)."""
    app, beginning = engine.make_app(database_urls.login), asyncio.Event()
    register = app.job_manager.register_worker

    async def register_and_hear_nothing():
        beginning.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.2)
        return await register()

    monkeypatch.setattr(app.job_manager, "register_worker", register_and_hear_nothing)
    async with app.open_async():
        lanes = asyncio.create_task(engine.run_lanes(app, {"ticks": 1}, grace_seconds=2))
        await beginning.wait()
        lanes.cancel()
        await asyncio.wait({lanes}, timeout=10)
        assert lanes.cancelled()


async def test_a_visit_of_one_account_never_runs_twice_at_once_and_urgent_goes_first(
    db, admin, database_urls
):
    account, other = uuid4(), uuid4()
    running: dict[UUID, int] = {}
    order = []
    release = asyncio.Event()

    async def body(connection_id, lane):
        assert not running.get(connection_id), "twice at once"
        running[connection_id] = 1
        order.append((connection_id, lane))
        if len(order) == 1:
            await release.wait()
        await asyncio.sleep(0.01)
        running[connection_id] = 0

    async with (
        _worker(database_urls.login, body, urgent=2, visits=3),
        _worker(database_urls.login, body, visits=3),
    ):
        await _wake(db, [account])

        async def started():
            return len(order) == 1

        await _until(started)
        await _wake(db, [account])  # waits
        await _wake(db, [account], "urgent")  # waits, before it
        await _wake(db, [other])  # does not

        async def other_done():
            return (other, "visits") in order

        await _until(other_done)
        release.set()

        async def finished():
            return len(order) == 4 and not await _jobs(admin)

        await _until(finished)
    assert [lane for who, lane in order if who == account] == ["visits", "urgent", "visits"]


@pytest.fixture
def no_polling(monkeypatch):
    """Only a notification brings a job."""
    monkeypatch.setattr(engine, "POLL_SECONDS", 600.0)


@pytest.mark.usefixtures("no_polling")
@pytest.mark.parametrize("waiting", [False, True])
async def test_a_wake_up_is_picked_up_by_its_notification(db, admin, database_urls, waiting):
    """Also where the job waits already, which fires no insert trigger."""
    account = uuid4()
    woken = asyncio.Event()

    async def body(connection_id, lane):
        woken.set()

    async with _worker(database_urls.login, body):
        await _until(lambda: _listening(admin))
        if waiting:  # locked by a waker until just now, and nobody was told
            await admin.execute("ALTER TABLE procrastinate.procrastinate_jobs DISABLE TRIGGER USER")
            async with await psycopg.AsyncConnection.connect(database_urls.admin) as quiet:
                await quiet.execute(
                    """INSERT INTO procrastinate.procrastinate_jobs
                       (queue_name, task_name, lock, queueing_lock, args)
                       VALUES ('visits', 'visit', %(l)s, %(l)s || ':visits',
                               jsonb_build_object('connection_id', %(id)s::text, 'lane', 'visits'))""",
                    {"l": f"connection:{account}", "id": str(account)},
                )
                await quiet.execute("SELECT everystall.wake(ARRAY[%s], 'visits')", [account])
            await admin.execute("ALTER TABLE procrastinate.procrastinate_jobs ENABLE TRIGGER USER")
        else:
            await _wake(db, [account])
        await asyncio.wait_for(woken.wait(), 10)


@pytest.mark.usefixtures("no_polling")
@pytest.mark.parametrize("lane", ["visits", "urgent"])
async def test_who_came_while_the_account_was_visited_follows_at_once(db, admin, database_urls, lane):
    """The end of the job that holds the lock calls the one that waits for it, in whichever lane."""
    account = uuid4()
    visits, go_on = [], asyncio.Event()

    async def body(connection_id, lane):
        visits.append(lane)
        await go_on.wait()

    async def came(number):
        return len(visits) == number

    async with _worker(database_urls.login, body):
        await _until(lambda: _listening(admin))
        await _wake(db, [account])
        await _until(lambda: came(1))
        await _wake(db, [account], lane)
        await asyncio.sleep(0.2)  # its own notification finds the account locked
        assert visits == ["visits"]
        go_on.set()
        await _until(lambda: came(2))
    assert visits == ["visits", lane]


@pytest.mark.usefixtures("no_polling")
async def test_a_visit_that_is_handed_on_is_taken_at_once(db, admin, database_urls):
    account = uuid4()
    await _wake(db, [account])
    await _die(admin, account)
    taken = asyncio.Event()

    async def body(connection_id, lane):
        taken.set()

    async with _worker(database_urls.login, body) as app:
        await _until(lambda: _listening(admin))
        assert await engine.rescue(app) == 1
        await asyncio.wait_for(taken.wait(), 10)


async def _listening(admin):
    """Both lanes' listeners are there: the workers' first fetch is over too, for it comes before."""
    row = await (
        await admin.execute(
            """SELECT count(*) AS n FROM pg_stat_activity
               WHERE datname = current_database() AND query LIKE 'LISTEN%procrastinate_queue%'
               AND state = 'idle'"""  # one that is still at it hears nothing yet
        )
    ).fetchone()
    return row["n"] >= 2


# ---- dead workers ----


async def _die(admin, account, lane="visits"):
    """A worker took the account's job, and was never heard of again."""
    row = await (
        await admin.execute(
            """INSERT INTO procrastinate.procrastinate_workers (last_heartbeat)
               VALUES (now() - interval '9 seconds') RETURNING id"""
        )
    ).fetchone()
    await admin.execute(
        """UPDATE procrastinate.procrastinate_jobs SET status = 'doing', worker_id = %s
           WHERE queueing_lock = %s AND status = 'todo'""",
        [row["id"], f"connection:{account}:{lane}"],
    )


@pytest.mark.parametrize("newer", [False, True])
async def test_a_dead_workers_visit_is_handed_on(db, admin, database_urls, newer):
    """Also with a newer wake-up waiting, where procrastinate's own retry fails for ever."""
    account = uuid4()
    await _wake(db, [account])
    await _die(admin, account)
    if newer:
        await _wake(db, [account])
    visited = []

    async def body(connection_id, lane):
        visited.append(connection_id)

    app = engine.make_app(database_urls.login)
    async with app.open_async():
        assert await engine.rescue(app) == 1
        assert await engine.rescue(app) == 0
    jobs = await _jobs(admin)
    assert [job["status"] for job in jobs] == ["todo"]
    async with _worker(database_urls.login, body):

        async def done():
            return visited == [account] and not await _jobs(admin)

        await _until(done)


async def test_rescuers_at_once_do_no_harm(db, admin, database_urls):
    accounts = [uuid4() for _ in range(20)]
    await _wake(db, accounts)
    for account in accounts:
        await _die(admin, account)
    await _wake(db, accounts[:10])
    app = engine.make_app(database_urls.login)
    async with app.open_async():
        await asyncio.gather(*(engine.rescue(app) for _ in range(4)))
    jobs = await _jobs(admin)
    assert len(jobs) == 20
    assert {job["status"] for job in jobs} == {"todo"}


@pytest.mark.longer
async def test_a_worker_that_lives_keeps_its_visit(db, admin, database_urls):
    account = uuid4()
    runs = []
    release = asyncio.Event()

    async def body(connection_id, lane):
        runs.append(connection_id)
        await release.wait()

    async with _worker(database_urls.login, body) as app:
        await _wake(db, [account])
        await asyncio.sleep(engine.HEARTBEAT_SECONDS * 2.5)
        assert await engine.rescue(app) == 0
        release.set()
    assert runs == [account]


async def test_a_stopped_worker_takes_nothing_new_and_lets_what_runs_finish(db, admin, database_urls):
    first, second = uuid4(), uuid4()
    done = []
    began = asyncio.Event()

    async def body(connection_id, lane):
        began.set()
        await asyncio.sleep(0.5)
        done.append(connection_id)

    async with _worker(database_urls.login, body, visits=1):
        await _wake(db, [first])
        await asyncio.wait_for(began.wait(), 30)
        await _wake(db, [second])
    assert done == [first]
    assert [job["args"]["connection_id"] for job in await _jobs(admin, "todo")] == [str(second)]


async def test_a_lane_goes_on_after_the_database_threw_its_connections_out(db, admin, database_urls):
    visited = []

    async def body(connection_id, lane):
        visited.append(connection_id)

    async with _worker(database_urls.login, body):
        await _wake(db, [uuid4()])

        async def once():
            return len(visited) == 1

        await _until(once)
        login = database_urls.login.split("//")[1].split(":")[0]
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s "
                            "AND datname = current_database()", [login])  # fmt: skip
        await asyncio.sleep(engine.HEARTBEAT_SECONDS + 0.5)
        await _wake(db, [uuid4()])

        async def twice():
            return len(visited) == 2

        await _until(twice, 15)


async def test_what_runs_goes_on_and_others_are_taken_while_the_database_was_away(db, admin, database_urls):
    """What ran ends once, and keeps nobody waiting."""
    began, release, visited = [], asyncio.Event(), []

    async def body(connection_id, lane):
        began.append(connection_id)
        if len(began) == 1:
            await release.wait()
        visited.append(connection_id)

    first, second = uuid4(), uuid4()
    async with _worker(database_urls.login, body, grace=30) as app:
        await _wake(db, [first])

        async def one():
            return began == [first]

        await _until(one)
        ask, cut = app.connector.execute_query_one_async, 4

        async def cut_off(query, **values):
            nonlocal cut
            if "fetch_job" in query and cut:
                cut -= 1
                raise exceptions.ConnectorException from psycopg.errors.AdminShutdown("it restarts")
            return await ask(query, **values)

        app.connector.execute_query_one_async = cut_off

        async def all_cut():
            return cut == 0

        await _until(all_cut, 15)
        await _wake(db, [second])

        async def two():
            return visited == [second]

        await _until(two, 15)
        release.set()

        async def over():
            return not await _jobs(admin)

        await _until(over, 15)
    assert visited == [second, first]


async def test_after_the_database_was_away_nobody_is_taken_over_at_once(db, admin, database_urls):
    await _wake(db, [account := uuid4()])
    await _die(admin, account)
    app = engine.make_app(database_urls.login)
    async with app.open_async():
        app.job_manager.away_at = time.monotonic()
        assert await engine.rescue(app) == 0
        app.job_manager.away_at -= engine.STALLED_SECONDS
        assert await engine.rescue(app) == 1


async def test_the_end_of_what_was_handed_on_meanwhile_is_no_error(db, admin, database_urls):
    began, release = asyncio.Event(), asyncio.Event()

    async def body(connection_id, lane):
        began.set()
        await release.wait()

    async with _worker(database_urls.login, body):
        await _wake(db, [uuid4()])
        await asyncio.wait_for(began.wait(), 30)
        await admin.execute("DELETE FROM procrastinate.procrastinate_jobs")
        with structlog.testing.capture_logs() as logs:
            release.set()

            async def said():
                return any(line["event"] == "engine.ended_elsewhere" for line in logs)

            await _until(said)


async def test_a_stopping_worker_keeps_what_it_still_does(db, admin, database_urls, monkeypatch):
    monkeypatch.setattr(engine, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(engine, "STALLED_SECONDS", 1.0)
    began, release, account = asyncio.Event(), asyncio.Event(), uuid4()

    async def body(connection_id, lane):
        began.set()
        await release.wait()

    async with _worker(database_urls.login, body, grace=20) as app:
        await _wake(db, [account])
        await asyncio.wait_for(began.wait(), 30)
        (lanes,) = [task for task in asyncio.all_tasks() if task.get_name() == "the lanes"]
        lanes.cancel()
        for _ in range(10):
            await asyncio.sleep(0.25)
            assert await engine.rescue(app) == 0
        release.set()
        await asyncio.wait([lanes], timeout=10)
        assert lanes.done()
    assert await _jobs(admin) == []


async def test_a_frozen_process_in_the_middle_of_a_transaction_stops_nobody_for_long(
    monkeypatch, database_urls, admin
):
    """A worker that was stopped, or its whole machine, with a waiting job locked: who wakes that account,
    the tick's batch of 500 too, would wait for it for ever."""
    monkeypatch.setattr("everystall.db.RESTING_SECONDS", 1)
    frozen, other, account = Database(database_urls.login), Database(database_urls.login), uuid4()
    await _wake(other, [account])

    async def hold() -> None:
        async with frozen.as_app() as session:
            await session.execute(SQL_WAKE, {"ids": [account], "lane": "visits"})
            async with asyncio.timeout(30):
                await _wake(other, [account])
            await session.execute(text("SELECT 1"))

    with pytest.raises(DBAPIError, match="idle-in-transaction"):
        await hold()
    assert len(await _jobs(admin)) == 1
    for each in (frozen, other):
        await each.close()


async def test_the_engines_own_connections_do_not_rest_either(monkeypatch, database_urls):
    monkeypatch.setattr("everystall.db.RESTING_SECONDS", 3)
    async with engine.make_app(database_urls.login).open_async() as app:
        (row,) = await app.connector.execute_query_all_async("SHOW idle_in_transaction_session_timeout")
    assert row == {"idle_in_transaction_session_timeout": "3s"}


# ---- what is due ----


@pytest.fixture
def publish(admin):
    """A publication of a listing on an account, with these columns."""

    async def make(user, listing, connection, **columns):
        values = {"user_id": user, "listing_id": listing.id, "connection_id": connection.id,
                  "marketplace": "poshmark", "wanted_revision": 1, **columns}  # fmt: skip
        row = await (
            await admin.execute(
                f"INSERT INTO publications ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))}) "
                "RETURNING id",
                list(values.values()),
            )
        ).fetchone()
        return row["id"]

    return make


async def _due(db, most=100):
    async with db.as_app() as session:
        rows = await session.execute(text("SELECT connection_id, lane FROM everystall.due(:n)"), {"n": most})
        return [(row.connection_id, row.lane) for row in rows]


LIVE = {"put": "live", "put_revision": 1}
ENDING = {**LIVE, "wanted": "ended"}


@pytest.mark.parametrize(
    ("publication", "paused", "lane"),
    [
        ({}, None, "visits"),
        (LIVE, None, None),
        ({**LIVE, "wanted_revision": 2}, None, "visits"),
        (ENDING, None, "urgent"),
        ({"wanted": "ended"}, None, None),
        ({"looking": True, **LIVE}, None, "visits"),
        ({"needs_you": "{}"}, None, None),
        ({"needs_you": "{}", "looking": True}, None, "visits"),
        ({"next_try_at": "now() + 1 h"}, None, None),
        ({"next_try_at": "now() - 1 s"}, None, "visits"),
        ({}, "connections", None),
        ({}, "users", None),
        (ENDING, "connections", "urgent"),
        (ENDING, "users", "urgent"),
        ({"looking": True}, "users", "visits"),
    ],
)
async def test_due_is_what_differs_and_is_not_put_off_or_paused_or_the_sellers_turn(
    db, admin, alice, make_listing, make_connection, publish, publication, paused, lane
):
    listing, connection = await make_listing(alice), await make_connection(alice)
    when = publication.get("next_try_at")
    made = await publish(
        alice, listing, connection, **{k: v for k, v in publication.items() if k != "next_try_at"}
    )
    if when:
        await admin.execute(
            "UPDATE publications SET next_try_at = now() + %s::interval WHERE id = %s",
            [
                when.removeprefix("now() ")
                .replace(" ", "", 1)
                .replace(" h", " hour")
                .replace(" s", " second"),
                made,
            ],
        )
    if paused:
        await admin.execute(f"UPDATE {paused} SET paused_at = now()")
    assert await _due(db) == ([(connection.id, lane)] if lane else [])


async def test_an_account_is_due_for_its_check_and_for_an_old_attempts_look(
    db, admin, alice, make_listing, make_connection, publish
):
    listing, checked, looked = (
        await make_listing(alice),
        await make_connection(alice),
        await make_connection(alice),
    )
    await admin.execute("UPDATE connections SET next_check_at = now() WHERE id = %s", [checked.id])
    publication = await publish(alice, listing, looked, **LIVE)
    await admin.execute(
        """INSERT INTO attempts (user_id, publication_id, connection_id, listing_revision, draft, fields_hash,
           fence, outcome, next_look_at) VALUES (%s, %s, %s, 1, '{}', 'h', 1, 'unresolved', now())""",
        [alice, publication, looked.id],
    )
    assert sorted(await _due(db)) == sorted([(checked.id, "visits"), (looked.id, "visits")])
    await admin.execute("UPDATE connections SET next_check_at = now() + interval '1 h'")
    await admin.execute("UPDATE attempts SET next_look_at = now() + interval '1 h'")
    assert await _due(db) == []


async def test_an_account_that_somebody_is_on_or_that_needs_its_seller_is_not_due(
    db, admin, alice, make_listing, make_connection, publish
):
    listing, connection = await make_listing(alice), await make_connection(alice)
    await publish(alice, listing, connection)
    for change in ("lease_until = now() + interval '5 s'", "needs_you = '{}'"):
        await admin.execute(f"UPDATE connections SET {change}")
        assert await _due(db) == []
        await admin.execute("UPDATE connections SET lease_until = now() - interval '1 s', needs_you = NULL")
        assert await _due(db) == [(connection.id, "visits")]


async def test_batches_of_due_accounts_come_to_an_end(db, alice, make_listing, make_connection, publish):
    """Who has a wake-up waiting is not due again, so the next batch is another one."""
    listing = await make_listing(alice)
    accounts = {(await make_connection(alice)).id: None for _ in range(7)}
    for account in accounts:
        connection = type("C", (), {"id": account})
        await publish(alice, listing, connection)
    batches = []
    while batch := await _due(db, 3):
        batches.append(len(batch))
        assert len(batches) < 5
        await _wake(db, [account for account, _ in batch])
    assert batches == [3, 3, 1]


@pytest.mark.longer
async def test_due_finds_few_among_many_by_its_indexes(db, admin, alice, make_listing, make_connection):
    """40,000 settled, 20,000 put off, 20,000 that need their seller, 20 due."""
    connections = [await make_connection(alice) for _ in range(20)]
    await admin.execute(
        "INSERT INTO listings (user_id, title) SELECT %s, 'x' FROM generate_series(1, 4000)", [alice]
    )
    await admin.execute(
        """INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision, put,
               put_revision, next_try_at, needs_you)
           SELECT %(u)s, l.id, c.id, 'poshmark', 1, CASE WHEN n.n %% 4 < 2 THEN 'live' ELSE 'nothing' END,
               CASE WHEN n.n %% 4 < 2 THEN 1 END, CASE WHEN n.n %% 4 = 2 THEN now() + interval '1 day' END,
               CASE WHEN n.n %% 4 = 3 THEN '{}'::jsonb END
           FROM (SELECT id, row_number() OVER () AS n FROM listings) l
           CROSS JOIN (SELECT id, row_number() OVER () AS n FROM connections) c
           CROSS JOIN LATERAL (SELECT l.n + c.n AS n) n""",
        {"u": alice},
    )
    await admin.execute(
        """UPDATE publications SET needs_you = NULL WHERE id IN
           (SELECT DISTINCT ON (connection_id) id FROM publications WHERE needs_you IS NOT NULL)"""
    )
    await admin.execute("ANALYZE")
    assert len(await _due(db)) == len(connections)
    timings = []
    for _ in range(5):
        began = time.monotonic()
        await _due(db)
        timings.append(time.monotonic() - began)
    assert min(timings) < 0.05, timings
    row = await (await admin.execute("SELECT prosrc FROM pg_proc WHERE proname = 'due'")).fetchone()
    body = row["prosrc"].replace("LIMIT most", "LIMIT 100")
    plan = await (await admin.execute("EXPLAIN (ANALYZE, FORMAT TEXT) " + body)).fetchall()
    lines = "\n".join(line["QUERY PLAN"] for line in plan)
    assert "publications_due_at" in lines, lines
    assert "Seq Scan on publications" not in lines, lines


# ---- messages ----


async def _wake_messages(db, user=None):
    async with db.as_user(user) if user else db.as_app() as session:
        await engine.wake_messages(session)
        await engine.wake_messages(session)


async def test_waking_the_messages_is_what_procrastinate_would_have_deferred_and_one_waits_at_most(
    db, admin, alice, database_urls
):
    app = engine.make_app(database_urls.login)

    @app.task(name="deliver")
    async def deliver() -> None: ...

    async with app.open_async():
        await deliver.configure(queue="messages", queueing_lock="deliver").defer_async()
    (theirs,) = await _jobs(admin)
    await admin.execute("DELETE FROM procrastinate.procrastinate_jobs")
    for user in (None, alice, None, alice):
        await _wake_messages(db, user)
    (ours,) = await _jobs(admin)
    assert {**ours, "id": 0} == {**theirs, "id": 0}


async def test_messages_have_a_lane_of_their_own(db, admin, database_urls):
    sent = asyncio.Event()
    app = engine.make_app(database_urls.login)

    @app.task(name="deliver")
    async def deliver() -> None:
        sent.set()

    async with app.open_async():
        lanes = asyncio.create_task(engine.run_lanes(app, {"messages": 1}, grace_seconds=2))
        await _wake_messages(db)
        await asyncio.wait_for(sent.wait(), 10)
        lanes.cancel()
        await asyncio.gather(lanes, return_exceptions=True)


async def test_the_tick_wakes_the_messages_only_if_one_is_due(db, admin, alice):
    async def tick():
        async with db.as_app() as session:
            await session.execute(text("SELECT everystall.wake_messages(true)"))
        return len(await _jobs(admin))

    assert await tick() == 0
    await admin.execute(
        """WITH e AS (INSERT INTO events (user_id, type, data) VALUES (%(u)s, 'x', '{}') RETURNING id)
           INSERT INTO webhook_deliveries (user_id, event_id, next_try_at)
           SELECT %(u)s, id, now() + interval '1 h' FROM e""",
        {"u": alice},
    )
    assert await tick() == 0
    await admin.execute("UPDATE webhook_deliveries SET next_try_at = now()")
    assert await tick() == 1


# ---- the other listed functions ----


async def test_sign_in_knows_good_tokens_only_and_stamps_them(db, admin, alice):
    await admin.execute(
        """INSERT INTO api_tokens (user_id, name, token_hash, scopes, expires_at, revoked_at) VALUES
           (%(u)s, 'good', 'good', '{a,b}', NULL, NULL), (%(u)s, 'old', 'old', '{}', now(), NULL),
           (%(u)s, 'gone', 'gone', '{}', NULL, now())""",
        {"u": alice},
    )

    async def ask(token):
        async with db.as_app() as session:
            return (await session.execute(text("SELECT * FROM everystall.sign_in(:t)"), {"t": token})).all()

    (row,) = await ask(b"good")
    assert (row.user_id, row.scopes) == (alice, ["a", "b"])
    for token in (b"old", b"gone", b"unknown", b""):
        assert await ask(token) == []
    stamps = await (await admin.execute("SELECT name, last_used_at FROM api_tokens")).fetchall()
    assert {row["name"] for row in stamps if row["last_used_at"]} == {"good"}


async def test_expire_deletes_what_has_expired_and_counts_it(db, admin, alice, make_connection):
    connection = await make_connection(alice)
    for seq, until in ((1, "-1 second"), (2, "-1 day"), (3, "1 day")):
        await admin.execute(
            """INSERT INTO user_marketplace_sessions (user_id, connection_id, marketplace, seq, dek_version,
               sealed, origin, captured_at, expires_at, consented_at)
               VALUES (%s, %s, 'ebay', %s, 1, 'x', 'visit', now(), now() + %s::interval, now())""",
            [alice, connection.id, seq, until],
        )
    async with db.as_app() as session:
        assert (await session.execute(text("SELECT everystall.expire()"))).scalar_one() == 2
    left = await (await admin.execute("SELECT seq FROM user_marketplace_sessions")).fetchall()
    assert [row["seq"] for row in left] == [3]


async def test_a_lease_is_taken_once_and_says_whose_account_it_is(db, admin, alice, make_connection):
    connection = await make_connection(alice)

    async def take(id, seconds=60):
        async with db.as_app() as session:
            taken = text("SELECT user_id, fence FROM everystall.take_lease(:id, 'me', :s, NULL)")
            return (await session.execute(taken, {"id": id, "s": seconds})).one_or_none()

    assert await take(uuid4()) is None
    assert await take(connection.id) == (alice, 1)
    assert await take(connection.id) is None
    row = await (await admin.execute("SELECT lease_until, next_check_at FROM connections")).fetchone()
    assert row["next_check_at"] == row["lease_until"]
    await admin.execute("UPDATE connections SET lease_until = now() - interval '1 s'")
    assert await take(connection.id) == (alice, 2)


async def test_the_owners_numbers(db, alice, bob, make_listing, make_connection, publish):
    connection = await make_connection(alice)
    await publish(alice, await make_listing(alice), connection, **LIVE)
    async with db.as_app() as session:
        numbers = (await session.execute(text("SELECT * FROM everystall.owner_numbers()"))).one()
    assert (numbers.users, numbers.connections, numbers.listings, numbers.live) == (2, 1, 1, 1)
