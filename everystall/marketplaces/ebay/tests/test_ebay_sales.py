"""The practice eBay's orders, read; the site's ledger is the judge."""

from datetime import UTC, datetime, timedelta

import pytest

from everystall.errors import PageChanged, SessionExpired
from everystall.marketplaces.base import Money
from everystall.marketplaces.ebay.adapter import ADAPTER

SITE = "ebay"
NONE = frozenset()
NOW = datetime.now(UTC)


def _stock(ebay, title, quantity=1):
    world = ebay.world
    fields = {
        "title": title, "description": "It is what it is.", "price": {"amount": 123400, "currency": "USD"},
        "quantity": quantity, "category": ["Home & Garden", "Home Décor", "Vases"], "brand": None,
        "size": None, "condition": "Used", "options": {"offers": False, "promotion": False},
        "specifics": {}, "shipping": {},
    }  # fmt: skip
    return world.publish(world.draft(SITE, world.account(SITE, "ada"), world.new_number(12), fields))


async def test_orders_are_told_newest_first_by_one_page(page, ebay, browser):
    assert await ADAPTER.find_sales(page, known=NONE, since=NOW) == []
    vase, socks = _stock(ebay, "Vase"), _stock(ebay, "Socks", quantity=5)
    ebay.buy(SITE, listing_id=vase.id)
    ebay.buy(SITE, listing_id=socks.id, quantity=3)
    browser.navigations.clear()
    one, two = await ADAPTER.find_sales(page, known=NONE, since=NOW)
    assert len(browser.navigations) == 1
    assert (one.order_id, one.remote_id) == (socks.orders[0]["order_id"], socks.id)
    assert (one.title, one.quantity, one.price, one.cancelled) == ("Socks", 3, Money(amount=123400), False)
    assert (two.order_id, two.remote_id, two.quantity) == (vase.orders[0]["order_id"], vase.id, 1)
    sold_at = datetime.fromisoformat(vase.orders[0]["at"])
    assert two.exact
    assert two.sold_at is not None
    assert timedelta(0) <= sold_at - two.sold_at < timedelta(minutes=1)


async def test_two_orders_of_one_listing_are_two(page, ebay):
    socks = _stock(ebay, "Socks", quantity=5)
    for _ in range(2):
        ebay.buy(SITE, listing_id=socks.id)
    found = await ADAPTER.find_sales(page, known=NONE, since=NOW)
    assert [(sale.remote_id, sale.line) for sale in found] == [(socks.id, 0), (socks.id, 0)]
    assert len({sale.order_id for sale in found}) == 2


async def test_a_cancelled_order_says_so(page, ebay):
    vase = _stock(ebay, "Comes back")
    ebay.buy(SITE, listing_id=vase.id)
    ebay.cancel(SITE, vase.orders[0]["order_id"])
    (sale,) = await ADAPTER.find_sales(page, known=NONE, since=NOW)
    assert sale.cancelled


async def test_a_long_list_is_read_until_something_known(page, ebay, browser):
    socks = _stock(ebay, "Socks", quantity=60)
    for _ in range(60):
        ebay.world.buy(SITE, listing_id=socks.id)
    browser.navigations.clear()
    found = await ADAPTER.find_sales(page, known=NONE, since=NOW)
    assert [sale.order_id for sale in found] == [order["order_id"] for order in socks.orders[::-1]]
    assert (len(browser.navigations), found.ended) == (2, True)
    browser.navigations.clear()
    newest = await ADAPTER.find_sales(page, known=frozenset({found[0].order_id}), since=NOW)
    assert (len(newest), newest.ended, len(browser.navigations)) == (50, False, 1)
    known, oldest = frozenset({found[0].order_id}), frozenset({found[-1].order_id})
    assert len(await ADAPTER.find_sales(page, known=known, since=NOW, look_for=oldest)) == 60


async def test_signed_out_is_told(page, ebay):
    ebay.fault(SITE, "session_expired")
    with pytest.raises(SessionExpired):
        await ADAPTER.find_sales(page, known=NONE, since=NOW)


async def test_after_the_site_renamed_its_parts_the_columns_are_found_by_their_headings(page, ebay):
    socks = _stock(ebay, "Socks", quantity=5)
    ebay.buy(SITE, listing_id=socks.id, quantity=2)
    ebay.drift(SITE, seed=2, strength=1)
    (sale,) = await ADAPTER.find_sales(page, known=NONE, since=NOW)
    assert (sale.remote_id, sale.quantity, sale.price) == (socks.id, 2, Money(amount=123400))
    assert sale.exact


def _before_page(page, monkeypatch, number, does):
    """When the page of that number is opened, `does` happens first."""
    goto, opened = page.goto, []

    async def goes(path, **more):
        opened.append(path)
        if len(opened) == number:
            does()
        await goto(path, **more)

    monkeypatch.setattr(page, "goto", goes)


def _once_open(page, monkeypatch, script):
    """Each page that is opened is changed by the script before anybody reads it."""
    goto = page.goto

    async def goes(path, **more):
        await goto(path, **more)
        await page.raw.evaluate(script)

    monkeypatch.setattr(page, "goto", goes)


async def test_orders_that_arrive_between_two_pages_make_none_of_the_others_count_twice(
    page, ebay, monkeypatch
):
    socks = _stock(ebay, "Socks", quantity=60)
    for _ in range(53):
        ebay.world.buy(SITE, listing_id=socks.id)
    told = [order["order_id"] for order in socks.orders[::-1]]

    def two_are_bought():
        for _ in range(2):
            ebay.world.buy(SITE, listing_id=socks.id)

    _before_page(page, monkeypatch, 2, two_are_bought)
    found = await ADAPTER.find_sales(page, known=NONE, since=NOW)
    assert [(sale.order_id, sale.line) for sale in found] == [(id, 0) for id in told]


@pytest.mark.parametrize(
    "script",
    [
        "document.querySelector('tbody .hub-title').href = '/of/today'",
        "document.querySelectorAll('tbody a').forEach((link) => link.href = '/orders/of/today')",
    ],
)
async def test_a_row_that_does_not_say_what_it_is_of_is_not_passed_over(page, ebay, monkeypatch, script):
    for title in ("Vase", "Socks"):
        ebay.buy(SITE, listing_id=_stock(ebay, title).id)
    _once_open(page, monkeypatch, script)
    with pytest.raises(PageChanged):
        await ADAPTER.find_sales(page, known=NONE, since=NOW)


@pytest.mark.longer
async def test_more_than_is_read_at_once_is_said(page, ebay):
    socks = _stock(ebay, "Socks", quantity=300)
    for _ in range(251):
        ebay.world.buy(SITE, listing_id=socks.id)
    oldest = frozenset({socks.orders[0]["order_id"]})
    found = await ADAPTER.find_sales(page, known=oldest, since=NOW)
    assert (len(found), found.cut) == (250, True)
    last = frozenset({found[-1].order_id})
    assert not (await ADAPTER.find_sales(page, known=last, since=NOW)).cut
