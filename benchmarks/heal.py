"""`make bench-heal`: how often a publish on a site that changed ends live and correct, by likeness alone and
with a model that errs. Writes docs/healing.md. The practice sites, adapters and browser/heal.py; no worker.

make bench-heal                               seeds 1801 to 2000 of each strength (an hour); all are kept
make bench-heal ARGS=--left                   what was not played yet
make bench-heal ARGS="--seeds 1-5 --left"     a look: seeds up to 1800 are to mend by, and are not on the page
make bench-heal ARGS="--seeds 7-7 --strengths 3"     one again
make bench-heal ARGS=--stills                 strengths 1 and 2 on stills (stills.py), to mend by
make bench-heal ARGS=--page                   only write the page
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import structlog
from playwright.async_api import Browser, Locator, async_playwright
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page as RawPage

from benchmarks import commit
from benchmarks.other_words import LABELS, NAMES
from everystall.browser.chromium import LAUNCH_ARGS, find_chromium
from everystall.browser.heal import Healing, Question
from everystall.browser.looks import Look
from everystall.browser.page import Page, State, pauses
from everystall.browser.targets import Target
from everystall.errors import EverystallError, PageChanged
from everystall.marketplaces import MARKETPLACES, get_adapter
from everystall.marketplaces.base import Draft, Money, ReadBack
from everystall.sandbox import drift
from everystall.sandbox.core import PASSWORD, DriftSetting
from everystall.sandbox.testing import Sandbox, start_in_thread
from everystall.settings import Settings
from everystall.worker.compare import compare, differing

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".data" / "heal" / "results.jsonl"
PAGE = ROOT / "docs" / "healing.md"
BEGIN, END = "<!-- make bench-heal writes this -->\n", "<!-- to here -->\n"
STRENGTHS = {1: "names", 2: "+ labels", 3: "+ order, wrapping", 4: "+ other widgets and steps"}
#: Of strength → what is wanted of likeness alone.
WANTED = {1: 0.99, 2: 0.95, 3: 0.85}
#: Who looks for what was lost.
BY = {"likeness": "likeness", "model": "likeness, then a model"}
#: Seeds that the code was mended by: their results are not on the page.
TUNING = range(1, 1801)
#: How much a drift changes of a site's names, and of its labels, from and to.
OF_NAMES, OF_LABELS = (0.3, 1.0), (0.1, 0.5)
#: The oracle's faults: another ref of the set, none of them, something else.
WRONG, NONE, GARBAGE = 0.10, 0.05, 0.05
USER = "ada"
#: Of an outline's characters.
CHARACTERS_PER_TOKEN = 4
#: Seconds for what is there all the same, where the product has 3: a busy machine is not what is measured.
PATIENCE = 20
#: Seconds, for as good as none.
AT_ONCE = 0.001
#: Nothing leaves this machine, whatever a page asks for.
LOOPBACK = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE *.localhost, EXCLUDE localhost, EXCLUDE 127.0.0.1"

Rename = Callable[[str], str]


@dataclass
class Run:
    """One publish on a site that changed."""

    marketplace: str
    strength: int
    seed: int
    by: str
    #: live · wrong · stop · commit: what publishes lost all its locators, a stop is right
    ended: str
    #: Without the waits for what was lost.
    seconds: float
    #: More than the same on the unchanged site took.
    more: float
    #: Targets that all of their locators lost.
    lost: list[str]
    #: Targets for which something else was taken, whatever came of it.
    astray: list[str]
    asked: int
    tokens: int
    said: str
    commit: str = ""
    at: str = ""

    @property
    def key(self) -> tuple[str, int, int, str]:
        return self.marketplace, self.strength, self.seed, self.by


class KnowingPage(Page):
    """The product's page, with one difference: what the drift took all locators from is not waited for any
    longer once it is there. And it knows what is what, by the names that the drift gave."""

    def __init__(self, raw: RawPage, rename: Rename | None, **given: Any) -> None:
        super().__init__(raw, **given)
        self.rename = rename
        self.lost: set[str] = set()
        self.astray: list[str] = []
        #: By intent, for the oracle.
        self.sought: dict[str, Target] = {}
        #: Locators that found it, of what publishes.
        self.standing: set[str] = set()
        #: Seconds that it took to know what is what.
        self.spent = 0.0

    async def right(self, target: Target, state: State = "visible") -> Locator | None:
        """What the target is now."""
        if self.rename is None:
            return None
        began = time.monotonic()
        frame = target.frame and self.rename(target.frame)
        root = self.raw if frame is None else self.raw.frame_locator(frame)
        try:
            for text in target.locators:
                found = root.locator(self.rename(text))
                found = found.locator("visible=true") if state == "visible" else found
                if await found.count() == 1:
                    return found
        except PlaywrightError:
            pass
        finally:
            self.spent += time.monotonic() - began
        return None

    async def _find(
        self, target: Target, *, state: State = "visible", seconds: float | None = None
    ) -> Locator:  # fmt: skip
        if self.rename is None and target.effect == "commit":
            with self._translated():
                for text in target.locators:
                    if await self.raw.locator(text).count() == 1:
                        self.standing.add(text)
        if await self._waited([target], state, seconds):
            seconds = AT_ONCE
        return await super()._find(target, state=state, seconds=seconds)

    async def first(self, *targets: Target, seconds: float | None = None) -> int:
        if await self._waited(targets, "visible", seconds):
            seconds = AT_ONCE
        return await super().first(*targets, seconds=seconds)

    async def _waited(self, targets: Sequence[Target], state: State, seconds: float | None) -> bool:
        """Until one is there, by its own locators (False) or only by those after the drift (True)."""
        if self.rename is None:
            return False
        end = time.monotonic() + (seconds or self._settings.locator_seconds)
        pause = pauses()
        while time.monotonic() < end:
            with self._translated():
                if await self._stands(targets, state):
                    return False
                if any([await self.right(target, state) for target in targets]):
                    return not await self._stands(targets, state)
            await asyncio.sleep(next(pause))
        return True

    async def _stands(self, targets: Sequence[Target], state: State) -> bool:
        for target in targets:
            for locator, _ in self._tries(target):
                found = locator.locator("visible=true") if state == "visible" else locator
                try:
                    if await found.count():
                        return True
                except PlaywrightError:
                    continue
        return False

    async def _heal(self, target: Target, state: State, *, ask: bool = True) -> Locator | None:
        right = await self.right(target, state)
        if right is not None and not await self._stands([target], state):
            self.lost.add(target.key)
            self.sought[target.intent] = target
        found = await super()._heal(target, state, ask=ask)
        if found is not None and not (right and await _same(found, right)):
            self.astray.append(target.intent)
        return found


async def _same(one: Locator, other: Locator) -> bool:
    """One thing: a click on a part of it is a click on it."""
    script = "(one, other) => one === other || one.contains(other) || other.contains(one)"
    try:
        return bool(await one.evaluate(script, await other.element_handle(timeout=10_000), timeout=10_000))
    except PlaywrightError:
        return False


@dataclass
class Oracle:
    """Knows the right one, and errs as often as it is told to."""

    page: KnowingPage
    chance: random.Random
    asked: int = 0
    characters: int = 0

    async def __call__(self, question: Question) -> str | None:
        self.asked += 1
        self.characters += len(question.outline) + len(question.intent)
        refs, dice = sorted(question.refs), self.chance.random()
        if dice < GARBAGE:
            return "the second one, I think"
        if dice < GARBAGE + NONE:
            return None
        right = await self._right(question.intent, refs)
        if dice < GARBAGE + NONE + WRONG:
            return self.chance.choice([ref for ref in refs if ref != right] or [None])
        return right

    async def _right(self, intent: str, refs: Sequence[str]) -> str | None:
        """None: it is none of them, or not there."""
        target = self.page.sought.get(intent)
        right = target and await self.page.right(target, "attached")
        if not right:
            return None
        began = time.monotonic()
        try:
            for ref in refs:
                if await self.page.raw.get_by_ref(ref).and_(right).count():
                    return ref
        except PlaywrightError:
            pass
        finally:
            self.page.spent += time.monotonic() - began
        return None


def changed(marketplace: str, seed: int, strength: int) -> drift.Vocabulary:
    """What the drift of that seed changes there: a part of the names and, from 2 on, of the labels. A
    greater strength changes the same and more."""
    site, chance = _vocabulary(marketplace), random.Random(f"{marketplace}:{seed}")
    of_names, of_labels = chance.uniform(*OF_NAMES), chance.uniform(*OF_LABELS)
    names = [one for one in dict.fromkeys((*site.names, *NAMES[marketplace])) if chance.random() < of_names]
    labels: dict[str, Sequence[str]]
    labels = {one: [*words, *LABELS[marketplace].get(one, ())] for one, words in site.labels.items()}
    labels = dict(LABELS[marketplace]) | labels
    other = {one: [chance.choice(words)] for one, words in labels.items() if chance.random() < of_labels}
    return drift.Vocabulary(names=names, labels=other if strength > 1 else {})


@dataclass
class Bench:
    """One marketplace: its site, and what a publish on the unchanged site saw."""

    marketplace: str
    browser: Browser
    settings: Settings
    sandbox: Sandbox = field(default_factory=start_in_thread)
    looks: dict[tuple[str, str], Look] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    #: The seconds of that publish.
    usual: float = 0.0
    #: Locators that found what publishes.
    standing: set[str] = field(default_factory=set)
    #: What the site keeps in the browser of a seller who was there before: its hints were seen.
    kept: list[Any] = field(default_factory=list)
    #: Of what is measured.
    commit: str = commit().strip(" ()")

    def __post_init__(self) -> None:
        self.adapter = get_adapter(self.marketplace)
        #: A draft and photos that the adapter's own tests post.
        self.example = import_module(
            f"everystall.marketplaces.{self.marketplace}.tests.test_{self.marketplace}_adapter"
        )

    async def learn(self) -> bool:
        """From another listing in the same category; then the one that is posted all the time. False: it did
        not come to the end this time."""
        draft: Draft = self.example.DRAFT
        other = draft.model_copy(
            update={"title": "Green wool coat", "description": "Warm, and worn for one winter only.",
                    "price": Money(amount=7400), "sku": draft.sku and "B-2"}
        )  # fmt: skip
        healing = Healing()
        healing.begin(noting=True)
        async with self._page(None) as page:
            said = await self._publish(page, healing, other)
            self.standing = page.standing
            self.kept = (await page.raw.context.storage_state()).get("origins", [])
        self.looks = dict(healing.noted)
        async with self._page(None) as page:
            began = time.monotonic()
            said = said or await self._publish(page, Healing(looks=dict(self.looks)), draft)
            self.usual = time.monotonic() - began
        sys.stdout.write(f"{self.marketplace}: {self.usual:.1f} s where nothing changed; {said}\n")
        sys.stdout.flush()
        if not said:
            [self.expected] = self._live()
        return not said

    async def run(self, seed: int, strength: int, by: str) -> Run:
        words = changed(self.marketplace, seed, strength)

        def rename(text: str) -> str:
            return drift.apply(text, words, seed, strength)

        healing = Healing(looks=dict(self.looks))
        async with self._page(rename, DriftSetting(seed, strength, words)) as page:
            oracle = Oracle(page, random.Random(f"{self.marketplace}:{seed}:{strength}"))
            healing.model = oracle if by == "model" else None
            began = time.monotonic()
            said = await self._publish(page, healing, self.example.DRAFT)
            seconds = time.monotonic() - began - page.spent
        live = self._live()
        stands = {rename(text) for text in self.standing} & set(_commit(self.marketplace).locators)
        ended = "stop" if stands else "commit"
        if live:
            ended = "live" if live == [self.expected] else "wrong"
        tokens = oracle.characters // CHARACTERS_PER_TOKEN
        return Run(self.marketplace, strength, seed, by, ended, round(seconds, 2),
                   round(seconds - self.usual, 2), sorted(page.lost), page.astray, oracle.asked, tokens,
                   said)  # fmt: skip

    @asynccontextmanager
    async def _page(
        self,
        rename: Rename | None,
        setting: DriftSetting | None = None,
        kind: type[KnowingPage] = KnowingPage,
    ) -> AsyncIterator[KnowingPage]:
        """Of a new world, signed in, with the drift."""
        world, site = self.sandbox.world, self.sandbox.hosts.sites[self.marketplace]
        world.reset()
        session = world.sign_in(self.marketplace, USER, PASSWORD)
        assert session is not None
        if setting is not None:
            world.drifts[self.marketplace] = setting
        base_url = self.sandbox.url(self.marketplace)
        cookies = [
            {"name": one.name, "value": one.value, "url": base_url, "httpOnly": one.http_only}
            for one in site.cookies(session)
        ]
        context = await self.browser.new_context(
            viewport={"width": 1280, "height": 900}, storage_state={"cookies": [], "origins": self.kept}
        )
        try:
            await context.add_cookies(cookies)  # type: ignore[arg-type]
            context.set_default_timeout(self.settings.locator_seconds * 1000)
            context.set_default_navigation_timeout(self.settings.page_seconds * 1000)
            yield kind(await context.new_page(), rename, site=self.adapter.site, base_url=base_url,
                       settings=self.settings)  # fmt: skip
        finally:
            await context.close()

    async def _publish(self, page: Page, healing: Healing, draft: Draft) -> str:
        """What stopped it; empty if nothing did."""
        own = (draft.title, draft.description, draft.brand, draft.sku)
        healing.written.update(words for words in own if words)
        page.healing = healing

        async def arm(read: ReadBack) -> None:
            filled = await read()
            if wrong := differing(compare(draft, filled.fields)):
                raise PageChanged(f"The form does not show what was filled in: {', '.join(wrong)}.")

        async def drafted(draft_id: str) -> None:
            pass

        try:
            await self.adapter.publish(page, draft, self.example.PHOTOS, arm, drafted)
        except EverystallError as e:
            return e.message
        return ""

    def _live(self) -> list[dict[str, Any]]:
        """What buyers could see, as the site has it."""
        return [
            {"fields": item["fields"], "sku": item["sku"],
             "photos": [photo["sha256"] for photo in item["photos"]]}
            for item in self.sandbox.ledger(self.marketplace)["listings"]
            if item["state"] == "live"
        ]  # fmt: skip


def _commit(marketplace: str) -> Target:
    """What publishes there."""
    target = import_module(f"everystall.marketplaces.{marketplace}.pages").LIST
    assert isinstance(target, Target)
    return target


def _vocabulary(marketplace: str) -> drift.Vocabulary:
    """The site's own."""
    for module in ("words", "site"):
        try:
            found = import_module(f"everystall.sandbox.{marketplace}.{module}")
        except ModuleNotFoundError:
            continue
        if isinstance(words := getattr(found, "VOCABULARY", None), drift.Vocabulary):
            return words
    raise LookupError(marketplace)


