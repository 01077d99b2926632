"""Listings: what the seller wrote once, kept as it was written, and what each marketplace still needs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter
from sqlalchemy import exists, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from everystall import engine
from everystall.errors import BadRequest, Conflict, ListingLive, listed
from everystall.inventory import jobs, pricing
from everystall.inventory.bulk import MOST_LABELS
from everystall.inventory.deleted import DAYS, throw_away
from everystall.inventory.listings import facts_of, facts_with, find_listing, size_of
from everystall.inventory.price_drops import Next, next_of
from everystall.inventory.pricing import Priced
from everystall.inventory.publications import keep, lock_all, may_keep, want_ended, want_live
from everystall.inventory.revisions import changed
from everystall.marketplaces import MARKETPLACES
from everystall.marketplaces.base import COLORS, CONDITIONS, ListingFacts
from everystall.marketplaces.taxonomy import find_category, near
from everystall.models import Attempt, Connection, Listing, ListingPhoto, Publication
from everystall.web import vocabulary
from everystall.web.answers import complaint
from everystall.web.cursors import cursor_of, read_cursor
from everystall.web.deps import ListingId, Seller, Transaction, as_id
from everystall.web.publications import publications_of
from everystall.web.shapes import (
    Body,
    CostBody,
    Line60,
    Line100,
    Line200,
    Line1000,
    Marketplace,
    MoneyBody,
    MoneyOut,
    NoteOut,
    ProblemOut,
    Prose,
    PublicationOut,
    Shape,
    camel,
    one_line,
    snake,
    written,
)

router = APIRouter(prefix="/api/listings", tags=["listings"])


# ---- shapes ---------------------------------------------------------------------------------------


def _category(value: str) -> str:
    if find_category(value) is None:
        found = listed([category.key for category in near(value)])
        like_it = f"near it: {found}; " if found else ""
        raise ValueError(f"is no category of ours; {like_it}GET {vocabulary.PATH} lists them all")
    return value


def _condition(value: str) -> str:
    if value not in CONDITIONS:
        raise ValueError(f"is no condition of ours; use {', '.join(CONDITIONS)}")
    return value


def _color(value: Any) -> Any:
    color = value.lower() if isinstance(value, str) else value
    if color not in COLORS:
        raise ValueError(f"is no colour of ours; use {', '.join(COLORS)}")
    return color


def _whole(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("is a whole number")
    return value


def _each_once(value: list[str]) -> list[str]:
    return list(dict.fromkeys(value))


Word = Annotated[str, Field(min_length=1, max_length=100)]
Inches = Annotated[float, Field(gt=0, le=200)]


class PackageBody(Body):
    """Ounces and inches."""

    weight_oz: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=2400)] | None = None
    length_in: Inches | None = None
    width_in: Inches | None = None
    height_in: Inches | None = None


class FactsBody(Body):
    """Everything that may also stand otherwise for one marketplace. Left out or null: not told."""

    title: Line1000 = None
    description: Prose = None
    brand: Line200 = None
    category: Annotated[str, Field(max_length=200), AfterValidator(_category)] | None = None
    size: Line60 = None
    #: new_with_tags, new_without_tags, new_with_flaws, like_new, good, fair, poor
    condition: Annotated[str, AfterValidator(_condition)] | None = None
    #: The main one first.
    colors: Annotated[list[Annotated[str, BeforeValidator(_color)]], Field(max_length=10)] | None = None
    tags: Annotated[list[Word], Field(max_length=50)] | None = None
    price: MoneyBody | None = None
    original_price: MoneyBody | None = None
    sku: Line100 = None
    package: PackageBody | None = None
    ships_from_zip: Annotated[
        str, written(r"[0-9]{5}(-[0-9]{4})?", "must be a ZIP code: 97205 or 97205-1234")
    ] | None = None  # fmt: skip
    shipping_payer: Literal["buyer", "seller"] | None = None
    #: Free facts: {"Material": "Cotton"}
    specifics: Annotated[
        dict[Word, Annotated[str, Field(max_length=1000)]], Field(max_length=100)
    ] | None = None  # fmt: skip


Own = str | int | float | bool | None | list[str] | dict[str, Any]
_OWN: TypeAdapter[Own] = TypeAdapter(Own)


class ListingBody(FactsBody):
    quantity: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=100_000)] = 1
    #: Per marketplace, what stands there instead: {"ebay": {"title": "…", "price": {…}}}
    overrides: dict[Marketplace, Annotated[dict[str, Any], Field(max_length=60)]] | None = None
    #: Your own, sent nowhere: where it lies, what one of it cost you, labels.
    location: Line100 = None
    cost: CostBody | None = None
    labels: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=40), AfterValidator(one_line)]],
        Field(max_length=MOST_LABELS), AfterValidator(_each_once),
    ] | None = None  # fmt: skip

    def columns(self, given: set[str] | None = None) -> dict[str, Any]:
        """The listing's columns; only the fields given, if that is said."""
        values = _facts(self, given)
        for name in ("price", "original_price"):
            if name in values:
                money = values.pop(name)
                values[f"{name}_cents"] = money["amount"] if money else None
        if given is None or "cost" in given:
            values["cost_cents"] = self.cost.amount if self.cost else None
        for name in ("location", "labels"):
            if given is None or name in given:
                values[name] = getattr(self, name)
        if given is None or "quantity" in given:
            values["quantity"] = self.quantity
        if given is None or "overrides" in given:
            values["overrides"] = {place: _own_facts(own) for place, own in (self.overrides or {}).items()}
        empty: dict[str, Any] = {"colors": [], "tags": [], "package": {}, "specifics": {}, "labels": []}
        return {name: empty.get(name) if value is None else value for name, value in values.items()}


