"""When we discarded the draft that an attempt left: an intent, written before it is done. Whatever dies in
between, the next look knows that a draft that is not there any more proves the same."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("draft_discarded_at", sa.DateTime(timezone=True), nullable=True))
