"""The practice world: accounts, sign-ins, listings, buyers, faults and the ledger that judges every test.

It stands apart: it imports nothing of Everystall and is never reachable but on loopback.

How to add a site (see `poshmark/` for a whole one)
---------------------------------------------------
A folder `everystall/sandbox/<name>/` whose `__init__.py` has `site(world: World) -> Site`. `signin.py` there
has `async def sign_in(page, base_url, username) -> None`, which signs in through the site's own page (a
Playwright page; password `world.PASSWORD`). Such a folder is all: nothing lists the sites.

    def site(world):
        return Site(world, "poshmark", "Poshmark", routes=[Route("/login", login), …],
                    token_of=lambda cookies: cookies.get("jwt"),     # the cookie that carries the session
                    cookies=lambda session: [Cookie("jwt", session.token, http_only=True), …],
                    vocabulary=Vocabulary(names=[…], labels={"Next": ["Continue"]}),
                    folder=Path(__file__).parent)                    # templates/ and static/ (at /static/)

In an endpoint (plain Starlette: `async def sell(request) -> Response`):

- `visit = visit_of(request)`: `.site .world .account .session` (None when signed out). A signed-out
  visitor of a private page: `return site.login_wall(request)` (override by the `login_path` argument).
- `site.page(request, "sell.html", **context)` renders a template; `practice` (JSON: layout, drift seed and
  strength) and `account` are there; shared parts are under `/practice/` (practice.js, practice.css).
- photos: `photo = world.keep_photo(site.marketplace, account, data, content_type)`; serve `photo.served`.
- a listing is an `Item`: `world.draft(…)` makes it, `world.publish(item)` makes it live, `world.end(item)`,
  `world.edit(item, **fields)`, `world.revise(item, change)`, `world.refuse(…)`, `world.buy(…)`. `fields`
  uses Everystall's names and forms so that tests can compare: title, description, price {"amount": cents,
  "currency"}, original_price, quantity, category [labels], brand, size, condition, colors [], tags [],
  specifics {}, shipping {}, options {}. Each of them writes the ledger.
- the click: `item = await site.submit(request, lambda: world.publish(item))`, and the same round
  `world.revise`. It plays the faults of the
  click: raises `SoftReject`, `ItemLimit` (the site shows its own words for these), or `Failed` / `Reset`
  / `Late` (answered by Site itself: let them through), or commits. `OddAnswer`: it committed, and the site
  shows `OddAnswer.words` where it shows its refusals.
- lists show only `world.listed(marketplace, account, "live")` (honours index lag), an item's own page only
  if `item.page_shown()`; everything else of `items()` is the owner's and the ledger's.
- faults that a site must play itself: `site.layout(request)` is "a" or "b"; all others are played by
  Site: latency, slow, down, too_many, session_expired, login_wall, captcha (override by `captcha_page`;
  its page has a form that posts `from` to `/person`, by which a person ends it).
- drift: names (ids, classes, `attr=value` pairs) and labels of the Vocabulary are replaced in every HTML,
  JS and CSS answer of the site by Site itself, so HTML, JS and CSS must write them alike; JSON answers
  are left alone. For strength 3 mark containers whose children may be reordered and wrapped with
  `data-arrange` (in HTML) or call `Practice.arrange(element)` (in JS, after mounting). For strength 4
  look at `PRACTICE.drift.strength` in JS.
- sign-in: `session = world.sign_in(marketplace, username, password)` (None: wrong password), then
  `site.set_cookies(response, session)`. Rotation, expiry and reuse detection are Site's work.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from PIL import Image, ImageOps

from everystall.sandbox.drift import Vocabulary

PASSWORD = "practice"

State = Literal["draft", "live", "sold", "ended"]


class SoftReject(Exception):
    """The site keeps the listing as a draft "under review"; it says so in its own words."""


class ItemLimit(Exception):
    """The site refuses: this account may not list more; it says so in its own words."""


class OddAnswer(Exception):
    """The site did what was asked and then shows a message that says neither yes nor no."""

    words = "An error has occurred. Please contact support."


@dataclass
class Account:
    """A practice seller or buyer. Any name signs in; the ids are made of the name, for ever the same."""

    marketplace: str
    name: str

    @property
    def hex_id(self) -> str:
        """24 hexadecimal digits."""
        return hashlib.sha256(f"{self.marketplace}:{self.name}".encode()).hexdigest()[:24]

    @property
    def number(self) -> int:
        """9 digits."""
        return int(self.hex_id, 16) % 900_000_000 + 100_000_000


@dataclass
class Session:
    """One sign-in, as the server knows it. `token` is what the session cookie carries."""

    marketplace: str
    account: Account
    token: str
    expires_at: float
    rotate: bool = False
    #: Seconds during which the token before the last is still accepted.
    grace: float = 5.0
    revoked: bool = False
    #: Token → when it was replaced.
    spent: dict[str, float] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        return not self.revoked and time.time() < self.expires_at


@dataclass
class Photo:
    """An uploaded photo: as it came (hashed), and as the site serves it."""

    id: str
    sha256: str
    dhash: str
    content_type: str
    served: bytes
    owner: str

    def at_most(self, pixels: int) -> tuple[bytes, str]:
        """As a page shows it, and its type: no side longer than that. What is no larger comes as it is."""
        with Image.open(io.BytesIO(self.served)) as image:
            if max(image.size) <= pixels:
                return self.served, self.content_type
            small = ImageOps.exif_transpose(image).convert("RGB")
        small.thumbnail((pixels, pixels))
        out = io.BytesIO()
        small.save(out, "JPEG", quality=85)
        return out.getvalue(), "image/jpeg"

    def as_json(self) -> dict[str, str]:
        return {"sha256": self.sha256, "dhash": self.dhash}


@dataclass
class Item:
    """One listing at one site, from draft to sold."""

    id: str
    marketplace: str
    account: Account
    state: State
    fields: dict[str, Any]
    sku: str | None = None
    photos: list[Photo] = field(default_factory=list)
    created_at: float = field(default_factory=time.time)
    published_at: float | None = None
    ended_at: float | None = None
    sold_at: float | None = None
    #: Lists show it from then on (index lag), its own page from `page_at` on.
    listed_at: float = 0.0
    page_at: float = 0.0
    orders: list[dict[str, Any]] = field(default_factory=list)
    #: What the site keeps for itself (menu ids, revision …); not in the ledger.
    private: dict[str, Any] = field(default_factory=dict)

    @property
    def quantity(self) -> int:
        return int(self.fields.get("quantity", 1))

    @property
    def quantity_sold(self) -> int:
        return sum(order["quantity"] for order in self.orders if not order["put_back"])

    @property
    def cancelled(self) -> bool:
        """The last order of it was."""
        return bool(self.orders and self.orders[-1]["cancelled"])

    @property
    def price(self) -> int:
        """Cents."""
        return int((self.fields.get("price") or {}).get("amount", 0))

    @property
    def title(self) -> str:
        return str(self.fields.get("title") or "")

    def page_shown(self) -> bool:
        return time.time() >= self.page_at

    def as_json(self) -> dict[str, Any]:
        return {
            "marketplace": self.marketplace, "account": self.account.name, "listing_id": self.id,
            "state": self.state, "fields": self.fields, "sku": self.sku,
            "photos": [photo.as_json() for photo in self.photos], "orders": self.orders,
            "quantity_sold": self.quantity_sold,
        }  # fmt: skip


class Ledger:
    """Everything that ever happened, in order. Entries are added, never changed or taken away."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []

    def record(
        self, event: str, item: Item | None = None, *, marketplace: str = "", account: str = "", **more: Any
    ) -> None:
        entry: dict[str, Any] = {
            "seq": len(self._entries) + 1,
            "at": datetime.now(UTC).isoformat(),
            "marketplace": item.marketplace if item else marketplace,
            "account": item.account.name if item else account,
            "event": event,
        }
        if item is not None:
            seen = item.as_json()
            entry |= {key: seen[key] for key in ("listing_id", "state", "sku", "photos")}
            entry["fields"] = deepcopy(item.fields)
        self._entries.append(entry | more)

    def entries(self, marketplace: str | None = None, account: str | None = None) -> list[dict[str, Any]]:
        return [
            entry for entry in self._entries
            if marketplace in (None, entry["marketplace"]) and account in (None, entry["account"])
        ]  # fmt: skip


