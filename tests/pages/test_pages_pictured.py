"""A walk through every page, on a desk and on a phone: none of them moves sideways or complains. With
EVERYSTALL_TEST_SHOTS it leaves a picture of each there, light and dark: `make screenshots`."""

from __future__ import annotations

import asyncio
import io
import json
import os
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageDraw

from everystall.backup.making import make
from everystall.backup.shelf import Shelf
from everystall.notify import channels
from everystall.switch import Switch
from everystall.vault.keyring import Keyring
from everystall.vault.sessions import Vault
from everystall.web.invitations import first_owner
from tests.pages.clothes import photo
from tests.pages.conftest import sign_in
from tests.pages.plain.test_import_page import CUP, MUG
from tests.pages.shop import LIVE, open_shop
from tests.pages.standing import attempt, listing, publication
from tests.pages.test_pages_activity import busy
from tests.pages.test_pages_content import model as model
from tests.pages.test_pages_look import look
from tests.pages.test_pages_notifications import happens, may_send
from tests.pages.test_pages_signing_in import adds, begins, device, leaves, sets_up, told
from tests.pages.test_pages_sitting import desk as desk
from tests.test_incoming import VENDOO, file

pytestmark = [pytest.mark.browser, pytest.mark.extended]
#: Bytes and pixels that a picture may have at most: the repository keeps them.
MOST, HIGHEST = 70_000, 1_800
#: Of its pixels so many may differ from the picture that is there: hours and dates do.
SAME = 0.003
WIDTHS = pytest.mark.parametrize("width", [pytest.param(1440, id="desk"), pytest.param(390, id="phone")])


#: Buttons of a page's head that are where its bell is.
UNDER_THE_BELL = """() => {
  const bell = document.querySelector('.top > .bell')?.getBoundingClientRect();
  const meets = one =>
    one.left < bell.right && bell.left < one.right && one.top < bell.bottom && bell.top < one.bottom;
  const all = bell ? [...document.querySelectorAll('.top .btn')] : [];
  return all.filter(one => meets(one.getBoundingClientRect())).map(one => one.innerText);
}"""

#: Pictures of a page that do not come.
BROKEN = """async () => {
  const all = [...document.images];
  for (const one of all) one.loading = 'eager';
  await Promise.all(all.map(one => one.decode().catch(() => 0)));
  return all.filter(one => !one.naturalWidth).map(one => one.currentSrc);
}"""


async def pictured(page, name, highest=HIGHEST):
    await page.wait_for_load_state("networkidle")
    width, height = page.viewport_size["width"], page.viewport_size["height"]
    sideways = await page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert sideways <= 0, f"{name} scrolls sideways at {width}: {sideways}"
    assert await page.evaluate(UNDER_THE_BELL) == [], name
    assert await page.locator("h1").inner_text() != "Something went wrong", name
    assert await page.evaluate(BROKEN) == [], name
    if not (folder := os.environ.get("EVERYSTALL_TEST_SHOTS")):
        return
    whole = await page.evaluate("document.documentElement.scrollHeight")
    await page.set_viewport_size({"width": width, "height": max(height, min(whole, highest))})
    await page.evaluate("scrollTo(0, 0)")
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        keep(await page.screenshot(), Path(folder) / f"{name}-{width}-{scheme}.webp")
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size({"width": width, "height": height})


