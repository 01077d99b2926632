"""People who sign in: the first start, passwords, browsers, tokens, invitations, the audit, the end."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from everystall.errors import BadRequest, Conflict, InvitationUnknown, LogInFailed, NotFound
from everystall.installation import set_password
from everystall.settings import Settings
from everystall.web import invitations, passwords
from everystall.web.app import create_app
from everystall.web.passwords import check_password
from tests.api.conftest import ADDRESS, COOKIE, OURS, PASSWORD, ROOT, photo
from tests.quicker import REAL_ARGON2

SIGN_IN = "/api/sign-in"
#: Networks to sign in from.
HOME, ELSEWHERE = "198.51.100.0/24", "203.0.113.0/24"


@pytest.fixture
async def olga(site):
    """An owner."""
    return await site.person("olga", role="owner")


@pytest.fixture
async def sam(site):
    """A seller."""
    return await site.person("sam")


async def sign_in(site, email, password=PASSWORD, **more):
    client = site.client(**more)
    client.headers.update(OURS)
    return await client.post(SIGN_IN, json={"email": email, "password": password})


# ---- the first start ------------------------------------------------------------------------------


@pytest.mark.longer
async def test_whoever_has_the_first_starts_link_becomes_the_owner_once(site, monkeypatch):
    monkeypatch.setattr(passwords, "ARGON2", REAL_ARGON2)
    token = await invitations.first_owner(site.database)
    assert invitations.link_of(site.settings, token, page="first") == (f"{ADDRESS}/first?token={token}")
    assert (await invitations.look_at(site.database, token)).role == "owner"
    await invitations.accept(site.database, token, " Olga@Example.com ", PASSWORD)
    assert await invitations.first_owner(site.database) is None
    for used in (token, "nonsense", ""):
        with pytest.raises(InvitationUnknown):
            await invitations.accept(site.database, used, "eve@example.com", PASSWORD)
    (row,) = await site.rows("SELECT email, role, password_hash FROM users")
    assert (row["email"], row["role"]) == ("olga@example.com", "owner")
    assert row["password_hash"].startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert (await sign_in(site, "olga@example.com")).status_code == 200


async def test_two_links_of_two_starts_make_one_owner(site):
    links = [await invitations.first_owner(site.database) for _ in range(2)]
    done = await asyncio.gather(
        *(invitations.accept(site.database, t, f"o{n}@example.com", PASSWORD) for n, t in enumerate(links)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in done) == ["InvitationUnknown", "UUID"]
    assert len(await site.rows("SELECT FROM users")) == 1


async def test_a_seller_who_had_tokens_only_takes_the_account_over_with_its_data(site, alice):
    listing = await alice.listing(photos=0)
    token = await invitations.first_owner(site.database)
    made = await invitations.accept(site.database, token, "alice@example.com", PASSWORD)
    assert made == alice.user_id
    browser = await site.browser("alice@example.com")
    assert (await browser.get(f"/api/listings/{listing}")).status_code == 200


POOR = [
    "short", "x" * 201, "carol@example.com", "carolcarol", "", "passwordpassword", "qwertyuiop", "x" * 200,
    "ｐａｓｓｗｏｒｄｐａｓｓｗｏｒｄ", "P@$$w0rd12345",
]  # fmt: skip


async def test_a_poor_password_is_refused_and_the_link_stays_good(site, subtests):
    token = await invitations.first_owner(site.database)
    for password in POOR:
        with subtests.test(password[:20]):
            with pytest.raises(BadRequest) as refused:
                await invitations.accept(site.database, token, "carol@example.com", password)
            assert "words that do not belong together" in refused.value.action
            assert (await invitations.look_at(site.database, token)).role == "owner"
    assert await invitations.accept(site.database, token, "carol@example.com", PASSWORD)


async def test_a_password_full_of_signs_is_not_taken_apart(monkeypatch):
    """In all that they may stand for: that took seconds, in which nobody else's was looked at."""
    seen = []
    monkeypatch.setattr("zxcvbn.zxcvbn", lambda text, **_: seen.append(text) or {"score": 4})
    for password in ("({[<1!|74@" * 7, "9@|87654321" * 9, "x" * 200):
        await passwords.hash_password(password)
    assert seen == [("9@|87654321" * 9)[:40], "x" * 40]


