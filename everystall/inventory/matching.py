"""Which listings of different marketplaces are the same thing. Certain ones are linked, likely ones proposed
with the reasons in words, the rest left apart. Pure; nothing is merged here, and nothing linked silently that
anything speaks against. What it finds and how often it errs: docs/matching.md.

Each pair is judged by evidence in points. A link needs more: two witnesses (of SKU, photos, title), no doubt,
and nothing else on either account that is nearly as like. The surest are linked first; who is linked is no
rival any more, and so on until nothing changes: one to one per account, whatever the order of the input.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from everystall.content.photos import PHOTO_DISTANCE
from everystall.inventory.likeness import Evidence, doubts_of, points, reasons_of, weigh
from everystall.inventory.traits import LiveListing, Traits, read

#: Points from which a pair without doubts is linked, and from which one is proposed.
#: Chosen on the tuning seeds of `make bench-matching`: from 5 on, pairs that no trap was set for are linked
#: wrongly too; from 7 on, 3 % fewer are linked and no fewer wrongly. Proposing from 5 finds 1.4 % less, from
#: 3 0.5 % more and asks a tenth more.
LINK, PROPOSE = 6.0, 4.0
#: Another candidate within this many points is a rival, so that only a SKU or a contradiction decides between
#: two that are else alike: a photo fewer or a word left out must not. With 2, one in seven of what was
#: listed twice was linked to the wrong one, with 5 one in forty.
MARGIN = 5.0
#: What is this far behind the best of either side is not asked about.
SPREAD = 4.0
#: Proposals for one listing on one account at most: more side by side nobody compares.
CHOICES = 3
#: Candidates: what more listings than this share (a stock photo's hash, a word) tells nothing by itself.
CROWD = 64
#: Listings looked at for one by the words of its title, rarest words first; and kept of them per account.
LOOKED_AT, BY_TITLE = 400, 8


@dataclass(frozen=True)
class Match:
    """Two listings that are, or may be, the same thing; `one` is the lesser by (account, key)."""

    one: LiveListing
    other: LiveListing
    points: float
    #: What speaks for it, for the seller to read.
    reasons: tuple[str, ...]
    #: Why it is not linked without asking; none where it is.
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matches:
    """Both in order, surest first."""

    linked: tuple[Match, ...]
    proposed: tuple[Match, ...]
    #: What the links come to: each group is one thing, at most one listing of it per account.
    groups: tuple[tuple[LiveListing, ...], ...]


def match(listings: Iterable[LiveListing], apart: Collection[frozenset[str]] = frozenset()) -> Matches:
    """Listings of any number of accounts. What is one thing already (LiveListing.thing) is in one group, and
    no match; `apart`: pairs of things that are not one. ValueError if one (account, key) comes twice."""
    known = sorted(listings, key=lambda one: (one.account, one.key))
    for one, other in pairwise(known):
        if (one.account, one.key) == (other.account, other.key):
            raise ValueError(f"twice: {one.account} {one.key}")
    traits = [read(one) for one in known]
    judged = {
        (i, j): evidence
        for i, j in sorted(find_candidates(known, traits))
        if not _is_settled(known[i], known[j], apart)
        if points(evidence := weigh(known[i], known[j], traits[i], traits[j])) >= PROPOSE
    }
    return _Settling(known, traits, judged, apart).done()


def _is_settled(one: LiveListing, other: LiveListing, apart: Collection[frozenset[str]]) -> bool:
    """One thing, or two, whatever they look like."""
    if one.thing is None or other.thing is None:
        return False
    return one.thing == other.thing or frozenset((one.thing, other.thing)) in apart


# ---- candidates -----------------------------------------------------------------------------------


def find_candidates(listings: Sequence[LiveListing], traits: Sequence[Traits]) -> set[tuple[int, int]]:
    """Pairs (i < j) of different accounts with a SKU, a photo or rare words of the title in common. Never all
    with all: what many share is passed over."""
    return {
        (i, j)
        for pairs in (_by_sku(traits), _by_photos(listings, traits), _by_title(listings, traits))
        for i, j in pairs
        if listings[i].account != listings[j].account
    }


def _by_sku(traits: Sequence[Traits]) -> Iterator[tuple[int, int]]:
    holders = defaultdict(list)
    for i, one in enumerate(traits):
        if one.sku:
            holders[one.sku].append(i)
    return _within(holders)


def _by_photos(listings: Sequence[LiveListing], traits: Sequence[Traits]) -> Iterator[tuple[int, int]]:
    """Hashes that agree in one of their four quarters, view by view, so that only one quarter's buckets are
    held at a time; of those the ones near enough. A photo has several views and a listing several photos:
    that all of them differ in every quarter is rare."""
    for place in range(max((len(photo) for one in traits for photo in one.photos), default=0)):
        hashes = [(i, bits) for i, one in enumerate(traits) for bits in _hashes(one, place)]
        for shift in (0, 16, 32, 48):
            buckets: dict[int, list[tuple[int, int]]] = defaultdict(list)
            for i, bits in hashes:
                buckets[bits >> shift & 0xFFFF].append((i, bits))
            for bucket in buckets.values():
                if len(bucket) <= CROWD:
                    for (i, a), (j, b) in combinations(bucket, 2):
                        if (a ^ b).bit_count() <= PHOTO_DISTANCE and listings[i].account != listings[
                            j
                        ].account:
                            yield i, j


def _hashes(one: Traits, place: int) -> set[int]:
    """Of this view of each photo."""
    views = (photo[place] for photo in one.photos if place < len(photo))
    return {view[0] for view in views if view}


def _by_title(listings: Sequence[LiveListing], traits: Sequence[Traits]) -> Iterator[tuple[int, int]]:
    """By rare words, and by two common ones together: "linen" and "wool" are each in hundreds of titles."""
    often = Counter(word for one in traits for word in one.words)
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    keys = []
    for i, one in enumerate(traits):
        common = sorted(word for word in one.words if often[word] > CROWD)
        keys.append([*((word,) for word in one.words if often[word] <= CROWD), *combinations(common, 2)])
        for key in keys[i]:
            holders[key].append(i)
    for i in range(len(traits)):
        shared: dict[int, float] = defaultdict(float)
        left = LOOKED_AT
        for key in sorted(keys[i], key=lambda key: (len(holders[key]), key)):
            left -= len(holders[key])
            if left < 0:
                break
            for j in holders[key]:
                shared[j] += 1 / len(holders[key])
        kept: dict[str, int] = defaultdict(int)
        for j in sorted(shared, key=lambda j: (-shared[j], j)):
            kept[listings[j].account] += 1
            if kept[listings[j].account] <= BY_TITLE:
                yield (i, j) if i < j else (j, i)


def _within(holders: Mapping[str, list[int]]) -> Iterator[tuple[int, int]]:
    for bucket in holders.values():
        if len(bucket) <= CROWD:
            yield from combinations(bucket, 2)


# ---- all pairs ------------------------------------------------------------------------------------


class _Settling:
    """Who is linked with whom, once every pair is judged."""

    def __init__(
        self,
        known: Sequence[LiveListing],
        traits: Sequence[Traits],
        judged: Mapping[tuple[int, int], Evidence],
        apart: Collection[frozenset[str]],
    ) -> None:
        self._known, self._traits, self._judged, self._apart = known, traits, judged, apart
        self._points = {pair: points(found) for pair, found in judged.items()}
        self._doubts = {pair: doubts_of(found) for pair, found in judged.items()}
        #: (listing, another account) → its pairs there that are still open.
        self._open: dict[tuple[int, str], set[tuple[int, int]]] = defaultdict(set)
        for pair in judged:
            for end in self._ends(pair):
                self._open[end].add(pair)
        self._links: set[tuple[int, int]] = set()

    def done(self) -> Matches:
        while surest := [pair for pair in self._unlinked() if self._is_certain(pair)]:
            self._links.update(surest)
            for pair in surest:
                for end in self._ends(pair):
                    for rival in self._open[end] - {pair}:
                        for other_end in self._ends(rival):
                            if other_end != end:
                                self._open[other_end].discard(rival)
                    self._open[end] = {pair}
        groups = self._groups()
        together = {i: group for group in groups for i in group}
        links = [pair for pair in self._links if together.get(pair[0])]
        proposed = [pair for pair in self._unlinked() if self._is_likely(pair, together)]
        return Matches(
            linked=tuple(self._told(pair) for pair in self._in_order(links)),
            proposed=tuple(self._told(pair) for pair in self._in_order(proposed)),
            groups=tuple(tuple(self._known[i] for i in group) for group in groups),
        )

    def _ends(self, pair: tuple[int, int]) -> tuple[tuple[int, str], tuple[int, str]]:
        i, j = pair
        return (i, self._known[j].account), (j, self._known[i].account)

    def _unlinked(self) -> list[tuple[int, int]]:
        return [
            pair
            for pair in self._judged
            if pair not in self._links and all(pair in self._open[end] for end in self._ends(pair))
        ]

    def _is_certain(self, pair: tuple[int, int]) -> bool:
        return self._points[pair] >= LINK and not self._doubts[pair] and not self._rivals(pair)

    def _rivals(self, pair: tuple[int, int]) -> bool:
        least = self._points[pair] - MARGIN
        return any(
            rival != pair and self._points[rival] >= least
            for end in self._ends(pair)
            for rival in self._open[end]
        )

    def _groups(self) -> list[tuple[int, ...]]:
        """What hangs together by links. A group that contradicts itself (two listings of one account, or two
        that something speaks against) is not certain: its links are taken back, to be proposed."""
        neighbours: dict[int, set[int]] = defaultdict(set)
        for i, j in (*self._links, *self._one_things()):
            neighbours[i].add(j)
            neighbours[j].add(i)
        groups, seen = [], set[int]()
        for start in sorted(neighbours):
            if start in seen:
                continue
            group, waiting = {start}, [start]
            while waiting:
                for i in neighbours[waiting.pop()] - group:
                    group.add(i)
                    waiting.append(i)
            seen |= group
            if not any(i in group for i, _ in self._links):
                continue
            if self._agree(group):
                groups.append(tuple(sorted(group)))
            else:
                for pair in [pair for pair in self._links if pair[0] in group]:
                    self._links.discard(pair)
                    self._doubts[pair] = ["Taken together with a third, they contradict each other"]
        return groups

    def _one_things(self) -> Iterator[tuple[int, int]]:
        """What is one thing already."""
        holders = defaultdict(list)
        for i, one in enumerate(self._known):
            if one.thing is not None:
                holders[one.thing].append(i)
        for holder in holders.values():
            yield from pairwise(holder)

    def _agree(self, group: set[int]) -> bool:
        for i, j in combinations(sorted(group), 2):
            one, other = self._known[i], self._known[j]
            if one.thing is not None and one.thing == other.thing:
                continue
            if one.account == other.account or _is_settled(one, other, self._apart):
                return False
            found = weigh(one, other, self._traits[i], self._traits[j])
            if False in (found.size, found.color, found.brand, found.sku, found.quantity):
                return False
        return True

    def _is_likely(self, pair: tuple[int, int], together: Mapping[int, tuple[int, ...]]) -> bool:
        i, j = pair
        if i in together and together[i] == together.get(j):
            return False  # linked already, by way of a third
        mine = self._points[pair]
        for end in self._ends(pair):
            others = sorted((self._points[other] for other in self._open[end]), reverse=True)
            if mine < others[0] - SPREAD or mine < others[min(CHOICES, len(others)) - 1]:
                return False
        return True

    def _in_order(self, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        return sorted(pairs, key=lambda pair: (-self._points[pair], pair))

    def _told(self, pair: tuple[int, int]) -> Match:
        one, other = (self._known[i] for i in pair)
        doubts = list(self._doubts[pair])
        if pair not in self._links:
            if self._rivals(pair):
                doubts.append("Another listing is nearly as like")
            if not doubts:
                doubts.append("Too little speaks for it")
        return Match(one, other, self._points[pair], tuple(reasons_of(self._judged[pair])), tuple(doubts))
