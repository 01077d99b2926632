"""Checks of an account and steps of an import that end without a word are counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)


def upgrade() -> None:
    op.add_column("connections", _count("checks_cut_off"))
    op.add_column("live_imports", _count("cut_off"))


def downgrade() -> None:
    op.drop_column("live_imports", "cut_off")
    op.drop_column("connections", "checks_cut_off")
