"""A language model's help with a listing: what it read from photos and notes, and copy for a marketplace.

It is asked within the request, which takes seconds, and no transaction is open meanwhile. The answer is
kept, so that a page that was closed meanwhile, or a second press, costs nothing. Nothing here changes a
listing but `use_copy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.content import asking, read
from everystall.content import copy as copies
from everystall.content.asking import Question, Spent
from everystall.content.copy import Copy, Rewritten
from everystall.content.read import Proposed, Reading
from everystall.errors import BadRequest
from everystall.inventory.listings import facts_of, find_listing
from everystall.marketplaces.base import ListingFacts
from everystall.models import User
from everystall.web import listings
from everystall.web.account import get_user
from everystall.web.deps import AllParts, ListingId, Parts, Seller, SignedIn, Transaction, as_id
from everystall.web.listings import ListingBody
from everystall.web.shapes import Body, Marketplace, Shape

router = APIRouter(prefix="/api", tags=["content"])


class ContentOut(Shape):
    #: A model is set up. Without it copy is made by rule, and photos are not read.
    ready: bool
    #: As OpenRouter calls it.
    model: str | None
    #: Millionths of a dollar: this month (UTC), and what of it you may spend.
    spent: int
    budget: int
    #: A model's copy is used without a look, where it says the same.
    copy_at_once: bool


class ContentBody(Body):
    copy_at_once: bool


class NotesBody(Body):
    """What you know of it, in any words."""

    notes: Annotated[str, Field(max_length=read.MOST_NOTES)] = ""


class FoundOut(Shape):
    #: As in a listing's JSON.
    field: str
    value: Any
    #: 0 to 1.
    confidence: float
    #: False: it is yours to say whether it is right.
    sure: bool
    #: "photo 2", "notes"
    sources: list[str]
    #: The words as they stand there.
    quote: str
    #: Of a price.
    reason: str

    @classmethod
    def of(cls, one: Proposed) -> FoundOut:
        value: Any = {"amount": one.value, "currency": "USD"} if one.field == "price" else one.value
        return cls(
            field=one.field, value=value, confidence=one.confidence, sure=one.sure,
            sources=list(one.sources), quote=one.quote, reason=one.reason,
        )  # fmt: skip


class ReadingOut(Shape):
    answer_id: str
    #: Millionths of a dollar.
    cost: int
    found: list[FoundOut]
    #: Flaws, measurements and details that are too unsure for the description, each with where it was seen.
    unsure: list[str]


class CopyBody(Body):
    #: An answer before whose text was refused: the model is asked again, and told why.
    again: Annotated[str | None, Field(max_length=60)] = None


class CopyOut(Shape):
    #: Null: by rule.
    answer_id: str | None
    title: str
    description: str
    by: Literal["model", "rule"]
    #: Why the model's text is not used.
    refused: list[str]
    #: What of the listing's facts had no room.
    lost: list[str]
    cost: int
    #: It stands in the listing's own values for that marketplace now.
    used: bool

    @classmethod
    def of(cls, copy: Copy, answer_id: UUID | None, cost: int, used: bool) -> CopyOut:
        return cls(
            answer_id=str(answer_id) if answer_id else None, title=copy.text.title,
            description=copy.text.description, by=copy.by, refused=list(copy.refused), lost=list(copy.lost),
            cost=cost, used=used,
        )  # fmt: skip


# ---- the routes -----------------------------------------------------------------------------------


@router.get("/content")
async def show_content(parts: AllParts, session: Transaction, who: Seller) -> ContentOut:
    """Whether a model is set up, what yours cost this month, and what they may."""
    now, user = await spent(parts, session), await get_user(session, who)
    return ContentOut(
        ready=parts.model.ready, model=parts.model.name if parts.model.ready else None, spent=now.spent,
        budget=now.budget, copy_at_once=user.copy_at_once,
    )  # fmt: skip


@router.patch("/content")
async def change_content(body: ContentBody, parts: AllParts, session: Transaction, who: Seller) -> ContentOut:
    await session.execute(update(User).where(User.id == who.user_id).values(copy_at_once=body.copy_at_once))
    return await show_content(parts, session, who)


@router.post("/listings/{listingId}/reading")
async def read_listing(listing_id: ListingId, body: NotesBody, parts: AllParts, who: Seller) -> ReadingOut:
    """What a model finds in the listing's photos (the first 8) and these notes. Nothing is changed: PATCH the
    listing with what is right. 409 `no_model`, `budget_spent`, `asked_already`; 503 `model_away`."""
    answer_id = await ask_reading(parts, who, listing_id, body.notes)
    async with parts.database.as_user(who.user_id) as session:
        told = await get_reading(session, answer_id)
    return ReadingOut(
        answer_id=str(answer_id), cost=told.cost, found=[FoundOut.of(one) for one in told.found],
        unsure=list(told.unsure),
    )  # fmt: skip


@router.post("/listings/{listingId}/copies/{marketplace}")
async def write_copy(
    listing_id: ListingId,
    marketplace: Marketplace,
    parts: AllParts,
    who: Seller,
    body: CopyBody | None = None,
) -> CopyOut:
    """Title and description for a marketplace: by a model, and held against the listing's own; else, and
    without a model, by rule. Nothing is changed, unless `copyAtOnce` is set: PATCH the listing's
    `overrides`."""
    again = as_id(body.again) if body and body.again else None
    answer_id = await ask_copy(parts, who, listing_id, marketplace, again) if parts.model.ready else None
    async with parts.database.as_user(who.user_id) as session:
        copy, cost = await get_copy(session, listing_id, marketplace, answer_id)
        used = copy.by == "model" and (await get_user(session, who)).copy_at_once
        if used:
            await use_copy(session, listing_id, marketplace, copy)
    return CopyOut.of(copy, answer_id, cost, used)


# ---- what the pages need too ----------------------------------------------------------------------


async def spent(parts: Parts, session: AsyncSession) -> Spent:
    return await asking.spent(session, parts.settings.model_budget_cents)


async def reading_question(
    parts: Parts, facts: ListingFacts, notes: str, *, with_photos: bool = True
) -> Question[Reading]:
    """Without the photos' bytes it is enough for what it will cost."""
    photos = facts.photos[: read.SENT.max_count]
    notes = notes.replace("\r\n", "\n").strip()
    images = [await parts.photos.rendition(one.name, read.SENT) if with_photos else b"" for one in photos]
    about = {"photos": [one.name for one in photos], "notes": notes}
    return Question("reading", read.prompt_for(len(photos), notes), images, Reading, about)


