"""What a sale does to the rows; the marketplaces' side of it is tests/journeys/test_sales.py."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from psycopg.errors import LockNotAvailable
from sqlalchemy import select, text

from everystall.errors import Conflict, NotWanted, PageChanged, Refused
from everystall.inventory import cancelled_sales, questions, relisting, sales, take_downs
from everystall.inventory.publications import (
    act,
    all_asked,
    change,
    lock_with_others,
    release_all,
    want_ended,
    want_live,
)
from everystall.marketplaces.base import Draft, Money, Seen
from everystall.models import (
    Attempt,
    Connection,
    DoubleSale,
    Event,
    Listing,
    Publication,
    TakeDown,
)
from everystall.models import Sale as Row
from everystall.notify import words
from everystall.settings import Settings
from everystall.worker import failures, pace, reconcile
from everystall.worker.visit import _DUE, Visit
from tests.selling import all_of, an_order, cancel, one_of, publish, rule, stands, take

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def test_the_last_one_sold_ends_what_is_wanted_elsewhere_in_the_same_transaction(db, alice, stand):
    listing, (here, there) = await stand("mercari", "ebay")

    async def is_killed_before_the_commit():
        async with db.as_user(alice) as session:
            await sales.take(session, await session.get_one(Connection, here.id), [an_order("o1", "r-1")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await is_killed_before_the_commit()
    for what in (Row, TakeDown, Event):
        assert await all_of(db, alice, what) == []
    assert {one.wanted for one in await all_of(db, alice, Publication)} == {"live"}

    await take(db, here, an_order("o1", "r-1"))
    states = {
        one.connection_id: (one.put, one.wanted, one.state) for one in await all_of(db, alice, Publication)
    }
    assert states == {here.id: ("sold", "ended", "sold"), there.id: ("live", "ended", "ending")}
    sale, down = await one_of(db, alice, Row), await one_of(db, alice, TakeDown)
    assert (sale.listing_id, down.sale_id, down.marketplace) == (listing.id, sale.id, "ebay")
    assert (await one_of(db, alice, Listing)).quantity_sold == 1


async def test_an_order_has_its_effect_once(db, alice, stand):
    _, (here, _) = await stand("ebay", "mercari", quantity=3)
    for _ in range(3):
        await take(db, here, an_order("o1", "r-1"))
    assert (await one_of(db, alice, Listing)).quantity_sold == 1
    assert len(await all_of(db, alice, Event)) == 1


async def test_a_bundle_is_one_order_and_sells_each_of_its_listings(db, alice, stand, make_listing):
    one, (here, _) = await stand("poshmark", "ebay")
    other = await make_listing(alice)
    await publish(db, alice, other, here, "r-9", "live", 1)
    await take(db, here, an_order("o1", "r-1"), an_order("o1", "r-9", line=1))
    sold = {row.id: row.quantity_sold for row in await all_of(db, alice, Listing)}
    assert sold == {one.id: 1, other.id: 1}
    assert {row.listing_id for row in await all_of(db, alice, Row)} == {one.id, other.id}


async def test_what_is_cancelled_when_first_seen_has_no_effect(db, alice, stand):
    _, (here, _) = await stand("mercari", "ebay")
    await take(db, here, an_order("o1", "r-1", cancelled=True))
    assert (await one_of(db, alice, Row)).cancelled_at is not None
    assert {one.wanted for one in await all_of(db, alice, Publication)} == {"live"}
    assert (await one_of(db, alice, Listing)).quantity_sold == 0


@pytest.mark.parametrize(
    ("put_back", "left", "elsewhere"), [("ask", 0, "ended"), ("always", 1, "live"), ("never", 0, "ended")]
)
async def test_what_was_bought_and_cancelled_unseen_and_stays_sold_is_a_cancelled_order(
    db, admin, alice, bob, stand, put_back, left, elsewhere
):
    """It was a sale that nobody made, and nobody heard that it was cancelled."""
    _, (here, _) = await stand("poshmark", "ebay")
    await rule(db, alice, put_back=put_back)
    await take(db, here, an_order("o1", "r-1", cancelled=True))
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        publication = await session.get_one(Publication, attempt.publication_id)
        await sales.take_sold_page(session, publication, attempt)
    sale = await one_of(db, alice, Row)
    assert (sale.order_id, sale.told_by, sale.counted) == ("o1", "orders", 1 - left)
    listing = await one_of(db, alice, Listing)
    assert listing.quantity - listing.quantity_sold == left
    now = await stands(db, alice)
    assert (now["poshmark"], now["ebay"][1]) == (("sold", "ended", "sold"), elsewhere)
    assert [one.type for one in await all_of(db, alice, Event) if one.type.startswith("sale.")] == [
        "sale.cancelled"
    ]
    asked = {one.marketplace: one.needs_you for one in await all_of(db, alice, Publication)}
    assert (asked["poshmark"] is not None, asked["ebay"]) == (put_back == "ask", None)
    if put_back == "ask":
        await _answer(db, here, "put_back")
        assert (await one_of(db, alice, Listing)).quantity_sold == 0
        assert (await stands(db, alice))["ebay"][1] == "live"
    attempts = {one.remote_id: one.outcome for one in await all_of(db, alice, Attempt)}
    assert attempts == {"r-1": "unresolved", "r-2": "live"}  # the site may yet have it for sale again
    assert await all_of(db, alice, DoubleSale) == await all_of(db, bob, Row) == []


async def test_what_one_cancelled_order_does_not_explain_of_a_sold_page_is_a_sale(db, alice, bob, stand):
    _, (here, _) = await stand("ebay", "mercari", quantity=3)
    await rule(db, alice, put_back="always")
    await take(db, here, an_order("o1", "r-1", cancelled=True))
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        publication = await session.get_one(Publication, attempt.publication_id)
        await sales.take_sold_page(session, publication, attempt)
    rows = {row.order_id: (row.quantity, row.counted) for row in await all_of(db, alice, Row)}
    assert rows == {"o1": (1, 0), None: (2, 2)}
    assert (await one_of(db, alice, Listing)).quantity_sold == 2
    assert {name: one[:2] for name, one in (await stands(db, alice)).items()} == {
        "ebay": ("sold", "ended"),
        "mercari": ("live", "live"),
    }
    assert await all_of(db, alice, DoubleSale) == await all_of(db, bob, Row) == []


async def test_an_order_that_came_before_its_listings_id_was_known_counts_once_it_is(db, alice, stand):
    _, (here, _) = await stand("mercari", "ebay")
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        attempt.remote_id = None
    async with db.as_user(alice) as session:
        connection = await session.get_one(Connection, here.id)
        assert await sales.ours(session, here.id, {"r-1"}) == set()
        await sales.remember(session, connection, [an_order("o1", "r-1"), an_order("o2", None)])
    assert (await one_of(db, alice, Listing)).quantity_sold == 0
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        attempt.remote_id = "r-1"
        publication = await session.get_one(Publication, attempt.publication_id)
        await sales.take_sold_page(session, publication, attempt)
    assert (await one_of(db, alice, Listing)).quantity_sold == 1
    assert sorted(row.order_id for row in await all_of(db, alice, Row)) == ["o1", "o2"]
    assert len(await all_of(db, alice, TakeDown)) == 1


async def test_orders_take_the_place_of_what_its_page_told_piece_by_piece(db, alice, stand):
    listing, (here, _) = await stand("ebay", "mercari", quantity=3)
    async with db.as_user(alice) as session:
        (await session.get_one(Listing, listing.id)).cost_cents = 450
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        publication = await session.get_one(Publication, attempt.publication_id)
        await sales.take_sold_page(session, publication, attempt)
    assert (await one_of(db, alice, Listing)).quantity_sold == 3
    await take(db, here, an_order("o1", "r-1", quantity=2))
    await take(db, here, an_order("o2", "r-1"))
    rows = {row.order_id: row.quantity for row in await all_of(db, alice, Row)}
    assert rows == {"o1": 2, "o2": 1}
    assert {row.cost_cents for row in await all_of(db, alice, Row)} == {450}
    assert (await one_of(db, alice, Listing)).quantity_sold == 3
    assert await all_of(db, alice, DoubleSale) == []


@pytest.mark.parametrize(
    ("first", "second", "earlier"),
    [
        ({"sold_at": NOON, "exact": True}, {"sold_at": NOON - timedelta(minutes=3), "exact": True}, "o2"),
        ({"sold_at": NOON - timedelta(minutes=3), "exact": True}, {"sold_at": NOON, "exact": True}, "o1"),
        ({"sold_at": NOON}, {"sold_at": NOON - timedelta(days=1), "exact": True}, "o1"),  # nobody can tell
        ({"sold_at": NOON}, {"sold_at": NOON - timedelta(days=4)}, "o2"),
        ({"sold_at": NOON}, {}, "o1"),
    ],
)
async def test_of_two_sales_of_the_last_one_the_earlier_has_it(db, alice, stand, first, second, earlier):
    _, (here, there) = await stand("mercari", "ebay")
    await take(db, here, an_order("o1", "r-1", **first))
    await take(db, there, an_order("o2", "r-2", **second))
    double = await one_of(db, alice, DoubleSale)
    rows = {row.id: row.order_id for row in await all_of(db, alice, Row)}
    assert rows[double.earlier_id] == earlier
    assert {rows[double.earlier_id], rows[double.later_id]} == {"o1", "o2"}
    lost = here if earlier == "o2" else there
    asked = {one.connection_id: one.needs_you for one in await all_of(db, alice, Publication)}
    assert asked.pop(lost.id)["reason"] == "sold_twice"
    assert list(asked.values()) == [None]


async def test_who_sold_twice_gets_both_orders_the_time_that_is_left_and_a_text_for_the_buyer(
    db, alice, stand
):
    _, (here, there) = await stand("ebay", "mercari")
    await take(db, here, an_order("o1", "r-1", sold_at=NOON, exact=True))
    friday = NOON + timedelta(minutes=1)
    await take(db, there, an_order("o2", "r-2", sold_at=friday, exact=True))
    (told,) = [one.data for one in await all_of(db, alice, Event) if one.type == "sale.double"]
    assert (told["earlier"]["orderId"], told["earlier"]["marketplace"]) == ("o1", "ebay")
    assert (told["later"]["orderId"], told["later"]["browserProfileId"]) == ("o2", there.public_id)
    wednesday = friday + timedelta(days=5)  # three business days
    assert datetime.fromisoformat(told["deadline"]["by"]) == wednesday
    assert "3 business days" in told["deadline"]["said"]
    assert "“A shirt”" in told["letterToBuyer"]
    assert not [name for name in ("eBay", "ebay", "Mercari") if name in told["letterToBuyer"]]
    (asked,) = [one.needs_you for one in await all_of(db, alice, Publication) if one.needs_you]
    assert "by November 25, 2026" in asked["message"]
    assert (asked["deadline"], asked["letterToBuyer"]) == (told["deadline"], told["letterToBuyer"])


async def test_where_a_marketplace_names_no_time_that_is_said(db, alice, stand):
    _, (here, there) = await stand("mercari", "ebay")
    await take(db, here, an_order("o1", "r-1", sold_at=NOON, exact=True))
    await take(db, there, an_order("o2", "r-2", sold_at=NOON + timedelta(minutes=1), exact=True))
    (asked,) = [one.needs_you for one in await all_of(db, alice, Publication) if one.needs_you]
    assert asked["deadline"]["by"] is None
    assert "until when, the order's own page there says" in asked["message"]


async def test_what_is_counted_is_never_more_than_there_was_and_the_earlier_order_has_it(db, alice, stand):
    _, (here, there) = await stand("ebay", "poshmark", quantity=3)
    await take(db, here, an_order("o1", "r-1", quantity=2, sold_at=NOON, exact=True))
    await take(db, there, an_order("o2", "r-2", quantity=2, sold_at=NOON - timedelta(hours=1), exact=True))
    assert {row.order_id: row.counted for row in await all_of(db, alice, Row)} == {"o1": 1, "o2": 2}
    assert (await one_of(db, alice, Listing)).quantity_sold == 3


async def _answer(db, account, action):
    async with db.as_user(account.user_id) as session:
        of_account = select(Publication).where(Publication.connection_id == account.id)
        await cancelled_sales.answer(session, (await session.scalars(of_account)).one(), action)


async def test_of_a_cancelled_order_the_seller_is_asked_and_nothing_is_put_back_before(db, alice, stand):
    _, (here, _) = await stand("mercari", "ebay")
    await take(db, here, an_order("o1", "r-1"))
    await cancel(db, here, "o1")
    assert (await one_of(db, alice, Listing)).quantity_sold == 1
    assert (await stands(db, alice))["ebay"] == ("live", "ended", "ending")
    (asked,) = [one.needs_you for one in await all_of(db, alice, Publication) if one.needs_you]
    assert asked["reason"] == "sale_cancelled"
    assert [one["name"] for one in asked["actions"]] == ["put_back", "leave_sold"]
    await cancel(db, here, "o1")  # it is known
    (told,) = [one.data for one in await all_of(db, alice, Event) if one.type == "sale.cancelled"]
    assert (told["orderId"], told["putBack"], told["postedAgainOn"]) == ("o1", "ask", [])


async def test_put_back_it_is_for_sale_again_and_posted_again_where_it_was_taken_down(
    db, admin, alice, stand
):
    _, (here, there, gone) = await stand("mercari", "ebay", "poshmark")
    await take(db, here, an_order("o1", "r-1"))
    async with db.as_user(alice) as session:  # a visit took it down there
        of_account = select(Publication).where(Publication.connection_id == gone.id)
        await change(session, (await session.scalars(of_account)).one(), put="ended", state="ended")
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == gone.id))
        attempt.outcome = "ended"
    await cancel(db, here, "o1")
    await _answer(db, here, "put_back")
    listing = await one_of(db, alice, Listing)
    assert (listing.quantity_sold, listing.revision) == (0, 2)
    assert await stands(db, alice) == {
        "mercari": ("sold", "ended", "sold"),  # the marketplace may have put it back itself: a visit looks
        "ebay": ("live", "live", "ending"),  # a visit looks which came first
        "poshmark": ("ended", "live", "waiting"),
    }
    woken = await (
        await admin.execute("SELECT lock FROM procrastinate.procrastinate_jobs WHERE queue_name = 'visits'")
    ).fetchall()
    assert {row["lock"] for row in woken} == {f"connection:{one.id}" for one in (here, there, gone)}
    with pytest.raises(Refused):
        await _answer(db, here, "put_back")
    assert (await one_of(db, alice, Listing)).quantity_sold == 0


@pytest.mark.parametrize(
    ("put_back", "wanted"),
    [("always", "live"), ("never", "ended"), ("put_back", "live"), ("leave_sold", "ended")],
)
async def test_what_the_marketplace_itself_has_for_sale_again_is_wanted_there_or_goes(
    db, admin, alice, bob, stand, put_back, wanted
):
    _, (here, _) = await stand("mercari", "ebay")
    await admin.execute("UPDATE connections SET next_check_at = NULL")
    if put_back in ("always", "never"):
        await rule(db, alice, put_back=put_back)
    await take(db, here, an_order("o1", "r-1"))
    await cancel(db, here, "o1")
    if put_back in ("put_back", "leave_sold"):
        async with db.as_user(alice) as session:
            sold = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
            sold.outcome, sold.next_look_at = "sold", None  # nobody saw it while the seller was asked
        await _answer(db, here, put_back)
    await admin.execute("DELETE FROM procrastinate.procrastinate_jobs")
    assert (await _due(db, admin, here))[1] == ["visits"]
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        assert (attempt.outcome, attempt.looks) == ("unresolved", -1)
        publication = (await lock_with_others(session, [attempt.publication_id]))[attempt.publication_id]
        cancelled = await cancelled_sales.find_cancelled(session, attempt)
        await sales.take_put_back(session, publication, cancelled)
    assert (await stands(db, alice))["mercari"][1] == wanted
    downs = [one.marketplace for one in await all_of(db, alice, TakeDown) if one.gone_at is None]
    assert ("mercari" in downs) is (wanted == "ended")
    async with db.as_user(bob) as session:
        assert await cancelled_sales.find_cancelled(session, attempt) is None


@pytest.mark.parametrize("state", ["live", "sold"])
async def test_while_the_seller_is_asked_it_is_looked_whether_the_marketplace_has_it_for_sale_again(
    db, admin, alice, bob, stand, state
):
    _, (here, _) = await stand("mercari", "ebay")
    await take(db, here, an_order("o1", "r-1"))
    await cancel(db, here, "o1")
    visit = _visit(db, here)
    visit.adapter = SimpleNamespace(read=_of_itself(Seen(state)))
    visit.page = _of_itself(None)
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
    assert attempt.next_look_at is not None
    await reconcile.look_for_orphan(visit, attempt.publication_id)
    async with db.as_user(alice) as session:
        asked = (await _of(session, here)).needs_you
        attempt = await session.get_one(Attempt, attempt.id)
    assert asked["reason"] == "sale_cancelled"
    assert ("Mercari itself has it for sale again; left as sold" in asked["message"]) is (state == "live")
    assert (attempt.next_look_at is None) is (state == "live")  # else it may have it later
    assert {one[1] for one in (await stands(db, alice)).values()} == {"ended"}
    await _answer(db, here, "put_back")
    async with db.as_user(alice) as session:
        attempt = await session.get_one(Attempt, attempt.id)
        assert (attempt.outcome, attempt.looks) == ("unresolved", -1)
    assert await all_of(db, bob, Publication) == []


@pytest.mark.parametrize("cancelled", [True, False])
async def test_of_one_that_is_there_twice_it_is_said_how_that_came(db, admin, alice, bob, stand, cancelled):
    _, (here,) = await stand("mercari")
    mine = await one_of(db, alice, Attempt)
    if cancelled:  # posted anew, and then the marketplace had the first for sale again
        await rule(db, alice, put_back="always")
        await take(db, here, an_order("o1", "r-1"))
        await cancel(db, here, "o1")
    await admin.execute("UPDATE attempts SET outcome = 'unresolved', next_look_at = now()")
    async with db.as_user(alice) as session:
        publication = await _of(session, here)
        await change(session, publication, put="live", wanted="live", state="live", remote_id="r-9")
        session.add(
            Attempt(user_id=alice, publication_id=publication.id, connection_id=here.id, listing_revision=1,
                    draft=mine.draft, fields_hash="h", fence=1, remote_id="r-9", outcome="live")
        )  # fmt: skip
    draft = Draft(title="A shirt", description="Linen.", price=Money(amount=900), category=("Shirts",))
    await admin.execute("UPDATE attempts SET draft = %s", [draft.model_dump_json()])
    gone = []

    async def delist(_, remote_id):
        gone.append(remote_id)

    async def read(_, remote_id):
        return Seen("ended" if remote_id in gone else "live")

    visit = _visit(db, here)
    visit.tools.settings = Settings.model_construct()
    visit.page, visit.adapter = _of_itself(None), SimpleNamespace(delist=delist, read=read)
    await reconcile.look_for_orphan(visit, mine.publication_id)
    assert gone == ["r-9"]
    (said,) = [one.needs_you for one in await all_of(db, alice, Publication)]
    assert said["reason"] == "posted_twice"
    assert ("After you pressed Post again" in said["message"]) is not cancelled
    assert ("Mercari itself had it for sale again" in said["message"]) is cancelled
    assert await all_of(db, bob, Publication) == []


def _of_itself(value):
    async def said(*_, **__):
        return value

    return said


def _visit(db, account):
    lease = SimpleNamespace(
        transaction=lambda: db.as_user(account.user_id), connection_id=account.id, user_id=account.user_id
    )
    visit = Visit(SimpleNamespace(db=db), lease, "visits")
    visit.connection = account
    return visit


async def test_left_as_sold_a_later_cancellation_does_not_put_it_back_either(db, alice, stand):
    _, (here, _) = await stand("ebay", "mercari", quantity=3)
    await take(db, here, an_order("o1", "r-1"))
    await take(db, here, an_order("o2", "r-1"))
    await cancel(db, here, "o1")
    await _answer(db, here, "leave_sold")
    await cancel(db, here, "o2")
    await _answer(db, here, "put_back")
    assert (await one_of(db, alice, Listing)).quantity_sold == 1


@pytest.mark.parametrize(("put_back", "sold", "wanted"), [("always", 0, "live"), ("never", 1, "ended")])
async def test_by_the_sellers_rule_nobody_is_asked(db, alice, stand, put_back, sold, wanted):
    _, (here, there) = await stand("mercari", "ebay")
    await rule(db, alice, put_back=put_back)
    await take(db, here, an_order("o1", "r-1"))
    await cancel(db, here, "o1")
    assert (await one_of(db, alice, Listing)).quantity_sold == sold
    assert (await stands(db, alice))["ebay"][1] == wanted
    assert [one.needs_you for one in await all_of(db, alice, Publication)] == [None, None]
    (told,) = [one.data for one in await all_of(db, alice, Event) if one.type == "sale.cancelled"]
    again = [there.public_id] if put_back == "always" else []
    assert (told["putBack"], told["postedAgainOn"]) == (put_back, again)


@pytest.mark.parametrize("cancelled", ["o1", "o2"])
async def test_of_a_double_sale_the_other_order_has_it_once_one_is_cancelled(db, alice, stand, cancelled):
    _, (here, there, _) = await stand("mercari", "ebay", "poshmark")
    await rule(db, alice, put_back="always")
    await take(db, here, an_order("o1", "r-1", sold_at=NOON, exact=True))
    await take(db, there, an_order("o2", "r-2", sold_at=NOON + timedelta(minutes=1), exact=True))
    await cancel(db, here if cancelled == "o1" else there, cancelled)
    assert (await one_of(db, alice, Listing)).quantity_sold == 1
    assert {row.order_id: row.counted for row in await all_of(db, alice, Row)} == {
        "o1": int(cancelled == "o2"), "o2": int(cancelled == "o1"),
    }  # fmt: skip
    assert (await one_of(db, alice, DoubleSale)).settled_at is not None
    assert [one.needs_you for one in await all_of(db, alice, Publication)] == [None] * 3
    assert (await stands(db, alice))["poshmark"][1] == "ended"


async def test_what_its_page_told_as_sold_and_the_order_as_cancelled_is_a_cancelled_sale(db, alice, stand):
    _, (here, _) = await stand("mercari", "ebay")
    await rule(db, alice, put_back="always")
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        publication = await session.get_one(Publication, attempt.publication_id)
        await sales.take_sold_page(session, publication, attempt)
    await take(db, here, an_order("o1", "r-1", cancelled=True))
    assert (await one_of(db, alice, Listing)).quantity_sold == 0
    assert (await stands(db, alice))["ebay"][1] == "live"


@pytest.mark.parametrize("waits", ["for a slot", "for an answer to a click", "for its seller"])
async def test_what_is_not_gone_five_minutes_after_it_sold_elsewhere_is_told_once(
    db, admin, alice, stand, waits
):
    _, (here, there) = await stand("mercari", "ebay")
    if waits == "for an answer to a click":
        await admin.execute(
            "UPDATE publications SET put = 'nothing', looking = true, state = 'reconciling' "
            "WHERE marketplace = 'ebay'"
        )
        await admin.execute("UPDATE attempts SET outcome = NULL WHERE connection_id = %s", [there.id])
    await take(db, here, an_order("o1", "r-1"))
    if waits == "for its seller":
        await admin.execute('UPDATE publications SET needs_you = \'{"reason": "session_expired"}\'')

    async def told():
        for _ in range(2):
            await take_downs.tell_late(db)
        return [one.data for one in await all_of(db, alice, Event) if one.type == "delist.late"]

    assert await told() == []
    await admin.execute("UPDATE take_downs SET asked_at = now() - interval '301 seconds'")
    (late,) = await told()
    assert late["marketplace"] == "ebay"


@pytest.mark.parametrize("several", [False, True])
async def test_what_has_to_wait_for_a_rest_that_its_marketplace_asked_for_is_told_at_once(
    db, admin, alice, bob, stand, several
):
    _, (here, there) = await stand("mercari", "ebay", quantity=3 if several else 1)
    await take(db, here, an_order("o1", "r-1"))

    async def told():
        for _ in range(2):
            await take_downs.tell_late(db)
        return [one for one in await all_of(db, alice, Event) if one.type == "delist.late"]

    rest = "UPDATE connections SET rest_until = now() + make_interval(secs => %s) WHERE id = %s"
    await admin.execute(rest, [60, there.id])  # it is over in time
    assert await told() == []
    await admin.execute(rest, [3600, there.id])
    (late,) = await told()
    until = (await one_of_account(db, alice, there)).rest_until
    assert (late.data["marketplace"], late.data["until"]) == ("ebay", until.isoformat())
    async with db.as_user(alice) as session:
        (said,) = await words.told(session, [late])
    assert f"asked us to rest until {until:%H:%M} UTC" in said.text
    assert ("made fewer" if several else "taken down") in said.text
    assert await all_of(db, bob, Event) == []


async def one_of_account(db, user, account):
    (row,) = [one for one in await all_of(db, user, Connection) if one.id == account.id]
    return row


async def test_what_is_gone_or_wanted_again_is_not_late(db, admin, alice, stand):
    _, (here, _, gone) = await stand("mercari", "ebay", "poshmark")
    await rule(db, alice, put_back="always")
    await take(db, here, an_order("o1", "r-1"))
    async with db.as_user(alice) as session:
        of_account = select(Publication).where(Publication.connection_id == gone.id)
        await change(session, (await session.scalars(of_account)).one(), put="ended", state="ended")
    await cancel(db, here, "o1")
    await admin.execute("UPDATE take_downs SET asked_at = now() - interval '301 seconds'")
    async with db.as_user(alice) as session:  # and later its seller ends it
        ended = select(Publication).where(Publication.marketplace == "ebay")
        await act(session, (await session.scalars(ended)).one(), "end")
    await take_downs.tell_late(db)
    assert "delist.late" not in {one.type for one in await all_of(db, alice, Event)}


@pytest.mark.parametrize("several", [False, True])
async def test_what_the_seller_took_down_since_is_not_put_back_by_a_cancelled_order(
    db, admin, alice, stand, several
):
    _, (here, there) = await stand("ebay", "mercari", quantity=2 if several else 1)
    await rule(db, alice, put_back="always", last_unit_on=here.id if several else None)
    await take(db, here, an_order("o1", "r-1"))
    assert (await stands(db, alice))["mercari"][1] == "ended"
    await admin.execute("UPDATE take_downs SET gone_at = now()")
    for wanted in ("live", "ended"):  # a job posted it anew, and then she took it down
        async with db.as_user(alice) as session:
            of_account = select(Publication).where(Publication.connection_id == there.id)
            publication = (await session.scalars(of_account)).one()
            if wanted == "ended":
                await act(session, publication, "end")
            else:
                await want_live(session, publication)
    await cancel(db, here, "o1")
    assert (await one_of(db, alice, Listing)).quantity_sold == 0
    assert (await stands(db, alice))["mercari"][1] == "ended"


async def test_where_some_of_several_sold_a_visit_sees_how_many_it_offers_now(db, alice, stand):
    _, (here, there) = await stand("ebay", "poshmark", quantity=3)
    await take(db, here, an_order("o1", "r-1"))
    put = {one.marketplace: one.put_revision for one in await all_of(db, alice, Publication)}
    assert put == {"ebay": None, "poshmark": 1}
    await take(db, there, an_order("o2", "r-2", quantity=2))
    assert (await stands(db, alice)) == {
        "ebay": ("live", "ended", "ending"),
        "poshmark": ("live", "ended", "ending"),  # we may have lowered it after the buyer came
    }
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        attempt.draft = {**attempt.draft, "quantity": 0}
        await sales.take_sold_page(
            session, await session.get_one(Publication, attempt.publication_id), attempt
        )
    assert (await stands(db, alice))["ebay"] == ("sold", "ended", "sold")
    assert len(await all_of(db, alice, Row)) == 2  # its orders are known: that is no sale more


@pytest.mark.parametrize("can_look", [True, False])
async def test_that_the_only_one_is_sold_where_more_may_be_offered_only_its_own_page_says(
    db, admin, alice, bob, stand, can_look
):
    """Its seller may have raised it there by hand: the others stayed live, and nobody knew."""
    _, (here, _) = await stand("ebay", "mercari")
    if not can_look:
        await admin.execute("UPDATE users SET paused_at = now(), pause_ends = true WHERE id = %s", [alice])
    await take(db, here, an_order("o1", "r-1"))
    left = ("live", "ended", "ending") if can_look else ("sold", "ended", "sold")
    assert (await stands(db, alice))["ebay"] == left
    assert [one.marketplace for one in await all_of(db, alice, TakeDown)] == ["mercari"]
    asked = {one.marketplace: one.needs_you for one in await all_of(db, alice, Publication)}
    assert asked["ebay"] is None
    if can_look:
        async with db.as_user(alice) as session:
            attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
            publication = await session.get_one(Publication, attempt.publication_id)
            await sales.take_sold_page(session, publication, attempt)
    assert (await stands(db, alice))["ebay"] == ("sold", "ended", "sold")
    assert (await one_of(db, alice, Row)).order_id == "o1"
    assert await all_of(db, alice, DoubleSale) == await all_of(db, bob, Row) == []


@pytest.mark.longer
async def test_sales_at_the_same_moment_wait_for_each_other_and_none_is_lost(db, alice, stand):
    for _ in range(8):
        await stand("mercari", "ebay", "poshmark")
    accounts = await all_of(db, alice, Connection)
    by_account = {one.connection_id: one.remote_id for one in await all_of(db, alice, Publication)}
    async with asyncio.timeout(60):
        await asyncio.gather(*(take(db, one, an_order("o1", by_account[one.id])) for one in accounts))
    assert {row.quantity_sold for row in await all_of(db, alice, Listing)} == {1}
    assert len(await all_of(db, alice, Row)) == 24
    assert len(await all_of(db, alice, DoubleSale)) == 16
    assert {row.wanted for row in await all_of(db, alice, Publication)} == {"ended"}


async def test_the_sale_of_another_seller_is_nobodys_business(db, alice, bob, stand):
    await stand("mercari", "ebay")
    async with db.as_user(bob) as session:
        for what in (Row, TakeDown, DoubleSale):
            assert (await session.scalars(select(what))).all() == []


async def test_orders_count_from_when_something_of_ours_stood_there_also_what_was_brought_in(
    db, alice, stand
):
    _, (here, _) = await stand("poshmark", "ebay")
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        attempt.armed_at, attempt.created_at = None, NOON
    async with db.as_user(alice) as session:
        assert await sales.first_post(session, here.id) == NOON


async def _due(db, admin, account):
    """(What a visit to the account does next, on which lane it is woken for that.)"""
    async with db.as_user(account.user_id) as session:
        rows = (await session.execute(text(f"SELECT p.wanted {_DUE}"), {"id": account.id})).all()
    woken = await (
        await admin.execute("SELECT lane FROM everystall.due(50) WHERE connection_id = %s", [account.id])
    ).fetchall()
    return [row.wanted for row in rows], [row["lane"] for row in woken]


GONE = "put = 'ended', wanted = 'ended', state = 'ended', needs_you = '{\"reason\": \"gone\"}'"
IN_QUESTION = (
    "put = 'nothing', looking = true, state = 'reconciling', needs_you = '{\"reason\": \"unresolved\"}'"
)
NO_ANSWER = (
    "put = 'nothing', put_revision = NULL, state = 'waiting', needs_you = '{\"reason\": \"page_changed\"}'"
)


@pytest.mark.parametrize(
    ("row", "action", "refused"),
    [
        (f"{GONE}", "post_again", Conflict),
        (f"{IN_QUESTION}, wanted = 'ended'", "post_again", Conflict),
        (f"{NO_ANSWER}, wanted = 'ended'", "retry", None),
        (f"{IN_QUESTION}, wanted = 'ended'", "it_is_there", None),
        ("state = 'ending', wanted = 'ended'", "keep", Conflict),
    ],
)
async def test_what_is_sold_out_is_wanted_live_again_by_no_button(
    db, admin, alice, bob, stand, row, action, refused
):
    listing, (_, there) = await stand("mercari", "ebay")
    await admin.execute("UPDATE listings SET quantity_sold = 1")
    await admin.execute(f"UPDATE publications SET {row} WHERE connection_id = %s", [there.id])
    if "looking" in row:
        await admin.execute("UPDATE attempts SET outcome = NULL WHERE connection_id = %s", [there.id])
    async with db.as_user(alice) as session:
        of_account = select(Publication).where(Publication.connection_id == there.id)
        publication = (await session.scalars(of_account)).one()
        url = "https://www.ebay.com/itm/123456789012" if action == "it_is_there" else None
        with pytest.raises(refused) if refused else nullcontext():
            await act(session, publication, action, url=url)
    assert (await stands(db, alice))["ebay"][1] == "ended"
    async with db.as_user(bob) as session:
        assert await session.get(Listing, listing.id) is None


async def test_what_is_sold_out_is_not_relisted(db, admin, alice, bob, stand):
    _, (_, there) = await stand("mercari", "ebay")
    await admin.execute("UPDATE listings SET quantity_sold = 1")
    await admin.execute("UPDATE attempts SET armed_at = now() - interval '90 days'")
    for user in (alice, bob):
        async with db.as_user(user) as session:
            of_account = select(Publication).where(Publication.connection_id == there.id)
            publication = (await session.scalars(of_account)).one_or_none()
            assert (publication is None) is (user == bob)
            if publication is not None:
                with pytest.raises(Refused, match="sold"):
                    await relisting.ask(session, publication)
    assert {one.relist for one in await all_of(db, alice, Publication)} == {None}


async def test_what_is_posted_again_while_its_last_one_sells_waits_for_that_and_is_refused(
    db, admin, alice, bob, stand
):
    _, (here, there) = await stand("mercari", "ebay")
    await admin.execute(f"UPDATE publications SET {GONE} WHERE connection_id = %s", [there.id])

    async def press():
        async with db.as_user(alice) as session:
            of_account = select(Publication).where(Publication.connection_id == there.id)
            await act(session, (await session.scalars(of_account)).one(), "post_again")

    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with db.as_user(alice) as session:
        await sales.take(session, await session.get_one(Connection, here.id), [an_order("o1", "r-1")])
        pressing = asyncio.create_task(press())
        while not await (await admin.execute(waiting)).fetchall():
            await asyncio.sleep(0.02)
    with pytest.raises(Conflict):
        await pressing
    assert (await stands(db, alice))["ebay"][1] == "ended"
    assert await all_of(db, bob, Publication) == []


async def test_a_cancelled_order_puts_nothing_back_while_none_is_left(db, admin, alice, bob, stand):
    _, (here, _) = await stand("mercari", "ebay")
    await take(db, here, an_order("o1", "r-1"))
    await cancel(db, here, "o1")
    await admin.execute("UPDATE listings SET quantity_sold = 2")  # one more than an order tells of
    await _answer(db, here, "put_back")
    assert (await one_of(db, alice, Listing)).quantity_sold == 1
    assert (await stands(db, alice))["ebay"][1] == "ended"
    assert await all_of(db, bob, Publication) == []


async def test_a_visit_locks_all_of_the_listing_to_which_its_publication_moves_meanwhile(
    db, admin, alice, bob, stand
):
    """As a link moves it: while we wait for the rows of the listing of before."""
    _, (here,) = await stand("mercari")
    other, (there,) = await stand("ebay")
    ids = {one.connection_id: one.id for one in await all_of(db, alice, Publication)}
    visit = Visit(SimpleNamespace(db=db), SimpleNamespace(connection_id=here.id, user_id=alice), "visits")
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    async def look():
        async with db.as_user(alice) as session:
            publication = await visit.locked(session, ids[here.id], with_others=True)
            assert publication.listing_id == other.id
            for table, id in (("publications", ids[there.id]), ("listings", other.id)):
                with pytest.raises(LockNotAvailable):
                    await admin.execute(f"SELECT 1 FROM {table} WHERE id = %s FOR UPDATE NOWAIT", [id])

    async with db.as_user(alice) as session:
        moves = await session.get_one(Publication, ids[here.id], with_for_update=True)
        looking = asyncio.create_task(look())
        while not await (await admin.execute(waiting)).fetchall():
            await asyncio.sleep(0.02)
        moves.listing_id = other.id
    await looking
    async with db.as_user(bob) as session:
        with pytest.raises(NotWanted):
            await visit.locked(session, ids[here.id], with_others=True)


async def test_what_sold_twice_and_is_there_still_goes_although_the_seller_is_asked(db, admin, alice, stand):
    _, (ebay, poshmark, mercari) = await stand("ebay", "poshmark", "mercari", quantity=3)
    await admin.execute("UPDATE connections SET next_check_at = NULL")
    await take(db, poshmark, an_order("o1", "r-2"))
    await take(db, mercari, an_order("o2", "r-3"))
    await take(db, ebay, an_order("o3", "r-1", quantity=2))  # one is left there that nobody has
    asked = {
        one.marketplace: (one.needs_you or {}).get("reason") for one in await all_of(db, alice, Publication)
    }
    assert asked == {"ebay": "sold_twice", "poshmark": None, "mercari": None}
    await admin.execute("DELETE FROM procrastinate.procrastinate_jobs")
    assert await _due(db, admin, ebay) == (["ended"], ["urgent"])


async def test_of_several_fewer_are_put_there_although_a_cancelled_order_is_asked_about(
    db, admin, alice, stand
):
    _, (ebay, mercari) = await stand("ebay", "mercari", quantity=3)
    await admin.execute("UPDATE connections SET next_check_at = NULL")
    await take(db, ebay, an_order("o1", "r-1"))
    await cancel(db, ebay, "o1")
    await take(db, mercari, an_order("o2", "r-2"))
    await admin.execute("DELETE FROM procrastinate.procrastinate_jobs")
    assert await _due(db, admin, ebay) == (["live"], ["urgent"])
    await take(db, mercari, an_order("o3", "r-2"))  # all are gone, or held by the cancelled order
    asked = {
        one.marketplace: (one.needs_you or {}).get("reason") for one in await all_of(db, alice, Publication)
    }
    assert asked == {"ebay": "sale_cancelled", "mercari": None}
    await admin.execute("DELETE FROM procrastinate.procrastinate_jobs")
    assert await _due(db, admin, ebay) == (["ended"], ["urgent"])
    await _answer(db, ebay, "put_back")
    assert (await one_of(db, alice, Listing)).quantity_sold == 2


async def test_of_several_fewer_are_put_as_urgently_as_a_take_down_whatever_keeps_other_changes(
    db, admin, alice, bob, stand
):
    _, (here, there) = await stand("mercari", "ebay", quantity=3)
    await admin.execute("UPDATE connections SET next_check_at = NULL")
    await admin.execute(
        """UPDATE publications SET needs_you = '{"reason": "edited_there"}', tries = 5,
           next_try_at = now() + interval '10 minutes' WHERE marketplace = 'ebay'"""
    )
    await admin.execute("DELETE FROM procrastinate.procrastinate_jobs")
    await take(db, here, an_order("o1", "r-1"))
    woken = await (
        await admin.execute("SELECT lock FROM procrastinate.procrastinate_jobs WHERE queue_name = 'urgent'")
    ).fetchall()
    assert f"connection:{there.id}" in [row["lock"] for row in woken]
    for reason in (None, "marketplace_busy", "page_changed"):
        if reason is not None:
            await admin.execute(
                "UPDATE publications SET needs_you = jsonb_build_object('reason', %s::text)", [reason]
            )
        await admin.execute("DELETE FROM procrastinate.procrastinate_jobs")
        assert await _due(db, admin, there) == (["live"], ["urgent"])
        numbers = await (await admin.execute("SELECT due, urgent FROM everystall.queue_numbers()")).fetchone()
        assert numbers["urgent"] == numbers["due"] > 0
    await admin.execute("DELETE FROM procrastinate.procrastinate_jobs")
    await admin.execute("UPDATE publications SET needs_you = NULL")
    async with db.as_user(alice) as session:  # what else waits there is put off
        of_account = select(Publication).where(Publication.connection_id == there.id)
        settings = SimpleNamespace(pace_seconds=None)
        asked = SimpleNamespace(connection=SimpleNamespace(pace_seconds=60),
                                tools=SimpleNamespace(settings=settings))  # fmt: skip
        await pace.hold(asked, session, (await session.scalars(of_account)).one(), 60)
    assert await _due(db, admin, there) == (["live"], ["urgent"])
    async with db.as_user(bob) as session:
        assert (await session.execute(text(f"SELECT p.wanted {_DUE}"), {"id": there.id})).all() == []


async def test_where_more_are_offered_than_are_left_for_long_the_seller_is_told_once(
    db, admin, alice, bob, stand
):
    _, (here, there) = await stand("mercari", "ebay", quantity=3)
    await take(db, here, an_order("o1", "r-1"))

    async def told():
        for _ in range(2):
            await take_downs.tell_late(db)
        return [one.data for one in await all_of(db, alice, Event) if one.type == "delist.late"]

    assert await told() == []
    await admin.execute(
        "UPDATE publications SET lower_asked_at = now() - interval '301 seconds' WHERE marketplace = 'ebay'"
    )
    (late,) = await told()
    assert (late["marketplace"], late["lowers"]) == ("ebay", True)
    async with db.as_user(alice) as session:
        (shown,) = await questions.late(session)
        assert (shown.publication.marketplace, await questions.needs_you_count(session)) == ("ebay", 1)
    async with db.as_user(bob) as session:
        assert (await questions.late(session), await questions.needs_you_count(session)) == ([], 0)
    for order in ("o2", "o3"):
        await take(db, here, an_order(order, "r-1"))
    (down,) = [one for one in await all_of(db, alice, Publication) if one.connection_id == there.id]
    assert (down.wanted, down.lower_asked_at, down.lower_told_at) == ("ended", None, None)
    assert len(await told()) == 1


async def test_an_order_of_more_than_a_mail_told_counts_the_difference(db, alice, stand):
    _, (here, _) = await stand("ebay", "mercari", quantity=3)
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        publication = await session.get_one(Publication, attempt.publication_id)
        await sales.take_mail(session, publication, attempt)
    assert (await one_of(db, alice, Listing)).quantity_sold == 1
    await take(db, here, an_order("o1", "r-1", quantity=2))
    assert (await one_of(db, alice, Listing)).quantity_sold == 2
    row = await one_of(db, alice, Row)
    assert (row.order_id, row.quantity, row.counted, row.told_by) == ("o1", 2, 2, "orders")
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        assert attempt.draft["quantity"] == 1
    await take(db, here, an_order("o1", "r-1", quantity=2))
    assert (await one_of(db, alice, Listing)).quantity_sold == 2
    assert await all_of(db, alice, DoubleSale) == []


async def test_an_order_of_more_than_a_mail_told_may_be_more_than_there_was(db, alice, stand):
    _, (here, there) = await stand("ebay", "mercari", quantity=2)
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        publication = await session.get_one(Publication, attempt.publication_id)
        await sales.take_mail(session, publication, attempt)
    await take(db, there, an_order("o1", "r-2"))
    await take(db, here, an_order("o2", "r-1", quantity=2))
    assert (await one_of(db, alice, Listing)).quantity_sold == 2
    assert {row.order_id: row.counted for row in await all_of(db, alice, Row)} == {"o1": 0, "o2": 2}
    assert len(await all_of(db, alice, DoubleSale)) == 1


async def test_what_a_cancelled_order_holds_goes_to_the_next_one_before_that_is_sold_twice(db, alice, stand):
    _, (here, _) = await stand("ebay", "mercari")
    await take(db, here, an_order("o1", "r-1"))
    await cancel(db, here, "o1")  # the seller is asked, and has not answered; it is offered there again
    await take(db, here, an_order("o2", "r-1"))
    assert (await one_of(db, alice, Listing)).quantity_sold == 1
    rows = {row.order_id: row for row in await all_of(db, alice, Row)}
    assert {id: row.counted for id, row in rows.items()} == {"o1": 0, "o2": 1}
    assert rows["o1"].settled_at is not None
    assert await all_of(db, alice, DoubleSale) == []
    assert [one.needs_you for one in await all_of(db, alice, Publication)] == [None, None]
    await take(db, here, an_order("o3", "r-1"))
    assert len(await all_of(db, alice, DoubleSale)) == 1


@pytest.mark.parametrize(
    ("paused", "delists", "due"),
    [
        ("users", False, ["live"]), ("connections", False, ["live"]),
        ("users", True, []), ("connections", True, []),
    ],
)  # fmt: skip
async def test_while_posting_is_paused_one_of_several_that_sold_is_made_fewer_elsewhere(
    db, admin, alice, bob, stand, paused, delists, due
):
    _, (here, there) = await stand("ebay", "poshmark", quantity=3)
    await admin.execute(f"UPDATE {paused} SET paused_at = now(), pause_ends = %s", [delists])
    await admin.execute("UPDATE listings SET title = 'Another', revision = 2")
    await admin.execute("UPDATE publications SET wanted_revision = 2")
    assert (await _due(db, admin, there))[0] == []  # an edit waits
    await take(db, here, an_order("o1", "r-1"))
    assert (await _due(db, admin, there))[0] == due
    assert (await _due(db, admin, here))[0] == due  # how many it offers now is to be seen
    async with db.as_user(bob) as session:
        assert (await session.execute(text(f"SELECT 1 {_DUE}"), {"id": there.id})).all() == []
    await admin.execute("UPDATE attempts SET draft = draft || '{\"quantity\": 2}'")  # it is lowered
    await admin.execute("UPDATE publications SET lower_asked_at = NULL")
    assert (await _due(db, admin, there))[0] == []


async def test_an_order_of_two_takes_the_place_of_both_mails_that_told_of_it(db, alice, bob, stand):
    _, (here, _) = await stand("ebay", "mercari", quantity=4)
    for _ in range(2):
        async with db.as_user(alice) as session:
            attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
            publication = await session.get_one(Publication, attempt.publication_id)
            await sales.take_mail(session, publication, attempt)
    for _ in range(2):
        await take(db, here, an_order("o1", "r-1", quantity=2))
    assert (await one_of(db, alice, Listing)).quantity_sold == 2
    rows = await all_of(db, alice, Row)
    assert {row.order_id for row in rows} == {"o1"}
    assert sum(row.quantity for row in rows) == 2
    assert [row.price_cents for row in rows if row.price_cents is not None] == [900]
    await take(db, here, an_order("o2", "r-1"))
    assert (await one_of(db, alice, Listing)).quantity_sold == 3
    await rule(db, alice, put_back="always")
    await cancel(db, here, "o1")
    assert (await one_of(db, alice, Listing)).quantity_sold == 1
    assert await all_of(db, bob, Row) == []


async def test_what_a_mail_and_its_page_told_of_is_all_one_order_and_no_double_sale(db, alice, bob, stand):
    _, (here, _) = await stand("ebay", "mercari", quantity=4)
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.connection_id == here.id))
        publication = await session.get_one(Publication, attempt.publication_id)
        await sales.take_mail(session, publication, attempt)
        await session.refresh(attempt)
        await sales.take_sold_page(session, publication, attempt)
    assert (await one_of(db, alice, Listing)).quantity_sold == 4
    await take(db, here, an_order("o1", "r-1", quantity=4))
    assert (await one_of(db, alice, Listing)).quantity_sold == 4
    assert await all_of(db, alice, DoubleSale) == await all_of(db, bob, DoubleSale) == []


async def test_two_that_were_sold_too_late_are_asked_about_one_after_the_other(db, admin, alice, bob, stand):
    _, (here, there) = await stand("ebay", "mercari")
    await take(db, there, an_order("o1", "r-2", sold_at=NOON, exact=True))
    for number in (2, 3):
        later = NOON + timedelta(minutes=number)
        await take(db, here, an_order(f"o{number}", "r-1", sold_at=later, exact=True))
    rows = {row.order_id: str(row.id) for row in await all_of(db, alice, Row)}

    async def asked():
        of_account = select(Publication).where(Publication.connection_id == here.id)
        async with db.as_user(alice) as session:
            publication = (await session.scalars(of_account)).one()
            return (publication.needs_you or {}).get("saleId")

    async with db.as_user(alice) as session:
        both = await questions.doubles(session, [row.id for row in await all_of(db, alice, Listing)])
        assert {id: later.order_id for id, (_, later) in both.items()} == {rows["o2"]: "o2", rows["o3"]: "o3"}
    assert await asked() == rows["o3"]
    async with db.as_user(alice) as session:
        of_account = select(Publication).where(Publication.connection_id == here.id)
        await act(session, (await session.scalars(of_account)).one(), "understood")
    assert await asked() == rows["o2"]
    await cancel(db, there, "o1")  # o2 has it now
    assert await asked() is None
    assert await all_of(db, bob, Publication) == []


async def test_the_one_that_can_be_sent_now_is_asked_about_no_more_and_the_other_still_is(
    db, alice, bob, stand
):
    _, (here, there) = await stand("ebay", "mercari")
    await take(db, there, an_order("o1", "r-2", sold_at=NOON, exact=True))
    for number in (2, 3):
        later = NOON + timedelta(minutes=number)
        await take(db, here, an_order(f"o{number}", "r-1", sold_at=later, exact=True))
    await cancel(db, there, "o1")
    rows = {row.order_id: row for row in await all_of(db, alice, Row)}
    assert (rows["o2"].counted, rows["o3"].counted) == (1, 0)
    asked = [one.needs_you for one in await all_of(db, alice, Publication) if one.needs_you]
    assert [one["saleId"] for one in asked] == [str(rows["o3"].id)]
    assert await all_of(db, bob, Publication) == []


async def _ask_both(db, here, there):
    """Of two on both: o1 is cancelled and holds one, and o3 was of one that nobody had."""
    await take(db, here, an_order("o1", "r-1", sold_at=NOON, exact=True))
    await take(db, there, an_order("o2", "r-2", sold_at=NOON, exact=True))
    await take(db, here, an_order("o3", "r-1", sold_at=NOON + timedelta(hours=1), exact=True))
    async with db.as_user(here.user_id) as session:
        publication = await _of(session, here)
        sale = await session.scalar(select(Row).where(Row.order_id == "o1"))
        sale.cancelled_at = NOON
        await session.flush()
        await cancelled_sales.ask_about_cancelled(session, publication)


async def _of(session, account):
    of_account = select(Publication).where(Publication.connection_id == account.id)
    return (await session.scalars(of_account)).one()


async def _asked(db, account):
    async with db.as_user(account.user_id) as session:
        return [one["reason"] for one in all_asked(await _of(session, account))]


async def test_what_is_asked_about_one_order_stays_while_another_is_asked_about(db, alice, bob, stand):
    _, (here, there) = await stand("ebay", "poshmark", quantity=2)
    await _ask_both(db, here, there)
    assert await _asked(db, here) == ["sale_cancelled", "sold_twice"]
    await _answer(db, here, "leave_sold")
    assert await _asked(db, here) == ["sold_twice"]
    assert await all_of(db, bob, Publication) == []


@pytest.mark.parametrize("pause", [True, False])
async def test_nor_does_what_keeps_visits_away_end_it(db, admin, alice, bob, stand, pause):
    _, (here, there) = await stand("ebay", "poshmark", quantity=2)
    await _ask_both(db, here, there)
    if pause:
        await admin.execute("UPDATE connections SET paused_at = now(), pause_ends = true")
    else:
        await admin.execute(
            'UPDATE connections SET needs_you = \'{"reason": "challenge", "message": "A captcha."}\''
        )
    async with db.as_user(alice) as session:
        await want_ended(session, await _of(session, here))
    why = "paused" if pause else "challenge"
    assert await _asked(db, here) == [why, "sale_cancelled", "sold_twice"]
    async with db.as_user(alice) as session:
        await release_all(session, await session.get_one(Connection, here.id), why)
    assert await _asked(db, here) == ["sale_cancelled", "sold_twice"]
    assert await all_of(db, bob, Publication) == []


async def test_one_question_names_all_cancelled_orders_that_it_asks_about(db, alice, bob, stand):
    _, (here, _) = await stand("ebay", "mercari", quantity=3)
    for id in ("o1", "o2"):
        await take(db, here, an_order(id, "r-1"))
        await cancel(db, here, id)
    (asked,) = [one.needs_you for one in await all_of(db, alice, Publication) if one.needs_you]
    assert "(o1 and o2)" in asked["message"]
    assert "others" not in asked
    assert await all_of(db, bob, Publication) == []


async def _waits(admin):
    """Does somebody wait for a row that another transaction has locked?"""
    asked = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await (await admin.execute(asked)).fetchall())


async def test_a_sale_that_waits_for_a_link_counts_of_what_they_became(db, admin, alice, bob, stand):
    """It was written down as nobody's, and the other one stayed up."""
    one, _ = await stand("ebay")
    _, (mercari,) = await stand("mercari")
    async with db.as_user(alice) as session:
        of_account = select(Publication).where(Publication.connection_id == mercari.id)
        (await session.scalars(of_account)).one().listing_id = one.id
        await session.flush()
        selling = asyncio.create_task(take(db, mercari, an_order("o1", "r-2")))
        while not await _waits(admin):
            await asyncio.sleep(0.02)
    await selling
    assert (await one_of(db, alice, Row)).listing_id == one.id
    assert {row.id: row.quantity_sold for row in await all_of(db, alice, Listing)}[one.id] == 1
    assert (await stands(db, alice))["ebay"] == ("live", "ended", "ending")
    assert await all_of(db, bob, Row) == []


