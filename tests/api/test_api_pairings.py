"""Pairing a browser, and what the extension hears and says afterwards. Guessing a code finds nothing."""

from __future__ import annotations

import asyncio
import json

import pytest

from everystall.web import pairings
from everystall.web.limits import PAIRINGS
from everystall.web.pairings import ALPHABET
from everystall.web.tokens import hash_of
from tests.api.conftest import ADDRESS
from tests.api.test_api_accounts import at_once

EXTENSION = {"origin": "chrome-extension://abcdefghijklmnopabcdefghijklmnop"}
CODES, LOOK, ACCEPT = "/api/pairings", "/api/pairings/look", "/api/pairings/accept"


@pytest.fixture
async def sam(site):
    return await site.person("sam")


async def code_of(person):
    answer = await person.post(CODES)
    assert answer.status_code == 201, answer.text
    return answer.json()["code"]


async def pair(site, person, name="Firefox at home"):
    """The extension's client, paired."""
    client = site.client()
    looked = (await client.post(LOOK, json={"code": await code_of(person)}, headers=EXTENSION)).json()
    made = await client.post(ACCEPT, json={"ticket": looked["ticket"], "name": name}, headers=EXTENSION)
    assert made.status_code == 200, made.text
    return site.client(made.json()["token"])


async def test_a_code_becomes_a_token_that_hands_over_sessions_and_nothing_else(site, sam):
    code = await code_of(sam)
    assert len(code) == 8
    assert set(code) <= set(ALPHABET)
    assert len(set(ALPHABET)) == 31
    client = site.client()
    looked = await client.post(LOOK, json={"code": code}, headers=EXTENSION)
    assert looked.status_code == 200
    assert looked.json()["account"] == "sam@example.com"
    assert looked.json()["server"] == ADDRESS
    made = await client.post(
        ACCEPT, json={"ticket": looked.json()["ticket"], "name": "Firefox at home"}, headers=EXTENSION
    )
    assert (made.json()["account"], made.json()["name"]) == ("sam@example.com", "Firefox at home")
    extension = site.client(made.json()["token"])
    assert (await extension.post("/api/sessions/validate", json={}, headers=EXTENSION)).status_code == 200
    for path in ("/api/account", "/api/listings", "/api/tokens", "/api/extensions", "/api/connections"):
        assert (await extension.get(path)).status_code == 403
    assert (await extension.post(CODES)).status_code == 403
    listed = await sam.get("/api/extensions")
    (one,) = listed.json()["extensions"]
    assert one["name"] == "Firefox at home"
    assert made.json()["token"] not in listed.text
    assert (await sam.client.delete(f"/api/extensions/{one['id']}")).status_code == 200
    assert (await extension.post("/api/sessions/validate", json={})).status_code == 401


async def test_an_extension_ends_its_own_pairing_and_no_other(site, sam):
    leaving, staying = await pair(site, sam, "leaving"), await pair(site, sam, "staying")
    program = await site.seller("program", scopes=("*",))
    for other in (program, sam):
        refused = await other.post("/api/extensions/forget-me")
        assert (refused.status_code, refused.json()["error"]) == (400, "bad_request")
        assert "no extension's token" in refused.json()["message"]
    gone = await leaving.post("/api/extensions/forget-me", json={}, headers=EXTENSION)
    assert gone.status_code == 200, gone.text
    assert gone.headers["access-control-allow-origin"] == EXTENSION["origin"]
    again = await leaving.post("/api/extensions/forget-me", json={})
    assert (again.status_code, again.json()["error"]) == (401, "unauthenticated")
    assert (await staying.post("/api/sessions/validate", json={})).status_code == 200
    assert [one["name"] for one in (await sam.get("/api/extensions")).json()["extensions"]] == ["staying"]
    assert (await program.get("/api/account")).status_code == 200


async def test_an_extensions_token_without_scopes_may_do_nothing(site, sam):
    """Of an API token no scope is every scope; of an extension's it is none."""
    extension = await pair(site, sam)
    await site.rows("UPDATE api_tokens SET scopes = '{}' WHERE kind = 'extension'")
    for path in ("/api/account", "/api/sessions/wanted"):
        assert (await extension.get(path)).status_code == 403


@pytest.mark.parametrize("typed", ["{}-{}", "{} {}", " {}{} "])
async def test_a_code_may_be_typed_with_a_dash_and_in_any_case(site, sam, typed):
    code = await code_of(sam)
    typed = typed.format(code[:4], code[4:]).lower()
    assert (await site.client().post(LOOK, json={"code": typed})).status_code == 200


