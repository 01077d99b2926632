"""What its seller sold elsewhere, a listing's own form for it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import date, datetime
from functools import partial
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from everystall.errors import BadRequest, Refused
from everystall.inventory import bulk, sold_elsewhere
from everystall.inventory.listings import find_listing
from everystall.inventory.sellers_day import now_of_seller
from everystall.inventory.sold_elsewhere import Told, latest_day
from everystall.models import Listing
from everystall.web.deps import AllParts, PageSeller, as_id
from everystall.web.pages.amounts import Typed, dollars_of, whole_of
from everystall.web.pages.opened import Opened, OpenedPage, go, opened

router = APIRouter()

#: Letters of where it was sold.
LONGEST_PLACE = 100


@router.get("/listings/{id}/sold")
async def show_sold(id: str, page: OpenedPage) -> HTMLResponse:
    return await _show(page, as_id(id))


async def _show(
    page: Opened, listing_id: UUID, typed: Typed | None = None, error: Refused | None = None
) -> HTMLResponse:
    listing, now = await find_listing(page.session, listing_id), await now_of_seller(page.session)
    (line,) = await bulk.look_at_ending(page.session, [listing])
    wrong = typed.wrong if typed else {}
    texts = {
        "price": f"{listing.price_cents / 100:.2f}" if listing.price_cents is not None else "",
        "sold_on": f"{now:%Y-%m-%d}", "quantity": "1", "place": "", "fees": "",
        "key": secrets.token_hex(8), **(typed.texts if typed else {}),
    }  # fmt: skip
    return page.show(
        "sold.html", status=error.status if error else 422 if wrong else 200,
        home=f"/listings/{listing_id}/sold" if error or wrong else None, listing=listing,
        left=left_of(listing), there=[label for label, _ in line.places], texts=texts, wrong=wrong,
        error=error, longest=LONGEST_PLACE, latest=latest_day(now),
    )  # fmt: skip


def left_of(listing: Listing) -> int:
    return max(0, listing.quantity - listing.quantity_sold)


def day_of(text: str, now: datetime) -> date:
    """`now`: where the seller is. Raises ValueError in words."""
    try:
        return sold_elsewhere.check_day(date.fromisoformat(text), now)
    except ValueError:
        raise ValueError("Write a day such as 2026-11-28.") from None
    except BadRequest as refused:
        raise ValueError(f"{refused.message} {refused.action}") from None


def place_of(text: str) -> str | None:
    if not text.isprintable() or len(text) > LONGEST_PLACE:
        raise ValueError(f"Write one line, {LONGEST_PLACE} letters at most.")
    return text or None


def told_of(typed: Typed, now: datetime, left: int = 1) -> Told:
    """What is wrong is in `typed.wrong`."""
    return Told(
        sold_on=typed.needed("sold_on", partial(day_of, now=now), now.date()),
        price=typed.read("price", dollars_of, None),
        fee=typed.read("fees", dollars_of, None),
        place=typed.read("place", place_of, None),
        quantity=typed.read("quantity", partial(whole_of, least=1, most=max(left, 1)), 1),
    )


@router.post("/listings/{id}/sold")
async def mark_sold(id: str, request: Request, parts: AllParts, who: PageSeller) -> Response:
    listing_id, form = as_id(id), await request.form()
    texts: Mapping[str, str] = {name: value for name, value in form.items() if isinstance(value, str)}
    typed = Typed({name: value for name, value in texts.items() if name != "csrf"})
    error = None
    async with parts.database.as_user(who.user_id) as session:
        left, now = left_of(await find_listing(session, listing_id)), await now_of_seller(session)
    told = told_of(typed, now, left)
    if not typed.wrong:
        try:
            async with parts.database.as_user(who.user_id) as session:
                await sold_elsewhere.mark(session, listing_id, told, typed["key"])
        except Refused as refused:
            error = refused
        else:
            said = "marked-sold" if told.quantity >= left else "marked-some"
            return go(f"/listings/{listing_id}/stalls", said)
    async with opened(request, parts, who) as page:
        return await _show(page, listing_id, typed, error)
