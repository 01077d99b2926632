"""What Mercari's pages look like: the only file that knows the site. Each source is in NOTES.md.

Nothing here acts: targets are data, and the scripts only read.
"""

from __future__ import annotations

import re

from everystall.browser.targets import Obstacle, Site, Target
from everystall.marketplaces.mercari.form import SIGN_IN_PAGES

SELL = "/sell/"
ACTIVE = "/mypage/listings/active/"
#: Sold and not yet over. A listing that sold since we looked is here; /complete/ holds only older ones.
IN_PROGRESS = "/mypage/listings/in_progress/"
COMPLETE = "/mypage/listings/complete/"
DRAFTS = "/mypage/listings/draft/action-required/"


def item_path(remote_id: str) -> str:
    return f"/us/item/{remote_id}/"


def edit_path(remote_id: str) -> str:
    return f"/sell/edit/{remote_id}/"


SITE = Site(
    obstacles=(
        Obstacle(
            "blocked",
            "Mercari's guard does not let this browser in",
            ('h1:text-is("Sorry, you have been blocked")', "#cf-error-details", "#challenge-running"),
            (r"[?&]__cf_chl_",),
        ),
        Obstacle(
            "captcha",
            "Mercari asks you to show that you are not a robot",
            (
                'iframe[title*="recaptcha challenge" i]',
                'iframe[src*="/recaptcha/"][src*="bframe"]',
                "#captcha",
            ),
            (r"/captcha/?($|\?)",),
        ),
        Obstacle(
            "second_factor",
            "Mercari asks for a code that it sent you",
            ('input[autocomplete="one-time-code"]', 'h1:text-is("Enter verification code")'),
            (r"/login/verif",),
        ),
        Obstacle(
            "login",
            "Mercari asks you to sign in",
            ('form:has(input[type="password"])',),
            SIGN_IN_PAGES,
        ),
        Obstacle(
            "limited",
            "Mercari says that this account has reached its limit",
            (
                '[data-testid="DialogWrapper"]:has-text("active listings"):has-text("limit")',
                '[role="dialog"]:has-text("listing too fast")',
                '[role="dialog"]:has-text("limit of")',
            ),
        ),
        Obstacle(
            "busy",
            "Mercari is having trouble",
            ('h1:text-is("Something went wrong")', 'h1:text-is("We’ll be right back")'),
        ),
    ),
    domains=("mercari.com",),
    parts=(
        "mercdn.net", "google.com", "gstatic.com", "recaptcha.net", "googleapis.com", "cloudflare.com",
    ),
)  # fmt: skip


def _test(intent: str, testid: str, *others: str, **more: object) -> Target:
    return Target(intent, (f'[data-testid="{testid}"]', *others), **more)  # type: ignore[arg-type]


DIALOG = '[data-testid="DialogWrapper"]'

# ---- the sell form --------------------------------------------------------------------------------

TITLE = _test("the listing's title", "Title", "#sellName", 'input[name="sellName"]')
DESCRIPTION = _test("the listing's description", "Description", "#sellDescription")
PHOTOS = _test("the file field for photos", "SellPhotoInput", 'form input[type="file"][multiple]')
PHOTO_DONE = Target(
    "the listing's photos up to number {number}, uploaded",
    (
        '[data-testid="UploadedPhoto"]:has(img) >> nth={place}',
        '[data-testid="PhotoTiles"] img >> nth={place}',
        'img[alt^="Photo "] >> nth={place}',
    ),
    heal=False,
)
PHOTOS_FAILED = Target(
    "the note that photos were not taken",
    ('[data-testid="Toast"]:has-text("could not be uploaded")',
     '[role="status"]:has-text("could not be uploaded")'),
    heal=False,
)  # fmt: skip
WELCOME = Target(
    "the button that closes the welcome dialog",
    ('[data-testid="WelcomeButton"]', '[role="dialog"] >> role=button[name="Get started"i]'),
    heal=False,
)
CATEGORY = _test("the button that opens the category menu", "SellCategoryFieldButton",
                 'role=button[name="Select a category"i]')  # fmt: skip
