"""The stage of the simulation and its judge: one seller per example, our real rows in a real PostgreSQL.

Time: the workers' clock is simulated (`Clock`); the database's cannot be set, so *time passes* by moving the
seller's times back, all in one statement, together with how long the example really took meanwhile. Leases
of workers that run stay as they are: their renewals come round while time passes. What is sealed with its
expiry (sessions) does not age.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import psycopg

from everystall.db import Database
from everystall.errors import EverystallError
from everystall.inventory import handover, jobs
from everystall.inventory.publications import ACTIONS_FOR
from everystall.marketplaces.base import Draft, Money
from everystall.settings import Settings
from everystall.vault.sessions import Vault
from everystall.web import connections, publications, relisting
from everystall.web import listings as web_listings
from everystall.web.deps import SignedIn
from everystall.worker.run import find_due
from everystall.worker.visit import Tools
from tests.simulation.hands import Hands
from tests.simulation.market import IDS, Item, SimPage, World, storage_of, truth_of
from tests.simulation.workers import Clock, GatedDatabase, Process, SimDriver, SimPhotos

PHOTOS = ("a1" * 32, "b2" * 32)
#: Steps after which a visit has to be over.
MANY = 400
#: Looks for something due after which everything has to be settled.
ROUNDS = 120
#: What has to have happened before the seller is told that it did.
CAUSES = {
    "page_changed": {"changed", "broken"},
    "challenge": {"challenge"},
    "account_limited": {"limited"},
    "listing_rejected": {"refused"},
    "not_published": {"draft", "review", "dropped", "expired", "very late"},
    "session_expired": {"expired", "signed out"},
    "marketplace_busy": {"busy", "rest", "lost", "ignored", "unknown", "silent", "late", "dropped"},
}
_LISTING = """
WITH l AS (INSERT INTO listings (user_id, title, brand, category, description, size, condition, colors,
               price_cents, original_price_cents, package, ships_from_zip, shipping_payer, overrides)
           VALUES (%(user)s, 'Linen shirt, hardly worn', 'Levi''s', 'men.shirts.casual', %(description)s, 'M',
               'good', '{blue}', 2500, 6000,
               '{"weight_oz": 12, "length_in": 12, "width_in": 9, "height_in": 2}', '94110', 'buyer',
               '{"ebay": {"payment_policy": "A", "return_policy": "B", "shipping_policy": "C"}}')
           RETURNING id),
     p AS (INSERT INTO listing_photos (user_id, listing_id, position, sha256, content_type, width, height,
               byte_size)
           SELECT %(user)s, l.id, n - 1, sha256, 'image/jpeg', 800, 600, 1
           FROM l, unnest(%(photos)s::text[]) WITH ORDINALITY AS photo (sha256, n))
SELECT id FROM l"""
_SHIFT = """
WITH p AS (UPDATE publications SET next_try_at = next_try_at - %(by)s, paced_to = paced_to - %(by)s,
               asked_at = asked_at - %(by)s, started_at = started_at - %(by)s, seen_at = seen_at - %(by)s
           WHERE user_id = %(user)s),
     a AS (UPDATE attempts SET armed_at = armed_at - %(by)s, next_look_at = next_look_at - %(by)s,
               draft_discarded_at = draft_discarded_at - %(by)s,
               created_at = created_at - %(by)s, revising_at = revising_at - %(by)s,
               repost_asked_at = repost_asked_at - %(by)s
           WHERE user_id = %(user)s)
UPDATE connections SET next_check_at = next_check_at - %(by)s, last_post_at = last_post_at - %(by)s,
    rest_until = rest_until - %(by)s,
    watched_at = watched_at - %(by)s, watch_failing_since = watch_failing_since - %(by)s,
    next_list_at = next_list_at - %(by)s,
    lease_until = lease_until - CASE WHEN id = ANY(%(renewed)s) THEN %(real)s ELSE %(by)s END
