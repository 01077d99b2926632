"""An account's list of what is live, newest first, of which only some pages are read. What it was before says
where it changed: between two things that were read there are as many as there were, or it is read on there.

Pure. It proves nothing of what was not read: what was edited there is seen when that page's turn comes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

#: Pages that are read of a long list in any case: the first, the last, and those whose turn it is. A list of
#: no more is read as a whole.
FEW = 4


class Order:
    """One reading of it. `before`: the ids as they are expected; None: nobody knows, so all is read. `turn`:
    the page whose turn it is."""

    def __init__(self, before: Sequence[str] | None, turn: int = 2) -> None:
        self._before = list(before or ())
        self._whole = before is None
        #: Whose turn it is the next time.
        self.turn = turn
        #: What was read, by page, and whether there is another behind it.
        self._pages: dict[int, list[str]] = {}
        self._goes_on: dict[int, bool] = {}
        self._turns: list[int] | None = None

    @property
    def pages_read(self) -> int:
        return len(self._pages)

    @property
    def is_long(self) -> bool:
        """It has more pages than are read of it in any case."""
        return self._last() > FEW

    def add(self, number: int, ids: Sequence[str], more: bool) -> None:
        """A page of it. One that shows only what others did is behind the end: the list began again."""
        again = number > 1 and self._seen().issuperset(ids)
        self._pages[number] = [] if again else list(ids)
        self._goes_on[number] = more and bool(ids) and not again
        size = len(self._pages[1]) if 1 in self._pages else 0
        if number == 1:
            self._whole |= len(self._before) <= FEW * size
        elif self._goes_on[number] and len(ids) != size:  # no page says what place a thing has
            self._whole = True

    def next(self) -> int | None:
        """The page to be read now; None: that is all. The first, the last, those between which something
        changed, and those whose turn it is."""
        if 1 not in self._pages:
            return 1
        if self._whole:
            last = next(n for n in range(1, len(self._pages) + 1) if n + 1 not in self._pages)
            ended = any(not self._goes_on[n] for n in range(1, last + 1))
            return None if ended else last + 1
        wanted = self._wanted_for_end()
        if wanted is not None:
            return wanted
        size, new, left = len(self._pages[1]), self._seen() - set(self._before), list[int]()
        for unread, unseen in self._gaps():
            if not unread:
                continue
            first = unread[0] // size + 1
            # new ones are together: there may be more of them
            if len(unread) != len(unseen) or (self._pages.get(first - 1) or [""])[-1] in new:
                return first if len(unread) <= size else unread[len(unread) // 2] // size + 1
            left += sorted({place // size + 1 for place in unread})
        if self._turns is None:
            self._turns = sorted(left, key=lambda number: (number < self.turn, number))[: FEW - 2]
            self.turn = self._turns[-1] + 1 if self._turns else self.turn
        return next((number for number in self._turns if number in left), None)

    def now(self) -> list[str]:
        """All of it: what was read, and of the rest what it was before."""
        found = self._places()
        if not self._whole:
            for unread, unseen in self._gaps():
                found |= dict(zip(unread, unseen, strict=False))
        return list(dict.fromkeys(found[place] for place in sorted(found)))

    def _seen(self) -> set[str]:
        return {id for ids in self._pages.values() for id in ids}

    def _places(self) -> dict[int, str]:
        if self._whole:
            return dict(enumerate(id for n in sorted(self._pages) for id in self._pages[n]))
        size = len(self._pages[1])
        return {(n - 1) * size + i: id for n, ids in self._pages.items() for i, id in enumerate(ids)}

    def _last(self) -> int:
        return max(n for n, ids in self._pages.items() if ids or n == 1)

    def _wanted_for_end(self) -> int | None:
        """The page that may say where it ends; None: that is known."""
        last = self._last()
        beyond = [n for n, ids in self._pages.items() if not ids and n > last]
        if not self._goes_on[last] or (beyond and min(beyond) == last + 1):
            return None
        if beyond:
            return max((last + min(beyond)) // 2, min(beyond) - (1 << len(beyond) - 1))  # it is not far
        return max(last + 1, -(-len(self._before) // len(self._pages[1])))

    def _gaps(self) -> Iterator[tuple[list[int], list[str]]]:
        """Between two neighbours that were read and stand in the order in which they stood: the places that
        were not read, and what stood there and was read nowhere."""
        places, seen, size = self._places(), self._seen(), len(self._pages[1])
        stood = {id: place for place, id in enumerate(self._before)}
        both = [(place, stood[id]) for place, id in sorted(places.items()) if id in stood]
        last = self._last()
        end = ((last - 1) * size + len(self._pages[last]), len(self._before))
        here, then = -1, -1
        for place, was in [*_in_order(both), end]:
            unread = [n for n in range(here + 1, place) if n // size + 1 not in self._pages]
            yield unread, [id for id in self._before[then + 1 : was] if id not in seen]
            here, then = place, was


def _in_order(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The most of them in which both grow; the others moved."""
    ends, lasts, before = list[int](), list[int](), list[int | None]()
    for index, (_, was) in enumerate(pairs):
        length = bisect_left(ends, was)
        ends[length : length + 1], lasts[length : length + 1] = [was], [index]
        before.append(lasts[length - 1] if length else None)
    found, at = list[tuple[int, int]](), lasts[-1] if lasts else None
    while at is not None:
        found.append(pairs[at])
        at = before[at]
    return found[::-1]
