"""What comes after a sale: doubles that are settled, what a cancelled order gives back, the seller's rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0015"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
MINE = "user_id = (SELECT auth.uid())"
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("sales", sa.Column("counted", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("sales", sa.Column("settled_at", TIME, nullable=True))
    # forced, the policies hold for the owner too, who is no seller
    op.execute("""
        ALTER TABLE sales NO FORCE ROW LEVEL SECURITY;
        ALTER TABLE double_sales NO FORCE ROW LEVEL SECURITY;
        UPDATE sales SET counted = quantity WHERE publication_id IS NOT NULL AND cancelled_at IS NULL
            AND id NOT IN (SELECT later_id FROM double_sales);
        ALTER TABLE sales FORCE ROW LEVEL SECURITY;
        ALTER TABLE double_sales FORCE ROW LEVEL SECURITY;
    """)
    op.add_column("double_sales", sa.Column("settled_at", TIME, nullable=True))
    op.create_index(
        "sales_by_user", "sales", ["user_id", sa.text("observed_at DESC"), sa.text("id DESC")]
    )  # fmt: skip
    _sale_rules()
    for table, rights in (("sale_rules", "SELECT, INSERT, UPDATE"),):
        op.execute(f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
            GRANT {rights} ON {table} TO authenticated;
            CREATE POLICY own ON {table} TO authenticated USING ({MINE}) WITH CHECK ({MINE});
        """)


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
