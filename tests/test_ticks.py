"""Chores that have nothing to do with each other do not stop each other: nor one seller's row another's."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from benchmarks.engine import idle_tools
from everystall import engine
from everystall.inventory import blindness
from everystall.notify.send import Mail
from everystall.settings import Settings
from everystall.worker import run

#: What each chore of a tick asks first.
CHORES = ("due", "misplaced", "blinded", "late_take_downs", "wake_messages", "take_drop", "take_relist")
SIGNED_OUT = json.dumps({"reason": "session_expired", "message": "It no longer knows your sign-in."})


class Watched:
    """Who looks after mailboxes, the last of a tick."""

    def __init__(self):
        self.looked = asyncio.Event()

    async def look_after(self):
        self.looked.set()


@asynccontextmanager
async def _worker(db, url, tmp_path, **stores):
    """A worker's ticks and clean-ups as they are; who knows when a tick came to its end."""
    settings = Settings(_env_file=None, everystall_home=tmp_path, **stores)
    tools, watched = idle_tools(db, settings), Watched()
    mail = Mail(db, tools.vault, settings)
    app = run.make_app(url, tools, mail, watched)
    async with app.open_async(), run.cleaning(app, tools):
        lanes = asyncio.create_task(engine.run_lanes(app, {"ticks": 1}, grace_seconds=5))
        yield watched
        lanes.cancel()
        await asyncio.gather(lanes, return_exceptions=True)
    await mail.close()
    await tools.photos.close()


async def _waiting(admin):
    rows = await admin.execute("SELECT args ->> 'connection_id' AS id FROM procrastinate_jobs "
                               "WHERE task_name = 'visit'")  # fmt: skip
    return {row["id"] for row in await rows.fetchall()}


@pytest.mark.parametrize("broken", CHORES)
async def test_a_chore_that_fails_is_told_and_the_others_go_on(
    db, admin, database_urls, alice, bob, make_connection, tmp_path, broken
):
    due, blind = await make_connection(alice), await make_connection(bob)
    await admin.execute("UPDATE connections SET next_check_at = now() WHERE id = %s", [due.id])
    await admin.execute("UPDATE connections SET needs_you = %s WHERE id = %s", [SIGNED_OUT, blind.id])
    await admin.execute(f"ALTER FUNCTION everystall.{broken} RENAME TO somewhere_else")
    with capture_logs() as lines:
        async with _worker(db, database_urls.login, tmp_path) as watched, asyncio.timeout(30):
            await watched.looked.wait()
    assert await _waiting(admin) == (set() if broken == "due" else {str(due.id)})
    row = await (
        await admin.execute("SELECT blind_since FROM connections WHERE id = %s", [blind.id])
    ).fetchone()
    assert (row["blind_since"] is None) == (broken == "blinded")
    failed = [line for line in lines if line["event"] == "chore.failed"]
    assert failed
    assert {line["error"] for line in failed} == {"ProgrammingError"}
    assert len({line["chore"] for line in failed}) == 1


async def test_one_sellers_row_that_fails_stops_no_other_sellers(db, admin, alice, bob, make_connection):
    hers, his = await make_connection(alice), await make_connection(bob)
    await admin.execute("UPDATE connections SET needs_you = %s", [SIGNED_OUT])
    await admin.execute(
        """CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'of her own words'; END $$"""
    )
    for bad, good in ((hers, his), (his, hers)):  # whichever comes first
        await admin.execute("UPDATE connections SET blind_since = NULL")
        await admin.execute(
            f"CREATE TRIGGER poison BEFORE UPDATE ON connections FOR EACH ROW WHEN (OLD.id = '{bad.id}') "
            "EXECUTE FUNCTION poison()"
        )
        with capture_logs() as lines:
            await blindness.look_after(db)
        await admin.execute("DROP TRIGGER poison ON connections")
        rows = await (await admin.execute("SELECT id, blind_since FROM connections")).fetchall()
        assert {row["id"] for row in rows if row["blind_since"]} == {good.id}
        (failed,) = [line for line in lines if line["event"] == "chore.failed"]
        assert (failed["connection_id"], failed["user_id"]) == (str(bad.id), str(bad.user_id))
        assert "of her own words" not in str(failed)


@pytest.mark.longer
async def test_a_photo_store_that_does_not_answer_holds_up_no_tick(
    db, admin, database_urls, alice, bob, make_connection, tmp_path
):
    asked = asyncio.Event()

    async def say_nothing(reader, writer):
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = {"photos_url": "s3://photos", "photos_s3_endpoint": f"http://127.0.0.1:{port}",
             "photos_s3_key_id": "k", "photos_s3_key_secret": "s"}  # fmt: skip
    hers, his = await make_connection(alice), await make_connection(bob)
    async with server, _worker(db, database_urls.login, tmp_path, **store) as watched, asyncio.timeout(30):
        await asked.wait()
        for one in (hers, his):
            watched.looked.clear()
            await admin.execute("UPDATE connections SET next_check_at = now() WHERE id = %s", [one.id])
            await watched.looked.wait()
            watched.looked.clear()
            await watched.looked.wait()
            assert str(one.id) in await _waiting(admin)
        began = time.monotonic()
    assert time.monotonic() - began < 10
