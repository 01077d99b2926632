"""Proportional set size of a process and all that it started, from /proc (Linux only)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

PROC = Path("/proc")


def pss_of(pid: int) -> float:
    """MB of a process and its descendants. Shared pages are counted once, in shares."""
    return sum(_pss(each) for each in (pid, *descendants(pid))) / 1024


def descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for folder in PROC.glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        children[parent].append(int(folder.name))
    found, left = [], [pid]
    while left:
        next_ones = children[left.pop()]
        found += next_ones
        left += next_ones
    return found


def own_memory(pid: int) -> float:
    """MB that are this process's alone (RssAnon), which a leak would show in; 0 for one that just ended."""
    try:
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def worker_pid(up_pid: int) -> int:
    """The worker among the processes that `everystall up` started."""
    for pid in descendants(up_pid):
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        if b"everystall" in words and b"worker" in words:
            return pid
    raise RuntimeError("there is no worker under `everystall up`")


def _pss(pid: int) -> int:
    """kB; 0 for one that just ended."""
    try:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
