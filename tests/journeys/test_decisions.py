"""What the seller decides in the middle of it, and that there is one listing, or none, as decided."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from sqlalchemy import select

from everystall.errors import AccountLimited, MarketplaceBusy, PageChanged
from everystall.inventory import publications
from everystall.marketplaces import get_adapter
from everystall.models import Publication
from everystall.sandbox.core import PASSWORD
from tests.journeys.conftest import Seller, Stall

pytestmark = [pytest.mark.journey, pytest.mark.browser]

#: Longer than any of these tests takes.
FOR_EVER = 3600


def _impatient(stall: Stall, seconds: float = 0.5) -> None:
    """The seller is asked soon."""
    settings = stall.settings.model_copy(update={"settle_seconds": seconds})
    stall.tools = dataclasses.replace(stall.tools, settings=settings)


def _signed_in(stall: Stall, marketplace: str, name: str) -> dict[str, Any]:
    """What a browser has after signing in, without starting one."""
    session = stall.sandbox.world.sign_in(marketplace, name, PASSWORD)
    assert session is not None
    cookies = stall.sandbox.hosts.sites[marketplace].cookies(session)
    return {
        "cookies": [
            {"name": one.name, "value": one.value, "domain": f"{marketplace}.localhost", "path": one.path,
             "secure": True, "httpOnly": one.http_only, "hostOnly": True}
            for one in cookies
        ]
    }  # fmt: skip


async def _connect(stall: Stall, seller: Seller, marketplace: str) -> str:
    return await stall.hand_over(seller, marketplace, _signed_in(stall, marketplace, seller.name))


def _reveal(stall: Stall, marketplace: str = "mercari") -> None:
    """The marketplace's lists catch up with its listings."""
    for item in stall.sandbox.world.items(marketplace):
        item.listed_at = 0.0


async def _publication(stall: Stall) -> dict[str, Any]:
    (row,) = await stall.rows("SELECT * FROM publications")
    return row


async def _until_state(stall: Stall, *states: str) -> None:
    async with asyncio.timeout(20):
        while (await _publication(stall))["state"] not in states:
            await asyncio.sleep(0.02)


async def _press(stall: Stall, seller: Seller, action: str, **body: Any) -> int:
    (row,) = await stall.rows(
        "SELECT p.listing_id, c.public_id FROM publications p JOIN connections c ON c.id = p.connection_id"
    )
    where = f"/api/listings/{row['listing_id']}/publications/{row['public_id']}/{action}"
    return (await seller.client.post(where, json=body or None)).status_code


async def _unresolved(
    stall: Stall, seller: Seller, marketplace: str = "mercari", *, there: bool = True
) -> str:
    """We clicked, the answer was lost, and no list shows the listing; it is live if `there`."""
    _impatient(stall)
    profile = await _connect(stall, seller, marketplace)
    if there:
        stall.sandbox.fault(marketplace, kind="index_lag", seconds=FOR_EVER, times=1)
    stall.sandbox.fault(marketplace, kind="error_after" if there else "error_before", times=1)
    job = await stall.post(seller, await stall.listing(seller), [marketplace])
    job = await stall.until_done(seller, job["jobId"], profile)
    (pair,) = job["automationResults"]
    assert (job["status"], pair["needsYou"]["reason"]) == ("needs_you", "unresolved"), job
    assert len(stall.live(marketplace)) == there
    return profile


@pytest.mark.extended
async def test_the_right_address_settles_it(stall: Stall, alice: Seller):
    profile = await _unresolved(stall, alice)
    (item,) = stall.live("mercari")
    url = f"{stall.sandbox.url('mercari')}/us/item/{item['listing_id']}/"
    assert await _press(stall, alice, "it_is_there", url=url) == 200
    await stall.visit(profile)
    now = await _publication(stall)
    assert (now["state"], now["put"], now["needs_you"]) == ("live", "live", None)
    assert now["remote_id"] == item["listing_id"]
    assert len(stall.events("mercari", "published")) == 1


