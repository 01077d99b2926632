"""A seller's own account: signing in and out, password, browsers, tokens, the vault's audit, and the end.

The functions take a transaction or the process's parts and are what pages call too; the routes translate. A
secret is shown once, in the answer that made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AfterValidator, Field
from sqlalchemy import delete, func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest, CodeNeeded, LastOwner, ListingLive, NotAllowed, NotFound
from everystall.models import ApiToken, Connection, Passkey, ProviderIdentity, Publication, User, VaultAudit
from everystall.web import begun, browsers, factors
from everystall.web.cursors import cursor_of, read_cursor
from everystall.web.deps import (
    AllParts,
    Parts,
    Seller,
    SessionsSeller,
    SessionsTransaction,
    SignedIn,
    Transaction,
    as_id,
    own_page,
)
from everystall.web.limits import asked_from
from everystall.web.passwords import LONGEST, check_password, hash_password
from everystall.web.shapes import Body, Done, Shape, one_line
from everystall.web.tokens import hash_of, new_token

log = structlog.get_logger()

router = APIRouter(prefix="/api", tags=["account"])

Kind = Literal["api", "browser", "extension"]
Password = Annotated[str, Field(max_length=LONGEST)]
Email = Annotated[str, Field(max_length=254)]
Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(one_line)]


# ---- signing in and out ---------------------------------------------------------------------------


class SignInBody(Body):
    email: Email
    password: Password
    #: Of your app, or a recovery code, where a second factor is on.
    code: factors.Code | None = None


class SignedInOut(Shape):
    account: str
    #: For `X-CSRF-Token`, or the form field `csrf`, of every request that changes something.
    csrf_token: str


@dataclass(frozen=True, repr=False)
class Entered:
    """A browser that was signed in: give the cookie, and the csrf token to its pages."""

    user_id: UUID
    token: str
    token_id: UUID


async def log_in(
    parts: Parts, request: Request, email: str, password: str, code: str | None = None
) -> Entered:
    """Signs the browser in that made the request; the cookie it came with is over. Raises LogInFailed;
    CodeNeeded, CodeWrong where a second factor is on; NotAllowed where passwords sign nobody in."""
    check_by_password(parts)
    user_id = await check_password(parts.database, email, password, asked_from(request.scope))
    async with parts.database.as_user(user_id) as session:
        guarded = await factors.is_on(session)
    if guarded:
        if not code:
            raise CodeNeeded
        await factors.check_code(parts, request, email, code)
    return await enter(parts, request, user_id)


async def log_in_by_code(parts: Parts, request: Request, ticket: str, code: str) -> Entered:
    """The second step of who gave the right password just now. Raises SignInOver, CodeWrong."""
    kept = await begun.look(parts.database, "code", ticket)
    user_id = await factors.check_code(parts, request, kept["email"], code)
    await begun.take(parts.database, "code", ticket)
    return await enter(parts, request, user_id)


def check_by_password(parts: Parts) -> None:
    """Raises NotAllowed where passwords sign nobody in."""
    if not parts.settings.password_sign_in:
        raise NotAllowed(
            "Nobody signs in with a password here.", action="Sign in by the identity provider, or a passkey."
        )


async def enter(parts: Parts, request: Request, user_id: UUID) -> Entered:
    """The same for somebody who has just proven who they are in another way (an invitation)."""
    before = browsers.cookie_of(request.headers, parts.settings)
    async with parts.database.as_user(user_id) as session:
        token, token_id = await browsers.open_browser(
            session, user_id, request.headers.get("user-agent"), instead_of=before
        )
    return Entered(user_id, token, token_id)


async def log_out(session: AsyncSession, who: SignedIn) -> None:
    """Ends this browser's session; its cookie is worth nothing from now on."""
    await session.execute(delete(ApiToken).where(ApiToken.id == who.token_id, ApiToken.kind == "browser"))


@router.post("/sign-in", dependencies=[Depends(own_page)])
async def post_sign_in(
    body: SignInBody, request: Request, response: Response, parts: AllParts
) -> SignedInOut:
    """Signs a browser in: the answer sets its cookie. For pages; programs use a token."""
    entered = await log_in(parts, request, body.email, body.password, body.code)
    browsers.give_cookie(response, parts.settings, entered.token)
    return SignedInOut(
        account=body.email.strip().lower(),
        csrf_token=browsers.csrf_token(parts.csrf_key, entered.token_id),
    )


