"""How somebody signs in: the second factor, passkeys, the identity provider, and what was changed of it.

Each change asks for the password once more, and for a code where a second factor is on. What is shown once (a
secret, recovery codes) stands in the answer to the form that made it.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from everystall.errors import (
    BadRequest,
    CodeNeeded,
    CodeWrong,
    Conflict,
    EverystallError,
    LogInFailed,
    NotFound,
    SignInAgain,
    SignInOver,
)
from everystall.notify.words import SIGN_IN_CHANGES
from everystall.web import factors, identities, passkeys
from everystall.web.account import Name
from everystall.web.deps import AllParts, PageSeller, Parts, SignedIn, as_id
from everystall.web.pages.opened import Opened, OpenedPage, go, opened
from everystall.web.provider import provider_of
from everystall.web.shapes import Body

router = APIRouter(prefix="/account/sign-in")

Text = Annotated[str, Form(max_length=2000)]
LongText = Annotated[str, Form(max_length=20_000)]
#: What a form's proof may be refused for, and then stands in it.
REFUSED = (BadRequest, CodeNeeded, Conflict, LogInFailed, NotFound, SignInAgain, SignInOver)


class _Named(Body):
    name: Name


@router.get("")
async def show(page: OpenedPage) -> HTMLResponse:
    return await _show(page)


@router.post("/second-factor")
async def begin(request: Request, parts: AllParts, who: PageSeller, password: Text = "") -> Response:
    try:
        made = await factors.begin(parts, request, who, password)
    except REFUSED as error:
        return await _refused(request, parts, who, "second-factor", error)
    async with opened(request, parts, who) as page:
        return await _show(page, begun=_app(made))


@router.post("/second-factor/confirm")
async def confirm(page: OpenedPage, ticket: Text = "", code: Text = "") -> Response:
    try:
        codes = await factors.confirm(page.parts, page.session, page.who, ticket, code)
    except CodeWrong as error:
        made = await factors.shown_again(page.parts, page.session, page.who, ticket)
        return await _show(page, where="confirm", error=error, begun=_app(made))
    except (Conflict, SignInOver) as error:
        return await _show(page, where="second-factor", error=error)
    return await _show(page, codes=codes)


@router.post("/second-factor/codes")
async def renew(
    request: Request, parts: AllParts, who: PageSeller, password: Text = "", code: Text = ""
) -> Response:
    try:
        codes = await factors.renew(parts, request, who, password, code)
    except REFUSED as error:
        return await _refused(request, parts, who, "codes", error)
    async with opened(request, parts, who) as page:
        return await _show(page, codes=codes)


@router.post("/second-factor/off")
async def switch_off(
    request: Request, parts: AllParts, who: PageSeller, password: Text = "", code: Text = ""
) -> Response:
    try:
        await factors.remove(parts, request, who, password, code)
    except REFUSED as error:
        return await _refused(request, parts, who, "off", error)
    return go("/account/sign-in", "second-factor-off")


@router.post("/passkeys")
async def begin_passkey(
    request: Request, parts: AllParts, who: PageSeller, name: Text = "", password: Text = "", code: Text = ""
) -> Response:
    try:
        named = _Named.model_validate({"name": name.strip()}).name
        asked = await passkeys.begin(parts, request, who, named, password, code)
    except ValueError:
        error = BadRequest("A passkey's name has 1 to 100 letters.", action="Call it as you call the device.")
        return await _refused(request, parts, who, "passkey", error, name=name)
    except REFUSED as refused:
        return await _refused(request, parts, who, "passkey", refused, name=name)
    async with opened(request, parts, who) as page:
        return await _show(page, asked={"options": json.dumps(asked.options), "ticket": asked.ticket})


@router.post("/passkeys/add")
async def add_passkey(page: OpenedPage, ticket: Text = "", credential: LongText = "") -> Response:
    try:
        await passkeys.add(page.parts, page.session, page.who, ticket, credential)
    except (BadRequest, Conflict, SignInOver) as error:
        return await _show(page, where="passkey", error=error)
    return go("/account/sign-in", "passkey-added", "passkeys")


@router.post("/passkeys/{id}/remove")
async def remove_passkey(
    id: str, request: Request, parts: AllParts, who: PageSeller, password: Text = "", code: Text = ""
) -> Response:
    try:
        await passkeys.remove(parts, request, who, as_id(id), password, code)
    except REFUSED as error:
        return await _refused(request, parts, who, f"passkey-{id}", error)
    return go("/account/sign-in", "passkey-removed", "passkeys")


@router.post("/provider")
async def connect(
    request: Request, parts: AllParts, who: PageSeller, password: Text = "", code: Text = ""
) -> Response:
    try:
        link = await identities.begin_connecting(parts, request, who, password, code)
    except REFUSED as error:
        return await _refused(request, parts, who, "provider", error)
    async with opened(request, parts, who) as page:
        # a form may lead to no other site (form-action), a link may
        return await _show(page, link=link)


@router.post("/provider/{id}/disconnect")
async def disconnect(
    id: str, request: Request, parts: AllParts, who: PageSeller, password: Text = "", code: Text = ""
) -> Response:
    try:
        await identities.disconnect(parts, request, who, as_id(id), password, code)
    except REFUSED as error:
        return await _refused(request, parts, who, f"provider-{id}", error)
    return go("/account/sign-in", "disconnected-provider", "provider")


async def _refused(
    request: Request, parts: Parts, who: SignedIn, where: str, error: EverystallError, **given: str
) -> HTMLResponse:
    async with opened(request, parts, who) as page:
        return await _show(page, where=where, error=error, given=given)


async def _show(
    page: Opened,
    *,
    where: str | None = None,
    error: EverystallError | None = None,
    given: dict[str, str] | None = None,
    **once: Any,
) -> HTMLResponse:
    """`where`: the form that was refused. `once`: what a form made and is shown this once."""
    session, settings = page.session, page.parts.settings
    return page.show(
        "signing_in.html",
        status=error.status if error else 200,
        home="/account/sign-in" if error or once else None,
        factor=await factors.find(session),
        has_password=page.user.password_hash is not None,
        passkeys=await passkeys.find(session),
        unable=passkeys.unable(settings),
        provider=provider_of(settings),
        identities=await identities.find(session),
        changes=await factors.changes(session),
        words=SIGN_IN_CHANGES,
        where=where,
        error=error,
        given=given or {},
        **{"begun": None, "codes": None, "asked": None, "link": None, **once},
    )


def _app(made: factors.Begun) -> dict[str, Any]:
    """The QR code as one path, so that nothing in the page is marked as safe."""
    import segno

    rows = [list(row) for row in segno.make(made.uri, error="m", micro=False).matrix_iter(border=4)]
    dots = (f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark)
    return {
        "ticket": made.ticket,
        "secret": " ".join(made.secret[at : at + 4] for at in range(0, len(made.secret), 4)),
        "uri": made.uri,
        "path": "".join(dots),
        "side": len(rows),
    }
