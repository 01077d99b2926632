"""The one list of everything that waits for the seller, the worst and newest first, with the buttons that end
it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import AfterValidator, SecretStr, ValidationError
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.errors import BadRequest, EverystallError, NotFound, Refused
from everystall.inventory import mailboxes, questions, sale_mails
from everystall.inventory.connections import DISCONNECTED, NO_WORKER, get_connection
from everystall.inventory.pairs import NeedsYou
from everystall.inventory.publications import IF_THERE, asked_now
from everystall.inventory.questions import OF_ACCOUNT, Asked, Group
from everystall.inventory.sittings import PURPOSES
from everystall.marketplaces import MARKETPLACES
from everystall.models import Attempt, Connection, Mailbox, Publication, Sale, User, WebhookEndpoint
from everystall.notify.webhooks import PAUSED
from everystall.settings import Settings
from everystall.web import connections, hints, sessions, sittings, webhooks
from everystall.web.deps import AllParts, PageSeller, Parts, SignedIn, as_id
from everystall.web.pages.buttons import Button, button, buttons_of, one_first, press
from everystall.web.pages.connections import web_address
from everystall.web.pages.opened import Opened, OpenedPage, opened
from everystall.web.pages.reasons import ANSWERED, Reason, reason_of, said_field, said_value

router = APIRouter()

#: Of a group, so many are answered by one press: each is a transaction of its own.
AT_ONCE: Final = 100
#: Answers that may be given to several at once: they ask for nothing that is one listing's own.
TOGETHER: Final = (
    "retry",
    "give_up",
    "end",
    "understood",
    "put_mine",
    "keep_theirs",
    "put_back",
    "leave_sold",
)
#: What is answered in the listing's editor, and then by *Try again*.
TO_MEND: Final = ("listing_incomplete", "listing_rejected", "photo_refused")
#: What only asks somebody else to do something: it still waits.
_ASKING: Final = ("reconnect", "look")
#: An account's, that saying "go on" does not end.
_NOT_RESUMED: Final = ("session_expired", NO_WORKER, DISCONNECTED)
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")


@dataclass(frozen=True)
class Picture:
    href: str
    taken: datetime


@dataclass(frozen=True)
class Card:
    """One thing that waits."""

    key: str
    rank: int
    at: datetime
    head: str
    happened: str
    todo: str
    #: The form's address, and what it carries besides the button's name.
    action: str
    fields: Mapping[str, str]
    buttons: Sequence[Button]
    label: str | None = None
    marketplace: str | None = None
    name: str | None = None
    title: str | None = None
    href: str | None = None
    #: Where the listing is mended.
    edit: str | None = None
    #: The marketplace's own page.
    url: str | None = None
    question: NeedsYou | None = None
    #: The picture of the page, as it stood.
    picture: Picture | None = None
    #: (field, here, there)
    sides: Sequence[tuple[str, str, str]] = ()
    orders: Sequence[tuple[str, str]] = ()
    #: Listings that wait for it: (title, address); `number` counts those that are not named, too.
    waiting: Sequence[tuple[str, str]] = ()
    number: int = 0
    #: When we go on: the marketplace asked us to rest.
    until: datetime | None = None
    #: A new capture was asked for.
    asked: datetime | None = None
    password: bool = False
    #: Under which other names it is asked for.
    names: Collection[str] = ()

    @property
    def what(self) -> str:
        """For who hears a button alone."""
        return " ".join(filter(None, (self.title, f"on {self.label}" if self.label else None, self.name)))


@dataclass(frozen=True)
class Bulk:
    """Several of one account that wait for the same: buttons for all of them."""

    account: str
    reason: str
    number: int
    at_once: int
    buttons: Sequence[Button]


@dataclass(frozen=True)
class Section:
    key: str
    cards: Sequence[Card]
    bulk: Bulk | None = None
    #: Beyond those that are shown.
    more: int = 0
    label: str = ""
    name: str | None = None

    @property
    def order(self) -> tuple[int, float]:
        return (min(card.rank for card in self.cards), -max(card.at for card in self.cards).timestamp())


@dataclass
class Waiting:
    sections: list[Section]
    #: Of all marketplaces, as the navigation counts.
    count: int
    likely: int
    #: (name, label, number): what there is to filter by.
    filters: list[tuple[str, str, int]] = field(default_factory=list)

    @property
    def cards(self) -> list[Card]:
        return [card for section in self.sections for card in section.cards]


@dataclass(frozen=True)
class Tally:
    """How far the seller is with the list, and which of it comes next; carried by each form."""

    done: int = 0
    of: int = 0
    next: str = ""
    only: str = ""

    def go(self, did: str, answered: int = 1, at: str | None = None) -> RedirectResponse:
        told = {"done": self.done + answered, "of": self.of, "at": at or self.next, "did": did}
        if self.only:
            told["on"] = self.only
        return RedirectResponse(f"/needs-you?{urlencode(told)}", 303)


async def _tally(
    done: Annotated[int, Form(ge=0, le=100_000)] = 0,
    of: Annotated[int, Form(ge=0, le=100_000)] = 0,
    next: Annotated[str, Form(max_length=200)] = "",
    on: Annotated[str, Form(max_length=40)] = "",
) -> Tally:
    return Tally(done, of, next if _KEY.fullmatch(next) else "", on if on in MARKETPLACES else "")


Told = Annotated[Tally, Depends(_tally)]
#: No database holds a NUL, so nothing of ours has one in its name.
Text = Annotated[str, Form(max_length=200), AfterValidator(lambda text: text.replace("\0", ""))]


# ---- what waits --------------------------------------------------------------------------------------


async def waiting_of(session: AsyncSession, settings: Settings, only: str | None = None) -> Waiting:
    """Everything, the worst and newest first; of one marketplace, if `only` says so."""
    accounts = {row.id: row for row in await session.scalars(select(Connection))}
    groups = await questions.groups(session)
    doubles = await questions.doubles(
        session, [one.listing.id for group in groups for one in group.asked if group.reason == "sold_twice"]
    )
    kept = {one.attempt.id: one.attempt.evidence for group in groups for one in group.asked if one.attempt}
    kept |= {id: _of_look(account) for id, account in accounts.items()}
    pictures = _pictures(settings, kept)
    not_seen = await questions.not_seen(session, list(accounts.values()))
    sections = [
        _of_account(accounts[group.connection_id], group, pictures)
        if group.reason in OF_ACCOUNT
        else _of_listings(accounts[group.connection_id], group, pictures, doubles)
        for group in groups
    ]
    there = {(group.connection_id, group.reason) for group in groups if group.reason in OF_ACCOUNT}
    for account in accounts.values():
        reason = (account.needs_you or {}).get("reason")
        if reason is None and account.watch_told_at is not None:
            reason = questions.WATCH
        if reason is not None and reason != DISCONNECTED and (account.id, reason) not in there:
            why = not_seen.get(account.public_id) if reason == questions.WATCH else None
            sections.append(_of_account(account, Group(account.id, reason, 0, ()), pictures, why))
    sections += [_late(accounts[one.publication.connection_id], one) for one in await questions.late(session)]
    sections += [_unclear(account, event) for account, event in await questions.unclear(session)]
    sections += [_webhook(row) for row in await session.scalars(
        select(WebhookEndpoint).where(WebhookEndpoint.disabled_at.is_not(None),
                                      WebhookEndpoint.disabled_why.is_distinct_from(PAUSED)))]  # fmt: skip
    sections += [_mailbox(row) for row in await session.scalars(
        select(Mailbox).where(Mailbox.failing_since.is_not(None)))]  # fmt: skip
    sections.sort(key=lambda section: section.order)
    numbers: dict[str, int] = {}
    for section in sections:
        if place := section.cards[0].marketplace:
            numbers[place] = numbers.get(place, 0) + len(section.cards) + section.more
    return Waiting(
        sections=[one for one in sections if only is None or one.cards[0].marketplace == only],
        count=sum(len(one.cards) + one.more for one in sections),
        likely=await questions.count_likely(session),
        filters=[(name, label, numbers[name]) for name, label in MARKETPLACES.items() if name in numbers],
    )


def _words(reason: str, label: str) -> Reason:
    words = reason_of(reason)
    return Reason(words.head.format(label=label), words.todo.format(label=label), words.rank)


def _account_known(account: Connection) -> dict[str, Any]:
    return {
        "label": MARKETPLACES[account.marketplace], "marketplace": account.marketplace,
        "name": account.label or account.account_name,
    }  # fmt: skip


def _of_account(
    account: Connection, group: Group, pictures: Mapping[UUID, Picture], why: str | None = None
) -> Section:
    """One answer ends it for all that wait there. `why`: its sales cannot be read."""
    label = MARKETPLACES[account.marketplace]
    words = _words(group.reason, label)
    asked = account.needs_you if (account.needs_you or {}).get("reason") == group.reason else None
    first = group.asked[0].publication if group.asked else None
    said = asked or (first.needs_you if first else None) or {}
    happened = str(said.get("message") or why or f"What sells on this {label} account cannot be read now.")
    at = first.updated_at if first else account.blind_since or account.watch_told_at or account.created_at
    of_tries = (pictures[one.attempt.id] for one in group.asked
                if one.attempt is not None and one.attempt.id in pictures)  # fmt: skip
    of_look = asked is not None or group.reason == questions.WATCH
    picture = (pictures.get(account.id) if of_look else None) or next(of_tries, None)
    key = f"{account.public_id}-{group.reason}"
    buttons = []
    if group.reason in ("session_expired", "challenge"):
        buttons.append(button("reconnect", "Ask for a new capture", label))
    if group.reason == questions.WATCH:
        buttons.append(button("look", "Look again now", label))
    if group.reason == "paused" or (asked is not None and group.reason not in _NOT_RESUMED):
        text = "Go on" if group.reason == "paused" else "I did it, go on"
        buttons.insert(0, button("resume", text, label))
    if asked is not None and group.reason in PURPOSES:
        signs_in = PURPOSES[group.reason] == "sign_in"
        text = "Sign in here" if signs_in else "Open it here"
        buttons.insert(len(buttons) if signs_in else 0, button("open_here", text, label))
    bulk = [name for name in ("retry", "give_up") if any(_offers(one, name) for one in group.asked)]
    if any(one.name == "resume" for one in buttons):
        bulk = [name for name in bulk if name != "retry"]
    card = Card(
        key=key, rank=words.rank, at=at, head=words.head, happened=happened, todo=words.todo,
        action="/needs-you/account",
        fields={"account": account.public_id, "reason": group.reason}, buttons=one_first(buttons),
        url=web_address(said.get("url")) or web_address(account.base_url), picture=picture,
        waiting=[(_title(one), _href(one)) for one in group.asked], number=group.number,
        asked=account.refresh_asked_at, **_account_known(account),
        names=[_key(one, account) for one in group.asked],
    )  # fmt: skip
    return Section(key, [card], _bulk(account, group, bulk) if group.number else None)


def _of_listings(
    account: Connection,
    group: Group,
    pictures: Mapping[UUID, Picture],
    doubles: Mapping[str, tuple[Sale | None, Sale]],
) -> Section:
    cards = [_card(account, group.reason, one, pictures, doubles) for one in group.asked]
    names = [name for name in TOGETHER if all(_offers(one, name) for one in group.asked)]
    bulk = _bulk(account, group, names) if group.number > 1 and names else None
    known = _account_known(account)
    return Section(
        f"{account.public_id}-{group.reason}",
        cards,
        bulk,
        group.number - len(cards),
        known["label"],
        known["name"],
    )


def _bulk(account: Connection, group: Group, names: Sequence[str]) -> Bulk | None:
    """What each of them offers, in the same words: of those that were sent already, giving up says another
    thing than of those that were not."""
    label = MARKETPLACES[account.marketplace]
    offers = [[one for one in _question(asked).actions if one.name in names] for asked in group.asked]
    some = sorted((one for one in offers if one), key=lambda of: any(one.label == IF_THERE for one in of))
    first = some[0] if some else []
    alike = sum([one.label for one in of] == [one.label for one in first] for of in offers)
    number = group.number
    if alike < len(offers):
        if number > len(offers):  # nobody knows of how many beyond those
            first = [one for one in first if one.name != "give_up"]
        else:
            number = alike
    buttons = buttons_of(first, label)
    return Bulk(account.public_id, group.reason, number, min(number, AT_ONCE), buttons) if buttons else None


def _card(
    account: Connection,
    reason: str,
    one: Asked,
    pictures: Mapping[UUID, Picture],
    doubles: Mapping[str, tuple[Sale | None, Sale]],
) -> Card:
    label = MARKETPLACES[account.marketplace]
    words, question = _words(reason, label), _question(one)
    conflict = one.attempt.conflict or {} if one.attempt and reason == "edited_there" else {}
    return Card(
        key=_key(one, account), rank=words.rank, at=one.publication.updated_at, head=words.head,
        happened=question.message, todo=words.todo, action="/needs-you/listing",
        fields={"listing": str(one.listing.id), "account": account.public_id, "reason": reason},
        buttons=buttons_of(question.actions, label), title=_title(one), href=_href(one),
        edit=f"/listings/{one.listing.id}" if reason in TO_MEND else None,
        url=web_address(question.url), question=question,
        picture=pictures.get(one.attempt.id) if one.attempt else None,
        sides=[(said_field(name), said_value(name, sides.get("ours")), said_value(name, sides.get("theirs")))
               for name, sides in conflict.items()],
        orders=_orders(doubles.get((one.publication.needs_you or {}).get("saleId", ""))),
        **_account_known(account),
    )  # fmt: skip


def _key(one: Asked, account: Connection) -> str:
    return f"{one.listing.id}-{account.public_id}"


def _title(one: Asked) -> str:
    return one.listing.title or "A listing without a title"


def _href(one: Asked) -> str:
    return f"/listings/{one.listing.id}/stalls"


def _question(one: Asked) -> NeedsYou:
    return NeedsYou(**(asked_now(one.publication) or {}))


def _offers(one: Asked, name: str) -> bool:
    return any(action.name == name for action in _question(one).actions)


def _orders(sides: tuple[Sale | None, Sale] | None) -> list[tuple[str, str]]:
    """The earlier and the later, for reading."""
    if sides is None:
        return []
    told = []
    for said, sale in (
        ("The first order, which has it", sides[0]),
        ("This order, which came later", sides[1]),
    ):
        if sale is None:
            told.append((said, "The listing's own page says that it is sold; we saw no order."))
            continue
        price = f"${sale.price_cents / 100:,.2f}" if sale.price_cents is not None else "price not told"
        order = f"order {sale.order_id}" if sale.order_id else "no order seen yet"
        if sale.connection_id is None:
            order = f"sold elsewhere: {sale.place}" if sale.place else "sold elsewhere"
        told.append((said, f"{sale.title} · {price} · {order}"))
    return told


def _late(account: Connection, one: questions.Late) -> Section:
    label = MARKETPLACES[account.marketplace]
    key = f"late-{one.publication.id}"
    head = f"Sold, and still on {label}"
    happened = f"“{one.title}” was sold elsewhere, and we could not take it down on {label} yet."
    todo = f"Take it down on {label} yourself, so that nobody buys it again."
    press = button("end", "Try again now", label)
    if one.publication.wanted == "live":
        head = f"More on {label} than are left"
        happened = f"Some of “{one.title}” sold, and we could not make it fewer on {label} yet."
        todo = f"Make it fewer on {label} yourself, or have it taken down, so that nobody buys one too many."
        press = button("end", "Take it down", label)
    then, rest = "We go on trying.", account.rest_until
    if rest is None or rest <= datetime.now(UTC):
        rest = None
    else:
        then = f"{label} asked us to rest."
    card = Card(
        key=key, rank=0, at=one.asked_at, head=head, happened=f"{happened} {then}", todo=todo, until=rest,
        action="/needs-you/listing",
        fields={"listing": str(one.listing.id), "account": account.public_id, "reason": ""},
        # nothing is tried before that is over
        buttons=[press] if rest is None or one.publication.wanted == "live" else [],
        title=one.listing.title or "A listing without a title",
        href=f"/listings/{one.listing.id}/stalls", url=web_address(one.publication.url),
        names=[f"{one.listing.id}-{account.public_id}"],
        **_account_known(account),
    )  # fmt: skip
    return Section(key, [card])


def _unclear(account: Connection, event: Any) -> Section:
    label = MARKETPLACES[account.marketplace]
    key = f"mail-{event.id}"
    title = str(event.data.get("title") or "")
    card = Card(
        key=key, rank=0, at=event.created_at, head="Something may have sold",
        happened=f"{event.data.get('message') or ''}" + (f" The mail names “{title}”." if title else ""),
        todo="Look there, and take it down elsewhere if it sold. Once we can see the account again "
        "this goes by itself.",
        action="/needs-you/mail", fields={"event": str(event.id)},
        buttons=[button("settled", "I looked, it is settled", label)],
        url=web_address(account.base_url), **_account_known(account),
    )  # fmt: skip
    return Section(key, [card])


def _webhook(row: WebhookEndpoint) -> Section:
    key = f"webhook-{row.id}"
    card = Card(
        key=key, rank=4, at=row.disabled_at or row.created_at, head="A webhook was switched off",
        happened=f"{row.label or row.url} took nothing for a day"
        + (f" ({row.disabled_why})" if row.disabled_why else "")
        + ". What happened since was not sent there.",
        todo="Mend the receiver, then switch it on again.", action="/needs-you/webhook",
        fields={"webhook": str(row.id)},
        buttons=[Button("enable", "Switch it on", "primary", None, False),
                 Button("delete", "Delete it", "bad",
                        ("Delete this webhook?", "Its log goes with it.", "Delete it"), False)],
    )  # fmt: skip
    return Section(key, [card])


def _mailbox(row: Mailbox) -> Section:
    refused = row.failing_why == "refused"
    card = Card(
        key="mailbox", rank=4, at=row.failing_since or row.made_at, head="Your mailbox cannot be read",
        happened=f"{mailboxes.said_of(row) or ''} Sales are still looked for on the marketplaces themselves.",
        todo="Type its password anew." if refused else "It goes on by itself once the server answers.",
        action="/needs-you/mailbox", fields={}, password=refused,
        buttons=[Button("delete", "Do not read it any more", "bad",
                        ("Stop reading this mailbox?", "Its password is deleted here.", "Stop reading it"),
                        False)],
    )  # fmt: skip
    return Section("mailbox", [card])


# ---- pictures ----------------------------------------------------------------------------------------

#: Shown in place of a picture.
_GONE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 60"><rect width="320" height="60" fill="#777"/>'
    '<text x="160" y="35" text-anchor="middle" font-family="sans-serif" font-size="14" fill="#fff">'
    "The picture is not there any more.</text></svg>"
)


def _of_look(account: Connection) -> dict[str, Any] | None:
    """What the page looked like at the look for which the seller is asked, or told."""
    if account.needs_you is not None:
        found: dict[str, Any] | None = account.needs_you.get("evidence")
        return found
    return account.watch_evidence if account.watch_told_at is not None else None


def _pictures(settings: Settings, kept: Mapping[UUID, Mapping[str, Any] | None]) -> dict[UUID, Picture]:
    """By what they are of: a try, or an account; as long as they are kept."""
    oldest = datetime.now(UTC) - timedelta(days=settings.evidence_days)
    found = {}
    for id, evidence in kept.items():
        at = (evidence or {}).get("at")
        taken = datetime.fromisoformat(at) if isinstance(at, str) else None
        if (evidence or {}).get("screenshot") and taken is not None and taken > oldest:
            found[id] = Picture(f"/needs-you/pictures/{id}", taken)
    return found


@router.get("/needs-you/pictures/{id}")
async def show_picture(id: str, parts: AllParts, who: PageSeller) -> Response:
    """Of the page as it stood when a try of the seller's own failed, or a look at an account of theirs. One
    that is gone, as after a restore, says so in its place."""
    async with parts.database.as_user(who.user_id) as session:
        evidence = await session.scalar(select(Attempt.evidence).where(Attempt.id == as_id(id)))
        if evidence is None:
            account = await session.get(Connection, as_id(id))
            evidence = _of_look(account) if account else None
    try:
        picture = await parts.photos.evidence(who.user_id, str((evidence or {}).get("screenshot")))
    except NotFound:
        return Response(_GONE, 404, media_type="image/svg+xml")
    return Response(picture, media_type="image/png")


# ---- the page ----------------------------------------------------------------------------------------


@router.get("/needs-you")
async def show_needs_you(page: OpenedPage) -> HTMLResponse:
    return await _show(page)


@router.get("/needs-you/{rest:path}")
async def lead_back(rest: str) -> Response:
    """The address of a form, opened by itself."""
    return RedirectResponse("/needs-you", 303)


def _number(page: Opened, name: str) -> int:
    text = page.request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0


async def _show(
    page: Opened, *, error: EverystallError | None = None, at: str | None = None, tally: Tally | None = None
) -> HTMLResponse:
    """`error`: what was refused, at the card `at`."""
    asked = page.request.query_params
    only = tally.only if tally else asked.get("on", "")
    only = only if only in MARKETPLACES else ""
    found = await waiting_of(page.session, page.parts.settings, only or None)
    at = at or asked.get("at", "")
    done = tally.done if tally else _number(page, "done")
    cards = found.cards
    here = next((card for card in cards if card.key == at or at in card.names), None)
    if here is None and done and cards:
        here = cards[0]
    number = sum(len(one.cards) + one.more for one in found.sections)
    following = {card.key: after.key for card, after in zip(cards, [*cards[1:], *cards[:1]], strict=True)}
    return page.show(
        "needs_you.html",
        status=error.status if error else 200,
        home="/needs-you" if error else None,
        found=found,
        shown_of=only,
        number=number,
        done=done,
        of=max(tally.of if tally else _number(page, "of"), done + number),
        did=ANSWERED.get(asked.get("did", "")) if not error else None,
        focus=here.key if here else None,
        following=following,
        error=error,
        now=datetime.now(UTC),
    )


async def _refused(
    request: Request, parts: Parts, who: SignedIn, error: Refused, at: str, tally: Tally
) -> Response:
    async with opened(request, parts, who) as page:
        return await _show(page, error=error, at=at, tally=tally)


@router.post("/needs-you/listing")
async def answer(
    request: Request, parts: AllParts, who: PageSeller, tally: Told,
    listing: Text = "", account: Text = "", action: Text = "", reason: Text = "",
    url: Annotated[str, Form(max_length=2000)] = "",
) -> Response:  # fmt: skip
    """One of a listing's buttons."""
    listing_id, key = as_id(listing), f"{listing}-{account}"
    try:
        async with parts.database.as_user(who.user_id) as session:
            await press(session, who, listing_id, account, action, url.replace("\0", "").strip() or None)
    except Refused as error:
        if error.status == 404:
            raise
        async with parts.database.as_user(who.user_id) as session:
            still = await _waits(session, listing_id, account, reason)
        if reason and not still:
            return tally.go("already", answered=0)
        return await _refused(request, parts, who, error, key, tally)
    if action in _ASKING or not reason:
        return tally.go(action, answered=0, at=key)
    return tally.go(action)


