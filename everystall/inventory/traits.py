"""What a marketplace's listing tells of the thing, in a form that can be compared across marketplaces: each
site has words of its own for sizes, conditions and colours. Pure. It never guesses: what is not told is
empty, and empty is never "different"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from everystall.content.photos import Fingerprint
from everystall.marketplaces.base import COLORS, CONDITIONS, NO_BRAND, Money, strip_marker


@dataclass(frozen=True)
class LiveListing:
    """One listing as its marketplace shows it. What the site does not tell stays None or empty."""

    #: The seller's account there (a connection's id): listings of one account are never linked.
    account: str
    #: The listing's id on that account.
    key: str
    title: str = ""
    brand: str | None = None
    size: str | None = None
    price: Money | None = None
    sku: str | None = None
    #: A key of CONDITIONS, or the site's own label.
    condition: str | None = None
    #: The site's path or any words of it.
    category: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    #: None: the site knows no quantities.
    quantity: int | None = None
    photos: tuple[Fingerprint, ...] = ()
    #: What several are known by that are one thing already; None: nothing is known of it.
    thing: str | None = None


#: Scale ("letter", "number", "waist", …) → what is told in it. A size may be told in several: "M (8-10)".
Sizes = Mapping[str, frozenset[str]]

View = tuple[int, tuple[int, int, int]]

#: What sellers write into titles and what says nothing of the thing.
TALK = frozenset((
    "a", "an", "and", "the", "for", "with", "in", "of", "on", "by", "to", "new", "nwt", "nwot", "euc",
    "vguc", "guc", "used", "preowned", "pre", "owned", "rare", "size", "sz", "us", "mens", "womens",
    "men", "women", "man", "woman", "ladies", "unisex", "condition", "great", "good", "excellent",
    "like", "free", "shipping", "item", "authentic", "genuine",
))  # fmt: skip
#: Other words for our colours, and colours that one seller calls this and another that: neither the same nor
#: different.
_COLOR_WORDS = {
    "grey": "gray",
    "ivory": "cream",
    "multi": "multicolor",
    "maroon": "burgundy",
    "golden": "gold",
}
_COLOR_FAMILIES = {"navy": "blue", "burgundy": "red", "cream": "white", "beige": "brown", "tan": "brown",
                   "khaki": "brown", "gold": "yellow", "silver": "gray"}  # fmt: skip
#: Sites' words → how good, 6 best. "Like new" is unused on one site and worn on another, hence the gap that
#: `conditions_differ` leaves.
_CONDITION_RANKS = {
    **{words.lower(): 6 - place for place, words in enumerate(CONDITIONS.values())},
    "new": 6, "brand new": 6, "nwt": 6, "new with box": 6, "new without box": 5, "never worn": 5,
    "new with imperfections": 4, "new/never worn": 5, "used - like new": 3, "used - excellent": 3,
    "pre-owned - excellent": 3, "excellent": 3, "gently used": 3, "very good": 3, "pre-owned - good": 2,
    "used - good": 2, "used": 2, "pre-owned": 2, "satisfactory": 1, "pre-owned - fair": 1, "used - fair": 1,
    "very worn": 0, "for parts or not working": 0,
}  # fmt: skip
#: Ranks apart that are no matter of one site's words against another's.
CONDITION_GAP = 3


@dataclass(frozen=True)
class Traits:
    """A listing, read."""

    words: frozenset[str]
    #: Model numbers and the like in the title: words with a digit that are no size.
    numbers: frozenset[str]
    brand: str | None
    sizes: Sizes
    sku: str | None
    colors: frozenset[str]
    condition: int | None
    category: frozenset[str]
    #: Of each photo its views as (hash, tint), None where one is plain.
    photos: tuple[tuple[View | None, ...], ...]

    @cached_property
    def text(self) -> str:
        """The title's words in one order, whatever order the seller wrote them in."""
        return " ".join(sorted(self.words))


