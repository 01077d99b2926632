"""Finding a target again that all of its locators lost, by what it looked like when they found it.

Rung 2: of all that is of its kind on the page, the one that stands out by likeness. Rung 3: one question to
a model with a closed set of answers, of which "none" is one. "It is not there" is a right answer: a wrong
field is worse than a stop. Never for a commit target, nor before the page was looked at for obstacles
(page.py does both). Of a seller nothing is kept: what was written into a page is cut out of what is
remembered and of what the model reads.
"""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

import structlog
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import FrameLocator, Locator
from playwright.async_api import Page as RawPage

from everystall.browser.targets import Target
from everystall.errors import EverystallError

log = structlog.get_logger()

#: What an element shows of itself, by name (TRAITS).
Look = Mapping[str, Any]
#: candidate: worked once or twice · promoted: tried before our own locators · demoted: failed, not used any
#: more · rejected: the owner said no.
State = Literal["candidate", "promoted", "demoted", "rejected"]
By = Literal["likeness", "model", "agent", "file"]

#: How much each trait says. `data`: data-* attributes; `heading`: the one above; `place`: which of its kind
#: below that heading.
WEIGHTS: Mapping[str, float] = {
    "label": 20, "text": 20, "heading": 16, "name": 12, "id": 10, "data": 10, "placeholder": 10, "type": 6,
    "tag": 6, "place": 6, "role": 4, "path": 4, "classes": 4,
}  # fmt: skip
#: Traits that say which one it is, not only what kind of thing. Without one of them nothing is found.
TELLING = ("label", "text", "heading", "name", "id", "data", "placeholder")
#: How alike the best has to be; where its own name or words tell, less will do; and by how much more than
#: the second.
ALIKE, LESS_ALIKE, MARGIN = 0.5, 0.4, 0.1
#: A trait that is that alike tells.
TELLS = 0.5
#: What is never taken for a button that did not say so: it may be the one that publishes, or deletes.
FINAL = re.compile(r"\b(list|publish|post|sell|submit|pay|delete|remove|end|revise|update)\b", re.IGNORECASE)
#: Looks that differ less are of one thing.
SAME = 0.97
#: Of elements that are compared, and of characters that a model reads.
MOST_CANDIDATES, MOST_CHARACTERS = 800, 20_000
#: Words that were written into the page and are shorter hide nothing.
SHORT = 3
#: From so many characters on a part of what was written gives it away, too.
PART = 12