async def _waits(session: AsyncSession, listing_id: UUID, account: str, reason: str) -> bool:
    wanted = (
        select(Publication.id)
        .join(Connection, Connection.id == Publication.connection_id)
        .where(Publication.listing_id == listing_id, Connection.public_id == account,
               Publication.needs_you["reason"].astext == reason)
    )  # fmt: skip
    return await session.scalar(wanted) is not None


@router.post("/needs-you/all")
async def answer_all(
    parts: AllParts, who: PageSeller, tally: Told, account: Text = "", action: Text = "", reason: Text = "",
    text: Text = "",
) -> Response:  # fmt: skip
    """The same answer for those of one account that wait for the same reason, the first AT_ONCE of them. Each
    in a transaction of its own: an action wakes the account last. `text`: what the button said. Nothing that
    is live, or may be, is given up by one that did not say so."""
    if action not in TOGETHER:
        raise BadRequest("That is answered one by one.", action="Use the buttons of each.")
    wanted = (
        select(Publication.listing_id)
        .join(Connection, Connection.id == Publication.connection_id)
        .where(Connection.public_id == account, Publication.needs_you["reason"].astext == reason)
        .order_by(Publication.id)
        .limit(AT_ONCE)
    )
    if action == "give_up":
        wanted = wanted.where(Publication.put != "live", Publication.looking.is_(text == IF_THERE))
    async with parts.database.as_user(who.user_id) as session:
        ids = (await session.scalars(wanted)).all()
    if not ids:
        raise NotFound
    answered = 0
    for listing_id in ids:
        try:
            async with parts.database.as_user(who.user_id) as session:
                await press(session, who, listing_id, account, action)
        except Refused:  # it was answered or ended meanwhile
            continue
        answered += 1
    return tally.go(action, 1 if reason in OF_ACCOUNT else answered)


