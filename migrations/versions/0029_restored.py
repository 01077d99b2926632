"""A seller is told that all of this was put back to an earlier moment, until they go on posting."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("restored_to", sa.DateTime(timezone=True)))
    op.execute("GRANT UPDATE (restored_to) ON users TO authenticated")
