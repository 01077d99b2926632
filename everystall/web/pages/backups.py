"""The owner's page of backups, and restoring on the first start. What is asked for here is done by
`everystall up` (backup/keeper.py): this process may neither read every row nor replace them.

Nobody but an owner learns that there is such a page. No passphrase is kept: it becomes the archive's key.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from sqlalchemy import select
from starlette.datastructures import FormData, UploadFile
from starlette.types import Message

from everystall.backup.shelf import Shelf, find_key
from everystall.errors import (
    BackupRefused,
    BadRequest,
    Conflict,
    EverystallError,
    LogInFailed,
    NotFound,
    StorageFull,
)
from everystall.models import User
from everystall.vault.keyring import Keyring
from everystall.web import account, browsers, invitations
from everystall.web.deps import AllParts, PageSeller, Parts, find_signed_in, of_unread_form, own_page
from everystall.web.pages.opened import Opened, OpenedPage, go, opened
from everystall.web.render import page as fill

router = APIRouter()

Text = Annotated[str, Form(max_length=2000)]
#: Bytes of a file that comes in after which it is looked whether there is still room.
LOOK: Final = 64 * 1024 * 1024
_KINDS: Final = {
    "night": "At night", "asked": "Asked for", "before": "Before a restore", "upgrade": "Before an upgrade",
    "sent": "Sent to be restored",
}  # fmt: skip
_WRONG_PASSWORD: Final = LogInFailed(
    "That is not your password.",
    action="Nothing was restored. After ten wrong ones even the right one is refused for 15 minutes.",
)


async def owners_only(request: Request, parts: AllParts) -> None:
    """Before anything of the body is read. Raises NotFound for who is signed in and no owner; who is not
    signed in is led to the sign-in by the page."""
    cookie = browsers.cookie_of(request.headers, parts.settings)
    who = await find_signed_in(parts, cookie, ("browser",)) if cookie is not None else None
    if who is not None:
        async with parts.database.as_user(who.user_id) as session:
            role = await session.scalar(select(User.role).where(User.id == who.user_id))
        if role != "owner":
            raise NotFound


OWNERS = [Depends(owners_only)]


@router.get("/account/backup", dependencies=OWNERS)
async def show_backups(page: OpenedPage) -> HTMLResponse:
    return _show(page)


def _show(
    page: Opened, *, where: str | None = None, error: EverystallError | None = None, name: str = ""
) -> HTMLResponse:
    shelf, settings = Shelf(page.parts.settings), page.parts.settings
    return page.show(
        "backups.html",
        status=error.status if error else 200,
        home="/account/backup" if error else None,
        kept=shelf.find(),
        kinds=_KINDS,
        state=shelf.state(),
        looked_after=shelf.is_looked_after(),
        folder=shelf.folder,
        days=settings.backup_days,
        portable=settings.backup_passphrase is not None,
        where=where,
        error=error,
        chosen=name,
    )


@router.post("/account/backup", dependencies=OWNERS)
async def back_up(page: OpenedPage) -> Response:
    try:
        Shelf(page.parts.settings).ask("backup")
    except Conflict as error:
        return _show(page, where="make", error=error)
    return go("/account/backup")


@router.get("/account/backup/{name}", dependencies=OWNERS)
async def download(name: str, page: OpenedPage) -> Response:
    path = Shelf(page.parts.settings).path(name)
    return FileResponse(path, media_type="application/octet-stream", filename=f"everystall-{path.name}")


@router.post("/account/backup/restore", dependencies=OWNERS)
async def restore(
    request: Request, parts: AllParts, who: PageSeller, name: Text = "", password: Text = ""
) -> Response:
    """One that is on the shelf, by this machine's key ring."""
    error: EverystallError
    try:
        await account.prove(parts, request, who, password)
        await _ask(parts, Shelf(parts.settings).path(name), None)
    except LogInFailed:
        error = _WRONG_PASSWORD
    except NotFound:
        error = BadRequest("That backup is not here any more.", action="Choose another one.")
    except (BackupRefused, Conflict) as refused:
        error = refused
    else:
        return go("/account/backup")
    async with opened(request, parts, who) as page:
        return _show(page, where="restore", error=error, name=name)


