"""`make bench-agent`: a whole browser-use agent in place of us, on the pages of `make bench-heal` after the
same drifts, with a script in the model's place: what it costs, beside healing. Writes docs/healing.md.

make bench-agent                          15 seeds of each strength, from 1801 on
make bench-agent ARGS="--many 3"          three of each
make bench-agent ARGS=--page              only write the page
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import async_playwright

from benchmarks import heal
from everystall.browser import agent
from everystall.browser.chromium import LAUNCH_ARGS, find_chromium
from everystall.browser.heal import Healing
from everystall.browser.page import pauses
from everystall.browser.targets import Target
from everystall.marketplaces import MARKETPLACES
from everystall.marketplaces.base import PhotoFile
from everystall.sandbox import drift
from everystall.sandbox.core import DriftSetting
from everystall.settings import Settings

RESULTS = heal.RESULTS.with_name("whole.jsonl")
BEGIN, END = "<!-- make bench-agent writes this -->\n", "<!-- to there -->\n"
FIRST = 1801
#: Of a run. Its own limit is 500 steps.
MOST_STEPS, MOST_SECONDS = 100, 900
#: Times that it waits for what is not shown.
PATIENCE = 3
#: Marks an element, and what is pressed in its place.
_UNMARK = """() => document.querySelectorAll("[evs-mark]").forEach((e) => e.removeAttribute("evs-mark"))"""
_MARK = """(one) => {
  for (const e of [one, one.control, one.querySelector("input"), ...(one.labels ?? [])])
    e?.setAttribute("evs-mark", ""); }"""
#: What is no value: of a click, and what is pressed.
KEYS = ("", "Enter", "Escape")
#: What it says after its last step.
LISTED = "It is listed."
#: Who is in the model's place, by whether it errs.
BY = {False: "never errs", True: "errs, and does not notice"}


@dataclass
class Whole:
    """One form, filled in by an agent alone."""

    marketplace: str
    strength: int
    seed: int
    #: live · wrong · stop
    ended: str
    steps: int
    #: Of all prompts together, the schemas too; in 1000 bytes.
    kilobytes: float
    seconds: float
    said: str
    #: The script errs as heal.Oracle does; else never.
    errs: bool = True
    commit: str = ""


class Recorder(heal.KnowingPage):
    """What the adapter does on the unchanged site, in browser-use's words."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.did: list[tuple[str, Target, str]] = []

    async def fill(self, target: Target, text: str) -> None:
        self.did.append(("input", target, text))
        await super().fill(target, text)

    async def type(self, target: Target, text: str) -> None:
        self.did.append(("input", target, text))
        await super().type(target, text)

    async def press(self, target: Target, key: str) -> None:
        self.did.append(("send_keys", target, key))
        await super().press(target, key)

    async def click(self, target: Target, *, accept_dialog: bool = False) -> None:
        self.did.append(("click", target, ""))
        await super().click(target, accept_dialog=accept_dialog)

    async def check(self, target: Target, on: bool) -> None:
        if await self.is_checked(target) != on:
            self.did.append(("click", target, ""))
        await super().check(target, on)

    async def select(self, target: Target, label: str) -> None:
        self.did.append(("select_dropdown", target, label))
        await super().select(target, label)

    async def set_files(self, target: Target, files: Sequence[PhotoFile]) -> None:
        self.did += [("upload_file", target, one.name) for one in files]
        await super().set_files(target, files)

    async def commit(self, target: Target, *, accept_dialog: bool = False) -> None:
        self.did.append(("click", target, ""))
        await super().commit(target, accept_dialog=accept_dialog)