def keep(data, path):
    """As small as it may be; the file that is there stays if it shows the same."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    for colours, how in (  # few colours are crisp, and small but for photos; nothing but text needs a handful
        (256, {"lossless": True}), (128, {"lossless": True}), (0, {"quality": 70}), (0, {"quality": 40}),
        (32, {"lossless": True}), (0, {"quality": 15}),
    ):  # fmt: skip
        what = picture
        if colours:  # by coverage and then by nearness: small spots keep their colour, too
            kept = {"method": Image.Quantize.MAXCOVERAGE, "kmeans": 3, "dither": Image.Dither.NONE}
            what = picture.quantize(colours, **kept).convert("RGB")
        out = io.BytesIO()
        what.save(out, "WEBP", method=6, **how)
        if out.tell() <= MOST:
            break
    assert out.tell() <= MOST, path
    if path.exists():
        before, now = Image.open(path).convert("RGB"), Image.open(out).convert("RGB")
        if before.size == now.size:
            other = ImageChops.difference(before, now).convert("L").point(lambda value: 255 * (value > 24))
            if other.histogram()[255] <= SAME * now.width * now.height:
                return
    path.write_bytes(out.getvalue())


async def alices(house, width):
    page = await (await house.context(**look("light", width))).new_page()
    page.set_default_timeout(60_000)
    await sign_in(page, "alice")
    return page


def real(house):
    """Nothing is practice there, as for a seller who is through with it."""
    for name in ("poshmark", "mercari", "ebay"):
        object.__setattr__(house.settings, f"{name}_url", f"https://{name}.com")


@WIDTHS
async def test_the_door(house, width):
    real(house)
    page = await (await house.context(**look("light", width))).new_page()
    page.set_default_timeout(60_000)
    await page.goto(f"/first?token={await first_owner(house.database)}")
    await pictured(page, "first")
    await house.person("alice", "owner")
    await page.goto("/sign-in")
    await pictured(page, "sign-in")
    await page.goto("/nothing-here")
    await pictured(page, "not-found")
    await page.goto("/offline")
    await pictured(page, "offline")
    hers = await alices(house, width)
    await hers.goto("/account")
    await hers.get_by_text("Invite somebody").click()
    await hers.get_by_label("E-mail address", exact=True).fill("bob@example.com")
    await hers.get_by_role("button", name="Make the link").click()
    await page.goto(await hers.locator("#link").inner_text())
    await pictured(page, "invitation")


@WIDTHS
@pytest.mark.parametrize("host", ["localhost"])  # browsers make passkeys for a name only
async def test_the_ways_to_sign_in(house, width, host):
    real(house)
    told(house, oidc_issuer="https://id.example.com", oidc_client_id="everystall")
    await house.person("alice", "owner")
    page = await alices(house, width)
    await device(page)
    await adds(page, "Her phone")
    await begins(page)
    await pictured(page, "second-factor")
    await sets_up(page)
    await pictured(page, "recovery-codes")
    await page.goto("/account/sign-in")
    await pictured(page, "signing-in")
    await leaves(page)
    await page.goto("/sign-in")
    await pictured(page, "sign-in-ways")
    await sign_in(page, "alice")
    await pictured(page, "sign-in-code")


@WIDTHS
async def test_the_beginning(house, width):
    real(house)
    await house.person("alice", "owner")
    switch = Switch(house.settings.everystall_home)
    switch.look()
    page = await alices(house, width)
    await pictured(page, "today-first")
    await page.goto("/extension")
    await pictured(page, "extension")
    for name in ("connections", "inventory", "needs-you", "sales"):
        await page.goto(f"/{name}")
        await pictured(page, f"{name}-first")
    switch.look()
    switch.ask()
    await page.goto("/practice")
    await pictured(page, "practice")
    switch.drop()


@WIDTHS
async def test_what_is_for_sale(house, width):
    real(house)
    alice = await house.person("alice", "owner")
    shop = await open_shop(house, alice)
    await house.rows("INSERT INTO saved_views (user_id, name, query) VALUES "
                     "(:id, 'To mend', 'label=to+mend')",
                     id=alice)  # fmt: skip
    page = await alices(house, width)
    await pictured(page, "today")
    if width > 760:  # a phone has no keys
        await page.keyboard.press("Control+k")
        await page.get_by_role("combobox", name="A page, or words of a listing").fill("pri")
        await page.get_by_role("option").first.wait_for()
        await pictured(page, "palette")
        await page.keyboard.press("Escape")
    await page.goto("/needs-you")
    await pictured(page, "needs-you")
    await page.goto("/inventory?on=ebay")
    await page.locator(".seek-more summary").click()
    await pictured(page, "inventory-filters")
    await page.goto("/inventory")
    for title in ("Timex Weekender", "Barbour Bedale"):
        await page.get_by_label(f"Select {title}").check()
    await pictured(page, "inventory", highest=1_000)  # it stands in the README beside others
    if width > 760:  # a phone has no columns
        await page.get_by_text("Columns", exact=True).click()
        await pictured(page, "inventory-columns")
        await page.get_by_text("Columns", exact=True).click()
    await page.get_by_role("button", name="Reprice").click()
    await page.get_by_label("Per cent, or dollars").fill("-10")
    await page.get_by_role("button", name="Look", exact=True).click()
    await page.get_by_role("button", name="Look again").wait_for()
    await pictured(page, "inventory-reprice")
    await page.goto("/inventory")
    for title in ("Madewell transport tote", "Agolde 90s jean"):
        await page.get_by_label(f"Select {title}").check()
    await page.get_by_role("button", name="Mark as sold").click()
    await page.get_by_role("textbox", name="Where").fill("The flea market")
    await pictured(page, "bulk-sold")
    await page.goto("/inventory?look=grid")
    await pictured(page, "inventory-grid")
    await page.goto(f"/listings/{shop.listings['Everlane']}")
    await page.locator("#needs").wait_for()
    await pictured(page, "listing")
    await house.rows(
        "UPDATE publications SET started_at = now() - interval '21 s', updated_at = now() "
        "WHERE state = 'filling'"
    )
    await house.rows("SELECT everystall.stand_worker(gen_random_uuid(), 'shed', 4711, NULL, '0.1.0', 5, 1)")
    await page.wait_for_timeout(2_100)  # what was read of them is good for two seconds
    await page.goto(f"/listings/{shop.listings['Carhartt']}/stalls")
    await pictured(page, "stalls")
    await page.goto(f"/listings/{shop.listings['Carhartt']}/sold")
    await page.get_by_role("textbox", name="Where").fill("The flea market")
    await page.get_by_label("Fees and costs").fill("4.50")
    await pictured(page, "mark-as-sold")
    await page.goto("/sales")
    await pictured(page, "sales")
    await page.goto("/inventory/import")
    rows = [{**MUG, "Title": f"Stoneware mug, {glaze} glaze", "Sku": f"M-{glaze}"} for glaze in
            ("ash", "cobalt", "celadon", "tenmoku", "shino")]  # fmt: skip
    rows += [{**CUP, "Title": "Enamel cup, white"}, {**MUG, "Title": "Serving bowl", "Price": "twelve"}]
    await page.get_by_label("The file", exact=True).set_input_files(
        {"name": "vendoo-export-2026-11.csv", "mimeType": "text/csv", "buffer": file(VENDOO, *rows)}
    )
    await page.get_by_role("button", name="Look at it first").click()
    await page.locator("#outlook h3").wait_for()
    await pictured(page, "import")
    await page.goto("/inventory/export")
    await pictured(page, "export")
    await _twin(house, alice, shop)
    await page.goto("/inventory/matches")
    await pictured(page, "matches")
    for thing, colour, title in (
        ("watch", "#8c8f94", "Casio F-91W watch"), ("boot", "#5b3a29", "Ariat paddock boots, brown"),
        ("bag", "#7a8b5a", "Baggu crescent bag, moss"),
    ):  # fmt: skip
        id = await listing(house, alice, [photo(thing, colour)], title=title, sku=None)
        await page.goto(f"/listings/{id}")
        await page.get_by_text("Delete this listing").click()
        await page.get_by_role("button", name="Delete it", exact=True).click()
        await page.get_by_text("is deleted.").wait_for()
    await page.goto("/inventory/deleted")
    await pictured(page, "deleted")


@WIDTHS
async def test_what_a_model_helps_with(house, model, width):
    real(house)
    alice = await house.person("alice", "owner")
    photos = [photo("shirt", "#5c83b5"), photo("shirt", "#5c83b5", "#d9e0e4", 5)]
    bare = await listing(house, alice, photos, title=None, brand=None, size=None, category=None)
    whole = await listing(
        house, alice, photos, description="A linen shirt. Worn twice, washed cold. Chest 20 in. Small stain "
        "on the left cuff.",
    )  # fmt: skip
    page = await alices(house, width)
    await page.goto(f"/listings/{bare}/content")
    await page.get_by_label("What you know of it").fill("levi's shirt, sz M")
    await pictured(page, "content")
    await page.get_by_role("button", name="Read the photos").click()
    await page.get_by_text("Such shirts bring $20 to $30 used.").wait_for()
    await pictured(page, "reading")
    await page.goto(f"/listings/{whole}/content")
    await page.get_by_role("button", name="Rewrite for eBay").click()
    await page.locator("ins").first.wait_for()
    await pictured(page, "copy")


async def _twin(house, user, shop):
    """What was posted by hand on eBay, and may be a thing of the shop's."""
    id = await listing(
        house, user, [photo("shirt", "#c9c2b4", "#d9e0e4", 3)],
        title="PATAGONIA Bearfoot T-Shirt Men's Large Sand",
        brand="Patagonia", category="men.shirts.tees", size="L", price_cents=2600, sku=None,
        colors=["beige"],
    )  # fmt: skip
    of = await publication(house, user, id, shop.accounts["ebay"], **LIVE)
    await attempt(house, user, of)
    await house.rows(
        "INSERT INTO matches (user_id, one_id, other_id, points, reasons, doubts) VALUES (:user, "
        "least(CAST(:a AS uuid), CAST(:b AS uuid)), greatest(CAST(:a AS uuid), CAST(:b AS uuid)), 7, "
        "'[\"One photo in common\", \"The same brand and size\"]', '[\"The prices are $2.00 apart\"]')",
        user=user, a=id, b=shop.listings["Patagonia"],
    )  # fmt: skip


