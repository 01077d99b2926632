"""How fast an account may go: the gap after each click for the seller, the daily cap, and what a marketplace
asks for. All of it is read from rows, so it holds across workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from everystall.errors import EverystallError
from everystall.inventory.publications import NOT_HELD
from everystall.models import Publication

if TYPE_CHECKING:
    from everystall.worker.visit import Visit

log = structlog.get_logger()

#: Of what waits on an account, so many are put off one gap apart, and all others to behind the last of them:
#: so 5,000 that wait are not written anew with each post.
AHEAD = 20


def gap(visit: Visit) -> float:
    """Seconds from one click for the seller to the next: the account's own, the installation's, the
    marketplace's."""
    own, installation = visit.connection.pace_seconds, visit.tools.settings.pace_seconds
    if own is not None:
        return own
    return visit.form.CAPABILITIES.pace_seconds if installation is None else installation


def cap(visit: Visit) -> int:
    """New listings in any 24 hours: the account's own, the installation's, the marketplace's."""
    own, installation = visit.connection.daily_cap, visit.tools.settings.daily_cap
    if own is not None:
        return own
    return visit.form.CAPABILITIES.daily_cap if installation is None else installation


async def rest(visit: Visit, session: AsyncSession, *, only_asked: bool = False) -> float:
    """Seconds for which the account rests: after the last click for the seller, and as the marketplace asked
    (`only_asked`: no more than that). 0: it does not."""
    left = await session.scalar(
        text("""SELECT extract(epoch FROM
                    greatest(last_post_at + make_interval(secs => CAST(:gap AS float8)), rest_until) - now())
                FROM connections WHERE id = :id"""),
        {"id": visit.connection.id, "gap": None if only_asked else gap(visit)},
    )
    return max(float(left or 0), 0.0)


async def until_next_post(visit: Visit, session: AsyncSession) -> float:
    """Seconds for which the account has to rest before the next post: as `rest`, and its daily cap."""
    full = await session.scalar(
        text("""
        SELECT extract(epoch FROM min(t.armed_at) + interval '1 day' - now()) FROM
            (SELECT armed_at FROM attempts WHERE connection_id = :id AND armed_at > now() - interval '1 day'
             ORDER BY armed_at DESC LIMIT :cap) t HAVING count(*) >= :cap"""),
        {"id": visit.connection.id, "cap": cap(visit)},
    )
    return max(await rest(visit, session), float(full or 0))


async def hold(visit: Visit, session: AsyncSession, publication: Publication, seconds: float) -> None:
    """What waits on the account as this does, to be posted or to be changed, rests so long, each a gap longer
    than the one before; delists and looks do not, nor what is to be fewer because some sold."""
    await session.execute(
        text(f"""
        WITH locked AS (
            SELECT id, asked_at FROM publications p
            WHERE connection_id = :id AND unsettled AND NOT looking AND wanted = 'live'
              AND (put = 'live') = :live AND lower_asked_at IS NULL AND {NOT_HELD}
              AND (next_try_at IS NULL OR next_try_at < now() + make_interval(secs => :wait))
            ORDER BY id FOR NO KEY UPDATE),
        waiting AS (
            SELECT id, least(row_number() OVER (ORDER BY asked_at, id) - 1, :ahead) AS before FROM locked)
        UPDATE publications p SET next_try_at = now() + make_interval(secs => :wait + w.before * :gap),
                                  paced_to = now() + make_interval(secs => :wait + w.before * :gap)
        FROM waiting w WHERE p.id = w.id"""),
        {"id": publication.connection_id, "live": publication.put == "live", "wait": seconds,
         "gap": gap(visit), "ahead": AHEAD},
    )  # fmt: skip


async def close_up(visit: Visit) -> bool:
    """A row's turn came to nothing that a marketplace saw (it was incomplete, or is not wanted any more):
    those behind it come so much sooner, the first of them now, unless the account rests. Does one?"""
    async with visit.lease.transaction() as session:
        if await rest(visit, session):
            return False
        came = await session.execute(
            text(f"""
            WITH locked AS (
                SELECT p.id, p.next_try_at FROM publications p
                JOIN connections c ON c.id = p.connection_id JOIN users u ON u.id = p.user_id
                WHERE p.connection_id = :id AND p.next_try_at = p.paced_to AND p.next_try_at > now()
                  AND p.unsettled AND NOT p.looking AND p.wanted = 'live' AND (p.put = 'live' OR :posts)
                  AND {NOT_HELD} AND c.needs_you IS NULL
                  AND c.paused_at IS NULL AND u.paused_at IS NULL
                ORDER BY p.id FOR NO KEY UPDATE OF p),
            waiting AS (SELECT id, next_try_at - min(next_try_at) OVER () AS behind FROM locked)
            UPDATE publications p SET next_try_at = now() + w.behind, paced_to = now() + w.behind
            FROM waiting w WHERE p.id = w.id AND w.behind < make_interval(secs => greatest(:ahead * :gap, 1))
            RETURNING 1"""),
            {"id": visit.connection.id, "ahead": AHEAD, "gap": gap(visit),
             "posts": not await until_next_post(visit, session)},
        )  # fmt: skip
        return came.first() is not None


async def heed(visit: Visit, error: EverystallError) -> None:
    """Where the marketplace asked for a rest, the whole account has it, whichever step heard it."""
    seconds = getattr(error, "retry_after", None)
    if seconds:
        await keep_rest(visit, seconds)


async def keep_rest(visit: Visit, seconds: float) -> None:
    """Nobody visits the account before that is over, for whatever."""
    log.info("account.rests", seconds=round(seconds))
    async with visit.lease.transaction() as session:
        await session.execute(
            text("""UPDATE connections SET
                        rest_until = greatest(rest_until, now() + make_interval(secs => :wait))
                    WHERE id = :id"""),
            {"id": visit.connection.id, "wait": seconds},
        )