# ---- signing in -----------------------------------------------------------------------------------


async def test_the_cookie_is_ours_alone_and_no_script_reads_it(site, sam):
    answer = await sign_in(site, "SAM@example.com ")
    name, *flags = answer.headers["set-cookie"].split("; ")
    assert name.startswith(f"{COOKIE}=")
    assert {flag.lower() for flag in flags} == {
        "secure", "httponly", "samesite=lax", f"path={ROOT or '/'}", f"max-age={60 * 86_400}"
    }  # fmt: skip
    assert answer.json()["account"] == "sam@example.com"
    value = name.partition("=")[2]
    assert value not in answer.text
    assert value not in repr(await site.rows("SELECT * FROM api_tokens"))


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://everystall.test", True),
        ("http://127.0.0.1:8720", True),
        ("http://localhost:8720", True),
        ("http://everystall.test", False),
        ("http://192.168.1.5:8720", False),
    ],
)
async def test_over_plain_http_the_cookie_says_so_and_so_does_the_account(site, sam, url, secure):
    settings = Settings(**{**site.settings.model_dump(), "public_url": url}, _env_file=None)
    parts = site.app.state.parts
    site.app = create_app(
        settings, database=parts.database, vault=parts.vault, photos=parts.photos, limits=parts.limits
    )
    client = site.client()
    client.base_url = url
    body = {"email": "sam@example.com", "password": PASSWORD}
    answer = await client.post(SIGN_IN, json=body, headers={"origin": url})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=" if secure else "everystall=")
    assert ("Secure" in cookie) == secure
    account = await client.get("/api/account", headers={"cookie": cookie.split(";")[0]})
    assert account.json()["secureCookies"] == secure
    assert ("strict-transport-security" in account.headers) == url.startswith("https://")


async def test_a_wrong_password_and_an_unknown_address_are_answered_the_same(site, sam):
    wrong = await sign_in(site, "sam@example.com", "not the password")
    nobody = await sign_in(site, "nobody@example.com", "not the password")
    assert wrong.status_code == nobody.status_code == 401
    assert wrong.json() == nobody.json()
    assert wrong.json()["error"] == "log_in_failed"
    assert "set-cookie" not in wrong.headers


async def test_an_account_without_a_password_lets_nobody_in(site, alice):
    assert (await sign_in(site, "alice@example.com", "")).status_code == 401


@pytest.mark.longer
async def test_after_ten_tries_from_one_network_it_rests_and_a_good_one_sets_them_back(site, sam):
    for _ in range(9):
        with pytest.raises(LogInFailed):
            await check_password(site.database, sam.email, "wrong", HOME)
    assert await check_password(site.database, sam.email, PASSWORD, HOME) == sam.user_id
    for _ in range(10):
        with pytest.raises(LogInFailed):
            await check_password(site.database, sam.email, "wrong", HOME)
    with pytest.raises(LogInFailed):
        await check_password(site.database, sam.email, PASSWORD, HOME)
    assert (await sam.get("/api/account")).status_code == 200  # who is signed in stays so
    await site.rows("UPDATE log_in_networks SET since = now() - interval '16 minutes'")
    assert await check_password(site.database, sam.email, PASSWORD, HOME) == sam.user_id


@pytest.mark.longer
async def test_guessing_from_elsewhere_does_not_keep_the_owner_out(site, sam):
    for _ in range(11):
        with pytest.raises(LogInFailed):
            await check_password(site.database, sam.email, "wrong", ELSEWHERE)
    with pytest.raises(LogInFailed):
        await check_password(site.database, sam.email, PASSWORD, ELSEWHERE)
    assert await check_password(site.database, sam.email, PASSWORD, HOME) == sam.user_id


