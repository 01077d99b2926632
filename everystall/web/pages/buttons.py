"""The buttons that end what waits for the seller, on whichever page they stand: exactly the actions that the
API offers, and pressed by the functions of its routes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest, NotFound, Refused
from everystall.inventory.pairs import ActionOut
from everystall.inventory.publications import IF_THERE
from everystall.inventory.relisting import LOST
from everystall.models import Listing
from everystall.web import connections, publications, relisting, sessions
from everystall.web.deps import SignedIn
from everystall.web.shapes import PublicationOut

#: What is asked before the button does it, because it cannot be undone.
_SURE: Final = {
    "end": ("Take it down on {label}?", "Its page there goes, with its likes and comments.", "Take it down"),
    "relist": ("Relist it on {label}?", f"It is taken down and posted again as new. {LOST}", "Relist"),
}
#: The one that most people press comes first and stands out.
_PRIMARY: Final = (
    "retry",
    "it_is_there",
    "put_mine",
    "understood",
    "open_here",
    "reconnect",
    "resume",
    "look",
    "settled",
    "put_back",
)
_BAD: Final = ("end",)
RELIST: Final = ActionOut(name="relist", label="Relist", method="POST", href="")


@dataclass(frozen=True)
class Button:
    name: str
    text: str
    #: Classes of `btn`.
    look: str
    #: (question, why, yes), or nothing is asked.
    sure: tuple[str, str, str] | None
    #: It wants the address of the listing's page.
    asks_url: bool


def buttons_of(actions: Iterable[ActionOut], label: str) -> list[Button]:
    return one_first([button(one.name, one.label, label) for one in actions])


def one_first(buttons: Sequence[Button]) -> list[Button]:
    """Of several that would stand out only the first does."""
    first = next((one for one in buttons if one.look == "primary"), None)
    return [replace(one, look="") if one.look == "primary" and one is not first else one for one in buttons]


def button(name: str, text: str, label: str) -> Button:
    ends = "end" if text == IF_THERE else name  # asked as what is live is
    question = _SURE.get(ends)
    look = "primary" if name in _PRIMARY else "bad" if ends in _BAD else ""
    sure = (question[0].format(label=label), question[1], question[2]) if question else None
    return Button(name, text, look, sure, asks_url=name == "it_is_there")


def offered(publication: PublicationOut) -> list[ActionOut]:
    """What may be pressed of it now: what its question offers, else what may be done at any time."""
    asked = publication.needs_you.actions if publication.needs_you else []
    names = {one.name for one in asked}
    if "give_up" in names:  # which is the same, of what is not live
        names.add("end")
    more = [one for one in publication.actions if one.name not in names]
    at_rest = (publication.state, publication.wanted, publication.put) == ("live", "live", "live")
    if at_rest and not asked and publication.relist is None:
        more.insert(0, RELIST)
    return [*asked, *more]


async def press(
    session: AsyncSession, who: SignedIn, listing_id: UUID, account: str, name: str, url: str | None = None
) -> None:
    """Raises NotFound, and Refused for what does not fit (any more)."""
    if await session.get(Listing, listing_id) is None:
        raise NotFound
    there = (await publications.publications_of(session, [listing_id]))[listing_id]
    publication = next((one for one in there if one.browser_profile_id == account), None)
    if publication is None:
        raise NotFound
    session.expunge_all()  # an action locks its rows first and reads them then
    if name == "reconnect":
        await sessions.refresh_sessions(sessions.WhichBody(browser_profile_id=account), session, who)
    elif name == "relist":
        await relisting.relist_now(listing_id, account, session)
    elif name == "resume":
        resume = next((one for one in offered(publication) if one.name == name), None)
        if resume is None:
            raise Refused("It does not wait for that any more.", action="Nothing.")
        if resume.href == "/api/resume":
            await connections.resume_all(session, who)
        else:
            await connections.resume_connection(account, session)
    else:
        body = publications.ActionBody(url=url) if url else None
        try:
            await publications.decide(listing_id, account, name, session, body)
        except BadRequest as error:
            if name != "it_is_there":
                raise
            raise BadRequest(
                error.message, action="Paste the address of its page, as your browser shows it."
            ) from None
