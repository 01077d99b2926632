"""What its seller sold elsewhere: a sale of no account, with where it was, and what selling cost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0058"
down_revision = "0057"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("sales", "connection_id", existing_type=sa.Uuid(), nullable=True)
    op.add_column("sales", sa.Column("place", sa.TEXT(), nullable=True))
    op.add_column("sales", sa.Column("fee_cents", sa.BigInteger(), nullable=True))
    op.execute("""
        ALTER TABLE sales DROP CONSTRAINT told_by_known;
        ALTER TABLE sales ADD CONSTRAINT told_by_known
            CHECK (told_by IN ('orders', 'page', 'mail', 'seller'));
        ALTER TABLE sales ADD CONSTRAINT of_an_account CHECK ((connection_id IS NULL) = (told_by = 'seller'));
    """)
