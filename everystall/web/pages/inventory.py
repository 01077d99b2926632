"""The inventory: every listing with where it stands, filtered and ordered as the page's address says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import EverystallError
from everystall.inventory import listing_templates, saved_views, stock
from everystall.inventory.deleted import find_deleted
from everystall.inventory.pricing import HIGHEST_PRICE, dollars
from everystall.inventory.stock import PAGE, SORTS, STALE_DAYS, STATES, VIEWS, Place, Sought
from everystall.marketplaces import MARKETPLACES
from everystall.marketplaces.base import CONDITIONS
from everystall.models import Listing, ListingPhoto, Publication, SavedView, User
from everystall.web.deps import as_id
from everystall.web.pages.connections import web_address
from everystall.web.pages.opened import Opened, OpenedInParts, OpenedPage, go
from everystall.web.pages.states import word_of, word_of_all
from everystall.web.photos import photo_at
from everystall.web.render import PART

router = APIRouter()

#: Of a seller with more listings the views' numbers come after the page: counting takes as long as the rest.
MANY: Final = 5_000
#: Listings that are shown while somebody types: more than a screen holds, and half of a page's time.
TYPED: Final = 25
#: What the page of such a seller says of itself when somebody types in it, so that not each key asks.
LARGE: Final = "many"
#: Of a kept view no more are counted than this; and no further one is begun after so many seconds.
COUNTED: Final = 100
PATIENCE: Final = 0.1
#: Pages that stand on one another; then the list begins anew behind them.
TALLEST: Final = 6

VIEW_NAMES: Final = {
    "all": "All", "drafts": "Drafts", "listed": "Live", "needs-you": "Needs you", "sold": "Sold",
    "stale": f"Stale {STALE_DAYS} d+",
}  # fmt: skip
SORT_NAMES: Final = {
    "newest": "Newest first", "oldest": "Oldest first",
    "dearest": "Highest price", "cheapest": "Lowest price",
    "title": "Title, A to Z", "title-down": "Title, Z to A",
    "sku": "SKU, A to Z", "sku-down": "SKU, Z to A",
    "fewest": "Lowest stock", "most": "Highest stock",
}  # fmt: skip
#: Column of the table → what it is called, and by which orders it goes up and down, if any.
COLUMNS: Final[dict[str, tuple[str, str, str]]] = {
    "sku": ("SKU", "sku", "sku-down"), "status": ("Status", "", ""), "where": ("Where", "", ""),
    "qty": ("Stock", "fewest", "most"), "price": ("Price", "cheapest", "dearest"),
    "cost": ("Cost", "", ""), "age": ("Age", "newest", "oldest"),
}  # fmt: skip
STATE_NAMES: Final = {"posting": "On its way", "ending": "Taking down", "ended": "Ended everywhere"}
PROBLEM_NAMES: Final = {
    "session_expired": "Needs sign-in", "disconnected": "Account taken away", "challenge": "Challenge",
    "account_limited": "Account limited", "no_worker": "No worker there", "listing_rejected": "Rejected",
    "listing_incomplete": "Something is missing", "unresolved": "Posted or not?", "gone": "Gone there",
    "edited_there": "Edited there", "photo_refused": "Photo refused", "posted_twice": "Posted twice",
    "sold_twice": "Sold twice", "sale_cancelled": "Order cancelled?", "page_changed": "Page changed",
    "marketplace_busy": "Marketplace busy", "not_published": "Not published", "paused": "Paused",
    "twin_in_question": "Twin in question", "storage_full": "Photo store full",
    "browser_not_started": "Browser did not start", "browser_ended": "Browser ended",
    "storage_away": "Photo store away", "photo_missing": "Photo missing", "misconfigured": "Set up wrongly",
}  # fmt: skip
#: Days; less than the first, and more than each.
AGES: Final = {
    "-7": "Under a week",
    "30": "30 days +",
    "60": "60 days +",
    "90": "90 days +",
    "180": "180 days +",
}


# ---- the address ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What the page's address says, as it was typed; what is no word of ours is not there."""

    q: str = ""
    view: str = "all"
    on: str = ""
    off: str = ""
    state: str = ""
    problem: str = ""
    brand: str = ""
    label: str = ""
    location: str = ""
    low: str = ""
    high: str = ""
    age: str = ""
    sort: str = "newest"
    #: grid: as cards; else as a table.
    look: str = ""
    #: The kept view in which it is searched on, by its id.
    kept: str = ""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Asked:
        known = {
            "view": VIEWS, "on": tuple(MARKETPLACES), "off": tuple(MARKETPLACES), "state": STATES,
            "problem": tuple(PROBLEM_NAMES), "age": tuple(AGES), "sort": SORTS,
            "look": ("grid",),
        }  # fmt: skip
        found = {}
        for name in cls.__dataclass_fields__:
            value = given.get(name)
            value = value.replace("\x00", "").strip()[:200] if isinstance(value, str) else ""
            if value and (name not in known or value in known[name]):
                found[name] = value
        for name in ("low", "high"):
            if name in found and cents_of(found[name]) is None:
                del found[name]
        return cls(**found)

    @property
    def sought(self) -> Sought:
        age = int(self.age or 0)
        return Sought(
            words=self.q, view=self.view, on=self.on or None, off=self.off or None, state=self.state or None,
            problem=self.problem or None, brand=self.brand or None, label=self.label or None,
            location=self.location or None, low=cents_of(self.low),
            high=cents_of(self.high), older=age if age > 0 else None, younger=-age if age < 0 else None,
            sort=self.sort,
        )  # fmt: skip

    def told(self) -> dict[str, str]:
        """Only what is not as it is anyway."""
        usual = Asked()
        return {name: value for name, value in vars(self).items() if value and value != getattr(usual, name)}

    @property
    def query(self) -> str:
        """What stands behind the `?` of the address, and is kept as a view."""
        return urlencode(replace(self, kept="").told())

    @property
    def unfiltered(self) -> str:
        """The page with its view, order and look alone."""
        return Asked(view=self.view, sort=self.sort, look=self.look).url()

    def url(self, **other: Any) -> str:
        """The page with something otherwise; empty: without it."""
        names = {key: value for key, value in other.items() if key in self.__dataclass_fields__}
        more = {key: value for key, value in other.items() if key not in names and value}
        told = replace(self, **names).told() | more
        return "/inventory" + (f"?{urlencode(told)}" if told else "")

    def chips(self) -> list[tuple[str, str]]:
        """What narrows it, in words, and the page without that."""
        labels = {
            "on": f"On {MARKETPLACES.get(self.on)}",
            "off": f"Not on {MARKETPLACES.get(self.off)}",
            "state": STATE_NAMES.get(self.state, ""),
            "problem": PROBLEM_NAMES.get(self.problem, ""),
            "brand": f"Brand: {self.brand}",
            "label": f"Label: {self.label}",
            "location": f"Lies in: {self.location}",
            "low": f"From ${self.low.removeprefix('$')}",
            "high": f"Up to ${self.high.removeprefix('$')}",
            "age": AGES.get(self.age, ""),
        }
        return [(label, self.url(**{name: ""})) for name, label in labels.items() if getattr(self, name)]