@dataclass
class Script:
    """The model: it knows each step, and errs as heal.Oracle does without noticing it, or never."""

    page: heal.KnowingPage
    did: Sequence[tuple[str, Target, str]]
    files: Path
    chance: random.Random
    errs: bool
    steps: int = 0
    characters: int = 0
    place: int = 0
    waited: int = 0
    #: The last step at which what was typed was typed anew.
    anew: int = -1

    async def __call__(self, messages: Sequence[Any], schema: Any) -> str:
        self.steps += 1
        self.characters += len(json.dumps(messages)) + len(json.dumps(schema))
        if self.place >= len(self.did):
            return _turn("done", text=LISTED, success=True)
        dice = self.chance.random() if self.errs else 1.0
        if dice < heal.GARBAGE:
            return "the second one, I think"
        if dice < heal.GARBAGE + heal.NONE:
            return _turn("wait", seconds=1)
        do, target, value = self.did[self.place]
        after = self.place + 1
        if do == "send_keys":  # to where the step before it wrote
            self.place = after
            return _turn(do, keys=value)
        shown = [int(one) for one in re.findall(r"\[(\d+)\]<", json.dumps(messages))]
        index = await self._shown(target, shown)
        if index is None and do == "upload_file":  # one at a time: each has what follows them all
            do, target, value = next(one for one in self.did[self.place :] if one[0] != "upload_file")
            after, index = self.place, await self._shown(target, shown)
        framed = target.frame if index is None and do == "input" else None
        # browser-use shows no body that is written into: its frame is pressed, and the text typed
        if framed and (frame := await self._shown(Target(framed, (framed,)), shown)) is not None:
            self.place, self.waited = after, 0
            return _turn("click", {"send_keys": {"keys": value}}, index=frame)
        before = self.did[self.place - 1] if self.place else None
        if index is None and before and before[0] == "input" and self.anew != self.place:
            # a field that forgot it, since browser-use says a blur once it has written
            opens = await self._shown(before[1], shown)
            if opens is not None and await self._holds(before[1]) != before[2]:
                self.anew = self.place
                return _turn("click", {"send_keys": {"keys": before[2]}}, index=opens)
        if index is None:
            self.waited += 1
            if self.waited > PATIENCE:
                return _turn("done", text=f"It is not there: {target.intent}.", success=False)
            below = await self._is_below(target)
            return _turn("wait", seconds=1) if below is None else _turn("scroll", down=below, pages=1)
        if dice < heal.GARBAGE + heal.NONE + heal.WRONG:
            index = self.chance.choice(shown)
        self.place, self.waited = after, 0
        more = {"input": {"text": value}, "select_dropdown": {"text": value},
                "upload_file": {"path": str(self.files / value)}}.get(do, {})  # fmt: skip
        return _turn(do, index=index, **more)

    async def _is_below(self, target: Target) -> bool | None:
        """Whether it lies below what is seen of the page, or above; None: it is in sight, or not there.
        browser-use shows what lies within a page's height of that, and of a frame what is in sight."""
        found = await self.page.right(target) or await self.page.right(target, "attached")
        box, seen = found and await found.bounding_box(timeout=1000), self.page.raw.viewport_size
        if not box or not seen or (box["y"] + box["height"] > 0 and box["y"] + 50 < seen["height"]):
            return None
        return box["y"] > 0

    async def _holds(self, target: Target) -> str | None:
        with suppress(PlaywrightError):
            if found := await self.page.right(target):
                return await found.input_value(timeout=1000)
        return None

    async def _shown(self, target: Target, shown: Sequence[int]) -> int | None:
        return next((one for one in await self._numbers(target) if one in shown), None)

    async def _numbers(self, target: Target) -> list[int]:
        """Of the target, and of what belongs to it as a label does, once it is there: the nodes' own in
        Chromium, by which browser-use counts. It shows some of them."""
        end, pause = time.monotonic() + heal.PATIENCE, pauses()
        while time.monotonic() < end:
            with suppress(PlaywrightError):
                if found := await self.page.right(target) or await self.page.right(target, "attached"):
                    for frame in self.page.raw.frames:
                        await frame.evaluate(_UNMARK)
                    await found.evaluate(_MARK, timeout=heal.PATIENCE * 1000)
                    return await self._marked()
            await asyncio.sleep(next(pause))
        return []

    async def _marked(self) -> list[int]:
        cdp = await self.page.raw.context.new_cdp_session(self.page.raw)
        try:
            nodes = [(await cdp.send("DOM.getDocument", {"depth": -1, "pierce": True}))["root"]]
            for one in nodes:  # and what is in it, frames too
                nodes += [*one.get("children", ()), *filter(None, [one.get("contentDocument")])]
            marked = (one for one in nodes if "evs-mark" in one.get("attributes", ())[::2])
            return [int(one["backendNodeId"]) for one in marked]
        finally:
            await cdp.detach()


def _turn(do: str, *then: Any, **what: Any) -> str:
    if do == "done":
        what["files_to_display"] = []
    told = {"thinking": "", "evaluation_previous_goal": "", "memory": "", "next_goal": ""}
    return json.dumps(told | {"action": [{do: what}, *then]})


