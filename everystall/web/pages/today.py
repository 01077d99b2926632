"""The start page: how the accounts stand, what sold, what to do next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import NotFound
from everystall.inventory.pricing import dollars
from everystall.inventory.sample import DEFAULTS, LISTING, PHOTOS
from everystall.inventory.takings import sums_of_days
from everystall.marketplaces import MARKETPLACES
from everystall.models import Connection, Listing, Publication
from everystall.web import listings, photos, sales
from everystall.web.account import find_tokens
from everystall.web.deps import AllParts, Deserted, PageSeller, as_id
from everystall.web.numbers import START_ONE, WITHOUT_WORKERS
from everystall.web.pages.connections import Stand, find_places
from everystall.web.pages.opened import Opened, OpenedPage, go
from everystall.web.pages.practising import find_turn
from everystall.web.pages.sales import sold_of
from everystall.web.render import on_practice

router = APIRouter()

#: Questions that the page lists.
SHOWN: Final = 5
#: Days that what sold is told of, in words; and the last of them.
DAYS: Final = {1: "In 24 hours", 7: "In 7 days", 30: "In 30 days"}
SOLD: Final = 4
_MOVING: Final = ("waiting", "composing", "filling", "armed", "reconciling", "revising", "ending")


@dataclass
class Step:
    title: str
    text: str
    href: str
    button: str
    done: bool
    #: Another way to the same, by its address and its name.
    also: tuple[str, str] | None = None
    #: A form that does it for who only practises: its address and its name.
    sample: tuple[str, str] | None = None
    #: The first that is not done.
    next: bool = False


@dataclass(frozen=True)
class Question:
    """A listing that waits for its seller on one marketplace."""

    title: str
    label: str
    said: str
    #: Where the seller answers it.
    href: str


@router.get("/")
async def show_today(deserted: Deserted, page: OpenedPage) -> HTMLResponse:
    session = page.session
    places = await find_places(session, page.parts.settings)
    stands = [stand for place in places for stand in place.stands]
    figures = await _figures(session)
    steps = [] if figures["live"] else await _steps(page, stands, figures)
    paused = page.user.paused_at is not None
    sums = await sums_of_days(session, datetime.now(UTC), tuple(DAYS))
    lately = (await sales.list_sales(session, limit=SOLD)).sales if sums[-1].number else []
    return page.show(
        "today.html",
        places=places,
        stands=stands,
        steps=steps,
        done=sum(step.done for step in steps),
        turn=await find_turn(page),
        paused=paused,
        delists_paused=page.user.pause_ends,
        restored_to=page.user.restored_to,
        asked=await _waiting(session),
        deserted=(WITHOUT_WORKERS, START_ONE) if deserted else None,
        sums=list(zip(DAYS.values(), sums, strict=True)),
        sold=await sold_of(session, lately),
        dollars=dollars,
        **figures,
    )


async def _steps(page: Opened, stands: Sequence[Stand], figures: Mapping[str, int]) -> list[Step]:
    """The way from nothing to the first listing that is live; the first that is not done is the next."""
    session = page.session
    paired = bool(await find_tokens(session, "extension"))
    written = await session.scalar(select(Listing.id).order_by(Listing.created_at.desc()).limit(1))
    practice = on_practice(page.parts.settings)
    steps = [
        Step(
            "Pair the browser that you sell with",
            "Its Everystall extension hands over your sign-ins, so that posting goes on when it is closed. "
            "From a phone, or without it, you sign in within Everystall's own browser.",
            "/extension", "Get the extension", paired or bool(stands),
            also=("/connections", "Sign in here instead"),
        ),
        Step(
            "Connect a marketplace",
            "Sign in there as always and press Connect in the extension. Nothing is sent before you agree.",
            "/connections", "See how", any(not stand.gone for stand in stands),
        ),
        Step(
            "Write your first listing",
            "Once, with its photos; beside the form stands what each marketplace still needs.",
            "/inventory", "Write a listing", written is not None,
            also=("/inventory/import", "Bring in what you have"),
            sample=("/today/sample", "Take a sample") if practice else None,
        ),
        Step(
            "Post it to all",
            "One button. You see each step as it happens, and may close the page meanwhile.",
            f"/listings/{written}/stalls" if written else "/inventory",
            "See where it stands" if figures["moving"] else "Post to all", False,
        ),
    ]  # fmt: skip
    next(step for step in steps if not step.done).next = True
    return steps


@router.post("/today/sample")
async def take_sample(request: Request, parts: AllParts, who: PageSeller) -> Response:
    """A listing to practise with. Where real marketplaces are there is none: it is nobody's to sell."""
    if not on_practice(parts.settings):
        raise NotFound
    body = listings.ListingBody.model_validate({**LISTING, "overrides": DEFAULTS})
    async with parts.database.as_user(who.user_id) as session:
        made = await listings.create_listing(body, session, who)
    await photos.keep_photos(parts, who, as_id(made.listing_id), _sample_photos())
    return go(f"/listings/{made.listing_id}/stalls")


async def _sample_photos() -> AsyncIterator[tuple[str, bytes]]:
    for path in PHOTOS:
        yield path.name, await asyncio.to_thread(path.read_bytes)


@router.get("/today/sample")
async def lead_back() -> Response:
    """The address of the form, opened by itself."""
    return go("/")


async def _waiting(session: AsyncSession) -> list[Question]:
    """What waits for the seller, the last asked first."""
    rows = await session.execute(
        select(
            Listing.id, Listing.title, Publication.marketplace, Publication.needs_you, Connection.public_id
        )
        .join(Listing, Listing.id == Publication.listing_id)
        .join(Connection, Connection.id == Publication.connection_id)
        .where(Publication.needs_you.is_not(None))
        .order_by(Publication.updated_at.desc(), Publication.id)
        .limit(SHOWN)
    )
    return [
        Question(row.title or "A listing without a title", MARKETPLACES[row.marketplace],
                 str(row.needs_you.get("message") or ""), f"/needs-you?at={row.id}-{row.public_id}")
        for row in rows
    ]  # fmt: skip


async def _figures(session: AsyncSession) -> dict[str, int]:
    row = (
        await session.execute(
            select(
                func.count().filter(Publication.put == "live"),
                func.count().filter(Publication.state.in_(_MOVING), Publication.needs_you.is_(None)),
            )
        )
    ).one()
    listings = await session.scalar(select(func.count()).select_from(Listing))
    return {"listings": listings or 0, "live": row[0], "moving": row[1]}
