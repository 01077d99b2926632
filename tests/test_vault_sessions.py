"""The vault on a real PostgreSQL: no audit row, no plaintext; one's own sessions only; nothing outlives its
days; the seller's newer hand-over wins."""

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from everystall.db import Database, migrate
from everystall.errors import BadRequest, EverystallError, Misconfigured, NotFound, SealBroken, SessionMissing
from everystall.models import Connection
from everystall.settings import Settings
from everystall.vault import rotation
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault

CANARY = "CANARY-4f1c2d7e90ab4f1c2d7e90ab4f1c2d7e"


def storage(value=CANARY):
    return {"cookies": [{"name": "jwt", "value": value}], "localStorage": {}, "sessionStorage": {},
            "userAgent": "Agent/1.0"}  # fmt: skip


class Place:
    """A database, a vault, and what an operator or an intruder does behind the vault's back."""

    def __init__(self, urls, home):
        self.settings = Settings(_env_file=None, everystall_home=home)
        self.db = Database(urls.login)
        self.admin = create_async_engine(urls.admin)
        self.keyring = Keyring.load(self.settings)
        self.vault = Vault(self.db, self.keyring, self.settings)

    async def sql(self, statement, **values):
        async with self.admin.begin() as connection:
            found = await connection.execute(text(statement), values)
            return [dict(row) for row in found.mappings()] if found.returns_rows else []

    async def user(self, name):
        rows = await self.sql("INSERT INTO users (email) VALUES (:e) RETURNING id", e=f"{name}@example.com")
        return rows[0]["id"]

    async def connection(self, user_id, marketplace="ebay"):
        rows = await self.sql(
            "INSERT INTO connections (user_id, public_id, marketplace, base_url) VALUES "
            "(:u, 'bp_' || gen_random_uuid(), :m, 'http://127.0.0.1') RETURNING id", u=user_id, m=marketplace,
        )  # fmt: skip
        return rows[0]["id"]

    async def save(self, user_id, connection_id, value=CANARY, *, days_ago=0.0):
        async with self.db.as_user(user_id) as session:
            return await self.vault.save(
                session, user_id, await session.get(Connection, connection_id), storage(value),
                captured_at=datetime.now(UTC) - timedelta(days=days_ago),
            )  # fmt: skip

    async def lease(self, connection_id, seconds=60):
        rows = await self.sql(
            "UPDATE connections SET lease_fence = lease_fence + 1, "
            "lease_until = now() + make_interval(secs => :s) WHERE id = :c RETURNING lease_fence",
            c=connection_id, s=seconds,
        )  # fmt: skip
        return rows[0]["lease_fence"]

    async def value(self, user_id, connection_id, **more):
        opened = await self.vault.open(user_id, connection_id, purpose="check", **more)
        with opened.secret as plain:
            return json.loads(bytes(plain))["cookies"][0]["value"]

    async def sessions(self):
        return await self.sql("SELECT * FROM user_marketplace_sessions ORDER BY seq")

    async def audit(self):
        return await self.sql("SELECT * FROM vault_audit ORDER BY id")


@pytest.fixture
async def place(database_urls, tmp_path):
    place = Place(database_urls, tmp_path)
    yield place
    await place.db.close()
    await place.admin.dispose()


@pytest.fixture
async def alice(place):
    return await place.user("alice")


@pytest.fixture
async def ebay(place, alice):
    return await place.connection(alice)


# ---- keeping and opening --------------------------------------------------------------------------


async def test_what_is_saved_opens_again_and_lies_sealed(place, alice, ebay):
    assert await place.save(alice, ebay) == 1
    (row,) = await place.sessions()
    assert CANARY.encode() not in bytes(row["sealed"])
    assert bytes(row["sealed"]).startswith(b"ES1\x01")
    assert await place.value(alice, ebay) == CANARY


async def test_a_dump_of_the_database_holds_no_secret(place, alice, ebay):
    await place.save(alice, ebay)
    await place.value(alice, ebay)
    for table in ("user_marketplace_sessions", "user_keys", "vault_audit", "connections"):
        for row in await place.sql(f"SELECT t::text AS line FROM {table} t"):
            assert CANARY not in row["line"]
            assert CANARY.encode().hex() not in row["line"]


