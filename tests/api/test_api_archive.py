"""All of an inventory as one zip, and back: the same listings with the same photos, in any account."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from everystall import demo
from everystall.content.photos import Photos
from everystall.inventory import imports
from everystall.inventory.archive import pack
from everystall.inventory.incoming import archives, files
from everystall.web.limits import IMPORT, Windows
from tests.api.conftest import PASSWORD, Person, Seller, Site, live_listing, photo
from tests.api.test_api_imports import LISTINGS, _compared, counts, listings
from tests.bringing import bring_in

#: As a camera wrote them.
TAKEN = sorted((Path(demo.__file__).parent / "photos").glob("*.jpg"))[:3]
FORM = "multipart/form-data; boundary=b"
CSV = b"listing_id,title,photos\r\n"
HUGE = f"photos/{'a' * 64}.jpg"
#: A record, and one of many cells that are none of them too long.
LONG = b",Mug,\r\n" + (b"," + b"x" * 1_000_000) * 25 + b"\r\n"


async def exported(seller: Seller) -> bytes:
    answer = await seller.get("/api/export")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    return answer.content


async def send(seller: Seller, data: bytes, **query: Any) -> Any:
    files = {"file": ("mine.zip", data, "application/zip")}
    return await seller.client.post("/api/imports/archive", params=query, files=files)


async def brought(site: Site, seller: Seller, data: bytes) -> dict[str, Any]:
    answer = await send(seller, data)
    assert answer.status_code == 202, answer.text
    await bring_in(site.database, asyncio.Event())
    return dict((await seller.get(f"/api/imports/{answer.json()['importId']}")).json())


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        assert made.testzip() is None
        return {name: made.read(name) for name in made.namelist()}


def zipped(files: dict[str, bytes], **more: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **more) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return out.getvalue()


async def originals(seller: Seller, listing: dict[str, Any]) -> list[bytes]:
    id = listing["id"]
    return [
        (await seller.get(f"/api/listings/{id}/photos/{one['photoId']}")).content for one in listing["photos"]
    ]


async def test_it_holds_the_csv_the_json_and_the_originals(site: Site, alice: Seller, bob: Seller):
    listing, profiles = await live_listing(site, alice, "mercari")
    await bob.listing(title="Nobody else's", photos=1)
    found = members(await exported(alice))
    sha256 = hashlib.sha256(photo(0)).hexdigest()
    (name,) = [name for name in found if name.startswith("photos/")]
    assert name.startswith(f"photos/{sha256}.")
    assert hashlib.sha256(found[name]).hexdigest() == sha256
    assert found["listings.csv"] == (await alice.get("/api/export/listings.csv")).content
    told = json.loads(found["inventory.json"])
    (one,) = told["listings"]
    assert (one["id"], one["priceCents"], one["photos"][0]["sha256"]) == (listing, 2500, sha256)
    (publication,) = one["publications"]
    assert (publication["browserProfileId"], publication["put"]) == (profiles["mercari"], "live")
    assert "Nobody else's" not in found["inventory.json"].decode()


@given(written=st.lists(LISTINGS, min_size=1, max_size=3), pictures=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.longer
async def test_what_leaves_comes_back_with_its_photos(
    site: Site, alice: Seller, bob: Seller, written: list[dict[str, Any]], pictures: st.DataObject
):
    site.app.state.parts.limits._memory = Windows()  # each example has a minute of its own
    for seller in (alice, bob):
        await site.rows("DELETE FROM listings WHERE user_id = :id", id=seller.user_id)
    for body in written:
        made = await alice.post("/api/listings", body)
        numbers = pictures.draw(st.lists(st.integers(0, 5), max_size=4, unique=True))
        files = [("photos", (f"{i}.png", photo(i), "image/png")) for i in numbers]
        if files:
            path = f"/api/listings/{made.json()['id']}/photos"
            assert (await alice.client.post(path, files=files)).status_code == 201
    left = await exported(alice)
    told = await brought(site, bob, left)
    assert (counts(told), told["photosNotTaken"]) == ({"created": len(written)}, 0)
    hers, his = await listings(alice), await listings(bob)
    assert [_compared(one) for one in his] == [_compared(one) for one in hers]
    for mine, yours in zip(his, hers, strict=True):
        assert await originals(bob, mine) == await originals(alice, yours)
    again = members(await exported(bob))
    assert {name for name in again if name.startswith("photos/")} == {
        name for name in members(left) if name.startswith("photos/")
    }
    for seller in (alice, bob):  # where it came from, and where it went
        before = await listings(seller)
        assert counts(await brought(site, seller, left)) == {"skipped": len(written)}
        assert await listings(seller) == before


async def test_real_photos_come_back_byte_for_byte_into_another_sellers_empty_account(
    site: Site, alice: Seller, bob: Seller
):
    listing = await alice.listing(photos=0)
    files = [("photos", (path.name, path.read_bytes(), "image/jpeg")) for path in TAKEN]
    assert (await alice.client.post(f"/api/listings/{listing}/photos", files=files)).status_code == 201
    left = await exported(alice)
    preview = await send(bob, left, preview=True)
    assert (preview.status_code, preview.json()["created"], preview.json()["photosNotTaken"]) == (200, 1, 0)
    await brought(site, bob, left)
    (his,) = await listings(bob)
    assert his["id"] != listing
    assert await originals(bob, his) == [path.read_bytes() for path in TAKEN]
    assert len(await listings(alice)) == 1


async def test_photos_come_to_a_listing_that_has_none_and_change_no_others(
    site: Site, alice: Seller, bob: Seller
):
    await alice.listing(photos=2)
    left = await exported(alice)
    csv_alone = members(left)["listings.csv"]
    await bob.client.post("/api/imports", files={"file": ("a.csv", csv_alone, "text/csv")})
    await bring_in(site.database, asyncio.Event())
    (his,) = await listings(bob)
    assert his["photos"] == []
    assert counts(await brought(site, bob, left)) == {"updated": 1}
    (his,) = await listings(bob)
    assert len(his["photos"]) == 2
    await bob.client.delete(f"/api/listings/{his['id']}/photos/{his['photos'][0]['photoId']}")
    assert counts(await brought(site, bob, left)) == {"skipped": 1}
    assert len((await listings(bob))[0]["photos"]) == 1


async def kept_by(site: Site, seller: Seller) -> dict[str, Any]:
    """Beside listings."""
    templates = (await seller.get("/api/templates")).json()["templates"]
    views = "SELECT name, query FROM saved_views WHERE user_id = :id ORDER BY created_at, id"
    return {
        "views": [(row["name"], row["query"]) for row in await site.rows(views, id=seller.user_id)],
        "templates": [
            {name: value for name, value in one.items() if name not in ("templateId", "createdAt")}
            for one in templates
        ],
        "rules": (await seller.get("/api/notifications/rules")).json(),
    }


RULES = {
    "email": ["sold", "needs_you"], "push": None, "service": [], "emailPace": "daily", "pushPace": "at_once",
    "servicePace": "hourly", "digestHour": 7, "quiet": {"begins": "22:30", "ends": "07:00"},
    "urgentPasses": False, "timeZone": "America/Chicago",
}  # fmt: skip


async def test_views_templates_and_what_is_told_come_back_and_what_is_here_stays(site: Site):
    ann, ben, cat = [await site.person(name) for name in ("ann", "ben", "cat")]
    listing = await ann.listing(photos=0, overrides={"ebay": {"shippingPolicy": "Ground"}})
    for seller, name, query in (
        (ann, "Zebras", "q=zebra+%26+co"), (ann, "Ants", "q=%F0%9F%90%9C"), (cat, "Zebras", "q=mine"),
    ):  # fmt: skip
        form = {"do": "save", "name": name, "query": query}
        assert (await seller.client.post("/inventory/views", data=form)).status_code == 303
    for name in ("Light parcel", "Another"):
        body = {"name": name, "footer": "Bye.\nThanks!"}
        assert (await ann.post(f"/api/listings/{listing}/templates", body)).status_code == 201
    for seller, rules in ((ann, RULES), (cat, {**RULES, "digestHour": 20})):
        answer = await seller.client.put("/api/notifications/rules", json=rules)
        assert answer.status_code == 200, answer.text
    await site.rows(
        "INSERT INTO channels (user_id, kind, label, key, dek_version, sealed) "
        "VALUES (:id, 'service', 'canary', 'canary', 1, 'canary')", id=ann.user_id,
    )  # fmt: skip
    hers, cats = await kept_by(site, ann), await kept_by(site, cat)
    assert [name for name, _ in hers["views"]] == ["Zebras", "Ants"]
    left = await exported(ann)
    assert b"canary" not in members(left)["inventory.json"]

    for _ in range(2):  # and nothing twice
        await brought(site, ben, left)
        assert await kept_by(site, ben) == hers
    await brought(site, cat, left)
    assert await kept_by(site, cat) == cats | {
        "views": [("Zebras", "q=mine"), hers["views"][1]], "templates": hers["templates"],
    }  # fmt: skip
    assert await kept_by(site, ann) == hers
    preview = await send(await site.person("dan"), left, preview=True)
    assert preview.status_code == 200
    assert len(await site.rows("SELECT 1 FROM saved_views")) == 6


async def rules_of(seller: Seller) -> dict[str, Any]:
    """Of prices, relisting and sales, without when they were set."""
    prices = (await seller.get("/api/prices/rules")).json()["rules"]
    drop = (await seller.get("/api/prices/drops")).json()["schedule"]
    return {
        "prices": {
            one["marketplace"]: {name: value for name, value in one.items() if name != "updatedAt"}
            for one in prices if one["set"]
        },
        "drop": drop and {name: value for name, value in drop.items() if name != "beganAt"},
        "relisting": (await seller.get("/api/relisting/rules")).json()["rules"],
        "sales": (await seller.get("/api/sales/rules")).json(),
    }  # fmt: skip


async def put(seller: Seller, path: str, body: Any, method: str = "PUT") -> None:
    answer = await seller.client.request(method, path, json=body)
    assert answer.status_code == 200, answer.text


def dollars(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "USD"}


async def test_rules_of_prices_relisting_and_sales_come_back_and_what_is_here_stays(
    site: Site, alice: Seller, bob: Seller
):
    account = await alice.connect("poshmark")
    await put(alice, "/api/prices/rules/ebay", {
        "markUpPercent": 12.5, "rounding": "99", "minimumNet": dollars(900), "postage": dollars(0),
        "taxPercent": 8.25,
    })  # fmt: skip
    await put(alice, "/api/prices/rules/poshmark", {"markUpCents": 300})
    await put(alice, "/api/prices/drops", {"percent": 5, "everyDays": 14, "floor": dollars(700)})
    await put(alice, "/api/relisting/rules/mercari", {"afterDays": 70, "perDay": 4, "betweenDays": 90})
    sales = {"putBack": "always", "blind": "end_elsewhere", "blindMinutes": 45, "lastUnitOn": account}
    await put(alice, "/api/sales/rules", sales, "PATCH")
    mug, _ = await alice.listing(photos=0, sku="M-1"), await alice.listing(photos=0, sku="C-1")
    own = {"cents": 150, "everyDays": 7, "floor": dollars(500)}
    await put(alice, f"/api/listings/{mug}/price-drops", own)
    hers = await rules_of(alice)
    assert (len(hers["prices"]), hers["sales"]) == (2, sales)
    left = await exported(alice)

    cat = await site.seller("cat")
    await put(cat, "/api/prices/rules/ebay", {"markUpCents": 100})
    await put(cat, "/api/prices/drops", {"percent": 50, "everyDays": 1, "floor": dollars(100)})
    await put(cat, "/api/sales/rules", {"putBack": "never"}, "PATCH")
    cats = await rules_of(cat)
    for _ in range(2):  # and nothing twice
        for seller in (bob, cat, alice):
            await brought(site, seller, left)
        assert await rules_of(alice) == hers
        # the account is none of his
        assert await rules_of(bob) == {**hers, "sales": {**sales, "lastUnitOn": None}}
        assert await rules_of(cat) == {
            **hers, "prices": {**hers["prices"], **cats["prices"]}, "drop": cats["drop"],
            "sales": cats["sales"],
        }  # fmt: skip
    found = {}
    for one in await listings(bob):
        drops = (await bob.get(f"/api/listings/{one['id']}/price-drops")).json()
        found[one["sku"]] = drops["schedule"] and {**drops["schedule"], "beganAt": "", "percent": 0}
    assert found == {"C-1": None, "M-1": {**own, "beganAt": "", "percent": 0}}


async def test_rules_that_an_archive_says_are_not_believed(site: Site, alice: Seller, bob: Seller):
    drop = {"listingId": None, "percent": 500, "cents": 0, "everyDays": 3, "floorCents": 100}
    said: dict[str, Any] = {
        "priceRules": [
            {"marketplace": "nowhere", "rule": {}}, {"marketplace": ["ebay"], "rule": {}}, {"rule": 1},
            {"marketplace": "ebay", "rule": {"percent": 10**9}},
            {"marketplace": "ebay", "rule": {"percent": 100, "no": "word"}},
            {"marketplace": "poshmark", "rule": {"rounding": "99"}},
        ],
        "priceDrops": [
            "no drop", {}, {**drop, "percent": "5"}, {**drop, "percent": 10**400}, {**drop, "cents": 5},
            {**drop, "everyDays": 0}, {**drop, "floorCents": 0}, {**drop, "floorCents": -1},
        ],
        "relistRules": [
            {"marketplace": "mercari", "afterDays": 1, "betweenDays": 1, "perDay": 1},
            {"marketplace": "ebay", "afterDays": "x"}, {"marketplace": {}, "afterDays": 90, "perDay": 1},
        ],
        "saleRules": [{"putBack": "sometimes", "lastUnitOn": ["x"]}],
    }  # fmt: skip
    ours = json.dumps(said)[:-1].encode() + b', "listings": ['
    nothing = await rules_of(bob)
    data = zipped({"listings.csv": CSV + b",Mug,\r\n", "inventory.json": ours})
    assert counts(await brought(site, alice, data)) == {"created": 1}
    assert await rules_of(alice) == await rules_of(bob) == nothing


async def test_what_an_archive_says_beside_its_listings_is_not_believed(
    site: Site, alice: Seller, bob: Seller
):
    template = {"name": "Good", "facts": {"footer": "Bye.", "overrides": {"ebay": {"title": "no", "x": "y"}}}}
    said: dict[str, Any] = {
        "savedViews": [
            "no view", {}, {"name": "", "query": "q=a"}, {"name": "a\0b", "query": "q=a"},
            {"name": "half", "query": "q=\ud800"}, {"name": "long", "query": "q" * 5000},
            {"name": ["x"], "query": 1},
            *({"name": f"No {number}", "query": "q=<b>&no=word"} for number in range(40)),
        ],
        "templates": [
            template, template, {"name": "no facts"}, {"name": "x", "facts": {"overrides": {"nowhere": {}}}},
            {"name": "y", "facts": {"package": {"weight_oz": "heavy"}}}, {"name": "\n", "facts": {}},
        ],
        "noticeRules": [{"email": ["no subject"]}], "users": [{"role": "owner"}],
    }  # fmt: skip
    csv = {"listings.csv": CSV + b",Mug,\r\n"}
    ours = json.dumps(said)[:-1].encode() + b', "listings": ['
    long = zipped(csv | {"inventory.json": ours + bytes(60_000_000)}, compression=zipfile.ZIP_DEFLATED)
    assert counts(await brought(site, bob, long)) == {"created": 1}
    his = await kept_by(site, bob)
    assert len(his["views"]) == 30
    assert his["views"][0] == ("No 0", "q=%3Cb%3E&no=word")
    (one,) = his["templates"]
    assert (one["name"], one["footer"], one["overrides"]) == ("Good", "Bye.", {"ebay": {"x": "y"}})
    nothing = await kept_by(site, alice)
    assert (nothing["views"], nothing["templates"], nothing["rules"]) == ([], [], his["rules"])
    end = b', "listings": ['
    for other in (b"", b"[]", b'{"a": 1}', b"no json" + end, b"[" * 100_000 + end,
                  b'{"savedViews": 1, "templates": {}, "noticeRules": [[]]' + end):  # fmt: skip
        await brought(site, alice, zipped(csv | {"inventory.json": other}))
    assert await kept_by(site, alice) == nothing


@pytest.mark.extended
async def test_a_large_inventory_comes_back(site: Site, alice: Seller, bob: Seller):
    """More rows, and more bytes of them, than a file by itself may have."""
    csv = io.BytesIO()
    csv.write(b"listing_id,title,description\r\n")
    for number in range(files.MOST_ROWS + 1):
        csv.write(f"{UUID(int=number)},Mug {number},{'A mug. ' * 150}\r\n".encode())
    assert csv.tell() > 20 * 1024 * 1024
    answer = await send(alice, zipped({"listings.csv": csv.getvalue()}, compression=zipfile.ZIP_DEFLATED))
    assert answer.status_code == 202, answer.text
    path = f"/api/imports/{answer.json()['importId']}"
    assert (answer.json()["waiting"], answer.json()["total"]) == (20_001, 20_001)
    async with site.database.as_app() as session:
        claim = (await session.execute(text("SELECT * FROM everystall.take_import()"))).one()
    await imports.bring_in_batch(site.database, claim.id, claim.user_id, claim.claimed_until)
    told = (await alice.get(path)).json()
    assert (told["waiting"], told["created"]) == (20_001 - imports.BATCH, imports.BATCH)
    assert (await bob.get(path)).status_code == 404
    assert await listings(bob) == []


async def test_what_the_archive_says_is_not_believed(site: Site, alice: Seller, bob: Seller):
    """Another seller's photo by its hash alone, bytes under another's hash, and what is no photo."""
    await alice.listing(photos=1)
    hers = hashlib.sha256(photo(0)).hexdigest()
    text = b"no photo"
    none = hashlib.sha256(text).hexdigest()
    row = f',Mine,"{hers}\n{none}"\r\n'.encode()
    told = await brought(site, bob, zipped({"listings.csv": CSV + row, f"photos/{none}.png": text}))
    (one,) = told["rows"]
    assert one["photosNotTaken"] == [hers, none]
    forged = zipped({"listings.csv": CSV + row.replace(b"Mine", b"Other"), f"photos/{hers}.png": photo(2)})
    assert (await brought(site, bob, forged))["photosNotTaken"] == 2
    assert [one["photos"] for one in await listings(bob)] == [[], []]


async def test_originals_that_wait_stay_when_somebody_elses_account_goes(site: Site, bob: Seller):
    sam = await site.person("sam")
    await sam.listing(photos=2)
    sent = await send(bob, await exported(sam))
    assert sent.status_code == 202, sent.text
    await _delete(sam)
    await bring_in(site.database, asyncio.Event())
    (his,) = await listings(bob)
    assert await originals(bob, his) == [photo(0), photo(1)]


async def test_an_original_that_goes_as_nobodys_before_its_row_is_written_is_kept_anew(
    site: Site, alice: Seller, bob: Seller, monkeypatch: pytest.MonkeyPatch
):
    await alice.listing(photos=2)
    data, put, lost = await exported(alice), Photos.put, False
    await site.rows("DELETE FROM listings")
    shutil.rmtree(site.settings.everystall_home / "photos" / "originals")

    async def put_and_lose(self: Photos, data: bytes) -> Any:
        nonlocal lost
        stored = await put(self, data)
        if not lost:
            lost = True
            await self.forget_unnamed(site.database, [stored.sha256])
        return stored

    monkeypatch.setattr(Photos, "put", put_and_lose)
    await brought(site, alice, data)
    assert lost
    (mine,) = await listings(alice)
    assert await originals(alice, mine) == [photo(0), photo(1)]
    assert await listings(bob) == []


async def test_originals_that_came_to_nothing_go_with_their_sellers_account(site: Site, bob: Seller):
    """Of a row that failed; another seller's row that failed does not keep it."""
    sha256 = hashlib.sha256(photo(0)).hexdigest()
    row = f"no id,Mug,{sha256}\r\n".encode()
    data = zipped({"listings.csv": CSV + row, f"photos/{sha256}.png": photo(0)})
    sam = await site.person("sam")
    for seller in (sam, bob):
        assert counts(await brought(site, seller, data)) == {"failed": 1}
    kept = site.settings.everystall_home / "photos" / "originals"
    assert [path.name for path in kept.iterdir()] == [sha256]
    await _delete(sam)
    assert list(kept.iterdir()) == []


