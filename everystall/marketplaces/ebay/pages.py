"""What eBay's pages look like: the only file that knows the site. Each source is in NOTES.md.

Nothing here acts: targets are data, and the scripts only read.
"""

from __future__ import annotations

import re

from everystall.browser.targets import Obstacle, Site, Target
from everystall.marketplaces.ebay.form import SIGN_IN_PAGES

PRELIST = "/sl/prelist/identify"
ACTIVE = "/sh/lst/active"
DRAFTS = "/sh/lst/drafts"
ORDERS = "/sh/ord"
#: Addresses that the answer to the click leads to.
LISTED_URL = r"/lstng/success\?(?:.*&)?itemId=(\d{12})\b"
REVIEW_URL = r"/lstng/review\b"
FORM_URL = r"/lstng\?(?:.*&)?draftId=(\d+)"
REVISED_URL = r"/itm/(?:[^/?#]+/)?(\d{12})(?:[/?#]|$)"


def item_path(remote_id: str) -> str:
    return f"/itm/{remote_id}"


def revise_path(remote_id: str) -> str:
    return f"/lstng?mode=ReviseItem&itemId={remote_id}"


SITE = Site(
    obstacles=(
        Obstacle(
            "captcha",
            "eBay asks you to show that you are not a robot",
            (
                'h1:text-matches("^Pardon our interruption", "i")',
                "#captcha_form",
                'iframe[src*="hcaptcha.com"][title*="challenge" i]',
            ),
            (r"/splashui/captcha", r"/captcha/?($|\?)"),
        ),
        Obstacle(
            "second_factor",
            "eBay asks for a code that it sent you",
            ('input[autocomplete="one-time-code"]',),
            (r"/signin/(?:.*/)?(?:2fa|mfa|otp)",),
        ),
        Obstacle(
            "login",
            "eBay asks you to sign in",
            ('form:has(input[type="password"])', 'form:has(input[name="userid"]:visible)'),
            SIGN_IN_PAGES,
        ),
        Obstacle(
            "limited",
            "eBay says that this account has reached its selling limit",
            ('[role="alert"]:has-text("selling limit")', '[role="dialog"]:has-text("selling limit")'),
        ),
        Obstacle(
            "busy",
            "eBay is having trouble",
            ('h1:text-is("Something went wrong")', 'h1:text-is("Service Unavailable")'),
        ),
    ),
    domains=("ebay.com",),
    parts=("ebayimg.com", "ebaystatic.com", "ebaydesc.com", "hcaptcha.com"),
)

DIALOG = '[role="dialog"]'

# ---- before the form ------------------------------------------------------------------------------

CATEGORY = Target(
    "the field in which a category is looked for",
    ('input[aria-label="Enter a category value"]', f'{DIALOG} input:not([type="radio"])'),
)
CATEGORY_CHOICE = Target(
    "the category “{path}”",
    ('role=radio[name="{path}"s]', 'label:text-is("{path}")'),
    heal=False,
)
DONE = Target(
    "the button that takes the category",
    ('role=button[name="Done"s]', f'{DIALOG} >> role=button[name="Next"s]', f"{DIALOG} footer button"),
)
NO_MATCH = Target(
    "the button that goes on without a product of the catalogue",
    ('role=button[name="Continue without match"s]', 'main >> role=button[name="Skip"s]'),
)
CONDITION = Target(
    "the condition “{label}”",
    ('role=radio[name="{label}"s]', 'label:text-is("{label}")'),
    heal=False,
)
CONTINUE = Target(
    "the button that opens the listing form",
    ('role=button[name="Continue to listing"s]', 'main >> role=button[name="Continue"s]'),
    effect="draft",
)

# ---- the listing form -----------------------------------------------------------------------------

