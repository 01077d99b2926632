"""Finding a target again that all of its locators lost, by what it looked like when they found it.

Rung 2: of all that is of its kind on the page, the one that it is by likeness (likeness.py). Rung 3: one
question to a model with a closed set of answers, of which "none" is one. "It is not there" is a right answer:
a wrong field is worse than a stop. Never for a commit target, nor before the page was looked at for obstacles
(page.py does both). Of a seller nothing is kept: what was written into a page is cut out of what is
remembered and of what the model reads.
"""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import structlog
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import FrameLocator, Locator
from playwright.async_api import Page as RawPage

from everystall.browser.likeness import SAME, choose, likeness, may_be, of_another, of_its_kind, usable
from everystall.browser.looks import (
    ANY,
    MADE_UP,
    SHORT,
    TRAITS,
    Look,
    impersonal,
    is_of,
    look_of,
    nameless,
    without,
)
from everystall.browser.targets import Target
from everystall.errors import EverystallError

log = structlog.get_logger()

#: candidate: worked once or twice · promoted: tried before our own locators · demoted: failed, not used any
#: more · rejected: the owner said no.
State = Literal["candidate", "promoted", "demoted", "rejected"]
By = Literal["likeness", "model", "agent", "file"]

#: Of elements that are compared, and of characters that a model reads.
MOST_CANDIDATES, MOST_CHARACTERS = 800, 20_000
#: For a look at what was found just now: it may go meanwhile, and a busy machine takes its time.
LOOK_MILLISECONDS = 5000
#: What can be chosen of an outline for each kind, by its role there.
_ROLES = {
    "text": "textbox|searchbox|combobox|spinbutton",
    "select": "combobox|listbox",
    "check": "checkbox|radio|switch",
    "file": "button",
    "press": "button|link|tab|option|menuitem|menuitemradio|combobox|textbox|listitem|generic|cell",
}


@dataclass(frozen=True)
class Question:
    """What a model is asked: which of these is it?"""

    #: In words a stranger understands: "the listing's title".
    intent: str
    #: A part of the page as Playwright's aria snapshot, without what was written into it.
    outline: str
    #: The only answers beside none.
    refs: frozenset[str]


#: The answer is one of the refs, or none of them. Anything else counts as none.
Model = Callable[[Question], Awaitable[str | None]]


@dataclass(frozen=True)
class Healed:
    """A locator that was found, for a target on pages of one layout."""

    target: str
    layout: str
    #: With places for what `Target.named` fills in.
    locator: str
    state: State
    by: By = "likeness"
    before: Look = field(default_factory=dict)
    after: Look = field(default_factory=dict)
    picture: bytes | None = None

    @property
    def where(self) -> tuple[str, str]:
        return self.target, self.layout


