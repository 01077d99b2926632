"""What waits for the seller, of whatever kind: read only. What ends it is elsewhere: publications.act,
sales.answer, sale_mails.settle, and what the routes of accounts, webhooks and mailboxes do.

Listings that wait on one account for the same reason are one group. Where the reason is the account's
(OF_ACCOUNT) one answer ends it for all of them, and the group counts as one thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TEXT, Select, cast, exists, func, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from everystall.inventory.connections import DISCONNECTED
from everystall.models import (
    Attempt,
    Connection,
    DoubleSale,
    Event,
    Listing,
    Match,
    Publication,
    Sale,
    TakeDown,
)

#: Reasons that are an account's, and not a listing's.
OF_ACCOUNT: Final = ("session_expired", DISCONNECTED, "no_worker", "challenge", "account_limited", "paused")
#: What is watched there cannot be read, though it is signed in.
WATCH: Final = "watch_failed"
#: Of one group, so many are shown; of the rest their number.
SHOWN: Final = 20

_reason = Publication.needs_you["reason"].astext
#: As many things as the page shows. It is asked for with every page: by publications_that_wait,
#: publications_due, publications_lower, and tables of which a seller has few rows.
COUNT: Final = text("""
    SELECT (SELECT count(*) FROM publications WHERE needs_you IS NOT NULL
              AND needs_you ->> 'reason' <> ALL(CAST(:of_account AS text[])))
         + (SELECT count(*) FROM (
                SELECT connection_id, needs_you ->> 'reason' FROM publications WHERE needs_you IS NOT NULL
                   AND needs_you ->> 'reason' = ANY(CAST(:of_account AS text[]))
                UNION SELECT id, needs_you ->> 'reason' FROM connections
                WHERE needs_you IS NOT NULL AND needs_you ->> 'reason' <> 'disconnected'
                UNION SELECT id, 'watch_failed' FROM connections
                WHERE needs_you IS NULL AND watch_told_at IS NOT NULL) AS accounts)
         + (SELECT count(DISTINCT p.id) FROM publications p
            JOIN take_downs t ON t.user_id = p.user_id AND t.publication_id = p.id
            WHERE p.unsettled AND p.wanted = 'ended' AND p.needs_you IS NULL
              AND t.told_at IS NOT NULL AND t.gone_at IS NULL)
         + (SELECT count(*) FROM publications p
            WHERE p.lower_asked_at IS NOT NULL AND p.lower_told_at IS NOT NULL AND p.needs_you IS NULL)
         + (SELECT count(*) FROM connections c JOIN events e ON e.user_id = c.user_id
              AND e.created_at > c.blind_since - interval '1 minute' AND e.type = 'sale.unclear'
              AND e.data ->> 'browserProfileId' = c.public_id
            WHERE (c.needs_you IS NOT NULL OR c.watch_told_at IS NOT NULL)
              AND NOT EXISTS (SELECT FROM events s WHERE s.user_id = e.user_id AND s.id > e.id
                  AND s.type = 'sale.settled' AND s.data ->> 'eventId' = e.id::text))
         + (SELECT count(*) FROM webhook_endpoints WHERE disabled_at IS NOT NULL
              AND disabled_why IS DISTINCT FROM 'paused')
         + (SELECT count(*) FROM mailboxes WHERE failing_since IS NOT NULL)
