"""Imports of live listings are woken in a lane of their own, so that none of them holds up another account's
look at what sold. And what an account's long list of what is live held last: so a few of its pages say where
it changed.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("connections", sa.Column("live_ids", ARRAY(sa.TEXT()), nullable=True))
    op.add_column(
        "connections", sa.Column("list_turn", sa.Integer(), server_default=sa.text("2"), nullable=False)
    )
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(FUNCTIONS.replace("%", "%%"))
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")


# wake() is 0024's, with one more lane: its wake-ups come after an account's others, which wait for the same
# lock. due_live_imports() is 0018's, for that lane.
FUNCTIONS = """
CREATE OR REPLACE FUNCTION everystall.wake(connection_ids uuid[], lane text, back boolean DEFAULT false)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
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
    IF wake.lane IS NULL OR wake.lane NOT IN ('urgent', 'visits', 'reading', 'sittings') THEN
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
               CASE wake.lane WHEN 'urgent' THEN 10 WHEN 'reading' THEN -10 ELSE 0 END,
               'connection:' || asked.id,
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

CREATE OR REPLACE FUNCTION everystall.due_live_imports(most int) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.connection_id FROM public.live_imports i
    JOIN public.connections c ON c.id = i.connection_id JOIN public.users u ON u.id = i.user_id
    WHERE i.status = 'running' AND i.next_step_at <= now() AND c.needs_you IS NULL
      AND c.paused_at IS NULL AND u.paused_at IS NULL AND (c.lease_until IS NULL OR c.lease_until <= now())
      AND NOT EXISTS (SELECT FROM procrastinate.procrastinate_jobs j WHERE j.status = 'todo'
                      AND j.queueing_lock = 'connection:' || c.id || ':reading'
                      AND j.queue_name = 'reading' || coalesce('@' || c.place, ''))
    ORDER BY i.connection_id LIMIT most
$$;
"""