TITLE = Target("the listing's title", ('input[name="title"]', 'internal:label="Item title"s'))
PHOTOS = Target("the file field for photos", ('main input[type="file"][multiple]', 'input[type="file"]'))
REMOVE_PHOTO = Target(
    "the button that removes the first photo",
    ("[data-photo] button >> nth=0", 'button[aria-label="Delete photo"] >> nth=0'),
)
CONDITION_CHOSEN = Target(
    "the condition that was chosen before", ('select[name="condition"]', 'internal:label="Item condition"s')
)
DESCRIPTION = Target(
    "the listing's description",
    ('body[contenteditable="true"]', '[contenteditable="true"]'),
    frame='iframe#se-rte-frame__summary, iframe[title="Description"]',
)
PRICE = Target("the listing's price", ('input[name="price"]', 'internal:label="Item price"s'))
QUANTITY = Target("how many there are", ('input[name="quantity"]', 'internal:label="Quantity"s'))
SKU = Target(
    "the custom label",
    ('input[name="customLabel"]', 'internal:label="Custom label (SKU)"s'),
    guess=False,
)
SWITCHES = {
    "offers": Target(
        "whether offers are allowed", ('input[name="bestOfferEnabled"]', 'role=switch[name="Allow offers"s]')
    ),
    "promotion": Target(
        "whether the listing is promoted",
        ('input[name="promotedListing"]', 'role=switch[name="Promoted Listings: general"s]'),
    ),
}
ASPECT = Target(
    "the item specific “{aspect}”",
    (
        'input[name="{input}"]',
        'input[name="search-box-attributes.{aspect}"]',
        'role=combobox[name="{aspect}"s]',
    ),
    heal=False,
)
ASPECT_OPTIONS = Target(
    "what eBay proposes for “{aspect}”",
    (
        '[role="menu"][aria-label="{aspect}"] [role="menuitemradio"]',
        '[role="menu"]:visible [role="menuitemradio"]',
    ),
    heal=False,
)
ASPECT_OPTION = Target(
    "“{value}” for “{aspect}”",
    (
        '[role="menu"][aria-label="{aspect}"] [role="menuitemradio"]:text-is("{value}")',
        '[role="menu"]:visible [role="menuitemradio"]:text-is("{value}")',
    ),
    heal=False,
)
POLICIES = {
    "payment_policy": Target(
        "the payment policy", ('select[name="paymentPolicyId"]', 'internal:label="Payment policy"s')
    ),
    "return_policy": Target(
        "the return policy", ('select[name="returnPolicyId"]', 'internal:label="Return policy"s')
    ),
    "shipping_policy": Target(
        "the shipping policy", ('select[name="shippingPolicyId"]', 'internal:label="Shipping policy"s')
    ),
}
POUNDS = Target("the package's pounds", ('input[name="majorWeight"]', 'internal:label="lb"s'), guess=False)
OUNCES = Target("the package's ounces", ('input[name="minorWeight"]', 'internal:label="oz"s'), guess=False)
SIDES = {
    "length_in": Target(
        "the package's length", ('input[name="packageLength"]', 'internal:label="Length (in.)"s'), guess=False
    ),
    "width_in": Target(
        "the package's width", ('input[name="packageWidth"]', 'internal:label="Width (in.)"s'), guess=False
    ),
    "height_in": Target(
        "the package's depth", ('input[name="packageDepth"]', 'internal:label="Depth (in.)"s'), guess=False
    ),
}
ZIP = Target(
    "where the item is", ('input[name="itemLocationZip"]', 'internal:label="Item location: ZIP code"s')
)
LIST = Target(
    "the button “List it”",
    ('[aria-label="List it"]', '[aria-label="List item"]', 'main >> role=button[name="List it"s]'),
    effect="commit",
)
REVISE = Target(
    "the button that saves the changes",
    ('[aria-label="Revise it"]', 'main >> role=button[name="Revise it"s]', "main button.lstng-list"),
    effect="commit",
)
#: What a message after the click has to say to mean that nothing was listed (NOTES.md); anything else
#: proves nothing.
REFUSALS = (
    r"\bis required\b",
    r"(^|[.:] ?)(add|enter|select) (a|an|the|between)\b",
    r"please choose a value of the list",
    r"may have at most|is too long",
    r"violate our|can't list this item|counterfeit",
)
LISTED = Target(
    "the page that says that the listing is live",
    (".success-page", 'h1:text-matches("^Your listing is (now )?live", "i")'),
    heal=False,
)
REVIEW = Target(
    "the page that says that the listing is being reviewed",
    (".review-page", 'h1:text-matches("being reviewed|on hold", "i")'),
    heal=False,
)

