"""The adapter in a real Chromium against the practice Mercari; the site's ledger is the judge."""

import asyncio
import io
from contextlib import nullcontext, suppress

import pytest
from PIL import Image

from everystall.browser.heal import Healing
from everystall.errors import (
    AccountLimited,
    ChallengeShown,
    EverystallError,
    ListingRejected,
    MarketplaceBusy,
    NotPublished,
    NotWanted,
    PageChanged,
    SessionExpired,
)
from everystall.marketplaces.base import Draft, Money, PhotoFile, Published
from everystall.marketplaces.mercari import pages as on
from everystall.marketplaces.mercari.adapter import ADAPTER
from everystall.sandbox.core import DriftSetting
from everystall.sandbox.drift import Vocabulary
from everystall.worker.compare import compare, differing

SITE = "mercari"


def photo(place):
    image = Image.effect_noise((320, 240), 60 + 20 * place).convert("RGB")
    out = io.BytesIO()
    image.save(out, "JPEG")
    return PhotoFile(f"photo-{place}.jpg", "image/jpeg", out.getvalue())


PHOTOS = [photo(place) for place in range(3)]
DRAFT = Draft(
    title="Blue linen dress 👗 <b>new</b>",
    description="Worn twice.\n\nSmall mark “on” the hem & sleeve.",
    price=Money(amount=2550),
    category=("Women", "Dresses", "Midi"),
    brand="Levi's",
    size="M (8-10)",
    condition="Like new",
    shipping={"payer": "buyer", "ships_from_zip": "94107", "weight_oz": 20, "carrier": "USPS",
              "fits_in_shoebox": True},
    options={"smart_pricing": False},
    photos=("a", "b", "c"),
)  # fmt: skip


async def armed(read):
    filled = await read()
    assert differing(compare(armed.draft, filled.fields)) == []
    armed.filled = filled


async def post(page, draft=DRAFT, photos=PHOTOS, arm=armed):
    armed.draft = draft

    async def drafted(draft_id):
        raise AssertionError("Mercari begins no draft before the click")

    return await ADAPTER.publish(page, draft, photos, arm, drafted)


def listings(mercari, state=None):
    return [one for one in mercari.ledger(SITE, "ada")["listings"] if state in (None, one["state"])]


async def test_a_listing_is_posted_with_every_field_and_read_back_equal(page, mercari, browser):
    answer = await post(page)
    assert len(browser.navigations) <= 2
    [item] = listings(mercari, "live")
    assert answer == Published(answer.remote_id, f"{mercari.url(SITE)}/us/item/{item['listing_id']}/")
    assert answer.remote_id == item["listing_id"]
    assert item["fields"]["price"] == {"amount": 2550, "currency": "USD"}
    assert item["fields"]["title"] == DRAFT.title
    assert item["fields"]["description"] == DRAFT.description
    assert item["fields"]["options"] == {"smart_pricing": False}
    assert item["fields"]["shipping"] == dict(DRAFT.shipping)
    assert [one["sha256"] for one in item["photos"]] == [_sha(one) for one in PHOTOS]
    seen = await ADAPTER.read(page, answer.remote_id)
    assert seen.state == "live"
    compared = compare(DRAFT, seen.fields)
    assert differing(compared) == []
    assert {"title", "description", "price", "category", "brand", "size", "condition"} <= set(compared)
    assert compared["shipping.payer"]
    assert len(seen.photo_urls) == 3
    assert await page.fetch(seen.photo_urls[0]) == PHOTOS[0].data


@pytest.mark.longer
async def test_no_brand_no_size_free_shipping_and_a_measured_parcel(page, mercari):
    draft = DRAFT.model_copy(
        update={
            "category": ("Home", "Artwork", "Art Prints"), "brand": None, "size": None, "condition": "Poor",
            "shipping": {"payer": "seller", "ships_from_zip": "10001", "weight_oz": 130, "carrier": "UPS",
                         "fits_in_shoebox": False, "length_in": 20.0, "width_in": 16.5, "height_in": 3.0},
        }
    )  # fmt: skip
    answer = await post(page, draft)
    [item] = listings(mercari, "live")
    assert item["fields"]["shipping"] == dict(draft.shipping)
    assert item["fields"]["brand"] is None
    seen = await ADAPTER.read(page, answer.remote_id)
    assert differing(compare(draft, seen.fields)) == []


