"""Which of a page's elements is the one that was lost, by what it looked like. That none of them is it is an
answer, and a better one than a wrong element.

Two ways. By likeness: the one that is much alike, and more so than any other. Else by exclusion: all that is
known to stand on such a page is laid upon all that stands there now, as well as it fits as a whole, and each
trait counts by how seldom it is here (Fellegi and Sunter's way of linking records).
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from everystall.browser.looks import Look, words

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
Kept = Mapping[str, tuple[float, float]]
#: Of each trait: how often a change leaves it as it is, and how often another has the same by chance.
KEPT: Kept = {
    "label": (0.6, 0.02), "text": (0.6, 0.02), "placeholder": (0.6, 0.02), "name": (0.3, 0.01),
    "id": (0.3, 0.01), "data": (0.3, 0.01), "classes": (0.3, 0.15), "heading": (0.7, 0.15),
    "near": (0.8, 0.1), "asks": (0.95, 0.3), "type": (0.98, 0.5), "tag": (0.98, 0.5), "role": (0.97, 0.6),
    "steps": (0.85, 0.1), "rank": (0.7, 0.05), "path": (0.9, 0.5), "place": (0.7, 0.2),
    "inside": (0.97, 0.2),
}  # fmt: skip
#: Traits that say again in part what others do count for less.
SAYS: Mapping[str, float] = {
    "classes": 0.6, "heading": 0.8, "near": 0.8, "rank": 0.8, "path": 0.3, "place": 0.3,
}  # fmt: skip
#: Traits that speak against one where they differ, and for none where they agree: all of a dialog share it.
APART = ("inside",)
#: Elements for which what is usual elsewhere counts, beside those of the page.
USUAL = 4
#: Traits that say where one stands among others. A new order changes all of them, the first no less: what is
#: new or gone changes the others alone.
PLACES = ("steps", "rank", "place")
#: How much of these its change left is learned from each page, by what fits that well. What is usual counts
#: as so many.
CLEARLY, USUALLY = 8.0, 4
#: How much has to speak for one, and how much more than for any other answer. That it is not there is one of
#: these: so e^3 (20 to 1) altogether.
ENOUGH, SURELY = 1.0, 2.0
_PLACE = re.compile(r"\{\w+\}")
#: Words that say nothing of which one it is.
_SMALL = frozenset({"a", "an", "the", "of", "your", "my", "this"})
#: Parts of a page that have a search and links of their own.
_ASIDE = frozenset({"header", "nav"})


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
    return bool(of_its_kind(before, look) and seen and able)


def of_its_kind(before: Look, look: Look) -> bool:
    kind = (look["kind"], look["type"] if look["kind"] == "check" else "")
    wanted = (before["kind"], before["type"] if before["kind"] == "check" else "")
    toggle = "aria-pressed" in {*before.get("asks", ())} & {*look.get("asks", ())}
    final = kind[0] == "press" and FINAL.search(_said(look)) and not (toggle or FINAL.search(_said(before)))
    part = _ASIDE.isdisjoint(look["path"]) == _ASIDE.isdisjoint(before["path"])
    return bool(kind == wanted and part and not final)


def _said(look: Look) -> str:
    return f"{look['text']} {look['label']}"


def choose(
    before: Look, looks: Sequence[Look], rivals: Iterable[Look], able: Callable[[Look], bool]
) -> int | None:
    """The place of the one that it is; None if none is, or nobody can tell. `rivals`: what other targets look
    like. What is another target's does not compete."""
    rivals = [rival for rival in rivals if rival["kind"] == before["kind"] and likeness(rival, before) < SAME]
    places = [place for place, look in enumerate(looks) if may_be(before, look, able)]
    alike, placed = _most_alike(before, looks, places, rivals), _by_exclusion(before, looks, places, rivals)
    if alike is None or placed is None:
        return placed if alike is None else alike
    return alike if alike == placed or _nested(looks, alike, placed) else None


