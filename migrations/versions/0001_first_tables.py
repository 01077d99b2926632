"""The first tables, their policies, the engine's schema and the listed functions.

The tables are everystall_owner's, who may not read them: row-level security is forced. A seller's row is seen
under its owner's claims (role `authenticated`), and by everystall_engine for the few columns that its
functions need. There is no way back but a backup.
"""

from __future__ import annotations

from pathlib import Path

import procrastinate
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSONB = postgresql.JSONB()
TEXTS = postgresql.ARRAY(sa.TEXT())
TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
NEW_ID = sa.text("gen_random_uuid()")

#: Every table whose rows are one seller's, but for the three with rules of their own.
OWNED = (
    "api_tokens",
    "attempts",
    "connections",
    "jobs",
    "listing_automation_results",
    "listing_photos",
    "listings",
    "publications",
    "user_keys",
)
MINE = "user_id = (SELECT auth.uid())"


def upgrade() -> None:
    _auth()
    _tables()
    _policies()
    _procrastinate()
    _functions()


def _auth() -> None:
    """Who is asking, as on Supabase, where the schema is there already. After a transaction the setting
    is '' and not null."""
    if op.get_bind().execute(sa.text("SELECT to_regnamespace('auth')")).scalar_one():
        return
    op.execute("""
        CREATE SCHEMA auth;
        CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
            RETURN (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid;
        GRANT USAGE ON SCHEMA auth TO authenticated;
    """)


