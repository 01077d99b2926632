"""How somebody signs in: the second factor, passkeys, the identity provider, and what was changed of it.

Each change asks for the password once more, and for a code where a second factor is on. What is shown once (a
secret, recovery codes) stands in the answer to the form that made it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Form, Request
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
from everystall.notify.words import ALARMING, SIGN_IN_CHANGES
from everystall.web import factors, identities, passkeys
from everystall.web.account import Name
from everystall.web.deps import AllParts, PageSeller, as_id
from everystall.web.pages.opened import Opened, OpenedPage, go, opened
from everystall.web.provider import provider_of
from everystall.web.shapes import Body

router = APIRouter(prefix="/account/sign-in")

Text = Annotated[str, Form(max_length=2000)]
LongText = Annotated[str, Form(max_length=20_000)]
#: What a form's proof may be refused for, and then stands in it.
REFUSED = (BadRequest, CodeNeeded, Conflict, LogInFailed, NotFound, SignInAgain, SignInOver)


T = TypeVar("T")


class _Named(Body):
    name: Name


class _Form:
    """One that proves once more that it is you, and what is answered to it."""

    def __init__(
        self, request: Request, parts: AllParts, who: PageSeller, password: Text = "", code: Text = ""
    ) -> None:
        self.asked = (parts, request, who)
        self.password, self.code = password, code

    async def answer(
        self,
        where: str,
        work: Awaitable[T],
        then: Callable[[T], Mapping[str, Any]] | Response,
        **given: str,
    ) -> Response:
        """What it asks for is done, and shows this once what it made, or leads on; refused, the page says so
        at the form `where`, with what was `given`."""
        try:
            made = await work
        except REFUSED as error:
            return await self.refuse(where, error, **given)
        if isinstance(then, Response):
            return then
        async with self._opened() as page:
            return await _show(page, **then(made))

    async def refuse(self, where: str, error: EverystallError, **given: str) -> HTMLResponse:
        async with self._opened() as page:
            return await _show(page, where=where, error=error, given=given)

    def _opened(self) -> AbstractAsyncContextManager[Opened]:
        parts, request, who = self.asked
        return opened(request, parts, who)


ProvingForm = Annotated[_Form, Depends()]


@router.get("")
async def show(page: OpenedPage) -> HTMLResponse:
    return await _show(page)


@router.post("/second-factor")
async def begin(form: ProvingForm) -> Response:
    work = factors.begin(*form.asked, form.password)
    return await form.answer("second-factor", work, lambda made: {"begun": _app(made)})


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
async def renew(form: ProvingForm) -> Response:
    work = factors.renew(*form.asked, form.password, form.code)
    return await form.answer("codes", work, lambda codes: {"codes": codes})


@router.post("/second-factor/off")
async def switch_off(form: ProvingForm) -> Response:
    work = factors.remove(*form.asked, form.password, form.code)
    return await form.answer("off", work, go("/account/sign-in", "second-factor-off"))


@router.post("/passkeys")
async def begin_passkey(form: ProvingForm, name: Text = "") -> Response:
    try:
        named = _Named.model_validate({"name": name.strip()}).name
    except ValueError:
        error = BadRequest("A passkey's name has 1 to 100 letters.", action="Call it as you call the device.")
        return await form.refuse("passkey", error, name=name)
    work = passkeys.begin(*form.asked, named, form.password, form.code)
    return await form.answer("passkey", work, _asked, name=name)


@router.post("/passkeys/add")
async def add_passkey(page: OpenedPage, ticket: Text = "", credential: LongText = "") -> Response:
    try:
        await passkeys.add(page.parts, page.session, page.who, ticket, credential)
    except (BadRequest, Conflict, SignInOver) as error:
        return await _show(page, where="passkey", error=error)
    return go("/account/sign-in", "passkey-added", "passkeys")


@router.post("/passkeys/{id}/remove")
async def remove_passkey(id: str, form: ProvingForm) -> Response:
    work = passkeys.remove(*form.asked, as_id(id), form.password, form.code)
    return await form.answer(f"passkey-{id}", work, go("/account/sign-in", "passkey-removed", "passkeys"))


@router.post("/provider")
async def connect(form: ProvingForm) -> Response:
    work = identities.begin_connecting(*form.asked, form.password, form.code)
    # a form may lead to no other site (form-action), a link may
    return await form.answer("provider", work, lambda link: {"link": link})


@router.post("/provider/{id}/disconnect")
async def disconnect(id: str, form: ProvingForm) -> Response:
    work = identities.disconnect(*form.asked, as_id(id), form.password, form.code)
    there = go("/account/sign-in", "disconnected-provider", "provider")
    return await form.answer(f"provider-{id}", work, there)


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
        alarming=ALARMING,
        where=where,
        error=error,
        given=given or {},
        **{"begun": None, "codes": None, "asked": None, "link": None, **once},
    )


def _asked(made: passkeys.OptionsOut) -> dict[str, Any]:
    return {"asked": {"options": json.dumps(made.options), "ticket": made.ticket}}


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
