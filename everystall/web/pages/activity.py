"""How this installation does, for its owner: posts, failures, the queue, the workers; as /metrics has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from everystall import errors
from everystall.engine import LANES
from everystall.errors import EverystallError, Fate
from everystall.marketplaces import MARKETPLACES
from everystall.web.deps import AllParts, PageOwner
from everystall.web.numbers import WINDOWS, Bar, Failure, Now, Posts
from everystall.web.pages.opened import opened
from everystall.web.pages.sales import lasted

router = APIRouter()

SAID: Final = {"24h": "the last 24 hours", "7d": "the last 7 days"}
#: Of the chart, in its own units.
WIDTH: Final = 480
HEIGHT: Final = 110
#: What a person who runs this does about a failure, by whose it is to mend.
_ADVICE: Final[Mapping[Fate, str]] = {
    "retry": "Nothing: it is tried again by itself. Many in an hour: the site limits us; raise the pace.",
    "seller": "Nothing here: its seller was asked.",
    "developer": "Report it with the picture under Needs you: the site's page is not as we know it.",
    "operator": "Look at this machine: {action}",
    "drop": "Nothing: what was asked for was not wanted any more.",
}
_CLASSES: Final[Mapping[str, type[EverystallError]]] = {
    one.code: one
    for one in vars(errors).values()
    if isinstance(one, type) and issubclass(one, EverystallError) and "code" in vars(one)
}
#: Places that wake-ups wait in, in words.
_LANES: Final = {
    "urgent": "Taking down", "visits": "Posting, changing, looking", "reading": "Bringing in what is live",
    "ticks": "Chores",
    "messages": "Webhooks, notifications", "imports": "Files, comparing", "sittings": "Sellers at a browser",
}  # fmt: skip


@dataclass(frozen=True)
class Market:
    name: str
    label: str
    posts: Posts
    accounts: int
    waiting: int


@dataclass(frozen=True)
class Pattern:
    label: str
    code: str
    said: str
    steps: str
    number: int
    last_at: datetime
    todo: str


@dataclass(frozen=True)
class Column:
    """A bar of the chart, in its units."""

    x: float
    width: float
    live_y: float
    live_height: float
    stopped_y: float
    stopped_height: float
    said: str


@dataclass(frozen=True)
class Lane:
    label: str
    place: str | None
    waiting: int
    running: int


@router.get("/activity")
async def show_activity(
    request: Request, parts: AllParts, who: PageOwner, window: Literal["24h", "7d"] = "24h"
) -> HTMLResponse:
    found, now = (
        await parts.numbers.window(window),
        await parts.numbers.now(parts.settings.model_budget_cents),
    )
    markets = _markets(found.posts, now)
    live, stopped = (sum(getattr(one.posts, name) for one in markets) for name in ("live", "stopped"))
    async with opened(request, parts, who) as page:
        return page.show(
            "activity.html",
            window=window,
            windows=[(name, SAID[name].removeprefix("the ").capitalize()) for name in WINDOWS],
            said_window=SAID[window],
            markets=markets,
            whole=Posts(live, stopped, None, None, None),
            columns=_columns(found.bars, window),
            highest=_highest(found.bars),
            axis=_axis(found.bars, window),
            bars=[one for one in reversed(found.bars) if one.live or one.stopped],
            patterns=[_pattern(one) for one in found.failures],
            now=now,
            on_trial=sum(number for (_, state), number in now.healed.items() if state == "candidate"),
            behind=lasted(datetime.now(UTC) - now.oldest) if now.oldest else None,
            lanes=_lanes(now),
            lasted=_lasted,
            percent=_percent,
        )


def _lasted(seconds: float | None) -> str:
    """ "12 s", "3 min 5 s"; of none a dash."""
    return "–" if seconds is None else lasted(timedelta(seconds=seconds))


def _percent(rate: float | None) -> str:
    """ "98 %", "99.7 %"; never 100 where one failed."""
    if rate is None:
        return "–"
    return f"{rate * 100:.1f} %" if 0.99 <= rate < 1 else f"{rate * 100:.0f} %"


def _markets(posts: Mapping[str, Posts], now: Now) -> list[Market]:
    none = Posts(0, 0, None, None, None)
    return [
        Market(name, label, posts.get(name, none), *now.accounts.get(name, (0, 0)))
        for name, label in MARKETPLACES.items()
    ]


def _pattern(one: Failure) -> Pattern:
    known = _CLASSES.get(one.code, EverystallError)
    said = (known.__doc__ or one.code).splitlines()[0]
    advice = _ADVICE[known.fate].format(action=known.action)
    return Pattern(MARKETPLACES.get(one.marketplace, one.marketplace), one.code, said, ", ".join(one.steps),
                   one.number, one.last_at, advice)  # fmt: skip


def _highest(bars: Sequence[Bar]) -> int:
    return max((one.live + one.stopped for one in bars), default=0)


def _columns(bars: Sequence[Bar], window: str) -> list[Column]:
    highest, wide = _highest(bars) or 1, WIDTH / len(bars)
    columns = []
    for place, one in enumerate(bars):
        live, stopped = (number / highest * (HEIGHT - 6) for number in (one.live, one.stopped))
        at = f"{one.begins:%d %b, %H:%M} UTC" if window == "7d" else f"{one.begins:%H:%M} UTC"
        columns.append(
            Column(round(place * wide + 1.5, 1), round(wide - 3, 1), round(HEIGHT - live, 1), round(live, 1),
                   round(HEIGHT - live - stopped, 1), round(stopped, 1),
                   f"From {at}: {one.live} live, {one.stopped} stopped for their seller")
        )  # fmt: skip
    return columns


def _axis(bars: Sequence[Bar], window: str) -> list[tuple[float, str]]:
    """Where a word stands below the chart, and which."""
    wide = WIDTH / len(bars)
    every = 6 if window == "24h" else 4
    return [
        (round((place + 0.5) * wide, 1), f"{one.begins:%H:%M}" if window == "24h" else f"{one.begins:%a %d}")
        for place, one in enumerate(bars)
        if place % every == every // 2
    ]


def _lanes(now: Now) -> list[Lane]:
    """Every lane, and of each the places where accounts wait."""
    queues = [*LANES, *(queue for queue in now.wakes if queue not in LANES)]

    def place_of(queue: str) -> tuple[int, str]:
        lane = queue.partition("@")[0]
        return LANES.index(lane) if lane in LANES else len(LANES), queue

    found = []
    for queue in sorted(queues, key=place_of):
        lane, _, place = queue.partition("@")
        waiting, running = now.wakes.get(queue, (0, 0))
        found.append(Lane(_LANES.get(lane, lane), place or None, waiting, running))
    return found
