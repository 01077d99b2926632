"""An account that we cannot see: its listings say so, and by the seller's rule are ended elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from sqlalchemy import select, text
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from everystall.inventory import blindness, sale_mails
from everystall.inventory.publications import act, lock_all
from everystall.inventory.revisions import changed
from everystall.inventory.sale_mails import SaleTold
from everystall.marketplaces import get_form
from everystall.marketplaces.base import Sales
from everystall.models import Connection, DoubleSale, Event, Listing, Publication, Sale
from everystall.settings import Settings
from everystall.worker import watch
from tests.selling import all_of, an_order, cancel, one_of, rule, stands, take

SIGNED_OUT = {"reason": "session_expired", "message": "It no longer knows your sign-in.", "url": None}


async def _ask(db, account, needs_you):
    async with db.as_user(account.user_id) as session:
        (await session.get_one(Connection, account.id)).needs_you = needs_you


async def _sees_again(db, account):
    """It is connected again, and a visit has looked what sold."""
    await _ask(db, account, None)
    async with db.as_user(account.user_id) as session:
        await session.execute(
            text("UPDATE connections SET watched_at = clock_timestamp() WHERE id = :id"), {"id": account.id}
        )


async def _minutes_pass(admin, minutes=31):
    await admin.execute(
        "UPDATE connections SET blind_since = blind_since - make_interval(mins => %s)", [minutes]
    )


async def _look(db, times=3):
    for _ in range(times):
        await blindness.look_after(db)


async def _told(db, user):
    return [one.type for one in await all_of(db, user, Event) if one.type.startswith("blind.")]


async def test_it_is_blind_from_when_we_cannot_look_until_we_did(db, alice, stand):
    _, (here, there) = await stand("mercari", "ebay")
    await _ask(db, here, SIGNED_OUT)
    await _look(db)
    account = await _account(db, here)
    assert account.blind_since is not None
    assert blindness.told_of(account)["reason"] == "session_expired"
    assert "no longer knows your sign-in" in blindness.told_of(account)["message"]
    await _ask(db, here, None)
    await _look(db)
    assert blindness.told_of(await _account(db, here)) is not None  # nobody has looked yet
    await _sees_again(db, here)
    await _look(db)
    assert blindness.told_of(await _account(db, here)) is None
    assert blindness.told_of(await _account(db, there)) is None


async def test_what_a_tick_logs_of_accounts_says_whose_they_are_and_where(db, alice, bob, make_connection):
    hers, his = await make_connection(alice, "mercari"), await make_connection(bob, "poshmark")
    for account in (hers, his):
        await _ask(db, account, SIGNED_OUT)
    with capture_logs(processors=[merge_contextvars]) as lines:
        await _look(db, times=1)
    said = [(one["event"], one["user_id"], one["marketplace"], one["connection_id"]) for one in lines]
    assert sorted(said) == sorted(
        ("account.blind", str(account.user_id), account.marketplace, str(account.id))
        for account in (hers, his)
    )


async def _account(db, account):
    async with db.as_user(account.user_id) as session:
        return await session.get_one(Connection, account.id)


async def test_a_list_of_orders_that_cannot_be_read_is_blindness_too(db, admin, alice, stand):
    _, (here, _) = await stand("mercari", "ebay")
    await admin.execute("UPDATE connections SET watch_told_at = now() WHERE id = %s", [here.id])
    await _look(db)
    assert blindness.told_of(await _account(db, here))["reason"] == "watch_failed"


@pytest.mark.parametrize(
    ("given", "minutes"), [({}, 500), ({"blind": "keep"}, 500), ({"blind": "end_elsewhere"}, 29)]
)
async def test_nothing_is_ended_without_the_rule_or_before_its_time(db, admin, alice, stand, given, minutes):
    _, (here, _) = await stand("mercari", "ebay")
    await rule(db, alice, **given)
    await _ask(db, here, SIGNED_OUT)
    await _look(db)
    await _minutes_pass(admin, minutes)
    await _look(db)
    assert {one[1] for one in (await stands(db, alice)).values()} == {"live"}
    assert await _told(db, alice) == []


async def _gone_blind(db, admin, alice, account):
    await rule(db, alice, blind="end_elsewhere", put_back="always")
    await _ask(db, account, SIGNED_OUT)
    await _look(db)
    await _minutes_pass(admin)
    await _look(db)


async def test_by_the_rule_it_is_ended_elsewhere_and_put_back_once_we_see_again(db, admin, alice, stand):
    _, (here, _) = await stand("mercari", "ebay")
    _, (other,) = await stand("poshmark")  # is not on the blind account
    await _gone_blind(db, admin, alice, here)
    assert await stands(db, alice) == {
        "mercari": ("live", "live", "live"),
        "ebay": ("live", "ended", "ending"),
        "poshmark": ("live", "live", "live"),
    }
    woken = await admin.execute("SELECT queue_name FROM procrastinate.procrastinate_jobs")
    assert [row["queue_name"] for row in await woken.fetchall()] == ["urgent"]
    await _sees_again(db, here)
    await _look(db)
    assert (await stands(db, alice))["ebay"] == ("live", "live", "ending")
    assert await _told(db, alice) == ["blind.ended", "blind.put_back"]
    assert (await _account(db, here)).blind_ended_at is None
    assert (await _account(db, other)).blind_since is None


async def test_what_the_seller_takes_down_since_is_not_put_back(db, admin, alice, stand):
    _, (here, there) = await stand("mercari", "ebay")
    await _gone_blind(db, admin, alice, here)
    async with db.as_user(alice) as session:
        of_account = select(Publication).where(Publication.connection_id == there.id)
        await act(session, (await session.scalars(of_account)).one(), "end")
    await _sees_again(db, here)
    await _look(db)
    assert (await stands(db, alice))["ebay"][1] == "ended"
    assert await _told(db, alice) == ["blind.ended"]


async def test_what_sold_on_the_blind_account_meanwhile_is_not_put_back(db, admin, alice, stand):
    _, (here, _) = await stand("mercari", "ebay")
    await _gone_blind(db, admin, alice, here)
    await _ask(db, here, None)
    await take(db, here, an_order("o1", "r-1"))
    await _sees_again(db, here)
    await _look(db)
    assert (await stands(db, alice))["ebay"][1] == "ended"
    assert await _told(db, alice) == ["blind.ended"]


async def test_two_blind_accounts_end_neither_each_other_nor_put_back_before_both_see(
    db, admin, alice, stand
):
    _, (here, there, _) = await stand("mercari", "ebay", "poshmark")
    await _ask(db, there, SIGNED_OUT)
    await _gone_blind(db, admin, alice, here)
    assert {name: one[1] for name, one in (await stands(db, alice)).items()} == {
        "mercari": "live", "ebay": "live", "poshmark": "ended",
    }  # fmt: skip
    await _sees_again(db, here)
    await _look(db)
    assert (await stands(db, alice))["poshmark"][1] == "ended"
    await _sees_again(db, there)
    await _look(db)
    assert (await stands(db, alice))["poshmark"][1] == "live"


async def test_an_account_that_the_seller_took_away_ends_nothing_elsewhere(db, admin, alice, stand):
    _, (here, _) = await stand("mercari", "ebay")
    await rule(db, alice, blind="end_elsewhere")
    await _ask(db, here, {**SIGNED_OUT, "reason": "disconnected"})
    await _look(db)
    await _minutes_pass(admin)
    await _look(db)
    assert (await stands(db, alice))["ebay"][1] == "live"


async def test_the_last_one_of_several_stays_where_the_seller_wants_it(db, alice, stand):
    _, (here, there, _) = await stand("ebay", "poshmark", "mercari", quantity=3)
    await rule(db, alice, last_unit_on=there.id)
    await take(db, here, an_order("o1", "r-1"))
    assert {one[1] for one in (await stands(db, alice)).values()} == {"live"}  # two are left
    await take(db, here, an_order("o2", "r-1"))
    assert {name: one[1] for name, one in (await stands(db, alice)).items()} == {
        "ebay": "ended", "poshmark": "live", "mercari": "ended",
    }  # fmt: skip
    await cancel(db, here, "o2")
    assert (await one_of(db, alice, Listing)).quantity_sold == 2  # asked


@pytest.mark.parametrize(("quantity", "others"), [(2, "ended"), (4, "live")])
async def test_the_last_one_stays_where_the_seller_wants_it_also_when_the_quantity_is_changed(
    db, alice, bob, stand, quantity, others
):
    listing, (here, there) = await stand("ebay", "poshmark", quantity=3)
    await rule(db, alice, last_unit_on=there.id)
    await take(db, here, an_order("o1", "r-1"))
    async with db.as_user(alice) as session:
        await lock_all(session, [listing.id])
        edited = await session.get_one(Listing, listing.id)
        edited.quantity = quantity
        await changed(session, edited, {"quantity"})
    assert {name: one[1] for name, one in (await stands(db, alice)).items()} == {
        "ebay": others, "poshmark": "live",
    }  # fmt: skip
    assert await all_of(db, bob, Publication) == []


async def test_the_last_one_stays_everywhere_where_it_cannot_stay_there(db, alice, stand):
    _, (here, there) = await stand("ebay", "poshmark", quantity=2)
    await stand("mercari", "mercari")  # there was never more than one
    await rule(db, alice, last_unit_on=there.id)
    await _ask(db, there, SIGNED_OUT)
    await take(db, here, an_order("o1", "r-1"))
    async with db.as_user(alice) as session:
        wanted = (await session.scalars(select(Publication.wanted))).all()
    assert set(wanted) == {"live"}


async def _mail(db, user, remote_id, *, proven=True, key="1"):
    async with db.as_user(user) as session:
        await sale_mails.take(session, user, SaleTold("mercari", "", (remote_id,), proven, key))


async def test_a_proven_mail_that_came_just_before_we_knew_that_it_is_blind_is_the_sale(db, alice, stand):
    _, (here, _) = await stand("mercari", "ebay")
    await _sees_again(db, here)
    await _mail(db, alice, "r-1")
    assert await all_of(db, alice, Sale) == []  # a hint: it is looked at now
    await _ask(db, here, SIGNED_OUT)
    await _look(db)
    sale = await one_of(db, alice, Sale)
    assert (sale.told_by, sale.remote_id) == ("mail", "r-1")
    assert (await stands(db, alice))["ebay"] == ("live", "ended", "ending")
    await _mail(db, alice, "r-1")
    await take(db, here, an_order("o1", "r-1"))  # it sees again
    assert (await one_of(db, alice, Sale)).told_by == "orders"
    assert await all_of(db, alice, DoubleSale) == []


async def _visit_looks(db, account, meanwhile, told):
    """A visit's look at the orders, which shows what was there when its page was asked for."""

    async def find_sales(*_, **__):
        await meanwhile()
        return Sales(told)

    async def nothing():
        pass

    transaction = lambda: db.as_user(account.user_id)  # noqa: E731
    lease = SimpleNamespace(transaction=transaction, connection_id=account.id, user_id=account.user_id)
    visit = SimpleNamespace(
        connection=account, lease=lease, label="Mercari", page=nothing, signed_in=nothing,
        tools=SimpleNamespace(settings=Settings.model_construct(), db=db), check_claimed=datetime.now(UTC),
        adapter=SimpleNamespace(find_sales=find_sales), form=get_form("mercari"),
    )  # fmt: skip
    await watch.watch(visit)


