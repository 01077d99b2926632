"""How long the questions that are asked most take among 1,000,000 publications and 1,000,000 jobs, and how
PostgreSQL answers them. Each is the product's own function, as a seller behind row-level security; the plans
are of the very statements that it sent.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.engine import Place, place
from everystall.db import Database
from everystall.inventory.jobs import get_job
from everystall.web.cursors import cursor_of
from everystall.web.jobs import list_jobs
from everystall.web.listings import list_listings
from everystall.web.publications import publications_of
from everystall.worker.run import BATCH
from everystall.worker.visit import NEXT

#: Listings, on three accounts each; a job for each publication. One seller has a tenth of all.
LISTINGS, SELLERS = 333_334, 1000
#: Publications that are due now; a fiftieth of all wait for their seller or for later.
DUE = 200
TIMES = 200


@dataclass(frozen=True)
class Sample:
    """Somebody's rows: one of each, and places in the long list."""

    user_id: UUID
    connection_id: UUID
    fence: int
    listing_id: UUID
    job_id: str
    cursor: str


Ask = Callable[[AsyncSession, Sample], Awaitable[Any]]


async def _job(session: AsyncSession, sample: Sample) -> Any:
    return await get_job(session, sample.job_id)


async def _publications(session: AsyncSession, sample: Sample) -> Any:
    return await publications_of(session, [sample.listing_id])


async def _first_page(session: AsyncSession, sample: Sample) -> Any:
    return await list_listings(session, limit=50, cursor=None)


async def _later_page(session: AsyncSession, sample: Sample) -> Any:
    return await list_listings(session, limit=50, cursor=sample.cursor)


async def _jobs_that_need_you(session: AsyncSession, sample: Sample) -> Any:
    return await list_jobs(False, session, listing_id=None, status="needs_you", limit=50, cursor=None)


async def _due_of_account(session: AsyncSession, sample: Sample) -> Any:
    asked = {"id": sample.connection_id, "fence": sample.fence, "urgent": False, "reading": False}
    return (await session.execute(NEXT, asked)).one()


#: What is asked as a seller: its name, the function.
ASKED: dict[str, Ask] = {
    "due rows of one account, by its visit": _due_of_account,
    "job status, `GET /api/jobs/{jobId}`": _job,
    "a listing's publications": _publications,
    "the listings, first page": _first_page,
    "the listings, a page from the middle": _later_page,
    "the jobs that need the seller, first page": _jobs_that_need_you,
}
#: And what the tick asks for all.
TICK = "due rows of all accounts, by the tick"


async def tick(session: AsyncSession) -> Any:
    return (
        await session.execute(text("SELECT connection_id, lane FROM everystall.due(:n)"), {"n": BATCH})
    ).all()


# ---- measuring ------------------------------------------------------------------------------------


async def measure(home: Path, say: Callable[[str], None], listings: int = LISTINGS) -> dict[str, Any]:
    """Per question: seconds of each time that it was asked, and the plans of its statements."""
    with place(home, fsync=False) as here:  # they only read
        began = time.monotonic()
        fill(here, listings)
        say(f"  filled in {time.monotonic() - began:.0f} s")
        db = Database(here.login)
        try:
            return await _ask_all(here, db, say)
        finally:
            await db.close()


async def _ask_all(here: Place, db: Database, say: Callable[[str], None]) -> dict[str, Any]:
    asked = samples(here, TIMES)
    took: dict[str, list[float]] = {TICK: []}
    for _ in range(TIMES):
        began = time.perf_counter()
        async with db.as_app() as session:
            await tick(session)
        took[TICK].append(time.perf_counter() - began)
    for name, ask in ASKED.items():
        took[name] = []
        for sample in asked:
            began = time.perf_counter()
            async with db.as_user(sample.user_id) as session:
                await ask(session, sample)
            took[name].append(time.perf_counter() - began)
        say(f"  {name}: {1000 * sorted(took[name])[len(took[name]) // 2]:.1f} ms")
    sizes = here.query(
        """SELECT relname, n_live_tup FROM pg_stat_user_tables
           WHERE schemaname = 'public' AND n_live_tup > 1000 ORDER BY 2 DESC"""
    )
    return {"took": took, "plans": await plans(here, db, asked[0]), "sizes": sizes}