def _facts(body: FactsBody, given: set[str] | None) -> dict[str, Any]:
    names = FactsBody.model_fields.keys() if given is None else FactsBody.model_fields.keys() & given
    values = body.model_dump(include=set(names), by_alias=False, exclude_none=False)
    if values.get("package"):
        values["package"] = {name: value for name, value in values["package"].items() if value is not None}
    return values


def _own_facts(own: dict[str, Any]) -> dict[str, Any]:
    """One marketplace's own values under our names: facts checked like the listing's own, except that a
    category may be the site's own menu path, and a condition in its own words."""
    values = snake(own)
    facts = {
        name: value
        for name, value in values.items()
        if name in FactsBody.model_fields.keys() - {"category", "condition"}
    }
    checked = _facts(FactsBody.model_validate(facts), set(facts))
    return {name: checked.get(name, value) for name, value in values.items()}


def check_overrides(body: ListingBody) -> None:
    """Raises BadRequest naming the field: what is wrong in one marketplace's own values."""
    for place, own in (body.overrides or {}).items():
        try:
            _own_facts(own)
            for value in own.values():
                _OWN.validate_python(value)
        except ValueError as e:
            errors: list[Any] = getattr(e, "errors", list)()
            where = ".".join([place, *map(str, errors[0]["loc"])]) if errors else place
            said = complaint(errors[0]) if errors else "is not usable"
            raise _Wrong(
                f"overrides.{where}: {said}.", fields=[{"field": f"overrides.{where}", "message": said}]
            ) from None


class _Wrong(BadRequest):
    """The request is malformed."""

    status = 422


class PhotoOut(Shape):
    photo_id: str
    #: 0 is the cover.
    position: int
    #: Pixels, as it is shown.
    width: int
    height: int
    #: Degrees clockwise by which it is turned wherever it is shown or sent.
    turn: int
    content_type: str
    byte_size: int
    sha256: str
    url: str

    @classmethod
    def of(cls, row: ListingPhoto) -> PhotoOut:
        width, height = size_of(row)
        return cls(
            photo_id=str(row.id), position=row.position, width=width, height=height, turn=row.turn,
            content_type=row.content_type, byte_size=row.byte_size, sha256=row.sha256,
            url=f"/api/listings/{row.listing_id}/photos/{row.id}",
        )  # fmt: skip


