"""The wall between sellers: whatever is asked, and however a pooled connection was left, Bob never sees
what is Alice's."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import random
from uuid import UUID, uuid4

import pytest
from sqlalchemy import make_url, select, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from everystall.db import Database, migrate
from everystall.errors import Misconfigured
from everystall.models import Base, Connection, Listing

# plain texts: a `quoted_name` does not get from a process of the run to the one that reports
OWNED = sorted(str.__str__(table.name) for table in Base.metadata.sorted_tables if "user_id" in table.columns)
EVERYTHING = [*OWNED, "users"]


@pytest.fixture
async def stocked(db, admin, alice, make_listing, make_connection):
    """Alice has a row in every table."""
    listing, connection = await make_listing(alice), await make_connection(alice)
    ids = {"u": alice, "l": listing.id, "c": connection.id, "p": uuid4(), "x": uuid4()}
    for statement in (
        "INSERT INTO api_tokens (user_id, name, token_hash) VALUES (%(u)s, 'x', 'hash')",
        "INSERT INTO log_in_networks (user_id, network) VALUES (%(u)s, '192.0.2.0/24')",
        "INSERT INTO totps (user_id, dek_version, sealed) VALUES (%(u)s, 1, 'x')",
        "INSERT INTO recovery_codes (user_id, code_hash) VALUES (%(u)s, 'hash')",
        """INSERT INTO passkeys (user_id, name, credential_id, public_key, sign_count)
           VALUES (%(u)s, 'Phone', 'x', 'x', 0)""",
        "INSERT INTO identities (user_id, issuer, subject) VALUES (%(u)s, 'https://id.example.com', '7')",
        "INSERT INTO sign_in_changes (user_id, what) VALUES (%(u)s, 'passkey_added')",
        """INSERT INTO invitations (user_id, email, token_hash, expires_at)
           VALUES (%(u)s, 'guest@example.com', 'hash', now() + interval '1 day')""",
        """INSERT INTO pairings (user_id, handle, secret_hash, expires_at)
           VALUES (%(u)s, 'AB', 'hash', now() + interval '10 minutes')""",
        """INSERT INTO listing_photos (user_id, listing_id, position, sha256, content_type, width, height,
           byte_size) VALUES (%(u)s, %(l)s, 0, 'a', 'image/jpeg', 1, 1, 1)""",
        """INSERT INTO user_marketplace_sessions (user_id, connection_id, marketplace, seq, dek_version,
           sealed, origin, captured_at, expires_at, consented_at) VALUES (%(u)s, %(c)s, 'poshmark', 1, 1, 'x',
           'extension', now(), now() + interval '7 days', now())""",
        "INSERT INTO user_keys (user_id, version, kid, wrapped) VALUES (%(u)s, 1, 'k1', 'x')",
        """INSERT INTO vault_audit (user_id, connection_id, session_id, seq, kid, purpose)
           VALUES (%(u)s, %(c)s, %(x)s, 1, 'k1', 'post')""",
        """INSERT INTO publications (id, user_id, listing_id, connection_id, marketplace, wanted_revision)
           VALUES (%(p)s, %(u)s, %(l)s, %(c)s, 'poshmark', 1)""",
        """INSERT INTO attempts (user_id, publication_id, connection_id, listing_revision, draft, fields_hash,
           fence) VALUES (%(u)s, %(p)s, %(c)s, 1, '{}', 'h', 1)""",
        "INSERT INTO jobs (id, user_id, listing_id) VALUES ('job_1', %(u)s, %(l)s)",
        """INSERT INTO listing_automation_results (user_id, job_id, publication_id, listing_id, connection_id,
           marketplace, browser_profile_id, wanted_revision)
           VALUES (%(u)s, 'job_1', %(p)s, %(l)s, %(c)s, 'poshmark', 'bp', 1)""",
        "INSERT INTO events (user_id, type, data) VALUES (%(u)s, 'webhook.test', '{}')",
        """INSERT INTO webhook_endpoints (id, user_id, url, dek_version, sealed)
           VALUES (%(x)s, %(u)s, 'https://example.com', 1, 'x')""",
        """INSERT INTO webhook_deliveries (user_id, endpoint_id, event_id)
           SELECT %(u)s, %(x)s, id FROM events""",
        "INSERT INTO notices (user_id, event_id) SELECT %(u)s, id FROM events",
        "INSERT INTO notice_rules (user_id) VALUES (%(u)s)",
        """INSERT INTO channels (id, user_id, kind, label, key, dek_version, sealed)
           VALUES (%(x)s, %(u)s, 'service', 'x', 'x', 1, 'x')""",
        "INSERT INTO notice_deliveries (user_id, channel_id, what) VALUES (%(u)s, %(x)s, 'test')",
        """INSERT INTO imports (id, user_id, file_hash, format, encoding)
           VALUES (%(x)s, %(u)s, 'h', 'vendoo', 'utf-8')""",
        """INSERT INTO import_rows (user_id, import_id, line, key, facts)
           VALUES (%(u)s, %(x)s, 2, 'sku:A-17', '{}')""",
        """INSERT INTO price_rules (user_id, marketplace, rule)
           VALUES (%(u)s, 'poshmark', '{}')""",
        """INSERT INTO price_drops (user_id, listing_id, percent, every_days, floor_cents)
           VALUES (%(u)s, %(l)s, 500, 7, 1000)""",
        """INSERT INTO price_steps (user_id, listing_id, number, after_cents)
           VALUES (%(u)s, %(l)s, 1, 2000)""",
        """INSERT INTO relist_rules (user_id, marketplace, after_days, between_days, per_day)
           VALUES (%(u)s, 'poshmark', 30, 30, 5)""",
        "INSERT INTO saved_views (user_id, name, query) VALUES (%(u)s, 'Bags', 'q=bag')",
        "INSERT INTO model_answers (user_id, kind, content_hash, cost) VALUES (%(u)s, 'copy', 'h', 2000)",
        "INSERT INTO listing_templates (user_id, name, facts) VALUES (%(u)s, 'Light parcel', '{}')",
        """INSERT INTO listing_sources (user_id, source, key, listing_id, import_id, facts)
           VALUES (%(u)s, 'vendoo', 'sku:A-17', %(l)s, %(x)s, '{}')""",
        """INSERT INTO sales (id, user_id, connection_id, order_id, listing_id, publication_id, title,
           quantity) VALUES (%(x)s, %(u)s, %(c)s, 'o1', %(l)s, %(p)s, 'a shirt', 1)""",
        "INSERT INTO blind_ends (user_id, publication_id, connection_id) VALUES (%(u)s, %(p)s, %(c)s)",
        "INSERT INTO mail_addresses (user_id, token_hash) VALUES (%(u)s, 'x')",
        """INSERT INTO mailboxes (user_id, host, port, username, dek_version, sealed)
           VALUES (%(u)s, 'imap.example.com', 993, 'alice', 1, 'x')""",
        "INSERT INTO mails_seen (user_id, key) VALUES (%(u)s, 'x')",
        "INSERT INTO sale_rules (user_id, last_unit_on) VALUES (%(u)s, %(c)s)",
        """INSERT INTO take_downs (user_id, sale_id, publication_id, marketplace)
           VALUES (%(u)s, %(x)s, %(p)s, 'poshmark')""",
        """INSERT INTO sittings (user_id, connection_id, purpose, asked_by, until)
           VALUES (%(u)s, %(c)s, 'sign_in', 'x', now())""",
        "INSERT INTO live_imports (id, user_id, connection_id) VALUES (%(x)s, %(u)s, %(c)s)",
        """INSERT INTO live_import_items (user_id, import_id, remote_id, position, title)
           VALUES (%(u)s, %(x)s, 'm1', 0, 'a shirt')""",
        "INSERT INTO matchings (user_id) VALUES (%(u)s)",
        "INSERT INTO deleted_listings (id, user_id, described) VALUES (%(x)s, %(u)s, '{}')",
        "INSERT INTO matches (user_id, one_id, other_id, points) VALUES (%(u)s, %(l)s, %(x)s, 5)",
        """INSERT INTO double_sales (user_id, listing_id, earlier_id, later_id)
           VALUES (%(u)s, %(l)s, %(x)s, %(x)s)""",
    ):
        await admin.execute(statement, ids)
    for table in EVERYTHING:
        row = await (await admin.execute(f"SELECT count(*) AS n FROM {table}")).fetchone()
        assert row["n"] >= 1, f"the stage has no row in {table}"
    return ids


async def test_alice_sees_her_rows_and_bob_neither_sees_nor_changes_nor_deletes_them(
    db, admin, stocked, alice, bob, subtests
):
    for table in EVERYTHING:  # "users" last: Bob deletes himself
        with subtests.test(table):
            mine = "id" if table == "users" else "user_id"
            async with db.as_user(alice) as session:
                assert (await session.execute(text(f"SELECT {mine} FROM {table}"))).scalars().all() == [alice]
            async with db.as_user(bob) as session:
                seen = (await session.execute(text(f"SELECT {mine} FROM {table}"))).scalars().all()
                assert seen == ([bob] if table == "users" else [])
            before = await _rows(admin, table)
            column = "paused_at" if table == "users" else mine
            for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
                changed = 0
                with contextlib.suppress(ProgrammingError):  # permission denied: as good
                    async with db.as_user(bob) as session:
                        changed = (await session.execute(text(statement))).rowcount
                assert changed == (1 if table == "users" else 0)  # himself
            if table == "users":  # who goes is gone, and nobody else with him
                assert set(before) - set(await _rows(admin, table)) != set()
                assert len(await _rows(admin, table)) == len(before) - 1
                async with db.as_user(alice) as session:
                    assert (await session.execute(text("SELECT id FROM users"))).scalars().all() == [alice]
            else:
                assert await _rows(admin, table) == before


async def test_nobody_makes_a_row_for_somebody_else_or_gives_one_away(db, stocked, alice, bob, subtests):
    for table in OWNED:
        with subtests.test(table):
            async with db.as_user(alice) as session:
                row = (await session.execute(text(f"SELECT to_jsonb(t) FROM {table} t"))).scalar_one()
            counted = table in ("vault_audit", "events")
            computed = {c.name for c in Base.metadata.tables[table].columns if c.computed is not None}
            columns = [c for c in row if c not in computed and not (counted and c == "id")]
            values = {**row, "user_id": str(bob)}
            if "id" in values and table != "jobs" and not counted:
                values["id"] = str(uuid4())
            names = ", ".join(columns)
            refused = r"row-level security|violates foreign key"
            if table == "log_in_networks":  # in which no seller makes a row at all
                refused = "permission denied"
            with pytest.raises(DBAPIError, match=refused):
                async with db.as_user(alice) as session:
                    await session.execute(
                        text(
                            f"INSERT INTO {table} ({names}) SELECT {names} "
                            f"FROM jsonb_populate_record(NULL::{table}, :row)"
                        ),
                        {"row": json.dumps(values)},
                    )
            with pytest.raises(DBAPIError, match=r"row-level security|permission denied"):
                async with db.as_user(alice) as session:
                    await session.execute(text(f"UPDATE {table} SET user_id = :bob"), {"bob": bob})


async def test_a_row_cannot_point_at_another_sellers(db, make_listing, make_connection, alice, bob):
    hers, his = await make_listing(alice), await make_connection(bob)
    with pytest.raises(DBAPIError, match="violates foreign key"):
        async with db.as_user(bob) as session:
            await session.execute(
                text("""INSERT INTO publications
                        (user_id, listing_id, connection_id, marketplace, wanted_revision)
                        VALUES (:u, :l, :c, 'poshmark', 1)"""),
                {"u": bob, "l": hers.id, "c": his.id},
            )


async def test_without_claims_nobody_has_any_row(db, stocked, subtests):
    for table in EVERYTHING:
        with subtests.test(table):
            for claims in ("", "{}"):
                async with db.as_app() as session:
                    await session.execute(
                        text(
                            "SELECT set_config('role', 'authenticated', true), "
                            "set_config('request.jwt.claims', :c, true)"
                        ),
                        {"c": claims},
                    )
                    assert (await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() == 0
            with pytest.raises(
                DBAPIError, match="permission denied"
            ):  # and the login role itself has no right at all
                async with db.as_app() as session:
                    await session.execute(text(f"SELECT 1 FROM {table}"))


async def test_what_is_in_the_audit_stays_as_it_is(db, stocked, alice):
    for statement in (
        "UPDATE sign_in_changes SET what = 'x'",
        "DELETE FROM sign_in_changes",
        "UPDATE vault_audit SET purpose = 'x'",
        "DELETE FROM vault_audit",
        "TRUNCATE vault_audit",
    ):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with db.as_user(alice) as session:
                await session.execute(text(statement))


async def test_an_expired_session_is_nobodys_before_any_clean_up(db, admin, stocked, alice):
    await admin.execute("UPDATE user_marketplace_sessions SET expires_at = now() - interval '1 second'")
    async with db.as_user(alice) as session:
        assert (
            await session.execute(text("SELECT count(*) FROM user_marketplace_sessions"))
        ).scalar_one() == 0


async def test_a_seller_cannot_reach_the_queue_or_become_somebody_else(db, alice):
    for statement in (
        "SELECT * FROM procrastinate.procrastinate_jobs",
        "SELECT everystall.due(1)",
        "SELECT everystall.sign_in('x')",
        "SELECT everystall.expire()",
        "SELECT everystall.due_deliveries(1)",
        "SELECT everystall.receive_webhook('x')",
        "SELECT everystall.take_import()",
        "SELECT everystall.take_drop()",
        "SELECT everystall.take_relist()",
        "SELECT * FROM webhook_receipts",
        "SELECT everystall.owner_numbers()",
        "SELECT everystall.post_numbers(24)",
        "SELECT everystall.standing_workers()",
        "SELECT everystall.note_failure('poshmark', 'publish', 'x')",
        "SELECT everystall.known_targets('poshmark')",
        "SELECT everystall.note_heal('poshmark', 'x', '/x', '#x', true, 'model', '{}', '{}', NULL)",
        "SELECT everystall.healed_locators()",
        "SELECT everystall.take_locators(gen_random_uuid(), '[]')",
        "SELECT everystall.chosen_settings()",
        "SELECT everystall.choose_setting(gen_random_uuid(), 'x', '1')",
        "SELECT everystall.setting_changes(1)",
        "SELECT everystall.take_lease(gen_random_uuid(), 'x', 12, NULL)",
        "SELECT everystall.clean(30, 365, 500)",
        "SELECT everystall.spent_photos(365)",
        "SET ROLE everystall_owner",
        "SET ROLE everystall_engine",
        "CREATE TABLE public.mine (id int)",
        "CREATE FUNCTION everystall.mine() RETURNS int LANGUAGE sql RETURN 1",
    ):
        with pytest.raises(DBAPIError, match=r"permission denied|must be (owner|member)"):
            async with db.as_user(alice) as session:
                await session.execute(text(statement))


@pytest.mark.parametrize("ending", ["commit", "error", "cancel"])
async def test_the_next_checkout_of_a_connection_knows_nothing_of_the_last(database_urls, alice, ending):
    database = Database(database_urls.login)
    try:
        with (
            pytest.raises((ZeroDivisionError, asyncio.CancelledError))
            if ending != "commit"
            else contextlib.nullcontext()
        ):
            async with database.as_user(alice) as session:
                backend = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
                if ending == "error":
                    raise ZeroDivisionError
                if ending == "cancel":
                    raise asyncio.CancelledError
        async with database.as_app() as session:
            now = (await session.execute(text(_WHO))).one()
            if ending != "cancel":
                assert now.pid == backend, "the pool gave another connection: this test shows nothing"
            assert (now.role, now.claims or "") == ("none", "")
    finally:
        await database.close()


async def test_a_storm_of_sellers_over_a_small_pool_shows_nobody_a_foreign_row(
    database_urls, admin, make_listing
):
    people: list[UUID] = []
    for n in range(20):
        row = await (
            await admin.execute("INSERT INTO users (email) VALUES (%s) RETURNING id", [f"s{n}@example.com"])
        ).fetchone()
        people.append(row["id"])
        await make_listing(row["id"])
    database = Database(database_urls.login)
    dice = random.Random(7)
    foreign, own = [], 0

    async def one(person: UUID, fate: float) -> None:
        nonlocal own
        async with database.as_user(person) as session:
            for owner in (await session.execute(select(Listing.user_id))).scalars():
                own += owner == person
                if owner != person:
                    foreign.append((person, owner))
            if fate < 0.15:
                raise ZeroDivisionError
            if fate < 0.4:
                await session.execute(text("SELECT pg_sleep(0.2)"))

    async def bounded(person: UUID) -> None:
        fate = dice.random()
        with contextlib.suppress(ZeroDivisionError, TimeoutError, DBAPIError):
            await asyncio.wait_for(one(person, fate), 0.1 if fate < 0.4 else 30)

    try:
        for _ in range(6):
            await asyncio.gather(*(bounded(dice.choice(people)) for _ in range(50)))
        assert not foreign
        assert own > 150
        sessions = []
        for _ in range(15):
            context = database.as_app()
            session = await context.__aenter__()
            sessions.append(context)
            now = (await session.execute(text(_WHO))).one()
            assert (now.role, now.claims or "") == ("none", "")
        for context in sessions:
            await context.__aexit__(None, None, None)
    finally:
        await database.close()
        gc.collect()  # a log-in that was given up: the server would wait a minute for its rest


async def test_a_failed_transaction_keeps_nothing(db, alice):
    async def fail() -> None:
        async with db.as_user(alice) as session:
            session.add(Listing(user_id=alice, title="x"))
            await session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with db.as_user(alice) as session:
        assert (await session.execute(select(Listing))).first() is None


async def test_none_is_null_and_not_a_json_null(db, alice, make_connection):
    connection = await make_connection(alice, needs_you={"reason": "challenge"})
    async with db.as_user(alice) as session:
        (await session.get_one(Connection, connection.id)).needs_you = None
    async with db.as_user(alice) as session:
        rows = await session.execute(select(Connection).where(Connection.needs_you.is_(None)))
        assert len(rows.all()) == 1


# ---- who may log in ----


async def test_a_proper_login_is_let_in(db):
    await db.check_login()


async def test_a_superuser_is_refused_at_start(database_urls):
    with pytest.raises(Misconfigured, match="superuser") as refused:
        await _check(database_urls.admin)
    assert "everystall migrate" in refused.value.action
    assert _password(database_urls.admin) not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        ("ALTER ROLE {role} BYPASSRLS", "BYPASSRLS"),
        ("ALTER ROLE {role} CREATEROLE", "CREATEROLE"),
        ("GRANT everystall_owner TO {role}", "owner"),
        ("GRANT everystall_engine TO {role}", "engine"),
        ("GRANT {other} TO {role}", "may become"),
    ],
)
async def test_a_login_that_could_become_one_is_refused_too(database_urls, admin, make, why):
    role, other = f"everystall_bad_{uuid4().hex[:8]}", f"everystall_big_{uuid4().hex[:8]}"
    await admin.execute(f"CREATE ROLE {other} NOLOGIN BYPASSRLS")
    await admin.execute(f"CREATE ROLE {role} LOGIN NOINHERIT PASSWORD 'secret-word'")
    await admin.execute(f"GRANT authenticated TO {role}")
    try:
        await admin.execute(make.format(role=role, other=other))
        with pytest.raises(Misconfigured, match=why):
            await _check(_as(database_urls.admin, role, "secret-word"))
    finally:
        await admin.execute(f"DROP ROLE {role}")
        await admin.execute(f"DROP ROLE {other}")


async def test_an_empty_database_a_wrong_password_and_a_closed_port_are_named(
    server, empty_database, database_urls
):
    with pytest.raises(Misconfigured) as empty:
        await _check(empty_database.login)
    assert "everystall migrate" in empty.value.action
    with pytest.raises(Misconfigured, match="does not let") as wrong:
        await _check(_as(database_urls.login, None, "wrong-word"))
    assert "wrong-word" not in str(wrong.value)
    assert "password authentication failed" in wrong.value.message
    assert "everystall migrate" in wrong.value.action, "the role may be missing"
    missing = database_urls.named("nowhere")
    for url in (missing.login, missing.admin):
        with pytest.raises(Misconfigured, match="There is no database 'nowhere'") as none:
            await _check(url)
        assert "everystall migrate" in none.value.action
    with pytest.raises(Misconfigured, match="There is no database 'nowhere'") as none:
        await asyncio.to_thread(migrate, missing.admin, missing.login)
    assert 'CREATE DATABASE "nowhere"' in none.value.action
    with pytest.raises(Misconfigured) as nobody:
        await _check("postgresql://somebody:word@127.0.0.1:1/x")
    assert nobody.value.message == "No database answers at 127.0.0.1:1/x: Connection refused."
    assert "host and port" in nobody.value.action
    assert "password" not in nobody.value.action
    assert "migrate" not in nobody.value.action, "nothing says that it is new"
    for address in ("sqlite:///x.db", "nonsense"):
        with pytest.raises(Misconfigured):
            Database(address)


_WHO = """SELECT pg_backend_pid() AS pid, current_setting('role') AS role,
                 current_setting('request.jwt.claims', true) AS claims"""


async def _check(url: str) -> None:
    database = Database(url)
    try:
        await database.check_login()
    finally:
        await database.close()


def _as(url: str, user: str | None, password: str) -> str:
    changed = make_url(url).set(password=password)
    return (changed.set(username=user) if user else changed).render_as_string(hide_password=False)


def _password(url: str) -> str:
    return str(make_url(url).password)


async def _rows(admin, table: str):
    rows = await (await admin.execute(f"SELECT md5(t::text) AS row FROM {table} t ORDER BY 1")).fetchall()
    return [row["row"] for row in rows]
