"""What a listing costs on each marketplace, by its own price there or the seller's rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everystall.inventory.pricing import GRIDS, Rule, compose, price_at
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import ListingFacts, Money, Package, PhotoFacts

SHIRT = ListingFacts(
    title="Linen shirt, hardly worn", description="Worn twice, washed cold, no flaws to see.", brand="Levi's",
    category="men.shirts.casual", size="M", condition="good", colors=("blue",), price=Money(amount=2500),
    package=Package(weight_oz=12, length_in=12, width_in=9, height_in=1), ships_from_zip="97205",
    shipping_payer="buyer", photos=(PhotoFacts(sha256="a", width=1, height=1, content_type="image/png"),),
)  # fmt: skip
POLICIES = {"payment_policy": "P", "return_policy": "R", "shipping_policy": "S", "free_shipping_policy": "F"}


def priced(marketplace, facts=SHIRT, **rule):
    return price_at(marketplace, facts, Rule(**rule).model_dump() if rule else None)


@pytest.mark.parametrize(
    ("marketplace", "rule", "price", "left"),
    [
        ("mercari", {"percent": 1000}, 2750, 2475),
        ("mercari", {"percent": 1000, "cents": -50}, 2700, 2430),
        ("mercari", {"percent": -1000}, 2250, 2025),
        ("mercari", {"percent": 333}, 2583, 2324),  # 83.25 cents
        ("mercari", {"percent": 333, "rounding": "whole_dollars"}, 2600, 2340),
        ("mercari", {"percent": 333, "rounding": "99"}, 2599, 2339),
        ("mercari", {"cents": 0, "rounding": "99"}, 2599, 2339),
        ("mercari", {"min_net": 3000}, 3334, 3000),
        ("mercari", {"min_net": 3000, "rounding": "99"}, 3399, 3059),
        ("mercari", {"min_net": 3000, "postage": 600}, 3400, 3000),
        ("mercari", {"min_net": 1000}, 2500, 2250),  # is left anyway
        ("mercari", {"cents": -2480}, 100, 90),  # what it takes at least
        ("poshmark", {"percent": 333}, 2600, 2080),  # it takes whole dollars only
        ("poshmark", {"min_net": 3000}, 3800, 3040),
        ("poshmark", {"cents": -2500}, 300, 5),
        ("ebay", {"min_net": 3000}, 3519, 3000),
        ("ebay", {"min_net": 3000, "tax": 800, "postage": 500}, 3650, 3000),
    ],
)
def test_a_rule_makes_the_price_to_the_cent(marketplace, rule, price, left):
    found = priced(marketplace, **rule)
    assert (found.price, found.left, found.by) == (price, left, "rule")
    assert found.fee == price - left


def test_without_a_rule_the_listings_price_is_the_price():
    found = priced("ebay")
    assert (found.price, found.fee, found.left, found.by, found.notes) == (2500, 380, 2120, "listing", ())


def test_the_listings_own_price_for_a_marketplace_stands_whatever_the_rule_says():
    facts = SHIRT.model_copy(update={"overrides": {"mercari": {"price": {"amount": 1234}}}})
    found = priced("mercari", facts, percent=5000, min_net=9000, rounding="99")
    assert (found.price, found.left, found.by) == (1234, 1110, "override")
    assert priced("ebay", facts, cents=100).price == 2600


@pytest.mark.parametrize(
    ("category", "own", "fee"),
    [
        (None, "Books & Magazines > Books", 40 + 383),  # several of ours, each of 15.3%
        (None, ["Books & Magazines", "Textbooks"], 40 + 383),
        (None, "Jewelry & Watches > Fine Jewelry > Toe Rings", 40 + 383),  # none of ours: the most there is
        ("men.shirts.casual", "Books & Magazines > Books", 40 + 383),
        (None, " > ".join(get_form("ebay").CATEGORIES["women.bags.totes"]), 40 + 375),
        (None, " > ".join(get_form("ebay").CATEGORIES["men.shirts.casual"]), 40 + 340),
        ("books.fiction", "men.shirts.casual", 40 + 340),
    ],
)
def test_where_the_category_is_the_sites_own_path_what_is_left_is_not_overstated(category, own, fee):
    facts = SHIRT.model_copy(update={"category": category, "overrides": {"ebay": {"category": own}}})
    assert priced("ebay", facts).fee == fee
    assert priced("ebay", facts, min_net=3000).left >= 3000
    assert priced("mercari", facts).fee == 250


@pytest.mark.parametrize("own", [{"price": None}, {"price": "much"}])
def test_where_no_price_is_told_there_is_none(own):
    assert priced("mercari", SHIRT.model_copy(update={"overrides": {"mercari": own}}), cents=1) is None
    assert priced("mercari", SHIRT.model_copy(update={"price": None}), cents=1) is None


def test_what_raised_the_price_is_told():
    said = priced("poshmark", percent=333, min_net=3000).notes
    assert said == ("Rounded up from $25.83.", "$26.00 would leave less than $30.00 after fees: raised.")
    assert priced("mercari", cents=-2480).notes == ("$0.20 is less than Mercari takes: raised.",)
    assert priced("mercari", percent=1000).notes == ()


def test_a_minimum_net_says_what_it_does_not_reckon_with():
    def said(marketplace, facts=SHIRT, **rule):
        return [note for note in priced(marketplace, facts, min_net=1000, **rule).notes if "no " in note]

    assert "no postage and sales tax:" in said("ebay")[0]
    assert "no sales tax:" in said("ebay", postage=600)[0]
    assert "no sales tax:" in said("ebay", SHIRT.model_copy(update={"shipping_payer": "seller"}))[0]
    assert "no postage:" in said("mercari")[0]
    assert said("ebay", postage=600, tax=800) == said("mercari", postage=600) == said("poshmark") == []


def test_postage_that_the_seller_pays_is_not_what_the_buyer_pays():
    facts = SHIRT.model_copy(update={"shipping_payer": "seller"})
    assert priced("mercari", facts, postage=600).fee == 250
    assert priced("mercari", postage=600).fee == 310


@pytest.mark.parametrize(
    ("payer", "own", "given"),
    [
        ("seller", {}, 649),
        ("buyer", {}, 0),
        ("buyer", {"shipping_discount": "partial"}, 150),
        ("seller", {"shipping_discount": "none"}, 0),
        ("buyer", {"shipping_payer": "seller"}, 649),
        ("buyer", {"shipping_discount": ["what"]}, 0),
    ],
)
def test_what_the_seller_gives_towards_the_postage_is_not_left(payer, own, given):
    facts = SHIRT.model_copy(update={"shipping_payer": payer, "overrides": {"poshmark": own}})
    found = priced("poshmark", facts)
    assert (found.price, found.fee, found.left) == (2500, 500, 2000 - given)
    assert [f"${given / 100:.2f}" in note for note in found.notes] == ([True] if given else [])
    assert priced("poshmark", facts, min_net=3000).left >= 3000
    assert priced("mercari", facts).left == 2250


def test_what_an_account_gives_by_default_is_told_and_changes_no_price():
    found = price_at("poshmark", SHIRT, None, {"shipping_discount": "partial"})
    assert (found.price, found.left) == (2500, 2000)
    assert found.notes == ("This account gives $1.50 of it towards the postage: that is not taken off.",)
    chosen = SHIRT.model_copy(update={"overrides": {"poshmark": {"shipping_discount": "none"}}})
    assert price_at("poshmark", chosen, None, {"shipping_discount": "free"}).notes == ()
    assert price_at("mercari", SHIRT, None, {"shipping_discount": "free"}).notes == ()


def test_the_form_gets_the_rules_price_and_nothing_else_of_it():
    rule = Rule(percent=1000).model_dump()
    draft, problems, _ = compose("mercari", SHIRT, rule, {})
    assert problems == []
    assert draft.price == Money(amount=2750)
    plain, _, _ = compose("mercari", SHIRT, None, {})
    assert draft.model_copy(update={"price": plain.price}) == plain


def test_a_price_above_what_the_marketplace_takes_is_a_problem_and_not_another_price():
    draft, problems, _ = compose("mercari", SHIRT, Rule(cents=300_000).model_dump(), {})
    assert draft is None
    assert [(one.field, one.code) for one in problems] == [("price", "too_high")]


RULES = st.builds(
    Rule,
    percent=st.integers(-9_000, 9_000),
    cents=st.integers(-5_000, 5_000),
    rounding=st.sampled_from(list(GRIDS)),
    min_net=st.none() | st.integers(1, 100_000),
    postage=st.integers(0, 3_000),
    tax=st.integers(0, 1_500),
)


@given(st.sampled_from(list(MARKETPLACES)), RULES, st.integers(1, 150_000))
def test_a_rules_price_is_taken_leaves_enough_and_is_on_the_grid(marketplace, rule, cents):
    limits = get_form(marketplace).LIMITS
    facts = SHIRT.model_copy(update={"price": Money(amount=cents)})
    found = price_at(marketplace, facts, rule.model_dump())
    marked = cents + rule.cents + (cents * rule.percent + 5_000) // 10_000
    assert found.price >= max(limits.price_min, marked)
    assert found.price + 100 - max(limits.price_min, marked) > 0
    assert rule.min_net is None or found.left >= rule.min_net
    every, offset = GRIDS["whole_dollars" if limits.whole_dollars else rule.rounding]
    assert found.price % every == offset
    raised = [note for note in found.notes if not note.startswith("Reckoned with no")]
    assert bool(raised) == (found.price != marked)
    _, problems, _ = compose(marketplace, facts, rule.model_dump(), POLICIES)
    assert [p.code for p in problems] in ([], ["too_high"])
    assert (problems == []) == (found.price <= limits.price_max)
