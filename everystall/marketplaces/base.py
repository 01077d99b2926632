"""What every marketplace adapter takes and gives. No database, no secrets, no site's name here.

A marketplace is a folder: `form.py` (pure: our listing → the site's fields, its limits and
capabilities; all that the web part ever loads), `pages.py` (targets and parsing: the only file that
knows the site), `adapter.py` (the verbs, loaded by the worker only), `NOTES.md`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from everystall.browser.page import Page
    from everystall.browser.targets import Site
    from everystall.marketplaces.fees import FeeTable
    from everystall.marketplaces.sale_mail import SaleMail
    from everystall.marketplaces.sending import Sending

#: Our condition words, best first; each form.py maps them to the site's own.
CONDITIONS = {
    "new_with_tags": "New with tags",
    "new_without_tags": "New without tags",
    "new_with_flaws": "New with flaws",
    "like_new": "Like new",
    "good": "Good",
    "fair": "Fair",
    "poor": "Poor",
}
#: Our colour words (lower case); each form.py maps them to the site's own.
COLORS = (
    "red", "pink", "orange", "yellow", "green", "blue", "purple", "gold", "silver", "black",
    "gray", "white", "cream", "brown", "tan", "beige", "navy", "burgundy", "khaki", "multicolor",
)  # fmt: skip
#: What the seller writes as brand when there is none. An empty brand is a brand not yet told.
NO_BRAND = "unbranded"


#: A space, `~` and 6 base32 characters behind the seller's SKU: how we know a listing as ours.
MARKER = re.compile(r"\s?~[A-Z2-7]{6}$")
MARKER_LENGTH = 8


#: Words in which sites say that they do not know themselves what came of it.
_UNSURE = re.compile(
    r"try again|went wrong|an error|contact support|technical|cannot currently", re.IGNORECASE
)


def says_no(said: str, refusals: Sequence[str]) -> bool:
    """Does a message in answer to the click prove that nothing was posted? Only words that are known to
    (regular expressions, each with its source in NOTES.md): a message that nobody knows may as well follow
    a commit."""
    known = any(re.search(pattern, said, re.IGNORECASE) for pattern in refusals)
    return known and not _UNSURE.search(said)


def with_marker(sku: str | None, marker: str) -> str:
    """As we post it: "A1" → "A1 ~K7Q2XM"."""
    return f"{sku} {marker}" if sku else marker


def strip_marker(sku: str | None) -> str | None:
    """The seller's own SKU, without our marker: what people and files ever see. "A1 ~K7Q2XM" → "A1"."""
    return MARKER.sub("", sku) or None if sku else None


class Default(str):
    """A default of an account, in words, and how a person is asked for it."""

    #: yes_no: true or false · cents: an amount · choice: one of `choices`
    kind: Literal["text", "yes_no", "cents", "choice"]
    #: value → what it is called
    choices: Mapping[str, str]

    def __new__(
        cls,
        said: str,
        kind: Literal["text", "yes_no", "cents", "choice"] = "text",
        choices: Mapping[str, str] | None = None,
    ) -> Default:
        made = super().__new__(cls, said)
        made.kind, made.choices = ("choice" if choices else kind), choices or {}
        return made


#: `shipping_payer` among an account's defaults.
PAYERS = {"buyer": "The buyer", "seller": "You"}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Money(_Frozen):
    """An amount in the currency's smallest unit: `{"amount": 2500, "currency": "USD"}` is $25.00."""

    amount: int
    currency: str = "USD"


class Package(_Frozen):
    """What goes in the post: ounces and inches."""

    weight_oz: int | None = None
    length_in: float | None = None
    width_in: float | None = None
    height_in: float | None = None


#: Degrees clockwise by which a seller may have turned a photo.
TURNS = (0, 90, 180, 270)


def photo_name(sha256: str, turn: int) -> str:
    """What an original is called with its turn: turned otherwise it is another photo, wherever it is sent."""
    return f"{sha256}@{turn}" if turn else sha256


def photo_of(name: str) -> tuple[str, int]:
    """(hash, turn) of what `photo_name` made; what it did not make is a hash, turned by nothing."""
    sha256, _, turn = name.partition("@")
    return (sha256, int(turn)) if turn in map(str, TURNS[1:]) else (name, 0)


