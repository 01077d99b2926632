"""Mercari through its own pages: post, change, look, take down. Each click that a buyer may see the outcome
of is made once; an answer that does not settle it is left to whoever looks afterwards.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from everystall.errors import ListingRejected, MarketplaceBusy, NotPublished, PageChanged
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
    SeenState,
    names_of,
    says_no,
)
from everystall.marketplaces.mercari import pages as on
from everystall.marketplaces.mercari.form import LABEL, REMOTE_ID

if TYPE_CHECKING:
    from everystall.browser.page import Page
    from everystall.browser.targets import Target

#: Seconds that all photos together may take to go up, and that the answer to a click may take.
UPLOAD_SECONDS = 90.0
ANSWER_SECONDS = 15.0
#: Pages of one list that are read when nothing known turns up.
MOST_PAGES = 5


class Mercari:
    """See everystall.marketplaces.base.Adapter."""

    site = on.SITE

    async def find_active(
        self,
        page: Page,
        *,
        known: frozenset[str] = frozenset(),
        look_for: Sequence[str] = ("live", "draft", "sold"),
    ) -> list[Active]:
        """Up to three page loads where each list's first page holds something known or is the last."""
        lists: tuple[tuple[Literal["live", "draft", "sold"], str], ...] = (
            ("live", on.ACTIVE),
            ("sold", on.IN_PROGRESS),
            ("draft", on.DRAFTS),
        )
        found: list[Active] = []
        for state, path in lists:
            if state in look_for:
                found += await _read_list(page, path, state, known)
        return found

    async def list_active(self, page: Page, number: int) -> tuple[list[Active], bool]:
        shown = await _read_page(page, on.ACTIVE, number)
        return [_active(page, row, "live") for row in shown["rows"]], shown["more"]

    def full_size(self, photo_url: str) -> str:
        return on.full_size(photo_url)

    async def find_sales(
        self, page: Page, *, known: frozenset[str], since: datetime, whole: bool = False,
        look_for: frozenset[str] = frozenset(),
    ) -> Sales:  # fmt: skip
        """A page load. One listing is one order, and its rows tell no time."""
        found = Sales()
        for path in (on.IN_PROGRESS, on.COMPLETE) if whole else (on.IN_PROGRESS,):
            rows, cut = await _read_rows(page, path, known, look_for, sure=True)
            found.cut |= cut
            for row in rows:
                cancelled = any(re.search(r"\bcancel", note, re.IGNORECASE) for note in row["notes"])
                found.append(Sale(row["id"], row["id"], row["title"], _money(row["price"]),
                                  cancelled=cancelled))  # fmt: skip
        return found

    async def check_session(self, page: Page) -> Account:
        await page.goto(on.ACTIVE, ready=on.LISTINGS)
        shown = await page.read(on.ACCOUNT)
        return Account(id=shown["id"], name=shown["name"])

    async def publish(
        self, page: Page, draft: Draft, photos: Sequence[PhotoFile], arm: Arm, drafted: Drafted
    ) -> Published:
        """The site begins no draft before the click, so there is none to tell of."""
        await page.goto(on.SELL, ready=on.TITLE)
        if await page.has(on.WELCOME):
            await page.click(on.WELCOME)
        await page.set_files(on.PHOTOS, photos)
        await _fill(page, draft, names_of(draft))
        await _uploaded(page, len(photos))
        await arm(partial(_read_back, page, draft, len(photos), on.LIST_READY))
        await page.commit(on.LIST)
        return await _answer(page)

    async def revise(
        self, page: Page, remote_id: str, draft: Draft, photos: Sequence[PhotoFile], choose: Choose, arm: Arm
    ) -> Published:
        await page.goto(on.edit_path(remote_id))
        if await page.first(on.ITEM_GONE, on.NOT_EDITABLE, on.TITLE, seconds=ANSWER_SECONDS) < 2:
            raise MarketplaceBusy(f"{LABEL} says that the listing can no longer be edited.")
        shown = await _form(page)
        names = await choose(Filled(fields=_filled(shown, draft)))
        if not names:
            return Published(remote_id=remote_id)
        if "category" in names:
            names |= {"size"}  # the site forgets it with the category
        if "price" in names and draft.options.get("smart_pricing"):
            names |= {"specifics.Smart Pricing floor"}  # it may follow the price by itself
        if "photos" in names:
            while await page.has(on.REMOVE_PHOTO):
                await page.click(on.REMOVE_PHOTO)
            await page.set_files(on.PHOTOS, photos)
        await _fill(page, draft, names)
        many = len(photos) if "photos" in names else shown["photos"]
        await _uploaded(page, many)
        await arm(partial(_read_back, page, draft, many, on.SAVE_READY))
        await page.commit(on.SAVE)
        return await _answer(page, remote_id)

    async def read(self, page: Page, remote_id: str) -> Seen:
        await page.goto(on.item_path(remote_id))
        try:
            which = await page.first(on.ITEM_GONE, on.ITEM)
        except PageChanged:
            return Seen(state="unknown", url=page.url)
        if which == 0:
            return Seen(state="ended", url=page.url)
        shown = await page.read(on.PAGE)
        state = _state(shown, remote_id)
        if state == "unknown":
            return Seen(state="unknown", url=page.url)
        return Seen(state=state, url=shown["url"], fields=_seen(shown), photo_urls=tuple(shown["photos"]))

    async def delist(self, page: Page, remote_id: str) -> None:
        await page.goto(on.edit_path(remote_id))
        if await page.first(on.ITEM_GONE, on.NOT_EDITABLE, on.DELETE) < 2:
            return
        await page.commit(on.DELETE)
        await _first_of(page, on.LISTINGS, on.FAILED)

    async def discard_draft(self, page: Page, draft_id: str) -> bool:
        await page.goto(on.edit_path(draft_id))
        if await page.first(on.ITEM_GONE, on.NOT_EDITABLE, on.DELETE_DRAFT) < 2:
            return False
        await page.click(on.DELETE_DRAFT)
        return await _first_of(page, on.LISTINGS, on.FAILED) == 0


