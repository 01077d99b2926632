"""The pages of people who are not signed in yet: signing in, the first start's link, an invitation."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from everystall.backup.shelf import Shelf
from everystall.errors import (
    BadRequest,
    CodeNeeded,
    Conflict,
    EverystallError,
    LogInFailed,
    NotAllowed,
    ProviderAway,
    SignInOver,
)
from everystall.web import account, begun, browsers, identities, invitations, passkeys
from everystall.web.addresses import root
from everystall.web.deps import AllParts, PageSeller, PageTransaction, Parts, find_signed_in, own_page
from everystall.web.pages.opened import SAID, go
from everystall.web.provider import BACK, provider_of
from everystall.web.render import THEME, THEMES, page

router = APIRouter()

OURS = [Depends(own_page)]
Text = Annotated[str, Form(max_length=2000)]
#: What a browser answers for a passkey.
LongText = Annotated[str, Form(max_length=20_000)]


@router.get("/sign-in")
async def show_sign_in(request: Request, parts: AllParts, next: str = "/", said: str = "") -> Response:
    cookie = browsers.cookie_of(request.headers, parts.settings)
    if cookie is not None and await find_signed_in(parts, cookie, ("browser",)) is not None:
        return RedirectResponse(browsers.same_site_path(next), 303)
    return _sign_in(request, parts, next, said=SAID.get(said))


@router.post("/sign-in", dependencies=OURS)
async def sign_in(
    request: Request, parts: AllParts, email: Text = "", password: Text = "", next: Text = "/"
) -> Response:
    try:
        entered = await account.log_in(parts, request, email, password)
    except CodeNeeded:
        # the password is right: the next page asks for the code, and needs it no more
        ticket = await begun.begin(parts.database, "code", begun.AT_HAND, email=email)
        return _ask_code(request, ticket, next)
    except (LogInFailed, NotAllowed) as error:
        return _sign_in(request, parts, next, email=email, error=error)
    return _let_in(parts, entered, browsers.same_site_path(next))


@router.post("/sign-in/code", dependencies=OURS)
async def enter_code(
    request: Request, parts: AllParts, ticket: Text = "", code: Text = "", next: Text = "/"
) -> Response:
    try:
        entered = await account.log_in_by_code(parts, request, ticket, code)
    except LogInFailed as error:
        return _ask_code(request, ticket, next, error=error)
    except SignInOver as error:
        return _sign_in(request, parts, next, error=error)
    return _let_in(parts, entered, browsers.same_site_path(next))


@router.post("/sign-in/passkey", dependencies=OURS)
async def sign_in_by_passkey(
    request: Request, parts: AllParts, ticket: Text = "", credential: LongText = "", next: Text = "/"
) -> Response:
    try:
        entered = await passkeys.sign_in(parts, request, ticket, credential)
    except (LogInFailed, SignInOver) as error:
        return _sign_in(request, parts, next, error=error)
    return _let_in(parts, entered, browsers.same_site_path(next))


@router.get("/sign-in/provider")
async def go_to_provider(request: Request, parts: AllParts, next: str = "/", link: str = "") -> Response:
    try:
        address, word = await identities.start(parts, browsers.same_site_path(next), link or None)
    except (ProviderAway, SignInOver) as error:
        return _sign_in(request, parts, next, error=error)
    response = RedirectResponse(address, 303)
    identities.give_word(response, parts.settings, word)
    return response


@router.get(BACK)
async def back_from_provider(request: Request, parts: AllParts) -> Response:
    """With a code, or with the provider's refusal. Whichever: what was begun is over."""
    cookie = browsers.cookie_of(request.headers, parts.settings)
    who = await find_signed_in(parts, cookie, ("browser",)) if cookie is not None else None
    try:
        returned = await identities.finish(parts, request, who)
    except (LogInFailed, SignInOver, ProviderAway, NotAllowed, Conflict) as error:
        response: Response = _sign_in(request, parts, "/", error=error)
    else:
        if returned.entered is not None:
            response = _let_in(parts, returned.entered, returned.next)
        else:
            response = go(returned.next, "connected", "provider")
    identities.take_word(response, parts.settings)
    return response


def _ask_code(
    request: Request, ticket: str, next: str, *, error: EverystallError | None = None
) -> HTMLResponse:
    return page(
        request, "sign_in_code.html", status=error.status if error else 200, ticket=ticket,
        next=browsers.same_site_path(next), error=error, home="/sign-in",
    )  # fmt: skip


def _sign_in(
    request: Request,
    parts: Parts,
    next: str,
    *,
    email: str = "",
    error: EverystallError | None = None,
    said: Any = None,
) -> HTMLResponse:
    status = error.status if error else 200
    return page(
        request, "sign_in.html", status=status, next=browsers.same_site_path(next), email=email, error=error,
        said=said, provider=provider_of(parts.settings), by_password=parts.settings.password_sign_in,
        passkeys=not passkeys.unable(parts.settings),
    )  # fmt: skip


def _let_in(parts: Parts, entered: account.Entered, path: str) -> Response:
    response = RedirectResponse(path, 303)
    browsers.give_cookie(response, parts.settings, entered.token)
    return response


@router.post("/sign-out")
async def sign_out(parts: AllParts, session: PageTransaction, who: PageSeller) -> Response:
    await account.log_out(session, who)
    response = go("/sign-in", "signed-out")
    browsers.take_cookie(response, parts.settings)
    return response


@router.get("/first")
@router.get("/invitation")
async def show_link(request: Request, parts: AllParts, token: str = "") -> Response:
    """Whom the link is for, and the form. A link that is not good (any more) is an error page."""
    return await _join(request, parts, token)


@router.post("/first", dependencies=OURS)
@router.post("/invitation", dependencies=OURS)
async def join(
    request: Request, parts: AllParts, token: Text = "", email: Text = "", password: Text = ""
) -> Response:
    try:
        if (await invitations.look_at(parts.database, token)).email is not None:
            account.check_by_password(parts)
        user_id = await invitations.accept(parts.database, token, email, password)
    except (BadRequest, Conflict, NotAllowed) as error:
        return await _join(request, parts, token, email=email, error=error)
    return _let_in(parts, await account.enter(parts, request, user_id), "/")


async def _join(
    request: Request, parts: Parts, token: str, *, email: str = "", error: EverystallError | None = None
) -> HTMLResponse:
    invited = await invitations.look_at(parts.database, token)
    shelf = Shelf(parts.settings)
    state = shelf.state() if invited.email is None else None
    return page(
        request, "join.html", status=error.status if error else 200, token=token, invited=invited,
        first=invited.email is None, provider=provider_of(parts.settings),
        by_password=parts.settings.password_sign_in or invited.email is None,
        email=email, error=error, refused=None, restores=shelf.is_looked_after(),
        failed=state if state is not None and state.what == "restore" and state.step == "failed" else None,
    )  # fmt: skip


@router.post("/theme", dependencies=OURS)
async def choose_theme(request: Request, parts: AllParts, theme: Text = "auto") -> Response:
    """Light or dark for this browser, where no script does it."""
    origin, _, path = request.headers.get("referer", "").partition(request.headers.get("host", "\x00"))
    path = path.removeprefix(root()) if path.startswith(f"{root()}/") else path
    response = RedirectResponse(browsers.same_site_path(path) if origin else "/", 303)
    if theme in THEMES:
        https = parts.settings.public_url.startswith("https://")
        response.set_cookie(
            THEME, theme, max_age=31_536_000, path=root() or "/", secure=https, samesite="lax"
        )
    return response
