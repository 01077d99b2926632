"""`make bench`: measures all figures on this machine and writes docs/benchmarks.md. At most 20 minutes.

make bench                              everything, medians of 7
make bench ARGS="--runs 3 --no-write"   a quick look
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
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import figures, machines, security
from everystall import __version__
from everystall.browser.chromium import find_chromium
from everystall.demo.stage import set_up
from everystall.errors import EverystallError
from everystall.installation import addresses, opened
from everystall.marketplaces import MARKETPLACES
from everystall.processes import interruptible

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
PARTS = ("overhead", "fan-out", "reuse", "memory", "extension", "security", "machines", "start")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--only", choices=PARTS, action="append", help="and no others; implies --no-write")
    parser.add_argument("--no-write", action="store_true")
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="everystall-bench-"))
    try:
        with interruptible():
            page = measure(home, given.runs, tuple(given.only or PARTS))
    except EverystallError as e:
        sys.exit(f"{e.message}\n{e.action}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    sys.stdout.write(f"\n{page}")
    if not (given.no_write or given.only):
        PAGE.write_text(page)
        sys.stdout.write(f"\nWritten to {PAGE}\n")


def measure(home: Path, runs: int, parts: tuple[str, ...]) -> str:
    """The page. `say` tells how far it is."""
    began = time.monotonic()

    def say(line: str) -> None:
        sys.stdout.write(f"[{time.monotonic() - began:5.0f} s] {line}\n")
        sys.stdout.flush()

    found: dict[str, Any] = {}
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
    return write(found, runs, time.monotonic() - began, say)


def write(found: dict[str, Any], runs: int, seconds: float, say: Any) -> str:
    rows = [row for part in (_overhead, _fan_out, _others, _security, machines.rows) for row in part(found)]
    head = f"""\
# Benchmarks

Measured by `make bench` on {time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())} in {seconds / 60:.0f}
minutes, with Everystall {__version__}{_commit()}. Medians of {runs} unless said otherwise; times in seconds.

Machine: {_machine()}.

Everything is real but the marketplaces: `everystall up` with its embedded PostgreSQL, a Chromium per visit,
the practice marketplaces of this repository on the same machine, four photographs per listing. What each
figure means is in [benchmarks/figures.py](../benchmarks/figures.py), the bare scripts in
[benchmarks/bare.py](../benchmarks/bare.py).

| figure | measured | goal | |
|---|---|---|---|
"""
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows) + _loads(found)


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
    if len(found["pick-ups"]) > 1:
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


def _commit() -> str:
    command = ["git", "-C", str(PAGE.parent), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f" ({done.stdout.strip()})" if done.returncode == 0 else ""


if __name__ == "__main__":
    main()
