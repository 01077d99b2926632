"""agent/ as a process: what it asks of whoever started it, and what it cannot do. Each is a trap of
browser-use 0.13.14 that somebody fell into."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
import tomllib
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Dialog
from playwright.async_api import Error as PlaywrightError
from pydantic import SecretStr

from everystall.browser import agent
from everystall.browser.session import open_browser
from everystall.browser.targets import Site
from everystall.settings import Settings
from tests.browser_shop import shop
from tests.cloud_server import CloudServer
from tests.elsewhere import chromium_elsewhere

pytestmark = [pytest.mark.browser, pytest.mark.longer]

PAGE = """<h1>Sell</h1><button type=button id=more>Show more</button><input type=file id=photos>
<label>Title <input id=title value='as it stands'></label><textarea aria-label=Notes>kept in there</textarea>
<input type=number aria-label=Zip value=97201><div contenteditable aria-label=Words>typed in here</div>
<input type=button value='Go further'><button id=list>List it</button>"""


@dataclass
class Talk:
    """All that it said, and what became of the browser meanwhile."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    schemas: list[str] = field(default_factory=list)
    pressed: str | None = None
    answered_yes: bool | None = None
    tabs: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def end(self) -> dict[str, Any]:
        return self.asked[-1]


@pytest.fixture(scope="module", params=["own", "hired"])
async def talk(request, tmp_path_factory):
    """In a browser of ours, and in one of Browser Use Cloud's (here another Chromium, over its port)."""
    settings = Settings(_env_file=None, everystall_home=tmp_path_factory.mktemp("home"), page_seconds=60)
    site = Site(obstacles=(), domains=())
    async with AsyncExitStack() as stack:
        if request.param == "hired":
            there = stack.enter_context(chromium_elsewhere(tmp_path_factory.mktemp("elsewhere")))
            there = there.replace("ws://", "http://").partition("/devtools")[0]
            server = await stack.enter_async_context(CloudServer(there))
            more = {"browser_use_url": server.url, "browser_use_api_key": SecretStr(server.key)}
            settings = settings.model_copy(update=more)
        stall = stack.enter_context(shop())
        stall.show("/sell", PAGE)
        stall.show("/theirs", "<title>Another seller's secret page</title>")
        async with open_browser(site=site, base_url=stall.url(), storage=None, settings=settings,
                                attachable=True) as browser:  # fmt: skip
            other = await browser.page.raw.context.new_page()
            await other.goto(stall.url("mercari") + "/theirs")
            await browser.page.goto("/sell")
            made = await _talk(browser)
            made.tabs = [page.url for page in browser.page.raw.context.pages]
            made.paths = [path for _, path, _ in stall.asked]
            yield made


async def _talk(browser) -> Talk:
    made, raw = Talk(), browser.page.raw
    cdp = await raw.context.new_cdp_session(raw)
    here = (await cdp.send("Target.getTargetInfo"))["targetInfo"]["targetId"]
    async with asyncio.timeout(300), agent._process() as (reader, writer):

        async def say(what: dict[str, Any]) -> None:
            writer.write(json.dumps(what).encode() + b"\n")
            await writer.drain()

        await say({"cdp_url": browser.cdp_url, "target_id": here, "task": "The step.", "rules": "Rules.",
                   "steps": 10})  # fmt: skip
        while line := await reader.readline():
            asked = json.loads(line)
            made.asked.append(asked)
            match asked["do"]:
                case "end":
                    return made
                case "model":
                    made.prompts.append(json.dumps(asked["messages"], ensure_ascii=False))
                    made.schemas.append(json.dumps(asked["schema"]))
                    if len(made.prompts) == 1:
                        made.answered_yes = await _ask(browser.page)
                    action = _turns(made)[len(made.prompts) - 1]
                    text = json.dumps({"memory": "", "action": [action]})
                    await say({"text": text, "tokens_in": 10, "tokens_out": 2})
                case "press":
                    node = await cdp.send("DOM.describeNode", {"backendNodeId": asked["node"]})
                    names = node["node"]["attributes"]
                    made.pressed = names[names.index("id") + 1]
                    await say({"said": "Done.", "wrong": False})
                case "request_publish":
                    await say({"said": "Not yet: look again.", "wrong": True})
    raise AssertionError("it ended without a word")


