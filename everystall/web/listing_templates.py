"""Templates of listings: kept of one, begun from, applied to another."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import AfterValidator, Field

from everystall.inventory import listing_templates
from everystall.inventory.listings import find_listing
from everystall.inventory.revisions import changed
from everystall.models import Listing, ListingTemplate
from everystall.web.deps import ListingId, Seller, Transaction, as_id
from everystall.web.listings import ListingOut, get_listing
from everystall.web.shapes import Body, Done, Prose, Shape, camel, one_line, written

router = APIRouter(prefix="/api", tags=["listings"])


async def _template_id(templateId: str) -> UUID:  # the path's own name
    return as_id(templateId)


TemplateId = Annotated[UUID, Depends(_template_id)]


class TemplateBody(Body):
    name: Annotated[
        str, Field(max_length=60), AfterValidator(one_line), written(r"\S(.*\S)?", "is a name: Light parcel")
    ]
    #: How descriptions end: a text that goes under each. Null: with nothing of its own.
    footer: Prose = None


class TemplateOut(Shape):
    template_id: str
    name: str
    footer: str | None
    package: dict[str, Any]
    ships_from_zip: str | None
    shipping_payer: str | None
    #: Per marketplace, what it gets beside the usual: its policies.
    overrides: dict[str, dict[str, Any]]
    created_at: datetime

    @classmethod
    def of(cls, row: ListingTemplate) -> TemplateOut:
        facts = row.facts
        return cls(
            template_id=str(row.id), name=row.name, footer=facts.get("footer"),
            package=camel(facts.get("package", {})), ships_from_zip=facts.get("ships_from_zip"),
            shipping_payer=facts.get("shipping_payer"),
            overrides={place: camel(own) for place, own in facts.get("overrides", {}).items()},
            created_at=row.created_at,
        )  # fmt: skip


class TemplatesOut(Shape):
    templates: list[TemplateOut]


@router.get("/templates")
async def list_templates(session: Transaction) -> TemplatesOut:
    """By name."""
    rows = await listing_templates.templates_of(session)
    return TemplatesOut(templates=[TemplateOut.of(row) for row in rows])


@router.post("/listings/{listingId}/templates", status_code=201)
async def create_template(listing_id: ListingId, body: TemplateBody, session: Transaction) -> TemplateOut:
    """Keeps this listing's parcel, postage and policies as a template, with a text for the end of
    descriptions."""
    listing = await find_listing(session, listing_id)
    return TemplateOut.of(await listing_templates.keep(session, listing, body.name, body.footer))


@router.delete("/templates/{templateId}")
async def delete_template(template_id: TemplateId, session: Transaction) -> Done:
    """Listings that were begun from it stay as they are."""
    await session.delete(await listing_templates.get_template(session, template_id))
    return Done(message="The template is deleted.")


@router.post("/templates/{templateId}/listings", status_code=201)
async def begin_from_template(template_id: TemplateId, session: Transaction, who: Seller) -> ListingOut:
    """A draft that begins with what the template says."""
    template = await listing_templates.get_template(session, template_id)
    listing = Listing(user_id=who.user_id, **listing_templates.applied(template))
    session.add(listing)
    await session.flush()
    return await get_listing(listing.id, session)


@router.post("/listings/{listingId}/templates/{templateId}")
async def apply_template(listing_id: ListingId, template_id: TemplateId, session: Transaction) -> ListingOut:
    """Writes what the template says over what the listing said of it; the text for the end of descriptions
    goes under its own, once."""
    template = await listing_templates.get_template(session, template_id)
    listing = await find_listing(session, listing_id, lock=True)
    meant = listing_templates.applied(template, listing)
    other = {name: value for name, value in meant.items() if getattr(listing, name) != value}
    if other:
        for name, value in other.items():
            setattr(listing, name, value)
        await changed(session, listing, other)
    return await get_listing(listing_id, session)
