"""A Supabase project's PostgreSQL (tests/supabase.py): set up beside what it has, walled off by its own
`auth.uid()`; what leads there the wrong way is told in words."""

from __future__ import annotations

import asyncio
import json

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from everystall import db as database_
from everystall import installation
from everystall.db import Database, driver_url, migrate, named_like, role_of
from everystall.errors import Misconfigured
from everystall.models import Listing
from everystall.settings import Settings
from tests.supabase import as_role

SHARED = "aws-0-eu-central-1.pooler.supabase.com"


@pytest.fixture
def database_urls(supabase_urls):
    """So that `db`, `admin`, `alice` and `bob` are a project's."""
    return supabase_urls


@pytest.mark.longer
async def test_it_is_set_up_by_postgres_who_is_no_superuser_and_twice_is_once(database_urls, db):
    assert "already at" in await asyncio.to_thread(migrate, database_urls.admin, database_urls.login)
    await db.check_login()


async def test_supabases_own_auth_uid_is_the_wall_between_sellers(db, admin, alice, bob, make_listing):
    (uid,) = await (
        await admin.execute(
            "SELECT pg_get_userbyid(proowner) AS owner, prosrc FROM pg_proc "
            "WHERE pronamespace = 'auth'::regnamespace AND proname = 'uid'"
        )
    ).fetchall()
    assert uid["owner"] == "supabase_auth_admin"
    assert "request.jwt.claim.sub" in uid["prosrc"]  # ours has one way only
    hers = await make_listing(alice)
    for seller, seen in ((alice, [hers.id]), (bob, [])):
        async with db.as_user(seller) as session:
            assert (await session.scalars(text("SELECT id FROM listings"))).all() == seen
            changed = await session.execute(text("UPDATE listings SET title = 'x' RETURNING id"))
            assert changed.scalars().all() == seen
    with pytest.raises(ProgrammingError, match="row-level security"):
        await _written(db, bob, Listing(user_id=alice, title="not his"))


async def test_keys_of_the_project_have_no_right_on_anything_of_ours(admin):
    for role in ("anon", "service_role", "supabase_auth_admin", "supabase_storage_admin", "authenticator"):
        tables = await admin.execute(
            """SELECT c.oid::regclass::text AS name FROM pg_class c
               WHERE c.relnamespace IN ('public'::regnamespace, 'everystall'::regnamespace,
                                        'procrastinate'::regnamespace) AND c.relkind IN ('r', 'v', 'S')
                 AND has_table_privilege(%s, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')""",
            [role],
        )
        assert await tables.fetchall() == [], role
        schemas = await admin.execute(
            "SELECT n FROM unnest(ARRAY['everystall', 'procrastinate']) n "
            "WHERE has_schema_privilege(%s, n, 'USAGE')",
            [role],
        )
        assert await schemas.fetchall() == [], role


async def test_the_data_api_shows_and_takes_nothing_with_a_sellers_own_token(
    database_urls, db, admin, alice, make_listing
):
    """It logs in as `authenticator`, becomes `authenticated` and sets the token's claims."""
    await make_listing(alice)
    claims = json.dumps({"sub": str(alice), "role": "authenticated", "aud": "authenticated"})
    async with await psycopg.AsyncConnection.connect(
        as_role(database_urls.admin, "authenticator"), autocommit=True
    ) as api:
        await api.execute("SELECT set_config('role', 'authenticated', false)")
        await api.execute("SELECT set_config('request.jwt.claims', %s, false)", [claims])
        assert await (await api.execute("SELECT auth.uid()")).fetchone() == (alice,)
        for query in ("SELECT id FROM listings", "SELECT email FROM users",
                      "UPDATE users SET password_hash = 'x' RETURNING id",
                      "DELETE FROM listings RETURNING id"):  # fmt: skip
            assert await (await api.execute(query)).fetchall() == [], query
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            await api.execute(
                "INSERT INTO listings (user_id, category) VALUES (%s, 'men.shirts.casual')", [alice]
            )
    left_open = await admin.execute(
        """SELECT c.relname FROM pg_class c
           WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT EXISTS (
               SELECT FROM pg_policies p WHERE p.tablename = c.relname AND p.permissive = 'RESTRICTIVE'
                 AND p.roles = '{authenticated}' AND p.cmd = 'ALL')"""
    )
    assert await left_open.fetchall() == []


async def test_a_table_that_a_later_version_brings_is_kept_from_the_data_api_too(database_urls, admin):
    await admin.execute("SET ROLE everystall_owner")
    await admin.execute("CREATE TABLE public.newer (user_id uuid)")
    await admin.execute("ALTER TABLE public.newer ENABLE ROW LEVEL SECURITY")
    await admin.execute("RESET ROLE")
    await asyncio.to_thread(migrate, database_urls.admin, database_urls.login)
    found = await admin.execute("SELECT policyname FROM pg_policies WHERE tablename = 'newer'")
    assert await found.fetchall() == [{"policyname": "not_by_data_api"}]


