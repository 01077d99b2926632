"""eBay through its own pages: post, change, look, take down. Each click that a buyer may see the outcome of
is made once; an answer that does not settle it is left to whoever looks afterwards.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
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
from everystall.marketplaces.ebay import pages as on
from everystall.marketplaces.ebay.form import COLOR_ASPECTS, LABEL, POLICIES, SIZE_ASPECTS, UNBRANDED, dollars

if TYPE_CHECKING:
    from everystall.browser.page import Page
    from everystall.browser.targets import Target

#: Seconds that all photos together may take to go up, and that the answer to a click may take.
UPLOAD_SECONDS = 120.0
ANSWER_SECONDS = 15.0
#: Seconds between two looks for what the page is still busy with.
LOOK = 0.1
#: How often the drafts are read, a second apart, until one that was deleted is not among them any more.
LOOKS_FOR_DRAFT = 3
#: Pages of one list that are read when nothing known turns up.
MOST_PAGES = 5
#: "Jul 8, 2026 at 3:04pm PST", or the day alone.
_MOMENT = (
    r"(?P<day>[A-Z][a-z]{2} \d{1,2}, \d{4})(?:,? (?:at )?(?P<time>\d{1,2}:\d\d[ap]m))?(?: (?P<zone>P[SD]T))?"
)


class Ebay:
    """See everystall.marketplaces.base.Adapter."""

    site = on.SITE

    async def find_active(
        self,
        page: Page,
        *,
        known: frozenset[str] = frozenset(),
        look_for: Sequence[str] = ("live", "draft", "sold"),
    ) -> list[Active]:
        """Up to three page loads where each list's first page holds something known or is the last. What is
        partly sold stands in two lists; it is live."""
        lists: tuple[tuple[Literal["live", "draft", "sold"], str], ...] = (
            ("live", on.ACTIVE),
            ("sold", on.ORDERS),
            ("draft", on.DRAFTS),
        )
        found: dict[str, Active] = {}
        for state, path in lists:
            if state in look_for:
                for row in await _read_list(page, path, state, known):
                    found.setdefault(row.remote_id, row)
        return list(found.values())

    async def list_active(self, page: Page, number: int) -> tuple[list[Active], bool]:
        return await _read_page(page, on.ACTIVE, "live", number)

    def full_size(self, photo_url: str) -> str:
        return on.full_size(photo_url)

    async def find_sales(
        self, page: Page, *, known: frozenset[str], since: datetime, whole: bool = False,
        look_for: frozenset[str] = frozenset(),
    ) -> Sales:  # fmt: skip
        """A page load; orders stay in that list for long."""
        rows: list[Mapping[str, Any]] = []
        met = more = False
        for number in range(1, MOST_PAGES + 1):
            await page.goto(_page_of(on.ORDERS, number), ready=on.LISTINGS)
            shown = await page.read(on.SALES)
            if shown["unread"]:
                raise PageChanged(f"{LABEL}'s list of orders has rows that do not say what was sold.")
            rows += shown["rows"][_repeated(rows, shown["rows"]) :]
            shows, more = {row["order"] for row in shown["rows"]}, shown["more"]
            met, look_for = met or not shows.isdisjoint(known), look_for - shows
            if (met and not look_for) or not more:
                break
        lines = Counter[str]()
        found = Sales()
        for row in rows:
            found.append(_sale(row, line=lines[row["order"]]))
            lines[row["order"]] += 1
        found.cut, found.ended = more and not met, not more
        return found

    async def check_session(self, page: Page) -> Account:
        await page.goto(on.ACTIVE, ready=on.LISTINGS)
        # a name, not an id: the seller may change it
        return Account(id=None, name=await page.read(on.ACCOUNT))

    async def publish(
        self, page: Page, draft: Draft, photos: Sequence[PhotoFile], arm: Arm, drafted: Drafted
    ) -> Published:
        await _begin(page, draft, drafted)
        await page.set_files(on.PHOTOS, photos)
        await _fill(page, draft, names_of(draft))
        await arm(partial(_read_back, page, draft, len(photos)))
        before = frozenset(await page.read(on.ALERTS))
        await page.commit(on.LIST)
        return await _answer(page, before, on.LISTED_URL)

    async def revise(
        self, page: Page, remote_id: str, draft: Draft, photos: Sequence[PhotoFile], choose: Choose, arm: Arm
    ) -> Published:
        await page.goto(on.revise_path(remote_id))
        if await page.first(on.ITEM_MISSING, on.TITLE, seconds=ANSWER_SECONDS) == 0:
            raise MarketplaceBusy(f"{LABEL} has no form for the listing any more.")
        await _described(page)
        names = await choose(await _read_form(page, draft))
        if not names:
            return Published(remote_id=remote_id)
        many = (await page.read(on.FORM))["photos"]
        if "photos" in names:
            many = len(photos)
            while await page.has(on.REMOVE_PHOTO):
                await page.click(on.REMOVE_PHOTO)
            await page.set_files(on.PHOTOS, photos)
        await _fill(page, draft, names)
        await arm(partial(_read_back, page, draft, many))
        before = frozenset(await page.read(on.ALERTS))
        await page.commit(on.REVISE)
        return await _answer(page, before, on.REVISED_URL)

    async def read(self, page: Page, remote_id: str) -> Seen:
        await page.goto(on.item_path(remote_id))
        try:
            which = await page.first(on.ITEM_MISSING, on.ITEM)
        except PageChanged:
            return Seen(state="unknown", url=page.url)
        shown = await page.read(on.PAGE)
        state = _state(shown, remote_id) if which == 1 else "unknown"
        if state == "unknown":
            return Seen(state="unknown", url=page.url)
        description = None
        with suppress(PageChanged):
            description = await page.text(on.DESCRIPTION_SHOWN)
        return Seen(
            state=state, url=shown["url"], fields=_seen(shown, description), photo_urls=tuple(shown["photos"])
        )

    async def delist(self, page: Page, remote_id: str) -> None:
        await page.goto(on.item_path(remote_id))
        if await page.first(on.ITEM_MISSING, on.ITEM_OVER, on.END) < 2:
            return
        await page.click(on.END)
        await page.check(on.END_REASON, True)
        await page.commit(on.END_CONFIRM)
        await _ended(page, on.END_CONFIRM)

    async def discard_draft(self, page: Page, draft_id: str) -> bool:
        button = on.DELETE_DRAFT.named(id=draft_id)
        for number in range(1, MOST_PAGES + 1):
            await page.goto(_page_of(on.DRAFTS, number), ready=on.LISTINGS)
            if await page.has(button):
                await page.click(button)
                await page.click(on.DELETE_CONFIRM)
                if not await _ended(page, on.DELETE_CONFIRM):
                    return False
                for _ in range(LOOKS_FOR_DRAFT):
                    await page.goto(_page_of(on.DRAFTS, number), ready=on.LISTINGS)
                    if not await page.has(button):
                        return True
                    await asyncio.sleep(1)
                return False
            if not (await page.read(on.ROWS))["more"]:
                break
        return False


ADAPTER = Ebay()


# ---- filling --------------------------------------------------------------------------------------


async def _begin(page: Page, draft: Draft, drafted: Drafted) -> None:
    """Category, match and condition: at the end the site has made a draft and shows its form."""
    await page.goto(on.PRELIST, ready=on.CATEGORY)
    path = " > ".join(draft.category)
    choice = on.CATEGORY_CHOICE.named(path=path)
    words = (" ".join(draft.category[-2:]), path)
    for last, text in enumerate(words, start=1):
        await page.fill(on.CATEGORY, text)
        try:
            await page.wait_for(choice)
            break
        except PageChanged:
            if last == len(words):
                raise
    await page.check(choice, True)
    await page.wait_url(r"[?&]caty=\d+")
    await page.click(on.DONE)
    await page.click(on.NO_MATCH)
    await page.check(on.CONDITION.named(label=draft.condition or ""), True)
    await page.click(on.CONTINUE)
    try:
        await page.wait_url(on.FORM_URL)
    finally:  # also where its form does not come any more, the draft is there
        draft_id = page.heard(on.FORM_URL) or _draft_id(page)
        if draft_id is not None:
            await drafted(draft_id)
    await _settled(page, on.TITLE)


async def _settled(page: Page, target: Target) -> None:
    """The page that is just coming cannot be looked at yet: again."""
    try:
        await page.wait_for(target)
    except MarketplaceBusy:
        await page.wait_for(target)


async def _fill(page: Page, draft: Draft, names: frozenset[str]) -> None:
    """All of these fields but the photos. Brand, size and colours are among the specifics; a new listing's
    category and condition are chosen before there is a form."""
    shown = await page.read_form(on.FORM, on.FIELDS)
    for name, (target, text) in _texts(draft).items():
        if name in names:
            await page.fill(target, text)
    if "condition" in names and shown["condition"] != draft.condition:
        await page.select(on.CONDITION_CHOSEN, draft.condition or "")
    for name in shown["aspects"]:
        if f"specifics.{name}" in names:
            await _choose(page, name, draft.specifics.get(name))
    for name, switch in on.SWITCHES.items():
        if f"options.{name}" in names:
            await page.check(switch, draft.options.get(name, False))
    await _fill_shipping(page, draft.shipping, names, shown["offered"])


def _texts(draft: Draft) -> dict[str, tuple[Target, str]]:
    return {
        "title": (on.TITLE, draft.title),
        "sku": (on.SKU, draft.sku or ""),
        "description": (on.DESCRIPTION, draft.description),
        "price": (on.PRICE, dollars(draft.price.amount)),
        "quantity": (on.QUANTITY, str(draft.quantity)),
    }


async def _fill_shipping(
    page: Page, shipping: Mapping[str, Any], names: frozenset[str], offered: Mapping[str, Sequence[str]]
) -> None:
    policies = {name: on.POLICIES[name] for name in on.POLICIES if f"shipping.{name}" in names}
    await _choose_policies(page, shipping, policies, offered)
    if "shipping.weight_oz" in names:
        ounces = shipping.get("weight_oz")
        pounds, rest = divmod(int(ounces), 16) if ounces is not None else ("", "")
        await page.fill(on.POUNDS, str(pounds))
        await page.fill(on.OUNCES, str(rest))
    for name, target in on.SIDES.items():
        if f"shipping.{name}" in names:
            side = shipping.get(name)
            await page.fill(target, "" if side is None else f"{side:g}")
    if "shipping.ships_from_zip" in names:
        await page.fill(on.ZIP, shipping["ships_from_zip"])


async def _described(page: Page) -> None:
    """Until the description is in its frame, which comes by itself: what is live has one."""
    end = time.monotonic() + ANSWER_SECONDS
    while not (await page.text(on.DESCRIPTION)).strip():
        if time.monotonic() > end:
            raise PageChanged(f"{LABEL}'s form does not show the description.")
        await asyncio.sleep(LOOK)


async def _read_form(page: Page, draft: Draft) -> Filled:
    shown = await page.read_form(on.FORM, on.FIELDS)
    description = await page.text(on.DESCRIPTION)
    missing = [f"specifics.{name}" for name in draft.specifics if name not in shown["aspects"]]
    return Filled(
        _filled(shown, description, draft), draft_id=_draft_id(page), missing=missing,
        policies=shown["offered"],
    )  # fmt: skip


async def _read_back(page: Page, draft: Draft, photos: int) -> Filled:
    await _uploaded(page, photos)
    return await _read_form(page, draft)


async def _choose(page: Page, name: str, value: str | None) -> None:
    """An item specific: eBay's own word where it has one, else the seller's, where eBay takes one."""
    field = on.ASPECT.named(aspect=name, input=_input_name(name))
    if value is None:
        await page.fill(field, "")
        await page.press(field, "Enter")
        return
    options = on.ASPECT_OPTIONS.named(aspect=name)
    await page.click(field)
    await page.first(options, field)
    before = await page.texts(options)
    await page.fill(field, value)
    end = time.monotonic() + 1.5
    while True:
        listed = [text.strip() for text in await page.texts(options)]
        same = [text for text in listed if _folded(text) == _folded(value)]
        own = [text for text in listed if _folded(text) == f"add “{_folded(value)}”"]
        if same or own:
            await page.click(on.ASPECT_OPTION.named(aspect=name, value=(same or own)[0]))
            return
        if time.monotonic() > end:
            break
        await asyncio.sleep(LOOK)
    await page.look_out()
    if not before:
        raise PageChanged(f"{LABEL} proposes nothing for “{name}”.")
    raise ListingRejected(
        f"{LABEL} takes no “{value}” for “{name}”.",
        action=f"Set “{name}” for {LABEL} to a value of its own list, and press Retry.",
    )


async def _choose_policies(
    page: Page,
    wanted: Mapping[str, Any],
    policies: Mapping[str, Target],
    offered: Mapping[str, Sequence[str]],
) -> None:
    for name, target in policies.items():
        await page.wait_for(target)
        if wanted[name] not in offered[name]:
            some = ", ".join(offered[name][:10]) or "none"
            raise ListingRejected(
                f"This {LABEL} account has no {POLICIES[name]} policy “{wanted[name]}”; it has {some}.",
                action=f"Choose another {POLICIES[name]} policy for {LABEL}, then Retry.",
                policies=dict(offered),
            )
        await page.select(target, wanted[name])


async def _uploaded(page: Page, photos: int) -> None:
    """Until all are there; one that was refused is not waited for."""
    end = time.monotonic() + UPLOAD_SECONDS
    while True:
        up = await page.read(on.UPLOADS)
        if up["done"] == photos:
            return
        if up["done"] > photos or (up["note"] and not up["busy"]) or time.monotonic() > end:
            await page.look_out()
            raise MarketplaceBusy(f"{LABEL} took {up['done']} of {photos} photos.")
        await page.look_out()
        await asyncio.sleep(LOOK)


def _filled(shown: Mapping[str, Any], description: str, draft: Draft) -> dict[str, Any]:
    """What the form shows, in the draft's names. What a category has no field for is not shown; it is in
    `Filled.missing`."""
    specifics: dict[str, str | None] = {}
    for name, value in shown["aspects"].items():
        meant = draft.specifics.get(name)
        # eBay writes a brand its own way ("Levi's" for "levi's"): the same brand
        specifics[name] = meant if meant and _folded(meant) == _folded(value) else value or None
    shipping: dict[str, Any] = {**shown["policies"], "ships_from_zip": shown["zip"]}
    if shown["pounds"] or shown["ounces"]:
        shipping["weight_oz"] = _whole(shown["pounds"]) * 16 + _whole(shown["ounces"])
    shipping |= {
        name: float(shown[name]) for name in on.SIDES if re.fullmatch(r"\d+(\.\d+)?", shown[name] or "")
    }
    return {
        "title": shown["title"],
        "description": description,
        "price": _money(shown["price"]),
        "quantity": int(shown["quantity"]) if (shown["quantity"] or "").isdigit() else shown["quantity"],
        "category": _steps(shown["category"]),
        "condition": shown["condition"],
        "sku": shown["sku"] or None,
        "shipping": shipping,
        "options": {"offers": shown["offers"], "promotion": shown["promotion"]},
        **_named(specifics),
        "specifics": specifics,
    }


def _draft_id(page: Page) -> str | None:
    found = re.search(on.FORM_URL, page.url)
    return found[1] if found else None


# ---- after the click ------------------------------------------------------------------------------


async def _answer(page: Page, before: frozenset[str], done: str) -> Published:
    """What came of it: the address of what is done, or a message. Nothing known: somebody must look. Never a
    second click."""
    end = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < end and not page.gone:
        found = re.search(done, page.url)
        if found:
            return Published(remote_id=found[1], url=f"{page.base_url}{on.item_path(found[1])}")
        try:
            if re.search(on.REVIEW_URL, page.url) or await page.has(on.REVIEW):
                raise NotPublished(f"{LABEL} holds the listing back for a review; it is not for sale yet.")
            said = [text for text in await page.read(on.ALERTS) if text not in before]
            await page.look_out()
            if said:
                words = " ".join(said)[:300]
                if says_no(words, on.REFUSALS):
                    raise ListingRejected(f"{LABEL} says: {words}")
                return Published(said=words)
        except (MarketplaceBusy, PageChanged):
            pass  # a page that is just changing cannot be looked at
        await asyncio.sleep(LOOK)
    return Published()


async def _ended(page: Page, confirm: Target) -> bool:
    """Until the dialog has gone or says something. Did it go? What came of it is for whoever looks."""
    end = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < end and not page.gone:
        with suppress(MarketplaceBusy, PageChanged):
            if not await page.has(confirm):
                return True
            if await page.read(on.ALERTS):
                return False
        await asyncio.sleep(LOOK)
    return False


# ---- reading --------------------------------------------------------------------------------------


def _repeated(rows: Sequence[Any], shown: Sequence[Any]) -> int:
    """So many of a page's first rows are the last ones of the page before: new orders pushed them on."""
    most = min(len(rows), len(shown))
    return next((many for many in range(most, 0, -1) if rows[-many:] == shown[:many]), 0)


