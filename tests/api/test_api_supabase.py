"""Access tokens of a Supabase project's people (tests/supabase.py: its Auth, over HTTP), and all that looks
like one and is none."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from joserfc.jwk import ECKey, RSAKey
from pydantic import SecretStr
from structlog.testing import capture_logs

from everystall.web import signing_keys
from tests.api.conftest import SHIRT, Site
from tests.supabase import Auth, public, running


@pytest.fixture
async def auth(site: Site) -> AsyncIterator[Auth]:
    async with running() as made:
        told(site, supabase_url=made.url)
        yield made


def told(site: Site, **settings: Any) -> None:
    """As the environment would have said it at the start."""
    parts = site.app.state.parts
    parts.settings = parts.following.began = parts.settings.model_copy(update=settings)


async def comes(site: Site, token: str) -> httpx.Response:
    return await site.client(token).get("/api/account")


async def people(site: Site) -> list[dict[str, Any]]:
    return await site.rows("SELECT id, email, role FROM users ORDER BY email")


def by_hand(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None) -> str:
    """Signed by HMAC with whatever bytes; None: not at all."""
    parts = [base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in (header, claims)]
    signed = b".".join(parts)
    seal = hmac.digest(secret, signed, hashlib.sha256) if secret is not None else b""
    return (signed + b"." + base64.urlsafe_b64encode(seal).rstrip(b"=")).decode()


async def test_who_is_known_there_has_an_account_by_their_number_there_and_sees_nobody_elses(site, auth):
    ann, ben = site.client(auth.token("ann")), site.client(auth.token("ben"))
    made = await ann.post("/api/listings", json=SHIRT)
    assert made.status_code == 201, made.text
    hers = f"/api/listings/{made.json()['listingId']}"
    assert (await ben.get(hers)).status_code == 404
    assert (await ben.get("/api/listings")).json()["listings"] == []
    assert (await ben.delete(hers)).status_code == 404
    assert (await site.client(auth.token("ann")).get(hers)).status_code == 200  # by a newer token
    assert await people(site) == [
        {"id": auth.people["ann"], "email": "ann@example.com", "role": "seller"},
        {"id": auth.people["ben"], "email": "ben@example.com", "role": "seller"},
    ]


async def test_of_several_first_requests_at_once_one_makes_the_account(site, auth):
    answers = await asyncio.gather(*(comes(site, auth.token("ann")) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(await people(site)) == 1


def _refused(auth: Auth) -> dict[str, str]:
    person, now = uuid4(), int(time.time())
    good = auth.claims(person, "eve@example.com")
    jwk = public(auth.key)
    stranger = ECKey.generate_key("P-256", {"kid": auth.key.kid})
    other = ECKey.generate_key("P-256", {"kid": "another"})
    header, payload, seal = auth.sign(good).split(".")
    forged = base64.urlsafe_b64encode(json.dumps({**good, "sub": str(uuid4())}).encode()).rstrip(b"=")

    def but(**otherwise: Any) -> str:
        return auth.sign(auth.claims(person, "eve@example.com", **otherwise))

    hs = {"alg": "HS256", "typ": "JWT", "kid": auth.key.kid}
    return {
        "over": but(exp=now - 60, iat=now - 3660),
        "over for ever": but(exp=0),
        "without an end": but(exp=None),
        "not yet": but(nbf=now + 600),
        "of tomorrow": but(iat=now + 86_400),
        "another project": but(iss="https://other.supabase.co/auth/v1"),
        "the project without its Auth": but(iss=auth.url),
        "no issuer": but(iss=None),
        "another audience": but(aud="everystall"),
        "an audience of others": but(aud=["anon", "service_role"]),
        "no audience": but(aud=None),
        "service_role": but(role="service_role"),
        "anon": but(role="anon"),
        "supabase_admin": but(role="supabase_admin"),
        "postgres": but(role="postgres"),
        "no role": but(role=None),
        "a list of roles": but(role=["authenticated", "service_role"]),
        "nobody": but(sub=None),
        "no number": but(sub="eve"),
        "a number that is none": but(sub=7),
        "no sign-in": but(session_id=None),
        "by a key of the same name": auth.sign(good, stranger),
        "by a key that is not told": auth.sign(good, other, kid="another"),
        "other claims under the seal": f"{header}.{forged.decode()}.{seal}",
        "no seal": f"{header}.{payload}.",
        "alg none": by_hand({"alg": "none", "typ": "JWT"}, good, None),
        "alg None": by_hand({"alg": "None", "kid": auth.key.kid}, good, None),
        "the public key as a secret, PEM": by_hand(hs, good, auth.key.as_pem(private=False)),
        "the public key as a secret, JSON": by_hand(hs, good, json.dumps(jwk).encode()),
        "the public key as a secret, x": by_hand(hs, good, jwk["x"].encode()),
        "an empty secret": by_hand(hs, good, b""),
        "the legacy secret, where there are keys": auth.sign_by_secret(good),
        "a key in the header": auth.sign(good, stranger, jwk=public(stranger)),
        "the legacy service_role key": auth.sign_by_secret(
            {"iss": "supabase", "ref": "abcdefgh", "role": "service_role", "iat": now, "exp": now + 10**8}
        ),
        "a new secret key": "sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz",
        "words": "not.a.token",
        "dots": "..",
        "a list": by_hand({"alg": "ES256"}, ["sub"], b"x"),  # type: ignore[arg-type]
        "a sign-in at no time": but(amr=[{"method": "password", "timestamp": "x"}]),
        "too long": but(user_metadata={"x": "y" * 12_000}),
        "ours, as it would be": "evs_abcdefgh_" + "x" * 43,
    }


async def test_what_is_no_persons_token_of_this_project_is_refused_and_makes_nobody(site, auth):
    refused = _refused(auth)
    with capture_logs() as logs:
        for name, token in refused.items():
            answer = await comes(site, token)
            assert answer.status_code == 401, (name, answer.text)
            assert answer.json()["error"] == "unauthenticated", name
            assert answer.json()["action"], name
            assert token not in answer.text, name
        assert (await comes(site, auth.token("ann"))).status_code == 200
    said = json.dumps(logs, default=str)
    parts = {part[-30:] for token in refused.values() for part in token.split(".") if len(part) > 30}
    assert len(parts) > 30
    assert not [part for part in parts if part in said]
    assert [person["email"] for person in await people(site)] == ["ann@example.com"]


async def test_keys_of_the_project_are_told_as_what_they_are(site, auth):
    answer = await comes(site, auth.token("ann", role="service_role"))
    assert answer.status_code == 401
    assert "key of the Supabase project" in answer.json()["message"]


async def test_a_project_that_signs_by_its_legacy_secret(site, auth):
    told(site, supabase_jwt_secret=SecretStr(auth.secret))
    person, now = uuid4(), int(time.time())
    good = auth.claims(person, "ann@example.com")
    assert (await comes(site, auth.sign_by_secret(good))).status_code == 200
    rs = RSAKey.generate_key(2048, {"kid": "r"})
    key = {"iss": "supabase", "ref": "abcdefgh", "iat": now, "exp": now + 10**8}
    for name, token in {
        "its signing key": auth.sign(good),
        "another secret": auth.sign_by_secret(good, "x" * 40),
        "an RSA key": auth.sign(good, rs, alg="RS256", kid="r"),
        "HS512": by_hand({"alg": "HS512"}, good, auth.secret.encode()),
        "none": by_hand({"alg": "none"}, good, None),
        "over": auth.sign_by_secret({**good, "exp": now - 60}),
        "another audience": auth.sign_by_secret({**good, "aud": "x"}),
        "another project": auth.sign_by_secret({**good, "iss": "https://x.supabase.co/auth/v1"}),
        "anon": auth.sign_by_secret({**key, "role": "anon"}),
        "service_role": auth.sign_by_secret({**key, "role": "service_role"}),
        "service_role as a person": auth.sign_by_secret({**good, "role": "service_role"}),
    }.items():
        assert (await comes(site, token)).status_code == 401, name
    assert [person["email"] for person in await people(site)] == ["ann@example.com"]
    assert auth.asked == 0


async def test_rsa_keys_and_new_ones_are_taken_and_old_ones_are_not_any_more(site, auth, monkeypatch):
    before = auth.token("ann")
    assert (await comes(site, before)).status_code == 200
    monkeypatch.setattr(signing_keys, "_REST", 0)
    rsa = RSAKey.generate_key(2048, {"kid": "r", "use": "sig"})
    auth.told = [public(rsa)]
    claims = auth.claims(auth.people["ann"], "ann@example.com")
    assert (await comes(site, auth.sign(claims, rsa, alg="RS256", kid="r"))).status_code == 200
    assert (await comes(site, before)).status_code == 401


async def test_keys_are_asked_for_once_and_not_for_each_wrong_token(site, auth):
    for _ in range(3):
        assert (await comes(site, auth.token("ann"))).status_code == 200
        other = ECKey.generate_key("P-256", {"kid": str(uuid4())})
        assert (await comes(site, auth.sign(auth.claims(uuid4()), other, kid=other.kid))).status_code == 401
    assert auth.asked == 1


async def test_an_auth_that_is_away_keeps_out_nobody_whose_key_is_known(site, auth, monkeypatch):
    keys, auth.told = auth.told, None
    away = await comes(site, auth.token("ann"))
    assert (away.status_code, away.json()["error"]) == (502, "provider_away")
    auth.told = keys
    assert (await comes(site, auth.token("ann"))).status_code == 200
    auth.told = None
    monkeypatch.setattr(signing_keys, "KEPT", 0)
    monkeypatch.setattr(signing_keys, "_REST", 0)
    assert (await comes(site, auth.token("ann"))).status_code == 200
    assert auth.asked == 3
    alice = await site.seller("alice")  # and our own tokens need it for nothing
    assert (await alice.get("/api/account")).status_code == 200


async def test_the_owner_is_who_the_setting_names_from_the_first_time_or_later(site, auth):
    auth.people["ann"] = uuid4()
    told(site, supabase_owner=auth.people["ann"])
    assert (await comes(site, auth.token("ann"))).json()["role"] == "owner"
    assert (await comes(site, auth.token("ben"))).json()["role"] == "seller"
    told(site, supabase_owner=auth.people["ben"])
    assert (await comes(site, auth.token("ben"))).json()["role"] == "owner"
    # a claim is no setting
    metadata = {"role": "owner", "is_owner": True}
    made = await comes(site, auth.token("cleo", app_metadata=metadata, user_metadata=metadata))
    assert made.json()["role"] == "seller"


async def test_an_account_that_is_there_is_not_taken_over_by_its_address(site, auth):
    alice = await site.seller("alice")
    taken = await comes(site, auth.token("alice"))
    assert (taken.status_code, taken.json()["error"]) == (409, "conflict")
    written = await comes(site, auth.sign(auth.claims(uuid4(), " Alice@Example.com ")))
    assert written.status_code == 409
    assert [person["id"] for person in await people(site)] == [alice.user_id]


async def test_who_has_no_address_or_is_anonymous_is_told_so_and_comes_in_later(site, auth):
    person = uuid4()
    for claims in (auth.claims(person, ""), auth.claims(person, "no address"),
                   auth.claims(person, "ann@example.com", is_anonymous=True)):  # fmt: skip
        answer = await comes(site, auth.sign(claims))
        assert (answer.status_code, answer.json()["error"]) == (403, "not_allowed")
    assert await people(site) == []
    assert (await comes(site, auth.sign(auth.claims(person, "ann@example.com")))).status_code == 200
    # known by the number from then on, whatever the address
    assert (await comes(site, auth.sign(auth.claims(person, "")))).status_code == 200


async def test_a_borrowed_access_token_makes_none_that_lasts_and_deletes_nobody(site, auth):
    hour_ago = [{"method": "password", "timestamp": int(time.time()) - 3600}]
    body = {"confirm": "ann@example.com", "password": ""}
    for amr in (hour_ago, [], ["pwd"], None):
        old = site.client(auth.token("ann", amr=amr))
        for asked in (old.post("/api/tokens", json={"name": "mine"}),
                      old.post("/api/account/password", json={"new": "a password of a thief's"}),
                      old.request("DELETE", "/api/account", json=body)):  # fmt: skip
            answer = await asked
            assert (answer.status_code, answer.json()["error"]) == (403, "sign_in_again"), amr
    now = site.client(auth.token("ann"))
    made = await now.post("/api/tokens", json={"name": "mine"})
    assert made.status_code == 201, made.text
    assert (await comes(site, made.json()["token"])).status_code == 200
    gone = await now.request("DELETE", "/api/account", json=body)
    assert gone.status_code == 200, gone.text
    assert await people(site) == []


async def test_our_own_tokens_go_on_and_without_the_setting_there_is_no_other(site, auth):
    alice = await site.seller("alice")
    assert (await alice.get("/api/account")).status_code == 200
    told(site, supabase_url=None)
    assert (await comes(site, auth.token("ann"))).status_code == 401
    assert (await alice.get("/api/account")).status_code == 200


async def test_a_token_is_no_cookie_and_opens_no_page(site, auth):
    for headers in (
        {"authorization": f"Bearer {auth.token('ann')}"},
        {"cookie": f"__Host-everystall={auth.token('ann')}; __Secure-everystall={auth.token('ann')}"},
    ):
        answer = await site.client().get("/inventory", headers={"accept": "text/html", **headers})
        assert answer.status_code == 303
        assert "/sign-in" in answer.headers["location"]
