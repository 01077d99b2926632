"""When we discarded the draft that an attempt left."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("draft_discarded_at", sa.DateTime(timezone=True), nullable=True))