@pytest.mark.extended
async def test_it_is_there_outweighs_the_proof_that_a_discarded_draft_is(
    stall: Stall, alice: Seller, monkeypatch: pytest.MonkeyPatch
):
    """The draft was discarded, the lists do not answer, so the seller is asked, and says: it is there. Then
    it is looked for, and not posted again."""
    _impatient(stall)
    adapter = type(get_adapter("ebay"))
    discard, find, steps = adapter.discard_draft, adapter.find_active, []

    async def discard_and_note(self: Any, page: Any, draft_id: str) -> bool:
        steps.append("discarded")
        return await discard(self, page, draft_id)

    async def find_or_not(self: Any, *args: Any, **more: Any) -> Any:
        if steps == ["discarded"]:
            steps.append("busy")
            raise MarketplaceBusy("It does not answer.")
        return await find(self, *args, **more)

    monkeypatch.setattr(adapter, "discard_draft", discard_and_note)
    monkeypatch.setattr(adapter, "find_active", find_or_not)
    profile = await _connect(stall, alice, "ebay")
    stall.sandbox.fault("ebay", kind="error_before", times=1)
    job = await stall.post(alice, await stall.listing(alice), ["ebay"])
    await stall.until_done(alice, job["jobId"], profile)
    (attempt,) = await stall.rows("SELECT draft_discarded_at FROM attempts")
    assert attempt["draft_discarded_at"] is not None
    assert (await _publication(stall))["needs_you"]["reason"] == "unresolved"
    url = f"{stall.sandbox.url('ebay')}/itm/123456789012"
    assert await _press(stall, alice, "it_is_there", url=url) == 200
    for _ in range(3):
        await stall.visit(profile)
    assert (await _publication(stall))["needs_you"]["reason"] == "unresolved"
    assert stall.events("ebay", "published") == []


@pytest.mark.extended
@pytest.mark.parametrize("what", ["nobody's", pytest.param("another listing's", marks=pytest.mark.extended)])
async def test_a_wrong_address_is_not_believed_and_blinds_no_later_look(
    stall: Stall, alice: Seller, what: str
):
    profile = await _unresolved(stall, alice)
    (item,) = stall.live("mercari")
    world, site = stall.sandbox.world, stall.sandbox.url("mercari")
    elsewhere = f"https://mercari.example.com/us/item/{item['listing_id']}/"
    assert await _press(stall, alice, "it_is_there", url=elsewhere) == 400
    if what == "nobody's":
        url = f"{site}/us/item/m11111111111/"
    else:
        ours = world.item("mercari", item["listing_id"])
        assert ours is not None
        other = world.draft("mercari", world.account("mercari", "bob"), "m22222222222",
                            {**ours.fields, "title": "A lamp"}, ours.photos)  # fmt: skip
        other.private = dict(ours.private)
        world.publish(other)
        url = f"{site}/us/item/m22222222222/"
    assert await _press(stall, alice, "it_is_there", url=url) == 200
    await stall.visit(profile)
    asked = await _publication(stall)
    assert asked["put"] != "live"
    assert asked["needs_you"]["reason"] == "unresolved"
    _reveal(stall)
    assert await _press(stall, alice, "post_again") == 200
    await stall.visit(profile)
    now = await _publication(stall)
    assert (now["state"], now["remote_id"], now["needs_you"]) == ("live", item["listing_id"], None)
    published = [entry for entry in stall.events("mercari", "published") if entry["account"] == "alice"]
    assert len(published) == 1


@pytest.mark.extended
async def test_giving_up_what_is_not_there_ends_in_cancelled(stall: Stall, alice: Seller):
    profile = await _unresolved(stall, alice, there=False)
    assert await _press(stall, alice, "give_up") == 200
    await stall.visit(profile, lane="urgent")
    assert (await _publication(stall))["needs_you"] is None
    # the looks go on for a day; then it is over
    await stall.rows("UPDATE attempts SET armed_at = now() - interval '2 days' RETURNING id")
    await stall.rows("UPDATE publications SET next_try_at = now() RETURNING id")
    await stall.visit(profile, lane="urgent")
    now = await _publication(stall)
    assert (now["state"], now["looking"], now["needs_you"]) == ("cancelled", False, None)
    assert stall.events("mercari", "published") == []


@pytest.mark.extended
async def test_giving_up_what_turns_up_later_takes_it_down(stall: Stall, alice: Seller):
    profile = await _unresolved(stall, alice)
    assert await _press(stall, alice, "give_up") == 200
    _reveal(stall)
    await stall.visit(profile, lane="urgent")
    now = await _publication(stall)
    assert (now["state"], now["put"], now["needs_you"]) == ("ended", "ended", None)
    assert stall.live("mercari") == []
    assert len(stall.events("mercari", "published")) == 1


