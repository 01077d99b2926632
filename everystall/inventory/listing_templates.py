"""Templates: what several listings have in common, kept under a name. The parcel, where it ships from and who
pays for that, what a marketplace gets beside the usual (its policies), and how descriptions end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import Conflict, NotFound
from everystall.models import Listing, ListingTemplate

#: Of one seller: they are chosen from a list.
MOST: Final = 50
_SHARED: Final = ("package", "ships_from_zip", "shipping_payer")
#: Of a listing, what a template has.
COLUMNS: Final = (*_SHARED, "overrides")
#: What a marketplace has otherwise because of the thing itself, and not for all that its seller posts there.
_OF_THE_THING: Final = {"title", "description", "price", "original_price", "category", "condition", "brand",
                        "size", "sku", "colors", "tags", "specifics"}  # fmt: skip


async def templates_of(session: AsyncSession) -> list[ListingTemplate]:
    rows = await session.scalars(select(ListingTemplate).order_by(ListingTemplate.name, ListingTemplate.id))
    return list(rows)


async def get_template(session: AsyncSession, id: UUID) -> ListingTemplate:
    """The seller's own, or NotFound."""
    row = await session.get(ListingTemplate, id)
    if row is None:
        raise NotFound
    return row


async def keep(session: AsyncSession, listing: Listing, name: str, footer: str | None) -> ListingTemplate:
    """Of this listing. Raises Conflict, in words."""
    if (await session.scalar(select(func.count()).select_from(ListingTemplate)) or 0) >= MOST:
        raise Conflict(f"You have {MOST} templates already.", action="Delete one that you do not need.")
    facts = {name: getattr(listing, name) for name in _SHARED if getattr(listing, name)}
    facts["overrides"] = {
        place: kept
        for place, own in listing.overrides.items()
        if (kept := {name: value for name, value in own.items() if name not in _OF_THE_THING})
    }
    facts["footer"] = footer
    row = ListingTemplate(user_id=listing.user_id, name=name, facts=facts)
    session.add(row)
    try:
        async with session.begin_nested():
            await session.flush()
    except IntegrityError:
        raise Conflict("You have a template of that name already.", action="Choose another name.") from None
    await session.refresh(row)
    return row


def applied(template: ListingTemplate, listing: Listing | None = None) -> dict[str, Any]:
    """Columns of a listing as the template has them; what it does not say stays."""
    facts: Mapping[str, Any] = template.facts
    values = {name: facts[name] for name in _SHARED if facts.get(name)}
    overrides = {place: dict(own) for place, own in (listing.overrides if listing else {}).items()}
    for place, own in facts.get("overrides", {}).items():
        overrides[place] = {**overrides.get(place, {}), **own}
    if overrides:
        values["overrides"] = overrides
    footer, text = facts.get("footer") or "", (listing.description if listing else None) or ""
    if footer and not text.rstrip().endswith(footer.strip()):
        values["description"] = f"{text.rstrip()}\n\n{footer}" if text.strip() else footer
    return values