@dataclass
class Healing:
    """What is known of one marketplace's targets, and what a step finds and learns. By (key, layout)."""

    looks: dict[tuple[str, str], Look] = field(default_factory=dict)
    healed: list[Healed] = field(default_factory=list)
    model: Model | None = None
    #: Blots what is secret in a text.
    scrub: Callable[[str], str] = str
    #: Of the account and its seller: names and addresses that a page may show.
    names: set[str] = field(default_factory=set)
    #: Looks of this step are noted: it is one in which fields begin empty.
    noting: bool = False
    #: Of this step: what own locators found, healed locators that were used, those that turned out wrong.
    noted: dict[tuple[str, str], Look] = field(default_factory=dict)
    used: dict[tuple[str, str], Healed] = field(default_factory=dict)
    failed: list[Healed] = field(default_factory=list)
    #: Targets that all of their locators lost; of all, those that own locators found, and that nothing did.
    lost: set[str] = field(default_factory=set)
    #: Targets that are known not to be on the page now: nothing is left to them.
    lacking: set[str] = field(default_factory=set)
    found: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    #: The step ended as it should, and what it put was read back: what was seen is remembered.
    good: bool = False
    #: And all that the listing's page shows is as it was meant: what was healed counts as verified.
    proved: bool = False
    #: What was written into the page, or chosen there.
    written: set[str] = field(default_factory=set)

    def begin(self, *, noting: bool) -> None:
        """A step begins."""
        self.noting, self.good, self.proved = noting, False, False
        self.noted, self.used, self.failed, self.lacking = {}, {}, [], set()
        self.lost, self.found, self.missing = set(), set(), set()

    def tried(self, target: Target, layout: str, *, first: bool) -> Iterator[Healed]:
        """Healed locators of a target, those that come before its own or after them."""
        if target.heal:
            for one in self.healed:
                if one.where == (target.key, layout) and one.state == ("promoted" if first else "candidate"):
                    yield one

    def use(self, one: Healed) -> None:
        self.used[one.where] = one

    def fail(self, one: Healed) -> None:
        """What it found was not the right one: never again."""
        self.failed.append(one)
        self.used.pop(one.where, None)
        self.healed = [other for other in self.healed if other is not one]
        self.healed.append(Healed(one.target, one.layout, one.locator, "demoted"))

    def forget(self, one: Healed) -> None:
        """It came to nothing, and says nothing of the next one."""
        self.used.pop(one.where, None)
        self.healed = [other for other in self.healed if other is not one]

    async def may_be(
        self, found: Locator, target: Target, layout: str, *, attached: bool, taken: Sequence[Locator]
    ) -> bool:  # fmt: skip
        """What somebody else found for a target is of its kind and usable, looks like no other target more
        than like this one, and was not found for another."""
        before = self.looks.get((target.key, layout))
        if before is None or before["kind"] == "words":
            return False
        look = impersonal(await look_of(found), target, self.written, self.names)
        able = partial(usable, before, attached=attached)
        if not may_be(before, look, able) or of_another(before, look, self._rivals(target, layout)):
            return False
        return not await _is_taken(found, taken)

    async def learn(
        self, page: RawPage, found: Locator, target: Target, layout: str, *, attached: bool,
        taken: Sequence[Locator],
    ) -> tuple[Locator, Healed] | None:  # fmt: skip
        """A candidate of what an agent found for a target, where it may be that."""
        if not await self.may_be(found, target, layout, attached=attached, taken=taken):
            return None
        root: RawPage | FrameLocator = page if target.frame is None else page.frame_locator(target.frame)
        before = self.looks[target.key, layout]
        return await self._settle(page, root, found, target, layout, before, "agent", taken)

    def _rivals(self, target: Target, layout: str) -> list[Look]:
        none = {target.key, *self.lacking}
        return [look for (key, where), look in self.looks.items() if where == layout and key not in none]

    async def fits(self, target: Target, found: Locator, layout: str, healed: Healed) -> bool:
        """What a healed locator finds today, the site perhaps changed again, may still be the target."""
        with suppress(PlaywrightError):
            look = await look_of(found, timeout=LOOK_MILLISECONDS)
            look = impersonal(look, target, self.written, self.names)
            before = self.looks.get((target.key, layout)) or healed.before
            if not before:  # from a file that does not say
                return bool(look["kind"] != "press")
            return may_be(before, look, partial(of_its_kind, before)) and not of_another(
                before, look, self._rivals(target, layout)
            )
        return False

    async def note(self, target: Target, found: Locator, layout: str) -> None:
        """Its own locator found it: that is what it looks like."""
        where = (target.key, layout)
        if not self.noting or where in self.noted:
            return
        with suppress(PlaywrightError):
            look = await look_of(found, timeout=LOOK_MILLISECONDS)
            if look["kind"] != "words":
                self.noted[where] = impersonal(look, target, self.written, self.names)

    def changed(self) -> dict[tuple[str, str], Look]:
        """Those noted looks that are other than what is remembered."""
        return {
            where: look
            for where, look in self.noted.items()
            if where not in self.looks
            or self.looks[where].keys() != look.keys()
            or any(
                list(self.looks[where].get(trait, ())) != look.get(trait, []) for trait in ("asks", "near")
            )
            or likeness(self.looks[where], look) < SAME
        }

    async def find(
        self, page: RawPage, target: Target, layout: str, *, attached: bool, taken: Sequence[Locator],
        ask: bool,
    ) -> tuple[Locator, Healed] | None:  # fmt: skip
        """Rungs 2 and 3. `taken`: what other targets were found as. `ask`: the model, if there is one. None:
        it is not there, or nobody knows."""
        self.lost.add(target.key)
        before = self.looks.get((target.key, layout))
        if before is None or before["kind"] == "words":
            return None
        root: RawPage | FrameLocator = page if target.frame is None else page.frame_locator(target.frame)
        tag = before["tag"]
        every = root.locator(ANY if tag in ANY.split(", ") else f"{ANY}, {tag}")
        looks = [
            impersonal(one, target, self.written, self.names)
            for one in (await every.evaluate_all(TRAITS))[:MOST_CANDIDATES]
        ]
        rivals = self._rivals(target, layout)
        able = partial(usable, before, attached=attached)
        place = choose(before, looks, rivals, able)
        by: By = "likeness"
        if place is not None:
            found = every.nth(place)
        elif self.model is not None and ask:
            asked = await self._ask(page, root, target, before, rivals, able)
            if asked is None:
                return None
            found, by = asked, "model"
        else:
            return None
        settled = await self._settle(page, root, found, target, layout, before, by, taken)
        if settled is not None:
            log.info("target.healed", target=target.key, by=by, locator=settled[1].locator)
        return settled

    async def _settle(
        self, page: RawPage, root: RawPage | FrameLocator, found: Locator, target: Target, layout: str,
        before: Look, by: By, taken: Sequence[Locator],
    ) -> tuple[Locator, Healed] | None:  # fmt: skip
        """A locator that will find it again; None if there is none, or it is known to be wrong."""
        if await _is_taken(found, taken):
            return None
        raw = await look_of(found)
        after = impersonal(raw, target, self.written, self.names)
        bad = {
            one.locator
            for one in self.healed
            if one.where == (target.key, layout) and one.state in ("demoted", "rejected")
        }
        durable = [
            text
            async for text in _durable(root, found, raw, target)
            if not is_of(text, self.written) and nameless(text, self.names) == text
        ]
        if not durable or not bad.isdisjoint(durable):
            return None
        picture = await _picture(page, found, self.written | self.names)
        one = Healed(target.key, layout, durable[0], "candidate", by, before, after, picture)
        self.healed.append(one)
        return root.locator(target.filled(one.locator)), one

    async def _ask(
        self, page: RawPage, root: RawPage | FrameLocator, target: Target, before: Look,
        rivals: Sequence[Look], able: Callable[[Look], bool],
    ) -> Locator | None:  # fmt: skip
        """Rung 3: one question."""
        assert self.model is not None
        outline, refs = "", frozenset[str]()
        for part in ('[role="dialog"]:visible', "dialog:visible", "main:visible", "body"):
            if await root.locator(part).count():  # a dialog may greet in front of the form that it is in
                shown = await root.locator(part).last.aria_snapshot(mode="ai", timeout=3000)
                outline = shown[:MOST_CHARACTERS]
                refs = _refs(outline, before["kind"])
                if refs or part == "main:visible":  # what stands around that is no part of a form
                    break
        if not refs:
            return None
        shown = self.scrub(nameless(without(_unfilled(outline), self.written), self.names))
        intent = self.scrub(nameless(target.intent, self.names))
        try:
            answer = await self.model(Question(intent, shown, refs))
        except EverystallError as e:
            log.warning("target.model_away", target=target.key, error=e.code)
            return None
        if answer not in refs:
            return None
        found = page.get_by_ref(str(answer))
        with suppress(PlaywrightError):
            look = impersonal(await look_of(found), target, self.written, self.names)
            if may_be(before, look, able) and not of_another(before, look, rivals):
                return found
        return None


