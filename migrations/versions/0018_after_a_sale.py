"""What comes after a sale: doubles that are settled, what a cancelled order gives back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0015"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("sales", sa.Column("counted", sa.Integer(), server_default=sa.text("0"), nullable=False))
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