async def test_a_code_and_a_ticket_are_good_once(site, sam):
    code = await code_of(sam)
    client = site.client()
    looks = await asyncio.gather(*(client.post(LOOK, json={"code": code}) for _ in range(5)))
    assert sorted(answer.status_code for answer in looks) == [200, 404, 404, 404, 404]
    (ticket,) = [answer.json()["ticket"] for answer in looks if answer.status_code == 200]
    body = {"ticket": ticket, "name": "x"}
    accepts = await asyncio.gather(*(client.post(ACCEPT, json=body) for _ in range(5)))
    assert sorted(answer.status_code for answer in accepts) == [200, 404, 404, 404, 404]
    refused = next(answer for answer in accepts if answer.status_code == 404)
    assert refused.json()["error"] == "pairing_unknown"
    assert len(await site.rows("SELECT FROM api_tokens WHERE kind = 'extension'")) == 1


async def test_codes_and_tickets_end_after_ten_minutes(site, sam):
    client = site.client()
    code = await code_of(sam)
    await site.rows("UPDATE pairings SET expires_at = now()")
    assert (await client.post(LOOK, json={"code": code})).status_code == 404
    ticket = (await client.post(LOOK, json={"code": await code_of(sam)})).json()["ticket"]
    await site.rows("UPDATE pairings SET expires_at = now()")
    assert (await client.post(ACCEPT, json={"ticket": ticket, "name": "x"})).status_code == 404


async def test_a_new_code_voids_the_one_before(site, sam):
    first, second = await code_of(sam), await code_of(sam)
    client = site.client()
    assert (await client.post(LOOK, json={"code": first})).status_code == 404
    assert (await client.post(LOOK, json={"code": second})).status_code == 200


async def test_two_people_pair_at_once_and_each_gets_their_own(site, sam):
    olga = await site.person("olga")
    for person, other in ((sam, olga), (olga, sam)):
        extension = await pair(site, person, f"of {person.email}")
        assert (await extension.post("/api/sessions/validate", json={})).status_code == 200
        assert len((await person.get("/api/extensions")).json()["extensions"]) == 1
        names = [one["name"] for one in (await other.get("/api/extensions")).json()["extensions"]]
        assert f"of {person.email}" not in names


async def how_far(site, person):
    async with site.database.as_user(person.user_id) as session:
        return await pairings.how_far(session)


async def test_its_owner_sees_how_far_a_code_is(site, alice, sam):
    assert await how_far(site, sam) is None
    code = await code_of(sam)
    assert (await how_far(site, sam), await how_far(site, alice)) == ("open", None)
    ticket = (await site.client().post(LOOK, json={"code": code})).json()["ticket"]
    assert await how_far(site, sam) == "looked"
    await site.client().post(ACCEPT, json={"ticket": ticket, "name": "Chrome"})
    assert (await how_far(site, sam), await how_far(site, alice)) == ("accepted", None)
    await code_of(sam)
    assert await how_far(site, sam) == "open"
    await site.rows("UPDATE pairings SET expires_at = now()")
    assert await how_far(site, sam) is None


async def test_five_wrong_tries_end_a_code(site, sam):
    code = await code_of(sam)
    client = site.client()
    for n in range(5):
        wrong = code[:2] + ("A" if code[2] != "A" else "B") + code[3:7] + ALPHABET[n]
        assert (await client.post(LOOK, json={"code": wrong})).status_code == 404
    assert (await client.post(LOOK, json={"code": code})).status_code == 404
    assert await how_far(site, sam) is None


@pytest.mark.longer
async def test_of_ten_thousand_guesses_at_once_five_are_compared(site, sam, database_urls):
    code = await code_of(sam)

    def guess(n):  # every 1,000th is right
        return hash_of(code if n % 1000 == 999 else f"{code[:2]}{n:06}")

    await at_once(
        database_urls.login,
        10_000,
        "SELECT * FROM everystall.look_at_pairing(%s, %s, %s)",
        (code[:2], guess, lambda n: hash_of(f"ticket {n}")),
    )
    (row,) = await site.rows("SELECT tries, looked_at FROM pairings")
    assert row["tries"] <= 5
    assert row["looked_at"] is None
    assert (await site.client().post(LOOK, json={"code": code})).status_code == 404


