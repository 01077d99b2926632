"""What putting fewer there does to the rows; the marketplaces' side of it is tests/journeys/test_sales.py."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from everystall.errors import AccountLimited, MarketplaceBusy, PageChanged
from everystall.inventory import sale_effects
from everystall.marketplaces import get_form
from everystall.marketplaces.base import Draft, Filled, Money, Seen
from everystall.models import Attempt, Connection, Listing, Publication
from everystall.worker import failures, reconcile, revise
from everystall.worker.visit import Visit
from tests.selling import all_of, an_order, cancel, one_of, rule, take

PUT = Draft(title="A shirt", description="Linen.", price=Money(amount=900), quantity=3, category=("Shirts",))


@pytest.fixture
async def lowered(db, admin, alice, stand, monkeypatch):
    """Three on two accounts, of which one was sold on Mercari; a visit of eBay, and its publication's id."""
    _, (here, there) = await stand("mercari", "ebay", quantity=3)
    await admin.execute("UPDATE attempts SET draft = %s", [PUT.model_dump_json()])
    # another edit waits
    await admin.execute("UPDATE listings SET revision = 2")
    await admin.execute("UPDATE publications SET wanted_revision = 2")
    await take(db, here, an_order("o1", "r-1"))
    lease = SimpleNamespace(
        transaction=lambda: db.as_user(alice), connection_id=there.id, user_id=alice, fence=1
    )
    tools = SimpleNamespace(db=db, settings=SimpleNamespace(settle_seconds=60, pace_seconds=None))
    visit = Visit(tools, lease, "urgent")
    async with db.as_user(alice) as session:
        visit.connection = await session.get_one(Connection, there.id)
    visit.form = get_form("ebay")
    monkeypatch.setattr(visit, "signed_in", _nothing)
    (ebay,) = [one for one in await all_of(db, alice, Publication) if one.connection_id == there.id]
    return visit, ebay.id


async def _nothing():
    pass


async def _put(visit, id, page, form=None):
    """The form shows so many, a visit clicks where these are too many, and then its page shows so many."""
    plan = await revise._compose(visit, id)
    seen = Seen("live", fields={"quantity": page})
    fields = {"quantity": 3 if form is None else form}
    plan.armed = bool(await revise._choose(visit, None, plan, seen, Filled(fields)))
    await revise._put(visit, None, plan, seen)
    return plan


async def _of(db, user, id):
    (row,) = [one for one in await all_of(db, user, Publication) if one.id == id]
    return row


async def test_what_its_page_does_not_show_as_fewer_is_asked_of_its_form_until_it_is(
    db, admin, alice, bob, lowered
):
    visit, id = lowered
    assert (await _put(visit, id, page=3)).armed
    row = await _of(db, alice, id)
    assert (row.put_revision, row.unsettled, row.tries) == (None, True, 1)
    assert row.lower_asked_at is not None
    assert row.next_try_at is not None
    plan = await _put(visit, id, page=3, form=3)  # the site did not take it
    assert (plan.recount, plan.armed, (await _of(db, alice, id)).tries) == (True, True, 2)
    assert not (await _put(visit, id, page=3, form=2)).armed
    row = await _of(db, alice, id)
    assert (row.lower_asked_at, row.put_revision, row.tries) == (None, 1, 0)
    assert await all_of(db, bob, Publication) == []


async def test_a_page_that_shows_fewer_than_are_left_is_done(db, alice, bob, lowered):
    visit, id = lowered
    assert (await _put(visit, id, page=1)).armed
    row = await _of(db, alice, id)
    assert (row.lower_asked_at, row.put_revision, row.next_try_at) == (None, 1, None)
    assert await all_of(db, bob, Publication) == []


@pytest.mark.parametrize(("wanted", "tries"), [("live", 0), ("live", failures.TRIES), ("ended", 0)])
async def test_on_a_limited_account_what_is_urgent_is_tried_again_in_minutes(
    db, admin, alice, bob, lowered, wanted, tries
):
    visit, id = lowered
    await admin.execute("UPDATE publications SET wanted = %s, tries = %s WHERE id = %s", [wanted, tries, id])
    await failures.failed(visit, id, AccountLimited("eBay does not let you list more now."))
    row = await _of(db, alice, id)
    assert row.next_try_at - datetime.now(UTC) > timedelta(minutes=4)
    assert row.needs_you is None  # it is tried on
    assert await all_of(db, bob, Publication) == []


async def test_fewer_are_put_once_the_rest_is_over_that_a_marketplace_asked_for(
    db, admin, alice, bob, lowered
):
    visit, id = lowered
    await admin.execute("UPDATE connections SET rest_until = now() + interval '10 minutes'")
    assert await revise._compose(visit, id) is None
    row = await _of(db, alice, id)
    assert row.next_try_at - datetime.now(UTC) > timedelta(minutes=9)
    assert (row.state, row.lower_asked_at is not None) == ("live", True)
    await admin.execute("UPDATE connections SET rest_until = now() - interval '1 second'")
    assert await revise._compose(visit, id) is not None
    assert await all_of(db, bob, Publication) == []


