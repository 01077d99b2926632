"""Relisting: a publication that goes down to be posted again, and rules by which that happens; pausing what
takes down, too; photos that come with an import, and stay while it waits whoever else goes.

One more listed function: which rule is to be looked at is known before its seller is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
MINE = "user_id = (SELECT auth.uid())"


def upgrade() -> None:
    op.add_column("publications", sa.Column("relist", sa.TEXT(), nullable=True))
    op.add_column("publications", sa.Column("relist_asked_at", TIME, nullable=True))
    op.create_check_constraint("relist_known", "publications", "relist IN ('asked', 'begun', 'down')")
    op.create_index(
        "publications_relisting", "publications", ["connection_id"],
        postgresql_where=sa.text("relist IS NOT NULL"),
    )  # fmt: skip
    for table in ("users", "connections"):
        op.add_column(
            table, sa.Column("pause_ends", sa.Boolean(), server_default=sa.text("false"), nullable=False)
        )
    op.add_column(
        "import_rows",
        sa.Column("originals", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
    )
    op.create_table(
        "relist_rules",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("marketplace", sa.TEXT(), nullable=False),
        sa.Column("after_days", sa.Integer(), nullable=False),
        sa.Column("between_days", sa.Integer(), nullable=False),
        sa.Column("per_day", sa.Integer(), nullable=False),
        sa.Column("next_look_at", TIME, server_default=NOW, nullable=False),
        sa.Column("updated_at", TIME, server_default=NOW, nullable=False),
        sa.CheckConstraint("after_days > 0 AND between_days > 0 AND per_day > 0", name="positive"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "marketplace"),
    )
    op.create_index("relist_rules_due", "relist_rules", ["next_look_at"])
    op.execute(f"""
        GRANT UPDATE (pause_ends) ON users TO authenticated;
        ALTER TABLE relist_rules ENABLE ROW LEVEL SECURITY;
        ALTER TABLE relist_rules FORCE ROW LEVEL SECURITY;
        GRANT SELECT, INSERT, UPDATE, DELETE ON relist_rules TO authenticated;
        CREATE POLICY own ON relist_rules TO authenticated USING ({MINE}) WITH CHECK ({MINE});
        GRANT SELECT (user_id, marketplace, next_look_at), UPDATE (next_look_at)
            ON relist_rules TO everystall_engine;
        CREATE POLICY engine_read ON relist_rules FOR SELECT TO everystall_engine USING (true);
        CREATE POLICY engine_claim ON relist_rules FOR UPDATE TO everystall_engine USING (true);
        GRANT SELECT (originals, outcome) ON import_rows TO everystall_engine;
        CREATE POLICY engine_read ON import_rows FOR SELECT TO everystall_engine USING (outcome IS NULL);
        GRANT SELECT (undo_photos, state) ON matches TO everystall_engine;
        CREATE POLICY engine_read ON matches FOR SELECT TO everystall_engine USING (state = 'linked');
        RESET ROLE;
        SET ROLE everystall_engine;
    """)
    op.execute(FUNCTIONS)
    op.execute("SET ROLE everystall_owner")


FUNCTIONS = """
CREATE FUNCTION everystall.take_relist(OUT user_id uuid, OUT marketplace text) RETURNS SETOF record
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH picked AS (
        SELECT r.user_id, r.marketplace FROM public.relist_rules r
        WHERE r.next_look_at <= clock_timestamp()
        ORDER BY r.next_look_at, r.user_id LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    UPDATE public.relist_rules r SET next_look_at = clock_timestamp() + interval '1 hour'
    FROM picked p WHERE r.user_id = p.user_id AND r.marketplace = p.marketplace
    RETURNING r.user_id, r.marketplace
$$;
COMMENT ON FUNCTION everystall.take_relist IS
    'The rule of relisting that nobody has looked at for longest; it is looked at once an hour.';

CREATE OR REPLACE FUNCTION everystall.unnamed_photos(hashes text[]) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT h FROM unnest($1) h WHERE NOT EXISTS (SELECT FROM public.listing_photos p WHERE p.sha256 = h)
    EXCEPT SELECT photo ->> 'sha256'
    FROM public.import_rows r, jsonb_array_elements(r.originals) photo WHERE r.outcome IS NULL
    EXCEPT SELECT jsonb_array_elements_text(m.undo_photos) FROM public.matches m WHERE m.state = 'linked'
$$;
COMMENT ON FUNCTION everystall.unnamed_photos IS
    'Which of these photos nobody''s listing has, nor a row that waits to be brought in, nor an undo; asked '
    'after an account was deleted.';

REVOKE ALL ON FUNCTION everystall.take_relist FROM PUBLIC;
"""