async def _read_list(
    page: Page, path: str, state: Literal["live", "draft", "sold"], known: frozenset[str]
) -> list[Active]:
    found: list[Active] = []
    for number in range(1, MOST_PAGES + 1):
        rows, more = await _read_page(page, path, state, number)
        found += rows
        if not more or any(row.remote_id in known for row in rows):
            break
    return found


async def _read_page(
    page: Page, path: str, state: Literal["live", "draft", "sold"], number: int
) -> tuple[list[Active], bool]:
    await page.goto(_page_of(path, number), ready=on.LISTINGS)
    shown = await page.read(on.ROWS)
    rows = [
        Active(
            remote_id=row["id"],
            state=state,
            title=row["title"],
            price=_money(row["price"]),
            url=f"{page.base_url}{on.item_path(row['id'])}" if state != "draft" else None,
            sku=row["sku"],
            photo_url=row["photo"],
            quantity=int(row["quantity"]) if (row["quantity"] or "").isdigit() else None,
        )
        for row in shown["rows"]
    ]
    return rows, shown["more"]


def _sale(row: Mapping[str, Any], line: int) -> Sale:
    quantity, moment = row["quantity"] or "", re.search(_MOMENT, row["date"] or "")
    sold_at, exact = None, False
    if moment:
        exact = bool(moment["time"] and moment["zone"])
        zone = timezone(timedelta(hours=-7 if moment["zone"] == "PDT" else -8)) if exact else UTC
        written = f"{moment['day']} {moment['time'] if exact else '12:00am'}"
        with suppress(ValueError):
            sold_at = datetime.strptime(written, "%b %d, %Y %I:%M%p").replace(tzinfo=zone).astimezone(UTC)
    return Sale(
        order_id=row["order"], line=line, remote_id=row["item"], title=row["title"],
        price=_money(row["price"]), quantity=int(quantity) if quantity.isdigit() else 1,
        sold_at=sold_at, exact=exact and sold_at is not None,
        cancelled=bool(re.search(r"cancel", row["status"] or "", re.IGNORECASE)),
    )  # fmt: skip


