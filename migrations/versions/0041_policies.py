"""An account keeps which policies its marketplace has of it, as the form last showed them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "connections", sa.Column("policies", JSONB(), nullable=False, server_default=sa.text("'{}'"))
    )
