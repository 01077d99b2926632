"""What we meant against what a page shows, field by field; and what of it is whose doing. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from everystall.content.photos import PHOTO_DISTANCE, hamming
from everystall.marketplaces.base import Draft, Money, flat

QUANTITY = "quantity"


def compare(draft: Draft, shown: Mapping[str, Any]) -> dict[str, bool]:
    """{field: equal?} for each field that the page shows; nested ones as "shipping.payer"."""
    meant = flat(draft.model_dump(mode="json"))
    return {name: same(meant.get(name), value) for name, value in flat(shown).items()}


def same(a: Any, b: Any) -> bool:
    """Of one field's values: forms trim, fold white space and compose letters; that is no difference."""
    return bool(_plain(a) == _plain(b))


@dataclass(frozen=True)
class Merged:
    """What becomes of the fields of a live listing, by their names in `base.flat`."""

    #: To be written.
    write: frozenset[str]
    #: Changed there by hand, and not here: {field: value}. It stays so.
    adopted: Mapping[str, Any] = field(default_factory=dict)
    #: Changed there and here: {field: {"ours": …, "theirs": …}}.
    conflict: Mapping[str, Any] = field(default_factory=dict)


def merge(
    wanted: Mapping[str, Any],
    put: Mapping[str, Any],
    there: Mapping[str, Any],
    *,
    armed: Mapping[str, Any],
    adopted: Mapping[str, Any],
    unlike: Set[str] = frozenset(),
    recount: bool = False,
) -> Merged:
    """All flat. `put`: what we last put there; `armed`: what a click of ours may have put since, or {};
    `adopted`: what we know to be by hand; `unlike`: what differed from `put` from the beginning, so that
    nothing can be said of whose it is. A field that `there` does not show is as we know it.

    The quantity changes by itself: fewer than we know of may be a buyer's doing, of whom nobody told us yet,
    so that is nobody's question; `recount`: some sold there, and more than wanted is nobody's either."""
    write, kept, conflict = set(), {}, {}
    for name in {*wanted, *put}:
        ours, known = wanted.get(name), adopted.get(name, put.get(name))
        touched = name in armed and armed[name] != put.get(name)
        theirs = there.get(name, armed[name] if touched else known)
        own = name in unlike or same(theirs, known) or (touched and same(theirs, armed[name]))
        if ours == put.get(name) and not touched:  # nothing is wanted of this one
            if name == QUANTITY and name in there and recount and _more(theirs, ours):
                write.add(name)
            elif name == QUANTITY and not _more(theirs, ours):
                continue
            elif not same(theirs, put.get(name)) and (name in adopted or not own):
                kept[name] = theirs
        elif name in there and (theirs == ours or (same(theirs, ours) and not same(ours, put.get(name)))):
            continue  # where only white space is other, it has to be there letter by letter
        elif own:
            write.add(name)
        elif name == QUANTITY and (recount or not (_more(ours, known) and _more(theirs, known))):
            # more than wanted is lowered, and more wanted by the seller is put; fewer than wanted may be sold
            if _more(theirs, ours) or _more(ours, known):
                write.add(name)
        else:
            conflict[name] = {"ours": ours, "theirs": theirs}
    return Merged(frozenset(write), kept, conflict)


def _more(a: Any, b: Any) -> bool:
    return isinstance(a, int) and isinstance(b, int) and a > b


def by_hand(
    put: Mapping[str, Any],
    adopted: Mapping[str, Any],
    shown: Mapping[str, Any],
    read_back: Mapping[str, bool],
) -> dict[str, Any]:
    """{field: value} of what a live page shows that was changed there by hand: what was there as we put it
    and is other now, and what we know to be by hand. `put` is a draft as stored, `read_back` what its page
    was the last time. Fewer than we know of are left out: a sale does that, too; more, no buyer makes."""
    meant, found = flat(put), dict(adopted)
    for name, theirs in flat(shown).items():
        if name == QUANTITY and not _more(theirs, found.get(name, meant.get(name))):
            continue
        if same(theirs, meant.get(name)):
            found.pop(name, None)
        elif name in adopted or read_back.get(name):
            found[name] = theirs
    return found


def kept_note(label: str, field: str) -> dict[str, str]:
    """As the seller reads it (Publication.notes)."""
    said = f"This stands on {label} otherwise than here, and stays as it is there."
    if field == QUANTITY:
        said = (
            f"{label} offers another number than you have here. It stays so until one sells; then no more "
            "than are left here are offered there. If you have more, raise the quantity here."
        )
    return {"field": field, "message": said}


def differing(compared: Mapping[str, bool]) -> list[str]:
    """The names of what differs, in order."""
    return [name for name, equal in compared.items() if not equal]


def same_photos(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """All of ours, in our order, perceptually equal (64-bit difference hashes in hex)."""
    return len(ours) == len(theirs) and all(
        hamming(a, b) <= PHOTO_DISTANCE for a, b in zip(ours, theirs, strict=True)
    )


def same_thing(draft: Mapping[str, Any], title: str, price: Money | None) -> bool:
    """Title and price as we posted them: needed, and never enough."""
    if _plain(draft.get("title")) != _plain(title) and _plain(draft.get("description")) != _plain(title):
        return False
    return price is None or draft.get("price") == price.model_dump(mode="json")


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"\s+", " ", unicodedata.normalize("NFC", value)).strip() or None
    if isinstance(value, Money):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
