"""Where sellers sit at this worker's browsers: a small WebSocket server that takes nobody without a ticket,
which it checks itself. It has no address but `/sit`, and nobody to serve while no sitting is open.

What passes through it (pictures, keys) is in no log.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from typing import Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from everystall.browser.screen import (
    CALM_FRAME_SECONDS,
    FRAME_SECONDS,
    Act,
    Done,
    Mouse,
    Screen,
    Shown,
    Size,
    read_act,
)
from everystall.db import Database
from everystall.errors import BrowserEnded, EverystallError, Misconfigured
from everystall.inventory import sittings
from everystall.settings import Settings
from everystall.vault.sessions import Vault

log = structlog.get_logger()

#: Bytes of a message of the seller's.
MOST_BYTES: Final = 16_000
#: What a seller did and the page has not taken yet: then nothing more is read.
MOST_WAITING: Final = 50
#: The picture before the last has not arrived for so long: it is sent again.
SHOWN_SECONDS: Final = 5.0
#: WebSocket close codes: it is over, or its browser is gone; the same seller opened it elsewhere.
OVER, ELSEWHERE = 4000, 4001

# at its debug level the library writes down what it sends and gets
_quiet = logging.getLogger("everystall.seats")
_quiet.setLevel(logging.WARNING)


class Seat:
    """One browser, and who sits at it."""

    def __init__(self, user_id: UUID, connection_id: UUID, screen: Screen) -> None:
        self.user_id, self.connection_id = user_id, connection_id
        self.screen = screen
        #: Whose turn it is at the browser: only on theirs does it take what the seller does.
        self.turn: Literal["yours", "ours"] = "ours"
        self.said = ""
        #: When the seller last came or did something, by time.monotonic().
        self.touched_at = time.monotonic()
        #: The seller says that it is done.
        self.done = asyncio.Event()
        self._size: Size | None = None
        self._there: ServerConnection | None = None
        self._shown = asyncio.Event()

    @property
    def attended(self) -> bool:
        return self._there is not None

    async def turn_to(self, turn: Literal["yours", "ours"], said: str) -> None:
        """Whose turn it is from now on, and what the seller is told of it."""
        self.turn, self.said = turn, said
        self.done.clear()
        self.screen.frame_seconds = FRAME_SECONDS if turn == "yours" else CALM_FRAME_SECONDS
        await self.screen.resize(self._size if turn == "yours" else None)
        await self.tell()

    async def tell(self) -> None:
        """How it stands: whose turn, what is to be said, where the page is."""
        if self._there is not None:
            with suppress(ConnectionClosed):
                await self._there.send(json.dumps(self._stand()))

    def _stand(self) -> dict[str, str]:
        at = urlsplit(self.screen.page.url)
        return {"turn": self.turn, "said": self.said, "at": f"{at.netloc}{at.path}"[:200]}

    async def sit(self, there: ServerConnection) -> None:
        """Until they go, or the browser does. Who comes later has the seat."""
        before, self._there = self._there, there
        if before is not None:
            await before.close(ELSEWHERE)
        self.touched_at = time.monotonic()
        acts: asyncio.Queue[Act] = asyncio.Queue(MOST_WAITING)
        doing = asyncio.create_task(self._do(acts))
        tasks = (
            doing,
            asyncio.create_task(self._show(there)),
            asyncio.create_task(self._keep_telling(there)),
        )
        try:
            await self._listen(there, acts)
        except ConnectionClosed:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._there is there:
                self._there = None

    async def leave(self) -> None:
        """The sitting is over, or its browser."""
        if self._there is not None:
            await self._there.close(OVER)

    async def _listen(self, there: ServerConnection, acts: asyncio.Queue[Act]) -> None:
        async for message in there:
            act = read_act(message)
            if isinstance(act, Shown):
                self._shown.set()
            elif isinstance(act, Size):
                self._size = act
                if self.turn == "yours":
                    await self.screen.resize(act)
            elif act is not None and self.turn == "yours":
                self.touched_at = time.monotonic()
                if isinstance(act, Done):
                    self.done.set()
                elif not (isinstance(act, Mouse) and act.do == "move" and not acts.empty()):
                    await acts.put(act)  # of a mouse on its way, what the page is too slow for is left out

    async def _do(self, acts: asyncio.Queue[Act]) -> None:
        with suppress(BrowserEnded):
            while True:
                act = await acts.get()
                if self.turn == "yours":
                    await self.screen.act(act)

    async def _show(self, there: ServerConnection) -> None:
        """The newest picture once the one before has arrived."""
        self._shown.set()
        with suppress(ConnectionClosed, EverystallError):
            async for picture in self.screen.pictures():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._shown.wait(), SHOWN_SECONDS)
                self._shown.clear()
                await there.send(picture)

    async def _keep_telling(self, there: ServerConnection) -> None:
        """Where the page is, as it changes."""
        told: dict[str, str] = {}
        with suppress(ConnectionClosed):
            while True:
                if (now := self._stand()) != told:
                    told = now
                    await there.send(json.dumps(now))
                await asyncio.sleep(0.3)


class Seats:
    """Those of one worker. `address` is where its webs reach it."""

    def __init__(self, db: Database, vault: Vault, settings: Settings) -> None:
        self._db, self._vault = db, vault
        self._socket = listen(settings)
        host, port = self._socket.getsockname()[:2]
        self.address = settings.worker_url or f"http://{host}:{port}"
        self._seats: dict[UUID, Seat] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Seats]:
        """Serves them within the block."""
        server = serve(
            self._take, sock=self._socket, process_request=self._let_in, max_size=MOST_BYTES,
            compression=None, logger=_quiet, server_header=None, open_timeout=5, close_timeout=2,
        )  # fmt: skip
        async with server:
            yield self

    def seat(self, sitting_id: UUID, seat: Seat) -> AbstractContextManager[Seat]:
        """Within the block its seller may take it."""

        @contextmanager
        def taken() -> Iterator[Seat]:
            self._seats[sitting_id] = seat
            try:
                yield seat
            finally:
                self._seats.pop(sitting_id, None)

        return taken()

    async def _let_in(self, there: ServerConnection, request: Request) -> Response | None:
        """Whoever has a good ticket for a seat that is here; the rest hear no more than that they have
        none."""
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        ticket = None
        if request.path == "/sit" and kind == "Bearer" and len(given) < 2000:
            ticket = sittings.read_ticket(self._vault.subkeys(sittings.KEY), given, self.address)
        seat = self._seats.get(ticket.sitting_id) if ticket is not None else None
        if ticket is None or seat is None:
            return _refused(there)
        if (seat.user_id, seat.connection_id) != (ticket.user_id, ticket.connection_id):
            return _refused(there)
        async with self._db.as_user(ticket.user_id) as session:
            if not await sittings.use_ticket(session, ticket, self.address):
                return _refused(there)
        there.seat = seat  # type: ignore[attr-defined]
        return None

    async def _take(self, there: ServerConnection) -> None:
        await there.seat.sit(there)  # type: ignore[attr-defined]


def _refused(there: ServerConnection) -> Response:
    log.warning("sitting.refused")
    return there.respond(HTTPStatus.FORBIDDEN, "No.\n")


def listen(settings: Settings) -> socket.socket:
    """Raises Misconfigured where WORKER_URL is no address of this machine, or somebody's already."""
    where = urlsplit(settings.worker_url or "http://127.0.0.1:0")
    try:
        family, _, _, _, address = socket.getaddrinfo(where.hostname, where.port, type=socket.SOCK_STREAM)[0]
        # named, so that asyncio sends each frame at once and does not gather them (TCP_NODELAY)
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as e:
        raise Misconfigured(
            f"This worker cannot listen at {settings.worker_url or '127.0.0.1'}: {e.strerror}.",
            action="Set WORKER_URL to an address of this machine and a port that nobody has, or unset it.",
        ) from None
    return listening
