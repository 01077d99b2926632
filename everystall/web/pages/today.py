"""The start page: how the accounts stand, what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.marketplaces import MARKETPLACES
from everystall.models import Connection, Listing, Publication
from everystall.web.account import find_tokens
from everystall.web.pages.connections import find_places
from everystall.web.pages.opened import OpenedPage

router = APIRouter()

#: Questions that the page lists.
SHOWN: Final = 5
_MOVING: Final = ("waiting", "composing", "filling", "armed", "reconciling", "revising", "ending")


@dataclass
class Step:
    title: str
    text: str
    href: str
    button: str
    done: bool
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
async def show_today(page: OpenedPage) -> HTMLResponse:
    session = page.session
    places = await find_places(session, page.parts.settings)
    stands = [stand for place in places for stand in place.stands]
    figures = await _figures(session)
    paired = bool(await find_tokens(session, "extension"))
    steps = [
        Step(
            "Pair the browser that you sell with",
            "Its Everystall extension hands over your sign-ins, so that posting goes on when it is closed.",
            "/extension", "Get the extension", paired or bool(stands),
        ),
        Step(
            "Connect a marketplace",
            "Sign in there as always and press Connect in the extension. Nothing is sent before you agree.",
            "/connections", "See how", any(not stand.gone for stand in stands),
        ),
        Step(
            "Post your first listing",
            "Write it once, with photos, check it against each marketplace, and post it to all.",
            "/inventory", "Write a listing", figures["live"] > 0,
        ),
    ]  # fmt: skip
    first = next((step for step in steps if not step.done), None)
    if first is not None:
        first.next = True
    paused = page.user.paused_at is not None
    return page.show(
        "today.html",
        places=places,
        stands=stands,
        steps=steps,
        paused=paused,
        delists_paused=page.user.pause_ends,
        restored_to=page.user.restored_to,
        asked=await _waiting(session),
        **figures,
    )


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
