"""Signing in by an identity provider: a real one over HTTP (tests/oidc_provider.py), and one that lies."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import OctKey, RSAKey
from pydantic import SecretStr

from everystall.errors import Conflict
from everystall.web import identities, invitations
from tests.api.conftest import ADDRESS, COOKIE, OURS, PASSWORD, Person, Site
from tests.oidc_provider import CLIENT, SECRET, Provider, running

PAGE = {"accept": "text/html"}


@pytest.fixture
async def provider(site: Site) -> AsyncIterator[Provider]:
    async with running() as made:
        told(site, oidc_issuer=made.issuer, oidc_client_id=CLIENT, oidc_client_secret=SecretStr(SECRET))
        yield made


def told(site: Site, **settings: Any) -> None:
    """As the environment would have said it at the start."""
    parts = site.app.state.parts
    parts.settings = parts.following.began = parts.settings.model_copy(update=settings)


@pytest.fixture
async def ann(site: Site) -> Person:
    return await site.person("ann", role="owner")


@pytest.fixture
async def ben(site: Site) -> Person:
    return await site.person("ben")


def who(subject: str, email: str | None = None, verified: Any = True) -> dict[str, Any]:
    return {"sub": subject, **({"email": email, "email_verified": verified} if email else {})}


async def there(client: httpx.AsyncClient, path: str = "/sign-in/provider") -> str:
    """Where the provider sends the browser back to, a path of ours."""
    out = await client.get(path, headers=PAGE)
    assert out.status_code == 303, out.text
    async with httpx.AsyncClient() as browser:
        back = await browser.get(out.headers["location"])
    where = back.headers["location"]
    assert where.startswith(ADDRESS + "/sign-in/provider/back?")
    return str(where.removeprefix(ADDRESS))


async def comes_by(site: Site, client: httpx.AsyncClient | None = None) -> httpx.Response:
    client = client or site.client()
    return await client.get(await there(client), headers=PAGE)


async def account_of(answer: httpx.Response, site: Site) -> str | None:
    cookie = answer.cookies.get(COOKIE)
    if cookie is None:
        return None
    client = site.client()
    client.cookies.set(COOKIE, cookie, domain="everystall.test")
    found = await client.get("/api/account")
    return str(found.json()["email"])


async def invite(site: Site, owner: Person, email: str, role: str = "seller") -> None:
    made = await owner.post("/api/invitations", {"email": email, "role": role})
    assert made.status_code == 201, made.text


async def connect(site: Site, person: Person) -> httpx.Response:
    parts = site.app.state.parts
    word = await identities.begun.begin(parts.database, "connect", 300, user_id=str(person.user_id))
    return await comes_by_link(person, word)


async def comes_by_link(person: Person, word: str) -> httpx.Response:
    return await person.client.get(await there(person.client, f"/sign-in/provider?link={word}"), headers=PAGE)


async def test_who_is_invited_joins_by_a_verified_address_and_is_known_by_their_number(
    site, provider, ann, ben
):
    await invite(site, ann, "cleo@example.com")
    provider.person = who("7", "Cleo@example.com")
    came = await comes_by(site)
    assert (came.status_code, came.headers["location"]) == (303, "/")
    assert await account_of(came, site) == "cleo@example.com"
    (joined,) = (await ann.get("/api/invitations")).json()["invitations"]
    assert joined["usedAt"]
    # the same number under another address is the same account; another number under hers is nobody's
    provider.person = who("7", "cleo.new@example.com")
    assert await account_of(await comes_by(site), site) == "cleo@example.com"
    provider.person = who("8", "cleo@example.com")
    stranger = await comes_by(site)
    assert stranger.status_code == 409
    assert await account_of(stranger, site) is None
    assert await site.rows("SELECT count(*) AS n FROM identities") == [{"n": 1}]


async def test_an_account_that_is_there_is_never_opened_by_an_address(site, provider, ann, ben):
    told(site, oidc_domains="example.com")
    for verified in (True, False, "true", 1, None):
        provider.person = who("9", ben.email, verified)
        came = await comes_by(site)
        assert came.status_code in (403, 409), verified
        assert await account_of(came, site) is None
    assert await site.rows("SELECT * FROM identities") == []
    assert await site.rows("SELECT count(*) AS n FROM users") == [{"n": 2}]


@pytest.mark.longer
async def test_nobody_new_comes_in_uninvited_unless_their_domain_is_let_in(site, provider, ann, ben):
    provider.person = who("9", "dora@shop.example")
    assert (await comes_by(site)).status_code == 403
    told(site, oidc_domains="shop.example,other.example")
    assert await account_of(await comes_by(site), site) == "dora@shop.example"
    for number, email in enumerate(("eve@shop.example.evil", "eve@evilshop.example", "eve@x@shop.example")):
        provider.person = who(f"1{number}", email)
        assert (await comes_by(site)).status_code in (400, 403), email
    provider.person = who("20", "eve@shop.example", verified=False)
    assert (await comes_by(site)).status_code == 403
    await invite(site, ann, "fay@elsewhere.example")
    provider.person = who("21", "fay@elsewhere.example", verified=False)
    assert (await comes_by(site)).status_code == 403


async def test_nobody_joins_by_it_before_there_is_an_owner(site, provider, ben):
    """Ben is a seller whom the operator made; who joined first could choose a password, and the first start's
    link would be good no more."""
    told(site, oidc_domains="shop.example")
    provider.person = who("9", "dora@shop.example")
    refused = await comes_by(site)
    assert refused.status_code == 403
    assert "before there is an owner" in refused.text
    assert await account_of(refused, site) is None
    assert await site.rows("SELECT * FROM identities") == []
    # that a seller has a password takes nobody the first start's link
    token = await invitations.first_owner(site.database)
    assert token is not None
    # nor does it hand an account over to which somebody signs in by a provider
    await site.rows("INSERT INTO users (email) VALUES ('eve@shop.example')")
    await site.rows(
        "INSERT INTO identities (user_id, issuer, subject) SELECT id, :issuer, '10' FROM users "
        "WHERE email = 'eve@shop.example'", issuer=provider.issuer,
    )  # fmt: skip
    with pytest.raises(Conflict):
        await invitations.accept(site.database, token, "eve@shop.example", PASSWORD)
    owner = await invitations.accept(site.database, token, "olga@shop.example", PASSWORD)
    roles = {row["email"]: row["role"] for row in await site.rows("SELECT email, role FROM users")}
    assert {email for email, role in roles.items() if role == "owner"} == {"olga@shop.example"}
    assert await invitations.first_owner(site.database) is None
    assert await account_of(await comes_by(site), site) == "dora@shop.example"
    await site.rows("DELETE FROM users WHERE id = :id", id=owner)
    provider.person = who("11", "fay@shop.example")
    assert (await comes_by(site)).status_code == 403


FORGED = {
    "another audience": {"aud": "somebody else"},
    "two audiences, made for the other": {"aud": [CLIENT, "other"], "azp": "other"},
    "other audiences, made for us": {"aud": ["somebody", "else"], "azp": CLIENT},
    "no audience": {"aud": None},
    "another issuer": {"iss": "https://id.example.com"},
    "no issuer": {"iss": None},
    "over": {"exp": int(time.time()) - 120},
    "without an end": {"exp": None},
    "from tomorrow": {"iat": int(time.time()) + 86_400},
    "another sign-in's": {"nonce": "of another"},
    "without a nonce": {"nonce": None},
    "of nobody": {"sub": None},
    "of an empty name": {"sub": ""},
    "of a number": {"sub": 7},
}


async def test_an_id_token_that_is_not_for_this_sign_in_is_refused(site, provider, ann, ben, subtests):
    provider.person = who("7")
    assert (await connect(site, ben)).status_code == 303
    assert await account_of(await comes_by(site), site) == ben.email
    for what, lie in FORGED.items():
        with subtests.test(what):
            provider.lies = lie
            refused = await comes_by(site)
            assert refused.status_code == 401, refused.text
            assert await account_of(refused, site) is None
    provider.lies = {}
    assert await account_of(await comes_by(site), site) == ben.email


async def test_an_id_token_that_its_own_key_did_not_sign_is_refused(site, provider, ann, ben, subtests):
    provider.person = who("7")
    assert (await connect(site, ben)).status_code == 303
    for how in ("unsigned", "by our secret", "by its public key", "by another key", "cut"):
        with subtests.test(how):
            provider.twist, provider.forger, provider.header = None, None, {}
            if how == "unsigned":
                provider.twist = lambda made: "eyJhbGciOiJub25lIn0." + made.split(".")[1] + "."
            elif how in ("by our secret", "by its public key"):
                public = provider.key.as_pem(private=False)
                provider.forger = OctKey.import_key(SECRET if how == "by our secret" else public.hex())
                provider.header = {"alg": "HS256"}
            elif how == "by another key":
                provider.forger = RSAKey.generate_key(2048, {"kid": "one"})
            else:
                provider.twist = lambda made: made[:-8]
            refused = await comes_by(site)
            assert refused.status_code == 401
            assert await account_of(refused, site) is None
    provider.twist = None
    assert await account_of(await comes_by(site), site) == ben.email


async def test_a_new_key_of_the_provider_is_asked_for(site, provider, ann, ben, monkeypatch):
    provider.person = who("7")
    assert (await connect(site, ben)).status_code == 303
    provider.key = RSAKey.generate_key(2048, {"kid": "two"})
    monkeypatch.setattr("everystall.web.signing_keys._REST", 0.0)
    assert await account_of(await comes_by(site), site) == ben.email


async def test_a_way_back_is_good_once_and_for_the_browser_that_went(site, provider, ann, ben):
    provider.person = who("7")
    assert (await connect(site, ben)).status_code == 303
    client, victim = site.client(), site.client()
    path = await there(client)
    # who is led there with a code that another got (log-in CSRF) has no word of ours, or another
    assert (await victim.get(path, headers=PAGE)).status_code == 400
    await there(victim)
    assert (await victim.get(path, headers=PAGE)).status_code == 400
    assert provider.asked[1:] == []  # no code was spent on it
    code = parse_qs(urlsplit(path).query)["code"][0]
    for wrong in (f"?code={code}", f"?code={code}&state=x", "?error=access_denied&state=x"):
        other = site.client()
        await there(other)
        assert (await other.get(f"/sign-in/provider/back{wrong}", headers=PAGE)).status_code in (400, 401)
    assert (await client.get(path, headers=PAGE)).status_code == 303
    assert (await client.get(path, headers=PAGE)).status_code == 400
    late = await there(client)
    await site.rows("UPDATE everystall.begun_sign_ins SET until = now()")
    assert (await client.get(late, headers=PAGE)).status_code == 400


async def test_an_answer_of_another_issuer_is_refused(site, provider, ann, ben):
    """RFC 9207: mixed up with another provider's."""
    provider.person = who("7")
    client = site.client()
    path = await there(client)
    before = len(provider.asked)
    mixed = path.rpartition("&iss=")[0] + "&iss=https%3A%2F%2Fevil.example"
    assert (await client.get(mixed, headers=PAGE)).status_code == 401
    assert len(provider.asked) == before


