"""How a listing stands on an account, in the one vocabulary of all pages: a tone, and a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

#: The way of a post, as its seller reads it.
STEPS: Final = ("Waiting", "Opening", "Filling in", "Sent, looking for it", "Live")
#: state → which step of these it is.
STEP: Final = {"waiting": 0, "composing": 1, "filling": 2, "armed": 3, "reconciling": 3}
#: state → (tone, word), where nothing more has to be said of it.
_WORDS: Final = {
    "waiting": ("info", STEPS[0]),
    "composing": ("run", STEPS[1]),
    "filling": ("run", STEPS[2]),
    "armed": ("run", STEPS[3]),
    "reconciling": ("run", STEPS[3]),
    "live": ("ok", STEPS[4]),
    "revising": ("run", "Changing"),
    "ending": ("run", "Taking down"),
    "ended": ("off", "Ended"),
    "sold": ("sold", "Sold"),
    "cancelled": ("off", "Not posted"),
}
#: Tones, the one that asks for most of its seller first.
_URGENT: Final = ("bad", "run", "info", "ok", "sold", "off")
#: It is not there, and may be posted (again).
OVER: Final = ("ended", "sold", "cancelled")
#: States in which somebody is at it.
COUNTED: Final = ("composing", "filling", "armed", "reconciling", "revising", "ending")


def word_of(row: Any) -> tuple[str, str]:
    """(tone, word) of a Publication, or of a row with these of its columns."""
    if row.needs_you is not None:
        return "bad", "Needs you"
    if row.relist is not None and row.put == "live":
        return "run", "Relisting"
    if row.wanted == "ended" and row.put == "live" and row.state == "live":
        return _WORDS["ending"]
    if row.state == "live" and row.unsettled:
        return "info", "To be changed"
    return _WORDS[row.state]


def word_of_all(listing: Any, there: Sequence[Any]) -> tuple[str, str]:
    """(tone, word) of a listing: of where it stands, what is most urgent."""
    found = min((word_of(row) for row in there), key=lambda one: _URGENT.index(one[0]), default=None)
    if found is not None and found[0] == "bad":
        return found
    if listing.quantity_sold >= listing.quantity:
        return _WORDS["sold"]
    return found or ("off", "Draft")
