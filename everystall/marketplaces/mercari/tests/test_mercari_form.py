import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everystall.marketplaces import taxonomy
from everystall.marketplaces.base import Account, ListingFacts, Money, Package, PhotoFacts
from everystall.marketplaces.mercari import form, menu
from everystall.sandbox.mercari import menu as site

PHOTO = PhotoFacts(sha256="a" * 64, width=900, height=1200, content_type="image/jpeg")
WHOLE = ListingFacts(
    title="Blue linen dress",
    description="A blue linen dress, worn twice last summer.",
    brand="Everlane",
    category="women.dresses.midi",
    size="8",
    condition="good",
    price=Money(amount=2550),
    package=Package(weight_oz=12, length_in=10, width_in=8, height_in=2),
    ships_from_zip="94107",
    shipping_payer="buyer",
    photos=(PHOTO,),
)


def composed(**changes):
    return form.compose(WHOLE.model_copy(update=changes), {})[:2]


def named(problems):
    return [(problem.field, problem.code) for problem in problems]


def test_a_whole_listing_is_composed_in_the_sites_words():
    draft, problems = composed()
    assert problems == []
    assert draft.category == ("Women", "Dresses", "Midi")
    assert (draft.size, draft.condition, draft.brand) == ("M (8-10)", "Good", "Everlane")
    assert draft.price == Money(amount=2550)
    assert draft.shipping == {
        "payer": "buyer", "ships_from_zip": "94107", "weight_oz": 12, "carrier": "USPS",
        "fits_in_shoebox": True,
    }  # fmt: skip
    assert draft.options == {"smart_pricing": False}
    assert draft.sku is None


def test_an_empty_listing_is_told_everything_at_once():
    draft, problems = form.compose(ListingFacts(), {})[:2]
    assert draft is None
    assert {problem.field for problem in problems} == {
        "title", "description", "category", "brand", "condition", "price", "package", "ships_from_zip",
        "shipping_payer", "photos",
    }  # fmt: skip
    assert all(problem.code == "missing" and "Mercari" in problem.message for problem in problems)


