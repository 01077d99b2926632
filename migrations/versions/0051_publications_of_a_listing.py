"""What a listing is on each account is found by its seller first, as row-level security asks: the index that
began with the listing made PostgreSQL read all rows of a seller beside it."""

from __future__ import annotations

from alembic import op

revision = "0051"
down_revision = "0049"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _once("user_id", "listing_id", "connection_id")


def downgrade() -> None:
    _once("listing_id", "connection_id")


def _once(*columns: str) -> None:
    op.drop_constraint("publications_once", "publications")
    op.create_unique_constraint("publications_once", "publications", list(columns))
