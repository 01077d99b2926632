"""The inventory in the order of its SKUs, by an index; and which columns of its table a seller hides.

Under row-level security PostgreSQL gives an index no condition with a `coalesce` in it: so what it orders by
is a column.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0057"
down_revision = "0056"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "listings",
        sa.Column(
            "sku_order", sa.TEXT(), sa.Computed("coalesce(sku, ''::text)", persisted=True), nullable=False
        ),
    )
    op.create_index("listings_in_order_of_sku", "listings", ["user_id", "sku_order", "id"])
    op.add_column(
        "users",
        sa.Column(
            "hidden_columns", postgresql.ARRAY(sa.TEXT()), server_default=sa.text("'{}'"), nullable=False
        ),
    )
    op.create_check_constraint(
        "hidden_columns_known",
        "users",
        "hidden_columns <@ ARRAY['sku', 'status', 'where', 'qty', 'price', 'age']",
    )
    op.execute("GRANT UPDATE (hidden_columns) ON users TO authenticated")
