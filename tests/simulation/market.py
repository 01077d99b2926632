"""Practice marketplaces without pages: a ledger, and an adapter that writes to it, all in this process.

They stand behind the adapter's protocol (marketplaces/base.py) and behave as the three real ones do where it
matters here: Mercari has no private field and no draft before the click, eBay shows the private label in its
lists, Poshmark on the listing's own page, and there a draft and its listing are one number. Each verb waits
at each of its awaits (`Process.at`) until the machine lets it go on. What they answer next is in `will`.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from everystall.browser.guard import Deadline
from everystall.browser.session import Storage
from everystall.errors import (
    AccountLimited,
    ChallengeShown,
    LeaseLost,
    ListingRejected,
    MarketplaceBusy,
    NotPublished,
    PageChanged,
    SessionExpired,
)
from everystall.marketplaces import get_form
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
    flat,
)
from tests.simulation.workers import Clock, Process, working

#: id of the nth listing, and the path of its page.
IDS: Mapping[str, tuple[Callable[[int], str], str]] = {
    "mercari": (lambda n: f"m{n:011}", "/us/item/{}/"),
    "ebay": (lambda n: f"{n:012}", "/itm/{}"),
    "poshmark": (lambda n: f"{n:024x}", "/listing/x-{}"),
}
#: The seller's number at Poshmark: its sessions say it.
UID = f"{1:024x}"
#: Rows on a page of a list.
PAGE = 3
#: Seconds for which a marketplace asks to be left alone (Retry-After).
REST = 600.0
#: What each verb may meet instead of success; one at a time, used up by the next that comes.
FAILS: Mapping[str, tuple[str, ...]] = {
    "lists": ("busy", "rest", "changed", "expired", "challenge", "broken"),
    "form": ("busy", "rest", "changed", "expired", "challenge", "limited", "broken"),
    "filled": ("busy", "changed", "expired", "broken"),
    "click": ("silent", "lost", "late", "very late", "dropped", "refused", "limited", "draft", "review",
              "expired", "challenge", "broken"),
    "page": ("busy", "rest", "unknown", "changed", "expired", "challenge", "broken"),
    "end": ("busy", "rest", "lost", "late", "ignored", "expired", "broken"),
    "discard": ("busy", "changed"),
    "edit": ("busy", "rest", "changed", "expired", "challenge", "broken"),
    "written": ("busy", "changed", "expired", "broken"),
    "save": ("silent", "lost", "late", "dropped", "refused", "limited", "expired", "challenge", "broken"),
    "check": ("busy", "expired", "challenge", "changed"),
    "orders": ("busy", "rest", "changed", "expired", "challenge", "broken"),
}  # fmt: skip
_ERRORS: Mapping[str, Callable[[], Exception]] = {
    "busy": lambda: MarketplaceBusy("It does not answer."),
    "rest": lambda: MarketplaceBusy("Too many requests.", retry_after=REST),
    "lost": lambda: MarketplaceBusy("The answer was lost."),
    "late": lambda: MarketplaceBusy("The answer did not come."),
    "very late": lambda: MarketplaceBusy("The answer did not come."),
    "dropped": lambda: MarketplaceBusy("The connection was reset."),
    "changed": lambda: PageChanged("The page is another."),
    "expired": lambda: SessionExpired("Signed out."),
    "challenge": lambda: ChallengeShown("It asks for a person"),
    "limited": lambda: AccountLimited("Too many listings."),
    "refused": lambda: ListingRejected("It may not be sold here."),
    "draft": lambda: NotPublished("Kept as a draft."),
    "review": lambda: NotPublished("Kept for a review."),
    "broken": lambda: RuntimeError("a bug of the adapter's"),
}


@dataclass
class Item:
    """One listing at a marketplace, as only the ledger knows it."""

    id: str
    account: str
    title: str
    price: Money
    description: str
    quantity: int
    photos: tuple[str, ...]
    sku: str | None
    state: str
    #: us · hand
    by: str
    #: Which of our listings it really is (its description says so; no page shows it).
    truth: str
    #: The click that made it live, if one did.
    click: Click | None = None
    #: From when lists and its own page show it; until when lists still show it after its end.
    listed_from: float = 0.0
    page_from: float = 0.0
    listed_until: float = 0.0
    #: us · hand · sale: who ended it.
    gone_by: str | None = None
    #: Its order was cancelled; and then the site had it for sale again, by itself.
    cancelled: bool = False
    back: bool = False
    #: The seller changed it there.
    edited: bool = False
    #: When a page told us that it is live; what it showed then.
    read: list[tuple[float, str]] = field(default_factory=list)
    #: What stands there by the seller's hand, in `flat`; and all that ever did, with our changes over it.
    hand: dict[str, Any] = field(default_factory=dict)
    hands: list[tuple[str, Any]] = field(default_factory=list)
    #: By hand, and a change of ours went over a form that showed it.
    passed: set[str] = field(default_factory=set)
    #: What its page shows until then instead of its title and price.
    old: tuple[float, Mapping[str, Any]] = field(default=(0.0, {}))

    def form(self) -> dict[str, Any]:
        """What the marketplace's edit form shows of it."""
        return {"title": self.title, "price": self.price, "description": self.description,
                "quantity": self.quantity}  # fmt: skip

    def by_hand(self, name: str, value: Any) -> None:
        """The seller changes it there. Its description is on no page."""
        setattr(self, name, value)
        self.hand |= flat({name: value})
        self.hands += flat({name: value}).items()
        self.passed.discard(name)
        self.edited = self.edited or name != "description"


