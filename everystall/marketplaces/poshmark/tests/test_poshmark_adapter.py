"""The adapter against the practice Poshmark, in a real Chromium; the site's ledger is the judge."""

from __future__ import annotations

from typing import Any

import pytest

from everystall.browser.session import Storage, open_browser
from everystall.errors import (
    AccountLimited,
    ChallengeShown,
    MarketplaceBusy,
    NotPublished,
    NotWanted,
    SessionExpired,
)
from everystall.marketplaces.base import Draft, Filled, Money, ReadBack
from everystall.marketplaces.poshmark import adapter
from everystall.marketplaces.poshmark.adapter import ADAPTER
from everystall.marketplaces.poshmark.form import read_account
from everystall.marketplaces.poshmark.tests.conftest import photo
from everystall.worker.compare import compare, differing, same_photos

pytestmark = pytest.mark.browser

DRAFT = Draft(
    title='Midi dress, "hardly" worn <b>é</b> 👗', description="A dress.\n\nIt has two pockets & no flaws.",
    price=Money(amount=150_000), original_price=Money(amount=200_000), category=("Women", "Dresses", "Midi"),
    brand="J. Crew", size="M", condition="Good", colors=("Blue", "White"), tags=("summer", "linen"),
    sku="A-17 ~ABC234", shipping={"discount": "None"}, options={"smart_sell": False},
    specifics={"Size tab": "Standard"}, photos=("a" * 64, "b" * 64),
)  # fmt: skip
PHOTOS = [photo(1), photo(2)]


class Arm:
    """Notes what the form showed, as the worker would before the click."""

    def __init__(self, refuse: bool = False) -> None:
        self.filled: Filled | None = None
        self.refuse = refuse
        self.drafts: list[str] = []

    async def drafted(self, draft_id: str) -> None:
        self.drafts.append(draft_id)

    async def __call__(self, read: ReadBack) -> None:
        self.filled = await read()
        if self.refuse:
            raise NotWanted


async def _publish(page: Any, draft: Draft = DRAFT) -> tuple[Any, Filled]:
    arm = Arm()
    answer = await ADAPTER.publish(page, draft, PHOTOS, arm, arm.drafted)
    assert arm.filled is not None
    assert arm.drafts == [arm.filled.draft_id]
    return answer, arm.filled


async def test_a_listing_goes_live_and_reads_back_field_by_field(page, browser, site):
    before = await ADAPTER.find_active(page)
    assert before == []
    answer, filled = await _publish(page)
    assert differing(compare(DRAFT, filled.fields)) == []
    assert set(filled.fields) >= {"title", "price", "category", "size", "sku", "options", "shipping", "brand"}
    assert filled.draft_id == answer.remote_id
    seen = await ADAPTER.read(page, answer.remote_id)
    assert seen.state == "live"
    assert differing(compare(DRAFT, seen.fields)) == []
    assert seen.fields["sku"] == DRAFT.sku
    (item,) = site.ledger()["listings"]
    assert (item["state"], item["listing_id"]) == ("live", answer.remote_id)
    assert item["fields"]["options"] == {"smart_sell": False}
    assert item["fields"]["shipping"] == {"discount": "None"}
    for name in ("title", "description", "brand", "size", "condition", "colors", "tags", "category"):
        value = getattr(DRAFT, name)
        assert item["fields"][name] == (list(value) if isinstance(value, tuple) else value)
    assert [kept["sha256"] for kept in item["photos"]] == [_sha(one.data) for one in PHOTOS]
    for url, one in zip(seen.photo_urls, PHOTOS, strict=True):
        assert await page.fetch(url) == one.data
    # active, sold, the form (also the drafts), the feed after it, the live page
    assert len(browser.navigations) == 5


@pytest.mark.extended
async def test_it_is_found_in_the_lists_as_live_then_as_sold(page, site):
    answer, _ = await _publish(page)
    (row,) = await ADAPTER.find_active(page)
    assert (row.remote_id, row.state, row.title) == (answer.remote_id, "live", DRAFT.title)
    assert row.price == DRAFT.price
    assert row.photo_url
    site.buy("poshmark", listing_id=answer.remote_id)
    (row,) = await ADAPTER.find_active(page)
    assert (row.remote_id, row.state) == (answer.remote_id, "sold")
    assert (await ADAPTER.read(page, answer.remote_id)).state == "sold"


