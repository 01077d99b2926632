"""The API's reference, for reading: made from our own OpenAPI, with no script of anybody's.

It says nothing that depends on who reads it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse

from everystall import errors
from everystall.web import browsers
from everystall.web.account import get_user
from everystall.web.deps import AllParts, find_signed_in
from everystall.web.limits import EVERYTHING, LOG_IN, PAIRING, PAIRINGS, UPLOAD, WEBHOOK
from everystall.web.render import Reader, page

router = APIRouter()

#: Of a field's fields, so deep.
DEEPEST: Final = 3
_TEXTS: Final = {
    "date-time": "2026-11-25T10:00:00Z",
    "date": "2026-11-25",
    "uuid": "00000000-0000-0000-0000-000000000000",
}
_METHODS: Final = ("get", "post", "put", "patch", "delete")
#: What a group is called, and what it is for; in the order in which a newcomer needs them.
GROUPS: Final = {
    "sessions": ("Sessions", "Your browser hands over its sign-in at a marketplace."),
    "connections": ("Accounts at marketplaces", "Names, defaults, pace, pause."),
    "listings": ("Listings", "Written once; checked against each marketplace; posted."),
    "photos": ("Photos", "Of a listing, in order; the first is the cover."),
    "publications": ("Publications", "One listing on one account: what is wanted, put and seen."),
    "jobs": ("Jobs", "What became of a post."),
    "account": ("Your account", "Password, browsers, tokens, the vault's audit, the end."),
    "invitations": ("Invitations", "An owner lets others in."),
    "pairing": ("Pairing", "How the browser extension gets its token."),
    "webhooks": ("Webhooks", "Told what happens, signed."),
    "health": ("Health", "For whoever runs it."),
}


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    required: bool
    said: str


@dataclass(frozen=True)
class Answer:
    status: str
    said: str
    fields: Sequence[Field]


@dataclass(frozen=True)
class Operation:
    id: str
    method: str
    path: str
    title: str
    said: str
    #: Needs a token or a signed-in browser.
    private: bool
    parameters: Sequence[Field]
    content_type: str | None
    body: Sequence[Field]
    curl: str
    good: Answer | None
    refusals: Sequence[Answer]


@dataclass(frozen=True)
class Group:
    name: str
    title: str
    said: str
    operations: Sequence[Operation]


@dataclass(frozen=True)
class Refusal:
    code: str
    status: int
    said: str
    action: str


@router.get("/api/docs")
async def show_reference(request: Request, parts: AllParts) -> HTMLResponse:
    app: FastAPI = request.app
    reader = None
    cookie = browsers.cookie_of(request.headers, parts.settings)
    who = await find_signed_in(parts, cookie, ("browser",)) if cookie is not None else None
    if who is not None:
        async with parts.database.as_user(who.user_id) as session:
            user = await get_user(session, who)
        csrf = browsers.masked(browsers.csrf_token(parts.csrf_key, who.token_id))
        reader = Reader(user.email, user.role, csrf)
    return page(
        request,
        "reference.html",
        reader=reader,
        groups=groups_of(app.openapi(), parts.settings.address),
        refusals=known_refusals(),
        url=parts.settings.address,
        limits=(
            ("Signing in, passwords, invitations, deleting the account", LOG_IN.amount, "network"),
            ("Pairing", PAIRING.amount, f"network; all together {PAIRINGS.amount} a second"),
            ("Handing sessions over", UPLOAD.amount, "account"),
            ("Outcomes of jobs, from a back end's worker", WEBHOOK.amount, "network"),
            ("Everything else", EVERYTHING.amount, "account; network of who is not signed in"),
        ),
    )


def groups_of(openapi: Mapping[str, Any], url: str) -> list[Group]:
    """The operations by their first tag."""
    found: dict[str, list[Operation]] = {}
    for path, methods in openapi["paths"].items():
        for method in _METHODS:
            if (operation := methods.get(method)) is not None:
                name = (operation.get("tags") or ["other"])[0]
                found.setdefault(name, []).append(_operation(openapi, method, path, operation, url))
    order = list(GROUPS)
    names = sorted(found, key=lambda name: order.index(name) if name in order else len(order))
    return [Group(name, *GROUPS.get(name, (name.capitalize(), "")), operations=found[name]) for name in names]


def known_refusals() -> list[Refusal]:
    """Every error that an answer may name, by status."""
    found: dict[str, Refusal] = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.EverystallError) and kind.fate != "drop":
            said = (kind.__doc__ or "").splitlines()[0]
            found.setdefault(kind.code, Refusal(kind.code, kind.status, said, kind.action))
    return sorted(found.values(), key=lambda one: (one.status, one.code))


def _operation(
    openapi: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any], url: str
) -> Operation:
    content: Mapping[str, Any] = operation.get("requestBody", {}).get("content", {})
    content_type = next(iter(content), None)
    schema = content[content_type].get("schema") if content_type else None
    answers = {
        status: Answer(status, given.get("description", ""), _answered(openapi, given))
        for status, given in operation["responses"].items()
    }
    return Operation(
        id=re.sub(r"[^a-z0-9]+", "-", f"{method} {path}".lower()).strip("-"),
        method=method.upper(),
        path=path,
        title=operation.get("summary", "").capitalize(),
        said=operation.get("description", ""),
        private=bool(operation.get("security")),
        parameters=[
            Field(
                given["name"], type_of(openapi, given.get("schema", {})), given.get("required", False),
                {"path": "in the path", "query": "in the query", "header": "a header"}.get(given["in"], ""),
            )
            for given in operation.get("parameters", ())
        ],
        content_type=content_type,
        body=list(fields_of(openapi, schema)) if schema else [],
        curl=_curl(openapi, method, path, operation, content_type, schema, url),
        good=next((one for status, one in answers.items() if status.startswith("2")), None),
        refusals=[one for status, one in answers.items() if not status.startswith("2")],
    )  # fmt: skip


def _answered(openapi: Mapping[str, Any], given: Mapping[str, Any]) -> list[Field]:
    schema = given.get("content", {}).get("application/json", {}).get("schema")
    return list(fields_of(openapi, schema)) if schema else []


def fields_of(
    openapi: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = "", depth: int = 0
) -> Iterator[Field]:
    """A shape's fields and those of the shapes in it: `price.amount`, `photos[].url`."""
    schema = _resolved(openapi, schema)
    if schema.get("type") == "array":
        yield from fields_of(openapi, schema.get("items", {}), f"{prefix}[]", depth)
        return
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        full = f"{prefix}.{name}" if prefix else name
        yield Field(full, type_of(openapi, inner), name in required, inner.get("description", ""))
        inside = _resolved(openapi, inner)
        if depth < DEEPEST and (inside.get("properties") or inside.get("type") == "array"):
            yield from fields_of(openapi, inside, full, depth + 1)


