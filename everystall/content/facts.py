"""What a listing's text claims of the thing, and whether a rewritten one claims the same. Pure; it knows no
model.

A rewritten text may use the seller's own words, and the small ones that hold sentences together; nothing
else, so that it can name no brand, material or merit that the seller did not. What the seller said of
numbers, sizes, brand, colours, materials and condition has to be in it, and what is said of flaws, or is
denied, word for word. That refuses good texts too: then the seller's own stands.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from everystall.marketplaces.base import COLORS, CONDITIONS, NO_BRAND, ListingFacts
from everystall.marketplaces.taxonomy import find_category


@dataclass(frozen=True)
class Text:
    title: str
    description: str

    def __str__(self) -> str:
        return f"{self.title}\n{self.description}"


def compare(before: Text, after: Text, facts: ListingFacts) -> list[str]:
    """What of the seller's facts the text after has not, and what it has that they have not: a sentence each.
    Empty: it says the same."""
    had, has = claims_of(before, facts), claims_of(after, facts)
    given = claims_of(Text("", _told(facts)), facts)
    found = [f"“{what}” is missing." for name in _KINDS for what in sorted(had[name] - has[name])]
    for name in _KINDS:
        known = had[name] | (given[name] if name in _FREE else frozenset())
        found += [f"“{what}” is new." for what in sorted(has[name] - known)]
    for one in sorted(set(held(before)) - set(held(after))):
        if one not in _words_joined(after):
            found.append(f"“{one.strip()}” is missing.")
    for one in sorted(set(held(after)) - set(held(before))):
        if one not in _words_joined(before):
            found.append(f"“{one.strip()}” does not stand there like this.")
    known_words = {stem(word) for word in words(f"{before}\n{_told(facts)}")} | _GLUE_STEMS
    known_words |= set(_SHORT.get(facts.condition or "", ()))
    new = dict.fromkeys(word for word in words(str(after)) if stem(word) not in known_words)
    return found + [f"“{word}” is new." for word in new if f"“{word}” is new." not in found]


#: Kind of claim → what is claimed, as a person reads it.
Claims = Mapping[str, frozenset[str]]
_KINDS: Final = ("numbers", "sizes", "brand", "colours", "materials", "condition", "others")
#: What the text may say where the listing's own fields do.
_FREE: Final = frozenset({"numbers", "sizes", "brand", "colours", "materials", "condition"})


def claims_of(text: Text, facts: ListingFacts) -> Claims:
    whole = _plain(str(text))
    stems = {stem(word) for word in words(whole)}
    return {
        "numbers": frozenset(_numbers(whole, facts)),
        "sizes": frozenset(_sizes(whole)),
        "brand": frozenset(_brand(whole, facts)),
        "colours": frozenset(_colours(whole)),
        "materials": frozenset(word for word in MATERIALS if stem(word) in stems),
        "condition": frozenset(_conditions(whole)),
        "others": frozenset(word for word in _OTHERS if stem(word) in stems),
    }


def held(text: Text) -> list[str]:
    """The sentences that tell of a flaw or deny something, as words between spaces: they stand as they
    are."""
    found = []
    for sentence in _SENTENCES.split(_plain(str(text))):
        bare = _CONDITION.sub(" ", sentence.casefold())
        if any(word in _DENIALS or word.endswith("n't") or stem(word) in _FLAW_STEMS for word in words(bare)):
            found.append(_joined(sentence))
    return [one for one in found if one.strip()]


# ---- words ----------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """In small letters: "Levi’s 501, 32 x 30" → levi's, 501, 32x30."""
    return re.findall(r"[^\W_]+(?:['.][^\W_]+)*%?", _plain(text).casefold())


def stem(word: str) -> str:
    """ "stains", "stained" → stain; what is short stays."""
    word = word.removesuffix("'s").removesuffix("'")
    for end in ("ing", "ed", "es", "s"):
        if word.endswith(end) and not word.endswith("ss") and len(word) - len(end) >= 3:
            word = word[: -len(end)]
            break
    return word.removesuffix("e") if len(word) > 3 else word


def _plain(text: str) -> str:
    """One way of writing: straight quotes, 32x30, 8.5 for 8 1/2."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'").replace("‘", "'").replace("⁄", "/")
    text = re.sub(r"(\d+)\s+([1-7])/([248])\b", lambda m: f"{int(m[1]) + int(m[2]) / int(m[3]):g}", text)
    text = re.sub(r"(\d)\s*[x×]\s*(?=\d)", r"\1x", text, flags=re.IGNORECASE)
    return re.sub(r"(?<=\d)\s*(?:”|\"|'')", " in", text)


def _joined(text: str) -> str:
    return f" {' '.join(words(text))} "


def _words_joined(text: Text) -> str:
    """Sentence by sentence, so that nothing is read over a full stop."""
    return "|".join(_joined(sentence) for sentence in _SENTENCES.split(_plain(str(text))))


def _told(facts: ListingFacts) -> str:
    """What the listing's own fields say, for a text to say too."""
    category = find_category(facts.category)
    told = [facts.brand or "", f"size {facts.size}" if facts.size else "", *facts.colors]
    told += [CONDITIONS.get(facts.condition or "", facts.condition or "")]
    told += [" ".join(category.label)] if category else []
    told += [f"{name}: {value}" for name, value in facts.specifics.items()]
    return "\n".join(told)