async def _drive(cdp_url: str, page: heal.KnowingPage, script: Script, folder: Path) -> str:
    """Why it ended."""
    cdp = await page.raw.context.new_cdp_session(page.raw)
    here = (await cdp.send("Target.getTargetInfo"))["targetInfo"]["targetId"]
    process = await asyncio.create_subprocess_exec(
        agent.PYTHON, agent.HOME / "whole.py", cwd=folder, limit=agent.MOST_LINE,
        env={"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8"},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    task = "List this thing on the marketplace whose form is open, with its photos, and publish it.\n"
    files = [str(path) for path in sorted(folder.glob("*.jpg"))]
    task += "\n".join(f"- {target.intent}: {value}" for _, target, value in script.did if value not in KEYS)
    told = {"cdp_url": cdp_url, "target_id": here, "task": task, "files": files, "steps": MOST_STEPS}
    try:
        async with asyncio.timeout(MOST_SECONDS):
            process.stdin.write(json.dumps(told).encode() + b"\n")
            while line := await process.stdout.readline():
                asked = json.loads(line)
                if asked["do"] == "end":
                    return str(asked["why"])
                said = await script(asked["messages"], asked["schema"])
                answer = {"text": said, "tokens_in": 0, "tokens_out": 0}  # nobody counts a script's
                process.stdin.write(json.dumps(answer).encode() + b"\n")
        return "it ended without a word"
    except TimeoutError:
        return "out of time"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _record(bench: heal.Bench) -> list[tuple[str, Target, str]]:
    """The steps on the unchanged site."""
    async with bench._page(None, kind=Recorder) as page:
        assert isinstance(page, Recorder)
        if said := await bench._publish(page, Healing(), bench.example.DRAFT):
            raise RuntimeError(said)
        return page.did


async def _run(
    bench: heal.Bench, cdp_url: str, did: Any, form: str, seed: int, strength: int, errs: bool
) -> Whole:
    words = heal.changed(bench.marketplace, seed, strength)

    def rename(text: str) -> str:
        return drift.apply(text, words, seed, strength)

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for one in bench.example.PHOTOS:
            (folder / one.name).write_bytes(one.data)
        async with bench._page(rename, DriftSetting(seed, strength, words)) as page:
            script = Script(page, did, folder, random.Random(f"{bench.marketplace}:{seed}:{strength}"), errs)
            began = time.monotonic()
            await page.raw.goto(bench.sandbox.url(bench.marketplace) + form)
            said = await _drive(cdp_url, page, script, folder)
            seconds = time.monotonic() - began - page.spent
    live = bench._live()
    ended = "stop" if not live else "live" if live == [bench.expected] else "wrong"
    return Whole(bench.marketplace, strength, seed, ended, script.steps, round(script.characters / 1000, 1),
                 round(seconds, 1), said, errs, bench.commit)  # fmt: skip


async def play(many: int, strengths: Sequence[int]) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    played = {(one.seed, one.strength, one.errs) for one in results()}
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(_env_file=None, everystall_home=Path(home), locator_seconds=heal.PATIENCE,
                            page_seconds=3 * heal.PATIENCE, commit_click_seconds=heal.PATIENCE)  # fmt: skip
        async with async_playwright() as playwright:
            for place, marketplace in enumerate(MARKETPLACES):
                seeds = [seed for seed in range(FIRST, FIRST + many) if seed % len(MARKETPLACES) == place]
                all_of_them = itertools.product(seeds, strengths, BY)
                left = [one for one in all_of_them if one not in played]
                if not left:
                    continue
                with socket.create_server(("127.0.0.1", 0)) as free:
                    port = free.getsockname()[1]
                browser = await playwright.chromium.launch(
                    executable_path=find_chromium(settings), chromium_sandbox=os.geteuid() != 0,
                    args=[*LAUNCH_ARGS, heal.LOOPBACK, f"--remote-debugging-port={port}"],
                )  # fmt: skip
                bench = heal.Bench(marketplace, browser, settings)
                try:
                    if not await bench.learn():
                        raise RuntimeError(f"{marketplace} did not take a listing unchanged")
                    did = await _record(bench)
                    form = _forms(marketplace)
                    for seed, strength, errs in left:
                        one = await _run(bench, f"http://127.0.0.1:{port}", did, form, seed, strength, errs)
                        with RESULTS.open("a") as file:
                            file.write(json.dumps(asdict(one)) + "\n")
                        sys.stdout.write(f"{one}\n")
                        sys.stdout.flush()
                finally:
                    bench.sandbox.stop()
                    await browser.close()


def _forms(marketplace: str) -> str:
    """Where the adapter begins."""
    pages = import_module(f"everystall.marketplaces.{marketplace}.pages")
    return str(next(getattr(pages, name) for name in ("SELL", "CREATE", "PRELIST") if hasattr(pages, name)))


def results() -> list[Whole]:
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    found = [Whole(**json.loads(line)) for line in lines]
    return list({(one.strength, one.seed, one.errs): one for one in found}.values())


def write(found: Sequence[Whole]) -> str:
    """What stands on the page of these results."""
    if not found:
        return "Not measured yet.\n"
    commits = ", ".join(f"{many} on {name}" for name, many in Counter(one.commit for one in found).items())
    lines = [
        f"Forms: {commits}. Halves are of those whose script came to its last step.\n",
        "| drift | the script | forms | came to its last step | live and correct | wrong | stopped "
        "| requests, one a step | kB of prompts | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for strength, what in heal.STRENGTHS.items():
        for errs, who in BY.items():
            these = [one for one in found if (one.strength, one.errs) == (strength, errs)]
            ended, through = Counter(one.ended for one in these), [one for one in these if one.said == LISTED]
            lines.append(
                f"| {strength}: {what} | {who} | {len(these)} | {len(through)} | {ended['live']} | "
                f"{ended['wrong']} | {ended['stop']} | {heal._half([one.steps for one in through])} | "
                f"{heal._half([one.kilobytes for one in through])} | "
                f"{heal._half([one.seconds for one in through])} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-agent", description=__doc__)
    parser.add_argument("--many", type=int, default=15, help="seeds of each strength")
    parser.add_argument("--strengths", type=int, nargs="+", default=list(heal.STRENGTHS))
    parser.add_argument("--page", action="store_true", help="play nothing, write the page")
    given = parser.parse_args()
    if not given.page:
        asyncio.run(play(given.many, given.strengths))
    text = heal.PAGE.read_text()
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    heal.PAGE.write_text(f"{head}{BEGIN}\n{write(results())}\n{END}{tail}")


if __name__ == "__main__":
    main()
