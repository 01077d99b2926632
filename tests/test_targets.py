"""What holds for every target of every marketplace."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import pytest

from everystall.browser.targets import Target
from everystall.marketplaces import MARKETPLACES
from everystall.marketplaces.base import says_no


def _targets(marketplace: str) -> Iterator[Target]:
    for value in vars(import_module(f"everystall.marketplaces.{marketplace}.pages")).values():
        found = value.values() if isinstance(value, dict) else [value]
        yield from (one for one in found if isinstance(one, Target))


@pytest.mark.parametrize("marketplace", MARKETPLACES)
def test_every_target_has_two_ways_to_be_found(marketplace):
    targets = list(_targets(marketplace))
    assert len(targets) > 30
    for target in targets:
        assert len(target.locators) >= 2, target.intent


@pytest.mark.parametrize("marketplace", MARKETPLACES)
def test_what_a_buyer_sees_the_outcome_of_is_never_looked_for_by_other_means(marketplace):
    commits = [target for target in _targets(marketplace) if target.effect == "commit"]
    assert len(commits) == 3  # one publishes, one saves a change, one takes down
    for target in commits:
        assert not target.heal, target.intent


def test_a_commit_target_does_not_heal_whatever_is_said():
    target = Target("the button", ("#a", "#b"), heal=True, effect="commit")
    assert not target.heal
    assert not target.named(name="x").heal


@pytest.mark.parametrize("marketplace", MARKETPLACES)
@pytest.mark.parametrize(
    "said",
    [
        "An error has occurred. Please contact support.",
        "Sorry! You cannot currently perform this request.",
        "Something went wrong. Please try again.",
        "Please enter your listing again: something went wrong.",
        "Your listing is live.",
        "Thank you!",
        "",
    ],
)
def test_a_message_that_is_not_known_to_be_a_refusal_is_none(marketplace, said):
    assert not says_no(said, import_module(f"everystall.marketplaces.{marketplace}.pages").REFUSALS)


@pytest.mark.parametrize(
    ("marketplace", "said"),
    [
        ("poshmark", "Whole dollar amount required."),
        ("poshmark", "Please enter the size of your listing."),
        ("mercari", "Please select a brand"),
        ("mercari", "Size can not be empty"),
        ("mercari", "This item may be prohibited. Replicas and counterfeits can not be sold."),
        ("ebay", "Size Type is required."),
        ("ebay", "Enter a price of at least $0.99. Add between 1 and 24 photos."),
        ("ebay", "This listing may violate our counterfeit policy. We can't list this item."),
    ],
)
def test_a_refusal_in_known_words_is_one(marketplace, said):
    assert says_no(said, import_module(f"everystall.marketplaces.{marketplace}.pages").REFUSALS)
