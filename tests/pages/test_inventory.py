"""The inventory as a seller has it: looking for things, many at once with a look before, keys, the phone."""

from __future__ import annotations

import asyncio
import io
import json
from urllib.parse import quote

import pytest
from PIL import Image

from everystall.content.photos import Photos
from everystall.inventory.publications import ACTIONS_FOR
from everystall.web.pages.inventory import PROBLEM_NAMES
from everystall.web.pages.reasons import REASONS
from tests.pages.conftest import DESK_AND_PHONE, EVIL, PHONE, visiting
from tests.pages.test_pages_journey import BOTH
from tests.pages.test_pages_look import LOOKS, look, passes

pytestmark = pytest.mark.browser

SHIRT = {
    "description": "A light linen shirt. Worn twice, washed cold, no flaws.", "brand": "Levi's",
    "category": "men.shirts.casual", "size": "M", "condition": "good", "colors": ["blue"],
    "price_cents": 2500, "ships_from_zip": "94110", "shipping_payer": "buyer",
}  # fmt: skip
#: What eBay asks for once.
EBAY = {"payment_policy": "Immediate payment", "return_policy": "30 days", "shipping_policy": "Ground"}


async def write(house, user_id, title, *, days=0, photo=None, **fields):
    """A listing; its id. `photo`: the store that its cover is put into."""
    values = {**SHIRT, "title": title, **fields}
    columns = ", ".join(values)
    (row,) = await house.rows(
        f"INSERT INTO listings (user_id, created_at, package, {columns}) VALUES (:id, "
        "now() - :days * interval '1 day', '{\"weight_oz\": 12, \"length_in\": 12, \"width_in\": 9, "
        f"\"height_in\": 2}}', {', '.join(f':{name}' for name in values)}) RETURNING id",
        id=user_id, days=days, **values,
    )  # fmt: skip
    if photo:
        kept = await photo.put(_photo(title))
        await house.rows(
            "INSERT INTO listing_photos (user_id, listing_id, position, sha256, content_type, width, height, "
            "byte_size) VALUES (:user, :id, 0, :sha, 'image/jpeg', 800, 1000, 1000)",
            user=user_id, id=row["id"], sha=kept.sha256,
        )  # fmt: skip
    return str(row["id"])


def _photo(title):
    out = io.BytesIO()
    shade = sum(title.encode())
    ground = (90 + shade % 130, 90 + shade * 7 % 130, 90 + shade * 13 % 130)
    Image.new("RGB", (800, 1000), ground).save(out, "JPEG")
    return out.getvalue()


async def account(house, user_id, marketplace, name="alice", **columns):
    """An account with a sign-in that works; its id and browserProfileId."""
    public_id = f"bp_{marketplace}_{name}"
    (row,) = await house.rows(
        "INSERT INTO connections (user_id, public_id, marketplace, account_id, account_name, base_url, "
        "defaults) VALUES (:id, :public, :marketplace, :public, :name, :base, CAST(:defaults AS jsonb)) "
        "RETURNING id",
        id=user_id, public=public_id, marketplace=marketplace, name=name,
        base=house.settings.base_url(marketplace),
        defaults=json.dumps(EBAY | {"ships_from_zip": "94110"} if marketplace == "ebay" else {}),
    )  # fmt: skip
    await house.rows(
        "INSERT INTO user_marketplace_sessions (user_id, connection_id, marketplace, seq, dek_version, "
        "sealed, origin, captured_at, consented_at, expires_at, worked_at) VALUES (:id, :connection, "
        ":marketplace, 1, 1, '', 'extension', now(), now(), now() + interval '6 days', now())",
        id=user_id, connection=row["id"], marketplace=marketplace,
    )  # fmt: skip
    return row["id"], public_id


async def stand(house, listing, connection, put="live", wanted="live", state="live", needs=None, **more):
    """Where it stands there; with the attempt that is live."""
    (row,) = await house.rows(
        "INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted, wanted_revision, "
        "put, put_revision, state, needs_you, url, remote_id, asked_at) "
        "SELECT l.user_id, l.id, c.id, c.marketplace, :wanted, 1, :put, 1, :state, CAST(:needs AS jsonb), "
        ":url, :remote, l.created_at FROM listings l, connections c "
        "WHERE l.id = CAST(:listing AS uuid) AND c.id = :connection RETURNING id",
        wanted=wanted, put=put, state=state, listing=listing, connection=connection,
        needs=json.dumps(needs) if needs else None,
        url=more.get("url", f"{house.settings.base_url('ebay')}/itm/{listing[:8]}"), remote=listing[:8],
    )  # fmt: skip
    if put == "live":
        await house.rows(
            "INSERT INTO attempts (user_id, publication_id, connection_id, listing_revision, draft, "
            "fields_hash, fence, outcome, armed_at, remote_id) SELECT p.user_id, p.id, p.connection_id, 1, "
            "'{}', '', 1, 'live', now() - interval '90 days', p.remote_id || p.marketplace "
            "FROM publications p WHERE p.id = :id",
            id=row["id"],
        )  # fmt: skip
    return row["id"]


