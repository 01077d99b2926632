"""`make bench-matching`: how often inventory/matching.py errs, on made-up listings whose truth is known, and
how long it takes for 10,000 a side. Writes docs/matching.md.

make bench-matching ARGS="--tuning"       the seeds that the thresholds were chosen on; writes nothing
make bench-matching ARGS="--no-write"     a look
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from benchmarks import commit
from benchmarks.lookalikes import BRANDS, STUFFS, STYLES, TRAPS, World, make
from everystall.content.photos import Fingerprint
from everystall.inventory.matching import Matches, match
from everystall.inventory.traits import PLAIN_BITS, LiveListing

PAGE = Path(__file__).resolve().parent.parent / "docs" / "matching.md"
BEGIN, END = "<!-- make bench-matching writes this -->\n", "<!-- to here -->\n"
#: Thresholds are chosen on the first, figures told of the second.
TUNING, REPORTED = (1, 2, 3, 4), (201, 202, 203, 204, 205)
THINGS, TRAPS_OF_A_KIND = 240, 30
SIDE = 10_000


@dataclass
class Score:
    """Counts over worlds."""

    truth: int = 0
    linked: Counter[str] = field(default_factory=Counter)
    proposed: Counter[str] = field(default_factory=Counter)
    listings: int = 0
    #: Linked wrongly where no trap was set.
    elsewhere: int = 0
    #: edit → [pairs, linked, proposed]
    edits: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    traps: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))

    def add(self, world: World, found: Matches) -> None:
        linked, proposed = pairs_in(world, found)
        truth = world.truth()
        self.truth += len(truth)
        self.listings += len(world.listings)
        for kind, pairs in ((self.linked, linked), (self.proposed, proposed)):
            kind["right"] += len(pairs & truth)
            kind["wrong"] += len(pairs - truth)
        for i, j in truth:
            for edit in (world.edits[i] | world.edits[j]) or {"nothing"}:
                _count(self.edits[edit], (i, j), linked, proposed)
        for pair, kind_of_trap in world.traps.items():
            _count(self.traps[kind_of_trap], pair, linked, proposed)
        self.elsewhere += len(linked - truth - set(world.traps))

    @property
    def precision(self) -> float:
        return self.linked["right"] / max(1, self.linked.total())

    @property
    def recall(self) -> float:
        return (self.linked["right"] + self.proposed["right"]) / max(1, self.truth)

    @property
    def hard(self) -> float:
        traps = sum(row[0] for row in self.traps.values())
        return traps / (traps + self.truth)


def pairs_in(world: World, found: Matches) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Linked, directly or by way of a third; proposed. As places in the world's listings."""
    place = {(one.account, one.key): i for i, one in enumerate(world.listings)}

    def pair(one: LiveListing, other: LiveListing) -> tuple[int, int]:
        i, j = sorted((place[one.account, one.key], place[other.account, other.key]))
        return i, j

    linked = {pair(a, b) for group in found.groups for n, a in enumerate(group) for b in group[n + 1 :]}
    return linked, {pair(each.one, each.other) for each in found.proposed}


def _count(
    row: list[int], pair: tuple[int, int], linked: set[tuple[int, int]], proposed: set[tuple[int, int]]
) -> None:
    row[0] += 1
    row[1] += pair in linked
    row[2] += pair in proposed


def score(seeds: Iterable[int]) -> Score:
    total = Score()
    for seed in seeds:
        world = make(seed, THINGS, TRAPS_OF_A_KIND)
        total.add(world, match(world.listings))
    return total


# ---- 10,000 a side --------------------------------------------------------------------------------


def multiplied(world: World, side: int) -> World:
    """Two accounts of `side` listings: those of a drawn world again and again, each time with other words,
    SKUs and photo hashes, the same on both sides, so that what matched still does."""
    sides = [
        [i for i, one in enumerate(world.listings) if one.account == name] for name in ("poshmark", "ebay")
    ]
    many = World()
    for places in sides:
        for n in range(side):
            turn, i = divmod(n, len(places))
            i = places[i]
            many.listings.append(_another(world.listings[i], turn))
            many.piece.append(world.piece[i] + 1_000_000 * turn)
            many.edits.append(world.edits[i])
    return many


def _another(one: LiveListing, turn: int) -> LiveListing:
    mask = Random(turn).getrandbits(64) & Random(turn + 0.5).getrandbits(64)  # a quarter of the bits

    def turned(word: str, words: tuple[str, ...]) -> str:
        return words[(words.index(word) + turn) % len(words)] if word in words else word

    title, brand = one.title, one.brand
    if brand:
        written = next(each for each in BRANDS if brand == each or brand in _misspelt(each))
        brand = turned(written, BRANDS)
        if one.brand != written:
            brand = _misspelt(brand)[0]
        title = title.replace(one.brand or "", brand)
    title = " ".join(turned(turned(word, STYLES), STUFFS) for word in title.split())
    photos = tuple(
        Fingerprint(tuple(_masked(view, mask) for view in photo.views), photo.tints) for photo in one.photos
    )
    sku = f"{one.sku}-{turn}" if one.sku else None
    return replace(one, key=f"{one.key}-{turn}", title=title, brand=brand, sku=sku, photos=photos)


