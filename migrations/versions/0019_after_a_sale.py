"""What comes after a sale: doubles that are settled, cancelled orders, the seller's rules, mails."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
MINE = "user_id = (SELECT auth.uid())"
TIME = sa.DateTime(timezone=True)
#: What is asked about an order of what is live keeps no visit from it.
NOT_HELD = (
    "(needs_you IS NULL OR (put = 'live' AND needs_you ->> 'reason' IN ('sold_twice', 'sale_cancelled')))"
)


def upgrade() -> None:
    op.add_column("sales", sa.Column("counted", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("sales", sa.Column("settled_at", TIME, nullable=True))
    op.add_column("sales", sa.Column("told_by", sa.TEXT(), server_default="orders", nullable=False))
    op.create_check_constraint("told_by_known", "sales", "told_by IN ('orders', 'page', 'mail')")
    # forced, the policies hold for the owner too, who is no seller
    op.execute("""
        ALTER TABLE sales NO FORCE ROW LEVEL SECURITY;
        ALTER TABLE double_sales NO FORCE ROW LEVEL SECURITY;
        UPDATE sales SET told_by = 'page' WHERE order_id IS NULL;
        UPDATE sales SET counted = quantity WHERE publication_id IS NOT NULL AND cancelled_at IS NULL
            AND id NOT IN (SELECT later_id FROM double_sales);
        ALTER TABLE sales FORCE ROW LEVEL SECURITY;
        ALTER TABLE double_sales FORCE ROW LEVEL SECURITY;
    """)
    op.add_column("double_sales", sa.Column("settled_at", TIME, nullable=True))
    op.add_column("take_downs", sa.Column("settled_at", TIME, nullable=True))
    op.create_index(
        "take_downs_late", "take_downs", ["asked_at"],
        postgresql_where=sa.text("gone_at IS NULL AND told_at IS NULL"),
    )  # fmt: skip
    op.create_index(
        "sales_by_user", "sales", ["user_id", sa.text("observed_at DESC"), sa.text("id DESC")]
    )  # fmt: skip
    op.drop_index("publications_due_at", "publications")
    op.create_index(
        "publications_due_at", "publications", [sa.literal_column("next_try_at NULLS FIRST")],
        postgresql_where=sa.text(f"looking OR (unsettled AND {NOT_HELD})"),
    )  # fmt: skip
    op.add_column("users", sa.Column("time_zone", sa.TEXT(), nullable=True))
    op.execute("GRANT UPDATE (time_zone) ON users TO authenticated")
    op.execute("GRANT DELETE ON take_downs TO authenticated")
    _sale_rules()
    _blindness()
    _mails()
    for table, rights in (
        ("sale_rules", "SELECT, INSERT, UPDATE"),
        ("blind_ends", "SELECT, INSERT, UPDATE, DELETE"),
        ("mail_addresses", "SELECT, INSERT, UPDATE, DELETE"),
        ("mailboxes", "SELECT, INSERT, UPDATE, DELETE"),
        ("mails_seen", "SELECT, INSERT, DELETE"),
    ):
        op.execute(f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
            GRANT {rights} ON {table} TO authenticated;
            CREATE POLICY own ON {table} TO authenticated USING ({MINE}) WITH CHECK ({MINE});
        """)
    op.execute("""
        GRANT SELECT (user_id, blind, blind_minutes) ON sale_rules TO everystall_engine;
        GRANT SELECT (watch_told_at, watched_at, blind_since, blind_ended_at) ON connections
            TO everystall_engine;
        GRANT SELECT (user_id, token_hash) ON mail_addresses TO everystall_engine;
        GRANT SELECT (user_id, publication_id, asked_at, gone_at, told_at) ON take_downs TO everystall_engine;
        CREATE POLICY engine_read ON take_downs FOR SELECT TO everystall_engine USING (true);
        CREATE POLICY engine_read ON sale_rules FOR SELECT TO everystall_engine USING (true);
        GRANT SELECT (user_id, claimed_until, failing_why), UPDATE (claimed_until) ON mailboxes
            TO everystall_engine;
        CREATE POLICY engine_read ON mailboxes FOR SELECT TO everystall_engine USING (true);
        CREATE POLICY engine_claim ON mailboxes FOR UPDATE TO everystall_engine USING (true);
        CREATE POLICY engine_read ON mail_addresses FOR SELECT TO everystall_engine USING (true);
        RESET ROLE;
        SET ROLE everystall_engine;
    """)
    op.execute(FUNCTIONS)
    op.execute(DUE)
    op.execute("SET ROLE everystall_owner")


def _sale_rules() -> None:
    op.create_table(
        "sale_rules",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("put_back", sa.TEXT(), server_default="ask", nullable=False),
        sa.Column("blind", sa.TEXT(), server_default="keep", nullable=False),
        sa.Column("blind_minutes", sa.Integer(), server_default=sa.text("30"), nullable=False),
        sa.Column("last_unit_on", sa.Uuid(), nullable=True),
        sa.CheckConstraint("put_back IN ('ask', 'always', 'never')", name="put_back_known"),
        sa.CheckConstraint("blind IN ('keep', 'end_elsewhere')", name="blind_known"),
        sa.CheckConstraint("blind_minutes >= 0", name="blind_minutes_not_negative"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["user_id", "last_unit_on"], ["connections.user_id", "connections.id"],
            ondelete="SET NULL (last_unit_on)",
        ),
        sa.PrimaryKeyConstraint("user_id"),
    )  # fmt: skip
    op.create_index("sale_rules_by_last_unit", "sale_rules", ["user_id", "last_unit_on"])


