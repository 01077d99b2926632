"""What a listing costs on each marketplace: its own price there, else the rule on its price; and what
of it is left. Posting, changing and checking ask here, so that all three mean the same price.

A publication keeps the rule by which it was posted: a rule that the seller changes never changes what is live
by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import Draft, ListingFacts, Money, Note, Problem
from everystall.marketplaces.fees import (
    ANY,
    Beside,
    FeeTable,
    Grid,
    dearest,
    fee_of,
    lowest_price,
    net_of,
    round_up,
)
from everystall.models import PriceRule, Publication

#: Cents. Ten million dollars: nobody's listing, somebody's slip of the finger.
HIGHEST_PRICE = 1_000_000_000
Rounding = Literal["none", "whole_dollars", "99"]
GRIDS: Mapping[str, Grid] = {"none": ANY, "whole_dollars": (100, 0), "99": (100, 99)}
#: States of a publication in which it is, or is about to be, as it was asked for before.
BUSY = ("composing", "filling", "armed", "reconciling", "revising", "ending")
#: A stored Rule, or none.
Stored = Mapping[str, Any] | None


class Rule(BaseModel):
    """One seller's rule for one marketplace, as it is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Added to the listing's price: hundredths of a per cent of it, and cents. Less than 0 takes away.
    percent: int = 0
    cents: int = 0
    #: Always upwards.
    rounding: Rounding = "none"
    #: Cents that shall be left of a sale.
    min_net: int | None = None
    #: What the buyer pays beside the price where the fee is taken of that too (fees.Beside).
    postage: int = 0
    tax: int = 0


@dataclass(frozen=True)
class Priced:
    """One listing's price on one marketplace, in cents."""

    price: int
    currency: str
    #: Whose price it is.
    by: Literal["listing", "override", "rule"]
    #: What the marketplace takes of it; and the rest, less what the seller gives of it towards the postage.
    fee: int
    left: int
    #: What the seller reads: why it is not what the listing says, or the mark-up makes of it.
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Rules:
    """The rules that are for one listing."""

    #: Marketplace → as it is now.
    now: Mapping[str, Stored]
    #: Account → the one by which the listing is there, or about to be.
    standing: dict[UUID, Stored]

    def of(self, marketplace: str, connection_id: UUID | None = None) -> Stored:
        """The one by which it is, or would be, posted there."""
        if connection_id is not None and connection_id in self.standing:
            return self.standing[connection_id]
        return self.now.get(marketplace)


# ---- pure -----------------------------------------------------------------------------------------


def compose(
    marketplace: str, facts: ListingFacts, rule: Stored, defaults: Mapping[str, Any]
) -> tuple[Draft | None, list[Problem], list[Note]]:
    """What the marketplace's form makes of the listing at its price there."""
    priced = price_at(marketplace, facts, rule)
    if priced is not None and priced.by == "rule":
        facts = facts.model_copy(update={"price": Money(amount=priced.price, currency=priced.currency)})
    return get_form(marketplace).compose(facts, defaults)


def price_at(
    marketplace: str, facts: ListingFacts, rule: Stored, defaults: Mapping[str, Any] | None = None
) -> Priced | None:
    """None where no price is told. `defaults`: the account's; what they give away is told, and is not in the
    price, which is one for all accounts."""
    own = facts.overrides.get(marketplace, {})
    made = Rule.model_validate(rule or {})
    category, payer = _category(marketplace, facts), own.get("shipping_payer") or facts.shipping_payer
    fees = get_form(marketplace).FEES
    chosen = own.get("shipping_discount") or ("free" if payer == "seller" else "none")
    given = fees.discounts.get(str(chosen), 0)
    beside = Beside(postage=0 if payer == "seller" else made.postage, tax=made.tax, given=given)
    by: Literal["listing", "override", "rule"]
    notes: list[str] = []
    if "price" in own:
        money, by = _money(own["price"]), "override"
    else:
        money, by = facts.price, "listing"
    if money is None:
        return None
    if by == "listing" and rule is not None and money.currency == "USD":
        amount, notes = _ruled(marketplace, money.amount, made, category, beside)
        if unreckoned := _unreckoned(marketplace, made, payer):
            notes.append(unreckoned)
        money, by = Money(amount=amount), "rule"
    notes += _given_away(fees, given, own, defaults or {})
    fee, left = fee_of(fees, money.amount, category, beside), net_of(fees, money.amount, category, beside)
    return Priced(money.amount, money.currency, by, fee, left, tuple(notes))


