"""A seller at a worker's browser: asking for it, how it stands, and the way between the two. The worker is
found by the row and reached with a ticket; who may see and type is known here, by the dashboard's own cookie.

What passes (pictures, keys) is read by nobody here, and in no log.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Depends, WebSocket, WebSocketDisconnect
from pydantic import model_validator
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from everystall.errors import NotFound
from everystall.inventory import sittings
from everystall.inventory.connections import get_connection
from everystall.marketplaces import get_form
from everystall.models import ApiToken, Connection, Sitting
from everystall.settings import Settings
from everystall.web.deps import AllParts, Parts, Seller, SignedIn, Transaction, as_id, find_signed_in
from everystall.web.sessions import AccountId
from everystall.web.shapes import Body, Done, Marketplace, Shape
from everystall.web.sockets import AWAY, LATER, REFUSED, let_in

router = APIRouter(prefix="/api/sittings", tags=["sittings"])
#: Beside the pages: it takes their cookie.
live = APIRouter(include_in_schema=False)

#: Sittings that are told, the newest.
MOST: Final = 200
#: Pages of one seller that show a browser or wait for one, in one process; and what the next one is told.
MOST_PAGES: Final = 4
TOO_MANY: Final = "Too many of your pages show a browser. Close some, then load this page again."
#: Seconds between two looks whether a worker has it, and whether the seller is still signed in.
LOOK_SECONDS, SIGNED_IN_SECONDS = 1.0, 15.0
#: Bytes of a message of the seller's, and of a picture.
MOST_BYTES, MOST_PICTURE = 16_000, 4_000_000
#: The worker's own close code for a seller who opened it elsewhere (worker/seats.py), and what we say then.
ELSEWHERE: Final = 4001

# at its debug level the library writes down what it sends and gets
_quiet = logging.getLogger("everystall.sittings")
_quiet.setLevel(logging.WARNING)


class SittingBody(Body):
    """An account that waits for its seller; or a marketplace, to sign in to an account that is not here
    yet."""

    browser_profile_id: AccountId | None = None
    marketplace: Marketplace | None = None

    @model_validator(mode="after")
    def _one(self) -> SittingBody:
        if (self.browser_profile_id is None) == (self.marketplace is None):
            raise ValueError("say browserProfileId, or marketplace for an account that is not here yet")
        return self


class SittingOut(Shape):
    id: str
    marketplace: str
    browser_profile_id: str
    #: challenge: the marketplace asks for a person · sign_in
    purpose: Literal["challenge", "sign_in"]
    #: waiting: for a worker · open · done · closed: by its seller · left: nobody was there for ten minutes ·
    #: long: after half an hour · failed
    state: Literal["waiting", "open", "done", "closed", "left", "long", "failed"]
    message: str | None
    #: The browser or the token that asked.
    asked_by: str
    asked_at: datetime
    opened_at: datetime | None
    ended_at: datetime | None
    #: Where its seller sees the browser, signed in to the dashboard.
    href: str


class SittingsOut(Shape):
    sittings: list[SittingOut]


@router.post("")
async def ask_for_sitting(
    body: SittingBody, session: Transaction, who: Seller, parts: AllParts
) -> SittingOut:
    """Has a worker open a browser for this account, which its seller then sees and uses in the dashboard. The
    one that is open already is answered. 409 where the marketplace asks nothing of its seller."""
    sitting, connection = await ask(
        session, who, parts.settings, account=body.browser_profile_id, marketplace=body.marketplace
    )
    return shown(sitting, connection)


@router.get("")
async def get_sittings(session: Transaction) -> SittingsOut:
    """Each time that you sat at a worker's browser or wanted to, the newest first: when, for how long, from
    which of your browsers, and what came of it."""
    found = await sittings.find_sittings(session, MOST)
    return SittingsOut(sittings=[shown(*one) for one in found])


async def _sitting_id(sittingId: str) -> UUID:
    return as_id(sittingId)


SittingId = Annotated[UUID, Depends(_sitting_id)]


@router.post("/{sittingId}/close")
async def close_sitting(sittingId: SittingId, session: Transaction) -> Done:
    """Closes the browser; what the marketplace asks for still waits."""
    await sittings.get_sitting(session, sittingId)
    await sittings.end(session, sittingId, "closed", "You closed it.")
    return Done(message="The browser is closed.")


async def ask(
    session: AsyncSession, who: SignedIn, settings: Settings, *, account: str | None, marketplace: str | None
) -> tuple[Sitting, Connection]:
    if account is not None:
        connection = await get_connection(session, account, lock=True)
    else:
        get_form(marketplace or "")
        connection = await sittings.begin_account(session, settings, who.user_id, marketplace or "")
    by = await session.scalar(select(ApiToken.name).where(ApiToken.id == who.token_id))
    return await sittings.ask(session, connection, by or "your account"), connection


def shown(sitting: Sitting, connection: Connection) -> SittingOut:
    over = sittings.is_over(sitting)
    state: Any = sitting.outcome or ("left" if over else "open" if sitting.address else "waiting")
    return SittingOut(
        id=str(sitting.id), marketplace=connection.marketplace, browser_profile_id=connection.public_id,
        purpose=sitting.purpose, state=state, message=sitting.said, asked_by=sitting.asked_by,
        asked_at=sitting.asked_at, opened_at=sitting.opened_at,
        ended_at=sitting.ended_at or (sitting.until if over else None), href=f"/sittings/{sitting.id}",
    )  # fmt: skip


# ---- the way between -------------------------------------------------------------------------------


@live.websocket("/sittings/{sittingId}/live")
async def sit(socket: WebSocket, sittingId: str) -> None:
    """To the seller: JPEGs, and JSON: `{"wait": …}` while no worker has it, `{"turn", "said", "at"}` of the
    worker's, `{"over": true}`. From them: what they do (browser/screen.py)."""
    found = await let_in(socket)
    if found is None:
        return
    parts, who, token = found
    try:
        async with parts.database.as_user(who.user_id) as session:
            await sittings.get_sitting(session, as_id(sittingId))
    except NotFound:
        await socket.send_denial_response(Response(status_code=404))
        return
    await socket.accept()
    if parts.sitting[who.user_id] >= MOST_PAGES:
        with suppress(WebSocketDisconnect, RuntimeError):
            await socket.close(LATER, TOO_MANY)
        return
    parts.sitting[who.user_id] += 1
    way = _Way(socket, parts, who, token, as_id(sittingId))
    try:
        await socket.close(await way.go())
    except (WebSocketDisconnect, RuntimeError):  # they went while we were sending
        pass
    finally:
        way.end()
        parts.sitting[who.user_id] -= 1
        if not parts.sitting[who.user_id]:
            del parts.sitting[who.user_id]