async def test_of_many_networks_a_hundred_tries_are_looked_at_and_the_owners_own_still_counts(
    site, sam, database_urls
):
    assert await check_password(site.database, sam.email, PASSWORD, HOME) == sam.user_id
    given = await at_once(
        database_urls.login, 1000, "SELECT * FROM everystall.begin_log_in('sam@example.com', %s)",
        (lambda n: f"10.{n % 250}.0.0/24",),
    )  # fmt: skip
    assert sum(row is not None for row in given) == 100
    (kept,) = await site.rows("SELECT count(*) AS n FROM log_in_networks")
    assert kept["n"] <= 130, "those who are refused leave no row"
    with pytest.raises(LogInFailed):
        await check_password(site.database, sam.email, PASSWORD, ELSEWHERE)
    assert await check_password(site.database, sam.email, PASSWORD, HOME) == sam.user_id
    # the good one set the strangers' count back too
    assert await check_password(site.database, sam.email, PASSWORD, ELSEWHERE) == sam.user_id


async def test_networks_are_forgotten(site, sam):
    await check_password(site.database, sam.email, PASSWORD, HOME)
    with pytest.raises(LogInFailed):
        await check_password(site.database, sam.email, "wrong", ELSEWHERE)
    await site.rows("UPDATE log_in_networks SET since = now() - interval '2 days'")
    assert await site.database.ask("SELECT everystall.expire()")
    networks = "SELECT network FROM log_in_networks WHERE network IN (:home, :elsewhere)"
    both = {"home": HOME, "elsewhere": ELSEWHERE}
    assert await site.rows(networks, **both) == [{"network": HOME}]
    await site.rows("UPDATE log_in_networks SET good_at = now() - interval '61 days'")
    assert await site.database.ask("SELECT everystall.expire()")
    assert await site.rows(networks, **both) == []


@pytest.mark.longer
async def test_of_ten_thousand_tries_at_once_ten_are_looked_at(site, sam, database_urls):
    """What is compared with is handed out ten times, however many ask from one network."""
    given = await at_once(
        database_urls.login, 10_000, "SELECT * FROM everystall.begin_log_in('sam@example.com', %s)",
        (lambda _: ELSEWHERE,),
    )  # fmt: skip
    assert sum(row is not None for row in given) == 10


@pytest.mark.longer
async def test_guessing_over_http_at_once_is_slow_and_finds_nothing(site, sam):
    answers = await asyncio.gather(
        *(sign_in(site, sam.email, f"guess number {n}", address=f"203.0.113.{n}") for n in range(20))
    )
    assert {answer.status_code for answer in answers} == {401}
    (row,) = await site.rows("SELECT tries FROM log_in_networks WHERE network = :here", here=ELSEWHERE)
    assert row["tries"] == 10
    await site.rows("UPDATE log_in_networks SET tries = 9 WHERE network = :here", here=ELSEWHERE)
    site.app.state.parts.limits._memory._times.clear()  # the budget that stands before it
    assert (await sign_in(site, sam.email, "wrong", address="203.0.113.1")).status_code == 401
    assert (await sign_in(site, sam.email, address="203.0.113.1")).status_code == 401
    assert (await sign_in(site, sam.email, address="198.51.100.1")).status_code == 200


@pytest.mark.longer
async def test_of_a_flood_of_passwords_some_are_refused_and_the_next_is_taken(site, sam, monkeypatch):
    costly = REAL_ARGON2.hash("nobody has this password")
    monkeypatch.setattr(passwords, "_nobodys", lambda: costly)  # else none has to wait
    answers = await asyncio.gather(
        *(sign_in(site, f"nobody{n}@example.com", "x", address=f"10.{n}.0.1") for n in range(60))
    )
    assert {answer.status_code for answer in answers} == {401, 429}
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 429)
    assert (await sign_in(site, sam.email)).status_code == 200


@pytest.mark.longer
async def test_no_transaction_is_open_while_a_password_is_hashed(site, sam, monkeypatch):
    """By the API's doors and by the pages' forms."""
    open_meanwhile, in_thread = [], passwords._in_thread

    async def seen(work):
        open_meanwhile.append(site.database.engine.pool.checkedout())
        return await in_thread(work)

    monkeypatch.setattr(passwords, "_in_thread", seen)
    new = "another one, longer"
    wrong = {"csrf": sam.csrf, "old": "wrong", "new": new, "password": "wrong", "confirm": sam.email}
    for path in ("/account/password", "/account/delete"):
        answer = await sam.client.post(path, data=wrong, headers={"accept": "text/html"})
        assert answer.status_code == 401, path
        assert "text/html" in answer.headers["content-type"]
    answer = await sam.client.post("/account/password", data={"csrf": sam.csrf, "old": PASSWORD, "new": new})
    assert answer.status_code == 303
    assert (await sign_in(site, sam.email, new)).status_code == 200
    assert (await sam.post("/api/account/password", {"old": new, "new": PASSWORD})).status_code == 200
    answer = await sam.client.post(
        "/account/delete", data={"csrf": sam.csrf, "password": PASSWORD, "confirm": sam.email}
    )
    assert answer.status_code == 200
    assert len(open_meanwhile) >= 8
    assert set(open_meanwhile) == {0}


