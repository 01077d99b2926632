"""Relisting: down, seen gone, up again in a new attempt; never two live, and none only with a question or a
reason. The judge is the marketplace's ledger."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from everystall.errors import PageChanged
from everystall.worker import delist, publish
from tests.journeys.conftest import Seller, Stall
from tests.journeys.test_sales import _check, _live

pytestmark = [pytest.mark.journey, pytest.mark.browser]


async def _months_pass(stall: Stall) -> None:
    await stall.rows("UPDATE attempts SET armed_at = armed_at - interval '60 days' RETURNING id")


async def _relist(stall: Stall, seller: Seller, listing: str, profile: str) -> dict[str, Any]:
    answer = await seller.client.post(f"/api/listings/{listing}/publications/{profile}/relist")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def _publication(stall: Stall) -> dict[str, Any]:
    (row,) = await stall.rows("SELECT * FROM publications")
    return row


async def _impatient(stall: Stall) -> None:
    await stall.rows("UPDATE publications SET next_try_at = NULL RETURNING id")


async def _until_up(stall: Stall, *profiles: str) -> None:
    """Visits until nothing is relisted any more; on a machine with much to do a page may be too slow once."""
    end = time.monotonic() + 60
    while await stall.rows("SELECT 1 AS one FROM publications WHERE relist IS NOT NULL"):
        assert time.monotonic() < end, await stall.rows("SELECT relist, state, needs_you FROM publications")
        await _impatient(stall)
        await stall.visit(*profiles)


async def _killed_at(stall: Stall, patched: pytest.MonkeyPatch, room: Any, name: str, profile: str) -> None:
    """A visit that ends there as a killed one does; a page may be too slow before it comes there."""
    reached = asyncio.Event()

    async def killed(*_: Any, **__: Any) -> None:
        reached.set()
        raise asyncio.CancelledError

    patched.setattr(room, name, killed)
    end = time.monotonic() + 60
    while not reached.is_set():
        assert time.monotonic() < end, await stall.rows("SELECT relist, state, needs_you FROM publications")
        await _impatient(stall)
        await stall.visit(profile)


@pytest.mark.extended
async def test_it_goes_down_and_comes_up_again_as_new(stall: Stall, alice: Seller, marketplace: str):
    listing, profiles = await _live(stall, alice, (marketplace,))
    await _months_pass(stall)
    asked = await _relist(stall, alice, listing, profiles[marketplace])
    assert "likes" in asked["message"]
    assert (asked["publication"]["relist"], asked["publication"]["put"]) == ("asked", "live")
    await _until_up(stall, profiles[marketplace])
    assert await stall.rows("SELECT data FROM events WHERE type = 'relist.skipped'") == []
    old, new = sorted(stall.ledger(marketplace), key=lambda item: item["state"])
    assert (old["state"], new["state"]) == ("ended", "live")
    assert new["fields"] == old["fields"] | {"sku": new["fields"].get("sku")} or "sku" not in old["fields"]
    assert len(stall.events(marketplace, "published")) == 2
    row = await _publication(stall)
    assert (row["state"], row["put"], row["relist"], row["remote_id"]) == (
        "live", "live", None, new["listing_id"]
    )  # fmt: skip
    outcomes = await stall.rows("SELECT outcome FROM attempts ORDER BY created_at")
    assert [one["outcome"] for one in outcomes] == ["ended", "live"]


@pytest.mark.extended
async def test_sold_in_between_it_stays_down(stall: Stall, alice: Seller, monkeypatch: pytest.MonkeyPatch):
    """Bought after it was seen on its page for the last time, and before the click that takes it down."""
    listing, profiles = await _live(stall, alice, ("mercari",))
    await _months_pass(stall)
    await _relist(stall, alice, listing, profiles["mercari"])

    async def bought(visit: Any, publication_id: Any, remote_id: Any) -> None:
        stall.sandbox.buy("mercari", listing_id=remote_id)
        await take_down(visit, publication_id, remote_id)

    take_down = delist.take_down
    monkeypatch.setattr(delist, "take_down", bought)
    await stall.visit(profiles["mercari"])
    await _check(stall, profiles["mercari"])
    await stall.visit(profiles["mercari"])
    assert [item["state"] for item in stall.ledger("mercari")] == ["sold"]
    row = await _publication(stall)
    assert (row["wanted"], row["put"], row["state"], row["relist"]) == ("ended", "sold", "sold", None)
    assert await stall.rows("SELECT quantity_sold FROM listings") == [{"quantity_sold": 1}]


@pytest.mark.longer
async def test_sold_elsewhere_while_it_is_down_it_stays_down(
    stall: Stall, alice: Seller, monkeypatch: pytest.MonkeyPatch
):
    listing, profiles = await _live(stall, alice, ("mercari", "ebay"))
    await _months_pass(stall)
    await _relist(stall, alice, listing, profiles["mercari"])
    with monkeypatch.context() as patched:
        await _killed_at(stall, patched, publish, "_compose", profiles["mercari"])
    await stall.rows("UPDATE connections SET lease_until = now() RETURNING id")
    states = await stall.rows("SELECT relist FROM publications WHERE marketplace = 'mercari'")
    assert states == [{"relist": "down"}]
    stall.sandbox.buy("ebay", title="Linen shirt, hardly worn")
    await _check(stall, profiles["ebay"])
    await stall.visit(profiles["mercari"])
    assert [item["state"] for item in stall.ledger("mercari")] == ["ended"]
    assert await stall.rows("SELECT wanted, relist FROM publications") == [
        {"wanted": "ended", "relist": None}
    ] * 2  # fmt: skip


@pytest.mark.longer
@pytest.mark.parametrize(
    "moment",
    [
        "after the click",
        *(
            pytest.param(moment, marks=pytest.mark.extended)
            for moment in ("before the click", "while it is down", "while it is filled in")
        ),
    ],
)
async def test_killed_anywhere_it_goes_on(
    stall: Stall, alice: Seller, monkeypatch: pytest.MonkeyPatch, moment: str
):
    """The visit ends there as a killed one does: nothing more is written."""
    listing, profiles = await _live(stall, alice, ("mercari",))
    await _months_pass(stall)
    await _relist(stall, alice, listing, profiles["mercari"])
    room, name = {
        "before the click": (delist, "take_down"),
        "after the click": (delist, "_record"),
        "while it is down": (publish, "_compose"),
        "while it is filled in": (publish, "_arm"),
    }[moment]
    with monkeypatch.context() as patched:
        await _killed_at(stall, patched, room, name, profiles["mercari"])
    assert len(stall.live("mercari")) == (moment == "before the click")
    assert (await _publication(stall))["relist"] == ("begun" if room is delist else "down")
    await stall.rows("UPDATE connections SET lease_until = now() RETURNING id")
    await _until_up(stall, profiles["mercari"])
    assert sorted(item["state"] for item in stall.ledger("mercari")) == ["ended", "live"]
    assert len(stall.events("mercari", "published")) == 2
    assert (await _publication(stall))["relist"] is None


@pytest.mark.extended
async def test_what_was_changed_there_by_hand_stays_up_and_she_is_told(stall: Stall, alice: Seller):
    listing, profiles = await _live(stall, alice, ("mercari",))
    await _months_pass(stall)
    (item,) = stall.live("mercari")
    world = stall.sandbox.world
    world.edit(world.item("mercari", item["listing_id"]), title="By my own hand")
    await _relist(stall, alice, listing, profiles["mercari"])
    await stall.visit(profiles["mercari"])
    assert [one["state"] for one in stall.ledger("mercari")] == ["live"]
    (event,) = await stall.rows("SELECT data FROM events WHERE type = 'relist.skipped'")
    assert "title" in event["data"]["message"]
    assert (await _publication(stall))["relist"] is None


@pytest.mark.extended
async def test_one_that_cannot_be_posted_again_takes_no_other_down(
    stall: Stall, alice: Seller, monkeypatch: pytest.MonkeyPatch
):
    """The form is not as we know it: the seller is asked about the first, and the second stays up."""
    listing, profiles = await _live(stall, alice, ("mercari",))
    second, _ = await _live(stall, alice, ("mercari",), title="Another shirt")
    await _months_pass(stall)
    for one in (listing, second):
        await _relist(stall, alice, one, profiles["mercari"])

    async def changed(*_: Any) -> None:
        raise PageChanged("The form has another field.")

    monkeypatch.setattr(publish, "_arm", changed)
    await stall.visit(profiles["mercari"])
    await _impatient(stall)
    await stall.visit(profiles["mercari"])
    assert sorted(item["state"] for item in stall.ledger("mercari")) == ["ended", "live"]
    rows = await stall.rows("SELECT relist, needs_you->>'reason' AS asked FROM publications ORDER BY relist")
    assert [(row["relist"], row["asked"]) for row in rows] == [("down", "page_changed"), (None, None)]
    assert len(await stall.rows("SELECT 1 AS one FROM events WHERE type = 'relist.skipped'")) == 1
    monkeypatch.undo()
    (down,) = await stall.rows("SELECT listing_id FROM publications WHERE relist = 'down'")
    await alice.client.post(f"/api/listings/{down['listing_id']}/publications/{profiles['mercari']}/retry")
    await _until_up(stall, profiles["mercari"])
    assert sorted(item["state"] for item in stall.ledger("mercari")) == ["ended", "live", "live"]


@pytest.mark.extended
async def test_while_the_account_rests_nothing_is_taken_down(stall: Stall, alice: Seller):
    listing, profiles = await _live(stall, alice, ("mercari",))
    await _months_pass(stall)
    await stall.rows("UPDATE connections SET pace_seconds = 600, last_post_at = now() RETURNING id")
    await _relist(stall, alice, listing, profiles["mercari"])
    await stall.visit(profiles["mercari"])
    assert [item["state"] for item in stall.ledger("mercari")] == ["live"]
    row = await _publication(stall)
    assert (row["relist"], row["next_try_at"] is not None) == ("asked", True)
    await stall.rows("UPDATE connections SET pace_seconds = 0 RETURNING id")
    await alice.client.post(f"/api/connections/{profiles['mercari']}/pause")
    await _impatient(stall)
    await stall.visit(profiles["mercari"])
    assert [item["state"] for item in stall.ledger("mercari")] == ["live"]