async def test_there_is_no_session_before_one_is_handed_over_or_after_it_is_forgotten(place, alice, ebay):
    with pytest.raises(SessionMissing):
        await place.vault.open(alice, ebay, purpose="check")
    await place.save(alice, ebay)
    async with place.db.as_user(alice) as session:
        await place.vault.forget(session, ebay)
    assert await place.sessions() == []
    with pytest.raises(SessionMissing):
        await place.vault.open(alice, ebay, purpose="check")
    assert await place.save(alice, ebay) == 2  # a number is never used twice


async def test_hand_overs_at_the_same_moment_get_numbers_of_their_own(place, alice, ebay):
    numbers = await asyncio.gather(*(place.save(alice, ebay, f"v{i}") for i in range(8)))
    assert sorted(numbers) == list(range(1, 9))
    assert [row["seq"] for row in await place.sessions()] == [8]
    assert len(await place.sql("SELECT 1 FROM user_keys")) == 1


async def test_a_save_is_undone_with_the_transaction_it_is_part_of(place, alice, ebay):
    async def save_and_fail():
        async with place.db.as_user(alice) as session:
            connection = await session.get(Connection, ebay)
            await place.vault.save(session, alice, connection, storage(), captured_at=datetime.now(UTC))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await save_and_fail()
    assert await place.sessions() == []


# ---- the audit ------------------------------------------------------------------------------------


async def test_every_opening_is_written_down_first(place, alice, ebay):
    await place.save(alice, ebay)
    opened = await place.vault.open(alice, ebay, purpose="post")
    (row,) = await place.audit()
    assert (row["user_id"], row["connection_id"], row["session_id"]) == (alice, ebay, opened.session_id)
    assert (row["seq"], row["purpose"], row["kid"]) == (1, "post", "k1")


async def test_no_audit_row_no_plaintext(place, alice, ebay, monkeypatch):
    await place.save(alice, ebay)
    unwrapped = []
    real = Keyring.unwrap
    monkeypatch.setattr(Keyring, "unwrap", lambda *a: unwrapped.append(1) or real(*a))
    await place.sql("REVOKE INSERT ON vault_audit FROM authenticated")
    try:
        with pytest.raises((DBAPIError, EverystallError)) as refused:
            await place.vault.open(alice, ebay, purpose="post")
        assert CANARY not in repr(refused.value)
        assert unwrapped == []
    finally:
        await place.sql("GRANT INSERT ON vault_audit TO authenticated")


async def test_no_commit_of_the_audit_no_plaintext(place, alice, ebay, monkeypatch):
    """The row is written and the commit fails: a trigger that objects at the very end."""
    await place.save(alice, ebay)
    unwrapped = []
    real = Keyring.unwrap
    monkeypatch.setattr(Keyring, "unwrap", lambda *a: unwrapped.append(1) or real(*a))
    await place.sql(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'disk full'; END $$"
    )
    await place.sql(
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON vault_audit DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION public.refuse()"
    )
    with pytest.raises((DBAPIError, EverystallError)):
        await place.vault.open(alice, ebay, purpose="post")
    assert unwrapped == []
    assert await place.audit() == []


async def test_the_audit_cannot_be_changed_by_whom_it_is_about(place, alice, ebay):
    await place.save(alice, ebay)
    await place.value(alice, ebay)
    for statement in ("DELETE FROM vault_audit", "UPDATE vault_audit SET purpose = 'x'"):
        with pytest.raises(DBAPIError):
            async with place.db.as_user(alice) as session:
                await session.execute(text(statement))
    assert [row["purpose"] for row in await place.audit()] == ["check"]


# ---- whose ----------------------------------------------------------------------------------------


async def test_bob_can_neither_open_nor_forget_nor_replace_what_is_alices(place, alice, ebay):
    await place.save(alice, ebay)
    bob = await place.user("bob")
    for which in ("newest", "last_good"):
        with pytest.raises(SessionMissing):
            await place.vault.open(bob, ebay, purpose="check", which=which)
    (row,) = await place.sessions()
    with pytest.raises(SessionMissing):
        await place.vault.reopen(bob, row["id"], purpose="check")
    await place.vault.mark(bob, row["id"], worked=False)
    async with place.db.as_user(bob) as session:
        await place.vault.forget(session, ebay)
    assert await place.vault.save_rotated(
        bob, ebay, storage("bob"), opened_seq=1, fence=await place.lease(ebay)
    ) is None  # fmt: skip
    with pytest.raises(NotFound):
        async with place.db.as_user(bob) as session:
            await place.vault.save(
                session, bob, Connection(id=ebay), storage(), captured_at=datetime.now(UTC)
            )
    assert await place.sessions() == [row]
    assert await place.audit() == []
    assert await place.value(alice, ebay) == CANARY