# ---- a listing of mine ----------------------------------------------------------------------------

ITEM = Target("a listing's own page", ("h1.x-item-title__mainTitle", "main article h1"), heal=False)
ITEM_MISSING = Target(
    "eBay's page for what it does not have",
    ('h1:text-matches("looked everywhere", "i")', 'h1:text-is("Page not found")'),
    heal=False,
)
ITEM_OVER = Target(
    "the note that the listing is over",
    (
        '.ux-layout-section--status:text-matches("^This listing (was ended|sold|ended)", "i")',
        'main div:text-matches("^This listing (was ended|sold|ended)", "i")',
    ),
    heal=False,
)
DESCRIPTION_SHOWN = Target(
    "the description as buyers see it",
    ("#ds_div", "body"),
    frame='iframe#desc_ifr, iframe[title*="description of item"]',
    heal=False,
)
END = Target(
    "the button that asks to end the listing",
    (
        'main >> role=button[name="End listing"s]',
        'main >> role=button[name="End item"s]',
        "main button[data-end]",
    ),
    heal=False,
)
END_REASON = Target(
    "the reason “the item is no longer available”",
    (f'{DIALOG} input[value="NotAvailable"]', f"{DIALOG} >> role=radio[name=/no longer available/i]"),
)
END_CONFIRM = Target(
    "the button that ends the listing",
    (f'{DIALOG} >> role=button[name="End listing"s]', f'{DIALOG} >> role=button[name="End item"s]'),
    effect="commit",
)
LISTINGS = Target(
    "the table of the seller's listings", ("main table[data-list]", "main table:has(thead)"), heal=False
)
DELETE_DRAFT = Target(
    "the button that asks to delete the draft {id}",
    (
        'tr[data-id="{id}"] >> role=button[name="Delete draft"s]',
        'tr[data-id="{id}"] >> role=button[name="Delete"s]',
    ),
    heal=False,
)
DELETE_CONFIRM = Target(
    "the button that deletes the draft",
    (f'{DIALOG} >> role=button[name="Delete"s]', f"{DIALOG} .delete-confirm"),
    effect="draft",
    heal=False,
)

# ---- reading --------------------------------------------------------------------------------------

#: Who is signed in: the user name in the link to one's own profile (/usr/{name}).
ACCOUNT = """() => {
  const link = document.querySelector('header a[href*="/usr/"], #gh a[href*="/usr/"]');
  const found = link && /\\/usr\\/([^/?#]+)/.exec(link.getAttribute("href"));
  return found ? decodeURIComponent(found[1]) : null;
}"""

#: The rows of one page of the seller's lists, newest first, and whether there is a next page. Columns are
#: found by their headings; an order's row leads to the item by its link.
ROWS = """() => {
  const table = document.querySelector("main table[data-list]") ?? document.querySelector("main table");
  const heads = [...(table?.querySelectorAll("thead th") ?? [])].map((e) => e.textContent.trim());
  const at = (pattern) => heads.findIndex((text) => pattern.test(text));
  const sku = at(/custom label|sku|your own label/i), price = at(/price|sold for/i);
  const quantity = at(/available/i);
  const text = (cell) => cell?.textContent.trim() || null;
  const rows = [];
  for (const row of table?.querySelectorAll("tbody tr[data-id]") ?? []) {
    const link = row.querySelector('a[href*="/itm/"], a[href*="draftId="]');
    const item = /\\/itm\\/(?:[^/?#]+\\/)?(\\d{12})/.exec(link?.getAttribute("href") ?? "");
    const titled = [...row.querySelectorAll('a[href*="/itm/"], a[href*="draftId="]')]
      .find((a) => a.textContent.trim());
    rows.push({
      id: item?.[1] ?? row.dataset.id,
      title: titled?.textContent.trim() ?? "",
      sku: text(row.querySelector(".hub-sku") ?? row.cells[sku]),
      price: text(row.querySelector(".hub-price") ?? row.cells[price]),
      quantity: text(row.querySelector(".hub-quantity") ?? row.cells[quantity]),
      photo: row.querySelector("img")?.src ?? null,
    });
  }
  return {rows, more: !!document.querySelector('a[rel="next"]')};
}"""

