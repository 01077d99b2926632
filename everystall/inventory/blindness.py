"""An account is blind while we cannot see what sells there: signed out, asked for a person, or its orders
cannot be read. Its listings say so; by the seller's rule what is live there is ended elsewhere, so that it
cannot be sold twice, and put back once the account sees again and shows that it did not sell.

An account that the seller took away is blind too, but ends nothing elsewhere: that was the seller's own wish.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.db import Database
from everystall.inventory import sales
from everystall.inventory.connections import DISCONNECTED
from everystall.inventory.publications import lock_all, want_ended, want_live
from everystall.inventory.sale_rules import rules_of
from everystall.logs import chore
from everystall.marketplaces import MARKETPLACES
from everystall.models import Attempt, BlindEnd, Connection, Listing, MailSeen, Publication
from everystall.notify import messages

log = structlog.get_logger()

#: Accounts that one look takes at most, and listings of one of them.
ACCOUNTS, LISTINGS = 100, 200
#: SQL: nobody sees this account now.
UNSEEN = or_(Connection.needs_you.is_not(None), Connection.watch_told_at.is_not(None))


def told_of(connection: Connection) -> dict[str, Any] | None:
    """`{since, reason, message}`, or None while we see it. What was blind is so until it was looked at."""
    asked = connection.needs_you
    if asked is None and connection.watch_told_at is None and connection.blind_since is None:
        return None
    label = MARKETPLACES[connection.marketplace]
    return {
        "since": connection.blind_since or connection.watch_told_at,
        "reason": asked["reason"] if asked else "watch_failed",
        "message": f"We cannot see what sells on this {label} account now. "
        + (str(asked["message"]) if asked else "It goes on by itself once its orders can be read again."),
    }


async def look_after(db: Database) -> None:
    """Notes which accounts went blind and which see again, and does what the sellers' rules say."""
    async with db.as_app() as session:
        rows = (
            await session.execute(
                text("SELECT connection_id, user_id FROM everystall.blinded(:n)"), {"n": ACCOUNTS}
            )
        ).all()
    for row in rows:
        with chore("blindness", user_id=row.user_id, connection_id=row.connection_id):
            async with db.as_user(row.user_id) as session:
                found = select(Connection).where(Connection.id == row.connection_id).with_for_update()
                connection = await session.scalar(found)
                if connection is None:
                    continue
                with structlog.contextvars.bound_contextvars(
                    connection_id=str(connection.id), marketplace=connection.marketplace
                ):
                    await _look_after(session, connection)


async def _look_after(session: AsyncSession, connection: Connection) -> None:
    unseen = connection.needs_you is not None or connection.watch_told_at is not None
    if unseen and connection.blind_since is None:
        log.warning("account.blind")
        connection.blind_since = func.clock_timestamp()
        await _take_mails(session, connection)
    elif unseen and connection.blind_ended_at is None:
        await _end_elsewhere(session, connection)
    elif not unseen and not await _put_back(session, connection):
        log.info("account.sees")
        connection.blind_since = connection.blind_ended_at = None


async def _take_mails(session: AsyncSession, connection: Connection) -> None:
    """Mails about sales that came after the last look began were hints, and now nobody can look: they count,
    but for those whose orders that look saw."""
    mails = (
        select(Publication, Attempt)
        .join(MailSeen, MailSeen.publication_id == Publication.id)
        .join(Attempt, Attempt.publication_id == Publication.id)
        .where(Publication.connection_id == connection.id, Attempt.outcome == "live",
               Attempt.created_at < MailSeen.seen_at)
        .order_by(MailSeen.seen_at)
    )  # fmt: skip
    ordered = Counter[UUID]()
    if connection.watched_at is not None:
        mails = mails.where(MailSeen.seen_at > connection.watched_at)
        ordered = await sales.ordered_since(session, connection.id, connection.watched_at)
    for publication, attempt in (await session.execute(mails)).all():
        ordered[publication.id] -= 1
        if ordered[publication.id] < 0:
            await sales.take_mail(session, publication, attempt)


async def _end_elsewhere(session: AsyncSession, connection: Connection) -> None:
    """So many at once; the last look of them sets `blind_ended_at`."""
    rules = await rules_of(session, connection.user_id)
    began = connection.blind_since
    waits = began is None or await session.scalar(
        select(func.now() < began + timedelta(minutes=rules.blind_minutes))
    )
    if rules.blind != "end_elsewhere" or waits or (connection.needs_you or {}).get("reason") == DISCONNECTED:
        return
    there = select(Publication.listing_id).where(
        Publication.connection_id == connection.id, Publication.put == "live", Publication.wanted == "live"
    )
    others = (
        Publication.listing_id.in_(there),
        Publication.connection_id.not_in(select(Connection.id).where(UNSEEN)),
        Publication.wanted == "live",
    )
    listing_ids = await session.scalars(
        select(Publication.listing_id).where(*others).distinct().limit(LISTINGS)
    )
    wanted = listing_ids.all()
    if not wanted:
        connection.blind_ended_at = func.clock_timestamp()
        return
    await lock_all(session, wanted)
    found = await session.scalars(
        select(Publication).where(*others, Publication.listing_id.in_(wanted)).order_by(Publication.id)
    )
    ended = found.all()
    for publication in ended:
        session.add(BlindEnd(user_id=connection.user_id, publication_id=publication.id,
                             connection_id=connection.id))  # fmt: skip
        if await want_ended(session, publication):
            await engine.wake(session, [publication.connection_id], "urgent")
    await _tell(session, connection, "blind.ended", ended)


async def _put_back(session: AsyncSession, connection: Connection) -> bool:
    """What was ended because of this account, and did not sell, is wanted live again, unless another account
    that has it is blind, too. True: there was some."""
    of_account = select(BlindEnd).where(BlindEnd.connection_id == connection.id)
    rows = (await session.scalars(of_account.order_by(BlindEnd.publication_id).limit(LISTINGS))).all()
    ends = {row.publication_id: row for row in rows}
    listing_ids = select(Publication.listing_id).where(Publication.id.in_(ends))
    again = []
    for publication in await lock_all(session, list(await session.scalars(listing_ids))):
        listing = await session.get_one(Listing, publication.listing_id)
        if publication.id not in ends or publication.wanted != "ended":
            continue
        other = await _another_blind(session, connection, listing)
        if other is not None:
            ends.pop(publication.id).connection_id = other
        elif await want_live(session, publication):
            again.append(publication)
    for row in ends.values():
        await session.delete(row)
    if again:
        await engine.wake(session, [publication.connection_id for publication in again])
        await _tell(session, connection, "blind.put_back", again)
    return bool(rows)


async def _another_blind(session: AsyncSession, connection: Connection, listing: Listing) -> UUID | None:
    found = await session.scalars(
        select(Connection.id)
        .join(Publication, Publication.connection_id == Connection.id)
        .where(Publication.listing_id == listing.id, Publication.put == "live",
               Connection.id != connection.id, Connection.blind_ended_at.is_not(None), UNSEEN)
        .limit(1)
    )  # fmt: skip
    return found.first()


async def _tell(
    session: AsyncSession, connection: Connection, type: str, publications: Sequence[Publication]
) -> None:
    listings: list[UUID] = sorted({publication.listing_id for publication in publications})
    data = {"browserProfileId": connection.public_id, "marketplace": connection.marketplace,
            "listingIds": [str(id) for id in listings]}  # fmt: skip
    await messages.record(session, connection.user_id, type, data)
