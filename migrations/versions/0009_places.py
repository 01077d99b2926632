"""A place of an account: where it is visited from, whoever else is awake.

A wake-up of an account with a place waits in a queue of that place, `visits@home`, where only the workers of
that place look. Which places have a worker is known by the workers' own signs of life. Who hands an account
back goes behind all who wait already (`back`).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("connections", sa.Column("place", sa.TEXT(), nullable=True))
    op.create_check_constraint("place", "connections", "place ~ '^[a-z0-9][a-z0-9-]{0,39}$'")
    op.create_index("connections_by_place", "connections", ["place"],
                    postgresql_where=sa.text("place IS NOT NULL"))  # fmt: skip
    op.execute("GRANT SELECT (place) ON connections TO everystall_engine")
    op.execute("""
        GRANT DELETE ON procrastinate.procrastinate_jobs TO everystall_engine;
        GRANT SELECT, UPDATE ON procrastinate.procrastinate_periodic_defers
            TO everystall_engine;  -- by its trigger
    """)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(FUNCTIONS.replace("%", "%%"))
    op.execute("SET ROLE everystall_owner")


FUNCTIONS = """
CREATE TABLE everystall.places (place text PRIMARY KEY, seen_at timestamptz NOT NULL);

CREATE FUNCTION everystall.stand_here(place text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO everystall.places AS p (place, seen_at) VALUES ($1, now())
    ON CONFLICT (place) DO UPDATE SET seen_at = now()
$$;
COMMENT ON FUNCTION everystall.stand_here IS 'A worker of this place is alive.';

CREATE FUNCTION everystall.misplaced(
    away_seconds double precision, most int, OUT connection_id uuid, OUT user_id uuid, OUT attended boolean
)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.id, c.user_id, p.place IS NOT NULL FROM public.connections c
    LEFT JOIN everystall.places p ON p.place = c.place AND p.seen_at > now() - make_interval(secs => $1)
    WHERE c.place IS NOT NULL AND CASE
        WHEN p.place IS NULL THEN c.needs_you IS NULL
        WHEN c.needs_you ->> 'reason' = 'no_worker' THEN true
        ELSE c.needs_you IS NULL AND EXISTS (
            SELECT FROM public.publications w WHERE w.user_id = c.user_id AND w.connection_id = c.id
            AND w.needs_you ->> 'reason' = 'no_worker') END
    ORDER BY c.id LIMIT most
$$;
COMMENT ON FUNCTION everystall.misplaced IS
    'Accounts whose place lost its last worker and that do not say so, or has one again and say it still.';

DROP FUNCTION everystall.due(int);
CREATE FUNCTION everystall.due(most int, OUT connection_id uuid, OUT lane text)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH waiting AS (
        SELECT p.connection_id, p.user_id, p.wanted, p.put, p.looking FROM public.publications p
        WHERE (p.looking OR (p.unsettled AND p.needs_you IS NULL))
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
COMMENT ON FUNCTION everystall.due IS 'Accounts with something to do now and nobody on the way to them.';

DROP FUNCTION everystall.wake(uuid[], text);
CREATE FUNCTION everystall.wake(connection_ids uuid[], lane text, back boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
-- procrastinate's triggers name their tables without a schema
SET search_path = procrastinate, pg_catalog, pg_temp
AS $$
DECLARE
    claims constant text := nullif(current_setting('request.jwt.claims', true), '');
    acting constant text := nullif(current_setting('role', true), 'none');
    caller uuid;
    called text[];
    queue text;
BEGIN
    IF wake.lane IS NULL OR wake.lane NOT IN ('urgent', 'visits') THEN
        RAISE EXCEPTION 'there is no lane %', wake.lane USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF claims IS NOT NULL OR acting IS NOT NULL THEN
        caller := (claims::jsonb ->> 'sub')::uuid;
        IF EXISTS (SELECT FROM unnest(wake.connection_ids) AS asked (id) WHERE NOT EXISTS (
                       SELECT FROM public.connections c WHERE c.id = asked.id AND c.user_id = caller)) THEN
            RAISE EXCEPTION 'this account is not yours to wake' USING ERRCODE = 'insufficient_privilege';
        END IF;
    END IF;
    IF wake.back THEN  -- the one that waits came before others who wait: a new one goes behind them
        DELETE FROM procrastinate_jobs j WHERE j.status = 'todo' AND j.queueing_lock IN (
            SELECT 'connection:' || u.id || ':' || wake.lane FROM unnest(wake.connection_ids) AS u (id));
    END IF;
    -- In the order of ids, so that two wakers never wait for each other. DO UPDATE locks a waiting job:
    -- no worker takes it before the caller's rows are committed. It moves one whose account's place changed.
    WITH put AS (
        INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args)
        SELECT wake.lane || coalesce('@' || asked.place, ''), 'visit',
               CASE wake.lane WHEN 'urgent' THEN 10 ELSE 0 END, 'connection:' || asked.id,
               'connection:' || asked.id || ':' || wake.lane,
               jsonb_build_object('connection_id', asked.id, 'lane', wake.lane)
        FROM (SELECT DISTINCT u.id, c.place FROM unnest(wake.connection_ids) AS u (id)
              LEFT JOIN public.connections c ON c.id = u.id
              WHERE u.id IS NOT NULL ORDER BY u.id) asked
        ON CONFLICT (queueing_lock) WHERE status = 'todo'
            DO UPDATE SET priority = greatest(procrastinate_jobs.priority, excluded.priority),
                          queue_name = excluded.queue_name
        RETURNING queue_name
    )
    SELECT array_agg(DISTINCT p.queue_name) INTO called FROM put p;
    FOREACH queue IN ARRAY coalesce(called, '{}') LOOP  -- an update fires no insert trigger
        PERFORM pg_notify('procrastinate_queue_v1#' || queue, '{"type": "job_inserted", "job_id": 0}');
    END LOOP;
END
$$;
COMMENT ON FUNCTION everystall.wake IS 'Wakes accounts; the last statement of a transaction.';
REVOKE ALL ON FUNCTION everystall.stand_here, everystall.misplaced, everystall.due, everystall.wake
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION everystall.wake TO authenticated;
"""
