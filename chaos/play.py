"""One cell: set the stage, ask for the work, meet it at its moment, strike, and judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from random import Random

from chaos import faults, judge
from chaos.matrix import Cell
from chaos.moments import OnRequest, moment, refusal
from chaos.stage import Seller, Stage
from everystall.marketplaces import MARKETPLACES

#: Seconds for the visit to come to its moment.
TO_THE_MOMENT = 90.0

Act = Callable[[Stage, Seller], Awaitable[None]]


@dataclass
class Result:
    """One line of the results' file."""

    cell: str
    seed: int
    marketplace: str
    outcome: str
    wrong: list[str]
    notes: list[str]
    seconds: float
    real: bool = False
    commit: str = ""
    at: str = ""
    lines: list[str] = field(default_factory=list, repr=False)

    @property
    def passed(self) -> bool:
        return not self.wrong

    def as_json(self) -> dict[str, object]:
        return {name: value for name, value in asdict(self).items() if name != "lines"}


async def _unchecked(stage: Stage, seller: Seller) -> None:
    """The next visit begins with a check of the session."""
    await stage.rows("UPDATE connections SET next_check_at = now() WHERE id = %s", seller.connection_id)


async def _publish(stage: Stage, seller: Seller) -> None:
    await stage.post(seller)


async def _live(stage: Stage, seller: Seller) -> None:
    """Something of the seller's to take down."""
    await stage.post(seller)
    ended = await judge.outcome(stage, seller, 60)
    if ended != "live":
        raise RuntimeError(f"the set-up ended as {ended}")
    async with asyncio.timeout(15):  # that visit is over
        while await stage.rows("SELECT 1 FROM connections WHERE id = %s AND lease_until > now()",
                               seller.connection_id):  # fmt: skip
            await asyncio.sleep(0.05)


async def _delist(stage: Stage, seller: Seller) -> None:
    await stage.act(seller, "end")


async def _live_unchecked(stage: Stage, seller: Seller) -> None:
    """Something of the seller's to change."""
    await _live(stage, seller)
    await _unchecked(stage, seller)


async def _revise(stage: Stage, seller: Seller) -> None:
    await stage.edit(seller)


#: Verb → what has to be there before, and how the seller asks for it.
VERBS: dict[str, tuple[Act, Act]] = {
    "publish": (_unchecked, _publish), "revise": (_live_unchecked, _revise), "delist": (_live, _delist),
}  # fmt: skip


async def play(
    stage: Stage, cell: Cell, seed: int, *, number: int, patience: float = judge.PATIENCE
) -> Result:
    """The cell's result; the same seed plays it the same way, on the same marketplace."""
    began = time.monotonic()
    random = Random(f"{seed}/{cell.name}")
    marketplace = random.choice(list(MARKETPLACES))
    result = Result(cell.name, seed, marketplace, "", [], [], 0.0)
    try:
        await _play(stage, cell, random, result, f"s{number}", patience)
    except Exception as e:
        result.wrong.append(f"harness: {type(e).__name__}: {e}")
        await _start_over(stage)
    result.seconds = round(time.monotonic() - began, 1)
    result.lines = [f"{line.get('timestamp', '')} {line.get('event')} {line}" for line in stage.lines]
    return result


async def _play(stage: Stage, cell: Cell, random: Random, result: Result, name: str, patience: float) -> None:
    world, door = stage.sandbox.world, stage.door
    world.faults.clear()
    world.drifts.clear()
    door.trap = None
    stage.set_clock(0)
    await stage.one_worker("clock" if cell.fault.startswith("clock-") else "plain")
    stage.lines.clear()
    prepare, ask = VERBS[cell.verb]
    seller = await stage.seller(name, result.marketplace)
    if cell.verb == "revise":
        seller.adds_photo = cell.step == "upload-photos" or random.random() < 0.5
        result.notes.append("a photo more" if seller.adds_photo else "other words and price")
    try:
        await stage.new_listing(seller)
        await faults.before(stage, cell, seller)
        await prepare(stage, seller)
        if cell.step == "notify":
            await stage.add_hook(seller)
        trap = faults.trap_of(cell, random)
        at = refusal(stage, cell, seller) if cell.fault == "net-refuse" else (
            moment(stage, cell, seller, random, trap))  # fmt: skip
        async with at:
            async with asyncio.timeout(TO_THE_MOMENT):
                await ask(stage, seller)
                await at.reached()
            it = faults.Strike(stage, cell, seller, random, at, result.notes)
            await faults.strike(it)
        if isinstance(at, OnRequest) and at.trap.asked is not None:
            result.notes.append(f"{at.trap.asked.method} {at.trap.asked.path}")
        result.outcome = await judge.outcome(stage, seller, patience)
        result.wrong += await judge.complaints(it, result.outcome)
    finally:
        await seller.api.aclose()
        await stage.forget(seller)


async def _start_over(stage: Stage) -> None:
    """After a cell that came to no end: nothing of it may reach the next."""
    for worker in stage.workers:
        await worker.end(kill=True)
    stage.workers.clear()
    stage.listeners.clear()
    await asyncio.to_thread(stage.server.start)