async def at_once(url, times, query, values, tasks=16):
    """The first row of each of so many calls, over several connections at once."""
    left, found = iter(range(times)), []

    async def work():
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            for n in left:
                given = [value(n) if callable(value) else value for value in values]
                found.append(await (await connection.execute(query, given)).fetchone())

    await asyncio.gather(*(work() for _ in range(tasks)))
    return found


async def test_a_password_costs_memory_and_time():
    began = time.process_time()
    hashed = REAL_ARGON2.hash("correct horse battery")
    assert time.process_time() - began > 0.02  # by design; docs/security.md has the figure
    assert "m=65536" in hashed


# ---- browsers -------------------------------------------------------------------------------------


async def test_signing_in_anew_ends_the_session_that_the_browser_came_with(site, sam):
    before = dict(sam.client.cookies)
    body = {"email": sam.email, "password": PASSWORD}
    assert (await sam.client.post(SIGN_IN, json=body)).status_code == 200
    assert dict(sam.client.cookies) != before
    old = site.client()
    assert (await old.get("/api/account", headers=_cookie(before))).status_code == 401
    assert (await sam.get("/api/account")).status_code == 200
    assert len((await sam.get("/api/browsers")).json()["browsers"]) == 1


async def test_signing_out_ends_the_session_for_good(site, sam):
    kept = dict(sam.client.cookies)
    answer = await sam.post("/api/sign-out")
    assert answer.status_code == 200
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await site.client().get("/api/account", headers=_cookie(kept))).status_code == 401


@pytest.mark.parametrize(
    "over",
    [
        "expires_at = now() - interval '1 second'",
        "last_used_at = now() - interval '15 days'",
        "revoked_at = now()",
    ],
)
async def test_a_session_ends_by_age_by_idleness_and_by_being_revoked(site, sam, over):
    assert (await sam.get("/api/account")).status_code == 200
    await site.rows(f"UPDATE api_tokens SET {over}")
    assert (await sam.get("/api/account")).status_code == 401


async def test_browsers_are_listed_by_name_and_ended_one_by_one(site, sam):
    other = await site.browser(sam.email)
    other.headers["user-agent"] = "irrelevant"
    await site.rows(
        "UPDATE api_tokens SET name = 'Firefox on Linux' WHERE id = (SELECT id FROM api_tokens LIMIT 1)"
    )
    listed = (await sam.get("/api/browsers")).json()["browsers"]
    assert sorted(one["current"] for one in listed) == [False, True]
    (not_this,) = [one["id"] for one in listed if not one["current"]]
    assert (await sam.client.delete(f"/api/browsers/{not_this}")).status_code == 200
    assert (await other.get("/api/account")).status_code == 401
    assert (await sam.get("/api/account")).status_code == 200


async def test_a_browser_is_named_by_what_it_says_of_itself(site, sam):
    client = site.client()
    client.headers.update({**OURS, "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"})
    await client.post(SIGN_IN, json={"email": sam.email, "password": PASSWORD})
    listed = (await sam.get("/api/browsers")).json()["browsers"]
    assert "Firefox on Linux" in [one["name"] for one in listed]


async def test_a_cookie_is_no_token_and_a_token_is_no_cookie(site, sam, alice):
    (value,) = dict(sam.client.cookies).values()
    assert (await site.client(value).get("/api/account")).status_code == 401
    answer = await site.client().get("/api/account", headers=_cookie({COOKIE: alice.token}))
    assert answer.status_code == 401


# ---- password -------------------------------------------------------------------------------------


