"""A newer version's migrations: a backup before them, and all as it was where one of them fails midway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import create_engine, select

from everystall import db, installation
from everystall.backup import restoring
from everystall.backup.making import make_before_upgrade
from everystall.backup.shelf import KINDS, Shelf, find_key
from everystall.db import Database
from everystall.errors import Misconfigured
from everystall.models import Listing
from everystall.settings import Settings
from everystall.vault.keyring import Keyring
from everystall.web.pages.backups import _KINDS

#: What a newer version's migration may do; and one that does more of the kind, and fails then.
WORKS = """
ALTER TABLE listings ADD COLUMN name text;
UPDATE listings SET name = upper(title);
ALTER TABLE listings DROP COLUMN title CASCADE;
"""
FAILS = """
CREATE ROLE everystall_of_a_migration NOLOGIN;
DELETE FROM users WHERE email LIKE 'bob@%';
ALTER TABLE listings ADD CONSTRAINT never CHECK (name IS NULL);
"""
MIGRATION = '''
from alembic import op
revision, down_revision, branch_labels, depends_on = "{revision}", "{before}", None, None
backward_compatible = {compatible}
def upgrade():
    statements = """RESET ROLE; SET LOCAL row_security = off; {statements}"""
    op.get_bind().exec_driver_sql(statements.replace("%", "%%"))
'''
SCHEMA = """
SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default
FROM information_schema.columns WHERE table_schema IN ('public', 'everystall', 'procrastinate')
UNION ALL SELECT n.nspname, p.proname, p.prosrc, p.proacl::text, NULL, NULL
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'everystall'
UNION ALL SELECT schemaname, tablename, policyname, qual, with_check, roles::text FROM pg_policies
UNION ALL SELECT rolname, NULL, NULL, NULL, NULL, NULL FROM pg_roles WHERE rolname LIKE '%of_a_migration'
UNION ALL SELECT version_num, NULL, NULL, NULL, NULL, NULL FROM alembic_version
ORDER BY 1, 2, 3, 4
"""


@pytest.fixture
def settings(database_urls, tmp_path) -> Settings:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return Settings(
        _env_file=None, everystall_home=home, database_url=database_urls.login,
        database_admin_url=database_urls.admin, pbkdf2_iterations=100_000,
    )  # fmt: skip


@pytest.fixture
def newer(database_urls, tmp_path, monkeypatch) -> Callable[..., None]:
    """`newer(WORKS, FAILS)`: `installation.migrate` is of a version with these migrations more, until
    `monkeypatch.undo`; all else is of this one."""
    ours, folder = db.migrations, tmp_path / "migrations"
    folder.mkdir()

    def migrations(connection):
        config = ours(connection)
        here = Path(config.get_main_option("script_location")) / "versions"
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", f"{here}\n{folder}")
        return config

    def newer(*statements: str, backward_compatible: bool = False) -> None:
        engine = create_engine(db.driver_url(database_urls.admin))
        with engine.connect() as connection:
            before = db.revisions(connection)[1]
        engine.dispose()
        for number, each in enumerate(statements, len(list(folder.glob("*.py")))):
            made = MIGRATION.format(
                revision=f"99{number:02}", before=before, statements=each, compatible=backward_compatible
            )
            (folder / f"{number}.py").write_text(made)
            before = f"99{number:02}"
        monkeypatch.setattr(db, "migrations", migrations)

    return newer


def rows(settings: Settings, statement: str) -> list[Any]:
    with psycopg.connect(settings.database_admin_url.get_secret_value(), autocommit=True) as connection:
        return connection.execute(statement).fetchall()


async def titles(settings: Settings, user_id: UUID) -> list[str | None]:
    """As the program of now reads them for that seller, over a login that it lets in."""
    database = Database(settings.database_url.get_secret_value())
    try:
        await database.check_login()
        async with database.as_user(user_id) as session:
            return list((await session.scalars(select(Listing.title))).all())
    finally:
        await database.close()


@pytest.fixture
async def sellers(db, make_listing, alice, bob):
    await make_listing(alice, title="Alice's shirt")
    await make_listing(bob, title="Bob's shirt")
    await db.engine.dispose()
    return alice, bob


@pytest.mark.longer
async def test_where_a_migration_fails_midway_all_is_as_before_and_the_program_of_before_runs(
    settings, sellers, newer, monkeypatch
):
    schema, people = rows(settings, SCHEMA), rows(settings, "SELECT * FROM users ORDER BY email")
    newer(WORKS, FAILS)
    with pytest.raises(Misconfigured, match=r"brought to this version \(CheckViolation\)") as failed:
        await asyncio.to_thread(installation.migrate, settings)
    monkeypatch.undo()
    assert rows(settings, SCHEMA) == schema
    assert rows(settings, "SELECT * FROM users ORDER BY email") == people
    assert [await titles(settings, each) for each in sellers] == [["Alice's shirt"], ["Bob's shirt"]]
    assert "already at" in await asyncio.to_thread(installation.migrate, settings)
    # and what was here is kept, too
    (kept,) = Shelf(settings).find()
    assert kept.kind == "upgrade"
    assert str(Shelf(settings).path(kept.name)) in failed.value.action
    assert "shirt" not in failed.value.message + failed.value.action


@pytest.mark.longer
async def test_an_upgrade_is_undone_by_the_program_of_before_and_the_backup_that_was_made(
    settings, sellers, newer, monkeypatch
):
    people = "SELECT id, email, created_at FROM users ORDER BY email"
    before = rows(settings, people)
    newer(WORKS)
    said = await asyncio.to_thread(installation.migrate, settings)
    (kept,) = Shelf(settings).find()
    assert (kept.kind, said.endswith(f"{kept.name}.")) == ("upgrade", True)
    assert rows(settings, "SELECT name FROM listings ORDER BY 1") == [("ALICE'S SHIRT",), ("BOB'S SHIRT",)]
    assert "already at 9900" in await asyncio.to_thread(installation.migrate, settings)
    assert len(Shelf(settings).find()) == 1  # nothing changes, so nothing is kept
    monkeypatch.undo()
    keyring = Keyring.load(settings)
    file = Shelf(settings).path(kept.name)
    key = find_key(file, keyring, None)[1]
    await asyncio.to_thread(restoring.put_back, file, key, settings, keyring)
    assert rows(settings, people) == before
    assert [await titles(settings, each) for each in sellers] == [["Alice's shirt"], ["Bob's shirt"]]


async def test_without_a_backup_there_is_no_upgrade_but_where_none_is_wanted(
    settings, sellers, newer, tmp_path, server
):
    alice, _ = sellers
    wrapped = Keyring.load(settings).wrap(bytes(32), alice, 1)
    with psycopg.connect(settings.database_admin_url.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO user_keys (user_id, version, kid, wrapped) VALUES (%s, 1, %s, %s)", [alice, *wrapped]
        )
    newer(WORKS)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    keyless = settings.model_copy(update={"everystall_home": elsewhere})
    with pytest.raises(Misconfigured, match="none could be: Ring key 'k1' here is not the one") as refused:
        await asyncio.to_thread(installation.migrate, keyless)
    assert "BACKUP_DAYS=0" in refused.value.action
    assert len(rows(settings, "SELECT title FROM listings")) == 2
    assert Shelf(keyless).find() == []
    none = keyless.model_copy(update={"backup_days": 0})
    assert "now at 9900" in await asyncio.to_thread(installation.migrate, none)
    assert Shelf(none).find() == []


def test_each_kind_of_backup_has_a_name_on_the_page():
    assert set(_KINDS) == set(KINDS)


async def test_where_nobody_is_yet_nothing_is_kept(settings, newer, empty_database):
    fresh = settings.model_copy(update={
        "database_url": type(settings.database_url)(empty_database.login),
        "database_admin_url": type(settings.database_url)(empty_database.admin),
    })  # fmt: skip
    assert "now at" in await asyncio.to_thread(installation.migrate, fresh)
    newer(WORKS)
    assert await asyncio.to_thread(make_before_upgrade, settings) is None
