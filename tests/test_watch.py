"""How orders are written down, whatever interrupts it; what they do is tests/test_sale_rows.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from everystall.errors import LeaseLost, PageChanged
from everystall.inventory import sales
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
