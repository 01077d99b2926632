"""A house with two sellers, backed up and put back: into nothing, over something else, by another key ring,
and not at all where anything is wrong."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from everystall import db
from everystall.backup import aftermath, archive, restoring
from everystall.backup.making import make, make_on_shelf
from everystall.backup.sealing import MAGIC, Opening, read_head
from everystall.backup.shelf import Shelf, find_key
from everystall.choices import Following, choose
from everystall.content.photo_store import know_store
from everystall.content.photos import MARK, Photos
from everystall.db import Database, migrate
from everystall.errors import BackupRefused, Misconfigured, NotFound
from everystall.settings import Settings
from everystall.vault import envelope
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from tests.api.conftest import live_listing, photo

PASSPHRASE = "four stalls in the rain"
#: What a restore changes on purpose (backup/aftermath.py), so that it is looked at by itself below.
CHANGED = {
    "users": {"paused_at", "restored_to"},
    "connections": {"lease_fence", "next_check_at"},
    "user_keys": {"kid", "wrapped"},
    "publications": {"version"},
}
LEFT_OUT = {"vault_audit"}
NOTED = """SELECT everystall.note_heal('mercari', 'the title', '/sell', :locator, :worked, 'model',
                                       '{}', '{}', CAST(:picture AS bytea))"""


@dataclass
class Follower:
    """A process that goes by the settings."""

    settings: Settings


@dataclass
class Installation:
    """A database, a folder and a key ring."""

    settings: Settings

    @property
    def keyring(self) -> Keyring:
        return Keyring.load(self.settings)

    def connect(self) -> psycopg.Connection[dict[str, Any]]:
        url = self.settings.database_admin_url.get_secret_value()
        return psycopg.connect(url, row_factory=dict_row, autocommit=True)

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        with self.connect() as connection:
            found = connection.execute(statement, values)
            return found.fetchall() if found.description else []

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of every table, but for what a restore changes."""
        found = {}
        with self.connect() as connection:
            tables = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' "
                "AND relname <> 'alembic_version' ORDER BY 1"
            ).fetchall()
            for table in (*(row["relname"] for row in tables), *archive.SETTINGS, *archive.HEALED):
                rows = [
                    {k: v for k, v in row.items() if k not in CHANGED.get(table, ())}
                    for row in connection.execute(f"SELECT * FROM {table}")
                ]
                found[table] = sorted(rows, key=repr)
        return found

    def photos(self) -> dict[str, bytes]:
        folder = self.settings.everystall_home / "photos" / "originals"
        return {path.name: path.read_bytes() for path in folder.glob("*")}

    def mark(self) -> str:
        """Whose photo store it says it is."""
        return str(json.loads((self.settings.everystall_home / "photos" / MARK).read_text())["id"])

    async def know_store(self) -> UUID:
        """As a web or a worker at its start."""
        database = Database(self.settings.database_url.get_secret_value())
        photos = Photos(self.settings)
        try:
            return await know_store(database, photos)
        finally:
            await photos.close()
            await database.close()

    async def make(self, to: Path, passphrase: str | None = PASSPHRASE) -> Path:
        await asyncio.to_thread(make, self.settings, self.keyring, to, passphrase=passphrase)
        return to

    async def put_back(self, file: Path, passphrase: str | None = None) -> tuple[restoring.Restored, Any]:
        key = find_key(file, self.keyring, passphrase)[1]
        return await asyncio.to_thread(restoring.put_back, file, key, self.settings, self.keyring)


@pytest.fixture
def here(site) -> Installation:
    return Installation(site.settings.model_copy(update={"pbkdf2_iterations": 100_000}))


@pytest.fixture
def there(empty_database, server, tmp_path) -> Installation:
    """Another machine: nothing but an empty database."""
    home = tmp_path / "there"
    home.mkdir(mode=0o700)
    return Installation(
        Settings(
            _env_file=None, everystall_home=home, database_url=empty_database.login,
            database_admin_url=empty_database.admin, pbkdf2_iterations=100_000,
        )
    )  # fmt: skip


@pytest.fixture
async def house(site, alice, bob):
    """Two sellers with what sellers have."""
    for seller, account in ((alice, "alice"), (bob, "bob")):
        await live_listing(site, seller, "poshmark", photos=2, sku=account)
        await seller.listing(photos=3, title=f"Never posted: {account}", description="\\N\n\\.\nand more")
        thrown, headers = await seller.listing(photos=0), {"content-type": "image/png"}
        await seller.client.post(f"/api/listings/{thrown}/photos", content=photo(8), headers=headers)
        assert (await seller.client.delete(f"/api/listings/{thrown}")).json()["deleted"]
        await site.rows(
            "INSERT INTO sales (user_id, connection_id, order_id, title, quantity, price_cents) "
            "SELECT user_id, id, 'o-1', 'Linen shirt', 1, 2500 FROM connections WHERE user_id = :id",
            id=seller.user_id,
        )
    owner = await site.person("alice", "owner")
    seals = site.app.state.parts.vault.seal_setting
    await choose(site.database, owner.user_id, {"watch_seconds": 120, "event_days": 40}, seals)
    await choose(site.database, owner.user_id, {"watch_seconds": 90}, seals)
    await site.rows(
        "SELECT everystall.remember_look('mercari', 'the title', '/sell', '{\"tag\": \"input\"}')"
    )
    await site.rows(NOTED, locator="#a", picture=b"jpeg", worked=True)
    await site.rows("DELETE FROM api_tokens WHERE kind = 'browser'")
    yield site
    await site.database.engine.dispose()


