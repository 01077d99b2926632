"""`make bench`: measures all figures on this machine and writes docs/benchmarks.md and docs/queries.md. At
most 40 minutes.

make bench                              everything, medians of 7
make bench ARGS="--runs 3 --no-write"   a quick look
make bench ARGS="--only engine"         one part: its rows are shown
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import commit, engine, figures, machines, queries, security, ticks
from everystall import __version__
from everystall.browser.chromium import find_chromium
from everystall.demo.stage import set_up
from everystall.errors import EverystallError
from everystall.installation import addresses, opened
from everystall.marketplaces import MARKETPLACES
from everystall.processes import interruptible

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
PLANS = PAGE.with_name("queries.md")
#: On a whole Everystall beside the practice marketplaces, and on a PostgreSQL of the part's own.
ON_STAGE = ("overhead", "fan-out", "reuse", "memory", "extension", "security", "machines", "start")
APART = ("engine", "ticks", "queries")
PARTS = (*APART, *ON_STAGE)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="and no others; writes docs/queries.md at most"
    )
    parser.add_argument("--no-write", action="store_true")
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="everystall-bench-"))
    os.chdir(home)  # an .env of yours is for the real thing
    try:
        with interruptible():
            page, plans = measure(home, given.runs, tuple(given.only or PARTS))
    except EverystallError as e:
        sys.exit(f"{e.message}\n{e.action}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    sys.stdout.write(f"\n{page}")
    for path, text, whole in ((PAGE, page, True), (PLANS, plans, False)):
        if text and not given.no_write and not (whole and given.only):
            path.write_text(text)
            sys.stdout.write(f"\nWritten to {path}\n")


def measure(home: Path, runs: int, parts: tuple[str, ...]) -> tuple[str, str]:
    """The page of figures and, if they were asked for, the page of plans. `say` tells how far it is."""
    began = time.monotonic()

    def say(line: str) -> None:
        sys.stdout.write(f"[{time.monotonic() - began:5.0f} s] {line}\n")
        sys.stdout.flush()

    found: dict[str, Any] = {}
    if "engine" in parts:
        say("engine: visits beside bare no-ops")
        found["engine"] = engine.measure(home / "engine", runs, say)
    if "ticks" in parts:
        say("ticks: 100,000 accounts that become due over ten minutes")
        found["ticks"] = ticks.measure(home / "ticks", say)
    if "queries" in parts:
        say("queries: filling in a million publications and jobs")
        found["queries"] = asyncio.run(queries.measure(home / "queries", say))
    if set(parts) & set(ON_STAGE):
        _on_stage(home, runs, parts, found, say)
    page = write(found, runs, time.monotonic() - began, say)
    return page, _plans(found["queries"]) if "queries" in found else ""


def _on_stage(
    home: Path, runs: int, parts: tuple[str, ...], found: dict[str, Any], say: Callable[[str], None]
) -> None:
    with set_up(home=home, more={"WORKER_VISITS": "4"}, sandbox="benchmarks.sandbox") as stage:
        with opened(stage.settings, prepared=False) as settings:
            database = addresses(settings)["DATABASE_ADMIN_URL"]
        bench = figures.Bench(stage, runs, say, database)
        bench.seller(*MARKETPLACES)
        for marketplace in MARKETPLACES:
            bench.publish(marketplace)  # the first of all is not what a day is made of
        bench.posts.clear()
        bench.idle_posts.clear()
        if "overhead" in parts:
            say("overhead: ours beside a bare script")
            found["overhead"] = figures.overhead(bench)
        if "fan-out" in parts:
            for latency in (0.0, 1.0):
                say(f"fan-out at {latency:.0f} s per page")
                found[f"fan-out {latency:.0f}"] = figures.fan_out(bench, latency)
        if "reuse" in parts:
            say("reuse: ten listings in one visit, and in ten")
            found["reuse"] = figures.reuse(bench)
        if "memory" in parts and Path("/proc/self/smaps_rollup").exists():
            say("memory of 1, 2 and 4 visits")
            found["memory"] = figures.memory(bench)
        if "extension" in parts:
            say("extension: from a sign-in to the sealed session")
            found["extension"] = asyncio.run(figures.hand_overs(bench))
        if "security" in parts:
            say("security: what the walls cost; guessers beside others")
            found["security"] = security.measure(bench)
        if "machines" in parts:
            say("machines: take-over, take-down, a post beside 5,000")
            found["machines"] = machines.measure(bench)
        found["posts"] = bench.posts
        found["pick-ups"] = figures.pick_ups(bench)
    if "start" in parts:
        say("everystall up, warm")
        found["start"] = figures.warm_start(stage, runs)


def write(found: dict[str, Any], runs: int, seconds: float, say: Any) -> str:
    parts = (_overhead, _fan_out, _others, _security, machines.rows, _engine, _queries)
    rows = [row for part in parts for row in part(found)]
    head = f"""\
