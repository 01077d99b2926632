"""Which element of a page is the one that was lost, by what it looked like; and above all which is not."""

from __future__ import annotations

from functools import partial
from itertools import product
from types import SimpleNamespace
from unittest.mock import AsyncMock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everystall.browser.heal import Healed, Healing, _refs, _unfilled
from everystall.browser.likeness import ALIKE, _matched, choose, likeness, usable
from everystall.browser.looks import Look, impersonal, layout_of, nameless, without
from everystall.browser.targets import Target
from everystall.worker import agents, heals

EMPTY = {
    "kind": "text", "tag": "input", "type": "text", "role": "", "path": ["section", "main", "body"],
    "heading": "", "place": "1of1", "label": "", "placeholder": "", "text": "", "id": "", "name": "",
    "classes": [], "data": [], "visible": True, "enabled": True,
}  # fmt: skip


def look(**traits: object) -> Look:
    return EMPTY | traits


TITLE = look(label="Title", name="title", placeholder="What are you selling?", heading="Details")
BRAND = look(label="Brand", name="brand", placeholder="Search brand", heading="Brand", role="combobox")
PRICE = look(label="Price", name="price", placeholder="$1 – $2,000", heading="Price")
SIDES = [look(label=side, name=f"input{side}", heading="Fits?", place=f"{i}of3")
         for i, side in enumerate(("Length", "Width", "Height"), 1)]  # fmt: skip


def found(before, looks, *rivals, attached=False):
    return choose(before, looks, rivals, partial(usable, before, attached=attached))


def test_with_another_name_it_is_still_the_one_that_stands_out():
    now = [look(**BRAND | {"name": "x-1"}), look(**TITLE | {"name": "x-2", "id": "x-2"}),
           look(**PRICE | {"name": "x-3"})]  # fmt: skip
    assert found(TITLE, now, BRAND, PRICE) == 1


def test_with_another_label_below_the_same_heading_it_is_too():
    now = [look(**BRAND), look(**PRICE | {"label": "What it costs", "name": "cost"})]
    assert found(PRICE, now, BRAND) == 1


def test_the_neighbour_of_a_field_that_is_gone_is_not_it():
    assert found(TITLE, [BRAND, PRICE], BRAND, PRICE) is None
    for i, side in enumerate(SIDES):
        others = SIDES[:i] + SIDES[i + 1 :]
        assert found(side, others, *others) is None


def test_of_two_that_lost_their_names_and_labels_neither_is_taken():
    now = [look(heading="Fits?", label=label, place=f"{i}of2") for i, label in enumerate(("A", "B"), 1)]
    assert found(SIDES[0], now, *SIDES[1:]) is None


def test_a_twin_that_is_known_to_be_another_target_is_not_it():
    length, width = (
        look(label=f"Package {side}", name=f"package-{side}", heading="Parcel", place=f"{place}of2")
        for place, side in enumerate(("length", "width"), 1)
    )
    renamed = look(**width | {"name": "x"})
    assert found(length, [renamed], width) is None
    assert found(width, [renamed], length) == 0


def test_less_than_half_alike_is_not_it():
    """The one field below its heading, with another name, label and placeholder: may be the subtitle."""
    now = look(heading="Details", label="Subtitle", name="x", placeholder="In a few words")
    assert found(TITLE, [now]) is None


def test_less_will_do_where_its_own_words_tell():
    """A new name, and another heading; "Depth (in.)" is now "Package depth"."""
    depth = look(label="Depth (in.)", name="packageDepth", heading="Package dimensions", place="3of3",
                 classes=["box"])  # fmt: skip
    now = look(**depth | {"label": "Package depth", "name": "x-y", "heading": "How big", "classes": ["z"]})
    width = look(**now | {"label": "Width (in.)", "place": "2of3"})
    assert likeness(depth, now) < ALIKE
    assert found(depth, [now]) == 0
    assert found(depth, [look(**now | {"label": "How far"})]) is None
    assert found(depth, [width, now]) is None
    known = look(label="Width (in.)", name="packageWidth", heading="Package dimensions", place="2of3")
    assert found(depth, [width, now], known) == 1  # what is another target's is no second one


def test_a_place_and_a_kind_alone_say_nothing():
    """All that is left alike is that it is the one field of a section."""
    before = look(label="Title", heading="")
    assert found(before, [look(label="Zip code", heading="")]) is None


