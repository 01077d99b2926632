"""The practice Poshmark after its makers changed it: it still works for who knows the new names, and the
adapter with the old ones stops before anything is posted."""

from __future__ import annotations

import dataclasses
import types

import pytest

from everystall.browser.heal import Healing
from everystall.browser.targets import Target
from everystall.errors import PageChanged
from everystall.marketplaces.poshmark import adapter, pages
from everystall.marketplaces.poshmark.adapter import ADAPTER
from everystall.marketplaces.poshmark.tests.test_poshmark_adapter import DRAFT, _publish
from everystall.sandbox import drift
from everystall.sandbox.core import DriftSetting
from everystall.sandbox.poshmark.words import VOCABULARY
from everystall.worker.compare import compare, differing

pytestmark = pytest.mark.browser


def _pages_after(seed: int, strength: int) -> types.SimpleNamespace:
    """The map of the site as a developer would mend it."""

    def mended(value: object) -> object:
        if isinstance(value, Target):
            locators = tuple(drift.apply(text, VOCABULARY, seed, strength) for text in value.locators)
            return dataclasses.replace(value, locators=locators)
        return drift.apply(value, VOCABULARY, seed, strength) if isinstance(value, str) else value

    return types.SimpleNamespace(**{name: mended(value) for name, value in vars(pages).items()})


@pytest.mark.extended
@pytest.mark.parametrize(("seed", "strength"), [(1, 1), (2, 2), (3, 3)])
async def test_the_changed_site_works_for_who_knows_its_new_names(page, site, monkeypatch, seed, strength):
    site.drift("poshmark", seed=seed, strength=strength)
    monkeypatch.setattr(adapter, "on", _pages_after(seed, strength))
    answer, _ = await _publish(page)
    assert answer.remote_id
    assert [item["state"] for item in site.ledger()["listings"]] == ["live"]
    assert site.ledger()["listings"][0]["fields"]["title"] == DRAFT.title
    await ADAPTER.delist(page, answer.remote_id)
    assert [item["state"] for item in site.ledger()["listings"]] == ["ended"]


@pytest.mark.extended
async def test_with_the_old_names_nothing_is_posted(page, site):
    site.drift("poshmark", seed=4, strength=3)
    with pytest.raises(PageChanged):
        await _publish(page)
    assert [item["state"] for item in site.ledger()["listings"] if item["state"] == "live"] == []


@pytest.mark.extended
async def test_what_lost_all_its_locators_is_found_again_and_read(page, site):
    """The SKU behind what opens it, the brand, and the photos that the form counts."""
    page.healing = Healing()
    page.healing.begin(noting=True)
    await _publish(page)
    page.healing = Healing(looks=page.healing.noted)
    names = ["data-vv-name=sku", "data-et-name=show_details", "data-test=photos"]
    labels = {"show details": ["open details"], "ADDITIONAL DETAILS (PRIVATE)": ["MY DETAILS"],
              "Enter the Brand/Designer": ["Brand or designer"], "BRAND": ["LABEL"]}  # fmt: skip
    site.world.drifts["poshmark"] = DriftSetting(1, 2, drift.Vocabulary(names=names, labels=labels))
    try:
        await _publish(page)
        assert page.healing.lost >= {pages.SKU.key, pages.SHOW_DETAILS.key, pages.BRAND.key}
    finally:
        page.healing = None
    first, second = (item["fields"] for item in site.ledger()["listings"])
    assert first == second


@pytest.mark.longer
async def test_a_subcategory_is_read_where_its_box_has_another_name(page, site):
    words = drift.Vocabulary(names=["listing-editor__subcategory-container"])
    site.world.drifts["poshmark"] = DriftSetting(1, 1, words)
    page.healing = None
    _, filled = await _publish(page)
    assert filled.fields["category"] == DRAFT.category


@pytest.mark.longer
async def test_each_field_is_read_by_its_second_name_also_where_the_second_step_hides_the_form(page, site):
    names = [f"data-vv-name={one}" for one in ("title", "description", "listingPrice", "sku")]
    words = drift.Vocabulary(names=[*names, "data-test=size", "data-et-name=color"])
    site.world.drifts["poshmark"] = DriftSetting(1, 1, words)
    page.healing = None
    _, filled = await _publish(page)
    assert differing(compare(DRAFT, filled.fields)) == []


def test_the_same_seed_changes_the_site_in_the_same_way():
    html = '<input id="img-file-input" class="dropdown__menu__item dropdown__menu"><b>Next</b>'
    first = drift.apply(html, VOCABULARY, 7, 2)
    assert first == drift.apply(html, VOCABULARY, 7, 2) != drift.apply(html, VOCABULARY, 8, 2)
    assert "img-file-input" not in first
    assert ">Next<" not in first
    assert drift.apply(html, VOCABULARY, 7, 1).endswith("<b>Next</b>")
    assert drift.apply(html, VOCABULARY, 7, 0) == html


def test_what_closes_one_dialog_is_not_remembered_as_what_closes_another():
    assert pages.PRICE_DONE.key != pages.SIZE_DONE.key
