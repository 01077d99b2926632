"""The embedded database moved into another one: all rows of both sellers, or nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import make_url, select, text

from everystall import installation
from everystall.backup import moving, restoring
from everystall.db import Database
from everystall.embedded import MOVED
from everystall.errors import BackupRefused, Conflict, Misconfigured
from everystall.models import Listing
from everystall.settings import Settings
from tests.conftest import Urls
from tests.filling import Schema, fill, rows

ROOT = Path(__file__).parent.parent
#: What keeps sellers apart, and counts: whether it holds, table by table.
GUARDS = """
SELECT c.oid::regclass::text, c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner),
       array_agg(t.tgname || t.tgenabled::text ORDER BY t.tgname) FILTER (WHERE NOT t.tgisinternal)
FROM pg_class c LEFT JOIN pg_trigger t ON t.tgrelid = c.oid
WHERE c.relkind = 'r' AND c.relnamespace IN ('public'::regnamespace, 'everystall'::regnamespace)
GROUP BY c.oid ORDER BY 1
"""
LEFT = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
UNION ALL SELECT nspname FROM pg_namespace WHERE nspname IN ('everystall', 'procrastinate')
"""


def settings_of(urls: Urls, home) -> Settings:
    home.mkdir(mode=0o700, exist_ok=True)
    return Settings(
        _env_file=None, everystall_home=home, database_url=urls.login, database_admin_url=urls.admin
    )


@pytest.fixture
async def here(database_urls, db, make_listing, alice, bob, tmp_path) -> Settings:
    """What `opened` gives for an embedded database with two sellers in it, and something in every table."""
    await make_listing(alice, title="Alice's: \\N, \t and ¼ €", description="\\.\nand more")
    await make_listing(bob, title="Bob's")
    await db.engine.dispose()
    with psycopg.connect(database_urls.admin, row_factory=dict_row) as connection:
        fill(connection, "now", Schema(connection))
    return settings_of(database_urls, tmp_path / "home")


@pytest.fixture
def there(server, empty_database):
    """An empty database; the role that is made for it goes with it."""
    yield empty_database
    name = make_url(empty_database.admin).database
    with psycopg.connect(server.admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        for (role,) in connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'everystall_app%'"
        ).fetchall():
            connection.execute(f"DROP ROLE {role}")


def all_rows(url: str):
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return rows(connection, Schema(connection)), connection.execute(GUARDS).fetchall()


def left(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(LEFT).fetchall()]


async def titles(url: str, user_id: UUID) -> list[str | None]:
    database = Database(url)
    try:
        await database.check_login()
        async with database.as_user(user_id) as session:
            return list((await session.scalars(select(Listing.title))).all())
    finally:
        await database.close()


@pytest.mark.longer
async def test_all_rows_of_both_sellers_are_there_and_the_old_one_does_not_start_again(
    here, there, alice, bob
):
    moved = await asyncio.to_thread(moving.move, here, there.admin)
    before, after = all_rows(here.database_admin_url.get_secret_value()), all_rows(there.admin)
    assert after == before
    assert moved.rows == len(before[0])
    for file in (moved.login_file, moved.admin_file):
        assert oct(file.stat().st_mode & 0o777) == "0o600"
    login = moved.login_file.read_text().strip()
    assert await titles(login, alice) == ["Alice's: \\N, \t and ¼ €"]
    assert await titles(login, bob) == ["Bob's"]
    with psycopg.connect(there.admin) as connection:  # numbers go on where they were
        (next_,) = connection.execute("SELECT nextval(pg_get_serial_sequence('events', 'id'))").fetchone()
        (last,) = connection.execute("SELECT max(id) FROM events").fetchone()
    assert next_ > last
    # who starts without the new address would post everything a second time
    embedded = here.model_copy(update={"database_url": None, "database_admin_url": None})
    with pytest.raises(Misconfigured, match="was moved to") as refused, installation.opened(embedded):
        pass
    for address in (there.admin, login):
        assert str(make_url(address).password) not in refused.value.message + refused.value.action
    assert str(moved.login_file) in refused.value.action
    assert not (here.everystall_home / "postgres").exists()
    # and what was moved there is not written over
    with pytest.raises(Conflict, match="holds something already"):
        await asyncio.to_thread(moving.move, here, there.admin)


