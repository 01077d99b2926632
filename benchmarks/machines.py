"""Figures of several workers: how soon a killed one's account is visited again, how soon a take-down starts
while every slot is busy, how soon a single post does beside another seller's 5,000. At default settings."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable
from typing import Any

import psycopg

from benchmarks.figures import Bench
from everystall.installation import addresses, opened
from everystall.processes import Children, free_port

PLACE, BULK = "bench", 5000
SITE = "mercari"


def measure(bench: Bench) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with psycopg.connect(bench.database, autocommit=True) as connection:
        for part in (take_over, take_down, beside_bulk):
            found[part.__name__] = part(bench, connection)
            bench.say(f"  {part.__name__}: {', '.join(f'{each:.2f}' for each in found[part.__name__])} s")
    return found


def take_over(bench: Bench, connection: psycopg.Connection[Any]) -> list[float]:
    """Seconds from SIGKILL of a worker in the middle of a visit to the next worker's lease on the account.
    Two workers of a place of their own, so that `everystall up` does not take part."""
    bench.seller(SITE)
    profile, found = bench.connected[SITE], []
    bench.stage.call("PATCH", f"/api/connections/{profile}", json={"place": PLACE})
    with opened(bench.stage.settings, prepared=False) as settings, Children() as children:
        env = {
            **bench.stage.env,
            **addresses(settings),
            "WORKER_PLACE": PLACE,
            "EVERYSTALL_PORT": str(free_port()),
        }
        for name in ("one", "other"):
            children.start(name, "worker", env=env, log=bench.stage.logs / f"{name}.log")
        bench.latency(2.0)
        for run in range(bench.runs):
            bench.post(bench.listing(), [SITE])
            pid, fence = _until(lambda: _on(connection, profile, filling=True))
            os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            _until(lambda: (now := _on(connection, profile)) and now[1] > fence and now[0] != pid)  # noqa: B023
            found.append(time.monotonic() - killed)
            children.start(f"again {run}", "worker", env=env, log=bench.stage.logs / "again.log")
            bench.latency(0)
            bench.rest()
            bench.latency(2.0)
        bench.latency(0)
    return found


def take_down(bench: Bench, connection: psycopg.Connection[Any]) -> list[float]:
    """Seconds from the answer to a take-down to its visit's lease, on an account that nobody visits, while
    every slot for visits is busy with a slow post."""
    bench.seller(SITE)
    profile, token, found = bench.connected[SITE], bench.stage.api.headers["Authorization"], []
    slots = bench.stage.settings.worker_visits
    busy = "SELECT count(*) FROM connections WHERE lease_until > now() AND marketplace = 'poshmark'"
    others = []
    for _ in range(slots):
        bench.seller("poshmark")
        others.append(bench.stage.api.headers["Authorization"])
    for _ in range(bench.runs):
        bench.stage.api.headers["Authorization"] = token
        listing = bench.listing()
        answered, job = bench.post(listing, [SITE])
        bench.follow(answered, [job])
        bench.rest()
        bench.stage.control("POST", "faults", marketplace="poshmark", kind="latency", seconds=4)
        for other in others:
            bench.stage.api.headers["Authorization"] = other
            bench.post(bench.listing(), ["poshmark"])
        _until(lambda: connection.execute(busy).fetchone() == (slots,))
        bench.stage.api.headers["Authorization"] = token
        bench.stage.call("POST", f"/api/listings/{listing}/publications/{profile}/end")
        ended = time.monotonic()
        _until(lambda: _on(connection, profile))
        found.append(time.monotonic() - ended)
        bench.stage.control("DELETE", "faults")
        bench.rest()
    return found


def beside_bulk(bench: Bench, connection: psycopg.Connection[Any]) -> list[float]:
    """Seconds from the answer to a seller's single post to its visit's lease, while another's 5,000 are
    posted."""
    bench.seller(SITE)
    bulk, template = bench.connected[SITE], bench.listing()
    bench.rest()
    connection.execute(_BULK, {"template": template, "account": bulk, "n": BULK})
    bench.stage.call("POST", f"/api/connections/{bulk}/resume")  # wakes it
    bulk_token, found = bench.stage.api.headers["Authorization"], []
    _until(lambda: _on(connection, bulk))
    for _ in range(bench.runs):
        bench.seller(SITE)
        profile = bench.connected[SITE]
        _until(lambda: not _on(connection, profile) and not _waits(connection, profile))  # noqa: B023
        bench.post(bench.listing(), [SITE])
        answered = time.monotonic()
        _until(lambda: _on(connection, profile))  # noqa: B023
        found.append(time.monotonic() - answered)
    bench.stage.api.headers["Authorization"] = bulk_token
    bench.stage.call("POST", f"/api/connections/{bulk}/pause")
    bench.rest()
    return found


#: As if it had been posted one by one: that alone takes minutes.
_BULK = """
WITH t AS (SELECT * FROM listings WHERE id = %(template)s),
a AS (SELECT * FROM connections WHERE public_id = %(account)s),
l AS (INSERT INTO listings (user_id, title, description, brand, category, condition, colors, price_cents,
        original_price_cents, sku, package, ships_from_zip, shipping_payer)
      SELECT t.user_id, t.title || ' ' || n, t.description, t.brand, t.category, t.condition, t.colors,
        t.price_cents, t.original_price_cents, t.sku || n, t.package, t.ships_from_zip, t.shipping_payer
      FROM t, generate_series(1, %(n)s) n RETURNING id, user_id),