async def closed(site) -> None:
    """As when every web and worker is stopped."""
    await site.database.engine.dispose()


async def test_an_empty_installation_becomes_the_one_that_was_backed_up(house, here, there, alice, tmp_path):
    await here.make(file := tmp_path / "all.everystall")
    before, photos = here.everything(), here.photos()
    assert {
        "users",
        "listings",
        "publications",
        "sales",
        "events",
        "api_tokens",
        "deleted_listings",
        *archive.SETTINGS,
        *archive.HEALED,
    } <= {table for table, rows in before.items() if rows}
    restored, point = await there.put_back(file, PASSPHRASE)
    after = there.everything()
    assert {t: r for t, r in after.items() if t not in LEFT_OUT} == {
        t: r for t, r in before.items() if t not in LEFT_OUT
    }
    assert there.photos() == photos
    assert len(photos) >= 3
    assert (point, restored.photos, restored.sessions, restored.broken) == (None, len(photos), 2, 0)
    assert [row["purpose"] for row in after["vault_audit"]] == ["restore", "restore"]
    # the ring is another, and opens what was sealed there
    assert there.keyring.key_bytes() != here.keyring.key_bytes()
    database = Database(there.settings.database_url.get_secret_value())
    try:
        vault = Vault(database, there.keyring, there.settings)
        (row,) = there.rows("SELECT id FROM connections WHERE user_id = %(id)s", id=alice.user_id)
        opened = await vault.open(alice.user_id, row["id"], purpose="check")
        with opened.secret as plain:
            assert b"jwt" in bytes(plain)
    finally:
        await database.close()
    # numbers go on where they were
    (last,) = there.rows("SELECT max(id) AS id FROM events")
    (next_,) = there.rows("SELECT nextval(pg_get_serial_sequence('events', 'id')) AS id")
    assert next_["id"] > last["id"]


@pytest.mark.longer
async def test_what_the_owner_chose_is_as_it_was_then_and_changes_go_on(
    house, here, there, alice, bob, tmp_path
):
    await here.make(file := tmp_path / "all.everystall")
    await closed(house)
    await asyncio.to_thread(migrate, *(there.settings.model_dump()[n].get_secret_value()
                                       for n in ("database_admin_url", "database_url")))  # fmt: skip
    there.rows("INSERT INTO everystall.chosen_settings (name, value) VALUES ('daily_cap', '3')")
    await there.put_back(file, PASSPHRASE)
    database = Database(there.settings.database_url.get_secret_value())
    try:
        parts = Follower(there.settings)
        await Following(there.settings, lambda *_: "", lambda _: None).follow(parts, database)
        assert (parts.settings.watch_seconds, parts.settings.event_days) == (90, 40)
        assert parts.settings.daily_cap is None
        (owner,) = there.rows("SELECT id FROM users WHERE role = 'owner'")
        await choose(database, owner["id"], {"watch_seconds": 100}, lambda *_: {})
        with pytest.raises(DBAPIError, match="only an owner"):
            await choose(database, bob.user_id, {"watch_seconds": 1}, lambda *_: {})
    finally:
        await database.close()
    changes = there.rows("SELECT name, before, after, email FROM everystall.setting_changes(20)")
    assert [(row["name"], row["before"], row["after"]) for row in changes] == [
        ("watch_seconds", 90, 100), ("watch_seconds", 120, 90),
        ("event_days", None, 40), ("watch_seconds", None, 120),
    ]  # fmt: skip
    assert len({row["email"] for row in changes}) == 1


@pytest.mark.extended
async def test_an_archive_from_before_settings_were_in_it_is_restored_without_them(
    house, here, there, tmp_path, monkeypatch
):
    monkeypatch.setattr(archive, "FORMAT", 1)
    only = archive.TABLES.replace("WHERE c.relkind", "WHERE n.nspname = 'public' AND c.relkind")
    monkeypatch.setattr(archive, "TABLES", only)
    await here.make(file := tmp_path / "older.everystall")
    monkeypatch.undo()
    with file.open("rb") as opened:
        about = archive.check(opened, find_key(file, here.keyring, None)[1])
    assert not {*archive.SETTINGS} & {*about["tables"]}
    await there.put_back(file, PASSPHRASE)
    assert there.everything()["listings"] == here.everything()["listings"]
    assert [there.rows(f"SELECT * FROM {table}") for table in archive.SETTINGS] == [[], []]


