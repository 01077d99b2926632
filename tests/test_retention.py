"""What is over is cleaned away on schedule, in batches; what stands on an account, and how it came there,
never is."""

from __future__ import annotations

import hashlib
import json
import os
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from sqlalchemy import text

from everystall import engine
from everystall.content import photos as photo_store
from everystall.content.photos import Photos
from everystall.errors import NotFound
from everystall.inventory.deleted import throw_away
from everystall.inventory.listings import find_listing
from everystall.settings import Settings
from everystall.worker import failures, run
from tests.test_photos_s3 import picture

#: Days ago.
OLD, YOUNG = 400, 3


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(_env_file=None, everystall_home=tmp_path)


@pytest.fixture
async def photos(settings):
    photos = Photos(settings)
    yield photos
    await photos.close()


@pytest.fixture
async def history(admin, alice, make_listing, make_connection):
    """A listing that has been live for longer than a job is kept; of all else an old and a young one."""
    listing, connection = await make_listing(alice), await make_connection(alice)
    ids = {"u": alice, "l": listing.id, "c": connection.id, "old": f"{OLD} days", "young": f"{YOUNG} days"}
    for statement in (
        """INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision, put,
               put_revision, state, created_at, finished_at)
           VALUES (%(u)s, %(l)s, %(c)s, 'poshmark', 1, 'live', 1, 'live', now() - %(old)s::interval,
               now() - %(old)s::interval)""",
        """INSERT INTO attempts (user_id, publication_id, connection_id, listing_revision, draft, fields_hash,
               fence, remote_id, outcome, armed_at, created_at, finished_at)
           SELECT user_id, id, connection_id, 1, '{}', 'x', 1, 'r1', 'live', created_at, created_at,
               created_at FROM publications""",
        """INSERT INTO jobs (id, user_id, listing_id, status, created_at, finished_at)
           SELECT 'job_' || age, %(u)s, %(l)s, 'done', now() - age::interval, now() - age::interval
           FROM unnest(ARRAY[%(old)s, %(young)s]) age""",
        """INSERT INTO jobs (id, user_id, listing_id, created_at)
           VALUES ('job_running', %(u)s, %(l)s, now() - %(old)s::interval)""",
        """INSERT INTO listing_automation_results (user_id, job_id, publication_id, listing_id, connection_id,
               marketplace, browser_profile_id, wanted_revision, state, finished_at)
           SELECT j.user_id, j.id, p.id, p.listing_id, p.connection_id, 'poshmark', 'bp', 1, 'live',
               j.finished_at FROM jobs j, publications p""",
        """INSERT INTO events (user_id, type, data, created_at)
           SELECT %(u)s, 'publication.live', '{}', now() - age::interval
           FROM unnest(ARRAY[%(old)s, %(young)s]) age""",
        """INSERT INTO webhook_deliveries (user_id, event_id, status, created_at)
           SELECT user_id, id, 'delivered', created_at FROM events""",
        """INSERT INTO imports (user_id, file_hash, format, encoding, status, created_at, finished_at)
           SELECT %(u)s, age, 'vendoo', 'utf-8', 'done', now() - age::interval, now() - age::interval
           FROM unnest(ARRAY[%(old)s, %(young)s]) age""",
        """INSERT INTO imports (user_id, file_hash, format, encoding, created_at)
           VALUES (%(u)s, 'running', 'vendoo', 'utf-8', now() - %(old)s::interval)""",
        """INSERT INTO import_rows (user_id, import_id, line, key, facts)
           SELECT user_id, id, 2, 'sku:A-17', '{}' FROM imports""",
        """INSERT INTO listing_sources (user_id, source, key, listing_id, import_id, facts)
           SELECT user_id, 'vendoo', 'sku:A-17', %(l)s, id, '{}' FROM imports ORDER BY created_at LIMIT 1""",
        """INSERT INTO webhook_receipts (id, received_at)
           VALUES ('old', now() - '25 h'::interval), ('new', now())""",
    ):
        await admin.execute(statement, ids)
    return ids


async def _count(admin, table):
    return (await (await admin.execute(f"SELECT count(*) AS n FROM {table}")).fetchone())["n"]