@pytest.mark.parametrize("told", [[], [an_order("o1", "r-1")]])
async def test_a_proven_mail_that_came_while_we_looked_for_the_last_time_is_the_sale_once(
    db, alice, bob, stand, told
):
    _, (here, _) = await stand("mercari", "ebay", quantity=3)
    await _visit_looks(db, here, lambda: _mail(db, alice, "r-1"), told)
    assert len(await all_of(db, alice, Sale)) == len(told)
    await _ask(db, here, SIGNED_OUT)
    await _look(db)
    assert (await one_of(db, alice, Sale)).told_by == ("orders" if told else "mail")
    assert (await one_of(db, alice, Listing)).quantity_sold == 1
    assert await all_of(db, bob, Sale) == []


@pytest.mark.parametrize("kind", ["not proven", "looked at since", "taken while it was blind"])
async def test_a_mail_that_is_no_news_or_proves_nothing_is_no_sale_once_it_is_blind(
    db, alice, stand, kind
):  # fmt: skip
    await stand("mercari", "ebay")
    _, (here, _) = await stand("mercari", "ebay", quantity=3)
    if kind == "taken while it was blind":
        await _ask(db, here, SIGNED_OUT)
    await _mail(db, alice, "r-3", proven=kind != "not proven")
    if kind == "looked at since":
        await _sees_again(db, here)
    await _ask(db, here, SIGNED_OUT)
    await _look(db)
    sold = {one.quantity: one.quantity_sold for one in await all_of(db, alice, Listing)}
    assert sold == {1: 0, 3: int(kind == "taken while it was blind")}