CATEGORY_STEP = Target(
    "the row “{step}” of the category menu",
    (f'{DIALOG} >> role=button[name="{{step}}"s]', '[role="dialog"] >> role=button[name="{step}"s]'),
)
BRAND = _test("the listing's brand", "Brand", "#sellBrandId")
BRAND_OPTIONS = Target(
    "the brands that Mercari proposes",
    ('[role="listbox"]:visible [role="option"]', '#sellBrandId ~ [role="listbox"] [role="option"]'),
    heal=False,
)
BRAND_OPTION = Target(
    "the brand “{brand}” among those that Mercari proposes",
    ('[role="listbox"] >> role=option[name="{brand}"s]', '[role="option"]:text-is("{brand}")'),
)
BRAND_NONE = _test(
    "the note that no brand matches", "BrandNoResults", 'text="No matching brands"', heal=False
)
NO_BRAND = _test("the choice “No brand / Not sure”", "NoBrandLink",
                 'role=button[name="No brand / Not sure"i]')  # fmt: skip
SIZE = _test("the box that opens the sizes", "Size", "#itemSizeId")
SIZE_OPTION = Target(
    "the size “{size}”",
    ('[data-testid="Size-option"]:text-is("{size}")', 'li[role="option"]:text-is("{size}")'),
)
CONDITION = Target(
    "the condition “{label}”",
    ('[data-testid="Condition{testid}"]', 'label:has(input[name="sellCondition"][id="{number}"])'),
)
#: The site's label → (its number, the end of its test id).
CONDITIONS = {
    "New": ("1", "New"),
    "Like new": ("2", "LikeNew"),
    "Good": ("3", "Good"),
    "Fair": ("4", "Fair"),
    "Poor": ("5", "Poor"),
}
SHIPS_FROM = Target(
    "the button that opens where the parcel is sent from",
    ('[data-testid="ShipsFromAddButton"]', '[data-testid="ShipsFromEditButton"]',
     'section:has-text("Ships from") >> role=button'),
)  # fmt: skip
ZIP = _test("the ZIP code field", "ZipCodeInput", 'input[name="zipCode"]')
ZIP_SAVE = _test("the button that keeps the ZIP code", "ShipsFromSaveButton",
                 '[role="dialog"] >> role=button[name="Save"i]')  # fmt: skip
SHIPPING = _test("the button that opens the shipping label", "SelectShipping",
                 'role=button[name="Select a shipping label"i]')  # fmt: skip
SHIPPING_TIP = _test("the button that closes the packing tip", "ShippingTipButton",
                     '[role="dialog"] >> role=button[name="Got it"i]')  # fmt: skip
POUNDS = _test("the package's pounds", "ItemWeightInPounds", 'input[name="weightPounds"]')
OUNCES = _test("the package's ounces", "ItemWeightInOunces", 'input[name="weightOunces"]')
FITS = {
    True: _test(
        "it fits in a shoebox: yes", "FitsInShoeboxYes", '[role="dialog"] >> role=radio[name="Yes"i]'
    ),
    False: _test("it fits in a shoebox: no", "FitsInShoeboxNo", '[role="dialog"] >> role=radio[name="No"i]'),
}
SIDES = {
    "length_in": _test("the package's length", "InputLength", 'input[name="inputLength"]'),
    "width_in": _test("the package's width", "InputWidth", 'input[name="inputWidth"]'),
    "height_in": _test("the package's height", "InputHeight", 'input[name="inputHeight"]'),
}
WEIGHT_NEXT = _test("the button from the weight to the carriers", "SelectCarrierButton",
                    '[role="dialog"] >> role=button[name="Next"i]')  # fmt: skip
CARRIER = Target(
    "the carrier {carrier}",
    (
        '[data-testid="Carrier-{carrier}"] input',
        '[role="dialog"] input[name="carrier"][value="{carrier}"]',
        '[role="dialog"] >> role=radio[name="{carrier}"i]',
    ),
    heal=False,
)
CARRIER_SAVE = _test("the button that keeps the carrier", "SelectCarrierSaveButton",
                     '[role="dialog"] >> role=button[name="Save"i]')  # fmt: skip
