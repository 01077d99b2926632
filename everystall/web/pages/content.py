"""A model's help with one listing: fill it in from its photos, rewrite its text for a marketplace. What
comes of it is looked at before it is used; without a model there is the rule, and the words that say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from everystall.content import asking
from everystall.content import copy as copies
from everystall.content.asking import dollars
from everystall.content.copy import Copy
from everystall.content.facts import Text
from everystall.content.read import Proposed
from everystall.errors import BudgetSpent, EverystallError, NotFound
from everystall.inventory.listings import facts_of, find_listing
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import CONDITIONS, ListingFacts, photo_name
from everystall.web import content, listings
from everystall.web.content import ContentBody, CopyBody
from everystall.web.deps import AllParts, PageSeller, as_id
from everystall.web.listings import ListingBody, ListingOut
from everystall.web.pages.listing_form import category_name
from everystall.web.pages.listing_form import dollars as price
from everystall.web.pages.opened import Opened, OpenedPage, go, opened

router = APIRouter()

_LABELS = {"title": "Title", "description": "Description", "category": "Category", "brand": "Brand",
           "size": "Size", "condition": "Condition", "colors": "Colours", "price": "Price"}  # fmt: skip
#: What is rewritten.
_TEXTS = ("title", "description")


@dataclass(frozen=True)
class Found:
    """A field that may be filled in, in words."""

    name: str
    label: str
    now: str
    found: str
    one: Proposed

    @property
    def ticked(self) -> bool:
        """What is sure and takes nothing's place."""
        return self.one.sure and not self.now


@router.get("/listings/{id}/content")
async def show_content(id: str, page: OpenedPage) -> HTMLResponse:
    return await _show(page, as_id(id))


@router.post("/listings/{id}/content")
async def change(id: str, page: OpenedPage, at_once: Annotated[str, Form()] = "") -> Response:
    body = ContentBody(copy_at_once=at_once == "yes")
    await content.change_content(body, page.parts, page.session, page.who)
    return go(f"/listings/{as_id(id)}/content", "copy-saved")


async def _show(
    page: Opened, id: UUID, *, error: EverystallError | None = None, notes: str = ""
) -> HTMLResponse:
    listing = await find_listing(page.session, id)
    facts, model = await facts_of(page.session, listing), page.parts.model
    costs: dict[str, int] = {}
    if model.ready:
        costs["reading"] = await asking.estimate(
            model, await content.reading_question(page.parts, facts, notes, with_photos=False)
        )
        for place in MARKETPLACES:
            costs[place] = await asking.estimate(model, content.copy_question(facts, place))
    now = await content.spent(page.parts, page.session)
    return page.show(
        "content.html",
        status=error.status if error else 200,
        home=f"/listings/{id}/content" if error else None,
        listing=listing,
        photos=len(facts.photos),
        places=MARKETPLACES,
        ready=model.ready,
        costs=costs,
        spent=now,
        used_up=isinstance(error, BudgetSpent) or (model.ready and now.left < min(costs.values())),
        next_month=(datetime.now(UTC).replace(day=1) + timedelta(days=32)).replace(day=1).strftime("%B 1"),
        dollars=dollars,
        user_at_once=page.user.copy_at_once,
        error=error,
        notes=notes,
    )


# ---- from the photos ------------------------------------------------------------------------------


@router.post("/listings/{id}/reading")
async def read_photos(
    id: str,
    parts: AllParts,
    who: PageSeller,
    request: Request,
    notes: Annotated[str, Form(max_length=4000)] = "",
) -> Response:
    try:
        answer = await content.ask_reading(parts, who, as_id(id), notes)
    except NotFound:
        raise
    except EverystallError as error:
        async with opened(request, parts, who) as page:
            return await _show(page, as_id(id), error=error, notes=notes)
    return go(f"/listings/{as_id(id)}/reading/{answer}")


@router.get("/listings/{id}/reading")
async def lead_to_content(id: str) -> Response:
    return go(f"/listings/{as_id(id)}/content")


@router.get("/listings/{id}/reading/{answer}")
async def show_reading(id: str, answer: str, page: OpenedPage) -> HTMLResponse:
    listing = await listings.get_listing(as_id(id), page.session)
    told = await content.get_reading(page.session, as_id(answer))
    found = [_found(one, listing) for one in told.found]
    sure = {one.name for one in found if one.one.sure}
    photos = {photo_name(one.sha256, one.turn): one for one in listing.photos}
    return page.show(
        "reading.html",
        listing=listing,
        answer=as_id(answer),
        found=[one for one in found if one.found != one.now],
        same=[one.label for one in found if one.found == one.now],
        left=[label for name, label in _LABELS.items() if name not in sure and not getattr(listing, name)],
        unsure=told.unsure,
        photos=[(number, photos[name]) for number, name in enumerate(told.photos, 1) if name in photos],
        cost=dollars(told.cost),
        spent=await content.spent(page.parts, page.session),
        dollars=dollars,
    )  # fmt: skip


