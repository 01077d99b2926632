"""What is measured, figure by figure. Each function takes the stage and returns what docs/benchmarks.md
shows. Times are seconds by one clock on one machine."""

from __future__ import annotations

import asyncio
import statistics
import time
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import count
from typing import Any

import psycopg

from benchmarks import bare
from benchmarks.memory import pss_of, worker_pid
from everystall.demo.own_browser import connect, own_browser, pair, sign_in, until
from everystall.demo.stage import Stage, capture
from everystall.installation import find_lack
from everystall.marketplaces import MARKETPLACES
from everystall.processes import Children, answers, free_port, wait_until_ready

_number = count(1)
#: A visit that runs or waits, other than for later.
_AT_WORK = """SELECT 1 FROM procrastinate.procrastinate_jobs WHERE task_name = 'visit'
              UNION ALL SELECT 1 FROM connections WHERE lease_until > now() LIMIT 1"""
#: What the seller's own browser handed over after a moment.
_SEALED_SINCE = (
    "SELECT 1 FROM user_marketplace_sessions WHERE origin = 'extension' AND created_at > %s LIMIT 1"
)


@dataclass
class Bench:
    """The stage, one seller's sessions, and every POST that was made on the way."""

    stage: Stage
    runs: int
    say: Callable[[str], None]
    #: As who may see all of it.
    database: str
    captured: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: The seller's browserProfileIds.
    connected: dict[str, str] = field(default_factory=dict)
    #: Seconds that each POST /api/listings/post took.
    posts: list[float] = field(default_factory=list)
    #: (asked, answered) in Unix time of each POST that found an idle system.
    idle_posts: list[tuple[float, float]] = field(default_factory=list)

    def seller(self, *marketplaces: str) -> None:
        """A new seller, signed in to these; of their own is what they post."""
        name = f"bench{next(_number)}"
        self.stage.new_seller(f"{name}-{time.time_ns()}@example.com")
        for marketplace in marketplaces:
            self.captured[marketplace] = asyncio.run(capture(self.stage, marketplace, name))
            self.connected[marketplace] = self.stage.connect(marketplace, self.captured[marketplace])

    def listing(self) -> str:
        """A new listing with the four photos; titles differ, as a seller's do."""
        number = next(_number)
        return self.stage.new_listing(title=f"Set of 4 photo prints, lot {number}", sku=f"LOT-{number}")

    def publish(self, *marketplaces: str) -> float:
        """Posts a new listing and waits; seconds from the POST's answer to the last page read back."""
        self.rest()
        answered, job_id = self.post(self.listing(), marketplaces, idle=True)
        return self.follow(answered, [job_id])

    def post(self, listing_id: str, marketplaces: Sequence[str], *, idle: bool = False) -> tuple[float, str]:
        """(when it was answered, jobId)"""
        asked, started = time.time(), time.perf_counter()
        job = self.stage.post(listing_id, marketplaces)
        self.posts.append(time.perf_counter() - started)
        answered = time.time()
        if idle:
            self.idle_posts.append((asked, answered))
        return answered, str(job["jobId"])

    def follow(self, answered: float, jobs: Sequence[str]) -> float:
        """Waits until all are done. Raises if one is not live or was not read back equal."""
        ends = []
        for job_id in jobs:
            deadline = time.monotonic() + 300
            while (job := self.stage.call("GET", f"/api/jobs/{job_id}"))["status"] == "running":
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{job_id} did not end: {job}")
                time.sleep(0.05)
            if job["status"] != "done":
                raise RuntimeError(f"{job_id} is {job['status']}: {job['automationResults']}")
            ends += [
                datetime.fromisoformat(pair["finishedAt"]).timestamp() for pair in job["automationResults"]
            ]
        return max(ends) - answered

    def loads(self, marketplace: str) -> list[str]:
        """Every page load so far, in order."""
        listed: dict[str, Any] = answers(f"http://127.0.0.1:{self.stage.sandbox_port}/_loads") or {}
        return list(listed.get(marketplace, []))

    def left(self, marketplace: str) -> dict[str, Any]:
        """What the newest listing there consists of, but for what is each listing's own."""
        newest = self.stage.control("GET", f"ledger?marketplace={marketplace}")["listings"][-1]
        return {**newest["fields"], "title": None, "photos": len(newest["photos"]), "state": newest["state"]}

    def rest(self) -> None:
        """Until nobody works: no visit runs, and none is about to."""
        with psycopg.connect(self.database) as connection:
            deadline = time.monotonic() + 60
            while connection.execute(_AT_WORK).fetchone() is not None:
                if time.monotonic() > deadline:
                    raise RuntimeError("a visit does not end")
                time.sleep(0.02)
                connection.rollback()

    def latency(self, seconds: float) -> None:
        """Every page of every marketplace takes so much longer."""
        self.stage.control("DELETE", "faults")
        for marketplace in MARKETPLACES if seconds else ():
            self.stage.control("POST", "faults", marketplace=marketplace, kind="latency", seconds=seconds)