@WIDTHS
async def test_what_it_costs(house, width):
    real(house)
    await open_shop(house, await house.person("alice", "owner"))
    page = await alices(house, width)
    await page.goto("/prices")
    await page.get_by_text("Make a rule for eBay").click()
    ebay = page.locator("#ebay")
    await ebay.get_by_label("Mark-up in per cent").fill("8")
    await ebay.get_by_role("button", name="Show what it makes").click()
    await ebay.get_by_text("Not saved yet.").wait_for()
    await pictured(page, "prices")
    await ebay.get_by_role("button", name="Save the rule").click()
    await ebay.get_by_role("link", name="See what would change").click()
    await page.get_by_role("button", name="Look", exact=True).click()
    await page.get_by_role("button", name="Change ").first.wait_for()
    await pictured(page, "price-changes")
    await page.goto("/prices/drops")
    for label, value in (
        ("Each step takes away", "10"), ("Days between two steps", "7"), ("Never below", "12"),
    ):  # fmt: skip
        await page.get_by_label(label).fill(value)
    await page.get_by_role("button", name="Let prices fall").click()
    await page.get_by_text("Falls next").wait_for()
    await pictured(page, "price-drops")
    await page.goto("/prices/relisting")
    ebay = page.locator("#ebay")
    await ebay.get_by_label("Days that it has stood there").fill("60")
    await ebay.get_by_label("At most a day, on each account").fill("2")
    await ebay.get_by_role("button", name="Relist by this rule on eBay").click()
    await page.get_by_text("Not before these days").wait_for()
    await pictured(page, "relisting")


