"""What a listing tells, read alike whatever a site's words for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everystall.content.photos import Fingerprint
from everystall.inventory.traits import (
    LiveListing,
    compare_colors,
    compare_sizes,
    read,
    read_colors,
    read_size,
    size_in_title,
)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("M", "Medium", True),
        ("M", "US M", True),
        ("XL", "X-Large", True),
        ("XXL", "2XL", True),
        ("8", "US 8", True),
        ("8.5", "8 1/2", True),
        ("8.0", "8", True),
        ("32x30", "W32 L30", True),
        ("32x30", "32 x 30", True),
        ("32x30", "32", None),
        ("One Size", "OS", True),
        ("0-3 Months", "0-3M", True),
        ("34B", "34b", True),
        ("M (8-10)", "M", True),
        ("6 7/8", "6 7/8", True),
        ("6 7/8", "6 3/4", False),
        ("Extra Large", "XL", True),
        ("Crib", "crib", True),
        ("M", "L", False),
        ("S", "XS", False),
        ("8", "8.5", False),
        ("32x30", "32x32", False),
        ("32x30", "33", False),
        ("34B", "34C", False),
        ("10C", "10Y", False),
        ("2T", "3T", False),
        ("38R", "38L", False),
        ("M", "8", None),
        ("EU 38", "8", None),
        ("EU 38", "EU 39", False),
        ("Crib", "Queen", False),
        ("M", "", None),
    ],
)
def test_sizes_are_compared_in_their_scale(one, other, same):
    assert compare_sizes(read_size(one), read_size(other)) is same
    assert compare_sizes(read_size(other), read_size(one)) is same


@given(st.text(max_size=12))
def test_a_size_is_the_same_as_itself(text):
    sizes = read_size(text)
    assert compare_sizes(sizes, sizes) is (True if sizes else None)


@pytest.mark.parametrize(
    ("title", "size"),
    [
        ("Linen shirt size M", "M"),
        ("Boots sz 8.5 brown", "8.5"),
        ("501 Jeans 32x30", "32x30"),
        ("Nike hoodie XL black", "XL"),
        ("Nike tee M", "M"),
        ("Women's tee by L.L. Bean", ""),
        ("H&M dress", ""),
        ("Small leather bag", ""),
        ("Air Max 90", ""),
    ],
)
def test_a_title_tells_a_size_only_where_it_can_be_nothing_else(title, size):
    assert size_in_title(title) == read_size(size)


def test_the_field_goes_before_the_title():
    assert read(LiveListing("a", "1", title="Shirt size M", size="L")).sizes == read_size("L")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Navy", "navy", True),
        ("Grey", "gray", True),
        ("Navy", "Blue", None),
        ("Red", "Blue", False),
        ("Red", "", None),
        ("Multi", "Red", None),
        ("Red, Blue", "Blue", True),
    ],
)
def test_colours_differ_only_where_no_two_could_be_one(one, other, same):
    assert compare_colors(read_colors(one), read_colors(other)) is same
    assert compare_colors(read_colors(other), read_colors(one)) is same


def test_our_marker_and_the_way_of_writing_are_no_part_of_a_sku():
    skus = {read(LiveListing("a", "1", sku=sku)).sku for sku in ("A-17 ~K7Q2XM", "a 17", "A17")}
    assert skus == {"a17"}
    assert {read(LiveListing("a", "1", sku=sku)).sku for sku in (None, "", "N/A", "~K7Q2XM")} == {None}


@pytest.mark.parametrize("brand", [None, "", "Unbranded", "N/A", "no brand"])
def test_no_brand_is_nothing_told(brand):
    assert read(LiveListing("a", "1", brand=brand)).brand is None


def test_sites_words_for_a_condition_become_one_scale():
    labels = (
        "new_with_tags",
        "New With Tags (NWT)",
        "New",
        "Like New",
        "Pre-owned - Good",
        "good",
        "Fair",
        "?",
    )
    ranks = [read(LiveListing("a", "1", condition=label)).condition for label in labels]
    assert ranks == [6, 6, 6, 3, 2, 2, 1, None]


def test_sizes_are_no_model_numbers():
    assert read(LiveListing("a", "1", title="501 Jeans size 32x30", size="32x30")).numbers == {"501"}


def test_a_plain_view_is_none():
    gray = (90, 90, 90)
    photo = Fingerprint(("0" * 16, "f" * 16, "00000000000000ff"), (gray, gray, gray))
    assert read(LiveListing("a", "1", photos=(photo,))).photos == ((None, None, (255, gray)),)
