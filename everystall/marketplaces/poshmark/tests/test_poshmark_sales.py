"""The practice Poshmark's table of sales, read; the site's ledger is the judge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from everystall.errors import SessionExpired
from everystall.marketplaces.base import Money
from everystall.marketplaces.poshmark.adapter import ADAPTER
from everystall.sandbox.core import Item

pytestmark = pytest.mark.browser

NONE: frozenset[str] = frozenset()


def _stock(site: Any, title: str, quantity: int = 1) -> Item:
    world = site.world
    fields = {"title": title, "description": "As it is.", "price": {"amount": 1_250_00, "currency": "USD"},
              "quantity": quantity, "size": "M", "condition": "Good", "category": ["Women", "Dresses"],
              "brand": None, "colors": [], "tags": []}  # fmt: skip
    return world.publish(world.draft("poshmark", world.account("poshmark", "alice"), world.new_hex(), fields))


def _sell(site: Any, item: Item, quantity: int = 1) -> str:
    """The order's id."""
    site.buy("poshmark", listing_id=item.id, quantity=quantity)
    return str(item.orders[-1]["order_id"])


def _long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(days=30)


@pytest.mark.parametrize("layout", ["a", pytest.param("b", marks=pytest.mark.extended)])
async def test_a_sale_is_told_with_its_listing_and_a_known_one_costs_one_page(page, browser, site, layout):
    if layout == "b":  # the order's page has no links
        site.fault("poshmark", "layout")
    assert await ADAPTER.find_sales(page, known=NONE, since=_long_ago()) == []
    shirt, socks = _stock(site, "Linen shirt"), _stock(site, "Socks", quantity=5)
    first, second = _sell(site, shirt), _sell(site, socks, quantity=2)
    browser.navigations.clear()
    one, two = await ADAPTER.find_sales(page, known=NONE, since=_long_ago())
    assert len(browser.navigations) == 3
    assert (one.order_id, one.remote_id, one.title, one.quantity) == (second, socks.id, "Socks", 2)
    assert (two.order_id, two.remote_id, two.title, two.quantity) == (first, shirt.id, "Linen shirt", 1)
    assert (two.price, two.cancelled, two.exact) == (Money(amount=125_000), False, False)
    assert two.sold_at is not None
    assert two.sold_at.date() == datetime.fromisoformat(shirt.orders[0]["at"]).date()
    browser.navigations.clear()
    known = frozenset({first, second})
    assert [sale.order_id for sale in await ADAPTER.find_sales(page, known=known, since=_long_ago())] == [
        second,
        first,
    ]
    assert len(browser.navigations) == 1


async def test_a_cancelled_order_says_so(page, site):
    item = _stock(site, "Comes back")
    order = _sell(site, item)
    site.cancel("poshmark", order)
    (sale,) = await ADAPTER.find_sales(page, known=frozenset({order}), since=_long_ago())
    assert (sale.order_id, sale.cancelled) == (order, True)


@pytest.mark.longer
async def test_a_long_list_is_read_until_something_known_and_old_orders_are_not_opened(page, browser, site):
    orders = [_sell(site, _stock(site, f"No. {number}")) for number in range(25)]
    browser.navigations.clear()
    later = datetime.now(UTC) + timedelta(days=10)
    found = await ADAPTER.find_sales(page, known=NONE, since=later)
    assert [sale.order_id for sale in found] == orders[::-1]
    assert {sale.remote_id for sale in found} == {None}
    assert len(browser.navigations) == 2
    browser.navigations.clear()
    known, oldest = frozenset({orders[-1]}), frozenset({orders[0]})
    assert len(await ADAPTER.find_sales(page, known=known, since=later)) == 20
    assert len(browser.navigations) == 1
    assert len(await ADAPTER.find_sales(page, known=known, since=later, look_for=oldest)) == 25


async def test_signed_out_is_told(page, site):
    site.fault("poshmark", "session_expired")
    with pytest.raises(SessionExpired):
        await ADAPTER.find_sales(page, known=NONE, since=_long_ago())


async def test_after_the_site_renamed_its_parts_the_table_is_found_the_other_way(page, site):
    item = _stock(site, "Linen shirt")
    order = _sell(site, item)
    site.drift("poshmark", seed=2, strength=1)
    (sale,) = await ADAPTER.find_sales(page, known=NONE, since=_long_ago())
    assert (sale.order_id, sale.remote_id, sale.price) == (order, item.id, Money(amount=125_000))
