"""A Chromium that runs elsewhere, by its DevTools address: each visit apart, inside the same walls."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from everystall import doctor
from everystall.browser import evidence, remote
from everystall.browser.guard import Deadline
from everystall.browser.session import Storage, open_browser
from everystall.browser.targets import Site, Target
from everystall.errors import BrowserNotStarted, LeaseLost, Misconfigured, PageChanged
from everystall.marketplaces.base import PhotoFile
from everystall.settings import Settings
from tests.browser_shop import shop
from tests.elsewhere import chromium_elsewhere

pytestmark = pytest.mark.browser

AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/151.0.0.0 Safari/537.36"
)
SITE = Site((), ("poshmark.localhost",))
GO = Target("the button that publishes", ("#go",), effect="commit")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    with chromium_elsewhere(tmp_path_factory.mktemp("elsewhere")) as address:
        yield address


@pytest.fixture
def settings(elsewhere, tmp_path):
    return Settings(_env_file=None, everystall_home=tmp_path, browser_cdp_url=SecretStr(elsewhere),
                    locator_seconds=1, page_seconds=10, commit_click_seconds=1)  # fmt: skip


@pytest.fixture
def stall():
    with shop() as made:
        made.show("/", "<p id=home>home</p>")
        yield made


def of(name):
    return Storage.from_json({
        "cookies": [{"name": "who", "value": name, "domain": "poshmark.localhost"}],
        "localStorage": {"who": name}, "userAgent": AGENT,
    })  # fmt: skip


@pytest.mark.longer
async def test_two_visits_at_once_know_nothing_of_each_other_and_leave_nothing(stall, settings, tmp_path):
    async def visit(name):
        given = of(name)
        async with open_browser(site=SITE, base_url=stall.url(), storage=given, settings=settings) as browser:
            await browser.page.goto("/")
            await asyncio.sleep(0.2)
            seen = await browser.page.read("() => [document.cookie, localStorage.who, navigator.userAgent]")
            return seen, (await browser.storage()).to_json()

    for (seen, kept), name in zip(
        await asyncio.gather(visit("alice"), visit("bob")), ("alice", "bob"), strict=True
    ):
        assert seen == [f"who={name}", name, AGENT]
        assert kept == {**of(name).to_json(), "cookies": kept["cookies"]}
        assert [one["value"] for one in kept["cookies"]] == [name]
    hints = {asked[2].get("sec-ch-ua-platform") for asked in stall.asked if asked[1] == "/"}
    assert hints == {'"Windows"'}
    async with open_browser(site=SITE, base_url=stall.url(), storage=None, settings=settings) as browser:
        await browser.page.goto("/")
        assert await browser.page.read("() => [document.cookie, localStorage.length]") == ["", 0]
    assert not (tmp_path / "run" / "profiles").exists()


async def test_its_page_has_the_sellers_languages_and_time_zone(stall, settings):
    storage = Storage(user_agent=AGENT, languages=("de-CH", "fr"), time_zone="Asia/Calcutta")
    async with open_browser(site=SITE, base_url=stall.url(), storage=storage, settings=settings) as browser:
        await browser.page.goto("/")
        said = await browser.page.raw.evaluate(
            "[navigator.languages.join(), Intl.DateTimeFormat().resolvedOptions().timeZone]"
        )
    assert said == ["de-CH,fr", "Asia/Calcutta"]


async def test_what_the_site_rotates_comes_back(stall, settings):
    stall.show("/", "<script>document.cookie = 'who=rotated'; localStorage.who = 'rotated'</script>")
    given = of("alice")
    async with open_browser(site=SITE, base_url=stall.url(), storage=given, settings=settings) as browser:
        await browser.page.goto("/")
        kept = (await browser.storage()).to_json()
    assert [one["value"] for one in kept["cookies"]] == ["rotated"]
    assert kept["localStorage"]["who"] == "rotated"


async def test_top_level_pages_stay_on_the_marketplaces_hosts(stall, settings):
    stall.show("/away", "", status=302, Location=f"http://evil.localhost:{stall.port}/")
    async with open_browser(site=SITE, base_url=stall.url(), storage=None, settings=settings) as browser:
        with pytest.raises(PageChanged, match=r"evil\.localhost"):
            await browser.page.goto("/away")
    assert stall.paths("evil") == []


async def test_a_practice_marketplace_reaches_its_own_machine_only_and_evidence_is_taken(
    stall, settings, tmp_path
):
    stall.show("/", f"<p>home</p><img src=http://cdn.localhost:{stall.port}/a.png>")
    async with open_browser(site=SITE, base_url=stall.url(), storage=None, settings=settings) as browser:
        await browser.page.goto("/")
        for address in (
            f"http://127.0.0.2:{stall.port}/",
            f"http://[::1]:{stall.port}/",
            "http://name.invalid/",
        ):
            said = await browser.page.read(
                "(url) => fetch(url, {mode: 'no-cors'}).then(() => 'reached', () => 'not reached')", address
            )
            assert said == "not reached", address
        files = {}

        async def keep(name, data):
            files[name] = data

        kept = await evidence.capture(browser.page, keep, [])
        assert len(files[kept["screenshot"]]) > 1000
        assert browser.unlisted_hosts == {"cdn.localhost", "127.0.0.2", "::1", "name.invalid"}
    assert stall.paths("cdn") == ["/a.png"]
    assert [host for host, _, _ in stall.asked if "localhost" not in host] == []


async def test_photos_go_there_as_bytes(stall, settings):
    stall.show("/", """<input type=file id=f multiple onchange="
        Promise.all([...this.files].map(one => one.text())).then(texts => document.title = texts.join())
        ">""")  # fmt: skip
    async with open_browser(site=SITE, base_url=stall.url(), storage=None, settings=settings) as browser:
        await browser.page.goto("/")
        files = [PhotoFile(f"{n}.jpg", "image/jpeg", f"photo {n}".encode()) for n in (1, 2)]
        await browser.page.set_files(Target("the file field", ("#f",)), files)
        await browser.page.raw.wait_for_function("document.title == 'photo 1,photo 2'")


