"""The adapter in a real Chromium against the practice eBay; the site's ledger is the judge."""

import asyncio
import hashlib
import io
import time

import pytest
from PIL import Image

from everystall.errors import (
    AccountLimited,
    ChallengeShown,
    EverystallError,
    ListingRejected,
    MarketplaceBusy,
    NotPublished,
    NotWanted,
    SessionExpired,
)
from everystall.marketplaces.base import Draft, Money, PhotoFile, Published
from everystall.marketplaces.ebay.adapter import ADAPTER
from everystall.sandbox.core import DriftSetting
from everystall.sandbox.drift import Vocabulary
from everystall.worker.compare import compare, differing

SITE = "ebay"


def photo(place):
    image = Image.effect_noise((320, 240), 60 + 20 * place).convert("RGB")
    out = io.BytesIO()
    image.save(out, "JPEG")
    return PhotoFile(f"photo-{place}.jpg", "image/jpeg", out.getvalue())


PHOTOS = [photo(place) for place in range(3)]
DRAFT = Draft(
    title="Blue linen dress 👗 <b>new</b>",
    description="Worn twice.\n\nSmall mark “on” the hem & sleeve. <i>Not</i> italic.",
    price=Money(amount=2550),
    quantity=2,
    category=("Clothing, Shoes & Accessories", "Women", "Women's Clothing", "Dresses"),
    brand="A brand that is in no list",
    size="M",
    condition="Pre-owned - Excellent",
    colors=("Blue",),
    sku="A-17 ~K7Q2XM",
    specifics={"Brand": "A brand that is in no list", "Size Type": "Regular", "Size": "M", "Color": "Blue",
               "Department": "Women", "Type": "Dress", "Material": "linen"},
    shipping={"payer": "buyer", "ships_from_zip": "94107", "weight_oz": 20, "length_in": 10.0,
              "width_in": 8.5, "height_in": 2.0, "shipping_policy": "Ground, buyer pays",
              "payment_policy": "Immediate payment", "return_policy": "30 days, buyer pays"},
    options={"offers": False, "promotion": False},
    photos=("a", "b", "c"),
)  # fmt: skip


async def armed(read):
    filled = await read()
    assert differing(compare(armed.draft, filled.fields)) == []
    assert filled.draft_id
    armed.filled = filled


async def post(page, draft=DRAFT, photos=PHOTOS, arm=armed):
    armed.draft, armed.filled, armed.drafts = draft, None, []

    async def drafted(draft_id):
        armed.drafts.append(draft_id)

    return await ADAPTER.publish(page, draft, photos, arm, drafted)


def listings(ebay, *states):
    return [one for one in ebay.ledger(SITE, "ada")["listings"] if not states or one["state"] in states]


def sha(one):
    return hashlib.sha256(one.data).hexdigest()


async def test_a_listing_is_posted_with_every_field_and_read_back_equal(page, ebay, browser):
    answer = await post(page)
    [item] = listings(ebay, "live")
    assert answer == Published(item["listing_id"], f"{ebay.url(SITE)}/itm/{item['listing_id']}")
    assert len(browser.navigations) <= 3
    fields = item["fields"]
    assert (fields["title"], fields["price"]["amount"], fields["quantity"]) == (DRAFT.title, 2550, 2)
    assert fields["description"] == DRAFT.description
    assert fields["options"] == dict(DRAFT.options)
    assert fields["shipping"] == {k: v for k, v in DRAFT.shipping.items() if k != "payer"}
    assert fields["specifics"] == {
        "Size Type": "Regular", "Department": "Women", "Type": "Dress", "Material": "Linen",
    }  # fmt: skip
    assert (fields["brand"], fields["size"], fields["colors"]) == (DRAFT.brand, "M", ["Blue"])
    assert fields["condition"] == DRAFT.condition
    assert item["sku"] == "A-17 ~K7Q2XM"
    assert [one["sha256"] for one in item["photos"]] == [sha(one) for one in PHOTOS]
    seen = await ADAPTER.read(page, answer.remote_id)
    assert (seen.state, seen.url) == ("live", answer.url)
    compared = compare(DRAFT, seen.fields)
    assert differing(compared) == ["specifics.Material"]  # eBay's own word: "Linen"
    assert set(compared) >= {
        "title", "description", "price", "quantity", "condition", "category", "brand", "size", "colors",
        "shipping.payer", "specifics.Type",
    }  # fmt: skip
    assert len(seen.photo_urls) == 3
    assert await page.fetch(seen.photo_urls[0]) == PHOTOS[0].data


