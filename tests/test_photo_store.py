"""Whose photo store it is: in a folder and over S3, of a database that knows one and of one that does not."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import obstore
import psycopg
import pytest

from everystall import doctor
from everystall.content.photo_store import know_store
from everystall.content.photos import MARK, Photos
from everystall.db import migrate
from everystall.errors import Misconfigured, StorageAway
from everystall.models import ListingPhoto
from everystall.settings import Settings
from everystall.web.app import create_app
from everystall.worker.run import run
from tests.conftest import OPEN_ONES
from tests.s3_server import BUCKET, S3
from tests.test_photos_s3 import picture


@pytest.fixture(scope="module")
def s3():
    server = S3()
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["folder", "s3"])
async def open_store(request, tmp_path):
    """`await open_store("one")`: the store of that name, as one more process opens it."""
    opened, run_ = [], uuid4().hex

    def open_store(name):
        given = {"photos_url": str(tmp_path / name)}
        if request.param == "s3":
            server = request.getfixturevalue("s3")
            given = {key.lower(): value for key, value in server.settings().items()}
            given["photos_url"] = f"s3://{BUCKET}/{run_}/{name}"
        opened.append(Photos(Settings(_env_file=None, everystall_home=tmp_path / "home", **given)))
        return opened[-1]

    yield open_store
    for photos in opened:
        await photos.close()


@pytest.fixture
def add_photo(db, make_listing):
    """A seller's listing gets a photo, which one store has."""

    async def add_photo(seller, photos, color):
        kept = await photos.put(picture(color))
        listing = await make_listing(seller)
        about = {"width": kept.width, "height": kept.height, "byte_size": kept.byte_size}
        async with db.as_user(seller) as session:
            session.add(
                ListingPhoto(
                    user_id=seller, listing_id=listing.id, position=0, sha256=kept.sha256,
                    content_type=kept.content_type, **about,
                )
            )  # fmt: skip

    return add_photo


@pytest.mark.longer
async def test_a_photo_that_is_being_named_is_not_deleted_as_nobodys(
    db, open_store, alice, bob, make_listing
):
    """Alice's listing names it in a transaction that is open; another process finds that nobody has it."""
    photos, other = open_store("one"), open_store("one")
    kept, gone = await photos.put(picture("red")), await photos.put(picture("blue"))
    listing, looked = await make_listing(alice), asyncio.Event()
    await make_listing(bob)

    async def forget():
        async with asyncio.timeout(20):
            await looked.wait()
            await other.forget_unnamed(db, [kept.sha256, gone.sha256])

    deleting = asyncio.create_task(forget())
    found = await photos.look_for(db, [kept.sha256, gone.sha256])
    async with db.as_user(alice) as session:
        session.add(
            ListingPhoto(
                user_id=alice, listing_id=listing.id, position=0, sha256=kept.sha256, width=kept.width,
                height=kept.height, byte_size=kept.byte_size, content_type=kept.content_type,
            )
        )  # fmt: skip
        await session.flush()
        await photos.hold(session, found)
        looked.set()
        await asyncio.wait([deleting], timeout=1)
    await deleting
    assert await photos.get(kept.sha256) == picture("red")
    with pytest.raises(StorageAway):
        await photos.look_for(db, [kept.sha256, gone.sha256])
    async with db.as_user(bob) as session:  # whoever found both before
        with pytest.raises(StorageAway):
            await photos.hold(session, found)


class Hangs(Photos):
    """The store answers nobody who wants to delete before `goes_on`."""

    async def forget(self, sha256):
        self.hangs.set()
        await self.goes_on.wait()
        await Photos.forget(self, sha256)