ADAPTER = Mercari()


# ---- filling --------------------------------------------------------------------------------------


async def _form(page: Page) -> dict[str, Any]:
    shown: dict[str, Any] = await page.read_form(on.FORM, on.FIELDS)
    if shown["payer"] is None:
        for payer, button in on.FREE_SHIPPING.items():
            if await page.has(button) and await page.attribute(button, "aria-pressed") == "true":
                shown["payer"] = payer
    if shown["smart"] is None:
        is_on, is_off = await page.has(on.SMART_OFF), await page.has(on.SMART_ON)
        if is_on and is_off and page.met(on.SMART_FLOOR):  # one button; this while it is on
            is_on = await page.has(on.SMART_FLOOR)
            is_off = not is_on
        shown["smart"] = is_on if is_on != is_off else None
    return shown


async def _fill(page: Page, draft: Draft, names: frozenset[str]) -> None:
    """All of these fields but the photos."""
    if "title" in names:
        await page.fill(on.TITLE, draft.title)
    if "description" in names:
        await page.fill(on.DESCRIPTION, draft.description)
    if "category" in names:
        await _choose_category(page, draft.category)
    if "brand" in names:
        await _choose_brand(page, draft.brand)
    if "size" in names and draft.size is not None:
        await page.click(on.SIZE)
        await page.click(on.SIZE_OPTION.named(size=draft.size))
    if "condition" in names:
        number, testid = on.CONDITIONS[draft.condition or ""]
        await page.click(on.CONDITION.named(label=draft.condition or "", number=number, testid=testid))
    await _choose_shipping(page, draft.shipping, {name for name in names if name.startswith("shipping.")})
    if "price" in names:
        await page.fill(on.PRICE, _dollars(draft.price.amount))
    if names & {"options.smart_pricing", "specifics.Smart Pricing floor"}:
        await _set_smart_pricing(page, draft)


