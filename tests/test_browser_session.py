"""A seller's sign-in in a browser of its own: it arrives whole, stays inside the walls and leaves nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
import time

import pytest
from structlog.testing import capture_logs

from everystall.browser.guard import Deadline
from everystall.browser.identity import override
from everystall.browser.session import Storage, living_folder, open_browser, sweep_folders
from everystall.browser.targets import Site, Target
from everystall.errors import BrowserEnded, BrowserNotStarted, Misconfigured, PageChanged
from everystall.settings import Settings
from tests.browser_shop import shop

pytestmark = pytest.mark.browser

CHROME = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/151.0.0.0 Safari/537.36"
)
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:150.0) Gecko/20100101 Firefox/150.0"
SITE = Site((), ("poshmark.localhost",), ("cdn.localhost",))


@pytest.fixture
def stall():
    with shop() as made:
        made.show("/", "<p id=home>home</p>")
        yield made


@pytest.fixture
def settings(tmp_path):
    return Settings(_env_file=None, everystall_home=tmp_path, locator_seconds=1, page_seconds=5)


def cookies_of(asked):
    return dict(part.split("=", 1) for part in asked[2].get("cookie", "").split("; ") if part)


async def test_cookies_of_the_extension_and_of_playwright_arrive_alike(stall, settings):
    soon = time.time() + 3600.5
    storage = Storage.from_json(
        {
            "cookies": [
                {"name": "theirs", "value": "1", "domain": "poshmark.localhost", "hostOnly": True,
                 "path": "/", "expirationDate": soon, "sameSite": "no_restriction", "secure": True,
                 "httpOnly": True,
                 "session": False, "storeId": "0"},
                {"name": "wide", "value": "2", "domain": ".poshmark.localhost", "hostOnly": False,
                 "path": "/", "sameSite": "unspecified"},
                {"name": "ours", "value": "3", "domain": "poshmark.localhost", "path": "/", "expires": soon,
                 "sameSite": "Lax", "secure": False, "httpOnly": False},
                {"name": "__Host-x", "value": "4", "domain": "poshmark.localhost", "secure": True},
                {"name": "__Host-broken", "value": "5", "domain": ".poshmark.localhost", "path": "/"},
            ]
        }
    )  # fmt: skip
    async with open_browser(site=SITE, base_url=stall.url(), storage=storage, settings=settings) as browser:
        await browser.page.goto("/")
        assert cookies_of(stall.asked[0]) == {"theirs": "1", "wide": "2", "ours": "3", "__Host-x": "4"}
        await browser.page.goto(f"http://sub.poshmark.localhost:{stall.port}/")
        sub = [asked for asked in stall.asked if asked[0].startswith("sub.")]
        assert cookies_of(sub[0]) == {"wide": "2"}
        back = {one["name"]: one for one in (await browser.storage()).to_json()["cookies"]}
    assert back["theirs"] == {
        "name": "theirs", "value": "1", "domain": "poshmark.localhost", "path": "/", "httpOnly": True,
        "secure": True, "expires": int(soon), "sameSite": "None",
    }  # fmt: skip
    assert back["wide"]["domain"] == ".poshmark.localhost"
    assert back["wide"]["expires"] == -1


@pytest.mark.longer
async def test_what_the_site_rotates_is_not_put_back(stall, settings):
    stall.show("/", """<script>
        const n = Number(localStorage.getItem('n')), s = Number(sessionStorage.getItem('s'));
        localStorage.setItem('n', n + 1); sessionStorage.setItem('s', s + 1);
        document.cookie = 'c=' + (n + 1);
        document.title = n + ' ' + s;</script>""")  # fmt: skip
    given = Storage.from_json({"localStorage": {"n": "5"}, "sessionStorage": {"s": "7"}})
    async with open_browser(site=SITE, base_url=stall.url(), storage=given, settings=settings) as browser:
        titles = []
        for _ in range(3):
            await browser.page.goto("/")
            titles.append(await browser.page.read("() => document.title"))
        assert titles == ["5 7", "6 8", "7 9"]
        now = (await browser.storage()).to_json()
    assert now["localStorage"] == {"n": "8"}
    assert now["sessionStorage"] == {"s": "10"}
    assert [(one["name"], one["value"]) for one in now["cookies"]] == [("c", "8")]
    assert Storage.from_json(now).to_json() == now


async def test_another_origin_does_not_get_the_storage(stall, settings):
    given = Storage.from_json({"localStorage": {"token": "mine"}})
    async with open_browser(site=SITE, base_url=stall.url(), storage=given, settings=settings) as browser:
        await browser.page.goto(f"http://sub.poshmark.localhost:{stall.port}/")
        assert await browser.page.read("() => Object.keys(localStorage)") == []
        kept = await browser.storage()
    assert kept.local == {"token": "mine"}


async def test_the_browser_is_the_sellers_own_in_words_and_in_hints(stall, settings):
    given = Storage.from_json({"userAgent": CHROME})
    async with open_browser(site=SITE, base_url=stall.url(), storage=given, settings=settings) as browser:
        await browser.page.goto("/")
        hints = await browser.page.read(
            "async () => [navigator.userAgent, (await navigator.userAgentData.getHighEntropyValues("
            "['fullVersionList', 'platformVersion']))]"
        )
    headers = stall.asked[0][2]
    assert headers["user-agent"] == hints[0] == CHROME
    assert '"Google Chrome";v="151"' in headers["sec-ch-ua"]
    assert "156" not in headers["sec-ch-ua"]
    assert headers["sec-ch-ua-platform"] == '"macOS"'
    assert {"brand": "Chromium", "version": "151.0.0.0"} in hints[1]["fullVersionList"]


@pytest.mark.longer
async def test_a_browser_that_sends_no_hints_sends_none_here(stall, settings):
    given = Storage.from_json({"userAgent": FIREFOX})
    async with open_browser(site=SITE, base_url=stall.url(), storage=given, settings=settings) as browser:
        await browser.page.goto("/")
    assert stall.asked[0][2]["user-agent"] == FIREFOX
    assert not [name for name in stall.asked[0][2] if name.startswith("sec-ch-ua")]


ITSELF = """async () => [navigator.languages.join(), Intl.DateTimeFormat().resolvedOptions().timeZone,
    new Date(0).getHours()]"""
IN_A_WORKER = """() => new Promise((done) => {
    const code = `(${ITSELF})().then(postMessage)`;
    new Worker(URL.createObjectURL(new Blob([code]))).onmessage = (said) => done(said.data);
})""".replace("${ITSELF}", ITSELF)


@pytest.mark.longer
async def test_the_browser_has_the_sellers_languages_and_time_zone(stall, settings):
    """Pages, frames of other sites and workers alike."""
    stall.show("/", f"<iframe src='http://cdn.localhost:{stall.port}/frame'></iframe>")
    stall.show("/frame", "theirs")
    said = {"userAgent": CHROME, "languages": ["de-CH", "fr"], "timeZone": "Asia/Calcutta"}
    given = Storage.from_json(said)
    async with open_browser(site=SITE, base_url=stall.url(), storage=given, settings=settings) as browser:
        await browser.page.goto("/")
        frame = browser.page.raw.frames[1]
        await frame.wait_for_load_state()
        told = [await browser.page.read(ITSELF), await frame.evaluate(ITSELF),
                await browser.page.read(IN_A_WORKER)]  # fmt: skip
        kept = (await browser.storage()).to_json()
    assert told == [["de-CH,fr", "Asia/Calcutta", 5]] * 3
    asked = {path: headers["accept-language"] for _, path, headers in stall.asked if path in ("/", "/frame")}
    assert asked == dict.fromkeys(("/", "/frame"), "de-CH,de;q=0.9,fr;q=0.8")
    assert {name: kept[name] for name in said} == said  # what a visit writes back says it still


async def test_a_browser_that_was_not_told_speaks_for_itself(stall, settings, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Lisbon")
    async with open_browser(site=SITE, base_url=stall.url(), storage=Storage(), settings=settings) as browser:
        await browser.page.goto("/")
        told = await browser.page.read(ITSELF)
    assert told[:2] == ["en-US,en", "Europe/Lisbon"]
    assert stall.asked[0][2]["accept-language"] == "en-US,en;q=0.9"


def test_hints_say_what_the_user_agent_says_and_no_more():
    edge = override(CHROME.replace("Macintosh; Intel Mac OS X 10_15_7", "Windows NT 10.0; Win64; x64")
                    + " Edg/151.0.0.0")["userAgentMetadata"]  # fmt: skip
    assert [one["brand"] for one in edge["brands"]][:2] == ["Chromium", "Microsoft Edge"]
    assert (edge["platform"], edge["platformVersion"], edge["mobile"]) == ("Windows", "", False)
    assert override(FIREFOX) == {"userAgent": FIREFOX}


@pytest.mark.longer
async def test_top_level_pages_stay_on_the_marketplaces_hosts(stall, settings):
    stall.show("/away", "", status=302, Location=f"http://evil.localhost:{stall.port}/")
    stall.show("/link", f"<a id=a href='http://evil.localhost:{stall.port}/'>go</a>")
    async with open_browser(site=SITE, base_url=stall.url(), storage=None, settings=settings) as browser:
        with pytest.raises(PageChanged, match=r"evil\.localhost"):
            await browser.page.goto("/away")
        await browser.page.goto("/link")
        await browser.page.read("() => document.querySelector('#a').click()")
        with pytest.raises(PageChanged, match=r"evil\.localhost"):
            await browser.page.wait_for(Target("the next page", ("#next",)))
        await browser.page.goto("/", ready=Target("home", ("#home",)))
    assert stall.paths("evil") == []


@pytest.mark.longer
async def test_a_popup_is_closed(stall, settings):
    stall.show("/", """<button id=b onclick="open('/one'); open('/two', '_blank', 'noopener')">
        open</button>""")  # fmt: skip
    async with open_browser(site=SITE, base_url=stall.url(), storage=None, settings=settings) as browser:
        await browser.page.goto("/")
        await browser.page.click(Target("the button", ("#b",)))
        context = browser.page.raw.context
        for _ in range(50):
            await browser.page.read("() => new Promise((done) => setTimeout(done, 50))")
            if len(context.pages) == 1:
                break
        assert context.pages == [browser.page.raw]


@pytest.mark.longer
async def test_parts_from_anywhere_are_recorded_and_shown_to_the_adapter(stall, settings):
    stall.show("/", f"""<img src=http://cdn.localhost:{stall.port}/a.png>
        <img src=http://tracker.localhost:{stall.port}/b.png>
        <iframe src=http://widget.localhost:{stall.port}/w></iframe>""")  # fmt: skip
    async with open_browser(site=SITE, base_url=stall.url(), storage=None, settings=settings) as browser:
        await browser.page.goto("/")
        await browser.page.raw.wait_for_load_state("load")
        assert browser.unlisted_hosts == {"tracker.localhost", "widget.localhost"}
        assert browser.navigations == [stall.url() + "/"]
    assert stall.paths("tracker") == ["/b.png"]
    assert stall.paths("widget")[0] == "/w"


