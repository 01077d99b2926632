"""Many listings at once: a page that says what will become of each, then that, and how it went."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import FormData

from everystall.errors import BadRequest, Conflict, EverystallError, NotFound, PricesChanged
from everystall.inventory import bulk, price_changes, sold_elsewhere, stock
from everystall.inventory.bulk import MOST, Changed, Done, Labelling, Line, Where
from everystall.inventory.connections import SignIn, find_sign_ins
from everystall.inventory.price_changes import Change, Wish
from everystall.inventory.pricing import HIGHEST_PRICE, dollars
from everystall.inventory.relisting import LOST
from everystall.inventory.sellers_day import now_of_seller
from everystall.inventory.sold_elsewhere import Told, latest_day
from everystall.inventory.transfer import csv_lines
from everystall.marketplaces import MARKETPLACES
from everystall.models import Listing
from everystall.web.answers import complaint
from everystall.web.deps import AllParts, PageSeller, Parts, SignedIn, as_id
from everystall.web.listings import ListingBody, delete_listing, get_listing, keep_listing, patch_listing
from everystall.web.pages import inventory
from everystall.web.pages.amounts import Typed, dollars_of
from everystall.web.pages.inventory import Asked, cents_of
from everystall.web.pages.opened import opened
from everystall.web.pages.sold import LONGEST_PLACE, day_of, place_of

router = APIRouter()

#: Lines that the page shows of each kind.
SHOWN: Final = 50
VERBS: Final = {
    "post": "Post to all", "reprice": "Reprice", "label": "Label", "end": "Delist", "relist": "Relist",
    "sold": "Mark as sold", "delete": "Delete",
}  # fmt: skip
#: What is said of those of which something is done, before and after.
_WILL: Final = {
    "post": "will be posted", "reprice": "get another price", "label": "get other labels or another place",
    "end": "will be taken down",
    "relist": "will be taken down and posted again",
    "sold": "will be marked as sold, and taken down", "delete": "will be deleted",
}  # fmt: skip
_WAS: Final = {
    "post": ("is on its way", "are on their way"), "reprice": ("has another price", "have another price"),
    "label": ("is labelled", "are labelled"),
    "end": ("is being taken down", "are being taken down"),
    "relist": ("is taken down and posted again", "are taken down and posted again"),
    "sold": ("is marked as sold", "are marked as sold"),
    "delete": ("is deleted, or being taken down and then deleted",
               "are deleted, or being taken down and then deleted"),
}  # fmt: skip


@dataclass(frozen=True)
class Account:
    """One at which it may be done."""

    id: str
    label: str
    name: str | None
    #: What is to be known of it before it is chosen.
    said: str
    #: It cannot be chosen.
    away: bool
    chosen: bool


@dataclass(frozen=True)
class Plan:
    """What a page says before anything is done."""

    verb: str
    lines: Sequence[Line]
    accounts: Sequence[Account] = ()
    #: For `reprice`: from and to, by listing; for `sold`: what each sold for, as typed.
    prices: Mapping[UUID, tuple[str, str]] | None = None
    tokens: Sequence[str] = ()
    #: What is wrong with what was typed, for its field.
    wrong: str | None = None
    #: What shall be done is asked first.
    asks: bool = False
    #: For `sold`: where the seller is.
    now: datetime | None = None

    @property
    def chosen(self) -> list[str]:
        return [one.id for one in self.accounts if one.chosen]

    def of(self, outcome: str) -> list[Line]:
        return [line for line in self.lines if line.outcome == outcome]


@dataclass(frozen=True)
class Given:
    """The form, read."""

    verb: str
    ids: Sequence[UUID]
    accounts: Sequence[str] | None
    #: The accounts that were chosen when it was looked at. None: nobody says so.
    looked: Sequence[str] | None
    also_live: bool
    how: str
    value: str
    tokens: Sequence[str]
    key: str
    sure: bool
    asked: Asked
    #: For `label`: as typed.
    add: str = ""
    drop: str = ""
    place: str = ""
    no_place: bool = False
    #: For `sold`: the form's fields about all of them, and what each sold for, as typed.
    sale: Typed = field(default_factory=lambda: Typed({}))
    #: How many match behind these: at once were too many.
    more: int = 0

    @property
    def moved(self) -> bool:
        """It shall be done, at other accounts than were looked at."""
        return self.sure and self.looked is not None and set(self.looked) != set(self.accounts or ())

    def wishes(self) -> list[tuple[str, str]]:
        """The fields that say what shall be done, for the next ones."""
        told = [
            ("accounts", "chosen" if self.accounts is not None else ""),
            *(("account", one) for one in self.accounts or ()),
            ("also_live", "yes" if self.also_live else ""), ("how", self.how), ("value", self.value),
            ("add", self.add), ("drop", self.drop), ("place", self.place),
            ("no_place", "yes" if self.no_place else ""),
            *((name, self.sale[name]) for name in ("sold_at", "sold_on", "fees")),
        ]  # fmt: skip
        return [(name, value) for name, value in told if value]

    def labelling(self) -> Labelling | None:
        """Raises BadRequest in words."""
        try:
            body = ListingBody.model_validate(
                {"labels": [one for one in (self.add, self.drop) if one], "location": self.place}
            )
        except ValidationError as error:
            raise BadRequest(
                f"That {complaint(error.errors()[0])}.", action="Write something shorter, in one line."
            ) from None
        place = "" if self.no_place else body.location
        if not (self.add or self.drop or place is not None):
            return None
        return Labelling(self.add or None, self.drop or None, place)

    def wish(self) -> Wish | None:
        """What shall become of the prices. Raises BadRequest in words."""
        if not self.value:
            return None
        if self.how == "set":
            cents = cents_of(self.value)
            if not cents:
                raise BadRequest(
                    "That is no price.", action="Write an amount in dollars, such as 12 or 12.50."
                )
            return Wish("set", price=cents)
        found = re.fullmatch(r"([+-]?)\s*(\d{1,3}(?:\.\d{1,2})?)\s*%?", self.value.replace("\u2212", "-"))
        if found is None or not float(found[2]):
            raise BadRequest(
                "That is no percentage.", action="Write such as -10 for a tenth less, 5 for more."
            )
        return Wish("add", percent=round(float(found[1] + found[2]) * 100))


# ---- reading the form -------------------------------------------------------------------------------


async def _read(session: AsyncSession, form: FormData) -> Given:
    """Raises BadRequest; Conflict where other listings match now than were counted."""
    told = {name: value for name, value in form.items() if isinstance(value, str)}
    verb, asked = told.get("do", ""), Asked.of(told)
    if verb not in (*VERBS, "export"):
        raise BadRequest("There is no such button.", action="Go back to the inventory.")
    ids, more = await _chosen(session, form, told, asked, verb)
    return Given(
        verb=verb,
        ids=ids,
        accounts=_texts(form, "account") if told.get("accounts") == "chosen" else None,
        looked=told["looked"].split() if "looked" in told else None,
        also_live=told.get("also_live") == "yes",
        how="set" if told.get("how") == "set" else "add",
        value=told.get("value", "").strip()[:20],
        tokens=_texts(form, "token"),
        key=told.get("key", ""),
        sure=told.get("sure") == "yes",
        asked=asked,
        add=told.get("add", "").replace("\0", "").strip(),
        drop=told.get("drop", "").replace("\0", "").strip(),
        place=told.get("place", "").replace("\0", "").strip(),
        no_place=told.get("no_place") == "yes",
        sale=Typed(
            {
                name: value
                for name, value in told.items()
                if name in ("sold_at", "sold_on", "fees") or name.startswith("price-")
            }
        ),
        more=more,
    )


async def _chosen(
    session: AsyncSession, form: FormData, told: Mapping[str, str], asked: Asked, verb: str
) -> tuple[list[UUID], int]:
    """The listings, and how many more match behind them."""
    most = 1_000_000 if verb == "export" else MOST
    if told.get("all") == "yes":
        after = as_id(told["after"]) if told.get("after") else None
        number = await stock.number_of(session, asked.sought, after)
        if after is None and told.get("count") != str(number):
            raise Conflict(
                f"{number:,} listings match now, not {told.get('count') or 'as many as you saw'}. "
                "Nothing was done.",
                action="Look at the list again, and select them anew.",
            )
        ids = await stock.ids_of(session, asked.sought, most, after)
        if after is not None and not ids:
            raise BadRequest("None of the rest matches any more.", action="Look at the list again.")
        more = max(0, number - len(ids))
    else:
        named = [*told.get("ids", "").split(), *_texts(form, "id")]
        ids = sorted({as_id(id) for id in named})
        said = told.get("more", "")
        more = int(said) if re.fullmatch(r"[0-9]{1,9}", said) else 0
    if not ids:
        raise BadRequest("No listing is selected.", action="Tick some listings first.")
    if len(ids) > most:
        raise BadRequest(
            f"That is more than {MOST} listings at once.",
            action="Narrow the list down with a filter, and do it part by part.",
        )
    return ids, more


def _texts(form: FormData, name: str) -> list[str]:
    found = (value.replace("\0", "") for value in form.getlist(name) if isinstance(value, str))
    return [value for value in found if value]


# ---- the pages --------------------------------------------------------------------------------------


@router.post("/inventory/bulk")
async def preview_or_do(request: Request, parts: AllParts, who: PageSeller) -> Response:
    """What will become of each; with `sure`, that."""
    form = await request.form(max_fields=3000)
    try:
        async with parts.database.as_user(who.user_id) as session:
            given = await _read(session, form)
            plan = await _look(session, given)
        if given.verb not in VERBS:  # what is exported has an address of its own
            raise NotFound
        if not given.sure or plan.wrong or given.moved:
            return await _show(request, parts, who, given, plan)
        done = await _do(parts, who, given, plan)
    except EverystallError as error:
        return await _refused(request, parts, who, form, error)
    async with opened(request, parts, who) as page:
        return page.show(
            "bulk_done.html", home=given.asked.url(), verb=given.verb, title=VERBS[given.verb], done=done,
            was=_WAS[given.verb][done.number != 1], back=given.asked.url(),
            left=len(plan.lines) - done.number, given=given, next=min(given.more, MOST),
            going={"post": Asked(state="posting").url(), "end": Asked(state="ending").url(),
                   **({"delete": Asked(state="ending").url()} if done.deleting else {})},
            changes=json.dumps([vars(one) for one in done.changes]) if done.changes else None,
        )  # fmt: skip


async def _refused(
    request: Request, parts: Parts, who: SignedIn, form: FormData, error: EverystallError
) -> Response:
    """The inventory as it was asked for, with what is wrong; what is another's is not there."""
    if error.status == 404:
        raise error
    told = {name: value for name, value in form.items() if isinstance(value, str)}
    async with opened(request, parts, who) as page:
        return await inventory.show(page, given=told, error=error)


