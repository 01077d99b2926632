"""What being safe costs, and whether guessers slow the others down: the figures of docs/security.md."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

from sqlalchemy import text

from benchmarks.figures import Bench, p95
from benchmarks.open_door import ROUTE
from everystall.db import Database
from everystall.demo.stage import Stage
from everystall.installation import addresses, opened
from everystall.processes import answers, free_port, wait_until_ready
from everystall.vault import envelope
from everystall.web.passwords import ARGON2
from everystall.web.tokens import make_token

#: A marketplace's cookies and storage are 10 to 50 kB.
SESSION_BYTES = 50_000
#: The load of the last figure.
GUESSERS, GUESSES_PER_SECOND, VALID_PER_SECOND, SECONDS = 50, 10, 200, 10
#: Each of the two is measured so often, by turns.
TURNS = 3
#: Each may ask 3,000 times a minute.
SELLERS = 5


def measure(bench: Bench) -> dict[str, float]:
    """seal: s, p95 of unwrapping a key, sealing and opening · open, walled: s, median of a GET past the walls
    and of the same through them · log_in: s, median · idle, guessed: s, p95 of a valid request,
    median of the turns."""
    with opened(bench.stage.settings, prepared=False) as settings:
        database = addresses(settings)
    return {"seal": _seal(), "log_in": asyncio.run(_log_in()), **asyncio.run(_asked(bench, database))}


def _seal(times: int = 2000) -> float:
    ring_key, data_key, user = os.urandom(32), os.urandom(32), uuid4()
    wrapped = envelope.wrap(ring_key, data_key, "k1", user, 1)
    binding = envelope.Binding(user, "mercari", uuid4(), 1, datetime.now(UTC))
    payload, took = os.urandom(SESSION_BYTES), []
    for _ in range(times):
        began = time.perf_counter()
        with envelope.unwrap(ring_key, wrapped, "k1", user, 1) as key:
            sealed = envelope.seal(key, payload, binding)
            with envelope.unseal(key, sealed, binding):
                took.append(time.perf_counter() - began)
    return p95(took)


async def _log_in(times: int = 11) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await asyncio.to_thread(ARGON2.hash, "three words of mine")
        took.append(time.perf_counter() - began)
    return statistics.median(took)


async def _asked(bench: Bench, database: dict[str, str]) -> dict[str, float]:
    admin = Database(bench.database)
    try:
        async with admin.as_app() as session:
            names = [f"guarded{n}-{time.time_ns()}@example.com" for n in range(SELLERS)]
            tokens = [await make_token(session, name, "bench") for name in names]
            user_id = await session.scalar(
                text("SELECT id FROM users WHERE email = :name"), {"name": names[0]}
            )
        walls = await _walls(bench.stage, database, tokens[0], user_id)
        port, idle, guessed = bench.stage.settings.everystall_port, [], []
        await _valid(port, tokens)  # with its connections and caches as in the middle of a day
        for turn in range(TURNS):
            idle.append(p95(await _valid(port, tokens)))
            guessed.append(p95(await _beside_guessers(port, tokens, turn)))
    finally:
        await admin.close()
    return {**walls, "idle": statistics.median(idle), "guessed": statistics.median(guessed)}


async def _walls(
    stage: Stage, database: dict[str, str], token: str, user_id: UUID, times: int = 500
) -> dict[str, float]:
    """Both GETs by turns, over one connection to one process (benchmarks/open_door.py)."""
    port, log = free_port(), stage.logs / "open-door.log"
    environment = {**stage.env, **database}
    stage.children.start(
        "open-door", "--port", str(port), module="benchmarks.open_door", env=environment, log=log
    )
    up = partial(answers, f"http://127.0.0.1:{port}/readyz")
    await asyncio.to_thread(
        wait_until_ready, lambda: None if up() else "its port", stage.children, what="The web", log=log
    )
    connection = await asyncio.open_connection("127.0.0.1", port)
    heads = {
        "open": f"GET {ROUTE}/{user_id} HTTP/1.1\r\n",
        "walled": f"GET /api/tokens HTTP/1.1\r\nAuthorization: Bearer {token}\r\n",
    }
    took: dict[str, list[float]] = {name: [] for name in heads}
    for n in range(times):
        for name, head in heads.items():
            began = time.perf_counter()
            if (status := await _send(*connection, head, "")) != 200:
                raise RuntimeError(f"{name}: answered {status}")
            if n >= times // 10:  # warm by then
                took[name].append(time.perf_counter() - began)
    connection[1].close()
    return {name: statistics.median(each) for name, each in took.items()}


async def _valid(port: int, tokens: list[str]) -> list[float]:
    """Seconds of each request of signed-in programs, sent evenly, however long the answers take."""
    waiting: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(32):
        waiting.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    took: list[float] = []

    async def ask(token: str) -> None:
        began = time.perf_counter()
        connection = await waiting.get()
        status = await _send(
            *connection, f"GET /api/tokens HTTP/1.1\r\nAuthorization: Bearer {token}\r\n", ""
        )
        waiting.put_nowait(connection)
        took.append(time.perf_counter() - began)
        if status != 200:
            raise RuntimeError(f"a valid request was answered {status}")

    asking, began = [], time.perf_counter()
    for n in range(VALID_PER_SECOND * SECONDS):
        asking.append(asyncio.create_task(ask(tokens[n % len(tokens)])))
        await asyncio.sleep(max(0.0, began + (n + 1) / VALID_PER_SECOND - time.perf_counter()))
    await asyncio.gather(*asking)
    while not waiting.empty():
        waiting.get_nowait()[1].close()
    return took


async def _beside_guessers(port: int, tokens: list[str], turn: int) -> list[float]:
    """The same beside guessers, who come from other networks each turn: their first tries are looked at."""
    done = asyncio.Event()
    guessers = [
        asyncio.create_task(_guess(port, turn * GUESSERS + number, done)) for number in range(GUESSERS)
    ]
    took = await _valid(port, tokens)
    done.set()
    await asyncio.gather(*guessers)
    return took


async def _guess(port: int, number: int, done: asyncio.Event) -> None:
    """One guesser in a network of their own, ten times a second, in step with no other."""
    await asyncio.sleep(number / GUESSERS / GUESSES_PER_SECOND)
    connection = await asyncio.open_connection("127.0.0.1", port)
    who = f"X-Forwarded-For: 10.{number}.0.1\r\nContent-Type: application/json\r\n"
    while not done.is_set():
        await _send(*connection, f"POST /api/pairings/look HTTP/1.1\r\n{who}", '{"code": "ABCD-EFGH"}')
        await asyncio.sleep(1 / GUESSES_PER_SECOND)
    connection[1].close()


async def _send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str, body: str) -> int:
    """The status. No HTTP library: a client must cost less than what it measures."""
    writer.write(f"{head}Host: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    answered = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    await reader.readexactly(int(answered.partition("content-length: ")[2].partition("\r\n")[0]))
    return int(answered.split(" ")[1])
