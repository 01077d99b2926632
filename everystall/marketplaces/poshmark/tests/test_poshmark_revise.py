"""Changing what is live on the practice Poshmark, in a real Chromium; the site's ledger is the judge."""

from __future__ import annotations

from typing import Any

import pytest

from everystall.errors import AccountLimited, ListingRejected, MarketplaceBusy, NotWanted
from everystall.marketplaces.base import Money, Published
from everystall.marketplaces.poshmark.adapter import ADAPTER
from everystall.marketplaces.poshmark.tests.conftest import photo
from everystall.marketplaces.poshmark.tests.test_poshmark_adapter import DRAFT, PHOTOS, _publish, _sha
from everystall.worker.compare import compare, differing
from tests.revising import revise

pytestmark = pytest.mark.browser

NEW = DRAFT.model_copy(
    update={
        "title": "A shorter title", "description": "Two pockets.", "price": Money(amount=140_000),
        "original_price": None, "quantity": 2, "category": ("Women", "Dresses", "Mini"), "brand": None,
        "size": "L", "condition": "Fair", "colors": ("White", "Red"), "tags": ("linen", "party"),
        "sku": "B-18 ~ABC234", "shipping": {"discount": "-$1.50"}, "photos": ("c" * 64, "a" * 64),
    }
)  # fmt: skip


@pytest.fixture
async def live(page: Any) -> str:
    answer, _ = await _publish(page)
    return str(answer.remote_id)


def edits(site: Any) -> list[dict[str, Any]]:
    return [entry for entry in site.ledger()["entries"] if entry["event"] == "edited"]


@pytest.mark.longer
async def test_every_field_that_is_other_is_changed_with_one_click_and_reads_back(page, site, live):
    photos = [photo(3), photo(1)]
    answer, filled = await revise(ADAPTER, page, live, DRAFT, NEW, photos)
    assert answer.remote_id == live
    assert differing(compare(NEW, filled.fields)) == []
    (item,) = site.ledger()["listings"]
    for name in ("title", "description", "brand", "size", "condition", "colors", "tags", "category"):
        value = getattr(NEW, name)
        assert item["fields"][name] == (list(value) if isinstance(value, tuple) else value)
    assert (item["fields"]["price"], item["fields"]["quantity"]) == (NEW.price.model_dump(), 2)
    assert (item["fields"]["original_price"], item["sku"]) == (None, NEW.sku)
    assert item["fields"]["shipping"] == {"discount": "-$1.50"}
    assert item["fields"]["options"] == {"smart_sell": False}
    assert [kept["sha256"] for kept in item["photos"]] == [_sha(one.data) for one in photos]
    (edit,) = edits(site)
    assert edit["before"]["title"] == DRAFT.title
    seen = await ADAPTER.read(page, live)
    assert (seen.state, differing(compare(NEW, seen.fields))) == ("live", [])


@pytest.mark.extended
async def test_only_what_is_named_is_written(page, site, live):
    world = site.world
    world.edit(world.item("poshmark", live), brand="By hand")
    await revise(ADAPTER, page, live, DRAFT, DRAFT.model_copy(update={"price": Money(amount=140_000)}))
    (item,) = site.ledger()["listings"]
    assert (item["fields"]["brand"], item["fields"]["price"]["amount"]) == ("By hand", 140_000)
    assert edits(site)[1]["before"] == {"price": DRAFT.price.model_dump()}


@pytest.mark.longer
async def test_nothing_named_is_no_click_and_the_form_reads_as_posted(page, site, live):
    answer, form = await revise(ADAPTER, page, live, DRAFT, DRAFT)
    assert answer == Published(remote_id=live)
    assert differing(compare(DRAFT, form.fields)) == []
    assert edits(site) == []


@pytest.mark.extended
async def test_a_change_of_mind_changes_nothing(page, site, live):
    with pytest.raises(NotWanted):
        await revise(ADAPTER, page, live, DRAFT, NEW, [photo(3)], refused=NotWanted())
    assert edits(site) == []


@pytest.mark.extended
async def test_the_other_layout_saves_at_once(page, site, live):
    site.fault("poshmark", "layout")
    answer, _ = await revise(ADAPTER, page, live, DRAFT, NEW, PHOTOS)
    assert answer.remote_id == live
    assert len(edits(site)) == 1


@pytest.mark.extended
@pytest.mark.parametrize(
    ("kind", "edited"),
    [
        pytest.param("error_before", 0, marks=pytest.mark.extended),
        ("reset_after", 1),
        pytest.param("odd_answer", 1, marks=pytest.mark.extended),
    ],
)
async def test_an_answer_that_settles_nothing_is_not_clicked_again(page, site, live, kind, edited):
    site.fault("poshmark", kind)
    answer, _ = await revise(ADAPTER, page, live, DRAFT, NEW, PHOTOS)
    assert answer.remote_id is None
    assert len(edits(site)) == edited


@pytest.mark.extended
async def test_a_refusal_in_known_words_and_a_limit_are_told(page, site, live):
    site.fault("poshmark", "soft_reject")
    with pytest.raises(ListingRejected, match="contact details"):
        await revise(ADAPTER, page, live, DRAFT, NEW, PHOTOS)
    site.fault("poshmark", "item_limit")
    with pytest.raises(AccountLimited):
        await revise(ADAPTER, page, live, DRAFT, NEW, PHOTOS)
    assert edits(site) == []


@pytest.mark.extended
async def test_what_is_gone_has_no_form(page, site, live):
    site.world.end(site.world.item("poshmark", live))
    with pytest.raises(MarketplaceBusy):
        await revise(ADAPTER, page, live, DRAFT, NEW)
