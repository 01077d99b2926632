"""The only file that knows Poshmark's pages: what we look for, where, and how a page is read.

Sources and dates: NOTES.md. Every target has two ways to be found at least, the most durable first.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from everystall.browser.targets import Obstacle, Site, Target
from everystall.marketplaces.poshmark.form import SIGN_IN_PAGES

if TYPE_CHECKING:
    from everystall.browser.page import Page

CREATE = "/create-listing"
SALES = "/order/sales"


def closet_path(handle: str, availability: str) -> str:
    return f"/closet/{handle}?availability={availability}"


def order_path(order_id: str) -> str:
    return f"{SALES}/{order_id}"


def listing_path(remote_id: str) -> str:
    return f"/listing/{remote_id}"


def edit_path(remote_id: str) -> str:
    return f"/edit-listing/{remote_id}"


_MODAL = '[data-test="modal"], .modal-backdrop'

SITE = Site(
    obstacles=(
        Obstacle(
            "captcha",
            "Poshmark asks you to show that you are not a robot",
            (
                'iframe[title*="recaptcha challenge" i]',
                'iframe[src*="/recaptcha/"][src*="bframe"]',
                ".g-recaptcha",
                'h1:text-is("Security check")',
                ':is(h1, h2, h5):text("security challenge")',
            ),
        ),
        Obstacle("blocked", "Poshmark's guard does not let this browser in", (':is(h1, h2):text("Pardon")',)),
        Obstacle(
            "second_factor",
            "Poshmark asks for a code that it sent you",
            ('input[placeholder="Enter Verification Code" i]', ':is(h1, h2, h5):text-is("Verify Email")'),
        ),
        Obstacle(
            "login",
            "Poshmark asks you to sign in",
            ("#login_form_username_email", 'input[name="login_form[password]"]'),
            SIGN_IN_PAGES,
        ),
        Obstacle(
            "limited",
            "Poshmark says that this account has reached a limit",
            (
                f':is({_MODAL}):has-text("limit of new listings")',
                f':is({_MODAL}):has-text("keep up to"):has-text("drafts")',
                f':is({_MODAL}):has-text("listing limit")',
            ),
        ),
    ),
    domains=("poshmark.com",),
    parts=(
        "cloudfront.net", "google.com", "gstatic.com", "recaptcha.net", "awswaf.com", "cequence.ai",
        "sift.com",
    ),
)  # fmt: skip


# ---- the form -------------------------------------------------------------------------------------

PHOTOS = Target(
    "where photos are added",
    ("#img-file-input", 'input[type="file"][name="img-file-input"]', 'input[type="file"][accept*=".jpg"]'),
)
APPLY = Target(
    "the button that takes the photos as they are shown in the crop dialog",
    ('[data-et-name="apply"]', f':is({_MODAL}) button:text-is("Apply")'),
)
PHOTO_SHOWN = Target(
    "a photo that was added", ('[data-test="photos"] figure img', ".photos figure img"), heal=False
)
TITLE = Target(
    "the listing's title",
    ('input[data-vv-name="title"]', 'input[placeholder^="What are you selling"]'),
)
DESCRIPTION = Target(
    "the listing's description",
    ('textarea[data-vv-name="description"]', 'textarea[placeholder^="Describe it"]'),
)
CATEGORY = Target(
    "what opens the menu of categories",
    (
        '.listing-editor__category-container [data-test="dropdown"] .dropdown__selector',
        ".listing-editor__category-container .dropdown__selector",
        'section:has(h2:text-is("CATEGORY")) .dropdown__selector >> nth=0',
    ),
)
DEPARTMENT = Target(
    "the department {name} in the menu of categories",
    (
        '[data-et-on-name="category_selection"]:text-is("{name}")',
        '.dropdown__menu .dropdown__menu__item:text-is("{name}")',
    ),
)
CATEGORY_ROW = Target(
    "the category {name} in the menu of its department",
    (
        'li.dropdown__menu__item:text-is("{name}")',
        '.listing-editor__category-container :is(li, a):text-is("{name}")',
    ),
)
CATEGORY_UP = Target(
    "the row that leads back to all departments",
    ('.dropdown__menu__item:text-is("All Categories")', ':is(li, a):text-is("All Categories")'),
)
SUBCATEGORY = Target(
    "what opens the menu of subcategories",
    (
        ".listing-editor__subcategory-container .dropdown__selector",
        '.dropdown__selector:text-is("Select Subcategory (optional)")',
        'section:has(h2:text-is("CATEGORY")) .dropdown__selector >> nth=1',
    ),
)
SUBCATEGORY_ROW = Target(
    "the subcategory {name}",
    (
        '.listing-editor__subcategory-container [data-et-prop-content]:text-is("{name}")',
        '.listing-editor__subcategory-container .dropdown__menu__item:text-is("{name}")',
        'section:has(h2:text-is("CATEGORY")) .dropdown__menu__item:text-is("{name}")',
    ),
)
MULTI_ITEM = Target(
    "the button for several of one thing",
    ('button:text-is("Multi Item")', 'section:has(h2:text-is("QUANTITY")) button >> nth=1'),
)
QUANTITY = Target(
    "how many there are",
    ('input[data-vv-name="quantityAvailable0"]', 'section:has(h2:text-is("QUANTITY")) input'),
)
SIZE = Target(
    "what opens the panel of sizes", ('[data-test="size"]', '[data-et-name="size"]', 'text="Select Size"')
)
SIZE_TAB = Target(
    "the tab {name} of the sizes",
    ('.navigation--horizontal__tab:text-is("{name}")', '[role="tab"]:text-is("{name}")'),
)
SIZE_BUTTON = Target(
    "the size {name}",
    ('button[id="size-{name}"]', f':is({_MODAL}) button:text-is("{{name}}")'),
)
SIZE_CUSTOM = Target(
    "where a size of one's own is written",
    ("#customSizeInput0", f':is({_MODAL}) input[placeholder*="custom" i]'),
)
SIZE_DONE = Target(
    "the button that closes the sizes",
    ('[data-test="modal-footer"] button:text-is("Done")', f':is({_MODAL}) button:text-is("Done")'),
)
CONDITION = Target(
    "what opens the menu of conditions",
    (
        ".listing-editor__condition-container .dropdown__selector",
        'section:has(h2:text-is("CONDITION")) .dropdown__selector',
    ),
)
CONDITION_ROW = Target(
    "the condition {name}",
    (
        '[data-et-name="listing_condition"]:text-is("{name}")',
        '.listing-editor__condition-container .dropdown__menu__item:text-is("{name}")',
    ),
)
BRAND = Target(
    "the brand",
    ('input[placeholder="Enter the Brand/Designer"]', 'section:has(h2:text-is("BRAND")) input'),
)
COLOR = Target(
    "what opens the colours",
    ('[data-et-name="color"]', 'section:has(h2:text-is("COLOR")) [role="button"]'),
)
COLOR_TILE = Target(
    "the colour {name}",
    (
        'li:has(> .color__circle--large):has(> span:text-is("{name}"))',
        'section:has(h2:text-is("COLOR")) li:has-text("{name}")',
    ),
)
TAG = Target(
    "where style tags are written",
    ("input.listing-editor__tag__input", 'section:has(h2:text-is("STYLE TAGS")) input'),
)
PRICE = Target(
    "the price, which opens the price dialog",
    (
        'input[data-vv-name="listingPrice"]',
        # not :visible: it is also read where the second step stands in front of the form
        'section:has(h2:text-is("LISTING PRICE")) input:not([type="hidden"])',
    ),
)
LISTING_PRICE = Target(
    "the price in the price dialog",
    ("#listing-price-modal-listing-price-input", f':is({_MODAL}) label:has-text("Listing Price") input'),
)
ORIGINAL_PRICE = Target(
    "the original price in the price dialog",
    ("#listing-price-modal-original-price-input", f':is({_MODAL}) label:has-text("Original Price") input'),
)
SMART_SELL = Target(
    "the switch of Smart Sell",
    ('[data-test="toggle-input"]', f':is({_MODAL}) label:has-text("Smart Sell") input[type="checkbox"]'),
)
SMART_SELL_SWITCH = Target(
    "what one presses to switch Smart Sell",
    ('[data-test="toggle-switch"]', f':is({_MODAL}) label:has(input[type="checkbox"])'),
)
SMART_SELL_MINIMUM = Target(
    "the lowest price that Smart Sell may go to",
    ("#smart-sell-minimum-input", f':is({_MODAL}) label:has-text("Smart Sell minimum") input'),
)
DISCOUNT = Target(
    "what the seller gives towards the postage",
    ('[data-et-name="seller_shipping_discount"]', f':is({_MODAL}) select[aria-label="Shipping discount"]'),
)
PRICE_DONE = Target("the button that closes the price dialog", SIZE_DONE.locators)
PRICE_WRONG = Target(
    "what the price dialog finds wrong",
    (f":is({_MODAL}) .errors", f":is({_MODAL}) [role=alert]"),
    heal=False,
)
SHOW_DETAILS = Target(
    "what opens the private details",
    ('button:text-is("show details")', '[data-et-name="show_details"]:text-is("show details")'),
)
SKU = Target("the private SKU", ('input[data-vv-name="sku"]', 'section:has(h2:has-text("PRIVATE")) input'))
CONTINUE = Target(
    "the button that leads to the second half of the form",
    ('[data-et-name="continue"]', 'main button:text-is("Continue")'),
)
NEXT_READY = Target(
    "the button that leads on, once all is there",
    ('[data-et-name="next"]:enabled', 'main button:text-is("Next"):enabled'),
    effect="draft",
)
LIST = Target(
    "the button that publishes",
    ('[data-et-name="list"]', '[data-et-name="list_item"]', 'button:text-is("List This Item")'),
    heal=False,
    effect="commit",
)
MODAL_TITLE = Target(
    "the heading of a message",
    ('[data-test="modal-title"]', ".modal__header h5", '[role="dialog"] h5'),
    heal=False,
)
MODAL_BODY = Target("the words of a message", ('[data-test="modal-body"]', '[role="dialog"] p'), heal=False)
MODAL_CLOSE = Target(
    "the button that closes a message",
    ('[data-test="modal-footer"] button:text-is("OK")', f":is({_MODAL}) button >> nth=0"),
)
COOKIES_OK = Target(
    "the button that closes the note on cookies",
    (".cookie-banner button.btn--primary", '.cookie-banner button:text-is("Ok")'),
)

#: Messages after the click that mean that nothing was posted (NOTES.md); any other proves nothing.
REFUSALS = (
    r"whole dollar amount required",
    r"^please (enter|add|select)\b",
    r"^the listing price must be",
    r"may not be (listed|sold)|counterfeit|prohibited",
)
#: Where the site's own script sends the photos: the draft's id is in the address.
UPLOAD = r"/api/posts/([0-9a-f]{24})/media/scratch"
#: After the click the site leads to the feed, with the listing's id in the address.
CREATED = r"[?&]created_listing_id=([0-9a-f]{24})"

# ---- editing --------------------------------------------------------------------------------------

REMOVE_PHOTO = Target(
    "the button that removes the first photo",
    (
        '[aria-label="Remove photo 1"]',
        '[data-test="photos"] figure button >> nth=0',
        ".photos button >> nth=0",
    ),
)
REMOVE_TAG = Target(
    "the button that removes the style tag {name}",
    (
        '[aria-label="Remove tag {name}"]',
        'section:has(h2:text-is("STYLE TAGS")) .chip:has-text("{name}") button',
    ),
)
SINGLE_ITEM = Target(
    "the button for one of a thing",
    ('button:text-is("Single Item")', 'section:has(h2:text-is("QUANTITY")) button >> nth=0'),
)
UPDATE_READY = Target(
    "the button that saves the changes, once all is there",
    ('[data-et-name="update"]:enabled', 'main button:text-is("Update"):enabled'),
)
#: Buyers may see the outcome: whether "List This Item" follows is not known (NOTES.md).
UPDATE = Target(
    "the button that saves the changes",
    ('[data-et-name="update"]', 'main button:text-is("Update")'),
    effect="commit",
)
#: Then the site leads to the listing, or to the feed as after publishing.
UPDATED = r"(?:/listing/(?:[^/?#]*-)?|[?&]created_listing_id=)([0-9a-f]{24})(?:[/?#&]|$)"
DELETE = Target(
    "the button that asks to delete the listing",
    ('[data-et-name="delete"]', 'button:text-is("Delete Listing")'),
    heal=False,
)
DELETE_YES = Target(
    "the button that deletes the listing",
    (
        ':is([data-test="modal"], .modal-backdrop):has-text("Delete Listing") .btn--primary:text-is("Yes")',
        '[role="dialog"]:has-text("Delete Listing") button:text-is("Yes")',
    ),
    heal=False,
    effect="commit",
)
#: The same button, where what goes is a draft that only the seller sees.
DELETE_DRAFT_YES = Target(
    "the button that deletes the draft", DELETE_YES.locators, heal=False, effect="draft"
)
GONE = Target(
    "the words that the listing is no longer available",
    (':is(h1, h2):text("no longer available")', 'main:has-text("This listing is no longer available")'),
    heal=False,
)
LISTING = Target("the listing's own page", ("h1.listing__title", "[data-post-id] h1"), heal=False)
NOT_FOUND = Target(
    "the words that there is no such page",
    ('h1:text("Page not found")', ':is(h1, h2):text("cannot find that page")'),
    heal=False,
)

# ---- lists ----------------------------------------------------------------------------------------

MY_CLOSET = Target(
    "the link to one's own closet, which only a signed-in seller gets",
    ('header a[data-et-name="my_closet"]', 'header a[href="/closet/{handle}"]'),
    heal=False,
)
SIGN_IN_LINK = Target(
    "the link to sign in",
    ('header a[href^="/login"]', 'header :is(a, button):text-is("Log in")'),
    heal=False,
)

SALES_SHOWN = Target(
    "how many of my sales are shown, which comes with their rows",
    (".my-sales-desktop-table__pagination-info", 'main :text-matches("^Showing [0-9]")'),
    heal=False,
)
ORDER = Target("one order of mine", (".order-info__container", 'main:has-text("ORDER NUMBER")'), heal=False)

#: My sales, newest first: {id, title, items, date, price, status}; and what the page says it shows.
ORDERS = """() => {
  const link = 'a[href*="/order/sales/"]';
  const table = document.querySelector("table.my-sales-desktop-table__table")
    ?? [...document.querySelectorAll("main table")].find((one) => one.querySelector(link));
  const heads = [...(table?.querySelectorAll("thead th") ?? [])].map((one) => one.textContent.trim());
  const rows = [];
  for (const row of table?.querySelectorAll("tbody tr") ?? []) {
    const order = row.querySelector(link);
    const id = /\\/order\\/sales\\/([^/?#]+)/.exec(order?.getAttribute("href") ?? "")?.[1];
    if (!id) continue;
    const cell = (part, head) => (row.querySelector(`[class*="__${part}-col"]`)
      ?? row.cells[heads.indexOf(head)])?.textContent.trim() ?? null;
    rows.push({id, title: order.textContent.trim(), items: cell("items", "Item(s)"),
               date: cell("date", "Order Date"), price: cell("price", "Price"),
               status: cell("status", "Status")});
  }
  const shown = /Showing (\\d+)-(\\d+) of (\\d+)/.exec(document.querySelector("main")?.textContent ?? "");
  return {rows, from: Number(shown?.[1]), to: Number(shown?.[2]), of: Number(shown?.[3])};
}"""

#: What one order was of, by the links to its listings, else by the page's own data: {id, title, price}.
ORDER_ITEMS = """() => {
  const box = document.querySelector(".order-info__container") ?? document.querySelector("main");
  const found = new Map();
  for (const link of box?.querySelectorAll('a[href*="/listing/"]') ?? []) {
    const id = /([0-9a-f]{24})(?:[/?#]|$)/.exec(link.getAttribute("href"))?.[1];
    if (!id) continue;
    const title = found.get(id)?.title || link.textContent.trim();
    const price = link.parentElement.querySelector(".order-items__item-price")?.textContent ?? null;
    found.set(id, {id, title, price: found.get(id)?.price ?? price});
  }
  const lines = (part) => !part || typeof part !== "object" ? []
    : Array.isArray(part.line_items) ? part.line_items : Object.values(part).flatMap(lines);
  if (!found.size) for (const line of lines(window.__INITIAL_STATE__)) {
    const id = line.parent_post_id ?? line.product_id;
    if (id) found.set(id, {id, title: "", price: null});
  }
  return [...found.values()];
}"""

#: Each tile of a closet: {id, title, price, photo, sold}; and whether there is a next page.
TILES = """() => {
  const rows = new Map();
  for (const link of document.querySelectorAll('a[href*="/listing/"]')) {
    const found = /([0-9a-f]{24})(?:[/?#]|$)/.exec(link.getAttribute("href"));
    if (!found || !link.closest("main, #content")) continue;
    const tile = link.closest(".card, [data-id], .tile") || link;
    const row = rows.get(found[1]) || {id: found[1], title: "", price: null, photo: null, url: link.href};
    const image = tile.querySelector("img");
    row.title = row.title || (tile.querySelector(".tile__title")?.textContent ?? image?.alt ?? "").trim();
    const price = tile.querySelector(".fw--bold, [data-test=tile-price]");
    row.price = row.price ?? (price?.textContent ?? "").trim();
    row.photo = row.photo ?? image?.src ?? null;
    rows.set(found[1], row);
  }
  return {rows: [...rows.values()],
          more: Boolean(document.querySelector('[rel="next"], [data-et-name="pagination_next"]'))};
}"""

#: The drafts that the form itself lists: {id, title, price, photo}.
DRAFTS = """() => [...document.querySelectorAll(
    '.drafts__list-container .tile, [data-test="drafts"] a[href]')]
  .map((tile) => {
    const link = tile.matches("a") ? tile : tile.querySelector("a");
    const found = /([0-9a-f]{24})/.exec((link?.getAttribute("href") ?? "") + " " + (tile.dataset.id ?? ""));
    return found && {id: found[1], title: (tile.querySelector(".tile__title")?.textContent ?? "").trim(),
                     price: tile.querySelector("b")?.textContent ?? null,
                     photo: tile.querySelector("img")?.src ?? null};
  }).filter((row, place, all) => row && all.findIndex((one) => one?.id === row.id) === place)"""

#: The form as it stands. `busy`: a photo is still on its way up.
FORM = """() => {
  const one = (selector) => document.querySelector(selector);
  const value = (selector) => one(selector)?.value ?? null;
  const under = (heading, selector) => [...document.querySelectorAll("section")]
    .find((box) => box.querySelector("h2")?.textContent.trim() === heading)?.querySelector(selector);
  const words = (element) => element?.textContent.trim() ?? null;
  const photos = [...document.querySelectorAll('[data-test="photos"] figure, .photos figure')];
  const from = /\\/posts\\/[0-9/]+\\/([0-9a-f]{24})\\//;
  const ids = photos.map((box) => from.exec(box.querySelector("img")?.src ?? ""));
  return {
    title: value('input[data-vv-name="title"]'),
    description: value('textarea[data-vv-name="description"]'),
    category: words(one(".listing-editor__category-container .dropdown__selector")),
    subcategory: words(one(".listing-editor__subcategory-container .dropdown__selector")),
    quantity: one('input[data-vv-name="quantityAvailable0"]:not([hidden])')?.value
      ?? under("QUANTITY", "input:not([hidden])")?.value ?? "1",
    size: words(one('[data-test="size"]') ?? under("SIZE", '[role="button"]')),
    condition: words(one(".listing-editor__condition-container .dropdown__selector")),
    brand: (one('input[placeholder="Enter the Brand/Designer"]') ?? under("BRAND", "input"))?.value ?? null,
    colors: words(one('[data-et-name="color"]')),
    tags: [...document.querySelectorAll(".listing-editor__tag")].map(words),
    price: value('input[data-vv-name="listingPrice"]'),
    original: value('input[data-vv-name="originalPrice"]'),
    sku: value('input[data-vv-name="sku"]'),
    photos: photos.length, busy: photos.some((box) => box.classList.contains("busy")),
    draft: ids.find(Boolean)?.[1] ?? null,
  };
}"""

#: Whose value or words are what FORM calls so, for where it does not find that.
FIELDS = {
    "title": TITLE, "description": DESCRIPTION, "category": CATEGORY, "subcategory": SUBCATEGORY,
    "size": SIZE, "condition": CONDITION, "brand": BRAND, "colors": COLOR, "price": PRICE, "sku": SKU,
}  # fmt: skip

#: A listing's own page: what it shows, null where it does not.
PAGE = """() => {
  const one = (selector) => document.querySelector(selector)?.textContent.trim() ?? null;
  const many = (selector) => [...document.querySelectorAll(selector)].map((part) => part.textContent.trim());
  const state = window.__INITIAL_STATE__?.["$_listing_details"]?.listingDetails ?? {};
  const sold = document.querySelector(".listing__sold, [data-test=listing-sold]");
  return {
    id: state.id ?? document.querySelector("[data-post-id]")?.dataset.postId ?? null,
    status: state.inventory?.status ?? null, published: state.status ?? null, sold: Boolean(sold),
    title: one("h1.listing__title") ?? one("[data-post-id] h1"), description: one(".listing__description"),
    price: one(".listing__price"), original: one(".listing__original-price"), brand: one(".listing__brand"),
    size: one(".listing__size"), condition: one(".listing__condition"), quantity: one(".listing__quantity"),
    category: many(".listing__categories a"), colors: many(".listing__colors a"),
    tags: many(".listing__tags a"),
    photos: [...document.querySelectorAll(".listing__carousel img")].map((image) => image.src),
    mine: Boolean(document.querySelector('[data-et-name="edit_listing"]')),
    sku: state.seller_private_info ? state.seller_private_info.sku || null : undefined,
  };
}"""


def full_size(photo_url: str) -> str:
    """`…/posts/…/s_0123.jpg` (small) and `m_` (as shown) → `l_`, the large one (NOTES.md)."""
    return re.sub(r"(/posts/.+/)[sm]_([^/]+)$", r"\1l_\2", photo_url)


async def find_owner(page: Page) -> tuple[str | None, str | None]:
    """(uid, handle) in the `ui` cookie, which the site's script may read, too."""
    try:
        ui = json.loads(unquote(await page.cookie("ui") or ""))
        return str(ui["uid"]) or None, str(ui["dh"]) or None
    except (ValueError, KeyError, TypeError):
        return None, None
