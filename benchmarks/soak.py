"""`make soak`: hours of steady posting, selling and taking down, at the rate that this machine holds, and
whether anything grows that should not. Writes docs/soak.md.

make soak                       two hours
make soak ARGS="--minutes 10"   a quick look

Two sellers each write a listing, post it to the three practice marketplaces and wait until it is live. Every
third is bought on one of them; what is sold, or older than the newest ten, is taken down everywhere. Each
begins the next as soon as the last is done. At the end the marketplaces' ledger is compared with what we say.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from benchmarks import commit
from benchmarks.memory import PROC, descendants, own_memory, worker_pid
from everystall import __version__
from everystall.demo.stage import Stage, capture, set_up
from everystall.errors import EverystallError
from everystall.installation import addresses, opened
from everystall.marketplaces import MARKETPLACES
from everystall.processes import interruptible

PAGE = Path(__file__).resolve().parent.parent / "docs" / "soak.md"
SELLERS = 2
#: Listings of a seller that stay live; every so many of the new ones are bought.
KEPT, SOLD_EVERY = 10, 3
#: Seconds between two samples; the part of the time that is warming up.
SAMPLE_SECONDS, WARM_UP = 10.0, 0.25
#: Samples from one line of progress to the next.
SAID_EVERY = 12
#: How far the median of the last third after warming up may be from that of the first.
FLAT = 0.10
#: Seconds until a listing has to be live, or gone.
PATIENCE = 300.0


@dataclass
class Soak:
    """What happened, from all threads."""

    stage: Stage
    database: str
    #: Unix time.
    began: float = 0.0
    ends_at: float = 0.0
    #: Unix time of each listing that came to be live everywhere.
    posted: list[float] = field(default_factory=list)
    sold: int = 0
    taken_down: int = 0
    #: What went otherwise than it should, in words.
    wrong: list[str] = field(default_factory=list)
    #: Per sample: seconds since the start, and megabytes or a number by name.
    samples: list[tuple[float, dict[str, float]]] = field(default_factory=list)


# ---- the sellers ----------------------------------------------------------------------------------


class Seller(threading.Thread):
    """One who goes on until the time is over, and leaves ten listings live."""

    def __init__(self, soak: Soak, number: int) -> None:
        super().__init__(name=f"seller {number}", daemon=True)
        self._soak, self._number = soak, number
        stage = soak.stage
        stage.new_seller(f"soak{number}-{time.time_ns()}@example.com")
        for marketplace in MARKETPLACES:
            stage.connect(marketplace, asyncio.run(capture(stage, marketplace, f"soak{number}")))
        # a stage of its own: another client, another token
        api = httpx.Client(base_url=stage.url, timeout=60, trust_env=False, headers=stage.api.headers)
        self._stage = Stage(stage.settings, stage.env, stage.sandbox_port, stage.logs, stage.children, 0, api)

    def run(self) -> None:
        live: deque[str] = deque()
        lots = 0
        while time.time() < self._soak.ends_at:
            lots += 1
            try:
                live.append(self._post(lots))
                if lots % SOLD_EVERY == 0:
                    self._sell(live[-1], list(MARKETPLACES)[lots // SOLD_EVERY % len(MARKETPLACES)])
                    self._take_down(live.pop())
                while len(live) > KEPT:
                    self._take_down(live.popleft())
            except (EverystallError, RuntimeError, httpx.HTTPError) as e:
                self._soak.wrong.append(f"seller {self._number}, lot {lots}: {e}"[:500])
                if len(self._soak.wrong) > 20:
                    return

    def _post(self, lot: int) -> str:
        name = f"lot {self._number}-{lot}"
        listing_id = self._stage.new_listing(title=f"Set of 4 photo prints, {name}", sku=name.upper())
        job_id = self._stage.post(listing_id, list(MARKETPLACES))["jobId"]
        deadline = time.monotonic() + PATIENCE
        while (job := self._stage.call("GET", f"/api/jobs/{job_id}"))["status"] == "running":
            if time.monotonic() > deadline:
                raise RuntimeError(f"{job_id} did not end: {job['automationResults']}")
            time.sleep(0.3)
        if job["status"] != "done":
            raise RuntimeError(f"{job_id} is {job['status']}: {job['automationResults']}")
        self._soak.posted.append(time.time())
        return listing_id

    def _sell(self, listing_id: str, marketplace: str) -> None:
        """Somebody buys it there. That we are not told of it is no part of this: the next step finds out."""
        for one in self._publications(listing_id):
            if one["marketplace"] == marketplace:
                self._stage.control("POST", "buy", marketplace=marketplace, listing_id=one["remoteId"])
                self._soak.sold += 1

    def _take_down(self, listing_id: str) -> None:
        where = f"/api/listings/{listing_id}/publications"
        for one in self._publications(listing_id):
            self._stage.call("POST", f"{where}/{one['browserProfileId']}/end")
        deadline = time.monotonic() + PATIENCE
        while any(one["state"] not in ("ended", "sold") for one in self._publications(listing_id)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{listing_id} was not taken down: {self._publications(listing_id)}")
            time.sleep(0.3)
        self._soak.taken_down += 1

    def _publications(self, listing_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._stage.call("GET", f"/api/listings/{listing_id}/publications")
        return found


# ---- what is watched ------------------------------------------------------------------------------


def watch(soak: Soak, sellers: list[Seller]) -> None:
    """Takes a sample every ten seconds until the sellers have stopped."""
    up = soak.stage.children.pid("everystall")
    worker = worker_pid(up)
    with psycopg.connect(soak.database, autocommit=True) as connection:
        (backend,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        postmaster = int((PROC / str(backend) / "stat").read_text().rsplit(")", 1)[1].split()[1])
        while any(seller.is_alive() for seller in sellers):
            sample = {"everystall up": own_memory(up), "PostgreSQL, all of it": 0.0}
            for pid in (postmaster, *descendants(postmaster)):
                sample["PostgreSQL, all of it"] += own_memory(pid)
            for pid in descendants(up):
                name = _name(pid)
                if name is not None:
                    sample[name] = sample.get(name, 0.0) + own_memory(pid)
            (connections,) = connection.execute(_CONNECTIONS).fetchone() or (0,)
            sample["connections"] = float(connections)
            sample["browsers"] = float(len(_browsers(worker)))
            soak.samples.append((time.time() - soak.began, sample))
            if len(soak.samples) % SAID_EVERY == 1:
                _say(soak)
            time.sleep(SAMPLE_SECONDS)


def _say(soak: Soak) -> None:
    """How far it is, on a line of standard error."""
    at, sample = soak.samples[-1]
    memory = ", ".join(f"{name} {number:.0f}" for name, number in sample.items())
    done = f"{len(soak.posted)} posted, {soak.taken_down} taken down, {len(soak.wrong)} wrong"
    sys.stderr.write(f"{at / 60:.0f} min: {done}; MB and numbers: {memory}\n")


_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


def _name(pid: int) -> str | None:
    """What a process under `everystall up` is called in the page; None for browsers and their guards."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    for word in (b"web", b"worker"):
        if b"everystall" in words and word in words:
            return word.decode()
    return "Playwright's driver" if b"run-driver" in words else None


