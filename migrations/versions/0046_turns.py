"""Sellers take turns: a wake-up of who has others that wait or run counts as asked later, so that one with
many accounts does not fill all slots before another's only one.
"""

from __future__ import annotations

from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(WAKE.replace("%", "%%"))
    # what waits stays below visits of its account, whose numbers are lower from now on
    op.execute(
        "UPDATE procrastinate.procrastinate_jobs SET priority = -2000000000 "
        "WHERE status = 'todo' AND args ->> 'lane' = 'reading'"
    )
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")


# wake() is 0039's, with turns: a visit's priority is the time at which it counts as asked, in seconds since
# 2026, negative. That is now; and 900 seconds (a visit's budget, so longer than any of them runs) later for
# each that its seller has running, or after the last that waits; four hours at most, so that nobody waits for
# ever. A seller's own stay in the order in which they were asked. Of who has more than 200 accounts that many
# are looked at.
WAKE = """
CREATE OR REPLACE FUNCTION everystall.wake(connection_ids uuid[], lane text, back boolean DEFAULT false)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
-- procrastinate's triggers name their tables without a schema
SET search_path = procrastinate, pg_catalog, pg_temp
-- not a plan that was made while the queue was empty, once it is long
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
DECLARE
    claims constant text := nullif(current_setting('request.jwt.claims', true), '');
    acting constant text := nullif(current_setting('role', true), 'none');
    moment constant bigint := extract(epoch FROM clock_timestamp() - timestamptz '2026-01-01 00:00+00');
    slot constant int := 900;
    most constant int := 16 * slot;
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
    IF wake.back THEN  -- the one that waits came before its seller's others: a new one goes behind
        DELETE FROM procrastinate_jobs j WHERE j.status = 'todo' AND j.queueing_lock IN (
            SELECT 'connection:' || u.id || ':' || wake.lane FROM unnest(wake.connection_ids) AS u (id));
    END IF;
    -- In the order of ids, so that two wakers never wait for each other. DO UPDATE locks a waiting job:
    -- no worker takes it before the caller's rows are committed. It moves one whose account's place changed.
    WITH asked AS (
        SELECT DISTINCT u.id, c.place, c.user_id FROM unnest(wake.connection_ids) AS u (id)
        LEFT JOIN public.connections c ON c.id = u.id WHERE u.id IS NOT NULL
    ), sellers AS (
        SELECT s.user_id, t.later
        FROM (SELECT DISTINCT a.user_id FROM asked a WHERE wake.lane = 'visits' AND a.user_id IS NOT NULL) s
        CROSS JOIN LATERAL (
            SELECT greatest(count(o.running) * slot, CASE WHEN count(o.waiting) > 0
                            THEN greatest(max(-o.waiting) - moment, 0) + slot END) AS later
            FROM (SELECT (SELECT j.priority FROM procrastinate_jobs j WHERE j.status = 'todo'
                          AND j.queueing_lock = 'connection:' || c.id || ':visits') AS waiting,
                         (SELECT j.id FROM procrastinate_jobs j WHERE j.status = 'doing'
                          AND j.lock = 'connection:' || c.id AND j.args ->> 'lane' = 'visits') AS running
                  FROM public.connections c WHERE c.user_id = s.user_id LIMIT 200) o
        ) t
    ), turns AS (
        SELECT a.id, a.place, moment + least(most, coalesce(s.later, 0) + slot * (
                   row_number() OVER (PARTITION BY coalesce(a.user_id, a.id) ORDER BY a.id) - 1)) AS counts_as
        FROM asked a LEFT JOIN sellers s ON s.user_id = a.user_id
    ), put AS (
        INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args)
        SELECT wake.lane || coalesce('@' || t.place, ''), 'visit',
               CASE wake.lane WHEN 'urgent' THEN 10 WHEN 'sittings' THEN 0 WHEN 'visits' THEN -t.counts_as
                    ELSE -2000000000 END,
               'connection:' || t.id,
               'connection:' || t.id || ':' || wake.lane,
               jsonb_build_object('connection_id', t.id, 'lane', wake.lane)
        FROM turns t ORDER BY t.id
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
"""