@pytest.mark.parametrize(
    "change",
    ["seq = seq + 1", "marketplace = 'mercari'", "expires_at = expires_at + interval '1 microsecond'",
     "expires_at = expires_at + interval '50 days'", "id = gen_random_uuid()",
     "sealed = set_byte(sealed, 30, get_byte(sealed, 30) # 1)", "sealed = substr(sealed, 1, 20)"],
)  # fmt: skip
async def test_a_row_that_was_changed_in_the_database_does_not_open(place, alice, ebay, change):
    await place.save(alice, ebay)
    await place.sql(f"UPDATE user_marketplace_sessions SET {change}")
    with pytest.raises(SealBroken) as refused:
        await place.vault.open(alice, ebay, purpose="check")
    assert "connect" in refused.value.action


async def test_a_row_that_was_moved_to_another_user_does_not_open(place, alice, ebay):
    bob = await place.user("bob")
    theirs = await place.connection(bob)
    await place.save(alice, ebay)
    await place.save(bob, theirs, "bob's")
    await place.sql(
        "UPDATE user_marketplace_sessions b SET sealed = a.sealed FROM user_marketplace_sessions a "
        "WHERE b.user_id = :b AND a.user_id = :a", a=alice, b=bob,
    )  # fmt: skip
    with pytest.raises(SealBroken):
        await place.vault.open(bob, theirs, purpose="check")


# ---- days -----------------------------------------------------------------------------------------


async def test_a_session_lasts_seven_days_from_its_capture(place, alice, ebay):
    await place.save(alice, ebay, days_ago=2)
    (row,) = await place.sessions()
    assert row["expires_at"] - row["captured_at"] == timedelta(days=7)
    assert row["consented_at"] > row["captured_at"]


async def test_a_capture_from_the_future_counts_as_now_and_one_too_old_is_refused(place, alice, ebay):
    await place.save(alice, ebay, days_ago=-300)
    (row,) = await place.sessions()
    assert row["captured_at"] <= datetime.now(UTC) + timedelta(minutes=1)
    with pytest.raises(BadRequest, match="more than 7 days"):
        await place.save(alice, ebay, days_ago=7.5)
    assert len(await place.sessions()) == 1


async def test_an_expired_session_stays_shut_though_nobody_cleans_up(place, alice, ebay):
    place.settings = place.settings.model_copy(update={"session_days": 1.5 / 86_400})
    place.vault = Vault(place.db, place.keyring, place.settings)
    await place.save(alice, ebay)
    assert await place.value(alice, ebay) == CANARY
    await asyncio.sleep(1.7)
    for which in ("newest", "last_good"):
        with pytest.raises(SessionMissing):
            await place.vault.open(alice, ebay, purpose="check", which=which)
    (row,) = await place.sessions()  # it is still there
    with pytest.raises(SessionMissing):
        await place.vault.reopen(alice, row["id"], purpose="check")
    assert len(await place.audit()) == 1
    assert await place.save(alice, ebay) == 2  # and is not in the way of the next


async def test_more_days_written_into_the_row_do_not_open_it(place, alice, ebay):
    await place.save(alice, ebay)
    await place.sql("UPDATE user_marketplace_sessions SET expires_at = now() + interval '90 days'")
    with pytest.raises(SealBroken):
        await place.vault.open(alice, ebay, purpose="check")


async def test_a_visit_that_was_signed_in_gives_seven_days_more(place, alice, ebay):
    await place.save(alice, ebay, days_ago=5)
    (before,) = await place.sessions()
    await place.vault.mark(alice, before["id"], worked=True)
    (after,) = await place.sessions()
    assert after["expires_at"] - before["expires_at"] > timedelta(days=4.9)
    assert after["consented_at"] == before["consented_at"]
    assert await place.value(alice, ebay) == CANARY
    assert [row["purpose"] for row in await place.audit()] == ["extend", "check"]
    await place.vault.mark(alice, before["id"], worked=True)
    assert len(await place.audit()) == 2  # not for every visit of the day


