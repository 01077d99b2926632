"""A sale keeps what the thing cost and the category that its fee goes by, whatever becomes of the listing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sales", sa.Column("category", sa.TEXT(), nullable=True))
    op.add_column("sales", sa.Column("cost_cents", sa.BigInteger(), nullable=True))
    # forced, the policies hold for the owner too, who is no seller
    op.execute("""
        ALTER TABLE sales NO FORCE ROW LEVEL SECURITY;
        ALTER TABLE listings NO FORCE ROW LEVEL SECURITY;
        UPDATE sales s SET category = l.category, cost_cents = l.cost_cents FROM listings l
        WHERE l.user_id = s.user_id AND l.id = s.listing_id
          AND (l.category IS NOT NULL OR l.cost_cents IS NOT NULL);
        ALTER TABLE listings FORCE ROW LEVEL SECURITY;
        ALTER TABLE sales FORCE ROW LEVEL SECURITY;
    """)