def overhead(bench: Bench) -> dict[str, dict[str, Any]]:
    """Ours beside a bare script, in turns, per marketplace: median seconds, and every page load of the last
    run. Raises if the two do not leave the same listing."""
    found = {}
    for marketplace in MARKETPLACES:
        ours, theirs = [], []
        for _ in range(bench.runs):
            before = len(bench.loads(marketplace))
            ours.append(bench.publish(marketplace))
            bench.rest()
            our_loads, our_listing = bench.loads(marketplace)[before:], bench.left(marketplace)
            before += len(our_loads)
            theirs.append(asyncio.run(bare.publish(bench.stage, marketplace, bench.captured[marketplace])))
            their_loads, their_listing = bench.loads(marketplace)[before:], bench.left(marketplace)
            if our_listing != their_listing:
                raise RuntimeError(f"not the same work: {our_listing} and {their_listing}")
        found[marketplace] = {
            "ours": statistics.median(ours),
            "bare": statistics.median(theirs),
            "our_loads": our_loads,
            "bare_loads": their_loads,
        }
        bench.say(f"  {marketplace}: {found[marketplace]}")
    return found


def fan_out(bench: Bench, latency: float) -> dict[str, Any]:
    """One listing to all three, over the slowest of the three alone."""
    bench.latency(latency)
    alone: dict[str, list[float]] = {marketplace: [] for marketplace in MARKETPLACES}
    together: list[float] = []
    for run in range(bench.runs):
        slowest = max(alone, key=lambda each: statistics.median(alone[each] or [0.0]))
        for marketplace in MARKETPLACES if run < 2 else (slowest,):
            alone[marketplace].append(bench.publish(marketplace))
        together.append(bench.publish(*MARKETPLACES))
    bench.latency(0)
    slowest = max(alone, key=lambda each: statistics.median(alone[each]))
    return {
        "together": statistics.median(together),
        "slowest": slowest,
        "alone": statistics.median(alone[slowest]),
        "runs_alone": len(alone[slowest]),
        "ratio": statistics.median(together) / statistics.median(alone[slowest]),
    }


def reuse(bench: Bench, marketplace: str = "poshmark", listings: int = 10) -> dict[str, float]:
    """Ten listings to one account in one visit, over ten visits one after the other: from the first wish to
    the end of the (last) visit, when the account is free for the next. Writing the listings is not in it."""
    profile = bench.connected[marketplace]
    in_one, separate = [], []
    for _ in range(bench.runs):
        ids = [bench.listing() for _ in range(listings)]
        bench.rest()
        bench.stage.call("POST", f"/api/connections/{profile}/pause")  # all due before the visit begins
        jobs = [bench.post(each, [marketplace])[1] for each in ids]
        began = time.time()
        bench.stage.call("POST", f"/api/connections/{profile}/resume")
        bench.follow(began, jobs)
        bench.rest()
        in_one.append(time.time() - began)
        seconds = 0.0
        for each in [bench.listing() for _ in range(listings)]:
            answered, job_id = bench.post(each, [marketplace], idle=True)
            bench.follow(answered, [job_id])
            bench.rest()
            seconds += time.time() - answered
        separate.append(seconds)
    return {
        "in_one": statistics.median(in_one),
        "separate": statistics.median(separate),
        "ratio": statistics.median(in_one) / statistics.median(separate),
    }