async def test_sixty_days_after_the_last_hand_over_it_ends_in_any_case(place, alice, ebay):
    place.settings = place.settings.model_copy(update={"consent_days": 8, "session_days": 7})
    place.vault = Vault(place.db, place.keyring, place.settings)
    seq = await place.save(alice, ebay)
    await place.sql("UPDATE user_marketplace_sessions SET consented_at = now() - interval '6 days'")
    seq = await place.vault.save_rotated(
        alice, ebay, storage("new"), opened_seq=seq, fence=await place.lease(ebay)
    )
    rows = await place.sessions()
    newest = rows[-1]
    assert newest["seq"] == seq
    assert newest["expires_at"] - newest["consented_at"] == timedelta(days=8)
    assert newest["expires_at"] < datetime.now(UTC) + timedelta(days=2.1)


# ---- two browsers, one session --------------------------------------------------------------------


async def test_rotated_cookies_are_kept_while_the_lease_is_ours(place, alice, ebay):
    seq = await place.save(alice, ebay)
    fence = await place.lease(ebay)
    seq = await place.vault.save_rotated(alice, ebay, storage("second"), opened_seq=seq, fence=fence)
    seq = await place.vault.save_rotated(alice, ebay, storage("third"), opened_seq=seq, fence=fence)
    assert seq == 3
    assert await place.value(alice, ebay) == "third"
    (row,) = await place.sessions()
    assert row["origin"] == "visit"
    assert row["worked_at"] is not None


async def test_nothing_is_written_back_by_whom_the_lease_has_left(place, alice, ebay):
    seq = await place.save(alice, ebay)
    stale = await place.lease(ebay)
    await place.lease(ebay)
    assert await place.vault.save_rotated(alice, ebay, storage("x"), opened_seq=seq, fence=stale) is None
    past = await place.lease(ebay, seconds=-1)
    assert await place.vault.save_rotated(alice, ebay, storage("x"), opened_seq=seq, fence=past) is None
    assert await place.value(alice, ebay) == CANARY
    assert [row["seq"] for row in await place.sessions()] == [1]


async def test_the_sellers_newer_hand_over_wins(place, alice, ebay):
    seq = await place.save(alice, ebay, "first")
    fence = await place.lease(ebay)
    await place.save(alice, ebay, "the seller's")
    assert await place.vault.save_rotated(alice, ebay, storage("x"), opened_seq=seq, fence=fence) is None
    assert await place.value(alice, ebay) == "the seller's"


async def test_a_visit_cannot_bring_back_what_the_seller_took_away(place, alice, ebay):
    seq = await place.save(alice, ebay)
    fence = await place.lease(ebay)
    async with place.db.as_user(alice) as session:
        await place.vault.forget(session, ebay)
    assert await place.vault.save_rotated(alice, ebay, storage("x"), opened_seq=seq, fence=fence) is None
    assert await place.sessions() == []


async def test_the_newest_and_the_last_one_that_worked_are_kept_and_no_other(place, alice, ebay):
    await place.save(alice, ebay, "worked")
    (first,) = await place.sessions()
    await place.vault.mark(alice, first["id"], worked=True)
    await place.save(alice, ebay, "not tried")
    await place.save(alice, ebay, "newest")
    assert [row["seq"] for row in await place.sessions()] == [1, 3]
    assert await place.value(alice, ebay) == "newest"
    assert await place.value(alice, ebay, which="last_good") == "worked"
    newest = (await place.sessions())[-1]
    await place.vault.mark(alice, newest["id"], worked=True)
    assert [row["seq"] for row in await place.sessions()] == [3]
    with pytest.raises(SessionMissing):
        await place.vault.open(alice, ebay, purpose="check", which="last_good")


async def test_what_was_found_signed_out_comes_last(place, alice, ebay):
    await place.save(alice, ebay, "worked")
    await place.vault.mark(alice, (await place.sessions())[0]["id"], worked=True)
    seq = await place.save(alice, ebay, "dead")
    await place.vault.mark(alice, (await place.sessions())[-1]["id"], worked=False)
    assert await place.value(alice, ebay, which="last_good") == "worked"
    assert await place.value(alice, ebay) == "worked"
    kept = await place.vault.save_rotated(
        alice, ebay, storage("rotated"), opened_seq=seq - 1, fence=await place.lease(ebay)
    )
    assert kept == 3
    assert await place.value(alice, ebay) == "rotated"
    assert [row["seq"] for row in await place.sessions()] == [3]