_SENTENCES = re.compile(r"(?<!\d)[.!?](?=\s|$)|(?<=\d)[.!?](?=\s|$)|[!?;\n•|]")
#: What a number belongs to stands before the next of these.
_CLAUSES = re.compile(r"[,;!?()\n•|/–—]|\.(?=\s|$)|\s-\s|\band\b|\bwith\b|&", re.IGNORECASE)


# ---- the kinds ------------------------------------------------------------------------------------

_COUNTS = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
           "nine": "9", "ten": "10", "eleven": "11", "twelve": "12", "once": "1", "twice": "2"}  # fmt: skip
_UNITS = {
    **dict.fromkeys(("in", "inch", "inches"), "in"), **dict.fromkeys(("ft", "feet"), "ft"), "cm": "cm",
    "mm": "mm", **dict.fromkeys(("oz", "ounces"), "oz"), **dict.fromkeys(("lb", "lbs", "pounds"), "lb"),
    "g": "g", "kg": "kg", "yards": "yd", **dict.fromkeys(("year", "years"), "years"),
    **dict.fromkeys(("times", "x"), "times"),
}  # fmt: skip


def _numbers(text: str, facts: ListingFacts) -> Iterator[str]:
    """Each with its unit and what it is of: "chest 20 in", "55% linen". Of what names a model or a size the
    number alone."""
    plain = {*words(facts.size or ""), *words(facts.brand or "")}
    for clause in _CLAUSES.split(text):
        said = re.findall(r"\$?\d+(?:[.,]\d+)*%?(?![^\W_])|[^\W_]+(?:'[^\W_]+)?", clause.casefold())
        for at, word in enumerate(said):
            number = _COUNTS.get(word, word)
            if not number[-1:].isdigit() and not number.endswith("%") and not any(map(str.isdigit, number)):
                continue
            digits = re.sub(r"\D", "", number)
            after = said[at + 1 :]
            unit = _UNITS.get(after[0], "") if after else ""
            if word in ("once", "twice"):
                unit = "times"
            if number.endswith("%"):
                pass
            elif not unit and (number in plain or len(digits) > 2 or not re.fullmatch(r"[\d.,]+", number)):
                yield number
                continue
            if unit and word not in ("once", "twice"):
                after = after[1:]
            before = [one for one in reversed(said[:at]) if _names(one)]
            behind = [one for one in after if _names(one)]
            of = behind + before if number.endswith("%") else before + behind
            yield " ".join(filter(None, [stem(of[0]) if of else "", number.replace(",", ""), unit]))


def _names(word: str) -> bool:
    return (word.isalpha() or "'" in word) and stem(word) not in _GLUE_STEMS and word not in _UNITS \
        and word not in _COUNTS  # fmt: skip


_LETTERS = r"XXS|XS|S|M|L|XL|XXL|XXXL|[2-6]XL|[1-6]X"
_SIZE = re.compile(rf"(?<![\w'&.-])({_LETTERS})(?![\w'&]|-\w)")
_SIZE_SAID = re.compile(r"\b(?:size|sz)\b[.:]?\s*([\w./-]*\w)", re.IGNORECASE)


def _sizes(text: str) -> Iterator[str]:
    """Letters in capitals, and what stands after "size"."""
    for found in _SIZE.finditer(text):
        yield found[1]
    for found in _SIZE_SAID.finditer(text):
        said = found[1].casefold()
        if said in _SIZE_WORDS or any(map(str.isdigit, said)):
            yield _SIZE_WORDS.get(said, said)
        elif re.fullmatch(_LETTERS, said.upper()):
            yield said.upper()


_SIZE_WORDS = {"small": "S", "medium": "M", "large": "L"}


def _brand(text: str, facts: ListingFacts) -> Iterator[str]:
    brand = " ".join(words(facts.brand or ""))
    if brand and brand != NO_BRAND and f" {brand} " in _joined(text):
        yield facts.brand or brand


