"""`make bench-sales`: what sells is found and taken down elsewhere, at which speed, while workers post, one
is killed and a session expires. Writes docs/sales.md. Two and a half hours; parts by themselves with --only.

make bench-sales                                     all of it
make bench-sales ARGS="--only hour --minutes 6"      the hour, shorter (its sales in proportion)

Ten sellers are signed in to the three practice marketplaces, each posts one listing through the product, and
that one is copied: at the marketplaces by their own hand, and here as rows. The buyers' times are by a seed.
Judged by the marketplaces' ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from benchmarks import commit
from benchmarks.engine import cpu_of
from benchmarks.fair import (
    BLIND,
    DOUBLE,
    PATIENCE,
    POST_EVERY,
    Fair,
    buy_all,
    expire_one,
    keep_posting,
    kill_one,
    pass_mails_on,
    start_worker,
    stock,
)
from benchmarks.memory import pss_of, worker_pid
from everystall import __version__
from everystall.browser.chromium import LAUNCH_ARGS, find_chromium
from everystall.demo.stage import set_up
from everystall.errors import EverystallError
from everystall.installation import addresses, opened
from everystall.marketplaces import MARKETPLACES
from everystall.processes import interruptible
from everystall.sandbox.testing import sign_in_at

PAGE = Path(__file__).resolve().parent.parent / "docs" / "sales.md"
PARTS = ("hour", "fast", "mails", "quiet")
#: Of the runs with five accounts: 60 sales each, whatever becomes of the hour.
MINUTES = 10.0
#: Seconds after its last one is sold, by the ledger, in which a listing is gone elsewhere, or told as late.
LATE = 300.0
#: (marketplace, its id there)
Key = tuple[str, str]


# ---- judging --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """Seconds, and counts, of one run."""

    sales: int
    detected: list[float]
    confirmed: list[float]
    #: Sold on two marketplaces, and of those, how many the seller was told of.
    doubles: int
    doubles_told: int
    #: For sale too long after the last one was sold, at the end or at any time, and nobody was told.
    left: int
    told_late: int
    posted: int
    wrong: tuple[str, ...]


def settle(fair: Fair) -> None:
    """Until nothing is to be done, or patience ends."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        (left,) = fair.query("SELECT count(*) AS n FROM take_downs WHERE gone_at IS NULL")
        (seen,) = fair.query("SELECT count(*) AS n FROM sales WHERE listing_id IS NOT NULL")
        if left["n"] == 0 and seen["n"] >= len(fair.bought):
            return
        time.sleep(2)


def judge(fair: Fair) -> Outcome:
    ledger = fair.stage.control("GET", "ledger")
    state = {(one["marketplace"], one["listing_id"]): one["state"] for one in ledger["listings"]}
    sold_at = {
        (one["marketplace"], one["listing_id"]): datetime.fromisoformat(one["at"]).timestamp()
        for one in reversed(ledger["entries"]) if one["event"] == "sold"
    }  # fmt: skip
    ended_at = {
        (one["marketplace"], one["listing_id"]): datetime.fromisoformat(one["at"]).timestamp()
        for one in ledger["entries"] if one["event"] == "ended"
    }  # fmt: skip
    rows = fair.query(_SEEN)
    observed = {(row["marketplace"], row["remote_id"]): row["at"] for row in rows}
    detected = [observed[key] - at for key, at in sold_at.items() if key in observed]
    told = {str(row["listing_id"]) for row in fair.query("SELECT listing_id FROM double_sales")}
    late = {str(row["listing_id"]) for row in fair.query(_LATE)}
    confirmed, doubles, doubles_told, left = [], 0, 0, 0
    for listing, ids in [item for shelf in fair.shelves for item in shelf.listings.items()]:
        there = list(ids.items())
        sales = [sold_at[key] for key in there if key in sold_at]
        if not sales:
            continue
        if len(sales) > 1:
            doubles += 1
            doubles_told += listing in told
        left += listing not in late and stayed(there, sold_at, ended_at)
        ended = any(key in ended_at for key in there)
        if ended and not any(state[key] == "live" for key in there):
            confirmed.append(_confirmed(fair, listing) - min(sales))
    ours = [((row["marketplace"], row["remote_id"]), row["at"]) for row in fair.query(_OURS)]
    fair.wrong += too_soon(ours, state, sold_at, ended_at)
    for key in sold_at.keys() - observed.keys():
        fair.wrong.append(f"{key} was sold and we do not know it")
    return Outcome(len(sold_at), detected, confirmed, doubles, doubles_told, left, len(late), fair.posted,
                   tuple(fair.wrong))  # fmt: skip


