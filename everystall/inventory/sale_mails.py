"""Sale mails: a marketplace writes to its seller that something was sold, and the account is looked at, now.

A mail proves nothing: it is one more reason to look. Only where we cannot look, because the account is blind,
it counts as a sale, if its mailbox's own server says that the marketplace itself wrote it and it names one
thing of ours. Nothing of a mail is kept but a hash.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parseaddr
from uuid import UUID

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.errors import NotFound
from everystall.inventory import questions, sales
from everystall.inventory.blindness import told_of
from everystall.inventory.connections import get_connection
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.models import Attempt, Connection, Event, MailSeen, Publication
from everystall.notify import messages

log = structlog.get_logger()

#: A mail that comes again later than this is a new one: nobody forwards so late.
REMEMBERED = timedelta(days=30)
#: Characters of a mail that are searched for the listing's id.
SEARCHED = 200_000
_TAG = re.compile(r"<[^<>]{0,2000}>")
#: Characters of one of its heads that are read: Python's parser takes their square in steps. A server's
#: verdict that is longer says nothing.
LONGEST_HEAD = 4096
#: A look that a mail asks for comes so much after the last one, at the soonest.
LOOK_AGAIN = timedelta(seconds=10)
#: That something unproven was told of a blind account is said this often at most.
UNCLEAR_AGAIN = timedelta(hours=1)
#: Mailboxes whose server calls itself otherwise in its verdicts than where it is read: as what. From mails in
#: public archives and in parsers' tests, 2026-11-27; we have seen no such mailbox.
CALLED = {
    "imap.gmail.com": "google.com",
    "imap.fastmail.com": "messagingengine.com",
    "imap.mail.yahoo.com": "yahoo.com",
}
_VERDICT = re.compile(r"\s*(dmarc|dkim|spf)\s*=\s*(\w+)(.*)", re.IGNORECASE | re.DOTALL)
_DOMAIN = re.compile(r"\b(?:header\.(?:from|d|i)|smtp\.mailfrom)\s*=\s*(\S+)", re.IGNORECASE)


@dataclass(frozen=True)
class SaleTold:
    """What a mail says."""

    marketplace: str
    #: As the marketplace shortened it, maybe; "" where the subject names none.
    title: str
    #: The sites' ids that stand in the text and could be a listing's.
    remote_ids: tuple[str, ...]
    #: The server of the mailbox says that it is the marketplace's own.
    proven: bool
    #: Of this very mail.
    key: str


class _Short(policy.EmailPolicy):
    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[: LONGEST_HEAD + 1]


def parse(raw: bytes) -> EmailMessage:
    message = BytesParser(policy=_Short()).parsebytes(raw)
    assert isinstance(message, EmailMessage)
    return message


def read(message: EmailMessage, host: str | None = None) -> SaleTold | None:
    """None: it is no sale mail of a marketplace that we know, or one that its server found to be forged, or
    it cannot be read: however somebody wrote it, it never keeps us from reading others. `host`: where it was
    read; None: somebody passed it on."""
    try:
        return _read(message, host)
    except Exception as e:
        log.warning("mail.not_read", error=type(e).__name__)
        return None


def read_raw(raw: bytes, host: str | None = None) -> SaleTold | None:
    """The same, of a mail as it came."""
    try:
        message = parse(raw)
    except Exception as e:  # RecursionError: a thousand parts in each other
        log.warning("mail.not_read", error=type(e).__name__)
        return None
    return read(message, host)


def _read(message: EmailMessage, host: str | None) -> SaleTold | None:
    domain = parseaddr(str(message.get("From", "")))[1].rpartition("@")[2].lower()
    for marketplace in MARKETPLACES:
        form = get_form(marketplace)
        title = form.SALE_MAIL.title_of(str(message.get("Subject", "")).replace("\0", " "))
        if title is None or not form.SALE_MAIL.is_from(domain):
            continue
        proven = _verdict(message, form.SALE_MAIL.domain, host)
        if proven is False:
            log.warning("mail.forged", marketplace=marketplace)
            return None
        text = _text_of(message)
        patterns = [form.REMOTE_ID, *([form.SALE_MAIL.remote_id] if form.SALE_MAIL.remote_id else [])]
        ids = dict.fromkeys(found for pattern in patterns for found in re.findall(pattern, text))
        return SaleTold(marketplace, title, tuple(ids), proven is True, _key(message, text))
    return None


def _verdict(message: EmailMessage, domain: str, host: str | None) -> bool | None:
    """What the mailbox's own server found: the first Authentication-Results, since each server adds its own
    on top; where it is known whose mailbox it is, only if that server is named in it. True: this domain wrote
    it; False: it did not; None: that is not said."""
    told = next((str(v) for name, v in message.raw_items() if name.lower() == "authentication-results"), "")
    if len(told) > LONGEST_HEAD:
        return None
    server, *said_by_it = _bare(told).split(";")
    if host is not None and not _is_of(server, host):
        return None
    passed = forged = False
    for found in map(_VERDICT.match, [server, *said_by_it]):
        if found is None:
            continue
        method, result, rest = found[1].lower(), found[2].lower(), found[3]
        said = [one.rpartition("@")[2].strip("<>").lower() for one in _DOMAIN.findall(rest)]
        if not any(one == domain or one.endswith(f".{domain}") for one in said):
            continue
        if (method, result) == ("dmarc", "fail"):
            return False
        passed = passed or result == "pass"
        # who passes a mail on breaks SPF, and no signature
        forged = forged or (result == "fail" and method != "spf")
    return True if passed else False if forged else None


def _is_of(server: str, host: str) -> bool:
    """Is that how the server of this mailbox calls itself: as its host, or as what is below the same name? Of
    imap.example.com mx1.example.com is."""
    name, host = (server.split() or [""])[0].lower(), host.lower()
    own = CALLED.get(host) or host.removeprefix("imap.").removeprefix("mail.")
    return name == host or ("." in own and (name == own or name.endswith(f".{own}")))


def _bare(said: str) -> str:
    """Without its comments and quoted strings: whatever stands in them, anybody may have written."""
    kept, depth, quoted, escaped = [], 0, False, False
    for char in said:
        if escaped:
            escaped = False
        elif char == "\\" and (quoted or depth):
            escaped = True
        elif quoted or (char == '"' and not depth):
            quoted = char != '"' if quoted else True
        elif char in "()":
            depth = max(0, depth + (1 if char == "(" else -1))
            kept.append(" ")
        elif not depth:
            kept.append(char)
    return "".join(kept)


def _text_of(message: EmailMessage) -> str:
    """Its words, and the addresses of its links."""
    parts = []
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        if part is None:
            continue
        try:
            said = str(part.get_content())[:SEARCHED]
        except (LookupError, UnicodeError, ValueError):  # a charset that nobody knows
            continue
        if kind == "html":
            links = " ".join(re.findall(r"""href\s*=\s*["']([^"'<>]{1,2000})["']""", said, re.IGNORECASE))
            said = f"{html.unescape(_TAG.sub(' ', said))} {html.unescape(links)}"
        parts.append(said)
    return " ".join(parts)


def _key(message: EmailMessage, text: str) -> str:
    """The same for one mail, whichever way it comes."""
    told = str(message.get("Message-ID", "")).strip() or f"{message.get('Subject')} {text}"
    return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()


async def take(session: AsyncSession, user_id: UUID, told: SaleTold) -> None:
    """Looks at the account at once, or, where it is blind, takes the mail for the sale. A mail has its effect
    once, by whatever way it comes."""
    await session.execute(delete(MailSeen).where(MailSeen.seen_at < func.now() - REMEMBERED))
    accounts = await session.scalars(
        select(Connection)
        .where(Connection.marketplace == told.marketplace)
        .order_by(Connection.id)
        .with_for_update(key_share=True)  # whoever finds it blind comes before this or sees what it wrote
        .execution_options(populate_existing=True)
    )
    there = accounts.all()
    attempts = await _meant(session, told, [one.id for one in there])
    if len(attempts) == 1:
        there = [one for one in there if one.id == attempts[0].connection_id]
    blind = [one for one in there if told_of(one) is not None]
    clear = attempts[0].publication_id if told.proven and len(attempts) == 1 else None
    seen = {"user_id": user_id, "key": told.key, "publication_id": None if blind else clear}
    new = insert(MailSeen).values(seen).on_conflict_do_nothing()
    if (await session.execute(new.returning(MailSeen.key))).first() is None:
        return
    log.info("mail.sale", marketplace=told.marketplace, accounts=len(there), blind=len(blind))
    await _look_at(session, [one.id for one in there if one.needs_you is None])
    if blind and clear is not None:
        publication = await session.get_one(Publication, clear)
        await sales.take_mail(session, publication, attempts[0])
    elif blind and (told.proven or not await _said_lately(session, blind[0])):
        label = MARKETPLACES[told.marketplace]
        data = {
            "browserProfileId": blind[0].public_id, "marketplace": told.marketplace, "title": told.title,
            "message": f"{label} wrote that something was sold, and we cannot look there now. We do not know "
            "for certain what it was: take it down elsewhere yourself.",
        }  # fmt: skip
        await messages.record(session, user_id, "sale.unclear", data)


async def settle(session: AsyncSession, user_id: UUID, event_id: int) -> bool:
    """The seller looked after what the mail of that `sale.unclear` told of: it waits no more, which stands
    among the events. False: they said so before. Raises NotFound."""
    # its account is what is locked: nobody changes an event
    of = select(Event.data["browserProfileId"].astext).where(
        Event.id == event_id, Event.type == "sale.unclear"
    )
    public_id = await session.scalar(of)
    if public_id is None:
        raise NotFound
    await get_connection(session, public_id, lock=True)
    waiting = [event for _, event in await questions.unclear(session) if event.id == event_id]
    if not waiting:
        return False
    told = {name: waiting[0].data.get(name) for name in ("browserProfileId", "marketplace", "title")}
    await messages.record(session, user_id, "sale.settled", {"eventId": event_id, **told})
    return True


async def _look_at(session: AsyncSession, ids: Sequence[UUID]) -> None:
    """Now; what was looked at just now, a moment later: whoever writes mails keeps no account busy. (Of nulls
    PostgreSQL's least and greatest take no notice.)"""
    soon = func.least(Connection.next_check_at, func.greatest(func.now(), Connection.watched_at + LOOK_AGAIN))
    asked = update(Connection).where(Connection.id.in_(ids)).values(next_check_at=soon)
    rows = await session.execute(asked.returning(Connection.id, Connection.next_check_at <= func.now()))
    await engine.wake(session, [id for id, due in rows if due])


async def _said_lately(session: AsyncSession, account: Connection) -> bool:
    said = select(Event.id).where(
        Event.type == "sale.unclear", Event.created_at > func.now() - UNCLEAR_AGAIN,
        Event.data["browserProfileId"].astext == account.public_id,
    )  # fmt: skip
    return await session.scalar(said.limit(1)) is not None


async def _meant(session: AsyncSession, told: SaleTold, accounts: Sequence[UUID]) -> list[Attempt]:
    """What of ours is live there by one of these ids; else by its very title."""
    live = select(Attempt).where(Attempt.connection_id.in_(accounts), Attempt.outcome == "live").limit(2)
    by_id = (await session.scalars(live.where(Attempt.remote_id.in_(told.remote_ids)))).all()
    if by_id or not told.title:
        return list(by_id)
    title = func.lower(Attempt.draft["title"].astext) == told.title.lower()
    return list(await session.scalars(live.where(title)))
