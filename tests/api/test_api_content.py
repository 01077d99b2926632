"""A model's help with a listing: only its seller's, counted, and used after a look."""

from __future__ import annotations

import html
import re

import pytest

from everystall.content.model import Model
from tests.api.conftest import SHIRT
from tests.model_server import ModelServer
from tests.test_model import settings_for

#: Of conftest.SHIRT.
COPY = {
    "title": "Levi's linen shirt M",
    "description": "Linen shirt. Light. Worn twice, washed cold, no flaws that I can see. Hardly worn.",
}
READ = {
    "title": "Levi's linen shirt",
    "brand": {"value": "Levi's", "confidence": 0.95, "sources": ["photo 1"], "quote": "LEVI'S M"},
    "size": {"value": "M", "confidence": 0.5, "sources": ["photo 1"], "quote": "LEVI'S M"},
    "category": {"value": "men.shirts.casual", "confidence": 0.9, "sources": ["photo 2"]},
    "condition": {"value": "good", "confidence": 0.9, "sources": ["my feeling"]},
    "price": {"value": "24", "confidence": 0.9, "sources": ["photo 1"]},
}


@pytest.fixture
async def model(site):
    async with ModelServer(lambda asked: READ if asked.images else COPY) as server:
        site.app.state.parts.model = Model(settings_for(server))
        yield server


def seen(answer):
    """A page's words."""
    assert "text/html" in answer.headers["content-type"], answer.text
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text)))


async def form(person, path, **values):
    return await person.client.post(path, data={"csrf": person.csrf, **values})


# ---- the API --------------------------------------------------------------------------------------


@pytest.mark.longer
async def test_copy_for_a_marketplace_is_proposed_counted_and_changes_nothing(alice, bob, model):
    listing = await alice.listing()
    before = (await alice.get(f"/api/listings/{listing}")).json()
    made = (await alice.post(f"/api/listings/{listing}/copies/poshmark")).json()
    assert (made["by"], made["title"], made["cost"], made["used"]) == ("model", COPY["title"], 2000, False)
    assert (await alice.get(f"/api/listings/{listing}")).json() == before
    assert (await alice.get("/api/content")).json() == {
        "ready": True, "model": "a/first", "spent": 2000, "budget": 3_000_000, "copyAtOnce": False,
    }  # fmt: skip
    assert (await alice.post(f"/api/listings/{listing}/copies/poshmark")).json() == made
    assert len(model.got) == 1
    # the other seller's
    assert (await bob.post(f"/api/listings/{listing}/copies/poshmark")).status_code == 404
    assert (await bob.post(f"/api/listings/{listing}/reading", {"notes": "x"})).status_code == 404
    assert (await bob.get("/api/content")).json()["spent"] == 0
    assert len(model.got) == 1


async def test_no_prompt_has_what_is_private(alice, bob, model):
    listing = await alice.listing(location="Shelf 9", cost={"amount": 123}, labels=["garage"],
                                  description="A linen shirt. Ask alice@example.com.")  # fmt: skip
    await alice.connect("poshmark", "alice_closet")
    await alice.post(f"/api/listings/{listing}/copies/poshmark")
    await alice.post(f"/api/listings/{listing}/reading", {"notes": "from bob@example.com"})
    assert len(model.got) == 2
    for asked in model.got:
        for private in ("example.com", "A-17", "94110", "Shelf", "garage", "alice_closet", listing, "jwt"):
            assert private not in str(asked.body), private
    (image,) = model.got[1].images
    assert image[:2] == b"\xff\xd8"  # our own JPEG, never the original


async def test_a_text_that_says_other_than_its_seller_is_not_used(alice, bob, model):
    model.answer = {**COPY, "title": "Gucci silk shirt L"}
    listing = await alice.listing()
    made = (await alice.post(f"/api/listings/{listing}/copies/ebay")).json()
    assert (made["by"], made["title"]) == ("rule", "Linen shirt, hardly worn")
    assert any("gucci" in one for one in made["refused"])
    await alice.client.patch("/api/content", json={"copyAtOnce": True})
    assert (await alice.post(f"/api/listings/{listing}/copies/ebay")).json()["used"] is False
    assert (await bob.get("/api/content")).json()["copyAtOnce"] is False