@WIDTHS
async def test_the_accounts_and_what_is_told(house, width):
    real(house)
    alice = await house.person("alice", "owner")
    shop = await open_shop(house, alice)
    for kind, what in (
        ("extension", "Chrome on macOS"),
        ("api", "Nightly upload"),
        ("browser", "Firefox on Linux"),
    ):
        await house.rows(
            "INSERT INTO api_tokens (user_id, name, kind, token_hash, scopes, last_used_at, expires_at) "
            "VALUES (:id, "
            ":name, :kind, sha256(CAST(:name AS text)::bytea), '{*}', now() - interval '3 hours', now() + "
            "interval '80 days')",
            id=alice, name=what, kind=kind,
        )  # fmt: skip
    may_send(house, "smtp+plain://127.0.0.1:1?from=a@example.com")
    page = await alices(house, width)
    await page.goto("/connections")
    await page.locator(".account").first.locator("summary").first.click()
    await pictured(page, "connections")
    await page.goto("/connections/rules")
    await pictured(page, "sale-rules")
    await page.goto("/connections/mails")
    await pictured(page, "sale-mails")
    await page.goto(f"/connections/{shop.accounts['ebay']}/openings")
    await pictured(page, "openings")
    await page.goto("/account")
    await pictured(page, "account")
    await page.get_by_role("button", name="Unpair").click()
    await pictured(page, "confirm")
    await page.get_by_role("button", name="Cancel").click()
    for title, event, data in (
        ("Levi's 501 straight jeans", "publication.live", {"marketplace": "mercari"}),
        ("Reformation midi dress", "publication.needs_you",
         {"needsYou": {"reason": "field_missing", "message": "Mercari wants to know the size."}}),
        ("Pyrex Butterprint bowl", "sale.detected",
         {"marketplace": "mercari", "price": {"amount": 5400, "currency": "USD"}}),
        ("Dr. Martens 1460 boots", "sale.detected", {"price": {"amount": 9900, "currency": "USD"}}),
        ("", "import.finished", {"status": "done", "created": 41, "known": 2, "marketplace": "poshmark"}),
    ):  # fmt: skip
        await happens(house, alice, event, **{"title": title, **data})
    await house.rows("UPDATE notices SET read_at = now() WHERE event_id % 2 = 0")
    vault = Vault(house.database, Keyring.load(house.settings), house.settings)
    async with house.database.as_user(alice) as session:
        await channels.add_address(session, vault, house.settings, alice, "alice@example.com")
        await channels.add_service(session, vault, alice, "ntfys://ntfy.sh/x", None)
    await page.goto("/notifications")
    await pictured(page, "notifications")
    await page.goto("/notifications/settings")
    await pictured(page, "notification-settings")
    await page.goto("/notifications/webhooks")
    await page.get_by_label("Address").fill("https://shop.example.com/hooks/everystall")
    await page.get_by_label("Name").fill("The till")
    await page.keyboard.press("Enter")
    await page.get_by_text("Copy this secret now.").wait_for()
    await page.goto("/notifications/webhooks")
    await pictured(page, "webhooks")
    await page.goto("/api/docs")
    await pictured(page, "reference")


