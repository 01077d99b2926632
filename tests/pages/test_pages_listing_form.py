"""The editor's form by itself: it reads what it shows, and changes what was changed in it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everystall.marketplaces.taxonomy import CATEGORIES
from everystall.web.listings import ListingOut, PackageOut
from everystall.web.pages import listing_form
from everystall.web.shapes import MoneyOut

NOW = datetime(2026, 11, 26, 20, tzinfo=UTC)
EMPTY = {
    "title": None, "description": None, "brand": None, "category": None, "size": None, "condition": None,
    "colors": [], "tags": [], "price": None, "prices": [], "next_drop": None, "original_price": None,
    "quantity": 1, "quantity_sold": 0, "sku": None, "package": PackageOut(), "ships_from_zip": None,
    "shipping_payer": None, "specifics": {}, "overrides": {}, "revision": 1, "photos": [], "publications": [],
    "delete_asked_at": None, "created_at": NOW, "updated_at": NOW, "listing_id": "x", "id": "x",
    "location": None, "cost": None, "labels": [],
}  # fmt: skip


def listing(**told):
    return ListingOut(**{**EMPTY, **told})


def sent(before, **typed):
    """The form of a page that was opened while the listing was `before`, with this typed into it."""
    marks = {f"was.{name}": [mark] for name, mark in listing_form.marks(before).items()}
    texts = {name: [one] if isinstance(one, str) else one for name, one in typed.items()}
    return {**marks, **listing_form.texts(before), **texts}


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=30)
listings = st.builds(
    listing,
    title=st.none() | texts,
    description=st.none() | texts,
    brand=st.none() | texts,
    category=st.none() | st.sampled_from(sorted(CATEGORIES)) | texts,
    tags=st.lists(texts, max_size=4),
    colors=st.lists(st.sampled_from(["red", "navy", "mauve"]), max_size=4),
    price=st.none() | st.builds(MoneyOut, amount=st.integers(1, 10**9), currency=st.just("USD")),
    cost=st.none() | st.builds(MoneyOut, amount=st.integers(0, 10**9), currency=st.just("USD")),
    location=st.none() | texts,
    labels=st.lists(texts, max_size=4),
    package=st.builds(
        PackageOut,
        weight_oz=st.none() | st.integers(1, 2400),
        length_in=st.none() | st.floats(0.01, 200),
    ),
    specifics=st.dictionaries(texts, texts, max_size=3),
    overrides=st.dictionaries(
        st.sampled_from(["ebay", "mercari"]),
        st.fixed_dictionaries(
            {},
            optional={
                "title": texts, "category": texts | st.lists(texts, max_size=3), "condition": texts,
                "price": st.fixed_dictionaries(
                    {"amount": st.integers(1, 10**8), "currency": st.just("USD")}
                ),
                "shippingPolicy": texts,
            },
        ),
    ),
)  # fmt: skip


@settings(deadline=None)
@given(listings)
def test_a_form_that_nobody_touched_changes_nothing(one):
    found = listing_form.read(sent(one), one)
    assert (found.values, found.wrong, found.met) == ({}, {}, {})
    assert found.same == set(listing_form.PARTS)


@pytest.mark.longer
@settings(deadline=None)
@given(listings, listings)
def test_a_form_that_nobody_touched_changes_nothing_whatever_was_saved_meanwhile(before, now):
    found = listing_form.read(sent(before), now)
    assert (found.values, found.wrong, found.met) == ({}, {}, {})


@settings(deadline=None)
@given(st.integers(1, 10**9))
def test_an_amount_is_read_as_it_is_shown(amount):
    assert listing_form.cents(listing_form.dollars(amount))["amount"] == amount
    assert listing_form.cents(f"$ {amount / 100:,.2f}")["amount"] == amount


@pytest.mark.parametrize(
    "text", ["12,50", "1e3", "-5", "12.505", "twelve", "NaN", "$", "0", "0.00", "9" * 30]
)
def test_what_is_no_amount_is_never_guessed(text):
    found = listing_form.read(sent(listing(), price=text), listing())
    assert list(found.wrong) == ["price"]
    assert found.values == {}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Women > Dresses > Midi dresses", "women.dresses.midi"),
        ("women>dresses>midi dresses", "women.dresses.midi"),
        ("women.dresses.midi", "women.dresses.midi"),
        ("midi dresses", "women.dresses.midi"),
        ("", None),
    ],
)
def test_a_category_is_known_by_its_name(text, key):
    before = listing(category="home.decor")
    assert listing_form.read(sent(before, category=text), before).values == {"category": key}


def test_a_category_that_is_none_is_refused_with_what_is_near():
    found = listing_form.read(sent(listing(), category="sneeker"), listing())
    assert "Sneakers" in found.wrong["category"]


def test_what_was_changed_here_is_saved_and_what_was_changed_elsewhere_stays():
    before = listing(title="Shirt", brand="Acme")
    now = listing(title="Shirt", brand="Zenith")
    found = listing_form.read(sent(before, title="Linen shirt"), now)
    assert (found.values, found.met) == ({"title": "Linen shirt"}, {})
    assert found.was["brand"] == listing_form.marks(before)["brand"]


def test_what_was_changed_here_and_elsewhere_waits_for_an_answer():
    before, now = listing(title="Shirt"), listing(title="Blue shirt")
    form = sent(before, title="Linen shirt")
    found = listing_form.read(form, now)
    assert (found.values, found.met["title"].said) == ({}, "Blue shirt")
    keep = {**form, "keep": [f"title {found.met['title'].mark}"]}
    assert listing_form.read(keep, now).values == {"title": "Linen shirt"}
    # a third change, which its seller has not seen, is asked about anew
    third = listing_form.read(keep, listing(title="Red shirt"))
    assert (third.values, third.met["title"].said) == ({}, "Red shirt")
    taken = listing_form.read({**form, "take": ["title"]}, now)
    assert (taken.values, taken.met, taken.wrong) == ({}, {}, {})


def test_the_same_change_here_and_elsewhere_is_no_question():
    before, now = listing(price=None), listing(price=MoneyOut(amount=4900, currency="USD"))
    found = listing_form.read(sent(before, price="49.00"), now)
    assert (found.values, found.met) == ({}, {})
    assert "price" in found.same


def test_weight_is_pounds_and_ounces_and_specifics_are_pairs():
    found = listing_form.read(
        sent(
            listing(), weight_lb="1", weight_oz="4", length_in="9.5",
            specific_name=["Material", "Department", ""], specific_value=["Cotton", "", ""],
        ),
        listing(),
    )  # fmt: skip
    assert found.values == {
        "package": {"weightOz": 20, "lengthIn": 9.5}, "specifics": {"Material": "Cotton"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "part"),
    [
        ({"specific_name": ["", ""], "specific_value": ["Cotton", ""]}, "specifics"),
        ({"specific_name": ["A", "A"], "specific_value": ["1", "2"]}, "specifics"),
        ({"quantity": ""}, "quantity"),
        ({"quantity": "two"}, "quantity"),
        ({"weight_oz": "5.5"}, "package"),
        ({"length_in": "long"}, "package"),
        ({"ships_from_zip": "Oregon"}, "ships_from_zip"),
        ({"title": "x" * 1001}, "title"),
        ({"weight_lb": "200"}, "package"),
        ({"ebay.title": "two\nlines"}, "ebay.title"),
    ],
)
def test_what_is_wrong_is_told_at_its_part_and_the_rest_is_saved(typed, part):
    one = listing()
    found = listing_form.read(sent(one, brand="Acme", **typed), one)
    body = listing_form.body_of(found, one)
    assert list(found.wrong) == [part]
    assert found.wrong[part][:1].isupper()
    assert found.wrong[part].endswith((".", "?"))
    assert body.model_fields_set == {"brand"}


def test_an_own_value_is_set_and_taken_back_and_the_others_stay():
    before = listing(overrides={"ebay": {"title": "Theirs", "shippingPolicy": "Fast"}})
    found = listing_form.read(sent(before, **{"ebay.title": "", "mercari.price": "12"}), before)
    assert listing_form.body_of(found, before).overrides == {
        "ebay": {"shippingPolicy": "Fast"}, "mercari": {"price": {"amount": 1200, "currency": "USD"}},
    }  # fmt: skip
    assert before.overrides == {"ebay": {"title": "Theirs", "shippingPolicy": "Fast"}}


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("men > dresses", "men > dresses"),  # we do not hold all of its menu
        ("women>dresses > MIDI", "Women > Dresses > Midi"),
        ("women.dresses.midi", "women.dresses.midi"),  # one of ours
        ("", None),
    ],
)
def test_an_own_category_is_a_path_of_that_marketplace(typed, kept):
    before = listing(overrides={"poshmark": {"category": "Men > Jeans > Slim"}})
    found = listing_form.read(sent(before, **{"poshmark.category": typed}), before)
    assert (found.values, found.wrong) == ({"poshmark.category": kept}, {})


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("dresses", "Women > Dresses > "),
        ("spaceship", None),
        # a single one is no more meant than several; what is called so comes first
        ("dresses midi", "Women > Dresses > Midi."),
        ("cap", "Near it: Women > Pants & Jumpsuits > Capris."),
        ("boots", "Near it: Men > Shoes > Boots; "),
    ],
)
def test_an_own_category_that_is_no_path_is_refused_with_what_is_near(typed, near):
    found = listing_form.read(sent(listing(), **{"poshmark.category": typed}), listing())
    said = found.wrong["poshmark.category"]
    assert f"“{typed}” is no category on Poshmark" in said
    assert found.values == {}
    assert (near or "Write its own menu") in said


def test_an_own_policy_is_set_and_taken_back_under_the_name_that_the_api_has():
    before = listing(overrides={"ebay": {"shippingPolicy": "Ground"}})
    form = sent(before, **{"ebay.shipping_policy": "", "ebay.return_policy": "No returns", "ebay.size": "L"})
    found = listing_form.read(form, before)
    assert listing_form.body_of(found, before).overrides == {
        "ebay": {"returnPolicy": "No returns", "size": "L"}
    }