async def _ask(page: Any) -> bool:
    """The page asks, and for three seconds nobody of ours answers."""
    asked: asyncio.Future[Dialog] = asyncio.get_running_loop().create_future()
    page.raw.remove_listener("dialog", page._on_dialog)
    page.raw.on("dialog", lambda dialog: asked.set_result(dialog))
    asking = asyncio.create_task(page.raw.evaluate("() => confirm('Delete everything?')"))
    dialog = await asked
    await asyncio.wait([asking], timeout=3)
    with suppress(PlaywrightError):  # somebody else answered
        await dialog.dismiss()
    return await asking


def _turns(made: Talk) -> list[dict[str, Any]]:
    first = made.prompts[0]
    more = int(re.findall(r"\[(\d+)\]<button[^>]*id=more", first)[0])
    photos = int(re.findall(r"\[(\d+)\]<input[^>]*id=photos", first)[0])
    return [
        {"press": {"index": more}},
        {"press": {"index": 987654}},
        {"upload_file": {"index": photos, "path": "/etc/hostname"}},
        {"navigate": {"url": "http://mercari.localhost/away", "new_tab": False}},
        {"request_publish": {"step_done": True}},
        {"done": {"text": "That is all.", "success": False, "files_to_display": []}},
    ]


async def test_acts_are_asked_for_and_done_by_whoever_started_it(talk):
    assert [one["do"] for one in talk.asked if one["do"] != "model"] == [
        "ready", "press", "request_publish", "end",
    ]  # fmt: skip
    assert talk.pressed == "more"
    assert "Not yet: look again." in talk.prompts[5]
    assert talk.end["why"] == "That is all."


async def test_no_words_of_its_own_get_into_the_page(talk):
    """browser-use types the name of a secret that it does not know as it stands, and calls that a success."""
    actions = json.loads(talk.schemas[0])["properties"]["action"]["items"]["anyOf"]
    takes = {name: set(what["properties"]) for one in actions for name, what in one["properties"].items()}
    assert {name: takes[name] for name in ("press", "write", "choose", "upload_photos")} == {
        name: {"index"} for name in ("press", "write", "choose", "upload_photos")
    }
    assert all(one.keys() == {"do", "node"} for one in talk.asked if one["do"] == "press")


async def test_an_element_that_is_not_there_is_an_error_and_no_success(talk):
    assert "There is no element 987654 on the page." in talk.prompts[2]


async def test_it_has_no_tool_for_files_addresses_or_scripts(talk):
    tools = set(re.findall(r'"required": \["(\w+)"\], "type": "object", "additionalProperties": false\}',
                           talk.schemas[0]))  # fmt: skip
    assert tools >= {"press", "write", "choose", "upload_photos", "request_publish", "done"}
    for name in ("upload_file", "navigate", "search", "evaluate", "read_file", "write_file", "send_keys",
                 "click", "input", "switch", "close", "extract", "save_as_pdf"):  # fmt: skip
        assert f'"{name}"' not in talk.schemas[0]
    assert "/away" not in talk.paths


async def test_other_tabs_stay_and_are_not_shown_to_a_model(talk):
    assert [url.rpartition("/")[2] for url in talk.tabs] == ["sell", "theirs"]
    assert "theirs" not in "".join(talk.prompts)
    assert "Another seller" not in "".join(talk.prompts)


async def test_what_stands_in_the_pages_fields_is_not_shown_to_a_model(talk):
    assert "id=title" in talk.prompts[0]
    assert "value=Go further" in talk.prompts[0]
    for value in ("as it stands", "kept in there", "typed in here", "97201"):
        assert re.findall(f".{{60}}{value}.{{20}}", "".join(talk.prompts)) == []


