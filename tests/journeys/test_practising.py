"""The switch to the practice marketplaces, through a real `everystall up` and a seller's own browser."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from everystall.demo import own_browser as sellers
from everystall.demo.practice import MARKETS_PORT
from everystall.extension import marketplaces
from everystall.inventory.sample import LISTING
from everystall.processes import free_port, is_free
from everystall.settings import Settings

pytestmark = [pytest.mark.journey, pytest.mark.longer]

PASSWORD = "correct horse battery"
SWITCH = "Try it on the practice marketplaces"
#: Milliseconds that a change from one Everystall to the other may take on a busy machine.
CHANGE = 600_000
#: Tells of each press, and of each field that something is typed into.
HANDS = """
const typed = new WeakSet();
addEventListener('pointerdown', () => hand('presses'), true);
addEventListener('input', ({target}) => {
  if (target.matches('[type=checkbox], [type=radio]') || typed.has(target)) return;
  typed.add(target);
  hand('fields');
}, true);
"""
#: docs/practice.md says how many.
HANDS_NEEDED = {"presses": 13, "fields": 6}


@dataclass
class Up:
    """`everystall up` for the real marketplaces; as much of a stage as a seller's browser needs."""

    settings: Settings
    url: str
    first_link: str
    log: Path
    clients: list[httpx.Client] = field(default_factory=list)

    def site(self, marketplace: str) -> str:
        return f"http://{marketplace}.localhost:{MARKETS_PORT}"


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    home, port, log = tmp_path / "home", free_port(), tmp_path / "log"
    ours = {name.upper() for name in Settings.model_fields} - {"CHROMIUM"}
    env = {name: value for name, value in os.environ.items() if name not in ours}
    env |= {"EVERYSTALL_HOME": str(home), "EVERYSTALL_PORT": str(port), "PYTHONPATH": os.getcwd()}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "everystall", "up"], cwd=tmp_path, env=env, stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + 600
        while "Ctrl-C ends it." not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        link = re.search(r"http://\S+/first\?token=\S+", log.read_text())
        assert link is not None
        settings = Settings(_env_file=None, everystall_home=home, everystall_port=port)
        up = Up(settings, f"http://127.0.0.1:{port}", link[0], log)
        yield up
        for client in up.clients:
            client.close()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 0, log.read_text()[-3000:]
    assert "Traceback" not in log.read_text()


class Person:
    """Somebody's pages over HTTP alone, with one cookie all the while."""

    def __init__(self, up: Up, path: str, **given: str) -> None:
        headers = {"Origin": up.url, "Accept": "text/html"}
        self.http = httpx.Client(base_url=up.url, headers=headers, trust_env=False, timeout=60)
        up.clients.append(self.http)
        came_in = self.http.post(path, data={**given, "password": PASSWORD})
        assert came_in.status_code == 303, came_in.text
        self.http.cookies.clear()  # it is a secure one, which httpx sends to no http
        self.http.headers["Cookie"] = came_in.headers["set-cookie"].partition(";")[0]

    def read(self, path: str = "/") -> str:
        """None of it while nothing answers, or the page leads elsewhere."""
        try:
            answer = self.http.get(path)
        except httpx.TransportError:
            return ""
        return answer.text if answer.status_code == 200 else ""

    def press(self, path: str) -> httpx.Response:
        csrf = re.search(r'name="csrf" value="([^"]+)"', self.read("/settings"))
        assert csrf is not None
        return self.http.post(path, data={"csrf": csrf[1]})

    def until(self, said: str, path: str = "/") -> str:
        deadline = time.monotonic() + CHANGE / 1000
        while said not in (page := self.read(path)):
            assert time.monotonic() < deadline, page
            time.sleep(0.3)
        return page