async def test_a_page_that_is_not_as_known_while_its_marketplace_asks_for_a_rest_is_nobodys_question(
    db, admin, alice, bob, lowered, monkeypatch
):
    """It lacks what was not answered: an upload, say."""
    visit, id = lowered
    await admin.execute("UPDATE publications SET wanted = 'live', lower_asked_at = NULL WHERE id = %s", [id])
    monkeypatch.setattr(visit, "_rest_until", time.monotonic() + 600)
    await failures.failed(visit, id, PageChanged("The photo is not there."))
    row = await _of(db, alice, id)
    assert (row.needs_you, row.tries) == (None, 1)
    assert row.next_try_at - datetime.now(UTC) > timedelta(minutes=9)
    (account,) = [one for one in await all_of(db, alice, Connection) if one.marketplace == "ebay"]
    assert account.rest_until - datetime.now(UTC) > timedelta(minutes=9)
    assert await all_of(db, bob, Publication) == []


async def test_photos_that_do_not_come_because_of_a_rest_are_not_told_as_others():
    async def fetch(url):
        raise MarketplaceBusy("Not now.", retry_after=rest)

    visit = SimpleNamespace(tools=SimpleNamespace(photos=SimpleNamespace(dhash=None)))
    for rest in (None, 60):
        read = reconcile.hashes(visit, SimpleNamespace(fetch=fetch), ["https://x"])
        if rest is None:
            assert len(await read) == 1
        else:
            with pytest.raises(MarketplaceBusy):
                await read


async def _attempt(db, user, id):
    (attempt,) = [one for one in await all_of(db, user, Attempt) if one.publication_id == id]
    return attempt


@pytest.mark.longer
async def test_what_its_seller_changed_there_meanwhile_is_left_to_the_whole_revision_to_find(
    db, admin, alice, bob, lowered
):
    """Adopted with the lowering, or taken for what was so from the beginning, it would be written over."""
    visit, id = lowered
    await admin.execute("UPDATE publications SET read_back = '{\"title\": true}' WHERE id = %s", [id])
    plan = await revise._compose(visit, id)
    shown = {"title": "Another hand's"}
    plan.armed = bool(await revise._choose(visit, None, plan, None, Filled({"quantity": 3, **shown})))
    assert plan.merged.write == {"quantity"}
    await revise._put(visit, None, plan, Seen("live", fields={"quantity": 2, **shown}))
    row, attempt = await _of(db, alice, id), await _attempt(db, alice, id)
    assert (row.lower_asked_at, row.unsettled, attempt.draft["quantity"]) == (None, True, 2)
    assert (attempt.adopted, row.read_back, row.notes) == ({}, {"title": True, "quantity": True}, [])
    assert await all_of(db, bob, Publication) == []


CONFLICT = '{"title": {"ours": "A blue shirt", "theirs": "A red shirt"}}'


async def test_what_was_changed_there_and_here_is_asked_again_once_fewer_are_there(
    db, admin, alice, bob, lowered
):
    visit, id = lowered
    await admin.execute("UPDATE attempts SET conflict = %s WHERE publication_id = %s", [CONFLICT, id])
    await admin.execute(
        """UPDATE publications SET needs_you = '{"reason": "edited_there"}', lower_asked_at = NULL
           WHERE id = %s""",
        [id],
    )
    async with db.as_user(alice) as session:
        listing = (await all_of(db, alice, Listing))[0]
        await sale_effects.lower(session, await session.get_one(Listing, listing.id))
    assert (await _of(db, alice, id)).needs_you is None  # fewer are put first
    await _put(visit, id, page=3)
    assert (await _of(db, alice, id)).needs_you is None  # it is not seen yet
    await _put(visit, id, page=2, form=2)
    row, attempt = await _of(db, alice, id), await _attempt(db, alice, id)
    assert (row.lower_asked_at, row.needs_you["reason"]) == (None, "edited_there")
    assert "“A red shirt”; here: “A blue shirt”" in row.needs_you["message"]
    assert [one["name"] for one in row.needs_you["actions"]] == ["put_mine", "keep_theirs"]
    assert list(attempt.conflict) == ["title"]
    assert await all_of(db, bob, Publication) == []


@pytest.mark.parametrize(
    ("edited", "conflict", "asked"),
    [(True, None, None), (True, CONFLICT, "edited_there"), (False, CONFLICT, None)],
)
async def test_a_lowering_that_falls_away_by_a_cancelled_order_leaves_no_question_of_its_own(
    db, admin, alice, bob, lowered, edited, conflict, asked
):
    visit, id = lowered
    await admin.execute(
        'UPDATE publications SET needs_you = \'{"reason": "page_changed"}\', tries = 8 WHERE id = %s', [id]
    )
    await admin.execute("UPDATE attempts SET conflict = %s WHERE publication_id = %s", [conflict, id])
    await rule(db, alice, put_back="always")
    (mercari,) = [one for one in await all_of(db, alice, Connection) if one.marketplace == "mercari"]
    await cancel(db, mercari, "o1")
    listing = await one_of(db, alice, Listing)
    assert (listing.quantity_sold, (await _of(db, alice, id)).lower_asked_at is None) == (0, False)
    if not edited:
        await admin.execute("UPDATE attempts SET listing_revision = %s", [listing.revision])
    assert await revise._compose(visit, id) is None
    row, attempt = await _of(db, alice, id), await _attempt(db, alice, id)
    assert (row.lower_asked_at, row.unsettled) == (None, edited)
    assert (row.needs_you or {}).get("reason") == asked
    assert (attempt.conflict is None) is (asked is None)
    assert await all_of(db, bob, Publication) == []