@pytest.mark.extended
async def test_take_it_down_during_the_click_settles_it_first_and_then_takes_it_down(
    stall: Stall, alice: Seller
):
    profile = await _connect(stall, alice, "mercari")
    stall.sandbox.fault("mercari", kind="index_lag", seconds=FOR_EVER, times=1)
    stall.sandbox.fault("mercari", kind="error_after", times=1)
    listing = await stall.listing(alice)
    job = await stall.post(alice, listing, ["mercari"])
    visiting = asyncio.create_task(stall.visit(profile))
    await _until_state(stall, "armed", "reconciling")
    assert await _press(stall, alice, "end") == 200
    assert stall.events("mercari", "ended") == []
    _reveal(stall)
    await visiting
    _reveal(stall)
    await stall.visit(profile, lane="urgent")
    events = [entry["event"] for entry in stall.sandbox.ledger(marketplace="mercari")["entries"]]
    assert [event for event in events if event in ("published", "ended")] == ["published", "ended"]
    now = await _publication(stall)
    assert (now["state"], now["looking"], now["needs_you"]) == ("ended", False, None)
    assert (await stall.job(alice, job["jobId"]))["status"] != "running"


@pytest.mark.parametrize(
    "then", ["nothing", *(pytest.param(one, marks=pytest.mark.extended) for one in ("down", "captcha"))]
)
@pytest.mark.longer
async def test_cancelled_while_it_is_filled_in_stays_cancelled_whatever_the_fill_does(
    stall: Stall, alice: Seller, then: str
):
    profile = await _connect(stall, alice, "mercari")
    stall.sandbox.fault("mercari", kind="latency", seconds=0.3, times=20)
    job = await stall.post(alice, await stall.listing(alice), ["mercari"])
    visiting = asyncio.create_task(stall.visit(profile))
    await _until_state(stall, "filling")
    cancelled = await alice.client.post(f"/api/jobs/{job['jobId']}/cancel")
    assert cancelled.status_code == 200, cancelled.text
    if then != "nothing":
        stall.sandbox.fault("mercari", kind=then, times=1000)
    await visiting
    stall.sandbox.clear_faults()
    await stall.visit(profile)
    now = await _publication(stall)
    assert (now["state"], now["wanted"], now["needs_you"]) == ("cancelled", "ended", None)
    assert (await stall.job(alice, job["jobId"]))["status"] == "cancelled"
    assert stall.events("mercari", "published") == []


@pytest.mark.extended
@pytest.mark.parametrize("marketplace", ["mercari", pytest.param("poshmark", marks=pytest.mark.extended)])
async def test_of_two_after_post_again_the_newer_is_taken_down(stall: Stall, alice: Seller, marketplace: str):
    profile = await _unresolved(stall, alice, marketplace)
    (first,) = stall.live(marketplace)
    assert await _press(stall, alice, "post_again") == 200
    await stall.visit(profile)
    assert (await _publication(stall))["state"] == "live"
    assert len(stall.live(marketplace)) == 2  # nobody could know: no list shows the first
    _reveal(stall, marketplace)
    await stall.rows("UPDATE attempts SET next_look_at = now() WHERE outcome = 'unresolved' RETURNING id")
    await stall.visit(profile)
    (left,) = stall.live(marketplace)
    assert left["listing_id"] == first["listing_id"]
    now = await _publication(stall)
    assert (now["state"], now["remote_id"]) == ("live", first["listing_id"])
    assert now["needs_you"]["reason"] == "posted_twice"  # the seller is told
    (ended,) = stall.events(marketplace, "ended")
    assert ended["listing_id"] != first["listing_id"]
    outcomes = await stall.rows("SELECT outcome FROM attempts ORDER BY created_at")
    assert [row["outcome"] for row in outcomes] == ["live", "ended"]


@pytest.mark.extended
async def test_two_alike_without_a_mark_are_both_live_once(stall: Stall, alice: Seller):
    profile = await _connect(stall, alice, "mercari")
    stall.sandbox.fault("mercari", kind="error_after", times=2)
    jobs = [await stall.post(alice, await stall.listing(alice), ["mercari"]) for _ in range(2)]
    for job in jobs:
        assert (await stall.until_done(alice, job["jobId"], profile))["status"] == "done"
    assert len(stall.live("mercari")) == 2
    assert len(stall.events("mercari", "published")) == 2
    rows = await stall.rows("SELECT state, remote_id FROM publications")
    assert [row["state"] for row in rows] == ["live", "live"]
    assert {row["remote_id"] for row in rows} == {item["listing_id"] for item in stall.live("mercari")}


