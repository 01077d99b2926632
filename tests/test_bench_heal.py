"""What `make bench-heal` counts, and that the drifts it makes are no help to what is measured."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from benchmarks import heal, stills
from benchmarks.other_words import LABELS
from everystall.marketplaces import MARKETPLACES
from everystall.marketplaces.mercari import pages as mercari
from everystall.sandbox import drift

RUN = heal.Run(
    "ebay", 2, 1801, "likeness", "live", 3.0, 1.0, ["the price"], [], 0, 0, "", "abc", "2026-11-27 21:00"
)


def test_the_same_seed_changes_the_same_and_a_greater_strength_more():
    for marketplace in MARKETPLACES:
        first, second, third = (heal.changed(marketplace, 7, strength) for strength in (1, 2, 3))
        assert first.names == second.names
        assert second == third == heal.changed(marketplace, 7, 2)
        assert second != heal.changed(marketplace, 8, 2)
        assert not first.labels
        assert second.labels


def test_what_finds_again_reads_none_of_the_words_that_drift_uses():
    folder = heal.ROOT / "everystall" / "browser"
    source = "".join((folder / f"{name}.py").read_text() for name in ("heal", "likeness", "looks"))
    assert not re.search(r"^(from|import) (benchmarks|everystall\.sandbox)", source, re.MULTILINE)
    words = {other for labels in LABELS.values() for others in labels.values() for other in others}
    words |= {
        other
        for name in MARKETPLACES
        for others in heal._vocabulary(name).labels.values()
        for other in others
    }
    several = [word for word in words if " " in word]
    assert len(several) > 100
    assert not [word for word in several if word in source]


def test_a_drift_renames_a_label_and_no_name_that_reads_alike():
    script = 'h("input", { id: "Price", "data-testid": "Price", "aria-label": "Price" }, "Price")'
    words = drift.Vocabulary(labels={"Price": ["Your price"]})
    assert drift.apply(script, words, 1, 2) == (
        'h("input", { id: "Price", "data-testid": "Price", "aria-label": "Your price" }, "Your price")'
    )
    assert drift.apply('[data-testid="Price"]', words, 1, 2) == '[data-testid="Price"]'


def test_what_publishes_at_mercari_is_renamed_in_the_page_as_in_its_locators():
    script = (heal.ROOT / "everystall" / "sandbox" / "mercari" / "static" / "sell.js").read_text()
    assert "ListButton" in script
    assert "ListButton" not in drift.apply(script, heal._vocabulary("mercari"), 1, 1)


def test_a_still_is_changed_as_the_page_would_be_and_judged():
    title = mercari.TITLE
    was: dict[str, Any] = {
        "kind": "text", "tag": "input", "type": "text", "role": "", "path": ["form"], "heading": "Details",
        "place": "1of1", "label": "Title", "placeholder": "What are you selling?", "text": "", "id": "Title",
        "name": "sellName", "classes": [], "data": ["data-testid=Title"], "visible": True, "enabled": True,
        "near": [], "asks": [], "rank": "1of2", "steps": ["input:1of1"], "around": [],
    }  # fmt: skip
    words = drift.Vocabulary(names=["data-testid=Title", "sellName"], labels={"Title": ["Headline"]})
    look = stills.Drifted(words, 1, 2).look(was, [])
    assert (look["label"], look["id"], look["heading"]) == ("Headline", "Title", "Details")
    assert look["name"] == drift.new_name("sellName", 1)
    assert "Title" not in look["data"][0]

    still = stills.Still(title, "/sell", "visible", [was | {"kind": "file"}, was], [[], []], 1, frozenset())
    drifts = ((seed, heal.changed("mercari", seed, 1)) for seed in range(1, 40))
    seed = next(seed for seed, words in drifts if stills.Drifted(words, seed, 1).loses(title))
    for looks, ended in (({(title.key, "/sell"): was}, "right"), ({}, "unknown")):
        counted, _ = stills.judge("mercari", looks, [still], mercari.LIST, (), seed, 1)
        assert (counted["lost"], counted[ended], counted["WRONG"], counted["ANOTHER"]) == (1, 1, 0, 0)


def test_only_publishes_that_lost_something_count_and_none_by_which_the_code_was_mended():
    runs = [
        RUN,
        replace(RUN, seed=1802, ended="stop", said="Not found."),
        replace(RUN, seed=1803, ended="commit"),
        replace(RUN, seed=1804, lost=[]),
        replace(RUN, seed=7, ended="stop", said="Tuned."),
    ]
    text = heal.write(runs)
    assert "| 2: + labels | likeness | 3 | 2 | 1 = 50.0% (goal 95%) | 2 | 0 | 0 |" in text
    assert "In 4 drifts something was lost in 3" in text
    assert "1 × ebay: Not found." in text
    assert "Tuned" not in text
    assert heal.write([replace(RUN, seed=7)]) == "Not measured yet.\n"


@pytest.mark.parametrize("lost", [["the price"], []])
def test_a_wrong_listing_counts_whatever_was_lost(lost):
    assert "**1 of all 1 publishes put a wrong listing.**" in heal.write(
        [replace(RUN, ended="wrong", lost=lost)]
    )


def test_the_last_result_of_each_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(heal, "RESULTS", tmp_path / "results.jsonl")
    assert heal.results() == []
    for run in (replace(RUN, ended="stop"), RUN, replace(RUN, by="model")):
        heal.keep(run)
    assert heal.results() == [RUN, replace(RUN, by="model")]