@pytest.mark.longer
async def test_a_practice_marketplace_reaches_nothing_but_this_machine(stall, settings):
    """127.0.0.2 stands for an address elsewhere: nobody may be asked for it, though the shop would answer."""
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
    assert [host for host, _, _ in stall.asked if "localhost" not in host] == []


async def test_a_browser_leaves_neither_profile_nor_process(stall, settings, tmp_path):
    profiles = tmp_path / "run" / "profiles"
    async with open_browser(site=SITE, base_url=stall.url(), storage=None, settings=settings) as browser:
        await browser.page.goto("/")
        (folder,) = profiles.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(profiles.stat().st_mode) == 0o700
        assert processes_with(folder)
    assert list(profiles.iterdir()) == []
    assert processes_with(folder) == []


async def test_no_secret_stands_in_a_command_line_or_in_the_environment(
    stall, settings, tmp_path, monkeypatch
):
    monkeypatch.setenv("SESSION_ENCRYPTION_KEY", "canary-in-the-environment")
    given = Storage.from_json(
        {"cookies": [{"name": "a", "value": "canary-cookie", "domain": "poshmark.localhost"}],
         "localStorage": {"t": "canary-local"}, "userAgent": CHROME}
    )  # fmt: skip
    async with open_browser(site=SITE, base_url=stall.url(), storage=given, settings=settings) as browser:
        await browser.page.goto("/")
        for pid in processes_with(tmp_path):
            with open(f"/proc/{pid}/cmdline", "rb") as line, open(f"/proc/{pid}/environ", "rb") as env:
                assert b"canary" not in line.read() + env.read()
    assert "canary" not in repr(given)


