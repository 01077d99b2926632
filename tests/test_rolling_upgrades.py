"""Programs that run while their database is migrated: which go on, and who is in whose way."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory
from psycopg.rows import dict_row
from sqlalchemy import create_engine, select

from everystall import compatibility, db, installation
from everystall.backup.shelf import Shelf
from everystall.compatibility import FIRST, find_mismatch, newest
from everystall.db import Database
from everystall.errors import Misconfigured
from everystall.models import Listing
from everystall.settings import Settings
from tests.test_upgrading import newer, rows, sellers, settings

__all__ = ["newer", "sellers", "settings"]  # fixtures

#: What leaves a program of before as it was, and what does not.
EXPANDS = "ALTER TABLE listings ADD COLUMN shelf text; ALTER TABLE listings ADD COLUMN rank int DEFAULT 0;"
CONTRACTS = "ALTER TABLE listings DROP COLUMN sku CASCADE;"
#: Ours, with what a program of before counts on: columns, and functions with what they take and give.
TABLES = """
SELECT n.nspname || '.' || c.relname || '.' || a.attname AS name, format_type(a.atttypid, a.atttypmod) AS is,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS demanded
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'everystall', 'procrastinate') AND c.relkind IN ('r', 'v') AND a.attnum > 0
  AND NOT a.attisdropped