# ---- parts ----------------------------------------------------------------------------------------


async def _is_taken(found: Locator, taken: Iterable[Locator]) -> bool:
    for other in taken:
        if await other.and_(found).count():
            return True
    return False


async def _durable(
    root: RawPage | FrameLocator, found: Locator, look: Look, target: Target
) -> AsyncIterator[str]:
    """Locators that find this one alone, the most durable first: names that its makers gave it; below its
    heading its place, or where it is known by its words those; Playwright's own choice."""
    tried = [
        f'{look["tag"]}[{name}="{value}"]'
        for name, value in (
            *(pair.split("=", 1) for pair in look["data"]), ("id", look["id"]), ("name", look["name"]),
        )
        if value and '"' not in value and "\\" not in value and not MADE_UP.search(value)
    ]  # fmt: skip
    if target.values:
        same = look["same"]
        said = [f'{same}:text-is("{look["text"]}")']
        said += [f'{same}:has(:text-is("{value}"))' for _, value in target.values]
        tried += [look["under"] + one for one in said] + said
    elif look["under"]:
        tried.append(f"{look['under']}{look['same']} >> nth={look['nth']}")
    for text in (*tried, await _normal(found)):
        general = _general(text, target)
        if not text or (target.values and general == text):
            continue
        again = root.locator(target.filled(general))
        with suppress(PlaywrightError):
            if await again.count() == 1 and await again.and_(found).count() == 1:
                yield general