FREE_SHIPPING = {
    "seller": _test("free shipping: yes", "FreeShippingYesButton", 'role=button[name="Yes (Recommended)"i]'),
    "buyer": _test("free shipping: no", "FreeShippingNoButton",
                   'section:has-text("free shipping") >> role=button[name="No"s]'),
}  # fmt: skip
PAYER = _test("the menu of who pays the postage", "ShippingPayerOption",
              '[role="button"]:text-is("Who pays for shipping?")')  # fmt: skip
PAYERS = {
    "buyer": Target("the buyer pays", ('[role="option"]:text-is("Buyer will pay")', 'text="Buyer will pay"')),
    "seller": Target("the seller pays", ('[role="option"]:text-is("I\'ll pay")', 'text="I\'ll pay"')),
}
PRICE = _test("the listing's price", "Price", "#Price", 'input[name="sellPrice"]')
SMART_OFF = _test("the button that turns Smart Pricing off", "SmartPricingTurnOffButton",
                  'section:has-text("Smart Pricing is on") >> role=button[name="Turn off"i]')  # fmt: skip
SMART_ON = _test("the button that turns Smart Pricing on", "SmartPricingButton",
                 'section:has-text("Smart Pricing is off") >> role=button[name="Turn on"i]')  # fmt: skip
SMART_FLOOR = _test("Smart Pricing's floor", "SmartPricingFloorPrice", "#sellMinPriceForAutoPriceDrop")
REMOVE_PHOTO = Target(
    "the button that removes the first photo",
    ('[data-testid="RemovePhotoButton"] >> nth=0', '[aria-label="Remove photo 1"]'),
)
LIST_READY = Target(
    "the button “List”, ready",
    ('[data-testid="ListButton"]:enabled', 'form button[type="submit"]:text-is("List"):enabled'),
    heal=False,
)
LIST = Target(
    "the button “List”",
    ('[data-testid="ListButton"]', 'form button[type="submit"]:text-is("List")'),
    effect="commit",
)

# ---- what the site answers ------------------------------------------------------------------------

ITEM = _test("a listing's own page", "ItemName", "main article h1", heal=False)
ITEM_GONE = _test("the page of a listing that is no more", "ItemNotFound",
                  'h1:text-is("Sorry, this item is no longer available")', heal=False)  # fmt: skip
NOT_EDITABLE = _test("the page of a listing that can no longer be edited", "ItemNotEditable",
                     'h1:text-is("This item can no longer be edited")', heal=False)  # fmt: skip
LISTINGS = _test("my listings", "MyListings", 'h1:text-is("My listings")', heal=False)
LISTING_ROW = Target(
    "a row of that list", ('main a[href*="/item/m"]', 'main a[href*="/sell/edit/m"]'), heal=False
)
NO_LISTINGS = Target(
    "the note that the list has no rows",
    ('main :text-matches("^(Nothing here|No (listings|items))", "i")', 'main [class*="empty" i]'),
    heal=False,
)  # fmt: skip
KEPT_AS_DRAFT = _test("the note that the listing was kept as a draft", "DraftNotice",
                      'h1:text-is("Action required")', heal=False)  # fmt: skip
REFUSED = _test("the reason for which the listing is refused", "SellErrorMessage",
                '[role="alert"].refused:visible', heal=False)  # fmt: skip
#: What REFUSED has to say to mean that nothing was posted (NOTES.md); anything else proves nothing.
REFUSALS = (
    r"^please (select|check|enter|add)\b",
    r"can not be empty",
    r"may be prohibited|counterfeits? can ?not be sold",
)
#: Not what the same kind of note says when all is well ("Your listing was deleted.").
FAILED = Target(
    "the note that something went wrong",
    ('[data-testid="Toast"]:text-matches("went wrong|try again", "i")',
     '[role="status"]:text-matches("went wrong|try again", "i")'),
    heal=False,
)  # fmt: skip

# ---- a listing of mine ----------------------------------------------------------------------------

DELETE = Target(
    "the button that deletes the listing at once",
    ('[data-testid="DeleteButton"]', 'form >> role=button[name="Delete"s]'),
    effect="commit",
)
DELETE_DRAFT = Target("the button that deletes the draft", DELETE.locators, effect="draft", heal=False)

SAVE_READY = Target(
    "the button that saves the changes, ready",
    ('[data-testid="EditSaveButton"]:enabled', 'form button[type="submit"]:enabled'),
    heal=False,
)
SAVE = Target(
    "the button that saves the changes",
    ('[data-testid="EditSaveButton"]', 'form button[type="submit"]'),
    effect="commit",
)

