"""A listing is written with photos from nothing, with scripts and without, on a desk and on a phone."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.pages.conftest import EVIL, furnish, sign_in, visiting
from tests.pages.standing import account, listing, publication
from tests.pages.test_pages_look import LOOKS, look, passes
from tests.pages.test_pages_safety import CORPUS, HTML

pytestmark = pytest.mark.browser
BOTH = pytest.mark.parametrize(
    "scripts", [True, pytest.param(False, marks=pytest.mark.longer)], ids=["with-scripts", "without-scripts"]
)
DESCRIPTION = "A linen shirt, worn twice.\n\nNo stains, no holes. Smoke-free home."


def photo(number, size=(800, 1000)):
    image = Image.new("RGB", size, (230 - number * 25, 225, 210 + number * 10))
    draw = ImageDraw.Draw(image)
    draw.ellipse((200, 250, 600, 800), fill=(number * 60 % 255, 120, 160))
    draw.rectangle((100, 100 + number * 120, 700, 140 + number * 120), fill=(60, 60, 60 + number * 30))
    out = io.BytesIO()
    image.save(out, "JPEG")
    return {"name": f"photo-{number}.jpg", "mimeType": "image/jpeg", "buffer": out.getvalue()}


async def begin(page, house):
    """A new draft, opened as the button of the inventory does it."""
    csrf = await page.locator("input[name=csrf]").first.get_attribute("value")
    made = await page.request.post(
        "/inventory/new", form={"csrf": csrf}, headers={**HTML, "Origin": house.url}, max_redirects=0
    )
    assert made.status == 303
    await page.goto(made.headers["location"])
    return made.headers["location"].rsplit("/", 1)[1]


async def saved(page, scripts=True):
    """After a change: it is saved by itself, or by Save."""
    if not scripts:
        await page.get_by_role("button", name="Save", exact=True).last.click()
        await page.wait_for_load_state()
        return
    await page.locator("#saved[data-state=ok]", has_text=re.compile(r"Saved \d")).wait_for(timeout=20_000)


async def type_in(page, label, text):
    """With scripts: and it is saved."""
    async with page.expect_response(lambda answer: answer.request.method == "POST"):
        await page.get_by_label(label, exact=True).fill(text)
        await page.get_by_label(label, exact=True).blur()
    await saved(page)


async def the_row(house, id):
    (row,) = await house.rows("SELECT * FROM listings WHERE id = :id", id=id)
    return row


async def photos_of(house, id):
    rows = await house.rows("SELECT id FROM listing_photos WHERE listing_id = :id ORDER BY position", id=id)
    return [str(row["id"]) for row in rows]


async def test_what_is_needed_of_a_size_leads_to_whose_size_it_is(house):
    """What Mercari has no word for, or asks for in a category of its own, is set in its own field."""
    alice, _ = await house.person("alice"), await house.person("bob")
    nonsense = await listing(house, alice, category="kids.boys.tops", size="nonsense")
    unknown = await listing(house, alice, category="kids.boys.tops", size="20")
    there = await listing(house, alice, category="home.mirrors", size=None)
    own = json.dumps({"mercari": {"category": "Men > Jeans > Classic, straight leg"}})
    await house.rows("UPDATE listings SET overrides = CAST(:own AS jsonb) WHERE id = :id", own=own, id=there)
    async with visiting(house, "bob") as page:
        await page.get(f"/listings/{there}", status=404)
    async with visiting(house, "alice") as page:
        for id, said, leads in (
            (nonsense, "It has no size", "#size"),
            (unknown, "It has no size", "#mercari-size"),
            (there, "The size is missing", "#mercari-size"),
        ):
            shown = await page.get(f"/listings/{id}")
            needs = shown[shown.index('id="mercari-needs"') :].partition("</div>")[0]
            assert re.findall(rf'href="(#[^"]*)">{said}', needs) == [leads], id


@pytest.mark.longer
async def test_a_photo_is_looked_at_large_and_the_focus_comes_back(house):
    await house.person("bob")
    await furnish(house, await house.person("alice"))
    page = await house.signed_in("alice")
    await begin(page, house)
    await page.locator("#photos-add").set_input_files([photo(1)])
    link = page.locator("#photo-list a")
    await link.focus()
    await page.keyboard.press("Enter")
    large = page.get_by_role("dialog", name="Photo, large")
    width = await large.locator("img").evaluate(
        "async one => { await one.decode(); return one.naturalWidth }"
    )
    assert width > 480
    await page.keyboard.press("Escape")
    await large.wait_for(state="hidden")
    assert await link.evaluate("one => one === document.activeElement")


@pytest.mark.longer
@pytest.mark.parametrize(
    ("width", "scripts"),
    [
        pytest.param(390, True, id="phone"),
        pytest.param(1440, False, id="desk-without-scripts", marks=pytest.mark.longer),
        pytest.param(1440, True, id="desk", marks=pytest.mark.extended),
        pytest.param(390, False, id="phone-without-scripts", marks=pytest.mark.extended),
    ],
)
async def test_a_listing_is_written_with_photos_from_nothing(house, scripts, width):
    await furnish(house, await house.person("alice"))
    page = await house.signed_in("alice", java_script_enabled=scripts, **look("light", width))
    id = await begin(page, house)
    assert await page.get_by_role("heading", name="New listing").is_visible()
    assert await page.locator("#needs").get_by_text("The title is missing").first.is_visible()

    await page.locator("#photos-add").set_input_files([photo(1), photo(2), photo(3)])
    if not scripts:
        await page.get_by_role("button", name="Upload").click()
    await page.locator("#photo-list li").nth(2).wait_for(timeout=30_000)

    for label, text in (
        ("Title", "Linen shirt"), ("Description", DESCRIPTION), ("Category", "midi dresses"),
        ("Brand", "Everlane"), ("Size", "M"), ("Tags", "linen, summer , "), ("Price", "$49"),
        ("Original price", "120.50"), ("How many", "1"), ("SKU", "A-17"), ("Weight, pounds", "1"),
        ("and ounces", "4"), ("Length", "12"), ("Width", "9.5"), ("Height", "2"),
        ("ZIP code that you ship from", "97205"), ("Name of specific 1", "Material"),
        ("Value of specific 1", "Linen"),
    ):  # fmt: skip
        await page.get_by_label(label, exact=True).fill(text)
    await page.get_by_label("Condition", exact=True).select_option("Good")
    await page.get_by_label("Main colour", exact=True).select_option("Navy")
    await page.get_by_label("Colour 2", exact=True).select_option("White")
    await page.get_by_label("Who pays the postage").select_option("The buyer")
    await page.locator("#own-mercari summary").click()
    await page.get_by_label("Title on Mercari").fill("Linen shirt by Everlane")
    await page.get_by_label("Price on Mercari").fill("45")
    if scripts:
        await page.get_by_label("Title", exact=True).focus()
        await page.wait_for_timeout(700)
    await saved(page, scripts)

    row = await the_row(house, id)
    told = ("title", "description", "category", "brand", "size", "tags", "sku")
    assert {name: row[name] for name in told} == {
        "title": "Linen shirt", "description": DESCRIPTION, "category": "women.dresses.midi",
        "brand": "Everlane", "size": "M", "tags": ["linen", "summer"], "sku": "A-17",
    }  # fmt: skip
    assert (row["price_cents"], row["original_price_cents"], row["colors"]) == (
        4900,
        12050,
        ["navy", "white"],
    )
    assert row["package"] == {"weight_oz": 20, "length_in": 12.0, "width_in": 9.5, "height_in": 2.0}
    assert (row["ships_from_zip"], row["shipping_payer"], row["condition"]) == ("97205", "buyer", "good")
    assert row["specifics"] == {"Material": "Linen"}
    assert row["overrides"] == {
        "mercari": {"title": "Linen shirt by Everlane", "price": {"amount": 4500, "currency": "USD"}}
    }
    assert len(await photos_of(house, id)) == 3
    needs = page.locator("#needs")
    assert await needs.get_by_text("The title is missing").count() == 0
    assert await needs.get_by_text("You get $40.50").is_visible()  # Mercari's tenth of the price there
    assert await needs.get_by_text("of $49.00; Poshmark takes $9.80").first.is_visible()

    await page.reload()
    assert await page.get_by_label("Description", exact=True).input_value() == DESCRIPTION
    assert await page.get_by_label("Category", exact=True).input_value() == "Women > Dresses > Midi dresses"
    assert (await the_row(house, id))["revision"] == row["revision"]


@pytest.mark.extended
@pytest.mark.parametrize(
    ("width", "scripts"),
    [
        pytest.param(390, True, id="phone"),
        pytest.param(1440, True, id="desk", marks=pytest.mark.longer),
        pytest.param(1440, False, id="desk-without-scripts", marks=pytest.mark.longer),
    ],
)
async def test_what_one_marketplace_gets_instead_is_chosen_from_what_it_has(house, scripts, width):
    alice, bob = await house.person("alice"), await house.person("bob")
    for user, name in ((alice, "alice"), (bob, "bob")):
        await account(house, user, "ebay", name)
        await house.rows(
            "UPDATE connections SET policies = CAST(:has AS jsonb) WHERE user_id = :id",
            id=user, has=json.dumps({"return_policy": [f"Returns to {name}", "No returns"]}),
        )  # fmt: skip
    id = await listing(house, alice, title="Linen shirt", category="women.dresses.midi", condition="good")
    page = await house.signed_in("alice", java_script_enabled=scripts, **look("light", width))
    await page.goto(f"/listings/{id}")
    await page.locator("#own-ebay summary").click()
    condition, category = page.get_by_label("Condition on eBay"), page.get_by_label("Category on eBay")

    async def offered(of):
        return await of.locator("option").all_text_contents()

    assert (await offered(condition))[:2] == ["As above: Pre-owned - Good", "New with tags"]
    assert (await category.get_attribute("placeholder")).endswith("Women's Clothing > Dresses")
    assert "4XL" in await page.locator("#ebay-sizes option").evaluate_all("all => all.map(one => one.value)")
    policy = page.get_by_label("Return policy")
    has = ["As the account's defaults say", "Returns to alice", "No returns"]  # and not bob's
    assert await offered(policy) == has
    unseen = page.get_by_label("Shipping policy")
    assert await unseen.evaluate("one => one.tagName") == "INPUT"
    brand = page.get_by_label("Brand on eBay")
    if scripts:
        await page.get_by_label("Brand", exact=True).fill("Everlane")
        assert await brand.get_attribute("placeholder") == "Everlane"

    await category.fill("spaceship")
    await category.blur()
    await saved_in_part(page, scripts)
    assert "is no category on eBay" in await page.locator("#ebay-category-trouble").inner_text()
    await category.fill("Books & Magazines > Books")
    await category.blur()
    await saved(page, scripts)
    if scripts:
        await condition.locator("option", has_text="Very Good").wait_for(state="attached")
    else:  # the page came anew
        await page.locator("#own-ebay summary").click()
    assert "Very Good" in await offered(condition)
    assert await page.locator("#ebay-sizes option").count() == 0
    await condition.select_option("Very Good")
    await policy.select_option("No returns")
    for label, text in (("Size on eBay", "L"), ("Brand on eBay", "Acme")):
        await page.get_by_label(label, exact=True).fill(text)
    if scripts:
        await page.get_by_label("Brand on eBay").focus()
        await page.wait_for_timeout(700)
    await saved(page, scripts)
    assert (await the_row(house, id))["overrides"] == {
        "ebay": {
            "category": "Books & Magazines > Books", "condition": "Very Good", "size": "L", "brand": "Acme",
            "return_policy": "No returns",
        }
    }  # fmt: skip
    await page.reload()
    assert "5 otherwise" in await page.locator("#own-ebay summary").inner_text()
    await page.locator("#own-ebay summary").click()
    assert await condition.input_value() == "Very Good"
    need = page.locator("#needs a", has_text="Author").first
    assert await need.is_visible()  # as its own category there asks
    beside = page.locator("#ebay-needs", has_text="What eBay still needs")
    assert await beside.get_by_text("Author").is_visible() is (width == 390)


async def saved_in_part(page, scripts):
    if scripts:
        await page.get_by_text("All but one field is saved").wait_for(timeout=20_000)
    else:
        await saved(page, scripts=False)


async def stands(page, order):
    """The photos stand so, as the server has them too: each knows its number."""
    await page.wait_for_function(
        """order => [...document.querySelectorAll("#photo-list li")].map((one, i) => {
          const label = one.querySelector("button").getAttribute("aria-label");
          return one.dataset.photo + (label === `Move photo ${i + 1} left`);
        }).join() === order""",
        arg=",".join(f"{one}true" for one in order),
    )


@BOTH
@pytest.mark.longer
async def test_photos_are_put_in_order_deleted_and_brought_back(house, scripts):
    await house.person("alice")
    page = await house.signed_in("alice", java_script_enabled=scripts)
    id = await begin(page, house)
    await page.locator("#photos-add").set_input_files([photo(n) for n in range(1, 4)])
    if not scripts:
        await page.get_by_role("button", name="Upload").click()
    await page.locator("#photo-list li").nth(2).wait_for(timeout=30_000)
    first, second, third = await photos_of(house, id)
    cover = page.locator("#photo-list li").first

    async def press(name, now):
        await page.get_by_role("button", name=name, exact=True).click()
        if scripts:
            await stands(page, now)
        else:
            await page.wait_for_load_state()
        assert await photos_of(house, id) == now

    await press("Move photo 3 left", [first, third, second])
    if scripts:
        told = page.locator("#said", has_text="The photo is moved to 2 of 3.")
        await told.wait_for(state="attached")
        assert await page.evaluate("document.activeElement.getAttribute('aria-label')") == "Move photo 2 left"
    await press("Make photo 3 the cover", [second, first, third])
    await press("Move photo 1 right", [first, second, third])
    assert await cover.get_by_text("Cover").is_visible()
    await press("Delete photo 2", [first, third])
    if scripts:
        await page.get_by_role("button", name="Undo").click()
        await page.locator("#said", has_text="The photo is back.").wait_for(state="attached")
        now = await photos_of(house, id)
        await stands(page, now)
        assert (now[0], now[2]) == (first, third)

        box = await page.locator("#photo-list li").nth(2).bounding_box()
        goal = await page.locator("#photo-list li").first.bounding_box()
        await page.mouse.move(box["x"] + 60, box["y"] + 60)
        await page.mouse.down()
        for left in (90, 60, 30):  # as a hand does: the others move away meanwhile
            await page.mouse.move(goal["x"] + left, goal["y"] + 60, steps=8)
            await page.wait_for_timeout(250)
        await page.mouse.up()
        await stands(page, [now[2], now[0], now[1]])
        assert await photos_of(house, id) == [now[2], now[0], now[1]]


@pytest.mark.longer
async def test_a_photo_that_is_none_says_so_and_the_others_are_added(house):
    await house.person("alice")
    page = await house.signed_in("alice")
    id = await begin(page, house)
    none = {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"not a photo"}
    await page.locator("#photos-add").set_input_files([none, photo(1)])
    await page.locator("#photo-list li").first.wait_for(timeout=30_000)
    row = page.locator("#uploads li", has_text="notes.jpg")
    await row.get_by_role("button", name="Try again").wait_for()
    assert "JPEG" in await page.content()
    await row.get_by_role("button", name="Leave it out").click()
    assert await page.locator("#uploads li").count() == 0
    assert len(await photos_of(house, id)) == 1

    plain = await house.signed_in("alice", java_script_enabled=False)
    await plain.goto(f"/listings/{id}")
    await plain.locator("#photos-add").set_input_files([none])
    await plain.get_by_role("button", name="Upload").click()
    await plain.get_by_role("alert").get_by_text("notes.jpg").wait_for()


@pytest.mark.longer
async def test_a_photo_comes_by_drop_and_by_paste(house):
    await house.person("alice")
    page = await house.signed_in("alice")
    await begin(page, house)
    give = """async ([name, type, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
        const how = { bubbles: true, cancelable: true };
        const event = type === "paste" ? new ClipboardEvent(type, { ...how, clipboardData: data })
          : new DragEvent(type, { ...how, dataTransfer: data });
        document.querySelector("#add-photos").dispatchEvent(event);
    }"""
    for number, how in enumerate(("drop", "paste"), 1):
        one = photo(number)
        await page.evaluate(give, [one["name"], how, list(one["buffer"])])
        await page.locator("#photo-list li").nth(number - 1).wait_for(timeout=30_000)


@BOTH
@pytest.mark.longer
async def test_what_is_wrong_is_told_at_its_field_and_the_rest_is_saved(house, scripts):
    await house.person("alice")
    page = await house.signed_in("alice", java_script_enabled=scripts)
    id = await begin(page, house)
    await page.get_by_label("Title", exact=True).fill("Linen shirt")
    price = page.get_by_label("Price", exact=True)
    await price.fill("a lot")
    if scripts:
        await page.get_by_text("All but one field is saved").wait_for()
    else:
        await saved(page, scripts=False)
        assert await page.get_by_text("1 part was not saved. All else was.").is_visible()
        assert await price.evaluate("field => field === document.activeElement")
    told = page.locator("#price-trouble", has_text="Write an amount in dollars, such as 12 or 12.50.")
    assert await told.is_visible()
    assert await price.input_value() == "a lot"
    assert await price.get_attribute("aria-invalid") == "true"
    row = await the_row(house, id)
    assert (row["title"], row["price_cents"]) == ("Linen shirt", None)
    await price.fill("12.50")
    await saved(page, scripts)
    assert await told.count() == 0
    assert (await the_row(house, id))["price_cents"] == 1250


@pytest.mark.longer
@BOTH
@pytest.mark.parametrize("stands", ["mine", pytest.param("the other", marks=pytest.mark.extended)])
async def test_two_tabs_never_write_over_each_other(house, scripts, stands):
    await house.person("alice")
    one = await house.signed_in("alice", java_script_enabled=scripts)
    id = await begin(one, house)
    two, old = await one.context.new_page(), one if scripts else await one.context.new_page()
    await two.goto(f"/listings/{id}")
    await old.goto(f"/listings/{id}")
    await two.get_by_label("Title", exact=True).fill("Written in the other tab")
    await two.get_by_label("Brand", exact=True).fill("Everlane")
    await saved(two, scripts)

    await one.get_by_label("Size", exact=True).fill("M")  # nothing to ask: another field
    await saved(one, scripts)
    row = await the_row(house, id)
    assert (row["title"], row["brand"], row["size"]) == ("Written in the other tab", "Everlane", "M")

    one = old
    await one.get_by_label("Title", exact=True).fill("Written here")
    if scripts:
        await one.get_by_text("All but one field is saved").wait_for()
    else:
        await saved(one, scripts=False)
    told = one.locator("#title-trouble")
    await told.get_by_text("It was changed elsewhere meanwhile, to “Written in the other tab”.").wait_for()
    assert (await the_row(house, id))["title"] == "Written in the other tab"
    assert await one.get_by_label("Title", exact=True).input_value() == "Written here"
    await one.get_by_role("button", name="Keep mine" if stands == "mine" else "Take the other").click()
    await one.get_by_text("Where it is live, it is changed there too.").wait_for()
    wanted = "Written here" if stands == "mine" else "Written in the other tab"
    assert (await the_row(house, id))["title"] == wanted
    assert await one.get_by_label("Title", exact=True).input_value() == wanted


@pytest.mark.longer
async def test_nothing_typed_is_lost_while_everystall_is_away(house):
    await house.person("alice")
    page = await house.signed_in("alice")
    id = await begin(page, house)
    away = True

    async def answer(route):
        await (route.abort() if away and route.request.method == "POST" else route.continue_())

    await page.route("**/listings/**", answer)
    await page.get_by_label("Title", exact=True).fill("Linen shirt")
    told = page.locator("#saved", has_text="Not saved: Everystall does not answer. It is tried again.")
    await told.wait_for()
    assert (await the_row(house, id))["title"] is None
    away = False
    await saved(page)
    assert (await the_row(house, id))["title"] == "Linen shirt"
    house.complaints[:] = [one for one in house.complaints if "ERR_FAILED" not in one]


@pytest.mark.extended
async def test_nothing_typed_is_lost_by_who_is_signed_out_meanwhile(house):
    await house.person("alice")
    page = await house.signed_in("alice")
    id = await begin(page, house)
    await house.rows("DELETE FROM api_tokens WHERE kind = 'browser'")
    await page.get_by_label("Title", exact=True).fill("Linen shirt")
    await page.locator("#saved", has_text="you are signed out. Sign in in another tab").wait_for()
    other = await page.context.new_page()
    await sign_in(other, "alice")
    await page.locator("#saved[data-state=ok]").wait_for(timeout=40_000)
    assert await page.get_by_label("Title", exact=True).input_value() == "Linen shirt"
    assert (await the_row(house, id))["title"] == "Linen shirt"


@pytest.mark.longer
async def test_a_quick_click_elsewhere_saves_what_was_typed_first(house):
    await house.person("alice")
    page = await house.signed_in("alice")
    id = await begin(page, house)
    await page.get_by_label("Title", exact=True).fill("Linen shirt")
    await page.get_by_role("link", name="Marketplaces").first.click()
    await page.wait_for_url("**/connections")
    assert (await the_row(house, id))["title"] == "Linen shirt"


@pytest.mark.longer
async def test_a_need_leads_to_its_field(house):
    await furnish(house, await house.person("alice"))
    page = await house.signed_in("alice")
    await begin(page, house)
    await page.locator("#needs").get_by_text("The title is missing").first.click()
    assert await page.evaluate("document.activeElement.id") == "title"
    await type_in(page, "Category", "women.bags.totes")
    asked = page.locator("#needs a[data-specific]").first
    name = await asked.get_attribute("data-specific")
    await asked.click()
    async with page.expect_response(lambda answer: answer.request.method == "POST"):
        await page.keyboard.type("Leather")
    await saved(page)
    await page.reload()
    first = page.get_by_label("Name of specific 1", exact=True)
    assert await first.input_value() == name
    assert await page.get_by_label("Value of specific 1", exact=True).input_value() == "Leather"


async def test_drafts_lead_to_one_another_and_never_to_somebody_elses(house):
    alice, bob = await house.person("alice"), await house.person("bob")
    made = []
    for who in (alice, bob, alice, alice, alice):
        made.append(await listing(house, who, title="Shirt"))
        await house.rows("UPDATE listings SET created_at = created_at - interval '1 hour'")
    oldest, _, live, middle, newest = made
    ebay = await account(house, alice, "ebay", "alice")
    await publication(house, alice, live, ebay, put="live", state="live")

    def drafts(page):
        return {
            text: id
            for id, text in re.findall(r'/listings/([^"]+)"><svg.*?</svg>\s*(\w+ draft)<', page, re.S)
        }

    async with visiting(house, "alice") as page:
        assert drafts(await page.get(f"/listings/{newest}")) == {"Next draft": middle}
        assert drafts(await page.get(f"/listings/{middle}")) == {
            "Previous draft": newest, "Next draft": oldest,
        }  # fmt: skip
        assert drafts(await page.get(f"/listings/{oldest}")) == {"Previous draft": middle}
        assert drafts(await page.get(f"/listings/{live}")) == {}


@BOTH
@pytest.mark.extended
async def test_a_listing_is_duplicated_and_deleted(house, scripts):
    await house.person("alice")
    page = await house.signed_in("alice", java_script_enabled=scripts)
    id = await begin(page, house)
    await page.locator("#photos-add").set_input_files([photo(1)])
    if not scripts:
        await page.get_by_role("button", name="Upload").click()
    await page.locator("#photo-list li").first.wait_for(timeout=30_000)
    await page.get_by_label("Title", exact=True).fill("Linen shirt")
    await page.get_by_label("SKU", exact=True).fill("A-17")
    await saved(page, scripts)
    await page.get_by_role("button", name="Duplicate").click()
    await page.get_by_text("This is the copy, a draft of its own.").wait_for()
    copy = page.url.split("?")[0].rsplit("/", 1)[1]
    assert copy != id
    row = await the_row(house, copy)
    assert (row["title"], row["sku"], row["revision"]) == ("Linen shirt", None, 1)
    assert len(await photos_of(house, copy)) == len(await photos_of(house, id)) == 1

    await page.get_by_text("Delete this listing").click()
    await page.get_by_role("button", name="Delete it").click()
    await page.wait_for_url("**/inventory**")
    assert [str(one["id"]) for one in await house.rows("SELECT id FROM listings")] == [id]
    house.complaints[:] = [one for one in house.complaints if "status of 404" not in one]


@pytest.mark.longer
async def test_what_is_live_is_taken_down_before_it_is_deleted(house):
    alice = await house.person("alice")
    await furnish(house, alice)
    (row,) = await house.rows("UPDATE publications SET put = 'live', state = 'live' RETURNING listing_id")
    page = await house.signed_in("alice", java_script_enabled=False)
    await page.goto(f"/listings/{row['listing_id']}")
    await page.get_by_text("Delete this listing").click()
    await page.get_by_label("Take it down everywhere first").check()
    await page.get_by_role("button", name="Delete it").click()
    await page.get_by_text("It is being taken down.", exact=True).wait_for()
    (left,) = await house.rows("SELECT delete_asked_at IS NOT NULL AS asked FROM listings")
    assert left["asked"]


@pytest.mark.longer
@pytest.mark.parametrize(
    "evil", [CORPUS[0], *(pytest.param(one, marks=pytest.mark.extended) for one in CORPUS[1:])]
)
async def test_what_anybody_wrote_in_a_listing_is_shown_and_never_run(house, evil):
    alice = await house.person("alice", "owner")
    await furnish(house, alice, name=evil)
    (row,) = await house.rows(
        "UPDATE listings SET title = :evil, description = :evil, brand = :evil, "
        "category = :evil, size = :evil, condition = :evil, colors = ARRAY[:evil], "
        "tags = ARRAY[:evil], sku = :evil, ships_from_zip = :evil, "
        "specifics = CAST(:pairs AS jsonb), overrides = CAST(:own AS jsonb) RETURNING id",
        evil=evil, pairs=json.dumps({evil: evil}),
        own=json.dumps({"ebay": {"title": evil, "category": evil, evil: evil, "condition": evil}}),
    )  # fmt: skip
    page = await house.signed_in("alice")
    await page.goto(f"/listings/{row['id']}")
    assert await page.get_by_label("Title", exact=True).input_value() == evil
    assert await page.evaluate("window.ran") is None
    await type_in(page, "Brand", f"{EVIL} 2")
    await page.get_by_label("Category", exact=True).fill(f"{EVIL} 2")
    await page.get_by_label("Category", exact=True).blur()
    await page.locator("#category-trouble", has_text="is no category here").wait_for()
    assert await page.evaluate("window.ran") is None
    for link in await page.locator("a[href]").evaluate_all("all => all.map(one => one.protocol)"):
        assert link in ("http:", "https:")


@pytest.mark.longer
async def test_somebody_elses_listing_is_not_there(house):
    await house.person("alice")
    hers = await house.signed_in("alice")
    id = await begin(hers, house)
    await hers.locator("#photos-add").set_input_files([photo(1)])
    await hers.locator("#photo-list li").first.wait_for(timeout=30_000)
    await type_in(hers, "Title", "Alice's shirt")
    (photo_id,) = await photos_of(house, id)
    before = await house.rows("SELECT * FROM listings"), await photos_of(house, id)

    await house.person("bob")
    page = await house.signed_in("bob")
    csrf = await page.locator("input[name=csrf]").first.get_attribute("value")
    paths = ["", "/photos", f"/photos/{photo_id}", "/duplicate", "/delete", "/sold"]
    for path in paths:
        answer = await page.request.post(
            f"/listings/{id}{path}",
            multipart={"csrf": csrf, "title": "Bob's", "do": "delete", "end": "yes"}
            | ({"photos": photo(2)} if path == "/photos" else {}),
            headers={**HTML, "Origin": house.url},
            max_redirects=0,
        )
        assert answer.status == 404, path
        assert "Alice" not in await answer.text()
        answer = await page.request.post(
            f"/listings/{id}{path}", form={"title": "X"}, headers={**HTML, "Origin": house.url}
        )
        assert answer.status == 403, path
    for part in ("", "photos", "needs"):
        answer = await page.request.get(f"/listings/{id}", headers={**HTML, "X-Part": part})
        assert answer.status == 404
    assert (await page.request.get("/listings/none-at-all", headers=HTML)).status == 404
    assert (await house.rows("SELECT * FROM listings"), await photos_of(house, id)) == before


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.longer
async def test_the_editor_as_it_looks(house, scheme, width):
    await furnish(house, await house.person("alice", "owner"))
    has = {name: ["Ground, buyer pays"] for name in ("shipping_policy", "return_policy", "payment_policy")}
    await house.rows("UPDATE connections SET policies = CAST(:has AS jsonb)", has=json.dumps(has))
    page = await house.signed_in("alice", **look(scheme, width))
    await begin(page, house)
    await passes(page, "listing-new")
    await page.locator("#photos-add").set_input_files([photo(n) for n in range(1, 6)])
    await page.locator("#photo-list li").nth(4).wait_for(timeout=30_000)
    for label, text in (
        ("Title", "Everlane linen shirt, relaxed fit, navy"), ("Description", DESCRIPTION),
        ("Category", "Women > Dresses > Midi dresses"), ("Brand", "Everlane"), ("Size", "M"),
        ("Price", "49"), ("Weight, pounds", "1"), ("ZIP code that you ship from", "97205"),
        ("Tags", "linen, summer"), ("Original price", "a lot"),
    ):  # fmt: skip
        await page.get_by_label(label, exact=True).fill(text)
    await page.get_by_label("Condition", exact=True).select_option("Good")
    await page.get_by_label("Main colour", exact=True).select_option("Navy")
    await page.locator("#own-ebay summary").click()
    await page.get_by_label("Condition on eBay").select_option("Pre-owned - Excellent")
    await page.get_by_label("Category on eBay").fill("spaceship")
    await page.get_by_label("Size on eBay").fill("huge")
    await page.get_by_text("All but 2 fields are saved").wait_for()
    await page.get_by_role("button", name="Delete photo 5").click()
    await page.get_by_role("button", name="Undo").wait_for()
    await page.evaluate("scrollTo(0, 0)")
    if folder := os.environ.get("EVERYSTALL_TEST_SHOTS"):
        await page.wait_for_load_state("networkidle")
        await page.screenshot(path=Path(folder) / f"listing-top-{width}-{scheme}.png")
    await passes(page, "listing")


@pytest.mark.longer
async def test_a_template_and_a_view_are_deleted_only_after_a_question(house):
    alice = await house.person("alice")
    id = await listing(house, alice)
    await house.rows(
        "INSERT INTO listing_templates (user_id, name, facts) VALUES (:id, 'Light', '{}')", id=alice
    )
    await house.rows(
        "INSERT INTO saved_views (user_id, name, query) VALUES (:id, 'Bags', 'q=linen')", id=alice
    )
    page = await house.signed_in("alice")
    for path, opens, button, table in (
        (f"/listings/{id}#templates", None, "Delete it", "listing_templates"),
        ("/inventory?q=linen", "Rename or delete this view", "Delete", "saved_views"),
    ):
        await page.goto(path)
        if opens:
            await page.get_by_text(opens).click()
        delete = page.locator("form[action$=templates], .keep").get_by_role("button", name=button, exact=True)
        await delete.click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Cancel").click()
        assert len(await house.rows(f"SELECT 1 FROM {table}")) == 1
        await delete.click()
        await dialog.get_by_role("button", name="Delete it").click()
        await page.get_by_text("is deleted.").wait_for()
        assert await house.rows(f"SELECT 1 FROM {table}") == []