async def test_what_is_over_goes_and_what_stands_stays(db, admin, photos, settings, history):
    await run.clean(db, photos, settings)
    left = await (await admin.execute("SELECT id FROM jobs ORDER BY id")).fetchall()
    assert [row["id"] for row in left] == [f"job_{YOUNG} days", "job_running"]
    for table, number in (("listing_automation_results", 2), ("events", 1), ("webhook_deliveries", 1),
                          ("webhook_receipts", 1), ("imports", 2), ("import_rows", 2),
                          ("listing_sources", 1), ("listings", 1), ("publications", 1), ("attempts", 1),
                          ("connections", 1)):  # fmt: skip
        assert await _count(admin, table) == number, table


async def test_how_long_things_are_kept_is_a_setting_with_a_floor(db, admin, photos, settings, history):
    await run.clean(db, photos, settings.model_copy(update={"event_days": 2, "job_days": 7}))
    assert await _count(admin, "events") == 0
    assert await _count(admin, "jobs") == 2
    # the function itself cannot be talked into less: the policies hold it
    await admin.execute("INSERT INTO events (user_id, type, data) VALUES (%(u)s, 'x', '{}')", history)
    async with db.as_app() as session:
        await session.execute(text("SELECT everystall.clean(0, 0, 500)"))
    assert await _count(admin, "events") == 1
    assert await _count(admin, "jobs") == 2
    for name, days in (("event_days", 1), ("job_days", 6), ("evidence_days", 0)):
        with pytest.raises(ValueError, match="greater than or equal"):
            Settings(_env_file=None, **{name: days})


async def test_much_goes_in_batches_and_the_rest_the_next_time(
    db, admin, alice, photos, settings, monkeypatch
):
    monkeypatch.setattr(run, "CLEAN_ROWS", 10)
    monkeypatch.setattr(run, "CLEAN_BATCHES", 3)
    await admin.execute(
        """INSERT INTO events (user_id, type, data, created_at)
           SELECT %s, 'x', '{}', now() - '40 days'::interval FROM generate_series(1, 35)""",
        [alice],
    )
    await run.clean(db, photos, settings)
    assert await _count(admin, "events") == 5
    await run.clean(db, photos, settings)
    assert await _count(admin, "events") == 0


async def test_wake_ups_that_ended_go_and_those_that_wait_or_run_stay(admin, database_urls):
    await admin.execute(
        """INSERT INTO procrastinate_jobs (queue_name, task_name, status)
           SELECT 'visits', 'visit', s::procrastinate_job_status
           FROM unnest(ARRAY['todo', 'doing', 'succeeded', 'failed', 'cancelled', 'aborted']) s"""
    )
    async with engine.make_app(database_urls.login).open_async() as app:
        await engine.forget_ended(app, 3)
        assert await _count(admin, "procrastinate_jobs") == 3
        await engine.forget_ended(app, 3)
    left = await (await admin.execute("SELECT status FROM procrastinate_jobs")).fetchall()
    assert sorted(row["status"] for row in left) == ["doing", "todo"]
    assert await _count(admin, "procrastinate_events WHERE type <> 'deferred'") == 0


async def test_each_part_of_a_clean_up_is_found_by_an_index(admin):
    """`enable_seqscan = off`: what is left of it then is where an index is missing."""
    row = await (await admin.execute("SELECT prosrc FROM pg_proc WHERE proname = 'clean'")).fetchone()
    body = row["prosrc"].replace("$1", "30").replace("$2", "365").replace("$3", "500")
    async with admin.transaction():
        await admin.execute("SET LOCAL enable_seqscan = off")
        await admin.execute("SET LOCAL ROLE everystall_engine")
        lines = await (await admin.execute(f"EXPLAIN {body}")).fetchall()
    plan = "\n".join(line["QUERY PLAN"] for line in lines)
    for index in ("events_by_age", "jobs_by_end", "webhook_receipts_by_age", "imports_by_end",
                  "deleted_listings_by_age"):  # fmt: skip
        assert index in plan, plan
    assert not re.search(r"Seq Scan on (events|jobs|webhook_receipts|imports|deleted_listings)", plan), plan