async def test_what_is_not_ours_stays_as_it_is(database_urls, admin):
    theirs = """SELECT n.nspname, c.relname, c.relacl::text, pg_get_userbyid(c.relowner) FROM pg_class c
                JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname IN ('auth', 'storage', 'extensions') ORDER BY 1, 2"""
    before = await (await admin.execute(theirs)).fetchall()
    assert {"auth", "storage"} <= {row["nspname"] for row in before}
    await asyncio.to_thread(migrate, database_urls.admin, database_urls.login)
    assert await (await admin.execute(theirs)).fetchall() == before
    owners = await admin.execute(
        "SELECT nspname, pg_get_userbyid(nspowner) AS owner FROM pg_namespace "
        "WHERE nspname IN ('auth', 'storage')"
    )
    assert {row["owner"] for row in await owners.fetchall()} == {"supabase_admin"}


async def test_the_commands_of_the_operator_work_as_postgres(database_urls, db, tmp_path):
    settings = Settings(
        _env_file=None, everystall_home=tmp_path, database_url=database_urls.login,
        database_admin_url=database_urls.admin,
    )  # fmt: skip
    token = await installation.make_token(settings, "cleo@example.com", "a program")
    row = await db.ask("SELECT kind FROM everystall.sign_in(sha256(%(token)s::bytea))", token=token)
    assert row.kind == "api"
    await asyncio.to_thread(installation.prepare, settings)


# ---- the way there ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://everystall_app.abcdefgh:hush-hush@{SHARED}:6543/postgres",
        "postgresql://everystall_app:hush-hush@db.abcdefgh.supabase.co:6543/postgres",
    ],
)
def test_a_pooler_of_transactions_is_refused_with_what_to_do(address):
    for ask in (driver_url, Database, lambda url: migrate(url, url)):
        with pytest.raises(Misconfigured, match="after each transaction") as said:
            ask(address)
        assert "port 5432 instead of 6543" in said.value.action
        assert "hush-hush" not in str(said.value) + said.value.action


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://everystall_app.abcdefgh:w@{SHARED}:5432/postgres",
        "postgresql://everystall_app:w@db.abcdefgh.supabase.co:5432/postgres?sslmode=require",
        "postgresql://everystall_app:w@127.0.0.1:6543/postgres",
    ],
)
def test_sessions_are_taken_and_who_logs_in_is_known(address):
    assert role_of(driver_url(address)) == "everystall_app"


def test_a_pooler_that_takes_no_settings_is_told_as_one():
    """PgBouncer says so of what each connection of ours begins with."""
    url = make_url("postgresql://everystall_app:hush-hush@127.0.0.1:6432/everystall")
    said = OperationalError(
        "", {}, psycopg.OperationalError(
            'connection failed: FATAL:  unsupported startup parameter in options: '
            'idle_in_transaction_session_timeout'
        )
    )  # fmt: skip
    assert "session" in database_.unreachable(url, said).action
    assert "user and password" not in database_.unreachable(url, said).action


async def test_by_the_shared_pooler_the_role_is_made_without_the_project_and_brings_its_settings(
    database_urls,
):
    """It passes on nothing of what a connection asks for."""
    login = f"postgresql://pooled_app.abcdefgh:word@{SHARED}:5432/postgres"
    said = await asyncio.to_thread(migrate, database_urls.admin, login)
    assert said.endswith("pooled_app may log in.")
    there = make_url(database_urls.admin).set(username="pooled_app", password="word")
    with psycopg.connect(there.render_as_string(hide_password=False)) as connection:
        assert connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("10s",)
        connection.execute("SELECT count(*) FROM procrastinate_jobs")  # procrastinate names no schema
    with pytest.raises(Misconfigured, match="role of their own"):
        migrate(f"postgresql://postgres.abcdefgh:w@{SHARED}/postgres",
                "postgresql://postgres:w@db.abcdefgh.supabase.co/postgres")  # fmt: skip


def test_a_new_role_is_named_as_the_address_leads():
    shared = make_url(f"postgresql://postgres.abcdefgh:w@{SHARED}:5432/postgres")
    assert named_like(shared, "everystall_app") == "everystall_app.abcdefgh"
    assert named_like(make_url("postgresql://a.b:w@127.0.0.1/x"), "everystall_app") == "everystall_app"


async def _written(db, seller, row):
    async with db.as_user(seller) as session:
        session.add(row)