@pytest.mark.longer
async def test_guessing_from_many_networks_at_once_looks_at_ten_compares_five_and_then_others_may(site, sam):
    code, olga = await code_of(sam), await site.person("olga")
    guesses = (
        site.client(address=f"10.0.{n}.1").post(LOOK, json={"code": f"{code[:2]}AAAA{ALPHABET[n % 31]}B"})
        for n in range(50)
    )
    answers = await asyncio.gather(*guesses)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {404, 429}
    assert len(answers) - len(refused) >= PAIRINGS.amount
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    (row,) = await site.rows("SELECT tries FROM pairings WHERE user_id = :id", id=sam.user_id)
    assert row["tries"] == 5
    await asyncio.sleep(1)
    assert await pair(site, olga)


@pytest.mark.parametrize("code", ["", "ABC", "ABCDEFG0", "ABCDEFGI", "ABCDEFGHJ", "ÄBCDEFGH", "%00CDEFGH"])
async def test_what_cannot_be_a_code_is_none(site, code):
    answer = await site.client().post(LOOK, json={"code": code})
    assert (answer.status_code, answer.json()["error"]) == (404, "pairing_unknown")


async def test_a_code_is_stored_as_a_hash_only(site, sam):
    code = await code_of(sam)
    ticket = (await site.client().post(LOOK, json={"code": code})).json()["ticket"]
    kept = repr(await site.rows("SELECT * FROM pairings"))
    assert code not in kept
    assert code[2:] not in kept
    assert ticket not in kept


# ---- CORS -----------------------------------------------------------------------------------------

ALLOWED = (LOOK, ACCEPT, "/api/sessions/wanted", "/api/sessions/sync", "/api/sessions/validate",
           "/api/sessions/refresh", "/api/sessions/signed-out", "/api/sessions/forget",
           "/api/extensions/forget-me")  # fmt: skip


@pytest.mark.parametrize("path", ALLOWED)
@pytest.mark.parametrize("scheme", ["chrome-extension", "moz-extension"])
async def test_extensions_may_call_their_routes_and_never_with_credentials(site, path, scheme):
    origin = f"{scheme}://1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901"
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    client = site.client()
    before = await client.options(path, headers=asked)
    assert before.status_code == 204
    assert before.headers["access-control-allow-origin"] == origin
    assert before.headers["access-control-allow-headers"] == "authorization, content-type"
    assert "access-control-allow-credentials" not in before.headers
    answer = await client.post(path, json={}, headers={"origin": origin})
    assert answer.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        (LOOK, "https://evil.example"),
        (LOOK, "null"),
        (LOOK, "chrome-extension://x.evil.example/"),
        (LOOK, "https://everystall.test"),
        (CODES, EXTENSION["origin"]),
        ("/api/account", EXTENSION["origin"]),
        ("/api/listings", EXTENSION["origin"]),
        ("/api/sign-in", EXTENSION["origin"]),
    ],
)
async def test_nobody_else_and_no_other_route(site, alice, path, origin):
    asked = {"origin": origin, "access-control-request-method": "POST"}
    before = await alice.client.options(path, headers=asked)
    assert before.status_code in (404, 405)
    for answer in (before, await alice.client.get(path, headers={"origin": origin})):
        assert not [name for name in answer.headers if name.startswith("access-control")]


# ---- what the server wants, what the browser says --------------------------------------------------


async def test_a_capture_that_is_asked_for_is_heard_of_until_it_comes(site, sam):
    extension = await pair(site, sam)
    profile = await sam.connect("mercari", "sam")
    assert (await extension.get("/api/sessions/wanted")).json()["wanted"] == []
    await sam.post("/api/sessions/refresh", {"browserProfileId": profile})
    for _ in range(2):
        (one,) = (await extension.get("/api/sessions/wanted?wait=20")).json()["wanted"]
        assert (one["marketplace"], one["browserProfileId"]) == ("mercari", profile)
        assert one["askedAt"]
    others = "/api/sessions/wanted?wait=0.2&browserProfileId=bp_poshmark_x"  # who asks for its own only
    assert (await extension.get(others)).json()["wanted"] == []
    (one,) = (await extension.get(f"{others}&browserProfileId={profile}")).json()["wanted"]
    await sam.connect("mercari", "sam")
    assert (await extension.get("/api/sessions/wanted")).json()["wanted"] == []


async def test_who_waits_is_woken_by_the_request_and_by_nobody_elses(site, sam):
    olga = await site.person("olga")
    waits = {}
    for person in (sam, olga):
        extension = await pair(site, person)
        await person.connect("mercari", person.email)
        wait = "25" if person is sam else "3"
        waits[person.email] = asyncio.create_task(extension.get(f"/api/sessions/wanted?wait={wait}"))
    captures = site.app.state.parts.captures
    await captures.ready(10)
    while len(captures._waiting) < 2:
        await asyncio.sleep(0.01)
    await sam.post("/api/sessions/refresh", {})
    woken = (await asyncio.wait_for(waits[sam.email], 20)).json()
    assert [one["marketplace"] for one in woken["wanted"]] == ["mercari"]
    assert (await waits[olga.email]).json()["wanted"] == []