async def test_after_a_text_that_is_refused_the_model_is_asked_again_and_told_why(alice, bob, model):
    model.answer = lambda asked: COPY if "“gucci” is new." in asked.text else {**COPY, "title": "Gucci shirt"}
    listing = await alice.listing()
    path = f"/api/listings/{listing}/copies/ebay"
    refused = (await alice.post(path)).json()
    assert (await alice.post(path)).json() == refused  # asked the same, it says the same
    again = {"again": refused["answerId"]}
    made = (await alice.post(path, again)).json()
    assert (made["by"], made["title"], len(model.got)) == ("model", COPY["title"], 2)
    assert (await alice.get("/api/content")).json()["spent"] == 4000
    assert (await bob.post(path, again)).status_code == 404
    assert (await bob.post(f"/api/listings/{await bob.listing()}/copies/ebay", again)).status_code == 404
    assert (await alice.post(path, {"again": "none"})).status_code == 404
    assert len(model.got) == 2


async def test_whoever_wants_it_has_copy_used_at_once(alice, bob, model):
    listing = await alice.listing(overrides={"poshmark": {"price": {"amount": 2600, "currency": "USD"}}})
    await alice.client.patch("/api/content", json={"copyAtOnce": True})
    assert (await alice.post(f"/api/listings/{listing}/copies/poshmark")).json()["used"] is True
    now = (await alice.get(f"/api/listings/{listing}")).json()
    assert now["overrides"] == {"poshmark": {"price": {"amount": 2600, "currency": "USD"}, **COPY}}
    assert now["title"] == "Linen shirt, hardly worn"
    assert (await bob.get(f"/api/listings/{listing}")).status_code == 404


async def test_what_was_read_is_told_with_its_source_and_changes_nothing(alice, bob, model):
    listing = await alice.listing(photos=2, brand=None)
    before = (await alice.get(f"/api/listings/{listing}")).json()
    flaw = {"value": "loose thread", "confidence": 0.4, "sources": ["photo 2"]}
    model.answer = {**READ, "flaws": [flaw]}
    told = (await alice.post(f"/api/listings/{listing}/reading", {"notes": "hardly worn"})).json()
    assert told["unsure"] == ["loose thread (photo 2)"]
    found = told["found"]
    assert {one["field"]: (one["value"], one["sure"], one["sources"]) for one in found} == {
        "title": ("Levi's Casual button-down shirts", True, ["photo 1", "photo 2"]),
        "category": ("men.shirts.casual", True, ["photo 2"]),
        "brand": ("Levi's", True, ["photo 1"]),
        "size": ("M", False, ["photo 1"]),
        "price": ({"amount": 2400, "currency": "USD"}, False, ["photo 1"]),
    }
    assert (await alice.get(f"/api/listings/{listing}")).json() == before
    assert (await bob.get("/api/content")).json()["spent"] == 0


async def test_without_a_model_copy_is_by_rule_and_photos_are_not_read(alice, bob):
    listing = await alice.listing(description="Fine for a walk. " * 60 + "Small hole near the cuff.")
    made = (await alice.post(f"/api/listings/{listing}/copies/mercari")).json()
    assert (made["by"], made["answerId"], made["lost"]) == ("rule", None, [])
    assert made["description"].endswith("Small hole near the cuff.")
    refused = await alice.post(f"/api/listings/{listing}/reading", {"notes": ""})
    assert (refused.status_code, refused.json()["error"]) == (409, "no_model")
    assert {"message", "action"} <= refused.json().keys()
    assert (await alice.get("/api/content")).json()["ready"] is False
    assert (await bob.post(f"/api/listings/{listing}/copies/mercari")).status_code == 404


async def test_what_goes_wrong_is_said_in_our_words(alice, bob, model, site):
    listing = await alice.listing()
    nowhere = await alice.post(f"/api/listings/{listing}/copies/nowhere")
    assert 400 <= nowhere.status_code < 500
    assert {"error", "message", "action"} <= nowhere.json().keys()
    empty = (await alice.post("/api/listings", {})).json()["listingId"]
    for path, body in (("copies/ebay", None), ("reading", {"notes": " "})):
        answer = await alice.post(f"/api/listings/{empty}/{path}", body)
        assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    model.answer = 503
    away = await alice.post(f"/api/listings/{listing}/copies/mercari")
    assert (away.status_code, away.json()["error"]) == (503, "model_away")
    await site.rows("INSERT INTO model_answers (user_id, kind, content_hash, cost) "
                    "VALUES (:id, 'copy', 'h', 2999999)", id=alice.user_id)  # fmt: skip
    spent = await alice.post(f"/api/listings/{listing}/copies/mercari")
    assert (spent.status_code, spent.json()["error"]) == (409, "budget_spent")
    assert (await bob.get("/api/content")).json()["spent"] == 0