@dataclass
class Click:
    """One press of "List" that reached the marketplace."""

    attempt: str
    truth: str
    account: str
    at: float
    #: It may still come into effect.
    pending: bool = False
    #: The draft that it publishes: deleted, it takes the click's effect with it.
    kept: Item | None = None

    @property
    def comes(self) -> bool:
        return self.pending and (self.kept is None or self.kept.state == "draft")


class World:
    """All marketplaces of one seller."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.items: list[Item] = []
        self.clicks: list[Click] = []
        self.tokens: dict[str, set[str]] = defaultdict(set)
        self.will: dict[str, deque[str]] = defaultdict(deque)
        #: Seconds until lists show a change, and until a new listing's page is there.
        self.list_lag = self.page_lag = 0.0
        #: What of FAILS happened so far.
        self.met: set[str] = set()
        #: Told as soon as an attempt is armed, and of each click before it has an effect.
        self.armed: Callable[[SimPage], Any]
        self.clicked: Callable[[SimPage, Draft], Any]
        #: Told of an edit form as it is shown, and of each change before it has an effect.
        self.form_shown: Callable[[SimPage, Item], Any]
        self.saved: Callable[[SimPage, Item, Draft, frozenset[str]], Any]
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._numbers = itertools.count(1)

    # ---- what the machine does to it ----

    def sign_in(self, account: str) -> str:
        """A new session of this account; the older ones stay good."""
        token = f"{account}#{next(self._numbers)}"
        self.tokens[account].add(token)
        return token

    def be_kind(self) -> None:
        self.will.clear()
        self.list_lag = self.page_lag = 0.0
        for item in self.items:
            item.listed_from = item.page_from = item.listed_until = 0.0
            item.old = (0.0, {})

    def let_happen(self) -> None:
        """What was to happen by now."""
        due = [what for at, what in self._later if at <= self.clock.now]
        self._later = [(at, what) for at, what in self._later if at > self.clock.now]
        for what in due:
            what()

    def hand_posts(self, account: str, title: str, price: Money, photos: Sequence[str]) -> None:
        self._add(account, title, price, "By hand.", 1, photos, None, "live", "hand", "by hand")

    def live(self, account: str | None = None) -> list[Item]:
        return [one for one in self.items if one.state == "live" and account in (None, one.account)]

    def end(self, item: Item, by: str, state: str = "ended") -> None:
        if item.state == "live":
            item.state, item.gone_by = state, by
            item.listed_until = self.clock.now + self.list_lag if state == "ended" else 0.0

    def cancel(self, item: Item, *, back: bool) -> None:
        """The order of what is sold; `back`: the site has it for sale again."""
        item.cancelled = True
        if back:
            item.state, item.gone_by, item.back = "live", None, True

    # ---- what the adapter asks of it ----

    def fails(self, verb: str) -> str | None:
        how = self.will[verb].popleft() if self.will[verb] else None
        self.met |= {how} if how else set()
        return how

    def draft(self, account: str, draft: Draft, photos: Sequence[str]) -> Item:
        return self._add(account, draft.title, draft.price, draft.description, draft.quantity, photos,
                         draft.sku, "draft", "us", truth_of(draft))  # fmt: skip

    def click(
        self, page: SimPage, draft: Draft, kept: Item | None, photos: Sequence[str]
    ) -> tuple[str, Item | None]:
        """ "List" was pressed: how it is answered, and what it made."""
        attempt = self.clicked(page, draft)
        click = Click(attempt, truth_of(draft), page.account, self.clock.now)
        self.clicks.append(click)
        how = self.fails("click") or "ok"
        if how in ("refused", "limited"):
            if kept is not None and page.marketplace != "poshmark":
                kept.state = "gone"
            return how, None
        if how in ("draft", "review") and kept is None:
            kept = self.draft(page.account, draft, photos)
        wait = {"late": 40.0, "very late": 1000.0, "review": 400.0}.get(how)
        if how in ("dropped", "expired", "draft"):
            return how, None
        click.pending, click.kept = True, kept

        def comes_true() -> None:
            click.pending = False
            if kept is not None and kept.state != "draft":
                return  # it was deleted meanwhile
            made = kept
            if made is None or page.marketplace == "ebay":
                made = self._add(page.account, draft.title, draft.price, draft.description, draft.quantity,
                                 photos, draft.sku, "live", "us", truth_of(draft))  # fmt: skip
                if kept is not None:
                    kept.state = "gone"
            made.state, made.click = "live", click
            made.listed_from = self.clock.now + self.list_lag
            made.page_from = self.clock.now + self.page_lag
            self.items.remove(made)
            self.items.append(made)

        if wait is not None:
            self._later.append((self.clock.now + wait, comes_true))
            return how, None
        comes_true()
        return how, self.items[-1]

    def save(self, page: SimPage, item: Item, draft: Draft, names: frozenset[str]) -> str:
        """The changes were saved: how that is answered."""
        self.saved(page, item, draft, names)
        how = self.fails("save") or "ok"
        if how in ("refused", "limited", "dropped", "expired"):
            return how

        def comes_true() -> None:
            if item.state != "live":
                return
            item.old = (self.clock.now + self.page_lag, {"title": item.title, "price": item.price})
            for name in names:
                setattr(item, name, getattr(draft, name))
                item.hand.pop(name, None)
            item.passed |= page.by_hand.keys() & item.hand.keys()

        if how == "late":  # at most as late after arming as our worker counts on
            self._later.append((min(self.clock.now + 5.0, page.armed_at + 9.0), comes_true))
            self.let_happen()
        else:
            comes_true()
        return how

    def take_down(self, item: Item, how: str | None) -> None:
        if how == "late":
            self._later.append((self.clock.now + 5.0, lambda: self.end(item, "us")))
        elif how != "ignored":
            self.end(item, "us")

    def find(self, account: str, id: str) -> Item | None:
        return next((one for one in self.items if (one.account, one.id) == (account, id)), None)

    def listed(self, account: str, state: str) -> list[Item]:
        """Newest first."""
        now = self.clock.now
        return [
            one for one in reversed(self.items)
            if one.account == account and one.listed_from <= now
            and (one.state == state or (state == "live" and one.listed_until > now and one.state == "ended"))
        ]  # fmt: skip

    def ordered(self, account: str) -> list[Item]:
        """Newest first; one that was cancelled stays among them."""
        return [
            one for one in reversed(self.items)
            if one.account == account and (one.state == "sold" or one.cancelled)
        ]  # fmt: skip

    def _add(
        self, account: str, title: str, price: Money, description: str, quantity: int, photos: Sequence[str],
        sku: str | None, state: str, by: str, truth: str,
    ) -> Item:  # fmt: skip
        make, _ = IDS[account.partition(":")[0]]
        item = Item(make(next(self._numbers)), account, title, price, description, quantity, tuple(photos),
                    sku, state, by, truth, listed_from=self.clock.now + self.list_lag)  # fmt: skip
        self.items.append(item)
        return item

    # ---- what a visit gets instead of a browser and an adapter ----

    def adapter(self, marketplace: str) -> SimAdapter:
        return SimAdapter(self, marketplace)

    @asynccontextmanager
    async def browser(
        self, *, storage: Storage, base_url: str, deadline: Deadline, **_: Any
    ) -> AsyncIterator[Any]:
        token = next(str(one["value"]) for one in storage.cookies if one["name"] == "token")
        yield SimBrowser(SimPage(self, token, base_url, deadline, working()), storage)


@dataclass
class SimBrowser:
    page: SimPage
    given: Storage
    unlisted_hosts: frozenset[str] = frozenset()

    async def storage(self) -> Storage:
        return self.given


class SimPage:
    """One signed-in browser. Its guard kills it at the deadline: from then on nothing that it was asked
    to do happens."""

    def __init__(self, world: World, token: str, base_url: str, deadline: Deadline, process: Process) -> None:
        self.world, self.token, self.base_url, self.process = world, token, base_url, process
        self.account = token.partition("#")[0]
        self.marketplace = self.account.partition(":")[0]
        self.before: frozenset[str] = frozenset()
        #: As browser/page.py has them. A browser that the guard ended ends its visit here.
        self.clicked = self.gone = False
        self.rest = 0.0
        #: What of the edit form that it has open is by hand; when its change was armed.
        self.by_hand: dict[str, Any] = {}
        #: Of those, what may be written over.
        self.free: set[str] = set()
        self.armed_at = 0.0
        self._deadline = deadline

    async def reach(self, place: str) -> None:
        """Wait there; the machine may let time pass, pause or kill the worker."""
        await self.process.at(place)
        if self._deadline.passed:
            raise LeaseLost

    async def ask(self, verb: str) -> str | None:
        """A page of the marketplace: how it fails, if it raises nothing."""
        await self.reach(verb)
        how = self.world.fails(verb)
        if how == "expired":
            self.world.tokens[self.account].discard(self.token)
        if self.token not in self.world.tokens[self.account]:
            raise SessionExpired("Signed out.")
        if how in _ERRORS and not (verb == "end" and how in ("lost", "late")):
            raise _ERRORS[how]()
        return how

    async def fetch(self, url: str) -> bytes:
        if self._deadline.passed:
            raise LeaseLost
        return url.rpartition("/")[2].encode()


class SimAdapter:
    """The verbs of marketplaces/base.py over the ledger."""

    site = None

    def __init__(self, world: World, marketplace: str) -> None:
        self.world, self.marketplace = world, marketplace
        self.marks = get_form(marketplace).CAPABILITIES.marker_field

    async def find_active(
        self, page: SimPage, *, known: frozenset[str] = frozenset(),
        look_for: Sequence[str] = ("live", "draft", "sold"),
    ) -> list[Active]:  # fmt: skip
        await page.ask("lists")
        found: list[Active] = []
        for state in look_for:
            rows = self.world.listed(page.account, state)
            for start in range(0, len(rows), PAGE):
                shown = rows[start : start + PAGE]
                found += [self._row(page, one, state) for one in shown]
                if any(one.id in known for one in shown):
                    break
        # what is sold it may have read just before, as orders
        listed = [one for state in {*look_for, "sold"} for one in self.world.listed(page.account, state)]
        page.before = frozenset(one.id for one in listed)
        return found

    async def list_active(self, page: SimPage, number: int) -> tuple[list[Active], bool]:
        await page.ask("lists")
        rows = self.world.listed(page.account, "live")
        shown = rows[(number - 1) * PAGE : number * PAGE]
        return [self._row(page, one, "live") for one in shown], len(rows) > number * PAGE

    def _row(self, page: SimPage, item: Item, state: Any) -> Active:
        sku = item.sku if self.marketplace == "ebay" else None
        return Active(item.id, state, item.title, item.price, self._url(page, item.id), sku)

    def _url(self, page: SimPage, id: str) -> str:
        return page.base_url + IDS[self.marketplace][1].format(id)

    async def find_sales(
        self, page: SimPage, *, known: frozenset[str], since: datetime, whole: bool = False,
        look_for: frozenset[str] = frozenset(),
    ) -> Sales:  # fmt: skip
        """One order for each that is sold; pages as the other lists'."""
        await page.ask("orders")
        rows = self.world.ordered(page.account)
        found = Sales()
        for start in range(0, len(rows), PAGE):
            shown = rows[start : start + PAGE]
            found += [
                Sale(f"o{one.id}", one.id, one.title, one.price, one.quantity, cancelled=one.cancelled)
                for one in shown
            ]
            shows = {f"o{one.id}" for one in shown}
            look_for -= shows
            if not shows.isdisjoint(known) and not look_for:
                break
        return found

    async def check_session(self, page: SimPage) -> Account:
        await page.ask("check")
        id = {"ebay": None, "poshmark": UID}.get(self.marketplace, page.account)
        return Account(id, "seller")

    async def publish(
        self, page: SimPage, draft: Draft, photos: Sequence[PhotoFile], arm: Arm, drafted: Drafted
    ) -> Published:
        await page.ask("form")
        hashes = [photo.data.decode() for photo in photos]
        kept = None
        if self.marks:
            kept = self.world.draft(page.account, draft, hashes)
            await drafted(kept.id)
        await page.ask("filled")
        fields = {"title": draft.title, "description": draft.description, "price": draft.price}
        try:
            await arm(partial(_showing, Filled(fields, kept.id if kept else None)))
        finally:
            self.world.armed(page)
        await page.reach("click")
        page.clicked = True
        how, item = self.world.click(page, draft, kept, hashes)
        await page.reach("answer")
        if how == "expired":
            self.world.tokens[page.account].discard(page.token)
        if how in _ERRORS:
            raise _ERRORS[how]()
        if how == "silent" or item is None:
            return Published(said="Something.")
        return Published(item.id, self._url(page, item.id))

    async def revise(
        self,
        page: SimPage,
        remote_id: str,
        draft: Draft,
        photos: Sequence[PhotoFile],
        choose: Choose,
        arm: Arm,
    ) -> Published:
        await page.ask("edit")
        item = self.world.find(page.account, remote_id)
        if item is None or item.state != "live":
            raise _ERRORS["busy"]()
        form = item.form()
        page.by_hand, page.free = dict(item.hand), set()
        self.world.form_shown(page, item)
        names = await choose(Filled(form))
        if names:
            await page.ask("written")
            written = {name: getattr(draft, name) for name in names}
            await arm(partial(_showing, Filled(form | written)))
            page.armed_at = self.world.clock.now
            await page.reach("save")
            how = self.world.save(page, item, draft, names)
            await page.reach("saved")
            if how == "expired":
                self.world.tokens[page.account].discard(page.token)
            if how in _ERRORS:
                raise _ERRORS[how]()
            if how == "silent":
                return Published(said="Something.")
        return Published(item.id, self._url(page, item.id))

    async def read(self, page: SimPage, remote_id: str) -> Seen:
        how = await page.ask("page")
        item = self.world.find(page.account, remote_id)
        url = self._url(page, remote_id)
        if item is None or how == "unknown" or item.page_from > self.world.clock.now or item.state == "gone":
            return Seen("unknown", url)
        if item.state == "draft":
            return Seen("draft" if self.marketplace == "poshmark" else "unknown", url)
        if item.state == "live":
            item.read.append((self.world.clock.now, item.title))
        fields: dict[str, Any] = {"title": item.title, "price": item.price}
        if item.old[0] > self.world.clock.now:
            fields = dict(item.old[1])
        if self.marketplace == "poshmark":
            fields["sku"] = item.sku
        state: Any = item.state
        return Seen(state, url, fields, [f"{page.base_url}/photos/{one}" for one in item.photos])

    async def delist(self, page: SimPage, remote_id: str) -> None:
        how = await page.ask("end")
        item = self.world.find(page.account, remote_id)
        if item is not None and item.state == "live":
            self.world.take_down(item, how)
        await page.reach("ended")
        if how == "lost":
            raise _ERRORS[how]()

    async def discard_draft(self, page: SimPage, draft_id: str) -> bool:
        await page.ask("discard")
        item = self.world.find(page.account, draft_id)
        if item is None or item.state != "draft":
            return False
        item.state = "gone"
        return True


async def _showing(filled: Filled) -> Filled:
    return filled


def truth_of(draft: Draft) -> str:
    """Which of the two listings: the end of its description."""
    return draft.description.rpartition("Number ")[2]


def storage_of(token: str, marketplace: str) -> list[dict[str, Any]]:
    """The cookies that the seller's browser hands over: whose session it is, where the site says so."""
    domain = get_form(marketplace).COOKIE_DOMAINS[0]
    cookies = {"token": token}
    if marketplace == "poshmark":
        cookies["ui"] = json.dumps({"uid": UID, "dh": "seller"})
    return [{"name": name, "value": value, "domain": f".{domain}"} for name, value in cookies.items()]
