"""Prices: the seller's rule for each marketplace, with what it makes of a price and what is left of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from everystall.errors import BadRequest
from everystall.inventory.pricing import Priced, Stored, dollars, price_at, rules_now
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import ListingFacts, Money
from everystall.web import prices
from everystall.web.pages.amounts import Typed, dollars_of, percent_of
from everystall.web.pages.opened import Opened, OpenedPage, go
from everystall.web.prices import RuleBody, RuleOut

router = APIRouter()

#: What is shown of a rule if the page's address names no price: cents.
EXAMPLE: Final = 2500
ROUNDINGS: Final = {
    "none": "Not rounded",
    "whole_dollars": "Up to whole dollars",
    "99": "Up to the next .99",
}


@dataclass(frozen=True)
class Example:
    """What becomes of one price on the marketplace."""

    price: str
    there: str
    fee: str
    left: str
    notes: Sequence[str]


@dataclass(frozen=True)
class RuleForm:
    rule: RuleOut
    #: What its prices may be rounded to.
    roundings: Mapping[str, str]
    values: Mapping[str, str]
    example: Example | None
    wrong: Mapping[str, str] = field(default_factory=dict)
    #: What is typed is not saved yet.
    tried: bool = False


@router.get("/prices")
async def show_prices(page: OpenedPage) -> HTMLResponse:
    return await _show(page)


async def _show(
    page: Opened,
    *,
    typed: Typed | None = None,
    body: RuleBody | None = None,
    marketplace: str | None = None,
    error: BadRequest | None = None,
) -> HTMLResponse:
    """`typed`: the form of `marketplace`, which is tried (`body`) or was refused."""
    asked = typed["example"] if typed else page.request.query_params.get("example", "")
    try:
        price = dollars_of(asked) or EXAMPLE
    except ValueError:
        price = EXAMPLE
    forms, kept = list[RuleForm](), await rules_now(page.session)
    for rule in (await prices.list_rules(page.session, page.who)).rules:
        whole = get_form(rule.marketplace).LIMITS.whole_dollars
        choices = {"whole_dollars": ROUNDINGS["whole_dollars"]} if whole else ROUNDINGS
        if typed is None or rule.marketplace != marketplace:
            stored = _example(rule.marketplace, price, kept.get(rule.marketplace))
            forms.append(RuleForm(rule, choices, _values(rule), stored))
            continue
        tried = body.rule(rule.marketplace).model_dump() if body else None
        shown = _example(rule.marketplace, price, tried) if body else None
        forms.append(RuleForm(rule, choices, typed.texts, shown, typed.wrong, tried=body is not None))
    refused = bool(typed and (typed.wrong or error))
    return page.show(
        "prices.html", status=422 if refused else 200, home="/prices" if typed else None, forms=forms,
        example=_typed(price), error=error, refused=refused,
    )  # fmt: skip


def _example(marketplace: str, price: int, rule: Stored) -> Example | None:
    priced: Priced | None = price_at(marketplace, ListingFacts(price=Money(amount=price)), rule)
    if priced is None:
        return None
    return Example(
        dollars(price), dollars(priced.price), dollars(priced.fee), dollars(priced.left), priced.notes
    )


def _values(rule: RuleOut) -> dict[str, str]:
    needed = rule.minimum_net is not None  # then nothing is said, too
    return {
        "mark_up_percent": f"{rule.mark_up_percent:g}" if rule.mark_up_percent else "",
        "mark_up": _typed(rule.mark_up_cents) if rule.mark_up_cents else "",
        "rounding": rule.rounding,
        "minimum_net": _typed(rule.minimum_net.amount) if rule.minimum_net else "",
        "postage": _typed(rule.postage.amount) if rule.postage and (rule.postage.amount or needed) else "",
        "tax_percent": f"{rule.tax_percent:g}" if rule.tax_percent or needed else "",
    }


def _typed(cents: int) -> str:
    """As somebody would type it: "12", "-2.50" """
    return dollars(cents).replace("$", "").replace(",", "").removesuffix(".00")


@router.post("/prices/rule")
async def save_rule(page: OpenedPage, request: Request) -> Response:
    """Saves the rule of one marketplace, shows what it would make of a price, or takes it away."""
    typed = Typed(await request.form())
    marketplace, do = typed["marketplace"], typed["do"]
    if marketplace not in MARKETPLACES:
        raise BadRequest("There is no such marketplace here.", action="Go back to the prices.")
    if do == "delete":
        await prices.delete_rule(marketplace, page.session, page.who)
        return go("/prices", "price-rule-gone", marketplace)
    values = _read(typed)
    if typed.wrong:
        return await _show(page, typed=typed, marketplace=marketplace)
    body = RuleBody.model_validate(values)
    try:
        if do == "try":
            return await _show(page, typed=typed, body=body, marketplace=marketplace)
        await prices.put_rule(marketplace, body, page.session, page.who)
    except BadRequest as error:
        return await _show(page, typed=typed, marketplace=marketplace, error=error)
    return go("/prices", "price-rule", marketplace)


@router.get("/prices/rule")
async def lead_back() -> Response:
    """The address of the form, opened by itself."""
    return go("/prices")


def _read(typed: Typed) -> dict[str, Any]:
    """The API's body."""
    net = typed.read("minimum_net", dollars_of, 0)
    postage = typed.read("postage", dollars_of, None)
    rounding = typed["rounding"] or None
    if rounding is not None and rounding not in ROUNDINGS:
        typed.wrong["rounding"] = "Choose one of these."
    return {
        "markUpPercent": typed.read("mark_up_percent", lambda text: percent_of(text, -90, 900), 0.0),
        "markUpCents": typed.read("mark_up", lambda text: dollars_of(text, signed=True), 0),
        "rounding": rounding,
        "minimumNet": {"amount": net} if net else None,
        "postage": None if postage is None else {"amount": postage},
        "taxPercent": typed.read("tax_percent", lambda text: percent_of(text, 0, 25), None),
    }
