"""What a worker says became of a job's pairs (POST /api/jobs/webhook).

Its word ends a pair that is still open, and is checked by a visit. It never says what is live: a publication
changes by what we put and saw ourselves, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.inventory.pairs import Pair
from everystall.inventory.publications import end_jobs
from everystall.models import AutomationResult, Connection

#: States in which a pair has no more to do; in any other it has, unless it needs the seller.
FINAL = ("live", "ended", "sold", "cancelled")


async def take_outcome(session: AsyncSession, job_id: str, said: Sequence[Pair]) -> int:
    """Records the pairs that are finished, where ours are still open, and wakes a look at their accounts;
    how many. The session acts as the seller that the message names: nobody else's job is found."""
    finished = {
        pair.browser_profile_id: pair for pair in said if pair.needs_you is not None or pair.state in FINAL
    }
    meant = (
        AutomationResult.job_id == job_id,
        AutomationResult.browser_profile_id.in_(list(finished)),
        AutomationResult.finished_at.is_(None),
    )
    # the accounts first, in the order in which a visit locks its rows
    await session.execute(
        select(Connection.id)
        .where(Connection.id.in_(select(AutomationResult.connection_id).where(*meant)))
        .order_by(Connection.id)
        .with_for_update(key_share=True)
    )
    open_pairs = await session.scalars(
        select(AutomationResult).where(*meant).order_by(AutomationResult.id).with_for_update()
    )
    accounts = []
    for row in open_pairs:
        pair = finished[row.browser_profile_id]
        if pair.marketplace != row.marketplace:
            continue
        row.state, row.url, row.remote_id = pair.state, pair.url, pair.remote_id
        row.needs_you = pair.needs_you.model_dump(mode="json") if pair.needs_you else None
        row.finished_at = func.clock_timestamp()
        accounts.append(row.connection_id)
    if not accounts:
        return 0
    await session.flush()
    await end_jobs(session, [job_id])
    await session.execute(
        update(Connection).where(Connection.id.in_(accounts)).values(next_check_at=func.now())
    )
    await engine.wake(session, accounts)
    return len(accounts)