@asynccontextmanager
async def benches() -> AsyncIterator[list[Bench]]:
    """One for each marketplace, in one browser."""
    async with AsyncExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        settings = Settings(_env_file=None, everystall_home=Path(home), locator_seconds=PATIENCE,
                            page_seconds=3 * PATIENCE, commit_click_seconds=PATIENCE)  # fmt: skip
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(settings), args=[*LAUNCH_ARGS, LOOPBACK],
            chromium_sandbox=os.geteuid() != 0,
        )  # fmt: skip
        stack.push_async_callback(browser.close)
        found = [Bench(marketplace, browser, settings) for marketplace in MARKETPLACES]
        for bench in found:
            stack.callback(bench.sandbox.stop)
        yield found


async def play(seeds: range, strengths: Sequence[int], *, left: bool) -> None:
    """Each result is kept at once. The sites are played beside each other."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    played = {run.key for run in results()} if left else set()

    async def one(place: int, bench: Bench) -> None:
        for left in (2, 1, 0):
            if await bench.learn():
                break
            if not left:
                raise RuntimeError(f"{bench.marketplace} did not take a listing unchanged")
        for seed in (seed for seed in seeds if seed % len(MARKETPLACES) == place):
            for strength in strengths:
                await _play(bench, seed, strength, played)

    async with benches() as found:
        await asyncio.gather(*(one(place, bench) for place, bench in enumerate(found)))


async def _play(bench: Bench, seed: int, strength: int, played: set[tuple[str, int, int, str]]) -> None:
    """By likeness; and with a model, which is asked of nothing where likeness came to the end."""
    if (bench.marketplace, strength, seed, "model") in played:
        return
    alone = await bench.run(seed, strength, "likeness")
    with_model = Run(**asdict(alone) | {"by": "model"})
    if alone.ended in ("stop", "commit") and alone.lost:
        with_model = await bench.run(seed, strength, "model")
    for run in (alone, with_model):
        run.commit, run.at = bench.commit, f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
        keep(run)
        astray = f"; ASTRAY: {', '.join(run.astray)}" if run.astray else ""
        ended = run.ended if run.lost else f"({run.ended})"
        sys.stdout.write(
            f"{run.marketplace:8} {strength}/{seed} {run.by:8} {ended:8} {run.seconds:5.1f} s, "
            f"{len(run.lost):2} lost, {run.asked} asked; {run.said}{astray}\n"
        )
        sys.stdout.flush()


def keep(run: Run) -> None:
    with RESULTS.open("a") as file:
        file.write(json.dumps(asdict(run)) + "\n")


def results() -> list[Run]:
    """The last of each."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    return list({run.key: run for run in (Run(**json.loads(line)) for line in lines)}.values())


