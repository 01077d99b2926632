"""Files of listings that come in: the import, its rows, and what each listing is known by where it came from.

A row is done in the transaction that makes its listing, and a source names one listing: by the unique keys an
import that broke off goes on, and one that is repeated makes nothing twice. Two more listed functions: which
import is due is known before its seller is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
MINE = "user_id = (SELECT auth.uid())"
NONE_YET = sa.text("0")


def upgrade() -> None:
    _tables()
    _policies()
    op.execute("RESET ROLE")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(FUNCTIONS.replace("%", "%%"))
    op.execute("SET ROLE everystall_owner")


def _tables() -> None:
    op.create_table(
        "imports",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("file_name", sa.TEXT(), nullable=True),
        sa.Column("file_hash", sa.TEXT(), nullable=False),
        sa.Column("format", sa.TEXT(), nullable=False),
        sa.Column("encoding", sa.TEXT(), nullable=False),
        sa.Column(
            "columns_not_taken", postgresql.ARRAY(sa.TEXT()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("status", sa.TEXT(), server_default="running", nullable=False),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("status IN ('running', 'done')", name="status_known"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "id", name="imports_user_id_id_key"),
    )
    op.create_index(
        "imports_one_running", "imports", ["user_id"], unique=True,
        postgresql_where=sa.text("status = 'running'"),
    )  # fmt: skip
    op.create_index(
        "imports_due", "imports", ["claimed_until"], postgresql_where=sa.text("status = 'running'")
    )
    op.create_index(
        "imports_by_end", "imports", ["finished_at"], postgresql_where=sa.text("finished_at IS NOT NULL")
    )
    op.create_table(
        "import_rows",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("key", sa.TEXT(), nullable=False),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("findings", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("photos", postgresql.ARRAY(sa.TEXT()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("outcome", sa.TEXT(), nullable=True),
        sa.Column("listing_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("outcome IN ('created', 'updated', 'skipped', 'failed')", name="outcome_known"),
        sa.ForeignKeyConstraint(
            ["user_id", "import_id"], ["imports.user_id", "imports.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "import_id", "line"),
    )
    op.create_index(
        "import_rows_waiting", "import_rows", ["import_id", "line"],
        postgresql_where=sa.text("outcome IS NULL"),
    )  # fmt: skip
    op.create_table(
        "listing_sources",
        sa.Column("source", sa.TEXT(), nullable=False),
        sa.Column("key", sa.TEXT(), nullable=False),
        sa.Column("listing_id", sa.Uuid(), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=True),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id", "import_id"],
            ["imports.user_id", "imports.id"],
            ondelete="SET NULL (import_id)",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "listing_id"], ["listings.user_id", "listings.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "source", "key"),
    )
    op.create_index("listing_sources_by_listing", "listing_sources", ["user_id", "listing_id"])
    op.create_index("listing_sources_by_import", "listing_sources", ["user_id", "import_id"])
    op.create_index(
        "listings_by_sku", "listings", ["user_id", "sku"], postgresql_where=sa.text("sku IS NOT NULL")
    )


def _policies() -> None:
    for table, rights in (
        ("imports", "SELECT, INSERT, UPDATE"),
        ("import_rows", "SELECT, INSERT, UPDATE"),
        ("listing_sources", "SELECT, INSERT, UPDATE, DELETE"),
    ):
        op.execute(f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
            GRANT {rights} ON {table} TO authenticated;
            CREATE POLICY own ON {table} TO authenticated USING ({MINE}) WITH CHECK ({MINE});
        """)
    op.execute("""
        GRANT SELECT (id, user_id, status, claimed_until, finished_at), UPDATE (claimed_until), DELETE
            ON imports TO everystall_engine;
        CREATE POLICY engine_read ON imports FOR SELECT TO everystall_engine
            USING (status = 'running' OR finished_at < now() - interval '7 days');
        CREATE POLICY engine_claim ON imports FOR UPDATE TO everystall_engine USING (status = 'running');
        CREATE POLICY engine_clean ON imports FOR DELETE TO everystall_engine
            USING (finished_at < now() - interval '7 days');
    """)


FUNCTIONS = """
CREATE FUNCTION everystall.take_import(OUT id uuid, OUT user_id uuid, OUT claimed_until timestamptz)
RETURNS SETOF record LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH picked AS (
        SELECT i.id FROM public.imports i
        WHERE i.status = 'running' AND (i.claimed_until IS NULL OR i.claimed_until <= clock_timestamp())
        ORDER BY i.claimed_until NULLS FIRST, i.id LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    UPDATE public.imports i SET claimed_until = clock_timestamp() + interval '30 seconds'
    FROM picked p WHERE i.id = p.id RETURNING i.id, i.user_id, i.claimed_until
$$;
COMMENT ON FUNCTION everystall.take_import IS
    'Takes the import that has waited longest, for half a minute: time for one batch of its rows.';

CREATE FUNCTION everystall.wake_imports(only_due boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
-- procrastinate's triggers name their tables without a schema
SET search_path = procrastinate, pg_catalog, pg_temp
AS $$
BEGIN
    IF only_due AND NOT EXISTS (
        SELECT FROM public.imports i WHERE i.status = 'running'
          AND (i.claimed_until IS NULL OR i.claimed_until <= now())) THEN
        RETURN;
    END IF;
    -- DO UPDATE as in everystall.wake: no worker takes the waiting job before the caller's rows are committed
    INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock)
    VALUES ('imports', 'bring_in', 'bring_in')
    ON CONFLICT (queueing_lock) WHERE status = 'todo' DO UPDATE SET priority = procrastinate_jobs.priority;
    PERFORM pg_notify('procrastinate_queue_v1#imports', '{"type": "job_inserted", "job_id": 0}');
END
$$;
COMMENT ON FUNCTION everystall.wake_imports IS
    'Wakes who brings in files; the last statement of a transaction.';

CREATE OR REPLACE FUNCTION everystall.clean(event_days integer, job_days integer, most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH events AS (
        DELETE FROM public.events e WHERE e.id IN (
            SELECT o.id FROM public.events o WHERE o.created_at < now() - make_interval(days => $1)
            ORDER BY o.created_at LIMIT $3)
        RETURNING e.id
    ), jobs AS (
        DELETE FROM public.jobs j WHERE j.id IN (
            SELECT o.id FROM public.jobs o WHERE o.finished_at < now() - make_interval(days => $2)
            ORDER BY o.finished_at LIMIT $3)
        RETURNING j.id
    ), imports AS (
        -- a few at once: each may have 20,000 rows
        DELETE FROM public.imports i WHERE i.id IN (
            SELECT o.id FROM public.imports o WHERE o.finished_at < now() - make_interval(days => $2)
            ORDER BY o.finished_at LIMIT 2)
        RETURNING i.id
    ), receipts AS (
        DELETE FROM public.webhook_receipts r WHERE r.id IN (
            SELECT o.id FROM public.webhook_receipts o WHERE o.received_at < now() - interval '1 day'
            ORDER BY o.received_at LIMIT $3)
        RETURNING r.id
    )
    SELECT greatest((SELECT count(*) FROM events), (SELECT count(*) FROM jobs),
                    (SELECT count(*) FROM imports), (SELECT count(*) FROM receipts))
$$;
COMMENT ON FUNCTION everystall.clean IS
    'Deletes a batch of each that is over: events and their deliveries, jobs and their pairs, imports and '
    'their rows, receipts; how many of the most frequent. Listings, publications and attempts stay.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA everystall FROM PUBLIC;
GRANT EXECUTE ON FUNCTION everystall.wake_imports TO authenticated;
"""