#: What may be pressed or filled in.
_ANY = "input, textarea, select, button, a, summary, label, li, [role], [tabindex], [contenteditable]"
#: elements → what each shows of itself. `kind`: what can be done with it; words: nothing.
TRAITS = r"""(elements) => {
  const clean = (text) => (text ?? "").replace(/\s+/g, " ").trim();
  const short = (text) => { const words = clean(text); return words.length > 80 ? "" : words; };
  const FIELD = "input, textarea, select, [contenteditable]";
  const PRESSED = "input[type=submit], input[type=button], input[type=reset], input[type=image]";
  const words = (e) => {
    if (e.matches(PRESSED)) return short(e.value || e.alt);
    if (!e.querySelector(FIELD)) return short(e.innerText ?? e.textContent);
    const copy = e.cloneNode(true);
    for (const one of copy.querySelectorAll(FIELD)) one.remove();
    return short(copy.textContent);
  };
  const kindOf = (e, tag, type, role) => {
    if (tag === "input" && type === "file") return "file";
    if ([type, role].some((one) => ["checkbox", "radio", "switch"].includes(one))) return "check";
    if (tag === "select") return "select";
    const pressed = ["button", "submit", "reset", "image"].includes(type);
    const typed = tag === "textarea" || e.isContentEditable || (tag === "input" && !pressed);
    if (typed) return e.readOnly ? "press" : "text";
    if (["input", "button", "a", "summary", "label", "li"].includes(tag)) return "press";
    if (e.hasAttribute("tabindex")) return "press";
    if (/^(button|link|tab|option|menuitem|menuitemradio|treeitem|combobox)$/.test(role)) return "press";
    return getComputedStyle(e).cursor === "pointer" ? "press" : "words";
  };
  const labelOf = (e) => {
    const by = (e.getAttribute("aria-labelledby") ?? "").split(/\s+/).filter(Boolean)
      .map((id) => e.ownerDocument.getElementById(id)).filter(Boolean).map(words).join(" ");
    const around = [...(e.labels ?? [])].map(words).join(" ");
    return [by, e.getAttribute("aria-label"), around, e.getAttribute("title")].map(short).find(Boolean) ?? "";
  };
  // ids that count on (s0-1-abcdef-1, …-2, …-3) are made up for each page
  const stem = (id) => (/\d$/.test(id) ? id.replace(/\d+$/, "") : null), stems = new Map();
  for (const { id } of elements[0]?.ownerDocument.querySelectorAll("[id]") ?? [])
    stems.set(stem(id), (stems.get(stem(id)) ?? 0) + 1);
  const idOf = (id) => (stem(id) !== null && stems.get(stem(id)) > 2 ? "" : id);
  const places = new Map(elements.map((e, place) => [e, place]));
  return elements.map((e) => {
    const tag = e.tagName.toLowerCase(), role = e.getAttribute("role") ?? "";
    const type = tag === "input" ? (e.getAttribute("type") ?? "text").toLowerCase() : "";
    const kind = kindOf(e, tag, type, role);
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    const same = role ? `${tag}[role="${role}"]` : tag;
    let heading = "", under = "", place = 0, many = 0, steps = 0;
    for (let around = e.parentElement; around && !heading && steps < 12; around = around.parentElement) {
      steps++;
      const one = [...around.querySelectorAll("h1, h2, h3, h4, h5, h6, legend")].filter((one) =>
        one.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING && short(one.textContent)).at(-1);
      if (!one) continue;
      heading = short(one.textContent);
      const kin = [...around.querySelectorAll(same)];
      [place, many] = [kin.indexOf(e), kin.length];
      let depth = 0;
      for (let up = one; up !== around; up = up.parentElement) depth++;
      const said = `${one.tagName.toLowerCase()}:text-is(${JSON.stringify(heading)})`;
      under = `:has(${"> * ".repeat(depth - 1)}> ${said}) `;
    }
    const path = [], around = [];
    for (let up = e.parentElement; up; up = up.parentElement) {
      const name = up.tagName.toLowerCase();
      if (name !== "div" && name !== "span" && name !== "html" && path.length < 6) path.push(name);
      if (places.has(up)) around.push(places.get(up));
    }
    return {
      kind, tag, type, role, path, around, heading, under, same, nth: place,
      place: many ? `${place + 1}of${many}` : "",
      label: labelOf(e), placeholder: short(e.getAttribute("placeholder")),
      text: kind === "press" || kind === "words" ? words(e) : "",
      id: idOf(e.id ?? ""), name: e.getAttribute("name") ?? "", classes: [...e.classList],
      data: [...e.attributes].filter((a) => a.name.startsWith("data-")).map((a) => `${a.name}=${a.value}`),
      visible: style.visibility === "visible" && box.width > 0 && box.height > 0,
      enabled: !e.matches(":disabled") && e.getAttribute("aria-disabled") !== "true",
    };
  });
}"""
#: A field's value, whether a box is ticked, the words of what is chosen, or of what is no field.
SHOWN = """(one) => one.matches("[type=checkbox], [type=radio]") ? one.checked
  : one.matches("select") ? (one.selectedOptions[0]?.textContent.trim() ?? "")
  : one.matches("input, textarea") ? one.value
  : one.isContentEditable ? one.innerText : one.textContent.trim()"""