@pytest.mark.extended
async def test_no_brand_no_size_and_the_sellers_own_choice_of_offers_and_promotion(page, ebay):
    draft = DRAFT.model_copy(
        update={
            "category": ("Home & Garden", "Home Décor", "Vases"), "brand": None, "size": None, "sku": None,
            "colors": (), "specifics": {"Brand": "Unbranded"}, "quantity": 1,
            "condition": "New other (see details)",
            "shipping": {**DRAFT.shipping, "payer": "seller", "shipping_policy": "Free shipping"},
            "options": {"offers": True, "promotion": True},
        }
    )  # fmt: skip
    answer = await post(page, draft)
    [item] = listings(ebay, "live")
    assert item["fields"]["options"] == {"offers": True, "promotion": True}
    assert item["fields"]["brand"] is None
    assert item["sku"] is None
    seen = await ADAPTER.read(page, answer.remote_id)
    assert differing(compare(draft, seen.fields)) == []


@pytest.mark.extended
async def test_shoes_are_asked_for_their_own_size_and_bags_for_their_own_colour(page, ebay):
    shoes = DRAFT.model_copy(
        update={
            "category": ("Clothing, Shoes & Accessories", "Women", "Women's Shoes", "Boots"), "size": "8.5",
            "condition": "New with box",
            "specifics": {"Brand": "Nike", "US Shoe Size": "8.5", "Color": "Blue", "Department": "Women",
                          "Type": "Boot"},
            "brand": "Nike",
        }
    )  # fmt: skip
    bag = DRAFT.model_copy(
        update={
            "category": ("Clothing, Shoes & Accessories", "Women", "Women's Bags & Handbags"), "size": None,
            "colors": ("Brown",), "brand": "Nike",
            "specifics": {"Brand": "Nike", "Style": "Tote", "Exterior Color": "Brown",
                          "Exterior Material": "Leather"},
        }
    )  # fmt: skip
    await post(page, shoes)
    await post(page, bag)
    made = {tuple(item["fields"]["category"])[-1]: item["fields"] for item in listings(ebay, "live")}
    assert made["Boots"]["size"] == "8.5"
    assert made["Women's Bags & Handbags"]["colors"] == ["Brown"]


@pytest.mark.longer
async def test_nothing_is_clicked_when_arming_says_no_and_the_draft_is_told(page, ebay):
    async def refuse(filled):
        raise NotWanted

    with pytest.raises(NotWanted):
        await post(page, arm=refuse)
    assert [item["state"] for item in listings(ebay)] == ["draft"]
    (row,) = await ADAPTER.find_active(page)
    assert armed.drafts == [row.remote_id]
    await ADAPTER.discard_draft(page, row.remote_id)
    assert listings(ebay, "live", "draft") == []


@pytest.mark.extended
async def test_a_draft_is_told_although_its_form_does_not_come(page, ebay):
    ebay.fault(SITE, "down", path="/lstng", status=0, times=3)
    ebay.fault(SITE, "captcha", path="/lstng", times=100)
    with pytest.raises((MarketplaceBusy, ChallengeShown)):
        await post(page)
    ebay.clear_faults()
    rows = await ADAPTER.find_active(page)
    assert armed.drafts == [row.remote_id for row in rows]


@pytest.mark.longer
async def test_a_message_that_nobody_knows_settles_nothing(page, ebay):
    ebay.fault(SITE, "odd_answer")
    answer = await post(page)
    assert answer.remote_id is None
    assert "contact support" in answer.said
    assert len(listings(ebay, "live")) == 1


@pytest.mark.longer
async def test_a_specific_that_the_category_has_no_field_for_is_told_as_missing(page, ebay):
    answer = await post(page, DRAFT.model_copy(update={"specifics": {**DRAFT.specifics, "Era": "1970s"}}))
    assert answer.remote_id
    assert list(armed.filled.missing) == ["specifics.Era"]


