"""What an error looks like from outside: always `{"error", "message", "action", …}`.

What the sender sent is never repeated (it may be a session), and what we did not foresee is logged, not
shown.
"""

from __future__ import annotations

import errno
import traceback
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from everystall.errors import (
    Conflict,
    DatabaseAway,
    EverystallError,
    NotFound,
    StorageFull,
    TooLarge,
    Unauthenticated,
)

log = structlog.get_logger()

#: Wrong fields that one answer names at most.
NAMED: Final = 30


def install(app: FastAPI) -> None:
    app.add_exception_handler(EverystallError, _ours)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(SQLAlchemyError, _database)
    app.add_exception_handler(OSError, _machine)
    app.add_exception_handler(Exception, _unforeseen)


def answer(error: EverystallError) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthenticated) else None
    return JSONResponse(error.as_json(), error.status, headers)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, EverystallError)
    if error.status >= 500:
        log.error("web.failed", error=error.code, message=error.message, path=request.url.path)
    return answer(error)


async def _malformed(request: Request, error: Exception) -> Response:
    """422 with every wrong field by name; never what was in it."""
    assert isinstance(error, RequestValidationError)
    fields = [_field(found) for found in error.errors()[:NAMED]]
    said = "; ".join(f"{f['field']}: {f['message']}" if f["field"] else f["message"] for f in fields)
    return JSONResponse(
        {
            "error": "bad_request",
            "message": f"{said[:2000]}.",
            "action": "Mend the fields that `fields` names and send it again.",
            "fields": fields,
        },
        422,
    )


def _field(found: Any) -> dict[str, str]:
    where = [str(part)[:60] for part in found["loc"] if part not in ("body", "query", "header", "path")]
    message = str(found["msg"]).removeprefix("Value error, ")
    if found["type"] == "json_invalid":
        return {
            "field": "",
            "message": f"that is not JSON ({found.get('ctx', {}).get('error', 'unreadable')})",
        }
    if found["type"] == "extra_forbidden":
        message = "there is no such field"
    return {"field": ".".join(where)[:200], "message": message}


async def _http(request: Request, error: Exception) -> Response:
    """What the framework itself answers: unknown addresses, methods, bodies that cannot be read."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return answer(NotFound("There is nothing at this address.", action="Check the path."))
    if error.status_code == 413:
        return answer(
            TooLarge(str(error.detail), action="Send less at once; photos may come one request each.")
        )
    code = {405: "method_not_allowed"}.get(error.status_code, "bad_request")
    return JSONResponse(
        {"error": code, "message": f"{error.detail}.", "action": "Mend the request and send it again."},
        error.status_code,
        error.headers,
    )


async def _database(request: Request, error: Exception) -> Response:
    if isinstance(error, IntegrityError):
        log.warning("web.conflict", path=request.url.path, kind=type(error.orig).__name__)
        return answer(Conflict())
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout):
        log.error(
            "web.database_away", path=request.url.path, kind=type(getattr(error, "orig", error)).__name__
        )
        return answer(DatabaseAway())
    return await _unforeseen(request, error)


async def _machine(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        log.error("web.storage_full", path=request.url.path)
        return answer(StorageFull())
    return await _unforeseen(request, error)


async def _unforeseen(request: Request, error: Exception) -> Response:
    if isinstance(error, StatementError):
        error.hide_parameters = True  # they hold what sellers wrote
    log.error(
        "web.broke",
        method=request.method,
        path=request.url.path,
        # as text: a renderer of its own could show local variables, and those hold sessions
        traceback="".join(traceback.format_exception(error)),
    )
    return answer(EverystallError("Something went wrong on our side; it was written to the log."))