""")


@dataclass(frozen=True)
class Asked:
    """A listing that waits on an account, and the last try there."""

    publication: Publication
    listing: Listing
    attempt: Attempt | None


@dataclass(frozen=True)
class Group:
    """Those of one account that wait for the same reason, the last asked first."""

    connection_id: UUID
    reason: str
    number: int
    asked: Sequence[Asked]


@dataclass(frozen=True)
class Late:
    """It sold elsewhere, and is not known to be gone here, or to be fewer, since five minutes and more."""

    publication: Publication
    listing: Listing
    #: What it was called there.
    title: str
    asked_at: datetime


async def needs_you_count(session: AsyncSession) -> int:
    return int(await session.scalar(COUNT, {"of_account": list(OF_ACCOUNT)}) or 0)


async def groups(session: AsyncSession) -> list[Group]:
    of_group = (Publication.connection_id, _reason)
    newest = (Publication.updated_at.desc(), Publication.id)
    placed = (
        select(
            Publication.id,
            func.count().over(partition_by=of_group).label("number"),
            func.row_number().over(partition_by=of_group, order_by=newest).label("place"),
        )
        .where(Publication.needs_you.is_not(None))
        .subquery()
    )
    rows = await session.execute(
        select(Publication, Listing, placed.c.number)
        .join(placed, placed.c.id == Publication.id)
        .join(Listing, Listing.id == Publication.listing_id)
        .where(placed.c.place <= SHOWN)
        .order_by(placed.c.place)
    )
    found = rows.all()
    attempts = await _last_attempts(session, [row.Publication.id for row in found])
    asked: dict[tuple[UUID, str], list[Asked]] = {}
    numbers: dict[tuple[UUID, str], int] = {}
    for publication, listing, number in found:
        of = (publication.connection_id, str(publication.needs_you["reason"]))
        numbers[of] = number
        asked.setdefault(of, []).append(Asked(publication, listing, attempts.get(publication.id)))
    return [Group(*of, numbers[of], those) for of, those in asked.items()]


async def _last_attempts(session: AsyncSession, publication_ids: Sequence[UUID]) -> dict[UUID, Attempt]:
    rows = await session.scalars(
        select(Attempt)
        .ext(distinct_on(Attempt.publication_id))
        .where(Attempt.publication_id.in_(publication_ids))
        .order_by(Attempt.publication_id, Attempt.created_at.desc())
    )
    return {attempt.publication_id: attempt for attempt in rows}


async def late(session: AsyncSession) -> list[Late]:
    """The last asked first; each once."""
    rows = await session.execute(
        select(Publication, Listing, Sale.title, TakeDown.asked_at)
        .join(TakeDown, TakeDown.publication_id == Publication.id)
        .join(Sale, Sale.id == TakeDown.sale_id)
        .join(Listing, Listing.id == Publication.listing_id)
        .where(Publication.unsettled, Publication.wanted == "ended", Publication.needs_you.is_(None),
               TakeDown.told_at.is_not(None), TakeDown.gone_at.is_(None))
        .order_by(TakeDown.asked_at.desc(), Publication.id)
    )  # fmt: skip
    found = {row.Publication.id: Late(row.Publication, row.Listing, row.title, row.asked_at) for row in rows}
    lowers = await session.execute(
        select(Publication, Listing, func.coalesce(Listing.title, "A listing without a title").label("title"),
               Publication.lower_asked_at)
        .join(Listing, Listing.id == Publication.listing_id)
        .where(Publication.lower_asked_at.is_not(None), Publication.lower_told_at.is_not(None),
               Publication.needs_you.is_(None))
        .order_by(Publication.lower_asked_at.desc(), Publication.id)
    )  # fmt: skip
    for row in lowers:
        found[row.Publication.id] = Late(row.Publication, row.Listing, row.title, row.lower_asked_at)
    return list(found.values())


async def not_seen(session: AsyncSession, accounts: Sequence[Connection]) -> dict[str, str]:
    """Why what sells on these cannot be read, as their seller was told last, by the account's public id."""
    told = [one.watch_told_at for one in accounts if one.needs_you is None and one.watch_told_at is not None]
    if not told:
        return {}
    rows = await session.scalars(
        select(Event.data)
        .where(Event.type == "watch.failed", Event.created_at > min(told) - timedelta(minutes=1))
        .order_by(Event.id)
    )
    return {str(data["browserProfileId"]): str(data["message"]) for data in rows}


async def unclear(session: AsyncSession) -> list[tuple[Connection, Event]]:
    """Mails that something was sold on an account that we still cannot see, and it is not clear what; but for
    those that the seller looked after."""
    settled = aliased(Event)
    looked_after = exists().where(
        settled.user_id == Event.user_id, settled.id > Event.id, settled.type == "sale.settled",
        settled.data["eventId"].astext == cast(Event.id, TEXT),
    )  # fmt: skip
    unseen = Connection.needs_you.is_not(None) | Connection.watch_told_at.is_not(None)
    rows = await session.execute(
        select(Connection, Event)
        .join(Event, Event.created_at > Connection.blind_since - text("interval '1 minute'"))
        .where(unseen, ~looked_after, Event.type == "sale.unclear",
               Event.data["browserProfileId"].astext == Connection.public_id)
        .order_by(Event.created_at.desc())
    )  # fmt: skip
    return [(connection, event) for connection, event in rows]


async def doubles(session: AsyncSession, listing_ids: Sequence[UUID]) -> dict[str, tuple[Sale | None, Sale]]:
    """The two orders of what was sold twice, by the later, as its question names it (`saleId`)."""
    wanted: Select[Any] = select(DoubleSale).where(
        DoubleSale.listing_id.in_(listing_ids), DoubleSale.settled_at.is_(None)
    )
    rows = (await session.scalars(wanted.order_by(DoubleSale.detected_at))).all()
    ids = {id for row in rows for id in (row.earlier_id, row.later_id) if id is not None}
    sales = {sale.id: sale for sale in await session.scalars(select(Sale).where(Sale.id.in_(ids)))}
    found = {}
    for row in rows:
        earlier = sales[row.earlier_id] if row.earlier_id else None
        found[str(row.later_id)] = (earlier, sales[row.later_id])
    return found


async def count_likely(session: AsyncSession) -> int:
    """Pairs of listings that may be one thing."""
    here = select(Listing.id)
    proposed = select(func.count()).where(
        Match.state == "proposed", Match.one_id.in_(here), Match.other_id.in_(here)
    )
    return int(await session.scalar(proposed) or 0)