@pytest.mark.parametrize("kind", ["a profile", "a guard's"])
async def test_leftovers_of_a_killed_worker_are_swept_and_the_living_are_left(settings, tmp_path, kind):
    if kind == "a profile":
        parent, make = tmp_path / "run" / "profiles", "living_folder(Path(sys.argv[1]))"
        parent.mkdir(parents=True)
    else:
        parent, make = tmp_path, "guards_folder()"
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from everystall.browser.session import guards_folder, living_folder\n"
        "async def main():\n"
        f"    async with {make} as folder:\n"
        "        print(folder, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    dead = subprocess.Popen([sys.executable, "-c", code, str(parent)], stdout=subprocess.PIPE, text=True)
    assert dead.stdout is not None
    left = dead.stdout.readline().strip()
    await sweep_folders(settings)
    assert os.path.isdir(left)
    dead.kill()
    dead.wait()
    dead.stdout.close()
    await sweep_folders(settings)
    assert not os.path.exists(left)


async def test_what_a_browser_writes_after_its_visit_is_swept(settings, tmp_path):
    profiles = tmp_path / "run" / "profiles"
    profiles.mkdir(parents=True)
    code = (
        "import contextlib, os, sys\n"
        "print(flush=True)\n"
        "while True:\n"
        "    with contextlib.suppress(OSError):\n"
        "        os.makedirs(sys.argv[1])\n"
    )
    async with living_folder(profiles) as folder:
        late = subprocess.Popen([sys.executable, "-c", code, str(folder / "Default")], stdout=subprocess.PIPE)
        assert late.stdout is not None
        late.stdout.readline()
    async with asyncio.timeout(20):
        while not folder.exists():
            await asyncio.sleep(0.01)
    late.kill()
    late.wait()
    late.stdout.close()
    os.utime(folder, (0, 0))  # its lock is gone: it is not swept in its first minute
    await sweep_folders(settings)
    assert not folder.exists()