async def test_the_only_one_found_signed_out_may_still_be_tried(place, alice, ebay):
    await place.save(alice, ebay)
    await place.vault.mark(alice, (await place.sessions())[0]["id"], worked=False)
    assert await place.value(alice, ebay) == CANARY
    with pytest.raises(SessionMissing):
        await place.vault.open(alice, ebay, purpose="check", which="last_good")


# ---- keys -----------------------------------------------------------------------------------------


async def test_a_wrong_key_for_an_existing_vault_is_told_at_start_and_at_use(place, alice, ebay, tmp_path):
    await place.save(alice, ebay)
    await _check(place.admin, place.keyring)
    elsewhere = Settings(_env_file=None, everystall_home=tmp_path / "other")
    for wrong in (
        Keyring.load(elsewhere),  # the same name, k1, with other bytes
        Keyring.load(Settings(_env_file=None, session_encryption_key="00" * 32)),
    ):
        with pytest.raises(Misconfigured) as refused:
            await _check(place.admin, wrong)
        assert "Nothing stored was changed" in refused.value.action
        vault = Vault(place.db, wrong, place.settings)
        with pytest.raises(Misconfigured):
            await vault.open(alice, ebay, purpose="check")
        with pytest.raises(Misconfigured):
            async with place.db.as_user(alice) as session:
                await vault.save(session, alice, await session.get(Connection, ebay), storage("x"),
                                 captured_at=datetime.now(UTC))  # fmt: skip
    assert await place.value(alice, ebay) == CANARY


async def test_an_empty_vault_takes_any_key_and_another_after_migrate_only(place, alice, ebay, database_urls):
    """Started once with a ring of its own, and then given SESSION_ENCRYPTION_KEY."""
    await _check(place.admin, place.keyring)
    other = Keyring.load(Settings(_env_file=None, session_encryption_key="00" * 32))
    with pytest.raises(Misconfigured, match="None of the ring keys") as refused:
        await _check(place.admin, other)
    assert "everystall migrate" in refused.value.action
    async with place.db.engine.connect():  # somebody is at work and may seal with it
        await asyncio.to_thread(migrate, database_urls.admin, database_urls.login)
        with pytest.raises(Misconfigured):
            await _check(place.admin, other)
    await _gone_home(place)
    await asyncio.to_thread(migrate, database_urls.admin, database_urls.login)
    await _check(place.admin, other)
    place.vault = Vault(place.db, other, place.settings)
    await place.save(alice, ebay)
    await _gone_home(place)
    await asyncio.to_thread(migrate, database_urls.admin, database_urls.login)
    with pytest.raises(Misconfigured):
        await _check(place.admin, place.keyring)


async def _gone_home(place):
    """No web or worker is there any more, and the server has noticed."""
    await place.db.close()
    there = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = :login"
    while await place.sql(there, login=place.db.engine.url.username):
        await asyncio.sleep(0.01)


async def _check(engine, keyring):
    async with engine.begin() as connection:
        await rotation.check(connection, keyring)


async def _many(place, count):
    """Users with a session each, in a few statements' time."""
    made = []
    for i in range(count):
        user = await place.user(f"u{i}")
        connection = await place.connection(user)
        await place.save(user, connection, f"secret of {i}")
        made.append((user, connection))
    return made


async def _all_open(place, made):
    for i, (user, connection) in enumerate(made):
        assert await place.value(user, connection) == f"secret of {i}"


async def test_rotate_and_rewrap_leave_every_session_open_to_its_owner(place):
    made = await _many(place, 5)
    before = await place.sessions()
    seen = []
    kid = await rotation.rotate(place.admin, place.keyring, place.settings, rewrap=True,
                                progress=lambda *at: seen.append(at))  # fmt: skip
    assert kid == "k2"
    assert seen == [(5, 5)]
    assert {row["kid"] for row in await place.sql("SELECT kid FROM user_keys")} == {"k2"}
    assert await place.sessions() == before  # not one session was opened
    assert await place.audit() == []
    await rotation.retire_key(place.admin, place.keyring, "k1")
    await _all_open(place, made)
    assert Keyring.load(place.settings).kids == ("k2",)


