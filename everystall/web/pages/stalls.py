"""Where one listing stands on each of the seller's accounts, as it happens; posting it to all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import and_, func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest, Conflict, EverystallError, NotFound, Refused
from everystall.inventory import jobs
from everystall.inventory.connections import SignIn, find_sign_ins
from everystall.inventory.listings import find_listing
from everystall.inventory.pairs import NeedsYou
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.models import Attempt, Connection, Job, Listing, ListingPhoto, Publication, User
from everystall.settings import Settings
from everystall.web import listings
from everystall.web.deps import AllParts, Deserted, PageSeller, as_id
from everystall.web.numbers import START_ONE
from everystall.web.pages.buttons import Button, buttons_of, offered, press
from everystall.web.pages.connections import web_address
from everystall.web.pages.opened import Opened, OpenedInParts, go, opened
from everystall.web.pages.reasons import said_field
from everystall.web.pages.sales import lasted
from everystall.web.pages.states import COUNTED, OVER, STEP, STEPS, word_of
from everystall.web.photos import photo_at
from everystall.web.publications import actions_of
from everystall.web.shapes import NoteOut, PublicationOut

router = APIRouter()

#: What to do about what is refused, for who has this page before them: the errors themselves speak of JSON.
_ACTIONS: Final = {
    "listing_incomplete": "Fill in what is missing, or leave that account out.",
    "session_missing": "Sign in there and connect it again, or leave that account out.",
    "not_found": "Load the page again.",
}

#: Built once: it is asked at each step of a post.
_WAITING: Final = (
    select(Publication.connection_id, func.count())
    .where(Publication.unsettled, Publication.wanted == "live", Publication.put != "live",
           Publication.needs_you.is_(None))
    .group_by(Publication.connection_id)
)  # fmt: skip


@dataclass(frozen=True)
class Why:
    """What something waits for, and until when, where that is known."""

    text: str
    until: datetime | None = None
    #: Where the seller may end it.
    href: str | None = None
    button: str = ""


@dataclass(frozen=True)
class Stall:
    """The listing on one account; or a marketplace at which the seller has none."""

    key: str
    marketplace: str
    label: str
    name: str | None
    tone: str
    word: str
    #: The account's id; none: there is no account.
    account: str | None = None
    seq: int = 0
    #: Of STEPS.
    step: int | None = None
    #: When what is under way there began.
    since: datetime | None = None
    #: How long what was last done there took, in words.
    took: str | None = None
    why: Why | None = None
    url: str | None = None
    #: Fields that the live page shows as they were meant, and those that it does not.
    same: Sequence[str] = ()
    differs: Sequence[str] = ()
    notes: Sequence[NoteOut] = ()
    blind: str | None = None
    question: NeedsYou | None = None
    #: Of the marketplace's own page about the question.
    look_there: str | None = None
    buttons: Sequence[Button] = ()

    @property
    def said(self) -> str:
        """For who does not see it change."""
        return f"{self.label}{f', {self.name}' if self.name else ''}: {self.word}."


@dataclass(frozen=True)
class Choice:
    """An account to which it can be posted, or why it cannot."""

    account: str | None
    marketplace: str
    label: str
    name: str | None
    able: bool
    checked: bool
    lacks: Sequence[str] = ()
    remarks: Sequence[str] = ()
    #: Where the seller ends what stands in the way.
    href: str | None = None
    link: str = ""


@dataclass(frozen=True)
class Stalls:
    """The listing and all of them."""

    id: str
    title: str
    photo: str | None
    stalls: Sequence[Stall]
    choices: Sequence[Choice]
    #: Marketplaces with several accounts to choose from.
    several: Sequence[str]
    #: The same until something is posted: pressed twice, it is posted once.
    key: str
    deleting: bool
    live: int = field(default=0)
    #: How many are left of it.
    left: int = 0

    @property
    def able(self) -> bool:
        return any(one.able for one in self.choices)

    @property
    def moving(self) -> bool:
        return any(one.since is not None for one in self.stalls)


async def stalls_of(
    session: AsyncSession, settings: Settings, listing_id: UUID, *, deserted: bool = False
) -> Stalls:
    """The view of one listing. `deserted`: no worker runs. Raises NotFound."""
    cover = and_(ListingPhoto.listing_id == Listing.id, ListingPhoto.position == 0)
    found = await session.execute(
        select(Listing, ListingPhoto).outerjoin(ListingPhoto, cover).where(Listing.id == listing_id)
    )
    if (pair := found.one_or_none()) is None:
        raise NotFound
    listing, photo = pair
    user = await session.get_one(User, listing.user_id)
    sign_ins = await find_sign_ins(session)
    rows = await session.scalars(select(Publication).where(Publication.listing_id == listing_id))
    there = {row.connection_id: row for row in rows}
    states = {
        one.connection.public_id: getattr(there.get(one.connection.id), "state", None) for one in sign_ins
    }
    open_to_post = {id for id, state in states.items() if state in (None, *OVER)}
    # an open page asks for this at each step of a post: what says nothing of it is not asked for then
    lines = open_to_post or any(state == "waiting" for state in states.values())
    waiting = await _waiting(session) if lines else {}
    failed = await _failed(session, [row.id for row in there.values() if row.tries])
    now = datetime.now(UTC)
    stalls: list[Stall] = []
    for marketplace, label in MARKETPLACES.items():
        accounts = [one for one in sign_ins if one.connection.marketplace == marketplace]
        for one in accounts:
            if (row := there.get(one.connection.id)) is not None:
                in_line = waiting.get(one.connection.id, 0)
                why = why_waiting(
                    row, one.connection, user, settings, now, in_line, failed.get(row.id), deserted=deserted
                )
                stalls.append(_stall(one, row, listing, why))
        if all(one.forgotten and one.connection.id not in there for one in accounts):
            stalls.append(Stall(marketplace, marketplace, label, None, "off", "No account yet"))
    choices: Sequence[Choice] = ()
    several: Sequence[str] = ()
    last = None
    if open_to_post:
        choices, several = await _choices(session, settings, listing, user, sign_ins, states, waiting)
        last = await session.scalar(
            select(Job.id).where(Job.listing_id == listing_id).order_by(Job.created_at.desc(), Job.id.desc())
        )
    return Stalls(
        id=str(listing_id),
        title=listing.title or "A listing without a title",
        photo=photo_at(listing_id, photo.id, photo.turn) if photo else None,
        stalls=stalls,
        choices=choices,
        several=several,
        key=hashlib.sha256(f"{listing_id} {last}".encode()).hexdigest()[:32],
        deleting=listing.delete_asked_at is not None,
        live=sum(row.put == "live" for row in there.values()),
        left=max(0, listing.quantity - listing.quantity_sold),
    )


async def _waiting(session: AsyncSession) -> dict[UUID, int]:
    """How many are in line on each account to be posted."""
    return {connection_id: int(number) for connection_id, number in await session.execute(_WAITING)}


async def _failed(session: AsyncSession, publication_ids: Sequence[UUID]) -> dict[UUID, str]:
    """What the last try of each of these said."""
    if not publication_ids:
        return {}
    rows = await session.execute(
        select(Attempt.publication_id, Attempt.error)
        .ext(distinct_on(Attempt.publication_id))
        .where(Attempt.publication_id.in_(publication_ids))
        .order_by(Attempt.publication_id, Attempt.created_at.desc())
    )
    return {id: error.partition(": ")[2] for id, error in rows if error}


# ---- one account -------------------------------------------------------------------------------------


def _stall(one: SignIn, row: Publication, listing: Listing, why: Why | None) -> Stall:
    account = one.connection
    label = MARKETPLACES[account.marketplace]
    name = account.label or account.account_name
    shown = PublicationOut.now(row, account, actions_of(row, account.public_id, listing))
    tone, word = word_of(row)
    read_back = row.read_back if row.put == "live" and row.read_back else {}
    return Stall(
        key=account.public_id,
        marketplace=account.marketplace,
        label=label,
        name=name,
        account=account.public_id,
        tone=tone,
        word=word,
        seq=row.version,
        step=STEP.get(row.state)
        if row.put != "live" and row.wanted == "live" and not row.needs_you
        else None,
        since=(row.started_at or row.updated_at) if row.state in COUNTED and row.needs_you is None else None,
        took=_took(row),
        why=why,
        url=web_address(row.url) if row.put == "live" else None,
        same=[said_field(name) for name, equal in read_back.items() if equal],
        differs=[said_field(name) for name, equal in read_back.items() if not equal],
        notes=shown.notes,
        blind=shown.blind.message if shown.blind and row.needs_you is None else None,
        question=shown.needs_you,
        look_there=web_address(shown.needs_you.url) if shown.needs_you else None,
        buttons=buttons_of(offered(shown), label),
    )


def _took(row: Publication) -> str | None:
    """Of what is live as it is wanted. None also where most of an hour and more was waiting: for its turn, or
    for the seller."""
    if row.state != "live" or row.unsettled or row.needs_you or not (row.started_at and row.finished_at):
        return None
    time = row.finished_at - row.started_at
    return lasted(time) if timedelta(seconds=1) <= time < timedelta(hours=1) else None


def why_waiting(
    row: Publication, account: Connection, user: User, settings: Settings, now: datetime, waiting: int,
    failed: str | None = None, *, deserted: bool = False,
) -> Why | None:  # fmt: skip
    """None: it waits for nothing, or for its seller, who is asked elsewhere. `failed`: what the last try
    said; `deserted`: no worker runs."""
    if row.needs_you is not None or not (row.unsettled or row.looking):
        return None
    paused = user.paused_at is not None or account.paused_at is not None
    if deserted and not (paused and row.wanted == "live" and not row.looking):
        return Why(f"No worker of Everystall runs now, so it waits. {START_ONE}")
    if row.state in ("composing", "filling"):
        return None
    label, rest = MARKETPLACES[row.marketplace], account.rest_until
    resting = rest is not None and rest > now
    if row.looking and not resting:
        return None
    if row.wanted == "live" and not row.looking and user.paused_at is not None:
        return Why("You paused posting everywhere.", href="/connections", button="Go on there")
    if row.wanted == "live" and not row.looking and account.paused_at is not None:
        return Why("You paused this account.", href=f"/connections#{account.public_id}", button="Go on there")
    later = row.next_try_at if row.next_try_at is not None and row.next_try_at > now else None
    if rest is not None and resting:
        text = f"{label} asked us to rest."
        if row.wanted == "ended" and row.put == "live":
            text += " It is taken down right after that; or do it there yourself."
        return Why(text, max(rest, later or rest))
    if later is not None and row.paced_to == row.next_try_at:
        return Why(f"One after another, {pace_of(account, settings):g} seconds apart.", later)
    if later is not None:
        tried = "It did not work yet" if row.tries == 1 else f"It did not work {row.tries} times"
        if row.tries and failed:
            return Why(f"{tried}: {failed} It is tried again by itself.", later)
        return Why(f"{tried if row.tries else 'Not at once'}: it is tried again by itself.", later)
    if row.wanted == "ended":
        return None if row.state == "ending" else Why("It is taken down in a moment.")
    if row.relist == "down":
        return Why("It is down, and posted again in a moment.")
    if row.state != "waiting":
        return Why("It is put there in a moment.") if row.state == "live" else None
    return Why(f"In line with {waiting - 1} others on this account." if waiting > 1 else "In a moment.")


def pace_of(account: Connection, settings: Settings) -> float:
    """Seconds between two posts: the account's own, the installation's, the marketplace's."""
    usual = get_form(account.marketplace).CAPABILITIES.pace_seconds
    said = (account.pace_seconds, settings.pace_seconds, usual)
    return next(pace for pace in said if pace is not None)


