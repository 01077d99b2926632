"""Which listings of different marketplaces are the same thing, and what keeps them from being linked."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lookalikes import TRAPS, make
from benchmarks.matching import pairs_in
from everystall.content.photos import Fingerprint
from everystall.inventory.likeness import weigh
from everystall.inventory.matching import Matches, find_candidates, match
from everystall.inventory.traits import LiveListing, read
from everystall.marketplaces.base import Money


def photo(number: int, tint: tuple[int, int, int] = (90, 90, 90), bits: int = 0) -> Fingerprint:
    """One of many that are unlike each other; `bits` of it came out otherwise."""
    view = Random(number).getrandbits(64) ^ (1 << bits) - 1
    return Fingerprint((f"{view:016x}",), (tint,))


def listing(account: str = "poshmark", key: str = "1", **changes) -> LiveListing:
    return replace(
        LiveListing(
            account, key, title="Northfell linen shirt relaxed", brand="Northfell", size="M",
            price=Money(amount=2500), condition="Good", category=("Men", "Shirts"),
            photos=(photo(1), photo(2), photo(3)),
        ),
        **changes,
    )  # fmt: skip


def pairs(matches) -> set[tuple[str, str]]:
    return {(f"{m.one.account} {m.one.key}", f"{m.other.account} {m.other.key}") for m in matches}


def test_the_same_thing_is_linked_and_the_reasons_are_told():
    found = match([listing("ebay"), listing("mercari", title="Relaxed Northfell Linen Shirt", price=None)])
    assert pairs(found.linked) == {("ebay 1", "mercari 1")}
    assert found.linked[0].reasons == (
        "3 of 3 photos the same", "The same title", "The same brand", "The same size",
    )  # fmt: skip
    assert found.linked[0].doubts == ()
    assert not found.proposed
    assert [[one.account for one in group] for group in found.groups] == [["ebay", "mercari"]]


def test_a_thing_on_three_marketplaces_is_one_group():
    found = match([listing("ebay"), listing("mercari"), listing("poshmark")])
    assert len(found.groups) == 1
    assert len(found.groups[0]) == 3


def test_two_of_one_account_are_never_linked():
    assert match([listing(key="1"), listing(key="2")]) == Matches((), (), ())


def test_what_comes_twice_is_refused():
    with pytest.raises(ValueError, match="twice: poshmark 1"):
        match([listing(), listing()])


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"size": "L"}, "The sizes differ"),
        ({"size": None}, "Whether the sizes are the same is not told"),
        ({"size": "8"}, "Whether the sizes are the same is not told"),
        ({"sku": "B-2"}, "The SKUs differ"),
        ({"quantity": 3}, "One of them stands for several pieces"),
        ({"title": "Northfell linen shirt relaxed 505"}, "The numbers in the titles differ"),
        ({"condition": "New with tags"}, "One is new, the other worn"),
        ({"colors": ("Red",)}, "The colours differ"),
        ({"brand": "Kestrel"}, "The brands differ"),
        ({"photos": ()}, "Only one thing speaks for it: SKU, photos or title"),
        ({"photos": (photo(1), photo(8), photo(9))}, "Only one thing speaks for it: SKU, photos or title"),
    ],
)
def test_what_speaks_against_a_pair_is_asked_not_linked(changes, doubt):
    ours = listing(
        "ebay", sku="A-1", title="Northfell linen shirt relaxed 501", colors=("Blue",), condition="Fair"
    )
    theirs = {"title": ours.title, **changes}
    found = match([ours, listing("poshmark", **theirs)])
    assert not found.linked
    assert [m.doubts for m in found.proposed] == [(doubt,)]


@pytest.mark.parametrize(
    ("brand", "told"),
    [("Nrthfell", True), (None, True), ("Northfell Outdoor", None), ("Kestrel", False)],
)
def test_a_slip_of_the_pen_is_no_other_brand(brand, told):
    one, other = listing("ebay"), listing(brand=brand)
    assert weigh(one, other, read(one), read(other)).brand is told


def test_common_words_find_each_other_two_by_two():
    """Each of the words is in 302 titles, the two together in two."""
    titles = {str(n): "north wool" if n % 2 else "linen cotton" for n in range(300)} | {"x": "linen wool"}
    many = [
        listing(account, key, title=title, photos=())
        for account in ("ebay", "poshmark")
        for key, title in titles.items()
    ]
    known = sorted(many, key=lambda one: (one.account, one.key))
    found = find_candidates(known, [read(one) for one in known])
    assert ("ebay x", "poshmark x") in {
        (f"{known[i].account} {known[i].key}", f"{known[j].account} {known[j].key}") for i, j in found
    }


def test_the_same_sku_in_two_sizes_is_asked():
    found = match([listing("ebay", sku="A-1"), listing("poshmark", sku="A-1 ~K7Q2XM", size="L")])
    assert not found.linked
    assert "The same SKU" in found.proposed[0].reasons
    assert "The sizes differ" in found.proposed[0].doubts


def test_the_same_pictures_in_another_colour_are_asked():
    recolored = tuple(photo(n, tint=(190, 40, 45)) for n in (1, 2, 3))
    found = match([listing("ebay"), listing("poshmark", photos=recolored)])
    assert not found.linked
    assert found.proposed[0].doubts[0] == "The colours differ"


def test_recompressed_photos_are_the_same_and_others_are_not():
    near = tuple(photo(n, bits=10) for n in (1, 2, 3))
    assert match([listing("ebay"), listing("poshmark", photos=near)]).linked
    far = tuple(photo(n, bits=11) for n in (1, 2, 3))
    assert not match([listing("ebay"), listing("poshmark", photos=far)]).linked


def test_nothing_in_common_is_left_apart():
    other = listing("poshmark", title="Kestrel boots", brand="Kestrel", size="8", photos=(photo(7), photo(8)))
    assert match([listing("ebay"), other]) == Matches((), (), ())


def test_of_two_alike_neither_is_picked():
    found = match([listing("ebay"), listing("poshmark", "1"), listing("poshmark", "2")])
    assert not found.linked
    assert pairs(found.proposed) == {("ebay 1", "poshmark 1"), ("ebay 1", "poshmark 2")}
    assert all("Another listing is nearly as like" in m.doubts for m in found.proposed)


def test_who_is_linked_is_no_rival_any_more():
    """Two twins on each side: the SKU settles one pair, and what is left is then clear."""
    found = match(
        [listing("ebay", "1", sku="A-1"), listing("ebay", "2"), listing("poshmark", "1", sku="A-1"),
         listing("poshmark", "2")]
    )  # fmt: skip
    assert pairs(found.linked) == {("ebay 1", "poshmark 1"), ("ebay 2", "poshmark 2")}
    assert not found.proposed


def test_links_that_contradict_each_other_by_way_of_a_third_are_asked():
    """The one in the middle tells no SKU; at its two sides are two different ones."""
    found = match([listing("ebay", sku="A-1"), listing("mercari"), listing("poshmark", sku="B-2")])
    assert not found.linked
    assert ("ebay 1", "mercari 1") in pairs(found.proposed)
    assert any("Taken together with a third, they contradict each other" in m.doubts for m in found.proposed)


def test_what_many_share_is_not_compared_all_with_all():
    """A stock photo, a SKU "misc" and a word on each of 600 a side would be 360,000 pairs."""
    many = [
        listing(account, str(n), sku="misc", title=f"shirt {Random(n).getrandbits(40):x}", photos=(photo(1),))
        for account in ("ebay", "poshmark")
        for n in range(600)
    ]
    assert len(find_candidates(many, [read(one) for one in many])) <= 1200 * 8


# ---- what holds for any listings -------------------------------------------------------------------

#: Few words, sizes, SKUs and photos, so that much is alike.
LISTINGS = st.lists(
    st.builds(
        LiveListing,
        account=st.sampled_from(["ebay", "mercari", "poshmark"]),
        key=st.sampled_from("12345"),
        title=st.lists(st.sampled_from(["northfell", "linen", "shirt", "501"]), max_size=4).map(" ".join),
        brand=st.sampled_from([None, "Northfell", "Kestrel"]),
        size=st.sampled_from([None, "M", "L"]),
        price=st.sampled_from([None, Money(amount=2500), Money(amount=4000)]),
        sku=st.sampled_from([None, "A-1", "A-2"]),
        colors=st.sampled_from([(), ("Red",), ("Blue",)]),
        quantity=st.sampled_from([None, 1, 2]),
        photos=st.lists(st.sampled_from([photo(n) for n in range(4)]), max_size=3).map(tuple),
    ),
    max_size=10,
    unique_by=lambda one: (one.account, one.key),
)  # fmt: skip


@given(LISTINGS)
def test_a_pair_is_judged_the_same_whichever_way_round(listings):
    for one, other in pairwise(listings):
        a, b = read(one), read(other)
        assert weigh(one, other, a, b) == weigh(other, one, b, a)


@pytest.mark.longer
@given(LISTINGS, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(listings, random):
    shuffled = random.sample(listings, len(listings))
    assert match(shuffled) == match(listings)


@given(LISTINGS)
def test_a_listing_is_linked_to_one_of_an_account_at_most(listings):
    found = match(listings)
    for group in found.groups:
        assert len({one.account for one in group}) == len(group)
    ends = [(m.one, m.other.account) for m in found.linked] + [(m.other, m.one.account) for m in found.linked]
    assert len(set(ends)) == len(ends)


@given(LISTINGS)
def test_no_group_holds_two_sizes_skus_or_colours(listings):
    for group in match(listings).groups:
        for told in ("size", "sku", "colors"):
            assert len({getattr(one, told) for one in group} - {None, ()}) <= 1


@pytest.mark.longer
@given(LISTINGS)
def test_what_is_proposed_has_a_doubt_and_what_is_linked_has_none(listings):
    found = match(listings)
    assert all(m.doubts for m in found.proposed)
    assert not any(m.doubts for m in found.linked)
    assert not pairs(found.linked) & pairs(found.proposed)


@pytest.mark.longer
@given(LISTINGS, st.sampled_from(["ebay", "mercari", "poshmark"]))
def test_an_unrelated_listing_changes_nothing(listings, account):
    unrelated = LiveListing(
        account, "9", title="Dinner plates", brand="Umber", sku="Z-9", photos=(photo(99),)
    )
    assert match([*listings, unrelated]) == match(listings)


# ---- on made-up listings, as the figures are ---------------------------------------------------------


@pytest.mark.longer
def test_the_same_seed_makes_the_same_listings():
    assert make(7, 4, 1) == make(7, 4, 1)
    assert make(7, 4, 1) != make(8, 4, 1)


@pytest.mark.longer
def test_made_up_lookalikes_are_not_linked_and_most_of_the_same_are_found():
    """A small world; docs/matching.md has the large ones."""
    world = make(7, 24, 3)
    assert set(world.traps.values()) == set(TRAPS)
    assert not set(world.traps) & world.truth()
    linked, proposed = pairs_in(world, match(world.listings))
    assert linked <= world.truth()
    assert len(world.truth() & (linked | proposed)) >= 0.9 * len(world.truth())


def test_what_is_one_thing_already_is_no_match_and_speaks_for_a_third_together():
    posted = [listing("ebay", thing="a"), listing("poshmark", thing="a")]
    found = match([*posted, listing("mercari", thing="b")])
    assert len(found.groups) == 1
    assert {one.thing for one in found.groups[0]} == {"a", "b"}
    assert all({m.one.thing, m.other.thing} == {"a", "b"} for m in found.linked)
    assert match(posted) == Matches((), (), ())


def test_what_is_one_thing_already_keeps_out_what_contradicts_its_other_half():
    posted = [
        listing("ebay", thing="a"),
        listing("poshmark", thing="a", size="L", title="Other words", photos=()),
    ]
    found = match([*posted, listing("mercari", thing="b")])
    assert found.linked == ()
    assert [m.doubts for m in found.proposed] == [
        ("Taken together with a third, they contradict each other",)
    ]


def test_what_was_called_apart_is_neither_linked_nor_proposed_nor_joined_by_a_third():
    pair = [listing("ebay", thing="a"), listing("mercari", thing="b")]
    apart = frozenset({frozenset({"a", "b"})})
    assert match(pair, apart) == Matches((), (), ())
    found = match([*pair, listing("poshmark", thing="c")], apart)
    assert found.linked == ()