def _colours(text: str) -> Iterator[str]:
    """Where there are several, each with what it is of."""
    found: list[tuple[str, str]] = []
    for clause in _CLAUSES.split(text):
        said = words(clause)
        for at, word in enumerate(said):
            if (colour := _COLOUR_WORDS.get(word)) is not None:
                things = [one for one in said[at + 1 :] if _names(one) and one not in _COLOUR_WORDS]
                found.append((colour, stem(things[0]) if things else ""))
    several = len({colour for colour, _ in found}) > 1
    for colour, of in found:
        yield colour
        if several and of:
            yield f"{colour} {of}"


def _conditions(text: str) -> Iterator[str]:
    for found in _CONDITION.finditer(text.casefold()):
        yield _SAME.get(found[0], re.sub(r"[\s-]+", " ", found[0]))


_CONDITION = re.compile(
    r"\b(?:new[ -]with(?:out)? (?:tags?|box|flaws|imperfections)|nwt|nwot|nwob|bnwt|brand new|like[ -]new|new"
    r"|never worn|never used|unworn|unused|deadstock|(?:gently|hardly|barely|rarely|well|heavily|lightly) "
    r"(?:worn|used|loved)|pre-?(?:owned|loved)|euc|vguc|guc|worn|used|(?:excellent|very good|good|great|fair"
    r"|poor|mint|perfect|flawless|pristine|used) (?:pre-?owned |used |vintage )?condition|excellent|pristine"
    r"|flawless|mint|perfect|good|fair|poor)\b"
)
_SAME = {"nwt": "new with tags", "bnwt": "new with tags", "nwot": "new without tags",
         "new with tag": "new with tags", "new without tag": "new without tags"}  # fmt: skip
_SHORT: Final[Mapping[str, tuple[str, ...]]] = {
    "new_with_tags": ("nwt",), "new_without_tags": ("nwot",),
}  # fmt: skip


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COLOUR_WORDS = {
    **{colour: colour for colour in COLORS},
    **dict.fromkeys(("grey", "charcoal"), "gray"), **dict.fromkeys(("ivory", "ecru"), "cream"),
    "maroon": "burgundy", "multi": "multicolor", "multicolour": "multicolor",
    **{one: one for one in ("teal", "turquoise", "olive", "coral", "peach", "lavender", "mustard",
                            "magenta", "indigo", "rose", "camel", "taupe", "emerald", "aqua")},
}  # fmt: skip
MATERIALS: Final = _listed("""
    cotton linen silk wool merino cashmere mohair alpaca angora leather suede denim corduroy velvet
    satin chiffon lace tulle tweed flannel fleece jersey canvas nylon polyester polyamide acrylic rayon
    viscose modal lyocell tencel spandex elastane lycra polyurethane pleather faux vegan fur shearling
    down rubber plastic resin wood bamboo glass crystal ceramic porcelain steel brass bronze copper
    silver sterling gold plated platinum pearl diamond
""")
#: Merits and the like, of which none is lost.
_OTHERS: Final = _listed("""
    vintage antique handmade rare limited deadstock authentic genuine original replica certified
    waterproof washable lined unlined stretch petite plus tall oversized slim men mens women womens
    girls boys kids unisex maternity altered hemmed repaired tested working refurbished
""")
_FLAWS: Final = _listed("""
    flaw flawed imperfection defect damage hole stain spot mark tear torn rip snag pull pilling pill
    fade fading faded scratch scuff crack chip dent missing loose broken repair mended altered shrunk
    discolored discoloration yellowing odor smell fray frayed fraying wear crease rust peeling bleach
    blemish smudge bent incomplete defective burn moth stretched issue problem
""")
_DENIALS: Final = _listed("""
    no not none never without nothing cannot nor neither hardly barely free except only but however
""")
#: What holds sentences together, and claims nothing.
GLUE: Final = _listed("""
    a an the and or of in on at to for from by with as is are was were be been it its this that these
    those there here i my me you your we our they has have had do does can will would may please see
    look ask feel any all each both also too so very just then than when where which who what how if
    into out up over under about around along inside outside front back side top bottom left right made
    make comes come sold shown pictured photo photos picture pictures piece item listing pair set one
    details detail measurement measurements measures flat laid size sz colour color colors brand
    condition category material fits fit style approx approximately more question questions thanks thank
    send message ship ships shipped shipping
""")
_GLUE_STEMS = frozenset(map(stem, GLUE))
_FLAW_STEMS = frozenset(map(stem, _FLAWS))
#: Stems of words that are no name, also where a sentence begins with them.
PLAIN: Final = _GLUE_STEMS | _FLAW_STEMS | frozenset(map(stem, (
    *MATERIALS, *_OTHERS, *_COLOUR_WORDS, *_COUNTS, *_SIZE_WORDS,
    *_listed("long short light slight minor tiny faint button zip hood crew round high low"),
)))  # fmt: skip