class PhotoFacts(_Frozen):
    """A stored original: `sha256` of its bytes is its name in the object store. Width and height are as it is
    shown: upright, and turned as the seller wants it."""

    sha256: str
    width: int
    height: int
    content_type: str
    turn: int = 0

    @property
    def name(self) -> str:
        return photo_name(self.sha256, self.turn)


class ListingFacts(_Frozen):
    """What the seller wrote once. None is "not told", never "none": a form asks, it does not guess."""

    title: str | None = None
    description: str | None = None
    brand: str | None = None
    #: A key of taxonomy.CATEGORIES, e.g. "women.dresses.midi".
    category: str | None = None
    #: As the seller writes it ("M", "8.5", "32x30", "One Size"), in the category's size scale.
    size: str | None = None
    #: A key of CONDITIONS.
    condition: str | None = None
    #: Keys of COLORS, the main one first.
    colors: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    price: Money | None = None
    original_price: Money | None = None
    quantity: int = 1
    sku: str | None = None
    package: Package = Package()
    ships_from_zip: str | None = None
    #: Who pays the postage.
    shipping_payer: Literal["buyer", "seller"] | None = None
    #: Free facts that some sites ask for: {"Material": "Cotton", "Style": "Casual"}.
    specifics: Mapping[str, str] = {}
    photos: tuple[PhotoFacts, ...] = ()
    #: Per marketplace, values that stand instead of the above or are known there only.
    overrides: Mapping[str, Mapping[str, Any]] = {}


class Problem(_Frozen):
    """One thing that a marketplace needs or cannot take. `field` is a name of ListingFacts
    (or of the account's defaults, prefixed `defaults.`)."""

    field: str
    code: Literal["missing", "too_long", "too_short", "too_many", "too_few", "too_high", "too_low",
                  "not_whole", "not_accepted"]  # fmt: skip
    #: What the seller reads: which marketplace, what is wrong, the limit, what would do.
    message: str
    limit: int | float | str | None = None


class Note(_Frozen):
    """Something that the seller wrote and that a marketplace has no place for: said beforehand, and no
    reason not to post. `field` as in Problem."""

    field: str
    #: What the seller reads: "Mercari has no field for a SKU: “A-17” is not sent."
    message: str


class Draft(_Frozen):
    """A listing in one site's own words and limits: what `compose` makes and `publish` fills in.

    Stored with the attempt as JSON; equal drafts make equal hashes. What `Filled.fields` and
    `Seen.fields` return uses these names and types, so that comparing is one function.
    """

    title: str
    description: str
    price: Money
    original_price: Money | None = None
    quantity: int = 1
    #: The site's menu, top to bottom, exact labels.
    category: tuple[str, ...]
    #: None: the site has no brand field, or the seller says there is none.
    brand: str | None = None
    size: str | None = None
    #: The site's exact label.
    condition: str | None = None
    colors: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    #: The private SKU / custom label as it will stand there: the seller's SKU and our marker.
    sku: str | None = None
    #: Item specifics under the site's names.
    specifics: Mapping[str, str] = {}
    #: The site's shipping answers (payer, zip, weight, carrier, policy names …).
    shipping: Mapping[str, Any] = {}
    #: What moves the price if left alone: smart_pricing, offers, promotion. False unless chosen.
    options: Mapping[str, bool] = {}
    #: Names of the originals (photo_name), in order; the renditions come as PhotoFile.
    photos: tuple[str, ...] = ()


def hash_of(draft: object) -> str:
    """Of a draft as JSON: equal ones have equal hashes."""
    return hashlib.sha256(json.dumps(draft, sort_keys=True).encode()).hexdigest()


#: Fields of Draft that hold fields of their own.
NESTED = ("specifics", "shipping", "options")


def flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A draft or what a page shows of one as plain JSON, each field under a name of its own:
    {"title": …, "price": {"amount": …}, "shipping.payer": …}."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if name in NESTED and isinstance(value, Mapping):
            found |= {f"{name}.{key}": inner for key, inner in value.items()}
        elif isinstance(value, Money):
            found[name] = value.model_dump(mode="json")
        else:
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def names_of(draft: Draft) -> frozenset[str]:
    """All that a draft holds, by those names."""
    return frozenset(flat(draft.model_dump(mode="json")))