def stayed(there: Sequence[Key], sold_at: Mapping[Key, float], ended_at: Mapping[Key, float]) -> bool:
    """Whether one of a listing's places was for sale for too long after its last one was sold."""
    last = min(sold_at[key] for key in there if key in sold_at)
    gone = [ended_at.get(key, sold_at.get(key, math.inf)) for key in there]
    return max(gone) - last > LATE


def too_soon(
    ours: Sequence[tuple[Key, float]], state: Mapping[Key, str], sold_at: Mapping[Key, float],
    ended_at: Mapping[Key, float],
) -> list[str]:  # fmt: skip
    """What we wrote down as gone before it was, by the ledger."""
    found = []
    for key, at in ours:
        gone = ended_at.get(key, sold_at.get(key))
        if gone is None and state.get(key) == "live":
            found.append(f"{key} is for sale and we say that it is gone")
        elif gone is not None and at < gone:
            found.append(f"{key} was gone {gone - at:.3f} s after we said so")
    return found


def _confirmed(fair: Fair, listing: str) -> float:
    """When the last of the others' own pages said that it is gone."""
    return float(fair.query(_GONE, listing)[0]["at"])


_SEEN = """
SELECT c.marketplace, s.remote_id, extract(epoch FROM s.observed_at)::float8 AS at
FROM sales s JOIN connections c ON c.id = s.connection_id WHERE s.listing_id IS NOT NULL"""
_OURS = """
SELECT p.marketplace, p.remote_id, extract(epoch FROM t.gone_at)::float8 AS at
FROM take_downs t JOIN publications p ON p.id = t.publication_id WHERE t.gone_at IS NOT NULL"""
_LATE = """
SELECT p.listing_id FROM take_downs t JOIN publications p ON p.id = t.publication_id
WHERE t.told_at IS NOT NULL"""
_GONE = """
SELECT extract(epoch FROM max(t.gone_at))::float8 AS at
FROM take_downs t JOIN publications p ON p.id = t.publication_id WHERE p.listing_id = %s"""


# ---- the runs -------------------------------------------------------------------------------------


def fair(home: Path, say: Callable[[str], None], more: dict[str, str], run: Callable[[Fair], Any]) -> Any:
    home.mkdir()
    with set_up(home=home, more={"WORKER_VISITS": "3", **more}, sandbox="benchmarks.shop") as stage:
        with opened(stage.settings, prepared=False) as settings:
            database = addresses(settings)["DATABASE_ADMIN_URL"]
        return run(Fair(stage, database, say))