@pytest.mark.parametrize(
    "other",
    [{"visible": False}, {"enabled": False}, {"kind": "press"}, {"kind": "select", "tag": "select"}],
)
def test_a_hidden_twin_one_that_is_off_and_another_kind_are_none(other):
    assert found(TITLE, [look(**TITLE | other)]) is None
    assert found(TITLE, [look(**TITLE | other), look(**TITLE | {"name": "y"})]) == 1


def test_what_was_off_when_it_was_seen_may_be_off():
    save = look(kind="press", tag="button", text="Save", heading="Carrier", name="save", enabled=False)
    assert found(save, [look(**save | {"name": "x"})]) == 0
    assert found(look(**save | {"enabled": True}), [look(**save | {"name": "x"})]) is None


def test_what_stands_in_the_header_of_a_page_is_none_of_its_main_part():
    """A search, as a rule."""
    there = look(**TITLE | {"path": ["form", "header", "body"], "name": "q"})
    assert found(TITLE, [there]) is None
    assert found(there, [look(**there | {"name": "x"})]) == 0


def test_a_box_that_hides_behind_its_label_may_be_found_where_it_is_only_to_be_there():
    box = look(kind="check", type="checkbox", label="Smart Sell", visible=False)
    assert found(box, [box]) is None
    assert found(box, [box], attached=True) == 0
    assert found(box, [look(**box | {"type": "radio"})], attached=True) is None


def test_what_is_chosen_by_its_words_has_exactly_these():
    row = look(kind="press", tag="li", text="{name}", heading="Category")
    assert found(row, [look(**row | {"text": "Dresses, Midi"}), row]) == 1
    assert found(row, [look(**row | {"text": "Dresses, Midi"})]) is None


def test_what_says_more_than_its_value_has_at_least_that():
    grade = look(kind="press", tag="label", text="{label} Gently used", heading="Condition")
    assert found(grade, [look(**grade | {"text": "{label} Many flaws"})]) == 0
    assert found(grade, [look(**grade | {"text": "Fair Gently used"})]) is None


def test_what_looks_as_much_like_another_target_is_left_to_that():
    """The button that publishes is remembered too, so that no other is ever taken for it."""
    publish = look(kind="press", tag="button", text="List it", heading="Photos", place="2of2")
    later = look(kind="press", tag="button", text="Save for later", heading="Photos", place="1of2")
    assert found(later, [look(**publish | {"text": "List for later"})], publish) is None
    assert found(later, [look(**later | {"text": "Save draft"})], publish) == 0


def test_what_may_publish_or_delete_is_not_taken_for_a_button_that_did_not_say_so():
    leads_on = look(kind="press", tag="button", text="Next", heading="Photos", name="next")
    assert found(leads_on, [look(**leads_on | {"text": "Go on"})]) == 0
    for words in ("List it", "Publish listing", "Update", "Delete"):
        assert found(leads_on, [look(**leads_on | {"text": words})]) is None
    removes = look(**leads_on | {"text": "Remove photo 1"})
    assert found(removes, [look(**removes | {"name": "x"})]) == 0


def test_a_row_and_the_link_in_it_are_one_thing():
    row = look(kind="press", tag="a", text="{name}", heading="Category", around=[])
    assert found(row, [row, look(**row | {"around": [0]})]) == 0
    assert found(row, [row, row]) is None


def test_two_names_for_one_thing_are_no_rivals():
    assert found(TITLE, [look(**TITLE | {"name": "x"})], TITLE) == 0


def test_small_words_say_nothing_of_which_one_it_is():
    opens = look(kind="press", tag="div", role="button", text="Select Category")
    others = [look(**opens | {"text": text}) for text in ("Choose a size", "Choose a condition")]
    assert found(opens, [*others, look(**opens | {"text": "Choose a category"})]) == 2


@settings(deadline=None)
@given(st.sampled_from(["label", "name", "heading", "placeholder", "id", "tag"]), st.text(max_size=8))
def test_likeness_is_between_nothing_and_all_and_the_same_from_both_sides(trait, word):
    other = look(**TITLE | {trait: word})
    assert 0 <= likeness(TITLE, other) <= 1
    assert likeness(TITLE, other) == likeness(other, TITLE)
    assert likeness(TITLE, TITLE) == 1
    assert likeness(TITLE, look(kind="text", tag="b", type="", path=[], place="")) < ALIKE