WHERE user_id = %(user)s"""
_NEXT = """
SELECT extract(epoch FROM min(at) - now())::float AS seconds FROM (
    SELECT next_try_at AS at FROM publications
    WHERE user_id = %(user)s AND (looking OR (unsettled AND needs_you IS NULL))
    UNION ALL SELECT next_look_at FROM attempts WHERE user_id = %(user)s AND outcome = 'unresolved'
    UNION ALL SELECT next_check_at FROM connections WHERE user_id = %(user)s
        AND (watched_at IS NULL OR watch_failing_since IS NOT NULL)  -- the next look always comes
    UNION ALL SELECT lease_until FROM connections WHERE user_id = %(user)s) t WHERE at > now()"""
#: All that the judge looks at, in one go.
_ALL = """
SELECT (SELECT coalesce(json_agg(p), '[]') FROM publications p WHERE user_id = %(user)s) AS seen,
    (SELECT coalesce(json_agg(a), '[]') FROM attempts a WHERE user_id = %(user)s) AS tried,
    (SELECT coalesce(json_agg(f), '[]') FROM (
        SELECT j.id, j.status, j.finished_at IS NOT NULL AS over,
               bool_and(r.finished_at IS NOT NULL) AS all_over, array_agg(r.needs_you) AS asked
        FROM jobs j JOIN listing_automation_results r ON r.job_id = j.id
        WHERE j.user_id = %(user)s GROUP BY j.id) f) AS followed"""
_JOBS = """
DELETE FROM procrastinate_jobs WHERE task_name = 'visit' AND status = 'todo'
RETURNING args ->> 'connection_id' AS id, args ->> 'lane' AS lane"""


class Stage:
    """What all examples of a run share."""

    def __init__(
        self, settings: Settings, vault: Vault, database: Database, clock: Clock, admin_url: str
    ) -> None:
        self.settings, self.vault, self.database, self.clock = settings, vault, database, clock
        self.admin: psycopg.Connection[dict[str, Any]] = psycopg.connect(
            admin_url, autocommit=True, row_factory=psycopg.rows.dict_row,
            options="-c search_path=public,procrastinate",
        )  # fmt: skip
        self.loop = asyncio.new_event_loop()

    def close(self) -> None:
        self.loop.run_until_complete(self.database.close())
        self.loop.close()
        self.admin.close()

    def tools(self, world: World) -> Callable[[Process], Tools]:
        def make(process: Process) -> Tools:
            db = GatedDatabase(self.database, process)
            vault = Vault(db, self.vault._keyring, self.settings)
            driver: Any = SimDriver()
            adapter: Any = world.adapter
            return Tools(
                db, vault, SimPhotos(), self.settings, driver, asyncio.Event(), adapter, world.browser
            )

        return make


class Life:
    """One seller with accounts, listings and jobs, and the workers: one example."""

    def __init__(self, stage: Stage, marketplaces: tuple[str, ...], workers: int = 3) -> None:
        self.stage, self.clock, self.loop = stage, stage.clock, stage.loop
        self.clock.now = 1000.0
        self._since = time.monotonic()
        self.world = World(self.clock)
        self.world.armed, self.world.clicked = self._armed, self._clicked
        self.hands = Hands(self)
        self.world.form_shown, self.world.saved = self.hands.form_shown, self.hands.saved
        made = stage.admin.execute("INSERT INTO users (email) VALUES (gen_random_uuid()::text) RETURNING id")
        self.user_id: UUID = made.fetchone()["id"]  # type: ignore[index]
        self.who = SignedIn(self.user_id, self.user_id, "api", frozenset())
        self.accounts: list[str] = [f"{one}:{self.user_id.hex[:8]}" for one in marketplaces]
        self.connections: dict[str, Any] = {}
        self.public_ids: dict[str, str] = {}
        self.workers = [Process(stage.tools(self.world)) for _ in range(workers)]
        self.graves: list[Process] = []
        self.jobs: list[str] = []
        self.wrong: list[str] = []
        #: attempt → what the lists had shown to the browser that armed it
        self.before: dict[str, frozenset[str]] = {}
        self.clicks: set[UUID] = set()
        #: Listings of which the seller said: it is there.
        self.told: set[str] = set()
        for account in self.accounts:
            self.connect(account)
        self.listings: list[UUID] = [self._write(number) for number in range(2)]

    def _write(self, number: int) -> UUID:
        """All the same but what no list or page shows: the hardest to tell apart."""
        (row,) = self.rows(
            _LISTING, photos=list(PHOTOS),
            description=f"A light linen shirt, worn twice, washed cold. Number {number} of two.",
        )  # fmt: skip
        id: UUID = row["id"]
        return id

    # ---- the seller ----

    def seller(self, does: Callable[[Any], Awaitable[Any]]) -> Any:
        """One request as the seller, through our own functions; None if it is refused."""

        async def request() -> Any:
            async with self.stage.database.as_user(self.user_id) as session:
                return await does(session)

        try:
            return self.run(request())
        except EverystallError as e:
            if e.status >= 500:
                raise
            return None

    def connect(self, account: str) -> None:
        marketplace = account.partition(":")[0]
        cookies = storage_of(self.world.sign_in(account), marketplace)
        given = handover.Handover(
            marketplace, cookies, {}, {}, None, (), None, datetime.now(UTC), self.public_ids.get(account)
        )

        async def take(session: Any) -> tuple[UUID, str]:
            taken = await handover.take(session, self.stage.vault, self.stage.settings, self.user_id, given)
            return taken.connection.id, taken.connection.public_id

        taken = self.seller(take)
        if taken is None:  # the account was taken away with all that was there: it is a new one
            del self.public_ids[account]
            self.connect(account)
        else:
            self.connections[account], self.public_ids[account] = taken

    def post(self, listing: UUID, accounts: list[str], key: str | None = None) -> None:
        async def post(session: Any) -> str:
            marketplaces = [account.partition(":")[0] for account in accounts]
            return (await jobs.post(session, self.user_id, listing, marketplaces, (), key)).job.id

        job = self.seller(post)
        if job is not None and job not in self.jobs:
            self.jobs.append(job)

    def edit(self, listing: UUID, **fields: Any) -> None:
        self.seller(partial(web_listings.patch_listing, listing, web_listings.ListingBody(**fields)))

    def resume(self) -> None:
        self.seller(lambda session: connections.resume_all(session, self.who))
        for public_id in self.public_ids.values():
            self.seller(partial(connections.resume_connection, public_id))

    def look_at_orders(self) -> None:
        """All of them, with what was cancelled, the next time that somebody looks."""
        self.rows(
            "UPDATE connections SET next_check_at = now(), next_list_at = now() WHERE user_id = %(user)s "
            "RETURNING id"
        )

    def hand_posts(self, account: str) -> None:
        """The seller writes the same once more, in the marketplace's own form."""
        (row,) = self.rows(
            "SELECT title, price_cents FROM listings WHERE id = %(id)s", id=self.listings[0]
        ) or ({"title": "Linen shirt, hardly worn", "price_cents": 2500},)
        self.world.hand_posts(
            account, row["title"], Money(amount=row["price_cents"]), [one[:64] for one in PHOTOS]
        )

    def relist(self, listing: UUID, account: str) -> None:
        """It has stood there for long."""
        here = {"listing": listing, "account": self.connections[account]}
        self.stage.admin.execute(
            """UPDATE attempts a SET armed_at = a.armed_at - interval '40 days' FROM publications p
               WHERE p.id = a.publication_id AND a.outcome = 'live' AND p.listing_id = %(listing)s
                 AND p.connection_id = %(account)s""",
            here,
        )
        path = partial(relisting.relist_now, listing, self.public_ids[account])
        self.seller(path)

    def buttons(self, listing: UUID, account: str) -> list[str]:
        rows = self.rows(
            "SELECT needs_you FROM publications WHERE listing_id = %(id)s AND connection_id = %(account)s",
            id=listing, account=self.connections[account],
        )  # fmt: skip
        asked = (rows[0]["needs_you"] if rows else None) or {"actions": []}
        return [one["name"] for one in asked["actions"] if one["name"] not in ("reconnect", "resume")]

    async def press(self, listing: UUID, account: str, action: str, item: int, session: Any) -> None:
        truth = f"{self.listings.index(listing)} of two."
        there = [
            one for one in self.world.items if one.account == account and one.truth in (truth, "by hand")
        ]
        url = None
        if action == "it_is_there" and there:
            self.told.add(there[item % len(there)].id)
            path = IDS[account.partition(":")[0]][1].format(there[item % len(there)].id)
            url = self.stage.settings.base_url(account.partition(":")[0]) + path
        body = publications.ActionBody(url=url)
        conflict = self.hands.conflict(listing, account)
        await publications.decide(listing, self.public_ids[account], action, session, body)
        self.hands.answered(action, conflict)

    async def disconnect(self, account: str, force: bool, session: Any) -> None:
        parts: Any = SimpleNamespace(vault=self.stage.vault)
        await connections.delete_connection(self.public_ids[account], session, parts, force)

    def reconnect(self) -> None:
        """The seller sets right what keeps accounts from being visited."""
        rows = self.rows(
            """SELECT c.public_id, c.paused_at IS NOT NULL OR u.paused_at IS NOT NULL AS paused,
                      c.needs_you IS NOT NULL AS asks
               FROM users u LEFT JOIN connections c ON c.user_id = u.id WHERE u.id = %(user)s"""
        )
        for account in self.accounts:
            asks = [row["asks"] for row in rows if row["public_id"] == self.public_ids.get(account)]
            if not self.world.tokens[account] or asks != [False]:
                self.connect(account)
        if any(row["paused"] for row in rows):
            self.resume()

    # ---- time and workers ----

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(what)

    def pass_time(self, seconds: float) -> None:
        now = time.monotonic()
        real, self._since = now - self._since, now
        running = [one for one in self.workers if one.busy and one.lease is not None and not one.paused]
        self.stage.admin.execute(
            _SHIFT,
            {"user": self.user_id, "by": timedelta(seconds=seconds - real), "real": timedelta(seconds=-real),
             "renewed": [one.lease.connection_id for one in running if one.lease is not None]},
        )  # fmt: skip
        self.clock.now += seconds
        self.world.let_happen()
        for worker in running if seconds else ():  # the first tells only what time it was before
            self.run(worker.renew())
            self.run(worker.renew())

    def work(self, worker: Process, connection_id: UUID, lane: str, steps: int) -> None:
        self.run(worker.start(connection_id, lane))
        self.run(worker.go_on(steps))

    def start(self, worker: Process, account: str, lane: str = "visits") -> None:
        self.run(worker.start(self.connections[account], lane))

    def visit(self, account: int = 0) -> None:
        """One whole visit."""
        self.work(self.workers[0], self.connections[self.accounts[account]], "visits", MANY)

    def decide(self, listing: int, action: str, account: int = 0, item: int = 0) -> None:
        self.seller(partial(self.press, self.listings[listing], self.accounts[account], action, item))

    def publication(self, listing: int = 0, account: int = 0) -> dict[str, Any]:
        (row,) = self.rows(
            "SELECT * FROM publications WHERE listing_id = %(listing)s AND connection_id = %(account)s",
            listing=self.listings[listing], account=self.connections[self.accounts[account]],
        )  # fmt: skip
        return row

    def kill(self, number: int) -> None:
        self.graves.append(self.workers[number])
        self.workers[number] = Process(self.stage.tools(self.world))

    def close(self) -> None:
        for worker in (*self.workers, *self.graves):
            self.run(worker.die())
        self.stage.admin.execute("DELETE FROM users WHERE id = %s", [self.user_id])
        self.stage.admin.execute(_JOBS)

    # ---- the judge ----

    def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        return self.stage.admin.execute(query, {"user": self.user_id, **values}).fetchall()

    def _newest(self, page: SimPage) -> dict[str, Any]:
        (row,) = self.rows(
            """SELECT a.id, a.fence, a.outcome, c.lease_fence, c.lease_until > clock_timestamp() AS held,
                      c.rest_until > clock_timestamp() AS rests
               FROM connections c LEFT JOIN LATERAL (SELECT * FROM attempts WHERE connection_id = c.id
                   AND armed_at IS NOT NULL ORDER BY armed_at DESC LIMIT 1) a ON true WHERE c.id = %(id)s""",
            id=self.connections[page.account],
        )
        return row

    def _armed(self, page: SimPage) -> None:
        row, lease = self._newest(page), page.process.lease
        if row["id"] is None or lease is None:
            return
        self.before.setdefault(str(row["id"]), page.before)
        if row["fence"] == lease.fence and not (row["held"] and row["lease_fence"] == lease.fence):
            self.wrong.append("armed after the lease was lost")

    def _clicked(self, page: SimPage, draft: Draft) -> Any:
        row = self._newest(page)
        lease = page.process.lease
        if row["id"] is None or row["outcome"] is not None:
            self.wrong.append("a click for which no attempt is armed")
        if row["id"] in self.clicks:
            self.wrong.append("a second click for one attempt")
        self.clicks.add(row["id"])
        if (
            lease is None
            or not row["held"]
            or row["lease_fence"] != lease.fence
            or row["fence"] != lease.fence
        ):
            self.wrong.append("a click after the lease was lost")
        if row["rests"]:
            self.wrong.append("a post while the marketplace wants to be left alone")
        outcomes = self._outcomes()
        for click in self.world.clicks:
            same = (click.truth, click.account) == (truth_of(draft), page.account)
            there = click.comes or any(one.click is click for one in self.world.live())
            if same and there and outcomes.get(click.attempt) != "unresolved":
                self.wrong.append(
                    f"a click while the listing is there or comes ({outcomes.get(click.attempt)})"
                )
        return str(row["id"])

    def _outcomes(self) -> dict[str, str | None]:
        rows = self.rows("SELECT id, outcome FROM attempts WHERE user_id = %(user)s")
        return {str(row["id"]): row["outcome"] for row in rows}

    def judge(self) -> None:
        """What holds after every step."""
        ((seen, tried, followed),) = (row.values() for row in self.rows(_ALL))
        publications = {row["id"]: row for row in seen}
        attempts = {row["id"]: row for row in tried}
        account_of = {str(id): account for account, id in self.connections.items()}
        for publication in publications.values():
            self._judge_question(publication["needs_you"])
            armed = [one for one in attempts.values() if one["publication_id"] == publication["id"]
                     and one["armed_at"] is not None and one["outcome"] is None]  # fmt: skip
            if len(armed) > 1:
                self.wrong.append("two open attempts")
            live = [
                one
                for one in attempts.values()
                if one["publication_id"] == publication["id"] and one["outcome"] == "live"
            ]
            if (publication["put"] == "live") != bool(live):
                self.wrong.append(f"put is {publication['put']} and {len(live)} attempts are live")
        for attempt in attempts.values():
            if attempt["outcome"] == "live":
                account = account_of.get(attempt["connection_id"])
                if account is not None:
                    self._judge_live(attempt, publications[attempt["publication_id"]], account)
        for item in self.world.live():
            if item.click is not None and not item.edited:
                self._judge_item(item, attempts, publications)
        self.hands.judge(attempts.values())
        self._judge_jobs(followed)
        if self.wrong:
            raise AssertionError("; ".join(dict.fromkeys(self.wrong)))

    def _judge_question(self, asked: dict[str, Any] | None) -> None:
        if asked is None:
            return
        if asked.get("reason") not in ACTIONS_FOR or not asked.get("message") or not asked.get("actions"):
            self.wrong.append(f"a question without reason, words or buttons: {asked}")
        cause = CAUSES.get(asked["reason"])
        if cause is not None and not cause & self.world.met:
            self.wrong.append(
                f"the seller is told of what did not happen: {asked['reason']}, {asked['message']}"
            )

    def _judge_live(self, attempt: dict[str, Any], publication: dict[str, Any], account: str) -> None:
        """I4: live is said of what was read, is ours, and is there unless somebody else took it away."""
        item = self.world.find(account, attempt["remote_id"])
        if item is None or publication["remote_id"] != attempt["remote_id"]:
            self.wrong.append(f"live, and no such listing: {attempt['remote_id']}")
            return
        if not item.read:
            self.wrong.append("live, and its page was never read")
        if item.by == "us" and (item.click is None or item.click.attempt != attempt["id"]):
            self.wrong.append("another attempt's listing was taken for ours")
        if item.by == "hand" and item.id not in self.told and item.id in self.before.get(attempt["id"], ()):
            self.wrong.append("an old listing of the seller's own was taken for ours")
        taking_down = publication["state"] == "ending" or publication["wanted"] == "ended"
        if item.state != "live" and item.gone_by == "us" and not taking_down:
            self.wrong.append("live, and we took it down")

    def _judge_item(self, item: Item, attempts: dict[str, Any], publications: dict[str, Any]) -> None:
        """I1, I2: what we made live is known to us, as live or as a question."""
        assert item.click is not None
        attempt = attempts.get(item.click.attempt)
        if attempt is None:
            self.wrong.append("a live listing of ours is forgotten")
            return
        publication = publications[attempt["publication_id"]]
        # what the site put back by itself we hear of with its order
        known = attempt["outcome"] in (None, "unresolved") or (item.back and attempt["outcome"] == "sold")
        if attempt["outcome"] == "live":
            known = publication["put"] == "live" and publication["remote_id"] == item.id
            adopted = self.world.find(item.account, attempt["remote_id"])
            known = known or (adopted is not None and adopted.by == "hand")
        if not known:
            self.wrong.append(f"a live listing of ours counts as {attempt['outcome']}")

    def _judge_jobs(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            for asked in row["asked"]:
                self._judge_question(asked)
            if row["over"] != row["all_over"] or (row["status"] == "running") == row["over"]:
                self.wrong.append(f"a job is {row['status']}, its pairs over: {row['all_over']}")

    # ---- the end ----

    def settle(self) -> None:
        """Kind marketplaces, living workers, connected accounts: until nothing is due any more."""
        self.world.be_kind()
        for worker in self.workers:
            worker.paused, worker.fault = False, None
            self.run(worker.go_on(MANY))
            if worker.busy:
                raise AssertionError("a visit that does not end")
        self.pass_time(5000)
        self.reconnect()
        for _ in range(ROUNDS):
            woken = self._woken()
            if not woken:
                seconds = self.rows(_NEXT)[0]["seconds"]
                if seconds is None:
                    break
                self.pass_time(max(seconds + 1, 100.0))
            for connection_id, lane in woken:
                self.work(self.workers[0], connection_id, lane, MANY)
                if self.workers[0].busy:
                    raise AssertionError("a visit that does not end")
        else:
            self.wrong.append("it does not settle")
        self.judge()
        self._judge_end()

    def _woken(self) -> list[tuple[UUID, str]]:
        """Whom the queue or a tick wakes now."""
        self.run(find_due(self.stage.database))
        woken = sorted((row["lane"], row["id"]) for row in self.rows(_JOBS))
        return [(UUID(id), lane) for lane, id in woken]

    def _judge_end(self) -> None:
        """Everything has come to an end that says what to do; live there is what we say is live, no more."""
        for publication in self.rows("SELECT * FROM publications WHERE user_id = %(user)s"):
            if publication["needs_you"] is None and (publication["unsettled"] or publication["looking"]):
                self.wrong.append("it waits for ever: {wanted}, {put}, {state}".format(**publication))
        if (
            self.rows("""SELECT 1 FROM publications p JOIN listings l ON l.id = p.listing_id
                        WHERE p.user_id = %(user)s AND p.wanted = 'live' AND l.quantity <= l.quantity_sold""")
        ):
            self.wrong.append("the last one is sold, and it is still wanted for sale")
        if self.rows("SELECT 1 FROM jobs WHERE user_id = %(user)s AND status = 'running'"):
            self.wrong.append("a job that does not end")
        self.hands.judge_end()
        outcomes = self._outcomes()
        there: dict[tuple[str, str], int] = {}
        for item in self.world.live():
            if item.click is None or item.edited:
                continue
            there[item.truth, item.account] = there.get((item.truth, item.account), 0) + 1
            if outcomes.get(item.click.attempt) == "unresolved":
                self.wrong.append("it is there, and we gave up looking")
        if any(number > 1 for number in there.values()):
            self.wrong.append("a listing is there twice")
        if self.wrong:
            raise AssertionError("; ".join(dict.fromkeys(self.wrong)))