@router.post("/needs-you/account")
async def answer_account(
    request: Request, parts: AllParts, who: PageSeller, tally: Told,
    account: Text = "", action: Text = "", reason: Text = "",
) -> Response:  # fmt: skip
    try:
        async with parts.database.as_user(who.user_id) as session:
            if action == "resume":
                user = await session.get_one(User, who.user_id)
                if reason == "paused" and user.paused_at is not None and user.pause_ends:
                    await connections.resume_all(session, who)
                else:
                    await connections.resume_connection(account, session)
            elif action == "look":
                await _look_again(session, account)
            elif action == "reconnect":
                await sessions.refresh_sessions(sessions.WhichBody(browser_profile_id=account), session, who)
            elif action == "open_here":
                sitting, _ = await sittings.ask(
                    session, who, parts.settings, account=account, marketplace=None
                )
                return RedirectResponse(f"/sittings/{sitting.id}", 303)
            else:
                raise BadRequest("There is no such button.", action="Load the page again.")
    except ValidationError:
        raise NotFound from None
    except Refused as error:
        if error.status == 404:
            raise
        return await _refused(request, parts, who, error, f"{account}-{reason}", tally)
    if action in _ASKING:
        return tally.go(action, answered=0, at=f"{account}-{reason}")
    return tally.go(action)