def cents_of(text: str) -> int | None:
    """ "12", "$12.50" """
    found = re.fullmatch(r"\$?\s*(\d{1,8})(?:\.(\d{1,2}))?", text.replace(",", ""))
    if found is None:
        return None
    return min(int(found[1]) * 100 + int((found[2] or "").ljust(2, "0")), HIGHEST_PRICE)


def place_in(text: str, sort: str) -> Place | None:
    """Where a page in this order ends, as `named` says it. None: that is no place in it."""
    value, _, id = text.rpartition(" ")
    try:
        if sort in ("newest", "oldest"):
            at = datetime.fromisoformat(value)
            return (at, UUID(id)) if at.tzinfo is not None else None
        return (value if sort.startswith(("title", "sku")) else int(value[:12]), UUID(id))
    except ValueError:
        return None


def named(place: Place) -> str:
    """Where a page ends, for its address."""
    by, id = place
    return f"{by.isoformat() if isinstance(by, datetime) else by} {id}"


# ---- a line ---------------------------------------------------------------------------------------

#: What is read of a listing, and of where it stands.
_SHOWN: Final = (
    Listing.id, Listing.title, Listing.sku, Listing.condition, Listing.size, Listing.price_cents,
    Listing.quantity, Listing.quantity_sold, Listing.created_at, Listing.location, Listing.cost_cents,
    Listing.labels,
)  # fmt: skip
_STANDING: Final = (
    Publication.listing_id, Publication.marketplace, Publication.wanted, Publication.put, Publication.state,
    Publication.unsettled, Publication.relist, Publication.needs_you, Publication.url,
)  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """How a listing stands on one marketplace: on · run · bad · sold · end · off, and in words."""

    label: str
    state: str
    said: str
    url: str | None