async def test_a_new_password_signs_the_other_browsers_out_and_leaves_the_tokens(site, sam):
    other = await site.browser(sam.email)
    token = (await sam.post("/api/tokens", {"name": "script"})).json()["token"]
    new = "another one, longer"
    assert (await sam.post("/api/account/password", {"old": PASSWORD, "new": new})).status_code == 200
    assert (await sam.get("/api/account")).status_code == 200
    assert (await other.get("/api/account")).status_code == 401
    assert (await site.client(token).get("/api/account")).status_code == 200
    assert (await sign_in(site, sam.email)).status_code == 401
    assert (await sign_in(site, sam.email, new)).status_code == 200


async def test_the_operator_gives_a_new_password_to_who_forgot_theirs(site, sam, olga, database_urls):
    settings = Settings(
        _env_file=None, database_url=database_urls.login, database_admin_url=database_urls.admin
    )
    new = "another one, longer"
    await set_password(settings, f" {sam.email.upper()} ", new)
    assert (await sam.get("/api/account")).status_code == 401  # the browsers are signed out
    assert (await olga.get("/api/account")).status_code == 200
    assert (await sign_in(site, sam.email)).status_code == 401
    assert (await sign_in(site, sam.email, new)).status_code == 200
    with pytest.raises(NotFound, match="Nobody here"):
        await set_password(settings, "nobody@example.com", new)
    with pytest.raises(BadRequest):
        await set_password(settings, sam.email, "short")


async def test_a_wrong_old_password_changes_nothing_and_is_counted(site, sam):
    answer = await sam.post("/api/account/password", {"old": "wrong", "new": "another one, longer"})
    assert (answer.status_code, answer.json()["error"]) == (401, "log_in_failed")
    assert (await sam.post("/api/account/password", {"new": "another one, longer"})).status_code == 401
    (row,) = await site.rows("SELECT tries FROM log_in_networks")
    assert row["tries"] == 2
    poor = await sam.post("/api/account/password", {"old": PASSWORD, "new": "short"})
    assert (poor.status_code, poor.json()["error"]) == (400, "bad_request")
    assert (await sign_in(site, sam.email)).status_code == 200


# ---- tokens ---------------------------------------------------------------------------------------


async def test_a_token_is_shown_once_and_does_what_its_scopes_say(site, sam):
    soon = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    made = await sam.post("/api/tokens", {"name": "sync", "scopes": ["sessions:write"], "expiresAt": soon})
    assert made.status_code == 201
    secret = made.json()["token"]
    assert secret.startswith("evs_")
    listed = await sam.get("/api/tokens")
    assert secret not in listed.text
    (one,) = listed.json()["tokens"]
    assert (one["name"], one["scopes"]) == ("sync", ["sessions:write"])
    client = site.client(secret)
    assert (await client.post("/api/sessions/validate", json={})).status_code == 200
    for path in ("/api/account", "/api/tokens", "/api/browsers", "/api/account/audit", "/api/invitations"):
        assert (await client.get(path)).status_code == 403
    assert (await sam.client.delete(f"/api/tokens/{one['id']}")).status_code == 200
    assert (await client.post("/api/sessions/validate", json={})).status_code == 401


NO_TOKENS = [
    {"name": ""},
    {"name": "a\nb"},
    {"name": "x", "scopes": []},
    {"name": "x", "scopes": ["everything"]},
    {"name": "x", "expiresAt": "2020-01-01T00:00:00Z"},
    {"name": "x", "kind": "browser"},
]


async def test_a_token_that_makes_no_sense_is_not_made(sam, subtests):
    for body in NO_TOKENS:
        with subtests.test(str(body)):
            assert (await sam.post("/api/tokens", body)).status_code == 422


