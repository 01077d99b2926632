"""Work that ends in the middle, without a word, is counted where it begins. Of a listing it is asked about
after eight times (not where PostgreSQL was the reason), a check gets rarer and is told, an import goes on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import AsyncMock

import psycopg
import pytest
from sqlalchemy import select
from sqlalchemy.exc import InternalError, OperationalError

from everystall.errors import BrowserEnded, BrowserNotStarted, ChallengeShown, MarketplaceBusy, SessionExpired
from everystall.inventory import live_imports
from everystall.inventory.publications import change
from everystall.marketplaces.base import Draft, Money
from everystall.models import Connection, Event, LiveImport, LiveImportItem, Publication
from everystall.worker import failures, publish, relist, revise, watch
from everystall.worker.visit import Visit
from tests.selling import all_of
from tests.test_pause_rows import PATHS, _comes_up

#: What is done about a listing, in words.
STEPS = [path for path, (_, kind, *_) in PATHS.items() if kind not in ("check", "import")]


class Killed(BaseException):
    """The worker is gone: nothing of it does anything more."""


@pytest.fixture
async def make_visit(db, admin, alice):
    async def make(account, step=None):
        await admin.execute(
            """UPDATE connections SET lease_fence = 1, lease_until = now() + interval '1 hour',
                                      next_check_at = NULL, watched_at = NULL"""
        )
        lease = SimpleNamespace(connection_id=account.id, user_id=alice, fence=1, lost=asyncio.Event(),
                                transaction=lambda: db.as_user(alice))  # fmt: skip
        settings = SimpleNamespace(pace_seconds=0, daily_cap=None, settle_seconds=60, address="http://here")
        adapter = SimpleNamespace(read=None)
        photos = SimpleNamespace(forget_unnamed=AsyncMock())
        tools = SimpleNamespace(
            db=db, get_adapter=lambda _: adapter, settings=settings, step=step, photos=photos
        )
        return Visit(tools, lease, "visits")

    return make


async def _begin(visit, due):
    async with visit.lease.transaction() as session:
        publication = await visit.locked(session, due.publication_id)
        await change(session, publication, state="composing", **visit.begins())


async def _is_killed(visit, due):
    await _begin(visit, due)
    raise Killed


async def _row(db, user, account):
    (row,) = [one for one in await all_of(db, user, Publication) if one.connection_id == account.id]
    return row


@pytest.fixture
async def account(db, admin, stand):
    """With a listing to be posted."""
    _, (account, elsewhere) = await stand("ebay", "poshmark")
    await _comes_up(db, admin, "to be posted", account, elsewhere)
    return account


async def test_who_is_cut_off_eight_times_in_a_row_is_asked_about(db, admin, alice, bob, account, make_visit):
    for times in range(failures.TRIES):
        await admin.execute("UPDATE publications SET next_try_at = NULL")
        visit = await make_visit(account, _is_killed)
        due = await visit._next()
        assert due.cut_off == times
        with pytest.raises(Killed):
            await visit._do(due)
        assert (await _row(db, alice, account)).needs_you is None
        later = await admin.execute("SELECT 1 FROM publications WHERE next_try_at > now() + interval '3 s'")
        assert bool(await later.fetchall()) is (times > 0)  # others of the account have their turn
    await admin.execute("UPDATE publications SET next_try_at = NULL")
    visit = await make_visit(account, _is_killed)
    await visit._do(await visit._next())
    row = await _row(db, alice, account)
    assert "8 times in a row the work on this listing was cut off" in row.needs_you["message"]
    assert [one["name"] for one in row.needs_you["actions"]] == ["retry", "give_up"]
    assert (row.begun_at, row.cut_off, row.state) == (None, 0, "waiting")
    assert await visit._next() is None
    assert await all_of(db, bob, Publication) == []


async def test_what_is_to_go_is_asked_about_and_tried_on(db, admin, alice, stand, make_visit):
    _, (account, elsewhere) = await stand("ebay", "poshmark")
    await _comes_up(db, admin, "sold elsewhere", account, elsewhere)
    await admin.execute("UPDATE publications SET begun_at = now(), cut_off = 7")
    visit = await make_visit(account, _is_killed)
    await visit._do(await visit._next())
    row = await _row(db, alice, account)
    assert "It is still there: we go on trying." in row.needs_you["message"]
    await admin.execute("UPDATE publications SET next_try_at = NULL")
    assert (await visit._next()).cut_off == 0


OWN = pytest.mark.parametrize(
    "error", [BrowserNotStarted("Everystall's own browser did not start."), BrowserEnded("It ended midway.")]
)


def _meets(error):
    async def step(visit, due):
        raise error

    return step


@OWN
async def test_a_browser_that_does_not_start_or_last_is_tried_again_later_and_then_no_marketplace_is_blamed(
    db, admin, alice, bob, account, make_visit, error
):
    waits = []
    for _ in range(failures.TRIES):
        assert (await _row(db, alice, account)).needs_you is None
        await admin.execute("UPDATE publications SET next_try_at = NULL")
        visit = await make_visit(account, _meets(error))
        await visit._do(await visit._next())
        row = await _row(db, alice, account)
        waits.append((row.next_try_at or datetime.now(UTC)) - datetime.now(UTC))
    assert timedelta(seconds=2) < waits[0] < timedelta(seconds=8)
    assert waits[-2] > timedelta(minutes=3)
    assert row.needs_you["reason"] == error.code
    assert f"8 times in a row: {error.message}" in row.needs_you["message"]
    assert "eBay did not answer" not in row.needs_you["message"]
    counted = await admin.execute("SELECT code, number FROM everystall.failure_numbers(24)")
    assert [tuple(one.values()) for one in await counted.fetchall()] == [(error.code, 8)]
    assert await all_of(db, bob, Publication) == []


@OWN
async def test_what_is_to_go_is_tried_on_until_a_browser_starts_and_lasts(
    db, admin, alice, bob, stand, make_visit, error
):
    _, (account, elsewhere) = await stand("ebay", "poshmark")
    await _comes_up(db, admin, "sold elsewhere", account, elsewhere)
    for tries in range(failures.TRIES + 2):
        await admin.execute("UPDATE publications SET next_try_at = NULL")
        visit = await make_visit(account, _meets(error))
        due = await visit._next()
        assert due.kind == "end"
        await visit._do(due)
        row = await _row(db, alice, account)
        assert (row.needs_you, row.tries) == (None, tries + 1)
    assert timedelta(minutes=2) < row.next_try_at - datetime.now(UTC) < timedelta(minutes=6)
    assert await all_of(db, bob, Publication) == []


async def test_what_was_written_down_or_cut_off_by_postgresql_is_not_counted(
    db, admin, alice, account, make_visit
):
    visit = await make_visit(account, _begin)
    due = await visit._next()
    await visit._do(due)
    assert (await visit._next()).cut_off == 1
    await admin.execute("UPDATE publications SET begun_at = pg_postmaster_start_time() - interval '1 second'")
    assert (await visit._next()).cut_off == 0
    await admin.execute("UPDATE publications SET begun_at = now(), cut_off = 3")
    await failures.dropped(visit, due.publication_id)
    row = await _row(db, alice, account)
    assert (row.begun_at, row.cut_off) == (None, 0)


async def _complete(admin):
    """The listing has a photo, and what was put there is whole."""
    await admin.execute(
        """INSERT INTO listing_photos (user_id, listing_id, position, sha256, content_type, width, height,
                                       byte_size)
           SELECT user_id, id, 0, repeat('a', 64), 'image/jpeg', 800, 600, 1 FROM listings"""
    )
    put = Draft(title="A shirt", description="Linen.", price=Money(amount=900), category=("Shirts",))
    await admin.execute("UPDATE attempts SET draft = %s", [put.model_dump_json()])


@pytest.mark.parametrize("path", STEPS)
async def test_each_step_says_that_it_began(db, admin, alice, bob, stand, make_visit, monkeypatch, path):
    _, (account, elsewhere) = await stand("poshmark", "ebay", quantity=3 if "several" in path else 1)
    await _complete(admin)
    await _comes_up(db, admin, path, account, elsewhere)
    kind = PATHS[path][1]
    if kind == "look":
        await admin.execute(
            """INSERT INTO attempts (user_id, publication_id, connection_id, listing_revision, draft,
                                     fields_hash, fence, armed_at)
               SELECT user_id, id, connection_id, 1, '{}', 'h', 1, now() FROM publications
               WHERE connection_id = %s""", [account.id],
        )  # fmt: skip
    await admin.execute("UPDATE publications SET cut_off = 2 WHERE connection_id = %s", [account.id])
    visit = await make_visit(account)

    async def page():
        raise Killed

    monkeypatch.setattr(visit, "page", page)
    due = await visit._next()
    assert due.kind == kind
    with pytest.raises(Killed):
        await visit._do(due)
    row = await _row(db, alice, account)
    assert (row.begun_at is not None, row.cut_off, row.next_try_at is not None) == (True, 2, True)
    assert await all_of(db, bob, Publication) == []


async def test_a_look_for_what_was_given_up_is_counted_too_and_gets_rarer(
    db, admin, alice, bob, stand, make_visit, monkeypatch
):
    _, (account, _) = await stand("poshmark", "ebay")
    await admin.execute(
        "UPDATE attempts SET outcome = 'unresolved', next_look_at = now() WHERE connection_id = %s",
        [account.id],
    )
    visit = await make_visit(account)

    async def page():
        raise Killed

    monkeypatch.setattr(visit, "page", page)
    for times in range(failures.TRIES):
        due = await visit._next()
        assert (due.kind, due.cut_off) == ("orphan", times)
        with pytest.raises(Killed):
            await visit._do(due)
    await visit._do(await visit._next())
    assert await visit._next() is None
    row = await _row(db, alice, account)
    assert (row.begun_at, row.cut_off, row.needs_you) == (None, 0, None)
    later = await admin.execute("SELECT 1 FROM attempts WHERE looks = 1 AND next_look_at > now()")
    assert len(await later.fetchall()) == 1
    assert await all_of(db, bob, Publication) == []


@pytest.mark.parametrize("of", ["post", "change", "relist"])
async def test_half_way_it_is_still_under_way(db, admin, alice, stand, make_visit, of):
    _, (account, elsewhere) = await stand("poshmark", "ebay")
    await _complete(admin)
    path = {"post": "to be posted", "change": "edited, or its price fell", "relist": "to be relisted"}[of]
    await _comes_up(db, admin, path, account, elsewhere)
    visit = await make_visit(account)
    due = await visit._next()
    module = {"post": publish, "change": revise, "relist": relist}[of]
    plan = await module._compose(visit, due.publication_id)
    if of == "post":
        await publish._note_filling(visit, plan)
    elif of == "relist":
        await relist._begin(visit, plan)
    else:
        await revise._arm(visit, plan, SimpleNamespace(fields={}))
    row = await _row(db, alice, account)
    assert row.begun_at is not None
    assert row.state == {"post": "filling", "change": "revising", "relist": "ending"}[of]


async def _check_is_cut_off(visit, times):
    due = await visit._next()
    assert (due.kind, due.cut_off) == ("check", times)
    with pytest.raises(Killed):
        await visit._do(due)


async def test_a_check_that_is_cut_off_eight_times_is_told_and_gets_rarer(
    db, admin, alice, bob, stand, make_visit
):
    _, (account, _) = await stand("poshmark", "ebay")

    async def is_killed(visit, due):
        raise Killed

    async def comes_up():
        visit = await make_visit(account, is_killed)
        await admin.execute("UPDATE connections SET next_check_at = now() WHERE id = %s", [account.id])
        return visit

    for times in range(failures.TRIES):
        await _check_is_cut_off(await comes_up(), times)
    assert await all_of(db, alice, Event) == []
    for _ in range(2):  # told once
        visit = await comes_up()
        await visit._do(await visit._next())
        (message,) = await all_of(db, alice, Event)
        assert "8 times in a row the look was cut off in the middle" in message.data["message"]
        (mine,) = [one for one in await all_of(db, alice, Connection) if one.id == account.id]
        assert mine.next_check_at - mine.watch_told_at > failures.CHECK_AGAIN - timedelta(minutes=1)
        await _check_is_cut_off(await comes_up(), failures.TRIES - 1)
    assert await all_of(db, bob, Event) == await all_of(db, bob, Connection) == []


@pytest.mark.parametrize("end", [MarketplaceBusy, SessionExpired, ChallengeShown, None])
async def test_a_check_of_which_something_was_written_down_was_not_cut_off(
    db, admin, alice, stand, make_visit, end
):
    _, (account, _) = await stand("poshmark", "ebay")
    await admin.execute("UPDATE connections SET checks_cut_off = 6, session_seq = 1")

    async def step(visit, due):
        raise end("It does not answer.")

    visit = await make_visit(account, step)
    visit.which = "last_good"  # no other session is left to be tried
    await admin.execute("UPDATE connections SET next_check_at = now() WHERE id = %s", [account.id])
    due = await visit._next()
    if end is not None:
        await visit._do(due)
    else:
        visit.tools.settings.watch_seconds = visit.tools.settings.watch_alone_seconds = 60
        await watch._next(visit, datetime.now(UTC))
    (mine,) = [one for one in await all_of(db, alice, Connection) if one.id == account.id]
    assert mine.checks_cut_off == 0


async def test_a_check_that_gets_rarer_does_not_come_before_what_is_to_be_posted(
    db, admin, account, make_visit
):
    for cut_off, kind in ((failures.TRIES - 2, "check"), (failures.TRIES - 1, "publish")):
        visit = await make_visit(account)
        await admin.execute(
            """UPDATE connections SET checks_cut_off = %s, next_check_at = now() + interval '10 min',
                                      watched_at = now() - interval '1 hour'""", [cut_off],
        )  # fmt: skip
        assert (await visit._next()).kind == kind


@pytest.mark.parametrize("error", [MarketplaceBusy, SessionExpired, ChallengeShown])
async def test_a_step_of_an_import_of_which_something_was_written_down_was_not_cut_off(
    db, admin, alice, stand, make_visit, error
):
    _, (account, elsewhere) = await stand("poshmark", "ebay")
    await _comes_up(db, admin, "to be brought in", account, elsewhere)
    await admin.execute("UPDATE live_imports SET cut_off = 3")
    visit = await make_visit(account)
    visit.which = "last_good"

    async def page():
        raise error("It does not answer.")

    visit.reading, visit.page = True, page
    await visit._do(await visit._next())
    (doing,) = await all_of(db, alice, LiveImport)
    assert doing.cut_off == 0


@pytest.mark.parametrize("of", ["its list", "one listing"])
async def test_a_step_of_an_import_that_is_cut_off_four_times_is_given_up(
    db, admin, alice, bob, stand, make_visit, monkeypatch, of
):
    _, (account, elsewhere) = await stand("poshmark", "ebay")
    await _comes_up(db, admin, "to be brought in", account, elsewhere)
    if of == "one listing":
        await admin.execute("UPDATE live_imports SET listed_at = now()")
        await admin.execute(
            """INSERT INTO live_import_items (user_id, import_id, remote_id, position, title)
               SELECT user_id, id, unnest(ARRAY['r-8', 'r-9']), 0, 'A shirt' FROM live_imports"""
        )

    async def killed(*_):
        raise Killed

    for _ in range(live_imports.TRIES):
        visit = await make_visit(account)
        monkeypatch.setattr(visit, "page", killed)
        visit.reading = True
        due = await visit._next()
        assert due.kind == "import"
        with pytest.raises(Killed):
            await visit._do(due)
    await visit._do(await visit._next())
    (doing,) = await all_of(db, alice, LiveImport)
    async with db.as_user(alice) as session:
        items = (await session.scalars(select(LiveImportItem))).all()
    assert "4 times in a row the work on this was cut off in the middle" in doing.message
    assert doing.cut_off == 0
    assert sorted(str(one.outcome) for one in items) == (["None", "failed"] if items else [])
    assert doing.status == ("running" if items else "failed")
    assert (await visit._next() is not None) is bool(items)  # the other one is next
    async with db.as_user(bob) as session:
        assert (await session.scalars(select(LiveImportItem))).all() == []


REFUSED = (psycopg.errors.ProgramLimitExceeded, psycopg.errors.InternalError_)
AWAY = (
    psycopg.OperationalError, psycopg.errors.AdminShutdown, psycopg.errors.ConnectionFailure,
    psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.DiskFull, psycopg.errors.DeadlockDetected,
)  # fmt: skip


@pytest.mark.parametrize("error", [*REFUSED, *AWAY])
async def test_what_postgresql_refuses_for_good_is_counted_and_its_absence_is_not(
    db, admin, alice, bob, account, make_visit, error
):
    wrapped = InternalError if issubclass(error, psycopg.InternalError) else OperationalError

    async def step(visit, due):
        raise wrapped("INSERT", {}, error("secret"))

    visit = await make_visit(account, step)
    await admin.execute("UPDATE publications SET tries = 7")
    if error in AWAY:
        with pytest.raises(wrapped):
            await visit._do(await visit._next())
        row = await _row(db, alice, account)
        assert (row.tries, row.needs_you) == (7, None)
        return
    await visit._do(await visit._next())
    row = await _row(db, alice, account)
    assert row.needs_you["reason"] == "misconfigured"
    assert "8 times in a row: The database refused" in row.needs_you["message"]
    assert "secret" not in row.needs_you["message"]
    assert await all_of(db, bob, Publication) == []
