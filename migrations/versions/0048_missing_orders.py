"""Orders that an account's list does not show any more, and whether their seller was asked about that."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sales", sa.Column("missing_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("sales", sa.Column("missing_asked_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("sales", "missing_asked_at")
    op.drop_column("sales", "missing_at")
