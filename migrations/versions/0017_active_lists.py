"""The account's own list of what is live, held against what we hold live there: when it is due, and what it
showed of a listing whose page was looked at because of it. Every account is due for a first look, spread over
a quarter of an hour.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "connections",
        sa.Column(
            "next_list_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
    )
    op.add_column("attempts", sa.Column("listed", JSONB(), nullable=True))
    # forced, the policies hold for the owner too, who is no seller
    op.execute("""
        ALTER TABLE connections NO FORCE ROW LEVEL SECURITY;
        UPDATE connections SET next_list_at = now() + random() * interval '15 minutes';
        ALTER TABLE connections FORCE ROW LEVEL SECURITY;
    """)