async def test_photos_that_came_to_nothing_go_with_their_import(
    db, admin, alice, bob, make_listing, photos, settings, history
):
    """Old imports of two sellers; what a listing has, and what waits in an import, stays."""
    data = {name: name.encode() for name in ("came to nothing", "both", "became a listing", "waits", "young")}
    hashes = {name: hashlib.sha256(bytes).hexdigest() for name, bytes in data.items()}
    for name, bytes in data.items():
        await photos.keep(hashes[name], bytes)

    def kept():
        folder = settings.everystall_home / "photos" / "originals"
        return sorted(name for name, sha256 in hashes.items() if (folder / sha256).exists())

    async def bring(seller, status, age, outcome, *names):
        values = {"u": seller, "status": status, "age": age, "outcome": outcome,
                  "originals": json.dumps([{"sha256": hashes[name]} for name in names])}  # fmt: skip
        await admin.execute(
            """WITH i AS (INSERT INTO imports (user_id, file_hash, format, encoding, status, finished_at)
                   VALUES (%(u)s, 'h', 'everystall', 'utf-8', %(status)s,
                       CASE WHEN %(status)s = 'done' THEN now() - %(age)s::interval END) RETURNING id)
               INSERT INTO import_rows (user_id, import_id, line, key, facts, outcome, originals)
               SELECT %(u)s, i.id, 2, 'x', '{}', %(outcome)s, %(originals)s FROM i""",
            values,
        )

    await admin.execute("DELETE FROM imports")
    await bring(alice, "done", "366 days", "failed", "came to nothing", "became a listing", "waits")
    await bring(bob, "done", "366 days", "skipped", "both")
    await bring(alice, "done", "300 days", "failed", "young", "both")
    await bring(bob, "running", "0 days", None, "waits")
    listing = await make_listing(bob)
    await admin.execute(
        """INSERT INTO listing_photos (user_id, listing_id, position, sha256, content_type, width, height,
               byte_size) VALUES (%s, %s, 0, %s, 'image/png', 1, 1, 1)""",
        [bob, listing.id, hashes["became a listing"]],
    )
    await run.clean(db, photos, settings)
    assert kept() == ["became a listing", "waits", "young"]
    assert await _count(admin, "imports") == 2
    await run.clean(db, photos, settings.model_copy(update={"job_days": 7}))
    assert kept() == ["became a listing", "waits"]
    assert await _count(admin, "imports") == 1


async def test_what_was_deleted_a_month_ago_goes_with_its_photos_but_for_those_that_somebody_has(
    db, admin, alice, bob, make_listing, photos, settings
):
    data = {name: name.encode() for name in ("gone", "bobs", "between", "young")}
    hashes = {name: hashlib.sha256(bytes).hexdigest() for name, bytes in data.items()}
    for name, bytes in data.items():
        await photos.keep(hashes[name], bytes)
    folder = settings.everystall_home / "photos" / "originals"

    def kept():
        return sorted(name for name, sha256 in hashes.items() if (folder / sha256).exists())

    photo = """INSERT INTO listing_photos (user_id, listing_id, position, sha256, content_type, width, height,
                   byte_size) VALUES (%s, %s, %s, %s, 'image/png', 1, 1, 1)"""
    his = await make_listing(bob)
    await admin.execute(photo, [bob, his.id, 0, hashes["bobs"]])
    for age, names in (("31 days 1 minute", ("gone", "bobs")), ("30 days 1 hour", ("between",)),
                       ("1 minute", ("young",))):  # fmt: skip
        listing = await make_listing(alice)
        for place, name in enumerate(names):
            await admin.execute(photo, [alice, listing.id, place, hashes[name]])
        async with db.as_user(alice) as session:
            await throw_away(session, await find_listing(session, listing.id, lock=True))
        await admin.execute(
            "UPDATE deleted_listings SET deleted_at = now() - %s::interval WHERE id = %s", [age, listing.id]
        )
    await photos.forget_unnamed(db, list(hashes.values()))
    assert kept() == ["between", "bobs", "young"]
    await photos.keep(hashes["gone"], data["gone"])
    await run.clean(db, photos, settings)
    assert kept() == ["between", "bobs", "young"]
    assert await _count(admin, "deleted_listings") == 2
    await admin.execute("UPDATE deleted_listings SET deleted_at = deleted_at - '32 days'::interval")
    await run.clean(db, photos, settings)
    assert (kept(), await _count(admin, "deleted_listings")) == (["bobs"], 0)