@pytest.mark.longer
async def test_delisting_ends_it_and_its_own_page_says_so(page, site):
    answer, _ = await _publish(page)
    await ADAPTER.delist(page, answer.remote_id)
    assert (await ADAPTER.read(page, answer.remote_id)).state == "ended"
    assert [item["state"] for item in site.ledger()["listings"]] == ["ended"]
    await ADAPTER.delist(page, answer.remote_id)
    assert await ADAPTER.find_active(page) == []


@pytest.mark.extended
async def test_two_listings_in_one_visit_share_the_browser(page, site):
    for number in (1, 2):
        answer, _ = await _publish(page, DRAFT.model_copy(update={"title": f"Number {number}"}))
        assert answer.remote_id
    titles = [row.title for row in await ADAPTER.find_active(page, look_for=("live",))]
    assert titles == ["Number 2", "Number 1"]


async def test_a_page_that_is_not_there_proves_nothing(page):
    await ADAPTER.check_session(page)
    assert (await ADAPTER.read(page, "0" * 24)).state == "unknown"


@pytest.mark.longer
async def test_a_fresh_listing_may_be_a_404_for_a_while_and_is_then_unknown(page, site):
    site.fault("poshmark", "index_lag", seconds=60, page_seconds=60)
    answer, _ = await _publish(page)
    assert (await ADAPTER.read(page, answer.remote_id)).state == "unknown"
    assert await ADAPTER.find_active(page) == []


async def test_check_session_says_whose_the_session_of_the_sign_in_page_is(site, settings, driver, signed_in):
    async with open_browser(
        site=ADAPTER.site, base_url=site.url("poshmark"), storage=Storage.from_json(signed_in),
        settings=settings, playwright=await driver.get(),
    ) as browser:  # fmt: skip
        account = await ADAPTER.check_session(browser.page)
    assert account.name == "alice"
    assert account == read_account(signed_in)


async def test_without_a_session_nothing_is_done(site, settings, driver):
    async with open_browser(
        site=ADAPTER.site, base_url=site.url("poshmark"), storage=None, settings=settings,
        playwright=await driver.get(),
    ) as browser:  # fmt: skip
        with pytest.raises(SessionExpired):
            await ADAPTER.find_active(browser.page)


@pytest.mark.extended
@pytest.mark.parametrize("call", ["check_session", "find_active", "publish"])
async def test_an_expired_session_is_noticed(page, site, call):
    site.sessions("poshmark", "alice", lifetime_seconds=0)
    calls = {"check_session": ADAPTER.check_session, "find_active": ADAPTER.find_active, "publish": _publish}
    with pytest.raises(SessionExpired):
        await calls[call](page)
    assert site.ledger()["listings"] == []


async def test_a_captcha_in_front_of_the_form_is_handed_over(page, site):
    site.fault("poshmark", "captcha", path="/create-listing")
    with pytest.raises(ChallengeShown):
        await _publish(page)
    assert site.ledger()["listings"] == []


@pytest.mark.longer
async def test_a_change_of_mind_before_the_click_leaves_a_draft_that_is_found_and_discarded(page, site):
    arm = Arm(refuse=True)
    with pytest.raises(NotWanted):
        await ADAPTER.publish(page, DRAFT, PHOTOS, arm, arm.drafted)
    assert [item["state"] for item in site.ledger()["listings"]] == ["draft"]
    (row,) = await ADAPTER.find_active(page)
    assert arm.filled is not None
    assert (row.state, row.remote_id, row.title) == ("draft", arm.filled.draft_id, DRAFT.title)
    assert row.price == DRAFT.price
    assert await ADAPTER.discard_draft(page, row.remote_id)
    assert await ADAPTER.find_active(page) == []
    assert not await ADAPTER.discard_draft(page, row.remote_id)