async def test_nobody_sees_or_ends_what_is_anothers(site, olga, sam):
    for path, name in (("tokens", "api"), ("browsers", "browser"), ("extensions", "extension")):
        await sam.post("/api/tokens", {"name": "of sam"})
        rows = await site.rows(
            "SELECT id FROM api_tokens WHERE user_id = :id AND kind = :kind", id=sam.user_id, kind=name
        )
        seen = (await olga.get(f"/api/{path}")).json()[path]
        assert {row["id"] for row in seen} & {str(row["id"]) for row in rows} == set()
        for row in rows:
            assert (await olga.client.delete(f"/api/{path}/{row['id']}")).status_code == 404
        assert rows == await site.rows(
            "SELECT id FROM api_tokens WHERE user_id = :id AND kind = :kind", id=sam.user_id, kind=name
        )
    (browser,) = (await sam.get("/api/browsers")).json()["browsers"]
    for path in ("tokens", "extensions"):  # nor by another kind's route
        assert (await sam.client.delete(f"/api/{path}/{browser['id']}")).status_code == 404
    assert (await sam.client.delete("/api/tokens/none")).status_code == 404


# ---- invitations ----------------------------------------------------------------------------------


async def test_an_owner_invites_and_the_link_makes_one_account_for_that_address(site, olga):
    made = (await olga.post("/api/invitations", {"email": "Nina@Example.com"})).json()
    token = made["link"].partition("token=")[2]
    assert made["link"].startswith(f"{ADDRESS}/invitation?token=")
    listed = await olga.get("/api/invitations")
    assert token not in listed.text
    invited = await invitations.look_at(site.database, token)
    assert (invited.email, invited.role, invited.inviter) == (
        "nina@example.com", "seller", "olga@example.com"
    )  # fmt: skip
    await invitations.accept(site.database, token, "eve@example.com", PASSWORD)
    nina = await site.browser("nina@example.com")
    account = (await nina.get("/api/account")).json()
    assert (account["email"], account["role"]) == ("nina@example.com", "seller")
    with pytest.raises(InvitationUnknown):
        await invitations.accept(site.database, token, "eve@example.com", PASSWORD)
    (one,) = (await olga.get("/api/invitations")).json()["invitations"]
    assert one["usedAt"]


async def test_who_joined_is_shown_as_long_as_the_account_lives_and_no_longer(site, olga):
    made = (await olga.post("/api/invitations", {"email": "nina@example.com"})).json()
    await invitations.accept(site.database, made["link"].partition("=")[2], "", PASSWORD)
    otto = await site.person("otto", role="owner")
    await site.rows("UPDATE invitations SET expires_at = now()")
    await site.database.ask("SELECT everystall.expire()")
    (one,) = (await olga.get("/api/invitations")).json()["invitations"]
    assert (one["email"], bool(one["usedAt"])) == ("nina@example.com", True)
    assert (await otto.get("/api/invitations")).json()["invitations"] == []

    nina = await site.browser("nina@example.com")
    body = {"confirm": "nina@example.com", "password": PASSWORD}
    gone = await nina.request("DELETE", "/api/account", json=body)
    assert gone.status_code == 200
    assert "nina" not in (await olga.get("/api/invitations")).text
    assert await site.rows("SELECT FROM invitations") == []
    assert (await olga.post("/api/invitations", {"email": "nina@example.com"})).status_code == 201


async def test_nobody_invites_themselves_or_who_joined_by_them(site, olga):
    made = (await olga.post("/api/invitations", {"email": "nina@example.com"})).json()
    await invitations.accept(site.database, made["link"].partition("=")[2], "", PASSWORD)
    for email, said in ((" Olga@example.com", "your own"), ("Nina@example.com", "has joined already")):
        refused = await olga.post("/api/invitations", {"email": email})
        assert (refused.status_code, refused.json()["error"]) == (409, "conflict")
        assert said in refused.json()["message"]
    assert len(await site.rows("SELECT FROM invitations")) == 1


async def test_a_seller_invites_nobody_and_sees_no_invitation(olga, sam):
    made = (await olga.post("/api/invitations", {"email": "nina@example.com"})).json()
    assert (await sam.post("/api/invitations", {"email": "x@example.com"})).status_code == 403
    assert (await sam.get("/api/invitations")).status_code == 403
    assert (await sam.client.delete(f"/api/invitations/{made['id']}")).status_code == 403