# Benchmarks

Measured by `make bench` on {time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())} in {seconds / 60:.0f}
minutes, with Everystall {__version__}{commit()}. Medians of {runs} unless said otherwise; times in seconds.

Machine: {_machine()}.

Everything is real but the marketplaces: `everystall up` with its embedded PostgreSQL, a Chromium per visit,
the practice marketplaces of this repository on the same machine, four photographs per listing. What each
figure means is in [benchmarks/figures.py](../benchmarks/figures.py), the bare scripts in
[benchmarks/bare.py](../benchmarks/bare.py).

| figure | measured | goal | |
|---|---|---|---|
"""
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows) + _loads(found) + _statements()


def _row(name: str, measured: str, goal: str, good: bool) -> tuple[str, str, str, str]:
    return name, measured, goal, "met" if good else "**not met**"


def _overhead(found: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = []
    for marketplace, got in found.get("overhead", {}).items():
        label = MARKETPLACES[marketplace]
        more, loads = got["ours"] - got["bare"], len(got["our_loads"]) - len(got["bare_loads"])
        seconds = f"{got['ours']:.2f} − {got['bare']:.2f} = {more:.2f} s"
        pages = f"{len(got['our_loads'])} − {len(got['bare_loads'])} = {loads}"
        rows.append(_row(f"{label}: publish, over a bare script", seconds, "≤ 0.8 s", more <= 0.8))
        rows.append(_row(f"{label}: page loads, over a bare script", pages, "≤ 4", loads <= 4))
    return rows


def _loads(found: dict[str, Any]) -> str:
    """Every page load of one publish, ours and the bare script's."""
    if "overhead" not in found:
        return ""
    rows = ["", "## The page loads, one by one", "", "| | ours | bare script |", "|---|---|---|"]
    for marketplace, got in found["overhead"].items():
        ours, theirs = ("<br>".join(f"`{path}`" for path in got[key]) for key in ("our_loads", "bare_loads"))
        rows.append(f"| {MARKETPLACES[marketplace]} | {ours} | {theirs} |")
    return "\n".join(rows) + "\n"