async def fill(house, user_id, evil=None):
    """A small shop in every state; title → id."""
    ebay, _ = await account(house, user_id, "ebay")
    mercari, _ = await account(house, user_id, "mercari")
    poshmark, _ = await account(house, user_id, "poshmark")
    gone = {"reason": "gone", "message": evil or "It was ended there by hand.", "url": None, "actions": []}
    told = {"sku": evil, "size": "M", "brand": evil} if evil else {}
    made, photos = {}, Photos(house.settings)
    for number, (title, price, where) in enumerate([
        ("Carhartt Detroit chore jacket", 8900, [(ebay, {}), (mercari, {}), (poshmark, {})]),
        ("Levi's 501 straight jeans, indigo, selvedge, made in the USA", 9500,
         [(ebay, {}), (poshmark, {"needs": gone, "wanted": "ended", "put": "ended", "state": "ended"})]),
        ("Fossil chronograph watch", 6400, [(mercari, {"put": "nothing", "state": "filling"})]),
        ("Lululemon Align leggings", 4800, []),
        ("Pyrex Butterprint bowl", 7900,
         [(ebay, {"put": "sold", "wanted": "ended", "state": "sold"}),
          (mercari, {"put": "ended", "wanted": "ended", "state": "ended"})]),
        ("Doc Martens 1460, black", 12900, [(ebay, {"wanted": "ended", "state": "ending"})]),
        ("Madewell transport tote", None, []),
    ]):  # fmt: skip
        sold = {"quantity_sold": 1} if "Pyrex" in title else {}
        store = photos if number % 3 != 2 and not evil else None
        id = await write(
            house, user_id, evil or title, days=number * 13, photo=store,
            **{"price_cents": price, "sku": f"EV-12{number:02}", **told, **sold},
        )  # fmt: skip
        made[title] = id
        for connection, how in where:
            await stand(house, id, connection, **how)
    await photos.close()
    return made


async def titles(page):
    return await page.locator(".stock-table tbody .c-item a").all_inner_texts()


@pytest.mark.longer
async def test_a_kept_view_stays_open_while_it_is_searched(house):
    alice, bob = await house.person("alice"), await house.person("bob")
    await fill(house, alice)
    for user, name in ((alice, "What I sell"), (bob, "Secret")):
        await house.rows(
            "INSERT INTO saved_views (user_id, name, query) VALUES (:user, :name, 'view=listed&sort=title')",
            user=user, name=name,
        )  # fmt: skip
    page = await house.signed_in("alice")
    await page.goto("/inventory")
    views = page.get_by_role("navigation", name="Views")
    await views.get_by_role("link", name="What I sell").click()
    await page.wait_for_url("**view=listed&sort=title")
    marked = views.locator("[aria-current]")
    assert [text.rstrip("0123456789 \n") for text in await marked.all_inner_texts()] == ["What I sell"]
    box = page.get_by_role("searchbox")
    for typed, offered in (("zzzz", "Save this view"), ("", "Rename or delete this view")):
        await box.fill(typed)
        await page.locator("#results").get_by_text(offered).wait_for(timeout=30_000)
        assert "kept=" in page.url
        await page.reload()
        assert [text.rstrip("0123456789 \n") for text in await marked.all_inner_texts()] == ["What I sell"]
    await box.fill("zzzz")
    await page.get_by_role("heading", name="Nothing found").wait_for()
    await views.get_by_role("link", name="All").click()  # that is another view
    await page.wait_for_url(lambda url: "view=listed" not in url)
    assert "kept=" not in page.url
    assert [text.split()[0] for text in await marked.all_inner_texts()] == ["All"]
    (theirs,) = await house.rows("SELECT id FROM saved_views WHERE name = 'Secret'")
    await page.goto(f"/inventory?kept={theirs['id']}")
    assert [text.split()[0] for text in await marked.all_inner_texts()] == ["All"]
    assert "Secret" not in await page.content()


@pytest.mark.longer
async def test_what_was_asked_before_a_search_never_takes_the_place_of_what_it_found(house):
    alice = await house.person("alice")
    await fill(house, alice)
    page = await house.signed_in("alice")
    await page.goto("/inventory")
    late = asyncio.Event()

    async def hold(route):
        if route.request.headers.get("x-part") == "results" and "q=" not in route.request.url:
            answer = await route.fetch()
            await late.wait()
            await route.fulfill(response=answer)
        else:
            await route.continue_()

    await page.route("**/inventory**", hold)
    async with page.expect_request(lambda one: one.headers.get("x-part") == "results"):
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await page.get_by_role("searchbox").fill("ev-1203")
    await page.get_by_text("1 listing", exact=True).wait_for()
    async with page.expect_response(lambda one: "q=" not in one.url):
        late.set()
    await page.wait_for_timeout(200)  # it would be put in
    assert await titles(page) == ["Lululemon Align leggings"]