def _most_alike(
    before: Look, looks: Sequence[Look], places: Sequence[int], rivals: Sequence[Look]
) -> int | None:  # fmt: skip
    scored = sorted(((likeness(before, looks[place]), -place) for place in places), reverse=True)
    free = (
        (score, -place)
        for score, place in scored
        if score >= LESS_ALIKE - MARGIN and not of_another(before, looks[-place], rivals)
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


def _by_exclusion(
    before: Look, looks: Sequence[Look], places: Sequence[int], rivals: Sequence[Look]
) -> int | None:  # fmt: skip
    """The one that it has to be where everything finds its own, and clearly so: all together would fit worse
    by SURELY if it were another, or not there."""
    there = [place for place, look in enumerate(looks) if look["visible"] and look["kind"] == before["kind"]]
    there = sorted({*there, *places})
    here = [looks[place] for place in there]
    fit = _fits([before, *rivals], here, KEPT)
    if any(map(any, fit[1:])):
        clear = [[score if score >= CLEARLY else 0.0 for score in row] for row in fit[1:]]
        fit = _fits([before, *rivals], here, _kept(rivals, here, _matched(clear)[1]))
    may = set(places)
    fit[0] = [score if place in may else 0.0 for score, place in zip(fit[0], there, strict=True)]
    for row, rival in zip(fit[1:], rivals, strict=True):
        row[:] = [
            score if _says(rival, looks[place]) else 0.0 for score, place in zip(row, there, strict=True)
        ]
    told = [place for place, *scores in zip(range(len(there)), *fit, strict=True) if any(scores)]
    fit = [[row[column] for column in told] for row in fit]
    if not any(fit[0]):
        return None
    whole, matched = _matched(fit)
    if matched[0] is None:
        return None
    first = there[told[matched[0]]]
    fit[0] = [
        0.0 if _nested(looks, first, there[column]) or there[column] == first else score
        for score, column in zip(fit[0], told, strict=True)
    ]
    return first if whole - _matched(fit)[0] >= SURELY else None


def _kept(known: Sequence[Look], here: Sequence[Look], matched: Sequence[int | None]) -> Kept:
    """How much of each trait this page's change left, by those of the others that were found: once all places
    are new, that one's place is new says little."""
    pairs = [(look, here[column]) for look, column in zip(known, matched, strict=True) if column is not None]
    learned, left = dict(KEPT), 0.0
    for trait in PLACES:
        kept, chance = KEPT[trait]
        both = [(_plain(one[trait]), _plain(other.get(trait))) for one, other in pairs if trait in one]
        alike = sum(_same(trait, mine, theirs) for mine, theirs in both)
        now = (alike + USUALLY * kept) / (len(both) + USUALLY)
        learned[trait] = (min(max(now, left * kept), kept), chance)
        left = left or learned["steps"][0] / KEPT["steps"][0]
    return learned


def _fits(known: Sequence[Look], here: Sequence[Look], how: Kept) -> list[list[float]]:
    """Of each that is known and each that is here: how much more likely it is the same than by chance, as a
    logarithm, above ENOUGH; 0 where it is less. A trait that most of them share says little."""
    scores = [[0.0] * len(here) for _ in known]
    for trait, (kept, chance) in how.items():
        columns: dict[Any, list[int]] = defaultdict(list)
        for column, look in enumerate(here):
            columns[_plain(look.get(trait))].append(column)
        for row, look in enumerate(known):
            if trait not in look:  # remembered before there was such a trait
                continue
            mine = _plain(look[trait])
            alike = {theirs: _same(trait, mine, theirs) for theirs in columns if mine or theirs}
            many = Counter[float]()
            for theirs, one in alike.items():
                many[one] += len(columns[theirs])
            says, as_much = {}, -1  # not itself
            for one in sorted(many, reverse=True):
                as_much += many[one]
                others = min((as_much + USUAL * chance) / (len(here) - 1 + USUAL), kept)
                agrees = 0.0 if trait in APART else math.log(kept / others)
                differs = math.log((1 - kept) / (1 - others / 2))
                says[one] = (one * agrees + (1 - one) * differs) * SAYS.get(trait, 1.0)
            for theirs, one in alike.items():
                for column in columns[theirs]:
                    scores[row][column] += says[one]
    return [[max(score - ENOUGH, 0.0) for score in row] for row in scores]


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value or ""


def _same(trait: str, mine: Any, theirs: Any) -> float:
    if mine == theirs:
        return 1.0
    if trait in ("rank", "place"):
        return 0.0
    if trait == "steps":  # from the element upwards
        both = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), len(mine))
        return both / max(len(mine), len(theirs), 1)
    return _like(mine, theirs)


def _matched(fit: Sequence[Sequence[float]]) -> tuple[float, list[int | None]]:
    """The assignment of rows to columns whose scores sum up highest, each to one or to none: the Hungarian
    method (Kuhn, Munkres), with potentials."""
    rows, columns = len(fit), len(fit[0])
    width = columns + rows  # a row may also stay alone, at no score
    of_row, of_column = [0.0] * (rows + 1), [0.0] * (width + 1)
    row_at, came = [0] * (width + 1), [0] * (width + 1)
    for row in range(1, rows + 1):
        row_at[0], column = row, 0
        least, used = [math.inf] * (width + 1), [False] * (width + 1)
        while row_at[column]:
            used[column] = True
            now, step, following = row_at[column], math.inf, 0
            for other in range(1, width + 1):
                if used[other]:
                    continue
                score = fit[now - 1][other - 1] if other <= columns else 0.0
                slack = -score - of_row[now] - of_column[other]
                if slack < least[other]:
                    least[other], came[other] = slack, column
                if least[other] < step:
                    step, following = least[other], other
            for other in range(width + 1):
                if used[other]:
                    of_row[row_at[other]] += step
                    of_column[other] -= step
                else:
                    least[other] -= step
            column = following
        while column:
            row_at[column] = row_at[came[column]]
            column = came[column]
    matched: list[int | None] = [None] * rows
    for column in range(1, columns + 1):
        if row_at[column] and fit[row_at[column] - 1][column - 1] > 0:
            matched[row_at[column] - 1] = column - 1
    whole = sum(fit[row][column] for row, column in enumerate(matched) if column is not None)
    return whole, matched


def _nested(looks: Sequence[Look], one: int, other: int) -> bool:
    """One is a part of the other: a click on either is the same."""
    return other in looks[one].get("around", ()) or one in looks[other].get("around", ())


def may_be(before: Look, look: Look, able: Callable[[Look], bool]) -> bool:
    return able(look) and _says(before, look)


def _says(before: Look, look: Look) -> bool:
    """What is chosen by its words has these words, and no others where it had none."""
    places = _PLACE.findall(before["text"])
    if places == [before["text"]]:
        return bool(look["text"] == before["text"])
    return set(places) <= set(_PLACE.findall(look["text"]))


def of_another(before: Look, look: Look, rivals: Iterable[Look]) -> bool:
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
    ours, theirs = _parts(_plain(a)), _parts(_plain(b))
    both = len(ours) + len(theirs)
    return 2 * len(ours & theirs) / both if both else 0.0


@lru_cache(maxsize=8192)
def _parts(value: Any) -> frozenset[str]:
    if isinstance(value, tuple):
        return frozenset(value)
    every = frozenset(words(str(value).casefold()))
    return every - _SMALL or every