@router.post("/sign-out")
async def post_sign_out(response: Response, session: Transaction, who: Seller, parts: AllParts) -> Done:
    """Signs this browser out."""
    if who.kind != "browser":
        raise BadRequest(
            "This is a token, not a signed-in browser.", action="Revoke it with DELETE /api/tokens/{tokenId}."
        )
    await log_out(session, who)
    browsers.take_cookie(response, parts.settings)
    return Done(message="Signed out.")


# ---- the account ----------------------------------------------------------------------------------


class AccountOut(Shape):
    #: By which a back end names you (docs/from-nextjs.md).
    user_id: str
    email: str
    role: Literal["owner", "seller"]
    created_at: datetime
    has_password: bool
    #: A code is asked for after it.
    has_second_factor: bool
    #: As your browser said when it last handed a session over; your night is by it, and, unless you named one
    #: for your notifications, days and months of your sales. Null: it did not say.
    time_zone: str | None
    #: False: browsers send our cookie over plain http, where others on the way can read it.
    secure_cookies: bool
    #: For requests of this browser that change something; null for tokens.
    csrf_token: str | None


class PasswordBody(Body):
    #: Left out by who has none yet.
    old: Password | None = None
    new: Annotated[str, Field(max_length=10_000)]


async def get_user(session: AsyncSession, who: SignedIn) -> User:
    """Raises NotFound if the account was deleted a moment ago."""
    user = await session.get(User, who.user_id)
    if user is None:
        raise NotFound("This account is gone.")
    return user


async def change_password(parts: Parts, request: Request, who: SignedIn, old: str | None, new: str) -> None:
    """Every other browser is signed out. Raises LogInFailed for a wrong old one, BadRequest for a poor new
    one."""
    user = await prove(parts, request, who, old)
    hashed = await hash_password(new, user.email)
    async with parts.database.as_user(who.user_id) as session:
        await session.execute(update(User).where(User.id == who.user_id).values(password_hash=hashed))
        await session.execute(delete(ApiToken).where(ApiToken.kind == "browser", ApiToken.id != who.token_id))
        await factors.note(session, who.user_id, "password_changed")


async def prove(parts: Parts, request: Request, who: SignedIn, password: str | None) -> User:
    """The account, after its password was given (if it has one): a borrowed cookie or token is not enough.
    Raises LogInFailed; SignInAgain for who signs in by a provider, a passkey or at Supabase, and did not just
    now."""
    async with parts.database.as_user(who.user_id) as session:
        user = await get_user(session, who)
        others = select(ProviderIdentity.id).union_all(select(Passkey.id)).limit(1)
        elsewhere = who.kind == "supabase" or await session.scalar(others) is not None
        if user.password_hash is None and elsewhere:
            await factors.check_fresh(session, who)
    if user.password_hash is not None:
        await check_password(parts.database, user.email, password or "", asked_from(request.scope))
    return user


@router.get("/account")
async def get_account(session: Transaction, who: Seller, parts: AllParts) -> AccountOut:
    user = await get_user(session, who)
    return AccountOut(
        user_id=str(user.id),
        email=user.email,
        role="owner" if user.role == "owner" else "seller",
        created_at=user.created_at,
        has_password=user.password_hash is not None,
        has_second_factor=await factors.is_on(session),
        time_zone=user.time_zone,
        secure_cookies=parts.settings.secure_cookies,
        csrf_token=browsers.csrf_token(parts.csrf_key, who.token_id) if who.kind == "browser" else None,
    )


@router.post("/account/password")
async def post_password(body: PasswordBody, request: Request, who: Seller, parts: AllParts) -> Done:
    """Sets the password; every other browser is signed out. Tokens and extensions stay."""
    await change_password(parts, request, who, body.old, body.new)
    return Done(message="The password is changed, and every other browser is signed out.")


# ---- browsers, extensions, tokens -----------------------------------------------------------------


class BrowserOut(Shape):
    id: UUID
    #: "Firefox on Linux"
    name: str
    user_agent: str | None
    created_at: datetime
    #: To the minute.
    last_used_at: datetime | None
    expires_at: datetime | None
    #: It is the one that asks.
    current: bool


class ExtensionOut(Shape):
    id: UUID
    name: str
    created_at: datetime
    last_used_at: datetime | None


