"""`make chaos`: plays the cells of the matrix and writes docs/reliability.md.

make chaos                          all of it (about 3 hours; 9 seconds of a core for each cell)
make chaos SHARD=1/2                a half, and the other beside it on 2 cores (about 1.5 hours); the page is
                                    made of what all shards found
make chaos CELL=publish/click/kill-worker SEED=7      one again
make chaos ARGS="--real 20"         so many cells at the waits as they come
make chaos ARGS=--page              only write the page
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path
from random import Random

from chaos.matrix import Cell, cells
from chaos.play import Result, play
from chaos.report import write
from chaos.stage import FAKETIME, Stage, set_up
from everystall.processes import interruptible

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".data" / "chaos" / "results.jsonl"
PAGE = ROOT / "docs" / "reliability.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shard", default="1/1", help="k/n")
    parser.add_argument("--cell", default="*", help="a name, or a pattern: publish/*/kill-*")
    parser.add_argument("--real", type=int, metavar="N", help="N cells by the seed, at the real waits")
    parser.add_argument("--failed", action="store_true", help="only those that failed last")
    parser.add_argument("--left", action="store_true", help="only those that were not played yet")
    parser.add_argument("--page", action="store_true", help="play nothing, write the page")
    given = parser.parse_args()
    if not given.page:
        chosen = choose(given)
        with interruptible():  # else its PostgreSQL and its disk are left
            failed = asyncio.run(run(chosen, given.seed, real=given.real is not None))
    PAGE.write_text(write(results()))
    sys.stdout.write(f"Written to {PAGE}\n")
    if not given.page and failed:
        sys.exit(f"{failed} of {len(chosen)} cells failed.")


def choose(given: argparse.Namespace) -> list[Cell]:
    """Those that the arguments name and that can occur here."""
    possible = [cell for cell in cells() if cell.cannot is None and fnmatch(cell.name, given.cell)]
    for fault, needs in _lacking().items():
        sys.stdout.write(f"{fault} is left out: it needs {needs}.\n")
        possible = [cell for cell in possible if not cell.fault.startswith(fault)]
    if given.left:
        played = {one["cell"] for one in results()}
        possible = [cell for cell in possible if cell.name not in played]
    if given.failed:
        last = {one["cell"] for one in results() if one["wrong"]}
        possible = [cell for cell in possible if cell.name in last]
    shard, _, of = given.shard.partition("/")
    possible = possible[int(shard) - 1 :: int(of)]
    if given.real is not None:
        possible = Random(given.seed).sample(possible, min(given.real, len(possible)))
    # workers under libfaketime are others: once is enough
    return sorted(possible, key=lambda cell: cell.fault.startswith("clock-"))


def _lacking() -> dict[str, str]:
    """Faults that this machine cannot make, and what they need."""
    lacking = {}
    if FAKETIME is None:
        lacking["clock-"] = "libfaketime (apt-get install libfaketime)"
    if os.geteuid() != 0:
        lacking["pg-disk-full"] = "root, for a small disk of its own"
    return lacking


async def run(chosen: list[Cell], seed: int, *, real: bool) -> int:
    """How many failed. Each result is kept at once."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    failed, began, commit = 0, time.monotonic(), _commit()
    async with set_up(real=real) as stage:
        for number, cell in enumerate(chosen, 1):
            result = await play(stage, cell, seed, number=number, patience=300 if real else 75)
            result.commit, result.real, result.at = (
                commit,
                real,
                time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
            )
            keep(result)
            failed += not result.passed
            say(result, number, len(chosen), time.monotonic() - began)
            if not result.passed:
                _keep_lines(stage, result)
    return failed


def say(result: Result, number: int, of: int, seconds: float) -> None:
    word = "ok    " if result.passed else "FAILED"
    more = "; ".join(result.wrong or result.notes)
    sys.stdout.write(f"[{seconds:5.0f} s] {number:3}/{of} {word} {result.cell:38} {result.marketplace:8} "
                     f"{result.outcome:22} {result.seconds:5.1f} s  {more}\n")  # fmt: skip
    sys.stdout.flush()


def keep(result: Result) -> None:
    with RESULTS.open("a") as file:
        file.write(json.dumps(result.as_json()) + "\n")


def _keep_lines(stage: Stage, result: Result) -> None:
    """What the workers said, for whoever looks into it."""
    log = RESULTS.parent / f"{result.cell.replace('/', '_')}.log"
    log.write_text("\n".join([*result.wrong, *result.notes, *result.lines]) + "\n")


def results() -> list[dict[str, object]]:
    """The last of each cell."""
    last: dict[str, dict[str, object]] = {}
    if RESULTS.exists():
        for line in RESULTS.read_text().splitlines():
            one = json.loads(line)
            last[f"{one['cell']} {one['real']}"] = one
    return list(last.values())


def _commit() -> str:
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True,
                          text=True, check=False)  # fmt: skip
    return done.stdout.strip()


if __name__ == "__main__":
    main()