@pytest.mark.extended
async def test_smart_pricing_stays_on_with_the_sellers_floor_when_chosen(page, mercari):
    draft = DRAFT.model_copy(
        update={"options": {"smart_pricing": True}, "specifics": {"Smart Pricing floor": "20.00"}}
    )
    await post(page, draft)
    assert listings(mercari, "live")[0]["fields"]["options"] == {"smart_pricing": True}
    assert mercari.world.items(SITE)[0].private["floor"] == 2000


@pytest.mark.extended
async def test_the_second_post_of_an_account_needs_no_welcome_and_no_zip(page, mercari):
    await post(page)
    await post(page, DRAFT.model_copy(update={"title": "Another one"}))
    assert len(listings(mercari, "live")) == 2


@pytest.mark.longer
async def test_the_other_layout_posts_too_and_is_left_to_be_found(page, mercari):
    mercari.fault(SITE, "layout")
    assert await post(page) == Published()
    [item] = listings(mercari, "live")
    assert item["fields"]["shipping"]["payer"] == "buyer"
    found = await ADAPTER.find_active(page)
    assert [(one.remote_id, one.state) for one in found] == [(item["listing_id"], "live")]


@pytest.mark.longer
async def test_nothing_is_clicked_when_arming_says_no(page, mercari):
    async def refuse(filled):
        raise NotWanted

    with pytest.raises(NotWanted):
        await post(page, arm=refuse)
    assert listings(mercari) == []


@pytest.mark.longer
async def test_the_parcels_dialogs_are_sealed_once_they_are_filled_in(page, mercari):
    """The form shows a part of what stands in them: whoever opened one again could change the rest unseen."""
    shown = []

    async def is_sealed():
        return any([await page.has(one) for one in page.sealed])

    async def look(read):
        await read()
        shown.append(await is_sealed())
        for opens, shows in ((on.SHIPS_FROM, on.ZIP), (on.SHIPPING, on.POUNDS)):
            await page.click(opens)
            await page.wait_for(shows)
            shown.append(await is_sealed())
            if opens is on.SHIPS_FROM:
                await page.click(on.ZIP_SAVE)
        await page.fill(on.POUNDS, "1")
        await page.check(on.FITS[True], True)
        await page.click(on.WEIGHT_NEXT)
        await page.wait_for(on.CARRIER_SAVE)
        shown.append(await is_sealed())
        raise NotWanted

    with pytest.raises(NotWanted):
        await post(page, arm=look)
    assert shown == [False, True, True, True]


@pytest.mark.extended
async def test_twelve_photos_keep_their_order(page, mercari):
    photos = [photo(place) for place in range(12)]
    await post(page, photos=photos)
    assert [one["sha256"] for one in listings(mercari, "live")[0]["photos"]] == [_sha(one) for one in photos]


async def test_a_brand_that_mercari_does_not_know_is_the_sellers_to_mend(page, mercari):
    with pytest.raises(ListingRejected, match="does not know the brand"):
        await post(page, DRAFT.model_copy(update={"brand": "Grandmother’s Own"}))
    assert listings(mercari) == []


@pytest.mark.longer
async def test_a_carrier_that_is_not_offered_is_never_replaced(page, mercari):
    shipping = {**DRAFT.shipping, "carrier": "FedEx", "weight_oz": 2000}
    with pytest.raises(ListingRejected, match="no FedEx label"):
        await post(page, DRAFT.model_copy(update={"shipping": shipping}))
    assert listings(mercari) == []


@pytest.mark.longer
async def test_a_refusal_in_words_is_a_refusal(page, mercari):
    with pytest.raises(ListingRejected, match="prohibited"):
        await post(page, DRAFT.model_copy(update={"title": "Replica handbag"}))
    assert listings(mercari) == []


@pytest.mark.longer
async def test_a_message_that_nobody_knows_settles_nothing(page, mercari):
    mercari.fault(SITE, "odd_answer")
    answer = await post(page)
    assert answer.remote_id is None
    assert "contact support" in answer.said
    assert len(listings(mercari, "live")) == 1