def _browsers(worker: int) -> list[int]:
    found = []
    for pid in descendants(worker):
        try:
            words = (PROC / str(pid) / "cmdline").read_bytes()
        except OSError:
            continue
        if b"--user-data-dir" in words and b"--type=" not in words:
            found.append(pid)
    return found


def left_behind(soak: Soak) -> dict[str, int]:
    """What is there and should not be, a minute after the last visit at most."""
    worker = worker_pid(soak.stage.children.pid("everystall"))
    deadline = time.monotonic() + 60
    while True:
        with psycopg.connect(soak.database) as connection:
            rows = {name: connection.execute(query).fetchone() or (0,) for name, query in _LEFT.items()}
        found = {name: int(row[0]) for name, row in rows.items()}
        found["Chromium processes"] = len(_browsers(worker))
        found["profile folders"] = len(list(profiles(soak.stage).glob("*")))
        found["guards' folders"] = len(list(Path(tempfile.gettempdir()).glob(f"evs-{worker}-*")))
        if not any(found.values()) or time.monotonic() > deadline:
            return found
        time.sleep(1)


def profiles(stage: Stage) -> Path:
    return stage.settings.everystall_home / "run" / "profiles"


_LEFT = {
    "leases": "SELECT count(*) FROM connections WHERE lease_until IS NOT NULL",
    "wake-ups": "SELECT count(*) FROM procrastinate.procrastinate_jobs WHERE task_name = 'visit'",
    "jobs that run": "SELECT count(*) FROM jobs WHERE status = 'running'",
    "publications not settled": "SELECT count(*) FROM publications WHERE unsettled OR looking",
    "publications that need somebody": "SELECT count(*) FROM publications WHERE needs_you IS NOT NULL",
    "attempts without an outcome": "SELECT count(*) FROM attempts WHERE outcome IS NULL",
    "transactions that idle": "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'",
}


