"""Our own categories and sizes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everystall.marketplaces.taxonomy import CATEGORIES, SIZE_SCALES, find_category, find_size, near, search


def test_there_is_a_leaf_for_what_resellers_sell():
    assert 130 <= len(CATEGORIES) <= 240
    assert {c.department for c in CATEGORIES.values()} >= {
        "women", "men", "kids", "home", "electronics", "toys", "collectibles", "books", "beauty", "pets",
    }  # fmt: skip


def test_every_key_is_dotted_and_no_leaf_is_above_another():
    for key in CATEGORIES:
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+){1,2}", key), key
        assert not any(other.startswith(key + ".") for other in CATEGORIES), key


def test_every_label_is_whole_and_unlike_the_others():
    labels = [c.label for c in CATEGORIES.values()]
    assert len(set(labels)) == len(labels)
    assert all(len(label) >= 2 and all(label) for label in labels)


def test_every_size_scale_that_is_used_exists_and_holds_no_size_twice():
    assert {c.size_scale for c in CATEGORIES.values()} - {None} <= set(SIZE_SCALES)
    for name, sizes in SIZE_SCALES.items():
        assert len(set(sizes)) == len(sizes), name


def test_a_key_that_is_none_of_ours_is_not_found():
    assert find_category("women.dresses") is None
    assert find_category(None) is None
    midi = find_category("women.dresses.midi")
    assert midi is not None
    assert midi.label == ("Women", "Dresses", "Midi dresses")


@given(st.sampled_from([(scale, size) for scale, sizes in SIZE_SCALES.items() for size in sizes]))
def test_every_size_is_found_as_it_is_written_and_in_small_letters(pair):
    scale, size = pair
    assert find_size(scale, size) == size
    assert find_size(scale, f" {size.lower()} ") == size


def test_sizes_are_understood_in_the_ways_that_people_write_them():
    assert find_size("women_clothing", "2XL") == "XXL"
    assert find_size("women_clothing", "os") == "One Size"
    assert find_size("men_pants", "32 X 30") == "32x30"
    assert find_size("women_shoes", "US 8.5") == "8.5"
    assert find_size("baby", "0-3 mos") == "0-3 Months"
    assert find_size("baby", "3-6M") == "3-6 Months"
    assert find_size("kids", "medium") == "M"


@given(st.text(max_size=20))
def test_a_size_that_is_not_in_the_scale_is_never_guessed(text):
    assert find_size("one_size", text) in (None, "One Size")
    assert find_size("women_shoes", text + "z") is None


def test_search_finds_by_the_words_of_the_label_nearest_first():
    assert search("midi dress")[0].key == "women.dresses.midi"
    assert [c.key for c in search("wall art")] == ["home.wall_art"]
    assert search("no such thing") == []
    assert search("print")[0].key == "home.wall_art"
    assert {c.key for c in search("sneakers")} == {"women.shoes.sneakers", "men.shoes.sneakers"}
    assert search("men jeans slim")[0].key == "men.jeans.slim"
    assert search("  ") == []


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("dress", ["women.dresses.mini", "women.dresses.midi", "women.dresses.maxi"]),
        ("women.dress.midi", ["women.dresses.midi"]),
        ("Women > Dresses > Midi", ["women.dresses.midi"]),
        ("snekers", ["women.shoes.sneakers", "men.shoes.sneakers"]),
        ("mens t-shirt", ["men.shirts.tees"]),
        ("boots", ["women.shoes.boots", "men.shoes.boots", "women.jeans.boot_cut"]),
        ("watch", ["women.accessories.watches", "men.accessories.watches"]),
        ("pets", ["pets.dog.clothing", "pets.dog.collars", "pets.dog.toys"]),
    ],
)
def test_what_is_near_a_wrong_category_shares_its_words(text, keys):
    assert [category.key for category in near(text)] == keys


@pytest.mark.parametrize(
    "text", ["", "🙂", "xyzzy", "drone", "men.gadgets.drone", "nike air max 90", "a" * 200]
)
def test_nothing_is_near_a_category_that_shares_no_word_or_only_a_department(text):
    assert near(text) == []