async def plans(here: Place, db: Database, sample: Sample, *settings: str) -> dict[str, list[str]]:
    """Per question the plan of each statement, as it ran; under these settings (`enable_seqscan = off`)."""
    found = {TICK: [_plan_of_due(here, settings)]}
    for name, ask in ASKED.items():
        async with db.as_user(sample.user_id) as session:
            for setting in settings:
                await session.execute(text(f"SET LOCAL {setting}"))
            with _sent(db) as sent:
                await ask(session, sample)
            found[name] = []
            for statement, parameters in list(sent):
                found[name].append(await _explain(session, statement, parameters))
    return found


async def explained(db: Database, user_id: UUID, ask: Callable[[AsyncSession], Awaitable[Any]]) -> list[str]:
    """The plan of each statement of `ask`, as it ran."""
    async with db.as_user(user_id) as session:
        with _sent(db) as sent:
            await ask(session)
        return [await _explain(session, statement, parameters) for statement, parameters in list(sent)]


@contextmanager
def _sent(db: Database) -> Iterator[list[tuple[str, Any]]]:
    """The statements of the block with their parameters, as they go to the driver."""
    found: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        found.append((statement, parameters))

    event.listen(db.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(db.engine.sync_engine, "before_cursor_execute", note)


async def _explain(session: AsyncSession, statement: str, parameters: Any) -> str:
    connection = await session.connection()
    rows = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)
    return "\n".join(row[0] for row in rows)


def _plan_of_due(here: Place, settings: Sequence[str]) -> str:
    """What the function does inside, with the rights that it has."""
    (body,) = here.query("SELECT prosrc FROM pg_proc WHERE proname = 'due'")[0]
    with psycopg.connect(here.admin) as connection:
        connection.execute("SET ROLE everystall_engine")
        for setting in settings:
            connection.execute(f"SET {setting}")
        rows = connection.execute(
            f"EXPLAIN (ANALYZE, BUFFERS) {body.replace('LIMIT most', f'LIMIT {BATCH}')}"
        )
        return "\n".join(row[0] for row in rows)


# ---- the stage ------------------------------------------------------------------------------------


