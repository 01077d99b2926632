"""What a seller is told: in the app, and by channels of the seller's own (an address for mails, browsers that
take pushes, other services), each thing once per channel.

One more listed function: what is due to be sent belongs to no seller yet.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
NEW_ID = sa.text("gen_random_uuid()")
MINE = "user_id = (SELECT auth.uid())"


def upgrade() -> None:
    _tables()
    _deliveries()
    _policies()
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.execute(_FUNCTIONS)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_owner")


def _tables() -> None:
    op.create_table(
        "notices",
        sa.Column("event_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("read_at", TIME, nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id", "event_id"], ["events.user_id", "events.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index("notices_newest", "notices", ["user_id", sa.literal_column("event_id DESC")])
    op.create_index(
        "notices_unread", "notices", ["user_id"], postgresql_where=sa.text("read_at IS NULL")
    )  # fmt: skip
    op.create_table(
        "notice_rules",
        sa.Column("email", postgresql.ARRAY(sa.TEXT()), nullable=True),
        sa.Column("push", postgresql.ARRAY(sa.TEXT()), nullable=True),
        sa.Column("service", postgresql.ARRAY(sa.TEXT()), nullable=True),
        sa.Column("email_pace", sa.TEXT(), server_default="at_once", nullable=False),
        sa.Column("push_pace", sa.TEXT(), server_default="at_once", nullable=False),
        sa.Column("service_pace", sa.TEXT(), server_default="at_once", nullable=False),
        sa.Column("digest_hour", sa.SmallInteger(), server_default=sa.text("8"), nullable=False),
        sa.Column("quiet_from", sa.SmallInteger(), nullable=True),
        sa.Column("quiet_until", sa.SmallInteger(), nullable=True),
        sa.Column("urgent_passes", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("time_zone", sa.TEXT(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("email_pace IN ('at_once', 'hourly', 'daily')", name="email_pace_known"),
        sa.CheckConstraint("push_pace IN ('at_once', 'hourly', 'daily')", name="push_pace_known"),
        sa.CheckConstraint("service_pace IN ('at_once', 'hourly', 'daily')", name="service_pace_known"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_table(
        "channels",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("kind", sa.TEXT(), nullable=False),
        sa.Column("label", sa.TEXT(), nullable=False),
        sa.Column("key", sa.TEXT(), nullable=False),
        sa.Column("dek_version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("token_id", sa.Uuid(), nullable=True),
        sa.Column("asked_at", TIME, nullable=True),
        sa.Column("confirmed_at", TIME, nullable=True),
        sa.Column("sent_at", TIME, nullable=True),
        sa.Column("failing_since", TIME, nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.TEXT(), nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("kind IN ('email', 'push', 'service')", name="kind_known"),
        sa.ForeignKeyConstraint(
            ["user_id", "token_id"], ["api_tokens.user_id", "api_tokens.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "id", name="channels_user_id_id_key"),
    )
    op.create_index("channels_once", "channels", ["user_id", "kind", "key"], unique=True)
    op.create_index("channels_by_token", "channels", ["user_id", "token_id"])


def _deliveries() -> None:
    op.create_table(
        "notice_deliveries",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.Column("what", sa.TEXT(), server_default="event", nullable=False),
        sa.Column("urgent", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("status", sa.TEXT(), server_default="waiting", nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_try_at", TIME, server_default=NOW, nullable=False),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.Column("last_error", sa.TEXT(), nullable=True),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("status IN ('waiting', 'delivered', 'failed')", name="status_known"),
        sa.CheckConstraint("what IN ('event', 'test', 'confirm')", name="what_known"),
        sa.CheckConstraint("(what = 'event') = (event_id IS NOT NULL)", name="event_named"),
        sa.ForeignKeyConstraint(
            ["user_id", "channel_id"], ["channels.user_id", "channels.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id", "event_id"], ["events.user_id", "events.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("notice_deliveries_by_event", "notice_deliveries", ["user_id", "event_id"])
    # a thing is told to a channel once
    op.create_index("notice_deliveries_once", "notice_deliveries", ["channel_id", "event_id"], unique=True)
    op.create_index(
        "notice_deliveries_due",
        "notice_deliveries",
        ["next_try_at"],
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_index(
        "notice_deliveries_due_by_channel",
        "notice_deliveries",
        ["channel_id", "next_try_at"],
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_index(
        "notice_deliveries_claimed",
        "notice_deliveries",
        ["claimed_until"],
        postgresql_where=sa.text("claimed_until IS NOT NULL"),
    )


def _policies() -> None:
    for table, rights in (
        ("notices", "SELECT, INSERT, UPDATE (read_at)"),
        ("notice_rules", "SELECT, INSERT, UPDATE"),
        ("channels", "SELECT, INSERT, UPDATE, DELETE"),
        ("notice_deliveries", "SELECT, INSERT, UPDATE, DELETE"),
    ):
        op.execute(f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
            GRANT {rights} ON {table} TO authenticated;
            CREATE POLICY own ON {table} TO authenticated USING ({MINE}) WITH CHECK ({MINE});
        """)
    op.execute("""
        GRANT SELECT (id, user_id, channel_id, status, next_try_at, claimed_until),
              UPDATE (claimed_until) ON notice_deliveries TO everystall_engine;
        CREATE POLICY engine_read ON notice_deliveries FOR SELECT TO everystall_engine
            USING (status = 'waiting');
        CREATE POLICY engine_claim ON notice_deliveries FOR UPDATE TO everystall_engine
            USING (status = 'waiting');
    """)


