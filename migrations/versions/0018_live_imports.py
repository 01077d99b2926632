"""Live listings of an account that come in, one by one; and which listings are one thing: what is proposed,
what was linked, what is apart.

Three more listed functions: which account's import goes on, and whose listings are to be compared, is known
before its seller is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
NONE = sa.text("0")
LIST = sa.text("'[]'")
MINE = "user_id = (SELECT auth.uid())"


def upgrade() -> None:
    op.add_column("listing_photos", sa.Column("fingerprint", postgresql.JSONB(), nullable=True))
    _live_imports()
    _matches()
    for table in ("live_imports", "live_import_items", "matchings", "matches"):
        op.execute(f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
            GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO authenticated;
            CREATE POLICY own ON {table} TO authenticated USING ({MINE}) WITH CHECK ({MINE});
        """)
    op.execute("""
        GRANT SELECT (user_id, connection_id, status, next_step_at) ON live_imports TO everystall_engine;
        CREATE POLICY engine_read ON live_imports FOR SELECT TO everystall_engine USING (status = 'running');
        GRANT SELECT (user_id, asked_at, claimed_until), UPDATE (claimed_until)
            ON matchings TO everystall_engine;
        CREATE POLICY engine_read ON matchings FOR SELECT TO everystall_engine USING (asked_at IS NOT NULL);
        CREATE POLICY engine_claim ON matchings FOR UPDATE TO everystall_engine
            USING (asked_at IS NOT NULL);
    """)
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(FUNCTIONS.replace("%", "%%"))
    op.execute("SET ROLE everystall_owner")


def _user() -> tuple[sa.Column[sa.Uuid], sa.ForeignKeyConstraint]:
    return (
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
    )


def _id() -> sa.Column[sa.Uuid]:
    return sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False)


def _live_imports() -> None:
    op.create_table(
        "live_imports",
        _id(),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.TEXT(), server_default="running", nullable=False),
        sa.Column("pages_read", sa.Integer(), server_default=NONE, nullable=False),
        sa.Column("listed_at", TIME, nullable=True),
        sa.Column("next_step_at", TIME, server_default=NOW, nullable=False),
        sa.Column("tries", sa.Integer(), server_default=NONE, nullable=False),
        sa.Column("message", sa.TEXT(), nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        *_user(),
        sa.CheckConstraint("status IN ('running', 'done', 'failed')", name="status_known"),
        sa.ForeignKeyConstraint(
            ["user_id", "connection_id"], ["connections.user_id", "connections.id"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "id", name="live_imports_user_id_id_key"),
    )
    op.create_index(
        "live_imports_by_connection", "live_imports",
        ["user_id", "connection_id", sa.text("created_at DESC")],
    )  # fmt: skip
    op.create_index(
        "live_imports_one_running", "live_imports", ["connection_id"], unique=True,
        postgresql_where=sa.text("status = 'running'"),
    )  # fmt: skip
    op.create_table(
        "live_import_items",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("remote_id", sa.TEXT(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("title", sa.TEXT(), nullable=False),
        sa.Column("sku", sa.TEXT(), nullable=True),
        sa.Column("outcome", sa.TEXT(), nullable=True),
        sa.Column("listing_id", sa.Uuid(), nullable=True),
        sa.Column("notes", postgresql.JSONB(), server_default=LIST, nullable=False),
        sa.Column("tries", sa.Integer(), server_default=NONE, nullable=False),
        *_user(),
        sa.CheckConstraint("outcome IN ('created', 'known', 'gone', 'failed')", name="outcome_known"),
        sa.ForeignKeyConstraint(
            ["user_id", "import_id"], ["live_imports.user_id", "live_imports.id"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "import_id", "remote_id"),
    )
    op.create_index(
        "live_import_items_waiting", "live_import_items", ["import_id", "position"],
        postgresql_where=sa.text("outcome IS NULL"),
    )  # fmt: skip


def _matches() -> None:
    op.create_table(
        "matchings",
        sa.Column("asked_at", TIME, nullable=True),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        *_user(),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_index(
        "matchings_due", "matchings", ["asked_at"], postgresql_where=sa.text("asked_at IS NOT NULL")
    )
    op.create_table(
        "matches",
        _id(),
        sa.Column("one_id", sa.Uuid(), nullable=False),
        sa.Column("other_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.TEXT(), server_default="proposed", nullable=False),
        sa.Column("points", sa.Double(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(), server_default=LIST, nullable=False),
        sa.Column("doubts", postgresql.JSONB(), server_default=LIST, nullable=False),
        sa.Column("decided_by", sa.TEXT(), nullable=True),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("undo", postgresql.JSONB(), nullable=True),
        sa.Column(
            "undo_photos",
            postgresql.JSONB(),
            sa.Computed("jsonb_path_query_array(undo, '$.listing_photos[*].sha256')", persisted=True),
            nullable=True,
        ),
        sa.Column("seen_at", TIME, server_default=sa.text("clock_timestamp()"), nullable=False),
        *_user(),
        sa.CheckConstraint("state IN ('proposed', 'linked', 'apart')", name="state_known"),
        sa.CheckConstraint("decided_by IN ('everystall', 'seller')", name="decided_by_known"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "one_id", "other_id", name="matches_once"),
    )
    op.create_index("matches_by_state", "matches", ["user_id", "state", sa.text("points DESC"), "id"])
    op.create_index("matches_by_other", "matches", ["user_id", "other_id"])


FUNCTIONS = """
CREATE FUNCTION everystall.due_live_imports(most int) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.connection_id FROM public.live_imports i
    JOIN public.connections c ON c.id = i.connection_id JOIN public.users u ON u.id = i.user_id
    WHERE i.status = 'running' AND i.next_step_at <= now() AND c.needs_you IS NULL
      AND c.paused_at IS NULL AND u.paused_at IS NULL AND (c.lease_until IS NULL OR c.lease_until <= now())
      AND NOT EXISTS (SELECT FROM procrastinate.procrastinate_jobs j WHERE j.status = 'todo'
                      AND j.queueing_lock = 'connection:' || c.id || ':visits'
                      AND j.queue_name = 'visits' || coalesce('@' || c.place, ''))
    ORDER BY i.connection_id LIMIT most
$$;
COMMENT ON FUNCTION everystall.due_live_imports IS
    'Accounts whose live listings come in, and nobody on the way to them.';

CREATE FUNCTION everystall.take_matching(OUT user_id uuid, OUT claimed_until timestamptz)
RETURNS SETOF record LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH picked AS (
        SELECT m.user_id FROM public.matchings m
        WHERE m.asked_at IS NOT NULL AND (m.claimed_until IS NULL OR m.claimed_until <= clock_timestamp())
        ORDER BY m.asked_at LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    UPDATE public.matchings m SET claimed_until = clock_timestamp() + interval '5 minutes'
    FROM picked p WHERE m.user_id = p.user_id RETURNING m.user_id, m.claimed_until
$$;
COMMENT ON FUNCTION everystall.take_matching IS
    'Takes the seller who has waited longest for a comparison of the listings, for five minutes.';

CREATE FUNCTION everystall.matching_due() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM public.matchings m WHERE m.asked_at IS NOT NULL
                   AND (m.claimed_until IS NULL OR m.claimed_until <= now()))
$$;
COMMENT ON FUNCTION everystall.matching_due IS 'Does somebody wait for a comparison of the listings?';

REVOKE ALL ON FUNCTION everystall.due_live_imports, everystall.take_matching, everystall.matching_due
    FROM PUBLIC;
"""