# ---- what it can be posted to ------------------------------------------------------------------------


async def _choices(
    session: AsyncSession,
    settings: Settings,
    listing: Listing,
    user: User,
    sign_ins: Sequence[SignIn],
    states: Mapping[str, str | None],
    waiting: Mapping[UUID, int],
) -> tuple[list[Choice], list[str]]:
    """And the marketplaces where the seller has to say which account. `states`: the listing's, by account."""
    checked = await listings.check_listing(listing.id, session)
    by_id = {one.connection.public_id: one for one in sign_ins}
    number: dict[str, int] = {}
    for found in checked.marketplaces:
        number[found.marketplace] = number.get(found.marketplace, 0) + 1
    choices = []
    for found in checked.marketplaces:
        one = by_id.get(found.browser_profile_id or "")
        if one is None or states[one.connection.public_id] not in (None, *OVER):
            continue
        fresh = states[one.connection.public_id] is None
        alone = number[found.marketplace] == 1
        signed_in = one.status == "connected"
        way = _way(one, listing.id, found)
        choices.append(
            Choice(
                account=one.connection.public_id, marketplace=found.marketplace, label=found.label,
                name=one.connection.label or one.connection.account_name,
                able=found.ready and signed_in, checked=found.ready and signed_in and alone and fresh,
                lacks=[problem.message for problem in found.problems],
                remarks=_remarks(one, user, settings, states[one.connection.public_id],
                                 waiting.get(one.connection.id, 0)),
                href=way[0], link=way[1],
            )
        )  # fmt: skip
    open_ = [one.marketplace for one in choices if one.able]
    several = [label for name, label in MARKETPLACES.items() if number.get(name, 0) > 1 and name in open_]
    return choices, several


