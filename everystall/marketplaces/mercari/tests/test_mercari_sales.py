"""The practice Mercari's lists of what sold, read; the site's ledger is the judge."""

import time
from datetime import UTC, datetime

import pytest

from everystall.errors import PageChanged, SessionExpired
from everystall.marketplaces.base import Money, Sale
from everystall.marketplaces.mercari.adapter import ADAPTER

SITE = "mercari"
NONE = frozenset()
NOW = datetime.now(UTC)


def _stock(mercari, title):
    world = mercari.world
    fields = {
        "title": title, "description": "It is what it is.", "price": {"amount": 123400, "currency": "USD"},
        "quantity": 1, "category": ["Home", "Home decor", "Vases"], "brand": None, "size": None,
        "condition": "Good", "options": {"smart_pricing": False},
        "shipping": {"payer": "buyer", "ships_from_zip": "94107", "weight_oz": 20, "carrier": "USPS"},
    }  # fmt: skip
    return world.publish(world.draft(SITE, world.account(SITE, "ada"), f"m{world.new_number(11)}", fields))


async def test_what_sold_is_told_newest_first_by_one_page(page, mercari, browser):
    assert await ADAPTER.find_sales(page, known=NONE, since=NOW) == []
    first, second = _stock(mercari, "A cancelled stamp"), _stock(mercari, "Vase")
    mercari.buy(SITE, listing_id=second.id)
    mercari.buy(SITE, listing_id=first.id)
    browser.navigations.clear()
    assert await ADAPTER.find_sales(page, known=NONE, since=NOW) == [
        Sale(first.id, first.id, "A cancelled stamp", Money(amount=123400)),
        Sale(second.id, second.id, "Vase", Money(amount=123400)),
    ]
    assert len(browser.navigations) == 1


async def test_a_cancelled_order_says_so(page, mercari):
    item = _stock(mercari, "Comes back")
    mercari.buy(SITE, listing_id=item.id)
    mercari.cancel(SITE, item.orders[0]["order_id"])
    (sale,) = await ADAPTER.find_sales(page, known=NONE, since=NOW)
    assert (sale.remote_id, sale.cancelled) == (item.id, True)


@pytest.mark.longer
async def test_a_long_list_is_read_until_something_known(page, mercari, browser):
    for number in range(25):
        mercari.buy(SITE, listing_id=_stock(mercari, f"No. {number}").id)
    browser.navigations.clear()
    found = await ADAPTER.find_sales(page, known=NONE, since=NOW)
    assert [sale.title for sale in found] == [f"No. {number}" for number in range(24, -1, -1)]
    assert len(browser.navigations) == 2
    browser.navigations.clear()
    known = frozenset({found[0].order_id})
    assert len(await ADAPTER.find_sales(page, known=known, since=NOW)) == 20
    assert len(browser.navigations) == 1
    oldest = frozenset({found[-1].order_id})
    assert len(await ADAPTER.find_sales(page, known=known, since=NOW, look_for=oldest)) == 25
    gone = await ADAPTER.find_sales(page, known=known, since=NOW, look_for=frozenset({"m1"}))
    assert (len(gone), gone.cut) == (25, False)


async def test_what_the_site_itself_has_for_sale_again_is_a_cancelled_order_until_it_is_sold_again(
    page, mercari
):
    item = _stock(mercari, "Comes back")
    mercari.buy(SITE, listing_id=item.id)
    mercari.cancel(SITE, item.orders[0]["order_id"], puts_back=True)
    (sale,) = await ADAPTER.find_sales(page, known=NONE, since=NOW)
    assert (sale.remote_id, sale.cancelled) == (item.id, True)
    assert (await ADAPTER.read(page, item.id)).state == "live"
    mercari.buy(SITE, listing_id=item.id)
    (sale,) = await ADAPTER.find_sales(page, known=NONE, since=NOW)
    assert (sale.order_id, sale.cancelled) == (item.id, False)


async def test_what_is_long_past_is_read_when_asked_for(page, mercari):
    item = _stock(mercari, "Sold while nobody looked")
    mercari.buy(SITE, listing_id=item.id)
    item.sold_at = time.time() - 30 * 86400
    assert await ADAPTER.find_sales(page, known=NONE, since=NOW) == []
    (sale,) = await ADAPTER.find_sales(page, known=NONE, since=NOW, whole=True)
    assert sale.remote_id == item.id


async def test_signed_out_is_told(page, mercari):
    mercari.fault(SITE, "session_expired")
    with pytest.raises(SessionExpired):
        await ADAPTER.find_sales(page, known=NONE, since=NOW)


async def test_after_the_site_renamed_its_parts_the_list_is_found_the_other_way(page, mercari):
    item = _stock(mercari, "Vase")
    mercari.buy(SITE, listing_id=item.id)
    mercari.drift(SITE, seed=2, strength=1)
    found = await ADAPTER.find_sales(page, known=NONE, since=NOW)
    assert found == [Sale(item.id, item.id, "Vase", Money(amount=123400))]


@pytest.mark.longer
@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("const list = document.querySelector('main ul'); const rows = [...list.children];"
         "list.replaceChildren(); setTimeout(() => list.append(...rows), 500)", 1),
        ("document.querySelectorAll('main ul a').forEach((link) => link.href = '/of/today')", None),
    ],
)  # fmt: skip
async def test_rows_are_waited_for_and_a_list_that_shows_none_says_that_it_is_empty(
    page, mercari, monkeypatch, script, found
):
    mercari.buy(SITE, listing_id=_stock(mercari, "Vase").id)
    goto = page.goto

    async def goes(path, **more):
        await goto(path, **more)
        await page.raw.evaluate(f"() => {{ {script} }}")

    monkeypatch.setattr(page, "goto", goes)
    if found:
        assert len(await ADAPTER.find_sales(page, known=NONE, since=NOW)) == found
    else:
        with pytest.raises(PageChanged):
            await ADAPTER.find_sales(page, known=NONE, since=NOW)


@pytest.mark.longer
async def test_more_than_is_read_at_once_is_said(page, mercari):
    for number in range(101):
        mercari.world.buy(SITE, listing_id=_stock(mercari, f"No. {number}").id)
    found = await ADAPTER.find_sales(page, known=frozenset({"m1"}), since=NOW)
    assert (len(found), found.cut) == (100, True)
    assert not (await ADAPTER.find_sales(page, known=frozenset({found[-1].order_id}), since=NOW)).cut