async def _uploaded(page: Page, photos: int) -> None:
    """Until all are there; one that the site did not take is not waited for."""
    last = on.PHOTO_DONE.named(place=str(photos - 1), number=str(photos))
    if await page.first(last, on.PHOTOS_FAILED, seconds=UPLOAD_SECONDS) == 1:
        await page.look_out()
        raise MarketplaceBusy(f"{LABEL} did not take all of the photos.")


async def _choose_category(page: Page, path: Sequence[str]) -> None:
    await page.click(on.CATEGORY)
    for step in path:
        row = on.CATEGORY_STEP.named(step=step)
        await page.click(row)
        # "Other" stands on several levels: the next is only looked for once this one has gone
        await page.wait_gone(row)


async def _choose_brand(page: Page, brand: str | None) -> None:
    if brand is None:
        await page.click(on.NO_BRAND)
        return
    await page.fill(on.BRAND, brand)
    if await page.first(on.BRAND_OPTIONS, on.BRAND_NONE) == 0:
        same = [name for name in await page.texts(on.BRAND_OPTIONS) if _folded(name) == _folded(brand)]
        if same:
            await page.click(on.BRAND_OPTION.named(brand=same[0].strip()))
            return
    raise ListingRejected(
        f"{LABEL} does not know the brand “{brand}”.",
        action=f"Write the brand as {LABEL} does, or set it to “unbranded” for {LABEL}, and press Retry.",
    )


#: In the dialogs of the parcel: of what is filled in there the form shows only a part once they are closed.
_PARCEL_DIALOGS = (on.ZIP, on.ZIP_SAVE, on.POUNDS, on.OUNCES, *on.FITS.values(), *on.SIDES.values(),
                   on.WEIGHT_NEXT, on.CARRIER_SAVE)  # fmt: skip


async def _choose_shipping(page: Page, shipping: Mapping[str, Any], names: Set[str]) -> None:
    """Of these: where it is sent from, the label, and who pays."""
    if "shipping.ships_from_zip" in names:
        shown = await _form(page)
        if shown["zip"] != shipping["ships_from_zip"]:
            await page.click(on.SHIPS_FROM)
            await page.fill(on.ZIP, shipping["ships_from_zip"])
            await page.click(on.ZIP_SAVE)
    if names - {"shipping.ships_from_zip", "shipping.payer"}:
        await _choose_label(page, shipping)
    page.sealed = _PARCEL_DIALOGS
    if "shipping.payer" in names:
        payer = shipping["payer"]
        if await page.first(on.FREE_SHIPPING[payer], on.PAYER) == 0:
            await page.click(on.FREE_SHIPPING[payer])
        else:
            await page.click(on.PAYER)
            await page.click(on.PAYERS[payer])


async def _choose_label(page: Page, shipping: Mapping[str, Any]) -> None:
    await page.click(on.SHIPPING)
    if await page.first(on.POUNDS, on.SHIPPING_TIP) == 1:
        await page.click(on.SHIPPING_TIP)
    pounds, ounces = divmod(int(shipping["weight_oz"]), 16)
    await page.fill(on.POUNDS, str(pounds))
    await page.fill(on.OUNCES, str(ounces))
    await page.check(on.FITS[bool(shipping["fits_in_shoebox"])], True)
    for name, target in on.SIDES.items():
        if name in shipping:
            await page.fill(target, f"{shipping[name]:g}")
    await page.click(on.WEIGHT_NEXT)
    await page.wait_for(on.CARRIER_SAVE)
    carrier = on.CARRIER.named(carrier=shipping["carrier"])
    if not await page.has(carrier):
        raise ListingRejected(
            f"{LABEL} offers no {shipping['carrier']} label for this package.",
            action="Choose another carrier for it, and press Retry.",
        )
    await page.check(carrier, True)
    await page.click(on.CARRIER_SAVE)