def _way(one: SignIn, listing_id: UUID, found: listings.CheckedOut) -> tuple[str | None, str]:
    """Where the seller ends what stands in the way, and the word for it."""
    account = f"/connections#{one.connection.public_id}"
    if one.status != "connected":
        return account, "Sign in"
    if found.ready:
        return None, ""
    if all(problem.field.startswith("defaults.") for problem in found.problems):
        return account, "Set"
    return f"/listings/{listing_id}", "Fill in"


def _remarks(one: SignIn, user: User, settings: Settings, state: str | None, waiting: int) -> list[str]:
    """What the seller should know before posting there."""
    account, label = one.connection, MARKETPLACES[one.connection.marketplace]
    said = []
    if one.status != "connected":
        said.append(f"Everystall is not signed in to {label}.")
    if state in ("ended", "sold"):
        said.append(f"It was there before, and {'was sold' if state == 'sold' else 'ended'}.")
    if user.paused_at is not None or account.paused_at is not None:
        said.append("Paused: it waits there until you go on.")
    elif account.needs_you is not None and one.status == "connected":
        said.append(f"{label} asks for you: posting tries again.")
    elif waiting:
        behind = timedelta(seconds=waiting * pace_of(account, settings))
        minutes = max(1, round(behind.total_seconds() / 60))
        said.append(f"{waiting} before it: about {minutes} minute{'s' if minutes > 1 else ''}.")
    return said