async def test_while_the_store_hangs_a_photo_that_is_being_deleted_is_not_named_and_nobody_waits(
    db, admin, open_store, alice, bob
):
    photos, other = open_store("one"), open_store("one")
    other.__class__, other.hangs, other.goes_on = Hangs, asyncio.Event(), asyncio.Event()
    mine, gone = await photos.put(picture("red")), await photos.put(picture("blue"))
    async with asyncio.timeout(60):
        before = await photos.look_for(db, [gone.sha256])
        deleting = asyncio.create_task(other.forget_unnamed(db, [gone.sha256]))
        await other.hangs.wait()
        assert await (await admin.execute(OPEN_ONES)).fetchall() == []
        async with db.as_user(bob) as session:
            await photos.hold(session, await photos.look_for(db, [mine.sha256]))
        meanwhile = await photos.look_for(db, [gone.sha256])  # it is there still
        for found in (before, meanwhile):
            async with db.as_user(alice) as session:
                with pytest.raises(StorageAway):
                    await photos.hold(session, found)
        finding = asyncio.create_task(photos.find_lost(db, [mine.sha256, gone.sha256]))
        await asyncio.sleep(0.5)
        assert not finding.done()
        other.goes_on.set()
        await deleting
        assert await finding == [gone.sha256]
        async with db.as_user(alice) as session:
            with pytest.raises(StorageAway):
                await photos.hold(session, meanwhile)
        await photos.put(picture("blue"))
        async with db.as_user(alice) as session:
            await photos.hold(session, await photos.look_for(db, [gone.sha256]))


async def test_who_broke_off_while_deleting_is_waited_for_five_minutes(db, admin, open_store, alice, bob):
    photos, other = open_store("one"), open_store("one")
    other.__class__, other.hangs, other.goes_on = Hangs, asyncio.Event(), asyncio.Event()
    kept = await photos.put(picture("red"))
    deleting = asyncio.create_task(other.forget_unnamed(db, [kept.sha256]))
    async with asyncio.timeout(60):
        await other.hangs.wait()
    deleting.cancel()
    found = await photos.look_for(db, [kept.sha256])
    async with db.as_user(alice) as session:
        with pytest.raises(StorageAway):
            await photos.hold(session, found)
    await photos.forget_unnamed(db, [kept.sha256])  # nobody deletes what another one is at
    assert await photos.get(kept.sha256) == picture("red")
    await admin.execute("UPDATE everystall.forgotten_photos SET begun_at = begun_at - interval '5 minutes'")
    async with db.as_user(bob) as session:
        await photos.hold(session, found)
        long_ago = replace(found, at=found.at - timedelta(minutes=31))
        with pytest.raises(StorageAway):  # nobody knows any more what went since
            await photos.hold(session, long_ago)
    await photos.forget_unnamed(db, [kept.sha256])
    assert await photos.find_lost(db, [kept.sha256]) == [kept.sha256]


class IsAway(Photos):
    """The store answers nobody who wants to delete."""

    async def forget(self, sha256):
        self.asked.append(sha256)
        raise StorageAway("It does not answer.")


async def test_a_store_that_is_away_is_not_asked_for_one_photo_after_the_other(
    db, open_store, bob, add_photo
):
    photos, other = open_store("one"), open_store("one")
    other.__class__, other.asked = IsAway, []
    nobodys = [(await photos.put(picture(color))).sha256 for color in ("red", "blue", "white")]
    await add_photo(bob, photos, "green")
    bobs = (await photos.put(picture("green"))).sha256
    await other.forget_unnamed(db, [*nobodys, bobs])
    (asked,) = other.asked
    assert asked in nobodys
    left = [sha256 for sha256 in nobodys if sha256 != asked]
    await photos.forget_unnamed(db, [*nobodys, bobs])  # a minute later
    assert await photos.find_lost(db, [*left, bobs]) == left


class Frozen(Photos):
    """It stands still in the moment before it deletes."""

    async def forget(self, sha256):
        await self.meanwhile()
        await Photos.forget(self, sha256)


