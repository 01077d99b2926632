"""Poshmark through its own pages: post, change, look, take down. Each click that a buyer may see the outcome
of is made once; an answer that does not settle it is left to whoever looks afterwards.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from everystall.errors import (
    ListingRejected,
    MarketplaceBusy,
    NotPublished,
    PageChanged,
    SessionExpired,
)
from everystall.marketplaces.base import (
    Account,
    Active,
    Arm,
    Choose,
    Draft,
    Drafted,
    Filled,
    Money,
    PhotoFile,
    Published,
    Sale,
    Sales,
    Seen,
    names_of,
    says_no,
)
from everystall.marketplaces.poshmark import menu
from everystall.marketplaces.poshmark import pages as on
from everystall.marketplaces.poshmark.form import COLORS, DISCOUNTS, LABEL

if TYPE_CHECKING:
    from everystall.browser.page import Page
    from everystall.browser.targets import Target

#: Seconds that all photos together may take to go up, and that the answer to a click may take.
UPLOAD_SECONDS = 90.0
ANSWER_SECONDS = 20.0
#: Seconds for the site to begin a draft once it has the photos.
DRAFT_SECONDS = 10.0
#: Pages of one list that are read when nothing known turns up.
MOST_PAGES = 5
#: The list tells the day only, in a time zone that we do not know.
A_DAY_TO_SPARE = timedelta(days=2)
#: What stands in the price dialog.
_PRICES = ("price", "original_price", "shipping.discount", "specifics.Smart Sell minimum")
_PRICE_DIALOG = (on.LISTING_PRICE, on.ORIGINAL_PRICE, on.SMART_SELL, on.SMART_SELL_MINIMUM, on.DISCOUNT)


class Poshmark:
    """See everystall.marketplaces.base.Adapter."""

    site = on.SITE

    async def find_active(
        self,
        page: Page,
        *,
        known: frozenset[str] = frozenset(),
        look_for: Sequence[str] = ("live", "draft", "sold"),
    ) -> list[Active]:
        """A page load for what is for sale, one for what is sold, and one for the drafts: the form lists
        them, and `publish` goes on in that form without loading it again."""
        handle = await _handle(page)
        lists: tuple[tuple[Literal["live", "sold"], str], ...] = (("live", "available"), ("sold", "sold_out"))
        found: list[Active] = []
        for state, availability in lists:
            if state in look_for:
                found += await _read_closet(page, handle, state, availability, known)
        if "draft" in look_for:
            await page.goto(on.CREATE, ready=on.TITLE)
            found += [_active(page, row, "draft") for row in await page.read(on.DRAFTS)]
        return found

    async def list_active(self, page: Page, number: int) -> tuple[list[Active], bool]:
        return await _read_page(page, await _handle(page), "live", "available", number)

    def full_size(self, photo_url: str) -> str:
        return on.full_size(photo_url)

    async def find_sales(
        self, page: Page, *, known: frozenset[str], since: datetime, whole: bool = False,
        look_for: frozenset[str] = frozenset(),
    ) -> Sales:  # fmt: skip
        """A page load, and one for each order that is not known: the list does not name the listing. All
        orders stay in that list."""
        found = Sales()
        rows, found.cut = await _read_orders(page, known, look_for)
        for row in rows:
            sale = _sale(row)
            sold_at = sale.sold_at or since
            if sale.order_id in known or sold_at < since - A_DAY_TO_SPARE:
                found.append(sale)
            else:
                found += await _read_order(page, sale)
        return found

    async def check_session(self, page: Page) -> Account:
        handle = await _handle(page)
        await _open_closet(page, handle, "available", 1)
        uid, _ = await on.find_owner(page)
        return Account(id=uid, name=handle)

    async def publish(
        self, page: Page, draft: Draft, photos: Sequence[PhotoFile], arm: Arm, drafted: Drafted
    ) -> Published:
        await _open_form(page)
        try:
            options = await _fill(page, draft, photos, drafted)
        except (MarketplaceBusy, PageChanged):
            await page.look_out()  # a message of the site's in front of the form says more
            for said in await page.texts(on.MODAL_BODY):  # one for each photo that did not go up
                if _unclear(said):
                    raise MarketplaceBusy(f"{LABEL} says: {said[:300]}") from None
            raise
        before, acts = await _ready(page, len(photos), on.NEXT_READY), page.acts
        await page.click(on.NEXT_READY)
        await _second_step(page)
        await page.wait_enabled(on.LIST)

        async def read() -> Filled:
            shown = await _form(page)
            if page.acts == acts:  # the second step took the first one's place, or lies in front of it
                now = {name: value for name, value in shown.items() if value is not None}
                shown = before if shown["title"] is None else {**before, **now}
            return _read_back(shown, len(photos), options)

        await arm(read)
        await page.commit(on.LIST)
        return await _answer(page, on.CREATED)

    async def revise(
        self, page: Page, remote_id: str, draft: Draft, photos: Sequence[PhotoFile], choose: Choose, arm: Arm
    ) -> Published:
        if not await _open_editor(page, remote_id):
            raise MarketplaceBusy(f"{LABEL} says that the listing is no longer available.")
        shown = await _form(page)
        names = await choose(Filled(fields=_filled(shown)))
        if not names:
            return Published(remote_id=remote_id)
        if "category" in names:
            names |= {"size"}  # the site forgets it with the category
        if "photos" in names:
            while await page.has(on.REMOVE_PHOTO):
                await page.click(on.REMOVE_PHOTO)
            await _add_photos(page, photos)
        await _write(page, draft, names)
        options = await _choose(page, draft, names)
        many = len(photos) if "photos" in names else shown["photos"]

        async def read() -> Filled:
            return _read_back(await _ready(page, many, on.UPDATE_READY), many, options)

        await arm(read)
        await page.commit(on.UPDATE)
        return await _answer(page, on.UPDATED, on.LIST)

    async def read(self, page: Page, remote_id: str) -> Seen:
        await page.goto(on.listing_path(remote_id))
        try:
            which = await page.first(on.LISTING, on.GONE, on.NOT_FOUND)
        except PageChanged:
            return Seen(state="unknown", url=page.url)
        if which == 1:
            return Seen(state="ended", url=page.url)
        shown = await page.read(on.PAGE) if which == 0 else {}
        if which == 2 or shown["id"] not in (None, remote_id) or not shown["title"]:
            return Seen(state="unknown", url=page.url)
        sold = shown["sold"] or shown["status"] in ("sold_out", "sold")
        if not sold and shown["published"] not in (None, "published"):
            return Seen(state="draft", url=page.url)
        return Seen(
            state="sold" if sold else "live", url=page.url, fields=_seen(shown), photo_urls=shown["photos"]
        )

    async def delist(self, page: Page, remote_id: str) -> None:
        if await _open_editor(page, remote_id):
            await page.click(on.DELETE)
            await page.commit(on.DELETE_YES)
            await _left_the_form(page)

    async def discard_draft(self, page: Page, draft_id: str) -> bool:
        # the id of a draft is the id of the listing: never to be deleted when it went live after all
        await page.goto(on.listing_path(draft_id))
        if await page.first(on.LISTING, on.GONE, on.NOT_FOUND) < 2 or not await _open_editor(page, draft_id):
            return False
        await page.click(on.DELETE)
        await page.click(on.DELETE_DRAFT_YES)
        return await _left_the_form(page)


ADAPTER = Poshmark()


# ---- filling --------------------------------------------------------------------------------------


async def _form(page: Page) -> Mapping[str, Any]:
    return await page.read_form(on.FORM, on.FIELDS)  # type: ignore[no-any-return]


async def _open_form(page: Page) -> None:
    """An empty form: the one that is open, if nothing is in it yet."""
    if re.search(rf"{on.CREATE}/?([?#]|$)", page.url):
        shown = await _form(page)
        if shown["title"] == "" and not shown["photos"] and not await page.has(on.MODAL_TITLE):
            return
    await page.goto(on.CREATE, ready=on.TITLE)


async def _fill(
    page: Page, draft: Draft, photos: Sequence[PhotoFile], drafted: Drafted
) -> dict[str, Any]:  # fmt: skip
    """The whole first step. Returns what the price dialog said before it was closed."""
    if await page.has(on.COOKIES_OK):
        await page.click(on.COOKIES_OK)
    wizard, names = await page.has(on.CONTINUE), names_of(draft)
    if not wizard:
        await _begin_draft(page, photos, drafted)
    await _write(page, draft, names)
    if wizard:
        await page.click(on.CONTINUE)
        await _begin_draft(page, photos, drafted)
    return await _choose(page, draft, names)


async def _write(page: Page, draft: Draft, names: frozenset[str]) -> None:
    """Of these fields, those that are words."""
    if "title" in names:
        await page.fill(on.TITLE, draft.title)
    if "description" in names:
        await page.fill(on.DESCRIPTION, draft.description)
    if "brand" in names:
        await page.fill(on.BRAND, draft.brand or "")
        await page.press(on.BRAND, "Escape")
    if "tags" in names:
        for tag in (await _form(page))["tags"]:
            await page.click(on.REMOVE_TAG.named(name=tag))
        for tag in draft.tags:
            await page.fill(on.TAG, tag)
            await page.press(on.TAG, "Enter")


async def _choose(page: Page, draft: Draft, names: frozenset[str]) -> dict[str, Any]:
    """Of these fields, those that are chosen; and what only the seller sees. Returns what the price dialog
    said, where it was opened."""
    if "category" in names:
        await _choose_category(page, draft.category)
    if "quantity" in names:
        many = int((await _form(page))["quantity"]) > 1
        if draft.quantity > 1:
            await page.click(on.MULTI_ITEM)
            await page.fill(on.QUANTITY, str(draft.quantity))
        elif many:
            await page.click(on.SINGLE_ITEM)
    if "size" in names:
        await _choose_size(page, draft)
    if "condition" in names:
        await page.click(on.CONDITION)
        await page.click(on.CONDITION_ROW.named(name=draft.condition or ""))
    if "colors" in names:
        await _choose_colors(page, draft.colors)
    if "sku" in names:
        if await page.first(on.SKU, on.SHOW_DETAILS) == 1:
            await page.click(on.SHOW_DETAILS)
        await page.fill(on.SKU, draft.sku or "")
    if any(name in _PRICES or name.startswith("options.") for name in names):
        return await _set_price(page, draft, names)
    return {}


async def _choose_colors(page: Page, colors: Sequence[str]) -> None:
    """In their order: the first is the main one, so what is chosen already is taken back before."""
    shown = _colors(await _form(page))
    if not (shown or colors):
        return
    await page.click(on.COLOR)
    for color in (*shown, *colors):
        await page.click(on.COLOR_TILE.named(name=color))


async def _add_photos(page: Page, photos: Sequence[PhotoFile]) -> None:
    """All at once; the crop dialog is confirmed as it stands (nothing is cropped away)."""
    await page.set_files(on.PHOTOS, photos)
    await page.click(on.APPLY)
    await page.wait_gone(on.APPLY)


async def _begin_draft(page: Page, photos: Sequence[PhotoFile], drafted: Drafted) -> None:
    """With the first upload the site has begun a draft, which has no title yet and stands in no list: that it
    is ours, only the address tells to which the photos go."""
    await _add_photos(page, photos)
    end = time.monotonic() + DRAFT_SECONDS
    while time.monotonic() < end:
        refused = await page.has(on.MODAL_TITLE)  # it says why not, and `_ready` reads it
        if (draft_id := page.heard(on.UPLOAD)) is not None:  # after the look: of a refused one too
            await drafted(draft_id)
            return
        if refused:
            return
        await asyncio.sleep(0.1)


async def _choose_category(page: Page, path: Sequence[str]) -> None:
    await page.click(on.CATEGORY)
    department = on.DEPARTMENT.named(name=path[0])
    if not await page.has(department) and await page.has(on.CATEGORY_UP):
        await page.click(on.CATEGORY_UP)
    await page.click(department)
    await page.wait_for(on.CATEGORY_UP)
    row = on.CATEGORY_ROW.named(name=path[1])
    await page.click(row)
    await page.wait_gone(row)
    if len(path) > 2:
        await page.click(on.SUBCATEGORY)
        sub = on.SUBCATEGORY_ROW.named(name=path[2])
        await page.click(sub)
        await page.wait_gone(on.SUBCATEGORY_ROW.named(name="None"))


async def _choose_size(page: Page, draft: Draft) -> None:
    """A button of the panel where there is one, else the site's own "Custom" field."""
    size = draft.size or menu.ONE_SIZE
    if (await _form(page))["size"] == size:
        return
    await page.click(on.SIZE)
    tab = on.SIZE_TAB.named(name=draft.specifics.get("Size tab", "Standard"))
    button = on.SIZE_BUTTON.named(name=size)
    await page.wait_for(on.SIZE_DONE)
    if await page.has(tab):
        await page.click(tab)
    if await page.has(button):
        await page.click(button)
    else:
        await page.click(on.SIZE_TAB.named(name=menu.CUSTOM))
        await page.fill(on.SIZE_CUSTOM, size)
    await page.click(on.SIZE_DONE)
    await page.wait_gone(on.SIZE_DONE)