#: Kind → the point at which it is played.
POINTS = {
    "latency": "page", "slow": "any", "down": "any", "captcha": "page", "login_wall": "page",
    "session_expired": "page", "layout": "layout", "index_lag": "list_index", "recompress": "photo",
    "too_many": "any",
    "error_before": "submit_before", "reset_before": "submit_before", "late_commit": "submit_before",
    "soft_reject": "submit_before", "item_limit": "submit_before",
    "error_after": "submit_after", "reset_after": "submit_after", "odd_answer": "submit_after",
    "drop_photos": "published",
}  # fmt: skip
#: These go on until they are deleted, unless `times` is given; the others happen once.
LASTING = {"latency", "slow", "down", "layout", "index_lag", "recompress"}


@dataclass
class Fault:
    kind: str
    marketplace: str
    account: str | None = None
    #: How often it is still played; None: until deleted.
    times: int | None = 1
    seconds: float | None = None
    status: int = 500
    #: too_many: what its Retry-After says, seconds or a date.
    retry_after: str = "7"
    #: Only for requests whose path holds this.
    path: str | None = None
    #: index_lag: seconds during which the listing's own page is a 404 too.
    page_seconds: float = 0.0


class Faults:
    """What shall go wrong, where, how often."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        if fault.kind not in POINTS:
            raise ValueError(f"no fault {fault.kind!r}; there are {', '.join(POINTS)}")
        self._faults.append(fault)

    def take(
        self, marketplace: str, account: str | None, point: str, *, kind: str | None = None, path: str = ""
    ) -> Fault | None:
        """The first fault that is due at this point, used up once. `kind` narrows it."""
        for fault in self._faults:
            due = POINTS[fault.kind] == point and fault.marketplace == marketplace
            due = due and kind in (None, fault.kind) and fault.account in (None, account)
            if due and (fault.path is None or fault.path in path):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                return fault
        return None

    def end(self, marketplace: str, account: str, kind: str) -> None:
        self._faults = [
            one
            for one in self._faults
            if (one.marketplace, one.kind) != (marketplace, kind) or one.account not in (None, account)
        ]

    def clear(self) -> None:
        self._faults.clear()

    def as_json(self) -> list[dict[str, Any]]:
        return [vars(fault) for fault in self._faults]


@dataclass
class DriftSetting:
    seed: int = 0
    strength: int = 0
    #: What changes; none: all that the site has words for.
    words: Vocabulary | None = None


class World:
    """Everything there is, in memory."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new world: nobody, nothing, an empty ledger."""
        self.ledger = Ledger()
        self.faults = Faults()
        self.drifts: dict[str, DriftSetting] = {}
        self.accounts: dict[tuple[str, str], Account] = {}
        self.photos: dict[str, Photo] = {}
        self._items: dict[tuple[str, str], Item] = {}
        self._sessions: list[Session] = []
        self._by_token: dict[tuple[str, str], Session] = {}
        self._policies: dict[tuple[str, str], dict[str, Any]] = {}

    # ---- accounts and sessions ----

    def account(self, marketplace: str, name: str) -> Account:
        return self.accounts.setdefault((marketplace, name), Account(marketplace, name))

    def sign_in(self, marketplace: str, username: str, password: str) -> Session | None:
        """A new session, or None for a wrong password. The username is folded to lower case."""
        name = username.strip().lower()
        if password != PASSWORD or not name:
            return None
        account = self.account(marketplace, name)
        policy = self._policies.get((marketplace, name), {})
        lifetime = policy.get("lifetime_seconds")
        session = Session(
            marketplace, account, secrets.token_urlsafe(24), rotate=policy.get("rotate", False),
            grace=policy.get("grace_seconds", 5.0),
            expires_at=time.time() + (30 * 86400 if lifetime is None else lifetime),
        )  # fmt: skip
        self._sessions.append(session)
        self._by_token[marketplace, session.token] = session
        self.ledger.record("signed_in", marketplace=marketplace, account=name)
        return session

    def sign_out(self, session: Session) -> None:
        session.revoked = True

    def session(self, marketplace: str, token: str | None) -> Session | None:
        """Whose token this is, if it is good. A token that was replaced longer ago than the grace is a
        sign of theft: then the whole session is revoked."""
        session = self._by_token.get((marketplace, token or ""))
        if session is None or token is None or not session.alive:
            return None
        replaced = session.spent.get(token)
        if replaced is not None and time.time() > replaced + session.grace:
            session.revoked = True
            self.ledger.record(
                "session_revoked",
                marketplace=marketplace,
                account=session.account.name,
                reason="token reused",
            )
            return None
        return session

    def rotate(self, session: Session, used: str | None) -> bool:
        """Replace the token that was just used, if this account's sessions rotate. True: it was."""
        if not session.rotate or used != session.token:
            return False
        session.spent[session.token] = time.time()
        session.token = secrets.token_urlsafe(24)
        self._by_token[session.marketplace, session.token] = session
        return True

    def set_session_policy(self, marketplace: str, account: str, **policy: Any) -> int:
        """For the sessions there are and those to come; how many there are. lifetime_seconds counts from
        now; 0 ends them."""
        self._policies.setdefault((marketplace, account), {}).update(
            {key: value for key, value in policy.items() if value is not None and key != "lifetime_seconds"}
        )
        lifetime = policy.get("lifetime_seconds")
        if lifetime:
            self._policies[marketplace, account]["lifetime_seconds"] = lifetime
        there = [s for s in self._sessions if s.marketplace == marketplace and s.account.name == account]
        for session in there:
            if lifetime is not None:
                session.expires_at = time.time() + lifetime
            if policy.get("rotate") is not None:
                session.rotate = policy["rotate"]
            if policy.get("grace_seconds") is not None:
                session.grace = policy["grace_seconds"]
        return len(there)

    # ---- photos ----

    def keep_photo(self, marketplace: str, account: Account, data: bytes, content_type: str) -> Photo:
        """Raises ValueError for what is no image."""
        try:
            dhash = difference_hash(data)
        except Exception as e:
            raise ValueError("not an image") from e
        served = data
        if self.faults.take(marketplace, account.name, "photo"):
            served, content_type = _recompressed(data), "image/jpeg"
        photo = Photo(
            secrets.token_hex(12), hashlib.sha256(data).hexdigest(), dhash, content_type, served, account.name
        )
        self.photos[photo.id] = photo
        return photo

    # ---- listings ----

    def items(self, marketplace: str, account: Account | None = None, *states: State) -> list[Item]:
        """Newest first; all of them, whatever a list would show."""
        found = [
            item for (market, _), item in self._items.items()
            if market == marketplace and account in (None, item.account)
            and (not states or item.state in states)
        ]  # fmt: skip
        return sorted(found, key=lambda item: item.published_at or item.created_at, reverse=True)

    def listed(self, marketplace: str, account: Account | None = None, *states: State) -> list[Item]:
        """The same as a site's list shows it: what was published a moment ago may not be there yet."""
        return [item for item in self.items(marketplace, account, *states) if time.time() >= item.listed_at]

    def item(self, marketplace: str, id_: str) -> Item | None:
        return self._items.get((marketplace, id_))

    def draft(
        self, marketplace: str, account: Account, id_: str, fields: Mapping[str, Any],
        photos: Iterable[Photo] = (), sku: str | None = None,
    ) -> Item:  # fmt: skip
        """A new draft (ledger: draft)."""
        item = Item(id_, marketplace, account, "draft", dict(fields), sku, list(photos))
        self._items[marketplace, id_] = item
        self.ledger.record("draft", item)
        return item

    def publish(self, item: Item) -> Item:
        """Makes it live (ledger: published). Again on a live one: nothing happens."""
        if item.state == "draft":
            item.state, item.published_at = "live", time.time()
            if self.faults.take(item.marketplace, item.account.name, "published") is not None:
                item.photos = []
            lag = self.faults.take(item.marketplace, item.account.name, "list_index")
            if lag is not None:
                item.listed_at = time.time() + (3.0 if lag.seconds is None else lag.seconds)
                item.page_at = time.time() + lag.page_seconds
            self.ledger.record("published", item)
        return item

    def edit(self, item: Item, **fields: Any) -> Item:
        """Changes fields (ledger: edited, for a live one)."""
        return self.revise(item, lambda: item.fields.update(fields))

    def revise(self, item: Item, change: Callable[[], None]) -> Item:
        """The same where more than fields may change: `change` does it. The ledger's `before` has what was
        there of all that is other now, also `photos` and `sku`; {}: nothing is."""
        was = deepcopy(_content(item))
        change()
        if item.state != "draft":
            now = _content(item)
            before = {name: was.get(name) for name in was | now if was.get(name) != now.get(name)}
            self.ledger.record("edited", item, before=before)
        return item

    def end(self, item: Item) -> Item:
        """Taken down by its seller (ledger: ended); a draft is deleted (ledger: deleted)."""
        if item.state in ("live", "draft"):
            event = "ended" if item.state == "live" else "deleted"
            item.state, item.ended_at = "ended", time.time()
            self.ledger.record(event, item)
        return item

    def mark_sold(self, item: Item) -> Item:
        """Its seller says that it was sold elsewhere: there is no order (ledger: marked_sold)."""
        if item.state == "live":
            item.state, item.sold_at = "sold", time.time()
            self.ledger.record("marked_sold", item)
        return item

    def relist(self, item: Item, **fields: Any) -> Item:
        """Its seller posts a copy by hand, under a new id of the same kind; `fields` are other in it."""
        if len(item.id) == 24:
            id_ = self.new_hex()
        else:
            id_ = "m" * item.id.startswith("m") + self.new_number(len(item.id.removeprefix("m")))
        copy = self.draft(item.marketplace, item.account, id_, deepcopy(item.fields) | fields, item.photos,
                          sku=item.sku)  # fmt: skip
        copy.private = deepcopy(item.private)
        return self.publish(copy)

    def refuse(self, account: Account, reason: str, item: Item | None = None) -> None:
        """The site said no to a click (ledger: refused)."""
        if item is not None:
            self.ledger.record("refused", item, reason=reason)
        else:
            self.ledger.record(
                "refused", marketplace=account.marketplace, account=account.name, reason=reason
            )

    def buy(
        self, marketplace: str, *, listing_id: str | None = None, sku: str | None = None,
        title: str | None = None, buyer: str = "a-buyer", quantity: int = 1, order_id: str | None = None,
    ) -> Item:  # fmt: skip
        """A buyer takes some of a live listing (ledger: sold), within an order that is there already if it is
        named. Raises LookupError when there is none."""
        began = [order for _, order in self._orders(marketplace, order_id)] if order_id else []
        if order_id and not began:
            raise LookupError("no such order")
        for item in self.items(marketplace, None, "live"):
            same = item.id == listing_id or (title is not None and item.title == title)
            if sku is not None and item.sku is not None:
                same = same or item.sku == sku or item.sku.startswith(f"{sku} ~")
            if same and item.quantity - item.quantity_sold >= quantity:
                order = {
                    "order_id": order_id or secrets.token_hex(12), "buyer": buyer, "quantity": quantity,
                    "price": dict(item.fields.get("price") or {}),
                    "at": began[0]["at"] if began else datetime.now(UTC).isoformat(),
                    "cancelled": False, "put_back": False,
                }  # fmt: skip
                item.orders.append(order)
                if item.quantity_sold >= item.quantity:
                    item.state, item.sold_at = "sold", time.time()
                self.ledger.record("sold", item, buyer=buyer, quantity=quantity, order_id=order["order_id"])
                return item
        raise LookupError("no live listing like that")

    def cancel(
        self, marketplace: str, order_id: str, *, listing_id: str | None = None, puts_back: bool = False
    ) -> Item:  # fmt: skip
        """An order is cancelled, or what it has of one listing (ledger: sale_cancelled); the listing stays
        as it is, or the site has it for sale again, under its id (ledger: put_back). Raises LookupError."""
        found = self._orders(marketplace, order_id, listing_id)
        if not found:
            raise LookupError("no such order")
        for item, order in found:
            order["cancelled"] = True
            self.ledger.record("sale_cancelled", item, order_id=order_id)
            if puts_back:
                self.put_back(item, order)
        return found[0][0]

    def _orders(
        self, marketplace: str, order_id: str, listing_id: str | None = None
    ) -> list[tuple[Item, dict[str, Any]]]:  # fmt: skip
        """What an order has, a listing each."""
        return [
            (item, order)
            for item in self.items(marketplace)
            for order in item.orders
            if order["order_id"] == order_id and listing_id in (None, item.id)
        ]

    def put_back(self, item: Item, order: dict[str, Any]) -> Item:
        """The site has it for sale again."""
        order["put_back"] = True
        if item.state == "sold":
            item.state, item.sold_at = "live", None
        self.ledger.record("put_back", item, order_id=order["order_id"])
        return item

    def drift(self, marketplace: str) -> DriftSetting:
        return self.drifts.get(marketplace) or DriftSetting()

    def new_hex(self) -> str:
        """A new id of 24 hexadecimal digits that begins with the time, as such ids do."""
        return f"{int(time.time()):08x}{secrets.token_hex(8)}"

    def new_number(self, digits: int) -> str:
        """A new id of so many decimal digits."""
        return str(secrets.randbelow(9 * 10 ** (digits - 1)) + 10 ** (digits - 1))


