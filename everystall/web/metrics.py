"""/metrics, for Prometheus: the figures of the page *Activity*, to this machine or to who has the token."""

from __future__ import annotations

import asyncio
import hmac
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from sqlalchemy.pool import QueuePool

from everystall import __version__
from everystall.backup.shelf import Shelf
from everystall.errors import NotAllowed, Unauthenticated
from everystall.settings import Settings, is_loopback
from everystall.web.deps import AllParts, Parts
from everystall.web.numbers import LATELY, WINDOWS, Now, Window

router = APIRouter(include_in_schema=False)

#: Whatever says that a proxy passed a request on: then it comes from elsewhere, whoever hands it over.
_PASSED_ON = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


@router.get("/metrics")
async def show_metrics(request: Request, parts: AllParts) -> Response:
    _check(request, parts.settings)
    now = await parts.numbers.now(parts.settings.model_budget_cents)
    windows = {name: await parts.numbers.window(name) for name in WINDOWS}
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(now, windows))
    registry.register(await asyncio.to_thread(_Machine, parts))
    return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})


def _check(request: Request, settings: Settings) -> None:
    """Raises Unauthenticated, NotAllowed."""
    if (wanted := settings.metrics_token) is not None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), wanted.get_secret_value().encode())
        if scheme.lower() != "bearer" or not right:
            raise Unauthenticated(
                "These figures are for who has the METRICS_TOKEN.",
                action="Send it: `Authorization: Bearer` and what METRICS_TOKEN is here.",
            )
        return
    direct = not any(name in request.headers for name in _PASSED_ON)
    # a page that is open in a browser here may ask too: never for it
    by_program = "sec-fetch-site" not in request.headers and "origin" not in request.headers
    # a proxy may leave out every header of its own, but who has one says so in PUBLIC_URL
    hosts = settings.public_host, request.url.hostname or "", request.client.host if request.client else ""
    if not (direct and by_program and all(is_loopback(host) for host in hosts)):
        raise NotAllowed(
            "Without a METRICS_TOKEN these figures are for programs on this machine alone, and for nobody "
            "where PUBLIC_URL is another's address.",
            action="Set METRICS_TOKEN (openssl rand -hex 24), start the web anew and send the token as "
            "`Authorization: Bearer …`.",
        )


