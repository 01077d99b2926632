"""What the seller was told, the ways to them, and what goes where when. A browser that takes pushes is added
on its own page, since only it can subscribe.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID
from zoneinfo import available_timezones

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, Field, SecretStr, model_validator
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest, NotFound, RateLimited
from everystall.models import Channel, Event, Notice, NoticeRules
from everystall.notify import channels, notices, services, words
from everystall.notify.notices import SUBJECTS
from everystall.notify.words import Told
from everystall.web.deps import AllParts, Parts, Seller, Transaction, as_id
from everystall.web.limits import LETTER, LETTERS_TO
from everystall.web.shapes import Body, Done, Line100, Shape, written
from everystall.web.tokens import hash_of

router = APIRouter(prefix="/api/notifications", tags=["notifications"])

#: A day's time, "07:30".
_TIME: Final = r"([01]\d|2[0-3]):[0-5]\d"
Pace = Literal["at_once", "hourly", "daily"]


def _known(subjects: list[str]) -> list[str]:
    unknown = [one[:60] for one in subjects if one not in SUBJECTS]
    if unknown:
        raise ValueError(f"there is no subject {', '.join(unknown)}; use {', '.join(SUBJECTS)}")
    return list(dict.fromkeys(subjects))


def _zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError("is the name of a time zone, as America/New_York")
    return value


Subjects = Annotated[list[str], Field(max_length=50), AfterValidator(_known)]
Time = Annotated[str, written(_TIME, "is a time of day, as 22:00")]


class Quiet(Body):
    """Between these nothing is sent; over midnight where the second is earlier."""

    begins: Time
    ends: Time

    @model_validator(mode="after")
    def _differ(self) -> Quiet:
        if self.begins == self.ends:
            raise ValueError("begins and ends at the same time; leave it out to have none")
        return self


class RulesBody(Body):
    #: Subjects that go there; null: what goes there unless you say otherwise.
    email: Subjects | None = None
    push: Subjects | None = None
    service: Subjects | None = None
    email_pace: Pace = "at_once"
    push_pace: Pace = "at_once"
    service_pace: Pace = "at_once"
    #: When what is told once a day is told.
    digest_hour: Annotated[int, Field(ge=0, le=23, strict=True)] = 8
    quiet: Quiet | None = None
    #: What is urgent waits neither for the end of quiet hours nor for others.
    urgent_passes: bool = True
    #: Days and months of your sales go by it, too. Null: where your browser is.
    time_zone: Annotated[str, AfterValidator(_zone)] | None = None


class RulesOut(RulesBody):
    #: What there is to be told, and what it says.
    subjects: dict[str, str]


class NoticeOut(Shape):
    id: int
    title: str
    text: str
    #: The page that it is about, from the root.
    href: str
    subject: str | None
    at: datetime
    read_at: datetime | None


class NoticesOut(Shape):
    notifications: list[NoticeOut]
    unread: int
    next_cursor: str | None


class ReadBody(Body):
    #: Null: all.
    id: Annotated[int, Field(ge=0, strict=True)] | None = None


class ChannelBody(Body):
    kind: Literal["email", "service"]
    #: Of kind email: a mail asks there first.
    address: Annotated[str, Field(max_length=254)] | None = None
    #: Of kind service: as docs/notifications.md has them. Sealed, and never shown again.
    url: Annotated[SecretStr, Field(max_length=services.LONGEST_URL)] | None = None
    label: Line100 = None


class ChannelOut(Shape):
    id: str
    kind: Literal["email", "push", "service"]
    label: str
    #: Null: an address whose mail was not answered yet. Nothing else is sent there before.
    confirmed_at: datetime | None
    sent_at: datetime | None
    #: What is wrong with it; null: nothing.
    failing: str | None
    created_at: datetime


class ChannelsOut(Shape):
    channels: list[ChannelOut]


async def _channel_id(channelId: str) -> UUID:  # the path's own name
    return as_id(channelId)


ChannelId = Annotated[UUID, Depends(_channel_id)]

# ---- what was told ----------------------------------------------------------------------------------


async def find_notices(
    session: AsyncSession, *, limit: int, before: int | None = None
) -> list[tuple[Notice, Event, Told]]:
    """The newest first."""
    asked = (
        select(Notice, Event)
        .join(Event, Event.id == Notice.event_id)
        .order_by(Notice.event_id.desc())
        .limit(limit)
    )
    if before is not None:
        asked = asked.where(Notice.event_id < before)
    rows = (await session.execute(asked)).all()
    told = await words.told(session, [event for _, event in rows])
    return [(notice, event, said) for (notice, event), said in zip(rows, told, strict=True)]


def read_place(cursor: str | None) -> int | None:
    """Raises BadRequest."""
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise BadRequest("That cursor is not one of ours.", action="Begin the list anew.")
    return int(cursor)


async def open_notice(session: AsyncSession, user_id: UUID, event_id: int) -> str:
    """It is read from now on; where it leads. Raises NotFound."""
    asked = select(Event).join(Notice, Notice.event_id == Event.id).where(Event.id == event_id)
    event = await session.scalar(asked)
    if event is None:
        raise NotFound("There is no such notification.", action="They are kept for some weeks only.")
    await notices.mark_read(session, user_id, event_id)
    (told,) = await words.told(session, [event])
    return told.href


async def read_notice(session: AsyncSession, user_id: UUID, event_id: int) -> None:
    """Raises NotFound."""
    if await session.get(Notice, event_id) is None:
        raise NotFound("There is no such notification.", action="They are kept for some weeks only.")
    await notices.mark_read(session, user_id, event_id)


@router.get("")
async def list_notifications(
    session: Transaction,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> NoticesOut:
    """What you were told in the app, the newest first."""
    rows = await find_notices(session, limit=limit + 1, before=read_place(cursor))
    shown = rows[:limit]
    return NoticesOut(
        notifications=[
            NoticeOut(
                id=notice.event_id, title=told.title, text=told.text, href=told.href,
                subject=notices.subject_of(event.type, event.data), at=event.created_at,
                read_at=notice.read_at,
            )
            for notice, event, told in shown
        ],
        unread=await notices.unread(session),
        next_cursor=str(shown[-1][0].event_id) if len(rows) > limit else None,
    )  # fmt: skip


@router.post("/read")
async def read_notifications(body: ReadBody, session: Transaction, who: Seller) -> Done:
    """One of them, or all, are read from now on."""
    if body.id is None:
        await notices.mark_read(session, who.user_id)
    else:
        await read_notice(session, who.user_id, body.id)
    return Done(message="Read.")


# ---- what goes where, and when ----------------------------------------------------------------------


def _minutes(time: str) -> int:
    return int(time[:2]) * 60 + int(time[3:])


def said_time(minutes: int) -> str:
    """ "07:30" """
    return f"{minutes // 60:02}:{minutes % 60:02}"


def quiet_of(rules: NoticeRules) -> Quiet | None:
    if rules.quiet_from is None or rules.quiet_until is None:
        return None
    return Quiet(begins=said_time(rules.quiet_from), ends=said_time(rules.quiet_until))


async def save_rules(session: AsyncSession, user_id: UUID, body: RulesBody) -> NoticeRules:
    quiet = body.quiet
    return await channels.put_rules(
        session,
        user_id,
        **body.model_dump(exclude={"quiet"}),
        quiet_from=_minutes(quiet.begins) if quiet else None,
        quiet_until=_minutes(quiet.ends) if quiet else None,
    )


@router.get("/rules")
async def get_rules(session: Transaction, who: Seller) -> RulesOut:
    return _rules(await channels.get_rules(session, who.user_id))


@router.put("/rules")
async def put_rules(body: RulesBody, session: Transaction, who: Seller) -> RulesOut:
    """What waits to be sent goes by them too."""
    return _rules(await save_rules(session, who.user_id, body))


def _rules(rules: NoticeRules) -> RulesOut:
    names = [name for name in RulesBody.model_fields if name != "quiet"]
    values: dict[str, Any] = {name: getattr(rules, name) for name in names}
    says = {name: f"{subject.name}: {subject.says}" for name, subject in SUBJECTS.items()}
    return RulesOut(**values, quiet=quiet_of(rules), subjects=says)


# ---- the ways ---------------------------------------------------------------------------------------


async def add_service(parts: Parts, user_id: UUID, url: str, label: str | None) -> Channel:
    """Outside of a transaction: apprise's own look at the URL takes a second."""
    url = url.strip()
    await services.check(url, parts.settings)
    async with parts.database.as_user(user_id) as session:
        return await channels.add_service(session, parts.vault, user_id, url, label)