#: The rows of one page of the seller's orders, newest first, an item each, and whether there is a next page.
SALES = """() => {
  const table = document.querySelector("main table[data-list]") ?? document.querySelector("main table");
  const heads = [...(table?.querySelectorAll("thead th") ?? [])].map((e) => e.textContent.trim());
  const at = (pattern) => heads.findIndex((text) => pattern.test(text));
  const rows = [];
  let unread = 0;
  for (const row of table?.querySelectorAll("tbody tr") ?? []) {
    const link = row.querySelector('a[href*="orderid=" i]');
    const order = row.dataset.orderId ?? /[?&]orderid=([^&#]+)/i.exec(link?.getAttribute("href") ?? "")?.[1];
    const titled = [...row.querySelectorAll('a[href*="/itm/"]')];
    const item = /\\/itm\\/(?:[^/?#]+\\/)?(\\d{12})/.exec(titled[0]?.getAttribute("href") ?? "")?.[1];
    if (!order || !item) { unread += row.cells.length > 1; continue; }
    const cell = (selector, pattern) =>
      (row.querySelector(selector) ?? row.cells[at(pattern)])?.textContent.trim() ?? null;
    rows.push({
      order, item, title: titled.map((a) => a.textContent.trim()).find(Boolean) ?? "",
      quantity: cell(".hub-quantity", /quantity|qty/i), price: cell(".hub-price", /sold for|price|total/i),
      date: cell(".hub-date", /date sold|date/i), status: cell(".hub-status", /status/i),
    });
  }
  return {rows, unread, more: !!document.querySelector('a[rel="next"]')};
}"""

#: How far the photos are.
UPLOADS = """() => {
  const own = [...document.querySelectorAll("main .uploader-note")];
  const any = [...document.querySelectorAll("main section [role=alert]")];
  const note = [...own, ...any.filter((e) => /photo|upload/i.test(e.textContent))]
    .filter((e) => e.offsetParent && e.textContent.trim()).map((e) => e.textContent.trim())[0];
  return {
    done: document.querySelectorAll("[data-photo] img").length,
    busy: document.querySelectorAll('main section [aria-busy="true"]').length,
    note: note ?? null,
  };
}"""

#: The form, as it stands; the description is in a frame of its own.
FORM = """() => {
  const one = (name) => document.querySelector(`[name="${name}"]`);
  const value = (name) => one(name)?.value.trim() ?? null;
  const chosen = (name) => one(name)?.selectedOptions?.[0]?.textContent.trim() ?? null;
  const names = (name) => [...(one(name)?.options ?? [])].map((e) => e.textContent.trim()).filter(Boolean);
  const aspects = {};
  for (const input of document.querySelectorAll('input[name^="search-box-attributes"]')) {
    aspects[input.name.slice("search-box-attributes".length).replace(/^\\./, "")] = input.value.trim();
  }
  const policies = {payment_policy: "paymentPolicyId", return_policy: "returnPolicyId",
                    shipping_policy: "shippingPolicyId"};
  const each = (read) =>
    Object.fromEntries(Object.entries(policies).map(([ours, name]) => [ours, read(name)]));
  return {
    title: value("title"),
    price: value("price"),
    quantity: value("quantity"),
    sku: value("customLabel"),
    category: document.querySelector("main .category-path")?.textContent.trim() ?? null,
    condition: chosen("condition"),
    aspects,
    offers: one("bestOfferEnabled")?.checked ?? null,
    promotion: one("promotedListing")?.checked ?? null,
    policies: each(chosen),
    offered: each(names),
    pounds: value("majorWeight"),
    ounces: value("minorWeight"),
    length_in: value("packageLength"),
    width_in: value("packageWidth"),
    height_in: value("packageDepth"),
    zip: value("itemLocationZip"),
    photos: document.querySelectorAll("[data-photo] img").length,
  };
}"""