async def _set_smart_pricing(page: Page, draft: Draft) -> None:
    """It is on when the form opens, and lowers the price."""
    wanted = draft.options.get("smart_pricing", False)
    try:
        on_now = await page.first(on.SMART_OFF, on.SMART_ON) == 0
    except PageChanged:  # one button, of which nobody can tell which it is: the field is there while it is on
        if not await page.stands(on.SMART_FLOOR):
            raise
        on_now = True
    page.lacks(on.SMART_ON if on_now else on.SMART_OFF)
    if on_now and not wanted:
        await page.click(on.SMART_OFF)
        page.lacks(on.SMART_OFF)
        await page.stands(on.SMART_ON)  # or by this
    elif wanted and not on_now:
        await page.click(on.SMART_ON)
        page.lacks(on.SMART_ON)
        await page.stands(on.SMART_OFF)
    page.lacks()
    if wanted:
        await page.fill(on.SMART_FLOOR, draft.specifics["Smart Pricing floor"])


async def _ready(page: Page, photos: int, button: Target) -> Mapping[str, Any]:
    """The form, once the button can be pressed. It says itself why it cannot."""
    try:
        await page.wait_for(button)
    except PageChanged:
        wrong = (await _form(page))["wrong"]
        if wrong:
            raise ListingRejected(f"{LABEL} says: {' '.join(wrong)[:300]}") from None
        raise
    shown: Mapping[str, Any] = await _form(page)
    if shown["photos"] != photos:
        raise MarketplaceBusy(f"{LABEL} took {shown['photos']} of {photos} photos.")
    return shown


async def _read_back(page: Page, draft: Draft, photos: int, button: Target) -> Filled:
    return Filled(fields=_filled(await _ready(page, photos, button), draft))


def _filled(shown: Mapping[str, Any], draft: Draft) -> dict[str, Any]:
    """What the form shows, in the draft's names."""
    brand = (shown["brand"] or "").strip() or None
    label = shown["shipping"] or ""
    weight = re.search(r"(\d+) lb (\d+) oz", label)
    conditions = {number: label for label, (number, _) in on.CONDITIONS.items()}
    return {
        "title": shown["title"],
        "description": shown["description"],
        "price": _money(shown["price"]),
        "category": _steps(shown["category"]),
        # Mercari writes a brand its own way ("Levi's" for "levi's"): the same brand
        "brand": draft.brand if brand and draft.brand and _folded(brand) == _folded(draft.brand) else brand,
        "size": shown["size"],
        "condition": conditions.get(shown["condition"]),
        "shipping": {
            "payer": shown["payer"],
            "ships_from_zip": shown["zip"],
            "carrier": label.split(" ", 1)[0] or None,
            "weight_oz": int(weight[1]) * 16 + int(weight[2]) if weight else None,
        },
        "options": {"smart_pricing": shown["smart"]},
        "specifics": {"Smart Pricing floor": shown["floor"]} if shown["smart"] else {},
    }


# ---- after the click ------------------------------------------------------------------------------


async def _answer(page: Page, remote_id: str | None = None) -> Published:
    """What came of it; `remote_id` where the click was on a listing that is known. Nothing known: somebody
    must look. Never a second click."""
    which = await _first_of(page, on.REFUSED, on.KEPT_AS_DRAFT, on.ITEM, on.LISTINGS, on.FAILED)
    if which == 0:
        said = (await page.text(on.REFUSED))[:300]
        if says_no(said, on.REFUSALS):
            raise ListingRejected(f"{LABEL} says: {said}")
        return Published(said=said)
    if which == 1:
        raise NotPublished(f"{LABEL} kept the listing as a draft and asks for something more.")
    found = re.search(REMOTE_ID, page.url)
    if which == 2 and found:
        return Published(remote_id=found[1], url=page.url.split("?")[0])
    if which == 3 and remote_id is not None:
        return Published(remote_id=remote_id)
    return Published()