# ---- by exclusion ---------------------------------------------------------------------------------

WEIGHT = [
    look(label=label, name=label.lower(), placeholder=short, heading="Package", place=f"{i}of4", near=["3f"],
         asks=["inputmode=numeric"], rank=f"{i}of4", steps=[f"input:{i}of4", "div:1of1", "section:3of5"])
    for i, (label, short) in enumerate(
        (("Pounds", "lb"), ("Ounces", "oz"), ("Length", "in"), ("Width", "inch")), 1
    )
]  # fmt: skip


def renamed(one: Look, **more: object) -> Look:
    return look(**{**one, "label": "Q", "name": "x", "placeholder": "q"} | more)


def test_what_lost_its_name_and_its_words_is_the_one_that_is_left_in_its_place():
    for place, one in enumerate(WEIGHT):
        rivals = [other for other in WEIGHT if other is not one]
        now = [renamed(other) if other is one else other for other in WEIGHT]
        assert likeness(one, now[place]) < ALIKE
        assert found(one, now, *rivals) == place


def test_all_of_a_row_may_lose_theirs_as_long_as_the_row_is_as_it_was():
    now = [renamed(one, label=f"Q{i}") for i, one in enumerate(WEIGHT)]
    for place, one in enumerate(WEIGHT):
        assert found(one, now, *(other for other in WEIGHT if other is not one)) == place


def test_in_a_row_that_lost_one_of_its_own_nobody_takes_its_place():
    for gone, one in enumerate(WEIGHT):
        left = [other for other in WEIGHT if other is not one]
        now = [
            renamed(
                other, label=f"Q{i}", rank=f"{i}of3", place=f"{i}of3", steps=[f"input:{i}of3", "div:1of1"]
            )
            for i, other in enumerate(left, 1)
        ]
        assert found(one, now, *left) is None, gone
        assert found(one, left, *left) is None, gone


def test_where_all_places_are_new_a_new_place_says_little():
    parts = [look(label=f"Part {i}", id=f"part-{i}", heading=f"Head {i}", near=[f"{i}{i}"],
                  asks=[f"rows={i}"], rank=f"{i}of8", steps=["input:1of1", f"section:{i}of8", "form:1of1"])
             for i in range(8)]  # fmt: skip

    def moved(one: Look, to: int) -> Look:
        return one | {"rank": f"{to}of8", "steps": ["input:1of1", "section:1of1", f"div:{to}of8"]}

    one, rivals = parts[0], parts[1:]
    lost = look(**one | {"label": "Piece", "id": "x", "heading": "Other words"})
    assert found(one, [moved(lost, 7), *rivals], *rivals) is None
    assert found(one, [moved(lost, 7), *(moved(other, i) for i, other in enumerate(rivals))], *rivals) == 0


def test_what_another_target_needs_more_is_left_to_that():
    one = WEIGHT[0]
    left = renamed(one)
    assert found(one, [left, *WEIGHT[1:]], *WEIGHT[1:]) == 0
    twin = look(**one | {"label": "Load", "name": "load", "placeholder": "kg"})
    assert found(one, [left, *WEIGHT[1:]], twin, *WEIGHT[1:]) is None


def test_a_look_from_before_there_were_such_traits_counts_by_those_that_it_has():
    old = {
        trait: value for trait, value in WEIGHT[0].items() if trait not in ("near", "asks", "rank", "steps")
    }
    assert found(old, [renamed(WEIGHT[0]), *WEIGHT[1:]], *WEIGHT[1:]) is None
    assert found(old, [look(**WEIGHT[0] | {"name": "x"}), *WEIGHT[1:]], *WEIGHT[1:]) == 0
    healing = Healing(looks={("the pounds", "/sell"): old})
    healing.noted["the pounds", "/sell"] = WEIGHT[0]
    assert set(healing.changed()) == {("the pounds", "/sell")}  # and is written anew


