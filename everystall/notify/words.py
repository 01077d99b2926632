"""What happened, in words for the seller: the same in the app, in a mail, in a push."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.marketplaces import MARKETPLACES
from everystall.models import Connection, Event, Listing
from everystall.notify.notices import SUBJECTS, subject_of

log = structlog.get_logger()

#: Of one in a message.
LONGEST: Final = 300


@dataclass(frozen=True)
class Told:
    event_id: int
    title: str
    text: str
    #: The page that it is about, from the root.
    href: str
    #: ok · bad · warn · info · sold
    tone: str
    #: Its subject's place: the least comes first.
    place: int
    #: There are no words for it: shown in the app, and sent nowhere.
    wordless: bool = False


@dataclass(frozen=True)
class _Names:
    titles: Mapping[str, str]
    accounts: Mapping[str, str]

    def listing(self, data: Mapping[str, Any]) -> str:
        return self.titles.get(str(data.get("listingId"))) or data.get("title") or "A listing without a title"

    def place(self, data: Mapping[str, Any]) -> str:
        """ "Poshmark", or with the account's name where the seller has several there"""
        label = MARKETPLACES.get(str(data.get("marketplace")), data.get("place") or "A marketplace")
        name = self.accounts.get(str(data.get("browserProfileId")))
        return f"{label} ({name})" if name else label


async def told(session: AsyncSession, events: Sequence[Event]) -> list[Told]:
    """In the same order, whatever one of them is. The session acts as the seller."""
    ids = {id for event in events if (id := _id(event.data.get("listingId"))) is not None}
    titles = await session.execute(select(Listing.id, Listing.title).where(Listing.id.in_(ids)))
    accounts = list(await session.scalars(select(Connection)))
    several = {
        one.marketplace for one in accounts if sum(o.marketplace == one.marketplace for o in accounts) > 1
    }
    names = _Names(
        {str(id): title for id, title in titles if title},
        {
            one.public_id: one.label or one.account_name or ""
            for one in accounts
            if one.marketplace in several
        },
    )
    return [_told(event, names) for event in events]


def _id(given: Any) -> UUID | None:
    try:
        return UUID(str(given))
    except ValueError:
        return None


def _told(event: Event, names: _Names) -> Told:
    try:
        title, text, href, tone = _SAYS[event.type](event.data, names)
        title, text = _short(title), _short(text)
    except Exception as e:  # of another version, or not as we write it: the others are told all the same
        log.warning("notice.no_words", event_id=event.id, type=event.type, error=type(e).__name__)
        said = "This Everystall has no words for what happened here. Whoever runs it finds it in the log."
        return Told(event.id, "Something happened", said, "/notifications", "info", len(SUBJECTS), True)
    subject = subject_of(event.type, event.data) or ""
    return Told(event.id, title, text, href, tone, [*SUBJECTS, ""].index(subject))