@pytest.mark.longer
async def test_what_ebay_does_not_have_is_the_sellers_to_mend(page, ebay):
    for change, said in (
        ({"specifics": {**DRAFT.specifics, "Size": "Medium-ish"}}, "Size"),
        ({"shipping": {**DRAFT.shipping, "return_policy": "None such"}}, "return policy"),
    ):
        with pytest.raises(ListingRejected, match=said):
            await post(page, DRAFT.model_copy(update=change))
        assert len(armed.drafts) == 1
    assert listings(ebay, "live") == []


@pytest.mark.extended
async def test_what_the_form_still_asks_for_after_the_click_is_a_refusal_in_its_words(page, ebay):
    specifics = {name: value for name, value in DRAFT.specifics.items() if name != "Size Type"}
    with pytest.raises(ListingRejected, match="Size Type is required"):
        await post(page, DRAFT.model_copy(update={"specifics": specifics}))
    assert listings(ebay, "live") == []
    with pytest.raises(ListingRejected, match="counterfeit"):
        await post(page, DRAFT.model_copy(update={"title": "A replica"}))


@pytest.mark.longer
async def test_the_other_layout_posts_too_and_is_found_by_its_marker(page, ebay):
    ebay.fault(SITE, "layout")
    answer = await post(page)
    [item] = listings(ebay, "live")
    assert answer.remote_id == item["listing_id"]
    found = await ADAPTER.find_active(page)
    assert [(one.remote_id, one.state, one.sku) for one in found] == [
        (item["listing_id"], "live", "A-17 ~K7Q2XM")
    ]


@pytest.mark.extended
async def test_twenty_four_photos_keep_their_order(page, ebay):
    photos = [photo(place) for place in range(24)]
    await post(page, photos=photos)
    assert [one["sha256"] for one in listings(ebay, "live")[0]["photos"]] == [sha(one) for one in photos]


@pytest.mark.longer
async def test_the_lists_tell_live_drafts_and_sold_in_three_loads(page, ebay, browser):
    ebay.fault(SITE, "soft_reject")
    with pytest.raises(NotPublished):
        await post(page, DRAFT.model_copy(update={"title": "Kept", "sku": "K ~AAAAAA"}))
    kept = armed.filled.draft_id
    one = await post(page, DRAFT.model_copy(update={"title": "First", "quantity": 1}))
    two = await post(page, DRAFT.model_copy(update={"title": "Second"}))
    ebay.buy(SITE, listing_id=one.remote_id)
    ebay.buy(SITE, listing_id=two.remote_id)
    browser.navigations.clear()
    found = await ADAPTER.find_active(page)
    assert len(browser.navigations) == 3
    assert [(item.remote_id, item.state, item.title, item.sku) for item in found] == [
        (two.remote_id, "live", "Second", "A-17 ~K7Q2XM"),
        (one.remote_id, "sold", "First", "A-17 ~K7Q2XM"),
        (kept, "draft", "Kept", "K ~AAAAAA"),
    ]
    assert found[0].price == Money(amount=2550)
    assert found[0].photo_url
    assert [item.state for item in await ADAPTER.find_active(page, look_for=("draft",))] == ["draft"]
    assert (await ADAPTER.read(page, one.remote_id)).state == "sold"
    seen = await ADAPTER.read(page, two.remote_id)
    assert (seen.state, seen.fields["quantity"]) == ("live", 1)
    rows, _ = await ADAPTER.list_active(page, 1)
    assert {row.remote_id: row.quantity for row in rows} == {two.remote_id: 1}


@pytest.mark.extended
async def test_long_lists_are_read_until_something_known_turns_up(page, ebay, browser):
    world, account = ebay.world, ebay.world.account(SITE, "ada")
    for number in range(60):
        item = world.draft(SITE, account, f"{100000000000 + number}", _fields(f"No. {number}"))
        world.publish(item)
        item.published_at = number
    assert len(await ADAPTER.find_active(page, look_for=("live",))) == 60
    assert [(len(rows), more) for rows, more in [await ADAPTER.list_active(page, n) for n in (1, 2)]] == [
        (50, True), (10, False),
    ]  # fmt: skip
    browser.navigations.clear()
    known = frozenset({"100000000055"})
    assert len(await ADAPTER.find_active(page, known=known, look_for=("live",))) == 50
    assert len(browser.navigations) == 1