@pytest.mark.extended
async def test_what_an_owner_rejected_stays_so_whether_before_the_backup_or_since(
    house, here, there, tmp_path
):
    (owner,) = here.rows("SELECT id FROM users WHERE role = 'owner'")
    reject = (
        "SELECT everystall.reject_locator(%(by)s, id) FROM everystall.locators WHERE locator = %(locator)s"
    )
    states = "SELECT locator, state FROM everystall.locators ORDER BY 1"
    await house.rows(NOTED, locator="#b", picture=None, worked=True)
    here.rows(reject, by=owner["id"], locator="#a")
    await closed(house)
    await here.make(file := tmp_path / "all.everystall")
    await house.rows(NOTED, locator="#c", picture=None, worked=False)
    here.rows(reject, by=owner["id"], locator="#b")
    looked = "SELECT everystall.remember_look('mercari', %(target)s, '/sell', '{\"tag\": \"textarea\"}')"
    for target in ("the title", "the brand"):
        here.rows(looked, target=target)
    await closed(house)
    await there.put_back(file, PASSPHRASE)
    assert there.rows(states) == [
        {"locator": "#a", "state": "rejected"}, {"locator": "#b", "state": "candidate"},
    ]  # fmt: skip
    await here.put_back(file)
    assert here.rows(states) == [
        {"locator": "#a", "state": "rejected"}, {"locator": "#b", "state": "rejected"},
        {"locator": "#c", "state": "demoted"},
    ]  # fmt: skip
    known = here.rows("SELECT target, look ->> 'tag' AS tag FROM everystall.looks ORDER BY 1")
    assert known == [{"target": "the brand", "tag": "textarea"}, {"target": "the title", "tag": "textarea"}]
    await closed(house)
    await here.put_back(file)  # what is known here is no newer now
    assert len(here.rows(states)) == 3


@pytest.mark.extended
async def test_an_archive_from_before_pages_were_in_it_is_restored_with_what_is_known_here(
    house, here, tmp_path, monkeypatch
):
    await closed(house)
    monkeypatch.setattr(archive, "FORMAT", 2)
    monkeypatch.setattr(
        archive, "TABLES", archive.TABLES.replace("'everystall.looks', 'everystall.locators'", "''")
    )
    await here.make(file := tmp_path / "older.everystall")
    monkeypatch.undo()
    before = {table: here.everything()[table] for table in archive.HEALED}
    await here.put_back(file, PASSPHRASE)
    assert {table: here.everything()[table] for table in archive.HEALED} == before
    assert all(before.values())


@pytest.mark.longer
async def test_over_something_else_it_is_as_it_was_and_nothing_is_posted_a_second_time(
    house, here, alice, bob, tmp_path
):
    await closed(house)
    posted = await alice.listing(photos=1, title="Waits to be posted")
    assert (await alice.publish(posted, "poshmark")).status_code == 200
    armed = await bob.listing(photos=1, title="Just clicked")
    assert (await bob.publish(armed, "poshmark")).status_code == 200
    await house.rows(
        "UPDATE publications SET state = 'armed', looking = true WHERE listing_id = CAST(:id AS uuid)",
        id=armed,
    )
    await house.rows(
        "INSERT INTO attempts (user_id, publication_id, connection_id, listing_revision, draft, fields_hash, "
        "fence, armed_at, repost_asked_at) SELECT user_id, id, connection_id, 1, '{}', 'h', 1, now(), now() "
        "FROM publications WHERE listing_id = CAST(:id AS uuid)", id=armed,
    )  # fmt: skip
    await house.rows("UPDATE connections SET lease_holder = 'w', lease_until = now() + interval '1 hour'")
    await closed(house)
    await here.make(file := tmp_path / "all.everystall", None)
    before, photos = here.everything(), here.photos()

    await alice.listing(photos=1, title="After the backup", sku="later")
    await house.rows("UPDATE listings SET title = 'changed' WHERE sku = 'alice'")
    await house.rows("DELETE FROM listings WHERE sku = 'bob'")
    await house.rows("UPDATE api_tokens SET revoked_at = now() WHERE user_id = :id", id=bob.user_id)
    await house.rows("UPDATE connections SET lease_fence = 700")
    (number,) = await house.rows("SELECT max(id) AS id FROM events")
    (here.settings.everystall_home / "photos/originals" / next(iter(photos))).unlink()
    await closed(house)
    changed = here.everything()

    _, point = await here.put_back(file)
    after = here.everything()
    assert {row["title"] for row in after["listings"]} == {row["title"] for row in before["listings"]}
    for table in ("listings", "listing_photos", "sales", "events", "user_marketplace_sessions"):
        assert after[table] == before[table], table
    assert photos.items() <= here.photos().items()

    def of(listing: str) -> list[dict[str, Any]]:
        return here.rows("SELECT * FROM publications WHERE listing_id = %(id)s", id=listing)

    assert of(posted) == []  # what waited then may be live by now
    (job,) = here.rows("SELECT r.state, j.status FROM listing_automation_results r "
                       "JOIN jobs j ON j.id = r.job_id WHERE r.listing_id = %(id)s", id=posted)  # fmt: skip
    assert job == {"state": "cancelled", "status": "cancelled"}
    (clicked,) = of(armed)  # and is looked at, as ever
    assert (clicked["wanted"], clicked["looking"], clicked["state"]) == ("live", True, "armed")
    (attempt,) = here.rows("SELECT * FROM attempts WHERE publication_id = %(id)s", id=clicked["id"])
    assert (attempt["outcome"], attempt["repost_asked_at"]) == (None, None)
    for row in here.rows("SELECT * FROM users"):
        assert row["paused_at"] is not None
        assert row["restored_to"] is not None
    for row in here.rows("SELECT * FROM connections"):
        assert (row["lease_holder"], row["lease_until"], row["lease_fence"]) == (None, None, 701)
    tokens = here.rows("SELECT revoked_at FROM api_tokens WHERE user_id = %(id)s", id=bob.user_id)
    assert [row for row in tokens if row["revoked_at"] is None] == []
    (next_,) = here.rows("SELECT nextval(pg_get_serial_sequence('events', 'id')) AS id")
    assert next_["id"] > number["id"]
    assert here.rows("SELECT * FROM procrastinate.procrastinate_jobs") == []
    assert (await alice.get("/api/listings")).status_code == 200  # her token of then
    assert (await bob.get("/api/listings")).status_code == 401

    # and what was here before is in the restore point
    await closed(house)
    await here.put_back(point)
    assert here.everything()["listings"] == changed["listings"]