def _short(text: str) -> str:
    """In one line, so that it breaks no header."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def first_first(several: Iterable[Told]) -> list[Told]:
    """What is most urgent, then what is newest."""
    return sorted(several, key=lambda one: (one.place, -one.event_id))


# ---- what each says: title, text, where to, tone ----------------------------------------------------

_Said = tuple[str, str, str, str]


def _account(data: Mapping[str, Any]) -> str:
    return f"/connections#{data['browserProfileId']}" if data.get("browserProfileId") else "/connections"


def _stalls(data: Mapping[str, Any]) -> str:
    return f"/listings/{data['listingId']}/stalls"


def _live(data: Mapping[str, Any], names: _Names) -> _Said:
    return f"Live on {names.place(data)}", names.listing(data), _stalls(data), "ok"


def _needs_you(data: Mapping[str, Any], names: _Names) -> _Said:
    said = (data.get("needsYou") or {}).get("message") or ""
    href = f"/needs-you?at={data['listingId']}-{data['browserProfileId']}"
    return f"{names.place(data)} needs you", f"{names.listing(data)}: {said}", href, "bad"


def _sold(data: Mapping[str, Any], names: _Names) -> _Said:
    price = data.get("price")
    price = f", ${price['amount'] / 100:,.2f}" if price else ""
    left = data.get("left")
    then = f" {left} left." if left else " It is being taken down elsewhere." if left == 0 else ""
    return f"Sold on {names.place(data)}", f"{names.listing(data)}{price}.{then}", "/sales", "sold"


def _twice(data: Mapping[str, Any], names: _Names) -> _Said:
    earlier, later = data.get("earlier"), data["later"]
    where = (
        f"on {names.place(earlier)} and on {names.place(later)}" if earlier else f"on {names.place(later)}"
    )
    href = f"/needs-you?at={data['listingId']}-{later['browserProfileId']}"
    text = f"{names.listing(data)} was sold {where}, more often than you have it. We cancel neither."
    return "Sold twice", text, href, "bad"


def _unclear(data: Mapping[str, Any], names: _Names) -> _Said:
    return f"Something may be sold on {names.place(data)}", data.get("message", ""), _account(data), "bad"


def _cancelled(data: Mapping[str, Any], names: _Names) -> _Said:
    return f"An order on {names.place(data)} was cancelled", names.listing(data), "/sales", "warn"


def _late(data: Mapping[str, Any], names: _Names) -> _Said:
    if data.get("until"):
        lowers, until = data.get("lowers"), f"{datetime.fromisoformat(data['until']):%H:%M} UTC"
        done, title = ("made fewer", "Not made fewer on") if lowers else ("taken down", "Still on")
        text = (
            f"{names.listing(data)} was sold elsewhere, and {names.place(data)} asked us to rest until "
            f"{until}. It is {done} right after that; look there yourself meanwhile."
        )
        return f"{title} {names.place(data)}, which asked us to rest", text, _stalls(data), "bad"
    if data.get("lowers"):
        text = (
            f"Some of {names.listing(data)} sold, and after five minutes more than are left may still be "
            "offered here. We go on trying; look there yourself."
        )
        return f"Not made fewer on {names.place(data)} yet", text, _stalls(data), "bad"
    text = (
        f"{names.listing(data)} was sold elsewhere, and is not known to be gone here after five minutes. "
        "We go on trying; look there yourself."
    )
    return f"Not gone from {names.place(data)} yet", text, _stalls(data), "bad"


def _not_relisted(data: Mapping[str, Any], names: _Names) -> _Said:
    text = f"{names.listing(data)}: {data.get('message', '')}"
    return f"Not relisted on {names.place(data)}", text, _stalls(data), "warn"


def _signed_out(data: Mapping[str, Any], names: _Names) -> _Said:
    return f"{names.place(data)} signed you out", data.get("message", ""), _account(data), "bad"


def _unseen(data: Mapping[str, Any], names: _Names) -> _Said:
    return f"{names.place(data)} cannot be seen", data.get("message", ""), _account(data), "bad"


def _mailbox(data: Mapping[str, Any], names: _Names) -> _Said:
    return "Your mailbox cannot be read", data.get("message", ""), "/connections/mails", "warn"


def _blind_ended(data: Mapping[str, Any], names: _Names) -> _Said:
    many = _how_many(len(data.get("listingIds", ())), "listing")
    text = f"We cannot see what sells there. By your rule {many} that it has come down elsewhere meanwhile."
    return f"Taken down because of {names.place(data)}", text, _account(data), "warn"


def _put_back(data: Mapping[str, Any], names: _Names) -> _Said:
    many = _how_many(len(data.get("listingIds", ())), "listing")
    return f"{names.place(data)} can be seen again", f"{many} posted again elsewhere.", _account(data), "ok"


def _imported(data: Mapping[str, Any], names: _Names) -> _Said:
    if data.get("status") != "done":
        return f"{names.place(data)} could not be read", data.get("message") or "", _account(data), "warn"
    text = (
        f"{_how_many(data.get('created', 0), 'listing')} came in, {data.get('known', 0)} were here already."
    )
    return f"Your {names.place(data)} listings are here", text, "/inventory", "ok"


def _matched(data: Mapping[str, Any], names: _Names) -> _Said:
    linked, proposed = data.get("linked", 0), data.get("proposed", 0)
    text = f"{linked} were found to be the same thing and are one listing now; {proposed} more may be."
    return "Your listings were compared", text, "/inventory/matches", "info"


def _webhook(data: Mapping[str, Any], names: _Names) -> _Said:
    return "A webhook was disabled", data.get("message", ""), "/notifications/webhooks", "warn"


#: What was changed in how somebody signs in, for their account's page too.
SIGN_IN_CHANGES: Final = {
    "password_changed": "The password was changed",
    "second_factor_on": "The second factor was switched on",
    "second_factor_off": "The second factor was switched off",
    "second_factor_reset": "The second factor was taken off by somebody else",
    "codes_guessed": "Wrong codes were given after your password",
    "restored": "A backup was restored, and what signs you in is as it was then",
    "recovery_codes": "New recovery codes were made",
    "recovery_code_used": "A recovery code was used",
    "passkey_added": "A passkey was added",
    "passkey_removed": "A passkey was removed",
    "provider_connected": "An identity provider was connected",
    "provider_disconnected": "An identity provider was disconnected",
}
#: Of those, what its seller may know nothing of.
ALARMING: Final = ("second_factor_reset", "codes_guessed")


def _sign_in(data: Mapping[str, Any], names: _Names) -> _Said:
    about = f"{data['about']}. " if data.get("about") else ""
    then = "It was not you? Change your password, and sign out the browsers that you do not know."
    if data["what"] == "restored":
        then = "Remove what you had removed since, and make new recovery codes: none of before is good."
    text = f"{about}{then}"
    tone = "bad" if data["what"] in ALARMING else "warn"
    return SIGN_IN_CHANGES[data["what"]], text, "/account/sign-in#history", tone


def _channel(data: Mapping[str, Any], names: _Names) -> _Said:
    text = f"{data['label']}: {data['message']}"
    return "A channel does not work", text, f"/notifications/settings#{data['kind']}", "warn"


def _how_many(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"


_SAYS: Final[Mapping[str, Callable[[Mapping[str, Any], _Names], _Said]]] = {
    "publication.live": _live,
    "publication.needs_you": _needs_you,
    "sale.detected": _sold,
    "sale.double": _twice,
    "sale.unclear": _unclear,
    "sale.cancelled": _cancelled,
    "delist.late": _late,
    "relist.skipped": _not_relisted,
    "session.expired": _signed_out,
    "watch.failed": _unseen,
    "mailbox.failed": _mailbox,
    "blind.ended": _blind_ended,
    "blind.put_back": _put_back,
    "import.finished": _imported,
    "matching.finished": _matched,
    "webhook.disabled": _webhook,
    "account.sign_in_changed": _sign_in,
    "channel.failed": _channel,
}