@pytest.mark.extended
def test_the_owner_changes_to_practice_and_back_and_is_told_when_it_cannot_be(up: Up):
    token = up.first_link.partition("token=")[2]
    alice = Person(up, "/first", token=token, email="alice@example.com")
    with socket.socket() as taken:  # somebody else's: it is said, and nothing was stopped for it
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", MARKETS_PORT))
        taken.listen()
        assert alice.press("/practice").headers["location"] == "/practice"
        alice.until(f"Port {MARKETS_PORT} on 127.0.0.1 is taken")
    assert "web and worker" not in up.log.read_text()

    assert alice.press("/practice").headers["location"] == "/practice"
    assert "Starting the practice marketplaces" in alice.read("/practice")
    there = alice.until("These are practice marketplaces")  # signed in, without having done so here
    assert "taken" not in there
    assert "alice@example.com" in there
    assert not is_free(MARKETS_PORT)
    assert Person(up, "/sign-in", email="alice@example.com").read()  # and by the same password
    made = alice.press("/today/sample").headers["location"]
    assert LISTING["title"] in alice.read("/inventory")
    assert not (up.settings.everystall_home / "switch.json").exists()

    assert alice.press("/practice/end").headers["location"] == "/practice"
    here = alice.until(SWITCH)
    assert "These are practice marketplaces" not in here
    assert LISTING["title"] not in alice.read("/inventory")  # nothing of it came here
    assert alice.http.get(made).status_code == 404
    assert is_free(MARKETS_PORT)


@pytest.mark.extended
@pytest.mark.browser
async def test_from_an_empty_everystall_to_a_live_practice_listing_and_back_by_the_pages_alone(up: Up):
    async with sellers.own_browser(up) as browser:
        hands = Counter[str]()
        await browser.context.expose_binding("hand", lambda _, what: hands.update([what]))
        await browser.context.add_init_script(HANDS)
        began, page = time.monotonic(), await browser.context.new_page()
        await page.goto(up.first_link)
        await page.get_by_label("E-mail address").fill("alice@example.com")
        await page.get_by_label("Password", exact=True).fill(PASSWORD)
        await page.get_by_role("button", name="Make my account").click()
        await page.get_by_role("heading", name="What to do next").wait_for()

        await _press(page, SWITCH)
        await page.get_by_role("heading", name="Starting the practice marketplaces…").wait_for()
        await page.get_by_role("heading", name="These are practice marketplaces").wait_for(timeout=CHANGE)
        assert page.url == f"{up.url}/"  # it came back by itself, and is signed in
        await _connect_and_post(up, browser, page)
        took = time.monotonic() - began
        sys.stdout.write(f"From the first link to a live listing: {took:.0f} s, {dict(hands)}\n")
        assert took < 300
        assert hands == HANDS_NEEDED
        await _bob_sees_nothing(up, page)

        await page.goto(f"{up.url}/settings#practice")
        await _press(page, "Back to my own Everystall")
        await page.get_by_role("button", name="Go back", exact=True).click()
        await page.get_by_role("heading", name="Going back to your own Everystall…").wait_for()
        await page.get_by_role("button", name=SWITCH).wait_for(timeout=CHANGE)
        assert await page.get_by_role("heading", name="These are practice marketplaces").count() == 0
        assert await page.get_by_text("0 of 4 done.").is_visible()  # nothing of it came here
        assert is_free(MARKETS_PORT)


async def _connect_and_post(up: Up, browser: Any, page: Any) -> None:
    """The browser is paired, an account of one marketplace connected, the sample posted to it, and live."""
    await page.get_by_role("link", name="Get the extension").click()
    await page.get_by_role("link", name="I have it: pair").click()
    await _press(page, "Pair a browser")
    code = await page.locator("#code").inner_text()
    # Chromium asks about hosts only what nobody answers in a headless one
    await browser.say_yes_to(*(host for one in marketplaces(practice=True).values() for host in one["hosts"]))
    popup = await browser.popup()
    await popup.get_by_label("Address of your server").fill(up.url)
    await popup.get_by_label("Code").fill(code)
    await _press(popup, "Continue")
    await _press(popup, "Yes, pair this browser")
    await sellers.sign_in(up, browser, "mercari", "alice")
    await sellers.connect(popup, "mercari")
    await sellers.until(popup, "mercari", "connected", timeout=120_000)

    await page.bring_to_front()
    await page.get_by_role("link", name="Today", exact=True).click()
    await _press(page, "Take a sample")
    await _press(page, "Post to all that are checked")
    await page.locator("li.stall .chip", has_text="Live").wait_for(timeout=240_000)


async def _bob_sees_nothing(up: Up, page: Any) -> None:
    await page.goto(f"{up.url}/account")
    await page.get_by_text("Invite somebody").click()
    await page.get_by_label("E-mail address", exact=True).fill("bob@example.com")
    await _press(page, "Make the link")
    link = await page.locator("#link").inner_text()
    bob = Person(up, "/invitation", token=link.partition("token=")[2])
    assert bob.read("/inventory")
    assert LISTING["title"] not in bob.read("/inventory")


async def _press(page: Any, name: str) -> None:
    await page.get_by_role("button", name=name).click()
