"""What a seller is told of what happens: in the app, and to which of their channels, when. Written in the
transaction of the event; nothing is sent here (notify/outgoing.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from everystall.models import (
    Channel,
    Connection,
    Event,
    Listing,
    Notice,
    NoticeDelivery,
    NoticeRules,
    Publication,
    User,
)
from everystall.notify.hours import Hours, zone_of

#: What open pages listen to (web/live.py): whose, and `notices`.
MOVES: Final = "everystall_moves"
#: Kind of a channel → what the seller reads.
KINDS: Final = {"email": "E-mail", "push": "Push", "service": "Other services"}


@dataclass(frozen=True)
class Subject:
    """Events that a seller decides on together."""

    name: str
    says: str
    types: frozenset[str]
    #: Goes to every kind of channel unless the seller says otherwise.
    tells: bool = True


#: In the order in which they are shown, and in which they stand in a message.
SUBJECTS: Final = {
    "sold_twice": Subject(
        "Sold twice",
        "One of two orders cannot be sent; or a mail says that something sold, and it is not clear what.",
        frozenset({"sale.double", "sale.unclear"}),
    ),
    "late": Subject(
        "Not gone in time",
        "Sold, and still up elsewhere after five minutes, or more of it than are left.",
        frozenset({"delist.late"}),
    ),
    "blind": Subject(
        "An account cannot be seen",
        "What sells there is not noticed: signed out, or its page or your mailbox cannot be read. Also what "
        "your rule takes down meanwhile, and posts again.",
        frozenset({"session.expired", "watch.failed", "mailbox.failed", "blind.ended", "blind.put_back"}),
    ),
    "needs_you": Subject(
        "Needs you", "A listing waits for your answer.", frozenset({"publication.needs_you"})
    ),
    "sold": Subject(
        "Sold", "Also an order that was cancelled.", frozenset({"sale.detected", "sale.cancelled"})
    ),
    "sign_in": Subject(
        "How you sign in was changed",
        "A second factor, a passkey or a provider: by you, or by somebody else.",
        frozenset({"account.sign_in_changed"}),
    ),
    "webhooks": Subject(
        "A webhook was disabled", "It took nothing for a day.", frozenset({"webhook.disabled"})
    ),
    "channels": Subject(
        "A channel does not work", "An address, a browser or a service takes nothing, or is gone.",
        frozenset({"channel.failed"}), tells=False,
    ),
    "live": Subject(
        "Live", "Posted or relisted; or not relisted, and why.",
        frozenset({"publication.live", "relist.skipped"}), tells=False,
    ),
    "imports": Subject(
        "Imports", "Your live listings came in, or were compared.",
        frozenset({"import.finished", "matching.finished"}), tells=False,
    ),
}  # fmt: skip
DEFAULT: Final = tuple(name for name, subject in SUBJECTS.items() if subject.tells)
_OF_TYPE: Final = {type: name for name, subject in SUBJECTS.items() for type in subject.types}
#: What a listing may wait for that is told of its account, or of its sale, already.
_TOLD_OTHERWISE: Final = ("session_expired", "challenge", "sold_twice")


def subject_of(type: str, data: Mapping[str, Any]) -> str | None:
    """None: nobody is told. What ends a job, or was done as the seller wanted, is on its own pages."""
    asks = data.get("needsYou") if type == "publication.needs_you" else None
    if isinstance(asks, Mapping) and asks.get("reason") in _TOLD_OTHERWISE:
        return None
    return _OF_TYPE.get(type)


async def tell(
    session: AsyncSession, user_id: UUID, event_id: int, type: str, data: Mapping[str, Any]
) -> bool:
    """The event's notice, and what of it is owed to the seller's channels; whether anything is. The session
    acts as the seller."""
    subject = subject_of(type, data)
    if subject is None:
        return False
    await session.execute(
        insert(Notice).values(user_id=user_id, event_id=event_id).returning(heard(user_id))
    )  # fmt: skip
    itself = UUID(data["channelId"]) if type == "channel.failed" else None
    channels = (
        await session.execute(
            select(Channel.id, Channel.kind, NoticeRules, User.time_zone, func.now())
            .join(User, User.id == Channel.user_id)
            .outerjoin(NoticeRules, NoticeRules.user_id == Channel.user_id)
            .where(Channel.confirmed_at.is_not(None), Channel.id.is_distinct_from(itself))
        )
    ).all()
    wanted = [row for row in channels if subject in subjects_of(row[2], row.kind)]
    if not wanted:
        return False
    urgent = await _is_urgent(session, subject, data)
    owed = [
        {"user_id": user_id, "channel_id": row.id, "event_id": event_id, "urgent": urgent,
         "next_try_at": time_of(row[2], row.time_zone, row.kind, urgent, row[4])}
        for row in wanted
    ]  # fmt: skip
    await session.execute(insert(NoticeDelivery).values(owed))
    return True


def subjects_of(rules: NoticeRules | None, kind: str) -> tuple[str, ...]:
    """What goes to channels of this kind."""
    chosen = getattr(rules, kind) if rules is not None else None
    return DEFAULT if chosen is None else tuple(chosen)


def time_of(
    rules: NoticeRules | None, zone: str | None, kind: str, urgent: bool, now: datetime
) -> datetime:  # fmt: skip
    """When what happens now is sent to channels of this kind."""
    if rules is None or (urgent and rules.urgent_passes):
        return now
    return hours_of(rules, zone).next_time(getattr(rules, f"{kind}_pace"), now)


def hours_of(rules: NoticeRules, zone: str | None) -> Hours:
    """`zone`: of the seller's browser, where they named none."""
    quiet = None
    if rules.quiet_from is not None and rules.quiet_until is not None:
        quiet = (rules.quiet_from, rules.quiet_until)
    return Hours(zone_of(rules.time_zone, zone), quiet, rules.digest_hour)


