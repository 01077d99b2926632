"""Relisting: what is live is taken down and posted again in a new attempt, so that it counts as new there. By
the seller's rules, or one at once.

Here it is only asked for (`publications.relist`); the visits do it (worker/relist.py). The likes and comments
that it had there are lost by it, and whoever has the link finds it gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.db import Database
from everystall.errors import Refused
from everystall.inventory.publications import change, lock_all, some_left, tell
from everystall.logs import chore
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.models import Publication, RelistRule

log = structlog.get_logger()

#: Rules that one tick looks at: it is a short thing (1 s). The next one goes on.
MOST = 20
#: Relistings a day and account that a rule may ask for.
MOST_PER_DAY = 100
#: What the seller is told wherever it is asked for.
LOST = "Its likes and comments there are lost by it, and links to it lead nowhere."

#: What may be relisted on a marketplace, and when. Nothing that waits for anybody, or that stands there
#: otherwise than here; nothing on an account where one is down. `since`: when it was posted.
_READY = """
    SELECT p.id, p.listing_id, p.connection_id, l.title, a.since,
           greatest(a.since + make_interval(days => r.after_days),
                    p.relist_asked_at + make_interval(days => r.between_days)) AS at
    FROM relist_rules r
    JOIN publications p ON p.marketplace = r.marketplace
    JOIN LATERAL (SELECT coalesce(a.armed_at, a.created_at) AS since FROM attempts a
                  WHERE a.publication_id = p.id AND a.outcome = 'live' AND a.adopted = '{}'
                    AND a.conflict IS NULL AND a.revising IS NULL) a ON true
    JOIN listings l ON l.id = p.listing_id
    JOIN connections c ON c.id = p.connection_id
    JOIN users u ON u.id = p.user_id
    WHERE r.marketplace = :marketplace AND p.wanted = 'live' AND p.put = 'live' AND NOT p.unsettled
      AND NOT p.looking AND p.needs_you IS NULL AND p.relist IS NULL AND l.delete_asked_at IS NULL
      AND l.quantity > l.quantity_sold AND c.needs_you IS NULL AND c.paused_at IS NULL
      AND u.paused_at IS NULL AND NOT EXISTS (
          SELECT FROM publications d
          WHERE d.connection_id = p.connection_id AND d.relist IN ('begun', 'down'))
"""
#: The next of each account, by `until`, as many as its rule allows in so many days.
_NEXT = text(f"""
    SELECT * FROM (
        SELECT n.*, row_number() OVER (PARTITION BY n.connection_id ORDER BY n.at, n.id) AS place
        FROM ({_READY}) n WHERE n.at <= :until) m
    WHERE place <= :most ORDER BY m.at, m.id
""")
#: How many were asked for on each account in the last day.
_ASKED = text("""
    SELECT connection_id, count(*) AS number FROM publications
    WHERE marketplace = :marketplace AND relist_asked_at > now() - interval '1 day' GROUP BY connection_id
