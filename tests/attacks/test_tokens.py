"""Forged, stolen and stretched credentials: each opens what it is for, or nothing, on every operation."""

from __future__ import annotations

import secrets
from itertools import count
from typing import Any

import httpx

from everystall.web.browsers import csrf_token
from everystall.web.limits import Limits
from everystall.web.tokens import hash_of, new_token
from tests.api.conftest import Site
from tests.attacks.estate import EXTENSION, Estate
from tests.attacks.operations import OPEN, SESSIONS, operations, send

COOKIE = "__Host-everystall"
#: Where every forgery is tried; elsewhere those of ROUGHLY.
THOROUGHLY = {"GET /api/account", "POST /api/sessions/sync", "DELETE /api/listings/{listingId}"}
ROUGHLY = {
    "nothing", "never given out", "a browser's cookie", "revoked", "expired", "an API token", "none",
    "an extension's", "her other browser's", "Bob's",
}  # fmt: skip
_networks = count(1)


def stranger(site: Site) -> httpx.AsyncClient:
    """From a network of its own, so that no rate limit refuses what the wall has to."""
    high, low = divmod(next(_networks), 256)
    return site.client(address=f"10.{high}.{low}.1")


async def _changed(estate: Estate, token: str, change: str) -> str:
    await estate.site.rows(f"UPDATE api_tokens SET {change} WHERE token_hash = :hash", hash=hash_of(token))
    return token


async def _bearers(estate: Estate) -> dict[str, str]:
    """What is sent as `Authorization: Bearer …` and is no token, or none any more."""
    api = estate.tokens["api"]
    name, secret = api[4:12], api[13:]
    revoked = (await estate.alice.post("/api/tokens", {"name": "lost"})).json()["token"]
    ended = (await estate.alice.post("/api/tokens", {"name": "old"})).json()["token"]
    deleted = (await estate.alice.post("/api/tokens", {"name": "gone"})).json()
    await estate.alice.client.delete(f"/api/tokens/{deleted['id']}")
    return {
        "nothing": "",
        "the prefix": "evs_",
        "one letter less": api[:-1],
        "one letter more": f"{api}x",
        "another letter": api[:-1] + ("A" if api[-1] != "A" else "B"),
        "in capitals": api.upper(),
        "without its prefix": api[4:],
        "another prefix": f"evs-{api[4:]}",
        "its name and another's secret": f"evs_{name}_{estate.tokens['extension'][13:]}",
        "two of them": f"{api} {api}",
        "of endless length": "evs_" + secret * 2000,
        "not of ASCII": "evs_ü" + secret,
        "with SQL in it": f"evs_{name}_' OR ''='",
        "its hash": hash_of(api).hex(),
        "never given out": new_token(),
        "a browser's cookie": estate.tokens["browser"],
        "a browser's cookie with our prefix": f"evs_{estate.tokens['browser']}",
        "revoked": await _changed(estate, revoked, "revoked_at = now()"),
        "expired": await _changed(estate, ended, "expires_at = now() - interval '1 second'"),
        "deleted": deleted["token"],
    }


async def test_no_operation_takes_what_is_no_token_of_ours(estate: Estate):
    site, taken = estate.site, []
    bearers = await _bearers(estate)
    before = await estate.rows()
    for operation in operations(site.app, estate.ids):
        if operation.name in OPEN:
            continue
        for what, bearer in bearers.items():
            if operation.name not in THOROUGHLY and what not in ROUGHLY:
                continue
            headers = {"authorization": f"Bearer {bearer}".encode()}
            answer = await send(stranger(site), operation, {**estate.ids, "action": "end"}, headers=headers)
            if (answer.status_code, answer.headers.get("www-authenticate")) != (401, "Bearer"):
                taken.append((operation.name, what, answer.status_code, answer.text[:200]))
            elif bearer and len(bearer) > 8 and bearer in answer.text:
                taken.append((operation.name, what, "repeated"))
    assert taken == []
    assert await estate.rows() == before


async def test_a_token_under_another_scheme_is_none(site: Site):
    alice, client = await site.seller("alice"), site.client()
    assert (await alice.get("/api/account")).status_code == 200
    for scheme in ("Basic", "Token", "bearer:", "Negotiate", "Digest"):
        headers = {"authorization": f"{scheme} {alice.token}"}
        assert (await client.get("/api/account", headers=headers)).status_code == 401, scheme


async def test_every_operation_but_the_listed_needs_somebody(estate: Estate):
    site = estate.site
    open_ = set()
    for operation in operations(site.app, estate.ids):
        answer = await send(stranger(site), operation, {**estate.ids, "action": "end"})
        if not (answer.status_code == 401 and "www-authenticate" in answer.headers):
            open_.add(operation.name)
    # that one is told by its signature, and answers in the same way
    assert open_ == OPEN - {"POST /api/jobs/webhook"}
    documented = {
        f"{method.upper()} {path}"
        for path, methods in site.app.openapi()["paths"].items()
        for method, operation in methods.items()
        if not operation.get("security")
    }
    assert documented == OPEN