async def _show(request: Request, parts: Parts, who: SignedIn, given: Given, plan: Plan) -> HTMLResponse:
    async with opened(request, parts, who) as page:
        return page.show(
            "bulk.html",
            labels=await stock.labels_in_use(page.session) if given.verb == "label" else [],
            locations=await stock.locations_in_use(page.session) if given.verb == "label" else [],
            home=given.asked.url(),
            plan=plan,
            given=given,
            verb=given.verb,
            title=VERBS[given.verb],
            will=_WILL[given.verb],
            shown=SHOWN,
            back=given.asked.url(),
            key=secrets.token_hex(8),
            lost=LOST,
            longest=LONGEST_PLACE,
            latest=latest_day(plan.now) if plan.now else None,
        )


@router.post("/inventory/export")
async def export(request: Request, parts: AllParts, who: PageSeller) -> Response:
    """The chosen ones as CSV."""
    form = await request.form(max_fields=3000)
    try:
        async with parts.database.as_user(who.user_id) as session:
            given = await _read(session, form)
            known = await stock.listings_of(session, given.ids) if len(given.ids) <= MOST else None
            if known is not None and len(known) < len(given.ids):
                raise NotFound  # one of them is another's: nothing is there
    except EverystallError as error:
        return await _refused(request, parts, who, form, error)
    name = f"everystall-listings-{datetime.now(UTC):%Y-%m-%d}.csv"
    return StreamingResponse(
        csv_lines(parts.database, who.user_id, given.ids),
        media_type="text/csv; charset=utf-8; header=present",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.post("/inventory/undo")
async def undo(request: Request, parts: AllParts, who: PageSeller) -> HTMLResponse:
    """Takes back what a bulk post left waiting."""
    form = await request.form()
    job_ids = str(form.get("jobs") or "").split()[:MOST]
    taken, going_on = await bulk.take_back(parts.database, who.user_id, job_ids)
    async with opened(request, parts, who) as page:
        return page.show("bulk_undone.html", home="/inventory", taken=taken, going_on=going_on,
                         asked=len(job_ids), kind="posts")  # fmt: skip


@router.post("/inventory/undo/ends")
async def undo_ends(request: Request, parts: AllParts, who: PageSeller) -> HTMLResponse:
    """What a bulk wanted taken down, or relisted, and still waits, stays."""
    named = str((await request.form()).get("publications") or "").split()[: 10 * MOST]
    ids = [str(as_id(id)) for id in named]
    kept, going_on = await bulk.keep_all(parts.database, who.user_id, ids)
    async with opened(request, parts, who) as page:
        return page.show("bulk_undone.html", home="/inventory", taken=kept, going_on=going_on,
                         asked=len(ids), kind="ends")  # fmt: skip


@router.post("/inventory/undo/deletes")
async def undo_deletes(request: Request, parts: AllParts, who: PageSeller) -> HTMLResponse:
    """What a bulk is taking down to delete stays. What is deleted already, or another's, is not there."""
    ids = [as_id(id) for id in str((await request.form()).get("listings") or "").split()[:MOST]]
    kept, going_on = 0, 0
    for id in ids:
        async with parts.database.as_user(who.user_id) as session:
            try:
                found = await keep_listing(id, session)
            except NotFound:
                continue
            except Conflict:  # pressed twice
                kept += 1
            else:
                kept += 1
                going_on += not found.all
    async with opened(request, parts, who) as page:
        return page.show("bulk_undone.html", home="/inventory", taken=kept, going_on=going_on,
                         asked=len(ids), kind="deletes")  # fmt: skip


@router.post("/inventory/undo/sold")
async def undo_sold(request: Request, parts: AllParts, who: PageSeller) -> HTMLResponse:
    """What a bulk marked as sold is for sale again."""
    ids = [as_id(id) for id in str((await request.form()).get("sales") or "").split()[:MOST]]
    back, found = await sold_elsewhere.take_all_back(parts.database, who.user_id, ids)
    async with opened(request, parts, who) as page:
        return page.show("bulk_undone.html", home="/inventory", taken=back, going_on=0, asked=found,
                         kind="sold")  # fmt: skip


@router.post("/inventory/undo/changes")
async def undo_changes(request: Request, parts: AllParts, who: PageSeller) -> HTMLResponse:
    """What a bulk changed is as it was, wherever nobody changed it since."""
    changes = _changes(str((await request.form()).get("changes") or ""))
    found, back = 0, 0
    for one in changes:
        async with parts.database.as_user(who.user_id) as session:
            try:
                listing = await get_listing(as_id(one.id), session)
            except NotFound:
                continue
            found += 1
            told = listing.model_dump(mode="json", by_alias=True)
            if any(told[name] != value for name, value in one.now.items()):
                continue
            await patch_listing(as_id(one.id), ListingBody.model_validate(one.was), session)
            back += 1
    if not found:
        raise NotFound
    async with opened(request, parts, who) as page:
        return page.show("bulk_undone.html", home="/inventory", taken=back, going_on=0, asked=found,
                         kind="changes")  # fmt: skip


def _changes(text: str) -> list[Changed]:
    """What a page of ours put into its form. Raises BadRequest for what it did not."""
    try:
        found = [Changed(str(one["id"]), dict(one["was"]), dict(one["now"])) for one in json.loads(text)]
        for one in found:
            if not one.was.keys() == one.now.keys() <= {"labels", "location", "price"}:
                raise ValueError
            ListingBody.model_validate(one.was)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BadRequest("This form is not one of ours.", action="Go back to the inventory.") from None
    return found[:MOST]


# ---- looking ----------------------------------------------------------------------------------------


async def _look(session: AsyncSession, given: Given) -> Plan:
    """Raises NotFound for a listing that is not the seller's."""
    listings = await stock.listings_of(session, given.ids)
    if len(listings) < len(given.ids):
        as_id("")  # as for one that is no id
    if given.verb in ("post", "end", "relist"):
        return await _look_at_places(session, listings, given)
    if given.verb == "label":
        return _look_at_labels(listings, given)
    if given.verb == "sold":
        return await _look_at_sold(session, listings, given)
    if given.verb == "delete":
        return Plan("delete", await bulk.look_at_deleting(session, listings, given.also_live))
    return await _look_at_prices(session, given)


async def _look_at_places(session: AsyncSession, listings: Sequence[Listing], given: Given) -> Plan:
    signed = await find_sign_ins(session)
    order = list(MARKETPLACES)
    signed.sort(key=lambda one: order.index(one.connection.marketplace))
    if given.verb == "post":
        accounts = _to_post_to(signed, given.accounts)
        by_id = {one.connection.public_id: one for one in signed}
        there = [by_id[one.id] for one in accounts if one.chosen]
        return Plan("post", await bulk.look_at_posting(session, listings, there), accounts)
    accounts = _stood_on(signed, await bulk.standing_on(session, listings), given)
    chosen = {one.id for one in accounts if one.chosen}
    where = Where(
        [one.connection.id for one in signed if one.connection.public_id in chosen], _names_of(signed)
    )
    look = bulk.look_at_ending if given.verb == "end" else bulk.look_at_relisting
    return Plan(given.verb, await look(session, listings, where), accounts)


async def _look_at_sold(session: AsyncSession, listings: Sequence[Listing], given: Given) -> Plan:
    lines = sold_elsewhere.look(listings)
    there = {line.listing.id: line.places for line in await bulk.look_at_ending(session, listings)}
    for line in lines:
        if line.outcome == "done" and line.listing.quantity - line.listing.quantity_sold == 1:
            line.places += there[line.listing.id]
    now = await now_of_seller(session)
    _told(listings, given, now)
    prices = {row.id: (given.sale[f"price-{row.id}"] or _amount(row.price_cents), "") for row in listings}
    wrong = "; ".join(given.sale.wrong.values()) or None
    return Plan("sold", lines, prices=prices, wrong=wrong, now=now)


def _told(listings: Sequence[Listing], given: Given, now: datetime) -> dict[UUID, Told]:
    """What is said of each; `now`: where the seller is. What is wrong is in `given.sale.wrong`."""
    typed = given.sale
    if not typed["sold_on"]:
        typed.texts["sold_on"] = f"{now:%Y-%m-%d}"
    told = Told(
        typed.needed("sold_on", partial(day_of, now=now), now.date()),
        fee=typed.read("fees", dollars_of, None),
        place=typed.read("sold_at", place_of, None),
    )
    return {
        row.id: replace(told, price=typed.read(f"price-{row.id}", dollars_of, row.price_cents))
        for row in listings
    }


def _look_at_labels(listings: Sequence[Listing], given: Given) -> Plan:
    wish, wrong = None, None
    try:
        wish = given.labelling()
    except BadRequest as error:
        wrong = f"{error.message} {error.action}"
    if wish is None:
        return Plan("label", [Line(row) for row in listings], wrong=wrong, asks=True)
    return Plan("label", bulk.look_at_labelling(listings, wish))


def _to_post_to(signed: Sequence[SignIn], chosen: Sequence[str] | None) -> list[Account]:
    """Those that are connected. Unless said otherwise, the first of each marketplace that somebody is signed
    in to."""
    first = set[str]()
    found = []
    for one in signed:
        if one.forgotten:
            continue
        row, away = one.connection, one.status != "connected"
        mine = row.public_id in chosen if chosen is not None else row.marketplace not in first
        if mine and not away:
            first.add(row.marketplace)
        said = "Needs sign-in: nothing is posted there" if away else ""
        found.append(
            Account(row.public_id, MARKETPLACES[row.marketplace], row.label or row.account_name, said, away,
                    mine and not away)
        )  # fmt: skip
    return found


def _stood_on(signed: Sequence[SignIn], there: Mapping[UUID, int], given: Given) -> list[Account]:
    """All of them, since what comes behind the first five hundred may stand on another; of those that were
    taken away, where something stands. Unless said otherwise, all of the marketplace by which the list is
    filtered, or of each."""
    found = []
    for one in signed:
        row, number = one.connection, there.get(one.connection.id, 0)
        if one.forgotten and not number:
            continue
        if given.accounts is not None:
            mine = row.public_id in given.accounts
        else:
            mine = given.asked.on in ("", row.marketplace)
        said = f"{number:,} of these" if number else "None of these"
        if one.status != "connected":
            said += " · Taken away: it waits" if one.forgotten else " · Needs sign-in: it waits"
        found.append(
            Account(row.public_id, MARKETPLACES[row.marketplace], row.label or row.account_name, said, False,
                    mine)
        )  # fmt: skip
    return found


def _names_of(signed: Sequence[SignIn]) -> dict[UUID, str]:
    """Each by its marketplace; of several there, by its own name, too."""
    places = [one.connection.marketplace for one in signed]
    names = {}
    for row in (one.connection for one in signed):
        label = MARKETPLACES[row.marketplace]
        several = places.count(row.marketplace) > 1
        names[row.id] = f"{label} ({row.label or row.account_name or row.public_id})" if several else label
    return names


async def _look_at_prices(session: AsyncSession, given: Given) -> Plan:
    wish, wrong = None, None
    try:
        wish = given.wish()
    except BadRequest as error:
        wrong = f"{error.message} {error.action}"
    if wish is None:  # how is asked first
        return Plan(
            "reprice", [Line(row) for row in await stock.listings_of(session, given.ids)], wrong=wrong,
            asks=True,
        )  # fmt: skip
    lines, prices, tokens = [], {}, []
    for ids in _chunks(given.ids):
        changes = await price_changes.look(session, ids, wish)
        tokens.append(price_changes.token_of(wish, changes))
        for change in changes:
            lines.append(_price_line(change))
            prices[change.listing.id] = (_money(change.before), _money(change.after))
    return Plan("reprice", lines, prices=prices, tokens=tokens)


def _chunks(ids: Sequence[UUID]) -> list[Sequence[UUID]]:
    return [ids[at : at + price_changes.MOST] for at in range(0, len(ids), price_changes.MOST)]


def _price_line(change: Change) -> Line:
    line = Line(change.listing)
    if change.outcome == "changed":
        places = dict.fromkeys(MARKETPLACES[one.publication.marketplace] for one in change.there)
        line.places = [(label, "") for label in places] or [("", "")]
    elif change.outcome == "refused":
        line.reasons += dict.fromkeys(change.refused)
    else:
        line.left.append("It costs that already.")
    return line


def _amount(cents: int | None) -> str:
    """As it stands in a field."""
    return "" if cents is None else f"{cents / 100:.2f}"


def _money(cents: int | None) -> str:
    if cents is None:
        return "no price"
    return dollars(max(-HIGHEST_PRICE, min(cents, HIGHEST_PRICE * 10)))


# ---- doing ------------------------------------------------------------------------------------------


async def _do(parts: Parts, who: SignedIn, given: Given, plan: Plan) -> Done:
    db, user_id = parts.database, who.user_id
    if given.verb == "post":
        if re.fullmatch(r"[0-9a-f]{16}", given.key) is None:
            raise BadRequest("This form is not one of ours.", action="Go back to the inventory.")
        chosen = "\n".join([given.key, *sorted(given.accounts or ())])
        key = hashlib.sha256(chosen.encode()).hexdigest()[:32]  # another choice is another wish
        return await bulk.post_all(db, user_id, plan.lines, key)
    if given.verb == "label":
        wish = given.labelling()
        if wish is None:
            raise BadRequest("Which label, or which place?", action="Write one of them.")
        return await bulk.label_all(db, user_id, plan.lines, wish)
    if given.verb == "end":
        return await bulk.end_all(db, user_id, plan.lines)
    if given.verb == "relist":
        return await bulk.relist_all(db, user_id, plan.lines)
    if given.verb == "sold":
        return await _mark_sold(parts, who, given, plan)
    if given.verb == "delete":
        return await _delete(parts, who, plan.lines, end=given.also_live)
    return await _reprice(parts, who, given)


async def _mark_sold(parts: Parts, who: SignedIn, given: Given, plan: Plan) -> Done:
    if re.fullmatch(r"[0-9a-f]{16}", given.key) is None:
        raise BadRequest("This form is not one of ours.", action="Go back to the inventory.")
    assert plan.now is not None
    told = _told([line.listing for line in plan.lines], given, plan.now)
    done, sales = await sold_elsewhere.mark_all(parts.database, who.user_id, plan.lines, told, given.key)
    return replace(done, sales=sales)


async def _delete(parts: Parts, who: SignedIn, lines: Sequence[Line], *, end: bool) -> Done:
    deleting, deleted = list[str](), list[str]()

    async def delete(line: Line) -> list[str]:
        async with parts.database.as_user(who.user_id) as session:
            done = await delete_listing(line.listing.id, session, Response(), end=end)
        (deleted if done.deleted else deleting).append(str(line.listing.id))
        return []

    done = await bulk.each(lines, delete)
    return Done(done.number, done.failed, deleting=deleting, deleted=deleted)


async def _reprice(parts: Parts, who: SignedIn, given: Given) -> Done:
    """Two hundred in a transaction, each exactly as it was looked at, or not at all."""
    wish, number, failed, done = given.wish(), 0, list[tuple[str, str]](), list[Changed]()
    if wish is None:
        raise BadRequest("To which price?", action="Write a percentage, or a price.")
    chunks = _chunks(given.ids)
    if len(chunks) != len(given.tokens):
        raise PricesChanged
    for ids, token in zip(chunks, given.tokens, strict=True):
        try:
            async with parts.database.as_user(who.user_id) as session:
                changes = await price_changes.do(session, ids, wish, token)
        except PricesChanged as error:
            failed.append((f"{len(ids)} listings", error.message))
            continue
        number += sum(change.outcome == "changed" for change in changes)
        done += [
            Changed(str(one.listing.id), {"price": _as_body(one.before)}, {"price": _as_body(one.after)})
            for one in changes
            if one.outcome == "changed"
        ]
    return Done(number, failed, changes=done)


def _as_body(cents: int | None) -> dict[str, Any] | None:
    return None if cents is None else {"amount": cents, "currency": "USD"}
