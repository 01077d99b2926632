"""The figures of the installation: for its owner's eyes and for Prometheus, sums only, and nobody else's."""

from __future__ import annotations

import asyncio
import re
import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from everystall.backup.making import make_on_shelf
from everystall.backup.shelf import Shelf, State
from everystall.db import Database
from everystall.vault.keyring import Keyring
from everystall.web.deps import Parts
from everystall.web.numbers import Numbers
from tests.api.conftest import ROOT
from tests.test_alerts import RULES

HTML = {"accept": "text/html"}
TOKEN = "a-token-for-the-metrics"


@pytest.fixture
async def owner(site):
    return await site.person("olga", "owner")


async def posted(site, seller, marketplace, *, state="live", seconds=60, hours=1):
    """A job's pair that ended some hours ago, so many seconds after it was asked for."""
    listing = await seller.listing(photos=0)
    await site.rows(
        """WITH c AS (INSERT INTO connections (user_id, public_id, marketplace, account_id, base_url)
                      VALUES (:u, 'bp_' || gen_random_uuid(), :m, CAST(gen_random_uuid() AS text), 'http://x')
                      RETURNING id, public_id),
                p AS (INSERT INTO publications (user_id, listing_id, connection_id, marketplace,
                          wanted_revision) SELECT :u, CAST(:l AS uuid), c.id, :m, 1 FROM c
                      RETURNING id, connection_id),
                j AS (INSERT INTO jobs (id, user_id, listing_id)
                      VALUES ('job_' || gen_random_uuid(), :u, CAST(:l AS uuid)) RETURNING id)
           INSERT INTO listing_automation_results (user_id, job_id, publication_id, listing_id, connection_id,
               marketplace, browser_profile_id, wanted_revision, state, created_at, started_at, finished_at)
           SELECT :u, j.id, p.id, CAST(:l AS uuid), p.connection_id, :m, c.public_id, 1, :state,
                  t - make_interval(secs => :s), t - make_interval(secs => :s / 2), t
           FROM c, p, j, LATERAL (SELECT now() - make_interval(hours => :h) AS t) t""",
        u=seller.user_id, l=listing, m=marketplace, state=state, s=seconds, h=hours,
    )  # fmt: skip


def figures(answer: httpx.Response) -> dict[tuple, float]:
    """(name, labels) → value"""
    return {
        (one.name, *sorted(one.labels.items())): one.value
        for family in text_string_to_metric_families(answer.text)
        for one in family.samples
    }


def chosen(site, **settings):
    parts: Parts = site.app.state.parts
    parts.settings = parts.following.began = site.settings.model_copy(update=settings)


def program(site, address="127.0.0.1", token=None):
    client = site.client(token, address)
    client.base_url = httpx.URL("http://127.0.0.1:8720")
    return client


async def test_the_owner_sees_how_posts_went_and_a_seller_sees_no_such_page(site, owner, alice, bob):
    for seconds in (10, 20, 30):
        await posted(site, alice, "poshmark", seconds=seconds)
    await posted(site, bob, "poshmark", state="reconciling")
    await posted(site, bob, "poshmark", state="cancelled")
    await posted(site, bob, "ebay", hours=50)
    for _ in range(3):
        await site.rows("SELECT everystall.note_failure('poshmark', 'post', 'page_changed')")
    page = await owner.get("/activity", headers=HTML)
    assert page.status_code == 200, page.text
    row = re.search(r"Poshmark</th>(.*?)</tr>", page.text, re.S)[1]
    assert re.findall(r">([^<>]+)</td>", row)[:5] == ["3", "75 %", "20 s", "29 s", "10 s"]
    assert "3 ×" in page.text
    assert "page_changed" in page.text
    assert re.search(r'eBay</th>\s*<td class="num" data-is="Went live">0<', page.text)
    assert "3 went live, 1 stopped" in page.text
    week = await owner.get("/activity?window=7d", headers=HTML)
    assert re.search(r'eBay</th>\s*<td class="num" data-is="Went live">1<', week.text)
    for seller in ("alice@example.com", "bob@example.com", "Linen shirt"):
        assert seller not in page.text
    for other in (await site.person("sam"), alice):
        assert (await other.get("/activity", headers=HTML)).status_code in (303, 404)
    assert (await (await site.person("sam")).get("/activity", headers=HTML)).status_code == 404


