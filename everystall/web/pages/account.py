"""The account's page: password, signed-in and paired browsers, tokens, the vault's audit, people, the end.

What is shown once stands in the answer to the form that made it, and in no address.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError
from sqlalchemy import func, select

from everystall.errors import (
    BadRequest,
    Conflict,
    EverystallError,
    LastOwner,
    ListingLive,
    LogInFailed,
    NotFound,
    SignInAgain,
)
from everystall.inventory.sittings import find_sittings
from everystall.marketplaces import MARKETPLACES
from everystall.models import Publication
from everystall.web import account, browsers, factors, invitations, pairings, sittings
from everystall.web.deps import AllParts, PageSeller, as_id
from everystall.web.pages.opened import Opened, OpenedPage, go, opened
from everystall.web.pages.openings import PURPOSES
from everystall.web.provider import provider_of
from everystall.web.render import page as fill

router = APIRouter()

Text = Annotated[str, Form(max_length=2000)]
#: Openings of the vault that one page lists.
OPENINGS = 10
#: Sittings that it lists, the newest.
SITTINGS = 10


@router.get("/account")
async def show_account(page: OpenedPage, cursor: str | None = None) -> HTMLResponse:
    return await _show(page, cursor=cursor)


@router.get("/account/{rest:path}")
async def lead_back(rest: str) -> Response:
    """The address of a form, opened by itself."""
    return go("/account")


async def _show(
    page: Opened,
    *,
    where: str | None = None,
    error: EverystallError | None = None,
    wrong: str | None = None,
    given: dict[str, str] | None = None,
    cursor: str | None = None,
    **once: Any,
) -> HTMLResponse:
    """`where`: the form that was refused, `wrong` its field, `given` what it held. `once`: what a form made
    and is shown this once."""
    session, now = page.session, datetime.now(UTC)
    live = await session.scalar(
        select(func.count()).select_from(Publication).where((Publication.put == "live") | Publication.looking)
    )
    owner = page.user.role == "owner"
    return page.show(
        "account.html",
        status=error.status if error else 200,
        home="/account" if error or once else None,
        user=page.user,
        current=page.who.token_id,
        browsers=await account.find_tokens(session, "browser"),
        extensions=await account.find_tokens(session, "extension"),
        pairing=await pairings.how_far(session),
        tokens=await account.find_tokens(session, "api"),
        audit=await account.read_audit(session, cursor=cursor, limit=OPENINGS),
        cursor=cursor,
        sat=[(sittings.shown(*one), one[1]) for one in await find_sittings(session, SITTINGS)],
        names=MARKETPLACES,
        purposes=PURPOSES,
        provider=provider_of(page.parts.settings),
        invitations=await invitations.find_invitations(session, page.who) if owner else [],
        live=live or 0,
        backup_days=page.parts.settings.backup_days,
        forgotten_at=now + timedelta(days=page.parts.settings.backup_days),
        where=where,
        error=error,
        wrong=wrong,
        given=given or {},
        **{"code": None, "token": None, "link": None, **once},
    )


@router.post("/account/password")
async def change_password(
    request: Request, parts: AllParts, who: PageSeller, old: Text = "", new: Text = ""
) -> Response:
    error: EverystallError
    try:
        await account.change_password(parts, request, who, old, new)
    except LogInFailed:
        wrong = "old"
        error = LogInFailed(
            "That is not the password that you have now.",
            action="Type the one that you signed in with. "
            "After ten wrong ones even the right one is refused for 15 minutes.",
        )
    except (BadRequest, SignInAgain) as refused:
        wrong, error = "new", refused
    else:
        return go("/account", "password")
    async with opened(request, parts, who) as page:
        return await _show(page, where="password", error=error, wrong=wrong)


@router.post("/account/browsers/{id}/sign-out")
async def sign_browser_out(id: str, page: OpenedPage) -> Response:
    await account.revoke(page.session, "browser", as_id(id))
    return go("/account", "browser", "browsers")


@router.post("/account/pair")
async def pair(page: OpenedPage) -> Response:
    code, expires_at = await pairings.make_code(page.session, page.who)
    shown = {
        "text": f"{code[:4]}-{code[4:]}",
        "expires_at": expires_at,
        "minutes": pairings.MINUTES,
        "server": page.parts.settings.address,
    }
    return await _show(page, code=shown)


@router.post("/account/extensions/{id}/revoke")
async def unpair(id: str, page: OpenedPage) -> Response:
    await account.revoke(page.session, "extension", as_id(id))
    return go("/account", "unpaired", "extensions")


@router.post("/account/tokens")
async def make_token(page: OpenedPage, name: Text = "", scope: Text = "*", days: Text = "") -> Response:
    ends = datetime.now(UTC) + timedelta(days=int(days)) if days in ("30", "90", "365") else None
    try:
        body = account.TokenBody.model_validate({"name": name.strip(), "scopes": [scope], "expiresAt": ends})
    except ValidationError as error:
        said = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        refused = BadRequest(f"{said[:1].upper()}{said[1:]}.")
        return await _show(page, where="token", error=refused, given={"name": name})
    _, token = await account.make_token(page.session, page.who, body.name, body.scopes, body.expires_at)
    return await _show(page, token=token)


@router.post("/account/tokens/{id}/revoke")
async def revoke_token(id: str, page: OpenedPage) -> Response:
    await account.revoke(page.session, "api", as_id(id))
    return go("/account", "revoked", "tokens")


@router.post("/account/invitations")
async def invite(page: OpenedPage, email: Text = "", role: Text = "seller") -> Response:
    try:
        row, token = await invitations.invite(
            page.session, page.who, email, "owner" if role == "owner" else "seller"
        )
    except (BadRequest, Conflict) as error:
        return await _show(page, where="invitation", error=error, given={"email": email})
    url = invitations.link_of(page.parts.settings, token)
    return await _show(page, link={"email": row.email, "url": url})


@router.post("/account/invitations/{id}/take-back")
async def take_back(id: str, page: OpenedPage) -> Response:
    await invitations.take_back(page.session, page.who, as_id(id))
    return go("/account", "taken-back", "invitations")


@router.post("/account/invitations/{id}/reset-second-factor")
async def reset_second_factor(id: str, request: Request, parts: AllParts, who: PageSeller) -> Response:
    try:
        await factors.reset(parts, who, as_id(id))
    except NotFound as error:
        async with opened(request, parts, who) as page:
            return await _show(page, where="people", error=error)
    return go("/account", "second-factor-reset", "invitations")


@router.post("/account/delete")
async def delete(
    request: Request,
    parts: AllParts,
    who: PageSeller,
    confirm: Text = "",
    password: Text = "",
    force: Text = "",
) -> Response:
    try:
        forgotten = await account.delete_account(
            parts, request, who, confirm=confirm, password=password, force=force == "yes"
        )
    except (BadRequest, ListingLive, LastOwner, LogInFailed, SignInAgain) as error:
        if isinstance(error, LogInFailed):
            error = LogInFailed(
                "That is not your password.",
                action="Nothing was deleted. Type it again. After ten wrong ones even the right one is "
                "refused for 15 minutes.",
            )
        async with opened(request, parts, who) as page:
            return await _show(page, where="delete", error=error, given={"confirm": confirm})
    response = fill(request, "gone.html", forgotten=forgotten, retire=account.RETIRE)
    browsers.take_cookie(response, parts.settings)
    return response
