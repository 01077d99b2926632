"""Price rules, and the one by which each publication was asked for; schedules by which prices fall.

One more listed function: which schedule is to be looked at is known before its seller is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
MINE = "user_id = (SELECT auth.uid())"


def upgrade() -> None:
    op.add_column("publications", sa.Column("price_rule", postgresql.JSONB(), nullable=True))
    op.create_table(
        "price_rules",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("marketplace", sa.TEXT(), nullable=False),
        sa.Column("rule", postgresql.JSONB(), nullable=False),
        sa.Column("updated_at", TIME, server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "marketplace"),
    )
    op.create_table(
        "price_drops",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("listing_id", sa.Uuid(), nullable=True),
        sa.Column("percent", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("cents", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("every_days", sa.Integer(), nullable=False),
        sa.Column("floor_cents", sa.BigInteger(), nullable=False),
        sa.Column("began_at", TIME, server_default=NOW, nullable=False),
        sa.Column("next_look_at", TIME, server_default=NOW, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "(percent > 0) <> (cents > 0) AND percent >= 0 AND cents >= 0", name="percent_or_cents"
        ),
        sa.CheckConstraint("every_days > 0 AND floor_cents > 0", name="positive"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["user_id", "listing_id"], ["listings.user_id", "listings.id"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "listing_id", name="price_drops_of_listing"),
    )
    op.create_index(
        "price_drops_of_seller", "price_drops", ["user_id"], unique=True,
        postgresql_where=sa.text("listing_id IS NULL"),
    )  # fmt: skip
    op.create_index("price_drops_due", "price_drops", ["next_look_at"])
    op.create_table(
        "price_steps",
        sa.Column("listing_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("before_cents", sa.BigInteger(), nullable=True),
        sa.Column("after_cents", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.TEXT(), nullable=True),
        sa.Column("made_at", TIME, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["user_id", "listing_id"], ["listings.user_id", "listings.id"], ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "listing_id", "number"),
    )
    for table, rights in (
        ("price_rules", "SELECT, INSERT, UPDATE, DELETE"),
        ("price_drops", "SELECT, INSERT, UPDATE, DELETE"),
        ("price_steps", "SELECT, INSERT"),
    ):
        op.execute(f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
            GRANT {rights} ON {table} TO authenticated;
            CREATE POLICY own ON {table} TO authenticated USING ({MINE}) WITH CHECK ({MINE});
        """)
    op.execute("""
        GRANT SELECT (id, user_id, next_look_at), UPDATE (next_look_at) ON price_drops TO everystall_engine;
        CREATE POLICY engine_read ON price_drops FOR SELECT TO everystall_engine USING (true);
        CREATE POLICY engine_claim ON price_drops FOR UPDATE TO everystall_engine USING (true);
        RESET ROLE;
        SET ROLE everystall_engine;
    """)
    op.execute(FUNCTIONS)
    op.execute("SET ROLE everystall_owner")


FUNCTIONS = """
CREATE FUNCTION everystall.take_drop(OUT id uuid, OUT user_id uuid) RETURNS SETOF record
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH picked AS (
        SELECT d.id FROM public.price_drops d WHERE d.next_look_at <= clock_timestamp()
        ORDER BY d.next_look_at, d.id LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    UPDATE public.price_drops d SET next_look_at = clock_timestamp() + interval '1 hour'
    FROM picked p WHERE d.id = p.id RETURNING d.id, d.user_id
$$;
COMMENT ON FUNCTION everystall.take_drop IS
    'The schedule of falling prices that nobody has looked at for longest; it is looked at once an hour.';
REVOKE ALL ON FUNCTION everystall.take_drop FROM PUBLIC;
"""