class _Way:
    """Between one page of the seller's and whoever serves the sitting."""

    def __init__(self, socket: WebSocket, parts: Parts, who: SignedIn, token: str, id: UUID) -> None:
        self._socket, self._parts, self._who, self._token, self._id = socket, parts, who, token, id
        self._worker: ClientConnection | None = None
        self._hearing = asyncio.create_task(self._hear())

    def end(self) -> None:
        self._hearing.cancel()

    async def go(self) -> int:
        """Until it is over, or the seller has gone; how to close."""
        asked = time.monotonic()
        waiting = False
        while not self._parts.moves.closed and not self._hearing.done():
            if time.monotonic() - asked > SIGNED_IN_SECONDS:
                asked = time.monotonic()
                if await find_signed_in(self._parts, self._token, ("browser",)) is None:
                    return REFUSED
            async with self._parts.database.as_user(self._who.user_id) as session:
                sitting, _ = await sittings.get_sitting(session, self._id)
                over, address, ticket = sittings.is_over(sitting), sitting.address, ""
                if not over and address is not None:
                    key = self._parts.vault.subkey(sittings.KEY)
                    ticket = await sittings.give_ticket(session, key, sitting)
            if over:
                await self._socket.send_text(json.dumps({"over": True}))
                return 1000
            if address is not None:
                if await self._pass(address, ticket) == ELSEWHERE:
                    return ELSEWHERE
                waiting = False
            if not waiting:
                waiting = True
                await self._socket.send_text(json.dumps({"wait": "Opening a browser for you…"}))
            await asyncio.wait([self._hearing], timeout=LOOK_SECONDS)
        return AWAY

    async def _pass(self, address: str, ticket: str) -> int | None:
        """What the worker sends, for as long as it does; the code with which it ended, None if it never
        began."""
        url = f"ws://{urlsplit(address).netloc}/sit"
        try:
            async with connect(
                url, additional_headers={"Authorization": f"Bearer {ticket}"}, proxy=None, compression=None,
                max_size=MOST_PICTURE, open_timeout=5, close_timeout=1, logger=_quiet,
            ) as worker:  # fmt: skip
                self._worker = worker
                passing = asyncio.create_task(self._pass_on(worker))
                watching = asyncio.create_task(self._until_signed_out())
                ends: Sequence[asyncio.Task[None]] = (passing, watching, self._hearing)
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for task in (passing, watching):
                    task.cancel()
                await asyncio.gather(passing, watching, return_exceptions=True)
            return worker.close_code
        except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed):
            return None
        finally:
            self._worker = None

    async def _pass_on(self, worker: ClientConnection) -> None:
        async for message in worker:
            if isinstance(message, bytes):
                await self._socket.send_bytes(message)
            else:
                await self._socket.send_text(message)

    async def _until_signed_out(self) -> None:
        while await find_signed_in(self._parts, self._token, ("browser",)) is not None:
            await asyncio.sleep(SIGNED_IN_SECONDS)

    async def _hear(self) -> None:
        """What the seller does goes to the worker that shows it; while there is none, nowhere."""
        while (message := await self._socket.receive())["type"] != "websocket.disconnect":
            said = message.get("text")
            if said is not None and len(said) <= MOST_BYTES and self._worker is not None:
                try:
                    await self._worker.send(said)
                except ConnectionClosed:
                    continue