@pytest.mark.parametrize("how", ["rewrap", "reencrypt"])
async def test_a_rotation_of_the_keys_loses_no_secret_setting(place, how):
    sealed = place.vault.seal_setting("smtp_url", CANARY)
    assert CANARY not in json.dumps(sealed)
    await place.sql("INSERT INTO everystall.chosen_settings VALUES ('smtp_url', CAST(:v AS jsonb))",
                    v=json.dumps(sealed))  # fmt: skip
    with pytest.raises(SealBroken):
        place.vault.open_setting("sentry_dsn", sealed)
    place.keyring.rotate()
    with pytest.raises(Misconfigured):  # a setting needs it
        await rotation.retire_key(place.admin, place.keyring, "k1")
    await rotation.rotate(place.admin, place.keyring, place.settings, **{how: True})
    await rotation.retire_key(place.admin, place.keyring, "k1")
    (row,) = await place.sql("SELECT value FROM everystall.chosen_settings")
    assert place.vault.open_setting("smtp_url", row["value"]) == CANARY


async def test_a_stopped_rewrap_goes_on_where_it_was(place, monkeypatch):
    made = await _many(place, 7)
    monkeypatch.setattr(rotation, "BATCH", 3)

    def stop(done, total):
        if done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rotation.rotate(place.admin, place.keyring, place.settings, rewrap=True, progress=stop)
    left = await place.sql("SELECT count(*) AS n FROM user_keys WHERE kid = 'k1'")
    assert left == [{"n": 4}]
    with pytest.raises(Misconfigured, match="4 data keys"):
        await rotation.retire_key(place.admin, place.keyring, "k1")
    await _all_open(place, made)
    again = Keyring.load(place.settings)
    assert await rotation.rotate(place.admin, again, place.settings, rewrap=True, retire="k1") == "k2"
    assert again.kids == ("k2",)
    await _all_open(place, made)
    assert await rotation.rewrap_all(place.admin, again) == 0


async def test_two_rewraps_at_once_do_each_row_once(place, monkeypatch):
    made = await _many(place, 9)
    monkeypatch.setattr(rotation, "BATCH", 2)
    place.keyring.rotate()
    done = await asyncio.gather(*(rotation.rewrap_all(place.admin, place.keyring) for _ in range(3)))
    assert sum(done) == 9
    await _all_open(place, made)


async def test_reencrypt_gives_new_data_keys_and_is_in_the_sellers_audit(place):
    made = await _many(place, 3)
    before = {row["user_id"]: bytes(row["sealed"]) for row in await place.sessions()}
    await rotation.rotate(place.admin, place.keyring, place.settings, reencrypt=True, retire="k1")
    assert {(r["version"], r["kid"]) for r in await place.sql("SELECT * FROM user_keys")} == {(2, "k2")}
    for row in await place.sessions():
        assert bytes(row["sealed"]) != before[row["user_id"]]
        assert row["dek_version"] == 2
    audited = await place.audit()
    assert {row["user_id"] for row in audited} == {user for user, _ in made}
    assert {row["purpose"] for row in audited} == {"keys rotate"}
    await _all_open(place, made)


async def test_a_stopped_reencrypt_goes_on_where_it_was(place):
    made = await _many(place, 4)

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rotation.rotate(place.admin, place.keyring, place.settings, reencrypt=True, progress=stop)
    await _all_open(place, made)
    again = Keyring.load(place.settings)
    assert await rotation.rotate(place.admin, again, place.settings, reencrypt=True) == "k2"
    assert {(r["version"], r["kid"]) for r in await place.sql("SELECT * FROM user_keys")} == {(2, "k2")}
    assert sorted(row["purpose"] for row in await place.audit()).count("keys rotate") == 4
    await _all_open(place, made)


async def test_a_key_retired_meanwhile_is_not_used_by_a_running_process(place, alice, ebay):
    """The web has the old ring in memory while the command line rotates and retires."""
    other = Keyring.load(place.settings)
    await rotation.rotate(place.admin, other, place.settings)
    await rotation.rotate(place.admin, other, place.settings, retire="k1")
    await place.save(alice, ebay)
    assert [row["kid"] for row in await place.sql("SELECT kid FROM user_keys")] == ["k2"]


