"""The switch between this Everystall and one to practise on, for its owner. It is asked for here and done by
`everystall up` (everystall/switch.py): the web starts no process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response

from everystall.errors import Conflict, NotFound, Unauthenticated
from everystall.settings import is_loopback
from everystall.switch import PRACTISE, Asker, Switch
from everystall.web import browsers
from everystall.web.deps import AllParts, PageOwner, Parts
from everystall.web.pages.opened import Opened, OpenedPage, go
from everystall.web.render import on_practice
from everystall.web.tokens import hash_of

router = APIRouter()


@dataclass(frozen=True)
class Turn:
    """How this reader comes to the practice marketplaces, or back from them."""

    #: By the switch; else by the command.
    offered: bool
    #: An account of a real marketplace is here, whose sales nobody would see meanwhile.
    needed: bool = False
    #: Why it failed when it was asked for last.
    failed: Mapping[str, str] | None = None
    command: str = PRACTISE


async def find_turn(page: Opened) -> Turn:
    """It is offered where the reader sits at this machine: the practice marketplaces are nowhere else."""
    settings = page.parts.settings
    switch = _switch(page.parts)
    here = is_loopback(settings.public_host) and switch.is_looked_after()
    if page.user.role != "owner" or not here:
        return Turn(False)
    needed = not on_practice(settings) and await _has_accounts(page.parts)
    return Turn(True, needed, switch.failed())


@router.get("/practice")
async def wait(page: OpenedPage, who: PageOwner) -> Response:
    """Until the other one has taken this one's place: it knows of nothing that is asked for, and leads on."""
    if not _switch(page.parts).is_asked():
        return go("/")
    return page.show("practising.html")


@router.post("/practice")
async def practise(request: Request, page: OpenedPage, who: PageOwner) -> Response:
    turn = await find_turn(page)
    if on_practice(page.parts.settings):
        raise NotFound
    if turn.needed:
        raise Conflict(
            "An account of a real marketplace is connected here: nobody would watch its sales meanwhile.",
            action=f"Use `{PRACTISE}` at the command line: it runs beside this one.",
        )
    cookie = browsers.cookie_of(request.headers, page.parts.settings)
    if cookie is None:
        raise Unauthenticated
    browser = browsers.name_of(request.headers.get("user-agent"))
    _switch(page.parts).ask(Asker(page.user.email, page.user.password_hash, hash_of(cookie).hex(), browser))
    return go("/practice")


@router.post("/practice/end")
async def go_back(parts: AllParts, who: PageOwner) -> Response:
    if not on_practice(parts.settings):
        raise NotFound
    _switch(parts).ask()
    return go("/practice")


@router.get("/practice/end")
async def lead_back() -> Response:
    """The address of the form, opened by itself."""
    return go("/")


async def _has_accounts(parts: Parts) -> bool:
    """Of anybody."""
    row = await parts.database.ask(
        "SELECT coalesce(sum(accounts), 0) AS number FROM everystall.account_numbers()"
    )
    return row is None or row.number > 0


def _switch(parts: Parts) -> Switch:
    return Switch(parts.settings.everystall_home)