async def test_an_owner_does_not_see_or_take_back_another_owners_invitation(site, olga):
    otto = await site.person("otto", role="owner")
    made = (await olga.post("/api/invitations", {"email": "nina@example.com"})).json()
    assert (await otto.get("/api/invitations")).json()["invitations"] == []
    assert (await otto.client.delete(f"/api/invitations/{made['id']}")).status_code == 404
    assert (await olga.client.delete(f"/api/invitations/{made['id']}")).status_code == 200
    with pytest.raises(InvitationUnknown):
        await invitations.look_at(site.database, made["link"].partition("token=")[2])


async def test_a_new_invitation_voids_the_one_before_and_old_ones_end(site, olga):
    first, second = [
        (await olga.post("/api/invitations", {"email": "nina@example.com"})).json()["link"].partition("=")[2]
        for _ in range(2)
    ]
    with pytest.raises(InvitationUnknown):
        await invitations.look_at(site.database, first)
    await site.rows("UPDATE invitations SET expires_at = now()")
    with pytest.raises(InvitationUnknown):
        await invitations.accept(site.database, second, "", PASSWORD)
    assert (await olga.get("/api/invitations")).json()["invitations"] == []


async def test_an_owner_takes_nobodys_account_over_by_inviting_who_has_no_password_yet(site, olga, alice):
    """One made by `everystall token create`: whoever opens the link would have that seller's data."""
    (row,) = await site.rows("SELECT email FROM users WHERE password_hash IS NULL")
    link = (await olga.post("/api/invitations", {"email": row["email"]})).json()["link"]
    with pytest.raises(Conflict):
        await invitations.accept(site.database, link.partition("=")[2], "", PASSWORD)
    assert await site.rows("SELECT 1 AS one FROM users WHERE password_hash IS NULL") == [{"one": 1}]


async def test_an_invitation_of_somebody_with_an_account_makes_no_second_and_changes_nothing(site, olga, sam):
    link = (await olga.post("/api/invitations", {"email": sam.email, "role": "owner"})).json()["link"]
    with pytest.raises(Conflict):
        await invitations.accept(site.database, link.partition("=")[2], "", "another one, longer")
    assert (await sam.get("/api/account")).json()["role"] == "seller"
    assert (await sign_in(site, sam.email)).status_code == 200


# ---- the vault's audit ----------------------------------------------------------------------------


async def test_each_opening_of_a_session_is_listed_for_its_seller_and_nobody_else(site, olga, sam):
    profile = await sam.connect("mercari", "sam")
    (row,) = await site.rows("SELECT id FROM connections WHERE user_id = :id", id=sam.user_id)
    for purpose in ("post", "check", "take down"):
        await site.vault.open(sam.user_id, row["id"], purpose=purpose)
    first = (await sam.get("/api/account/audit?limit=2")).json()
    assert [one["purpose"] for one in first["openings"]] == ["take down", "check"]
    (account,) = first["accounts"]
    assert (account["marketplace"], account["browserProfileId"], account["times"]) == (
        "mercari", profile, 3
    )  # fmt: skip
    rest = (await sam.get("/api/account/audit", params={"cursor": first["nextCursor"]})).json()
    assert [one["purpose"] for one in rest["openings"]] == ["post"]
    assert rest["nextCursor"] is None
    for path in ("/api/account/audit", f"/api/account/audit?browserProfileId={profile}"):
        assert (await olga.get(path)).json() == {"openings": [], "nextCursor": None, "accounts": []}
    stolen = await olga.get("/api/account/audit", params={"cursor": first["nextCursor"]})
    assert stolen.json()["openings"] == []
    assert (await sam.get("/api/account/audit?cursor=nonsense")).status_code == 400


# ---- the end --------------------------------------------------------------------------------------


def _confirm(person, password=PASSWORD):
    return {"confirm": person.email, "password": password}


