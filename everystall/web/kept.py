"""What an archive brings back beside listings: views, templates, what its seller is told where and when, and
the rules of prices, relisting and sales. What is here already stays as it is. What the archive says is looked
at as if it were typed; what does not pass is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from pydantic import Field
from pydantic.alias_generators import to_camel
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest
from everystall.inventory import listing_templates, saved_views
from everystall.inventory.pricing import Rule
from everystall.marketplaces import get_form
from everystall.models import (
    Connection,
    Listing,
    NoticeRules,
    PriceDrop,
    PriceRule,
    RelistRule,
    SaleRules,
)
from everystall.web import sales
from everystall.web.listing_templates import TemplateBody
from everystall.web.listings import ListingBody, check_overrides
from everystall.web.notifications import RulesBody, said_time, save_rules
from everystall.web.price_drops import DropBody
from everystall.web.prices import RuleBody
from everystall.web.relisting import RelistRuleBody
from everystall.web.shapes import Body

#: What is raised by what does not pass.
_REFUSED = (TypeError, ValueError, ArithmeticError, BadRequest)


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
    await _bring_back_rules(session, user_id, told)


async def _bring_back_rules(session: AsyncSession, user_id: UUID, told: Mapping[str, Any]) -> None:
    """Of prices, relisting and sales: each where the seller has none. Days begin to count now."""
    found: list[tuple[Any, dict[str, Any]]] = [
        *((PriceRule, {"marketplace": name, "rule": rule.model_dump()}) for name, rule in _price_rules(told)),
        *((RelistRule, {"marketplace": name, **rule}) for name, rule in _relist_rules(told)),
        *((PriceDrop, drop) for listing_id, drop in _drops(told) if listing_id is None),
    ]
    for table, values in found:
        new = insert(table).values(user_id=user_id, **values)
        await session.execute(new.on_conflict_do_nothing())
    if await session.get(SaleRules, user_id) is None:
        accounts = await session.scalars(select(Connection.public_id))
        body = _sale_rules(told, set(accounts))
        if body is not None:
            await sales.set_rules(session, user_id, body)


def drops_of(told: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Key of a row → the schedule that its listing has for itself: it comes in with the listing."""
    return {f"listing:{listing_id}": drop for listing_id, drop in _drops(told) if listing_id}


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


def _price_rules(told: Mapping[str, Any]) -> Iterator[tuple[str, Rule]]:
    for one in _each(told, "priceRules"):
        marketplace = str(one.get("marketplace"))
        try:
            get_form(marketplace)
            rule = Rule.model_validate(one.get("rule"))
            typed = {
                "mark_up_percent": rule.percent / 100, "mark_up_cents": rule.cents, "rounding": rule.rounding,
                "minimum_net": _dollars(rule.min_net), "postage": _dollars(rule.postage),
                "tax_percent": rule.tax / 100,
            }  # fmt: skip
            yield marketplace, RuleBody.model_validate(typed).rule(marketplace)
        except _REFUSED:
            continue


def _relist_rules(told: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, int]]]:
    for one in _each(told, "relistRules"):
        marketplace = str(one.get("marketplace"))
        given = {name: one.get(to_camel(name)) for name in RelistRuleBody.model_fields}
        try:
            yield marketplace, RelistRuleBody.model_validate(given).columns(marketplace)
        except _REFUSED:
            continue


def _drops(told: Mapping[str, Any]) -> Iterator[tuple[str | None, dict[str, int]]]:
    """Whose each is (a listing, as the archive calls it; None: the seller's own) and its columns."""
    for one in _each(told, "priceDrops"):
        try:
            given = {
                "percent": one["percent"] / 100, "cents": one["cents"], "every_days": one["everyDays"],
                "floor": _dollars(one["floorCents"]),
            }  # fmt: skip
            listing_id = one["listingId"]
            body = DropBody.model_validate(given)
            yield None if listing_id is None else str(listing_id), body.columns()
        except (KeyError, *_REFUSED):
            continue


def _sale_rules(told: Mapping[str, Any], accounts: set[str]) -> sales.RulesBody | None:
    """The account that keeps the last one is only known where it is the same one."""
    for one in _each(told, "saleRules")[:1]:
        given = {name: one[to_camel(name)] for name in sales.RulesBody.model_fields if to_camel(name) in one}
        if str(given.get("last_unit_on")) not in accounts:
            given.pop("last_unit_on", None)
        try:
            return sales.RulesBody.model_validate(given)
        except _REFUSED:
            return None
    return None


def _dollars(cents: Any) -> dict[str, Any] | None:
    return None if cents is None else {"amount": cents, "currency": "USD"}