@dataclass(frozen=True)
class Line:
    id: str
    title: str
    sku: str
    #: Condition, size, where it lies: those that are told.
    facts: Sequence[str]
    labels: Sequence[str]
    tone: str
    word: str
    marks: Sequence[Mark]
    quantity: int
    sold: int
    price: str
    cost: str
    days: int
    written: datetime
    #: Its cover as a small picture.
    cover: str | None

    @property
    def said(self) -> str:
        """For who does not see it change."""
        return f"{self.title}: {self.word}."


async def rows_of(
    session: AsyncSession, ids: Sequence[UUID], now: datetime, size: str = "thumbnail"
) -> list[Line]:
    """In this order, with covers of this size. Three queries, each for no more than is shown."""
    found = {row.id: row for row in await session.execute(select(*_SHOWN).where(Listing.id.in_(ids)))}
    standing: dict[UUID, list[Row[Any]]] = {id: [] for id in ids}
    there = select(*_STANDING).where(Publication.listing_id.in_(ids)).order_by(Publication.id)
    for row in await session.execute(there):
        standing[row.listing_id].append(row)
    covers = await session.execute(
        select(ListingPhoto.listing_id, ListingPhoto.id, ListingPhoto.turn).where(
            ListingPhoto.listing_id.in_(ids), ListingPhoto.position == 0
        )
    )
    cover_of = {row.listing_id: photo_at(row.listing_id, row.id, row.turn, size) for row in covers}
    return [_line(found[id], standing[id], cover_of.get(id), now) for id in ids if id in found]


def _line(listing: Any, there: Sequence[Row[Any]], cover: str | None, now: datetime) -> Line:
    condition = CONDITIONS.get(listing.condition or "", "")
    tone, word = word_of_all(listing, there)
    return Line(
        id=str(listing.id),
        title=listing.title or "Without a title",
        sku=listing.sku or "",
        facts=[fact for fact in (condition, listing.size, listing.location) if fact],
        labels=listing.labels,
        tone=tone,
        word=word,
        marks=[
            _mark(label, [row for row in there if row.marketplace == name])
            for name, label in MARKETPLACES.items()
        ],
        quantity=listing.quantity,
        sold=listing.quantity_sold,
        price="" if listing.price_cents is None else dollars(listing.price_cents),
        cost="" if listing.cost_cents is None else dollars(listing.cost_cents),
        days=max(0, (now - listing.created_at).days),
        written=listing.created_at,
        cover=cover,
    )


#: A tone → the look of a mark.
_LOOKS: Final = {"bad": "bad", "run": "run", "info": "run", "ok": "on", "sold": "sold", "off": "end"}
_ORDER: Final = ("bad", "run", "sold", "on", "end", "off")


def _mark(label: str, there: Sequence[Row[Any]]) -> Mark:
    """Of several accounts, the one that asks for most."""
    found = [_standing(label, row) for row in there]
    return min(found, key=lambda one: _ORDER.index(one.state), default=Mark(label, "off", "not there", None))


def _standing(label: str, row: Row[Any]) -> Mark:
    tone, word = word_of(row)
    if row.state == "cancelled":
        return Mark(label, "off", "not there", None)
    said = f"{word}: {row.needs_you.get('message') or ''}".rstrip(": ") if row.needs_you else word
    shown = row.put in ("live", "sold") or row.needs_you
    state = "on" if word == "To be changed" else _LOOKS[tone]
    return Mark(label, state, said, web_address(row.url) if shown else None)


# ---- the page -------------------------------------------------------------------------------------


@router.get("/inventory")
async def show_inventory(page: OpenedInParts) -> HTMLResponse:
    """Each keystroke in its search asks for a part of it."""
    return await show(page)


@router.get("/inventory/columns")
async def lead_to_inventory() -> Response:
    """The address of a form, opened by itself."""
    return go("/inventory")