def copy_question(facts: ListingFacts, marketplace: str, refused: Sequence[str] = ()) -> Question[Rewritten]:
    return Question("copy", copies.prompt_for(facts, marketplace, refused), [], Rewritten)


async def ask_reading(parts: Parts, who: SignedIn, listing_id: UUID, notes: str) -> UUID:
    facts = await _facts(parts, who, listing_id)
    if not facts.photos and not notes.strip():
        raise BadRequest("There is nothing to read yet.", action="Add a photo, or write down what you know.")
    question = await reading_question(parts, facts, notes)
    return await asking.ask(
        parts.database, who.user_id, parts.model, question, parts.settings.model_budget_cents
    )


async def ask_copy(
    parts: Parts, who: SignedIn, listing_id: UUID, marketplace: str, again: UUID | None = None
) -> UUID:
    """`again`: an answer before; what was wrong with it is told, so that it is another question."""
    facts = await _facts(parts, who, listing_id)
    if not (facts.title or "").strip() or not (facts.description or "").strip():
        raise BadRequest("There is nothing to rewrite yet.", action="Write a title and a description first.")
    refused: Sequence[str] = ()
    if again is not None:
        async with parts.database.as_user(who.user_id) as session:
            refused = (await get_copy(session, listing_id, marketplace, again))[0].refused
    return await asking.ask(
        parts.database, who.user_id, parts.model, copy_question(facts, marketplace, refused),
        parts.settings.model_budget_cents,
    )  # fmt: skip


@dataclass(frozen=True)
class WasRead:
    """What it cost, what counts of it, and what is too unsure to be said."""

    cost: int
    found: Sequence[Proposed]
    unsure: Sequence[str]
    #: By their names, as they were numbered.
    photos: Sequence[str]


async def get_reading(session: AsyncSession, answer_id: UUID) -> WasRead:
    """Raises NotFound."""
    row, said = await asking.get_answer(session, answer_id, "reading", Reading)
    about = (row.answer or {})["about"]
    photos, notes = about["photos"], about["notes"]
    return WasRead(
        row.cost, read.proposed(said, len(photos), notes), read.doubts(said, len(photos), notes), photos
    )


async def get_copy(
    session: AsyncSession, listing_id: UUID, marketplace: str, answer_id: UUID | None
) -> tuple[Copy, int]:
    """Held against the listing as it stands now; and what it cost. Raises NotFound."""
    facts = await facts_of(session, await find_listing(session, listing_id))
    if answer_id is None:
        return copies.by_rule(facts, marketplace), 0
    row, said = await asking.get_answer(session, answer_id, "copy", Rewritten)
    return copies.judged(said, facts, marketplace), row.cost


async def use_copy(session: AsyncSession, listing_id: UUID, marketplace: str, copy: Copy) -> None:
    """It stands in the listing's own values for that marketplace; what is as the listing's own needs none."""
    listing = await find_listing(session, listing_id, lock=True)
    facts, shown = await facts_of(session, listing), await listings.get_listing(listing_id, session)
    overrides = {place: dict(own) for place, own in shown.overrides.items()}
    own = overrides.setdefault(marketplace, {})
    for name in ("title", "description"):
        own.pop(name, None)
    own |= copies.overrides_for(facts, copy)
    body = ListingBody.model_validate(
        {"overrides": {place: each for place, each in overrides.items() if each}}
    )
    await listings.patch_listing(listing_id, body, session)


async def _facts(parts: Parts, who: SignedIn, listing_id: UUID) -> ListingFacts:
    async with parts.database.as_user(who.user_id) as session:
        return await facts_of(session, await find_listing(session, listing_id))
