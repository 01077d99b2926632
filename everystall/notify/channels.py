"""The ways to a seller, and what the seller decides about them. An address is written to when its owner said
so; a service's URL and a browser's subscription are sealed, and shown to nobody.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from datetime import timedelta
from email.utils import parseaddr
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.errors import ChannelRefused, Conflict, NotFound
from everystall.models import Channel, NoticeDelivery, NoticeRules, User
from everystall.notify import notices, push, services
from everystall.settings import Settings
from everystall.vault.sessions import Vault

#: Of one seller, of each kind.
MOST: Final = 10
#: How long the link in a mail confirms, and how soon another one may be asked for.
CONFIRM_WITHIN: Final = timedelta(days=1)
ASK_AGAIN: Final = timedelta(minutes=2)


async def find_channels(session: AsyncSession) -> list[Channel]:
    return list(await session.scalars(select(Channel).order_by(Channel.created_at, Channel.id)))


async def get_channel(session: AsyncSession, channel_id: UUID) -> Channel:
    row = await session.get(Channel, channel_id, with_for_update=True)
    if row is None:
        raise NotFound("There is no such channel.")
    return row


async def add_address(
    session: AsyncSession, vault: Vault, settings: Settings, user_id: UUID, address: str
) -> Channel:
    """A mail asks whoever reads it; nothing else is sent there before."""
    address = address.strip()
    if len(address) > 254 or parseaddr(address)[1] != address or not _looks_like_one(address):
        raise ChannelRefused("That is not an e-mail address.", action="Write it as name@example.com.")
    if settings.smtp_url is None:
        raise ChannelRefused(
            "This Everystall sends no mails.", action="Whoever runs it sets SMTP_URL (docs/notifications.md)."
        )
    local, _, domain = address.rpartition("@")
    address = f"{local}@{domain.lower()}"
    row = await _new(session, user_id, "email", address, address)
    row.asked_at = func.now()
    await vault.seal_channel(session, row, bytearray(secrets.token_urlsafe(32).encode()))
    await _keep(session, row)
    await _owe(session, row, "confirm")
    return row


def _looks_like_one(address: str) -> bool:
    local, _, domain = address.rpartition("@")
    plain = address.isascii() and address.isprintable() and not set(address) & set(' ,;:<>()[]"\\')
    return plain and bool(local) and "." in domain and not domain.startswith(".") and not domain.endswith(".")


async def ask_again(session: AsyncSession, vault: Vault, channel_id: UUID) -> Channel:
    """Another mail that asks, instead of the one before: its link is worth nothing then."""
    row = await get_channel(session, channel_id)
    if row.kind != "email" or row.confirmed_at is not None:
        raise Conflict("This channel needs no confirmation.", action="Send a test to see that it works.")
    now = (await session.execute(select(func.now()))).scalar_one()
    if row.asked_at is not None and row.asked_at > now - ASK_AGAIN:
        raise Conflict("We have just written to it.", action="Look in its spam folder; wait two minutes.")
    row.asked_at = now
    await vault.seal_channel(session, row, bytearray(secrets.token_urlsafe(32).encode()))
    await session.execute(
        delete(NoticeDelivery).where(NoticeDelivery.channel_id == row.id, NoticeDelivery.what == "confirm")
    )
    await _owe(session, row, "confirm")
    return row


async def confirm(session: AsyncSession, vault: Vault, token: str) -> Channel:
    """Raises NotFound for a link that is over, or not this seller's."""
    row = await find_asked(session, vault, token)
    if row is None:
        raise NotFound("This link does not work any more.", action="Have another mail sent on the page.")
    row.confirmed_at = func.now()
    await session.flush()
    return row


async def find_asked(session: AsyncSession, vault: Vault, token: str) -> Channel | None:
    """The address whose confirmation this is."""
    rows = await session.scalars(
        select(Channel).where(Channel.kind == "email", Channel.confirmed_at.is_(None),
                              Channel.asked_at > func.now() - CONFIRM_WITHIN)
    )  # fmt: skip
    for row in rows:
        with await vault.open_channel(session, row) as plain:
            if hmac.compare_digest(bytes(plain), token.encode()):
                return row
    return None


async def add_service(
    session: AsyncSession, vault: Vault, user_id: UUID, url: str, label: str | None
) -> Channel:
    """`url` was checked (services.check), which takes a second and no transaction."""
    row = await _new(session, user_id, "service", label or services.label_of(url), _hash(url))
    await vault.seal_channel(session, row, bytearray(url.encode()))
    row.confirmed_at = func.now()
    await _keep(session, row)
    return row