@pytest.mark.longer
async def test_a_listing_is_taken_down_with_one_click_and_seen_gone(page, ebay):
    answer = await post(page)
    await ADAPTER.delist(page, answer.remote_id)
    assert [item["state"] for item in listings(ebay)] == ["ended"]
    assert (await ADAPTER.read(page, answer.remote_id)).state == "ended"
    await ADAPTER.delist(page, answer.remote_id)
    events = [entry["event"] for entry in ebay.ledger(SITE, "ada")["entries"]]
    assert events.count("ended") == 1


@pytest.mark.longer
async def test_a_sold_listing_is_not_ended(page, ebay):
    answer = await post(page, DRAFT.model_copy(update={"quantity": 1}))
    ebay.buy(SITE, sku="A-17")
    await ADAPTER.delist(page, answer.remote_id)
    assert (await ADAPTER.read(page, answer.remote_id)).state == "sold"


@pytest.mark.longer
async def test_a_draft_is_discarded_quietly_also_when_it_is_gone(page, ebay):
    ebay.fault(SITE, "soft_reject")
    with pytest.raises(NotPublished):
        await post(page)
    assert await ADAPTER.discard_draft(page, armed.filled.draft_id)
    assert listings(ebay, "draft") == []
    assert not await ADAPTER.discard_draft(page, armed.filled.draft_id)


@pytest.mark.longer
async def test_a_draft_that_the_site_only_says_it_deleted_is_not_believed_to_be_gone(page, ebay):
    ebay.fault(SITE, "soft_reject")
    with pytest.raises(NotPublished):
        await post(page)
    ebay.fault(SITE, "down", path="/sh/api/drafts/delete", times=1)
    assert not await ADAPTER.discard_draft(page, armed.filled.draft_id)
    assert len(listings(ebay, "draft")) == 1


@pytest.mark.longer
async def test_a_page_that_is_not_there_proves_nothing(page, ebay):
    assert (await ADAPTER.read(page, "123456789012")).state == "unknown"
    ebay.fault(SITE, "index_lag", seconds=60, page_seconds=60)
    answer = await post(page)
    assert (await ADAPTER.read(page, answer.remote_id)).state == "unknown"
    assert [item.state for item in await ADAPTER.find_active(page)] == []


async def test_the_session_is_proven_and_names_nobody_by_id(page, browser):
    account = await ADAPTER.check_session(page)
    assert (account.id, account.name) == (None, "ada")
    assert len(browser.navigations) == 1


@pytest.mark.parametrize("kind", ["login_wall", "session_expired"])
async def test_a_sign_in_page_ends_the_session_before_anything_else(page, ebay, kind):
    ebay.fault(SITE, kind)
    with pytest.raises(SessionExpired):
        await post(page)
    ebay.sessions(SITE, "ada", lifetime_seconds=0)
    for verb in (ADAPTER.check_session, ADAPTER.find_active):
        with pytest.raises(SessionExpired):
            await verb(page)
    assert listings(ebay) == []


async def test_a_captcha_is_handed_to_the_person(page, ebay):
    ebay.fault(SITE, "captcha", path="/lstng")
    with pytest.raises(ChallengeShown, match="robot"):
        await post(page)
    ebay.fault(SITE, "captcha")
    with pytest.raises(ChallengeShown):
        await ADAPTER.check_session(page)


@pytest.mark.longer
async def test_the_selling_limit_is_the_accounts(page, ebay):
    ebay.fault(SITE, "item_limit")
    with pytest.raises(AccountLimited, match="selling limit"):
        await post(page)
    assert [item["state"] for item in listings(ebay)] == ["draft"]


@pytest.mark.extended
@pytest.mark.parametrize(
    ("kind", "live"),
    [("error_before", 0), ("error_after", 1), ("reset_before", 0), ("reset_after", 1), ("late_commit", 0)],
)
async def test_an_answer_that_says_nothing_is_left_open_and_clicked_once(page, ebay, kind, live):
    ebay.fault(SITE, kind, seconds=0.5)
    assert await post(page) == Published()
    assert len(listings(ebay, "live")) == live
    if kind == "late_commit":
        time.sleep(1)
        assert len(listings(ebay, "live")) == 1


@pytest.mark.extended
async def test_a_site_that_is_down_or_slow_is_busy_and_latency_is_borne(page, ebay):
    ebay.fault(SITE, "down")
    with pytest.raises(MarketplaceBusy):
        await post(page)
    ebay.clear_faults()
    ebay.fault(SITE, "latency", seconds=0.4)
    assert (await post(page)).remote_id
    ebay.clear_faults()
    ebay.fault(SITE, "slow", seconds=0.2)
    assert (await post(page)).remote_id
    assert len(listings(ebay, "live")) == 2


