"""Watching accounts, and what sold there: the orders of each account, what was taken down because of one, and
what was sold twice.

An account's own list of orders is remembered whole: what stands there at the first check is never a sale of
ours. Every account is due for a first check, spread over a quarter of an hour.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
MINE = "user_id = (SELECT auth.uid())"


def upgrade() -> None:
    for name in ("watched_at", "watch_failing_since", "watch_told_at"):
        op.add_column("connections", sa.Column(name, TIME, nullable=True))
    _sales()
    _take_downs()
    _double_sales()
    for table in ("sales", "take_downs", "double_sales"):
        op.execute(f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
            GRANT SELECT, INSERT, UPDATE ON {table} TO authenticated;
            CREATE POLICY own ON {table} TO authenticated USING ({MINE}) WITH CHECK ({MINE});
        """)
    # forced, the policies hold for the owner too, who is no seller
    op.execute("""
        ALTER TABLE connections NO FORCE ROW LEVEL SECURITY;
        UPDATE connections SET next_check_at = now() + random() * interval '15 minutes'
        WHERE next_check_at IS NULL AND coalesce(needs_you ->> 'reason', '') <> 'disconnected';
        ALTER TABLE connections FORCE ROW LEVEL SECURITY;
    """)


def _id() -> sa.Column[sa.Uuid]:
    return sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False)


def _to(table: str, column: str, ondelete: str = "CASCADE") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["user_id", column], [f"{table}.user_id", f"{table}.id"], ondelete=ondelete
    )


def _sales() -> None:
    op.create_table(
        "sales",
        _id(),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.TEXT(), nullable=True),
        sa.Column("line", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("remote_id", sa.TEXT(), nullable=True),
        sa.Column("listing_id", sa.Uuid(), nullable=True),
        sa.Column("publication_id", sa.Uuid(), nullable=True),
        sa.Column("title", sa.TEXT(), nullable=False),
        sa.Column("price_cents", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.TEXT(), server_default="USD", nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("sold_at", TIME, nullable=True),
        sa.Column("sold_at_exact", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("observed_at", TIME, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("cancelled_at", TIME, nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("quantity > 0", name="quantity_positive"),
        _to("connections", "connection_id"),
        _to("listings", "listing_id", "SET NULL (listing_id)"),
        _to("publications", "publication_id", "SET NULL (publication_id)"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "id", name="sales_user_id_id_key"),
        sa.UniqueConstraint("connection_id", "order_id", "line", name="sales_once"),
    )
    op.create_index("sales_by_connection", "sales", ["user_id", "connection_id", sa.text("observed_at DESC")])
    op.create_index("sales_by_listing", "sales", ["user_id", "listing_id"])
    op.create_index("sales_by_publication", "sales", ["user_id", "publication_id"])
    op.create_index(
        "sales_by_remote_id", "sales", ["connection_id", "remote_id"],
        postgresql_where=sa.text("remote_id IS NOT NULL"),
    )  # fmt: skip


def _take_downs() -> None:
    op.create_table(
        "take_downs",
        _id(),
        sa.Column("sale_id", sa.Uuid(), nullable=False),
        sa.Column("publication_id", sa.Uuid(), nullable=True),
        sa.Column("marketplace", sa.TEXT(), nullable=False),
        sa.Column("asked_at", TIME, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("gone_at", TIME, nullable=True),
        sa.Column("told_at", TIME, nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        _to("sales", "sale_id"),
        _to("publications", "publication_id", "SET NULL (publication_id)"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sale_id", "publication_id", name="take_downs_once"),
    )
    op.create_index("take_downs_by_publication", "take_downs", ["user_id", "publication_id"])
    op.create_index("take_downs_by_sale", "take_downs", ["user_id", "sale_id"])


def _double_sales() -> None:
    op.create_table(
        "double_sales",
        _id(),
        sa.Column("listing_id", sa.Uuid(), nullable=True),
        sa.Column("earlier_id", sa.Uuid(), nullable=True),
        sa.Column("later_id", sa.Uuid(), nullable=False),
        sa.Column("detected_at", TIME, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        _to("listings", "listing_id", "SET NULL (listing_id)"),
        _to("sales", "earlier_id"),
        _to("sales", "later_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    for name, column in (("earlier", "earlier_id"), ("later", "later_id"), ("listing", "listing_id")):
        op.create_index(f"double_sales_by_{name}", "double_sales", ["user_id", column])