@pytest.mark.parametrize("waits", ["after an error", "for an answer to a click"])
async def test_what_was_to_go_already_and_is_there_goes_at_once_when_it_sells_elsewhere(
    db, admin, alice, bob, stand, waits
):
    _, (here, there) = await stand("mercari", "ebay")
    await rule(db, alice, put_back="always")
    async with db.as_user(alice) as session:
        of_account = select(Publication).where(Publication.connection_id == there.id)
        await act(session, (await session.scalars(of_account)).one(), "end")
    if waits == "for an answer to a click":
        await admin.execute(
            "UPDATE publications SET put = 'nothing', looking = true, state = 'reconciling' "
            "WHERE marketplace = 'ebay'"
        )
        await admin.execute("UPDATE attempts SET outcome = NULL WHERE connection_id = %s", [there.id])
    await admin.execute(
        "UPDATE publications SET tries = 5, next_try_at = now() + interval '10 minutes' "
        "WHERE marketplace = 'ebay'"
    )
    await admin.execute("DELETE FROM procrastinate.procrastinate_jobs")
    await take(db, here, an_order("o1", "r-1"))
    down = await one_of(db, alice, TakeDown)
    assert (down.marketplace, down.gone_at) == ("ebay", None)
    (publication,) = [one for one in await all_of(db, alice, Publication) if one.connection_id == there.id]
    assert (publication.wanted, publication.tries, publication.next_try_at) == ("ended", 0, None)
    woken = await (
        await admin.execute("SELECT lock FROM procrastinate.procrastinate_jobs WHERE queue_name = 'urgent'")
    ).fetchall()
    assert [row["lock"] for row in woken] == [f"connection:{there.id}"]
    await cancel(db, here, "o1")  # that it goes there was the seller's wish, and stays it
    assert (await one_of(db, alice, Listing)).quantity_sold == 0
    assert (await stands(db, alice))["ebay"][1] == "ended"
    assert await all_of(db, bob, TakeDown) == []


