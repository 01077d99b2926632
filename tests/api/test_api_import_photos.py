"""Photos that a CSV names by their addresses: fetched once by a worker, in the file's order, and never from
inside."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from everystall.content.addresses import Fetcher
from everystall.content.photos import Photos
from everystall.inventory import imports
from everystall.notify.webhooks import NEARBY
from tests.api.conftest import Seller, Site, photo
from tests.api.test_api_imports import codes, counts, listings, send
from tests.bringing import bring_in
from tests.conftest import OPEN_ONES
from tests.receiver import Received, Receiver
from tests.test_incoming import EBAY, SHOPIFY, VENDOO, file


def shown(received: Received) -> bytes | int:
    """`/3.png` is the third; `/text.png` is no photo; all else is not there."""
    name = received.path.removeprefix("/").removesuffix(".png")
    if name == "text":
        body = b"no photo"
    elif name.isdecimal():
        body = photo(int(name))
    else:
        return 404
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def fetched(site: Site, seller: Seller, data: bytes, fetcher: Fetcher) -> dict[str, Any]:
    """The import, after a worker has been at it and at its photos."""
    answer = await send(seller, data)
    assert answer.status_code == 202, answer.text
    await bring_in(site.database, asyncio.Event(), site.app.state.parts.photos, fetcher)
    told = (await seller.get(f"/api/imports/{answer.json()['importId']}")).json()
    assert (told["status"], told["waiting"], told["photosToFetch"]) == ("done", 0, 0)
    return dict(told)


async def pictures(seller: Seller, listing: dict[str, Any]) -> list[bytes]:
    paths = [f"/api/listings/{listing['id']}/photos/{one['photoId']}" for one in listing["photos"]]
    return [(await seller.get(path)).content for path in paths]


def kept(site: Site) -> int:
    folder = site.settings.everystall_home / "photos" / "originals"
    return len(list(folder.iterdir())) if folder.exists() else 0


def a_file(format: str, urls: Sequence[str]) -> bytes:
    if format == "shopify":  # a row for each, in another order than they have
        own = {"Handle": "mug", "Title": "Mug", "Variant Price": "5"}
        rows = [
            {"Handle": "mug", "Image Src": url, "Image Position": str(n)} for n, url in enumerate(urls, 1)
        ]
        return file(SHOPIFY, own | rows[-1], *reversed(rows[:-1]))
    if format == "ebay":
        cells = {"Action": "Add", "Title": "Mug", "StartPrice": "5", "PicURL": "|".join(urls)}
        return file(EBAY, cells)
    if format == "vendoo":
        return file(VENDOO, {"Title": "Mug", "Price": "5", "Images": ", ".join(urls)})
    return file(["listing_id", "title", "photos"], {"title": "Mug", "photos": "\n".join(urls)})


@pytest.mark.parametrize("format", ["shopify", "ebay", "vendoo", "everystall"])
async def test_photos_come_in_the_files_order_once_and_what_is_missing_is_told(
    site: Site, alice: Seller, bob: Seller, format: str
):
    async with Receiver(answer=shown) as there:
        names = ["6", "2", "gone", "5", "text", "1", "2"]
        urls = list(dict.fromkeys(there.url(f"/{name}.png") for name in names))
        data, fetcher = a_file(format, urls), Fetcher(NEARBY)
        said = (await send(alice, data, preview=True)).json()
        assert (counts(said), said["photosToFetch"], said["photosNotTaken"]) == ({"created": 1}, 6, 0)
        begun = (await send(alice, data)).json()
        assert (begun["photosToFetch"], there.got) == (6, [])
        told = await fetched(site, alice, data, fetcher)
        (mug,) = await listings(alice)
        assert await pictures(alice, mug) == [photo(n) for n in (6, 2, 5, 1)]
        assert (counts(told), told["photosNotTaken"]) == ({"created": 1}, 2)
        (row,) = told["rows"]
        assert row["photosNotTaken"] == [there.url("/gone.png"), there.url("/text.png")]
        gone, text = [one for one in row["findings"] if one["code"] == "photo_not_fetched"]
        assert there.url("/gone.png") in gone["message"]
        assert "It answered 404." in gone["message"]
        assert there.url("/text.png") in text["message"]
        asked = len(there.got)
        again = await fetched(site, alice, data, fetcher)
        assert (counts(again), again["photosNotTaken"], len(there.got)) == ({"skipped": 1}, 0, asked)
        assert await listings(alice) == [mug]
    assert asked == 6
    assert (await listings(bob), kept(site)) == ([], 4)


async def test_an_address_inside_is_not_asked_and_the_listing_comes_without(site: Site, alice: Seller):
    async with Receiver(answer=shown) as there:
        told = await fetched(site, alice, a_file("vendoo", [there.url("/1.png")]), Fetcher())
    assert there.connections == 0
    assert (counts(told), told["photosNotTaken"]) == ({"created": 1}, 1)
    assert "Only public addresses are asked" in told["rows"][0]["findings"][0]["message"]
    assert [one["photos"] for one in await listings(alice)] == [[]]
    assert kept(site) == 0


async def test_what_breaks_off_is_fetched_again_and_nothing_is_left_over(
    site: Site, alice: Seller, bob: Seller
):
    """The worker dies at the sixth; another one goes on when its claim has ended."""

    class Killed(BaseException):
        pass

    class Dies(Fetcher):
        asked = 0

        async def fetch(self, url: str) -> bytes:
            self.asked += 1
            if self.asked == 6:
                raise Killed
            return await super().fetch(url)

    store = site.app.state.parts.photos
    async with Receiver(answer=shown) as there:
        data = a_file("ebay", [there.url(f"/{n}.png") for n in range(7)])
        begun = (await send(alice, data)).json()
        with pytest.raises(Killed):
            await bring_in(site.database, asyncio.Event(), store, Dies(NEARBY))
        path = f"/api/imports/{begun['importId']}"
        told = (await alice.get(path)).json()
        assert (told["status"], counts(told), told["photosToFetch"]) == ("running", {"created": 1}, 3)
        # what waits in the row stays, though no listing names it
        await store.forget_unnamed(site.database, [path.name for path in _originals(site)])
        assert kept(site) == 4
        assert (await bob.get(path)).status_code == 404
        await bring_in(site.database, asyncio.Event(), store, Fetcher(NEARBY))
        assert (await alice.get(path)).json()["status"] == "running"  # the dead one's claim holds
        await site.rows("UPDATE imports SET claimed_until = now()")
        await bring_in(site.database, asyncio.Event(), store, Fetcher(NEARBY))
        assert (await alice.get(path)).json()["status"] == "done"
    (mug,) = await listings(alice)
    assert await pictures(alice, mug) == [photo(n) for n in range(7)]
    assert kept(site) == 7


def _originals(site: Site) -> list[Any]:
    return list((site.settings.everystall_home / "photos" / "originals").iterdir())


async def test_a_photo_that_goes_as_nobodys_before_it_is_named_is_fetched_again(
    site: Site, alice: Seller, bob: Seller
):
    """Another worker had stored the same for somebody else, and found that nobody has it."""
    store, first = site.app.state.parts.photos, hashlib.sha256(photo(1)).hexdigest()

    class Meanwhile(Fetcher):
        gone = False

        async def fetch(self, url: str) -> bytes:
            if url.endswith("/2.png") and not self.gone:
                while not (site.settings.everystall_home / "photos" / "originals" / first).exists():
                    await asyncio.sleep(0.01)
                await store.forget_unnamed(site.database, [first])
                self.gone = True
            return await super().fetch(url)

    async with Receiver(answer=shown) as there:
        data, fetcher = a_file("vendoo", [there.url("/1.png"), there.url("/2.png")]), Meanwhile(NEARBY)
        begun = (await send(alice, data)).json()
        await bring_in(site.database, asyncio.Event(), store, fetcher)
        told = (await alice.get(f"/api/imports/{begun['importId']}")).json()
        assert (told["status"], told["photosToFetch"], fetcher.gone) == ("running", 2, True)
        assert kept(site) == 0
        await site.rows("UPDATE imports SET claimed_until = now()")
        await bring_in(site.database, asyncio.Event(), store, fetcher)
    (mug,) = await listings(alice)
    assert await pictures(alice, mug) == [photo(1), photo(2)]
    assert await listings(bob) == []


async def test_no_transaction_is_open_while_a_worker_asks_the_store(
    site: Site, alice: Seller, bob: Seller, monkeypatch: pytest.MonkeyPatch
):
    """It hangs when it is asked whether they are there."""
    asked, goes_on, has_any = asyncio.Event(), asyncio.Event(), Photos.has_any

    async def hangs(self: Photos, hashes: Any) -> bool:
        asked.set()
        await goes_on.wait()
        return await has_any(self, hashes)

    monkeypatch.setattr(Photos, "has_any", hangs)
    store = site.app.state.parts.photos
    async with Receiver(answer=shown) as there, asyncio.timeout(60):
        await send(alice, a_file("vendoo", [there.url("/1.png"), there.url("/2.png")]))
        bringing = asyncio.create_task(bring_in(site.database, asyncio.Event(), store, Fetcher(NEARBY)))
        await asked.wait()
        assert await site.rows(OPEN_ONES) == []
        goes_on.set()
        await bringing
    (mug,) = await listings(alice)
    assert await pictures(alice, mug) == [photo(1), photo(2)]
    assert await listings(bob) == []


async def test_what_has_photos_or_is_left_alone_gets_none(site: Site, alice: Seller):
    """One that the seller gave a photo meanwhile, one that was deleted, and one whose SKU is another's."""
    await alice.listing(photos=0, sku="M-1")
    async with Receiver(answer=shown) as there:
        rows = [{"Title": title, "Images": there.url("/1.png")} for title in ("Hers", "Gone")]
        taken = {"Title": "Taken", "Sku": "M-1", "Images": there.url("/1.png")}
        begun = (await send(alice, file(VENDOO, *rows, taken))).json()
        async with site.database.as_app() as session:
            claim = (await session.execute(text("SELECT * FROM everystall.take_import()"))).one()
        await imports.bring_in_batch(site.database, claim.id, claim.user_id, claim.claimed_until)
        gone, hers, mine = await listings(alice)
        files = [("photos", ("own.png", photo(9), "image/png"))]
        assert (await alice.client.post(f"/api/listings/{hers['id']}/photos", files=files)).is_success
        assert (await alice.client.delete(f"/api/listings/{gone['id']}")).is_success
        await bring_in(site.database, asyncio.Event(), site.app.state.parts.photos, Fetcher(NEARBY))
        told = (await alice.get(f"/api/imports/{begun['importId']}")).json()
        assert (told["status"], told["photosToFetch"], there.got) == ("done", 0, [])
    assert codes(told) == {4: ["sku_taken"]}
    found = {one["title"]: len(one["photos"]) for one in await listings(alice)}
    assert found == {"Hers": 1, mine["title"]: 0}