async def test_an_archive_that_is_not_taken_leaves_no_photos(
    site: Site, alice: Seller, bob: Seller, monkeypatch: pytest.MonkeyPatch
):
    """Another import runs; or the account is deleted while its photos are kept. What others have stays."""
    kept = site.settings.everystall_home / "photos" / "originals"
    await bob.listing(photos=1)
    names = [hashlib.sha256(photo(number)).hexdigest() for number in (0, 1)]
    row = f',Mug,"{names[0]}\n{names[1]}"\r\n'.encode()
    data = zipped({"listings.csv": CSV + row} | {
        f"photos/{name}.png": photo(number) for number, name in enumerate(names)
    })  # fmt: skip
    assert (await alice.client.post("/api/imports", files={"file": ("a.csv", CSV + b",Cup,\r\n")})).is_success
    refused = await send(alice, data)
    assert (refused.status_code, refused.json()["error"]) == (409, "import_running")
    assert [path.name for path in kept.iterdir()] == names[:1]
    await bring_in(site.database, asyncio.Event())

    sam = await site.person("sam")
    put = Photos.put

    async def slowly(self: Photos, data: bytes) -> Any:
        found = await put(self, data)
        if data == photo(1):
            await _delete(sam)
        return found

    monkeypatch.setattr(Photos, "put", slowly)
    assert not (await send(sam, data)).is_success
    assert [path.name for path in kept.iterdir()] == names[:1]