def _fan_out(found: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = []
    for latency, goal in ((1, 1.3), (0, 2.6)):
        got = found.get(f"fan-out {latency}")
        if got:
            name = f"three marketplaces ÷ the slowest alone, {latency} s per page"
            slowest = f"{MARKETPLACES[got['slowest']]}, {got['runs_alone']} runs"
            measured = f"{got['together']:.2f} ÷ {got['alone']:.2f} ({slowest}) = {got['ratio']:.2f}"
            rows.append(_row(name, measured, f"≤ {goal}", got["ratio"] <= goal))
    return rows


def _others(found: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = []
    if reuse := found.get("reuse"):
        measured = f"{reuse['in_one']:.1f} ÷ {reuse['separate']:.1f} = {reuse['ratio']:.2f}"
        name = "ten listings in one visit ÷ ten visits (Poshmark)"
        rows.append(_row(name, measured, "≤ 0.7", reuse["ratio"] <= 0.7))
    if len(found.get("pick-ups", ())) > 1:
        wait, post = 1000 * figures.p95(found["pick-ups"]), 1000 * figures.p95(found["posts"])
        name = f"POST answered → visit started, p95 of {len(found['pick-ups'])} on an idle system"
        rows.append(_row(name, f"{wait:.0f} ms", "≤ 100 ms", wait <= 100))
        name = f"`POST /api/listings/post`, p95 of {len(found['posts'])}"
        rows.append(_row(name, f"{post:.0f} ms", "≤ 50 ms", post <= 50))
    for visits, megabytes in found.get("memory", {}).items():
        name = f"PSS of worker and Chromium, {visits} visit{'s' if visits > 1 else ''} at once, highest"
        rows.append((name, f"{megabytes:.0f} MB", "", ""))
    if sealed := found.get("extension"):
        name = f"signed in at a marketplace → session sealed, by the extension, p95 of {len(sealed)}"
        seconds = figures.p95(sealed)
        rows.append(_row(name, f"{seconds:.1f} s", "≤ 3 s", seconds <= 3))
    if start := found.get("start"):
        rows.append(_row("`everystall up` to ready, warm", f"{start:.1f} s", "≤ 5 s", start <= 5))
    return rows


def _security(found: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    got = found.get("security")
    if not got:
        return []
    seal, log_in, bare, walled = (1000 * got[name] for name in ("seal", "log_in", "open", "walled"))
    wall = walled - bare
    ratio = got["guessed"] / got["idle"]
    load = (
        f"{security.VALID_PER_SECOND} valid requests/s beside {security.GUESSERS} guessers of pairing codes"
    )
    times = f"{1000 * got['guessed']:.1f} ÷ {1000 * got['idle']:.1f} ms = {ratio:.2f}"
    return [
        _row("a session of 50 kB sealed and opened, p95", f"{seal:.3f} ms", "≤ 0.1 ms", seal <= 0.1),
        _row(
            "`GET /api/tokens`: who asks and row-level security add, median",
            f"{walled:.2f} − {bare:.2f} = {wall:.2f} ms",
            "≤ 1 ms",
            wall <= 1,
        ),
        _row("a password, by design", f"{log_in:.0f} ms", "≥ 50 ms", log_in >= 50),
        _row(f"{load}, p95 ÷ idle", times, "≤ 2", ratio <= 2),
    ]


def _engine(found: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = []
    if got := found.get("engine"):
        one, counted = got[1], len(engine.STATEMENTS)
        ratio = one["visits"] / one["no_ops"]
        measured = f"{one['visits']:.0f} ÷ {one['no_ops']:.0f} = {ratio:.2f}"
        name = "visits/s that ask no marketplace ÷ bare procrastinate no-ops/s, one worker process"
        rows.append(_row(name, measured, "≥ 0.1", ratio >= 0.1))
        rows.append(_row("statements of such a visit, below", f"{counted}", "≤ 10", counted <= 10))
        growth = " · ".join(f"{each['visits']:.0f} ÷ {each['no_ops']:.0f}" for each in got.values())
        rows.append(("the same with 1 · 2 · 4 worker processes", growth, "", ""))
        measured = f"{one['database_ms']:.1f} + {one['worker_ms']:.1f} ms (a no-op: {one['no_op_ms']:.1f} ms)"
        rows.append(("processor time of such a visit, PostgreSQL + worker", measured, "", ""))
    if got := found.get("ticks"):
        measured = f"{got['share']:.1%} ({got['worker']:.1f} s + {got['database']:.1f} s of PostgreSQL)"
        name = f"{got['woken']:,.0f} accounts due over 10 minutes: ticks and wake-ups, of one core"
        rows.append(_row(name, measured, "≤ 5 %", got["share"] <= 0.05))
        rows.append(("the ticks while all of these wait at once", f"{got['backlog']:.1%}", "", ""))
    return rows


def _queries(found: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Among a million; the plans are a page of their own."""
    took = found.get("queries", {"took": {}})["took"]
    return [
        _row(f"{name}, p95 of {len(times)}", f"{1000 * figures.p95(times):.1f} ms", "≤ 20 ms",
             figures.p95(times) <= 0.02)
        for name, times in took.items()
    ]  # fmt: skip


def _statements() -> str:
    listed = "".join(f"{number}. {what}\n" for number, (_, what) in enumerate(engine.STATEMENTS, 1))
    return f"""
## The statements of a visit

Of one that is woken, finds one row due, whose step asks no marketplace, and ends; beside BEGIN, COMMIT and
the `set_config` that makes a transaction the seller's. The wake-up itself is one more, of the transaction
that makes something due, for however many accounts. What is below is compared with PostgreSQL's own log by
[tests/test_statements.py](../tests/test_statements.py). Not in it are the empty query by which
procrastinate's pool asks whether a connection still stands, and what a worker does by the clock.

{listed}"""


def _plans(got: dict[str, Any]) -> str:
    sizes = ", ".join(f"{rows:,} {table}" for table, rows in got["sizes"])
    day = time.strftime("%Y-%m-%d", time.gmtime())
    page = f"""\
# The plans of the questions that are asked most

Written by `make bench` on {day}. Each is the product's own statement, sent as it sends it: by a seller behind
row-level security, here the biggest of {queries.SELLERS:,} (a tenth of all rows, most of them of one moment).
In the tables: {sizes}. How long each took, many times over, is in [benchmarks.md](benchmarks.md).
"""
    for name, plans in got["plans"].items():
        page += f"\n## {name[0].upper()}{name[1:]}\n"
        page += "".join(f"\n```\n{plan}\n```\n" for plan in plans)
    return page


def _machine() -> str:
    model, gigabytes = platform.processor() or platform.machine(), 0.0
    try:
        model = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())[0]
        gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (OSError, IndexError, ValueError):
        pass
    chromium = partial(subprocess.run, capture_output=True, text=True, check=False)
    from everystall.settings import load

    version = chromium([str(find_chromium(load())), "--version"]).stdout.strip()
    return (
        f"{os.cpu_count()} × {model}, {gigabytes:.0f} GB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {version.split(' built on')[0]}"
    )


if __name__ == "__main__":
    main()