def type_of(openapi: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """In words: "text, at most 100 characters, or null"."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_of(openapi, one) for one in schema["anyOf"]))
    schema = _resolved(openapi, schema)
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(one) for one in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        most = f", at most {schema['maxItems']:,}" if "maxItems" in schema else ""
        return f"list of {type_of(openapi, schema.get('items', {}))}{most}"
    if kind == "string":
        named = {"date-time": "time (ISO 8601)", "date": "date", "uuid": "id", "binary": "file"}
        text = named.get(schema.get("format", ""), "text")
        return text + (f", at most {schema['maxLength']:,} characters" if "maxLength" in schema else "")
    if kind in ("integer", "number"):
        least, highest = schema.get("minimum"), schema.get("maximum")
        number = "whole number" if kind == "integer" else "number"
        if least is not None and highest is not None:
            return f"{number}, {least:,} to {highest:,}"
        return number + (f", at least {least:,}" if least is not None else "")
    return {"boolean": "true | false", "object": "object", "null": "null"}.get(kind or "", "anything")


def _resolved(openapi: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Behind a $ref, and the one shape of "this or null"."""
    for one in schema.get("anyOf", ()):
        if one.get("type") != "null":
            return _resolved(openapi, one)
    while "$ref" in schema:
        schema = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _curl(
    openapi: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any],
    content_type: str | None, schema: Mapping[str, Any] | None, url: str,
) -> str:  # fmt: skip
    """The call as it is typed, with every field that must be there."""
    said = ["curl"]
    if method != ("post" if schema else "get"):
        said.append(f"-X {method.upper()}")
    if operation.get("security"):
        said.append('-H "Authorization: Bearer $TOKEN"')
    address = f"{url}{re.sub(r'{(.+?)}', lambda one: f'${_shell(one[1])}', path)}"
    said.append(f'"{address}"')
    if content_type == "application/json" and schema is not None:
        body = json.dumps(example_of(openapi, schema), indent=2, ensure_ascii=False)
        said.append(f"\\\n  -H 'Content-Type: application/json' -d '{body}'")
    elif content_type == "multipart/form-data" and schema is not None:
        files = [
            f"-F {name}=@{file}"
            for name, of in schema["properties"].items()
            for file in (("front.jpg", "back.jpg") if of["type"] == "array" else ("listings.csv",))
        ]
        said.append("\\\n  " + " ".join(files))
    return " ".join(said)


def _shell(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def example_of(openapi: Mapping[str, Any], schema: Mapping[str, Any], depth: int = 0) -> Any:
    """A value that would do: what must be there, else the first few fields."""
    schema = _resolved(openapi, schema)
    for given in ("const", "default"):
        if schema.get(given) is not None:
            return schema[given]
    if schema.get("enum"):
        return schema["enum"][0]
    kind, least = schema.get("type"), schema.get("minimum", 1)
    if kind == "object" and schema.get("properties"):
        names = [*schema.get("required", ())] or list(schema["properties"])[: 4 if depth == 0 else 2]
        return {name: example_of(openapi, schema["properties"][name], depth + 1) for name in names}
    if kind == "array":
        return [example_of(openapi, schema.get("items", {}), depth + 1)] if depth < DEEPEST else []
    if kind == "string":
        return _TEXTS.get(schema.get("format", ""), "…")
    return {"integer": least, "number": least, "boolean": True}.get(str(kind), {})