async def _delete(person: Person) -> None:
    body = {"confirm": person.email, "password": PASSWORD}
    answer = await person.client.request("DELETE", "/api/account", json=body)
    assert answer.status_code == 200, answer.text


async def test_an_account_sends_one_at_a_time_and_another_is_refused_before_it_is_read(
    alice: Seller, bob: Seller
):
    data = zipped({"listings.csv": CSV + b",Mug,\r\n"})
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'
        begun.set()
        await go_on.wait()
        yield data + b"\r\n--b--\r\n"

    path, form = "/api/imports/archive?preview=true", {"content-type": FORM}
    first = asyncio.create_task(alice.client.post(path, content=slowly(), headers=form))
    await begun.wait()
    refused = await alice.client.post(path, content=_unread(), headers=form)
    assert (refused.status_code, refused.json()["error"]) == (409, "import_running"), refused.text
    assert (await send(bob, data, preview=True)).status_code == 200
    go_on.set()
    assert (await first).status_code == 200
    assert (await send(alice, data, preview=True)).status_code == 200


async def test_nothing_of_one_is_read_before_it_is_known_to_be_from_our_own_page(site: Site):
    sam = await site.person("sam")
    del sam.client.headers["x-csrf-token"]
    for headers in ({}, {"x-csrf-token": "wrong"}):
        answer = await sam.client.post(
            "/api/imports/archive", content=_unread(), headers={"content-type": FORM, **headers}
        )
        assert (answer.status_code, answer.json()["error"]) == (403, "cross_site"), answer.text