@DESK_AND_PHONE
@BOTH
async def test_listings_are_searched_filtered_ordered_and_opened(house, scripts):
    alice = await house.person("alice")
    made = await fill(house, alice)
    page = await house.signed_in("alice", java_script_enabled=scripts)
    await page.goto("/inventory")
    assert len(await titles(page)) == 7
    views = page.get_by_role("navigation", name="Views")
    assert [" ".join(view.split()) for view in await views.get_by_role("link").all_inner_texts()] == [
        "All 7", "Drafts 2", "Live 3", "Needs you 1", "Sold 1", "Stale 60 d+ 1",
    ]  # fmt: skip
    row = page.locator("tr", has_text="Levi's 501")
    assert await row.get_by_text("Needs you", exact=True).is_visible()
    assert "Poshmark Needs you: It was ended there by hand." in await row.locator(".strip").text_content()
    assert await row.get_by_role("link", name="eBay Live").get_attribute("href")

    box = page.get_by_role("searchbox")
    await box.fill("ev-1203")
    if not scripts:
        await box.press("Enter")
    await page.get_by_text("1 listing", exact=True).wait_for()
    assert await titles(page) == ["Lululemon Align leggings"]
    assert "q=ev-1203" in page.url
    await box.fill("nothing of that name")
    if not scripts:
        await box.press("Enter")
    await page.get_by_role("heading", name="Nothing found").wait_for()
    await page.get_by_role("link", name="Clear filters").click()
    await page.locator("tr", has_text="Carhartt").wait_for()

    await views.get_by_role("link", name="Needs you").click()
    await page.wait_for_url("**view=needs-you")
    assert await titles(page) == ["Levi's 501 straight jeans, indigo, selvedge, made in the USA"]
    await page.goto("/inventory?off=ebay&sort=cheapest")
    assert await page.get_by_role("link", name="Not on eBay").is_visible()
    assert (await titles(page))[0] == "Madewell transport tote"
    await page.get_by_text("Filters").click()
    await page.get_by_label("Price from").fill("$50")
    await page.get_by_role("button", name="Show", exact=True).click()
    await page.get_by_role("link", name="From $50").wait_for()
    assert await titles(page) == ["Fossil chronograph watch", "Pyrex Butterprint bowl"]
    await page.get_by_role("link", name="Not on eBay").click()
    await page.wait_for_load_state()
    assert len(await titles(page)) == 5
    assert made["Fossil chronograph watch"] in await page.locator(
        ".c-item a", has_text="Fossil"
    ).get_attribute("href")


@BOTH
@pytest.mark.longer
async def test_chosen_ones_are_posted_after_a_look_and_taken_back(house, scripts):
    alice = await house.person("alice")
    await fill(house, alice)
    page = await house.signed_in("alice", java_script_enabled=scripts)
    await page.goto("/inventory")
    for title in ("Lululemon Align leggings", "Madewell transport tote", "Carhartt Detroit chore jacket"):
        await page.get_by_label(f"Select {title}").check()
    if scripts:
        assert await page.get_by_text("3 selected").is_visible()
    await page.get_by_role("button", name="Post to all").click()
    await page.get_by_role("heading", name="Post to all: 3 listings").wait_for()
    facts = " ".join((await page.locator(".outlook").inner_text()).split())
    assert facts == "Will be posted 1 Something is in the way 1 Left as they are 1"
    assert await page.get_by_text("Madewell transport tote").is_visible()
    assert await house.rows("SELECT 1 FROM jobs") == []

    await page.locator("label", has_text="Poshmark").get_by_role("checkbox").uncheck()
    await page.get_by_role("button", name="Look again").click()
    await page.get_by_role("heading", name="Post to all: 3 listings").wait_for()
    assert not await page.locator("label", has_text="Poshmark").get_by_role("checkbox").is_checked()
    await page.get_by_role("button", name="Post 1 listing").click()
    await page.get_by_text("1 listing is on its way.").wait_for()
    rows = await house.rows(
        "SELECT p.marketplace FROM publications p JOIN listings l ON l.id = p.listing_id "
        "WHERE l.title LIKE 'Lululemon%' ORDER BY 1"
    )
    assert "poshmark" not in [row["marketplace"] for row in rows]
    assert rows
    assert len(await house.rows("SELECT 1 FROM jobs WHERE status = 'running'")) == 1
    await page.get_by_role("button", name="Undo").click()
    await page.get_by_text("1 post is taken back.").wait_for()
    assert [row["status"] for row in await house.rows("SELECT status FROM jobs")] == ["cancelled"]