@pytest.mark.extended
@pytest.mark.parametrize(
    ("does", "acts", "title"),
    [
        ("one.value = 'Another'", 1, "Another"),
        ("one.closest('section').remove()", 1, None),
        (
            "one.closest('section').remove()",
            0,
            DRAFT.title,
        ),  # a site whose second half takes the first's place
    ],
)
async def test_what_was_done_in_the_second_half_is_read_back(page, site, monkeypatch, does, acts, title):
    ready = page.wait_enabled

    async def wait(target: Any) -> None:
        await ready(target)
        assert page.sealed
        page.acts += acts
        await page.raw.evaluate(
            f"() => {{ const one = document.querySelector('[data-vv-name=title]'); {does} }}"
        )

    monkeypatch.setattr(page, "wait_enabled", wait)
    arm = Arm(refuse=True)
    with pytest.raises(NotWanted):
        await ADAPTER.publish(page, DRAFT, PHOTOS, arm, arm.drafted)
    assert arm.filled is not None
    assert arm.filled.fields["title"] == title


def test_words_that_ask_for_a_colour_are_none_however_they_ask():
    for words, colors in (("Select Color", ()), ("Choose a shade", ()), (None, ()), ("Blue", ("Blue",)),
                          ("Blue, White", ("Blue", "White")), ("Blue, Teal", ("Blue", "Teal"))):  # fmt: skip
        assert adapter._colors({"colors": words}) == colors


@pytest.mark.longer
async def test_discarding_never_takes_down_what_went_live(page, site):
    answer, _ = await _publish(page)
    assert not await ADAPTER.discard_draft(page, answer.remote_id)
    assert [item["state"] for item in site.ledger()["listings"]] == ["live"]


@pytest.mark.extended
@pytest.mark.parametrize(
    ("kind", "state"),
    [("error_before", "draft"), ("reset_before", "draft"), ("error_after", "live"), ("reset_after", "live")],
)
async def test_an_answer_that_is_lost_settles_nothing_and_is_not_clicked_again(page, site, kind, state):
    site.fault("poshmark", kind)
    answer, filled = await _publish(page)
    assert answer.remote_id is None
    (item,) = site.ledger()["listings"]
    assert (item["state"], item["listing_id"]) == (state, filled.draft_id)
    (row,) = await ADAPTER.find_active(page)
    assert (row.state, row.remote_id) == (state, filled.draft_id)


@pytest.mark.longer
async def test_a_message_that_nobody_knows_settles_nothing(page, site):
    site.fault("poshmark", "odd_answer")
    answer, _ = await _publish(page)
    assert answer.remote_id is None
    assert "contact support" in answer.said
    assert [item["state"] for item in site.ledger()["listings"]] == ["live"]


@pytest.mark.parametrize("path", ["/media/scratch", "/vm-rest/posts/"])
@pytest.mark.longer
async def test_a_draft_is_told_before_anything_goes_wrong_with_it(page, site, path):
    """Nothing is saved in it yet: no list of the site's shows it, and its place is taken all the same."""
    arm = Arm()
    site.fault("poshmark", "down", path=path, times=100)
    with pytest.raises(MarketplaceBusy):
        await ADAPTER.publish(page, DRAFT, PHOTOS, arm, arm.drafted)
    site.clear_faults()
    assert await ADAPTER.find_active(page) == []
    (item,) = site.ledger()["listings"]
    assert (item["state"], arm.drafts) == ("draft", [item["listing_id"]])
    await ADAPTER.discard_draft(page, item["listing_id"])
    assert [item["state"] for item in site.ledger()["listings"]] == ["ended"]


@pytest.mark.longer
async def test_a_soft_reject_is_not_published(page, site):
    site.fault("poshmark", "soft_reject")
    with pytest.raises(NotPublished):
        await _publish(page)


@pytest.mark.longer
async def test_the_item_limit_is_the_accounts(page, site):
    site.fault("poshmark", "item_limit")
    with pytest.raises(AccountLimited):
        await _publish(page)
    assert [item["state"] for item in site.ledger()["listings"]] == ["draft"]


@pytest.mark.extended
async def test_fifteen_drafts_are_said_as_a_limit(page, site):
    account = site.world.account("poshmark", "alice")
    for number in range(15):
        site.world.draft("poshmark", account, f"{number:024x}", {"title": f"Draft {number}"})
    with pytest.raises(AccountLimited):
        await _publish(page)


@pytest.mark.extended
async def test_a_marketplace_that_is_down_is_busy(page, site):
    site.fault("poshmark", "down")
    with pytest.raises(MarketplaceBusy):
        await ADAPTER.find_active(page)