async def test_one_identity_is_one_accounts_and_is_connected_by_who_is_signed_in(site, provider, ann, ben):
    provider.person = who("7", ben.email)
    assert (await connect(site, ben)).headers["location"] == "/account/sign-in?said=connected#provider"
    assert (await connect(site, ann)).status_code == 409
    word = await identities.begun.begin(
        site.database, "connect", 300, user_id=str(ben.user_id)
    )  # his ticket, in her browser
    provider.person = who("8")
    assert (await comes_by_link(ann, word)).status_code == 400
    assert [row["user_id"] for row in await site.rows("SELECT user_id FROM identities")] == [ben.user_id]
    listed = (await ben.get("/api/account/identities")).json()
    assert listed["provider"] == urlsplit(provider.issuer).netloc
    (one,) = listed["identities"]
    path = f"/api/account/identities/{one['id']}"
    assert (await ann.get("/api/account/identities")).json()["identities"] == []
    hers = await ann.client.request("DELETE", path, json={"password": PASSWORD})
    assert hers.status_code == 404
    assert (await ben.client.request("DELETE", path, json={})).status_code == 401
    gone = await ben.client.request("DELETE", path, json={"password": PASSWORD})
    assert gone.status_code == 200
    provider.person = who("7", ben.email)
    assert (await comes_by(site)).status_code == 409
    changes = [row["what"] for row in (await ben.get("/api/account/sign-in-changes")).json()["changes"]]
    assert changes == ["provider_disconnected", "provider_connected"]