""")


@dataclass(frozen=True)
class Next:
    """One that would be relisted."""

    publication_id: UUID
    listing_id: UUID
    connection_id: UUID
    title: str | None
    since: datetime
    #: Not before this.
    at: datetime


def minimum_days(marketplace: str) -> int:
    """How long a listing stands there at least before it is relisted."""
    return get_form(marketplace).CAPABILITIES.relist_days


async def find_rule(session: AsyncSession, marketplace: str) -> RelistRule | None:
    found = await session.scalars(
        select(RelistRule)
        .where(RelistRule.marketplace == marketplace)
        .execution_options(populate_existing=True)
    )
    return found.one_or_none()


async def coming(session: AsyncSession, rule: RelistRule, days: int) -> list[Next]:
    """What the rule would relist in the next days, as things stand: at most so many a day on each account,
    those whose time came first before others."""
    now = datetime.now(UTC)
    asked = {"marketplace": rule.marketplace, "until": now + timedelta(days=days),
             "most": rule.per_day * days}  # fmt: skip
    done = {row.connection_id: row.number for row in await session.execute(_ASKED, asked)}
    full: dict[tuple[UUID, int], int] = {(id, 0): number for id, number in done.items()}
    found = []
    for row in await session.execute(_NEXT, asked):
        day = max(0, (row.at - now).days)
        while full.get((row.connection_id, day), 0) >= rule.per_day:
            day += 1
        full[row.connection_id, day] = full.get((row.connection_id, day), 0) + 1
        if day < days:
            at = max(row.at, now + timedelta(days=day))
            found.append(Next(row.id, row.listing_id, row.connection_id, row.title, row.since, at))
    return sorted(found, key=lambda one: one.at)


async def ask_due(db: Database) -> int:
    """Asks for what the rules say now; for how many."""
    asked = 0
    for _ in range(MOST):
        async with db.as_app() as session:
            taken = (await session.execute(text("SELECT * FROM everystall.take_relist()"))).one_or_none()
        if taken is None:
            break
        with chore("relisting", user_id=taken.user_id, marketplace=taken.marketplace):
            async with db.as_user(taken.user_id) as session:
                asked += await _ask_for(session, taken.marketplace)
    return asked


async def _ask_for(session: AsyncSession, marketplace: str) -> int:
    """One rule's, in one transaction: its row is locked, so that nobody counts the day's beside us."""
    rule = await session.scalar(
        select(RelistRule).where(RelistRule.marketplace == marketplace).with_for_update()
    )
    if rule is None:
        return 0
    wanted = {"marketplace": marketplace, "until": datetime.now(UTC), "most": rule.per_day}
    before = [row.listing_id for row in await session.execute(_NEXT, wanted)]
    if not before:
        return 0
    locked = {publication.id: publication for publication in await lock_all(session, sorted(set(before)))}
    done = {row.connection_id: int(row.number) for row in await session.execute(_ASKED, wanted)}
    accounts = set()
    number = 0
    for row in (await session.execute(_NEXT, wanted)).all():  # as it is now that nobody else can change it
        publication = locked.get(row.id)
        if publication is None or done.get(row.connection_id, 0) >= rule.per_day:
            continue
        done[row.connection_id] = done.get(row.connection_id, 0) + 1
        await _ask(session, publication)
        accounts.add(row.connection_id)
        number += 1
    if accounts:
        await engine.wake(session, sorted(accounts))
        log.info("relist.asked", marketplace=marketplace, number=number)
    return number


@dataclass(frozen=True)
class Standing:
    """What is live of a publication."""

    since: datetime
    #: Something of it stands there otherwise than here.
    differs: bool


async def standing(session: AsyncSession, publication_ids: Sequence[UUID]) -> dict[UUID, Standing]:
    """Of those that are live. One query."""
    rows = await session.execute(
        text("""SELECT publication_id, adopted <> '{}' AS differs, coalesce(armed_at, created_at) AS since
                FROM attempts WHERE publication_id = ANY(:ids) AND outcome = 'live'"""),
        {"ids": list(publication_ids)},
    )
    return {row.publication_id: Standing(row.since, row.differs) for row in rows}


def refusal(publication: Publication, stands: Standing | None) -> Refused | None:
    """Why it is not relisted now; None: it may be. Pure."""
    label, days = MARKETPLACES[publication.marketplace], minimum_days(publication.marketplace)
    if (publication.wanted, publication.put) != ("live", "live") or stands is None:
        return Refused(f"It is not live on {label}.", action="Post it.")
    if publication.unsettled or publication.looking or publication.needs_you is not None:
        return Refused(
            f"Something of it is under way on {label}, or waits for you.",
            action="Wait until it is done, or answer it.",
        )
    if stands.since > datetime.now(UTC) - timedelta(days=days):
        return Refused(
            f"On {label} a listing stands for {days} day{'s' if days > 1 else ''} before it is relisted.",
            action="Wait for that.",
            days=days,
        )
    if stands.differs:
        return Refused(
            f"Something of it stands on {label} otherwise than here: posted again, that would be lost.",
            action="Make it the same here first.",
        )
    return None


async def ask(session: AsyncSession, publication: Publication) -> None:
    """The seller wants this one relisted now. Raises Refused. Waking is the last statement."""
    await lock_all(session, [publication.listing_id])
    await session.refresh(publication)
    if publication.relist is not None:
        return
    stands = await standing(session, [publication.id])
    refused = refusal(publication, stands.get(publication.id))
    if refused is not None:
        raise refused
    if await some_left(session, publication) is None:
        raise Refused("Every one of these is sold.", action="Raise its quantity if there are more.")
    await _ask(session, publication)
    await engine.wake(session, [publication.connection_id])


async def _ask(session: AsyncSession, publication: Publication) -> None:
    await change(session, publication, relist="asked", relist_asked_at=func.clock_timestamp(),
                 state="ending", started_at=None, tries=0, next_try_at=None)  # fmt: skip


async def leave(session: AsyncSession, publication: Publication, why: str, *, tried: bool = True) -> None:
    """It stays up as it is, and the seller is told. A rule comes back to it after its days; at once, if it
    was not its own fault (`tried`)."""
    label = MARKETPLACES[publication.marketplace]
    asked_at = publication.relist_asked_at if tried else None
    await change(session, publication, relist=None, relist_asked_at=asked_at, state="live", tries=0,
                 next_try_at=None)  # fmt: skip
    said = f"It was not relisted on {label}, and stays up there: {why.rstrip('.')}."
    await tell(session, publication, "relist.skipped", message=said)
    log.info("relist.skipped", publication_id=str(publication.id), marketplace=publication.marketplace)
