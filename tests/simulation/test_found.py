"""What the machine of test_publication_life.py found, each as a plain story."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from everystall.inventory.revisions import touch
from everystall.models import Listing
from everystall.web import connections
from everystall.web.shapes import MoneyBody
from tests.simulation.market import Item
from tests.simulation.stage import MANY, Life
from tests.simulation.workers import Process

Begin = Callable[..., Life]


def _to(place: str) -> Callable[[Process], bool]:
    return lambda worker: worker.place == place


def test_a_stop_that_outlasts_the_guard_and_not_the_lease_is_no_changed_page(begin: Begin) -> None:
    """The guard had killed the browser (7 s), the lease still stood (12 s): the seller was told that the
    marketplace's page had changed."""
    life = begin("mercari")
    worker = life.workers[0]
    life.start(worker, life.accounts[0])
    life.run(worker.go_on(MANY, _to("form")))
    worker.paused = True
    life.pass_time(9)
    worker.paused = False
    life.run(worker.go_on(MANY))
    assert life.publication()["needs_you"] is None
    life.settle()
    assert life.publication()["put"] == "live"


def test_what_waits_for_a_twin_in_question_says_so(begin: Begin) -> None:
    """Mercari has no field for our mark: while one is in question, another of the same title and price could
    not be told from it. It waited in silence, and its job never ended."""
    life = begin("mercari")
    life.world.will["click"].append("dropped")
    life.visit()
    life.pass_time(100)
    life.visit()
    assert life.publication()["needs_you"]["reason"] == "unresolved"
    life.post(life.listings[1], life.accounts)
    life.pass_time(10)
    life.visit()
    assert life.publication(1)["needs_you"]["reason"] == "twin_in_question"
    life.judge()
    life.decide(0, "give_up")
    life.pass_time(100_000)
    life.visit()
    life.decide(1, "retry")
    life.settle()
    assert life.publication(1)["put"] == "live"


def _live(begin: Begin) -> Life:
    life = begin("mercari")
    life.visit()
    assert life.publication()["put"] == "live"
    life.pass_time(20)
    return life


def _there(life: Life) -> Item:
    (item,) = life.world.live()
    return item


def test_what_our_own_unanswered_click_put_is_not_taken_for_the_sellers(begin: Begin) -> None:
    """The first change was made and its answer lost; another edit's click was refused. What the first had put
    was known no more, and the seller was asked about her own change there."""
    life = _live(begin)
    life.world.will["save"].append("lost")
    life.edit(life.listings[0], price=MoneyBody(amount=2100))
    life.visit()
    life.world.will["save"].append("refused")
    life.edit(life.listings[0], price=MoneyBody(amount=1900))
    life.pass_time(20)
    life.visit()
    assert life.publication()["needs_you"]["reason"] == "listing_rejected"
    life.decide(0, "retry")
    life.pass_time(20)
    life.visit()
    assert life.publication()["needs_you"] is None
    life.settle()
    assert _there(life).price.amount == 1900


def test_what_the_seller_keeps_there_stays_after_an_unanswered_click(begin: Begin) -> None:
    """A click that had no effect was still in question when the seller decided: *Keep what is there* was
    written over."""
    life = _live(begin)
    life.world.will["save"].append("dropped")
    life.edit(life.listings[0], title="Linen shirt, blue")
    life.visit()
    _there(life).by_hand("title", "By hand")
    life.edit(life.listings[0], title="Linen shirt, navy")
    life.pass_time(20)
    life.visit()
    assert life.publication()["needs_you"]["reason"] == "edited_there"
    life.decide(0, "keep_theirs")
    life.settle()
    assert _there(life).title == "By hand"


def _one_sold_elsewhere(life: Life) -> None:
    async def sold(session: Any) -> None:
        listing = await session.get_one(Listing, life.listings[0])
        listing.quantity_sold += 1
        await touch(session, listing)

    life.seller(sold)


def _several(begin: Begin) -> Life:
    life = begin("ebay")
    life.edit(life.listings[0], quantity=3)
    life.visit()
    assert _there(life).quantity == 3
    life.pass_time(20)
    return life


@pytest.mark.parametrize("edited", [False, True])
def test_while_posting_is_paused_fewer_is_put_and_nothing_else(begin: Begin, edited: bool) -> None:
    """One of three sold elsewhere in a holiday: all three stood there until the seller was back."""
    life = _several(begin)
    life.seller(lambda session: connections.pause_all(session, life.who))
    if edited:
        life.edit(life.listings[0], title="Linen shirt, blue", description="")
    _one_sold_elsewhere(life)
    for _ in range(2):
        life.visit()
        life.pass_time(20)
    assert (_there(life).quantity, _there(life).title) == (2, "Linen shirt, hardly worn")
    row = life.publication()
    assert (row["unsettled"], row["needs_you"]) == (edited, None)
    _one_sold_elsewhere(life)
    life.visit()
    assert _there(life).quantity == 1
    life.edit(life.listings[0], description="A light linen shirt, worn twice. Number 0 of two.")
    life.settle()
    assert (_there(life).quantity, _there(life).title) == (
        1, "Linen shirt, blue" if edited else "Linen shirt, hardly worn",
    )  # fmt: skip