async def test_the_only_way_in_is_not_taken_away(site, provider, ann, ben):
    told(site, oidc_domains="shop.example")
    provider.person = who("9", "dora@shop.example")
    client = site.client()
    assert (await comes_by(site, client)).status_code == 303
    client.headers.update(OURS)
    client.headers["x-csrf-token"] = (await client.get("/api/account")).json()["csrfToken"]
    (one,) = (await client.get("/api/account/identities")).json()["identities"]
    refused = await client.request("DELETE", f"/api/account/identities/{one['id']}", json={})
    assert refused.status_code == 409, refused.text
    await site.rows("UPDATE api_tokens SET created_at = now() - interval '11 minutes'")
    refused = await client.request("DELETE", f"/api/account/identities/{one['id']}", json={})
    assert refused.json()["error"] == "sign_in_again"
    # nor does a borrowed cookie make a password for itself, or end the account
    word = {"new": "another word for it"}
    assert (await client.post("/api/account/password", json=word)).json()["error"] == "sign_in_again"
    confirm = {"confirm": "dora@shop.example"}
    gone = await client.request("DELETE", "/api/account", json=confirm)
    assert gone.json()["error"] == "sign_in_again"
    await site.rows("UPDATE api_tokens SET created_at = now()")
    assert (await client.post("/api/account/password", json=word)).status_code == 200
    assert (await ben.get("/api/account/identities")).json()["identities"] == []