def hour(here: Fair, minutes: float, seed: int) -> Outcome:
    """30 accounts, 1,000 sales an hour, posting beside, a worker killed, a session expired."""
    sales, seconds = round(1000 * minutes / 60), minutes * 60
    stock(here, 10, [list(MARKETPLACES)], sales // 10 + 1)
    start_worker(here, "second")
    ends = threading.Event()
    beside = [
        threading.Thread(target=keep_posting, args=(here, ends), daemon=True),
        threading.Thread(target=expire_one, args=(here, ends, seconds / 3), daemon=True),
        threading.Thread(target=kill_one, args=(here, ends, seconds / 2), daemon=True),
    ]
    here.say(f"{sales} sales over {minutes:g} minutes")
    for thread in beside:
        thread.start()
    buy_all(here, sales, seconds, seed)
    ends.set()
    for thread in beside:
        thread.join(PATIENCE)
    settle(here)
    return judge(here)


def fast(here: Fair, minutes: float, seed: int, *, mails: bool = False) -> Outcome:
    """5 accounts of two sellers, 60 sales in ten minutes: looked at every 10 s, or at each mail about a sale
    and else by the default."""
    sales = round(60 * minutes / MINUTES)
    stock(here, 2, [list(MARKETPLACES), list(MARKETPLACES)[:2]], sales // 2 + 1)
    if mails:
        pass_mails_on(here)
    here.say(f"{sales} sales over {minutes:g} minutes")
    buy_all(here, sales, minutes * 60, seed)
    settle(here)
    return judge(here)


@dataclass(frozen=True)
class Quiet:
    accounts: int
    #: Of one check.
    cpu_seconds: float
    megabytes: float
    #: Of all checks, and of worker, driver and browsers at most.
    seconds: float
    pss: float

    @property
    def per_hour(self) -> float:
        return self.accounts / self.seconds * 3600


async def sign_in_all(here: Fair, accounts: int) -> None:
    """Each in a context of its own of one browser: a browser of its own for each would take half an hour.
    A seller has one on each marketplace: a session that does not say whose it is goes to the only one."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(here.stage.settings), args=LAUNCH_ARGS
        )
        for n, marketplace in zip(range(accounts), cycle(MARKETPLACES)):
            if n % len(MARKETPLACES) == 0:
                here.stage.new_seller(f"quiet{n}-{time.time_ns()}@example.com")
            async with await browser.new_context() as context:
                session = await sign_in_at(context, here.stage.site(marketplace), marketplace, f"quiet{n}")
            here.stage.connect(marketplace, session)
            if n % 50 == 49:
                here.say(f"  {n + 1} accounts signed in")


def quiet(here: Fair, accounts: int) -> Quiet:
    """Accounts on which nothing happens, each looked at once."""
    asyncio.run(sign_in_all(here, accounts))
    looked = "SELECT count(*) AS n FROM connections WHERE watched_at IS NULL OR watched_at < to_timestamp(%s)"

    def until_looked(since: float) -> float:
        highest, worker = 0.0, worker_pid(here.stage.children.pid("everystall"))
        while here.query(looked, since)[0]["n"]:
            highest = max(highest, pss_of(worker))
            time.sleep(1)
        return highest

    until_looked(0)  # the first look only remembers
    time.sleep(5)
    before, began, served = _cpu(here), time.time(), here.bench("GET", "_bytes")["bytes"]
    here.query("UPDATE connections SET next_check_at = now() RETURNING 1")
    highest = until_looked(began)
    seconds = time.time() - began
    megabytes = (here.bench("GET", "_bytes")["bytes"] - served) / 1e6
    return Quiet(accounts, (_cpu(here) - before) / accounts, megabytes / accounts, seconds, highest)


def _cpu(here: Fair) -> float:
    """Seconds of processor time of the whole machine but for the marketplaces and ourselves: also of browsers
    that ended. So nothing else may run."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    user, nice, system, _idle, _waiting, irq, softirq = (int(word) for word in words)
    busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return busy - cpu_of(here.stage.children.pid("sandbox")) - cpu_of(os.getpid())


# ---- the page -------------------------------------------------------------------------------------


def p95(values: Sequence[float]) -> float:
    return (
        statistics.quantiles(values, n=20, method="inclusive")[-1]
        if len(values) > 1
        else max(values, default=float("nan"))
    )


def rows(found: dict[str, Any]) -> list[tuple[str, str, str, bool | None]]:
    """(figure, measured, goal, met)"""
    made: list[tuple[str, str, str, bool | None]] = []
    for part, says, seen, gone in (
        ("hour", "30 accounts, default settings, posting beside", 120.0, 300.0),
        ("fast", "5 accounts, looked at every 10 s", None, 30.0),
        ("mails", "5 accounts, default settings, each sale's mail passed on at once", None, 20.0),
    ):
        one = found.get(part)
        if one is None:
            continue
        detected, confirmed = p95(one.detected), p95(one.confirmed)
        made += [
            (f"{says}: sold → seen, p95 of {len(one.detected)}", f"{detected:.1f} s",
             f"≤ {seen:.0f} s" if seen else "", None if seen is None else detected <= seen),
            (f"sold → gone everywhere else, p95 of {len(one.confirmed)}",
             f"{confirmed:.1f} s (median {statistics.median(one.confirmed):.1f}, longest "
             f"{max(one.confirmed):.1f})", f"≤ {gone:.0f} s", confirmed <= gone),
            ("sold twice, and told", f"{one.doubles_told} of {one.doubles}", "all",
             one.doubles_told == one.doubles),
            (f"for sale more than {LATE:.0f} s after the last was sold, and nobody told", f"{one.left}", "0",
             one.left == 0),
            ("told as late", f"{one.told_late}", "", None),
            ("listings posted to all beside it", f"{one.posted}", "", None),
            ("steps that went wrong", f"{len(one.wrong)}", "0", not one.wrong),
        ]  # fmt: skip
    one = found.get("quiet")
    if one is not None:
        made += [
            (f"one check of a quiet account ({one.accounts} looked at once)",
             f"{one.cpu_seconds:.2f} s of a core, {one.megabytes:.2f} MB from the marketplace", "", None),
            ("such checks an hour, one worker with three visits at once", f"{one.per_hour:.0f}", "", None),
            ("memory of worker, driver and browsers meanwhile, highest", f"{one.pss:.0f} MB", "", None),
        ]  # fmt: skip
    return made


KNOWN = """\
## What is known of when it sold

Of an order's own time we know what its marketplace shows: eBay the minute, Poshmark the day, Mercari none. So
*Sold* on the page of sales is *not known* but for eBay, and of what is sold twice *the earlier sale wins*
goes by when we saw the orders, unless both are eBay's, or their days are more than two apart.
"""


def write(found: dict[str, Any], seconds: float) -> str:
    words = {True: "met", False: "**not met**", None: ""}
    table = "".join(f"| {name} | {measured} | {goal} | {words[good]} |\n"
                    for name, measured, goal, good in rows(found))  # fmt: skip
    wrong = [line for one in found.values() for line in getattr(one, "wrong", ())]
    said = "\n## What went wrong\n\n" + "".join(f"- {line}\n" for line in wrong[:40]) if wrong else ""
    return f"""\
# Sold once

Measured by `make bench-sales` on {time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())} in {seconds / 60:.0f}
minutes, with Everystall {__version__}{commit()} and {os.cpu_count()} cores, on which the practice
marketplaces and the buyers run too. What happens is in [benchmarks/sales.py](../benchmarks/sales.py):
purchases at times by a seed, one of {DOUBLE} on two marketplaces within three seconds; a new listing posted
to all every {POST_EVERY:.0f} s; after a third of the time a session that expires, for {BLIND / 60:.0f}
minutes; at half time a worker that is killed. The times of sales are the ledger's; *seen* is when we wrote it
down, *gone* when the page of the last other listing said so, and what the ledger says otherwise is a step
that went wrong. A mail about a sale comes in the moment of the sale here.

| figure | measured | goal | |
|---|---|---|---|
{table}{said}
{KNOWN}"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-sales", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--minutes", type=float, help="of the hour; writes nothing")
    parser.add_argument("--accounts", type=int, default=1000, help="quiet ones")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-write", action="store_true")
    given = parser.parse_args()
    parts, began = given.only or PARTS, time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="everystall-sales-"))

    def say(line: str) -> None:
        sys.stdout.write(f"[{time.monotonic() - began:5.0f} s] {line}\n")
        sys.stdout.flush()

    runs: dict[str, tuple[dict[str, str], Callable[[Fair], Any]]] = {
        "hour": ({}, lambda here: hour(here, given.minutes or 60, given.seed)),
        "fast": ({"WATCH_SECONDS": "10", "WATCH_ALONE_SECONDS": "10"},
                 lambda here: fast(here, MINUTES, given.seed)),
        "mails": ({}, lambda here: fast(here, MINUTES, given.seed, mails=True)),
        # none is due a second time while the others are looked at
        "quiet": ({"WATCH_ALONE_SECONDS": "86400"}, lambda here: quiet(here, given.accounts)),
    }  # fmt: skip
    found = {}
    try:
        with interruptible():
            for part in parts:
                say(part)
                more, run = runs[part]
                found[part] = fair(home / part, say, more, run)
    except EverystallError as e:
        sys.exit(f"{e.message}\n{e.action}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    page = write(found, time.monotonic() - began)
    sys.stdout.write(page)
    if not (given.no_write or given.only or given.minutes):
        PAGE.write_text(page)
    sys.exit("not met" if "**not met**" in page else 0)


if __name__ == "__main__":
    main()
