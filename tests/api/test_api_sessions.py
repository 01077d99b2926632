"""POST /api/sessions/*: what of a session is kept, whose it is, and what stands in the way."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from tests.api.conftest import cookie, signed_in_as


async def _opened(site, seller, profile):
    (row,) = await site.rows("SELECT id FROM connections WHERE public_id = :id", id=profile)
    opened = await site.vault.open(seller.user_id, row["id"], purpose="test")
    with opened.secret as plain:
        return json.loads(bytes(plain))


async def test_a_session_is_sealed_and_its_account_is_named(site, alice):
    answer = await alice.sync("poshmark", signed_in_as("poshmark", "alice"))
    assert answer.status_code == 200
    told = answer.json()
    assert told.keys() == {"success", "marketplace", "browserProfileId", "message"}
    assert (told["success"], told["marketplace"]) == (True, "poshmark")
    assert told["browserProfileId"].startswith("bp_poshmark_")
    (row,) = await site.rows("SELECT * FROM user_marketplace_sessions")
    assert b"a.b.c" not in row["sealed"]
    kept = await _opened(site, alice, told["browserProfileId"])
    assert {c["name"] for c in kept["cookies"]} == {"jwt", "ui"}
    assert kept["localStorage"] == {"theme": "dark"}
    assert kept["userAgent"].startswith("Mozilla/5.0")
    (connection,) = await site.rows("SELECT * FROM connections")
    assert connection["base_url"] == site.settings.base_url("poshmark")
    assert [wake["queueing_lock"] for wake in await site.wakes()] == [f"connection:{connection['id']}:visits"]


async def test_cookies_are_kept_in_the_form_that_the_browser_takes(site, alice):
    cookies = [
        cookie("a", "1", ".mercari.com", sameSite="no_restriction"),
        cookie("b", "2", "www.mercari.com", sameSite="unspecified", secure=False),
        {
            "name": "c",
            "value": "3",
            "domain": "www.mercari.com",
            "path": "/x",
            "expires": -1,
            "sameSite": "Strict",
        },
    ]
    profile = (await alice.sync("mercari", cookies)).json()["browserProfileId"]
    kept = {c["name"]: c for c in (await _opened(site, alice, profile))["cookies"]}
    assert (kept["a"]["domain"], kept["a"]["sameSite"]) == (".mercari.com", "None")
    assert (kept["b"]["domain"], kept["b"]["sameSite"]) == ("www.mercari.com", "Lax")
    assert (kept["c"]["path"], kept["c"]["expires"], kept["c"]["sameSite"]) == ("/x", -1, "Strict")
    allowed = {"name", "value", "domain", "path", "expires", "httpOnly", "secure", "sameSite"}
    assert all(c.keys() == allowed for c in kept.values())


async def test_cookies_of_other_sites_are_left_out_and_counted(site, alice):
    foreign = [
        cookie("SID", "g", ".google.com"),
        cookie("x", "1", "evilmercari.com"),
        cookie("y", "1", "mercari.com.evil.example"),
        cookie("z", "1", ".com"),
        cookie("p", "1", "www.mercari.com", partitionKey={"topLevelSite": "https://evil.example"}),
    ]
    answer = await alice.sync("mercari", [*signed_in_as("mercari", "alice"), *foreign])
    assert answer.status_code == 200
    assert "5 cookies of other sites were left out" in answer.json()["message"]
    kept = await _opened(site, alice, answer.json()["browserProfileId"])
    assert [c["name"] for c in kept["cookies"]] == ["_mwus"]


async def test_the_practice_marketplaces_host_counts_as_its_own(site, alice):
    object.__setattr__(site.settings, "mercari_url", "http://mercari.localhost:9999")
    answer = await alice.sync("mercari", [cookie("_mwus", "x", "mercari.localhost")])
    assert answer.status_code == 200
    (connection,) = await site.rows("SELECT base_url FROM connections")
    assert connection["base_url"] == "http://mercari.localhost:9999"


async def test_another_sites_session_is_refused_and_nothing_is_kept(site, alice):
    answer = await alice.sync("mercari", [cookie("SID", "g", ".google.com")])
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert "mercari.com" in answer.json()["message"]
    assert await site.rows("SELECT 1 FROM connections") == []


@pytest.mark.parametrize(
    ("cookies", "more"),
    [
        ([], {}),
        (signed_in_as("mercari", "alice"), {"isLoggedIn": False}),
        ([cookie("_mwus", "x", ".mercari.com", expirationDate=time.time() - 60)], {}),
    ],
)
async def test_a_signed_out_browser_is_told_so(site, alice, cookies, more):
    answer = await alice.sync("mercari", cookies, **more)
    assert (answer.status_code, answer.json()["error"]) == (409, "session_missing")
    assert "Mercari" in answer.json()["message"]
    assert "Sign in" in answer.json()["action"]
    assert await site.rows("SELECT 1 FROM connections") == []


async def test_a_session_captured_too_long_ago_is_refused(site, alice):
    answer = await alice.sync("mercari", signed_in_as("mercari", "alice"), timestamp="2020-01-01T00:00:00Z")
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert await site.rows("SELECT 1 FROM connections") == []


async def test_an_unknown_marketplace_is_named(alice):
    answer = await alice.sync("amazon", [cookie("a", "b", ".amazon.com")])
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert "amazon" in answer.json()["message"]
    assert "poshmark" in answer.json()["action"]


_PLAIN = cookie("a", "x", ".mercari.com")


MALFORMED = [
    ({"cookies": [{"name": "a"}]}, "cookies.0.value: is missing; cookies.0.domain: is missing."),
    ({"cookies": "SECRET=b"}, 'cookies: must be a list of cookies: [{"name": …'),
    ({"cookies": ["SECRET"]}, "cookies.0: must be an object, in { }."),
    ({"cookies": [{**_PLAIN, "value": 5}]}, "cookies.0.value: must be a text, in quotes."),
    ({"cookies": [{**_PLAIN, "path": 5}]}, "cookies.0.path: must be a text, in quotes."),
    ({"cookies": [{**_PLAIN, "secure": "SECRET"}]}, "cookies.0.secure: must be true or false."),
    ({"cookies": [{**_PLAIN, "expirationDate": "SECRET"}]}, "expirationDate: must be a number."),
    ({"cookies": [{**_PLAIN, "expirationDate": 1e15}]}, "must be at most 100000000000."),
    ({"cookies": [{**_PLAIN, "partitionKey": 5}]}, "cookies.0.partitionKey: must be a site, or {"),
    ({"cookies": [{**_PLAIN, "value": "SECRET" * 1500}]}, "value: may have at most 8192 characters."),
    ({"cookies": [{**_PLAIN, "value": "SECRET\x00"}]}, "cookies.0: value: holds a NUL character."),
    (
        {"cookies": [_PLAIN] * 501},
        "cookies: has more than 500 cookies; send that marketplace's own only.",
    ),
    ({"localStorage": [1]}, "localStorage: must be the texts of the storage by name"),
    ({"localStorage": {"SECRET": 5}}, "localStorage: must be the texts of the storage by name"),
    ({"localStorage": {"SECRET" * 500: ""}}, "localStorage: has a name of more than 2000 characters"),
    ({"localStorage": {str(n): "" for n in range(5001)}}, "localStorage: has more than 5000 entries"),
    ({"timestamp": "SECRET"}, "timestamp: must be a time, such as 2026-11-24T10:00:00Z."),
    ({"timestamp": 1e30}, "timestamp: must be a time, such as 2026-11-24T10:00:00Z."),
    ({"isLoggedIn": "SECRET"}, "isLoggedIn: must be true or false."),
    ({"userAgent": "SECRET\r\nEvil: 1"}, "userAgent: must be one line of ASCII."),
    ({"languages": "SECRET"}, "languages: must be a list, in [ ]."),
    ({"languages": ["de", "SECRET,x\r\n"]}, "languages.1: must be a language's tag, such as en-US."),
    ({"languages": ["de"] * 21}, "languages: may have at most 20"),
    ({"timeZone": "SECRET" * 11}, "timeZone: may have at most 64 characters"),
    ({"browserProfileId": "../../SECRET"}, "browserProfileId: must be an account's id, such as bp_"),
]


async def test_a_malformed_session_is_refused_in_words_that_repeat_nothing(site, alice, subtests):
    for more, said in MALFORMED:
        with subtests.test(said):
            answer = await alice.sync("mercari", **{"cookies": signed_in_as("mercari", "alice"), **more})
            assert (answer.status_code, answer.json()["error"]) == (422, "bad_request")
            assert said in answer.json()["message"]
            assert answer.json()["fields"]
            assert "`fields`" in answer.json()["action"]
            assert "SECRET" not in answer.text
            assert await site.rows("SELECT 1 FROM connections") == []


async def test_storage_that_no_browser_could_put_back_does_not_lose_the_session(site, alice):
    answer = await alice.client.post(
        "/api/sessions/sync",
        content=json.dumps({
            "marketplace": "mercari", "cookies": signed_in_as("mercari", "alice"), "isLoggedIn": True,
            "timestamp": time.time(), "localStorage": {"half": "\ud800", "whole": "😀"},
            "extensionVersion": "9",
        }),
        headers={"content-type": "application/json"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    assert (await _opened(site, alice, answer.json()["browserProfileId"]))["localStorage"] == {"whole": "😀"}


async def test_what_the_browser_says_of_itself_is_sealed_with_the_session(site, alice):
    cookies = signed_in_as("poshmark", "alice")
    said = {"languages": ["de-CH", "fr", "zh-Hant-TW"], "timeZone": "Asia/Calcutta"}
    profile = (await alice.sync("poshmark", cookies, **said)).json()["browserProfileId"]
    assert _part(await _opened(site, alice, profile), *said) == said
    await alice.sync("poshmark", cookies)  # an extension that does not say it yet
    assert _part(await _opened(site, alice, profile), *said) == {"languages": [], "timeZone": None}


@pytest.mark.parametrize(
    "zone", ["Etc/Unknown", "Mars/Olympus", "America", "+05:30", "CET-1CEST,M3", "../UTC", "a\0b", None]
)
async def test_a_time_zone_that_nobody_knows_counts_as_not_told(site, alice, zone):
    answer = await alice.sync("poshmark", signed_in_as("poshmark", "alice"), timeZone=zone)
    assert answer.status_code == 200, answer.text
    assert (await _opened(site, alice, answer.json()["browserProfileId"]))["timeZone"] is None


# ---- storage that nobody could look at ----

DEVICE = {"localStorage": {"_s_did": "device-1"}, "sessionStorage": {"step": "2"}}
NOT_SEEN = {"localStorage": None, "sessionStorage": None}


def _part(kept, *names):
    return {name: kept[name] for name in names}


async def test_a_capture_without_an_open_tab_keeps_the_storage_that_is_here(site, alice):
    cookies = signed_in_as("mercari", "alice")
    profile = (await alice.sync("mercari", cookies, **DEVICE)).json()["browserProfileId"]
    for _ in range(3):
        newer = [*cookies, cookie("fresh", "1", ".mercari.com")]
        assert (await alice.sync("mercari", newer, **NOT_SEEN)).status_code == 200
    kept = await _opened(site, alice, profile)
    assert _part(kept, *DEVICE) == DEVICE
    assert {one["name"] for one in kept["cookies"]} == {"_mwus", "fresh"}
    audit = await site.rows("SELECT purpose FROM vault_audit ORDER BY id")
    assert [one["purpose"] for one in audit] == ["keep its storage"] * 3 + ["test"]

    await alice.sync("mercari", cookies, localStorage={"_s_did": "device-2"}, sessionStorage=None)
    kept = await _opened(site, alice, profile)
    assert _part(kept, *DEVICE) == {**DEVICE, "localStorage": {"_s_did": "device-2"}}
    await alice.sync("mercari", cookies, localStorage={}, sessionStorage={})  # looked at, and empty
    kept = await _opened(site, alice, profile)
    assert _part(kept, *DEVICE) == {"localStorage": {}, "sessionStorage": {}}


async def test_an_account_never_gets_the_storage_of_another(site, alice, bob):
    profile = (await alice.sync("mercari", signed_in_as("mercari", "alice"), **DEVICE)).json()[
        "browserProfileId"
    ]
    # the same browser, signed in as somebody else there; the extension names the account that it knows
    other = await alice.sync("mercari", signed_in_as("mercari", "shop"), browserProfileId=profile, **NOT_SEEN)
    assert other.json()["browserProfileId"] != profile
    kept = await _opened(site, alice, other.json()["browserProfileId"])
    assert _part(kept, *DEVICE) == {"localStorage": {}, "sessionStorage": {}}
    bobs = await bob.sync("mercari", signed_in_as("mercari", "alice"), **NOT_SEEN)
    kept = await _opened(site, bob, bobs.json()["browserProfileId"])
    assert _part(kept, *DEVICE) == {"localStorage": {}, "sessionStorage": {}}
    assert _part(await _opened(site, alice, profile), *DEVICE) == DEVICE
    assert await site.rows("SELECT 1 FROM vault_audit WHERE purpose <> 'test'") == []


async def test_a_session_that_does_not_open_keeps_nobody_from_connecting_anew(site, alice):
    cookies = signed_in_as("mercari", "alice")
    profile = (await alice.sync("mercari", cookies, **DEVICE)).json()["browserProfileId"]
    await site.rows("UPDATE user_marketplace_sessions SET sealed = sealed || '\\x00'::bytea")
    assert (await alice.sync("mercari", cookies, **NOT_SEEN)).status_code == 200
    kept = await _opened(site, alice, profile)
    assert _part(kept, *DEVICE) == {"localStorage": {}, "sessionStorage": {}}


async def test_many_captures_at_once_do_not_wait_for_each_others_connections(site, alice):
    """Each holds a connection to the database and needs a second; the pool has 20."""
    cookies = signed_in_as("mercari", "alice")
    profile = (await alice.sync("mercari", cookies, **DEVICE)).json()["browserProfileId"]
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(alice.sync("mercari", cookies, **NOT_SEEN) for _ in range(25)))
    assert {answer.status_code for answer in answers} == {200}
    assert _part(await _opened(site, alice, profile), *DEVICE) == DEVICE


@pytest.mark.parametrize("marketplace", ["poshmark", "mercari", "ebay"])
async def test_garbled_cookies_are_no_reason_to_fall_over(site, alice, marketplace, subtests):
    names = ("ui", "_mwus", "jwt", "dp1", "nonsession", "ds2", "ebay")
    domain = {"poshmark": ".poshmark.com", "mercari": ".mercari.com", "ebay": ".ebay.com"}[marketplace]
    for value in ("", "%", "null", "[]", "{", "e30", "5", '"x"', "W10=", "a.b.c", "%7B%22uid%22%3A[]%7D"):
        with subtests.test(value):
            answer = await alice.sync(marketplace, [cookie(name, value, domain) for name in names])
            assert answer.status_code == 200, answer.text
            await site.rows("DELETE FROM connections")  # the next ones come anew, too


# ---- whose it is ----


async def test_the_account_in_the_session_decides(site, alice):
    first = await alice.connect("poshmark", "alice")
    second = await alice.connect("poshmark", "alices-other")
    assert first != second
    assert await alice.connect("poshmark", "alice") == first
    third = (await alice.sync("poshmark", signed_in_as("poshmark", "alice"), browserProfileId=second)).json()
    assert third["browserProfileId"] == first
    assert second in third["message"]
    assert len(await site.rows("SELECT 1 FROM connections")) == 2


async def test_without_an_account_the_only_connection_is_meant(site, alice):
    first = await alice.connect("mercari", None)
    assert await alice.connect("mercari", None) == first


async def test_a_session_that_does_not_say_whose_it_is_asks_which_account(site, alice):
    first, second = await alice.connect("poshmark", "alice"), await alice.connect("poshmark", "other")
    answer = await alice.sync("poshmark", signed_in_as("poshmark", None))
    assert (answer.status_code, answer.json()["error"]) == (409, "which_account")
    assert {one["browserProfileId"] for one in answer.json()["connections"]} == {first, second}
    named = await alice.sync("poshmark", signed_in_as("poshmark", None), browserProfileId=second)
    assert named.json()["browserProfileId"] == second


async def test_a_named_account_has_to_be_ones_own_and_of_that_marketplace(site, alice, bob):
    hers = await alice.connect("poshmark", "alice")
    before = await site.everything_of(alice)
    answer = await bob.sync("poshmark", signed_in_as("poshmark", None), browserProfileId=hers)
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    wrong = await alice.sync("mercari", signed_in_as("mercari", None), browserProfileId=hers)
    assert wrong.status_code == 400
    assert await site.everything_of(alice) == before


async def test_two_sellers_may_have_the_same_marketplace_account_each_their_own(site, alice, bob):
    assert await alice.connect("poshmark", "shared") != await bob.connect("poshmark", "shared")


async def test_two_handovers_at_once_make_one_connection(site, alice):
    profiles = await asyncio.gather(*(alice.connect("poshmark", "alice") for _ in range(6)))
    assert len(set(profiles)) == 1
    assert len(await site.rows("SELECT 1 FROM connections")) == 1


async def test_connecting_again_lets_what_waited_go_on(site, alice):
    profile = await alice.connect("mercari")
    await alice.publish(await alice.listing(), "mercari")
    question = {"reason": "session_expired", "message": "m", "url": None, "actions": []}
    await site.put(alice, needs_you=question)
    await site.rows("UPDATE connections SET needs_you = CAST(:q AS jsonb), refresh_asked_at = now()",
                    q=json.dumps(question))  # fmt: skip
    assert await alice.connect("mercari") == profile
    (connection,) = await site.rows("SELECT * FROM connections")
    assert (connection["needs_you"], connection["refresh_asked_at"]) == (None, None)
    assert connection["next_check_at"] is not None
    (publication,) = await site.rows("SELECT * FROM publications")
    assert (publication["needs_you"], publication["unsettled"]) == (None, True)


# ---- validate, refresh ----


async def test_validate_says_how_each_sign_in_stands(site, alice, bob):
    profile = await alice.connect("mercari")
    answer = (await alice.post("/api/sessions/validate", {"marketplace": "mercari"})).json()
    (one,) = answer["sessions"]
    assert (answer["valid"], one["status"], one["browserProfileId"]) == (True, "connected", profile)
    assert one["expiresAt"] is not None
    assert one["lastVerifiedAt"] is None
    everywhere = (await alice.post("/api/sessions/validate", {})).json()
    assert everywhere["valid"] is False
    assert {s["marketplace"]: s["status"] for s in everywhere["sessions"]} == {
        "mercari": "connected", "poshmark": "missing", "ebay": "missing",
    }  # fmt: skip
    assert {s["status"] for s in (await bob.post("/api/sessions/validate", {})).json()["sessions"]} == {
        "missing"
    }
    stolen = await bob.post("/api/sessions/validate", {"browserProfileId": profile})
    assert stolen.status_code == 404


@pytest.mark.parametrize("how", ["expires_at = now() - interval '1 second'", "failed_at = now()"])
async def test_validate_tells_an_expired_sign_in(site, alice, how):
    profile = await alice.connect("mercari")
    await site.rows(f"UPDATE user_marketplace_sessions SET {how}")
    answer = (await alice.post("/api/sessions/validate", {"browserProfileId": profile})).json()
    assert (answer["valid"], answer["sessions"][0]["status"]) == (False, "expired")


async def test_refresh_records_the_wish_and_wakes_a_check(site, alice, bob):
    profile = await alice.connect("mercari")
    await site.forget_wakes()
    assert (await bob.post("/api/sessions/refresh", {"browserProfileId": profile})).status_code == 404
    assert await site.wakes() == []
    answer = await alice.post("/api/sessions/refresh", {"marketplace": "mercari"})
    assert answer.status_code == 200
    assert answer.json()["sessions"][0]["refreshAskedAt"] is not None
    (connection,) = await site.rows("SELECT * FROM connections")
    assert connection["refresh_asked_at"] is not None
    assert len(await site.wakes()) == 1
    nothing = await alice.post("/api/sessions/refresh", {"marketplace": "ebay"})
    assert nothing.json()["sessions"][0]["status"] == "missing"
