"""Drift: the same site after its makers changed it, the same for the same seed.

Strength 1 renames ids, test ids and classes; 2 also says labels in other words; 3 also reorders and
wraps (static/practice.js, where the site marked its containers); 4 is each site's own changed steps.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache


@dataclass(frozen=True)
class Vocabulary:
    """What may be renamed at a site. HTML, JS and CSS write a name alike, so one change fits all.

    names: bare words that occur as ids and classes ("img-file-input"), distinctive enough to be
    replaced wherever they stand as a whole word, and pairs "attribute=value" ("data-et-name=next"),
    of which the value is replaced wherever that attribute has it, quoted or not, also in selectors.
    labels: exact text → other words for it; replaced where it is the whole of a text node or string, but
    of an id, a test id or a name.
    """

    names: Sequence[str] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)


#: What stands before a string that is a name and not a label.
_A_NAME = r"(?<!data-testid=)(?<!data-testid\": )(?<!\bid: )(?<!\bname: )"
_PARTS = ("item", "pane", "field", "box", "entry", "unit", "form", "view", "part", "slot", "cell", "edit")


def new_name(name: str, seed: int) -> str:
    """ "img-file-input" → "slot-entry-3fa9"; the same for the same seed."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()
    words = random.Random(digest)
    return f"{words.choice(_PARTS)}-{words.choice(_PARTS)}-{digest[:4]}"


def apply(text: str, vocabulary: Vocabulary, seed: int, strength: int) -> str:
    """An HTML, JS or CSS answer as it is after the drift."""
    for pattern, replacement in _rules(
        tuple(vocabulary.names), tuple((k, tuple(v)) for k, v in vocabulary.labels.items()), seed, strength
    ):
        text = pattern.sub(replacement, text)
    return text


@lru_cache(maxsize=64)
def _rules(
    names: tuple[str, ...], labels: tuple[tuple[str, tuple[str, ...]], ...], seed: int, strength: int
) -> tuple[tuple[re.Pattern[str], str], ...]:
    rules: list[tuple[re.Pattern[str], str]] = []
    if strength >= 1:
        # longest first, so that "dropdown__menu__item" is not taken for "dropdown__menu"
        for name in sorted(names, key=len, reverse=True):
            if "=" in name:
                attribute, value = name.split("=", 1)
                pattern = rf"({re.escape(attribute)}\\?[\"']?[=,:]\s*\\?[\"']?){re.escape(value)}(?![\w-])"
                rules.append((re.compile(pattern), rf"\g<1>{new_name(name, seed)}"))
            else:
                rules.append((re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])"), new_name(name, seed)))
    if strength >= 2:
        for label, others in labels:
            if others:
                other = random.Random(f"{seed}:{label}").choice(others)
                pattern = rf"({_A_NAME}[>\"'`]\s*){re.escape(label)}(?=\s*[<\"'`])"
                rules.append((re.compile(pattern), rf"\g<1>{other}"))
    return tuple(rules)
