"""The listing editor: one form for all marketplaces, and beside it what each of them still needs and pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from pydantic.alias_generators import to_snake
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest, EverystallError, ListingLive, NotFound
from everystall.inventory.listings import copy_of, find_listing
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import COLORS, CONDITIONS, MARKER_LENGTH
from everystall.marketplaces.taxonomy import CATEGORIES, SIZE_SCALES, find_category
from everystall.models import Connection
from everystall.web import listings, photos
from everystall.web.deps import AllParts, PageSeller, as_id
from everystall.web.listings import CheckedOut, ListingOut
from everystall.web.pages import listing_form
from everystall.web.pages.listing_form import OWN, Sent
from everystall.web.pages.opened import Opened, OpenedPage, go, opened
from everystall.web.render import PART
from everystall.web.shapes import ProblemOut, PublicationOut

router = APIRouter()

#: Colours that the form asks for at least, and at most.
COLOURS: Final = (3, 10)
_MOVING: Final = ("waiting", "composing", "filling", "armed", "reconciling", "revising", "ending")


@dataclass(frozen=True)
class Need:
    """One thing that is to be done before it can be posted there."""

    said: str
    href: str
    #: Name of the specific that is asked for.
    specific: str | None


@dataclass(frozen=True)
class Stall:
    """How the listing stands with one marketplace, or with one account of several there."""

    key: str
    label: str
    account: str | None
    tone: str
    word: str
    #: Live there, and where.
    url: str | None
    needs: Sequence[Need]
    notes: Sequence[str]
    price: listings.PriceOut | None
    #: connected · expired · missing
    session: str


# ---- the page --------------------------------------------------------------------------------------


@router.post("/inventory/new")
async def begin(page: OpenedPage) -> Response:
    """An empty draft, opened."""
    made = await listings.create_listing(listings.ListingBody(), page.session, page.who)
    return go(f"/listings/{made.id}")


@router.get("/inventory/new")
async def lead_to_inventory() -> Response:
    """The address of a form, opened by itself."""
    return go("/inventory")


@router.get("/listings/{id}")
async def show_listing(id: str, page: OpenedPage) -> HTMLResponse:
    return await _show(page, id)


@router.get("/listings/{id}/photos")
@router.get("/listings/{id}/photos/{photo}")
@router.get("/listings/{id}/duplicate")
@router.get("/listings/{id}/delete")
async def lead_back(id: str) -> Response:
    return go(f"/listings/{as_id(id)}")


async def _show(
    page: Opened,
    id: str,
    *,
    sent: Sent | None = None,
    where: str | None = None,
    error: EverystallError | None = None,
) -> HTMLResponse:
    """`sent`: a form of which not all could be saved. `where` the other form was refused, with `error`."""
    listing = await listings.get_listing(as_id(id), page.session)
    unsaved = {**sent.wrong, **sent.met} if sent else {}
    texts, marks = listing_form.texts(listing), listing_form.marks(listing)
    if sent is not None:  # what was typed stays, and is looked at against what it was typed over
        for name in unsaved:
            texts |= {one: sent.texts[one] for one in listing_form.PARTS[name].show(listing)}
            marks[name] = sent.was[name]
    stalls = await stalls_of(page.session, listing)
    status = error.status if error else 409 if sent and sent.met else 422 if unsaved else 200
    return page.show(
        "listing.html",
        status=status,
        home=f"/listings/{listing.id}" if error or unsaved else None,
        listing=listing,
        texts=texts,
        marks=marks,
        wrong=sent.wrong if sent else {},
        met=sent.met if sent else {},
        stalls=stalls,
        specifics=_specifics(texts, stalls),
        colours=_colours(texts),
        sizes=_sizes(listing),
        limits=_limits(),
        # an emoji is two, as in the marketplaces' own scripts
        lengths={name: len(texts[name][0].encode("utf-16-le")) // 2 for name in ("title", "description")},
        categories=[" > ".join(one.label) for one in CATEGORIES.values()],
        conditions=CONDITIONS,
        known_colours=COLORS,
        places=MARKETPLACES,
        others=_others(listing),
        most=photos.MOST,
        standing=any(one.put == "live" for one in listing.publications) or isinstance(error, ListingLive),
        where=where,
        error=error,
    )


def _specifics(texts: Mapping[str, Sequence[str]], stalls: Sequence[Stall]) -> list[tuple[str, str]]:
    """Those that are told, those that a marketplace asks for, and an empty line."""
    told = [pair for pair in zip(texts["specific_name"], texts["specific_value"], strict=False) if any(pair)]
    names = {name.casefold() for name, _ in told}
    asked = dict.fromkeys(need.specific for stall in stalls for need in stall.needs if need.specific)
    return [*told, *((name, "") for name in asked if name.casefold() not in names), ("", "")]


def _colours(texts: Mapping[str, Sequence[str]]) -> list[str]:
    told = [one for one in texts["colors"] if one]
    return [*told, *[""] * (max(COLOURS[0] - len(told), 1) if len(told) < COLOURS[1] else 0)]


def _sizes(listing: ListingOut) -> Sequence[str]:
    category = find_category(listing.category)
    return SIZE_SCALES[category.size_scale] if category and category.size_scale else ()


def _limits() -> dict[str, list[tuple[str, int]]]:
    """Input → who takes how many characters of it (of tags and photos: how many), fewest first."""
    found: dict[str, list[tuple[str, int]]] = {
        name: [] for name in ("title", "description", "sku", "tags", "photos")
    }
    for place, label in MARKETPLACES.items():
        limits = get_form(place).LIMITS
        found["title"].append((label, limits.title))
        found["description"].append((label, limits.description))
        found["photos"].append((label, limits.photos.max_count))
        if limits.sku:
            found["sku"].append((label, limits.sku - MARKER_LENGTH))
        if limits.tags:
            found["tags"].append((label, limits.tags))
    return {name: sorted(each, key=lambda one: one[1]) for name, each in found.items()}


def _others(listing: ListingOut) -> dict[str, list[str]]:
    """Marketplace → what else stands otherwise there, and is changed through the API."""
    return {
        place: [f"{name}: {value}"[:200] for name, value in own.items() if name not in OWN]
        for place, own in listing.overrides.items()
    }


# ---- saving ----------------------------------------------------------------------------------------


@router.post("/listings/{id}")
async def save(id: str, page: OpenedPage, request: Request) -> Response:
    """All that is right is saved; the rest stays as it was typed, with what is wrong with it. A page that
    saves by itself asks for the part `saved`."""
    sent, listing = await _save(page.session, id, listing_form.texts_of(await request.form()))
    unsaved = {**sent.wrong, **sent.met}
    if request.headers.get(PART) != "saved":
        if unsaved:
            return await _show(page, id, sent=sent)
        return go(f"/listings/{listing.id}", "listing-saved")
    now = listing_form.marks(listing)
    return page.show(
        "listing_saved.html",
        status=409 if sent.met else 422 if unsaved else 200,
        listing=listing,
        # what others changed stays unseen in an open page, and so its mark stays
        marks={name: now[name] if name in sent.same else was for name, was in sent.was.items()},
        wrong=sent.wrong,
        met=sent.met,
        stalls=await stalls_of(page.session, listing),
        sizes=_sizes(listing),
    )


async def _save(session: AsyncSession, id: str, texts: dict[str, list[str]]) -> tuple[Sent, ListingOut]:
    await find_listing(session, as_id(id), lock=True)
    listing = await listings.get_listing(as_id(id), session)
    sent = listing_form.read(texts, listing)
    while (body := listing_form.body_of(sent, listing)) is not None:
        try:
            listing = await listings.patch_listing(as_id(id), body, session)
        except BadRequest as error:
            before = len(sent.values)
            for one in error.details.get("fields", ()):
                name = to_snake(one["field"])
                if name in sent.values:
                    listing_form.refuse(sent, name, f"It {one['message']}.")
            if len(sent.values) == before:
                raise
            continue
        sent.same |= sent.values.keys()
        break
    return sent, listing


# ---- what each marketplace needs -------------------------------------------------------------------


async def stalls_of(session: AsyncSession, listing: ListingOut) -> list[Stall]:
    """By the check that posting goes by too; every account."""
    checked = (await listings.check_listing(as_id(listing.id), session)).marketplaces
    ids = [one.browser_profile_id for one in checked if one.browser_profile_id]
    rows = await session.execute(
        select(Connection.public_id, Connection.label, Connection.account_name).where(
            Connection.public_id.in_(ids)
        )
    )
    names = {row.public_id: row.label or row.account_name for row in rows}
    there = {one.browser_profile_id: one for one in listing.publications}
    several = {
        one.marketplace for one in checked if sum(two.marketplace == one.marketplace for two in checked) > 1
    }
    return [
        _stall(
            one,
            listing,
            names.get(one.browser_profile_id or "") if one.marketplace in several else None,
            there.get(one.browser_profile_id or ""),
        )
        for one in checked
    ]


def _stall(one: CheckedOut, listing: ListingOut, account: str | None, there: PublicationOut | None) -> Stall:
    needs = [_need(problem, one, listing) for problem in one.problems]
    if there is not None and there.needs_you is not None:
        tone, word = "bad", "Needs you"
    elif there is not None and there.state == "sold":
        tone, word = "sold", "Sold"
    elif there is not None and there.put == "live":
        tone, word = "ok", "Live"
    elif there is not None and there.state in _MOVING:
        tone, word = "run", "Being posted"
    elif needs:
        tone, word = "warn", f"{len(needs)} to do"
    else:
        tone, word = "ok", "Ready"
    return Stall(
        key=one.browser_profile_id or one.marketplace,
        label=one.label,
        account=account,
        tone=tone,
        word=word,
        url=there.url if there is not None and there.put == "live" else None,
        needs=needs,
        notes=[_plain(note.message, one.label) for note in one.notes],
        price=one.price,
        session=one.session,
    )


def _need(problem: ProblemOut, one: CheckedOut, listing: ListingOut) -> Need:
    name, _, inner = problem.field.partition(".")
    own = to_snake(name)
    specific = inner if name == "specifics" else None
    if name == "defaults":
        href = f"/connections#{one.browser_profile_id or one.marketplace}"
    elif own in OWN and listing.overrides.get(one.marketplace, {}).get(name) is not None:
        href = f"#{one.marketplace}-{own}"
    elif name == "overrides":
        href = f"#own-{one.marketplace}"
    else:
        href = "#" + {"package": "weight_lb", "colors": "colors-1", "photos": "photos-add"}.get(own, own)
    return Need(_plain(problem.message, one.label), href, specific)


def _plain(message: str, label: str) -> str:
    """Under its name, a marketplace need not be named again."""
    said = message.removeprefix(f"{label}: ")
    return said[:1].upper() + said[1:]


# ---- photos, without a script ----------------------------------------------------------------------


@router.post("/listings/{id}/photos")
async def add_photos(id: str, request: Request, parts: AllParts, who: PageSeller) -> Response:
    """No transaction is open while photos are decoded."""
    try:
        await photos.add_photos(as_id(id), request, parts, who)
    except NotFound:
        raise
    except EverystallError as error:
        async with opened(request, parts, who) as page:
            return await _show(page, id, where="photos", error=error)
    finally:
        await request.close()  # files that nobody came to read
    return go(f"/listings/{id}", "photos-added", "photos")


@router.post("/listings/{id}/photos/{photo}")
async def change_photo(id: str, photo: str, page: OpenedPage, request: Request) -> Response:
    """`do`: left · right · first · delete"""
    listing_id, photo_id, session = as_id(id), as_id(photo), page.session
    do = (await request.form()).get("do")
    order = [str(row.id) for row in await listings.photos_of(session, [listing_id])]
    if str(photo_id) not in order:
        raise NotFound
    if do == "delete":
        await photos.delete_photo(listing_id, photo_id, session)
        return go(f"/listings/{id}", "photo-deleted", "photos")
    place = order.index(str(photo_id))
    order.insert(
        {"left": max(0, place - 1), "right": place + 1, "first": 0}.get(str(do), place), order.pop(place)
    )
    await photos.order_photos(listing_id, photos.OrderBody(photo_ids=order), session)
    return go(f"/listings/{id}", "photo-moved", "photos")


# ---- duplicate and delete --------------------------------------------------------------------------


@router.post("/listings/{id}/duplicate")
async def duplicate(id: str, page: OpenedPage) -> Response:
    made = await copy_of(page.session, await find_listing(page.session, as_id(id)))
    return go(f"/listings/{made.id}", "duplicated")


@router.post("/listings/{id}/delete")
async def delete(id: str, page: OpenedPage, request: Request) -> Response:
    end = (await request.form()).get("end") == "yes"
    try:
        done = await listings.delete_listing(as_id(id), page.session, Response(), end=end)
    except ListingLive as error:
        return await _show(page, id, where="delete", error=error)
    if done.deleted:
        return go("/inventory", "listing-deleted")
    return go(f"/listings/{id}", "listing-ending")
