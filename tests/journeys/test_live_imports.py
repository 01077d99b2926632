"""What was live before Everystall came is brought in, and sells once like all else. The judge is the
marketplaces' own ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from everystall.errors import MarketplaceBusy
from everystall.inventory import matches
from everystall.marketplaces import get_adapter
from everystall.marketplaces.base import Adapter, Filled
from tests.journeys.conftest import ALL, SHIRT, Seller, Stall

pytestmark = [pytest.mark.journey, pytest.mark.browser]


async def _had_before(
    stall: Stall, seller: Seller, marketplaces: tuple[str, ...] = ALL, **fields: Any
) -> dict[str, str]:
    """marketplace → profile. The listing is live there, and nothing here knows of it."""
    profiles = {name: await _profile(stall, seller, name) for name in marketplaces}
    listing = await stall.listing(seller, **fields)
    job = await stall.post(seller, listing, marketplaces)
    job = await stall.until_done(seller, job["jobId"], *profiles.values(), seconds=60)
    assert job["status"] == "done", job
    await stall.rows("DELETE FROM listings WHERE id = :id RETURNING id", id=listing)
    return profiles


async def _profile(stall: Stall, seller: Seller, marketplace: str) -> str:
    found = await stall.rows(
        "SELECT public_id FROM connections WHERE user_id = :user AND marketplace = :name",
        user=seller.user_id, name=marketplace,
    )  # fmt: skip
    return str(found[0]["public_id"]) if found else await stall.connect(seller, marketplace)


async def _bring_in(stall: Stall, seller: Seller, *profiles: str, seconds: float = 60) -> list[Any]:
    """Asks, and visits until all are done."""
    for profile in profiles:
        answer = await seller.client.post(f"/api/connections/{profile}/import")
        assert answer.status_code == 202, answer.text
    end = time.monotonic() + seconds
    while True:
        await stall.visit(*profiles, lane="reading")
        found = [(await seller.client.get(f"/api/connections/{one}/import")).json() for one in profiles]
        if all(one["status"] != "running" for one in found) or time.monotonic() > end:
            return found
        await asyncio.sleep(0.2)


async def _compare(stall: Stall) -> None:
    await matches.compare_all(stall.tools.db, stall.tools.photos, asyncio.Event())


async def _listings(seller: Seller) -> list[dict[str, Any]]:
    return list((await seller.client.get("/api/listings")).json()["listings"])


async def _stands(stall: Stall, listing: dict[str, Any]) -> str:
    """Where it stands with us, for what did not come out there."""
    found = await stall.rows("SELECT * FROM publications WHERE listing_id = :id", id=listing["id"])
    return "\n".join(f"{name}: {value}" for name, value in found[0].items() if value is not None)


async def _check(stall: Stall, profile: str) -> None:
    await stall.rows(
        "UPDATE connections SET next_check_at = now() WHERE public_id = :id RETURNING id", id=profile
    )
    await stall.visit(profile)


@pytest.mark.longer
async def test_what_is_live_comes_in_with_its_fields_and_whole_photos_once_and_is_ours_from_then_on(
    stall: Stall, alice: Seller, bob: Seller, marketplace: str
):
    (profile,) = (await _had_before(stall, alice, (marketplace,))).values()
    await _had_before(stall, alice, (marketplace,), title="A second shirt", photos=1, sku="A-18")
    await _had_before(stall, bob, (marketplace,), title="None of hers")
    before = stall.sandbox.ledger(marketplace)["entries"]
    (done,) = await _bring_in(stall, alice, profile)
    assert (done["status"], done["total"], done["created"]) == ("done", 2, 2), done
    assert stall.sandbox.ledger(marketplace)["entries"] == before  # nothing is touched there

    found = {one["title"]: one for one in await _listings(alice)}
    assert set(found) == {SHIRT["title"], "A second shirt"}
    assert await _listings(bob) == []
    shirt = found[SHIRT["title"]]
    for name in ("description", "brand", "size", "condition", "price", "quantity"):
        assert shirt[name] == {"quantity": 1, **SHIRT}[name], name
    if marketplace != "mercari":
        assert (shirt["sku"], shirt["colors"]) == (SHIRT["sku"], SHIRT["colors"])
    if marketplace != "poshmark":
        assert (shirt["shipsFromZip"], shirt["package"]["weightOz"]) == ("94110", 12)
        assert shirt["shippingPayer"] == "buyer"
    (item,) = [one for one in stall.ledger(marketplace, "alice") if one["fields"]["title"] == shirt["title"]]
    path = " > ".join(item["fields"]["category"])  # where it may be several of ours, it stays the site's own
    assert shirt["category"] == SHIRT["category"] or shirt["overrides"][marketplace]["category"] == path
    assert [one["sha256"] for one in shirt["photos"]] == [one["sha256"] for one in item["photos"]]
    (publication,) = shirt["publications"]
    assert (publication["state"], publication["remoteId"]) == ("live", item["listing_id"])
    (told,) = await stall.rows("SELECT data FROM events WHERE type = 'import.finished'")
    assert (told["data"]["created"], told["data"]["browserProfileId"]) == (2, profile)

    (again,) = await _bring_in(stall, alice, profile)
    assert (again["total"], again["known"], again["created"]) == (2, 2, 0)
    assert len(await _listings(alice)) == 2

    # as one of ours: an edit changes what was edited and nothing else, and it is taken down when asked
    needed = {} if marketplace != "mercari" else {"package": SHIRT["package"]}
    answer = await alice.client.patch(f"/api/listings/{shirt['id']}", json={"title": "Mended", **needed})
    assert answer.status_code == 200, answer.text
    await stall.visit(profile)
    edits = stall.events(marketplace, "edited")
    assert [set(one["before"]) for one in edits] == [{"title"}], await _stands(stall, shirt)
    await alice.client.post(f"/api/listings/{shirt['id']}/publications/{profile}/end", json={})
    await stall.visit(profile, lane="urgent")
    assert [one["fields"]["title"] for one in stall.live(marketplace) if one["account"] == "alice"] == [
        "A second shirt"
    ], await _stands(stall, shirt)


@pytest.mark.longer
async def test_a_sale_of_one_of_two_that_were_linked_takes_the_others_down(stall: Stall, alice: Seller):
    profiles = await _had_before(stall, alice)
    await _had_before(stall, alice, ("mercari",), title="Another thing altogether", sku=None, photos=1)
    await _bring_in(stall, alice, *profiles.values())
    await _compare(stall)
    (told,) = await stall.rows("SELECT data FROM events WHERE type = 'matching.finished'")
    assert told["data"]["linked"] == 2, await stall.rows("SELECT state, reasons, doubts FROM matches")
    found = {one["title"]: one for one in await _listings(alice)}
    assert {title: len(one["publications"]) for title, one in found.items()} == {
        SHIRT["title"]: 3,
        "Another thing altogether": 1,
    }
    assert len(found[SHIRT["title"]]["photos"]) == 2
    (sold,) = [one for one in stall.ledger("mercari") if one["fields"]["title"] == SHIRT["title"]]
    stall.sandbox.buy("mercari", listing_id=sold["listing_id"])
    await _check(stall, profiles["mercari"])
    await asyncio.gather(*(stall.visit(profiles[name], lane="urgent") for name in ("poshmark", "ebay")))
    states = {
        (one["marketplace"], one["fields"]["title"]): one["state"]
        for name in ALL
        for one in stall.ledger(name)
        if one["fields"]  # a draft that was given up has none
    }
    assert states == {
        ("mercari", SHIRT["title"]): "sold",
        ("poshmark", SHIRT["title"]): "ended",
        ("ebay", SHIRT["title"]): "ended",
        ("mercari", "Another thing altogether"): "live",
    }


@pytest.mark.longer
async def test_an_import_goes_on_where_it_was_and_what_is_sold_meanwhile_is_gone(
    stall: Stall, alice: Seller, monkeypatch: pytest.MonkeyPatch
):
    """A step a visit: whoever dies in between loses no more than the step."""
    (profile,) = (await _had_before(stall, alice, ("mercari",), photos=1)).values()
    await _had_before(stall, alice, ("mercari",), title="Sold meanwhile", photos=1)
    await _had_before(stall, alice, ("mercari",), title="Still for sale", photos=1)
    monkeypatch.setattr("everystall.worker.visit.BUDGET_STEPS", 1)
    await alice.client.post(f"/api/connections/{profile}/import")
    path = f"/api/connections/{profile}/import"
    seen, sold = [], False
    for _ in range(12):
        await stall.visit(profile, lane="reading")
        now = (await alice.client.get(path)).json()
        seen.append((now["total"], now["created"], now["gone"]))
        if now["listed"] and not sold:
            sold = True
            (item,) = [one for one in stall.ledger("mercari") if one["fields"]["title"] == "Sold meanwhile"]
            stall.sandbox.buy("mercari", listing_id=item["listing_id"])
        if now["status"] != "running":
            break
    assert (now["status"], seen[-1]) == ("done", (3, 2, 1)), seen
    assert (3, 0, 0) in seen
    assert (3, 1, 0) in seen or (3, 1, 1) in seen
    assert {one["title"] for one in await _listings(alice)} == {SHIRT["title"], "Still for sale"}


@pytest.mark.longer
async def test_what_sells_while_an_account_is_brought_in_waits_for_one_listing_of_it_at_most(
    stall: Stall, alice: Seller, bob: Seller
):
    """Slow pages; two things are live here and on another account, of which one sells there and one here."""
    (profile,) = (await _had_before(stall, alice, ("mercari",), photos=1)).values()
    for title in ("A second shirt", "A third shirt", "A fourth shirt"):
        await _had_before(stall, alice, ("mercari",), title=title, photos=1)
    await _had_before(stall, bob, ("mercari",), title="None of hers", photos=1)
    poshmark = await _profile(stall, alice, "poshmark")
    for title in ("Sold there", "Sold here"):
        job = await stall.post(alice, await stall.listing(alice, title=title), ("mercari", "poshmark"))
        job = await stall.until_done(alice, job["jobId"], profile, poshmark, seconds=60)
        assert job["status"] == "done", job
    there = {(name, one["fields"]["title"]): one["listing_id"] for name in ALL for one in stall.live(name)}
    shared = {id for (name, title), id in there.items() if name == "mercari" and title.startswith("Sold")}
    live: list[set[str]] = []

    async def read(own: Callable[..., Awaitable[Any]], page: Any, id: str) -> Any:
        if page.raw.url.startswith(stall.sandbox.url("mercari")) and id not in shared:  # the import's
            if not live:
                stall.sandbox.fault("mercari", "latency", seconds=0.5, times=1000)
                stall.sandbox.buy("poshmark", listing_id=there["poshmark", "Sold there"])
                await _check(stall, poshmark)
            if len(live) == 1:
                stall.sandbox.buy("mercari", listing_id=there["mercari", "Sold here"])
                due = "UPDATE connections SET next_check_at = now() WHERE public_id = :id RETURNING 1"
                await stall.rows(due, id=profile)
            if len(live) == 2:
                await stall.visit(poshmark, lane="urgent")
            live.append({one["fields"]["title"] for name in ALL for one in stall.live(name)})
        return await own(page, id)

    _around(stall, "read", read)
    (done,) = await _bring_in(stall, alice, profile)
    assert (done["status"], done["created"], done["known"]) == ("done", 4, 2), done
    both = {"Sold there", "Sold here"}
    assert [titles & both for titles in live[:3]] == [both, {"Sold here"}, set()]
    assert "None of hers" in live[3]


@pytest.mark.longer
async def test_photos_that_do_not_come_hold_nothing_up_for_good_and_are_told(stall: Stall, alice: Seller):
    (profile,) = (await _had_before(stall, alice, ("mercari",), photos=1)).values()
    stall.sandbox.fault("mercari", "down", account="alice", path="/photos/")
    (done,) = await _bring_in(stall, alice, profile)
    assert (done["status"], done["created"]) == ("done", 1), done
    (item,) = done["items"]
    assert [note["message"].split(":")[0] for note in item["notes"] if note["field"] == "photos"] == [
        "Photo 1 did not come over"
    ]
    (listing,) = await _listings(alice)
    assert listing["photos"] == []


class Around:
    """The adapter of a marketplace, with something that happens around one of its verbs."""

    def __init__(self, adapter: Adapter, verb: str, doing: Callable[..., Awaitable[Any]]) -> None:
        self._adapter, self._verb, self._doing = adapter, verb, doing

    def __getattr__(self, name: str) -> Any:
        own = getattr(self._adapter, name)
        return partial(self._doing, own) if name == self._verb else own


def _around(stall: Stall, verb: str, doing: Callable[..., Awaitable[Any]]) -> None:
    """From now on `doing(own, *arguments)` is asked in place of the verb `own`."""
    stall.tools = replace(stall.tools, get_adapter=lambda name: Around(get_adapter(name), verb, doing))


@pytest.mark.longer
@pytest.mark.parametrize("moment", ["before read", "after read", "after revise"])
async def test_one_of_several_that_sells_while_it_comes_in_is_counted_once(
    stall: Stall, alice: Seller, moment: str
):
    """After the look at what sold with which the visit began: around its page, or its form."""
    (profile,) = (await _had_before(stall, alice, ("ebay",), photos=1, quantity=3)).values()
    (item,) = stall.ledger("ebay")
    when, verb = moment.split()
    left = [item["listing_id"]]

    async def sells(own: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        if when == "before" and left:
            stall.sandbox.buy("ebay", listing_id=left.pop())
        answer = await own(*arguments)
        if left:
            stall.sandbox.buy("ebay", listing_id=left.pop())
        return answer

    _around(stall, verb, sells)
    (done,) = await _bring_in(stall, alice, profile)
    assert (done["status"], done["created"]) == ("done", 1), done
    for _ in range(2):
        await _check(stall, profile)
        (listing,) = await _listings(alice)
        assert listing["quantity"] - listing["quantitySold"] == 2
    stall.sandbox.buy("ebay", listing_id=item["listing_id"])
    await _check(stall, profile)
    (listing,) = await _listings(alice)
    assert listing["quantity"] - listing["quantitySold"] == 1


@pytest.mark.longer
async def test_a_list_that_begins_again_has_an_end(stall: Stall, alice: Seller):
    (profile,) = (await _had_before(stall, alice, ("mercari",), photos=1)).values()
    asked = []

    async def list_active(own: Callable[..., Awaitable[Any]], page: Any, number: int) -> Any:
        asked.append(number)
        assert number < 9, "without end"
        return (await own(page, 1))[0], True

    _around(stall, "list_active", list_active)
    (done,) = await _bring_in(stall, alice, profile, seconds=20)
    assert (done["status"], done["total"], done["created"]) == ("done", 1, 1), done
    # What follows is of a check that fell due meanwhile: it stops where it began again, too.
    assert asked[:3] == [1, 2, 3]
    assert asked[3:] in ([], [1], [1, 2], [1, 2, 3])


@pytest.mark.longer
async def test_a_list_that_cannot_be_read_is_given_up_and_told(stall: Stall, alice: Seller):
    (profile,) = (await _had_before(stall, alice, ("mercari",), photos=1)).values()

    async def list_active(*_: Any) -> Any:
        raise MarketplaceBusy("It is away.")

    _around(stall, "list_active", list_active)
    path = f"/api/connections/{profile}/import"
    assert (await alice.client.post(path)).status_code == 202
    for _ in range(4):
        assert (await alice.client.get(path)).json()["status"] == "running"
        await stall.rows("UPDATE live_imports SET next_step_at = now() RETURNING id")
        await stall.visit(profile, lane="reading")
    done = (await alice.client.get(path)).json()
    assert (done["status"], done["message"], done["total"]) == ("failed", "It is away.", 0)
    (told,) = await stall.rows("SELECT data FROM events WHERE type = 'import.finished'")
    assert told["data"]["status"] == "failed"


@pytest.mark.longer
async def test_an_adapter_that_would_click_while_it_reads_is_told_and_nothing_comes_of_it(
    stall: Stall, alice: Seller
):
    (profile,) = (await _had_before(stall, alice, ("mercari",), photos=1)).values()
    before = stall.sandbox.ledger("mercari")["entries"]
    originals = stall.tools.settings.everystall_home / "photos" / "originals"
    kept = {path.name for path in originals.iterdir()}

    async def revise(own: Any, page: Any, id: str, draft: Any, photos: Any, choose: Any, arm: Any) -> Any:
        async def all_of_it(form: Filled) -> frozenset[str]:
            await choose(form)
            return frozenset({"description"})

        return await own(page, id, draft, photos, all_of_it, arm)

    _around(stall, "revise", revise)
    (done,) = await _bring_in(stall, alice, profile)
    assert (done["status"], done["created"], done["failed"]) == ("done", 0, 1), done
    (item,) = done["items"]
    assert "about to change" in item["notes"][0]["message"]
    assert await _listings(alice) == []
    assert {path.name for path in originals.iterdir()} == kept
    assert stall.sandbox.ledger("mercari")["entries"] == before
