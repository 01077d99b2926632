"""A browser sends its cookie whoever wrote the page: what changes something must come from one of ours."""

from __future__ import annotations

import pytest
from fastapi import Form

from everystall.web import browsers
from everystall.web.app import create_app
from everystall.web.deps import PageSeller, PageTransaction
from tests.api.conftest import OURS, PASSWORD


@pytest.fixture
async def site(site):
    """With an application of its own, to add pages to."""
    parts = site.app.state.parts
    site.app = create_app(site.settings, database=parts.database, vault=parts.vault, photos=parts.photos)
    yield site
    await site.app.state.parts.captures.close()


ELSEWHERE = "https://evil.example"


@pytest.fixture
async def sam(site):
    return await site.person("sam")


async def pause(person, **headers):
    """Something that changes something, with only these headers beside the cookie."""
    client = person.client
    request = client.build_request("POST", "/api/pause")
    for name in ("origin", "x-csrf-token"):
        request.headers.pop(name, None)
    request.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    answer = await client.send(request)
    return answer.status_code, answer.json().get("error")


async def paused(site):
    return await site.rows("SELECT email FROM users WHERE paused_at IS NOT NULL")


async def test_a_request_of_our_own_page_is_taken(site, sam):
    token = {"x_csrf_token": sam.csrf}
    for where in (
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": OURS["origin"]},
        {"referer": f"{OURS['origin']}/account?x=1"},
    ):
        assert await pause(sam, **where, **token) == (200, None), where


async def test_a_request_of_another_page_is_refused_with_whatever_token(site, sam):
    token = {"x_csrf_token": sam.csrf}
    for where in (
        {},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "origin": OURS["origin"]},
        {"origin": ELSEWHERE},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "https://everystall.test.evil.example"},
        {"origin": "https://everystall.test:8443"},
        {"origin": "https://everystall.test@evil.example"},
        {"origin": "http://["},
        {"referer": f"{ELSEWHERE}/https://everystall.test/"},
        {"origin": ELSEWHERE, "referer": f"{OURS['origin']}/account"},
    ):
        assert await pause(sam, **where, **token) == (403, "cross_site"), where
    assert await paused(site) == []


async def test_a_request_without_the_token_of_this_very_session_is_refused(site, sam):
    other = await site.person("otto")
    again = await site.browser(sam.email)
    for token in (None, "", "x", other.csrf, again.headers["x-csrf-token"], sam.csrf[:-1], sam.csrf * 2):
        given = {} if token is None else {"x_csrf_token": token}
        assert await pause(sam, sec_fetch_site="same-origin", **given) == (403, "cross_site"), token
    assert await paused(site) == []


async def test_reading_needs_no_token_and_a_bearer_needs_none_either(site, sam, alice):
    assert (await sam.client.get("/api/account", headers={"sec-fetch-site": "cross-site"})).status_code == 200
    assert (await alice.post("/api/pause", headers={"sec-fetch-site": "cross-site"})).status_code == 200


async def test_a_bearer_wins_over_the_cookie(site, sam, alice):
    both = {"authorization": f"Bearer {alice.token}"}
    account = await sam.client.get("/api/account", headers=both)
    assert account.json()["email"] == "alice@example.com"
    assert account.json()["csrfToken"] is None
    wrong = await sam.client.get("/api/account", headers={"authorization": "Bearer evs_x_y"})
    assert wrong.status_code == 401


@pytest.mark.parametrize("scheme", ["chrome-extension", "moz-extension"])
async def test_the_cookie_of_an_extensions_request_is_not_looked_at(sam, scheme):
    origin = f"{scheme}://abcdefghijklmnop"
    assert (await sam.client.get("/api/account", headers={"origin": origin})).status_code == 401
    assert await pause(sam, origin=origin, sec_fetch_site="none", x_csrf_token=sam.csrf) == (
        401, "unauthenticated"
    )  # fmt: skip


async def test_signing_in_is_taken_from_our_own_pages_only(site, sam):
    """Else another page could sign its visitor in to an account of its own."""
    body = {"email": sam.email, "password": PASSWORD}
    for headers in ({}, {"origin": ELSEWHERE}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        answer = await site.client().post("/api/sign-in", json=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (403, "cross_site")
        assert "set-cookie" not in answer.headers


async def test_a_form_carries_the_token_in_a_field(site, sam):
    @site.app.post("/somewhere")
    async def somewhere(session: PageTransaction, who: PageSeller, note: str = Form()) -> str:
        return f"{note} {who.kind}"

    async def send(**fields):
        client = sam.client
        request = client.build_request("POST", "/somewhere", data={"note": "hello", **fields})
        request.headers.pop("x-csrf-token")
        return await client.send(request)

    assert (await send()).status_code == 403
    for wrong in ("wrong", "é", ""):
        assert (await send(csrf=wrong)).status_code == 403
    good = await send(csrf=sam.csrf)
    assert (good.status_code, good.json()) == (200, "hello browser")


async def test_a_page_leads_who_is_not_signed_in_to_the_sign_in_page_and_back(site, alice):
    @site.app.get("/somewhere/{rest:path}")
    async def somewhere(who: PageSeller) -> str:
        return "inside"

    @site.app.get("/{rest:path}")
    async def anywhere(who: PageSeller) -> str:
        return "inside"

    client = site.client()
    gone = await client.get("/somewhere/else?page=2&x=a%20b")
    assert gone.status_code == 303
    assert gone.headers["location"] == "/sign-in?next=/somewhere/else%3Fpage%3D2%26x%3Da%2520b"
    assert (await alice.get("/somewhere/else")).status_code == 303  # a token opens no page
    away = await client.send(client.build_request("GET", "https://everystall.test//evil.example/x"))
    assert away.headers["location"] == "/sign-in?next=/"


@pytest.mark.parametrize("path", ["/", "/account", "/connections?only=ebay", "/a/b#c"])
def test_a_path_of_ours_is_gone_on_to(path):
    assert browsers.same_site_path(path) == path


@pytest.mark.parametrize(
    "path",
    [None, "", "account", "//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example",
     "javascript:alert(1)", "/\t/evil.example", "/a\\b", "/a\r\nset-cookie: x", "/" + "x" * 3000, " /x"],
)  # fmt: skip
def test_another_sites_is_not(path):
    assert browsers.same_site_path(path) == "/"


# ---- what every answer carries ---------------------------------------------------------------------


async def test_pages_may_load_nothing_foreign_and_be_framed_by_nobody(site):
    from fastapi.responses import HTMLResponse

    @site.app.get("/page")
    async def page() -> HTMLResponse:
        return HTMLResponse("<p>hello")

    answer = await site.client().get("/page")
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob:",
            "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
            "require-trusted-types-for 'script'"} <= set(policy)  # fmt: skip
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    api = await site.client().get("/healthz")
    assert api.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert api.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("everystall.test", True),
        ("EveryStall.Test:443", True),
        ("127.0.0.1:8720", True),
        ("localhost", True),
        ("shop.localhost:80", True),
        ("[::1]:8720", True),
        ("evil.example", False),
        ("everystall.test.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("192.168.1.5", False),
        ("", False),
    ],
)
async def test_only_our_own_names_are_answered(site, alice, host, ours):
    """A page whose name was made to point at us (DNS rebinding) is same-origin with us to its browser."""
    answer = await alice.client.get("/api/listings", headers={"host": host})
    assert answer.status_code == (200 if ours else 421)
    if not ours:
        assert answer.json()["error"] == "wrong_host"
