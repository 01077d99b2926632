"""Exactly one event for each change that others are told of, whatever happens in whatever order."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import func, select

from everystall.inventory.publications import change, needs_you
from everystall.models import Publication
from tests.api.conftest import Seller, Site


async def _now(site: Site) -> tuple[dict[Any, Any], set[str]]:
    """(publications, finished jobs) as the database has them."""
    rows = await site.rows("SELECT id, put, needs_you ->> 'reason' AS reason FROM publications")
    jobs = await site.rows("SELECT id FROM jobs WHERE finished_at IS NOT NULL")
    return {row["id"]: (row["put"], row["reason"]) for row in rows}, {row["id"] for row in jobs}


def _changes(before: Any, after: Any) -> Counter[str]:
    found: Counter[str] = Counter()
    for id, (put, reason) in after[0].items():
        old_put, old_reason = before[0].get(id, ("nothing", None))
        found["publication.live"] += put == "live" != old_put
        found["publication.ended"] += put in ("ended", "sold") and put != old_put
        found["publication.needs_you"] += reason is not None and reason != old_reason
    found["job.finished"] += len(after[1] - before[1])
    return +found


async def _told(site: Site) -> Counter[str]:
    return Counter(row["type"] for row in await site.rows("SELECT type FROM events"))


async def _each(site: Site, seller: Seller, do: Any) -> None:
    async with site.database.as_user(seller.user_id) as session:
        for row in await session.scalars(select(Publication).order_by(Publication.id).with_for_update()):
            await do(session, row)


@pytest.mark.longer
@pytest.mark.parametrize("seed", range(6))
async def test_a_random_life_is_told_change_by_change(site: Site, alice: Seller, bob: Seller, seed: int):
    dice = random.Random(seed)
    profiles = [await alice.connect(name, "alice") for name in ("poshmark", "mercari")]
    listing = await alice.listing()

    async def live(session: Any, row: Publication) -> None:
        if row.wanted == "live" and row.put != "live":
            await change(session, row, state="live", put="live", put_revision=row.wanted_revision,
                         looking=False, needs_you=None, finished_at=func.now(), url="https://example.com/1",
                         remote_id="r1")  # fmt: skip

    async def flagged(session: Any, row: Publication) -> None:
        reason = dice.choice(["challenge", "page_changed"])
        await change(session, row, needs_you=needs_you(row, "bp", reason, "Look."), finished_at=func.now())

    async def gone(session: Any, row: Publication) -> None:
        if row.put == "live":
            state = dice.choice(["ended", "sold"])
            await change(session, row, state=state, put=state, wanted="ended", needs_you=None)

    async def step() -> None:
        what = dice.choice(["post", "live", "live", "flag", "gone", "retry", "end", "cancel", "fill", "sync"])
        if what == "post":
            await alice.publish(listing, "poshmark", "mercari")
        elif what in ("live", "flag", "gone"):
            await _each(site, alice, {"live": live, "flag": flagged, "gone": gone}[what])
        elif what in ("retry", "end"):
            for profile in profiles:
                await alice.post(f"/api/listings/{listing}/publications/{profile}/{what}")
        elif what == "cancel":
            for job in (await alice.get("/api/jobs")).json()["jobs"]:
                await alice.post(f"/api/jobs/{job['jobId']}/cancel")
        elif what == "fill":
            await site.put(alice, updated_at=func.now())
        else:
            await alice.connect("poshmark", "alice")

    expected: Counter[str] = Counter()
    for _ in range(25):
        before = await _now(site)
        await step()
        expected += _changes(before, await _now(site))
        assert await _told(site) == expected
    assert expected["job.finished"]
    owners = await site.rows("SELECT DISTINCT user_id FROM events")
    assert [row["user_id"] for row in owners] == [alice.user_id]


async def test_what_is_told_of_a_listing_that_went_live_and_was_taken_down(site: Site, alice: Seller):
    profile = await alice.connect("mercari")
    listing = await alice.listing()
    job = (await alice.publish(listing, "mercari")).json()
    await site.go_live(alice)
    await site.put(alice, put="ended", state="ended", wanted="ended")
    rows = await site.rows("SELECT type, data FROM events ORDER BY id")
    assert [row["type"] for row in rows] == ["publication.live", "job.finished", "publication.ended"]
    publication, finished, ended = (row["data"] for row in rows)
    assert set(publication) == {"listingId", "browserProfileId", "marketplace", "url", "remoteId", "needsYou"}
    assert (publication["listingId"], publication["browserProfileId"]) == (listing, profile)
    assert ended["remoteId"] == publication["remoteId"] is not None
    shown = (await alice.get(f"/api/jobs/{job['jobId']}")).json()
    assert finished["automationResults"] == shown["automationResults"]
    assert (finished["jobId"], finished["status"], finished["listingId"]) == (job["jobId"], "done", listing)
