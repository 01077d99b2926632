"""Looking at what an account sold: its own list of orders, one page of it where nothing is new.

What stands there at the first look is only remembered. What is new is written down order by order, the oldest
first, each with all that follows from it (inventory/sales.py).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from sqlalchemy import null, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import EverystallError, LeaseLost, PageChanged
from everystall.inventory import cancelled_sales, sales
from everystall.marketplaces.base import Sale, Sales
from everystall.models import Connection, User
from everystall.notify import messages

if TYPE_CHECKING:
    from everystall.worker.visit import Visit

log = structlog.get_logger()

#: Seconds without a look after which orders may have gone on to where long past ones are.
LONG_SECONDS = 86_400
#: Seconds for which a list that cannot be read is taken for a bad moment of the site's.
BAD_MOMENT_SECONDS = 300
#: The seller's own night: from the first of these hours on, and before the second.
NIGHT = (0, 6)
#: Is something of it live elsewhere too? Then each minute counts.
_SHARED = """EXISTS (
    SELECT FROM publications p JOIN publications o ON o.listing_id = p.listing_id AND o.id <> p.id
    WHERE p.connection_id = c.id AND p.put = 'live' AND (o.put = 'live' OR o.looking))"""
#: Was it never looked at, or not for long; is its list of what is live due, and do we hold anything there?
_BEFORE = text("""
    SELECT now(), watched_at IS NULL, coalesce(watched_at < now() - make_interval(secs => :s), false),
           next_list_at <= now(),
           EXISTS (SELECT FROM publications p WHERE p.connection_id = c.id
                   AND (p.put = 'live' OR p.needs_you ->> 'reason' = 'gone'))
    FROM connections c WHERE id = :id""")
#: Other accounts that hold the same: the first of them to be live alone was looked at seldom.
_PARTNERS = """SELECT o.connection_id FROM publications p
    JOIN publications o ON o.listing_id = p.listing_id AND o.id <> p.id
    WHERE p.connection_id = :id AND p.put = 'live' AND o.put = 'live'"""


async def watch(visit: Visit) -> Literal["due", "sale"] | None:
    """One look, and when the next is due. It proves the session too. Why the list of what is live is to be
    read as well (worker/hands.py): its time has come, or something was sold of which we know nothing."""
    connection = visit.connection
    async with visit.lease.transaction() as session:
        known = await sales.known(session, connection.id)
        late = await sales.late(session, connection.id, visit.form.CAPABILITIES.orders_stay_days)
        since = await sales.first_post(session, connection.id)
        asked = {"id": connection.id, "s": LONG_SECONDS}
        looked_at, first, long_ago, list_due, holds = (await session.execute(_BEFORE, asked)).one()
        look_for = await sales.may_be_cancelled(session, connection.id) if list_due else frozenset()
    page, began = await visit.page(), time.monotonic()
    log.info("visit.at", at="session check")
    told = await visit.adapter.find_sales(
        page, known=known.orders, since=since, whole=first or long_ago, look_for=look_for
    )
    missing = _missing(told, look_for, late)
    if missing:
        back_to = None if told.ended else told[-1].sold_at
        async with visit.lease.transaction() as session:
            await cancelled_sales.take_missing(session, connection, missing, back_to)
    if late and not told.cut and not late & {sale.order_id for sale in told}:
        raise PageChanged(f"{visit.label}'s list of orders does not show those that were in it before.")
    await visit.signed_in()
    if visit.form.CAPABILITIES.sold_is_orders:
        visit.sold_ids = frozenset(sale.remote_id for sale in told if sale.remote_id is not None)
        visit.sold_read_at = began
    if known.orders and told.cut:
        await _tell_cut(visit, len(told))
    unknown = await _record(visit, told, known)
    await _next(visit, looked_at)
    if not holds:
        return None
    return "sale" if unknown and not first else "due" if list_due else None


def _missing(told: Sales, sought: frozenset[str], late: set[str]) -> set[str]:
    """Those of `sought` that the list does not show though orders stay in it, as far as it was read. One that
    lacks more of them than it shows is another list, or half of one; but one alone may be cancelled."""
    if not told.ended and (not told or told[-1].sold_at is None):
        return set()
    shown = {sale.order_id for sale in told}
    missing = (late & sought) - shown
    return missing if len(missing) <= max(len(late & shown), 1 if len(late) == 1 else 0) else set()


async def _record(visit: Visit, told: list[Sale], known: sales.Known) -> bool:
    """Newest first is how they were told; oldest first, each order of ours in a transaction of its own, with
    the others' before it: what is known is older than what an interruption left out, so that the next look
    reads as far as that. True: some are not ours."""
    connection = visit.connection
    new = [sale for sale in told if sale.order_id not in known.orders]
    async with visit.lease.transaction() as session:
        ids = {sale.remote_id for sale in new if sale.remote_id is not None}
        ours = await sales.ours(session, connection.id, ids)
    mine = {sale.order_id for sale in new if sale.remote_id in ours}
    others: list[Sale] = []
    for order_id, lines in groupby(reversed(new), key=lambda sale: sale.order_id):
        order = sorted(lines, key=lambda sale: sale.line)
        if order_id not in mine:
            others += order
            continue
        async with visit.lease.transaction() as session:
            await sales.remember(session, connection, others)
            await sales.take(session, connection, order)
        others = []
    async with visit.lease.transaction() as session:
        await sales.remember(session, connection, others)
    for order_id in sorted({sale.order_id for sale in told} & known.missing):
        async with visit.lease.transaction() as session:
            await cancelled_sales.take_shown(session, connection, order_id)
    cancelled = {(sale.order_id, sale.remote_id) for sale in told if sale.cancelled}
    stand = {(sale.order_id, sale.remote_id) for sale in told if not sale.cancelled}
    # of one listing in both, nobody can say which of ours it is
    for item in sorted((cancelled - stand) & known.stand, key=str):
        async with visit.lease.transaction() as session:
            await cancelled_sales.take_cancelled(session, connection, *item)
    for item in sorted((stand - cancelled) & known.cancelled, key=str):
        async with visit.lease.transaction() as session:
            await sales.take_sold_again(session, connection, *item)
    return any(sale.order_id not in mine for sale in new)


async def _next(visit: Visit, looked_at: datetime) -> None:
    """When the account is looked at again: soon, or sooner where somebody asked for a check meanwhile.
    `looked_at`: before the list was read, by the database's clock; what came since it may not show."""
    settings = visit.tools.settings
    async with visit.lease.transaction() as session:
        slowest = await _night_seconds(visit, session)
        await session.execute(
            text(f"""
            UPDATE connections c SET watched_at = :looked_at, watch_failing_since = NULL,
                watch_told_at = NULL, checks_cut_off = 0,
                next_check_at = CASE WHEN next_check_at < :claimed THEN next_check_at ELSE now()
                    + make_interval(secs => CASE WHEN {_SHARED} THEN :soon ELSE :alone END) END
            WHERE c.id = :id"""),
            {"id": visit.lease.connection_id, "claimed": visit.check_claimed,
             "looked_at": looked_at, "soon": max(settings.watch_seconds, slowest),
             "alone": max(settings.watch_alone_seconds, slowest)},
        )  # fmt: skip
    await hasten(visit)