@dataclass(frozen=True)
class PhotoRule:
    """What a site takes of a photo."""

    max_count: int
    min_count: int = 1
    #: Longest side in pixels that we send; never enlarged.
    longest_side: int = 2048
    quality: int = 90
    #: width / height that the site forces (the whole photo is fitted on a plain ground), or none.
    ratio: float | None = None
    max_bytes: int = 10_000_000


@dataclass(frozen=True)
class Limits:
    """Numbers of one site, each with its source in NOTES.md. Characters are what the site counts."""

    title: int
    description: int
    price_min: int
    price_max: int
    photos: PhotoRule
    whole_dollars: bool = False
    quantity_max: int = 1
    colors: int = 2
    tags: int = 0
    sku: int = 0
    description_min: int = 0


@dataclass(frozen=True)
class Capabilities:
    """What the site can do, so that nothing branches on its name."""

    #: A private SKU or custom-label field that only the seller sees: our marker goes there.
    marker_field: bool
    quantities: bool = False
    #: Its list of what is sold is its list of orders, and that names each listing.
    sold_is_orders: bool = False
    #: Days for which an order stays in that list at least: it shows none of so late ones if it is not read as
    #: it stands. 0: it may leave it at once.
    orders_stay_days: int = 0
    #: A live listing can be changed there.
    revise: bool = False
    #: Names of Draft that a live listing keeps as they were posted.
    fixed: frozenset[str] = frozenset()
    #: Seconds between two posts that a person would need: the default pace.
    pace_seconds: float = 45.0
    #: New listings an account may make in a day, by default.
    daily_cap: int = 100
    #: Days that a listing stands at least before it is taken down and posted again as new.
    relist_days: int = 1


@dataclass(frozen=True)
class Menu:
    """What a site has for a listing to choose from, and makes of it where nothing is set for that site, in
    the site's own words."""

    #: Where our category leads, top to bottom; empty: it has no one place for that.
    category: tuple[str, ...]
    #: What our condition is there; None: it has no word for that.
    condition: str | None
    #: Of the category that it goes to. Sizes: none where it asks for none, or we do not know that place.
    conditions: tuple[str, ...]
    sizes: tuple[str, ...]


@dataclass(frozen=True)
class Account:
    """Whose session it is, as far as the site tells."""

    id: str | None
    name: str | None = None


@dataclass(frozen=True)
class PhotoFile:
    """A rendition, ready to upload."""

    name: str
    content_type: str
    data: bytes


@dataclass(frozen=True)
class Filled:
    """What the form says just before the click, read from the page."""

    fields: Mapping[str, Any]
    draft_id: str | None = None
    #: What was meant for the form and has no field in it ("specifics.Vintage"): posted without, and told
    #: as a difference.
    missing: Sequence[str] = ()
    #: What the account has to choose from, by the names of Form.POLICIES.
    policies: Mapping[str, Sequence[str]] = field(default_factory=dict)


#: What the form says now, as the page shows it.
ReadBack = Callable[[], Awaitable[Filled]]
#: `await arm(read)` sends away who else was at the form, reads it by `read`, compares it with the draft and
#: commits "armed": right before the click, with nothing in between. It raises what `read` does, NotWanted
#: (nothing may be clicked) or PageChanged (the form differs).
Arm = Callable[[ReadBack], Awaitable[None]]
#: `await choose(form)` says which fields of a live listing are to be written, by their names in `flat`. None:
#: there is nothing to click. It raises NotWanted if nothing may be written.
Choose = Callable[[Filled], Awaitable[frozenset[str]]]
#: `await drafted(draft_id)` as soon as the site has a draft of what is being filled in: keeps its id.
Drafted = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Published:
    """What the site answered to the click. No id: the answer did not settle it, somebody must look."""

    remote_id: str | None = None
    url: str | None = None
    #: The message it showed instead, for the seller to read; it proves nothing.
    said: str | None = field(default=None, compare=False)


#: unknown: a page that proves nothing (login, block, error). Never read as gone.
SeenState = Literal["live", "draft", "sold", "ended", "unknown"]