@WIDTHS
async def test_what_runs_it(house, width):
    real(house)
    alice = await house.person("alice", "owner")
    await busy(house, alice)
    page = await alices(house, width)
    await page.goto("/activity")
    await pictured(page, "activity")
    await page.goto("/settings")
    await page.get_by_label("Look for sales on cross-listed accounts").fill("90")
    await page.get_by_role("button", name="Save").click()
    await pictured(page, "settings")
    await page.goto("/settings/connection")
    for tried in ("socket", "stream"):
        await page.locator(f"[data-tries={tried}][data-found=good]").wait_for()
    await pictured(page, "connection-check")
    shelf, keyring = Shelf(house.settings), Keyring.load(house.settings)
    settings = house.settings.model_copy(update={"pbkdf2_iterations": 100_000})
    shelf.make()
    for kind in ("night", "asked"):
        await asyncio.to_thread(
            make, settings, keyring, shelf.new(kind), passphrase="four stalls in the rain"
        )
    shelf.look_after()
    await page.goto("/account/backup")
    await pictured(page, "backup")


#: What a form's field looked like, and does now; in how many runs that held.
FIELDS = (
    ("mercari", "the listing's title", "likeness", 3, "Title", "Headline", '[data-testid="pane-box-3f9a"]'),
    ("poshmark", "the button that opens the sizes", "model", 1, "Select Size", "Pick your size",
     'section:has(> h3:text-is("Size")) div[role="button"] >> nth=0'),
    ("ebay", "the listing's condition", "likeness", 0, "Condition", "State", "#slot-entry-77c1"),
)  # fmt: skip


@WIDTHS
async def test_what_was_found_again(house, width):
    real(house)
    await house.person("alice", "owner")
    page = await alices(house, width)
    for marketplace, target, by, runs, before, after, locator in FIELDS:
        for worked in [True] * runs or [False]:
            await house.rows(
                "SELECT everystall.note_heal(:m, :t, '/sell', :l, :w, :by, CAST(:b AS jsonb), "
                "CAST(:a AS jsonb), :p)", m=marketplace, t=target, l=locator, w=worked, by=by,
                b=_look(before, "sellName"), a=_look(after, "x-9"), p=form_of(after),
            )  # fmt: skip
    await page.goto("/activity/healed")
    for one in await page.locator(".healed summary").all():  # a picture that is not shown never arrives
        await one.click()
    await pictured(page, "healed")


def _look(label, name):
    traits = {"tag": "input", "type": "text", "label": label, "heading": "Details", "place": "1of3"}
    return json.dumps(traits | {"name": name, "data": [f"data-testid={name}"], "placeholder": "What is it?"})


def form_of(label):
    """As browser/heal.py pictures a part of a form: fields are covered."""
    image = Image.new("RGB", (760, 190), "white")
    draw = ImageDraw.Draw(image)
    draw.text((80, 50), label, fill="#333", font_size=18)
    draw.rectangle((80, 80, 680, 124), fill="#8a8a8a")
    image.save(out := io.BytesIO(), "JPEG", quality=60)
    return out.getvalue()


@WIDTHS
async def test_a_sitting(desk, width):
    real(desk.house)
    page = await alices(desk.house, width)
    await page.goto(f"/sittings/{desk.id}")
    await desk.serve()
    await page.locator("[data-turn=yours][data-shows]").wait_for()
    await asyncio.sleep(1)
    await pictured(page, "sitting")