def _page_of(path: str, number: int) -> str:
    return path if number == 1 else f"{path}?page={number}"


def _state(shown: Mapping[str, Any], remote_id: str) -> SeenState:
    """What the page says in words; where it says nothing, its data for search engines."""
    if shown["id"] != remote_id or not shown["title"]:
        return "unknown"
    over, availability = str(shown["over"] or "").lower(), str(shown["availability"] or "")
    if over:
        return "sold" if over.startswith("this listing sold") else "ended"
    if availability.endswith(("SoldOut", "OutOfStock")):
        return "sold"
    if availability.endswith("Discontinued"):
        return "ended"
    return "live" if availability.endswith("InStock") else "unknown"


def _seen(shown: Mapping[str, Any], description: str | None) -> dict[str, Any]:
    """Names and types of Draft; only what the page shows. The custom label is for the seller's eyes."""
    specifics = {name: value for name, value in shown["specifics"].items() if name != "Condition"}
    fields: dict[str, Any] = {
        "title": shown["title"],
        "description": description,
        "price": _money(shown["price"]),
        "quantity": _quantity(shown["quantity"]),
        "category": tuple(shown["category"]),
        "condition": shown["condition"],
    }
    fields = {name: value for name, value in fields.items() if value not in (None, ())}
    if not shown["over"]:
        fields["options"] = {"offers": shown["offers"]}
    if shown["shipping"]:
        fields["shipping"] = {"payer": "seller" if "free" in shown["shipping"].lower() else "buyer"}
    return {**fields, "brand": None, **_named(specifics), "specifics": specifics}


