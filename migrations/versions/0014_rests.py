"""How long a marketplace asked an account to rest, and until when a row waits for nothing but the pace."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("connections", sa.Column("rest_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("publications", sa.Column("paced_to", sa.DateTime(timezone=True), nullable=True))
