"""How this installation does: how posts went, what failed, what waits, who works. Sums only, of all sellers
together; who asks has to be its owner, or /metrics.

Read once for all who ask within some seconds: each costs the database little, and a page that is open in ten
tabs no more than one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database

#: Hours that the figures are of, and of one bar of the chart.
WINDOWS: Final[Mapping[str, tuple[int, int]]] = {"24h": (24, 1), "7d": (168, 6)}
#: Seconds for which what was read is good.
GOOD_SECONDS: Final = {"24h": 10.0, "7d": 300.0}
#: Seconds without a sign of life after which a worker is taken to be away.
AWAY_SECONDS: Final = 20
#: Seconds for which none is seen until sellers are told: one that is started anew is no news.
NONE_SECONDS: Final = 120.0
#: What they are told then, and what is done about it.
WITHOUT_WORKERS: Final = "No worker of Everystall runs now: nothing is posted, taken down or looked at."
START_ONE: Final = (
    "Nothing is lost: what waits goes on by itself once one runs. Whoever runs Everystall starts one with "
    "`everystall worker`, or all of it with `everystall up`."
)
#: Clock hours whose failures count as lately: this one and the one before, so one to two hours at any moment.
LATELY: Final = 2
#: Failures that are listed.
PATTERNS: Final = 50


@dataclass(frozen=True)
class Posts:
    """Of one marketplace: posts that ended, and seconds from the wish to live."""

    live: int
    stopped: int
    median: float | None
    p95: float | None
    #: Of which a visit was at it.
    at_work: float | None

    @property
    def rate(self) -> float | None:
        """How many in 1 of those that ended are live."""
        ended = self.live + self.stopped
        return self.live / ended if ended else None


@dataclass(frozen=True)
class Bar:
    begins: datetime
    live: int
    stopped: int


@dataclass(frozen=True)
class Failure:
    marketplace: str
    code: str
    steps: Sequence[str]
    number: int
    last_at: datetime


@dataclass(frozen=True)
class Worker:
    host: str
    pid: int
    place: str | None
    version: str
    slots: int
    running: int
    started_at: datetime
    seen_at: datetime
    away: bool


@dataclass(frozen=True)
class Window:
    posts: Mapping[str, Posts]
    #: The oldest first, without a gap.
    bars: Sequence[Bar]
    failures: Sequence[Failure]


@dataclass(frozen=True)
class Now:
    """What waits and who works, at this moment."""

    due: int
    due_urgent: int
    oldest: datetime | None
    #: queue → wake-ups that wait, and that are worked on.
    wakes: Mapping[str, tuple[int, int]]
    workers: Sequence[Worker]
    #: marketplace → accounts, and those that wait for their seller.
    accounts: Mapping[str, tuple[int, int]]
    #: (marketplace, state) → locators that were found again on pages that changed
    healed: Mapping[tuple[str, str], int]
    #: Accounts whose sales are not seen, what is to be gone since five minutes and more, and sellers who used
    #: up what a model may cost them in a month.
    blind: int
    late: int
    spent: int
    #: (marketplace, code) → steps that failed LATELY
    failed: Mapping[tuple[str, str], int]

    @property
    def running(self) -> int:
        return sum(one.running for one in self.workers if not one.away)


class Numbers:
    """The figures of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._windows: dict[str, tuple[float, Window]] = {}
        self._now: tuple[float, Now] | None = None
        self._reading = asyncio.Lock()
        #: By time.monotonic(): when a worker was last seen, or this process began; when that was looked at.
        self._worker_seen, self._workers_read = time.monotonic(), 0.0

    async def window(self, name: str) -> Window:
        async with self._reading:
            known = self._windows.get(name)
            if known is None or time.monotonic() - known[0] > GOOD_SECONDS[name]:
                async with self._database.as_app() as session:
                    known = time.monotonic(), await _window(session, *WINDOWS[name])
                self._windows[name] = known
            return known[1]

    async def now(self, budget_cents: int) -> Now:
        """`budget_cents`: what a model may cost a seller in a month."""
        async with self._reading:
            if self._now is None or time.monotonic() - self._now[0] > 2:
                async with self._database.as_app() as session:
                    self._now = time.monotonic(), await _now(session, budget_cents)
            return self._now[1]

    async def without_workers(self) -> bool:
        """None of any place was there for a while: what waits is not gone on with."""
        if time.monotonic() - self._workers_read > 2:
            self._workers_read = time.monotonic()  # nobody else asks meanwhile
            async with self._database.as_app() as session:
                ago = await session.scalar(
                    text("SELECT extract(epoch FROM now() - max(seen_at)) FROM everystall.standing_workers()")
                )
            if ago is not None:
                self._worker_seen = max(self._worker_seen, time.monotonic() - float(ago))
        # while the database was away, no worker could say that it lives
        since = max(self._worker_seen, self._database.absence.back_at)
        return time.monotonic() - since > NONE_SECONDS


