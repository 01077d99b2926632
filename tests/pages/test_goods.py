"""The inventory's own things: where they lie, labels, views that are kept, cards, cells; for nobody else."""

from __future__ import annotations

import html
import json
import re

import pytest

from tests.pages.conftest import EVIL, ROOT, visiting
from tests.pages.standing import listing
from tests.pages.test_inventory import fill
from tests.pages.test_pages_look import LOOKS, look, passes

pytestmark = pytest.mark.browser


def titles(page):
    return re.findall(rf'<a href="{ROOT}/listings/[^"]+">([^<]+)</a>', page)


async def shelf(house, user):
    """Three shirts; title → id."""
    return {
        title: await listing(
            house, user, title=title, sku=sku, location=place, labels=labels, cost_cents=cost
        )
        for title, sku, place, labels, cost in (
            ("Blue shirt", "A-1", "Shelf A", ["denim"], 450),
            ("Red shirt", "A-2", "Shelf B", ["denim", "to mend"], 0),
            ("White shirt", "A-3", None, [], None),
        )
    }


@pytest.mark.longer
async def test_labels_and_places_are_shown_sought_and_set_for_many_and_put_back(house):
    alice, _ = await house.person("alice"), await house.person("bob")
    made = await shelf(house, alice)
    async with visiting(house, "alice") as page:
        shown = await page.get("/inventory")
        for part in ("Shelf A", "<i>to mend</i>", "cost $4.50", "cost $0.00", '<option value="denim">'):
            assert part in shown
        assert titles(await page.get("/inventory?label=to+mend")) == ["Red shirt"]
        assert titles(await page.get("/inventory?location=Shelf+A")) == ["Blue shirt"]
        assert "Label: denim" in await page.get("/inventory?label=denim")

        ids = " ".join(made.values())
        asked = (await page.post("/inventory/bulk", do="label", ids=ids)).text
        assert "Add a label" in asked
        assert 'value="yes">Change' not in asked
        form = {"do": "label", "ids": ids, "add": "denim", "place": "Box 9", "drop": "to mend"}
        looked = (await page.post("/inventory/bulk", **form)).text
        assert "Change 3 listings" in looked
        done = (await page.post("/inventory/bulk", **form, sure="yes")).text
        assert "3 listings are labelled." in done
        rows = await house.rows("SELECT labels, location, revision FROM listings ORDER BY sku")
        assert [row["labels"] for row in rows] == [["denim"]] * 3
        assert {(row["location"], row["revision"]) for row in rows} == {("Box 9", 1)}
        changes = html.unescape(re.search(r'name="changes" value="([^"]+)"', done)[1])
        await house.rows("UPDATE listings SET location = 'Elsewhere' WHERE title = 'White shirt'")
        undone = (await page.post("/inventory/undo/changes", changes=changes)).text
        assert "2 listings are as they were." in undone
        assert "1 was changed since, and stays." in undone
        rows = await house.rows("SELECT labels, location FROM listings ORDER BY sku")
        assert [(row["labels"], row["location"]) for row in rows] == [
            (["denim"], "Shelf A"), (["denim", "to mend"], "Shelf B"), (["denim"], "Elsewhere"),
        ]  # fmt: skip
        wrong = (await page.post("/inventory/bulk", **form | {"add": "x" * 50})).text
        assert "at most 40 characters" in wrong
        assert "x" * 50 in wrong
        for bad in (
            "",
            "[",
            "[{}]",
            '[{"id": "x", "was": {"title": "t"}, "now": {"title": "t"}}]',
            "[" * 5000,
        ):
            await page.post("/inventory/undo/changes", status=400, changes=bad)
    async with visiting(house, "bob") as page:
        await page.post("/inventory/bulk", status=404, **form, sure="yes")
        await page.post("/inventory/undo/changes", status=404, changes=changes)
        assert "denim" not in await page.get("/inventory")
    assert len(await house.rows("SELECT 1 FROM listings WHERE location = 'Elsewhere'")) == 1


async def test_prices_that_were_changed_for_many_are_put_back(house):
    alice = await house.person("alice")
    made = await shelf(house, alice)
    async with visiting(house, "alice") as page:
        form = {"do": "reprice", "ids": " ".join(made.values()), "how": "set", "value": "40"}
        looked = (await page.post("/inventory/bulk", **form)).text
        token = re.search(r'name="token" value="([^"]+)"', looked)[1]
        done = (await page.post("/inventory/bulk", **form, token=token, sure="yes")).text
        assert {row["price_cents"] for row in await house.rows("SELECT price_cents FROM listings")} == {4000}
        changes = html.unescape(re.search(r'name="changes" value="([^"]+)"', done)[1])
        assert (
            "3 listings are as they were."
            in (await page.post("/inventory/undo/changes", changes=changes)).text
        )
        assert {row["price_cents"] for row in await house.rows("SELECT price_cents FROM listings")} == {2500}