@dataclass(frozen=True)
class Active:
    """One row of the seller's own lists. `remote_id` of a draft is its draft id."""

    remote_id: str
    state: Literal["live", "draft", "sold"]
    title: str
    price: Money | None = None
    url: str | None = None
    sku: str | None = None
    photo_url: str | None = None
    #: How many can be bought, where the list says.
    quantity: int | None = None


@dataclass(frozen=True)
class Sale:
    """One item of an order in the seller's own list of sales, as far as that tells."""

    order_id: str
    #: Which listing it was. None: the list does not say, and nobody needs to know (find_sales).
    remote_id: str | None
    title: str
    price: Money | None = None
    quantity: int = 1
    #: Which of the order's items, from 0.
    line: int = 0
    #: Its moment where `exact`, to the minute; else its day, as the beginning of that in UTC.
    sold_at: datetime | None = None
    exact: bool = False
    cancelled: bool = False


class Sales(list[Sale]):
    """A list of orders, newest first, as far as it was read."""

    #: It goes on, and nothing known was met so far.
    cut: bool = False
    #: It was read to its end. Said where orders stay in it (Capabilities.orders_stay_days).
    ended: bool = False


@dataclass(frozen=True)
class Seen:
    """One listing, read from its own page."""

    state: SeenState
    url: str | None = None
    #: Names and types of Draft; only what the page shows.
    fields: Mapping[str, Any] = field(default_factory=dict)
    photo_urls: Sequence[str] = ()


def not_sent(label: str, facts: ListingFacts, names: Mapping[str, str]) -> list[Note]:
    """A note for each of these fields (name → what it is called) that the listing tells."""
    return [
        Note(field=name, message=f"{label} has no field for {called}: “{told}” is not sent.")
        for name, called in names.items()
        if (told := _told(getattr(facts, name)))
    ]


def not_known(label: str, marketplace: str, own: Mapping[str, Any], known: Sequence[str]) -> list[Note]:
    """A note for each of the listing's own settings for a marketplace that it has no use for."""
    return [
        Note(
            field=f"overrides.{marketplace}.{name}",
            message=f"{label} has no setting “{name}”: it is not used.",
        )
        for name in own
        if name not in known
    ]


def _told(value: Any) -> str:
    """As a person reads it; empty where nothing is told."""
    if isinstance(value, Money):
        return f"${value.amount // 100}.{value.amount % 100:02}"
    if isinstance(value, Package):
        sides = [f"{side:g}" for side in (value.length_in, value.width_in, value.height_in) if side]
        parts = [
            f"{value.weight_oz} oz" if value.weight_oz else "",
            " × ".join(sides) + " in" if sides else "",
        ]
        return ", ".join(filter(None, parts))
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {inner}" for name, inner in value.items())
    return ", ".join(value) if isinstance(value, tuple) else str(value or "")


class Form(Protocol):
    """form.py as a module."""

    LABEL: str
    LIMITS: Limits
    #: How listings are written there, in words, for whoever rewrites one (content/copy.py).
    WRITING: str
    CAPABILITIES: Capabilities
    #: What it takes of a sale.
    FEES: FeeTable
    #: Until when it wants an order sent.
    SENDING: Sending
    #: The mail by which it tells its seller of a sale.
    SALE_MAIL: SaleMail
    #: Registrable domains whose cookies belong to a session of this marketplace.
    COOKIE_DOMAINS: tuple[str, ...]
    #: Cookies that are all there in a browser only while somebody is signed in; what the extension goes by.
    SIGN_IN_COOKIES: tuple[str, ...]
    #: Addresses that the site shows to who is not signed in, as regular expressions of Python and JavaScript.
    SIGN_IN_PAGES: tuple[str, ...]
    #: Where somebody who is signed out signs in.
    SIGN_IN_PATH: str
    BASE_URL: str
    #: A regular expression whose first group is the listing's id in a listing's URL.
    REMOTE_ID: str
    #: Defaults of an account that the seller may set, by name.
    DEFAULTS: Mapping[str, Default]
    #: The site's own words for a condition → ours, the nearest where it has one for several.
    CONDITIONS_THERE: Mapping[str, str]
    #: Our category → the site's menu, top to bottom. What the site has no place for is not there.
    CATEGORIES: Mapping[str, tuple[str, ...]]
    #: All of the site's menu that we hold.
    PATHS: Sequence[tuple[str, ...]]
    #: Those of DEFAULTS that name one of the policies that the account keeps there, and that a listing may
    #: have otherwise → what a seller calls it.
    POLICIES: Mapping[str, str]

    def compose(
        self, listing: ListingFacts, defaults: Mapping[str, Any]
    ) -> tuple[Draft | None, list[Problem], list[Note]]:
        """The draft, or None and every problem at once; and what is not sent. Overrides are applied first,
        then the account's defaults for what the listing leaves open. Pure."""
        ...

    def menu_of(self, listing: ListingFacts) -> Menu:
        """Pure."""
        ...

    def own_settings(self, shown: Mapping[str, Any]) -> dict[str, Any]:
        """What a live listing's page and form show that only this site asks for, as a listing's own settings
        for the site (ListingFacts.overrides). Pure."""
        ...

    def read_account(self, session: Mapping[str, Any]) -> Account:
        """Whose session it is: {"cookies": [...], "localStorage": {...}, "sessionStorage": {...}}."""
        ...