async def add_address(parts: Parts, user_id: UUID, address: str) -> Channel:
    """Raises RateLimited, and then keeps nothing."""
    await parts.limits.spend(LETTER, str(user_id))
    async with parts.database.as_user(user_id) as session:
        row = await channels.add_address(session, parts.vault, parts.settings, user_id, address)
        await count_letter(parts, row)
        return row


async def count_letter(parts: Parts, asked: Channel) -> None:
    """For whoever gets it, since several accounts may write to one. Raises RateLimited."""
    try:
        await parts.limits.spend(LETTERS_TO, mailbox_of(asked.key))
    except RateLimited as e:
        raise RateLimited(
            "That mailbox was asked often enough for a day.", retry_after=e.retry_after
        ) from None


def mailbox_of(address: str) -> str:
    """The same for all that many providers put into one mailbox; holds no address."""
    local, _, domain = address.lower().rpartition("@")
    return hash_of(f"{local.partition('+')[0].replace('.', '')}@{domain}").hex()


@router.get("/channels")
async def list_channels(session: Transaction) -> ChannelsOut:
    return ChannelsOut(channels=_shown(await channels.find_channels(session)))


@router.post("/channels", status_code=201)
async def create_channel(body: ChannelBody, who: Seller, parts: AllParts) -> ChannelOut:
    """An address, which a mail asks first, or another service. 422 `channel_refused`."""
    if body.kind == "service":
        if body.url is None:
            raise BadRequest("A service has a `url`.", action="See docs/notifications.md.")
        row = await add_service(parts, who.user_id, body.url.get_secret_value(), body.label)
    else:
        row = await add_address(parts, who.user_id, body.address or "")
    return _shown([row])[0]


@router.delete("/channels/{channelId}")
async def delete_channel(id: ChannelId, session: Transaction) -> Done:
    """What was on its way may still arrive."""
    await channels.remove(session, id)
    return Done(message="Nothing is sent there any more.")


@router.post("/channels/{channelId}/test", status_code=202)
async def test_channel(id: ChannelId, session: Transaction) -> Done:
    """Sends it a test; `failing` of the channel says what became of it."""
    await channels.test(session, id)
    return Done(message="A test is on its way.")


def _shown(rows: Sequence[Channel]) -> list[ChannelOut]:
    return [
        ChannelOut(
            id=str(row.id), kind=row.kind, label=row.label,
            confirmed_at=row.confirmed_at, sent_at=row.sent_at, failing=channels.said_of(row),
            created_at=row.created_at,
        )
        for row in rows
    ]  # fmt: skip