p AS (INSERT INTO listing_photos (user_id, listing_id, position, sha256, content_type, width, height,
        byte_size)
      SELECT l.user_id, l.id, f.position, f.sha256, f.content_type, f.width, f.height, f.byte_size
      FROM l, listing_photos f WHERE f.listing_id = %(template)s)
INSERT INTO publications (user_id, listing_id, connection_id, marketplace, wanted_revision)
SELECT l.user_id, l.id, a.id, a.marketplace, 1 FROM l, a
"""


def _on(
    connection: psycopg.Connection[Any], profile: str, *, filling: bool = False
) -> tuple[int, int] | None:
    """(process, fence) of who is on the account now; `filling`: and fills in a form."""
    row = connection.execute(
        """SELECT lease_holder, lease_fence FROM connections c WHERE public_id = %s AND lease_until > now()
           AND (NOT %s OR EXISTS (SELECT FROM publications p
                                  WHERE p.connection_id = c.id AND p.state = 'filling'))""",
        [profile, filling],
    ).fetchone()
    return (int(row[0].rpartition(":")[2]), int(row[1])) if row else None


def _waits(connection: psycopg.Connection[Any], profile: str) -> bool:
    """A wake-up of the account waits or runs."""
    row = connection.execute(
        """SELECT 1 FROM procrastinate.procrastinate_jobs j, connections c
           WHERE c.public_id = %s AND j.lock = 'connection:' || c.id""",
        [profile],
    ).fetchone()
    return row is not None


def _until(found: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (got := found()):
        if time.monotonic() > deadline:
            raise RuntimeError("it did not happen")
        time.sleep(0.01)
    return got


def rows(found: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """For docs/benchmarks.md."""
    got = found.get("machines")
    if not got:
        return []
    wanted = (
        ("take_over", "a worker killed in a visit → its account visited by another, longest of {}", 20.0),
        ("take_down", "take-down asked, every slot busy → its visit, longest of {}", 2.0),
        (
            "beside_bulk",
            f"a single post beside another seller's {BULK}: answered → its visit, median of {{}}",
            None,
        ),
    )
    made = []
    for name, says, most in wanted:
        seconds = statistics.median(got[name]) if most is None else max(got[name])
        goal, good = (f"≤ {most:.0f} s", "met" if seconds <= most else "**not met**") if most else ("", "")
        made.append((says.format(len(got[name])), f"{seconds:.2f} s", goal, good))
    return made