def judge(soak: Soak) -> tuple[Counter[str], list[str]]:
    """What the marketplaces' ledger has, by state, and where it says otherwise than we do."""
    listed = soak.stage.control("GET", "ledger")["listings"]
    there = {(one["marketplace"], one["listing_id"]): one["state"] for one in listed}
    drafts = [key for key, state in there.items() if state == "draft"]
    with psycopg.connect(soak.database) as connection:
        ours = connection.execute("SELECT marketplace, remote_id, put FROM publications").fetchall()
    said = {(marketplace, remote_id): put for marketplace, remote_id, put in ours}
    wrong = [f"{key}: a draft was left" for key in drafts]
    wrong += [f"{key}: we say {put}, it is {there.get(key)}" for key, put in said.items()
              if there.get(key) != put]  # fmt: skip
    wrong += [f"{key}: {there[key]}, and none of ours" for key in there.keys() - said.keys() - set(drafts)]
    if len(said) != len(ours):
        wrong.append(f"{len(ours) - len(said)} publications point at another's listing")
    return Counter(there.values()), wrong


# ---- the page -------------------------------------------------------------------------------------


def thirds(soak: Soak, name: str) -> tuple[float, float, float]:
    """After warming up: the median of the first third, of the last, and the highest of all."""
    warm = soak.samples[-1][0] * WARM_UP
    values = [sample[name] for at, sample in soak.samples if at >= warm and name in sample]
    part = max(1, len(values) // 3)
    return statistics.median(values[:part]), statistics.median(values[-part:]), max(values)


def write(soak: Soak, minutes: float, left: dict[str, int], states: Counter[str], wrong: list[str]) -> str:
    ends, begins = soak.samples[-1][0], soak.samples[-1][0] * WARM_UP
    part = (ends - begins) / 3
    posted = [at - soak.began for at in soak.posted]
    first = sum(begins <= at < begins + part for at in posted) / part * 60
    last = sum(ends - part <= at <= ends for at in posted) / part * 60
    names = sorted({name for _, sample in soak.samples for name in sample} - {"connections", "browsers"})
    rows = []
    for name in names:
        before, after, highest = thirds(soak, name)
        flat = abs(after / before - 1) <= FLAT
        measured = f"{before:.0f} → {after:.0f} MB ({after / before - 1:+.1%}; highest {highest:.0f})"
        rows.append((f"memory of {name}", measured, "± 10 %", flat))
    before, after, highest = thirds(soak, "connections")
    rows.append(("connections to the database", f"{before:.0f} → {after:.0f} (highest {highest:.0f})",
                 "no more", after <= before * (1 + FLAT)))  # fmt: skip
    rows += [(f"{name} left at the end", f"{number}", "0", number == 0) for name, number in left.items()]
    rows.append(("listings that the ledger has otherwise than we say", f"{len(wrong)}", "0", not wrong))
    rows.append(("steps that went wrong", f"{len(soak.wrong)}", "0", not soak.wrong))
    page = f"""\
# Soak

Measured by `make soak` on {time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}, {minutes:.0f} minutes, with
Everystall {__version__}{commit()} and {os.cpu_count()} cores. What runs and how it is judged is in
[benchmarks/soak.py](../benchmarks/soak.py): after the first quarter, which is warming up, the median of the
last third beside that of the first. A process's memory is what is its alone; browsers come and go.

{len(soak.posted)} listings were posted to three marketplaces each ({first:.1f} a minute in the first third,
{last:.1f} in the last), {soak.sold} were bought and {soak.taken_down} taken down. The ledger has
{", ".join(f"{number} {state}" for state, number in sorted(states.items()))}.

| | measured | goal | |
|---|---|---|---|
"""
    page += "".join(
        f"| {name} | {measured} | {goal} | {'met' if good else '**not met**'} |\n"
        for name, measured, goal, good in rows
    )
    if soak.wrong or wrong:
        page += "\n## What went wrong\n\n" + "".join(f"- {line}\n" for line in [*soak.wrong, *wrong][:40])
    return page


def soak_for(home: Path, minutes: float) -> str:
    with set_up(home=home, more={"WORKER_VISITS": "3"}) as stage:
        with opened(stage.settings, prepared=False) as settings:
            database = addresses(settings)["DATABASE_ADMIN_URL"]
        soak = Soak(stage, database)
        sellers = [Seller(soak, number) for number in range(SELLERS)]
        soak.began = time.time()
        soak.ends_at = soak.began + 60 * minutes
        for seller in sellers:
            seller.start()
        watch(soak, sellers)
        left = left_behind(soak)
        states, wrong = judge(soak)
    return write(soak, minutes, left, states, wrong)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--no-write", action="store_true")
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="everystall-soak-"))
    try:
        with interruptible():
            page = soak_for(home, given.minutes)
    except EverystallError as e:
        sys.exit(f"{e.message}\n{e.action}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    sys.stdout.write(page)
    if not given.no_write:
        PAGE.write_text(page)
    sys.exit("not met" if "**not met**" in page else 0)


if __name__ == "__main__":
    main()