@BOTH
@pytest.mark.longer
async def test_many_are_taken_down_at_the_chosen_accounts_by_keys(house, scripts):
    alice, bob = await house.person("alice"), await house.person("bob")
    await fill(house, alice)
    place, _ = await account(house, bob, "mercari", "bob")
    await stand(house, await write(house, bob, "Sandals of Bob"), place)
    page = await house.signed_in("alice", java_script_enabled=scripts)
    await page.goto("/inventory?view=listed")
    for box in await page.locator("[name=id]").all():
        await box.check()
    await page.get_by_role("button", name="Delist").click()
    where = page.get_by_role("group", name="Where")
    await where.wait_for()
    for box in await where.get_by_role("checkbox").all():
        assert await box.is_checked()
    for name in ("Poshmark", "eBay"):
        box = where.get_by_role("checkbox", name=name)
        await box.focus()
        await page.keyboard.press("Space")
        assert not await box.is_checked()
    # what is done was not looked at: it is shown first
    await page.get_by_role("button", name="Take down").click()
    await page.get_by_text("You chose other accounts.").wait_for()
    assert await where.get_by_role("checkbox", checked=True).count() == 1
    if scripts:
        await passes(page, "bulk-where")
    await page.get_by_role("button", name="Take down").click()
    await page.get_by_role("button", name="Undo").wait_for()
    ended = (
        "SELECT p.marketplace, l.title FROM publications p JOIN listings l ON l.id = p.listing_id "
        "WHERE wanted = 'ended' AND put = 'live' AND l.title NOT LIKE 'Doc Martens%'"
    )
    assert await house.rows(ended) == [{"marketplace": "mercari", "title": "Carhartt Detroit chore jacket"}]
    await page.get_by_role("button", name="Undo").click()
    await page.get_by_text("1 take-down is taken back.").wait_for()
    assert await house.rows(ended) == []


@BOTH
@pytest.mark.extended
async def test_prices_are_changed_after_a_look_at_each(house, scripts):
    alice = await house.person("alice")
    await fill(house, alice)
    page = await house.signed_in("alice", java_script_enabled=scripts)
    await page.goto("/inventory?view=drafts")
    for box in await page.locator("[name=id]").all():
        await box.check()
    await page.get_by_role("button", name="Reprice").click()
    await page.get_by_label("Per cent, or dollars").fill("a lot")
    await page.get_by_role("button", name="Look", exact=True).click()
    await page.get_by_text("That is no percentage.").wait_for()
    assert await page.get_by_label("Per cent, or dollars").input_value() == "a lot"
    await page.get_by_label("Per cent, or dollars").fill("-10")
    await page.get_by_role("button", name="Look", exact=True).click()
    await page.get_by_text("$48.00 → $43.20").wait_for()
    assert await page.get_by_text("It has no price yet.").is_visible()
    await house.rows("UPDATE listings SET price_cents = 5000 WHERE title LIKE 'Lululemon%'")
    await page.get_by_role("button", name="Change 1 price").click()
    await page.get_by_text("Something changed since you looked").wait_for()
    assert (await house.rows("SELECT price_cents FROM listings WHERE title LIKE 'Lululemon%'"))[0][
        "price_cents"
    ] == 5000
    await page.goto("/inventory?view=drafts&q=lulu")
    await page.locator("[name=id]").check()
    await page.get_by_role("button", name="Reprice").click()
    await page.get_by_label("Change").select_option("To a price")
    await page.get_by_label("Per cent, or dollars").fill("42.50")
    await page.get_by_role("button", name="Look", exact=True).click()
    await page.get_by_role("button", name="Change 1 price").click()
    await page.get_by_text("1 listing has another price.").wait_for()
    (row,) = await house.rows("SELECT price_cents FROM listings WHERE title LIKE 'Lululemon%'")
    assert row["price_cents"] == 4250


