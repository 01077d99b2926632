"""Prices: the seller's rule per marketplace, and what each marketplace takes of a sale."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import AfterValidator, BeforeValidator, Field
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import BadRequest
from everystall.inventory.pricing import Rounding, Rule
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.models import PriceRule, Publication
from everystall.web.deps import Seller, Transaction
from everystall.web.shapes import HIGHEST_PRICE, Body, Done, MoneyBody, MoneyOut, Shape

router = APIRouter(prefix="/api/prices", tags=["prices"])


def hundredths(value: float) -> float:
    if abs(value * 100 - round(value * 100)) > 1e-6:
        raise ValueError("may have two digits behind the point")
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("is a whole number of cents")
    return value


Percent = Annotated[float, Field(ge=-90, le=900), AfterValidator(hundredths)]
Cents = Annotated[int, BeforeValidator(_whole), Field(ge=-HIGHEST_PRICE, le=HIGHEST_PRICE)]


class PostageBody(Body):
    """Cents. 0 is said too: the buyer pays none."""

    amount: Annotated[int, Field(strict=True, ge=0, le=HIGHEST_PRICE)]
    currency: Literal["USD"] = "USD"


class RuleBody(Body):
    """The listing's price, with the mark-up, rounded, and raised until so much is left."""

    #: Of the listing's price; less than 0 takes away.
    mark_up_percent: Percent = 0
    mark_up_cents: Cents = 0
    #: Always upwards; left out: whole dollars where the marketplace takes no others, else none.
    rounding: Rounding | None = None
    #: What shall be left of a sale after the marketplace's fee.
    minimum_net: MoneyBody | None = None
    #: Where the fee is taken of the postage and the sales tax that the buyer pays, what you expect those to
    #: be; a minimum net needs them. Postage counts where the listing does not say that you pay it.
    postage: PostageBody | None = None
    tax_percent: Annotated[float, Field(ge=0, le=25), AfterValidator(hundredths)] | None = None

    def rule(self, marketplace: str) -> Rule:
        label, form = MARKETPLACES[marketplace], get_form(marketplace)
        whole = form.LIMITS.whole_dollars
        if whole and self.rounding not in (None, "whole_dollars"):
            raise BadRequest(
                f"{label} takes whole dollars only.", action="Leave `rounding` out, or set whole_dollars."
            )
        untold = {
            "postage": form.FEES.of_postage and self.postage is None,
            "sales tax": form.FEES.of_tax and self.tax_percent is None,
        }
        if self.minimum_net and any(untold.values()):
            missing = " and ".join(name for name, so in untold.items() if so)
            raise BadRequest(
                f"{label} takes its fee of the {missing} that the buyer pays, too: without that, less would "
                "be left than you want.",
                action=f"Say what {missing} you expect, or 0.",
            )
        return Rule(
            percent=round(self.mark_up_percent * 100),
            cents=self.mark_up_cents,
            rounding=self.rounding or ("whole_dollars" if whole else "none"),
            min_net=self.minimum_net.amount if self.minimum_net else None,
            postage=self.postage.amount if self.postage else 0,
            tax=round((self.tax_percent or 0) * 100),
        )


class FeesOut(Shape):
    """What the marketplace takes of a sale, as we reckon."""

    said: str
    source: str
    checked: date
    #: The fee is taken of these as well.
    of_postage: bool
    of_tax: bool


class RuleOut(Shape):
    marketplace: str
    label: str
    #: False: there is no rule; a listing's price is its price there.
    set: bool
    mark_up_percent: float
    mark_up_cents: int
    rounding: Rounding
    minimum_net: MoneyOut | None
    postage: MoneyOut | None
    tax_percent: float
    fees: FeesOut
    #: Live listings that stand by another rule, which was there when they were posted.
    not_applied: int
    updated_at: datetime | None


class RulesOut(Shape):
    #: One per marketplace.
    rules: list[RuleOut]


@router.get("/rules")
async def list_rules(session: Transaction, who: Seller) -> RulesOut:
    """The rule of each marketplace, and what it takes of a sale."""
    return RulesOut(rules=[await _shown(session, marketplace) for marketplace in MARKETPLACES])


@router.put("/rules/{marketplace}")
async def put_rule(marketplace: str, body: RuleBody, session: Transaction, who: Seller) -> RuleOut:
    """Sets the rule. What is posted from now on goes by it; what is live stays as it is until you have the
    rules applied."""
    get_form(marketplace)
    rule = body.rule(marketplace).model_dump()
    await session.execute(
        insert(PriceRule)
        .values(user_id=who.user_id, marketplace=marketplace, rule=rule)
        .on_conflict_do_update(
            index_elements=["user_id", "marketplace"],
            set_={"rule": rule, "updated_at": func.clock_timestamp()},
        )
    )
    return await _shown(session, marketplace)


@router.delete("/rules/{marketplace}")
async def delete_rule(marketplace: str, session: Transaction, who: Seller) -> Done:
    """From now on a listing's price is its price there; what is live stays as it is until you have that
    applied."""
    get_form(marketplace)
    gone = await session.execute(
        delete(PriceRule).where(PriceRule.marketplace == marketplace).returning(PriceRule.marketplace)
    )
    label = MARKETPLACES[marketplace]
    if gone.first() is None:
        return Done(message=f"There was no price rule for {label}.")
    return Done(message=f"There is no price rule for {label} any more; what is live there stays as it is.")


async def _shown(session: AsyncSession, marketplace: str) -> RuleOut:
    row = await session.scalar(
        select(PriceRule)
        .where(PriceRule.marketplace == marketplace)
        .execution_options(populate_existing=True)
    )
    others = select(func.count()).where(
        Publication.marketplace == marketplace,
        Publication.wanted == "live",
        Publication.put == "live",
        Publication.price_rule.is_distinct_from(row.rule if row else None),
    )
    rule, form = Rule.model_validate(row.rule if row else {}), get_form(marketplace)
    return RuleOut(
        marketplace=marketplace,
        label=MARKETPLACES[marketplace],
        set=row is not None,
        mark_up_percent=rule.percent / 100,
        mark_up_cents=rule.cents,
        rounding="whole_dollars" if form.LIMITS.whole_dollars else rule.rounding,
        minimum_net=_money(rule.min_net),
        postage=_money(rule.postage if row else None),
        tax_percent=rule.tax / 100,
        fees=FeesOut(
            said=form.FEES.said,
            source=form.FEES.source,
            checked=form.FEES.checked,
            of_postage=form.FEES.of_postage,
            of_tax=form.FEES.of_tax,
        ),
        not_applied=await session.scalar(others) or 0,
        updated_at=row.updated_at if row else None,
    )


def _money(cents: int | None) -> MoneyOut | None:
    return None if cents is None else MoneyOut(amount=cents, currency="USD")
