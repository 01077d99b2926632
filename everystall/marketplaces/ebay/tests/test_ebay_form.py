"""The pure half: our listing in eBay's words, or everything that is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everystall.marketplaces import taxonomy
from everystall.marketplaces.base import (
    COLORS,
    CONDITIONS,
    Account,
    ListingFacts,
    Money,
    Package,
    PhotoFacts,
)
from everystall.marketplaces.ebay import form, menu
from everystall.sandbox.ebay import menu as site

PHOTO = PhotoFacts(sha256="a" * 64, width=900, height=1200, content_type="image/jpeg")
WHOLE = ListingFacts(
    title="Blue linen dress",
    description="A blue linen dress, worn twice last summer.",
    brand="Everlane",
    category="women.dresses.midi",
    size="M",
    condition="good",
    colors=("blue", "cream"),
    price=Money(amount=2550),
    quantity=2,
    sku="A-17",
    package=Package(weight_oz=20, length_in=10, width_in=8, height_in=2.5),
    ships_from_zip="94107",
    shipping_payer="buyer",
    photos=(PHOTO,),
)
DEFAULTS = {
    "shipping_policy": "Ground, buyer pays",
    "free_shipping_policy": "Free shipping",
    "payment_policy": "Immediate payment",
    "return_policy": "30 days, buyer pays",
}


def composed(defaults=DEFAULTS, **changes):
    return form.compose(WHOLE.model_copy(update=changes), defaults)[:2]


def named(problems):
    return [(problem.field, problem.code) for problem in problems]


def test_a_whole_listing_is_composed_in_the_sites_words():
    draft, problems = composed()
    assert problems == []
    assert draft.category == ("Clothing, Shoes & Accessories", "Women", "Women's Clothing", "Dresses")
    assert (draft.size, draft.condition, draft.brand) == ("M", "Pre-owned - Good", "Everlane")
    assert draft.colors == ("Blue",)
    assert draft.specifics == {
        "Brand": "Everlane", "Size Type": "Regular", "Size": "M", "Color": "Blue", "Department": "Women",
        "Type": "Dress",
    }  # fmt: skip
    assert (draft.price, draft.quantity, draft.sku) == (Money(amount=2550), 2, "A-17")
    assert draft.shipping == {
        "payer": "buyer", "ships_from_zip": "94107", "weight_oz": 20, "length_in": 10.0, "width_in": 8.0,
        "height_in": 2.5, "shipping_policy": "Ground, buyer pays", "payment_policy": "Immediate payment",
        "return_policy": "30 days, buyer pays",
    }  # fmt: skip
    assert draft.options == {"offers": False, "promotion": False}


def test_an_empty_listing_is_told_everything_at_once():
    draft, problems = form.compose(ListingFacts(), {})[:2]
    assert draft is None
    assert {problem.field for problem in problems} == {
        "title", "description", "category", "brand", "condition", "price", "package", "ships_from_zip",
        "shipping_payer", "photos", "defaults.shipping_policy", "defaults.payment_policy",
        "defaults.return_policy",
    }  # fmt: skip
    assert all(problem.code == "missing" and "eBay" in problem.message for problem in problems)


def test_offers_and_promotion_are_off_unless_the_seller_chose_them():
    draft, _ = composed({**DEFAULTS, "offers": True})
    assert draft.options == {"offers": True, "promotion": False}
    draft, _ = composed(overrides={"ebay": {"promotion": True}})
    assert draft.options == {"offers": False, "promotion": True}


def test_the_shipping_policy_follows_who_pays_and_a_listing_may_override_it():
    assert composed(shipping_payer="seller")[0].shipping["shipping_policy"] == "Free shipping"
    draft, _ = composed(shipping_payer="seller", overrides={"ebay": {"shipping_policy": "Oversize"}})
    assert draft.shipping["shipping_policy"] == "Oversize"
    without = {name: value for name, value in DEFAULTS.items() if name != "free_shipping_policy"}
    assert named(composed(without, shipping_payer="seller")[1]) == [
        ("defaults.free_shipping_policy", "missing")
    ]


def test_an_item_specific_that_ebay_asks_for_is_asked_by_name():
    draft, problems = composed(category="electronics.headphones", condition="good", size=None)
    assert draft is None
    assert named(problems) == [("specifics.Model", "missing")]
    assert "“Model”" in problems[0].message
    draft, _ = composed(category="electronics.headphones", specifics={"Model": "WH-1000XM4"})
    assert draft.specifics == {"Brand": "Everlane", "Model": "WH-1000XM4", "Color": "Blue"}
    _, problems = composed(category="women.bags.totes")
    assert named(problems) == [("specifics.Exterior Material", "missing")]
    draft, _ = composed(category="women.bags.totes", specifics={"Material": "Canvas"})
    assert draft.specifics == {
        "Brand": "Everlane", "Style": "Tote", "Exterior Color": "Blue", "Exterior Material": "Canvas",
        "Material": "Canvas",
    }  # fmt: skip
    draft, _ = composed(specifics={"size type": "Petites", "Type": "Wrap Dress", "Brand": "Other"})
    assert draft.specifics["Size Type"] == "Petites"
    assert draft.specifics["Type"] == "Wrap Dress"
    assert draft.specifics["Brand"] == draft.brand == "Everlane"
    assert "size type" not in draft.specifics


def test_what_the_demo_and_the_first_listing_of_a_seller_say_is_enough():
    policies = {name: DEFAULTS[name] for name in ("payment_policy", "return_policy", "shipping_policy")}
    shirt = {"category": "men.shirts.casual", "size": "M", "brand": "Levi's", "colors": ("blue",)}
    draft, problems = composed(policies, **shirt)
    assert problems == []
    assert draft.specifics["Department"] == "Men"
    prints = {"category": "home.wall_art", "size": None, "colors": ("brown", "cream"), "brand": "unbranded"}
    draft, problems = composed(policies, **prints, condition="new_without_tags")
    assert problems == []
    assert (draft.brand, draft.colors, draft.specifics) == (None, ("Brown",), {"Color": "Brown"})
    _, problems = composed({}, **shirt)
    assert {problem.field for problem in problems} == {f"defaults.{name}" for name in policies}


def test_a_listing_may_override_what_the_account_says():
    own = {"return_policy": "60 days", "title": "For eBay", "specifics": {"Type": "Sundress"}}
    draft, _ = composed(overrides={"ebay": own}, specifics={"Pattern": "Solid"})
    assert (draft.title, draft.shipping["return_policy"]) == ("For eBay", "60 days")
    assert (draft.specifics["Type"], draft.specifics["Pattern"]) == ("Sundress", "Solid")
    assert named(composed(overrides={"ebay": {"price": "a lot"}})[1]) == [("overrides", "not_accepted")]


def test_it_takes_one_colour_the_main_one_or_multicolor_for_three():
    assert composed(colors=("cream", "navy"))[0].colors == ("Ivory",)
    assert composed(colors=("red", "blue", "green"))[0].colors == ("Multicolor",)
    assert composed(specifics={"Color": "Teal"})[0].colors == ("Teal",)
    assert named(composed(colors=())[1]) == [("colors", "missing")]


def test_the_weight_is_asked_for_unless_the_policy_does_not_go_by_it():
    assert named(composed(package=Package())[1]) == [("package", "missing")]
    draft, problems = composed({**DEFAULTS, "postage_by_weight": False}, package=Package(length_in=3))
    assert problems == []
    assert "weight_oz" not in draft.shipping


@pytest.mark.parametrize(
    ("category", "condition", "label"),
    [
        ("women.dresses.midi", "new_with_flaws", "New with imperfections"),
        ("women.shoes.heels", "new_with_tags", "New with box"),
        ("women.jewelry.earrings", "like_new", "Pre-owned"),
        ("books.fiction", "fair", "Acceptable"),
        ("home.vases", "new_without_tags", "New other (see details)"),
    ],
)
def test_the_condition_is_said_in_the_words_of_its_category(category, condition, label):
    specifics = {"Author": "A", "Book Title": "B", "Language": "English"}
    draft, problems = composed(category=category, condition=condition, size="8", specifics=specifics)
    assert problems == []
    assert draft.condition == label


def test_a_condition_that_ebay_has_no_word_for_is_a_problem_and_its_own_words_may_be_set():
    _, problems = composed(condition="poor")
    assert named(problems) == [("condition", "not_accepted")]
    assert "Pre-owned - Fair" in problems[0].limit
    cards = {"category": "collectibles.trading_cards", "specifics": {"Game": "Magic"}}
    assert named(composed(**cards)[1]) == [("condition", "not_accepted")]
    draft, _ = composed(**cards, overrides={"ebay": {"condition": "Ungraded"}})
    assert draft.condition == "Ungraded"
    assert composed(overrides={"ebay": {"condition": "Ungraded"}})[0] is None


def test_sizes_are_ebays_and_what_is_no_standard_size_is_a_problem():
    assert composed(size="xxl")[0].size == "2XL"
    assert composed(size="1X")[0].specifics["Size Type"] == "Plus"
    assert composed(size="7")[0].specifics["Size Type"] == "Juniors"
    draft, _ = composed(category="men.jeans.slim", size="32 x 30")
    assert (draft.size, draft.specifics["Inseam"]) == ("32", "30 in")
    assert named(composed(size="Medium-ish")[1]) == [("size", "not_accepted")]
    assert named(composed(size=None)[1]) == [("size", "missing")]


def test_what_does_not_fit_is_reported_with_its_limit():
    photos = (PHOTO,) * 25
    _, problems = composed(
        title="x" * 81, description="y" * 4001, price=Money(amount=50), quantity=0, sku="s" * 43,
        photos=photos, package=Package(weight_oz=0), ships_from_zip="9410",
    )  # fmt: skip
    assert {(p.field, p.code, p.limit) for p in problems} == {
        ("title", "too_long", 80), ("description", "too_long", 4000), ("price", "too_low", 99),
        ("quantity", "too_few", 1), ("sku", "too_long", 42), ("photos", "too_many", 24),
        ("package", "too_low", 1), ("ships_from_zip", "not_accepted", None),
    }  # fmt: skip
    assert named(composed(title="👗" * 41)[1]) == [("title", "too_long")]
    assert named(composed(price=Money(amount=100, currency="EUR"))[1]) == [("price", "not_accepted")]
    assert named(composed(package=Package(weight_oz=9, width_in=0))[1]) == [("package", "not_accepted")]
    assert named(composed(specifics={"Care": "x" * 51})[1]) == [("specifics.Care", "too_long")]


def test_a_menu_of_ebays_own_may_be_set_for_the_listing():
    draft, problems = composed(
        size=None, overrides={"ebay": {"category": "Art > Paintings", "condition": "New"}}
    )
    assert problems == []
    assert (draft.category, draft.condition) == (("Art", "Paintings"), "New")


def test_no_brand_is_written_as_ebay_does_and_an_untold_one_is_asked():
    assert composed(brand="Unbranded")[0].brand is None
    assert named(composed(brand=None)[1]) == [("brand", "missing")]
    assert composed(brand=None, category="home.wall_art", size=None)[1] == []


def test_no_cookie_is_known_to_say_whose_session_it_is():
    assert form.read_account({"cookies": [{"name": "nonsession", "value": "x"}]}) == Account(None)


def test_every_category_of_ours_has_a_place_there_with_the_same_conditions_and_specifics():
    assert set(menu.PLACES) == set(taxonomy.CATEGORIES)
    there = {leaf.path: leaf for leaf in site.LEAVES.values()}
    for key, place in menu.PLACES.items():
        leaf = there[" > ".join(place.path)]
        kind = menu.KINDS[place.kind]
        assert set(kind.required) == set(site.GROUPS[leaf.group][1]), key
        assert set(menu.CONDITIONS[kind.conditions].values()) <= set(site.conditions(leaf)), key


@given(st.sampled_from([c for c in taxonomy.CATEGORIES.values() if c.size_scale]), st.data())
def test_every_size_of_ours_is_one_of_the_sites(category, data):
    size = data.draw(st.sampled_from(taxonomy.SIZE_SCALES[category.size_scale]))
    place = menu.PLACES[category.key]
    draft, problems = composed(
        category=category.key, size=size, condition="like_new",
        specifics={"Exterior Material": "Leather", "Type": "Whatever it is"},
    )  # fmt: skip
    assert problems == []
    leaf = next(one for one in site.LEAVES.values() if one.path == " > ".join(place.path))
    if draft.size is not None:
        assert draft.size in site.SIZES[leaf.group]
        assert draft.specifics.get("Size Type", "Regular") in ("Regular", "Plus", "Juniors", "Big & Tall")


facts = st.builds(
    ListingFacts,
    title=st.none() | st.text(max_size=100),
    description=st.none() | st.text(max_size=300),
    brand=st.none() | st.text(max_size=60),
    category=st.none() | st.sampled_from(sorted(taxonomy.CATEGORIES)) | st.text(max_size=10),
    size=st.none() | st.sampled_from(["M", "8", "32x30", "One Size", "12"]) | st.text(max_size=8),
    condition=st.none() | st.sampled_from(sorted(CONDITIONS)) | st.text(max_size=8),
    colors=st.lists(st.sampled_from(COLORS), max_size=5, unique=True).map(tuple),
    price=st.none() | st.builds(Money, amount=st.integers(-100, 10**9)),
    quantity=st.integers(-1, 20_000),
    sku=st.none() | st.text(max_size=60),
    package=st.builds(
        Package,
        weight_oz=st.none() | st.integers(-5, 3000),
        length_in=st.none() | st.floats(-5, 2000, allow_nan=False),
    ),
    ships_from_zip=st.none() | st.text(max_size=10) | st.just("94107"),
    shipping_payer=st.sampled_from([None, "buyer", "seller"]),
    specifics=st.dictionaries(st.text(max_size=50), st.text(max_size=60), max_size=3),
    photos=st.lists(st.just(PHOTO), max_size=26).map(tuple),
)


@given(facts)
def test_whatever_the_seller_writes_there_is_a_draft_within_limits_or_problems(listing):
    draft, problems = form.compose(listing, DEFAULTS)[:2]
    assert (draft is None) == bool(problems)
    assert all(problem.message.startswith("eBay: ") for problem in problems)
    if draft is not None:
        assert 1 <= form.count(draft.title) <= 80
        assert draft.price.amount >= 99
        assert 1 <= len(draft.photos) <= 24
        assert form.count(draft.sku or "") <= 42
        assert all(1 <= form.count(value) <= 50 for value in draft.specifics.values())
        assert all(draft.shipping[name] for name in form.POLICIES)
        assert draft.condition in site.CONDITIONS[menu.KINDS[menu.PLACES[listing.category].kind].conditions]


def test_what_ebay_has_no_place_for_is_said():
    told = WHOLE.model_copy(
        update={
            "original_price": Money(amount=6000), "tags": ("linen", "summer"),
            "specifics": {"Era": "1970s", "size": "10"}, "overrides": {"ebay": {"discount": True}},
        }
    )  # fmt: skip
    draft, problems, notes = form.compose(told, DEFAULTS)
    assert (draft is not None, problems) == (True, [])
    assert {note.field: note.message for note in notes} == {
        "original_price": "eBay has no field for an original price: “$60.00” is not sent.",
        "tags": "eBay has no field for tags: “linen, summer” is not sent.",
        "colors": "eBay takes one colour: “blue, cream” is sent as “Blue”.",
        "specifics.size": "eBay has one field “size”: “M” is sent there, “10” is not.",
        "overrides.ebay.discount": "eBay has no setting “discount”: it is not used.",
    }


def test_a_size_where_ebay_asks_for_none_is_said_and_nothing_is_said_where_all_is_sent():
    notes = form.compose(WHOLE.model_copy(update={"category": "women.bags.totes", "colors": ("blue",),
                                                  "specifics": {"Material": "Linen", "Style": "Tote"}}),
                         DEFAULTS)[2]  # fmt: skip
    assert [note.field for note in notes] == ["size"]
    assert form.compose(WHOLE.model_copy(update={"colors": ("blue",)}), DEFAULTS)[2] == []
