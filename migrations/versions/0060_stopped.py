"""What stopped a try in whose form an agent had acted: told once a look showed that nothing came of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempts", sa.Column("stopped", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("attempts", "stopped")