@router.post("/account/backup/upload", dependencies=OWNERS)
async def upload(request: Request, parts: AllParts) -> Response:
    """One that was made elsewhere, or downloaded from here. One that cannot be taken is not read."""
    who = await of_unread_form(request, parts)
    error: EverystallError
    try:
        async with _form(request, Shelf(parts.settings)) as (read, form):
            await browsers.check_csrf(read, parts.settings, parts.csrf_key, who.token_id)
            await account.prove(parts, request, who, _text(form.get("password")))
            await _take(parts, form.get("file"), _text(form.get("passphrase")))
    except LogInFailed:
        error = _WRONG_PASSWORD
    except (BackupRefused, BadRequest, Conflict, StorageFull) as refused:
        error = refused
    else:
        return go("/account/backup")
    async with opened(request, parts, who) as page:
        return _show(page, where="upload", error=error)


# ---- the first start ------------------------------------------------------------------------------


@router.post("/first/restore", dependencies=[Depends(own_page)])
async def restore_first(request: Request, parts: AllParts, token: str = "") -> Response:
    """For whoever has the first start's link, while nobody can sign in."""
    invited = await invitations.look_at(parts.database, token)
    if invited.email is not None:
        raise NotFound
    try:
        async with _form(request, Shelf(parts.settings)) as (_, form):
            await _take(parts, form.get("file"), _text(form.get("passphrase")))
    except (BackupRefused, BadRequest, Conflict, StorageFull) as error:
        return fill(
            request, "join.html", status=error.status, token=token, invited=invited, first=True,
            provider=None, by_password=True, email="", error=None, refused=error, failed=None,
            restores=True,
        )  # fmt: skip
    return fill(request, "restoring.html")


@asynccontextmanager
async def _form(request: Request, shelf: Shelf) -> AsyncIterator[tuple[Request, FormData]]:
    """The request and its form, whose file is on the disk for as long as this is open. Raises Conflict and
    StorageFull: before anything of it is read, or as soon as there is no room for more."""
    shelf.check_free()
    shelf.make()
    # as the sender says; the edge has refused what is longer than may be, and looks that it is no more
    shelf.check_room_to_take(int(request.headers.get("content-length") or 0))
    got = looked = 0

    async def receive() -> Message:
        nonlocal got, looked
        message = await request.receive()
        got += len(message.get("body", b""))
        if got - looked >= LOOK:
            looked = got
            shelf.check_room_to_take(0)
        return message

    read = Request(request.scope, receive)
    async with read.form(max_files=1, max_fields=5) as form:
        yield read, form


async def _take(parts: Parts, file: Any, passphrase: str) -> None:
    """Keeps what was sent, if it opens, and asks for it. Raises BackupRefused, BadRequest, Conflict,
    StorageFull: then it is not kept."""
    if not isinstance(file, UploadFile) or not file.size:
        raise BadRequest("No file was sent.", action="Choose the backup that you want to restore.")
    shelf = Shelf(parts.settings)
    shelf.make()
    shelf.check_room(file.size)
    path = shelf.new("sent")

    def keep() -> None:
        with path.open("xb") as kept:
            path.chmod(0o600)
            try:
                shutil.copyfileobj(file.file, kept, 1024 * 1024)
            except OSError as e:
                path.unlink()
                raise StorageFull(f"The file could not be kept: {e.strerror}.") from None

    try:
        await asyncio.to_thread(keep)
    except FileExistsError:
        raise Conflict("Another backup came in at the same moment.", action="Send it again.") from None
    try:
        await _ask(parts, path, passphrase)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


async def _ask(parts: Parts, path: Path, passphrase: str | None) -> None:
    keyring = await asyncio.to_thread(Keyring.load, parts.settings)
    _, key = await asyncio.to_thread(find_key, path, keyring, passphrase or None)
    Shelf(parts.settings).ask("restore", name=path.name, key=key, keyring=keyring)


def _text(value: Any) -> str:
    return value[:2000] if isinstance(value, str) else ""