class PackageOut(Shape):
    weight_oz: int | None = None
    length_in: float | None = None
    width_in: float | None = None
    height_in: float | None = None


class PriceOut(Shape):
    """What it costs on a marketplace, and what of that is left."""

    price: MoneyOut
    #: What the marketplace takes of a sale. GET /api/prices/rules says how it is reckoned.
    fee: MoneyOut
    #: The rest, less what you give towards the buyer's postage: before your own, and what the thing cost.
    left: MoneyOut
    #: Whose price it is: the listing's, the listing's own for that marketplace, the rule's for it.
    by: Literal["listing", "override", "rule"]
    #: Why it is not what the listing says, or the mark-up makes of it.
    notes: list[str]

    @classmethod
    def of(cls, priced: Priced) -> PriceOut:
        def money(cents: int) -> MoneyOut:
            return MoneyOut(amount=cents, currency=priced.currency)

        return cls(
            price=money(priced.price), fee=money(priced.fee), left=money(priced.left), by=priced.by,
            notes=list(priced.notes),
        )  # fmt: skip


class StandingOut(Shape):
    browser_profile_id: str
    price: MoneyOut


class MarketplacePriceOut(PriceOut):
    marketplace: str
    label: str
    #: Accounts where it stands at another price, since the rule was changed after it was posted there.
    #: POST /api/prices/changes applies it.
    not_applied: list[StandingOut]


class NextDropOut(Shape):
    """The next step of a price that falls by itself."""

    #: A worker makes it within the hour after.
    at: datetime
    #: What the listing costs then, as things stand.
    price: MoneyOut
    #: Why the step before was not made; null: it was, or there was none.
    refused: str | None

    @classmethod
    def of(cls, step: Next, currency: str) -> NextDropOut:
        return cls(at=step.at, price=MoneyOut(amount=step.price, currency=currency), refused=step.refused)


class ListingOut(Shape):
    listing_id: str
    #: The same.
    id: str
    title: str | None
    description: str | None
    brand: str | None
    category: str | None
    size: str | None
    condition: str | None
    colors: list[str]
    tags: list[str]
    price: MoneyOut | None
    #: What that is on each marketplace; those for which a price is known.
    prices: list[MarketplacePriceOut]
    #: Null: it does not fall by itself.
    next_drop: NextDropOut | None
    original_price: MoneyOut | None
    quantity: int
    quantity_sold: int
    sku: str | None
    package: PackageOut
    ships_from_zip: str | None
    shipping_payer: str | None
    specifics: dict[str, str]
    overrides: dict[str, dict[str, Any]]
    #: Your own, sent nowhere.
    location: str | None
    cost: MoneyOut | None
    labels: list[str]
    #: Counts the changes of content.
    revision: int
    photos: list[PhotoOut]
    publications: list[PublicationOut]
    #: Set while it is being taken down everywhere, after which it is gone.
    delete_asked_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ListingsOut(Shape):
    listings: list[ListingOut]
    next_cursor: str | None


class CheckBody(Body):
    """None given: every marketplace."""

    marketplaces: Annotated[list[str], Field(max_length=50)] = []
    connections: Annotated[list[str], Field(max_length=200)] = []


class CheckedOut(Shape):
    marketplace: str
    label: str
    browser_profile_id: str | None
    #: Nothing is wrong with the listing there. Whether we are signed in is `session`.
    ready: bool
    session: Literal["connected", "expired", "missing"]
    problems: list[ProblemOut]
    #: What of the listing that marketplace has no place for: it is posted without.
    notes: list[NoteOut]
    #: Null while none is told.
    price: PriceOut | None
    #: What would be posted, in the marketplace's own words; null while something is missing.
    draft: dict[str, Any] | None