async def _first_of(page: Page, *targets: Target) -> int | None:
    """Which of them the answer shows, or None. A page that is just changing cannot be looked at: again."""
    end = time.monotonic() + ANSWER_SECONDS
    while (left := end - time.monotonic()) > 0 and not page.gone:
        try:
            return await page.first(*targets, seconds=left)
        except PageChanged:
            return None
        except MarketplaceBusy:
            await asyncio.sleep(0.1)
    return None


# ---- reading --------------------------------------------------------------------------------------


async def _read_list(
    page: Page, path: str, state: Literal["live", "draft", "sold"], known: frozenset[str]
) -> list[Active]:
    rows, _ = await _read_rows(page, path, known)
    return [_active(page, row, state) for row in rows]


def _active(page: Page, row: Mapping[str, Any], state: Literal["live", "draft", "sold"]) -> Active:
    return Active(
        remote_id=row["id"],
        state=state,
        title=row["title"],
        price=_money(row["price"]),
        url=f"{page.base_url}{on.item_path(row['id'])}" if state != "draft" else None,
        photo_url=row["photo"],
    )


async def _read_rows(
    page: Page, path: str, known: frozenset[str], look_for: frozenset[str] = frozenset(), *,
    sure: bool = False,
) -> tuple[list[Mapping[str, Any]], bool]:  # fmt: skip
    """And does the list go on, with nothing known so far? `sure`: PageChanged where it shows neither a row
    nor that it has none."""
    found: list[Mapping[str, Any]] = []
    met = False
    for number in range(1, MOST_PAGES + 1):
        shown = await _read_page(page, path, number, sure=sure)
        found += shown["rows"]
        shows = {row["id"] for row in shown["rows"]}
        met, look_for = met or not shows.isdisjoint(known), look_for - shows
        if not shown["more"] or (met and not look_for):
            return found, False
    return found, not met


async def _read_page(page: Page, path: str, number: int, *, sure: bool = False) -> Mapping[str, Any]:
    await page.goto(path if number == 1 else f"{path}?page={number}", ready=on.LISTINGS)
    if sure:
        await page.first(on.LISTING_ROW, on.NO_LISTINGS)
    return await page.read(on.ROWS)  # type: ignore[no-any-return]


def _state(shown: Mapping[str, Any], remote_id: str) -> SeenState:
    if shown["id"] != remote_id or not shown["title"]:
        return "unknown"
    availability = str(shown["availability"] or "")
    if shown["soldBadge"] or availability.endswith(("SoldOut", "OutOfStock")):
        return "sold"
    if shown["inactive"] or availability.endswith("Discontinued"):
        return "ended"
    return "live" if availability.endswith("InStock") else "unknown"


def _seen(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Names and types of Draft; only what the page shows."""
    fields: dict[str, Any] = {
        "title": shown["title"],
        "description": shown["description"],
        "price": _money(shown["price"]),
        "category": _steps(shown["category"]),
        "size": shown["size"],
        "condition": "New" if shown["condition"] == "New with tags" else shown["condition"],
    }
    fields = {name: value for name, value in fields.items() if value not in (None, ())}
    fields["brand"] = (
        None if shown["brand"] in (None, "", "No brand", "No brand / Not sure") else shown["brand"]
    )
    if shown["shipping"]:
        payer = "seller" if "free" in shown["shipping"].lower() else "buyer"
        fields["shipping"] = {"payer": payer}
    return fields


def _steps(path: str | None) -> tuple[str, ...]:
    return tuple(step.strip() for step in (path or "").split(" > ") if step.strip())


def _money(text: str | None) -> Money | None:
    found = re.search(r"([\d,]+)(?:\.(\d\d?))?", text or "")
    if not found:
        return None
    return Money(amount=int(found[1].replace(",", "")) * 100 + int((found[2] or "0").ljust(2, "0")))


def _dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def _folded(name: str) -> str:
    return " ".join(name.replace("’", "'").split()).casefold()
