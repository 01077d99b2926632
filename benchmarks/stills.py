"""`make bench-heal ARGS=--stills`: how much likeness finds again of what lost all its locators, on stills of
one publish that are changed as a drift would change them, without a publish for each seed. To mend
by: what a still cannot show (order, wrapping, other steps) is left to whole publishes.

Of each that was lost it is also asked where it is not there at all: then none is the only right answer.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Locator

from benchmarks import heal
from everystall.browser.heal import Healing
from everystall.browser.likeness import choose, usable
from everystall.browser.looks import ANY, TRAITS, Look, impersonal, layout_of
from everystall.browser.page import State
from everystall.browser.targets import Target
from everystall.sandbox import drift

#: The texts in each element, one by one: a drift changes whole texts.
_TEXTS = r"""(all) => all.map((e) => {
  const found = [], walk = document.createTreeWalker(e, NodeFilter.SHOW_TEXT);
  for (let one = walk.nextNode(); one && found.length < 8; one = walk.nextNode()) {
    const said = one.data.replace(/\s+/g, " ").trim();
    if (said) found.push(said);
  }
  return found;
})"""


@dataclass(frozen=True)
class Still:
    """What stood on the page when a target was found."""

    target: Target
    layout: str
    state: State
    looks: Sequence[Look]
    texts: Sequence[Sequence[str]]
    #: The place of the target, and those of others that were found before it.
    right: int
    taken: frozenset[int]


class Watched(heal.KnowingPage):
    """The page, which keeps a still at each find."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self.stills: list[Still] = []

    async def _find(
        self, target: Target, *, state: State = "visible", seconds: float | None = None
    ) -> Locator:  # fmt: skip
        before = self.taken(target)
        found = await super()._find(target, state=state, seconds=seconds)
        await self._keep(target, state, found, before)
        return found

    async def first(self, *targets: Target, seconds: float | None = None) -> int:
        place = await super().first(*targets, seconds=seconds)
        for locator in self.locators_of(targets[place]):
            shown = locator.locator("visible=true")
            if await shown.count() == 1:
                await self._keep(targets[place], "visible", shown, self.taken(targets[place]))
                break
        return place

    async def _keep(self, target: Target, state: State, found: Locator, before: Sequence[Locator]) -> None:
        if not target.heal:
            return
        root = self.raw if target.frame is None else self.raw.frame_locator(target.frame)
        tag = await found.evaluate("(e) => e.tagName.toLowerCase()")
        every = root.locator(ANY if tag in ANY.split(", ") else f"{ANY}, {tag}")
        looks, texts = await every.evaluate_all(TRAITS), await every.evaluate_all(_TEXTS)
        await every.evaluate_all("(all) => all.forEach((e, place) => { e.place = place; })")
        taken = set()
        for other in before:
            try:
                taken |= {*await other.evaluate_all("(all) => all.map((e) => e.place ?? -1)")}
            except PlaywrightError:
                continue
        right = await found.evaluate("(e) => e.place")
        layout = layout_of(self.raw.url, target.frame)
        self.stills.append(Still(target, layout, state, looks, texts, right, frozenset(taken - {right})))


@dataclass
class Drifted:
    """What a drift makes of a still."""

    words: drift.Vocabulary
    seed: int
    strength: int
    _renamed: dict[str, str] = field(default_factory=dict)

    def rename(self, text: str) -> str:
        if text not in self._renamed:
            self._renamed[text] = drift.apply(text, self.words, self.seed, self.strength)
        return self._renamed[text]

    def loses(self, target: Target) -> bool:
        return all(self.rename(text) != text for text in target.locators)

    def look(self, look: Look, texts: Sequence[str]) -> Look:
        named = {trait: self._name(trait, look[trait]) for trait in ("id", "name")}
        classes = [self._name("class", one) for one in look["classes"]]
        data = [f"{name}={self._name(name, value)}" for name, _, value in
                (one.partition("=") for one in look["data"])]  # fmt: skip
        said = {trait: self._say(look[trait], texts) for trait in ("label", "text", "heading", "placeholder")}
        near = [self._say(one, ()) for one in look["near"]]
        return {**look, **named, **said, "classes": classes, "data": data, "near": near}

    def _name(self, attribute: str, value: str) -> str:
        if not value:
            return value
        text = f'{attribute}="{value}"'
        if text not in self._renamed:  # by names alone: "Price" is a label, and an id that stays
            self._renamed[text] = drift.apply(text, self.words, self.seed, 1).split('"')[1]
        return self._renamed[text]

    def _say(self, said: str, texts: Sequence[str]) -> str:
        labels = self.words.labels
        for one in (said,) if said in labels else (text for text in texts if text in labels):
            said = said.replace(one, labels[one][0], 1)
        return said


