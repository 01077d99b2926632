"""What an error looks like from outside: always `{"error", "message", "action", …}`.

What the sender sent is never repeated (it may be a session), and what we did not foresee is logged, not
shown.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route

from everystall.absence import may_be_away
from everystall.errors import (
    BadRequest,
    Conflict,
    DatabaseAway,
    EverystallError,
    NotFound,
    RateLimited,
    SignInFirst,
    StorageFull,
    Unauthenticated,
)
from everystall.web.edge import refusal
from everystall.web.render import error_page, headers_of, wants_page

log = structlog.get_logger()

#: Wrong fields that one answer names at most.
NAMED: Final = 30


class Refusal(BaseModel):
    """What every error looks like; some carry more fields."""

    model_config = ConfigDict(extra="allow")

    #: Stable, for programs.
    error: str
    #: What happened, in a sentence.
    message: str
    #: What to do about it.
    action: str


_DOCUMENTED: Final = {
    400: "The request is malformed.",
    401: "No token, or one that is unknown, expired or revoked.",
    403: "The token may not do that; or a cookie's request was not made by one of our own pages.",
    404: "There is nothing of yours under that id.",
    409: "It cannot be done as things stand; `error` says why.",
    413: "More than is taken at once.",
    422: "Fields are wrong (`fields` names them), or what they mean cannot be done.",
    429: "Too many requests; `Retry-After` says how many seconds to wait.",
    503: "The database does not answer; try again in a moment.",
    507: "There is no room to store it.",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors that operations may answer with, for OpenAPI. None named: all of them but 507."""
    first, *rest = statuses or tuple(status for status in _DOCUMENTED if status != 507)
    # a model for each answer of each operation would make a web's start a quarter of a second longer
    named = {"application/json": {"schema": {"$ref": f"#/components/schemas/{Refusal.__name__}"}}}
    said: dict[int | str, dict[str, Any]] = {first: {"description": _DOCUMENTED[first], "model": Refusal}}
    return said | {status: {"description": _DOCUMENTED[status], "content": named} for status in rest}


def install(app: FastAPI) -> None:
    app.add_exception_handler(EverystallError, _ours)
    app.add_exception_handler(SignInFirst, _sign_in_first)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(SQLAlchemyError, _database)
    app.add_exception_handler(OSError, _machine)
    app.add_exception_handler(Exception, _unforeseen)


def answer(error: EverystallError, request: Request) -> Response:
    """As JSON; as a page for a person at the address of one."""
    if wants_page(request):
        return error_page(request, error)
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, RateLimited):
        headers["Retry-After"] = str(error.retry_after)
    return JSONResponse(error.as_json(), error.status, headers)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, EverystallError)
    if error.status >= 500:
        log.error("web.failed", error=error.code, message=error.message, path=_place(request))
    return answer(error, request)


async def _sign_in_first(request: Request, error: Exception) -> Response:
    assert isinstance(error, SignInFirst)
    return RedirectResponse(f"/sign-in?next={quote(error.then, safe='/')}", 303)


async def _malformed(request: Request, error: Exception) -> Response:
    """422 with every wrong field by name; never what was in it."""
    assert isinstance(error, RequestValidationError)
    fields = [_field(found) for found in error.errors()[:NAMED]]
    said = "; ".join(f"{f['field']}: {f['message']}" if f["field"] else f["message"] for f in fields)
    if wants_page(request):
        refused = BadRequest(f"{said[:2000]}.", action="Go back, mend it and send it again.")
        return error_page(request, refused, 422)
    action = "Mend the fields that `fields` names and send it again."
    if not all(f["field"] for f in fields):
        action = "Send an object as JSON with `Content-Type: application/json`; /openapi.json describes it."
    return JSONResponse(
        {"error": "bad_request", "message": f"{said[:2000]}.", "action": action, "fields": fields}, 422
    )


def _field(found: Any) -> dict[str, str]:
    where = [str(part)[:60] for part in found["loc"][1:] if part != "[key]"]
    if found["type"] == "json_invalid":
        why = found.get("ctx", {}).get("error", "unreadable")
        return {"field": "", "message": f"that is not JSON ({why}, at character {found['loc'][-1]})"}
    body = "" if where or found["type"] == "value_error" else "the body "
    return {"field": ".".join(where)[:200], "message": body + complaint(found)}