async def test_what_was_found_again_on_pages_is_counted_for_the_owner_and_in_metrics(site, owner, alice):
    for marketplace, locator, runs in (("poshmark", "#a", 3), ("poshmark", "#b", 1), ("ebay", "#a", 1)):
        for _ in range(runs):
            await site.rows(
                "SELECT everystall.note_heal(:m, 'the title', '/sell', :l, true, 'agent', '{}', '{}', NULL)",
                m=marketplace, l=locator,
            )  # fmt: skip
    page = await owner.get("/activity", headers=HTML)
    said = rf'Pages that changed</dt><dd><a href="{ROOT}/activity/healed">3 found again</a> <small>2 on trial'
    assert re.search(said, page.text)
    assert "by an agent" in (await owner.get("/activity/healed", headers=HTML)).text
    for other in (await site.person("sam"), alice):
        for path in ("/activity", "/activity/healed"):
            assert (await other.get(path, headers=HTML)).status_code in (303, 404)
    chosen(site, metrics_token=SecretStr(TOKEN))
    known = figures(await program(site, token=TOKEN).get("/metrics"))
    name = "everystall_healed_locators"
    assert known[name, ("marketplace", "poshmark"), ("state", "promoted")] == 1
    assert known[name, ("marketplace", "poshmark"), ("state", "candidate")] == 1
    assert known[name, ("marketplace", "ebay"), ("state", "candidate")] == 1


async def test_a_browser_that_does_not_start_is_for_who_runs_the_machine(site, owner, alice):
    await site.rows("SELECT everystall.note_failure('ebay', 'post', 'browser_not_started')")
    page = await owner.get("/activity", headers=HTML)
    assert "browser did not start: its machine is too slow, or short of memory." in page.text
    assert "Look at this machine: Whoever runs Everystall gives its machine more memory" in page.text
    assert (await alice.get("/activity", headers=HTML)).status_code in (303, 404)


async def test_that_no_worker_runs_is_known_two_minutes_after_the_last_sign_of_one(site, database_urls):
    database = Database(database_urls.login)

    async def known(after):
        asked = Numbers(database)
        asked._worker_seen -= after  # so long ago it began
        return await asked.without_workers()

    assert (await known(after=60), await known(after=130)) == (False, True)  # nobody ever stood there
    await site.rows("SELECT everystall.stand_worker(gen_random_uuid(), 'shed', 7, 'home', '1', 5, 2)")
    assert not await known(after=130)
    for seconds, gone in ((60, False), (130, True)):
        ago = f"now() - interval '{seconds} s'"
        await site.rows(f"UPDATE everystall.workers SET seen_at = {ago}")
        assert await known(after=1000) is gone
    await database.close()


async def test_while_the_database_was_away_no_worker_could_say_that_it_lives(site, database_urls):
    database = Database(database_urls.login)
    asked = Numbers(database)
    asked._worker_seen -= 600
    await site.rows("SELECT everystall.stand_worker(gen_random_uuid(), 'shed', 7, 'home', '1', 5, 2); ")
    await site.rows("UPDATE everystall.workers SET seen_at = now() - interval '10 minutes'")
    found = {}
    for ago in (5, 60, 130):
        database.absence.back_at = time.monotonic() - ago
        found[ago] = await asked.without_workers()
    assert found == {5: False, 60: False, 130: True}
    await database.close()