def ways_of(place: Installation, seller: Any) -> dict[str, list[str]]:
    """What signs a seller in, and what was written down and told of it."""
    found = place.rows(
        """SELECT 'passkey' AS what, name FROM passkeys WHERE user_id = %(id)s
           UNION ALL SELECT 'provider', email FROM identities WHERE user_id = %(id)s
           UNION ALL SELECT 'code', last_step::text FROM totps WHERE user_id = %(id)s
           UNION ALL SELECT 'token', name FROM api_tokens WHERE user_id = %(id)s AND name LIKE 'program%%'
           UNION ALL SELECT 'recovery', 'one' FROM recovery_codes WHERE user_id = %(id)s
           UNION ALL SELECT 'browser', name FROM api_tokens WHERE user_id = %(id)s AND kind = 'browser'
           UNION ALL SELECT 'written', about FROM sign_in_changes WHERE user_id = %(id)s AND what = 'restored'
           UNION ALL SELECT 'told', data ->> 'about' FROM events JOIN notices ON event_id = id
               WHERE events.user_id = %(id)s AND data ->> 'what' = 'restored' ORDER BY 1, 2""",
        id=seller.user_id,
    )  # fmt: skip
    return {
        what: [row["name"] for row in found if row["what"] == what] for what in {r["what"] for r in found}
    }


@pytest.mark.longer
async def test_what_was_taken_from_a_sign_in_since_stays_away_and_what_comes_back_is_told(
    house, here, there, alice, bob, tmp_path
):
    for number, seller in enumerate((alice, bob)):
        await house.rows(
            "INSERT INTO passkeys (user_id, name, credential_id, public_key, sign_count) "
            "VALUES (:id, 'Phone', 'one', 'key', 0), (:id, 'Stolen', 'two', 'key', 0)", id=seller.user_id,
        )  # fmt: skip
        await house.rows(
            "INSERT INTO identities (user_id, issuer, subject, email) "
            "VALUES (:id, 'https://id.example.com', :n, 'at@example.com')", id=seller.user_id, n=str(number),
        )  # fmt: skip
        await house.rows("INSERT INTO totps (user_id, dek_version, sealed) VALUES (:id, 1, 'x')",
                         id=seller.user_id)  # fmt: skip
        await house.rows("INSERT INTO recovery_codes (user_id, code_hash) VALUES (:id, 'hash')",
                         id=seller.user_id)  # fmt: skip
        await house.rows("INSERT INTO api_tokens (user_id, name, token_hash, kind) VALUES "
                         "(:id, 'program', :a, 'api'), (:id, 'program of old', :b, 'api'), "
                         "(:id, 'Firefox', :c, 'browser')", id=seller.user_id,
                         **{word: f"{word}{number}".encode() for word in "abc"})  # fmt: skip
    await closed(house)
    await here.make(file := tmp_path / "all.everystall")

    for statement in ("DELETE FROM passkeys WHERE name = 'Stolen' AND user_id = :id",
                      "DELETE FROM identities WHERE user_id = :id", "DELETE FROM totps WHERE user_id = :id",
                      "DELETE FROM api_tokens WHERE name = 'program of old' AND user_id = :id",
                      "INSERT INTO passkeys (user_id, name, credential_id, public_key, sign_count) "
                      "VALUES (:id, 'New', 'three', 'key', 0)"):  # fmt: skip
        await house.rows(statement, id=alice.user_id)
    await closed(house)
    _, point = await here.put_back(file)
    hers = "passkeys: Phone"
    all_of_it = "A second factor, passkeys: Phone, Stolen, at a provider: at@example.com"
    assert ways_of(here, alice) == {
        "passkey": ["Phone"], "token": ["program"], "written": [hers], "told": [hers]
    }  # fmt: skip
    everything = {
        "passkey": ["Phone", "Stolen"], "provider": ["at@example.com"], "code": ["0"],
        "token": ["program", "program of old"], "written": [all_of_it], "told": [all_of_it],
    }  # fmt: skip
    assert ways_of(here, bob) == everything

    # what that took away nobody removed: undone, it is back
    await closed(house)
    await here.put_back(point)
    assert ways_of(here, alice)["passkey"] == ["New", "Phone"]

    # where nobody is, nobody can say
    await there.put_back(file, PASSPHRASE)
    assert ways_of(there, alice) == ways_of(there, bob) == everything