class _Figures(Collector):
    def __init__(self, now: Now, windows: dict[str, Window]) -> None:
        self._now, self._windows = now, windows

    def collect(self) -> Iterable[Metric]:
        yield _gauge("everystall_info", "This version.", ["version"], [((__version__,), 1)])
        yield from self._of_posts()
        now = self._now
        lag = (datetime.now(UTC) - now.oldest).total_seconds() if now.oldest else 0
        yield _gauge("everystall_due", "Publications with something to do now.", ["kind"],
                     [(("take_down",), now.due_urgent), (("other",), now.due - now.due_urgent)])  # fmt: skip
        yield _gauge(
            "everystall_due_oldest_seconds", "Since when the oldest of them is due.", [], [((), lag)]
        )
        yield _gauge("everystall_wakes", "Wake-ups in the queue.", ["queue", "state"],
                     [((queue, state), number) for queue, numbers in now.wakes.items()
                      for state, number in zip(("waiting", "running"), numbers, strict=True)])  # fmt: skip
        there = [one for one in now.workers if not one.away]
        yield _gauge("everystall_workers", "Workers that are alive.", [], [((), len(there))])
        yield _gauge("everystall_visits_running", "Visits under way.", ["host", "pid"],
                     [((one.host, str(one.pid)), one.running) for one in there])  # fmt: skip
        yield _gauge("everystall_accounts", "Connected accounts.", ["marketplace", "state"],
                     [((name, state), number) for name, (whole, waiting) in now.accounts.items()
                      for state, number in (("fine", whole - waiting),
                                            ("needs_seller", waiting))])  # fmt: skip
        yield _gauge("everystall_blind_accounts", "Accounts whose sales are not seen.", [], [((), now.blind)])
        yield _gauge(
            "everystall_late_take_downs",
            "Sold elsewhere, and not known to be gone after five minutes.",
            [],
            [((), now.late)],
        )
        yield _gauge(
            "everystall_sellers_without_budget",
            "Sellers who used up what a model may cost this month.",
            [],
            [((), now.spent)],
        )
        yield _gauge("everystall_healed_locators", "Targets that were found again on pages that changed.",
                     ["marketplace", "state"], now.healed.items())  # fmt: skip

    def _of_posts(self) -> Iterable[Metric]:
        posts = [(name, window, one) for window, found in self._windows.items()
                 for name, one in found.posts.items()]  # fmt: skip
        yield _gauge("everystall_posts", "Posts that ended in the window.",
                     ["marketplace", "window", "outcome"],
                     [((name, window, outcome), number) for name, window, one in posts
                      for outcome, number in (("live", one.live),
                                              ("needs_seller", one.stopped))])  # fmt: skip
        yield _gauge("everystall_post_seconds", "From the wish to live, of posts that ended in the window.",
                     ["marketplace", "window", "quantile"],
                     [((name, window, quantile), seconds) for name, window, one in posts
                      for quantile, seconds in (("0.5", one.median), ("0.95", one.p95))
                      if seconds is not None])  # fmt: skip
        yield _gauge("everystall_post_visit_seconds", "Of those, what half of them took a visit at most.",
                     ["marketplace", "window"],
                     [((name, window), one.at_work) for name, window, one in posts
                      if one.at_work is not None])  # fmt: skip
        yield _gauge("everystall_failures", "Steps that failed in the window.",
                     ["marketplace", "window", "code"],
                     [*(((one.marketplace, window, one.code), one.number)
                        for window, found in self._windows.items() for one in found.failures),
                      *(((name, f"{LATELY}h", code), number)
                        for (name, code), number in self._now.failed.items())])  # fmt: skip


class _Machine(Collector):
    """Of this web's own process and folders: its connections, its disks, the backups that lie here."""

    def __init__(self, parts: Parts) -> None:
        pool = parts.database.engine.pool
        assert isinstance(pool, QueuePool)
        self._connections = {"used": pool.checkedout(), "at_most": pool.size()}
        folders = {"home": parts.settings.everystall_home}
        place = urlsplit(parts.settings.photos_location)
        if place.scheme in ("", "file"):
            folders["photos"] = Path(unquote(place.path))
        self._disks = {what: shutil.disk_usage(where) for what, where in folders.items() if where.is_dir()}
        shelf = Shelf(parts.settings)
        kept, state = shelf.find(), shelf.state()
        self._made = kept[0].made.timestamp() if kept else None
        self._failed = state is not None and (state.what, state.step) == ("backup", "failed")
        self._kept_here = bool(kept) or state is not None or shelf.is_looked_after()

    def collect(self) -> Iterable[Metric]:
        yield _gauge("everystall_database_connections", "Connections of this web's pool.", ["state"],
                     [((state,), number) for state, number in self._connections.items()])  # fmt: skip
        yield _gauge("everystall_disk_bytes", "Of the disks where home and photos lie.", ["what", "state"],
                     [((what, state), number) for what, disk in self._disks.items()
                      for state, number in (("free", disk.free), ("size", disk.total))])  # fmt: skip
        if self._kept_here:
            yield _gauge("everystall_backup_failed", "The last backup failed.", [], [((), self._failed)])
        if self._made is not None:
            yield _gauge("everystall_backup_timestamp_seconds", "When the newest backup here was made.", [],
                         [((), self._made)])  # fmt: skip


def _gauge(
    name: str, said: str, labels: list[str], values: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, said, labels=labels)
    for given, value in values:
        family.add_metric(list(given), value)
    return family