def _content(item: Item) -> dict[str, Any]:
    """All that a seller may change."""
    return {**item.fields, "sku": item.sku, "photos": [photo.as_json() for photo in item.photos]}


@dataclass(frozen=True)
class Cookie:
    """What a site sets. Every cookie is Secure, as the real ones are."""

    name: str
    value: str
    http_only: bool = False
    max_age: int | None = 30 * 86400
    path: str = "/"


#: The cookies of a signed-in page, made anew at each render (a `_csrf` may differ each time).
CookieMaker = Callable[[Session], list[Cookie]]


def difference_hash(data: bytes) -> str:
    """64 bits in hex: of 9 x 8 gray pixels, is each darker than its right neighbour?"""
    with Image.open(io.BytesIO(data)) as image:
        small = ImageOps.exif_transpose(image).convert("L").resize((9, 8), Image.Resampling.LANCZOS)
        pixels = small.tobytes()
    bits = 0
    for row in range(8):
        for column in range(8):
            bits = bits << 1 | (pixels[row * 9 + column] < pixels[row * 9 + column + 1])
    return f"{bits:016x}"


def _recompressed(data: bytes) -> bytes:
    """As sites do: smaller, stronger compressed."""
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
        upright.thumbnail((640, 640))
        out = io.BytesIO()
        upright.save(out, "JPEG", quality=72)
    return out.getvalue()
