"""A live listing is changed: what is being put there, what the seller changed there by hand, what is asked.

The question that an edit of a live listing led to until now ends: the edit is put.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("revising", JSONB(), nullable=True))
    op.add_column("attempts", sa.Column("revising_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("attempts", sa.Column("adopted", JSONB(), server_default=sa.text("'{}'"), nullable=False))
    op.add_column("attempts", sa.Column("conflict", JSONB(), nullable=True))
    op.add_column("publications", sa.Column("notes", JSONB(), server_default=sa.text("'[]'"), nullable=False))
    # forced, the policies hold for the owner too, who is no seller
    op.execute("""
        ALTER TABLE publications NO FORCE ROW LEVEL SECURITY;
        UPDATE publications SET needs_you = NULL WHERE needs_you ->> 'reason' = 'changed_since_posted';
        ALTER TABLE publications FORCE ROW LEVEL SECURITY;
    """)