def pick_ups(bench: Bench) -> list[float]:
    """Seconds from each POST's answer to the moment when its first visit took the listing up, on an idle
    system (finished wake-ups leave no record; the publication's own start is a little later than the
    visit's). May be below zero: the visit can start before the answer has reached us."""
    with psycopg.connect(bench.database) as connection:
        rows = connection.execute(
            "SELECT extract(epoch FROM started_at)::float8 FROM publications WHERE started_at IS NOT NULL"
            " ORDER BY started_at"
        ).fetchall()
    starts = [float(row[0]) for row in rows]
    found = []
    for asked, answered in bench.idle_posts:
        first = bisect(starts, asked)
        if first < len(starts):
            found.append(starts[first] - answered)
    return found


def memory(bench: Bench, marketplace: str = "poshmark") -> dict[int, float]:
    """The highest PSS in MB of worker and browsers while 1, 2 and 4 visits run at once, each of a seller's
    own. Pages take 0.3 s longer, so that the visits overlap."""
    pid = worker_pid(bench.stage.children.pid("everystall"))
    sellers = []
    for _ in range(4):
        bench.seller(marketplace)
        sellers.append(bench.stage.api.headers["Authorization"])
    bench.latency(0.3)
    found = {}
    for visits in (1, 2, 4):
        peaks = []
        for _ in range(bench.runs):
            jobs = []
            for token in sellers[:visits]:
                bench.stage.api.headers["Authorization"] = token
                jobs.append((token, bench.listing()))
            for place, (token, listing_id) in enumerate(jobs):
                bench.stage.api.headers["Authorization"] = token
                jobs[place] = (token, bench.post(listing_id, [marketplace])[1])
            peak = 0.0
            for token, job_id in jobs:
                bench.stage.api.headers["Authorization"] = token
                while bench.stage.call("GET", f"/api/jobs/{job_id}")["status"] == "running":
                    peak = max(peak, pss_of(pid))
            peaks.append(peak)
        found[visits] = statistics.median(peaks)
        bench.say(f"  {visits}: {found[visits]:.0f} MB")
    bench.latency(0)
    return found


async def hand_overs(bench: Bench) -> list[float]:
    """Seconds from the page that follows a sign-in in the seller's own browser to the sealed session, each
    after a sign-out, with the extension paired and connected."""
    name, found = f"bench{next(_number)}", []
    bench.stage.new_seller(f"{name}-{time.time_ns()}@example.com")
    async with own_browser(bench.stage) as browser:
        popup = await pair(bench.stage, browser)
        with psycopg.connect(bench.database, autocommit=True) as connection:
            for marketplace in MARKETPLACES:
                await connect(popup, marketplace)
                for _ in range(bench.runs):
                    await until(popup, marketplace, "needs-sign-in")
                    (began,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
                    page = await sign_in(bench.stage, browser, marketplace, name)
                    arrived = time.perf_counter()
                    while connection.execute(_SEALED_SINCE, [began]).fetchone() is None:
                        await asyncio.sleep(0.01)
                        if time.perf_counter() > arrived + 60:
                            raise RuntimeError(f"no session of {marketplace} was sealed")
                    found.append(time.perf_counter() - arrived)
                    await until(popup, marketplace, "connected")
                    await page.goto(f"{bench.stage.site(marketplace)}/logout")
                    await page.close()
    return found


def warm_start(stage: Stage, runs: int) -> float:
    """`everystall up` to ready, on a data folder that was used before. The stage's own has ended."""
    seconds = []
    for _ in range(runs):
        port = free_port()
        env = {**stage.env, "EVERYSTALL_PORT": str(port)}
        with Children() as children:
            began = time.time()
            children.start("everystall", "up", env=env, log=stage.logs / "warm.log")
            wait_until_ready(partial(find_lack, port, began), children, what="Everystall")
            seconds.append(time.time() - began)
    return statistics.median(seconds)


def p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]
