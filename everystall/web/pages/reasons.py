"""What waits for the seller, in the seller's words: a head, what to do, and how urgent it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

#: 0: money may be lost while it waits · 1: a whole account stands still · 2: a question about a listing ·
#: 3: something to be mended · 4: of Everystall's own ways of telling you


@dataclass(frozen=True)
class Reason:
    head: str
    todo: str
    rank: int


#: By `needsYou.reason`; `{label}` is the marketplace's name.
REASONS: Final[Mapping[str, Reason]] = {
    "sold_twice": Reason(
        "Sold twice", "Write to the buyer of the later order and cancel it there. We cancel nothing.", 0
    ),
    "posted_twice": Reason("It may be on {label} twice", "Look whether one of the two has to go.", 0),
    "session_expired": Reason(
        "Sign in to {label} again",
        "Open {label} in a browser that you paired and sign in: the new sign-in is handed over by itself, "
        "and everything goes on. Or sign in here, in a browser of Everystall's own.",
        1,
    ),
    "disconnected": Reason(
        "You took this {label} account away",
        "Connect it again in the extension, and what waits goes on; or leave it.",
        1,
    ),
    "no_worker": Reason(
        "Nobody works where this account is visited from",
        "Whoever runs Everystall starts a worker there, or gives the account another place.",
        1,
    ),
    "challenge": Reason(
        "{label} asks for a person",
        "Open it here: you see the very page that asks, and answer it. Or do what it asks for in your own "
        "browser, then say that you did.",
        1,
    ),
    "account_limited": Reason(
        "{label} takes no more for now", "Read what it says on its own page, then try again.", 1
    ),
    "paused": Reason(
        "You paused taking down, too", "Go on, or see to it there yourself: it may sell twice.", 1
    ),
    "watch_failed": Reason(
        "We cannot see what sells on {label}",
        "It goes on by itself once its orders can be read again; or have it looked at now. Look there "
        "yourself meanwhile.",
        1,
    ),
    "unresolved": Reason(
        "Was it posted on {label}?",
        "Look there. If you find it, give the address of its page. If not, post it again: we look once more "
        "before we do.",
        2,
    ),
    "twin_in_question": Reason(
        "One just like it may be on {label}", "Answer for the other one first, then try again.", 2
    ),
    "gone": Reason("It is gone from {label}", "That was not us. Post it again, or leave it.", 2),
    "edited_there": Reason("Changed on {label} and here", "Say which of the two it shall be.", 2),
    "sale_cancelled": Reason("An order was cancelled, or is missing", "Say whether it is for sale again.", 2),
    "listing_incomplete": Reason("{label} needs more", "Fill it in, then try again.", 3),
    "listing_rejected": Reason("{label} refused it", "Mend what it names, then try again.", 3),
    "not_published": Reason("{label} did not publish it", "Look there what it asks for, then try again.", 3),
    "photo_refused": Reason("A photo cannot be used", "Put another in its place, then try again.", 3),
    "marketplace_busy": Reason("{label} does not answer", "Try again in a while.", 3),
    "page_changed": Reason(
        "We lost our way on {label}",
        "Try again. If it stays so, do this one there by hand, and tell whoever runs Everystall.",
        3,
    ),
    "browser_not_started": Reason(
        "Everystall's own browser does not start",
        "That is no fault of yours, nor of {label}, and nothing was lost. Whoever runs Everystall gives its "
        "machine more memory, or less to do; then try again.",
        3,
    ),
    "browser_ended": Reason(
        "Everystall's own browser ends in the middle",
        "That is no fault of yours, nor of {label}. Whoever runs Everystall gives its machine more memory, "
        "or less to do; then try again.",
        3,
    ),
    "storage_full": Reason("There is no room left", "Whoever runs Everystall makes room; then try again.", 3),
    "storage_away": Reason(
        "The photos cannot be reached", "Whoever runs Everystall looks after it; then try again.", 3
    ),
    "photo_missing": Reason(
        "A photo does not lie where it should",
        "Your photos are not lost. Whoever runs Everystall gives all its parts the same photo store; then "
        "try again.",
        3,
    ),
    "misconfigured": Reason(
        "Everystall is not set up right", "Whoever runs it looks into its log; then try again.", 3
    ),
}
_OTHER: Final = Reason("{label} needs you", "Look there, then try again.", 3)

#: What follows from an answer, by its action.
ANSWERED: Final = {
    "retry": "It is tried again now.",
    "post_again": "It is looked for once more, then posted.",
    "it_is_there": "We look at that page now.",
    "put_mine": "What you wrote here is put there.",
    "keep_theirs": "It stays as it is there.",
    "give_up": "It is left alone; if it turns out to be there, it is taken down.",
    "end": "It is being taken down.",
    "understood": "That is settled.",
    "put_back": "It is for sale again.",
    "leave_sold": "It stays sold.",
    "reconnect": "Asked for a new capture: open the marketplace in a browser that you paired.",
    "look": "It is looked at now: this goes once its orders can be read.",
    "settled": "That is settled.",
    "resume": "Going on.",
    "relist": "It is taken down and posted again as new.",
    "enable": "It is told of events again from now on.",
    "delete": "It is gone.",
    "password": "The mailbox is read again with the new password.",
    "already": "That was answered already.",
}

_FIELDS: Final = {"colors": "Colours", "original_price": "Original price", "sku": "SKU"}


def reason_of(name: str) -> Reason:
    return REASONS.get(name, _OTHER)


def said_field(name: str) -> str:
    """A draft's field, as its seller calls it: "shipping.payer" → "Shipping: payer"."""
    outer, _, inner = name.partition(".")
    outer = _FIELDS.get(outer, outer.replace("_", " ").capitalize())
    return f"{outer}: {inner.replace('_', ' ')}" if inner else outer


def said_value(name: str, value: Any) -> str:
    """A value of a draft, for reading."""
    if value is None or value in ("", []):
        return "nothing"
    if isinstance(value, dict) and "amount" in value:
        return f"${value['amount'] / 100:,.2f}"
    if name == "photos" and isinstance(value, list):
        return f"{len(value)} photo{'s' if len(value) != 1 else ''}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
