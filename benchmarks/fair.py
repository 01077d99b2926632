"""The sales' benchmark: sellers with many listings live, buyers, and what goes wrong meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import make_msgid
from itertools import cycle
from random import Random
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
from psycopg.rows import dict_row

from everystall.demo.stage import Stage, capture
from everystall.errors import EverystallError
from everystall.installation import addresses, opened
from everystall.marketplaces import get_form
from everystall.processes import free_port

#: Of so many sales one is bought on a second marketplace too, within seconds.
DOUBLE = 50
#: Seconds from one new listing to the next that is posted beside the sales.
POST_EVERY = 30.0
#: Seconds after the last sale until everything has to be gone, or its seller told.
PATIENCE = 600.0
#: Seconds for which the expired session stays so.
BLIND = 300.0


@dataclass
class Shelf:
    """What one seller has for sale: the API's token, the accounts, and the copies by listing."""

    name: str
    token: str
    #: browserProfileId by marketplace.
    accounts: dict[str, str]
    #: listing → {marketplace: its id there}
    listings: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Where its marketplaces' mails are passed on to; none: there are no mails.
    mails_to: str | None = None


@dataclass
class Fair:
    """A run: its sellers, its buyers, what they did."""

    stage: Stage
    database: str
    say: Callable[[str], None]
    shelves: list[Shelf] = field(default_factory=list)
    #: (Unix time, listing, marketplace) of each purchase.
    bought: list[tuple[float, str, str]] = field(default_factory=list)
    posted: int = 0
    #: Whose session is over: nobody posts for them.
    signed_out: str = ""
    wrong: list[str] = field(default_factory=list)

    def query(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """As the database's owner."""
        with psycopg.connect(self.database, autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(query, values).fetchall()

    def api(self, shelf: Shelf) -> Stage:
        """The stage as this seller."""
        stage = self.stage
        headers = {"Authorization": f"Bearer {shelf.token}"}
        client = httpx.Client(base_url=stage.url, timeout=60, trust_env=False, headers=headers)
        return Stage(stage.settings, stage.env, stage.sandbox_port, stage.logs, stage.children, 0, client)

    def bench(self, method: str, path: str, **body: Any) -> Any:
        """Of the marketplaces' side doors (benchmarks/shop.py)."""
        with httpx.Client(trust_env=False, timeout=120) as client:
            answer = client.request(method, f"http://127.0.0.1:{self.stage.sandbox_port}/{path}",
                                    json=body or None)  # fmt: skip
        answer.raise_for_status()
        return answer.json()


# ---- setting up -----------------------------------------------------------------------------------


def stock(fair: Fair, sellers: int, marketplaces: Sequence[Sequence[str]], copies: int) -> None:
    """Sellers, each with accounts at a set of marketplaces, and so many listings live on all of them."""
    for number in range(sellers):
        name, there = f"fair{number}", marketplaces[number % len(marketplaces)]
        fair.stage.new_seller(f"{name}-{time.time_ns()}@example.com")
        token = fair.stage.api.headers["Authorization"].removeprefix("Bearer ")
        accounts = {
            each: fair.stage.connect(each, asyncio.run(capture(fair.stage, each, name))) for each in there
        }
        shelf = Shelf(name, token, accounts)
        fair.shelves.append(shelf)
        listing = fair.stage.new_listing(title=f"Set of 4 photo prints, {name}", sku=f"{name}-0".upper())
        _follow(fair.stage, str(fair.stage.post(listing, there)["jobId"]))
        _copy(fair, shelf, listing, copies)
        fair.say(f"  {name}: {copies} listings live on {', '.join(there)}")


def _follow(stage: Stage, job_id: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while (job := stage.call("GET", f"/api/jobs/{job_id}"))["status"] == "running":
        if time.monotonic() > deadline:
            raise RuntimeError(f"{job_id} did not end: {job['automationResults']}")
        time.sleep(0.3)
    if job["status"] != "done":
        asked = [(one["marketplace"], one["state"], one["needsYou"]) for one in job["automationResults"]]
        raise RuntimeError(f"{job_id} is {job['status']}: {[one for one in asked if one[2]] or asked}")


def _copy(fair: Fair, shelf: Shelf, template: str, copies: int) -> None:
    """The template again, as if each had been posted: at the marketplaces, and in our rows."""
    names = [f"{shelf.name} lot {n}" for n in range(1, copies + 1)]
    found = fair.query(
        """SELECT p.id, p.marketplace, p.remote_id, a.marker FROM publications p JOIN attempts a ON
           a.publication_id = p.id AND a.outcome = 'live' WHERE p.listing_id = %s""",
        template,
    )
    ids = {}
    for one in found:
        skus = [f"{name.upper()} {one['marker']}" if one["marker"] else name.upper() for name in names]
        ids[one["marketplace"]] = fair.bench(
            "POST", "_copies", marketplace=one["marketplace"], listing_id=one["remote_id"], titles=names,
            skus=skus,
        )["ids"]  # fmt: skip
    with psycopg.connect(fair.database) as connection:
        for n, name in enumerate(names):
            row = connection.execute(
                _LISTING, {"id": template, "title": name, "sku": name.upper()}
            ).fetchone()
            assert row is not None
            for one in found:
                connection.execute(_THERE, {"of": one["id"], "listing": row[0], "title": name,
                                            "remote_id": ids[one["marketplace"]][n]})  # fmt: skip
            shelf.listings[str(row[0])] = {one["marketplace"]: ids[one["marketplace"]][n] for one in found}


_LISTING = """
INSERT INTO listings (user_id, title, sku, description, brand, category, condition, colors, price_cents,
    original_price_cents, package, ships_from_zip, shipping_payer)
SELECT user_id, %(title)s, %(sku)s, description, brand, category, condition, colors, price_cents,
    original_price_cents, package, ships_from_zip, shipping_payer
FROM listings WHERE id = %(id)s RETURNING id"""
_THERE = """
WITH p AS (
    INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision, put,
        put_revision, seen, seen_at, state, remote_id, url, read_back)
    SELECT user_id, %(listing)s, connection_id, marketplace, 1, 'live', 1, 'live', now(), 'live',
        %(remote_id)s, replace(url, remote_id, %(remote_id)s), read_back
    FROM publications WHERE id = %(of)s RETURNING id)
INSERT INTO attempts (user_id, publication_id, connection_id, listing_revision, marker, draft, fields_hash,
    photo_hashes, fence, remote_id, url, outcome, armed_at, answered_at)
SELECT a.user_id, p.id, a.connection_id, 1, a.marker, a.draft || jsonb_build_object('title', %(title)s::text),
    a.fields_hash, a.photo_hashes, a.fence, %(remote_id)s, replace(a.url, a.remote_id, %(remote_id)s), 'live',
    a.armed_at, a.answered_at
FROM p, attempts a WHERE a.publication_id = %(of)s AND a.outcome = 'live'"""


# ---- the buyers, and what goes wrong --------------------------------------------------------------


def buy_all(fair: Fair, sales: int, seconds: float, seed: int) -> None:
    """So many purchases over the time, each of something that is still for sale; now and then of the same on
    another marketplace a few seconds later. Where mails are passed on, the marketplace's comes at once."""
    random, began = Random(seed), time.time()
    there = [(shelf, listing, ids) for shelf in fair.shelves for listing, ids in shelf.listings.items()]
    random.shuffle(there)
    at = sorted(random.uniform(0, seconds) for _ in range(sales))
    for n, (when, (shelf, listing, ids)) in enumerate(zip(at, there, strict=False), 1):
        time.sleep(max(0.0, began + when - time.time()))
        first, *others = random.sample(list(ids), len(ids))
        _buy(fair, shelf, listing, first, ids[first])
        if n % DOUBLE == 0 and others:
            time.sleep(random.uniform(0.5, 3))
            _buy(fair, shelf, listing, others[0], ids[others[0]])
        if n % 50 == 0:
            fair.say(f"  {n} sold, {fair.posted} posted beside, {len(fair.wrong)} wrong")


def _buy(fair: Fair, shelf: Shelf, listing: str, marketplace: str, remote_id: str) -> None:
    try:
        fair.stage.control("POST", "buy", marketplace=marketplace, listing_id=remote_id)
    except httpx.HTTPStatusError:  # gone there already
        return
    fair.bought.append((time.time(), listing, marketplace))
    if shelf.mails_to is not None:
        title = fair.query("SELECT title FROM listings WHERE id = %s", listing)[0]["title"]
        mail = _mail(marketplace, title, remote_id).as_bytes()
        httpx.post(shelf.mails_to, content=mail, headers={"content-type": "message/rfc822"}, timeout=60,
                   trust_env=False).raise_for_status()  # fmt: skip


def pass_mails_on(fair: Fair) -> None:
    """Each seller has the marketplaces' mails passed on to the product."""
    for shelf in fair.shelves:
        path = urlsplit(fair.api(shelf).call("POST", "/api/hints/mail")["url"]).path
        shelf.mails_to = f"{fair.stage.url}{path}"


def _mail(marketplace: str, title: str, remote_id: str) -> EmailMessage:
    """The marketplace's words to its seller, as public tools know them (the adapters' NOTES.md)."""
    subject, text = {
        "poshmark": (f'"{title}" just sold to @buyer on Poshmark!', "Ship it within 7 days."),
        "mercari": (f"You've made a sale: {title}", f"ID: {remote_id}"),
        "ebay": (f"You made the sale for {title}!", f"Item number: {remote_id}"),
    }[marketplace]
    mail = EmailMessage()
    mail["From"], mail["Subject"] = f"no-reply@{get_form(marketplace).SALE_MAIL.domain}", subject
    mail["Message-ID"] = make_msgid()
    mail.set_content(text)
    return mail


def keep_posting(fair: Fair, ends: threading.Event) -> None:
    """Sellers in turn post a new listing everywhere."""
    for n, shelf in enumerate(cycle(fair.shelves)):
        if ends.wait(POST_EVERY):
            return
        if shelf.name == fair.signed_out:
            continue
        stage = fair.api(shelf)
        try:
            name = f"{shelf.name} beside {n}"
            listing = stage.new_listing(title=f"Set of 4 photo prints, {name}", sku=name.upper())
            _follow(stage, str(stage.post(listing, list(shelf.accounts))["jobId"]))
            fair.posted += 1
        except (EverystallError, RuntimeError, httpx.HTTPError) as e:
            fair.wrong.append(f"posting beside: {e}"[:300])


def expire_one(fair: Fair, ends: threading.Event, after: float) -> None:
    """A session of the first seller's is over, and the seller signs in again some minutes later."""
    if ends.wait(after):
        return
    shelf = fair.shelves[0]
    marketplace = next(iter(shelf.accounts))
    fair.signed_out = shelf.name
    fair.stage.control("POST", "sessions", marketplace=marketplace, account=shelf.name, lifetime_seconds=0)
    fair.say(f"  {shelf.name} is signed out of {marketplace}")
    ends.wait(min(BLIND, after))
    fair.stage.control(
        "POST", "sessions", marketplace=marketplace, account=shelf.name, lifetime_seconds=86400
    )
    fair.api(shelf).connect(marketplace, asyncio.run(capture(fair.stage, marketplace, shelf.name)))
    fair.signed_out = ""
    fair.say(f"  {shelf.name} is signed in to {marketplace} again")


def kill_one(fair: Fair, ends: threading.Event, after: float) -> None:
    """A worker in the middle of what it does; there is another, and half a minute later a new one."""
    if ends.wait(after):
        return
    os.kill(fair.stage.children.pid("second"), signal.SIGKILL)
    fair.say("  a worker is killed")
    ends.wait(30)
    start_worker(fair, "third")


def start_worker(fair: Fair, name: str) -> None:
    with opened(fair.stage.settings, prepared=False) as settings:
        env = {**fair.stage.env, **addresses(settings), "EVERYSTALL_PORT": str(free_port())}
    fair.stage.children.start(name, "worker", env=env, log=fair.stage.logs / f"{name}.log")