def read(listing: LiveListing) -> Traits:
    title = words_of(listing.title)
    in_title = size_in_title(listing.title)
    sizes = read_size(listing.size) if listing.size else in_title
    told = {word for each in (sizes, in_title) for values in each.values() for value in values
            for word in words_of(value)}  # fmt: skip
    brand = _bare(listing.brand)
    return Traits(
        words=frozenset(title) - TALK or frozenset(title),
        numbers=frozenset(word for word in title if any(c.isdigit() for c in word)) - told,
        brand=None if brand in ("", NO_BRAND, "none", "na", "nobrand", "generic", "other") else brand,
        sizes=sizes,
        sku=_sku(listing.sku),
        colors=read_colors(" ".join(listing.colors) or listing.title),
        condition=_condition(listing.condition),
        category=frozenset(word for part in listing.category for word in words_of(part.replace("_", " "))),
        photos=tuple(views_of(photo) for photo in listing.photos),
    )


def words_of(text: str) -> list[str]:
    """In lower case, without accents and apostrophes: "Levi’s Café 501" → levis, cafe, 501."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return re.findall(r"[^\W_]+", re.sub(r"['’`]", "", plain))


def _bare(text: str | None) -> str:
    return "".join(words_of((text or "").replace("&", " and ")))


def _sku(sku: str | None) -> str | None:
    bare = _bare(strip_marker(sku))
    return None if bare in ("", "na", "none", "null", "sku", "0") else bare


def _condition(label: str | None) -> int | None:
    if label is None:
        return None
    said = re.sub(r"\s*\(.*\)", "", CONDITIONS.get(label, label)).strip().lower()
    return _CONDITION_RANKS.get(said)


def views_of(photo: Fingerprint) -> tuple[View | None, ...]:
    """None for what is plain or a mere gradient: such views of different photos are alike."""
    views = [(int(view, 16), tint) for view, tint in zip(photo.views, photo.tints, strict=True)]
    return tuple(view if PLAIN_BITS <= view[0].bit_count() <= 64 - PLAIN_BITS else None for view in views)


#: Bits of 64 that are set in a view that shows anything, and as many that are not.
PLAIN_BITS = 6


# ---- sizes ----------------------------------------------------------------------------------------

_LETTER_WORDS = {"XXSMALL": "XXS", "XSMALL": "XS", "EXTRASMALL": "XS", "SMALL": "S", "MEDIUM": "M",
                 "MED": "M", "LARGE": "L", "XLARGE": "XL", "EXTRALARGE": "XL", "XXLARGE": "XXL", "2XL": "XXL",
                 "XXXL": "3XL", "XXXXL": "4XL", "2XS": "XXS"}  # fmt: skip
_LETTER = (
    r"EXTRA(?:SMALL|LARGE)|X{0,4}SMALL|X{0,2}S|M(?:EDIUM|ED)?|X{0,2}LARGE|X{0,4}L|[2-6]X?L|[1-6]X|[2-3]XS"
    r"|MT|LT|X{1,2}LT|3XLT|4XLT"
)
#: Scale → how a size in it is written; what one takes is gone for those below it.
_SCALES = (
    ("fit", r"\bONE[ -]?SIZE(?: FITS (?:ALL|MOST))?\b|\bO/?S(?:FA|FM)?\b"),
    ("inches", r"\bW?(\d{2})\s*W?\s*[X×/]\s*L?(\d{2})\s*L?\b(?!\d)|\bW(\d{2})\s*L(\d{2})\b"),
    ("months", r"\b(\d{1,2})\s*-\s*(\d{1,2})\s*M(?:ONTHS?|OS?)?\b"),
    ("toddler", r"\b(\d)T\b"),
    ("bra", r"\b([2-5]\d)(A{1,2}|B|C|D{1,4}|E|F|G|H)\b"),
    ("kids", r"\b(\d{1,2}(?:\.5)?)([CY])\b"),
    ("chest", r"\b([3-6]\d)([SRL])\b"),
    ("eu", r"\b(?:EUR?|IT|FR|DE)\s*(\d{2}(?:\.5)?)\b"),
    ("uk", r"\bUK\s*(\d{1,2}(?:\.5)?)\b"),
    ("letter", rf"(?<![A-Z0-9])({_LETTER})(?![A-Z0-9])"),
    ("number", r"(?<![\d.])(\d{1,3}(?:\.\d+)?)(?![\d.])"),
)
_PATTERNS = tuple((scale, re.compile(pattern)) for scale, pattern in _SCALES)
#: Where a title says its size by itself: after "size", or written as no other word is.
_IN_TITLE = re.compile(
    r"\b(?:size|sz)\b[.:]?\s*((?:US\s*)?[\w./-]+(?:\s*x\s*\d{2})?)|\b(W?\d{2}\s?[xX×]\s?L?\d{2})\b"
    r"|(?<![\w'’.&-])(XXS|XS|X{1,3}L|[2-4]XL|S|M|L)(?![\w'’.&-])",
    re.IGNORECASE,
)


def read_size(text: str) -> Sizes:
    """ "US 8.5" → number 8.5 · "M (8-10)" → letter M, number 8, 10 · "32 x 30" → inches 32x30, number 32.
    What is in no scale stands as it is written."""
    rest = re.sub(r"\b(\d{1,2}) ([1-7])/([248])\b", _decimal, text.upper().replace("_", " "))
    rest = re.sub(
        r"\b(EXTRA|X{1,2})[ -](SMALL|LARGE)\b", lambda m: m[0].replace(" ", "").replace("-", ""), rest
    )
    found: dict[str, set[str]] = {}
    for scale, pattern in _PATTERNS:
        for match in pattern.finditer(rest):
            parts = [part for part in match.groups() if part]
            value = "x".join(parts) if scale in ("inches", "months") else "".join(parts) or scale
            value = _LETTER_WORDS.get(value, value) if scale == "letter" else value.removesuffix(".0")
            found.setdefault(scale, set()).add(value)
            if scale == "inches":  # a site that knows no inseam shows the waist alone
                found.setdefault("number", set()).add(parts[0])
        rest = pattern.sub(" ", rest)
    if not found and (bare := _bare(text)):
        found["written"] = {bare}
    return {scale: frozenset(values) for scale, values in found.items()}


def size_in_title(title: str) -> Sizes:
    """Only what can hardly be anything else; S, M, L as capitals only."""
    for match in _IN_TITLE.finditer(title):
        said, inches, letter = match.groups()
        if letter and len(letter) == 1 and not letter.isupper():
            continue
        sizes = read_size(said or inches or letter)
        if "written" not in sizes:  # "size inclusive" is none
            return sizes
    return {}


def _decimal(fraction: re.Match[str]) -> str:
    whole, above, below = map(int, fraction.groups())
    return f"{whole + above / below:g}"


def is_told(sizes: Sizes) -> bool:
    """One site says "One Size" where another has no size: neither tells anything."""
    return bool(sizes.keys() - {"fit"})


def compare_sizes(a: Sizes, b: Sizes) -> bool | None:
    """True: the same in a scale that both tell, and different in none. False: different in one. None: it
    cannot be said ("M" against "8", "M" against "S/M", "32x30" against a waist alone)."""
    shared = [(a[scale], b[scale]) for scale in a if scale in b]
    if any(not one & other for one, other in shared):
        return False
    whole = ("inches" in a) == ("inches" in b)
    return True if whole and any(one == other for one, other in shared) else None


# ---- colours, conditions --------------------------------------------------------------------------


def read_colors(text: str) -> frozenset[str]:
    """Our colour words in it."""
    said = [_COLOR_WORDS.get(word, word) for word in words_of(text)]
    return frozenset(word for word in said if word in COLORS)


def compare_colors(a: frozenset[str], b: frozenset[str]) -> bool | None:
    """False only where both tell colours and no two of them could be one."""
    if not a or not b or "multicolor" in a | b:
        return None
    if a & b:
        return True
    families = [{_COLOR_FAMILIES.get(color, color) for color in colors} for colors in (a, b)]
    return None if families[0] & families[1] else False