def _misspelt(brand: str) -> list[str]:
    """As lookalikes.py does it: a letter left out."""
    return [brand[:at] + brand[at + 1 :] for at in range(1, len(brand) - 1)]


def _masked(view: str, mask: int) -> str:
    """What is plain stays so."""
    bits = int(view, 16)
    return f"{bits ^ mask:016x}" if PLAIN_BITS <= bits.bit_count() <= 64 - PLAIN_BITS else view


@dataclass(frozen=True)
class Scale:
    """10,000 a side."""

    score: Score
    seconds: float
    #: Of them, on the processor.
    cpu: float
    #: Megabytes that the process grew by.
    grown: float


def at_scale() -> Scale:
    world = multiplied(make(REPORTED[0], THINGS, TRAPS_OF_A_KIND), SIDE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.perf_counter(), time.process_time()
    found = match(world.listings)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    total = Score()
    total.add(world, found)
    return Scale(total, seconds, cpu, grown)


# ---- what is told ---------------------------------------------------------------------------------


def table(total: Score, seeds: Iterable[int], scale: Scale | None) -> str:
    asked = total.proposed.total()
    rows = [
        f"Seeds {', '.join(map(str, seeds))}: {total.listings:,} listings.", "",
        "| figure | measured | goal | |", "|---|---|---|---|",
        _row("linked silently, and right (precision)", total.precision, 0.99,
             f"{total.linked['right']:,} of {total.linked.total():,}"),
        _row("found: linked or proposed (recall)", total.recall, 0.95,
             f"{total.linked['right'] + total.proposed['right']:,} of {total.truth:,}"),
        f"| of these linked without asking | {total.linked['right'] / total.truth:.1%} | | |",
        f"| proposals that are right | {total.proposed['right'] / max(1, asked):.1%} of {asked:,} | | |",
        f"| proposals per 100 listings | {100 * asked / total.listings:.0f} | | |",
        f"| lookalikes among the labelled pairs | {total.hard:.0%} | ≥ 20 % | {_met(total.hard >= 0.2)} |",
    ]  # fmt: skip
    if scale:
        right, found = scale.score.precision, scale.score.recall
        told = (
            f"{scale.cpu:.0f} s of one core ({scale.seconds:.0f} s by the clock), {scale.grown:.0f} MB more; "
            f"precision {right:.2%}, recall {found:.2%}"
        )
        rows.append(f"| 10,000 listings against 10,000 | {told} | | |")
    rows += ["", "What was edited (a pair has several edits; both sides are edited):", "",
             "| edit | pairs | linked | linked or proposed |", "|---|---|---|---|"]  # fmt: skip
    for edit, (pairs, linked, proposed) in sorted(total.edits.items()):
        rows.append(f"| {edit} | {pairs:,} | {linked / pairs:.1%} | {(linked + proposed) / pairs:.1%} |")
    rows += ["", "What looks alike and is not the same:", "",
             "| lookalike | pairs | wrongly linked | proposed, with the doubt | left apart |",
             "|---|---|---|---|---|"]  # fmt: skip
    for kind in TRAPS:
        pairs, linked, proposed = total.traps[kind]
        rows.append(f"| {kind} | {pairs} | {linked} | {proposed} | {pairs - linked - proposed} |")
    rows.append(f"| any other two | | {total.elsewhere} | | |")
    return "\n".join(rows) + "\n"


def _row(name: str, value: float, goal: float, of: str) -> str:
    return f"| {name} | {value:.2%} ({of}) | ≥ {goal:.0%} | {_met(value >= goal)} |"


def _met(good: bool) -> str:
    return "met" if good else "**not met**"


def measured() -> str:
    """When, of what, on what."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    return f"Measured on {when}{commit()} with {machine}, on made-up listings with drawn photos."


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-matching", description=__doc__)
    parser.add_argument("--tuning", action="store_true", help="on the seeds for choosing thresholds")
    parser.add_argument("--no-write", action="store_true")
    given = parser.parse_args()
    seeds = TUNING if given.tuning else REPORTED
    total = score(seeds)
    found = table(total, seeds, None if given.tuning else at_scale())
    sys.stdout.write(found)
    if given.tuning or given.no_write:
        return
    text = PAGE.read_text()
    head, tail = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    PAGE.write_text(f"{head}\n{measured()}\n\n{found}\n{tail}")
    sys.stdout.write(f"\nWritten to {PAGE}\n")


if __name__ == "__main__":
    main()
