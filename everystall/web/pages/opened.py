"""A page that somebody signed in has opened: who, the transaction, and the way back to the page after a form.

A form answers with a redirect, so that a reload sends nothing twice; what it did is named in the address by
one of the words below, never by text that somebody else could have put there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.inventory.questions import needs_you_count
from everystall.models import User
from everystall.notify import notices
from everystall.web import browsers
from everystall.web.account import get_user
from everystall.web.deps import AllParts, PageSeller, Parts, SignedIn
from everystall.web.render import PART, Reader, page

#: word → what was done, and what follows from it
SAID: Final[dict[str, tuple[str, str | None]]] = {
    "marked-sold": (
        "Marked as sold.",
        "It is taken down wherever it is live. You can take it back under Sales.",
    ),
    "marked-some": ("Marked as sold.", "That fewer are left is put wherever it is live."),
    "sale-back": (
        "Taken back.",
        "It is for sale again, and posted again where it was taken down because of it.",
    ),
    "cost-saved": ("Its cost is written.", "What is left of it is reckoned with that."),
    "sale-is-back": ("It is taken back.", None),
    "signed-out": ("You are signed out.", "Posting and taking down go on without you."),
    "paused": ("Paused.", "Nothing new is posted there until you go on. What sells is still taken down."),
    "paused-delists": (
        "Paused, taking down too.",
        "Nothing is posted or taken down there until you go on. What sells elsewhere waits for you.",
    ),
    "resumed": ("Going on.", "The account is looked at now; what waits is posted at its pace."),
    "resumed-no-worker": (
        "It is not paused any more.",
        "But no worker runs where this account is visited from: it goes on by itself when one does.",
    ),
    "asked": (
        "Asked for a new capture.",
        "A browser that you paired hands it over within a minute, while it is open and signed in there.",
    ),
    "saved": ("Saved.", "It counts from the next post on."),
    "answered-already": ("Nothing waits for you there any more.", "It is visited by itself."),
    "disconnected": ("Disconnected.", "The sign-in that was kept here is deleted."),
    "paused-all": (
        "Everything is paused.",
        "Nothing new is posted anywhere until you go on. What sells is still taken down.",
    ),
    "paused-all-delists": (
        "Everything is paused, taking down too.",
        "Nothing is posted or taken down anywhere until you go on. What sells waits for you.",
    ),
    "resumed-all": ("Going on everywhere.", "What waits is posted at each account's pace."),
    "password": ("Your password is changed.", "Every other browser is signed out."),
    "second-factor-off": ("Your second factor is off.", "Your password signs you in alone from now on."),
    "passkey-added": ("The passkey is added.", "It signs you in without a password, from now on."),
    "passkey-removed": (
        "The passkey is removed.",
        "It signs nobody in any more; remove it from the device too.",
    ),
    "connected": ("Connected.", "You sign in by it from now on."),
    "disconnected-provider": ("Disconnected.", "It signs nobody in here any more."),
    "second-factor-reset": (
        "The second factor is taken off.",
        "They sign in with their password alone until they set one up again, and are told.",
    ),
    "browser": ("That browser is signed out.", "It has to sign in again."),
    "unpaired": ("Unpaired.", "That browser hands nothing over any more."),
    "revoked": ("The token is revoked.", "Programs that use it are refused from now on."),
    "posted": (
        "Posting.",
        "It goes to all of these accounts. You may close this page: it goes on without you.",
    ),
    "posted-paused": (
        "Posting where it is not paused.",
        "On the accounts that you paused it waits until you go on.",
    ),
    "retry": ("Trying again.", None),
    "end": ("Taking it down.", "It is gone when its own page there says so."),
    "relist": ("Relisting.", "It is taken down, seen gone, and posted again as new."),
    "answered": ("Thank you.", "What follows from it is done now."),
    "listing-saved": ("Saved.", "Where it is live, it is changed there too."),
    "filled-in": ("Filled in.", "Look it over; what was unsure is still yours to say."),
    "copy-used": ("It stands there now.", "On this marketplace only; your own text is as it was."),
    "copy-saved": ("Saved.", None),
    "listing-restored": ("The listing is back.", "It is live nowhere: post it where it shall be."),
    "keep": ("It stays.", None),
    "listing-kept": (
        "It is not deleted.",
        "It stays wherever it is live, and is posted where it waited to be.",
    ),
    "listing-kept-in-part": (
        "It is not deleted.",
        "Where taking it down had begun, or was asked for before, that goes on: post it again there once it "
        "is gone.",
    ),
    "listing-ending": (
        "It is being taken down.",
        "Once it is gone everywhere, it is deleted here. This page shows how far that is.",
    ),
    "duplicated": ("This is the copy, a draft of its own.", "It has no SKU yet: that named the original."),
    "webhook-saved": ("Saved.", "What happens from now on is told as it says."),
    "webhook-saved-off": ("Saved.", "It is off: it is told nothing before you switch it on."),
    "template-saved": ("The template is kept.", "New listings can begin from it."),
    "template-applied": ("The template is applied.", "Parcel, postage and policies are as it says."),
    "template-deleted": ("The template is deleted.", "Listings that were begun from it stay as they are."),
    "view-saved": ("The view is kept.", "It stands beside the others above the list."),
    "view-renamed": ("The view has another name.", None),
    "view-deleted": ("The view is deleted.", "What it showed is shown still: it can be saved again."),
    "photos-added": ("The photos are added.", "The first is the cover."),
    "photo-moved": ("Moved.", "The first photo is the cover."),
    "photo-turned": ("Turned.", "It is sent like this wherever the listing is live; the original is kept."),
    "photo-deleted": ("The photo is deleted.", None),
    "settings": ("Saved.", "Webs and workers go by it within seconds; a visit under way, too."),
    "settings-same": ("Nothing was changed.", None),
    "healed-taken": (
        "They are brought in.",
        "Each is tried where our own ways fail, and has to prove itself.",
    ),
    "healed-known": ("All of them are known here already.", None),
    "healed-rejected": ("Rejected.", "It is never used again."),
    "live-import": (
        "It is being read.",
        "A worker reads what is live there, between its posts. You may close this page.",
    ),
    "rules-saved": ("Saved.", "It holds from now on; what waits for you already still does."),
    "mail-gone": ("The address is gone.", "Mails that are sent on to it are not taken any more."),
    "mailbox-saved": ("Your mailbox is watched.", "It is read within a minute; what came before is no news."),
    "mailbox-gone": ("Your mailbox is not read any more.", "Its password is deleted."),
    "price-rule": ("Saved.", "What is posted from now on goes by it; what is live stays as it is."),
    "price-rule-gone": ("There is no rule there any more.", "What is live stays as it is."),
    "linked": (
        "One thing.",
        "It is one listing from now on: when it sells once, it is taken down everywhere.",
    ),
    "apart": ("Two things.", "They are never proposed again."),
    "asked-again": ("Taken back.", "They are two listings, and you are asked again."),
    "comparing": ("They are being compared.", "What is certain is linked, what is likely comes up here."),
    "drops": ("Saved.", "The days count from now on, or from when a listing was posted."),
    "drops-gone": ("That schedule is gone.", "What has fallen stays where it is."),
    "relist-rule": (
        "Saved.",
        "What its time has come for is relisted within the hour, as many as the day takes.",
    ),
    "relist-rule-gone": (
        "Nothing is relisted there by itself any more.",
        "What is down for it is posted again.",
    ),
    "all-read": ("All read.", None),
    "confirmed": ("That address is confirmed.", "It is told what you choose below."),
    "saved-rules": ("Saved.", "What waits to be sent goes by it too."),
    "address-added": ("We have written to that address.", "Open the link in our mail within a day."),
    "service-added": ("That service is told from now on.", "Send it a test to see that it arrives."),
    "browser-added": ("Push is on in this browser.", "Send it a test to see that it arrives."),
    "test-sent": ("A test is on its way.", "What became of it is said beside the channel."),
    "webhook-test": ("A test is on its way.", "What its receiver answers stands below within seconds."),
    "webhook-pause": ("Paused.", "Nothing is sent there until you go on, and nothing of it later."),
    "webhook-enable": ("Going on.", "It is told of what happens from now on."),
    "webhook-delete": ("The webhook is deleted.", "Its log went with it."),
    "channel-removed": ("Removed.", "Nothing is sent there any more."),
    "taken-back": ("The invitation is taken back.", "Its link does not work any more."),
}


@dataclass(frozen=True)
class Opened:
    request: Request
    parts: Parts
    session: AsyncSession
    who: SignedIn
    user: User
    #: How many things wait for them.
    needs: int
    #: How many notifications they have not read.
    unread: int

    def show(self, name: str, *, status: int = 200, **context: Any) -> HTMLResponse:
        """The page, by the name of its template."""
        csrf = browsers.masked(browsers.csrf_token(self.parts.csrf_key, self.who.token_id))
        reader = Reader(self.user.email, self.user.role, csrf)
        said = SAID.get(self.request.query_params.get("said", ""))
        return page(self.request, name, reader=reader, status=status, said=said, needs=self.needs,
                    unread=self.unread, **context)  # fmt: skip


@asynccontextmanager
async def opened(
    request: Request, parts: Parts, who: SignedIn, *, whole: bool = True
) -> AsyncIterator[Opened]:
    """For a form whose work takes long (a password's): its page is opened for what is shown in the end, so
    that no transaction is open meanwhile. `whole`: with what is counted for the frame of a page."""
    async with parts.database.as_user(who.user_id) as session:
        needs, unread = (await needs_you_count(session), await notices.unread(session)) if whole else (0, 0)
        yield Opened(request, parts, session, who, await get_user(session, who), needs, unread)


async def _open(request: Request, parts: AllParts, who: PageSeller) -> AsyncIterator[Opened]:
    async with opened(request, parts, who) as page:
        yield page


async def _open_in_parts(request: Request, parts: AllParts, who: PageSeller) -> AsyncIterator[Opened]:
    async with opened(request, parts, who, whole=PART not in request.headers) as page:
        yield page


OpenedPage = Annotated[Opened, Depends(_open, scope="function")]
#: Of a page that is asked for often, in parts that say nothing of what is counted for its frame.
OpenedInParts = Annotated[Opened, Depends(_open_in_parts, scope="function")]


def go(path: str, said: str | None = None, part: str = "") -> RedirectResponse:
    """Back to a page after a form; `part` is where on it."""
    return RedirectResponse(path + (f"?said={said}" if said else "") + (f"#{part}" if part else ""), 303)
