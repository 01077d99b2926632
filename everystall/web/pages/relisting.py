"""Relisting by rules: when, how many a day, and what is next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from everystall.errors import BadRequest
from everystall.inventory.relisting import MOST_PER_DAY, minimum_days
from everystall.marketplaces import MARKETPLACES
from everystall.web import relisting
from everystall.web.pages.amounts import Typed, whole_of
from everystall.web.pages.opened import Opened, OpenedPage, go
from everystall.web.relisting import RelistRuleBody

router = APIRouter()

#: Days that the page looks ahead, and listings that it names.
DAYS: Final = 7
SHOWN: Final = 50


@dataclass(frozen=True)
class RuleForm:
    marketplace: str
    label: str
    set: bool
    least: int
    values: Mapping[str, str]
    wrong: Mapping[str, str]


@router.get("/prices/relisting")
async def show_relisting(page: OpenedPage) -> HTMLResponse:
    return await _show(page)


async def _show(page: Opened, typed: Typed | None = None) -> HTMLResponse:
    told = await relisting.get_rules(page.session)
    rules = {rule.marketplace: rule for rule in told.rules}
    forms = []
    for name, label in MARKETPLACES.items():
        rule, mine = rules.get(name), typed is not None and typed["marketplace"] == name
        names = ("after_days", "per_day", "between_days")
        values = {field: str(getattr(rule, field)) if rule else "" for field in names}
        if mine and typed:
            values |= typed.texts
        wrong = typed.wrong if mine and typed else {}
        forms.append(RuleForm(name, label, rule is not None, told.minimum_days[name], values, wrong))
    return page.show(
        "relisting.html", status=422 if typed else 200, home="/prices/relisting" if typed else None,
        forms=forms, coming=await relisting.preview(page.session, DAYS), days=DAYS, shown=SHOWN,
        labels=MARKETPLACES, most=MOST_PER_DAY,
    )  # fmt: skip


@router.post("/prices/relisting")
async def save_rule(page: OpenedPage, request: Request) -> Response:
    typed = Typed(await request.form())
    marketplace = typed["marketplace"]
    if marketplace not in MARKETPLACES:
        raise BadRequest("There is no such marketplace here.", action="Go back to the relisting.")
    if typed["do"] == "delete":
        await relisting.delete_rule(marketplace, page.session)
        return go("/prices/relisting", "relist-rule-gone", marketplace)
    least = minimum_days(marketplace)
    values: dict[str, Any] = {
        "afterDays": typed.needed("after_days", lambda text: whole_of(text, max(1, least), 365), 1),
        "perDay": typed.needed("per_day", lambda text: whole_of(text, 1, MOST_PER_DAY), 1),
        "betweenDays": typed.read("between_days", lambda text: whole_of(text, max(1, least), 365), None),
    }
    if typed.wrong:
        return await _show(page, typed)
    body = RelistRuleBody.model_validate(values)
    await relisting.put_rule(marketplace, body, page.session, page.who)
    return go("/prices/relisting", "relist-rule", marketplace)