async def test_prometheus_reads_the_same_figures(site, alice, bob):
    await posted(site, alice, "poshmark", seconds=10)
    await posted(site, bob, "poshmark", state="reconciling")
    await site.rows("SELECT everystall.note_failure('ebay', 'look', 'marketplace_busy')")
    await site.rows(
        "SELECT everystall.stand_worker(gen_random_uuid(), 'shed', 7, 'home', '1', 5, 2), "
        "everystall.stand_worker('00000000-0000-0000-0000-000000000001', 'gone', 8, NULL, '1', 5, 2)"
    )
    await site.rows("UPDATE everystall.workers SET seen_at = now() - interval '1 minute' WHERE host = 'gone'")
    chosen(site, metrics_token=SecretStr(TOKEN))
    answer = await program(site, token=TOKEN).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    found = figures(answer)
    of = (("marketplace", "poshmark"), ("outcome", "live"), ("window", "24h"))
    assert found["everystall_posts", *of] == 1
    of = (("marketplace", "poshmark"), ("quantile", "0.95"), ("window", "7d"))
    assert found["everystall_post_seconds", *of] == 10
    assert found["everystall_post_visit_seconds", ("marketplace", "poshmark"), ("window", "24h")] == 5
    of = (("code", "marketplace_busy"), ("marketplace", "ebay"), ("window", "24h"))
    assert found["everystall_failures", *of] == 1
    assert found["everystall_due", ("kind", "other")] == 2
    assert found["everystall_due_oldest_seconds",] >= 0
    assert found["everystall_workers",] == 1
    assert found["everystall_visits_running", ("host", "shed"), ("pid", "7")] == 2
    assert found["everystall_accounts", ("marketplace", "poshmark"), ("state", "fine")] == 2
    assert "alice" not in answer.text
    assert "python_gc" not in answer.text


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("192.0.2.7", {}),
        ("127.0.0.1", {"x-forwarded-for": "192.0.2.7"}),
        ("127.0.0.1", {"host": "everystall.test"}),
        ("127.0.0.1", {"sec-fetch-site": "cross-site"}),
        ("127.0.0.1", {"authorization": f"Bearer {TOKEN}"}),
    ],
)
async def test_without_a_token_metrics_are_this_machines_programs_alone(site, address, headers):
    """The last: a token that is nobody's opens nothing for a machine elsewhere."""
    chosen(site, public_url="http://127.0.0.1:8720")
    assert (await program(site).get("/metrics")).status_code == 200
    answer = await program(site, "192.0.2.7" if "authorization" in headers else address).get(
        "/metrics", headers=headers
    )
    assert answer.status_code == 403
    assert "everystall_" not in answer.text


async def test_without_a_token_metrics_are_nobodys_behind_a_proxy(site, alice, bob):
    """One that adds no header of its own and asks for 127.0.0.1: its requests look like this machine's."""
    answer = await program(site).get("/metrics")
    assert answer.status_code == 403
    assert answer.json()["error"] == "not_allowed"
    assert "METRICS_TOKEN" in answer.json()["action"]


async def test_with_a_token_only_who_has_it_reads_metrics(site):
    chosen(site, metrics_token=SecretStr(TOKEN), public_url="http://127.0.0.1:8720")
    refused = await program(site).get("/metrics")
    assert refused.status_code == 401
    assert "METRICS_TOKEN" in refused.json()["action"]
    assert TOKEN not in refused.text
    elsewhere = program(site, "192.0.2.7")
    wrong = {"authorization": "Bearer a-guess"}
    assert (await elsewhere.get("/metrics", headers=wrong)).status_code == 401
    right = {"authorization": f"Bearer {TOKEN}"}
    assert (await elsewhere.get("/metrics", headers=right)).status_code == 200


async def test_many_who_ask_at_once_cost_one_reading(site, alice):
    numbers = Numbers(site.database)
    first = await numbers.window("24h")
    await posted(site, alice, "poshmark")
    assert await numbers.window("24h") is first
    assert (await Numbers(site.database).window("24h")).posts["poshmark"].live == 1