async def test_put_back_it_is_posted_too_where_it_waited_to_be_posted(db, admin, alice, bob, stand):
    _, (here, there) = await stand("mercari", "ebay")
    await admin.execute("DELETE FROM attempts WHERE connection_id = %s", [there.id])
    await admin.execute(
        "UPDATE publications SET put = 'nothing', put_revision = NULL, state = 'waiting', remote_id = NULL "
        "WHERE marketplace = 'ebay'"
    )
    await take(db, here, an_order("o1", "r-1"))
    assert (await stands(db, alice))["ebay"] == ("nothing", "ended", "cancelled")
    assert (await one_of(db, alice, TakeDown)).gone_at is not None
    await cancel(db, here, "o1")
    await _answer(db, here, "put_back")
    assert (await stands(db, alice))["ebay"] == ("nothing", "live", "waiting")
    assert await all_of(db, bob, Publication) == []


@pytest.mark.parametrize("reason", ["marketplace_busy", "page_changed"])
async def test_a_take_down_is_due_while_its_seller_is_asked_why_it_did_not_go(
    db, admin, alice, bob, stand, reason
):
    _, (here, there) = await stand("mercari", "ebay")
    await admin.execute("UPDATE connections SET next_check_at = NULL")
    await admin.execute(
        "UPDATE publications SET needs_you = jsonb_build_object('reason', %s::text)", [reason]
    )
    await admin.execute(
        "UPDATE publications SET wanted = 'ended', state = 'ending' WHERE marketplace = 'ebay'"
    )
    await admin.execute("UPDATE publications SET wanted_revision = 2 WHERE marketplace = 'mercari'")
    assert await _due(db, admin, there) == (["ended"], ["urgent"])
    assert await _due(db, admin, here) == ([], [])  # a change waits for its seller
    numbers = await (await admin.execute("SELECT due, urgent FROM everystall.queue_numbers()")).fetchone()
    assert (numbers["due"], numbers["urgent"]) == (1, 1)
    async with db.as_user(bob) as session:
        assert (await session.execute(text(f"SELECT p.wanted {_DUE}"), {"id": there.id})).all() == []


