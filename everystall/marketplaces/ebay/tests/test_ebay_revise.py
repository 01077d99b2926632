"""Changing what is live on the practice eBay, in a real Chromium; the site's ledger is the judge."""

import pytest

from everystall.errors import AccountLimited, ListingRejected, MarketplaceBusy
from everystall.marketplaces.base import Money, Published, flat
from everystall.marketplaces.ebay.adapter import ADAPTER
from everystall.marketplaces.ebay.tests.test_ebay_adapter import DRAFT, PHOTOS, SITE, listings, photo, post
from everystall.worker.compare import compare, differing
from tests.revising import changes, revise

NEW = DRAFT.model_copy(
    update={
        "title": "A shorter title", "description": "Worn twice.\nAnd then not any more.",
        "price": Money(amount=1999), "quantity": 4, "brand": "Levi's", "size": "L",
        "condition": "Pre-owned - Fair", "colors": ("Red",), "sku": "B-18 ~K7Q2XM",
        "specifics": {"Brand": "Levi's", "Size Type": "Regular", "Size": "L", "Color": "Red",
                      "Department": "Women", "Type": "Dress"},
        "shipping": {"payer": "seller", "ships_from_zip": "97205", "weight_oz": 30, "length_in": 11.0,
                     "width_in": 8.5, "shipping_policy": "Free shipping",
                     "payment_policy": "Immediate payment", "return_policy": "No returns"},
        "options": {"offers": True, "promotion": False}, "photos": ("d", "a"),
    }
)  # fmt: skip


@pytest.fixture
async def live(page):
    return (await post(page)).remote_id


def edits(ebay):
    return [entry for entry in ebay.ledger(SITE)["entries"] if entry["event"] == "edited"]


@pytest.mark.longer
async def test_every_field_that_is_other_is_changed_with_one_click_and_reads_back(page, ebay, live):
    answer, filled = await revise(ADAPTER, page, live, DRAFT, NEW, [photo(5), PHOTOS[0]])
    assert answer.remote_id == live
    compared = compare(NEW, filled.fields)
    assert differing({name: compared[name] for name in changes(DRAFT, NEW) & compared.keys()}) == []
    (item,) = listings(ebay)
    fields = item["fields"]
    assert (fields["title"], fields["description"]) == (NEW.title, NEW.description)
    assert (fields["price"]["amount"], fields["quantity"], fields["condition"]) == (1999, 4, NEW.condition)
    assert (fields["brand"], fields["size"], fields["colors"]) == ("Levi's", "L", ["Red"])
    assert fields["specifics"] == {"Size Type": "Regular", "Department": "Women", "Type": "Dress"}
    assert fields["shipping"] == {k: v for k, v in NEW.shipping.items() if k != "payer"}
    assert fields["options"] == {"offers": True, "promotion": False}
    assert (item["sku"], len(item["photos"])) == (NEW.sku, 2)
    (edit,) = edits(ebay)
    assert edit["before"]["title"] == DRAFT.title
    seen = await ADAPTER.read(page, live)
    assert (seen.state, differing(compare(NEW, seen.fields))) == ("live", [])


@pytest.mark.extended
async def test_the_form_says_what_is_left_and_only_what_is_named_is_written(page, ebay, live):
    ebay.buy(SITE, listing_id=live)
    _, form = await revise(ADAPTER, page, live, DRAFT, DRAFT)
    assert form.fields["quantity"] == 1
    await revise(ADAPTER, page, live, DRAFT, DRAFT.model_copy(update={"price": Money(amount=1999)}))
    (edit,) = edits(ebay)
    assert edit["before"] == {"price": DRAFT.price.model_dump()}


@pytest.mark.extended
async def test_nothing_named_is_no_click_and_the_form_reads_as_posted(page, ebay, live):
    answer, form = await revise(ADAPTER, page, live, DRAFT, DRAFT)
    assert answer == Published(remote_id=live)
    compared = compare(DRAFT, form.fields)
    assert differing({name: compared[name] for name in flat(DRAFT.model_dump()) if name in compared}) == []
    assert edits(ebay) == []


@pytest.mark.parametrize(
    ("kind", "edited"),
    [
        pytest.param("error_before", 0, marks=pytest.mark.extended),
        ("reset_after", 1),
        pytest.param("odd_answer", 1, marks=pytest.mark.extended),
    ],
)
@pytest.mark.extended
async def test_an_answer_that_settles_nothing_is_not_clicked_again(page, ebay, live, kind, edited):
    ebay.fault(SITE, kind)
    answer, _ = await revise(ADAPTER, page, live, DRAFT, NEW, PHOTOS)
    assert answer.remote_id is None
    assert len(edits(ebay)) == edited


@pytest.mark.extended
async def test_a_refusal_in_known_words_and_a_limit_are_told(page, ebay, live):
    ebay.fault(SITE, "soft_reject")
    with pytest.raises(ListingRejected, match="links policy"):
        await revise(ADAPTER, page, live, DRAFT, NEW, PHOTOS)
    ebay.fault(SITE, "item_limit")
    with pytest.raises(AccountLimited):
        await revise(ADAPTER, page, live, DRAFT, NEW, PHOTOS)
    assert edits(ebay) == []


@pytest.mark.extended
async def test_what_is_over_has_no_form(page, ebay, live):
    ebay.world.end(ebay.world.item(SITE, live))
    with pytest.raises(MarketplaceBusy):
        await revise(ADAPTER, page, live, DRAFT, NEW)
