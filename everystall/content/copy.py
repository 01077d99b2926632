"""A listing's title and description as one marketplace takes them: by rule, or rewritten by a model and then
held against the seller's own. The seller's text is never touched; what comes of this stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from everystall.content import prompts
from everystall.content.facts import Text, claims_of, compare, held
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import CONDITIONS, ListingFacts
from everystall.marketplaces.taxonomy import find_category

#: Of what is wrong with a text, so many are told.
MOST_TOLD: Final = 8


class Rewritten(BaseModel):
    """The listing's title and description, rewritten."""

    title: str = Field(max_length=400)
    description: str = Field(max_length=20_000)


@dataclass(frozen=True)
class Copy:
    """What is proposed for a marketplace. `refused`: why the model's text is not, and this is by rule."""

    text: Text
    by: Literal["model", "rule"]
    refused: Sequence[str] = ()
    #: What of the seller's facts had no room.
    lost: Sequence[str] = ()


def text_of(facts: ListingFacts) -> Text:
    """What the seller wrote, without what should not be sent to a model."""
    return Text(prompts.bare(facts.title or ""), prompts.bare(facts.description or ""))


def count(text: str) -> int:
    """Characters as the marketplaces' own scripts count them: an emoji is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def prompt_for(facts: ListingFacts, marketplace: str, refused: Sequence[str] = ()) -> str:
    """`refused`: why the text of an answer before was not used."""
    form, text = get_form(marketplace), text_of(facts)
    category = find_category(facts.category)
    return prompts.render(
        "copy",
        marketplace=MARKETPLACES[marketplace],
        writing=form.WRITING,
        title_most=str(form.LIMITS.title),
        description_most=str(form.LIMITS.description),
        title=text.title,
        description=text.description,
        brand=prompts.bare(facts.brand or "") or "not told",
        size=facts.size or "not told",
        category=" > ".join(category.label) if category else "not told",
        condition=CONDITIONS.get(facts.condition or "", "not told"),
        colours=", ".join(facts.colors) or "not told",
        specifics=prompts.bare("; ".join(f"{name}: {value}" for name, value in facts.specifics.items()))
        or "none",
        refused="\nYour last text was thrown away. What was wrong with it:\n"
        + "".join(f"- {one}\n" for one in refused[:MOST_TOLD])
        if refused
        else "",
    )


def judged(said: Rewritten, facts: ListingFacts, marketplace: str) -> Copy:
    """The model's text if it says what the seller's does and fits; else the seller's own, by rule."""
    limits, text = get_form(marketplace).LIMITS, tidy(Text(said.title, said.description))
    wrong = [] if text.title and text.description else ["Title or description is empty."]
    for name, part, most in (("title", text.title, limits.title),
                             ("description", text.description, limits.description)):  # fmt: skip
        if count(part) > most:
            wrong.append(f"The {name} has {count(part)} characters and may have {most}.")
    wrong += compare(text_of(facts), text, facts)
    return Copy(text, "model") if not wrong else by_rule(facts, marketplace, wrong)


def by_rule(facts: ListingFacts, marketplace: str, refused: Sequence[str] = ()) -> Copy:
    """The seller's own text, cut to what the marketplace takes: whole sentences that tell no fact go first,
    the last ones before others; then the end, at a word."""
    limits = get_form(marketplace).LIMITS
    before = Text(facts.title or "", facts.description or "")
    tidied = tidy(before)
    title = _cut_words(tidied.title, limits.title)
    description = _cut_sentences(tidied.description, limits.description, facts)
    text = Text(title, description)
    return Copy(text, "rule", refused, _lost(tidied, text, facts))


def tidy(text: Text) -> Text:
    """Spaces and line ends as the forms write them."""
    lines = text.description.replace("\r\n", "\n").replace("\r", "\n").strip()
    return Text(" ".join(text.title.split()), re.sub(r"\n{3,}", "\n\n", lines))


def _cut_words(text: str, most: int) -> str:
    """At a word, and not after one that leads on ("with", "a", …)."""
    if count(text) <= most:
        return text
    kept = text
    while count(kept) > most:
        shorter = kept.rpartition(" ")[0] if " " in kept else kept[:-1]
        kept = shorter.rstrip()
    while " " in kept and kept.rpartition(" ")[2].casefold().strip(",;:-–&+") in {"", *_LEADS_ON}:
        kept = kept.rpartition(" ")[0].rstrip()
    return kept.rstrip(" ,;:-–&+")


_LEADS_ON: Final = frozenset(
    {"a", "an", "the", "and", "or", "of", "in", "on", "at", "to", "for", "from", "by", "with"}
)


def _cut_sentences(text: str, most: int, facts: ListingFacts) -> str:
    if count(text) <= most:
        return text
    parts = re.split(r"(?<=[.!?])(\s+)|(\n+)", text)
    kept = [part for part in parts if part]
    idle = [at for at, part in enumerate(kept) if part.strip() and not _tells(part, facts)]
    for at in reversed(idle):
        kept[at] = ""
        shorter = re.sub(r"[ \t]{2,}", " ", re.sub(r"\s*\n\s*\n\s*", "\n\n", "".join(kept))).strip()
        if count(shorter) <= most:
            return shorter
    left = "".join(kept).strip()
    while count(left) > most:
        left = (re.sub(r"\s*\S+$", "", left) if re.search(r"\s", left) else left[:-1]).rstrip()
    return left


def _tells(sentence: str, facts: ListingFacts) -> bool:
    """A fact that buyers need: a claim, a flaw, a denial."""
    text = Text("", sentence)
    return bool(held(text)) or any(claims_of(text, facts).values())


def _lost(before: Text, after: Text, facts: ListingFacts) -> list[str]:
    """Of two colours it is told once what they are of; that the second went does not change the first."""
    had, has = claims_of(before, facts), claims_of(after, facts)
    pairs = {what for what in had["colours"] if " " in what}
    lost = [what for kind in had for what in sorted(had[kind] - has[kind] - pairs)]
    return lost + [one.strip() for one in held(before) if one not in held(after)]


# ---- shown before it is used -----------------------------------------------------------------------


def difference(before: str, after: str) -> list[tuple[Literal["same", "gone", "new"], str]]:
    """Word by word, each with the space behind it."""
    old, new = (re.findall(r"\S+\s*|^\s+", text) for text in (before, after))
    found: list[tuple[Literal["same", "gone", "new"], str]] = []
    for tag, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            found.append(("same", "".join(old[a:b])))
            continue
        if a < b:
            found.append(("gone", "".join(old[a:b])))
        if c < d:
            found.append(("new", "".join(new[c:d])))
    return found


def overrides_for(facts: ListingFacts, copy: Copy) -> dict[str, Any]:
    """What of it stands otherwise than the listing's own: what the marketplace's own values become."""
    own = {"title": copy.text.title, "description": copy.text.description}
    ours = tidy(Text(facts.title or "", facts.description or ""))
    return {name: value for name, value in own.items() if value != getattr(ours, name)}
