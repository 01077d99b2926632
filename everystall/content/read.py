"""From photos and rough notes to a draft of a listing: what a model says it saw, and what of that counts.

What names no source is dropped; so is a brand, a size or a material that nobody can point at. What counts
but is not sure is left for the seller. Nothing here writes a listing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, Field

from everystall.content import prompts
from everystall.content.facts import GLUE, MATERIALS, PLAIN, Text, claims_of, stem, words
from everystall.marketplaces.base import COLORS, CONDITIONS, NO_BRAND, ListingFacts, PhotoRule
from everystall.marketplaces.taxonomy import CATEGORIES, find_category, find_size

#: What a photo is sent as: large enough for a label's words.
SENT = PhotoRule(max_count=8, longest_side=1024, quality=80, max_bytes=300_000)
#: From here on it is filled in; below it the seller is asked.
SURE: Final = 0.7
MOST_NOTES: Final = 4000


class Told(BaseModel):
    """One thing that was seen or read; empty where it was not."""

    value: str = Field("", max_length=400)
    confidence: float = Field(0, ge=0, le=1)
    #: "photo 1", "notes"
    sources: list[str] = Field([], max_length=20)
    #: The words as they stand there.
    quote: str = Field("", max_length=400)


class Measurement(Told):
    """What is measured, and how much: chest, "20 in"."""

    name: str = Field("", max_length=60)


class Reading(BaseModel):
    """What the photos and notes tell of the thing."""

    title: str = Field("", max_length=400)
    brand: Told = Told()
    category: Told = Told()
    condition: Told = Told()
    size: Told = Told()
    colors: list[Told] = Field([], max_length=10)
    flaws: list[Told] = Field([], max_length=20)
    details: list[Told] = Field([], max_length=20)
    measurements: list[Measurement] = Field([], max_length=20)
    #: In dollars: "24".
    price: Told = Told()
    price_reason: str = Field("", max_length=400)


@dataclass(frozen=True)
class Proposed:
    """One field of a listing, by its name there, as it may be filled in."""

    field: str
    value: Any
    confidence: float
    #: Where it comes from, as a person reads it: "photo 2", "notes".
    sources: tuple[str, ...]
    quote: str = ""
    #: Why a price.
    reason: str = ""

    @property
    def sure(self) -> bool:
        """A price never is: it is an idea."""
        return self.confidence >= SURE and self.field != "price"


def prompt_for(photos: int, notes: str) -> str:
    return prompts.render(
        "reading",
        photos=str(photos),
        notes=prompts.bare(notes[:MOST_NOTES]) or "(none)",
        conditions=", ".join(CONDITIONS),
        colours=", ".join(COLORS),
        categories="\n".join(f"{key}: {' > '.join(one.label)}" for key, one in CATEGORIES.items()),
    )


def proposed(reading: Reading, photos: int, notes: str) -> list[Proposed]:
    """What counts of it, in the order of the form."""
    notes = prompts.bare(notes[:MOST_NOTES])
    found: dict[str, Proposed] = {}

    def take(field: str, told: Told, value: Any, confidence: float | None = None) -> None:
        sources = _sources(told, photos, notes)
        if sources and value not in (None, "", ()):
            sure = told.confidence if confidence is None else confidence
            found[field] = Proposed(field, value, sure, sources, told.quote.strip())

    if _is_read(reading.brand, photos, notes):
        take("brand", reading.brand, _line(reading.brand.value))
    category = find_category(_line(reading.category.value))
    take("category", reading.category, category.key if category else None)
    condition = reading.condition.value.strip()
    take("condition", reading.condition, condition if condition in CONDITIONS else None)
    if _is_read(reading.size, photos, notes):
        scale = category.size_scale if category else None
        size = find_size(scale, reading.size.value) if scale else None
        take("size", reading.size, size or _line(reading.size.value),
             None if size else min(reading.size.confidence, SURE / 2))  # fmt: skip
    colors = [
        one for one in reading.colors if one.value.lower().strip() in COLORS and _sources(one, photos, notes)
    ]
    if colors:
        names = tuple(dict.fromkeys(one.value.lower().strip() for one in colors))
        take("colors", colors[0], names, min(one.confidence for one in colors))
    prose = _description(reading, photos, notes)
    if prose is not None:
        found["description"] = prose
    sure = {name: one for name, one in found.items() if one.sure}
    title = _title(reading.title, sure, prose)
    if title and sure:
        told = [one.confidence for name, one in sure.items() if name in ("brand", "category")]
        weakest = min(told, default=0.0)
        whence = _whence(one.sources for one in sure.values())
        found = {"title": Proposed("title", title, weakest, whence), **found}
    price = re.fullmatch(r"\$?\s*(\d{1,6})(?:\.(\d\d))?", reading.price.value.strip())
    sources = _sources(reading.price, photos, notes)
    if price and sources and int(price[1]):
        cents, why = int(price[1]) * 100 + int(price[2] or 0), _line(reading.price_reason)
        found["price"] = Proposed("price", cents, reading.price.confidence, sources, reason=why)
    order = ("title", "description", "category", "brand", "size", "condition", "colors", "price")
    return [found[name] for name in order if name in found]


def _sources(told: Told, photos: int, notes: str) -> tuple[str, ...]:
    """Those that there are: photos by their number, the notes where the quote stands in them."""
    found = []
    for source in told.sources:
        said = re.fullmatch(r"\W*(?:photo\W*(\d{1,3})|(notes?))\W*", source.strip(), re.IGNORECASE)
        if said and said[1] and 1 <= int(said[1]) <= photos:
            found.append(f"photo {int(said[1])}")
        elif said and said[2] and told.quote.strip() and _within(told.quote, notes):
            found.append("notes")
    return tuple(dict.fromkeys(found))


def _whence(several: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Of several, each once: the photos by their numbers, then the notes."""
    found = {source for sources in several for source in sources}
    return tuple(sorted(found, key=lambda source: (source == "notes", len(source), source)))