#: Whose value is what FORM calls so, for where it does not find that.
FIELDS = {
    "title": TITLE, "price": PRICE, "quantity": QUANTITY, "sku": SKU, "condition": CONDITION_CHOSEN,
    "offers": SWITCHES["offers"], "promotion": SWITCHES["promotion"], "pounds": POUNDS, "ounces": OUNCES,
    "zip": ZIP, **SIDES,
}  # fmt: skip

#: What the page warns of now.
ALERTS = """() => [...document.querySelectorAll('main [role="alert"], [role="dialog"] [role="alert"]')]
  .filter((e) => e.offsetParent)
  .map((e) => ([...e.querySelectorAll("li")].map((li) => li.textContent.trim()).join(" ")
               || e.textContent.trim()))
  .filter(Boolean)"""

#: A listing's own page: what it says of itself, in its parts and in its data for search engines.
PAGE = """() => {
  const all = [...document.querySelectorAll('script[type="application/ld+json"]')].flatMap((e) => {
    try { return JSON.parse(e.textContent); } catch { return []; }
  });
  const data = all.find((x) => x["@type"] === "Product") ?? {};
  const offer = [data.offers ?? {}].flat()[0];
  const text = (...all) =>
    all.map((s) => document.querySelector(s)).find(Boolean)?.textContent.trim() ?? null;
  const over = [...document.querySelectorAll("main div")].filter((e) => !e.querySelector("div"))
    .map((e) => e.textContent.trim()).find((t) => /^This listing (was ended|sold|ended)/i.test(t)) ?? null;
  const specifics = {};
  for (const row of document.querySelectorAll(".ux-labels-values, main section table tr")) {
    const [name, value] = [row.querySelector(".ux-labels-values__labels, th"),
                           row.querySelector(".ux-labels-values__values, td")];
    if (name && value) specifics[name.textContent.trim().replace(/:$/, "")] = value.textContent.trim();
  }
  const images = [...document.querySelectorAll(".ux-image-carousel img")].map((e) => e.src).filter(Boolean);
  const amount = text(".x-price-primary") ?? (offer.price != null ? String(offer.price) : null);
  return {
    id: /\\/itm\\/(?:[^/?#]+\\/)?(\\d{12})/.exec(location.pathname)?.[1] ?? null,
    url: location.origin + location.pathname,
    over,
    availability: offer.availability ?? null,
    title: text("h1.x-item-title__mainTitle", "main article h1") ?? data.name ?? null,
    price: amount,
    offers: [...document.querySelectorAll("main article *")]
      .some((e) => !e.children.length && /^or best offer$/i.test(e.textContent.trim())),
    condition: text(".x-item-condition-text") ?? specifics.Condition ?? null,
    quantity: text(".x-quantity__availability"),
    shipping: text(".x-shipping", ".ux-labels-values--shipping .ux-labels-values__values"),
    category: [...document.querySelectorAll('nav[aria-label="Breadcrumb" i] li')]
      .map((e) => e.textContent.trim()),
    specifics,
    photos: [...new Set(images.length ? images : [data.image ?? []].flat())],
  };
}"""


def full_size(photo_url: str) -> str:
    """`…/s-l500.jpg` → `…/s-l1600.jpg`, the largest that is served (NOTES.md)."""
    return re.sub(r"/s-l\d+(\.\w+)$", r"/s-l1600\1", photo_url)