async def test_who_was_frozen_while_deleting_puts_back_what_was_named_meanwhile(
    db, admin, open_store, alice, bob, add_photo
):
    photos, other = open_store("one"), open_store("one")
    other.__class__ = Frozen
    named, nobodys = await photos.put(picture("red")), await photos.put(picture("blue"))
    began = "UPDATE everystall.forgotten_photos SET begun_at = begun_at - interval '6 minutes'"

    async def meanwhile():
        await admin.execute(began)
        async with db.as_user(bob) as session:
            await photos.hold(session, await photos.look_for(db, [named.sha256]))
        await add_photo(alice, photos, "red")

    other.meanwhile = meanwhile
    await other.forget_unnamed(db, [named.sha256])
    assert await photos.get(named.sha256) == picture("red")
    await photos.forget_unnamed(db, [nobodys.sha256])
    assert await photos.find_lost(db, [named.sha256, nobodys.sha256]) == [nobodys.sha256]


async def said_by(photos):
    found = await obstore.get_async(photos._store, MARK)
    return json.loads(bytes(await found.bytes_async()))


async def known_to(admin):
    rows = await (await admin.execute("SELECT id FROM everystall.photo_store")).fetchall()
    return [row["id"] for row in rows]


async def test_a_new_database_and_a_new_store_agree_and_others_are_refused(db, admin, open_store):
    first = await know_store(db, open_store("one"))
    assert await known_to(admin) == [first]
    assert await said_by(open_store("one")) == {"id": str(first)}
    assert await know_store(db, open_store("one")) == first  # another host
    other = open_store("two")  # before any photo, too
    with pytest.raises(Misconfigured, match="has none of this database's photos") as refused:
        await know_store(db, other)
    assert other.where in refused.value.message
    assert "PHOTOS_URL" in refused.value.action
    assert "everystall migrate" in refused.value.action
    assert await other.find_id() is None  # nothing was claimed


async def test_a_store_that_says_another_id_is_refused_until_its_operator_says_otherwise(
    db, admin, open_store
):
    known = await know_store(db, open_store("one"))
    other = open_store("two")
    await other.keep_id(uuid4())
    with pytest.raises(Misconfigured, match="another database's") as refused:
        await know_store(db, other)
    assert await known_to(admin) == [known]
    # what it says to put there is what helps
    told = f'{{"id": "{known}"}}'
    assert told in refused.value.action
    await obstore.put_async(other._store, MARK, f"\ufeff{told}\r\n".encode())  # as an editor saves it
    assert await know_store(db, open_store("two")) == known


async def test_a_database_that_knows_none_takes_what_the_store_says(db, admin, open_store):
    said = uuid4()
    await open_store("one").keep_id(said)
    assert await know_store(db, open_store("one")) == said
    assert await known_to(admin) == [said]


async def test_an_older_installation_takes_the_store_that_has_its_photos_and_no_empty_one(
    db, admin, open_store, alice, bob, add_photo
):
    right, wrong = open_store("right"), open_store("wrong")
    await add_photo(alice, right, "red")
    await add_photo(bob, right, "blue")
    await wrong.put(picture("green"))  # somebody else's
    with pytest.raises(Misconfigured, match="has none of this database's photos") as refused:
        await know_store(db, wrong)
    assert "everystall migrate" not in refused.value.action
    assert await known_to(admin) == []  # who came first wrongly decided nothing
    known = await know_store(db, right)
    assert await known_to(admin) == [known]
    with pytest.raises(Misconfigured, match="has none of this database's photos"):
        await know_store(db, wrong)


@pytest.mark.parametrize("left", [None, b"", b"{}", b'{"id": 7}', b"[]"])
async def test_a_store_with_the_photos_that_says_nothing_is_told_whose_it_is(
    db, open_store, alice, bob, add_photo, left
):
    photos = open_store("one")
    known = await know_store(db, photos)
    await add_photo(alice, photos, "red")
    await add_photo(bob, photos, "blue")
    await obstore.delete_async(photos._store, MARK)  # copied without it, say
    if left is not None:
        await obstore.put_async(photos._store, MARK, left)
    assert await know_store(db, open_store("one")) == known
    assert await said_by(photos) == {"id": str(known)}