async def test_archives_count_as_imports(site: Site, alice: Seller):
    for _ in range(IMPORT.amount):
        await site.app.state.parts.limits.spend(IMPORT, str(alice.user_id))
    answer = await alice.client.post(
        "/api/imports/archive", content=_unread(), headers={"content-type": FORM}
    )
    assert (answer.status_code, answer.json()["error"]) == (429, "rate_limited"), answer.text
    assert (await alice.get("/api/listings")).status_code == 200


async def _unread() -> AsyncIterator[bytes]:
    raise AssertionError("it was read")
    yield b""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no zip", "no zip"),
        (zipped({"other.csv": CSV}), "no listings.csv"),
        (zipped({"../listings.csv": CSV, "/listings.csv": CSV}), "no listings.csv"),
        (zipped({"listings.csv": CSV, HUGE: bytes(60_000_000)}, compression=zipfile.ZIP_DEFLATED), "unpacks"),
        (zipped({"listings.csv": bytes(60_000_000)}, compression=zipfile.ZIP_DEFLATED), "first line"),
        (zipped({"listings.csv": CSV + b',"' + b"x" * 1_100_000 + b'",\r\n'}), "more than 1,048,576"),
        (zipped({"listings.csv": CSV + LONG}, compression=zipfile.ZIP_DEFLATED), "From line 3 on"),
        (zipped({"listings.csv": CSV + b",Caf\xe9,\r\n"}), "letters"),
        (zipped({"listings.csv": CSV + b",Mug,\r\n"})[:-40], "no zip"),
    ],
    ids=["text", "another name", "paths", "bomb", "no line", "long cell", "long record", "letters", "cut"],
)
async def test_what_is_no_archive_is_refused_and_nothing_is_kept(
    site: Site, alice: Seller, data: bytes, said: str
):
    answer = await send(alice, data)
    assert (answer.status_code, answer.json()["error"]) == (422, "import_refused"), answer.text
    assert said in answer.json()["message"]
    assert await site.rows("SELECT 1 FROM imports") == []


