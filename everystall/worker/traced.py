"""The spans of one visit: the wake-up that it waited for, itself, and each of its steps.

A step goes on with the trace of the request that made its job. The visit belongs to the trace of its first
step; a step of another job belongs to that job's trace, and names the visit.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from everystall import traces

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from everystall.worker.visit import Due, Visit

#: Seconds from the wake-up to its being taken, by the database's clock.
_WAITED = text("""
    SELECT extract(epoch FROM max(at) FILTER (WHERE type = 'started')
                            - max(at) FILTER (WHERE type::text LIKE 'deferred%'))
    FROM procrastinate.procrastinate_events WHERE job_id = :woken""")
_ASKED = text("SELECT traceparent FROM jobs WHERE id = :id")


class Traced:
    def __init__(self, woken: int | None) -> None:
        self._woken = woken
        self._began = time.monotonic()
        self._visit: Span | None = None

    @asynccontextmanager
    async def step(self, visit: Visit, due: Due) -> AsyncIterator[None]:
        """While in the block, what is logged is told in a span of this step."""
        if not traces.on():
            yield
            return
        asked = await self._asked(visit, due.job_id)
        if self._visit is None:
            self._visit = await self._begin(visit, asked)
        own = traces.traceparent_of(self._visit)
        others = asked is not None and not traces.same(asked, own)
        span = traces.begin(
            due.kind, asked if others else self._visit, link=own if others else None,
            job_id=due.job_id, publication_id=due.publication_id, **_account(visit),
        )  # fmt: skip
        with traces.part(span):
            yield

    def end(self) -> None:
        if self._visit is not None:
            self._visit.end()

    async def _asked(self, visit: Visit, job_id: str | None) -> str | None:
        found: str | None = None
        if job_id is not None:
            with suppress(SQLAlchemyError):  # no step fails because of what is told of it
                async with visit.tools.db.as_user(visit.lease.user_id) as session:
                    found = await session.scalar(_ASKED, {"id": job_id})
        return found

    async def _begin(self, visit: Visit, asked: str | None) -> Span:
        """From when the visit was begun, before it was known whether anything is due."""
        ago, before = time.monotonic() - self._began, None
        if self._woken is not None:
            waited = None
            with suppress(SQLAlchemyError):
                async with visit.tools.db.as_app() as session:
                    waited = await session.scalar(_WAITED, {"woken": self._woken})
            if waited is not None:
                before = traces.begin("wake-up", asked, seconds_ago=ago + float(waited), **_account(visit))
                before.end(time.time_ns() - int(ago * 1e9))
        return traces.begin(
            "visit", before or asked, seconds_ago=ago, fence=visit.lease.fence, lane=visit.lane,
            **_account(visit),
        )  # fmt: skip


def _account(visit: Visit) -> dict[str, object]:
    return {"marketplace": visit.connection.marketplace, "connection_id": visit.lease.connection_id}