class Adapter(Protocol):
    """adapter.py: `ADAPTER` is one. A verb raises errors of everystall.errors and nothing else;
    before each it is on a page of its own choosing. Nobody but `publish`, `revise` and `delist` commits."""

    site: Site

    async def find_active(
        self,
        page: Page,
        *,
        known: frozenset[str] = frozenset(),
        look_for: Sequence[str] = ("live", "draft", "sold"),
    ) -> list[Active]:
        """Newest first, each list read until a page holds an id in `known`. Also proves the session
        (SessionExpired)."""
        ...

    async def list_active(self, page: Page, number: int) -> tuple[list[Active], bool]:
        """A page load: page `number` (from 1) of the list of what is live, newest first, and whether there is
        another. Also proves the session (SessionExpired)."""
        ...

    def full_size(self, photo_url: str) -> str:
        """Where the site keeps the photo that it shows at this address as large as it has it. A guess where
        NOTES.md says so: whoever takes it compares the two."""
        ...

    async def find_sales(
        self, page: Page, *, known: frozenset[str], since: datetime, whole: bool = False,
        look_for: frozenset[str] = frozenset(),
    ) -> Sales:  # fmt: skip
        """The list of orders, newest first, read until a page holds one in `known`, and until each of
        `look_for` was there, or as far as is read at once. What does not look like that list is never one of
        no orders (PageChanged). Where it does not say which listing an order was, those are looked up that
        are not known and not from before `since` (by a day to spare).
        `whole`: also where orders go that are long past. Also proves the session (SessionExpired)."""
        ...

    async def check_session(self, page: Page) -> Account:
        """Loads the cheapest page that only a signed-in seller gets. Raises SessionExpired."""
        ...

    async def publish(
        self, page: Page, draft: Draft, photos: Sequence[PhotoFile], arm: Arm, drafted: Drafted
    ) -> Published:
        """Fills the form, awaits `drafted(id)` where the site begins a draft, awaits `arm(read)`, which reads
        the form back, clicks once (page.commit), reads the answer. ListingRejected: the site said no in
        words that are known to mean it. NotPublished: it kept a draft."""
        ...

    async def revise(
        self, page: Page, remote_id: str, draft: Draft, photos: Sequence[PhotoFile], choose: Choose, arm: Arm
    ) -> Published:
        """Opens the form of what is live, reads it, awaits `choose(form)`, writes what that names and nothing
        else, awaits `arm(read)`, makes the one click that saves, reads the answer. An id: the site took it.
        `photos`, all of them in order, only where they may be chosen. ListingRejected as in `publish`;
        MarketplaceBusy where the site shows no form."""
        ...

    async def read(self, page: Page, remote_id: str) -> Seen:
        """The listing's own page. `unknown` unless the page itself says what it is."""
        ...

    async def delist(self, page: Page, remote_id: str) -> None:
        """Takes it down (page.commit). Does not prove it: the caller looks with `read` after."""
        ...

    async def discard_draft(self, page: Page, draft_id: str) -> bool:
        """Deletes what a failed try left behind; quiet when it is gone already. True: it was there as
        a draft, and the site took its deletion. False: it was not there (it may have gone live), or nobody
        knows."""
        ...
