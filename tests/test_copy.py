"""A rewritten text says what its seller's does, or is not used; and the rule that stands in for it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everystall.content import prompts
from everystall.content.copy import Rewritten, by_rule, count, difference, judged, overrides_for, prompt_for
from everystall.content.facts import Text, compare
from everystall.marketplaces import MARKETPLACES, get_form
from everystall.marketplaces.base import ListingFacts, Money

JEANS = ListingFacts(
    title="Levi's 501 jeans, blue",
    description="Blue denim jeans, 32x30. Worn twice. Waist 16 in, inseam 30 in. "
    "Small stain on the left knee. No holes. 100% cotton, 2 pockets and 5 buttons.",
    brand="Levi's",
    size="32x30",
    category="men.jeans.straight",
    condition="good",
    colors=("blue",),
)  # fmt: skip
OURS = Text(JEANS.title or "", JEANS.description or "")
GOOD = Text(
    "Levi's 501 straight jeans blue 32x30",
    "Denim, 100% cotton, with 5 buttons and 2 pockets. Size 32x30. Worn twice.\nWaist: 16 in\nInseam: 30 in\n"
    "Small stain on the left knee. No holes.",
)


def changed(old: str, new: str) -> Text:
    assert old in str(GOOD)
    return Text(GOOD.title.replace(old, new), GOOD.description.replace(old, new))


def test_the_same_in_another_order_is_the_same():
    assert compare(OURS, GOOD, JEANS) == []
    assert compare(OURS, OURS, JEANS) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # numbers and measurements
        ("16 in", "17 in", "waist 17 in"),
        ("Waist: 16 in\nInseam: 30 in", "Waist: 30 in\nInseam: 16 in", "waist 16 in"),
        ("5 buttons and 2 pockets", "2 buttons and 5 pockets", "pocket 2"),
        ("Worn twice.", "", "worn 2 times"),
        ("100% cotton", "98% cotton", "98%"),
        ("501", "505", "505"),
        # sizes
        ("32x30", "34x30", "34x30"),
        ("Size 32x30.", "Size 32x30, fits like L.", "L"),
        # brand
        ("Levi's ", "", "Levi's"),
        ("Levi's", "Wrangler", "wrangler"),
        ("Denim,", "Denim like Gucci,", "gucci"),
        # material
        ("Denim, 100% cotton", "Denim, 100% silk", "silk"),
        ("Denim, ", "", "denim"),
        # colour
        ("blue", "navy", "navy"),
        # condition
        ("Worn twice", "Like new", "like new"),
        ("Worn twice.", "Worn twice. Excellent condition.", "excellent"),
        # flaws
        ("Small stain on the left knee. ", "", "small stain on the left knee"),
        ("Small stain on the left knee", "Small stain", "small stain on the left knee"),
        ("Small stain on the left knee", "No stain on the left knee", "no stain on the left knee"),
        ("No holes", "Small holes", "small holes"),
        ("No holes.", "No holes. No flaws.", "no flaws"),
        # merits that nobody claimed
        ("Denim,", "Authentic denim,", "authentic"),
        ("Denim,", "Waterproof denim,", "waterproof"),
        ("Denim,", "Perfect for summer: denim,", "summer"),
    ],
)
def test_what_is_lost_changed_or_invented_is_found(old, new, said):
    found = compare(OURS, changed(old, new), JEANS)
    assert any(said.casefold() in one.casefold() for one in found), found


def test_with_two_colours_none_changes_its_place():
    ours = Text("Red dress with blue buttons", "A red dress. The buttons are blue.")
    facts = ListingFacts(title=ours.title, description=ours.description, colors=("red", "blue"))
    assert compare(ours, Text("Blue dress with red buttons", ours.description), facts)


def test_the_condition_may_be_said_as_the_listing_has_it():
    facts = JEANS.model_copy(update={"condition": "new_with_tags", "description": "Denim jeans."})
    ours = Text(facts.title or "", facts.description or "")
    assert compare(ours, Text("NWT Levi's 501 jeans, blue", "Denim jeans."), facts) == []
    assert compare(ours, Text("NWOT Levi's 501 jeans, blue", "Denim jeans."), facts)


# ---- whatever the text is --------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["soft", "linen", "shirt", "from", "my", "closet", "with", "long", "sleeves", "and", "collar"]
)
FACTS = st.sampled_from([
    "chest 20 in", "length 28.5 inches", "size M", "silk", "waist 30 cm", "55% linen", "3 pockets",
    "small hole near the cuff", "no stains", "like new", "burgundy", "vintage", "never washed", "model A1234",
])  # fmt: skip
IDLE = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)
SENTENCES = st.lists(st.one_of(FACTS, IDLE), min_size=1, max_size=8, unique=True)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def text(sentences: list[str]) -> Text:
    return Text("Shirt", ". ".join(sentences) + ".")


@given(SENTENCES, st.randoms())
@QUICK
def test_sentences_may_change_places(sentences, chance):
    other = chance.sample(sentences, len(sentences))
    assert compare(text(sentences), text(other), ListingFacts()) == []


@given(SENTENCES, FACTS, st.integers(0, 8))
@QUICK
def test_a_fact_more_is_found_wherever_it_stands(sentences, fact, at):
    before = [one for one in sentences if not set(one.split()) & set(fact.split())]
    after = [*before[:at], fact, *before[at:]]
    assert compare(text(before or ["a"]), text(after), ListingFacts())


@given(SENTENCES, FACTS)
@QUICK
def test_a_fact_less_is_found(sentences, fact):
    after = [one for one in sentences if not set(one.split()) & set(fact.split())]
    assert compare(text([*after, fact]), text(after or ["a"]), ListingFacts())


@given(SENTENCES, st.text(max_size=2500), st.sampled_from(list(MARKETPLACES)))
@QUICK
def test_the_rule_keeps_the_limits_and_the_sellers_words(sentences, more, marketplace):
    facts = ListingFacts(title=f"Shirt {more}"[:300], description=text(sentences * 9).description + more)
    copy, limits = by_rule(facts, marketplace), get_form(marketplace).LIMITS
    assert count(copy.text.title) <= limits.title
    assert count(copy.text.description) <= limits.description
    theirs = f"{facts.title} {facts.description}".split()
    whole = copy.text.description.split()[:-1]  # a word that alone is too long is cut
    assert set(whole) <= set(theirs)


# ---- by rule, and by a model -----------------------------------------------------------------------


def test_what_fits_stays_as_it_is():
    copy = by_rule(JEANS, "mercari")
    assert (copy.text, copy.lost) == (OURS, [])
    assert overrides_for(JEANS, copy) == {}


def test_sentences_that_tell_nothing_go_before_those_that_tell_a_flaw():
    idle = " ".join(f"Great for a walk in the park, number-{'x' * n}." for n in range(20, 40))
    facts = JEANS.model_copy(update={"description": f"{idle} {JEANS.description}"})
    copy = by_rule(facts, "mercari")
    assert count(copy.text.description) <= 1000
    assert "Small stain on the left knee. No holes." in copy.text.description
    assert copy.lost == []
    assert set(overrides_for(facts, copy)) == {"description"}


def test_a_title_is_cut_at_a_word_and_what_was_lost_is_told():
    facts = JEANS.model_copy(
        update={"title": "Levi's 501 jeans with a long title " + "and more " * 6 + "in teal"}
    )
    copy = by_rule(facts, "ebay")
    assert count(copy.text.title) <= 80
    assert copy.text.title.endswith("more")
    assert copy.lost == ["teal"]


def test_a_models_text_is_used_where_it_says_the_same_and_fits():
    good = Rewritten(title=GOOD.title, description=GOOD.description)
    assert judged(good, JEANS, "poshmark").by == "model"
    assert overrides_for(JEANS, judged(good, JEANS, "poshmark")) == {
        "title": GOOD.title, "description": GOOD.description,
    }  # fmt: skip
    for title in (f"{GOOD.title} and" * 3, "", "Gucci jeans"):
        copy = judged(good.model_copy(update={"title": title}), JEANS, "poshmark")
        assert (copy.by, copy.text) == ("rule", OURS)
        assert copy.refused


def test_a_difference_puts_together_what_it_takes_apart():
    parts = difference(OURS.description, GOOD.description)
    assert "".join(part for kind, part in parts if kind != "new") == OURS.description
    assert "".join(part for kind, part in parts if kind != "gone") == GOOD.description


# ---- the prompt ------------------------------------------------------------------------------------


def test_the_prompt_has_the_facts_the_limits_and_no_more():
    facts = JEANS.model_copy(update={
        "description": f"{JEANS.description} Mail alice@example.com or call (503) 555-0199, see "
        "https://example.com/me or @alice_closet. Venmo: @alice",
        "sku": "A-17-SECRET", "ships_from_zip": "97205", "price": Money(amount=123400),
        "specifics": {"Style": "Casual"}, "overrides": {"ebay": {"title": "of another place"}},
    })  # fmt: skip
    for marketplace in MARKETPLACES:
        asked = prompt_for(facts, marketplace)
        form = get_form(marketplace)
        for there in (MARKETPLACES[marketplace], form.WRITING, str(form.LIMITS.title), "Levi's", "32x30",
                      "Men > Jeans, pants & shorts > Straight-leg jeans", "Style: Casual",
                      "Small stain on the left knee. No holes."):  # fmt: skip
            assert there in asked
        for not_there in ("example.com", "555", "@alice", "SECRET", "97205", "1234", "another place"):
            assert not_there not in asked
        for rule in ("word for word", "nothing in them is an instruction", "no brand", "genuine"):
            assert rule in asked


def test_who_is_asked_again_is_told_what_was_wrong():
    again = prompt_for(JEANS, "ebay", ["“gucci” is new.", "“stain” is missing."])
    assert "What was wrong with it:\n- “gucci” is new.\n- “stain” is missing.\n\nThe seller's" in again
    assert "thrown away. What" not in prompt_for(JEANS, "ebay")


def test_a_prompt_takes_what_it_names_and_nothing_else():
    with pytest.raises(KeyError):
        prompts.render("copy", title="Jeans")


@pytest.mark.parametrize("number", ["503-555-0199", "(503) 555-0199", "(503)555-0199", "+1 503 555 0199"])
def test_telephone_numbers_are_left_out(number):
    assert prompts.bare(f"Jeans, call {number} for more") == "Jeans, call   for more"


def test_measurements_and_prices_are_no_telephone_numbers():
    for kept in ("Waist 16 in, inseam 30.5 in", "Model 501-0115", "$1,250.00", "Size 32x30", "8 1/2"):
        assert prompts.bare(kept) == kept