@router.post("/inventory/columns")
async def choose_columns(page: OpenedPage, request: Request) -> Response:
    """Which columns of the table this person wants to see."""
    form = await request.form()
    hidden = [name for name in COLUMNS if name not in form.getlist("show")]
    await page.session.execute(update(User).where(User.id == page.who.user_id).values(hidden_columns=hidden))
    return go(Asked.of(dict(parse_qsl(str(form.get("query") or "")[:4000]))).url())


async def show(
    page: Opened, *, given: Mapping[str, Any] | None = None, error: EverystallError | None = None
) -> HTMLResponse:
    """The page as its address, or what a form gave, says; with what went wrong before, if something did."""
    params = page.request.query_params if given is None else given
    asked, part = Asked.of(params), page.request.headers.get(PART)
    pages, typed = _number(params.get("pages")), params.get("typed") if part == "results" else None
    after = place_in(str(params.get("after") or "").replace("\x00", ""), asked.sort)
    session, sought, now = page.session, asked.sought, datetime.now(UTC)
    # a page that is typed in knows
    large = typed == LARGE if typed else await stock.is_large(session, MANY)
    counted = part == "views" or (not large and part in (None, "found"))
    counts = await stock.counts_of(session) if counted else None
    rows, ends, total = list[Line](), None, None
    if part not in ("views", "total"):
        ids, ends = await stock.page_of(session, sought, after, TYPED if typed else PAGE * pages)
        rows = await rows_of(session, ids, now, "card" if asked.look else "thumbnail")
        if after is None and ends is None:
            total = len(ids)
    if total is None and (part == "total" or (not large and part != "views")):
        total = await stock.number_of(session, sought)
    kept = await saved_views.views_of(session) if part != "total" and (asked.kept or not typed) else []
    kept_now = next((one for one in kept if one.query == asked.query), None)
    numbers = await _numbers_of(session, kept) if part == "views" else None
    thrown = _id_of(params.get("deleted")) if part is None else None
    labels = await stock.labels_in_use(session) if counted else []
    locations = await stock.locations_in_use(session) if counted else []
    brands = await stock.brands_in_use(session) if counted else []
    return page.show(
        "inventory.html",
        status=error.status if error else 200,
        home=asked.url() if error else None,
        asked=asked,
        error=error,
        deleted=await find_deleted(session, thrown) if thrown else None,
        rows=rows,
        total=total,
        counts=counts,
        more=_more(asked, params, 0 if typed else pages, ends),
        begun=after is not None,
        typed=LARGE if large else "yes",
        templates=await listing_templates.templates_of(session) if part is None else [],
        kept=kept,
        numbers=numbers,
        columns=COLUMNS,
        hidden=page.user.hidden_columns,
        kept_now=kept_now,
        kept_open=kept_now or next((one for one in kept if str(one.id) == asked.kept), None),
        labels=labels,
        locations=locations,
        brands=brands,
        views=VIEW_NAMES, sorts=SORT_NAMES, states=STATE_NAMES, problems=PROBLEM_NAMES, ages=AGES,
        marketplaces=MARKETPLACES,
    )  # fmt: skip


async def _numbers_of(session: AsyncSession, kept: Sequence[SavedView]) -> dict[UUID, str]:
    """How many listings they hold: of as many views as can be counted meanwhile."""
    began, found = monotonic(), dict[UUID, str]()
    for one in kept:
        if monotonic() - began > PATIENCE:
            break
        sought = Asked.of(dict(parse_qsl(one.query))).sought
        number = await stock.number_up_to(session, sought, COUNTED)
        found[one.id] = f"{COUNTED - 1}+" if number >= COUNTED else str(number)
    return found


def _id_of(given: Any) -> UUID | None:
    try:
        return UUID(str(given))
    except ValueError:
        return None


def _number(given: Any) -> int:
    text = str(given or "")
    return max(1, min(int(text[:4]), TALLEST)) if text.isascii() and text.isdigit() else 1


def _more(asked: Asked, params: Mapping[str, Any], pages: int, ends: Place | None) -> str | None:
    """The address of this page with the next fifty under it; of a tall one, of what comes behind it."""
    if ends is None:
        return None
    if pages < TALLEST:
        return asked.url(pages=pages + 1, after=str(params.get("after") or ""))
    return asked.url(after=named(ends))


def listing_ids(given: Sequence[str]) -> list[UUID]:
    """Each once, as ticked. Raises NotFound for what cannot be an id."""
    return [as_id(id) for id in dict.fromkeys(given) if id]