async def test_pictures_of_failures_go_after_their_days(db, photos, settings):
    folder = settings.everystall_home / "photos" / "evidence"
    now = datetime.now(UTC)
    days = [f"{now - timedelta(days=ago):%Y-%m-%d}" for ago in (0, 29, 31, 400)]
    for day in days:
        for seller in (uuid4(), uuid4()):
            await photos.keep_evidence(seller, f"{day}/{'0' * 16}.png", b"x")
    (folder / "not ours").mkdir()
    await run.clean(db, photos, settings)
    assert sorted(os.listdir(folder)) == sorted([*days[:2], "not ours"])
    await photos.sweep_evidence(1)
    assert sorted(os.listdir(folder)) == sorted([days[0], "not ours"])


async def test_a_picture_that_is_taken_while_its_account_is_deleted_goes_too(
    db, admin, alice, bob, photos, settings
):
    tools, name = SimpleNamespace(db=db, photos=photos), f"{datetime.now(UTC):%Y-%m-%d}/{'0' * 16}.png"
    await admin.execute("DELETE FROM users WHERE id = %s", [alice])
    for seller in (alice, bob):
        visit = SimpleNamespace(tools=tools, lease=SimpleNamespace(user_id=seller))
        await failures._keep_picture(visit, name, b"x")
    assert await photos.evidence(bob, name) == b"x"
    with pytest.raises(NotFound):
        await photos.evidence(alice, name)


async def test_what_an_earlier_version_kept_of_failures_goes_unless_the_photos_are_there(
    db, photos, settings, tmp_path
):
    earlier = settings.everystall_home / "evidence" / "2026-01-01"
    earlier.mkdir(parents=True)
    (earlier / "x.png").write_bytes(b"x")
    kept = await photos.put(picture("red"))
    await run.clean(db, photos, settings)
    assert not earlier.parent.exists()
    assert await photos.get(kept.sha256) == picture("red")
    home, seller = settings.everystall_home, uuid4()
    name = f"{datetime.now(UTC):%Y-%m-%d}/{'0' * 16}.png"
    for folder in (home, home / "evidence", home / "evidence" / "photos"):
        other = Photos(settings.model_copy(update={"photos_url": str(folder)}))
        await other.keep_evidence(seller, name, b"x")
        await run.clean(db, other, settings)
        assert await other.evidence(seller, name) == b"x"
        await other.close()


async def test_nobody_else_on_the_machine_sees_pictures_of_failures(photos, settings):
    folder = settings.everystall_home / "photos" / "evidence"
    folder.mkdir(mode=0o755)  # as it was once made
    name = f"{datetime.now(UTC):%Y-%m-%d}/{'0' * 16}.png"
    for seller in (uuid4(), uuid4()):
        await photos.keep_evidence(seller, name, b"x")
    assert folder.stat().st_mode & 0o777 == 0o700
    files = [one for one in folder.rglob("*") if one.is_file()]
    assert [one.stat().st_mode & 0o777 for one in files] == [0o600, 0o600]


async def test_a_sweep_of_pictures_ends_and_the_rest_goes_the_next_time(photos, settings, monkeypatch):
    monkeypatch.setattr(photo_store, "SWEPT", 3)
    folder = settings.everystall_home / "photos" / "evidence"
    for day in ("2020-01-01", "2020-01-02"):
        (folder / day).mkdir(parents=True)
        for number in range(4):
            (folder / day / f"{number}.png").write_bytes(b"x")
    left = []
    for _ in range(3):
        await photos.sweep_evidence(1)
        left.append(len(list(folder.glob("*/*.png"))))
    assert left == [5, 2, 0]
    assert os.listdir(folder) == []
