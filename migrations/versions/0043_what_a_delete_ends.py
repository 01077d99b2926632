"""A publication knows that it goes because its listing is deleted: who stops that keeps only it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "publications", sa.Column("end_by_delete", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    # of what is being deleted now nobody knows it any more: as before, stopping keeps all of it
    op.execute("""
        ALTER TABLE publications NO FORCE ROW LEVEL SECURITY;
        ALTER TABLE listings NO FORCE ROW LEVEL SECURITY;
        UPDATE publications p SET end_by_delete = true FROM listings l
        WHERE l.user_id = p.user_id AND l.id = p.listing_id AND l.delete_asked_at IS NOT NULL
          AND p.put = 'live' AND p.wanted = 'ended';
        ALTER TABLE listings FORCE ROW LEVEL SECURITY;
        ALTER TABLE publications FORCE ROW LEVEL SECURITY;
    """)
