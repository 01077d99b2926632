"""What an archive brings back beside listings: views, templates, and what its seller is told where and when.
What is here already stays as it is. What the archive says is looked at as if it were typed; what does not
pass is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from pydantic import Field
from pydantic.alias_generators import to_camel
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest
from everystall.inventory import listing_templates, saved_views
from everystall.models import Listing, NoticeRules
from everystall.web.listing_templates import TemplateBody
from everystall.web.listings import ListingBody, check_overrides
from everystall.web.notifications import RulesBody, said_time, save_rules
from everystall.web.shapes import Body


class _View(Body):
    name: str
    query: Annotated[str, Field(max_length=4000)]


async def bring_back(session: AsyncSession, user_id: UUID, told: Mapping[str, Any]) -> None:
    """`told`: incoming.archives.Archive.kept"""
    views = {view.name for view in await saved_views.views_of(session)}
    for name, query in _views(told):
        if name not in views and len(views) < saved_views.MOST:
            views.add(name)
            await saved_views.keep(session, user_id, name, query)
    templates = {template.name for template in await listing_templates.templates_of(session)}
    for body, facts in _templates(told):
        if body.name not in templates and len(templates) < listing_templates.MOST:
            templates.add(body.name)
            meant = Listing(user_id=user_id, **facts)  # of which the template is made; it is kept nowhere
            await listing_templates.keep(session, meant, body.name, body.footer)
    rules = _rules(told)
    if rules is not None and await session.get(NoticeRules, user_id) is None:
        await save_rules(session, user_id, rules)


def _each(told: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
    found = told.get(what)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _views(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """In the order in which they were kept."""
    for one in sorted(_each(told, "savedViews"), key=lambda one: str(one.get("createdAt"))):
        try:
            view = _View.model_validate({"name": one.get("name"), "query": one.get("query")})
            yield saved_views.named(view.name), urlencode(parse_qsl(view.query))
        except (ValueError, BadRequest):
            continue


def _templates(told: Mapping[str, Any]) -> Iterator[tuple[TemplateBody, dict[str, Any]]]:
    """Each with the columns of a listing that has what it says."""
    for one in _each(told, "templates"):
        facts = one.get("facts")
        if not isinstance(facts, dict):
            continue
        given = {name: facts[name] for name in listing_templates.COLUMNS if name in facts}
        try:
            body = TemplateBody.model_validate({"name": one.get("name"), "footer": facts.get("footer")})
            listing = ListingBody.model_validate(given)
            check_overrides(listing)
            yield body, {"overrides": {}} | listing.columns(set(given))
        except (ValueError, BadRequest):
            continue


def _rules(told: Mapping[str, Any]) -> RulesBody | None:
    for one in _each(told, "noticeRules")[:1]:
        names = [name for name in RulesBody.model_fields if name != "quiet"]
        given = {name: one[to_camel(name)] for name in names if to_camel(name) in one}
        begins, ends = one.get("quietFrom"), one.get("quietUntil")
        try:
            if begins is not None and ends is not None:
                given["quiet"] = {"begins": said_time(begins), "ends": said_time(ends)}
            return RulesBody.model_validate(given)
        except (TypeError, ValueError):
            return None
    return None