async def take(bench: heal.Bench) -> list[Still]:
    """Of a publish on the unchanged site, of the listing by which it did not learn."""
    async with bench._page(None, kind=Watched) as page:
        assert isinstance(page, Watched)
        said = await bench._publish(page, Healing(), bench.example.DRAFT)
    if said:
        raise RuntimeError(said)
    return page.stills


def judge(
    marketplace: str, looks: Mapping[tuple[str, str], Look], stills: Sequence[Still], commit: Target,
    written: Sequence[str], seed: int, strength: int,
) -> tuple[Counter[str], list[str]]:  # fmt: skip
    """How often what, and what was not right."""
    changed = Drifted(heal.changed(marketplace, seed, strength), seed, strength)
    counted, said, seen = Counter[str](), [], set[tuple[str, tuple[tuple[str, str], ...]]]()
    for still in stills:
        target, before = still.target, looks.get((still.target.key, still.layout))
        if not changed.loses(target) or (target.key, target.values) in seen:
            continue
        seen.add((target.key, target.values))
        counted["lost"] += 1
        here = [impersonal(changed.look(look, texts), target, written)
                for look, texts in zip(still.looks, still.texts, strict=True)]  # fmt: skip
        rivals = [
            look for (key, layout), look in looks.items() if layout == still.layout and key != target.key
        ]
        if before is None:
            counted["unknown"] += 1
            said.append(f"nothing is known of {target.intent}")
            continue
        find = partial(_find, before, rivals=rivals, still=still)
        found = find(here)
        ended = "none" if found is None else "right" if _one(here, found, still.right) else "WRONG"
        counted[ended] += 1
        without = [{**look, "kind": "words"} if _one(here, place, still.right) else look
                   for place, look in enumerate(here)]  # fmt: skip
        if find(without) is not None:
            counted["ANOTHER"] += 1
            said.append(f"another for {target.intent}")
        if ended != "right":
            said.append(f"{ended} for {target.intent}")
    if counted["lost"]:
        counted["publishes" if not changed.loses(commit) else "commit"] += 1
        counted["live"] += counted["right"] == counted["lost"] and not changed.loses(commit)
    return counted, said


def _find(before: Look, here: Sequence[Look], *, rivals: Sequence[Look], still: Still) -> int | None:
    able = partial(usable, before, attached=still.state == "attached")
    found = choose(before, here, rivals, able)
    return None if found in still.taken else found


def _one(looks: Sequence[Look], one: int, other: int) -> bool:
    """One thing: a click on a part of it is a click on it."""
    return one == other or one in looks[other]["around"] or other in looks[one]["around"]


async def play(seeds: range, strengths: Sequence[int]) -> None:
    async with heal.benches() as benches:
        for bench in benches:
            draft = bench.example.DRAFT
            written = [one for one in (draft.title, draft.description, draft.brand, draft.sku) if one]
            await bench.learn()
            stills, commit = await take(bench), heal._commit(bench.marketplace)
            for strength in strengths:
                counted, said = Counter[str](), Counter[str]()
                for seed in seeds:
                    one, words = judge(
                        bench.marketplace, bench.looks, stills, commit, written, seed, strength
                    )
                    counted += one
                    said.update(words)
                told = ", ".join(f"{many} {what}" for what, many in counted.items())
                sys.stdout.write(f"{bench.marketplace} {strength}: {told}\n")
                sys.stdout.writelines(f"  {many} × {what}\n" for what, many in said.most_common(12))
                sys.stdout.flush()