def _quantity(text: str | None) -> int | None:
    """What is left, as in its form. "More than 10" is no number."""
    left = re.search(r"(?<!more than )\b(\d+) available", text or "", re.IGNORECASE)
    return int(left[1]) if left else None


def _named(specifics: Mapping[str, str | None]) -> dict[str, Any]:
    """Brand, size and colours out of the item specifics, as far as they are among them."""
    found: dict[str, Any] = {}
    if "Brand" in specifics:
        brand = specifics["Brand"]
        found["brand"] = None if brand == UNBRANDED else brand
    for name in SIZE_ASPECTS:
        if name in specifics:
            found["size"] = specifics[name]
    colors = [name for name in COLOR_ASPECTS if name in specifics]
    if colors:
        found["colors"] = tuple(value for name in colors if (value := specifics[name]))
    return found


def _input_name(aspect: str) -> str:
    """As eBay names its field: with a dot when the aspect has spaces."""
    return f"search-box-attributes{'.' if ' ' in aspect else ''}{aspect}"


def _steps(path: str | None) -> tuple[str, ...]:
    return tuple(step.strip() for step in (path or "").split(" > ") if step.strip())


def _money(text: str | None) -> Money | None:
    found = re.search(r"([\d,]+)(?:\.(\d\d?))?", text or "")
    if not found:
        return None
    return Money(amount=int(found[1].replace(",", "") or 0) * 100 + int((found[2] or "0").ljust(2, "0")))


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _folded(name: str) -> str:
    return " ".join(name.replace("’", "'").split()).casefold()
