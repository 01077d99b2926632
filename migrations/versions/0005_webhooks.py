"""What happened, and telling others of it: events, webhook endpoints, deliveries, receipts.

An event is written with the change that it tells of, and so are its deliveries; a worker sends them. Three
more listed functions: what is due to be sent belongs to no seller yet, nor does a message that comes in.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
NEW_ID = sa.text("gen_random_uuid()")
MINE = "user_id = (SELECT auth.uid())"


def upgrade() -> None:
    _tables()
    _policies()
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(FUNCTIONS.replace("%", "%%"))
    op.execute("SET ROLE everystall_owner")


def _tables() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("type", sa.TEXT(), nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "id", name="events_user_id_id_key"),
    )
    op.create_index("ix_events_user_id", "events", ["user_id"])
    op.create_index("events_by_age", "events", ["created_at"])
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("url", sa.TEXT(), nullable=False),
        sa.Column("label", sa.TEXT(), nullable=True),
        sa.Column("events", postgresql.ARRAY(sa.TEXT()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("dek_version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("previous_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("previous_until", TIME, nullable=True),
        sa.Column("failing_since", TIME, nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("disabled_at", TIME, nullable=True),
        sa.Column("disabled_why", sa.TEXT(), nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "id", name="webhook_endpoints_user_id_id_key"),
    )
    op.create_index("ix_webhook_endpoints_user_id", "webhook_endpoints", ["user_id"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=True),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.TEXT(), server_default="waiting", nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_try_at", TIME, server_default=NOW, nullable=False),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.TEXT(), nullable=True),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("status IN ('waiting', 'delivered', 'failed')", name="status_known"),
        sa.ForeignKeyConstraint(
            ["user_id", "endpoint_id"],
            ["webhook_endpoints.user_id", "webhook_endpoints.id"],
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["user_id", "event_id"], ["events.user_id", "events.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_webhook_deliveries_user_id", "webhook_deliveries", ["user_id"])
    op.create_index("webhook_deliveries_by_event", "webhook_deliveries", ["user_id", "event_id"])
    op.create_index(
        "webhook_deliveries_by_endpoint",
        "webhook_deliveries",
        ["endpoint_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
    )
    op.create_index(
        "webhook_deliveries_due",
        "webhook_deliveries",
        ["next_try_at"],
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_index(
        "webhook_deliveries_due_by_endpoint",
        "webhook_deliveries",
        ["endpoint_id", "next_try_at"],
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_index(
        "webhook_deliveries_claimed",
        "webhook_deliveries",
        ["claimed_until"],
        postgresql_where=sa.text("claimed_until IS NOT NULL"),
    )
    op.create_table(
        "webhook_receipts",
        sa.Column("id", sa.TEXT(), nullable=False),
        sa.Column("received_at", TIME, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("webhook_receipts_by_age", "webhook_receipts", ["received_at"])


def _policies() -> None:
    for table, rights in (
        ("events", "SELECT, INSERT"),  # what happened is written and read, never changed
        ("webhook_endpoints", "SELECT, INSERT, UPDATE, DELETE"),
        ("webhook_deliveries", "SELECT, INSERT, UPDATE"),
    ):
        op.execute(f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
            GRANT {rights} ON {table} TO authenticated;
            CREATE POLICY own ON {table} TO authenticated USING ({MINE}) WITH CHECK ({MINE});
        """)
    op.execute("""
        GRANT SELECT (id, created_at), DELETE ON events TO everystall_engine;
        CREATE POLICY engine_read ON events FOR SELECT TO everystall_engine
            USING (created_at < now() - interval '30 days');
        CREATE POLICY engine_expire ON events FOR DELETE TO everystall_engine
            USING (created_at < now() - interval '30 days');

        GRANT SELECT (id, user_id, endpoint_id, status, next_try_at, claimed_until),
              UPDATE (claimed_until) ON webhook_deliveries TO everystall_engine;
        CREATE POLICY engine_read ON webhook_deliveries FOR SELECT TO everystall_engine
            USING (status = 'waiting');
        CREATE POLICY engine_claim ON webhook_deliveries FOR UPDATE TO everystall_engine
            USING (status = 'waiting');

        -- ids of messages that came in, and nobody's data
        ALTER TABLE webhook_receipts ENABLE ROW LEVEL SECURITY;
        ALTER TABLE webhook_receipts FORCE ROW LEVEL SECURITY;
        GRANT SELECT, INSERT (id), DELETE ON webhook_receipts TO everystall_engine;
        CREATE POLICY engine_read ON webhook_receipts FOR SELECT TO everystall_engine USING (true);
        CREATE POLICY engine_note ON webhook_receipts FOR INSERT TO everystall_engine WITH CHECK (true);
        CREATE POLICY engine_expire ON webhook_receipts FOR DELETE TO everystall_engine
            USING (received_at < now() - interval '1 day');
    """)


