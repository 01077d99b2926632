"""`everystall migrate`: from nothing, again, as somebody less than a superuser, beside a Supabase."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, make_url, text

from everystall.compatibility import newest
from everystall.db import Database, driver_url, migrate
from everystall.errors import Misconfigured
from everystall.models import Base

HEAD = "0071"


def test_the_models_and_the_migrated_database_are_the_same(database_urls):
    engine = create_engine(driver_url(database_urls.admin))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        differences = compare_metadata(context, Base.metadata)
    engine.dispose()
    assert differences == []


def test_the_models_checks_and_computed_columns_are_the_databases(database_urls, server, empty_database):
    """What autogenerate does not compare: made from the models beside, and compared as text."""
    made = create_engine(driver_url(empty_database.admin))
    migrated = create_engine(driver_url(database_urls.admin))
    with made.begin() as connection:
        Base.metadata.create_all(connection)
    try:
        for query in (
            """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
               WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
               ORDER BY 1, 2""",
            """SELECT tablename, indexname, indexdef FROM pg_indexes
               WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1, 2""",
            """SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity,
                      generation_expression
               FROM information_schema.columns
               WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2""",
        ):
            with made.connect() as a, migrated.connect() as b:
                assert a.execute(text(query)).all() == b.execute(text(query)).all()
    finally:
        made.dispose()
        migrated.dispose()


async def test_a_second_migrate_changes_nothing(database_urls):
    said = await asyncio.to_thread(migrate, database_urls.admin, database_urls.login)
    assert f"already at {HEAD}" in said
    assert make_url(database_urls.admin).password not in said
    database = Database(database_urls.login)
    await database.check_login()
    await database.close()


async def test_a_database_of_an_older_version_is_refused_by_both_numbers_until_it_is_migrated(
    empty_database, monkeypatch
):
    upgrade = command.upgrade
    for at in ("0063", HEAD):
        with monkeypatch.context() as before:
            before.setattr(command, "upgrade", lambda config, _, at=at: upgrade(config, at))
            await asyncio.to_thread(migrate, empty_database.admin, empty_database.login)
        database = Database(empty_database.login)
        if at == HEAD:
            await database.check_login()
        else:
            with pytest.raises(Misconfigured, match=f"older version .*needs {HEAD}") as refused:
                await database.check_login()
            assert "everystall migrate" in refused.value.action
        await database.close()
    assert newest() == HEAD


@pytest.mark.longer
async def test_who_joined_before_it_was_kept_is_found_by_address(empty_database, monkeypatch):
    upgrade = command.upgrade
    with monkeypatch.context() as before:
        before.setattr(command, "upgrade", lambda config, _: upgrade(config, "0010"))
        await asyncio.to_thread(migrate, empty_database.admin, empty_database.login)
    with psycopg.connect(empty_database.admin) as connection:
        connection.execute(
            "INSERT INTO users (email, role) "
            "VALUES ('olga@example.com', 'owner'), ('nina@example.com', 'seller')"
        )
        connection.execute("""
            INSERT INTO invitations (token_hash, email, user_id, used_at, expires_at)
            SELECT i.email::bytea, i.email, u.id, CASE WHEN i.used THEN now() END, now() + interval '1 day'
            FROM users u, (VALUES ('nina@example.com', true), ('left@example.com', true),
                                  ('asked@example.com', false)) i (email, used)
            WHERE u.email = 'olga@example.com'
        """)
    await asyncio.to_thread(migrate, empty_database.admin, empty_database.login)
    with psycopg.connect(empty_database.admin) as connection:
        kept = connection.execute(
            "SELECT i.email, u.email FROM invitations i LEFT JOIN users u ON u.id = i.joined_id ORDER BY 1"
        ).fetchall()
    assert kept == [("asked@example.com", None), ("nina@example.com", "nina@example.com")]


@pytest.mark.longer
async def test_sales_from_before_take_what_their_own_listing_says(empty_database, monkeypatch):
    upgrade = command.upgrade
    with monkeypatch.context() as before:
        before.setattr(command, "upgrade", lambda config, _: upgrade(config, "0030"))
        await asyncio.to_thread(migrate, empty_database.admin, empty_database.login)
    with psycopg.connect(empty_database.admin) as connection:
        connection.execute("""
            WITH u AS (INSERT INTO users (email) VALUES ('a@example.com'), ('b@example.com')
                       RETURNING id, email),
            c AS (INSERT INTO connections (user_id, public_id, marketplace, base_url)
                  SELECT id, email, 'ebay', 'https://ebay.test' FROM u RETURNING id, user_id),
            l AS (INSERT INTO listings (user_id, category, cost_cents)
                  SELECT id, 'books', CASE WHEN email LIKE 'a%' THEN 450 END FROM u RETURNING id, user_id)
            INSERT INTO sales (user_id, connection_id, order_id, listing_id, title, quantity)
            SELECT c.user_id, c.id, n, CASE WHEN n = 'o1' THEN l.id END, 'x', 1
            FROM c JOIN l USING (user_id), (VALUES ('o1'), ('of none')) o (n)
        """)
    await asyncio.to_thread(migrate, empty_database.admin, empty_database.login)
    with psycopg.connect(empty_database.admin) as connection:
        found = connection.execute("""
            SELECT u.email, s.order_id, s.category, s.cost_cents FROM sales s JOIN users u ON u.id = s.user_id
            ORDER BY 1, 2""").fetchall()
    assert found == [
        ("a@example.com", "o1", "books", 450), ("a@example.com", "of none", None, None),
        ("b@example.com", "o1", "books", None), ("b@example.com", "of none", None, None),
    ]  # fmt: skip


async def test_two_at_once_take_turns(empty_database):
    said = await asyncio.gather(
        *(asyncio.to_thread(migrate, empty_database.admin, empty_database.login) for _ in range(3))
    )
    assert sorted("now at" in each for each in said) == [False, False, True]


async def test_it_works_as_an_owner_who_is_no_superuser(server, empty_database):
    """As on a managed PostgreSQL: the owner of the database, with CREATEROLE."""
    owner, login = f"everystall_dba_{uuid4().hex[:6]}", f"everystall_l_{uuid4().hex[:6]}"
    name = make_url(empty_database.admin).database
    with psycopg.connect(server.admin, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD 'dba'")
        connection.execute(f"ALTER DATABASE {name} OWNER TO {owner}")
        for role in ("everystall_owner", "everystall_engine", "authenticated"):
            if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount:
                connection.execute(f"GRANT {role} TO {owner} WITH ADMIN OPTION")
    base = make_url(empty_database.admin)
    admin_url = base.set(username=owner, password="dba").render_as_string(hide_password=False)
    login_url = base.set(username=login, password="word").render_as_string(hide_password=False)
    try:
        assert f"now at {HEAD}" in await asyncio.to_thread(migrate, admin_url, login_url)
        assert f"already at {HEAD}" in await asyncio.to_thread(migrate, admin_url, login_url)
        database = Database(login_url)
        await database.check_login()
        await database.close()
        with psycopg.connect(admin_url) as connection:  # the owner itself is behind the wall too
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SET ROLE pg_read_all_data")
            connection.rollback()
            connection.execute("SET ROLE everystall_owner")
            assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
    finally:
        with psycopg.connect(server.admin, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            connection.execute(f"DROP OWNED BY {owner}")
            connection.execute(f"DROP ROLE {login}")
            connection.execute(f"DROP ROLE {owner}")


@pytest.mark.longer
async def test_a_schema_auth_that_is_there_stays_as_it_is(empty_database):
    with psycopg.connect(empty_database.admin) as connection:
        connection.execute("CREATE SCHEMA auth")
        connection.execute(
            "CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT "
            "(nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub')::uuid /* theirs */ $$"
        )
        connection.execute("GRANT USAGE ON SCHEMA auth TO PUBLIC")
    await asyncio.to_thread(migrate, empty_database.admin, empty_database.login)
    with psycopg.connect(empty_database.admin) as connection:
        (source,) = connection.execute("SELECT prosrc FROM pg_proc WHERE proname = 'uid'").fetchone()
        assert "theirs" in source
        (person,) = connection.execute(
            "INSERT INTO users (email) VALUES ('a@example.com') RETURNING id"
        ).fetchone()
    database = Database(empty_database.login)
    async with database.as_user(person) as session:
        assert (await session.execute(text("SELECT id FROM users"))).scalars().all() == [person]
    await database.close()


async def test_a_login_that_migrates_too_is_refused_before_anything_is_made(empty_database):
    with pytest.raises(Misconfigured, match="role of their own"):
        migrate(empty_database.admin, empty_database.admin)
    with psycopg.connect(empty_database.admin) as connection:
        assert connection.execute("SELECT to_regclass('public.users')").fetchone() == (None,)


async def test_somebody_without_the_right_is_told_so_and_nothing_is_left_behind(server, empty_database):
    weak = f"everystall_weak_{uuid4().hex[:6]}"
    with psycopg.connect(server.admin, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {weak} LOGIN PASSWORD 'word'")
    url = (
        make_url(empty_database.admin)
        .set(username=weak, password="word")
        .render_as_string(hide_password=False)
    )
    try:
        with pytest.raises(Misconfigured, match="may not set up"):
            migrate(url, empty_database.login)
        with psycopg.connect(empty_database.admin) as connection:
            assert connection.execute("SELECT to_regclass('public.users')").fetchone() == (None,)
    finally:
        with psycopg.connect(server.admin, autocommit=True) as connection:
            connection.execute(f"DROP ROLE {weak}")


def test_a_database_that_is_away_is_named_without_its_password():
    with pytest.raises(Misconfigured, match="127") as said:
        migrate("postgresql://boss:hush-hush@127.0.0.1:1/x", "postgresql://everystall_app:h@127.0.0.1:1/x")
    assert "hush-hush" not in str(said.value) + said.value.action


def test_the_password_of_a_new_login_never_shows_in_the_servers_log(database_urls, server):
    with psycopg.connect(server.admin) as connection:
        login = make_url(database_urls.login)
        row = connection.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = %s", [login.username]
        ).fetchone()
    assert row[0].startswith("SCRAM-SHA-256$")