# ---- reading --------------------------------------------------------------------------------------

#: Who is signed in: the id in the link to one's own profile (/u/{id}/).
ACCOUNT = """() => {
  const link = document.querySelector('a[data-testid="ProfileLink"][href*="/u/"], header a[href*="/u/"]');
  const found = link && /\\/u\\/([^/?#]+)/.exec(link.getAttribute("href"));
  return found ? {id: found[1], name: link.textContent.trim() || null} : {id: null, name: null};
}"""

#: The rows of one page of one's own listings, newest first, with what they say beside title and price
#: (`notes`); and whether there is a next page.
ROWS = """() => {
  const rows = new Map();
  const link = /\\/(?:us\\/item|sell\\/edit)\\/(m\\d+)/;
  for (const a of document.querySelectorAll('main a[href*="/item/m"], main a[href*="/sell/edit/m"]')) {
    const id = link.exec(a.getAttribute("href"))?.[1];
    if (!id) continue;
    const row = rows.get(id) ?? {id, title: "", price: null, photo: null, notes: []};
    rows.set(id, row);
    const image = a.querySelector("img");
    if (image) { row.photo = image.src; row.title = row.title || image.alt; }
    let box = a;
    while (box.parentElement && box.parentElement.tagName !== "MAIN") {
      const ids = new Set([...box.parentElement.querySelectorAll("a[href]")]
        .map((other) => link.exec(other.getAttribute("href"))?.[1]).filter(Boolean));
      if (ids.size > 1) break;
      box = box.parentElement;
    }
    row.price = row.price ?? /\\$\\s*([\\d,]+(?:\\.\\d\\d)?)/.exec(
      [...box.querySelectorAll("*")].filter((e) => !e.children.length && /^\\s*\\$/.test(e.textContent))
        .map((e) => e.textContent).join(" "))?.[1] ?? null;
    if (!image && a.textContent.trim()) row.title = a.textContent.trim();
    row.notes = [...box.querySelectorAll("*")].filter((e) => !e.children.length && !e.closest("a"))
      .map((e) => e.textContent.trim()).filter(Boolean);
  }
  return {rows: [...rows.values()], more: !!document.querySelector('a[rel="next"]')};
}"""