async def test_metrics_have_what_alerts_are_made_of(site, alice, bob):
    """What the rules of deploy/alerts.yaml name, labels and all; of all sellers, and nobody's name."""
    await posted(site, alice, "poshmark")
    await posted(site, bob, "mercari", state="reconciling")
    for code in ("page_changed", "browser_ended"):
        await site.rows("SELECT everystall.note_failure('poshmark', 'post', :code)", code=code)
    await site.rows(
        "SELECT everystall.note_heal('ebay', 'the title', '/sell', '#a', true, 'agent', '{}', '{}', NULL)"
    )
    await site.rows(
        "UPDATE connections SET watch_told_at = now(), blind_since = now() WHERE user_id = :id",
        id=alice.user_id,
    )
    await site.rows(
        "UPDATE connections SET blind_since = now(), needs_you = '{\"reason\": \"disconnected\"}' "
        "WHERE user_id = :id", id=bob.user_id,
    )  # fmt: skip
    for seller, cents in ((alice, 301), (bob, 299)):
        await site.rows(
            "INSERT INTO model_answers (user_id, kind, content_hash, cost) VALUES (:id, 'copy', 'x', :cost)",
            id=seller.user_id, cost=cents * 10_000,
        )  # fmt: skip
    await site.rows(
        """WITH p AS (UPDATE publications SET wanted = 'ended', put = 'live', state = 'ending'
                      RETURNING id, user_id, connection_id, listing_id, marketplace),
                s AS (INSERT INTO sales (user_id, connection_id, order_id, listing_id, title, quantity)
                      SELECT user_id, connection_id, 'o1', listing_id, 'x', 1 FROM p RETURNING id, user_id)
           INSERT INTO take_downs (user_id, sale_id, publication_id, marketplace, asked_at, told_at)
           SELECT p.user_id, s.id, p.id, p.marketplace,
                  now() - make_interval(mins => CASE WHEN p.user_id = :id THEN 6 ELSE 4 END), now()
           FROM p JOIN s USING (user_id)""",
        id=alice.user_id,
    )
    shelf = Shelf(site.settings)
    shelf.tell(State("backup", "failed", message="no room"))
    chosen(site, metrics_token=SecretStr(TOKEN))
    answer = await program(site, token=TOKEN).get("/metrics")
    found = figures(answer)
    assert (found["everystall_blind_accounts",], found["everystall_late_take_downs",]) == (1, 1)
    assert found["everystall_sellers_without_budget",] == 1
    assert found["everystall_database_connections", ("state", "at_most")] == 20
    assert found["everystall_disk_bytes", ("state", "free"), ("what", "home")] > 0
    assert found["everystall_backup_failed",] == 1
    for hidden in ("alice", "bob@", "example.com", str(site.settings.everystall_home)):
        assert hidden not in answer.text
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    for name, rule in RULES.items():
        named = re.findall(r"(everystall_\w+)(?:\{([^}]*)\})?", rule["expr"])
        assert named or name == "EverystallDown", name
        for metric, labels in named:
            if metric == "everystall_backup_timestamp_seconds":
                continue  # there is no backup here
            assert metric in families, (name, metric)
            for label, sign, value in re.findall(r'(\w+)(=~|!~|=)"([^"]*)"', labels):
                values = {one.labels[label] for one in families[metric].samples}
                if sign == "=":
                    assert value in values, (name, metric, label)
                elif sign == "=~":
                    assert any(re.fullmatch(value, one) for one in values), (name, metric, label)


async def test_what_fails_for_days_is_failing_lately_too_and_what_is_over_is_not(site):
    """What alerts look at: a difference of the window of 24 hours would be none after a day."""
    await site.rows(
        "INSERT INTO everystall.failures (hour, marketplace, step, code, number) "
        "SELECT date_trunc('hour', now()) - make_interval(hours => ago), name, 'post', 'page_changed', 30 "
        "FROM generate_series(0, 50) AS ago, unnest('{ebay,mercari}'::text[]) AS name "
        "WHERE name = 'ebay' OR ago > 2"
    )
    chosen(site, metrics_token=SecretStr(TOKEN))
    found = figures(await program(site, token=TOKEN).get("/metrics"))
    lately = ("code", "page_changed"), ("marketplace", "ebay"), ("window", "2h")
    assert found["everystall_failures", *lately] == 60
    over = ("code", "page_changed"), ("marketplace", "mercari"), ("window", "2h")
    assert ("everystall_failures", *over) not in found


async def test_the_newest_backup_here_is_a_figure(site, database_urls):
    chosen(site, metrics_token=SecretStr(TOKEN))
    before = figures(await program(site, token=TOKEN).get("/metrics"))
    assert not {name for name, *_ in before if "backup" in name}
    shelf = Shelf(site.settings)
    shelf.make()
    keyring = Keyring.load(site.settings)
    settings = site.settings.model_copy(update={"database_admin_url": SecretStr(database_urls.admin)})
    await asyncio.to_thread(make_on_shelf, settings, keyring, "asked")
    found = figures(await program(site, token=TOKEN).get("/metrics"))
    assert abs(found["everystall_backup_timestamp_seconds",] - time.time()) < 60
    assert found["everystall_backup_failed",] == 0