async def _look_again(session: AsyncSession, public_id: str) -> None:
    """At what sells there, as soon as a worker is free."""
    connection = await get_connection(session, public_id, lock=True)
    if connection.needs_you is not None or connection.watch_told_at is None:
        raise Refused("That does not wait for you any more.", action="Nothing.")
    connection.next_check_at = func.now()
    await session.flush()
    await engine.wake(session, [connection.id])


@router.post("/needs-you/mail")
async def answer_mail(page: OpenedPage, tally: Told, event: Text = "") -> Response:
    """The seller looked after what a mail told of."""
    id = int(event) if event.isascii() and event.isdigit() and len(event) < 19 else 0
    if not await sale_mails.settle(page.session, page.who.user_id, id):
        return tally.go("already", answered=0)
    return tally.go("settled")


@router.post("/needs-you/webhook")
async def answer_webhook(page: OpenedPage, tally: Told, webhook: Text = "", action: Text = "") -> Response:
    if action == "delete":
        await webhooks.delete_webhook(as_id(webhook), page.session)
    else:
        await webhooks.enable_webhook(as_id(webhook), page.session)
    return tally.go("delete" if action == "delete" else "enable")


@router.post("/needs-you/mailbox")
async def answer_mailbox(
    page: OpenedPage, tally: Told, action: Text = "", password: Annotated[str, Form(max_length=1000)] = ""
) -> Response:
    box = await page.session.scalar(select(Mailbox))
    if box is None:
        raise NotFound("There is no mailbox any more.")
    if action == "delete":
        await hints.delete_mailbox(page.session, page.who)
        return tally.go("delete")
    try:
        body = hints.MailboxBody(
            host=box.host, port=box.port, username=box.username, password=SecretStr(password)
        )
    except ValidationError:
        raise BadRequest("Type the mailbox's password.", action="Go back and type it.") from None
    page.session.expunge(box)
    await hints.put_mailbox(body, page.session, page.who, page.parts)
    return tally.go("password")