class CheckOut(Shape):
    listing_id: str
    ready: bool
    marketplaces: list[CheckedOut]


class DeletedOut(Shape):
    success: Literal[True] = True
    #: False: it is being taken down first, and goes when the last one is gone.
    deleted: bool
    message: str
    publications: list[PublicationOut]


class KeptOut(Shape):
    success: Literal[True] = True
    #: False: somewhere taking it down had begun, or was asked for before, and goes on.
    all: bool
    message: str
    publications: list[PublicationOut]


# ---- the routes -----------------------------------------------------------------------------------


@router.post("", status_code=201)
async def create_listing(body: ListingBody, session: Transaction, who: Seller) -> ListingOut:
    """A draft: everything may still be missing. `check` says what each marketplace needs."""
    check_overrides(body)
    listing = Listing(user_id=who.user_id, **body.columns())
    session.add(listing)
    await session.flush()
    await session.refresh(listing)
    return (await _shown(session, [listing]))[0]


@router.get("")
async def list_listings(
    session: Transaction,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> ListingsOut:
    """Newest first."""
    wanted = select(Listing).order_by(Listing.created_at.desc(), Listing.id.desc()).limit(limit + 1)
    if cursor is not None:
        at, last = read_cursor(cursor)
        wanted = wanted.where(tuple_(Listing.created_at, Listing.id) < tuple_(at, as_id(last)))
    found = list(await session.scalars(wanted))
    shown, more = found[:limit], len(found) > limit
    return ListingsOut(
        listings=await _shown(session, shown),
        next_cursor=cursor_of(shown[-1].created_at, shown[-1].id) if more else None,
    )


@router.get("/{listingId}")
async def get_listing(listing_id: ListingId, session: Transaction) -> ListingOut:
    return (await _shown(session, [await find_listing(session, listing_id)]))[0]


@router.patch("/{listingId}")
async def patch_listing(listing_id: ListingId, body: ListingBody, session: Transaction) -> ListingOut:
    """Changes what is given; null clears. A change of content makes a new revision, and is put wherever the
    listing is live: `publications` show how far that is. Location, cost and labels are no content."""
    check_overrides(body)
    listing = await find_listing(session, listing_id, lock=True)
    values = body.columns(body.model_fields_set)
    if values.get("quantity", listing.quantity) < listing.quantity_sold:
        raise _Wrong(
            f"quantity: {listing.quantity_sold} of these are sold already.",
            fields=[
                {"field": "quantity", "message": f"is at least {listing.quantity_sold}, the number sold"}
            ],
        )
    other = {name: value for name, value in values.items() if getattr(listing, name) != value}
    if other:
        for name, value in other.items():
            setattr(listing, name, value)
        await changed(session, listing, other)
    return (await _shown(session, [listing]))[0]


@router.delete("/{listingId}", responses={202: {"model": DeletedOut}})
async def delete_listing(
    listing_id: ListingId, session: Transaction, response: Response, end: bool = False
) -> DeletedOut:
    """409 `listing_live` while it is, or may be, live somewhere; `?end=true` takes it down everywhere
    first (202) and then deletes it. For 30 days it stands among the deleted ones, and can be restored."""
    publications = list(
        await session.scalars(
            select(Publication)
            .where(Publication.listing_id == listing_id)
            .order_by(Publication.id)
            .with_for_update()
        )
    )
    listing = await find_listing(session, listing_id, lock=True)
    standing = [row for row in publications if row.put == "live" or row.looking]
    in_question = await session.scalar(
        select(
            exists().where(
                Attempt.publication_id.in_([row.id for row in publications]),
                Attempt.outcome == "unresolved",
                Attempt.next_look_at.is_not(None),
            )
        )
    )
    if not standing and not in_question:
        for row in publications:  # the jobs that wait for it end, and keep their history
            await want_ended(session, row)
        await throw_away(session, listing)
        return DeletedOut(
            deleted=True,
            message=f"The listing is deleted. It can be restored for {DAYS} days.",
            publications=[],
        )
    places = listed(list(dict.fromkeys(MARKETPLACES[row.marketplace] for row in standing)))
    if not end:
        shown = (await publications_of(session, [listing_id]))[listing_id]
        raise ListingLive(
            f"This listing is live on {places}."
            if places
            else "This listing may have been posted; we still look.",
            publications=[one.model_dump(mode="json", by_alias=True) for one in shown],
        )
    listing.delete_asked_at = listing.delete_asked_at or func.now()
    for row in publications:
        row.end_by_delete = row.end_by_delete or row.wanted == "live"
        await want_ended(session, row)
    await session.flush()
    shown = (await publications_of(session, [listing_id]))[listing_id]
    await engine.wake(session, sorted({row.connection_id for row in standing}), "urgent")
    response.status_code = 202
    return DeletedOut(
        deleted=False,
        message=f"It is being taken down{' on ' + places if places else ''}; then it is deleted.",
        publications=shown,
    )


@router.post("/{listingId}/keep")
async def keep_listing(listing_id: ListingId, session: Transaction) -> KeptOut:
    """Takes back `DELETE …?end=true`: it is not deleted, stays where nobody has begun to take it down, and is
    posted where it waited to be. What was to be taken down before goes on. 409: it is not being deleted."""
    publications = await lock_all(session, [listing_id])
    listing = await find_listing(session, listing_id)
    if listing.delete_asked_at is None:
        raise Conflict("It is not being deleted.", action="Load the listing again.")
    listing.delete_asked_at = None
    await session.flush()
    going, due = list[str](), list[UUID]()
    for row in publications:
        by_delete, row.end_by_delete = row.end_by_delete, False
        if by_delete and may_keep(row, listing):
            due += await keep(session, row)
        elif row.put == "live" or row.looking:
            going.append(MARKETPLACES[row.marketplace])
        elif by_delete and row.state == "cancelled" and await want_live(session, row):
            due.append(row.connection_id)
    await session.flush()
    shown = (await publications_of(session, [listing_id]))[listing_id]
    await engine.wake(session, due)
    places = listed(list(dict.fromkeys(going)))
    said = f" Taking it down on {places} goes on; post it again there once it is gone." if going else ""
    return KeptOut(all=not going, message=f"It is not deleted.{said}", publications=shown)


@router.post("/{listingId}/check")
async def check_listing(
    listing_id: ListingId, session: Transaction, body: CheckBody | None = None
) -> CheckOut:
    """What each marketplace still needs, by field, all at once; and what it would post."""
    body = body or CheckBody()
    listing = await find_listing(session, listing_id)
    marketplaces = body.marketplaces or ([] if body.connections else list(MARKETPLACES))
    meant = await jobs.accounts_meant(session, marketplaces, body.connections, every=True)
    rules = (await pricing.rules_of(session, [listing_id]))[listing_id]
    checked = jobs.check(await facts_of(session, listing), meant, rules)
    shown = [_checked(one) for one in checked]
    return CheckOut(
        listing_id=str(listing_id), ready=all(one.ready for one in shown), marketplaces=shown
    )  # fmt: skip


def _checked(one: jobs.Checked) -> CheckedOut:
    return CheckedOut(
        marketplace=one.marketplace,
        label=MARKETPLACES[one.marketplace],
        browser_profile_id=one.sign_in.connection.public_id if one.sign_in else None,
        ready=one.draft is not None and not one.problems,
        session=one.sign_in.status if one.sign_in else "missing",
        problems=[ProblemOut(**problem) for problem in jobs.problems_as_json([one])],
        notes=[NoteOut(field=jobs.in_json(note.field), message=note.message) for note in one.notes],
        price=PriceOut.of(one.price) if one.price else None,
        draft=camel(one.draft.model_dump(mode="json")) if one.draft else None,
    )


# ---- what several routes need ---------------------------------------------------------------------


async def photos_of(session: AsyncSession, listing_ids: Sequence[UUID]) -> list[ListingPhoto]:
    """In order."""
    rows = await session.scalars(
        select(ListingPhoto)
        .where(ListingPhoto.listing_id.in_(listing_ids))
        .order_by(ListingPhoto.position)
        .execution_options(populate_existing=True)
    )
    return list(rows)


async def _shown(session: AsyncSession, listings: Sequence[Listing]) -> list[ListingOut]:
    ids = [listing.id for listing in listings]
    photos: dict[UUID, list[PhotoOut]] = {id: [] for id in ids}
    for photo in await photos_of(session, ids):
        photos[photo.listing_id].append(PhotoOut.of(photo))
    publications = await publications_of(session, ids)
    prices = await _prices(session, listings)
    drops = await next_of(session, ids)
    return [
        _listing(row, photos[row.id], publications[row.id], prices[row.id], drops.get(row.id))
        for row in listings
    ]


async def _prices(
    session: AsyncSession, listings: Sequence[Listing]
) -> dict[UUID, list[MarketplacePriceOut]]:
    rules = await pricing.rules_of(session, [listing.id for listing in listings])
    accounts = {id for each in rules.values() for id in each.standing}
    rows = await session.execute(
        select(Connection.id, Connection.marketplace, Connection.public_id).where(Connection.id.in_(accounts))
    )
    known = {row.id: row for row in rows}
    found: dict[UUID, list[MarketplacePriceOut]] = {}
    for listing in listings:
        facts, own = facts_with(listing, ()), rules[listing.id]
        there = [(known[id], rule) for id, rule in own.standing.items() if id in known]
        shown = [_price_of(facts, marketplace, own.of(marketplace), there) for marketplace in MARKETPLACES]
        found[listing.id] = [one for one in shown if one is not None]
    return found


def _price_of(
    facts: ListingFacts, marketplace: str, rule: pricing.Stored, there: Sequence[tuple[Any, pricing.Stored]]
) -> MarketplacePriceOut | None:
    priced = pricing.price_at(marketplace, facts, rule)
    if priced is None:
        return None
    others = []
    for account, its_rule in there:
        stands = pricing.price_at(marketplace, facts, its_rule)
        if account.marketplace == marketplace and stands is not None and stands.price != priced.price:
            money = MoneyOut(amount=stands.price, currency=stands.currency)
            others.append(StandingOut(browser_profile_id=account.public_id, price=money))
    return MarketplacePriceOut(
        **PriceOut.of(priced).model_dump(by_alias=False),
        marketplace=marketplace,
        label=MARKETPLACES[marketplace],
        not_applied=others,
    )


def _listing(
    row: Listing,
    photos: list[PhotoOut],
    publications: list[PublicationOut],
    prices: list[MarketplacePriceOut],
    drop: Next | None,
) -> ListingOut:
    def money(cents: int | None) -> MoneyOut | None:
        return None if cents is None else MoneyOut(amount=cents, currency=row.currency)

    same = ("title", "description", "brand", "category", "size", "condition", "colors", "tags", "quantity",
            "quantity_sold", "sku", "ships_from_zip", "shipping_payer", "specifics", "revision",
            "delete_asked_at", "created_at", "updated_at", "location", "labels")  # fmt: skip
    return ListingOut(
        **{name: getattr(row, name) for name in same},
        listing_id=str(row.id),
        id=str(row.id),
        price=money(row.price_cents),
        prices=prices,
        next_drop=NextDropOut.of(drop, row.currency) if drop else None,
        original_price=money(row.original_price_cents),
        cost=money(row.cost_cents),
        package=PackageOut(**row.package),
        overrides={place: _own_shown(own) for place, own in row.overrides.items()},
        photos=photos,
        publications=publications,
    )


def _own_shown(own: dict[str, Any]) -> dict[str, Any]:
    shown = camel(own)
    if isinstance(shown.get("package"), dict):
        shown["package"] = camel(shown["package"])
    return shown
