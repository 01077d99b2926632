"""Price rules, and the one by which each publication was asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0012"
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
    op.execute(f"""
        ALTER TABLE price_rules ENABLE ROW LEVEL SECURITY;
        ALTER TABLE price_rules FORCE ROW LEVEL SECURITY;
        GRANT SELECT, INSERT, UPDATE, DELETE ON price_rules TO authenticated;
        CREATE POLICY own ON price_rules TO authenticated USING ({MINE}) WITH CHECK ({MINE});
    """)
