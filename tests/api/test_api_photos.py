"""A listing's photos: taken as they are, in order, 40 at most, all or none."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from PIL import Image

from everystall.errors import StorageFull
from tests.api.conftest import photo


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