class TokenOut(Shape):
    id: UUID
    name: str
    #: `*` is everything.
    scopes: list[str]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


class MadeTokenOut(TokenOut):
    #: Shown this once.
    token: str


class BrowsersOut(Shape):
    browsers: list[BrowserOut]


class ExtensionsOut(Shape):
    extensions: list[ExtensionOut]


class TokensOut(Shape):
    tokens: list[TokenOut]


def _in_future(value: datetime) -> datetime:
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    if value <= datetime.now(UTC):
        raise ValueError("has passed already")
    return value


class TokenBody(Body):
    name: Name
    scopes: Annotated[list[Literal["*", "sessions:write"]], Field(min_length=1, max_length=2)] = ["*"]
    #: None: until it is revoked.
    expires_at: Annotated[datetime, AfterValidator(_in_future)] | None = None


async def find_tokens(session: AsyncSession, kind: Kind) -> list[ApiToken]:
    """Those that are good, the last made first. A browser that has not come for 14 days is none."""
    alive = ApiToken.expires_at.is_(None) | (ApiToken.expires_at > func.now())
    wanted = select(ApiToken).where(ApiToken.kind == kind, ApiToken.revoked_at.is_(None), alive)
    if kind == "browser":
        seen = func.coalesce(ApiToken.last_used_at, ApiToken.created_at)
        wanted = wanted.where(seen > func.now() - timedelta(days=14))
    return list(await session.scalars(wanted.order_by(ApiToken.created_at.desc(), ApiToken.id)))


