"""docs/reliability.md, made of the results that there are."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaos.matrix import FAULTS, STEPS, VERBS, Cell, cells

#: Each reason why a cell cannot occur gets a letter.
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
#: What a person has to say of how it was played: the end of the page.
NOTES = Path(__file__).with_name("NOTES.md")


def write(results: Sequence[dict[str, Any]]) -> str:
    """The page. `results`: the last of each cell, and of each at real waits."""
    scaled = {one["cell"]: one for one in results if not one["real"]}
    real = [one for one in results if one["real"]]
    return (
        _head(scaled, real)
        + "".join(_verb(verb, scaled) for verb in VERBS)
        + _real(real)
        + _words(results)
        + "\n"
        + NOTES.read_text()
    )


def _head(scaled: dict[str, dict[str, Any]], real: Sequence[dict[str, Any]]) -> str:
    possible = [c for c in cells() if c.cannot is None]
    played = [scaled[c.name] for c in possible if c.name in scaled]
    passed = sum(not one["wrong"] for one in played)
    asked = sum(one["outcome"].startswith("needs_you") for one in played if not one["wrong"])
    seeds = ", ".join(str(seed) for seed in sorted({one["seed"] for one in played})) or "none"
    when = sorted(one["at"] for one in played)
    minutes = sum(one["seconds"] for one in played) / 60
    span = f"{when[0]} to {when[-1]} UTC" if when else "never"
    commits = Counter(one["commit"] for one in (*played, *real)).most_common()
    by = ", ".join(f"{number} on {commit}" for commit, number in commits)
    return f"""\
# Reliability: the fault matrix

Every step of every verb, struck by every fault. Written by `make chaos`; played {span}, seed {seeds}.

**{passed} of {len(played)} cells passed**, {asked} of them with a question to the seller where nobody could
know; {len(possible) - len(played)} of the {len(possible)} that can occur were not played. They took
{minutes:.0f} minutes, one after another (more of that below). Cells by commit, those at real waits too: {by}.

Machine: {os.cpu_count()} × {_processor()}, {platform.system()} {platform.release()}, Python
{platform.python_version()}.

Each cell is a seller of its own on one of the three practice marketplaces, chosen by the seed; a real
`everystall worker` process, a real Chromium, the embedded PostgreSQL. The visit is met at its step by what
the worker logs (`visit.at`), by the step's request, which is held at a door in front of the marketplaces, or
by a row lock that the step runs into; nothing of Everystall is patched. Waits are scaled: settle 3 s, lease
4 s, guard 2 s, commit click 1 s; all others are as they come.

*Out of memory* is the SIGKILL that the kernel would send: to a page's process, which Chromium offers first,
or to Playwright's driver. The disk that is filled is a small one with PostgreSQL's data alone. The clock is
the worker's, moved by libfaketime; leases, due times and expiries go by the database's, which is not moved.

Judged by the marketplaces' ledger, afterwards:

- **I1** at most one of ours is for sale, exactly one when we say *live*, and nothing was published twice;
- **I2** it came to an end within 75 s, its job too, which says what became of it, and a dead worker's account
  was taken over in 20 s;
- **I3** a question has its reason, its words, its address and its buttons;
- **I4** *live* was read back, and each field that the marketplace has is as we say, with all photos in order;
  a change that ends in a question was made whole or not at all; what the seller changed there stands, but for
  the moments in which the form is open: there whoever saves last has the last word;
- **I5** no browser was opened without a row in the vault's audit;
- **I6** no word of the session is in a log, an outline of a page, a row of the account or of what was made of
  it, or a webhook that was sent;
- no Chromium, whoever it belongs to by then, profile folder or lease is left.

One again: `make chaos CELL=publish/click/kill-worker SEED=1`. A part: `make chaos SHARD=2/4`; parts add up.

`ok` passed · `ask` passed, and the seller is asked · `FAIL` did not pass · `.` not played · a letter: cannot
occur, because
"""


def _verb(verb: str, scaled: dict[str, dict[str, Any]]) -> str:
    """One table: a row per fault, a column per step."""
    why: dict[str, str] = {}
    rows = []
    for fault, its in FAULTS.items():
        if its.verbs and verb not in its.verbs:
            continue
        marks = []
        for step in STEPS:
            cell = Cell(verb, step, fault)
            if cell.cannot is not None:
                marks.append(why.setdefault(cell.cannot, _LETTERS[len(why)]))
            else:
                marks.append(_mark(scaled.get(cell.name)))
        rows.append(f"| {its.label} (`{fault}`) | {' | '.join(marks)} |")
    letters = "; ".join(f"*{letter}* {reason}" for reason, letter in why.items())
    head = f"| | {' | '.join(step.replace('-', ' ') for step in STEPS)} |\n|---|{'---|' * len(STEPS)}\n"
    return f"\n## {verb}\n\n{head}" + "\n".join(rows) + f"\n\n{letters}.\n"


def _mark(one: dict[str, Any] | None) -> str:
    if one is None:
        return "."
    if one["wrong"]:
        return "**FAIL**"
    return "ask" if one["outcome"].startswith("needs_you") else "ok"


def _real(real: Sequence[dict[str, Any]]) -> str:
    if not real:
        return ""
    rows = [f"| `{one['cell']}` | {one['outcome']} | {one['seconds']:.0f} | {_mark(one)} |\n" for one in real]
    return (
        f"\n## At the waits as they come\n\n{sum(not one['wrong'] for one in real)} of {len(real)} passed "
        '(`make chaos ARGS="--real 20"`).\n\n| cell | ended as | s | |\n|---|---|---|---|\n' + "".join(rows)
    )


def _words(results: Sequence[dict[str, Any]]) -> str:
    failed = [one for one in results if one["wrong"]]
    asked = Counter(
        f"{one['outcome'].removeprefix('needs_you:')}" for one in results
        if one["outcome"].startswith("needs_you") and not one["wrong"]
    )  # fmt: skip
    text = ""
    if asked:
        said = ", ".join(f"{reason} ({number})" for reason, number in asked.most_common())
        text += f"\n## What the seller was asked\n\n{said}.\n"
    if failed:
        text += "\n## What did not pass\n\n"
        text += "".join(
            f"- `{one['cell']}` ({one['marketplace']}): {'; '.join(one['wrong'])}\n" for one in failed
        )
    return text


def _processor() -> str:
    found = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return str(found[0]) if found else platform.machine()