#: Names that a page makes up anew, or that may be of a person or a thing.
_MADE_UP = re.compile(r"[0-9a-f]{8,}|\d{4,}|.{60,}|\b(?=[a-z\d]{5})[a-z]*\d+[a-z]", re.IGNORECASE)
_PLACE = re.compile(r"\{\w+\}")
#: Parts of a page that have a search and links of their own.
_ASIDE = frozenset({"header", "nav"})
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
        self.noted, self.used, self.failed = {}, {}, []
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
        look = impersonal(await _look_of(found), target, self.written, self.names)
        able = partial(usable, before, attached=attached)
        if not _may_be(before, look, able) or _of_another(before, look, self._rivals(target, layout)):
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
        return [look for (key, where), look in self.looks.items() if where == layout and key != target.key]

    async def fits(self, target: Target, found: Locator, layout: str, healed: Healed) -> bool:
        """What a healed locator finds today, the site perhaps changed again, may still be the target."""
        with suppress(PlaywrightError):
            look = impersonal(await _look_of(found, timeout=1000), target, self.written, self.names)
            before = self.looks.get((target.key, layout)) or healed.before
            if not before:  # from a file that does not say
                return bool(look["kind"] != "press")
            return _may_be(before, look, partial(_of_its_kind, before)) and not _of_another(
                before, look, self._rivals(target, layout)
            )
        return False

    async def note(self, target: Target, found: Locator, layout: str) -> None:
        """Its own locator found it: that is what it looks like."""
        where = (target.key, layout)
        if not self.noting or where in self.noted:
            return
        with suppress(PlaywrightError):
            look = await _look_of(found, timeout=1000)
            if look["kind"] != "words":
                self.noted[where] = impersonal(look, target, self.written, self.names)

    def changed(self) -> dict[tuple[str, str], Look]:
        """Those noted looks that are other than what is remembered."""
        return {
            where: look
            for where, look in self.noted.items()
            if where not in self.looks or likeness(self.looks[where], look) < SAME
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
        every = root.locator(_ANY if tag in _ANY.split(", ") else f"{_ANY}, {tag}")
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
        raw = await _look_of(found)
        after = impersonal(raw, target, self.written, self.names)
        bad = {
            one.locator
            for one in self.healed
            if one.where == (target.key, layout) and one.state in ("demoted", "rejected")
        }
        durable = [
            text
            async for text in _durable(root, found, raw, target)
            if not _is_of(text, self.written) and nameless(text, self.names) == text
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
            look = impersonal(await _look_of(found), target, self.written, self.names)
            if _may_be(before, look, able) and not _of_another(before, look, rivals):
                return found
        return None


# ---- likeness -------------------------------------------------------------------------------------


def layout_of(url: str, frame: str | None) -> str:
    """Where a target is, without whose it is: the address's first part, and the frame."""
    first = urlsplit(url).path.strip("/").split("/")[0]
    return f"/{'' if _MADE_UP.search(first) else first}" + (f" {frame}" if frame else "")


def likeness(one: Look, other: Look) -> float:
    """From 0, nothing alike, to 1. What neither has says nothing."""
    total = alike = 0.0
    for trait, weight in WEIGHTS.items():
        a, b = one.get(trait) or "", other.get(trait) or ""
        if a or b:
            total += weight
            alike += weight * _like(a, b)
    return alike / total if total else 0.0


def usable(before: Look, look: Look, *, attached: bool) -> bool:
    """Of the right kind and part of the page, visible (or a control that sites hide behind its label), and
    enabled if that was."""
    seen = look["visible"] or (attached and look["kind"] in ("file", "check"))
    able = look["enabled"] or not before["enabled"]
    return bool(_of_its_kind(before, look) and seen and able)


def _of_its_kind(before: Look, look: Look) -> bool:
    kind = (look["kind"], look["type"] if look["kind"] == "check" else "")
    wanted = (before["kind"], before["type"] if before["kind"] == "check" else "")
    final = kind[0] == "press" and FINAL.search(_said(look)) and not FINAL.search(_said(before))
    part = _ASIDE.isdisjoint(look["path"]) == _ASIDE.isdisjoint(before["path"])
    return bool(kind == wanted and part and not final)


def _said(look: Look) -> str:
    return f"{look['text']} {look['label']}"


def choose(
    before: Look, looks: Sequence[Look], rivals: Iterable[Look], able: Callable[[Look], bool]
) -> int | None:
    """The place of the one that stands out; None if none does. What is another target's does not compete."""
    rivals = list(rivals)
    scored = sorted(
        ((likeness(before, look), -place) for place, look in enumerate(looks) if _may_be(before, look, able)),
        reverse=True,
    )
    free = (
        (score, -place)
        for score, place in scored
        if score >= LESS_ALIKE - MARGIN and not _of_another(before, looks[-place], rivals)
    )
    score, first = next(free, (0.0, 0))
    if not score:
        return None
    best = looks[first]
    tells = {name for name in TELLING if before[name] and _like(before[name], best[name]) >= TELLS}
    if not tells or score < (ALIKE if tells == {"heading"} else LESS_ALIKE):
        return None
    second = next((other for other, place in free if not _nested(looks, first, place)), 0.0)
    return None if score - second < MARGIN else first


def _nested(looks: Sequence[Look], one: int, other: int) -> bool:
    """One is a part of the other: a click on either is the same."""
    return other in looks[one].get("around", ()) or one in looks[other].get("around", ())


def _may_be(before: Look, look: Look, able: Callable[[Look], bool]) -> bool:
    """What is chosen by its words has these words, and no others where it had none."""
    places = _PLACE.findall(before["text"])
    if places == [before["text"]]:
        return able(look) and bool(look["text"] == before["text"])
    return able(look) and set(places) <= set(_PLACE.findall(look["text"]))


def _of_another(before: Look, look: Look, rivals: Iterable[Look]) -> bool:
    """It looks as much like another target as like this one; two names for one thing are no others."""
    score = max(likeness(before, look), LESS_ALIKE)
    return any(
        likeness(rival, look) >= score and likeness(rival, before) < SAME
        for rival in rivals
        if rival["kind"] == look["kind"]
    )


def _like(a: Any, b: Any) -> float:
    """Of words those that both have; of lists likewise."""
    if a == b:
        return 1.0
    ours, theirs = (
        set(one) if isinstance(one, list | tuple) else set(_words(str(one).casefold())) for one in (a, b)
    )
    both = len(ours) + len(theirs)
    return 2 * len(ours & theirs) / both if both else 0.0


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+|\{\w+\}", text)


def _is_of(text: str, written: Iterable[str]) -> bool:
    """It holds what was written, or is a good part of that."""
    said = text.casefold()
    words = (one.casefold() for one in written if len(one) >= SHORT)
    return any(one in said or (len(said) >= PART and said in one) for one in words)


def impersonal(look: Look, target: Target, written: Iterable[str], names: Iterable[str] = ()) -> Look:
    """Without what is a seller's: values become the places that they fill, what was written goes, and so do
    names."""
    written, names = list(written), list(names)

    def clean(text: str) -> str:
        for name, value in filter(lambda pair: pair[1], target.values):
            whole = rf"(?<!\w){re.escape(value)}(?!\w)"
            text = re.sub(whole, f"{{{name}}}", text, flags=re.IGNORECASE)
        return "" if _is_of(text, written) else nameless(text, names)

    cleaned: dict[str, Any] = dict(look)
    for trait in ("label", "text", "heading", "placeholder"):
        cleaned[trait] = clean(look[trait])
    for trait in ("id", "name"):
        cleaned[trait] = "" if _MADE_UP.search(look[trait]) else clean(look[trait])
    for trait in ("data", "classes"):
        cleaned[trait] = sorted(filter(None, (clean(one) for one in look[trait] if not _MADE_UP.search(one))))
    for trait in ("under", "same", "nth"):
        cleaned.pop(trait, None)
    return cleaned


# ---- parts ----------------------------------------------------------------------------------------


async def _look_of(found: Locator, timeout: float | None = None) -> Look:
    """`timeout` in milliseconds; none: the page's own."""
    return await found.evaluate(  # type: ignore[no-any-return]
        f"(one) => ({TRAITS})([one])[0]", timeout=timeout
    )


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
        if value and '"' not in value and "\\" not in value and not _MADE_UP.search(value)
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
    """Without what stands in its fields, and what they offer."""
    outline = re.sub(r"^\s*- option\b(?!.*\[ref=).*\n?", "", outline, flags=re.MULTILINE)
    pattern = r"^(\s*- (?:textbox|searchbox|combobox|spinbutton)\b[^\n]*\[ref=\w+\][^:\n]*): .*$"
    return re.sub(pattern, r"\1", outline, flags=re.MULTILINE)


def without(text: str, written: Iterable[str]) -> str:
    for one in sorted((one for one in written if len(one) >= SHORT), key=len, reverse=True):
        text = re.sub(re.escape(one), "***", text, flags=re.IGNORECASE)
    return text


def nameless(text: str, names: Iterable[str]) -> str:
    """Without these, as whole words: a name may be a part of any other."""
    for one in sorted((one for one in names if len(one) >= SHORT), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(one)}(?!\w)", "***", text, flags=re.IGNORECASE)
    return text


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
