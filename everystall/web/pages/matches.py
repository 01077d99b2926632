"""Listings of several marketplaces that may be one thing: side by side, with the two answers and an undo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import EverystallError, NotFound
from everystall.inventory.pricing import dollars
from everystall.marketplaces import MARKETPLACES
from everystall.marketplaces.base import CONDITIONS
from everystall.marketplaces.taxonomy import find_category
from everystall.models import Listing, Match
from everystall.web import matches
from everystall.web.deps import as_id
from everystall.web.matches import MatchOut, SideOut, State
from everystall.web.pages.opened import Opened, OpenedPage, go

router = APIRouter()

#: Pairs of one page, and photos of one side.
SHOWN: Final = 20
PHOTOS: Final = 4
STATES: Final = {"proposed": "To answer", "linked": "Linked", "apart": "Not the same"}


@dataclass(frozen=True)
class Fact:
    """One line of the comparison."""

    name: str
    said: Sequence[str]

    @property
    def differs(self) -> bool:
        told = {one.casefold() for one in self.said if one}
        return len(told) > 1


@dataclass(frozen=True)
class Pair:
    match: MatchOut
    facts: Sequence[Fact]
    photos: Sequence[Sequence[str]]


@router.get("/inventory/matches")
async def show_matches(page: OpenedPage) -> HTMLResponse:
    return await _show(page)


async def _show(page: Opened, error: EverystallError | None = None) -> HTMLResponse:
    params = page.request.query_params
    asked, after = params.get("state", "proposed"), params.get("after") or None
    state: State = next((one for one in get_args(State) if one == asked), "proposed")
    told = await matches.list_matches(page.session, page.who, state, after)
    shown = told.matches[:SHOWN]
    more = len(told.matches) > SHOWN
    return page.show(
        "matches.html",
        status=error.status if error else 200,
        home="/inventory/matches" if error else None,
        error=error,
        state=state,
        states=STATES,
        counts=await _counts(page.session),
        pairs=[_pair(one) for one in shown],
        more=shown[-1].match_id if more else None,
        begun=after is not None,
        told=told,
        undo=await _undo(page, params.get("answered", "")),
        labels=MARKETPLACES,
    )


async def _counts(session: AsyncSession) -> dict[str, int]:
    here = select(Listing.id)
    both = Match.one_id.in_(here) & Match.other_id.in_(here)  # of a proposed one either may be deleted since
    rows = await session.execute(
        select(Match.state, func.count()).where((Match.state != "proposed") | both).group_by(Match.state)
    )
    return {row[0]: row[1] for row in rows}


async def _undo(page: Opened, id: str) -> str | None:
    """The match that was answered last, if it can be taken back."""
    try:
        found = await page.session.scalar(
            select(Match.id).where(Match.id == as_id(id), Match.state != "proposed")
        )
    except NotFound:
        return None
    return str(found) if found else None


def _pair(one: MatchOut) -> Pair:
    facts = [Fact(name, [how(side) for side in one.sides]) for name, how in _FACTS.items()]
    photos = [
        [f"/api/listings/{side.listing_id}/photos/{id}?size=thumbnail" for id in side.photo_ids[:PHOTOS]]
        for side in one.sides
    ]
    return Pair(one, [fact for fact in facts if any(fact.said)], photos)


def _category(side: SideOut) -> str:
    found = find_category(side.category)
    return " > ".join(found.label) if found else side.category or ""


_FACTS: Final[Mapping[str, Callable[[SideOut], str]]] = {
    "Brand": lambda side: side.brand or "",
    "Size": lambda side: side.size or "",
    "Price": lambda side: dollars(side.price.amount) if side.price else "",
    "Condition": lambda side: CONDITIONS.get(side.condition or "", side.condition or ""),
    "Colours": lambda side: ", ".join(side.colors).capitalize(),
    "Category": _category,
    "SKU": lambda side: side.sku or "",
    "Pieces": lambda side: str(side.quantity) if side.quantity > 1 else "",
}


@router.post("/inventory/matches/compare")
async def compare(page: OpenedPage) -> Response:
    await matches.compare(page.session, page.who)
    return go("/inventory/matches", "comparing")


@router.post("/inventory/matches/{id}")
async def answer(id: str, page: OpenedPage, request: Request) -> Response:
    """*Same thing*, *Not the same*, or the undo of either."""
    if await page.session.scalar(select(Match.id).where(Match.id == as_id(id))) is None:
        raise NotFound
    said = (await request.form()).get("say")
    does = {"same": matches.link, "apart": matches.apart, "undo": matches.propose}
    if not isinstance(said, str) or said not in does:
        return go("/inventory/matches")
    try:
        await does[said](as_id(id), page.session)
    except EverystallError as error:
        if error.status == 404:
            raise
        return await _show(page, error)
    if said == "undo":
        return go("/inventory/matches", "asked-again")
    word = "linked" if said == "same" else "apart"
    return go(f"/inventory/matches?answered={id}&said={word}")


@router.get("/inventory/matches/{rest:path}")
async def lead_back(rest: str) -> Response:
    """The address of a form, opened by itself."""
    return go("/inventory/matches")