@pytest.mark.longer
async def test_what_is_live_is_taken_down_relisted_and_deleted_only_as_it_was_said(house):
    alice = await house.person("alice")
    await fill(house, alice)
    page = await house.signed_in("alice", java_script_enabled=False)

    async def with_all(button):
        await page.goto("/inventory?q=carhartt")
        await page.locator("[name=id]").check()
        await page.get_by_role("button", name=button).click()

    await with_all("Relist")
    await page.get_by_text("likes and comments").wait_for()
    await page.get_by_role("button", name="Relist 1 listing").click()
    await page.get_by_text("1 listing is taken down and posted again.").wait_for()
    rows = await house.rows("SELECT relist FROM publications WHERE relist IS NOT NULL")
    assert [row["relist"] for row in rows] == ["asked"] * 3
    await with_all("Relist")
    await page.get_by_text("Being relisted on eBay.").wait_for()
    assert await page.get_by_role("button", name="Relist 1 listing").count() == 0

    await with_all("Delete")
    await page.get_by_text("Live on eBay.").wait_for()
    assert await page.get_by_role("button", name="Delete 1 listing").count() == 0
    await with_all("Delist")
    await page.get_by_role("button", name="Take down 1 listing").click()
    await page.get_by_text("1 listing is being taken down.").wait_for()
    rows = await house.rows(
        "SELECT wanted FROM publications p JOIN listings l ON l.id = p.listing_id WHERE l.title LIKE 'Carh%'"
    )
    assert [row["wanted"] for row in rows] == ["ended"] * 3
    await with_all("Delete")
    await page.get_by_label("Take down what is live").check()
    await page.get_by_role("button", name="Look again").click()
    await page.get_by_role("button", name="Delete 1 listing").click()
    await page.get_by_text("1 listing is deleted, or being taken down").wait_for()
    (row,) = await house.rows("SELECT delete_asked_at FROM listings WHERE title LIKE 'Carhartt%'")
    assert row["delete_asked_at"] is not None

    await page.goto("/inventory?q=lululemon")
    await page.locator("[name=id]").check()
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete 1 listing").click()
    await page.get_by_text("1 listing is deleted").wait_for()
    assert await house.rows("SELECT 1 FROM listings WHERE title LIKE 'Lululemon%'") == []


@pytest.mark.longer
async def test_all_that_match_are_chosen_by_their_number_which_must_still_be_so(house):
    alice = await house.person("alice")
    for number in range(60):
        await write(house, alice, f"Plain tee {number:02}")
    page = await house.signed_in("alice")
    await page.goto("/inventory?q=tee")
    assert len(await titles(page)) == 50
    await page.locator("[data-all-shown]").check()
    await page.get_by_text("50 selected").wait_for()
    await page.get_by_label("all 60").check()
    await page.get_by_text("60 selected").wait_for()
    await write(house, alice, "Plain tee, one more")
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_text("61 listings match now, not 60.").wait_for()
    assert len(await house.rows("SELECT 1 FROM listings")) == 61

    await page.goto("/inventory?q=tee")
    await page.get_by_role("link", name="Show more").click()
    await page.locator("tbody tr").nth(60).wait_for()
    assert "pages=2" in page.url
    await page.locator("[data-all-shown]").check()
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Export CSV").click()
    text = (await (await download.value).path()).read_text("utf-8-sig")
    assert text.count("Plain tee") == 61