@pytest.mark.parametrize(
    ("changes", "field", "code", "limit"),
    [
        ({"title": "x" * 81}, "title", "too_long", 80),
        ({"title": "👗" * 41}, "title", "too_long", 80),
        ({"description": "word " * 201}, "description", "too_long", 1000),
        ({"description": "only four words here"}, "description", "too_short", 5),
        ({"price": Money(amount=99)}, "price", "too_low", 100),
        ({"price": Money(amount=0)}, "price", "too_low", 100),
        ({"price": Money(amount=-500)}, "price", "too_low", 100),
        ({"price": Money(amount=200_001)}, "price", "too_high", 200_000),
        ({"price": Money(amount=2000, currency="EUR")}, "price", "not_accepted", None),
        ({"quantity": 2}, "quantity", "too_many", 1),
        ({"photos": (PHOTO,) * 13}, "photos", "too_many", 12),
        ({"photos": ()}, "photos", "missing", 1),
        ({"brand": None}, "brand", "missing", None),
        ({"size": None}, "size", "missing", None),
        ({"ships_from_zip": "9410"}, "ships_from_zip", "not_accepted", None),
        ({"package": Package(weight_oz=0, length_in=1, width_in=1, height_in=1)}, "package", "too_low", 1),
        ({"package": Package(weight_oz=12)}, "package", "missing", None),
        ({"package": Package(weight_oz=200, length_in=9, width_in=9, height_in=9)}, "defaults.carrier",
         "missing", None),
        ({"category": "men.accessories.jewelry"}, "category", "not_accepted", None),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_its_limit(changes, field, code, limit):
    draft, problems = composed(**changes)
    assert draft is None
    assert [(p.field, p.code, p.limit) for p in problems] == [(field, code, limit)]


def test_a_size_that_the_site_does_not_have_is_asked_for_and_not_rounded():
    draft, problems = composed(category="men.jeans.slim", size="35x32")
    assert draft is None
    assert named(problems) == [("size", "not_accepted")]
    assert "34 in." in problems[0].message


def test_new_with_flaws_has_no_word_there():
    assert named(composed(condition="new_with_flaws")[1]) == [("condition", "not_accepted")]


def test_unbranded_is_no_brand():
    draft, problems = composed(brand="Unbranded")
    assert problems == []
    assert draft.brand is None


def test_a_big_parcel_is_measured():
    package = Package(weight_oz=40, length_in=20, width_in=14, height_in=4.5)
    draft, _ = composed(package=package)
    assert draft.shipping["fits_in_shoebox"] is False
    assert [draft.shipping[side] for side in ("length_in", "width_in", "height_in")] == [20.0, 14.0, 4.5]


def test_the_accounts_defaults_fill_only_what_the_listing_leaves_open():
    defaults = {"ships_from_zip": "10001", "shipping_payer": "seller", "carrier": "ups"}
    draft, problems = form.compose(WHOLE.model_copy(update={"ships_from_zip": None}), defaults)[:2]
    assert problems == []
    assert draft.shipping["ships_from_zip"] == "10001"
    assert draft.shipping["payer"] == "buyer"
    assert draft.shipping["carrier"] == "UPS"


def test_overrides_for_mercari_stand_instead_of_the_listing():
    overrides = {"mercari": {"title": "A dress", "category": "Women > Dresses > Other", "quantity": 1}}
    draft, problems = composed(overrides=overrides, quantity=4)
    assert problems == []
    assert (draft.title, draft.category) == ("A dress", ("Women", "Dresses", "Other"))


def test_a_malformed_override_is_a_problem_and_not_a_crash():
    assert named(composed(overrides={"mercari": {"price": "many"}})[1]) == [("overrides", "not_accepted")]


def test_smart_pricing_is_off_unless_chosen_with_a_floor():
    assert composed()[0].options == {"smart_pricing": False}
    assert named(form.compose(WHOLE, {"smart_pricing": True})[1]) == [
        ("defaults.smart_pricing_floor", "missing")
    ]
    draft, _ = form.compose(WHOLE, {"smart_pricing": True, "smart_pricing_floor": 2000})[:2]
    assert draft.options == {"smart_pricing": True}
    assert draft.specifics == {"Smart Pricing floor": "20.00"}


def test_a_babys_size_decides_the_last_step_of_the_menu():
    draft, _ = composed(category="kids.baby.girls_tops", size="3-6 months")
    assert (draft.category[-1], draft.size) == ("Girls 0-24 mos", "3-6 Months")
    draft, _ = composed(category="kids.baby.girls_tops", size="3T")
    assert (draft.category[-1], draft.size) == ("Girls 2T-5T", "3T")


@pytest.mark.parametrize("path", [
    ("Kids", middle, leaf) for middle, leaves in site.TREE["Kids"].items() for leaf in leaves
], ids=" > ".join)  # fmt: skip
def test_what_is_offered_for_a_child_is_what_the_site_has_at_that_age(path):
    own = {"mercari": {"category": " > ".join(path)}}
    assert path in form.PATHS
    sizes = form.menu_of(WHOLE.model_copy(update={"overrides": own})).sizes
    assert sorted(sizes) == sorted(site.SIZES[site.size_group(list(path))])


@pytest.mark.parametrize("key", [key for key in menu.CATEGORIES if key.startswith("kids.")])
def test_each_size_that_is_offered_for_a_child_says_where_it_goes(key):
    sizes = form.menu_of(WHOLE.model_copy(update={"category": key})).sizes
    for size in sizes:
        draft, problems = composed(category=key, size=size)
        assert problems == [], size
        assert draft.size in site.SIZES[site.size_group(list(draft.category))], size
    assert ("4Y" in sizes, "2T" in sizes) == ("shoes" in key, "baby" in key)


def test_a_shoe_size_that_a_baby_and_a_youth_may_have_is_asked_for():
    for size, leaf in (("4C", "Boys 0-24 mos"), ("4Y", "Boys (4+)"), ("9", "Boys 2T-5T")):
        draft, _ = composed(category="kids.boys.shoes", size=size)
        assert draft.category[-1] == leaf
    assert named(composed(category="kids.boys.shoes", size="4")[1]) == [("size", "not_accepted")]
    own = {"mercari": {"category": "Kids > Boys shoes > Boys 0-24 mos"}}
    assert composed(category="kids.boys.shoes", size="4", overrides=own)[0].size == "4"
    for size in ("4Y", "5"):
        problems = composed(category="kids.boys.shoes", size=size, overrides=own)[1]
        assert named(problems) == [("size", "not_accepted")]


@pytest.mark.parametrize(
    ("category", "size", "label"),
    [
        ("women.tops.tees", "xl", "XL (16-18)"), ("women.tops.tees", "5", "S (3-5)"),
        ("women.tops.tees", "4", "S (4-6)"), ("women.tops.tees", "2X", "2XL (20-22)"),
        ("women.jeans.skinny", "28", "28 in."), ("men.jeans.straight", "32 x 30", "32 in."),
        ("men.shirts.tees", "XXL", "XXL (50-52)"), ("men.shoes.boots", "10.5", "10.5 (43.5)"),
        ("women.shoes.heels", "8", "8 (38.5)"), ("women.intimates.bras", "34DD", "34E (DD)"),
        ("men.suits.suits", "42R", "42R"), ("kids.boys.tops", "6X", "S (6-7)"),
    ],
)  # fmt: skip
def test_sizes_become_the_sites_labels(category, size, label):
    draft, problems = composed(category=category, size=size)
    assert problems == []
    assert draft.size == label


@pytest.mark.parametrize("key", menu.CATEGORIES)
def test_every_category_and_size_we_map_is_in_the_sites_menu(key):
    assert key in taxonomy.CATEGORIES
    path, group = menu.CATEGORIES[key]
    ages = ("0-24 mos", "2T-5T", "(4+)") if group == "kids_shoes" else ("0-24 mos", "2T-5T")
    for leaf in [path[-1].replace("{age}", age) for age in ages]:
        assert leaf in site.TREE[path[0]][path[1]]
        theirs = site.size_group([*path[:2], leaf])
        assert (theirs is None) == (group is None)
    assert len(set(path)) == len(path)  # the adapter waits for a step's row to go
    ours = taxonomy.CATEGORIES[key]
    for size in taxonomy.SIZE_SCALES[ours.size_scale] if group and ours.size_scale else ():
        draft, problems = composed(category=key, size=size)
        if draft is not None:
            assert draft.size in site.SIZES[site.size_group(list(draft.category))]
        else:
            assert named(problems) == [("size", "not_accepted")]


def test_whose_session_it_is_stands_in_the_token_of_the_cookie():
    def packed(value):
        return base64.b64encode(json.dumps(value).encode()).decode()

    token = f"{packed({'alg': 'ES256'})}.{packed({'sub': 163255207})}.x"
    cookie = {"name": "_mwus", "value": packed({"accessToken": token})}
    assert form.read_account({"cookies": [cookie]}) == Account(id="163255207")


@given(st.text())
def test_a_malformed_cookie_is_nobodys(value):
    assert form.read_account({"cookies": [{"name": "_mwus", "value": value}]}) == Account(id=None)


text = st.none() | st.text(max_size=1100)


@given(
    title=text, description=text, brand=text, size=text, condition=text, zip_code=text,
    category=st.none() | st.sampled_from(list(taxonomy.CATEGORIES)) | st.text(max_size=20),
    amount=st.integers(-(10**6), 10**6), quantity=st.integers(-2, 5),
    package=st.builds(
        Package, weight_oz=st.none() | st.integers(-5, 5000),
        length_in=st.none() | st.floats(-5, 100), width_in=st.none() | st.floats(-5, 100),
        height_in=st.none() | st.floats(-5, 100),
    ),
    photos=st.integers(0, 14),
)  # fmt: skip
def test_a_draft_is_always_within_the_limits(
    title, description, brand, size, condition, zip_code, category, amount, quantity, package, photos
):
    listing = WHOLE.model_copy(
        update={
            "title": title, "description": description, "brand": brand, "size": size, "condition": condition,
            "ships_from_zip": zip_code, "category": category, "price": Money(amount=amount),
            "quantity": quantity, "package": package, "photos": (PHOTO,) * photos,
        }
    )  # fmt: skip
    draft, problems = form.compose(listing, {})[:2]
    assert (draft is None) == bool(problems)
    for problem in problems:
        assert problem.message.startswith("Mercari: ")
    if draft is not None:
        assert 1 <= form.count(draft.title) <= 80
        assert form.count(draft.description) <= 1000
        assert 100 <= draft.price.amount <= 200_000
        assert 1 <= len(draft.photos) <= 12
        assert draft.title == " ".join(title.split())


def test_what_mercari_has_no_place_for_is_said():
    told = ListingFacts(
        sku="A-17", tags=("linen", "summer"), colors=("blue", "cream"), original_price=Money(amount=6000),
        specifics={"Era": "1970s"}, category="women.bags.totes", size="Large",
    )  # fmt: skip
    notes = form.compose(told, {})[2]
    assert {note.field: note.message for note in notes} == {
        "sku": "Mercari has no field for a SKU: “A-17” is not sent.",
        "colors": "Mercari has no field for colours: “blue, cream” is not sent.",
        "tags": "Mercari has no field for tags: “linen, summer” is not sent.",
        "original_price": "Mercari has no field for an original price: “$60.00” is not sent.",
        "specifics": "Mercari has no field for further facts: “Era: 1970s” is not sent.",
        "size": "Mercari has no field for a size in that category: “Large” is not sent.",
    }
    assert form.compose(ListingFacts(), {})[2] == []
