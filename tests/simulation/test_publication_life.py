"""Thousands of interleavings of a publication's life: our real worker, inventory, rows and policies.
Marketplaces, browsers, photos and clocks are simulated (market.py, workers.py, stage.py, machine.py).

Nothing sleeps, and no timing decides. `make simulate` runs many examples and prints its seed; `make simulate
SEED=…` gives the same run. That the machine would notice is tested too: without the fence, with a second
click where the first was not found, and without the baseline it says so.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.models import Attempt
from everystall.worker import lease, publish, reconcile
from tests.simulation.machine import simulate
from tests.simulation.stage import Stage

#: How many examples, and the first shard's seed; if not told, as many as `make test` has time for.
EXAMPLES = int(os.environ.get("SIMULATE") or 16)
SEED = int(os.environ.get("SEED") or 0)


@pytest.mark.parametrize("shard", [0, 1])
def test_there_is_one_live_listing_and_the_seller_knows(simulated: Stage, shard: int) -> None:
    simulate(simulated, EXAMPLES // 2, SEED + shard)


# ---- would it notice? -------------------------------------------------------------------------------


@asynccontextmanager
async def _without_fence(self: lease.Lease) -> AsyncIterator[AsyncSession]:
    async with self._db.as_user(self.user_id) as session:
        yield session


async def _over_and_done(one: Any, publication_id: UUID, attempt: Attempt) -> None:
    """Not found is not there: what a job queue would do."""
    async with one.lease.transaction() as session:
        publication = await one.locked(session, publication_id)
        mine = await session.get_one(Attempt, attempt.id)
        mine.outcome = "rejected"
        await reconcile.nothing_there(session, publication)


async def _without_baseline(one: Any, page: Any, plan: publish.Plan) -> None:
    await one.adapter.find_active(page)
    await one.signed_in()


@pytest.mark.extended
@pytest.mark.parametrize(
    ("where", "name", "instead", "found"),
    [
        (lease.Lease, "transaction", _without_fence, "lease was lost"),
        (reconcile, "_not_found", _over_and_done, "while the listing is there or comes|counts as rejected"),
        (publish, "_read_baseline", _without_baseline, "seller's own was taken for ours"),
    ],
    ids=["no fence", "a second click", "no baseline"],
)
def test_it_notices_what_is_broken_on_purpose(
    simulated: Stage, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, instead: Any, found: str
) -> None:
    monkeypatch.setattr(where, name, instead)
    with pytest.raises(AssertionError, match=found):
        simulate(simulated, 1000, SEED, shrinks=False)