@pytest.mark.longer
async def test_a_soft_reject_is_not_published(page, mercari):
    mercari.fault(SITE, "soft_reject")
    with pytest.raises(NotPublished):
        await post(page)
    assert [one["state"] for one in listings(mercari)] == ["draft"]


@pytest.mark.longer
async def test_the_item_limit_is_the_accounts(page, mercari):
    mercari.fault(SITE, "item_limit")
    with pytest.raises(AccountLimited):
        await post(page)
    assert listings(mercari) == []


@pytest.mark.extended
async def test_listing_too_fast_is_the_accounts_limit_too(page, mercari):
    mercari.fault(SITE, "layout")
    mercari.fault(SITE, "item_limit")
    with pytest.raises(AccountLimited):
        await post(page)


@pytest.mark.extended
@pytest.mark.parametrize(
    ("kind", "live"), [("error_before", 0), ("reset_before", 0), ("error_after", 1), ("reset_after", 1)]
)
async def test_a_broken_answer_is_left_to_be_found_and_never_clicked_again(page, mercari, kind, live):
    mercari.fault(SITE, kind)
    assert await post(page) == Published()
    assert len(listings(mercari, "live")) == live
    entries = mercari.ledger(SITE, "ada")["entries"]
    assert sum(one["event"] in ("published", "refused") for one in entries) == 1


@pytest.mark.parametrize(
    ("kind", "error"),
    [("captcha", ChallengeShown), ("login_wall", SessionExpired), ("session_expired", SessionExpired),
     ("down", MarketplaceBusy)],
)  # fmt: skip
async def test_what_is_not_ours_to_work_on_stops_everything(page, mercari, kind, error):
    for verb in (
        lambda: ADAPTER.find_active(page),
        lambda: ADAPTER.check_session(page),
        lambda: post(page),
        lambda: ADAPTER.delist(page, "m12345678901"),
    ):
        mercari.fault(SITE, kind)
        with pytest.raises(error):
            await verb()
        mercari.clear_faults()
    assert listings(mercari) == []


async def test_the_guard_before_the_site_is_a_challenge(page, mercari):
    mercari.fault(SITE, "layout")
    mercari.fault(SITE, "captcha")
    with pytest.raises(ChallengeShown):
        await ADAPTER.find_active(page)


async def test_whose_session_it_is(page, mercari):
    account = await ADAPTER.check_session(page)
    assert (account.id, account.name) == (str(mercari.world.account(SITE, "ada").number), "ada")


@pytest.mark.longer
async def test_the_lists_are_read_newest_first_until_something_known(page, mercari, browser):
    for number in range(45):
        _stock(mercari, f"Item {number}")
    sold = _stock(mercari, "Sold one")
    mercari.buy(SITE, listing_id=sold.id)
    draft = _stock(mercari, "A draft", live=False)
    browser.navigations.clear()
    found = await ADAPTER.find_active(page)
    assert len(browser.navigations) == 5
    assert [one.state for one in found] == ["live"] * 45 + ["sold", "draft"]
    assert (found[0].title, found[0].price) == ("Item 44", Money(amount=1234_00))
    assert found[0].photo_url
    assert (found[45].remote_id, found[46].remote_id) == (sold.id, draft.id)
    browser.navigations.clear()
    some = await ADAPTER.find_active(page, known=frozenset({found[3].remote_id}))
    assert len(browser.navigations) == 3
    assert len(some) == 22
    rows, more = await ADAPTER.list_active(page, 3)
    assert ([row.title for row in rows], more) == ([f"Item {n}" for n in range(4, -1, -1)], False)


async def test_a_listing_is_taken_down_and_its_page_says_so(page, mercari):
    item = _stock(mercari, "Goes away")
    await ADAPTER.delist(page, item.id)
    assert [one["state"] for one in listings(mercari)] == ["ended"]
    assert (await ADAPTER.read(page, item.id)).state == "ended"
    await ADAPTER.delist(page, item.id)


