"""How orders are written down, whatever interrupts it; what they do is tests/test_sale_rows.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from everystall.errors import LeaseLost, PageChanged
from everystall.inventory import cancelled_sales, sales
from everystall.marketplaces.base import Sales
from everystall.models import Attempt, DoubleSale, Event, Listing, Publication, Sale, TakeDown
from everystall.settings import Settings
from everystall.worker import watch
from tests.selling import all_of, an_order, one_of, publish, rule, stands


def _visit(db, account):
    transaction = lambda: db.as_user(account.user_id)  # noqa: E731
    tools = SimpleNamespace(settings=SimpleNamespace(address="http://127.0.0.1"))
    return SimpleNamespace(
        connection=account, lease=SimpleNamespace(transaction=transaction), tools=tools, label="Mercari"
    )


async def _known(db, account):
    async with db.as_user(account.user_id) as session:
        return await sales.known(session, account.id)


async def test_what_is_interrupted_leaves_no_order_known_that_is_newer_than_one_that_is_not(
    db, alice, stand, monkeypatch
):
    _, (here, _) = await stand("mercari", "ebay")
    told = [an_order(id, "r-1" if id == "o3" else f"not-ours-{id}") for id in ("o5", "o4", "o3", "o2", "o1")]
    visit, take = _visit(db, here), sales.take

    async def is_cut_off(*_):
        raise OperationalError("SELECT", {}, Exception("the server went away"))

    monkeypatch.setattr(sales, "take", is_cut_off)
    with pytest.raises(OperationalError):
        await watch._record(visit, told, sales.Known())
    known = await _known(db, here)
    assert not known.orders & {"o3", "o4", "o5"}  # else nobody would read as far as o3 again
    monkeypatch.setattr(sales, "take", take)
    assert await watch._record(visit, told, known)
    assert (await _known(db, here)).orders == {"o1", "o2", "o3", "o4", "o5"}
    assert (await one_of(db, alice, Listing)).quantity_sold == 1


@pytest.mark.parametrize(
    ("days", "stays", "told", "well"),
    [
        (1, 60, ["o2", "o1"], True),
        (1, 60, [], False),  # its rows come later, say
        (1, 60, ["o2"], False),
        (70, 60, [], True),  # nothing sold for long: it may have left the list
        (1, 0, [], True),
    ],
)
async def test_a_list_without_what_stood_there_lately_is_not_taken_for_one_of_no_orders(
    db, admin, alice, stand, days, stays, told, well
):
    _, (here, _) = await stand("ebay", "mercari")
    visit = _visit(db, here)
    await watch._record(visit, [an_order("o1", "not-ours")], sales.Known())
    await admin.execute("UPDATE sales SET sold_at = now() - make_interval(days => %s)", [days])
    proved = []

    async def find_sales(*_, **__):
        return Sales(an_order(id, "not-ours") for id in told)

    async def page():
        return None

    async def signed_in():
        proved.append(True)
        raise LeaseLost  # that far is far enough

    visit.adapter = SimpleNamespace(find_sales=find_sales)
    visit.form = SimpleNamespace(CAPABILITIES=SimpleNamespace(orders_stay_days=stays))
    visit.page, visit.signed_in = page, signed_in
    with pytest.raises(LeaseLost if well else PageChanged):
        await watch.watch(visit)
    assert proved == [True] * well


@pytest.mark.parametrize(("due", "days", "sought"), [(True, 1, {"o1"}), (True, 30, set()), (False, 1, set())])
async def test_orders_that_may_yet_be_cancelled_are_sought_when_the_list_of_what_is_live_is_due(
    db, admin, alice, bob, stand, due, days, sought
):
    _, (here, _) = await stand("mercari", "ebay", quantity=2)
    _, (other,) = await stand("mercari")
    visit = _visit(db, here)
    await watch._record(visit, [an_order("o2", "not-ours"), an_order("o1", "r-1")], sales.Known())
    await watch._record(_visit(db, other), [an_order("o3", "r-3")], sales.Known())
    await admin.execute("UPDATE sales SET sold_at = now() - make_interval(days => %s)", [days])
    await admin.execute("UPDATE connections SET next_list_at = now() + %s * interval '1 hour'", [1 - 2 * due])
    asked = []

    async def find_sales(*_, look_for, **__):
        asked.append(look_for)
        raise LeaseLost  # that far is far enough

    async def page():
        return None

    visit.adapter = SimpleNamespace(find_sales=find_sales)
    visit.form = SimpleNamespace(CAPABILITIES=SimpleNamespace(orders_stay_days=0))
    visit.page = page
    with pytest.raises(LeaseLost):
        await watch.watch(visit)
    assert asked == [sought]
    async with db.as_user(bob) as session:
        assert await sales.may_be_cancelled(session, here.id) == set()


async def test_an_order_that_was_cancelled_and_stands_again_is_a_sale_like_any_other(
    db, admin, alice, bob, stand
):
    """Where it is called as its listing is, which the site has for sale again."""
    _, (here, _) = await stand("mercari", "ebay")
    visit, order = _visit(db, here), an_order("r-1", "r-1")
    await rule(db, alice, put_back="always")
    await watch._record(visit, [order], sales.Known())
    await admin.execute("UPDATE take_downs SET gone_at = now()")
    await watch._record(visit, [replace(order, cancelled=True)], await _known(db, here))
    assert ((await one_of(db, alice, Listing)).quantity_sold, (await stands(db, alice))["ebay"][1]) == (
        0,
        "live",
    )
    await watch._record(visit, [order, replace(order, cancelled=True, line=1)], await _known(db, here))
    assert (await one_of(db, alice, Listing)).quantity_sold == 0  # a part of it is cancelled still
    for _ in range(2):
        await watch._record(visit, [order], await _known(db, here))
        assert (await one_of(db, alice, Listing)).quantity_sold == 1
    assert (await stands(db, alice))["ebay"][1] == "ended"
    assert await all_of(db, alice, DoubleSale) == await all_of(db, bob, Publication) == []


async def test_of_an_order_of_two_things_one_is_cancelled_and_the_other_stays_sold(
    db, admin, alice, bob, stand, make_listing
):
    """It was for sale again elsewhere, and nothing noticed."""
    one, (here, there) = await stand("ebay", "mercari")
    other = await make_listing(alice)
    await publish(db, alice, other, here, "r-8", "live", 1)
    await publish(db, alice, other, there, "r-9", "live", 1)
    visit, first, second = _visit(db, here), an_order("o1", "r-1"), an_order("o1", "r-8", line=1)
    await rule(db, alice, put_back="always")
    await watch._record(visit, [first, second], sales.Known())
    await admin.execute("UPDATE take_downs SET gone_at = now()")

    async def sold():
        return {row.id: row.quantity_sold for row in await all_of(db, alice, Listing)}

    async def wanted_on_mercari():
        rows = [one for one in await all_of(db, alice, Publication) if one.marketplace == "mercari"]
        return {row.listing_id: row.wanted for row in rows}

    for _ in range(2):
        told = [first, replace(second, cancelled=True)]
        await watch._record(visit, told, await _known(db, here))
        assert await sold() == {one.id: 1, other.id: 0}
        assert await wanted_on_mercari() == {one.id: "ended", other.id: "live"}
    for _ in range(2):  # it stands again
        await watch._record(visit, [first, second], await _known(db, here))
        assert await sold() == {one.id: 1, other.id: 1}
    whole = [replace(first, remote_id=None, cancelled=True)]  # one row for all of it
    await watch._record(visit, whole, await _known(db, here))
    assert await sold() == {one.id: 0, other.id: 0}
    assert await all_of(db, alice, DoubleSale) == await all_of(db, bob, Sale) == []


async def test_an_order_that_stands_again_is_what_its_page_told_of_meanwhile(db, admin, alice, bob, stand):
    """It was counted beside that, and called sold twice."""
    _, (here, _) = await stand("mercari", "ebay")
    visit, order = _visit(db, here), an_order("r-1", "r-1")
    await rule(db, alice, put_back="always")
    await watch._record(visit, [order], sales.Known())
    await watch._record(visit, [replace(order, cancelled=True)], await _known(db, here))
    # the site has it for sale again, and somebody bought it
    await admin.execute("UPDATE attempts SET outcome = 'live', next_look_at = NULL WHERE remote_id = 'r-1'")
    await admin.execute(
        "UPDATE publications SET put = 'live', wanted = 'live', state = 'live' WHERE marketplace = 'mercari'"
    )
    async with db.as_user(alice) as session:
        attempt = await session.scalar(select(Attempt).where(Attempt.remote_id == "r-1"))
        publication = await session.get_one(Publication, attempt.publication_id)
        await sales.take_sold_page(session, publication, attempt)
    downs = [one.sale_id for one in await all_of(db, alice, TakeDown) if one.settled_at is None]
    for _ in range(2):
        await watch._record(visit, [order], await _known(db, here))
        assert (await one_of(db, alice, Listing)).quantity_sold == 1
    rows = {row.order_id: row for row in await all_of(db, alice, Sale)}
    assert rows.keys() == {"r-1", None}
    assert (rows["r-1"].cancelled_at, rows["r-1"].told_by, rows["r-1"].counted) == (None, "orders", 1)
    assert (rows[None].cancelled_at is None, rows[None].counted) == (False, 0)
    assert rows["r-1"].id in downs
    assert [one.needs_you for one in await all_of(db, alice, Publication)] == [None, None]
    assert await all_of(db, alice, DoubleSale) == await all_of(db, bob, Sale) == []
    await watch._record(visit, [replace(order, cancelled=True)], await _known(db, here))
    assert (await one_of(db, alice, Listing)).quantity_sold == 0


async def test_an_order_that_was_cancelled_when_first_seen_and_stands_is_a_sale(db, alice, bob, stand):
    _, (here, _) = await stand("mercari", "ebay")
    visit, order = _visit(db, here), an_order("r-1", "r-1")
    await watch._record(visit, [replace(order, cancelled=True)], sales.Known())
    assert (await one_of(db, alice, Listing)).quantity_sold == 0
    for _ in range(2):
        await watch._record(visit, [order], await _known(db, here))
        assert (await one_of(db, alice, Listing)).quantity_sold == 1
    assert (await stands(db, alice))["ebay"][1] == "ended"
    assert await all_of(db, alice, DoubleSale) == await all_of(db, bob, Sale) == []


async def _look(db, account, told, *, ended=True, stays=60):
    """A whole look, of an account whose list of what is live is due."""

    async def find_sales(*_, **__):
        found = Sales(told)
        found.ended = ended
        return found

    async def nothing():
        return None

    visit = _visit(db, account)
    visit.adapter = SimpleNamespace(find_sales=find_sales)
    visit.form = SimpleNamespace(CAPABILITIES=SimpleNamespace(orders_stay_days=stays, sold_is_orders=False))
    visit.page = visit.signed_in = nothing
    visit.tools.settings, visit.tools.db = Settings.model_construct(), db
    visit.lease.connection_id, visit.lease.user_id = account.id, account.user_id
    visit.check_claimed = datetime.now(UTC)
    await watch.watch(visit)


async def _asked(db, user):
    return [one.needs_you for one in await all_of(db, user, Publication) if one.needs_you]


async def _is_missing(db, admin, account, told, **how):
    """Its list does not show it, twice, minutes apart."""
    await admin.execute("UPDATE connections SET next_list_at = now() - interval '1 hour'")
    for _ in range(2):
        await _look(db, account, told, **how)
        await admin.execute("UPDATE sales SET missing_at = missing_at - interval '6 minutes'")


@pytest.mark.longer
@pytest.mark.parametrize("then", ["put_back", "leave_sold", "shown", "cancelled"])
async def test_an_order_that_left_its_list_is_asked_about_and_never_put_back_by_itself(
    db, admin, alice, bob, stand, then
):
    _, (here, _) = await stand("ebay", "mercari")
    await stand("ebay", "mercari")
    await rule(db, alice, put_back="always")
    order, other = an_order("o1", "r-1"), an_order("o0", "not-ours")
    await watch._record(_visit(db, here), [order, other], sales.Known())
    await admin.execute("UPDATE take_downs SET gone_at = now()")
    await admin.execute("UPDATE connections SET next_list_at = now() - interval '1 hour'")
    for _ in range(2):  # of one moment
        await _look(db, here, [other])
    assert await _asked(db, alice) == []
    await _is_missing(db, admin, here, [other])
    (asked,) = await _asked(db, alice)
    assert (asked["reason"], [one["name"] for one in asked["actions"]]) == (
        "sale_cancelled", ["put_back", "leave_sold"],
    )  # fmt: skip
    assert "is not in your list on eBay any more (o1): was it cancelled?" in asked["message"]

    async def sold():
        return {row.quantity_sold for row in await all_of(db, alice, Listing)}

    assert await sold() == {0, 1}
    if then == "shown":
        await _look(db, here, [order, other])
    elif then == "cancelled":
        await _look(db, here, [replace(order, cancelled=True), other])
    else:
        async with db.as_user(alice) as session:
            found = await session.scalar(select(Publication).where(Publication.needs_you.is_not(None)))
            await cancelled_sales.answer(session, found, then)
    assert await _asked(db, alice) == []
    back = then in ("put_back", "cancelled")
    assert await sold() == ({0} if back else {0, 1})
    told = [one.data["orderId"] for one in await all_of(db, alice, Event) if one.type == "sale.cancelled"]
    assert told == (["o1"] if back else [])
    await _is_missing(db, admin, here, [other])
    assert len(await _asked(db, alice)) == (then == "shown")  # it is not asked about once more but then
    async with db.as_user(alice) as session:  # nor is the list read to its end for it
        assert await sales.may_be_cancelled(session, here.id) == set()
    assert await _asked(db, bob) == await all_of(db, bob, Sale) == []


@pytest.mark.parametrize(("sold_twice", "said"), [(False, "ask"), (True, "never")])
async def test_a_missing_order_that_its_seller_calls_cancelled_is_not_told_as_put_back_if_the_next_one_has_it(
    db, admin, alice, bob, stand, sold_twice, said
):
    _, (here, there) = await stand("ebay", "mercari")
    other = an_order("o0", "not-ours")
    await watch._record(_visit(db, here), [an_order("o1", "r-1"), other], sales.Known())
    if sold_twice:
        await watch._record(_visit(db, there), [an_order("o2", "r-2")], sales.Known())
    await _is_missing(db, admin, here, [other])
    async with db.as_user(alice) as session:
        found = await session.scalar(select(Publication).where(Publication.connection_id == here.id))
        await cancelled_sales.answer(session, found, "put_back")
    told = [one.data for one in await all_of(db, alice, Event) if one.type == "sale.cancelled"]
    assert [(one["orderId"], one["putBack"]) for one in told] == [("o1", said)]
    assert (await one_of(db, alice, Listing)).quantity_sold == int(sold_twice)
    assert await all_of(db, bob, Event) == []


@pytest.mark.parametrize(
    ("told", "how", "asked"),
    [
        (["o5", "o3"], {}, 1),
        (["o5"], {}, 0),  # it shows fewer of those that were in it than it lacks
        (["o5", "o3"], {"ended": False}, 1),  # its last one is older than the one that is missing
        (["o5", "o4"], {"ended": False}, 0),  # and not
        (["o5", "o3"], {"stays": 5}, 0),  # it may have left the list
    ],
)
async def test_nothing_is_missing_from_a_list_that_was_not_read_as_far_as_it(
    db, admin, alice, bob, stand, told, how, asked
):
    _, (here, _) = await stand("ebay", "mercari")
    now = datetime.now(UTC)
    orders = {
        id: an_order(id, f"not-ours-{id}", sold_at=now - timedelta(days=days))
        for id, days in (("o5", 1), ("o4", 6), ("o3", 8))
    }
    orders["o2"] = an_order("o2", "r-1", sold_at=now - timedelta(days=6))
    await watch._record(_visit(db, here), list(orders.values()), sales.Known())
    if len(told) == 1:
        await watch._record(_visit(db, here), [an_order("o1", "not-ours-o1")], sales.Known())
        await admin.execute("UPDATE sales SET publication_id = (SELECT id FROM publications LIMIT 1)")
    await _is_missing(db, admin, here, [orders[id] for id in told], **how)
    assert len(await _asked(db, alice)) == asked
    assert await _asked(db, bob) == []


@pytest.mark.parametrize("answer", ["put_back", "leave_sold", None])
async def test_of_the_only_order_the_seller_is_asked_and_their_answer_has_the_list_believed(
    db, admin, alice, bob, stand, answer
):
    """Nobody could see what sold there until it was from long ago. Without an answer: their rule is that
    nothing is put back."""
    _, (here, _) = await stand("ebay", "mercari")
    if answer is None:
        await rule(db, alice, put_back="never")
    await watch._record(_visit(db, here), [an_order("o1", "r-1")], sales.Known())
    await admin.execute("UPDATE connections SET next_list_at = now() - interval '1 hour'")
    for _ in range(2):
        with pytest.raises(PageChanged):
            await _look(db, here, [])
        await admin.execute("UPDATE sales SET missing_at = missing_at - interval '6 minutes'")
    async with db.as_user(alice) as session:
        found = await session.scalar(select(Publication).where(Publication.needs_you.is_not(None)))
        assert (found is None) is (answer is None)
        if answer is not None:
            await cancelled_sales.answer(session, found, answer)
    await _look(db, here, [])
    assert (await one_of(db, alice, Listing)).quantity_sold == (0 if answer == "put_back" else 1)
    await _look(db, here, [an_order("o2", "of nobody")])  # what is sold next is seen
    assert "o2" in {one.order_id for one in await all_of(db, alice, Sale)}
    assert await _asked(db, bob) == []


async def test_what_is_asked_about_a_missing_order_stays_when_a_cancelled_one_is_sold_again(
    db, admin, alice, bob, stand
):
    _, (here, there) = await stand("ebay", "mercari", quantity=2)
    missing, cancelled, other = an_order("o1", "r-1"), an_order("o2", "r-1"), an_order("o0", "not-ours")
    await watch._record(_visit(db, here), [cancelled, missing, other], sales.Known())
    await _is_missing(db, admin, here, [cancelled, other])
    await _look(db, here, [replace(cancelled, cancelled=True), other])
    (asked,) = await _asked(db, alice)
    assert "was cancelled there (o2)" in asked["message"]
    assert "any more (o1)" in asked["message"]
    await watch._record(_visit(db, there), [an_order("o3", "r-2")], sales.Known())
    assert [one["reason"] for one in await _asked(db, alice)] == ["sale_cancelled"]
    assert await _asked(db, bob) == await all_of(db, alice, DoubleSale) == []


async def test_that_more_was_sold_than_is_read_at_once_is_told(db, alice, stand):
    _, (here, _) = await stand("mercari", "ebay")
    await watch._tell_cut(_visit(db, here), 100)
    told = await one_of(db, alice, Event)
    assert (told.type, told.data["browserProfileId"]) == ("watch.failed", here.public_id)
    assert "We read the last 100" in told.data["message"]


@pytest.mark.parametrize(
    ("night", "shared", "alone"),
    [(Settings.model_fields["watch_night_seconds"].default, 75, 900), (300, 300, 900), (1800, 1800, 1800)],
)
async def test_by_night_what_is_live_elsewhere_too_is_looked_at_as_by_day_unless_it_is_said(
    db, admin, alice, bob, stand, night, shared, alone
):
    _, (here, _) = await stand("mercari", "ebay")
    _, (single,) = await stand("poshmark")
    behind = datetime.now(UTC).hour - 3
    zone = f"Etc/GMT{behind if behind <= 12 else behind - 24:+}"  # it is three there
    await admin.execute("UPDATE users SET time_zone = %s", [zone])
    settings = Settings.model_construct(watch_night_seconds=night)
    for account, seconds in ((here, shared), (single, alone)):
        visit = _visit(db, account)
        visit.tools.settings, visit.tools.db, visit.check_claimed = settings, db, datetime.now(UTC)
        visit.lease.connection_id, visit.lease.user_id = account.id, account.user_id
        await admin.execute("UPDATE connections SET next_check_at = now() + interval '1 day'")
        await watch._next(visit, datetime.now(UTC))
        found = await admin.execute(
            "SELECT extract(epoch FROM next_check_at - now())::int AS left FROM connections WHERE id = %s",
            [account.id],
        )
        assert (await found.fetchone())["left"] in range(seconds - 10, seconds + 1)