@router.post("/listings/{id}/reading/{answer}")
async def take_reading(id: str, answer: str, page: OpenedPage, request: Request) -> Response:
    """Fills in what is ticked."""
    take = (await request.form()).getlist("take")
    told = await content.get_reading(page.session, as_id(answer))
    values: dict[str, Any] = {one.field: one.value for one in told.found if one.field in take}
    if "price" in values:
        values["price"] = {"amount": values["price"], "currency": "USD"}
    if values:
        await listings.patch_listing(as_id(id), ListingBody.model_validate(values), page.session)
    return go(f"/listings/{as_id(id)}", "filled-in" if values else None)


def _found(one: Proposed, listing: ListingOut) -> Found:
    return Found(
        one.field,
        _LABELS[one.field],
        _said(one.field, getattr(listing, one.field)),
        _said(one.field, one.value),
        one,
    )


def _said(field: str, value: Any) -> str:
    if not value:
        return ""
    if field == "price":
        return f"${price(value if isinstance(value, int) else value.amount)}"
    if field == "category":
        return category_name(value)
    if field == "condition":
        return CONDITIONS.get(str(value), str(value))
    return ", ".join(value) if isinstance(value, list | tuple) else str(value)


# ---- copy for a marketplace -----------------------------------------------------------------------


@router.post("/listings/{id}/copy/{place}")
async def write_copy(
    id: str,
    place: str,
    parts: AllParts,
    who: PageSeller,
    request: Request,
    again: Annotated[str, Form(max_length=60)] = "",
) -> Response:
    if place not in MARKETPLACES:
        raise NotFound
    try:
        made = await content.write_copy(as_id(id), place, parts, who, CopyBody(again=again or None))
    except NotFound:
        raise
    except EverystallError as error:
        async with opened(request, parts, who) as page:
            return await _show(page, as_id(id), error=error)
    if made.used:
        return go(f"/listings/{as_id(id)}", "copy-used", f"own-{place}")
    return go(f"/listings/{as_id(id)}/copy/{place}" + (f"/{made.answer_id}" if made.answer_id else ""))


@router.get("/listings/{id}/copy/{place}")
async def show_rule(id: str, place: str, page: OpenedPage) -> HTMLResponse:
    return await _show_copy(page, as_id(id), place, None)


@router.get("/listings/{id}/copy/{place}/{answer}")
async def show_copy(id: str, place: str, answer: str, page: OpenedPage) -> HTMLResponse:
    return await _show_copy(page, as_id(id), place, as_id(answer))


async def _show_copy(page: Opened, id: UUID, place: str, answer: UUID | None) -> HTMLResponse:
    if place not in MARKETPLACES:
        raise NotFound
    copy, cost = await content.get_copy(page.session, id, place, answer)
    listing, model = await find_listing(page.session, id), page.parts.model
    facts = await facts_of(page.session, listing)
    more = None
    if model.ready and copy.refused:
        again = content.copy_question(facts, place, copy.refused)
        # a model that was told just this, and gave this answer, gives no other
        if (kept := await asking.find_answer(page.session, model, again)) != answer:
            more = dollars(0 if kept else await asking.estimate(model, again))
    parts = _parts(facts, place, copy)
    return page.show(
        "copy.html",
        listing=listing,
        answer=answer,
        place=place,
        label=MARKETPLACES[place],
        copy=copy,
        parts=parts,
        new=any(kind != "same" for one in parts for kind, _ in one.pieces),
        own=bool({*_TEXTS} & facts.overrides.get(place, {}).keys()),
        cost=dollars(cost),
        more=more,
    )


@dataclass(frozen=True)
class Part:
    """Title or description: how what is proposed differs from what stands there now."""

    label: str
    pieces: Sequence[tuple[str, str]]
    length: int
    most: int


def _parts(facts: ListingFacts, place: str, copy: Copy) -> list[Part]:
    """Spaces and line ends apart, which the forms write as we do."""
    shown, limits = facts.overrides.get(place, {}), get_form(place).LIMITS
    now = copies.tidy(Text(*(str(shown.get(name) or getattr(facts, name) or "") for name in _TEXTS)))
    return [
        Part(
            _LABELS[name],
            copies.difference(getattr(now, name), getattr(copy.text, name)),
            copies.count(getattr(copy.text, name)),
            getattr(limits, name),
        )
        for name in _TEXTS
    ]


@router.post("/listings/{id}/copy/{place}/use")
async def use_copy(
    id: str, place: str, page: OpenedPage, answer: Annotated[str, Form(max_length=60)] = ""
) -> Response:
    if place not in MARKETPLACES:
        raise NotFound
    copy, _ = await content.get_copy(page.session, as_id(id), place, as_id(answer) if answer else None)
    await content.use_copy(page.session, as_id(id), place, copy)
    return go(f"/listings/{as_id(id)}", "copy-used", f"own-{place}")