async def reschedule(session: AsyncSession, rules: NoticeRules) -> bool:
    """After the rules were changed, what waits goes by the new ones or not at all; whether any does."""
    zone, now = (await session.execute(select(User.time_zone, func.now()))).one()
    rows = await session.execute(
        select(NoticeDelivery, Channel.kind, Event.type, Event.data)
        .join(Channel, Channel.id == NoticeDelivery.channel_id)
        .join(Event, Event.id == NoticeDelivery.event_id)
        .where(NoticeDelivery.status == "waiting", NoticeDelivery.tries == 0,
               NoticeDelivery.claimed_until.is_(None))
        .with_for_update(of=NoticeDelivery, skip_locked=True)
    )  # fmt: skip
    dropped, waits = [], False
    for delivery, kind, type, data in rows:
        if subject_of(type, data) in subjects_of(rules, kind):
            delivery.next_try_at, waits = time_of(rules, zone, kind, delivery.urgent, now), True
        else:
            dropped.append(delivery.id)
    await session.execute(delete(NoticeDelivery).where(NoticeDelivery.id.in_(dropped)))
    return waits


async def _is_urgent(session: AsyncSession, subject: str, data: Mapping[str, Any]) -> bool:
    """Sold twice; sold, and still up elsewhere; or an account cannot be seen on which the last piece of
    something is live that may sell elsewhere meanwhile."""
    if subject in ("sold_twice", "late"):
        return True
    if subject != "blind" or "browserProfileId" not in data:
        return False
    there, elsewhere = aliased(Publication), aliased(Publication)
    found = await session.scalar(
        select(there.id)
        .join(Connection, Connection.id == there.connection_id)
        .join(Listing, Listing.id == there.listing_id)
        .join(elsewhere, elsewhere.listing_id == there.listing_id)
        .where(Connection.public_id == data["browserProfileId"], there.put == "live",
               Listing.quantity - Listing.quantity_sold <= 1,
               elsewhere.put == "live", elsewhere.id != there.id)
        .limit(1)
    )  # fmt: skip
    return found is not None


# ---- read and unread ------------------------------------------------------------------------------


async def unread(session: AsyncSession) -> int:
    return await session.scalar(select(func.count()).where(Notice.read_at.is_(None))) or 0


async def mark_read(session: AsyncSession, user_id: UUID, event_id: int | None = None) -> bool:
    """This one, or all; whether there was one that was not."""
    these = [Notice.event_id == event_id] if event_id is not None else []
    marked = await session.execute(
        update(Notice).where(Notice.read_at.is_(None), *these).values(read_at=func.now())
        .returning(Notice.event_id)
    )  # fmt: skip
    if not marked.all():
        return False
    await session.execute(select(heard(user_id)))
    return True


def heard(user_id: UUID) -> Any:
    """With the commit, the seller's open pages ask for their count again."""
    return func.pg_notify(MOVES, f"{user_id} notices")