FUNCTIONS = """
CREATE FUNCTION everystall.due_deliveries(
    most int, OUT id uuid, OUT user_id uuid, OUT claimed_until timestamptz
)
RETURNS SETOF record LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    -- one step of the index per endpoint that waits; the last is the operator's, which is null
    WITH RECURSIVE queues AS (
        (SELECT d.endpoint_id FROM public.webhook_deliveries d
         WHERE d.status = 'waiting' ORDER BY d.endpoint_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.endpoint_id FROM public.webhook_deliveries d
                WHERE d.status = 'waiting' AND d.endpoint_id > q.endpoint_id
                ORDER BY d.endpoint_id LIMIT 1)
        FROM queues q WHERE q.endpoint_id IS NOT NULL
    ), due AS (
        -- the first two of each, so that a long queue hides no other
        SELECT f.* FROM queues q CROSS JOIN LATERAL (
            (SELECT d.id, d.user_id, d.endpoint_id, d.next_try_at FROM public.webhook_deliveries d
             WHERE d.status = 'waiting' AND d.endpoint_id = q.endpoint_id AND d.next_try_at <= now()
               AND (d.claimed_until IS NULL OR d.claimed_until <= now())
             ORDER BY d.next_try_at LIMIT 2)
            UNION ALL
            (SELECT d.id, d.user_id, d.endpoint_id, d.next_try_at FROM public.webhook_deliveries d
             WHERE d.status = 'waiting' AND d.endpoint_id IS NULL AND q.endpoint_id IS NULL
               AND d.next_try_at <= now() AND (d.claimed_until IS NULL OR d.claimed_until <= now())
             ORDER BY d.next_try_at LIMIT 2)
        ) f
    ), busy AS (
        SELECT d.endpoint_id, d.user_id FROM public.webhook_deliveries d
        WHERE d.status = 'waiting' AND d.claimed_until > now()
    ), of_endpoint AS (
        -- a slow receiver has two of the places and never all
        SELECT w.*, row_number() OVER (PARTITION BY w.endpoint_id ORDER BY w.next_try_at, w.id)
            + (SELECT count(*) FROM busy b WHERE b.endpoint_id IS NOT DISTINCT FROM w.endpoint_id) AS place
        FROM due w
    ), of_seller AS (
        -- nor has a seller with several of them; the operator's is nobody's
        SELECT w.id, w.endpoint_id,
               row_number() OVER (PARTITION BY w.user_id, w.endpoint_id IS NULL ORDER BY w.next_try_at, w.id)
            + (SELECT count(*) FROM busy b
               WHERE b.user_id = w.user_id AND b.endpoint_id IS NOT NULL) AS place
        FROM of_endpoint w WHERE w.place <= 2
    ), picked AS (
        SELECT d.id FROM public.webhook_deliveries d JOIN of_seller s ON s.id = d.id
        WHERE (s.place <= 4 OR s.endpoint_id IS NULL) AND d.status = 'waiting'
          AND (d.claimed_until IS NULL OR d.claimed_until <= now())
        ORDER BY d.next_try_at LIMIT most FOR UPDATE OF d SKIP LOCKED
    )
    UPDATE public.webhook_deliveries d SET claimed_until = clock_timestamp() + interval '2 minutes'
    FROM picked p WHERE d.id = p.id RETURNING d.id, d.user_id, d.claimed_until
$$;
COMMENT ON FUNCTION everystall.due_deliveries IS
    'Takes messages that are due, for two minutes; at once two per endpoint and four per seller at most.';

CREATE FUNCTION everystall.wake_messages(only_due boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
-- procrastinate's triggers name their tables without a schema
SET search_path = procrastinate, pg_catalog, pg_temp
AS $$
BEGIN
    IF only_due AND NOT EXISTS (
        SELECT FROM public.webhook_deliveries d WHERE d.status = 'waiting' AND d.next_try_at <= now()
          AND (d.claimed_until IS NULL OR d.claimed_until <= now())) THEN
        RETURN;
    END IF;
    -- DO UPDATE as in everystall.wake: no worker takes the waiting job before the caller's rows are committed
    INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock)
    VALUES ('messages', 'deliver', 'deliver')
    ON CONFLICT (queueing_lock) WHERE status = 'todo' DO UPDATE SET priority = procrastinate_jobs.priority;
    PERFORM pg_notify('procrastinate_queue_v1#messages', '{"type": "job_inserted", "job_id": 0}');
END
$$;
COMMENT ON FUNCTION everystall.wake_messages IS
    'Wakes who sends messages; the last statement of a transaction.';

CREATE FUNCTION everystall.receive_webhook(id text) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH noted AS (
        INSERT INTO public.webhook_receipts (id) VALUES ($1) ON CONFLICT ON CONSTRAINT webhook_receipts_pkey
        DO NOTHING RETURNING 1
    )
    SELECT EXISTS (SELECT FROM noted)
$$;
COMMENT ON FUNCTION everystall.receive_webhook IS
    'Remembers a message''s id with what the caller''s transaction makes of it; false if it is known.';

CREATE OR REPLACE FUNCTION everystall.expire() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH gone AS (DELETE FROM public.user_marketplace_sessions s WHERE s.expires_at <= now() RETURNING s.id),
    codes AS (DELETE FROM public.pairings p WHERE p.expires_at <= now()),
    invitations AS (DELETE FROM public.invitations i WHERE i.expires_at <= now()),
    browsers AS (DELETE FROM public.api_tokens t WHERE t.kind = 'browser' AND t.expires_at <= now()),
    events AS (DELETE FROM public.events e WHERE e.created_at < now() - interval '30 days'),
    receipts AS (DELETE FROM public.webhook_receipts r WHERE r.received_at < now() - interval '1 day')
    SELECT count(*) FROM gone
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA everystall FROM PUBLIC;
GRANT EXECUTE ON FUNCTION everystall.wake_messages TO authenticated;
"""