def _is_read(told: Told, photos: int, notes: str) -> bool:
    """A value that stands in words somebody can look up. That there is no brand is nothing that is read."""
    return (
        bool(told.value.strip())
        and told.value.strip().lower() != NO_BRAND
        and bool(_sources(told, photos, notes))
        and _within(told.value, told.quote)
    )


def _within(part: str, whole: str) -> bool:
    """Word for word, beginning and ending where words do."""
    return bool(words(part)) and f" {' '.join(words(part))} " in f" {' '.join(words(whole))} "


# ---- text ------------------------------------------------------------------------------------------

#: Nobody can see these.
_GENUINE: Final = frozenset(map(stem, (
    "authentic", "authenticity", "genuine", "original", "real", "certified", "replica", "fake", "guaranteed",
    "legit",
)))  # fmt: skip
_MATERIALS: Final = frozenset(map(stem, MATERIALS))


def _may_be_said(told: Told, photos: int, notes: str) -> bool:
    """Of a detail, a flaw or a measurement: materials and that it is genuine only as they stand somewhere."""
    claimed = {stem(word) for word in words(told.value)}
    if not told.value.strip() or not (sources := _sources(told, photos, notes)):
        return False
    quoted = {stem(word) for word in words(told.quote)}
    if claimed & _GENUINE and not ("notes" in sources and claimed & _GENUINE <= quoted):
        return False
    return claimed & _MATERIALS <= quoted


def _is_plain(told: Told, unread: frozenset[str]) -> bool:
    """It names nothing, and no number or size, but what its quote has: a brand may hide in a detail.
    `unread`: words of a brand and a size that nobody can point at."""
    quoted = frozenset(words(told.quote))
    said = told.value.split()
    named = {word for one in said if _NAMED.search(one) and not _SHAPE.fullmatch(one) for word in words(one)}
    if said and said[0].istitle():  # a sentence may begin so
        named -= {word for word in words(said[0]) if stem(word) in PLAIN}
    sizes = claims_of(Text("", told.value), ListingFacts())["sizes"]
    return (
        named <= quoted
        and unread.isdisjoint(frozenset(words(told.value)) - quoted)
        and sizes <= claims_of(Text("", told.quote), ListingFacts())["sizes"]
    )