async def test_a_sold_listing_says_sold_and_is_not_taken_down(page, mercari):
    item = _stock(mercari, "Sold")
    mercari.buy(SITE, listing_id=item.id)
    assert (await ADAPTER.read(page, item.id)).state == "sold"
    await ADAPTER.delist(page, item.id)
    assert [one["state"] for one in listings(mercari)] == ["sold"]


@pytest.mark.longer
async def test_a_page_that_proves_nothing_is_unknown(page, mercari):
    assert (await ADAPTER.read(page, "m99999999999")).state == "unknown"


async def test_a_draft_left_behind_is_deleted_and_a_missing_one_is_fine(page, mercari):
    draft = _stock(mercari, "Left", live=False)
    assert await ADAPTER.discard_draft(page, draft.id)
    assert [one["state"] for one in listings(mercari)] == ["ended"]
    assert not await ADAPTER.discard_draft(page, draft.id)


async def test_a_note_that_all_is_well_is_no_failure(page, mercari):
    await page.goto("/mypage/listings/active/?done=deleted", ready=on.LISTINGS)
    assert await page.raw.get_by_test_id("Toast").inner_text() == "Your listing was deleted."
    assert not await page.has(on.FAILED)


@pytest.mark.extended
async def test_a_photo_that_does_not_go_up_stops_the_post_at_once(page, mercari):
    mercari.fault(SITE, "down", path="/v1/api", times=1)
    async with asyncio.timeout(20):
        with pytest.raises(MarketplaceBusy, match="all of the photos"):
            await post(page)
    assert listings(mercari) == []


@pytest.mark.longer
async def test_a_photo_that_takes_its_time_is_waited_for(page, mercari):
    mercari.fault(SITE, "slow", path="/v1/api", seconds=5, times=1)
    await post(page)
    assert [one["sha256"] for one in listings(mercari, "live")[0]["photos"]] == [_sha(one) for one in PHOTOS]


@pytest.mark.longer
async def test_recompressed_photos_are_served_and_the_listing_is_the_same(page, mercari):
    mercari.fault(SITE, "recompress")
    answer = await post(page)
    seen = await ADAPTER.read(page, answer.remote_id)
    assert await page.fetch(seen.photo_urls[0]) != PHOTOS[0].data
    mercari.clear_faults()


@pytest.mark.extended
@pytest.mark.parametrize("strength", [1, 2, 3])
async def test_after_a_drift_it_posts_rightly_or_not_at_all(page, mercari, strength):
    mercari.drift(SITE, seed=7, strength=strength)
    try:
        await post(page)
    except EverystallError:
        assert listings(mercari, "live") == []
    else:
        [item] = listings(mercari, "live")
        assert item["fields"]["title"] == DRAFT.title
        assert item["fields"]["options"] == {"smart_pricing": False}


@pytest.mark.longer
async def test_what_is_read_by_names_and_headings_that_are_gone_is_read_all_the_same(page, mercari):
    names = ["FreeShippingNoButton", "ShipsFromZip", "sellCondition", "SmartPricingButton"]
    labels = {"Ships from": ["Sent from"], "Condition": ["Wear"]}
    mercari.world.drifts[SITE] = DriftSetting(1, 2, Vocabulary(names=names, labels=labels))
    await post(page)
    assert len(listings(mercari, "live")) == 1


@pytest.mark.longer
async def test_what_lost_all_its_locators_is_found_again_and_read(page, mercari):
    page.healing = Healing()
    page.healing.begin(noting=True)
    await post(page)
    page.healing = Healing(looks=page.healing.noted)
    names = ["SellCategoryFieldButton", "SelectShipping", "data-testid=Size", "itemSizeId"]
    labels = {"Select a category": ["Choose a category"], "Category": ["Kind"], "Delivery": ["Postage"],
              "Select a shipping label": ["Choose a shipping label"]}  # fmt: skip
    mercari.world.drifts[SITE] = DriftSetting(1, 2, Vocabulary(names=names, labels=labels))
    try:
        await post(page)
        assert page.healing.lost >= {on.CATEGORY.key, on.SHIPPING.key, on.SIZE.key}
    finally:
        page.healing = None
    first, second = (item["fields"] for item in listings(mercari, "live"))
    assert first == second