# ---- the pages ------------------------------------------------------------------------------------


async def test_a_rewritten_text_is_shown_as_a_difference_and_used_by_a_button(site, model):
    alice, bob = await site.person("alice"), await site.person("bob")
    listing = (await alice.post("/api/listings", SHIRT)).json()["listingId"]
    page = seen(await alice.get(f"/listings/{listing}/content"))
    assert "Rewrite for Poshmark About $0.0" in page
    assert "This month $0.00 of $3.00" in page
    led = (await form(alice, f"/listings/{listing}/copy/poshmark")).headers["location"]
    shown = await alice.get(led)
    assert "<ins>Levi&#39;s " in shown.text
    assert "It cost $0.002" in seen(shown)
    assert (await alice.get(f"/api/listings/{listing}")).json()["overrides"] == {}
    answer = led.rpartition("/")[2]
    for path in (led, f"/listings/{listing}/content"):
        assert (await bob.get(path)).status_code == 404
    assert (await alice.get(f"/listings/{listing}/reading/{answer}")).status_code == 404  # no such question
    assert (await form(bob, f"/listings/{listing}/copy/poshmark/use", answer=answer)).status_code == 404
    used = await form(alice, f"/listings/{listing}/copy/poshmark/use", answer=answer)
    assert used.headers["location"] == f"/listings/{listing}?said=copy-used#own-poshmark"
    assert (await alice.get(f"/api/listings/{listing}")).json()["overrides"] == {"poshmark": COPY}


async def test_an_answer_is_held_against_the_listing_as_it_stands_now(site, model):
    alice = await site.person("alice")
    await site.person("bob")
    listing = (await alice.post("/api/listings", SHIRT)).json()["listingId"]
    led = (await form(alice, f"/listings/{listing}/copy/poshmark")).headers["location"]
    await alice.client.patch(f"/api/listings/{listing}", json={"description": "It has a hole in the cuff."})
    assert "The model's text is not used" in seen(await alice.get(led))
    await form(alice, f"/listings/{listing}/copy/poshmark/use", answer=led.rpartition("/")[2])
    assert (await alice.get(f"/api/listings/{listing}")).json()["overrides"] == {}


async def test_what_is_ticked_is_filled_in_and_nothing_else(site, model):
    alice, bob = await site.person("alice"), await site.person("bob")
    of_notes = {"sources": ["notes"], "quote": "levi's"}
    told = {name: {**READ[name], **of_notes} for name in ("brand", "category")}
    model.answer = {**READ, **told}
    listing = (await alice.post("/api/listings", {"title": "Mine"})).json()["listingId"]
    led = (await form(alice, f"/listings/{listing}/reading", notes="a levi's shirt")).headers["location"]
    shown = await alice.get(led)
    ticked = re.findall(r'name="take" value="(\w+)" checked', shown.text)
    assert ticked == ["category", "brand"]  # the title is the seller's
    assert "Brand : Levi's 95% sure notes: “levi's”" in seen(shown)
    assert "Left for you: Description, Size, Condition, Colours, Price." in seen(shown)
    assert (await bob.get(led)).status_code == 404
    assert (await form(bob, led, take="brand")).status_code == 404
    done = await alice.client.post(led, data={"csrf": alice.csrf, "take": ["brand", "sku"]})
    assert done.headers["location"] == f"/listings/{listing}?said=filled-in"
    now = (await alice.get(f"/api/listings/{listing}")).json()
    assert (now["title"], now["brand"], now["category"]) == ("Mine", "Levi's", None)
    shown = await alice.get(led)
    assert re.findall(r'name="take" value="(\w+)"', shown.text) == ["title", "category"]
    assert "As you have it: Brand." in seen(shown)