def _tables() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("email", sa.TEXT(), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("paused_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("email"),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("name", sa.TEXT(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", TEXTS, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash"),
        sa.UniqueConstraint("user_id", "id", name="api_tokens_user_id_id_key"),
    )
    op.create_index("ix_api_tokens_user_id", "api_tokens", ["user_id"])
    op.create_table(
        "connections",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("public_id", sa.TEXT(), nullable=False),
        sa.Column("marketplace", sa.TEXT(), nullable=False),
        sa.Column("account_id", sa.TEXT(), nullable=True),
        sa.Column("account_name", sa.TEXT(), nullable=True),
        sa.Column("label", sa.TEXT(), nullable=True),
        sa.Column("base_url", sa.TEXT(), nullable=False),
        sa.Column("defaults", JSONB, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("paused_at", TIME, nullable=True),
        sa.Column("pace_seconds", sa.Double(), nullable=True),
        sa.Column("needs_you", JSONB, nullable=True),
        sa.Column("last_post_at", TIME, nullable=True),
        sa.Column("last_visit_at", TIME, nullable=True),
        sa.Column("next_check_at", TIME, nullable=True),
        sa.Column("refresh_asked_at", TIME, nullable=True),
        sa.Column("session_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_holder", sa.TEXT(), nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("public_id"),
        sa.UniqueConstraint("user_id", "id", name="connections_user_id_id_key"),
    )
    op.create_index(
        "connections_due",
        "connections",
        ["next_check_at"],
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.create_index(
        "connections_one_per_account",
        "connections",
        ["user_id", "marketplace", "account_id"],
        unique=True,
        postgresql_where=sa.text("account_id IS NOT NULL"),
    )
    op.create_index("ix_connections_user_id", "connections", ["user_id"])
    op.create_table(
        "listings",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("title", sa.TEXT(), nullable=True),
        sa.Column("description", sa.TEXT(), nullable=True),
        sa.Column("brand", sa.TEXT(), nullable=True),
        sa.Column("category", sa.TEXT(), nullable=True),
        sa.Column("size", sa.TEXT(), nullable=True),
        sa.Column("condition", sa.TEXT(), nullable=True),
        sa.Column("colors", TEXTS, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("tags", TEXTS, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("price_cents", sa.BigInteger(), nullable=True),
        sa.Column("original_price_cents", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.TEXT(), server_default="USD", nullable=False),
        sa.Column("quantity", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("quantity_sold", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("sku", sa.TEXT(), nullable=True),
        sa.Column("package", JSONB, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("ships_from_zip", sa.TEXT(), nullable=True),
        sa.Column("shipping_payer", sa.TEXT(), nullable=True),
        sa.Column("specifics", JSONB, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("overrides", JSONB, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("delete_asked_at", TIME, nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("updated_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("quantity >= 0 AND quantity_sold >= 0", name="quantity_not_negative"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "id", name="listings_user_id_id_key"),
    )
    op.create_index("ix_listings_user_id", "listings", ["user_id"])
    op.create_index("listings_by_user", "listings", ["user_id", sa.literal_column("created_at DESC")])
    op.create_table(
        "user_keys",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kid", sa.TEXT(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "version", name="user_keys_version"),
    )
    op.create_index("ix_user_keys_user_id", "user_keys", ["user_id"])
    op.create_index("user_keys_by_kid", "user_keys", ["kid"])
    op.create_table(
        "vault_audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("kid", sa.TEXT(), nullable=False),
        sa.Column("purpose", sa.TEXT(), nullable=False),
        sa.Column("at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_vault_audit_user_id", "vault_audit", ["user_id"])
    op.create_index(
        "vault_audit_by_connection", "vault_audit", ["user_id", "connection_id", sa.literal_column("at DESC")]
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.TEXT(), nullable=False),
        sa.Column("listing_id", sa.Uuid(), nullable=False),
        sa.Column("idempotency_key", sa.TEXT(), nullable=True),
        sa.Column("status", sa.TEXT(), server_default="running", nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("status IN ('running', 'done', 'needs_you', 'cancelled')", name="status_known"),
        sa.ForeignKeyConstraint(
            ["user_id", "listing_id"], ["listings.user_id", "listings.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "id", name="jobs_user_id_id_key"),
        sa.UniqueConstraint("user_id", "idempotency_key", name="jobs_idempotency"),
    )
    op.create_index("ix_jobs_user_id", "jobs", ["user_id"])
    op.create_index("jobs_by_user", "jobs", ["user_id", sa.literal_column("created_at DESC")])
    op.create_table(
        "listing_photos",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("listing_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.TEXT(), nullable=False),
        sa.Column("content_type", sa.TEXT(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("byte_size", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id", "listing_id"], ["listings.user_id", "listings.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "listing_id", "position", deferrable=True, initially="DEFERRED", name="listing_photos_place"
        ),
        sa.UniqueConstraint("listing_id", "sha256", name="listing_photos_once"),
    )
    op.create_index("ix_listing_photos_user_id", "listing_photos", ["user_id"])
    op.create_index("listing_photos_by_listing", "listing_photos", ["user_id", "listing_id", "position"])
    op.create_table(
        "publications",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("listing_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("marketplace", sa.TEXT(), nullable=False),
        sa.Column("wanted", sa.TEXT(), server_default="live", nullable=False),
        sa.Column("wanted_revision", sa.Integer(), nullable=False),
        sa.Column("put", sa.TEXT(), server_default="nothing", nullable=False),
        sa.Column("put_revision", sa.Integer(), nullable=True),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            sa.Computed(
                "(wanted = 'live' AND (put <> 'live' OR put_revision IS DISTINCT FROM wanted_revision)) "
                "OR (wanted = 'ended' AND put = 'live')",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.Column("looking", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("seen", sa.TEXT(), server_default="unknown", nullable=False),
        sa.Column("seen_at", TIME, nullable=True),
        sa.Column("state", sa.TEXT(), server_default="waiting", nullable=False),
        sa.Column("needs_you", JSONB, nullable=True),
        sa.Column("next_try_at", TIME, nullable=True),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("remote_id", sa.TEXT(), nullable=True),
        sa.Column("url", sa.TEXT(), nullable=True),
        sa.Column("read_back", JSONB, nullable=True),
        sa.Column("asked_at", TIME, server_default=NOW, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("updated_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("put IN ('nothing', 'live', 'ended', 'sold')", name="put_known"),
        sa.CheckConstraint("seen IN ('unknown', 'live', 'ended', 'sold')", name="seen_known"),
        sa.CheckConstraint(
            "state IN ('waiting', 'composing', 'filling', 'armed', 'reconciling', 'live', 'revising', "
            "'ending', 'ended', 'sold', 'cancelled')",
            name="state_known",
        ),
        sa.CheckConstraint("wanted IN ('live', 'ended')", name="wanted_known"),
        sa.ForeignKeyConstraint(
            ["user_id", "connection_id"], ["connections.user_id", "connections.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "listing_id"], ["listings.user_id", "listings.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("listing_id", "connection_id", name="publications_once"),
        sa.UniqueConstraint("user_id", "id", name="publications_user_id_id_key"),
    )
    op.create_index("ix_publications_user_id", "publications", ["user_id"])
    op.create_index(
        "publications_due",
        "publications",
        ["connection_id", "wanted", "asked_at"],
        postgresql_where=sa.text("unsettled OR looking"),
    )
    op.create_index(
        "publications_due_at",
        "publications",
        [sa.literal_column("next_try_at NULLS FIRST")],
        postgresql_where=sa.text("looking OR (unsettled AND needs_you IS NULL)"),
    )
    op.create_table(
        "user_marketplace_sessions",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("marketplace", sa.TEXT(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("dek_version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("origin", sa.TEXT(), nullable=False),
        sa.Column("captured_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("consented_at", TIME, nullable=False),
        sa.Column("worked_at", TIME, nullable=True),
        sa.Column("failed_at", TIME, nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("origin IN ('extension', 'visit')", name="origin_known"),
        sa.ForeignKeyConstraint(
            ["user_id", "connection_id"], ["connections.user_id", "connections.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("connection_id", "seq", name="sessions_seq"),
    )
    op.create_index("ix_user_marketplace_sessions_user_id", "user_marketplace_sessions", ["user_id"])
    op.create_index("sessions_by_expiry", "user_marketplace_sessions", ["expires_at"])
    op.create_table(
        "attempts",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("publication_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("listing_revision", sa.Integer(), nullable=False),
        sa.Column("marker", sa.TEXT(), nullable=True),
        sa.Column("draft", JSONB, nullable=False),
        sa.Column("fields_hash", sa.TEXT(), nullable=False),
        sa.Column("photo_hashes", TEXTS, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("baseline", TEXTS, nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("draft_id", sa.TEXT(), nullable=True),
        sa.Column("remote_id", sa.TEXT(), nullable=True),
        sa.Column("url", sa.TEXT(), nullable=True),
        sa.Column("outcome", sa.TEXT(), nullable=True),
        sa.Column("armed_at", TIME, nullable=True),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("repost_asked_at", TIME, nullable=True),
        sa.Column("looks", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_look_at", TIME, nullable=True),
        sa.Column("evidence", JSONB, nullable=True),
        sa.Column("error", sa.TEXT(), nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('live', 'ended', 'sold', 'rejected', 'draft_only', 'unresolved')",
            name="outcome_known",
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "connection_id"], ["connections.user_id", "connections.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "publication_id"], ["publications.user_id", "publications.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("connection_id", "remote_id", name="attempts_remote_id_once"),
    )
    op.create_index(
        "attempts_by_publication", "attempts", ["publication_id", sa.literal_column("created_at DESC")]
    )
    op.create_index(
        "attempts_due", "attempts", ["next_look_at"], postgresql_where=sa.text("outcome = 'unresolved'")
    )
    op.create_index(
        "attempts_one_open_or_live",
        "attempts",
        ["publication_id"],
        unique=True,
        postgresql_where=sa.text("outcome IS NULL OR outcome = 'live'"),
    )
    op.create_index(
        "attempts_to_look",
        "attempts",
        ["connection_id", "next_look_at"],
        postgresql_where=sa.text("next_look_at IS NOT NULL"),
    )
    op.create_index("ix_attempts_user_id", "attempts", ["user_id"])
    op.create_table(
        "listing_automation_results",
        sa.Column("id", sa.Uuid(), server_default=NEW_ID, nullable=False),
        sa.Column("job_id", sa.TEXT(), nullable=False),
        sa.Column("publication_id", sa.Uuid(), nullable=False),
        sa.Column("listing_id", sa.Uuid(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("marketplace", sa.TEXT(), nullable=False),
        sa.Column("browser_profile_id", sa.TEXT(), nullable=False),
        sa.Column("wanted_revision", sa.Integer(), nullable=False),
        sa.Column("state", sa.TEXT(), server_default="waiting", nullable=False),
        sa.Column("needs_you", JSONB, nullable=True),
        sa.Column("url", sa.TEXT(), nullable=True),
        sa.Column("remote_id", sa.TEXT(), nullable=True),
        sa.Column("read_back", JSONB, nullable=True),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "state IN ('waiting', 'composing', 'filling', 'armed', 'reconciling', 'live', 'revising', "
            "'ending', 'ended', 'sold', 'cancelled')",
            name="state_known",
        ),
        sa.ForeignKeyConstraint(["user_id", "job_id"], ["jobs.user_id", "jobs.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["user_id", "publication_id"], ["publications.user_id", "publications.id"], ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job_id", "publication_id", name="results_once"),
    )
    op.create_index("ix_listing_automation_results_user_id", "listing_automation_results", ["user_id"])
    op.create_index(
        "results_open",
        "listing_automation_results",
        ["publication_id"],
        postgresql_where=sa.text("finished_at IS NULL"),
    )


def _policies() -> None:
    everything = (*OWNED, "users", "user_marketplace_sessions", "vault_audit")
    for table in everything:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE alembic_version ENABLE ROW LEVEL SECURITY")  # nobody's but the owner's
    for table in OWNED:
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO authenticated")
        op.execute(f"CREATE POLICY own ON {table} TO authenticated USING ({MINE}) WITH CHECK ({MINE})")
    op.execute(f"""
        GRANT SELECT, UPDATE ON users TO authenticated;
        CREATE POLICY own ON users TO authenticated
            USING (id = (SELECT auth.uid())) WITH CHECK (id = (SELECT auth.uid()));

        -- what has expired is nobody's, whether the clean-up has come or not
        GRANT SELECT, INSERT, UPDATE, DELETE ON user_marketplace_sessions TO authenticated;
        CREATE POLICY own ON user_marketplace_sessions TO authenticated
            USING ({MINE} AND expires_at > now()) WITH CHECK ({MINE});

        -- written and read, never changed
        GRANT SELECT, INSERT ON vault_audit TO authenticated;
        CREATE POLICY own_read ON vault_audit FOR SELECT TO authenticated USING ({MINE});
        CREATE POLICY own_write ON vault_audit FOR INSERT TO authenticated WITH CHECK ({MINE});
    """)


def _procrastinate() -> None:
    """The engine's tables, in a schema of their own: no seller reaches them. A newer procrastinate's own
    migrations come as migrations of ours (tests/test_engine.py names the version this was written for)."""
    schema = (Path(procrastinate.__file__).parent / "sql" / "schema.sql").read_text()
    op.execute("CREATE SCHEMA procrastinate")
    op.execute("SET LOCAL search_path = procrastinate")
    op.get_bind().exec_driver_sql(schema.replace("%", "%%"))
    op.execute("SET LOCAL search_path = public")
    op.execute("""
        GRANT USAGE ON SCHEMA procrastinate TO everystall_engine;
        GRANT SELECT, INSERT, UPDATE ON procrastinate.procrastinate_jobs TO everystall_engine;
        GRANT INSERT ON procrastinate.procrastinate_events TO everystall_engine;
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA procrastinate TO everystall_engine;
    """)


def _functions() -> None:
    """All that may be asked before a seller is known. Each runs as everystall_engine: not an owner, no
    BYPASSRLS, only these columns."""
    op.execute("""
        GRANT SELECT (id, user_id, token_hash, scopes, expires_at, revoked_at, last_used_at),
              UPDATE (last_used_at) ON api_tokens TO everystall_engine;
        CREATE POLICY engine_read ON api_tokens FOR SELECT TO everystall_engine USING (true);
        CREATE POLICY engine_stamp ON api_tokens FOR UPDATE TO everystall_engine USING (true);

        GRANT SELECT (id, paused_at) ON users TO everystall_engine;
        CREATE POLICY engine_read ON users FOR SELECT TO everystall_engine USING (true);

        GRANT SELECT (id, user_id, paused_at, needs_you, next_check_at, lease_until)
            ON connections TO everystall_engine;
        CREATE POLICY engine_read ON connections FOR SELECT TO everystall_engine USING (true);

        GRANT SELECT (id, user_id, connection_id, wanted, put, unsettled, looking, needs_you, next_try_at)
            ON publications TO everystall_engine;
        CREATE POLICY engine_read ON publications FOR SELECT TO everystall_engine USING (true);

        GRANT SELECT (id, connection_id, outcome, next_look_at) ON attempts TO everystall_engine;
        CREATE POLICY engine_read ON attempts FOR SELECT TO everystall_engine USING (true);

        GRANT SELECT (id) ON listings TO everystall_engine;
        CREATE POLICY engine_read ON listings FOR SELECT TO everystall_engine USING (true);

        GRANT SELECT (id, expires_at), DELETE ON user_marketplace_sessions TO everystall_engine;
        CREATE POLICY engine_read ON user_marketplace_sessions FOR SELECT TO everystall_engine
            USING (expires_at <= now());
        CREATE POLICY engine_expire ON user_marketplace_sessions FOR DELETE TO everystall_engine
            USING (expires_at <= now());
    """)
    op.execute("RESET ROLE")
    op.execute("CREATE SCHEMA everystall AUTHORIZATION everystall_engine")
    op.execute("SET ROLE everystall_engine")
    op.get_bind().exec_driver_sql(FUNCTIONS.replace("%", "%%"))
    op.execute("SET ROLE everystall_owner")


FUNCTIONS = """
CREATE FUNCTION everystall.sign_in(token_hash bytea, OUT user_id uuid, OUT token_id uuid, OUT scopes text[])
RETURNS SETOF record LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    -- stamped once a minute at most: many requests of one token shall not wait for each other's row lock
    WITH found AS (
        SELECT t.id, t.user_id, t.scopes, t.last_used_at FROM public.api_tokens t
        WHERE t.token_hash = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
    ), stamped AS (
        UPDATE public.api_tokens t SET last_used_at = now() FROM found f
        WHERE t.id = f.id AND (f.last_used_at IS NULL OR f.last_used_at < now() - interval '1 minute')
    )
    SELECT f.user_id, f.id, f.scopes FROM found f
$$;
COMMENT ON FUNCTION everystall.sign_in IS 'Whose API token this is, if it is good.';

CREATE FUNCTION everystall.connection_owner(id uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT c.user_id FROM public.connections c WHERE c.id = $1 $$;
COMMENT ON FUNCTION everystall.connection_owner IS 'Whose account this is: as whom to visit it.';

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
      -- who has a wake-up waiting needs no other; so the next batch is another one
      AND NOT EXISTS (SELECT FROM procrastinate.procrastinate_jobs j WHERE j.status = 'todo'
                      AND j.queueing_lock = 'connection:' || a.connection_id || ':' || a.lane)
    ORDER BY a.lane, a.connection_id LIMIT most
$$;
COMMENT ON FUNCTION everystall.due IS 'Accounts with something to do now and nobody on the way to them.';

CREATE FUNCTION everystall.wake(connection_ids uuid[], lane text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
-- procrastinate's triggers name their tables without a schema
SET search_path = procrastinate, pg_catalog, pg_temp
AS $$
DECLARE
    claims constant text := nullif(current_setting('request.jwt.claims', true), '');
    acting constant text := nullif(current_setting('role', true), 'none');
    caller uuid;
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
    -- In the order of ids, so that two wakers never wait for each other. DO UPDATE locks a waiting job:
    -- no worker takes it before the caller's rows are committed.
    INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args)
    SELECT wake.lane, 'visit', CASE wake.lane WHEN 'urgent' THEN 10 ELSE 0 END, 'connection:' || asked.id,
           'connection:' || asked.id || ':' || wake.lane,
           jsonb_build_object('connection_id', asked.id, 'lane', wake.lane)
    FROM (SELECT DISTINCT u.id FROM unnest(wake.connection_ids) AS u (id)
          WHERE u.id IS NOT NULL ORDER BY u.id) asked
    ON CONFLICT (queueing_lock) WHERE status = 'todo'
        DO UPDATE SET priority = greatest(procrastinate_jobs.priority, excluded.priority);
    IF FOUND THEN  -- an update fires no insert trigger
        PERFORM pg_notify('procrastinate_queue_v1#' || wake.lane, '{"type": "job_inserted", "job_id": 0}');
    END IF;
END
$$;
COMMENT ON FUNCTION everystall.wake IS 'Wakes accounts; the last statement of a transaction.';

CREATE FUNCTION everystall.expire() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH gone AS (DELETE FROM public.user_marketplace_sessions s WHERE s.expires_at <= now() RETURNING s.id)
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION everystall.expire IS 'Deletes expired sessions; how many.';

CREATE FUNCTION everystall.owner_numbers(
    OUT users bigint, OUT connections bigint, OUT listings bigint, OUT live bigint, OUT unsettled bigint,
    OUT looking bigint, OUT needs_you bigint
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (SELECT count(u.id) FROM public.users u), (SELECT count(c.id) FROM public.connections c),
           (SELECT count(l.id) FROM public.listings l), count(*) FILTER (WHERE p.put = 'live'),
           count(*) FILTER (WHERE p.unsettled), count(*) FILTER (WHERE p.looking),
           count(*) FILTER (WHERE p.needs_you IS NOT NULL)
    FROM public.publications p
$$;
COMMENT ON FUNCTION everystall.owner_numbers IS 'Counts for whoever runs this; nothing of any one seller.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA everystall FROM PUBLIC;
GRANT USAGE ON SCHEMA everystall TO authenticated;
GRANT EXECUTE ON FUNCTION everystall.wake TO authenticated;
"""
