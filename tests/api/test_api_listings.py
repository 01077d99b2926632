"""Listings: kept as they were written; bad values named; each marketplace's wants told before posting."""

from __future__ import annotations

import pytest

from tests.api.conftest import SHIRT

HARD_TEXTS = [
    "T" * 200,
    "👗✨ Robe d’été 👩‍👩‍👧",
    "חולצת פשתן \u202bRTL\u202c",
    "<script>alert(1)</script><b>bold</b>",
    "'; DROP TABLE listings; --",
    " spaces kept ",
]


async def test_a_listing_comes_back_as_it_was_written(alice):
    answer = await alice.post("/api/listings", SHIRT)
    assert answer.status_code == 201
    told = answer.json()
    assert {name: told[name] for name in SHIRT} == SHIRT
    assert (told["revision"], told["quantity"], told["photos"], told["publications"]) == (1, 1, [], [])
    again = await alice.get(f"/api/listings/{told['listingId']}")
    assert again.json() == told


async def test_a_listing_may_be_empty_at_first(alice):
    answer = await alice.post("/api/listings", {})
    assert answer.status_code == 201
    assert (answer.json()["title"], answer.json()["price"]) == (None, None)


@pytest.mark.parametrize("text", HARD_TEXTS)
async def test_the_sellers_text_is_kept_character_by_character(alice, text):
    made = (await alice.post("/api/listings", {"title": text, "description": f"{text}\n\n\t{text}"})).json()
    told = (await alice.get(f"/api/listings/{made['listingId']}")).json()
    assert (told["title"], told["description"]) == (text, f"{text}\n\n\t{text}")


#: What no listing may be, and the field that the answer names.
BAD = [
    ({"price": {"amount": 0}}, "price.amount"),
    ({"price": {"amount": -1}}, "price.amount"),
    ({"price": {"amount": 25.5}}, "price.amount"),
    ({"price": {"amount": "2500"}}, "price.amount"),
    ({"price": {"amount": True}}, "price.amount"),
    ({"price": {"amount": 10**10}}, "price.amount"),
    ({"price": {"amount": 2500, "currency": "EUR"}}, "price.currency"),
    ({"price": 2500}, "price"),
    ({"originalPrice": {"amount": -5}}, "originalPrice.amount"),
    ({"quantity": 0}, "quantity"),
    ({"quantity": -1}, "quantity"),
    ({"quantity": 1.5}, "quantity"),
    ({"quantity": None}, "quantity"),
    ({"title": "a\nb"}, "title"),
    ({"title": "T" * 1001}, "title"),
    ({"title": 5}, "title"),
    ({"category": "women.dresses.nonsense"}, "category"),
    ({"condition": "shiny"}, "condition"),
    ({"colors": ["ultraviolet"]}, "colors.0"),
    ({"shipsFromZip": "ABC"}, "shipsFromZip"),
    ({"shippingPayer": "nobody"}, "shippingPayer"),
    ({"package": {"weightOz": -1}}, "package.weightOz"),
    ({"specifics": {"a": 5}}, "specifics.a"),
    ({"overrides": {"amazon": {}}}, "amazon"),
    ({"overrides": {"ebay": {"price": {"amount": 0}}}}, "overrides.ebay.price.amount"),
    ({"overrides": {"ebay": {"title": 5}}}, "overrides.ebay.title"),
    ({"tittle": "slip of the pen"}, "tittle"),
]


async def test_a_bad_value_is_named_and_changes_nothing(site, alice, subtests):
    for body, field in BAD:
        with subtests.test(str(body)[:60]):
            answer = await alice.post("/api/listings", body)
            assert (answer.status_code, answer.json()["error"]) == (422, "bad_request"), answer.text
            assert any(field in one["field"] for one in answer.json()["fields"]), answer.text
            assert await site.rows("SELECT 1 FROM listings") == []
    listing = await alice.listing(photos=0)
    before = (await alice.get(f"/api/listings/{listing}")).json()
    for body, _ in BAD:
        with subtests.test(str(body)[:60]):
            assert (await alice.client.patch(f"/api/listings/{listing}", json=body)).status_code == 422
            assert (await alice.get(f"/api/listings/{listing}")).json() == before


@pytest.mark.parametrize(
    ("category", "said"),
    [
        ("sneakers", "near it: women.shoes.sneakers and men.shoes.sneakers; GET /api/vocabulary"),
        ("hoverboards", "no category of ours; GET /api/vocabulary lists them all"),
    ],
)
async def test_a_category_that_is_none_is_answered_with_what_is_near_and_where_they_are(
    alice, category, said
):
    answer = await alice.post("/api/listings", {"category": category})
    assert said in answer.json()["message"]