async def test_two_that_come_at_once_agree(db, admin, open_store):
    both = [open_store("one"), open_store("one")]
    looked = asyncio.Barrier(2)

    class Slow(Photos):
        """Both have looked before either asks the database; and the file takes its time."""

        first = True

        async def find_id(self):
            found = await Photos.find_id(self)
            if self.first:
                self.first = False
                await looked.wait()
            return found

        async def keep_id(self, id):
            await asyncio.sleep(0.3)
            await Photos.keep_id(self, id)

    for photos in both:
        photos.__class__ = Slow
    known = await asyncio.gather(*(know_store(db, photos) for photos in both))
    assert known[0] == known[1]
    assert await known_to(admin) == [known[0]]
    assert await said_by(open_store("one")) == {"id": str(known[0])}


async def test_a_store_that_cannot_be_written_is_not_known_either(db, admin, open_store):
    photos = open_store("one")

    class Full(Photos):
        async def keep_id(self, id):
            raise Misconfigured("cannot be written", action="")

    photos.__class__ = Full
    with pytest.raises(Misconfigured, match="cannot be written"):
        await know_store(db, photos)
    assert await known_to(admin) == []


async def test_while_there_is_no_photo_migrating_forgets_the_first_store(
    db, admin, database_urls, tmp_path, alice, bob, add_photo
):
    def store(name):
        return Photos(Settings(_env_file=None, everystall_home=tmp_path, photos_url=str(tmp_path / name)))

    @asynccontextmanager
    async def nobody_connected():
        await db.engine.dispose()
        yield

    one, two = store("one"), store("two")
    first = await know_store(db, one)
    await asyncio.to_thread(migrate, database_urls.admin, database_urls.login)
    assert await known_to(admin) == [first]  # somebody is connected
    async with nobody_connected():
        await asyncio.to_thread(migrate, database_urls.admin, database_urls.login)
    assert await known_to(admin) == []
    second = await know_store(db, two)
    assert second != first
    for seller in (alice, bob):
        await add_photo(seller, two, "red")
    async with nobody_connected():
        await asyncio.to_thread(migrate, database_urls.admin, database_urls.login)
    assert await known_to(admin) == [second]
    for photos in (one, two):
        await photos.close()


@pytest.fixture
async def elsewhere(db, database_urls, tmp_path):
    """The settings of a host whose PHOTOS_URL is forgotten."""
    photos = Photos(Settings(_env_file=None, everystall_home=tmp_path, photos_url=str(tmp_path / "shared")))
    await know_store(db, photos)
    await photos.close()
    return Settings(_env_file=None, everystall_home=tmp_path / "host", database_url=database_urls.login)


async def test_a_web_with_other_photos_does_not_start(elsewhere):
    app = create_app(elsewhere)
    with pytest.raises(Misconfigured, match="has none of this database's photos"):
        async with app.router.lifespan_context(app):
            pass


async def test_a_worker_with_other_photos_does_not_start(elsewhere):
    with pytest.raises(Misconfigured, match="has none of this database's photos"):
        async with asyncio.timeout(60):  # else it would work until it is told to stop
            await run(elsewhere)


async def test_the_doctor_tells_whose_photos_they_are(elsewhere, admin, tmp_path):
    with pytest.raises(Misconfigured, match="has none of this database's photos"):
        await asyncio.to_thread(doctor._photo_store, elsewhere, print)
    right = elsewhere.model_copy(update={"photos_url": str(tmp_path / "shared")})
    (known,) = await known_to(admin)
    assert str(known) in await asyncio.to_thread(doctor._photo_store, right, print)


async def test_the_login_reads_no_more_of_it_than_it_is_told(database_urls):
    with psycopg.connect(database_urls.login, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT id FROM everystall.photo_store")
        known = connection.execute("SELECT known FROM everystall.know_photo_store(gen_random_uuid())")
        assert isinstance(known.fetchone()[0], UUID)