def test_while_posting_is_paused_a_click_that_nobody_answered_is_not_undone_by_fewer(begin: Begin) -> None:
    life = _several(begin)
    life.world.will["save"].append("lost")
    life.edit(life.listings[0], title="Linen shirt, blue")
    life.visit()
    life.seller(lambda session: connections.pause_all(session, life.who))
    _one_sold_elsewhere(life)
    life.pass_time(20)
    life.visit()
    assert (_there(life).quantity, _there(life).title) == (2, "Linen shirt, blue")
    life.settle()


def test_what_is_to_be_relisted_is_made_fewer_while_posting_is_paused_and_relisted_after_it(
    begin: Begin,
) -> None:
    life = _several(begin)
    before = _there(life).id
    life.relist(life.listings[0], life.accounts[0])
    assert life.publication()["relist"] == "asked"
    life.seller(lambda session: connections.pause_all(session, life.who))
    _one_sold_elsewhere(life)
    life.visit()
    assert (_there(life).quantity, _there(life).id) == (2, before)
    assert (life.publication()["relist"], life.publication()["unsettled"]) == ("asked", True)
    life.settle()
    assert (_there(life).quantity, _there(life).id != before) == (2, True)


def test_while_taking_down_is_paused_too_it_is_not_made_fewer(begin: Begin) -> None:
    life = _several(begin)
    life.seller(partial(_pause, life))
    _one_sold_elsewhere(life)
    life.visit()
    assert _there(life).quantity == 3
    life.settle()
    assert _there(life).quantity == 2


async def _pause(life: Life, session: Any) -> None:
    await connections.pause_all(session, life.who, delists=True)


@pytest.mark.parametrize(
    ("how", "times", "reason", "minutes"),
    [("busy", 8, "marketplace_busy", 5), ("changed", 1, "page_changed", 15)],
)
def test_a_take_down_is_tried_on_while_its_seller_is_asked(
    begin: Begin, how: str, times: int, reason: str, minutes: int
) -> None:
    """Eight busy answers, or one page that is not as we know it: it stayed up until *Try again*."""
    life = _live(begin)
    life.world.will["end"].extend([how] * (times + 1))
    life.decide(0, "end")
    for _ in range(times):
        assert life.publication()["needs_you"] is None
        life.pass_time(300)
        life.visit()
    for _ in range(2):
        assert life.publication()["needs_you"]["reason"] == reason
        (row,) = life.rows(
            "SELECT extract(epoch FROM next_try_at - now()) AS wait FROM publications "
            "WHERE user_id = %(user)s"
        )
        assert 0 < row["wait"] <= 60 * minutes
        life.judge()
        life.pass_time(60 * minutes + 1)
        assert ("urgent", life.connections[life.accounts[0]]) in [(lane, id) for id, lane in life._woken()]
        life.visit()
    assert (life.publication()["put"], life.publication()["needs_you"]) == ("ended", None)
    assert life.world.live() == []


def test_what_is_wanted_again_over_the_sale_of_the_last_one_goes(begin: Begin) -> None:
    """A post crossed the sale: its own page said that it stands, and so it stood, with none left."""
    life = _live(begin)
    life.rows("UPDATE listings SET quantity_sold = quantity WHERE user_id = %(user)s RETURNING id")
    life.rows(
        "UPDATE publications SET state = 'ending', started_at = now() - interval '1 minute' "
        "WHERE user_id = %(user)s RETURNING id"
    )
    life.visit()
    assert (life.publication()["wanted"], life.publication()["put"]) == ("ended", "ended")
    assert life.world.live() == []


@pytest.mark.parametrize("back", [True, False])
def test_what_was_cancelled_is_live_again_where_the_site_has_it_for_sale(begin: Begin, back: bool) -> None:
    """`back`: the site does so by itself. Where it sold nothing is posted."""
    life = _live(begin)
    (item,) = life.world.live()
    life.world.end(item, "sale", "sold")
    life.look_at_orders()
    life.visit()
    assert life.publication()["state"] == "sold"
    life.world.cancel(item, back=back)
    life.look_at_orders()
    life.pass_time(20)
    life.visit()
    assert life.publication()["needs_you"]["reason"] == "sale_cancelled"
    life.judge()
    life.decide(0, "put_back")
    life.settle()
    assert [one.id for one in life.world.live()] == ([item.id] if back else [])
    assert (life.publication()["put"] == "live") == back


def test_while_taking_down_is_paused_too_it_stays_until_its_seller_goes_on(begin: Begin) -> None:
    life = _live(begin)
    life.seller(partial(_pause, life))
    life.decide(0, "end")
    life.visit()
    assert life.publication()["needs_you"]["reason"] == "paused"
    assert life.world.live() != []
    life.judge()
    life.settle()
    assert life.world.live() == []
