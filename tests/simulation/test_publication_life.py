"""Thousands of interleavings of a publication's life: our real worker, inventory, rows and policies.
Marketplaces, browsers, photos and clocks are simulated (market.py, workers.py, stage.py, machine.py).

Nothing sleeps, and no timing decides. `make simulate` runs many examples and prints its seed; `make simulate
SEED=…` gives the same run. That the judge would notice is tested too: the product is broken on purpose in
six ways (no fence; a second click where the first was not found; no baseline; a change written over the
seller's own; a change that another one was armed for; a rest that is not kept), and each time it says so.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.models import Attempt, Connection
from everystall.worker import lease, pace, publish, reconcile, revise, visit
from everystall.worker.compare import Merged
from tests.simulation.machine import simulate
from tests.simulation.stage import MANY, Life, Stage

Begin = Callable[..., Life]

#: How many examples, and the first shard's seed; if not told, as many as `make test` has time for.
EXAMPLES = int(os.environ.get("SIMULATE") or 16)
SEED = int(os.environ.get("SEED") or 0)


@pytest.mark.parametrize("shard", [pytest.param(0, marks=pytest.mark.longer), 1])
def test_there_is_one_live_listing_and_the_seller_knows(simulated: Stage, shard: int) -> None:
    simulate(simulated, EXAMPLES // 2, SEED + shard)


# ---- would it notice? -------------------------------------------------------------------------------


@asynccontextmanager
async def _without_fence(self: lease.Lease) -> AsyncIterator[AsyncSession]:
    async with self._db.as_user(self.user_id) as session:
        yield session


async def _over_and_done(one: Any, publication_id: UUID, attempt: Attempt, began: datetime) -> None:
    """Not found is not there: what a job queue would do."""
    async with one.lease.transaction() as session:
        publication = await one.locked(session, publication_id)
        mine = await session.get_one(Attempt, attempt.id)
        mine.outcome = "rejected"
        await reconcile.nothing_there(session, publication)


async def _without_baseline(one: Any, page: Any, plan: publish.Plan) -> None:
    await one.adapter.find_active(page)
    await one.signed_in()


def test_a_missing_fence_is_noticed(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease.Lease, "transaction", _without_fence)
    life = begin("mercari")
    first, second = life.workers[:2]
    life.start(first, life.accounts[0])
    life.run(first.go_on(MANY, lambda one: one.place == "filled"))
    life.run(first.go_on(1))  # before the transaction that arms
    first.paused = True
    life.pass_time(14)
    life.start(second, life.accounts[0])
    life.run(second.go_on(MANY, lambda one: one.place == "form"))
    first.paused = False
    life.run(first.go_on(MANY))
    with pytest.raises(AssertionError, match="armed after the lease was lost"):
        life.judge()


def test_a_second_click_is_noticed(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "_not_found", _over_and_done)
    life = begin("mercari")
    life.world.will["click"].append("very late")
    life.visit()
    life.pass_time(10)
    life.visit()
    with pytest.raises(AssertionError, match="a click while the listing is there or comes"):
        life.judge()


def test_a_missing_baseline_is_noticed(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "_read_baseline", _without_baseline)
    life = begin("mercari")
    life.hand_posts(life.accounts[0])
    life.world.will["click"].append("dropped")
    life.visit()
    life.pass_time(10)
    life.visit()
    with pytest.raises(AssertionError, match="an old listing of the seller's own was taken for ours"):
        life.judge()


def _without_asking(wanted: Any, put: Any, there: Any, **_: Any) -> Merged:
    return Merged(frozenset(name for name in there if there[name] != wanted[name]))


async def _armed_before(one: Any, plan: Any, filled: Any) -> None:
    """As it was last time."""
    plan.armed = True


def _edited_here_and_there(begin: Begin) -> Life:
    life = begin("mercari")
    life.visit()
    life.pass_time(20)
    life.world.live()[0].by_hand("title", "By hand")
    life.edit(life.listings[0], title="Linen shirt, blue")
    return life


def test_a_change_written_over_the_sellers_own_is_noticed(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revise, "merge", _without_asking)
    life = _edited_here_and_there(begin)
    life.visit()
    with pytest.raises(AssertionError, match="changed there by hand was written over: title"):
        life.judge()


def test_a_change_that_is_not_armed_is_noticed(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revise, "_arm", _armed_before)
    life = _edited_here_and_there(begin)
    life.world.live()[0].by_hand("title", "Linen shirt, hardly worn")  # and back again
    life.visit()
    with pytest.raises(AssertionError, match="a change for which nothing is armed"):
        life.judge()


async def _no_rest(*_: Any, **__: Any) -> float:
    return 0.0


@pytest.mark.parametrize("posts", [True, False])
def test_a_rest_that_is_not_kept_is_noticed(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, posts: bool
) -> None:
    life = begin("mercari")
    life.visit()
    life.pass_time(20)
    life.world.will["orders"].append("rest")
    life.look_at_orders()
    life.visit()
    if posts:
        life.post(life.listings[1], life.accounts)
    else:
        life.edit(life.listings[0], title="Linen shirt, blue")
    life.pass_time(20)
    life.visit()
    life.judge()
    monkeypatch.setattr(pace, "rest", _no_rest)
    asked = text(str(visit.NEXT).replace("coalesce(c.rest_until > now(), false)", "false"))
    monkeypatch.setattr(visit, "NEXT", select(Connection, *visit._FOUND).from_statement(asked))
    life.rows("UPDATE publications SET next_try_at = now() WHERE user_id = %(user)s RETURNING id")
    life.visit()
    with pytest.raises(AssertionError, match="while the marketplace wants to be left alone"):
        life.judge()