# ---- the page -------------------------------------------------------------------------------------


def write(found: Sequence[Run]) -> str:
    """What stands on the page of these results."""
    found = [run for run in found if run.seed not in TUNING]
    if not found:
        return "Not measured yet.\n"
    counted = [run for run in found if run.lost]
    seeds = {(run.strength, run.seed) for run in found}
    each = Counter(strength for strength, _ in seeds)
    days = sorted(run.at[:10] for run in found)
    commits = ", ".join(f"{many} on {name}" for name, many in Counter(run.commit for run in found).items())
    wrong = [run for run in found if run.ended == "wrong"]
    many = ", ".join(f"{seeds} of strength {strength}" for strength, seeds in sorted(each.items()))
    lost = len({(run.strength, run.seed) for run in counted})
    return (
        f"Measured {days[0]} to {days[-1]} on {platform.machine()}. Seeds: {many}. Publishes by commit: "
        f"{commits}. In {len(seeds)} drifts something was lost in {lost}. **{len(wrong)} of all "
        f"{len(found)} publishes put a wrong listing.**\n\n{table(counted)}\n"
        f"Where likeness alone stopped:\n\n{reasons(counted)}"
    )


def table(runs: Sequence[Run]) -> str:
    lines = [
        "| drift | by | something was lost | publishing button stands | **live and correct** of these | "
        "stopped | **wrong** | took another | seconds more | + waiting | requests | tokens each |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for strength, what in STRENGTHS.items():
        for by, words in BY.items():
            found = [run for run in runs if (run.strength, run.by) == (strength, by)]
            if found:
                lines.append(f"| {strength}: {what} | {words} | {_row(found, strength, by)} |")
    return "\n".join(lines) + "\n"


def _row(found: Sequence[Run], strength: int, by: str) -> str:
    able = [run for run in found if run.ended != "commit"]
    ended = Counter(run.ended for run in found)
    asked = sum(run.asked for run in found)
    goal = f" (goal {WANTED[strength]:.0%})" if by == "likeness" and strength in WANTED else ""
    share = f"{ended['live']} = {ended['live'] / len(able):.1%}{goal}" if able else "–"
    live = [run for run in found if run.ended == "live"]
    waits = _half([3.0 * len(run.lost) for run in live])
    return " | ".join(
        (str(len(found)), str(len(able)), share, str(ended["stop"] + ended["commit"]), str(ended["wrong"]),
         str(sum(bool(run.astray) for run in found)), _half([run.more for run in live]), waits, str(asked),
         f"{sum(run.tokens for run in found) / asked:.0f}" if asked else "–")
    )  # fmt: skip


def _half(values: Sequence[float]) -> str:
    return f"{sorted(values)[len(values) // 2]:.1f}" if values else "–"


def reasons(runs: Sequence[Run]) -> str:
    """Why likeness alone stopped, most often first."""
    said = Counter(
        (run.marketplace, run.said) for run in runs if run.by == "likeness" and run.ended == "stop"
    )
    lines = [f"- {many} × {marketplace}: {what}" for (marketplace, what), many in said.most_common(12)]
    return "\n".join(lines) + "\n" if lines else "Nowhere.\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-heal", description=__doc__)
    parser.add_argument("--seeds", default="1801-2000", help="a-b")
    parser.add_argument("--strengths", type=int, nargs="+", default=list(STRENGTHS))
    parser.add_argument("--left", action="store_true", help="only those that were not played yet")
    parser.add_argument("--page", action="store_true", help="play nothing, write the page")
    parser.add_argument("--stills", action="store_true", help="on stills of one publish; writes nothing")
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last) + 1)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if given.stills:
        from benchmarks import stills  # which is made of this module

        asyncio.run(stills.play(seeds, [one for one in given.strengths if one < 3]))
        return
    if not given.page:
        asyncio.run(play(seeds, given.strengths, left=given.left))
    text = PAGE.read_text()
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(f"{head}{BEGIN}\n{write(results())}\n{END}{tail}")


if __name__ == "__main__":
    main()
