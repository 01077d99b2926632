"""An account has a daily cap of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("connections", sa.Column("daily_cap", sa.Integer(), nullable=True))
    op.create_check_constraint("daily_cap", "connections", "daily_cap > 0")
