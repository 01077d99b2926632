"""What the inventory asks of the database for a part of its page."""

from __future__ import annotations

import html
import re

from sqlalchemy import event

from everystall.web.pages import inventory
from tests.pages.plain.conftest import plain
from tests.pages.standing import listing


async def test_a_keystroke_asks_for_nothing_that_stands_around_its_rows(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    for who, title in ((alice, "Linen shirt of Alice"), (bob, "Linen shirt of Bob")):
        await listing(house, who.id, title=title)
    asked = []
    event.listen(house.database.engine.sync_engine, "before_cursor_execute", lambda *of: asked.append(of[2]))
    assert "Linen shirt of Alice" in await alice.text("/inventory?q=shirt")
    assert [one for one in asked if "FROM notices" in one]
    asked.clear()
    rows = await alice.text("/inventory?typed=yes&q=shirt", headers={"X-Part": "results"})
    assert ("Linen shirt of Alice" in rows, "Linen shirt of Bob" in rows) == (True, False)
    around = ("FROM notices", "needs_you IS NOT NULL", "FROM saved_views", "OFFSET", "count(*)")
    assert not [one for one in asked if any(part in one for part in around)]


async def test_a_keystroke_is_told_how_many_match_where_counting_them_is_short(house, reader, monkeypatch):
    alice, bob = await reader("alice"), await reader("bob")
    for who, many in ((alice, inventory.TYPED + 5), (bob, 1)):
        for number in range(many):
            await listing(house, who.id, title=f"Shirt {number:02}")
    rows = {"X-Part": "results"}
    for large in (False, True):
        if large:
            monkeypatch.setattr(inventory, "MANY", 10)
        page = (await alice.get("/inventory")).text
        address = re.search(r'hx-get="(/inventory\?typed=\w+)"', page)[1]
        several = await alice.text(f"{address}&q=shirt", headers=rows)
        assert f"{inventory.TYPED + 5} listings" in several or large
        assert ("listings" in several) != large
        assert "1 listing " in await alice.text(f"{address}&q=shirt+07", headers=rows)
        assert "1 listing " in await bob.text(f"{address}&q=shirt", headers=rows)


def heads(page):
    """Name of a column → (how it is ordered, the order that its head leads to)."""
    found = re.findall(
        r'<th class="c-[^"]+" scope="col"(?: aria-sort="(\w+)")?>(?:<a href="([^"]+)"[^>]*>)?(\w+)', page
    )
    return {name: (how, html.unescape(to)) for how, to, name in found}


async def test_the_heads_of_the_table_are_its_orders_and_say_so(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    for title, price, sku, stock in (("Cup", 900, "B-2", 1), ("Ant", 500, None, 3), ("Bag", 700, "A-1", 2)):
        await listing(house, alice.id, title=title, price_cents=price, sku=sku, quantity=stock)
    await listing(house, bob.id, title="Mug of Bob", sku="A-0")
    page = (await alice.get("/inventory?q=a")).text
    assert heads(page)["Age"] == ("ascending", "/inventory?q=a&sort=oldest")
    assert heads(page)["Status"] == ("", "")
    page = (await alice.get("/inventory")).text
    for name, order in (("Listing", "Ant Bag Cup"), ("SKU", "Ant Bag Cup"), ("Stock", "Cup Bag Ant"),
                        ("Price", "Ant Bag Cup"), ("Age", "Bag Ant Cup")):  # fmt: skip
        to = heads(page)[name][1]
        for way, expected in (("ascending", order.split()), ("descending", order.split()[::-1])):
            if name == "Age":  # it is so anyway: the head leads to the other
                way = {"ascending": "descending", "descending": "ascending"}[way]
                expected = expected[::-1]
            shown = (await alice.get(to)).text
            assert re.findall(r'<a href="/listings/[^"]+">([^<]+)</a>', shown) == expected, to
            assert [(one, how) for one, (how, _) in heads(shown).items() if how] == [(name, way)]
            to = heads(shown)[name][1]
    # what a page ends with is found again in its address, an empty SKU too
    for sort, at, then in (("sku", " 00000000-0000-0000-0000-000000000000", "Ant"), ("sku-down", "B", "Bag")):
        place = at if at.startswith(" ") else f"{at} 00000000-0000-0000-0000-000000000000"
        shown = (await alice.get("/inventory", params={"sort": sort, "after": place})).text
        assert re.findall(r'<a href="/listings/[^"]+">([^<]+)</a>', shown)[0] == then


async def test_columns_are_hidden_for_the_one_who_wants_it_so(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    for who in (alice, bob):
        await listing(house, who.id, title="Shirt")
    shown = ["status", "where", "qty", "price"]
    led = await alice.done("/inventory/columns", show=shown, query="q=shirt&look=nothing&x=1")
    assert led == "/inventory?q=shirt"
    assert 'data-hides="sku cost age"' in (await alice.get(led)).text
    assert 'data-hides=""' in (await bob.get("/inventory")).text
    await alice.done("/inventory/columns", show=["sku", "'; DROP", "price"], query="said=x")
    assert 'data-hides="status where qty cost age"' in (await alice.get("/inventory")).text
    assert (await alice.get("/inventory/columns")).status_code == 303
    rows = await house.rows("SELECT email, hidden_columns FROM users ORDER BY email")
    assert [row["hidden_columns"] for row in rows] == [["status", "where", "qty", "cost", "age"], []]


async def test_kept_views_say_how_many_they_hold_after_the_page(house, reader, monkeypatch):
    alice, bob = await reader("alice"), await reader("bob")
    for who, many in ((alice, 6), (bob, 1)):
        for number in range(many):
            await listing(house, who.id, title=f"Shirt {number}")
        for name, query in (("All shirts", "q=shirt"), ("None", "q=boots"), ("One", "q=shirt+0&sort=title")):
            await house.rows("INSERT INTO saved_views (user_id, name, query) VALUES (:u, :n, :q)",
                             u=who.id, n=name, q=query)  # fmt: skip
    monkeypatch.setattr(inventory, "COUNTED", 5)

    async def numbers(who, **how):
        page = (await who.get("/inventory", **how)).text
        views = re.findall(r"data-kept>([\w ]+?)(?: <span>([^<]+)</span>)?</a>", page)
        return views, 'hx-trigger="load"' in page

    part = {"headers": {"X-Part": "views"}}
    assert await numbers(alice) == ([("All shirts", ""), ("None", ""), ("One", "")], True)
    assert await numbers(alice, **part) == ([("All shirts", "4+"), ("None", "0"), ("One", "1")], False)
    assert await numbers(bob, **part) == ([("All shirts", "1"), ("None", "0"), ("One", "1")], False)
    monkeypatch.setattr(inventory, "PATIENCE", -1)  # nothing is waited for
    assert await numbers(alice, **part) == ([("All shirts", ""), ("None", ""), ("One", "")], False)


async def test_how_many_are_sold_is_said_once(house, reader):
    alice, bob = await reader("alice"), await reader("bob")
    for quantity, sold in ((1, 1), (3, 1), (3, 3), (2, 0)):
        await listing(house, alice.id, title=f"{quantity} and {sold}", quantity=quantity, quantity_sold=sold)
    page = (await alice.get("/inventory")).text
    stock = dict(re.findall(r'aria-label="Select ([^"]+)".*?<td class="c-qty[^>]*>(.*?)</td>', page, re.S))
    assert {title: plain(cell) for title, cell in stock.items()} == {
        "1 and 1": "1 sold", "3 and 1": "3 1 sold", "3 and 3": "3 all sold", "2 and 0": "2",
    }  # fmt: skip
    assert "1 and 1" not in await bob.text("/inventory")