# ---- the page ----------------------------------------------------------------------------------------


@router.get("/listings/{id}/stalls")
async def show_stalls(id: str, deserted: Deserted, page: OpenedInParts) -> HTMLResponse:
    return await _show(page, as_id(id), deserted)


async def _show(
    page: Opened,
    listing_id: UUID,
    deserted: bool,
    *,
    error: EverystallError | None = None,
    at: str | None = None,
    chosen: Sequence[str] | None = None,
) -> HTMLResponse:
    """`error`: what was refused, `at` which account's button (or `all`: the listing's own), `chosen` what was
    to be posted to."""
    view = await stalls_of(page.session, page.parts.settings, listing_id, deserted=deserted)
    return page.show(
        "stalls.html",
        status=error.status if error else 200,
        home=f"/listings/{view.id}/stalls" if error else None,
        view=view,
        steps=STEPS,
        error=error,
        at=at,
        chosen=chosen,
        deserted=deserted,
    )


@router.post("/listings/{id}/stalls/post")
async def post(
    id: str,
    request: Request,
    parts: AllParts,
    deserted: Deserted,
    who: PageSeller,
    account: Annotated[list[str], Form(max_length=200)] = [],  # noqa: B006
    key: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """To all accounts that are checked, or to none."""
    listing_id = as_id(id)
    try:
        async with parts.database.as_user(who.user_id) as session:
            await find_listing(session, listing_id)
            if not account:
                raise BadRequest("No account is checked.", action="Check at least one, then post.")
            # another choice is another wish
            asked = hashlib.sha256("\n".join([key, *sorted(account)]).encode()).hexdigest()[:32]
            posted = await jobs.post(session, who.user_id, listing_id, [], account, f"page-{asked}")
    except Refused as error:
        error.action = _ACTIONS.get(error.code, error.action)
        async with opened(request, parts, who) as page:
            return await _show(page, listing_id, deserted, error=error, chosen=account)
    return go(f"/listings/{listing_id}/stalls", "posted-paused" if posted.paused else "posted")


@router.post("/listings/{id}/keep")
async def keep(id: str, request: Request, parts: AllParts, deserted: Deserted, who: PageSeller) -> Response:
    """It is not deleted, and stays where nobody has begun to take it down."""
    listing_id = as_id(id)
    try:
        async with parts.database.as_user(who.user_id) as session:
            kept = await listings.keep_listing(listing_id, session)
    except Conflict as error:
        async with opened(request, parts, who) as page:
            return await _show(page, listing_id, deserted, error=error, at="all")
    return go(f"/listings/{listing_id}/stalls", "listing-kept" if kept.all else "listing-kept-in-part")


@router.post("/listings/{id}/stalls")
async def answer(
    id: str,
    request: Request,
    parts: AllParts,
    deserted: Deserted,
    who: PageSeller,
    account: Annotated[str, Form(max_length=200)] = "",
    action: Annotated[str, Form(max_length=60)] = "",
    url: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    """One of the buttons of one account."""
    listing_id = as_id(id)
    try:
        async with parts.database.as_user(who.user_id) as session:
            await press(session, who, listing_id, account, action, url.strip() or None)
    except Refused as error:
        if error.status == 404:
            raise
        async with opened(request, parts, who) as page:
            return await _show(page, listing_id, deserted, error=error, at=account)
    said = action if action in ("retry", "end", "relist", "keep") else "answered"
    return go(f"/listings/{listing_id}/stalls", said, account)
