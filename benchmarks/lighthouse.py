"""`make lighthouse`: what Lighthouse says of the dashboard's pages, on desk and phone, the median of five,
with a seller's 2,000 listings and photos behind them. Writes docs/lighthouse.md. About ten minutes.

It drives the local Chromium; nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import commit
from benchmarks.dashboard import dashboard, fill
from benchmarks.engine import place
from everystall import __version__
from everystall.browser.chromium import find_chromium
from everystall.content.photos import Photos
from everystall.demo.stage import PHOTOS
from everystall.settings import Settings

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "lighthouse.md"
LISTINGS, TIMES, GOAL = 2_000, 5, 95
#: Lighthouse's own two: a slowed-down phone, and a desk.
FORMS = {"phone": (), "desk": ("--preset=desktop",)}
CATEGORIES = ("performance", "accessibility")
#: What Lighthouse ends with where Chromium's trace does not tell when the page began, now and then.
NO_BEGINNING = "NO_NAVSTART"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


async def furnish(admin: str, settings: Settings) -> str:
    """The demo's photos behind all listings, one of which is said (its id)."""
    photos = Photos(settings)
    kept = [await photos.put(path.read_bytes()) for path in PHOTOS]
    await photos.close()
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE users SET role = 'owner'")  # who sees all pages
        for position, one in enumerate(kept):
            connection.execute(
                "UPDATE listing_photos SET sha256 = %s, width = %s, height = %s, byte_size = %s "
                "WHERE position = %s",
                (one.sha256, one.width, one.height, one.byte_size, position),
            )
        found = connection.execute("SELECT id FROM listings ORDER BY created_at LIMIT 1 OFFSET 4").fetchone()
    assert found is not None
    return str(found[0])


def look(
    url: str, cookie: str, form: tuple[str, ...], settings: Settings, run: Run = subprocess.run
) -> dict[str, Any]:
    """One run's answer. One whose trace lacks the page's beginning is made once more."""
    done, said = _look(url, cookie, form, settings, run)
    if NO_BEGINNING in done.stderr:
        done, said = _look(url, cookie, form, settings, run)
    if done.returncode or said is None:
        sys.exit(f"Lighthouse did not look at {url}:\n{done.stderr[-2000:]}")
    return said


def _look(
    url: str, cookie: str, form: tuple[str, ...], settings: Settings, run: Run
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any] | None]:
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--headless=new", f"--user-data-dir={folder}/profile"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")
        headers, report = Path(folder, "headers.json"), Path(folder, "said.json")
        headers.write_text(json.dumps({"Cookie": cookie}))
        headers.chmod(0o600)
        done = run(
            [Path(sys.executable).parent / "node", HERE / "lighthouse/node_modules/lighthouse/cli/index.js",
             url, "--output=json", f"--output-path={report}", "--quiet",
             f"--chrome-flags={' '.join(flags)}", f"--extra-headers={headers}",
             f"--only-categories={','.join(CATEGORIES)}", *form],
            env={**os.environ, "CHROME_PATH": str(find_chromium(settings))},
            capture_output=True, text=True, check=False, timeout=180,
        )  # fmt: skip
        return done, json.loads(report.read_text()) if report.exists() else None


async def measure(times: int, only: str | None) -> list[tuple[str, str, dict[str, float], set[str]]]:
    """(page, form, the median of each category in hundredths, what it found wrong)"""
    told = []
    with tempfile.TemporaryDirectory(prefix="everystall-lighthouse-") as folder:
        home = Path(folder)
        with place(home / "db", fsync=False) as here:
            user_id = fill(here, LISTINGS)
            async with dashboard(here, home, user_id) as (settings, _, cookie):
                listing = await furnish(here.admin, settings)
                pages = {
                    "Today": "/", "Inventory": "/inventory", "the editor": f"/listings/{listing}",
                    "where it stands": f"/listings/{listing}/stalls", "Needs you": "/needs-you",
                    "Sales": "/sales", "Prices": "/prices", "Marketplaces": "/connections",
                    "Notifications": "/notifications", "Account": "/account",
                    "Signing in": "/account/sign-in", "Activity": "/activity", "Settings": "/settings",
                }  # fmt: skip
                for name, path in pages.items():
                    if only and only not in path:
                        continue
                    for form, flags in FORMS.items():
                        url = settings.public_url + path
                        runs = [
                            await asyncio.to_thread(look, url, cookie, flags, settings) for _ in range(times)
                        ]
                        scores = {
                            one: 100 * statistics.median(run["categories"][one]["score"] for run in runs)
                            for one in CATEGORIES
                        }
                        told.append((name, form, scores, _wrong(runs[-1])))
                        sys.stdout.write(f"{name}, {form}: {scores} {sorted(told[-1][3])}\n")
                        sys.stdout.flush()
    return told


def _wrong(said: dict[str, Any]) -> set[str]:
    """Audits of the categories that weigh something and are not passed."""
    weighing = {
        one["id"] for name in CATEGORIES for one in said["categories"][name]["auditRefs"] if one["weight"]
    }
    return {
        name for name, audit in said["audits"].items()
        if name in weighing and audit["score"] is not None and audit["score"] < 0.9
    }  # fmt: skip


def write(told: list[tuple[str, str, dict[str, float], set[str]]], times: int) -> str:
    rows = "".join(
        f"| {name} | {form} | {scores['performance']:.0f} | {scores['accessibility']:.0f} "
        f"| {', '.join(sorted(wrong))} | {'met' if min(scores.values()) >= GOAL else '**not met**'} |\n"
        for name, form, scores, wrong in told
    )
    return f"""\
# Lighthouse

Measured by `make lighthouse` on {time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())} with Everystall
{__version__}{commit()}, Lighthouse 13.5.0 and {os.cpu_count()} cores: medians of {times}, a seller with
{LISTINGS:,} listings and photos, the local Chromium
([benchmarks/lighthouse.py](../benchmarks/lighthouse.py)). *Phone* is Lighthouse's own slowed-down phone.
Goal: {GOAL}.

| page | on | performance | accessibility | audits below 0.9, last run | |
|---|---|---|---|---|---|
{rows}"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make lighthouse", description=__doc__)
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--only", help="pages whose path holds this; writes nothing")
    given = parser.parse_args()
    told = asyncio.run(measure(given.times, given.only))
    page = write(told, given.times)
    sys.stdout.write(page)
    if not given.only and given.times >= TIMES:
        PAGE.write_text(page)
    sys.exit("not met" if "**not met**" in page else 0)


if __name__ == "__main__":
    main()