#: A name, a size or a number; "V-neck" and "T-shirt" are none.
_NAMED: Final = re.compile(r"[^\W\da-z]|\d")
_SHAPE: Final = re.compile(r"\W*[A-Z]-[a-z]+\W*")


def _said(
    reading: Reading, photos: int, notes: str
) -> tuple[list[tuple[Told, bool]], list[tuple[Measurement, bool]], list[tuple[Told, bool]]]:
    """Details, measurements and flaws that may be said, each with whether it is sure."""
    unread = frozenset(
        word for one in (reading.brand, reading.size) if not _is_read(one, photos, notes)
        for word in words(one.value)
    )  # fmt: skip
    details, flaws = (
        [(one, one.confidence >= SURE and _is_plain(one, unread))
         for one in told if _may_be_said(one, photos, notes)]
        for told in (reading.details, reading.flaws)
    )  # fmt: skip
    sizes = [
        (one, one.confidence >= SURE and _is_plain(one, unread) and _within(one.value, one.quote))
        for one in reading.measurements
        if one.name.strip() and re.search(r"\d", one.value) and _may_be_said(one, photos, notes)
    ]
    return details, sizes, flaws


def doubts(reading: Reading, photos: int, notes: str) -> list[str]:
    """What is not sure enough for the description, and where it was seen: it is the seller's to say. Flaws
    first."""
    notes = prompts.bare(notes[:MOST_NOTES])
    details, sizes, flaws = _said(reading, photos, notes)
    found: list[tuple[Told, str]] = [(one, one.value) for one, sure in flaws if not sure]
    found += [(one, f"{one.name} {one.value}") for one, sure in sizes if not sure]
    found += [(one, one.value) for one, sure in details if not sure]
    return [f"{_line(said)} ({', '.join(_sources(one, photos, notes))})" for one, said in found]


def _description(reading: Reading, photos: int, notes: str) -> Proposed | None:
    """What was seen, a sentence each; measurements and flaws on lines of their own."""
    told = _said(reading, photos, notes)
    details, flaws = ([one for one, sure in some if sure] for some in (told[0], told[2]))
    sizes = [one for one, sure in told[1] if sure]
    lines = [" ".join(_sentence(one.value) for one in details)]
    if sizes:
        lines.append(
            "Measurements: " + ", ".join(f"{_line(one.name)} {_line(one.value)}" for one in sizes) + "."
        )
    if flaws:
        lines.append("Flaws: " + "; ".join(_line(one.value).rstrip(".") for one in flaws) + ".")
    used = [*details, *sizes, *flaws]
    if not used:
        return None
    whence = _whence(_sources(one, photos, notes) for one in used)
    return Proposed(
        "description", "\n".join(filter(None, lines)), min(one.confidence for one in used), whence
    )


def _title(said: str, found: Mapping[str, Proposed], prose: Proposed | None) -> str:
    """The model's, where it is of words that were found and are sure; else made of them: brand, kind, colour,
    size."""
    category = find_category(found["category"].value) if "category" in found else None
    kind = category.label[-1] if category else ""
    brand, size = (str(found[name].value) if name in found else "" for name in ("brand", "size"))
    colour = found["colors"].value[0] if "colors" in found else ""
    known = {stem(word) for text in (brand, size, " ".join(category.label) if category else "", colour,
                                     prose.value if prose else "") for word in words(text)}  # fmt: skip
    known |= {stem(word) for word in GLUE}
    title = _line(said)
    if (
        words(title)
        and len(title) <= 80
        and all(stem(word) in known for word in words(title))
        and brand in title
    ):
        return title
    made = " ".join(
        filter(None, [brand, kind[:1].upper() + kind[1:], colour, f"size {size}" if size else ""])
    )
    return made[:80].strip() if kind else ""


def _line(text: str) -> str:
    return " ".join(text.split())


def _sentence(text: str) -> str:
    text = _line(text)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def best(found: Sequence[Proposed]) -> dict[str, Any]:
    """What may be filled in without asking."""
    return {one.field: one.value for one in found if one.sure}