@pytest.mark.parametrize("packed", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bz2", "LZMA"])
@pytest.mark.parametrize("name", ["listings.csv", f"photos/{'a' * 64}.jpg"])
async def test_what_is_packed_so_that_a_read_has_no_bound_is_refused(
    site: Site, alice: Seller, name: str, packed: int
):
    """Of these zipfile unpacks at once all that 4 KB become, and a damaged one raises errors of their own."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for one in ("listings.csv", f"photos/{'a' * 64}.jpg"):
            made.writestr(one, CSV + b",Mug,\r\n", packed if one == name else zipfile.ZIP_DEFLATED)
    answer = await send(alice, out.getvalue())
    assert (answer.status_code, answer.json()["error"]) == (422, "import_refused"), answer.text
    assert "packed" in answer.json()["message"]
    assert await site.rows("SELECT 1 FROM imports") == []


async def test_a_list_of_members_without_end_is_not_read(alice: Seller, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archives, "MOST_NAMES", 100_000)
    many = zipped({f"photos/{number:064x}.jpg": b"" for number in range(1000)})
    answer = await send(alice, many)
    assert (answer.status_code, "too many members" in answer.json()["message"]) == (422, True)


async def test_a_damaged_member_is_refused(alice: Seller):
    data = zipped({"listings.csv": CSV + b",Mug,\r\n"})
    at = data.index(b"Mug")
    answer = await send(alice, data[:at] + b"Bug" + data[at + 3 :])
    assert (answer.status_code, "damaged" in answer.json()["message"]) == (422, True)


async def test_a_photo_that_the_store_lost_is_named_and_the_rest_leaves(site: Site, alice: Seller):
    await alice.listing(photos=2)
    lost = hashlib.sha256(photo(0)).hexdigest()
    await site.app.state.parts.photos.forget(lost)
    found = members(await exported(alice))
    assert found["missing-photos.txt"].decode() == lost
    assert len([name for name in found if name.startswith("photos/")]) == 1


@pytest.mark.longer
async def test_many_photos_are_held_one_at_a_time(site: Site, alice: Seller):
    """10,000 photos of 20 KB: what a piece holds is one of them, and the names grow by some bytes each."""
    listing = await alice.listing(photos=1)
    await site.rows(
        "INSERT INTO listings (id, user_id) SELECT gen_random_uuid(), :user FROM generate_series(1, 250)",
        user=alice.user_id,
    )
    await site.rows(
        """INSERT INTO listing_photos (user_id, listing_id, position, sha256, content_type, width, height,
                                       byte_size)
           SELECT l.user_id, l.id, n, encode(sha256((l.id::text || n)::bytea), 'hex'), 'image/jpeg', 1, 1, 1
           FROM listings l, generate_series(0, 39) n WHERE l.id <> CAST(:id AS uuid)""",
        id=listing,
    )

    class Store:
        read = 0

        async def get(self, sha256: str) -> bytes:
            Store.read += 1
            return bytes(20_000)

    largest = 0
    async for piece in pack(site.database, Store(), alice.user_id):  # type: ignore[arg-type]
        largest = max(largest, len(piece))
    assert Store.read == 10_001
    assert largest < 3_000_000
