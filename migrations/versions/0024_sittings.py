"""Sittings: a seller at a worker's browser, for a challenge or to sign in there. Who, when, where, how it
ended.

They are woken in a lane of their own, so that a person who takes their time holds up nobody's posts. Whose
account one waits for is known before its seller is: one more listed function. Nobody deletes one: it is the
audit.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
MINE = "user_id = (SELECT auth.uid())"


def upgrade() -> None:
    op.create_table(
        "sittings",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.TEXT(), nullable=False),
        sa.Column("asked_by", sa.TEXT(), nullable=False),
        sa.Column("asked_at", TIME, server_default=NOW, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("address", sa.TEXT(), nullable=True),
        sa.Column("ticket_hash", sa.LargeBinary(), nullable=True),
        sa.Column("opened_at", TIME, nullable=True),
        sa.Column("seen_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("outcome", sa.TEXT(), nullable=True),
        sa.Column("said", sa.TEXT(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["user_id", "connection_id"], ["connections.user_id", "connections.id"], ondelete="CASCADE"
        ),
        sa.CheckConstraint("purpose IN ('challenge', 'sign_in')", name="purpose_known"),
        sa.CheckConstraint("outcome IN ('done', 'closed', 'left', 'long', 'failed')", name="outcome_known"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "id", name="sittings_user_id_id_key"),
    )
    op.create_index("sittings_by_user", "sittings", ["user_id", sa.text("asked_at DESC")])
    op.create_index("sittings_by_connection", "sittings", ["user_id", "connection_id"])
    op.create_index(
        "sittings_one_open", "sittings", ["connection_id"], unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )  # fmt: skip
    op.execute(f"""
        ALTER TABLE sittings ENABLE ROW LEVEL SECURITY;
        ALTER TABLE sittings FORCE ROW LEVEL SECURITY;
        GRANT SELECT, INSERT,
            UPDATE (connection_id, until, address, ticket_hash, opened_at, seen_at, ended_at, outcome, said)
            ON sittings TO authenticated;
        CREATE POLICY own ON sittings TO authenticated USING ({MINE}) WITH CHECK ({MINE});
        GRANT SELECT (connection_id, ended_at, until) ON sittings TO everystall_engine;
        CREATE POLICY engine_read ON sittings FOR SELECT TO everystall_engine USING (ended_at IS NULL);
    """)
    op.drop_constraint("origin_known", "user_marketplace_sessions", type_="check")
    op.create_check_constraint(
        "origin_known", "user_marketplace_sessions", "origin IN ('extension', 'visit', 'worker')"
    )
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(FUNCTIONS.replace("%", "%%"))
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")


# wake() is 0009's, with one more lane.
FUNCTIONS = """
CREATE FUNCTION everystall.due_sittings(most int) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.connection_id FROM public.sittings s JOIN public.connections c ON c.id = s.connection_id
    WHERE s.ended_at IS NULL AND s.until > now() AND (c.lease_until IS NULL OR c.lease_until <= now())
      AND NOT EXISTS (SELECT FROM procrastinate.procrastinate_jobs j WHERE j.status = 'todo'
                      AND j.queueing_lock = 'connection:' || c.id || ':sittings'
                      AND j.queue_name = 'sittings' || coalesce('@' || c.place, ''))
    ORDER BY s.connection_id LIMIT most
$$;
COMMENT ON FUNCTION everystall.due_sittings IS
    'Accounts whose seller waits for a browser, and nobody on the way to them.';
REVOKE ALL ON FUNCTION everystall.due_sittings FROM PUBLIC;

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
    IF wake.lane IS NULL OR wake.lane NOT IN ('urgent', 'visits', 'sittings') THEN
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
"""
