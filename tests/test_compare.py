"""What counts as equal between a draft and a page, and what never does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everystall.marketplaces.base import Draft, Money
from everystall.worker.compare import Merged, by_hand, compare, differing, merge, same_photos, same_thing

DRAFT = Draft(
    title="Linen shirt",
    description="Worn twice.\n\nNo flaws.",
    price=Money(amount=2500),
    category=("Men", "Shirts"),
    colors=("Blue",),
    options={"smart_sell": False},
    shipping={"payer": "buyer"},
)


def test_white_space_and_composition_are_no_difference():
    shown = {"title": " Linen  shirt", "description": "Worn twice. No flaws.", "colors": ["Blue"]}
    assert differing(compare(DRAFT, shown)) == []


def test_a_price_that_the_site_changed_is_a_difference():
    assert compare(DRAFT, {"price": Money(amount=2400)}) == {"price": False}
    assert compare(DRAFT, {"price": {"amount": 2500, "currency": "USD"}}) == {"price": True}


def test_an_option_that_the_site_switched_on_is_a_difference():
    assert compare(DRAFT, {"options": {"smart_sell": True}}) == {"options.smart_sell": False}
    assert compare(DRAFT, {"shipping": {"payer": "buyer"}}) == {"shipping.payer": True}


def test_a_field_that_the_page_does_not_show_is_not_judged():
    assert compare(DRAFT, {}) == {}


def test_an_empty_brand_and_no_brand_are_the_same():
    assert compare(DRAFT, {"brand": ""}) == {"brand": True}
    assert compare(DRAFT, {"brand": "Zara"}) == {"brand": False}


@given(st.text(max_size=80))
def test_a_title_is_the_same_thing_only_if_it_is_the_same_words(title):
    draft = DRAFT.model_dump(mode="json")
    same = " ".join(title.split()) in ("Linen shirt", "Worn twice. No flaws.")
    assert same_thing(draft, title, Money(amount=2500)) == same
    assert not same_thing(draft, "Linen shirt", Money(amount=2501))


@given(st.lists(st.integers(0, 2**64 - 1), max_size=5), st.data())
def test_photos_are_equal_in_order_and_number_only(values, data):
    ours = [f"{value:016x}" for value in values]
    assert same_photos(ours, ours)
    if ours:
        assert not same_photos(ours, ours[:-1])
        flipped = values[0] ^ (2 ** data.draw(st.integers(0, 40)) * 0xFFFFF & (2**64 - 1))
        distance = (flipped ^ values[0]).bit_count()
        assert same_photos(ours, [f"{flipped:016x}", *ours[1:]]) == (distance <= 10)


@pytest.mark.parametrize(
    ("wanted", "there", "armed", "adopted", "becomes"),
    [
        ("new", "put", {}, {}, "written"),
        ("put", "put", {}, {}, "left"),
        ("put", "hand", {}, {}, "adopted"),
        ("new", "hand", {}, {}, "asked"),
        ("new", "new", {}, {}, "left"),
        # a click of ours whose answer was lost: what stands there may be ours, and is no hand's
        ("new", "new", {"title": "new"}, {}, "left"),
        ("new", "put", {"title": "new"}, {}, "written"),
        ("newer", "new", {"title": "new"}, {}, "written"),
        ("put", "new", {"title": "new"}, {}, "written"),
        ("new", "hand", {"title": "new"}, {}, "asked"),
        # known to be by hand: it stays until the listing is edited in that field
        ("put", "hand", {}, {"title": "hand"}, "adopted"),
        ("new", "hand", {}, {"title": "hand"}, "written"),
        ("new", "another hand", {}, {"title": "hand"}, "asked"),
        ("put", "put", {}, {"title": "hand"}, "left"),
        # only white space is other: it is written, and told from what is there letter by letter
        ("put ", "put", {}, {}, "written"),
        ("put ", "put ", {}, {}, "left"),
    ],
)
def test_of_three_values_it_follows_whose_doing_it_is(wanted, there, armed, adopted, becomes):
    merged = merge({"title": wanted}, {"title": "put"}, {"title": there}, armed=armed, adopted=adopted)
    got = {"written": merged.write, "adopted": merged.adopted, "asked": merged.conflict}
    assert [name for name, fields in got.items() if fields] == ([] if becomes == "left" else [becomes])
    if becomes == "asked":
        assert merged.conflict == {"title": {"ours": wanted, "theirs": there}}


def test_what_the_form_does_not_show_is_as_we_put_it():
    put, wanted = {"shipping.discount": "None"}, {"shipping.discount": "-$1.50"}
    assert merge(wanted, put, {}, armed={}, adopted={}).write == {"shipping.discount"}
    assert merge(put, put, {}, armed={}, adopted={}) == Merged(frozenset())
    # after a click that nobody knows the outcome of it is written once more
    assert merge(wanted, put, {}, armed=wanted, adopted={}).write == {"shipping.discount"}


def test_what_differed_from_the_beginning_is_no_hands_work():
    put, there = {"brand": "levi's"}, {"brand": "Levi Strauss"}
    assert merge(put, put, there, armed={}, adopted={}, unlike={"brand"}) == Merged(frozenset())
    assert merge({"brand": "Zara"}, put, there, armed={}, adopted={}, unlike={"brand"}).write == {"brand"}


@pytest.mark.parametrize(
    ("shown", "adopted", "read_back", "by_hand_now"),
    [
        ({"title": "put"}, {}, {"title": True}, {}),
        ({"title": "other"}, {}, {"title": True}, {"title": "other"}),
        ({"title": "other"}, {}, {"title": False}, {}),  # from the beginning: nobody knows whose it is
        ({"title": "other"}, {}, {}, {}),
        ({"title": "other"}, {"title": "hand"}, {"title": False}, {"title": "other"}),
        ({"title": "put"}, {"title": "hand"}, {"title": False}, {}),  # taken back
        ({}, {"title": "hand"}, {}, {"title": "hand"}),  # what is not shown is as it was
        ({"price": Money(amount=900)}, {}, {"price": True}, {"price": {"amount": 900, "currency": "USD"}}),
        ({"quantity": 2}, {}, {"quantity": True}, {}),  # a sale
        ({"quantity": 5}, {}, {"quantity": True}, {"quantity": 5}),  # no buyer's doing
        ({"quantity": 5}, {}, {"quantity": False}, {}),
        ({"quantity": 4}, {"quantity": 5}, {"quantity": False}, {"quantity": 5}),
        ({"quantity": 6}, {"quantity": 5}, {"quantity": False}, {"quantity": 6}),
        ({"shipping": {"payer": "seller"}}, {}, {"shipping.payer": True}, {"shipping.payer": "seller"}),
    ],
)
def test_what_a_page_shows_by_hand_is_what_read_back_as_put_and_is_other_now(
    shown, adopted, read_back, by_hand_now
):
    put = {
        "title": "put", "price": {"amount": 800, "currency": "USD"}, "quantity": 3,
        "shipping": {"payer": "buyer"},
    }  # fmt: skip
    assert by_hand(put, adopted, shown, read_back) == by_hand_now


@given(st.sampled_from("abc"), st.sampled_from("abc"), st.sampled_from("abc"))
def test_nothing_is_written_that_we_did_not_put_ourselves_or_that_is_there(wanted, put, there):
    merged = merge({"title": wanted}, {"title": put}, {"title": there}, armed={}, adopted={})
    if merged.write:
        assert there == put != wanted


@pytest.mark.parametrize(
    ("wanted", "put", "there", "recount", "becomes"),
    [
        (1, 3, 2, False, "written"),  # two sold elsewhere, and one there of which nobody told us yet
        (2, 3, 2, False, "left"),
        (3, 3, 2, False, "left"),  # somebody bought one, maybe: nobody's hand
        (4, 5, 2, False, "left"),  # never raised by itself
        (5, 3, 2, False, "written"),  # raised by the seller
        (2, 3, 5, False, "written"),  # whatever the seller's hand made of it: so many are not there
        (3, 3, 5, False, "adopted"),
        (4, 3, 5, False, "asked"),
        (1, 1, 2, True, "written"),  # put when the buyer had come already
        (1, 1, 1, True, "left"),
        (2, 2, 1, True, "left"),
        (2, 0, 1, True, "written"),
    ],
)
def test_how_many_there_are_changes_by_itself(wanted, put, there, recount, becomes):
    of = [{"quantity": number} for number in (wanted, put, there)]
    found = merge(*of, armed={}, adopted={}, recount=recount)
    expected = {
        "written": Merged(frozenset({"quantity"})),
        "left": Merged(frozenset()),
        "adopted": Merged(frozenset(), {"quantity": there}),
        "asked": Merged(frozenset(), {}, {"quantity": {"ours": wanted, "theirs": there}}),
    }
    assert found == expected[becomes]