def fill(here: Place, listings: int) -> None:
    """The first seller has a tenth of all, and wrote most of it in one transaction. Indexes that are no
    constraint's are made at the end, references are not checked: it is only filling."""
    sellers = max(2, min(SELLERS, listings // 300))
    with psycopg.connect(here.admin) as connection:
        connection.execute("SET session_replication_role = replica")
        names = (
            "listings",
            "listing_photos",
            "publications",
            "attempts",
            "jobs",
            "listing_automation_results",
        )
        indexes = connection.execute(
            """SELECT indexname, indexdef FROM pg_indexes i
               WHERE schemaname = 'public' AND tablename = ANY(%s) AND NOT EXISTS (
                   SELECT FROM pg_constraint c WHERE c.conname = i.indexname)""",
            [list(names)],
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        for statement in _FILL:
            connection.execute(
                statement,
                {"sellers": sellers, "listings": listings, "due": DUE, "waiting": listings * 3 // 50},
            )
        for _, definition in indexes:
            connection.execute(definition)
    with psycopg.connect(here.admin, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")


_FILL = (
    "INSERT INTO users (email) SELECT 'seller' || n || '@example.com' FROM generate_series(1, %(sellers)s) n",
    """INSERT INTO connections (user_id, public_id, marketplace, base_url, lease_fence, lease_until)
       SELECT u.id, 'bp_' || m || '_' || u.id, m, 'http://' || m || '.localhost', 1, NULL
       FROM users u, unnest(ARRAY['poshmark', 'mercari', 'ebay']) m""",
    # every tenth is the first seller's; of those all but a hundredth came at one moment
    """INSERT INTO listings (user_id, title, description, brand, category, condition, price_cents, sku,
           created_at)
       SELECT u.ids[CASE WHEN n %% 10 = 0 THEN 1 ELSE 2 + n %% (%(sellers)s - 1) END],
           'Linen shirt, lot ' || n, repeat('Worn twice, washed cold, no flaws that I can see. ', 6),
           'Levi''s', 'men.shirts.casual', 'good', 2500, 'A-' || n,
           CASE WHEN n %% 10 = 0 AND n %% 1000 <> 0 THEN now() - interval '90 days'
                ELSE now() - n * interval '30 seconds' END
       FROM generate_series(1, %(listings)s) n, (SELECT array_agg(id ORDER BY email) AS ids FROM users) u""",
    """INSERT INTO listing_photos (user_id, listing_id, position, sha256, content_type, width, height,
           byte_size)
       SELECT user_id, id, p, md5(id::text || p), 'image/jpeg', 1200, 900, 200000
       FROM listings, generate_series(0, 1) p""",
    """INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision, put,
           put_revision, state, remote_id, url, seen, seen_at, finished_at, created_at)
       SELECT l.user_id, l.id, c.id, c.marketplace, 1, 'live', 1, 'live', md5(l.id::text || c.id),
           'http://x/listing/' || md5(l.id::text || c.id), 'live', l.created_at, l.created_at, l.created_at
       FROM listings l JOIN connections c USING (user_id)""",
    # some are due, and more wait: for later, or for their seller
    """UPDATE publications p SET put = 'nothing', put_revision = NULL, state = 'waiting',
           next_try_at = CASE WHEN w.n > %(due)s AND w.n %% 2 = 0 THEN now() + interval '1 day' END,
           needs_you = CASE WHEN w.n > %(due)s AND w.n %% 2 = 1 THEN
               '{"reason": "page_changed", "message": "Look."}'::jsonb END
       FROM (SELECT id, row_number() OVER (ORDER BY md5(id::text)) AS n FROM publications) w
       WHERE w.id = p.id AND w.n <= %(due)s + %(waiting)s""",
    """INSERT INTO attempts (user_id, publication_id, connection_id, listing_revision, draft, fields_hash,
           fence, remote_id, outcome, armed_at, finished_at, baseline)
       SELECT user_id, id, connection_id, 1, '{"title": "Linen shirt"}', md5(id::text), 1, remote_id, 'live',
           created_at, created_at, '{}' FROM publications""",
    """INSERT INTO jobs (id, user_id, listing_id, status, created_at, finished_at)
       SELECT 'job_' || substr(md5(id::text), 1, 16), user_id, listing_id,
           CASE WHEN needs_you IS NULL THEN 'done' ELSE 'needs_you' END, created_at, created_at
       FROM publications""",
    """INSERT INTO listing_automation_results (user_id, job_id, publication_id, listing_id, connection_id,
           marketplace, browser_profile_id, wanted_revision, state, url, remote_id, started_at, finished_at)
       SELECT p.user_id, 'job_' || substr(md5(p.id::text), 1, 16), p.id, p.listing_id, p.connection_id,
           p.marketplace, 'bp_x', 1, p.state, p.url, p.remote_id, p.created_at, p.created_at
       FROM publications p""",
    "UPDATE connections SET lease_until = now() + interval '1 day' WHERE marketplace = 'ebay'",
)


def samples(here: Place, number: int) -> list[Sample]:
    """Half of them the first seller's, the others anybody's."""
    found = []
    for whose in ("WHERE user_id = (SELECT id FROM users ORDER BY email LIMIT 1)", ""):
        found += here.query(_SAMPLES.format(whose=whose), (number + 1) // 2)
    return [
        Sample(user, connection, fence, listing, job, cursor_of(created_at, listing))
        for user, connection, fence, listing, job, created_at in found
    ]


_SAMPLES = """
    SELECT l.user_id, c.id, c.lease_fence, l.id, j.id, l.created_at
    FROM (SELECT * FROM listings {whose} ORDER BY random() LIMIT %s) l
    JOIN publications p ON p.listing_id = l.id AND p.marketplace = 'ebay'
    JOIN connections c ON c.id = p.connection_id
    JOIN jobs j ON j.id = 'job_' || substr(md5(p.id::text), 1, 16)"""