async def make_token(
    session: AsyncSession, who: SignedIn, name: str, scopes: Sequence[str], expires_at: datetime | None
) -> tuple[ApiToken, str]:
    """The row and the token itself, the only time that it can be read. Raises SignInAgain for an access token
    of Supabase's, good for an hour itself, whose person did not sign in just now."""
    token = new_token()
    if who.kind == "supabase":
        await factors.check_fresh(session, who)
    if who.kind == "api":  # a token that ends makes none that outlives it
        mine = await session.scalar(select(ApiToken.expires_at).where(ApiToken.id == who.token_id))
        expires_at = min(filter(None, (mine, expires_at)), default=None)
    row = ApiToken(
        user_id=who.user_id,
        kind="api",
        name=name,
        token_hash=hash_of(token),
        scopes=list(dict.fromkeys(scopes)),
        expires_at=expires_at,
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row, token


async def revoke(session: AsyncSession, kind: Kind, token_id: UUID) -> None:
    """It is worth nothing from now on. Raises NotFound."""
    gone = await session.execute(
        delete(ApiToken).where(ApiToken.id == token_id, ApiToken.kind == kind).returning(ApiToken.id)
    )
    if gone.first() is None:
        raise NotFound


@router.get("/browsers")
async def list_browsers(session: Transaction, who: Seller) -> BrowsersOut:
    """Where you are signed in."""
    rows = await find_tokens(session, "browser")
    return BrowsersOut(
        browsers=[
            BrowserOut(
                id=row.id, name=row.name, user_agent=row.user_agent, created_at=row.created_at,
                last_used_at=row.last_used_at, expires_at=row.expires_at, current=row.id == who.token_id,
            )
            for row in rows
        ]
    )  # fmt: skip


@router.delete("/browsers/{browserId}")
async def delete_browser(browserId: str, session: Transaction) -> Done:
    """Signs that browser out."""
    await revoke(session, "browser", as_id(browserId))
    return Done(message="That browser is signed out.")


@router.get("/extensions")
async def list_extensions(session: Transaction) -> ExtensionsOut:
    """The browsers that hand over sessions by the extension."""
    rows = await find_tokens(session, "extension")
    return ExtensionsOut(
        extensions=[
            ExtensionOut(id=row.id, name=row.name, created_at=row.created_at, last_used_at=row.last_used_at)
            for row in rows
        ]
    )


@router.delete("/extensions/{extensionId}")
async def delete_extension(extensionId: str, session: Transaction) -> Done:
    """That extension hands nothing over any more. What it handed over stays, until you disconnect it."""
    await revoke(session, "extension", as_id(extensionId))
    return Done(message="That browser is not paired any more.")


@router.post("/extensions/forget-me")
async def forget_extension(session: SessionsTransaction, who: SessionsSeller) -> Done:
    """The extension that asks ends its own pairing: the token that it came with is revoked. What it handed
    over stays. 400 for any other kind of token."""
    if who.kind != "extension":
        raise BadRequest(
            "This ends the pairing of the extension that asks, and this is no extension's token.",
            action="DELETE /api/extensions/{id} unpairs a browser, DELETE /api/tokens/{id} revokes a token.",
        )
    await revoke(session, "extension", who.token_id)
    return Done(message="This browser is not paired any more.")


@router.get("/tokens")
async def list_tokens(session: Transaction) -> TokensOut:
    """Tokens for the API; none shows its secret."""
    return TokensOut(tokens=[TokenOut(**_token(row)) for row in await find_tokens(session, "api")])


@router.post("/tokens", status_code=201)
async def post_token(body: TokenBody, session: Transaction, who: Seller) -> MadeTokenOut:
    """Makes a token. It is in this answer and nowhere else."""
    row, token = await make_token(session, who, body.name, body.scopes, body.expires_at)
    return MadeTokenOut(**_token(row), token=token)


@router.delete("/tokens/{tokenId}")
async def delete_token(tokenId: str, session: Transaction) -> Done:
    """Revokes it."""
    await revoke(session, "api", as_id(tokenId))
    return Done(message="That token is revoked.")


def _token(row: ApiToken) -> dict[str, Any]:
    return {
        "id": row.id, "name": row.name, "scopes": row.scopes or ["*"], "created_at": row.created_at,
        "last_used_at": row.last_used_at, "expires_at": row.expires_at,
    }  # fmt: skip


# ---- the vault's audit ----------------------------------------------------------------------------


class OpeningOut(Shape):
    at: datetime
    #: What for: "post", "check", "take down", "keys rotate" …
    purpose: str
    #: Null when the account is not here any more.
    marketplace: str | None
    browser_profile_id: str | None
    label: str | None


class OpenedOut(Shape):
    """How often one account's session was used, ever."""

    marketplace: str | None
    browser_profile_id: str | None
    label: str | None
    times: int
    last_at: datetime


class AuditOut(Shape):
    openings: list[OpeningOut]
    next_cursor: str | None
    #: All of them summed up, per account.
    accounts: list[OpenedOut]


@dataclass(frozen=True)
class Audit:
    #: (row, its account or None), newest first.
    openings: Sequence[tuple[VaultAudit, Connection | None]]
    next_cursor: str | None
    #: (account or None, how often, when last), the last used first.
    accounts: Sequence[tuple[Connection | None, int, datetime]]


async def read_audit(
    session: AsyncSession, *, cursor: str | None = None, limit: int = 50, public_id: str | None = None
) -> Audit:
    """Each opening of the seller's sessions. Raises BadRequest for a cursor that is none of ours."""
    of = Connection.id == VaultAudit.connection_id
    wanted = select(VaultAudit, Connection).outerjoin(Connection, of)
    counted = (
        select(Connection, func.count(), func.max(VaultAudit.at))
        .select_from(VaultAudit)
        .outerjoin(Connection, of)
        .group_by(Connection.id)
        .order_by(func.max(VaultAudit.at).desc())
    )
    if public_id is not None:
        wanted = wanted.where(Connection.public_id == public_id)
        counted = counted.where(Connection.public_id == public_id)
    if cursor is not None:
        at, id = read_cursor(cursor)
        if not id.isascii() or not id.isdigit() or len(id) > 18:
            raise BadRequest("That cursor is not one of ours.", action="Begin the list anew.")
        wanted = wanted.where(tuple_(VaultAudit.at, VaultAudit.id) < tuple_(at, int(id)))
    rows = (
        await session.execute(wanted.order_by(VaultAudit.at.desc(), VaultAudit.id.desc()).limit(limit + 1))
    ).all()
    more = len(rows) > limit
    shown = [(row[0], row[1]) for row in rows[:limit]]
    accounts = [(row[0], int(row[1]), row[2]) for row in (await session.execute(counted)).all()]
    return Audit(shown, cursor_of(shown[-1][0].at, shown[-1][0].id) if more else None, accounts)


@router.get("/account/audit")
async def get_audit(
    session: Transaction,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    browserProfileId: Annotated[str | None, Query(max_length=100)] = None,
) -> AuditOut:
    """Each time that a session of yours was opened, and what for, newest first."""
    audit = await read_audit(session, cursor=cursor, limit=limit, public_id=browserProfileId)
    return AuditOut(
        openings=[
            OpeningOut(at=row.at, purpose=row.purpose, **_whose(connection))
            for row, connection in audit.openings
        ],
        next_cursor=audit.next_cursor,
        accounts=[
            OpenedOut(times=times, last_at=last, **_whose(connection))
            for connection, times, last in audit.accounts
        ],
    )


def _whose(connection: Connection | None) -> dict[str, str | None]:
    return {
        "marketplace": connection.marketplace if connection else None,
        "browser_profile_id": connection.public_id if connection else None,
        "label": (connection.label or connection.account_name) if connection else None,
    }


# ---- the end --------------------------------------------------------------------------------------


class DeleteBody(Body):
    #: Your e-mail address, typed again.
    confirm: Email
    password: Password | None = None


class DeletedOut(Shape):
    success: Literal[True] = True
    message: str
    #: When the last backup that still holds it is gone, if backups are kept as long as the operator says.
    backups_forget_at: date


#: What no database holds: the operator's part.
RETIRE: Final = (
    "The sessions in them are sealed by your key, which was sealed by the installation's; they are beyond "
    "anybody's reach already when the operator runs `everystall keys rotate --rewrap`, then "
    "`everystall keys rotate --retire` with the old key, and keeps no copy of it; backups of Everystall's "
    "own hold one until they are gone."
)


async def delete_account(
    parts: Parts,
    request: Request,
    who: SignedIn,
    *,
    confirm: str,
    password: str | None,
    force: bool = False,
) -> date:
    """Deletes everything of this account, at once and for good; when backups forget it, at the latest.

    The keys go with the rows, so no copy of a sealed session outside of backups can be opened; then photos
    that nobody else has, and pictures of failures. Raises LogInFailed, BadRequest (`confirm` is not the
    address), ListingLive unless `force`, LastOwner.
    """
    user = await prove(parts, request, who, password)
    if confirm.strip().lower() != user.email:
        raise BadRequest("That is not this account's address.", action="Type your e-mail address to confirm.")
    async with parts.database.as_user(who.user_id) as session:
        # a visit that is about to click waits here, and finds its account gone
        await session.execute(select(Connection.id).order_by(Connection.id).with_for_update())
        if not force:
            await _refuse_live(session)
        hashes = list(
            await session.scalars(
                text("""SELECT sha256 FROM listing_photos UNION SELECT photo ->> 'sha256'
                        FROM matches, jsonb_array_elements(undo -> 'listing_photos') photo
                        UNION SELECT jsonb_array_elements_text(photos) FROM deleted_listings
                        UNION SELECT photo ->> 'sha256'
                        FROM import_rows, jsonb_array_elements(originals) photo""")
            )
        )
        if await session.scalar(text("SELECT everystall.is_last_owner()")):
            raise LastOwner
        await session.execute(delete(User).where(User.id == who.user_id))
    # after the commit: the rows are gone; what cannot be deleted now is said in the log and stops nothing
    await parts.photos.forget_unnamed(parts.database, hashes)
    await parts.photos.forget_evidence(who.user_id)
    log.info("account.deleted", user_id=str(who.user_id))
    return datetime.now(UTC).date() + timedelta(days=parts.settings.backup_days)


async def _refuse_live(session: AsyncSession) -> None:
    live = await session.scalar(
        select(func.count()).select_from(Publication).where((Publication.put == "live") | Publication.looking)
    )
    if live:
        raise ListingLive(
            f"{live} listing{'s are' if live > 1 else ' is'} live; without your account nobody here could "
            "take them down when they sell elsewhere.",
            action="Take them down first, or send it with ?force=true and look after them yourself.",
            live=live,
        )


@router.delete("/account")
async def delete_own_account(
    body: DeleteBody,
    request: Request,
    response: Response,
    who: Seller,
    parts: AllParts,
    force: bool = False,
) -> DeletedOut:
    """Deletes your account and all that is yours, for good. 409 `listing_live` while listings are live,
    unless `?force=true`; 409 `last_owner` for the only owner among others."""
    forgotten = await delete_account(
        parts, request, who, confirm=body.confirm, password=body.password, force=force
    )
    browsers.take_cookie(response, parts.settings)
    return DeletedOut(
        message=f"Your account is deleted. Backups hold it until {forgotten} at the latest. {RETIRE}",
        backups_forget_at=forgotten,
    )
