"""That PostgreSQL is away is one line, and that it is back another, whoever stumbles over it meanwhile."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from everystall import absence, engine
from everystall.logs import chore
from everystall.web.listening import Listening

ASKS = text("SELECT pg_backend_pid()")


@pytest.fixture
def away(database_urls, copier):
    """While in the block, the database takes no connection, and those of the login are ended."""
    url = make_url(database_urls.login)
    name = sql.Identifier(url.database)

    @asynccontextmanager
    async def away():
        copier.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        copier.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE usename = %s AND datname = %s",
            [url.username, url.database],
        )
        try:
            yield
        finally:
            copier.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))

    return away


async def _ask(db):
    async with db.as_app() as session:
        return (await session.execute(ASKS)).scalar_one()


async def _said(lines, event):
    async with asyncio.timeout(30):
        while not any(line["event"] == event for line in lines):
            await asyncio.sleep(0.05)


@pytest.mark.longer
async def test_an_absence_is_said_once_with_its_cause_and_its_end_whoever_asks_meanwhile(
    db, database_urls, away, caplog
):
    caplog.set_level(logging.WARNING)
    listening, app = Listening(db, "everystall_test"), engine.make_app(database_urls.login, db.absence)
    with capture_logs() as lines:
        async with app.open_async():
            lanes = asyncio.create_task(engine.run_lanes(app, {"visits": 2, "urgent": 1}, grace_seconds=1))
            with listening.waiting(uuid4()):
                await listening.ready(10)
                await _ask(db)
                async with away():
                    for _ in range(10):
                        with pytest.raises(DBAPIError):
                            await _ask(db)
                        with chore("a test's"):
                            await _ask(db)
                        await asyncio.sleep(0.3)
                await _said(lines, "database.back")
                await _ask(db)
            lanes.cancel()
            with suppress(asyncio.CancelledError):
                await lanes
        await listening.close()
    assert [line["event"] for line in lines] == ["database.away", "database.back"]
    first, last = lines
    assert "is not currently accepting connections" in first["why"]
    assert first["database"].endswith(f"/{make_url(database_urls.login).database}")
    assert 2 < last["seconds"] < 30
    assert str(make_url(database_urls.login).password) not in str(lines)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], caplog.text


@pytest.mark.longer
async def test_a_long_absence_is_said_again_ever_more_rarely(db, away, monkeypatch):
    monkeypatch.setattr(absence, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(absence, "AGAIN_SECONDS", 0.5)
    with capture_logs() as lines:
        async with away():
            with pytest.raises(DBAPIError):
                await _ask(db)
            await asyncio.sleep(4)
        await _said(lines, "database.back")
    still = [line for line in lines if line["event"] == "database.still_away"]
    assert 2 <= len(still) <= 4  # at 0.5, 1 and 2 seconds, at 4 perhaps
    assert "is not currently accepting connections" in still[-1]["why"]


async def _is_ended(db, admin):
    """A connection of ours, in the midst of a transaction."""
    with suppress(DBAPIError):
        async with db.as_app() as session:
            own = (await session.execute(ASKS)).scalar_one()
            await admin.execute("SELECT pg_terminate_backend(%s, 5000)", [own])
            await session.execute(ASKS)
    while db.absence.suspected:
        await asyncio.sleep(0.05)


async def test_one_connection_that_was_ended_is_no_absence(db, admin):
    with capture_logs() as lines:
        await _is_ended(db, admin)
    assert [line["event"] for line in lines] == ["database.connection_lost"]
    assert await _ask(db)


async def test_what_ended_with_an_absence_is_no_news_right_after_it(db, admin, away):
    with capture_logs() as lines:
        async with away():
            with pytest.raises(DBAPIError):
                await _ask(db)
            await _said(lines, "database.away")
        await _said(lines, "database.back")
        await _is_ended(db, admin)
    assert [line["event"] for line in lines] == ["database.away", "database.back"]


async def test_what_is_no_absence_is_not_taken_for_one(db):
    with capture_logs() as lines:
        with pytest.raises(DBAPIError) as refused:
            async with db.as_app() as session:
                await session.execute(text("SELECT 1 / 0"))
        assert not absence.may_be_away(refused.value)
        with chore("a test's"):
            async with db.as_app() as session:
                await session.execute(text("SELECT 1 / 0"))
    assert not db.absence.suspected
    assert [line["event"] for line in lines] == ["chore.failed"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused\n'
         "\tIs the server running on that host and accepting TCP/IP connections?", "Connection refused"),
        ('connection failed: connection to server at "127.0.0.1", port 1 failed: FATAL:  password '
         'authentication failed for user "x"', 'password authentication failed for user "x"'),
        ("server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n"
         "\tbefore or while processing the request.", "server closed the connection unexpectedly"),
        ("", "OperationalError"),
    ],
)  # fmt: skip
def test_a_cause_is_said_without_hints_and_addresses(said, why):
    assert absence.why_of(psycopg.OperationalError(said)) == why