async def _set_price(page: Page, draft: Draft, names: frozenset[str]) -> dict[str, Any]:
    """Price, original price, what is given towards the postage; and Smart Sell, whichever of them is meant:
    it may be on when the dialog opens."""
    await page.click(on.PRICE)
    if "price" in names:
        await page.fill(on.LISTING_PRICE, str(draft.price.amount // 100))
    if "original_price" in names:
        before = draft.original_price
        await page.fill(on.ORIGINAL_PRICE, str(before.amount // 100) if before else "")
    wanted = draft.options.get("smart_sell", False)
    if await page.is_checked(on.SMART_SELL) != wanted:
        await page.click(on.SMART_SELL_SWITCH)
    if wanted:
        await page.fill(on.SMART_SELL_MINIMUM, draft.specifics["Smart Sell minimum"])
    discount = str(draft.shipping["discount"])
    shown: dict[str, Any] = {"options": {"smart_sell": await page.is_checked(on.SMART_SELL)}}
    if await page.has(on.DISCOUNT):
        if "shipping.discount" in names and DISCOUNTS.get(await page.value(on.DISCOUNT)) != discount:
            await page.select(on.DISCOUNT, discount)
        shown["shipping"] = {"discount": DISCOUNTS.get(await page.value(on.DISCOUNT))}
    elif discount != DISCOUNTS["none"]:
        raise PageChanged(f"{LABEL}'s price dialog has no choice of a shipping discount. Nothing was posted.")
    await page.click(on.PRICE_DONE)
    page.sealed = _PRICE_DIALOG  # what was read in it is not read again
    try:
        await page.wait_gone(on.PRICE_DONE)
    except PageChanged:
        if await page.has(on.PRICE_WRONG):
            raise ListingRejected(f"{LABEL} says: {(await page.text(on.PRICE_WRONG))[:300]}") from None
        raise
    return shown


async def _ready(page: Page, photos: int, button: Target) -> Mapping[str, Any]:
    """The form, once all photos are up and the button can be pressed."""
    end = time.monotonic() + UPLOAD_SECONDS
    while True:
        shown: Mapping[str, Any] = await _form(page)
        if not shown["busy"]:
            break
        if time.monotonic() > end:
            raise MarketplaceBusy(f"{LABEL} did not take the photos in time.")
        await asyncio.sleep(0.1)
    if await page.has(on.MODAL_TITLE):
        await page.look_out()
        raise MarketplaceBusy(f"{LABEL} says: {' '.join(await page.texts(on.MODAL_BODY))[:300]}")
    _all_up(shown, photos)
    await page.wait_for(button)
    return await _form(page)


def _all_up(shown: Mapping[str, Any], photos: int) -> None:
    if shown["photos"] != photos:
        raise MarketplaceBusy(f"{LABEL} took {shown['photos']} of {photos} photos.")


def _read_back(shown: Mapping[str, Any], photos: int, options: Mapping[str, Any]) -> Filled:
    """`options`: what the price dialog said before it was closed."""
    _all_up(shown, photos)
    return Filled(fields={**_filled(shown), **options}, draft_id=shown["draft"])


async def _second_step(page: Page) -> None:
    """From the form to "List This Item"; a message instead says why not."""
    if await page.first(on.LIST, on.MODAL_TITLE, seconds=ANSWER_SECONDS) == 0:
        return
    await page.look_out()
    said = (await page.text(on.MODAL_BODY))[:300]
    if _unclear(said):
        raise MarketplaceBusy(f"{LABEL} says: {said}")
    raise ListingRejected(f"{LABEL} says: {said}")


def _colors(shown: Mapping[str, Any]) -> tuple[str, ...]:
    """Words none of which is a colour ask for one, whatever they are."""
    named = tuple(filter(None, (shown["colors"] or "").split(", ")))
    return named if any(one.lower() in COLORS for one in named) else ()


def _filled(shown: Mapping[str, Any]) -> dict[str, Any]:
    """What the form shows, in the draft's names."""
    category: tuple[str, ...] = (shown["category"] or "",)
    for department in menu.DEPARTMENTS:  # "Women Dresses": one line for both
        if category[0].startswith(f"{department} "):
            category = (department, category[0].removeprefix(f"{department} "))
    sub = shown["subcategory"]
    if sub and not sub.startswith("Select"):
        category = (*category, sub)
    brand = (shown["brand"] or "").strip() or None
    return {
        "title": shown["title"],
        "description": shown["description"],
        "price": _money(shown["price"]),
        "original_price": _money(shown["original"]),
        "quantity": int(shown["quantity"] or 1),
        "category": category,
        "brand": brand,
        "size": shown["size"],
        "condition": shown["condition"],
        "colors": _colors(shown),
        "tags": tuple(shown["tags"]),
        "sku": shown["sku"] or None,
    }


# ---- after the click ------------------------------------------------------------------------------


async def _answer(page: Page, done: str, then: Target | None = None) -> Published:
    """What came of it: the address of what is done, or a message. Nothing known: somebody must look. Never a
    second click on one thing; `then` is another that the site may ask for after the first."""
    end = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < end and not page.gone:
        found = re.search(done, page.url)
        if found:
            return Published(remote_id=found[1], url=f"{page.base_url}{on.listing_path(found[1])}")
        with suppress(MarketplaceBusy):  # the page is just being replaced by the next
            if then is not None and await page.has(then):
                button, then = then, None
                await page.commit(button)
            elif await page.has(on.MODAL_TITLE):
                await page.look_out()
                title, said = await page.text(on.MODAL_TITLE), (await page.text(on.MODAL_BODY))[:300]
                if "draft" in f"{title} {said}".lower():
                    raise NotPublished(f"{LABEL} says: {said}")
                if says_no(said, on.REFUSALS):
                    raise ListingRejected(f"{LABEL} says: {said}")
                return Published(said=said)
        await asyncio.sleep(0.1)
    await page.look_out()
    return Published()


def _unclear(said: str) -> bool:
    """The site's message for anything that went wrong on its side, or on the way: it proves nothing."""
    return bool(re.search(r"cannot currently perform|try again|something went wrong", said, re.IGNORECASE))


async def _open_editor(page: Page, remote_id: str) -> bool:
    """The editor of a listing or a draft; False when the site says that it is gone."""
    await page.goto(on.edit_path(remote_id))
    return await page.first(on.DELETE, on.GONE, seconds=ANSWER_SECONDS) == 0


async def _left_the_form(page: Page) -> bool:
    """Deleting ends on one's closet. Where it does not, the caller's look says what is so."""
    with suppress(MarketplaceBusy):
        await page.wait_url(r"/closet/", seconds=5)
        return True
    return False


# ---- sales ----------------------------------------------------------------------------------------


async def _read_orders(
    page: Page, known: frozenset[str], look_for: frozenset[str]
) -> tuple[list[Mapping[str, Any]], bool]:
    """And does the list go on, with nothing known so far?"""
    found: list[Mapping[str, Any]] = []
    met = False
    for number in range(1, MOST_PAGES + 1):
        await page.goto(on.SALES if number == 1 else f"{on.SALES}?page={number}", ready=on.SALES_SHOWN)
        shown = await page.read(on.ORDERS)
        many = shown["to"] - shown["from"] + 1 if shown["to"] else 0
        if len(shown["rows"]) != many:
            raise PageChanged(f"{LABEL} says that it shows {many} sales, and we find {len(shown['rows'])}.")
        found += shown["rows"]
        shows = {row["id"] for row in shown["rows"]}
        met, look_for = met or not shows.isdisjoint(known), look_for - shows
        if shown["to"] >= shown["of"] or (met and not look_for):
            return found, False
    return found, not met


def _sale(row: Mapping[str, Any]) -> Sale:
    sold_at = None
    with suppress(ValueError):
        sold_at = datetime.strptime(row["date"] or "", "%b %d, %Y").replace(tzinfo=UTC)
    items = row["items"] or ""
    return Sale(
        order_id=row["id"], remote_id=None, title=row["title"], price=_money(row["price"]), sold_at=sold_at,
        quantity=int(items) if items.isdigit() else 1,
        cancelled=bool(re.search(r"cancel", row["status"] or "", re.IGNORECASE)),
    )  # fmt: skip


async def _read_order(page: Page, sale: Sale) -> list[Sale]:
    """An item each of a bundle; of several of one listing, their number."""
    await page.goto(on.order_path(sale.order_id), ready=on.ORDER)
    items = await page.read(on.ORDER_ITEMS)
    if not items:
        raise PageChanged(f"{LABEL}'s page of an order does not say which listing it was.")
    if len(items) == 1:
        return [replace(sale, remote_id=items[0]["id"])]
    return [
        replace(sale, remote_id=one["id"], line=line, quantity=1, title=one["title"] or sale.title,
                price=_money(one["price"]))
        for line, one in enumerate(items)
    ]  # fmt: skip


# ---- reading --------------------------------------------------------------------------------------


async def _handle(page: Page) -> str:
    _, handle = await on.find_owner(page)
    if handle is None:
        raise SessionExpired(f"{LABEL} no longer says who is signed in.")
    return handle


async def _open_closet(page: Page, handle: str, availability: str, number: int) -> None:
    """One's own closet: only a signed-in seller's header leads there, the page itself is public."""
    path = on.closet_path(handle, availability)
    await page.goto(path if number == 1 else f"{path}&page={number}")
    if await page.first(on.MY_CLOSET.named(handle=handle), on.SIGN_IN_LINK) == 1:
        raise SessionExpired(f"{LABEL} asks you to sign in.")


async def _read_closet(
    page: Page, handle: str, state: Literal["live", "sold"], availability: str, known: frozenset[str]
) -> list[Active]:
    found: list[Active] = []
    for number in range(1, MOST_PAGES + 1):
        rows, more = await _read_page(page, handle, state, availability, number)
        found += rows
        if not more or any(row.remote_id in known for row in rows):
            break
    return found


async def _read_page(
    page: Page, handle: str, state: Literal["live", "sold"], availability: str, number: int
) -> tuple[list[Active], bool]:
    await _open_closet(page, handle, availability, number)
    shown = await page.read(on.TILES)
    return [_active(page, row, state) for row in shown["rows"]], shown["more"]


def _active(page: Page, row: Mapping[str, Any], state: Literal["live", "draft", "sold"]) -> Active:
    return Active(
        remote_id=row["id"],
        state=state,
        title=row["title"],
        price=_money(row["price"]),
        url=f"{page.base_url}{on.listing_path(row['id'])}" if state != "draft" else None,
        photo_url=row["photo"],
    )


def _seen(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Names and types of Draft; only what the page shows."""
    fields: dict[str, Any] = {
        "title": shown["title"],
        "description": shown["description"],
        "price": _money(shown["price"]),
        "size": shown["size"],
        "condition": shown["condition"],
        "category": tuple(shown["category"]) or None,
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    fields |= {
        "original_price": _money(shown["original"]),
        "brand": shown["brand"] or None,
        "colors": tuple(shown["colors"]),
        "tags": tuple(shown["tags"]),
    }
    if shown.get("mine") and shown.get("sku") is not None:
        fields["sku"] = shown["sku"]
    return fields


def _money(text: str | None) -> Money | None:
    found = re.search(r"([\d,]+)(?:\.(\d\d?))?", text or "")
    if not found:
        return None
    return Money(amount=int(found[1].replace(",", "")) * 100 + int((found[2] or "0").ljust(2, "0")))