UNION ALL
SELECT n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
       pg_get_function_result(p.oid), false
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('everystall', 'procrastinate')
"""


@contextmanager
def connected(settings: Settings, name: str) -> Iterator[psycopg.Connection[Any]]:
    """A program that calls itself so."""
    url = settings.database_url.get_secret_value()
    with psycopg.connect(url, autocommit=True, application_name=name) as connection:
        yield connection


async def mismatch(settings: Settings) -> compatibility.Mismatch | None:
    database = Database(settings.database_url.get_secret_value())
    try:
        async with database.as_app() as session:
            return await find_mismatch(session)
    finally:
        await database.close()


async def test_programs_go_on_through_a_migration_that_is_backward_compatible(
    settings, sellers, newer, make_listing
):
    """This very program is the older one: its models know nothing of the new columns."""
    alice, bob = sellers
    newer(EXPANDS, backward_compatible=True)
    database = Database(settings.database_url.get_secret_value())
    async with database.as_user(alice) as session:
        assert (await session.scalars(select(Listing.title))).all() == ["Alice's shirt"]
    assert "now at 9900" in await asyncio.to_thread(installation.migrate, settings)
    assert await mismatch(settings) is None
    await database.check_login()
    await make_listing(alice, title="Alice's hat")
    for seller, theirs in ((alice, ["Alice's hat", "Alice's shirt"]), (bob, ["Bob's shirt"])):
        async with database.as_user(seller) as session:
            assert sorted((await session.scalars(select(Listing.title))).all()) == theirs
    await database.close()


async def test_a_migration_that_breaks_programs_is_refused_while_they_run_and_says_who(
    settings, sellers, newer
):
    newer(EXPANDS, backward_compatible=True)
    newer(CONTRACTS)
    worker, web = f"everystall-worker/{newest()}/77@attic", "everystall-web/9901/78@attic"
    with (
        connected(settings, worker), connected(settings, worker), connected(settings, web),
        pytest.raises(db.InUse) as refused,
    ):  # fmt: skip
        await asyncio.to_thread(installation.migrate, settings)
    assert "Migration 9901" in refused.value.message
    assert refused.value.message.count("attic") == 1, "who is of that version is in nobody's way"
    assert f"a worker of version {newest()} (77@attic)" in refused.value.message
    assert "--wait" in refused.value.action
    assert rows(settings, "SELECT version_num FROM alembic_version") == [(newest(),)]
    assert Shelf(settings).find() == [], "no backup of what is not done"
    with connected(settings, "psql"), pytest.raises(db.InUse, match="an older program, or another, at 127"):
        await asyncio.to_thread(installation.migrate, settings)
    with connected(settings, web):
        assert "now at 9901" in await asyncio.to_thread(installation.migrate, settings)


async def test_it_waits_for_their_end_where_it_is_told_to(settings, newer):
    newer(CONTRACTS)
    told: list[str] = []
    with connected(settings, f"everystall-web/{newest()}/5@hall") as web:

        def tell(said: str) -> None:
            told.append(said)
            threading.Timer(1.2, web.close).start()

        assert "now at 9900" in await asyncio.to_thread(installation.migrate, settings, tell)
    assert len(told) == 1
    assert "5@hall" in told[0]


async def test_an_older_program_does_not_start_over_what_broke_it_and_one_that_runs_is_not_ready(
    settings, newer
):
    newer(EXPANDS, CONTRACTS)  # nobody says that they are compatible
    await asyncio.to_thread(installation.migrate, settings)
    found = await mismatch(settings)
    assert found is not None
    assert f"newer version (9901; this one is {newest()}, it needs 9901)" in found.said
    database = Database(settings.database_url.get_secret_value())
    with pytest.raises(Misconfigured, match=r"newer version .* nothing was started") as refused:
        await database.check_login()
    assert "Start the newer version" in refused.value.action
    await database.close()


async def test_what_stands_in_the_database_is_what_the_files_say(settings, newer):
    """Also where several came at once, and where it is migrated again."""
    newer(CONTRACTS)
    newer(EXPANDS, backward_compatible=True)
    for said in ("now at 9901", "already at 9901"):
        assert said in await asyncio.to_thread(installation.migrate, settings)
        assert rows(settings, "SELECT everystall.oldest_program()") == [("9900",)]


async def test_a_migration_lets_go_again_of_what_it_waits_for_and_nobody_waits_with_it_for_long(
    settings, sellers, newer
):
    """A backup reads a table for an hour: what wants to change that table stands in everybody's way who wants
    to read it after that."""
    newer(EXPANDS, backward_compatible=True)
    login, url = (one.get_secret_value() for one in (settings.database_url, settings.database_admin_url))
    waits = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'public.listings'::regclass"
    with psycopg.connect(url) as backup, psycopg.connect(url, autocommit=True) as seller:
        backup.execute("SELECT count(*) FROM listings")
        migrating = asyncio.create_task(asyncio.to_thread(db.migrate, url, login))
        async with asyncio.timeout(240):
            while not seller.execute(waits).fetchall():
                await asyncio.sleep(0.01)
        seller.execute("SET statement_timeout = '20s'")
        counted = await asyncio.to_thread(seller.execute, "SELECT count(*) FROM listings")
        assert counted.fetchone() == (2,)
        assert not migrating.done()
        backup.rollback()
    assert "now at 9900" in await migrating


async def test_it_gives_up_in_words_where_a_table_is_never_let_go(settings, sellers, newer, monkeypatch):
    newer(EXPANDS, backward_compatible=True)
    monkeypatch.setattr(db, "LOCK_TRIES", 2)
    monkeypatch.setattr(db, "LOCK_AGAIN_SECONDS", 0.1)
    with psycopg.connect(settings.database_admin_url.get_secret_value()) as held:
        held.execute("SELECT count(*) FROM listings")
        with pytest.raises(Misconfigured, match="holds a table") as refused:
            await asyncio.to_thread(installation.migrate, settings)
    assert "pg_stat_activity" in refused.value.action
    assert rows(settings, "SELECT version_num FROM alembic_version") == [(newest(),)]


def test_a_process_says_to_the_database_what_it_is(monkeypatch, settings):
    monkeypatch.setenv("PGAPPNAME", "")  # put back afterwards
    compatibility.name_process("bull-intake")
    url = settings.database_url.get_secret_value()
    with psycopg.connect(url) as connection:
        (name,) = connection.execute("SHOW application_name").fetchone()
    assert re.fullmatch(rf"everystall-bull-intake/{newest()}/\d+@.+", name)
    engine = create_engine(db.driver_url(settings.database_admin_url.get_secret_value()))
    with psycopg.connect(url), engine.connect() as looking:
        login = db.role_of(db.driver_url(url))
        assert compatibility.find_broken(looking, login, newest()) == []
        (broken,) = compatibility.find_broken(looking, login, "9999")
    engine.dispose()
    assert broken.startswith(f"a bull-intake of version {newest()} (")


def test_each_migration_says_whether_programs_go_on_and_those_that_say_so_leave_them_what_they_need(
    empty_database,
):
    """What is tried here is what a catalog knows: columns and functions that go or change, columns that an
    older program would have to fill in. What it writes and reads in them is its author's to know."""
    engine, login = create_engine(db.driver_url(empty_database.admin)), db.driver_url(empty_database.login)
    with engine.begin() as connection:
        scripts = list(ScriptDirectory.from_config(db.migrations(connection)).walk_revisions())[::-1]
    before: dict[str, Any] = {}
    for script in [one for one in scripts if one.revision >= "0068"]:
        with engine.begin() as connection:
            db.begin(connection, login)
            db.upgrade(connection, login, script.revision)
        with psycopg.connect(empty_database.admin, row_factory=dict_row) as looking:
            now = {row["name"]: row for row in looking.execute(TABLES)}
        if script.revision >= FIRST:
            compatible = getattr(script.module, "backward_compatible", None)
            assert isinstance(compatible, bool), (
                f"{script.revision} says `backward_compatible = True` or False"
            )
            if compatible:
                changed = {name for name, row in before.items() if now.get(name) != row}
                tables = {name.rpartition(".")[0] for name in before}
                added = [name for name in now.keys() - before.keys() if name.rpartition(".")[0] in tables]
                demanded = {name for name in added if now[name]["demanded"]}
                assert (changed, demanded) == (set(), set()), f"{script.revision} breaks programs of before"
        before = now
    engine.dispose()