async def test_two_accounts_that_finish_at_the_same_moment_end_the_job(stall: Stall, alice: Seller):
    for name in ("mercari", "poshmark"):
        cookie = {"name": "practice", "value": "signed-in", "domain": f"{name}.localhost", "path": "/"}
        await stall.hand_over(alice, name, {"cookies": [cookie]})
    job = await stall.post(alice, await stall.listing(alice), ["mercari", "poshmark"])
    first_changed, db = asyncio.Event(), stall.tools.db

    async def finish(marketplace: str) -> None:
        async with db.as_user(alice.user_id) as session:
            row = await session.scalar(select(Publication).where(Publication.marketplace == marketplace))
            assert row is not None
            if marketplace == "poshmark":
                await first_changed.wait()
            await publications.change(
                session,
                row,
                put="live",
                put_revision=row.wanted_revision,
                state="live",
                remote_id=marketplace,
            )
            first_changed.set()
            await asyncio.sleep(0.3 if marketplace == "mercari" else 0)  # the other changes meanwhile

    await asyncio.wait_for(asyncio.gather(finish("mercari"), finish("poshmark")), 10)
    assert (await stall.job(alice, job["jobId"]))["status"] == "done"


@pytest.mark.longer
@pytest.mark.parametrize(
    ("marketplace", "form"),
    [("mercari", "/sell/"), pytest.param("poshmark", "/create-listing", marks=pytest.mark.longer)],
)
async def test_the_picture_of_a_failure_is_kept_with_the_attempt_and_holds_no_cookie(
    stall: Stall, alice: Seller, marketplace: str, form: str
):
    storage = _signed_in(stall, marketplace, alice.name)
    profile = await stall.hand_over(alice, marketplace, storage)
    job = await stall.post(alice, await stall.listing(alice), [marketplace])
    stall.sandbox.fault(marketplace, kind="captcha", times=1000, path=form)
    await stall.visit(profile)
    (pair,) = (await stall.job(alice, job["jobId"]))["automationResults"]
    assert pair["needsYou"]["reason"] == "challenge"
    (attempt,) = await stall.rows("SELECT evidence, error FROM attempts")
    kept, folder = attempt["evidence"], stall.settings.everystall_home / "photos" / "evidence"
    assert attempt["error"].startswith("challenge")
    assert form in kept["url"]
    picture, outline = [
        await stall.tools.photos.evidence(alice.user_id, kept[name]) for name in ("screenshot", "aria")
    ]
    assert picture.startswith(b"\x89PNG")
    assert outline.strip()
    values = [cookie["value"] for cookie in storage["cookies"] if len(cookie["value"]) >= 8]
    assert values
    assert folder.stat().st_mode & 0o077 == 0
    for file in folder.rglob("*"):
        if file.is_file():
            assert not [value for value in values if value.encode() in file.read_bytes()]
    rows = await stall.rows(
        "SELECT p.needs_you, c.needs_you AS account FROM publications p "
        "JOIN connections c ON c.id = p.connection_id"
    )
    assert not [value for value in values if value in f"{rows} {attempt}"]


@pytest.mark.parametrize("error", [pytest.param(AccountLimited, marks=pytest.mark.extended), PageChanged])
@pytest.mark.extended
async def test_a_look_that_fails_is_not_repeated_at_once(
    stall: Stall, alice: Seller, error: type[Exception], monkeypatch: pytest.MonkeyPatch
):
    _impatient(stall)
    profile = await _connect(stall, alice, "mercari")
    stall.sandbox.fault("mercari", kind="error_after", times=1)
    job = await stall.post(alice, await stall.listing(alice), ["mercari"])
    adapter, looks = get_adapter("mercari"), 0
    find_active = type(adapter).find_active

    async def fails_after_the_click(self: Any, page: Any, **more: Any) -> Any:
        nonlocal looks
        if not stall.events("mercari", "published"):
            return await find_active(self, page, **more)
        looks += 1
        raise error("Something that no look should meet.")

    monkeypatch.setattr(type(adapter), "find_active", fails_after_the_click)
    await asyncio.wait_for(stall.visit(profile), 60)
    assert looks == 1
    assert len(await stall.rows("SELECT 1 AS one FROM vault_audit")) == 1
    (row,) = await stall.rows("SELECT looking, put, next_try_at > now() + interval '2 seconds' AS later "
                              "FROM publications")  # fmt: skip
    assert row == {"looking": True, "put": "nothing", "later": True}
    monkeypatch.undo()
    await stall.rows("UPDATE publications SET next_try_at = now() RETURNING id")
    await stall.visit(profile)
    assert (await _publication(stall))["state"] == "live"
    assert len(stall.events("mercari", "published")) == 1
    assert (await stall.job(alice, job["jobId"]))["status"] in ("done", "needs_you")