async def test_what_was_read_stands_beside_the_photos_by_their_numbers(site, model):
    alice, bob = await site.person("alice"), await site.person("bob")
    listing = await alice.listing(photos=2)
    model.answer = {**READ, "flaws": [{"value": "loose thread", "confidence": 0.4, "sources": ["photo 2"]}]}
    led = (await form(alice, f"/listings/{listing}/reading")).headers["location"]
    page = await alice.get(led)
    assert re.findall(r"<small>(Photo \d)</small>", page.text) == ["Photo 1", "Photo 2"]
    assert "Perhaps also; please look: loose thread (photo 2)" in seen(page)
    first = (await alice.get(f"/api/listings/{listing}")).json()["photos"][0]["photoId"]
    await alice.client.delete(f"/api/listings/{listing}/photos/{first}")
    assert re.findall(r"<small>(Photo \d)</small>", (await alice.get(led)).text) == ["Photo 2"]
    assert (await bob.get(led)).status_code == 404


async def test_what_is_as_it_should_be_has_no_button_and_a_refused_text_one_to_ask_again(site, model):
    alice, bob = await site.person("alice"), await site.person("bob")
    model.answer = lambda asked: COPY if "is new." in asked.text else {**COPY, "title": "Gucci shirt"}
    listing = (await alice.post("/api/listings", SHIRT)).json()["listingId"]
    path = f"/listings/{listing}/copy/ebay"
    led = (await form(alice, path)).headers["location"]
    page = seen(await alice.get(led))
    assert "“gucci” is new." in page
    assert "Use it on eBay" not in page
    assert "Ask once more It cost $0.002. Once more is about $0.0" in page
    answer = led.rpartition("/")[2]
    assert (await form(bob, path, again=answer)).status_code == 404
    led = (await form(alice, path, again=answer)).headers["location"]
    page = seen(await alice.get(led))
    assert "Use it on eBay" in page
    assert "Ask once more" not in page
    assert f"Title {len(COPY['title'])} of 80 characters Levi's linen shirt" in page
    # one that errs in the same way when it was told has nothing else to say
    model.answer = {**COPY, "title": "Prada shirt"}
    led = (await form(alice, f"/listings/{listing}/copy/mercari")).headers["location"]
    again = await form(alice, f"/listings/{listing}/copy/mercari", again=led.rpartition("/")[2])
    assert "Once more is about $0.00" in seen(await alice.get(led))
    page = seen(await alice.get(again.headers["location"]))
    assert "“prada” is new." in page
    assert "Ask once more" not in page


async def test_the_pages_say_what_is_wrong_and_keep_what_was_typed(site, model):
    alice, bob = await site.person("alice"), await site.person("bob")
    model.answer = 500
    listing = (await alice.post("/api/listings", SHIRT)).json()["listingId"]
    page = await form(alice, f"/listings/{listing}/reading", notes="a levi's shirt")
    assert page.status_code == 503
    assert "The language model does not answer" in seen(page)
    assert "a levi's shirt" in seen(page)
    await site.rows("INSERT INTO model_answers (user_id, kind, content_hash, cost) "
                    "VALUES (:id, 'copy', 'h', 2999999)", id=alice.user_id)  # fmt: skip
    page = seen(await alice.get(f"/listings/{listing}/content"))
    assert re.search(r"This month's \$3.00 are used up. From [A-Z][a-z]+ 1 on", page)
    page = seen(await alice.get(f"/listings/{listing}"))
    assert "Fill in from the photos" in page
    assert "Rewrite for eBay…" in page
    # and without a key
    site.app.state.parts.model = Model(site.settings)
    page = seen(await alice.get(f"/listings/{listing}"))
    assert "Fill in from the photos" not in page
    assert "Fit the text for eBay…" in page
    page = seen(await alice.get(f"/listings/{listing}/content"))
    assert "No language model is set up here." in page
    assert "Fit it for eBay" in page
    assert "Read the photos" not in page
    led = (await form(alice, f"/listings/{listing}/copy/ebay")).headers["location"]
    assert led == f"/listings/{listing}/copy/ebay"
    page = seen(await alice.get(led))
    assert "Your text fits as it is" in page
    assert "Use it on eBay" not in page
    await alice.client.patch(f"/api/listings/{listing}", json={"description": "Fine.\r\n\r\n\r\nWorn once. "})
    assert "Use it on eBay" not in seen(await alice.get(led))  # spaces are no difference
    for path in (led, f"/listings/{listing}/content", f"/listings/{listing}"):
        assert (await bob.get(path)).status_code == 404
    await alice.client.patch(f"/api/listings/{listing}", json={"description": "Fine for a walk. " * 300})
    assert "Use it on eBay" in seen(await alice.get(led))