async def _normal(found: Locator) -> str:
    """What Playwright itself would write, within its frame."""
    with suppress(PlaywrightError):
        said = re.search(r" selector=(['\"].*)>$", repr(await found.normalize()), re.DOTALL)
        if said:
            return str(ast.literal_eval(said[1])).rpartition(" >> internal:control=enter-frame >> ")[2]
    return ""


def _general(text: str, target: Target) -> str:
    """With places for the values, where they stand as a whole."""
    for name, value in target.values:
        place = f"{{{name}}}"
        text = text.replace(f'"{value}"', f'"{place}"').replace(f"^{value}$", f"^{place}$")
    return text


def _refs(outline: str, kind: str) -> frozenset[str]:
    """Of the outline's elements those that may be of this kind and can be used."""
    found = re.findall(rf"^\s*- (?:{_ROLES[kind]})\b(.*)\[ref=(\w+)\](.*)$", outline, re.MULTILINE)
    return frozenset(ref for before, ref, after in found if "[disabled]" not in before + after)


def _unfilled(outline: str) -> str:
    """Without what stands in its fields, and what they offer: on a field's own line, or where that has a
    placeholder, below."""
    kept: list[str] = []
    field, within = "", -1
    for line in outline.splitlines(keepends=True):
        deep = len(line) - len(line.lstrip())
        if deep <= within:
            field, within = "", -1
        if field and not line.lstrip().startswith("- /placeholder:"):
            if field != "combobox" or "[ref=" not in line:
                continue
            line = re.sub(r"(\[ref=\w+\][^:\n]*): .*", r"\1", line)
        elif said := re.match(r"\s*- (textbox|searchbox|combobox|spinbutton)\b", line):
            field, within = said[1], deep
            line = re.sub(r"(\[ref=\w+\][^:\n]*): .*", r"\1", line)
        if not re.match(r"\s*- option\b(?!.*\[ref=)", line):
            kept.append(line)
    return "".join(kept)


async def _picture(page: RawPage, found: Locator, written: Iterable[str]) -> bytes | None:
    """Where it is on the page: its surroundings, without what was written there and without photos."""
    private = page.locator(
        "input, textarea, select, [role=combobox], [contenteditable], img, video, iframe, header"
    )
    with suppress(PlaywrightError):
        box = await found.bounding_box(timeout=1000)
        if box is None:
            return None
        await found.scroll_into_view_if_needed(timeout=1000)
        box = await found.bounding_box(timeout=1000) or box
        wide, high = min(box["width"], 600) + 160, min(box["height"], 300) + 120
        return await page.screenshot(
            type="jpeg", quality=60, timeout=3000,
            clip={"x": max(box["x"] - 80, 0), "y": max(box["y"] - 60, 0), "width": wide, "height": high},
            mask=[private, *(page.get_by_text(one) for one in written if len(one) >= SHORT)],
            mask_color="#8a8a8a",
        )  # fmt: skip
    return None