@pytest.mark.longer
async def test_sittings_are_over_and_what_waited_to_be_told_is_not_sent(house, here, alice, bob, tmp_path):
    for seller in (alice, bob):
        id = {"id": seller.user_id}
        for ended in ("NULL", "now()"):
            here.rows(
                "INSERT INTO sittings (user_id, connection_id, purpose, asked_by, until, address, "
                "ticket_hash, ended_at, outcome) SELECT user_id, id, 'challenge', 'Firefox on Linux', "
                "now() + interval '1 hour', CASE WHEN x IS NULL THEN 'ws://127.0.0.1:1' END, "
                f"CASE WHEN x IS NULL THEN '\\x01'::bytea END, x, CASE WHEN x IS NOT NULL THEN 'done' END "
                f"FROM connections, (SELECT {ended}::timestamptz AS x) y WHERE user_id = %(id)s", **id,
            )  # fmt: skip
        here.rows("INSERT INTO channels (user_id, kind, label, key, dek_version, sealed, confirmed_at) "
                  "VALUES (%(id)s, 'service', 'x', 'x', 1, 'x', now())", **id)  # fmt: skip
        for status in ("waiting", "delivered"):
            here.rows("INSERT INTO notice_deliveries (user_id, channel_id, what, status, claimed_until) "
                      "SELECT user_id, id, 'test', %(status)s, "
                      "CASE WHEN %(status)s = 'waiting' THEN now() END FROM channels WHERE user_id = %(id)s",
                      status=status, **id)  # fmt: skip
            here.rows("INSERT INTO webhook_deliveries (user_id, event_id, status) SELECT user_id, max(id), "
                      "%(status)s FROM events WHERE user_id = %(id)s GROUP BY 1",
                      status=status, **id)  # fmt: skip
    await closed(house)
    await here.make(file := tmp_path / "all.everystall", None)
    delivered = "SELECT * FROM notice_deliveries WHERE status = 'delivered' ORDER BY id"
    ended = "SELECT * FROM sittings WHERE outcome = 'done' ORDER BY id"
    before = here.rows(delivered), here.rows(ended)
    await here.put_back(file)
    assert (here.rows(delivered), here.rows(ended)) == before
    assert [len(rows) for rows in before] == [2, 2]
    over = here.rows("SELECT * FROM sittings WHERE outcome IS DISTINCT FROM 'done'")
    assert {row["user_id"] for row in over} == {alice.user_id, bob.user_id}
    for row in over:
        assert (row["outcome"], row["address"], row["ticket_hash"]) == ("failed", None, None)
        assert row["ended_at"] is not None
    for table in ("notice_deliveries", "webhook_deliveries"):
        rows = here.rows(f"SELECT * FROM {table} WHERE status <> 'delivered'")
        assert {row["user_id"] for row in rows} == {alice.user_id, bob.user_id}
        for row in rows:
            assert (row["status"], row["claimed_until"]) == ("failed", None)
            assert row["last_error"].startswith("not sent: ")
    for due in ("due_notices", "due_sittings", "due_deliveries"):
        assert here.rows(f"SELECT * FROM everystall.{due}(100)") == [], due


