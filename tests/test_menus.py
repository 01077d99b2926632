"""What a marketplace is said to have to choose from, its own form takes as it stands."""

from __future__ import annotations

import pytest

from everystall.inventory.sample import DEFAULTS
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import ListingFacts, Money, Package, PhotoFacts
from everystall.marketplaces.taxonomy import CATEGORIES

ALL = pytest.mark.parametrize("place", MARKETPLACES)


def shirt(place, **own):
    """Complete, and otherwise for one marketplace."""
    return ListingFacts(
        title="Linen shirt, hardly worn", description="A light linen shirt, worn twice, no flaws.",
        brand="Levi's", category="men.shirts.casual", size="M", condition="good", colors=("blue",),
        price=Money(amount=2500), shipping_payer="buyer", ships_from_zip="97205",
        package=Package(weight_oz=12, length_in=12, width_in=9, height_in=2),
        photos=(PhotoFacts(sha256="0" * 64, width=800, height=800, content_type="image/jpeg"),),
        overrides={place: {**DEFAULTS.get(place, {}), **own}},
    )  # fmt: skip


@ALL
def test_every_path_that_is_offered_is_where_it_goes(place):
    form = get_form(place)
    for path in form.PATHS:
        _, problems, _ = form.compose(shirt(place, category=" > ".join(path)), {})
        assert not [one for one in problems if one.field == "category"], path
    assert not [path for path in form.PATHS if "{" in " ".join(path)]
    draft, problems, _ = form.compose(shirt(place), {})
    assert (draft.category in form.PATHS, problems) == (True, [])


@ALL
def test_a_path_brings_its_own_sizes_and_conditions_and_each_is_taken(place):
    form = get_form(place)
    sized = 0
    for path in form.PATHS:
        there = form.menu_of(shirt(place, category=" > ".join(path)))
        assert there.category == form.menu_of(shirt(place)).category  # as it would be without
        assert there.conditions, path
        sized += bool(there.sizes)
        for name, offered in (("size", there.sizes), ("condition", there.conditions)):
            for one in dict.fromkeys([*offered[:1], *offered[len(offered) // 2 :][:1], *offered[-1:]]):
                draft, problems, _ = form.compose(shirt(place, category=" > ".join(path), **{name: one}), {})
                assert not [problem for problem in problems if problem.field == name], (path, one)
                if draft is not None:
                    assert getattr(draft, name) == one, path
    assert sized > 50


@ALL
def test_it_shows_what_our_own_words_are_there(place):
    form = get_form(place)
    draft, _, _ = form.compose(shirt(place), {})
    there = form.menu_of(shirt(place))
    assert (there.category, there.condition) == (draft.category, draft.condition)
    assert (there.condition in there.conditions, draft.size in there.sizes) == (True, True)
    empty = form.menu_of(ListingFacts(overrides={place: {"price": "nonsense"}}))
    assert (empty.category, empty.condition, empty.sizes) == ((), None, ())
    for key in CATEGORIES:
        assert "{" not in " ".join(form.menu_of(ListingFacts(category=key)).category)


def test_a_size_is_of_the_place_that_was_chosen_there_and_not_of_our_category():
    """A shirt that is sold among jeans on one marketplace is measured there as jeans are."""
    for place, path, size, there in (
        ("poshmark", "Men > Jeans > Straight", "32", "32"),
        ("mercari", "Men > Jeans > Classic, straight leg", "32", "32 in."),
        ("ebay", "Clothing, Shoes & Accessories > Men > Men's Clothing > Jeans", "32", "32"),
    ):
        form = get_form(place)
        assert tuple(path.split(" > ")) in form.PATHS, place
        draft, problems, _ = form.compose(shirt(place, category=path, size=size), {})
        assert (draft.size, problems) == (there, []), place
        draft, problems, _ = form.compose(shirt(place, size="32"), {})
        assert [problem.field for problem in problems] == ["size"], place