@pytest.mark.longer
async def test_keys_move_select_open_and_a_choice_outlives_a_search(house):
    alice = await house.person("alice")
    await fill(house, alice)
    page = await house.signed_in("alice")
    await page.goto("/inventory")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("x")
    assert await page.get_by_label("Select Levi's 501").is_checked()
    await page.keyboard.press("/")
    await page.keyboard.type("watch")
    await page.get_by_text("1 listing", exact=True).wait_for()
    await page.keyboard.press("Escape")
    assert await page.get_by_text("1 selected").is_visible()
    await page.get_by_label("Select Fossil").check()
    await page.get_by_text("2 selected").wait_for()
    await page.get_by_role("searchbox").fill("")
    await page.locator("tr", has_text="Levi's 501").wait_for()
    assert await page.get_by_label("Select Levi's 501").is_checked()
    await page.get_by_role("button", name="Delist").click()
    await page.get_by_role("heading", name="Delist: 2 listings").wait_for()
    await page.goto("/inventory")
    await page.keyboard.press("?")
    assert await page.get_by_role("dialog", name="Keys on this page").is_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/listings/*")
    house.complaints[:] = [one for one in house.complaints if "404" not in one]


@pytest.mark.longer
async def test_all_between_two_are_selected_with_shift_by_a_click_and_by_a_key(house):
    alice, bob = await house.person("alice"), await house.person("bob")
    made = await fill(house, alice)
    await write(house, bob, "Sandals of Bob", days=20)
    page = await house.signed_in("alice")
    await page.goto("/inventory")
    ticks = page.locator("[name=id]")
    await ticks.nth(1).click()
    await ticks.nth(4).click(modifiers=["Shift"])
    await page.get_by_text("4 selected").wait_for()
    assert await page.locator("[name=id]:checked").count() == 4
    assert not await ticks.first.is_checked()
    assert await page.evaluate("String(getSelection())") == ""
    await ticks.nth(3).click(modifiers=["Shift"])  # from the last one on, as the second is
    await page.get_by_text("2 selected").wait_for()
    await ticks.nth(5).focus()
    await page.keyboard.press("Shift+X")
    await page.get_by_text("5 selected").wait_for()
    await page.get_by_role("button", name="Delist").click()
    await page.get_by_role("heading", name="Delist: 5 listings").wait_for()
    assert "Bob" not in await page.locator("main").inner_text()
    assert len(made) == 7


@pytest.mark.longer
async def test_an_open_page_shows_what_happens_to_a_listing_while_another_is_ticked(house):
    alice = await house.person("alice")
    made = await fill(house, alice)
    page = await house.signed_in("alice")
    await page.goto("/inventory")
    await page.get_by_label("Select Carhartt").check()
    await page.wait_for_timeout(500)
    await house.rows(
        "UPDATE publications SET put = 'live', put_revision = 1, state = 'live' "
        "WHERE listing_id = CAST(:id AS uuid)",
        id=made["Fossil chronograph watch"],
    )
    await page.locator("tr", has_text="Fossil").locator(".c-status", has_text="Live").wait_for()
    assert await page.get_by_label("Select Carhartt").is_checked()


@pytest.mark.longer
async def test_who_has_none_is_told_how_to_begin_and_bob_has_nothing_of_alices(house):
    alice = await house.person("alice")
    made = await fill(house, alice)
    await house.person("bob")
    page = await house.signed_in("bob")
    await page.goto("/inventory")
    assert await page.get_by_role("heading", name="No listings yet").is_visible()
    assert await page.get_by_role("button", name="New listing").count() == 2
    csrf = await page.locator("input[name=csrf]").first.get_attribute("value")
    before = await house.rows("SELECT id, wanted, wanted_revision FROM publications ORDER BY id")
    for do in ("post", "end", "relist", "delete", "reprice", "export"):
        for path in ("/inventory/bulk", "/inventory/export"):
            answer = await page.request.post(
                path,
                form={"csrf": csrf, "do": do, "ids": made["Fossil chronograph watch"], "sure": "yes",
                      "key": "0" * 16, "value": "-10", "also_live": "yes"},
                headers={"Accept": "text/html", "Origin": house.url}, max_redirects=0,
            )  # fmt: skip
            assert answer.status == 404, (path, do)
            assert "Fossil" not in await answer.text()
    jobs = await page.request.post("/inventory/undo", form={"csrf": csrf, "jobs": "job_x"},
                                   headers={"Accept": "text/html", "Origin": house.url})  # fmt: skip
    assert jobs.status == 404
    assert await house.rows("SELECT id, wanted, wanted_revision FROM publications ORDER BY id") == before
    foreign = await page.request.post(
        "/inventory/bulk", form={"do": "delete", "ids": "x"},
        headers={"Accept": "text/html", "Origin": "https://evil.example"},
    )  # fmt: skip
    assert foreign.status == 403


@pytest.mark.longer
async def test_a_head_orders_the_table_and_what_is_ticked_stays(house):
    alice, bob = await house.person("alice"), await house.person("bob")
    await fill(house, alice)
    await write(house, bob, "Sandals of Bob")
    for user, name in ((alice, "What I sell"), (bob, "Secret")):
        await house.rows(
            "INSERT INTO saved_views (user_id, name, query) VALUES (:user, :name, 'view=listed')",
            user=user, name=name,
        )  # fmt: skip
    page = await house.signed_in("alice")
    await page.goto("/inventory")
    await page.get_by_role("link", name="What I sell 3").wait_for()
    await page.get_by_label("Select Fossil").check()
    head = page.locator("th.c-price")
    await head.get_by_role("link", name="Price").click()
    await page.locator("th.c-price[aria-sort=ascending]").wait_for()
    assert (await titles(page))[0] == "Madewell transport tote"
    assert await page.get_by_label("Order").input_value() == "cheapest"
    await page.locator("th.c-price a:focus").wait_for()
    await page.keyboard.press("Enter")
    await page.locator("th.c-price[aria-sort=descending]").wait_for()
    assert (await titles(page))[0] == "Doc Martens 1460, black"
    assert await page.get_by_label("Select Fossil").is_checked()
    assert page.url.endswith("?sort=dearest")
    await page.reload()
    assert (await titles(page))[0] == "Doc Martens 1460, black"

    await page.get_by_text("Columns", exact=True).click()
    for name in ("SKU", "Price"):
        await page.locator(".columns").get_by_label(name).uncheck()
    await page.get_by_role("button", name="Show these").click()
    await page.locator("table[data-hides='sku price']").wait_for()
    assert page.url.endswith("?sort=dearest")
    for name, seen in (("sku", False), ("price", False), ("qty", True), ("age", True)):
        assert await page.locator(f"th.c-{name}").is_visible() == seen, name
    await page.keyboard.press("j")
    await page.keyboard.press("e")  # what is hidden is not edited
    assert await page.locator(".c-qty input.cell").is_visible()
    page = await house.signed_in("bob")
    await page.goto("/inventory")
    assert await page.locator("th.c-price").is_visible()


@pytest.mark.longer
@DESK_AND_PHONE
async def test_the_bar_of_the_selected_lies_over_nothing_that_cannot_be_reached(house):
    alice, bob = await house.person("alice"), await house.person("bob")
    await fill(house, alice)
    await write(house, bob, "Sandals of Bob")
    page = await house.signed_in("alice")
    await page.goto("/inventory")
    await page.set_viewport_size({"width": page.viewport_size["width"], "height": 560})
    await page.locator("tbody input[type=checkbox]").first.check()
    bar = page.locator(".bulk")
    await bar.get_by_text("1 selected").wait_for()
    await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    await page.wait_for_function("scrollY + innerHeight >= document.documentElement.scrollHeight - 1")
    over = (await bar.bounding_box())["y"]
    for what in ("tbody tr:last-child", ".foot"):
        box = await page.locator(what).bounding_box()
        assert box["y"] + box["height"] <= over, what


@pytest.mark.longer
@DESK_AND_PHONE
@BOTH
async def test_what_was_deleted_comes_back_by_undo_or_later(house, scripts):
    alice, bob = await house.person("alice"), await house.person("bob")
    made = await fill(house, alice)
    await write(house, bob, "Sandals of Bob")
    page = await house.signed_in("alice", java_script_enabled=scripts)
    for again in ("Undo", "later"):
        await page.goto(f"/listings/{made['Lululemon Align leggings']}")
        await page.get_by_text("Delete this listing").click()
        await page.get_by_role("button", name="Delete it", exact=True).click()
        await page.get_by_text("“Lululemon Align leggings” is deleted.").wait_for()
        assert len(await titles(page)) == 6
        if again == "Undo":
            await page.get_by_role("button", name="Undo").click()
        else:
            await page.get_by_role("navigation", name="Inventory").get_by_role("link", name="Deleted").click()
            if scripts:
                await passes(page, "deleted")
            await page.get_by_role("button", name="Restore Lululemon").click()
        await page.get_by_text("The listing is back.").wait_for()
    await page.goto("/inventory")
    assert len(await titles(page)) == 7
    await page.goto("/inventory/deleted")
    await page.get_by_role("heading", name="Nothing deleted").wait_for()


@pytest.mark.longer
async def test_on_a_phone_a_new_listing_is_under_the_thumb_and_costs_no_row(house):
    alice, bob = await house.person("alice"), await house.person("bob")
    await fill(house, alice)
    await write(house, bob, "Sandals of Bob")
    page = await house.signed_in("alice", **PHONE)
    await page.goto("/inventory")
    new = page.get_by_role("button", name="New listing")
    box, bar = await new.bounding_box(), await page.locator(".side").bounding_box()
    assert box["y"] > 600
    assert box["y"] + box["height"] <= bar["y"]
    assert min(box["width"], box["height"]) >= 44
    top = await page.locator(".top").bounding_box()
    assert top["height"] < 110
    await page.get_by_label("Select Carhartt").check()
    assert not await new.is_visible()  # the bar of what is ticked lies there
    await page.get_by_label("Select Carhartt").uncheck()
    await new.click()
    await page.wait_for_url("**/listings/*")


@pytest.mark.extended
@pytest.mark.parametrize(("scheme", "width"), LOOKS)
async def test_how_ordered_heads_columns_and_an_undo_look(house, scheme, width):
    alice = await house.person("alice")
    made = await fill(house, alice)
    await house.rows(
        "INSERT INTO saved_views (user_id, name, query) VALUES (:user, 'What I sell', 'view=listed')",
        user=alice,
    )
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/inventory?sort=dearest")
    if width > 760:
        await page.get_by_text("Columns", exact=True).click()
    await passes(page, "inventory-ordered")
    await page.keyboard.press("?")
    await page.get_by_role("dialog", name="Keys on this page").wait_for()
    await passes(page, "inventory-keys")
    await page.goto(f"/listings/{made['Madewell transport tote']}")
    await page.get_by_text("Delete this listing").click()
    await page.get_by_role("button", name="Delete it", exact=True).click()
    await passes(page, "inventory-undo")
    await page.goto("/inventory/deleted")
    await passes(page, "deleted")


def test_every_reason_to_wait_for_the_seller_can_be_filtered_by():
    assert set(PROBLEM_NAMES) == set(ACTIONS_FOR) <= set(REASONS)


@pytest.mark.longer
async def test_what_was_written_into_a_listing_is_shown_and_never_run(house):
    alice = await house.person("alice")
    await fill(house, alice, evil=EVIL)
    await house.rows("UPDATE publications SET url = 'javascript:window.ran=3'")
    page = await house.signed_in("alice")
    for path in ("/inventory", "/inventory?q=%22%3E%3Cimg", "/inventory?on=ebay&brand=" + quote(EVIL)):
        await page.goto(path)
        assert EVIL.split("'")[0][:30] in await page.locator("main").inner_text()
        assert await page.evaluate("window.ran") is None
        for link in await page.locator("a[href]").evaluate_all("all => all.map(one => one.protocol)"):
            assert link in ("http:", "https:")
    await page.goto("/inventory")
    await page.locator("[data-all-shown]").check()
    for do in ("Post to all", "Delist"):
        await page.get_by_role("button", name=do).click()
        await page.get_by_text("Nothing has been done yet.").wait_for()
        assert await page.evaluate("window.ran") is None
        await page.goto("/inventory")
        await page.locator("[data-all-shown]").check()


#: Notes in `made` what makes words of times and numbers: the first of each takes long.
_COUNTS = """window.made = [];
for (const name of ["DateTimeFormat", "RelativeTimeFormat", "NumberFormat"])
    Intl[name] = new Proxy(Intl[name], {
        construct(...of) { made.push(name); return Reflect.construct(...of); },
    });
const said = Number.prototype.toLocaleString;
Number.prototype.toLocaleString = function (...of) { made.push("a number"); return said.apply(this, of); };
"""


@pytest.mark.longer
async def test_a_phone_lays_out_what_is_near_its_screen_and_makes_no_words_of_numbers(house):
    alice, bob = await house.person("alice"), await house.person("bob")
    for who, title, many in ((alice, "Plain tee", 50), (bob, "Bob's tee", 1)):
        await house.rows(
            "INSERT INTO listings (user_id, title) SELECT :who, :title || n FROM generate_series(1, :many) n",
            who=who, title=title, many=many,
        )  # fmt: skip
    page = await house.signed_in("alice", **look("light", 390))
    await page.context.add_init_script(_COUNTS)
    await page.goto("/inventory")
    await page.wait_for_load_state("networkidle")
    near = "one => one.checkVisibility({ contentVisibilityAuto: true })"
    links = page.locator("tbody .c-item a")
    assert await links.count() == 50
    assert (await links.first.evaluate(near), await links.last.evaluate(near)) == (True, False)
    await links.last.scroll_into_view_if_needed()
    await page.wait_for_timeout(200)
    assert (await links.first.evaluate(near), await links.last.evaluate(near)) == (False, True)
    assert await page.evaluate("made") == []
    await page.get_by_label("Select Plain tee50", exact=True).check()
    await page.get_by_text("1 selected").wait_for()
    assert await page.evaluate("made") == ["a number"]


async def test_an_address_that_somebody_bent_is_still_a_page(house):
    alice = await house.person("alice")
    await write(house, alice, "Plain tee")
    async with visiting(house, "alice") as page:
        for query in (
            "sort=dearest&after=x%20y", "after=2026-01-01T00:00:00%20zz", "pages=0", "pages=99999999999",
            "low=abc&high=-1", "view=nope&on=nope&age=1", "q=%00&brand=%00", "after=" + "9" * 300,
            "label=%00&location=%00", "typed=yes&pages=9", "look=nope",
            "sort=title&after=%00%2000000000-0000-0000-0000-000000000000",
            "after=2026-01-01T00:00:00%2000000000-0000-0000-0000-000000000000",
        ):  # fmt: skip
            assert "<h1>Inventory</h1>" in await page.get(f"/inventory?{query}"), query


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.longer
async def test_the_inventory_looks_as_it_should(house, scheme, width):
    alice = await house.person("alice", "owner")
    page = await house.signed_in("alice", **look(scheme, width))
    await page.goto("/inventory")
    await passes(page, "inventory-new")
    await fill(house, alice)
    await page.goto("/inventory")
    await passes(page, "inventory")
    for title in ("Lululemon Align leggings", "Madewell transport tote", "Carhartt Detroit chore jacket"):
        await page.get_by_label(f"Select {title}").check()
    await passes(page, "inventory-chosen")
    await page.get_by_role("button", name="Post to all").click()
    await passes(page, "inventory-bulk-post")
    await page.get_by_role("button", name="Post 1 listing").click()
    await passes(page, "inventory-bulk-done")
    await page.goto("/inventory?on=mercari")
    for box in await page.locator("[name=id]").all():
        await box.check()
    await page.get_by_role("button", name="Delist").click()
    await passes(page, "inventory-bulk-end")
    await page.goto("/inventory?on=ebay&low=50")
    await page.get_by_text("Filters").click()
    await passes(page, "inventory-filters")
    await page.goto("/inventory?q=nothing%20like%20it")
    await passes(page, "inventory-nothing")
    await page.goto("/inventory?view=drafts")
    for box in await page.locator("[name=id]").all():
        await box.check()
    await page.get_by_role("button", name="Reprice").click()
    await page.get_by_label("Per cent, or dollars").fill("-10")
    await page.get_by_role("button", name="Look", exact=True).click()
    await passes(page, "inventory-bulk-reprice")