#: What pydantic finds, by its name for it or that name's first word → what we say of the field. Pydantic's
#: own sentences are for programmers, and some repeat what was sent.
_COMPLAINTS: Final = {
    "missing": "is missing",
    "extra": "there is no such field",
    "string": "must be a text, in quotes",
    "string_pattern_mismatch": "is not of the form that belongs here ({pattern})",
    "string_too_long": "may have at most {max_length} characters",
    "string_too_short": "must have {min_length} or more characters",
    "too_long": "may have at most {max_length} entries",
    "list": "must be a list, in [ ]",
    "dict": "must be an object, in {{ }}",
    "model": "must be an object, in {{ }}",
    "bool": "must be true or false",
    "int": "must be a whole number",
    "float": "must be a number",
    "finite": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal": "must be {expected}",
    "datetime": "must be a time, such as 2026-11-24T10:00:00Z",
}


def complaint(found: Any) -> str:
    """One of pydantic's findings in our words; never what was sent."""
    if found["type"] == "value_error":
        return str(found["msg"]).removeprefix("Value error, ")  # ours already
    said = _COMPLAINTS.get(found["type"]) or _COMPLAINTS.get(found["type"].partition("_")[0])
    limits = {
        name: f"{limit:.15g}" if isinstance(limit, int | float) else limit
        for name, limit in found.get("ctx", {}).items()
    }
    return said.format(**limits) if said else "is not what belongs here"


async def _http(request: Request, error: Exception) -> Response:
    """What the framework itself answers: unknown addresses, methods, bodies that cannot be read."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return answer(NotFound("There is nothing at this address.", action="Check the address."), request)
    if error.status_code == 413:
        return answer(refusal(request.url.path), request)
    code, message, action = "bad_request", f"{error.detail}.", "Mend the request and send it again."
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
        code = "method_not_allowed"
        message = f"{request.method} is not a method of this address."
        action = "See /openapi.json for what it takes."
    elif isinstance(error.__cause__, ValueError | RecursionError):  # FastAPI's, of a body
        message = "The body is not JSON that can be read."
        action = "Send JSON in UTF-8, nested less deep."
    if wants_page(request):
        return error_page(request, BadRequest(message), error.status_code)
    return JSONResponse({"error": code, "message": message, "action": action}, error.status_code, headers)


def _methods(request: Request) -> list[str]:
    """All that this address takes; the framework names those of the first route only."""
    fitting = [
        route
        for route in _flat(request.app.routes)
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    # /api/jobs/webhook is an address of its own, though it fits /api/jobs/{jobId} too
    own = min((route.path for route in fitting), key=lambda path: path.count("{"), default="")
    return sorted({method for route in fitting if route.path == own for method in route.methods or ()})


def _flat(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Those of the routers in them too, which the framework keeps as they were given."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        yield from (route,) if inner is None else _flat(inner.routes)


def _place(request: Request) -> str:
    """The route, for the log: in the address itself may stand a secret (/api/hints/mail/{token})."""
    return getattr(request.scope.get("route"), "path", "none of our routes")


async def _database(request: Request, error: Exception) -> Response:
    if isinstance(error, IntegrityError):
        log.warning("web.conflict", path=_place(request), kind=type(error.orig).__name__)
        return answer(Conflict(), request)
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout):
        parts = getattr(request.app.state, "parts", None)
        if not (may_be_away(error) or (parts is not None and parts.database.absence.suspected)):
            kind = type(getattr(error, "orig", error)).__name__
            log.error("web.database_failed", path=_place(request), kind=kind)
        return answer(DatabaseAway(), request)
    return await _unforeseen(request, error)


async def _machine(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        log.error("web.storage_full", path=_place(request))
        return answer(StorageFull(), request)
    return await _unforeseen(request, error)


async def _unforeseen(request: Request, error: Exception) -> Response:
    if isinstance(error, StatementError):
        error.hide_parameters = True  # they hold what sellers wrote
    log.error(
        "web.broke",
        method=request.method,
        path=_place(request),
        # as text: a renderer of its own could show local variables, and those hold sessions
        traceback="".join(traceback.format_exception(error)),
    )
    failed = answer(EverystallError("Something went wrong on our side; it was written to the log."), request)
    failed.headers.update(headers_of(failed))  # made outside of the edge
    return failed