async def test_a_question_of_the_page_is_not_answered_yes(talk):
    assert talk.answered_yes is False


async def test_it_tried_to_reach_nothing_but_the_browser(talk):
    assert talk.end["refused"] == []


def test_from_its_process_nothing_but_the_browser_is_reached():
    said = subprocess.run(
        [agent.PYTHON, "-I", "-c", _REACH.format(home=agent.HOME)], capture_output=True, text=True, check=True
    )
    assert json.loads(said.stdout) == ["ok", "ConnectionRefusedError", "ConnectionRefusedError",
                                       ["127.0.0.1", "telemetry.localhost"]]  # fmt: skip


_REACH = """
import json, socket, sys
sys.path.insert(0, "{home}")
import agent
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
other = socket.create_server(("127.0.0.1", 0))
refused = agent.keep_in("127.0.0.1", port)
def tried(do):
    try:
        do()
        return "ok"
    except OSError as e:
        return type(e).__name__
print(json.dumps([
    tried(lambda: socket.create_connection(("127.0.0.1", port)).close()),
    tried(lambda: socket.create_connection(other.getsockname())),
    tried(lambda: socket.getaddrinfo("telemetry.localhost", 443)),
    sorted(refused),
]))
"""


async def test_it_ends_with_whoever_started_it_whatever_it_waits_for():
    """As a worker that is killed: here it waits for a browser that never answers."""
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    task = {"cdp_url": f"ws://127.0.0.1:{port}/x", "target_id": "x", "task": "", "rules": "", "steps": 1}
    async with agent._process() as (reader, writer):
        writer.write(json.dumps(task).encode() + b"\n")
        async with asyncio.timeout(120):
            await asked.wait()
        writer.close()
        began = time.monotonic()
        async with asyncio.timeout(120):
            assert await reader.read() == b""  # not even a word of why
        assert time.monotonic() - began < 5
    server.close()


def test_it_reads_no_settings_of_ours_and_watches_no_errors(tmp_path):
    """browser-use loads each .env above its own folder, which is Everystall's with all its secrets, and its
    telemetry takes over uncaught errors. It ends by itself what a busy machine takes its time for."""
    secrets = tmp_path / ".env"
    secrets.write_text("OPENROUTER_API_KEY=s3cret\nANONYMIZED_TELEMETRY=true\n")
    said = subprocess.run(
        [agent.PYTHON, "-I", "-c", _IMPORT.format(home=agent.HOME, secrets=secrets)],
        capture_output=True, text=True, check=True, cwd=tmp_path, env={"HOME": str(tmp_path)},
    )  # fmt: skip
    assert json.loads(said.stdout) == [None, True, [], 600]
    assert {path.name for path in tmp_path.iterdir()} <= {".env", "config"}


_IMPORT = """
import json, os, sys
sys.path.insert(0, "{home}")
import agent
os.environ.update(agent.SETTINGS)
before = sys.excepthook
refused = agent.keep_in("127.0.0.1", 1)
import dotenv.main
dotenv.main.find_dotenv = lambda *_, **__: "{secrets}"  # where its own search would find ours
from browser_use import Agent, BrowserSession, Tools
from browser_use.browser.events import BrowserStartEvent
from browser_use.telemetry.service import ProductTelemetry
ProductTelemetry()
print(json.dumps([os.environ.get("OPENROUTER_API_KEY"), sys.excepthook is before, sorted(refused),
                  BrowserStartEvent().event_timeout]))
"""


def test_browser_use_is_pinned_and_its_lock_names_no_registry():
    project = tomllib.loads(Path(agent.HOME, "pyproject.toml").read_text())
    assert project["project"]["dependencies"] == ["browser-use==0.13.14"]
    lock = Path(agent.HOME, "requirements.lock").read_text()
    assert "browser-use==0.13.14 \\\n    --hash=sha256:" in lock
    assert "://" not in lock
    assert not re.search(
        r"^browser[-_]use", Path(agent.HOME, "../requirements.lock").read_text(), re.MULTILINE
    )