async def add_browser(
    session: AsyncSession,
    vault: Vault,
    settings: Settings,
    user_id: UUID,
    token_id: UUID,
    given: Any,
    label: str,
) -> Channel:
    """The signed-in browser takes pushes from now on, instead of whatever it took before."""
    subscription = push.check_subscription(given, settings)
    await session.execute(delete(Channel).where(Channel.kind == "push", Channel.token_id == token_id))
    row = await _new(session, user_id, "push", label, _hash(subscription["endpoint"]))
    row.token_id, row.confirmed_at = token_id, func.now()
    await vault.seal_channel(session, row, bytearray(json.dumps(subscription).encode()))
    await _keep(session, row)
    return row


async def remove(session: AsyncSession, channel_id: UUID) -> None:
    await get_channel(session, channel_id)
    await session.execute(delete(Channel).where(Channel.id == channel_id))


async def test(session: AsyncSession, channel_id: UUID) -> None:
    row = await get_channel(session, channel_id)
    if row.confirmed_at is None:
        raise Conflict(
            "This address is not confirmed yet.", action="Open the link in the mail that we sent there."
        )
    waits = select(NoticeDelivery.id).where(
        NoticeDelivery.channel_id == row.id, NoticeDelivery.what == "test", NoticeDelivery.status == "waiting"
    )
    if await session.scalar(waits) is not None:
        raise Conflict("A test is on its way there.", action="Wait a few seconds.")
    await session.execute(
        delete(NoticeDelivery).where(NoticeDelivery.channel_id == row.id, NoticeDelivery.what == "test")
    )
    await _owe(session, row, "test")


async def _new(session: AsyncSession, user_id: UUID, kind: str, label: str, key: str) -> Channel:
    await session.execute(select(User.id).where(User.id == user_id).with_for_update())  # one at a time
    there = list(await session.scalars(select(Channel.key).where(Channel.kind == kind)))
    if key in there:
        raise ChannelRefused("That one is here already.", action="Send it a test.")
    if len(there) >= MOST:
        raise ChannelRefused(f"You have {MOST} of these, and that is all.", action="Remove one first.")
    return Channel(id=uuid4(), user_id=user_id, kind=kind, label=label, key=key)


async def _keep(session: AsyncSession, row: Channel) -> None:
    session.add(row)
    await session.flush()
    await session.refresh(row)


async def _owe(session: AsyncSession, row: Channel, what: str) -> None:
    session.add(NoticeDelivery(user_id=row.user_id, channel_id=row.id, what=what))
    await session.flush()
    await engine.wake_messages(session)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# ---- what goes where, and when ----------------------------------------------------------------------


async def get_rules(session: AsyncSession, user_id: UUID) -> NoticeRules:
    """The seller's, or what counts until they say otherwise."""
    return await session.get(NoticeRules, user_id) or NoticeRules(
        user_id=user_id, email_pace="at_once", push_pace="at_once", service_pace="at_once", digest_hour=8,
        urgent_passes=True,
    )  # fmt: skip


async def put_rules(session: AsyncSession, user_id: UUID, **values: Any) -> NoticeRules:
    """What waits goes by them too."""
    put = insert(NoticeRules).values(user_id=user_id, **values)
    await session.execute(put.on_conflict_do_update(index_elements=["user_id"], set_=values))
    rules = await session.get_one(NoticeRules, user_id, populate_existing=True)
    if await notices.reschedule(session, rules):
        await session.flush()
        await engine.wake_messages(session)
    return rules


def chosen(rules: NoticeRules, kind: str) -> Sequence[str]:
    return notices.subjects_of(rules, kind)


def said_of(row: Channel) -> str | None:
    """What is wrong with it, for its seller; None: nothing."""
    return None if row.last_error is None else said_of_error(row.last_error)


def said_of_error(error: str) -> str:
    return _WRONG.get(error, _WRONG["not_taken"])


_WRONG: Final = {
    "gone": "The browser takes no pushes any more. Turn them on again there.",
    "refused_address": "It leads to this machine or a private network, where we do not send.",
    "unreachable": "It could not be reached. We try again for half a day.",
    "timeout": "It did not answer in time. We try again for half a day.",
    "no_server": "This Everystall has no mail server now. Whoever runs it sets SMTP_URL.",
    "server_near": "The mail server that was chosen under Settings is in a private network, where we do not "
    "send. Whoever runs this Everystall sets SMTP_URL.",
    "unusable": "Its URL is not usable any more. Remove it and add it anew.",
    "status": "The browser's push service refused it. Turn it off and on again in that browser.",
    "redirect": "The browser's push service has moved. Turn it off and on again in that browser.",
    "not_taken": "It did not take the message: is the address or the token in it still right? We try again "
    "for half a day.",
}