def test_what_is_switched_may_say_that_the_seller_pays_a_button_may_not():
    free = look(kind="press", tag="button", text="Yes (Recommended)", heading="Free shipping?",
                asks=["aria-pressed"], near=["11"], rank="1of2", steps=["button:1of2"])  # fmt: skip
    no = look(**free | {"text": "No", "near": ["22"], "rank": "2of2", "steps": ["button:2of2"]})
    assert found(free, [look(**free | {"text": "Yes, I pay"}), no], no) == 0
    assert (
        found(look(**free | {"asks": []}), [look(**free | {"text": "Yes, I pay", "asks": []}), no], no)
        is None
    )


def test_what_closes_one_dialog_is_not_what_closes_another():
    rest = {"kind": "press", "tag": "button", "type": "", "path": ["body"], "text": "Save", "near": [],
            "place": "2of2", "rank": "13of14", "steps": ["button:2of2", "div:1of1", "div:2of2"],
            "classes": ["primary"]}  # fmt: skip
    zip_code = look(**rest | {"heading": "Ships from", "data": ["data-testid=a"], "inside": ["input:text:1"]})
    carrier = look(**rest | {"heading": "Choose a carrier", "data": ["data-testid=b"],
                             "inside": ["input:radio:3"]})  # fmt: skip
    weight = look(**rest | {"heading": "Weigh your package", "text": "Got it", "inside": ["no field"]})
    page = [look(kind="press", tag="button", type="", text=f"Button {i}", heading=f"Part {i}",
                 rank=f"{i}of14", inside=[]) for i in range(1, 12)]  # fmt: skip
    now = zip_code | {"heading": "Your location", "text": "Done", "data": ["data-testid=c"]}
    assert found(zip_code, [*page, now], carrier, weight) == 11
    assert found(carrier, [*page, now], zip_code, weight) is None
    assert found(zip_code, [*page, now | {"inside": ["input:radio:3"]}], carrier, weight) is None
    untold = [{name: trait for name, trait in one.items() if name != "inside"} for one in
              (zip_code, carrier, weight)]  # fmt: skip
    assert found(untold[0], [*page, now], *untold[1:]) is None


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=4))
def test_the_assignment_is_the_best_that_there_is(fit):
    best = max(
        sum(fit[row][column] for row, column in enumerate(columns) if column is not None)
        for columns in product((None, 0, 1, 2), repeat=len(fit))
        if len({*columns} - {None}) == sum(one is not None for one in columns)
    )
    whole, matched = _matched([[float(score) for score in row] for row in fit])
    assert whole == pytest.approx(best)
    assert len({*matched} - {None}) == sum(one is not None for one in matched)


# ---- nothing of a seller's ------------------------------------------------------------------------


def test_values_become_places_and_what_was_written_goes():
    target = Target("the size {name}", ("#a", "#b")).named(name="XXL")
    shown = look(kind="press", text="XXL", label="Size XXL, chosen", heading="Linen shirt, hardly worn",
                 data=["data-size=XXL", "data-post=65f0c0ffee65f0c0ffee"], id="row-20261127")  # fmt: skip
    kept = impersonal(shown, target, {"Linen shirt, hardly worn", "25"})
    assert kept["text"] == "{name}"
    assert kept["label"] == "Size {name}, chosen"
    assert (kept["heading"], kept["id"]) == ("", "")
    assert kept["data"] == ["data-size={name}"]
    assert "Linen" not in str(kept)


def test_of_the_texts_beside_it_marks_are_kept_that_do_not_tell_them():
    beside = ["Up to 80 characters", "Linen shirt, hardly worn", "Sold by Ann"]
    kept = impersonal(look(near=beside), TARGET, {"Linen shirt, hardly worn"}, {"Ann"})
    assert len(kept["near"]) == 2
    assert all(len(mark) == 2 for mark in kept["near"])
    assert kept["near"] == impersonal(look(near=[beside[0], "Sold by Bob"]), TARGET, (), {"Bob"})["near"]


def test_an_id_that_is_made_up_for_each_page_says_nothing():
    target = Target("the price", ("#a", "#b"))
    for made_up in ("s0-1-ykww5y-13", "x-47ed0y"):
        assert impersonal(look(id=made_up), target, ())["id"] == ""
    for chosen in ("customSizeInput0", "quantity-2", "itemSizeId", "h2"):
        assert impersonal(look(id=chosen), target, ())["id"] == chosen