async def test_a_data_folder_that_cannot_be_written_to_is_told(settings, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    wrong = settings.model_copy(update={"everystall_home": blocked})
    with pytest.raises(Misconfigured, match="EVERYSTALL_HOME"):
        async with open_browser(
            site=SITE, base_url="http://poshmark.localhost", storage=None, settings=wrong
        ):
            pass


@pytest.mark.longer
@pytest.mark.parametrize(
    ("script", "said", "cause"),
    [
        ("sleep 60", "too slow or short of memory", "Timeout 2000ms"),
        ("echo 'libnss3.so: cannot open' >&2; exit 127", "its Chromium does not work",
         "libnss3.so: cannot open · process did exit: exitCode=127"),
        ("kill -9 $$", "short of memory", "signal=SIGKILL"),
        (None, "not a program that this user can start", "CHROMIUM names"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("guarded", [False, True])
async def test_a_browser_that_does_not_start_is_this_machines_fault_and_the_log_says_why(
    settings, tmp_path, script, said, cause, guarded
):
    chromium = tmp_path / "chromium"
    if script is not None:
        chromium.write_text(f"#!/bin/sh\n{script}\n")
        chromium.chmod(0o700)
    slow = settings.model_copy(update={"chromium": chromium, "page_seconds": 2.0})
    with capture_logs() as logs, pytest.raises(BrowserNotStarted, match=said) as told:
        async with open_browser(site=SITE, base_url="http://poshmark.localhost", storage=None, settings=slow,
                                deadline=Deadline(20) if guarded else None):  # fmt: skip
            pass
    (line,) = [one for one in logs if one["event"] == "browser.not_started"]
    if not guarded or script is None or "sleep" in script:  # else it ends as the guard does
        assert cause in line["cause"]
    assert "<launching>" not in line["cause"]
    assert "marketplace" not in told.value.message
    assert told.value.code == "browser_not_started"


@pytest.mark.longer
async def test_a_long_data_folder_leaves_room_for_the_guards_socket(stall, settings, tmp_path):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    long = settings.model_copy(update={"everystall_home": deep})
    async with open_browser(
        site=SITE, base_url=stall.url(), storage=None, settings=long, deadline=Deadline(20)
    ) as browser:
        await browser.page.goto("/", ready=Target("home", ("#home",)))
    shutil.rmtree(deep)


def processes_with(path):
    """Of any process but our own whose command line names the folder; zombies have none."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                if str(path).encode() in line.read() and int(pid) != os.getpid():
                    found.append(int(pid))
        except OSError:
            continue
    return found


@pytest.mark.longer
@pytest.mark.parametrize("what", ["a cookie", "the page"])
async def test_what_is_asked_of_a_browser_that_ended_says_so(stall, settings, what):
    async with open_browser(site=SITE, base_url=stall.url(), storage=None, settings=settings) as browser:
        await browser.page.goto("/", ready=Target("home", ("#home",)))
        assert await browser.page.cookie("who") is None
        await browser.page.raw.context.close()
        with pytest.raises(BrowserEnded):
            await (browser.page.cookie("who") if what == "a cookie" else browser.page.read("() => 1"))
        assert browser.page.gone
