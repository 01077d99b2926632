"""While a marketplace asked for a rest, nothing is due on the account; what is to go, or to be fewer, and has
to wait for that is told as late at once. A publication says that a step of it is under way, and how many
ended without a word."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0043"
branch_labels = None
depends_on = None

#: As in 0036.
NOT_HELD = """(needs_you IS NULL OR (put = 'live' AND (
    needs_you ->> 'reason' IN ('sold_twice', 'sale_cancelled')
    OR ((wanted = 'ended' OR lower_asked_at IS NOT NULL)
        AND needs_you ->> 'reason' IN ('marketplace_busy', 'page_changed')))))"""
LOWERS = """({0}.lower_asked_at IS NOT NULL AND {0}.put = 'live'
    AND ({0}.state <> 'ending' OR {0}.relist = 'asked')
    AND (c.paused_at IS NULL OR NOT c.pause_ends) AND (u.paused_at IS NULL OR NOT u.pause_ends))"""
#: The account `c` may be visited.
NOT_RESTING = "(c.rest_until IS NULL OR c.rest_until <= now())"


def upgrade() -> None:
    op.add_column("publications", sa.Column("begun_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "publications", sa.Column("cut_off", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    op.execute("GRANT SELECT (rest_until) ON connections TO everystall_engine")
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql((DUE + NUMBERS + IMPORTS + LATE).replace("%", "%%"))
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")


#: As in 0036, but for the rest.
DUE = f"""
CREATE OR REPLACE FUNCTION everystall.due(most int, OUT connection_id uuid, OUT lane text)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH waiting AS (
        SELECT p.connection_id, p.user_id, p.wanted, p.put, p.looking, p.state, p.relist, p.lower_asked_at
        FROM public.publications p
        WHERE (p.looking OR (p.unsettled AND {NOT_HELD}))
          AND (p.next_try_at IS NULL OR p.next_try_at <= now())
    ), found AS (
        SELECT w.connection_id,
               w.put = 'live' AND (w.wanted = 'ended' OR w.lower_asked_at IS NOT NULL) AS urgent
        FROM waiting w JOIN public.connections c ON c.id = w.connection_id
        JOIN public.users u ON u.id = w.user_id
        WHERE w.wanted = 'ended' OR w.looking OR (c.paused_at IS NULL AND u.paused_at IS NULL)
           OR {LOWERS.format("w")}
        UNION ALL
        SELECT c.id, false FROM public.connections c WHERE c.next_check_at <= now()
        UNION ALL
        SELECT a.connection_id, false FROM public.attempts a
        WHERE a.outcome = 'unresolved' AND a.next_look_at <= now()
    ), accounts AS (
        SELECT f.connection_id, CASE WHEN bool_or(f.urgent) THEN 'urgent' ELSE 'visits' END AS lane
        FROM found f GROUP BY f.connection_id
    )
    SELECT a.connection_id, a.lane FROM accounts a JOIN public.connections c ON c.id = a.connection_id
    WHERE c.needs_you IS NULL AND (c.lease_until IS NULL OR c.lease_until <= now()) AND {NOT_RESTING}
      -- who has a wake-up waiting needs no other; so the next batch is another one. One that waits where the
      -- account's place was before is none: waking moves it
      AND NOT EXISTS (SELECT FROM procrastinate.procrastinate_jobs j WHERE j.status = 'todo'
                      AND j.queueing_lock = 'connection:' || a.connection_id || ':' || a.lane
                      AND j.queue_name = a.lane || coalesce('@' || c.place, ''))
    ORDER BY a.lane, a.connection_id LIMIT most
$$;
"""

#: The same.
NUMBERS = f"""
CREATE OR REPLACE FUNCTION everystall.queue_numbers(OUT due bigint, OUT urgent bigint, OUT oldest timestamptz)
RETURNS record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*), count(*) FILTER (WHERE d.urgent), min(d.since) FROM (
        SELECT p.put = 'live' AND (p.wanted = 'ended' OR p.lower_asked_at IS NOT NULL) AS urgent,
               coalesce(p.next_try_at, p.asked_at) AS since
        FROM (SELECT connection_id, user_id, wanted, put, looking, state, relist, lower_asked_at, next_try_at,
                     asked_at
              FROM public.publications WHERE looking OR (unsettled AND {NOT_HELD})) p
        JOIN public.connections c ON c.id = p.connection_id JOIN public.users u ON u.id = p.user_id
        WHERE (p.next_try_at IS NULL OR p.next_try_at <= now()) AND c.needs_you IS NULL AND {NOT_RESTING}
          AND (p.wanted = 'ended' OR p.looking OR (c.paused_at IS NULL AND u.paused_at IS NULL)
               OR {LOWERS.format("p")})
        LIMIT 100000) d
$$;
"""

#: As in 0039, but for the rest.
IMPORTS = f"""
CREATE OR REPLACE FUNCTION everystall.due_live_imports(most int) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.connection_id FROM public.live_imports i
    JOIN public.connections c ON c.id = i.connection_id JOIN public.users u ON u.id = i.user_id
    WHERE i.status = 'running' AND i.next_step_at <= now() AND c.needs_you IS NULL AND {NOT_RESTING}
      AND c.paused_at IS NULL AND u.paused_at IS NULL AND (c.lease_until IS NULL OR c.lease_until <= now())
      AND NOT EXISTS (SELECT FROM procrastinate.procrastinate_jobs j WHERE j.status = 'todo'
                      AND j.queueing_lock = 'connection:' || c.id || ':reading'
                      AND j.queue_name = 'reading' || coalesce('@' || c.place, ''))
    ORDER BY i.connection_id LIMIT most
$$;
"""

#: As in 0036; what rests for longer than that is late already.
LATE = """
CREATE OR REPLACE FUNCTION everystall.late_take_downs(
    after interval, most int, OUT publication_id uuid, OUT user_id uuid
)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT l.publication_id, l.user_id FROM (
        SELECT t.publication_id, t.user_id, t.asked_at FROM public.take_downs t
        JOIN public.publications p ON p.id = t.publication_id
        JOIN public.connections c ON c.id = p.connection_id
        WHERE t.gone_at IS NULL AND t.told_at IS NULL AND p.wanted = 'ended'
          AND t.asked_at < greatest(now(), c.rest_until) - $1
        UNION ALL
        SELECT p.id, p.user_id, p.lower_asked_at FROM public.publications p
        JOIN public.connections c ON c.id = p.connection_id
        WHERE p.lower_asked_at < greatest(now(), c.rest_until) - $1 AND p.lower_told_at IS NULL
    ) l ORDER BY l.asked_at LIMIT $2
$$;
"""
