"""Invitations: the links that make accounts. The first start's is the operator's, who becomes the owner; all
others are an owner's, for one address each.

A link is shown once, when it is made; the database holds a hash of what is in it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.db import Database
from everystall.errors import Conflict, InvitationUnknown, NotAllowed, NotFound
from everystall.models import ApiToken, Invitation, User
from everystall.settings import Settings
from everystall.switch import Asker
from everystall.web.deps import AllParts, Seller, SignedIn, Transaction, as_id
from everystall.web.passwords import hash_password
from everystall.web.shapes import Body, Done, Shape
from everystall.web.tokens import checked_email, hash_of

router = APIRouter(prefix="/api/invitations", tags=["invitations"])

Role = Literal["owner", "seller"]
#: Days. The first start's link is good for one (everystall.first_owner).
DAYS: Final = 7


class InvitationBody(Body):
    email: Annotated[str, Field(max_length=254)]
    #: owner: may invite others too.
    role: Role = "seller"


class InvitationOut(Shape):
    id: UUID
    email: str
    role: Role
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


class MadeInvitationOut(InvitationOut):
    #: Shown this once: send it to whom it is for.
    link: str


class InvitationsOut(Shape):
    invitations: list[InvitationOut]


@dataclass(frozen=True)
class Invited:
    """Whom a link is for. `email` is None in the first start's: who has it says their own."""

    email: str | None
    role: Role
    inviter: str | None


# ---- an owner's -----------------------------------------------------------------------------------


async def invite(session: AsyncSession, who: SignedIn, email: str, role: Role) -> tuple[Invitation, str]:
    """The row and the link's token. One before for that address is void. Raises BadRequest, NotAllowed,
    Conflict for your own address and that of somebody who joined by you."""
    await check_owner(session, who)
    email = checked_email(email)
    if email == await session.scalar(select(User.email).where(User.id == who.user_id)):
        raise Conflict("That is your own address.", action="Invite somebody else.")
    joined = select(Invitation.id).where(Invitation.email == email, Invitation.joined_id.is_not(None))
    if await session.scalar(joined) is not None:
        raise Conflict(f"{email} has joined already.", action="They sign in with their own password.")
    await session.execute(delete(Invitation).where(Invitation.email == email, Invitation.used_at.is_(None)))
    token = secrets.token_urlsafe(32)
    row = Invitation(
        user_id=who.user_id,
        email=email,
        role=role,
        token_hash=hash_of(token),
        expires_at=datetime.now(UTC) + timedelta(days=DAYS),
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row, token


async def find_invitations(session: AsyncSession, who: SignedIn) -> list[Invitation]:
    """Those that may still be used, or made an account that is still here; the last made first. Raises
    NotAllowed."""
    await check_owner(session, who)
    wanted = select(Invitation).where(
        Invitation.joined_id.is_not(None)
        | (Invitation.used_at.is_(None) & (Invitation.expires_at > func.now()))
    )
    return list(await session.scalars(wanted.order_by(Invitation.created_at.desc(), Invitation.id)))


async def take_back(session: AsyncSession, who: SignedIn, invitation_id: UUID) -> None:
    """The link is worth nothing from now on; an account that it made stays. Raises NotFound, NotAllowed."""
    await check_owner(session, who)
    gone = await session.execute(
        delete(Invitation).where(Invitation.id == invitation_id).returning(Invitation.id)
    )
    if gone.first() is None:
        raise NotFound


async def check_owner(session: AsyncSession, who: SignedIn) -> None:
    """Raises NotAllowed unless it is an owner who asks."""
    role = await session.scalar(select(User.role).where(User.id == who.user_id))
    if role != "owner":
        raise NotAllowed("Only an owner invites others.", action="Ask the owner of this installation.")


def link_of(settings: Settings, token: str, *, page: str = "invitation") -> str:
    return f"{settings.address}/{page}?token={token}"


# ---- whoever has the link -------------------------------------------------------------------------


async def first_owner(database: Database) -> str | None:
    """A new token for the first start's link, or None once anybody can sign in."""
    token = secrets.token_urlsafe(32)
    async with database.as_app() as session:
        made = await session.scalar(text("SELECT everystall.first_owner(:hash)"), {"hash": hash_of(token)})
    return token if made else None


async def welcome(database: Database, asker: Asker) -> None:
    """Makes the first account for an owner of another Everystall, whose browser is signed in here too."""
    token = await first_owner(database)
    async with database.as_app() as session:
        user_id = await session.scalar(
            text("SELECT everystall.accept_invitation(:hash, :email, :password)"),
            {"hash": hash_of(token or ""), "email": asker.email, "password": asker.password_hash},
        )
    if user_id is None:
        raise InvitationUnknown
    async with database.as_user(user_id) as session:
        session.add(
            ApiToken(
                user_id=user_id,
                kind="browser",
                name=asker.browser,
                token_hash=bytes.fromhex(asker.cookie_hash),
                expires_at=datetime.now(UTC) + timedelta(days=DAYS),
            )
        )


async def look_at(database: Database, token: str) -> Invited:
    """Raises InvitationUnknown: wrong, used, expired."""
    async with database.as_app() as session:
        row = (
            await session.execute(
                text("SELECT email, role, inviter FROM everystall.look_at_invitation(:hash)"),
                {"hash": hash_of(token)},
            )
        ).first()
    if row is None or row.role is None:
        raise InvitationUnknown
    return Invited(row.email, "owner" if row.role == "owner" else "seller", row.inviter)


async def accept(database: Database, token: str, email: str, password: str) -> UUID:
    """Makes the account, once; its id. `email` counts for the first start's only. Raises InvitationUnknown,
    BadRequest for a poor password or address, Conflict if the address has an account already."""
    invited = await look_at(database, token)
    email = invited.email or checked_email(email)
    hashed = await hash_password(password, email)
    try:
        async with database.as_app() as session:
            made: UUID | None = await session.scalar(
                text("SELECT everystall.accept_invitation(:hash, :email, :password)"),
                {"hash": hash_of(token), "email": email, "password": hashed},
            )
    except IntegrityError:
        raise Conflict(f"{email} has an account already.", action="Sign in with its password.") from None
    if made is None:
        raise InvitationUnknown
    return made


# ---- routes ---------------------------------------------------------------------------------------


@router.post("", status_code=201)
async def post_invitation(
    body: InvitationBody, session: Transaction, who: Seller, parts: AllParts
) -> MadeInvitationOut:
    """Owners only. The link makes an account for that address, once, within seven days."""
    row, token = await invite(session, who, body.email, body.role)
    return MadeInvitationOut(**_shown(row).model_dump(), link=link_of(parts.settings, token))


@router.get("")
async def list_invitations(session: Transaction, who: Seller) -> InvitationsOut:
    """Owners only: their own."""
    return InvitationsOut(invitations=[_shown(row) for row in await find_invitations(session, who)])


@router.delete("/{invitationId}")
async def delete_invitation(invitationId: str, session: Transaction, who: Seller) -> Done:
    """Owners only. The link is worth nothing from now on."""
    await take_back(session, who, as_id(invitationId))
    return Done(message="That invitation is taken back.")


def _shown(row: Invitation) -> InvitationOut:
    return InvitationOut(
        id=row.id, email=row.email or "", role="owner" if row.role == "owner" else "seller",
        created_at=row.created_at, expires_at=row.expires_at, used_at=row.used_at,
    )  # fmt: skip
