"""`everystall demo`: one listing, four photographs, three practice marketplaces, and what came of it.

Prints as it happens, then a table; writes the report; says no to nothing: what is not live, or not read
back as it was meant, is shown as such and makes the exit code 1.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from everystall.demo.own_browser import connect, own_browser, pair, sign_in, until
from everystall.demo.stage import LISTING, PHOTOS, Stage, set_up
from everystall.inventory.sample import takers
from everystall.marketplaces import MARKETPLACES
from everystall.processes import command

#: Seconds in which no pair moved, after which the demo no longer waits. A whole run takes about ten.
PATIENCE = 300.0
_STYLE = {"live": "bold green", "needs_you": "bold red", "cancelled": "red"}


def run(*, once: bool, report: Path | None) -> bool:
    """True if every marketplace is live and was read back equal. Stays up until Ctrl-C unless `once`; False
    also if something fell over meanwhile."""
    # in a file or a pipe no address is broken over two lines
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(
        "[bold]Everystall[/bold]: a listing to three practice marketplaces. Nothing real is touched.\n"
    )
    console.print("Starting PostgreSQL, the practice marketplaces, the web and a worker …")
    with set_up(tell=lambda said: console.print(f"  {said}")) as stage:
        console.print(f"  ready in {stage.up_seconds:.1f} s: {stage.url}")
        result = asyncio.run(perform(stage, console))
        if report is not None:
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text(json.dumps(result, indent=2) + "\n")
        console.print(table_of(result["publications"]))
        good = is_good(result)
        if good:
            console.print(f"[bold green]All live and read back equal, in {result['seconds']} s.[/]")
        else:
            console.print(f"[bold red]Not all is well[/]: {result['job_id']} is {result['status']}.")
            console.print(f"What happened is in {stage.logs}")
        return (once or _stay(stage, console, result["publications"])) and good


async def perform(stage: Stage, console: Console) -> dict[str, Any]:
    """Pair, sign in, connect, write, photograph, post, follow. Returns the report."""
    seller = f"seller{time.strftime('%H%M%S')}"  # a seller of its own for each run: nothing was posted before
    stage.new_seller(f"{seller}@example.com")
    console.print(f"Starting a Chromium of {seller}'s own, with the extension …")
    async with own_browser(stage) as browser:
        popup = await pair(stage, browser)
        console.print("  paired with the server by a code; the extension may hand over sessions, no more")
        for name in MARKETPLACES:
            await sign_in(stage, browser, name, seller)
            await connect(popup, name)
            await until(popup, name, "connected")
            profile = stage.profile_of(name)
            stage.set_defaults(name, profile)
            console.print(f"  {MARKETPLACES[name]:<9} signed in, connected, sealed as {profile}")
    console.print("  and closed again: from here on the server works alone")
    listing_id = stage.new_listing()
    console.print(f'Wrote "{LISTING["title"]}", {len(PHOTOS)} photographs.', soft_wrap=True)
    started = time.monotonic()
    job_id = str(stage.post(listing_id, takers())["jobId"])
    console.print(f"Posted to all that take it: {job_id}\n")
    job = follow(stage, job_id, console)
    seconds = round(time.monotonic() - started, 2)
    publications = stage.call("GET", f"/api/listings/{listing_id}/publications")
    return {
        "job_id": job_id,
        "status": job["status"],
        "seconds": seconds,
        "publications": [_told(pair, publications) for pair in job["automationResults"]],
    }


def follow(stage: Stage, job_id: str, console: Console) -> Any:
    """Shows the job's pairs as they change, until it ends; the job as it ended."""
    started = moved_at = time.monotonic()
    seen: dict[str, list[tuple[str, float]]] = {}
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        while True:
            job = stage.call("GET", f"/api/jobs/{job_id}")
            now = time.monotonic() - started
            for pair in job["automationResults"]:
                state = "needs_you" if pair["needsYou"] else pair["state"]
                steps = seen.setdefault(pair["marketplace"], [])
                if not steps or steps[-1][0] != state:
                    steps.append((state, now))
                    moved_at = started + now
                    if not console.is_terminal:
                        console.print(f"  {now:5.1f} s  {MARKETPLACES[pair['marketplace']]:<9} {state}")
            live.update(_progress(seen))
            if job["status"] != "running":
                return job
            if started + now > moved_at + PATIENCE:
                console.print(f"Nothing has moved for {PATIENCE:.0f} seconds, so it is not waited for.")
                return job
            time.sleep(0.1)


