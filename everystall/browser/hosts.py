"""Hosts that a marketplace's pages loaded parts from and that its adapter does not list: kept on this machine
for `everystall doctor`, names and days only. Never an address, a query or anything of a seller's.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

#: Per marketplace; the ones met last are kept.
MOST = 200
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


def remember(home: Path, marketplace: str, hosts: Iterable[str]) -> None:
    """Adds them to `run/hosts/<marketplace>.json`. Quiet where that cannot be written: it is a hint only."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    met = dict(find(home).get(marketplace, {}))
    fresh = {host.lower(): today for host in hosts if _HOST.fullmatch(host.lower())}
    if not fresh or (fresh.items() <= met.items()):
        return
    kept = sorted((met | fresh).items(), key=lambda one: (one[1], one[0]))[-MOST:]
    folder = home / "run" / "hosts"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:  # 0600
            json.dump(dict(kept), file)
        os.replace(file.name, folder / f"{marketplace}.json")
    except OSError:
        return


def find(home: Path) -> dict[str, Mapping[str, str]]:
    """Marketplace → host → the last day on which it was met. What cannot be read is left out."""
    found: dict[str, Mapping[str, str]] = {}
    for file in sorted((home / "run" / "hosts").glob("*.json")):
        try:
            told = json.loads(file.read_text())
        except (OSError, ValueError):
            continue
        if isinstance(told, dict):
            hosts = {str(host): str(day) for host, day in told.items() if _HOST.fullmatch(str(host))}
            found[file.stem] = hosts
    return found