def _blindness() -> None:
    for name in ("blind_since", "blind_ended_at"):
        op.add_column("connections", sa.Column(name, TIME, nullable=True))
    op.create_index(
        "connections_blind", "connections", ["id"],
        postgresql_where=sa.text(
            "needs_you IS NOT NULL OR watch_told_at IS NOT NULL OR blind_since IS NOT NULL"
        ),
    )  # fmt: skip
    op.create_table(
        "blind_ends",
        sa.Column("publication_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("ended_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id", "publication_id"], ["publications.user_id", "publications.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "connection_id"], ["connections.user_id", "connections.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "publication_id"),
    )
    op.create_index("blind_ends_by_connection", "blind_ends", ["user_id", "connection_id"])


def _mails() -> None:
    op.create_table(
        "mail_addresses",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", TIME, server_default=NOW, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.Column("sale_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_table(
        "mailboxes",
        sa.Column("host", sa.TEXT(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("username", sa.TEXT(), nullable=False),
        sa.Column("dek_version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.Column("uid_validity", sa.BigInteger(), nullable=True),
        sa.Column("last_uid", sa.BigInteger(), nullable=True),
        sa.Column("checked_at", TIME, nullable=True),
        sa.Column("failing_since", TIME, nullable=True),
        sa.Column("failing_why", sa.TEXT(), nullable=True),
        sa.Column("told_at", TIME, nullable=True),
        sa.Column("made_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_table(
        "mails_seen",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.TEXT(), nullable=False),
        sa.Column("seen_at", TIME, server_default=NOW, nullable=False),
        sa.Column("publication_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id", "publication_id"], ["publications.user_id", "publications.id"],
            ondelete="SET NULL (publication_id)",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "key"),
    )  # fmt: skip
    op.create_index("mails_seen_by_age", "mails_seen", ["user_id", "seen_at"])
    op.create_index("mails_seen_by_publication", "mails_seen", ["user_id", "publication_id"])


FUNCTIONS = """
CREATE FUNCTION everystall.mail_for(token_hash bytea) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT m.user_id FROM public.mail_addresses m WHERE m.token_hash = $1 $$;
COMMENT ON FUNCTION everystall.mail_for IS 'Whose sale mails are sent to the address with this token.';

CREATE FUNCTION everystall.blinded(most int, OUT connection_id uuid, OUT user_id uuid) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.id, c.user_id FROM public.connections c
    LEFT JOIN public.sale_rules r ON r.user_id = c.user_id
    WHERE (c.needs_you IS NOT NULL OR c.watch_told_at IS NOT NULL OR c.blind_since IS NOT NULL) AND CASE
        WHEN c.needs_you IS NULL AND c.watch_told_at IS NULL THEN c.watched_at > c.blind_since
        WHEN c.blind_since IS NULL THEN true
        ELSE c.blind_ended_at IS NULL AND r.blind = 'end_elsewhere'
             AND c.needs_you ->> 'reason' IS DISTINCT FROM 'disconnected'
             AND c.blind_since <= now() - make_interval(mins => r.blind_minutes) END
    ORDER BY c.id LIMIT most
$$;
COMMENT ON FUNCTION everystall.blinded IS
    'Accounts that went blind, that see again, or because of which something is to be ended elsewhere.';

CREATE FUNCTION everystall.late_take_downs(
    after interval, most int, OUT publication_id uuid, OUT user_id uuid
)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT t.publication_id, t.user_id FROM public.take_downs t
    JOIN public.publications p ON p.id = t.publication_id
    WHERE t.gone_at IS NULL AND t.told_at IS NULL AND t.asked_at < now() - $1 AND p.wanted = 'ended'
    ORDER BY t.asked_at LIMIT $2
$$;
COMMENT ON FUNCTION everystall.late_take_downs IS
    'What sold elsewhere longer ago than that, and is not known to be gone; its seller was not told.';

CREATE FUNCTION everystall.take_mailboxes(
    most int, claim interval, OUT user_id uuid, OUT claimed_until timestamptz
)
RETURNS SETOF record LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH free AS (
        SELECT m.user_id FROM public.mailboxes m
        WHERE (m.claimed_until IS NULL OR m.claimed_until < clock_timestamp())
          AND m.failing_why IS DISTINCT FROM 'refused'
        ORDER BY m.claimed_until NULLS FIRST, m.user_id LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    UPDATE public.mailboxes m SET claimed_until = clock_timestamp() + $2
    FROM free f WHERE f.user_id = m.user_id RETURNING m.user_id, m.claimed_until
$$;
COMMENT ON FUNCTION everystall.take_mailboxes IS 'Mailboxes that nobody watches, for the caller to watch.';
REVOKE ALL ON FUNCTION everystall.blinded, everystall.mail_for, everystall.late_take_downs,
    everystall.take_mailboxes FROM PUBLIC;
"""

#: As in 0009, but for what is not held.
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