@pytest.mark.longer
async def test_views_are_kept_renamed_and_deleted_by_who_they_are_of(house):
    alice, _ = await house.person("alice"), await house.person("bob")
    await shelf(house, alice)
    async with visiting(house, "alice") as page:
        assert "Save this view" not in await page.get("/inventory")
        assert "Save this view" in await page.get("/inventory?label=denim&sort=cheapest")
        kept = (await page.post("/inventory/views", do="save", name=" To  wash ",
                                query="label=denim&sort=cheapest&nonsense=1")).text  # fmt: skip
        assert "The view is kept." in kept
        assert "Rename or delete this view" in kept
        tab = re.search(r'<a href="/inventory\?([^"]+)" aria-current="true" data-kept>To wash</a>', kept)
        assert html.unescape(tab[1]) == "label=denim&sort=cheapest"
        for fields, said in (
            ({"name": "To wash", "query": "label=denim"}, "You keep a view of that name already."),
            ({"name": " ", "query": "label=denim"}, "A view needs a name."),
            ({"name": "All", "query": ""}, "That is all that you have."),
        ):
            csrf = re.search(r'name="csrf" value="(\w+)"', kept)[1]
            given = {"csrf": csrf, "do": "save", **fields}
            answer = await page.client.post("/inventory/views", data=given)
            assert answer.status_code in (400, 409)
            assert said in answer.text
        (row,) = await house.rows("SELECT id, name, query FROM saved_views")
        await page.post(
            "/inventory/views", do="rename", kept=str(row["id"]), name=EVIL[:40], query=row["query"]
        )
        shown = await page.get("/inventory")
        assert "&gt;&lt;img src=x" in shown
        assert "<img src=x" not in shown
    async with visiting(house, "bob") as page:
        for do in ("rename", "delete"):
            await page.post(
                "/inventory/views", status=404, do=do, kept=str(row["id"]), name="mine", query="q=x"
            )
        assert "data-kept" not in await page.get("/inventory")
    async with visiting(house, "alice") as page:
        await page.post("/inventory/views", do="delete", kept=str(row["id"]), query=row["query"])
    assert await house.rows("SELECT 1 FROM saved_views") == []


async def test_an_inventory_is_shown_as_cards_too(house):
    alice = await house.person("alice")
    await shelf(house, alice)
    async with visiting(house, "alice") as page:
        cards = await page.get("/inventory?look=grid&label=denim")
        assert 'data-look="grid"' in cards
        assert "size=card" in cards
        assert titles(cards) == titles(await page.get("/inventory?label=denim"))
        small = re.search(rf'<img src="{ROOT}([^"]+)"', cards)[1]
        answer = await page.client.get(html.unescape(small))
        assert answer.headers["content-type"] == "image/jpeg"
        assert json.dumps(titles(cards)) == json.dumps(["Red shirt", "Blue shirt"])


async def test_a_cell_is_changed_by_the_editors_rules_and_never_over_anothers_change(house):
    alice, _ = await house.person("alice"), await house.person("bob")
    made = await shelf(house, alice)
    path = f"/listings/{made['Blue shirt']}"
    async with visiting(house, "alice") as page:

        async def cell(status, **fields):
            csrf = re.search(r'name="csrf" value="(\w+)"', await page.get("/account"))[1]
            answer = await page.client.post(path, data={"csrf": csrf, **fields}, headers={"X-Part": "saved"})
            assert answer.status_code == status
            return answer.text

        await cell(200, price="31.50", **{"seen.price": "$25.00"})
        assert "Write an amount" in await cell(422, price="cheap", **{"seen.price": "31.50"})
        assert "It was changed elsewhere meanwhile, to “31.50”" in await cell(
            409, price="12", **{"seen.price": "$25.00"}
        )
        await cell(200, quantity="4", **{"seen.quantity": "1"})
        await cell(200, sku="", **{"seen.sku": "A-1"})
        await cell(200, cost="0", **{"seen.cost": "$4.50"})
        await cell(409, cost="5", **{"seen.cost": "$4.50"})
    (row,) = await house.rows(
        "SELECT price_cents, quantity, sku, cost_cents FROM listings WHERE title = 'Blue shirt'"
    )
    assert tuple(row.values()) == (3150, 4, None, 0)
    async with visiting(house, "bob") as page:
        csrf = re.search(r'name="csrf" value="(\w+)"', await page.get("/account"))[1]
        answer = await page.client.post(path, data={"csrf": csrf, "price": "1"}, headers={"X-Part": "saved"})
        assert answer.status_code == 404