def test_names_go_as_whole_words_and_nothing_else_with_them():
    names = {"ann", "ann@example.com", "65f0c0ffee", "al"}
    said = "Ann's channel, Ann@example.com, annotated by ANN (65f0c0ffee), all of al"
    assert nameless(said, names) == "***'s channel, ***, annotated by *** (***), all of al"
    kept = impersonal(look(label="Ann's parcel", heading="Channel", data=["data-of=ann"]), TARGET, (), names)
    assert (kept["label"], kept["heading"], kept["data"]) == ("***'s parcel", "Channel", ["data-of=***"])


def test_where_a_target_is_says_not_whose():
    assert layout_of("http://x.localhost:1/edit-listing/65f0c0ffee65f0c0ffee65f0", None) == "/edit-listing"
    assert layout_of("http://x.localhost:1/closet/alice?availability=sold", None) == "/closet"
    assert layout_of("http://x.localhost:1/20261127/", None) == "/"
    assert layout_of("http://x.localhost:1/lstng?draftId=1", "iframe") == "/lstng iframe"


OUTLINE = """- form [ref=e2]:
  - textbox "Title" [ref=e3]: Linen shirt, hardly worn
  - textbox "Price" [ref=e4]
  - button "List" [disabled] [ref=e5]
  - button "Save" [ref=e6] [cursor=pointer]
  - combobox "Brand" [ref=e7]: Levi's
  - paragraph [ref=e8]: "Linen shirt, hardly worn · $25"
  - combobox "Policy" [ref=e9]:
    - option "My own policy" [selected]
  - textbox "ZIP" [ref=e10]:
    - /placeholder: Where from?
    - text: "97205"
  - combobox "Size" [ref=e11]:
    - /placeholder: Choose
    - text: Petite
    - option "Tall" [ref=e12]: Tall
  - textbox [ref=e13]:
    - paragraph [ref=e14]: Hardly worn
  - paragraph [ref=e15]: What it is
"""


def test_a_model_may_choose_of_what_is_of_the_kind_and_can_be_used():
    assert _refs(OUTLINE, "text") == {"e3", "e4", "e7", "e9", "e10", "e11", "e13"}
    assert _refs(OUTLINE, "press") == {"e3", "e4", "e6", "e7", "e9", "e10", "e11", "e12", "e13"}
    assert _refs(OUTLINE, "select") == {"e7", "e9", "e11"}


def test_a_model_reads_nothing_that_was_written():
    shown = without(_unfilled(OUTLINE), {"Linen shirt, hardly worn", "Levi's", "25"})
    assert "Linen" not in shown
    assert "Levi" not in shown
    assert "My own" not in shown
    assert '- textbox "Title" [ref=e3]\n' in shown


def test_a_model_reads_nothing_that_stood_in_a_field_before_we_came():
    shown = _unfilled(OUTLINE)
    for value in ("97205", "Petite", "Hardly worn\n  - p", "Levi", "Linen shirt, hardly worn\n"):
        assert value not in shown
    for there in ("Where from?", "What it is", '- option "Tall" [ref=e12]', 'button "Save" [ref=e6]'):
        assert there in shown


# ---- what a step learned --------------------------------------------------------------------------

TARGET = Target("the title", ("#a", "#b"))


def healed(state="candidate", locator="#c"):
    return Healed(TARGET.key, "/sell", locator, state)


def test_a_promoted_locator_comes_first_a_candidate_last_and_others_not_at_all():
    healing = Healing(healed=[healed(), healed("promoted", "#d"), healed("demoted", "#e"),
                              healed("rejected", "#f")])  # fmt: skip
    assert [one.locator for one in healing.tried(TARGET, "/sell", first=True)] == ["#d"]
    assert [one.locator for one in healing.tried(TARGET, "/sell", first=False)] == ["#c"]
    assert not list(healing.tried(TARGET, "/edit", first=True))
    commit = Target(TARGET.intent, TARGET.locators, effect="commit")
    assert not list(healing.tried(commit, "/sell", first=True))


def test_what_was_wrong_is_not_used_again_nor_counted_as_used():
    healing = Healing(healed=[one := healed()])
    healing.begin(noting=True)
    healing.use(one)
    healing.fail(one)
    assert healing.failed == [one]
    assert healing.used == {}
    assert not list(healing.tried(TARGET, "/sell", first=False))


