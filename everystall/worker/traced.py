"""The spans of one visit: the wake-up that it waited for, itself, and each of its steps.

A step goes on with the trace of the request that made its job; without a job (an edit, a take-down of what
sold elsewhere) with that in which it was wished for, which may be a step of another visit. The visit belongs
to that of what waits longest as it begins; a step of another trace names the visit.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy import TextClause, text
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
_WISHED = text("SELECT traceparent FROM publications WHERE id = :id")
#: Of what the account waits for, what was asked first.
_AWAITED = text("""
    SELECT coalesce(j.traceparent, p.traceparent) FROM publications p
    LEFT JOIN listing_automation_results r ON r.publication_id = p.id AND r.finished_at IS NULL
    LEFT JOIN jobs j ON j.user_id = r.user_id AND j.id = r.job_id
    WHERE p.connection_id = :id AND p.unsettled AND coalesce(j.traceparent, p.traceparent) IS NOT NULL
    ORDER BY coalesce(r.created_at, p.updated_at), r.id LIMIT 1""")


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
        asked = await self._asked(visit, due)
        if self._visit is None:
            first = asked or await self._find(visit, _AWAITED, visit.lease.connection_id)
            self._visit = await self._begin(visit, first)
        own = traces.traceparent_of(self._visit)
        others = asked is not None and not traces.same(asked, own)
        about = {"job_id": due.job_id, "publication_id": due.publication_id, **_account(visit)}
        parent = asked if others else self._visit
        with traces.part(traces.begin(due.kind, parent, about, link=own if others else None)):
            yield

    def end(self) -> None:
        if self._visit is not None:
            self._visit.end()

    async def _asked(self, visit: Visit, due: Due) -> str | None:
        if due.job_id is not None:
            return await self._find(visit, _ASKED, due.job_id)
        if due.publication_id is not None:
            return await self._find(visit, _WISHED, due.publication_id)
        return None

    async def _find(self, visit: Visit, asked: TextClause, id: object) -> str | None:
        found: str | None = None
        with suppress(SQLAlchemyError):  # no step fails because of what is told of it
            async with visit.tools.db.as_user(visit.lease.user_id) as session:
                found = await session.scalar(asked, {"id": id})
        return found

    async def _begin(self, visit: Visit, asked: str | None) -> Span:
        """From when the visit was begun, before it was known whether anything is due."""
        ago = time.monotonic() - self._began
        before: Span | None = None
        if self._woken is not None:
            waited = None
            with suppress(SQLAlchemyError):
                async with visit.tools.db.as_app() as session:
                    waited = await session.scalar(_WAITED, {"woken": self._woken})
            if waited is not None:
                woken = ago + float(waited)
                before = traces.begin("wake-up", asked, _account(visit), seconds_ago=woken)
                before.end(time.time_ns() - int(ago * 1e9))
        about = {"lane": visit.lane, "fence": visit.lease.fence, **_account(visit)}
        return traces.begin("visit", before or asked, about, seconds_ago=ago)


def _account(visit: Visit) -> dict[str, object]:
    return {"marketplace": visit.connection.marketplace, "connection_id": visit.lease.connection_id}