def _progress(seen: Mapping[str, Sequence[tuple[str, float]]]) -> RenderableType:
    lines = []
    for name, steps in seen.items():
        line = Text(f"  {MARKETPLACES[name]:<9} ")
        for place, (state, at) in enumerate(steps):
            line.append(" → " if place else "")
            line.append(state, style=_STYLE.get(state, "cyan" if place == len(steps) - 1 else "dim"))
            line.append(f" {at:.1f}", style="dim")
        lines.append(line)
    return Group(*lines)


def _told(pair: Mapping[str, Any], publications: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A pair in the report's words."""
    own = next(p for p in publications if p["browserProfileId"] == pair["browserProfileId"])
    began, ended = (
        datetime.fromisoformat(pair[at]) if pair[at] else None for at in ("startedAt", "finishedAt")
    )
    told: dict[str, Any] = {
        "marketplace": pair["marketplace"],
        "state": pair["state"],
        "url": pair["url"],
        "remote_id": pair["remoteId"],
        "seconds": round((ended - began).total_seconds(), 2) if began and ended else None,
        "read_back": {name: bool(equal) for name, equal in (own["readBack"] or {}).items()},
    }
    if pair["needsYou"]:
        told["needs_you"] = {key: pair["needsYou"][key] for key in ("reason", "message")}
    return told


def is_good(result: Mapping[str, Any]) -> bool:
    """It is live wherever it has a place, and whatever the live pages show is what was meant."""
    publications = result["publications"]
    live = [each for each in publications if each["state"] == "live"]
    equal = [each for each in live if each["read_back"] and all(each["read_back"].values())]
    return len(equal) == len(publications) == len(takers())


def table_of(publications: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("marketplace", "state", Column("URL", overflow="fold"), "seconds", "read back")
    for each in publications:
        wanting = [name for name, equal in each["read_back"].items() if not equal]
        back = f"{len(each['read_back'])} fields equal" if each["read_back"] and not wanting else "nothing"
        if wanting:
            back = f"[red]differs: {', '.join(wanting)}[/red]"
        state = f"[{_STYLE.get(each['state'], 'yellow')}]{each['state']}[/]"
        if "needs_you" in each:
            state = f"[red]needs you[/red]: {each['needs_you']['message']}"
        table.add_row(MARKETPLACES[each["marketplace"]], state, each["url"] or "", str(each["seconds"]), back)
    return table


def _stay(stage: Stage, console: Console, publications: Sequence[Mapping[str, Any]]) -> bool:
    """Until Ctrl-C (True), or until something falls over (False)."""
    say = partial(console.print, soft_wrap=True)
    try:
        say("\nIt keeps running. Look at it:")
        for each in publications:
            say(f"  {each['url'] or stage.site(each['marketplace'])}")
        say(f"  http://127.0.0.1:{stage.sandbox_port}/_control/ledger   what the marketplaces saw")
        say(f"  {stage.url}/openapi.json   the API; a token for it:")
        say(f"    EVERYSTALL_HOME={stage.settings.everystall_home} {command()} token create --new --email E")
        say("Ctrl-C ends it.")
        while stage.children.ended() is None:
            time.sleep(0.5)
    except KeyboardInterrupt:
        return True
    say(f"Something ended by itself; see {stage.logs}.")
    return False