async def test_the_vocabulary_lists_what_a_listing_may_say(site, alice):
    told = (await alice.get("/api/vocabulary")).json()
    categories = {one["id"]: one for one in told["categories"]}
    shirt = categories[SHIRT["category"]]
    assert shirt["label"] == ["Men", "Shirts", "Casual button-down shirts"]
    assert SHIRT["size"] in told["sizeScales"][shirt["sizeScale"]]
    assert categories["home.mirrors"]["sizeScale"] is None
    assert {"id": "good", "label": "Good"} in told["conditions"]
    assert set(SHIRT["colors"]) <= set(told["colors"])
    for one in (told["categories"][0], told["categories"][-1]):
        assert (await alice.post("/api/listings", {"category": one["id"]})).status_code == 201


async def test_the_vocabulary_is_for_sellers(site):
    assert (await site.client().get("/api/vocabulary")).status_code == 401
    extension = await site.seller("alice", scopes=("sessions:write",))
    assert (await extension.get("/api/vocabulary")).status_code == 403


@pytest.mark.parametrize("text", ["a\x00b", "half \ud800 pair"])
@pytest.mark.parametrize("where", ["title", "description", "specifics", "overrides"])
async def test_what_no_database_can_hold_is_refused(alice, text, where):
    import json

    value = {"specifics": {text: text}, "overrides": {"ebay": {"note": text}}}.get(where, text)
    answer = await alice.client.post(
        "/api/listings", content=json.dumps({where: value}), headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error"]) == (422, "bad_request")


async def test_patch_changes_what_is_given_and_counts_the_revision(alice):
    listing = await alice.listing(photos=0)
    changed = (
        await alice.client.patch(
            f"/api/listings/{listing}", json={"title": "Another", "price": {"amount": 1900}, "brand": None}
        )
    ).json()
    assert (changed["title"], changed["price"]["amount"], changed["brand"]) == ("Another", 1900, None)
    assert (changed["revision"], changed["description"]) == (2, SHIRT["description"])
    assert changed["updatedAt"] > changed["createdAt"]
    same = (await alice.client.patch(f"/api/listings/{listing}", json={"title": "Another"})).json()
    assert same["revision"] == 2


async def test_a_marketplaces_own_values_are_kept_under_the_apis_names(alice):
    own = {"ebay": {"title": "Short", "originalPrice": {"amount": 700, "currency": "USD"}, "bestOffer": True,
                    "condition": "Ungraded", "category": "Art > Art Prints"},
           "poshmark": {"package": {"weightOz": 5}}}  # fmt: skip
    made = await alice.post("/api/listings", {"overrides": own})
    assert made.status_code == 201, made.text
    assert made.json()["overrides"] == own


async def test_listings_come_newest_first_and_page_by_page(alice, bob):
    ids = [await alice.listing(photos=0, title=f"No {n}") for n in range(5)]
    await bob.listing(photos=0)
    seen, cursor = [], None
    while True:
        page = (
            await alice.get("/api/listings", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        ).json()
        seen += [one["listingId"] for one in page["listings"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]
    assert (await alice.get("/api/listings", params={"cursor": "nonsense!"})).status_code == 400


@pytest.mark.parametrize("id", ["00000000-0000-0000-0000-000000000000", "nonsense", "%00", "1"])
async def test_an_id_that_is_nobodys_is_not_found(alice, id):
    assert (await alice.get(f"/api/listings/{id}")).status_code == 404


async def test_bob_gets_nothing_of_alices_listing_and_changes_nothing(site, alice, bob):
    await alice.connect("mercari")
    listing = await alice.listing()
    photo = (await alice.get(f"/api/listings/{listing}")).json()["photos"][0]["photoId"]
    before = await site.everything_of(alice)
    path = f"/api/listings/{listing}"
    files = {"photo": ("a.png", b"x", "image/png")}
    for answer in (
        await bob.get(path),
        await bob.client.patch(path, json={"title": "Bob's"}),
        await bob.client.delete(path),
        await bob.client.delete(f"{path}?end=true"),
        await bob.post(f"{path}/check", {}),
        await bob.get(f"{path}/publications"),
        await bob.client.post(f"{path}/photos", files=files),
        await bob.client.put(f"{path}/photos", json={"photoIds": [photo]}),
        await bob.get(f"{path}/photos/{photo}"),
        await bob.client.delete(f"{path}/photos/{photo}"),
        await bob.publish(listing, "mercari"),
    ):
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found"), answer.request.url
    assert (await bob.get("/api/listings")).json()["listings"] == []
    assert await site.everything_of(alice) == before


# ---- check ----


async def test_check_names_everything_that_every_marketplace_needs(alice):
    listing = (await alice.post("/api/listings", {"title": "Only a title"})).json()["listingId"]
    told = (await alice.post(f"/api/listings/{listing}/check")).json()
    assert told["ready"] is False
    assert [one["marketplace"] for one in told["marketplaces"]] == ["poshmark", "mercari", "ebay"]
    for one in told["marketplaces"]:
        missing = {problem["field"] for problem in one["problems"]}
        assert {"description", "price", "category", "photos"} <= missing, one["marketplace"]
        assert (one["ready"], one["draft"], one["session"]) == (False, None, "missing")
        assert all(problem["message"] for problem in one["problems"])


async def test_check_reports_a_long_title_with_each_limit_and_shortens_nothing(alice):
    listing = await alice.listing(title="T" * 200)
    told = (await alice.post(f"/api/listings/{listing}/check", {"marketplaces": ["mercari"]})).json()
    (one,) = told["marketplaces"]
    (problem,) = [p for p in one["problems"] if p["field"] == "title"]
    assert (problem["code"], problem["limit"]) == ("too_long", 80)
    assert (await alice.get(f"/api/listings/{listing}")).json()["title"] == "T" * 200


async def test_check_shows_what_would_be_posted(alice):
    profile = await alice.connect("mercari")
    listing = await alice.listing()
    told = (await alice.post(f"/api/listings/{listing}/check", {"connections": [profile]})).json()
    (one,) = told["marketplaces"]
    assert (one["ready"], one["problems"], one["session"]) == (True, [], "connected"), one["problems"]
    assert one["browserProfileId"] == profile
    assert one["draft"]["title"] == SHIRT["title"]
    assert one["draft"]["price"] == SHIRT["price"]


async def test_check_of_an_unknown_marketplace_or_account(alice, bob):
    listing = await alice.listing(photos=0)
    hers = await bob.connect("mercari", "bob")
    assert (
        await alice.post(f"/api/listings/{listing}/check", {"marketplaces": ["amazon"]})
    ).status_code == 400
    assert (await alice.post(f"/api/listings/{listing}/check", {"connections": [hers]})).status_code == 404


# ---- delete ----


async def test_a_listing_that_is_nowhere_is_deleted_at_once(site, alice):
    listing = await alice.listing()
    answer = await alice.client.delete(f"/api/listings/{listing}")
    assert (answer.status_code, answer.json()["deleted"]) == (200, True)
    assert (await alice.get(f"/api/listings/{listing}")).status_code == 404
    assert await site.rows("SELECT 1 FROM listing_photos") == []


async def test_a_live_listing_is_deleted_only_with_end_which_takes_it_down_first(site, alice):
    await alice.connect("mercari")
    listing = await alice.listing()
    assert (await alice.publish(listing, "mercari")).status_code == 200
    await site.go_live(alice)
    refused = await alice.client.delete(f"/api/listings/{listing}")
    assert (refused.status_code, refused.json()["error"]) == (409, "listing_live")
    assert "Mercari" in refused.json()["message"]
    (publication,) = await site.rows("SELECT * FROM publications")
    assert publication["wanted"] == "live"

    ended = await alice.client.delete(f"/api/listings/{listing}?end=true")
    assert (ended.status_code, ended.json()["deleted"]) == (202, False)
    (publication,) = await site.rows("SELECT * FROM publications")
    assert (publication["wanted"], publication["state"], publication["unsettled"]) == (
        "ended",
        "ending",
        True,
    )
    assert "urgent" in {wake["queue_name"] for wake in await site.wakes()}
    assert (await alice.get(f"/api/listings/{listing}")).json()["deleteAskedAt"] is not None
    again = await alice.publish(listing, "mercari")
    assert (again.status_code, again.json()["error"]) == (409, "listing_live")


async def test_a_listing_being_submitted_counts_as_live(site, alice):
    await alice.connect("mercari")
    listing = await alice.listing()
    await alice.publish(listing, "mercari")
    await site.put(alice, state="armed", looking=True)
    assert (await alice.client.delete(f"/api/listings/{listing}")).status_code == 409
    assert (await alice.client.delete(f"/api/listings/{listing}?end=true")).status_code == 202
