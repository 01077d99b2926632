"""What Poshmark needs and takes, checked without a browser."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everystall.marketplaces import taxonomy
from everystall.marketplaces.base import COLORS, CONDITIONS, Account, ListingFacts, Money, Package, PhotoFacts
from everystall.marketplaces.poshmark import form, menu

PHOTO = PhotoFacts(sha256="a" * 64, width=900, height=1200, content_type="image/jpeg")
DRESS = ListingFacts(
    title="Midi dress", description="Hardly worn.", brand="J. Crew", category="women.dresses.midi", size="m",
    condition="good", colors=("blue",), price=Money(amount=2500), sku="A-17", photos=(PHOTO,),
    package=Package(weight_oz=12), shipping_payer="buyer",
)  # fmt: skip


def composed(listing=DRESS, defaults=None, **changes):
    return form.compose(listing.model_copy(update=changes), defaults or {})[:2]


def only_problem(**changes):
    draft, problems = composed(**changes)
    assert draft is None
    assert len(problems) == 1, problems
    assert problems[0].message.startswith("Poshmark: ")
    return problems[0]


def test_a_whole_listing_becomes_a_draft_in_the_sites_words():
    draft, problems = composed()
    assert problems == []
    assert draft.category == ("Women", "Dresses", "Midi")
    assert (draft.size, draft.condition, draft.colors) == ("M", "Good", ("Blue",))
    assert (draft.sku, draft.brand) == ("A-17", "J. Crew")
    assert draft.options == {"smart_sell": False}
    assert draft.shipping == {"discount": "None"}


def test_an_empty_listing_is_asked_for_everything_at_once():
    draft, problems = form.compose(ListingFacts(), {})[:2]
    assert draft is None
    assert {problem.field for problem in problems} == {
        "title", "description", "brand", "category", "condition", "price", "photos",
    }  # fmt: skip
    assert {problem.code for problem in problems} == {"missing"}


@pytest.mark.parametrize(
    ("change", "field", "code", "limit"),
    [
        ({"title": "x" * 81}, "title", "too_long", 80),
        ({"title": "👗" * 41}, "title", "too_long", 80),
        ({"description": "x" * 1501}, "description", "too_long", 1500),
        ({"price": Money(amount=2550)}, "price", "not_whole", 100),
        ({"price": Money(amount=0)}, "price", "too_low", 300),
        ({"price": Money(amount=-500)}, "price", "too_low", 300),
        ({"price": Money(amount=200)}, "price", "too_low", 300),
        ({"price": Money(amount=100_000_100)}, "price", "too_high", 100_000_000),
        ({"price": Money(amount=2500, currency="EUR")}, "price", "not_accepted", None),
        ({"original_price": Money(amount=6050)}, "original_price", "not_whole", 100),
        ({"photos": (PHOTO,) * 40}, "photos", "too_many", 16),
        ({"photos": ()}, "photos", "missing", 1),
        ({"tags": ("a", "b", "c", "d")}, "tags", "too_many", 3),
        ({"colors": ("red", "blue", "green")}, "colors", "too_many", 2),
        ({"condition": "poor"}, "condition", "not_accepted", "New With Tags (NWT), Like New, Good, Fair"),
        ({"condition": "new_with_flaws"}, "condition", "not_accepted", None),
        ({"size": None}, "size", "missing", None),
        ({"size": "enormous"}, "size", "not_accepted", None),
        ({"brand": "  "}, "brand", "missing", None),
        ({"sku": "x" * 43}, "sku", "too_long", 42),
        ({"quantity": 0}, "quantity", "too_few", 1),
        ({"quantity": 100}, "quantity", "too_many", 99),
        ({"package": Package(weight_oz=241)}, "package", "too_high", 240),
        ({"category": "books.fiction"}, "category", "not_accepted", None),
        ({"category": "no.such"}, "category", "not_accepted", None),
    ],
)
def test_what_does_not_fit_is_named_with_its_limit(change, field, code, limit):
    problem = only_problem(**change)
    assert (problem.field, problem.code) == (field, code)
    if limit is not None:
        assert problem.limit == limit


def test_no_brand_is_said_and_not_guessed():
    draft, _ = composed(brand="Unbranded")
    assert draft.brand is None


@pytest.mark.parametrize("color", sorted(set(COLORS) - set(form.COLORS)))
def test_a_colour_without_an_equal_is_asked_for_and_not_guessed(color):
    problem = only_problem(colors=(color,))
    assert (problem.field, problem.code) == ("colors", "not_accepted")
    assert color in problem.message
    draft, _ = composed(colors=(color,), overrides={"poshmark": {"colors": ["blue"]}})
    assert draft.colors == ("Blue",)


def test_what_moves_the_price_is_off_unless_chosen_with_a_floor():
    _, problems = composed(defaults={"smart_sell": True})
    assert [problem.field for problem in problems] == ["defaults.smart_sell_minimum"]
    draft, _ = composed(defaults={"smart_sell": True, "smart_sell_minimum": 2000})
    assert draft.options == {"smart_sell": True}
    assert draft.specifics["Smart Sell minimum"] == "20"
    draft, _ = composed(
        defaults={"smart_sell": True, "smart_sell_minimum": 2000},
        overrides={"poshmark": {"smart_sell": False}},
    )
    assert draft.options == {"smart_sell": False}


def test_who_pays_the_postage_decides_the_discount_unless_it_is_chosen():
    draft, _ = composed(shipping_payer="seller")
    assert draft.shipping == {"discount": "-$6.49 (free)"}
    draft, _ = composed(shipping_payer="seller", defaults={"shipping_discount": "partial"})
    assert draft.shipping == {"discount": "-$1.50"}
    _, problems = composed(defaults={"shipping_discount": "half"})
    assert [problem.field for problem in problems] == ["defaults.shipping_discount"]


@pytest.mark.parametrize(
    ("ounces", "cents"), [(1, 0), (80, 0), (81, 500), (160, 500), (161, 1000), (240, 1000)]
)
def test_a_heavier_label_costs_more(ounces, cents):
    assert form.label_surcharge(ounces) == cents


def test_an_override_stands_instead_of_the_listing():
    own = {
        "title": "Own title",
        "category": "Women > Dresses > High Low",
        "size": "M",
        "price": {"amount": 900},
    }
    draft, problems = composed(overrides={"poshmark": own})
    assert problems == []
    assert (draft.title, draft.category, draft.price.amount) == (
        "Own title", ("Women", "Dresses", "High Low"), 900,
    )  # fmt: skip


def test_an_override_that_is_nonsense_is_said():
    _, problems = composed(overrides={"poshmark": {"price": "cheap"}})
    assert [problem.field for problem in problems] == ["overrides"]


def test_of_sizes_that_are_few_all_are_told_and_of_many_that_there_are_others():
    for category, end in (("men.shirts.casual", ", One Size"), ("women.dresses.midi", " and others")):
        _, (problem,) = composed(category=category, size="enormous")
        assert problem.message.rstrip(".").endswith(end)


def test_what_comes_in_one_size_only_needs_no_size():
    for category in ("women.bags.totes", "toys.plush", "home.vases"):
        draft, problems = composed(category=category, size=None)
        assert problems == []
        assert (draft.size, draft.specifics["Size tab"]) == ("OS", "Standard")
    draft, _ = composed(category="home.wall_art", size="12 x 16 in")
    assert draft.size == "12 x 16 in"


@pytest.mark.parametrize(
    ("category", "size", "tab"),
    [
        ("women.dresses.midi", "3X", "Plus"),
        ("women.dresses.midi", "5", "Custom"),
        ("men.jeans.slim", "32x30", "Custom"),
        ("men.jeans.slim", "32", "Standard"),
        ("kids.girls.tops", "6X", "Girls"),
        ("kids.baby.boys_tops", "0-3 Months", "Baby"),
        ("women.shoes.heels", "8.5", "Standard"),
        ("women.jewelry.rings", "7", "Standard"),
    ],
)
def test_a_size_is_looked_for_in_its_tab(category, size, tab):
    draft, problems = composed(category=category, size=size)
    assert problems == []
    assert (draft.size, draft.specifics["Size tab"]) == (size, tab)


def test_each_of_our_categories_has_a_place_or_is_asked_for():
    assert set(menu.CATEGORIES) <= set(taxonomy.CATEGORIES)
    for path in menu.CATEGORIES.values():
        assert len(path) in (2, 3)
        assert path[0] in menu.DEPARTMENTS
    assert set(menu.STANDARD) <= set(taxonomy.SIZE_SCALES)
    assert len(menu.CATEGORIES) > 150


def test_each_place_is_in_the_practice_menu():
    from everystall.sandbox.poshmark.menu import CATALOG

    there = {
        (one["name"], two["name"], *sub)
        for one in CATALOG
        for two in one["categories"]
        for sub in [(), *((feature["name"],) for feature in two["features"])]
    }
    assert set(menu.CATEGORIES.values()) <= there


def test_each_condition_is_mapped_or_asked_for():
    for condition in CONDITIONS:
        draft, problems = composed(condition=condition)
        assert (draft is None) == (condition in ("new_with_flaws", "poor"))
        assert bool(problems) == (draft is None)


def test_whose_a_session_is_stands_in_the_ui_cookie():
    uid = "5f" * 12
    cookie = {"name": "ui", "value": quote(json.dumps({"dh": "alice", "uid": uid}))}
    jwt = {"name": "jwt", "value": "x.y.z"}
    assert form.read_account({"cookies": [jwt, cookie]}) == Account(id=uid, name="alice")
    assert form.read_account({"cookies": []}).id is None


@given(st.text(max_size=400))
def test_any_ui_cookie_is_read_without_an_error(value):
    account = form.read_account({"cookies": [{"name": "ui", "value": value}]})
    assert account.id is None or len(account.id) == 24


@given(
    title=st.text(max_size=200), description=st.text(max_size=2000), price=st.integers(-10_000, 10**9),
    quantity=st.integers(-2, 200), photos=st.integers(0, 40), size=st.text(max_size=12),
    category=st.sampled_from([*taxonomy.CATEGORIES, "nonsense", None]),
    condition=st.sampled_from([*CONDITIONS, None]),
    colors=st.lists(st.sampled_from(COLORS), max_size=4), tags=st.lists(st.text(max_size=20), max_size=5),
    sku=st.text(max_size=60), brand=st.text(max_size=40),
)  # fmt: skip
def test_a_draft_is_always_within_the_limits_and_nothing_is_cut(**facts):
    photos = (PHOTO,) * facts.pop("photos")
    price = Money(amount=facts.pop("price"))
    listing = ListingFacts(price=price, photos=photos, **facts)
    draft, problems = form.compose(listing, {})[:2]
    assert (draft is None) == bool(problems)
    if draft is None:
        return
    assert draft.title.split() == (listing.title or "").split()
    assert form.count(draft.title) <= 80
    assert form.count(draft.description) <= 1500
    assert draft.price == price
    assert draft.price.amount % 100 == 0
    assert 300 <= draft.price.amount <= 100_000_000
    assert len(draft.photos) == len(photos) <= 16
    assert len(draft.colors) == len(set(facts["colors"])) <= 2
    assert form.compose(listing, {})[:2] == (draft, [])


def test_what_poshmark_has_no_place_for_is_said():
    told = ListingFacts(
        specifics={"Era": "1970s"}, ships_from_zip="94110",
        package=Package(weight_oz=12, length_in=12, width_in=9, height_in=2.5),
        overrides={"poshmark": {"discount": True}},
    )  # fmt: skip
    notes = form.compose(told, {})[2]
    assert {note.field: note.message for note in notes} == {
        "specifics": "Poshmark has no field for further facts: “Era: 1970s” is not sent.",
        "package": "Poshmark has no field for the package's weight and size: “12 oz, 12 × 9 × 2.5 in” is "
        "not sent.",
        "ships_from_zip": "Poshmark has no field for the ZIP code that you ship from: “94110” is not sent.",
        "overrides.poshmark.discount": "Poshmark has no setting “discount”: it is not used.",
    }
    assert form.compose(ListingFacts(), {})[2] == []