async def hasten(visit: Visit) -> None:
    """What is live here and elsewhere is looked at soon on both sides, also where it was alone until now. In
    a transaction of its own: two accounts that go live at once wait for nothing of each other's."""
    late = "next_check_at > now() + make_interval(secs => :soon)"
    async with visit.tools.db.as_user(visit.lease.user_id) as session:
        soon = max(visit.tools.settings.watch_seconds, await _night_seconds(visit, session))
        await session.execute(
            text(f"""
            UPDATE connections SET next_check_at = now() + make_interval(secs => :soon)
            WHERE {late} AND id IN (
                SELECT id FROM connections WHERE {late}
                  AND (id IN ({_PARTNERS}) OR (id = :id AND EXISTS ({_PARTNERS})))
                ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)"""),
            {"id": visit.lease.connection_id, "soon": soon},
        )


async def _night_seconds(visit: Visit, session: AsyncSession) -> float:
    """Between two looks in the seller's night; 0 by day, and where nobody knows when that is."""
    zone = await session.scalar(select(User.time_zone).where(User.id == visit.lease.user_id))
    return visit.tools.settings.watch_night_seconds if is_night(zone, datetime.now(UTC)) else 0.0


def is_night(zone: str | None, now: datetime) -> bool:
    try:
        return zone is not None and NIGHT[0] <= now.astimezone(ZoneInfo(zone)).hour < NIGHT[1]
    except (ZoneInfoNotFoundError, ValueError):  # this machine does not know it
        return False


def reconnect_link(visit: Visit) -> str:
    """The page of ours on which the account is connected again."""
    return f"{visit.tools.settings.address}/connections#{visit.connection.public_id}"


def will_tell(visit: Visit, error: EverystallError) -> bool:
    """The seller is about to be told that nobody is watching there, by what this visit last read: what does
    not pass by itself at once, all else after some minutes."""
    since, now = visit.connection.watch_failing_since, datetime.now(UTC)
    long = since is not None and since < now - timedelta(seconds=BAD_MOMENT_SECONDS)
    return visit.connection.watch_told_at is None and (_lasts(error) or long)


def _lasts(error: EverystallError) -> bool:
    return error.fate not in ("retry", "operator")


async def note_failed(visit: Visit, error: EverystallError, picture: Mapping[str, Any] | None) -> None:
    """Nobody is watching there. `picture`: of the page, where the seller is about to be told."""
    if isinstance(error, LeaseLost):
        return
    async with visit.lease.transaction() as session:
        told = await session.execute(
            text("""
            UPDATE connections SET watch_failing_since = coalesce(watch_failing_since, now()),
                watch_told_at = CASE WHEN watch_told_at IS NULL AND (:lasting OR watch_failing_since
                    < now() - make_interval(secs => :moment)) THEN clock_timestamp() ELSE watch_told_at END
            WHERE id = :id RETURNING watch_told_at >= now() AS now"""),
            {"id": visit.lease.connection_id, "lasting": _lasts(error), "moment": BAD_MOMENT_SECONDS},
        )
        if told.scalar_one():
            await session.execute(
                update(Connection)
                .where(Connection.id == visit.lease.connection_id)
                .values(watch_evidence=dict(picture) if picture else null())
            )
            said = f"We cannot see what sells on {visit.label} now: {error.message} What sells there is not "
            await _tell(visit, session, f"{said}taken down elsewhere meanwhile; look there yourself.")


async def _tell_cut(visit: Visit, many: int) -> None:
    """More was sold since the last look than is read at once."""
    log.warning("watch.cut", orders=many)
    said = (
        f"More was sold on {visit.label} since we last looked than we read at once. We read the last {many}; "
    )
    async with visit.lease.transaction() as session:
        await _tell(
            visit, session, f"{said}what sold before these is not taken down elsewhere: look there yourself."
        )


async def _tell(visit: Visit, session: AsyncSession, message: str) -> None:
    data = {
        "browserProfileId": visit.connection.public_id,
        "marketplace": visit.connection.marketplace,
        "message": message,
        "reconnect": reconnect_link(visit),
    }
    await messages.record(session, visit.connection.user_id, "watch.failed", data)
