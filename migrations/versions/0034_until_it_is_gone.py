"""What is to be taken down is tried until it is gone, while its seller is asked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

#: Of what is live, what is asked about an order keeps no visit from it; nor, where it is to go, does a site
#: that is busy or not as we know it.
NOT_HELD = """(needs_you IS NULL OR (put = 'live' AND (
    needs_you ->> 'reason' IN ('sold_twice', 'sale_cancelled')
    OR (wanted = 'ended' AND needs_you ->> 'reason' IN ('marketplace_busy', 'page_changed')))))"""


def upgrade() -> None:
    op.drop_index("publications_due_at", "publications")
    op.create_index(
        "publications_due_at", "publications", [sa.literal_column("next_try_at NULLS FIRST")],
        postgresql_where=sa.text(f"looking OR (unsettled AND {NOT_HELD})"),
    )  # fmt: skip
    op.execute(f"RESET ROLE; SET ROLE everystall_engine; {DUE} {NUMBERS} SET ROLE everystall_owner")


#: As in 0019, but for what is not held.
DUE = f"""
CREATE OR REPLACE FUNCTION everystall.due(most int, OUT connection_id uuid, OUT lane text)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH waiting AS (
        SELECT p.connection_id, p.user_id, p.wanted, p.put, p.looking FROM public.publications p
        WHERE (p.looking OR (p.unsettled AND {NOT_HELD}))
          AND (p.next_try_at IS NULL OR p.next_try_at <= now())
    ), found AS (
        SELECT w.connection_id, w.wanted = 'ended' AND w.put = 'live' AS urgent
        FROM waiting w JOIN public.connections c ON c.id = w.connection_id
        JOIN public.users u ON u.id = w.user_id
        WHERE w.wanted = 'ended' OR w.looking OR (c.paused_at IS NULL AND u.paused_at IS NULL)
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
    WHERE c.needs_you IS NULL AND (c.lease_until IS NULL OR c.lease_until <= now())
      -- who has a wake-up waiting needs no other; so the next batch is another one. One that waits where the
      -- account's place was before is none: waking moves it
      AND NOT EXISTS (SELECT FROM procrastinate.procrastinate_jobs j WHERE j.status = 'todo'
                      AND j.queueing_lock = 'connection:' || a.connection_id || ':' || a.lane
                      AND j.queue_name = a.lane || coalesce('@' || c.place, ''))
    ORDER BY a.lane, a.connection_id LIMIT most
$$;
"""

#: As in 0026, but for what is not held.
NUMBERS = f"""
CREATE OR REPLACE FUNCTION everystall.queue_numbers(OUT due bigint, OUT urgent bigint, OUT oldest timestamptz)
RETURNS record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*), count(*) FILTER (WHERE d.ends), min(d.since) FROM (
        SELECT p.wanted = 'ended' AND p.put = 'live' AS ends, coalesce(p.next_try_at, p.asked_at) AS since
        FROM (SELECT connection_id, user_id, wanted, put, looking, next_try_at, asked_at
              FROM public.publications WHERE looking OR (unsettled AND {NOT_HELD})) p
        JOIN public.connections c ON c.id = p.connection_id JOIN public.users u ON u.id = p.user_id
        WHERE (p.next_try_at IS NULL OR p.next_try_at <= now()) AND c.needs_you IS NULL
          AND (p.wanted = 'ended' OR p.looking OR (c.paused_at IS NULL AND u.paused_at IS NULL))
        LIMIT 100000) d
$$;
"""
