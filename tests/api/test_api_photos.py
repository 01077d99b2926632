"""A listing's photos: taken as they are, in order, 40 at most, all or none."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from uuid import UUID

import pytest
from PIL import Image

from everystall.content.photos import Photos
from everystall.errors import StorageFull
from everystall.inventory import pricing
from everystall.inventory.listings import facts_of, find_listing
from tests.api.conftest import live_listing, photo
from tests.bringing import bring_in
from tests.conftest import OPEN_ONES


def _files(*numbers: int):
    return [("photos", (f"{n}.png", photo(n), "image/png")) for n in numbers]


async def test_several_photos_come_back_in_order_and_byte_by_byte(alice):
    listing = await alice.listing(photos=0)
    added = await alice.client.post(f"/api/listings/{listing}/photos", files=_files(1, 2, 3))
    assert added.status_code == 201
    told = added.json()["photos"]
    assert [one["position"] for one in told] == [0, 1, 2]
    assert (told[0]["width"], told[0]["height"], told[0]["contentType"]) == (400, 500, "image/png")
    for number, one in enumerate(told, 1):
        got = await alice.get(one["url"])
        assert (got.content, got.headers["content-type"]) == (photo(number), "image/png")
        assert got.headers["x-content-type-options"] == "nosniff"
    assert added.json()["revision"] == 2
    assert (await alice.get(f"/api/listings/{listing}")).json()["photos"] == told


async def test_a_thumbnail_is_small_upright_made_once_and_kept_by_the_browser(alice, bob):
    listing = await alice.listing(photos=0)
    added = await alice.client.post(
        f"/api/listings/{listing}/photos", files=[("p", ("1.png", photo(1, (1600, 2000)), "image/png"))]
    )
    url = added.json()["photos"][0]["url"] + "?size=thumbnail"
    got = await alice.get(url)
    with Image.open(io.BytesIO(got.content)) as image:
        assert (image.format, image.size) == ("JPEG", (154, 192))
    assert got.headers["content-type"] == "image/jpeg"
    assert "immutable" in got.headers["cache-control"]
    assert len(got.content) < 24_000
    assert (await alice.get(url)).content == got.content
    assert (await bob.get(url)).status_code == 404
    assert (await alice.get(url.replace("thumbnail", "huge"))).status_code == 422


async def test_a_photo_is_looked_at_large_turned_and_in_a_form_that_browsers_show(alice, bob):
    listing = await alice.listing(photos=0)
    added = await alice.client.post(
        f"/api/listings/{listing}/photos", files=[("p", ("1.png", photo(1, (2600, 1300)), "image/png"))]
    )
    (one,) = added.json()["photos"]
    await alice.client.patch(f"{one['url']}", json={"turn": 90})
    got = await alice.get(one["url"] + "?size=large&turn=90")
    with Image.open(io.BytesIO(got.content)) as image:
        assert (image.format, image.size) == ("JPEG", (1024, 2048))
    assert (await bob.get(one["url"] + "?size=large")).status_code == 404


async def test_one_photo_may_be_the_body_itself(alice):
    listing = await alice.listing(photos=1)
    added = await alice.client.post(
        f"/api/listings/{listing}/photos", content=photo(9), headers={"content-type": "image/png"}
    )
    assert (added.status_code, len(added.json()["photos"])) == (201, 2)


async def test_the_same_photo_twice_stays_one(alice):
    listing = await alice.listing(photos=0)
    await alice.client.post(f"/api/listings/{listing}/photos", files=_files(1))
    again = await alice.client.post(f"/api/listings/{listing}/photos", files=_files(1, 2, 2))
    assert again.status_code == 201
    assert [one["position"] for one in again.json()["photos"]] == [0, 1]


async def test_forty_photos_and_no_more(alice):
    listing = await alice.listing(photos=0)
    small = [("p", (f"{n}.png", photo(n, (200 + n, 150)), "image/png")) for n in range(40)]
    added = await alice.client.post(f"/api/listings/{listing}/photos", files=small)
    assert (added.status_code, len(added.json()["photos"])) == (201, 40)
    more = await alice.client.post(f"/api/listings/{listing}/photos", files=_files(99))
    assert (more.status_code, more.json()["error"], more.json()["limit"]) == (422, "photo_refused", 40)
    assert len((await alice.get(f"/api/listings/{listing}")).json()["photos"]) == 40


@pytest.mark.parametrize(
    "bad", [b"", b"not a photo", b"<svg xmlns='http://www.w3.org/2000/svg'/>", photo(1)[:200]]
)
async def test_a_bad_photo_is_named_and_none_of_its_company_is_added(alice, bad):
    listing = await alice.listing(photos=1)
    files = [*_files(5), ("photos", ("broken.png", bad, "image/png"))]
    answer = await alice.client.post(f"/api/listings/{listing}/photos", files=files)
    assert (answer.status_code, answer.json()["error"]) == (422, "photo_refused"), answer.text
    assert "broken.png" in answer.json()["message"]
    told = (await alice.get(f"/api/listings/{listing}")).json()
    assert (len(told["photos"]), told["revision"]) == (1, 2)


@pytest.mark.parametrize(
    "sent",
    [
        {"content": b"", "headers": {"content-type": "image/jpeg"}},
        {"data": {"photos": "text, not a file"}},
        {"content": b"--x\r\nbroken", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        {"json": {"photo": "base64"}},
    ],
)
async def test_a_request_without_a_photo_is_told_so(alice, sent):
    listing = await alice.listing(photos=0)
    answer = await alice.client.post(f"/api/listings/{listing}/photos", **sent)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["error"] in ("bad_request", "photo_refused")


async def test_a_full_disk_is_told_and_loses_nothing(site, alice):
    listing = await alice.listing(photos=1)
    parts = site.app.state.parts

    class Full:
        async def put(self, data: bytes) -> None:
            raise StorageFull

    site.app.state.parts = replace(parts, photos=Full())
    answer = await alice.client.post(f"/api/listings/{listing}/photos", files=_files(5))
    site.app.state.parts = parts
    assert (answer.status_code, answer.json()["error"]) == (507, "storage_full")
    assert len((await alice.get(f"/api/listings/{listing}")).json()["photos"]) == 1


async def test_a_new_order_is_kept_and_has_to_be_whole(alice):
    listing = await alice.listing(photos=3)
    ids = [one["photoId"] for one in (await alice.get(f"/api/listings/{listing}")).json()["photos"]]
    turned = [ids[2], ids[0], ids[1]]
    answer = await alice.client.put(f"/api/listings/{listing}/photos", json={"photoIds": turned})
    assert answer.status_code == 200
    assert [one["photoId"] for one in answer.json()["photos"]] == turned
    assert [one["position"] for one in answer.json()["photos"]] == [0, 1, 2]
    for wrong in ([], ids[:2], [*ids, ids[0]], ["nonsense", *ids[1:]]):
        refused = await alice.client.put(f"/api/listings/{listing}/photos", json={"photoIds": wrong})
        assert refused.status_code == 400
    told = (await alice.get(f"/api/listings/{listing}")).json()["photos"]
    assert [one["photoId"] for one in told] == turned


async def test_a_deleted_photo_closes_the_gap(alice):
    listing = await alice.listing(photos=3)
    ids = [one["photoId"] for one in (await alice.get(f"/api/listings/{listing}")).json()["photos"]]
    answer = await alice.client.delete(f"/api/listings/{listing}/photos/{ids[0]}")
    assert [(one["photoId"], one["position"]) for one in answer.json()["photos"]] == [
        (ids[1], 0),
        (ids[2], 1),
    ]
    assert (await alice.get(f"/api/listings/{listing}/photos/{ids[0]}")).status_code == 404


async def test_a_photo_is_turned_wherever_it_is_seen_or_sent_and_its_original_is_kept(site, alice, bob):
    made, _ = await live_listing(site, alice, "mercari", photos=1)
    before = (await alice.get(f"/api/listings/{made}")).json()
    (photo,) = before["photos"]
    original = (await alice.get(photo["url"])).content
    small = (await alice.get(photo["url"] + "?size=thumbnail")).content
    assert photo["turn"] == 0
    for turn, size in ((90, "height"), (180, "width"), (0, "width"), (270, "height")):
        answer = await alice.client.patch(photo["url"], json={"turn": turn})
        assert answer.status_code == 200, answer.text
        (now,) = answer.json()["photos"]
        assert (now["turn"], now["width"], now["sha256"]) == (turn, photo[size], photo["sha256"])
    assert (await alice.get(photo["url"])).content == original
    shown = await alice.get(photo["url"] + "?size=thumbnail")
    assert Image.open(io.BytesIO(shown.content)).size == Image.open(io.BytesIO(small)).size[::-1]
    after = (await alice.get(f"/api/listings/{made}")).json()
    assert after["revision"] == before["revision"] + 4
    (row,) = await site.rows("SELECT put_revision, wanted_revision FROM publications")
    assert row["put_revision"] < row["wanted_revision"], "somebody has to go and send it anew"
    async with site.database.as_user(alice.user_id) as session:
        facts = await facts_of(session, await find_listing(session, UUID(made)))
    draft, _, _ = pricing.compose("mercari", facts, None, {})
    assert draft.photos == (f"{photo['sha256']}@270",)
    again = await alice.client.patch(photo["url"], json={"turn": 270})
    assert again.json()["revision"] == after["revision"]
    for bad in ({"turn": 45}, {"turn": "90"}, {}, {"turn": -90}):
        assert (await alice.client.patch(photo["url"], json=bad)).status_code == 422
    assert (await bob.client.patch(photo["url"], json={"turn": 90})).status_code == 404


async def test_a_turned_photo_leaves_and_comes_back_turned(site, alice, bob):
    made = await alice.listing(photos=1)
    (photo,) = (await alice.get(f"/api/listings/{made}")).json()["photos"]
    await alice.client.patch(photo["url"], json={"turn": 90})
    archive = (await alice.get("/api/export")).content
    files = {"file": ("mine.zip", archive, "application/zip")}
    assert (await bob.client.post("/api/imports/archive", files=files)).status_code == 202
    await bring_in(site.database, asyncio.Event())
    (brought,) = (await bob.get("/api/listings")).json()["listings"]
    assert [(one["sha256"], one["turn"]) for one in brought["photos"]] == [(photo["sha256"], 90)]


async def test_a_photo_that_goes_as_nobodys_before_the_listing_names_it_is_sent_again(
    site, alice, bob, monkeypatch
):
    """Somebody else had the same, and was deleted in that moment. Nothing names what is not there."""
    put = Photos.put

    async def put_and_lose(self, data):
        stored = await put(self, data)
        await self.forget_unnamed(site.database, [stored.sha256])
        return stored

    listing = await alice.listing(photos=0)
    monkeypatch.setattr(Photos, "put", put_and_lose)
    lost = await alice.client.post(f"/api/listings/{listing}/photos", files=_files(1, 2))
    assert (lost.status_code, lost.json()["error"]) == (503, "storage_away")
    assert "send it again" in lost.json()["action"]
    assert (await alice.get(f"/api/listings/{listing}")).json()["photos"] == []
    monkeypatch.undo()
    added = await alice.client.post(f"/api/listings/{listing}/photos", files=_files(1, 2))
    assert [(await alice.get(one["url"])).content for one in added.json()["photos"]] == [photo(1), photo(2)]
    assert (await bob.get(added.json()["photos"][0]["url"])).status_code == 404


async def test_no_transaction_is_open_while_the_store_is_asked(site, alice, bob, monkeypatch):
    """It hangs when it is asked whether they are there."""
    asked, goes_on, has_any = asyncio.Event(), asyncio.Event(), Photos.has_any

    async def hangs(self, hashes):
        asked.set()
        await goes_on.wait()
        return await has_any(self, hashes)

    listing, his = await alice.listing(photos=0), await bob.listing(photos=0)
    monkeypatch.setattr(Photos, "has_any", hangs)
    async with asyncio.timeout(60):
        adding = asyncio.create_task(alice.client.post(f"/api/listings/{listing}/photos", files=_files(1, 2)))
        await asked.wait()
        assert await site.rows(OPEN_ONES) == []
        goes_on.set()
        assert (await adding).status_code == 201
    assert len((await alice.get(f"/api/listings/{listing}")).json()["photos"]) == 2
    assert (await bob.get(f"/api/listings/{his}")).json()["photos"] == []