async def test_a_token_for_sessions_opens_those_and_no_other_operation(estate: Estate):
    """The extension's, and one that a seller made with that scope only."""
    site = estate.site
    made = await estate.alice.post("/api/tokens", {"name": "narrow", "scopes": ["sessions:write"]})
    before = await estate.rows()
    for token in (estate.tokens["extension"], made.json()["token"]):
        client, opened = site.client(token), set()
        for operation in operations(site.app, estate.ids):
            if operation.name in OPEN | SESSIONS:
                continue
            site.app.state.parts.limits = Limits()  # the scope has to refuse it, and no limit
            answer = await send(client, operation, {**estate.ids, "action": "end"})
            if (answer.status_code, answer.json()["error"]) != (403, "not_allowed"):
                opened.add((operation.name, answer.status_code))
        assert opened == set()
    assert await estate.rows() == before
    # that one ends the token, so it comes last
    last = "POST /api/extensions/forget-me"
    for operation in sorted(operations(site.app, estate.ids), key=lambda one: one.name == last):
        if operation.name in SESSIONS:
            answer = await send(site.client(estate.tokens["extension"]), operation, estate.ids)
            assert answer.status_code not in (401, 403), operation.name


async def test_nobody_can_give_a_token_more_than_it_has(estate: Estate):
    """Not by the API, and not by a row: the scopes of an extension's token are what its kind allows."""
    site = estate.site
    narrow = site.client(estate.tokens["extension"])
    for path, body in (
        ("/api/tokens", {"name": "wide", "scopes": ["*"]}),
        ("/api/pairings", None),
        ("/api/invitations", {"email": "eve@example.com"}),
    ):
        assert (await narrow.post(path, json=body)).status_code == 403
    for scopes in (["everything"], ["*", "admin"], [], "*", [None]):
        answer = await estate.alice.post("/api/tokens", {"name": "wide", "scopes": scopes})
        assert answer.status_code == 422, scopes
    extra = {"name": "wide", "kind": "browser", "userId": str(estate.alice.user_id)}
    assert (await estate.alice.post("/api/tokens", extra)).status_code == 422
    await _changed(estate, estate.tokens["extension"], "scopes = '{*}'")
    for path in ("/api/account", "/api/tokens", "/api/listings"):
        assert (await narrow.get(path)).status_code == 403


async def test_no_operation_takes_a_cookie_that_is_forged(estate: Estate):
    site, taken = estate.site, []
    good, before = estate.tokens["browser"], await estate.rows()
    forged = {
        "nothing": "", "one letter less": good[:-1], "one more": f"{good}x",
        "a guess": secrets.token_urlsafe(32),
        "an API token": estate.tokens["api"], "an extension's": estate.tokens["extension"],
        "its hash": hash_of(good).hex(), "in quotes": f'"{good[:-2]}"',
    }  # fmt: skip
    headers = {"origin": "https://everystall.test", "x-csrf-token": estate.alice.csrf}
    for operation in operations(site.app, estate.ids):
        if operation.name in OPEN:
            continue
        for what, value in forged.items():
            if operation.name not in THOROUGHLY and what not in ROUGHLY:
                continue
            answer = await send(
                stranger(site), operation, {**estate.ids, "action": "end"},
                headers={**headers, "cookie": f"{COOKIE}={value}"},
            )  # fmt: skip
            if answer.status_code != 401:
                taken.append((operation.name, what, answer.status_code))
        # the right value under the name that it has over plain http, or another
        for name in ("everystall", "__Secure-everystall", "__host-everystall"):
            answer = await send(
                stranger(site), operation, {**estate.ids, "action": "end"},
                headers={**headers, "cookie": f"{name}={good}"},
            )  # fmt: skip
            if answer.status_code != 401:
                taken.append((operation.name, name, answer.status_code))
    assert taken == []
    assert await estate.rows() == before


async def test_no_change_is_made_with_the_csrf_token_of_another_session(estate: Estate):
    site, made = estate.site, []
    bob = await site.person("bob")
    second = await site.browser(estate.alice.email)
    key = site.app.state.parts.csrf_key
    (row,) = await site.rows(
        "SELECT id FROM api_tokens WHERE token_hash = :hash", hash=hash_of(estate.tokens["browser"])
    )
    assert csrf_token(key, row["id"]) == estate.alice.csrf, "the right one is not what is tried here"
    wrong: dict[str, Any] = {
        "none": None, "empty": "", "Bob's": bob.csrf, "her other browser's": second.headers["x-csrf-token"],
        "of another key": csrf_token(b"another key", row["id"]), "in capitals": estate.alice.csrf.upper(),
        "of the user's id": csrf_token(key, estate.alice.user_id), "cut": estate.alice.csrf[:32],
        "not of ASCII": "ü" * 64,
    }  # fmt: skip
    before = await estate.rows()
    for operation in operations(site.app, estate.ids):
        if operation.name in OPEN or operation.method == "GET":
            continue
        for what, csrf in wrong.items():
            if operation.name not in THOROUGHLY and what not in ROUGHLY:
                continue
            headers = {"origin": "https://everystall.test", "cookie": f"{COOKIE}={estate.tokens['browser']}"}
            if csrf is not None:
                headers["x-csrf-token"] = csrf.encode()
            answer = await send(stranger(site), operation, {**estate.ids, "action": "end"}, headers=headers)
            if (answer.status_code, answer.json()["error"]) != (403, "cross_site"):
                made.append((operation.name, what, answer.status_code))
    assert made == []
    assert await estate.rows() == before


async def test_an_extensions_origin_makes_no_cookie_good_on_any_operation(estate: Estate):
    taken = []
    for operation in operations(estate.site.app, estate.ids):
        if operation.name in OPEN:
            continue
        cookie = f"{COOKIE}={estate.tokens['browser']}"
        headers = {**EXTENSION, "cookie": cookie, "x-csrf-token": estate.alice.csrf}
        answer = await send(
            stranger(estate.site), operation, {**estate.ids, "action": "end"}, headers=headers
        )  # fmt: skip
        if answer.status_code != 401:
            taken.append((operation.name, answer.status_code))
    assert taken == []
