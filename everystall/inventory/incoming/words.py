"""Words of elsewhere → ours, where they mean one of ours and nothing else. All else is told, and left out.

A category is known by its key, by our own label, or by a path of a marketplace's own menu to
which only one of ours leads and whose last step says no more than ours.
"""

from __future__ import annotations

import re
from functools import cache

from everystall.inventory.incoming.rows import SAID, Row
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import COLORS, CONDITIONS
from everystall.marketplaces.taxonomy import CATEGORIES, find_category, find_size, near

#: Other ways to write a condition that mean the same. “New”, “Used” and “Excellent” may mean several of ours.
_CONDITIONS = {
    "nwt": "new_with_tags",
    "new with tags nwt": "new_with_tags",
    "new with box": "new_with_tags",
    "nwot": "new_without_tags",
    "new without tags nwot": "new_without_tags",
    "new without box": "new_without_tags",
    "new with defects": "new_with_flaws",
    "new with imperfections": "new_with_flaws",
    "used like new": "like_new",
    "used good": "good",
    "used fair": "fair",
    "used poor": "poor",
    "pre owned good": "good",
    "pre owned fair": "fair",
    **{_key.replace("_", " "): _key for _key in CONDITIONS},
}
_COLORS = {
    "grey": "gray", "multi": "multicolor", "multi color": "multicolor", "multicolour": "multicolor",
    "multi colour": "multicolor", "multi colored": "multicolor", "multicolored": "multicolor",
    "navy blue": "navy", **{color: color for color in COLORS},
}  # fmt: skip


def take_condition(row: Row, column: str, cell: str) -> None:
    if not cell:
        return
    found = _CONDITIONS.get(_bare(cell))
    if found is not None:
        row.facts["condition"] = found
        return
    row.say(
        column, "condition", "not_mapped", f"“{cell[:SAID]}” is no condition of ours, or may be several.",
        f"Set one on the listing, or write one of these in the file: {', '.join(CONDITIONS.values())}.",
    )  # fmt: skip


def take_colors(row: Row, column: str, cell: str) -> None:
    """Adds what the cell names; `Navy/White` is two."""
    for word in re.split(r"\s*(?:[,/&;|+]|\band\b)\s*", cell):
        if not word:
            continue
        found = _COLORS.get(_bare(word))
        if found is None:
            row.say(
                column, "colors", "not_mapped", f"“{word[:SAID]}” is no colour of ours.",
                f"Set one on the listing, or write one of these in the file: {', '.join(COLORS)}.",
            )  # fmt: skip
        elif found not in row.facts.setdefault("colors", []):
            row.facts["colors"].append(found)


def take_category(row: Row, column: str, cell: str) -> None:
    if not cell:
        return
    if find_category(cell) is not None:
        row.facts["category"] = cell
        return
    if cell.isdigit():
        row.say(
            column, "category", "not_mapped",
            f"{cell} is a marketplace's own number of a category, which we have no list of.",
            "Choose a category for the listing: GET /api/vocabulary lists ours.",
        )  # fmt: skip
        return
    found = _known_paths().get(_steps(cell), frozenset())
    if len(found) == 1:
        row.facts["category"] = next(iter(found))
        return
    like_it = sorted(found) or [category.key for category in near(cell)]
    row.say(
        column, "category", "not_mapped",
        f"“{cell[:SAID]}” is " + ("one of several categories of ours." if found else "no category of ours."),
        (f"Choose one for the listing; near it: {', '.join(like_it[:5])}." if like_it else
         "Choose one for the listing: GET /api/vocabulary lists ours."),
    )  # fmt: skip


def take_size(row: Row, column: str, cell: str) -> None:
    """As our scale writes it where it knows it; else the source's own words. After the category."""
    if not cell:
        return
    category = find_category(row.facts.get("category"))
    scale = category.size_scale if category else None
    row.facts["size"] = (find_size(scale, cell) if scale else None) or cell


@cache
def _known_paths() -> dict[tuple[str, ...], frozenset[str]]:
    """Steps of a label or of a marketplace's menu → keys of ours."""
    found: dict[tuple[str, ...], set[str]] = {}
    for category in CATEGORIES.values():
        found.setdefault(_steps(" > ".join(category.label)), set()).add(category.key)
    own = {steps: frozenset(keys) for steps, keys in found.items()}
    theirs: dict[tuple[str, ...], set[str]] = {}
    for marketplace in MARKETPLACES:
        for key, path in get_form(marketplace).CATEGORIES.items():
            # two steps are a department and a group: ours is only a part of that
            if len(path) >= 3:
                theirs.setdefault(_steps(" > ".join(path)), set()).add(key)
    for steps, keys in theirs.items():
        # "Other" and "Computer accessories" hold more than the one of ours that is put there
        if all(_words(steps[-1]) <= _words(f"{key} {' '.join(CATEGORIES[key].label)}") for key in keys):
            own.setdefault(steps, frozenset(keys))
    return own


def _words(text: str) -> set[str]:
    return {word.removesuffix("s").removesuffix("e") for word in re.findall(r"[a-z]{3,}", text.lower())}


def _steps(text: str) -> tuple[str, ...]:
    return tuple(step for step in map(_bare, re.split(r"\s*(?:>|›|»|\||:|\s/\s)\s*", text)) if step)


def _bare(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9&']+", text.lower()))
