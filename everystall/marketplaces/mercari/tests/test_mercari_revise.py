"""Changing what is live on the practice Mercari, in a real Chromium; the site's ledger is the judge."""

import pytest

from everystall.errors import AccountLimited, ListingRejected, MarketplaceBusy
from everystall.marketplaces.base import Money, Published
from everystall.marketplaces.mercari.adapter import ADAPTER
from everystall.marketplaces.mercari.tests.test_mercari_adapter import DRAFT, PHOTOS, SITE, photo, post
from everystall.worker.compare import compare, differing
from tests.revising import revise

NEW = DRAFT.model_copy(
    update={
        "title": "A shorter title", "description": "Worn twice, and then not any more.",
        "price": Money(amount=1999), "category": ("Women", "Dresses", "Maxi"), "brand": None,
        "size": "L (12-14)", "condition": "Fair",
        "shipping": {"payer": "seller", "ships_from_zip": "97205", "weight_oz": 30, "carrier": "UPS",
                     "fits_in_shoebox": False, "length_in": 16.0, "width_in": 10.0, "height_in": 4.0},
        "photos": ("d", "a"),
    }
)  # fmt: skip


@pytest.fixture
async def live(page):
    return (await post(page)).remote_id


def edits(mercari):
    return [entry for entry in mercari.ledger(SITE)["entries"] if entry["event"] == "edited"]


@pytest.mark.longer
async def test_every_field_that_is_other_is_changed_with_one_click_and_reads_back(page, mercari, live):
    answer, filled = await revise(ADAPTER, page, live, DRAFT, NEW, [photo(5), PHOTOS[0]])
    assert answer.remote_id == live
    assert differing(compare(NEW, filled.fields)) == []
    (item,) = mercari.ledger(SITE, "ada")["listings"]
    for name in ("title", "description", "brand", "size", "condition"):
        assert item["fields"][name] == getattr(NEW, name)
    assert item["fields"]["category"] == list(NEW.category)
    assert item["fields"]["price"] == NEW.price.model_dump()
    assert item["fields"]["shipping"] == dict(NEW.shipping)
    assert item["fields"]["options"] == {"smart_pricing": False}
    assert len(item["photos"]) == 2
    (edit,) = edits(mercari)
    assert edit["before"]["title"] == DRAFT.title
    seen = await ADAPTER.read(page, live)
    assert (seen.state, differing(compare(NEW, seen.fields))) == ("live", [])


@pytest.mark.longer
async def test_only_what_is_named_is_written(page, mercari, live):
    world = mercari.world
    world.edit(world.item(SITE, live), description="Written by hand, with five words.")
    await revise(ADAPTER, page, live, DRAFT, DRAFT.model_copy(update={"price": Money(amount=1999)}))
    assert edits(mercari)[1]["before"] == {"price": DRAFT.price.model_dump()}
    (item,) = mercari.ledger(SITE, "ada")["listings"]
    assert item["fields"]["shipping"] == dict(DRAFT.shipping)


@pytest.mark.longer
async def test_nothing_named_is_no_click_and_the_form_reads_as_posted(page, mercari, live):
    answer, form = await revise(ADAPTER, page, live, DRAFT, DRAFT)
    assert answer == Published(remote_id=live)
    assert differing(compare(DRAFT, form.fields)) == []
    assert edits(mercari) == []


@pytest.mark.longer
async def test_a_floor_of_smart_pricing_stays_when_the_price_changes(page, mercari):
    smart = DRAFT.model_copy(
        update={"options": {"smart_pricing": True}, "specifics": {"Smart Pricing floor": "21.00"}}
    )
    live = (await post(page, smart)).remote_id
    new = smart.model_copy(update={"price": Money(amount=3000)})
    _, form = await revise(ADAPTER, page, live, smart, new)
    assert differing(compare(new, form.fields)) == []
    assert mercari.world.item(SITE, live).private["floor"] == 2100


@pytest.mark.longer
@pytest.mark.parametrize(
    ("kind", "edited"),
    [
        pytest.param("error_before", 0, marks=pytest.mark.extended),
        ("reset_after", 1),
        pytest.param("odd_answer", 1, marks=pytest.mark.extended),
    ],
)
async def test_an_answer_that_settles_nothing_is_not_clicked_again(page, mercari, live, kind, edited):
    mercari.fault(SITE, kind)
    answer, _ = await revise(ADAPTER, page, live, DRAFT, NEW, PHOTOS)
    assert answer.remote_id is None
    assert len(edits(mercari)) == edited


@pytest.mark.extended
async def test_a_refusal_in_known_words_and_a_limit_are_told(page, mercari, live):
    mercari.fault(SITE, "soft_reject")
    with pytest.raises(ListingRejected, match="check the description"):
        await revise(ADAPTER, page, live, DRAFT, NEW, PHOTOS)
    mercari.fault(SITE, "item_limit")
    with pytest.raises(AccountLimited):
        await revise(ADAPTER, page, live, DRAFT, NEW, PHOTOS)
    assert edits(mercari) == []


@pytest.mark.longer
@pytest.mark.parametrize("what", ["ended", "sold"])
async def test_what_is_over_has_no_form(page, mercari, live, what):
    item = mercari.world.item(SITE, live)
    mercari.world.end(item) if what == "ended" else mercari.buy(SITE, listing_id=live)
    with pytest.raises(MarketplaceBusy):
        await revise(ADAPTER, page, live, DRAFT, NEW)