async def test_a_listing_that_came_without_gets_them_when_the_file_comes_again(site: Site, alice: Seller):
    async with Receiver(answer=shown) as there:
        data = a_file("everystall", [there.url("/3.png")]).replace(b"\r\n,", f"\r\n{uuid4()},".encode(), 1)
        await fetched(site, alice, data, Fetcher())
        told = await fetched(site, alice, data, Fetcher(NEARBY))
    assert (counts(told), told["rows"]) == ({"updated": 1}, [])
    (mug,) = await listings(alice)
    assert await pictures(alice, mug) == [photo(3)]


class Unforeseen(Fetcher):
    """Of one address nobody foresaw what happens."""

    async def fetch(self, url: str) -> bytes:
        if "bad" in url:
            raise RuntimeError(url)
        return photo(2)


async def test_what_nobody_foresaw_of_one_address_leaves_the_others(site: Site, alice: Seller, bob: Seller):
    data = a_file("everystall", ["http://a.test/bad.png", "http://a.test/2.png"])
    told = await fetched(site, alice, data, Unforeseen(NEARBY))
    (mug,) = await listings(alice)
    assert await pictures(alice, mug) == [photo(2)]
    assert told["rows"][0]["photosNotTaken"] == ["http://a.test/bad.png"]
    assert await listings(bob) == []