@pytest.mark.longer
async def test_cells_are_edited_with_keys_alone(house):
    alice, bob = await house.person("alice"), await house.person("bob")
    await shelf(house, alice)
    await shelf(house, bob)
    page = await house.signed_in("alice", viewport={"width": 1440, "height": 900})
    await page.goto("/inventory?sort=title")
    await page.keyboard.press("j")
    await page.keyboard.press("e")
    price = page.get_by_label("Price of Blue shirt")
    assert await price.input_value() == "25.00"
    await page.keyboard.type("30")
    await page.keyboard.press("Escape")
    assert (await house.rows("SELECT 1 FROM listings WHERE price_cents <> 2500")) == []
    await page.keyboard.press("e")
    await page.keyboard.type("31.5")
    await page.keyboard.press("Enter")
    await page.get_by_text("Price saved.", exact=True).first.wait_for()
    assert await page.locator("tr", has_text="Blue shirt").locator(".c-price").inner_text() == "$31.50"
    assert await page.locator("tr", has_text="Blue shirt").locator(".c-cost").inner_text() == "$4.50"
    await page.get_by_role("button", name="Undo").click()
    await page.get_by_text("Price is as it was.", exact=True).first.wait_for()
    assert (await house.rows("SELECT 1 FROM listings WHERE price_cents <> 2500")) == []
    await page.locator("tr", has_text="Red shirt").locator(".c-sku").click()
    await page.get_by_label("SKU of Red shirt").fill("B-9")
    await page.keyboard.press("Tab")
    await page.get_by_label("Stock of Red shirt").fill("3")
    await page.keyboard.press("Tab")
    await page.get_by_label("Price of Red shirt").fill("25")
    await page.keyboard.press("Tab")
    await page.get_by_label("Cost of Red shirt").fill("7.5")
    await page.keyboard.press("Enter")
    await page.get_by_text("Cost saved.", exact=True).first.wait_for()
    assert await page.locator("tr", has_text="Red shirt").locator(".c-cost").inner_text() == "$7.50"
    cost = page.locator("tr", has_text="White shirt").locator(".c-cost")
    assert await cost.inner_text() == "–"
    await cost.click()
    await page.get_by_label("Cost of White shirt").fill("0")
    await page.keyboard.press("Enter")
    await cost.get_by_text("$0.00").wait_for()  # a gift
    costs = "SELECT u.email, cost_cents FROM listings l JOIN users u ON u.id = user_id ORDER BY email, title"
    told = [(row["email"][0], row["cost_cents"]) for row in await house.rows(costs)]
    assert told == [("a", 450), ("a", 750), ("a", 0), ("b", 450), ("b", 0), ("b", None)]
    assert await page.evaluate(
        "[...document.querySelectorAll('.stock-table, body')].every(it => it.scrollWidth <= it.clientWidth)"
    )
    await page.get_by_role("button", name="Undo").click()
    await page.get_by_text("Cost is as it was.", exact=True).first.wait_for()
    assert await cost.inner_text() == "–"
    await page.locator("tr", has_text="Red shirt").locator(".c-price").click()
    await page.get_by_label("Price of Red shirt").fill("nothing")
    await page.keyboard.press("Enter")
    await page.get_by_text("Write an amount in dollars").first.wait_for()
    assert await page.get_by_label("Price of Red shirt").get_attribute("aria-invalid") == "true"
    await page.keyboard.press("Escape")
    (row,) = await house.rows(
        "SELECT sku, quantity, price_cents FROM listings WHERE title = 'Red shirt' AND user_id = :user",
        user=alice,
    )
    assert tuple(row.values()) == ("B-9", 3, 2500)


@pytest.mark.longer
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_the_shelf_looks_as_it_should(house, scheme, width):
    alice = await house.person("alice", "owner")
    await fill(house, alice)
    await house.rows(
        "UPDATE listings SET location = 'Shelf ' || left(sku, 4), labels = '{summer,to mend}', "
        "cost_cents = price_cents / 3 WHERE title < 'L'"
    )
    await house.rows(
        "INSERT INTO saved_views (user_id, name, query) VALUES (:id, 'To mend', 'label=to+mend')", id=alice
    )
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/inventory?label=to+mend")
    await page.get_by_text("Rename or delete this view").click()
    await passes(page, "goods-view")
    await page.goto("/inventory?look=grid")
    await page.get_by_label("Select Fossil chronograph watch").check()
    await passes(page, "goods-grid")
    await page.get_by_role("button", name="Label", exact=True).click()
    await page.get_by_label("Add a label").fill("winter")
    await page.get_by_role("button", name="Look", exact=True).click()
    await passes(page, "goods-label")
    await page.get_by_role("button", name="Change 1 listing").click()
    await passes(page, "goods-labelled")
    await page.goto("/inventory")
    if width > 1000:
        await page.locator("tr", has_text="Fossil").locator(".c-price").click()
        await page.get_by_label("Price of Fossil").fill("70")
        await passes(page, "goods-cell")
        await page.keyboard.press("Enter")
        await page.get_by_text("Price saved.", exact=True).first.wait_for()
        await passes(page, "goods-cell-saved")
        await page.keyboard.press("Control+k")
        await page.get_by_role("combobox", name="A page").fill("s")
        await page.locator("#palette-list small").first.wait_for()
        await passes(page, "goods-palette")
        await page.keyboard.press("Escape")
    await page.get_by_role("link", name="Fossil chronograph watch").click()
    await page.locator("#templates summary").click()
    await page.get_by_label("Keep what this listing has as a template").fill("Small parcel")
    await page.get_by_label("Text under each description").fill("From a home without smoke.")
    await page.get_by_role("button", name="Keep it").click()
    await page.get_by_text("The template is kept.").wait_for()
    await passes(page, "goods-template")
