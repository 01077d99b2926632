"""How like two listings are: the evidence for and against their being the same thing, what it is worth in
points, and what it is in words. Pure, and the same whichever way round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rapidfuzz import fuzz

from everystall.content.photos import PHOTO_DISTANCE
from everystall.inventory.traits import (
    CONDITION_GAP,
    LiveListing,
    Traits,
    View,
    compare_colors,
    compare_sizes,
    is_told,
)

#: A title is a witness from here (0 to 1): the same words, some left out, added or exchanged.
TITLE_WITNESS = 0.65
#: Levels of 255 in a channel up to which a view's centre has the same colour: recompression moves it by less.
TINT = 24
#: Of 100: "patagona" is patagonia (94), "columbia" is not "colombo" (67).
BRAND_LIKENESS = 80


class Evidence(NamedTuple):
    """True: the same; False: different; None: not told."""

    sku: bool | None
    #: How many photos they have in common, and how many the one with fewer has.
    photos: int
    of: int
    #: A photo in common but for its colour.
    recolored: bool
    #: 0 to 1.
    title: float
    numbers: bool | None
    brand: bool | None
    size: bool | None
    #: One tells a size, and the other none or in another scale.
    size_unclear: bool
    color: bool | None
    #: The lower price as a share of the higher.
    price: float | None
    condition: bool | None
    category: bool | None
    quantity: bool


def weigh(one: LiveListing, other: LiveListing, a: Traits, b: Traits) -> Evidence:
    """The same whichever way round."""
    photos, recolored = _photos_in_common(a, b)
    size = compare_sizes(a.sizes, b.sizes)
    return Evidence(
        sku=a.sku == b.sku if a.sku and b.sku else None,
        photos=photos,
        of=min(len(a.photos), len(b.photos)),
        recolored=recolored,
        title=_likeness(a, b),
        numbers=bool(a.numbers & b.numbers) if a.numbers and b.numbers else None,
        brand=_same_brand(a, b),
        size=size,
        size_unclear=size is None and (is_told(a.sizes) or is_told(b.sizes)),
        color=compare_colors(a.colors, b.colors),
        price=_price_ratio(one, other),
        condition=_same_condition(a, b),
        category=bool(a.category & b.category) if a.category and b.category else None,
        quantity=(one.quantity or 1) == (other.quantity or 1),
    )


def points(found: Evidence) -> float:
    """What the evidence is worth: identity first (SKU, photos, title), then what only agrees or does not."""
    total = {True: 6.0, False: -2.0, None: 0.0}[found.sku]
    total += 2.0 * min(found.photos, 3)
    total -= 3.0 if found.recolored else 0.0
    total += 8.0 * (found.title - 0.5)  # -4 for no word in common to 4 for the same words
    total += {True: 1.0, False: -2.0, None: 0.0}[found.numbers]
    total += {True: 1.0, False: -4.0, None: 0.0}[found.brand]
    total += {True: 1.0, False: -5.0, None: 0.0}[found.size]
    total += {True: 0.5, False: -4.0, None: 0.0}[found.color]
    total += {True: 0.0, False: -2.0, None: 0.0}[found.condition]
    total += {True: 0.5, False: -0.5, None: 0.0}[found.category]
    if found.price is not None:
        total += 1.0 if found.price >= 0.9 else 0.0 if found.price >= 0.6 else -2.0
    return total


def doubts_of(found: Evidence) -> list[str]:
    """What forbids a link, however many points there are."""
    doubts = []
    if found.size is False:
        doubts.append("The sizes differ")
    if found.size_unclear:
        doubts.append("Whether the sizes are the same is not told")
    if found.color is False or found.recolored:
        doubts.append("The colours differ")
    if found.brand is False:
        doubts.append("The brands differ")
    if found.sku is False:
        doubts.append("The SKUs differ")
    if found.numbers is False:
        doubts.append("The numbers in the titles differ")
    if found.condition is False:
        doubts.append("One is new, the other worn")
    if not found.quantity:
        doubts.append("One of them stands for several pieces")
    if _witnesses(found) < 2:
        doubts.append("Only one thing speaks for it: SKU, photos or title")
    return doubts


def reasons_of(found: Evidence) -> list[str]:
    reasons = []
    if found.sku:
        reasons.append("The same SKU")
    if found.photos:
        reasons.append(f"{found.photos} of {found.of} photos the same" if found.of > 1 else "The same photo")
    if found.title >= TITLE_WITNESS:
        reasons.append("The same title" if found.title > 0.999 else "Nearly the same title")
    if found.brand:
        reasons.append("The same brand")
    if found.size:
        reasons.append("The same size")
    if found.color:
        reasons.append("The same colour")
    if found.price is not None and found.price >= 0.9:
        reasons.append("The same price" if found.price == 1 else "Nearly the same price")
    return reasons


def _witnesses(found: Evidence) -> int:
    photos = found.photos >= 2 or (found.photos == 1 and found.of == 1)
    return (found.sku is True) + photos + (found.title >= TITLE_WITNESS)


def _photos_in_common(a: Traits, b: Traits) -> tuple[int, bool]:
    """How many photos of one are among the other's, and whether one is but for its colour."""
    ours, theirs, recolored = set(), set(), set()
    for i, photo in enumerate(a.photos):
        for j, other in enumerate(b.photos):
            alike = same_photo(photo, other)
            if alike:
                ours.add(i)
                theirs.add(j)
            elif alike is False:
                recolored |= {(0, i), (1, j)}
    same = min(len(ours), len(theirs))
    off = min(
        sum(side == 0 and i not in ours for side, i in recolored),
        sum(side == 1 and j not in theirs for side, j in recolored),
    )
    return same, 0 < off >= same


def same_photo(photo: Sequence[View | None], other: Sequence[View | None]) -> bool | None:
    """False: but for its colour. None: another photo."""
    alike = None
    for ours, theirs in zip(photo, other, strict=False):
        if ours and theirs and (ours[0] ^ theirs[0]).bit_count() <= PHOTO_DISTANCE:
            if all(abs(x - y) <= TINT for x, y in zip(ours[1], theirs[1], strict=True)):
                return True
            alike = False
    return alike


def _likeness(a: Traits, b: Traits) -> float:
    """Of two titles, 0 to 1: half by all words, half by the words that the shorter one has."""
    if not a.words or not b.words:
        return 0.5  # nothing told, nothing against it
    return (fuzz.ratio(a.text, b.text) + fuzz.token_set_ratio(a.text, b.text)) / 200


def _same_brand(a: Traits, b: Traits) -> bool | None:
    """A slip of the pen is no other brand; "Levi" and "Levi Strauss" may be one or two. Where one tells none,
    its title may."""
    if a.brand and b.brand:
        if a.brand != b.brand and (a.brand in b.brand or b.brand in a.brand):
            return None
        return fuzz.ratio(a.brand, b.brand) >= BRAND_LIKENESS
    named, title = (a.brand, b.words) if a.brand else (b.brand, a.words)
    return True if named and named in title else None


def _price_ratio(one: LiveListing, other: LiveListing) -> float | None:
    a, b = one.price, other.price
    if a is None or b is None or a.currency != b.currency or min(a.amount, b.amount) <= 0:
        return None
    return min(a.amount, b.amount) / max(a.amount, b.amount)


def _same_condition(a: Traits, b: Traits) -> bool | None:
    if a.condition is None or b.condition is None:
        return None
    return abs(a.condition - b.condition) < CONDITION_GAP
