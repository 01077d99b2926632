"""What a worker says of itself to whoever runs it, at a port of its own: whether it can work (`/readyz`), and
whether it is to be started anew (`/healthz`). It holds nothing of a seller's.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from everystall import __version__
from everystall.compatibility import find_mismatch
from everystall.errors import Misconfigured

if TYPE_CHECKING:
    from everystall.worker.visit import Tools

#: Seconds without a sign of life to the database, which is there, after which a worker is taken to hang; and
#: that the database has for an answer.
HANGS_SECONDS, ANSWER_SECONDS = 60.0, 5.0
_OK: Final = "ok"

_quiet = logging.getLogger("everystall.health")
_quiet.setLevel(logging.CRITICAL)


class Health:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def alive(self) -> bool:
        """False: starting it anew would help. (That this is asked and answered says that it does not stand
        still.) A database that is away is nothing that it could mend."""
        presence = self._tools.presence
        silent = time.monotonic() - presence.signed_at > HANGS_SECONDS
        return not silent or self._tools.db.absence.suspected

    async def stand(self) -> dict[str, object]:
        """How it stands with what a visit needs: `ready`, and what is wrong with each."""
        presence = self._tools.presence
        late = [one for one in presence.leases if one.deadline.passed and not one.lost.is_set()]
        stands = {
            "database": await self._database(),
            "browser": presence.browser_failed or _OK,
            "leases": f"{len(late)} not renewed in time" if late else _OK,
            "signs": _OK if self.alive() else "has not told for a minute that it lives",
        }
        draining = self._tools.stopping.is_set()
        ready = not draining and all(said == _OK for said in stands.values())
        return {"ready": ready, "draining": draining, **stands, "visits": presence.running,
                "version": __version__}  # fmt: skip

    async def _database(self) -> str:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._tools.db.as_app() as session:
                mismatch = await find_mismatch(session)
        except Exception as e:  # whatever it is, no visit can work now
            return f"does not answer ({type(e).__name__})"
        return _OK if mismatch is None else mismatch.said

    @asynccontextmanager
    async def told(self, host: str, port: int | None) -> AsyncIterator[None]:
        """While in the block, it is answered there; nowhere without a port. Raises Misconfigured."""
        if port is None:
            yield
            return
        try:
            server = await serve(
                _nobody, host, port, process_request=self._answer, compression=None, logger=_quiet,
                server_header=None, open_timeout=10, close_timeout=1,
            )  # fmt: skip
        except OSError as e:
            raise Misconfigured(
                f"This worker cannot listen at {host}:{port}: {e.strerror}.",
                action="Set WORKER_HEALTH_PORT to a port that nobody has, another one for each worker.",
            ) from None
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()

    async def _answer(self, there: ServerConnection, request: Request) -> Response:
        if request.path == "/healthz":
            alive = self.alive()
            return _json(alive, {"status": _OK if alive else "hangs", "version": __version__})
        if request.path == "/readyz":
            said = await self.stand()
            return _json(bool(said["ready"]), said)
        return there.respond(HTTPStatus.NOT_FOUND, "There are /healthz and /readyz.\n")


async def _nobody(there: ServerConnection) -> None:
    """Each request has its answer before there could be a WebSocket."""


def _json(good: bool, said: dict[str, object]) -> Response:
    status, body = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, json.dumps(said).encode()
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body)),
                       "Cache-Control": "no-store", "Connection": "close"})  # fmt: skip
    return Response(status, status.phrase, headers, body)
