"""A browser that is hired for each visit: asked for as Browser Use Cloud's documents have it, and always
given back. Their server is a script here; tests/test_agent_process.py has an agent in such a browser."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from everystall.browser import cloud
from everystall.browser.session import Storage, open_browser
from everystall.browser.targets import Site
from everystall.doctor import _chromium
from everystall.errors import BrowserNotStarted, Misconfigured
from everystall.settings import Settings
from everystall.worker.agents import why_absent
from tests import ways_out
from tests.browser_shop import shop
from tests.cloud_server import CloudServer
from tests.elsewhere import chromium_elsewhere

pytestmark = [pytest.mark.browser, pytest.mark.longer]

SITE = Site((), ("poshmark.localhost",))
away = ways_out.elsewhere


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """As theirs is: the address at which it says where its socket is."""
    with chromium_elsewhere(tmp_path_factory.mktemp("elsewhere")) as address:
        yield address.replace("ws://", "http://").partition("/devtools")[0]


@pytest.fixture
async def hiring(elsewhere):
    async with CloudServer(elsewhere) as server:
        yield server


@pytest.fixture
def settings(hiring, tmp_path):
    return Settings(_env_file=None, everystall_home=tmp_path, browser_use_url=hiring.url,
                    browser_use_api_key=SecretStr(hiring.key), page_seconds=20)  # fmt: skip


def of(name):
    return Storage.from_json({"cookies": [{"name": "who", "value": name, "domain": "poshmark.localhost"}]})


async def test_each_visit_has_a_browser_of_its_own_and_gives_it_back(hiring, settings):
    with shop() as stall:
        stall.show("/", "<p id=home>home</p>")

        async def visit(name):
            async with open_browser(site=SITE, base_url=stall.url(), storage=of(name), settings=settings,
                                    attachable=True) as browser:  # fmt: skip
                await browser.page.goto("/")
                assert browser.cdp_url == hiring.address
                assert hiring.running
                return await browser.page.read("() => document.cookie")

        assert await asyncio.gather(visit("alice"), visit("bob")) == ["who=alice", "who=bob"]
    assert [asked for asked in hiring.asked if asked[0] == "POST"] == [
        ("POST", "/api/v3/browsers", {"timeout": cloud.MINUTES})
    ] * 2
    assert hiring.running == set()


async def test_while_an_agent_works_there_no_request_gets_elsewhere(hiring, settings, away):
    """Sockets of workers, connections in advance and WebRTC do: docs/healing.md."""
    settings = settings.model_copy(update={"page_seconds": 60})
    with shop() as stall:
        ways = away.ways_from(stall)
        async with open_browser(site=SITE, base_url=stall.url(), storage=None, settings=settings,
                                attachable=True) as browser:  # fmt: skip
            await browser.page.goto("/sell")
            async with browser.only_listed():
                before = len(away.heard)
                await browser.page.raw.evaluate(ways)
                await asyncio.sleep(1)
                heard = set(away.heard[before:])
                assert heard <= {"/at-once-socket", "/shared-socket", "connected", "something"}
            before = len(away.heard)
            await browser.page.goto("/sell")
            await browser.page.raw.evaluate(ways)
            assert set(ways_out.REQUESTS) <= set(away.heard[before:])  # and so they are on the other rungs


async def test_it_is_given_back_whatever_ends_the_visit(hiring, settings):
    hiring.address = "http://127.0.0.1:9"  # nobody is there
    with capture_logs() as logs, pytest.raises(BrowserNotStarted) as failed:
        async with open_browser(site=SITE, base_url="http://poshmark.localhost:9", storage=None,
                                settings=settings):  # fmt: skip
            pass
    assert len(hiring.asked) == 2
    assert hiring.running == set()
    assert hiring.key not in str(logs) + str(failed.value)
    hiring.address = None
    with pytest.raises(BrowserNotStarted):
        async with open_browser(site=SITE, base_url="http://poshmark.localhost:9", storage=None,
                                settings=settings):  # fmt: skip
            pass
    assert hiring.running == set()


@pytest.mark.parametrize("status", [401, 402, 403, 422, 429, 500])
async def test_where_none_can_be_hired_no_visit_begins(hiring, settings, status):
    hiring.status = status
    with capture_logs() as logs, pytest.raises(BrowserNotStarted) as failed:
        async with open_browser(site=SITE, base_url="http://poshmark.localhost:9", storage=None,
                                settings=settings):  # fmt: skip
            pass
    assert hiring.running == set()
    assert hiring.key not in str(logs) + failed.value.message + failed.value.action


async def test_the_key_is_looked_at_before_a_worker_starts(hiring, settings):
    await cloud.check(settings)
    assert [method for method, *_ in hiring.asked] == ["GET"]
    wrong = settings.model_copy(update={"browser_use_api_key": SecretStr("bu_wrong")})
    with pytest.raises(Misconfigured, match="401"):
        await cloud.check(wrong)
    gone = settings.model_copy(update={"browser_use_url": "http://127.0.0.1:9/api/v3"})
    with pytest.raises(Misconfigured, match="cannot be reached"):
        await cloud.check(gone)
    said = await asyncio.to_thread(_chromium, settings, print)
    assert said == "Browser Use Cloud answers to BROWSER_USE_API_KEY"


def test_the_key_goes_to_an_https_address_only(tmp_path):
    with pytest.raises(ValidationError, match="https address"):
        Settings(_env_file=None, everystall_home=tmp_path, browser_use_url="http://api.example.com/api/v3")
    empty = Settings(_env_file=None, everystall_home=tmp_path, browser_use_api_key=SecretStr(""))
    assert not empty.browser_elsewhere


def test_an_agent_may_work_there_and_not_where_visits_share_a_browser(settings):
    model = {"openrouter_api_key": SecretStr("sk")}
    assert "BROWSER_CDP_URL" not in (why_absent(settings.model_copy(update=model)) or "")
    shared = {"browser_cdp_url": SecretStr("http://127.0.0.1:9")}
    absent = why_absent(settings.model_copy(update=model | shared)) or ""
    assert "BROWSER_CDP_URL" in absent or "not installed" in absent