@pytest.mark.longer
async def test_the_other_layout_is_filled_too(page, site):
    site.fault("poshmark", "layout")
    answer, filled = await _publish(page)
    assert answer.remote_id
    assert differing(compare(DRAFT, filled.fields)) == []


@pytest.mark.extended
async def test_recompressed_photos_are_still_the_same_photos(page, site):
    from everystall.sandbox.core import difference_hash

    site.fault("poshmark", "recompress")
    answer, _ = await _publish(page)
    seen = await ADAPTER.read(page, answer.remote_id)
    theirs = [await page.fetch(url) for url in seen.photo_urls]
    assert theirs != [one.data for one in PHOTOS]
    assert same_photos(
        [difference_hash(one.data) for one in PHOTOS], [difference_hash(one) for one in theirs]
    )


@pytest.mark.extended
@pytest.mark.parametrize(
    ("category", "size", "tab"),
    [
        (("Men", "Shirts"), "3XL", "Standard"),
        (("Women", "Jeans", "Skinny"), "3X", "Plus"),
        (("Women", "Shoes", "Sneakers"), "8.5", "Standard"),
        (("Men", "Jeans", "Straight"), "32x30", "Custom"),
        (("Kids", "Shirts & Tops"), "6X", "Girls"),
        (("Women", "Bags", "Totes"), "OS", "Standard"),
        (("Home", "Art"), "12 x 16 in", "Standard"),
        (("Pets", "Dog", "Collars, Leashes & Harnesses"), "M", "Standard"),
        (("Electronics", "Headphones"), "OS", "Standard"),
    ],
)
async def test_each_kind_of_size_is_chosen(page, site, category, size, tab):
    draft = DRAFT.model_copy(
        update={"category": category, "size": size, "specifics": {"Size tab": tab}, "brand": None}
    )
    answer, filled = await _publish(page, draft)
    assert differing(compare(draft, filled.fields)) == []
    seen = await ADAPTER.read(page, answer.remote_id)
    assert differing(compare(draft, seen.fields)) == []


@pytest.mark.longer
async def test_smart_sell_discount_and_quantity_as_the_seller_chose(page, site):
    draft = DRAFT.model_copy(
        update={
            "quantity": 3, "options": {"smart_sell": True}, "shipping": {"discount": "-$6.49 (free)"},
            "specifics": {"Size tab": "Standard", "Smart Sell minimum": "1200"},
        }
    )  # fmt: skip
    answer, filled = await _publish(page, draft)
    assert differing(compare(draft, filled.fields)) == []
    assert answer.remote_id
    (item,) = site.ledger()["listings"]
    assert item["fields"]["options"] == {"smart_sell": True}
    assert item["fields"]["shipping"] == {"discount": "-$6.49 (free)"}
    assert item["fields"]["quantity"] == 3


@pytest.mark.extended
async def test_rotating_cookies_that_are_given_on_keep_working(
    page, site, browser, settings, driver, storage
):
    site.sessions("poshmark", "alice", rotate=True, grace_seconds=0)
    await ADAPTER.find_active(page)
    await ADAPTER.find_active(page)
    async with open_browser(
        site=ADAPTER.site, base_url=site.url("poshmark"), storage=await browser.storage(), settings=settings,
        playwright=await driver.get(),
    ) as second:  # fmt: skip
        await ADAPTER.check_session(second.page)
    # the seller's own tab still has the first cookie: that is reuse, and everybody is signed out
    async with open_browser(
        site=ADAPTER.site, base_url=site.url("poshmark"), storage=Storage.from_json(storage),
        settings=settings, playwright=await driver.get(),
    ) as old:  # fmt: skip
        with pytest.raises(SessionExpired):
            await ADAPTER.check_session(old.page)
    assert [e["event"] for e in site.ledger()["entries"]] == ["signed_in", "session_revoked"]
    with pytest.raises(SessionExpired):
        await ADAPTER.check_session(page)


def _sha(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def test_a_photos_whole_is_at_an_address_of_its_own():
    there = "https://di2ponv0v5otw.cloudfront.net/posts/2026/11/26/0123456789abcdef01234567/{}_89.jpg"
    for size in "sml":
        assert ADAPTER.full_size(there.format(size)) == there.format("l")
    assert ADAPTER.full_size("https://example.com/another.png") == "https://example.com/another.png"
