"""For the machine that runs us: is the process up, and can it work."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request, Response
from sqlalchemy import text

from everystall import __version__
from everystall.compatibility import Mismatch, find_mismatch
from everystall.web.deps import AllParts
from everystall.web.draining import Draining
from everystall.web.shapes import Shape

router = APIRouter(tags=["health"])


class Health(Shape):
    status: str
    version: str


class Ready(Shape):
    #: It can answer requests now, and goes on: its database is there, of a version that it works with.
    ready: bool
    #: It was told to end, and answers what still comes: ask another one.
    draining: bool
    #: ok, or what is wrong with it
    database: str
    #: When a worker last said that it lives (one that was killed: before that); null: none runs. For
    #: information: without one everything is accepted and waits.
    worker_seen_at: datetime | None


@router.get("/healthz")
async def healthz() -> Health:
    return Health(status="ok", version=__version__)


@router.get("/readyz", responses={503: {"model": Ready}})
async def readyz(parts: AllParts, request: Request, response: Response) -> Ready:
    draining: Draining = request.app.state.draining
    draining.asked()
    seen, database = None, "ok"
    mismatch: Mismatch | None = None
    try:
        async with parts.database.as_app() as session:
            seen = (
                await session.execute(
                    text("SELECT max(last_heartbeat) FROM procrastinate.procrastinate_workers")
                )
            ).scalar_one()
            mismatch = await find_mismatch(session)
    except Exception as e:  # whatever it is, this process cannot work now; the log of the cause is elsewhere
        database = f"does not answer ({type(e).__name__})"
    else:
        database = mismatch.said if mismatch is not None else database
    ready = database == "ok" and not draining.begun
    response.status_code = 200 if ready else 503
    return Ready(ready=ready, draining=draining.begun, database=database, worker_seen_at=seen)
