"""What a thing cost is a column of the inventory's table, which a seller may hide."""

from __future__ import annotations

from alembic import op

revision = "0071"
down_revision = "0070"
branch_labels = None
depends_on = None
#: The version before shows no such column, and writes names that are known still.
backward_compatible = True


def upgrade() -> None:
    op.drop_constraint("hidden_columns_known", "users")
    op.create_check_constraint(
        "hidden_columns_known",
        "users",
        "hidden_columns <@ ARRAY['sku', 'status', 'where', 'qty', 'price', 'cost', 'age']",
    )


def downgrade() -> None:
    op.execute("UPDATE users SET hidden_columns = array_remove(hidden_columns, 'cost') "
               "WHERE 'cost' = ANY (hidden_columns)")  # fmt: skip
    op.drop_constraint("hidden_columns_known", "users")
    op.create_check_constraint(
        "hidden_columns_known",
        "users",
        "hidden_columns <@ ARRAY['sku', 'status', 'where', 'qty', 'price', 'age']",
    )