async def test_a_lost_connection_to_the_database_is_made_anew_and_loses_no_request(site, sam):
    extension = await pair(site, sam)
    await sam.connect("mercari", "sam")
    waiting = asyncio.create_task(extension.get("/api/sessions/wanted?wait=25"))
    await site.app.state.parts.captures.ready(10)
    gone = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN everystall%'"
    while not await site.rows(gone):
        await asyncio.sleep(0.01)
    await sam.post("/api/sessions/refresh", {})
    assert (await asyncio.wait_for(waiting, 20)).json()["wanted"]


async def test_nobody_waits_while_the_server_ends(site, sam):
    extension = await pair(site, sam)
    waiting = asyncio.create_task(extension.get("/api/sessions/wanted?wait=25"))
    captures = site.app.state.parts.captures
    while not captures._waiting:
        await asyncio.sleep(0.01)
    await captures.close()
    assert (await asyncio.wait_for(waiting, 15)).json()["wanted"] == []


async def test_an_open_page_of_this_seller_is_told_and_nobody_elses(site, sam):
    extension = await pair(site, sam)
    assert (await extension.get("/api/sessions/wanted")).json()["watching"] is True
    await site.rows(
        "UPDATE api_tokens SET last_used_at = now() - interval '91 seconds' "
        "WHERE kind = 'browser' AND user_id = :id",
        id=sam.user_id,
    )
    olga = await site.person("olga")
    await olga.get("/api/account")
    assert (await extension.get("/api/sessions/wanted")).json()["watching"] is False


@pytest.mark.parametrize("wait", ["-1", "26", "long"])
async def test_nobody_waits_longer_than_is_good_for_a_proxy(site, sam, wait):
    extension = await pair(site, sam)
    assert (await extension.get(f"/api/sessions/wanted?wait={wait}")).status_code == 422


async def test_a_browser_that_was_signed_out_has_the_account_checked_and_nothing_concluded(site, sam):
    extension = await pair(site, sam)
    profile = await sam.connect("mercari", "sam")
    await site.rows("UPDATE connections SET next_check_at = NULL")
    await site.forget_wakes()
    answer = await extension.post(
        "/api/sessions/signed-out", json={"marketplace": "mercari", "browserProfileId": profile}
    )
    assert answer.status_code == 200
    assert answer.json()["sessions"][0]["status"] == "connected"
    (row,) = await site.rows("SELECT next_check_at <= now() AS due, needs_you FROM connections")
    assert row == {"due": True, "needs_you": None}
    assert len(await site.wakes()) == 1
    assert len(await site.rows("SELECT FROM user_marketplace_sessions")) == 1


async def test_disconnecting_forgets_the_session_at_once_even_if_something_is_live(site, sam):
    extension = await pair(site, sam)
    profile = await sam.connect("mercari", "sam")
    await sam.publish(await sam.listing(), "mercari")
    await site.go_live(sam)
    await sam.post("/api/sessions/refresh", {})
    answer = await extension.post("/api/sessions/forget", json={"browserProfileId": profile})
    assert answer.status_code == 200, answer.text
    assert await site.rows("SELECT FROM user_marketplace_sessions") == []
    (one,) = (await sam.get("/api/connections")).json()["connections"]
    assert (one["status"], one["needsYou"]["reason"]) == ("missing", "disconnected")
    assert (await extension.get("/api/sessions/wanted")).json()["wanted"] == []
    await sam.post("/api/sessions/refresh", {})  # what was taken away is not asked for
    assert (await extension.get("/api/sessions/wanted")).json()["wanted"] == []
    assert len(await site.rows("SELECT FROM publications")) == 1


async def test_one_sellers_extension_reaches_nothing_of_anothers(site, sam):
    olga = await site.person("olga")
    profile = await olga.connect("mercari", "olga")
    await olga.post("/api/sessions/refresh", {})
    everything = json.dumps(await site.everything_of(olga), default=str)
    extension = await pair(site, sam)
    assert (await extension.get("/api/sessions/wanted")).json()["wanted"] == []
    for path, body in (
        ("forget", {"browserProfileId": profile}),
        ("signed-out", {"marketplace": "mercari", "browserProfileId": profile}),
        ("refresh", {"browserProfileId": profile}),
    ):
        assert (await extension.post(f"/api/sessions/{path}", json=body)).status_code == 404
    assert json.dumps(await site.everything_of(olga), default=str) == everything