@pytest.mark.extended
async def test_a_photo_that_does_not_go_up_stops_the_post_before_the_click(page, ebay):
    ebay.fault(SITE, "down", path="/lstng/api/media", times=1)
    async with asyncio.timeout(30):
        with pytest.raises(MarketplaceBusy, match="2 of 3 photos"):
            await post(page)
    assert listings(ebay, "live") == []


@pytest.mark.extended
async def test_recompressed_photos_are_read_back(page, ebay):
    ebay.fault(SITE, "recompress")
    answer = await post(page)
    seen = await ADAPTER.read(page, answer.remote_id)
    data = await page.fetch(seen.photo_urls[0])
    assert data != PHOTOS[0].data
    assert data[:2] == b"\xff\xd8"


@pytest.mark.extended
async def test_rotating_sessions_go_on_working(page, ebay):
    ebay.sessions(SITE, "ada", rotate=True)
    answer = await post(page)
    await ADAPTER.delist(page, answer.remote_id)
    assert "session_revoked" not in [entry["event"] for entry in ebay.ledger(SITE, "ada")["entries"]]


@pytest.mark.extended
@pytest.mark.parametrize("seed", [1, 7])
async def test_renamed_ids_and_classes_do_no_harm(page, ebay, seed):
    ebay.drift(SITE, seed=seed, strength=1)
    answer = await post(page)
    seen = await ADAPTER.read(page, answer.remote_id)
    assert seen.state == "live"
    assert set(differing(compare(DRAFT, seen.fields))) <= {"specifics.Material"}
    await ADAPTER.delist(page, answer.remote_id)
    assert (await ADAPTER.read(page, answer.remote_id)).state == "ended"


@pytest.mark.longer
async def test_what_is_read_by_names_that_are_gone_is_read_by_its_label(page, ebay):
    names = ("title", "customLabel", "condition", "price", "quantity", "bestOfferEnabled", "promotedListing",
             "majorWeight", "minorWeight", "packageLength", "packageWidth", "packageDepth",
             "itemLocationZip")  # fmt: skip
    words = Vocabulary(names=[f"name={name}" for name in names])
    ebay.world.drifts[SITE] = DriftSetting(1, 1, words)
    await post(page)
    assert len(listings(ebay, "live")) == 1


@pytest.mark.extended
@pytest.mark.parametrize("strength", [2, 3, 4])
async def test_a_site_that_changed_more_never_gets_a_wrong_listing(page, ebay, strength):
    """Either it is posted right, or we say what we do not find; nothing in between."""
    ebay.drift(SITE, seed=3, strength=strength)
    said = ""
    try:
        await post(page)
    except EverystallError as error:
        said = error.code
    assert said in ("", "page_changed", "listing_rejected")
    assert len(listings(ebay, "live")) == (0 if said else 1)


@pytest.mark.extended
async def test_two_names_are_two_accounts(page, ebay):
    await post(page)
    assert ebay.ledger(SITE, "bob")["listings"] == []


def _fields(title):
    return {
        "title": title, "description": "It is what it is.", "price": {"amount": 123400, "currency": "USD"},
        "quantity": 1, "category": ["Home & Garden", "Home Décor", "Vases"], "brand": None, "size": None,
        "condition": "Used", "options": {"offers": False, "promotion": False}, "specifics": {},
        "shipping": {"payer": "buyer", "ships_from_zip": "94107",
                     "shipping_policy": "Ground, buyer pays", "return_policy": "No returns accepted"},
    }  # fmt: skip


def test_a_photos_whole_is_at_an_address_of_its_own():
    assert ADAPTER.full_size("https://i.ebayimg.com/images/g/abc/s-l500.jpg") == (
        "https://i.ebayimg.com/images/g/abc/s-l1600.jpg"
    )
    assert ADAPTER.full_size("https://i.ebayimg.com/images/g/abc/s-l1600.jpg") == (
        "https://i.ebayimg.com/images/g/abc/s-l1600.jpg"
    )
    assert ADAPTER.full_size("https://example.com/another.png") == "https://example.com/another.png"