async def _window(session: AsyncSession, hours: int, step: int) -> Window:
    posts = await session.execute(text("SELECT * FROM everystall.post_numbers(:hours)"), {"hours": hours})
    history = await session.execute(
        text("SELECT at, sum(live)::int AS live, sum(stopped)::int AS stopped "
             "FROM everystall.post_history(:hours, :step) GROUP BY at"), {"hours": hours, "step": step}
    )  # fmt: skip
    failures = await session.execute(
        text("SELECT * FROM everystall.failure_numbers(:hours) LIMIT :most"),
        {"hours": hours, "most": PATTERNS},
    )
    return Window(
        {row.marketplace: Posts(row.live, row.stopped, row.median, row.p95, row.at_work) for row in posts},
        _bars({row.at.astimezone(UTC): (row.live, row.stopped) for row in history}, hours, step),
        [Failure(row.marketplace, row.code, row.steps, row.number, row.last_at) for row in failures],
    )


def _bars(found: Mapping[datetime, tuple[int, int]], hours: int, step: int) -> list[Bar]:
    """Each of the last ones, also where nothing ended; as `date_bin` cuts them."""
    width = timedelta(hours=step)
    origin = datetime(2026, 1, 1, tzinfo=UTC)
    last = origin + (datetime.now(UTC) - origin) // width * width
    begins = [last - width * back for back in reversed(range(hours // step))]
    return [Bar(at, *found.get(at, (0, 0))) for at in begins]


async def _now(session: AsyncSession, budget_cents: int) -> Now:
    queue = (await session.execute(text("SELECT * FROM everystall.queue_numbers()"))).one()
    wakes = await session.execute(
        text("SELECT queue_name, count(*) FILTER (WHERE status = 'todo') AS waiting, "
             "count(*) FILTER (WHERE status = 'doing') AS doing FROM procrastinate.procrastinate_jobs "
             "WHERE status IN ('todo', 'doing') GROUP BY queue_name ORDER BY queue_name")
    )  # fmt: skip
    workers = await session.execute(
        text("SELECT *, seen_at < now() - make_interval(secs => :away) AS away "
             "FROM everystall.standing_workers()"), {"away": AWAY_SECONDS}
    )  # fmt: skip
    accounts = await session.execute(text("SELECT * FROM everystall.account_numbers()"))
    healed = await session.execute(
        text("SELECT marketplace, state, count(*) AS number FROM everystall.healed_locators() GROUP BY 1, 2")
    )
    asked = text("SELECT * FROM everystall.trouble_numbers(:budget)")
    trouble = (await session.execute(asked, {"budget": max(1, budget_cents * 10_000)})).one()
    failed = await session.execute(
        text("SELECT marketplace, code, number FROM everystall.failure_numbers(:hours)"), {"hours": LATELY}
    )
    return Now(
        queue.due, queue.urgent, queue.oldest,
        {row.queue_name: (row.waiting, row.doing) for row in wakes},
        [Worker(row.host, row.pid, row.place, row.version, row.slots, row.running, row.started_at,
                row.seen_at, row.away) for row in workers],
        {row.marketplace: (row.accounts, row.waiting) for row in accounts},
        {(row.marketplace, row.state): row.number for row in healed},
        trouble.blind, trouble.late, trouble.spent,
        {(row.marketplace, row.code): row.number for row in failed},
    )  # fmt: skip