@pytest.mark.longer
async def test_it_moves_to_an_owner_who_is_no_superuser(here, there, server, alice, bob):
    """As on a managed PostgreSQL: the owner of the database, with CREATEROLE."""
    owner, name = "everystall_dba_of_move", make_url(there.admin).database
    with psycopg.connect(server.admin, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD 'dba'")
        connection.execute(f"ALTER DATABASE {name} OWNER TO {owner}")
        for role in ("everystall_owner", "everystall_engine", "authenticated"):
            connection.execute(f"GRANT {role} TO {owner} WITH ADMIN OPTION")
    url = make_url(there.admin).set(username=owner, password="dba").render_as_string(hide_password=False)
    try:
        moved = await asyncio.to_thread(moving.move, here, url)
        assert all_rows(there.admin)[0] == all_rows(here.database_admin_url.get_secret_value())[0]
        login = moved.login_file.read_text().strip()
        assert [await titles(login, each) for each in (alice, bob)] == [
            ["Alice's: \\N, \t and ¼ €"], ["Bob's"],
        ]  # fmt: skip
    finally:
        with psycopg.connect(server.admin, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            connection.execute("DROP ROLE IF EXISTS everystall_app")
            connection.execute(f"DROP OWNED BY {owner}")
            connection.execute(f"DROP ROLE {owner}")


@pytest.mark.extended
async def test_what_goes_wrong_leaves_the_other_database_empty_and_this_one_in_use(
    here, there, db, alice, monkeypatch
):
    monkeypatch.setattr(restoring, "GOING", 0.3)
    before = all_rows(here.database_admin_url.get_secret_value())

    async def refused(error: type[Exception], match: str) -> None:
        with pytest.raises(error, match=match):
            await asyncio.to_thread(moving.move, here, there.admin)
        assert left(there.admin) == []
        assert list(here.everystall_home.iterdir()) == []

    async with db.as_user(alice) as session:  # a web
        await session.execute(text("SELECT 1"))
    await refused(BackupRefused, "so nothing was moved")
    await db.engine.dispose()

    class Lossy(moving._Sum):
        """Of two, the one that reads what was written sees a row less."""

        def __eq__(self, other):
            return self.rows < 2

    monkeypatch.setattr(moving, "_Sum", Lossy)
    await refused(Misconfigured, "is not what was read here")
    monkeypatch.undo()

    keep = moving._keep

    def full(file, content):
        if file.name == MOVED:
            raise OSError(28, "No space left on device")
        keep(file, content)

    monkeypatch.setattr(moving, "_keep", full)
    await refused(OSError, "No space")  # at the very end
    monkeypatch.undo()
    with psycopg.connect(there.admin, autocommit=True) as connection:
        connection.execute("CREATE TABLE theirs (id integer)")
    with pytest.raises(Conflict, match=r"holds something already \(public.theirs\)"):
        await asyncio.to_thread(moving.move, here, there.admin)
    assert left(there.admin) == ["theirs"]
    assert all_rows(here.database_admin_url.get_secret_value()) == before
    assert [await titles(here.database_url.get_secret_value(), alice)] == [["Alice's: \\N, \t and ¼ €"]]


@pytest.mark.longer
async def test_the_command_says_what_to_set_and_with_that_it_goes_on(there):
    """With a real embedded database, in a folder that PostgreSQL's user may enter, too."""
    home = Path(tempfile.mkdtemp(prefix="everystall-moving-"))
    env = {"PATH": os.environ["PATH"], "EVERYSTALL_HOME": str(home)}

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "everystall", *arguments],
            cwd=ROOT, capture_output=True, text=True, check=False, env={**env, **more},
        )  # fmt: skip

    try:
        for name in ("alice", "bob"):
            made = await asyncio.to_thread(run, "token", "create", "--new", "--email", f"{name}@example.com")
            assert made.returncode == 0, made.stderr
        moved = await asyncio.to_thread(run, "move-database", there.admin)
        assert moved.returncode == 0, moved.stderr
        assert str(make_url(there.admin).password) not in moved.stdout + moved.stderr
        again = await asyncio.to_thread(run, "migrate")
        assert (again.returncode, "was moved to" in again.stderr) == (1, True)
        named = dict(line.split("=", 1) for line in moved.stdout.split() if "_URL_FILE=" in line)
        assert named.keys() == {"DATABASE_URL_FILE", "DATABASE_ADMIN_URL_FILE"}
        on = await asyncio.to_thread(run, "migrate", **named)
        assert "already at" in on.stdout, on.stderr
        with psycopg.connect(there.admin) as connection:
            found = connection.execute(
                "SELECT u.email FROM users u JOIN api_tokens t ON t.user_id = u.id ORDER BY 1"
            )
            assert found.fetchall() == [("alice@example.com",), ("bob@example.com",)]
    finally:
        shutil.rmtree(home)