#: The form, as it stands.
FORM = """() => {
  const one = (...all) => all.map((s) => document.querySelector(s)).find(Boolean);
  const text = (...all) => one(...all)?.textContent.trim() ?? null;
  const value = (...all) => one(...all)?.value ?? null;
  const under = (heading) => [...document.querySelectorAll("form section")]
    .find((s) => s.querySelector("h2")?.textContent.trim() === heading);
  const button = (heading) => under(heading)?.querySelector("button")?.textContent.trim() ?? null;
  const condition = document.querySelector('input[name="sellCondition"]:checked')
    ?? under("Condition")?.querySelector('input[type="radio"]:checked')
    ?? [...document.querySelectorAll('form input[type="radio"]:checked')].find((e) => /^[1-5]$/.test(e.id));
  const pressed = (id) => !!document.querySelector(`[data-testid="${id}"][aria-pressed="true"]`);
  const boxes = [...document.querySelectorAll('form section [role="button"][aria-haspopup="listbox"]')]
    .filter((e) => e.offsetParent && !/shipping/i.test(e.closest("section").textContent));
  const size = one('[data-testid="Size"]', "#itemSizeId") ?? under("Size")?.querySelector('[role="button"]')
    ?? (boxes.length === 1 ? boxes[0] : null);
  const none = one('[data-testid="NoBrandChosen"]');
  const section = (words) => [...document.querySelectorAll("form section")]
    .find((s) => s.textContent.includes(words))?.textContent ?? "";
  const zips = [...document.querySelectorAll("form section")]
    .filter((s) => !s.querySelector("input, textarea"))
    .map((s) => /(?<!\\d)\\d{5}(?!\\d)/.exec(s.textContent)?.[0]).filter(Boolean);
  const free = [...document.querySelectorAll('form section button[aria-pressed="true"]')]
    .filter((b) => /free shipping/i.test(b.closest("section").textContent)).map((b) => b.textContent.trim());
  const smart = section("Smart Pricing is on") ? true : section("Smart Pricing is off") ? false : null;
  return {
    title: value('[data-testid="Title"]', "#sellName"),
    description: value('[data-testid="Description"]', "#sellDescription"),
    category: text('[data-testid="SellCategoryFieldButton"]') ?? button("Category"),
    brand: value('[data-testid="Brand"]', "#sellBrandId"),
    noBrand: !!none && !none.hidden,
    size: size && size.offsetParent ? size.textContent.trim() : null,
    condition: condition ? condition.id : null,
    zip: text('[data-testid="ShipsFromZip"]')
      ?? /(?<!\\d)\\d{5}(?!\\d)/.exec(section("Ships from"))?.[0] ?? (zips.length === 1 ? zips[0] : null),
    shipping: text('[data-testid="SelectShipping"]') ?? button("Delivery"),
    payer: pressed("FreeShippingYesButton") ? "seller" : pressed("FreeShippingNoButton") ? "buyer"
      : one('[data-testid="ShippingPayerOption"]')?.getAttribute("data-value")
        ?? ({"Buyer will pay": "buyer", "I'll pay": "seller"})[text('[data-testid="ShippingPayerOption"]')]
        ?? (free.length !== 1 ? null : /^yes/i.test(free[0]) ? "seller" : free[0] === "No" ? "buyer" : null),
    price: value('[data-testid="Price"]', "#Price"),
    smart: one('[data-testid="SmartPricingTurnOffButton"]', '[data-testid="SmartPricingFloorPrice"]') ? true
      : one('[data-testid="SmartPricingButton"]') ? false : smart,
    floor: value('[data-testid="SmartPricingFloorPrice"]'),
    photos: document.querySelectorAll('[data-testid="UploadedPhoto"] img, form img[alt^="Photo "]').length,
    wrong: [...document.querySelectorAll('form [role="alert"]')].map((e) => e.textContent.trim())
      .filter(Boolean),
  };
}"""

#: Whose value or words are what FORM calls so, for where it does not find that.
FIELDS = {
    "title": TITLE, "description": DESCRIPTION, "category": CATEGORY, "brand": BRAND,
    "shipping": SHIPPING, "price": PRICE, "floor": SMART_FLOOR,
}  # fmt: skip

#: A listing's own page: what it says of itself, in its data for search engines and in its details.
PAGE = """() => {
  const all = [...document.querySelectorAll('script[type="application/ld+json"]')].flatMap((e) => {
    try { return JSON.parse(e.textContent); } catch { return []; }
  });
  const data = all.find((x) => x["@type"] === "Product") ?? {};
  const offer = [data.offers ?? {}].flat()[0];
  const text = (id) => document.querySelector(`[data-testid="${id}"]`)?.textContent.trim() ?? null;
  const seen = (id) => !!document.querySelector(`[data-testid="${id}"]`);
  const images = [...document.querySelectorAll('[data-testid="ItemPhoto"] img')].map((e) => e.src);
  return {
    id: /\\/item\\/(m\\d+)/.exec(location.pathname)?.[1] ?? null,
    url: location.origin + location.pathname,
    availability: offer.availability ?? null,
    soldBadge: seen("SoldBadge"),
    inactive: seen("InactiveBadge"),
    title: text("ItemName") ?? data.name ?? null,
    description: document.querySelector('[data-testid="ItemDescription"]')?.textContent
      ?? data.description ?? null,
    price: text("ItemPrice") ?? (offer.price != null ? String(offer.price) : null),
    brand: text("ItemDetailsBrand") ?? data.brand?.name ?? null,
    size: text("ItemDetailsSize") ?? data.size ?? null,
    condition: text("ItemDetailsCondition"),
    category: text("ItemDetailsCategory") ?? data.category ?? null,
    shipping: text("ItemDetailsShipping"),
    photos: images.length ? images : [data.image ?? []].flat(),
  };
}"""


def full_size(photo_url: str) -> str:
    """`…/photos/m1_1.jpg?w=1024&h=1024…` without its size (NOTES.md)."""
    return re.sub(r"(/photos/[^?#]+)\?[^#]*", r"\1", photo_url)
