"""Where sale mails come in: an address with the seller's token in it, to which a mailbox or an inbound-mail
service sends them on. Who knows it can have an account looked at; and while that is blind, have it believed
that something was sold there (inventory/sale_mails.py).
"""

from __future__ import annotations

import json
import secrets
from datetime import datetime
from email.errors import MessageError
from email.message import EmailMessage
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from everystall.errors import BadRequest, NotFound
from everystall.inventory import mailboxes, sale_mails
from everystall.models import MailAddress, Mailbox
from everystall.web.deps import AllParts, Seller, Transaction
from everystall.web.limits import MAIL
from everystall.web.shapes import Body, Done, Shape, one_line
from everystall.web.tokens import hash_of

router = APIRouter(prefix="/api/hints", tags=["sales"])


class MailAddressOut(Shape):
    #: Null: there is none.
    made_at: datetime | None
    #: When something came there last, and when a marketplace's mail about a sale did.
    used_at: datetime | None
    sale_at: datetime | None


class NewMailAddressOut(Shape):
    #: Shown this once.
    url: str


class Inbound(Shape):
    """A mail as an inbound-mail service posts it (Postmark's form); what else it says does no harm."""

    from_: str = Field(alias="From", max_length=1000)
    subject: str = Field(alias="Subject", default="", max_length=2000)
    text: str = Field(alias="TextBody", default="")
    html: str = Field(alias="HtmlBody", default="")
    headers: list[dict[str, str]] = Field(alias="Headers", default=[], max_length=500)

    def as_message(self) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["Subject"] = _line(self.from_), _line(self.subject)
        for header in self.headers:
            name = header.get("Name", "").lower()
            if name in ("message-id", "authentication-results"):
                message[name] = _line(header.get("Value", ""))[: sale_mails.LONGEST_HEAD + 1]
        message.set_content(self.text)
        if self.html:
            message.add_alternative(self.html, subtype="html")
        return message


def _line(value: str) -> str:
    return " ".join(value.split())


@router.get("/mail")
async def get_mail_address(session: Transaction, who: Seller) -> MailAddressOut:
    row = await session.scalar(select(MailAddress))
    return MailAddressOut(
        made_at=row.made_at if row else None,
        used_at=row.used_at if row else None,
        sale_at=row.sale_at if row else None,
    )


@router.post("/mail")
async def make_mail_address(session: Transaction, who: Seller, parts: AllParts) -> NewMailAddressOut:
    """A new address for your marketplaces' mails about sales; the one before is worth nothing from now on."""
    token = secrets.token_urlsafe(32)
    values = {"token_hash": hash_of(token), "made_at": func.now(), "used_at": None, "sale_at": None}
    await session.execute(
        insert(MailAddress)
        .values(user_id=who.user_id, **values)
        .on_conflict_do_update(index_elements=["user_id"], set_=values)
    )
    return NewMailAddressOut(url=f"{parts.settings.address}/api/hints/mail/{token}")


@router.delete("/mail")
async def delete_mail_address(session: Transaction, who: Seller) -> Done:
    await session.execute(delete(MailAddress))
    return Done(message="No mails are taken for you any more.")


@router.post("/mail/{token}")
async def take_mail(token: str, request: Request, parts: AllParts) -> Done:
    """A mail, as it is (`message/rfc822`), or as JSON of an inbound-mail service. What is no marketplace's
    mail about a sale is taken and left: the answer is the same."""
    row = await parts.database.ask(
        "SELECT user_id FROM everystall.mail_for(%(hash)s) AS user_id", hash=hash_of(token)
    )
    user_id = row.user_id if row is not None else None
    if user_id is None:
        raise NotFound("There is no such address.")
    await parts.limits.spend(MAIL, str(user_id))
    told = sale_mails.read(_message(request.headers.get("content-type", ""), await request.body()))
    async with parts.database.as_user(user_id) as session:
        used = {"used_at": func.now()} | ({"sale_at": func.now()} if told else {})
        await session.execute(update(MailAddress).values(**used))
        if told is not None:
            await sale_mails.take(session, user_id, told)
    return Done(message="Thank you.")


class MailboxBody(Body):
    #: Its IMAP server.
    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.-]+$")]
    #: By TLS from the first byte on.
    port: Annotated[int, Field(ge=1, le=65535, strict=True)] = 993
    username: Annotated[str, Field(min_length=1, max_length=320), AfterValidator(one_line)]
    #: Sealed, and never shown again. Use one that your provider made for this app alone.
    password: Annotated[SecretStr, Field(min_length=1, max_length=1000)]


class MailboxOut(Shape):
    host: str
    port: int
    username: str
    #: When it was read last; null: not yet.
    checked_at: datetime | None
    #: What is wrong with it; null: nothing.
    failing: str | None


class MailboxesOut(Shape):
    #: Null: there is none.
    mailbox: MailboxOut | None


@router.get("/mailbox")
async def get_mailbox(session: Transaction, who: Seller) -> MailboxesOut:
    box = await session.scalar(select(Mailbox).execution_options(populate_existing=True))
    if box is None:
        return MailboxesOut(mailbox=None)
    return MailboxesOut(
        mailbox=MailboxOut(
            host=box.host,
            port=box.port,
            username=box.username,
            checked_at=box.checked_at,
            failing=mailboxes.said_of(box),
        )
    )


@router.put("/mailbox")
async def put_mailbox(
    body: MailboxBody, session: Transaction, who: Seller, parts: AllParts
) -> MailboxesOut:  # fmt: skip
    """Your mailbox, watched for marketplaces' mails about sales: read only, and nothing of it is kept. What
    came before is no news."""
    mailboxes.check_host(body.host, body.port, mailboxes.policy_of(parts.settings))
    await session.execute(delete(Mailbox))
    box = Mailbox(user_id=who.user_id, host=body.host.lower(), port=body.port, username=body.username)
    await parts.vault.seal_mailbox(session, box, bytearray(body.password.get_secret_value().encode()))
    session.add(box)
    await session.flush()
    return await get_mailbox(session, who)


@router.delete("/mailbox")
async def delete_mailbox(session: Transaction, who: Seller) -> Done:
    await session.execute(delete(Mailbox))
    return Done(message="Your mailbox is not read any more, and its password is deleted.")


def _message(content_type: str, body: bytes) -> EmailMessage:
    """Raises BadRequest."""
    try:
        if content_type.startswith("application/json"):
            return Inbound.model_validate(json.loads(body)).as_message()
        return sale_mails.parse(body)
    except (ValidationError, ValueError, LookupError, MessageError, RecursionError):
        raise BadRequest(
            "That is no mail.", action="Send it as message/rfc822, or as Postmark's inbound JSON."
        ) from None