async def test_a_deleted_account_leaves_nothing_but_what_is_anothers(site, olga, sam):
    both, only_his = photo(1), photo(2)
    for person, photos in ((olga, [both]), (sam, [both, only_his])):
        listing = await person.listing(photos=0)
        for data in photos:
            files = {"photos": ("x.png", data, "image/png")}
            added = await person.client.post(f"/api/listings/{listing}/photos", files=files)
            assert added.status_code == 201, added.text
    thrown = await sam.listing(photos=0)
    files = {"photos": ("x.png", photo(3), "image/png")}
    assert (await sam.client.post(f"/api/listings/{thrown}/photos", files=files)).status_code == 201
    assert (await sam.client.delete(f"/api/listings/{thrown}")).json()["deleted"]
    await sam.connect("mercari", "sam")
    await sam.post("/api/tokens", {"name": "script"})
    await sam.post("/api/pairings")
    folder = site.settings.everystall_home
    originals = folder / "photos" / "originals"
    assert len(list(originals.iterdir())) == 3
    olgas = await site.everything_of(olga)

    answer = await sam.client.request("DELETE", "/api/account", json=_confirm(sam))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    today = datetime.now(UTC).date()
    assert said["backupsForgetAt"] == (today + timedelta(days=30)).isoformat()
    assert "keys rotate --retire" in said["message"]
    assert "Max-Age=0" in answer.headers["set-cookie"]

    owned = await site.rows(
        "SELECT table_name AS name FROM information_schema.columns "
        "WHERE column_name = 'user_id' AND table_schema = 'public'"
    )
    assert len(owned) > 10
    for table in owned:
        left = await site.rows(f"SELECT FROM {table['name']} WHERE user_id = :id", id=sam.user_id)
        assert left == [], table
    assert await site.rows("SELECT FROM users WHERE email = 'sam@example.com'") == []
    assert await site.everything_of(olga) == olgas
    assert len(list(originals.iterdir())) == 1
    (kept,) = originals.iterdir()
    assert kept.read_bytes() == both
    assert (await sam.get("/api/account")).status_code == 401
    assert (await sign_in(site, sam.email)).status_code == 401


async def test_all_pictures_of_failures_go_with_the_account_and_nothing_else_does(site, olga, sam):
    """Also those that no row names any more."""
    photos, today = site.app.state.parts.photos, f"{datetime.now(UTC):%Y-%m-%d}"
    names = [f"{day}/{'0' * 16}.{kind}" for day in ("2026-01-01", today) for kind in ("png", "aria.txt")]
    for seller in (olga, sam):
        for name in names:
            await photos.keep_evidence(seller.user_id, name, b"picture")
    gone = await sam.client.request("DELETE", "/api/account", json=_confirm(sam))
    assert gone.status_code == 200
    left = site.settings.everystall_home / "photos" / "evidence"
    kept = sorted(str(one.relative_to(left)) for one in left.rglob("*") if one.is_file())
    assert kept == sorted(name.replace("/", f"/{olga.user_id}/") for name in names)


async def test_an_account_is_deleted_by_who_knows_the_password_and_means_it(site, olga, sam):
    for body, status in (
        ({"confirm": sam.email}, 401),
        ({"confirm": sam.email, "password": "wrong"}, 401),
        ({"confirm": olga.email, "password": PASSWORD}, 400),
        ({"password": PASSWORD}, 422),
    ):
        assert (await sam.client.request("DELETE", "/api/account", json=body)).status_code == status
    assert (await sam.get("/api/account")).status_code == 200


async def test_live_listings_hold_an_account_unless_forced(site, olga, sam):
    listing = await sam.listing()
    await sam.connect("mercari", "sam")
    await sam.publish(listing, "mercari")
    await site.go_live(sam)
    refused = await sam.client.request("DELETE", "/api/account", json=_confirm(sam))
    assert (refused.status_code, refused.json()["error"], refused.json()["live"]) == (409, "listing_live", 1)
    forced = await sam.client.request("DELETE", "/api/account?force=true", json=_confirm(sam))
    assert forced.status_code == 200


async def test_the_last_owner_stays_while_others_are_there(site, olga, sam):
    refused = await olga.client.request("DELETE", "/api/account", json=_confirm(olga))
    assert (refused.status_code, refused.json()["error"]) == (409, "last_owner")
    otto = await site.person("otto", role="owner")
    answers = await asyncio.gather(
        *(one.client.request("DELETE", "/api/account", json=_confirm(one)) for one in (olga, otto))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_the_only_person_may_go_and_the_next_start_makes_an_owner_again(site, olga):
    gone = await olga.client.request("DELETE", "/api/account", json=_confirm(olga))
    assert gone.status_code == 200
    assert await invitations.first_owner(site.database)


def _cookie(cookies):
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