async def test_who_has_passkeys_only_proves_it_anew_and_keeps_the_last(site, provider, ann, ben):
    told(site, oidc_domains="shop.example")
    provider.person = who("9", "dora@shop.example")
    client = site.client()
    assert (await comes_by(site, client)).status_code == 303
    client.headers.update(OURS)
    client.headers["x-csrf-token"] = (await client.get("/api/account")).json()["csrfToken"]
    for email in ("dora@shop.example", ben.email):
        await site.rows(
            "INSERT INTO passkeys (user_id, name, credential_id, public_key, sign_count) "
            f"SELECT id, 'Phone', 'one', 'key', 0 FROM users WHERE email = '{email}' RETURNING id"
        )
    (hers,) = (await client.get("/api/account/passkeys")).json()["passkeys"]
    (one,) = (await client.get("/api/account/identities")).json()["identities"]
    gone = await client.request("DELETE", f"/api/account/identities/{one['id']}", json={})
    assert gone.status_code == 200, gone.text
    refused = await client.request("DELETE", f"/api/account/passkeys/{hers['id']}", json={})
    assert (refused.status_code, refused.json()["error"]) == (409, "conflict")
    token = (await client.post("/api/tokens", json={"name": "a program"})).json()["token"]
    await site.rows("UPDATE api_tokens SET created_at = now() - interval '11 minutes'")
    borrowed = site.client()
    borrowed.headers["authorization"] = f"Bearer {token}"
    for other in (client, borrowed):
        refused = await other.post("/api/account/password", json={"new": "another word for it"})
        assert refused.json()["error"] == "sign_in_again"
        refused = await other.request("DELETE", "/api/account", json={"confirm": "dora@shop.example"})
        assert refused.json()["error"] == "sign_in_again"
    await site.rows("UPDATE api_tokens SET created_at = now() WHERE kind = 'browser'")
    word = {"new": "another word for it"}
    assert (await client.post("/api/account/password", json=word)).status_code == 200
    proof = {"password": word["new"]}
    gone = await client.request("DELETE", f"/api/account/passkeys/{hers['id']}", json=proof)
    assert gone.status_code == 200, gone.text
    assert len((await ben.get("/api/account/passkeys")).json()["passkeys"]) == 1


async def test_passwords_may_sign_nobody_in(site, provider, ann, ben):
    told(site, password_sign_in=False)
    body = {"email": ben.email, "password": PASSWORD}
    refused = await site.client().post("/api/sign-in", json=body, headers=OURS)
    assert (refused.status_code, refused.json()["error"]) == (403, "not_allowed")
    shown = (await site.client().get("/sign-in", headers=PAGE)).text
    assert urlsplit(provider.issuer).netloc in shown
    assert 'name="password"' not in shown
    made = (await ann.post("/api/invitations", {"email": "cleo@example.com"})).json()["link"]
    token = made.partition("token=")[2]
    form = {"token": token, "password": PASSWORD}
    joined = await site.client().post("/invitation", data=form, headers={**OURS, **PAGE})
    assert joined.status_code == 403
    provider.person = who("7", "cleo@example.com")
    assert await account_of(await comes_by(site), site) == "cleo@example.com"
    told(site, password_sign_in=True)
    assert 'name="password"' in (await site.client().get("/sign-in", headers=PAGE)).text


async def test_a_provider_that_is_away_or_another_lets_nobody_in(site, provider, ann, ben, caplog):
    told(site, oidc_issuer="http://127.0.0.1:1")
    answer = await site.client().get("/sign-in/provider", headers=PAGE)
    assert answer.status_code == 502
    assert "does not answer" in answer.text
    told(site, oidc_issuer=f"{provider.issuer}/")  # what it calls itself is compared letter by letter
    assert (await site.client().get("/sign-in/provider", headers=PAGE)).status_code == 502
    told(site, oidc_issuer=None)
    assert (await site.client().get("/sign-in/provider", headers=PAGE)).status_code == 404
    assert (await ben.get("/api/account/identities")).json() == {"provider": None, "identities": []}