async def test_verify_opens_every_row_and_names_what_does_not_open(place):
    made = await _many(place, 4)
    found = await rotation.verify(place.admin, place.keyring, place.settings)
    assert (found.sound, found.keys, found.sessions) == (True, 4, 4)
    assert [row["purpose"] for row in await place.audit()] == ["keys verify"] * 4
    await place.sql("UPDATE user_marketplace_sessions SET seq = 99 WHERE user_id = :u", u=made[1][0])
    await place.sql("UPDATE user_keys SET kid = 'k7' WHERE user_id = :u", u=made[2][0])
    found = await rotation.verify(place.admin, place.keyring, place.settings)
    assert (found.sound, found.keys, found.sessions) == (False, 3, 2)
    assert len(found.broken) == 3  # a session; a data key and the session under it
    assert any("k7" in line for line in found.broken)


async def test_verify_opens_the_secret_settings_and_each_sellers_other_secrets(place, alice):
    bob = await place.user("bob")
    for name in ("smtp_url", "openrouter_api_key"):
        sealed = json.dumps(place.vault.seal_setting(name, CANARY))
        await place.sql("INSERT INTO everystall.chosen_settings VALUES (:name, CAST(:v AS jsonb)), "
                        "('job_days', '90') ON CONFLICT DO NOTHING", name=name, v=sealed)  # fmt: skip
    for user in (alice, bob):
        async with place.db.as_user(user) as session:
            session.add(await place.vault.seal_totp(session, user, b"ABCDEFGH"))
    found = await rotation.verify(place.admin, place.keyring, place.settings)
    assert (found.settings, found.secrets, found.broken) == (2, 2, [])
    await place.sql("UPDATE everystall.chosen_settings SET value = jsonb_set(value, '{sealed}', '\"AAAA\"') "
                    "WHERE name = 'smtp_url'")  # fmt: skip
    # another seller's in one's place
    await place.sql("UPDATE totps SET sealed = (SELECT sealed FROM totps WHERE user_id = :a) "
                    "WHERE user_id = :b", a=alice, b=bob)  # fmt: skip
    found = await rotation.verify(place.admin, place.keyring, place.settings)
    assert (found.settings, found.secrets) == (1, 1)
    setting, secret = sorted(found.broken, key=lambda line: not line.startswith("setting"))
    assert setting.startswith("setting SMTP_URL: ")
    assert secret.startswith(f"secret of second factor {bob}: ")
    assert CANARY not in str(found.broken)


async def test_one_broken_row_does_not_stop_the_rotation_of_the_others(place):
    made = await _many(place, 3)
    await place.sql("UPDATE user_keys SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) "
                    "WHERE user_id = :u", u=made[1][0])  # fmt: skip
    place.keyring.rotate()
    assert await rotation.rewrap_all(place.admin, place.keyring) == 2
    left = await place.sql("SELECT user_id FROM user_keys WHERE kid = 'k1'")
    assert left == [{"user_id": made[1][0]}]


async def test_the_login_role_cannot_rotate(place, alice, ebay, database_urls):
    await place.save(alice, ebay)
    login = create_async_engine(database_urls.login)
    await _check(login, place.keyring)
    stranger = Keyring.load(Settings(_env_file=None, session_encryption_key="00" * 32))
    with pytest.raises(Misconfigured, match="None of the ring keys"):
        await _check(login, stranger)
    with pytest.raises((Misconfigured, DBAPIError)):
        await rotation.rotate(login, place.keyring, place.settings, rewrap=True)
    await login.dispose()


# ---- silence --------------------------------------------------------------------------------------


async def test_the_secret_is_in_no_log_no_repr_and_no_exception(place, alice, ebay, caplog):
    caplog.set_level(logging.DEBUG)
    said = []
    with structlog.testing.capture_logs() as logged:
        await place.save(alice, ebay)
        opened = await place.vault.open(alice, ebay, purpose="check")
        said += [repr(opened), str(opened), f"{opened}", repr(vars(opened))]
        await place.vault.mark(alice, opened.session_id, worked=True)
        await rotation.rotate(place.admin, place.keyring, place.settings, reencrypt=True)
        await place.sql("UPDATE user_marketplace_sessions SET seq = 7")
        try:
            await place.vault.open(alice, ebay, purpose="check")
        except SealBroken as e:
            said += [repr(e), str(e), str(e.as_json())]
        with pytest.raises(BadRequest) as refused:
            await place.save(alice, ebay, days_ago=30)
        said.append(repr(refused.value))
    assert CANARY not in "".join(said) + str(logged) + caplog.text
