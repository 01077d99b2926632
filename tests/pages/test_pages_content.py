"""A model's help in a browser: from a photo alone to a filled form, from the editor to a text for one
marketplace; how it looks."""

from __future__ import annotations

import pytest

from everystall.content.copy import Rewritten
from everystall.content.model import Model
from tests.model_server import ModelServer
from tests.pages.conftest import DESK_AND_PHONE
from tests.pages.test_pages_listing import begin, photo
from tests.pages.test_pages_look import LOOKS, look, passes
from tests.test_model import settings_for

pytestmark = pytest.mark.browser

COPY = {
    "title": "Levi's linen shirt M",
    "description": "Hardly worn linen shirt. Worn twice, washed cold.\nChest: 20 in\n"
    "Small stain on the left cuff.",
}
READ = {
    "brand": {"value": "Levi's", "confidence": 0.95, "sources": ["photo 1"], "quote": "LEVI'S sz M"},
    "size": {"value": "M", "confidence": 0.5, "sources": ["photo 1"], "quote": "LEVI'S sz M"},
    "category": {"value": "men.shirts.casual", "confidence": 0.9, "sources": ["photo 1"]},
    "condition": {"value": "good", "confidence": 0.5, "sources": ["photo 1"]},
    "flaws": [{"value": "loose thread at the hem", "confidence": 0.4, "sources": ["photo 1"]}],
    "price": {"value": "24", "confidence": 0.9, "sources": ["photo 1"]},
    "price_reason": "Such shirts bring $20 to $30 used.",
}
#: While a page waits for the next one, a locator waits too.
KEEPS_WHAT_A_BUTTON_SAYS = """document.addEventListener("submit", (event) => {
  setTimeout(() => { sessionStorage.said = event.submitter.textContent; });
})"""


@pytest.fixture
async def model(house):
    """Beside the one that the tests' database is on."""
    async with ModelServer(lambda asked: READ if "<notes>" in asked.text else COPY) as scripted:
        house.app.state.parts.model = made = Model(settings_for(scripted))
        await made.ask("copy", "Load the library, which takes a while.", [], Rewritten)
        yield scripted


async def written(house, user_id, **fields):
    values = {
        "title": "Linen shirt, hardly worn", "brand": "Levi's", "size": "M", "category": "men.shirts.casual",
        "description": "A linen shirt. Worn twice, washed cold. Chest 20 in. Small stain on the left cuff.",
        **fields,
    }  # fmt: skip
    (row,) = await house.rows(
        "INSERT INTO listings (user_id, title, brand, size, category, description) "
        "VALUES (:id, :title, :brand, :size, :category, :description) RETURNING id",
        id=user_id, **values,
    )  # fmt: skip
    return f"/listings/{row['id']}"


async def with_a_photo(page, path):
    await page.goto(path)
    await page.locator("#photos-add").set_input_files([photo(1)])
    await page.locator("#photo-list li").first.wait_for(timeout=30_000)


@pytest.mark.longer
async def test_from_the_editor_to_a_text_for_poshmark(house, model):
    alice, bob = await house.person("alice"), await house.person("bob")
    mine, theirs = await written(house, alice), await written(house, bob)
    page = await house.signed_in("alice")
    await page.goto(f"{mine}#own-poshmark")
    await page.get_by_role("link", name="Rewrite for Poshmark…").click()
    await page.evaluate(KEEPS_WHAT_A_BUTTON_SAYS)
    await page.get_by_role("button", name="Rewrite for Poshmark").click()
    await page.locator("ins", has_text="Levi's").first.wait_for()
    assert await page.evaluate("sessionStorage.said") == "Writing. This takes some seconds."
    await page.get_by_role("button", name="Use it on Poshmark").click()
    await page.get_by_text("It stands there now.").wait_for()
    assert await page.locator("#poshmark-title").input_value() == COPY["title"]
    assert await page.locator("#title").input_value() == "Linen shirt, hardly worn"
    assert (await page.goto(f"{theirs}/content")).status == 404


@pytest.mark.longer
@DESK_AND_PHONE
async def test_from_a_photo_alone_to_a_filled_form(house, model):
    await house.person("alice")
    theirs = await written(house, await house.person("bob"))
    page = await house.signed_in("alice")
    await with_a_photo(page, f"/listings/{await begin(page, house)}")
    await page.get_by_role("link", name="Fill in from the photos").click()
    await page.get_by_role("button", name="Read the photos").click()
    await page.get_by_text("Such shirts bring $20 to $30 used.").wait_for()
    assert await page.get_by_role("listitem").filter(has_text="Photo 1").locator("img").is_visible()
    assert await page.get_by_text("loose thread at the hem (photo 1)").is_visible()
    assert await page.get_by_label("Brand: Levi's").is_checked()
    assert not await page.get_by_label("Size: M").is_checked()
    await page.get_by_role("button", name="Fill in what is ticked").click()
    await page.get_by_text("Filled in.").wait_for()
    assert await page.locator("#brand").input_value() == "Levi's"
    assert await page.locator("#title").input_value() == "Levi's Casual button-down shirts"
    assert await page.locator("#size").input_value() == ""
    assert (await page.goto(f"{theirs}/content")).status == 404


@pytest.mark.longer
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_how_a_models_help_looks(house, model, scheme, width):
    alice = await house.person("alice")
    await house.person("bob")
    mine = await written(house, alice)
    page = await house.signed_in("alice", **look(scheme, width))
    await with_a_photo(page, mine)
    await page.goto(f"{mine}/content")
    await passes(page, "content")
    await page.get_by_label("What you know of it").fill("levi's shirt, sz M")
    await page.get_by_role("button", name="Read the photos").click()
    await page.get_by_text("Left for you").wait_for()
    await passes(page, "reading")
    await page.goto(f"{mine}/content")
    await page.get_by_role("button", name="Rewrite for eBay").click()
    await page.locator("ins").first.wait_for()
    await passes(page, "copy")
    model.answer = {**COPY, "title": "Gucci shirt"}
    await page.goto(f"{mine}/content")
    await page.get_by_role("button", name="Rewrite for Mercari").click()
    await page.get_by_text("is not used").wait_for()
    await passes(page, "copy-refused")
    model.answer = 503
    await page.goto(f"{mine}/content")
    await page.get_by_role("button", name="Rewrite for Poshmark").click()
    await page.get_by_text("The language model does not answer").wait_for()
    await passes(page, "content-away")
    house.complaints[:] = [one for one in house.complaints if "status of 50" not in one]
    await house.rows("INSERT INTO model_answers (user_id, kind, content_hash, cost) "
                     "VALUES (:id, 'copy', 'h', 2999999)", id=alice)  # fmt: skip
    await page.goto(f"{mine}/content")
    await page.get_by_text("are used up").wait_for()
    await passes(page, "content-spent")
    house.app.state.parts.model = Model(house.settings)
    await page.goto(f"{mine}/content")
    await passes(page, "content-without-a-key")
    await page.get_by_role("button", name="Fit it for Poshmark").click()
    await page.get_by_text("Your text fits as it is").wait_for()
    await passes(page, "copy-fits")