async def test_past_the_deadline_nothing_is_clicked(stall, settings):
    stall.show("/", "<button id=go onclick=\"fetch('/clicked')\">go</button>")
    deadline = Deadline(5)
    async with open_browser(
        site=SITE, base_url=stall.url(), storage=None, settings=settings, deadline=deadline
    ) as browser:
        await browser.page.goto("/")
        deadline.until = 0
        with pytest.raises(LeaseLost):
            await browser.page.commit(GO)
    assert "/clicked" not in stall.paths("poshmark")


async def test_a_worker_that_is_killed_leaves_no_page_there(stall, settings, tmp_path):
    """Chromium closes a context whose client is gone."""
    script = tmp_path / "killed.py"
    script.write_text(
        "import asyncio, os, sys\nfrom pathlib import Path\n"
        "from everystall.browser.session import open_browser\nfrom everystall.browser.targets import Site\n"
        "from everystall.settings import Settings\n"
        "async def main():\n"
        "    home, there, shop = sys.argv[1:]\n"
        "    settings = Settings(_env_file=None, everystall_home=Path(home), browser_cdp_url=there)\n"
        "    given = {'site': Site((), ()), 'base_url': shop, 'storage': None, 'settings': settings}\n"
        "    async with open_browser(**given) as b:\n"
        "        await b.page.goto('/')\n        os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    stall.show("/", "<script>setInterval(() => fetch('/beat'), 50)</script>")
    address = settings.browser_cdp_url.get_secret_value()
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, tmp_path, address, stall.url(), env={"PYTHONPATH": str(Path.cwd())}
    )
    await process.wait()
    for _ in range(50):
        before = len(stall.asked)
        await asyncio.sleep(0.3)
        if len(stall.asked) == before:
            return
    raise AssertionError("its page is still there")


async def test_an_address_where_nobody_answers_is_told_without_what_it_holds(tmp_path, stall):
    gone = SecretStr("ws://127.0.0.1:9/CANARY")
    settings = Settings(_env_file=None, everystall_home=tmp_path, browser_cdp_url=gone, page_seconds=3)
    with pytest.raises(Misconfigured) as said:
        await remote.find_version(settings)
    assert "CANARY" not in said.value.message + said.value.action
    with capture_logs() as logs, pytest.raises(BrowserNotStarted, match="did not start") as told:
        async with open_browser(site=SITE, base_url=stall.url(), storage=None, settings=settings):
            pass
    (line,) = [one for one in logs if one["event"] == "browser.not_started"]
    assert "ECONNREFUSED" in line["cause"]
    assert "CANARY" not in f"{line} {told.value.as_json()}"


def test_the_doctor_asks_the_browser_elsewhere(settings):
    assert "answers at BROWSER_CDP_URL" in doctor._chromium(settings, print)