def _ruled(
    marketplace: str, price: int, rule: Rule, category: str | None, beside: Beside
) -> tuple[int, list[str]]:
    """The rule's price, never below what the marketplace takes; and whatever raised it above the mark-up."""
    form, label, notes = get_form(marketplace), MARKETPLACES[marketplace], list[str]()
    grid = GRIDS["whole_dollars" if form.LIMITS.whole_dollars else rule.rounding]
    marked = price + (price * rule.percent + 5_000) // 10_000 + rule.cents
    found = round_up(marked, grid)
    if found != marked:
        notes.append(f"Rounded up from {dollars(marked)}.")
    if found < form.LIMITS.price_min:
        notes.append(f"{dollars(found)} is less than {label} takes: raised.")
        found = round_up(form.LIMITS.price_min, grid)
    if rule.min_net is not None and net_of(form.FEES, found, category, beside) < rule.min_net:
        notes.append(f"{dollars(found)} would leave less than {dollars(rule.min_net)} after fees: raised.")
        found = lowest_price(form.FEES, rule.min_net, category, beside, at_least=found, grid=grid)
    return found, notes


def _given_away(fees: FeeTable, given: int, own: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """What the seller gives towards the buyer's postage, by the listing or else by the account."""
    if given:
        return [f"You give {dollars(given)} of it towards the postage: that is taken off."]
    by_account = fees.discounts.get(str(defaults.get("shipping_discount")), 0)
    if not by_account or own.get("shipping_discount"):
        return []
    return [f"This account gives {dollars(by_account)} of it towards the postage: that is not taken off."]


def _unreckoned(marketplace: str, rule: Rule, payer: str | None) -> str | None:
    """What the fee is taken of, and the seller's minimum net does not reckon with."""
    fees, found = get_form(marketplace).FEES, list[str]()
    if rule.min_net is None:
        return None
    if fees.of_postage and not rule.postage and payer != "seller":
        found.append("postage")
    if fees.of_tax and not rule.tax:
        found.append("sales tax")
    if not found:
        return None
    label, these = MARKETPLACES[marketplace], " and ".join(found)
    return f"Reckoned with no {these}: where the buyer pays that, {label} takes more, and less is left."


def _category(marketplace: str, facts: ListingFacts) -> str | None:
    """The one whose fee is taken. Where the listing names a path of the site's own menu: of ours that lead
    there the listing's own, else the dearest; of a path that is none of ours, the dearest that there is."""
    own, form = facts.overrides.get(marketplace, {}).get("category"), get_form(marketplace)
    if isinstance(own, str) and " > " in own:
        own = own.split(" > ")
    if not isinstance(own, list | tuple):
        return own if isinstance(own, str) else facts.category
    path = tuple(str(step).strip() for step in own)
    ours = [key for key, place in form.CATEGORIES.items() if place == path]
    return facts.category if facts.category in ours else dearest(form.FEES, ours)


def _money(value: Any) -> Money | None:
    try:
        return Money.model_validate(value)
    except ValidationError:  # the form says what is wrong with it
        return None


def dollars(cents: int) -> str:
    """-1250 → "-$12.50" """
    return f"{'-' if cents < 0 else ''}${abs(cents) // 100:,}.{abs(cents) % 100:02}"


# ---- the seller's ---------------------------------------------------------------------------------


async def rules_now(session: AsyncSession) -> dict[str, Stored]:
    """Marketplace → the seller's rule; those that have one."""
    rows = await session.execute(select(PriceRule.marketplace, PriceRule.rule))
    return {row.marketplace: row.rule for row in rows}


async def rules_of(session: AsyncSession, listing_ids: Sequence[UUID]) -> dict[UUID, Rules]:
    """The rules for each of these listings. Two queries."""
    now = await rules_now(session)
    found = {id: Rules(now, {}) for id in listing_ids}
    rows = await session.execute(
        select(Publication.listing_id, Publication.connection_id, Publication.price_rule).where(
            Publication.listing_id.in_(listing_ids),
            or_(Publication.put == "live", Publication.looking, Publication.state.in_(BUSY)),
        )
    )
    for row in rows:
        found[row.listing_id].standing[row.connection_id] = row.price_rule
    return found