@pytest.mark.longer
async def test_that_prices_do_not_fall_is_read_by_its_button_once_the_words_beside_it_changed(page, mercari):
    page.healing = Healing()
    page.healing.begin(noting=True)
    await post(page)
    page.healing = Healing(looks=page.healing.noted)
    names = ["SmartPricingTurnOffButton", "SmartPricingFloorPrice", "SmartPricingButton"]
    labels = {"Smart Pricing is on": ["Prices fall"], "Smart Pricing is off": ["Prices stay"],
              "Turn off": ["Switch off"], "Turn on": ["Switch on"]}  # fmt: skip
    mercari.world.drifts[SITE] = DriftSetting(1, 2, Vocabulary(names=names, labels=labels))
    try:
        await post(page)
        assert page.healing.lost >= {on.SMART_OFF.key, on.SMART_ON.key}
    finally:
        page.healing = None
    first, second = (item["fields"] for item in listings(mercari, "live"))
    assert first == second


@pytest.mark.longer
@pytest.mark.parametrize("field", [True, False])
async def test_a_button_that_could_be_either_is_told_by_the_field_that_is_there_while_prices_fall(
    page, mercari, field
):
    """Neither its names nor its words, nor those beside it, say whether it turns Smart Pricing on or off."""
    page.healing = Healing()
    page.healing.begin(noting=True)
    await post(page)
    page.healing = Healing(looks=page.healing.noted)
    names = ["SmartPricingTurnOffButton", "SmartPricingButton", "link"]
    labels = {"Smart Pricing is on": ["Prices"], "Smart Pricing is off": ["Prices"],
              "Turn off": ["Change it"], "Turn on": ["Change it"]}  # fmt: skip
    if not field:
        names += ["SmartPricingFloorPrice", "sellMinPriceForAutoPriceDrop"]
        labels |= {"Floor price": ["Least"], "Price": ["Amount"]}
    mercari.world.drifts[SITE] = DriftSetting(1, 2, Vocabulary(names=names, labels=labels))
    try:
        with nullcontext() if field else suppress(PageChanged):
            await post(page)
    finally:
        page.healing = None
    first, *more = (item["fields"] for item in listings(mercari, "live"))
    assert more == [first] or (not field and more == [])


async def test_whether_prices_fall_by_themselves_is_not_known_where_the_page_does_not_say(page, mercari):
    labels = {"Smart Pricing is on": ["Prices fall"], "Smart Pricing is off": ["Prices stay"]}
    names = ["SmartPricingTurnOffButton", "SmartPricingFloorPrice", "SmartPricingButton"]
    mercari.world.drifts[SITE] = DriftSetting(1, 2, Vocabulary(names=names, labels=labels))
    await page.goto(on.SELL, ready=on.TITLE)
    assert (await page.read_form(on.FORM, on.FIELDS))["smart"] is None


def _stock(mercari, title, live=True):
    """Something that is there already."""
    world = mercari.world
    account = world.account(SITE, "ada")
    fields = {
        "title": title, "description": "It is what it is.", "price": {"amount": 123400, "currency": "USD"},
        "quantity": 1, "category": ["Home", "Home decor", "Vases"], "brand": None, "size": None,
        "condition": "Good", "options": {"smart_pricing": False},
        "shipping": {"payer": "buyer", "ships_from_zip": "94107", "weight_oz": 20, "carrier": "USPS"},
    }  # fmt: skip
    kept = world.keep_photo(SITE, account, PHOTOS[0].data, "image/jpeg")
    item = world.draft(SITE, account, f"m{world.new_number(11)}", fields, [kept])
    return world.publish(item) if live else item


def _sha(file):
    import hashlib

    return hashlib.sha256(file.data).hexdigest()


def test_a_photos_whole_is_at_an_address_of_its_own():
    assert ADAPTER.full_size("https://u-mercari-images.mercdn.net/photos/m1_1.jpg?w=500&h=500") == (
        "https://u-mercari-images.mercdn.net/photos/m1_1.jpg"
    )
    assert ADAPTER.full_size("https://u-mercari-images.mercdn.net/photos/m1_1.jpg") == (
        "https://u-mercari-images.mercdn.net/photos/m1_1.jpg"
    )
    assert ADAPTER.full_size("https://example.com/another.png") == "https://example.com/another.png"