async def test_what_is_wrong_is_refused_before_anything_is_touched(house, here, there, tmp_path):
    await here.make(file := tmp_path / "all.everystall")
    await closed(house)
    data = file.read_bytes()
    with file.open("rb") as opened:
        read_head(opened)
        body = opened.tell()
    before = here.everything()
    bent = tmp_path / "bent.everystall"
    chunk = 256 * 1024 + envelope.TAG_BYTES
    for wrong in (
        data[:-1],
        data[: body + chunk * ((len(data) - body) // chunk)],
        data + b"x",
        data[: body + 100] + bytes([data[body + 100] ^ 1]) + data[body + 101 :],
        data[: len(MAGIC) + 14] + bytes([data[len(MAGIC) + 14] ^ 1]) + data[len(MAGIC) + 15 :],
        b"everything",
        b"",
    ):
        bent.write_bytes(wrong)
        with pytest.raises(BackupRefused):
            await here.put_back(bent, PASSPHRASE)
    with pytest.raises(BackupRefused, match="does not open"):
        await there.put_back(file, "another passphrase")
    with pytest.raises(BackupRefused, match="closed by a passphrase"):
        await there.put_back(file)
    await here.make(own := tmp_path / "own.everystall", None)
    with pytest.raises(BackupRefused, match="only where the key ring is"):
        await there.put_back(own, PASSPHRASE)
    assert here.everything() == before
    assert Shelf(here.settings).find() == []
    assert there.rows("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []


@pytest.mark.longer
async def test_a_newer_versions_backup_is_refused_and_an_older_ones_is_brought_forward(
    house, here, there, tmp_path
):
    await closed(house)
    (now,) = here.rows("SELECT version_num AS head FROM alembic_version")
    here.rows("UPDATE alembic_version SET version_num = '9999'")
    await here.make(newer := tmp_path / "newer.everystall")
    with pytest.raises(BackupRefused, match="newer Everystall"):
        await there.put_back(newer, PASSPHRASE)
    # as 0023 made it
    admin, login = (
        db.driver_url(url.get_secret_value())
        for url in (here.settings.database_admin_url, here.settings.database_url)
    )
    engine = create_engine(admin)
    with engine.begin() as connection:
        db.begin(connection, login)
        db.clear(connection)
        db.upgrade(connection, login, "0023")
    engine.dispose()
    here.rows("INSERT INTO users (email) VALUES ('alice@example.com'), ('bob@example.com')")
    here.rows("INSERT INTO listings (user_id, title) SELECT id, 'of ' || email FROM users")
    await here.make(older := tmp_path / "older.everystall")
    await there.put_back(older, PASSPHRASE)
    assert there.rows("SELECT version_num AS head FROM alembic_version") == [now]
    listings = "SELECT id, user_id, title, words, created_at FROM listings ORDER BY id"
    assert there.rows(listings) == here.rows(listings)
    assert len(there.rows(listings)) == 2
    assert {row["restored_to"] is None for row in there.rows("SELECT * FROM users")} == {False}


@pytest.mark.longer
async def test_what_fails_midway_leaves_all_as_it_was(house, here, there, tmp_path, monkeypatch):
    await here.make(file := tmp_path / "all.everystall")
    await closed(house)
    await asyncio.to_thread(migrate, *(there.settings.model_dump()[n].get_secret_value()
                                       for n in ("database_admin_url", "database_url")))  # fmt: skip
    there.rows("INSERT INTO users (email) VALUES ('carol@example.com')")
    before = there.everything()
    kept = Photos.keep

    async def full(self, sha256, data):
        if len(there.photos()) == 2:
            raise OSError(28, "No space left on device")
        return await kept(self, sha256, data)

    monkeypatch.setattr(Photos, "keep", full)
    with pytest.raises(OSError, match="No space"):
        await there.put_back(file, PASSPHRASE)
    assert there.everything() == before
    assert there.photos() == {}
    monkeypatch.undo()
    # a key that does not open, at the very end (one of the first is tried as the backup is made)
    here.rows(
        """UPDATE user_keys SET wrapped = wrapped || 'x'
           WHERE created_at = (SELECT max(created_at) FROM user_keys)"""
    )
    assert len(here.rows("SELECT DISTINCT created_at FROM user_keys")) > 1
    await here.make(wrong := tmp_path / "wrong.everystall")
    with pytest.raises(BackupRefused, match="does not open with the key ring"):
        await there.put_back(wrong, PASSPHRASE)
    assert there.everything() == before
    assert there.photos() == {}


@pytest.mark.extended
async def test_the_photo_store_of_what_is_restored_is_the_one_here(house, here, there, tmp_path):
    await here.make(file := tmp_path / "all.everystall")
    await closed(house)

    async def restored() -> list[str]:
        await there.put_back(file, PASSPHRASE)
        known = [str(row["id"]) for row in there.rows("SELECT id FROM everystall.photo_store")]
        assert known == [there.mark()]
        assert known == [str(await there.know_store())]
        return known

    known = await restored()  # onto a new machine
    there.rows("DELETE FROM everystall.photo_store")
    assert await restored() == known  # onto a new database beside the old store
    shutil.rmtree(there.settings.everystall_home / "photos")
    assert await restored() == known  # with a new store beside the old database
    (there.settings.everystall_home / "keys" / "ring.json").unlink()
    assert await restored() == known  # with a new ring beside it


@pytest.mark.longer
async def test_nothing_is_restored_into_another_databases_photo_store(house, here, there, tmp_path):
    await here.make(file := tmp_path / "all.everystall")
    await closed(house)
    await there.put_back(file, PASSPHRASE)
    await there.know_store()
    before, photos = there.everything(), there.photos()
    elsewhere = Installation(there.settings.model_copy(update={"photos_url": str(tmp_path / "other")}))
    other = Photos(elsewhere.settings)
    await other.keep_id(uuid4())
    await other.close()
    with pytest.raises(Misconfigured, match="another database's"):
        await elsewhere.put_back(file, PASSPHRASE)
    assert (there.everything(), there.photos()) == (before, photos)
    assert [path.name for path in (tmp_path / "other").iterdir()] == [MARK]
    assert Shelf(there.settings).find() == []  # no restore point without photos


async def test_what_could_not_be_restored_is_not_made(house, here, tmp_path):
    """As by a service that was given the database's address, and neither its ring nor its photos."""
    await here.know_store()
    (bare := tmp_path / "bare").mkdir(mode=0o700)
    another = here.settings.model_copy(update={"everystall_home": bare, "session_encryption_key": None})
    photos = str(here.settings.everystall_home / "photos")
    file = tmp_path / "all.everystall"
    for settings, ring, said in (
        (another.model_copy(update={"photos_url": photos}), Keyring.load(another), "vault was sealed with"),
        (another, here.keyring, "has none of this database's photos"),
    ):
        with pytest.raises(Misconfigured, match=said):
            await asyncio.to_thread(make, settings, ring, file, passphrase=PASSPHRASE)
        assert not file.exists()
    await here.make(file)
    assert file.exists()


async def test_while_somebody_works_nothing_is_restored(house, here, alice, tmp_path, monkeypatch):
    monkeypatch.setattr(restoring, "GOING", 0.3)
    await here.make(file := tmp_path / "all.everystall")
    before = here.everything()
    assert (await alice.get("/api/listings")).status_code == 200  # a web
    with pytest.raises(BackupRefused, match="connected to this database"):
        await here.put_back(file)
    assert here.everything() == before


async def test_who_does_not_see_all_rows_makes_no_backup(house, here, tmp_path):
    blind = here.settings.model_copy(update={"database_admin_url": here.settings.database_url})
    with pytest.raises(Misconfigured, match="does not see every seller"):
        await asyncio.to_thread(make, blind, here.keyring, tmp_path / "none", passphrase="x")
    assert not (tmp_path / "none").exists()
    assert list(tmp_path.glob("*.part")) == []


async def test_nothing_of_it_can_be_read_without_the_key(house, here, alice, tmp_path):
    await here.make(file := tmp_path / "all.everystall")
    data = file.read_bytes()
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    for secret in (
        b"alice@example.com",
        b"Linen",
        here.keyring.key_bytes()[0],
        PASSPHRASE.encode(),
        b"\x89PNG\r\n",
    ):
        assert secret not in data
    with file.open("rb") as opened:
        head = read_head(opened)
    assert set(head) == {"made", "version", "locks"}
    assert [lock["by"] for lock in head["locks"]] == ["ring", "passphrase"]
    key = find_key(file, here.keyring, None)[1]
    with file.open("rb") as opened:
        names = [name for name, _ in archive.members(opened, key)]
    assert names[:2] == ["about.json", "keyring.json"]
    assert names[-1] == "contents.json"
    with file.open("rb") as opened, pytest.raises(BackupRefused):
        Opening(opened, bytes(32)).finish()


async def test_every_table_of_ours_is_in_it(house, here, tmp_path):
    await here.make(file := tmp_path / "all.everystall")
    with file.open("rb") as opened:
        about = archive.check(opened, find_key(file, here.keyring, None)[1])
    assert set(about["tables"]) == set(here.everything())


@pytest.mark.longer
async def test_a_photo_that_the_store_lost_is_told_and_stops_nothing(house, here, there, tmp_path):
    lost = next(iter(here.photos()))
    (here.settings.everystall_home / "photos/originals" / lost).unlink()
    contents = await asyncio.to_thread(
        make, here.settings, here.keyring, file := tmp_path / "all.everystall", passphrase=PASSPHRASE
    )
    assert contents["missing"] == [lost]
    restored, _ = await there.put_back(file, PASSPHRASE)
    assert (restored.missing, there.photos()) == (1, here.photos())


async def test_one_is_made_a_night_and_old_ones_go(here, house):
    shelf = Shelf(here.settings.model_copy(update={"backup_days": 30}))
    now = datetime.now(UTC)
    assert shelf.is_night_due(now.astimezone())
    await closed(house)
    path = await asyncio.to_thread(make_on_shelf, here.settings, here.keyring, "night")
    assert [one.name for one in shelf.find()] == [path.name]
    assert not shelf.is_night_due(now.astimezone())
    assert shelf.is_night_due(now.astimezone() + timedelta(days=1))
    assert not Shelf(here.settings.model_copy(update={"backup_days": 0})).is_night_due(now.astimezone())
    now, data = datetime.now(UTC), path.read_bytes()
    head = json.loads(data[len(MAGIC) + 4 : data.index(b"]}") + 2])
    for age in range(1, 40):
        made = now - timedelta(days=age)
        old = json.dumps({**head, "made": made.isoformat()}).encode()
        (shelf.folder / f"{made:%Y%m%dT%H%M%SZ}-night.everystall").write_bytes(
            MAGIC + len(old).to_bytes(4, "big") + old
        )
    shelf.thin()
    ages = [(now - one.made).days for one in shelf.find()]
    assert ages[:7] == [0, 1, 2, 3, 4, 5, 6]
    assert 3 <= len(ages[7:]) <= 5
    assert max(ages) < 30
    for name in ("../keys/ring.json", "state.json", path.name + "x"):
        with pytest.raises(NotFound):
            shelf.path(name)


async def test_nothing_that_would_be_posted_stays_due_and_what_is_in_doubt_stays_open(
    here, house, alice, site
):
    """Each case of docs/backup.md that is a state of a row."""
    cases = {
        # name: (publication, attempt) → (wanted, put, state) afterwards, or None: the row is gone
        "waits": ("'live','nothing','waiting',false,NULL", None, None),
        "is filled in": ("'live','nothing','filling',false,NULL", "NULL,NULL", None),
        "asked about": ("'live','nothing','waiting',false,NULL", None, None),
        "tried before": ("'live','nothing','waiting',false,NULL", "'unresolved',now()",
                         ("ended", "nothing", "cancelled")),
        "to be posted again": ("'live','ended','waiting',false,NULL", "'ended',now()",
                               ("ended", "ended", "ended")),
        "sold, again": ("'live','sold','waiting',false,NULL", "'sold',now()", ("ended", "sold", "sold")),
        "relist is down": ("'live','ended','waiting',false,'down'", "'ended',now()",
                           ("ended", "ended", "ended")),
        "relist is asked": ("'live','live','ending',false,'asked'", "'live',now()",
                            ("live", "live", "live")),
        "clicked": ("'live','nothing','armed',true,NULL", "NULL,now()", ("live", "nothing", "armed")),
        "live": ("'live','live','live',false,NULL", "'live',now()", ("live", "live", "live")),
        "going down": ("'ended','live','ending',false,NULL", "'live',now()", ("ended", "live", "ending")),
        "ended": ("'ended','ended','ended',false,NULL", "'ended',now()", ("ended", "ended", "ended")),
    }  # fmt: skip
    for name, (publication, attempt, _) in cases.items():
        id = await alice.listing(photos=0, title=name)
        here.rows(
            "INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision, "
            "put_revision, wanted, put, state, looking, relist) SELECT l.user_id, l.id, c.id, c.marketplace, "
            f"1, 1, {publication} FROM listings l JOIN connections c USING (user_id) WHERE l.id = %(id)s",
            id=id,
        )
        if attempt is not None:
            here.rows(
                "INSERT INTO attempts (user_id, publication_id, connection_id, listing_revision, draft, "
                "fields_hash, fence, outcome, armed_at) SELECT user_id, id, connection_id, 1, '{}', 'h', 1, "
                f"{attempt} FROM publications WHERE listing_id = %(id)s",
                id=id,
            )
    here.rows("UPDATE connections SET blind_since = now() - interval '9 days', blind_ended_at = now()")
    here.rows("INSERT INTO blind_ends (user_id, publication_id, connection_id) SELECT user_id, id, "
              "connection_id FROM publications LIMIT 1")  # fmt: skip
    here.rows("UPDATE attempts SET next_look_at = now() WHERE outcome = 'unresolved'")
    here.rows("INSERT INTO recovery_codes (user_id, code_hash) SELECT id, 'x' FROM users LIMIT 1")
    engine = create_engine(db.driver_url(here.settings.database_admin_url.get_secret_value()))
    with engine.begin() as connection:
        aftermath.settle(connection, datetime.now(UTC), 5, [])
    engine.dispose()
    found = here.rows(
        "SELECT l.title, p.wanted, p.put, p.state, p.relist, p.unsettled, p.looking FROM listings l "
        "LEFT JOIN publications p ON p.listing_id = l.id"
    )
    now = {row["title"]: row for row in found}
    for name, (_, _, after) in cases.items():
        row = now[name]
        assert (row["wanted"], row["put"], row["state"]) == (after or (None, None, None)), name
        assert row["relist"] is None
    due = {row["title"] for row in found if row["unsettled"] and row["wanted"] == "live"}
    assert due == {"clicked"}  # and that is only looked at
    assert here.rows("SELECT * FROM blind_ends") == []
    assert here.rows("SELECT * FROM recovery_codes") == []  # which were used since, nobody can say
    assert here.rows("SELECT * FROM attempts WHERE next_look_at IS NOT NULL") == []
    (since,) = here.rows("SELECT max(now() - blind_since) < interval '1 hour' AS new FROM connections")
    assert since["new"]
    assert here.rows("SELECT * FROM publications WHERE needs_you IS NOT NULL") == []
