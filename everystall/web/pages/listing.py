"""The listing editor: one form for all marketplaces, and beside it what each of them still needs and pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError
from pydantic.alias_generators import to_snake
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest, EverystallError, ListingLive, NotFound
from everystall.inventory import stock
from everystall.inventory.listings import copy_of, facts_of, find_listing
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import COLORS, CONDITIONS, MARKER_LENGTH, Menu
from everystall.marketplaces.taxonomy import CATEGORIES, SIZE_SCALES, find_category, find_size
from everystall.models import Connection, Publication
from everystall.web import listing_templates, listings, photos
from everystall.web.answers import complaint
from everystall.web.deps import AllParts, PageSeller, as_id
from everystall.web.listings import CheckedOut, ListingOut
from everystall.web.pages import listing_form
from everystall.web.pages.connections import web_address
from everystall.web.pages.listing_form import OWN, Sent
from everystall.web.pages.opened import Opened, OpenedPage, go, opened
from everystall.web.pages.states import word_of
from everystall.web.render import PART
from everystall.web.shapes import ProblemOut

router = APIRouter()

#: Colours that the form asks for at least, and at most.
COLOURS: Final = (3, 10)
#: What a seller goes through one by one.
DRAFTS: Final = stock.Sought(view="drafts")


@dataclass(frozen=True)
class Need:
    """One thing that is to be done before it can be posted there."""

    said: str
    href: str
    #: Name of the specific that is asked for.
    specific: str | None


@dataclass(frozen=True)
class Needs:
    """What one marketplace still needs, or one account of several there; and how the listing stands there."""

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


@dataclass(frozen=True)
class Own:
    """What may stand otherwise on one marketplace, and what it has there to choose from."""

    menu: Menu
    #: Its menu as far as we hold it, each from top to bottom.
    paths: Sequence[str]
    #: Name in the form → what a seller calls it, and what the accounts have as their forms last showed it.
    policies: Mapping[str, tuple[str, Sequence[str]]]
    #: How many do, and what of that only the API changes.
    number: int
    others: Sequence[str]


# ---- the page --------------------------------------------------------------------------------------


@router.post("/inventory/new")
async def begin(page: OpenedPage, template: Annotated[str, Form(max_length=60)] = "") -> Response:
    """A draft, empty or begun from a template, opened."""
    if template:
        made = await listing_templates.begin_from_template(as_id(template), page.session, page.who)
    else:
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
@router.get("/listings/{id}/templates")
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
    template: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """`sent`: a form of which not all could be saved. `where` the other form was refused, with `error`;
    `template`: what was typed of one."""
    listing = await listings.get_listing(as_id(id), page.session)
    unsaved = {**sent.wrong, **sent.met} if sent else {}
    texts, marks = listing_form.texts(listing), listing_form.marks(listing)
    if sent is not None:  # what was typed stays, and is looked at against what it was typed over
        for name in unsaved:
            texts |= {one: sent.texts[one] for one in listing_form.PARTS[name].show(listing)}
            marks[name] = sent.was[name]
    needs = await needs_of(page.session, listing)
    draft = not any(one.wanted == "live" or one.put != "nothing" for one in listing.publications)
    drafts = (
        await stock.beside(page.session, DRAFTS, listing.created_at, as_id(id)) if draft else (None, None)
    )
    status = error.status if error else 409 if sent and sent.met else 422 if unsaved else 200
    return page.show(
        "listing.html",
        status=status,
        home=f"/listings/{listing.id}" if error or unsaved else None,
        listing=listing,
        drafts=drafts,
        texts=texts,
        marks=marks,
        wrong=sent.wrong if sent else {},
        met=sent.met if sent else {},
        needs_of=needs,
        specifics=_specifics(texts, needs),
        colours=_colours(texts),
        sizes=_sizes(listing),
        limits=_limits(),
        # an emoji is two, as in the marketplaces' own scripts
        lengths={name: len(texts[name][0].encode("utf-16-le")) // 2 for name in ("title", "description")},
        categories=[" > ".join(one.label) for one in CATEGORIES.values()],
        conditions=CONDITIONS,
        known_colours=COLORS,
        places=MARKETPLACES,
        own=await _own(page.session, listing),
        most=photos.MOST,
        model_ready=page.parts.model.ready,
        locations=await stock.locations_in_use(page.session),
        standing=any(one.put == "live" for one in listing.publications) or isinstance(error, ListingLive),
        where=where,
        error=error,
        templates=(await listing_templates.list_templates(page.session)).templates,
        template=template or {},
    )


def _specifics(texts: Mapping[str, Sequence[str]], needs_of: Sequence[Needs]) -> list[tuple[str, str]]:
    """Those that are told, those that a marketplace asks for, and an empty line."""
    told = [pair for pair in zip(texts["specific_name"], texts["specific_value"], strict=False) if any(pair)]
    names = {name.casefold() for name, _ in told}
    asked = dict.fromkeys(need.specific for one in needs_of for need in one.needs if need.specific)
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


async def _own(session: AsyncSession, listing: ListingOut) -> dict[str, Own]:
    facts = await facts_of(session, await find_listing(session, as_id(listing.id)))
    rows = await session.execute(select(Connection.marketplace, Connection.policies))
    kept = [(row.marketplace, row.policies) for row in rows]
    found = {}
    for place in MARKETPLACES:
        form, told = get_form(place), listing.overrides.get(place, {})
        found[place] = Own(
            menu=form.menu_of(facts),
            paths=[" > ".join(path) for path in form.PATHS],
            policies={
                name: (called, list(dict.fromkeys(one for at, has in kept if at == place
                                                  for one in has.get(name, ()))))
                for name, called in form.POLICIES.items()
            },
            number=len(told),
            others=[f"{name}: {value}"[:200] for name, value in told.items()
                    if to_snake(name) not in OWN[place]],
        )  # fmt: skip
    return found


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
        needs_of=await needs_of(page.session, listing),
        sizes=_sizes(listing),
        texts=listing_form.texts(listing),
        conditions=CONDITIONS,
        places=MARKETPLACES,
        own=await _own(page.session, listing),
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


async def needs_of(session: AsyncSession, listing: ListingOut) -> list[Needs]:
    """By the check that posting goes by too; every account."""
    checked = (await listings.check_listing(as_id(listing.id), session)).marketplaces
    ids = [one.browser_profile_id for one in checked if one.browser_profile_id]
    rows = await session.execute(
        select(Connection.public_id, Connection.label, Connection.account_name).where(
            Connection.public_id.in_(ids)
        )
    )
    names = {row.public_id: row.label or row.account_name for row in rows}
    standing = await session.execute(
        select(Connection.public_id, Publication)
        .join(Publication, Publication.connection_id == Connection.id)
        .where(Publication.listing_id == as_id(listing.id))
    )
    there = {row.public_id: row.Publication for row in standing}
    several = {
        one.marketplace for one in checked if sum(two.marketplace == one.marketplace for two in checked) > 1
    }
    return [
        _needs(
            one,
            listing,
            names.get(one.browser_profile_id or "") if one.marketplace in several else None,
            there.get(one.browser_profile_id or ""),
        )
        for one in checked
    ]


def _needs(one: CheckedOut, listing: ListingOut, account: str | None, there: Publication | None) -> Needs:
    needs = [_need(problem, one, listing) for problem in one.problems]
    tone, word = ("warn", f"{len(needs)} to do") if needs else ("ok", "Ready")
    if there is not None and (there.needs_you is not None or there.state not in ("ended", "cancelled")):
        tone, word = word_of(there)
    return Needs(
        key=one.browser_profile_id or one.marketplace,
        label=one.label,
        account=account,
        tone=tone,
        word=word,
        url=web_address(there.url) if there is not None and there.put == "live" else None,
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
    elif own in OWN[one.marketplace] and (
        listing.overrides.get(one.marketplace, {}).get(name) is not None
        or (own in ("category", "condition") and problem.code == "not_accepted")
        or (own == "size" and _sized_there(problem, one, listing))
    ):  # what it has no word for is chosen in its own
        href = f"#{one.marketplace}-{own}"
    elif name == "overrides":
        href = f"#own-{one.marketplace}"
    else:
        href = "#" + {"package": "weight_lb", "colors": "colors-1", "photos": "photos-add"}.get(own, own)
    return Need(_plain(problem.message, one.label), href, specific)


def _sized_there(problem: ProblemOut, one: CheckedOut, listing: ListingOut) -> bool:
    """Its sizes are that marketplace's own: of a category that was chosen there, or it has none for one of
    ours that is right."""
    if listing.overrides.get(one.marketplace, {}).get("category") is not None:
        return True
    category = find_category(listing.category)
    scale = category.size_scale if category else None
    ours = scale is not None and find_size(scale, listing.size or "") is not None
    return problem.code == "not_accepted" and ours


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
    """`do`: left · right · first · turn · delete"""
    listing_id, photo_id, session = as_id(id), as_id(photo), page.session
    do = (await request.form()).get("do")
    rows = await listings.photos_of(session, [listing_id])
    order = [str(row.id) for row in rows]
    if str(photo_id) not in order:
        raise NotFound
    if do == "delete":
        await photos.delete_photo(listing_id, photo_id, session)
        return go(f"/listings/{id}", "photo-deleted", "photos")
    if do == "turn":
        turn = next(row.turn for row in rows if row.id == photo_id)
        body = photos.TurnBody.model_validate({"turn": (turn + 90) % 360})
        await photos.turn_photo(listing_id, photo_id, body, session)
        return go(f"/listings/{id}", "photo-turned", "photos")
    place = order.index(str(photo_id))
    order.insert(
        {"left": max(0, place - 1), "right": place + 1, "first": 0}.get(str(do), place), order.pop(place)
    )
    await photos.order_photos(listing_id, photos.OrderBody(photo_ids=order), session)
    return go(f"/listings/{id}", "photo-moved", "photos")


# ---- templates ----


@router.post("/listings/{id}/templates")
async def change_templates(id: str, request: Request, parts: AllParts, who: PageSeller) -> Response:
    """`do`: save · apply · delete"""
    form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    try:
        async with parts.database.as_user(who.user_id) as session:
            said = await _change_templates(session, as_id(id), form)
    except NotFound:
        raise
    except EverystallError as error:
        async with opened(request, parts, who) as page:
            return await _show(page, id, where="templates", error=error, template=form)
    return go(f"/listings/{id}", said, "templates")


async def _change_templates(session: AsyncSession, listing_id: UUID, form: Mapping[str, str]) -> str:
    do = form.get("do")
    if do in ("apply", "delete"):
        template_id = as_id(form.get("template", ""))
        if do == "delete":
            await listing_templates.delete_template(template_id, session)
            return "template-deleted"
        await listing_templates.apply_template(listing_id, template_id, session)
        return "template-applied"
    given = {"name": form.get("name", "").strip(), "footer": form.get("footer", "").replace("\r\n", "\n")}
    try:
        body = listing_templates.TemplateBody.model_validate(given)
    except ValidationError as error:
        found = error.errors()[0]
        what = "The name" if found["loc"][:1] == ("name",) else "The text"
        raise BadRequest(
            f"{what} {complaint(found)}.", action="Give it a name, such as Light parcel."
        ) from None
    await listing_templates.create_template(listing_id, body, session)
    return "template-saved"


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
        return go(f"/inventory?deleted={as_id(id)}")
    return go(f"/listings/{id}", "listing-ending")