def test_only_a_look_that_changed_is_written():
    where = (TARGET.key, "/sell")
    title = look(**TITLE | {"near": ["2e"], "asks": []})
    healing = Healing(looks={where: title})
    healing.noted[where] = dict(title)
    assert healing.changed() == {}
    for other in ({"label": "Headline"}, {"near": ["3f"]}, {"asks": ["maxlength=80"]}):
        healing.noted[where] = look(**title | other)
        assert set(healing.changed()) == {where}


@pytest.mark.parametrize(
    ("wrong", "shown", "live", "comes_of_it"),
    [
        ([], {"title": "A"}, False, "nothing"),  # the form alone proves nothing
        ([], {"title": "A"}, True, "proved"),
        (["size"], {"size": "L"}, False, "failed"),
        (["size"], {"size": None}, False, "nothing"),  # nobody could read it: that is no heal's fault
        (["shipping.payer"], {"shipping": {"payer": "buyer"}}, False, "failed"),
        (["brand"], {"brand": "LEVI'S"}, True, "good"),  # a site may write it its own way, or it was healed
        (["title"], {"title": "B"}, True, "failed"),
    ],
)
def test_a_comparison_proves_demotes_or_says_nothing(wrong, shown, live, comes_of_it):
    visit = SimpleNamespace(healing=Healing(healed=[one := healed()]))
    visit.healing.use(one)
    heals.judge(visit, wrong, shown, live=live)
    names = ("failed", "proved", "good")
    assert next((name for name in names if getattr(visit.healing, name)), "nothing") == comes_of_it
    heals.judge(SimpleNamespace(healing=None), wrong, shown, live=live)


def test_a_model_reads_places_instead_of_the_listings_words_and_no_names():
    fields = {
        "title": "Wool coat, as new", "sku": "B-4711 ~K7Q2XM", "shipping.ships_from_zip": "94110",
        "description": "Worn twice, washed cold. No flaws that I can see.\nAsk me anything.",
        "brand": "Acme", "size": "M", "tags": ["cosy", "xy"], "quantity": 1, "specifics.Style": "Loose",
    }  # fmt: skip
    draft = SimpleNamespace(model_dump=lambda mode: fields, sku=fields["sku"])
    visit = SimpleNamespace(
        stored=None, healing=Healing(names={"bob", "bob@example.com"}), browser=object(),
        connection=SimpleNamespace(marketplace="poshmark"), tools=SimpleNamespace(agent=object()),
    )  # fmt: skip
    helper = agents._helper(visit, draft, [], AsyncMock())
    assert helper.fields == fields
    assert helper.told == fields | {
        name: f"{{{name}}}" for name in ("title", "sku", "shipping.ships_from_zip", "description", "tags")
    }
    for page, read in {
        "Listing Wool  COAT, as new": "Listing {title}",
        "/sell?t=wool%20coat%2C+as-new&zip=94110": "/sell?t={title}&zip={shipping.ships_from_zip}",
        "SKU B-4711 or b-4711 ~k7q2xm": "SKU {sku} or {sku}",
        "“Worn twice, washed cold. No…”": "“{description}…”",
        "Worn twice, washed cold.\n No flaws that I can see. Ask me anything": "{description}",
        "Worn twice": "Worn twice",  # nothing that only this one says
        "Bob (bob@example.com) of Bobsled": "*** (***) of Bobsled",
        "Acme, M, Loose, cosy, xy, 941100": "Acme, M, Loose, {tags}, xy, 941100",
    }.items():
        assert helper.scrub(page) == read


async def test_where_another_field_differs_what_was_seen_is_kept_and_what_was_healed_is_not_counted():
    for wrong, calls in ((["size"], ["remember_look"]), ([], ["note_heal", "remember_look"])):
        asked: list[str] = []

        async def ask(query: str, to: list[str] = asked, **_: object) -> None:
            to.extend(name for name in ("note_heal", "remember_look") if f"everystall.{name}(" in query)

        visit = SimpleNamespace(
            healing=Healing(healed=[one := healed()]), tools=SimpleNamespace(db=SimpleNamespace(ask=ask)),
            connection=SimpleNamespace(marketplace="mercari", base_url="https://www.mercari.com"),
        )  # fmt: skip
        visit.healing.use(one)
        visit.healing.noted[TARGET.key, "/sell"] = TITLE
        heals.judge(visit, wrong, {"title": "A", "size": "L"}, live=True)
        await heals.keep(visit)
        assert asked == calls