@pytest.mark.parametrize("why", ["its order was cancelled", "its seller pressed Post again"])
async def test_looks_for_what_was_given_up_that_fail_get_rarer_and_end(
    db, admin, alice, bob, stand, make_listing, why
):
    _, (here,) = await stand("mercari")
    sold = why == "its order was cancelled"
    visit, mine = _visit(db, here), await one_of(db, alice, Attempt)
    if sold:
        await rule(db, alice, put_back="never")
        await take(db, here, an_order("o1", "r-1"))
        await cancel(db, here, "o1")
    else:
        await admin.execute("UPDATE publications SET put = 'nothing', looking = true, state = 'reconciling'")
        await admin.execute(
            "UPDATE attempts SET outcome = NULL, remote_id = NULL, looks = 1, repost_asked_at = now()"
        )
        await reconcile._not_found(visit, mine.publication_id, mine, datetime.now(UTC))
    await publish(db, alice, await make_listing(alice), here, "r-9", "live", 1)
    await admin.execute(
        """UPDATE publications SET needs_you = '{"reason": "twin_in_question"}' WHERE remote_id = 'r-9'"""
    )
    waits = []
    while len(waits) < 9:
        await admin.execute("UPDATE attempts SET next_look_at = now() WHERE outcome = 'unresolved'")
        await failures.failed_orphan(visit, mine.publication_id, PageChanged("It looks otherwise."))
        async with db.as_user(alice) as session:
            attempt = await session.get_one(Attempt, mine.id)
        if attempt.next_look_at is None:
            break
        waits.append(round((attempt.next_look_at - datetime.now(UTC)).total_seconds(), -2))
    assert waits == [300, 3600, 86400]
    assert attempt.outcome == ("sold" if sold else "unresolved")
    asked = {one.remote_id: one.needs_you for one in await all_of(db, alice, Publication)}
    assert asked.pop("r-9") is None  # it waits for nothing any more
    (question,) = asked.values()
    assert (question or {}).get("reason") == (None if sold else "posted_twice")
    assert await all_of(db, bob, Publication) == []