_FUNCTIONS = """
CREATE FUNCTION everystall.due_notices(
    most int, OUT channel_id uuid, OUT user_id uuid, OUT claimed_until timestamptz
)
RETURNS SETOF record LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH busy AS (
        SELECT DISTINCT d.channel_id, d.user_id FROM public.notice_deliveries d
        WHERE d.status = 'waiting' AND d.claimed_until > now()
    ), due AS (
        SELECT d.channel_id, d.user_id, min(d.next_try_at) AS since FROM public.notice_deliveries d
        WHERE d.status = 'waiting' AND d.next_try_at <= now()
          AND (d.claimed_until IS NULL OR d.claimed_until <= now())
          AND NOT EXISTS (SELECT FROM busy b WHERE b.channel_id = d.channel_id)
        GROUP BY d.channel_id, d.user_id
    ), of_seller AS (
        -- a seller whose services are slow has two of the places and never all
        SELECT w.*, row_number() OVER (PARTITION BY w.user_id ORDER BY w.since, w.channel_id)
            + (SELECT count(*) FROM busy b WHERE b.user_id = w.user_id) AS place
        FROM due w
    ), chosen AS (
        SELECT s.channel_id FROM of_seller s WHERE s.place <= 2 ORDER BY s.since, s.channel_id LIMIT most
    ), picked AS (
        SELECT f.id FROM chosen c CROSS JOIN LATERAL (
            SELECT d.id FROM public.notice_deliveries d
            WHERE d.status = 'waiting' AND d.channel_id = c.channel_id AND d.next_try_at <= now()
              AND (d.claimed_until IS NULL OR d.claimed_until <= now())
            ORDER BY d.next_try_at, d.id LIMIT 100 FOR UPDATE OF d SKIP LOCKED
        ) f
    ), claim AS MATERIALIZED (
        -- once: what is taken of a channel is one message
        SELECT clock_timestamp() + interval '2 minutes' AS ends
    ), taken AS (
        UPDATE public.notice_deliveries d SET claimed_until = c.ends FROM picked p, claim c
        WHERE d.id = p.id RETURNING d.channel_id, d.user_id, d.claimed_until
    )
    SELECT DISTINCT t.channel_id, t.user_id, t.claimed_until FROM taken t
$$;
COMMENT ON FUNCTION everystall.due_notices IS
    'Takes what is due of these many channels, for two minutes; at once two channels per seller at most.';

CREATE OR REPLACE FUNCTION everystall.wake_messages(only_due boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
-- procrastinate's triggers name their tables without a schema
SET search_path = procrastinate, pg_catalog, pg_temp
AS $$
BEGIN
    IF only_due AND NOT EXISTS (
        SELECT FROM public.webhook_deliveries d WHERE d.status = 'waiting' AND d.next_try_at <= now()
          AND (d.claimed_until IS NULL OR d.claimed_until <= now()))
      AND NOT EXISTS (
        SELECT FROM public.notice_deliveries d WHERE d.status = 'waiting' AND d.next_try_at <= now()
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

REVOKE ALL ON FUNCTION everystall.due_notices FROM PUBLIC;
"""
